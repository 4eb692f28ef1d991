//! What the application itself wants of the rooms.

use super::{Hub, Place};
use crate::error::{CloseCode, NotApplied, Reject};
use crate::io::{ConnId, RoomId, RoomName, Seq};
use crate::room::{MessageId, Room, Told};
use crate::time::Timestamp;
use crate::update::{ClientId, StateVector};
use bytes::Bytes;

/// A room as the application sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomInfo {
    /// Which load.
    pub id: RoomId,
    /// Its name.
    pub name: RoomName,
    /// How far its life is.
    pub phase: RoomPhase,
    /// How many connections are in it.
    pub peers: usize,
    /// How often the application holds it.
    pub holds: usize,
    /// Bytes of the document, 0 before it is loaded.
    pub bytes: usize,
    /// Accepted updates that are not durable yet.
    pub unsaved: u64,
}

/// How far a room's life is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RoomPhase {
    /// The store reads, or the application gives the first content; peers wait.
    Loading,
    /// Its peers are served.
    Live,
    /// Nobody needs it; it goes when everything is durable.
    Draining,
    /// The store forgets it.
    Deleting,
}

/// A connection as the application sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerInfo {
    /// Which.
    pub conn: ConnId,
    /// Whether its first SyncStep1 was answered.
    pub synced: bool,
    /// Whether it has more waiting for it than it takes.
    pub lagging: bool,
}

/// The application among the users of a room.
///
/// It is no connection: it has no frames, is never paused and never lags. What it writes is judged,
/// stored and shown like what peers write.
impl Hub {
    /// Keeps a room loaded until as many calls of [`release`](Self::release); loads it if it is not
    /// there.
    ///
    /// Look for [`Event::RoomLive`](crate::Event), or ask [`room`](Self::room), before using it. A
    /// load that fails ends the room and with it every hold.
    pub fn hold(&mut self, now: Timestamp, name: &RoomName) -> Result<RoomId, Reject> {
        self.advance(now);
        let existing = self.names.get(name).copied();
        self.admit_application(existing)?;
        let id = existing.unwrap_or_else(|| self.open_room(name));
        self.with_room(id, |room, _| room.take_hold());
        Ok(id)
    }

    /// Takes a hold back. With the last one the application's presence goes. Ignored if the room is
    /// gone.
    pub fn release(&mut self, now: Timestamp, room: RoomId) {
        self.advance(now);
        self.with_room(room, Room::release_hold);
    }

    /// All rooms, in the order of their names.
    pub fn rooms(&self) -> impl Iterator<Item = RoomInfo> {
        self.names.values().filter_map(|id| self.room(*id))
    }

    /// The room of this name, if it is there.
    pub fn find(&self, name: &RoomName) -> Option<RoomId> {
        self.names.get(name).copied()
    }

    /// What there is to know of a room; `None` if it is gone.
    pub fn room(&self, room: RoomId) -> Option<RoomInfo> {
        self.known(room).and_then(Room::info)
    }

    /// The connections of a room; none if it is gone.
    pub fn peers(&self, room: RoomId) -> impl Iterator<Item = PeerInfo> {
        self.known(room).into_iter().flat_map(Room::peer_infos)
    }

    /// What everybody in a room shows of themselves, as an awareness payload
    /// ([`wire::awareness::entries`](crate::wire::awareness::entries) reads it); `None` if that is
    /// nothing.
    pub fn presence(&self, room: RoomId) -> Option<Bytes> {
        self.known(room)?.presence()
    }

    /// The document as one Yjs V1 update, as far as it may be shown: in the default durability, as
    /// far as it is durable. `None` if the room is not live.
    pub fn content(&mut self, room: RoomId) -> Option<Bytes> {
        self.rooms.get_mut(room.0)?.content(&self.config)
    }

    /// The state vector of [`content`](Self::content).
    pub fn state_vector(&self, room: RoomId) -> Option<StateVector> {
        self.known(room)?.state_vector()
    }

    /// Takes a Yjs V1 update of the application's own. All or nothing: an update that the room
    /// cannot use whole changes nothing.
    ///
    /// It is durable when [`is_durable`](Self::is_durable) says so of the place that is returned.
    pub fn apply(
        &mut self,
        now: Timestamp,
        room: RoomId,
        update: &[u8],
    ) -> Result<Seq, NotApplied> {
        self.advance(now);
        self.ask_room(room, |room, cx| room.apply(cx, update)).unwrap_or(Err(NotApplied::NotLive))
    }

    /// Whether everything up to a place is durable. `false` also if the room is gone, of which
    /// nothing is known any more here: then it depends on how it went
    /// ([`Event::RoomClosed`](crate::Event)).
    pub fn is_durable(&self, room: RoomId, seq: Seq) -> bool {
        self.known(room).is_some_and(|room| room.is_durable(seq))
    }

    /// Deletes a room, loaded or not: closes its connections with 4404, then has the store forget
    /// it. Until [`Event::RoomDeleted`](crate::Event) nobody is let in.
    pub fn delete(&mut self, now: Timestamp, name: &RoomName) -> Result<RoomId, Reject> {
        self.advance(now);
        let existing = self.names.get(name).copied();
        match self.admit_application(existing) {
            // Said twice, done once.
            Ok(()) | Err(Reject::BeingDeleted) => {}
            Err(reject) => return Err(reject),
        }
        let id = existing.unwrap_or_else(|| self.make_room(name));
        self.with_room(id, Room::delete);
        Ok(id)
    }

    /// Closes all connections of a room. It is then unloaded as if they had left.
    pub fn close_room(&mut self, now: Timestamp, room: RoomId, code: CloseCode, reason: &str) {
        self.advance(now);
        self.with_room(room, |room, cx| room.close_all(cx, code, reason));
    }

    /// Sends one binary frame to one peer: a message of the application's own type.
    pub fn tell(&mut self, now: Timestamp, conn: ConnId, message: &Bytes) -> Told {
        self.advance(now);
        let Some(&Place { room, slot, .. }) = self.conns.get(conn.0) else { return Told::Gone };
        self.ask_room(room, |room, cx| room.tell(cx, slot, message)).unwrap_or(Told::Gone)
    }

    /// Sends one binary frame to every peer of a room that has credit for it; says how many those
    /// are.
    pub fn tell_all(&mut self, now: Timestamp, room: RoomId, message: &Bytes) -> usize {
        self.advance(now);
        let sent = self.ask_room(room, |room, cx| {
            (0..room.peer_count())
                .filter(|slot| room.tell(cx, *slot, message) == Told::Sent)
                .count()
        });
        sent.unwrap_or(0)
    }

    /// Sends one binary frame to everybody in a room, here and at the servers that the room is linked
    /// with, where their own links lead included; says how many here were told. Like
    /// [`tell_all`](Self::tell_all) it is not sent to who has no credit for it, links included.
    ///
    /// What the room's links with other servers are is said by
    /// [`Presence::Relay`](crate::Presence::Relay). Those servers' applications are given it, too, if
    /// its type is [theirs](crate::Config::application_messages). Everybody is told once, also where
    /// links form a circle, by the id: 16 random bytes.
    pub fn publish(
        &mut self,
        now: Timestamp,
        room: RoomId,
        id: MessageId,
        message: &Bytes,
    ) -> Result<usize, NotApplied> {
        self.advance(now);
        self.ask_room(room, |room, cx| room.publish(cx, id, message))
            .unwrap_or(Err(NotApplied::NotLive))
    }

    /// Announces a presence state (JSON) of the application's own in a room that it holds, a bot's
    /// for instance, or takes it back. It is renewed until then.
    ///
    /// At most [`Limits::awareness_ids_per_connection`](crate::Limits::awareness_ids_per_connection)
    /// in a room.
    pub fn set_presence(
        &mut self,
        now: Timestamp,
        room: RoomId,
        client: ClientId,
        state: Option<&str>,
    ) -> Result<(), NotApplied> {
        self.advance(now);
        self.ask_room(room, |room, cx| room.set_presence(cx, client, state))
            .unwrap_or(Err(NotApplied::NotLive))
    }

    /// As for a connection, but the application counts as none.
    fn admit_application(&self, room: Option<RoomId>) -> Result<(), Reject> {
        let existing = room.and_then(|id| self.known(id));
        if self.shutting_down {
            Err(Reject::ShuttingDown)
        } else if existing.is_some_and(Room::is_being_deleted) {
            Err(Reject::BeingDeleted)
        } else if existing.is_none() && self.rooms.len() >= self.config.limits.rooms {
            Err(Reject::TooManyRooms)
        } else {
            Ok(())
        }
    }
}
