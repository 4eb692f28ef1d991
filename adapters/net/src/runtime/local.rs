//! The executor of a thread, for runtimes that bring none of their own for tasks that stay there.

#[cfg(feature = "async-std")]
use async_executor::LocalExecutor;
#[cfg(not(feature = "async-std"))]
use smol::LocalExecutor;
use std::future::Future;
use std::rc::{Rc, Weak};

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
        let main = main(Self(Rc::downgrade(&executor)));
        executor.run(main).await
    }

    pub(super) fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        // Without an executor the thread is on its way out, and so is the task.
        if let Some(executor) = self.0.upgrade() {
            executor.spawn(task).detach();
        }
    }
}
