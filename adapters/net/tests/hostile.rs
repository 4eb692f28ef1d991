//! Peers that mean harm, on real sockets: memory stays bounded, and the others are served.
//!
//! The numbers are small enough for every run; HOSTILE=1 makes them those of the goals: 20,000
//! connects, a million frames. Memory is that of this process, in which both ends are.
#![allow(missing_docs, reason = "the names of tests are sentences")]
#![cfg(all(feature = "smol", target_os = "linux"))]

#[allow(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use support::{
    BINARY, Got, Neighbours, PATIENCE, PING, Peer, eventually, frame, frame_head, request, varint,
};
use yroom::{Config, Rate};
use yroom_net::runtime::Smol;
use yroom_net::{Loopback, NetLimits, Running, Server, Timeouts};

/// As memory is measured, one at a time.
static ALONE: Mutex<()> = Mutex::new(());

const MIB: usize = 1 << 20;

/// How long a neighbour's word may take, on a machine that has much else to do.
const SLOWEST: Duration = Duration::from_secs(if cfg!(debug_assertions) { 4 } else { 1 });

/// So many in every run, and so many with HOSTILE=1.
fn many(usual: usize, whole: usize) -> usize {
    if std::env::var_os("HOSTILE").is_some() { whole } else { usual }
}

fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

fn start(limits: NetLimits) -> Running {
    let timeouts = Timeouts { handshake: Duration::from_secs(1), ..Timeouts::default() };
    let server = Server::<Smol>::new(Config::default()).threads(2).timeouts(timeouts);
    server.net_limits(limits).bind("127.0.0.1:0").unwrap()
}

/// Does harm while two neighbours go on talking. Says the slowest of their words, and how many bytes
/// the process had grown by at its largest.
fn harm(addr: SocketAddr, harm: impl FnOnce() + Send) -> (Duration, usize) {
    let mut neighbours = Neighbours::of(addr);
    neighbours.are_well();
    let (before, over) = (resident(), AtomicBool::new(false));
    let (mut times, mut peak) = (Vec::new(), 0);
    thread::scope(|scope| {
        let over = &over;
        scope.spawn(move || {
            // However it ends.
            let _over = Over(over);
            harm();
        });
        while !over.load(Ordering::SeqCst) {
            times.push(neighbours.are_well());
            peak = peak.max(resident());
            thread::sleep(Duration::from_millis(5));
        }
    });
    times.push(neighbours.are_well());
    times.sort();
    let slow = times[times.len() * 99 / 100];
    let grown = peak.saturating_sub(before);
    let (words, median) = (times.len(), times[times.len() / 2]);
    println!("{words} words, median {median:?}, p99 {slow:?}, grown by {} KiB", grown >> 10);
    (slow, grown)
}

struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn connects_without_end_hold_nobody_up() {
    let _alone = ALONE.lock();
    let limits = NetLimits { loopback: Loopback::Counted, ..NetLimits::default() };
    let server = start(NetLimits { connections_per_address: 100, ..limits });
    let addr = server.local_addr();
    let connects = many(2_000, 20_000);
    let (slow, grown) = harm(addr, || {
        let mut held = Vec::new();
        for n in 0..connects {
            let Ok(mut stream) = TcpStream::connect(addr) else { continue };
            let _ = stream.write_all(request("/room").as_bytes());
            // A tenth of them stay for a while.
            if n % 10 == 0 {
                held.push(stream);
                held.drain(..held.len().saturating_sub(200));
            }
        }
    });
    assert!(slow < SLOWEST, "{slow:?}");
    assert!(grown < 32 * MIB, "{grown}");
    eventually(|| TcpStream::connect(addr).is_ok());
    assert!(server.shutdown().is_clean());
}

#[test]
fn frames_that_never_end_hold_only_what_has_come() {
    let _alone = ALONE.lock();
    let server = start(NetLimits::default());
    let addr = server.local_addr();
    let (slow, grown) = harm(addr, || {
        // Heads that announce 64 MiB each, and then a byte now and then.
        let mut peers: Vec<_> = (0..200).map(|_| Peer::connect(addr, "room")).collect();
        for peer in &mut peers {
            peer.stream.write_all(&frame_head(0x80 | BINARY, 60 << 20)).unwrap();
        }
        for _ in 0..20 {
            for peer in &mut peers {
                peer.stream.write_all(&[0]).unwrap();
            }
            thread::sleep(Duration::from_millis(50));
        }
    });
    assert!(slow < SLOWEST, "{slow:?}");
    assert!(grown < 16 * MIB, "{grown}");
    assert!(server.shutdown().is_clean());
}

#[test]
fn a_flood_of_tiny_frames_slows_its_sender_down() {
    let _alone = ALONE.lock();
    let server = start(NetLimits::default());
    let addr = server.local_addr();
    let frames = many(60_000, 1_000_000);
    let (slow, grown) = harm(addr, || {
        let (mut peer, _) = Peer::join(addr, "room");
        peer.stream.set_write_timeout(Some(Duration::from_secs(120))).unwrap();
        // An unknown message, an empty update: nothing that anybody gets.
        let pair = [frame(BINARY, &[99]), frame(BINARY, &[0, 2, 2, 0, 0])].concat();
        let burst = pair.repeat(500);
        for _ in 0..frames / 1_000 {
            peer.stream.write_all(&burst).unwrap();
        }
        // Until the last has been looked at.
        peer.stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
        peer.stream.write_all(&frame(PING, b"")).unwrap();
        while !matches!(peer.next(), Got::Pong(_)) {}
    });
    assert!(slow < SLOWEST, "{slow:?}");
    assert!(grown < 16 * MIB, "{grown}");
    assert!(server.shutdown().is_clean());
}

#[test]
fn a_flood_of_awareness_is_bounded_for_everybody() {
    let _alone = ALONE.lock();
    let server = start(NetLimits::default());
    let addr = server.local_addr();
    let messages = many(20_000, 200_000);
    let (slow, grown) = harm(addr, || {
        // One who reads nothing of it, and one who reads all.
        let (_deaf, _) = Peer::join(addr, "room");
        let (mut reader, _) = Peer::join(addr, "room");
        let (mut peer, _) = Peer::join(addr, "room");
        peer.stream.set_write_timeout(Some(Duration::from_secs(120))).unwrap();
        let listening = thread::spawn(move || {
            let last = format!("\"{}\"", messages - 1);
            // Its sender is slowed down, so this takes longer than a test's usual patience.
            loop {
                match reader.next() {
                    Got::Message(message) if support::contains(&message, last.as_bytes()) => break,
                    Got::Message(_) | Got::Ping(_) | Got::Pong(_) => {}
                    end @ (Got::Close(..) | Got::End) => panic!("it ended: {end:?}"),
                }
            }
        });
        for n in 0..messages {
            let state = format!("{{\"n\":\"{n}\",\"pad\":\"{}\"}}", "p".repeat(500));
            let mut inner = vec![1, 7];
            varint(&mut inner, n as u64 + 1);
            varint(&mut inner, state.len() as u64);
            inner.extend(state.bytes());
            let mut message = vec![1];
            varint(&mut message, inner.len() as u64);
            message.extend(inner);
            peer.send(&message);
        }
        listening.join().expect("the newest state arrives");
    });
    assert!(slow < SLOWEST, "{slow:?}");
    assert!(grown < 24 * MIB, "{grown}");
    assert!(server.shutdown().is_clean());
}

#[test]
fn a_flood_of_client_ids_ends_at_the_documents_limit() {
    let _alone = ALONE.lock();
    let clients = many(5_000, 50_000);
    let limits = yroom::Limits {
        clients_per_document: clients,
        frames_in: Rate { per_second: 1_000_000, burst: 1_000_000 },
        ..yroom::Limits::default()
    };
    let server = Server::<Smol>::new(Config { limits, ..Config::default() }).threads(2);
    let server = server.bind("127.0.0.1:0").unwrap();
    let addr = server.local_addr();
    let (slow, grown) = harm(addr, || {
        let (mut peer, _) = Peer::join(addr, "room");
        peer.stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
        // A character of each of 1,000 new clients in every update.
        let mut next = 1_000_u64;
        for _ in 0..clients / 1_000 + 10 {
            let mut update = Vec::new();
            varint(&mut update, 1_000);
            for client in (next..next + 1_000).rev() {
                update.push(1);
                varint(&mut update, client);
                update.extend([0, 0x04, 1, 1, b't', 1, b'x']);
            }
            update.push(0);
            next += 1_000;
            let mut message = vec![0, 2];
            varint(&mut message, update.len() as u64);
            message.extend(update);
            if peer.try_send(&message).is_err() {
                break;
            }
        }
        assert_eq!(peer.wait_for_close().0, 1009);
    });
    assert!(slow < SLOWEST, "{slow:?}");
    assert!(grown < 64 * MIB, "{grown}");
    assert!(server.shutdown().is_clean());
}

#[test]
fn heads_that_come_byte_by_byte_are_cut_off() {
    let _alone = ALONE.lock();
    let server = start(NetLimits { handshakes: 400, ..NetLimits::default() });
    let addr = server.local_addr();
    let (slow, grown) = harm(addr, || {
        let mut streams: Vec<_> = (0..300).map(|_| TcpStream::connect(addr).unwrap()).collect();
        for byte in request("/room").as_bytes().iter().take(30) {
            for stream in &mut streams {
                let _ = stream.write_all(&[*byte]);
            }
            thread::sleep(Duration::from_millis(50));
        }
        for mut stream in streams {
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let (began, mut rest) = (Instant::now(), Vec::new());
            let _ = stream.read_to_end(&mut rest);
            assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
        }
    });
    assert!(slow < SLOWEST, "{slow:?}");
    assert!(grown < 16 * MIB, "{grown}");
    assert!(server.shutdown().is_clean());
}
