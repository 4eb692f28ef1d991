//! What an application adds to a server: first contents, a filter of frames, messages of its own.

use super::Peer;
use crate::Server;
use crate::runtime::Runtime;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use yroom::{CloseCode, RoomName};

/// A frame or a message on its way in.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// From whom.
    pub peer: Peer,
    /// A whole WebSocket message.
    pub frame: Bytes,
}

/// What becomes of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on to the room.
    Pass,
    /// It is as if it had never come.
    Drop,
    /// This goes on to the room in its stead, as if it had come from that peer.
    Replace(Bytes),
    /// The connection is closed, and the frame not used.
    Close(CloseCode, String),
}

/// A room's first content: an update, or nothing, or why there can be none now.
pub type FirstContent = Result<Option<Bytes>, Box<dyn Error + Send + Sync>>;

/// What the application was called for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Hook {
    /// [`Server::initialise`].
    Initialise,
    /// [`Server::on_message`].
    Filter,
    /// [`Server::on_application_message`].
    Message,
}

/// How the application's code failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// It panicked.
    Panicked,
    /// It did not come to an end in time.
    TimedOut,
    /// It gave an error.
    Error(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked => f.write_str("it panicked"),
            Self::TimedOut => f.write_str("it did not come to an end in time"),
            Self::Error(why) => f.write_str(why),
        }
    }
}

type Function<A, T> = Arc<dyn Fn(A) -> LocalBoxFuture<'static, T> + Send + Sync>;

/// The application's own code.
#[derive(Clone)]
pub(crate) struct Hooks {
    pub(super) initialise: Option<Function<RoomName, FirstContent>>,
    pub(super) filter: Option<Function<Incoming, Verdict>>,
    pub(super) message: Option<Function<Incoming, ()>>,
    pub(super) timeout: Duration,
}

impl Default for Hooks {
    fn default() -> Self {
        let timeout = Duration::from_secs(10);
        Self { initialise: None, filter: None, message: None, timeout }
    }
}

/// The application's own code in a server.
///
/// It is called on the shards' threads: its futures may wait as long as they like without holding
/// anybody else up, but must not block. What panics or takes too long costs the connection, or the
/// room's load, that it was called for, and [the observer is told](crate::Notice::HookFailed).
impl<R: Runtime> Server<R> {
    /// Gives rooms that the store has never heard of their first content.
    ///
    /// Called once for a load, however many peers wait for it, and never if the store fails. Nobody is
    /// served before the content is durable. With an error, a panic, or no answer within
    /// [`Limits::load_timeout`](yroom::Limits::load_timeout), the peers are closed with 1013, nothing
    /// is stored, and the next one to come has it called again. It is cancelled when nobody waits for
    /// the room any more.
    ///
    /// If the server dies before the content is stored it is called again later, so it should make the
    /// same update each time; that is what `seed` is for.
    ///
    /// ```
    /// # #[cfg(all(feature = "smol", feature = "app"))]
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use yroom::Config;
    /// use yroom_net::{Server, app::seed, runtime};
    /// use yrs::{Text, WriteTxn};
    ///
    /// let server = Server::<runtime::Smol>::new(Config::default())
    ///     .initialise(|name| async move {
    ///         let heading = format!("# {name}\n"); // or out of a file, or a database
    ///         Ok(Some(seed(&name, |txn| txn.get_or_insert_text("text").push(txn, &heading))?))
    ///     })
    ///     .bind("127.0.0.1:0")?;
    /// # Ok(())
    /// # }
    /// # #[cfg(not(all(feature = "smol", feature = "app")))]
    /// # fn main() {}
    /// ```
    #[must_use]
    pub fn initialise<F, Fut>(mut self, f: F) -> Self
    where
        F: Fn(RoomName) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = FirstContent> + 'static,
    {
        self.hooks.initialise = Some(Arc::new(move |name| f(name).boxed_local()));
        self
    }

    /// Looks at every frame that comes from a peer, before the room does.
    ///
    /// The frames of a connection are looked at one after the other and reach the room in their order.
    /// While a frame is being looked at, no more is read from its connection; others go on. If it takes
    /// longer than [`hook_timeout`](Self::hook_timeout), or panics, the connection is closed with 1011.
    ///
    /// ```
    /// # #[cfg(feature = "smol")]
    /// # fn main() -> std::io::Result<()> {
    /// use yroom::{CloseCode, Config};
    /// use yroom_net::{Server, app::Verdict, runtime};
    ///
    /// let server = Server::<runtime::Smol>::new(Config::default())
    ///     .on_message(|incoming| async move {
    ///         match incoming.frame.first() {
    ///             Some(0 | 1 | 3) => Verdict::Pass, // sync and awareness
    ///             _ => Verdict::Close(CloseCode(4400), "what is that?".to_owned()),
    ///         }
    ///     })
    ///     .bind("127.0.0.1:0")?;
    /// # Ok(())
    /// # }
    /// # #[cfg(not(feature = "smol"))]
    /// # fn main() {}
    /// ```
    #[must_use]
    pub fn on_message<F, Fut>(mut self, f: F) -> Self
    where
        F: Fn(Incoming) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Verdict> + 'static,
    {
        self.hooks.filter = Some(Arc::new(move |incoming| f(incoming).boxed_local()));
        self
    }

    /// Has messages of these types handed to the application instead of the room, even if y-protocols
    /// knows the type: Jupyter's type 2, for instance, is y-protocols' auth.
    ///
    /// They come in the order in which a connection has sent them, the next when the one before is
    /// done with; what it sends to the document directly after one may be there earlier. [`Peer::send`] and [`Room::broadcast`](super::Room::broadcast) answer.
    ///
    /// ```
    /// # #[cfg(feature = "smol")]
    /// # fn main() -> std::io::Result<()> {
    /// use yroom::Config;
    /// use yroom_net::{Server, runtime};
    ///
    /// let server = Server::<runtime::Smol>::new(Config::default())
    ///     .on_application_message([125], |incoming| async move {
    ///         // A peer that is gone, or a server that ends, needs no answer.
    ///         let _ = incoming.peer.send(incoming.frame).await;
    ///     })
    ///     .bind("127.0.0.1:0")?;
    /// # Ok(())
    /// # }
    /// # #[cfg(not(feature = "smol"))]
    /// # fn main() {}
    /// ```
    #[must_use]
    pub fn on_application_message<F, Fut>(
        mut self,
        types: impl IntoIterator<Item = u64>,
        f: F,
    ) -> Self
    where
        F: Fn(Incoming) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + 'static,
    {
        self.config.application_messages.extend(types);
        self.hooks.message = Some(Arc::new(move |incoming| f(incoming).boxed_local()));
        self
    }

    /// How long [`on_message`](Self::on_message) and
    /// [`on_application_message`](Self::on_application_message) may take for one message. Default:
    /// 10 s.
    #[must_use]
    pub fn hook_timeout(mut self, timeout: Duration) -> Self {
        self.hooks.timeout = timeout;
        self
    }
}
