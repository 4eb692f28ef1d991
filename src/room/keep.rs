//! What the room keeps: the journal's appends, the store's answers, folding and compaction.

use super::pace::Wait;
use super::{Context, Phase, Room, Stage};
use crate::config::{Config, Folding};
use crate::error::StoreFault;
use crate::io::{Append, Batch, Event, Output, Seq, StoreOp, Stored};
use crate::journal::Progress;
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
    in_flight: bool,
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
    pub(super) fn of(stored: &Stored, now: Timestamp) -> Self {
        let moment = |ago: Option<Duration>| ago.map(|before| Moment { at: now, before });
        let mut log = Self::default();
        stored.log.iter().for_each(|batch| log.count(batch));
        log.began = moment(stored.log_began_ago);
        log.changed = moment(stored.changed_ago);
        log
    }

    fn grow(&mut self, batch: &Batch, now: Timestamp) {
        let moment = Some(Moment { at: now, before: Duration::ZERO });
        if self.rows == 0 {
            self.began = moment;
        }
        self.changed = moment;
        self.count(batch);
    }

    fn count(&mut self, batch: &Batch) {
        self.rows += 1;
        self.bytes += batch.framed().len() + ROW_BYTES;
    }

    /// Whether it is to be folded, beside a snapshot of so many bytes.
    fn is_due(&self, now: Timestamp, config: &Config, snapshot: usize) -> bool {
        if self.rows == 0 || self.in_flight {
            return false;
        }
        let history = &config.history;
        let pays = match history.folding {
            Folding::WhenItPays => {
                self.bytes > config.limits.tail_bytes && self.bytes > snapshot / 4
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

    /// Whether folding it makes the room's next load faster.
    fn slows_loading(&self, document: usize) -> bool {
        self.rows >= UNLOAD_ROWS || self.bytes > (document / 16).max(ROW_BYTES * 8)
    }
}

impl Room {
    /// Finishes a turn: what came together is appended together, and what may be shown is sent.
    pub(crate) fn settle(&mut self, cx: &mut Context<'_>) {
        self.unsettled = false;
        match self.phase {
            Phase::Loading { stage: Stage::Keeping, .. } if self.journal.is_durable() => {
                self.go_live(cx);
            }
            Phase::Loading { stage: Stage::Keeping, .. } => return self.append(cx),
            Phase::Loading { .. } | Phase::Deleting { .. } | Phase::Gone => return,
            Phase::Live | Phase::Draining => {}
        }
        self.append(cx);
        self.release(cx);
        self.spread_presence(cx);
        self.adjust_congestion(cx);
        let limits = &cx.config.limits;
        if self.document.wants_folding(limits) {
            self.document.fold(self.journal.durable());
        }
        if self.log.is_due(cx.now, cx.config, self.document.snapshot().len()) {
            self.compact(cx);
        }
        if self.phase == Phase::Draining && self.journal.is_durable() {
            self.unload(cx);
        }
    }

    /// Puts out the append that is due, if there is one.
    pub(super) fn append(&mut self, cx: &mut Context<'_>) {
        if let Some(batch) = self.journal.submit(cx.now) {
            let append = Append { room: self.id, name: self.name.clone(), batch };
            cx.push(Output::Store(StoreOp::Append(append)));
        }
    }

    fn compact(&mut self, cx: &mut Context<'_>) {
        let upto = self.journal.durable();
        self.document.fold(upto);
        self.log = Log { in_flight: true, changed: self.log.changed, ..Log::default() };
        cx.push(Output::Store(StoreOp::Compact {
            room: self.id,
            name: self.name.clone(),
            upto,
            snapshot: self.document.snapshot().clone(),
        }));
    }

    fn unload(&mut self, cx: &mut Context<'_>) {
        debug_assert!(self.gated.is_empty() && self.peers.is_empty());
        let folds = match cx.config.history.folding {
            Folding::WhenItPays => self.log.slows_loading(self.document.bytes()),
            Folding::AtBounds => false,
        };
        if folds && !self.log.in_flight {
            self.compact(cx);
        }
        self.end(cx);
    }

    pub(crate) fn durable(&mut self, cx: &mut Context<'_>, upto: Seq) {
        let in_flight = self.journal.in_flight().cloned();
        match self.journal.confirm(upto) {
            Progress::None => return,
            Progress::Durable => {}
            Progress::Recovered => cx.event(Event::RoomRecovered { room: self.id }),
        }
        if let Some(batch) = in_flight {
            self.log.grow(&batch, cx.now);
        }
        self.unsettled = true;
    }

    pub(crate) fn write_failed(&mut self, cx: &mut Context<'_>, seq: Seq, fault: StoreFault) {
        if self.journal.fail(cx.now, seq, cx.rng) {
            cx.event(Event::RoomDegraded { room: self.id, fault });
        }
        self.unsettled = true;
    }

    pub(crate) fn compacted(
        &mut self,
        cx: &mut Context<'_>,
        upto: Seq,
        result: Result<(), StoreFault>,
    ) {
        self.log.in_flight = false;
        match result {
            Ok(()) => {
                let bytes = self.document.snapshot().len();
                cx.event(Event::RoomCompacted { room: self.id, upto, bytes });
            }
            // The log is still there; the next one that is due covers it too.
            Err(fault) => cx.event(Event::CompactionFailed { room: self.id, fault }),
        }
    }

    /// Pauses writers while the journal cannot take more, and lets them go on when it can.
    fn adjust_congestion(&mut self, cx: &mut Context<'_>) {
        let congested = self.journal.is_congested(&cx.config.limits);
        if congested == self.congested {
            return;
        }
        self.congested = congested;
        for slot in 0..self.peers.len() {
            if congested {
                if self.peers[slot].synced {
                    self.pause_writer(cx, slot);
                }
            } else {
                self.peers[slot].go_ahead(cx, Wait::Store);
            }
        }
    }

    pub(super) fn pause_writer(&mut self, cx: &mut Context<'_>, slot: usize) {
        let peer = &mut self.peers[slot];
        if peer.may_write() {
            peer.wait(cx, Wait::Store);
        }
    }
}
