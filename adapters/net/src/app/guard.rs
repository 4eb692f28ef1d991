//! The application's own code among a shard's: what panics there harms only what it was called for.

use futures_util::future::LocalBoxFuture;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

/// It panicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Panicked;

/// A future of the application's, whose panics are answers.
pub(super) struct Guarded<T>(Option<LocalBoxFuture<'static, T>>);

impl<T> Guarded<T> {
    /// Calls what makes the future.
    pub(super) fn new(make: impl FnOnce() -> LocalBoxFuture<'static, T>) -> Self {
        Self(catch_unwind(AssertUnwindSafe(make)).ok())
    }
}

impl<T> Future for Guarded<T> {
    type Output = Result<T, Panicked>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(future) = &mut self.0 else { return Poll::Ready(Err(Panicked)) };
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
            Ok(polled) => polled.map(Ok),
            Err(_) => Poll::Ready(Err(Panicked)),
        }
    }
}

impl<T> Drop for Guarded<T> {
    fn drop(&mut self) {
        let future = self.0.take();
        // What it holds may panic when it is dropped.
        let _ = catch_unwind(AssertUnwindSafe(move || drop(future)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use std::task::Waker;

    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("as a test wants it");
        }
    }

    fn poll<T>(guarded: &mut Guarded<T>) -> Poll<Result<T, Panicked>> {
        Pin::new(guarded).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn wherever_it_panics_it_is_an_answer() {
        let mut in_the_call = Guarded::<()>::new(|| panic!("as a test wants it"));
        assert_eq!(poll(&mut in_the_call), Poll::Ready(Err(Panicked)));
        let mut when_polled =
            Guarded::<()>::new(|| async { panic!("as a test wants it") }.boxed_local());
        assert_eq!(poll(&mut when_polled), Poll::Ready(Err(Panicked)));
        let mut fine = Guarded::new(|| async { 7 }.boxed_local());
        assert_eq!(poll(&mut fine), Poll::Ready(Ok(7)));
        let bomb = Bomb;
        drop(Guarded::new(move || {
            async move {
                std::future::pending::<()>().await;
                drop(bomb);
            }
            .boxed_local()
        }));
    }
}
