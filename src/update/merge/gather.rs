//! Reading the updates into blocks.

use super::block::{Block, State};
use super::{Client, Growing, Merged};
use crate::update::content::Kind;
use crate::update::read::{Deletes, IS_ENTRY, Parent, Struct, Walk};
use crate::update::{Id, UpdateError};

/// The fewest bytes that two structs take which are not squashed.
const LEAST_PAIR: usize = 6;

impl Merged<'_> {
    pub(super) fn gather_structs(
        &mut self,
        source: u32,
        walk: &mut Walk<'_>,
    ) -> Result<(), UpdateError> {
        while let Some(section) = walk.section()? {
            let place = self.place(section.client);
            if self.clients[place].blocks.is_empty() {
                let most = walk.reader.remaining() / LEAST_PAIR * 2 + 1;
                self.clients[place].blocks.reserve_exact(section.structs.min(most));
            }
            while let Some(read) = walk.next()? {
                match read.head.kind {
                    Kind::Skip => continue,
                    Kind::Gc => {
                        self.any_gc = true;
                        self.clients[place].note_deleted(read.clock, read.end_clock());
                    }
                    Kind::Deleted => {
                        self.clients[place].note_deleted(read.clock, read.end_clock());
                    }
                    _ => {}
                }
                self.any_nested |= matches!(read.head.parent, Parent::Nested(_));
                self.clients[place].add(source, &read, self.updates)?;
            }
        }
        Ok(())
    }

    pub(super) fn gather_deletes(&mut self, mut deletes: Deletes<'_>) -> Result<(), UpdateError> {
        let mut at = None;
        while let Some(range) = deletes.next()? {
            let place = match at {
                Some((client, place)) if client == range.client => place,
                _ => self.place(range.client),
            };
            at = Some((range.client, place));
            self.clients[place].note_deleted(range.start, range.end);
        }
        Ok(())
    }
}

impl Client {
    /// Notes a deleted range, in one with the last if they touch: one deletes backwards and forwards.
    fn note_deleted(&mut self, start: u32, end: u32) {
        if start == end {
            return;
        }
        match self.deletes.last_mut() {
            Some(last) if start <= last.1 && last.0 <= end => {
                *last = (last.0.min(start), last.1.max(end));
            }
            _ => self.deletes.push((start, end)),
        }
    }

    /// Adds a struct, unless it is there already.
    #[inline]
    fn add(&mut self, source: u32, read: &Struct, updates: &[&[u8]]) -> Result<(), UpdateError> {
        let Some(last) = self.blocks.last() else {
            self.run_start = read.clock;
            self.push(Block::new(source, read), read.head.right);
            return Ok(());
        };
        let end = last.end();
        if read.clock == end {
            if !self.squash(source, read, updates)? {
                self.push(Block::new(source, read), read.head.right);
            }
            return Ok(());
        }
        let mut block = Block::new(source, read);
        if read.clock > end {
            self.run_start = read.clock;
        } else if self.ordered && read.clock >= self.run_start {
            if read.end_clock() <= end {
                return Ok(());
            }
            block = Self::cut(&mut block, end, updates, self.arena())?;
        } else {
            self.ordered = false;
        }
        self.push(block, read.head.right);
        Ok(())
    }

    fn push(&mut self, block: Block, right: Option<Id>) {
        self.blocks.push(block);
        if let Some(growing) = &mut self.growing {
            growing.right = right;
        }
    }

    /// Lets the last block take in the struct that follows it, if they are one and it is cheap to
    /// tell.
    #[inline]
    fn squash(
        &mut self,
        source: u32,
        read: &Struct,
        updates: &[&[u8]],
    ) -> Result<bool, UpdateError> {
        let Some(last) = self.blocks.last_mut() else { return Ok(false) };
        let kind = read.head.kind;
        if last.info & !IS_ENTRY != kind as u8 {
            return Ok(false);
        }
        if kind != Kind::Gc {
            let before = Id { client: self.id, clock: read.clock - 1 };
            let entry = (last.info | read.head.info) & IS_ENTRY != 0;
            let may_join = kind == Kind::Deleted || (kind == Kind::Text && !entry);
            if !may_join || read.head.origin != Some(before) {
                return Ok(false);
            }
            let growing = match &mut self.growing {
                Some(growing) => growing,
                none => {
                    let (_, right) = last.origins(self.id, updates)?;
                    none.insert(Box::new(Growing { arena: Vec::new(), right }))
                }
            };
            if read.head.right != growing.right {
                return Ok(false);
            }
            if kind == Kind::Text {
                let content = &updates[source as usize][read.body..read.end];
                growing.append(last, content, updates);
            }
        }
        last.len += read.len;
        last.state.set(State::CHANGED);
        Ok(true)
    }
}

impl Growing {
    /// Appends content to the last block's, which moves to the end of the arena for it.
    fn append(&mut self, last: &mut Block, content: &[u8], updates: &[&[u8]]) {
        if !last.state.has(State::SQUASHED) {
            let at = self.arena.len() as u32;
            self.arena.extend_from_slice(last.bytes(updates, &[]));
            last.body = at;
            last.state.set(State::SQUASHED);
        }
        self.arena.extend_from_slice(content);
        last.size += content.len() as u32;
    }
}
