//! The algebra of Yjs V1 updates, on their bytes: no document is built.
//!
//! An update is a list of structs per client and a delete set. [`scan`] validates one in a single
//! bounded pass and says what it covers and what it depends on; [`ready_part`] takes from it what
//! can be integrated now; [`diff`] and [`novel_part`] take what somebody lacks; [`merge`] makes one
//! of many, squashing neighbours and dropping deleted content. Values are copied as bytes, never
//! decoded and encoded again.
//!
//! Nothing here recurses on the input's depth, and allocations are bounded by the input's length.
//!
//! What reads bytes fails with [`UpdateError`], and never panics: `Malformed` if they are not what Yjs
//! writes, `Limit` if they are more than [`ScanLimits`] or the algebra allows. What only copies (`merge`,
//! `diff`, `novel_part`, `ready_part`) does not look into contents: scan first what comes from outside.

mod content;
mod delete_set;
mod diff;
mod error;
#[cfg(feature = "provider")]
mod hazards;
mod merge;
mod nesting;
mod read;
mod ready;
mod scan;
mod slices;
mod snapshot;
mod state_vector;
mod write;

pub use delete_set::DeleteSet;
pub use diff::{diff, novel_part};
pub use error::{Limit, Malformed, UpdateError};
#[cfg(feature = "provider")]
pub(crate) use hazards::hazards;
pub(crate) use merge::MERGE_BYTES;
pub use merge::{merge, merge_in_pieces};
pub(crate) use nesting::depth;
pub use ready::{Ready, ready_part};
pub use scan::{Scan, ScanLimits, scan};
pub use slices::Slices;
pub use snapshot::Snapshot;
pub use state_vector::StateVector;

use std::fmt;

/// Who made a struct: 32 bits in Yjs 13, 53 in Yjs 14.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub u64);

impl fmt::Debug for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c{}", self.0)
    }
}

/// One unit of one client's content: the `clock`-th that it made. Clocks are below 2³¹.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    /// Who.
    pub client: ClientId,
    /// Its count.
    pub clock: u32,
}

/// A run of one client's clocks: `start..end`, never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClockRange {
    /// Who.
    pub client: ClientId,
    /// The first clock.
    pub start: u32,
    /// After the last clock; at most 2³¹ - 1.
    pub end: u32,
}

/// The update that changes nothing.
pub const EMPTY: &[u8] = &[0, 0];
