//! Chained rooms: a room here follows the room of another server.
//!
//! y-protocols is symmetric: both sides say what they have and get what they lack. So an upstream
//! server is one more peer of the room, only that it was dialled and has not dialled itself. It goes
//! by the rules of all peers: what it sends is judged as bytes and stored, it is kept alive, it may be
//! slow or silent, and nothing of what clients write is rewritten on the way. What was edited on
//! either side while the link was down is not queued: the rooms have it, and tell each other when they
//! meet again.
//!
//! ```
//! use yroom::{Config, RoomName};
//! use yroom_net::chain::{ChainOptions, Credentials};
//! use yroom_net::{Server, runtime};
//!
//! # #[cfg(feature = "smol")]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let upstream = Server::<runtime::Smol>::new(Config::default()).bind("127.0.0.1:0")?;
//! # let url = &format!("ws://{}/notes", upstream.local_addr());
//! let server = Server::<runtime::Smol>::new(Config::default()).bind("127.0.0.1:0")?;
//! let options = ChainOptions::default().credentials(|| async { Ok(Credentials::bearer("…")) });
//! let chain = server.chain(RoomName::new("notes")?, url, options)?; // "wss://example.org/notes"
//! smol::block_on(chain.linked())?;
//! println!("{:?}", chain.status());
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "smol"))]
//! # fn main() {}
//! ```
//!
//! # What happens when
//!
//! * *The upstream server is down, restarts, is silent or too slow*: the room goes on; the link is
//!   dialled again, with jitter, until there is one. Other close codes than 4400 to 4499 mean just that.
//! * *It refuses us* (4400 to 4499, or an HTTP status of 4xx that will stay): the chain has
//!   [stopped](ChainPhase::Stopped), the room goes on alone.
//! * *It lets us read only*: it ignores what is written here, which stays here; what is written there
//!   arrives.
//! * *The room here is deleted or closed for good*: the chain has stopped.
//! * *"Is everything saved?"* (message type 102) is answered for this server's store alone.
//! * *Chains in a circle* are harmless: what brings nothing new is not passed on.
//!
//! While the link is up the room stays loaded. While it is down and nobody else is in the room, it may
//! be unloaded: the store has it, and the next link loads it.
//!
//! [`Running::chain_all`] does this for each room while somebody uses it.
//!
//! # Presence
//!
//! Who is here is seen there, and the other way round. One connection speaks for many then: a yroom
//! server allows that with [`Presence::Relay`](yroom::Presence::Relay), which is what
//! [`Access::RELAY`] has; with less, it shows the first few
//! ([`Limits::awareness_ids_per_connection`](yroom::Limits)). y-websocket's server sets no bound.

//!
//! # Messages of the application's own
//!
//! [`Room::publish`](crate::app::Room::publish) sends one to everybody in the room at all servers that are
//! chained, in a row or in a circle, once. Messages that clients send, and
//! [`Room::broadcast`](crate::app::Room::broadcast), stay at their server.

mod all;
mod follow;
pub(crate) mod handshake;
mod shared;

pub use crate::client::{Credentials, InvalidAddress};
pub use all::ChainAll;
pub(crate) use follow::Upstream;
pub use shared::{ChainPhase, ChainStatus, ChainStopped};

use crate::accept::{Job, shard_of};
use crate::client::Options;
use crate::client::dial::Address;
use crate::mailbox::Mailbox;
use crate::server::Running;
use shared::Shared;
use std::fmt;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use yroom::{Access, RoomName};

impl Running {
    /// Has a room follow the room at `url` of another server, and that one this, for as long as the
    /// [`Chain`] is kept.
    pub fn chain(
        &self,
        room: RoomName,
        url: &str,
        options: ChainOptions,
    ) -> Result<Chain, InvalidAddress> {
        Chain::new(&self.mailboxes, room, url, options)
    }
}

/// A room's link with an upstream server. Dropped, the link is closed and made no more.
pub struct Chain {
    shared: Arc<Shared>,
}

impl Chain {
    fn new(
        mailboxes: &[Mailbox<Job>],
        room: RoomName,
        url: &str,
        options: ChainOptions,
    ) -> Result<Self, InvalidAddress> {
        let address = Address::parse(url)?;
        let home = &mailboxes[shard_of(&room, mailboxes.len())];
        let shared = Arc::new(Shared::default());
        let upstream = Upstream::new(room, address, options, Arc::clone(&shared));
        // A shard that has ended drops it, and so says that it has stopped.
        let _ = home.push(Job::Chain(Box::new(upstream)));
        Ok(Self { shared })
    }

    /// How it stands.
    pub fn status(&self) -> ChainStatus {
        self.shared.status()
    }

    /// Waits until the link is up. Fails when there will be none.
    pub fn linked(&self) -> impl Future<Output = Result<(), ChainStopped>> + Send + use<> {
        Shared::linked(Arc::clone(&self.shared))
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        self.shared.give_up();
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chain").field("status", &self.status()).finish_non_exhaustive()
    }
}

/// How a room follows another. The default: both ways, without credentials.
#[derive(Clone, Debug)]
pub struct ChainOptions {
    door: Options,
    access: Access,
    retry: Retry,
}

impl Default for ChainOptions {
    fn default() -> Self {
        Self { door: Options::default(), access: Access::RELAY, retry: Retry::default() }
    }
}

impl ChainOptions {
    /// Where credentials come from: asked before every attempt to connect, on a thread that serves
    /// rooms. If they cannot be had, the attempt has failed, and another follows.
    #[must_use]
    pub fn credentials<F, Fut>(mut self, provide: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = io::Result<Credentials>> + 'static,
    {
        self.door = self.door.credentials(provide);
        self
    }

    /// What to trust in `wss://`. Default: the roots of Mozilla's programme.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, config: Arc<futures_rustls::rustls::ClientConfig>) -> Self {
        self.door = self.door.tls(config);
        self
    }

    /// What the upstream server may do in the room here. Default: [`Access::RELAY`].
    #[must_use]
    pub fn access(mut self, access: Access) -> Self {
        self.access = access;
        self
    }

    /// How long to wait for what.
    #[must_use]
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }
}

/// How long a chain waits before it dials again, and for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// The first wait after an attempt that failed, doubled with each further one. Default: 100 ms.
    pub from: Duration,
    /// Over how long the first attempts after the loss of a link that had lasted are spread. Default:
    /// 5 s: all the rooms of a server lose it at the same moment.
    pub spread: Duration,
    /// The longest wait. Default: 10 s.
    pub at_most: Duration,
    /// How long an attempt may take. Default: 20 s.
    pub connect_timeout: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            from: Duration::from_millis(100),
            spread: Duration::from_secs(5),
            at_most: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(20),
        }
    }
}
