//! A large update cut into small ones, each of which can be integrated after those before it.

use super::content::{self, Kind};
use super::read::{Check, Head, IS_ENTRY, Reader, Section, Struct, Walk};
use super::write::{self, Writer};
use super::{ClientId, Id, UpdateError};
use crate::wire::varint;
use bytes::Bytes;

/// The least that is cut off a struct: each cut costs a head.
const LEAST: usize = 64;

/// Cuts an update into slices of about the same size, made one at a time as they are asked for.
///
/// Every slice is an update of its own, causally complete after those before it; the last one has
/// the whole delete set. Text and values are cut where a slice is full, as Yjs cuts them; what cannot
/// be cut, a binary value for instance, makes its slice larger.
#[derive(Debug)]
pub struct Slices {
    update: Bytes,
    bytes: usize,
    /// In the update's order.
    sections: Vec<Rest>,
    /// The sections that wait for another to get to a clock.
    waiting: Vec<Waiting>,
    /// The first section that may have structs left.
    first: usize,
    deletes: usize,
    finished: bool,
}

/// What is left of a section.
#[derive(Debug)]
struct Rest {
    client: ClientId,
    /// The next one to take, which may be inside a struct.
    clock: u32,
    structs: usize,
    /// The offset of the next struct.
    at: usize,
    /// The next struct, if a part of it has been taken.
    begun: Option<Begun>,
    is_waiting: bool,
}

/// A struct of which the content before `at` has been taken.
#[derive(Clone, Copy, Debug)]
struct Begun {
    read: Struct,
    at: usize,
}

#[derive(Debug)]
struct Waiting {
    section: usize,
    /// It goes on when this section is past the clock.
    on: usize,
    clock: u32,
}

/// What a slice takes of a section: consecutive structs.
#[derive(Debug)]
struct Piece {
    clock: u32,
    structs: usize,
    body: Vec<u8>,
}

impl Slices {
    /// Prepares to cut `update` into slices of about `bytes` bytes.
    pub fn new(update: Bytes, bytes: usize) -> Result<Self, UpdateError> {
        let mut walk = Walk::new(&update, Check::Bounds)?;
        let mut sections = Vec::with_capacity(walk.sections());
        while let Some(Section { client, clock, structs }) = walk.section()? {
            let at = walk.reader.at();
            sections.push(Rest { client, clock, structs, at, begun: None, is_waiting: false });
            while walk.next()?.is_some() {}
        }
        let deletes = walk.reader.at();
        Ok(Self {
            update,
            bytes,
            sections,
            waiting: Vec::new(),
            first: 0,
            deletes,
            finished: false,
        })
    }

    /// Whether the last slice has been taken.
    pub const fn is_finished(&self) -> bool {
        self.finished
    }

    /// How much memory it holds outside itself, the update included if nobody else has it.
    pub fn heap_bytes(&self) -> usize {
        let own = if self.update.is_unique() { self.update.len() } else { 0 };
        own + self.sections.capacity() * size_of::<Rest>()
            + self.waiting.capacity() * size_of::<Waiting>()
    }

    /// The next slice; `None` after the last.
    pub fn next_slice(&mut self) -> Result<Option<Vec<u8>>, UpdateError> {
        if self.finished {
            return Ok(None);
        }
        let mut pieces: Vec<Option<Piece>> = self.sections.iter().map(|_| None).collect();
        let mut taken = 0;
        while taken < self.bytes
            && let Some(section) = self.current()
        {
            let room = self.bytes - taken;
            taken += self.take(section, room, &mut pieces[section])?.unwrap_or(0);
        }
        self.finished = self.current().is_none();
        Ok(Some(self.write(&pieces)))
    }

    /// The section to go on with: what another waits for, or else the first with anything left.
    fn current(&mut self) -> Option<usize> {
        while let Some(waiting) = self.waiting.last() {
            let on = &self.sections[waiting.on];
            if on.structs > 0 && on.clock <= waiting.clock {
                return Some(waiting.on);
            }
            self.sections[waiting.section].is_waiting = false;
            let section = waiting.section;
            self.waiting.pop();
            if self.sections[section].structs > 0 {
                return Some(section);
            }
        }
        while self.sections.get(self.first)?.structs == 0 {
            self.first += 1;
        }
        Some(self.first)
    }

    /// Takes a section's next struct, or as much of it as there is room for, and returns its bytes; or
    /// finds that it has to wait.
    fn take(
        &mut self,
        section: usize,
        room: usize,
        piece: &mut Option<Piece>,
    ) -> Result<Option<usize>, UpdateError> {
        let Some(read) = self.next_struct(section)? else { return Ok(None) };
        let rest = &mut self.sections[section];
        let piece = piece.get_or_insert(Piece { clock: rest.clock, structs: 0, body: Vec::new() });
        piece.structs += 1;
        let before = piece.body.len();
        let room = room.max(LEAST);
        let can_be_cut = matches!(read.head.kind, Kind::Text | Kind::Any | Kind::Json);
        if rest.begun.is_none() && (!can_be_cut || read.end - rest.at <= room) {
            piece.body.extend_from_slice(&self.update[rest.at..read.end]);
            rest.pass(&read);
        } else {
            rest.take_part(&self.update, &read, room, &mut piece.body)?;
        }
        Ok(Some(piece.body.len() - before))
    }

    /// A section's next struct, whole; nothing if it has to wait.
    fn next_struct(&mut self, section: usize) -> Result<Option<Struct>, UpdateError> {
        let Rest { client, clock, at, begun, .. } = self.sections[section];
        if let Some(begun) = begun {
            return Ok(Some(begun.read));
        }
        let mut reader = Reader::new(&self.update);
        reader.seek(at);
        let read = reader.structure(client, clock, Check::Bounds)?;
        Ok((!self.has_to_wait(section, &read)).then_some(read))
    }

    /// Whether a struct refers to what another section has yet to bring; then its own waits for it.
    fn has_to_wait(&mut self, section: usize, read: &Struct) -> bool {
        let client = self.sections[section].client;
        for id in read.head.references() {
            if id.client != client
                && let Some(on) = self.behind(id.client, id.clock)
            {
                self.sections[section].is_waiting = true;
                self.waiting.push(Waiting { section, on, clock: id.clock });
                return true;
            }
        }
        false
    }

    /// The client's section, if it has the clock and has not got to it. A section that waits itself
    /// does not count: an update that was accepted has no circles, and one that has ends here.
    fn behind(&self, client: ClientId, clock: u32) -> Option<usize> {
        let at = self.sections.binary_search_by(|rest| client.cmp(&rest.client)).ok()?;
        let rest = &self.sections[at];
        (rest.structs > 0 && rest.clock <= clock && !rest.is_waiting).then_some(at)
    }

    fn write(&self, pieces: &[Option<Piece>]) -> Vec<u8> {
        let mut slice = Writer::default();
        for (rest, piece) in self.sections.iter().zip(pieces) {
            if let Some(piece) = piece {
                let body = slice.section(rest.client, piece.clock, piece.structs);
                body.extend_from_slice(&piece.body);
            }
        }
        slice.finish_with(if self.finished { &self.update[self.deletes..] } else { &[0] })
    }
}

impl Rest {
    /// Takes as much of the next struct as there is room for; what is left follows on it.
    fn take_part(
        &mut self,
        update: &[u8],
        read: &Struct,
        room: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), UpdateError> {
        let Head { kind, info, right, content: front, .. } = read.head;
        let from = self.begun.map_or(read.body, |begun| begun.at);
        let left = &update[from..read.end];
        let (clocks, bytes) = content::within(kind, left, room)?;
        if self.begun.is_none() {
            out.extend_from_slice(&update[self.at..front]);
        } else {
            let origin = Id { client: self.client, clock: self.clock - 1 };
            write::head(out, kind, info & IS_ENTRY, Some(origin), right);
        }
        let count = if kind == Kind::Text { bytes as u64 } else { u64::from(clocks) };
        varint::write(out, count);
        out.extend_from_slice(&left[..bytes]);
        if bytes == left.len() {
            self.pass(read);
        } else {
            self.clock += clocks;
            self.begun = Some(Begun { read: *read, at: from + bytes });
        }
        Ok(())
    }

    /// A struct has been taken to its end.
    fn pass(&mut self, read: &Struct) {
        self.structs -= 1;
        self.clock = read.end_clock();
        self.at = read.end;
        self.begun = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use yrs::types::ToJson;
    use yrs::updates::decoder::Decode;
    use yrs::{Any, Array, Doc, GetString, ReadTxn, StateVector, Text, Transact, Update};

    /// Three clients who type into each other's words.
    fn intertwined() -> (Doc, Bytes) {
        let docs: Vec<Doc> = (1..=3).map(Doc::with_client_id).collect();
        for i in 0..300u32 {
            let doc = &docs[i as usize % 3];
            let text = doc.get_or_insert_text("text");
            let update = {
                let mut txn = doc.transact_mut();
                let len = text.len(&txn);
                text.insert(&mut txn, (i * 7) % (len + 1), "abc");
                if i % 5 == 0 {
                    text.remove_range(&mut txn, (i * 3) % len.max(1), 1);
                }
                txn.encode_update_v1()
            };
            for other in &docs {
                other.transact_mut().apply_update(Update::decode_v1(&update).unwrap()).unwrap();
            }
        }
        let all = docs[0].transact().encode_state_as_update_v1(&StateVector::default());
        (docs.into_iter().next().unwrap(), all.into())
    }

    #[test]
    fn each_slice_can_be_integrated_at_once_and_together_they_are_the_whole() {
        let (doc, update) = intertwined();
        for bytes in [1, 10, 100, 1_000, 100_000] {
            let copy = Doc::with_client_id(9);
            let text = copy.get_or_insert_text("text");
            let mut slices = Slices::new(update.clone(), bytes).unwrap();
            let mut count = 0;
            while let Some(slice) = slices.next_slice().unwrap() {
                count += 1;
                let mut txn = copy.transact_mut();
                txn.apply_update(Update::decode_v1(&slice).unwrap()).unwrap();
                assert!(!txn.has_missing_updates(), "slice {count} of {bytes} bytes");
                assert!(slice.len() < bytes + 400, "{} of {bytes}", slice.len());
            }
            assert!(count >= update.len() / (bytes + 200), "{count} slices of {bytes}");
            let original = doc.get_or_insert_text("text");
            assert_eq!(text.get_string(&copy.transact()), original.get_string(&doc.transact()));
            let state = copy.transact().encode_state_as_update_v1(&StateVector::default());
            assert_eq!(state, update);
        }
    }

    /// Long texts, one with characters of every length, long arrays, and one who writes into both.
    fn long() -> (Doc, Bytes) {
        let (ann, bob) = (Doc::with_client_id(1), Doc::with_client_id(2));
        let (text, array) = (ann.get_or_insert_text("text"), ann.get_or_insert_array("array"));
        {
            let mut txn = ann.transact_mut();
            text.insert(&mut txn, 0, &"plain ".repeat(500));
            text.insert(&mut txn, 700, &"a\u{e4}\u{20ac}\u{1f600}".repeat(400));
            let values: Vec<Any> = (0..900).map(|i| Any::from(format!("value {i}"))).collect();
            array.insert_range(&mut txn, 0, values);
        }
        let all = ann.transact().encode_state_as_update_v1(&StateVector::default());
        bob.transact_mut().apply_update(Update::decode_v1(&all).unwrap()).unwrap();
        let (theirs, values) = (bob.get_or_insert_text("text"), bob.get_or_insert_array("array"));
        {
            let mut txn = bob.transact_mut();
            // Inside what will be cut, so that it waits for the right part of it.
            theirs.insert(&mut txn, 2_900, &"between ".repeat(50));
            values.insert(&mut txn, 800, "between");
            theirs.remove_range(&mut txn, 100, 300);
        }
        let all = bob.transact().encode_state_as_update_v1(&StateVector::default());
        let whole = crate::update::merge(&[&all[..]]).unwrap();
        (bob, whole.into())
    }

    #[test]
    fn a_long_text_and_a_long_list_are_cut() {
        let (doc, update) = long();
        let original = doc.get_or_insert_text("text").get_string(&doc.transact());
        let values = doc.get_or_insert_array("array").to_json(&doc.transact());
        for bytes in [1, 100, 1_000, 5_000] {
            let copy = Doc::with_client_id(9);
            let (text, array) =
                (copy.get_or_insert_text("text"), copy.get_or_insert_array("array"));
            let mut slices = Slices::new(update.clone(), bytes).unwrap();
            let mut count = 0;
            while let Some(slice) = slices.next_slice().unwrap() {
                count += 1;
                let mut txn = copy.transact_mut();
                txn.apply_update(Update::decode_v1(&slice).unwrap()).unwrap();
                assert!(!txn.has_missing_updates(), "slice {count} of {bytes} bytes");
                let deletes = if slices.is_finished() { 100 } else { 0 };
                assert!(slice.len() < bytes + 200 + deletes, "{} of {bytes}", slice.len());
            }
            assert!(count >= update.len() / (bytes + 200), "{count} slices of {bytes}");
            assert_eq!(text.get_string(&copy.transact()), original, "slices of {bytes}");
            assert_eq!(array.to_json(&copy.transact()), values, "slices of {bytes}");
            let state = copy.transact().encode_state_as_update_v1(&StateVector::default());
            let merged = crate::update::merge(&[&state[..]]).unwrap();
            assert_eq!(merged, crate::update::merge(&[&update[..]]).unwrap());
        }
    }

    #[test]
    fn what_refers_to_what_never_comes_waits_for_no_more_than_there_is() {
        // Client 2 stands beside clock 9 of client 1's, of which the update has two.
        let update = [2, 1, 2, 0, 0x84, 1, 9, 1, b'x', 1, 1, 0, 4, 1, 1, b'r', 2, b'h', b'i', 0];
        let mut slices = Slices::new(Bytes::copy_from_slice(&update), 1).unwrap();
        let first = [1, 1, 1, 0, 4, 1, 1, b'r', 2, b'h', b'i', 0];
        assert_eq!(slices.next_slice().unwrap().as_deref(), Some(&first[..]));
        let second = [1, 1, 2, 0, 0x84, 1, 9, 1, b'x', 0];
        assert_eq!(slices.next_slice().unwrap().as_deref(), Some(&second[..]));
        assert_eq!(slices.next_slice().unwrap(), None);
    }

    #[test]
    fn an_empty_update_is_one_empty_slice() {
        let mut slices = Slices::new(Bytes::from_static(crate::update::EMPTY), 100).unwrap();
        assert_eq!(slices.next_slice().unwrap().as_deref(), Some(crate::update::EMPTY));
        assert_eq!(slices.next_slice().unwrap(), None);
    }
}
