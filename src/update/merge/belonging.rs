//! What belongs to something deleted, and what is a map's entry.
//!
//! A struct says where it belongs, or its origin does, or else its right origin. So each block
//! asks one other, and the answer is passed back along the way of the questions. Nobody is asked
//! twice, and a way that leads back to itself, which no editor makes, ends.

use super::block::{Belongs, State};
use super::{Client, Merged};
use crate::update::content::Kind;
use crate::update::read::{IS_ENTRY, Parent};
use crate::update::{Id, UpdateError};

/// A block's client and its place there.
pub(super) type At = (u32, u32);

/// Whom a block asks where it belongs.
enum Asks {
    /// Nobody: it knows, or nobody here does.
    Nobody(Belongs),
    /// It belongs where this one does.
    Neighbour(At),
    /// It is dead if this one is; it knows where it stands there.
    Type(At),
}

impl Merged<'_> {
    /// Buries what belongs to deleted types, also what others wrote there before they knew.
    pub(super) fn tell_the_dead(&mut self) -> Result<(), UpdateError> {
        let any_deleted = self.clients.iter().any(|client| !client.deletes.is_empty());
        if !(self.any_gc || self.any_nested && any_deleted) {
            return Ok(());
        }
        let mut way = Vec::new();
        for client in 0..self.clients.len() as u32 {
            for place in 0..self.clients[client as usize].blocks.len() as u32 {
                self.belongs((client, place), &mut way)?;
            }
        }
        self.spare()?;
        for client in self.clients.iter_mut() {
            client.bury_the_dead();
        }
        Ok(())
    }

    /// Where the block belongs. `way` is empty before and after.
    pub(super) fn belongs(
        &mut self,
        at: At,
        way: &mut Vec<(At, IsType)>,
    ) -> Result<Belongs, UpdateError> {
        let mut at = at;
        let mut answer = loop {
            let block = &mut self.clients[at.0 as usize].blocks[at.1 as usize];
            match block.belongs {
                Belongs::Unknown => block.belongs = Belongs::Asked,
                Belongs::Asked => break Belongs::List,
                Belongs::Dead | Belongs::Doomed => break Belongs::Dead,
                known @ (Belongs::List | Belongs::Map) => break known,
            }
            match self.asks(at)? {
                Asks::Nobody(known) => {
                    way.push((at, IsType::No));
                    break known;
                }
                Asks::Neighbour(next) => {
                    way.push((at, IsType::No));
                    at = next;
                }
                Asks::Type(next) => {
                    way.push((at, IsType::Yes));
                    at = next;
                }
            }
        };
        while let Some(((client, place), asked_type)) = way.pop() {
            let block = &mut self.clients[client as usize].blocks[place as usize];
            let entry = block.info & IS_ENTRY != 0;
            answer = match (answer, asked_type) {
                (Belongs::Dead, _) => Belongs::Dead,
                (_, IsType::Yes) if !entry => Belongs::List,
                (_, IsType::No) if !entry => answer,
                (_, IsType::Yes | IsType::No) => Belongs::Map,
            };
            block.belongs = answer;
        }
        Ok(answer)
    }

    fn asks(&self, (client, place): At) -> Result<Asks, UpdateError> {
        let owner = &self.clients[client as usize];
        let block = &owner.blocks[place as usize];
        if block.kind() == Kind::Gc {
            return Ok(Asks::Nobody(Belongs::Dead));
        }
        if block.state.has(State::CUT) {
            let before = Id { client: owner.id, clock: block.clock - 1 };
            return Ok(self.asks_neighbour(client, before));
        }
        let head = block.read_head(owner.id, self.updates)?;
        if let (Some(origin), Some(right)) = (head.origin, head.right)
            && self.find(client, origin).is_none()
        {
            return Ok(self.asks_neighbour(client, right));
        }
        if let Some(neighbour) = head.origin.or(head.right) {
            return Ok(self.asks_neighbour(client, neighbour));
        }
        Ok(match head.parent {
            Parent::Nested(id) => match self.find(client, id) {
                None => Asks::Nobody(Belongs::List),
                Some(at) => match self.clients[at.0 as usize].blocks[at.1 as usize].kind() {
                    Kind::Type => Asks::Type(at),
                    // Not a type (any more): Yjs makes GC of such children.
                    _ => Asks::Nobody(Belongs::Dead),
                },
            },
            Parent::Root | Parent::Inherited => Asks::Nobody(Belongs::List),
        })
    }

    fn asks_neighbour(&self, client: u32, id: Id) -> Asks {
        match self.find(client, id) {
            Some(at) => Asks::Neighbour(at),
            // It is in no update here: it may be a map's entry whose mark was lost.
            None => Asks::Nobody(Belongs::Map),
        }
    }

    /// The block that holds the id; `near` is a client that it is likely of.
    pub(super) fn find(&self, near: u32, id: Id) -> Option<At> {
        let client = if self.clients[near as usize].id == id.client {
            near
        } else {
            *self.places.get(&id.client)?
        };
        let place = self.clients[client as usize].find(id.clock)?;
        Some((client, place as u32))
    }
}

/// Whether the one that was asked is the type that the asker is in.
#[derive(Clone, Copy, Debug)]
pub(super) enum IsType {
    Yes,
    No,
}

impl Client {
    fn bury_the_dead(&mut self) {
        for place in 0..self.blocks.len() {
            let block = &self.blocks[place];
            if block.belongs.is_dead() && block.kind() != Kind::Gc {
                self.bury(place);
            }
        }
        self.join_deletes();
    }
}
