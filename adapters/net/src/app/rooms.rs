//! All rooms of a server, for the application it runs in.

use super::desk::Ask;
use super::events::{Events, Subscribers};
use super::oneshot::{Answer, oneshot};
#[cfg(feature = "app")]
use super::pool::Pool;
use super::room::Room;
use super::{Held, RoomError};
use crate::accept::{Job, shard_of};
use crate::mailbox::Mailbox;
use crate::shard::Shard;
use crate::store::Inbox;
use bytes::Bytes;
use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use yroom::{CloseCode, Input, RoomId, RoomInfo, RoomName, StoreOp};

/// The rooms of a server, for the application it runs in: any thread, any executor, or none.
///
/// Clones are handles to the same server. When it has ended, everything says
/// [`RoomError::Stopped`].
#[derive(Clone)]
pub struct Rooms {
    shared: Arc<Shared>,
}

struct Shared {
    mailboxes: Arc<[Mailbox<Job>]>,
    subscribers: Subscribers,
    #[cfg(feature = "app")]
    pool: Pool,
}

impl Rooms {
    pub(crate) fn new(mailboxes: Arc<[Mailbox<Job>]>) -> Self {
        let subscribers = Subscribers::new();
        #[cfg(feature = "app")]
        let pool = {
            let threads = std::thread::available_parallelism().map_or(2, usize::from).max(2);
            Pool::new(threads, yroom::provider::WorkingCopy::STACK)
        };
        let shared = Shared {
            mailboxes,
            subscribers,
            #[cfg(feature = "app")]
            pool,
        };
        Self { shared: Arc::new(shared) }
    }

    /// All rooms that are loaded, being loaded or being drained, in the order of their names.
    pub async fn list(&self) -> Result<Vec<RoomInfo>, RoomError> {
        let shards = 0..self.shared.mailboxes.len();
        let asked: Vec<_> = shards
            .map(|shard| {
                self.ask(shard, |shard, answer| {
                    answer.send(shard.with_hub(|hub, _| hub.rooms().collect::<Vec<_>>()));
                })
            })
            .collect();
        let mut rooms = Vec::new();
        for answer in asked {
            rooms.extend(answer.await.ok_or(RoomError::Stopped)?);
        }
        rooms.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(rooms)
    }

    /// What there is to know of a room, if it is there; asking does not load it.
    pub async fn find(&self, name: &RoomName) -> Result<Option<RoomInfo>, RoomError> {
        let wanted = name.clone();
        self.ask(self.shard_of(name), move |shard, answer| {
            answer.send(shard.with_hub(|hub, _| hub.find(&wanted).and_then(|id| hub.room(id))));
        })
        .await
        .ok_or(RoomError::Stopped)
    }

    /// A room, loaded if it is not, and kept until the last [`Room`] of it is dropped.
    ///
    /// Waits for the load and, if the store has never heard of the room, for its first content
    /// ([`Server::initialise`](crate::Server::initialise)).
    pub async fn get(&self, name: &RoomName) -> Result<Room, RoomError> {
        let held = self.hold(name).await?;
        Ok(Room::new(self.clone(), self.shard_of(name), name.clone(), held))
    }

    /// Has the store forget a room, loaded or not; its peers are closed with 4404.
    ///
    /// There is no room of this name until that is done, and a new one if somebody comes then.
    pub async fn delete(&self, name: &RoomName) -> Result<(), RoomError> {
        let wanted = name.clone();
        self.ask(self.shard_of(name), move |shard, answer| {
            match shard.with_hub(|hub, now| hub.delete(now, &wanted)) {
                Ok(id) => shard.desk().when_deleted(id, &wanted, answer),
                Err(reject) => answer.send(Err(reject.into())),
            }
        })
        .await
        .ok_or(RoomError::Stopped)?
    }

    /// Makes a new room with the content that `from` has now; done when it is durable.
    ///
    /// The two go on as they like; [`merge`](Self::merge) brings them together again.
    ///
    /// Fails with [`Exists`](RoomError::Exists) if `to` is stored or open, with
    /// [`Empty`](RoomError::Empty) if there is nothing in `from`.
    pub async fn fork(&self, from: &RoomName, to: &RoomName) -> Result<(), RoomError> {
        let room = self.get(from).await?;
        self.create(to, room.snapshot().await?).await
    }

    /// Brings what `from` has now into `into`; done when it is durable. `from` stays.
    pub async fn merge(&self, from: &RoomName, into: &RoomName) -> Result<(), RoomError> {
        let content = self.get(from).await?.snapshot().await?;
        if content == yroom::update::EMPTY {
            return Ok(());
        }
        self.get(into).await?.apply(content).await
    }

    /// Gives a room another name: a [`fork`](Self::fork), durable, and then a
    /// [`delete`](Self::delete) of the old. Peers are closed with 4404 and have to come by the new
    /// name.
    ///
    /// What peers write to the old room until they are closed is brought over as well; should one come
    /// back by the old name before it is deleted, what it writes in that moment is lost. If the process
    /// ends in the middle there is the old room, or both with the same content: nothing is lost then,
    /// and the old one is to be deleted, since renaming again says [`Exists`](RoomError::Exists).
    pub async fn rename(&self, from: &RoomName, to: &RoomName) -> Result<(), RoomError> {
        let old = self.get(from).await?;
        self.create(to, old.snapshot().await?).await?;
        old.close(CloseCode(4404), "the room has another name now").await?;
        old.flush().await?;
        let new = self.get(to).await?;
        new.apply(old.snapshot().await?).await?;
        drop(old);
        self.delete(from).await
    }

    /// What happens in all rooms from now on.
    pub fn events(&self) -> Events {
        self.shared.subscribers.subscribe()
    }

    /// A room with this content, which must not be there.
    async fn create(&self, name: &RoomName, content: Bytes) -> Result<(), RoomError> {
        if content == yroom::update::EMPTY {
            return Err(RoomError::Empty);
        }
        self.must_be_absent(name).await?;
        // From here on whoever opens the room finds this content in it, once.
        let (wanted, seed) = (name.clone(), content);
        self.ask(self.shard_of(name), move |shard, answer| {
            let taken = shard.with_hub(|hub, _| hub.find(&wanted)).is_some();
            let result = if taken || shard.desk().has_seed(&wanted) {
                Err(RoomError::Exists)
            } else {
                shard.desk().set_seed(&wanted, Some(seed));
                Ok(())
            };
            answer.send(result);
        })
        .await
        .ok_or(RoomError::Stopped)??;
        let loaded = self.hold(name).await;
        let wanted = name.clone();
        let unused = self
            .ask(self.shard_of(name), move |shard, answer| {
                answer.send(shard.desk().set_seed(&wanted, None));
            })
            .await
            .ok_or(RoomError::Stopped)?;
        loaded?;
        // The store knows it after all: somebody was there in between.
        if unused.is_some() { Err(RoomError::Exists) } else { Ok(()) }
    }

    /// Whether a room is neither open nor stored; nothing is opened by asking.
    async fn must_be_absent(&self, name: &RoomName) -> Result<(), RoomError> {
        let inbox = Inbox::new();
        let asked = inbox.clone();
        let wanted = name.clone();
        let open = self.ask(self.shard_of(name), move |shard, answer| {
            let open = shard.with_hub(|hub, _| hub.find(&wanted));
            if open.is_none() {
                // No load of a hub's: a number that none has.
                let room = RoomId::from_raw(u64::MAX);
                // Released at once: a store takes what was loaded to be in use.
                let ops = [
                    StoreOp::Load { room, name: wanted.clone() },
                    StoreOp::Release { room, name: wanted },
                ];
                for op in ops {
                    let reply = asked.reply_for(&op);
                    shard.store().submit(op, reply);
                }
            }
            answer.send(open);
        });
        if open.await.ok_or(RoomError::Stopped)?.is_some() {
            return Err(RoomError::Exists);
        }
        let inputs = poll_fn(|cx| inbox.poll_take(cx)).await;
        match inputs.into_iter().next() {
            Some(Input::Loaded { result: Ok(stored), .. }) if stored.is_absent() => Ok(()),
            Some(Input::Loaded { result: Ok(_), .. }) => Err(RoomError::Exists),
            Some(Input::Loaded { result: Err(fault), .. }) => Err(RoomError::NotLoaded(fault)),
            _ => Err(RoomError::Stopped),
        }
    }

    async fn hold(&self, name: &RoomName) -> Result<Held, RoomError> {
        let wanted = name.clone();
        self.ask(self.shard_of(name), move |shard, answer| shard.hold_room(&wanted, answer))
            .await
            .ok_or(RoomError::Stopped)?
    }

    /// Has a shard do something, and answer.
    pub(super) fn ask<T: Send + 'static>(
        &self,
        shard: usize,
        f: impl FnOnce(&Shard, super::oneshot::Sender<T>) + Send + 'static,
    ) -> Answer<T> {
        let (sender, answer) = oneshot();
        let ask: Ask = Box::new(move |shard| f(shard, sender));
        // A shard that has ended drops it, and with it the sender.
        let _ = self.shared.mailboxes[shard].push(Job::Ask(ask));
        answer
    }

    pub(super) fn shard_of(&self, name: &RoomName) -> usize {
        shard_of(name, self.shared.mailboxes.len())
    }

    pub(crate) fn mailbox(&self, shard: usize) -> &Mailbox<Job> {
        &self.shared.mailboxes[shard]
    }

    pub(crate) fn subscribers(&self) -> &Subscribers {
        &self.shared.subscribers
    }

    #[cfg(feature = "app")]
    pub(super) fn pool(&self) -> &Pool {
        &self.shared.pool
    }
}

impl fmt::Debug for Rooms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rooms")
            .field("shards", &self.shared.mailboxes.len())
            .finish_non_exhaustive()
    }
}
