//! The little that the driver asks of an async runtime: [`Runtime`].

#[cfg(feature = "async-std")]
mod async_std;
#[cfg(any(feature = "smol", feature = "async-std"))]
mod local;
#[cfg(feature = "smol")]
mod smol;
#[cfg(feature = "tokio")]
mod tokio;
mod tune;

#[cfg(feature = "async-std")]
pub use async_std::AsyncStd;
#[cfg(feature = "smol")]
pub use smol::Smol;
#[cfg(feature = "tokio")]
pub use tokio::Tokio;
pub use tune::tune;

use futures_io::{AsyncRead, AsyncWrite};
use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Instant;

/// So many tasks have their turn between two looks at the network. The runtimes' own defaults (61,
/// 200) are for tasks that have little to do: here a connection that brings much is one of few that
/// are always ready, and what others say would wait for that many of its turns. A look costs less
/// than a microsecond.
#[cfg(any(feature = "smol", feature = "async-std", feature = "tokio"))]
const TASKS_PER_LOOK: u32 = 8;

/// An async runtime, as seen by one shard: tasks of this thread, timers and TCP.
///
/// A value of it is a handle to the runtime of the thread that it was made on.
pub trait Runtime: Clone + 'static {
    /// A listening socket.
    type Listener: 'static;
    /// A connection, whose `poll_close` ends its sending half.
    type Stream: AsyncRead + AsyncWrite + Unpin + 'static;

    /// What it is called.
    const NAME: &'static str;

    /// Runs `main`, and what is spawned meanwhile, on this thread. What still runs when `main` is
    /// done is dropped.
    fn block_on_local<F, Fut>(main: F) -> io::Result<Fut::Output>
    where
        F: FnOnce(Self) -> Fut,
        Fut: Future;

    /// Starts a task on this thread. Tasks that are woken run in the order of their waking, and the
    /// network is looked at between a few of them, however many are ready.
    fn spawn_local(&self, task: impl Future<Output = ()> + 'static);

    /// Waits until `at`.
    fn sleep_until(&self, at: Instant) -> impl Future<Output = ()> + 'static;

    /// Takes over a listening socket, which is non-blocking already.
    fn listen(&self, listener: TcpListener) -> io::Result<Self::Listener>;

    /// Waits for the next connection.
    fn accept(
        listener: &Self::Listener,
    ) -> impl Future<Output = io::Result<(Self::Stream, SocketAddr)>>;

    /// Connects.
    fn connect(&self, addr: SocketAddr) -> impl Future<Output = io::Result<Self::Stream>>;

    /// Takes a connection into this thread's reactor.
    fn adopt(&self, stream: TcpStream) -> io::Result<Self::Stream>;

    /// Takes a connection out of this thread's reactor, so that another thread can adopt it.
    fn release(stream: Self::Stream) -> io::Result<TcpStream>;

    /// Tells a socket what it is for: see [`tune`](tune()).
    fn tune(stream: &Self::Stream) -> io::Result<()>;
}
