//! WebSockets that another HTTP server has accepted: their handshake, and the way in.

use crate::accept::{Job, shard_of};
use crate::http::upgrade_key;
use crate::mailbox::Mailbox;
use crate::refusal::Refusal;
use futures_io::{AsyncRead, AsyncWrite};
use std::fmt;
use std::sync::Arc;
use yroom::{Access, RoomName};

/// Where connections come in that the application's own HTTP server has accepted. Clones lead into
/// the same server.
#[derive(Clone)]
pub struct Entrance {
    mailboxes: Arc<[Mailbox<Job>]>,
}

impl Entrance {
    pub(crate) const fn new(mailboxes: Arc<[Mailbox<Job>]>) -> Self {
        Self { mailboxes }
    }

    /// Serves a connection on which the WebSocket handshake is done already, by whatever server
    /// accepted it ([`handshake`] answers one); `part` is what was read of it beyond that. Nobody asks
    /// [`Server::admit`](crate::Server::admit) about it: `access` is the caller's decision.
    ///
    /// `stream` is polled on the room's thread, whichever runtime that has: its wakers have to work
    /// across threads, and its own reactor has to go on running. Sockets of tokio, hyper, async-io and
    /// async-std are such.
    ///
    /// Gives nothing back: if the hub does not let it in, it is closed with 1013, and if the server has
    /// ended, it is dropped.
    pub fn serve_upgraded<S>(&self, stream: S, part: Vec<u8>, room: RoomName, access: Access)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let home = &self.mailboxes[shard_of(&room, self.mailboxes.len())];
        // A shard that has ended drops the connection.
        let _ = home.push(Job::Upgraded { stream: Box::new(stream), part, room, access });
    }
}

impl fmt::Debug for Entrance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entrance").finish_non_exhaustive()
    }
}

/// Checks the headers of a `GET` request that wants to become a WebSocket (RFC 6455 §4.2.1), and gives
/// the value of the answer's `Sec-WebSocket-Accept`.
///
/// For an application whose own HTTP server reads the requests: it answers with status 101, `Upgrade:
/// websocket`, `Connection: Upgrade` and this, and gives the socket to
/// [`Entrance::serve_upgraded`]. A `&HeaderMap` of the crate `http` will do; names are compared without
/// regard to case.
///
/// # Errors
///
/// 426 if no WebSocket, or another version than 13, is asked for; 400 if the key, `Host` or `Connection`
/// is missing or malformed. To be answered with the refusal's status and sentence.
///
/// ```
/// let answer = yroom_net::handshake([
///     ("host", "localhost"),
///     ("connection", "keep-alive, Upgrade"),
///     ("upgrade", "websocket"),
///     ("sec-websocket-version", "13"),
///     ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
/// ]);
/// assert_eq!(answer.unwrap(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="); // as in the RFC
/// assert_eq!(yroom_net::handshake([("host", "localhost")]).unwrap_err().status(), 426);
/// ```
pub fn handshake<N, V>(headers: impl IntoIterator<Item = (N, V)>) -> Result<String, Refusal>
where
    N: AsRef<str>,
    V: AsRef<[u8]>,
{
    let headers: Vec<_> = headers.into_iter().collect();
    let headers: Vec<_> = headers
        .iter()
        .map(|(name, value)| httparse::Header { name: name.as_ref(), value: value.as_ref() })
        .collect();
    upgrade_key(&headers)
}
