//! The copy of the document in a store.

use super::Provider;
use super::io::{Event, Output, Phase, StopReason};
use super::replica::{DocumentInUse, Trouble, limitless};
use crate::config::Limits;
use crate::error::{StoreFault, StoreFaultKind};
use crate::io::{Append, Batch, RoomId, RoomName, Seq, StoreOp, Stored};
use crate::journal::{Journal, Progress};
use crate::time::Timestamp;
use crate::update::{StateVector, scan};
use bytes::Bytes;
use std::time::Duration;

/// A provider keeps one room, once loaded.
const ROOM: RoomId = RoomId(0);

const LOAD_RETRY_BASE: Duration = Duration::from_millis(500);
const LOAD_RETRY_CAP: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Storage {
    name: RoomName,
    state: State,
    /// Bytes that were appended since the last snapshot, and the snapshot's.
    log_bytes: usize,
    snapshot_bytes: usize,
    compacting: bool,
    /// What the store had before the journal was full and updates were left out.
    behind: Option<StateVector>,
    /// Since when appends fail.
    failing: Option<Timestamp>,
    end: End,
}

/// Whether it is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It goes on.
    No,
    /// Once everything is written.
    Orderly,
    /// As it is: what is in the document is not to be relied upon.
    AtOnce,
}

#[derive(Debug)]
enum State {
    /// Not asked for yet.
    Unasked,
    /// Asked for.
    Loading { attempts: u32 },
    /// The load failed; it is tried again then.
    Failed { attempts: u32, retry_at: Timestamp },
    /// Read, and not in the document yet.
    Restoring(Stored),
    /// In the document; changes are written.
    Open(Journal),
    /// Over.
    Released,
}

impl Storage {
    pub(super) const fn new(name: RoomName) -> Self {
        Self {
            name,
            state: State::Unasked,
            log_bytes: 0,
            snapshot_bytes: 0,
            compacting: false,
            behind: None,
            failing: None,
            end: End::No,
        }
    }

    /// Nothing more comes: the store is released.
    pub(super) const fn end(&mut self, end: End) {
        self.end = end;
    }

    pub(super) const fn is_released(&self) -> bool {
        matches!(self.state, State::Released)
    }

    /// When something is due.
    pub(super) fn deadline(&self) -> Option<Timestamp> {
        match &self.state {
            State::Failed { retry_at, .. } => Some(*retry_at),
            State::Open(journal) => journal.retry_at(),
            State::Unasked | State::Loading { .. } | State::Restoring(_) | State::Released => None,
        }
    }

    const fn journal(&mut self) -> Option<&mut Journal> {
        match &mut self.state {
            State::Open(journal) => Some(journal),
            State::Unasked
            | State::Loading { .. }
            | State::Failed { .. }
            | State::Restoring(_)
            | State::Released => None,
        }
    }
}

impl Provider {
    /// Asks for the stored copy.
    pub(super) fn load(&mut self) {
        if let Some(storage) = &mut self.storage {
            if let State::Unasked = storage.state {
                storage.state = State::Loading { attempts: 0 };
            }
            let load = StoreOp::Load { room: ROOM, name: storage.name.clone() };
            self.outputs.push_back(Output::Store(load));
        }
    }

    pub(super) fn loaded(&mut self, now: Timestamp, result: Result<Stored, StoreFault>) {
        let Some(storage) = &mut self.storage else { return };
        let State::Loading { attempts } = storage.state else { return };
        match result {
            Ok(stored) => storage.state = State::Restoring(stored),
            Err(fault) if fault.kind == StoreFaultKind::Corrupt => {
                self.stop(now, StopReason::Unrestorable { fault });
            }
            Err(fault) => {
                let retry_at = now + self.rng.backoff(attempts, LOAD_RETRY_BASE, LOAD_RETRY_CAP);
                storage.state = State::Failed { attempts: attempts + 1, retry_at };
                self.outputs.push_back(Output::Event(Event::StoreFailed { fault }));
            }
        }
    }

    /// Brings the stored copy into the document, when it can be had; then connects.
    pub(super) fn restore(&mut self, now: Timestamp) {
        let Some(storage) = &mut self.storage else { return };
        if let State::Failed { attempts, retry_at } = storage.state
            && retry_at <= now
            && storage.end == End::No
        {
            storage.state = State::Loading { attempts };
            return self.load();
        }
        let State::Restoring(stored) = &storage.state else { return };
        let stored = stored.clone();
        match self.bring_in(&stored) {
            Ok(()) => {}
            Err(Trouble::InUse) => return self.await_document(now),
            Err(Trouble::Poisoned) => return self.stop(now, StopReason::Poisoned),
            Err(Trouble::Unreadable(reason)) => {
                return self.stop(now, StopReason::Unreadable { reason });
            }
            Err(Trouble::Fault(fault)) => {
                let fault = StoreFault::new(StoreFaultKind::Corrupt, fault.reason);
                return self.stop(now, StopReason::Unrestorable { fault });
            }
        }
        if self.phase == Phase::Loading {
            self.attempt(now);
        }
    }

    fn bring_in(&mut self, stored: &Stored) -> Result<(), Trouble> {
        let snapshot = stored.snapshot.as_deref();
        let updates = snapshot.into_iter().chain(stored.log.iter().flat_map(Batch::updates));
        // What was let in is let out again, even if the limits are tighter today.
        let limits = Limits { update: limitless(), ..self.config.limits.clone() };
        let mut kept = StateVector::default();
        let mut bytes = 0;
        for update in updates {
            bytes += update.len();
            self.replica.integrate(update, &limits)?;
            for range in scan(update, &limits.update)?.ranges {
                kept.raise(range.client, range.end);
            }
        }
        // What the document had before, or has got meanwhile, is to be kept as well.
        let more = self.edits > 0 || !kept.covers(self.replica.have());
        let more = if more { Some(self.replica.lacking(&kept)?) } else { None };
        let mut journal = Journal::new(stored.last());
        if let Some(more) = more {
            journal.push(&more);
        }
        if let Some(storage) = &mut self.storage {
            storage.snapshot_bytes = snapshot.map_or(0, <[u8]>::len);
            storage.log_bytes = bytes - storage.snapshot_bytes;
            storage.state = State::Open(journal);
        }
        self.outputs.push_back(Output::Event(Event::Restored { bytes }));
        Ok(())
    }

    /// Keeps a change of the document.
    pub(super) fn keep(&mut self, update: &[u8]) {
        let Some(storage) = &mut self.storage else { return };
        if storage.behind.is_some() {
            return;
        }
        let Some(journal) = storage.journal() else { return };
        if journal.is_congested(&self.config.limits)
            && journal.pending_bytes() > self.config.limits.journal_bytes
        {
            // From here on it is taken from the document, when the store works again. What the
            // document has now may include `update`: so may what is stored, twice.
            storage.behind = Some(self.replica.have().clone());
        }
        if let Some(journal) = storage.journal() {
            journal.push(update);
            storage.log_bytes += update.len();
        }
    }

    pub(super) fn durable(&mut self, upto: Seq) {
        let Some(storage) = &mut self.storage else { return };
        let progress = storage.journal().map(|journal| journal.confirm(upto));
        if progress.is_some_and(|progress| progress != Progress::None) {
            storage.failing = None;
        }
    }

    pub(super) fn write_failed(&mut self, now: Timestamp, seq: Seq, fault: StoreFault) {
        let Some(storage) = &mut self.storage else { return };
        let Some(journal) = storage.journal() else { return };
        if journal.fail(now, seq, &mut self.rng) {
            storage.failing.get_or_insert(now);
            self.outputs.push_back(Output::Event(Event::StoreFailed { fault }));
        }
    }

    pub(super) fn compacted(&mut self, result: Result<(), StoreFault>) {
        let Some(storage) = &mut self.storage else { return };
        storage.compacting = false;
        if let Err(fault) = result {
            // The log is still there; it is folded when it has grown as much again.
            storage.snapshot_bytes = storage.snapshot_bytes.max(storage.log_bytes * 4);
            self.outputs.push_back(Output::Event(Event::StoreFailed { fault }));
        }
    }

    /// Writes what is due.
    pub(super) fn write_storage(&mut self, now: Timestamp) {
        if self.resume_journal().and_then(|()| self.compact()).is_err() {
            self.await_document(now);
        }
        let Some(storage) = &mut self.storage else { return };
        let name = storage.name.clone();
        if let Some(journal) = storage.journal()
            && let Some(batch) = journal.submit(now)
        {
            let append = Append { room: ROOM, name: name.clone(), batch };
            self.outputs.push_back(Output::Store(StoreOp::Append(append)));
        }
        if self.is_stored(now) {
            self.release(name);
        }
    }

    /// Whether the end has come, and nothing is left to be written that can be.
    fn is_stored(&self, now: Timestamp) -> bool {
        let Some(storage) = &self.storage else { return false };
        let patience = self.config.limits.degraded_for;
        match (storage.end, &storage.state) {
            (End::No, _) | (_, State::Released) => false,
            (End::AtOnce, _) | (End::Orderly, State::Unasked | State::Failed { .. }) => true,
            (End::Orderly, State::Loading { .. } | State::Restoring(_)) => false,
            (End::Orderly, State::Open(journal)) => {
                (journal.is_durable() && storage.behind.is_none() && !storage.compacting)
                    || storage.failing.is_some_and(|since| now.since(since) > patience)
            }
        }
    }

    fn release(&mut self, name: RoomName) {
        self.outputs.push_back(Output::Store(StoreOp::Release { room: ROOM, name }));
        if let Some(storage) = &mut self.storage {
            storage.state = State::Released;
        }
    }

    /// The store works again: what was left out meanwhile follows as one update.
    fn resume_journal(&mut self) -> Result<(), DocumentInUse> {
        let Some(storage) = &mut self.storage else { return Ok(()) };
        if storage.journal().is_none_or(|journal| !journal.is_durable()) {
            return Ok(());
        }
        let Some(have) = storage.behind.clone() else { return Ok(()) };
        let left_out = self.replica.lacking(&have)?;
        storage.behind = None;
        self.keep(&left_out);
        Ok(())
    }

    fn compact(&mut self) -> Result<(), DocumentInUse> {
        let Some(storage) = &mut self.storage else { return Ok(()) };
        let due = storage.log_bytes > self.config.limits.tail_bytes
            && storage.log_bytes > storage.snapshot_bytes / 4;
        let Some(journal) = storage.journal() else { return Ok(()) };
        let upto = journal.durable();
        if !due || !journal.is_durable() || storage.compacting || storage.end != End::No {
            return Ok(());
        }
        let snapshot = Bytes::from(self.replica.snapshot()?);
        storage.compacting = true;
        storage.log_bytes = 0;
        storage.snapshot_bytes = snapshot.len();
        let name = storage.name.clone();
        let compact = StoreOp::Compact { room: ROOM, name, upto, snapshot };
        self.outputs.push_back(Output::Store(compact));
        Ok(())
    }
}
