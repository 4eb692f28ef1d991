//! Messages for everybody in a room, at whatever server they are.

mod support;

use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use support::{World, world};
use yroom::{
    Access, ApplicationOp, Config, ConnId, Event, Limits, MessageId, NotApplied, RoomName,
};

const HELLO: &[u8] = b"\x80\x01hello";

/// Servers, each with a client, and links between them.
struct Web {
    servers: Vec<World>,
    clients: Vec<ConnId>,
    /// From a server's connection to another's.
    links: BTreeMap<(usize, ConnId), (usize, ConnId)>,
}

impl Web {
    fn new(count: usize) -> Self {
        let config = || Config { application_messages: BTreeSet::from([128]), ..Config::default() };
        let mut servers: Vec<World> = (0..count).map(|_| World::new(config())).collect();
        let clients = servers.iter_mut().map(|server| server.open("r")).collect();
        Self { servers, clients, links: BTreeMap::new() }
    }

    fn link(&mut self, one: usize, two: usize) {
        let [a, b] = [one, two].map(|at| (at, self.servers[at].open_as("r", Access::RELAY)));
        self.links.insert(a, b);
        self.links.insert(b, a);
    }

    fn publish(&mut self, at: usize, id: u8, message: &[u8]) -> usize {
        let world = &mut self.servers[at];
        let room = world.hub.find(&RoomName::new("r").unwrap()).expect("there");
        let message = Bytes::copy_from_slice(message);
        let told = world.hub.publish(world.now, room, MessageId([id; 16]), &message);
        world.drain();
        self.carry();
        told.expect("told")
    }

    /// Carries frames over the links until there are none.
    fn carry(&mut self) {
        for round in 0.. {
            assert!(round < 1000, "frames go round for ever");
            let mut carried = false;
            for (from, to) in self.links.clone() {
                for frame in self.servers[from.0].take(from.1) {
                    carried = true;
                    self.servers[to.0].send(to.1, frame);
                }
            }
            if !carried {
                return;
            }
        }
    }

    /// The application's messages that a server's client was sent.
    fn heard(&mut self, at: usize) -> Vec<Bytes> {
        let mut frames = self.servers[at].take(self.clients[at]);
        frames.retain(|frame| frame.starts_with(&[0x80, 1]));
        frames
    }

    /// The messages that a server's application was given.
    fn given(&mut self, at: usize) -> Vec<Bytes> {
        let asked = std::mem::take(&mut self.servers[at].asked);
        let messages = asked.into_iter().map(|op| match op {
            ApplicationOp::Message { message, .. } => message,
            other @ ApplicationOp::Initialise { .. } => panic!("{other:?}"),
        });
        messages.collect()
    }
}

#[test]
fn everybody_is_told_once_over_links_in_a_row_and_in_a_circle() {
    for circle in [false, true] {
        let mut web = Web::new(4);
        web.link(0, 1);
        web.link(1, 2);
        web.link(2, 3);
        if circle {
            web.link(3, 0);
            web.link(0, 2);
        }
        web.carry();
        for (id, from) in [(1, 0), (2, 1), (3, 3)] {
            assert_eq!(web.publish(from, id, HELLO), 1, "its own client");
            for at in 0..4 {
                assert_eq!(web.heard(at), [HELLO], "from {from} at {at}");
                let given = usize::from(at != from);
                assert_eq!(web.given(at).len(), given, "the application at {at}");
            }
        }
    }
}

#[test]
fn a_row_longer_than_its_hops_ends_it() {
    let mut web = Web::new(20);
    for at in 0..19 {
        web.link(at, at + 1);
    }
    web.carry();
    web.publish(0, 1, HELLO);
    let heard: Vec<usize> = (0..20).map(|at| web.heard(at).len()).collect();
    let told = heard.iter().position(|count| *count == 0).expect("an end");
    assert_eq!(told, 17, "who told, and those 16 links away: {heard:?}");
    assert!(heard[told..].iter().all(|count| *count == 0));
}

#[test]
fn clients_are_not_believed_in_an_envelope_and_never_sent_one() {
    let mut world = world();
    let (ann, bob) = (world.open("r"), world.open("r"));
    let relay = world.open_as("r", Access::RELAY);
    for conn in [ann, bob, relay] {
        world.take(conn);
    }
    let envelope = [&[103][..], &[7; 16], &[16], HELLO].concat();
    world.send(ann, envelope.clone());
    assert!(world.take(bob).is_empty() && world.take(relay).is_empty());
    assert!(world.events.contains(&Event::Refused { conn: ann }));
    world.send(relay, envelope.clone());
    assert_eq!((world.take(ann), world.take(bob)), (vec![HELLO.into()], vec![HELLO.into()]));
    world.send(relay, envelope);
    assert!(world.take(ann).is_empty(), "the second time");
    assert!(world.take(relay).is_empty(), "not back");
    for nonsense in [&[103][..], &[103, 1, 2, 3], &[[103].as_slice(), &[8; 16]].concat()] {
        let relay = world.open_as("r", Access::RELAY);
        world.send(relay, nonsense.to_vec());
        assert_eq!(world.closed[&relay].0, 1007, "{nonsense:?}");
    }
    // Without a message, and without hops: nothing to tell.
    for idle in [
        &[[103].as_slice(), &[8; 16], &[16]].concat(),
        &[[103].as_slice(), &[9; 16], &[0], HELLO].concat(),
    ] {
        world.send(relay, idle.clone());
        assert!(world.take(ann).is_empty());
    }
    assert!(!world.closed.contains_key(&relay));
}

#[test]
fn what_the_room_remembers_is_bounded_and_so_is_a_message() {
    let limits = Limits { frame_bytes: 1000, ..Limits::default() };
    let mut world = World::new(Config { limits, ..Config::default() });
    let ann = world.open("r");
    let room = world.last_room();
    let publish = |world: &mut World, id: u32, len: usize| {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&id.to_le_bytes());
        let message = Bytes::from(vec![200; len]);
        let told = world.hub.publish(world.now, room, MessageId(bytes), &message);
        world.drain();
        told
    };
    for len in [0, 982, 5000] {
        let refused = publish(&mut world, 0, len);
        assert!(matches!(refused, Err(NotApplied::Invalid(_))), "{len}: {refused:?}");
    }
    assert_eq!(publish(&mut world, 0, 981), Ok(1));
    for id in 1..=2000 {
        assert_eq!(publish(&mut world, id, 3), Ok(1));
    }
    world.take(ann);
    let relay = world.open_as("r", Access::RELAY);
    let envelope = |id: u32| {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&id.to_le_bytes());
        [&[103][..], &bytes, &[1], HELLO].concat()
    };
    world.take(ann);
    world.send(relay, envelope(2000 - 1023));
    assert!(world.take(ann).is_empty(), "the last 1,024 are remembered");
    world.send(relay, envelope(2000 - 1024));
    assert_eq!(world.take(ann).len(), 1, "older ones are not");
}

#[test]
fn a_peer_without_credit_is_left_out() {
    let limits = Limits { outbox_bytes: 100, ..Limits::default() };
    let mut world = World::new(Config { limits, ..Config::default() });
    let (ann, bob) = (world.open("r"), world.open("r"));
    let room = world.last_room();
    world.take(ann);
    world.take(bob);
    world.hold_flushes = true;
    let told = [1, 2, 3].map(|id| {
        let message = Bytes::from(vec![200; 60]);
        let told = world.hub.publish(world.now, room, MessageId([id; 16]), &message);
        world.drain();
        told
    });
    assert_eq!(told, [Ok(2), Ok(0), Ok(0)]);
    assert_eq!((world.take(ann).len(), world.take(bob).len()), (1, 1));
}
