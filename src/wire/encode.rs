//! Writes messages: each function returns one frame of one message.

use super::{tag, varint};
use bytes::{BufMut, Bytes, BytesMut};

/// An awareness message without entries: a data frame that changes nothing.
///
/// y-websocket takes a connection for dead that brings no data frame for 30 s.
pub const KEEPALIVE: &[u8] = &[0x01, 0x01, 0x00];

/// "This is what I have."
pub fn sync_step1(state_vector: &[u8]) -> Bytes {
    sync(tag::SYNC_STEP_1, state_vector)
}

/// "This is what you lack."
pub fn sync_step2(update: &[u8]) -> Bytes {
    sync(tag::SYNC_STEP_2, update)
}

/// "This is new."
pub fn update(update: &[u8]) -> Bytes {
    sync(tag::SYNC_UPDATE, update)
}

/// States of presence, as [`awareness::write`](super::awareness::write) makes them.
pub fn awareness(payload: &[u8]) -> Bytes {
    frame(&[tag::AWARENESS], payload)
}

/// A refusal, with its reason.
pub fn auth_denied(reason: &str) -> Bytes {
    frame(&[tag::AUTH, tag::AUTH_DENIED], reason.as_bytes())
}

/// A permission.
pub const fn auth_granted() -> Bytes {
    Bytes::from_static(&[tag::AUTH as u8, tag::AUTH_GRANTED as u8])
}

/// A question for all states of presence.
pub const fn query_awareness() -> Bytes {
    Bytes::from_static(&[tag::QUERY_AWARENESS as u8])
}

/// A version to be sent back, or sent back.
pub fn sync_status(payload: &[u8]) -> Bytes {
    frame(&[tag::SYNC_STATUS], payload)
}

/// A message of the application's own type, its body as it is; types below 128 belong to protocols.
pub fn custom(tag: u64, body: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(varint::len(tag) + body.len());
    varint::write(&mut out, tag);
    out.put_slice(body);
    out.freeze()
}

fn sync(kind: u64, payload: &[u8]) -> Bytes {
    frame(&[tag::SYNC, kind], payload)
}

fn frame(tags: &[u64], payload: &[u8]) -> Bytes {
    let len = payload.len() as u64;
    let mut out = BytesMut::with_capacity(tags.len() + varint::len(len) + payload.len());
    for &tag in tags {
        varint::write(&mut out, tag);
    }
    varint::write(&mut out, len);
    out.put_slice(payload);
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_protocol_are_written() {
        assert_eq!(sync_step1(&[0])[..], [0, 0, 1, 0]);
        assert_eq!(sync_step2(&[0, 0])[..], [0, 1, 2, 0, 0]);
        assert_eq!(update(&[0, 0])[..], [0, 2, 2, 0, 0]);
        assert_eq!(auth_denied("nope")[..], *b"\x02\x00\x04nope");
        assert_eq!(query_awareness()[..], [3]);
        assert_eq!(awareness(&[0])[..], *KEEPALIVE);
        assert_eq!(sync_status(&[7])[..], [0x66, 1, 7]);
        assert_eq!(custom(128, &[9])[..], [0x80, 1, 9]);
    }

    #[test]
    fn a_frame_is_allocated_once_at_its_length() {
        let frame = update(&[7; 300]);
        assert_eq!(frame.len(), 2 + 2 + 300);
        assert_eq!(frame.try_into_mut().expect("sole owner").capacity(), 304);
    }
}
