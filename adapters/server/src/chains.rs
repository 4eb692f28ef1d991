//! The rooms that follow those of another server.

use crate::doors::say;
use crate::log::Log;
use crate::options::{ChainFlags, Options};
use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use yroom_net::Running;
use yroom_net::chain::{Chain, ChainAll, ChainOptions, Credentials};

/// What rooms are chained to, and what is shown there. Clones have the same token.
#[derive(Clone)]
pub(crate) struct Upstreams {
    flags: ChainFlags,
    linger: Duration,
    token: Option<Token>,
}

/// A token that may be replaced while the program runs.
#[derive(Clone)]
struct Token {
    file: PathBuf,
    text: Arc<Mutex<String>>,
}

/// The links of a running server, closed when this is dropped.
#[must_use = "dropped, the links are closed"]
pub(crate) struct Links {
    _single: Vec<Chain>,
    _all: Option<ChainAll>,
}

impl Upstreams {
    pub(crate) fn new(options: &Options) -> Result<Self, String> {
        let flags = options.chain.clone();
        if flags.chain_token.is_some() && flags.chain.is_empty() && flags.chain_all.is_none() {
            return Err("--chain-token is for --chain or --chain-all".to_owned());
        }
        let token = flags.chain_token.clone().map(Token::read).transpose()?;
        Ok(Self { flags, linger: Duration::from_secs(options.unload_after), token })
    }

    /// Makes the links; they are dialled in the background.
    pub(crate) fn link(&self, running: &Running, log: &Arc<Log>) -> Result<Links, String> {
        let mut single = Vec::new();
        for link in &self.flags.chain {
            let chain = running.chain(link.room.clone(), &link.url, self.options());
            single.push(chain.map_err(|why| format!("--chain {}: {why}", link.room))?);
        }
        let all = self.flags.chain_all.as_deref().map(|url| {
            let log = Arc::clone(log);
            let tell = move |room: &_, why: &str| log.unchained(room, why);
            running
                .chain_all(url, self.options(), self.linger, tell)
                .map_err(|why| format!("--chain-all {why}"))
        });
        Ok(Links { _single: single, _all: all.transpose()? })
    }

    /// Reads the token anew; if it cannot be read, it stays as it was.
    pub(crate) fn reload(&self) {
        let Some(token) = &self.token else { return };
        let fresh = Token::read(token.file.clone()).map(|fresh| lock(&fresh.text).clone());
        say("credentials for other servers", fresh.map(|fresh| *lock(&token.text) = fresh));
    }

    fn options(&self) -> ChainOptions {
        let Some(Token { text, .. }) = self.token.clone() else {
            return ChainOptions::default();
        };
        ChainOptions::default().credentials(move || {
            let credentials = Credentials::bearer(&lock(&text));
            async move { Ok(credentials) }
        })
    }
}

impl Token {
    fn read(file: PathBuf) -> Result<Self, String> {
        let name = file.display().to_string();
        let text = fs::read_to_string(&file).map_err(|error| format!("{name}: {error}"))?;
        let token = text.trim();
        if token.is_empty() || token.contains(|c: char| c.is_ascii_control() || c == ' ') {
            return Err(format!("{name}: it holds no token"));
        }
        Ok(Self { file, text: Arc::new(Mutex::new(token.to_owned())) })
    }
}

impl fmt::Debug for Upstreams {
    /// Without the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstreams").finish_non_exhaustive()
    }
}

/// Nothing panics while it is locked.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
