//! The server on real sockets, the same for each runtime.
#![allow(missing_docs, reason = "the names of tests are sentences")]

#[allow(dead_code, reason = "each file of tests uses a part of it")]
mod support;
#[macro_use]
#[path = "support/suite.rs"]
mod suite;
#[path = "sockets/bounds.rs"]
mod bounds;
#[path = "sockets/endings.rs"]
mod endings;
#[path = "sockets/frames.rs"]
mod frames;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;
use support::{BINARY, PATIENCE, Peer, ask, contains, eventually, frame, request, typing};
use yroom::{Access, Config, RoomName};
use yroom_net::{Refusal, Running, Runtime, Server, Timeouts};

suite! {
    two_peers_sync_and_a_newcomer_gets_everything
    peers_of_a_room_meet_whichever_thread_accepts_them
    a_malformed_update_is_closed_with_1007_and_the_neighbour_is_unharmed
    an_unknown_message_is_ignored
    frames_sent_before_the_handshake_is_answered_are_not_lost
    two_clients_opening_a_new_room_at_once_both_sync
    a_socket_that_is_upgraded_already_is_served
    a_server_that_does_not_listen_serves_what_it_is_given
    who_may_only_read_changes_nothing_and_who_may_nothing_gets_an_answer
}

const FAST: Timeouts = Timeouts {
    handshake: Duration::from_millis(400),
    authorize: Duration::from_millis(400),
    ping_after: Duration::from_millis(300),
    pong_within: Duration::from_millis(300),
    closing: Duration::from_secs(1),
    drain: Duration::from_secs(3),
};

fn start<R: Runtime>() -> Running {
    start_with::<R>(Config::default())
}

fn start_with<R: Runtime>(config: Config) -> Running {
    Server::<R>::new(config).threads(2).bind("127.0.0.1:0").expect("it binds")
}

/// A server that waits longer for a peer's end than a test does for the server's.
fn patient<R: Runtime>(config: Config) -> Running {
    let timeouts = Timeouts { closing: 2 * PATIENCE, ..Timeouts::default() };
    Server::<R>::new(config).timeouts(timeouts).threads(2).bind("127.0.0.1:0").expect("it binds")
}

fn two_peers_sync_and_a_newcomer_gets_everything<R: Runtime>() {
    let server = start::<R>();
    let (mut ann, nothing) = Peer::join(server.local_addr(), "room");
    assert_eq!(nothing, [0, 1, 2, 0, 0], "an empty SyncStep2");
    let (mut bob, _) = Peer::join(server.local_addr(), "room");
    ann.update(&typing(1, 0, "from ann"));
    let seen = bob.wait_for_content("from ann");
    assert!(seen.ends_with(&typing(1, 0, "from ann")), "relayed as it came");
    bob.update(&typing(2, 0, "from bob"));
    ann.wait_for_content("from bob");
    let (_cal, everything) = Peer::join(server.local_addr(), "room");
    assert!(contains(&everything, b"from ann") && contains(&everything, b"from bob"));
    let (_dan, other) = Peer::join(server.local_addr(), "other/room?token=x");
    assert_eq!(other, [0, 1, 2, 0, 0], "another room");
    assert!(server.shutdown().is_clean());
}

fn peers_of_a_room_meet_whichever_thread_accepts_them<R: Runtime>() {
    let server = Server::<R>::new(Config::default()).threads(3).bind("127.0.0.1:0").unwrap();
    for room in 0..24 {
        let room = format!("room-{room}");
        let (mut ann, _) = Peer::join(server.local_addr(), &room);
        let (mut bob, _) = Peer::join(server.local_addr(), &room);
        ann.update(&typing(1, 0, &room));
        bob.wait_for_content(&room);
    }
    assert!(server.shutdown().is_clean());
}

fn a_malformed_update_is_closed_with_1007_and_the_neighbour_is_unharmed<R: Runtime>() {
    let server = start::<R>();
    let (mut bob, _) = Peer::join(server.local_addr(), "room");
    for malformed in [&[1, 1, 1, 0, 4][..], &[0xff; 16], &[9]] {
        let (mut ann, _) = Peer::join(server.local_addr(), "room");
        ann.update(malformed);
        let (code, reason) = ann.wait_for_close();
        assert_eq!(code, 1007, "{malformed:?}: {reason}");
        assert!(!reason.is_empty());
    }
    bob.update(&typing(2, 0, "unharmed"));
    eventually(|| contains(&Peer::join(server.local_addr(), "room").1, b"unharmed"));
}

fn an_unknown_message_is_ignored<R: Runtime>() {
    let server = start::<R>();
    let (mut ann, _) = Peer::join(server.local_addr(), "room");
    let (mut bob, _) = Peer::join(server.local_addr(), "room");
    ann.send(&[0xc8, 0x01, 1, 2, 3]);
    ann.update(&typing(1, 0, "goes on"));
    bob.wait_for_content("goes on");
}

fn frames_sent_before_the_handshake_is_answered_are_not_lost<R: Runtime>() {
    let server = start::<R>();
    let (mut bob, _) = Peer::join(server.local_addr(), "room");
    let update = typing(1, 0, "at once");
    let mut message = vec![0, 2, update.len() as u8];
    message.extend(&update);
    let mut everything = request("/room").into_bytes();
    everything.extend(frame(BINARY, &message));
    let mut eager = TcpStream::connect(server.local_addr()).unwrap();
    eager.write_all(&everything).unwrap();
    bob.wait_for_content("at once");
}

fn two_clients_opening_a_new_room_at_once_both_sync<R: Runtime>() {
    let server = start::<R>();
    let addr = server.local_addr();
    for round in 0..200 {
        let both: Vec<_> = [1, 2]
            .map(|client| {
                thread::spawn(move || {
                    let (mut peer, all) = Peer::join(addr, &format!("room-{round}"));
                    peer.update(&typing(client, 0, &format!("by {client}.")));
                    let other = format!("by {}.", 3 - client);
                    if !contains(&all, other.as_bytes()) {
                        peer.wait_for_content(&other);
                    }
                })
            })
            .into();
        for one in both {
            one.join().unwrap();
        }
    }
}

fn a_socket_that_is_upgraded_already_is_served<R: Runtime>() {
    let server = start::<R>();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let (accepted, _) = listener.accept().unwrap();
    let room = RoomName::new("room").unwrap();
    server.serve_upgraded(Blocking(accepted), frame(BINARY, support::STEP1), room, Access::FULL);
    let mut ann = Peer::on(client);
    ann.wait_for(|message| message.starts_with(&[0, 1]));
    let (mut bob, _) = Peer::join(server.local_addr(), "room");
    bob.update(&typing(2, 0, "to the upgraded"));
    ann.wait_for_content("to the upgraded");
}

fn a_server_that_does_not_listen_serves_what_it_is_given<R: Runtime>() {
    let server = Server::<R>::new(Config::default()).threads(2).start().unwrap();
    assert_eq!(server.local_addr().port(), 0);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let (accepted, _) = listener.accept().unwrap();
    let room = RoomName::new("room").unwrap();
    let entrance = server.entrance();
    entrance.serve_upgraded(Blocking(accepted), frame(BINARY, support::STEP1), room, Access::FULL);
    let mut ann = Peer::on(client);
    ann.wait_for(|message| message.starts_with(&[0, 1]));
    assert!(server.shutdown().is_clean());
    assert_eq!(ann.wait_for_close().0, 1012);
}

fn who_may_only_read_changes_nothing_and_who_may_nothing_gets_an_answer<R: Runtime>() {
    let server = Server::<R>::new(Config::default())
        .admit(|arrival| match (arrival.parameter("token"), arrival.header("host")) {
            (Some("reads"), _) => Ok(Access::READ_ONLY),
            (Some("briefly"), _) => {
                let expires_at = Some(arrival.now() + Duration::from_millis(300));
                Ok(Access { expires_at, ..Access::FULL })
            }
            (Some("writes"), Some(b"localhost")) => {
                assert!(arrival.peer_addr().ip().is_loopback());
                Ok(Access::FULL)
            }
            _ => Err(Refusal::new(403, format!("nobody may enter {} so", arrival.room()))),
        })
        .bind("127.0.0.1:0")
        .unwrap();
    let addr = server.local_addr();
    let (mut reader, _) = Peer::join(addr, "room?token=reads");
    let (mut writer, _) = Peer::join(addr, "room?token=writes");
    reader.update(&typing(1, 0, "not allowed"));
    writer.update(&typing(2, 0, "allowed"));
    let seen = reader.wait_for_content("allowed");
    assert!(seen.ends_with(&typing(2, 0, "allowed")));
    let (_cal, all) = Peer::join(addr, "room?token=writes");
    assert!(contains(&all, b"allowed") && !contains(&all, b"not allowed"));
    let (status, sentence) = ask(addr, request("/room?token=other").as_bytes());
    assert_eq!((status, sentence.trim_end()), (403, "nobody may enter room so"));
    assert_eq!(ask(addr, request("/room").as_bytes()).0, 403);
    let (mut brief, _) = Peer::join(addr, "room?token=briefly");
    assert_eq!(brief.wait_for_close().0, 4401);
}

/// A socket whose reactor is elsewhere: here, a thread that polls.
struct Blocking(TcpStream);

impl futures_io::AsyncRead for Blocking {
    fn poll_read(
        self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buf: &mut [u8],
    ) -> std::task::Poll<std::io::Result<usize>> {
        self.0.set_nonblocking(true)?;
        match (&self.0).read(buf) {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                let waker = cx.waker().clone();
                thread::spawn(move || {
                    thread::sleep(Duration::from_millis(5));
                    waker.wake();
                });
                std::task::Poll::Pending
            }
            result => std::task::Poll::Ready(result),
        }
    }
}

impl futures_io::AsyncWrite for Blocking {
    fn poll_write(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        buf: &[u8],
    ) -> std::task::Poll<std::io::Result<usize>> {
        self.0.set_nonblocking(false)?;
        std::task::Poll::Ready((&self.0).write(buf))
    }

    fn poll_flush(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn poll_close(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::task::Poll::Ready(self.0.shutdown(Shutdown::Write))
    }
}
