//! What a shard does for the application.

use super::desk::Held;
use super::guard::{Guarded, Panicked};
use super::hooks::{Failure, Hook};
use super::oneshot::Sender;
use super::{PeerId, RoomError};
use crate::accept::{Site, before};
use crate::runtime::Runtime;
use crate::server::Notice;
use crate::shard::Shard;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use std::future::pending;
use std::rc::{Rc, Weak};
use std::time::Instant;
use yroom::{ConnId, Input, RoomId, RoomName, RoomPhase, StoreFault, StoreFaultKind, Timestamp};

/// A task that a shard is to run.
pub(crate) type Task = Box<dyn FnOnce(Rc<Shard>) -> LocalBoxFuture<'static, ()>>;

/// The runtime, without its type.
pub(crate) trait Tools {
    /// Starts a task.
    fn spawn(&self, task: Task);

    /// Waits.
    fn sleep_until(&self, at: Instant) -> LocalBoxFuture<'static, ()>;
}

impl<R: Runtime> Tools for Weak<Site<R>> {
    fn spawn(&self, task: Task) {
        // Without its site the shard is on its way out.
        if let Some(site) = self.upgrade() {
            let shard = Rc::clone(&site.shard);
            site.spawn(task(shard));
        }
    }

    fn sleep_until(&self, at: Instant) -> LocalBoxFuture<'static, ()> {
        match self.upgrade() {
            Some(site) => site.runtime.sleep_until(at).boxed_local(),
            None => pending().boxed_local(),
        }
    }
}

impl Shard {
    /// Takes a hold on a room; answers when it is loaded.
    pub(super) fn hold_room(&self, name: &RoomName, answer: Sender<Result<Held, RoomError>>) {
        let held = self.with_hub(|hub, now| {
            let id = hub.hold(now, name)?;
            Ok((id, hub.room(id).map(|room| room.phase)))
        });
        match held {
            Ok((id, Some(RoomPhase::Live | RoomPhase::Draining))) => {
                answer.send(Ok(self.desk().held(id)));
            }
            Ok((id, Some(RoomPhase::Loading | RoomPhase::Deleting))) => {
                self.desk().when_loaded(id, answer);
            }
            Ok((_, None)) => answer.send(Err(RoomError::Gone)),
            Err(reject) => answer.send(Err(RoomError::Rejected(reject))),
        }
    }

    /// Gives an update of the application's to a room; answers when it is durable.
    pub(super) fn apply_own(
        &self,
        room: RoomId,
        update: &Bytes,
        answer: Sender<Result<(), RoomError>>,
    ) {
        match self.with_hub(|hub, now| hub.apply(now, room, update)) {
            Ok(seq) => {
                let then = |_: &Self, result| answer.send(result);
                self.desk().when_stored(room, seq, self.store_deadline(), Box::new(then));
            }
            Err(why) => answer.send(Err(why.into())),
        }
    }

    /// Until when an update has to be stored that is accepted now.
    pub(super) fn store_deadline(&self) -> Timestamp {
        self.now() + self.limits().degraded_for
    }

    pub(super) fn peer_id(&self, conn: ConnId) -> PeerId {
        PeerId { shard: self.desk().shard, conn }
    }

    /// A load of a room is over.
    pub(super) fn room_is_gone(&self, room: RoomId) {
        #[cfg(feature = "app")]
        self.drop_batches(room);
        self.desk().cancel_initialiser(room);
    }

    /// Gives a room that is absent its first content.
    pub(super) fn initialise(&self, room: RoomId, name: RoomName) {
        if let Some(content) = self.desk().take_seed(&name) {
            return self.input(Input::Initialised { room, result: Ok(Some(content)) });
        }
        let Some(hook) = self.desk().hooks.initialise.clone() else {
            return self.input(Input::Initialised { room, result: Ok(None) });
        };
        let over = self.desk().initialiser(room);
        self.spawn(Box::new(move |shard| {
            async move {
                let asked = Guarded::new(|| hook(name.clone()));
                let Some(answer) = before(over.wait(), asked).await else { return };
                let failure = match answer {
                    Ok(Ok(content)) => {
                        return shard.input(Input::Initialised { room, result: Ok(content) });
                    }
                    Ok(Err(error)) => Failure::Error(error.to_string()),
                    Err(Panicked) => Failure::Panicked,
                };
                let hook = Hook::Initialise;
                let notice =
                    Notice::HookFailed { hook, room: &name, peer: None, failure: &failure };
                shard.notify(&notice);
                let message = format!("the initialiser failed: {failure}");
                let fault = StoreFault::new(StoreFaultKind::NotDone, message);
                shard.input(Input::Initialised { room, result: Err(fault) });
            }
            .boxed_local()
        }));
    }

    /// What the application's code gives, if it does so in its time.
    pub(super) async fn in_time<T>(&self, called: Guarded<T>) -> Result<T, Failure> {
        let deadline = self.sleep_until(Instant::now() + self.desk().hooks.timeout);
        match before(deadline, called).await {
            Some(Ok(value)) => Ok(value),
            Some(Err(Panicked)) => Err(Failure::Panicked),
            None => Err(Failure::TimedOut),
        }
    }
}
