//! TLS over a stream, whose session can be taken off it and put on another: a connection moves to the
//! shard that has its room.
//!
//! Reading goes on while writing is blocked and the other way round, as it does without TLS. What
//! rustls holds back for a peer that does not read is at most its own buffer of 64 KiB.

use futures_io::{AsyncRead, AsyncWrite};
use futures_rustls::rustls::{ServerConfig, ServerConnection};
use std::future::poll_fn;
use std::io::{self, IoSlice, Read, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// The server's end of a TLS connection.
pub(crate) struct TlsStream<S> {
    stream: S,
    session: Box<ServerConnection>,
    /// The first byte that came.
    first: Option<u8>,
}

/// Why a handshake failed.
#[derive(Debug)]
pub(crate) enum HandshakeError<S> {
    /// The client speaks in clear text: the stream can be answered so.
    ClearText(S),
    Failed(io::Error),
}

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream<S> {
    /// Does the handshake.
    pub(crate) async fn accept(
        stream: S,
        config: Arc<ServerConfig>,
    ) -> Result<Self, HandshakeError<S>> {
        let session = ServerConnection::new(config)
            .map_err(|error| HandshakeError::Failed(io::Error::other(error)))?;
        let mut new = Self::from_parts(stream, Box::new(session));
        match poll_fn(|cx| new.poll_handshake(cx)).await {
            Ok(()) => Ok(new),
            // No record of TLS begins with a letter, and every method of HTTP does.
            Err(_) if new.first.is_some_and(|byte| byte.is_ascii_alphabetic()) => {
                Err(HandshakeError::ClearText(new.stream))
            }
            Err(error) => {
                // So that the client is told what was wrong.
                let _ = poll_fn(|cx| new.poll_send(cx)).await;
                Err(HandshakeError::Failed(error))
            }
        }
    }

    /// A session on another stream than the one it began on.
    pub(crate) fn from_parts(stream: S, session: Box<ServerConnection>) -> Self {
        Self { stream, session, first: None }
    }

    pub(crate) fn into_parts(self) -> (S, Box<ServerConnection>) {
        (self.stream, self.session)
    }

    fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_send(cx))?;
            if !self.session.is_handshaking() {
                return Poll::Ready(Ok(()));
            }
            if ready!(self.poll_receive(cx))? == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }

    /// Takes in what has come; ready with how many bytes that was.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut source = Source { stream: &mut self.stream, cx, first: self.first };
        let read = self.session.read_tls(&mut source);
        self.first = source.first;
        let read = match read {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
            Err(error) => return Poll::Ready(Err(error)),
        };
        self.session
            .process_new_packets()
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        Poll::Ready(Ok(read))
    }

    /// Hands all that is encrypted to the stream.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.session.wants_write() {
            let mut sink = Source { stream: &mut self.stream, cx, first: None };
            match self.session.write_tls(&mut sink) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for TlsStream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        loop {
            match this.session.reader().read(buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
            // The end of the stream is told by the next look into the session.
            let received = ready!(this.poll_receive(cx));
            if this.session.wants_write() {
                // What TLS itself answers. Blocked, it leaves with what is written next.
                let _ = this.poll_send(cx)?;
            }
            received?;
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TlsStream<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        // No more is encrypted before the last has left.
        ready!(this.poll_send(cx))?;
        let wrote = this.session.writer().write_vectored(bufs)?;
        // Blocked, it goes on with the next write or flush.
        let _ = this.poll_send(cx)?;
        Poll::Ready(Ok(wrote))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_send(cx))?;
        Pin::new(&mut this.stream).poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.session.send_close_notify();
        ready!(this.poll_send(cx))?;
        Pin::new(&mut this.stream).poll_close(cx)
    }
}

/// A stream in a task, as rustls wants to see it: one that would block.
struct Source<'a, 'b, S> {
    stream: &'a mut S,
    cx: &'a mut Context<'b>,
    first: Option<u8>,
}

impl<S: AsyncRead + Unpin> Read for Source<'_, '_, S> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = or_block(Pin::new(&mut *self.stream).poll_read(self.cx, buf))?;
        if read > 0 {
            self.first.get_or_insert(buf[0]);
        }
        Ok(read)
    }
}

impl<S: AsyncWrite + Unpin> Write for Source<'_, '_, S> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        or_block(Pin::new(&mut *self.stream).poll_write(self.cx, buf))
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        or_block(Pin::new(&mut *self.stream).poll_write_vectored(self.cx, bufs))
    }

    fn flush(&mut self) -> io::Result<()> {
        or_block(Pin::new(&mut *self.stream).poll_flush(self.cx))
    }
}

fn or_block<T>(poll: Poll<io::Result<T>>) -> io::Result<T> {
    match poll {
        Poll::Ready(result) => result,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}
