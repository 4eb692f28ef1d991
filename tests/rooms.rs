//! Rooms as their peers see them, message by message.

mod support;

use std::time::Duration;
use support::{Writer, frame_of, pair, updates, world};
use yroom::wire::{self, Message, encode};
use yroom::{Event, Input, Limits, Seq};

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
fn a_turn_that_changes_the_document_is_told_once_when_it_may_be_shown() {
    let mut world = world();
    let (a, b) = pair(&mut world, "r");
    let room = world.last_room();
    let changes = |world: &mut support::World| {
        let changed = |event: Event| match event {
            Event::RoomChanged { room, upto } => Some((room, upto)),
            _ => None,
        };
        std::mem::take(&mut world.events).into_iter().filter_map(changed).collect::<Vec<_>>()
    };
    assert_eq!(changes(&mut world), []);
    world.hold_store = true;
    let writer = Writer::new(7);
    for text in ["one ", "two ", "three"] {
        let frame = frame_of(&writer.types(text));
        world.hub.handle(world.now, Input::Frame { conn: a, frame });
    }
    world.drain();
    assert_eq!(changes(&mut world), [], "not before it is durable");
    world.release_store();
    assert_eq!(changes(&mut world), [(room, Seq(3))]);
    world.send(b, writer.step2(&[0]));
    assert_eq!(changes(&mut world), [], "nothing new");
}

#[test]
fn at_the_end_of_time_everything_is_over_and_nothing_hangs() {
    let mut world = world();
    let (a, b) = pair(&mut world, "r");
    world.send(a, encode::awareness(&[1, 7, 1, 2, b'{', b'}']));
    world.take(b);
    world.now = yroom::Timestamp::from_micros(u64::MAX);
    for _ in 0..3 {
        world.hub.handle_timeout(world.now);
        world.drain();
    }
    assert!(!world.take(b).is_empty(), "the presence that was not renewed is gone");
    world.close(a);
    world.close(b);
    world.hub.shutdown(world.now);
    world.drain();
    assert!(world.hub.is_drained());
}
