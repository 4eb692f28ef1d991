//! A server that speaks TLS itself, on real sockets.
#![allow(missing_docs, reason = "the names of tests are sentences")]
#![cfg(all(feature = "tls", feature = "client"))]

#[allow(dead_code, reason = "each file of tests uses a part of it")]
mod support;
#[macro_use]
#[path = "support/suite.rs"]
mod suite;

use futures_rustls::rustls::pki_types::CertificateDer;
use futures_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, crypto};
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use support::{BINARY, PATIENCE, STEP1, eventually, frame, request, typing};
use yroom::Config;
use yroom_net::client::{Options, Phase, Session};
use yroom_net::{Loopback, NetLimits, Notice, Running, Runtime, Server, Timeouts, TlsConfig};
use yrs::{Doc, GetString, Text, Transact};

suite! {
    documents_are_synced_whichever_thread_has_the_room
    a_peer_that_reads_late_gets_everything
    clear_text_is_answered_in_clear_text
    a_handshake_that_goes_wrong_or_nowhere_ends
    new_certificates_are_shown_to_new_connections_only
    a_connection_is_closed_in_order
}

/// Files that are gone with it.
struct Files(PathBuf);

impl Files {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let nth = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("yroom-wss-{}-{nth}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    fn chain(&self) -> PathBuf {
        self.0.join("chain.pem")
    }

    fn key(&self) -> PathBuf {
        self.0.join("key.pem")
    }

    /// Writes a new certificate; gives whom to trust then.
    fn renew(&self) -> Arc<ClientConfig> {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let pem = |label: &str, der: &[u8]| {
            let base64 = data_encoding::BASE64.encode(der);
            format!("-----BEGIN {label}-----\n{base64}\n-----END {label}-----\n")
        };
        fs::write(self.chain(), pem("CERTIFICATE", made.cert.der())).unwrap();
        fs::write(self.key(), pem("PRIVATE KEY", &made.signing_key.serialize_der())).unwrap();
        trusting(made.cert.der().clone())
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn trusting(certificate: CertificateDer<'static>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let provider = Arc::new(crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
}

fn start<R: Runtime>() -> (Running, Arc<ClientConfig>, TlsConfig, Files) {
    let files = Files::new();
    let trusted = files.renew();
    let tls = TlsConfig::from_pem_files(files.chain(), files.key()).unwrap();
    let timeouts = Timeouts { handshake: Duration::from_millis(700), ..Timeouts::default() };
    let server = Server::<R>::new(Config::default())
        .threads(3)
        .timeouts(timeouts)
        .tls(tls.clone())
        .bind("127.0.0.1:0")
        .unwrap();
    (server, trusted, tls, files)
}

fn connect(server: &Running, room: &str, doc: &Doc, trusted: &Arc<ClientConfig>) -> Session {
    let url = format!("wss://localhost:{}/{room}", server.local_addr().port());
    yroom_net::connect(&url, doc, Options::default().tls(Arc::clone(trusted))).unwrap()
}

/// A connection whose handshake of TLS is done.
fn secure(
    addr: SocketAddr,
    trusted: &Arc<ClientConfig>,
) -> StreamOwned<ClientConnection, TcpStream> {
    let name = "localhost".try_into().unwrap();
    let session = ClientConnection::new(Arc::clone(trusted), name).unwrap();
    let socket = TcpStream::connect(addr).unwrap();
    // Encryption is slow without optimisation.
    socket.set_read_timeout(Some(6 * PATIENCE)).unwrap();
    StreamOwned::new(session, socket)
}

fn text_of(doc: &Doc) -> String {
    let text = doc.get_or_insert_text("text");
    text.get_string(&doc.transact())
}

fn type_in(doc: &Doc, words: &str) {
    let text = doc.get_or_insert_text("text");
    text.push(&mut doc.transact_mut(), words);
}

fn documents_are_synced_whichever_thread_has_the_room<R: Runtime>() {
    let (server, trusted, _, _files) = start::<R>();
    for room in 0..8 {
        let room = format!("room-{room}");
        let docs = [Doc::new(), Doc::new()];
        let _sessions = docs.each_ref().map(|doc| connect(&server, &room, doc, &trusted));
        // Many records.
        let words = format!("{room} over TLS ").repeat(20_000);
        type_in(&docs[0], &words);
        eventually(|| text_of(&docs[1]) == words);
        type_in(&docs[1], "and back");
        eventually(|| text_of(&docs[0]).ends_with("and back"));
    }
    assert!(server.shutdown().is_clean());
}

fn a_peer_that_reads_late_gets_everything<R: Runtime>() {
    let (server, trusted, _, _files) = start::<R>();
    let [mut ann, mut bob, mut late] = [(); 3].map(|()| {
        let mut peer = secure(server.local_addr(), &trusted);
        peer.write_all(request("/room").as_bytes()).unwrap();
        peer.write_all(&frame(BINARY, STEP1)).unwrap();
        peer
    });
    // More than the kernel's buffers hold.
    let words = "0123456789".repeat(10_000);
    for n in 0..90 {
        ann.write_all(&update(&typing(1, n * 100_000, &words))).unwrap();
    }
    ann.write_all(&update(&typing(1, 9_000_000, "the end"))).unwrap();
    read_until(&mut bob, b"the end");
    // It is read from while it cannot be written to.
    late.write_all(&update(&typing(2, 0, "from the late one"))).unwrap();
    read_until(&mut bob, b"from the late one");
    assert!(read_until(&mut late, b"the end") > 9_000_000);
}

fn update(update: &[u8]) -> Vec<u8> {
    let mut message = vec![0, 2];
    support::varint(&mut message, update.len() as u64);
    message.extend_from_slice(update);
    frame(BINARY, &message)
}

/// Reads until these bytes have come; says how many that were.
fn read_until(stream: &mut impl Read, wanted: &[u8]) -> usize {
    let (mut read, mut chunk, mut tail) = (0, vec![0; 64 << 10], Vec::new());
    loop {
        let bytes = stream.read(&mut chunk).unwrap();
        assert!(bytes > 0, "it ended after {read}");
        read += bytes;
        tail.extend_from_slice(&chunk[..bytes]);
        let mut starts = tail.iter().enumerate().filter(|(_, byte)| **byte == wanted[0]);
        if starts.any(|(at, _)| tail[at..].starts_with(wanted)) {
            return read;
        }
        tail.drain(..tail.len().saturating_sub(wanted.len()));
    }
}

fn clear_text_is_answered_in_clear_text<R: Runtime>() {
    let (server, trusted, _, _files) = start::<R>();
    let (status, sentence) = support::ask(server.local_addr(), request("/room").as_bytes());
    assert!(status == 400 && sentence.contains("wss://"), "{status}: {sentence}");
    let mut healthy = secure(server.local_addr(), &trusted);
    healthy.write_all(b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    let mut answer = String::new();
    healthy.read_to_string(&mut answer).expect("an end in order");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
}

fn a_handshake_that_goes_wrong_or_nowhere_ends<R: Runtime>() {
    let files = Files::new();
    let trusted = files.renew();
    let tls = TlsConfig::from_pem_files(files.chain(), files.key()).unwrap();
    let failed = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&failed);
    let timeouts = Timeouts { handshake: Duration::from_millis(400), ..Timeouts::default() };
    let limits = NetLimits {
        loopback: Loopback::Counted,
        connections_per_address: 3,
        ..NetLimits::default()
    };
    let server = Server::<R>::new(Config::default())
        .timeouts(timeouts)
        .net_limits(limits)
        .tls(tls)
        .observe(move |notice| {
            if matches!(notice, Notice::TlsFailed { .. }) {
                counted.fetch_add(1, Ordering::SeqCst);
            }
        })
        .bind("127.0.0.1:0")
        .unwrap();
    let addr = server.local_addr();
    let doc = Doc::new();
    let session = connect(&server, "room", &doc, &trusted);
    eventually(|| session.status().phase == Phase::Synced);
    let ends = |bytes: &[u8]| {
        let mut stream = TcpStream::connect(addr).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(bytes).unwrap();
        let (began, mut rest) = (Instant::now(), Vec::new());
        match stream.read_to_end(&mut rest) {
            Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("{error}"),
            Ok(_) | Err(_) => began.elapsed(),
        }
    };
    // Nonsense, at once.
    assert!(ends(&[0x80; 500]) < Duration::from_millis(300));
    assert!(ends(&[0x16, 3, 1, 0, 5, 9, 9, 9, 9, 9]) < Duration::from_millis(300));
    eventually(|| failed.load(Ordering::SeqCst) == 2);
    // Silence, and half a hello, at the deadline.
    assert!(ends(&[]) >= Duration::from_millis(390));
    assert!(ends(&[0x16, 3, 1, 1, 0]) >= Duration::from_millis(390));
    // A handshake without a request.
    let mut idle = secure(addr, &trusted);
    idle.conn.complete_io(&mut idle.sock).unwrap();
    let mut answer = String::new();
    idle.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    // Over a limit there is no handshake, as it would cost more than the refusal.
    let _held = [TcpStream::connect(addr).unwrap(), TcpStream::connect(addr).unwrap()];
    thread::sleep(Duration::from_millis(50));
    assert!(ends(&[]) < Duration::from_millis(300));
    type_in(&doc, "unharmed");
    eventually(|| session.status().phase == Phase::Synced);
    assert!(server.shutdown().is_clean());
}

fn new_certificates_are_shown_to_new_connections_only<R: Runtime>() {
    let (server, old, tls, files) = start::<R>();
    let docs = [Doc::new(), Doc::new()];
    let before = connect(&server, "room", &docs[0], &old);
    eventually(|| before.status().phase == Phase::Synced);
    let new = files.renew();
    tls.reload().unwrap();
    let after = connect(&server, "room", &docs[1], &new);
    eventually(|| after.status().phase == Phase::Synced);
    let stranger = Doc::new();
    let refused = connect(&server, "room", &stranger, &old);
    eventually(|| refused.status().trouble.is_some_and(|why| why.contains("certificate")));
    type_in(&docs[0], "both are here");
    eventually(|| text_of(&docs[1]) == "both are here");
    assert_eq!(before.status().trouble, None, "it noticed nothing");
}

fn a_connection_is_closed_in_order<R: Runtime>() {
    let (server, trusted, _, _files) = start::<R>();
    let mut peer = secure(server.local_addr(), &trusted);
    peer.write_all(request("/room").as_bytes()).unwrap();
    peer.write_all(&frame(support::CLOSE, &1000_u16.to_be_bytes())).unwrap();
    let mut all = Vec::new();
    // rustls reports an end without its farewell as an error.
    peer.read_to_end(&mut all).expect("an end in order");
    assert!(all.starts_with(b"HTTP/1.1 101 ") && all.ends_with(&[0x88, 2, 3, 232]), "{all:?}");
}
