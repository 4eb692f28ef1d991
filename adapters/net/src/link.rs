//! One WebSocket, as the drivers use it: fed without flushing, polled, closed with a deadline.

use async_tungstenite::WebSocketStream;
use async_tungstenite::tungstenite::error::{CapacityError, Error, ProtocolError};
use async_tungstenite::tungstenite::protocol::frame::coding;
use async_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use async_tungstenite::tungstenite::{Message, Utf8Bytes};
use bytes::Bytes;
use futures_io::{AsyncRead, AsyncWrite};
use futures_util::{FutureExt, Sink, Stream};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use yroom::{CloseCode, Limits};

/// Bytes read at once, allocated for each connection: a typed character is 30, so this is a burst.
const READ_BYTES: usize = 4 << 10;
/// Bytes that are gathered before they are written without waiting for the flush.
const WRITE_BYTES: usize = 64 << 10;
/// What a close frame's reason may have (RFC 6455 §5.5).
const REASON_BYTES: usize = 123;

/// A byte stream in both directions.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Duplex for T {}

/// One end of a WebSocket.
pub(crate) struct Link {
    socket: WebSocketStream<Wire>,
    /// The close frame that came.
    #[cfg_attr(not(feature = "client"), allow(dead_code, reason = "a server asks nobody why"))]
    farewell: Option<(CloseCode, String)>,
    unflushed: usize,
    end: End,
}

/// How far the closing is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// It is open.
    Open,
    /// Our close frame is written or being written; theirs is awaited.
    Shaking,
    /// The peer broke the protocol, so nothing it sends is read as frames any more.
    Broken,
    /// Our half is shut; what the peer still sends is thrown away.
    HalfShut,
}

/// What was read.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// A binary frame.
    Frame(Bytes),
    /// A ping, a pong or a close frame, which is answered already.
    Control,
    /// Nothing more comes.
    Gone,
    /// The peer did what a WebSocket must not; close with this.
    Breach(CloseCode, String),
}

/// The connection broke; nothing can be written any more.
#[derive(Debug)]
pub(crate) struct Broken;

impl Link {
    /// A WebSocket on `stream`, of which `part` was read already. `preface` is written first.
    pub(crate) fn new(
        stream: Box<dyn Duplex>,
        preface: Vec<u8>,
        part: Vec<u8>,
        limits: &Limits,
    ) -> Self {
        let wire = Wire { stream, preface, heard: false };
        let config = Some(config(limits));
        let socket = WebSocketStream::from_partially_read(wire, part, Role::Server, config)
            .now_or_never()
            .expect("without a handshake there is nothing to wait for");
        Self { socket, farewell: None, unflushed: 0, end: End::Open }
    }

    /// The client's end of a WebSocket on `stream`, after its handshake.
    #[cfg(feature = "client")]
    pub(crate) async fn request(
        stream: Box<dyn Duplex>,
        request: async_tungstenite::tungstenite::handshake::client::Request,
        limits: &Limits,
    ) -> Result<Self, Error> {
        let wire = Wire { stream, preface: Vec::new(), heard: false };
        let config = Some(config(limits));
        let (socket, _) =
            async_tungstenite::client_async_with_config(request, wire, config).await?;
        Ok(Self { socket, farewell: None, unflushed: 0, end: End::Open })
    }

    /// The code and reason of the close frame that came, if one did.
    #[cfg(feature = "client")]
    pub(crate) const fn farewell(&mut self) -> Option<(CloseCode, String)> {
        self.farewell.take()
    }

    /// Queues a frame; it leaves with the next flush, or before.
    pub(crate) fn feed(&mut self, frame: Bytes) -> Result<(), Broken> {
        self.unflushed += frame.len();
        self.write(Message::Binary(frame))
    }

    /// Queues a ping.
    pub(crate) fn ping(&mut self) -> Result<(), Broken> {
        self.write(Message::Ping(Bytes::new()))
    }

    /// Writes everything queued; says how many bytes of frames that were.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Broken>> {
        ready!(Pin::new(&mut self.socket).poll_flush(cx)).map_err(|_| Broken)?;
        Poll::Ready(Ok(std::mem::take(&mut self.unflushed)))
    }

    /// Reads the next thing.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Incoming> {
        Poll::Ready(match ready!(Pin::new(&mut self.socket).poll_next(cx)) {
            Some(Ok(Message::Binary(frame))) => Incoming::Frame(frame),
            Some(Ok(Message::Text(_))) => Incoming::Breach(
                CloseCode::UNSUPPORTED,
                "a text frame: this protocol is binary".to_owned(),
            ),
            Some(Ok(Message::Close(frame))) => {
                self.farewell =
                    frame.map(|frame| (CloseCode(frame.code.into()), frame.reason.to_string()));
                Incoming::Control
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Incoming::Control,
            Some(Err(error)) => {
                self.end = End::Broken;
                breach(&error)
            }
            None => Incoming::Gone,
        })
    }

    /// Whether anything, even a part of a frame, has come since this was last asked.
    pub(crate) fn take_heard(&mut self) -> bool {
        std::mem::take(&mut self.socket.get_mut().heard)
    }

    /// Begins the closing handshake, after what was queued.
    pub(crate) fn close(&mut self, code: CloseCode, reason: &str) {
        let mut cut = reason.len().min(REASON_BYTES);
        while !reason.is_char_boundary(cut) {
            cut -= 1;
        }
        let frame = CloseFrame {
            code: coding::CloseCode::from(code.0),
            reason: Utf8Bytes::from(&reason[..cut]),
        };
        // If it cannot be written, the deadline of the closing ends the connection.
        let _ = self.write(Message::Close(Some(frame)));
        if self.end == End::Open {
            self.end = End::Shaking;
        }
    }

    /// Drives the closing to its end: the peer's close frame, or the end of its stream. Until then
    /// it gives the frames that the peer had sent before it knew.
    ///
    /// A socket that is dropped with unread bytes answers with a reset, which overtakes the close
    /// frame at the peer; so those of a peer that broke the protocol are read and thrown away.
    pub(crate) fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        loop {
            match self.end {
                End::Open | End::Shaking => {
                    if let Poll::Ready(Err(Broken)) = self.poll_flush(cx) {
                        return Poll::Ready(None);
                    }
                    match ready!(self.poll_read(cx)) {
                        Incoming::Frame(frame) => return Poll::Ready(Some(frame)),
                        Incoming::Gone => return Poll::Ready(None),
                        Incoming::Control | Incoming::Breach(..) => {}
                    }
                }
                End::Broken => {
                    if ready!(self.poll_flush(cx)).is_err() {
                        return Poll::Ready(None);
                    }
                    if ready!(Pin::new(self.socket.get_mut()).poll_close(cx)).is_err() {
                        return Poll::Ready(None);
                    }
                    self.end = End::HalfShut;
                }
                End::HalfShut => {
                    let mut waste = [0; READ_BYTES];
                    match ready!(Pin::new(self.socket.get_mut()).poll_read(cx, &mut waste)) {
                        Ok(0) | Err(_) => return Poll::Ready(None),
                        Ok(_) => {}
                    }
                }
            }
        }
    }

    /// Not asking first whether the sink is ready: what is queued is bounded by the engine, which
    /// counts unsent bytes, and a sink that is not ready queues all the same.
    fn write(&mut self, message: Message) -> Result<(), Broken> {
        Pin::new(&mut self.socket).start_send(message).map_err(|_| Broken)
    }
}

fn config(limits: &Limits) -> WebSocketConfig {
    // The engine queues no more than this for one connection: its outbox, and one large answer.
    let unsent = limits.outbox_bytes.saturating_add(limits.document_bytes);
    WebSocketConfig::default()
        .read_buffer_size(READ_BYTES)
        .write_buffer_size(WRITE_BYTES)
        .max_write_buffer_size(unsent.saturating_add(2 * WRITE_BYTES))
        .max_frame_size(Some(limits.frame_bytes))
        .max_message_size(Some(limits.frame_bytes))
}

/// Which close code an error of the WebSocket layer deserves.
fn breach(error: &Error) -> Incoming {
    match error {
        Error::Capacity(CapacityError::MessageTooLong { max_size, .. }) => {
            Incoming::Breach(CloseCode::TOO_BIG, format!("a frame of over {max_size} bytes"))
        }
        Error::Capacity(_) => Incoming::Breach(CloseCode::TOO_BIG, error.to_string()),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => Incoming::Gone,
        Error::Protocol(_) | Error::AttackAttempt => {
            Incoming::Breach(CloseCode::PROTOCOL, error.to_string())
        }
        Error::Utf8(_) => Incoming::Breach(CloseCode::INVALID, error.to_string()),
        // The rest is the connection breaking, or arises in handshakes only.
        _ => Incoming::Gone,
    }
}

/// The stream beneath a WebSocket: writes the answer to the handshake before anything else, in the
/// same call where possible, and notes that bytes came.
struct Wire {
    stream: Box<dyn Duplex>,
    preface: Vec<u8>,
    heard: bool,
}

impl Wire {
    fn poll_preface(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.preface.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.preface))?;
            self.consume_preface(written)?;
        }
        Poll::Ready(Ok(()))
    }

    /// Takes `written` bytes off the preface; says how many of them were not the preface's.
    fn consume_preface(&mut self, written: usize) -> io::Result<usize> {
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        let of_preface = written.min(self.preface.len());
        self.preface.drain(..of_preface);
        if self.preface.is_empty() {
            self.preface = Vec::new();
        }
        Ok(written - of_preface)
    }
}

impl AsyncRead for Wire {
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

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        while !this.preface.is_empty() {
            let both = [IoSlice::new(&this.preface), IoSlice::new(buf)];
            let written = ready!(Pin::new(&mut this.stream).poll_write_vectored(cx, &both))?;
            let of_buf = this.consume_preface(written)?;
            if of_buf > 0 {
                return Poll::Ready(Ok(of_buf));
            }
        }
        Pin::new(&mut this.stream).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_preface(cx))?;
        Pin::new(&mut this.stream).poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_close(cx)
    }
}
