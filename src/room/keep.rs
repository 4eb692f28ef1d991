//! What the room keeps: the journal's appends, the store's answers, folding and compaction.

use super::log::Due;
use super::pace::Wait;
use super::{Context, Phase, Room, Stage};
use crate::config::Folding;
use crate::error::{StoreFault, StoreFaultKind};
use crate::io::{Append, Batch, Event, Output, Seq, StoreOp, Stored};
use crate::journal::Progress;
use crate::update;
use bytes::Bytes;

/// How many times longer a log may become while the room is written to faster than it is stored: a fold
/// takes the store's time from the appends that peers wait for.
const BUSY: usize = 8;

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
        match self.due(cx) {
            None => {}
            Some(Due::Whole) => self.compact(cx),
            Some(Due::Older) => {
                self.log.ask(cx.now);
                cx.push(Output::Store(StoreOp::Load { room: self.id, name: self.name.clone() }));
            }
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

    fn due(&self, cx: &Context<'_>) -> Option<Due> {
        let patience = if self.journal.is_durable() { 1 } else { BUSY };
        self.log.due(cx.now, cx.config, self.document.snapshot().len(), patience)
    }

    fn compact(&mut self, cx: &mut Context<'_>) {
        let upto = self.journal.durable();
        self.document.fold(upto);
        let snapshot = self.document.snapshot().clone();
        self.log.fold(cx.now, snapshot.len());
        self.put_compaction(cx, upto, snapshot);
    }

    fn put_compaction(&self, cx: &mut Context<'_>, upto: Seq, snapshot: Bytes) {
        let (room, name) = (self.id, self.name.clone());
        cx.push(Output::Store(StoreOp::Compact { room, name, upto, snapshot }));
    }

    /// The store has read a room that is open again, for the older part of its log.
    pub(super) fn reread(&mut self, cx: &mut Context<'_>, result: Result<Stored, StoreFault>) {
        // Late, or repeated; or the room is being deleted.
        let serves = matches!(self.phase, Phase::Live | Phase::Draining);
        if !self.log.end_reading() || !serves {
            return;
        }
        match result {
            Ok(stored) => self.fold_older(cx, &stored),
            Err(fault) => cx.event(Event::CompactionFailed { room: self.id, fault }),
        }
    }

    /// Folds the rows that are to be folded for their own age, if that is due.
    pub(super) fn fold_what_is_old(&mut self, cx: &mut Context<'_>, stored: &Stored) {
        if self.due(cx) == Some(Due::Older) {
            self.log.ask(cx.now);
            self.log.end_reading();
            self.fold_older(cx, stored);
        }
    }

    /// The document in memory is all of it; so what is older is made from what the store has.
    fn fold_older(&mut self, cx: &mut Context<'_>, stored: &Stored) {
        let Some(bound) = cx.config.history.older_than else { return };
        let durable = self.journal.durable();
        let rows = stored.log.iter().zip(&stored.log_ages);
        let old = rows.take_while(|(row, age)| **age > bound && row.last() <= durable).count();
        let (old, young) = stored.log.split_at(old);
        let Some(upto) = old.last().map(Batch::last) else { return };
        let updates = old.iter().flat_map(Batch::updates);
        let parts = stored.snapshot.as_deref().into_iter().chain(updates);
        match update::merge_in_pieces(parts) {
            Ok(snapshot) => {
                let began = stored.log_ages.get(old.len()).filter(|_| !young.is_empty());
                self.log.fold_older(cx.now, snapshot.len(), old, began.copied());
                self.put_compaction(cx, upto, snapshot.into());
            }
            Err(error) => {
                let message = format!("stored up to {upto:?}: {error}");
                let fault = StoreFault::new(StoreFaultKind::Corrupt, message);
                cx.event(Event::CompactionFailed { room: self.id, fault });
            }
        }
    }

    fn unload(&mut self, cx: &mut Context<'_>) {
        debug_assert!(self.gated.is_empty() && self.peers.is_empty());
        let folds = match cx.config.history.folding {
            Folding::WhenItPays => self.log.slows_loading(self.document.bytes()),
            Folding::AtBounds => false,
        };
        if folds && self.log.may_fold(cx.now, cx.config) {
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
        let bytes = self.log.end_writing();
        match result {
            Ok(()) => {
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
