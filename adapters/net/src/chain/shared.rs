//! What a chain's handle and its task have in common.

use std::fmt;
use std::future::{Future, poll_fn};
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// How far a chain has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChainPhase {
    /// The link is being made.
    Connecting,
    /// The link is up.
    Linked,
    /// There is no link; the next attempt follows.
    Waiting,
    /// There is no link, and none will be made.
    Stopped,
}

/// How a chain stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainStatus {
    /// How far it has come.
    pub phase: ChainPhase,
    /// Why the last attempt or link ended; `None` while there is a link.
    pub trouble: Option<String>,
}

/// A chain that has stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainStopped {
    /// Why.
    pub reason: String,
}

impl fmt::Display for ChainStopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for ChainStopped {}

#[derive(Debug)]
pub(super) struct Shared(Mutex<State>);

#[derive(Debug)]
struct State {
    status: ChainStatus,
    given_up: bool,
    /// The chain's task.
    task: Option<Waker>,
    /// Those who wait for the link.
    waiting: Vec<Waker>,
}

impl Default for Shared {
    fn default() -> Self {
        let status = ChainStatus { phase: ChainPhase::Connecting, trouble: None };
        Self(Mutex::new(State { status, given_up: false, task: None, waiting: Vec::new() }))
    }
}

impl Shared {
    pub(super) fn status(&self) -> ChainStatus {
        self.lock().status.clone()
    }

    /// Nobody wants the link any more.
    pub(super) fn give_up(&self) {
        let task = {
            let mut state = self.lock();
            state.given_up = true;
            state.task.take()
        };
        if let Some(task) = task {
            task.wake();
        }
    }

    pub(super) fn is_given_up(&self) -> bool {
        self.lock().given_up
    }

    /// Waits until nobody wants the link any more; for the chain's task.
    pub(super) async fn given_up(&self) {
        poll_fn(|cx| {
            let mut state = self.lock();
            if state.given_up {
                return Poll::Ready(());
            }
            state.task = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Waits until the link is up, or never will be.
    pub(super) fn linked(
        shared: Arc<Self>,
    ) -> impl Future<Output = Result<(), ChainStopped>> + Send + use<> {
        poll_fn(move |cx| shared.poll_linked(cx))
    }

    fn poll_linked(&self, cx: &mut Context<'_>) -> Poll<Result<(), ChainStopped>> {
        let mut state = self.lock();
        match state.status.phase {
            ChainPhase::Linked => return Poll::Ready(Ok(())),
            ChainPhase::Stopped => {
                let reason = state.status.trouble.clone().unwrap_or_default();
                return Poll::Ready(Err(ChainStopped { reason }));
            }
            ChainPhase::Connecting | ChainPhase::Waiting => {}
        }
        if !state.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            state.waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }

    pub(super) fn tell(&self, phase: ChainPhase, trouble: Option<String>) {
        let waiting = {
            let mut state = self.lock();
            let trouble = match phase {
                ChainPhase::Linked => None,
                ChainPhase::Connecting => trouble.or(state.status.trouble.take()),
                ChainPhase::Waiting | ChainPhase::Stopped => trouble,
            };
            state.status = ChainStatus { phase, trouble };
            mem::take(&mut state.waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
    }

    /// No change panics half-way, so a poisoned lock holds nothing broken.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
