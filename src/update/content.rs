//! The kinds of content, how long each is, and where it can be cut.

use super::read::{Check, Reader};
use super::{Limit, UpdateError};
use crate::json::{self, NotJson};
use smallvec::SmallVec;

/// What a struct holds, by its number on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// Clocks whose content is gone and belonged to something that is gone.
    Gc = 0,
    /// Content that is gone, at a place that is not.
    Deleted = 1,
    /// Values as JSON, of old documents.
    Json = 2,
    Binary = 3,
    Text = 4,
    Embed = 5,
    Format = 6,
    /// A nested type.
    Type = 7,
    /// Values.
    Any = 8,
    /// A sub-document.
    Doc = 9,
    /// Clocks that are not here.
    Skip = 10,
}

impl Kind {
    /// The kind in an info byte; none for an unknown one and for flags on what has no place.
    #[inline]
    pub(super) const fn of(info: u8) -> Option<Self> {
        Some(match info & 0x1f {
            0 if info == 0 => Self::Gc,
            1 => Self::Deleted,
            2 => Self::Json,
            3 => Self::Binary,
            4 => Self::Text,
            5 => Self::Embed,
            6 => Self::Format,
            7 => Self::Type,
            8 => Self::Any,
            9 => Self::Doc,
            10 if info == 10 => Self::Skip,
            _ => return None,
        })
    }

    /// Whether it has no place: neither origins nor a parent.
    #[inline]
    pub(super) const fn is_bare(self) -> bool {
        matches!(self, Self::Gc | Self::Skip)
    }
}

/// Passes over content: its length in clocks, and where it starts after its count or length.
#[inline]
pub(super) fn skip(
    reader: &mut Reader<'_>,
    kind: Kind,
    check: Check,
) -> Result<(u32, usize), UpdateError> {
    match kind {
        Kind::Text => {
            let text = reader.string(check)?;
            Ok((utf16_len(text), reader.at() - text.len()))
        }
        Kind::Gc | Kind::Deleted | Kind::Skip => {
            let len = reader.clock("a length in clocks")?;
            Ok((len, reader.at()))
        }
        Kind::Any => {
            let count = reader.count(1, "a number of values")?;
            let body = reader.at();
            for _ in 0..count {
                any(reader, check)?;
            }
            Ok((count as u32, body))
        }
        Kind::Json => {
            let count = reader.count(1, "a number of values")?;
            let body = reader.at();
            for _ in 0..count {
                json_or_undefined(reader, check)?;
            }
            Ok((count as u32, body))
        }
        Kind::Binary | Kind::Embed | Kind::Format | Kind::Type | Kind::Doc => {
            let body = reader.at();
            single(reader, kind, check)?;
            Ok((1, body))
        }
    }
}

/// Passes over content of a kind that is one value.
fn single(reader: &mut Reader<'_>, kind: Kind, check: Check) -> Result<(), UpdateError> {
    match kind {
        Kind::Binary => reader.buffer().map(drop),
        Kind::Embed => json(reader, check),
        Kind::Format => {
            reader.string(check)?;
            json(reader, check)
        }
        Kind::Type => {
            let at = reader.at();
            match reader.uint("a type")? {
                0 | 1 | 2 | 4 | 6 => Ok(()),
                // An XML element and an XML hook have names.
                3 | 5 => reader.string(check).map(drop),
                _ => Err(UpdateError::malformed(at, "a known type")),
            }
        }
        Kind::Doc => {
            reader.string(check)?;
            let at = reader.at();
            // Yjs reads fields of the options: they cannot be null.
            match reader.byte("options")? {
                OBJECT => {
                    reader.seek(at);
                    any(reader, check)
                }
                _ => Err(UpdateError::malformed(at, "options as an object")),
            }
        }
        Kind::Gc | Kind::Deleted | Kind::Json | Kind::Text | Kind::Any | Kind::Skip => Ok(()),
    }
}

fn json(reader: &mut Reader<'_>, check: Check) -> Result<(), UpdateError> {
    let text = reader.string(check)?;
    match check {
        Check::Bounds => Ok(()),
        Check::All(depth) => valid_json(text, reader.at() - text.len(), depth),
    }
}

fn valid_json(text: &[u8], offset: usize, depth: usize) -> Result<(), UpdateError> {
    json::check(text, depth).map_err(|(at, why)| match why {
        NotJson::Syntax(expected) => UpdateError::malformed(offset + at, expected),
        NotJson::TooDeep => UpdateError::Limit(Limit::TooDeep),
    })
}

fn json_or_undefined(reader: &mut Reader<'_>, check: Check) -> Result<(), UpdateError> {
    let text = reader.string(check)?;
    match check {
        Check::Bounds => Ok(()),
        Check::All(_) if text == b"undefined" => Ok(()),
        Check::All(depth) => valid_json(text, reader.at() - text.len(), depth),
    }
}

const OBJECT: u8 = 118;

/// Passes over one lib0 `Any` value, with a list of open containers instead of recursion.
fn any(reader: &mut Reader<'_>, check: Check) -> Result<(), UpdateError> {
    let deepest = match check {
        Check::All(depth) => depth,
        Check::Bounds => usize::MAX,
    };
    // Twice the number of values that are left in it, plus one for an object.
    let mut open: SmallVec<[u32; 16]> = SmallVec::new();
    loop {
        let at = reader.at();
        match reader.byte("a value")? {
            // undefined, null, false, true
            127 | 126 | 121 | 120 => {}
            125 => signed(reader)?,
            124 => drop(reader.take(4)?),
            // a double, a 64-bit integer
            123 | 122 => drop(reader.take(8)?),
            119 => drop(reader.string(check)?),
            116 => drop(reader.buffer()?),
            tag @ (OBJECT | 117) => {
                let object = tag == OBJECT;
                let count = reader.count(if object { 2 } else { 1 }, "a number of values")?;
                if open.len() >= deepest {
                    return Err(UpdateError::Limit(Limit::TooDeep));
                }
                if count > (u32::MAX >> 1) as usize {
                    return Err(UpdateError::Limit(Limit::TooLarge));
                }
                open.push((count as u32) << 1 | u32::from(object));
            }
            _ => return Err(UpdateError::malformed(at, "a kind of value")),
        }
        loop {
            match open.last_mut() {
                None => return Ok(()),
                Some(left) if *left < 2 => drop(open.pop()),
                Some(left) => {
                    *left -= 2;
                    if *left & 1 == 1 {
                        reader.string(check)?;
                    }
                    break;
                }
            }
        }
    }
}

/// A signed integer: bit 6 of its first byte is the sign, six bits are value.
fn signed(reader: &mut Reader<'_>) -> Result<(), UpdateError> {
    let at = reader.at();
    let mut shift = 0;
    loop {
        let byte = reader.byte("an integer")?;
        let bits = if shift == 0 { 6 } else { 7 };
        let group = u64::from(byte) & ((1 << bits) - 1);
        let fits = group == 0 || (shift <= 52 && group << shift < 1 << 53);
        if !fits || shift > 70 {
            return Err(UpdateError::malformed(at, "an integer of at most 53 bits"));
        }
        if byte < 0x80 {
            return Ok(());
        }
        shift += bits;
    }
}

/// The length of UTF-8 text in UTF-16 units, in which Yjs counts.
#[inline]
pub(super) fn utf16_len(text: &[u8]) -> u32 {
    let units = |&b: &u8| u8::from(b & 0xc0 != 0x80) + u8::from(b >= 0xf0);
    // Sums that fit a byte are added up sixteen at a time: 112 bytes are 112 units at most, and in
    // text that was never checked 224.
    text.chunks(112).map(|part| u32::from(part.iter().map(units).sum::<u8>())).sum()
}

/// A place in text between two UTF-16 units.
#[derive(Clone, Copy, Debug)]
pub(super) struct TextCut {
    /// Where the left part ends.
    pub(super) at: usize,
    /// Whether the place is inside a surrogate pair: four bytes that belong to neither side.
    pub(super) in_pair: bool,
}

impl TextCut {
    /// Where the right part starts.
    pub(super) const fn right(self) -> usize {
        if self.in_pair { self.at + 4 } else { self.at }
    }
}

/// The place after `units` of text that is `len` units long.
pub(super) fn cut_text(text: &[u8], len: u32, units: u32) -> TextCut {
    if text.len() == len as usize {
        return TextCut { at: units as usize, in_pair: false };
    }
    let (mut at, mut left) = (0, units);
    while left > 0 && at < text.len() {
        let (bytes, wide) = match text[at] {
            0xf0.. => (4, true),
            0xe0.. => (3, false),
            0xc0.. => (2, false),
            _ => (1, false),
        };
        if wide && left == 1 {
            // Text that was never checked may end in the middle of a character.
            return TextCut { at: at.min(text.len().saturating_sub(4)), in_pair: text.len() >= 4 };
        }
        left -= if wide { 2 } else { 1 };
        at += bytes;
    }
    TextCut { at: at.min(text.len()), in_pair: false }
}

/// As much content as there is room for, but something: how many clocks, and the offset after it.
pub(super) fn within(kind: Kind, body: &[u8], room: usize) -> Result<(u32, usize), UpdateError> {
    if kind == Kind::Text {
        let continues = |at: usize| body.get(at).is_some_and(|byte| byte & 0xc0 == 0x80);
        let mut at = room.clamp(1, body.len());
        while continues(at) {
            at += 1;
        }
        return Ok((utf16_len(&body[..at]), at));
    }
    let (mut reader, mut count) = (Reader::new(body), 0);
    while reader.remaining() > 0 && (count == 0 || reader.at() < room) {
        match kind {
            Kind::Json => drop(reader.buffer()?),
            _ => any(&mut reader, Check::Bounds)?,
        }
        count += 1;
    }
    Ok((count, reader.at()))
}

/// The offset after the first `count` values.
pub(super) fn cut_values(kind: Kind, body: &[u8], count: u32) -> Result<usize, UpdateError> {
    let mut reader = Reader::new(body);
    for _ in 0..count {
        match kind {
            Kind::Json => drop(reader.buffer()?),
            _ => any(&mut reader, Check::Bounds)?,
        }
    }
    Ok(reader.at())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_values_as_there_is_room_for_and_one_at_least() {
        // Three bytes each.
        let values = [119, 1, b'a'].repeat(5);
        for (room, count) in [(0, 1), (1, 1), (3, 1), (4, 2), (6, 2), (7, 3), (15, 5), (99, 5)] {
            assert_eq!(within(Kind::Any, &values, room), Ok((count, 3 * count as usize)), "{room}");
        }
        let values = [2, b'4', b'2'].repeat(5);
        for (room, count) in [(0, 1), (3, 1), (4, 2), (15, 5), (99, 5)] {
            assert_eq!(
                within(Kind::Json, &values, room),
                Ok((count, 3 * count as usize)),
                "{room}"
            );
        }
    }

    #[test]
    fn as_much_text_as_there_is_room_for_and_no_half_character() {
        // One, two, three and four bytes: five units.
        let text = "a\u{e4}\u{20ac}\u{1f600}".as_bytes();
        let ends = [(0, 1), (1, 1), (2, 3), (3, 3), (4, 6), (6, 6), (7, 10), (10, 10), (99, 10)];
        for (room, end) in ends {
            let units = utf16_len(&text[..end]);
            assert_eq!(within(Kind::Text, text, room), Ok((units, end)), "{room}");
        }
        assert_eq!(utf16_len(text), 5);
        let long = "\u{1f600}".repeat(1_000);
        assert_eq!(utf16_len(long.as_bytes()), 2_000);
    }

    #[test]
    fn text_is_cut_between_units_and_a_pair_in_its_middle() {
        let text = "a\u{e4}\u{20ac}\u{1f600}z".as_bytes();
        let cuts = [(0, 0), (1, 1), (2, 3), (3, 6), (5, 10), (6, 11)];
        for (units, at) in cuts {
            let cut = cut_text(text, 6, units);
            assert_eq!((cut.at, cut.in_pair, cut.right()), (at, false, at), "after {units}");
        }
        let cut = cut_text(text, 6, 4);
        assert_eq!((cut.at, cut.in_pair, cut.right()), (6, true, 10));
        // All units are bytes: it need not be looked at.
        assert_eq!(cut_text(b"plain", 5, 3).at, 3);
    }

    #[test]
    fn text_that_was_never_checked_is_cut_inside_itself() {
        for text in [&b"ab\xf0"[..], b"\xf0", b"\xe2", b"ab\xc3", b"\xf0\x9f"] {
            for units in 0..4 {
                let cut = cut_text(text, 9, units);
                assert!(cut.right() <= text.len(), "{text:?} after {units}: {cut:?}");
            }
        }
    }

    #[test]
    fn values_are_cut_after_so_many() {
        let values = [119, 2, b'a', b'b', 117, 1, 126, 125, 0x85, 1];
        for (count, at) in [(0, 0), (1, 4), (2, 7), (3, 10)] {
            assert_eq!(cut_values(Kind::Any, &values, count), Ok(at));
        }
        assert!(cut_values(Kind::Any, &values, 4).is_err());
        assert_eq!(cut_values(Kind::Json, &[2, b'4', b'2', 1, b'0'], 1), Ok(3));
    }
}
