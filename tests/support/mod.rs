//! A hub with a clock, a store and peers that a test holds in its hands.

#![allow(unreachable_pub, dead_code, reason = "shared by several test programs, each using a part")]

use bytes::Bytes;
use std::collections::BTreeMap;
use std::time::Duration;
use yroom::wire::{self, Message, encode};
use yroom::{
    Access, Append, ApplicationOp, Config, ConnId, Event, Hub, Input, Output, RoomId, RoomName,
    StoreOp, Stored, Timestamp,
};
use yrs::updates::decoder::Decode;
use yrs::updates::encoder::Encode;
use yrs::{Doc, GetString, ReadTxn, StateVector, Text, Transact, Update};

/// A hub, and everything around it.
#[derive(Debug)]
pub struct World {
    pub hub: Hub,
    pub now: Timestamp,
    pub store: BTreeMap<RoomName, Stored>,
    /// Store operations that wait because [`hold_store`](Self::hold_store) is set.
    pub held: Vec<StoreOp>,
    pub hold_store: bool,
    /// Credit is given back at once unless this is set.
    pub hold_flushes: bool,
    pub received: BTreeMap<ConnId, Vec<Bytes>>,
    pub closed: BTreeMap<ConnId, (u16, String)>,
    pub paused: BTreeMap<ConnId, bool>,
    pub events: Vec<Event>,
    /// What the hub wants of the application.
    pub asked: Vec<ApplicationOp>,
}

impl World {
    pub fn new(config: Config) -> Self {
        Self {
            hub: Hub::new(config),
            now: Timestamp::from_micros(1),
            store: BTreeMap::new(),
            held: Vec::new(),
            hold_store: false,
            hold_flushes: false,
            received: BTreeMap::new(),
            closed: BTreeMap::new(),
            paused: BTreeMap::new(),
            events: Vec::new(),
            asked: Vec::new(),
        }
    }

    pub fn open(&mut self, room: &str) -> ConnId {
        self.open_as(room, Access::FULL)
    }

    pub fn open_as(&mut self, room: &str, access: Access) -> ConnId {
        let room = RoomName::new(room).expect("a valid name");
        let conn = self.hub.open(self.now, &room, access).expect("let in");
        self.received.insert(conn, Vec::new());
        self.drain();
        conn
    }

    pub fn send(&mut self, conn: ConnId, frame: impl Into<Bytes>) {
        self.input(Input::Frame { conn, frame: frame.into() });
    }

    pub fn input(&mut self, input: Input) {
        self.hub.handle(self.now, input);
        self.drain();
    }

    pub fn close(&mut self, conn: ConnId) {
        self.input(Input::Closed { conn });
    }

    /// Lets time pass, stopping at each of the hub's deadlines.
    pub fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(at) = self.hub.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.hub.handle_timeout(self.now);
            self.drain();
        }
        self.now = end;
    }

    /// Carries out what the hub wants.
    pub fn drain(&mut self) {
        while let Some(output) = self.hub.poll_output() {
            match output {
                Output::Send { conn, frame } => {
                    assert!(!self.closed.contains_key(&conn), "sent to the closed {conn:?}");
                    let bytes = frame.len();
                    self.received.entry(conn).or_default().push(frame);
                    if !self.hold_flushes {
                        self.hub.handle(self.now, Input::Flushed { conn, bytes });
                    }
                }
                Output::Close { conn, code, reason } => {
                    self.closed.insert(conn, (code.0, reason));
                }
                Output::Pause { conn } => {
                    self.paused.insert(conn, true);
                }
                Output::Resume { conn } => {
                    self.paused.insert(conn, false);
                }
                Output::Store(op) if self.hold_store => self.held.push(op),
                Output::Store(op) => {
                    if let Some(answer) = self.perform(op) {
                        self.hub.handle(self.now, answer);
                    }
                }
                Output::Application(op) => self.asked.push(op),
                Output::Event(event) => self.events.push(event),
            }
        }
    }

    /// Carries out one store operation as a store that works would.
    pub fn perform(&mut self, op: StoreOp) -> Option<Input> {
        match op {
            StoreOp::Load { room, name } => {
                let stored = self.store.get(&name).cloned().unwrap_or_default();
                Some(Input::Loaded { room, result: Ok(stored) })
            }
            StoreOp::Append(Append { room, name, batch }) => {
                let stored = self.store.entry(name).or_default();
                stored.log.retain(|kept| kept.last() < batch.first());
                assert_eq!(stored.last().next(), batch.first(), "no hole and no overlap");
                let upto = batch.last();
                stored.log.push(batch);
                Some(Input::Durable { room, upto })
            }
            StoreOp::Compact { room, name, upto, snapshot } => {
                let stored = self.store.entry(name).or_default();
                assert!(upto <= stored.last(), "only what is durable is compacted");
                stored.log.retain(|kept| kept.last() > upto);
                stored.snapshot = Some(snapshot);
                stored.snapshot_upto = upto;
                Some(Input::Compacted { room, upto, result: Ok(()) })
            }
            StoreOp::Delete { room, name } => {
                self.store.remove(&name);
                Some(Input::Deleted { room, result: Ok(()) })
            }
            StoreOp::Release { .. } => None,
        }
    }

    /// Carries out the store operations that were held, and stops holding.
    pub fn release_store(&mut self) {
        self.hold_store = false;
        for op in std::mem::take(&mut self.held) {
            if let Some(answer) = self.perform(op) {
                self.input(answer);
            }
        }
    }

    /// What came for `conn` since the last call.
    pub fn take(&mut self, conn: ConnId) -> Vec<Bytes> {
        std::mem::take(self.received.entry(conn).or_default())
    }

    /// The load that the hub has announced last.
    pub fn last_room(&self) -> RoomId {
        let opened = |event: &Event| match event {
            Event::RoomOpened { room, .. } => Some(*room),
            _ => None,
        };
        self.events.iter().rev().find_map(opened).expect("a room was opened")
    }
}

/// A Yjs client that types into one text.
#[derive(Debug)]
pub struct Writer {
    pub doc: Doc,
}

impl Writer {
    pub fn new(client: u64) -> Self {
        Self { doc: Doc::with_client_id(client) }
    }

    /// Types at the end; the update.
    pub fn types(&self, text: &str) -> Vec<u8> {
        let shared = self.doc.get_or_insert_text("text");
        let mut txn = self.doc.transact_mut();
        let at = shared.len(&txn);
        shared.insert(&mut txn, at, text);
        txn.encode_update_v1()
    }

    /// Deletes the first `len` characters; the update.
    pub fn deletes(&self, len: u32) -> Vec<u8> {
        let shared = self.doc.get_or_insert_text("text");
        let mut txn = self.doc.transact_mut();
        shared.remove_range(&mut txn, 0, len);
        txn.encode_update_v1()
    }

    pub fn text(&self) -> String {
        let shared = self.doc.get_or_insert_text("text");
        shared.get_string(&self.doc.transact())
    }

    pub fn step1(&self) -> Bytes {
        encode::sync_step1(&self.doc.transact().state_vector().encode_v1())
    }

    /// Everything that a peer with `have` lacks.
    pub fn step2(&self, have: &[u8]) -> Bytes {
        let have = StateVector::decode_v1(have).expect("a state vector");
        encode::sync_step2(&self.doc.transact().encode_diff_v1(&have))
    }

    /// Takes in what a server sent.
    pub fn hears(&self, frames: &[Bytes]) {
        for frame in frames {
            for message in wire::messages(frame) {
                match message.expect("a message") {
                    Message::SyncStep2(update) | Message::Update(update) => {
                        let update = Update::decode_v1(update).expect("an update");
                        self.doc.transact_mut().apply_update(update).expect("it applies");
                    }
                    _ => {}
                }
            }
        }
    }
}

/// A world as it is by default.
pub fn world() -> World {
    World::new(Config::default())
}

/// The Update message.
pub fn frame_of(update: &[u8]) -> Bytes {
    encode::update(update)
}

/// The Update messages among `frames`.
pub fn updates(frames: &[Bytes]) -> Vec<Bytes> {
    frames.iter().filter(|frame| frame.starts_with(&[0, 2])).cloned().collect()
}

/// Two synced peers in `room`, with what they were sent on the way forgotten.
pub fn pair(world: &mut World, room: &str) -> (ConnId, ConnId) {
    let (a, b) = (world.open(room), world.open(room));
    for conn in [a, b] {
        world.send(conn, Writer::new(1).step1());
        world.take(conn);
    }
    (a, b)
}

/// The `clock`-th letter of client 7, after the one before.
pub fn letter(clock: u64) -> Vec<u8> {
    let mut update = vec![1, 1, 7];
    wire::varint::write(&mut update, clock);
    if clock == 0 {
        update.extend([4, 1, 4, b't', b'e', b'x', b't']);
    } else {
        update.extend([0x84, 7]);
        wire::varint::write(&mut update, clock - 1);
    }
    update.extend([1, b'x', 0]);
    update
}
