//! An accepted connection, in clear text or not, that can move to another shard.

use crate::link::Duplex;
use crate::runtime::Runtime;
#[cfg(feature = "tls")]
use crate::tls::TlsStream;
use futures_io::{AsyncRead, AsyncWrite};
#[cfg(feature = "tls")]
use futures_rustls::rustls::ServerConnection;
use std::io;
use std::net::TcpStream;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A connection in its thread's reactor.
pub(crate) enum Wire<R: Runtime> {
    Plain(R::Stream),
    #[cfg(feature = "tls")]
    Tls(TlsStream<R::Stream>),
}

/// A connection between two threads.
pub(crate) enum Parcel {
    Plain(TcpStream),
    #[cfg(feature = "tls")]
    Tls(TcpStream, Box<ServerConnection>),
}

impl<R: Runtime> Wire<R> {
    /// Takes it out of this thread's reactor.
    pub(crate) fn release(self) -> io::Result<Parcel> {
        match self {
            Self::Plain(stream) => R::release(stream).map(Parcel::Plain),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => {
                let (stream, session) = stream.into_parts();
                R::release(stream).map(|stream| Parcel::Tls(stream, session))
            }
        }
    }

    /// Takes it into this thread's reactor.
    pub(crate) fn adopt(runtime: &R, parcel: Parcel) -> io::Result<Self> {
        match parcel {
            Parcel::Plain(stream) => runtime.adopt(stream).map(Self::Plain),
            #[cfg(feature = "tls")]
            Parcel::Tls(stream, session) => {
                let stream = runtime.adopt(stream)?;
                Ok(Self::Tls(TlsStream::from_parts(stream, session)))
            }
        }
    }

    /// Without what it was made of, for good.
    pub(crate) fn boxed(self) -> Box<dyn Duplex> {
        match self {
            Self::Plain(stream) => Box::new(stream),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => Box::new(stream),
        }
    }

    fn inner(self: Pin<&mut Self>) -> Pin<&mut dyn Duplex> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => Pin::new(stream),
        }
    }
}

impl<R: Runtime> AsyncRead for Wire<R> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.inner().poll_read(cx, buf)
    }
}

impl<R: Runtime> AsyncWrite for Wire<R> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.inner().poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner().poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner().poll_close(cx)
    }
}
