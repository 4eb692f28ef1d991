//! Two hubs linked by a relay: each is a peer in the other's room.

mod support;

use bytes::Bytes;
use std::time::Duration;
use support::{World, Writer, frame_of, world};
use yroom::update::ClientId;
use yroom::wire::awareness::{Entry, entries, write};
use yroom::wire::{self, Message, encode};
use yroom::{Access, Config, ConnId, Limits};

/// A room here, and the same room upstream.
struct Pair {
    here: World,
    there: World,
    link: Option<(ConnId, ConnId)>,
}

impl Pair {
    fn linked() -> Self {
        let mut pair = Self { here: world(), there: world(), link: None };
        pair.relink();
        pair
    }

    fn relink(&mut self) {
        let here = self.here.open_as("r", Access::RELAY);
        let there = self.there.open_as("r", Access::RELAY);
        self.link = Some((here, there));
        self.pump();
    }

    fn unlink(&mut self) {
        let (here, there) = self.link.take().expect("linked");
        self.here.close(here);
        self.there.close(there);
    }

    /// Carries frames between the two until there are none; says how many there were.
    fn pump(&mut self) -> usize {
        let Some((here, there)) = self.link else { return 0 };
        for carried in 0.. {
            let (up, down) = (self.here.take(here), self.there.take(there));
            if up.is_empty() && down.is_empty() {
                return carried;
            }
            assert!(carried < 100, "frames go round for ever");
            for frame in up {
                self.there.send(there, frame);
            }
            for frame in down {
                self.here.send(here, frame);
            }
        }
        unreachable!()
    }
}

fn state(client: u64, clock: u64, json: &str) -> Bytes {
    encode::awareness(&write([Entry { client: ClientId(client), clock, json }]))
}

/// All entries of the awareness messages among these frames.
fn told(frames: &[Bytes]) -> Vec<(u64, u64, String)> {
    let messages = frames.iter().flat_map(|frame| wire::messages(frame)).map_while(Result::ok);
    let states = messages.filter_map(|message| match message {
        Message::Awareness(states) => Some(states),
        _ => None,
    });
    states
        .flat_map(|states| entries(states).expect("well formed").map(Result::unwrap))
        .map(|entry| (entry.client.0, entry.clock, entry.json.to_owned()))
        .collect()
}

#[test]
fn what_is_written_on_either_side_is_on_both_and_goes_round_no_second_time() {
    let mut pair = Pair::linked();
    let (ann, bob) = (pair.here.open("r"), pair.there.open("r"));
    pair.here.take(ann);
    pair.there.take(bob);
    let frame = frame_of(&Writer::new(7).types("from here"));
    pair.here.send(ann, frame.clone());
    pair.pump();
    assert_eq!(pair.there.take(bob), [frame], "its bytes unchanged");
    pair.there.send(bob, frame_of(&Writer::new(8).types("from there")));
    pair.pump();
    assert_eq!(pair.here.take(ann).len(), 1);
    assert_eq!(pair.pump(), 0);
}

#[test]
fn what_was_written_while_the_link_was_down_crosses_when_it_is_up() {
    let mut pair = Pair::linked();
    let (ann, bob) = (pair.here.open("r"), pair.there.open("r"));
    pair.unlink();
    pair.here.take(ann);
    pair.there.take(bob);
    pair.here.send(ann, frame_of(&Writer::new(7).types("from here")));
    pair.there.send(bob, frame_of(&Writer::new(8).types("from there")));
    pair.relink();
    assert_eq!(support::updates(&pair.here.take(ann)).len(), 1);
    assert_eq!(support::updates(&pair.there.take(bob)).len(), 1);
}

#[test]
fn a_relay_speaks_for_more_than_a_client_may() {
    let mut world = world();
    let (relay, client) = (world.open_as("r", Access::RELAY), world.open("r"));
    let watcher = world.open("r");
    world.take(watcher);
    for id in 0..100 {
        world.send(relay, state(id, 1, "{}"));
        world.send(client, state(1000 + id, 1, "{}"));
    }
    let told = told(&world.take(watcher));
    let most = Limits::default().awareness_ids_per_connection;
    assert_eq!(told.iter().filter(|(id, ..)| *id < 100).count(), 100);
    assert_eq!(told.iter().filter(|(id, ..)| *id >= 1000).count(), most);
}

#[test]
fn a_relay_is_bounded_by_the_room() {
    let limits = Limits { awareness_states_per_room: 20, ..Limits::default() };
    let mut world = World::new(Config { limits, ..Config::default() });
    let (relay, watcher) = (world.open_as("r", Access::RELAY), world.open("r"));
    world.take(watcher);
    (0..100).for_each(|id| world.send(relay, state(id, 1, "{}")));
    assert_eq!(told(&world.take(watcher)).len(), 20);
}

#[test]
fn who_is_here_is_seen_there_until_the_link_is_gone() {
    let mut pair = Pair::linked();
    let (ann, bob) = (pair.here.open("r"), pair.there.open("r"));
    pair.there.take(bob);
    pair.here.send(ann, state(7, 1, "{\"name\":\"Ann\"}"));
    pair.pump();
    assert_eq!(told(&pair.there.take(bob)), [(7, 1, "{\"name\":\"Ann\"}".to_owned())]);
    pair.unlink();
    assert_eq!(told(&pair.there.take(bob)), [(7, 1, "null".to_owned())]);
}

#[test]
fn who_was_taken_for_gone_while_the_link_was_down_is_told_and_says_no_at_once() {
    let mut pair = Pair::linked();
    let (ann, bob) = (pair.here.open("r"), pair.there.open("r"));
    pair.here.send(ann, state(7, 1, "{}"));
    pair.pump();
    pair.unlink();
    pair.here.take(ann);
    pair.there.take(bob);
    pair.relink();
    assert_eq!(told(&pair.here.take(ann)), [(7, 1, "null".to_owned())], "it is told");
    pair.here.send(ann, state(7, 2, "{}"));
    pair.pump();
    assert_eq!(told(&pair.there.take(bob)), [(7, 2, "{}".to_owned())]);
    assert!(told(&pair.here.take(ann)).is_empty());
}

#[test]
fn nobody_but_a_relay_makes_others_say_that_they_are_here() {
    let mut world = world();
    let (ann, eve) = (world.open("r"), world.open("r"));
    world.send(ann, state(7, 1, "{}"));
    world.take(ann);
    world.send(eve, state(7, 1, "null"));
    assert!(told(&world.take(ann)).is_empty());
}

#[test]
fn two_relays_do_not_deny_a_state_to_each_other_without_an_end() {
    let mut world = world();
    let (one, two) = (world.open_as("r", Access::RELAY), world.open_as("r", Access::RELAY));
    world.send(one, state(7, 1, "{}"));
    world.take(one);
    world.take(two);
    world.send(two, state(7, 1, "null"));
    assert!(told(&world.take(one)).is_empty());
    assert!(told(&world.take(two)).is_empty());
}

#[test]
fn a_quiet_link_is_kept_alive_in_both_directions() {
    let mut pair = Pair::linked();
    let mut heard = (0, 0);
    for _ in 0..12 {
        pair.here.pass(Duration::from_secs(5));
        pair.there.pass(Duration::from_secs(5));
        let (here, there) = pair.link.expect("linked");
        heard.0 += pair.there.take(there).len();
        heard.1 += pair.here.take(here).len();
    }
    assert!(heard.0 >= 3 && heard.1 >= 3, "{heard:?}");
}
