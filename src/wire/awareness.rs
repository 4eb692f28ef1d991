//! What an awareness message carries: a count, and that many clients with a clock and a state.

use super::error::{Expected, WireError};
use super::message::Cursor;
use super::varint;
use crate::update::ClientId;
use bytes::{BufMut, Bytes, BytesMut};

/// The JSON of a client that is gone.
pub const GONE: &str = "null";

/// A client, its clock, and one byte of length: no entry is shorter.
const MIN_ENTRY: usize = 3;

/// One client's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Whose.
    pub client: ClientId,
    /// Counts this client's states; below 2⁵³.
    pub clock: u64,
    /// The state as JSON, not yet checked; [`GONE`] if there is none any more.
    pub json: &'a str,
}

/// Reads an awareness payload.
///
/// Fails at once if the count is more than the payload can hold. The entries are checked as they
/// are read; after an error nothing more comes.
pub fn entries(payload: &[u8]) -> Result<Entries<'_>, WireError> {
    let mut cursor = Cursor::new(payload);
    let at = cursor;
    let count = cursor.number(Expected::Count)?;
    match usize::try_from(count) {
        Ok(left) if left <= cursor.remaining() / MIN_ENTRY => {
            Ok(Entries { cursor, left, over: false })
        }
        Ok(_) | Err(_) => Err(at.missed(Expected::Count)),
    }
}

/// The entries of an awareness payload; see [`entries`].
#[derive(Clone, Debug)]
pub struct Entries<'a> {
    cursor: Cursor<'a>,
    left: usize,
    over: bool,
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<Entry<'a>, WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        if self.left == 0 {
            self.over = true;
            return (!self.cursor.is_empty()).then(|| Err(self.cursor.missed(Expected::End)));
        }
        self.left -= 1;
        let entry = read_entry(&mut self.cursor);
        self.over = entry.is_err();
        Some(entry)
    }
}

impl std::iter::FusedIterator for Entries<'_> {}

fn read_entry<'a>(cursor: &mut Cursor<'a>) -> Result<Entry<'a>, WireError> {
    Ok(Entry {
        client: ClientId(cursor.number(Expected::ClientId)?),
        clock: cursor.number(Expected::Clock)?,
        json: cursor.text()?,
    })
}

/// Writes an awareness payload.
pub fn write<'a, I>(entries: I) -> Bytes
where
    I: IntoIterator<Item = Entry<'a>>,
    I::IntoIter: Clone,
{
    let entries = entries.into_iter();
    let (count, bytes) = entries.clone().fold((0, 0), |(count, bytes), entry| {
        (count + 1, bytes + entry.json.len() + 3 * varint::MAX_LEN)
    });
    let mut out = BytesMut::with_capacity(varint::MAX_LEN + bytes);
    varint::write(&mut out, count);
    for entry in entries {
        varint::write(&mut out, entry.client.0);
        varint::write(&mut out, entry.clock);
        varint::write(&mut out, entry.json.len() as u64);
        out.put_slice(entry.json.as_bytes());
    }
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(payload: &[u8]) -> Result<Vec<Entry<'_>>, WireError> {
        entries(payload)?.collect()
    }

    #[test]
    fn a_payload_without_entries_is_read() {
        assert_eq!(all(&[0]), Ok(vec![]));
    }

    #[test]
    fn an_example_is_read_and_written() {
        let payload = b"\x02\x07\x01\x02{}\x80\x01\x02\x04null";
        let read = vec![
            Entry { client: ClientId(7), clock: 1, json: "{}" },
            Entry { client: ClientId(128), clock: 2, json: GONE },
        ];
        assert_eq!(all(payload), Ok(read.clone()));
        assert_eq!(write(read)[..], payload[..]);
    }

    #[test]
    fn a_count_that_the_bytes_cannot_hold_is_refused_before_anything_is_read() {
        let bomb = [0x80, 0x84, 0xaf, 0x5f, 1, 1, 0];
        let refused = WireError { offset: 0, expected: Expected::Count };
        assert_eq!(entries(&bomb).err(), Some(refused));
        assert_eq!(entries(&[]).err(), Some(refused));
        assert_eq!(entries(&[1, 1, 1]).err(), Some(refused));
    }

    #[test]
    fn what_follows_the_last_entry_is_an_error() {
        let refused = WireError { offset: 1, expected: Expected::End };
        assert_eq!(all(&[0, 0]), Err(refused));
    }

    #[test]
    fn ids_and_clocks_end_at_53_bits() {
        let entry = Entry { client: ClientId(varint::MAX), clock: varint::MAX, json: "1" };
        assert_eq!(all(&write([entry])), Ok(vec![entry]));
        let beyond = Entry { client: ClientId(varint::MAX + 1), ..entry };
        assert_eq!(all(&write([beyond])).unwrap_err().expected, Expected::ClientId);
        let beyond = Entry { clock: varint::MAX + 1, ..entry };
        assert_eq!(all(&write([beyond])).unwrap_err().expected, Expected::Clock);
    }

    #[test]
    fn a_state_that_is_not_text_is_an_error() {
        assert_eq!(all(&[1, 1, 1, 1, 0xff]).unwrap_err().expected, Expected::Text);
    }

    fn any_entries() -> impl Strategy<Value = Vec<(u64, u64, String)>> {
        proptest::collection::vec((0..=varint::MAX, 0..=varint::MAX, ".{0,40}"), 0..6)
    }

    fn borrowed(owned: &[(u64, u64, String)]) -> Vec<Entry<'_>> {
        owned
            .iter()
            .map(|(client, clock, json)| Entry { client: ClientId(*client), clock: *clock, json })
            .collect()
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(owned in any_entries()) {
            let given = borrowed(&owned);
            let payload = write(given.clone());
            prop_assert_eq!(all(&payload), Ok(given));
        }

        #[test]
        fn every_truncation_is_an_error(owned in any_entries()) {
            let payload = write(borrowed(&owned));
            for cut in 0..payload.len() {
                prop_assert!(all(&payload[..cut]).is_err());
            }
        }

        #[test]
        fn no_payload_panics(payload in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = all(&payload);
        }
    }
}
