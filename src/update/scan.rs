//! One bounded pass over an update: is it well formed, what does it cover, what does it need.

use super::content::Kind;
use super::read::{Check, Walk};
use super::{ClientId, ClockRange, Id, Limit, UpdateError, nesting};
use smallvec::SmallVec;

/// The bounds of what is scanned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanLimits {
    /// Bytes of an update. Default: 64 MiB, a very large document brought at once.
    pub bytes: usize,
    /// Client ids with structs, and likewise with deletions. Default: 65,536: each costs a tree's
    /// entry in every room and every peer that holds the document.
    pub clients: usize,
    /// Structs. Default: 4,000,000: a peer spends some hundred bytes on each.
    pub structs: usize,
    /// Delete ranges. Default: 1,000,000, 8 MiB resident.
    pub delete_ranges: usize,
    /// Nesting of one value. Default: 64, which no editor comes near; JavaScript reads values
    /// recursively and `serde_json`, which other peers use, ends at 128.
    pub depth: usize,
    /// Nesting of types, in an update and in a document. Default: 512, several times what a rich text
    /// has; Yjs throws when it deletes some thousand levels, and other peers overflow their stacks.
    pub types: usize,
}

impl ScanLimits {
    /// None, for what was let in before, perhaps under other limits.
    pub const NONE: Self = Self {
        bytes: usize::MAX,
        clients: usize::MAX,
        structs: usize::MAX,
        delete_ranges: usize::MAX,
        depth: usize::MAX,
        types: usize::MAX,
    };
}

impl Default for ScanLimits {
    fn default() -> Self {
        Self {
            bytes: 64 << 20,
            clients: 65_536,
            structs: 4_000_000,
            delete_ranges: 1_000_000,
            depth: 64,
            types: 512,
        }
    }
}

/// What an update covers and what it needs.
///
/// It can be integrated by whoever holds, for each range in `ranges`, the client's clocks below
/// `start`, and for each id in `needs` the client's clocks up to and including `clock`, or finds
/// them in the update itself. Ids of a struct's own client are always earlier ones, so that they are
/// either in its run or below the run's `start`: they do not stand in `needs`.
#[derive(Clone, Debug, Default)]
pub struct Scan {
    /// The clocks whose structs are present, in the update's order: one range for each run of
    /// structs that follow each other in a section, split where a Skip says that some are missing.
    pub ranges: SmallVec<[ClockRange; 1]>,
    /// Ids of other clients' that structs refer to as origin, right origin or parent. A need of a
    /// clock stands for all clocks below it, so that at most the highest of several need be here.
    pub needs: SmallVec<[Id; 2]>,
    /// The delete set, in the update's order, empty ranges left out.
    pub deletes: SmallVec<[ClockRange; 1]>,
    /// The number of structs, Skips left out.
    pub structs: usize,
    /// How many of them are types.
    pub types: usize,
    /// Whether it has the form that Yjs itself gives to an update without gaps: one section for a
    /// client and none of them empty, no Skip, no empty delete range. An update that has not is
    /// well formed, but not every peer reads it as what it is.
    pub regular: bool,
}

/// Scans an update: everything in it is read once, nothing is built but the [`Scan`].
///
/// Fails if it is malformed or over one of the `limits`; then nothing of it should be used.
pub fn scan(update: &[u8], limits: &ScanLimits) -> Result<Scan, UpdateError> {
    scan_noting(update, limits, |_| {}).map(|(found, _)| found)
}

/// A struct that a scan has come by, and how many there are in its section from it on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Passed {
    pub(super) client: ClientId,
    pub(super) clock: u32,
    pub(super) at: usize,
    pub(super) structs: usize,
}

/// Scans, and tells of each struct; where the delete set begins.
#[inline]
pub(super) fn scan_noting(
    update: &[u8],
    limits: &ScanLimits,
    mut note: impl FnMut(Passed),
) -> Result<(Scan, usize), UpdateError> {
    if update.len() > limits.bytes.min(u32::MAX as usize) {
        return Err(UpdateError::Limit(Limit::TooLarge));
    }
    let mut walk = Walk::new(update, Check::All(limits.depth))?;
    if walk.sections() > limits.clients {
        return Err(UpdateError::Limit(Limit::TooManyClients));
    }
    let mut found = Scan { regular: true, ..Scan::default() };
    let mut above = ClientId(u64::MAX);
    let mut descending = true;
    while let Some(section) = walk.section()? {
        found.structs += section.structs;
        if found.structs > limits.structs {
            return Err(UpdateError::Limit(Limit::TooManyStructs));
        }
        found.regular &= section.structs > 0;
        descending &= section.client < above;
        above = section.client;
        scan_section(&mut walk, section.client, section.clock, &mut found, &mut note)?;
    }
    if !descending && found.regular {
        found.regular = all_differ(found.ranges.iter().map(|range| range.client));
    }
    // As many types as that are needed to nest them so deep.
    if found.types > limits.types {
        nesting::depth(update, found.structs, limits.types)?;
    }
    scan_deletes(walk, limits, &mut found)?;
    Ok((found, walk.reader.at()))
}

#[inline]
fn scan_section(
    walk: &mut Walk<'_>,
    client: ClientId,
    clock: u32,
    found: &mut Scan,
    note: &mut impl FnMut(Passed),
) -> Result<(), UpdateError> {
    let mut run = ClockRange { client, start: clock, end: clock };
    while let Some(read) = walk.next()? {
        let structs = walk.structs() + 1;
        note(Passed { client, clock: read.clock, at: read.head.start, structs });
        found.types += usize::from(read.head.kind == Kind::Type);
        if read.head.kind == Kind::Skip {
            found.regular = false;
            found.structs -= 1;
            if run.start < run.end {
                found.ranges.push(run);
            }
            run.start = read.end_clock();
        } else {
            if let Some(origin) = read.head.origin.filter(|id| id.client != client) {
                need(&mut found.needs, origin);
            }
            if let Some(right) = read.head.right.filter(|id| id.client != client) {
                need(&mut found.needs, right);
            }
            if let Some(parent) = read.head.parent.nested().filter(|id| id.client != client) {
                need(&mut found.needs, parent);
            }
        }
        run.end = read.end_clock();
    }
    if run.start < run.end {
        found.ranges.push(run);
    }
    Ok(())
}

fn scan_deletes(walk: Walk<'_>, limits: &ScanLimits, found: &mut Scan) -> Result<(), UpdateError> {
    let mut deletes = walk.deletes()?;
    if deletes.clients() > limits.clients {
        return Err(UpdateError::Limit(Limit::TooManyClients));
    }
    let mut ranges = 0;
    while let Some(range) = deletes.next()? {
        ranges += 1;
        if ranges > limits.delete_ranges {
            return Err(UpdateError::Limit(Limit::TooManyDeleteRanges));
        }
        if range.start == range.end {
            found.regular = false;
        } else {
            found.deletes.push(range);
        }
    }
    Ok(())
}

/// Notes a need. Before the list grows it is reduced to the highest clock of each client.
#[inline]
fn need(needs: &mut SmallVec<[Id; 2]>, id: Id) {
    if let Some(last) = needs.last_mut().filter(|last| last.client == id.client) {
        last.clock = last.clock.max(id.clock);
        return;
    }
    if needs.len() == needs.capacity() && needs.len() >= 32 {
        needs.sort_unstable_by(|a, b| b.cmp(a));
        needs.dedup_by_key(|id| id.client);
        if needs.len() > needs.capacity() / 2 {
            needs.reserve(needs.capacity() / 2);
        }
    }
    needs.push(id);
}

fn all_differ(clients: impl Iterator<Item = ClientId>) -> bool {
    let mut clients: Vec<_> = clients.collect();
    clients.sort_unstable();
    clients.windows(2).all(|pair| pair[0] != pair[1])
}
