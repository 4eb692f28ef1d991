//! The client side: keeps an application's `yrs::Doc` in sync with a room of a server.
//!
//! [`connect`] and be done: the document can be edited at once, edits are sent, others' arrive, a
//! lost connection comes back by itself. What is returned, a [`Session`], says how it stands; its
//! futures run on any executor, since the sockets live on a thread of their own ([`Client`]).
//!
//! ```
//! use yrs::{Doc, GetString, Text, Transact};
//!
//! # #[cfg(feature = "smol")]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # use yroom_net::{Server, runtime::Smol};
//! # let server = Server::<Smol>::new(Default::default()).bind("127.0.0.1:0")?;
//! # let url = &format!("ws://{}/notes", server.local_addr());
//! let doc = Doc::new();
//! let text = doc.get_or_insert_text("text");
//! let session = yroom_net::connect(url, &doc, Default::default())?; // "wss://example.org/notes"
//! smol::block_on(async {
//!     session.synced().await?;
//!     text.push(&mut doc.transact_mut(), "hello");
//!     session.flush().await?; // a yroom server has it on its disk now
//!     session.close().await;
//!     Ok(())
//! })
//! # }
//! # #[cfg(not(feature = "smol"))]
//! # fn main() {}
//! ```

pub(crate) mod dial;
mod drive;
#[cfg(feature = "autobahn")]
pub(crate) mod echo;
mod options;
mod session;
mod shared;
mod socket;
#[cfg(feature = "tls")]
mod tls;

pub use dial::InvalidAddress;
pub use options::{Credentials, Options};
pub use session::{Changes, Presence, Session};
pub use shared::{Ended, Status};
pub use yroom::provider::{Confirmation, Direction, Phase, StopReason};

use crate::mailbox::Mailbox;
use crate::runtime::Runtime;
use drive::Drive;
use shared::{Command, Shared};
use std::cell::Cell;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::thread;
use yroom::provider::{DocumentInUse, Provider};

/// Keeps `doc` in sync with the room at `url`, on the thread that all such sessions of this program
/// share.
///
/// The URL is `ws://` or `wss://`, its path the room's name.
///
/// Fails if the URL is none of these, if a transaction has `doc` at this moment, or if the system gives no
/// thread. A server that is not there is no failure: it is dialled until it is, and the session says how
/// that goes.
#[cfg(any(feature = "smol", feature = "tokio", feature = "async-std"))]
pub fn connect(url: &str, doc: &yrs::Doc, options: Options) -> Result<Session, ConnectError> {
    use std::sync::{Mutex, PoisonError};
    #[cfg(feature = "smol")]
    type Default = crate::runtime::Smol;
    #[cfg(all(feature = "tokio", not(feature = "smol")))]
    type Default = crate::runtime::Tokio;
    #[cfg(not(any(feature = "tokio", feature = "smol")))]
    type Default = crate::runtime::AsyncStd;

    static CLIENT: Mutex<Option<Client<Default>>> = Mutex::new(None);
    let mut client = CLIENT.lock().unwrap_or_else(PoisonError::into_inner);
    let running = match client.take() {
        Some(running) => running,
        None => Client::start().map_err(ConnectError::Thread)?,
    };
    let session = running.connect(url, doc, options);
    // Should its thread be gone, the next session begins another.
    *client = Some(running).filter(|_| !matches!(session, Err(ConnectError::Thread(_))));
    session
}

/// yrs recurses into types that lie in each other, as deep as the document's authors have put them.
/// Only the part of a stack that is used takes memory.
const STACK: usize = 64 << 20;

/// A thread on which sessions live, with a runtime inside.
///
/// Dropped, it takes no more sessions; those that it has go on, and the thread ends with the last.
pub struct Client<R> {
    newcomers: Mailbox<Newcomer>,
    runtime: PhantomData<fn() -> R>,
}

enum Newcomer {
    Session(Box<Drive>),
    /// No more come.
    End,
}

/// Why there is no session.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConnectError {
    /// The URL is none that can be connected to.
    Address(InvalidAddress),
    /// A transaction has the document: it cannot be watched now.
    DocumentInUse,
    /// The thread could not be started, or is gone.
    Thread(io::Error),
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(error) => error.fmt(f),
            Self::DocumentInUse => DocumentInUse.fmt(f),
            Self::Thread(error) => write!(f, "the client's thread: {error}"),
        }
    }
}

impl std::error::Error for ConnectError {}

impl<R: Runtime> Client<R> {
    /// Starts the thread. Fails if the system gives none.
    pub fn start() -> io::Result<Self> {
        let newcomers = Mailbox::new();
        let mailbox = newcomers.clone();
        let builder = thread::Builder::new().name("yroom-client".to_owned()).stack_size(STACK);
        builder.spawn(move || {
            let taken = mailbox.clone();
            if R::block_on_local(|runtime| run(runtime, taken)).is_err() {
                mailbox.close();
            }
        })?;
        Ok(Self { newcomers, runtime: PhantomData })
    }

    /// Keeps `doc` in sync with the room at `url`; see [`connect`](connect()).
    pub fn connect(
        &self,
        url: &str,
        doc: &yrs::Doc,
        options: Options,
    ) -> Result<Session, ConnectError> {
        let address = dial::Address::parse(url).map_err(ConnectError::Address)?;
        let shared = Arc::new(Shared::new());
        let notify = notifier(&shared);
        let provider = Provider::new(options.engine(), doc, notify)
            .map_err(|DocumentInUse| ConnectError::DocumentInUse)?;
        let client = provider.client();
        let drive = Drive::new(provider, address, options, Arc::clone(&shared));
        let newcomer = Newcomer::Session(Box::new(drive));
        self.newcomers
            .push(newcomer)
            .map_err(|_| ConnectError::Thread(io::ErrorKind::BrokenPipe.into()))?;
        Ok(Session::new(shared, client))
    }
}

impl<R> Drop for Client<R> {
    fn drop(&mut self) {
        // If the thread is gone, so are its sessions.
        let _ = self.newcomers.push(Newcomer::End);
    }
}

impl<R> fmt::Debug for Client<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

/// What the document's observer calls: many edits, one message.
fn notifier(shared: &Arc<Shared>) -> impl Fn() + Send + Sync + 'static {
    let shared = Arc::downgrade(shared);
    let told = AtomicBool::new(false);
    let told = Arc::new(told);
    move || {
        if let Some(shared) = shared.upgrade()
            && !told.swap(true, Ordering::AcqRel)
        {
            shared.command(Command::Edited(Arc::clone(&told)));
        }
    }
}

/// The thread's main: starts sessions until no more come, and waits for the last to end.
async fn run<R: Runtime>(runtime: R, newcomers: Mailbox<Newcomer>) {
    let running = Rc::new(Cell::new(0_usize));
    let done = Rc::new(crate::signal::Signal::default());
    let mut more = true;
    while more || running.get() > 0 {
        let arrived = poll_fn(|cx| {
            if let Poll::Ready(arrived) = newcomers.poll_take(cx) {
                return Poll::Ready(arrived);
            }
            done.poll_wait(cx).map(|()| Vec::new())
        });
        for newcomer in arrived.await {
            match newcomer {
                Newcomer::End => more = false,
                Newcomer::Session(drive) => {
                    running.set(running.get() + 1);
                    let (running, done) = (Rc::clone(&running), Rc::clone(&done));
                    let driven = drive.run(runtime.clone());
                    runtime.spawn_local(async move {
                        driven.await;
                        running.set(running.get() - 1);
                        done.raise();
                    });
                }
            }
        }
    }
}
