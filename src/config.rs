//! What can be set, each with its default and the reason for it.

use crate::identity::Identity;
use crate::time::Timestamp;
use crate::update::ScanLimits;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// How a [`Hub`](crate::Hub) behaves.
#[derive(Clone, Debug)]
pub struct Config {
    /// Seeds the jitter of retries: same seed and inputs, same outputs.
    pub seed: u64,
    /// When others see an update, and when it is acknowledged.
    pub durability: Durability,
    /// How long a room stays loaded after its last peer has left. Default: 30 s, so that a page
    /// reload or a change of networks finds it warm.
    pub unload_after: Duration,
    /// The longest silence towards a peer. Default: 15 s, because y-websocket reconnects after 30 s
    /// without a data frame (WebSocket pings do not count).
    pub keepalive: Duration,
    /// After how long without renewal an awareness state is dropped. Default: 30 s, as in
    /// y-protocols (whose clients renew every 15 s).
    pub awareness_timeout: Duration,
    /// What a room is that the store has never heard of. Default: empty.
    pub absent: Absent,
    /// Types of messages that are the application's: they are handed out as
    /// [`ApplicationOp::Message`](crate::ApplicationOp), even where y-protocols knows the type
    /// (Jupyter's type 2 is y-protocols' auth). Default: none.
    pub application_messages: BTreeSet<u64>,
    /// How much of a room's past the store keeps.
    pub history: History,
    /// The bounds.
    pub limits: Limits,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            seed: 0,
            durability: Durability::default(),
            unload_after: Duration::from_secs(30),
            keepalive: Duration::from_secs(15),
            awareness_timeout: Duration::from_secs(30),
            absent: Absent::default(),
            application_messages: BTreeSet::new(),
            history: History::default(),
            limits: Limits::default(),
        }
    }
}

/// What a room is that the store has never heard of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Absent {
    /// An empty document.
    #[default]
    Empty,
    /// What the application says; see [`ApplicationOp::Initialise`](crate::ApplicationOp).
    Initialise,
}

/// What an update has to reach before others see it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Durability {
    /// Others see an update once it is durable: nothing that anyone was shown is lost to a crash.
    #[default]
    BeforeFanout,
    /// Others see an update at once; an acknowledgement waits until it is durable.
    BeforeAck,
    /// Others see an update at once, and so does an acknowledgement come.
    Eventual,
}

/// What a connection may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// With the document.
    pub document: Rights,
    /// With its own presence.
    pub presence: Presence,
    /// When it ends; the connection is closed with 4401 then.
    pub expires_at: Option<Timestamp>,
    /// Whom it speaks for, if that is known: its presence cannot say otherwise.
    pub identity: Option<Arc<Identity>>,
}

impl Access {
    /// Reads, writes, and is seen.
    pub const FULL: Self = Self {
        document: Rights::ReadWrite,
        presence: Presence::Publish,
        expires_at: None,
        identity: None,
    };
    /// Reads and is seen, but cannot change the document.
    pub const READ_ONLY: Self = Self { document: Rights::Read, ..Self::FULL };
    /// Reads, writes, and speaks for many: a server that is trusted.
    pub const RELAY: Self = Self { presence: Presence::Relay, ..Self::FULL };
}

/// Rights on the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rights {
    /// Sees changes, makes none.
    Read,
    /// Sees and makes changes.
    ReadWrite,
}

/// Rights on awareness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Presence {
    /// Sees the others' states, publishes none.
    Observe,
    /// Sees and publishes.
    Publish,
    /// Sees and publishes for many: a server, which passes its own peers' states on. Only
    /// [`Limits::awareness_states_per_room`] bounds their number.
    Relay,
}

/// How much of a room's past its store keeps beside the document: when the log of updates is folded
/// into a snapshot, after which the single updates, their times and their metadata are gone.
///
/// Whatever is set here, the document is the same; a long log makes its load slower.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct History {
    /// Whether the log is folded for the sake of space and speed.
    pub folding: Folding,
    /// Fold the log of a room that has not changed for so long, when it is loaded or written to next;
    /// the new updates stay outside. It is ypy-websocket's `document_ttl`. Default: none.
    pub ttl: Option<Duration>,
    /// Fold a log of more than so many bytes. Default: none.
    pub log_bytes: Option<usize>,
    /// Fold a log whose oldest update is older, when the room is loaded or written to next. Default:
    /// none.
    pub log_age: Option<Duration>,
    /// Fold what of a log is older, and leave what is younger, with its times and its metadata; when
    /// the room is loaded or written to next, and not row by row: a sixteenth later, or
    /// [`apart`](Self::apart) if that is more. It is pycrdt-store's `squash_history_older_than`.
    /// Default: none.
    ///
    /// The store is asked for the room once more, as the document in memory is all of it. A store that
    /// does not know [`Stored::log_ages`](crate::Stored::log_ages) keeps what is old. The other bounds
    /// fold the whole log: use it with [`Folding::AtBounds`].
    pub older_than: Option<Duration>,
    /// The least time between two folds of a room, whatever else asks for one, as far as the store's
    /// times tell; a log may grow beyond its bounds meanwhile. It is pycrdt-store's
    /// `squash_no_more_often_than`. Default: zero.
    pub apart: Duration,
}

impl History {
    /// Every update that was ever accepted stays in the log.
    pub const KEEP_ALL: Self = Self {
        folding: Folding::AtBounds,
        ttl: None,
        log_bytes: None,
        log_age: None,
        older_than: None,
        apart: Duration::ZERO,
    };
}

impl Default for History {
    /// Folded when it pays, and for no other reason.
    fn default() -> Self {
        Self { folding: Folding::WhenItPays, ..Self::KEEP_ALL }
    }
}

/// Whether a log is folded before it reaches a bound of [`History`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Folding {
    /// When it has more than [`Limits::tail_bytes`] and more than a quarter of the snapshot (eight
    /// times as much while updates come faster than they are stored), and when a room is unloaded with
    /// a log that would make its next load slower.
    #[default]
    WhenItPays,
    /// Only at the other bounds; without any, never.
    AtBounds,
}

/// Every queue, table, frame, document and wait is bounded by one of these.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Rooms open in one hub; then [`Reject::TooManyRooms`](crate::Reject). Default: 100,000, about
    /// 100 MiB of empty rooms.
    pub rooms: usize,
    /// Connections in one hub; then [`Reject::TooManyConnections`](crate::Reject). Default: 20,000.
    pub connections: usize,
    /// Peers in one room; then [`Reject::RoomFull`](crate::Reject). Default: 5,000: an update costs a
    /// send for each.
    pub peers_per_room: usize,
    /// A frame's bytes; then close 1009. Default: 64 MiB, so that a large document can be brought.
    pub frame_bytes: usize,
    /// The document's bytes (snapshot and tail); an update that goes beyond closes its sender with
    /// 1009. At most 1 GiB, whatever is set here. Default: 256 MiB.
    pub document_bytes: usize,
    /// The bounds of one update; see there.
    pub update: ScanLimits,
    /// Entries of a state vector; then close 1009. Default: 65,536, a client id each.
    pub state_vector_entries: usize,
    /// Client ids in a document; then close 1009 for the one that brings more. Default: 1,000,000.
    pub clients_per_document: usize,
    /// Delete ranges of a document; then close 1009. Default: 4,000,000 (32 MiB).
    pub delete_ranges_per_document: usize,
    /// Bytes of one peer that are kept before its room is loaded, the frame that has not come whole
    /// included ([`Input::Arriving`](crate::Input::Arriving)); then it is not read from until the room
    /// is there. What the driver had read until it was told so comes on top. Default: 64 KiB: a client
    /// says what it has and who it is, and then waits for an answer. The rest is the network's to keep.
    pub inbox_bytes: usize,
    /// Frames that one connection may send; beyond it, it is not read from for a while. Default:
    /// 10,000 a second, 50,000 at once: no person types so fast, an import may.
    pub frames_in: Rate,
    /// Bytes that one connection may send; beyond it, it is not read from for a while. Those of the
    /// answers that it asks for count too. Default: 32 MiB a second, 128 MiB at once.
    pub bytes_in: Rate,
    /// Client ids that one connection may bring that the document did not have; beyond it, it is not
    /// read from for a while. A person brings one in a session; a merge of many takes time that the
    /// others in this thread wait for. Relays ([`Presence::Relay`]), which bring what many have written,
    /// are not counted. Default: 1,000 a second, 5,000 at once.
    pub new_clients: Rate,
    /// Unsent bytes of a connection beyond which it is lagging. Default: 64 KiB, on top of what the
    /// system's own socket buffer takes. More does not help a slow peer, which gets one diff in any
    /// case, and is held for every one of them.
    pub outbox_bytes: usize,
    /// The largest frame that a document is sent in; a larger document is sent in slices, which
    /// are integrated as they come. Default: 512 KiB, which takes 20 s at 26 kB/s: y-websocket
    /// gives up after 30 s without a whole frame.
    pub slice_bytes: usize,
    /// How long a peer may take nothing of what waits for it; then close 1013. Default: 30 s.
    pub lagging_for: Duration,
    /// One awareness state's JSON, in bytes, as its client sends it; a larger one is ignored. A stamp
    /// ([`Identity`]) comes on top of it. Default: 16 KiB.
    pub awareness_state_bytes: usize,
    /// Awareness ids of one connection; further ones are ignored. Default: 8 (a browser tab is 1).
    pub awareness_ids_per_connection: usize,
    /// Awareness states in a room; further ones are ignored. Default: 2,000.
    pub awareness_states_per_room: usize,
    /// How often a peer is asked again for what an update of its lacks. Default: 8, with backoff
    /// from 100 ms to 10 s: about half a minute.
    pub gap_attempts: u32,
    /// How long a load may take; then its peers are closed with 1013. Default: 60 s.
    pub load_timeout: Duration,
    /// How long writers wait, paused, for a store that fails; then they are closed with 1013.
    /// Default: 30 s.
    pub degraded_for: Duration,
    /// Bytes that a room may have accepted but not yet durable; beyond it its writers are paused.
    /// Default: 8 MiB.
    pub journal_bytes: usize,
    /// Tail bytes beyond which a tail is folded into the snapshot, if it is also more than a quarter
    /// of the snapshot: in memory always, in the store as [`History`] says. Default: 64 KiB.
    pub tail_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            rooms: 100_000,
            connections: 20_000,
            peers_per_room: 5_000,
            frame_bytes: 64 << 20,
            document_bytes: 256 << 20,
            update: ScanLimits::default(),
            state_vector_entries: 65_536,
            clients_per_document: 1_000_000,
            delete_ranges_per_document: 4_000_000,
            inbox_bytes: 64 << 10,
            frames_in: Rate { per_second: 10_000, burst: 50_000 },
            bytes_in: Rate { per_second: 32 << 20, burst: 128 << 20 },
            new_clients: Rate { per_second: 1_000, burst: 5_000 },
            slice_bytes: 512 << 10,
            outbox_bytes: 64 << 10,
            lagging_for: Duration::from_secs(30),
            awareness_state_bytes: 16 << 10,
            awareness_ids_per_connection: 8,
            awareness_states_per_room: 2_000,
            gap_attempts: 8,
            load_timeout: Duration::from_secs(60),
            degraded_for: Duration::from_secs(30),
            journal_bytes: 8 << 20,
            tail_bytes: 64 << 10,
        }
    }
}

/// So much a second, and so much at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    /// In the long run.
    pub per_second: u64,
    /// After a while of nothing.
    pub burst: u64,
}
