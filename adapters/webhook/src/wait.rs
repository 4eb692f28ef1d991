//! Waiting for a future on a thread, for so long.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Instant;

/// What `future` gives, or `None` when it does not before `until`, or `given_up` says so; which is
/// asked whenever the thread is unparked.
pub(crate) fn wait<T>(
    future: impl Future<Output = T>,
    until: Option<Instant>,
    given_up: impl Fn() -> bool,
) -> Option<T> {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut cx = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if given_up() {
            return None;
        }
        if let Poll::Ready(value) = future.as_mut().poll(&mut cx) {
            return Some(value);
        }
        let Some(until) = until else {
            thread::park();
            continue;
        };
        let rest = until.saturating_duration_since(Instant::now());
        if rest.is_zero() {
            return None;
        }
        thread::park_timeout(rest);
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
