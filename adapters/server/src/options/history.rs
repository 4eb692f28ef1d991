//! How much of the past is kept: its part of the command line.

use super::units::seconds;
use std::time::Duration;
use yroom::{Folding, History};

#[derive(Clone, Copy, Debug, clap::Args)]
#[command(next_help_heading = "History")]
pub(crate) struct HistoryOptions {
    /// Keep every update, its time and its place: a room's log is not folded into a snapshot, but at
    /// the bounds that are given here.
    #[arg(long, env = "YROOM_KEEP_HISTORY")]
    keep_history: bool,

    /// Fold the log of a room that has not changed for so long, when it is next used.
    #[arg(long, env = "YROOM_DOCUMENT_TTL", value_name = "SPAN", value_parser = seconds)]
    document_ttl: Option<u64>,

    /// Fold a log of more than so many bytes.
    #[arg(long, env = "YROOM_LOG_MAX_BYTES", value_name = "BYTES")]
    log_max_bytes: Option<usize>,

    /// Fold a log that began longer ago, when its room is next used.
    #[arg(long, env = "YROOM_LOG_MAX_AGE", value_name = "SPAN", value_parser = seconds)]
    log_max_age: Option<u64>,

    /// Fold what of a log is older, when its room is next used; what is younger stays. Use it with
    /// --keep-history.
    #[arg(long, env = "YROOM_FOLD_OLDER_THAN", value_name = "SPAN", value_parser = seconds)]
    fold_older_than: Option<u64>,

    /// The least time between two folds of a room, whatever else asks for one.
    #[arg(long, env = "YROOM_FOLD_APART", value_name = "SPAN", value_parser = seconds, default_value = "0")]
    fold_apart: u64,
}

impl HistoryOptions {
    pub(crate) fn policy(self) -> History {
        History {
            folding: if self.keep_history { Folding::AtBounds } else { Folding::WhenItPays },
            ttl: self.document_ttl.map(Duration::from_secs),
            log_bytes: self.log_max_bytes,
            log_age: self.log_max_age.map(Duration::from_secs),
            older_than: self.fold_older_than.map(Duration::from_secs),
            apart: Duration::from_secs(self.fold_apart),
        }
    }
}
