//! A server: shards on threads, a listening socket, and how it all ends.

use crate::accept::{Job, Site, before};
use crate::app::{Desk, Failure, Hook, Hooks, PeerId, Rooms};
use crate::arrival::Arrival;
use crate::authorize::{Admit, Authorize, Door};
use crate::gate::Gate;
use crate::limits::NetLimits;
use crate::mailbox::Mailbox;
use crate::origin::Origins;
use crate::proxy::Proxies;
use crate::refusal::Refusal;
use crate::runtime::Runtime;
use crate::shard::{Parts, Shard};
use crate::store::{MemoryStore, Store};
use crate::upgrade::Entrance;
use futures_io::{AsyncRead, AsyncWrite};
use std::cell::Cell;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::marker::PhantomData;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::pin::pin;
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::task::Poll;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use yroom::{Absent, Access, CloseCode, Config, Event, RoomName};

/// What a server does besides sockets and rooms; see [`Server::observe`].
#[derive(Debug)]
#[non_exhaustive]
pub enum Notice<'a> {
    /// The engine says something.
    Engine(&'a Event),
    /// A request was refused before it became a WebSocket.
    Refused {
        /// With what.
        refusal: &'a Refusal,
    },
    /// A peer did what a WebSocket, or this protocol's use of it, must not.
    Breach {
        /// The code its connection is closed with.
        code: CloseCode,
        /// In words.
        reason: &'a str,
    },
    /// The system would not give a connection.
    AcceptFailed {
        /// Why.
        error: &'a io::Error,
    },
    /// A connection that should have begun with a handshake of TLS did not.
    TlsFailed {
        /// Why.
        error: &'a io::Error,
    },
    /// A chain stands otherwise than before; see [`Running::chain`].
    #[cfg(feature = "client")]
    Upstream {
        /// Which room.
        room: &'a RoomName,
        /// How it stands now.
        status: &'a crate::chain::ChainStatus,
    },
    /// The application's own code failed in what it was called for.
    HookFailed {
        /// For what.
        hook: Hook,
        /// In which room.
        room: &'a RoomName,
        /// For which connection, which is closed; a room's first content is for none.
        peer: Option<PeerId>,
        /// How.
        failure: &'a Failure,
    },
    /// A thread panicked and its rooms are not served any more: what a store, an observer or this
    /// library did wrong. Its peers are cut off, nothing durable is lost, and the best that a program
    /// can do is to start anew.
    ShardFailed {
        /// Which thread.
        shard: usize,
    },
}

pub(crate) type Observer = Arc<dyn Fn(&Notice<'_>) + Send + Sync>;

/// How long a server waits for whom.
#[derive(Clone, Debug)]
pub struct Timeouts {
    /// For a whole request, from the accepting on. Default: 5 s.
    pub handshake: Duration,
    /// For the decision about a request that is there; then it is answered with 503. Default: 10 s.
    pub authorize: Duration,
    /// Silence after which a peer is pinged. Default: 25 s, less than the 30 s and more of proxies.
    pub ping_after: Duration,
    /// For anything from a peer that was pinged; then it counts as gone (1001). Default: 10 s.
    pub pong_within: Duration,
    /// For the end of a connection that was closed. Default: 2 s.
    pub closing: Duration,
    /// For everything to be stored and everybody to be gone at the end. Default: 30 s.
    pub drain: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(5),
            authorize: Duration::from_secs(10),
            ping_after: Duration::from_secs(25),
            pong_within: Duration::from_secs(10),
            closing: Duration::from_secs(2),
            drain: Duration::from_secs(30),
        }
    }
}

/// A server that is not running yet.
pub struct Server<R> {
    pub(crate) config: Config,
    pub(crate) hooks: Hooks,
    store: Option<Arc<dyn Store>>,
    threads: usize,
    timeouts: Timeouts,
    observer: Observer,
    door: Arc<dyn Door>,
    gate: Gate,
    runtime: PhantomData<fn() -> R>,
}

impl<R: Runtime> Server<R> {
    /// A server with a memory store and a thread for each core, that everybody may use and nobody
    /// observes.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            hooks: Hooks::default(),
            store: None,
            threads: thread::available_parallelism().map_or(1, usize::from),
            timeouts: Timeouts::default(),
            observer: Arc::new(|_| {}),
            door: Arc::new(Admit(|_: &Arrival| Ok(Access::FULL))),
            gate: Gate::default(),
            runtime: PhantomData,
        }
    }

    /// Where the rooms are kept. The server closes it at its end.
    #[must_use]
    pub fn store(mut self, store: Arc<dyn Store>) -> Self {
        self.store = Some(store);
        self
    }

    /// How many shards, each a thread with its own rooms; at least one.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads.max(1);
        self
    }

    /// How long to wait for whom.
    #[must_use]
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// Who may come in, and what for; a refusal is answered with its status before the connection is a
    /// WebSocket. Asked in the background: it may take its time.
    #[must_use]
    pub fn authorize(mut self, authorize: impl Authorize) -> Self {
        self.door = Arc::new(authorize);
        self
    }

    /// The same by a function, for what can be said at once. Called on the shards' threads: it has to
    /// be quick.
    #[must_use]
    pub fn admit(
        self,
        admit: impl Fn(&Arrival) -> Result<Access, Refusal> + Send + Sync + 'static,
    ) -> Self {
        self.authorize(Admit(admit))
    }

    /// How many connections there may be.
    #[must_use]
    pub fn net_limits(mut self, limits: NetLimits) -> Self {
        self.gate.limits = limits;
        self
    }

    /// Whose web pages may connect.
    #[must_use]
    pub fn origins(mut self, origins: Origins) -> Self {
        self.gate.origins = origins;
        self
    }

    /// Speaks TLS, and nothing else. Keep a clone of the configuration to change certificates while
    /// the server runs.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, config: crate::tls::TlsConfig) -> Self {
        self.gate.tls = Some(config);
        self
    }

    /// Which proxies are trusted to say who the client is.
    #[must_use]
    pub fn proxies(mut self, proxies: Proxies) -> Self {
        self.gate.proxies = proxies;
        self
    }

    /// Who is told what happens. Called on the shards' threads, in the middle of their work: it has
    /// to be quick.
    #[must_use]
    pub fn observe(mut self, observer: impl Fn(&Notice<'_>) + Send + Sync + 'static) -> Self {
        self.observer = Arc::new(observer);
        self
    }

    /// Listens on `addr` and starts to serve. Fails if the address cannot be had, and as
    /// [`serve`](Self::serve) does.
    pub fn bind(self, addr: impl ToSocketAddrs) -> io::Result<Running> {
        self.serve(TcpListener::bind(addr)?)
    }

    /// Starts to serve on a socket that listens already. Fails if the system gives no threads, or a
    /// shard's runtime does not start; the shards that did start have ended then.
    pub fn serve(self, listener: TcpListener) -> io::Result<Running> {
        listener.set_nonblocking(true)?;
        self.run(Some(listener))
    }

    /// Starts to serve without listening: what comes in comes by [`Running::entrance`], from the
    /// application's own HTTP server. Fails as [`serve`](Self::serve) does.
    pub fn start(self) -> io::Result<Running> {
        self.run(None)
    }

    fn run(self, listener: Option<TcpListener>) -> io::Result<Running> {
        let addr = match &listener {
            Some(listener) => listener.local_addr()?,
            None => SocketAddr::from(([0; 4], 0)),
        };
        let store = self.store.unwrap_or_else(|| Arc::new(MemoryStore::new()));
        let mailboxes: Arc<[_]> = (0..self.threads).map(|_| Mailbox::new()).collect();
        let rooms = Rooms::new(Arc::clone(&mailboxes));
        let mut running =
            Running { addr, mailboxes: Arc::clone(&mailboxes), rooms, threads: Vec::new(), store };
        // The first content of a room may come from a fork, also if there is no initialiser.
        let config = Config { absent: Absent::Initialise, ..self.config };
        let gate = Arc::new(self.gate);
        let (started, starting) = mpsc::channel();
        let epoch = Instant::now();
        for index in 0..self.threads {
            let start = Start {
                index,
                // Shards must not all retry at the same moments.
                config: Config { seed: config.seed ^ index as u64, ..config.clone() },
                parts: Parts {
                    epoch,
                    store: Arc::clone(&running.store),
                    timeouts: self.timeouts.clone(),
                    limits: config.limits.clone(),
                    observer: Arc::clone(&self.observer),
                    door: Arc::clone(&self.door),
                },
                gate: Arc::clone(&gate),
                rooms: running.rooms.clone(),
                hooks: self.hooks.clone(),
                listener: listener.as_ref().map(TcpListener::try_clone).transpose()?,
                mailboxes: Arc::clone(&mailboxes),
                started: started.clone(),
            };
            let thread = thread::Builder::new()
                .name(format!("yroom-{index}"))
                .spawn(move || start.run::<R>())?;
            running.threads.push(thread);
        }
        // The shards have it now, and give it up when they stop.
        drop((started, listener));
        // Dropped on failure, `running` ends the shards that did start.
        for _ in 0..self.threads {
            starting.recv().unwrap_or_else(|_| Err(io::Error::other("a shard did not start")))?;
        }
        Ok(running)
    }
}

impl<R: Runtime> fmt::Debug for Server<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("runtime", &R::NAME)
            .field("threads", &self.threads)
            .finish_non_exhaustive()
    }
}

/// A server that runs; dropped, it shuts down.
pub struct Running {
    addr: SocketAddr,
    pub(crate) mailboxes: Arc<[Mailbox<Job>]>,
    rooms: Rooms,
    threads: Vec<JoinHandle<Farewell>>,
    store: Arc<dyn Store>,
}

/// How a server ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use = "it says whether anything was lost"]
pub struct Farewell {
    /// Updates that were accepted and that the store did not take.
    pub unsaved: u64,
    /// Shards that did not come to their end in time, or failed: what they had in flight may be
    /// stored or not.
    pub unfinished: usize,
}

impl Farewell {
    /// Whether everything accepted is stored.
    pub fn is_clean(&self) -> bool {
        *self == Self::default()
    }
}

impl Running {
    /// Where it listens; port 0 if it does not ([`Server::start`]).
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Serves a connection on which the WebSocket handshake is done already; see
    /// [`Entrance::serve_upgraded`].
    pub fn serve_upgraded<S>(&self, stream: S, part: Vec<u8>, room: RoomName, access: Access)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        self.entrance().serve_upgraded(stream, part, room, access);
    }

    /// Where connections come in that the application's own HTTP server has accepted.
    pub fn entrance(&self) -> Entrance {
        Entrance::new(Arc::clone(&self.mailboxes))
    }

    /// Its rooms, for the application.
    pub fn rooms(&self) -> Rooms {
        self.rooms.clone()
    }

    /// What ends it from elsewhere: from a signal handler's thread, say.
    pub fn stopper(&self) -> Stopper {
        Stopper { mailboxes: Arc::clone(&self.mailboxes) }
    }

    /// Stops accepting, stores what was accepted, closes everybody with 1012, closes the store.
    /// Blocks until that is done, at most for [`Timeouts::drain`] and the store's own time.
    pub fn shutdown(self) -> Farewell {
        self.stopper().stop();
        self.join()
    }

    /// Blocks until somebody has stopped it, and it has ended as [`shutdown`](Self::shutdown) says.
    pub fn join(mut self) -> Farewell {
        self.ended()
    }

    fn ended(&mut self) -> Farewell {
        let mut sum = Farewell::default();
        if self.threads.is_empty() {
            return sum;
        }
        for thread in self.threads.drain(..) {
            let one = thread.join().unwrap_or(Farewell { unsaved: 0, unfinished: 1 });
            sum.unsaved += one.unsaved;
            sum.unfinished += one.unfinished;
        }
        self.rooms.subscribers().end();
        self.store.close();
        sum
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stopper().stop();
        // Whoever wants to know calls `shutdown`.
        let _ = self.ended();
    }
}

/// Ends a server; clones end the same one.
#[derive(Clone)]
pub struct Stopper {
    mailboxes: Arc<[Mailbox<Job>]>,
}

impl Stopper {
    /// Has the server end, and does not wait for it.
    pub fn stop(&self) {
        for mailbox in self.mailboxes.iter() {
            // A shard that has ended already needs no telling.
            let _ = mailbox.push(Job::Stop);
        }
    }
}

impl fmt::Debug for Stopper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stopper").finish_non_exhaustive()
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("addr", &self.addr).finish_non_exhaustive()
    }
}

/// What a shard's thread starts with.
struct Start {
    index: usize,
    config: Config,
    parts: Parts,
    gate: Arc<Gate>,
    rooms: Rooms,
    hooks: Hooks,
    listener: Option<TcpListener>,
    mailboxes: Arc<[Mailbox<Job>]>,
    started: mpsc::Sender<io::Result<()>>,
}

impl Start {
    fn run<R: Runtime>(self) -> Farewell {
        let started = self.started.clone();
        let watch = Watch {
            shard: self.index,
            mailbox: self.mailboxes[self.index].clone(),
            observer: Arc::clone(&self.parts.observer),
            expected: Cell::new(false),
        };
        match R::block_on_local(|runtime| self.main(runtime)) {
            Ok(Ok(Some(farewell))) => {
                watch.expected.set(true);
                farewell
            }
            Ok(Ok(None)) => Farewell { unsaved: 0, unfinished: 1 },
            Ok(Err(error)) | Err(error) => {
                watch.expected.set(true);
                let _ = started.send(Err(error));
                Farewell { unsaved: 0, unfinished: 1 }
            }
        }
    }

    /// A shard's life, from its first task to its last connection; nothing if it failed.
    async fn main<R: Runtime>(self, runtime: R) -> io::Result<Option<Farewell>> {
        let listener = self.listener.map(|listener| runtime.listen(listener)).transpose()?;
        let drain_time = self.parts.timeouts.drain;
        let desk = Desk::new(self.index, self.rooms, self.hooks);
        let shard = Rc::new(Shard::new(self.config, self.parts, desk));
        let site =
            Site::new(runtime.clone(), Rc::clone(&shard), self.gate, self.index, self.mailboxes);
        let site = Rc::new(site);
        shard.equip(Box::new(Rc::downgrade(&site)));

        site.spawn(Rc::clone(&shard).drain());
        site.spawn(Rc::clone(&shard).answers());
        site.spawn(Rc::clone(&shard).turns(Shard::greedy));
        site.spawn(Rc::clone(&shard).turns(Shard::strangers));
        site.spawn(timer(runtime.clone(), Rc::clone(&shard)));
        site.spawn(Rc::clone(&site).mail());
        let _ = self.started.send(Ok(()));

        // Dropped with the listener when the shard stops.
        match listener {
            Some(listener) => {
                before(shard.stopped(), Rc::clone(&site).accept(listener)).await;
            }
            None => shard.stopped().await,
        }
        let deadline = runtime.sleep_until(Instant::now() + drain_time);
        let ended = before(deadline, shard.ended()).await;
        if shard.has_failed() {
            return Ok(None);
        }
        Ok(Some(Farewell { unsaved: shard.unsaved(), unfinished: usize::from(ended.is_none()) }))
    }
}

/// The task that keeps time for a shard.
async fn timer<R: Runtime>(runtime: R, shard: Rc<Shard>) {
    loop {
        let mut due = pin!(runtime.sleep_until(shard.instant(shard.arm())));
        poll_fn(|cx| match shard.poll_earlier(cx) {
            Poll::Ready(()) => Poll::Ready(()),
            Poll::Pending => due.as_mut().poll(cx),
        })
        .await;
        shard.on_time();
    }
}

/// Sees a shard's thread end, in order or by a panic.
struct Watch {
    shard: usize,
    mailbox: Mailbox<Job>,
    observer: Observer,
    expected: Cell<bool>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.mailbox.close();
        if !self.expected.get() {
            (self.observer)(&Notice::ShardFailed { shard: self.shard });
        }
    }
}
