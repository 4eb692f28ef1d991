//! Who comes in, from real sockets: tokens good and bad, and what their bearers may do then.
#![cfg(unix)]
#![allow(missing_docs, reason = "the names of tests are sentences")]

mod running;
#[path = "../../net/tests/support/mod.rs"]
#[allow(dead_code, reason = "shared with the tests of yroom-net")]
mod support;

use data_encoding::BASE64URL_NOPAD as BASE64;
use running::{Program, command, refused, start};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};
use support::{Got, Peer, ask, contains, request, typing, varint};
use tempfile::TempDir;

const SECRET: &[u8] = b"a secret of more than thirty-two bytes";

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

fn keys() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/keys")
}

/// A server that asks for tokens, each signed with [`SECRET`], from us and for it.
struct Guarded {
    dir: TempDir,
    program: Program,
    /// What must never stand in its log.
    tokens: Vec<String>,
}

impl Guarded {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        fs::write(dir.path().join("secret"), SECRET).unwrap();
        let program = start(command(dir.path()).args([
            "--store=memory",
            "--auth-key=secret",
            "--auth-audience=yroom",
            "--auth-issuer=us",
        ]));
        Self { dir, program, tokens: Vec::new() }
    }

    fn addr(&self) -> SocketAddr {
        self.program.addr
    }

    /// A token that is good, but for the changes: `null` takes a claim away.
    fn token(&mut self, changes: Value) -> String {
        let token = signed(&claims(changes), SECRET);
        self.tokens.push(token.clone());
        token
    }

    /// The answer to a request with this token as `?token=`.
    fn ask(&mut self, path: &str, token: &str) -> (u16, String) {
        self.tokens.push(token.to_owned());
        ask(self.addr(), request(&format!("{path}?token={token}")).as_bytes())
    }

    /// Ends it; nothing of any token may have been written.
    fn end(self) -> String {
        self.program.signal(Signal::TERM);
        let (status, errors) = self.program.wait();
        assert!(status.success(), "{status}: {errors}");
        for part in self.tokens.iter().flat_map(|token| token.split('.')) {
            assert!(part.len() < 12 || !errors.contains(part), "{part} stands in {errors}");
        }
        for secret in ["u-17", "Ada"] {
            assert!(!errors.contains(secret), "{secret} stands in {errors}");
        }
        assert!(self.dir.path().exists());
        errors
    }
}

fn claims(changes: Value) -> Value {
    let mut claims = json!({
        "exp": now() + 60, "aud": "yroom", "iss": "us", "rooms": ["notes"], "access": "write",
    });
    let Value::Object(changes) = changes else { panic!("an object") };
    for (name, value) in changes {
        claims[name] = value;
    }
    claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    claims
}

fn signed(claims: &Value, secret: &[u8]) -> String {
    with_header(r#"{"alg":"HS256","typ":"JWT"}"#, claims, secret)
}

fn with_header(header: &str, claims: &Value, secret: &[u8]) -> String {
    let claims = BASE64.encode(claims.to_string().as_bytes());
    let message = format!("{}.{claims}", BASE64.encode(header.as_bytes()));
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret);
    let signature = ring::hmac::sign(&key, message.as_bytes());
    format!("{message}.{}", BASE64.encode(signature.as_ref()))
}

/// A request with further headers.
fn with_headers(target: &str, headers: &str) -> String {
    request(target).replace("Host:", &format!("{headers}Host:"))
}

/// The head of the answer to an upgrade that is granted.
fn upgraded(addr: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(support::PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("an answer");
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    head
}

/// What `yroom token` prints.
fn minted(dir: &Path, args: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_yroom"));
    let output = command.current_dir(dir).arg("token").args(args).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "{args:?}: {errors}");
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

#[test]
fn a_token_of_the_program_lets_in_whatever_its_key_is() {
    for (private, public) in [
        ("secret", "secret"),
        ("rsa.private.pem", "rsa.public.pem"),
        ("ec.private.pem", "ec.public.pem"),
        ("ed.private.pem", "ed.public.pem"),
    ] {
        let dir = TempDir::new().unwrap();
        let mut keygen = Command::new(env!("CARGO_BIN_EXE_yroom"));
        let mut keygen =
            || keygen.current_dir(dir.path()).args(["keygen", "secret"]).output().unwrap();
        assert!(keygen().status.success());
        let first = fs::read(dir.path().join("secret")).unwrap();
        assert!(!keygen().status.success(), "a key that is there stays");
        assert_eq!(fs::read(dir.path().join("secret")).unwrap(), first);
        let file = |name: &str| match name {
            "secret" => "secret".to_owned(),
            name => keys().join(name).display().to_string(),
        };
        let program =
            start(command(dir.path()).args(["--store=memory", "--auth-key"]).arg(file(public)));
        let key = file(private);
        let token = minted(dir.path(), &["--key", &key, "--room", "notes", "--expires", "1m"]);
        let (mut ann, _) = Peer::join(program.addr, &format!("notes?token={token}"));
        let (mut bob, _) = Peer::join(program.addr, &format!("notes?a=b&token={token}&c"));
        ann.update(&typing(1, 0, "signed"));
        bob.wait_for_content("signed");
        let (status, _) = ask(program.addr, request(&format!("/other?token={token}")).as_bytes());
        assert_eq!(status, 403, "{public}");
    }
}

#[test]
fn what_is_no_good_token_is_refused_before_the_upgrade_in_words() {
    let mut server = Guarded::new();
    let good = claims(json!({}));
    let (message, _) =
        signed(&good, SECRET).rsplit_once('.').map(|(m, s)| (m.to_owned(), s.to_owned())).unwrap();
    let payload = message.split_once('.').unwrap().1;
    let none = BASE64.encode(br#"{"alg":"none"}"#);
    let stolen = json!({"rooms": ["other"]});
    for (token, status, why) in [
        (format!("{none}.{payload}."), 401, "not a JWT"),
        (format!("{none}.{payload}"), 401, "not a JWT"),
        (String::new(), 401, "not a JWT"),
        ("nonsense".to_owned(), 401, "not a JWT"),
        (signed(&good, b"another secret of more than thirty-two bytes"), 401, "signature is wrong"),
        (format!("{message}."), 401, "signature is wrong"),
        (with_header(r#"{"alg":"RS256"}"#, &good, SECRET), 401, "algorithm"),
        (with_header(r#"{"alg":"HS512"}"#, &good, SECRET), 401, "algorithm"),
        (server.token(json!({"exp": now() - 6})), 401, "has expired"),
        (server.token(json!({"exp": null})), 401, "no exp"),
        (server.token(json!({"exp": "soon"})), 401, "claims"),
        (server.token(json!({"nbf": now() + 60})), 401, "not valid yet"),
        (server.token(json!({"aud": "elsewhere"})), 401, "another audience"),
        (server.token(json!({"aud": null})), 401, "another audience"),
        (server.token(json!({"iss": "them"})), 401, "another issuer"),
        (server.token(json!({"iss": null})), 401, "another issuer"),
        (server.token(stolen), 403, "not for this room"),
        (server.token(json!({"rooms": null})), 403, "names no rooms"),
    ] {
        let (found, sentence) = server.ask("/notes", &token);
        assert_eq!(found, status, "{why}: {sentence}");
        assert!(sentence.contains(why), "{why}: {sentence}");
    }
    let token = server.token(json!({}));
    assert_eq!(server.ask("/healthz/", &token).0, 403);
    let (_, content) = Peer::join(server.addr(), &format!("notes?token={token}"));
    assert!(!content.is_empty(), "a good one is let in after all that");
    let errors = server.end();
    assert!(errors.contains("refused with 401: the token has expired"), "{errors}");
    assert!(errors.contains("refused with 403: the token is not for this room"), "{errors}");
}

#[test]
fn a_public_key_is_no_secret_to_sign_with() {
    let dir = TempDir::new().unwrap();
    let public = keys().join("rsa.public.pem");
    let program = start(
        command(dir.path())
            .arg("--store=memory")
            .env("YROOM_AUTH_KEY", &public)
            .env("YROOM_ALLOW_ANONYMOUS", "0"),
    );
    let pem = fs::read(&public).unwrap();
    let good = json!({"exp": now() + 60, "rooms": ["notes"]});
    for secret in [&pem[..], pem.trim_ascii_end()] {
        let token = signed(&good, secret);
        let target = format!("/notes?token={token}");
        let (status, sentence) = ask(program.addr, request(&target).as_bytes());
        assert_eq!((status, sentence.contains("algorithm")), (401, true), "{sentence}");
    }
}

#[test]
fn a_token_for_a_room_is_for_no_other_whatever_it_is_called() {
    let mut server = Guarded::new();
    let exact = server.token(json!({"rooms": ["team-7/a"]}));
    let below = server.token(json!({"rooms": null, "prefixes": ["team-7/"]}));
    for token in [&exact, &below] {
        Peer::join(server.addr(), &format!("team-7/a?token={token}")).0.leave();
    }
    for path in [
        "/team-7",
        "/team-7/",
        "//team-7/a",
        "/Team-7/a",
        "/TEAM-7/A",
        "/team-70/a",
        "/team-8/a",
        "/team-7/../team-8/a",
        "/team-7/..",
        "/team-7/./a",
        "/team-7/%2e%2e/team-8/a",
        "/team-7%2Fa",
        "/team-7/%2E%2E%2Fteam-8",
        "/team-7/%252e%252e/x",
        "/team-7/..%5ca",
        "/x/../team-7/a",
        "/team\u{2010}7/a",
        "/team-7\u{2215}a",
        "/te%61m-7/a",
        "/t\u{435}am-7/a",
        "/%74eam-7/a",
        "/team-7;/a",
        "/team-7\\a",
    ] {
        for token in [&exact, &below] {
            let (status, sentence) = server.ask(path, token);
            assert_eq!(status, 403, "{path}: {sentence}");
        }
    }
    for path in
        ["/team-7/a/", "/team-7/A", "/team-7/%61", "/team-7//a", "/team-7/a%00", "/team-7/a%20"]
    {
        let (status, sentence) = server.ask(path, &exact);
        assert_eq!(status, 403, "{path}: {sentence}");
    }
    server.end();
}

#[test]
fn a_token_comes_in_one_of_three_ways_and_once() {
    let mut server = Guarded::new();
    let addr = server.addr();
    let token = server.token(json!({}));
    let bearer = format!("Authorization: Bearer {token}\r\n");
    upgraded(addr, &with_headers("/notes", &bearer));
    upgraded(addr, &with_headers("/notes", &bearer.replace("Bearer", "bearer")));
    upgraded(addr, &request(&format!("/notes?token={token}")));
    let encoded = token.replace('.', "%2E").replace('-', "%2D");
    upgraded(addr, &request(&format!("/notes?x&token={encoded}&y=")));
    let protocols = format!("Sec-WebSocket-Protocol: yroom, yroom.token.{token}\r\n");
    let head = upgraded(addr, &with_headers("/notes", &protocols));
    assert!(head.contains("Sec-WebSocket-Protocol: yroom\r\n"), "{head}");
    assert!(!head.contains(&token), "it is not sent back");

    let twice = format!("/notes?token={token}");
    for request in [
        request(&format!("/notes?token={token}&token={token}")),
        request(&format!("/notes?token={token}&%74oken=x")),
        request(&format!("/notes?token={token}&token")),
        with_headers(&twice, &bearer),
        with_headers(&twice, &protocols),
        with_headers("/notes", &format!("{bearer}{protocols}")),
        with_headers("/notes", &format!("{bearer}{bearer}")),
        with_headers(&twice, &format!("{bearer}{bearer}")),
    ] {
        let (status, sentence) = ask(addr, request.as_bytes());
        assert_eq!((status, sentence.contains("more than one token")), (401, true), "{sentence}");
    }
    for request in [
        request("/notes"),
        request("/notes?Token=x"),
        request("/notes?tokens=x"),
        with_headers("/notes", "Authorization: Basic YTpi\r\n"),
        with_headers("/notes", "Sec-WebSocket-Protocol: yroom\r\n"),
        with_headers("/notes", &format!("Cookie: token={token}\r\n")),
    ] {
        let (status, sentence) = ask(addr, request.as_bytes());
        assert_eq!((status, sentence.contains("a token is missing")), (401, true), "{sentence}");
    }
    assert_eq!(server.ask("/notes", "%ff%fe").0, 401);
    server.end();
}

#[test]
fn a_connection_ends_when_its_token_does() {
    let mut server = Guarded::new();
    let exp = now() + 3;
    let token = server.token(json!({"exp": exp}));
    let until = SystemTime::UNIX_EPOCH + Duration::from_secs(exp);
    let (mut peer, _) = Peer::join(server.addr(), &format!("notes?token={token}"));
    peer.update(&typing(1, 0, "in time"));
    let (code, reason) = peer.wait_for_close();
    let off = match SystemTime::now().duration_since(until) {
        Ok(late) => late,
        // By as much as it took to decide: that is between two looks at two clocks.
        Err(early) => early.duration(),
    };
    assert_eq!((code, reason.as_str()), (4401, "the access has expired"));
    assert!(off <= Duration::from_secs(1), "{off:?} off");
    server.end();
}

#[test]
fn a_reader_sees_edits_and_makes_none() {
    let mut server = Guarded::new();
    let addr = server.addr();
    let write = server.token(json!({}));
    for reading in [json!({"access": "read"}), json!({"access": null})] {
        let read = server.token(reading);
        let (mut writer, before) = Peer::join(addr, &format!("notes?token={write}"));
        let (mut reader, _) = Peer::join(addr, &format!("notes?token={read}"));
        let clock = before.len() as u64;
        reader.update(&typing(66, 0, "forbidden"));
        let mut step2 = vec![0, 1];
        let update = typing(67, 0, "forbidden");
        varint(&mut step2, update.len() as u64);
        step2.extend(update);
        reader.send(&step2);
        writer.update(&typing(clock, 0, "allowed"));
        reader.wait_for_content("allowed");
        let (newcomer, all) = Peer::join(addr, &format!("notes?token={write}"));
        assert!(contains(&all, b"allowed") && !contains(&all, b"forbidden"));
        newcomer.leave();
        writer.leave();
        reader.leave();
    }
    server.end();
}

/// An awareness message with one state.
fn state(id: u64, clock: u64, json: &str) -> Vec<u8> {
    let mut states = vec![1];
    varint(&mut states, id);
    varint(&mut states, clock);
    varint(&mut states, json.len() as u64);
    states.extend(json.bytes());
    let mut message = vec![1];
    varint(&mut message, states.len() as u64);
    message.extend(states);
    message
}

#[test]
fn others_see_the_name_that_the_token_says() {
    let mut server = Guarded::new();
    let fields = json!({"user": {"id": "u-17", "name": "Ada"}});
    let ada = server.token(json!({"sub": "u-17", "awareness": {"fields": fields, "ids": [7]}}));
    let unseen = server.token(json!({"awareness": false}));
    let bob = server.token(json!({"sub": "u-18"}));
    let join = |token: &str| Peer::join(server.program.addr, &format!("notes?token={token}")).0;
    let (mut ada, mut unseen, mut bob) = (join(&ada), join(&unseen), join(&bob));
    unseen.send(&state(9, 1, "{\"unseen\":1}"));
    ada.send(&state(8, 1, "{\"not mine\":1}"));
    ada.send(&state(7, 1, r#"{"user":{"name":"Eve","color":"red"}}"#));
    let seen = bob.wait_for(|message| message[0] == 1);
    let shown = r#"{"user":{"color":"red","id":"u-17","name":"Ada"}}"#;
    assert_eq!(seen, state(7, 1, shown));
    // Who has it goes; who comes with it must be her.
    ada.leave();
    assert_eq!(bob.wait_for(|message| message[0] == 1), state(7, 1, "null"));
    bob.send(&state(7, 9, "{\"I am\":\"Ada\"}"));
    bob.send(&state(6, 1, "{}"));
    assert_eq!(
        unseen.wait_for(|message| message[0] == 1 && contains(message, b"{}")),
        state(6, 1, "{}")
    );
    let again = server.token(json!({"sub": "u-17", "awareness": {"fields": fields, "ids": [7]}}));
    let (mut ada, _) = Peer::join(server.program.addr, &format!("notes?token={again}"));
    ada.send(&state(7, 2, "{}"));
    let seen = bob.wait_for(|message| message[0] == 1);
    assert_eq!(seen, state(7, 2, r#"{"user":{"id":"u-17","name":"Ada"}}"#));
    server.end();
}

#[test]
fn keys_are_read_anew_on_sighup_and_stay_if_they_cannot_be() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("keys.json");
    let set = |keys: &[(&str, &[u8])]| {
        let keys: Vec<_> = keys
            .iter()
            .map(|(kid, secret)| json!({"kty": "oct", "kid": kid, "k": BASE64.encode(secret)}))
            .collect();
        fs::write(&file, json!({"keys": keys}).to_string()).unwrap();
    };
    let other = b"another secret of more than thirty-two bytes";
    let token = |kid: &str, secret: &[u8]| {
        let good = json!({"exp": now() + 60, "rooms": "notes", "access": "write"});
        with_header(&json!({"alg": "HS256", "kid": kid}).to_string(), &good, secret)
    };
    set(&[("one", SECRET)]);
    let program = start(command(dir.path()).args([
        "--store=memory",
        "--auth-jwks=keys.json",
        "--auth-recheck=1",
    ]));
    let status = |token: &str| {
        let target = format!("/notes?token={token}");
        let mut stream = TcpStream::connect(program.addr).unwrap();
        stream.write_all(request(&target).as_bytes()).unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).unwrap();
        String::from_utf8(head[9..].to_vec()).unwrap()
    };
    let becomes = |token: &str, wanted: &str| {
        let until = Instant::now() + support::PATIENCE;
        while status(token) != wanted {
            assert!(Instant::now() < until, "it stays {}", status(token));
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    assert_eq!(status(&token("one", SECRET)), "101");
    assert_eq!(status(&token("two", other)), "401");
    assert_eq!(status(&token("one", other)), "401");
    assert_eq!(status(&signed(&json!({"exp": now() + 60, "rooms": ["notes"]}), SECRET)), "401");
    set(&[("one", SECRET), ("two", other)]);
    program.signal(Signal::HUP);
    becomes(&token("two", other), "101");
    assert_eq!(status(&token("one", SECRET)), "101");
    let room = |kid: &str, secret: &[u8]| format!("notes?token={}", token(kid, secret));
    let (mut first, _) = Peer::join(program.addr, &room("one", SECRET));
    let (mut second, _) = Peer::join(program.addr, &room("two", other));
    set(&[("two", other)]);
    program.signal(Signal::HUP);
    assert_eq!(first.wait_for_close().0, 4401, "whose key is gone goes");
    second.update(&typing(1, 0, "stays"));
    let (mut third, all) = Peer::join(program.addr, &room("two", other));
    if !contains(&all, b"stays") {
        third.wait_for_content("stays");
    }
    becomes(&token("one", SECRET), "401");
    fs::write(&file, "{").unwrap();
    program.signal(Signal::HUP);
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(status(&token("two", other)), "101");
    program.signal(Signal::TERM);
    let (ended, errors) = program.wait();
    assert!(ended.success());
    assert!(errors.contains("the keys stay as they were: keys.json: it is not a JSON"), "{errors}");
}

#[test]
fn other_machines_are_served_only_if_it_is_said_who_may_come_in() {
    let dir = TempDir::new().unwrap();
    let on = |addr: &str| {
        let mut program = Command::new(env!("CARGO_BIN_EXE_yroom"));
        program.current_dir(dir.path()).args(["--listen", addr]);
        program
    };
    for addr in ["0.0.0.0:0", "[::]:0", "[::ffff:0.0.0.0]:0", "192.0.2.7:1234"] {
        let (code, line) = refused(&mut on(addr));
        assert_eq!(code, 1);
        assert!(line.contains("--auth-key") && line.contains("--allow-anonymous"), "{line}");
    }
    let (code, line) = refused(on("[::]:0").arg("--auth-key=nothing"));
    assert_eq!(code, 1);
    assert!(line.contains("cannot read nothing"), "{line}");
    fs::write(dir.path().join("secret"), SECRET).unwrap();
    let both = ["--auth-key=secret", "--allow-anonymous"];
    let (code, line) = refused(command(dir.path()).args(both));
    assert!(code == 1 && line.contains("--allow-anonymous"), "{line}");
    assert!(!dir.path().join("yroom-data").exists(), "it made something");

    let program = start(&mut command(dir.path()));
    program.signal(Signal::TERM);
    let (_, errors) = program.wait();
    assert!(errors.contains("everybody on this machine may read and write"), "{errors}");
    let program = start(command(dir.path()).env("YROOM_ALLOW_ANONYMOUS", "1"));
    program.signal(Signal::TERM);
    let (_, errors) = program.wait();
    assert!(errors.contains("everybody may read and write"), "{errors}");
}

#[test]
fn limits_origins_and_proxies_can_be_set() {
    let dir = TempDir::new().unwrap();
    let program = start(
        command(dir.path())
            .args(["--store=memory", "--max-frame=1KiB", "--max-peers-per-room", "2"])
            .args(["--max-presence", "100", "--origin", "https://app.example.org"])
            .env("YROOM_TRUSTED_PROXY", "127.0.0.0/8")
            .env("YROOM_MAX_CONNECTIONS_PER_ADDRESS", "1"),
    );
    let addr = program.addr;
    let mut ann = Peer::connect(addr, "notes");
    let bob = Peer::connect(addr, "notes");
    assert_eq!(ask(addr, request("/notes").as_bytes()).0, 503, "the room is full");
    ann.update(&typing(1, 0, &"x".repeat(1024)));
    assert_eq!(ann.wait_for_close().0, 1009);
    drop(bob);
    let origin = |origin: &str| with_headers("/a", &format!("Origin: {origin}\r\n"));
    upgraded(addr, &origin("https://app.example.org"));
    assert_eq!(ask(addr, origin("https://evil.example.org").as_bytes()).0, 403);
    let from = |client: &str| with_headers("/b", &format!("X-Forwarded-For: {client}\r\n"));
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.write_all(from("203.0.113.7").as_bytes()).unwrap();
    let mut head = [0; 12];
    stream.read_exact(&mut head).unwrap();
    assert!(head.ends_with(b"101"));
    assert_eq!(ask(addr, from("203.0.113.7").as_bytes()).0, 429);
    upgraded(addr, &from("203.0.113.8"));
    for args in [
        ["--origin", "https://a.example/path"],
        ["--origin", "*,https://a.example"],
        ["--trusted-proxy", "here"],
    ] {
        let (code, line) = refused(command(dir.path()).args(args));
        assert_eq!(code, 1, "{line}");
        assert!(line.contains(args[0]), "{line}");
    }
    drop(program);
}

#[test]
fn refusals_are_logged_by_kind_and_not_without_end() {
    let mut server = Guarded::new();
    for _ in 0..100 {
        assert_eq!(ask(server.addr(), request("/notes").as_bytes()).0, 401);
    }
    let other = server.token(json!({"rooms": "other"}));
    assert_eq!(server.ask("/notes", &other).0, 403);
    let token = server.token(json!({}));
    let (mut peer, _) = Peer::join(server.addr(), &format!("notes?token={token}"));
    peer.send(b"\x00\x02\x0esecret-content");
    assert_eq!(peer.wait_for_close().0, 1007);
    assert_eq!(peer.next(), Got::End);
    let errors = server.end();
    let lines = errors.matches("refused with 401").count();
    assert!((20..100).contains(&lines), "{lines} lines: {errors}");
    assert_eq!(errors.matches("refused with 403").count(), 1, "one kind crowds out another");
    assert_eq!(errors.matches("with 1007").count(), 1, "{errors}");
    assert!(!errors.contains("secret"), "{errors}");
}
