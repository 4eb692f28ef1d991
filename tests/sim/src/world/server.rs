//! Servers: a hub, its store, and a process that dies, freezes and comes back.

use super::application::room_number;
use super::link::Down;
use super::store::{Done, Store};
use super::{Due, World, millis, word};
use crate::op::{Past, Setup};
use crate::rng::Rng;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use yroom::{
    Config, ConnId, Durability, Event, Hub, Input, Limits, Output, RoomId, RoomName, RoomPhase,
    StoreOp, Timestamp,
};

/// How long a server that shuts down is given to drain.
const GRACE: Duration = Duration::from_secs(30);

/// A server.
#[derive(Debug)]
pub(super) struct Server {
    /// `None` while it is down.
    pub(super) hub: Option<Hub>,
    pub(super) store: Store,
    pub(super) conns: BTreeMap<ConnId, u64>,
    pub(super) frozen_until: Timestamp,
    /// How far its clock is ahead.
    leapt: Duration,
    /// How many outputs it still carries out before it dies, and how long it is down then.
    pub(super) doomed: Option<(u32, u32)>,
    /// Counts its lives, so that what belongs to an earlier one is known.
    pub(super) life: u32,
    pub(super) troubled_until: Timestamp,
    pub(super) draining: bool,
    shutting_down: Option<u32>,
    deadline: Option<Timestamp>,
    /// Loads that were not released.
    loads: BTreeMap<RoomId, RoomName>,
    /// Rooms whose load was damaged and which must not go live.
    damaged: BTreeSet<RoomId>,
    /// Loads of which the application was asked for the first content.
    pub(super) asked: BTreeSet<RoomId>,
    /// Those that wait for the answer, and which rooms they are.
    pub(super) waiting: BTreeMap<RoomId, usize>,
    closed: BTreeSet<ConnId>,
    /// Answers of the store that came while it was frozen.
    unheard: Vec<(RoomName, Input)>,
    checked: Option<Bytes>,
    pub(super) rng: Rng,
}

pub(super) fn room_name(room: usize) -> RoomName {
    RoomName::new(&format!("room{room}")).expect("a valid name")
}

impl Server {
    pub(super) fn new(setup: &Setup, number: usize) -> Self {
        let mut server = Self {
            hub: None,
            store: Store::new(setup, number),
            conns: BTreeMap::new(),
            frozen_until: Timestamp::ZERO,
            leapt: Duration::ZERO,
            doomed: None,
            life: 0,
            troubled_until: Timestamp::ZERO,
            draining: false,
            shutting_down: None,
            deadline: None,
            loads: BTreeMap::new(),
            damaged: BTreeSet::new(),
            asked: BTreeSet::new(),
            waiting: BTreeMap::new(),
            closed: BTreeSet::new(),
            unheard: Vec::new(),
            checked: None,
            rng: Rng::of(setup.seed, 3_000 + number as u64),
        };
        server.hub = Some(server.new_hub(setup));
        server
    }

    fn new_hub(&mut self, setup: &Setup) -> Hub {
        Hub::new(Config {
            seed: self.rng.next_u64(),
            durability: setup.durability,
            unload_after: millis(setup.unload_ms),
            absent: setup.absent,
            history: setup.past.history(),
            limits: setup.limits(),
            ..Config::default()
        })
    }

    /// Whether a load is over, and its room is served.
    fn is_live(&self, room: RoomId) -> bool {
        let info = self.hub.as_ref().and_then(|hub| hub.room(room));
        info.is_some_and(|info| info.phase != RoomPhase::Loading)
    }

    /// Whether it died before.
    pub(super) const fn has_died(&self) -> bool {
        self.life > 0
    }

    /// Whether a shutdown is under way.
    pub(super) const fn is_going(&self) -> bool {
        self.shutting_down.is_some()
    }

    /// Its own time.
    pub(super) fn clock(&self, now: Timestamp) -> Timestamp {
        now + self.leapt
    }
}

impl World {
    /// Gives a hub something, and lets it take its turn.
    pub(super) fn input(&mut self, server: usize, input: Input) {
        let now = self.servers[server].clock(self.now);
        if let Some(hub) = &mut self.servers[server].hub {
            hub.handle(now, input);
            self.turn(server);
            self.check_held(server);
        }
    }

    /// Plans the draining of a hub's outputs: at once, or with what else comes in a while.
    pub(super) fn turn(&mut self, server: usize) {
        let wait = u64::from(self.setup.turn_ms) * 1_000;
        let it = &mut self.servers[server];
        if it.draining {
            return;
        }
        it.draining = true;
        let wait = Duration::from_micros(it.rng.below(wait + 1));
        self.after(wait, Due::Drain(server));
    }

    /// Carries out what a hub wants, in order.
    pub(super) fn drain(&mut self, server: usize) {
        if self.servers[server].frozen_until > self.now {
            return;
        }
        self.servers[server].draining = false;
        while self.broken.is_none() {
            let it = &mut self.servers[server];
            let Some(hub) = &mut it.hub else { return };
            let Some(output) = hub.poll_output() else { break };
            if let Some((left, down)) = it.doomed {
                if left == 0 {
                    return self.crash(server, down);
                }
                it.doomed = Some((left - 1, down));
            }
            self.events += 1;
            self.carry_out(server, output);
        }
        self.plan_deadline(server);
        self.check_held(server);
        self.check_shutdown(server);
    }

    fn carry_out(&mut self, server: usize, output: Output) {
        match output {
            Output::Send { conn, frame } => self.send_down(server, conn, frame),
            Output::Close { conn, code, reason } => {
                self.tell(|| format!("server{server} closes {conn:?}: {code} {reason}"));
                if reason.len() > 123 {
                    self.fail("a close reason over 123 bytes");
                }
                if !self.servers[server].closed.insert(conn) {
                    self.fail(format!("{conn:?} is closed twice"));
                }
                if let Some(id) = self.servers[server].conns.get(&conn).copied() {
                    self.oracle.server_lost(self.now, id);
                    self.hand_over(id, Down::Close(code.0));
                }
            }
            Output::Pause { conn } => self.set_paused(server, conn, true),
            Output::Resume { conn } => self.set_paused(server, conn, false),
            Output::Store(op) => self.submit(server, op),
            Output::Application(op) => self.serve(server, &op),
            Output::Event(event) => self.event(server, &event),
        }
    }

    fn send_down(&mut self, server: usize, conn: ConnId, frame: Bytes) {
        if self.servers[server].closed.contains(&conn) {
            return self.fail(format!("{conn:?} was closed and is sent {}", word(&frame)));
        }
        let Some(id) = self.servers[server].conns.get(&conn).copied() else {
            // It went while this was in the queue.
            return;
        };
        let Some(link) = self.links.get(&id) else { return };
        let room = self.clients[link.client].room;
        self.check_waiting(server, conn, id, &frame);
        let same = self.servers[server].checked.as_ref().is_some_and(|checked| {
            checked.as_ptr() == frame.as_ptr() && checked.len() == frame.len()
        });
        if !same {
            let checked = self.check_content(server, room, &frame);
            self.require(checked);
            self.servers[server].checked = Some(frame.clone());
        }
        let now = self.now;
        let load = self.load_of(server, room);
        let checked = self.oracle.presence_sent(now, id, load, &frame);
        self.require(checked);
        self.hand_over(id, Down::Frame(frame));
    }

    fn check_content(&mut self, server: usize, room: usize, frame: &Bytes) -> Result<(), String> {
        use yroom::wire::{Message, messages};
        for message in messages(frame) {
            match message.map_err(|error| format!("an unreadable frame is sent: {error:?}"))? {
                Message::SyncStep2(update) | Message::Update(update) => {
                    let rooms = &mut self.servers[server].store.rooms;
                    let durable = match self.setup.durability {
                        Durability::BeforeFanout => {
                            Some(&*rooms.entry(room_name(room)).or_default())
                        }
                        Durability::BeforeAck | Durability::Eventual => None,
                    };
                    self.oracle.shown(room, update, durable)?;
                }
                Message::SyncStep1(_)
                | Message::Awareness(_)
                | Message::AuthDenied(_)
                | Message::AuthGranted
                | Message::QueryAwareness
                | Message::SyncStatus(_)
                | Message::Unknown { .. } => {}
            }
        }
        Ok(())
    }

    fn set_paused(&mut self, server: usize, conn: ConnId, paused: bool) {
        self.tell(|| format!("server{server} {conn:?} paused: {paused}"));
        let Some(id) = self.servers[server].conns.get(&conn).copied() else { return };
        if let Some(link) = self.links.get_mut(&id) {
            link.paused = paused;
        }
        self.schedule(self.now, Due::Up(id));
    }

    fn submit(&mut self, server: usize, op: StoreOp) {
        self.tell(|| format!("server{server} store: {op:?}"));
        let (room, name) = (op.room(), op.name().clone());
        let it = &mut self.servers[server];
        let checked = match &op {
            StoreOp::Load { .. } => {
                let twice = it.loads.values().any(|loaded| *loaded == name);
                // For the older part of its log a room that is there is read again.
                let again = it.loads.insert(room, name.clone()).is_some()
                    && matches!(self.setup.past, Past::Rows(_));
                if twice && !again { Err(format!("{name} is loaded twice")) } else { Ok(()) }
            }
            StoreOp::Release { .. } => it
                .loads
                .remove(&room)
                .map(|_| ())
                .ok_or_else(|| format!("{name} is released, but not loaded")),
            // Whether the room is loaded or not, sound or not.
            StoreOp::Delete { .. } => {
                it.loads.entry(room).or_insert_with(|| name.clone());
                self.oracle.deletion_begins(room_number(&name));
                Ok(())
            }
            StoreOp::Append(_) | StoreOp::Compact { .. } => {
                let loaded = it.loads.contains_key(&room);
                let damaged = it.damaged.contains(&room);
                match (loaded, damaged) {
                    (true, false) => match op {
                        StoreOp::Compact { upto, .. } => self.check_reason(server, &name, upto),
                        _ => Ok(()),
                    },
                    (false, _) => Err(format!("{op:?} without a load")),
                    (true, true) => Err(format!("{op:?} over what could not be read")),
                }
            }
        };
        let idle = self.servers[server].store.submit(op);
        self.require(checked);
        if idle {
            self.plan_store(server, name);
        }
    }

    fn plan_store(&mut self, server: usize, name: RoomName) {
        let it = &mut self.servers[server];
        let (at, life) = (it.store.takes(self.now), it.life);
        self.schedule(at, Due::Store(server, name, life));
    }

    pub(super) fn store_performs(&mut self, server: usize, name: &RoomName, life: u32) {
        let now = self.now;
        let it = &mut self.servers[server];
        if it.life != life {
            return;
        }
        if it.store.stalled_until > now {
            let at = it.store.stalled_until;
            return self.schedule(at, Due::Store(server, name.clone(), life));
        }
        let calendar = it.clock(now);
        let done = it.store.perform(now, calendar, name);
        self.note_deletions(server);
        let it = &mut self.servers[server];
        let answer = match done {
            Done::Answer(input) => Some(input),
            Done::Damaged(input) => {
                if let Input::Loaded { room, .. } = &input
                    && !it.is_live(*room)
                {
                    it.damaged.insert(*room);
                }
                Some(input)
            }
            Done::Silent => None,
            Done::Broken(broken) => return self.fail(broken),
        };
        let wait = Duration::from_micros(it.rng.below(1_000));
        let busy = it.store.is_busy(name);
        if let Some(answer) = answer {
            self.after(wait, Due::Answer(server, life, name.clone(), answer));
        }
        if busy {
            self.plan_store(server, name.clone());
        }
    }

    pub(super) fn store_answers(
        &mut self,
        server: usize,
        life: u32,
        name: &RoomName,
        input: Input,
    ) {
        let now = self.now;
        let it = &mut self.servers[server];
        if it.life != life {
            return;
        }
        if it.frozen_until > now {
            return it.unheard.push((name.clone(), input));
        }
        let confirmed = match &input {
            Input::Durable { upto, .. } => {
                it.store.heard(name);
                it.store.confirm(name, *upto)
            }
            Input::Loaded { room, result: Ok(stored) } => {
                it.store.heard(name);
                // What is read again may have more than the room has heard of.
                if it.is_live(*room) { Ok(()) } else { it.store.confirm(name, stored.last()) }
            }
            _ => Ok(()),
        };
        self.require(confirmed);
        self.tell(|| format!("server{server} store answers {input:?}"));
        self.input(server, input);
    }

    fn event(&mut self, server: usize, event: &Event) {
        self.tell(|| format!("server{server} {event:?}"));
        let it = &self.servers[server];
        match event {
            Event::RoomLive { room, .. } if it.damaged.contains(room) => {
                self.fail("a damaged room goes live");
            }
            Event::RoomDeleted { room, result: Ok(()) } => {
                let kept = it.loads.get(room).and_then(|name| it.store.rooms.get(name));
                if kept.is_some_and(|kept| !kept.stored.is_absent()) {
                    self.fail("a room is said to be deleted, and is stored");
                }
            }
            Event::RoomClosed { unsaved, .. } if *unsaved > 0 => {
                self.fail(format!("a room is unloaded with {unsaved} updates unsaved"));
            }
            Event::Gap { attempt, .. } if *attempt > Limits::default().gap_attempts => {
                self.fail(format!("a peer is asked {attempt} times"));
            }
            Event::Acknowledged { conn, upto } if self.setup.durability != Durability::Eventual => {
                let client = it.conns.get(conn).and_then(|id| self.links.get(id));
                let Some(link) = client else { return };
                let name = room_name(self.clients[link.client].room);
                let durable = it.store.rooms.get(&name).map(|kept| kept.confirmed);
                if durable.is_none_or(|durable| durable < *upto) {
                    self.fail(format!("{upto:?} is acknowledged, durable is {durable:?}"));
                }
            }
            _ => {}
        }
    }

    fn plan_deadline(&mut self, server: usize) {
        let now = self.now;
        let it = &mut self.servers[server];
        let Some(at) = it.hub.as_ref().and_then(Hub::poll_timeout) else { return };
        // The hub's clock may be ahead of the world's.
        let ahead = at.since(it.clock(now));
        let at = now + ahead;
        if it.deadline.is_none_or(|deadline| at < deadline) {
            it.deadline = Some(at);
            self.schedule(at, Due::Hub(server));
        }
    }

    pub(super) fn hub_deadline(&mut self, server: usize) {
        let now = self.now;
        let it = &mut self.servers[server];
        if it.frozen_until > now || it.deadline.is_none_or(|deadline| deadline > now) {
            return;
        }
        it.deadline = None;
        let clock = it.clock(now);
        let Some(hub) = &mut it.hub else { return };
        hub.handle_timeout(clock);
        if hub.poll_timeout().is_some_and(|at| at <= clock) {
            return self.fail("a deadline stays after it was handled");
        }
        self.turn(server);
        self.plan_deadline(server);
    }

    /// The process dies, and comes back in a while.
    pub(super) fn crash(&mut self, server: usize, down: u32) {
        self.tell(|| format!("server{server} dies"));
        let it = &mut self.servers[server];
        if it.hub.take().is_none() {
            return;
        }
        let calendar = it.clock(self.now);
        let kept = it.store.crash(calendar);
        self.note_deletions(server);
        self.end_life(server);
        self.require(kept);
        self.after(millis(down), Due::Start(server));
    }

    fn end_life(&mut self, server: usize) {
        let it = &mut self.servers[server];
        it.life += 1;
        it.doomed = None;
        it.shutting_down = None;
        it.deadline = None;
        it.draining = false;
        it.loads.clear();
        it.damaged.clear();
        it.asked.clear();
        it.waiting.clear();
        it.closed.clear();
        it.unheard.clear();
        it.checked = None;
        it.frozen_until = Timestamp::ZERO;
        for id in std::mem::take(&mut it.conns).into_values() {
            let Some(link) = self.links.get_mut(&id) else { continue };
            link.conn = None;
            link.up.clear();
            link.outbox.clear();
            link.unsent = 0;
            let (silent, latency) = (link.silent, link.latency);
            self.oracle.server_lost(self.now, id);
            // The kernel resets the connections of a process that dies.
            if !silent {
                self.after(latency, Due::ClientHears(id));
            }
        }
    }

    pub(super) fn start(&mut self, server: usize) {
        let setup = self.setup.clone();
        let it = &mut self.servers[server];
        if it.hub.is_none() {
            it.hub = Some(it.new_hub(&setup));
            self.tell(|| format!("server{server} starts"));
        }
    }

    pub(super) fn freeze(&mut self, server: usize, ms: u32) {
        let until = self.now + millis(ms);
        let it = &mut self.servers[server];
        it.frozen_until = it.frozen_until.max(until);
        it.troubled_until = it.troubled_until.max(until);
        self.oracle.doubt(until);
        self.schedule(until, Due::Thaw(server));
    }

    pub(super) fn thaw(&mut self, server: usize) {
        if self.servers[server].frozen_until > self.now {
            return;
        }
        self.tell(|| format!("server{server} goes on"));
        let life = self.servers[server].life;
        for (name, input) in std::mem::take(&mut self.servers[server].unheard) {
            self.schedule(self.now, Due::Answer(server, life, name, input));
        }
        for id in self.servers[server].conns.values().copied().collect::<Vec<_>>() {
            self.schedule(self.now, Due::Up(id));
            self.schedule(self.now, Due::Flush(id));
        }
        self.schedule(self.now, Due::Hub(server));
        self.schedule(self.now, Due::Drain(server));
    }

    pub(super) fn leap(&mut self, server: usize, ms: u32) {
        let it = &mut self.servers[server];
        it.leapt += millis(ms);
        it.deadline = Some(self.now);
        self.oracle.doubt(self.now.max(it.frozen_until));
        self.schedule(self.now, Due::Hub(server));
    }

    pub(super) fn shut_down(&mut self, server: usize, down: u32) {
        let it = &mut self.servers[server];
        let now = it.clock(self.now);
        let Some(hub) = &mut it.hub else { return };
        if it.shutting_down.is_some() || it.frozen_until > self.now {
            return;
        }
        hub.shutdown(now);
        it.shutting_down = Some(down);
        let life = it.life;
        self.turn(server);
        self.after(GRACE, Due::Kill(server, life));
    }

    fn check_shutdown(&mut self, server: usize) {
        let it = &mut self.servers[server];
        let Some(down) = it.shutting_down else { return };
        let Some(hub) = it.hub.take_if(|hub| hub.is_drained()) else { return };
        self.tell(|| format!("server{server} is drained"));
        if hub.unsaved() > 0 || hub.connection_count() > 0 {
            self.fail("a drained hub has something left");
        }
        // A compaction may still be under way; it is the store's to finish.
        let it = &mut self.servers[server];
        let calendar = it.clock(self.now);
        let kept = it.store.crash(calendar);
        self.note_deletions(server);
        self.end_life(server);
        self.require(kept);
        self.after(millis(down), Due::Start(server));
    }

    /// A server that could not drain in time ends all the same.
    pub(super) fn kill(&mut self, server: usize, life: u32) {
        let it = &self.servers[server];
        if it.life == life
            && let Some(down) = it.shutting_down
        {
            self.crash(server, down);
        }
    }
}
