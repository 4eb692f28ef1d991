//! The command line and the environment.

mod auth;
mod chain;
mod history;
mod limits;
mod network;
mod store;
pub(crate) mod units;
mod webhook;

use crate::commands::Command;
pub(crate) use auth::AuthOptions;
pub(crate) use chain::ChainFlags;
use clap::{Parser, ValueEnum};
use history::HistoryOptions;
use limits::LimitOptions;
use network::NetworkOptions;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;
use store::StoreOptions;
use units::seconds;
pub(crate) use webhook::WebhookOptions;
use yroom::{Config, Durability};

/// Serves Yjs documents over WebSocket, and remembers them.
///
/// A room is the path of the URL: clients connect to ws://ADDR:PORT/ROOM.
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 100)]
pub(crate) struct Options {
    /// What to do instead of serving.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    /// Where to listen.
    #[arg(long, env = "YROOM_LISTEN", value_name = "ADDR:PORT", default_value = "127.0.0.1:1234")]
    pub(crate) listen: SocketAddr,

    /// Where the rooms are kept; made if it is not there.
    #[arg(
        long,
        env = "YROOM_DATA_DIR",
        value_name = "DIR",
        default_value = "./yroom-data",
        global = true
    )]
    pub(crate) data_dir: PathBuf,

    /// How the rooms are kept.
    #[arg(
        long,
        env = "YROOM_STORE",
        value_name = "STORE",
        default_value = "sqlite",
        global = true
    )]
    pub(crate) store: StoreKind,

    /// What an update waits for: to be stored before others see it, before its sender is told that
    /// it is stored, or for nothing.
    #[arg(long, env = "YROOM_DURABILITY", value_name = "WHEN", default_value = "before-fanout")]
    pub(crate) durability: DurabilityKind,

    /// How long a room stays loaded after its last peer has left.
    #[arg(
        long,
        env = "YROOM_UNLOAD_AFTER",
        value_name = "SPAN",
        value_parser = seconds,
        default_value = "30s",
        allow_negative_numbers = true
    )]
    pub(crate) unload_after: u64,

    /// Threads, each with its share of the rooms [default: one for each core].
    #[arg(long, env = "YROOM_THREADS", value_name = "N")]
    pub(crate) threads: Option<NonZeroUsize>,

    /// How long to wait at the end for everything to be stored.
    #[arg(long, env = "YROOM_DRAIN_TIMEOUT", value_name = "SPAN", value_parser = seconds, default_value = "30s")]
    pub(crate) drain_timeout: u64,

    #[command(flatten)]
    pub(crate) auth: AuthOptions,

    #[command(flatten)]
    pub(crate) network: NetworkOptions,

    #[command(flatten)]
    pub(crate) chain: ChainFlags,

    #[command(flatten)]
    pub(crate) webhook: WebhookOptions,

    #[command(flatten)]
    pub(crate) limits: LimitOptions,

    #[command(flatten)]
    pub(crate) history: HistoryOptions,

    #[command(flatten)]
    pub(crate) keeping: StoreOptions,
}

/// The stores that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StoreKind {
    /// A SQLite database.
    Sqlite,
    /// A file for each room.
    File,
    /// In memory: nothing outlives the program.
    Memory,
}

/// [`Durability`] on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum DurabilityKind {
    /// Others see an update once it is stored.
    BeforeFanout,
    /// Others see it at once; its sender is told when it is stored.
    BeforeAck,
    /// Others see it at once, and its sender is told at once.
    Eventual,
}

impl Options {
    /// The engine's part.
    pub(crate) fn config(&self) -> Config {
        Config {
            // Differs from process to process, which is all that jitter asks for.
            seed: u64::from(std::process::id()),
            durability: match self.durability {
                DurabilityKind::BeforeFanout => Durability::BeforeFanout,
                DurabilityKind::BeforeAck => Durability::BeforeAck,
                DurabilityKind::Eventual => Durability::Eventual,
            },
            unload_after: Duration::from_secs(self.unload_after),
            history: self.history.policy(),
            limits: self.limits.engine(),
            ..Config::default()
        }
    }

    /// Refuses to serve other machines without knowing whom, unless that is what is wanted.
    pub(crate) fn check_exposure(&self) -> Result<(), String> {
        if self.auth.allow_anonymous && self.auth.is_configured() {
            let sentence =
                "--allow-anonymous lets everybody in: use it without a key, or a key without it";
            return Err(sentence.to_owned());
        }
        if self.is_local() || self.auth.is_configured() || self.auth.allow_anonymous {
            return Ok(());
        }
        Err(format!(
            "--listen {} is open to other machines, and nothing says who may come in: use --auth-key \
             or --auth-jwks, or --allow-anonymous to let everybody read and write everything",
            self.listen
        ))
    }

    /// Whether only this machine can reach it.
    pub(crate) fn is_local(&self) -> bool {
        self.listen.ip().to_canonical().is_loopback()
    }

    pub(crate) fn drain_timeout(&self) -> Duration {
        Duration::from_secs(self.drain_timeout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Options::command().debug_assert();
    }
}
