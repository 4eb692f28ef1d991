//! **yroom** keeps [Yjs](https://yjs.dev) documents in sync: a protocol engine without I/O.
//!
//! A Yjs update is bytes. A server that keeps people in sync does not have to *integrate* those
//! bytes into a document: it has to know what they cover, keep them, pass them on, and answer
//! "what do I lack?". So this engine works on updates as bytes and builds no CRDT document.
#![forbid(unsafe_code)]

mod awareness;
mod config;
mod document;
mod error;
mod hub;
mod io;
mod journal;
mod peer;
mod room;
mod slab;
mod time;
pub mod update;
pub mod wire;

pub use config::{Access, Config, Durability, Limits, Presence, Rights};
pub use error::{CloseCode, Fault, FaultKind, InvalidRoomName, Reject, StoreFault, StoreFaultKind};
pub use hub::Hub;
pub use io::{
    Append, Batch, ConnId, Event, Input, Output, RoomId, RoomName, Seq, StoreOp, Stored,
};
pub use time::Timestamp;
