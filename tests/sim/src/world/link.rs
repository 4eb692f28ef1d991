//! Links: two ordered streams between a client and a server, until one of many things ends them.

use super::{Due, World, word};
use crate::client::stamp;
use crate::op::Role;
use crate::rng::Rng;
use bytes::Bytes;
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;
use yroom::{Access, ConnId, Input, Presence, Reject, Timestamp, wire};

/// How much goes into the void before a silent connection takes no more.
const KERNEL_BUFFER: usize = 64 << 10;
/// When a server notices by itself that nobody is there.
const SERVER_PATIENCE: Duration = Duration::from_secs(45);
/// How long a server waits for a client to take its last frames.
const LINGER: Duration = Duration::from_secs(5);

/// One connection.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts about one cable")]
pub(super) struct Link {
    pub(super) client: usize,
    pub(super) server: usize,
    /// The server's side, while it is there.
    pub(super) conn: Option<ConnId>,
    /// The client's side is there.
    pub(super) client_open: bool,
    pub(super) up: VecDeque<(Timestamp, Up)>,
    /// The frames' lengths that a program has sent by it and that have not left.
    pub(super) leaving: VecDeque<usize>,
    /// Handed over by the hub, not yet on its way.
    pub(super) outbox: VecDeque<Down>,
    down: VecDeque<(Timestamp, Down)>,
    pub(super) latency: Duration,
    pub(super) reads_from: Timestamp,
    pub(super) writes_from: Timestamp,
    /// Nothing arrives any more.
    pub(super) silent: bool,
    void: usize,
    /// The hub does not want to hear from it.
    pub(super) paused: bool,
    /// Not a fault of the server if something is late or missing before then.
    pub(super) troubled_until: Timestamp,
    /// An update was lost on it: it cannot converge by itself.
    pub(super) lossy: bool,
    /// Bytes handed over by the hub, not yet on their way.
    pub(super) unsent: usize,
    /// Bytes and places of the frames that the hub was given.
    pub(super) delivered: usize,
    /// The ids of which it told presence, and its longest state.
    pub(super) ids: BTreeSet<u64>,
    pub(super) longest: usize,
    /// The largest message of presence that it was sent.
    pub(super) widest: usize,
    /// What it may show of itself, and how much is written into that.
    pub(super) presence: Presence,
    pub(super) stamp: usize,
    pub(super) rng: Rng,
}

#[derive(Clone, Debug)]
pub(super) enum Up {
    Frame(Bytes),
    Bye,
}

#[derive(Clone, Debug)]
pub(super) enum Down {
    Frame(Bytes),
    Close(u16),
}

impl World {
    pub(super) fn connect(&mut self, client: usize) {
        let now = self.now;
        let who = &self.clients[client];
        if who.program.is_some() {
            return self.connect_program(client);
        }
        if who.link.is_some() || who.banned || who.away_until.is_some_and(|until| until > now) {
            return;
        }
        let Ok(server) = self.join(client) else { return self.retry(client) };
        for frame in self.clients[client].opened(now) {
            self.send_up(client, frame);
        }
        self.arm(client);
        self.turn(server);
    }

    /// Connects a client with its server; which that is.
    pub(super) fn join(&mut self, client: usize) -> Result<usize, String> {
        let (now, room) = (self.now, self.clients[client].room);
        let server = self.server_of(room);
        let identity = self.identity(client);
        let stamp = self.clients[client].user.as_deref().map_or(0, |user| stamp(user).len());
        let access = Access { identity, ..self.access(client, server) };
        let presence = access.presence;
        let conn = match self.open(server, room, access) {
            Ok(Some(conn)) => conn,
            Ok(None) => return Err("nobody listens".to_owned()),
            Err(reject) => {
                self.tell(|| format!("client{client} is refused: {reject}"));
                return Err(reject.to_string());
            }
        };
        let id = self.next_link;
        self.next_link += 1;
        let rng = Rng::of(self.setup.seed, 1_000_000 + id);
        let link = Link {
            client,
            server,
            conn: Some(conn),
            client_open: true,
            up: VecDeque::new(),
            leaving: VecDeque::new(),
            outbox: VecDeque::new(),
            down: VecDeque::new(),
            latency: Duration::from_millis(2),
            reads_from: now,
            writes_from: now,
            silent: false,
            void: 0,
            paused: false,
            troubled_until: now,
            lossy: false,
            unsent: 0,
            delivered: 0,
            ids: BTreeSet::new(),
            longest: 0,
            widest: 0,
            presence,
            stamp,
            rng,
        };
        self.links.insert(id, link);
        self.servers[server].conns.insert(conn, id);
        self.oracle.connected(id, self.clients[client].id);
        self.tell(|| format!("client{client} -> server{server}/room{room}: {conn:?} on link{id}"));
        self.clients[client].link = Some(id);
        self.turn(server);
        Ok(server)
    }

    fn access(&mut self, client: usize, server: usize) -> Access {
        match self.clients[client].role {
            Role::Writer | Role::Hostile | Role::Program | Role::Keeper => Access::FULL,
            Role::Relay => Access::RELAY,
            Role::Reader => Access::READ_ONLY,
            Role::Observer => Access { presence: Presence::Observe, ..Access::READ_ONLY },
            Role::Guest => {
                let span = Duration::from_secs(20 + self.clients[client].rng.below(600));
                let expires_at = Some(self.servers[server].clock(self.now) + span);
                Access { expires_at, ..Access::FULL }
            }
        }
    }

    fn open(
        &mut self,
        server: usize,
        room: usize,
        access: Access,
    ) -> Result<Option<ConnId>, Reject> {
        let now = self.now;
        let is_being_deleted = self.is_being_deleted(server, room);
        let it = &mut self.servers[server];
        if it.frozen_until > now {
            return Ok(None);
        }
        let clock = it.clock(now);
        let name = super::server::room_name(room);
        let opened = it.hub.as_mut().map(|hub| hub.open(clock, &name, access)).transpose();
        if is_being_deleted && opened.is_ok() {
            self.fail(format!("room{room} is being deleted, and lets somebody in"));
        }
        opened
    }

    fn retry(&mut self, client: usize) {
        let wait = self.clients[client].backoff();
        self.after(wait, Due::Connect(client));
    }

    /// A client's frame goes on its way.
    pub(super) fn send_up(&mut self, client: usize, frame: Bytes) {
        let who = &mut self.clients[client];
        let Some(id) = who.link else { return };
        if who.pack.0 > 0 {
            who.pack.0 -= 1;
            who.pack.1.push(frame);
            if who.pack.0 > 0 {
                return;
            }
            let packed = Bytes::from(std::mem::take(&mut who.pack.1).concat());
            return self.post(id, packed);
        }
        self.post(id, frame);
    }

    fn post(&mut self, id: u64, frame: Bytes) {
        let client = match self.links.get(&id) {
            Some(link) => link.client,
            None => return,
        };
        let is_update = |message| matches!(message, Ok(wire::Message::Update(_)));
        if self.clients[client].lose > 0 && wire::messages(&frame).any(is_update) {
            self.clients[client].lose -= 1;
            if let Some(link) = self.links.get_mut(&id) {
                link.lossy = true;
            }
            self.oracle.sent(&self.clients[client], &frame);
            return self.tell(|| format!("client{client} loses {}", word(&frame)));
        }
        self.oracle.sent(&self.clients[client], &frame);
        self.push_up(id, Up::Frame(frame));
    }

    pub(super) fn push_up(&mut self, id: u64, up: Up) {
        let now = self.now;
        let Some(link) = self.links.get_mut(&id) else { return };
        if link.silent || link.conn.is_none() {
            return;
        }
        let jitter = Duration::from_micros(link.rng.below(1_000));
        let arrives = (now + link.latency + jitter)
            .max(link.writes_from)
            .max(link.up.back().map_or(now, |(at, _)| *at));
        link.up.push_back((arrives, up));
        self.schedule(arrives, Due::Up(id));
    }

    /// What has arrived at the server is read, if the server reads.
    pub(super) fn pump_up(&mut self, id: u64) {
        loop {
            let now = self.now;
            let Some(link) = self.links.get_mut(&id) else { return };
            let server = link.server;
            if self.servers[server].frozen_until > now || self.servers[server].hub.is_none() {
                return;
            }
            let Some((at, up)) = link.up.front() else { return };
            let reads = !link.paused || matches!(up, Up::Bye);
            if *at > now || !reads {
                return;
            }
            let Some((_, up)) = link.up.pop_front() else { return };
            match up {
                Up::Frame(frame) => {
                    link.delivered += frame.len() + size_of::<Bytes>() + 8;
                    let (client, Some(conn)) = (link.client, link.conn) else { return };
                    self.tell(|| format!("client{client} -> {conn:?}: {}", word(&frame)));
                    self.arrives(now, id, client, &frame);
                    self.input(server, Input::Frame { conn, frame });
                }
                Up::Bye => return self.server_hears(id),
            }
            if self.broken.is_some() {
                return;
            }
        }
    }

    /// What is known of a frame when it gets to its server.
    fn arrives(&mut self, now: Timestamp, id: u64, client: usize, frame: &Bytes) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let (server, room) = (link.server, self.clients[client].room);
        for message in wire::messages(frame).map_while(Result::ok) {
            let wire::Message::Awareness(states) = message else { continue };
            for entry in wire::awareness::entries(states).into_iter().flatten().flatten() {
                link.ids.insert(entry.client.0);
                link.longest = link.longest.max(entry.json.len());
            }
        }
        let mut claimed = Vec::new();
        for victim in self.oracle.foreign(&self.clients[client], frame) {
            if self.is_claimed(server, room, victim) {
                claimed.push(victim);
            }
        }
        self.oracle.arrives(now, id, &self.clients[client], &claimed, frame);
    }

    /// The hub hands over a frame or a close.
    pub(super) fn hand_over(&mut self, id: u64, down: Down) {
        let Some(link) = self.links.get_mut(&id) else { return };
        if let Down::Frame(frame) = &down {
            link.unsent += frame.len();
        }
        let closes = matches!(down, Down::Close(_));
        link.outbox.push_back(down);
        let wait = Duration::from_micros(link.rng.below(300));
        let at = (self.now + wait).max(link.reads_from);
        self.schedule(at, Due::Flush(id));
        if closes {
            self.after(LINGER, Due::ServerHears(id));
        }
    }

    /// What the network takes leaves the server.
    pub(super) fn flush(&mut self, id: u64) {
        let now = self.now;
        let Some(link) = self.links.get_mut(&id) else { return };
        let server = link.server;
        if link.reads_from > now || self.servers[server].frozen_until > now {
            return;
        }
        let mut flushed = 0;
        while let Some(down) = link.outbox.pop_front() {
            let bytes = match &down {
                Down::Frame(frame) => frame.len(),
                Down::Close(_) => 0,
            };
            if link.silent {
                if link.void + bytes > KERNEL_BUFFER {
                    link.outbox.push_front(down);
                    break;
                }
                link.void += bytes;
                flushed += bytes;
                continue;
            }
            flushed += bytes;
            let jitter = Duration::from_micros(link.rng.below(1_000));
            let arrives =
                (now + link.latency + jitter).max(link.down.back().map_or(now, |(at, _)| *at));
            link.down.push_back((arrives, down));
            self.scheduled += 1;
            self.agenda.insert((arrives, self.scheduled), Due::Down(id));
        }
        link.unsent -= flushed;
        if flushed > 0
            && let Some(conn) = link.conn
        {
            self.input(server, Input::Flushed { conn, bytes: flushed });
        }
    }

    /// What has arrived at the client is read.
    pub(super) fn pump_down(&mut self, id: u64) {
        loop {
            let now = self.now;
            let Some(link) = self.links.get_mut(&id) else { return };
            let Some((_, down)) = link.down.pop_front_if(|(at, _)| *at <= now) else { return };
            let client = link.client;
            if !link.client_open {
                continue;
            }
            match down {
                Down::Frame(frame) => self.client_takes(client, &frame),
                Down::Close(code) => {
                    self.tell(|| format!("client{client} is closed with {code}"));
                    self.check_gone(client, code);
                    let who = &mut self.clients[client];
                    who.banned |= (4_400..4_500).contains(&code) && !who.forgets;
                    self.client_loses(id, Some(code));
                    // The server sees the answer to its close.
                    self.schedule(now, Due::ServerHears(id));
                }
            }
            if self.broken.is_some() {
                return;
            }
        }
    }

    fn client_takes(&mut self, client: usize, frame: &Bytes) {
        self.tell(|| format!("client{client} <- {}", word(frame)));
        if self.clients[client].program.is_some() {
            return self.program_takes(client, frame);
        }
        let was_synced = self.clients[client].synced;
        let heard = self.clients[client].hear(self.now, frame);
        if let Some(nonsense) = heard.nonsense {
            return self.fail(format!("client{client} was sent {nonsense}"));
        }
        if self.clients[client].synced && !was_synced {
            self.check_given(client);
        }
        for number in heard.saved {
            self.saved(client, number);
        }
        for reply in heard.replies {
            self.send_up(client, reply);
        }
        self.arm(client);
    }

    /// The server's side of a link ends.
    pub(super) fn server_hears(&mut self, id: u64) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let server = link.server;
        if let Some(conn) = link.conn.take() {
            link.up.clear();
            link.outbox.clear();
            link.unsent = 0;
            self.servers[server].conns.remove(&conn);
            self.oracle.server_lost(self.now, id);
            self.tell(|| format!("server{server} hears that {conn:?} is gone"));
            self.input(server, Input::Closed { conn });
        }
        let Some(link) = self.links.get_mut(&id) else { return };
        if link.client_open {
            // A server that is done with a client has closed the socket.
            if !link.silent {
                let at = self.now + link.latency;
                self.schedule(at, Due::ClientHears(id));
            }
        } else {
            self.links.remove(&id);
        }
    }

    /// The client's side of a link ends.
    pub(super) fn client_hears(&mut self, id: u64) {
        self.client_loses(id, None);
    }

    fn client_loses(&mut self, id: u64, code: Option<u16>) {
        let Some(link) = self.links.get_mut(&id) else { return };
        if !std::mem::replace(&mut link.client_open, false) {
            return;
        }
        let client = link.client;
        if link.conn.is_none() {
            self.links.remove(&id);
        }
        self.clients[client].closed();
        self.tell(|| format!("client{client} has lost link{id}"));
        if self.clients[client].program.is_some() {
            self.program_loses(client, code);
            return self.forget(client);
        }
        if self.clients[client].forgets {
            return self.forget(client);
        }
        if let Some(until) = self.clients[client].away_until {
            self.schedule(until, Due::Connect(client));
        } else {
            self.retry(client);
        }
    }

    /// A client goes in good order: what it sent before still arrives.
    pub(super) fn leave(&mut self, client: usize) {
        if self.clients[client].program.is_some() {
            return self.end_program(client);
        }
        self.part(client);
    }

    /// A client closes its connection.
    pub(super) fn part(&mut self, client: usize) {
        let Some(id) = self.clients[client].link else { return };
        self.push_up(id, Up::Bye);
        if self.links.get(&id).is_some_and(|link| link.silent) {
            self.after(SERVER_PATIENCE, Due::ServerHears(id));
        }
        self.client_hears(id);
    }

    /// A connection goes silent; the server gives it up some day.
    pub(super) fn silence(&mut self, id: u64) {
        let Some(link) = self.links.get_mut(&id) else { return };
        if std::mem::replace(&mut link.silent, true) {
            return;
        }
        link.troubled_until = Timestamp::from_micros(u64::MAX);
        link.up.clear();
        link.down.clear();
        self.after(SERVER_PATIENCE, Due::ServerHears(id));
        self.schedule(self.now, Due::Flush(id));
    }

    pub(super) fn arm(&mut self, client: usize) {
        let who = &self.clients[client];
        let at = match &who.program {
            Some(program) => program.provider.poll_timeout(),
            None => who.link.map(|_| who.next_tick()),
        };
        if let Some(at) = at
            && self.ticks.get(&client).is_none_or(|planned| at < *planned)
        {
            self.ticks.insert(client, at);
            self.schedule(at, Due::Tick(client));
        }
    }

    pub(super) fn tick(&mut self, client: usize) {
        let now = self.now;
        if self.ticks.get(&client) != Some(&now) {
            return;
        }
        self.ticks.remove(&client);
        if self.clients[client].program.is_some() {
            return self.program_ticks(client);
        }
        let Some(id) = self.clients[client].link else { return };
        if self.clients[client].is_deaf(now) {
            let Some(link) = self.links.get(&id) else { return };
            let troubled = link.troubled_until.max(self.servers[link.server].troubled_until);
            self.tell(|| format!("client{client} has heard nothing for 30 s"));
            if troubled + Duration::from_secs(31) < now {
                return self.fail(format!("client{client} heard nothing for 30 s"));
            }
            self.push_up(id, Up::Bye);
            return self.client_hears(id);
        }
        if let Some(frame) = self.clients[client].tick(now) {
            self.send_up(client, frame);
        }
        self.arm(client);
    }
}
