//! Why what an application wanted was not done.

use std::fmt;
use yroom::{NotApplied, Reject, StoreFault};

/// Why what an application wanted of a room was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RoomError {
    /// The server has ended, or the thread that had the room.
    Stopped,
    /// The room cannot be opened now.
    Rejected(Reject),
    /// The store could not read the room, or the initialiser failed.
    NotLoaded(StoreFault),
    /// This load of the room is over: it was deleted or could not be loaded, or the server ends.
    Gone,
    /// The room did not take an update; nothing of it was used.
    NotApplied(NotApplied),
    /// The room took the update, but the store has not, for
    /// [`Limits::degraded_for`](yroom::Limits::degraded_for): it may still, or may not.
    NotStored,
    /// The store did not delete the room.
    NotDeleted(StoreFault),
    /// There is such a room already, stored or open.
    Exists,
    /// There is nothing in the room.
    Empty,
    /// Too many edits and readings wait for the room.
    Busy,
    /// The document is not one that can be worked on: see
    /// [`Unworkable`](yroom::provider::Unworkable).
    #[cfg(feature = "app")]
    Unworkable(yroom::provider::Unworkable),
    /// The closure panicked; nothing of what it did was used.
    Panicked,
}

impl fmt::Display for RoomError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stopped => "the server has ended",
            Self::Rejected(reject) => return reject.fmt(f),
            Self::NotLoaded(fault) => return write!(f, "the room could not be loaded: {fault}"),
            Self::Gone => "the room is gone",
            Self::NotApplied(why) => return why.fmt(f),
            Self::NotStored => "the store has not taken it in time",
            Self::NotDeleted(fault) => return write!(f, "the room was not deleted: {fault}"),
            Self::Exists => "there is such a room already",
            Self::Empty => "there is nothing in the room",
            Self::Busy => "too much waits for the room",
            #[cfg(feature = "app")]
            Self::Unworkable(why) => return why.fmt(f),
            Self::Panicked => "the closure panicked",
        })
    }
}

impl std::error::Error for RoomError {}

impl From<Reject> for RoomError {
    fn from(reject: Reject) -> Self {
        Self::Rejected(reject)
    }
}

impl From<NotApplied> for RoomError {
    fn from(why: NotApplied) -> Self {
        match why {
            NotApplied::NotLive => Self::Gone,
            why @ (NotApplied::Congested
            | NotApplied::Gap
            | NotApplied::Invalid(_)
            | NotApplied::IdTaken) => Self::NotApplied(why),
        }
    }
}
