//! Each program is started as its user would start it, and two clients sync through it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use yroom_net::client::{Options, Session, StopReason};
use yrs::{Doc, GetString, Text, Transact};

const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn in_axum_rooms_are_kept_and_only_writers_write() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let data = data.to_str().unwrap();
    let mut program = Program::start(env!("CARGO_BIN_EXE_in_axum"), &["127.0.0.1:0", data]);
    assert!(program.get("/").ends_with("an application with rooms"));
    assert!(program.get("/rooms/minutes?token=writer").starts_with("HTTP/1.1 400 "));
    assert!(program.get("/rooms/minutes").starts_with("HTTP/1.1 401 "));

    let url = |program: &Program, token: &str| program.url(&format!("rooms/minutes?token={token}"));
    let (ann, bob) = (Client::new(&url(&program, "writer")), Client::new(&url(&program, "reader")));
    ann.waits_for("# minutes\n");
    bob.waits_for("# minutes\n");
    ann.types("hello");
    bob.waits_for("# minutes\nhello");
    bob.types(" from a reader");
    ann.types("!");
    bob.waits_for_part("!");
    assert_eq!(ann.text(), "# minutes\nhello!", "what a reader types stays its own");

    program.kill();
    let program = Program::start(env!("CARGO_BIN_EXE_in_axum"), &["127.0.0.1:0", data]);
    // Kept, and not given a second heading.
    Client::new(&url(&program, "reader")).waits_for("# minutes\nhello!");
    let stranger = Client::new(&url(&program, "guessed"));
    let reason = "HTTP 401: who are you?".to_owned();
    assert_eq!(stranger.stopped(), StopReason::Unreachable { reason });
    program.ends_with_ctrl_c();
}

#[test]
fn in_hyper_rooms_stand_beside_the_application() {
    let program = Program::start(env!("CARGO_BIN_EXE_in_hyper"), &["127.0.0.1:0"]);
    assert!(program.get("/").ends_with("an application with rooms\n"));
    assert!(program.get("/rooms/minutes").starts_with("HTTP/1.1 426 "));
    assert!(program.get("/rooms/").starts_with("HTTP/1.1 400 "));
    two_clients_sync(&program.url("rooms/minutes"));
}

#[test]
fn in_smol_the_program_writes_along_and_ends_its_rooms_in_order() {
    let mut program = Program::start(env!("CARGO_BIN_EXE_in_smol"), &["127.0.0.1:0"]);
    let ann = Client::new(&program.url("minutes?token=writer"));
    ann.types("from Ann\n");
    ann.flushed();
    program.types("from the program");
    ann.waits_for("from Ann\nfrom the program\n");
    let told = program.ends_with_enter();
    assert!(told.contains(r#"minutes: "from Ann\nfrom the program\n""#), "{told}");
    assert!(told.contains("PeerJoined"), "{told}");
    assert!(told.contains("unsaved: 0, unfinished: 0"), "{told}");
}

#[cfg(feature = "async-std")]
#[test]
fn in_async_std_the_program_ends_its_rooms_in_order() {
    let program = Program::start(env!("CARGO_BIN_EXE_in_async_std"), &["127.0.0.1:0"]);
    two_clients_sync(&program.url("minutes"));
    let told = program.ends_with_enter();
    assert!(told.contains("unsaved: 0, unfinished: 0"), "{told}");
}

fn two_clients_sync(url: &str) {
    let (ann, bob) = (Client::new(url), Client::new(url));
    ann.types("from Ann");
    bob.waits_for("from Ann");
    bob.types(", from Bob");
    ann.waits_for("from Ann, from Bob");
}

/// A program that runs, and is killed when dropped.
struct Program {
    child: Child,
    addr: String,
    rest: BufReader<std::process::ChildStdout>,
}

impl Program {
    fn start(path: &str, args: &[&str]) -> Self {
        let mut child = Command::new(path)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut rest = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        rest.read_line(&mut line).unwrap();
        let addr = line.trim().strip_prefix("listening on ").expect("its first line").to_owned();
        Self { child, addr, rest }
    }

    fn url(&self, path: &str) -> String {
        format!("ws://{}/{path}", self.addr)
    }

    /// The answer to a plain request.
    fn get(&self, target: &str) -> String {
        let mut stream = TcpStream::connect(&self.addr).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let request = format!("GET {target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn types(&mut self, line: &str) {
        writeln!(self.child.stdin.as_mut().expect("it reads"), "{line}").unwrap();
    }

    /// Presses Enter, waits for the end, and gives what was printed.
    fn ends_with_enter(mut self) -> String {
        self.child.stdin.take().unwrap().write_all(b"\n").unwrap();
        let mut told = String::new();
        self.rest.read_to_string(&mut told).unwrap();
        assert!(self.child.wait().unwrap().success(), "{told}");
        told
    }

    /// Ends as in a terminal; the program says by its status whether everything is stored.
    fn ends_with_ctrl_c(mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        assert!(self.child.wait().unwrap().success());
    }

    fn kill(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A client with one text.
struct Client {
    doc: Doc,
    session: Session,
}

impl Client {
    fn new(url: &str) -> Self {
        let doc = Doc::new();
        let session = yroom_net::connect(url, &doc, Options::default()).expect("a session");
        Self { doc, session }
    }

    fn text(&self) -> String {
        self.doc.get_or_insert_text("text").get_string(&self.doc.transact())
    }

    fn types(&self, words: &str) {
        let text = self.doc.get_or_insert_text("text");
        text.push(&mut self.doc.transact_mut(), words);
    }

    /// Waits until the server has everything.
    fn flushed(&self) {
        smol::block_on(self.session.flush()).expect("it is connected");
    }

    fn waits_for(&self, whole: &str) {
        self.waits(|text| text == whole, whole);
    }

    fn waits_for_part(&self, part: &str) {
        self.waits(|text| text.contains(part), part);
    }

    fn waits(&self, good: impl Fn(&str) -> bool, wanted: &str) {
        let until = Instant::now() + PATIENCE;
        while !good(&self.text()) {
            assert!(
                Instant::now() < until,
                "waited for {wanted:?}, has {:?}, {:?}",
                self.text(),
                self.session.status()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Why it gave up.
    fn stopped(&self) -> StopReason {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(reason) = self.session.status().stopped {
                return reason;
            }
            assert!(Instant::now() < until, "it goes on: {:?}", self.session.status());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
