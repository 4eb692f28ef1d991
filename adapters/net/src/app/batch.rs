//! Edits and readings of each room, taken together: what waits while one copy of the document is
//! worked on is done on the next.

use super::RoomError;
use super::desk::Ask;
use super::edit::{self, Errand, Finish};
use crate::accept::Job;
use crate::mailbox::Mailbox;
use crate::shard::Shard;
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use yroom::RoomId;
use yroom::update::ClientId;

/// How many may wait for one room; further ones are refused.
const WAITING: usize = 10_000;
/// How many are done on one copy: as many as leave the next not too long behind the peers.
const BATCH: usize = 128;

/// The rooms that the application works on.
#[derive(Default)]
pub(crate) struct Batches(BTreeMap<RoomId, Work>);

struct Work {
    waiting: VecDeque<Errand>,
    /// Whether a copy is being worked on.
    busy: bool,
    /// Changes of the last batch of which it is not known yet whether they are stored. The next copy
    /// is made when it is: before, it would not have them.
    unstored: usize,
    /// Who edits. One id for all edits of a load instead of one for each, since every id that ever
    /// wrote stays in the document for good; another when it is not known what became of an edit.
    client: ClientId,
}

impl Work {
    fn new() -> Self {
        Self { waiting: VecDeque::new(), busy: false, unstored: 0, client: random_client() }
    }
}

impl Shard {
    /// Does something with a copy of a room's document when it is its turn.
    pub(super) fn work_on(&self, room: RoomId, errand: Errand) {
        {
            let mut batches = self.desk().batches.borrow_mut();
            let work = batches.0.entry(room).or_insert_with(Work::new);
            if work.waiting.len() >= WAITING {
                drop(batches);
                return errand.refuse(RoomError::Busy);
            }
            work.waiting.push_back(errand);
        }
        self.begin_batch(room);
    }

    /// Nobody works on a room any more that is gone.
    pub(super) fn drop_batches(&self, room: RoomId) {
        let left = self.desk().batches.borrow_mut().0.remove(&room);
        for errand in left.into_iter().flat_map(|work| work.waiting) {
            errand.refuse(RoomError::Gone);
        }
    }

    fn begin_batch(&self, room: RoomId) {
        let (client, errands) = {
            let mut batches = self.desk().batches.borrow_mut();
            let Some(work) = batches.0.get_mut(&room) else { return };
            if work.busy || work.unstored > 0 || work.waiting.is_empty() {
                return;
            }
            work.busy = true;
            let count = work.waiting.len().min(BATCH);
            (work.client, work.waiting.drain(..count).collect::<Vec<_>>())
        };
        let Some(content) = self.with_hub(|hub, _| hub.content(room)) else {
            for errand in errands {
                errand.refuse(RoomError::Gone);
            }
            return self.drop_batches(room);
        };
        let mailbox = self.desk().rooms.mailbox(self.desk().shard).clone();
        self.desk().rooms.pool().run(move || {
            let over = Over { mailbox: mailbox.clone(), room };
            edit::run(&content, client, errands, |update, finish| {
                let ask: Ask = Box::new(move |shard| shard.edited(room, &update, finish));
                // A shard that has ended tells whoever waits by being gone.
                let _ = mailbox.push(Job::Ask(ask));
            });
            drop(over);
        });
    }

    fn batch_over(&self, room: RoomId) {
        if let Some(work) = self.desk().batches.borrow_mut().0.get_mut(&room) {
            work.busy = false;
        }
        self.begin_batch(room);
    }

    /// A closure has changed its copy; the room is to have that too.
    fn edited(&self, room: RoomId, update: &Bytes, finish: Finish) {
        let applied = self.with_hub(|hub, now| hub.apply(now, room, update));
        let seq = match applied {
            Ok(seq) => seq,
            Err(why) => return finish(Err(why.into())),
        };
        if let Some(work) = self.desk().batches.borrow_mut().0.get_mut(&room) {
            work.unstored += 1;
        }
        let until = self.store_deadline();
        let then = move |shard: &Shard, result: Result<(), RoomError>| {
            shard.batch_stored(room, &result);
            finish(result);
        };
        self.desk().when_stored(room, seq, until, Box::new(then));
    }

    fn batch_stored(&self, room: RoomId, result: &Result<(), RoomError>) {
        if let Some(work) = self.desk().batches.borrow_mut().0.get_mut(&room) {
            work.unstored = work.unstored.saturating_sub(1);
            if result.is_err() {
                // The room may have it or not: its ids must not be given to something else.
                work.client = random_client();
            }
        }
        self.begin_batch(room);
    }
}

/// Says that a batch is over, however it ends.
struct Over {
    mailbox: Mailbox<Job>,
    room: RoomId,
}

impl Drop for Over {
    fn drop(&mut self) {
        let room = self.room;
        let ask: Ask = Box::new(move |shard| shard.batch_over(room));
        let _ = self.mailbox.push(Job::Ask(ask));
    }
}

/// A client id as Yjs 13 makes them: 32 bits at random.
fn random_client() -> ClientId {
    let random = RandomState::new().hash_one(0_u8) as u32;
    ClientId(u64::from(random.max(1)))
}
