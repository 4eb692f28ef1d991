//! One room, for the application.

use super::oneshot::Sender;
use super::{Held, Peer, PeerId, RoomError, Rooms};
use crate::shard::Shard;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use yroom::update::{ClientId, StateVector};
use yroom::wire::awareness::entries;
use yroom::{CloseCode, MessageId, RoomId, RoomInfo, RoomName};

/// A room that is loaded, and stays so until this and its clones are dropped.
///
/// It is one load of the room: should the room be deleted, or the server end, everything says
/// [`RoomError::Gone`] or [`Stopped`](RoomError::Stopped), and [`Rooms::get`] loads it anew.
///
/// What is begun by a call is done even if its future is dropped before the end.
#[derive(Clone)]
pub struct Room {
    rooms: Rooms,
    shard: usize,
    name: RoomName,
    held: Arc<Held>,
}

impl Room {
    pub(super) fn new(rooms: Rooms, shard: usize, name: RoomName, held: Held) -> Self {
        Self { rooms, shard, name, held: Arc::new(held) }
    }

    /// Its name.
    pub const fn name(&self) -> &RoomName {
        &self.name
    }

    /// What there is to know of it.
    pub async fn info(&self) -> Result<RoomInfo, RoomError> {
        let id = self.held.id;
        self.ask(move |shard, answer| {
            answer.send(shard.with_hub(|hub, _| hub.room(id)).ok_or(RoomError::Gone));
        })
        .await
    }

    /// The whole document as one Yjs V1 update: in the default durability, as far as it is durable,
    /// which is also what peers are shown.
    pub async fn snapshot(&self) -> Result<Bytes, RoomError> {
        let id = self.held.id;
        self.ask(move |shard, answer| {
            answer.send(shard.with_hub(|hub, _| hub.content(id)).ok_or(RoomError::Gone));
        })
        .await
    }

    /// What [`snapshot`](Self::snapshot) covers.
    pub async fn state_vector(&self) -> Result<StateVector, RoomError> {
        let id = self.held.id;
        self.ask(move |shard, answer| {
            answer.send(shard.with_hub(|hub, _| hub.state_vector(id)).ok_or(RoomError::Gone));
        })
        .await
    }

    /// Takes a Yjs V1 update of the application's own, all of it or nothing, and waits until it is
    /// durable. Peers see it like any other.
    pub async fn apply(&self, update: impl Into<Bytes>) -> Result<(), RoomError> {
        let (id, update) = (self.held.id, update.into());
        self.ask(move |shard, answer| shard.apply_own(id, &update, answer)).await
    }

    /// Waits until everything that the room has accepted is durable.
    pub async fn flush(&self) -> Result<(), RoomError> {
        self.apply(yroom::update::EMPTY).await
    }

    /// Changes the document: `f` is given a transaction on it, and what it changes enters the room as
    /// one update. Gives what `f` gives, when the change is durable; with an error nothing of it was
    /// used, except as [`NotStored`](RoomError::NotStored) says.
    ///
    /// `f` works on a copy, on one of a few threads with large stacks, and sees what the room shows at
    /// that moment. Edits of one room are made one after the other, each seeing those before it, so
    /// that a counter can be counted up; what peers write meanwhile is merged with them as Yjs does.
    /// `f` may panic, and has then changed nothing; it must not take long, since the edits of the room
    /// wait for it, and one that never ends keeps a thread for good.
    ///
    /// Text is indexed in UTF-16 units, as in JavaScript.
    ///
    /// ```
    /// # #[cfg(feature = "smol")]
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use yroom::{Config, RoomName};
    /// use yroom_net::{Server, runtime};
    /// use yrs::{GetString, Text, WriteTxn};
    ///
    /// let server = Server::<runtime::Smol>::new(Config::default()).bind("127.0.0.1:0")?;
    /// let rooms = server.rooms();
    /// smol::block_on(async {
    ///     let room = rooms.get(&RoomName::new("minutes")?).await?;
    ///     room.edit(|txn| txn.get_or_insert_text("text").push(txn, "hello")).await?;
    ///     let text = room.read(|doc| {
    ///         use yrs::Transact;
    ///         doc.get_or_insert_text("text").get_string(&doc.transact())
    ///     });
    ///     assert_eq!(text.await?, "hello");
    ///     Ok(())
    /// })
    /// # }
    /// # #[cfg(not(feature = "smol"))]
    /// # fn main() {}
    /// ```
    #[cfg(feature = "app")]
    pub async fn edit<T: Send + 'static>(
        &self,
        f: impl FnOnce(&mut yrs::TransactionMut<'_>) -> T + Send + 'static,
    ) -> Result<T, RoomError> {
        let id = self.held.id;
        self.ask(move |shard, answer| shard.work_on(id, super::edit::Errand::edit(f, answer))).await
    }

    /// Reads the document: `f` is given a copy of what the room shows at that moment, as
    /// [`edit`](Self::edit) is. What it changes there is thrown away.
    #[cfg(feature = "app")]
    pub async fn read<T: Send + 'static>(
        &self,
        f: impl FnOnce(&yrs::Doc) -> T + Send + 'static,
    ) -> Result<T, RoomError> {
        let id = self.held.id;
        self.ask(move |shard, answer| shard.work_on(id, super::edit::Errand::read(f, answer))).await
    }

    /// Who is in it.
    pub async fn peers(&self) -> Result<Vec<Peer>, RoomError> {
        let id = self.held.id;
        let peers: Vec<PeerId> = self
            .ask(move |shard, answer| {
                let conns = shard.with_hub(|hub, _| {
                    hub.peers(id).map(|peer| shard.peer_id(peer.conn)).collect()
                });
                answer.send(Ok(conns));
            })
            .await?;
        let peer = |id| Peer::new(self.rooms.clone(), id, self.name.clone());
        Ok(peers.into_iter().map(peer).collect())
    }

    /// What everybody in it shows of themselves: JSON by awareness client id.
    pub async fn presence(&self) -> Result<BTreeMap<u64, String>, RoomError> {
        let id = self.held.id;
        let states = self.ask(move |shard, answer| {
            answer.send(Ok(shard.with_hub(|hub, _| hub.presence(id))));
        });
        let states = states.await?.unwrap_or_default();
        let entries = entries(&states).into_iter().flatten().flatten();
        Ok(entries.map(|entry| (entry.client.0, entry.json.to_owned())).collect())
    }

    /// Sends one binary frame to every peer that has credit for it; gives how many those are.
    pub async fn broadcast(&self, message: impl Into<Bytes>) -> Result<usize, RoomError> {
        let (id, message) = (self.held.id, message.into());
        self.ask(move |shard, answer| {
            answer.send(Ok(shard.with_hub(|hub, now| hub.tell_all(now, id, &message))));
        })
        .await
    }

    /// Sends one binary frame to everybody in the room, here and at all servers that it is
    /// [chained](crate::Running::chain) with, however far; gives how many here were told.
    ///
    /// Everybody gets it at most once, also where chains form a circle, and not who has no credit for
    /// it. Servers' applications are given it, too, if its type is theirs
    /// ([`Server::on_application_message`](crate::Server::on_application_message)). It needs links that
    /// may speak for many ([`Presence::Relay`](yroom::Presence::Relay)), at both ends.
    pub async fn publish(&self, message: impl Into<Bytes>) -> Result<usize, RoomError> {
        let (id, message) = (self.held.id, message.into());
        let name = message_id();
        self.ask(move |shard, answer| {
            let told = shard.with_hub(|hub, now| hub.publish(now, id, name, &message));
            answer.send(told.map_err(RoomError::from));
        })
        .await
    }

    /// Shows peers a presence state (JSON) of the application's own, a bot's for instance, or with
    /// `None` nothing any more. It is renewed until then, and goes with the last hold of the room.
    pub async fn set_presence(&self, client: u64, state: Option<&str>) -> Result<(), RoomError> {
        let (id, state) = (self.held.id, state.map(str::to_owned));
        self.ask(move |shard, answer| {
            let set = shard
                .with_hub(|hub, now| hub.set_presence(now, id, ClientId(client), state.as_deref()));
            answer.send(set.map_err(RoomError::from));
        })
        .await
    }

    /// Closes all its connections. The room stays while it is held.
    pub async fn close(&self, code: CloseCode, reason: &str) -> Result<(), RoomError> {
        let (id, reason) = (self.held.id, reason.to_owned());
        self.ask(move |shard, answer| {
            shard.with_hub(|hub, now| hub.close_room(now, id, code, &reason));
            answer.send(Ok(()));
        })
        .await
    }

    /// Which load of the room it is.
    pub fn id(&self) -> RoomId {
        self.held.id
    }

    async fn ask<T: Send + 'static>(
        &self,
        f: impl FnOnce(&Shard, Sender<Result<T, RoomError>>) + Send + 'static,
    ) -> Result<T, RoomError> {
        self.rooms.ask(self.shard, f).await.ok_or(RoomError::Stopped)?
    }
}

/// An id that nobody else chooses: each state of the standard library's hashing has random keys.
fn message_id() -> MessageId {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let [one, two] = [(); 2].map(|()| RandomState::new().hash_one(count).to_le_bytes());
    let mut id = [0; 16];
    id[..8].copy_from_slice(&one);
    id[8..].copy_from_slice(&two);
    MessageId(id)
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Room")
            .field("name", &self.name)
            .field("id", &self.held.id)
            .finish_non_exhaustive()
    }
}
