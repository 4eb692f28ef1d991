//! What is decoded, however it comes, and what is refused.

use super::header::HEADER_BYTES;
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
        feed(&mut decoder, piece, &mut out);
        if matches!(out.last(), Some(Incoming::Breach(_))) {
            break;
        }
    }
    out
}

fn feed(decoder: &mut Decoder, bytes: &mut [u8], out: &mut Vec<Incoming>) {
    decoder.feed(bytes);
    out.extend(std::iter::from_fn(|| decoder.next()));
    assert!(!decoder.has_next());
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
    feed(&mut decoder, head, &mut out);
    assert!(decoder.capacity() < 250_000, "{}", decoder.capacity());
    feed(&mut decoder, tail, &mut out);
    assert_eq!(out.len(), 1);
    assert_eq!(decoder.capacity(), 0);
}

#[test]
fn fragments_count_for_their_own_message_only() {
    let mut first = frame(0x02, &[1; 900]);
    let last = frame(0x80, &[1; 50]);
    first.extend(&last[..20]);
    let mut rest = last[20..].to_vec();
    rest.extend([frame(0x02, &[2; 10]), frame(0x80, &[2; 200])].concat());
    let whole = |byte: u8, len: usize| Incoming::Message(Bytes::from(vec![byte; len]));
    assert_eq!(decode(&mut [first, rest], 1_000), [whole(1, 950), whole(2, 210)]);
    let long = [frame(0x02, &[1; 900]), frame(0x80, &[1; 101])].concat();
    assert_eq!(breach(long), 1009);
}

#[test]
fn frames_are_taken_apart_when_they_are_asked_for() {
    let mut decoder = Decoder::new(Side::Server, 1 << 20);
    let mut bytes = frame(0x82, b"x").repeat(4_000);
    decoder.feed(&mut bytes);
    for _ in 0..3_999 {
        assert_eq!(decoder.next(), Some(Incoming::Message(Bytes::from_static(b"x"))));
        assert!(decoder.has_next());
    }
    assert!(decoder.next().is_some() && !decoder.has_next() && decoder.next().is_none());
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
            feed(&mut decoder, &mut bytes, &mut out);
            assert!(decoder.held_bytes() <= fed.min(2_000 + HEADER_BYTES));
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
            feed(&mut decoder, &mut byte, &mut out);
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
        feed(&mut server, &mut sent, &mut out);
        assert_eq!(out, [Incoming::Message(payload.clone().into())], "{len}");
        let mut answer = Vec::new();
        write_header(Opcode::Binary, len, &mut answer);
        answer.extend_from_slice(&payload);
        for size in [1, 7, answer.len()] {
            let (mut client, mut out) = (Decoder::new(Side::Client, 1 << 20), Vec::new());
            for mut piece in answer.chunks(size).map(<[u8]>::to_vec) {
                feed(&mut client, &mut piece, &mut out);
            }
            assert_eq!(out, [Incoming::Message(payload.clone().into())], "{len} by {size}");
        }
    }
    let (mut client, mut out) = (Decoder::new(Side::Client, 1000), Vec::new());
    feed(&mut client, &mut frame(0x82, b"masked"), &mut out);
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
            feed(&mut decoder, &mut piece.clone(), &mut out);
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
