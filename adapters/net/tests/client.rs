//! Sessions with servers on real sockets, the same for each runtime.
#![allow(missing_docs, reason = "the names of tests are sentences")]
#![cfg(feature = "client")]

#[path = "support/programs.rs"]
mod programs;
#[macro_use]
#[path = "support/suite.rs"]
mod suite;

use programs::{Program, quick, serve, start, wait, wait_for};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use yroom::RoomName;
use yroom_net::Runtime;
use yroom_net::client::{
    Client, Confirmation, ConnectError, Credentials, Options, Phase, Session, StopReason,
};
use yroom_net::store::MemoryStore;
use yrs::{Doc, GetString, Map, Text, Transact};

suite! {
    two_programs_edit_one_document
    a_flush_ends_when_the_edit_is_on_the_disk
    a_server_that_restarts_in_mid_edit_loses_nothing
    ten_thousand_edits_made_offline_arrive_once
    others_are_seen_and_seen_to_leave
    a_session_that_is_dropped_says_goodbye
    statuses_tell_how_it_goes_and_end_with_the_session
    a_refusal_is_the_end_and_a_failure_is_not
    credentials_are_asked_for_before_every_attempt
    a_copy_in_a_store_survives_the_session
    a_url_without_a_room_is_refused_at_once
    many_sessions_share_a_thread
    a_document_with_two_sessions_links_two_servers
}

fn two_programs_edit_one_document<R: Runtime>() {
    let server = start::<R>();
    let ann = Program::<R>::synced(server.local_addr());
    let bob = Program::<R>::synced(server.local_addr());
    ann.push("from ann, ");
    wait_for("ann's text", || bob.text() == "from ann, ");
    bob.push("from bob");
    wait_for("bob's text", || ann.text() == "from ann, from bob");
    let map = ann.doc.get_or_insert_map("map");
    map.insert(&mut ann.doc.transact_mut(), "key", 7);
    let map = bob.doc.get_or_insert_map("map");
    wait_for("the map", || map.get_as::<_, i32>(&bob.doc.transact(), "key").ok() == Some(7));
}

fn a_flush_ends_when_the_edit_is_on_the_disk<R: Runtime>() {
    let store = MemoryStore::new();
    let server = serve::<R>(&store, "127.0.0.1:0");
    let ann = Program::<R>::synced(server.local_addr());
    let room = RoomName::new("room").unwrap();
    for round in 1..=20 {
        ann.push("x");
        assert_eq!(wait(ann.session.flush()), Ok(Confirmation::Acknowledged));
        assert_eq!(store.get(&room).last().0, round);
    }
    let status = ann.session.status();
    assert_eq!((status.edits, status.confirmed), (20, 20));
}

fn a_server_that_restarts_in_mid_edit_loses_nothing<R: Runtime>() {
    let store = MemoryStore::new();
    let mut server = serve::<R>(&store, "127.0.0.1:0");
    let addr = server.local_addr();
    let ann = Program::<R>::synced(addr);
    let bob = Program::<R>::synced(addr);
    for round in 0..300 {
        ann.push("a");
        if round % 2 == 0 {
            bob.push("b");
        }
        if round % 100 == 50 {
            assert!(server.shutdown().is_clean());
            server = serve::<R>(&store, &addr.to_string());
        }
        thread::sleep(Duration::from_millis(1));
    }
    wait(ann.session.flush()).unwrap();
    wait(bob.session.flush()).unwrap();
    wait_for("one text", || ann.text() == bob.text() && ann.text().len() == 450);
    assert_eq!(ann.text().matches('b').count(), 150);
}

fn ten_thousand_edits_made_offline_arrive_once<R: Runtime>() {
    let store = MemoryStore::new();
    let server = serve::<R>(&store, "127.0.0.1:0");
    let addr = server.local_addr();
    let ann = Program::<R>::synced(addr);
    assert!(server.shutdown().is_clean());
    for _ in 0..10_000 {
        ann.push("x");
    }
    let server = serve::<R>(&store, &addr.to_string());
    wait(ann.session.flush()).unwrap();
    assert_eq!(ann.session.status().confirmed, 10_000);
    let bob = Program::<R>::synced(server.local_addr());
    assert_eq!(bob.text().len(), 10_000);
}

fn others_are_seen_and_seen_to_leave<R: Runtime>() {
    let server = start::<R>();
    let ann = Program::<R>::synced(server.local_addr());
    let bob = Program::<R>::synced(server.local_addr());
    let (ann_here, bob_here) = (ann.session.awareness(), bob.session.awareness());
    ann_here.set(Some(r#"{"name":"Ann"}"#)).unwrap();
    assert!(ann_here.set(Some("{")).is_err());
    let expected = [(ann_here.client(), r#"{"name":"Ann"}"#.to_owned())];
    wait_for("ann", || bob_here.others() == expected);
    ann_here.set(None).unwrap();
    wait_for("nobody", || bob_here.others().is_empty());
    bob_here.set(Some("1")).unwrap();
    wait_for("bob", || ann_here.others().len() == 1);
    assert!(server.shutdown().is_clean());
    wait_for("nobody without a server", || ann_here.others().is_empty());
}

fn a_session_that_is_dropped_says_goodbye<R: Runtime>() {
    let server = start::<R>();
    let ann = Program::<R>::synced(server.local_addr());
    let bob = Program::<R>::synced(server.local_addr());
    bob.session.awareness().set(Some("1")).unwrap();
    wait_for("bob", || ann.session.awareness().others().len() == 1);
    bob.push("last words");
    wait(bob.session.flush()).unwrap();
    let Program { session, .. } = bob;
    drop(session);
    wait_for("bob's leaving", || ann.session.awareness().others().is_empty());
    assert_eq!(ann.text(), "last words");
}

fn statuses_tell_how_it_goes_and_end_with_the_session<R: Runtime>() {
    use futures_util::StreamExt;
    let server = start::<R>();
    let addr = server.local_addr();
    let ann = Program::<R>::synced(addr);
    let mut statuses = ann.session.statuses();
    assert_eq!(wait(statuses.next()).map(|status| status.phase), Some(Phase::Synced));
    assert!(server.shutdown().is_clean());
    let lost = loop {
        let status = wait(statuses.next()).expect("the session goes on");
        if status.phase == Phase::Waiting {
            break status;
        }
    };
    assert!(lost.trouble.expect("why").contains("1012"));
    let _server = serve::<R>(&MemoryStore::new(), &addr.to_string());
    while wait(statuses.next()).expect("the session goes on").phase != Phase::Synced {}
    let (synced, flush) = (ann.session.synced(), ann.session.flush());
    wait(synced).unwrap();
    wait(ann.session.close());
    while let Some(status) = wait(statuses.next()) {
        assert_ne!(status.phase, Phase::Waiting);
    }
    wait(flush).expect("there was nothing to flush");
}

/// Answers each request with a status; says how many there were.
fn refuse(status: &'static str) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut head = [0; 4096];
            let mut len = 0;
            while !head[..len].ends_with(b"\r\n\r\n") {
                match stream.read(&mut head[len..]) {
                    Ok(0) | Err(_) => break,
                    Ok(read) => len += read,
                }
            }
            counted.fetch_add(1, Ordering::SeqCst);
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 4\r\n\r\nnope");
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    (addr, count)
}

fn a_refusal_is_the_end_and_a_failure_is_not<R: Runtime>() {
    let (addr, count) = refuse("403 Forbidden");
    let ann = Program::<R>::start(addr, quick());
    let ended = wait(ann.session.synced()).unwrap_err();
    assert!(matches!(&ended.reason, StopReason::Unreachable { reason } if reason.contains("403")));
    assert_eq!(wait(ann.session.flush()), Err(ended));
    assert_eq!(count.load(Ordering::SeqCst), 1);
    let (addr, count) = refuse("503 Service Unavailable");
    let bob = Program::<R>::start(addr, quick());
    wait_for("another attempt", || count.load(Ordering::SeqCst) >= 3);
    assert!(bob.session.status().trouble.is_some_and(|trouble| trouble.contains("503")));
    wait(bob.session.close());
}

fn credentials_are_asked_for_before_every_attempt<R: Runtime>() {
    let (addr, count) = refuse("503 Service Unavailable");
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let options = quick().credentials(move || {
        let count = counted.fetch_add(1, Ordering::SeqCst);
        async move {
            if count == 0 {
                return Err(std::io::ErrorKind::TimedOut.into());
            }
            Ok(Credentials::bearer("secret"))
        }
    });
    let _ann = Program::<R>::start(addr, options);
    wait_for("further attempts", || count.load(Ordering::SeqCst) >= 2);
    let asked = asked.load(Ordering::SeqCst);
    assert!(asked > count.load(Ordering::SeqCst), "the first attempt had none");
}

fn a_copy_in_a_store_survives_the_session<R: Runtime>() {
    let copy = MemoryStore::new();
    let options = || quick().store(Arc::new(copy.clone()), RoomName::new("copy").unwrap());
    let nowhere = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let ann = Program::<R>::start(nowhere, options());
    for _ in 0..100 {
        ann.push("x");
    }
    wait(ann.session.close());
    let server = start::<R>();
    let again = Program::<R>::start(server.local_addr(), options());
    wait(again.session.synced()).unwrap();
    assert_eq!(again.text().len(), 100);
    wait(again.session.flush()).unwrap();
    let bob = Program::<R>::synced(server.local_addr());
    assert_eq!(bob.text().len(), 100);
}

fn a_url_without_a_room_is_refused_at_once<R: Runtime>() {
    let client = Client::<R>::start().unwrap();
    for url in ["ws://127.0.0.1:1", "http://127.0.0.1:1/room", "room"] {
        let refused = client.connect(url, &Doc::new(), Options::default());
        assert!(matches!(refused, Err(ConnectError::Address(_))), "{url}");
    }
    let doc = Doc::new();
    let txn = doc.transact_mut();
    let refused = client.connect("ws://127.0.0.1:1/room", &doc, Options::default());
    assert!(matches!(refused, Err(ConnectError::DocumentInUse)));
    drop(txn);
}

fn many_sessions_share_a_thread<R: Runtime>() {
    let server = start::<R>();
    let client = Client::<R>::start().unwrap();
    let url = format!("ws://localhost:{}/room", server.local_addr().port());
    let programs: Vec<(Doc, Session)> = (0..100)
        .map(|_| {
            let doc = Doc::new();
            let session = client.connect(&url, &doc, quick()).unwrap();
            (doc, session)
        })
        .collect();
    drop(client);
    for (doc, session) in &programs {
        wait(session.synced()).unwrap();
        doc.get_or_insert_text("text").push(&mut doc.transact_mut(), "x");
    }
    let complete = |doc: &Doc| {
        doc.get_or_insert_text("text").get_string(&doc.transact()).len() == programs.len()
    };
    wait_for("everybody's edits everywhere", || programs.iter().all(|(doc, _)| complete(doc)));
    for (_, session) in programs {
        wait(session.close());
    }
}

fn a_document_with_two_sessions_links_two_servers<R: Runtime>() {
    let (here, there) = (start::<R>(), start::<R>());
    let link = Program::<R>::synced(here.local_addr());
    let client = Client::<R>::start().unwrap();
    let url = format!("ws://{}/room", there.local_addr());
    let upstream = client.connect(&url, &link.doc, quick()).unwrap();
    wait(upstream.synced()).unwrap();
    let ann = Program::<R>::synced(here.local_addr());
    let bob = Program::<R>::synced(there.local_addr());
    ann.push("from here, ");
    wait_for("what was written here", || bob.text() == "from here, ");
    bob.push("from there");
    wait_for("what was written there", || ann.text() == "from here, from there");
    assert_eq!(link.text(), ann.text());
}

/// Takes 5,000 file descriptors and some seconds: `cargo test --release -- --ignored storm`.
#[cfg(feature = "smol")]
#[test]
#[ignore = "takes 5,000 file descriptors"]
fn two_thousand_sessions_come_back_after_a_storm() {
    type Smol = yroom_net::runtime::Smol;
    let store = MemoryStore::new();
    let server = serve::<Smol>(&store, "127.0.0.1:0");
    let addr = server.local_addr();
    let client = Client::<Smol>::start().unwrap();
    let sessions: Vec<(Doc, Session)> = (0..2000)
        .map(|number| {
            let doc = Doc::new();
            let url = format!("ws://{addr}/room-{}", number % 100);
            let session = client.connect(&url, &doc, Options::default()).unwrap();
            (doc, session)
        })
        .collect();
    let all_synced = || sessions.iter().all(|(_, session)| session.status().phase == Phase::Synced);
    wait_for("all to be synced", all_synced);
    assert!(server.shutdown().is_clean());
    wait_for("all to notice", || !sessions.iter().any(|(_, s)| s.status().phase == Phase::Synced));
    let _server = serve::<Smol>(&store, &addr.to_string());
    let (back, mut seconds) = (Instant::now(), Vec::new());
    let mut before = 0;
    while before < sessions.len() {
        thread::sleep(Duration::from_secs(1));
        let synced = |(_, session): &&(Doc, Session)| session.status().phase == Phase::Synced;
        let now = sessions.iter().filter(synced).count();
        seconds.push(now - before);
        before = now;
        assert!(back.elapsed() < Duration::from_secs(15), "{seconds:?}");
    }
    println!("synced in each second: {seconds:?}");
    assert!(seconds.iter().all(|&count| count <= 500), "{seconds:?}");
}
