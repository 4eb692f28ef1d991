//! What goes into a [`Provider`](super::Provider), and what comes out.

use crate::error::{CloseCode, StoreFault};
use crate::io::{Seq, StoreOp, Stored};
use crate::update::ClientId;
use bytes::Bytes;
use std::fmt;
use std::time::Duration;

/// One attempt to reach the server, and the connection that came of it: never reused, so that what
/// is said of an earlier one is seen to be late.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub(super) u64);

impl fmt::Debug for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "link{}", self.0)
    }
}

/// What happens to a provider.
#[derive(Clone, Debug)]
pub enum Input {
    /// The connection is open, its handshake done.
    Connected {
        /// Which.
        link: LinkId,
    },
    /// The attempt to connect has failed.
    ConnectFailed {
        /// Which.
        link: LinkId,
        /// Why.
        reason: String,
        /// Whether another attempt may fare better.
        outlook: Outlook,
    },
    /// A binary frame came from the server.
    Frame {
        /// By which connection.
        link: LinkId,
        /// The frame's payload.
        frame: Bytes,
    },
    /// A sign of life that is no frame: a ping, a pong, a part of a frame.
    Alive {
        /// Of which connection.
        link: LinkId,
    },
    /// Frames that were sent have left for the network: gives `bytes` of credit back.
    Flushed {
        /// By which connection.
        link: LinkId,
        /// The sum of their lengths.
        bytes: usize,
    },
    /// The connection is gone, whoever closed it.
    Closed {
        /// Which.
        link: LinkId,
        /// With which code, if with a close frame.
        code: Option<CloseCode>,
        /// The close frame's reason, or the error.
        reason: String,
    },
    /// The document was edited: said by the closure that [`Provider::new`](super::Provider::new)
    /// was given.
    Edited,
    /// The answer to [`StoreOp::Load`].
    Loaded(Result<Stored, StoreFault>),
    /// All appends up to and including this place are durable.
    Durable(Seq),
    /// The append that ends at this place failed.
    WriteFailed(Seq, StoreFault),
    /// The answer to [`StoreOp::Compact`].
    Compacted(Seq, Result<(), StoreFault>),
}

/// Whether another attempt may fare better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outlook {
    /// It may.
    Transient,
    /// It will not: the server refused the credentials, the address makes no sense.
    Permanent,
}

/// What a provider wants done. Exhaustive on purpose: an output that is not carried out loses data.
#[derive(Clone, Debug, PartialEq)]
#[must_use = "an effect that is not carried out is lost"]
pub enum Output {
    /// Connect to the server, with fresh credentials; answered by [`Input::Connected`] or
    /// [`Input::ConnectFailed`].
    Connect {
        /// What to call the connection.
        link: LinkId,
    },
    /// Send one binary frame.
    Send {
        /// By which connection.
        link: LinkId,
        /// One whole message.
        frame: Bytes,
    },
    /// Stop reading.
    Pause {
        /// From which connection.
        link: LinkId,
    },
    /// Read again.
    Resume {
        /// From which connection.
        link: LinkId,
    },
    /// Close the connection after what was sent before, or give up the attempt.
    Close {
        /// Which.
        link: LinkId,
        /// With which code.
        code: CloseCode,
        /// One sentence.
        reason: String,
    },
    /// Something for the store.
    Store(StoreOp),
    /// Something to know; may be dropped.
    Event(Event),
}

/// How far a provider has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Not told to connect yet.
    Idle,
    /// The stored copy is being read; the server is not needed for that.
    Loading,
    /// The connection is being made.
    Connecting,
    /// The connection is open, and the server has not spoken yet.
    Handshaking,
    /// The server has spoken; what it has and we lack is on its way.
    Syncing,
    /// Both sides have told each other everything.
    Synced,
    /// The connection was lost or could not be made; another attempt follows.
    Waiting,
    /// No connection, and none will be made.
    Stopped,
}

/// Something to know. May be dropped.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The phase is another.
    Phase(Phase),
    /// The stored copy is in the document.
    Restored {
        /// Its bytes.
        bytes: usize,
    },
    /// The connection was lost, or could not be made; the next attempt follows.
    Retrying {
        /// Why.
        reason: String,
        /// When the next attempt is.
        after: Duration,
    },
    /// No further attempt is made.
    Stopped(StopReason),
    /// The server has all edits up to this count (see
    /// [`Provider::confirmed`](super::Provider::confirmed)).
    Confirmed {
        /// The count.
        upto: u64,
        /// What the server's word is worth.
        by: Confirmation,
    },
    /// Others' presence has changed.
    Presence(PresenceChange),
    /// An update depends on something that is not here; the server was asked for it.
    Gap {
        /// How often it has been asked now.
        attempt: u32,
    },
    /// The server denies something, and says why.
    Denied {
        /// The server's words.
        reason: String,
    },
    /// The store of the copy fails; edits are kept in memory, and written when it works again.
    StoreFailed {
        /// Why.
        fault: StoreFault,
    },
    /// A message of a type that is not known here: the application's, perhaps.
    Unknown {
        /// Its type.
        tag: u64,
        /// The rest of its frame.
        body: Bytes,
    },
}

/// What a confirmation is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Confirmation {
    /// The server has answered a question that was asked after the edits: it has them in memory at
    /// least.
    Received,
    /// The server has acknowledged the edits (message type 102). A yroom server does so once they
    /// are durable.
    Acknowledged,
}

/// Whose presence changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PresenceChange {
    /// Those who came.
    pub added: Vec<ClientId>,
    /// Those with another state, or the same renewed.
    pub updated: Vec<ClientId>,
    /// Those of `updated` whose state is another one.
    pub changed: Vec<ClientId>,
    /// Those who left.
    pub removed: Vec<ClientId>,
}

/// Why a provider stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// It was told to.
    Asked,
    /// The server closed with a code of 4400 to 4499.
    Refused {
        /// The code.
        code: CloseCode,
        /// The server's words.
        reason: String,
    },
    /// Connecting cannot succeed.
    Unreachable {
        /// Why.
        reason: String,
    },
    /// The stored copy cannot be read. It is left as it is.
    Unrestorable {
        /// Why.
        fault: StoreFault,
    },
    /// The document holds something that yrs cannot read, or not safely.
    Unreadable {
        /// What.
        reason: String,
    },
    /// yrs panicked over an update. What is in the document may not be relied upon.
    Poisoned,
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asked => f.write_str("closed"),
            Self::Refused { code, reason } => write!(f, "the server refuses ({code}): {reason}"),
            Self::Unreachable { reason } => write!(f, "connecting cannot succeed: {reason}"),
            Self::Unrestorable { fault } => write!(f, "the stored copy cannot be read: {fault}"),
            Self::Unreadable { reason } => write!(f, "yrs cannot read the document: {reason}"),
            Self::Poisoned => f.write_str("yrs panicked over an update"),
        }
    }
}
