//! What an application holds of its connection to a room.

use super::shared::{Command, Ended, Shared, State, Status};
use futures_util::Stream;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use yroom::provider::{Confirmation, InvalidPresence, Phase, StopReason, is_presence};
use yroom::update::ClientId;

/// A document that is kept in sync with a room. Dropped, it closes the connection cleanly.
///
/// Its futures run on any executor.
#[derive(Debug)]
pub struct Session {
    shared: Arc<Shared>,
    client: ClientId,
}

impl Session {
    pub(super) const fn new(shared: Arc<Shared>, client: ClientId) -> Self {
        Self { shared, client }
    }

    /// Waits until both sides have told each other everything, this time or again after a lost
    /// connection. Fails if the session ends before that.
    pub fn synced(&self) -> impl Future<Output = Result<(), Ended>> + Send + use<> {
        let shared = Arc::clone(&self.shared);
        poll_fn(move |cx| {
            shared.poll(cx, |state| match ended(state) {
                Some(ended) => Some(Err(ended)),
                None => (state.status.phase == Phase::Synced).then_some(Ok(())),
            })
        })
    }

    /// Waits until the server has everything that was edited before: on its disk, if it
    /// acknowledges as a yroom server does, otherwise in its memory. The answer says which. It waits as
    /// long as there is no connection, and fails if the session ends before that.
    pub fn flush(&self) -> impl Future<Output = Result<Confirmation, Ended>> + Send + use<> {
        let shared = Arc::clone(&self.shared);
        let mut number = 0;
        shared.change(|state| {
            state.flush_count += 1;
            number = state.flush_count;
            state.flushes.insert(number, u64::MAX);
            false
        });
        shared.command(Command::Confirm(number));
        let flush = Flush { shared, number };
        poll_fn(move |cx| {
            let number = flush.number;
            flush.shared.poll(cx, |state| {
                let upto = state.flushes.get(&number).copied().unwrap_or(0);
                if state.status.confirmed >= upto {
                    let nothing = Confirmation::Acknowledged;
                    return Some(Ok(state.status.confirmed_by.unwrap_or(nothing)));
                }
                ended(state).map(Err)
            })
        })
    }

    /// How it stands.
    pub fn status(&self) -> Status {
        self.shared.read(|state| state.status.clone())
    }

    /// How it stands, now and after each change; what changes faster than it is read is left out.
    pub fn statuses(&self) -> Changes<Status> {
        Changes {
            shared: Arc::clone(&self.shared),
            seen: None,
            read: |state, seen| {
                (seen != Some(state.status_version))
                    .then(|| (state.status_version, state.status.clone()))
            },
        }
    }

    /// Who is here.
    pub fn awareness(&self) -> Presence {
        Presence { shared: Arc::clone(&self.shared), client: self.client }
    }

    /// Asks the server for what is new, although nothing seems missing.
    pub fn resync(&self) {
        self.shared.command(Command::Resync);
    }

    /// Says goodbye, and waits until the connection is closed and everything stored that was to be.
    /// Edits that the server has not confirmed are not waited for: [`flush`](Self::flush) first.
    pub fn close(self) -> impl Future<Output = ()> + Send + use<> {
        let shared = Arc::clone(&self.shared);
        drop(self);
        poll_fn(move |cx| shared.poll(cx, |state| state.over.then_some(())))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.shared.command(Command::Close);
    }
}

/// A flush that is awaited; dropped, nobody waits any more.
struct Flush {
    shared: Arc<Shared>,
    number: u64,
}

impl Drop for Flush {
    fn drop(&mut self) {
        self.shared.change(|state| {
            state.flushes.remove(&self.number);
            false
        });
    }
}

/// Who is here: states as JSON, by client id.
#[derive(Clone, Debug)]
pub struct Presence {
    shared: Arc<Shared>,
    client: ClientId,
}

impl Presence {
    /// The own client id.
    pub const fn client(&self) -> u64 {
        self.client.0
    }

    /// Shows others a state, or with `None` nothing any more. Fails if it is no JSON, or over the default
    /// limits: 16 KiB.
    pub fn set(&self, state: Option<&str>) -> Result<(), InvalidPresence> {
        if state.is_some_and(|state| !is_presence(state)) {
            return Err(InvalidPresence);
        }
        self.shared.command(Command::Presence(state.map(str::to_owned)));
        Ok(())
    }

    /// The others' states.
    pub fn others(&self) -> Vec<(u64, String)> {
        self.shared.read(others)
    }

    /// The others' states, now and after each change; what changes faster than it is read is left
    /// out.
    pub fn changes(&self) -> Changes<Vec<(u64, String)>> {
        Changes {
            shared: Arc::clone(&self.shared),
            seen: None,
            read: |state, seen| {
                (seen != Some(state.others_version)).then(|| (state.others_version, others(state)))
            },
        }
    }
}

/// A value that changes, as a stream of what it is; ends with the session.
#[derive(Debug)]
pub struct Changes<T> {
    shared: Arc<Shared>,
    seen: Option<u64>,
    read: Read<T>,
}

/// What there is to read if another version was seen, and its version.
type Read<T> = fn(&State, Option<u64>) -> Option<(u64, T)>;

impl<T> Stream for Changes<T> {
    type Item = T;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let this = self.get_mut();
        let (read, seen) = (this.read, this.seen);
        let next = this.shared.poll(cx, |state| match read(state, seen) {
            Some(found) => Some(Some(found)),
            None => state.over.then_some(None),
        });
        next.map(|next| {
            next.map(|(version, value)| {
                this.seen = Some(version);
                value
            })
        })
    }
}

fn others(state: &State) -> Vec<(u64, String)> {
    state.others.iter().map(|(&client, json)| (client, json.clone())).collect()
}

fn ended(state: &State) -> Option<Ended> {
    let reason = state.status.stopped.clone();
    let reason = reason.or_else(|| state.over.then_some(StopReason::Asked));
    reason.map(|reason| Ended { reason })
}
