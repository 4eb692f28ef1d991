//! One connection, for the application.

use super::{RoomError, Rooms};
use bytes::Bytes;
use std::fmt;
use yroom::{Access, CloseCode, ConnId, RoomName, Told};

/// Which connection of a server; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId {
    /// Which of the server's threads has it.
    pub shard: usize,
    /// Which of that thread's connections.
    pub conn: ConnId,
}

/// A connection in a room. It does not keep either: what is done to one that is gone has no effect.
#[derive(Clone)]
pub struct Peer {
    rooms: Rooms,
    id: PeerId,
    room: RoomName,
}

impl Peer {
    pub(crate) fn new(rooms: Rooms, id: PeerId, room: RoomName) -> Self {
        Self { rooms, id, room }
    }

    /// Which.
    pub const fn id(&self) -> PeerId {
        self.id
    }

    /// Where.
    pub const fn room(&self) -> &RoomName {
        &self.room
    }

    /// All rooms of its server.
    pub const fn rooms(&self) -> &Rooms {
        &self.rooms
    }

    /// Sends it one binary frame: a message of the application's own type.
    pub async fn send(&self, message: impl Into<Bytes>) -> Result<Told, RoomError> {
        let (conn, message) = (self.id.conn, message.into());
        self.rooms
            .ask(self.id.shard, move |shard, answer| {
                answer.send(shard.with_hub(|hub, now| hub.tell(now, conn, &message)));
            })
            .await
            .ok_or(RoomError::Stopped)
    }

    /// Ends it.
    pub async fn close(&self, code: CloseCode, reason: &str) -> Result<(), RoomError> {
        let (conn, reason) = (self.id.conn, reason.to_owned());
        self.rooms
            .ask(self.id.shard, move |shard, answer| {
                shard.with_hub(|hub, now| hub.close(now, conn, code, &reason));
                answer.send(());
            })
            .await
            .ok_or(RoomError::Stopped)
    }

    /// Changes what it may do, from its next frame on.
    pub async fn set_access(&self, access: Access) -> Result<(), RoomError> {
        let conn = self.id.conn;
        self.rooms
            .ask(self.id.shard, move |shard, answer| {
                shard.with_hub(|hub, now| hub.set_access(now, conn, access));
                answer.send(());
            })
            .await
            .ok_or(RoomError::Stopped)
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer")
            .field("id", &self.id)
            .field("room", &self.room)
            .finish_non_exhaustive()
    }
}
