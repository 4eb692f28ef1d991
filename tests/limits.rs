//! What is bounded and what is not allowed: slow peers, large documents, floods, rights.

mod support;

use std::time::Duration;
use support::{World, Writer, frame_of, pair, updates, world};
use yroom::wire::encode;
use yroom::{Access, Config, Event, Input, Limits, Presence, Rate, Seq};

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
fn who_brings_many_new_client_ids_waits() {
    let new_clients = Rate { per_second: 10, burst: 50 };
    let limits = Limits { new_clients, ..Limits::default() };
    let mut world = World::new(Config { limits, ..Config::default() });
    let (a, b) = pair(&mut world, "r");
    // A character of each of 30 clients, new or not.
    let brings = |from: u8, clock: u8| {
        let mut update = vec![30];
        for client in (from..from + 30).rev() {
            update.extend([1, client, clock, 0x04, 1, 1, b't', 1, b'x']);
        }
        update.push(0);
        frame_of(&update)
    };
    world.send(a, brings(10, 0));
    world.take(b);
    for clock in 1..10 {
        world.send(a, brings(10, clock));
        assert_eq!(updates(&world.take(b)).len(), 1);
    }
    assert_eq!(world.paused.get(&a), None, "30");
    world.send(a, brings(50, 0));
    assert_eq!(world.paused.get(&a), Some(&true));
    assert_eq!(world.paused.get(&b), None);
    // 60 were taken of 50.
    world.pass(Duration::from_millis(999));
    assert_eq!(world.paused.get(&a), Some(&true));
    world.pass(Duration::from_millis(2));
    assert_eq!(world.paused.get(&a), Some(&false));
    let relay = world.open_as("r", Access::RELAY);
    world.send(relay, encode::sync_step1(&[0]));
    for from in [80, 98, 35] {
        world.send(relay, brings(from, 0));
    }
    assert_eq!(world.paused.get(&relay), None, "it brings what many have written");
}

#[test]
fn whoever_asks_for_a_large_document_again_and_again_waits_for_it() {
    let bytes_in = Rate { per_second: 10_000, burst: 50_000 };
    let limits = Limits { bytes_in, ..Limits::default() };
    let mut world = World::new(Config { limits, ..Config::default() });
    let (a, b) = pair(&mut world, "r");
    world.send(b, frame_of(&Writer::new(9).types(&"x".repeat(20_000))));
    world.take(a);
    let asks = encode::sync_step1(&[0]);
    world.send(a, asks.clone());
    world.send(a, asks.clone());
    assert_eq!(world.paused.get(&a), None, "whoever joins may ask");
    world.send(a, asks);
    assert_eq!(world.paused.get(&a), Some(&true));
    world.pass(Duration::from_millis(1_200));
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
fn questions_that_wait_for_the_store_are_few_and_the_last_is_among_them() {
    let mut world = world();
    let (a, _) = pair(&mut world, "r");
    world.hold_store = true;
    world.send(a, frame_of(&Writer::new(7).types("waits")));
    for version in 0..100 {
        world.send(a, encode::sync_status(&[version]));
    }
    world.send(a, encode::sync_status(&[7; 65]));
    world.release_store();
    let answers = world.take(a);
    assert_eq!(answers.len(), 16);
    assert_eq!(answers.last(), Some(&encode::sync_status(&[99])));
}

/// Updates that each put an array into the one before, the first into the root; every second one
/// behind an element, so that its place is told by its neighbour alone.
fn steps_down(levels: usize) -> Vec<Vec<u8>> {
    use yrs::{Array, ArrayPrelim, Doc, Transact};
    let doc = Doc::with_client_id(7);
    let mut inner = doc.get_or_insert_array("root");
    let mut steps = Vec::new();
    for level in 0..levels {
        let mut txn = doc.transact_mut();
        if level % 2 == 1 {
            inner.push_back(&mut txn, 1);
        }
        inner = inner.push_back(&mut txn, ArrayPrelim::default());
        steps.push(txn.encode_update_v1());
    }
    // Dropping it would overflow the stack, which is what this is about.
    std::mem::forget(doc);
    steps
}

#[test]
fn a_tree_that_grows_too_deep_by_small_steps_is_refused_where_it_does() {
    let mut config = Config::default();
    config.limits.update.types = 100;
    let mut world = World::new(config);
    let (a, b) = pair(&mut world, "r");
    let steps = steps_down(120);
    let told = steps.iter().take_while(|step| {
        world.send(a, frame_of(step));
        !world.closed.contains_key(&a)
    });
    assert_eq!(told.count(), 101, "the root counts as none");
    assert_eq!(world.closed[&a].0, 1009);
    assert_eq!(updates(&world.take(b)).len(), 101);
    // Whoever works higher up is not disturbed, also after a restart of the room.
    let wide = |client: u64| {
        use yrs::{Array, ArrayPrelim, Doc, Transact};
        let doc = Doc::with_client_id(client);
        let root = doc.get_or_insert_array("root");
        let mut txn = doc.transact_mut();
        for _ in 0..200 {
            root.push_back(&mut txn, ArrayPrelim::default());
        }
        txn.encode_update_v1()
    };
    world.send(b, frame_of(&wide(8)));
    world.close(b);
    world.pass(Config::default().unload_after * 2);
    let c = world.open("r");
    world.send(c, frame_of(&wide(9)));
    assert!(!world.closed.contains_key(&c));
    world.send(c, frame_of(&steps[101]));
    assert_eq!(world.closed[&c].0, 1009);
}

#[test]
fn whoever_makes_a_room_read_all_it_has_pays_for_that() {
    let mut config = Config::default();
    config.limits.update.types = 100;
    config.limits.bytes_in = Rate { per_second: 1_000, burst: 20_000 };
    let mut world = World::new(config);
    let (a, b) = pair(&mut world, "r");
    let steps = steps_down(101);
    for step in &steps[..90] {
        world.send(a, frame_of(step));
    }
    assert!(world.paused.is_empty());
    let filler = Writer::new(9).types(&"x".repeat(10_000));
    world.send(b, frame_of(&filler));
    // The guess was right up to here; from now on it takes reading.
    for client in 10..20 {
        use yrs::{Array, ArrayPrelim, Doc, Transact};
        let doc = Doc::with_client_id(client);
        let root = doc.get_or_insert_array("root");
        let mut txn = doc.transact_mut();
        for _ in 0..10 {
            root.push_back(&mut txn, ArrayPrelim::default());
        }
        let update = txn.encode_update_v1();
        drop(txn);
        world.send(a, frame_of(&update));
    }
    assert_eq!(world.paused.get(&a), Some(&true));
    assert_eq!(world.paused.get(&b), None);
}
