//! The engine inside a deterministic test of one's own: an application's clients and a server in one
//! thread, with a network that is slow, breaks, and a server that crashes, all drawn from a seed.
//!
//! What is under test here is the application, as small as can be: each client has a basket, fruit is
//! put into it, and in the end everybody has to see all of it. The same seed gives the same run, to the
//! byte, so whatever breaks can be looked at again.

use bytes::Bytes;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;
use yroom::provider::{self, LinkId, Provider};
use yroom::{
    Access, Append, Config, ConnId, Hub, Input, Output, RoomName, StoreOp, Stored, Timestamp,
};
use yrs::{Array, Doc, Transact};

#[test]
fn everybody_sees_all_fruit_whatever_the_network_and_the_server_do() {
    for seed in 0..50 {
        let world = a_day_at_the_market(seed);
        let baskets: Vec<Vec<String>> = world.clients.iter().map(Client::basket).collect();
        assert!(baskets.iter().all(|basket| *basket == baskets[0]), "seed {seed}: {baskets:?}");
        let mut found = baskets[0].clone();
        found.sort();
        assert_eq!(found, world.put, "seed {seed}");
        assert!(world.crashes > 0 && world.cuts > 0, "seed {seed} was too kind");
    }
}

#[test]
fn the_same_seed_is_the_same_day() {
    let (one, other) = (a_day_at_the_market(7), a_day_at_the_market(7));
    assert!(one.transcript.lines().count() > 1000, "{}", one.transcript);
    assert_eq!(one.transcript, other.transcript);
    assert_ne!(one.transcript, a_day_at_the_market(8).transcript);
}

/// Three clients, five hundred things that happen, and a minute of peace.
fn a_day_at_the_market(seed: u64) -> World {
    let mut world = World::new(seed, 3);
    for step in 0..500 {
        let client = world.below(3) as usize;
        match world.below(20) {
            0 => world.cut(client),
            1 if step > 100 && world.crashes < 3 => world.crash(),
            _ => world.puts(client, &format!("fruit {step:03}")),
        }
        let span = world.below(300);
        world.pass(Duration::from_millis(span));
    }
    world.pass(Duration::from_secs(60));
    world
}

struct World {
    now: Timestamp,
    random: u64,
    hub: Hub,
    /// What survives a crash.
    disk: BTreeMap<RoomName, Stored>,
    room: RoomName,
    clients: Vec<Client>,
    /// What is on its way, by the time of its arrival, and then in the order of its sending.
    wire: BTreeMap<(Timestamp, u64), Delivery>,
    sent: u64,
    put: Vec<String>,
    crashes: u32,
    cuts: u32,
    transcript: String,
}

struct Client {
    doc: Doc,
    provider: Provider,
    cable: Option<(LinkId, ConnId)>,
    /// When the last thing arrives that is on its way from or to it: nothing overtakes.
    last: Timestamp,
}

enum Delivery {
    Connect { client: usize, link: LinkId },
    ToHub { conn: ConnId, frame: Bytes },
    ToClient { client: usize, link: LinkId, frame: Bytes },
}

impl Client {
    fn new(number: usize, seed: u64) -> Self {
        let doc = Doc::with_client_id(number as u64 + 1);
        let config = provider::Config { seed, ..provider::Config::default() };
        let mut provider = Provider::new(config, &doc, || ()).expect("nobody else has it");
        provider.connect(Timestamp::ZERO);
        Self { doc, provider, cable: None, last: Timestamp::ZERO }
    }

    fn basket(&self) -> Vec<String> {
        let basket = self.doc.get_or_insert_array("basket");
        let txn = self.doc.transact();
        basket.iter(&txn).map(|fruit| fruit.to_string(&txn)).collect()
    }
}

/// What happens in it.
impl World {
    fn new(seed: u64, clients: usize) -> Self {
        let mut world = Self {
            now: Timestamp::ZERO,
            random: seed,
            hub: Hub::new(Config { seed, ..Config::default() }),
            disk: BTreeMap::new(),
            room: RoomName::new("market").expect("a name"),
            clients: (0..clients).map(|number| Client::new(number, seed)).collect(),
            wire: BTreeMap::new(),
            sent: 0,
            put: Vec::new(),
            crashes: 0,
            cuts: 0,
            transcript: String::new(),
        };
        world.settle();
        world
    }

    /// A client puts something into its basket, whether it has a connection or not.
    fn puts(&mut self, client: usize, fruit: &str) {
        let Client { doc, provider, .. } = &mut self.clients[client];
        doc.get_or_insert_array("basket").push_back(&mut doc.transact_mut(), fruit);
        provider.handle(self.now, provider::Input::Edited);
        self.put.push(fruit.to_owned());
        self.settle();
    }

    /// A client's connection breaks, with all that is on its way.
    fn cut(&mut self, client: usize) {
        let Some((link, conn)) = self.clients[client].cable.take() else { return };
        self.cuts += 1;
        self.wire.retain(|_, delivery| match delivery {
            Delivery::ToHub { conn: other, .. } => *other != conn,
            Delivery::ToClient { client: other, .. } => *other != client,
            Delivery::Connect { .. } => true,
        });
        self.hub.handle(self.now, Input::Closed { conn });
        let closed = provider::Input::Closed { link, code: None, reason: "cut".to_owned() };
        self.clients[client].provider.handle(self.now, closed);
        self.settle();
    }

    /// The server is killed, and there again: it knows what is on its disk.
    fn crash(&mut self) {
        self.crashes += 1;
        self.hub = Hub::new(Config::default());
        for client in 0..self.clients.len() {
            self.cut(client);
        }
    }

    /// Lets time pass, from one deadline to the next.
    fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        loop {
            let arrival = self.wire.keys().next().map(|(at, _)| *at);
            let providers = self.clients.iter().filter_map(|c| c.provider.poll_timeout()).min();
            let next = [arrival, self.hub.poll_timeout(), providers].into_iter().flatten().min();
            let Some(at) = next.filter(|at| *at <= end) else { break };
            self.now = self.now.max(at);
            while let Some(entry) = self.wire.first_entry().filter(|e| e.key().0 <= self.now) {
                let delivery = entry.remove();
                self.deliver(delivery);
            }
            self.hub.handle_timeout(self.now);
            for client in &mut self.clients {
                client.provider.handle_timeout(self.now);
            }
            self.settle();
        }
        self.now = end;
    }
}

/// How it is carried out.
impl World {
    fn deliver(&mut self, delivery: Delivery) {
        match delivery {
            Delivery::Connect { client, link } => {
                let conn = self.hub.open(self.now, &self.room, Access::FULL).expect("let in");
                self.clients[client].cable = Some((link, conn));
                self.clients[client].provider.handle(self.now, provider::Input::Connected { link });
            }
            Delivery::ToHub { conn, frame } => {
                self.hub.handle(self.now, Input::Frame { conn, frame });
            }
            Delivery::ToClient { client, link, frame } => {
                self.clients[client]
                    .provider
                    .handle(self.now, provider::Input::Frame { link, frame });
            }
        }
    }

    /// Carries out what everybody wants, until nobody wants anything.
    fn settle(&mut self) {
        loop {
            let mut rest = true;
            while let Some(output) = self.hub.poll_output() {
                rest = false;
                self.note(&output);
                self.does_for_hub(output);
            }
            for client in 0..self.clients.len() {
                while let Some(output) = self.clients[client].provider.poll_output() {
                    rest = false;
                    self.note(&output);
                    self.does_for_client(client, output);
                }
            }
            if rest {
                return;
            }
        }
    }

    fn does_for_hub(&mut self, output: Output) {
        let now = self.now;
        match output {
            Output::Send { conn, frame } => {
                self.hub.handle(now, Input::Flushed { conn, bytes: frame.len() });
                if let Some((client, link)) = self.client_at(conn) {
                    self.post(client, Delivery::ToClient { client, link, frame });
                }
            }
            Output::Close { conn, .. } => {
                if let Some((client, _)) = self.client_at(conn) {
                    self.cut(client);
                }
            }
            Output::Store(StoreOp::Load { room, name }) => {
                let stored = self.disk.get(&name).cloned().unwrap_or_default();
                self.hub.handle(now, Input::Loaded { room, result: Ok(stored) });
            }
            Output::Store(StoreOp::Append(Append { room, name, batch })) => {
                let upto = batch.last();
                self.disk.entry(name).or_default().log.push(batch);
                self.hub.handle(now, Input::Durable { room, upto });
            }
            Output::Store(StoreOp::Compact { room, name, upto, snapshot }) => {
                let stored = self.disk.entry(name).or_default();
                stored.log.retain(|batch| batch.last() > upto);
                (stored.snapshot, stored.snapshot_upto) = (Some(snapshot), upto);
                self.hub.handle(now, Input::Compacted { room, upto, result: Ok(()) });
            }
            Output::Store(StoreOp::Delete { room, name }) => {
                self.disk.remove(&name);
                self.hub.handle(now, Input::Deleted { room, result: Ok(()) });
            }
            Output::Store(StoreOp::Release { .. }) => {}
            // A network that takes everything never makes anybody wait.
            Output::Pause { .. } | Output::Resume { .. } => {}
            // It is not asked for anything, and nobody has to be told.
            Output::Application(_) | Output::Event(_) => {}
        }
    }

    fn does_for_client(&mut self, client: usize, output: provider::Output) {
        let now = self.now;
        match output {
            provider::Output::Connect { link } => {
                self.post(client, Delivery::Connect { client, link });
            }
            provider::Output::Send { link, frame } => {
                let bytes = frame.len();
                let flushed = provider::Input::Flushed { link, bytes };
                self.clients[client].provider.handle(now, flushed);
                if let Some((_, conn)) = self.clients[client].cable {
                    self.post(client, Delivery::ToHub { conn, frame });
                }
            }
            provider::Output::Close { .. } => self.cut(client),
            provider::Output::Pause { .. } | provider::Output::Resume { .. } => {}
            provider::Output::Store(_) | provider::Output::Event(_) => {}
        }
    }

    fn client_at(&self, conn: ConnId) -> Option<(usize, LinkId)> {
        let at = |client: &Client| client.cable.filter(|(_, c)| *c == conn).map(|(link, _)| link);
        self.clients.iter().enumerate().find_map(|(n, client)| Some((n, at(client)?)))
    }

    /// Sends something to or from a client: it takes a while, and overtakes nothing.
    fn post(&mut self, client: usize, delivery: Delivery) {
        let latency = Duration::from_millis(1 + self.below(200));
        let at = (self.now + latency).max(self.clients[client].last);
        self.clients[client].last = at;
        self.sent += 1;
        self.wire.insert((at, self.sent), delivery);
    }

    fn note(&mut self, output: &impl std::fmt::Debug) {
        writeln!(self.transcript, "{} {output:?}", self.now).expect("memory");
    }

    /// A number below `end`, drawn from the seed (SplitMix64).
    fn below(&mut self, end: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }
}
