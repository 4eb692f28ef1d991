//! A room's writes: three cursors, `durable <= submitted <= accepted`.
//!
//! One append is in flight at a time; what is accepted meanwhile gathers into the next. So a slow
//! store gets few large appends and a fast one many small ones, and nothing is delayed on purpose.
//! A completion names a place and implies everything below it, so late and repeated ones do no harm.

use crate::config::Limits;
use crate::io::{Batch, BatchBuilder, Seq};
use crate::time::{SplitMix64, Timestamp};
use std::time::Duration;

const RETRY_BASE: Duration = Duration::from_millis(100);
const RETRY_CAP: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(crate) struct Journal {
    accepted: Seq,
    durable: Seq,
    gathering: BatchBuilder,
    in_flight: Option<Batch>,
    failing: Option<Failing>,
}

/// The store fails; the append in flight will be sent again.
#[derive(Clone, Debug)]
pub(crate) struct Failing {
    /// How often, in a row.
    attempts: u32,
    /// When the append goes out again; `None` while it is out.
    retry_at: Option<Timestamp>,
}

/// What a completion changed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Nothing: late, repeated, or of another append.
    None,
    /// More is durable.
    Durable,
    /// More is durable, and the store had been failing before.
    Recovered,
}

impl Journal {
    /// The journal of a room of which everything up to `stored` is durable.
    pub(crate) fn new(stored: Seq) -> Self {
        Self {
            accepted: stored,
            durable: stored,
            gathering: BatchBuilder::new(stored.next()),
            in_flight: None,
            failing: None,
        }
    }

    pub(crate) const fn accepted(&self) -> Seq {
        self.accepted
    }

    pub(crate) const fn durable(&self) -> Seq {
        self.durable
    }

    pub(crate) fn submitted(&self) -> Seq {
        self.in_flight.as_ref().map_or(self.durable, Batch::last)
    }

    pub(crate) fn is_durable(&self) -> bool {
        self.durable == self.accepted
    }

    pub(crate) const fn in_flight(&self) -> Option<&Batch> {
        self.in_flight.as_ref()
    }

    pub(crate) const fn failing(&self) -> Option<&Failing> {
        self.failing.as_ref()
    }

    /// Bytes accepted that are not durable yet.
    pub(crate) fn pending_bytes(&self) -> usize {
        self.gathering.bytes() + self.in_flight.as_ref().map_or(0, |batch| batch.framed().len())
    }

    /// Accepts an update and gives it its place.
    pub(crate) fn push(&mut self, update: &[u8]) -> Seq {
        self.gathering.push(update);
        self.accepted = self.accepted.next();
        self.check();
        self.accepted
    }

    /// The next append to send, if one is due.
    pub(crate) fn submit(&mut self, now: Timestamp) -> Option<Batch> {
        let batch = match (&self.in_flight, &mut self.failing) {
            (Some(batch), Some(failing)) if failing.retry_at.is_some_and(|at| at <= now) => {
                failing.retry_at = None;
                batch.clone()
            }
            (Some(_), _) => return None,
            (None, _) => {
                let batch = self.gathering.take()?;
                self.in_flight = Some(batch.clone());
                batch
            }
        };
        self.check();
        Some(batch)
    }

    /// When [`submit`](Self::submit) is due for a retry.
    pub(crate) fn retry_at(&self) -> Option<Timestamp> {
        self.failing.as_ref().and_then(|failing| failing.retry_at)
    }

    /// Everything up to `upto` is durable, says the store.
    pub(crate) fn confirm(&mut self, upto: Seq) -> Progress {
        let upto = upto.min(self.submitted());
        if upto <= self.durable {
            return Progress::None;
        }
        self.durable = upto;
        // A store confirms whole appends. Should one confirm a part, the append stays in flight.
        if self.in_flight.as_ref().is_some_and(|batch| batch.last() <= upto) {
            self.in_flight = None;
            if self.failing.take().is_some() {
                return Progress::Recovered;
            }
        }
        self.check();
        Progress::Durable
    }

    /// The append that ends at `seq` failed. Returns whether that is news: it is in flight, and the
    /// store had not been failing before.
    pub(crate) fn fail(&mut self, now: Timestamp, seq: Seq, rng: &mut SplitMix64) -> bool {
        if self.in_flight.as_ref().is_none_or(|batch| batch.last() != seq) {
            return false;
        }
        let news = self.failing.is_none();
        let failing = self.failing.get_or_insert(Failing { attempts: 0, retry_at: None });
        // Only what is out can fail: a second report of one failure is no second failure.
        if news || failing.retry_at.is_none() {
            failing.retry_at = Some(now + rng.backoff(failing.attempts, RETRY_BASE, RETRY_CAP));
            failing.attempts += 1;
        }
        news
    }

    /// Whether writers should wait for the store.
    pub(crate) fn is_congested(&self, limits: &Limits) -> bool {
        self.failing.is_some() || self.pending_bytes() > limits.journal_bytes
    }

    fn check(&self) {
        debug_assert!(self.durable <= self.submitted(), "{self:?}");
        debug_assert!(self.submitted() <= self.accepted, "{self:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn what_comes_while_an_append_is_in_flight_gathers_into_the_next() {
        let mut journal = Journal::new(Seq(5));
        journal.push(b"a");
        let first = journal.submit(at(0)).expect("one is due");
        assert_eq!((first.first(), first.last()), (Seq(6), Seq(6)));
        journal.push(b"b");
        journal.push(b"c");
        assert_eq!(journal.submit(at(0)), None);
        assert_eq!(journal.confirm(Seq(6)), Progress::Durable);
        let second = journal.submit(at(0)).expect("one is due");
        assert_eq!((second.first(), second.last(), second.count()), (Seq(7), Seq(8), 2));
        assert_eq!(second.updates().collect::<Vec<_>>(), [b"b", b"c"]);
        assert!(!journal.is_durable());
        assert_eq!(journal.confirm(Seq(8)), Progress::Durable);
        assert!(journal.is_durable());
        assert_eq!(journal.pending_bytes(), 0);
    }

    #[test]
    fn pending_is_what_gathers_and_what_is_in_flight_with_a_length_before_each() {
        let mut journal = Journal::new(Seq(0));
        let congested = |journal: &Journal, journal_bytes| {
            journal.is_congested(&Limits { journal_bytes, ..Limits::default() })
        };
        assert_eq!((journal.pending_bytes(), journal.submitted()), (0, Seq(0)));
        journal.push(b"abc");
        assert_eq!((journal.pending_bytes(), journal.in_flight()), (4, None));
        let first = journal.submit(at(0)).expect("one is due");
        assert_eq!((journal.pending_bytes(), journal.in_flight()), (4, Some(&first)));
        journal.push(b"de");
        assert_eq!(journal.pending_bytes(), 7);
        assert!(congested(&journal, 6) && !congested(&journal, 7));
        assert_eq!((journal.accepted(), journal.submitted()), (Seq(2), Seq(1)));
        assert!(journal.fail(at(0), Seq(1), &mut SplitMix64::new(0)));
        assert_eq!(journal.failing().map(|failing| failing.attempts), Some(1));
        assert!(congested(&journal, 7), "as long as the store fails");
        assert_eq!(journal.confirm(Seq(1)), Progress::Recovered);
        assert_eq!((journal.pending_bytes(), journal.in_flight()), (3, None));
        assert!(journal.failing().is_none());
    }

    #[test]
    fn late_repeated_and_premature_completions_change_nothing() {
        let mut journal = Journal::new(Seq(0));
        journal.push(b"a");
        assert_eq!(journal.confirm(Seq(1)), Progress::None, "not submitted yet");
        assert_eq!(journal.durable(), Seq(0));
        journal.submit(at(0)).expect("one is due");
        journal.push(b"b");
        assert_eq!(journal.confirm(Seq(9)), Progress::Durable);
        assert_eq!(journal.durable(), Seq(1), "no more than was submitted");
        assert_eq!(journal.confirm(Seq(1)), Progress::None);
        assert!(!journal.fail(at(0), Seq(1), &mut SplitMix64::new(0)));
    }

    #[test]
    fn a_failed_append_goes_out_again_after_a_while_with_the_same_places() {
        let mut journal = Journal::new(Seq(0));
        let mut rng = SplitMix64::new(0);
        journal.push(b"a");
        let first = journal.submit(at(0)).expect("one is due");
        assert!(journal.fail(at(0), Seq(1), &mut rng));
        assert!(!journal.fail(at(0), Seq(1), &mut rng), "reported once");
        journal.push(b"b");
        assert_eq!(journal.submit(at(0)), None, "not yet");
        let retry_at = journal.retry_at().expect("a retry is planned");
        assert_eq!(journal.submit(retry_at), Some(first));
        assert_eq!((journal.submit(at(99)), journal.retry_at()), (None, None), "it is out");
        assert!(!journal.fail(at(1), Seq(1), &mut rng), "no news");
        let retry_at = journal.retry_at().expect("a retry is planned");
        journal.submit(retry_at).expect("it goes out");
        assert_eq!(journal.confirm(Seq(1)), Progress::Recovered);
        assert_eq!(journal.submit(retry_at).expect("the rest").last(), Seq(2));
    }
}
