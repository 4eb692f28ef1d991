//! How long the program waits for whom: the options, seen from a client.
#![cfg(unix)]
#![allow(missing_docs, reason = "the names of tests are sentences")]

#[path = "../../net/tests/support/mod.rs"]
#[allow(dead_code, reason = "shared with the tests of yroom-net")]
mod support;

#[allow(dead_code, reason = "each file of tests uses a part of it")]
mod running;

use running::{command, start};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};
use support::{Got, PATIENCE, Peer, request};
use tempfile::TempDir;

#[test]
fn a_request_has_as_long_as_the_operator_gives_it() {
    let dir = TempDir::new().unwrap();
    // Longer than the default: whoever is cut off by that is cut off too early.
    let program = start(command(dir.path()).args(["--handshake-timeout", "7s"]));
    let began = Instant::now();
    let mut slow = TcpStream::connect(program.addr).unwrap();
    slow.write_all(&request("/room").as_bytes()[..20]).unwrap();
    slow.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut answer = Vec::new();
    let _ = slow.read_to_end(&mut answer);
    let waited = began.elapsed();
    assert!(waited > Duration::from_secs(6) && waited < PATIENCE, "{waited:?}");
}

#[test]
fn a_silent_client_is_pinged_and_given_up_when_the_operator_says() {
    let dir = TempDir::new().unwrap();
    let waits = ["--ping-after", "1s", "--pong-timeout", "1s", "--close-timeout", "1s"];
    let program = start(command(dir.path()).args(waits));
    let (mut silent, _) = Peer::join(program.addr, "room");
    let began = Instant::now();
    let mut pinged = None;
    let code = loop {
        match silent.next() {
            Got::Ping(_) => pinged = Some(began.elapsed()),
            Got::Close(code, _) => break code,
            Got::Message(_) | Got::Pong(_) => {}
            Got::End => panic!("it ended without a word"),
        }
    };
    assert_eq!(code, 1001);
    let pinged = pinged.expect("it is asked first");
    assert!(pinged > Duration::from_millis(900) && pinged < PATIENCE, "{pinged:?}");
    // It does not answer the close either, and is cut off.
    assert_eq!(silent.next(), Got::End);
    let ended = began.elapsed();
    assert!(ended > Duration::from_millis(1900) && ended < PATIENCE, "{ended:?}");
}
