//! Why bytes are no message.

use crate::error::{Fault, FaultKind};
use std::fmt;

/// Bytes that are no message: where, and what should have been there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WireError {
    /// How far into the frame (or awareness payload) the reader had come.
    pub offset: usize,
    /// What does not stand there, or not whole.
    pub expected: Expected,
}

/// What a [`WireError`] missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Expected {
    /// The type of a message.
    MessageType,
    /// The type of a sync message: 0, 1 or 2.
    SyncType,
    /// The type of an auth message: 0 or 1.
    AuthType,
    /// A length, no greater than what remains, and that many bytes.
    Sized,
    /// The like, of valid UTF-8.
    Text,
    /// A number of entries that the remaining bytes can hold.
    Count,
    /// A client id below 2⁵³.
    ClientId,
    /// A clock below 2⁵³.
    Clock,
    /// Nothing more.
    End,
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MessageType => "a message type",
            Self::SyncType => "a sync message type (0, 1 or 2)",
            Self::AuthType => "an auth message type (0 or 1)",
            Self::Sized => "a length and that many bytes",
            Self::Text => "a length and that many bytes of UTF-8",
            Self::Count => "a count that the remaining bytes can hold",
            Self::ClientId => "a client id",
            Self::Clock => "a clock",
            Self::End => "the end",
        })
    }
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {} at byte {}", self.expected, self.offset)
    }
}

impl std::error::Error for WireError {}

impl From<WireError> for Fault {
    fn from(error: WireError) -> Self {
        Self::new(FaultKind::Message, format!("not a message: {error}"))
    }
}
