//! What smol and async-std share: the executor of a thread, and streams that can be closed by half.

use super::TASKS_PER_LOOK;
use crate::signal::stand_aside;
#[cfg(feature = "async-std")]
use async_executor::LocalExecutor;
use futures_io::{AsyncRead, AsyncWrite};
#[cfg(not(feature = "async-std"))]
use smol::LocalExecutor;
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};

/// A handle to the executor that is run on this thread.
///
/// Weak, because the tasks that hold it are themselves held by the executor.
#[derive(Clone, Debug)]
pub(super) struct Local(Weak<LocalExecutor<'static>>);

impl Local {
    pub(super) async fn run<F, Fut>(main: F) -> Fut::Output
    where
        F: FnOnce(Self) -> Fut,
        Fut: Future,
    {
        let executor = Rc::new(LocalExecutor::new());
        let mut main = pin!(main(Self(Rc::downgrade(&executor))));
        let mut tasks = pin!(run_tasks(&executor));
        poll_fn(|cx| {
            if let Poll::Ready(output) = main.as_mut().poll(cx) {
                return Poll::Ready(output);
            }
            let _never = tasks.as_mut().poll(cx);
            Poll::Pending
        })
        .await
    }

    pub(super) fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        // Without an executor the thread is on its way out, and so is the task.
        if let Some(executor) = self.0.upgrade() {
            executor.spawn(task).detach();
        }
    }
}

/// As `LocalExecutor::run`, which runs 200 tasks before it yields to the reactor.
async fn run_tasks(executor: &LocalExecutor<'_>) {
    loop {
        for _ in 0..TASKS_PER_LOOK {
            executor.tick().await;
        }
        stand_aside().await;
    }
}

/// A stream whose closing tells the peer that nothing more comes. Theirs only flushes, and the peer
/// would wait.
#[derive(Debug)]
pub struct LocalStream<S>(pub(super) S);

/// Ends the sending half.
pub trait ShutWrite {
    /// Ends it.
    fn shut_write(&self) -> io::Result<()>;
}

impl<S: AsyncRead + Unpin> AsyncRead for LocalStream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + ShutWrite + Unpin> AsyncWrite for LocalStream<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write_vectored(cx, bufs)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.0.shut_write())
    }
}
