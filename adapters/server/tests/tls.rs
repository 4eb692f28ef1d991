//! The program with a certificate of its own.
#![cfg(unix)]
#![allow(missing_docs, reason = "the names of tests are sentences")]

mod running;
#[path = "../../net/tests/support/mod.rs"]
#[allow(dead_code, reason = "shared with the tests of yroom-net")]
mod support;

use running::{command, refused, start};
use rustix::process::Signal;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, crypto};
use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::{PATIENCE, ask, request};
use tempfile::TempDir;

/// Writes a new certificate for localhost with its key, and gives it.
fn certify(dir: &Path) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(dir.join("cert.pem"), made.cert.pem()).unwrap();
    fs::write(dir.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    made.cert.der().clone()
}

/// The beginning of the answer to a client that trusts this certificate and no other.
fn status(addr: SocketAddr, trusted: &CertificateDer<'static>) -> io::Result<String> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let client = ClientConnection::new(Arc::new(config), name).unwrap();
    let stream = TcpStream::connect(addr)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut stream = StreamOwned::new(client, stream);
    stream.write_all(request("/room").as_bytes())?;
    let mut head = [0; 12];
    stream.read_exact(&mut head)?;
    Ok(String::from_utf8_lossy(&head).into_owned())
}

#[test]
fn it_speaks_tls_and_takes_a_new_certificate_on_sighup() {
    let dir = TempDir::new().unwrap();
    let first = certify(dir.path());
    let program = start(
        command(dir.path())
            .args(["--store=memory", "--tls-cert=cert.pem"])
            .env("YROOM_TLS_KEY", "key.pem"),
    );
    assert_eq!(status(program.addr, &first).unwrap(), "HTTP/1.1 101");
    let second = certify(dir.path());
    assert!(status(program.addr, &second).is_err(), "nobody has said so yet");
    program.signal(Signal::HUP);
    let until = Instant::now() + PATIENCE;
    while status(program.addr, &second).is_err() {
        assert!(Instant::now() < until, "the old one is still shown");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(status(program.addr, &first).is_err());
    fs::write(dir.path().join("key.pem"), "nonsense").unwrap();
    program.signal(Signal::HUP);
    let (code, sentence) = ask(program.addr, request("/room").as_bytes());
    assert_eq!((code, sentence.contains("wss://")), (400, true), "{sentence}");
    assert_eq!(status(program.addr, &second).unwrap(), "HTTP/1.1 101");
    program.signal(Signal::TERM);
    let (ended, errors) = program.wait();
    assert!(ended.success());
    assert!(errors.contains("the certificates are read anew"), "{errors}");
    assert!(errors.contains("the certificates stay as they were"), "{errors}");
    assert!(errors.contains("did not begin with TLS"), "{errors}");
}

#[test]
fn a_certificate_that_cannot_be_used_is_said_in_one_line() {
    let dir = TempDir::new().unwrap();
    let tls = ["--tls-cert=cert.pem", "--tls-key=key.pem"];
    let (code, line) = refused(command(dir.path()).args(tls));
    assert!(code == 1 && line.contains("cert.pem"), "{line}");
    certify(dir.path());
    fs::write(dir.path().join("key.pem"), "nonsense").unwrap();
    let (code, line) = refused(command(dir.path()).args(tls));
    assert!(code == 1 && line.contains("key.pem"), "{line}");
    let output = command(dir.path()).arg(tls[0]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "one without the other");
    assert!(!dir.path().join("yroom-data").exists(), "it made something");
}
