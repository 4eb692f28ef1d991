//! A WebSocket's framing (RFC 6455), without I/O: bytes in, frames out.
//!
//! Its own, because what a connection holds while nothing moves is what a server's memory is. A
//! [`Decoder`] works in a buffer that all connections of a thread share and keeps only the part of a
//! frame that has not come whole; frames to send stay the shared bytes that the engine gave
//! (`link.rs`). Measured against async-tungstenite 0.35 in this place, one thread: 40 peers that
//! stopped reading held 42 MiB (a copy of the same frames each), now 2; 40 connections that had once
//! brought 4 MB held 153 MiB, now 1; a quiet connection 5.8 KiB, now 1.8; and a million deliveries of
//! a burst took 0.04 s of CPU, now 0.01.

mod decode;
mod encode;
mod header;
#[cfg(test)]
mod tests;

use bytes::Bytes;
pub(crate) use decode::Decoder;
pub(crate) use encode::{header_len, masked, write_header};
use yroom::CloseCode;

/// What a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opcode {
    #[cfg(feature = "autobahn")]
    Text = 1,
    Binary = 2,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

/// Which end of a WebSocket this is: a client masks what it sends, a server does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Server,
    #[cfg_attr(not(any(feature = "client", test)), expect(dead_code, reason = "only servers then"))]
    Client,
}

/// What the other side sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Incoming {
    /// A whole binary message.
    Message(Bytes),
    /// A whole text message, from a decoder that takes such.
    Text(Bytes),
    Ping(Bytes),
    Pong,
    /// It ends the connection; to be answered with the same code, if it gave one.
    Close(Option<CloseCode>),
    /// It did what a client must not; nothing after it is decoded.
    Breach(Breach),
}

/// The close that a breach of the protocol deserves.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Breach {
    pub(crate) code: CloseCode,
    pub(crate) reason: String,
}

impl Breach {
    fn protocol(reason: &str) -> Self {
        Self { code: CloseCode::PROTOCOL, reason: reason.to_owned() }
    }

    fn too_big(limit: usize) -> Self {
        Self { code: CloseCode::TOO_BIG, reason: format!("a message of over {limit} bytes") }
    }
}
