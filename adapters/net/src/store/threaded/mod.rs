//! Runs a store whose calls block on a thread of its own: [`Threaded`].

mod guard;
mod round;
#[cfg(test)]
mod tests;
mod worker;

use super::{BlockingStore, Reply, Store};
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use worker::Worker;
use yroom::{StoreFault, StoreFaultKind, StoreOp};

/// Makes a [`Store`] of a [`BlockingStore`]: one thread, and one commit for everything that waits.
///
/// While a commit is under way, what many rooms ask for gathers; the next commit takes all of it.
/// An idle store begins at once: nothing waits for company. How much may gather is bounded by the
/// rooms' journals ([`Limits::journal_bytes`](yroom::Limits)).
///
/// The store's faults and panics become answers. A fault that one room's data causes is kept from
/// the others by carrying their appends out one room at a time.
pub struct Threaded<S> {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
    store: PhantomData<fn() -> S>,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    ready: Condvar,
}

#[derive(Default)]
struct Queue {
    jobs: Vec<Job>,
    closed: bool,
}

/// One operation and where its answer goes.
struct Job {
    op: StoreOp,
    reply: Reply,
}

impl<S: BlockingStore> Threaded<S> {
    /// Starts the thread.
    pub fn new(store: S) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let worker = Worker::new(store, Arc::clone(&shared));
        let thread = std::thread::Builder::new()
            .name("yroom-store".to_owned())
            .spawn(move || worker.run())?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)), store: PhantomData })
    }
}

impl<S: BlockingStore> Store for Threaded<S> {
    fn submit(&self, op: StoreOp, reply: Reply) {
        let mut queue = self.shared.lock();
        if queue.closed {
            drop(queue);
            return reply.failed(StoreFault::new(StoreFaultKind::NotDone, "the store is closed"));
        }
        queue.jobs.push(Job { op, reply });
        let was_empty = queue.jobs.len() == 1;
        drop(queue);
        if was_empty {
            self.shared.ready.notify_one();
        }
    }

    fn close(&self) {
        self.shared.shut();
        // Held while joining: whoever closes at the same time returns when it is closed, too.
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(thread) = thread.take() {
            // The worker catches the store's panics; should it panic itself, the jobs' replies,
            // dropped with it, have said so.
            let _ = thread.join();
        }
    }
}

impl<S> Drop for Threaded<S> {
    /// As [`Store::close`].
    fn drop(&mut self) {
        self.shared.shut();
        let thread = self.thread.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(thread) = thread.take() {
            let _ = thread.join();
        }
    }
}

impl<S> fmt::Debug for Threaded<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let queue = self.shared.lock();
        f.debug_struct("Threaded")
            .field("waiting", &queue.jobs.len())
            .field("closed", &queue.closed)
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes no more jobs; the worker ends when it has done those that are there.
    fn shut(&self) {
        self.lock().closed = true;
        self.ready.notify_one();
    }

    fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Everything that waits; `None` when there will be nothing more.
    fn wait(&self) -> Option<Vec<Job>> {
        let mut queue = self.lock();
        while queue.jobs.is_empty() {
            if queue.closed {
                return None;
            }
            queue = self.ready.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        Some(std::mem::take(&mut queue.jobs))
    }

    /// Everything that is there now.
    fn poll(&self) -> Vec<Job> {
        std::mem::take(&mut self.lock().jobs)
    }
}
