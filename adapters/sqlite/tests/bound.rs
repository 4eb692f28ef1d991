//! The bound on the size of the database.
#![cfg(unix)]

use bytes::Bytes;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use yroom::update::{ScanLimits, scan};
use yroom::wire::varint;
use yroom::{Append, Batch, RoomId, RoomName, Seq, StoreOp, Stored};
use yroom_net::store::{
    BlockingStore, Browse, Inbox, Stamp, Store, Threaded, Tidied, check, now_ms,
};
use yroom_sqlite::SqliteStore;

const ROOMS: u64 = 20;
const ROWS: u64 = 400;
const DIR: &str = "YROOM_TEST_BOUND_DIR";

fn bounded(dir: &Path, bytes: u64) -> (SqliteStore, Receiver<String>) {
    let (notices, told) = channel();
    let report = move |what: &str| drop(notices.send(what.to_owned()));
    (SqliteStore::open(dir).expect("it opens").at_most(bytes).on_notice(report), told)
}

/// Rooms with a letter a row, of which the first are the newest.
fn fill(dir: &Path) -> u64 {
    let mut store = SqliteStore::open(dir).expect("it opens");
    for room in 0..ROOMS {
        let at_ms = now_ms() - 1_000_000 * room.cast_signed();
        let rows: Vec<_> =
            (1..=ROWS).map(|place| (one(&name(room), place), Stamp::at(at_ms))).collect();
        store.restore(&rows).expect("stored");
        store.release(&name(room));
    }
    drop(store);
    size(dir)
}

/// Tidies as long as there is something to tidy; says how often that was.
fn tidy(store: &mut SqliteStore) -> u64 {
    let mut steps = 0;
    while store.tidy().expect("no fault") == Tidied::More {
        steps += 1;
        assert!(steps < 10_000, "it never ends");
    }
    steps
}

#[test]
fn above_the_bound_rooms_at_rest_are_folded_beginning_with_the_oldest_and_no_more_than_it_takes() {
    let dir = tempfile::tempdir().expect("a directory");
    let full = fill(dir.path());
    let bound = full * 3 / 4;
    let (mut store, told) = bounded(dir.path(), bound);
    let (open, last) = (name(ROOMS - 2), name(ROOMS - 1));
    store.load(&open).expect("it is there");
    let steps = tidy(&mut store);
    assert!((5..100).contains(&steps), "one room at a time: {steps}");
    let folded: Vec<bool> = (0..ROOMS).map(|room| is_folded(&mut store, &name(room))).collect();
    assert!(is_folded(&mut store, &last), "the oldest");
    assert!(!is_folded(&mut store, &open), "it is in use");
    let first = folded.iter().position(|it| *it).expect("some");
    assert!((5..15).contains(&first), "about half of them: {folded:?}");
    assert!(folded[first..].iter().filter(|it| !**it).count() == 1, "in order: {folded:?}");
    let notice = told.try_recv().expect("it is told");
    assert!(notice.contains("rooms at rest were folded"), "{notice}");
    told.try_recv().expect_err("once");
    for room in 0..ROOMS {
        expect(&store.load(&name(room)).expect("it is sound"), ROWS);
    }
    // The engine's own fold of the room that was open finds what it knows.
    store.compact(&open, Seq(ROWS), whole(ROWS)).expect("it is as it was");
    drop(store);
    assert!(size(dir.path()) <= bound, "{} bytes are left of {full}", size(dir.path()));
}

#[test]
fn below_the_bound_nothing_is_folded() {
    let dir = tempfile::tempdir().expect("a directory");
    let full = fill(dir.path());
    let (mut store, told) = bounded(dir.path(), full * 2);
    assert_eq!(tidy(&mut store), 0);
    assert!((0..ROOMS).all(|room| !is_folded(&mut store, &name(room))));
    told.try_recv().expect_err("there is nothing to tell");
}

#[test]
fn what_is_not_enough_is_told_and_no_document_is_deleted() {
    let dir = tempfile::tempdir().expect("a directory");
    fill(dir.path());
    let (mut store, told) = bounded(dir.path(), 4_096);
    tidy(&mut store);
    let notice = told.try_recv().expect("it is told");
    assert!(notice.contains("nothing is left to be freed"), "{notice}");
    assert!(
        (0..ROOMS).all(|room| is_folded(&mut store, &name(room))),
        "what could be done is done"
    );
    // Not again with each commit that follows, and appends go on.
    for place in 1..=200 {
        store.append(&[one(&name(ROOMS), place)]).expect("stored");
        tidy(&mut store);
    }
    told.try_recv().expect_err("it is known");
    for room in 0..ROOMS {
        expect(&store.load(&name(room)).expect("it is sound"), ROWS);
    }
    expect(&store.load(&name(ROOMS)).expect("it is sound"), 200);
}

#[test]
fn a_room_that_is_open_when_the_store_is_opened_anew_is_not_at_rest() {
    let dir = tempfile::tempdir().expect("a directory");
    fill(dir.path());
    let (mut store, _told) = bounded(dir.path(), 4_096);
    let open = name(3);
    store.load(&open).expect("it is there");
    store.append(&[one(&open, ROWS + 1)]).expect("stored, though nobody heard of it");
    store.reopen().expect("it opens");
    tidy(&mut store);
    assert!(!is_folded(&mut store, &open) && is_folded(&mut store, &name(4)));
    store.append(&[one(&open, ROWS + 1)]).expect("the same places again");
    store.release(&open);
    expect(&store.load(&open).expect("it is sound"), ROWS + 1);
}

#[test]
fn a_damaged_room_is_left_as_it_is_and_the_others_are_folded() {
    let dir = tempfile::tempdir().expect("a directory");
    fill(dir.path());
    let db = rusqlite::Connection::open(dir.path().join("yroom.db")).expect("it opens");
    let changed = db.execute(
        "UPDATE log SET data = x'00' WHERE first = 7 AND room =
            (SELECT id FROM room WHERE name = 'bound/5')",
        [],
    );
    assert_eq!(changed.expect("it runs"), 1);
    drop(db);
    let (mut store, _told) = bounded(dir.path(), 4_096);
    tidy(&mut store);
    for room in 0..ROOMS {
        assert_eq!(is_folded(&mut store, &name(room)), room != 5, "{room}");
    }
    let summary = check(&mut store, |_| {}).expect("it can be read");
    assert_eq!((summary.rooms, summary.damaged), (ROOMS, 1));
}

#[test]
fn it_goes_on_while_nobody_writes_and_ends_with_the_store() {
    let dir = tempfile::tempdir().expect("a directory");
    fill(dir.path());
    let (store, told) = bounded(dir.path(), 4_096);
    let store = Threaded::new(store).expect("a thread");
    let inbox = Inbox::new();
    let op = StoreOp::Append(one(&name(ROOMS), 1));
    let reply = inbox.reply_for(&op);
    store.submit(op, reply);
    let notice = told.recv_timeout(Duration::from_mins(1)).expect("after one commit");
    assert!(notice.contains(&format!("the logs of {ROOMS} rooms")), "{notice}");
    assert_eq!(inbox.take().len(), 1);
    store.close();
}

/// Not a test: what the next one starts as a process, to kill it.
#[test]
#[ignore = "is started by the other test"]
fn writer() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let (mut store, _told) = bounded(Path::new(&dir), 16 << 10);
    for place in 1..=ROWS {
        for room in 0..4 {
            store.append(&[one(&name(room), place)]).expect("stored");
            // One line, written at once.
            let line = format!("ack {room} {place}\n");
            std::io::stdout().lock().write_all(line.as_bytes()).expect("somebody listens");
            store.release(&name(room));
            // As if so many other rooms had written.
            for _ in 0..100 {
                tidy(&mut store);
            }
        }
    }
    std::process::exit(0);
}

#[test]
fn nothing_acknowledged_is_lost_when_the_process_is_killed_while_rooms_are_folded() {
    let mut folded = 0;
    for round in 0..8 {
        let dir = tempfile::tempdir().expect("a directory");
        let acknowledged = kill_writer(dir.path(), 240 + round * 53);
        let mut store = SqliteStore::open(dir.path()).expect("it opens");
        let summary = check(&mut store, |_| {}).expect("it can be read");
        assert!(summary.is_sound(), "round {round}: {summary:?}");
        for (room, least) in acknowledged {
            let stored = store.load(&name(room)).expect("it is sound");
            let last = stored.last().0;
            assert!(last >= least, "round {round}: acknowledged up to {least}, {last} is there");
            expect(&stored, last);
            folded += u64::from(stored.snapshot.is_some());
        }
    }
    assert!(folded > 8, "only {folded} rooms were folded: was anything tested?");
}

/// Kills the writer when it has acknowledged so many; gives the last of each room.
fn kill_writer(dir: &Path, after: usize) -> BTreeMap<u64, u64> {
    let mut child = Command::new(std::env::current_exe().expect("this test"))
        .args(["writer", "--exact", "--ignored", "--nocapture"])
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the writer starts");
    let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut acknowledged = BTreeMap::new();
    let mut count = 0;
    for line in lines.map_while(Result::ok) {
        let mut words = line.split_whitespace().skip_while(|word| *word != "ack").skip(1);
        let number = |word: Option<&str>| word.and_then(|it| it.parse().ok());
        let (Some(room), Some(place)) = (number(words.next()), number(words.next())) else {
            continue;
        };
        acknowledged.insert(room, place);
        count += 1;
        if count == after {
            child.kill().expect("it can be killed");
        }
    }
    child.wait().expect("it ended");
    assert!(count >= after, "it ended by itself after {count}");
    acknowledged
}

fn is_folded(store: &mut SqliteStore, room: &RoomName) -> bool {
    let examined = store.examine(room).expect("it is there");
    examined.stored.log.is_empty() && examined.damage.is_none()
}

/// Checks that a room has the first `letters` letters, and those alone.
fn expect(stored: &Stored, letters: u64) {
    assert_eq!(stored.last(), Seq(letters));
    let updates = stored.log.iter().flat_map(Batch::updates);
    let mut end = 0;
    for update in stored.snapshot.as_deref().into_iter().chain(updates) {
        let found = scan(update, &ScanLimits::default()).expect("it is sound").ranges;
        assert!(found.iter().all(|range| u64::from(range.start) == end), "{found:?} after {end}");
        end = found.last().map_or(end, |range| range.end.into());
    }
    assert_eq!(end, letters);
}

fn name(room: u64) -> RoomName {
    RoomName::new(&format!("bound/{room}")).expect("a name")
}

fn one(room: &RoomName, place: u64) -> Append {
    let mut update = vec![1, 1, 1];
    varint::write(&mut update, place - 1);
    update.extend([4, 1, 1, b't', 1, b'a', 0]);
    Append {
        room: RoomId::from_raw(1),
        name: room.clone(),
        batch: Batch::single(Seq(place), &update),
    }
}

/// So many letters in one struct.
fn whole(letters: u64) -> Bytes {
    let mut update = vec![1, 1, 1, 0, 4, 1, 1, b't'];
    varint::write(&mut update, letters);
    update.resize(update.len() + letters as usize, b'a');
    update.push(0);
    update.into()
}

fn size(dir: &Path) -> u64 {
    dir.join("yroom.db").metadata().expect("it is there").len()
}
