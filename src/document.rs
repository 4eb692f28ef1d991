//! A room's document as bytes: a snapshot, a tail of updates, and what they cover.

use crate::config::Limits;
use crate::error::{Fault, FaultKind, StoreFault, StoreFaultKind};
use crate::io::{Batch, Seq, Stored};
use crate::update::{
    self, ClientId, DeleteSet, Scan, ScanLimits, Snapshot, StateVector, UpdateError,
};
use crate::wire::{encode, varint};
use bytes::Bytes;
use std::borrow::Cow;

/// The snapshot holds the updates up to the place `folded`, the tail those after it, so that
/// whoever joins can be given exactly what others may see already.
#[derive(Debug)]
pub(crate) struct Document {
    /// The snapshot as the SyncStep2 frame that a newcomer gets: shared, never copied for one.
    frame: Bytes,
    snapshot: Bytes,
    /// Finds what somebody lacks of the snapshot; made when somebody who has a part of it asks.
    index: Option<Snapshot>,
    folded: Seq,
    tail: Tail,
    known: StateVector,
    deleted: DeleteSet,
    /// Types are nested at most so deep; see [`deepen`](Document::deepen).
    levels: usize,
}

/// So much of a log is folded in one go when it is loaded.
const LOADED_BYTES: usize = 64 << 20;

/// So many types are not looked at closer: they nest at most as deep as they are many.
const FEW_TYPES: usize = 16;

/// What is to be done with an update.
#[derive(Debug)]
pub(crate) enum Verdict<'a> {
    /// The room has all of it.
    Nothing,
    /// The part of it that is new and can be integrated now. If `gap`, something is left out that
    /// depends on what the room does not have.
    Accept { part: Cow<'a, [u8]>, scan: Scan, gap: bool },
    /// All that is new of it depends on what the room does not have.
    Gap,
}

impl Default for Document {
    /// The document of a room that was never stored.
    fn default() -> Self {
        Self::empty(Seq::ZERO)
    }
}

impl Document {
    /// What a store had, scanned anew; everything in it is taken to be durable.
    pub(crate) fn load(stored: &Stored) -> Result<Self, StoreFault> {
        let corrupt = |what: &str, error: UpdateError| {
            StoreFault::new(StoreFaultKind::Corrupt, format!("stored {what}: {error}"))
        };
        // What was let in is let out again, even if the limits are tighter today.
        let mut document = Self::empty(stored.snapshot_upto);
        if let Some(snapshot) = &stored.snapshot {
            let scan =
                update::scan(snapshot, &ScanLimits::NONE).map_err(|e| corrupt("snapshot", e))?;
            document.levels += scan.types;
            document.cover(&scan);
            document.set_snapshot(snapshot);
        }
        for update in stored.log.iter().flat_map(Batch::updates) {
            let scan = update::scan(update, &ScanLimits::NONE).map_err(|e| corrupt("update", e))?;
            document.levels += scan.types;
            document.accept(update, &scan);
            // A log that is kept for ever is longer than what is merged at once.
            if document.tail.framed.len() > LOADED_BYTES {
                document.fold_loaded()?;
            }
        }
        document.fold_loaded()?;
        Ok(document)
    }

    fn fold_loaded(&mut self) -> Result<(), StoreFault> {
        if self.bytes() > update::MERGE_BYTES {
            let limit = update::MERGE_BYTES;
            let message = format!("the document is over the limit of {limit} bytes");
            return Err(StoreFault::new(StoreFaultKind::NotDone, message));
        }
        self.fold(Seq(self.folded.0 + self.tail.count));
        Ok(())
    }

    fn empty(folded: Seq) -> Self {
        let mut document = Self {
            frame: Bytes::new(),
            snapshot: Bytes::new(),
            index: None,
            folded,
            tail: Tail::default(),
            known: StateVector::default(),
            deleted: DeleteSet::default(),
            levels: 0,
        };
        document.set_snapshot(update::EMPTY);
        document
    }

    /// Bytes of the encoded document, tail included.
    pub(crate) fn bytes(&self) -> usize {
        self.snapshot.len() + self.tail.framed.len()
    }

    pub(crate) const fn known(&self) -> &StateVector {
        &self.known
    }

    pub(crate) const fn snapshot(&self) -> &Bytes {
        &self.snapshot
    }

    /// How many of an update's client ids the room does not know.
    pub(crate) fn new_clients(&self, scan: &Scan) -> usize {
        scan.ranges.iter().filter(|range| self.known.get(range.client) == 0).count()
    }

    /// Judges an update by what the room has.
    pub(crate) fn judge<'a>(
        &self,
        update: &'a [u8],
        limits: &Limits,
    ) -> Result<Verdict<'a>, Fault> {
        let scan = update::scan(update, &limits.update)?;
        if self.continues(&scan) {
            self.check_limits(update, &scan, limits)?;
            return Ok(Verdict::Accept { part: Cow::Borrowed(update), scan, gap: false });
        }
        if !self.adds(&scan) {
            return Ok(Verdict::Nothing);
        }
        let ready = update::ready_part(update, &self.known, &limits.update)?;
        let gap = !ready.missing.is_empty();
        let Some(part) = ready.part else { return Ok(Verdict::Gap) };
        let part = match part {
            Cow::Borrowed(part) => update::novel_part(part, &self.known, &self.deleted)?,
            Cow::Owned(part) => update::novel_part(&part, &self.known, &self.deleted)?
                .map(|part| Cow::Owned(part.into_owned())),
        };
        let Some(part) = part else {
            return Ok(if gap { Verdict::Gap } else { Verdict::Nothing });
        };
        let scan = update::scan(&part, &limits.update)?;
        self.check_limits(&part, &scan, limits)?;
        Ok(Verdict::Accept { part, scan, gap })
    }

    /// The common case, decided without another pass: every struct follows the last known one of
    /// its client, everything it refers to is known, and every deletion is new.
    fn continues(&self, scan: &Scan) -> bool {
        // An irregular one is not relayed as it came: not every peer reads it as what it is.
        if !scan.regular {
            return false;
        }
        // Regular: each client stands in it once.
        !(scan.ranges.is_empty() && scan.deletes.is_empty())
            && scan.ranges.iter().all(|range| self.known.get(range.client) == range.start)
            && scan.needs.iter().all(|id| id.clock < self.known.get(id.client))
            && self.deletes_are_new(scan)
    }

    fn deletes_are_new(&self, scan: &Scan) -> bool {
        scan.deletes.iter().all(|range| {
            range.end <= self.known.get(range.client) && !self.deleted.intersects(*range)
        })
    }

    fn adds(&self, scan: &Scan) -> bool {
        scan.ranges.iter().any(|range| range.end > self.known.get(range.client))
            || scan.deletes.iter().any(|range| !self.deleted.contains(*range))
    }

    fn check_limits(&self, part: &[u8], scan: &Scan, limits: &Limits) -> Result<(), Fault> {
        let new_clients = self.new_clients(scan);
        let document_bytes = limits.document_bytes.min(update::MERGE_BYTES);
        if self.bytes() + part.len() > document_bytes {
            Err(over("the document is at its limit of bytes", document_bytes))
        } else if self.known.len() + new_clients > limits.clients_per_document {
            Err(over("the document is at its limit of client ids", limits.clients_per_document))
        } else if self.deleted.range_count() + scan.deletes.len()
            > limits.delete_ranges_per_document
        {
            let limit = limits.delete_ranges_per_document;
            Err(over("the document is at its limit of delete ranges", limit))
        } else {
            Ok(())
        }
    }

    /// Refuses an update that was judged acceptable if types are nested too deep with it: small
    /// updates can build what one is not allowed to, level by level. Says how many bytes had to be
    /// read for that.
    ///
    /// What an update nests is added to what the document nests at most. Only when that sum, which
    /// is nearly always too large a guess, is over the limit, the document is read to know.
    pub(crate) fn deepen(
        &mut self,
        update: &[u8],
        scan: &Scan,
        limits: &Limits,
    ) -> Result<usize, Fault> {
        let limit = limits.update.types;
        if scan.types == 0 {
            return Ok(0);
        }
        let own = if scan.types <= FEW_TYPES {
            scan.types
        } else {
            update::depth(update, scan.structs, limit)?
        };
        if self.levels.saturating_add(own) <= limit {
            self.levels += own;
            return Ok(0);
        }
        let (tail, _) = self.tail.first(self.tail.count);
        let whole = std::iter::once(&self.snapshot[..]).chain(tail).chain([update]);
        let merged = update::merge(&whole.collect::<Vec<_>>())?;
        self.levels = update::depth(&merged, 0, limit)?;
        Ok(merged.len())
    }

    /// Takes in an update that was judged acceptable; it stands at the next place.
    pub(crate) fn accept(&mut self, update: &[u8], scan: &Scan) {
        self.cover(scan);
        self.tail.push(update);
    }

    fn cover(&mut self, scan: &Scan) {
        for range in &scan.ranges {
            self.known.raise(range.client, range.end);
        }
        if scan.deletes.len() <= 4 {
            scan.deletes.iter().for_each(|range| self.deleted.insert(*range));
        } else {
            // Two sorted lists are joined in one pass, where inserting one by one would shift.
            let mut deletes = DeleteSet::new();
            scan.deletes.iter().for_each(|range| deletes.insert(*range));
            self.deleted.union(&deletes);
        }
    }

    /// Whether the tail is long enough that folding it pays.
    pub(crate) fn wants_folding(&self, limits: &Limits) -> bool {
        let tail = self.tail.framed.len();
        tail > limits.tail_bytes && tail > self.snapshot.len() / 4
    }

    /// Folds the tail up to the place `upto` into the snapshot.
    pub(crate) fn fold(&mut self, upto: Seq) {
        let count = upto.0.saturating_sub(self.folded.0).min(self.tail.count);
        if count == 0 {
            return;
        }
        let (updates, end) = self.tail.first(count);
        let parts: Vec<&[u8]> = std::iter::once(&self.snapshot[..]).chain(updates).collect();
        let merged =
            update::merge(&parts).expect("everything in a document was scanned when it came");
        self.set_snapshot(&merged);
        self.tail.remove(count, end);
        self.folded = Seq(self.folded.0 + count);
    }

    fn set_snapshot(&mut self, snapshot: &[u8]) {
        self.index = None;
        self.frame = encode::sync_step2(snapshot);
        self.snapshot = self.frame.slice(self.frame.len() - snapshot.len()..);
        debug_assert_eq!(self.frame.len(), 2 + varint::len(snapshot.len() as u64) + snapshot.len());
    }

    /// The SyncStep2 frame for a peer that has `have`, of everything up to the place `visible`.
    pub(crate) fn sync_step2(&mut self, have: &StateVector, visible: Seq) -> Bytes {
        self.fold(visible);
        if have.is_empty() { self.frame.clone() } else { encode::sync_step2(&self.lacking(have)) }
    }

    /// What a peer that has `have` lacks of everything up to the place `visible`.
    pub(crate) fn diff(&mut self, have: &StateVector, visible: Seq) -> Vec<u8> {
        self.fold(visible);
        self.lacking(have)
    }

    fn lacking(&mut self, have: &StateVector) -> Vec<u8> {
        let index = self.index.get_or_insert_with(|| {
            Snapshot::load(self.snapshot.clone(), &ScanLimits::NONE)
                .expect("a snapshot is well formed")
        });
        index.diff(have)
    }

    /// The state vector without the structs at or after the given ids.
    pub(crate) fn known_before(
        &self,
        hidden: impl Iterator<Item = (ClientId, u32)>,
    ) -> StateVector {
        let mut hidden: Vec<(ClientId, u32)> = hidden.collect();
        hidden.sort_unstable();
        hidden.dedup_by_key(|(client, _)| *client);
        let mut seen = StateVector::default();
        for (client, clock) in self.known.iter() {
            let cap = hidden.binary_search_by_key(&client, |(client, _)| *client);
            seen.raise(client, cap.map_or(clock, |at| clock.min(hidden[at].1)));
        }
        seen
    }
}

/// Updates one after the other in one buffer, each with its length before it: a keystroke costs its
/// bytes and one more.
#[derive(Debug, Default)]
struct Tail {
    framed: Vec<u8>,
    count: u64,
}

impl Tail {
    fn push(&mut self, update: &[u8]) {
        varint::write(&mut self.framed, update.len() as u64);
        self.framed.extend_from_slice(update);
        self.count += 1;
    }

    /// The first `count` updates, and where they end.
    fn first(&self, count: u64) -> (Vec<&[u8]>, usize) {
        let mut rest = &self.framed[..];
        let updates = (0..count).map_while(|_| {
            let len = varint::read(&mut rest)? as usize;
            let (update, after) = rest.split_at_checked(len)?;
            rest = after;
            Some(update)
        });
        let updates = updates.collect();
        (updates, self.framed.len() - rest.len())
    }

    fn remove(&mut self, count: u64, end: usize) {
        self.count -= count;
        if self.count == 0 {
            // A room that has gone quiet gives the buffer back.
            self.framed = Vec::new();
        } else {
            self.framed.drain(..end);
        }
    }
}

fn over(what: &str, limit: usize) -> Fault {
    Fault::new(FaultKind::Limit, format!("{what} ({limit})"))
}
