//! A WebSocket's framing (RFC 6455), without I/O: bytes in, frames out.
//!
//! Its own, because what a connection holds while nothing moves is what a server's memory is. A
//! [`Decoder`] works in a buffer that all connections of a thread share and keeps only the part of a
//! frame that has not come whole; frames to send stay the shared bytes that the engine gave
//! (`link.rs`). Measured against async-tungstenite 0.35 in this place, one thread: 40 peers that
//! stopped reading held 42 MiB (a copy of the same frames each), now 2; 40 connections that had once
//! brought 4 MB held 153 MiB, now 1; a quiet connection 5.8 KiB, now 1.8; and a million deliveries of
//! a burst took 0.04 s of CPU, now 0.01.

use bytes::{Bytes, BytesMut};
use yroom::CloseCode;

/// The longest header of a client's frame.
const HEADER_BYTES: usize = 14;
/// The longest payload of a control frame.
const CONTROL_BYTES: u64 = 125;

/// What a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opcode {
    #[cfg(feature = "autobahn")]
    Text = 1,
    Binary = 2,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

/// Which end of a WebSocket this is: a client masks what it sends, a server does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Server,
    #[cfg_attr(not(feature = "client"), expect(dead_code, reason = "only servers then"))]
    Client,
}

/// What the other side sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Incoming {
    /// A whole binary message.
    Message(Bytes),
    /// A whole text message, from a decoder that takes such.
    Text(Bytes),
    Ping(Bytes),
    Pong,
    /// It ends the connection; to be answered with the same code, if it gave one.
    Close(Option<CloseCode>),
    /// It did what a client must not; nothing after it is decoded.
    Breach(Breach),
}

/// The close that a breach of the protocol deserves.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Breach {
    pub(crate) code: CloseCode,
    pub(crate) reason: String,
}

/// What becomes of text frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Text {
    /// They are a breach: what is spoken here is binary.
    Refused,
    /// They are as good as any, if they are UTF-8.
    #[cfg_attr(
        not(feature = "autobahn"),
        expect(dead_code, reason = "only the conformance tests send text")
    )]
    Taken,
}

/// Takes the other side's bytes apart.
#[derive(Debug)]
pub(crate) struct Decoder {
    side: Side,
    /// The beginning of a frame whose end has not come. Empty, it has no memory.
    partial: BytesMut,
    /// The fragments of a message, if it is sent in such.
    message: Option<Fragments>,
    text: Text,
    limit: usize,
}

/// A message that has not come whole.
#[derive(Debug)]
struct Fragments {
    content: Content,
    bytes: BytesMut,
    /// As far as text is known to be UTF-8.
    checked: usize,
}

/// What a message holds.
#[derive(Clone, Copy, Debug)]
enum Content {
    Binary,
    Text,
}

#[derive(Clone, Copy, Debug)]
struct Header {
    last: bool,
    kind: Kind,
    mask: [u8; 4],
    /// Its own length.
    len: usize,
    payload: usize,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Message(Content),
    Continuation,
    Close,
    Ping,
    Pong,
}

impl Decoder {
    /// A decoder at this end, of messages of at most `limit` bytes.
    pub(crate) fn new(side: Side, limit: usize) -> Self {
        Self { side, partial: BytesMut::new(), message: None, text: Text::Refused, limit }
    }

    /// One that takes text too.
    #[cfg(feature = "autobahn")]
    pub(crate) fn with_text(self) -> Self {
        Self { text: Text::Taken, ..self }
    }

    /// Decodes what has come; false after a breach. The bytes are unmasked in place.
    pub(crate) fn decode(&mut self, mut bytes: &mut [u8], out: &mut Vec<Incoming>) {
        while !bytes.is_empty() && !self.partial.is_empty() {
            match self.complete_partial(bytes, out) {
                Ok(taken) => bytes = &mut bytes[taken..],
                Err(breach) => return out.push(Incoming::Breach(breach)),
            }
        }
        if let Err(breach) = self.decode_whole(bytes, out) {
            out.push(Incoming::Breach(breach));
        }
    }

    /// Adds what is missing to the frame that has begun, as far as it has come.
    fn complete_partial(&mut self, bytes: &[u8], out: &mut Vec<Incoming>) -> Result<usize, Breach> {
        let before = self.partial.len();
        let Some(header) = self.header(&self.partial)? else {
            // A byte at a time, as the header's own length is not known: these are 13 at most.
            self.partial.extend_from_slice(&bytes[..1]);
            // Refused by its header alone, before its payload is awaited, which may be none.
            if let Some(header) = self.header(&self.partial)?
                && header.payload == 0
            {
                self.partial = BytesMut::new();
                self.take_frame(header, Bytes::new(), out)?;
            }
            return Ok(1);
        };
        let end = header.len + header.payload;
        let taken = bytes.len().min(end - before);
        self.partial.extend_from_slice(&bytes[..taken]);
        if self.partial.len() == end {
            let mut frame = std::mem::take(&mut self.partial);
            self.unmask(&mut frame[header.len..], header.mask);
            let payload = frame.freeze().slice(header.len..);
            self.take_frame(header, payload, out)?;
        }
        Ok(taken)
    }

    /// Decodes frames that lie whole in `bytes`, and keeps the beginning of one that does not. The
    /// payloads share one copy of `bytes`, which is as long as what it holds.
    fn decode_whole(&mut self, bytes: &mut [u8], out: &mut Vec<Incoming>) -> Result<(), Breach> {
        let mut end = 0;
        let mut breach = None;
        loop {
            match self.header(&bytes[end..]) {
                Ok(Some(header)) if bytes.len() - end - header.len >= header.payload => {
                    let start = end + header.len;
                    end = start + header.payload;
                    self.unmask(&mut bytes[start..end], header.mask);
                }
                Ok(_) => break,
                Err(found) => {
                    breach = Some(found);
                    break;
                }
            }
        }
        if end > 0 {
            let whole = Bytes::copy_from_slice(&bytes[..end]);
            let mut at = 0;
            while let Some(header) = self.header(&whole[at..])? {
                let start = at + header.len;
                at = start + header.payload;
                self.take_frame(header, whole.slice(start..at), out)?;
            }
        }
        if let Some(breach) = breach {
            return Err(breach);
        }
        self.partial.extend_from_slice(&bytes[end..]);
        // The rest may be too long together with fragments that have come only now.
        self.header(&self.partial).map(|_| ())
    }

    fn take_frame(
        &mut self,
        header: Header,
        payload: Bytes,
        out: &mut Vec<Incoming>,
    ) -> Result<(), Breach> {
        out.push(match header.kind {
            Kind::Ping => Incoming::Ping(payload),
            Kind::Pong => Incoming::Pong,
            Kind::Close => Incoming::Close(close_code(&payload)?),
            Kind::Message(_) if self.message.is_some() => {
                return Err(protocol("a message begins inside another"));
            }
            Kind::Message(content) if header.last => {
                content.check(&payload, 0, header.last)?;
                content.message(payload)
            }
            Kind::Message(content) => {
                let checked = content.check(&payload, 0, header.last)?;
                let bytes = BytesMut::from(payload);
                self.message = Some(Fragments { content, bytes, checked });
                return Ok(());
            }
            Kind::Continuation => {
                let Some(message) = &mut self.message else {
                    return Err(protocol("a continuation of no message"));
                };
                // The header was judged when fewer fragments may have been known.
                if message.bytes.len() + payload.len() > self.limit {
                    return Err(too_big(self.limit));
                }
                message.bytes.extend_from_slice(&payload);
                message.checked =
                    message.content.check(&message.bytes, message.checked, header.last)?;
                match self.message.take_if(|_| header.last) {
                    Some(whole) => whole.content.message(whole.bytes.freeze()),
                    None => return Ok(()),
                }
            }
        });
        Ok(())
    }

    fn unmask(&self, payload: &mut [u8], mask: [u8; 4]) {
        match self.side {
            Side::Server => apply_mask(payload, mask),
            Side::Client => {}
        }
    }

    /// Reads a header, if it has come whole, and judges it.
    fn header(&self, bytes: &[u8]) -> Result<Option<Header>, Breach> {
        let &[first, second, ref rest @ ..] = bytes else { return Ok(None) };
        if first & 0x70 != 0 {
            return Err(protocol("a reserved bit is set"));
        }
        match (self.side, second & 0x80 != 0) {
            (Side::Server, false) => return Err(protocol("a frame is not masked")),
            (Side::Client, true) => return Err(protocol("a frame is masked")),
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
            _ => return Err(protocol("a reserved opcode")),
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
            Kind::Continuation => self.message.as_ref().map_or(0, |message| message.bytes.len()),
            Kind::Close | Kind::Ping | Kind::Pong => {
                if !last || payload > CONTROL_BYTES {
                    return Err(protocol("a control frame is long or in fragments"));
                }
                0
            }
        };
        if payload > self.limit.saturating_sub(gathered) as u64 {
            return Err(too_big(self.limit));
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

/// Writes the header of a whole, unmasked frame.
pub(crate) fn write_header(opcode: Opcode, payload: usize, out: &mut Vec<u8>) {
    out.push(0x80 | opcode as u8);
    match payload {
        0..126 => out.push(payload as u8),
        126..0x1_0000 => {
            out.push(126);
            out.extend_from_slice(&(payload as u16).to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend_from_slice(&(payload as u64).to_be_bytes());
        }
    }
}

/// A whole frame of a client: a copy, as each frame has a mask of its own.
pub(crate) fn masked(opcode: Opcode, payload: &[u8], mask: [u8; 4]) -> Bytes {
    let mut frame = Vec::with_capacity(HEADER_BYTES + payload.len());
    write_header(opcode, payload.len(), &mut frame);
    frame[1] |= 0x80;
    frame.extend(mask);
    let start = frame.len();
    frame.extend_from_slice(payload);
    apply_mask(&mut frame[start..], mask);
    frame.into()
}

/// How long [`write_header`]'s is.
pub(crate) const fn header_len(payload: usize) -> usize {
    match payload {
        0..126 => 2,
        126..0x1_0000 => 4,
        _ => 10,
    }
}

/// Puts the mask on or takes it off, eight bytes at a time.
fn apply_mask(bytes: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (chunks, rest) = bytes.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

/// The code of a close frame, which must be one that may be sent (RFC 6455 §7.4).
fn close_code(payload: &[u8]) -> Result<Option<CloseCode>, Breach> {
    let Some((&code, reason)) = payload.split_first_chunk::<2>() else {
        return if payload.is_empty() {
            Ok(None)
        } else {
            Err(protocol("a close frame of 1 byte"))
        };
    };
    let code = u16::from_be_bytes(code);
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(protocol("a close code that must not be sent"));
    }
    if std::str::from_utf8(reason).is_err() {
        let reason = "a close frame whose reason is not UTF-8".to_owned();
        return Err(Breach { code: CloseCode::INVALID, reason });
    }
    Ok(Some(CloseCode(code)))
}

fn protocol(reason: &str) -> Breach {
    Breach { code: CloseCode::PROTOCOL, reason: reason.to_owned() }
}

fn too_big(limit: usize) -> Breach {
    Breach { code: CloseCode::TOO_BIG, reason: format!("a message of over {limit} bytes") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MASK: [u8; 4] = [1, 0x80, 0xff, 7];

    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        write_header(Opcode::Binary, payload.len(), &mut bytes);
        bytes[0] = first;
        bytes[1] |= 0x80;
        bytes.extend(MASK);
        bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        bytes
    }

    fn decode(pieces: &mut [Vec<u8>], limit: usize) -> Vec<Incoming> {
        let (mut decoder, mut out) = (Decoder::new(Side::Server, limit), Vec::new());
        for piece in pieces {
            decoder.decode(piece, &mut out);
            if matches!(out.last(), Some(Incoming::Breach(_))) {
                break;
            }
        }
        out
    }

    fn breach(bytes: Vec<u8>) -> u16 {
        match decode(&mut [bytes], 1000).pop() {
            Some(Incoming::Breach(breach)) => breach.code.0,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn however_the_bytes_are_split_the_frames_are_the_same() {
        let long = (0..70_000_u32).map(|n| n as u8).collect::<Vec<_>>();
        let mut bytes = frame(0x82, b"one");
        bytes.extend(frame(0x02, &long[..300]));
        bytes.extend(frame(0x89, b"ping"));
        bytes.extend(frame(0x00, b""));
        bytes.extend(frame(0x80, &long[300..]));
        bytes.extend(frame(0x82, b""));
        bytes.extend(frame(0x8a, b""));
        bytes.extend(frame(0x88, &[3, 232, b'x']));
        let expected = vec![
            Incoming::Message(Bytes::from_static(b"one")),
            Incoming::Ping(Bytes::from_static(b"ping")),
            Incoming::Message(Bytes::from(long)),
            Incoming::Message(Bytes::new()),
            Incoming::Pong,
            Incoming::Close(Some(CloseCode(1000))),
        ];
        for size in [1, 2, 3, 5, 7, 13, 100, 4096, 65_000, bytes.len()] {
            let mut pieces: Vec<_> = bytes.chunks(size).map(<[u8]>::to_vec).collect();
            assert_eq!(decode(&mut pieces, 70_000), expected, "pieces of {size}");
        }
    }

    #[test]
    fn what_is_decoded_leaves_no_memory_behind() {
        let (mut decoder, mut out) = (Decoder::new(Side::Server, 1 << 20), Vec::new());
        let mut bytes = frame(0x82, &vec![7; 500_000]);
        let (head, tail) = bytes.split_at_mut(100_000);
        decoder.decode(head, &mut out);
        assert!(decoder.partial.capacity() < 250_000, "{}", decoder.partial.capacity());
        decoder.decode(tail, &mut out);
        assert_eq!(out.len(), 1);
        assert_eq!(decoder.partial.capacity(), 0);
    }

    #[test]
    fn no_bytes_panic_or_hold_more_than_they_are() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = move |below: usize| {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            (state >> 33) as usize % below
        };
        for _ in 0..20_000 {
            let (mut decoder, mut out) = (Decoder::new(Side::Server, 2_000), Vec::new());
            let mut fed = 0;
            for _ in 0..random(8) {
                // Now and then the beginning of a frame that could be good, and then anything.
                let first = [0x82, 0x02, 0x00, 0x80, 0x89, 0x88][random(6)];
                let mut bytes = frame(first, &vec![random(256) as u8; random(200)]);
                for _ in 0..random(3) {
                    let at = random(bytes.len());
                    bytes[at] = random(256) as u8;
                }
                bytes.truncate(random(bytes.len() * 2));
                fed += bytes.len();
                decoder.decode(&mut bytes, &mut out);
                let fragments = decoder.message.as_ref().map_or(0, |message| message.bytes.len());
                assert!(decoder.partial.len() + fragments <= fed.min(2_000 + HEADER_BYTES));
                if matches!(out.last(), Some(Incoming::Breach(_))) {
                    break;
                }
            }
        }
    }

    #[test]
    fn an_empty_frame_is_there_when_its_last_byte_is() {
        for side in [Side::Server, Side::Client] {
            let bytes = match side {
                Side::Server => frame(0x89, b""),
                Side::Client => vec![0x89, 0],
            };
            let (mut decoder, mut out) = (Decoder::new(side, 1000), Vec::new());
            for mut byte in bytes.chunks(1).map(<[u8]>::to_vec) {
                assert!(out.is_empty(), "{side:?}");
                decoder.decode(&mut byte, &mut out);
            }
            assert_eq!(out, [Incoming::Ping(Bytes::new())], "{side:?}");
        }
    }

    #[test]
    fn what_a_client_sends_a_server_reads_and_the_other_way_round() {
        for len in [0, 5, 125, 126, 65_535, 65_536] {
            let payload = vec![7; len];
            let mut sent = masked(Opcode::Binary, &payload, MASK).to_vec();
            let (mut server, mut out) = (Decoder::new(Side::Server, 1 << 20), Vec::new());
            server.decode(&mut sent, &mut out);
            assert_eq!(out, [Incoming::Message(payload.clone().into())], "{len}");
            let mut answer = Vec::new();
            write_header(Opcode::Binary, len, &mut answer);
            answer.extend_from_slice(&payload);
            for size in [1, 7, answer.len()] {
                let (mut client, mut out) = (Decoder::new(Side::Client, 1 << 20), Vec::new());
                for mut piece in answer.chunks(size).map(<[u8]>::to_vec) {
                    client.decode(&mut piece, &mut out);
                }
                assert_eq!(out, [Incoming::Message(payload.clone().into())], "{len} by {size}");
            }
        }
        let (mut client, mut out) = (Decoder::new(Side::Client, 1000), Vec::new());
        client.decode(&mut frame(0x82, b"masked"), &mut out);
        assert!(matches!(&out[..], [Incoming::Breach(_)]), "{out:?}");
    }

    #[test]
    fn each_breach_has_its_code() {
        assert_eq!(breach(vec![0x82, 0x01]), 1002, "not masked");
        assert_eq!(breach(frame(0xc2, b"")), 1002, "a reserved bit");
        assert_eq!(breach(frame(0x83, b"")), 1002, "a reserved opcode");
        assert_eq!(breach(frame(0x8b, b"")), 1002, "a reserved control opcode");
        assert_eq!(breach(frame(0x81, b"hello")), 1003, "text");
        assert_eq!(breach(frame(0x80, b"")), 1002, "a continuation of nothing");
        assert_eq!(breach([frame(0x02, b"a"), frame(0x82, b"b")].concat()), 1002, "nested");
        assert_eq!(breach(frame(0x89, &[0; 126])), 1002, "a long ping");
        assert_eq!(breach(frame(0x09, b"")), 1002, "a ping in fragments");
        assert_eq!(breach(frame(0x88, &[3])), 1002, "half a close code");
        assert_eq!(breach(frame(0x88, &[3, 237])), 1002, "1005 is never sent");
        assert_eq!(breach(frame(0x88, &[3, 232, 0xff])), 1007, "a reason that is no text");
        assert_eq!(breach(vec![0x82, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0]), 1009, "huge");
    }

    #[test]
    fn a_message_is_judged_by_the_sum_of_its_fragments_before_the_last_has_come() {
        let first = frame(0x02, &[1; 600]);
        let second = &frame(0x80, &[1; 401])[..4];
        for mut pieces in [
            vec![[&first[..], second].concat()],
            vec![first.clone(), second.to_vec()],
            vec![first[..100].to_vec(), [&first[100..], second].concat()],
        ] {
            let out = decode(&mut pieces, 1000);
            assert!(
                matches!(&out[..], [Incoming::Breach(Breach { code: CloseCode::TOO_BIG, .. })]),
                "{out:?}"
            );
        }
    }

    #[cfg(feature = "autobahn")]
    #[test]
    fn text_is_utf8_wherever_it_is_cut() {
        let decode = |pieces: &[Vec<u8>]| {
            let mut decoder = Decoder::new(Side::Server, 1000).with_text();
            let mut out = Vec::new();
            for piece in pieces {
                decoder.decode(&mut piece.clone(), &mut out);
            }
            out
        };
        let text = "a\u{20ac}\u{1f600}".as_bytes();
        for cut in 0..=text.len() {
            let pieces = [frame(0x01, &text[..cut]), frame(0x80, &text[cut..])];
            assert_eq!(decode(&pieces), [Incoming::Text(Bytes::from_static(text))], "{cut}");
        }
        // As soon as it cannot become text any more, and at the end at the latest.
        for pieces in [vec![frame(0x01, b"a\xe2\x28")], vec![frame(0x81, b"a\xe2\x82")]] {
            let out = decode(&pieces);
            assert!(
                matches!(&out[..], [Incoming::Breach(Breach { code: CloseCode::INVALID, .. })]),
                "{out:?}"
            );
        }
    }

    #[test]
    fn frames_before_a_breach_count() {
        let out = decode(&mut [[frame(0x82, b"good"), frame(0x81, b"bad")].concat()], 1000);
        assert!(matches!(&out[..], [Incoming::Message(_), Incoming::Breach(_)]), "{out:?}");
    }

    #[test]
    fn header_lengths_are_what_is_written() {
        for payload in [0, 125, 126, 65_535, 65_536] {
            let mut header = Vec::new();
            write_header(Opcode::Binary, payload, &mut header);
            assert_eq!(header.len(), header_len(payload), "{payload}");
        }
    }
}
