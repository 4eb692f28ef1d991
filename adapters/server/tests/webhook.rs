//! The program's webhook: real clients, a real receiver, and what becomes of a receiver that fails.
#![cfg(unix)]
#![allow(missing_docs, reason = "the names of tests are sentences")]

#[path = "../../webhook/tests/receiver/mod.rs"]
mod receiver;
mod running;
#[path = "../../net/tests/support/mod.rs"]
#[allow(dead_code, reason = "shared with the tests of yroom-net")]
mod support;

use receiver::{Answer, Post, Receiver};
use ring::hmac;
use running::{command, refused, start};
use rustix::process::Signal;
use std::fs;
use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant};
use support::{Neighbours, Peer, typing};
use tempfile::TempDir;

const SECRET: &[u8] = b"what both sides know";

/// The program with a webhook that tells of changes and of the text in them, soon.
fn told(dir: &TempDir, receiver: &Receiver) -> Command {
    let mut command = command(dir.path());
    command.args(["--webhook", &receiver.url, "--webhook-objects=t:Text"]);
    command.env("YROOM_WEBHOOK_WAIT", "300ms").arg("--threads=1");
    command
}

fn is_signed(post: &Post) -> bool {
    let hex = post.header("x-yroom-signature-256").and_then(|it| it.strip_prefix("sha256="));
    let signature = data_encoding::HEXLOWER.decode(hex.unwrap_or_default().as_bytes()).unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET);
    hmac::verify(&key, post.body.as_bytes(), &signature).is_ok()
}

/// Types so many pieces, and gives all of them.
fn type_pieces(peer: &mut Peer, client: u64, count: usize) -> String {
    let mut all = String::new();
    for piece in 0..count {
        let text = format!("{piece:03},");
        peer.update(&typing(client, all.len() as u64, &text));
        all.push_str(&text);
    }
    all
}

#[test]
fn what_happens_is_posted_signed_and_many_changes_as_one() {
    let (dir, receiver) = (TempDir::new().unwrap(), Receiver::willing());
    fs::write(dir.path().join("secret"), [SECRET, b"\n"].concat()).unwrap();
    let program = start(told(&dir, &receiver).args([
        "--webhook-secret=secret",
        "--webhook-events=change,open,close,join,leave",
        "--unload-after=0",
    ]));
    let (mut ann, _) = Peer::join(program.addr, "notes/1");
    let all = type_pieces(&mut ann, 1, 100);
    let whole = |post: &Post| post.is("change", "notes/1") && post.text() == Some(all.clone());
    receiver.wait_for(whole);
    let changes = receiver.posts().iter().filter(|post| post.is("change", "notes/1")).count();
    assert!(changes <= 10, "{changes} notices of 100 changes");
    ann.leave();
    receiver.wait_for(|post| post.is("close", "notes/1"));
    program.signal(Signal::TERM);
    let (status, errors) = program.wait();
    assert!(status.success(), "{errors}");
    assert!(!errors.contains("webhook"), "{errors}");
    let posts = receiver.posts();
    let order: Vec<String> = posts.iter().map(Post::event).collect();
    let place = |event: &str| order.iter().position(|it| it == event).expect(event);
    let places = ["open", "join", "change", "leave", "close"].map(place);
    assert!(places.is_sorted(), "{order:?}");
    for post in &posts {
        assert!(is_signed(post), "{post:?}");
        assert_eq!(post.header("content-type"), Some("application/json"));
        assert!(post.json()["at"].as_u64().unwrap() > 1_700_000_000_000, "{}", post.body);
    }
    assert_eq!(posts[place("join")].json()["peer"], posts[place("leave")].json()["peer"]);
}

#[test]
fn a_receiver_that_fails_or_hangs_harms_no_room_and_is_told_the_newest_state() {
    let dir = TempDir::new().unwrap();
    let receiver = Receiver::start(|count, _| match count {
        0 => Answer::Status(500),
        1 => Answer::Silence,
        2 => Answer::HangUp,
        _ => Answer::Status(200),
    });
    let program = start(told(&dir, &receiver).arg("--webhook-timeout=500ms"));
    let (mut ann, _) = Peer::join(program.addr, "room");
    let mut neighbours = Neighbours::of(program.addr);
    let usual = (0..20).map(|_| neighbours.are_well()).max().unwrap();
    ann.update(&typing(1, 0, "first"));
    receiver.wait_for(|post| post.json()["room"] == "room");
    ann.update(&typing(1, 5, " and last"));
    let until = Instant::now() + Duration::from_secs(3);
    while Instant::now() < until {
        let took = neighbours.are_well();
        assert!(took < usual + Duration::from_secs(1), "{took:?} beside {usual:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
    let newest = Some("first and last".to_owned());
    receiver.wait_for(|post| post.is("change", "room") && post.text() == newest);
    program.signal(Signal::TERM);
    let (status, errors) = program.wait();
    assert!(status.success(), "{errors}");
    assert!(errors.contains("not delivered yet"), "{errors}");
    assert!(!errors.contains("first"), "content is in the log: {errors}");
    assert!(!errors.contains("not told everything"), "{errors}");
}

#[test]
fn the_last_change_is_told_at_the_end_with_its_content() {
    let (dir, receiver) = (TempDir::new().unwrap(), Receiver::willing());
    for store in ["sqlite", "file", "memory"] {
        let program = start(
            told(&dir, &receiver)
                .args(["--store", store, "--data-dir", store])
                .args(["--webhook-wait=60s", "--webhook-max-wait=60s"]),
        );
        let (mut ann, _) = Peer::join(program.addr, store);
        let all = type_pieces(&mut ann, 1, 50);
        program.signal(Signal::TERM);
        assert_eq!(ann.wait_for_close().0, 1012);
        let (status, errors) = program.wait();
        assert!(status.success(), "{errors}");
        let posts = receiver.posts();
        let told: Vec<&Post> = posts.iter().filter(|post| post.is("change", store)).collect();
        assert_eq!(told.len(), 1, "{posts:?}");
        assert_eq!(told[0].text(), Some(all), "what was sent before the end is in it");
    }
}

#[test]
fn what_could_not_be_told_at_the_end_is_said_within_the_drain_timeout() {
    let dir = TempDir::new().unwrap();
    // Nobody listens there any more.
    let addr = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let hook = format!("http://{addr}/secret-path");
    let program = start(command(dir.path()).args([
        "--webhook",
        &hook,
        "--webhook-events=change,join",
        "--drain-timeout=4",
    ]));
    let (mut ann, _) = Peer::join(program.addr, "room");
    ann.update(&typing(1, 0, "x"));
    let (mut bob, _) = Peer::join(program.addr, "another");
    program.signal(Signal::TERM);
    let began = Instant::now();
    for peer in [&mut ann, &mut bob] {
        assert_eq!(peer.wait_for_close().0, 1012);
    }
    let (status, errors) = program.wait();
    assert!(status.success(), "nothing of the rooms is lost: {errors}");
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    let said = "not told everything: 3 notices, of 2 rooms: another, room";
    assert!(errors.contains(said), "{errors}");
    assert!(!errors.contains("secret-path"), "{errors}");
}

#[test]
fn a_webhook_that_cannot_be_is_said_in_one_line() {
    let dir = TempDir::new().unwrap();
    let (code, line) = refused(command(dir.path()).arg("--webhook=ftp://h/x"));
    assert!(code == 1 && line.contains("http://"), "{line}");
    let (code, line) =
        refused(command(dir.path()).args(["--webhook=http://h/", "--webhook-secret=nowhere"]));
    assert!(code == 1 && line.contains("nowhere"), "{line}");
    assert!(!dir.path().join("yroom-data").exists(), "it made something");
    for bad in ["--webhook-events=nonsense", "--webhook-objects=t", "--webhook-wait=1"] {
        let output = command(dir.path()).args(["--webhook=http://h/", bad]).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{bad}");
    }
}
