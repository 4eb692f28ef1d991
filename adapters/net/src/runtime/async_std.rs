//! async-std: its sockets and timers, with a `LocalExecutor` for each shard.
//!
//! async-std is discontinued ([RUSTSEC-2025-0052]), which is why this is off by default; its authors
//! point to smol, with which it shares reactor and executor. It is kept for programs that have not
//! moved yet.
//!
//! [RUSTSEC-2025-0052]: https://rustsec.org/advisories/RUSTSEC-2025-0052

use super::local::{Local, LocalStream, ShutWrite};
use super::{Runtime, tune};
use async_std::net;
use std::future::Future;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Instant;

/// The async-std runtime.
#[derive(Clone, Debug)]
pub struct AsyncStd(Local);

impl Runtime for AsyncStd {
    type Listener = net::TcpListener;
    type Stream = LocalStream<net::TcpStream>;

    const NAME: &'static str = "async-std";

    fn block_on_local<F, Fut>(main: F) -> io::Result<Fut::Output>
    where
        F: FnOnce(Self) -> Fut,
        Fut: Future,
    {
        Ok(async_std::task::block_on(Local::run(|local| main(Self(local)))))
    }

    fn spawn_local(&self, task: impl Future<Output = ()> + 'static) {
        self.0.spawn(task);
    }

    fn sleep_until(&self, at: Instant) -> impl Future<Output = ()> + 'static {
        async_std::task::sleep(at.saturating_duration_since(Instant::now()))
    }

    fn listen(&self, listener: TcpListener) -> io::Result<Self::Listener> {
        Ok(listener.into())
    }

    async fn accept(listener: &Self::Listener) -> io::Result<(Self::Stream, SocketAddr)> {
        let (stream, addr) = listener.accept().await?;
        Ok((LocalStream(stream), addr))
    }

    async fn connect(&self, addr: SocketAddr) -> io::Result<Self::Stream> {
        net::TcpStream::connect(addr).await.map(LocalStream)
    }

    fn adopt(&self, stream: TcpStream) -> io::Result<Self::Stream> {
        Ok(LocalStream(stream.into()))
    }

    fn release(stream: Self::Stream) -> io::Result<TcpStream> {
        stream.0.try_into()
    }

    fn tune(stream: &Self::Stream) -> io::Result<()> {
        tune(&stream.0)
    }
}

impl ShutWrite for net::TcpStream {
    fn shut_write(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}
