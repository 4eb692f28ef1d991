//! tokio: a local current-thread runtime for each shard, and so a reactor of its own.

use super::{Runtime, TASKS_PER_LOOK, tune};
use futures_io::{AsyncRead, AsyncWrite};
use std::future::Future;
use std::io::{self, IoSlice};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::net;
use tokio::runtime::{Builder, LocalOptions};
use tokio::task;

/// The tokio runtime.
#[derive(Clone, Copy, Debug)]
pub struct Tokio(());

impl Runtime for Tokio {
    type Listener = net::TcpListener;
    type Stream = TokioStream;

    const NAME: &'static str = "tokio";

    fn block_on_local<F, Fut>(main: F) -> io::Result<Fut::Output>
    where
        F: FnOnce(Self) -> Fut,
        Fut: Future,
    {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .event_interval(TASKS_PER_LOOK)
            .build_local(LocalOptions::default())?;
        Ok(runtime.block_on(async { main(Self(())).await }))
    }

    /// Without tokio's own budget: a flush goes to a room's every socket, and each task of the
    /// driver has a bound of its own.
    fn spawn_local(&self, task: impl Future<Output = ()> + 'static) {
        task::spawn_local(task::coop::unconstrained(task));
    }

    fn sleep_until(&self, at: Instant) -> impl Future<Output = ()> + 'static {
        tokio::time::sleep_until(at.into())
    }

    fn listen(&self, listener: TcpListener) -> io::Result<Self::Listener> {
        net::TcpListener::from_std(listener)
    }

    async fn accept(listener: &Self::Listener) -> io::Result<(Self::Stream, SocketAddr)> {
        let (stream, addr) = listener.accept().await?;
        Ok((TokioStream(stream), addr))
    }

    async fn connect(&self, addr: SocketAddr) -> io::Result<Self::Stream> {
        net::TcpStream::connect(addr).await.map(TokioStream)
    }

    fn adopt(&self, stream: TcpStream) -> io::Result<Self::Stream> {
        stream.set_nonblocking(true)?;
        net::TcpStream::from_std(stream).map(TokioStream)
    }

    fn release(stream: Self::Stream) -> io::Result<TcpStream> {
        stream.0.into_std()
    }

    fn tune(stream: &Self::Stream) -> io::Result<()> {
        tune(&stream.0)
    }
}

/// tokio's TCP stream with the traits of `futures-io`.
#[derive(Debug)]
pub struct TokioStream(net::TcpStream);

impl AsyncRead for TokioStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut buf = ReadBuf::new(buf);
        ready!(Pin::new(&mut self.get_mut().0).poll_read(cx, &mut buf))?;
        Poll::Ready(Ok(buf.filled().len()))
    }
}

impl AsyncWrite for TokioStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write_vectored(cx, bufs)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_shutdown(cx)
    }
}
