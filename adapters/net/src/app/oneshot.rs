//! One answer, from a shard to whoever asked it, on whatever executor that runs.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// The two ends of one answer.
pub(crate) fn oneshot<T>() -> (Sender<T>, Answer<T>) {
    let place = State { value: None, waker: None, sender: End::There, reader: End::There };
    let shared = Arc::new(Mutex::new(place));
    (Sender { shared: Arc::clone(&shared) }, Answer { shared })
}

/// Where the answer goes; dropped without one, the other side is told that there will be none.
pub(crate) struct Sender<T> {
    shared: Arc<Mutex<State<T>>>,
}

/// The answer, once it is there; `None` if nobody will give it any more.
#[must_use = "the answer says what became of it"]
pub(crate) struct Answer<T> {
    shared: Arc<Mutex<State<T>>>,
}

struct State<T> {
    value: Option<T>,
    waker: Option<Waker>,
    sender: End,
    reader: End,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    There,
    Gone,
}

impl<T> Sender<T> {
    /// Answers; what nobody waits for any more is dropped.
    pub(crate) fn send(self, value: T) {
        let unwanted = {
            let mut state = lock(&self.shared);
            match state.reader {
                End::There => {
                    state.value = Some(value);
                    None
                }
                End::Gone => Some(value),
            }
        };
        // Outside of the lock, and not to the shard's harm: it may do anything when it is dropped.
        let _ = catch_unwind(AssertUnwindSafe(move || drop(unwanted)));
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let waker = {
            let mut state = lock(&self.shared);
            state.sender = End::Gone;
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Future for Answer<T> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut state = lock(&self.shared);
        if let Some(value) = state.value.take() {
            return Poll::Ready(Some(value));
        }
        match state.sender {
            End::Gone => Poll::Ready(None),
            End::There => {
                state.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl<T> Drop for Answer<T> {
    fn drop(&mut self) {
        let unread = {
            let mut state = lock(&self.shared);
            state.reader = End::Gone;
            state.value.take()
        };
        drop(unread);
    }
}

/// Nothing panics while it is held, so a poisoned lock holds nothing broken.
fn lock<T>(shared: &Mutex<State<T>>) -> MutexGuard<'_, State<T>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    #[derive(Default)]
    struct Count(AtomicUsize);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn an_answer_wakes_whoever_waits_and_comes_once() {
        let (sender, answer) = oneshot();
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        let mut cx = Context::from_waker(&waker);
        let mut answer = pin!(answer);
        assert!(answer.as_mut().poll(&mut cx).is_pending());
        sender.send(7);
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        assert_eq!(answer.as_mut().poll(&mut cx), Poll::Ready(Some(7)));
        assert_eq!(answer.as_mut().poll(&mut cx), Poll::Ready(None));
    }

    #[test]
    fn a_sender_that_is_dropped_says_so() {
        let (sender, answer) = oneshot::<()>();
        let mut answer = pin!(answer);
        let mut cx = Context::from_waker(Waker::noop());
        assert!(answer.as_mut().poll(&mut cx).is_pending());
        drop(sender);
        assert_eq!(answer.as_mut().poll(&mut cx), Poll::Ready(None));
    }

    #[test]
    fn what_nobody_reads_is_dropped_at_once() {
        let value = Arc::new(());
        let (sender, answer) = oneshot();
        drop(answer);
        sender.send(Arc::clone(&value));
        assert_eq!(Arc::strong_count(&value), 1);
        let (sender, answer) = oneshot();
        sender.send(Arc::clone(&value));
        drop(answer);
        assert_eq!(Arc::strong_count(&value), 1);
    }
}
