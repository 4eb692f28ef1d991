//! One connection, as the provider knows it.

use super::io::LinkId;
use crate::time::Timestamp;
use crate::update::StateVector;
use bytes::Bytes;
use std::collections::VecDeque;

#[derive(Debug)]
pub(super) struct Link {
    pub(super) id: LinkId,
    /// When the server was last heard.
    pub(super) heard: Timestamp,
    /// Whether the server was asked since then whether it is still there.
    pub(super) nudged: bool,
    /// Whether the server has what we had when it asked: edits go to it one by one then.
    pub(super) follows: bool,
    /// When everything is pushed to a server that has not asked for it.
    pub(super) push_at: Option<Timestamp>,
    /// Edits sent by this connection, counted from the provider's first.
    pub(super) sent: u64,
    /// What the server had before edits were held back because the connection is slow.
    pub(super) behind: Option<StateVector>,
    /// Bytes that were sent and have not left.
    pub(super) unsent: usize,
    /// For each SyncStep1 that is not answered yet, the edits sent before it.
    pub(super) asked: VecDeque<u64>,
    /// When the server was last asked for its state.
    pub(super) asked_at: Timestamp,
    pub(super) acks: Acks,
    pub(super) gap: Option<Gap>,
    /// Frames that wait until the document can be had.
    pub(super) inbox: VecDeque<Bytes>,
    pub(super) inbox_bytes: usize,
    pub(super) paused: bool,
}

/// What is known of the server's acknowledgements (message type 102).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Acks {
    /// Asked for at the start, and none has come.
    None,
    /// It acknowledges. What is being waited for.
    Offered(Option<Awaited>),
}

/// An acknowledgement that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Awaited {
    /// Up to which edit.
    pub(super) upto: u64,
    /// When it is asked for again: a server does not answer as long as it lacks something.
    pub(super) again: Timestamp,
    /// How often it was asked for.
    pub(super) attempts: u32,
}

/// Something is missing that the server has to be asked for again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gap {
    pub(super) attempts: u32,
    /// When it is asked next; `None` while the answer is awaited.
    pub(super) ask_at: Option<Timestamp>,
}

impl Link {
    pub(super) fn new(id: LinkId, now: Timestamp) -> Self {
        Self {
            id,
            heard: now,
            nudged: false,
            follows: false,
            push_at: None,
            sent: 0,
            behind: None,
            unsent: 0,
            asked: VecDeque::new(),
            asked_at: now,
            acks: Acks::None,
            gap: None,
            inbox: VecDeque::new(),
            inbox_bytes: 0,
            paused: false,
        }
    }

    pub(super) const fn hear(&mut self, now: Timestamp) {
        self.heard = now;
        self.nudged = false;
    }
}
