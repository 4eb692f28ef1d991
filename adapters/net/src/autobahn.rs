//! Both ends of this crate's WebSockets as echoes, for the Autobahn cases (`tests/autobahn`).
//!
//! The real `Link` and the real client's socket, driven as a shard's connection and a session's
//! driver drive them; but what comes goes back instead of to the engine, and text is taken, which
//! most cases are made of.

use crate::accept::{before, read_head};
use crate::client::dial::{Address, Failure, approach};
use crate::client::{Options, echo};
use crate::handshake;
use crate::http::switching;
use crate::link::{Broken, Link, Scratch};
use crate::runtime::Runtime;
use crate::server::Timeouts;
use crate::ws::{Breach, Incoming};
use bytes::Bytes;
use std::future::poll_fn;
use std::io;
use std::net::TcpListener;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use yroom::Limits;

/// The cases with the most to send have 16 MiB of it.
const PATIENCE: Duration = Duration::from_secs(120);

/// Which of the two clients is tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// The provider's, which is async-tungstenite.
    Session,
    /// That of chained rooms, which is the server's own codec the other way round.
    Chain,
}

/// Serves as an echo, for ever.
pub fn serve<R: Runtime>(listener: TcpListener) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    R::block_on_local(|runtime: R| async move {
        let listener = runtime.listen(listener)?;
        loop {
            let (stream, _) = R::accept(&listener).await?;
            let task = answer(stream, runtime.clone());
            let deadline = runtime.sleep_until(Instant::now() + PATIENCE);
            runtime.spawn_local(async move {
                before(deadline, task).await;
            });
        }
    })?
}

/// Asks a fuzzing server how many cases it has, is its client in each, and tells it to report.
pub fn visit<R: Runtime>(server: &str, agent: &str, client: Client) -> io::Result<()> {
    R::block_on_local(|runtime: R| async move {
        let count = call(&runtime, &format!("{server}/getCaseCount"), client).await?;
        let count = str::from_utf8(&count).ok().and_then(|count| count.trim().parse::<u32>().ok());
        let count = count.ok_or_else(|| io::Error::other("it does not say how many cases"))?;
        for case in 1..=count {
            // Whether a case is well is for the other side to say.
            let _ = call(&runtime, &format!("{server}/runCase?case={case}&agent={agent}"), client)
                .await;
        }
        call(&runtime, &format!("{server}/updateReports?agent={agent}"), client).await.map(|_| ())
    })?
}

/// One connection as a client; gives the last text that came.
async fn call<R: Runtime>(runtime: &R, url: &str, client: Client) -> io::Result<Bytes> {
    let limits = Limits::default();
    let address = Address::parse(url).map_err(io::Error::other)?;
    let called = async {
        let (mut stream, request) = approach(runtime, &address, &Options::default()).await?;
        match client {
            Client::Session => echo::echo(stream, request, &limits).await,
            Client::Chain => {
                let part = crate::chain::handshake::shake(&mut *stream, request).await?;
                let link = Link::of_client(stream, &limits).with_text();
                Ok(Echo::new(link).run(runtime, part).await)
            }
        }
    };
    let deadline = runtime.sleep_until(Instant::now() + PATIENCE);
    match before(deadline, called).await {
        Some(Ok(last)) => Ok(last),
        Some(Err(Failure { reason, .. })) => Err(io::Error::other(reason)),
        None => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// One connection as a server.
async fn answer<R: Runtime>(mut stream: R::Stream, runtime: R) {
    let _ = R::tune(&stream);
    let Ok(Some((head, part))) = read_head(&mut stream).await else { return };
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut headers);
    let Ok(httparse::Status::Complete(_)) = request.parse(&head) else { return };
    let headers = request.headers.iter().map(|header| (header.name, header.value));
    let Ok(accept) = handshake(headers) else { return };
    let preface = switching(&accept, None);
    let link = Link::new(Box::new(stream), preface, &Limits::default()).with_text();
    Echo::new(link).run(&runtime, part).await;
}

/// A link whose messages go back to where they came from.
struct Echo {
    link: Link,
    scratch: Scratch,
    closing: bool,
    last: Bytes,
}

impl Echo {
    fn new(link: Link) -> Self {
        Self { link, scratch: Scratch::new(), closing: false, last: Bytes::new() }
    }

    /// Until the socket can be dropped, or the peer takes too long over closing.
    async fn run<R: Runtime>(mut self, runtime: &R, mut part: Vec<u8>) -> Bytes {
        self.link.read_part(&mut part);
        self.take_in();
        poll_fn(|cx| self.poll_open(cx)).await;
        let deadline = runtime.sleep_until(Instant::now() + Timeouts::default().closing);
        before(deadline, poll_fn(|cx| self.poll_closing(cx))).await;
        self.last
    }

    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while !self.closing {
            if let Poll::Ready(Err(Broken)) = self.link.poll_flush(cx, &mut self.scratch) {
                break;
            }
            match ready!(self.link.poll_read(cx, &mut self.scratch)) {
                Ok(_) => self.take_in(),
                Err(Broken) => break,
            }
        }
        Poll::Ready(())
    }

    fn poll_closing(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.closing {
            match ready!(self.link.poll_closed(cx, &mut self.scratch)) {
                Ok(()) => self.take_in(),
                Err(Broken) => break,
            }
        }
        Poll::Ready(())
    }

    fn take_in(&mut self) {
        while let Some(item) = self.link.next() {
            match item {
                Incoming::Message(message) if !self.closing => self.link.feed(message),
                Incoming::Text(message) if !self.closing => {
                    self.last = message.clone();
                    self.link.feed_text(message);
                }
                Incoming::Close(_) => self.closing = true,
                Incoming::Breach(Breach { code, reason }) if !self.closing => {
                    self.link.close(code, &reason);
                    self.closing = true;
                }
                Incoming::Message(_)
                | Incoming::Text(_)
                | Incoming::Breach(_)
                | Incoming::Ping(_)
                | Incoming::Pong => {}
            }
        }
    }
}
