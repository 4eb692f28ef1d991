//! The world: servers, clients, links and stores on a virtual clock.
//!
//! Nothing here runs by itself. An agenda says what happens when; time jumps from one entry to the
//! next. The first broken promise ends the run.

mod application;
mod attack;
mod ending;
mod held;
mod link;
mod manners;
mod ops;
mod program;
mod server;
mod store;

use crate::client::Client;
use crate::op::{Role, Scenario, Setup};
use crate::oracle::Oracle;
use crate::rng::Rng;
use link::Link;
pub(crate) use manners::Manners;
use server::Server;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;
pub(crate) use store::Kept;
use yroom::{Input, RoomId, RoomName, StoreOp, Timestamp};

/// Several times what the largest scenarios need.
const MOST_EVENTS: u64 = 3_000_000;

/// Servers, clients, links and stores, and everything that is going to happen to them.
#[derive(Debug)]
pub(crate) struct World {
    setup: Setup,
    now: Timestamp,
    servers: Vec<Server>,
    clients: Vec<Client>,
    links: BTreeMap<u64, Link>,
    next_link: u64,
    next_id: u64,
    ticks: BTreeMap<usize, Timestamp>,
    agenda: BTreeMap<(Timestamp, u64), Due>,
    scheduled: u64,
    oracle: Oracle,
    rng: Rng,
    /// All faults have ended.
    healed: bool,
    /// Events so far.
    pub(crate) events: u64,
    /// The first broken promise.
    pub(crate) broken: Option<String>,
    telling: Telling,
    /// What was told.
    pub(crate) told: String,
}

/// Whether a run writes down what happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Telling {
    /// Nothing is written.
    Nothing,
    /// One line for each event.
    Everything,
}

/// What is going to happen.
#[derive(Debug)]
enum Due {
    /// A client tries to connect.
    Connect(usize),
    /// A client looks at its timers.
    Tick(usize),
    /// Frames arrive at a server.
    Up(u64),
    /// Frames leave a server.
    Flush(u64),
    /// Frames arrive at a client.
    Down(u64),
    /// The server's side of a link ends.
    ServerHears(u64),
    /// The client's side of a link ends.
    ClientHears(u64),
    /// A hub's deadline.
    Hub(usize),
    /// A hub's outputs are carried out.
    Drain(usize),
    /// A store carries out a room's next operation.
    Store(usize, RoomName, u32),
    /// A store's answer arrives.
    Answer(usize, u32, RoomName, Input),
    /// A server comes back.
    Start(usize),
    /// A frozen server goes on.
    Thaw(usize),
    /// A server that shuts down has had its time.
    Kill(usize, u32),
    /// A program's disk has done something.
    Disk(usize, u32, Box<StoreOp>),
    /// The application gives a room its first content.
    Initialise(usize, u32, RoomId, usize),
}

impl World {
    /// A world in which nothing has happened yet; everybody is about to connect.
    pub(crate) fn new(setup: &Setup, telling: Telling) -> Self {
        let servers = usize::from(setup.servers.clamp(1, 3));
        let rooms = usize::from(setup.rooms.clamp(1, 8));
        let mut world = Self {
            now: Timestamp::from_micros(1_000_000),
            servers: (0..servers).map(|number| Server::new(setup, number)).collect(),
            clients: Vec::new(),
            links: BTreeMap::new(),
            next_link: 1,
            next_id: 1,
            ticks: BTreeMap::new(),
            agenda: BTreeMap::new(),
            scheduled: 0,
            oracle: Oracle::new(rooms, setup.identities),
            rng: Rng::of(setup.seed, 3),
            healed: false,
            events: 0,
            broken: None,
            telling,
            told: String::new(),
            setup: setup.clone(),
        };
        for (room, role) in setup.clients.iter().take(64) {
            world.add_client(usize::from(*room) % rooms, *role);
        }
        world
    }

    /// Runs a scenario to its end; afterwards [`broken`](Self::broken) says what went wrong, if
    /// anything did.
    pub(crate) fn run(&mut self, scenario: &Scenario) {
        for op in &scenario.ops {
            if self.broken.is_some() {
                return;
            }
            self.tell(|| format!("{op:?}"));
            self.perform(*op);
        }
        self.end();
    }

    /// The time that has passed.
    pub(crate) fn elapsed(&self) -> Duration {
        self.now.since(Timestamp::from_micros(1_000_000))
    }

    fn add_client(&mut self, room: usize, role: Role) -> usize {
        let number = self.clients.len();
        let user = self.user(number, role);
        let id = self.fresh_id(room, role, user.as_deref());
        let mut client = Client::new(number, room, role, id, self.setup.seed);
        client.wards = self.fresh_wards(room, role);
        client.user = user;
        self.clients.push(client);
        if !self.start_program(number) {
            self.schedule(self.now, Due::Connect(number));
        }
        number
    }

    /// A client id that no other client of any room has or had: so bytes of one room that appear
    /// in another give themselves away.
    fn fresh_id(&mut self, room: usize, role: Role, user: Option<&str>) -> u64 {
        let id = self.next_id * 7_919 + self.rng.below(7_000);
        self.next_id += 1;
        self.oracle.register(room, id, role, user);
        id
    }

    fn server_of(&self, room: usize) -> usize {
        room % self.servers.len()
    }

    fn rooms(&self) -> usize {
        usize::from(self.setup.rooms.clamp(1, 8))
    }

    fn schedule(&mut self, at: Timestamp, due: Due) {
        self.scheduled += 1;
        self.agenda.insert((at.max(self.now), self.scheduled), due);
    }

    fn after(&mut self, span: Duration, due: Due) {
        self.schedule(self.now + span, due);
    }

    /// Lets time pass.
    fn advance(&mut self, span: Duration) {
        let end = self.now + span;
        let mut at_once = 0;
        while self.broken.is_none() {
            let Some(entry) = self.agenda.first_entry() else { break };
            let (at, _) = *entry.key();
            if at > end {
                break;
            }
            let due = entry.remove();
            at_once = if at > self.now { 0 } else { at_once + 1 };
            if at_once > 100_000 {
                self.fail(format!("time stands still: {due:?}"));
                return;
            }
            if self.events > MOST_EVENTS {
                return self.fail(format!("this does not end: {due:?}"));
            }
            self.now = at;
            self.happen(due);
        }
        self.now = end;
    }

    fn happen(&mut self, due: Due) {
        self.events += 1;
        match due {
            Due::Connect(client) => self.connect(client),
            Due::Tick(client) => self.tick(client),
            Due::Up(link) => {
                self.programs_frames_leave(link);
                self.pump_up(link);
            }
            Due::Flush(link) => self.flush(link),
            Due::Down(link) => self.pump_down(link),
            Due::ServerHears(link) => self.server_hears(link),
            Due::ClientHears(link) => self.client_hears(link),
            Due::Hub(server) => self.hub_deadline(server),
            Due::Drain(server) => self.drain(server),
            Due::Store(server, room, life) => self.store_performs(server, &room, life),
            Due::Answer(server, life, room, input) => {
                self.store_answers(server, life, &room, input);
            }
            Due::Start(server) => self.start(server),
            Due::Thaw(server) => self.thaw(server),
            Due::Kill(server, life) => self.kill(server, life),
            Due::Disk(client, life, op) => self.disk(client, life, &op),
            Due::Initialise(server, life, id, room) => self.initialise(server, life, id, room),
        }
    }

    fn fail(&mut self, what: impl Into<String>) {
        if self.broken.is_none() {
            let what = what.into();
            self.tell(|| format!("BROKEN: {what}"));
            self.broken = Some(format!("at {}: {what}", self.now));
        }
    }

    fn require(&mut self, result: Result<(), String>) {
        if let Err(broken) = result {
            self.fail(broken);
        }
    }

    fn tell(&mut self, line: impl FnOnce() -> String) {
        match self.telling {
            Telling::Nothing => {}
            Telling::Everything => {
                let _ = writeln!(self.told, "{} {}", self.now, line());
            }
        }
    }
}

fn millis(ms: u32) -> Duration {
    Duration::from_millis(u64::from(ms))
}

/// What a frame says, in a word.
fn word(frame: &[u8]) -> String {
    use yroom::wire::{Message, messages};
    let words: Vec<String> = messages(frame)
        .map(|message| match message {
            Ok(Message::SyncStep1(body)) => format!("step1 {}", body.len()),
            Ok(Message::SyncStep2(body)) => format!("step2 {}", body.len()),
            Ok(Message::Update(body)) => format!("update {}", body.len()),
            Ok(Message::Awareness(body)) => format!("awareness {}", body.len()),
            Ok(Message::AuthDenied(_)) => "denied".to_owned(),
            Ok(Message::AuthGranted) => "granted".to_owned(),
            Ok(Message::QueryAwareness) => "query".to_owned(),
            Ok(Message::SyncStatus(body)) => format!("status {body:?}"),
            Ok(Message::Unknown { tag, .. }) => format!("unknown {tag}"),
            Err(_) => "nonsense".to_owned(),
        })
        .collect();
    words.join(" + ")
}
