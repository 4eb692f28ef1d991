//! Servers, and programs with a document in one of their rooms.

#![allow(dead_code, reason = "shared by several test programs, each using a part")]

#[path = "wait.rs"]
mod wait;

pub(crate) use wait::wait;

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use yroom::Config;
use yroom_net::client::{Client, Options, Session};
use yroom_net::store::MemoryStore;
use yroom_net::{Running, Runtime, Server};
use yrs::{Doc, GetString, Text, Transact};

/// How long a test waits for what has to come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn wait_for(what: &str, done: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < end, "it takes too long: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Runs a server as soon as its address is free.
pub(crate) fn serve_with<R: Runtime>(addr: &str, server: impl Fn() -> Server<R>) -> Running {
    let end = Instant::now() + PATIENCE;
    loop {
        match server().bind(addr) {
            Ok(running) => return running,
            // The port of the server before may not be free yet.
            Err(error) => assert!(Instant::now() < end, "{error}"),
        }
        thread::sleep(Duration::from_millis(20));
    }
}

pub(crate) fn serve<R: Runtime>(store: &MemoryStore, addr: &str) -> Running {
    serve_with(addr, || {
        Server::<R>::new(Config::default()).threads(1).store(Arc::new(store.clone()))
    })
}

pub(crate) fn start<R: Runtime>() -> Running {
    serve::<R>(&MemoryStore::new(), "127.0.0.1:0")
}

/// A program with a document.
pub(crate) struct Program<R> {
    pub(crate) doc: Doc,
    pub(crate) session: Session,
    _client: Client<R>,
}

impl<R: Runtime> Program<R> {
    pub(crate) fn start(addr: SocketAddr, options: Options) -> Self {
        let doc = Doc::new();
        let client = Client::<R>::start().unwrap();
        let session = client.connect(&format!("ws://{addr}/room"), &doc, options).unwrap();
        Self { doc, session, _client: client }
    }

    pub(crate) fn synced(addr: SocketAddr) -> Self {
        let program = Self::start(addr, quick());
        wait(program.session.synced()).unwrap();
        program
    }

    pub(crate) fn push(&self, text: &str) {
        let notes = self.doc.get_or_insert_text("text");
        notes.push(&mut self.doc.transact_mut(), text);
    }

    pub(crate) fn text(&self) -> String {
        let notes = self.doc.get_or_insert_text("text");
        notes.get_string(&self.doc.transact())
    }

    /// How many others it sees.
    pub(crate) fn others(&self) -> usize {
        self.session.awareness().others().len()
    }
}

/// Comes back sooner than a program that cares for its server.
pub(crate) fn quick() -> Options {
    let spread = Duration::from_millis(200);
    let config = yroom::provider::Config {
        spread,
        retry_at_most: spread,
        ..yroom::provider::Config::default()
    };
    Options::default().config(config)
}
