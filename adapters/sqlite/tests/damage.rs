//! Damaged rows, full disks, and space that is given back.

use bytes::Bytes;
use rusqlite::{Connection, params};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use yroom::wire::varint;
use yroom::{Append, Batch, RoomId, RoomName, Seq, StoreFault, StoreFaultKind};
use yroom_net::store::{BlockingStore, Browse, check};
use yroom_sqlite::SqliteStore;

#[test]
fn a_damaged_room_is_a_fault_of_its_own_and_check_says_what_can_be_read() {
    for sql in [
        "UPDATE log SET data = CAST(data || x'00' AS BLOB) WHERE room = ?1 AND first = 4",
        "UPDATE log SET at_ms = at_ms + 1 WHERE room = ?1 AND first = 4",
        "UPDATE log SET first = 40 WHERE room = ?1 AND first = 4",
        "DELETE FROM log WHERE room = ?1 AND first = 4",
        "UPDATE log SET room = ?1 + 1000 WHERE room = ?1 AND first = 4",
    ] {
        let dir = tempfile::tempdir().expect("a directory");
        fill(dir.path(), &["bad", "good"]);
        damage(dir.path(), "bad", sql);
        let mut store = SqliteStore::open(dir.path()).expect("the database is fine");
        let fault = store.load(&name("bad")).expect_err(sql);
        assert_eq!(fault.kind, StoreFaultKind::Corrupt, "{sql}: {fault}");
        assert_eq!(store.load(&name("good")).expect("unharmed").last(), Seq(6));
        append(&mut store, "good", 7).expect("unharmed");
        let mut reports = Vec::new();
        let summary = check(&mut store, |it| reports.push(it.clone())).expect("it can be read");
        assert!(!summary.is_sound());
        assert_eq!((summary.rooms, summary.damaged), (2, 1), "{sql}: {reports:?}");
        let bad = reports.iter().find(|it| it.name == name("bad")).expect("it is listed");
        assert_eq!(bad.readable_upto, Seq(3), "{sql}: {bad:?}");
        let sound = store.examine(&name("bad")).expect("what is before the damage").stored;
        assert_eq!(sound.last(), Seq(3));
    }
}

#[test]
fn a_damaged_snapshot_or_name_is_found_too() {
    let dir = tempfile::tempdir().expect("a directory");
    fill(dir.path(), &["a", "b"]);
    let mut store = SqliteStore::open(dir.path()).expect("it opens");
    store.compact(&name("a"), Seq(3), snapshot(3)).expect("it is right");
    drop(store);
    damage(dir.path(), "a", "UPDATE snapshot SET upto = 2 WHERE room = ?1");
    damage(dir.path(), "b", "UPDATE room SET name = 'c' WHERE id = ?1");
    let mut store = SqliteStore::open(dir.path()).expect("the database is fine");
    assert_eq!(store.load(&name("a")).expect_err("a").kind, StoreFaultKind::Corrupt);
    assert_eq!(store.load(&name("c")).expect_err("c").kind, StoreFaultKind::Corrupt);
    let summary = check(&mut store, |_| {}).expect("it can be read");
    assert_eq!(summary.damaged, 1);
    assert!(summary.medium.problems.iter().any(|it| it.contains("\"c\"")), "{summary:?}");
}

#[test]
fn a_damaged_room_can_be_deleted_unless_nobody_knows_which_it_is() {
    let dir = tempfile::tempdir().expect("a directory");
    fill(dir.path(), &["bad", "worse", "good"]);
    damage(dir.path(), "bad", "UPDATE log SET at_ms = 0 WHERE room = ?1 AND first = 4");
    damage(dir.path(), "worse", "UPDATE room SET crc = 1 WHERE id = ?1");
    let mut store = SqliteStore::open(dir.path()).expect("the database is fine");
    store.delete(&name("bad")).expect("its row says which it is");
    assert!(store.load(&name("bad")).expect("it is gone").is_absent());
    let fault = store.delete(&name("worse")).expect_err("its row is wrong");
    assert_eq!(fault.kind, StoreFaultKind::Corrupt, "{fault}");
    assert_eq!(store.load(&name("good")).expect("unharmed").last(), Seq(6));
    let survey = store.survey().expect("it can be read");
    assert_eq!(survey.problems.len(), 1, "only the wrong row: {survey:?}");
}

#[test]
fn a_snapshot_that_lacks_something_replaces_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    fill(dir.path(), &["r"]);
    let mut store = SqliteStore::open(dir.path()).expect("it opens");
    for wrong in [snapshot(5), Bytes::new(), snapshot(6).slice(..10)] {
        let fault = store.compact(&name("r"), Seq(6), wrong).expect_err("it lacks something");
        assert_eq!(fault.kind, StoreFaultKind::NotDone, "{fault}");
    }
    let stored = store.load(&name("r")).expect("it is there");
    assert_eq!((stored.snapshot_upto, stored.last()), (Seq::ZERO, Seq(6)));
}

#[test]
fn opening_anew_finds_what_was_stored() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut store = SqliteStore::open(dir.path()).expect("it opens");
    for place in 1..=50 {
        append(&mut store, "r", place).expect("stored");
        store.reopen().expect("the file is fine");
    }
    assert_eq!(store.load(&name("r")).expect("it is there").last(), Seq(50));
}

#[test]
#[ignore = "needs root, to mount a small file system"]
fn a_full_disk_loses_nothing_serves_readers_and_is_recovered_from_without_a_restart() {
    let dir = tempfile::tempdir().expect("a directory");
    let mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs"];
    assert!(run(&mount, dir.path()), "mount");
    let result = std::panic::catch_unwind(|| fill_the_disk(&dir.path().join("data")));
    assert!(run(&["umount"], dir.path()), "umount");
    result.expect("as it should");
}

fn fill_the_disk(dir: &Path) {
    let mut store = SqliteStore::open(dir).expect("there is room yet");
    fs::write(dir.join("ballast"), vec![0; 1 << 20]).expect("there is room yet");
    let mut place = 0;
    let fault = loop {
        match append(&mut store, "r", place + 1) {
            Ok(()) => place += 1,
            Err(fault) => break fault,
        }
        assert!(place < 100_000, "the disk never fills");
    };
    assert_eq!(fault.kind, StoreFaultKind::NotDone, "{fault}");
    assert!(fault.message.contains("full"), "{fault}");
    for _ in 0..100 {
        append(&mut store, "r", place + 1).expect_err("still full");
    }
    assert_eq!(store.load(&name("r")).expect("readers are served").last(), Seq(place));
    assert!(store.load(&name("unknown")).expect("readers are served").is_absent());
    fs::remove_file(dir.join("ballast")).expect("space returns");
    append(&mut store, "r", place + 1).expect("without a restart");
    drop(store);
    let mut store = SqliteStore::open(dir).expect("it opens");
    assert_eq!(store.load(&name("r")).expect("all of it").last(), Seq(place + 1));
}

#[test]
fn a_day_of_typing_leaves_little_behind() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut store = SqliteStore::open(dir.path()).expect("it opens");
    let count = 60_000;
    for first in (1..=count).step_by(1_000) {
        // A row each, as they come in when somebody types alone.
        let appends: Vec<Append> = (first..first + 1_000).map(|place| one("r", place)).collect();
        store.append(&appends).expect("stored");
    }
    let peak = size(dir.path());
    let letters = 300_000;
    let snapshot = snapshot(letters);
    store.compact(&name("r"), Seq(count), snapshot.clone()).expect("it holds everything");
    let left = size(dir.path());
    let bound = 2 * snapshot.len() as u64 + (1 << 20);
    assert!(left <= bound, "{left} bytes are left of {peak}; at most {bound} are allowed");

    let begin = Instant::now();
    drop(store);
    let mut store = SqliteStore::open(dir.path()).expect("it opens");
    let opened = begin.elapsed();
    let mut best = Duration::MAX;
    for _ in 0..20 {
        store.release(&name("r"));
        let begin = Instant::now();
        assert!(store.load(&name("r")).expect("it is there").snapshot.is_some());
        best = best.min(begin.elapsed());
    }
    eprintln!("{peak} bytes before, {left} after; opened in {opened:?}; loaded in {best:?}");
    if !cfg!(debug_assertions) {
        assert!(best <= Duration::from_millis(3), "a load of 300 kB took {best:?}");
    }
}

fn fill(dir: &Path, rooms: &[&str]) {
    let mut store = SqliteStore::open(dir).expect("it opens");
    for place in 1..=6 {
        for room in rooms {
            append(&mut store, room, place).expect("stored");
        }
    }
}

fn damage(dir: &Path, room: &str, sql: &str) {
    let db = Connection::open(dir.join("yroom.db")).expect("it opens");
    let select = "SELECT id FROM room WHERE name = ?1";
    let id: i64 = db.query_row(select, [room], |row| row.get(0)).expect("it is there");
    assert_eq!(db.execute(sql, params![id]).expect("it runs"), 1, "{sql}");
}

fn append(store: &mut SqliteStore, room: &str, place: u64) -> Result<(), StoreFault> {
    store.append(&[one(room, place)])
}

fn one(room: &str, place: u64) -> Append {
    let batch = Batch::single(Seq(place), &update(place - 1));
    Append { room: RoomId::from_raw(1), name: name(room), batch }
}

fn name(name: &str) -> RoomName {
    RoomName::new(name).expect("a name")
}

/// Client 1 types a letter at `clock`.
fn update(clock: u64) -> Vec<u8> {
    let mut update = vec![1, 1, 1];
    varint::write(&mut update, clock);
    update.extend([4, 1, 1, b't', 1, b'a', 0]);
    update
}

/// Client 1 has typed `letters` letters, in one struct.
fn snapshot(letters: usize) -> Bytes {
    let mut update = vec![1, 1, 1, 0, 4, 1, 1, b't'];
    varint::write(&mut update, letters as u64);
    update.resize(update.len() + letters, b'a');
    update.push(0);
    update.into()
}

fn size(dir: &Path) -> u64 {
    fs::read_dir(dir)
        .expect("it is there")
        .map(|entry| entry.and_then(|it| it.metadata()).expect("it is there").len())
        .sum()
}

fn run(command: &[&str], path: &Path) -> bool {
    Command::new(command[0]).args(&command[1..]).arg(path).status().is_ok_and(|it| it.success())
}
