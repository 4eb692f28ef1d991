//! The first content of rooms: once, whoever comes and whatever fails.

use crate::stores::{Appends, Told};
use crate::support::{PATIENCE, Peer, STEP1};
use crate::{eventually, name, payload, push, text, wait};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use yroom::{Config, Durability, Limits, RoomName};
use yroom_net::app::{Failure, Hook, RoomError, seed};
use yroom_net::{Notice, Running, Runtime, Server};

suite! {
    a_hundred_first_joiners_find_the_content_once
    an_initialiser_is_not_called_for_a_store_that_fails
    a_crash_in_the_middle_leaves_the_content_once
    a_client_that_saw_it_before_the_disk_was_lost_brings_no_second
    a_room_that_is_stored_is_not_filled_again
    an_initialiser_that_fails_closes_its_peers_and_is_called_again
    an_initialiser_that_never_ends_is_the_end_of_the_load_only
    an_initialiser_that_nobody_waits_for_is_cancelled
}

const CONTENT: &str = "# Minutes\n";

fn first(name: &RoomName) -> Vec<u8> {
    seed(name, |txn| push(txn, CONTENT)).unwrap().to_vec()
}

/// A server that fills rooms and counts how often.
fn start<R: Runtime>(store: &Told, config: Config, calls: &Arc<AtomicUsize>) -> Running {
    let calls = Arc::clone(calls);
    Server::<R>::new(config)
        .threads(2)
        .store(Arc::new(store.clone()))
        .initialise(move |name| {
            calls.fetch_add(1, Ordering::SeqCst);
            async move { Ok(Some(first(&name).into())) }
        })
        .bind("127.0.0.1:0")
        .expect("it binds")
}

fn a_hundred_first_joiners_find_the_content_once<R: Runtime>() {
    let (store, calls) = (Told::default(), Arc::default());
    let server = start::<R>(&store, Config::default(), &calls);
    let addr = server.local_addr();
    let joiners: Vec<_> =
        (0..100).map(|_| thread::spawn(move || Peer::join(addr, "minutes"))).collect();
    let mut peers = Vec::new();
    for joiner in joiners {
        let (peer, step2) = joiner.join().unwrap();
        assert_eq!(text(payload(&step2)), CONTENT);
        peers.push(peer);
    }
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    let stored = wait(wait(server.rooms().get(&name("minutes"))).unwrap().snapshot()).unwrap();
    assert_eq!(text(&stored), CONTENT);
    drop(peers);
    assert!(server.shutdown().is_clean());
}

fn an_initialiser_is_not_called_for_a_store_that_fails<R: Runtime>() {
    let (store, calls) = (Told::default(), Arc::default());
    store.fail_loads(1);
    let server = start::<R>(&store, Config::default(), &calls);
    let mut ann = Peer::connect(server.local_addr(), "minutes");
    assert_eq!(ann.wait_for_close().0, 1013);
    assert_eq!(calls.load(Ordering::SeqCst), 0, "absent is not what it said");
    let (_bob, step2) = Peer::join(server.local_addr(), "minutes");
    assert_eq!(text(payload(&step2)), CONTENT);
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

fn a_crash_in_the_middle_leaves_the_content_once<R: Runtime>() {
    let (store, calls) = (Told::default(), Arc::default());
    store.appends(Appends::Ignore);
    let server = start::<R>(&store, Config::default(), &calls);
    let mut ann = Peer::connect(server.local_addr(), "minutes");
    ann.send(STEP1);
    eventually(|| calls.load(Ordering::SeqCst) == 1);
    // Nobody is served what is not stored, so nobody fills an empty room.
    ann.stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let mut byte = [0];
    let nothing = std::io::Read::read(&mut ann.stream, &mut byte);
    assert!(nothing.is_err(), "{nothing:?}");
    drop(ann);
    // It dies with the content on its way: a store that does not answer, and is then another.
    drop(server);
    let after = store.another();
    let server = start::<R>(&after, Config::default(), &calls);
    let (_bob, step2) = Peer::join(server.local_addr(), "minutes");
    assert_eq!(text(payload(&step2)), CONTENT);
    assert_eq!(calls.load(Ordering::SeqCst), 2);
    // And if the write that was on its way is carried out after all.
    store.let_go();
    assert!(server.shutdown().is_clean());
    let server = start::<R>(&after, Config::default(), &calls);
    let (_cal, step2) = Peer::join(server.local_addr(), "minutes");
    assert_eq!(text(payload(&step2)), CONTENT);
    assert_eq!(calls.load(Ordering::SeqCst), 2);
}

fn a_client_that_saw_it_before_the_disk_was_lost_brings_no_second<R: Runtime>() {
    let calls = Arc::default();
    let config = Config { durability: Durability::Eventual, ..Config::default() };
    let server = start::<R>(&Told::default(), config.clone(), &calls);
    let (_ann, step2) = Peer::join(server.local_addr(), "minutes");
    let seen = payload(&step2).to_vec();
    drop(server);
    // Nothing of it was stored.
    let server = start::<R>(&Told::default(), config, &calls);
    let (mut ann, step2) = Peer::join(server.local_addr(), "minutes");
    assert_eq!(calls.load(Ordering::SeqCst), 2);
    assert_eq!(payload(&step2), seen);
    ann.update(&seen);
    ann.update(&crate::support::typing(9, 0, "!"));
    let room = wait(server.rooms().get(&name("minutes"))).unwrap();
    eventually(|| text(&wait(room.snapshot()).unwrap()).contains('!'));
    let all = text(&wait(room.snapshot()).unwrap());
    assert_eq!(all.replace('!', ""), CONTENT);
}

fn a_room_that_is_stored_is_not_filled_again<R: Runtime>() {
    let (store, calls) = (Told::default(), Arc::default());
    let config = Config { unload_after: Duration::ZERO, ..Config::default() };
    let server = start::<R>(&store, config, &calls);
    let rooms = server.rooms();
    for _ in 0..3 {
        let room = wait(rooms.get(&name("minutes"))).unwrap();
        assert_eq!(text(&wait(room.snapshot()).unwrap()), CONTENT);
        drop(room);
        eventually(|| wait(rooms.list()).unwrap().is_empty());
    }
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    // A fork brings its content itself.
    wait(rooms.fork(&name("minutes"), &name("copy"))).unwrap();
    let copy = wait(rooms.get(&name("copy"))).unwrap();
    assert_eq!(text(&wait(copy.snapshot()).unwrap()), CONTENT);
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

type Notices = Arc<Mutex<Vec<(Hook, Failure)>>>;

fn watched<R: Runtime>(config: Config, notices: &Notices) -> Server<R> {
    let notices = Arc::clone(notices);
    Server::<R>::new(config).threads(1).observe(move |notice| {
        if let Notice::HookFailed { hook, room, peer: None, failure } = notice {
            assert_eq!(room.as_str(), "minutes");
            notices.lock().unwrap().push((*hook, (*failure).clone()));
        }
    })
}

fn an_initialiser_that_fails_closes_its_peers_and_is_called_again<R: Runtime>() {
    let (notices, calls) = (Notices::default(), AtomicUsize::new(0));
    let server = watched::<R>(Config::default(), &notices)
        .initialise(move |name| {
            let call = calls.fetch_add(1, Ordering::SeqCst);
            assert!(call != 0, "as a test wants it");
            async move {
                assert!(call != 1, "as a test wants it");
                if call == 2 {
                    return Err("not today".into());
                }
                if call == 3 {
                    return Ok(Some(b"nonsense".to_vec().into()));
                }
                Ok(Some(first(&name).into()))
            }
        })
        .bind("127.0.0.1:0")
        .unwrap();
    let mut first_joiner = Peer::connect(server.local_addr(), "minutes");
    assert_eq!(first_joiner.wait_for_close().0, 1013);
    for _ in 0..3 {
        let gone = wait(server.rooms().get(&name("minutes")));
        assert!(matches!(gone, Err(RoomError::NotLoaded(_))), "{gone:?}");
    }
    let (_ann, step2) = Peer::join(server.local_addr(), "minutes");
    assert_eq!(text(payload(&step2)), CONTENT);
    let notices = notices.lock().unwrap();
    assert!(notices.contains(&(Hook::Initialise, Failure::Panicked)), "{notices:?}");
    assert!(notices.contains(&(Hook::Initialise, Failure::Error("not today".to_owned()))));
    assert!(server.shutdown().is_clean());
}

fn an_initialiser_that_never_ends_is_the_end_of_the_load_only<R: Runtime>() {
    let limits = Limits { load_timeout: Duration::from_millis(300), ..Limits::default() };
    let server = Server::<R>::new(Config { limits, ..Config::default() })
        .threads(1)
        .initialise(|name| async move {
            if name.as_str() == "never" {
                std::future::pending::<()>().await;
            }
            Ok(None)
        })
        .bind("127.0.0.1:0")
        .unwrap();
    let began = Instant::now();
    let mut ann = Peer::connect(server.local_addr(), "never");
    let (_bob, nothing) = Peer::join(server.local_addr(), "other");
    assert_eq!(nothing, [0, 1, 2, 0, 0]);
    assert_eq!(ann.wait_for_close().0, 1013);
    assert!(matches!(wait(server.rooms().get(&name("never"))), Err(RoomError::NotLoaded(_))));
    assert!(began.elapsed() < PATIENCE / 2);
    assert!(server.shutdown().is_clean());
}

fn an_initialiser_that_nobody_waits_for_is_cancelled<R: Runtime>() {
    struct Cancelled(Arc<AtomicUsize>);
    impl Drop for Cancelled {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let (began, over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (begun, cancelled) = (Arc::clone(&began), Arc::clone(&over));
    let server = Server::<R>::new(Config::default())
        .threads(1)
        .initialise(move |_| {
            begun.fetch_add(1, Ordering::SeqCst);
            let cancelled = Cancelled(Arc::clone(&cancelled));
            async move {
                std::future::pending::<()>().await;
                drop(cancelled);
                Ok(None)
            }
        })
        .bind("127.0.0.1:0")
        .unwrap();
    let ann = Peer::connect(server.local_addr(), "room");
    eventually(|| began.load(Ordering::SeqCst) == 1);
    drop(ann);
    eventually(|| over.load(Ordering::SeqCst) == 1);
    assert!(server.shutdown().is_clean());
}
