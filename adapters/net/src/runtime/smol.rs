//! smol: a `LocalExecutor` for each shard, and async-io's reactor, which all threads share.

use super::Runtime;
use super::local::Local;
use futures_util::FutureExt;
use smol::Async;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Instant;

/// The smol runtime.
#[derive(Clone, Debug)]
pub struct Smol(Local);

impl Runtime for Smol {
    type Listener = Async<TcpListener>;
    type Stream = Async<TcpStream>;

    const NAME: &'static str = "smol";

    fn block_on_local<F, Fut>(main: F) -> io::Result<Fut::Output>
    where
        F: FnOnce(Self) -> Fut,
        Fut: Future,
    {
        Ok(smol::block_on(Local::run(|local| main(Self(local)))))
    }

    fn spawn_local(&self, task: impl Future<Output = ()> + 'static) {
        self.0.spawn(task);
    }

    fn sleep_until(&self, at: Instant) -> impl Future<Output = ()> + 'static {
        smol::Timer::at(at).map(|_| ())
    }

    fn listen(&self, listener: TcpListener) -> io::Result<Self::Listener> {
        Async::new(listener)
    }

    async fn accept(listener: &Self::Listener) -> io::Result<(Self::Stream, SocketAddr)> {
        listener.accept().await
    }

    async fn connect(&self, addr: SocketAddr) -> io::Result<Self::Stream> {
        Async::<TcpStream>::connect(addr).await
    }

    fn adopt(&self, stream: TcpStream) -> io::Result<Self::Stream> {
        Async::new(stream)
    }

    fn release(stream: Self::Stream) -> io::Result<TcpStream> {
        stream.into_inner()
    }

    fn set_nodelay(stream: &Self::Stream) -> io::Result<()> {
        stream.get_ref().set_nodelay(true)
    }
}
