//! What a session and its driver have in common.

use crate::mailbox::Mailbox;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use yroom::provider::{Confirmation, Phase, StopReason};

/// How a session stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// How far it has come.
    pub phase: Phase,
    /// Edits made here that are to be sent.
    pub edits: u64,
    /// How many of them the server is known to have.
    pub confirmed: u64,
    /// What the last confirmation was worth.
    pub confirmed_by: Option<Confirmation>,
    /// Why the last attempt or connection failed; `None` while synced.
    pub trouble: Option<String>,
    /// Why it ended, if it has.
    pub stopped: Option<StopReason>,
}

/// The session has ended before what was awaited came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Why.
    pub reason: StopReason,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason.fmt(f)
    }
}

impl std::error::Error for Ended {}

/// What a session asks of its driver.
#[derive(Debug)]
pub(super) enum Command {
    /// The document was edited; the flag is taken down when that is known.
    Edited(Arc<AtomicBool>),
    /// Confirm all edits; the flush of this number is told.
    Confirm(u64),
    Presence(Option<String>),
    Resync,
    Close,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) commands: Mailbox<Command>,
    state: Mutex<State>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) status: Status,
    pub(super) others: BTreeMap<u64, String>,
    /// For each flush that is awaited, up to which edit it goes.
    pub(super) flushes: BTreeMap<u64, u64>,
    pub(super) flush_count: u64,
    /// Grow with each change of the one and the other.
    pub(super) status_version: u64,
    pub(super) others_version: u64,
    /// Whether the driver is done.
    pub(super) over: bool,
    wakers: Vec<Waker>,
}

impl Shared {
    pub(super) fn new() -> Self {
        let status = Status {
            phase: Phase::Idle,
            edits: 0,
            confirmed: 0,
            confirmed_by: None,
            trouble: None,
            stopped: None,
        };
        let state = State {
            status,
            others: BTreeMap::new(),
            flushes: BTreeMap::new(),
            flush_count: 0,
            status_version: 0,
            others_version: 0,
            over: false,
            wakers: Vec::new(),
        };
        Self { commands: Mailbox::new(), state: Mutex::new(state) }
    }

    /// Whether the driver will hear of it.
    pub(super) fn command(&self, command: Command) -> bool {
        self.commands.push(command).is_ok()
    }

    /// Waits until `ready` says something of the state.
    pub(super) fn poll<T>(
        &self,
        cx: &mut Context<'_>,
        ready: impl FnOnce(&mut State) -> Option<T>,
    ) -> Poll<T> {
        let mut state = self.lock();
        if let Some(found) = ready(&mut state) {
            return Poll::Ready(found);
        }
        if !state.wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
            state.wakers.push(cx.waker().clone());
        }
        Poll::Pending
    }

    pub(super) fn read<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        read(&self.lock())
    }

    /// Changes the state, and wakes whoever waits if `change` says that it did.
    pub(super) fn change(&self, change: impl FnOnce(&mut State) -> bool) {
        let wakers = {
            let mut state = self.lock();
            if !change(&mut state) {
                return;
            }
            std::mem::take(&mut state.wakers)
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    /// No change panics half-way, so a poisoned lock holds nothing broken.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
