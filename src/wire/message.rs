//! Reads the messages of a frame.

use super::error::{Expected, WireError};
use super::{tag, varint};

/// One message, borrowed from its frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// "This is what I have": a state vector.
    SyncStep1(&'a [u8]),
    /// "This is what you lack", in answer to a `SyncStep1`: an update.
    SyncStep2(&'a [u8]),
    /// "This is new": an update.
    Update(&'a [u8]),
    /// States of presence, to be read by [`awareness::entries`](super::awareness::entries).
    Awareness(&'a [u8]),
    /// The server refuses, and says why.
    AuthDenied(&'a str),
    /// The server permits; yrs' addition.
    AuthGranted,
    /// Asks for all states of presence.
    QueryAwareness,
    /// A version that the other side sends back once it has come that far; y-sweet's addition.
    SyncStatus(&'a [u8]),
    /// A message of a type that is not known here.
    Unknown {
        /// Its type.
        tag: u64,
        /// All that follows in the frame: where this message ends only its sender knows.
        body: &'a [u8],
    },
}

/// Reads the messages of one frame.
///
/// An empty frame is an error, not a frame without messages. After an error nothing more comes.
///
/// ```
/// use yroom::wire::{Message, messages};
///
/// let mut found = messages(&[0, 0, 1, 0, 3]);
/// assert_eq!(found.next(), Some(Ok(Message::SyncStep1(&[0]))));
/// assert_eq!(found.next(), Some(Ok(Message::QueryAwareness)));
/// assert_eq!(found.next(), None);
/// assert!(messages(&[0, 0, 1]).next().unwrap().is_err());
/// ```
pub const fn messages(frame: &[u8]) -> Messages<'_> {
    Messages { cursor: Cursor::new(frame), state: State::First }
}

/// The messages of one frame; see [`messages`].
#[derive(Clone, Debug)]
pub struct Messages<'a> {
    cursor: Cursor<'a>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    First,
    Further,
    Over,
}

impl<'a> Messages<'a> {
    /// What of the frame has not been read yet.
    pub const fn rest(&self) -> &'a [u8] {
        self.cursor.rest
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Result<Message<'a>, WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.state {
            State::Over => return None,
            State::Further if self.cursor.is_empty() => return None,
            State::First | State::Further => {}
        }
        let message = read_message(&mut self.cursor);
        self.state = if message.is_ok() { State::Further } else { State::Over };
        Some(message)
    }
}

impl std::iter::FusedIterator for Messages<'_> {}

fn read_message<'a>(cursor: &mut Cursor<'a>) -> Result<Message<'a>, WireError> {
    match cursor.number(Expected::MessageType)? {
        tag::SYNC => read_sync(cursor),
        tag::AWARENESS => Ok(Message::Awareness(cursor.sized()?)),
        tag::AUTH => read_auth(cursor),
        tag::QUERY_AWARENESS => Ok(Message::QueryAwareness),
        tag::SYNC_STATUS => Ok(Message::SyncStatus(cursor.sized()?)),
        tag => Ok(Message::Unknown { tag, body: cursor.take_rest() }),
    }
}

fn read_sync<'a>(cursor: &mut Cursor<'a>) -> Result<Message<'a>, WireError> {
    let at = *cursor;
    match cursor.number(Expected::SyncType)? {
        tag::SYNC_STEP_1 => Ok(Message::SyncStep1(cursor.sized()?)),
        tag::SYNC_STEP_2 => Ok(Message::SyncStep2(cursor.sized()?)),
        tag::SYNC_UPDATE => Ok(Message::Update(cursor.sized()?)),
        _ => Err(at.missed(Expected::SyncType)),
    }
}

fn read_auth<'a>(cursor: &mut Cursor<'a>) -> Result<Message<'a>, WireError> {
    let at = *cursor;
    match cursor.number(Expected::AuthType)? {
        tag::AUTH_DENIED => Ok(Message::AuthDenied(cursor.text()?)),
        tag::AUTH_GRANTED => Ok(Message::AuthGranted),
        _ => Err(at.missed(Expected::AuthType)),
    }
}

/// A place in a buffer, from which nothing beyond the end can be read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
    len: usize,
}

impl<'a> Cursor<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, len: bytes.len() }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) const fn remaining(&self) -> usize {
        self.rest.len()
    }

    pub(super) const fn missed(&self, expected: Expected) -> WireError {
        WireError { offset: self.len - self.rest.len(), expected }
    }

    pub(super) fn number(&mut self, expected: Expected) -> Result<u64, WireError> {
        varint::read(&mut self.rest).ok_or_else(|| self.missed(expected))
    }

    pub(super) fn sized(&mut self) -> Result<&'a [u8], WireError> {
        let at = *self;
        let len = self.number(Expected::Sized)?;
        let split = usize::try_from(len).ok().and_then(|len| self.rest.split_at_checked(len));
        let (bytes, rest) = split.ok_or_else(|| at.missed(Expected::Sized))?;
        self.rest = rest;
        Ok(bytes)
    }

    pub(super) fn text(&mut self) -> Result<&'a str, WireError> {
        let at = *self;
        std::str::from_utf8(self.sized()?).map_err(|_| at.missed(Expected::Text))
    }

    const fn take_rest(&mut self) -> &'a [u8] {
        let rest = self.rest;
        self.rest = &[];
        rest
    }
}

#[cfg(test)]
mod tests {
    use super::super::encode;
    use super::*;
    use proptest::prelude::*;

    fn only(frame: &[u8]) -> Result<Message<'_>, WireError> {
        let mut found = messages(frame);
        let first = found.next().expect("a frame has a message or an error");
        assert_eq!(found.next(), None, "{frame:02x?}");
        first
    }

    #[test]
    fn the_examples_of_the_protocol_are_read() {
        assert_eq!(only(&[0, 0, 1, 0]), Ok(Message::SyncStep1(&[0])));
        assert_eq!(only(&[0, 1, 2, 0, 0]), Ok(Message::SyncStep2(&[0, 0])));
        assert_eq!(only(&[0, 2, 2, 0, 0]), Ok(Message::Update(&[0, 0])));
        assert_eq!(only(&[1, 1, 0]), Ok(Message::Awareness(&[0])));
        assert_eq!(only(b"\x02\x00\x04nope"), Ok(Message::AuthDenied("nope")));
        assert_eq!(only(&[2, 1]), Ok(Message::AuthGranted));
        assert_eq!(only(&[3]), Ok(Message::QueryAwareness));
        assert_eq!(only(&[0x66, 1, 7]), Ok(Message::SyncStatus(&[7])));
        assert_eq!(only(&[125, 1, 2]), Ok(Message::Unknown { tag: 125, body: &[1, 2] }));
        assert_eq!(only(&[0x80, 1, 9]), Ok(Message::Unknown { tag: 128, body: &[9] }));
    }

    #[test]
    fn several_messages_of_one_frame_are_read_in_order() {
        let frame = [0, 0, 1, 0, 3, 1, 1, 0];
        let found: Result<Vec<_>, _> = messages(&frame).collect();
        let expected =
            vec![Message::SyncStep1(&[0]), Message::QueryAwareness, Message::Awareness(&[0])];
        assert_eq!(found, Ok(expected));
    }

    #[test]
    fn what_comes_before_an_error_is_read_and_nothing_after_it() {
        let mut found = messages(&[3, 0, 9, 3, 3]);
        assert_eq!(found.next(), Some(Ok(Message::QueryAwareness)));
        assert_eq!(found.next(), Some(Err(WireError { offset: 2, expected: Expected::SyncType })));
        assert_eq!(found.next(), None);
        assert_eq!(found.next(), None);
    }

    #[test]
    fn an_empty_frame_is_an_error() {
        assert_eq!(only(&[]), Err(WireError { offset: 0, expected: Expected::MessageType }));
    }

    #[test]
    fn unknown_sync_and_auth_types_are_errors() {
        assert_eq!(only(&[0, 3, 0]).unwrap_err().expected, Expected::SyncType);
        assert_eq!(only(&[2, 2]).unwrap_err().expected, Expected::AuthType);
    }

    #[test]
    fn a_length_beyond_the_frame_is_an_error_at_the_length() {
        let huge = [0, 2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f, 1];
        assert_eq!(only(&huge), Err(WireError { offset: 2, expected: Expected::Sized }));
        assert_eq!(only(&[1, 5, 0]), Err(WireError { offset: 1, expected: Expected::Sized }));
    }

    #[test]
    fn a_refusal_that_is_not_text_is_an_error() {
        assert_eq!(only(&[2, 0, 1, 0xff]).unwrap_err().expected, Expected::Text);
    }

    #[test]
    fn padded_numbers_are_read() {
        let frame = [0x80, 0x00, 0x82, 0x00, 0x82, 0x80, 0x00, 0, 0];
        assert_eq!(only(&frame), Ok(Message::Update(&[0, 0])));
    }

    fn any_known_frame() -> impl Strategy<Value = Vec<u8>> {
        let payload = || proptest::collection::vec(any::<u8>(), 0..200);
        prop_oneof![
            payload().prop_map(|p| encode::sync_step1(&p).to_vec()),
            payload().prop_map(|p| encode::sync_step2(&p).to_vec()),
            payload().prop_map(|p| encode::update(&p).to_vec()),
            payload().prop_map(|p| encode::awareness(&p).to_vec()),
            payload().prop_map(|p| encode::sync_status(&p).to_vec()),
            any::<String>().prop_map(|s| encode::auth_denied(&s).to_vec()),
            Just(encode::auth_granted().to_vec()),
            Just(encode::query_awareness().to_vec()),
        ]
    }

    fn written(message: Message<'_>) -> Vec<u8> {
        match message {
            Message::SyncStep1(p) => encode::sync_step1(p),
            Message::SyncStep2(p) => encode::sync_step2(p),
            Message::Update(p) => encode::update(p),
            Message::Awareness(p) => encode::awareness(p),
            Message::AuthDenied(reason) => encode::auth_denied(reason),
            Message::AuthGranted => encode::auth_granted(),
            Message::QueryAwareness => encode::query_awareness(),
            Message::SyncStatus(p) => encode::sync_status(p),
            Message::Unknown { tag, body } => encode::custom(tag, body),
        }
        .to_vec()
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(frames in proptest::collection::vec(any_known_frame(), 1..5)) {
            let packed = frames.concat();
            let again: Vec<Vec<u8>> =
                messages(&packed).map(|message| written(message.expect("valid"))).collect();
            prop_assert_eq!(again, frames);
        }

        #[test]
        fn every_truncation_of_a_message_is_an_error(frame in any_known_frame()) {
            for cut in 0..frame.len() {
                prop_assert!(only(&frame[..cut]).is_err(), "{} of {:02x?}", cut, frame);
            }
        }

        #[test]
        fn a_message_of_any_unknown_type_keeps_its_body(
            tag in 128..=varint::MAX,
            body in proptest::collection::vec(any::<u8>(), 0..50),
        ) {
            let frame = encode::custom(tag, &body);
            prop_assert_eq!(only(&frame), Ok(Message::Unknown { tag, body: &body }));
        }

        #[test]
        fn no_frame_panics_and_no_error_lies_beyond_it(
            frame in proptest::collection::vec(any::<u8>(), 0..64),
        ) {
            for found in messages(&frame) {
                if let Err(error) = found {
                    prop_assert!(error.offset <= frame.len());
                }
            }
        }
    }
}
