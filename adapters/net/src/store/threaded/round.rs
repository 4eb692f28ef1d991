//! What is done together: a [`Round`] of what waits.

use super::{Job, Reply};
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};
use yroom::{Append, RoomName, Seq, StoreOp};

/// Loads in one round: so many that a rush of joiners moves on, so few that the appends of the
/// rooms that are open do not wait long behind it.
const LOADS: usize = 32;

/// One pass over the store: loads, then all appends in one commit, then one chore.
///
/// Within a room the order of submission holds, but for one thing that nobody can see: an append
/// may overtake a compaction, as neither touches what the other does.
#[derive(Default)]
pub(super) struct Round {
    pub(super) loads: Vec<(RoomName, Reply)>,
    pub(super) appends: Vec<(Append, Reply)>,
    pub(super) chore: Option<Chore>,
    pub(super) releases: Vec<RoomName>,
}

/// What is done one at a time, so that the appends of other rooms do not wait long behind it.
pub(super) enum Chore {
    Compact { name: RoomName, upto: Seq, snapshot: Bytes, reply: Reply },
    Delete { name: RoomName, reply: Reply },
}

/// What is decided of a room's jobs so far.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// Some are in the round.
    Begun,
    /// A compaction waits for the next round; appends may go before it.
    CompactionWaits,
    /// Nothing more of the room fits this round.
    Over,
}

impl Round {
    /// Takes from `waiting` what can be done together; the rest stays, in order.
    pub(super) fn take(waiting: &mut VecDeque<Job>) -> Self {
        let mut round = Self::default();
        let mut rooms: BTreeMap<RoomName, Progress> = BTreeMap::new();
        for job in std::mem::take(waiting) {
            if let Some(job) = round.add(&mut rooms, job) {
                waiting.push_back(job);
            }
        }
        // Stable, so a room's appends stay in order; and neighbours in the store are written together.
        round.appends.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
        round
    }

    /// Gives the job back if it has to wait.
    fn add(&mut self, rooms: &mut BTreeMap<RoomName, Progress>, job: Job) -> Option<Job> {
        let progress = rooms.get(job.op.name()).copied();
        let (taken, after) = self.judge(&job.op, progress);
        rooms.insert(job.op.name().clone(), after);
        if !taken {
            return Some(job);
        }
        let Job { op, reply } = job;
        match op {
            StoreOp::Load { name, .. } => self.loads.push((name, reply)),
            StoreOp::Append(append) => self.appends.push((append, reply)),
            StoreOp::Compact { name, upto, snapshot, .. } => {
                self.chore = Some(Chore::Compact { name, upto, snapshot, reply });
            }
            StoreOp::Delete { name, .. } => self.chore = Some(Chore::Delete { name, reply }),
            StoreOp::Release { name, .. } => self.releases.push(name),
        }
        None
    }

    /// Whether `op` fits, and what that means for later ones of its room.
    fn judge(&self, op: &StoreOp, progress: Option<Progress>) -> (bool, Progress) {
        use Progress::{Begun, CompactionWaits, Over};
        if progress == Some(Over) {
            return (false, Over);
        }
        match op {
            StoreOp::Load { .. } => match progress {
                None if self.loads.len() < LOADS => (true, Begun),
                None | Some(Begun | CompactionWaits | Over) => (false, Over),
            },
            StoreOp::Append(_) => (true, progress.unwrap_or(Begun)),
            StoreOp::Compact { .. } if self.chore.is_some() => (false, CompactionWaits),
            StoreOp::Compact { .. } => (true, Begun),
            // It comes last in the round, and nothing behind it may overtake it.
            StoreOp::Delete { .. } => (self.chore.is_none(), Over),
            StoreOp::Release { .. } => (progress != Some(CompactionWaits), Over),
        }
    }
}
