//! What the WebSocket layer takes, answers and refuses.

use super::{patient, start};
use crate::support::{
    BINARY, CLOSE, Got, PING, Peer, TEXT, contains, eventually, frame, frame_head, typing,
};
use std::io::Write;
use std::thread;
use yroom::{Config, Limits};
use yroom_net::Runtime;

suite! {
    a_text_frame_is_closed_with_1003
    a_frame_over_the_limit_is_closed_with_1009_though_the_peer_still_sends
    nonsense_of_the_websocket_layer_is_closed_with_1002_and_bad_text_with_1007
    a_ping_is_answered
    of_many_pings_the_newest_is_answered
    fragments_and_single_bytes_make_the_same_frames
}

fn a_text_frame_is_closed_with_1003<R: Runtime>() {
    let server = start::<R>();
    let (mut peer, _) = Peer::join(server.local_addr(), "room");
    peer.stream.write_all(&frame(TEXT, b"hello")).unwrap();
    let (code, reason) = peer.wait_for_close();
    assert_eq!(code, 1003);
    assert!(reason.contains("binary"), "{reason}");
}

fn a_frame_over_the_limit_is_closed_with_1009_though_the_peer_still_sends<R: Runtime>() {
    let limits = Limits { frame_bytes: 10_000, ..Limits::default() };
    let server = patient::<R>(Config { limits, ..Config::default() });
    let (mut ann, _) = Peer::join(server.local_addr(), "room");
    let (mut bob, _) = Peer::join(server.local_addr(), "room");
    let (code, reason) = {
        let mut sender = ann.stream.try_clone().unwrap();
        let writing = thread::spawn(move || {
            // Announced, and partly sent: what the server does not read must not reset the socket.
            let _ = sender.write_all(&frame_head(0x80 | BINARY, 3_000_000));
            let _ = sender.write_all(&vec![7; 1_000_000]);
        });
        let closed = ann.wait_for_close();
        writing.join().unwrap();
        closed
    };
    assert_eq!(code, 1009);
    assert!(reason.contains("10000"), "{reason}");
    // In fragments, each below the limit, it is no smaller.
    let (mut cal, _) = Peer::join(server.local_addr(), "room");
    for first in [BINARY, 0] {
        let mut part = frame_head(first, 6_000);
        part.resize(part.len() + 6_000, 1);
        cal.stream.write_all(&part).unwrap();
    }
    assert_eq!(cal.wait_for_close().0, 1009);
    bob.update(&typing(2, 0, "still here"));
    eventually(|| contains(&Peer::join(server.local_addr(), "room").1, b"still here"));
}

fn nonsense_of_the_websocket_layer_is_closed_with_1002_and_bad_text_with_1007<R: Runtime>() {
    let server = patient::<R>(Config::default());
    let nonsense: [(&str, Vec<u8>, u16); 7] = [
        ("an unmasked frame", vec![0x82, 0x01, 0x00], 1002),
        ("a reserved opcode", frame(3, b"x"), 1002),
        ("a reserved bit", frame_head(0xc2, 0), 1002),
        ("a continuation of nothing", frame(0, b"x"), 1002),
        ("a long ping", frame(PING, &[0; 126]), 1002),
        ("a ping in fragments", frame_head(PING, 0), 1002),
        ("a reason that is not UTF-8", frame(CLOSE, &[3, 232, 0xff]), 1007),
    ];
    for (what, bytes, expected) in nonsense {
        let (mut peer, _) = Peer::join(server.local_addr(), "room");
        peer.stream.write_all(&bytes).unwrap();
        assert_eq!(peer.wait_for_close().0, expected, "{what}");
    }
}

fn a_ping_is_answered<R: Runtime>() {
    let server = start::<R>();
    let (mut peer, _) = Peer::join(server.local_addr(), "room");
    peer.stream.write_all(&frame(PING, b"are you there")).unwrap();
    loop {
        match peer.next() {
            Got::Pong(payload) => break assert_eq!(payload, b"are you there"),
            Got::Message(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

fn of_many_pings_the_newest_is_answered<R: Runtime>() {
    let server = start::<R>();
    let (mut peer, _) = Peer::join(server.local_addr(), "room");
    let mut answered = Vec::new();
    for (pings, each) in [(10_u32, true), (2_000, false)] {
        let sent: Vec<u8> = (0..pings).flat_map(|ping| frame(PING, &ping.to_be_bytes())).collect();
        peer.stream.write_all(&sent).unwrap();
        answered.clear();
        while answered.last() != Some(&(pings - 1)) {
            match peer.next() {
                Got::Pong(payload) => {
                    answered.push(u32::from_be_bytes(payload.try_into().expect("a ping's")));
                }
                Got::Message(_) => {}
                other => panic!("{other:?} after {answered:?}"),
            }
        }
        assert!(answered.is_sorted(), "{answered:?}");
        assert!(!each || answered.len() == pings as usize, "{answered:?}");
    }
}

fn fragments_and_single_bytes_make_the_same_frames<R: Runtime>() {
    let server = start::<R>();
    let (mut ann, _) = Peer::join(server.local_addr(), "room");
    let (mut bob, _) = Peer::join(server.local_addr(), "room");
    let update = typing(1, 0, "in pieces");
    let mut message = vec![0, 2, update.len() as u8];
    message.extend(&update);
    let (head, tail) = message.split_at(5);
    let mut pieces = frame(BINARY, head);
    pieces[0] &= 0x7f;
    pieces.extend(frame(PING, b"between"));
    pieces.extend(frame(0, tail));
    for byte in pieces {
        ann.stream.write_all(&[byte]).unwrap();
    }
    let seen = bob.wait_for_content("in pieces");
    assert_eq!(seen, message);
}
