//! A hub with one room full of peers, and whoever drives it: a store that is done at once, a network
//! that takes all.

use bytes::Bytes;
use yroom::wire::encode;
use yroom::{
    Access, Batch, Config, ConnId, Hub, Input, Output, RoomName, Seq, StoreOp, Stored, Timestamp,
};

/// The hub, and how often it was made to send.
pub struct Stage {
    pub hub: Hub,
    pub room: RoomName,
    pub conns: Vec<ConnId>,
    pub sends: u64,
    now: Timestamp,
    stored: Stored,
    /// What was sent in this turn, and will have left at its end.
    leaving: Vec<(ConnId, usize)>,
}

/// Whether what is sent leaves.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Network {
    Takes,
    Blocks,
}

impl Stage {
    /// A room with so many peers, all of them synced, and this document in the store.
    pub fn new(peers: usize, snapshot: Option<Bytes>) -> Self {
        let snapshot_upto = Seq(u64::from(snapshot.is_some()));
        let mut stage = Self {
            hub: Hub::new(Config::default()),
            room: RoomName::new("bench").expect("a good name"),
            conns: Vec::new(),
            sends: 0,
            now: Timestamp::from_micros(1),
            stored: Stored { snapshot, snapshot_upto, ..Stored::default() },
            leaving: Vec::new(),
        };
        for _ in 0..peers {
            let conn = stage.join();
            stage.conns.push(conn);
        }
        stage.sends = 0;
        stage
    }

    /// One more peer, which asks for everything and is given it.
    pub fn join(&mut self) -> ConnId {
        let conn = self.hub.open(self.now, &self.room, Access::FULL).expect("there is room");
        self.frame(conn, encode::sync_step1(&[0]));
        self.drain(Network::Takes);
        conn
    }

    pub fn leave(&mut self, conn: ConnId) {
        self.hub.handle(self.now, Input::Closed { conn });
        self.drain(Network::Takes);
    }

    /// Lets a second pass in which everybody's rate limits recover, and the room does what is due.
    pub fn rest(&mut self) {
        self.now = Timestamp::from_micros(self.now.as_micros() + 1_000_000);
        self.hub.handle_timeout(self.now);
        self.drain(Network::Takes);
    }

    pub fn frame(&mut self, conn: ConnId, frame: Bytes) {
        self.hub.handle(self.now, Input::Frame { conn, frame });
    }

    pub fn flushed(&mut self, conn: ConnId, bytes: usize) {
        self.hub.handle(self.now, Input::Flushed { conn, bytes });
    }

    /// Carries out what the hub wants until it wants nothing more; the length of all frames.
    pub fn drain(&mut self, network: Network) -> usize {
        let mut total = 0;
        loop {
            while let Some(output) = self.hub.poll_output() {
                total += self.carry_out(output);
            }
            if self.leaving.is_empty() || network == Network::Blocks {
                self.leaving.clear();
                return total;
            }
            let mut leaving = std::mem::take(&mut self.leaving);
            for (conn, bytes) in leaving.drain(..) {
                self.flushed(conn, bytes);
            }
            self.leaving = leaving;
        }
    }

    fn carry_out(&mut self, output: Output) -> usize {
        let now = self.now;
        match output {
            Output::Send { conn, frame } => {
                self.sends += 1;
                self.leaving.push((conn, frame.len()));
                return frame.len();
            }
            Output::Store(StoreOp::Load { room, .. }) => {
                let result = Ok(self.stored.clone());
                self.hub.handle(now, Input::Loaded { room, result });
            }
            Output::Store(StoreOp::Append(append)) => {
                let upto = Batch::last(&append.batch);
                self.hub.handle(now, Input::Durable { room: append.room, upto });
            }
            Output::Store(StoreOp::Compact { room, upto, .. }) => {
                self.hub.handle(now, Input::Compacted { room, upto, result: Ok(()) });
            }
            Output::Close { reason, .. } => panic!("somebody is closed: {reason}"),
            Output::Store(StoreOp::Delete { .. } | StoreOp::Release { .. }) => {}
            Output::Pause { .. } | Output::Resume { .. } => {}
            Output::Application(_) | Output::Event(_) => {}
        }
        0
    }
}

/// Somebody who types one character after the other into a text.
pub struct Writer {
    client: u64,
    clock: u64,
}

impl Writer {
    pub fn new(number: usize) -> Self {
        Self { client: 1_000_000 + number as u64, clock: 0 }
    }

    /// The next character, as Yjs encodes it.
    pub fn update(&mut self) -> Vec<u8> {
        self.paste(1)
    }

    /// So many characters at once.
    pub fn paste(&mut self, length: usize) -> Vec<u8> {
        let Self { client, clock } = *self;
        self.clock += length as u64;
        let mut update = vec![1, 1];
        varint(&mut update, client);
        varint(&mut update, clock);
        if clock == 0 {
            update.extend_from_slice(b"\x04\x01\x04text");
        } else {
            update.push(0x84);
            varint(&mut update, client);
            varint(&mut update, clock - 1);
        }
        varint(&mut update, length as u64);
        update.resize(update.len() + length, b'a');
        update.push(0);
        update
    }

    /// The same as a frame.
    pub fn frame(&mut self) -> Bytes {
        encode::update(&self.update())
    }
}

pub fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A peer's presence: a cursor in 110 bytes of JSON, as editors send it.
pub fn presence(client: u64, clock: u64) -> Bytes {
    let json = format!(
        r##"{{"user":{{"name":"Ada Lovelace","color":"#30bced"}},"cursor":{{"anchor":{clock:>8},"head":{clock:>8}}}}}"##
    );
    let mut states = vec![1];
    varint(&mut states, client);
    varint(&mut states, clock);
    varint(&mut states, json.len() as u64);
    states.extend_from_slice(json.as_bytes());
    encode::awareness(&states)
}
