//! From an accepted socket to a peer in a room: the request is read here, and the socket goes to the
//! shard that has the room.

use crate::app::Ask;
use crate::arrival::Arrival;
use crate::authorize::{Grant, ask};
use crate::conn::Conn;
use crate::gate::{Gate, Pass};
use crate::http::{self, Request, Upgrade};
use crate::link::{Duplex, Link};
use crate::mailbox::Mailbox;
use crate::recheck::Recheck;
use crate::refusal::Refusal;
use crate::runtime::Runtime;
use crate::server::Notice;
use crate::shard::Shard;
use crate::signal::{Signal, stand_aside};
#[cfg(feature = "tls")]
use crate::tls::{HandshakeError, TlsStream};
use crate::wire::{Parcel, Wire};
use futures_util::io::{AsyncReadExt, AsyncWriteExt};
use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};
use yroom::{Access, CloseCode, RoomName};

/// Sockets of a shard that are told why they are not let in; further ones are told nothing.
const TURNED_AWAY: usize = 64;
/// How much of a request's head is read at a time: most are shorter.
const HEAD_CHUNK: usize = 1 << 10;
/// How long to wait when the system has no more file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A shard and its surroundings.
pub(crate) struct Site<R> {
    pub(crate) runtime: R,
    pub(crate) shard: Rc<Shard>,
    pub(crate) index: usize,
    pub(crate) mailboxes: Arc<[Mailbox<Job>]>,
    gate: Arc<Gate>,
    handshakes: Cell<usize>,
    handshake_over: Signal,
    turned_away: Cell<usize>,
}

/// Somebody who may come in.
pub(crate) struct Join {
    room: RoomName,
    access: Access,
    /// The answer to the request.
    response: Vec<u8>,
    /// When to ask again, and about whom.
    recheck: Option<(Duration, Arrival)>,
    pass: Pass,
}

impl Join {
    fn new(arrival: Arrival, accept: &str, grant: Grant, pass: Pass) -> Self {
        let Grant { access, recheck, subprotocol, .. } = grant;
        // Only what was offered: anything else ends the handshake at the client.
        let subprotocol = arrival.subprotocols().find(|name| Some(*name) == subprotocol.as_deref());
        let response = http::switching(accept, subprotocol);
        let room = arrival.room().clone();
        let recheck = recheck.map(|interval| (interval, arrival));
        Self { room, access, response, recheck, pass }
    }
}

/// What a shard is asked to do.
pub(crate) enum Job {
    /// To serve a socket whose request another shard has read.
    Join { parcel: Parcel, part: Vec<u8>, join: Join },
    /// To serve a WebSocket that somebody else has accepted.
    Upgraded { stream: Box<dyn Duplex + Send>, part: Vec<u8>, room: RoomName, access: Access },
    /// To link a room with another server's.
    #[cfg(feature = "client")]
    Chain(Box<crate::chain::Upstream>),
    /// To do something for the application.
    Ask(Ask),
    /// To let nobody in any more, and to end.
    Stop,
}

impl<R: Runtime> Site<R> {
    pub(crate) fn new(
        runtime: R,
        shard: Rc<Shard>,
        gate: Arc<Gate>,
        index: usize,
        mailboxes: Arc<[Mailbox<Job>]>,
    ) -> Self {
        let (handshakes, handshake_over) = (Cell::new(0), Signal::default());
        let turned_away = Cell::new(0);
        Self { runtime, shard, index, mailboxes, gate, handshakes, handshake_over, turned_away }
    }

    /// Accepts for ever.
    pub(crate) async fn accept(self: Rc<Self>, listener: R::Listener) {
        let most = (self.gate.limits.handshakes / self.mailboxes.len()).max(1);
        loop {
            if self.handshakes.get() >= most {
                self.handshake_over.wait().await;
                continue;
            }
            match R::accept(&listener).await {
                Ok((stream, peer)) => match self.gate.arrive(peer.ip(), self.shard.now()) {
                    Ok(pass) => {
                        self.handshakes.set(self.handshakes.get() + 1);
                        let site = Rc::clone(&self);
                        let deadline = Instant::now() + self.shard.timeouts().handshake;
                        self.spawn(async move {
                            site.shard
                                .strangers()
                                .run(site.greet(stream, peer, pass, deadline))
                                .await;
                            site.handshakes.set(site.handshakes.get() - 1);
                            site.handshake_over.raise();
                        });
                    }
                    Err(refusal) => self.turn_away(stream, refusal),
                },
                Err(error) if is_of_the_peer(&error) => {}
                Err(error) => {
                    self.shard.notify(&Notice::AcceptFailed { error: &error });
                    self.runtime.sleep_until(Instant::now() + ACCEPT_PAUSE).await;
                }
            }
            // Hundreds may have come at once, and again and again: others have their turns in between.
            stand_aside().await;
        }
    }

    /// Tells somebody whose request is not even read why that is, if not too many are told already.
    /// One who would have to be told by TLS first is not worth its handshake.
    fn turn_away(self: &Rc<Self>, stream: R::Stream, refusal: Refusal) {
        if self.gate.speaks_tls() || self.turned_away.get() >= TURNED_AWAY {
            self.shard.notify(&Notice::Refused { refusal: &refusal });
            return;
        }
        self.turned_away.set(self.turned_away.get() + 1);
        let site = Rc::clone(self);
        self.spawn(async move {
            let telling = async {
                let mut stream = Wire::Plain(stream);
                site.refuse(&mut stream, &refusal).await;
            };
            site.shard.strangers().run(telling).await;
            site.turned_away.set(site.turned_away.get() - 1);
        });
    }

    /// Reads the request and answers it, or hands it on.
    async fn greet(
        self: &Rc<Self>,
        stream: R::Stream,
        peer: SocketAddr,
        pass: Pass,
        deadline: Instant,
    ) {
        // A socket that is gone already says so when it is read.
        let _ = R::tune(&stream);
        let securing = self.secure(stream);
        let secured = before(self.runtime.sleep_until(deadline), securing).await;
        let Some(Some(mut stream)) = secured else { return };
        let head = before(self.runtime.sleep_until(deadline), read_head(&mut stream)).await;
        let head = head.map(|read| {
            let Some((head, part)) = read? else { return Ok(None) };
            let request = http::judge(head, peer, self.shard.now())?;
            Ok(Some((request, part)))
        });
        match head {
            Some(Ok(Some((Request::Join(upgrade), part)))) => {
                match self.authorize(upgrade, pass).await {
                    Ok(join) => self.dispatch(stream, part, join).await,
                    Err(refusal) => self.refuse(&mut stream, &refusal).await,
                }
            }
            Some(Ok(Some((Request::Health, _)))) => {
                self.answer(&mut stream, &http::healthy()).await;
            }
            Some(Ok(None)) => {}
            Some(Err(refusal)) => self.refuse(&mut stream, &refusal).await,
            None => {
                let slow = Refusal::new(408, "the request took too long to arrive");
                self.refuse(&mut stream, &slow).await;
            }
        }
    }

    /// Does the handshake of TLS, if that is spoken here; nothing if it failed.
    #[cfg(feature = "tls")]
    async fn secure(&self, stream: R::Stream) -> Option<Wire<R>> {
        let Some(tls) = &self.gate.tls else { return Some(Wire::Plain(stream)) };
        match TlsStream::accept(stream, tls.current()).await {
            Ok(stream) => Some(Wire::Tls(stream)),
            Err(HandshakeError::ClearText(stream)) => {
                let refusal =
                    Refusal::new(400, "this port speaks TLS: connect to wss:// or https://");
                self.refuse(&mut Wire::Plain(stream), &refusal).await;
                None
            }
            Err(HandshakeError::Failed(error)) => {
                self.shard.notify(&Notice::TlsFailed { error: &error });
                None
            }
        }
    }

    #[cfg(not(feature = "tls"))]
    #[expect(clippy::unused_async, reason = "with TLS there is something to wait for")]
    async fn secure(&self, stream: R::Stream) -> Option<Wire<R>> {
        Some(Wire::Plain(stream))
    }

    /// Asks whether somebody may come in.
    async fn authorize(&self, upgrade: Upgrade, mut pass: Pass) -> Result<Join, Refusal> {
        let Upgrade { mut arrival, accept } = upgrade;
        pass.check(&mut arrival)?;
        let deadline = Instant::now() + self.shard.timeouts().authorize;
        let sleep = self.runtime.sleep_until(deadline);
        let grant = ask(self.shard.door(), arrival.clone(), sleep).await?;
        pass.identify(grant.user.as_deref())?;
        Ok(Join::new(arrival, &accept, grant, pass))
    }

    /// Hands a socket to the shard that has its room.
    async fn dispatch(self: &Rc<Self>, stream: Wire<R>, part: Vec<u8>, join: Join) {
        let home = shard_of(&join.room, self.mailboxes.len());
        if home == self.index {
            self.join(stream, part, join).await;
            return;
        }
        match stream.release() {
            Ok(parcel) => {
                // A shard that has ended drops the socket with its mailbox.
                let _ = self.mailboxes[home].push(Job::Join { parcel, part, join });
            }
            Err(error) => self.shard.notify(&Notice::AcceptFailed { error: &error }),
        }
    }

    /// Starts a task; the shard fails if it panics.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        let alarm = Alarm(Rc::clone(&self.shard));
        self.runtime.spawn_local(async move {
            let _alarm = alarm;
            task.await;
        });
    }

    /// The task that does what other threads ask for.
    pub(crate) async fn mail(self: Rc<Self>) {
        let mailbox = self.mailboxes[self.index].clone();
        loop {
            for job in poll_fn(|cx| mailbox.poll_take(cx)).await {
                self.carry_out(job);
            }
        }
    }

    fn carry_out(self: &Rc<Self>, job: Job) {
        match job {
            Job::Join { parcel, part, join } => match Wire::adopt(&self.runtime, parcel) {
                Ok(stream) => {
                    let site = Rc::clone(self);
                    self.spawn(async move {
                        site.shard.strangers().run(site.join(stream, part, join)).await;
                    });
                }
                Err(error) => self.shard.notify(&Notice::AcceptFailed { error: &error }),
            },
            Job::Upgraded { stream, part, room, access } => {
                self.take_in(stream, part, &room, access);
            }
            #[cfg(feature = "client")]
            Job::Chain(upstream) => self.spawn(upstream.follow(Rc::clone(self))),
            Job::Ask(ask) => ask(&self.shard),
            Job::Stop => self.shard.stop(),
        }
    }

    /// Makes a socket a peer, or says why not while it still speaks HTTP.
    async fn join(self: &Rc<Self>, mut stream: Wire<R>, part: Vec<u8>, join: Join) {
        match self.shard.open(&join.room, join.access.clone()) {
            Ok(id) => {
                let link = Link::new(stream.boxed(), join.response, self.shard.limits());
                self.serve(Conn::new(id, link, part, self.shard.now()), join.pass, join.recheck);
            }
            Err(reject) => self.refuse(&mut stream, &reject.into()).await,
        }
    }

    fn take_in(
        self: &Rc<Self>,
        stream: Box<dyn Duplex + Send>,
        part: Vec<u8>,
        room: &RoomName,
        access: Access,
    ) {
        let mut link = Link::new(stream, Vec::new(), self.shard.limits());
        let entered = self.gate.take_over().and_then(|pass| {
            let conn = self.shard.open(room, access)?;
            Ok((pass, conn))
        });
        match entered {
            Ok((pass, id)) => {
                self.serve(Conn::new(id, link, part, self.shard.now()), pass, None);
            }
            Err(refusal) => {
                link.close(CloseCode::TRY_AGAIN, refusal.sentence());
                let deadline = Instant::now() + self.shard.timeouts().closing;
                let sleep = self.runtime.sleep_until(deadline);
                let shard = Rc::clone(&self.shard);
                self.spawn(async move {
                    let gone = poll_fn(|cx| link.poll_gone(cx, &mut shard.scratch()));
                    before(sleep, gone).await;
                });
            }
        }
    }

    fn serve(self: &Rc<Self>, conn: Conn, pass: Pass, recheck: Option<(Duration, Arrival)>) {
        let conn = Rc::new(conn);
        self.shard.enrol(&conn);
        let (id, shard) = (conn.id(), Rc::clone(&self.shard));
        let serving = async move {
            conn.serve(shard).await;
            drop(pass);
        };
        match recheck {
            None => self.spawn(serving),
            Some((interval, arrival)) => {
                let (runtime, shard) = (self.runtime.clone(), Rc::clone(&self.shard));
                let recheck = Recheck { runtime, shard, conn: id, arrival };
                // Ends with the connection.
                self.spawn(async move {
                    before(serving, recheck.run(interval)).await;
                });
            }
        }
    }

    async fn refuse(&self, stream: &mut Wire<R>, refusal: &Refusal) {
        self.shard.notify(&Notice::Refused { refusal });
        self.answer(stream, &refusal.response()).await;
    }

    /// Writes an answer, then reads what the peer still sends: a socket that is closed with unread
    /// bytes resets the connection, and the answer would be lost.
    async fn answer(&self, stream: &mut Wire<R>, answer: &[u8]) {
        let deadline = Instant::now() + self.shard.timeouts().closing;
        let linger = async {
            stream.write_all(answer).await?;
            stream.close().await?;
            // On the heap: what a future keeps on its stack is kept, and copied, by all around it.
            let mut waste = vec![0; 4096];
            while stream.read(&mut waste).await? > 0 {
                // One that sends and sends must not keep the thread to itself.
                stand_aside().await;
            }
            io::Result::Ok(())
        };
        before(self.runtime.sleep_until(deadline), linger).await;
    }
}

/// Raised by a task that panics. Some runtimes would go on without it, and a shard without its drain
/// looks alive and is not.
struct Alarm(Rc<Shard>);

impl Drop for Alarm {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.fail();
        }
    }
}

/// Which of `shards` has a room: FNV-1a of its name. Stable, so that what a log says about one run
/// holds for the next.
pub(crate) fn shard_of(room: &RoomName, shards: usize) -> usize {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in room.as_str().bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    // The low bits of FNV-1a mix least.
    ((hash ^ (hash >> 32)) % shards as u64) as usize
}

/// A request's head, and what came after it; nothing if the peer went away instead.
pub(crate) async fn read_head<S>(stream: &mut S) -> Result<Option<(Vec<u8>, Vec<u8>)>, Refusal>
where
    S: futures_io::AsyncRead + Unpin,
{
    let mut bytes = Vec::new();
    loop {
        let seen = bytes.len();
        bytes.resize(seen + HEAD_CHUNK, 0);
        match stream.read(&mut bytes[seen..]).await {
            Ok(read @ 1..) => bytes.truncate(seen + read),
            Ok(0) | Err(_) => return Ok(None),
        }
        if let Some(end) = http::head_end(&bytes, seen)? {
            let part = bytes.split_off(end);
            return Ok(Some((bytes, part)));
        }
    }
}

/// What `future` gives, if it does before `deadline`.
pub(crate) async fn before<T>(
    deadline: impl Future<Output = ()>,
    future: impl Future<Output = T>,
) -> Option<T> {
    let mut deadline = pin!(deadline);
    let mut future = pin!(future);
    poll_fn(|cx| {
        if let Poll::Ready(value) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(value));
        }
        deadline.as_mut().poll(cx).map(|()| None)
    })
    .await
}

/// Whether accepting failed because the peer has gone meanwhile.
fn is_of_the_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}
