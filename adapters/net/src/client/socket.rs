//! A client's end of a WebSocket: fed without flushing, polled, closed with a deadline.

use crate::link::Duplex;
use async_tungstenite::WebSocketStream;
use async_tungstenite::tungstenite::error::{CapacityError, Error};
use async_tungstenite::tungstenite::handshake::client::Request;
use async_tungstenite::tungstenite::protocol::frame::coding;
use async_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use async_tungstenite::tungstenite::{Message, Utf8Bytes};
use bytes::Bytes;
use futures_io::{AsyncRead, AsyncWrite};
use futures_util::{Sink, Stream};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use yroom::{CloseCode, Limits};

/// Bytes read at once: a typed character is 30, so this is a burst.
const READ_BYTES: usize = 8 << 10;
/// Bytes that are gathered before they are written without waiting for the flush.
const WRITE_BYTES: usize = 64 << 10;
/// What a close frame's reason may have (RFC 6455 §5.5).
const REASON_BYTES: usize = 123;

pub(super) struct Socket {
    stream: WebSocketStream<Heard>,
    /// The close frame that came.
    farewell: Option<(CloseCode, String)>,
    unflushed: usize,
}

/// What was read.
#[derive(Debug)]
pub(super) enum Incoming {
    /// A binary frame.
    Frame(Bytes),
    /// A text frame, which this protocol does not have.
    #[cfg_attr(not(feature = "autobahn"), expect(dead_code, reason = "only echoes look into it"))]
    Text(Bytes),
    /// A ping, a pong or a close frame, which is answered already.
    Control,
    /// Nothing more comes.
    Gone,
    /// The server did what it must not; close with this.
    Breach(CloseCode, String),
}

/// The connection broke; nothing can be written any more.
#[derive(Debug)]
pub(super) struct Broken;

impl Socket {
    /// Asks for a WebSocket on `stream`.
    pub(super) async fn open(
        stream: Box<dyn Duplex>,
        request: Request,
        limits: &Limits,
    ) -> Result<Self, Error> {
        // The engine queues no more than this: its outbox, and one large answer.
        let unsent = limits.outbox_bytes.saturating_add(limits.document_bytes);
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BYTES)
            .write_buffer_size(WRITE_BYTES)
            .max_write_buffer_size(unsent.saturating_add(2 * WRITE_BYTES))
            .max_frame_size(Some(limits.frame_bytes))
            .max_message_size(Some(limits.frame_bytes));
        let stream = Heard { stream, heard: false };
        let (stream, _) =
            async_tungstenite::client_async_with_config(request, stream, Some(config)).await?;
        Ok(Self { stream, farewell: None, unflushed: 0 })
    }

    /// Queues a frame; it leaves with the next flush, or before.
    pub(super) fn feed(&mut self, frame: Bytes) -> Result<(), Broken> {
        self.unflushed += frame.len();
        self.write(Message::Binary(frame))
    }

    /// Queues a text frame.
    #[cfg(feature = "autobahn")]
    pub(super) fn feed_text(&mut self, text: &Bytes) -> Result<(), Broken> {
        let text = std::str::from_utf8(text).map_err(|_| Broken)?;
        self.write(Message::text(text))
    }

    /// Writes everything queued; says how many bytes of frames that were.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Broken>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx)).map_err(|_| Broken)?;
        Poll::Ready(Ok(std::mem::take(&mut self.unflushed)))
    }

    /// Reads the next thing.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Incoming> {
        Poll::Ready(match ready!(Pin::new(&mut self.stream).poll_next(cx)) {
            Some(Ok(Message::Binary(frame))) => Incoming::Frame(frame),
            Some(Ok(Message::Text(text))) => Incoming::Text(text.into()),
            Some(Ok(Message::Close(frame))) => {
                self.farewell =
                    frame.map(|frame| (CloseCode(frame.code.into()), frame.reason.to_string()));
                Incoming::Control
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Incoming::Control,
            Some(Err(Error::Capacity(CapacityError::MessageTooLong { max_size, .. }))) => {
                let reason = format!("the server sent a frame of over {max_size} bytes");
                Incoming::Breach(CloseCode::TOO_BIG, reason)
            }
            Some(Err(_)) | None => Incoming::Gone,
        })
    }

    /// Whether anything, even a part of a frame, has come since this was last asked.
    pub(super) fn take_heard(&mut self) -> bool {
        std::mem::take(&mut self.stream.get_mut().heard)
    }

    /// The code and reason of the close frame that came, if one did.
    pub(super) const fn farewell(&mut self) -> Option<(CloseCode, String)> {
        self.farewell.take()
    }

    /// Begins the closing handshake, after what was queued.
    pub(super) fn close(&mut self, code: CloseCode, reason: &str) {
        let cut = reason.floor_char_boundary(REASON_BYTES);
        let code = coding::CloseCode::from(code.0);
        let frame = CloseFrame { code, reason: Utf8Bytes::from(&reason[..cut]) };
        // If it cannot be written, the deadline of the closing ends the connection.
        let _ = self.write(Message::Close(Some(frame)));
    }

    /// Drives the closing to its end: the server's close frame, or the end of its stream.
    pub(super) fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if let Poll::Ready(Err(Broken)) = self.poll_flush(cx) {
                return Poll::Ready(());
            }
            match ready!(self.poll_read(cx)) {
                Incoming::Gone | Incoming::Breach(..) => return Poll::Ready(()),
                Incoming::Frame(_) | Incoming::Text(_) | Incoming::Control => {}
            }
        }
    }

    /// Not asking first whether the sink is ready: what is queued is bounded by the engine, which
    /// counts unsent bytes, and a sink that is not ready queues all the same.
    fn write(&mut self, message: Message) -> Result<(), Broken> {
        Pin::new(&mut self.stream).start_send(message).map_err(|_| Broken)
    }
}

/// A stream that notes that bytes came.
struct Heard {
    stream: Box<dyn Duplex>,
    heard: bool,
}

impl AsyncRead for Heard {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let read = ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        this.heard |= read > 0;
        Poll::Ready(Ok(read))
    }
}

impl AsyncWrite for Heard {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, bufs)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_close(cx)
    }
}
