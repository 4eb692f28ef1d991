//! A large update cut into small ones, each of which can be integrated after those before it.

use super::read::{Check, Reader, Section, Walk};
use super::write::Writer;
use super::{ClientId, UpdateError};
use bytes::Bytes;

/// Cuts an update into slices of about the same size, made one at a time as they are asked for.
///
/// Every slice is an update of its own, causally complete after those before it; the last one has
/// the whole delete set. Structs are not cut: one that is larger than a slice is a slice of its own.
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
    clock: u32,
    structs: usize,
    at: usize,
    is_waiting: bool,
}

#[derive(Debug)]
struct Waiting {
    section: usize,
    /// It goes on when this section is past the clock.
    on: usize,
    clock: u32,
}

/// What a slice takes of a section: consecutive structs, and so consecutive bytes.
#[derive(Clone, Copy, Debug)]
struct Piece {
    clock: u32,
    from: usize,
    structs: usize,
}

impl Slices {
    /// Prepares to cut `update` into slices of about `bytes` bytes.
    pub fn new(update: Bytes, bytes: usize) -> Result<Self, UpdateError> {
        let mut walk = Walk::new(&update, Check::Bounds)?;
        let mut sections = Vec::with_capacity(walk.sections());
        while let Some(Section { client, clock, structs }) = walk.section()? {
            let at = walk.reader.at();
            sections.push(Rest { client, clock, structs, at, is_waiting: false });
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
        let mut pieces: Vec<Option<Piece>> = vec![None; self.sections.len()];
        let mut taken = 0;
        while taken < self.bytes
            && let Some(section) = self.current()
        {
            if let Some(bytes) = self.take_struct(section, &mut pieces[section])? {
                taken += bytes;
            }
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

    /// Takes a section's next struct and returns its bytes; or finds that it has to wait.
    fn take_struct(
        &mut self,
        section: usize,
        piece: &mut Option<Piece>,
    ) -> Result<Option<usize>, UpdateError> {
        let Rest { client, clock, at, .. } = self.sections[section];
        let mut reader = Reader::new(&self.update);
        reader.seek(at);
        let read = reader.structure(client, clock, Check::Bounds)?;
        for id in read.head.references() {
            if id.client != client
                && let Some(on) = self.behind(id.client, id.clock)
            {
                self.sections[section].is_waiting = true;
                self.waiting.push(Waiting { section, on, clock: id.clock });
                return Ok(None);
            }
        }
        piece.get_or_insert(Piece { clock, from: at, structs: 0 }).structs += 1;
        let rest = &mut self.sections[section];
        rest.structs -= 1;
        rest.clock = read.end_clock();
        rest.at = read.end;
        Ok(Some(read.end - at))
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
            if let Some(Piece { clock, from, structs }) = *piece {
                let body = slice.section(rest.client, clock, structs);
                body.extend_from_slice(&self.update[from..rest.at]);
            }
        }
        slice.finish_with(if self.finished { &self.update[self.deletes..] } else { &[0] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use yrs::updates::decoder::Decode;
    use yrs::{Doc, GetString, ReadTxn, StateVector, Text, Transact, Update};

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

    #[test]
    fn an_empty_update_is_one_empty_slice() {
        let mut slices = Slices::new(Bytes::from_static(crate::update::EMPTY), 100).unwrap();
        assert_eq!(slices.next_slice().unwrap().as_deref(), Some(crate::update::EMPTY));
        assert_eq!(slices.next_slice().unwrap(), None);
    }
}
