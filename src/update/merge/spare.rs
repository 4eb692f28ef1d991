//! What has to stay an item although it belongs to something deleted.
//!
//! Yjs makes GC of whatever refers to GC. So where something that lives refers to something dead,
//! which only a broken client can have written, the dead one must not become GC, nor anything that
//! it depends on. If one of these is GC already, Yjs makes GC of all of them: nothing is spared.

use super::Merged;
use super::belonging::At;
use super::block::{Belongs, Block, State};
use crate::update::content::Kind;
use crate::update::{Id, UpdateError};

impl Merged<'_> {
    /// Spares what is referred to from outside.
    pub(super) fn spare(&mut self) -> Result<(), UpdateError> {
        let mut wanted: Vec<At> = Vec::new();
        for (near, client) in self.clients.iter().enumerate() {
            for block in client.blocks.iter().filter(|block| !block.belongs.is_dead()) {
                // With an origin only, or a right origin only, it would be dead as well.
                if let (Some(_), Some(right)) = block.origins(client.id, self.updates)?
                    && let Some(at) = self.find(near as u32, right)
                    && self.block(at).belongs == Belongs::Dead
                {
                    wanted.push(at);
                }
            }
        }
        let mut needed = Vec::new();
        for at in wanted {
            if self.block(at).belongs == Belongs::Dead {
                let doomed = self.gather_needed(at, &mut needed)?;
                for &at in &needed {
                    self.settle_one(at, if doomed { Belongs::Doomed } else { Belongs::Map });
                }
                for at in needed.drain(..).filter(|_| !doomed) {
                    self.keep_parent(at)?;
                }
            }
        }
        Ok(())
    }

    /// Lists all dead blocks that this one depends on, itself included, each marked as
    /// [`Belongs::Asked`]; whether one of them, or of what they depend on, is lost.
    fn gather_needed(&mut self, at: At, needed: &mut Vec<At>) -> Result<bool, UpdateError> {
        let mut doomed = false;
        let mut next = 0;
        doomed |= self.need(at, needed);
        while let Some(&at) = needed.get(next) {
            next += 1;
            let [origin, right, parent] = self.depends_on(at)?;
            for id in [origin, right].into_iter().flatten() {
                if let Some(at) = self.find(at.0, id) {
                    doomed |= self.need(at, needed);
                }
            }
            if let Some(at) = parent.and_then(|id| self.find(at.0, id)) {
                doomed |= !self.can_be_type(at)?;
                doomed |= self.need(at, needed);
            }
        }
        Ok(doomed)
    }

    /// Takes a block up in the list, if it is dead and not there yet; whether it is lost.
    fn need(&mut self, at: At, needed: &mut Vec<At>) -> bool {
        let block = self.block_mut(at);
        match block.belongs {
            _ if block.kind() == Kind::Gc => true,
            Belongs::Doomed => true,
            Belongs::Dead => {
                block.belongs = Belongs::Asked;
                needed.push(at);
                false
            }
            Belongs::Unknown | Belongs::Asked | Belongs::List | Belongs::Map => false,
        }
    }

    /// Its origin, its right origin, and its parent if it names one.
    fn depends_on(&self, at: At) -> Result<[Option<Id>; 3], UpdateError> {
        let owner = &self.clients[at.0 as usize];
        let block = self.block(at);
        let (origin, right) = block.origins(owner.id, self.updates)?;
        let head = block.read_head(owner.id, self.updates)?;
        let cut = block.state.has(State::CUT);
        Ok([origin, right, if cut { None } else { head.parent.nested() }])
    }

    /// Gives a dead block up, or keeps it as deleted content.
    fn settle_one(&mut self, at: At, belongs: Belongs) {
        let block = self.block_mut(at);
        block.belongs = belongs;
        if !belongs.is_dead() {
            block.delete();
            let range = (block.clock, block.end());
            self.clients[at.0 as usize].deletes.push(range);
        }
    }

    /// Keeps the type that a spared block is in a type.
    fn keep_parent(&mut self, at: At) -> Result<(), UpdateError> {
        let [_, _, parent] = self.depends_on(at)?;
        if let Some(at) = parent.and_then(|id| self.find(at.0, id))
            && self.block(at).kind() == Kind::Deleted
        {
            let (client, updates) = (self.clients[at.0 as usize].id, self.updates);
            self.block_mut(at).revive_type(client, updates)?;
        }
        Ok(())
    }

    /// Whether the block is a type, or was one when it was read.
    fn can_be_type(&self, at: At) -> Result<bool, UpdateError> {
        let owner = &self.clients[at.0 as usize];
        let head = self.block(at).read_head(owner.id, self.updates)?;
        Ok(head.kind == Kind::Type)
    }

    fn block(&self, at: At) -> &Block {
        &self.clients[at.0 as usize].blocks[at.1 as usize]
    }

    fn block_mut(&mut self, at: At) -> &mut Block {
        &mut self.clients[at.0 as usize].blocks[at.1 as usize]
    }
}
