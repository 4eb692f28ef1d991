//! The thread's work.

use super::super::reply::{Answer, Reply};
use super::super::{BlockingStore, Tidied};
use super::guard::Guarded;
use super::round::{Chore, Round};
use super::{Job, Shared};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use yroom::{Append, RoomName, Seq, StoreFault, StoreFaultKind};

pub(super) struct Worker<S> {
    store: Guarded<S>,
    shared: Arc<Shared>,
    waiting: VecDeque<Job>,
    /// Where each room's first failed append began, until one at that place or before it comes.
    ///
    /// An append behind it was sent by a room that did not know of the failure yet. It must not be
    /// stored: acknowledged now, it would be cut off by the earlier ones when they come again.
    failed: BTreeMap<RoomName, Seq>,
    /// Rooms that nobody uses any more, which the store could not be told while it was not open.
    unreleased: BTreeSet<RoomName>,
    grouping: Grouping,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Grouping {
    /// One commit for all rooms.
    All,
    /// A commit per room, for a round: a commit failed with unknown effect, and if that is one
    /// room's doing the others are not to fail with it.
    PerRoom,
}

impl<S: BlockingStore> Worker<S> {
    pub(super) fn new(store: S, shared: Arc<Shared>) -> Self {
        Self {
            store: Guarded::new(store),
            shared,
            waiting: VecDeque::new(),
            failed: BTreeMap::new(),
            unreleased: BTreeSet::new(),
            grouping: Grouping::All,
        }
    }

    pub(super) fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let _shut = ShutOnDrop(&shared);
        let mut tidied = Tidied::Done;
        loop {
            if self.waiting.is_empty() && tidied == Tidied::Done {
                match shared.wait() {
                    Some(jobs) => self.waiting = jobs.into(),
                    None => return,
                }
            } else {
                self.waiting.extend(shared.poll());
            }
            let round = Round::take(&mut self.waiting);
            self.carry_out(round);
            tidied = self.tidy();
        }
    }

    /// What can wait is no reason to end later, and nobody hears of its failures: a fault of unknown
    /// effect has the store opened anew, as any.
    fn tidy(&mut self) -> Tidied {
        if self.shared.is_closed() {
            return Tidied::Done;
        }
        self.store.call(BlockingStore::tidy).unwrap_or(Tidied::Done)
    }

    fn carry_out(&mut self, round: Round) {
        for (name, reply) in round.loads {
            self.failed.remove(&name);
            self.unreleased.remove(&name);
            reply.loaded(self.store.call(|store| store.load(&name)));
        }
        self.append(round.appends);
        match round.chore {
            None => {}
            Some(Chore::Compact { name, upto, snapshot, reply }) => {
                reply.compacted(self.store.call(|store| store.compact(&name, upto, snapshot)));
            }
            Some(Chore::Delete { name, reply }) => {
                let result = self.store.call(|store| store.delete(&name));
                if result.is_ok() {
                    self.failed.remove(&name);
                }
                reply.deleted(result);
            }
        }
        for name in round.releases {
            self.failed.remove(&name);
            self.unreleased.insert(name);
        }
        while let Some(name) = self.unreleased.pop_first() {
            let released = self.store.call(|store| {
                store.release(&name);
                Ok(())
            });
            if released.is_err() {
                self.unreleased.insert(name);
                break;
            }
        }
    }

    fn append(&mut self, jobs: Vec<(Append, Reply)>) {
        if jobs.is_empty() {
            return;
        }
        let mut answers = Vec::with_capacity(jobs.len());
        let (mut appends, mut replies) = (Vec::new(), Vec::new());
        for (append, reply) in jobs {
            if self.is_behind_a_failure(&append) {
                let fault = StoreFault::new(StoreFaultKind::NotDone, "an earlier append failed");
                answers.push((reply, Answer::Failed(fault)));
            } else {
                appends.push(append);
                replies.push(reply);
            }
        }
        let results = self.store_all(&appends);
        answers.extend(replies.into_iter().zip(results).map(|(reply, result)| match result {
            Ok(()) => (reply, Answer::Durable),
            Err(fault) => (reply, Answer::Failed(fault)),
        }));
        Reply::answer_all(answers);
    }

    /// An append at the failed place makes good for it, and those after it in this round go with
    /// it; if it fails in turn, it is noted anew.
    fn is_behind_a_failure(&mut self, append: &Append) -> bool {
        match self.failed.get(&append.name) {
            None => false,
            Some(failed) if append.batch.first() > *failed => true,
            Some(_) => {
                self.failed.remove(&append.name);
                false
            }
        }
    }

    /// Stores what it can of `appends`, which are sorted by room; says what became of each.
    fn store_all(&mut self, appends: &[Append]) -> Vec<Result<(), StoreFault>> {
        let one_room = appends.first().map(|a| &a.name) == appends.last().map(|a| &a.name);
        if self.grouping == Grouping::All && !one_room {
            match self.store_group(appends) {
                Err(fault) if fault.kind == StoreFaultKind::Unknown => {
                    self.grouping = Grouping::PerRoom;
                    self.note_failures(appends);
                    return vec![Err(fault); appends.len()];
                }
                // Nothing was done, so it can be done room by room, and only the culprit fails.
                Err(_) => {}
                Ok(()) => return vec![Ok(()); appends.len()],
            }
        }
        let mut results = Vec::with_capacity(appends.len());
        for room in appends.chunk_by(|a, b| a.name == b.name) {
            let result = self.store_group(room);
            if result.is_err() {
                self.note_failures(room);
            }
            results.extend(room.iter().map(|_| result.clone()));
        }
        let sound = |result: &Result<(), StoreFault>| match result {
            Ok(()) => true,
            Err(fault) => fault.kind != StoreFaultKind::Unknown,
        };
        if results.iter().all(sound) {
            self.grouping = Grouping::All;
        }
        results
    }

    fn store_group(&mut self, appends: &[Append]) -> Result<(), StoreFault> {
        if appends.is_empty() {
            return Ok(());
        }
        self.store.call(|store| store.append(appends))
    }

    fn note_failures(&mut self, appends: &[Append]) {
        for append in appends {
            let first = append.batch.first();
            let failed = self.failed.entry(append.name.clone()).or_insert(first);
            *failed = first.min(*failed);
        }
    }
}

/// However the thread ends, later submissions are refused, and what waits is answered by being
/// dropped.
struct ShutOnDrop<'a>(&'a Shared);

impl Drop for ShutOnDrop<'_> {
    fn drop(&mut self) {
        self.0.shut();
        drop(self.0.poll());
    }
}
