//! One connection in a room: what it may do, what waits for it, and what it was asked.

use crate::bucket::Bucket;
use crate::config::{Access, Limits, Rights};
use crate::io::ConnId;
use crate::room::{Feed, Waits};
use crate::time::Timestamp;
use crate::update::StateVector;
use bytes::Bytes;

#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) conn: ConnId,
    pub(crate) access: Access,
    pub(crate) standing: Standing,
    /// Its first SyncStep1 has been answered.
    pub(crate) synced: bool,
    /// Bytes sent that have not left for the network.
    pub(crate) unsent: usize,
    pub(crate) last_sent: Timestamp,
    /// When something sent last left for the network.
    pub(crate) last_flushed: Timestamp,
    pub(crate) lag: Option<Box<Lag>>,
    /// What it is being brought in slices.
    pub(crate) feed: Option<Box<Feed>>,
    /// Why it is not being read from.
    pub(crate) waits: Waits,
    /// Until when it waits because it has sent too much.
    pub(crate) waits_until: Option<Timestamp>,
    pub(crate) frames_in: Bucket,
    pub(crate) bytes_in: Bucket,
    pub(crate) new_clients: Bucket,
    /// Frames that came before the room was there.
    pub(crate) inbox: Vec<Bytes>,
    pub(crate) inbox_bytes: usize,
    pub(crate) gap: Option<Box<Gap>>,
    /// How many of its SyncStatus questions wait for durability.
    pub(crate) statuses_held: u8,
    /// Whether it sent what it may not: it is never told then that it is saved.
    pub(crate) refused: bool,
}

/// How far a connection is from its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Open,
    /// It was told to go, for no fault of its own: what it sent before it heard of that still
    /// counts, but it is sent nothing.
    Leaving,
    /// It was closed; nothing more of it is used.
    Closed,
}

/// Single updates are no longer queued for this peer; later it gets one that holds all it lacks.
#[derive(Debug)]
pub(crate) struct Lag {
    /// At least this it was sent before.
    pub(crate) have: StateVector,
    /// The newest awareness it was sent before.
    pub(crate) awareness: u64,
    /// What it said it has when it last asked: it gets one answer, however often it asked.
    pub(crate) asked: Option<StateVector>,
    /// The version that it last asked to have sent back.
    pub(crate) status: Option<Bytes>,
}

impl Lag {
    pub(crate) const fn new(have: StateVector, awareness: u64) -> Self {
        Self { have, awareness, asked: None, status: None }
    }

    fn held_bytes(&self) -> usize {
        let asked = self.asked.as_ref().map_or(0, StateVector::heap_bytes);
        let status = self.status.as_ref().map_or(0, Bytes::len);
        size_of::<Self>() + self.have.heap_bytes() + asked + status
    }
}

/// The peer sent something that depends on what the room does not have.
#[derive(Debug)]
pub(crate) struct Gap {
    /// How often it was asked.
    pub(crate) attempts: u32,
    /// When it is asked next.
    pub(crate) ask_at: Option<Timestamp>,
    /// When it last showed.
    pub(crate) seen: Timestamp,
}

impl Peer {
    pub(crate) fn new(conn: ConnId, access: Access, now: Timestamp) -> Self {
        Self {
            conn,
            access,
            standing: Standing::Open,
            synced: false,
            unsent: 0,
            last_sent: now,
            last_flushed: now,
            lag: None,
            feed: None,
            waits: Waits::default(),
            waits_until: None,
            frames_in: Bucket::full(now),
            bytes_in: Bucket::full(now),
            new_clients: Bucket::full(now),
            inbox: Vec::new(),
            inbox_bytes: 0,
            gap: None,
            statuses_held: 0,
            refused: false,
        }
    }

    /// The memory it takes, itself included.
    pub(crate) fn held_bytes(&self) -> usize {
        let frames: usize = self.inbox.iter().map(Bytes::len).sum();
        size_of::<Self>()
            + self.inbox.capacity() * size_of::<Bytes>()
            + frames
            + self.lag.as_ref().map_or(0, |lag| lag.held_bytes())
            + self.feed.as_ref().map_or(0, |feed| feed.held_bytes())
            + self.gap.as_ref().map_or(0, |_| size_of::<Gap>())
    }

    pub(crate) const fn is_open(&self) -> bool {
        matches!(self.standing, Standing::Open)
    }

    /// Whether enough has left for the network that something large may follow.
    pub(crate) const fn has_credit(&self, limits: &Limits) -> bool {
        self.unsent <= limits.outbox_bytes / 2 && self.is_open()
    }

    pub(crate) const fn may_write(&self) -> bool {
        match self.access.document {
            Rights::Read => false,
            Rights::ReadWrite => true,
        }
    }
}
