//! A measurement, not a test: how long peers wait for each other while the application edits.
//!
//! ```text
//! cargo test --release -p yroom-net --test app load -- --ignored --nocapture
//! ```

use crate::support::{Got, Peer, frame, typing};
use crate::{name, push, wait};
use std::io::Write;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use yroom::Config;
use yroom_net::{Server, runtime};

const CLIENTS: usize = 50;
const PHASE: Duration = Duration::from_secs(10);

#[derive(Default)]
struct Phase {
    /// For each client, how long what the others typed was under way, in microseconds.
    waited: Vec<Mutex<Vec<u64>>>,
}

/// What all clients share.
struct Scene {
    addr: SocketAddr,
    epoch: Instant,
    phase: AtomicUsize,
    phases: Vec<Phase>,
    over: AtomicBool,
}

#[test]
#[ignore = "a measurement of half a minute"]
fn a_thousand_edits_at_once_beside_fifty_who_type() {
    let server = Server::<runtime::Smol>::new(Config::default()).bind("127.0.0.1:0").unwrap();
    let phase = || Phase { waited: (0..CLIENTS).map(|_| Mutex::default()).collect() };
    let scene = Arc::new(Scene {
        addr: server.local_addr(),
        epoch: Instant::now(),
        phase: AtomicUsize::new(0),
        phases: (0..3).map(|_| phase()).collect(),
        over: AtomicBool::new(false),
    });
    let clients: Vec<_> = (0..CLIENTS).map(|n| client(&scene, n)).collect();
    let room = wait(server.rooms().get(&name("room"))).unwrap();
    thread::sleep(Duration::from_secs(1));
    for phase in 0..3 {
        scene.phase.store(phase, Ordering::SeqCst);
        let began = Instant::now();
        // The control is before and after.
        while phase == 1 && began.elapsed() < PHASE {
            let burst = Instant::now();
            let edits = (0..1_000).map(|n| {
                let room = room.clone();
                async move { room.edit(move |txn| push(txn, &format!("<{n}>"))).await }
            });
            for edited in wait(futures_util::future::join_all(edits)) {
                edited.unwrap();
            }
            println!("1,000 edits at once: {:?}", burst.elapsed());
            thread::sleep(Duration::from_millis(500));
        }
        thread::sleep(PHASE.saturating_sub(began.elapsed()));
    }
    scene.over.store(true, Ordering::SeqCst);
    for client in clients {
        client.join().unwrap();
    }
    for (name, phase) in ["before", "edits", "after"].iter().zip(&scene.phases) {
        let mut worst: Vec<u64> =
            phase.waited.iter().map(|all| p99(&all.lock().unwrap())).collect();
        worst.sort_unstable();
        let count: usize = phase.waited.iter().map(|all| all.lock().unwrap().len()).sum();
        println!(
            "{name}: {count} deliveries; p99 of a client: median {} us, worst {} us",
            worst[CLIENTS / 2],
            worst[CLIENTS - 1],
        );
    }
}

fn p99(waited: &[u64]) -> u64 {
    let mut waited = waited.to_vec();
    waited.sort_unstable();
    waited.get(waited.len() * 99 / 100).copied().unwrap_or(0)
}

/// Types four times a second when it was, and looks at when the others did.
fn client(scene: &Arc<Scene>, n: usize) -> thread::JoinHandle<()> {
    let (mut peer, _) = Peer::join(scene.addr, "room");
    let mut writer = peer.stream.try_clone().unwrap();
    let reading = Arc::clone(scene);
    thread::spawn(move || {
        while let Got::Message(message) = peer.next() {
            let Some(at) = message.windows(2).position(|two| two == b"@@") else { continue };
            let digits = message[at + 2..].get(..12);
            let Some(sent) = digits.and_then(|it| std::str::from_utf8(it).ok()) else { continue };
            let Ok(sent) = sent.parse::<u64>() else { continue };
            let now = reading.epoch.elapsed().as_micros() as u64;
            let phase = &reading.phases[reading.phase.load(Ordering::SeqCst)];
            phase.waited[n].lock().unwrap().push(now - sent);
        }
    });
    let scene = Arc::clone(scene);
    thread::spawn(move || {
        thread::sleep(Duration::from_millis(5 * n as u64));
        let mut typed = 0;
        while !scene.over.load(Ordering::SeqCst) {
            let now = scene.epoch.elapsed().as_micros();
            let update = typing(1_000 + n as u64, typed, &format!("@@{now:012}"));
            let message = [&[0, 2, update.len() as u8], &update[..]].concat();
            writer.write_all(&frame(2, &message)).unwrap();
            typed += 14;
            thread::sleep(Duration::from_millis(250));
        }
        let _ = writer.shutdown(std::net::Shutdown::Both);
    })
}
