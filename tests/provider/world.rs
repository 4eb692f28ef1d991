//! Providers and a hub in one thread, with a network and a disk that fail as told, in virtual time.

use crate::disk::{carry_out, list, name, restore};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;
use yroom::provider::{self, LinkId, Outlook, Phase, Provider};
use yroom::{
    Access, CloseCode, Config, ConnId, Hub, Input, Output, RoomName, StoreFault, StoreFaultKind,
    StoreOp, Stored, Timestamp,
};
use yrs::{Array, Doc, Transact};

pub(crate) struct World {
    pub(crate) now: Timestamp,
    pub(crate) clients: Vec<Client>,
    pub(crate) disk: BTreeMap<RoomName, Stored>,
    /// Frames take between the two.
    pub(crate) latency: (Duration, Duration),
    /// How long the disk takes.
    pub(crate) disk_takes: Duration,
    /// Frames that a connection sent leave it no faster than this.
    pub(crate) bytes_per_second: Option<u64>,
    pub(crate) room: RoomName,
    pub(crate) hub_config: Config,
    hub: Option<Hub>,
    epoch: u64,
    happenings: BTreeMap<(Timestamp, u64), Happening>,
    count: u64,
    conns: BTreeMap<ConnId, Conn>,
    touched: BTreeSet<usize>,
    deadlines: BTreeSet<(Timestamp, usize)>,
    rng: u64,
    /// When each connection was accepted.
    pub(crate) accepted: Vec<Timestamp>,
}

#[allow(clippy::struct_excessive_bools, reason = "each is a switch that a test throws")]
pub(crate) struct Client {
    pub(crate) provider: Provider,
    pub(crate) doc: Doc,
    pub(crate) events: Vec<provider::Event>,
    pub(crate) disk: Stored,
    pub(crate) access: Access,
    pub(crate) reachable: bool,
    pub(crate) is_dead: bool,
    pub(crate) disk_fails: bool,
    pub(crate) sent_frames: usize,
    link: Option<LinkId>,
    conn: Option<ConnId>,
    paused: bool,
    inbox: VecDeque<bytes::Bytes>,
    /// When the last frame leaves, and when it arrives.
    up: (Timestamp, Timestamp),
    deadline: Option<Timestamp>,
}

struct Conn {
    client: usize,
    link: LinkId,
    paused: bool,
    /// Nothing gets through any more, and nobody is told.
    frozen: bool,
    inbox: VecDeque<bytes::Bytes>,
    down: (Timestamp, Timestamp),
}

enum Happening {
    Open { client: usize, link: LinkId },
    Up { conn: ConnId, frame: bytes::Bytes },
    Down { conn: ConnId, frame: bytes::Bytes },
    FlushedUp { client: usize, link: LinkId, bytes: usize },
    FlushedDown { conn: ConnId, bytes: usize },
    CloseDown { conn: ConnId, code: CloseCode, reason: String },
    CloseUp { conn: ConnId },
    Stored { epoch: u64, op: StoreOp },
    ClientStored { client: usize, op: StoreOp },
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let hub_config = Config::default();
        Self {
            now: Timestamp::from_micros(1),
            clients: vec![],
            disk: BTreeMap::new(),
            latency: (Duration::from_millis(1), Duration::from_millis(20)),
            disk_takes: Duration::from_millis(3),
            bytes_per_second: None,
            room: RoomName::new("room").unwrap(),
            hub: Some(Hub::new(hub_config.clone())),
            hub_config,
            epoch: 0,
            happenings: BTreeMap::new(),
            count: 0,
            conns: BTreeMap::new(),
            touched: BTreeSet::new(),
            deadlines: BTreeSet::new(),
            rng: seed.wrapping_mul(2).wrapping_add(1),
            accepted: vec![],
        }
    }

    pub(crate) fn random(&mut self, below: u64) -> u64 {
        self.rng = self.rng.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.rng >> 33) % below
    }

    /// A program with a document of its own, which has begun to connect.
    pub(crate) fn client(&mut self, config: provider::Config) -> usize {
        let number = self.clients.len() as u64;
        self.client_with(config, Doc::with_client_id(1000 + number), Stored::default())
    }

    pub(crate) fn client_with(
        &mut self,
        config: provider::Config,
        doc: Doc,
        disk: Stored,
    ) -> usize {
        let number = self.clients.len();
        let config = provider::Config { seed: config.seed + number as u64, ..config };
        let mut provider = Provider::new(config, &doc, || ()).unwrap();
        provider.connect(self.now);
        self.clients.push(Client {
            provider,
            doc,
            events: vec![],
            disk,
            access: Access::FULL,
            reachable: true,
            is_dead: false,
            disk_fails: false,
            sent_frames: 0,
            link: None,
            conn: None,
            paused: false,
            inbox: VecDeque::new(),
            up: (Timestamp::ZERO, Timestamp::ZERO),
            deadline: None,
        });
        self.touched.insert(number);
        number
    }

    /// Adds a number to a client's list somewhere.
    pub(crate) fn edit(&mut self, client: usize, number: i64) {
        let doc = &self.clients[client].doc;
        let len = doc.get_or_insert_array("list").len(&doc.transact());
        let at = self.random(u64::from(len) + 1);
        self.edit_at(client, u32::try_from(at).unwrap(), number);
    }

    /// Adds a number to a client's list, as a program does that does not know of providers.
    pub(crate) fn edit_at(&mut self, client: usize, at: u32, number: i64) {
        let doc = &self.clients[client].doc;
        let list = doc.get_or_insert_array("list");
        list.insert(&mut doc.transact_mut(), at, number);
        let now = self.now;
        self.clients[client].provider.handle(now, provider::Input::Edited);
        self.touched.insert(client);
    }

    /// Does something with a client's provider.
    pub(crate) fn with<T>(
        &mut self,
        client: usize,
        act: impl FnOnce(&mut Provider, Timestamp) -> T,
    ) -> T {
        self.touched.insert(client);
        act(&mut self.clients[client].provider, self.now)
    }

    pub(crate) fn list(&self, client: usize) -> Vec<i64> {
        list(&self.clients[client].doc)
    }

    pub(crate) fn phase(&self, client: usize) -> Phase {
        self.clients[client].provider.phase()
    }

    pub(crate) fn all_synced(&self) -> bool {
        let mut living = self.clients.iter().filter(|client| !client.is_dead);
        living.all(|client| client.provider.phase() == Phase::Synced)
    }

    /// What the disk has of the room.
    pub(crate) fn stored_list(&self) -> Vec<i64> {
        let doc = Doc::new();
        if let Some(stored) = self.disk.get(&self.room) {
            restore(&doc, stored);
        }
        list(&doc)
    }

    /// A cable is pulled: each side hears of it, and what was on its way is lost.
    pub(crate) fn cut(&mut self, client: usize) {
        if let Some(conn) = self.clients[client].conn {
            self.drop_conn(conn, None, "reset");
            if let Some(hub) = &mut self.hub {
                hub.handle(self.now, Input::Closed { conn });
            }
        }
    }

    /// A connection goes dead without either side hearing of it.
    pub(crate) fn freeze(&mut self, client: usize) {
        let conn = self.clients[client].conn.and_then(|conn| self.conns.get_mut(&conn));
        if let Some(conn) = conn {
            conn.frozen = true;
        }
    }

    /// The server is killed: what was not on the disk is lost.
    pub(crate) fn kill(&mut self) {
        self.hub = None;
        self.epoch += 1;
        for conn in self.conns.keys().copied().collect::<Vec<_>>() {
            self.drop_conn(conn, None, "reset");
        }
        // The next hub's connections are called as those of this one were.
        self.happenings.retain(|_, happening| match happening {
            Happening::Up { .. }
            | Happening::Down { .. }
            | Happening::FlushedDown { .. }
            | Happening::CloseDown { .. }
            | Happening::CloseUp { .. } => false,
            Happening::Open { .. }
            | Happening::FlushedUp { .. }
            | Happening::Stored { .. }
            | Happening::ClientStored { .. } => true,
        });
    }

    pub(crate) fn start(&mut self) {
        self.hub.get_or_insert_with(|| Hub::new(self.hub_config.clone()));
    }

    pub(crate) const fn is_up(&self) -> bool {
        self.hub.is_some()
    }

    /// The program is killed; its disk stays.
    pub(crate) fn kill_client(&mut self, client: usize) -> Stored {
        self.cut(client);
        let gone = &mut self.clients[client];
        gone.is_dead = true;
        gone.link = None;
        gone.provider.shutdown(self.now);
        while gone.provider.poll_output().is_some() {}
        let disk = std::mem::take(&mut gone.disk);
        self.note_deadline(client);
        disk
    }

    pub(crate) fn run_for(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(at) = self.next().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.step();
        }
        self.now = end;
        self.drain();
    }

    /// Runs until `done`, and panics if that takes too long.
    pub(crate) fn run_until(
        &mut self,
        what: &str,
        at_most: Duration,
        done: impl Fn(&Self) -> bool,
    ) {
        let end = self.now + at_most;
        self.drain();
        while !done(self) {
            let at = self.next().unwrap_or_else(|| panic!("nothing happens before: {what}"));
            assert!(at <= end, "not within {at_most:?}: {what}");
            self.now = self.now.max(at);
            self.step();
        }
    }

    fn next(&mut self) -> Option<Timestamp> {
        self.drain();
        let happening = self.happenings.keys().next().map(|(at, _)| *at);
        let hub = self.hub.as_ref().and_then(Hub::poll_timeout);
        let client = self.deadlines.first().map(|(at, _)| *at);
        happening.into_iter().chain(hub).chain(client).min()
    }

    fn step(&mut self) {
        while let Some(entry) = self.happenings.first_entry()
            && entry.key().0 <= self.now
        {
            let happening = entry.remove();
            self.happen(happening);
            self.drain();
        }
        let now = self.now;
        if let Some(hub) = &mut self.hub
            && hub.poll_timeout().is_some_and(|at| at <= now)
        {
            hub.handle_timeout(now);
        }
        self.drain();
        while let Some(&(at, number)) = self.deadlines.first()
            && at <= now
        {
            self.clients[number].provider.handle_timeout(now);
            self.touched.insert(number);
            self.drain();
            let again = self.clients[number].provider.poll_timeout();
            assert!(again.is_none_or(|again| again > now), "a timeout that does nothing");
        }
    }

    fn later(&mut self, at: Timestamp, happening: Happening) {
        self.count += 1;
        self.happenings.insert((at, self.count), happening);
    }

    fn travel(&mut self) -> Duration {
        let (least, most) = self.latency;
        let spread = u64::try_from(most.saturating_sub(least).as_micros()).unwrap();
        least + Duration::from_micros(self.random(spread + 1))
    }

    fn leaves_in(&self, bytes: usize) -> Duration {
        self.bytes_per_second
            .map_or(Duration::ZERO, |rate| Duration::from_micros(bytes as u64 * 1_000_000 / rate))
    }

    fn drain(&mut self) {
        loop {
            if let Some(output) = self.hub.as_mut().and_then(Hub::poll_output) {
                self.hub_output(output);
            } else if let Some(&client) = self.touched.first() {
                if let Some(output) = self.clients[client].provider.poll_output() {
                    self.client_output(client, output);
                } else {
                    self.touched.remove(&client);
                    self.note_deadline(client);
                }
            } else {
                return;
            }
        }
    }

    fn note_deadline(&mut self, client: usize) {
        let state = &mut self.clients[client];
        let deadline = state.provider.poll_timeout().filter(|_| !state.is_dead);
        if let Some(before) = std::mem::replace(&mut state.deadline, deadline) {
            self.deadlines.remove(&(before, client));
        }
        self.deadlines.extend(deadline.map(|at| (at, client)));
    }

    fn hub_output(&mut self, output: Output) {
        match output {
            Output::Send { conn, frame } => {
                let travel = self.travel();
                let leaving = self.leaves_in(frame.len());
                let Some(state) = self.conns.get_mut(&conn) else { return };
                let left = state.down.0.max(self.now) + leaving;
                let arrives = state.down.1.max(left + travel);
                state.down = (left, arrives);
                let bytes = frame.len();
                self.later(left, Happening::FlushedDown { conn, bytes });
                self.later(arrives, Happening::Down { conn, frame });
            }
            Output::Close { conn, code, reason } => {
                let Some(state) = self.conns.get(&conn) else { return };
                let at = state.down.1.max(self.now);
                self.later(at, Happening::CloseDown { conn, code, reason });
            }
            Output::Pause { conn } => {
                if let Some(conn) = self.conns.get_mut(&conn) {
                    conn.paused = true;
                }
            }
            Output::Resume { conn } => {
                let Some(state) = self.conns.get_mut(&conn) else { return };
                state.paused = false;
                let frames = std::mem::take(&mut state.inbox);
                for frame in frames {
                    self.happen(Happening::Up { conn, frame });
                }
            }
            Output::Store(op) => {
                let epoch = self.epoch;
                self.later(self.now + self.disk_takes, Happening::Stored { epoch, op });
            }
            Output::Application(op) => panic!("{op:?} was not asked for"),
            Output::Event(_) => {}
        }
    }

    fn client_output(&mut self, client: usize, output: provider::Output) {
        match output {
            provider::Output::Connect { link } => {
                self.clients[client].link = Some(link);
                let at = self.now + self.latency.1;
                self.later(at, Happening::Open { client, link });
            }
            provider::Output::Send { link, frame } => {
                let travel = self.travel();
                let leaving = self.leaves_in(frame.len());
                let state = &mut self.clients[client];
                let left = state.up.0.max(self.now) + leaving;
                let arrives = state.up.1.max(left + travel);
                state.up = (left, arrives);
                let bytes = frame.len();
                state.sent_frames += 1;
                let conn = state.conn;
                self.later(left, Happening::FlushedUp { client, link, bytes });
                if let Some(conn) = conn {
                    self.later(arrives, Happening::Up { conn, frame });
                }
            }
            provider::Output::Pause { .. } => self.clients[client].paused = true,
            provider::Output::Resume { link } => {
                let state = &mut self.clients[client];
                state.paused = false;
                for frame in std::mem::take(&mut state.inbox) {
                    state.provider.handle(self.now, provider::Input::Frame { link, frame });
                }
                self.touched.insert(client);
            }
            provider::Output::Close { .. } => {
                let state = &mut self.clients[client];
                state.link = None;
                state.paused = false;
                state.inbox.clear();
                if let Some(conn) = state.conn.take() {
                    let at = state.up.1.max(self.now);
                    self.later(at, Happening::CloseUp { conn });
                }
            }
            provider::Output::Store(op) => {
                let at = self.now + self.disk_takes;
                self.later(at, Happening::ClientStored { client, op });
            }
            provider::Output::Event(event) => self.clients[client].events.push(event),
        }
    }

    fn happen(&mut self, happening: Happening) {
        let now = self.now;
        match happening {
            Happening::Open { client, link } => self.open(client, link),
            Happening::Up { conn, frame } => {
                let (Some(hub), Some(state)) = (&mut self.hub, self.conns.get_mut(&conn)) else {
                    return;
                };
                if state.frozen {
                } else if state.paused {
                    state.inbox.push_back(frame);
                } else {
                    hub.handle(now, Input::Frame { conn, frame });
                }
            }
            Happening::Down { conn, frame } => {
                let Some(state) = self.conns.get(&conn) else { return };
                let (number, link) = (state.client, state.link);
                let client = &mut self.clients[number];
                if client.link != Some(link) || state.frozen {
                } else if client.paused {
                    client.inbox.push_back(frame);
                } else {
                    client.provider.handle(now, provider::Input::Frame { link, frame });
                    self.touched.insert(number);
                }
            }
            Happening::FlushedUp { client, link, bytes } => {
                let provider = &mut self.clients[client].provider;
                provider.handle(now, provider::Input::Flushed { link, bytes });
                self.touched.insert(client);
            }
            Happening::FlushedDown { conn, bytes } => {
                if let Some(hub) = self.hub.as_mut().filter(|_| self.conns.contains_key(&conn)) {
                    hub.handle(now, Input::Flushed { conn, bytes });
                }
            }
            Happening::CloseDown { conn, code, reason } => {
                self.drop_conn(conn, Some(code), &reason);
                if let Some(hub) = &mut self.hub {
                    hub.handle(now, Input::Closed { conn });
                }
            }
            Happening::CloseUp { conn } => {
                self.conns.remove(&conn);
                if let Some(hub) = &mut self.hub {
                    hub.handle(now, Input::Closed { conn });
                }
            }
            Happening::Stored { epoch, op } => {
                let answer = carry_out(self.disk.entry(name(&op).clone()).or_default(), &op);
                if let Some(hub) = self.hub.as_mut().filter(|_| epoch == self.epoch)
                    && let Some(answer) = answer
                {
                    hub.handle(now, answer);
                }
            }
            Happening::ClientStored { client, op } => {
                let state = &mut self.clients[client];
                if state.is_dead {
                    return;
                }
                let answer = match &op {
                    StoreOp::Append(append) if state.disk_fails => Some(Input::WriteFailed {
                        room: append.room,
                        seq: append.batch.last(),
                        fault: StoreFault::new(StoreFaultKind::NotDone, "the disk is full"),
                    }),
                    StoreOp::Load { room, .. } if state.disk_fails => Some(Input::Loaded {
                        room: *room,
                        result: Err(StoreFault::new(StoreFaultKind::NotDone, "no disk")),
                    }),
                    _ => carry_out(&mut state.disk, &op),
                };
                let input = match answer {
                    Some(Input::Loaded { result, .. }) => provider::Input::Loaded(result),
                    Some(Input::Durable { upto, .. }) => provider::Input::Durable(upto),
                    Some(Input::WriteFailed { seq, fault, .. }) => {
                        provider::Input::WriteFailed(seq, fault)
                    }
                    Some(Input::Compacted { upto, result, .. }) => {
                        provider::Input::Compacted(upto, result)
                    }
                    _ => return,
                };
                state.provider.handle(now, input);
                self.touched.insert(client);
            }
        }
    }

    fn open(&mut self, client: usize, link: LinkId) {
        let state = &mut self.clients[client];
        if state.link != Some(link) {
            return;
        }
        let opened = match &mut self.hub {
            Some(hub) if state.reachable => hub
                .open(self.now, &self.room, state.access.clone())
                .map_err(|reject| reject.to_string()),
            _ => Err("connection refused".to_owned()),
        };
        let input = match opened {
            Ok(conn) => {
                state.conn = Some(conn);
                state.up = (self.now, self.now);
                let (inbox, down) = (VecDeque::new(), (self.now, self.now));
                self.conns
                    .insert(conn, Conn { client, link, paused: false, frozen: false, inbox, down });
                self.accepted.push(self.now);
                provider::Input::Connected { link }
            }
            Err(reason) => {
                provider::Input::ConnectFailed { link, reason, outlook: Outlook::Transient }
            }
        };
        state.provider.handle(self.now, input);
        self.touched.insert(client);
    }

    fn drop_conn(&mut self, conn: ConnId, code: Option<CloseCode>, reason: &str) {
        let Some(state) = self.conns.remove(&conn) else { return };
        let client = &mut self.clients[state.client];
        if client.conn == Some(conn) {
            client.conn = None;
            client.inbox.clear();
            client.paused = false;
        }
        let input = provider::Input::Closed { link: state.link, code, reason: reason.to_owned() };
        client.provider.handle(self.now, input);
        self.touched.insert(state.client);
    }
}
