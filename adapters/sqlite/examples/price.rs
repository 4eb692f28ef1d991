//! What durability costs: `cargo run --release -p yroom-sqlite --example price [TRACE]`
//!
//! Each of so many rooms writes one small update after the other, the next as soon as the last is
//! durable: so the number of rooms is the number of updates that a commit can take together. Then one
//! room writes 100 updates a second, as people who type do: a commit each. `cpu us` is what all threads
//! took for an update, without what the kernel did elsewhere (on Linux; 0 where it is not known).
//!
//! `TRACE` is a file of updates (`u32` count, then `u32` length and bytes each, little-endian): it is
//! stored an update a row, compacted, with and without compression, and the file's sizes and the time of a cold load are printed.

use bytes::Bytes;
use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant, SystemTime};
use yroom::{Append, Batch, Input, RoomId, RoomName, Seq, StoreOp, update};
use yroom_net::store::{BlockingStore, Browse, Compression, Inbox, MemoryStore, Store, Threaded};
use yroom_sqlite::SqliteStore;

const RUN: Duration = Duration::from_secs(3);

fn main() {
    println!("store   rooms  durable/s   p50 ms   p99 ms   cpu us");
    for rooms in [1, 16, 256, 2_000] {
        measure("memory", &MemoryStore::new(), rooms);
        let dir = Directory::new();
        let store = SqliteStore::open(&dir.0).expect("it opens");
        measure("sqlite", &Threaded::new(store).expect("a thread"), rooms);
    }
    println!("100 updates/s   p50 ms   p99 ms   cpu us");
    pace("memory", &MemoryStore::new());
    let dir = Directory::new();
    let store = SqliteStore::open(&dir.0).expect("it opens");
    pace("sqlite", &Threaded::new(store).expect("a thread"));
    if let Some(trace) = std::env::args().nth(1) {
        keep(Path::new(&trace), "as they are", Compression::none());
        keep(Path::new(&trace), "in LZ4", Compression::lz4());
    }
}

/// Open loop: an update every 10 ms.
fn pace(what: &str, store: &impl Store) {
    let inbox = Inbox::new();
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut cx = Context::from_waker(&waker);
    let (begin, spent) = (Instant::now(), cpu());
    let mut waits = Vec::new();
    for place in 1..=300_u32 {
        let due = begin + Duration::from_millis(10) * place;
        while let Some(rest) = due.checked_duration_since(Instant::now()) {
            std::thread::sleep(rest);
        }
        let name = RoomName::new("room").expect("a name");
        let batch = Batch::single(Seq(place.into()), &[7; 60]);
        let op = StoreOp::Append(Append { room: RoomId::from_raw(1), name, batch });
        let reply = inbox.reply_for(&op);
        let since = Instant::now();
        store.submit(op, reply);
        while inbox.poll_take(&mut cx).is_pending() {
            std::thread::park_timeout(RUN);
        }
        waits.push(since.elapsed());
    }
    let spent = cpu().saturating_sub(spent).as_secs_f64() * 1e6 / f64::from(waits.len() as u32);
    waits.sort_unstable();
    let at = |percent: usize| waits[(waits.len() - 1) * percent / 100].as_secs_f64() * 1e3;
    println!("{what:<14}  {:>7.3}  {:>7.3}  {spent:>7.1}", at(50), at(99));
    store.close();
}

/// What all threads of this process have taken of the processors.
fn cpu() -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let nanos = |task: std::fs::DirEntry| {
        let stat = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        stat.split(' ').next()?.parse::<u64>().ok()
    };
    Duration::from_nanos(tasks.filter_map(nanos).sum())
}

/// Closed loop: one append of each room is under way at any time.
fn measure(what: &str, store: &impl Store, rooms: u64) {
    let inbox = Inbox::new();
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut cx = Context::from_waker(&waker);
    let submit = |room: u64, place: u64| {
        let name = RoomName::new(&format!("room {room}")).expect("a name");
        let batch = Batch::single(Seq(place), &[7; 60]);
        let op = StoreOp::Append(Append { room: RoomId::from_raw(room), name, batch });
        let reply = inbox.reply_for(&op);
        store.submit(op, reply);
    };
    let (begin, spent) = (Instant::now(), cpu());
    let mut since = vec![begin; rooms as usize];
    (0..rooms).for_each(|room| submit(room, 1));
    let mut waits = Vec::new();
    while begin.elapsed() < RUN {
        let Poll::Ready(inputs) = inbox.poll_take(&mut cx) else {
            std::thread::park_timeout(RUN);
            continue;
        };
        let now = Instant::now();
        for input in inputs {
            let Input::Durable { room, upto } = input else { panic!("{input:?}") };
            let room = number(room);
            waits.push(now - since[room as usize]);
            since[room as usize] = now;
            submit(room, upto.0 + 1);
        }
    }
    let count = f64::from(waits.len() as u32);
    let rate = count / begin.elapsed().as_secs_f64();
    let spent = cpu().saturating_sub(spent).as_secs_f64();
    waits.sort_unstable();
    let at = |percent: usize| waits[(waits.len() - 1) * percent / 100].as_secs_f64() * 1e3;
    let each = spent * 1e6 / count;
    println!("{what:<7} {rooms:>5}  {rate:>9.0}  {:>7.3}  {:>7.3}  {each:>7.1}", at(50), at(99));
    store.close();
}

/// The number that a room's id was made of.
fn number(room: RoomId) -> u64 {
    format!("{room:?}").trim_start_matches("room").parse().expect("room and a number")
}

fn keep(trace: &Path, how: &str, compression: Compression) {
    let bytes = Bytes::from(std::fs::read(trace).expect("the trace"));
    let mut rest = &bytes[4..];
    let mut updates = Vec::new();
    while let Some((len, after)) = rest.split_first_chunk::<4>() {
        let (update, after) = after.split_at(u32::from_le_bytes(*len) as usize);
        updates.push(update);
        rest = after;
    }
    let dir = Directory::new();
    let mut store = SqliteStore::open(&dir.0).expect("it opens").compression(compression);
    let name = RoomName::new("trace").expect("a name");
    let begin = Instant::now();
    for (nth, group) in updates.chunks(256).enumerate() {
        let appends: Vec<Append> = (nth as u64 * 256 + 1..)
            .zip(group)
            .map(|(place, update)| {
                let batch = Batch::single(Seq(place), update);
                Append { room: RoomId::from_raw(1), name: name.clone(), batch }
            })
            .collect();
        store.append(&appends).expect("stored");
    }
    let stored = begin.elapsed();
    let before = dir.size();
    let snapshot = Bytes::from(update::merge(&updates).expect("well formed"));
    let begin = Instant::now();
    store.compact(&name, Seq(updates.len() as u64), snapshot.clone()).expect("it has everything");
    let compacted = begin.elapsed();
    let after = dir.size();
    let rows = store.list().expect("it can be read")[0].bytes;
    store.release(&name);
    let begin = Instant::now();
    store.load(&name).expect("it is there");
    println!(
        "{} updates stored {how} in {stored:.2?}: {before} bytes; compacted in {compacted:.2?} to a snapshot \
         of {}, in a row of {rows}: {after} bytes; loaded in {:.2?}",
        updates.len(),
        snapshot.len(),
        begin.elapsed()
    );
    let bound = 2 * snapshot.len() as u64 + (1 << 20);
    assert!(after <= bound, "more than {bound} bytes are left");
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// A directory below the working directory: a temporary one may be in memory.
struct Directory(std::path::PathBuf);

impl Directory {
    fn new() -> Self {
        let now = SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").as_nanos();
        Self(std::env::current_dir().expect("somewhere").join(format!("target/price-{now}")))
    }

    fn size(&self) -> u64 {
        let entries = std::fs::read_dir(&self.0).expect("it is there");
        entries.map(|it| it.and_then(|it| it.metadata()).expect("it is there").len()).sum()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
