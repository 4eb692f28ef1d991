//! Sessions over TLS.
#![allow(missing_docs, reason = "the names of tests are sentences")]
#![cfg(all(feature = "tls", feature = "smol"))]

use futures_rustls::TlsAcceptor;
use futures_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use futures_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig, crypto};
use futures_util::future;
use futures_util::io::AsyncReadExt;
use smol::net::{TcpListener, TcpStream};
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use yroom::Config;
use yroom_net::Server;
use yroom_net::client::{Options, Session};
use yroom_net::runtime::Smol;
use yrs::{Doc, GetString, Text, Transact};

const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn a_document_is_synced_over_tls() {
    let (port, trusted) = serve();
    let options = || Options::default().tls(Arc::clone(&trusted));
    let docs = [Doc::new(), Doc::new()];
    let url = format!("wss://localhost:{port}/room");
    let sessions = docs.each_ref().map(|doc| yroom_net::connect(&url, doc, options()).unwrap());
    sessions.iter().for_each(synced);
    let text = docs[0].get_or_insert_text("text");
    // Large enough for many records.
    let words = "over TLS ".repeat(50_000);
    text.push(&mut docs[0].transact_mut(), &words);
    let text = docs[1].get_or_insert_text("text");
    let end = Instant::now() + PATIENCE;
    while text.get_string(&docs[1].transact()) != words {
        assert!(Instant::now() < end, "the text does not arrive");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_server_that_nobody_vouches_for_is_not_spoken_to() {
    let (port, _) = serve();
    let url = format!("wss://localhost:{port}/room");
    let session = yroom_net::connect(&url, &Doc::new(), Options::default()).unwrap();
    let end = Instant::now() + PATIENCE;
    let trouble = loop {
        if let Some(trouble) = session.status().trouble {
            break trouble;
        }
        assert!(Instant::now() < end, "nothing goes wrong");
        thread::sleep(Duration::from_millis(10));
    };
    assert!(trouble.contains("TLS") && trouble.contains("certificate"), "{trouble}");
}

fn synced(session: &Session) {
    let synced = std::pin::pin!(session.synced());
    let first = smol::block_on(future::select(synced, smol::Timer::after(PATIENCE)));
    assert!(matches!(first, future::Either::Left((Ok(()), _))), "it is not synced");
}

/// A server behind a proxy that speaks TLS: its port, and a configuration that trusts it.
fn serve() -> (u16, Arc<ClientConfig>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate: CertificateDer<'static> = made.cert.der().clone();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(crypto::ring::default_provider());
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        let yroom = Server::<Smol>::new(Config::default()).bind("127.0.0.1:0").unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(server));
        smol::block_on(proxy(listener, acceptor, yroom.local_addr()));
    });
    (port, Arc::new(client))
}

async fn proxy(listener: std::net::TcpListener, acceptor: TlsAcceptor, to: SocketAddr) {
    listener.set_nonblocking(true).unwrap();
    let listener = TcpListener::try_from(listener).unwrap();
    loop {
        let (outside, _) = listener.accept().await.unwrap();
        let acceptor = acceptor.clone();
        smol::spawn(async move {
            let outside = acceptor.accept(outside).await?;
            let inside = TcpStream::connect(to).await?;
            let (outside_in, mut outside_out) = outside.split();
            let (inside_in, mut inside_out) = inside.split();
            let up = futures_util::io::copy(outside_in, &mut inside_out);
            let down = futures_util::io::copy(inside_in, &mut outside_out);
            future::try_join(up, down).await.map(drop)
        })
        .detach();
    }
}
