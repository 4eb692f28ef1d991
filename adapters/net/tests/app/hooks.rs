//! The application's own code in a server: what it may do, and what its failures cost.

use crate::stores::Told;
use crate::support::{BINARY, CLOSE, PATIENCE, Peer, contains, frame, typing, varint};
use crate::{eventually, name, text, wait};
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use yroom::{CloseCode, Config, Limits};
use yroom_net::app::{Failure, Hook, Incoming, Verdict};
use yroom_net::{Notice, Runtime, Server};

suite! {
    a_frame_is_passed_dropped_replaced_or_the_end
    the_first_frame_is_looked_at_like_any_other
    frames_that_wait_for_a_verdict_stay_in_order_and_others_go_on
    the_last_edit_before_leaving_is_looked_at_and_stored
    a_filter_that_panics_costs_its_connection_only
    a_filter_that_never_ends_costs_its_connection_only
    a_filter_that_takes_five_seconds_holds_nobody_else_up
    a_peer_whose_frame_is_looked_at_is_not_read_from
    application_messages_come_in_order_and_are_answered
    a_message_hook_that_fails_costs_its_connection_only
}

/// What the frame of an Update message says, if it says something.
fn says(incoming: &Incoming, word: &str) -> bool {
    contains(&incoming.frame, word.as_bytes())
}

fn server<R: Runtime>() -> Server<R> {
    Server::<R>::new(Config::default()).threads(1)
}

async fn sleep(time: Duration) {
    // Of no runtime: a thread that wakes.
    let until = Instant::now() + time;
    std::future::poll_fn(|cx| {
        if Instant::now() >= until {
            return std::task::Poll::Ready(());
        }
        let waker = cx.waker().clone();
        thread::spawn(move || {
            thread::sleep(until.saturating_duration_since(Instant::now()));
            waker.wake();
        });
        std::task::Poll::Pending
    })
    .await;
}

fn a_frame_is_passed_dropped_replaced_or_the_end<R: Runtime>() {
    let server = server::<R>()
        .on_message(|incoming| {
            let verdict = if says(&incoming, "secret") {
                Verdict::Drop
            } else if says(&incoming, "rude") {
                let update = typing(7, 0, "kind");
                Verdict::Replace([&[0, 2, update.len() as u8], &update[..]].concat().into())
            } else if says(&incoming, "out") {
                Verdict::Close(CloseCode(4400), format!("not in {}", incoming.peer.room()))
            } else {
                Verdict::Pass
            };
            async { verdict }
        })
        .bind("127.0.0.1:0")
        .unwrap();
    let (mut ann, _) = Peer::join(server.local_addr(), "room");
    let (mut bob, _) = Peer::join(server.local_addr(), "room");
    ann.update(&typing(1, 0, "secret"));
    ann.update(&typing(2, 0, "rude"));
    assert!(bob.wait_for_content("kind").ends_with(&typing(7, 0, "kind")));
    ann.update(&typing(3, 0, "plain"));
    bob.wait_for_content("plain");
    ann.update(&typing(3, 5, "out"));
    assert_eq!(ann.wait_for_close(), (4400, "not in room".to_owned()));
    let (_cal, all) = Peer::join(server.local_addr(), "room");
    assert!(contains(&all, b"kind") && contains(&all, b"plain"));
    assert!(!contains(&all, b"secret") && !contains(&all, b"rude") && !contains(&all, b"out"));
}

fn the_first_frame_is_looked_at_like_any_other<R: Runtime>() {
    let server = server::<R>()
        .on_message(|incoming| async move {
            if says(&incoming, "secret") { Verdict::Drop } else { Verdict::Pass }
        })
        .bind("127.0.0.1:0")
        .unwrap();
    for n in 0..20 {
        // In one write with the request, so that it is there before the room knows of the peer.
        let mut stream = std::net::TcpStream::connect(server.local_addr()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let update = typing(100 + n, 0, "secret");
        let mut bytes = crate::support::request("/room").into_bytes();
        bytes.extend(frame(BINARY, &[&[0, 2, update.len() as u8], &update[..]].concat()));
        bytes.extend(frame(CLOSE, &[]));
        stream.write_all(&bytes).unwrap();
        std::io::copy(&mut stream, &mut std::io::sink()).unwrap();
    }
    let (_ann, all) = Peer::join(server.local_addr(), "room");
    assert!(!contains(&all, b"secret"));
}

fn frames_that_wait_for_a_verdict_stay_in_order_and_others_go_on<R: Runtime>() {
    let server = server::<R>()
        .on_message(|incoming| async move {
            if says(&incoming, "slow") {
                sleep(Duration::from_millis(50)).await;
            }
            Verdict::Pass
        })
        .bind("127.0.0.1:0")
        .unwrap();
    let (mut ann, _) = Peer::join(server.local_addr(), "room");
    let (mut bob, _) = Peer::join(server.local_addr(), "room");
    // Each depends on the one before it: out of order, the server would have to ask again.
    for n in 0..10 {
        ann.update(&typing(1, n * 6, if n % 2 == 0 { "slow, " } else { "fast, " }));
    }
    let began = Instant::now();
    bob.update(&typing(2, 0, "meanwhile"));
    let (mut cal, _) = Peer::join(server.local_addr(), "room");
    cal.update(&typing(3, 0, "from cal"));
    bob.wait_for_content("from cal");
    assert!(began.elapsed() < Duration::from_millis(240), "{:?}", began.elapsed());
    eventually(|| {
        let room = wait(server.rooms().get(&name("room"))).unwrap();
        text(&wait(room.snapshot()).unwrap()).contains(&"slow, fast, ".repeat(5))
    });
    // It is read from again.
    ann.update(&typing(1, 60, "the end"));
    bob.wait_for_content("the end");
}

fn the_last_edit_before_leaving_is_looked_at_and_stored<R: Runtime>() {
    let store = Told::default();
    let server = server::<R>()
        .store(Arc::new(store.clone()))
        .on_message(|incoming| async move {
            if says(&incoming, "last") {
                sleep(Duration::from_millis(100)).await;
            }
            Verdict::Pass
        })
        .bind("127.0.0.1:0")
        .unwrap();
    let (mut ann, _) = Peer::join(server.local_addr(), "leaves");
    ann.update(&typing(1, 0, "the last"));
    ann.leave();
    let (mut bob, _) = Peer::join(server.local_addr(), "vanishes");
    bob.update(&typing(1, 0, "the last"));
    drop(bob);
    eventually(|| {
        let stored = |room: &str| !store.inner.get(&name(room)).is_absent();
        stored("leaves") && stored("vanishes")
    });
    let (mut cal, _) = Peer::join(server.local_addr(), "stops");
    cal.update(&typing(1, 0, "the last"));
    thread::sleep(Duration::from_millis(20));
    assert!(server.shutdown().is_clean());
    assert!(!store.inner.get(&name("stops")).is_absent());
}

type Notices = Arc<Mutex<Vec<(Hook, Failure)>>>;

fn watched<R: Runtime>(notices: &Notices) -> Server<R> {
    let notices = Arc::clone(notices);
    server::<R>().observe(move |notice| {
        if let Notice::HookFailed { hook, room, peer: Some(_), failure } = notice {
            assert_eq!(room.as_str(), "room");
            notices.lock().unwrap().push((*hook, (*failure).clone()));
        }
    })
}

/// Two peers, one of which brings the application down; the other, and the room, go on.
fn unharmed<R: Runtime>(server: Server<R>, bad: &[u8], notices: &Notices, told: &(Hook, Failure)) {
    let server = server.bind("127.0.0.1:0").unwrap();
    let (mut bob, _) = Peer::join(server.local_addr(), "room");
    let (mut cal, _) = Peer::join(server.local_addr(), "other");
    for n in 0..3 {
        let (mut ann, _) = Peer::join(server.local_addr(), "room");
        ann.update(&typing(10 + n, 0, "before"));
        ann.send(bad);
        ann.update(&typing(10 + n, 6, "after"));
        bob.wait_for_content("before");
        assert_eq!(ann.wait_for_close(), (1011, "the application failed".to_owned()));
    }
    assert_eq!(*notices.lock().unwrap(), vec![told.clone(); 3]);
    cal.update(&typing(2, 0, "unharmed"));
    bob.update(&typing(2, 0, "unharmed"));
    for room in ["room", "other"] {
        eventually(|| contains(&Peer::join(server.local_addr(), room).1, b"unharmed"));
    }
    // A filter holds back what comes after; messages and documents are told apart later.
    let after = contains(&Peer::join(server.local_addr(), "room").1, b"after");
    assert!(!after || told.0 == Hook::Message);
    assert!(server.shutdown().is_clean());
}

fn bad() -> Vec<u8> {
    let update = typing(1, 0, "bad");
    [&[0, 2, update.len() as u8], &update[..]].concat()
}

fn a_filter_that_panics_costs_its_connection_only<R: Runtime>() {
    let notices = Notices::default();
    let at_once = watched::<R>(&notices).on_message(|incoming| {
        assert!(!says(&incoming, "bad"), "as a test wants it");
        async { Verdict::Pass }
    });
    let told = (Hook::Filter, Failure::Panicked);
    unharmed(at_once, &bad(), &notices, &told);
    let notices = Notices::default();
    let later = watched::<R>(&notices).on_message(|incoming| async move {
        if says(&incoming, "bad") {
            sleep(Duration::from_millis(20)).await;
            panic!("as a test wants it");
        }
        Verdict::Pass
    });
    unharmed(later, &bad(), &notices, &told);
}

fn a_filter_that_never_ends_costs_its_connection_only<R: Runtime>() {
    let notices = Notices::default();
    let server = watched::<R>(&notices).hook_timeout(Duration::from_millis(200)).on_message(
        |incoming| async move {
            if says(&incoming, "bad") {
                std::future::pending::<()>().await;
            }
            Verdict::Pass
        },
    );
    unharmed(server, &bad(), &notices, &(Hook::Filter, Failure::TimedOut));
}

fn a_filter_that_takes_five_seconds_holds_nobody_else_up<R: Runtime>() {
    let server = server::<R>()
        .on_message(|incoming| async move {
            if says(&incoming, "think") {
                sleep(Duration::from_secs(5)).await;
            }
            Verdict::Pass
        })
        .bind("127.0.0.1:0")
        .unwrap();
    let (mut ann, _) = Peer::join(server.local_addr(), "room");
    let (mut bob, _) = Peer::join(server.local_addr(), "room");
    let (mut cal, _) = Peer::join(server.local_addr(), "room");
    ann.update(&typing(1, 0, "think"));
    let began = Instant::now();
    let mut slowest = Duration::ZERO;
    let mut n = 0;
    while began.elapsed() < Duration::from_secs(4) {
        let sent = Instant::now();
        bob.update(&typing(2, n, "x"));
        cal.wait_for(|message| message.starts_with(&[0, 2]));
        slowest = slowest.max(sent.elapsed());
        n += 1;
        thread::sleep(Duration::from_millis(5));
    }
    assert!(slowest < Duration::from_secs(1) && n > 50, "{n} edits, the slowest in {slowest:?}");
    cal.wait_for_content("think");
    assert!(began.elapsed() >= Duration::from_secs(5));
}

fn a_peer_whose_frame_is_looked_at_is_not_read_from<R: Runtime>() {
    let limits = Limits { frame_bytes: 100_000, ..Limits::default() };
    let server = Server::<R>::new(Config { limits, ..Config::default() })
        .threads(1)
        .on_message(|incoming| async move {
            if says(&incoming, "stop") {
                sleep(Duration::from_secs(4)).await;
            }
            Verdict::Pass
        })
        .bind("127.0.0.1:0")
        .unwrap();
    let (mut ann, _) = Peer::join(server.local_addr(), "room");
    let (mut bob, _) = Peer::join(server.local_addr(), "room");
    ann.update(&typing(1, 0, "stop"));
    // Far more than both sockets' buffers take.
    ann.stream.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    let big = "0123456789".repeat(9_000);
    let mut message = vec![0, 2];
    let update = typing(1, 4, &big);
    varint(&mut message, update.len() as u64);
    message.extend(update);
    let stuck = (0..2_000).any(|_| ann.try_send(&message).is_err());
    assert!(stuck, "it was read from");
    bob.wait_for_content("stop");
    bob.wait_for(|message| message.len() > 90_000);
}

fn application_messages_come_in_order_and_are_answered<R: Runtime>() {
    // Jupyter's: type 2 is y-protocols' auth, and theirs.
    let server = server::<R>()
        .on_application_message([2, 300], |incoming| async move {
            let Incoming { peer, frame } = incoming;
            if frame[1] % 2 == 0 {
                sleep(Duration::from_millis(10)).await;
            }
            let room = wait_for_room(&peer).await;
            assert_eq!(peer.send(frame).await, Ok(yroom::Told::Sent));
            let others = room.broadcast(vec![125, 9]).await;
            assert!(others.is_ok(), "{others:?}");
        })
        .bind("127.0.0.1:0")
        .unwrap();
    let (mut ann, _) = Peer::join(server.local_addr(), "room");
    let (mut bob, _) = Peer::join(server.local_addr(), "room");
    for n in 0..20 {
        ann.send(&[2, n]);
    }
    for n in 0..20 {
        assert_eq!(ann.wait_for(|message| message[0] == 2), [2, n]);
    }
    bob.wait_for(|message| message == [125, 9]);
    ann.send(&[0xac, 0x02, 7]);
    ann.wait_for(|message| message == [0xac, 0x02, 7]);
    ann.update(&typing(1, 0, "and the document"));
    bob.wait_for_content("and the document");
    assert!(server.shutdown().is_clean());
}

async fn wait_for_room(peer: &yroom_net::app::Peer) -> yroom_net::app::Room {
    peer.rooms().get(peer.room()).await.expect("it is there")
}

fn a_message_hook_that_fails_costs_its_connection_only<R: Runtime>() {
    let notices = Notices::default();
    let panics = watched::<R>(&notices)
        .on_application_message([2], |_| async { panic!("as a test wants it") });
    unharmed(panics, &[2, 1], &notices, &(Hook::Message, Failure::Panicked));
    let notices = Notices::default();
    let never = watched::<R>(&notices)
        .hook_timeout(Duration::from_millis(200))
        .on_application_message([2], |_| std::future::pending());
    unharmed(never, &[2, 1], &notices, &(Hook::Message, Failure::TimedOut));
}
