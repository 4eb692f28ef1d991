//! A store that keeps rooms in memory.

use super::{Browse, Examined, Metadata, Reply, Stamp, Store, Survey, ago, now_ms, rules};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use yroom::{Append, Batch, RoomName, Seq, StoreFault, StoreFaultKind, StoreOp, Stored};

/// Keeps rooms in memory, for as long as one handle lives: for tests, and for a server that may
/// forget. Its "durable" survives a restart of the server within the process, nothing more.
///
/// A clone is another handle to the same rooms, and open whether or not the first was closed.
#[derive(Default)]
pub struct MemoryStore {
    shared: Arc<Mutex<Shared>>,
    closed: AtomicBool,
}

#[derive(Default)]
struct Shared {
    rooms: BTreeMap<RoomName, Kept>,
    metadata: Metadata,
}

/// A room.
#[derive(Clone, Default)]
struct Kept {
    snapshot: Option<Bytes>,
    snapshot_upto: Seq,
    snapshot_ms: Option<i64>,
    log: Vec<(Batch, Stamp)>,
}

impl MemoryStore {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// What to store beside each batch, for all handles to these rooms.
    #[must_use]
    pub fn metadata(self, metadata: Metadata) -> Self {
        self.lock().metadata = metadata;
        self
    }

    /// What is stored of `room`.
    pub fn get(&self, room: &RoomName) -> Stored {
        self.lock().rooms.get(room).map(Kept::stored).unwrap_or_default()
    }

    /// All or nothing, for the tests of what groups appends.
    #[cfg(test)]
    pub(super) fn append_all(&self, appends: &[Append]) -> Result<(), StoreFault> {
        let mut shared = self.lock();
        let before = shared.rooms.clone();
        appends
            .iter()
            .try_for_each(|append| shared.append(append.clone()))
            .inspect_err(|_| shared.rooms = before)
    }

    pub(super) fn compact(
        &self,
        room: &RoomName,
        upto: Seq,
        snapshot: Bytes,
    ) -> Result<(), StoreFault> {
        let mut shared = self.lock();
        let mut nothing = Kept::default();
        let kept = shared.rooms.get_mut(room).unwrap_or(&mut nothing);
        rules::check_compact(kept.snapshot_upto, kept.last(), upto)?;
        rules::check_snapshot(&kept.stored(), upto, &snapshot)?;
        let log = std::mem::take(&mut kept.log);
        for (batch, stamp) in log {
            if batch.first() <= upto {
                kept.snapshot_ms = Some(stamp.at_ms);
            }
            kept.log.extend(batch.split(upto).1.map(|rest| (rest, stamp)));
        }
        kept.snapshot = Some(snapshot);
        kept.snapshot_upto = upto;
        Ok(())
    }

    pub(super) fn delete(&self, room: &RoomName) {
        self.lock().rooms.remove(room);
    }

    /// A change is one assignment or comes after all checks, so a poisoned lock holds nothing broken.
    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn append(&mut self, append: Append) -> Result<(), StoreFault> {
        self.check(&append)?;
        let stamp = self.metadata.stamp(&append.name, &append.batch, now_ms());
        self.put(append, stamp);
        Ok(())
    }

    fn check(&self, Append { name, batch, .. }: &Append) -> Result<(), StoreFault> {
        let kept = self.rooms.get(name);
        let (upto, last) = kept.map_or_else(Default::default, |it| (it.snapshot_upto, it.last()));
        rules::check_append(upto, last, batch)
    }

    /// Of what was checked.
    fn put(&mut self, append: Append, stamp: Stamp) {
        let Append { name, batch, .. } = append;
        let kept = self.rooms.entry(name).or_default();
        let before = Seq(batch.first().0 - 1);
        while let Some((last, stamp)) = kept.log.pop_if(|(last, _)| last.last() > before) {
            kept.log.extend(last.split(before).0.map(|head| (head, stamp)));
        }
        kept.log.push((batch, stamp));
    }
}

impl Kept {
    fn last(&self) -> Seq {
        self.log.last().map_or(self.snapshot_upto, |(batch, _)| batch.last())
    }

    fn stored(&self) -> Stored {
        let now = now_ms();
        let log_ages: Vec<_> = self.log.iter().map(|(_, stamp)| ago(stamp.at_ms, now)).collect();
        let changed = self.log.last().map(|(_, stamp)| stamp.at_ms).or(self.snapshot_ms);
        Stored {
            snapshot: self.snapshot.clone(),
            snapshot_upto: self.snapshot_upto,
            log: self.log.iter().map(|(batch, _)| batch.clone()).collect(),
            changed_ago: changed.map(|at| ago(at, now)),
            log_began_ago: log_ages.first().copied(),
            log_ages,
        }
    }
}

impl Store for MemoryStore {
    fn submit(&self, op: StoreOp, reply: Reply) {
        if self.closed.load(Ordering::Acquire) {
            return reply.failed(StoreFault::new(StoreFaultKind::NotDone, "the store is closed"));
        }
        match op {
            StoreOp::Load { name, .. } => reply.loaded(Ok(self.get(&name))),
            StoreOp::Append(append) => {
                let result = self.lock().append(append);
                match result {
                    Ok(()) => reply.durable(),
                    Err(fault) => reply.failed(fault),
                }
            }
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

impl Browse for MemoryStore {
    fn rooms(&mut self) -> Result<Vec<RoomName>, StoreFault> {
        Ok(self.lock().rooms.keys().cloned().collect())
    }

    fn examine(&mut self, room: &RoomName) -> Result<Examined, StoreFault> {
        let kept = self
            .lock()
            .rooms
            .get(room)
            .cloned()
            .ok_or_else(|| StoreFault::new(StoreFaultKind::Corrupt, "nothing is stored"))?;
        let stored = kept.stored();
        let snapshot = stored.snapshot.as_ref().map(Bytes::len);
        let log: usize = stored.log.iter().map(|batch| batch.framed().len()).sum();
        Ok(Examined {
            rows: (stored.log.len() + usize::from(snapshot.is_some())) as u64,
            bytes: (log + snapshot.unwrap_or(0)) as u64,
            stored,
            stamps: kept.log.into_iter().map(|(_, stamp)| stamp).collect(),
            snapshot_ms: kept.snapshot_ms,
            ..Examined::default()
        })
    }

    fn survey(&mut self) -> Result<Survey, StoreFault> {
        Ok(Survey::default())
    }

    fn restore(&mut self, rows: &[(Append, Stamp)]) -> Result<(), StoreFault> {
        let mut shared = self.lock();
        let before = shared.rooms.clone();
        rows.iter()
            .try_for_each(|(append, stamp)| {
                shared.check(append)?;
                shared.put(append.clone(), stamp.clone());
                Ok(())
            })
            .inspect_err(|_| shared.rooms = before)
    }
}

impl Clone for MemoryStore {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), closed: AtomicBool::new(false) }
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("rooms", &self.lock().rooms.len()).finish()
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

    #[test]
    fn it_has_a_history_while_it_lives() {
        let room = RoomName::new("r").expect("a name");
        let mut store =
            MemoryStore::new().metadata(Metadata::new(|room, _| room.as_str().as_bytes().to_vec()));
        let append = |place| Append {
            room: yroom::RoomId::from_raw(1),
            name: room.clone(),
            batch: Batch::single(Seq(place), &[0, 0]),
        };
        let restored = Stamp { at_ms: 5, metadata: "then".into() };
        store.restore(&[(append(1), restored), (append(2), Stamp::at(6))]).expect("1 and 2");
        store.lock().append(append(3)).expect("3");
        store.restore(&[(append(4), Stamp::at(9)), (append(9), Stamp::at(9))]).expect_err("a hole");
        store.compact(&room, Seq(1), Bytes::from_static(&[0, 0])).expect("up to 1");
        let examined = store.clone().examine(&room).expect("it is there");
        assert_eq!(examined.snapshot_ms, Some(5));
        let said: Vec<&[u8]> = examined.history().map(|it| it.metadata).collect();
        assert_eq!(said, [&b""[..], b"r"]);
        assert!(store.get(&room).changed_ago.is_some_and(|ago| ago.as_secs() < 60));
        assert!(store.get(&room).log_began_ago.is_some_and(|ago| ago.as_secs() > 1_000_000));
        assert_eq!(store.list().expect("one room")[0].updates, 3);
    }
}
