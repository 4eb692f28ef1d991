//! Drives the [`yroom`] engine over real sockets.
//!
//! [`Server`] is a WebSocket server for any program: it brings its own threads, and asks for no
//! async. Which runtime it uses inside is a type parameter: [`Runtime`] is the little it needs of one.
//!
//! ```
//! use yroom::Config;
//! use yroom_net::{Server, runtime};
//!
//! # #[cfg(feature = "smol")]
//! # fn main() -> std::io::Result<()> {
//! let server = Server::<runtime::Smol>::new(Config::default()).bind("127.0.0.1:0")?;
//! println!("Yjs clients connect to ws://{}/<room>", server.local_addr());
//! # server.stopper().stop();
//! let farewell = server.join(); // until somebody uses `server.stopper()`
//! assert!(farewell.is_clean(), "everything accepted is stored");
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "smol"))]
//! # fn main() {}
//! ```
//!
//! # Threads
//!
//! A *shard* is a thread with a [`Hub`](yroom::Hub), its rooms' connections, an executor and, on
//! tokio, a reactor of its own. A room's name decides its shard; a socket whose request another shard
//! has read moves there. Shards do not talk to each other, and nothing is locked, allocated or woken
//! for a single delivery: frames that come in one turn of the executor go to the hub together, and
//! what the hub wants sent goes to each connection in one write.
//!
//! # Limits
//!
//! A request has [5 s](Timeouts), 16 KiB, 64 headers and a target of 4 KiB. How many are being read,
//! and how many connections there are, of one address, of one user and in all, is said by [`NetLimits`].
//! Web pages of other hosts are refused unless [`Origins`] says otherwise. A WebSocket message has [`Limits::frame_bytes`](yroom::Limits); text is
//! closed with 1003. A peer of which nothing is heard for 25 s is pinged and has 10 s to answer. A
//! connection that waits holds no buffers; what a slow one has not taken yet it shares with the others
//! of its room. A panic in a store or an observer ends its shard, and the observer is
//! [told](Notice::ShardFailed).
//!
//! [`Running::rooms`] is for the application itself, and [`app`] all that it can do with the rooms: edit
//! and read them, fill new ones, look at what peers send.
//!
//! The [`client`] keeps an application's `yrs::Doc` in sync with a room of a server; a [`chain`] does
//! that for a room.
//!
//! Longer texts are in [`docs`]: how to embed it, how to write a store or a runtime, and what to know
//! coming from another server.
#![forbid(unsafe_code)]

mod accept;
pub mod app;
mod arrival;
mod authorize;
#[cfg(feature = "autobahn")]
#[doc(hidden)]
pub mod autobahn;
#[cfg(feature = "client")]
pub mod chain;
#[cfg(feature = "client")]
pub mod client;
mod conn;
/// Longer texts.
pub mod docs {
    #[doc = include_str!("docs/embedding.md")]
    pub mod embedding {}
    #[doc = include_str!("docs/writing_a_store.md")]
    pub mod writing_a_store {}
    #[doc = include_str!("docs/writing_a_runtime.md")]
    pub mod writing_a_runtime {}
    #[doc = include_str!("docs/coming_from.md")]
    pub mod coming_from {}
}
mod gate;
mod http;
mod limits;
mod link;
mod mailbox;
mod origin;
mod proxy;
mod recheck;
mod refusal;
pub mod runtime;
mod server;
mod shard;
mod signal;
pub mod store;
#[cfg(feature = "tls")]
mod tls;
mod turns;
mod upgrade;
mod wire;
mod ws;

pub use arrival::{Arrival, Occasion};
pub use authorize::{Authorize, Grant};
#[cfg(all(
    feature = "client",
    any(feature = "smol", feature = "tokio", feature = "async-std")
))]
pub use client::connect;
pub use limits::{Loopback, NetLimits};
pub use origin::{InvalidOrigin, Origins};
pub use proxy::{ForwardedIn, InvalidPrefix, IpPrefix, Proxies};
pub use refusal::Refusal;
pub use runtime::Runtime;
pub use server::{Farewell, Notice, Running, Server, Stopper, Timeouts};
#[cfg(feature = "tls")]
pub use tls::{TlsConfig, TlsError};
pub use upgrade::{Entrance, handshake};
