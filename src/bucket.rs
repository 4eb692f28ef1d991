//! How much may come in: token buckets on the engine's clock.

use crate::config::Rate;
use crate::time::Timestamp;
use std::time::Duration;

/// A bucket that may go into debt: what has come has come, and has to be waited for afterwards.
///
/// It remembers when it would be full, so it costs eight bytes and nothing while nobody looks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    full_at: Timestamp,
}

impl Bucket {
    pub(crate) const fn full(now: Timestamp) -> Self {
        Self { full_at: now }
    }

    /// Takes `amount` out; how long to wait until the bucket is out of debt.
    pub(crate) fn take(&mut self, now: Timestamp, rate: Rate, amount: u64) -> Duration {
        let micros = |amount: u64| {
            let micros = u128::from(amount) * 1_000_000 / u128::from(rate.per_second.max(1));
            Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
        };
        self.full_at = self.full_at.max(now) + micros(amount);
        self.full_at.since(now).saturating_sub(micros(rate.burst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_free_and_what_is_over_it_waits_for_its_share() {
        let rate = Rate { per_second: 10, burst: 20 };
        let start = Timestamp::from_micros(5);
        let mut bucket = Bucket::full(start);
        assert_eq!(bucket.take(start, rate, 20), Duration::ZERO);
        assert_eq!(bucket.take(start, rate, 5), Duration::from_millis(500));
        let later = start + Duration::from_millis(500);
        assert_eq!(bucket.take(later, rate, 1), Duration::from_millis(100));
        let much_later = start + Duration::from_secs(3600);
        assert_eq!(bucket.take(much_later, rate, 20), Duration::ZERO, "it does not overflow");
        assert_eq!(bucket.take(much_later, rate, 10), Duration::from_secs(1));
    }

    #[test]
    fn nothing_overflows() {
        let rate = Rate { per_second: 0, burst: u64::MAX };
        let mut bucket = Bucket::full(Timestamp::ZERO);
        for _ in 0..3 {
            bucket.take(Timestamp::from_micros(u64::MAX), rate, u64::MAX);
        }
    }
}
