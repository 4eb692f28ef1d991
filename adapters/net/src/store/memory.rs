//! A store that keeps rooms in memory.

use super::{Reply, Store, rules};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use yroom::{Append, RoomName, Seq, StoreFault, StoreFaultKind, StoreOp, Stored};

/// Keeps rooms in memory, for as long as one handle lives: for tests, and for a server that may
/// forget. Its "durable" survives a restart of the server within the process, nothing more.
///
/// A clone is another handle to the same rooms, and open whether or not the first was closed.
#[derive(Default)]
pub struct MemoryStore {
    rooms: Arc<Mutex<BTreeMap<RoomName, Stored>>>,
    closed: AtomicBool,
}

impl MemoryStore {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// What is stored of `room`.
    pub fn get(&self, room: &RoomName) -> Stored {
        self.rooms().get(room).cloned().unwrap_or_default()
    }

    /// All or nothing, for the tests of what groups appends.
    #[cfg(test)]
    pub(super) fn append_all(&self, appends: &[Append]) -> Result<(), StoreFault> {
        let mut rooms = self.rooms();
        let before = rooms.clone();
        appends.iter().try_for_each(|append| put(&mut rooms, append.clone())).inspect_err(|_| {
            *rooms = before;
        })
    }

    pub(super) fn compact(
        &self,
        room: &RoomName,
        upto: Seq,
        snapshot: Bytes,
    ) -> Result<(), StoreFault> {
        let mut rooms = self.rooms();
        let mut nothing = Stored::default();
        let stored = rooms.get_mut(room).unwrap_or(&mut nothing);
        rules::check_compact(stored.snapshot_upto, stored.last(), upto)?;
        rules::check_snapshot(stored, upto, &snapshot)?;
        let log = std::mem::take(&mut stored.log);
        stored.log = log.into_iter().filter_map(|batch| batch.split(upto).1).collect();
        stored.snapshot = Some(snapshot);
        stored.snapshot_upto = upto;
        Ok(())
    }

    pub(super) fn delete(&self, room: &RoomName) {
        self.rooms().remove(room);
    }

    /// A change is one assignment or comes after all checks, so a poisoned lock holds nothing broken.
    fn rooms(&self) -> MutexGuard<'_, BTreeMap<RoomName, Stored>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn put(rooms: &mut BTreeMap<RoomName, Stored>, append: Append) -> Result<(), StoreFault> {
    let Append { name, batch, .. } = append;
    let Some(stored) = rooms.get_mut(&name) else {
        rules::check_append(Seq::ZERO, Seq::ZERO, &batch)?;
        rooms.insert(name, Stored { log: vec![batch], ..Stored::default() });
        return Ok(());
    };
    rules::check_append(stored.snapshot_upto, stored.last(), &batch)?;
    let before = Seq(batch.first().0 - 1);
    while let Some(last) = stored.log.pop_if(|last| last.last() > before) {
        stored.log.extend(last.split(before).0);
    }
    stored.log.push(batch);
    Ok(())
}

impl Store for MemoryStore {
    fn submit(&self, op: StoreOp, reply: Reply) {
        if self.closed.load(Ordering::Acquire) {
            return reply.failed(StoreFault::new(StoreFaultKind::NotDone, "the store is closed"));
        }
        match op {
            StoreOp::Load { name, .. } => reply.loaded(Ok(self.get(&name))),
            StoreOp::Append(append) => match put(&mut self.rooms(), append) {
                Ok(()) => reply.durable(),
                Err(fault) => reply.failed(fault),
            },
            StoreOp::Compact { name, upto, snapshot, .. } => {
                reply.compacted(self.compact(&name, upto, snapshot));
            }
            StoreOp::Delete { name, .. } => {
                self.delete(&name);
                reply.deleted(Ok(()));
            }
            StoreOp::Release { .. } => drop(reply),
        }
    }

    fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }
}

impl Clone for MemoryStore {
    fn clone(&self) -> Self {
        Self { rooms: Arc::clone(&self.rooms), closed: AtomicBool::new(false) }
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("rooms", &self.rooms().len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::conformance;

    #[test]
    fn it_conforms() {
        let store = MemoryStore::new();
        conformance::run(|| store.clone());
    }
}
