//! Presence of those whose identity is known, through the hub.
#![allow(missing_docs, reason = "the names of tests are sentences")]

#[path = "support/mod.rs"]
mod support;

use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use support::{World, world};
use yroom::update::ClientId;
use yroom::wire::awareness::{Entry, entries, write};
use yroom::wire::{self, Message, encode};
use yroom::{Access, Config, ConnId, Identity, Input, Limits};

fn named(user: &str) -> Access {
    let stamp = format!(r#"{{"user":{{"name":"{user}"}}}}"#);
    let identity = Identity::new().user(user).unwrap().stamp(&stamp).unwrap();
    Access { identity: Some(Arc::new(identity)), ..Access::FULL }
}

fn say(world: &mut World, conn: ConnId, id: u64, clock: u64, json: &str) {
    let states = write([Entry { client: ClientId(id), clock, json }]);
    world.send(conn, encode::awareness(&states));
}

/// The states that came for a connection since the last call, in order.
fn heard(world: &mut World, conn: ConnId) -> Vec<(u64, u64, String)> {
    let mut all = Vec::new();
    for frame in world.take(conn) {
        for message in wire::messages(&frame) {
            if let Message::Awareness(states) = message.unwrap() {
                all.extend(entries(states).unwrap().map(|entry| {
                    let entry = entry.unwrap();
                    (entry.client.0, entry.clock, entry.json.to_owned())
                }));
            }
        }
    }
    all
}

fn is(id: u64, clock: u64, json: &str) -> (u64, u64, String) {
    (id, clock, json.to_owned())
}

#[test]
fn others_and_newcomers_see_who_somebody_is_whatever_the_client_says() {
    let mut world = world();
    let (ann, bob) = (world.open_as("r", named("ann")), world.open("r"));
    say(&mut world, ann, 7, 1, r#"{"user":{"name":"bob","color":"red"},"cursor":3}"#);
    let shown = r#"{"cursor":3,"user":{"color":"red","name":"ann"}}"#;
    assert_eq!(heard(&mut world, bob), [is(7, 1, shown)]);
    assert_eq!(heard(&mut world, ann), []);
    let newcomer = world.open("r");
    assert_eq!(heard(&mut world, newcomer), [is(7, 1, shown)]);
}

/// Each y-websocket client sends back what it hears of others; a burst also brings it its own states.
#[test]
fn echoes_of_stamped_states_die_out() {
    let mut world = world();
    let conns = [world.open_as("r", named("ann")), world.open_as("r", named("bob"))];
    let said = r#"{"user":{"name":"me"}}"#;
    for clock in 1..20 {
        // In one turn, so that what is told is gathered.
        for (id, conn) in (1..).zip(conns) {
            let states = write([Entry { client: ClientId(id), clock, json: said }]);
            let frame = encode::awareness(&states);
            world.hub.handle(world.now, yroom::Input::Frame { conn, frame });
        }
        world.drain();
        let mut echoes = 0;
        loop {
            let frames: Vec<(ConnId, Bytes)> = conns
                .iter()
                .flat_map(|&conn| world.take(conn).into_iter().map(move |frame| (conn, frame)))
                .filter(|(_, frame)| frame.starts_with(&[1]))
                .collect();
            if frames.is_empty() {
                break;
            }
            echoes += frames.len();
            assert!(echoes <= 4, "it does not end");
            for (conn, frame) in frames {
                world.send(conn, frame);
            }
        }
        assert!(echoes > 0, "nobody was told anything");
    }
    assert!(world.closed.is_empty());
    let newcomer = world.open("r");
    let shown = |name| format!(r#"{{"user":{{"name":"{name}"}}}}"#);
    assert_eq!(
        heard(&mut world, newcomer),
        [is(1, 19, &shown("ann")), is(2, 19, &shown("bob"))],
        "and nobody has taken anything over"
    );
}

#[test]
fn who_comes_back_finds_its_id_free_whatever_others_did_with_it_meanwhile() {
    let mut world = world();
    let ann = world.open_as("r", named("ann"));
    let bob = world.open_as("r", named("bob"));
    say(&mut world, ann, 7, 1, "{}");
    world.close(ann);
    heard(&mut world, bob);
    for minute in 0..30 {
        say(&mut world, bob, 7, 2 + minute, "{}");
        world.pass(Duration::from_secs(60));
    }
    let watcher = world.open("r");
    assert_eq!(heard(&mut world, watcher), [], "nobody is shown as Ann");
    let ann = world.open_as("r", named("ann"));
    say(&mut world, ann, 7, 2, "{}");
    assert_eq!(heard(&mut world, watcher), [is(7, 2, r#"{"user":{"name":"ann"}}"#)]);
}

#[test]
fn who_is_somebody_else_from_now_on_is_asked_to_say_so() {
    let mut world = world();
    let (conn, watcher) = (world.open_as("r", named("ann")), world.open("r"));
    say(&mut world, conn, 7, 1, "{}");
    heard(&mut world, watcher);
    world.hub.set_access(world.now, conn, named("ann"));
    world.drain();
    assert_eq!(heard(&mut world, watcher), [], "the same as before");
    world.hub.set_access(world.now, conn, named("cal"));
    world.drain();
    assert_eq!(heard(&mut world, watcher), [is(7, 1, "null")]);
    // y-protocols never lets others take its state away: it raises its clock, and says it again.
    assert_eq!(heard(&mut world, conn), [is(7, 1, "null")]);
    say(&mut world, conn, 7, 2, "{}");
    assert_eq!(heard(&mut world, watcher), [is(7, 2, r#"{"user":{"name":"cal"}}"#)]);
}

#[test]
fn who_reads_nothing_is_put_right_when_it_does_and_not_without_bound() {
    let limits = Limits { outbox_bytes: 1_000, ..Limits::default() };
    let mut world = World::new(Config { limits, ..Config::default() });
    let (first, returned) = (world.open("r"), world.open("r"));
    say(&mut world, first, 7, 5, "{}");
    world.close(first);
    world.take(returned);
    world.hold_flushes = true;
    // At this clock it is known to be gone, and to be told of that it asks again and again.
    (0..1_000).for_each(|_| say(&mut world, returned, 7, 5, "{}"));
    let frames = world.take(returned);
    let bytes = frames.iter().map(Bytes::len).sum();
    assert!((1_000..1_100).contains(&bytes), "{bytes} bytes wait");
    world.hold_flushes = false;
    world.input(Input::Flushed { conn: returned, bytes });
    assert_eq!(heard(&mut world, returned), [(7, 5, "null".to_owned())]);
}
