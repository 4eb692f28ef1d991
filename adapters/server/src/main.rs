//! The `yroom` program: serves Yjs documents over WebSocket, and remembers them.
#![forbid(unsafe_code)]

mod auth;
mod chains;
mod check;
mod commands;
mod doors;
mod export;
mod hooks;
mod import;
mod list;
mod log;
mod options;
mod utc;

use chains::Upstreams;
use clap::Parser;
use doors::Doors;
use hooks::KeptOpen;
use log::Log;
use options::{Options, StoreKind};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::process::ExitCode;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Instant;
use yroom_file::FileStore;
use yroom_net::runtime::Tokio;
use yroom_net::store::{BlockingStore, MemoryStore, Store, Threaded};
use yroom_net::{Farewell, Notice, Running, Server};
use yroom_sqlite::SqliteStore;

/// Gives memory back to the system within seconds of its last use, by threads of its own; with the
/// features of Cargo.toml SQLite has its from here, too.
#[cfg(all(target_arch = "x86_64", target_os = "linux", target_env = "gnu"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    // clap ends the program itself, with 2, on a usage that it does not understand.
    let options = Options::parse();
    let outcome = match &options.command {
        Some(command) => commands::run(command, &options),
        None => run(&options).map(|farewell| exit_code(&farewell)),
    };
    outcome.unwrap_or_else(|sentence| {
        eprintln!("yroom: {sentence}");
        ExitCode::FAILURE
    })
}

fn exit_code(farewell: &Farewell) -> ExitCode {
    if farewell.is_clean() {
        return ExitCode::SUCCESS;
    }
    eprintln!(
        "yroom: not everything is stored: {} updates refused by the store, {} threads not finished \
         in time",
        farewell.unsaved, farewell.unfinished
    );
    ExitCode::FAILURE
}

/// What ends the program.
enum End {
    Signal,
    Failure { shard: usize },
}

fn run(options: &Options) -> Result<Farewell, String> {
    raise_file_limit();
    let (ends, end) = mpsc::channel();
    let doors = Doors::new(options)?;
    let upstreams = Upstreams::new(options)?;
    let webhook = hooks::configured(&options.webhook)?;
    let log = Arc::new(Log::new());
    catch_signals(ends.clone(), doors.clone(), upstreams.clone())?;
    let store = Opened(open_store(options)?);
    let running = start(options, &doors, &store.0, &log, ends)?;
    let delivery = webhook.map(|webhook| hooks::start(webhook, &running, &store.0, &log));
    let delivery = delivery.transpose()?;
    let links = upstreams.link(&running, &log)?;
    println!("yroom listens on {}://{}", doors.scheme(), running.local_addr());
    doors.warn(options);
    match end.recv() {
        Ok(End::Signal) | Err(mpsc::RecvError) => {}
        Ok(End::Failure { shard }) => {
            eprintln!("yroom: thread {shard} failed; its rooms need a restart, so this ends");
        }
    }
    let until = Instant::now() + options.drain_timeout();
    let farewell = running.shutdown();
    drop(links);
    if let Some(delivery) = delivery {
        hooks::finish(delivery, until.saturating_duration_since(Instant::now()));
    }
    Ok(farewell)
}

/// The store, closed at the end: after the server, and after whoever reads it then.
struct Opened(Arc<dyn Store>);

impl Drop for Opened {
    fn drop(&mut self) {
        self.0.close();
    }
}

fn start(
    options: &Options,
    doors: &Doors,
    store: &Arc<dyn Store>,
    log: &Arc<Log>,
    ends: mpsc::Sender<End>,
) -> Result<Running, String> {
    let log = Arc::clone(log);
    let timeouts = options.limits.timeouts(options.drain_timeout());
    let mut server = Server::<Tokio>::new(options.config())
        .store(Arc::new(KeptOpen(Arc::clone(store))))
        .timeouts(timeouts)
        .net_limits(options.limits.net())
        .observe(move |notice| {
            log.write(notice);
            if let Notice::ShardFailed { shard } = notice {
                // Nobody receives once the end has begun.
                let _ = ends.send(End::Failure { shard: *shard });
            }
        });
    server = doors.hang(server);
    if let Some(threads) = options.threads {
        server = server.threads(threads.get());
    }
    server
        .bind(options.listen)
        .map_err(|error| format!("cannot listen on {}: {error}", options.listen))
}

/// Opens what remembers the rooms; never an empty one beside one of another kind.
fn open_store(options: &Options) -> Result<Arc<dyn Store>, String> {
    let dir = &options.data_dir;
    let unless = |other: &str, kind: &str| {
        if dir.join(other).exists() {
            Err(format!("{} has a store of another kind: use --store {kind}", dir.display()))
        } else {
            Ok(())
        }
    };
    let bound = options.keeping.bound();
    if bound.is_some() && options.store != StoreKind::Sqlite {
        return Err("--db-max-bytes is for --store sqlite".to_owned());
    }
    match options.store {
        StoreKind::Memory => Ok(Arc::new(MemoryStore::new())),
        StoreKind::Sqlite => {
            unless(FileStore::FORMAT_FILE, "file")?;
            let store = SqliteStore::open(dir).map_err(|error| error.to_string())?;
            let store = store.compression(options.keeping.compression());
            let store = store.on_notice(|what| eprintln!("yroom: {what}"));
            on_thread(match bound {
                Some(bound) => store.at_most(bound),
                None => store,
            })
        }
        StoreKind::File => {
            unless(SqliteStore::FILE_NAME, "sqlite")?;
            let store = FileStore::open(dir).map_err(|error| error.to_string())?;
            let store = store.compression(options.keeping.compression());
            on_thread(store.on_repair(|what| eprintln!("yroom: {what}")))
        }
    }
}

fn on_thread(store: impl BlockingStore) -> Result<Arc<dyn Store>, String> {
    let threaded = Threaded::new(store);
    Ok(Arc::new(threaded.map_err(|error| format!("cannot start the store's thread: {error}"))?))
}

/// SIGHUP has keys, certificates and tokens read anew. Of the signals that end the program, the first does so
/// in order, the second at once.
fn catch_signals(
    ends: mpsc::Sender<End>,
    doors: Doors,
    upstreams: Upstreams,
) -> Result<(), String> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])
        .map_err(|error| format!("cannot wait for signals: {error}"))?;
    thread::spawn(move || {
        let mut ending = false;
        for signal in signals.forever() {
            if signal == SIGHUP {
                doors.reload();
                upstreams.reload();
                continue;
            }
            if ending {
                // By convention, 128 and the signal.
                std::process::exit(128 + signal);
            }
            ending = true;
            // If nobody receives, the program ends already.
            let _ = ends.send(End::Signal);
        }
    });
    Ok(())
}

/// Takes as many file descriptors as the system gives without asking: each connection is one, and
/// the customary 1,024 is far below what a server of this kind has.
#[cfg(unix)]
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // Without it the server serves fewer, and says so when it has to refuse.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

#[cfg(not(unix))]
fn raise_file_limit() {}
