//! How tasks of one thread wait for each other: a flag, and a step aside.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Context, Poll, Waker};

/// Raised any number of times, taken as one by its single waiter.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    raised: Cell<bool>,
    waiter: RefCell<Option<Waker>>,
}

impl Signal {
    /// Raises the flag, and wakes the waiter if it was down.
    pub(crate) fn raise(&self) {
        if !self.raised.replace(true)
            && let Some(waiter) = &*self.waiter.borrow()
        {
            waiter.wake_by_ref();
        }
    }

    /// Waits until the flag is up, and takes it down.
    pub(crate) async fn wait(&self) {
        poll_fn(|cx| self.poll_wait(cx)).await;
    }

    pub(crate) fn poll_wait(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.raised.take() {
            return Poll::Ready(());
        }
        remember(&mut self.waiter.borrow_mut(), cx);
        Poll::Pending
    }
}

/// Keeps the waker of `cx`, cloned only if it is another one.
pub(crate) fn remember(place: &mut Option<Waker>, cx: &Context<'_>) {
    match place {
        Some(waker) => waker.clone_from(cx.waker()),
        None => *place = Some(cx.waker().clone()),
    }
}

/// Lets all tasks go first that are ready.
pub(crate) async fn stand_aside() {
    let mut stood = false;
    poll_fn(|cx| {
        if stood {
            return Poll::Ready(());
        }
        stood = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
