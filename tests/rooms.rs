//! Rooms as their peers and their store see them, message by message.

mod support;

use std::time::Duration;
use support::{World, Writer};
use yroom::wire::{self, Message, encode};
use yroom::{
    Access, Config, Durability, Event, Input, Limits, Presence, Rate, Seq, StoreFault,
    StoreFaultKind, StoreOp,
};

fn world() -> World {
    World::new(Config::default())
}

fn frame_of(update: &[u8]) -> bytes::Bytes {
    encode::update(update)
}

fn updates(frames: &[bytes::Bytes]) -> Vec<bytes::Bytes> {
    frames.iter().filter(|frame| frame.starts_with(&[0, 2])).cloned().collect()
}

/// Two synced peers in `room`, with what they were sent on the way forgotten.
fn pair(world: &mut World, room: &str) -> (yroom::ConnId, yroom::ConnId) {
    let (a, b) = (world.open(room), world.open(room));
    for conn in [a, b] {
        world.send(conn, Writer::new(1).step1());
        world.take(conn);
    }
    (a, b)
}

#[test]
fn a_newcomer_is_asked_for_its_edits_and_each_step1_is_answered() {
    let mut world = world();
    let conn = world.open("r");
    assert_eq!(world.take(conn), [encode::sync_step1(&[0])]);
    world.send(conn, encode::sync_step1(&[0]));
    assert_eq!(world.take(conn), [encode::sync_step2(&[0, 0])], "also an empty one");
}

#[test]
fn an_update_reaches_the_others_unchanged_and_not_its_sender() {
    let mut world = world();
    let (a, b) = pair(&mut world, "r");
    let other_room = world.open("s");
    world.take(other_room);
    let frame = frame_of(&Writer::new(7).types("hello"));
    world.send(a, frame.clone());
    assert_eq!(world.take(b), [frame]);
    assert_eq!(world.take(a), [] as [bytes::Bytes; 0]);
    assert_eq!(world.take(other_room), [] as [bytes::Bytes; 0]);
}

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
fn what_brings_nothing_new_is_neither_relayed_nor_stored() {
    let mut world = world();
    let (a, b) = pair(&mut world, "r");
    let writer = Writer::new(7);
    world.send(a, frame_of(&writer.types("hello")));
    world.send(a, frame_of(&writer.deletes(2)));
    world.take(b);
    let step2 = writer.step2(&[0]);
    world.send(a, step2.clone());
    world.send(b, step2);
    assert!(updates(&world.take(b)).is_empty());
    assert!(updates(&world.take(a)).is_empty());
    let name = yroom::RoomName::new("r").expect("valid");
    assert_eq!(world.store[&name].last(), Seq(2));
}

#[test]
fn a_reconnect_brings_only_what_is_new() {
    let mut world = world();
    let (a, b) = pair(&mut world, "r");
    let writer = Writer::new(7);
    world.send(a, frame_of(&writer.types("hello world")));
    world.send(a, frame_of(&writer.deletes(2)));
    world.take(b);
    writer.types("!");
    world.send(a, writer.step2(&[0]));
    let relayed = updates(&world.take(b));
    assert_eq!(relayed.len(), 1, "a SyncStep2 goes out as an Update");
    assert!(relayed[0].len() < 25, "without what was known: {:?}", relayed[0]);
    let reader = Writer::new(8);
    world.send(b, reader.step1());
    reader.hears(&world.take(b));
    assert_eq!(reader.text(), "llo world!");
}

#[test]
fn a_gap_is_asked_for_and_its_ready_part_used() {
    let mut world = world();
    let (a, b) = pair(&mut world, "r");
    let writer = Writer::new(7);
    let (first, second) = (writer.types("one "), writer.types("two"));
    world.send(a, frame_of(&second));
    assert!(updates(&world.take(b)).is_empty(), "no pending part is relayed");
    assert_eq!(world.take(a), [encode::sync_step1(&[0])]);
    world.send(a, writer.step2(&[0]));
    let reader = Writer::new(8);
    reader.hears(&world.take(b));
    assert_eq!(reader.text(), "one two");
    world.send(a, frame_of(&first));
    assert!(updates(&world.take(b)).is_empty(), "known by now");
}

#[test]
fn a_gap_that_is_never_filled_is_asked_for_with_backoff_and_an_end() {
    let mut world = world();
    let (a, _) = pair(&mut world, "r");
    let writer = Writer::new(7);
    writer.types("one ");
    let second = frame_of(&writer.types("two"));
    let mut asked = 0;
    for _ in 0..1_000 {
        world.send(a, second.clone());
        world.pass(Duration::from_millis(100));
        asked += world.take(a).iter().filter(|frame| frame.starts_with(&[0, 0])).count();
    }
    assert_eq!(asked, Limits::default().gap_attempts as usize);
    assert!(!world.closed.contains_key(&a));
}

#[test]
fn a_peer_with_a_gap_is_not_told_that_it_is_saved_until_the_gap_is_filled() {
    let mut world = world();
    let (a, _) = pair(&mut world, "r");
    let writer = Writer::new(7);
    writer.types("one ");
    world.send(a, frame_of(&writer.types("two")));
    world.take(a);
    world.send(a, encode::sync_status(&[1]));
    assert_eq!(world.take(a), [] as [bytes::Bytes; 0]);
    world.send(a, writer.step2(&[0]));
    world.send(a, encode::sync_status(&[2]));
    assert_eq!(world.take(a), [encode::sync_status(&[2])]);
}

#[test]
fn a_malformed_update_closes_its_sender_and_leaves_no_trace() {
    let mut world = world();
    let (a, b) = pair(&mut world, "r");
    world.send(a, frame_of(&[1, 1, 1, 0, 0xff]));
    assert_eq!(world.closed[&a].0, 1007);
    world.send(b, frame_of(&Writer::new(7).types("on")));
    assert!(!world.closed.contains_key(&b));
    let name = yroom::RoomName::new("r").expect("valid");
    assert_eq!(world.store[&name].last(), Seq(1));
    // What comes late for a connection that is gone is ignored.
    world.send(a, frame_of(&Writer::new(9).types("late")));
    world.close(a);
    assert_eq!(world.store[&name].last(), Seq(1));
}

#[test]
fn nonsense_closes_with_1002_and_an_unknown_type_is_ignored() {
    let mut world = world();
    let (a, b) = pair(&mut world, "r");
    world.send(a, vec![200, 1, 1, 2, 3]);
    assert!(!world.closed.contains_key(&a));
    let unknown = Event::UnknownMessage { conn: a, tag: 200 };
    assert!(world.events.contains(&unknown));
    world.send(b, vec![0, 9]);
    assert_eq!(world.closed[&b].0, 1002);
}

#[test]
fn several_messages_in_a_frame_are_taken_and_each_goes_out_alone() {
    let mut world = world();
    let (a, b) = pair(&mut world, "r");
    let writer = Writer::new(7);
    let frames = [frame_of(&writer.types("a")), frame_of(&writer.types("b"))];
    world.send(a, frames.concat());
    assert_eq!(world.take(b), frames);
}

#[test]
fn a_reader_sees_and_cannot_write() {
    let mut world = world();
    let (a, b) = pair(&mut world, "r");
    let reader = world.open_as("r", Access::READ_ONLY);
    world.take(reader);
    let writer = Writer::new(7);
    world.send(a, frame_of(&writer.types("hello")));
    assert_eq!(updates(&world.take(reader)).len(), 1);
    world.take(b);
    world.send(reader, writer.step2(&[0]));
    assert!(!world.events.contains(&Event::Refused { conn: reader }), "it brought nothing new");
    world.send(reader, frame_of(&Writer::new(8).types("mine")));
    world.send(reader, Writer::new(9).step2(&[0]));
    assert!(world.take(b).is_empty());
    assert!(world.events.contains(&Event::Refused { conn: reader }));
    let name = yroom::RoomName::new("r").expect("valid");
    assert_eq!(world.store[&name].last(), Seq(1));
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
fn a_lone_peer_hears_something_every_15_seconds() {
    let mut world = world();
    let conn = world.open("r");
    world.send(conn, Writer::new(1).step1());
    world.take(conn);
    for _ in 0..20 {
        world.pass(Duration::from_secs(15));
        assert!(!world.take(conn).is_empty(), "at {}", world.now);
    }
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
fn a_slow_peer_is_bounded_and_gets_one_diff() {
    let limits = Limits { outbox_bytes: 2_000, ..Limits::default() };
    let mut world = World::new(Config { limits, ..Config::default() });
    let (a, b) = pair(&mut world, "r");
    let writer = Writer::new(7);
    world.hold_flushes = true;
    let mut sent = 0;
    for i in 0..500 {
        world.send(a, frame_of(&writer.types(&format!("line {i} of many\n"))));
        sent += world.hub.unsaved();
    }
    assert_eq!(sent, 0);
    let queued = world.take(b);
    let bytes: usize = queued.iter().map(bytes::Bytes::len).sum();
    assert!(bytes <= 2_000, "{bytes} bytes queued");
    assert!(world.events.contains(&Event::PeerLagging { conn: b }));
    let reader = Writer::new(8);
    reader.hears(&queued);
    assert_ne!(reader.text(), writer.text());
    world.input(Input::Flushed { conn: b, bytes });
    let rest = world.take(b);
    assert_eq!(rest.len(), 1);
    reader.hears(&rest);
    assert_eq!(reader.text(), writer.text());
    assert!(world.events.contains(&Event::PeerCaughtUp { conn: b }));
}

#[test]
fn who_sends_too_much_is_not_read_from_for_a_while() {
    let frames_in = Rate { per_second: 10, burst: 20 };
    let mut world = World::new(Config {
        limits: Limits { frames_in, ..Limits::default() },
        ..Config::default()
    });
    let (a, b) = pair(&mut world, "r");
    world.pass(Duration::from_secs(5));
    for _ in 0..20 {
        world.send(a, encode::query_awareness());
    }
    assert_eq!(world.paused.get(&a), None, "a burst is free");
    for _ in 0..10 {
        world.send(a, encode::query_awareness());
    }
    assert_eq!(world.paused.get(&a), Some(&true));
    assert_eq!(world.paused.get(&b), None);
    world.pass(Duration::from_millis(999));
    assert_eq!(world.paused.get(&a), Some(&true));
    world.pass(Duration::from_millis(2));
    assert_eq!(world.paused.get(&a), Some(&false));
}

#[test]
fn a_large_document_comes_in_slices_as_it_is_taken() {
    let limits = Limits { outbox_bytes: 4_000, slice_bytes: 2_000, ..Limits::default() };
    let mut world = World::new(Config { limits, ..Config::default() });
    let (a, _) = pair(&mut world, "r");
    let writer = Writer::new(7);
    let types = |world: &mut World, i: u32| {
        let other = Writer::new(u64::from(i % 5) + 10);
        other.hears(&[writer.step2(&[0])]);
        let update = other.types(&format!("line {i} of many lines\n"));
        writer.hears(&[encode::update(&update)]);
        world.send(a, encode::update(&update));
    };
    (0..500).for_each(|i| types(&mut world, i));
    let (conn, reader) = (world.open("r"), Writer::new(8));
    world.take(conn);
    world.hold_flushes = true;
    world.send(conn, reader.step1());
    for i in 500.. {
        let frames = world.take(conn);
        let bytes: usize = frames.iter().map(bytes::Bytes::len).sum();
        assert!(bytes < 5_000, "{bytes} bytes at once");
        if frames.is_empty() {
            break;
        }
        reader.hears(&frames);
        // What is typed meanwhile is not missed.
        if i < 505 {
            world.hold_flushes = false;
            types(&mut world, i);
            world.hold_flushes = true;
        }
        world.input(Input::Flushed { conn, bytes });
    }
    assert_eq!(reader.text(), writer.text());
    assert!(world.events.contains(&Event::PeerSynced { conn }));
}

#[test]
fn a_delete_set_larger_than_a_slice_is_brought_once() {
    let limits = Limits { outbox_bytes: 4_000, slice_bytes: 500, ..Limits::default() };
    let mut world = World::new(Config { limits, ..Config::default() });
    let (a, _) = pair(&mut world, "r");
    let writer = Writer::new(7);
    for _ in 0..400 {
        world.send(a, frame_of(&writer.types("ab")));
    }
    {
        use yrs::{Text, Transact};
        let text = writer.doc.get_or_insert_text("text");
        for at in 0..400 {
            let mut txn = writer.doc.transact_mut();
            text.remove_range(&mut txn, at, 1);
            let update = txn.encode_update_v1();
            drop(txn);
            world.send(a, frame_of(&update));
        }
    }
    let (conn, reader) = (world.open("r"), Writer::new(8));
    world.take(conn);
    world.hold_flushes = true;
    world.send(conn, reader.step1());
    for _ in 0..100 {
        let frames = world.take(conn);
        if frames.is_empty() {
            break;
        }
        let bytes = frames.iter().map(bytes::Bytes::len).sum();
        reader.hears(&frames);
        world.input(Input::Flushed { conn, bytes });
    }
    assert_eq!(world.take(conn), [] as [bytes::Bytes; 0], "it comes to an end");
    assert_eq!(reader.text(), writer.text());
    assert!(world.events.contains(&Event::PeerSynced { conn }));
}

#[test]
fn what_is_larger_than_an_outbox_still_reaches_who_has_taken_all() {
    let limits = Limits { outbox_bytes: 2_000, ..Limits::default() };
    let mut world = World::new(Config { limits, ..Config::default() });
    let (a, b) = pair(&mut world, "r");
    let writer = Writer::new(7);
    let frame = frame_of(&writer.types(&"much ".repeat(1_000)));
    world.send(a, frame.clone());
    assert_eq!(world.take(b), [frame], "at once: no flush would call it back later");
    assert!(!world.events.contains(&Event::PeerLagging { conn: b }));
}

#[test]
fn who_asks_and_takes_nothing_gets_one_answer_for_all_its_questions() {
    let limits = Limits { outbox_bytes: 2_000, ..Limits::default() };
    let mut world = World::new(Config { limits, ..Config::default() });
    let (a, b) = pair(&mut world, "r");
    world.send(a, frame_of(&Writer::new(7).types(&"much ".repeat(1_000))));
    world.send(a, encode::awareness(&[1, 7, 1, 2, b'{', b'}']));
    world.take(b);
    world.hold_flushes = true;
    for number in 0..100 {
        world.send(b, encode::sync_step1(&[0]));
        world.send(b, encode::query_awareness());
        world.send(b, encode::sync_status(&[number]));
    }
    let waiting = world.take(b);
    assert_eq!(waiting.len(), 1, "one answer fills the outbox, the rest waits as what was asked");
    let bytes = waiting.iter().map(bytes::Bytes::len).sum();
    world.input(Input::Flushed { conn: b, bytes });
    let rest = world.take(b);
    let reader = Writer::new(8);
    let presence = encode::awareness(&[1, 7, 1, 2, b'{', b'}']);
    assert_eq!(rest[..2], [presence, encode::sync_status(&[99])]);
    assert_eq!(rest.len(), 3, "and one SyncStep2");
    reader.hears(&rest[2..]);
    assert_eq!(reader.text().len(), 5_000);
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
fn a_peer_that_takes_nothing_is_closed_with_1013() {
    let mut world = world();
    let (a, b) = pair(&mut world, "r");
    world.hold_flushes = true;
    world.send(a, frame_of(&Writer::new(7).types("hello")));
    world.pass(Limits::default().lagging_for + Duration::from_secs(6));
    assert_eq!(world.closed[&b].0, 1013);
    assert!(!world.closed.contains_key(&a));
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
fn access_that_expires_ends_the_connection_with_4401() {
    let mut world = world();
    let expires_at = Some(world.now + Duration::from_secs(10));
    let conn = world.open_as("r", Access { expires_at, ..Access::FULL });
    world.pass(Duration::from_secs(9));
    assert!(!world.closed.contains_key(&conn));
    world.pass(Duration::from_secs(1));
    assert_eq!(world.closed[&conn].0, 4401);
}

#[test]
fn rights_that_are_taken_away_hold_from_the_next_frame_on() {
    let mut world = world();
    let (a, b) = pair(&mut world, "r");
    let writer = Writer::new(7);
    world.send(a, frame_of(&writer.types("before ")));
    world.send(a, encode::awareness(&[1, 7, 1, 2, b'{', b'}']));
    world.take(b);
    let access = Access { presence: Presence::Observe, ..Access::READ_ONLY };
    world.hub.set_access(world.now, a, access);
    world.drain();
    assert_eq!(world.take(b), [encode::awareness(&[1, 7, 1, 4, b'n', b'u', b'l', b'l'])]);
    world.send(a, frame_of(&writer.types("after")));
    world.send(a, encode::awareness(&[1, 7, 2, 2, b'{', b'}']));
    assert!(world.take(b).is_empty());
    let name = yroom::RoomName::new("r").expect("valid");
    assert_eq!(world.store[&name].last(), Seq(1));
    world.hub.set_access(world.now, a, Access::FULL);
    world.send(a, writer.step2(&[0]));
    assert_eq!(updates(&world.take(b)).len(), 1, "what was refused can come again");
}

#[test]
fn a_connection_can_be_ended_from_outside() {
    let mut world = world();
    let (a, _) = pair(&mut world, "r");
    world.hub.close(world.now, a, yroom::CloseCode::FORBIDDEN, "not welcome");
    world.drain();
    assert_eq!(world.closed[&a], (4403, "not welcome".to_owned()));
}

#[test]
fn awareness_is_shared_kept_for_newcomers_and_cleared_at_the_end() {
    let mut world = world();
    let (a, b) = pair(&mut world, "r");
    let state = encode::awareness(&[1, 7, 1, 4, b'{', b'}', b' ', b' ']);
    world.send(a, state);
    let is_awareness = |frame: &bytes::Bytes| {
        matches!(wire::messages(frame).next(), Some(Ok(Message::Awareness(_))))
    };
    assert!(world.take(b).iter().all(is_awareness));
    let c = world.open("r");
    assert!(world.take(c).iter().any(is_awareness), "a newcomer is told who is here");
    world.close(a);
    let gone = world.take(b);
    assert_eq!(gone, [encode::awareness(&[1, 7, 1, 4, b'n', b'u', b'l', b'l'])]);
}

#[test]
fn a_turn_of_presence_goes_out_as_one_message() {
    let mut world = world();
    let (a, b) = pair(&mut world, "r");
    let c = world.open("r");
    world.take(c);
    for (conn, id) in [(a, 7), (b, 8), (a, 7)] {
        let clock = 1 + (world.hub.connection_count() as u8) * u8::from(conn == a);
        let frame = encode::awareness(&[1, id, clock, 2, b'{', b'}']);
        world.hub.handle(world.now, Input::Frame { conn, frame });
    }
    world.drain();
    assert_eq!(world.take(c).len(), 1);
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
