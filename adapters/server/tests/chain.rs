//! Several programs whose rooms are one: chained to one upstream program, which is killed.
#![cfg(unix)]
#![allow(missing_docs, reason = "the names of tests are sentences")]

mod running;
#[path = "../../net/tests/support/mod.rs"]
#[allow(dead_code, reason = "shared with the tests of yroom-net")]
mod support;

use running::{Program, command, command_at, refused, start};
use rustix::process::Signal;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};
use support::{Peer, contains, typing, varint};
use tempfile::TempDir;

/// Longer than all the waits of a chain that has lost its server.
const PATIENCE: Duration = Duration::from_secs(40);

/// An upstream server that asks for tokens.
struct Upstream {
    dir: TempDir,
    token: String,
}

impl Upstream {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        run(dir.path(), &["keygen", "secret"]);
        let args = ["token", "--key=secret", "--relay", "--room=doc"];
        let token = run(dir.path(), &args);
        fs::write(dir.path().join("token"), &token).unwrap();
        Self { dir, token: token.trim().to_owned() }
    }

    fn start(&self, listen: &str) -> Program {
        start(command_at(self.dir.path(), listen).args(["--auth-key=secret", "--threads=1"]))
    }

    /// The file in which its token is.
    fn token_file(&self) -> String {
        self.dir.path().join("token").display().to_string()
    }

    /// The room as its own clients ask for it.
    fn room(&self) -> String {
        format!("doc?token={}", self.token)
    }
}

fn run(dir: &Path, args: &[&str]) -> String {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_yroom"))
        .current_dir(dir)
        .args(args)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// An awareness message: what a client shows of itself.
fn presence(client: u64, clock: u64, state: &str) -> Vec<u8> {
    let mut states = vec![1];
    varint(&mut states, client);
    varint(&mut states, clock);
    varint(&mut states, state.len() as u64);
    states.extend(state.bytes());
    let mut message = vec![1];
    varint(&mut message, states.len() as u64);
    message.extend(states);
    message
}

/// Waits until a server has all these pieces in a room.
fn wait_for_all(addr: SocketAddr, room: &str, pieces: &[String]) {
    let until = Instant::now() + PATIENCE;
    loop {
        let (peer, all) = Peer::join(addr, room);
        peer.leave();
        let lacking: Vec<_> = pieces.iter().filter(|it| !contains(&all, it.as_bytes())).collect();
        if lacking.is_empty() {
            return;
        }
        assert!(Instant::now() < until, "{addr} lacks {} pieces: {lacking:?}", lacking.len());
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// A client that types pieces of five characters.
struct Typist {
    peer: Peer,
    client: u64,
    pieces: Vec<String>,
}

impl Typist {
    fn join(addr: SocketAddr, client: u64) -> Self {
        Self { peer: Peer::join(addr, "doc").0, client, pieces: Vec::new() }
    }

    fn type_piece(&mut self) {
        let piece = format!("{}{:03},", (b'a' + self.client as u8) as char, self.pieces.len());
        self.peer.update(&typing(self.client, 5 * self.pieces.len() as u64, &piece));
        self.pieces.push(piece);
    }
}

#[test]
fn two_programs_at_a_third_are_one_room_though_it_is_killed_in_mid_edit() {
    let upstream = Upstream::new();
    let mut third = Some(upstream.start("127.0.0.1:0"));
    let addr = third.as_ref().unwrap().addr;
    let dirs = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    let token = upstream.token_file();
    let one = start(command(dirs[0].path()).args([
        "--chain-all",
        &format!("ws://{addr}/"),
        "--chain-token",
        &token,
    ]));
    let two = start(
        command(dirs[1].path())
            .args(["--chain", &format!("doc=ws://{addr}/doc")])
            .env("YROOM_CHAIN_TOKEN", &token),
    );
    let (mut ann, mut bob) = (Typist::join(one.addr, 1), Typist::join(two.addr, 2));
    ann.peer.send(&presence(101, 1, r#"{"name":"Ann"}"#));
    bob.peer.send(&presence(102, 1, r#"{"name":"Bob"}"#));
    let (mut cal, _) = Peer::join(addr, &upstream.room());
    let shows = |name: &'static str| {
        move |message: &[u8]| message.starts_with(&[1]) && contains(message, name.as_bytes())
    };
    bob.peer.wait_for(shows("Ann"));
    ann.peer.wait_for(shows("Bob"));
    cal.update(&typing(3, 0, "third"));
    for typist in [&mut ann, &mut bob] {
        typist.peer.wait_for_content("third");
    }
    for count in 0..200 {
        ann.type_piece();
        bob.type_piece();
        if count == 60 {
            let killed = third.take().unwrap();
            killed.signal(Signal::KILL);
            assert!(!killed.wait().0.success());
        }
        if count == 140 {
            third = Some(upstream.start(&addr.to_string()));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let all = [&ann.pieces[..], &bob.pieces[..], &["third".to_owned()]].concat();
    assert_eq!(all.len(), 401);
    wait_for_all(addr, &upstream.room(), &all);
    wait_for_all(one.addr, "doc", &all);
    wait_for_all(two.addr, "doc", &all);
    let mut late = Peer::connect(addr, &upstream.room());
    late.wait_for(|message| shows("Ann")(message) || shows("Bob")(message));
    for program in [one, two] {
        program.signal(Signal::TERM);
        let (status, errors) = program.wait();
        assert!(status.success(), "{errors}");
        assert!(errors.contains("\"doc\" is linked"), "{errors}");
        assert!(errors.contains("\"doc\" is not linked"), "{errors}");
        assert!(!errors.contains(&upstream.token), "{errors}");
    }
}

#[test]
fn a_token_that_was_refused_is_replaced_without_a_restart() {
    let upstream = Upstream::new();
    let third = upstream.start("127.0.0.1:0");
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("token"), "no-such-token").unwrap();
    let all = format!("ws://{}", third.addr);
    let here = start(command(dir.path()).args([
        "--chain-all",
        &all,
        "--chain-token=token",
        "--unload-after=0",
    ]));
    let (mut ann, _) = Peer::join(here.addr, "doc");
    ann.update(&typing(1, 0, "written alone"));
    // The link is refused for good; the room goes on, and is chained anew once it was closed.
    let (mut bob, _) = Peer::join(here.addr, "doc");
    bob.update(&typing(2, 0, "still"));
    ann.wait_for_content("still");
    fs::write(dir.path().join("token"), &upstream.token).unwrap();
    here.signal(Signal::HUP);
    ann.leave();
    bob.leave();
    std::thread::sleep(Duration::from_millis(2500));
    let (cal, _) = Peer::join(here.addr, "doc");
    wait_for_all(third.addr, &upstream.room(), &["written alone".into(), "still".into()]);
    cal.leave();
    here.signal(Signal::TERM);
    let (status, errors) = here.wait();
    assert!(status.success(), "{errors}");
    assert!(errors.contains("chained no more"), "{errors}");
    assert!(errors.contains("credentials for other servers are read anew"), "{errors}");
}

#[test]
fn chains_that_cannot_be_are_said_in_one_line() {
    let dir = TempDir::new().unwrap();
    let lines: [(&[&str], &str); 4] = [
        (&["--chain-all=http://h/"], "ws://"),
        (&["--chain-all=ws://h/?token=x"], "query"),
        (&["--chain-token=nowhere", "--chain-all=ws://h/"], "nowhere"),
        (&["--chain-token=nowhere"], "--chain-all"),
    ];
    for (args, word) in lines {
        let (code, line) = refused(command(dir.path()).args(args));
        assert_eq!(code, 1, "{args:?}");
        assert!(line.contains(word), "{args:?}: {line}");
    }
    let output = command(dir.path()).args(["--chain=notes"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}
