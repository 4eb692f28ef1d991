//! Rooms and their store: what is shown when, what waits for what, and what survives.

mod support;

use std::time::Duration;
use support::{World, Writer, frame_of, letter, pair, updates, world};
use yroom::wire::encode;
use yroom::{
    Access, Config, Durability, Event, Input, Limits, Seq, StoreFault, StoreFaultKind, StoreOp,
};

#[test]
fn nothing_is_shown_before_it_is_durable() {
    let mut world = world();
    let (a, b) = pair(&mut world, "r");
    let writer = Writer::new(7);
    world.hold_store = true;
    world.send(a, frame_of(&writer.types("one ")));
    world.send(a, frame_of(&writer.types("two")));
    assert!(world.take(b).is_empty(), "not even to those who are there");
    let joiner = world.open("r");
    let reader = Writer::new(8);
    world.send(joiner, reader.step1());
    reader.hears(&world.take(joiner));
    assert_eq!(reader.text(), "", "nor to a newcomer");
    world.release_store();
    reader.hears(&world.take(joiner));
    assert_eq!(reader.text(), "one two");
    let (reader, frames) = (Writer::new(9), world.take(b));
    reader.hears(&frames);
    assert_eq!(reader.text(), "one two");
    assert!(world.events.contains(&Event::Acknowledged { conn: a, upto: Seq(2) }));
}

#[test]
fn eventual_durability_shows_at_once() {
    let mut world = World::new(Config { durability: Durability::Eventual, ..Config::default() });
    let (a, b) = pair(&mut world, "r");
    world.hold_store = true;
    let frame = frame_of(&Writer::new(7).types("hello"));
    world.send(a, frame.clone());
    assert_eq!(world.take(b), [frame]);
}

#[test]
fn before_ack_shows_at_once_and_acknowledges_when_durable() {
    let mut world = World::new(Config { durability: Durability::BeforeAck, ..Config::default() });
    let (a, b) = pair(&mut world, "r");
    world.hold_store = true;
    world.send(a, frame_of(&Writer::new(7).types("hello")));
    world.send(a, encode::sync_status(&[9]));
    assert_eq!(updates(&world.take(b)).len(), 1);
    assert!(world.take(a).is_empty());
    world.release_store();
    assert_eq!(world.take(a), [encode::sync_status(&[9])]);
    assert!(world.events.contains(&Event::Acknowledged { conn: a, upto: Seq(1) }));
}

#[test]
fn what_comes_while_an_append_is_out_goes_into_one_append_and_one_message() {
    let mut world = world();
    let (a, b) = pair(&mut world, "r");
    let writer = Writer::new(7);
    world.hold_store = true;
    for letter in ["a", "b", "c", "d", "e", "f"] {
        world.send(a, frame_of(&writer.types(letter)));
    }
    let appends = |world: &World| {
        let ops = world.held.iter();
        ops.filter(|op| matches!(op, StoreOp::Append(_))).count()
    };
    assert_eq!(appends(&world), 1, "one is out, five wait");
    world.release_store();
    let frames = world.take(b);
    assert_eq!(frames.len(), 2, "the first alone, the rest merged");
    let reader = Writer::new(9);
    reader.hears(&frames);
    assert_eq!(reader.text(), "abcdef");
    let name = yroom::RoomName::new("r").expect("valid");
    assert_eq!(world.store[&name].log.len(), 2);
    assert_eq!(world.store[&name].last(), Seq(6));
}

#[test]
fn peers_wait_for_the_load_and_lose_nothing() {
    let mut world = world();
    world.hold_store = true;
    let conn = world.open("r");
    let writer = Writer::new(7);
    world.send(conn, writer.step1());
    world.send(conn, frame_of(&writer.types("early")));
    assert!(world.take(conn).is_empty());
    world.pass(Duration::from_secs(20));
    assert_eq!(world.take(conn), [encode::KEEPALIVE], "a slow load is not silent");
    world.release_store();
    let frames = world.take(conn);
    assert_eq!(frames[0], encode::sync_step1(&[0]));
    assert!(frames[1].starts_with(&[0, 1]));
    let name = yroom::RoomName::new("r").expect("valid");
    assert_eq!(world.store[&name].last(), Seq(1));
}

#[test]
fn a_failed_load_closes_with_1013_and_stores_nothing() {
    let mut world = world();
    world.hold_store = true;
    let conn = world.open("r");
    let room = world.last_room();
    world.send(conn, frame_of(&Writer::new(7).types("early")));
    let fault = StoreFault::new(StoreFaultKind::NotDone, "no disk");
    world.input(Input::Loaded { room, result: Err(fault) });
    assert_eq!(world.closed[&conn].0, 1013);
    world.close(conn);
    assert_eq!(world.hub.room_count(), 0);
    world.held.clear();
    world.hold_store = false;
    let conn = world.open("r");
    assert_eq!(world.take(conn), [encode::sync_step1(&[0])], "the next one loads anew");
}

#[test]
fn a_load_that_never_ends_closes_with_1013_and_its_late_answer_is_ignored() {
    let mut world = world();
    world.hold_store = true;
    let conn = world.open("r");
    let load = world.held.remove(0);
    world.pass(Limits::default().load_timeout + Duration::from_secs(1));
    assert_eq!(world.closed[&conn].0, 1013);
    world.close(conn);
    let late = world.perform(load).expect("an answer");
    world.input(late);
    assert_eq!(world.hub.room_count(), 0);
}

#[test]
fn the_last_edit_before_leaving_is_stored_before_the_room_goes() {
    let mut world = World::new(Config { unload_after: Duration::ZERO, ..Config::default() });
    let conn = world.open("r");
    world.hold_store = true;
    world.send(conn, frame_of(&Writer::new(7).types("bye")));
    world.close(conn);
    assert_eq!(world.hub.room_count(), 1, "it drains");
    world.release_store();
    assert_eq!(world.hub.room_count(), 0);
    let conn = world.open("r");
    let reader = Writer::new(8);
    world.send(conn, reader.step1());
    reader.hears(&world.take(conn));
    assert_eq!(reader.text(), "bye");
}

#[test]
fn who_joins_while_the_room_drains_brings_it_back() {
    let mut world = World::new(Config { unload_after: Duration::ZERO, ..Config::default() });
    let conn = world.open("r");
    let room = world.last_room();
    world.hold_store = true;
    world.send(conn, frame_of(&Writer::new(7).types("bye")));
    world.close(conn);
    let conn = world.open("r");
    assert_eq!(world.last_room(), room, "the same load");
    world.release_store();
    assert_eq!(world.hub.room_count(), 1);
    let reader = Writer::new(8);
    world.send(conn, reader.step1());
    reader.hears(&world.take(conn));
    assert_eq!(reader.text(), "bye");
}

#[test]
fn a_room_stays_warm_for_a_while() {
    let mut world = world();
    let conn = world.open("r");
    world.close(conn);
    world.pass(Duration::from_secs(29));
    assert_eq!(world.hub.room_count(), 1);
    let conn = world.open("r");
    world.pass(Duration::from_secs(60));
    assert_eq!(world.hub.room_count(), 1, "a rejoin cancels the unload");
    world.close(conn);
    world.pass(Duration::from_secs(31));
    assert_eq!(world.hub.room_count(), 0);
    assert_eq!(world.hub.poll_timeout(), None, "nothing is owed");
}

#[test]
fn a_failing_store_makes_writers_wait_and_recovers_by_itself() {
    let mut world = world();
    let (a, b) = pair(&mut world, "r");
    let reader = world.open_as("r", Access::READ_ONLY);
    let room = world.last_room();
    let writer = Writer::new(7);
    world.send(a, frame_of(&writer.types("kept ")));
    world.take(b);
    world.take(reader);
    world.hold_store = true;
    world.send(a, frame_of(&writer.types("waits")));
    let fault = StoreFault::new(StoreFaultKind::Unknown, "disk full");
    world.input(Input::WriteFailed { room, seq: Seq(2), fault: fault.clone() });
    assert_eq!((world.paused.get(&a), world.paused.get(&b)), (Some(&true), Some(&true)));
    assert_eq!(world.paused.get(&reader), None, "readers are served");
    assert!(world.take(b).is_empty(), "what may not be stored is not shown");
    let late = world.open("r");
    let joiner = Writer::new(8);
    world.send(late, joiner.step1());
    joiner.hears(&world.take(late));
    assert_eq!(joiner.text(), "kept ", "what is durable is served to newcomers");
    world.held.clear();
    world.pass(Duration::from_millis(200));
    assert_eq!(world.held.len(), 1, "the append goes out again");
    world.release_store();
    assert_eq!(world.paused.get(&a), Some(&false));
    assert!(world.events.contains(&Event::RoomRecovered { room }));
    joiner.hears(&world.take(late));
    assert_eq!(joiner.text(), "kept waits");
}

#[test]
fn writers_of_a_store_that_stays_broken_are_sent_away() {
    let mut world = world();
    let (a, _) = pair(&mut world, "r");
    let reader = world.open_as("r", Access::READ_ONLY);
    let room = world.last_room();
    world.hold_store = true;
    world.send(a, frame_of(&Writer::new(7).types("waits")));
    let fault = StoreFault::new(StoreFaultKind::NotDone, "disk full");
    for _ in 0..600 {
        world.held.clear();
        world.input(Input::WriteFailed { room, seq: Seq(1), fault: fault.clone() });
        world.pass(Duration::from_millis(100));
    }
    assert_eq!(world.closed[&a].0, 1013);
    assert!(!world.closed.contains_key(&reader));
    assert_eq!(world.hub.unsaved(), 1, "and nothing is forgotten");
}

#[test]
fn what_another_brought_is_saved_when_it_is_durable_and_not_before() {
    let mut world = world();
    let (a, b) = pair(&mut world, "r");
    let frame = frame_of(&Writer::new(7).types("both have it"));
    world.hold_store = true;
    world.send(a, frame.clone());
    // A second connection of the same client, or two peers that made the same deletion.
    world.send(b, frame);
    world.send(b, encode::sync_status(&[1]));
    assert!(world.take(b).is_empty(), "it is accepted, not durable");
    world.release_store();
    assert!(world.take(b).contains(&encode::sync_status(&[1])));
}

#[test]
fn shutdown_closes_all_with_1012_and_stores_what_still_comes() {
    let mut world = world();
    let (a, b) = pair(&mut world, "r");
    world.hub.shutdown(world.now);
    world.drain();
    assert_eq!((world.closed[&a].0, world.closed[&b].0), (1012, 1012));
    world.send(a, frame_of(&Writer::new(7).types("in flight")));
    world.close(a);
    assert!(!world.hub.is_drained());
    world.close(b);
    assert!(world.hub.is_drained());
    let name = yroom::RoomName::new("r").expect("valid");
    assert_eq!(world.store[&name].last(), Seq(1));
    assert!(world.hub.open(world.now, &name, Access::FULL).is_err());
}

#[test]
fn a_long_log_is_compacted_and_loads_to_the_same_text() {
    let limits = Limits { tail_bytes: 1_000, ..Limits::default() };
    let config = Config { limits, unload_after: Duration::ZERO, ..Config::default() };
    let mut world = World::new(config);
    let conn = world.open("r");
    let writer = Writer::new(7);
    for i in 0..300 {
        world.send(conn, frame_of(&writer.types(&i.to_string())));
    }
    world.send(conn, frame_of(&writer.deletes(100)));
    world.close(conn);
    assert!(world.hub.is_drained());
    let name = yroom::RoomName::new("r").expect("valid");
    let stored = &world.store[&name];
    assert!(stored.snapshot.is_some() && stored.log.len() < 100, "{} rows", stored.log.len());
    let conn = world.open("r");
    let reader = Writer::new(8);
    world.send(conn, reader.step1());
    reader.hears(&world.take(conn));
    assert_eq!(reader.text(), writer.text());
}

#[test]
#[expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "it is about real time")]
fn what_waits_for_a_store_that_does_not_answer_makes_nothing_dearer() {
    use std::time::Instant;
    for durability in [Durability::BeforeFanout, Durability::BeforeAck] {
        let mut world = World::new(Config { durability, ..Config::default() });
        let (a, b) = pair(&mut world, "r");
        world.hold_store = true;
        let mut clock = 0;
        let mut cost = |world: &mut World, count: u64| {
            let began = Instant::now();
            for _ in 0..count {
                world.send(a, frame_of(&letter(clock)));
                clock += 1;
                // Somebody who only reads asks whether everything is saved.
                world.send(b, encode::sync_status(&[7]));
                world.take(b);
            }
            began.elapsed()
        };
        let first = cost(&mut world, 2_000);
        cost(&mut world, 40_000);
        let last = cost(&mut world, 2_000);
        assert!(last < 8 * first + Duration::from_millis(200), "{first:?}, then {last:?}");
        world.release_store();
        let name = yroom::RoomName::new("r").expect("valid");
        assert_eq!(world.store[&name].last(), Seq(44_000));
    }
}

#[test]
fn a_writer_that_never_asks_for_the_document_waits_for_the_store_too() {
    let limits = Limits { journal_bytes: 1_000, ..Limits::default() };
    let mut world = World::new(Config { limits, ..Config::default() });
    let conn = world.open("r");
    world.hold_store = true;
    let writer = Writer::new(7);
    for _ in 0..10 {
        world.send(conn, frame_of(&writer.types(&"x".repeat(200))));
    }
    assert_eq!(world.paused.get(&conn), Some(&true), "{} unsaved", world.hub.unsaved());
    // Who has written nothing is read from, and may ask.
    let reader = world.open("r");
    world.send(reader, Writer::new(8).step1());
    assert!(world.take(reader).len() > 1, "it is answered");
    world.release_store();
    assert_eq!(world.paused.get(&conn), Some(&false));
}
