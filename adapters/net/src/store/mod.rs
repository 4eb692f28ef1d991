//! Where rooms are kept: the [`Store`] trait, and what makes one from blocking calls.
//!
//! A store is given the engine's [`StoreOp`]s and answers each through its
//! [`Reply`]. Most stores block (a file, a database file): they implement [`BlockingStore`] and run
//! on a thread of their own by [`Threaded`], which makes one commit of what many rooms have waiting.

mod browse;
mod compress;
pub mod conformance;
mod lock;
mod memory;
mod reply;
pub mod rules;
mod stamp;
mod threaded;
mod transient;

pub use browse::{Browse, Entry, Examined, Listed, RoomReport, Summary, Survey, check};
pub use compress::Compression;
pub use lock::{DirLock, LockError};
pub use memory::MemoryStore;
pub use reply::{Inbox, Reply};
pub use stamp::{Metadata, Stamp, ago, now_ms};
pub use threaded::Threaded;
pub use transient::Transient;

use bytes::Bytes;
use yroom::{Append, RoomName, Seq, StoreFault, StoreOp, Stored};

/// Keeps rooms. Shared by all shards of a server, so it is given work from several threads.
///
/// Operations of one room are submitted in order, and have to take effect in that order; those of
/// different rooms may overtake each other.
pub trait Store: Send + Sync + 'static {
    /// Begins `op`, without blocking; its outcome goes to `reply`, now or later, from any thread.
    ///
    /// [`StoreOp::Release`] needs no answer: its reply is dropped. Dropping the reply of any other
    /// operation unanswered counts as a failure of unknown effect.
    fn submit(&self, op: StoreOp, reply: Reply);

    /// Waits until everything submitted so far is answered, then closes the store (last flush,
    /// checkpoint, locks given back). Blocks. Later submissions fail.
    fn close(&self);
}

/// A store whose calls block: [`Threaded`] runs it on a thread of its own.
pub trait BlockingStore: Send + 'static {
    /// Reads a room; `Stored::default()` if there is none.
    fn load(&mut self, room: &RoomName) -> Result<Stored, StoreFault>;

    /// Makes all `appends` durable (synced to the medium), or none. They may be of many rooms, and
    /// several of one room are in order.
    ///
    /// Idempotent by place: an append at places that are stored already replaces them and all places
    /// after them. An append that would leave a hole in the room's places is refused, and so is one at
    /// places that the snapshot covers ([`rules`] has the checks).
    ///
    /// After a failure of [`Unknown`](yroom::StoreFaultKind::Unknown) effect, [`reopen`](Self::reopen)
    /// is called before anything else.
    fn append(&mut self, appends: &[Append]) -> Result<(), StoreFault>;

    /// Replaces what is stored of `room` up to and including `upto` by `snapshot`, in one step: a
    /// crash leaves either the old or the new. What the log has beyond `upto` stays.
    fn compact(&mut self, room: &RoomName, upto: Seq, snapshot: Bytes) -> Result<(), StoreFault>;

    /// Removes everything that is stored of `room`, durably and in one step: a crash leaves all of it
    /// or nothing. A damaged room can be removed, too, and one that is not there.
    fn delete(&mut self, room: &RoomName) -> Result<(), StoreFault>;

    /// Forgets what is cached of `room`; nobody has it open any more.
    fn release(&mut self, _room: &RoomName) {}

    /// Does a little of what can wait: called after each round of work, when its answers are out, and
    /// again while there is more and nobody waits. Rooms wait as long as it takes.
    fn tidy(&mut self) -> Result<Tidied, StoreFault> {
        Ok(Tidied::Done)
    }

    /// Closes and opens the medium anew, so that what is believed to be stored is what is there.
    fn reopen(&mut self) -> Result<(), StoreFault>;
}

/// Whether there is more of what can wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tidied {
    /// Nothing, for now.
    Done,
    /// Some more.
    More,
}
