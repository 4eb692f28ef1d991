//! Torn ends, damaged files, full disks, and what is refused.

use bytes::Bytes;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use yroom::wire::varint;
use yroom::{Append, Batch, RoomId, RoomName, Seq, StoreFault, StoreFaultKind};
use yroom_file::{FileStore, OpenError};
use yroom_net::store::{BlockingStore, Browse, check};

#[test]
fn a_file_torn_at_any_byte_of_its_last_record_keeps_everything_before_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut store = FileStore::open(dir.path()).expect("it opens");
    for place in 1..=3 {
        append(&mut store, place).expect("stored");
    }
    let path = file_of(dir.path());
    let before = size(&path);
    append(&mut store, 4).expect("stored");
    drop(store);
    let whole = fs::read(&path).expect("it is there");
    for cut in before..whole.len() as u64 {
        fs::write(&path, &whole[..cut as usize]).expect("it is written");
        let reports = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&reports);
        let mut store = FileStore::open(dir.path())
            .expect("it opens")
            .on_repair(move |what| log.lock().expect("one thread").push(what.to_owned()));
        assert_eq!(store.load(&name()).expect("a torn end is no fault").last(), Seq(3));
        let reported = reports.lock().expect("one thread").len();
        assert_eq!(reported, usize::from(cut > before), "cut at {cut}");
        let summary = check(&mut store, |_| {}).expect("it can be read");
        assert_eq!(summary.damaged, 0);
        append(&mut store, 4).expect("the log goes on");
        assert_eq!(store.load(&name()).expect("it is sound again").last(), Seq(4));
        if cut > before {
            let aside = format!("{}.torn-{before}", path.display());
            assert_eq!(fs::read(&aside).expect("put aside"), &whole[before as usize..cut as usize]);
            fs::remove_file(aside).expect("it is there");
        }
    }
}

#[test]
fn a_compaction_puts_a_torn_end_aside_too() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut store = FileStore::open(dir.path()).expect("it opens");
    append(&mut store, 1).expect("stored");
    let path = file_of(dir.path());
    let sound = size(&path);
    let mut bytes = fs::read(&path).expect("it is there");
    bytes.extend(b"half a record");
    fs::write(&path, &bytes).expect("it is written");
    store.compact(&name(), Seq(1), snapshot(1)).expect("the torn end does not matter");
    let aside = fs::read(format!("{}.torn-{sound}", path.display())).expect("put aside");
    assert_eq!(aside, b"half a record");
    assert_eq!(store.load(&name()).expect("it is sound").snapshot_upto, Seq(1));
}

#[test]
fn damage_before_the_end_is_a_fault_and_changes_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut store = FileStore::open(dir.path()).expect("it opens");
    append(&mut store, 1).expect("stored");
    let path = file_of(dir.path());
    let sound = size(&path) as usize;
    append(&mut store, 2).expect("stored");
    append(&mut store, 3).expect("stored");
    drop(store);
    let mut bytes = fs::read(&path).expect("it is there");
    bytes[sound + 40] ^= 1;
    fs::write(&path, &bytes).expect("it is written");
    let mut store = FileStore::open(dir.path()).expect("it opens");
    assert_eq!(store.load(&name()).expect_err("damaged").kind, StoreFaultKind::Corrupt);
    let fault = append(&mut store, 4).expect_err("a room that cannot be read");
    assert_eq!(fault.kind, StoreFaultKind::Corrupt);
    store.compact(&name(), Seq(3), snapshot(3)).expect_err("a room that cannot be read");
    store.reopen().expect("the other rooms are fine");
    assert!(fs::read(&path).expect("still there") == bytes, "a damaged file was changed");
    let summary = check(&mut store, |it| assert_eq!(it.readable_upto, Seq(1))).expect("readable");
    assert_eq!(summary.damaged, 1);
    assert_eq!(store.examine(&name()).expect("its beginning").stored.last(), Seq(1));
}

#[test]
fn leftovers_of_a_crash_during_a_compaction_are_harmless_and_reported() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut store = FileStore::open(dir.path()).expect("it opens");
    append(&mut store, 1).expect("stored");
    let leftover = file_of(dir.path()).with_extension("new");
    fs::write(&leftover, b"half a fil").expect("it is written");
    assert_eq!(store.load(&name()).expect("unharmed").last(), Seq(1));
    let summary = check(&mut store, |_| {}).expect("readable");
    assert_eq!((summary.rooms, summary.medium.remnants.len()), (1, 1), "{summary:?}");
    assert!(summary.is_sound());
    store.compact(&name(), Seq(1), snapshot(1)).expect("the next one takes its place");
    assert!(!leftover.exists());
    assert!(check(&mut store, |_| {}).expect("readable").medium.remnants.is_empty());
}

#[test]
fn a_deletion_takes_a_damaged_room_and_what_crashes_left_of_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut store = FileStore::open(dir.path()).expect("it opens");
    append(&mut store, 1).expect("stored");
    append(&mut store, 2).expect("stored");
    let path = file_of(dir.path());
    fs::write(path.with_extension("new"), b"half a fil").expect("it is written");
    fs::write(format!("{}.torn-90", path.display()), b"half a record").expect("it is written");
    let mut bytes = fs::read(&path).expect("it is there");
    bytes[60] ^= 1;
    fs::write(&path, &bytes).expect("it is written");
    assert_eq!(store.load(&name()).expect_err("damaged").kind, StoreFaultKind::Corrupt);
    store.delete(&name()).expect("damaged or not");
    let left = fs::read_dir(path.parent().expect("a directory")).expect("it is there").count();
    assert_eq!(left, 0);
    append(&mut store, 1).expect("a new beginning");
    assert_eq!(store.load(&name()).expect("it is sound").last(), Seq(1));
}

#[test]
fn a_second_store_and_an_unknown_format_are_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let first = FileStore::open(dir.path()).expect("the first");
    assert!(matches!(FileStore::open(dir.path()), Err(OpenError::Lock(_))));
    drop(first);
    fs::write(dir.path().join("yroom-files"), "yroom files 2\n").expect("as a newer one would");
    assert!(matches!(FileStore::open(dir.path()), Err(OpenError::Foreign { .. })));
    let read = fs::read_to_string(dir.path().join("yroom-files")).expect("still there");
    assert_eq!(read, "yroom files 2\n");
}

#[test]
#[ignore = "needs root, to mount a small file system"]
fn a_full_disk_loses_nothing_serves_readers_and_is_recovered_from_without_a_restart() {
    let dir = tempfile::tempdir().expect("a directory");
    let mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs"];
    assert!(run(&mount, dir.path()), "mount");
    let result = std::panic::catch_unwind(|| fill_the_disk(&dir.path().join("data")));
    assert!(run(&["umount"], dir.path()), "umount");
    result.expect("as it should");
}

fn fill_the_disk(dir: &Path) {
    let mut store = FileStore::open(dir).expect("there is room yet");
    fs::write(dir.join("ballast"), vec![0; 256 << 10]).expect("there is room yet");
    let mut place = 0;
    let fault = loop {
        match append(&mut store, place + 1) {
            Ok(()) => place += 1,
            Err(fault) => break fault,
        }
        assert!(place < 100_000, "the disk never fills");
    };
    assert_eq!(fault.kind, StoreFaultKind::NotDone, "{fault}");
    for _ in 0..100 {
        append(&mut store, place + 1).expect_err("still full");
    }
    assert_eq!(store.load(&name()).expect("readers are served").last(), Seq(place));
    fs::remove_file(dir.join("ballast")).expect("space returns");
    append(&mut store, place + 1).expect("without a restart");
    drop(store);
    let mut store = FileStore::open(dir).expect("it opens");
    assert_eq!(store.load(&name()).expect("all of it").last(), Seq(place + 1));
}

fn append(store: &mut FileStore, place: u64) -> Result<(), StoreFault> {
    let mut update = vec![1, 1, 1];
    varint::write(&mut update, place - 1);
    update.extend([4, 1, 1, b't', 1, b'a', 0]);
    let batch = Batch::single(Seq(place), &update);
    store.append(&[Append { room: RoomId::from_raw(1), name: name(), batch }])
}

fn snapshot(letters: u8) -> Bytes {
    let mut update = vec![1, 1, 1, 0, 4, 1, 1, b't', letters];
    update.resize(update.len() + usize::from(letters), b'a');
    update.push(0);
    update.into()
}

fn name() -> RoomName {
    RoomName::new("a/Room").expect("a name")
}

/// The only room's file.
fn file_of(dir: &Path) -> PathBuf {
    let mut dirs = vec![dir.join("rooms")];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).expect("it is there") {
            let path = entry.expect("it is there").path();
            match path.extension() {
                Some(ending) if ending == "room" => return path,
                _ => dirs.push(path),
            }
        }
    }
    panic!("no room's file");
}

fn size(path: &Path) -> u64 {
    path.metadata().expect("it is there").len()
}

fn run(command: &[&str], path: &Path) -> bool {
    Command::new(command[0]).args(&command[1..]).arg(path).status().is_ok_and(|it| it.success())
}
