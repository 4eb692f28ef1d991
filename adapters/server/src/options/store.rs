//! What the rooms are kept by: its part of the command line.

use super::units;
use clap::ValueEnum;
use yroom_net::store::Compression;

#[derive(Clone, Copy, Debug, clap::Args)]
#[command(next_help_heading = "Store")]
pub(crate) struct StoreOptions {
    /// How what is stored is compressed. What is there already stays as it is, and readable; not for
    /// --store memory.
    #[arg(long, env = "YROOM_COMPRESS", value_name = "HOW", default_value = "none", global = true)]
    compress: CompressKind,

    /// What the database of --store sqlite is to grow to, as 512MiB or 20GiB. Above it the logs of rooms
    /// that nobody has open are folded, whatever is said of history; no document is deleted.
    #[arg(long, env = "YROOM_DB_MAX_BYTES", value_name = "SIZE", value_parser = units::bytes)]
    db_max_bytes: Option<usize>,
}

/// [`Compression`] on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum CompressKind {
    /// As it is.
    None,
    /// In LZ4's block format.
    Lz4,
}

impl StoreOptions {
    /// The bound of the database, if there is one.
    pub(crate) fn bound(self) -> Option<u64> {
        self.db_max_bytes.map(|bytes| bytes as u64)
    }

    pub(crate) fn compression(self) -> Compression {
        match self.compress {
            CompressKind::None => Compression::none(),
            CompressKind::Lz4 => Compression::lz4(),
        }
    }
}
