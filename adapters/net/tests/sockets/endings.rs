//! How it ends: for a peer, for a store, for the server.

use super::{FAST, start, start_with};
use crate::support::{BINARY, CLOSE, Got, PING, Peer, contains, eventually, frame, typing, varint};
use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;
use yroom::{Config, Event, Limits, RoomName, StoreFault, StoreFaultKind, StoreOp};
use yroom_net::store::{MemoryStore, Reply, Store};
use yroom_net::{Notice, Runtime, Server};

suite! {
    a_shutdown_closes_with_1012_and_keeps_what_was_sent
    the_last_edit_before_leaving_is_stored
    a_failing_store_stops_a_writer_and_lets_it_go_on
    a_shutdown_says_what_the_store_did_not_take
    a_peer_that_vanishes_is_noticed
    a_store_that_panics_ends_its_shard_and_is_told
    a_server_is_stopped_from_elsewhere
    a_server_that_is_dropped_ends_in_order
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
        varint(&mut message, update.len() as u64);
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
