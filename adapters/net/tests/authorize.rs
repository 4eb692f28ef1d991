//! The hook that decides who comes in, on real sockets.
#![allow(missing_docs, reason = "the names of tests are sentences")]
#![cfg(feature = "smol")]

#[allow(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use support::{PATIENCE, Peer, ask, contains, request, typing};
use yroom::{Access, Config};
use yroom_net::runtime::Smol;
use yroom_net::{Arrival, Authorize, Grant, Occasion, Refusal, Running, Server, Timeouts};

/// What a test wants of the hook, by the parameter `as` of the request.
struct Hook {
    asked_again: AtomicU32,
    again: fn(u32) -> Result<Grant, Refusal>,
}

impl Authorize for Hook {
    async fn authorize(&self, arrival: Arrival) -> Result<Grant, Refusal> {
        if arrival.occasion() == Occasion::Recheck {
            assert_eq!(arrival.parameter("as"), Some("checked"), "it is the same arrival");
            return (self.again)(self.asked_again.fetch_add(1, Ordering::SeqCst));
        }
        match arrival.parameter("as") {
            Some("slow") => {
                smol::Timer::after(Duration::from_millis(200)).await;
                Ok(Access::FULL.into())
            }
            Some("never") => std::future::pending().await,
            Some("panics") => panic!("as a test wants it"),
            Some("checked") => Ok(checked()),
            Some("speaks") => Ok(Grant::from(Access::FULL).subprotocol("yroom")),
            Some("nobody") => Err(Refusal::new(404, "no such room")),
            _ => Ok(Access::FULL.into()),
        }
    }
}

fn checked() -> Grant {
    Grant::from(Access::FULL).recheck(Duration::from_millis(150))
}

/// A server with this hook, on one thread, so that whoever is held up shows it.
fn start(again: fn(u32) -> Result<Grant, Refusal>) -> Running {
    let timeouts = Timeouts { authorize: Duration::from_millis(600), ..Timeouts::default() };
    let hook = Hook { asked_again: AtomicU32::new(0), again };
    let server = Server::<Smol>::new(Config::default()).threads(1).timeouts(timeouts);
    server.authorize(hook).bind("127.0.0.1:0").unwrap()
}

fn never(_: u32) -> Result<Grant, Refusal> {
    unreachable!("nobody is asked about again")
}

#[test]
fn a_slow_decision_holds_nobody_up() {
    let server = start(never);
    let addr = server.local_addr();
    let mut slow = TcpStream::connect(addr).unwrap();
    slow.write_all(request("/room?as=slow").as_bytes()).unwrap();
    let mut never = TcpStream::connect(addr).unwrap();
    never.set_read_timeout(Some(PATIENCE)).unwrap();
    never.write_all(request("/room?as=never").as_bytes()).unwrap();
    let began = Instant::now();
    let (mut ann, _) = Peer::join(addr, "room");
    let (mut bob, _) = Peer::join(addr, "room");
    ann.update(&typing(1, 0, "meanwhile"));
    bob.wait_for_content("meanwhile");
    assert!(began.elapsed() < Duration::from_millis(190), "{:?}", began.elapsed());
    let (_cal, all) = Peer::join(addr, "room?as=slow");
    assert!(contains(&all, b"meanwhile"));
    let mut answer = String::new();
    never.read_to_string(&mut answer).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 503 ") && answer.contains("\r\nRetry-After: "),
        "{answer}"
    );
    assert!(began.elapsed() >= Duration::from_millis(590));
}

#[test]
fn a_decision_that_panics_costs_its_request_only() {
    let server = start(never);
    let addr = server.local_addr();
    let (mut ann, _) = Peer::join(addr, "room");
    for _ in 0..3 {
        let (status, sentence) = ask(addr, request("/room?as=panics").as_bytes());
        assert_eq!(status, 500);
        assert!(!sentence.contains("as a test wants it"), "{sentence}");
    }
    let (mut bob, _) = Peer::join(addr, "room");
    ann.update(&typing(1, 0, "still here"));
    bob.wait_for_content("still here");
    assert!(server.shutdown().is_clean());
}

#[test]
fn a_function_that_panics_costs_its_request_only() {
    let server = Server::<Smol>::new(Config::default())
        .admit(|arrival| match arrival.query() {
            None => Ok(Access::FULL),
            Some(_) => panic!("as a test wants it"),
        })
        .bind("127.0.0.1:0")
        .unwrap();
    assert_eq!(ask(server.local_addr(), request("/room?x").as_bytes()).0, 500);
    Peer::join(server.local_addr(), "room");
    assert!(server.shutdown().is_clean());
}

#[test]
fn a_refusal_and_a_bad_name_are_answered_before_the_upgrade() {
    let server = start(never);
    let addr = server.local_addr();
    let (status, sentence) = ask(addr, request("/room?as=nobody").as_bytes());
    assert_eq!((status, sentence.trim_end()), (404, "no such room"));
    // The name is looked at before anybody is asked.
    assert_eq!(ask(addr, request("/?as=panics").as_bytes()).0, 400);
    assert_eq!(ask(addr, request(&format!("/{}?as=panics", "r".repeat(256))).as_bytes()).0, 414);
}

#[test]
fn the_chosen_subprotocol_is_told_if_it_was_offered() {
    let server = start(never);
    let answer_to = |target: &str, offered: &str| {
        let mut stream = TcpStream::connect(server.local_addr()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let header = format!("\r\nSec-WebSocket-Protocol: {offered}\r\n\r\n");
        let asked = request(target).replace("\r\n\r\n", &header);
        stream.write_all(asked.as_bytes()).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        String::from_utf8(head).unwrap()
    };
    let told = "\r\nSec-WebSocket-Protocol: yroom\r\n";
    assert!(answer_to("/room?as=speaks", "bearer.x, yroom").contains(told));
    let silent = answer_to("/room?as=speaks", "bearer.x");
    assert!(silent.starts_with("HTTP/1.1 101 ") && !silent.contains("Protocol:"), "{silent}");
    assert!(!answer_to("/room", "yroom").contains("Protocol:"));
}

#[test]
fn a_recheck_takes_rights_away_and_gives_them_back() {
    let server = start(|nth| {
        let access = if nth < 3 { Access::READ_ONLY } else { Access::FULL };
        Ok(Grant::from(access).recheck(Duration::from_millis(150)))
    });
    let addr = server.local_addr();
    let (mut watcher, _) = Peer::join(addr, "room");
    let (mut ann, _) = Peer::join(addr, "room?as=checked");
    ann.update(&typing(1, 0, "before"));
    watcher.wait_for_content("before");
    std::thread::sleep(Duration::from_millis(220));
    ann.update(&typing(2, 0, "meanwhile"));
    std::thread::sleep(Duration::from_millis(600));
    ann.update(&typing(3, 0, "after"));
    watcher.wait_for_content("after");
    let (_newcomer, all) = Peer::join(addr, "room");
    assert!(contains(&all, b"before") && contains(&all, b"after"));
    assert!(!contains(&all, b"meanwhile"), "what a reader sent left a trace");
}

#[test]
fn a_recheck_that_refuses_closes_with_the_code_of_its_status() {
    let closes_with = |again| {
        let server = start(again);
        let (_neighbour, _) = Peer::join(server.local_addr(), "room");
        let (mut ann, _) = Peer::join(server.local_addr(), "room?as=checked");
        let closed = ann.wait_for_close();
        Peer::join(server.local_addr(), "room");
        closed
    };
    let gone = closes_with(|_| Err(Refusal::new(401, "the session has ended")));
    assert_eq!(gone, (4401, "the session has ended".to_owned()));
    assert_eq!(closes_with(|_| Err(Refusal::new(403, "not any more"))).0, 4403);
    assert_eq!(closes_with(|_| Err(Refusal::new(404, "the room is gone"))).0, 4404);
    // Two that decide nothing count for nothing; three in a row are too many.
    let began = Instant::now();
    assert_eq!(closes_with(|_| Err(Refusal::new(503, "the directory is away"))).0, 1013);
    assert!(began.elapsed() >= Duration::from_millis(3 * 130));
    let panics = closes_with(|nth| match nth {
        0 | 1 => panic!("as a test wants it"),
        2 => Ok(checked()),
        3 | 4 => Err(Refusal::new(500, "again")),
        _ => Err(Refusal::new(403, "decided")),
    });
    assert_eq!(panics.0, 4403);
}

#[test]
fn whoever_leaves_is_not_asked_about_any_more() {
    static ASKED: AtomicU32 = AtomicU32::new(0);
    let server = start(|_| {
        ASKED.fetch_add(1, Ordering::SeqCst);
        Ok(checked())
    });
    let (ann, _) = Peer::join(server.local_addr(), "room?as=checked");
    std::thread::sleep(Duration::from_millis(400));
    ann.leave();
    std::thread::sleep(Duration::from_millis(50));
    let asked = ASKED.load(Ordering::SeqCst);
    assert!(asked >= 2, "{asked}");
    std::thread::sleep(Duration::from_millis(400));
    assert_eq!(ASKED.load(Ordering::SeqCst), asked);
}

#[test]
fn no_token_is_told_to_an_observer() {
    let told = Arc::new(Mutex::new(String::new()));
    let seen = Arc::clone(&told);
    let server = Server::<Smol>::new(Config::default())
        .admit(|arrival| match arrival.parameter("token") {
            Some("s3cr3t-good") => Ok(Access::FULL),
            _ => Err(Refusal::new(401, format!("that is nobody: {arrival:?}"))),
        })
        .observe(move |notice| writeln!(seen.lock().unwrap(), "{notice:?}").unwrap())
        .bind("127.0.0.1:0")
        .unwrap();
    let addr = server.local_addr();
    let header = "\r\nAuthorization: Bearer s3cr3t\r\nSec-WebSocket-Protocol: s3cr3t\r\n\r\n";
    let asked = request("/room?token=s3cr3t-bad").replace("\r\n\r\n", header);
    let (status, sentence) = ask(addr, asked.as_bytes());
    assert!(status == 401 && !sentence.contains("s3cr3t"), "{sentence}");
    ask(addr, b"GET /room?token=s3cr3t HTTP/1.1\r\nHost: s3cr3t\r\n\r\n");
    ask(addr, b"NONSENSE /room?token=s3cr3t HTTP/1.1\r\nA\x01: s3cr3t\r\n\r\n");
    let (mut ann, _) = Peer::join(addr, "room?token=s3cr3t-good");
    ann.send(&[0, 2, 3, 9, 9, 9]);
    ann.wait_for_close();
    assert!(server.shutdown().is_clean());
    let told = told.lock().unwrap();
    assert!(told.matches("Refused").count() == 3, "{told}");
    assert!(!told.contains("s3cr3t"), "{told}");
}
