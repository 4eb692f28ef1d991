//! Which clocks' content is deleted.

use super::read::{Deletes, Reader};
use super::{ClientId, ClockRange, Limit, ScanLimits, UpdateError};
use crate::wire::varint;
use std::collections::BTreeMap;
use std::ops::Bound;

/// Deleted clocks as ranges that neither overlap nor touch.
///
/// Ranges lie in chunks of at most 512, so that adding one moves at most 4 KiB however many there
/// are, and a range costs its eight bytes and the chunk's slack.
#[derive(Clone, Debug, Default)]
pub struct DeleteSet {
    /// By client and the start of the first range; no chunk is empty.
    chunks: BTreeMap<(ClientId, u32), Vec<Range>>,
    count: usize,
}

/// Start and end.
type Range = (u32, u32);

const CHUNK: usize = 512;

impl DeleteSet {
    /// One in which nothing is deleted.
    pub const fn new() -> Self {
        Self { chunks: BTreeMap::new(), count: 0 }
    }

    /// Adds a range.
    pub fn insert(&mut self, range: ClockRange) {
        if range.start >= range.end {
            return;
        }
        let Some(key) = self.seat(range.client, range.start) else {
            return self.insert_chunk(range);
        };
        let next = self.next_chunk(key);
        let Some(chunk) = self.chunks.get_mut(&key) else { return };
        let from = chunk.partition_point(|r| r.1 < range.start);
        let upto = from + chunk[from..].partition_point(|r| r.0 <= range.end);
        if from == chunk.len() && chunk.len() >= CHUNK && next.is_none() {
            return self.insert_chunk(range);
        }
        let mut joined = (range.start, range.end);
        if from == upto {
            chunk.insert(from, joined);
            self.count += 1;
        } else {
            joined = (joined.0.min(chunk[from].0), joined.1.max(chunk[upto - 1].1));
            chunk[from] = joined;
            chunk.drain(from + 1..upto);
            self.count -= upto - from - 1;
        }
        let (last, len, first) = (from + 1 == chunk.len(), chunk.len(), chunk[0].0);
        if last && next.is_some_and(|next| next.1 <= joined.1) {
            self.absorb(key, joined.1);
        }
        if first != key.1 {
            self.rekey(key);
        } else if len > CHUNK {
            self.split(key);
        }
    }

    /// Whether all of the range is deleted.
    pub fn contains(&self, range: ClockRange) -> bool {
        self.at_or_before(range.client, range.start).is_some_and(|r| r.1 >= range.end)
    }

    /// Whether any of the range is deleted.
    pub fn intersects(&self, range: ClockRange) -> bool {
        self.at_or_before(range.client, range.start).is_some_and(|r| r.1 > range.start)
            || self.from(range.client, range.start).next().is_some_and(|r| r.0 < range.end)
    }

    /// Adds the other's ranges.
    pub fn union(&mut self, other: &Self) {
        if other.count < self.count / 8 {
            other.iter().for_each(|range| self.insert(range));
            return;
        }
        let (mut ours, mut theirs) = (self.iter().peekable(), other.iter().peekable());
        let mut joined = Builder::default();
        while let Some(range) = match (ours.peek(), theirs.peek()) {
            (Some(a), Some(b)) if (b.client, b.start) < (a.client, a.start) => theirs.next(),
            (Some(_), _) => ours.next(),
            (None, _) => theirs.next(),
        } {
            joined.push(range);
        }
        drop(ours);
        *self = joined.done();
    }

    /// What is deleted here and not in the other.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        let mut left = Builder::default();
        for range in self.iter() {
            other.uncovered(range, |piece| left.push(piece));
        }
        left.done()
    }

    /// Calls `each` for the parts of the range that are not deleted, in order.
    pub(super) fn uncovered(&self, range: ClockRange, mut each: impl FnMut(ClockRange)) {
        let mut at = range.start;
        if let Some(before) = self.at_or_before(range.client, at) {
            at = at.max(before.1);
        }
        if at < range.end {
            for next in self.from(range.client, at).take_while(|next| next.0 < range.end) {
                if at < next.0 {
                    each(ClockRange { start: at, end: next.0, ..range });
                }
                at = next.1;
            }
        }
        if at < range.end {
            each(ClockRange { start: at, ..range });
        }
    }

    /// The ranges, by client and clock.
    pub fn iter(&self) -> impl Iterator<Item = ClockRange> + '_ {
        self.chunks.iter().flat_map(|(&(client, _), chunk)| {
            chunk.iter().map(move |&(start, end)| ClockRange { client, start, end })
        })
    }

    /// The number of ranges.
    pub fn range_count(&self) -> usize {
        self.count
    }

    /// Whether nothing is deleted.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Reads the encoded form: the end of an update.
    ///
    /// Fails if it is malformed or over the `limits`.
    pub fn decode(bytes: &[u8], limits: &ScanLimits) -> Result<Self, UpdateError> {
        if bytes.len() > limits.bytes {
            return Err(UpdateError::Limit(Limit::TooLarge));
        }
        let mut deletes = Deletes::new(Reader::new(bytes))?;
        if deletes.clients() > limits.clients {
            return Err(UpdateError::Limit(Limit::TooManyClients));
        }
        let mut read = Self::new();
        let mut ranges = 0;
        while let Some(range) = deletes.next()? {
            ranges += 1;
            if ranges > limits.delete_ranges {
                return Err(UpdateError::Limit(Limit::TooManyDeleteRanges));
            }
            read.insert(range);
        }
        Ok(read)
    }

    /// The encoded form, clients in descending order as Yjs has them.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(1 + 6 * self.count);
        self.encode_into(&mut out);
        out
    }

    pub(super) fn encode_into(&self, out: &mut Vec<u8>) {
        let mut clients: Vec<ClientId> = Vec::new();
        for &(client, _) in self.chunks.keys() {
            if clients.last() != Some(&client) {
                clients.push(client);
            }
        }
        varint::write(out, clients.len() as u64);
        for &client in clients.iter().rev() {
            let chunks = || self.chunks.range((client, 0)..=(client, u32::MAX)).map(|(_, c)| c);
            varint::write(out, client.0);
            varint::write(out, chunks().map(Vec::len).sum::<usize>() as u64);
            for &(start, end) in chunks().flatten() {
                varint::write(out, u64::from(start));
                varint::write(out, u64::from(end - start));
            }
        }
    }

    /// About how much memory it holds outside itself.
    pub fn heap_bytes(&self) -> usize {
        let ranges: usize = self.chunks.values().map(Vec::capacity).sum();
        let entry = size_of::<(ClientId, u32)>() + size_of::<Vec<Range>>() + 2;
        ranges * size_of::<Range>() + self.chunks.len() * entry * 3 / 2
    }

    /// The chunk that a range of this start belongs in.
    fn seat(&self, client: ClientId, start: u32) -> Option<(ClientId, u32)> {
        let before = self.chunks.range(..=(client, start)).next_back();
        before.filter(|(key, _)| key.0 == client).map(|(&key, _)| key).or_else(|| {
            let first = self.chunks.range((client, start)..).next();
            first.filter(|(key, _)| key.0 == client).map(|(&key, _)| key)
        })
    }

    fn next_chunk(&self, key: (ClientId, u32)) -> Option<(ClientId, u32)> {
        let next = self.chunks.range((Bound::Excluded(key), Bound::Unbounded)).next()?;
        (next.0.0 == key.0).then_some(*next.0)
    }

    /// The last range that starts at or before `start`.
    fn at_or_before(&self, client: ClientId, start: u32) -> Option<Range> {
        let (key, chunk) = self.chunks.range(..=(client, start)).next_back()?;
        if key.0 != client {
            return None;
        }
        chunk[..chunk.partition_point(|r| r.0 <= start)].last().copied()
    }

    /// The client's ranges that start at or after `start`.
    fn from(&self, client: ClientId, start: u32) -> impl Iterator<Item = Range> + '_ {
        let key = self.seat(client, start).unwrap_or((client, start));
        let mut chunks = self.chunks.range(key..=(client, u32::MAX)).map(|(_, chunk)| &chunk[..]);
        let first = chunks.next().unwrap_or_default();
        let first = &first[first.partition_point(|r| r.0 < start)..];
        first.iter().chain(chunks.flatten()).copied()
    }

    /// Lets the last range of the chunk at `key`, which now ends at `end`, take in what it reaches
    /// in the chunks that follow.
    fn absorb(&mut self, key: (ClientId, u32), mut end: u32) {
        while let Some(next) = self.next_chunk(key).filter(|next| next.1 <= end) {
            let Some(mut chunk) = self.chunks.remove(&next) else { return };
            let taken = chunk.partition_point(|r| r.0 <= end);
            end = end.max(chunk[taken - 1].1);
            chunk.drain(..taken);
            self.count -= taken;
            if let Some(first) = chunk.first() {
                self.chunks.insert((key.0, first.0), chunk);
            }
        }
        if let Some(last) = self.chunks.get_mut(&key).and_then(|chunk| chunk.last_mut()) {
            last.1 = end;
        }
    }

    fn rekey(&mut self, key: (ClientId, u32)) {
        let Some(chunk) = self.chunks.remove(&key) else { return };
        let key = (key.0, chunk[0].0);
        let len = chunk.len();
        self.chunks.insert(key, chunk);
        if len > CHUNK {
            self.split(key);
        }
    }

    fn split(&mut self, key: (ClientId, u32)) {
        let Some(chunk) = self.chunks.get_mut(&key) else { return };
        let upper = chunk.split_off(chunk.len() / 2);
        self.chunks.insert((key.0, upper[0].0), upper);
    }

    fn insert_chunk(&mut self, range: ClockRange) {
        self.chunks.insert((range.client, range.start), vec![(range.start, range.end)]);
        self.count += 1;
    }
}

impl PartialEq for DeleteSet {
    fn eq(&self, other: &Self) -> bool {
        self.count == other.count && self.iter().eq(other.iter())
    }
}

impl Eq for DeleteSet {}

impl FromIterator<ClockRange> for DeleteSet {
    fn from_iter<I: IntoIterator<Item = ClockRange>>(ranges: I) -> Self {
        let mut set = Self::new();
        set.extend(ranges);
        set
    }
}

impl Extend<ClockRange> for DeleteSet {
    fn extend<I: IntoIterator<Item = ClockRange>>(&mut self, ranges: I) {
        ranges.into_iter().for_each(|range| self.insert(range));
    }
}

/// Makes a set of ranges that come in order, full chunk by full chunk.
#[derive(Default)]
struct Builder {
    set: DeleteSet,
    client: Option<ClientId>,
    chunk: Vec<Range>,
}

impl Builder {
    fn push(&mut self, range: ClockRange) {
        let same = self.client == Some(range.client);
        if let Some(last) = self.chunk.last_mut().filter(|last| same && range.start <= last.1) {
            last.1 = last.1.max(range.end);
            return;
        }
        if !same || self.chunk.len() == CHUNK {
            self.flush();
            self.client = Some(range.client);
        }
        self.chunk.push((range.start, range.end));
    }

    fn flush(&mut self) {
        if let (Some(client), Some(first)) = (self.client, self.chunk.first()) {
            self.set.count += self.chunk.len();
            self.set.chunks.insert((client, first.0), self.chunk.as_slice().to_vec());
            self.chunk.clear();
        }
    }

    fn done(mut self) -> DeleteSet {
        self.flush();
        self.set
    }
}
