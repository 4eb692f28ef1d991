//! Many rooms on one thread: admission, routing and timers.

mod application;

use crate::config::{Access, Config};
use crate::error::{CloseCode, Reject};
use crate::io::{ConnId, Input, Output, RoomId, RoomName};
use crate::room::{Context, Room};
use crate::slab::Slab;
use crate::time::{SplitMix64, Timestamp};
pub use application::{PeerInfo, RoomInfo, RoomPhase};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A server's rooms, without its sockets, its clock and its disk.
///
/// Feed it what happens with [`open`](Self::open), [`handle`](Self::handle) and
/// [`handle_timeout`](Self::handle_timeout), in any number; then carry out what
/// [`poll_output`](Self::poll_output) gives, in order, until it gives nothing. What is handled
/// between two drains is one turn: its updates are appended and sent together.
#[derive(Debug)]
pub struct Hub {
    config: Config,
    rng: SplitMix64,
    shutting_down: bool,
    /// Each in a box of its own, so that those who leave take their memory with them.
    rooms: Slab<Box<Room>>,
    names: BTreeMap<RoomName, RoomId>,
    conns: Slab<Place>,
    deadlines: BTreeSet<(Timestamp, RoomId)>,
    expiries: BTreeSet<(Timestamp, ConnId)>,
    unsettled: VecDeque<RoomId>,
    now: Timestamp,
    out: VecDeque<Output>,
    closed: Vec<ConnId>,
}

/// Where a connection is.
#[derive(Clone, Copy, Debug)]
struct Place {
    room: RoomId,
    slot: usize,
    expires_at: Option<Timestamp>,
}

impl Hub {
    /// A hub without rooms.
    pub fn new(config: Config) -> Self {
        Self {
            rng: SplitMix64::new(config.seed),
            config,
            shutting_down: false,
            rooms: Slab::new(),
            names: BTreeMap::new(),
            conns: Slab::new(),
            deadlines: BTreeSet::new(),
            expiries: BTreeSet::new(),
            unsettled: VecDeque::new(),
            now: Timestamp::ZERO,
            out: VecDeque::new(),
            closed: Vec::new(),
        }
    }

    /// Lets a connection into a room, which is loaded if it is not there yet.
    ///
    /// The answer is immediate, so that a refusal can still be an HTTP status: [`Reject`] says which
    /// limit is reached, or that the hub is shutting down. What goes wrong later, a load that fails for
    /// instance, closes the connection with a code.
    pub fn open(
        &mut self,
        now: Timestamp,
        room: &RoomName,
        access: Access,
    ) -> Result<ConnId, Reject> {
        self.advance(now);
        let existing = self.names.get(room).copied();
        self.admit(existing)?;
        let id = existing.unwrap_or_else(|| self.open_room(room));
        let slot = self.known(id).map_or(0, Room::peer_count);
        let place = Place { room: id, slot, expires_at: access.expires_at };
        let conn = ConnId(self.conns.insert_with(|_| place));
        if let Some(at) = access.expires_at {
            self.expiries.insert((at, conn));
        }
        self.with_room(id, |room, cx| room.join(cx, conn, access));
        Ok(conn)
    }

    fn admit(&self, room: Option<RoomId>) -> Result<(), Reject> {
        let limits = &self.config.limits;
        if self.shutting_down {
            Err(Reject::ShuttingDown)
        } else if self.conns.len() >= limits.connections {
            Err(Reject::TooManyConnections)
        } else if let Some(room) = room.and_then(|id| self.known(id)) {
            if room.is_being_deleted() {
                Err(Reject::BeingDeleted)
            } else if room.peer_count() >= limits.peers_per_room {
                Err(Reject::RoomFull)
            } else {
                Ok(())
            }
        } else if self.rooms.len() >= limits.rooms {
            Err(Reject::TooManyRooms)
        } else {
            Ok(())
        }
    }

    fn open_room(&mut self, name: &RoomName) -> RoomId {
        let id = self.make_room(name);
        self.with_room(id, Room::load);
        id
    }

    fn make_room(&mut self, name: &RoomName) -> RoomId {
        let until = self.now + self.config.limits.load_timeout;
        let key =
            self.rooms.insert_with(|key| Box::new(Room::new(RoomId(key), name.clone(), until)));
        self.names.insert(name.clone(), RoomId(key));
        RoomId(key)
    }

    /// Takes in something that happened. It cannot fail: a peer's fault becomes a close of that
    /// peer, and what comes late for a connection or a room that is gone is ignored.
    pub fn handle(&mut self, now: Timestamp, input: Input) {
        self.advance(now);
        match input {
            Input::Frame { conn, frame } => {
                if let Some(&Place { room, slot, .. }) = self.conns.get(conn.0) {
                    self.with_room(room, |room, cx| room.frame(cx, slot, frame));
                }
            }
            Input::Arriving { conn, bytes } => {
                if let Some(&Place { room, slot, .. }) = self.conns.get(conn.0) {
                    self.with_room(room, |room, cx| room.arriving(cx, slot, bytes));
                }
            }
            Input::Flushed { conn, bytes } => {
                if let Some(&Place { room, slot, .. }) = self.conns.get(conn.0) {
                    self.with_room(room, |room, cx| room.flushed(cx, slot, bytes));
                }
            }
            Input::Closed { conn } => self.forget(conn),
            Input::Loaded { room, result } => self.with_room(room, |r, cx| r.loaded(cx, result)),
            Input::Durable { room, upto } => self.with_room(room, |r, cx| r.durable(cx, upto)),
            Input::WriteFailed { room, seq, fault } => {
                self.with_room(room, |room, cx| room.write_failed(cx, seq, fault));
            }
            Input::Compacted { room, upto, result } => {
                self.with_room(room, |room, cx| room.compacted(cx, upto, result));
            }
            Input::Deleted { room, result } => {
                self.with_room(room, |room, cx| room.deleted(cx, result));
            }
            Input::Initialised { room, result } => {
                self.with_room(room, |room, cx| room.initialised(cx, result));
            }
        }
    }

    /// Does what is due at `now`; see [`poll_timeout`](Self::poll_timeout).
    pub fn handle_timeout(&mut self, now: Timestamp) {
        self.advance(now);
        // At the end of time, what is due is due again at once: it is never due.
        let due = |at: Timestamp| at <= now && at < Timestamp::MAX;
        while let Some(&(at, room)) = self.deadlines.first().filter(|(at, _)| due(*at)) {
            self.deadlines.remove(&(at, room));
            if let Some(room) = self.rooms.get_mut(room.0) {
                room.scheduled = None;
            }
            self.with_room(room, Room::handle_timeout);
        }
        while let Some(&(at, conn)) = self.expiries.first().filter(|(at, _)| *at <= now) {
            self.expiries.remove(&(at, conn));
            if let Some(&Place { room, slot, .. }) = self.conns.get(conn.0) {
                self.with_room(room, |room, cx| {
                    room.close(cx, slot, CloseCode::UNAUTHORIZED, "the access has expired");
                });
            }
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is next due; calling it earlier does no harm. `None`
    /// if nothing is ever due unless something happens. Ask again after each call of another method.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        let rooms = self.deadlines.first().map(|(at, _)| *at);
        let expiries = self.expiries.first().map(|(at, _)| *at);
        rooms.into_iter().chain(expiries).min()
    }

    /// The next thing to do, in order; `None` when all is done for now.
    pub fn poll_output(&mut self) -> Option<Output> {
        loop {
            if let Some(output) = self.out.pop_front() {
                return Some(output);
            }
            let id = self.unsettled.pop_front()?;
            if let Some(room) = self.rooms.get_mut(id.0) {
                room.queued = false;
            }
            self.with_room(id, Room::settle);
        }
    }

    /// Changes what a connection may do, from its next frame on. Ignored if it is gone.
    pub fn set_access(&mut self, now: Timestamp, conn: ConnId, access: Access) {
        self.advance(now);
        let Some(place) = self.conns.get_mut(conn.0) else { return };
        if let Some(at) = std::mem::replace(&mut place.expires_at, access.expires_at) {
            self.expiries.remove(&(at, conn));
        }
        if let Some(at) = access.expires_at {
            self.expiries.insert((at, conn));
        }
        let Place { room, slot, .. } = *place;
        self.with_room(room, |room, cx| room.set_access(cx, slot, access));
    }

    /// Ends a connection. Ignored if it is gone.
    pub fn close(&mut self, now: Timestamp, conn: ConnId, code: CloseCode, reason: &str) {
        self.advance(now);
        if let Some(&Place { room, slot, .. }) = self.conns.get(conn.0) {
            self.with_room(room, |room, cx| room.close(cx, slot, code, reason));
        }
    }

    /// Ends service: refuses newcomers, closes all connections with 1012 and makes durable what they
    /// sent until they are gone, which [`Input::Closed`] says. Over when
    /// [`is_drained`](Self::is_drained).
    pub fn shutdown(&mut self, now: Timestamp) {
        self.advance(now);
        self.shutting_down = true;
        for key in self.rooms.keys().collect::<Vec<_>>() {
            self.with_room(RoomId(key), Room::shutdown);
        }
    }

    /// Whether no room is left.
    pub const fn is_drained(&self) -> bool {
        self.rooms.len() == 0
    }

    /// Accepted updates that are not durable yet, in all rooms.
    pub fn unsaved(&self) -> u64 {
        self.rooms.keys().filter_map(|key| self.known(RoomId(key))).map(Room::unsaved).sum()
    }

    /// Rooms that are loaded, being loaded or being drained.
    pub const fn room_count(&self) -> usize {
        self.rooms.len()
    }

    /// Connections that are open.
    pub const fn connection_count(&self) -> usize {
        self.conns.len()
    }

    /// The memory that the engine holds for one connection: what it is and owes, the frames that wait
    /// for its room, the document it is being brought, its presence. `None` if it is gone.
    ///
    /// Without what the room has anyway, and without what was given out as
    /// [`Output::Send`]: that waits with whoever drives the hub.
    ///
    /// However a peer behaves, that is no more than the sum of
    ///
    /// * 1 KiB, for the connection and its timers;
    /// * for each awareness id that it uses, its state (at most
    ///   [`Limits::awareness_state_bytes`](crate::Limits::awareness_state_bytes)), the stamp on it
    ///   ([`Identity::MAX_STAMP_BYTES`](crate::Identity::MAX_STAMP_BYTES)) and 256 bytes; there are
    ///   [`Limits::awareness_ids_per_connection`](crate::Limits::awareness_ids_per_connection) at most;
    /// * while something is not durable, and until the turn is over, 4 KiB, for sixteen questions
    ///   whether all is saved;
    /// * until the room is loaded, twice what it has sent, of which
    ///   [`Limits::inbox_bytes`](crate::Limits::inbox_bytes) and two frames are kept (the peer is
    ///   paused beyond the first and closed beyond the second; small frames cost as much again for
    ///   their places);
    /// * while it lags, two state vectors, of 32 bytes for each of the document's client ids;
    /// * while it is brought a document larger than [`Limits::slice_bytes`](crate::Limits::slice_bytes),
    ///   that document as it was at the beginning, and 256 bytes for each of its client ids.
    ///
    /// And what waits with the driver is [`Limits::outbox_bytes`](crate::Limits::outbox_bytes) and one
    /// answer: the document, or a slice of it, with everybody's presence. The simulation (`tests/sim`)
    /// checks both after each event.
    pub fn held_bytes(&self, conn: ConnId) -> Option<usize> {
        let place = self.conns.get(conn.0)?;
        let expiry = place.expires_at.map_or(0, |_| size_of::<(Timestamp, ConnId)>());
        let room = self.known(place.room)?;
        Some(size_of::<Place>() + expiry + room.held_bytes(place.slot))
    }

    fn known(&self, id: RoomId) -> Option<&Room> {
        self.rooms.get(id.0).map(|room| &**room)
    }

    fn advance(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
    }

    /// Runs `f` on a room, then does what it left to do: connections it closed, its deadline, its
    /// settling, its end.
    fn with_room(&mut self, id: RoomId, f: impl FnOnce(&mut Room, &mut Context<'_>)) {
        let _gone = self.ask_room(id, f);
    }

    /// As [`with_room`](Self::with_room), for an answer; `None` if the room is gone.
    fn ask_room<T>(
        &mut self,
        id: RoomId,
        f: impl FnOnce(&mut Room, &mut Context<'_>) -> T,
    ) -> Option<T> {
        let room = self.rooms.get_mut(id.0)?;
        let mut cx = Context {
            now: self.now,
            config: &self.config,
            rng: &mut self.rng,
            out: &mut self.out,
            closed: &mut self.closed,
        };
        let answer = f(room, &mut cx);
        if !self.closed.is_empty() {
            for conn in std::mem::take(&mut self.closed) {
                self.forget(conn);
            }
        }
        self.reschedule(id);
        Some(answer)
    }

    fn reschedule(&mut self, id: RoomId) {
        let Some(room) = self.rooms.get_mut(id.0) else { return };
        if room.is_gone() && room.peer_count() == 0 {
            if let Some(at) = room.scheduled {
                self.deadlines.remove(&(at, id));
            }
            self.names.remove(room.name());
            self.rooms.remove(id.0);
            return;
        }
        if let Some(deadline) = room.deadline()
            && room.scheduled.is_none_or(|at| deadline < at)
        {
            if let Some(at) = room.scheduled.replace(deadline) {
                self.deadlines.remove(&(at, id));
            }
            self.deadlines.insert((deadline, id));
        }
        if room.is_unsettled() && !room.queued {
            room.queued = true;
            self.unsettled.push_back(id);
        }
    }

    fn forget(&mut self, conn: ConnId) {
        let Some(place) = self.conns.remove(conn.0) else { return };
        if let Some(at) = place.expires_at {
            self.expiries.remove(&(at, conn));
        }
        let mut moved = None;
        let last = self.shutting_down;
        self.with_room(place.room, |room, cx| {
            moved = room.leave(cx, place.slot);
            if last {
                room.shutdown(cx);
            }
        });
        if let Some(moved) = moved.and_then(|moved| self.conns.get_mut(moved.0)) {
            moved.slot = place.slot;
        }
    }
}
