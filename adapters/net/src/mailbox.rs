//! What other threads have for a shard: a list behind a lock, and one waker.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Where messages of other threads wait for one shard, which takes them many at a time.
///
/// Clones share one content. There is one waker: one task polls.
#[derive(Debug)]
pub(crate) struct Mailbox<T> {
    shared: Arc<Mutex<State<T>>>,
}

#[derive(Debug)]
struct State<T> {
    items: Vec<T>,
    waker: Option<Waker>,
    open: bool,
}

impl<T> Mailbox<T> {
    pub(crate) fn new() -> Self {
        let state = State { items: Vec::new(), waker: None, open: true };
        Self { shared: Arc::new(Mutex::new(state)) }
    }

    /// Puts one in; gives it back if the shard is gone.
    pub(crate) fn push(&self, item: T) -> Result<(), T> {
        let mut state = self.lock();
        if !state.open {
            return Err(item);
        }
        state.items.push(item);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    /// Everything that has come, in order; waits while that is nothing.
    pub(crate) fn poll_take(&self, cx: &mut Context<'_>) -> Poll<Vec<T>> {
        let mut state = self.lock();
        if state.items.is_empty() {
            state.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(std::mem::take(&mut state.items))
    }

    /// Nothing more is taken; what is left is dropped.
    pub(crate) fn close(&self) {
        let left = {
            let mut state = self.lock();
            state.open = false;
            state.waker = None;
            std::mem::take(&mut state.items)
        };
        drop(left);
    }

    /// A push cannot panic half-way, so a poisoned lock holds nothing broken.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Clone for Mailbox<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}
