//! What of an update can be integrated now.

use super::content::Kind;
use super::read::{Check, Section, Struct, Walk};
use super::write::Writer;
use super::{
    ClientId, ClockRange, DeleteSet, Id, Scan, ScanLimits, StateVector, UpdateError, merge, scan,
};
use std::borrow::Cow;
use std::collections::BTreeSet;

/// What of an update somebody can integrate, and what it waits for.
#[derive(Clone, Debug)]
pub struct Ready<'a> {
    /// The causally complete part: the update itself if that is all of it, none if it is empty.
    /// It has no Skip and one section for a client.
    pub part: Option<Cow<'a, [u8]>>,
    /// The scan of the part.
    pub scan: Scan,
    /// What has to come first for something that was left out; empty if nothing was. One id for
    /// each thing that is waited for, which may be in the update itself if it waits in turn.
    pub missing: Vec<Id>,
}

/// Takes from an update what can be integrated by one who holds `known`: structs whose own client's
/// clocks, origins and parents are all known or taken too, and the delete ranges of such structs.
///
/// Structs below `known` that stand before others may be left out.
pub fn ready_part<'a>(
    update: &'a [u8],
    known: &StateVector,
    limits: &ScanLimits,
) -> Result<Ready<'a>, UpdateError> {
    let found = scan(update, limits)?;
    if found.regular && depends_on_known_only(&found, known) {
        let part = (found.structs > 0 || !found.deletes.is_empty()).then_some(update.into());
        return Ok(Ready { part, scan: found, missing: Vec::new() });
    }
    if found.regular {
        return integrate(update.into(), found, known, limits);
    }
    drop(found);
    // Several sections for one client, or oddities that peers read in different ways.
    let plain = merge(&[update])?;
    let found = scan(&plain, limits)?;
    integrate(plain.into(), found, known, limits)
}

/// Whether nothing in the update refers to anything but what is known and a run of its own.
fn depends_on_known_only(found: &Scan, known: &StateVector) -> bool {
    found.ranges.iter().all(|range| range.start <= known.get(range.client))
        && found.needs.iter().all(|id| id.clock < known.get(id.client))
        && found.deletes.iter().all(|range| {
            range.end <= known.get(range.client)
                || matches!(&found.ranges[..], [only] if only.client == range.client
                    && range.end <= only.end)
        })
}

/// Integrates as Yjs does, client by client and struct by struct, but for the content.
fn integrate<'a>(
    update: Cow<'a, [u8]>,
    found: Scan,
    known: &StateVector,
    limits: &ScanLimits,
) -> Result<Ready<'a>, UpdateError> {
    let (mut integration, deletes) = Integration::new(&update, known)?;
    integration.run()?;
    let (ready_deletes, all) = integration.ready_deletes(deletes)?;
    let mut missing = integration.missing;
    missing.extend(integration.waiting.iter().map(|wait| Id {
        client: integration.cursors[wait.on as usize].client,
        clock: wait.clock,
    }));
    missing.sort_unstable();
    missing.dedup();
    if missing.is_empty() && found.regular && all {
        return Ok(Ready { part: Some(update), scan: found, missing });
    }
    let mut part = Writer::default();
    for cursor in integration.cursors.iter().rev() {
        cursor.write(&update, &mut part);
    }
    let part = part.finish(&ready_deletes);
    if part == super::EMPTY {
        return Ok(Ready { part: None, scan: Scan::default(), missing });
    }
    let scan = scan(&part, limits)?;
    Ok(Ready { part: Some(part.into()), scan, missing })
}

struct Integration<'a> {
    update: &'a [u8],
    known: &'a StateVector,
    /// By client.
    cursors: Vec<Cursor>,
    waiting: BTreeSet<Wait>,
    missing: Vec<Id>,
}

/// One cursor waits until another has reached a clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Wait {
    on: u32,
    clock: u32,
    waiter: u32,
}

/// How far a client's section is integrated.
#[derive(Clone, Copy, Debug)]
struct Cursor {
    client: ClientId,
    /// All clocks below are known or integrated.
    reached: u32,
    /// The clock and the offset of the next struct, and how many there are from it on.
    clock: u32,
    at: u32,
    left: u32,
    /// The clock and the offset of the first struct that is not all known, and how many since.
    first_clock: u32,
    first_at: u32,
    taken: u32,
}

/// What keeps a struct from being integrated.
enum Blocked {
    On(Wait),
    Missing(Id),
}

impl<'a> Integration<'a> {
    fn new(update: &'a [u8], known: &'a StateVector) -> Result<(Self, Walk<'a>), UpdateError> {
        let mut walk = Walk::new(update, Check::Bounds)?;
        let mut cursors = Vec::with_capacity(walk.sections());
        while let Some(section) = walk.section()? {
            cursors.push(Cursor {
                client: section.client,
                reached: known.get(section.client),
                clock: section.clock,
                at: walk.reader.at() as u32,
                left: section.structs as u32,
                first_clock: 0,
                first_at: 0,
                taken: 0,
            });
            while walk.next()?.is_some() {}
        }
        cursors.sort_unstable_by_key(|cursor| cursor.client);
        let (waiting, missing) = (BTreeSet::new(), Vec::new());
        Ok((Self { update, known, cursors, waiting, missing }, walk))
    }

    fn run(&mut self) -> Result<(), UpdateError> {
        let mut runnable: Vec<u32> = (0..self.cursors.len() as u32).collect();
        while let Some(i) = runnable.pop() {
            match self.advance(i)? {
                None => {}
                Some(Blocked::On(wait)) => drop(self.waiting.insert(wait)),
                Some(Blocked::Missing(id)) => self.missing.push(id),
            }
            let reached = self.cursors[i as usize].reached;
            let from = Wait { on: i, clock: 0, waiter: 0 };
            let until = Wait { on: i, clock: reached, waiter: 0 };
            while let Some(&wait) = self.waiting.range(from..until).next() {
                self.waiting.remove(&wait);
                runnable.push(wait.waiter);
            }
        }
        Ok(())
    }

    /// Integrates a client's structs until one is blocked.
    fn advance(&mut self, i: u32) -> Result<Option<Blocked>, UpdateError> {
        let mut cursor = self.cursors[i as usize];
        let mut walk = cursor.walk(self.update);
        let mut blocked = None;
        let known = self.known.get(cursor.client);
        while let Some(read) = walk.next()? {
            if read.end_clock() > known {
                if read.head.kind == Kind::Skip || read.clock > cursor.reached {
                    let clock = cursor.reached;
                    blocked = Some(Blocked::Missing(Id { client: cursor.client, clock }));
                } else {
                    blocked = self.blocked(i, cursor.client, &read);
                }
                if blocked.is_some() {
                    break;
                }
                if cursor.taken == 0 {
                    (cursor.first_clock, cursor.first_at) = (read.clock, read.head.start as u32);
                }
                cursor.taken += 1;
                cursor.reached = read.end_clock();
            }
            cursor.clock = read.end_clock();
            cursor.at = read.end as u32;
            cursor.left -= 1;
        }
        self.cursors[i as usize] = cursor;
        Ok(blocked)
    }

    fn blocked(&self, waiter: u32, client: ClientId, read: &Struct) -> Option<Blocked> {
        for id in read.head.references().filter(|id| id.client != client) {
            match self.cursors.binary_search_by_key(&id.client, |cursor| cursor.client) {
                Ok(on) if id.clock < self.cursors[on].reached => {}
                Ok(on) => {
                    let wait = Wait { on: on as u32, clock: id.clock, waiter };
                    return Some(Blocked::On(wait));
                }
                Err(_) if id.clock < self.known.get(id.client) => {}
                Err(_) => return Some(Blocked::Missing(id)),
            }
        }
        None
    }

    fn reached(&self, client: ClientId) -> u32 {
        match self.cursors.binary_search_by_key(&client, |cursor| cursor.client) {
            Ok(i) => self.cursors[i].reached,
            Err(_) => self.known.get(client),
        }
    }

    /// The deletions of what is known or integrated, and whether that is all of them.
    fn ready_deletes(&mut self, walk: Walk<'_>) -> Result<(DeleteSet, bool), UpdateError> {
        let mut ready = DeleteSet::new();
        let mut deletes = walk.deletes()?;
        let (mut client, mut reached) = (None, 0);
        let mut all = true;
        while let Some(range) = deletes.next()? {
            if range.start == range.end {
                continue;
            }
            if client != Some(range.client) {
                (client, reached) = (Some(range.client), self.reached(range.client));
            }
            ready.insert(ClockRange { end: range.end.min(reached), ..range });
            if range.end > reached {
                all = false;
                let id = Id { client: range.client, clock: range.start.max(reached) };
                if self.missing.last().is_none_or(|last| last.client != id.client) {
                    self.missing.push(id);
                }
            }
        }
        Ok((ready, all))
    }
}

impl Cursor {
    fn walk<'a>(&self, update: &'a [u8]) -> Walk<'a> {
        let structs = self.left as usize;
        let section = Section { client: self.client, clock: self.clock, structs };
        Walk::resume(update, self.at as usize, section, 0)
    }

    /// Writes what was integrated.
    fn write(&self, update: &[u8], out: &mut Writer) {
        if self.taken == 0 {
            return;
        }
        let body = out.section(self.client, self.first_clock, self.taken as usize);
        body.extend_from_slice(&update[self.first_at as usize..self.at as usize]);
    }
}
