//! The bounds on connections, the origins and the proxies, on real sockets.
#![allow(missing_docs, reason = "the names of tests are sentences")]
#![cfg(feature = "smol")]

#[allow(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};
use support::{Neighbours, PATIENCE, Peer, eventually, request};
use yroom::{Access, Config, Rate, RoomName};
use yroom_net::runtime::Smol;
use yroom_net::{
    Arrival, Authorize, Grant, Loopback, NetLimits, Origins, Proxies, Refusal, Running, Server,
    Timeouts,
};

/// Limits that hold for the test's own address too, and that nothing reaches unless a test wants it.
fn counted() -> NetLimits {
    NetLimits {
        loopback: Loopback::Counted,
        connects_per_address: Rate { per_second: 1000, burst: 1000 },
        ..NetLimits::default()
    }
}

/// Knows its users by name.
struct Users;

impl Authorize for Users {
    async fn authorize(&self, arrival: Arrival) -> Result<Grant, Refusal> {
        let grant = Grant::from(Access::FULL);
        Ok(match arrival.parameter("user") {
            Some(user) => grant.user(user),
            None => grant,
        })
    }
}

fn start(limits: NetLimits) -> Running {
    let server = Server::<Smol>::new(Config::default()).threads(2).net_limits(limits);
    server.authorize(Users).bind("127.0.0.1:0").unwrap()
}

/// The whole answer to a request.
fn answer(addr: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // Who is turned away may be before it has written.
    let _ = stream.write_all(request.as_bytes());
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        match stream.read(&mut byte) {
            Ok(1..) => answer.push(byte[0]),
            Ok(0) => break,
            Err(error) => panic!("after {}: {error}", String::from_utf8_lossy(&answer)),
        }
    }
    String::from_utf8(answer).unwrap()
}

/// The status of the answer, which says when to come back if it is one of those.
fn status(addr: SocketAddr, request: &str) -> u16 {
    let answer = answer(addr, request);
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.unwrap_or_else(|| panic!("no answer: {answer:?}"));
    assert_eq!(matches!(status, 429 | 503), answer.contains("\r\nRetry-After: "), "{answer}");
    status
}

fn with(header: &str) -> String {
    request("/room").replacen("\r\n\r\n", &format!("\r\n{header}\r\n\r\n"), 1)
}

#[test]
fn the_total_of_connections_is_bounded() {
    let server = start(NetLimits { connections: 4, ..counted() });
    let addr = server.local_addr();
    let mut neighbours = Neighbours::of(addr);
    let (ann, _) = Peer::join(addr, "room");
    let (_bob, _) = Peer::join(addr, "room");
    assert_eq!(status(addr, &request("/room")), 503);
    assert_eq!(status(addr, "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n"), 200, "it is alive");
    neighbours.are_well();
    ann.leave();
    eventually(|| status(addr, &request("/room")) == 101);
    neighbours.are_well();
    assert!(server.shutdown().is_clean());
}

#[test]
fn an_address_has_so_many_connections() {
    let server = start(NetLimits { connections_per_address: 4, ..counted() });
    let addr = server.local_addr();
    let mut neighbours = Neighbours::of(addr);
    let (ann, _) = Peer::join(addr, "room");
    // Somebody who says nothing counts as well.
    let silent = TcpStream::connect(addr).unwrap();
    thread::sleep(Duration::from_millis(50));
    assert_eq!(status(addr, &request("/room")), 429);
    // Before a word is read.
    assert_eq!(status(addr, ""), 429);
    neighbours.are_well();
    drop(silent);
    eventually(|| status(addr, &request("/room")) == 101);
    ann.leave();
    neighbours.are_well();
}

#[test]
fn an_address_connects_so_often() {
    let connects_per_address = Rate { per_second: 5, burst: 4 };
    let server = start(NetLimits { connects_per_address, ..counted() });
    let addr = server.local_addr();
    let mut neighbours = Neighbours::of(addr);
    assert_eq!(status(addr, &request("/room")), 101);
    assert_eq!(status(addr, &request("/room")), 101);
    assert_eq!(status(addr, &request("/room")), 429);
    neighbours.are_well();
    thread::sleep(Duration::from_millis(250));
    assert_eq!(status(addr, &request("/room")), 101);
    assert_eq!(status(addr, &request("/room")), 429);
    neighbours.are_well();
}

#[test]
fn a_user_has_so_many_connections() {
    let server = start(NetLimits { connections_per_user: 2, ..counted() });
    let addr = server.local_addr();
    let mut neighbours = Neighbours::of(addr);
    let (first, _) = Peer::join(addr, "room?user=ann");
    let (_second, _) = Peer::join(addr, "other?user=ann");
    assert_eq!(status(addr, &request("/third?user=ann")), 429);
    assert_eq!(status(addr, &request("/room?user=bob")), 101);
    neighbours.are_well();
    first.leave();
    eventually(|| status(addr, &request("/third?user=ann")) == 101);
}

#[test]
fn a_socket_from_elsewhere_counts_in_the_total() {
    let server = start(NetLimits { connections: 1, ..counted() });
    let (_ann, _) = Peer::join(server.local_addr(), "room");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let (accepted, _) = listener.accept().unwrap();
    let accepted = smol::Async::new(accepted).unwrap();
    server.serve_upgraded(accepted, Vec::new(), RoomName::new("room").unwrap(), Access::FULL);
    assert_eq!(Peer::on(client).wait_for_close().0, 1013);
}

#[test]
fn behind_a_proxy_it_is_the_client_that_counts() {
    let proxies = Proxies::new(["127.0.0.0/8".parse().unwrap()]);
    let limits = NetLimits { connections_per_address: 1, ..NetLimits::default() };
    let server = Server::<Smol>::new(Config::default())
        .net_limits(limits)
        .proxies(proxies)
        .admit(|arrival| Err(Refusal::new(499, format!("you are {}", arrival.client_addr()))))
        .bind("127.0.0.1:0")
        .unwrap();
    let says = |header: &str| support::ask(server.local_addr(), with(header).as_bytes()).1;
    assert!(says("X-Forwarded-For: 6.6.6.6, 1.2.3.4, 127.0.0.9").starts_with("you are 1.2.3.4"));
    assert!(says("A: b").starts_with("you are 127.0.0.1"));
    let server = Server::<Smol>::new(Config::default())
        .net_limits(NetLimits { connections_per_address: 1, ..NetLimits::default() })
        .proxies(Proxies::new(["127.0.0.1".parse().unwrap()]))
        .bind("127.0.0.1:0")
        .unwrap();
    let addr = server.local_addr();
    let connect = |client: &str| {
        let mut stream = TcpStream::connect(addr).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(with(&format!("X-Forwarded-For: {client}")).as_bytes()).unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).unwrap();
        (stream, String::from_utf8(status[9..].to_vec()).unwrap())
    };
    let (_ann, status) = connect("1.2.3.4");
    assert_eq!(status, "101");
    assert_eq!(connect("1.2.3.4").1, "429");
    assert_eq!(connect("6.6.6.6, 1.2.3.4").1, "429", "what the client made up");
    let (_bob, status) = connect("2001:db8:0:1::1");
    assert_eq!(status, "101");
    assert_eq!(connect("[2001:db8:0:1::2]:99").1, "429", "the same /64");
    assert_eq!(connect("1.2.3.5").1, "101");
}

#[test]
fn a_page_of_another_origin_is_refused_before_the_upgrade() {
    let server = start(counted());
    let addr = server.local_addr();
    assert_eq!(status(addr, &with("Origin: https://evil.example")), 403);
    assert_eq!(status(addr, &with("Origin: null")), 403);
    assert_eq!(status(addr, &with("Origin: http://localhost:5173")), 101, "the same host");
    assert_eq!(status(addr, &request("/room")), 101, "no page at all");
    let listed = Origins::listed().and("https://app.example").unwrap().always_sent();
    let server = Server::<Smol>::new(Config::default())
        .origins(listed)
        .admit(|_| panic!("nobody is asked about a page that may not connect"))
        .bind("127.0.0.1:0")
        .unwrap();
    let addr = server.local_addr();
    assert_eq!(status(addr, &with("Origin: http://localhost")), 403);
    assert_eq!(status(addr, &request("/room")), 403);
    assert_eq!(status(addr, &with("Origin: https://app.example")), 500);
}

#[test]
fn requests_that_are_never_finished_hold_up_nobody_for_longer_than_a_handshake() {
    let timeouts = Timeouts { handshake: Duration::from_millis(500), ..Timeouts::default() };
    let server = Server::<Smol>::new(Config::default())
        .threads(1)
        .timeouts(timeouts)
        .net_limits(NetLimits { handshakes: 20, ..counted() })
        .bind("127.0.0.1:0")
        .unwrap();
    let addr = server.local_addr();
    let mut neighbours = Neighbours::of(addr);
    // Slowloris: heads that grow by a byte now and then.
    let mut slow: Vec<_> = (0..30).map(|_| TcpStream::connect(addr).unwrap()).collect();
    let head = request("/room");
    for byte in head.as_bytes().iter().take(5) {
        for stream in &mut slow {
            let _ = stream.write_all(&[*byte]);
        }
        neighbours.are_well();
        thread::sleep(Duration::from_millis(20));
    }
    let began = Instant::now();
    assert_eq!(status(addr, &head), 101);
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    for mut stream in slow {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408 "), "{answer}");
    }
    neighbours.are_well();
}
