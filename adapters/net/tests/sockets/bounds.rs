//! Requests that are refused, and peers that are slow, silent, or send without end.

use super::{FAST, patient, start_with};
use crate::support::{
    BINARY, Got, PATIENCE, PING, PONG, Peer, TEXT, ask, contains, eventually, frame, request,
    typing,
};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};
use yroom::{Config, Limits};
use yroom_net::{Runtime, Server, Timeouts};

suite! {
    a_bad_request_is_answered_in_words
    too_many_connections_are_refused_with_503
    a_slow_handshake_is_cut_off
    peers_that_flood_hold_nobody_up
    a_silent_peer_that_answers_no_ping_is_gone_and_one_that_answers_stays
    a_peer_that_reads_nothing_holds_nobody_up_and_catches_up
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
                    alive.stream.write_all(&frame(PONG, &payload)).unwrap();
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
