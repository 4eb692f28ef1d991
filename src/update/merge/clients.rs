//! A list that never moves what is in it.

use super::Client;
use std::ops::{Index, IndexMut};

/// Clients by their places, in pieces: there may be very many, and growing a list of them in one
/// piece would need twice its room.
#[derive(Default)]
pub(super) struct Clients {
    pieces: Vec<Vec<Client>>,
    len: usize,
}

const PIECE: usize = 64;

impl Clients {
    pub(super) fn push(&mut self, client: Client) {
        if self.len.is_multiple_of(PIECE) {
            // The first piece grows as needed: most documents have few clients.
            let room = if self.len == 0 { 1 } else { PIECE };
            self.pieces.push(Vec::with_capacity(room));
        }
        if let Some(piece) = self.pieces.last_mut() {
            piece.push(client);
        }
        self.len += 1;
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Client> {
        self.pieces.iter().flatten()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Client> {
        self.pieces.iter_mut().flatten()
    }
}

impl Index<usize> for Clients {
    type Output = Client;

    fn index(&self, place: usize) -> &Client {
        &self.pieces[place / PIECE][place % PIECE]
    }
}

impl IndexMut<usize> for Clients {
    fn index_mut(&mut self, place: usize) -> &mut Client {
        &mut self.pieces[place / PIECE][place % PIECE]
    }
}
