//! What opening large rooms costs: `cargo run --release -p yroom-sqlite --example cold TRACE [ROOMS]`
//!
//! So many rooms, each with a document of its own of `TRACE`'s shape, are in a database. One after
//! the other is opened by a newcomer, and stays open: the time from the asking to the first
//! SyncStep2, the store's thread included, and what all of them take in memory. The database has just
//! been written, so it is in the system's cache. `TRACE` is as for the example `price`.

use bytes::Bytes;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};
use yroom::wire::encode;
use yroom::{
    Access, Append, Batch, Config, Hub, Input, Output, RoomId, RoomName, Seq, Timestamp, update,
};
use yroom_net::store::{BlockingStore, Inbox, Store, Threaded};
use yroom_sqlite::SqliteStore;

fn main() {
    let mut args = std::env::args().skip(1);
    let trace = PathBuf::from(args.next().expect("the trace's path"));
    let rooms: usize = args.next().map_or(1_000, |rooms| rooms.parse().expect("a number"));
    let dir = std::env::current_dir().expect("somewhere").join("target/cold-rooms");
    let _ = std::fs::remove_dir_all(&dir);
    let bytes = fill(&dir, &trace, rooms);
    let took = open_all(&dir, rooms);
    println!(
        "{rooms} rooms of {bytes} bytes: opened in {:.2?} (p50), {:.2?} (p99), {:.2?} at most; {} MiB resident in all",
        took[rooms / 2],
        took[rooms * 99 / 100],
        took[rooms - 1],
        resident() >> 20,
    );
    std::fs::remove_dir_all(&dir).expect("it was made here");
}

fn name(room: usize) -> RoomName {
    RoomName::new(&format!("room {room}")).expect("a name")
}

/// Puts the rooms into a new database; how large one is.
fn fill(dir: &Path, trace: &Path, rooms: usize) -> usize {
    let bytes = std::fs::read(trace).expect("the trace");
    let mut rest = &bytes[4..];
    let mut updates = Vec::new();
    while let Some((len, after)) = rest.split_first_chunk::<4>() {
        let (update, after) = after.split_at(u32::from_le_bytes(*len) as usize);
        updates.push(update);
        rest = after;
    }
    let common = update::merge(&updates).expect("well formed");
    let mut store = SqliteStore::open(dir).expect("it opens");
    for room in 0..rooms {
        // One letter by a client of this room's own: no two documents are the same.
        let own =
            [1, 1, 0x80 | (room % 128) as u8, 1 + (room / 128) as u8, 0, 4, 1, 1, b'x', 1, b'y', 0];
        let document = Bytes::from(update::merge(&[&common, &own]).expect("well formed"));
        let batch = Batch::single(Seq(1), &document);
        let append = Append { room: RoomId::from_raw(1), name: name(room), batch };
        store.append(&[append]).expect("stored");
        store.compact(&name(room), Seq(1), document).expect("it has everything");
        store.release(&name(room));
    }
    common.len()
}

/// Opens all rooms and keeps them; how long each took, the shortest first.
fn open_all(dir: &Path, rooms: usize) -> Vec<Duration> {
    let store = Threaded::new(SqliteStore::open(dir).expect("it opens")).expect("a thread");
    let (inbox, mut hub) = (Inbox::new(), Hub::new(Config::default()));
    let mut took: Vec<Duration> =
        (0..rooms).map(|room| open(&store, &inbox, &mut hub, &name(room))).collect();
    took.sort_unstable();
    assert_eq!(hub.room_count(), rooms, "all are open");
    took
}

fn open(store: &impl Store, inbox: &Inbox, hub: &mut Hub, name: &RoomName) -> Duration {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut cx = Context::from_waker(&waker);
    let now = Timestamp::ZERO;
    let begun = Instant::now();
    let conn = hub.open(now, name, Access::FULL).expect("there is room");
    hub.handle(now, Input::Frame { conn, frame: encode::sync_step1(&[0]) });
    loop {
        while let Some(output) = hub.poll_output() {
            match output {
                Output::Store(op) => {
                    let reply = inbox.reply_for(&op);
                    store.submit(op, reply);
                }
                Output::Send { conn, frame } => {
                    let answer = frame.starts_with(&[0, 1]);
                    hub.handle(now, Input::Flushed { conn, bytes: frame.len() });
                    if answer {
                        return begun.elapsed();
                    }
                }
                Output::Close { reason, .. } => panic!("closed: {reason}"),
                Output::Pause { .. } | Output::Resume { .. } => {}
                Output::Application(_) | Output::Event(_) => {}
            }
        }
        match inbox.poll_take(&mut cx) {
            Poll::Ready(inputs) => inputs.into_iter().for_each(|input| hub.handle(now, input)),
            Poll::Pending => std::thread::park(),
        }
    }
}

/// Bytes of this process in memory.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages = pages.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok());
    pages.expect("a number") * 4_096
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
