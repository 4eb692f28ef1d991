//! How much of a room's past the store keeps.

mod support;

use std::time::Duration;
use support::{World, Writer, frame_of};
use yroom::wire::varint;
use yroom::{
    Batch, Config, Event, Folding, History, Input, Limits, RoomName, Seq, StoreFault,
    StoreFaultKind, StoreOp, Stored,
};

const HOUR: Duration = Duration::from_secs(3_600);

fn world(history: History) -> World {
    let limits = Limits { tail_bytes: 1_000, ..Limits::default() };
    World::new(Config { history, limits, unload_after: Duration::ZERO, ..Config::default() })
}

fn name() -> RoomName {
    RoomName::new("r").expect("a name")
}

/// Somebody comes, types so many times, and goes, which unloads the room.
fn session(world: &mut World, client: u64, edits: usize) -> Writer {
    let conn = world.open("r");
    let writer = Writer::new(client);
    for i in 0..edits {
        world.send(conn, frame_of(&writer.types(&format!("{i:08}"))));
    }
    world.close(conn);
    assert!(world.hub.is_drained());
    writer
}

fn text(world: &mut World) -> String {
    let conn = world.open("r");
    let reader = Writer::new(99);
    world.send(conn, reader.step1());
    reader.hears(&world.take(conn));
    world.close(conn);
    reader.text()
}

fn folded(world: &World) -> (Seq, usize) {
    let stored = &world.store[&name()];
    (stored.snapshot_upto, stored.log.len())
}

#[test]
fn what_is_to_be_kept_is_never_folded() {
    let mut world = world(History::KEEP_ALL);
    let writer = session(&mut world, 7, 500);
    assert_eq!(folded(&world), (Seq::ZERO, 500));
    assert_eq!(text(&mut world), writer.text());
    assert_eq!(folded(&world), (Seq::ZERO, 500), "loading folds nothing");
}

#[test]
fn a_bound_of_bytes_holds_though_it_does_not_pay() {
    let bounded = History { log_bytes: Some(5_000), ..History::KEEP_ALL };
    let mut world = world(bounded);
    let writer = session(&mut world, 7, 500);
    let (upto, rows) = folded(&world);
    assert!(upto > Seq::ZERO && rows < 100, "{rows} rows after {upto:?}");
    assert!(rows > 0, "and no earlier than that");
    assert_eq!(text(&mut world), writer.text());
}

#[test]
fn the_log_of_a_room_that_did_not_change_for_long_is_folded_when_it_is_loaded() {
    let mut world = world(History { ttl: Some(HOUR), ..History::KEEP_ALL });
    session(&mut world, 7, 20);
    world.store.get_mut(&name()).expect("stored").changed_ago = Some(Duration::from_secs(3_599));
    text(&mut world);
    assert_eq!(folded(&world), (Seq::ZERO, 20), "not yet");
    world.store.get_mut(&name()).expect("stored").changed_ago = Some(HOUR * 2);
    let writer = session(&mut world, 8, 1);
    assert_eq!(folded(&world), (Seq(20), 1), "the new update stays outside");
    assert!(text(&mut world).contains(&writer.text()));
    assert_eq!(folded(&world).1, 0, "by the store's time all of it is old");
    let compactions = |world: &World| {
        let events = world.events.iter();
        events.filter(|it| matches!(it, Event::RoomCompacted { .. })).count()
    };
    let before = compactions(&world);
    text(&mut world);
    assert_eq!(compactions(&world), before, "an empty log is not folded again");
}

#[test]
fn the_log_of_a_room_that_stayed_open_is_folded_by_the_next_write() {
    let mut world = world(History { ttl: Some(HOUR), ..History::KEEP_ALL });
    let conn = world.open("r");
    let writer = Writer::new(7);
    for _ in 0..20 {
        world.send(conn, frame_of(&writer.types("word ")));
        world.pass(Duration::from_secs(3_590));
    }
    assert_eq!(folded(&world), (Seq::ZERO, 20), "never so long without a change");
    world.pass(Duration::from_secs(20));
    world.send(conn, frame_of(&writer.types("word ")));
    assert_eq!(folded(&world), (Seq(20), 1));
    world.send(conn, frame_of(&writer.types("word ")));
    assert_eq!(folded(&world), (Seq(20), 2));
}

#[test]
fn a_log_whose_beginning_is_old_is_folded_however_much_it_grew_since() {
    let mut world = world(History { log_age: Some(HOUR), ..History::KEEP_ALL });
    let conn = world.open("r");
    let writer = Writer::new(7);
    for _ in 0..10 {
        world.send(conn, frame_of(&writer.types("word ")));
        world.pass(Duration::from_secs(359));
    }
    assert_eq!(folded(&world), (Seq::ZERO, 10));
    world.pass(Duration::from_secs(20));
    world.send(conn, frame_of(&writer.types("word ")));
    assert_eq!(folded(&world), (Seq(10), 1));
    world.close(conn);
    // The age that the store tells goes on.
    world.store.get_mut(&name()).expect("stored").log_began_ago = Some(HOUR / 2);
    let conn = world.open("r");
    world.pass(Duration::from_mins(29));
    let writer = Writer::new(8);
    world.send(conn, frame_of(&writer.types("x")));
    assert_eq!(folded(&world), (Seq(10), 2));
    world.pass(Duration::from_secs(120));
    world.send(conn, frame_of(&writer.types("y")));
    assert_eq!(folded(&world), (Seq(12), 1));
}

/// The store says that of the log's rows so many are two hours old, and the others a minute.
fn old(world: &mut World, rows: usize) {
    let stored = world.store.get_mut(&name()).expect("stored");
    let age = |row| if row < rows { HOUR * 2 } else { Duration::from_mins(1) };
    stored.log_ages = (0..stored.log.len()).map(age).collect();
    stored.log_began_ago = stored.log_ages.first().copied();
    stored.changed_ago = stored.log_ages.last().copied();
}

fn older_than_an_hour() -> World {
    world(History { older_than: Some(HOUR), ..History::KEEP_ALL })
}

#[test]
fn the_older_part_of_a_log_is_folded_and_the_younger_keeps_its_rows() {
    let mut world = older_than_an_hour();
    let writer = session(&mut world, 7, 20);
    old(&mut world, 12);
    let rows = world.store[&name()].log[12..].to_vec();
    assert_eq!(text(&mut world), writer.text());
    let stored = &world.store[&name()];
    assert_eq!(stored.snapshot_upto, Seq(12));
    assert_eq!(stored.log, rows, "as they were");
    // Twelve edits of eight letters each, and nothing of what came later.
    let scan = yroom::update::scan(
        stored.snapshot.as_ref().expect("it is there"),
        &yroom::update::ScanLimits::default(),
    );
    assert_eq!(scan.expect("an update").ranges.iter().map(|it| it.end).max(), Some(96));
    old(&mut world, 0);
    assert_eq!(text(&mut world), writer.text(), "both parts are the document");
    assert_eq!(folded(&world), (Seq(12), 8), "the rest is young");
    old(&mut world, 8);
    assert_eq!(text(&mut world), writer.text());
    assert_eq!(folded(&world), (Seq(20), 0), "now it is old, too, and joins the snapshot");
}

#[test]
fn what_grows_old_in_an_open_room_is_folded_while_it_is_written_to() {
    let mut world = older_than_an_hour();
    let conn = world.open("r");
    let writer = Writer::new(7);
    let write = |world: &mut World| world.send(conn, frame_of(&writer.types("word ")));
    for _ in 0..10 {
        write(&mut world);
        world.pass(Duration::from_mins(6));
    }
    write(&mut world);
    assert_eq!(folded(&world), (Seq::ZERO, 11), "an hour old, but not a sixteenth more");
    world.pass(Duration::from_mins(4));
    world.hold_store = true;
    write(&mut world);
    let append = world.held.remove(0);
    let durable = world.perform(append).expect("an answer");
    world.input(durable);
    assert!(matches!(world.held[..], [StoreOp::Load { .. }]), "{:?}", world.held);
    // While the store reads, and while it writes, others are served.
    write(&mut world);
    let load = world.held.remove(0);
    old(&mut world, 5);
    let loaded = world.perform(load).expect("an answer");
    world.input(loaded);
    assert_eq!(world.held.len(), 2, "{:?}", world.held);
    assert!(matches!(world.held[1], StoreOp::Compact { upto: Seq(5), .. }));
    world.release_store();
    assert_eq!(folded(&world), (Seq(5), 8));
    let room = world.last_room();
    let bytes = world.store[&name()].snapshot.as_ref().expect("it is there").len();
    assert!(world.events.contains(&Event::RoomCompacted { room, upto: Seq(5), bytes }));
    write(&mut world);
    assert_eq!(folded(&world), (Seq(5), 9));
    // The oldest of the rest is a minute old, says the store.
    world.pass(Duration::from_mins(61));
    write(&mut world);
    assert_eq!(folded(&world), (Seq(5), 10));
    old(&mut world, 10);
    world.pass(Duration::from_mins(4));
    write(&mut world);
    assert_eq!(folded(&world).0, Seq(15));
    assert_eq!(text(&mut world), writer.text());
}

#[test]
fn a_store_that_knows_no_ages_is_not_asked_again_with_every_write() {
    let mut world = older_than_an_hour();
    let conn = world.open("r");
    let writer = Writer::new(7);
    world.send(conn, frame_of(&writer.types("word ")));
    world.pass(HOUR * 2);
    world.hold_store = true;
    let mut loads = 0;
    for _ in 0..60 {
        world.send(conn, frame_of(&writer.types("word ")));
        while !world.held.is_empty() {
            let op = world.held.remove(0);
            loads += u32::from(matches!(op, StoreOp::Load { .. }));
            let answer = world.perform(op).expect("an answer");
            world.input(answer);
        }
        world.pass(Duration::from_secs(10));
    }
    assert_eq!(loads, 3, "at once, and then every 225 seconds of the 600");
    assert_eq!(folded(&world), (Seq::ZERO, 61));
    assert_eq!(text(&mut world), writer.text());
}

#[test]
fn a_read_for_the_older_part_that_fails_or_comes_late_harms_nothing() {
    let mut world = older_than_an_hour();
    let conn = world.open("r");
    let writer = Writer::new(7);
    world.send(conn, frame_of(&writer.types("word ")));
    world.pass(HOUR * 2);
    world.hold_store = true;
    world.send(conn, frame_of(&writer.types("word ")));
    let append = world.held.remove(0);
    let durable = world.perform(append).expect("an answer");
    world.input(durable);
    let load = world.held.remove(0);
    let room = load.room();
    let fault = StoreFault::new(StoreFaultKind::Corrupt, "a checksum");
    world.input(Input::Loaded { room, result: Err(fault.clone()) });
    assert!(world.events.contains(&Event::CompactionFailed { room, fault }));
    old(&mut world, 2);
    let repeated = world.perform(load).expect("an answer");
    world.input(repeated.clone());
    assert!(world.held.is_empty(), "nobody waits for it any more: {:?}", world.held);
    world.hold_store = false;
    world.send(conn, frame_of(&writer.types("word ")));
    assert_eq!(folded(&world), (Seq::ZERO, 3));
    world.close(conn);
    world.input(repeated);
    assert!(world.hub.is_drained());
    old(&mut world, 0);
    assert_eq!(text(&mut world), writer.text());
}

#[test]
fn a_damaged_row_is_not_folded_and_the_room_goes_on() {
    let mut world = older_than_an_hour();
    let conn = world.open("r");
    let writer = Writer::new(7);
    world.send(conn, frame_of(&writer.types("word ")));
    world.pass(HOUR * 2);
    let good = world.store[&name()].clone();
    world.store.get_mut(&name()).expect("stored").log[0] = Batch::single(Seq(1), b"nonsense");
    old(&mut world, 1);
    world.send(conn, frame_of(&writer.types("word ")));
    let failed = |event: &Event| match event {
        Event::CompactionFailed { fault, .. } => fault.kind == StoreFaultKind::Corrupt,
        _ => false,
    };
    assert!(world.events.iter().any(failed), "{:?}", world.events);
    assert_eq!(folded(&world), (Seq::ZERO, 2));
    world.store.get_mut(&name()).expect("stored").log[0] = good.log[0].clone();
    assert_eq!(text(&mut world), writer.text());
}

#[test]
fn two_folds_are_as_far_apart_as_is_asked_for() {
    let apart = Duration::from_mins(5);
    let mut world = world(History { log_bytes: Some(500), apart, ..History::KEEP_ALL });
    let conn = world.open("r");
    let writer = Writer::new(7);
    let mut upto = Vec::new();
    for _ in 0..600 {
        world.send(conn, frame_of(&writer.types("word ")));
        world.pass(Duration::from_secs(2));
        upto.push(folded(&world).0);
    }
    upto.dedup();
    // The first when it is due; then at 5, 10 and 15 minutes after it, of 20.
    assert_eq!(upto.len(), 1 + 4, "{upto:?}");
    assert!(upto[1] < Seq(10), "there was none before: {upto:?}");
    let steps: Vec<u64> = upto.windows(2).skip(1).map(|two| two[1].0 - two[0].0).collect();
    assert_eq!(steps, [149, 150, 150], "a write every two seconds");
    world.close(conn);
    assert_eq!(text(&mut world), writer.text());
}

#[test]
fn a_room_that_comes_and_goes_is_folded_no_more_often() {
    let apart = Duration::from_mins(5);
    let mut world = world(History { apart, ..History::default() });
    session(&mut world, 7, 100);
    let (first, rows) = folded(&world);
    assert!(first > Seq::ZERO, "the first time there is nothing to be apart from");
    session(&mut world, 8, 100);
    assert_eq!(folded(&world), (first, rows + 100), "neither in between nor when it is unloaded");
    old(&mut world, 0);
    session(&mut world, 9, 1);
    assert_eq!(folded(&world), (first, rows + 101), "a minute later");
    world.store.get_mut(&name()).expect("stored").log_began_ago = Some(apart);
    session(&mut world, 10, 1);
    let all = Seq(first.0 + rows as u64 + 101);
    assert_eq!(folded(&world), (all, 1), "by the store's time it is long enough ago");
}

#[test]
fn a_fold_that_fails_leaves_the_log_for_the_next_load() {
    let mut world = world(History { ttl: Some(HOUR), ..History::KEEP_ALL });
    session(&mut world, 7, 20);
    world.store.get_mut(&name()).expect("stored").changed_ago = Some(HOUR * 2);
    world.hold_store = true;
    let conn = world.open("r");
    let load = world.held.remove(0);
    let loaded = world.perform(load).expect("an answer");
    world.input(loaded);
    assert!(matches!(world.held[..], [StoreOp::Compact { upto: Seq(20), .. }]));
    world.held.clear();
    let fault = StoreFault::new(StoreFaultKind::NotDone, "disk full");
    let room = world.last_room();
    world.input(Input::Compacted { room, upto: Seq(20), result: Err(fault.clone()) });
    assert!(world.events.contains(&Event::CompactionFailed { room, fault }));
    world.hold_store = false;
    let writer = Writer::new(8);
    world.send(conn, frame_of(&writer.types("after")));
    assert_eq!(folded(&world), (Seq::ZERO, 21), "not tried with every write");
    world.close(conn);
    world.store.get_mut(&name()).expect("stored").changed_ago = Some(HOUR * 2);
    assert!(text(&mut world).contains("after"));
    assert_eq!(folded(&world), (Seq(21), 0));
}

#[test]
fn by_default_a_log_is_folded_when_it_pays() {
    assert_eq!(History::default().folding, Folding::WhenItPays);
    let mut world = world(History::default());
    let writer = session(&mut world, 7, 500);
    assert!(folded(&world).1 < 100);
    assert_eq!(text(&mut world), writer.text());
}

#[test]
fn a_log_of_more_bytes_than_are_merged_at_once_is_loaded() {
    let mut world = world(History::KEEP_ALL);
    // A picture in the root type "t", which nobody looks into.
    let picture = vec![0; 16 << 20];
    let mut update = vec![1, 1, 7, 0, 3, 1, 1, b't'];
    varint::write(&mut update, picture.len() as u64);
    update.extend_from_slice(&picture);
    update.push(0);
    let framed = Batch::single(Seq(1), &update).framed().clone();
    // Each row has the same bytes, and these lie in memory once: an update that came 70 times.
    let row = |place| Batch::from_framed(Seq(place), framed.clone()).expect("a batch");
    let log: Vec<Batch> = (1..=70).map(row).collect();
    assert!(log.iter().map(|batch| batch.framed().len()).sum::<usize>() > 1 << 30);
    world.store.insert(name(), Stored { log, ..Stored::default() });
    let conn = world.open("r");
    assert!(!world.closed.contains_key(&conn), "{:?}", world.closed);
    let room = world.hub.find(&name()).expect("there");
    assert_eq!(world.hub.content(room).expect("live").len(), update.len());
}

/// Answers the oldest of what the store was asked; whether it was a fold.
fn answer(world: &mut World) -> bool {
    let op = world.held.remove(0);
    let folds = matches!(op, StoreOp::Compact { .. });
    let answer = world.perform(op).expect("an answer");
    world.input(answer);
    folds
}

#[test]
fn a_fold_waits_while_the_room_is_written_to_faster_than_it_is_stored() {
    let mut world = world(History::default());
    let conn = world.open("r");
    world.hold_store = true;
    let writer = Writer::new(7);
    let write = |world: &mut World| world.send(conn, frame_of(&writer.types("01234567")));
    write(&mut world);
    let busy = (1..1_000).find(|_| {
        // There is always a next one when the store answers.
        write(&mut world);
        answer(&mut world)
    });
    while !world.held.is_empty() {
        answer(&mut world);
    }
    let quiet = (1..1_000).find(|_| {
        write(&mut world);
        std::iter::from_fn(|| (!world.held.is_empty()).then(|| answer(&mut world))).any(|it| it)
    });
    let (busy, quiet) = (busy.expect("a fold"), quiet.expect("a fold"));
    assert!(busy > 4 * quiet, "{busy} rows while busy, {quiet} while not");
}
