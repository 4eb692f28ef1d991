//! How a session connects.

use crate::store::Store;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::future::Future;
use std::hash::BuildHasher;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use yroom::RoomName;
use yroom::provider::{Config, Direction};

/// How a session connects and behaves. The default: both directions, no credentials, no store.
#[derive(Clone, Default)]
pub struct Options {
    config: Config,
    seed: Option<u64>,
    pub(super) credentials: Option<Arc<Provide>>,
    pub(super) store: Option<Arc<dyn Store>>,
    #[cfg(feature = "tls")]
    pub(super) tls: Option<Arc<futures_rustls::rustls::ClientConfig>>,
}

type Provide = dyn Fn() -> Pin<Box<dyn Future<Output = io::Result<Credentials>>>> + Send + Sync;

impl Options {
    /// The engine's settings.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.seed = Some(config.seed);
        self.config = config;
        self
    }

    /// Receives, and sends nothing of what is edited here.
    #[must_use]
    pub const fn receive_only(mut self) -> Self {
        self.config.direction = Direction::Receive;
        self
    }

    /// Asks the server for what is new every so often, although nothing seems missing.
    #[must_use]
    pub const fn resync_every(mut self, every: Duration) -> Self {
        self.config.resync = Some(every);
        self
    }

    /// Keeps a copy of the document in `store`, under `name`: it is there at the next start without
    /// a server, and so are edits that no server has seen.
    #[must_use]
    pub fn store(mut self, store: Arc<dyn Store>, name: RoomName) -> Self {
        self.config.store_as = Some(name);
        self.store = Some(store);
        self
    }

    /// Where credentials come from: asked before every attempt to connect, so that they are fresh.
    /// If they cannot be had, the attempt has failed, and another follows.
    #[must_use]
    pub fn credentials<F, Fut>(mut self, provide: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = io::Result<Credentials>> + 'static,
    {
        self.credentials = Some(Arc::new(move || Box::pin(provide())));
        self
    }

    /// What to trust in `wss://`. Default: the roots of Mozilla's programme.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, config: Arc<futures_rustls::rustls::ClientConfig>) -> Self {
        self.tls = Some(config);
        self
    }

    /// The engine's configuration; without a seed that was asked for, one of its own.
    pub(super) fn engine(&self) -> Config {
        let seed = self.seed.unwrap_or_else(|| RandomState::new().hash_one(0));
        let store_as = self.config.store_as.clone().filter(|_| self.store.is_some());
        Config { seed, store_as, ..self.config.clone() }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("config", &self.config).finish_non_exhaustive()
    }
}

/// What proves who asks.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    pub(super) query: Vec<(String, String)>,
    pub(super) headers: Vec<(String, String)>,
}

impl Credentials {
    /// `Authorization: Bearer …`.
    pub fn bearer(token: &str) -> Self {
        Self::default().header("authorization", &format!("Bearer {token}"))
    }

    /// A further parameter of the URL, as y-websocket sends its `params`.
    #[must_use]
    pub fn query(mut self, name: &str, value: &str) -> Self {
        self.query.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A further header of the request.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

impl fmt::Debug for Credentials {
    /// Without what is secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(…)")
    }
}
