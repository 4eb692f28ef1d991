//! **yroom** keeps [Yjs](https://yjs.dev) documents in sync: a protocol engine without I/O.
//!
//! A Yjs update is bytes. A server that keeps people in sync does not have to *integrate* those
//! bytes into a document: it has to know what they cover, keep them, pass them on, and answer
//! "what do I lack?". So this engine works on updates as bytes and builds no CRDT document. It
//! speaks the protocol of `y-websocket`, so that an unchanged client syncs with it.
//!
//! It has no sockets, files, clocks, threads or randomness of its own: bytes and the time go in,
//! frames and store operations come out. `yroom-net` drives it on tokio, smol or async-std; the
//! program `yroom` is a whole server.
//!
//! # The loop
//!
//! Tell the [`Hub`] what happens ([`open`](Hub::open), [`handle`](Hub::handle),
//! [`handle_timeout`](Hub::handle_timeout)), then carry out its [`Output`]s in order, until there
//! are no more. Here two peers share a room, with a `Vec` for a disk:
//!
//! ```
//! use yroom::{Access, Config, Hub, Input, Output, RoomName, Stored, StoreOp, Timestamp};
//! use yroom::wire::encode;
//!
//! let mut hub = Hub::new(Config::default());
//! let now = Timestamp::ZERO; // from any monotonic clock
//! let room = RoomName::new("minutes")?;
//! let ada = hub.open(now, &room, Access::FULL)?;
//! let bob = hub.open(now, &room, Access::FULL)?;
//!
//! let mut disk = Vec::new();
//! let mut sent = Vec::new();
//! let mut drain = |hub: &mut Hub| {
//!     while let Some(output) = hub.poll_output() {
//!         match output {
//!             Output::Send { conn, frame } => {
//!                 hub.handle(now, Input::Flushed { conn, bytes: frame.len() });
//!                 sent.push((conn, frame));
//!             }
//!             Output::Store(StoreOp::Load { room, .. }) => {
//!                 hub.handle(now, Input::Loaded { room, result: Ok(Stored::default()) });
//!             }
//!             Output::Store(StoreOp::Append(append)) => {
//!                 let (room, upto) = (append.room, append.batch.last());
//!                 disk.push(append.batch);
//!                 hub.handle(now, Input::Durable { room, upto });
//!             }
//!             Output::Store(_) | Output::Pause { .. } | Output::Resume { .. } => {}
//!             Output::Close { .. } | Output::Application(_) | Output::Event(_) => {}
//!         }
//!     }
//! };
//! drain(&mut hub);
//!
//! // Ada types "hi": the update as Yjs encodes it, in an Update message.
//! let update = [1, 1, 7, 0, 4, 1, 4, b't', b'e', b'x', b't', 2, b'h', b'i', 0];
//! hub.handle(now, Input::Frame { conn: ada, frame: encode::update(&update) });
//! drain(&mut hub);
//!
//! assert_eq!(disk.len(), 1, "it is stored");
//! assert_eq!(sent.last(), Some(&(bob, encode::update(&update))), "and then shown to Bob");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Time
//!
//! The engine never asks for the time. [`Hub::poll_timeout`] says when it wants to be called next:
//! for keepalives, retries, awareness that expires, rooms to unload. Calling early does no harm,
//! calling late delays those. More in [`docs::time`], and a whole driver in [`docs::the_loop`].
//!
//! # Failures
//!
//! Nothing that a peer sends and no fault of the store panics, or harms another room. A peer's fault
//! closes that peer ([`FaultKind`] has the close codes); a store's fault makes one room wait
//! ([`docs::durability`]). Everything is bounded by [`Limits`].
//!
//! # Determinism
//!
//! The same configuration and inputs give the same outputs, byte for byte: a recorded run can be
//! replayed, and a simulation needs nothing but a seed.
#![forbid(unsafe_code)]

mod awareness;
mod bucket;
mod config;
mod document;
mod error;
mod hub;
mod identity;
mod io;
mod journal;
mod json;
mod peer;
#[cfg(feature = "provider")]
pub mod provider;
mod room;
mod slab;
mod time;
pub mod update;
pub mod wire;

/// Longer texts: how it is driven, what it promises, and how it is built.
pub mod docs {
    #[doc = include_str!("docs/the_loop.md")]
    pub mod the_loop {}
    #[doc = include_str!("docs/time.md")]
    pub mod time {}
    #[doc = include_str!("docs/backpressure.md")]
    pub mod backpressure {}
    #[doc = include_str!("docs/architecture.md")]
    pub mod architecture {}
    #[doc = include_str!("docs/durability.md")]
    pub mod durability {}
}

pub use config::{
    Absent, Access, Config, Durability, Folding, History, Limits, Presence, Rate, Rights,
};
pub use error::{
    CloseCode, Fault, FaultKind, InvalidRoomName, NotApplied, Reject, StoreFault, StoreFaultKind,
};
pub use hub::{Hub, PeerInfo, RoomInfo, RoomPhase};
pub use identity::{Identity, InvalidIdentity};
pub use io::{
    Append, ApplicationOp, Batch, ConnId, Event, Input, Output, RoomId, RoomName, Seq, StoreOp,
    Stored,
};
pub use room::{MessageId, Told};
pub use time::Timestamp;
