//! The few threads on which documents are built: with stacks that the deepest of them needs.

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// How long a thread without work stays.
const IDLE: Duration = Duration::from_secs(10);

type Job = Box<dyn FnOnce() + Send>;

/// Threads that come when there is work and go when there is none for a while.
///
/// Clones share the threads. Dropped with its last clone, what waits is still done.
pub(crate) struct Pool {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    work: Condvar,
    threads: usize,
    stack: usize,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
}

impl Pool {
    /// At most `threads` threads, each with a stack of `stack` bytes, of which only the part that is
    /// used takes memory.
    pub(crate) fn new(threads: usize, stack: usize) -> Self {
        let (state, work) = (Mutex::default(), Condvar::new());
        Self { shared: Arc::new(Shared { state, work, threads: threads.max(1), stack }) }
    }

    /// Does `job` when a thread is free. A job that panics harms nothing but itself; one for which
    /// there is no thread at all is dropped.
    pub(crate) fn run(&self, job: impl FnOnce() + Send + 'static) {
        let mut state = self.shared.lock();
        state.jobs.push_back(Box::new(job));
        if state.idle >= state.jobs.len() || state.threads >= self.shared.threads {
            drop(state);
            self.shared.work.notify_one();
            return;
        }
        state.threads += 1;
        drop(state);
        let shared = Arc::clone(&self.shared);
        let builder = thread::Builder::new().name("yroom-edit".to_owned());
        if builder.stack_size(self.shared.stack).spawn(move || shared.work_off()).is_err() {
            let mut state = self.shared.lock();
            state.threads -= 1;
            let dropped =
                if state.threads == 0 { std::mem::take(&mut state.jobs) } else { VecDeque::new() };
            drop(state);
            drop(dropped);
        }
    }
}

impl Shared {
    fn work_off(&self) {
        while let Some(job) = self.next() {
            // What it had to say of a panic it has said.
            let _ = catch_unwind(AssertUnwindSafe(job));
        }
    }

    /// The next job; `None` when the thread has waited long enough.
    fn next(&self) -> Option<Job> {
        let mut state = self.lock();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                return Some(job);
            }
            state.idle += 1;
            let (back, waited) =
                self.work.wait_timeout(state, IDLE).unwrap_or_else(PoisonError::into_inner);
            state = back;
            state.idle -= 1;
            if waited.timed_out() && state.jobs.is_empty() {
                state.threads -= 1;
                return None;
            }
        }
    }

    /// Jobs are run outside of the lock, so a poisoned one holds nothing broken.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clone for Pool {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("threads", &self.shared.lock().threads).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn all_jobs_are_done_by_few_threads_though_some_panic() {
        let pool = Pool::new(3, 1 << 20);
        let (done, results) = mpsc::channel();
        for n in 0..100 {
            let done = done.clone();
            pool.run(move || {
                done.send((n, thread::current().id())).unwrap();
                assert!(n % 10 != 0, "as a test wants it");
            });
        }
        drop(done);
        let results: Vec<_> = results.iter().collect();
        assert_eq!(results.len(), 100);
        let mut threads: Vec<_> = results.iter().map(|(_, thread)| format!("{thread:?}")).collect();
        threads.sort();
        threads.dedup();
        assert!(threads.len() <= 3, "{threads:?}");
    }

    #[test]
    fn a_job_that_takes_long_does_not_hold_up_the_next() {
        let pool = Pool::new(2, 1 << 20);
        let (release, held) = mpsc::channel::<()>();
        pool.run(move || {
            let _ = held.recv();
        });
        let (done, result) = mpsc::channel();
        pool.run(move || done.send(7).unwrap());
        assert_eq!(result.recv_timeout(Duration::from_secs(10)), Ok(7));
        drop(release);
    }
}
