//! The y-protocols messages, read and written over byte buffers.
//!
//! A frame is one message on the way out (the JavaScript client reads only the first of a frame)
//! and one or several on the way in. [`messages`] reads a frame without copying; [`encode`] writes
//! one; [`awareness`] is the codec of what an awareness message carries.
//!
//! Nothing is allocated while reading, and every declared length and count is held against the
//! bytes that remain before it is believed.

pub mod awareness;
pub mod encode;
mod error;
mod message;
pub mod varint;

pub use error::{Expected, WireError};
pub use message::{Message, Messages, messages};

/// The types of message, and of the sync and auth messages inside theirs.
pub(crate) mod tag {
    pub(super) const SYNC: u64 = 0;
    pub(super) const AWARENESS: u64 = 1;
    pub(super) const AUTH: u64 = 2;
    pub(super) const QUERY_AWARENESS: u64 = 3;
    pub(super) const SYNC_STATUS: u64 = 102;
    /// Between yroom servers: a message of the application's for everybody.
    pub(crate) const ENVELOPE: u64 = 103;

    pub(super) const SYNC_STEP_1: u64 = 0;
    pub(super) const SYNC_STEP_2: u64 = 1;
    pub(super) const SYNC_UPDATE: u64 = 2;

    pub(super) const AUTH_DENIED: u64 = 0;
    pub(super) const AUTH_GRANTED: u64 = 1;
}
