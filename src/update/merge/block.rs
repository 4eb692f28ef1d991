//! A struct, or a piece of one, or several that are one.

use super::Client;
use crate::update::content::{self, Kind};
use crate::update::read::{Check, HAS_ORIGIN, Head, IS_ENTRY, Reader, Struct};
use crate::update::{ClientId, Id, UpdateError};

/// A struct of one client's, by where it lies in the updates.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    pub(super) clock: u32,
    pub(super) len: u32,
    /// Which update its head lies in, and where.
    pub(super) source: u32,
    pub(super) head: u32,
    /// Where its content lies, in that update or in the client's arena.
    pub(super) body: u32,
    pub(super) size: u32,
    /// Kind and whether it is marked as a map's entry, as in an info byte.
    pub(super) info: u8,
    pub(super) belongs: Belongs,
    pub(super) state: State,
}

/// Whether what the block belongs to is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Belongs {
    /// Not yet found out.
    Unknown,
    /// Being found out.
    Asked,
    /// To a list.
    List,
    /// To a map, or perhaps to one.
    Map,
    /// To something that is deleted.
    Dead,
    /// Likewise, and it cannot be spared.
    Doomed,
}

impl Belongs {
    pub(super) const fn is_dead(self) -> bool {
        match self {
            Self::Dead | Self::Doomed => true,
            Self::Unknown | Self::Asked | Self::List | Self::Map => false,
        }
    }
}

/// What was done to a block since it was read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct State(u8);

impl State {
    /// It cannot be copied as it was read.
    pub(super) const CHANGED: Self = Self(1);
    /// Its front was cut off: its origin is the clock before it.
    pub(super) const CUT: Self = Self(2);
    /// Its content lies in the arena.
    pub(super) const SQUASHED: Self = Self(4);
    /// Its text begins with the second half of a surrogate pair.
    pub(super) const HALF_BEFORE: Self = Self(8);
    /// Its text ends with the first half of a surrogate pair.
    pub(super) const HALF_BEHIND: Self = Self(16);
    /// It is one with the block before it.
    pub(super) const JOINED: Self = Self(32);

    #[inline]
    pub(super) const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    #[inline]
    pub(super) fn set(&mut self, other: Self) {
        self.0 |= other.0;
    }

    pub(super) fn clear(&mut self, other: Self) {
        self.0 &= !other.0;
    }
}

impl Block {
    pub(super) fn new(source: u32, read: &Struct) -> Self {
        Self {
            clock: read.clock,
            len: read.len,
            source,
            head: read.head.start as u32,
            body: read.body as u32,
            size: (read.end - read.body) as u32,
            info: read.head.info & !(HAS_ORIGIN | crate::update::read::HAS_RIGHT),
            belongs: Belongs::Unknown,
            state: State::default(),
        }
    }

    #[inline]
    pub(super) const fn end(&self) -> u32 {
        self.clock + self.len
    }

    #[inline]
    pub(super) fn kind(&self) -> Kind {
        Kind::of(self.info & !IS_ENTRY).unwrap_or(Kind::Gc)
    }

    /// Its content's bytes, without halves of surrogate pairs.
    pub(super) fn bytes<'b>(&self, updates: &[&'b [u8]], arena: &'b [u8]) -> &'b [u8] {
        let lies_in =
            if self.state.has(State::SQUASHED) { arena } else { updates[self.source as usize] };
        &lies_in[self.body as usize..(self.body + self.size) as usize]
    }

    /// Its head as it was read: of the block that it was cut from, or of the first that it is of.
    pub(super) fn read_head(
        &self,
        client: ClientId,
        updates: &[&[u8]],
    ) -> Result<Head, UpdateError> {
        let mut reader = Reader::new(updates[self.source as usize]);
        reader.seek(self.head as usize);
        reader.head(Id { client, clock: self.clock }, Check::Bounds)
    }

    /// Its origin and its right origin.
    pub(super) fn origins(
        &self,
        client: ClientId,
        updates: &[&[u8]],
    ) -> Result<(Option<Id>, Option<Id>), UpdateError> {
        let head = self.read_head(client, updates)?;
        let before = self.state.has(State::CUT).then(|| Id { client, clock: self.clock - 1 });
        Ok((before.or(head.origin), head.right))
    }

    /// Makes it deleted content. What was a type then is none any more.
    pub(super) fn delete(&mut self) {
        if !matches!(self.kind(), Kind::Gc | Kind::Deleted) {
            self.info = self.info & IS_ENTRY | Kind::Deleted as u8;
            self.drop_content();
        }
    }

    /// Makes it a GC struct.
    pub(super) fn bury(&mut self) {
        if self.kind() != Kind::Gc {
            self.info = Kind::Gc as u8;
            self.drop_content();
        }
    }

    /// Makes deleted content that was read as a type a type again.
    pub(super) fn revive_type(
        &mut self,
        client: ClientId,
        updates: &[&[u8]],
    ) -> Result<(), UpdateError> {
        let mut reader = Reader::new(updates[self.source as usize]);
        reader.seek(self.head as usize);
        let read = reader.structure(client, self.clock, Check::Bounds)?;
        if self.kind() == Kind::Deleted && read.head.kind == Kind::Type {
            *self = Self { belongs: self.belongs, ..Self::new(self.source, &read) };
        }
        Ok(())
    }

    fn drop_content(&mut self) {
        self.size = 0;
        self.state.clear(State::HALF_BEFORE);
        self.state.clear(State::HALF_BEHIND);
        self.state.set(State::CHANGED);
    }
}

impl Client {
    /// Cuts a block: what is left of `clock` stays, what is right of it is returned.
    pub(super) fn cut(
        block: &mut Block,
        clock: u32,
        updates: &[&[u8]],
        arena: &[u8],
    ) -> Result<Block, UpdateError> {
        let units = clock - block.clock;
        let mut right = *block;
        right.clock = clock;
        right.len = block.len - units;
        block.len = units;
        right.state.set(State::CUT);
        right.state.set(State::CHANGED);
        block.state.set(State::CHANGED);
        match block.kind() {
            Kind::Text => cut_text(block, &mut right, updates, arena),
            kind @ (Kind::Any | Kind::Json) => {
                let at = content::cut_values(kind, block.bytes(updates, arena), units)? as u32;
                (right.body, right.size) = (block.body + at, block.size - at);
                block.size = at;
            }
            Kind::Gc | Kind::Deleted | Kind::Skip => {}
            // Of length one: there is no clock inside.
            Kind::Binary | Kind::Embed | Kind::Format | Kind::Type | Kind::Doc => {}
        }
        Ok(right)
    }
}

/// Cuts text; each half of a surrogate pair that is torn becomes U+FFFD, as in Yjs.
fn cut_text(block: &mut Block, right: &mut Block, updates: &[&[u8]], arena: &[u8]) {
    // `block.len` is what stays, a half pair before it included.
    let half_before = u32::from(block.state.has(State::HALF_BEFORE));
    let half_behind = u32::from(block.state.has(State::HALF_BEHIND));
    let text = block.bytes(updates, arena);
    let whole = block.len + right.len - half_before - half_behind;
    let units = block.len.saturating_sub(half_before).min(whole);
    let cut = content::cut_text(text, whole, units);
    (right.body, right.size) = (block.body + cut.right() as u32, block.size - cut.right() as u32);
    block.size = cut.at as u32;
    right.state.clear(State::HALF_BEFORE);
    block.state.clear(State::HALF_BEHIND);
    if cut.in_pair {
        right.state.set(State::HALF_BEFORE);
        block.state.set(State::HALF_BEHIND);
    }
}
