//! Drives the [`yroom`] engine over real sockets.
//!
//! [`Server`] is a WebSocket server for any program: it brings its own threads, and asks for no
//! async. Which runtime it uses inside is a type parameter: [`Runtime`] is the little it needs of one.
#![forbid(unsafe_code)]

mod accept;
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

pub use http::Refusal;
pub use runtime::Runtime;
pub use server::{Farewell, Notice, Running, Server, Timeouts};
