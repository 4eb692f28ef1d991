//! What every [`Store`] has to pass: give [`run`] a way to open yours.
//!
//! ```
//! use yroom_net::store::{MemoryStore, conformance};
//!
//! let store = MemoryStore::new();
//! conformance::run(|| store.clone());
//! ```
//!
//! A store on a disk is opened on the same directory each time:
//!
//! ```no_run
//! # use yroom_net::store::{BlockingStore, MemoryStore, Threaded, conformance};
//! # fn check<MyStore: BlockingStore>(open: impl Fn(&std::path::Path) -> MyStore) {
//! # let dir = std::path::Path::new("");
//! conformance::run(|| Threaded::new(open(dir)).unwrap());
//! # }
//! ```
//!
//! [`run_history`] is for what stands beside the updates, in stores that can be gone through;
//! [`run_compression`] for stores that compress.
//! [`write_script`] and [`check_script`] are for crashes, which only a process of its own can have.

mod compression;
mod history;
mod probe;
mod script;

pub use compression::run as run_compression;
pub use history::run as run_history;
pub use script::{COMMITS, check_script, write_script};

use super::Store;
use bytes::Bytes;
use probe::{Probe, snapshot, update_of};
use std::time::{Duration, Instant};
use yroom::{Batch, RoomName, Seq, StoreFaultKind, Stored};

/// Runs every case.
///
/// `open` opens the same medium each time, after the store that it gave before was closed. Rooms
/// with odd names are made in it, so it should be one of its own.
///
/// # Panics
///
/// If a rule is broken: the message says which.
pub fn run<S: Store>(mut open: impl FnMut() -> S) {
    let open: Open<'_, S> = &mut open;
    an_absent_room_is_absent(open);
    what_was_appended_is_there_after_reopening(open);
    the_same_places_come_again_in_another_division(open);
    a_hole_is_refused_and_changes_nothing(open);
    a_snapshot_replaces_what_it_covers(open);
    compactions_that_make_no_sense_are_refused(open);
    appends_go_on_during_a_compaction(open);
    what_comes_after_a_compaction_is_kept_over_reopening(open);
    a_released_room_is_loaded_again_as_it_was(open);
    a_deleted_room_is_absent_and_begins_anew(open);
    a_deletion_is_in_order_with_what_is_around_it(open);
    names_are_told_apart(open);
    many_rooms_at_once(open);
    one_rooms_refusal_is_its_own(open);
    large_updates_come_back_whole(open);
    a_load_tells_how_old_it_is(open);
    a_closed_store_refuses(open);
}

type Open<'a, S> = &'a mut dyn FnMut() -> S;

fn an_absent_room_is_absent<S: Store>(open: Open<'_, S>) {
    let store = Probe::new(open());
    let stored = store.load(&name("absent")).expect("a room that is not there is no fault");
    assert!(stored.is_absent(), "nothing was stored, but {stored:?} is there");
    // Having been asked for does not make it exist.
    let store = store.reopen(open);
    assert!(store.load(&name("absent")).expect("still no fault").is_absent());
}

fn what_was_appended_is_there_after_reopening<S: Store>(open: Open<'_, S>) {
    let room = name("order");
    let store = Probe::new(open());
    store.append(&room, batch(1, 1)).expect("the first place");
    store.append(&room, batch(2, 7)).expect("the places after it");
    store.append(&room, batch(9, 1)).expect("the place after those");
    expect(&store.load(&room), 0, 9, "while the store is open");
    let store = store.reopen(open);
    expect(&store.load(&room), 0, 9, "after reopening");
}

fn the_same_places_come_again_in_another_division<S: Store>(open: Open<'_, S>) {
    let room = name("again");
    let store = Probe::new(open());
    store.append(&room, batch(1, 3)).expect("1 to 3");
    store.append(&room, batch(4, 4)).expect("4 to 7");
    store.append(&room, batch(4, 4)).expect("the same again");
    expect(&store.load(&room), 0, 7, "after the same again");
    store.append(&room, batch(6, 4)).expect("6 to 9, across what was one batch");
    expect(&store.load(&room), 0, 9, "after a batch that begins within another");
    store.append(&room, batch(4, 1)).expect("4 alone");
    expect(&store.load(&room), 0, 4, "after an earlier place: what was behind it is gone");
    store.append(&room, batch(1, 9)).expect("everything anew");
    let store = store.reopen(open);
    expect(&store.load(&room), 0, 9, "after reopening");
}

fn a_hole_is_refused_and_changes_nothing<S: Store>(open: Open<'_, S>) {
    let room = name("hole");
    let store = Probe::new(open());
    let fault = store.append(&room, batch(2, 1)).expect_err("a room begins at place 1");
    assert_eq!(fault.kind, StoreFaultKind::NotDone, "{fault}");
    assert!(store.load(&room).expect("no fault").is_absent(), "a refused append made the room");
    store.append(&room, batch(1, 2)).expect("the beginning");
    let fault = store.append(&room, batch(4, 1)).expect_err("place 3 is missing");
    assert_eq!(fault.kind, StoreFaultKind::NotDone, "{fault}");
    expect(&store.load(&room), 0, 2, "after a refused append");
    store.append(&room, batch(3, 2)).expect("the hole is filled");
    let store = store.reopen(open);
    expect(&store.load(&room), 0, 4, "after reopening");
}

fn a_snapshot_replaces_what_it_covers<S: Store>(open: Open<'_, S>) {
    let room = name("compact");
    let store = Probe::new(open());
    for place in 1..=10 {
        store.append(&room, batch(place, 1)).expect("in order");
    }
    store.append(&room, batch(11, 5)).expect("11 to 15");
    store.compact(&room, 10, snapshot(10)).expect("up to a batch's end");
    expect(&store.load(&room), 10, 15, "after the first compaction");
    store.compact(&room, 13, snapshot(13)).expect("up to a batch's middle");
    expect(&store.load(&room), 13, 15, "after a compaction within a batch");
    store.compact(&room, 15, snapshot(15)).expect("up to the end");
    expect(&store.load(&room), 15, 15, "after the last compaction");
    let store = store.reopen(open);
    expect(&store.load(&room), 15, 15, "after reopening");
    let fault = store.append(&room, batch(15, 1)).expect_err("the snapshot covers 15");
    assert_eq!(fault.kind, StoreFaultKind::NotDone, "{fault}");
    // What comes behind a failed append may fail, too, until the room is loaded anew.
    expect(&store.load(&room), 15, 15, "after a refused append");
    store.append(&room, batch(16, 1)).expect("the log goes on where the snapshot ends");
    expect(&store.load(&room), 15, 16, "after going on");
}

fn compactions_that_make_no_sense_are_refused<S: Store>(open: Open<'_, S>) {
    let room = name("refused");
    let store = Probe::new(open());
    let refused = |upto, why: &str| {
        let fault = store.compact(&room, upto, snapshot(upto)).expect_err(why);
        assert_eq!(fault.kind, StoreFaultKind::NotDone, "{why}: {fault}");
    };
    refused(1, "of a room that is not there");
    store.append(&room, batch(1, 8)).expect("1 to 8");
    refused(9, "beyond the end");
    store.compact(&room, 6, snapshot(6)).expect("up to 6");
    refused(5, "behind the snapshot");
    store.compact(&room, 6, snapshot(6)).expect("the same again harms nothing");
    expect(&store.load(&room), 6, 8, "after all that");
}

fn appends_go_on_during_a_compaction<S: Store>(open: Open<'_, S>) {
    let room = name("busy");
    let store = Probe::new(open());
    store.append(&room, batch(1, 100)).expect("1 to 100");
    store.begin_compact(&room, 100, snapshot(100));
    for place in 101..=150 {
        store.begin_append(&room, batch(place, 1));
    }
    store.begin_compact(&room, 120, snapshot(120));
    for place in 151..=200 {
        store.begin_append(&room, batch(place, 1));
    }
    store.all_succeed(102);
    expect(&store.load(&room), 120, 200, "after appends around two compactions");
}

fn what_comes_after_a_compaction_is_kept_over_reopening<S: Store>(open: Open<'_, S>) {
    let room = name("around");
    let mut store = Probe::new(open());
    for round in 0..5 {
        store.append(&room, batch(round * 4 + 1, 3)).expect("three");
        store = store.reopen(open);
        store.compact(&room, round * 4 + 2, snapshot(round * 4 + 2)).expect("up to the second");
        store = store.reopen(open);
        store.append(&room, batch(round * 4 + 4, 1)).expect("the fourth");
        expect(&store.load(&room), round * 4 + 2, round * 4 + 4, "after a round");
    }
}

fn a_released_room_is_loaded_again_as_it_was<S: Store>(open: Open<'_, S>) {
    let room = name("released");
    let store = Probe::new(open());
    for round in 0..10 {
        // All at once: the load has to see the append, whatever is done together.
        store.begin_append(&room, batch(round + 1, 1));
        store.begin_release(&room);
        expect(&store.load_after(&room, 1), 0, round + 1, "a load after a release");
    }
}

fn a_deleted_room_is_absent_and_begins_anew<S: Store>(open: Open<'_, S>) {
    let (room, other) = (name("deleted"), name("deleted/not"));
    let store = Probe::new(open());
    store.delete(&room).expect("a room that is not there is forgotten already");
    for room in [&room, &other] {
        store.append(room, batch(1, 5)).expect("1 to 5");
        store.compact(room, 3, snapshot(3)).expect("up to 3");
    }
    store.delete(&room).expect("snapshot and log");
    assert!(store.load(&room).expect("no fault").is_absent(), "after a deletion");
    store.delete(&room).expect("twice is once");
    let store = store.reopen(open);
    assert!(store.load(&room).expect("no fault").is_absent(), "after reopening");
    let fault = store.append(&room, batch(6, 1)).expect_err("its places begin anew");
    assert_eq!(fault.kind, StoreFaultKind::NotDone, "{fault}");
    store.load(&room).expect("no fault");
    store.append(&room, batch(1, 2)).expect("a new beginning");
    expect(&store.load(&room), 0, 2, "after a new beginning");
    let store = store.reopen(open);
    expect(&store.load(&room), 0, 2, "after a new beginning and reopening");
    expect(&store.load(&other), 3, 5, "the other room");
    // Without having been loaded, too.
    let store = store.reopen(open);
    store.delete(&room).expect("log only");
    assert!(store.load(&room).expect("no fault").is_absent(), "after another deletion");
}

fn a_deletion_is_in_order_with_what_is_around_it<S: Store>(open: Open<'_, S>) {
    let room = name("deleted/at once");
    let store = Probe::new(open());
    for round in 0..5 {
        // All at once: what was before has to be gone, what comes after has to stay.
        store.begin_append(&room, batch(1, 4));
        store.begin_compact(&room, 3, snapshot(3));
        store.begin_append(&room, batch(5, 1));
        store.begin_delete(&room);
        store.begin_append(&room, batch(1, 1));
        store.begin_append(&room, batch(2, 1));
        expect(&store.load_after(&room, 6), 0, 2, &format!("round {round}"));
        store.begin_delete(&room);
        store.begin_release(&room);
        let stored = store.load_after(&room, 1).expect("no fault");
        assert!(stored.is_absent(), "round {round}: {stored:?} is left of a deleted room");
    }
}

fn names_are_told_apart<S: Store>(open: Open<'_, S>) {
    let long = "conformance".repeat(24);
    let names: Vec<RoomName> = [
        "conformance",
        "Conformance",
        "CONFORMANCE",
        "conformance/",
        "conformance//",
        "conformance/a",
        "conformance/../conformance/a",
        "conformance\\a",
        "conformance%2Fa",
        "conformance%2fa",
        "conformance.",
        "conformance ",
        " conformance",
        "conformance?x=1#y",
        "conformance'; DROP TABLE room; --",
        "conformance*",
        "conformance_",
        "conformance:stream",
        "conformance/é",
        "conformance/e\u{301}",
        "conformance/ﬁ",
        "conformance/ß",
        "conformance/ẞ",
        "conformance/İ",
        "conformance/日本語",
        "conformance/🧑‍🧑‍🧒",
        "conformance/\u{202e}rtl",
        "conformance/\u{feff}",
        "conformance/\u{fffd}\u{ffff}\u{10ffff}",
        ".",
        "..",
        "../..",
        "/etc/passwd",
        "-rf",
        "~",
        "con",
        "nul.txt",
        &long[..255],
        &long[1..256],
        &"é".repeat(127),
    ]
    .into_iter()
    .map(|name| RoomName::new(name).expect("a room name"))
    .collect();
    let store = Probe::new(open());
    for (room, count) in names.iter().zip(1..) {
        store.append(room, batch(1, count)).unwrap_or_else(|fault| panic!("{room:?}: {fault}"));
    }
    let store = store.reopen(open);
    for (room, count) in names.iter().zip(1..) {
        expect(&store.load(room), 0, count, room.as_str());
        store.compact(room, count, snapshot(count)).unwrap_or_else(|f| panic!("{room:?}: {f}"));
    }
    let store = store.reopen(open);
    for (room, count) in names.iter().zip(1..) {
        expect(&store.load(room), count, count, room.as_str());
    }
}

fn many_rooms_at_once<S: Store>(open: Open<'_, S>) {
    let store = Probe::new(open());
    let rooms: Vec<RoomName> = (0..200).map(|n| name(&format!("many/{n}"))).collect();
    for place in 1..=5 {
        for room in &rooms {
            store.begin_append(room, batch(place, 1));
        }
    }
    store.all_succeed(1_000);
    let store = store.reopen(open);
    for room in &rooms {
        expect(&store.load(room), 0, 5, room.as_str());
    }
}

fn one_rooms_refusal_is_its_own<S: Store>(open: Open<'_, S>) {
    let store = Probe::new(open());
    for n in 0..20 {
        let first = if n == 10 { 2 } else { 1 };
        store.begin_append(&name(&format!("own/{n}")), batch(first, 1));
    }
    let results = store.results(20);
    let failed = results.iter().filter(|result| result.is_err()).count();
    assert_eq!(failed, 1, "only the append that leaves a hole may fail: {results:?}");
}

fn large_updates_come_back_whole<S: Store>(open: Open<'_, S>) {
    let room = name("large");
    let store = Probe::new(open());
    let large = update_of(0, 64 << 20);
    let first = Batch::single(Seq(1), &large);
    store.append(&room, first.clone()).expect("an update of 64 MiB");
    let store = store.reopen(open);
    let stored = store.load(&room).expect("it is there");
    assert!(stored.log == [first], "an update of 64 MiB came back changed");
    drop(stored);
    store.compact(&room, 1, Bytes::from(large.clone())).expect("a snapshot of 64 MiB");
    let store = store.reopen(open);
    let stored = store.load(&room).expect("it is there");
    assert!(
        stored.snapshot.is_some_and(|it| it == large),
        "a snapshot of 64 MiB came back changed"
    );
}

fn a_load_tells_how_old_it_is<S: Store>(open: Open<'_, S>) {
    let room = name("age");
    let begin = Instant::now();
    let store = Probe::new(open());
    // A store may know nothing of times; what it tells has to be right.
    let at_most = |ago: Option<Duration>, when: &str| {
        // Its clock may count in seconds.
        let most = begin.elapsed() + Duration::from_secs(2);
        assert!(ago.is_none_or(|ago| ago <= most), "{when}: {ago:?} ago, at most {most:?}");
    };
    let ages = |store: &Probe<S>, when: &str| {
        let stored = store.load(&room).expect("no fault");
        at_most(stored.changed_ago, when);
        at_most(stored.log_began_ago, when);
        let ages = &stored.log_ages;
        for age in ages {
            at_most(Some(*age), when);
        }
        let known = ages.is_empty() || ages.len() == stored.log.len();
        assert!(known, "{when}: {} ages of {} batches", ages.len(), stored.log.len());
        let first = ages.first().copied();
        assert!(first.is_none() || first == stored.log_began_ago, "{when}: the first is another");
        (stored.changed_ago.is_some(), stored.log_began_ago.is_some())
    };
    assert_eq!(ages(&store, "absent"), (false, false), "what is absent has no age");
    store.append(&room, batch(1, 3)).expect("1 to 3");
    let (changed, began) = ages(&store, "a log");
    store.compact(&room, 3, snapshot(3)).expect("all of it");
    assert_eq!(ages(&store, "a snapshot alone"), (changed, false));
    store.append(&room, batch(4, 1)).expect("4");
    let store = store.reopen(open);
    assert_eq!(ages(&store, "a snapshot and a log"), (changed, began));
}

fn a_closed_store_refuses<S: Store>(open: Open<'_, S>) {
    let room = name("closed");
    let store = Probe::new(open());
    store.append(&room, batch(1, 1)).expect("it is open");
    store.close();
    store.append(&room, batch(2, 1)).expect_err("it is closed");
    store.load(&room).expect_err("it is closed");
    drop(store);
    expect(&Probe::new(open()).load(&room), 0, 1, "after reopening");
}

fn name(name: &str) -> RoomName {
    RoomName::new(&format!("conformance/{name}")).expect("a room name")
}

/// `count` updates from the place `first` on; what each is depends on its place only.
fn batch(first: u64, count: u64) -> Batch {
    let updates: Vec<Vec<u8>> =
        (first..first + count).map(|place| update_of(place - 1, 1)).collect();
    Batch::of(Seq(first), updates.iter().map(|update| &update[..])).expect("at least one")
}

/// Checks that the room has a snapshot up to `upto`, then the log, up to `last`, without holes.
fn expect<E: std::fmt::Debug>(stored: &Result<Stored, E>, upto: u64, last: u64, when: &str) {
    let stored = stored.as_ref().unwrap_or_else(|fault| panic!("{when}: {fault:?}"));
    assert_eq!(stored.snapshot_upto, Seq(upto), "{when}: the snapshot's place");
    let content = (upto > 0).then(|| snapshot(upto));
    assert_eq!(stored.snapshot, content, "{when}: the snapshot");
    let mut place = upto;
    for batch in &stored.log {
        assert_eq!(batch.first(), Seq(place + 1), "{when}: the log's order");
        for stored in batch.updates() {
            place += 1;
            assert!(stored == update_of(place - 1, 1), "{when}: the update at {place} is another");
        }
    }
    assert_eq!(place, last, "{when}: the last place");
}
