//! What is stored beside a batch: the time, and what the application says about it.

use bytes::Bytes;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, SystemTime};
use yroom::{Batch, RoomName};

/// When a batch was stored, and what the application says about it.
///
/// Data for people: nothing is decided by it but when a log is folded, and no order depends on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// In milliseconds since 1970.
    pub at_ms: i64,
    /// Empty if it says nothing.
    pub metadata: Bytes,
}

impl Stamp {
    /// A time without metadata.
    pub const fn at(at_ms: i64) -> Self {
        Self { at_ms, metadata: Bytes::new() }
    }
}

/// Milliseconds since 1970, by this machine's clock.
pub fn now_ms() -> i64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |it| i64::try_from(it.as_millis()).unwrap_or(i64::MAX))
}

/// How long before `now_ms` it was `at_ms`; nothing if the clock was set back since.
pub fn ago(at_ms: i64, now_ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(now_ms.saturating_sub(at_ms)).unwrap_or(0))
}

/// Asks the application what to store beside each batch, as `metadata_callback` does in
/// ypy-websocket.
///
/// It is asked on the store's thread, before each write: while it thinks, every room waits, and it
/// must not use the store.
/// A panic, or an answer of more than [`MAX_BYTES`](Self::MAX_BYTES), is reported and the batch is
/// stored without metadata: an update is worth more than what is said about it.
///
/// ```
/// use yroom_net::store::Metadata;
///
/// let metadata = Metadata::new(|room, batch| format!("{room}: {} updates", batch.count()).into())
///     .on_fault(|sentence| eprintln!("{sentence}"));
/// # drop(metadata);
/// ```
pub struct Metadata {
    ask: Option<Ask>,
    report: Box<dyn FnMut(&str) + Send>,
}

type Ask = Box<dyn FnMut(&RoomName, &Batch) -> Vec<u8> + Send>;

impl Metadata {
    /// The longest that is stored.
    pub const MAX_BYTES: usize = 64 << 10;

    /// Nothing is asked, and nothing stored.
    pub fn none() -> Self {
        Self { ask: None, report: Box::new(|_| {}) }
    }

    /// Asks `ask` for each batch. An empty answer is none.
    pub fn new(ask: impl FnMut(&RoomName, &Batch) -> Vec<u8> + Send + 'static) -> Self {
        Self { ask: Some(Box::new(ask)), ..Self::none() }
    }

    /// Has `report` called, with one sentence for the log, when an answer cannot be used.
    #[must_use]
    pub fn on_fault(mut self, report: impl FnMut(&str) + Send + 'static) -> Self {
        self.report = Box::new(report);
        self
    }

    /// What to store beside `batch`; for whoever writes a store.
    pub fn stamp(&mut self, room: &RoomName, batch: &Batch, at_ms: i64) -> Stamp {
        let Some(ask) = &mut self.ask else { return Stamp::at(at_ms) };
        let fault = match catch_unwind(AssertUnwindSafe(|| ask(room, batch))) {
            Ok(answer) if answer.len() <= Self::MAX_BYTES => {
                return Stamp { at_ms, metadata: answer.into() };
            }
            Ok(answer) => {
                format!("{} bytes, and {} are the most", answer.len(), Self::MAX_BYTES)
            }
            Err(_) => "the callback panicked".to_owned(),
        };
        (self.report)(&format!("{room:?}: stored without metadata: {fault}"));
        Stamp::at(at_ms)
    }
}

impl Default for Metadata {
    fn default() -> Self {
        Self::none()
    }
}

impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metadata").field("asks", &self.ask.is_some()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};
    use yroom::Seq;

    #[test]
    fn an_answer_that_cannot_be_used_is_reported_and_left_out() {
        let reports = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&reports);
        let mut metadata = Metadata::new(|_, batch| match batch.count() {
            1 => vec![1; Metadata::MAX_BYTES],
            2 => vec![1; Metadata::MAX_BYTES + 1],
            _ => panic!("on purpose"),
        })
        .on_fault(move |what| log.lock().expect("one thread").push(what.to_owned()));
        let room = RoomName::new("r").expect("a name");
        let lengths = [1, 2, 3].map(|count| {
            let batch = Batch::of(Seq(1), std::iter::repeat_n(&b"x"[..], count)).expect("some");
            let stamp = metadata.stamp(&room, &batch, 7);
            assert_eq!(stamp.at_ms, 7);
            stamp.metadata.len()
        });
        assert_eq!(lengths, [Metadata::MAX_BYTES, 0, 0]);
        let reports = reports.lock().expect("one thread");
        assert_eq!(reports.len(), 2);
        assert!(reports[0].contains("65537 bytes") && reports[1].contains("panicked"));
    }

    #[test]
    fn a_clock_that_was_set_back_makes_nothing_old() {
        assert_eq!(ago(1_000, 5_000), Duration::from_secs(4));
        assert_eq!(ago(5_000, 1_000), Duration::ZERO);
        assert_eq!(ago(i64::MIN, i64::MAX), Duration::from_millis(i64::MAX.unsigned_abs()));
    }
}
