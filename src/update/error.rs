//! Why bytes are no update, or one that is not taken.

use std::fmt;

/// Why an update, a state vector or a delete set is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UpdateError {
    /// It is not what it claims to be.
    Malformed(Malformed),
    /// It may be well formed, but goes over a bound.
    Limit(Limit),
}

/// Where the encoding breaks, and what should have stood there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Malformed {
    /// The offset in the bytes.
    pub offset: usize,
    /// What was expected there.
    pub expected: &'static str,
}

/// The bounds of [`ScanLimits`](super::ScanLimits) and of the encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Limit {
    /// More bytes than are taken at once.
    TooLarge,
    /// More client ids.
    TooManyClients,
    /// More structs.
    TooManyStructs,
    /// More delete ranges.
    TooManyDeleteRanges,
    /// A value or a type nested deeper.
    TooDeep,
}

impl UpdateError {
    #[cold]
    pub(super) const fn malformed(offset: usize, expected: &'static str) -> Self {
        Self::Malformed(Malformed { offset, expected })
    }
}

impl fmt::Display for UpdateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(malformed) => malformed.fmt(f),
            Self::Limit(limit) => limit.fmt(f),
        }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "malformed at byte {}: expected {}", self.offset, self.expected)
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLarge => "too many bytes",
            Self::TooManyClients => "too many client ids",
            Self::TooManyStructs => "too many structs",
            Self::TooManyDeleteRanges => "too many delete ranges",
            Self::TooDeep => "a value or a type is nested too deeply",
        })
    }
}

impl std::error::Error for UpdateError {}
impl std::error::Error for Malformed {}
impl std::error::Error for Limit {}

impl From<Malformed> for UpdateError {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

impl From<Limit> for UpdateError {
    fn from(limit: Limit) -> Self {
        Self::Limit(limit)
    }
}
