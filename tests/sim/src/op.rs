//! The scenario language: what a run is set up with, and what happens to it.
//!
//! Seeded runs, proptest, libFuzzer and hand-written tests all speak it. Indices are taken modulo
//! what exists, so that any part of a scenario is a scenario and shrinking is dropping.

use std::fmt::Write as _;
use std::time::Duration;
use yroom::{Absent, Durability, History, Limits};

/// A whole run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// What there is.
    pub setup: Setup,
    /// What happens, before all faults end.
    pub ops: Vec<Op>,
}

/// What there is in a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setup {
    /// Seeds latencies, fates and contents.
    pub seed: u64,
    /// Servers, each with a hub and a store; rooms are divided among them.
    pub servers: u8,
    /// Rooms.
    pub rooms: u8,
    /// Who is there, in which room.
    pub clients: Vec<(u8, Role)>,
    /// As in the engine's configuration.
    pub durability: Durability,
    /// Tail bytes from which rooms fold and compact.
    pub tail_bytes: u32,
    /// Unsent bytes from which a peer lags.
    pub outbox_bytes: u32,
    /// The largest frame that a document is brought in.
    pub slice_bytes: u32,
    /// How long rooms stay warm, in milliseconds.
    pub unload_ms: u32,
    /// The longest that inputs wait for their turn to be drained, in milliseconds.
    pub turn_ms: u8,
    /// Bytes that a connection may send before its room is loaded.
    pub inbox_bytes: u32,
    /// The bytes of a state of presence.
    pub state_bytes: u32,
    /// Whom the clients speak for.
    pub identities: Identities,
    /// How much of the rooms' past is kept.
    pub past: Past,
    /// What a room is that the stores have never heard of.
    pub absent: Absent,
}

/// Whom the clients of a run speak for, as whoever let them in knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identities {
    /// Nobody knows.
    Nobody,
    /// Users, two clients each, whose states are stamped; some clients are nobody.
    Users,
    /// The same, and each connection is given its client's id.
    Given,
}

/// How much of the rooms' past is kept in the stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Past {
    /// As much as costs nothing.
    WhenItPays,
    /// All of it.
    All,
    /// Until a room has not changed for so many milliseconds.
    Quiet(u32),
    /// So many bytes.
    Bytes(u32),
    /// So many milliseconds.
    Age(u32),
    /// So many milliseconds of each row.
    Rows(u32),
}

/// What a client is allowed, and what it is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Reads and writes.
    Writer,
    /// May read; tries to write now and then.
    Reader,
    /// May read and be seen by nobody.
    Observer,
    /// Reads and writes until its access ends.
    Guest,
    /// Means harm, with all rights.
    Hostile,
    /// A program of ours: the engine's provider. Reads and writes.
    Program,
    /// The same, with a copy of the document on a disk of its own.
    Keeper,
    /// Another server, which is trusted with its own peers' presence. Reads and writes.
    Relay,
}

/// One thing that happens. Times are milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields say what they are, and the variants what for")]
pub enum Op {
    /// Time passes.
    Advance { ms: u32 },
    /// A client edits its document, connected or not.
    Edit { client: u8, edit: Edit, amount: u8 },
    /// A client sets its state of presence, or clears it.
    Presence { client: u8, present: Present },
    /// A client asks for everybody's presence.
    Query { client: u8 },
    /// A client asks whether everything is saved.
    Status { client: u8 },
    /// A client disconnects properly, and comes back after a while.
    Offline { client: u8, ms: u32 },
    /// A page reload: the document is forgotten, the client id is new.
    Reload { client: u8 },
    /// A client sends its last update again.
    Repeat { client: u8 },
    /// The messages that a client sends next share one frame.
    Pack { client: u8, messages: u8 },
    /// A client's next update is lost on the way though the connection lives.
    Lose { client: u8 },
    /// Everything in flight is lost; each side hears of it when it does.
    Reset { client: u8, server_hears: u32, client_hears: u32 },
    /// The connection goes silent in both directions and nobody is told.
    HalfOpen { client: u8 },
    /// The client reads nothing for a while.
    SlowReader { client: u8, ms: u32 },
    /// What the client sends does not arrive for a while.
    SlowWriter { client: u8, ms: u32 },
    /// The connection's latency, from now on.
    Latency { client: u8, ms: u16 },
    /// A hostile client does something; with a client's rights in that client's room.
    Attack { client: u8, attack: Attack, seed: u8 },
    /// A server dies when it has carried out so many more outputs, and comes back.
    Crash { server: u8, outputs: u8, down: u32 },
    /// A server does nothing for a while.
    Freeze { server: u8, ms: u32 },
    /// A server shuts down in good order, and comes back.
    Shutdown { server: u8, down: u32 },
    /// A server's clock leaps forward.
    Leap { server: u8, ms: u32 },
    /// The fate of a store's coming operations.
    StoreFate { server: u8, fate: Fate, times: u8 },
    /// A store answers nothing for a while.
    StoreStall { server: u8, ms: u32 },
    /// A store takes no writes for a while.
    StoreFull { server: u8, ms: u32 },
    /// How long a store's operations take, from now on.
    StoreLatency { server: u8, ms: u16 },
    /// What a room's next load reads is damaged.
    Damage { room: u8, at: u16 },
    /// The application has a room deleted, and its clients forget what they have of it.
    Delete { room: u8 },
}

/// A change of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edit {
    /// Text somewhere.
    Type,
    /// Text at the end, as people do mostly.
    TypeOn,
    /// Some text goes.
    Delete,
    /// Much text.
    Paste,
    /// A key of a map.
    Set,
    /// A key of a map goes.
    Unset,
    /// A map in an array.
    Nest,
    /// A change inside such a map.
    NestSet,
    /// Such a map goes, with what is in it.
    NestDrop,
}

/// A change of presence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Present {
    /// A new state.
    Here,
    /// Gone, though connected.
    Gone,
}

/// What a hostile client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attack {
    /// A frame of random bytes.
    Noise,
    /// A true update, with its end cut off.
    Cut,
    /// A true update, with some bytes changed so that it is malformed.
    Mangle,
    /// Counts that the bytes cannot hold.
    Bomb,
    /// An update that depends on what nobody has.
    Gap,
    /// Someone else's presence, as it is not.
    Spoof,
    /// Someone else's presence, removed.
    Evict,
    /// Its own presence, with somebody else's name in it.
    Forge,
    /// One SyncStep1 after the other.
    AskFlood,
    /// Presence of many ids, and large.
    PresenceFlood,
    /// States with clocks that were passed long ago, one after the other, and nothing is read.
    Stale,
    /// A message of an unknown type.
    Unknown,
    /// A reader's attempt to insert.
    Trespass,
    /// A reader's attempt to delete.
    Vandalise,
}

/// What becomes of an operation of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It fails, and has not happened.
    NotDone,
    /// It fails, and has happened.
    DoneUnknown,
    /// It fails, nobody knows, and it has not happened.
    NotDoneUnknown,
    /// It works, after a long while.
    Slow,
}

impl Scenario {
    /// The scenario as a test.
    pub fn as_rust(&self) -> String {
        let Setup {
            seed,
            servers,
            rooms,
            clients,
            durability,
            tail_bytes,
            outbox_bytes,
            slice_bytes,
            unload_ms,
            turn_ms,
            inbox_bytes,
            state_bytes,
            identities,
            past,
            absent,
        } = &self.setup;
        let mut out = String::from("#[test]\nfn a_scenario_found_by_the_simulation() {\n");
        out.push_str(
            "    use yroom_sim::{Attack::*, Edit::*, Fate::*, Op::*, Present::*, Role::*};\n",
        );
        let _ = writeln!(
            out,
            "    let setup = yroom_sim::Setup {{\n        seed: {seed}, servers: {servers}, rooms: \
             {rooms}, clients: vec!{clients:?},\n        durability: \
             yroom::Durability::{durability:?}, tail_bytes: {tail_bytes},\n        outbox_bytes: \
             {outbox_bytes}, slice_bytes: {slice_bytes}, unload_ms: {unload_ms}, turn_ms: {turn_ms},\n        \
             inbox_bytes: {inbox_bytes}, state_bytes: {state_bytes},\n        \
             identities: yroom_sim::Identities::{identities:?}, past: yroom_sim::Past::{past:?},\n        \
             absent: yroom::Absent::{absent:?},\n    }};"
        );
        out.push_str("    let ops = vec![\n");
        for op in &self.ops {
            let _ = writeln!(out, "        {op:?},");
        }
        out.push_str("    ];\n    yroom_sim::Scenario { setup, ops }.check();\n}\n");
        out
    }

    /// Runs it, and panics with a report if a promise was broken.
    ///
    /// # Panics
    ///
    /// If a promise was broken.
    pub fn check(&self) {
        let outcome = crate::run::run(self, crate::Telling::Nothing);
        if let Some(broken) = outcome.broken {
            panic!("{broken}");
        }
    }
}

impl Setup {
    /// The hubs' limits.
    pub(crate) fn limits(&self) -> Limits {
        Limits {
            tail_bytes: self.tail_bytes as usize,
            outbox_bytes: self.outbox_bytes as usize,
            slice_bytes: self.slice_bytes as usize,
            inbox_bytes: self.inbox_bytes as usize,
            awareness_state_bytes: self.state_bytes as usize,
            frame_bytes: 1 << 20,
            ..Limits::default()
        }
    }
}

impl Past {
    /// As the engine's configuration has it.
    pub(crate) fn history(self) -> History {
        let span = |ms| Some(Duration::from_millis(u64::from(ms)));
        match self {
            Self::WhenItPays => History::default(),
            Self::All => History::KEEP_ALL,
            Self::Quiet(ms) => History { ttl: span(ms), ..History::KEEP_ALL },
            Self::Bytes(bytes) => History { log_bytes: Some(bytes as usize), ..History::KEEP_ALL },
            Self::Age(ms) => History { log_age: span(ms), ..History::KEEP_ALL },
            Self::Rows(ms) => History { older_than: span(ms), ..History::KEEP_ALL },
        }
    }
}

impl Default for Setup {
    /// Two writers in a room.
    fn default() -> Self {
        Self {
            seed: 0,
            servers: 1,
            rooms: 1,
            clients: vec![(0, Role::Writer), (0, Role::Writer)],
            durability: Durability::BeforeFanout,
            tail_bytes: 64 << 10,
            outbox_bytes: 1 << 20,
            slice_bytes: 512 << 10,
            unload_ms: 30_000,
            turn_ms: 0,
            inbox_bytes: 1 << 20,
            state_bytes: 16 << 10,
            identities: Identities::Nobody,
            past: Past::WhenItPays,
            absent: Absent::Empty,
        }
    }
}
