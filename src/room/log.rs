//! What the engine knows of a room's log in the store, and when it is to be folded.

use crate::config::{Config, Folding, History};
use crate::io::{Batch, Stored};
use crate::time::Timestamp;
use std::time::Duration;

/// What a row of a log costs a store beside its bytes, roughly.
const ROW_BYTES: usize = 64;
/// A log of so many rows is folded when the room is unloaded.
const UNLOAD_ROWS: usize = 64;

/// The store's log, and when it is replaced by a snapshot.
#[derive(Debug, Default)]
pub(crate) struct Log {
    /// Rows and bytes since the last snapshot.
    rows: usize,
    bytes: usize,
    /// When its first row came about.
    began: Option<Moment>,
    /// When the room last changed.
    changed: Option<Moment>,
    /// When it was last folded, or later: what was before the load is known by the log alone.
    folded: Option<Moment>,
    /// When it was last looked at for its older part.
    asked: Option<Timestamp>,
    folding: Stage,
}

/// How far a folding is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// There is none.
    #[default]
    None,
    /// The store reads the room.
    Reading,
    /// The store replaces what it has by a snapshot of so many bytes.
    Writing(usize),
}

/// What of a log is to be folded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// All that is durable.
    Whole,
    /// What is older than [`History::older_than`].
    Older,
}

/// A time that may be before the epoch of all [`Timestamp`]s.
#[derive(Clone, Copy, Debug)]
struct Moment {
    at: Timestamp,
    before: Duration,
}

impl Moment {
    fn age(self, now: Timestamp) -> Duration {
        now.since(self.at) + self.before
    }
}

impl Log {
    pub(super) fn of(stored: &Stored, now: Timestamp, history: &History) -> Self {
        let moment = |ago: Option<Duration>| ago.map(|before| Moment { at: now, before });
        let mut log = Self::default();
        stored.log.iter().for_each(|batch| log.count(batch));
        log.began = moment(stored.log_began_ago);
        log.changed = moment(stored.changed_ago);
        // A fold of everything came before the first row; one of the older part, before that row was
        // as old as what is folded then.
        let began = stored.log_began_ago.unwrap_or_default();
        let before = began.saturating_sub(history.older_than.unwrap_or_default());
        log.folded = stored.snapshot.as_ref().map(|_| Moment { at: now, before });
        log
    }

    pub(super) fn grow(&mut self, batch: &Batch, now: Timestamp) {
        let moment = Some(Moment { at: now, before: Duration::ZERO });
        if self.rows == 0 {
            self.began = moment;
        }
        self.changed = moment;
        self.count(batch);
    }

    fn count(&mut self, batch: &Batch) {
        self.rows += 1;
        self.bytes += cost(batch);
    }

    /// What of it is to be folded, beside a snapshot of so many bytes.
    ///
    /// A log that is only long has to be `patience` times longer than one that pays to be folded.
    pub(super) fn due(
        &self,
        now: Timestamp,
        config: &Config,
        snapshot: usize,
        patience: usize,
    ) -> Option<Due> {
        if self.rows == 0 || self.folding != Stage::None {
            return None;
        }
        if self.is_due(now, config, snapshot, patience) && self.may_fold(now, config) {
            return Some(Due::Whole);
        }
        self.is_old(now, &config.history).then_some(Due::Older)
    }

    fn is_due(&self, now: Timestamp, config: &Config, snapshot: usize, patience: usize) -> bool {
        let history = &config.history;
        let pays = match history.folding {
            Folding::WhenItPays => {
                self.bytes / patience > config.limits.tail_bytes.max(snapshot / 4)
            }
            Folding::AtBounds => false,
        };
        let older = |moment: Option<Moment>, bound: Option<Duration>| {
            bound.zip(moment).is_some_and(|(bound, moment)| moment.age(now) > bound)
        };
        pays || history.log_bytes.is_some_and(|bound| self.bytes > bound)
            || older(self.changed, history.ttl)
            || older(self.began, history.log_age)
    }

    /// Rows do not become old one by one: when the first is, it waits for those after it. So two
    /// folds of older parts are that far apart, too, whatever is known of the last one.
    fn is_old(&self, now: Timestamp, history: &History) -> bool {
        let Some(bound) = history.older_than else { return false };
        let wait = history.apart.max(bound / 16).max(Duration::from_secs(1));
        self.began.is_some_and(|began| began.age(now) > bound + wait)
            && self.asked.is_none_or(|at| now.since(at) >= wait)
    }

    /// Whether the last fold is long enough ago, and over.
    pub(super) fn may_fold(&self, now: Timestamp, config: &Config) -> bool {
        self.folding == Stage::None
            && self.folded.is_none_or(|folded| folded.age(now) >= config.history.apart)
    }

    /// Whether folding it makes the room's next load faster.
    pub(super) fn slows_loading(&self, document: usize) -> bool {
        self.rows >= UNLOAD_ROWS || self.bytes > (document / 16).max(ROW_BYTES * 8)
    }

    /// The store is asked for the rows, to fold what is old of them.
    pub(super) fn ask(&mut self, now: Timestamp) {
        self.asked = Some(now);
        self.folding = Stage::Reading;
    }

    /// Whether it was asked.
    pub(super) fn end_reading(&mut self) -> bool {
        let asked = self.folding == Stage::Reading;
        if asked {
            self.folding = Stage::None;
        }
        asked
    }

    /// All of it becomes a snapshot of so many bytes.
    pub(super) fn fold(&mut self, now: Timestamp, bytes: usize) {
        *self = Self {
            changed: self.changed,
            folded: Some(Moment { at: now, before: Duration::ZERO }),
            asked: self.asked,
            folding: Stage::Writing(bytes),
            ..Self::default()
        };
    }

    /// Its first rows become part of a snapshot of so many bytes; `began` is the next one's age.
    pub(super) fn fold_older(
        &mut self,
        now: Timestamp,
        bytes: usize,
        rows: &[Batch],
        began: Option<Duration>,
    ) {
        self.rows = self.rows.saturating_sub(rows.len());
        self.bytes = self.bytes.saturating_sub(rows.iter().map(cost).sum());
        // None: what is left was written while the store read.
        let before = began.unwrap_or(Duration::ZERO);
        self.began = Some(Moment { at: now, before });
        self.folded = Some(Moment { at: now, before: Duration::ZERO });
        self.folding = Stage::Writing(bytes);
    }

    /// The store has answered a compaction; gives the bytes of the snapshot.
    pub(super) fn end_writing(&mut self) -> usize {
        match std::mem::take(&mut self.folding) {
            Stage::Writing(bytes) => bytes,
            other @ (Stage::None | Stage::Reading) => {
                self.folding = other;
                0
            }
        }
    }
}

fn cost(batch: &Batch) -> usize {
    batch.framed().len() + ROW_BYTES
}
