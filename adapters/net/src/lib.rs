//! Drives the [`yroom`] engine over real sockets.
//!
//! [`Server`] is a WebSocket server for any program: it brings its own threads, and asks for no
//! async. Which runtime it uses inside is a type parameter: [`Runtime`] is the little it needs of one.
//! The [`client`] keeps an application's `yrs::Doc` in sync with a room of a server.
#![forbid(unsafe_code)]

mod accept;
#[cfg(feature = "client")]
pub mod client;
mod conn;
mod http;
mod link;
mod mailbox;
pub mod runtime;
mod server;
mod shard;
mod signal;
pub mod store;
mod ws;

#[cfg(all(
    feature = "client",
    any(feature = "smol", feature = "tokio", feature = "async-std")
))]
pub use client::connect;
pub use http::Refusal;
pub use runtime::Runtime;
pub use server::{Farewell, Notice, Running, Server, Timeouts};
