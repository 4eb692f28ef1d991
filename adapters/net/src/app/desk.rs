//! What the application waits for at one shard: rooms that load, updates that become durable,
//! deletions, first contents.

#[cfg(feature = "app")]
use super::batch::Batches;
use super::events::{Happening, Subscribers};
use super::hooks::Hooks;
use super::line::Lines;
use super::oneshot::Sender;
use super::{Peer, PeerId, RoomError, Rooms};
use crate::accept::Job;
use crate::mailbox::Mailbox;
use crate::shard::Shard;
use crate::signal::Signal;
use bytes::Bytes;
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use yroom::{
    ApplicationOp, ConnId, Event, Hub, RoomId, RoomName, Seq, StoreFault, StoreFaultKind, Timestamp,
};

/// Work for a shard that another thread has: it is done on the shard's own.
pub(crate) type Ask = Box<dyn FnOnce(&Shard) + Send>;

/// Something to be said when the hub is not in the middle of something.
pub(super) type Due = Box<dyn FnOnce(&Shard)>;

/// One shard's part of the application's affairs.
pub(crate) struct Desk {
    pub(super) shard: usize,
    pub(super) rooms: Rooms,
    pub(super) hooks: Hooks,
    pub(super) lines: Lines,
    state: RefCell<State>,
    #[cfg(feature = "app")]
    pub(super) batches: RefCell<Batches>,
}

#[derive(Default)]
struct State {
    names: BTreeMap<RoomId, RoomName>,
    /// Where each connection is that the hub knows.
    places: BTreeMap<ConnId, RoomName>,
    loading: BTreeMap<RoomId, Vec<Sender<Result<Held, RoomError>>>>,
    /// Why a load goes wrong, until it is over.
    faults: BTreeMap<RoomId, StoreFault>,
    /// In the order of their places, and of their deadlines.
    unstored: BTreeMap<RoomId, VecDeque<Unstored>>,
    deleting: BTreeMap<RoomId, Vec<Sender<Result<(), RoomError>>>>,
    /// First contents that the application has for rooms, whatever an initialiser says.
    seeds: BTreeMap<RoomName, Bytes>,
    initialisers: BTreeMap<RoomId, Rc<Signal>>,
    due: Vec<Due>,
}

/// An update that somebody wants to see stored.
struct Unstored {
    seq: Seq,
    until: Timestamp,
    then: Stored,
}

/// What is done when it is known whether an update is stored.
pub(super) type Stored = Box<dyn FnOnce(&Shard, Result<(), RoomError>)>;

/// A hold on a room, for as long as it lives.
pub(crate) struct Held {
    mailbox: Mailbox<Job>,
    pub(super) id: RoomId,
}

impl Drop for Held {
    fn drop(&mut self) {
        let id = self.id;
        let release: Ask = Box::new(move |shard| shard.with_hub(|hub, now| hub.release(now, id)));
        // A shard that has ended holds nothing any more.
        let _ = self.mailbox.push(Job::Ask(release));
    }
}

impl Desk {
    pub(crate) fn new(shard: usize, rooms: Rooms, hooks: Hooks) -> Self {
        Self {
            shard,
            rooms,
            hooks,
            lines: Lines::default(),
            state: RefCell::default(),
            #[cfg(feature = "app")]
            batches: RefCell::default(),
        }
    }

    /// A hold that was taken.
    pub(super) fn held(&self, id: RoomId) -> Held {
        Held { mailbox: self.rooms.mailbox(self.shard).clone(), id }
    }

    /// Answers when the room is loaded, or not.
    pub(super) fn when_loaded(&self, id: RoomId, answer: Sender<Result<Held, RoomError>>) {
        self.state.borrow_mut().loading.entry(id).or_default().push(answer);
    }

    /// Answers when the room is deleted, or not. One that was not loaded has not said its name.
    pub(super) fn when_deleted(
        &self,
        id: RoomId,
        name: &RoomName,
        answer: Sender<Result<(), RoomError>>,
    ) {
        let mut state = self.state.borrow_mut();
        state.names.entry(id).or_insert_with(|| name.clone());
        state.deleting.entry(id).or_default().push(answer);
    }

    /// Does something when an update is stored, or has not been in time.
    pub(super) fn when_stored(&self, id: RoomId, seq: Seq, until: Timestamp, then: Stored) {
        let unstored = Unstored { seq, until, then };
        self.state.borrow_mut().unstored.entry(id).or_default().push_back(unstored);
    }

    /// The room's first content, should it be absent; `None` takes it back, and gives it if it was not
    /// used.
    pub(super) fn set_seed(&self, name: &RoomName, content: Option<Bytes>) -> Option<Bytes> {
        let seeds = &mut self.state.borrow_mut().seeds;
        match content {
            Some(content) => seeds.insert(name.clone(), content),
            None => seeds.remove(name),
        }
    }

    /// Whether somebody is about to fill a room.
    pub(super) fn has_seed(&self, name: &RoomName) -> bool {
        self.state.borrow().seeds.contains_key(name)
    }

    /// A connection has come in: known before its first frame is read.
    pub(crate) fn opened(&self, conn: ConnId, room: &RoomName) {
        self.state.borrow_mut().places.insert(conn, room.clone());
    }

    /// A connection for the application, while it is there.
    pub(super) fn peer(&self, conn: ConnId) -> Option<Peer> {
        let room = self.state.borrow().places.get(&conn).cloned()?;
        let id = PeerId { shard: self.shard, conn };
        Some(Peer::new(self.rooms.clone(), id, room))
    }

    /// What ends the initialiser of a room.
    pub(super) fn initialiser(&self, room: RoomId) -> Rc<Signal> {
        let over = Rc::new(Signal::default());
        self.state.borrow_mut().initialisers.insert(room, Rc::clone(&over));
        over
    }

    /// Ends the initialiser of a room that nobody waits for any more.
    pub(super) fn cancel_initialiser(&self, room: RoomId) {
        if let Some(over) = self.state.borrow_mut().initialisers.remove(&room) {
            over.raise();
        }
    }

    /// Takes note of what the hub asks. The hub is in the middle of something.
    pub(crate) fn asked(&self, op: ApplicationOp) {
        let due: Due = match op {
            ApplicationOp::Initialise { room, name } => {
                Box::new(move |shard| shard.initialise(room, name))
            }
            ApplicationOp::Message { conn, message } => {
                Box::new(move |shard| shard.deliver(conn, message))
            }
        };
        self.state.borrow_mut().due.push(due);
    }

    /// Takes note of what the hub says. The hub is in the middle of something.
    pub(crate) fn note(&self, event: &Event) {
        let mut state = self.state.borrow_mut();
        state.learn(event);
        if self.rooms.subscribers().is_empty() {
            state.forget(event);
            return;
        }
        let (room, conn) = whose(event);
        let name = match (conn, room) {
            (Some(conn), _) => state.places.get(&conn).cloned(),
            (None, Some(room)) => state.names.get(&room).cloned(),
            (None, None) => None,
        };
        let peer = conn.map(|conn| PeerId { shard: self.shard, conn });
        state.forget(event);
        drop(state);
        if let Some(room) = name {
            let happening = Happening { room, peer, event: event.clone() };
            Subscribers::publish(self.rooms.subscribers(), &happening);
        }
    }

    /// What to say now that the hub is at rest: of updates that are durable, of what is over.
    pub(crate) fn settle(&self, hub: &Hub, now: Timestamp) -> Vec<Due> {
        let mut state = self.state.borrow_mut();
        let State { unstored, due, .. } = &mut *state;
        unstored.retain(|&room, waiting| {
            while let Some(first) = waiting.front() {
                let stored = hub.is_durable(room, first.seq);
                if !stored && first.until > now {
                    break;
                }
                let Some(Unstored { then, .. }) = waiting.pop_front() else { break };
                let result = if stored { Ok(()) } else { Err(RoomError::NotStored) };
                due.push(Box::new(move |shard| then(shard, result)));
            }
            !waiting.is_empty()
        });
        std::mem::take(due)
    }

    /// When [`settle`](Self::settle) has something to say even if nothing happens.
    pub(crate) fn deadline(&self) -> Option<Timestamp> {
        self.state
            .borrow()
            .unstored
            .values()
            .filter_map(|it| it.front())
            .map(|first| first.until)
            .min()
    }

    /// The first content of a room that is absent, if the application has given it already.
    pub(super) fn take_seed(&self, name: &RoomName) -> Option<Bytes> {
        self.state.borrow_mut().seeds.remove(name)
    }
}

impl State {
    fn learn(&mut self, event: &Event) {
        match event {
            Event::RoomOpened { room, name } => {
                self.names.insert(*room, name.clone());
            }
            Event::RoomLive { room, .. } => {
                let waiting = self.loading.remove(room).unwrap_or_default();
                let room = *room;
                self.due.push(Box::new(move |shard| {
                    for answer in waiting {
                        answer.send(Ok(shard.desk().held(room)));
                    }
                }));
            }
            Event::RoomDegraded { room, fault } if self.loading.contains_key(room) => {
                self.faults.insert(*room, fault.clone());
            }
            Event::RoomDeleted { room, result } => self.deleted(*room, result.clone()),
            _ => {}
        }
    }

    /// After everybody was told: what is over is forgotten.
    fn forget(&mut self, event: &Event) {
        match event {
            Event::PeerLeft { conn } => {
                self.places.remove(conn);
            }
            Event::RoomClosed { room, unsaved } => self.closed(*room, *unsaved),
            _ => {}
        }
    }

    fn deleted(&mut self, room: RoomId, result: Result<(), StoreFault>) {
        let lost = self.unstored.remove(&room).unwrap_or_default();
        let waiting = self.deleting.remove(&room).unwrap_or_default();
        let result = result.map_err(RoomError::NotDeleted);
        self.due.push(Box::new(move |shard| {
            for Unstored { then, .. } in lost {
                then(shard, Err(RoomError::Gone));
            }
            for answer in waiting {
                answer.send(result.clone());
            }
        }));
    }

    fn closed(&mut self, room: RoomId, unsaved: u64) {
        self.names.remove(&room);
        let loading = self.loading.remove(&room).unwrap_or_default();
        let fault = self.faults.remove(&room).unwrap_or_else(|| {
            StoreFault::new(StoreFaultKind::Unknown, "it did not come to its end in time")
        });
        let unstored = self.unstored.remove(&room).unwrap_or_default();
        let deleting = self.deleting.remove(&room).unwrap_or_default();
        let stored = if unsaved == 0 { Ok(()) } else { Err(RoomError::NotStored) };
        self.due.push(Box::new(move |shard| {
            for answer in loading {
                answer.send(Err(RoomError::NotLoaded(fault.clone())));
            }
            for Unstored { then, .. } in unstored {
                then(shard, stored.clone());
            }
            for answer in deleting {
                answer.send(Err(RoomError::Gone));
            }
            shard.room_is_gone(room);
        }));
    }
}

/// Whom an event is about.
fn whose(event: &Event) -> (Option<RoomId>, Option<ConnId>) {
    match event {
        Event::PeerJoined { conn, room } => (Some(*room), Some(*conn)),
        Event::RoomOpened { room, .. }
        | Event::RoomLive { room, .. }
        | Event::RoomDegraded { room, .. }
        | Event::RoomRecovered { room }
        | Event::RoomClosed { room, .. }
        | Event::RoomDeleted { room, .. }
        | Event::RoomCompacted { room, .. }
        | Event::CompactionFailed { room, .. }
        | Event::RoomChanged { room, .. }
        | Event::PresenceChanged { room, .. } => (Some(*room), None),
        Event::PeerSynced { conn }
        | Event::PeerLeft { conn }
        | Event::PeerFaulted { conn, .. }
        | Event::Refused { conn }
        | Event::PeerLagging { conn }
        | Event::PeerCaughtUp { conn }
        | Event::Gap { conn, .. }
        | Event::Acknowledged { conn, .. }
        | Event::UnknownMessage { conn, .. } => (None, Some(*conn)),
        _ => (None, None),
    }
}
