//! The application among the users of a room: what it writes, asks, announces and ends.

mod support;

use bytes::Bytes;
use std::time::Duration;
use support::{World, Writer, frame_of, pair, updates, world};
use yroom::update::ClientId;
use yroom::wire::{Message, encode, messages};
use yroom::{
    Absent, ApplicationOp, Config, Durability, Event, FaultKind, Input, NotApplied, Reject, RoomId,
    RoomName, RoomPhase, StoreFault, StoreFaultKind, StoreOp, Told,
};

fn name(name: &str) -> RoomName {
    RoomName::new(name).expect("a valid name")
}

fn hold(world: &mut World, room: &str) -> RoomId {
    let id = world.hub.hold(world.now, &name(room)).expect("held");
    world.drain();
    id
}

fn text_of(content: &[u8]) -> String {
    let reader = Writer::new(99);
    reader.hears(&[encode::sync_step2(content)]);
    reader.text()
}

#[test]
fn what_the_application_writes_reaches_every_peer_and_the_store() {
    let mut world = world();
    let (a, b) = pair(&mut world, "r");
    let room = world.hub.find(&name("r")).expect("there");
    let update = Writer::new(7).types("hello");
    let seq = world.hub.apply(world.now, room, &update).expect("applied");
    assert!(!world.hub.is_durable(room, seq), "before the store has it");
    world.drain();
    assert!(world.hub.is_durable(room, seq));
    assert_eq!(world.take(a), [frame_of(&update)]);
    assert_eq!(world.take(b), [frame_of(&update)]);
    assert_eq!(text_of(&world.hub.content(room).expect("live")), "hello");
    let own = |event: &Event| matches!(event, Event::Acknowledged { .. });
    assert!(!world.events.iter().any(own), "the application is no connection");
}

#[test]
fn what_is_not_durable_is_shown_to_nobody_the_application_included() {
    let mut world = world();
    let (a, b) = pair(&mut world, "r");
    let room = world.hub.find(&name("r")).expect("there");
    world.hold_store = true;
    world.send(a, frame_of(&Writer::new(7).types("from a peer")));
    let seq = world.hub.apply(world.now, room, &Writer::new(8).types("own")).expect("applied");
    world.drain();
    assert_eq!(text_of(&world.hub.content(room).expect("live")), "");
    assert!(world.hub.state_vector(room).expect("live").is_empty());
    assert!(updates(&world.take(b)).is_empty());
    while !world.held.is_empty() {
        world.release_store();
    }
    world.drain();
    assert!(world.hub.is_durable(room, seq));
    let text = text_of(&world.hub.content(room).expect("live"));
    assert!(text.contains("own") && text.contains("from a peer"), "{text}");
}

#[test]
fn an_update_of_the_application_is_used_whole_or_not_at_all() {
    let mut world = world();
    let (_a, b) = pair(&mut world, "r");
    let room = world.hub.find(&name("r")).expect("there");
    let writer = Writer::new(7);
    let first = writer.types("one ");
    let second = writer.types("two");
    assert_eq!(world.hub.apply(world.now, room, &second), Err(NotApplied::Gap));
    let malformed = world.hub.apply(world.now, room, &[1, 2, 3]);
    assert!(matches!(malformed, Err(NotApplied::Invalid(_))), "{malformed:?}");
    world.drain();
    assert!(updates(&world.take(b)).is_empty());
    for update in [&first, &second, &first] {
        world.hub.apply(world.now, room, update).expect("applied, or there already");
    }
    world.drain();
    assert_eq!(text_of(&world.hub.content(room).expect("live")), "one two");
}

#[test]
fn a_hold_loads_a_room_keeps_it_and_lets_it_go() {
    let mut world = world();
    let unload_after = Config::default().unload_after;
    let room = hold(&mut world, "r");
    assert_eq!(hold(&mut world, "r"), room, "held twice");
    world.pass(unload_after * 3);
    let info = world.hub.room(room).expect("still there");
    assert_eq!((info.phase, info.peers, info.bytes), (RoomPhase::Live, 0, 2));
    let conn = world.open("r");
    world.close(conn);
    world.hub.release(world.now, room);
    world.pass(unload_after * 3);
    assert!(world.hub.room(room).is_some(), "held once more");
    world.hub.release(world.now, room);
    world.pass(unload_after / 2);
    assert!(world.hub.room(room).is_some());
    world.pass(unload_after);
    assert_eq!(world.hub.room(room), None);
    assert_eq!(world.hub.room_count(), 0);
    assert_eq!(world.hub.apply(world.now, room, &[0, 0]), Err(NotApplied::NotLive));
    world.hub.release(world.now, room);
}

#[test]
fn a_hold_revives_a_room_that_drains() {
    let mut world = world();
    let conn = world.open("r");
    let room = world.hub.find(&name("r")).expect("there");
    world.hold_store = true;
    world.send(conn, frame_of(&Writer::new(7).types("late")));
    world.close(conn);
    world.pass(Config::default().unload_after * 2);
    assert_eq!(world.hub.room(room).expect("there").phase, RoomPhase::Draining);
    assert_eq!(hold(&mut world, "r"), room);
    while !world.held.is_empty() {
        world.release_store();
    }
    world.drain();
    assert_eq!(text_of(&world.hub.content(room).expect("live")), "late");
}

#[test]
fn a_load_that_fails_ends_the_hold() {
    let mut world = world();
    world.hold_store = true;
    let room = hold(&mut world, "r");
    assert_eq!(world.hub.content(room), None, "still loading");
    let fault = StoreFault::new(StoreFaultKind::NotDone, "no disk");
    world.held.clear();
    world.input(Input::Loaded { room, result: Err(fault) });
    assert_eq!(world.hub.room(room), None);
    world.hold_store = false;
    let again = hold(&mut world, "r");
    assert!(world.hub.content(again).is_some(), "the next one asks the store again");
}

#[test]
fn a_held_room_does_not_keep_the_server_from_ending() {
    let mut world = world();
    let room = hold(&mut world, "r");
    world.hub.apply(world.now, room, &Writer::new(7).types("kept")).expect("applied");
    world.hub.shutdown(world.now);
    world.drain();
    assert!(world.hub.is_drained());
    assert_eq!(world.hub.hold(world.now, &name("r")), Err(Reject::ShuttingDown));
    assert!(!world.store[&name("r")].is_absent());
}

#[test]
fn a_deleted_room_closes_its_peers_and_begins_anew() {
    let mut world = world();
    let (a, b) = pair(&mut world, "r");
    world.send(a, frame_of(&Writer::new(7).types("secret")));
    world.hold_store = true;
    world.send(a, frame_of(&Writer::new(8).types("on its way")));
    world.hub.delete(world.now, &name("r")).expect("begun");
    world.hub.delete(world.now, &name("r")).expect("said twice");
    world.drain();
    assert_eq!((world.closed[&a].0, world.closed[&b].0), (4404, 4404));
    let refused = world.hub.open(world.now, &name("r"), yroom::Access::FULL);
    assert_eq!(refused, Err(Reject::BeingDeleted));
    assert_eq!(world.hub.hold(world.now, &name("r")), Err(Reject::BeingDeleted));
    world.release_store();
    let deleted = |event: &Event| matches!(event, Event::RoomDeleted { result: Ok(()), .. });
    assert_eq!(world.events.iter().filter(|event| deleted(event)).count(), 1);
    assert!(!world.store.contains_key(&name("r")));
    let c = world.open("r");
    world.send(c, encode::sync_step1(&[0]));
    assert_eq!(world.take(c).last(), Some(&encode::sync_step2(&[0, 0])));
}

#[test]
fn a_room_that_is_not_loaded_is_deleted_without_loading_it() {
    let mut world = world();
    world.hold_store = true;
    let room = world.hub.delete(world.now, &name("r")).expect("begun");
    world.drain();
    let asked = std::mem::take(&mut world.held);
    assert_eq!(asked, [StoreOp::Delete { room, name: name("r") }]);
    let fault = StoreFault::new(StoreFaultKind::NotDone, "no disk");
    world.input(Input::Deleted { room, result: Err(fault.clone()) });
    assert!(world.events.contains(&Event::RoomDeleted { room, result: Err(fault) }));
    assert_eq!(world.hub.room_count(), 0);
}

#[test]
fn a_store_that_does_not_answer_a_deletion_does_not_lock_the_name_for_ever() {
    let mut world = world();
    world.hold_store = true;
    world.hub.delete(world.now, &name("r")).expect("begun");
    world.drain();
    world.pass(Config::default().limits.load_timeout * 2);
    let failed = |event: &Event| matches!(event, Event::RoomDeleted { result: Err(_), .. });
    assert!(world.events.iter().any(failed));
    world.open("r");
}

#[test]
fn a_closed_room_unloads_once_its_peers_are_gone() {
    let mut world = world();
    let (a, b) = pair(&mut world, "r");
    let room = world.hub.find(&name("r")).expect("there");
    world.hub.close_room(world.now, room, yroom::CloseCode::TRY_AGAIN, "maintenance");
    world.drain();
    assert_eq!(world.closed[&a], (1013, "maintenance".to_owned()));
    assert_eq!(world.closed[&b].0, 1013);
    world.pass(Config::default().unload_after * 2);
    assert_eq!(world.hub.room(room), None);
}

fn initialising() -> World {
    World::new(Config { absent: Absent::Initialise, ..Config::default() })
}

/// Whether the hub has asked for a room's first content since the last call.
fn asked(world: &mut World) -> usize {
    std::mem::take(&mut world.asked)
        .iter()
        .filter(|asked| matches!(asked, ApplicationOp::Initialise { .. }))
        .count()
}

#[test]
fn an_absent_room_is_filled_once_before_anybody_is_served() {
    let mut world = initialising();
    let peers: Vec<_> = (0..100).map(|_| world.open("r")).collect();
    assert_eq!(asked(&mut world), 1);
    let room = world.last_room();
    world.send(peers[0], encode::sync_step1(&[0]));
    world.hold_store = true;
    let content = Writer::new(7).types("first");
    world.input(Input::Initialised { room, result: Ok(Some(content.clone().into())) });
    world.input(Input::Initialised { room, result: Ok(Some(content.into())) });
    assert!(world.take(peers[0]).is_empty(), "not before it is durable");
    world.release_store();
    let reader = Writer::new(8);
    reader.hears(&world.take(peers[0]));
    assert_eq!(reader.text(), "first");
    assert_eq!(asked(&mut world), 0);
    for conn in peers {
        world.close(conn);
    }
    world.pass(Config::default().unload_after * 2);
    assert_eq!(world.hub.room_count(), 0);
    let again = world.open("r");
    assert_eq!(asked(&mut world), 0, "it is stored now");
    world.close(again);
}

#[test]
fn a_load_that_fails_never_asks_for_first_content() {
    let mut world = initialising();
    world.hold_store = true;
    let conn = world.open("r");
    let room = world.last_room();
    world.held.clear();
    let fault = StoreFault::new(StoreFaultKind::NotDone, "no disk");
    world.input(Input::Loaded { room, result: Err(fault) });
    assert_eq!(asked(&mut world), 0);
    assert_eq!(world.closed[&conn].0, 1013);
}

#[test]
fn an_initialiser_that_fails_or_is_silent_closes_the_peers_and_is_asked_again() {
    let mut world = initialising();
    let conn = world.open("r");
    assert_eq!(asked(&mut world), 1);
    let fault = StoreFault::new(StoreFaultKind::NotDone, "no template");
    world.input(Input::Initialised { room: world.last_room(), result: Err(fault) });
    assert_eq!(world.closed[&conn].0, 1013);

    let conn = world.open("r");
    assert_eq!(asked(&mut world), 1);
    world.pass(Config::default().limits.load_timeout * 2);
    assert_eq!(world.closed[&conn].0, 1013);

    let conn = world.open("r");
    assert_eq!(asked(&mut world), 1);
    let room = world.last_room();
    world.input(Input::Initialised { room, result: Ok(Some(Bytes::from_static(&[9, 9]))) });
    assert_eq!(world.closed[&conn].0, 1013, "what is no update is no content");

    let conn = world.open("r");
    assert_eq!(asked(&mut world), 1);
    world.input(Input::Initialised { room: world.last_room(), result: Ok(None) });
    world.send(conn, encode::sync_step1(&[0]));
    assert_eq!(world.take(conn).last(), Some(&encode::sync_step2(&[0, 0])), "empty on purpose");
}

#[test]
fn first_content_survives_a_store_that_fails_at_first() {
    for durability in [Durability::BeforeFanout, Durability::BeforeAck, Durability::Eventual] {
        let config = Config { absent: Absent::Initialise, durability, ..Config::default() };
        let mut world = World::new(config);
        let conn = world.open("r");
        let room = world.last_room();
        world.hold_store = true;
        let content = Writer::new(7).types("first");
        world.input(Input::Initialised { room, result: Ok(Some(content.into())) });
        let [StoreOp::Append(append)] = &world.held[..] else { panic!("{:?}", world.held) };
        let seq = append.batch.last();
        world.held.clear();
        let fault = StoreFault::new(StoreFaultKind::Unknown, "an odd disk");
        world.input(Input::WriteFailed { room, seq, fault });
        world.pass(Duration::from_secs(1));
        assert!(!world.held.is_empty(), "it is tried again");
        assert!(world.take(conn).is_empty(), "{durability:?}");
        world.release_store();
        world.send(conn, encode::sync_step1(&[0]));
        let reader = Writer::new(8);
        reader.hears(&world.take(conn));
        assert_eq!(reader.text(), "first");
    }
}

#[test]
fn messages_of_the_applications_types_are_the_applications() {
    let config = Config { application_messages: [2, 130].into(), ..Config::default() };
    let mut world = World::new(config);
    let (a, b) = pair(&mut world, "r");
    world.send(a, Bytes::from_static(&[2, 5, 6]));
    // A query, and in the same frame a message of the application's to its end.
    world.send(a, Bytes::from_static(&[3, 0x82, 1, 3, 3]));
    let messages: Vec<ApplicationOp> = std::mem::take(&mut world.asked);
    let message = |bytes: &'static [u8]| {
        let message = Bytes::from_static(bytes);
        ApplicationOp::Message { conn: a, message }
    };
    assert_eq!(messages, [message(&[2, 5, 6]), message(&[0x82, 1, 3, 3])]);
    assert_eq!(world.take(a), [Bytes::from_static(encode::KEEPALIVE)], "the query's answer");
    assert!(world.take(b).is_empty());
}

#[test]
fn the_application_tells_one_peer_or_all_of_them_but_never_a_slow_one() {
    let mut world = world();
    let (a, b) = pair(&mut world, "r");
    let room = world.hub.find(&name("r")).expect("there");
    let word = Bytes::from_static(&[200, 1, 1, 2, 3]);
    assert_eq!(world.hub.tell(world.now, a, &word), Told::Sent);
    world.drain();
    assert_eq!(world.take(a), std::slice::from_ref(&word));
    assert!(world.take(b).is_empty());
    world.hold_flushes = true;
    let large = Bytes::from(vec![200; Config::default().limits.outbox_bytes]);
    assert_eq!(world.hub.tell(world.now, b, &large), Told::Sent);
    assert_eq!(world.hub.tell(world.now, b, &word), Told::TooSlow);
    assert_eq!(world.hub.tell_all(world.now, room, &word), 1, "a has credit");
    world.drain();
    world.close(a);
    assert_eq!(world.hub.tell(world.now, a, &word), Told::Gone);
    assert_eq!(world.hub.peers(room).count(), 1);
}

/// The presence states that `frames` announce or end.
fn presence(frames: &[Bytes]) -> Vec<(u64, u64, String)> {
    let states = frames.iter().flat_map(|frame| messages(frame)).filter_map(|message| {
        let Ok(Message::Awareness(states)) = message else { return None };
        Some(yroom::wire::awareness::entries(states).expect("well formed"))
    });
    let entry = |entry: yroom::wire::awareness::Entry<'_>| {
        (entry.client.0, entry.clock, entry.json.to_owned())
    };
    states.flat_map(|entries| entries.map(|found| entry(found.expect("well formed")))).collect()
}

#[test]
fn the_applications_presence_is_shown_renewed_and_taken_back() {
    let mut world = world();
    let room = hold(&mut world, "r");
    let bot = ClientId(77);
    let announced = world.hub.set_presence(world.now, room, bot, Some(r#"{"name":"bot"}"#));
    assert_eq!(announced, Ok(()));
    let (a, _b) = pair(&mut world, "r");
    world.send(a, Bytes::from_static(&[3]));
    assert_eq!(presence(&world.take(a)), [(77, 1, r#"{"name":"bot"}"#.to_owned())]);
    for _ in 0..4 {
        world.pass(Duration::from_secs(30));
        let renewed = presence(&world.take(a));
        assert!(renewed.iter().any(|(id, _, json)| *id == 77 && json != "null"), "{renewed:?}");
        assert!(renewed.iter().all(|(_, _, json)| json != "null"), "{renewed:?}");
    }
    // Nobody else speaks for it.
    let forged =
        encode::awareness(&yroom::wire::awareness::write([yroom::wire::awareness::Entry {
            client: bot,
            clock: 1000,
            json: "{}",
        }]));
    world.send(a, forged);
    world.take(a);
    world.send(a, Bytes::from_static(&[3]));
    assert!(presence(&world.take(a)).iter().all(|(_, _, json)| json.contains("bot")));
    world.hub.release(world.now, room);
    world.drain();
    let gone = presence(&world.take(a));
    assert!(gone.iter().any(|(id, _, json)| *id == 77 && json == "null"), "{gone:?}");
}

#[test]
fn a_presence_of_the_applications_that_was_taken_back_can_be_announced_again() {
    let mut world = world();
    let (a, _b) = pair(&mut world, "r");
    let bot = ClientId(77);
    for _ in 0..3 {
        let room = hold(&mut world, "r");
        for state in [Some("{}"), None, Some("1"), Some("2")] {
            assert_eq!(world.hub.set_presence(world.now, room, bot, state), Ok(()), "{state:?}");
            world.drain();
            let shown = state.unwrap_or("null");
            let told = presence(&world.take(a));
            assert!(told.iter().any(|(id, _, json)| *id == 77 && json == shown), "{told:?}");
        }
        world.hub.release(world.now, room);
        world.drain();
        assert!(presence(&world.take(a)).iter().any(|(_, _, json)| json == "null"));
    }
}

#[test]
fn the_application_does_not_take_a_peers_presence_id() {
    let mut world = world();
    let (a, _b) = pair(&mut world, "r");
    let room = hold(&mut world, "r");
    let own = encode::awareness(&yroom::wire::awareness::write([yroom::wire::awareness::Entry {
        client: ClientId(5),
        clock: 1,
        json: "{}",
    }]));
    world.send(a, own);
    let taken = world.hub.set_presence(world.now, room, ClientId(5), Some("{}"));
    assert_eq!(taken, Err(NotApplied::IdTaken));
    // Taking back what is not its own changes nothing.
    world.take(a);
    assert_eq!(world.hub.set_presence(world.now, room, ClientId(5), None), Ok(()));
    world.drain();
    assert_eq!(presence(&world.take(a)), []);
}

#[test]
fn a_presence_of_the_applications_that_cannot_be_shown_is_refused_with_its_reason() {
    let mut world = world();
    let (a, _b) = pair(&mut world, "r");
    let room = hold(&mut world, "r");
    let bot = ClientId(6);
    let large = format!("\"{}\"", "x".repeat(16 << 10));
    let deep = "[".repeat(65) + &"]".repeat(65);
    for (state, kind) in
        [("{", FaultKind::Malformed), (&large, FaultKind::Limit), (&deep, FaultKind::Limit)]
    {
        match world.hub.set_presence(world.now, room, bot, Some(state)) {
            Err(NotApplied::Invalid(fault)) => assert_eq!(fault.kind, kind, "{fault}"),
            other => panic!("{other:?}"),
        }
    }
    // What was never announced is taken back, also in JSON's words, as often as one likes.
    for nothing in [None, Some("null"), Some(" null ")] {
        assert_eq!(world.hub.set_presence(world.now, room, bot, nothing), Ok(()));
    }
    world.drain();
    assert_eq!(presence(&world.take(a)), []);
    assert_eq!(world.hub.set_presence(world.now, room, bot, Some("1")), Ok(()));
    assert_eq!(world.hub.set_presence(world.now, room, bot, Some("null")), Ok(()));
    world.pass(Duration::from_secs(60));
    let last = presence(&world.take(a)).pop().expect("its leaving");
    assert_eq!((last.0, last.2.as_str()), (6, "null"));
}

#[test]
fn rooms_are_listed_by_name() {
    let mut world = world();
    world.open("b");
    world.open("a");
    world.open("b");
    let listed: Vec<_> =
        world.hub.rooms().map(|room| (room.name.as_str().to_owned(), room.peers)).collect();
    assert_eq!(listed, [("a".to_owned(), 1), ("b".to_owned(), 2)]);
}

#[test]
fn writes_of_the_application_wait_like_those_of_peers_while_the_store_is_behind() {
    let mut config = Config::default();
    config.limits.journal_bytes = 100;
    let mut world = World::new(config);
    let room = hold(&mut world, "r");
    world.hold_store = true;
    let writer = Writer::new(7);
    world.hub.apply(world.now, room, &writer.types(&"x".repeat(200))).expect("applied");
    world.drain();
    let next = writer.types("y");
    assert_eq!(world.hub.apply(world.now, room, &next), Err(NotApplied::Congested));
    world.release_store();
    assert!(world.hub.apply(world.now, room, &next).is_ok());
}
