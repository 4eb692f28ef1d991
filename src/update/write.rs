//! Writing structs and sections, as bytes that were read or cut from such.

use super::content::{self, Kind};
use super::read::{HAS_ORIGIN, HAS_RIGHT, IS_ENTRY, Struct};
use super::{ClientId, DeleteSet, Id, UpdateError};
use crate::wire::varint;

/// What stands for each half of a surrogate pair that was cut.
pub(super) const REPLACEMENT: &[u8] = "\u{fffd}".as_bytes();

/// An update under construction.
#[derive(Debug, Default)]
pub(super) struct Writer {
    sections: usize,
    body: Vec<u8>,
}

impl Writer {
    /// Starts a section of as many structs, which the caller then adds to what is returned.
    pub(super) fn section(&mut self, client: ClientId, clock: u32, structs: usize) -> &mut Vec<u8> {
        self.sections += 1;
        varint::write(&mut self.body, structs as u64);
        varint::write(&mut self.body, client.0);
        varint::write(&mut self.body, u64::from(clock));
        &mut self.body
    }

    /// The update of these structs and these deletions.
    pub(super) fn finish(self, deletes: &DeleteSet) -> Vec<u8> {
        let mut update = self.front();
        deletes.encode_into(&mut update);
        update
    }

    /// The update of these structs and this encoded delete set.
    pub(super) fn finish_with(self, deletes: &[u8]) -> Vec<u8> {
        let mut update = self.front();
        update.extend_from_slice(deletes);
        update
    }

    pub(super) fn reserve(&mut self, bytes: usize) {
        self.body.reserve(bytes);
    }

    /// The structs; the delete set has to follow.
    pub(super) fn front(mut self) -> Vec<u8> {
        let mut count = Vec::with_capacity(varint::MAX_LEN);
        varint::write(&mut count, self.sections as u64);
        self.body.splice(0..0, count);
        self.body
    }
}

/// Writes a struct of `client`'s without its first `offset` clocks, as Yjs slices it.
pub(super) fn sliced(
    out: &mut Vec<u8>,
    update: &[u8],
    client: ClientId,
    read: &Struct,
    offset: u32,
) -> Result<(), UpdateError> {
    if offset == 0 {
        out.extend_from_slice(&update[read.head.start..read.end]);
        return Ok(());
    }
    let origin = Id { client, clock: read.clock + offset - 1 };
    head(out, read.head.kind, read.head.info & IS_ENTRY, Some(origin), read.head.right);
    let len = read.len - offset;
    let body = &update[read.body..read.end];
    match read.head.kind {
        Kind::Gc | Kind::Deleted | Kind::Skip => varint::write(out, u64::from(len)),
        Kind::Text => {
            let cut = content::cut_text(body, read.len, offset);
            let right = &body[cut.right()..];
            let half = if cut.in_pair { REPLACEMENT } else { &[] };
            varint::write(out, (half.len() + right.len()) as u64);
            out.extend_from_slice(half);
            out.extend_from_slice(right);
        }
        Kind::Any | Kind::Json => {
            varint::write(out, u64::from(len));
            out.extend_from_slice(&body[content::cut_values(read.head.kind, body, offset)?..]);
        }
        // Of length one: there is nothing to cut.
        Kind::Binary | Kind::Embed | Kind::Format | Kind::Type | Kind::Doc => {
            return Err(UpdateError::malformed(read.head.start, "content of length one"));
        }
    }
    Ok(())
}

/// Writes the head of a struct whose parent, if it has neither origin, the caller writes.
pub(super) fn head(
    out: &mut Vec<u8>,
    kind: Kind,
    entry: u8,
    origin: Option<Id>,
    right: Option<Id>,
) {
    if kind.is_bare() {
        out.push(kind as u8);
        return;
    }
    let flag = |id: Option<Id>, flag: u8| if id.is_some() { flag } else { 0 };
    out.push(kind as u8 | entry | flag(origin, HAS_ORIGIN) | flag(right, HAS_RIGHT));
    for id in [origin, right].into_iter().flatten() {
        varint::write(out, id.client.0);
        varint::write(out, u64::from(id.clock));
    }
}
