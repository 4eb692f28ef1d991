//! What stands beside the updates: times, metadata, and lists of rooms.

use super::super::{BlockingStore, Browse, Examined, Metadata, Stamp, now_ms};
use super::{batch, name, snapshot};
use std::sync::{Arc, Mutex};
use yroom::{Append, Batch, RoomId, RoomName, Seq, StoreFaultKind};

/// Runs the cases of a store whose rooms have a history. `open` opens the same medium each time,
/// after the store that it gave before was dropped, and has it ask for metadata.
///
/// # Panics
///
/// If a rule is broken: the message says which.
pub fn run<S: BlockingStore + Browse>(mut open: impl FnMut(Metadata) -> S) {
    let open: Open<'_, S> = &mut open;
    what_is_said_about_a_batch_is_kept_as_long_as_the_batch(open);
    metadata_that_cannot_be_had_costs_no_update(open);
    what_is_restored_keeps_its_stamps(open);
    rooms_are_listed_with_their_size_and_last_change(open);
}

type Open<'a, S> = &'a mut dyn FnMut(Metadata) -> S;

fn what_is_said_about_a_batch_is_kept_as_long_as_the_batch<S: BlockingStore + Browse>(
    open: Open<'_, S>,
) {
    let room = name("history/said");
    let say = |_: &RoomName, batch: &Batch| format!("said of {}", batch.first().0).into_bytes();
    let begin = now_ms();
    let mut store = open(Metadata::new(say));
    for (first, count) in [(1, 1), (2, 4), (6, 2)] {
        append(&mut store, &room, batch(first, count));
    }
    let all = [(1, 1, "said of 1"), (2, 5, "said of 2"), (6, 7, "said of 6")];
    said(&mut store, &room, &all, "as it was appended");
    drop(store);
    let mut store = open(Metadata::none());
    said(&mut store, &room, &all, "after reopening");
    append(&mut store, &room, batch(4, 5));
    let cut = [(1, 1, "said of 1"), (2, 3, "said of 2"), (4, 8, "")];
    said(&mut store, &room, &cut, "after other places were appended");
    store.compact(&room, Seq(2), snapshot(2)).expect("within a batch");
    let rest = [(3, 3, "said of 2"), (4, 8, "")];
    said(&mut store, &room, &rest, "but for what is folded");
    drop(store);
    let mut store = open(Metadata::none());
    said(&mut store, &room, &rest, "after reopening again");
    let examined = store.examine(&room).expect("it is there");
    let times = examined.snapshot_ms.into_iter().chain(examined.history().map(|it| it.at_ms));
    let times: Vec<i64> = times.collect();
    assert!(times.iter().all(|at| (begin..=now_ms()).contains(at)), "{times:?}");
    assert_eq!(examined.changed_ms(), times.last().copied());
    store.delete(&room).expect("it is there");
    append(&mut store, &room, batch(1, 1));
    said(&mut store, &room, &[(1, 1, "")], "after a deletion");
}

fn metadata_that_cannot_be_had_costs_no_update<S: BlockingStore + Browse>(open: Open<'_, S>) {
    let room = name("history/not said");
    let reports = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&reports);
    let metadata = Metadata::new(|_, batch| match batch.first() {
        Seq(1) => vec![b'm'; Metadata::MAX_BYTES],
        Seq(2) => vec![b'm'; Metadata::MAX_BYTES + 1],
        Seq(3) => panic!("on purpose"),
        Seq(_) => Vec::new(),
    })
    .on_fault(move |what| log.lock().expect("no panic").push(what.to_owned()));
    let mut store = open(metadata);
    for first in 1..=4 {
        append(&mut store, &room, batch(first, 1));
    }
    drop(store);
    let mut store = open(Metadata::none());
    let examined = store.examine(&room).expect("it is there");
    let lengths: Vec<usize> = examined.history().map(|it| it.metadata.len()).collect();
    assert_eq!(lengths, [Metadata::MAX_BYTES, 0, 0, 0]);
    assert_eq!(examined.stored.last(), Seq(4), "every update is stored");
    assert_eq!(reports.lock().expect("no panic").len(), 2, "and what is wrong is reported");
    assert_eq!(store.load(&room).expect("it is sound").last(), Seq(4));
}

fn what_is_restored_keeps_its_stamps<S: BlockingStore + Browse>(open: Open<'_, S>) {
    let (room, other) = (name("history/restored"), name("history/restored, too"));
    let mut store = open(Metadata::new(|_, _| panic!("it is not asked about the past")));
    let row = |room: &RoomName, first, at_ms, metadata: &'static str| {
        (of(room, batch(first, 1)), Stamp { at_ms, metadata: metadata.into() })
    };
    store
        .restore(&[row(&room, 1, 1_000, "a"), row(&room, 2, 500, ""), row(&other, 1, -7, "c")])
        .expect("times need no order");
    store.restore(&[row(&room, 3, 2_000, "d")]).expect("it goes on");
    let fault = store.restore(&[row(&room, 5, 1, "")]).expect_err("a hole");
    assert_eq!(fault.kind, StoreFaultKind::NotDone, "{fault}");
    drop(store);
    let mut store = open(Metadata::none());
    said(&mut store, &room, &[(1, 1, "a"), (2, 2, ""), (3, 3, "d")], "restored");
    said(&mut store, &other, &[(1, 1, "c")], "restored");
    let times = |it: &Examined| it.history().map(|it| it.at_ms).collect::<Vec<_>>();
    let examined = store.examine(&room).expect("it is there");
    assert_eq!(times(&examined), [1_000, 500, 2_000]);
    let stored = store.load(&room).expect("it is sound");
    let year = std::time::Duration::from_hours(24 * 365);
    assert!(stored.changed_ago.is_none_or(|ago| ago > year), "it changed long ago");
    append(&mut store, &room, batch(4, 1));
    store.compact(&room, Seq(3), snapshot(3)).expect("what was restored");
    let examined = store.examine(&room).expect("it is there");
    assert_eq!(examined.snapshot_ms, Some(2_000), "the last change that is folded");
}

fn rooms_are_listed_with_their_size_and_last_change<S: BlockingStore + Browse>(open: Open<'_, S>) {
    let mut store = open(Metadata::none());
    let (folded, mixed) = (name("history/list/folded"), name("history/list/mixed"));
    for room in [&folded, &mixed] {
        append(&mut store, room, batch(1, 10));
    }
    store.compact(&folded, Seq(10), snapshot(10)).expect("all of it");
    store.compact(&mixed, Seq(8), snapshot(8)).expect("most of it");
    drop(store);
    let mut store = open(Metadata::none());
    let list = store.list().expect("it can be read");
    assert!(list.is_sorted_by(|a, b| a.name < b.name), "{list:?}");
    let names: Vec<RoomName> = list.iter().map(|it| it.name.clone()).collect();
    assert_eq!(names, store.rooms().expect("it can be read"));
    for (room, rows) in [(&folded, 1), (&mixed, 2)] {
        let listed = list.iter().find(|it| it.name == *room).expect("it is listed");
        let examined = store.examine(room).expect("it is there");
        assert_eq!((listed.updates, listed.rows), (10, rows), "{room:?}");
        assert_eq!((listed.bytes, listed.changed_ms), (examined.bytes, examined.changed_ms()));
        assert!(listed.changed_ms.is_some());
    }
}

/// Checks the places and metadata of a room's history.
fn said<S: Browse>(store: &mut S, room: &RoomName, expected: &[(u64, u64, &str)], when: &str) {
    let examined = store.examine(room).unwrap_or_else(|fault| panic!("{when}: {fault}"));
    assert_eq!(examined.damage, None, "{when}");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let found: Vec<(u64, u64, String)> =
        examined.history().map(|it| (it.first.0, it.last.0, text(it.metadata))).collect();
    let found: Vec<(u64, u64, &str)> = found.iter().map(|it| (it.0, it.1, &it.2[..])).collect();
    assert_eq!(found, expected, "{when}");
}

fn append<S: BlockingStore>(store: &mut S, room: &RoomName, batch: Batch) {
    store.append(&[of(room, batch)]).expect("stored");
}

fn of(room: &RoomName, batch: Batch) -> Append {
    Append { room: RoomId::from_raw(1), name: room.clone(), batch }
}
