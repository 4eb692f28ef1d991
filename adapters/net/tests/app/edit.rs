//! Closures on the documents of live rooms.

use crate::stores::Told;
use crate::support::{Got, PATIENCE, Peer, STEP1, frame, typing};
use crate::{eventually, name, payload, push, text, wait};
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use yroom::{Config, Limits, NotApplied};
use yroom_net::app::{Room, RoomError};
use yroom_net::{Running, Runtime, Server};
use yrs::{GetString, Map, Transact, WriteTxn};

suite! {
    a_thousand_edits_while_clients_type_converge
    edits_of_a_room_see_each_other
    an_edit_is_seen_by_peers_and_sees_theirs
    a_closure_that_panics_changes_nothing
    a_document_that_is_not_safe_is_not_worked_on
    an_edit_that_the_room_refuses_is_an_error
    a_long_reading_holds_no_peer_up
    what_panics_when_nobody_waits_for_it_any_more_harms_nobody
}

fn start<R: Runtime>() -> Running {
    let server = Server::<R>::new(Config::default()).threads(2);
    server.store(Arc::new(Told::default())).bind("127.0.0.1:0").expect("it binds")
}

fn room(server: &Running) -> Room {
    wait(server.rooms().get(&name("room"))).unwrap()
}

/// All futures at once.
fn all<T>(futures: impl IntoIterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let joined = futures_util::future::join_all(futures);
    wait(joined)
}

/// A client that types a word at a time until it is told to stop; then gives everything it has.
fn typist(addr: SocketAddr, client: u64, stop: Arc<AtomicBool>) -> JoinHandle<(u64, Vec<u8>)> {
    thread::spawn(move || {
        let (mut peer, step2) = Peer::join(addr, "room");
        let mut have = vec![payload(&step2).to_vec()];
        let mut typed = 0;
        while !stop.load(Ordering::SeqCst) {
            let update = typing(client, typed * 2, "ab");
            peer.update(&update);
            have.push(update);
            typed += 1;
            thread::sleep(Duration::from_millis(5));
        }
        // What it saw until it has everything that was written before it asked.
        peer.send(STEP1);
        let until = Instant::now() + PATIENCE;
        loop {
            assert!(Instant::now() < until, "no answer");
            match peer.next() {
                Got::Message(message) if message.starts_with(&[0, 1]) => {
                    have.push(payload(&message).to_vec());
                    break;
                }
                Got::Message(message) if message.starts_with(&[0, 2]) => {
                    have.push(payload(&message).to_vec());
                }
                Got::Message(_) => {}
                other => panic!("{other:?}"),
            }
        }
        let have: Vec<&[u8]> = have.iter().map(Vec::as_slice).collect();
        (typed, yroom::update::merge(&have).unwrap())
    })
}

fn a_thousand_edits_while_clients_type_converge<R: Runtime>() {
    let server = start::<R>();
    let room = room(&server);
    let stop = Arc::new(AtomicBool::new(false));
    let typists: Vec<_> = (0..50)
        .map(|client| typist(server.local_addr(), 1_000 + client, Arc::clone(&stop)))
        .collect();
    eventually(|| wait(room.peers()).unwrap().len() == 50);
    let edits = (0..1_000).map(|n| {
        let room = room.clone();
        async move { room.edit(move |txn| push(txn, &format!("<{n}>"))).await }
    });
    for result in all(edits) {
        result.unwrap();
    }
    stop.store(true, Ordering::SeqCst);
    let typists: Vec<_> = typists.into_iter().map(|typist| typist.join().unwrap()).collect();
    let typed: u64 = typists.iter().map(|(typed, _)| typed).sum();
    wait(room.flush()).unwrap();
    let everything = text(&wait(room.snapshot()).unwrap());
    for n in 0..1_000 {
        assert_eq!(everything.matches(&format!("<{n}>")).count(), 1, "{n}");
    }
    let letters = everything.chars().filter(char::is_ascii_lowercase).count();
    assert_eq!(letters as u64, typed * 2);
    // A client that came now and one that was there all the time have the same.
    let (_late, step2) = Peer::join(server.local_addr(), "room");
    assert_eq!(text(payload(&step2)), everything);
    for (_, has) in typists {
        let all = yroom::update::merge(&[&has, payload(&step2)]).unwrap();
        assert_eq!(text(&all), everything);
        assert!(text(&has).matches('<').count() == 1_000, "all edits were seen by all");
    }
    assert!(server.shutdown().is_clean());
}

fn edits_of_a_room_see_each_other<R: Runtime>() {
    let server = start::<R>();
    let room = room(&server);
    let counts = (0..300).map(|_| {
        let room = room.clone();
        async move {
            let counted = room.edit(|txn| {
                let map = txn.get_or_insert_map("m");
                let before = map.get(txn, "count").and_then(|count| count.cast::<f64>().ok());
                let count = before.unwrap_or(0.0);
                map.insert(txn, "count", count + 1.0);
                format!("{}", count + 1.0)
            });
            counted.await.unwrap()
        }
    });
    let mut counts: Vec<u32> = all(counts).iter().map(|count| count.parse().unwrap()).collect();
    counts.sort_unstable();
    assert_eq!(counts, (1..=300).collect::<Vec<u32>>());
    // All of them are one client's, which matters to a document for good.
    let clients = wait(room.state_vector()).unwrap().iter().count();
    assert_eq!(clients, 1);
}

fn an_edit_is_seen_by_peers_and_sees_theirs<R: Runtime>() {
    let server = start::<R>();
    let room = room(&server);
    let (mut ann, _) = Peer::join(server.local_addr(), "room");
    ann.update(&typing(1, 0, "from ann"));
    eventually(|| text(&wait(room.snapshot()).unwrap()) == "from ann");
    let seen = wait(room.edit(|txn| {
        push(txn, ", and within");
        let notes = txn.get_or_insert_text("t");
        notes.get_string(txn)
    }));
    assert_eq!(seen.unwrap(), "from ann, and within");
    ann.wait_for_content(", and within");
    let read = wait(room.read(|doc| {
        let notes = doc.get_or_insert_text("t");
        // What is written to the copy is nobody's.
        push(&mut doc.transact_mut(), " and thrown away");
        notes.get_string(&doc.transact())
    }));
    assert_eq!(read.unwrap(), "from ann, and within and thrown away");
    assert_eq!(text(&wait(room.snapshot()).unwrap()), "from ann, and within");
}

fn a_closure_that_panics_changes_nothing<R: Runtime>() {
    let server = start::<R>();
    let room = room(&server);
    let edits = (0..100).map(|n| {
        let room = room.clone();
        async move {
            let edited = room.edit(move |txn| {
                push(txn, if n % 10 == 3 { "bad" } else { "good" });
                assert!(n % 10 != 3, "as a test wants it");
            });
            let reading = room.read(move |doc| {
                assert!(n % 10 != 4, "as a test wants it");
                doc.client_id()
            });
            (n, edited.await, reading.await.map(drop))
        }
    });
    for (n, edited, read) in all(edits) {
        assert_eq!(edited, if n % 10 == 3 { Err(RoomError::Panicked) } else { Ok(()) });
        assert_eq!(read, if n % 10 == 4 { Err(RoomError::Panicked) } else { Ok(()) });
    }
    assert_eq!(text(&wait(room.snapshot()).unwrap()), "good".repeat(90));
    assert!(server.shutdown().is_clean());
}

fn a_document_that_is_not_safe_is_not_worked_on<R: Runtime>() {
    let server = start::<R>();
    let room = room(&server);
    let (mut ann, _) = Peer::join(server.local_addr(), "room");
    let (mut bob, _) = Peer::join(server.local_addr(), "room");
    // A sub-document: yrs is not safe with it, and the room knows it as bytes.
    ann.update(&[1, 1, 7, 0, 9, 1, 1, b'a', 1, b'g', 118, 0, 0]);
    bob.wait_for(|message| message.starts_with(&[0, 2]));
    let edited = wait(room.edit(|txn| push(txn, "x")));
    assert!(matches!(edited, Err(RoomError::Unworkable(_))), "{edited:?}");
    assert!(matches!(wait(room.read(|_| ())), Err(RoomError::Unworkable(_))));
    // Updates of its own it can apply all the same.
    wait(room.apply(typing(2, 0, "as bytes"))).unwrap();
    bob.wait_for_content("as bytes");
}

fn an_edit_that_the_room_refuses_is_an_error<R: Runtime>() {
    let limits = Limits { document_bytes: 1_000, ..Limits::default() };
    let server = Server::<R>::new(Config { limits, ..Config::default() })
        .bind("127.0.0.1:0")
        .expect("it binds");
    let room = room(&server);
    let refused = wait(room.edit(|txn| push(txn, &"too much".repeat(1_000))));
    assert!(matches!(refused, Err(RoomError::NotApplied(NotApplied::Invalid(_)))), "{refused:?}");
    wait(room.edit(|txn| push(txn, "enough"))).unwrap();
    assert_eq!(text(&wait(room.snapshot()).unwrap()), "enough");
}

fn a_long_reading_holds_no_peer_up<R: Runtime>() {
    let server = start::<R>();
    let room = room(&server);
    let (mut ann, _) = Peer::join(server.local_addr(), "room");
    let (mut bob, _) = Peer::join(server.local_addr(), "room");
    let reader = room.clone();
    let reading = thread::spawn(move || {
        wait(reader.read(|_| thread::sleep(Duration::from_secs(2)))).unwrap();
    });
    let other = wait(server.rooms().get(&name("other"))).unwrap();
    let began = Instant::now();
    for n in 0..50 {
        // In a frame of its own, and in two writes.
        let update = typing(1, n, "x");
        let bytes = frame(2, &[&[0, 2, update.len() as u8], &update[..]].concat());
        ann.stream.write_all(&bytes[..3]).unwrap();
        ann.stream.write_all(&bytes[3..]).unwrap();
        bob.wait_for(|message| message.starts_with(&[0, 2]));
    }
    wait(other.edit(|txn| push(txn, "elsewhere"))).unwrap();
    assert!(began.elapsed() < Duration::from_millis(1_500), "{:?}", began.elapsed());
    assert!(!reading.is_finished());
    reading.join().unwrap();
}

fn what_panics_when_nobody_waits_for_it_any_more_harms_nobody<R: Runtime>() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("as a test wants it");
        }
    }
    let limits = Limits { document_bytes: 10_000, ..Limits::default() };
    let server = Server::<R>::new(Config { limits, ..Config::default() })
        .bind("127.0.0.1:0")
        .expect("it binds");
    let room = room(&server);
    for n in 0..3 {
        {
            let mut edit = std::pin::pin!(room.edit(move |txn| {
                push(txn, "x");
                thread::sleep(Duration::from_millis(20));
                // The second is refused by the room.
                if n == 1 {
                    push(txn, &"x".repeat(20_000));
                }
                Bomb
            }));
            let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
            assert!(edit.as_mut().poll(&mut cx).is_pending());
        }
        wait(room.edit(|txn| push(txn, "y"))).unwrap();
    }
    let all = text(&wait(room.snapshot()).unwrap());
    assert_eq!(all.matches('x').count(), 2, "what was begun is done: {}", all.len());
    assert!(server.shutdown().is_clean());
}
