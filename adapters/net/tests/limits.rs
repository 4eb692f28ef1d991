//! Each limit of the engine, reached from a real socket: what the peer is told, and that its
//! neighbours notice nothing. Those on connections are in gate.rs, those of the link in sockets.rs.
#![allow(missing_docs, reason = "the names of tests are sentences")]
#![cfg(feature = "smol")]

#[allow(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use std::io::{ErrorKind, Write};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use support::{
    BINARY, Got, Neighbours, PATIENCE, Peer, STEP1, ask, contains, eventually, frame, request,
    typing, varint,
};
use yroom::update::ScanLimits;
use yroom::{Access, Config, Limits, Rate, StoreFault, StoreFaultKind, StoreOp};
use yroom_net::runtime::Smol;
use yroom_net::store::{MemoryStore, Reply, Store};
use yroom_net::{Running, Server, Timeouts};

fn start(limits: Limits) -> Running {
    server(limits).bind("127.0.0.1:0").unwrap()
}

/// On one thread, so that whoever is held up shows it.
fn server(limits: Limits) -> Server<Smol> {
    Server::new(Config { limits, ..Config::default() }).threads(1)
}

fn message(update: &[u8]) -> Vec<u8> {
    let mut message = vec![0, 2];
    varint(&mut message, update.len() as u64);
    message.extend_from_slice(update);
    message
}

/// One client's structs, from clock 0 on, and no deletions.
fn structs(client: u64, contents: &[&[u8]]) -> Vec<u8> {
    let mut update = vec![1];
    varint(&mut update, contents.len() as u64);
    varint(&mut update, client);
    update.push(0);
    for content in contents {
        update.extend_from_slice(content);
    }
    update.push(0);
    update
}

/// A character in the root "t".
const CHARACTER: &[u8] = &[0x04, 1, 1, b't', 1, b'x'];

/// A character of each of these clients.
fn clients(ids: std::ops::Range<u8>) -> Vec<u8> {
    let mut update = vec![ids.len() as u8];
    for id in ids {
        update.extend([1, id, 0]);
        update.extend_from_slice(CHARACTER);
    }
    update.push(0);
    update
}

/// Deletes every other character of a client.
fn deletions(client: u8, ranges: u8) -> Vec<u8> {
    let mut update = vec![0, 1, client, ranges];
    for range in 0..ranges {
        update.extend([range * 2, 1]);
    }
    update
}

/// Sends these frames to a server with these limits: the last one ends the connection, with the
/// given code, and nobody else's; and what it brought is nowhere.
fn closes(limits: Limits, frames: &[Vec<u8>], code: u16) -> String {
    let server = start(limits);
    let addr = server.local_addr();
    let mut neighbours = Neighbours::of(addr);
    let (mut roommate, _) = Peer::join(addr, "room");
    let (mut greedy, _) = Peer::join(addr, "room");
    let (last, first) = frames.split_last().unwrap();
    for frame in first {
        greedy.send(frame);
        roommate.wait_for(|message| message.starts_with(&[0, 2]));
    }
    greedy.send(last);
    let (closed, reason) = greedy.wait_for_close();
    assert_eq!(closed, code, "{reason}");
    neighbours.are_well();
    // The room goes on without it.
    let (mut late, _) = Peer::join(addr, "room");
    late.update(&typing(101, 0, "!"));
    let seen = roommate.wait_for(|message| message.starts_with(&[0, 2]));
    assert!(contains(&seen, b"!"), "{seen:?}");
    assert!(server.shutdown().is_clean());
    reason
}

fn update(update: ScanLimits) -> Limits {
    Limits { update, ..Limits::default() }
}

#[test]
fn a_document_has_so_many_bytes() {
    let limits = Limits { document_bytes: 10_000, ..Limits::default() };
    let long = "x".repeat(6_000);
    let frames = [message(&typing(1, 0, &long)), message(&typing(1, 6_000, &long))];
    closes(limits, &frames, 1009);
}

#[test]
fn an_update_has_so_many_bytes_clients_structs_and_deletions() {
    let default = ScanLimits::default();
    let long = message(&typing(1, 0, &"x".repeat(600)));
    closes(update(ScanLimits { bytes: 500, ..default }), &[long], 1009);
    let frames = [message(&clients(1..4)), message(&clients(4..8))];
    closes(update(ScanLimits { clients: 3, ..default }), &frames, 1009);
    let frames = [message(&structs(1, &[CHARACTER; 3])), message(&structs(2, &[CHARACTER; 4]))];
    closes(update(ScanLimits { structs: 3, ..default }), &frames, 1009);
    let frames = [
        message(&typing(1, 0, "twelve chars")),
        message(&deletions(1, 3)),
        message(&deletions(1, 4)),
    ];
    closes(update(ScanLimits { delete_ranges: 3, ..default }), &frames, 1009);
}

#[test]
fn a_value_and_a_tree_are_so_deep() {
    let default = ScanLimits::default();
    // ContentAny with arrays in arrays, and undefined at the bottom.
    let nested = |depth: usize| {
        let mut content = vec![0x08, 1, 1, b'a', 1];
        content.extend([117, 1].repeat(depth));
        content.push(127);
        message(&structs(3 + depth as u64, &[&content]))
    };
    closes(update(ScanLimits { depth: 6, ..default }), &[nested(4), nested(9)], 1009);
    // A Y.Array in the root, and then each in the one before.
    let tree = |client: u8, levels: u8| {
        let first = [0x07, 1, 1, b'a', 0];
        let rest: Vec<_> = (0..levels - 1).map(|level| [0x07, 0, client, level, 0]).collect();
        let mut contents: Vec<&[u8]> = vec![&first];
        contents.extend(rest.iter().map(|level| &level[..]));
        message(&structs(client.into(), &contents))
    };
    closes(update(ScanLimits { types: 6, ..default }), &[tree(1, 4), tree(2, 9)], 1009);
}

#[test]
fn a_document_has_so_many_clients_and_delete_ranges() {
    let limits = Limits { clients_per_document: 3, ..Limits::default() };
    let server = start(limits);
    let addr = server.local_addr();
    let mut neighbours = Neighbours::of(addr);
    let (mut ann, _) = Peer::join(addr, "room");
    let (mut greedy, _) = Peer::join(addr, "room");
    greedy.update(&clients(1..4));
    ann.wait_for(|message| message.starts_with(&[0, 2]));
    greedy.update(&clients(4..5));
    assert_eq!(greedy.wait_for_close().0, 1009);
    neighbours.are_well();
    // Those who are known may write on.
    ann.update(&typing(1, 1, "more"));
    let mut late = Peer::connect(addr, "room");
    late.send(STEP1);
    late.wait_for_content("more");
    let limits = Limits { delete_ranges_per_document: 3, ..Limits::default() };
    let frames = [
        message(&typing(1, 0, "twelve chars")),
        message(&deletions(1, 3)),
        message(&deletions(1, 4)),
    ];
    closes(limits, &frames, 1009);
}

#[test]
fn a_state_vector_has_so_many_entries() {
    let limits = Limits { state_vector_entries: 4, ..Limits::default() };
    let step1 = |entries: u8| {
        let mut vector = vec![entries];
        vector.extend((0..entries).flat_map(|client| [client + 1, 1]));
        [vec![0, 0, vector.len() as u8], vector].concat()
    };
    let server = start(limits.clone());
    let (mut modest, _) = Peer::join(server.local_addr(), "room");
    modest.send(&step1(4));
    modest.wait_for(|message| message.starts_with(&[0, 1]));
    closes(limits, &[step1(5)], 1009);
}

#[test]
fn there_are_so_many_rooms_and_peers_in_one() {
    let limits = Limits { rooms: 2, peers_per_room: 2, ..Limits::default() };
    let server = start(limits);
    let addr = server.local_addr();
    let mut neighbours = Neighbours::of(addr);
    let full = ask(addr, request("/next-door").as_bytes());
    assert!(full.0 == 503 && full.1.contains("the room is full"), "{full:?}");
    let (_ann, _) = Peer::join(addr, "room");
    let many = ask(addr, request("/third").as_bytes());
    assert!(many.0 == 503 && many.1.contains("too many rooms"), "{many:?}");
    neighbours.are_well();
    Peer::join(addr, "room");
}

/// An awareness message with these states.
fn awareness(states: &[(u8, &str)]) -> Vec<u8> {
    let mut inner = vec![states.len() as u8];
    for (client, state) in states {
        inner.extend([*client, 1]);
        varint(&mut inner, state.len() as u64);
        inner.extend(state.bytes());
    }
    let mut message = vec![1];
    varint(&mut message, inner.len() as u64);
    message.extend(inner);
    message
}

#[test]
fn awareness_beyond_its_limits_is_left_out_and_the_rest_of_it_is_not() {
    let limits = Limits {
        awareness_state_bytes: 40,
        awareness_ids_per_connection: 2,
        awareness_states_per_room: 3,
        ..Limits::default()
    };
    let server = start(limits);
    let addr = server.local_addr();
    let mut neighbours = Neighbours::of(addr);
    let (mut watcher, _) = Peer::join(addr, "room");
    let [(mut ann, _), (mut bob, _)] = [(); 2].map(|()| Peer::join(addr, "room"));
    let long = format!("{{\"name\":\"{}\"}}", "long".repeat(20));
    ann.send(&awareness(&[(1, &long), (2, r#"{"n":"two"}"#)]));
    let seen = watcher.wait_for(|message| message.starts_with(&[1]));
    assert!(contains(&seen, b"two") && !contains(&seen, b"long"), "{seen:?}");
    // A third id of this connection.
    ann.send(&awareness(&[(3, r#"{"n":"three"}"#), (4, r#"{"n":"four"}"#)]));
    let seen = watcher.wait_for(|message| message.starts_with(&[1]));
    assert!(contains(&seen, b"three") != contains(&seen, b"four"), "{seen:?}");
    // A fourth state of the room.
    bob.send(&awareness(&[(5, r#"{"n":"five"}"#), (6, r#"{"n":"six"}"#)]));
    let seen = watcher.wait_for(|message| message.starts_with(&[1]));
    assert!(contains(&seen, b"five") != contains(&seen, b"six"), "{seen:?}");
    // Nobody was punished.
    ann.update(&typing(1, 0, "still here"));
    bob.wait_for_content("still here");
    neighbours.are_well();
}

#[test]
fn who_sends_too_fast_is_read_from_slowly() {
    let frames_in = Rate { per_second: 200, burst: 100 };
    slowed(Limits { frames_in, ..Limits::default() }, 10);
    let bytes_in = Rate { per_second: 20_000, burst: 10_000 };
    slowed(Limits { bytes_in, ..Limits::default() }, 100);
}

/// Of 300 frames at once, of so many characters, some are free; the last of them, and what comes after
/// them, wait for a second or so.
fn slowed(limits: Limits, len: usize) {
    let server = start(limits);
    let addr = server.local_addr();
    let mut neighbours = Neighbours::of(addr);
    let (mut watcher, _) = Peer::join(addr, "room");
    let (mut hasty, _) = Peer::join(addr, "room");
    let began = Instant::now();
    let text = "y".repeat(len);
    let all: Vec<_> = (0..300)
        .flat_map(|n| frame(BINARY, &message(&typing(1, (n * len) as u64, &text))))
        .collect();
    hasty.stream.write_all(&all).unwrap();
    thread::sleep(Duration::from_millis(100));
    hasty.update(&typing(2, 0, "the last"));
    neighbours.are_well();
    assert!(began.elapsed() < Duration::from_millis(700), "{:?}", began.elapsed());
    watcher.wait_for_content("the last");
    // Less the frames of the last turn, whose debt nobody waits for.
    assert!(began.elapsed() > Duration::from_millis(600), "{:?}", began.elapsed());
    let (_late, all) = Peer::join(addr, "room");
    assert!(contains(&all, "y".repeat(300 * len).as_bytes()));
}

/// A store that answers as it is told.
#[derive(Debug, Default)]
struct Stubborn {
    inner: MemoryStore,
    late: Mutex<Vec<(StoreOp, Reply)>>,
    kept: Mutex<Vec<Reply>>,
}

impl Store for Stubborn {
    fn submit(&self, op: StoreOp, reply: Reply) {
        let room = op.name().as_str().to_owned();
        match (&op, room.as_str()) {
            (StoreOp::Load { .. }, "never-loads") => self.kept.lock().unwrap().push(reply),
            (StoreOp::Append(_), "never-stores") => self.kept.lock().unwrap().push(reply),
            (StoreOp::Load { .. }, "loads-late") => {
                self.late.lock().unwrap().push((op, reply));
            }
            (StoreOp::Append(_), "fails") => {
                reply.failed(StoreFault::new(StoreFaultKind::NotDone, "as a test wants it"));
            }
            _ => self.inner.submit(op, reply),
        }
    }

    fn close(&self) {}
}

impl Stubborn {
    /// Loads what waits for it.
    fn load(&self) {
        for (op, reply) in self.late.lock().unwrap().drain(..) {
            self.inner.submit(op, reply);
        }
    }
}

fn stubborn(limits: Limits) -> Running {
    stubborn_by(limits, &Arc::default())
}

fn stubborn_by(limits: Limits, store: &Arc<Stubborn>) -> Running {
    let timeouts = Timeouts { drain: Duration::from_millis(200), ..Timeouts::default() };
    let server = server(limits).timeouts(timeouts).store(Arc::<Stubborn>::clone(store));
    server.bind("127.0.0.1:0").unwrap()
}

#[test]
fn a_load_takes_so_long() {
    let server = stubborn(Limits { load_timeout: Duration::from_millis(300), ..Limits::default() });
    let addr = server.local_addr();
    let mut neighbours = Neighbours::of(addr);
    let mut ann = Peer::connect(addr, "never-loads");
    let began = Instant::now();
    neighbours.are_well();
    assert_eq!(ann.wait_for_close().0, 1013);
    assert!(began.elapsed() > Duration::from_millis(250), "{:?}", began.elapsed());
    neighbours.are_well();
    let _ = server.shutdown();
}

#[test]
fn before_its_room_is_loaded_a_peer_is_read_from_so_far() {
    let server = stubborn(Limits { inbox_bytes: 100_000, ..Limits::default() });
    let addr = server.local_addr();
    let mut neighbours = Neighbours::of(addr);
    let mut ann = Peer::connect(addr, "never-loads");
    fills_up(&mut ann);
    neighbours.are_well();
    let _ = server.shutdown();
}

#[test]
fn a_long_frame_is_held_up_in_its_middle_until_its_room_is_loaded() {
    let store = Arc::new(Stubborn::default());
    let server = stubborn_by(Limits::default(), &store);
    let addr = server.local_addr();
    let mut neighbours = Neighbours::of(addr);
    let mut bob = Peer::connect(addr, "loads-late");
    let text = "m".repeat(16_000_000);
    let long = frame(BINARY, &message(&typing(1, 0, &text)));
    let mut ann = Peer::connect(addr, "loads-late");
    ann.stream.set_write_timeout(Some(Duration::from_millis(700))).unwrap();
    // What the server takes and what the kernel keeps of it, and no more.
    let mut taken = 0;
    let blocked = loop {
        match ann.stream.write(&long[taken..]) {
            Ok(bytes) => taken += bytes,
            Err(error) => break error,
        }
        assert!(taken < long.len(), "all of it was taken before the room was there");
    };
    assert!([ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&blocked.kind()), "{blocked}");
    neighbours.are_well();
    // Nobody is closed for that: with the room there, the rest of it is read.
    store.load();
    ann.stream.set_write_timeout(Some(PATIENCE)).unwrap();
    ann.stream.write_all(&long[taken..]).unwrap();
    ann.update(&typing(2, 0, "and more"));
    // Whether it came with the long one or after it, it stands at an end. In a debug build on a busy
    // machine so long a frame takes its time.
    bob.stream.set_read_timeout(Some(6 * PATIENCE)).unwrap();
    let came = std::iter::repeat_with(|| bob.next()).find_map(|got| match got {
        Got::Message(message) => {
            let (first, last) = (message.len().min(200), message.len().max(200) - 200);
            let ends = [&message[..first], &message[last..]];
            ends.iter().any(|end| contains(end, b"and more")).then_some(true)
        }
        Got::Ping(_) | Got::Pong(_) => None,
        Got::Close(..) | Got::End => Some(false),
    });
    assert_eq!(came, Some(true), "bob is closed");
    neighbours.are_well();
    let _ = server.shutdown();
}

#[test]
fn what_is_not_stored_yet_is_so_much() {
    let server = stubborn(Limits { journal_bytes: 100_000, ..Limits::default() });
    let addr = server.local_addr();
    let mut neighbours = Neighbours::of(addr);
    let (mut ann, _) = Peer::join(addr, "never-stores");
    fills_up(&mut ann);
    neighbours.are_well();
    // Who joins the room is answered.
    Peer::join(addr, "never-stores");
    let _ = server.shutdown();
}

/// Writes until nothing is taken any more: the server's share and the kernel's buffers.
fn fills_up(peer: &mut Peer) {
    peer.stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let text = "z".repeat(50_000);
    let mut clock = 0;
    loop {
        match peer.try_send(&message(&typing(1, clock, &text))) {
            Ok(()) => clock += 50_000,
            Err(error) => {
                let blocks = [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind());
                assert!(blocks, "it is closed: {error}");
                return;
            }
        }
        // Kernels take some MB more on a loopback.
        assert!(clock < 60_000_000, "it is read from on and on");
    }
}

#[test]
fn writers_wait_so_long_for_a_store_that_fails() {
    let server = stubborn(Limits { degraded_for: Duration::from_millis(400), ..Limits::default() });
    let addr = server.local_addr();
    let mut neighbours = Neighbours::of(addr);
    let (mut ann, _) = Peer::join(addr, "fails");
    let began = Instant::now();
    ann.update(&typing(1, 0, "not stored"));
    assert_eq!(ann.wait_for_close().0, 1013);
    assert!(began.elapsed() > Duration::from_millis(350), "{:?}", began.elapsed());
    neighbours.are_well();
    let _ = server.shutdown();
}

#[test]
fn a_peer_that_lags_has_so_long_to_catch_up() {
    let lagging_for = Duration::from_millis(500);
    let server = start(Limits { outbox_bytes: 10_000, lagging_for, ..Limits::default() });
    let addr = server.local_addr();
    let mut neighbours = Neighbours::of(addr);
    let (mut writer, _) = Peer::join(addr, "room");
    let (mut watcher, _) = Peer::join(addr, "room");
    let (mut slow, _) = Peer::join(addr, "room");
    // More than the kernel's buffers hold, and it reads nothing.
    let text = "w".repeat(200_000);
    for n in 0..40 {
        writer.update(&typing(1, n * 200_000, &text));
        watcher.wait_for(|message| message.len() > 200_000);
    }
    thread::sleep(Duration::from_secs(2));
    neighbours.are_well();
    let closed = loop {
        match slow.next() {
            Got::Close(code, _) => break Some(code),
            // It may be cut off before the close frame has found its way.
            Got::End => break None,
            Got::Message(_) | Got::Ping(_) | Got::Pong(_) => {}
        }
    };
    assert!(matches!(closed, Some(1013) | None), "{closed:?}");
    writer.update(&typing(2, 0, "without it"));
    watcher.wait_for_content("without it");
}

#[test]
fn rights_that_end_let_nothing_through_from_that_moment_on() {
    let server = Server::<Smol>::new(Config::default())
        .threads(1)
        .admit(|arrival| {
            let expires_at = (arrival.query() == Some("briefly"))
                .then(|| arrival.now() + Duration::from_millis(700));
            Ok(Access { expires_at, ..Access::FULL })
        })
        .bind("127.0.0.1:0")
        .unwrap();
    let addr = server.local_addr();
    let mut neighbours = Neighbours::of(addr);
    let (mut watcher, _) = Peer::join(addr, "room");
    let began = Instant::now();
    let (mut brief, _) = Peer::join(addr, "room?briefly");
    // It writes on as long as it can, and reads nothing.
    let mut sent = 0;
    while began.elapsed() < Duration::from_millis(1500)
        && brief.try_send(&message(&typing(9, sent, "b"))).is_ok()
    {
        sent += 1;
        thread::sleep(Duration::from_millis(5));
    }
    let closed = brief.wait_for_close();
    assert_eq!(closed.0, 4401);
    neighbours.are_well();
    watcher.update(&typing(2, 0, "a mark"));
    let (_late, before) = Peer::join(addr, "room");
    let bs = |bytes: &[u8]| bytes.split(|byte| *byte == b'b').count() - 1;
    let stored = bs(&before);
    assert!(stored > 20 && stored < 180, "{stored} of {sent} came in");
    eventually(|| began.elapsed() > Duration::from_millis(1600));
    let (_later, after) = Peer::join(addr, "room");
    assert_eq!(bs(&after), stored, "something came later");
}

#[test]
fn who_expires_while_silent_is_closed_within_a_second() {
    let server = Server::<Smol>::new(Config::default())
        .admit(|arrival| {
            let expires_at = Some(arrival.now() + Duration::from_millis(600));
            Ok(Access { expires_at, ..Access::FULL })
        })
        .bind("127.0.0.1:0")
        .unwrap();
    let began = Instant::now();
    let (mut silent, _) = Peer::join(server.local_addr(), "room");
    assert_eq!(silent.wait_for_close().0, 4401);
    let took = began.elapsed();
    assert!(took > Duration::from_millis(590) && took < Duration::from_millis(1600), "{took:?}");
    assert!(took < PATIENCE);
}
