//! What attackers do, each as fast as it can until its process is killed.

use crate::peer::{BINARY, Got, PONG, Peer, STEP1, frame, frame_head, request, typing, varint};
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;
use yroom::Config;
use yroom_net::{Loopback, NetLimits};

/// One way to do harm.
pub(crate) struct Attack {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    run: fn(SocketAddr, &Done),
}

pub(crate) const ATTACKS: &[Attack] = &[
    Attack {
        name: "nothing",
        about: "no attack: how far the two p99s are apart anyway",
        run: |_, _| {},
    },
    Attack { name: "connects", about: "connects without end, from one address", run: connects },
    Attack { name: "joins", about: "connects without end, each into a new room", run: joins },
    Attack { name: "heads", about: "300 requests that come byte by byte", run: quick_heads },
    Attack { name: "heads-slow", about: "the same, a byte of each every 50 ms", run: slow_heads },
    Attack { name: "frames", about: "200 frames that never end", run: quick_frames },
    Attack { name: "frames-slow", about: "the same, a byte of each every 50 ms", run: slow_frames },
    Attack { name: "tiny", about: "tiny frames from one connection", run: |a, d| tiny(a, d, 1) },
    Attack { name: "tiny-100", about: "the same from 100", run: |a, d| tiny(a, d, 100) },
    Attack { name: "awareness", about: "presence, 500 bytes at a time", run: awareness },
    Attack { name: "ids", about: "1,000 new client ids in each update", run: ids },
    Attack { name: "updates", about: "small updates into a room of three", run: updates },
    Attack { name: "asks", about: "asks for a document of 4 MB, and reads it", run: asks },
    Attack { name: "garbage", about: "malformed frames, and connects again", run: garbage },
];

/// How much was done.
type Done = AtomicU64;

/// What the server allows: the default, but for what an attack is about.
pub(crate) fn limits(attack: &str) -> (Config, NetLimits) {
    let net = match attack {
        "connects" => NetLimits { loopback: Loopback::Counted, ..NetLimits::default() },
        _ => NetLimits::default(),
    };
    (Config::default(), net)
}

/// The attackers' process: says that it has begun, and when it is asked, how much it has done.
pub(crate) fn run(name: &str, addr: SocketAddr) -> ! {
    let attack = ATTACKS.iter().find(|attack| attack.name == name).expect("an attack");
    let done: &Done = Box::leak(Box::default());
    thread::spawn(move || (attack.run)(addr, done));
    println!("begun");
    let _ = std::io::stdin().read(&mut [0]);
    println!("{} done", done.load(Ordering::Relaxed));
    loop {
        thread::park();
    }
}

fn count(done: &Done) {
    done.fetch_add(1, Ordering::Relaxed);
}

fn connects(addr: SocketAddr, done: &Done) {
    loop {
        if let Ok(mut stream) = TcpStream::connect(addr) {
            let _ = stream.write_all(request("/room").as_bytes());
            count(done);
        }
    }
}

fn joins(addr: SocketAddr, done: &Done) {
    let run = std::process::id();
    for room in 0_u64.. {
        let (mut peer, _) = Peer::join(addr, &format!("{run}-{room}"));
        peer.update(&typing(1, 0, "a room is kept for a while"));
        count(done);
    }
}

fn quick_heads(addr: SocketAddr, done: &Done) {
    heads(addr, done, Duration::ZERO);
}

fn slow_heads(addr: SocketAddr, done: &Done) {
    heads(addr, done, Duration::from_millis(50));
}

fn heads(addr: SocketAddr, done: &Done, pause: Duration) {
    loop {
        let mut streams: Vec<_> = (0..300).filter_map(|_| TcpStream::connect(addr).ok()).collect();
        for byte in request("/room").as_bytes().iter().take(60) {
            for stream in &mut streams {
                let _ = stream.write_all(&[*byte]);
                count(done);
            }
            thread::sleep(pause);
        }
    }
}

fn quick_frames(addr: SocketAddr, done: &Done) {
    frames(addr, done, Duration::ZERO);
}

fn slow_frames(addr: SocketAddr, done: &Done) {
    frames(addr, done, Duration::from_millis(50));
}

fn frames(addr: SocketAddr, done: &Done, pause: Duration) {
    let mut peers: Vec<_> = (0..200).map(|_| Peer::connect(addr, "room")).collect();
    for peer in &mut peers {
        peer.stream.write_all(&frame_head(0x80 | BINARY, 60 << 20)).expect("it takes a head");
    }
    loop {
        for peer in &mut peers {
            peer.stream.write_all(&[0]).expect("it takes a byte");
            count(done);
        }
        thread::sleep(pause);
    }
}

fn tiny(addr: SocketAddr, done: &Done, connections: usize) {
    // An unknown message, an empty update: nothing that anybody gets.
    let pair = [frame(BINARY, &[99]), frame(BINARY, &[0, 2, 2, 0, 0])].concat();
    let burst = pair.repeat(500);
    thread::scope(|scope| {
        for _ in 0..connections {
            scope.spawn(|| {
                let mut peer = patient(addr, "room");
                loop {
                    peer.stream.write_all(&burst).expect("it takes them in the end");
                    done.fetch_add(1_000, Ordering::Relaxed);
                }
            });
        }
    });
}

fn awareness(addr: SocketAddr, done: &Done) {
    // One who reads nothing of it, and one who reads all.
    let _deaf = patient(addr, "room");
    let reader = patient(addr, "room");
    thread::spawn(move || read_all(reader));
    let mut peer = patient(addr, "room");
    let client = u64::from(std::process::id());
    let mut state = String::new();
    for n in 1_u64.. {
        state.clear();
        let _ = write!(state, "{{\"n\":\"{n}\",\"pad\":\"{:p<500}\"}}", "");
        let mut inner = vec![1];
        varint(&mut inner, client);
        varint(&mut inner, n);
        varint(&mut inner, state.len() as u64);
        inner.extend(state.bytes());
        let mut message = vec![1];
        varint(&mut message, inner.len() as u64);
        message.extend(inner);
        peer.send(&message);
        count(done);
    }
}

fn ids(addr: SocketAddr, done: &Done) {
    let run = std::process::id();
    for room in 0.. {
        let mut peer = patient(addr, &format!("{run}-{room}"));
        let mut next = 1_000_u64;
        loop {
            // A character of each of 1,000 new clients.
            let mut update = Vec::new();
            varint(&mut update, 1_000);
            for client in (next..next + 1_000).rev() {
                update.push(1);
                varint(&mut update, client);
                update.extend([0, 0x04, 1, 1, b't', 1, b'x']);
            }
            update.push(0);
            next += 1_000;
            if peer.try_send(&message(&update)).is_err() {
                break;
            }
            count(done);
        }
    }
}

fn updates(addr: SocketAddr, done: &Done) {
    let room = std::process::id().to_string();
    for _ in 0..2 {
        let reader = patient(addr, &room);
        thread::spawn(move || read_all(reader));
    }
    let mut peer = patient(addr, &room);
    let mut clock = 0;
    loop {
        let burst: Vec<u8> = (clock..clock + 1_000)
            .flat_map(|clock| frame(BINARY, &message(&typing(1, clock, "x"))))
            .collect();
        clock += 1_000;
        peer.stream.write_all(&burst).expect("it takes them in the end");
        done.fetch_add(1_000, Ordering::Relaxed);
    }
}

fn asks(addr: SocketAddr, done: &Done) {
    let room = std::process::id().to_string();
    let mut peer = patient(addr, &room);
    // Of ten clients 400 kB each; it has one character of one of them, so that each answer is made.
    for client in 1..=10 {
        peer.update(&typing(client, 0, &"m".repeat(400_000)));
    }
    loop {
        peer.send(&[0, 0, 3, 1, 1, 1]);
        let _ = peer.wait_for(|message| message.starts_with(&[0, 1]));
        count(done);
    }
}

fn garbage(addr: SocketAddr, done: &Done) {
    loop {
        let mut peer = Peer::connect(addr, "room");
        peer.send(STEP1);
        let _ = peer.try_send(&[0, 2, 9, 255, 255, 255, 255, 255, 255, 255, 255, 255]);
        let _ = peer.stream.read(&mut [0; 4096]);
        count(done);
    }
}

/// A peer in a room that waits as long as it has to for its turn.
fn patient(addr: SocketAddr, room: &str) -> Peer {
    let (peer, _) = Peer::join(addr, room);
    peer.stream.set_write_timeout(None).expect("no timeout is one");
    peer.stream.set_read_timeout(Some(Duration::from_secs(600))).expect("this is one");
    peer
}

fn read_all(mut peer: Peer) {
    loop {
        match peer.next() {
            Got::Message(_) | Got::Pong(_) => {}
            Got::Ping(payload) => peer.stream.write_all(&frame(PONG, &payload)).expect("a pong"),
            Got::Close(..) | Got::End => return,
        }
    }
}

fn message(update: &[u8]) -> Vec<u8> {
    let mut message = vec![0, 2];
    varint(&mut message, update.len() as u64);
    message.extend_from_slice(update);
    message
}
