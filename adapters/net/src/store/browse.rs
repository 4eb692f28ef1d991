//! Going through a store room by room: for checks, exports and statistics.

use super::{Stamp, rules};
use yroom::{Append, Batch, RoomName, Seq, StoreFault, Stored};

/// A store whose rooms can be gone through, damaged ones included.
pub trait Browse {
    /// The names of all rooms, sorted.
    fn rooms(&mut self) -> Result<Vec<RoomName>, StoreFault>;

    /// Reads what is sound of `room`: everything from its beginning up to the first damage.
    fn examine(&mut self, room: &RoomName) -> Result<Examined, StoreFault>;

    /// What is found of the medium itself, apart from rooms.
    fn survey(&mut self) -> Result<Survey, StoreFault>;

    /// Each room with its size and the time of its last change, sorted by name. Damaged rooms are
    /// there with what is sound of them, or with nothing.
    fn list(&mut self) -> Result<Vec<Listed>, StoreFault> {
        let names = self.rooms()?;
        Ok(names
            .into_iter()
            .map(|name| self.examine(&name).unwrap_or_default().listed(name))
            .collect())
    }

    /// Stores a batch with the time and metadata that it has elsewhere, for imports; otherwise as
    /// [`BlockingStore::append`](super::BlockingStore::append) does.
    fn restore(&mut self, rows: &[(Append, Stamp)]) -> Result<(), StoreFault>;
}

/// A room in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Which.
    pub name: RoomName,
    /// Updates that were ever stored: the last place.
    pub updates: u64,
    /// Snapshot and batches.
    pub rows: u64,
    /// Their bytes.
    pub bytes: u64,
    /// When the last of them was written, in milliseconds since 1970.
    pub changed_ms: Option<i64>,
}

/// A part of a room's history: updates that were stored together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The place of the first update.
    pub first: Seq,
    /// The place of the last.
    pub last: Seq,
    /// When they were stored, in milliseconds since 1970.
    pub at_ms: i64,
    /// What the application said about them; empty if nothing.
    pub metadata: &'a [u8],
    /// Bytes of the updates.
    pub bytes: usize,
    /// The updates.
    pub batch: &'a Batch,
}

/// What is found of a store's medium; one sentence each.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// What is wrong.
    pub problems: Vec<String>,
    /// What crashes have left; harmless.
    pub remnants: Vec<String>,
}

/// What was found of a room.
#[derive(Clone, Debug, Default)]
pub struct Examined {
    /// The sound part.
    pub stored: Stored,
    /// What stands beside each batch of its log.
    pub stamps: Vec<Stamp>,
    /// When the last of what the snapshot covers was written, in milliseconds since 1970.
    pub snapshot_ms: Option<i64>,
    /// Snapshot and batches in the sound part.
    pub rows: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What is wrong behind the sound part.
    pub damage: Option<String>,
    /// What is left of a crash; harmless, and put right when the room is written to.
    pub remnant: Option<String>,
}

impl Examined {
    /// What the log has behind the snapshot, in order: who wants all of a room's history has to keep
    /// it ([`History::KEEP_ALL`](yroom::History::KEEP_ALL)).
    pub fn history(&self) -> impl Iterator<Item = Entry<'_>> {
        self.stored.log.iter().zip(&self.stamps).map(|(batch, stamp)| Entry {
            first: batch.first(),
            last: batch.last(),
            at_ms: stamp.at_ms,
            metadata: &stamp.metadata,
            bytes: batch.framed().len(),
            batch,
        })
    }

    /// When the last of what is stored was written, in milliseconds since 1970.
    pub fn changed_ms(&self) -> Option<i64> {
        self.stamps.last().map(|stamp| stamp.at_ms).or(self.snapshot_ms)
    }

    fn listed(&self, name: RoomName) -> Listed {
        let updates = self.stored.last().0;
        let Self { rows, bytes, .. } = *self;
        Listed { name, updates, rows, bytes, changed_ms: self.changed_ms() }
    }
}

/// What [`check`] says of a room.
#[derive(Clone, Debug)]
pub struct RoomReport {
    /// Which.
    pub name: RoomName,
    /// The last place that its snapshot covers.
    pub snapshot_upto: Seq,
    /// The last place that can be read.
    pub readable_upto: Seq,
    /// Snapshot and batches that can be read.
    pub rows: u64,
    /// Their bytes.
    pub bytes: u64,
    /// When the last of them was written, in milliseconds since 1970.
    pub changed_ms: Option<i64>,
    /// What is wrong, if anything is; the room cannot be loaded then.
    pub damage: Option<String>,
    /// What is left of a crash; harmless, and put right when the room is written to.
    pub remnant: Option<String>,
}

/// What [`check`] found in all.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Rooms, damaged ones included.
    pub rooms: u64,
    /// Damaged rooms.
    pub damaged: u64,
    /// Snapshots and batches that can be read.
    pub rows: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What is found of the medium itself.
    pub medium: Survey,
}

impl Summary {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.damaged == 0 && self.medium.problems.is_empty()
    }
}

/// Reads everything that a store has: every checksum, every place, every update. Changes nothing.
///
/// What is wrong with a room stands in its report. Fails only if the store itself cannot be read.
pub fn check(
    store: &mut (impl Browse + ?Sized),
    mut each: impl FnMut(&RoomReport),
) -> Result<Summary, StoreFault> {
    let mut summary = Summary { medium: store.survey()?, ..Summary::default() };
    for name in store.rooms()? {
        let report = report(store, name);
        summary.rooms += 1;
        summary.damaged += u64::from(report.damage.is_some());
        summary.rows += report.rows;
        summary.bytes += report.bytes;
        each(&report);
    }
    Ok(summary)
}

fn report(store: &mut (impl Browse + ?Sized), name: RoomName) -> RoomReport {
    let examined = store
        .examine(&name)
        .unwrap_or_else(|fault| Examined { damage: Some(fault.message), ..Examined::default() });
    let changed_ms = examined.changed_ms();
    let Examined { stored, rows, bytes, damage, remnant, .. } = examined;
    let (readable_upto, broken) = rules::check_content(&stored);
    RoomReport {
        name,
        snapshot_upto: stored.snapshot_upto,
        readable_upto,
        rows,
        bytes,
        changed_ms,
        damage: broken.or(damage),
        remnant,
    }
}
