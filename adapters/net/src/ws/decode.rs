//! Takes frames apart, however their bytes come, when they are asked for: bytes that wait are as many
//! as came, where a message for each frame of seven bytes would be five times that.

use super::encode::apply_mask;
use super::header::{Content, Header, Kind, Rules, Text};
use super::{Breach, Incoming, Side};
use bytes::{Buf, Bytes, BytesMut};
use yroom::CloseCode;

/// Takes the other side's bytes apart.
#[derive(Debug)]
pub(crate) struct Decoder {
    rules: Rules,
    /// Frames that have come whole and were not taken yet, unmasked. Empty, it has no memory.
    whole: Bytes,
    /// Those behind them, if the first had come in parts.
    behind: Bytes,
    /// What the other side did wrong behind them.
    breach: Option<Breach>,
    /// The beginning of a frame whose end has not come. Empty, it has no memory.
    partial: BytesMut,
    /// The fragments of a message, if it is sent in such.
    message: Option<Fragments>,
}

/// A message that has not come whole.
#[derive(Debug)]
struct Fragments {
    content: Content,
    bytes: BytesMut,
    /// As far as text is known to be UTF-8.
    checked: usize,
}

impl Decoder {
    /// A decoder at this end, of messages of at most `limit` bytes.
    pub(crate) fn new(side: Side, limit: usize) -> Self {
        let rules = Rules { side, text: Text::Refused, limit };
        let (whole, behind) = Default::default();
        Self { rules, whole, behind, breach: None, partial: BytesMut::new(), message: None }
    }

    /// One that takes text too.
    #[cfg(feature = "autobahn")]
    pub(crate) fn with_text(self) -> Self {
        Self { rules: Rules { text: Text::Taken, ..self.rules }, ..self }
    }

    /// What it keeps of a message that has not come whole.
    pub(crate) fn held_bytes(&self) -> usize {
        self.partial.len() + self.message.as_ref().map_or(0, |message| message.bytes.len())
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.partial.capacity()
    }

    /// Whether [`next`](Self::next) has something without more bytes.
    pub(crate) fn has_next(&self) -> bool {
        self.breach.is_some() || !self.whole.is_empty() || !self.behind.is_empty()
    }

    /// Takes in what has come, when all before it was taken. The bytes are unmasked in place.
    pub(crate) fn feed(&mut self, bytes: &mut [u8]) {
        debug_assert!(!self.has_next(), "frames that were not taken would be lost");
        self.breach = self.split(bytes).err();
    }

    fn split(&mut self, mut bytes: &mut [u8]) -> Result<(), Breach> {
        while !bytes.is_empty() && !self.partial.is_empty() {
            let taken = self.complete_partial(bytes)?;
            bytes = &mut bytes[taken..];
        }
        let mut end = 0;
        let found = loop {
            // By itself; together with fragments it is judged when it is taken.
            match self.rules.header(&bytes[end..], 0) {
                Ok(Some(header)) if bytes.len() - end - header.len >= header.payload => {
                    let start = end + header.len;
                    end = start + header.payload;
                    self.unmask(&mut bytes[start..end], header.mask);
                }
                Ok(_) => break Ok(()),
                Err(breach) => break Err(breach),
            }
        };
        // One copy, as long as what it holds, which the payloads share.
        self.behind = Bytes::copy_from_slice(&bytes[..end]);
        found?;
        self.partial.extend_from_slice(&bytes[end..]);
        Ok(())
    }

    /// Adds what is missing to the frame that has begun, as far as it has come.
    fn complete_partial(&mut self, bytes: &[u8]) -> Result<usize, Breach> {
        let before = self.partial.len();
        let (header, taken) = if let Some(header) = self.header(&self.partial)? {
            let taken = bytes.len().min(header.len + header.payload - before);
            self.partial.extend_from_slice(&bytes[..taken]);
            (Some(header), taken)
        } else {
            // A byte at a time, as the header's own length is not known: these are 13 at most.
            self.partial.extend_from_slice(&bytes[..1]);
            // Refused by its header alone, before its payload is awaited, which may be none.
            (self.header(&self.partial)?, 1)
        };
        if let Some(header) = header.filter(|it| it.len + it.payload == self.partial.len()) {
            let mut frame = std::mem::take(&mut self.partial);
            self.unmask(&mut frame[header.len..], header.mask);
            self.whole = frame.freeze();
        }
        Ok(taken)
    }

    /// The next message or control frame that has come whole, or the breach behind all of them.
    pub(crate) fn next(&mut self) -> Option<Incoming> {
        loop {
            if self.whole.is_empty() {
                // What was taken holds the bytes that it shares, this no more.
                self.whole = std::mem::take(&mut self.behind);
            }
            match self.take_first() {
                Ok(None) if self.whole.is_empty() && self.behind.is_empty() => break,
                Ok(None) => {}
                Ok(taken) => return taken,
                Err(breach) => {
                    (self.whole, self.behind, self.partial) = Default::default();
                    self.breach = None;
                    return Some(Incoming::Breach(breach));
                }
            }
        }
        // What has begun may be too long together with fragments that have come only now.
        let breach = self.breach.take().or_else(|| self.header(&self.partial).err())?;
        self.partial = BytesMut::new();
        Some(Incoming::Breach(breach))
    }

    /// Takes the first of the whole frames; what it is, if it ends something.
    fn take_first(&mut self) -> Result<Option<Incoming>, Breach> {
        let Some(header) = self.header(&self.whole)? else {
            self.whole = Bytes::new();
            return Ok(None);
        };
        let end = header.len + header.payload;
        // Not only advanced: then the empty rest would keep the memory.
        let mut payload = self.whole.split_to(end);
        payload.advance(header.len);
        self.take_frame(header, payload)
    }

    fn header(&self, bytes: &[u8]) -> Result<Option<Header>, Breach> {
        self.rules.header(bytes, self.message.as_ref().map_or(0, |message| message.bytes.len()))
    }

    fn take_frame(&mut self, header: Header, payload: Bytes) -> Result<Option<Incoming>, Breach> {
        Ok(Some(match header.kind {
            Kind::Ping => Incoming::Ping(payload),
            Kind::Pong => Incoming::Pong,
            Kind::Close => Incoming::Close(close_code(&payload)?),
            Kind::Message(_) if self.message.is_some() => {
                return Err(Breach::protocol("a message begins inside another"));
            }
            Kind::Message(content) if header.last => {
                content.check(&payload, 0, header.last)?;
                content.message(payload)
            }
            Kind::Message(content) => {
                let checked = content.check(&payload, 0, header.last)?;
                let bytes = BytesMut::from(payload);
                self.message = Some(Fragments { content, bytes, checked });
                return Ok(None);
            }
            Kind::Continuation => {
                let Some(message) = &mut self.message else {
                    return Err(Breach::protocol("a continuation of no message"));
                };
                // The header was judged when fewer fragments may have been known.
                if message.bytes.len() + payload.len() > self.rules.limit {
                    return Err(Breach::too_big(self.rules.limit));
                }
                message.bytes.extend_from_slice(&payload);
                message.checked =
                    message.content.check(&message.bytes, message.checked, header.last)?;
                match self.message.take_if(|_| header.last) {
                    Some(whole) => whole.content.message(whole.bytes.freeze()),
                    None => return Ok(None),
                }
            }
        }))
    }

    fn unmask(&self, payload: &mut [u8], mask: [u8; 4]) {
        match self.rules.side {
            Side::Server => apply_mask(payload, mask),
            Side::Client => {}
        }
    }
}

impl Content {
    const fn message(self, payload: Bytes) -> Incoming {
        match self {
            Self::Binary => Incoming::Message(payload),
            Self::Text => Incoming::Text(payload),
        }
    }

    /// Looks whether what has come since `from` can be such content; says how far it surely is.
    fn check(self, bytes: &[u8], from: usize, last: bool) -> Result<usize, Breach> {
        match self {
            Self::Binary => Ok(bytes.len()),
            Self::Text => match std::str::from_utf8(&bytes[from..]) {
                Ok(_) => Ok(bytes.len()),
                // A character may be cut by the fragments.
                Err(error) if !last && error.error_len().is_none() => {
                    Ok(from + error.valid_up_to())
                }
                Err(_) => {
                    let reason = "a text message that is not UTF-8".to_owned();
                    Err(Breach { code: CloseCode::INVALID, reason })
                }
            },
        }
    }
}

/// The code of a close frame, which must be one that may be sent (RFC 6455 §7.4).
fn close_code(payload: &[u8]) -> Result<Option<CloseCode>, Breach> {
    let Some((&code, reason)) = payload.split_first_chunk::<2>() else {
        return if payload.is_empty() {
            Ok(None)
        } else {
            Err(Breach::protocol("a close frame of 1 byte"))
        };
    };
    let code = u16::from_be_bytes(code);
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(Breach::protocol("a close code that must not be sent"));
    }
    if std::str::from_utf8(reason).is_err() {
        let reason = "a close frame whose reason is not UTF-8".to_owned();
        return Err(Breach { code: CloseCode::INVALID, reason });
    }
    Ok(Some(CloseCode(code)))
}
