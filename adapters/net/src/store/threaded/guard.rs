//! A blocking store that cannot panic and is opened anew after a fault of unknown effect.

use super::super::BlockingStore;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};
use yroom::{StoreFault, StoreFaultKind};

const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Every use of the store goes through [`call`](Guarded::call), so that nothing can come between a
/// fault of unknown effect and the opening anew.
pub(super) struct Guarded<S> {
    store: S,
    /// The fault after which the store has not been opened anew yet.
    unsound: Option<StoreFault>,
    /// Faults of unknown effect since the last success.
    failures: u32,
    not_before: Instant,
}

impl<S: BlockingStore> Guarded<S> {
    pub(super) fn new(store: S) -> Self {
        Self { store, unsound: None, failures: 0, not_before: Instant::now() }
    }

    /// Calls the store, opening it anew first if it has to be. While that is to be put off, because
    /// it failed just now, the call fails at once: the caller's own backoff is what waits.
    pub(super) fn call<T>(
        &mut self,
        work: impl FnOnce(&mut S) -> Result<T, StoreFault>,
    ) -> Result<T, StoreFault> {
        self.recover()?;
        let result = caught(|| work(&mut self.store));
        match &result {
            Ok(_) => self.failures = 0,
            Err(fault) => match fault.kind {
                StoreFaultKind::Unknown => self.failed(fault.clone()),
                StoreFaultKind::NotDone | StoreFaultKind::Corrupt => {}
            },
        }
        result
    }

    fn recover(&mut self) -> Result<(), StoreFault> {
        let Some(cause) = &self.unsound else { return Ok(()) };
        if Instant::now() < self.not_before {
            return Err(not_done(cause));
        }
        match caught(|| self.store.reopen()) {
            Ok(()) => {
                self.unsound = None;
                Ok(())
            }
            Err(fault) => {
                let answer = not_done(&fault);
                self.failed(fault);
                Err(answer)
            }
        }
    }

    /// The first failure is followed by opening anew at once; those after it wait, each twice as
    /// long.
    fn failed(&mut self, fault: StoreFault) {
        let wait = match self.failures {
            0 => Duration::ZERO,
            n => LONGEST_WAIT.min(FIRST_WAIT.saturating_mul(1 << (n - 1).min(10))),
        };
        self.not_before = Instant::now() + wait;
        self.failures = self.failures.saturating_add(1);
        self.unsound = Some(fault);
    }
}

/// The fault of an operation that was not begun because the store is not open.
fn not_done(cause: &StoreFault) -> StoreFault {
    StoreFault::new(StoreFaultKind::NotDone, format!("the store is not open again yet: {cause}"))
}

/// A store that panicked is a store that failed; what it was doing is thrown away by `reopen`.
fn caught<T>(work: impl FnOnce() -> Result<T, StoreFault>) -> Result<T, StoreFault> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let message = format!("the store panicked: {}", words(panic.as_ref()));
        Err(StoreFault::new(StoreFaultKind::Unknown, message))
    })
}

fn words(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without words")
}
