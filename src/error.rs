//! Three kinds of failure, in three places.
//!
//! A peer's [`Fault`] closes that peer and becomes an event; a [`Reject`] is the synchronous answer
//! to somebody who asks to come in; a [`StoreFault`] comes from the store and makes a room degraded.
//! None of them is ever the `Err` of `handle`: one hub serves a thousand peers, so whose would it be?

use crate::update::UpdateError;
use std::fmt;

/// A WebSocket close code (RFC 6455 §7.4).
///
/// y-websocket 3.1 stops reconnecting on 4400 to 4499 and tries again after all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CloseCode(pub u16);

impl CloseCode {
    /// The connection did what it was for.
    pub const NORMAL: Self = Self(1000);
    /// The other side went silent.
    pub const GOING_AWAY: Self = Self(1001);
    /// The peer spoke nonsense at the protocol's level.
    pub const PROTOCOL: Self = Self(1002);
    /// A text frame: the y-websocket protocol is binary.
    pub const UNSUPPORTED: Self = Self(1003);
    /// A message or an update that is not what it claims to be.
    pub const INVALID: Self = Self(1007);
    /// Over a limit.
    pub const TOO_BIG: Self = Self(1009);
    /// The server's own failure.
    pub const INTERNAL: Self = Self(1011);
    /// The server restarts: come back.
    pub const RESTART: Self = Self(1012);
    /// The server cannot serve now (its store fails, or this peer is too slow): come back later.
    pub const TRY_AGAIN: Self = Self(1013);
    /// The credentials are not, or no longer, good. Permanent.
    pub const UNAUTHORIZED: Self = Self(4401);
    /// Not allowed. Permanent.
    pub const FORBIDDEN: Self = Self(4403);
    /// The room was deleted. Permanent.
    pub const GONE: Self = Self(4404);
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What a peer did that ends its connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Which kind, and so which close code.
    pub kind: FaultKind,
    /// One sentence for the peer's log, at most 123 bytes of it sent (RFC 6455 §5.5).
    pub reason: String,
}

/// The kinds of [`Fault`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// Bytes that are no y-protocols message.
    Message,
    /// An update, state vector or awareness message whose inside is malformed.
    Malformed,
    /// Over one of the [`Limits`](crate::Limits).
    Limit,
    /// Too slow for too long.
    Slow,
}

impl FaultKind {
    /// The code that the connection is closed with.
    pub const fn close_code(self) -> CloseCode {
        match self {
            Self::Message => CloseCode::PROTOCOL,
            Self::Malformed => CloseCode::INVALID,
            Self::Limit => CloseCode::TOO_BIG,
            Self::Slow => CloseCode::TRY_AGAIN,
        }
    }
}

impl Fault {
    pub(crate) fn new(kind: FaultKind, reason: impl Into<String>) -> Self {
        Self { kind, reason: reason.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl From<UpdateError> for Fault {
    fn from(error: UpdateError) -> Self {
        let kind = match error {
            UpdateError::Malformed(_) => FaultKind::Malformed,
            UpdateError::Limit(_) => FaultKind::Limit,
        };
        Self::new(kind, error.to_string())
    }
}

/// Why somebody is not let in; the adapter can still answer with an HTTP status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reject {
    /// The hub is shutting down (HTTP 503).
    ShuttingDown,
    /// [`Limits::rooms`](crate::Limits::rooms) rooms are open (HTTP 503).
    TooManyRooms,
    /// [`Limits::connections`](crate::Limits::connections) are open (HTTP 503).
    TooManyConnections,
    /// [`Limits::peers_per_room`](crate::Limits::peers_per_room) are in this room (HTTP 503).
    RoomFull,
    /// The room is being deleted; there will be a new one of its name (HTTP 503).
    BeingDeleted,
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ShuttingDown => "the server is shutting down",
            Self::TooManyRooms => "the server has too many rooms open",
            Self::TooManyConnections => "the server has too many connections",
            Self::RoomFull => "the room is full",
            Self::BeingDeleted => "the room is being deleted",
        })
    }
}

impl std::error::Error for Reject {}

/// Why what the application wanted of a room was not done; nothing of it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotApplied {
    /// It is loading, being deleted, or gone.
    NotLive,
    /// The store fails or is behind by [`Limits::journal_bytes`](crate::Limits::journal_bytes): try
    /// again later, as writers among the peers wait too.
    Congested,
    /// The update depends on something that the room does not have; nothing of it was used.
    Gap,
    /// The update is malformed or over a limit; nothing of it was used.
    Invalid(Fault),
    /// The awareness id belongs to a peer, or is one too many.
    IdTaken,
}

impl fmt::Display for NotApplied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotLive => "the room is not live",
            Self::Congested => "the store is behind",
            Self::Gap => "the update depends on something that the room does not have",
            Self::Invalid(fault) => return fault.fmt(f),
            Self::IdTaken => "the awareness id is not the application's",
        })
    }
}

impl std::error::Error for NotApplied {}

/// Why a string is no room name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InvalidRoomName {
    /// The empty name.
    Empty,
    /// More bytes than [`RoomName::MAX_BYTES`](crate::RoomName::MAX_BYTES).
    TooLong,
    /// A control character.
    ControlCharacter,
}

impl fmt::Display for InvalidRoomName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "the room name is empty",
            Self::TooLong => "the room name is longer than 255 bytes",
            Self::ControlCharacter => "the room name has a control character",
        })
    }
}

impl std::error::Error for InvalidRoomName {}

/// What went wrong in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreFault {
    /// Whether the effect may have happened all the same.
    pub kind: StoreFaultKind,
    /// For the operator.
    pub message: String,
}

/// What is known of a failed store operation's effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StoreFaultKind {
    /// It certainly did not happen (the disk is full, the store is not reachable).
    NotDone,
    /// It may have happened (a commit or an fsync failed). The store has to find out, by opening
    /// itself anew, before it acknowledges anything again.
    Unknown,
    /// What is stored cannot be read: damaged, or of a format that this program does not know.
    Corrupt,
}

impl StoreFault {
    /// A fault of this kind, in words for the operator.
    pub fn new(kind: StoreFaultKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

impl fmt::Display for StoreFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for StoreFault {}

/// As much of a close frame's reason as fits: 123 bytes (RFC 6455 §5.5), cut between characters.
pub(crate) fn close_reason(reason: &str) -> &str {
    &reason[..reason.floor_char_boundary(123)]
}
