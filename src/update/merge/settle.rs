//! Putting blocks in order, each clock once, and taking deleted content out.

use super::block::Block;
use super::{Client, Merged};
use crate::update::UpdateError;
use crate::update::content::Kind;

impl Merged<'_> {
    /// Settles what two updates say of the same clocks, and applies the delete ranges.
    pub(super) fn settle(&mut self) -> Result<(), UpdateError> {
        for client in self.clients.iter_mut() {
            if !client.ordered {
                client.order(self.updates)?;
            }
            client.join_deletes();
            client.apply_deletes(self.updates)?;
        }
        Ok(())
    }
}

impl Client {
    /// Sorts the blocks and cuts overlaps: of two that overlap the earlier stays whole, so that a
    /// surrogate pair which somebody cut is whole if anybody has it whole.
    fn order(&mut self, updates: &[&[u8]]) -> Result<(), UpdateError> {
        self.blocks.sort_unstable_by_key(|block| {
            let rank = u32::from(block.kind() != Kind::Gc);
            (block.clock, rank, u32::MAX - block.len, block.source, block.head)
        });
        let mut kept = 0;
        let mut end = 0;
        for i in 0..self.blocks.len() {
            let mut block = self.blocks[i];
            if block.end() <= end {
                continue;
            }
            if block.clock < end {
                block = Self::cut(&mut block, end, updates, self.arena())?;
            }
            end = block.end();
            self.blocks[kept] = block;
            kept += 1;
        }
        self.blocks.truncate(kept);
        self.ordered = true;
        Ok(())
    }

    /// Sorts the deleted ranges and joins those that touch.
    pub(super) fn join_deletes(&mut self) {
        self.deletes.sort_unstable();
        self.deletes.dedup_by(|next, joined| {
            let touch = next.0 <= joined.1;
            if touch {
                joined.1 = joined.1.max(next.1);
            }
            touch
        });
    }

    /// Makes what the deleted ranges cover deleted content.
    fn apply_deletes(&mut self, updates: &[&[u8]]) -> Result<(), UpdateError> {
        let cuts = self.delete_whole();
        if cuts == 0 {
            return Ok(());
        }
        let blocks = std::mem::take(&mut self.blocks);
        self.blocks.reserve_exact(blocks.len() + cuts);
        let mut next = 0;
        for mut block in blocks {
            while let Some(&(start, end)) = self.deletes.get(next) {
                if end <= block.clock {
                    next += 1;
                    continue;
                }
                if start >= block.end() {
                    break;
                }
                if start > block.clock {
                    let right = Self::cut(&mut block, start, updates, self.arena())?;
                    self.blocks.push(block);
                    block = right;
                }
                if end >= block.end() {
                    block.delete();
                    break;
                }
                let right = Self::cut(&mut block, end, updates, self.arena())?;
                block.delete();
                self.blocks.push(block);
                block = right;
            }
            self.blocks.push(block);
        }
        Ok(())
    }

    /// Deletes the blocks that lie in a deleted range as a whole; how many cuts the others need.
    fn delete_whole(&mut self) -> usize {
        let (mut next, mut cuts) = (0, 0);
        for block in &mut self.blocks {
            while let Some(&(start, end)) = self.deletes.get(next) {
                if end <= block.clock {
                    next += 1;
                } else if start >= block.end() {
                    break;
                } else if start <= block.clock && end >= block.end() {
                    block.delete();
                    break;
                } else {
                    cuts += usize::from(start > block.clock) + usize::from(end < block.end());
                    if end >= block.end() {
                        break;
                    }
                    next += 1;
                }
            }
        }
        cuts
    }

    /// Deletes or buries a block after the ranges were applied.
    pub(super) fn bury(&mut self, place: usize) {
        let block: &mut Block = &mut self.blocks[place];
        self.deletes.push((block.clock, block.end()));
        block.bury();
    }
}
