//! A frame's header: what it announces, judged before any of its payload is awaited.

use super::{Breach, Side};
use yroom::CloseCode;

/// The longest header of a client's frame.
pub(super) const HEADER_BYTES: usize = 14;
/// The longest payload of a control frame.
const CONTROL_BYTES: u64 = 125;

/// By what a header is judged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) side: Side,
    pub(super) text: Text,
    /// The longest message.
    pub(super) limit: usize,
}

/// What becomes of text frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Text {
    /// They are a breach: what is spoken here is binary.
    Refused,
    /// They are as good as any, if they are UTF-8.
    #[cfg_attr(
        not(feature = "autobahn"),
        expect(dead_code, reason = "only the conformance tests send text")
    )]
    Taken,
}

/// What stands before a payload.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) last: bool,
    pub(super) kind: Kind,
    pub(super) mask: [u8; 4],
    /// Its own length.
    pub(super) len: usize,
    pub(super) payload: usize,
}

/// What a frame is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Message(Content),
    Continuation,
    Close,
    Ping,
    Pong,
}

/// What a message holds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Content {
    Binary,
    Text,
}

impl Rules {
    /// Reads a header, if it has come whole, and judges it: `gathered` bytes of the message that it
    /// may continue are there.
    pub(super) fn header(self, bytes: &[u8], gathered: usize) -> Result<Option<Header>, Breach> {
        let &[first, second, ref rest @ ..] = bytes else { return Ok(None) };
        if first & 0x70 != 0 {
            return Err(Breach::protocol("a reserved bit is set"));
        }
        match (self.side, second & 0x80 != 0) {
            (Side::Server, false) => return Err(Breach::protocol("a frame is not masked")),
            (Side::Client, true) => return Err(Breach::protocol("a frame is masked")),
            (Side::Server, true) | (Side::Client, false) => {}
        }
        let last = first & 0x80 != 0;
        let kind = match first & 0x0f {
            0 => Kind::Continuation,
            1 => match self.text {
                Text::Refused => {
                    let reason = "a text frame: this protocol is binary".to_owned();
                    return Err(Breach { code: CloseCode::UNSUPPORTED, reason });
                }
                Text::Taken => Kind::Message(Content::Text),
            },
            2 => Kind::Message(Content::Binary),
            8 => Kind::Close,
            9 => Kind::Ping,
            10 => Kind::Pong,
            _ => return Err(Breach::protocol("a reserved opcode")),
        };
        let (payload, extended) = match second & 0x7f {
            126 => match rest.first_chunk::<2>() {
                Some(&len) => (u64::from(u16::from_be_bytes(len)), 2),
                None => return Ok(None),
            },
            127 => match rest.first_chunk::<8>() {
                Some(&len) => (u64::from_be_bytes(len), 8),
                None => return Ok(None),
            },
            len => (u64::from(len), 0),
        };
        let gathered = match kind {
            Kind::Message(_) => 0,
            Kind::Continuation => gathered,
            Kind::Close | Kind::Ping | Kind::Pong => {
                if !last || payload > CONTROL_BYTES {
                    return Err(Breach::protocol("a control frame is long or in fragments"));
                }
                0
            }
        };
        if payload > self.limit.saturating_sub(gathered) as u64 {
            return Err(Breach::too_big(self.limit));
        }
        let (mask, len) = match self.side {
            Side::Server => match rest[extended..].first_chunk::<4>() {
                Some(&mask) => (mask, 2 + extended + 4),
                None => return Ok(None),
            },
            Side::Client => ([0; 4], 2 + extended),
        };
        debug_assert!(len <= HEADER_BYTES);
        Ok(Some(Header { last, kind, mask, len, payload: payload as usize }))
    }
}
