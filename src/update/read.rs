//! The cursor over encoded bytes, with every count checked against the bytes that remain.
#![allow(clippy::inline_always, reason = "a result of 32 bytes for each integer read is slow")]

use super::content::{self, Kind};
use super::{ClientId, ClockRange, Id, UpdateError};
use crate::wire::varint;

/// Clocks and lengths stay below this, as JavaScript's bit operations demand.
pub(super) const CLOCK_LIMIT: u64 = (1 << 31) - 1;

/// Bit of a struct's info byte: an origin follows.
pub(super) const HAS_ORIGIN: u8 = 0x80;
/// Bit of a struct's info byte: a right origin follows.
pub(super) const HAS_RIGHT: u8 = 0x40;
/// Bit of a struct's info byte: it is a map's entry. Its key follows if there is neither origin.
pub(super) const IS_ENTRY: u8 = 0x20;

/// How much of the content is looked at.
#[derive(Clone, Copy, Debug)]
pub(super) enum Check {
    /// Everything that makes Yjs throw: text is UTF-8, JSON is JSON, nesting is at most this deep.
    All(usize),
    /// Only what is needed to find the end, for what was scanned before.
    Bounds,
}

/// A position in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(super) const fn at(&self) -> usize {
        self.at
    }

    pub(super) fn seek(&mut self, at: usize) {
        self.at = at.min(self.bytes.len());
    }

    pub(super) const fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    #[inline(always)]
    pub(super) fn byte(&mut self, expected: &'static str) -> Result<u8, UpdateError> {
        let byte =
            *self.bytes.get(self.at).ok_or_else(|| UpdateError::malformed(self.at, expected))?;
        self.at += 1;
        Ok(byte)
    }

    /// An unsigned integer of up to 53 bits.
    #[inline(always)]
    pub(super) fn uint(&mut self, expected: &'static str) -> Result<u64, UpdateError> {
        match self.bytes.get(self.at) {
            Some(&byte) if byte < 0x80 => {
                self.at += 1;
                Ok(u64::from(byte))
            }
            _ => match varint::measure(self.bytes.get(self.at..).unwrap_or_default()) {
                Some((value, len)) => {
                    self.at += len;
                    Ok(value)
                }
                None => Err(UpdateError::malformed(self.at, expected)),
            },
        }
    }

    /// A clock, or a length in clocks.
    #[inline(always)]
    pub(super) fn clock(&mut self, expected: &'static str) -> Result<u32, UpdateError> {
        let at = self.at;
        let value = self.uint(expected)?;
        if value > CLOCK_LIMIT {
            return Err(UpdateError::malformed(at, "a clock below 2^31"));
        }
        Ok(value as u32)
    }

    #[inline(always)]
    pub(super) fn client(&mut self) -> Result<ClientId, UpdateError> {
        self.uint("a client id").map(ClientId)
    }

    #[inline(always)]
    pub(super) fn id(&mut self) -> Result<Id, UpdateError> {
        Ok(Id { client: self.client()?, clock: self.clock("a clock")? })
    }

    /// A number of things that take at least `least` bytes each.
    #[inline(always)]
    pub(super) fn count(
        &mut self,
        least: usize,
        expected: &'static str,
    ) -> Result<usize, UpdateError> {
        let at = self.at;
        let count = self.uint(expected)?;
        if count > (self.remaining() / least) as u64 {
            return Err(UpdateError::malformed(at, "a count that the bytes can hold"));
        }
        Ok(count as usize)
    }

    /// The next `len` bytes.
    #[inline]
    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], UpdateError> {
        let taken = self.bytes[self.at..]
            .get(..len)
            .ok_or_else(|| UpdateError::malformed(self.at, "more bytes"))?;
        self.at += len;
        Ok(taken)
    }

    /// A length and as many bytes.
    #[inline]
    pub(super) fn buffer(&mut self) -> Result<&'a [u8], UpdateError> {
        let len = self.count(1, "a length in bytes")?;
        self.take(len)
    }

    /// A length and as many bytes of UTF-8.
    #[inline]
    pub(super) fn string(&mut self, check: Check) -> Result<&'a [u8], UpdateError> {
        let bytes = self.buffer()?;
        match (check, bytes) {
            // One key was pressed.
            (Check::Bounds, _) | (Check::All(_), [(..0x80)]) => Ok(bytes),
            (Check::All(_), _) => match std::str::from_utf8(bytes) {
                Ok(_) => Ok(bytes),
                Err(e) => Err(UpdateError::malformed(
                    self.at - bytes.len() + e.valid_up_to(),
                    "UTF-8 text",
                )),
            },
        }
    }
}

/// Where a struct belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parent {
    /// Where its origin, or else its right origin, belongs.
    Inherited,
    /// A type that the document names.
    Root,
    /// A type that is itself a struct's content.
    Nested(Id),
}

impl Parent {
    #[inline]
    pub(super) const fn nested(self) -> Option<Id> {
        match self {
            Self::Nested(id) => Some(id),
            Self::Inherited | Self::Root => None,
        }
    }
}

/// The front of a struct: where it belongs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) info: u8,
    pub(super) kind: Kind,
    pub(super) origin: Option<Id>,
    pub(super) right: Option<Id>,
    pub(super) parent: Parent,
    /// The offset of the info byte.
    pub(super) start: usize,
    /// The offset of parent and key; nothing up to `content` if they are inherited.
    pub(super) home: usize,
    /// The offset of the content, its count or length included.
    pub(super) content: usize,
}

impl Head {
    /// The ids that it refers to.
    #[inline]
    pub(super) fn references(&self) -> impl Iterator<Item = Id> + use<> {
        [self.origin, self.right, self.parent.nested()].into_iter().flatten()
    }
}

/// One struct of a section: what stands in its head, and where its parts are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Struct {
    pub(super) head: Head,
    pub(super) clock: u32,
    pub(super) len: u32,
    /// The offset of the content after its count or length, if the kind can be sliced.
    pub(super) body: usize,
    /// The offset after it.
    pub(super) end: usize,
}

impl Struct {
    pub(super) const fn end_clock(&self) -> u32 {
        self.clock + self.len
    }
}

impl Reader<'_> {
    /// The struct at this position, made by `client` at `clock`.
    #[inline(always)]
    pub(super) fn structure(
        &mut self,
        client: ClientId,
        clock: u32,
        check: Check,
    ) -> Result<Struct, UpdateError> {
        let head = self.head(Id { client, clock }, check)?;
        let (len, body) = content::skip(self, head.kind, check)?;
        if len == 0 && head.kind != Kind::Skip {
            return Err(UpdateError::malformed(head.content, "content that is not empty"));
        }
        if u64::from(clock) + u64::from(len) > CLOCK_LIMIT {
            return Err(UpdateError::malformed(head.content, "clocks below 2^31"));
        }
        Ok(Struct { head, clock, len, body, end: self.at })
    }

    /// The front of the struct `id` at this position.
    #[inline(always)]
    pub(super) fn head(&mut self, id: Id, check: Check) -> Result<Head, UpdateError> {
        let start = self.at;
        let info = self.byte("a struct")?;
        let kind =
            Kind::of(info).ok_or_else(|| UpdateError::malformed(start, "a kind of struct"))?;
        let (mut origin, mut right, mut parent) = (None, None, Parent::Inherited);
        let mut home = self.at;
        if !kind.is_bare() {
            if info & HAS_ORIGIN != 0 {
                origin = Some(self.reference(id)?);
            }
            if info & HAS_RIGHT != 0 {
                right = Some(self.reference(id)?);
            }
            home = self.at;
            if info & (HAS_ORIGIN | HAS_RIGHT) == 0 {
                parent = self.parent(id, info, check)?;
            }
        }
        Ok(Head { info, kind, origin, right, parent, start, home, content: self.at })
    }

    /// An id that the struct `of` refers to: of its own client's it can only know earlier ones.
    #[inline(always)]
    fn reference(&mut self, of: Id) -> Result<Id, UpdateError> {
        let at = self.at;
        let id = self.id()?;
        if id.client == of.client && id.clock >= of.clock {
            return Err(UpdateError::malformed(at, "an id made before the struct"));
        }
        Ok(id)
    }

    fn parent(&mut self, of: Id, info: u8, check: Check) -> Result<Parent, UpdateError> {
        let at = self.at;
        let parent = match self.uint("whether the parent is a root")? {
            0 => Parent::Nested(self.reference(of)?),
            1 => {
                self.string(check)?;
                Parent::Root
            }
            _ => return Err(UpdateError::malformed(at, "0 or 1: whether the parent is a root")),
        };
        if info & IS_ENTRY != 0 {
            self.string(check)?;
        }
        Ok(parent)
    }
}

/// A walk over the structs of an update, section by section, and then over its delete ranges.
#[derive(Clone, Copy, Debug)]
pub(super) struct Walk<'a> {
    pub(super) reader: Reader<'a>,
    check: Check,
    sections: usize,
    structs: usize,
    client: ClientId,
    clock: u32,
}

/// What a section says of itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Section {
    pub(super) client: ClientId,
    pub(super) clock: u32,
    pub(super) structs: usize,
}

impl<'a> Walk<'a> {
    pub(super) fn new(update: &'a [u8], check: Check) -> Result<Self, UpdateError> {
        let mut reader = Reader::new(update);
        let sections = reader.count(3, "a number of clients")?;
        Ok(Self { reader, check, sections, structs: 0, client: ClientId(0), clock: 0 })
    }

    /// Goes on in the middle of a section, before at most so many others.
    pub(super) fn resume(update: &'a [u8], at: usize, section: Section, sections: usize) -> Self {
        let mut reader = Reader::new(update);
        reader.seek(at);
        let Section { client, clock, structs } = section;
        Self { reader, check: Check::Bounds, sections, structs, client, clock }
    }

    /// How many sections are left.
    pub(super) const fn sections(&self) -> usize {
        self.sections
    }

    /// How many structs of this section are left.
    pub(super) const fn structs(&self) -> usize {
        self.structs
    }

    /// Whose section this is.
    pub(super) const fn client(&self) -> ClientId {
        self.client
    }

    /// The next section, once the structs of this one are all read.
    #[inline]
    pub(super) fn section(&mut self) -> Result<Option<Section>, UpdateError> {
        debug_assert_eq!(self.structs, 0);
        if self.sections == 0 {
            return Ok(None);
        }
        self.sections -= 1;
        self.structs = self.reader.uint("a number of structs").and_then(|n| {
            usize::try_from(n).map_err(|_| UpdateError::malformed(self.reader.at, "fewer structs"))
        })?;
        self.client = self.reader.client()?;
        self.clock = self.reader.clock("a clock")?;
        if self.structs > self.reader.remaining() / 2 {
            return Err(UpdateError::malformed(self.reader.at, "as many structs as announced"));
        }
        Ok(Some(Section { client: self.client, clock: self.clock, structs: self.structs }))
    }

    /// The next struct of this section.
    #[inline]
    pub(super) fn next(&mut self) -> Result<Option<Struct>, UpdateError> {
        if self.structs == 0 {
            return Ok(None);
        }
        let read = self.reader.structure(self.client, self.clock, self.check)?;
        self.structs -= 1;
        self.clock = read.end_clock();
        Ok(Some(read))
    }

    /// The delete ranges, once all structs are read.
    pub(super) fn deletes(self) -> Result<Deletes<'a>, UpdateError> {
        debug_assert!(self.sections == 0 && self.structs == 0);
        Deletes::new(self.reader)
    }
}

/// A walk over encoded delete ranges.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deletes<'a> {
    pub(super) reader: Reader<'a>,
    clients: usize,
    ranges: usize,
    client: ClientId,
}

impl<'a> Deletes<'a> {
    pub(super) fn new(mut reader: Reader<'a>) -> Result<Self, UpdateError> {
        let clients = reader.count(2, "a number of clients with deletions")?;
        Ok(Self { reader, clients, ranges: 0, client: ClientId(0) })
    }

    pub(super) const fn clients(&self) -> usize {
        self.clients
    }

    /// The next range; an empty one, which means nothing, as `start == end`. At the end it makes
    /// sure that nothing follows.
    #[inline]
    pub(super) fn next(&mut self) -> Result<Option<ClockRange>, UpdateError> {
        while self.ranges == 0 {
            if self.clients == 0 {
                return match self.reader.remaining() {
                    0 => Ok(None),
                    _ => Err(UpdateError::malformed(self.reader.at, "the end")),
                };
            }
            self.clients -= 1;
            self.client = self.reader.client()?;
            self.ranges = self.reader.count(2, "a number of delete ranges")?;
        }
        self.ranges -= 1;
        let start = self.reader.clock("a deleted clock")?;
        let at = self.reader.at;
        let len = self.reader.clock("a number of deleted clocks")?;
        if u64::from(start) + u64::from(len) > CLOCK_LIMIT {
            return Err(UpdateError::malformed(at, "clocks below 2^31"));
        }
        Ok(Some(ClockRange { client: self.client, start, end: start + len }))
    }
}
