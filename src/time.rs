//! Time is an argument: every method that depends on it takes a [`Timestamp`].

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

/// A point in time, in microseconds since an epoch that the caller chooses.
///
/// Only differences matter to the engine, so any monotonic clock will do: a process's age, a
/// simulation's virtual time. Unlike [`std::time::Instant`] it can be made from a number, printed,
/// stored in a transcript and used in a browser.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The caller's epoch.
    pub const ZERO: Self = Self(0);

    /// The end of time, at which additions stop.
    pub(crate) const MAX: Self = Self(u64::MAX);

    /// The time `micros` microseconds after the epoch.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the epoch.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// The time that has passed since `earlier`; zero if `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// The next whole second, so that deadlines that need no precision fall together.
    pub(crate) const fn round_up_to_second(self) -> Self {
        Self(self.0.div_ceil(1_000_000).saturating_mul(1_000_000))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        let micros = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(micros))
    }
}

impl Sub for Timestamp {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.since(earlier)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}s", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// The engine's only randomness: SplitMix64, seeded by [`Config::seed`](crate::Config::seed).
///
/// Good enough to spread retries; not for secrets. Source: Steele, Lea, Flood, "Fast splittable
/// pseudorandom number generators", OOPSLA 2014.
#[derive(Clone, Debug)]
pub(crate) struct SplitMix64(u64);

impl SplitMix64 {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) const fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Exponential backoff with jitter: between half and all of `base · 2^attempt`, at most `cap`.
    pub(crate) fn backoff(&mut self, attempt: u32, base: Duration, cap: Duration) -> Duration {
        let full = base.saturating_mul(1 << attempt.min(20)).min(cap);
        let micros = u64::try_from(full.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(micros / 2 + self.next_u64() % (micros / 2 + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_up_to_its_cap_and_keeps_half_as_a_floor() {
        let mut rng = SplitMix64::new(7);
        let (base, cap) = (Duration::from_millis(100), Duration::from_secs(5));
        for attempt in 0..40 {
            let full = base.saturating_mul(1 << attempt.min(20)).min(cap);
            let wait = rng.backoff(attempt, base, cap);
            assert!(wait >= full / 2 && wait <= full, "attempt {attempt}: {wait:?} of {full:?}");
        }
    }

    #[test]
    fn rounding_up_never_goes_back() {
        for micros in [0, 1, 999_999, 1_000_000, 1_000_001, u64::MAX] {
            assert!(Timestamp(micros).round_up_to_second().0 >= micros.min(u64::MAX - 1_000_000));
        }
    }
}
