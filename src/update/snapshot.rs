//! A merged update that stays in memory, with a small index for finding what somebody lacks.

use super::content::Kind;
use super::read::{Deletes, Reader, Section, Walk};
use super::scan::{Passed, scan_noting};
use super::write::{self, Writer};
use super::{ClientId, DeleteSet, Scan, ScanLimits, StateVector, UpdateError, diff};
use bytes::Bytes;

/// A document's bytes, what they cover, and where in them to look.
///
/// A mark every few KiB says which struct begins there, so that a diff reads a few KiB for each
/// client that somebody lacks something of, and copies the rest.
#[derive(Clone, Debug)]
pub struct Snapshot {
    bytes: Bytes,
    /// In the order of their places: clients descending, clocks ascending.
    marks: Vec<Mark>,
    states: StateVector,
    /// Where the delete set begins.
    deletes: usize,
    /// Whether it has the form that [`merge`](super::merge) gives to a document without gaps.
    indexed: bool,
}

/// A struct's place.
#[derive(Clone, Copy, Debug)]
struct Mark {
    client: ClientId,
    clock: u32,
    at: u32,
    /// How many structs there are in its section from it on.
    structs: u32,
}

/// The least distance of two marks. A mark takes 24 bytes: 0.6 % of what is between.
const DISTANCE: usize = 4 << 10;

impl Snapshot {
    /// Scans the bytes, once, and keeps them. Fails as [`scan`](super::scan) does.
    pub fn load(bytes: Bytes, limits: &ScanLimits) -> Result<Self, UpdateError> {
        Self::with_scan(bytes, limits).map(|(snapshot, _)| snapshot)
    }

    /// Like [`load`](Self::load), and what the scan has found.
    pub fn with_scan(bytes: Bytes, limits: &ScanLimits) -> Result<(Self, Scan), UpdateError> {
        let mut marks: Vec<Mark> = Vec::new();
        let mut next = 0;
        let (found, deletes) =
            scan_noting(&bytes, limits, |Passed { client, clock, at, structs }| {
                if at >= next {
                    next = at + DISTANCE;
                    marks.push(Mark { client, clock, at: at as u32, structs: structs as u32 });
                }
            })?;
        marks.shrink_to_fit();
        let mut states = StateVector::new();
        let mut indexed = found.regular;
        let mut above = ClientId(u64::MAX);
        for range in &found.ranges {
            indexed &= range.start == 0 && range.client < above;
            above = range.client;
            if range.start <= states.get(range.client) {
                states.raise(range.client, range.end);
            }
        }
        Ok((Self { bytes, marks, states, deletes, indexed }, found))
    }

    /// What somebody who has `have` lacks: the structs beyond and the whole delete set.
    pub fn diff(&self, have: &StateVector) -> Vec<u8> {
        let lacking = || self.states.iter().rev().filter(|&(client, end)| have.get(client) < end);
        // Reading all of it once is quicker than looking for each of very many clients.
        let few = self.marks.len() + 1;
        let result = if self.indexed && lacking().nth(few).is_none() {
            self.diff_by_marks(lacking(), have)
        } else {
            diff(&self.bytes, have)
        };
        // What was scanned is read again without a fault; all of it is never too little.
        result.unwrap_or_else(|_| self.bytes.to_vec())
    }

    fn diff_by_marks(
        &self,
        lacking: impl Iterator<Item = (ClientId, u32)>,
        have: &StateVector,
    ) -> Result<Vec<u8>, UpdateError> {
        let mut out = Writer::default();
        out.reserve(self.bytes.len() - self.deletes + 64);
        for (client, _) in lacking {
            self.write_beyond(client, have.get(client), &mut out)?;
        }
        Ok(out.finish_with(&self.bytes[self.deletes..]))
    }

    /// Writes the client's structs that end beyond `from`.
    fn write_beyond(
        &self,
        client: ClientId,
        from: u32,
        out: &mut Writer,
    ) -> Result<(), UpdateError> {
        let Some(mut walk) = self.walk_to(client, from)? else { return Ok(()) };
        while let Some(first) = walk.next()? {
            if first.end_clock() <= from || first.head.kind == Kind::Skip {
                continue;
            }
            let offset = from.saturating_sub(first.clock);
            let section = out.section(client, first.clock + offset, walk.structs() + 1);
            write::sliced(section, &self.bytes, client, &first, offset)?;
            let end = self.section_end(client, walk)?;
            section.extend_from_slice(&self.bytes[first.end..end]);
            break;
        }
        Ok(())
    }

    /// A walk that stands in the client's section, before the struct that holds the clock.
    fn walk_to(&self, client: ClientId, clock: u32) -> Result<Option<Walk<'_>>, UpdateError> {
        let before = self.marks.partition_point(|mark| {
            mark.client > client || (mark.client == client && mark.clock <= clock)
        });
        let Some(mark) = self.marks[..before].last() else { return Ok(None) };
        let mut walk = self.walk_from(mark);
        while walk.client() != client {
            while walk.next()?.is_some() {}
            if walk.section()?.is_none() {
                return Ok(None);
            }
        }
        Ok(Some(walk))
    }

    /// Where the client's section ends, which the walk is in.
    fn section_end<'a>(
        &'a self,
        client: ClientId,
        mut walk: Walk<'a>,
    ) -> Result<usize, UpdateError> {
        let after = self.marks.partition_point(|mark| mark.client >= client);
        let mark = self.marks[..after].last();
        if let Some(mark) = mark.filter(|mark| mark.client == client)
            && mark.at as usize > walk.reader.at()
        {
            walk = self.walk_from(mark);
        }
        while walk.next()?.is_some() {}
        Ok(walk.reader.at())
    }

    fn walk_from(&self, mark: &Mark) -> Walk<'_> {
        let Mark { client, clock, at, structs } = *mark;
        let section = Section { client, clock, structs: structs as usize };
        // There are as many sections behind it as clients at most.
        Walk::resume(&self.bytes, at as usize, section, self.states.len())
    }

    /// The document.
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// What it holds without gaps.
    pub const fn state_vector(&self) -> &StateVector {
        &self.states
    }

    /// The part of the bytes that is the delete set.
    pub fn delete_set_bytes(&self) -> Bytes {
        self.bytes.slice(self.deletes..)
    }

    /// The delete set, read anew.
    pub fn delete_set(&self) -> DeleteSet {
        let mut set = DeleteSet::new();
        if let Ok(mut deletes) = Deletes::new(Reader::new(&self.bytes[self.deletes..])) {
            while let Ok(Some(range)) = deletes.next() {
                set.insert(range);
            }
        }
        set
    }

    /// About how much memory it holds beyond its bytes.
    pub fn heap_bytes(&self) -> usize {
        self.marks.capacity() * size_of::<Mark>() + self.states.heap_bytes()
    }
}
