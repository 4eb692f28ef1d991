//! Writing the blocks, joined where they are one.

use super::belonging::IsType;
use super::block::{Belongs, Block, State};
use super::{Client, Merged};
use crate::update::UpdateError;
use crate::update::content::Kind;
use crate::update::read::IS_ENTRY;
use crate::update::write::{self, REPLACEMENT, Writer};
use crate::wire::varint;
use std::cmp::Reverse;

impl Merged<'_> {
    /// The update of all blocks and delete ranges, clients in descending order.
    pub(super) fn emit(&mut self) -> Result<Vec<u8>, UpdateError> {
        let mut way = Vec::new();
        for client in 0..self.clients.len() {
            self.mark_joined(client, &mut way)?;
        }
        // Nobody is looked for any more: what is left is needed in the order of writing.
        self.places.clear();
        let mut order: Vec<u32> = (0..self.clients.len() as u32).collect();
        order.sort_unstable_by_key(|&place| Reverse(self.clients[place as usize].id));
        let mut out = Writer::default();
        out.reserve(self.size_hint());
        for &place in &order {
            self.clients[place as usize].emit(self.updates, &mut out)?;
        }
        let mut update = out.front();
        self.emit_deletes(&order, &mut update);
        Ok(update)
    }

    fn emit_deletes(&self, order: &[u32], out: &mut Vec<u8>) {
        let clients = || {
            let clients = order.iter().map(|&place| &self.clients[place as usize]);
            clients.filter(|client| !client.deletes.is_empty())
        };
        varint::write(out, clients().count() as u64);
        for client in clients() {
            varint::write(out, client.id.0);
            varint::write(out, client.deletes.len() as u64);
            for &(start, end) in &client.deletes {
                varint::write(out, u64::from(start));
                varint::write(out, u64::from(end - start));
            }
        }
    }

    /// About how long the result will be.
    fn size_hint(&self) -> usize {
        self.clients
            .iter()
            .map(|client| {
                let content: usize = client.blocks.iter().map(|block| block.size as usize).sum();
                10 + content + client.blocks.len() * 5 + client.deletes.len() * 3
            })
            .sum()
    }

    /// Marks the blocks of a client that are one with the block before.
    fn mark_joined(
        &mut self,
        client: usize,
        way: &mut Vec<((u32, u32), IsType)>,
    ) -> Result<(), UpdateError> {
        for place in 1..self.clients[client].blocks.len() {
            let [left, right] = [place - 1, place].map(|i| self.clients[client].blocks[i]);
            if self.clients[client].joins(&left, &right, self.updates)?
                && (!matches!(right.kind(), Kind::Any | Kind::Json)
                    || self.belongs((client as u32, place as u32), way)? == Belongs::List)
            {
                self.clients[client].blocks[place].state.set(State::JOINED);
            }
        }
        Ok(())
    }
}

impl Client {
    /// Whether two neighbours are one, but for whether values are a map's entries.
    fn joins(&self, left: &Block, right: &Block, updates: &[&[u8]]) -> Result<bool, UpdateError> {
        let kind = left.kind();
        if kind != right.kind() || left.end() != right.clock {
            return Ok(false);
        }
        let entries = (left.info | right.info) & IS_ENTRY != 0;
        match kind {
            Kind::Gc => return Ok(true),
            Kind::Deleted => {}
            Kind::Text | Kind::Any | Kind::Json if entries => return Ok(false),
            Kind::Text | Kind::Any | Kind::Json => {}
            Kind::Binary | Kind::Embed | Kind::Format | Kind::Type | Kind::Doc | Kind::Skip => {
                return Ok(false);
            }
        }
        let (origin, right_origin) = right.origins(self.id, updates)?;
        let before = super::super::Id { client: self.id, clock: right.clock - 1 };
        Ok(origin == Some(before) && right_origin == left.origins(self.id, updates)?.1)
    }

    fn emit(&self, updates: &[&[u8]], out: &mut Writer) -> Result<(), UpdateError> {
        let Some(first) = self.blocks.first() else { return Ok(()) };
        let mut structs = 0;
        let mut end = first.clock;
        for block in &self.blocks {
            structs += usize::from(!block.state.has(State::JOINED));
            structs += usize::from(block.clock != end);
            end = block.end();
        }
        let out = out.section(self.id, first.clock, structs);
        let mut end = first.clock;
        let mut copy = Copy::default();
        let mut rest = &self.blocks[..];
        while let Some(first) = rest.first() {
            let joined = rest[1..].iter().take_while(|b| b.state.has(State::JOINED)).count();
            let (group, others) = rest.split_at(1 + joined);
            rest = others;
            if first.clock != end {
                copy.flush(updates, out);
                out.push(Kind::Skip as u8);
                varint::write(out, u64::from(first.clock - end));
            }
            end = group[joined].end();
            if joined == 0 && !first.state.has(State::CHANGED) {
                copy.add(first, updates, out);
            } else {
                copy.flush(updates, out);
                self.emit_group(group, updates, out)?;
            }
        }
        copy.flush(updates, out);
        Ok(())
    }

    /// Writes blocks that are one.
    fn emit_group(
        &self,
        group: &[Block],
        updates: &[&[u8]],
        out: &mut Vec<u8>,
    ) -> Result<(), UpdateError> {
        let first = &group[0];
        let kind = first.kind();
        let len = u64::from(group[group.len() - 1].end() - first.clock);
        if kind == Kind::Gc {
            out.push(Kind::Gc as u8);
            varint::write(out, len);
            return Ok(());
        }
        let head = first.read_head(self.id, updates)?;
        let (origin, right) = first.origins(self.id, updates)?;
        write::head(out, kind, first.info & IS_ENTRY, origin, right);
        if origin.is_none() && right.is_none() {
            out.extend_from_slice(&updates[first.source as usize][head.home..head.content]);
        }
        match kind {
            Kind::Text => {
                varint::write(out, group.iter().map(Block::text_size).sum());
            }
            Kind::Deleted | Kind::Any | Kind::Json | Kind::Gc | Kind::Skip => {
                varint::write(out, len);
            }
            Kind::Binary | Kind::Embed | Kind::Format | Kind::Type | Kind::Doc => {}
        }
        for block in group {
            if block.state.has(State::HALF_BEFORE) {
                out.extend_from_slice(REPLACEMENT);
            }
            out.extend_from_slice(block.bytes(updates, self.arena()));
            if block.state.has(State::HALF_BEHIND) {
                out.extend_from_slice(REPLACEMENT);
            }
        }
        Ok(())
    }
}

impl Block {
    fn text_size(&self) -> u64 {
        let halves = u64::from(self.state.has(State::HALF_BEFORE))
            + u64::from(self.state.has(State::HALF_BEHIND));
        u64::from(self.size) + halves * REPLACEMENT.len() as u64
    }
}

/// A stretch of an update that is copied as it is.
#[derive(Default)]
struct Copy {
    source: u32,
    start: u32,
    end: u32,
}

impl Copy {
    #[inline]
    fn add(&mut self, block: &Block, updates: &[&[u8]], out: &mut Vec<u8>) {
        if self.end != block.head || self.source != block.source {
            self.flush(updates, out);
            (self.source, self.start) = (block.source, block.head);
        }
        self.end = block.body + block.size;
    }

    fn flush(&mut self, updates: &[&[u8]], out: &mut Vec<u8>) {
        if self.start < self.end {
            let copied = &updates[self.source as usize][self.start as usize..self.end as usize];
            out.extend_from_slice(copied);
        }
        self.start = self.end;
    }
}
