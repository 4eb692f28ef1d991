//! smol: a `LocalExecutor` for each shard, and async-io's reactor, which all threads share.

use super::local::{Local, LocalStream, ShutWrite};
use super::{Runtime, tune};
use futures_util::FutureExt;
use smol::Async;
use std::future::Future;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Instant;

/// The smol runtime.
#[derive(Clone, Debug)]
pub struct Smol(Local);

impl Runtime for Smol {
    type Listener = Async<TcpListener>;
    type Stream = LocalStream<Async<TcpStream>>;

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
        let (stream, addr) = listener.accept().await?;
        Ok((LocalStream(stream), addr))
    }

    async fn connect(&self, addr: SocketAddr) -> io::Result<Self::Stream> {
        Async::<TcpStream>::connect(addr).await.map(LocalStream)
    }

    fn adopt(&self, stream: TcpStream) -> io::Result<Self::Stream> {
        Async::new(stream).map(LocalStream)
    }

    fn release(stream: Self::Stream) -> io::Result<TcpStream> {
        stream.0.into_inner()
    }

    fn tune(stream: &Self::Stream) -> io::Result<()> {
        tune(&stream.0)
    }
}

impl ShutWrite for Async<TcpStream> {
    fn shut_write(&self) -> io::Result<()> {
        self.get_ref().shutdown(Shutdown::Write)
    }
}
