//! The server on real sockets, the same for each runtime.
#![allow(missing_docs, reason = "the names of tests are sentences")]

#[allow(dead_code, reason = "each file of tests uses a part of it")]
mod support;
#[macro_use]
#[path = "support/suite.rs"]
mod suite;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use support::{
    BINARY, CLOSE, Got, PATIENCE, PING, Peer, TEXT, ask, contains, eventually, frame, frame_head,
    request, typing,
};
use yroom::{Access, Config, Event, Limits, RoomName, StoreFault, StoreFaultKind, StoreOp};
use yroom_net::store::{MemoryStore, Reply, Store};
use yroom_net::{Notice, Refusal, Running, Runtime, Server, Timeouts};

suite! {
    two_peers_sync_and_a_newcomer_gets_everything
    peers_of_a_room_meet_whichever_thread_accepts_them
    a_text_frame_is_closed_with_1003
    a_frame_over_the_limit_is_closed_with_1009_though_the_peer_still_sends
    nonsense_of_the_websocket_layer_is_closed_with_1002_and_bad_text_with_1007
    a_malformed_update_is_closed_with_1007_and_the_neighbour_is_unharmed
    an_unknown_message_is_ignored
    a_bad_request_is_answered_in_words
    too_many_connections_are_refused_with_503
    a_slow_handshake_is_cut_off
    peers_that_flood_hold_nobody_up
    a_silent_peer_that_answers_no_ping_is_gone_and_one_that_answers_stays
    a_ping_is_answered
    of_many_pings_the_newest_is_answered
    fragments_and_single_bytes_make_the_same_frames
    frames_sent_before_the_handshake_is_answered_are_not_lost
    a_shutdown_closes_with_1012_and_keeps_what_was_sent
    the_last_edit_before_leaving_is_stored
    two_clients_opening_a_new_room_at_once_both_sync
    a_failing_store_stops_a_writer_and_lets_it_go_on
    a_shutdown_says_what_the_store_did_not_take
    a_peer_that_reads_nothing_holds_nobody_up_and_catches_up
    a_socket_that_is_upgraded_already_is_served
    a_server_that_does_not_listen_serves_what_it_is_given
    a_peer_that_vanishes_is_noticed
    a_store_that_panics_ends_its_shard_and_is_told
    a_server_is_stopped_from_elsewhere
    a_server_that_is_dropped_ends_in_order
    who_may_only_read_changes_nothing_and_who_may_nothing_gets_an_answer
}

const FAST: Timeouts = Timeouts {
    handshake: Duration::from_millis(400),
    authorize: Duration::from_millis(400),
    ping_after: Duration::from_millis(300),
    pong_within: Duration::from_millis(300),
    closing: Duration::from_secs(1),
    drain: Duration::from_secs(3),
};

fn start<R: Runtime>() -> Running {
    start_with::<R>(Config::default())
}

fn start_with<R: Runtime>(config: Config) -> Running {
    Server::<R>::new(config).threads(2).bind("127.0.0.1:0").expect("it binds")
}

/// A server that waits longer for a peer's end than a test does for the server's.
fn patient<R: Runtime>(config: Config) -> Running {
    let timeouts = Timeouts { closing: 2 * PATIENCE, ..Timeouts::default() };
    Server::<R>::new(config).timeouts(timeouts).threads(2).bind("127.0.0.1:0").expect("it binds")
}

fn two_peers_sync_and_a_newcomer_gets_everything<R: Runtime>() {
    let server = start::<R>();
    let (mut ann, nothing) = Peer::join(server.local_addr(), "room");
    assert_eq!(nothing, [0, 1, 2, 0, 0], "an empty SyncStep2");
    let (mut bob, _) = Peer::join(server.local_addr(), "room");
    ann.update(&typing(1, 0, "from ann"));
    let seen = bob.wait_for_content("from ann");
    assert!(seen.ends_with(&typing(1, 0, "from ann")), "relayed as it came");
    bob.update(&typing(2, 0, "from bob"));
    ann.wait_for_content("from bob");
    let (_cal, everything) = Peer::join(server.local_addr(), "room");
    assert!(contains(&everything, b"from ann") && contains(&everything, b"from bob"));
    let (_dan, other) = Peer::join(server.local_addr(), "other/room?token=x");
    assert_eq!(other, [0, 1, 2, 0, 0], "another room");
    assert!(server.shutdown().is_clean());
}

fn peers_of_a_room_meet_whichever_thread_accepts_them<R: Runtime>() {
    let server = Server::<R>::new(Config::default()).threads(3).bind("127.0.0.1:0").unwrap();
    for room in 0..24 {
        let room = format!("room-{room}");
        let (mut ann, _) = Peer::join(server.local_addr(), &room);
        let (mut bob, _) = Peer::join(server.local_addr(), &room);
        ann.update(&typing(1, 0, &room));
        bob.wait_for_content(&room);
    }
    assert!(server.shutdown().is_clean());
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

fn a_malformed_update_is_closed_with_1007_and_the_neighbour_is_unharmed<R: Runtime>() {
    let server = start::<R>();
    let (mut bob, _) = Peer::join(server.local_addr(), "room");
    for malformed in [&[1, 1, 1, 0, 4][..], &[0xff; 16], &[9]] {
        let (mut ann, _) = Peer::join(server.local_addr(), "room");
        ann.update(malformed);
        let (code, reason) = ann.wait_for_close();
        assert_eq!(code, 1007, "{malformed:?}: {reason}");
        assert!(!reason.is_empty());
    }
    bob.update(&typing(2, 0, "unharmed"));
    eventually(|| contains(&Peer::join(server.local_addr(), "room").1, b"unharmed"));
}

fn an_unknown_message_is_ignored<R: Runtime>() {
    let server = start::<R>();
    let (mut ann, _) = Peer::join(server.local_addr(), "room");
    let (mut bob, _) = Peer::join(server.local_addr(), "room");
    ann.send(&[0xc8, 0x01, 1, 2, 3]);
    ann.update(&typing(1, 0, "goes on"));
    bob.wait_for_content("goes on");
}

fn a_bad_request_is_answered_in_words<R: Runtime>() {
    let server = patient::<R>(Config::default());
    let addr = server.local_addr();
    let good = request("/room");
    let long_name = request(&format!("/{}", "r".repeat(256)));
    let long_target = request(&format!("/room?{}", "t".repeat(5_000)));
    let long_head = format!("GET /room HTTP/1.1\r\nCookie: {}\r\n\r\n", "c".repeat(20_000));
    let many_headers = good.replace("\r\n\r\n", &format!("\r\n{}\r\n", "A: b\r\n".repeat(64)));
    for (request, expected) in [
        (good.replace("GET", "POST"), 405),
        ("GET /room HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(), 426),
        (good.replace("Version: 13", "Version: 8"), 426),
        (good.replace("dGhl", "d"), 400),
        (request("/"), 400),
        ("\u{1}\u{2}\r\n\r\n".to_owned(), 400),
        (long_name, 414),
        (long_target, 414),
        (long_head, 431),
        (many_headers, 431),
    ] {
        let (status, sentence) = ask(addr, request.as_bytes());
        assert_eq!(status, expected, "{request}");
        assert!(sentence.trim().len() > 10, "a sentence, not {sentence:?}");
    }
    assert_eq!(ask(addr, b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n"), (200, "ok\n".to_owned()));
}

fn too_many_connections_are_refused_with_503<R: Runtime>() {
    let limits = Limits { connections: 1, ..Limits::default() };
    let config = Config { limits, ..Config::default() };
    let server = Server::<R>::new(config).threads(1).bind("127.0.0.1:0").unwrap();
    let (ann, _) = Peer::join(server.local_addr(), "room");
    let (status, sentence) = ask(server.local_addr(), request("/room").as_bytes());
    assert_eq!(status, 503);
    assert!(sentence.contains("connections"), "{sentence}");
    ann.leave();
    eventually(|| {
        TcpStream::connect(server.local_addr()).is_ok_and(|mut stream| {
            stream.write_all(request("/room").as_bytes()).unwrap();
            let mut status = [0; 12];
            stream.read_exact(&mut status).is_ok() && status.ends_with(b"101")
        })
    });
}

fn a_slow_handshake_is_cut_off<R: Runtime>() {
    let server =
        Server::<R>::new(Config::default()).timeouts(FAST).bind("127.0.0.1:0").expect("it binds");
    let began = Instant::now();
    let mut slow = TcpStream::connect(server.local_addr()).unwrap();
    slow.set_read_timeout(Some(PATIENCE)).unwrap();
    // Traffic must not put the deadline off.
    for byte in request("/room").as_bytes().iter().take(100) {
        if slow.write_all(&[*byte]).is_err() {
            break;
        }
        thread::sleep(Duration::from_millis(20));
    }
    let mut answer = String::new();
    let _ = slow.read_to_string(&mut answer);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(began.elapsed() < PATIENCE / 2, "{:?}", began.elapsed());
    // One that says nothing at all, likewise.
    let mut silent = TcpStream::connect(server.local_addr()).unwrap();
    silent.set_read_timeout(Some(PATIENCE)).unwrap();
    let _ = silent.read_to_string(&mut answer);
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
}

fn peers_that_flood_hold_nobody_up<R: Runtime>() {
    let timeouts = Timeouts { closing: 2 * PATIENCE, drain: Duration::from_secs(1), ..FAST };
    let server = Server::<R>::new(Config::default())
        .timeouts(timeouts)
        .threads(1)
        .bind("127.0.0.1:0")
        .unwrap();
    let addr = server.local_addr();
    let flood = |start: Vec<u8>, then: Vec<u8>| {
        let mut stream = TcpStream::connect(addr).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(&start).unwrap();
        // Without end: until the server has gone.
        thread::spawn(move || while stream.write_all(&then).is_ok() {});
    };
    let waste = vec![b'x'; 64 << 10];
    // What is thrown away: after a refused request, and after a breach.
    flood(b"POST / HTTP/1.1\r\n\r\n".to_vec(), waste.clone());
    flood([request("/room").as_bytes(), &frame(TEXT, b"x")].concat(), waste);
    // What is taken: a great many pings, empty frames, and messages that nobody knows.
    for frame in [frame(PING, b"x"), frame(BINARY, b""), frame(BINARY, &[0xc8, 0x01])] {
        flood(request("/room").into_bytes(), frame.repeat(2_000));
    }
    thread::sleep(Duration::from_millis(200));
    let began = Instant::now();
    let (mut ann, _) = Peer::join(addr, "other");
    let (mut bob, _) = Peer::join(addr, "other");
    ann.update(&typing(1, 0, "through it all"));
    bob.wait_for_content("through it all");
    assert!(began.elapsed() < PATIENCE / 2, "{:?}", began.elapsed());
}

fn a_silent_peer_that_answers_no_ping_is_gone_and_one_that_answers_stays<R: Runtime>() {
    let server =
        Server::<R>::new(Config::default()).timeouts(FAST).bind("127.0.0.1:0").expect("it binds");
    let (mut deaf, _) = Peer::join(server.local_addr(), "room");
    let (mut alive, _) = Peer::join(server.local_addr(), "room");
    let answering = thread::spawn(move || {
        let until = Instant::now() + Duration::from_secs(2);
        while Instant::now() < until {
            match alive.next() {
                Got::Ping(payload) => {
                    alive.stream.write_all(&frame(support::PONG, &payload)).unwrap();
                }
                Got::Message(_) | Got::Pong(_) => {}
                end @ (Got::Close(..) | Got::End) => panic!("it answered, and got {end:?}"),
            }
        }
        alive.update(&typing(1, 0, "alive"));
        alive
    });
    assert_eq!(deaf.wait_for_close().0, 1001);
    let _alive = answering.join().unwrap();
    eventually(|| contains(&Peer::join(server.local_addr(), "room").1, b"alive"));
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

fn frames_sent_before_the_handshake_is_answered_are_not_lost<R: Runtime>() {
    let server = start::<R>();
    let (mut bob, _) = Peer::join(server.local_addr(), "room");
    let update = typing(1, 0, "at once");
    let mut message = vec![0, 2, update.len() as u8];
    message.extend(&update);
    let mut everything = request("/room").into_bytes();
    everything.extend(frame(BINARY, &message));
    let mut eager = TcpStream::connect(server.local_addr()).unwrap();
    eager.write_all(&everything).unwrap();
    bob.wait_for_content("at once");
}

fn a_shutdown_closes_with_1012_and_keeps_what_was_sent<R: Runtime>() {
    let store = Shared::default();
    let server = Server::<R>::new(Config::default())
        .threads(2)
        .store(Arc::new(store.clone()))
        .bind("127.0.0.1:0")
        .unwrap();
    let addr = server.local_addr();
    let mut peers: Vec<Peer> = (0..8).map(|n| Peer::join(addr, &format!("room-{n}")).0).collect();
    for (n, peer) in peers.iter_mut().enumerate() {
        peer.update(&typing(1, 0, &format!("kept {n}")));
    }
    let watching: Vec<_> =
        peers.into_iter().map(|mut peer| thread::spawn(move || peer.wait_for_close().0)).collect();
    assert!(server.shutdown().is_clean());
    for code in watching {
        assert_eq!(code.join().unwrap(), 1012);
    }
    assert!(TcpStream::connect(addr).is_err(), "it still listens");
    let again =
        Server::<R>::new(Config::default()).store(Arc::new(store)).bind("127.0.0.1:0").unwrap();
    for n in 0..8 {
        let (_peer, all) = Peer::join(again.local_addr(), &format!("room-{n}"));
        assert!(contains(&all, format!("kept {n}").as_bytes()), "room-{n}");
    }
}

fn the_last_edit_before_leaving_is_stored<R: Runtime>() {
    let config = Config { unload_after: Duration::ZERO, ..Config::default() };
    let server = start_with::<R>(config);
    for round in 0..200 {
        let room = format!("room-{round}");
        let (mut peer, _) = Peer::join(server.local_addr(), &room);
        peer.update(&typing(1, 0, "the last word"));
        if round % 2 == 0 {
            peer.leave();
        } else {
            // As a closed laptop does, without a word.
            peer.stream.shutdown(Shutdown::Both).unwrap();
        }
        eventually(|| {
            let (peer, all) = Peer::join(server.local_addr(), &room);
            peer.leave();
            contains(&all, b"the last word")
        });
    }
    assert!(server.shutdown().is_clean());
}

fn two_clients_opening_a_new_room_at_once_both_sync<R: Runtime>() {
    let server = start::<R>();
    let addr = server.local_addr();
    for round in 0..200 {
        let both: Vec<_> = [1, 2]
            .map(|client| {
                thread::spawn(move || {
                    let (mut peer, all) = Peer::join(addr, &format!("room-{round}"));
                    peer.update(&typing(client, 0, &format!("by {client}.")));
                    let other = format!("by {}.", 3 - client);
                    if !contains(&all, other.as_bytes()) {
                        peer.wait_for_content(&other);
                    }
                })
            })
            .into();
        for one in both {
            one.join().unwrap();
        }
    }
}

fn a_failing_store_stops_a_writer_and_lets_it_go_on<R: Runtime>() {
    let store = Shared::default();
    let limits = Limits { journal_bytes: 20_000, ..Limits::default() };
    let server = Server::<R>::new(Config { limits, ..Config::default() })
        .threads(1)
        .store(Arc::new(store.clone()))
        .bind("127.0.0.1:0")
        .unwrap();
    let (mut ann, _) = Peer::join(server.local_addr(), "room");
    let (mut bob, _) = Peer::join(server.local_addr(), "room");
    store.fail(true);
    // Far more than the journal and both socket buffers take.
    let text = "0123456789".repeat(1_000);
    ann.stream.set_write_timeout(Some(Duration::from_secs(2))).unwrap();
    let mut sent = 0;
    let stuck = (0..20_000).find(|n| {
        let update = typing(1, n * 10_000, &text);
        let mut message = vec![0, 2];
        support::varint(&mut message, update.len() as u64);
        message.extend(update);
        let stuck = ann.try_send(&message).is_err();
        sent += u64::from(!stuck);
        stuck
    });
    assert!(stuck.is_some(), "it was read from, though nothing could be stored");
    store.fail(false);
    // Everything that was sent whole comes through.
    let mut bytes = 0;
    while bytes < sent * 10_000 {
        bytes += bob.wait_for(|message| matches!(message, [0, 2, ..])).len() as u64;
    }
}

fn a_shutdown_says_what_the_store_did_not_take<R: Runtime>() {
    let store = Shared::default();
    let server = Server::<R>::new(Config::default())
        .threads(1)
        .timeouts(FAST)
        .store(Arc::new(store.clone()))
        .bind("127.0.0.1:0")
        .unwrap();
    let (mut ann, _) = Peer::join(server.local_addr(), "room");
    store.fail(true);
    let update = typing(1, 0, "lost");
    let mut both = frame(BINARY, &[&[0, 2, update.len() as u8], &update[..]].concat());
    // In one write with it, as the peer is not read from once the store has failed.
    both.extend(frame(PING, b""));
    ann.stream.write_all(&both).unwrap();
    while !matches!(ann.next(), Got::Pong(_)) {}
    let farewell = server.shutdown();
    assert_eq!((farewell.unsaved, farewell.unfinished), (1, 1));
    assert!(!farewell.is_clean());
}

fn a_peer_that_reads_nothing_holds_nobody_up_and_catches_up<R: Runtime>() {
    let limits = Limits { outbox_bytes: 64 << 10, ..Limits::default() };
    let server = start_with::<R>(Config { limits, ..Config::default() });
    let (mut ann, _) = Peer::join(server.local_addr(), "room");
    let (mut bob, _) = Peer::join(server.local_addr(), "room");
    let (mut slow, _) = Peer::join(server.local_addr(), "room");
    // More than the kernel's buffers and the outbox hold.
    let text = "abcdefghij".repeat(2_000);
    for n in 0..600 {
        ann.update(&typing(1, n * 20_000, &text));
        bob.wait_for(|message| message.len() > 20_000);
    }
    ann.update(&typing(1, 12_000_000, "the end"));
    bob.wait_for_content("the end");
    // It gets everything, the later part of it merged.
    let (mut messages, mut bytes) = (0, 0);
    loop {
        let message = slow.wait_for(|message| matches!(message, [0, 2, ..]));
        messages += 1;
        bytes += message.len();
        if contains(&message, b"the end") {
            break;
        }
    }
    assert!(bytes >= 12_000_000 && messages < 600, "{bytes} bytes in {messages} messages");
}

fn a_socket_that_is_upgraded_already_is_served<R: Runtime>() {
    let server = start::<R>();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let (accepted, _) = listener.accept().unwrap();
    let room = RoomName::new("room").unwrap();
    server.serve_upgraded(Blocking(accepted), frame(BINARY, support::STEP1), room, Access::FULL);
    let mut ann = Peer::on(client);
    ann.wait_for(|message| message.starts_with(&[0, 1]));
    let (mut bob, _) = Peer::join(server.local_addr(), "room");
    bob.update(&typing(2, 0, "to the upgraded"));
    ann.wait_for_content("to the upgraded");
}

fn a_server_that_does_not_listen_serves_what_it_is_given<R: Runtime>() {
    let server = Server::<R>::new(Config::default()).threads(2).start().unwrap();
    assert_eq!(server.local_addr().port(), 0);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let (accepted, _) = listener.accept().unwrap();
    let room = RoomName::new("room").unwrap();
    let entrance = server.entrance();
    entrance.serve_upgraded(Blocking(accepted), frame(BINARY, support::STEP1), room, Access::FULL);
    let mut ann = Peer::on(client);
    ann.wait_for(|message| message.starts_with(&[0, 1]));
    assert!(server.shutdown().is_clean());
    assert_eq!(ann.wait_for_close().0, 1012);
}

fn a_peer_that_vanishes_is_noticed<R: Runtime>() {
    let left = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&left);
    let server = Server::<R>::new(Config::default())
        .observe(move |notice| {
            if matches!(notice, Notice::Engine(Event::PeerLeft { .. })) {
                counted.fetch_add(1, Ordering::SeqCst);
            }
        })
        .bind("127.0.0.1:0")
        .unwrap();
    let (ann, _) = Peer::join(server.local_addr(), "room");
    let (mut bob, _) = Peer::join(server.local_addr(), "room");
    drop(ann);
    eventually(|| left.load(Ordering::SeqCst) == 1);
    bob.stream.write_all(&frame(CLOSE, &[])).unwrap();
    eventually(|| left.load(Ordering::SeqCst) == 2);
}

fn a_store_that_panics_ends_its_shard_and_is_told<R: Runtime>() {
    #[derive(Debug)]
    struct Panics(MemoryStore);
    impl Store for Panics {
        fn submit(&self, op: StoreOp, reply: Reply) {
            assert!(!matches!(op, StoreOp::Append(_)), "as a test wants it");
            self.0.submit(op, reply);
        }

        fn close(&self) {}
    }
    let failed = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&failed);
    let server = Server::<R>::new(Config::default())
        .threads(1)
        .store(Arc::new(Panics(MemoryStore::new())))
        .observe(move |notice| {
            if matches!(notice, Notice::ShardFailed { shard: 0 }) {
                counted.fetch_add(1, Ordering::SeqCst);
            }
        })
        .bind("127.0.0.1:0")
        .unwrap();
    let addr = server.local_addr();
    let (mut ann, _) = Peer::join(addr, "room");
    ann.update(&typing(1, 0, "too much"));
    while !matches!(ann.next(), Got::End) {}
    eventually(|| failed.load(Ordering::SeqCst) == 1);
    assert!(TcpStream::connect(addr).is_err(), "it looks alive");
    assert_eq!(server.shutdown().unfinished, 1);
}

fn a_server_is_stopped_from_elsewhere<R: Runtime>() {
    let server = start::<R>();
    let stopper = server.stopper();
    let (mut ann, _) = Peer::join(server.local_addr(), "room");
    let elsewhere = thread::spawn(move || {
        stopper.clone().stop();
        stopper.stop();
    });
    assert_eq!(ann.wait_for_close().0, 1012);
    assert!(server.join().is_clean());
    elsewhere.join().unwrap();
}

fn a_server_that_is_dropped_ends_in_order<R: Runtime>() {
    let store = MemoryStore::new();
    let server = Server::<R>::new(Config::default())
        .store(Arc::new(store.clone()))
        .bind("127.0.0.1:0")
        .unwrap();
    let addr = server.local_addr();
    let (mut ann, _) = Peer::join(addr, "room");
    ann.update(&typing(1, 0, "the last words"));
    let watching = thread::spawn(move || ann.wait_for_close().0);
    drop(server);
    assert!(!store.get(&RoomName::new("room").unwrap()).is_absent(), "stored when it is gone");
    assert_eq!(watching.join().unwrap(), 1012);
    assert!(TcpStream::connect(addr).is_err(), "it still listens");
}

fn who_may_only_read_changes_nothing_and_who_may_nothing_gets_an_answer<R: Runtime>() {
    let server = Server::<R>::new(Config::default())
        .admit(|arrival| match (arrival.parameter("token"), arrival.header("host")) {
            (Some("reads"), _) => Ok(Access::READ_ONLY),
            (Some("briefly"), _) => {
                let expires_at = Some(arrival.now() + Duration::from_millis(300));
                Ok(Access { expires_at, ..Access::FULL })
            }
            (Some("writes"), Some(b"localhost")) => {
                assert!(arrival.peer_addr().ip().is_loopback());
                Ok(Access::FULL)
            }
            _ => Err(Refusal::new(403, format!("nobody may enter {} so", arrival.room()))),
        })
        .bind("127.0.0.1:0")
        .unwrap();
    let addr = server.local_addr();
    let (mut reader, _) = Peer::join(addr, "room?token=reads");
    let (mut writer, _) = Peer::join(addr, "room?token=writes");
    reader.update(&typing(1, 0, "not allowed"));
    writer.update(&typing(2, 0, "allowed"));
    let seen = reader.wait_for_content("allowed");
    assert!(seen.ends_with(&typing(2, 0, "allowed")));
    let (_cal, all) = Peer::join(addr, "room?token=writes");
    assert!(contains(&all, b"allowed") && !contains(&all, b"not allowed"));
    let (status, sentence) = ask(addr, request("/room?token=other").as_bytes());
    assert_eq!((status, sentence.trim_end()), (403, "nobody may enter room so"));
    assert_eq!(ask(addr, request("/room").as_bytes()).0, 403);
    let (mut brief, _) = Peer::join(addr, "room?token=briefly");
    assert_eq!(brief.wait_for_close().0, 4401);
}

/// A memory store that outlives its server, and fails when it is told to.
#[derive(Clone, Debug)]
struct Shared {
    inner: Arc<MemoryStore>,
    failing: Arc<Mutex<bool>>,
}

impl Default for Shared {
    fn default() -> Self {
        Self { inner: Arc::new(MemoryStore::new()), failing: Arc::default() }
    }
}

impl Shared {
    fn fail(&self, failing: bool) {
        *self.failing.lock().unwrap() = failing;
    }
}

impl Store for Shared {
    fn submit(&self, op: StoreOp, reply: Reply) {
        if matches!(op, StoreOp::Append(_)) && *self.failing.lock().unwrap() {
            reply.failed(StoreFault::new(StoreFaultKind::NotDone, "told to fail"));
        } else {
            self.inner.submit(op, reply);
        }
    }

    /// Stays open for the next server.
    fn close(&self) {}
}

/// A socket whose reactor is elsewhere: here, a thread that polls.
struct Blocking(TcpStream);

impl futures_io::AsyncRead for Blocking {
    fn poll_read(
        self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buf: &mut [u8],
    ) -> std::task::Poll<std::io::Result<usize>> {
        self.0.set_nonblocking(true)?;
        match (&self.0).read(buf) {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                let waker = cx.waker().clone();
                thread::spawn(move || {
                    thread::sleep(Duration::from_millis(5));
                    waker.wake();
                });
                std::task::Poll::Pending
            }
            result => std::task::Poll::Ready(result),
        }
    }
}

impl futures_io::AsyncWrite for Blocking {
    fn poll_write(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        buf: &[u8],
    ) -> std::task::Poll<std::io::Result<usize>> {
        self.0.set_nonblocking(false)?;
        std::task::Poll::Ready((&self.0).write(buf))
    }

    fn poll_flush(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn poll_close(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::task::Poll::Ready(self.0.shutdown(Shutdown::Write))
    }
}
