//! One WebSocket, as a shard uses it: fed without flushing, polled, closed with a deadline.

use crate::ws::{self, Decoder, Incoming, Opcode, Side};
use bytes::{BufMut, Bytes, BytesMut};
use futures_io::{AsyncRead, AsyncWrite};
use std::collections::VecDeque;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io::IoSlice;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use yroom::{CloseCode, Limits};

/// Bytes read at once: some thousand typed characters, so one turn of a busy peer.
pub(crate) const READ_BYTES: usize = 32 << 10;
/// Bytes gathered for one write.
const WRITE_BYTES: usize = 64 << 10;
/// From this length on a frame is written from where it is instead of being gathered.
const DIRECT_BYTES: usize = 16 << 10;
/// Pongs that may wait, 2 KB of them; a peer that pings on without reading gets only newer ones.
const WAITING_PONGS: usize = 16;
/// What a close frame's reason may have (RFC 6455 §5.5).
const REASON_BYTES: usize = 123;
/// Places for frames that are kept when all have left.
const KEPT_PLACES: usize = 32;

/// A byte stream in both directions.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Duplex for T {}

/// The buffers of a thread, which its connections use in turn.
#[derive(Debug)]
pub(crate) struct Scratch {
    read: Vec<u8>,
    write: Vec<u8>,
}

impl Scratch {
    pub(crate) fn new() -> Self {
        Self { read: vec![0; READ_BYTES], write: Vec::with_capacity(WRITE_BYTES + 16) }
    }
}

/// One end of a WebSocket.
pub(crate) struct Link {
    stream: Box<dyn Duplex>,
    decoder: Decoder,
    outbox: Outbox,
    end: End,
    heard: bool,
}

/// How far the closing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It is open.
    Open,
    /// Our close frame is on its way; theirs is awaited.
    Shaking,
    /// Both have been seen; ours may still be on its way.
    Shaken,
    /// The peer broke the protocol, so nothing it sends is read as frames any more.
    Broken,
    /// Our half is shut; what the peer still sends is thrown away.
    HalfShut,
}

/// The connection broke, or the peer ended it without a word.
#[derive(Debug)]
pub(crate) struct Broken;

impl Link {
    /// The client's end of a WebSocket, its handshake done.
    #[cfg(feature = "client")]
    pub(crate) fn of_client(stream: Box<dyn Duplex>, limits: &Limits) -> Self {
        let outbox = Outbox { masks: Some(Masks::default()), ..Outbox::default() };
        let decoder = Decoder::new(Side::Client, limits.frame_bytes);
        Self { stream, decoder, outbox, end: End::Open, heard: false }
    }

    /// The server's end of a WebSocket on `stream`. `preface` is written first.
    pub(crate) fn new(stream: Box<dyn Duplex>, preface: Vec<u8>, limits: &Limits) -> Self {
        let mut outbox = Outbox::default();
        if !preface.is_empty() {
            outbox.queue.push_back(Outgoing::Raw(preface.into()));
        }
        let decoder = Decoder::new(Side::Server, limits.frame_bytes);
        Self { stream, decoder, outbox, end: End::Open, heard: false }
    }

    /// The same end, taking text messages too.
    #[cfg(feature = "autobahn")]
    pub(crate) fn with_text(self) -> Self {
        Self { decoder: self.decoder.with_text(), ..self }
    }

    /// Queues a text message.
    #[cfg(feature = "autobahn")]
    pub(crate) fn feed_text(&mut self, message: Bytes) {
        self.outbox.push(Opcode::Text, message);
    }

    /// Queues a message; it leaves with the next flush. After a close frame none does.
    pub(crate) fn feed(&mut self, message: Bytes) {
        if self.end == End::Open {
            self.outbox.push(Opcode::Binary, message);
        }
    }

    /// Queues a ping.
    pub(crate) fn ping(&mut self) {
        self.outbox.push(Opcode::Ping, Bytes::new());
    }

    /// Whether anything waits to be flushed.
    pub(crate) fn has_unsent(&self) -> bool {
        !self.outbox.queue.is_empty()
    }

    /// Writes what is queued, as far as the network takes it.
    pub(crate) fn poll_flush(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut Scratch,
    ) -> Poll<Result<(), Broken>> {
        self.outbox.poll_write(cx, &mut *self.stream, &mut scratch.write)
    }

    /// How many bytes of messages have left since this was last asked.
    pub(crate) fn take_flushed(&mut self) -> usize {
        std::mem::take(&mut self.outbox.flushed)
    }

    /// Takes in what was read already by whoever did the handshake.
    pub(crate) fn read_part(&mut self, part: &mut [u8]) {
        self.decoder.feed(part);
    }

    /// Reads once, when there is no [`next`](Self::next); what came whole is next then.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut Scratch,
    ) -> Poll<Result<usize, Broken>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, &mut scratch.read);
        let Ok(read @ 1..) = ready!(read) else { return Poll::Ready(Err(Broken)) };
        self.heard = true;
        self.decoder.feed(&mut scratch.read[..read]);
        Poll::Ready(Ok(read))
    }

    /// Whether there is a next one.
    pub(crate) fn has_next(&self) -> bool {
        self.reads_frames() && self.decoder.has_next()
    }

    /// What has come whole, one after the other; what the WebSocket layer answers itself is answered.
    pub(crate) fn next(&mut self) -> Option<Incoming> {
        if !self.reads_frames() {
            return None;
        }
        let item = self.decoder.next()?;
        match &item {
            Incoming::Message(_) | Incoming::Text(_) | Incoming::Pong => {}
            // A copy: 125 bytes at most, of a read that would be kept for them.
            Incoming::Ping(payload) => self.outbox.pong(Bytes::copy_from_slice(payload)),
            Incoming::Close(code) => {
                if self.end == End::Open {
                    let code = code.map(|code| Bytes::copy_from_slice(&code.0.to_be_bytes()));
                    self.outbox.push(Opcode::Close, code.unwrap_or_default());
                }
                self.end = End::Shaken;
            }
            Incoming::Breach(_) => self.end = End::Broken,
        }
        Some(item)
    }

    /// Whether frames of the peer's count: none does after its close frame, or a breach.
    fn reads_frames(&self) -> bool {
        matches!(self.end, End::Open | End::Shaking)
    }

    /// What it keeps of a message that has not come whole.
    pub(crate) fn held_bytes(&self) -> usize {
        self.decoder.held_bytes()
    }

    /// Whether anything, even a part of a frame, has come since this was last asked.
    pub(crate) fn take_heard(&mut self) -> bool {
        std::mem::take(&mut self.heard)
    }

    /// Begins the closing handshake, after what was queued.
    pub(crate) fn close(&mut self, code: CloseCode, reason: &str) {
        let mut cut = reason.len().min(REASON_BYTES);
        while !reason.is_char_boundary(cut) {
            cut -= 1;
        }
        let mut payload = BytesMut::with_capacity(2 + cut);
        payload.put_u16(code.0);
        payload.put_slice(&reason.as_bytes()[..cut]);
        self.outbox.push(Opcode::Close, payload.freeze());
        if self.end == End::Open {
            self.end = End::Shaking;
        }
    }

    /// Drives the closing: ready when there may be a [`next`](Self::next), which the peer had sent
    /// before it knew, or with an error at the end.
    ///
    /// A socket that is dropped with unread bytes answers with a reset, which overtakes the close
    /// frame at the peer; so those of a peer that broke the protocol are read and thrown away.
    pub(crate) fn poll_closed(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut Scratch,
    ) -> Poll<Result<(), Broken>> {
        loop {
            let flushed = self.poll_flush(cx, scratch)?;
            match self.end {
                End::Open | End::Shaking => {
                    ready!(self.poll_read(cx, scratch))?;
                    return Poll::Ready(Ok(()));
                }
                End::Shaken => {
                    ready!(flushed);
                    // A plain socket says with its end that nothing more comes, TLS in a word.
                    ready!(Pin::new(&mut self.stream).poll_close(cx)).map_err(|_| Broken)?;
                    return Poll::Ready(Err(Broken));
                }
                End::Broken => {
                    ready!(flushed);
                    ready!(Pin::new(&mut self.stream).poll_close(cx)).map_err(|_| Broken)?;
                    self.end = End::HalfShut;
                }
                End::HalfShut => {
                    let read = Pin::new(&mut self.stream).poll_read(cx, &mut scratch.read);
                    return Poll::Ready(match ready!(read) {
                        Ok(1..) => Ok(()),
                        Ok(0) | Err(_) => Err(Broken),
                    });
                }
            }
        }
    }

    /// Drives the closing to its end; what the peer still says is not heard.
    pub(crate) fn poll_gone(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Poll<()> {
        match ready!(self.poll_closed(cx, scratch)) {
            Ok(()) => {
                while self.next().is_some() {}
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Err(Broken) => Poll::Ready(()),
        }
    }
}

/// What waits to be written: the engine's own bytes, shared by all who are sent them.
#[derive(Debug, Default)]
struct Outbox {
    queue: VecDeque<Outgoing>,
    /// How much of the first one, header included, has been written.
    written: usize,
    flushed: usize,
    /// At a client's end.
    masks: Option<Masks>,
}

#[derive(Debug)]
enum Outgoing {
    /// What is no frame: the answer to the handshake.
    Raw(Bytes),
    Frame(Opcode, Bytes),
    /// A client's frame, whole, and its payload's length.
    Masked(Opcode, Bytes, usize),
}

/// A client's masks, none of which can be foretold (RFC 6455 §5.3): made of the keys that the system
/// gives each process for its hash tables.
#[derive(Debug, Default)]
struct Masks {
    keys: RandomState,
    count: u64,
}

impl Masks {
    fn next(&mut self) -> [u8; 4] {
        self.count += 1;
        (self.keys.hash_one(self.count) as u32).to_ne_bytes()
    }
}

impl Outgoing {
    const fn len(&self) -> usize {
        match self {
            Self::Raw(bytes) | Self::Masked(_, bytes, _) => bytes.len(),
            Self::Frame(_, payload) => ws::header_len(payload.len()) + payload.len(),
        }
    }

    const fn payload(&self) -> &Bytes {
        match self {
            Self::Raw(payload) | Self::Frame(_, payload) | Self::Masked(_, payload, _) => payload,
        }
    }

    fn write_header(&self, out: &mut Vec<u8>) {
        match self {
            Self::Raw(_) | Self::Masked(..) => {}
            Self::Frame(opcode, payload) => ws::write_header(*opcode, payload.len(), out),
        }
    }
}

impl Outbox {
    fn push(&mut self, opcode: Opcode, payload: Bytes) {
        let item = self.outgoing(opcode, payload);
        self.queue.push_back(item);
    }

    /// Answers a ping, or a ping before it that has not been answered yet (RFC 6455 §5.5.3).
    fn pong(&mut self, payload: Bytes) {
        let pong = self.outgoing(Opcode::Pong, payload);
        let waiting = self.queue.iter_mut().filter(|item| {
            matches!(item, Outgoing::Frame(Opcode::Pong, _) | Outgoing::Masked(Opcode::Pong, ..))
        });
        // Of so many, the youngest is not the one that is being written.
        match waiting.enumerate().skip(WAITING_PONGS - 1).last() {
            Some((_, youngest)) => *youngest = pong,
            None => self.queue.push_back(pong),
        }
    }

    fn outgoing(&mut self, opcode: Opcode, payload: Bytes) -> Outgoing {
        match &mut self.masks {
            None => Outgoing::Frame(opcode, payload),
            Some(masks) => {
                let frame = ws::masked(opcode, &payload, masks.next());
                Outgoing::Masked(opcode, frame, payload.len())
            }
        }
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut dyn Duplex,
        buffer: &mut Vec<u8>,
    ) -> Poll<Result<(), Broken>> {
        while let Some(first) = self.queue.front() {
            let mut stream = Pin::new(&mut *stream);
            let wrote = if first.len() - self.written >= DIRECT_BYTES {
                buffer.clear();
                first.write_header(buffer);
                let header = buffer.get(self.written..).unwrap_or_default();
                let payload = &first.payload()[self.written.saturating_sub(buffer.len())..];
                stream
                    .as_mut()
                    .poll_write_vectored(cx, &[IoSlice::new(header), IoSlice::new(payload)])
            } else {
                self.gather(buffer);
                stream.as_mut().poll_write(cx, buffer)
            };
            let Ok(wrote @ 1..) = ready!(wrote) else { return Poll::Ready(Err(Broken)) };
            self.advance(wrote);
        }
        if self.queue.capacity() > KEPT_PLACES {
            self.queue = VecDeque::new();
        }
        Pin::new(stream).poll_flush(cx).map_err(|_| Broken)
    }

    /// Copies small frames one after the other, so that they are one write.
    fn gather(&self, buffer: &mut Vec<u8>) {
        buffer.clear();
        let mut skip = self.written;
        for item in &self.queue {
            let rest = item.len() - skip;
            if buffer.len() + rest > WRITE_BYTES || rest >= DIRECT_BYTES {
                break;
            }
            let start = buffer.len();
            item.write_header(buffer);
            let header = buffer.len() - start;
            buffer.drain(start..start + skip.min(header));
            buffer.extend_from_slice(&item.payload()[skip.saturating_sub(header)..]);
            skip = 0;
        }
    }

    /// Takes off what was written.
    fn advance(&mut self, wrote: usize) {
        self.written += wrote;
        while let Some(first) = self.queue.front() {
            let len = first.len();
            if self.written < len {
                break;
            }
            self.written -= len;
            self.flushed += match first {
                Outgoing::Frame(Opcode::Binary, payload) => payload.len(),
                Outgoing::Masked(Opcode::Binary, _, payload) => *payload,
                Outgoing::Frame(..) | Outgoing::Masked(..) | Outgoing::Raw(_) => 0,
            };
            self.queue.pop_front();
        }
    }
}
