//! Many updates into one, with neighbours squashed and deleted content gone.
//!
//! Structs are gathered as [`Block`]s, one list for each client; a keystroke is squashed onto the
//! text before it at once. Then overlaps are settled and the delete ranges cut out, and what
//! belongs to deleted types is told from what does not. What remains is joined where neighbours
//! are one by definition and written: as it lies in the input where nothing has changed.
//!
//! Two items are one if their clocks follow each other, the right one's origin is the left one's
//! last clock, both have the same right origin and content of the same kind that can be joined:
//! this is what an item looks like that was cut. Nobody can tell the difference, wherever in the
//! list they are: who integrates something that refers to the middle cuts it again.

mod belonging;
mod block;
mod clients;
mod emit;
mod gather;
mod settle;
mod spare;

use super::read::{Check, Walk};
use super::{ClientId, EMPTY, Limit, UpdateError};
use block::Block;
use clients::Clients;
use smallvec::SmallVec;
use std::collections::BTreeMap;

/// Merges updates into one, which holds all that they hold, but for deleted content.
///
/// They may overlap, repeat each other, come in any order and leave gaps, which become Skips. A
/// content's bytes are not looked into: what was scanned before is well formed after. All of them
/// together are at most 1 GiB.
pub fn merge(updates: &[&[u8]]) -> Result<Vec<u8>, UpdateError> {
    if updates.iter().map(|update| update.len()).sum::<usize>() > MERGE_BYTES {
        return Err(UpdateError::Limit(Limit::TooLarge));
    }
    if updates.is_empty() {
        return Ok(EMPTY.to_vec());
    }
    let mut merged = Merged::new(updates);
    for (source, update) in updates.iter().enumerate() {
        let mut walk = Walk::new(update, Check::Bounds)?;
        merged.gather_structs(source as u32, &mut walk)?;
        merged.gather_deletes(walk.deletes()?)?;
    }
    merged.settle()?;
    merged.tell_the_dead()?;
    merged.emit()
}

/// Like [`merge`], piece by piece: all of them together may be longer than what is merged at once, as a
/// log is often much longer than the document that it makes.
pub fn merge_in_pieces<'a>(
    updates: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Vec<u8>, UpdateError> {
    in_pieces(updates, PIECE)
}

/// So much is merged with what was merged before.
const PIECE: usize = 64 << 20;

fn in_pieces<'a>(
    updates: impl IntoIterator<Item = &'a [u8]>,
    most: usize,
) -> Result<Vec<u8>, UpdateError> {
    let mut before = None;
    let join = |before: Option<Vec<u8>>, piece: &[&[u8]]| {
        let parts: Vec<&[u8]> =
            before.as_deref().into_iter().chain(piece.iter().copied()).collect();
        merge(&parts)
    };
    let (mut piece, mut bytes) = (Vec::new(), 0);
    for (nth, update) in updates.into_iter().enumerate() {
        // The first may be a snapshot, to which a little is added.
        bytes += if nth == 0 { 0 } else { update.len() };
        piece.push(update);
        if bytes > most {
            before = Some(join(before.take(), &piece)?);
            piece.clear();
            bytes = 0;
        }
    }
    join(before, &piece)
}

/// The most bytes that are merged at once: places in them have 32 bits.
pub(crate) const MERGE_BYTES: usize = 1 << 30;

/// What the updates hold, while they are merged.
struct Merged<'a> {
    updates: &'a [&'a [u8]],
    clients: Clients,
    /// The places in `clients`.
    places: BTreeMap<ClientId, u32>,
    /// Whether a GC struct was seen.
    any_gc: bool,
    /// Whether a struct was seen whose parent is another struct.
    any_nested: bool,
}

/// What is held of one client's.
struct Client {
    id: ClientId,
    /// One is in its place: there may be very many clients with one struct each.
    blocks: SmallVec<[Block; 1]>,
    /// Deleted ranges as start and end.
    deletes: SmallVec<[(u32, u32); 2]>,
    /// What it takes to squash, once there is something to squash.
    growing: Option<Box<Growing>>,
    /// From here to the last block's end nothing is missing, if `ordered`.
    run_start: u32,
    /// Whether the blocks are in the order of their clocks and do not overlap.
    ordered: bool,
}

/// What it takes to squash.
struct Growing {
    /// Content that was squashed.
    arena: Vec<u8>,
    /// The right origin of the last block.
    right: Option<super::Id>,
}

impl<'a> Merged<'a> {
    fn new(updates: &'a [&'a [u8]]) -> Self {
        let (clients, places) = (Clients::default(), BTreeMap::new());
        Self { updates, clients, places, any_gc: false, any_nested: false }
    }

    /// The client's place, made if need be.
    fn place(&mut self, id: ClientId) -> usize {
        *self.places.entry(id).or_insert_with(|| {
            self.clients.push(Client::new(id));
            self.clients.len() as u32 - 1
        }) as usize
    }
}

impl Client {
    fn new(id: ClientId) -> Self {
        Self {
            id,
            blocks: SmallVec::new(),
            deletes: SmallVec::new(),
            growing: None,
            run_start: 0,
            ordered: true,
        }
    }

    /// Content that was squashed.
    fn arena(&self) -> &[u8] {
        self.growing.as_ref().map_or(&[], |growing| &growing.arena)
    }

    /// The place of the block that holds the clock, once they are ordered.
    fn find(&self, clock: u32) -> Option<usize> {
        let place = self.blocks.partition_point(|block| block.end() <= clock);
        (self.blocks.get(place)?.clock <= clock).then_some(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_merged_in_pieces_is_what_is_merged_at_once() {
        // Client 1 types a letter, again and again, and client 2 what is between.
        let letter = |client, clock| [1, 1, client, clock, 4, 1, 1, b't', 1, b'a', 0];
        let updates: Vec<[u8; 11]> =
            (0..60).flat_map(|clock| [letter(1, clock), letter(2, clock)]).collect();
        let all: Vec<&[u8]> = updates.iter().map(|update| &update[..]).collect();
        let whole = merge(&all).expect("well formed");
        for most in [0, 1, 11, 100, 1_000, PIECE] {
            assert_eq!(in_pieces(all.iter().copied(), most).expect("well formed"), whole, "{most}");
        }
        assert_eq!(merge_in_pieces([]).expect("nothing"), merge(&[]).expect("nothing"));
        in_pieces([&b"nonsense"[..], all[0]], 0).expect_err("malformed");
    }
}
