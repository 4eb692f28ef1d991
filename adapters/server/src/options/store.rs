//! What the rooms are kept by: its part of the command line.

use clap::ValueEnum;
use yroom_net::store::Compression;

#[derive(Clone, Copy, Debug, clap::Args)]
#[command(next_help_heading = "Store")]
pub(crate) struct StoreOptions {
    /// How what is stored is compressed. What is there already stays as it is, and readable; not for
    /// --store memory.
    #[arg(long, env = "YROOM_COMPRESS", value_name = "HOW", default_value = "none", global = true)]
    compress: CompressKind,
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
    pub(crate) fn compression(self) -> Compression {
        match self.compress {
            CompressKind::None => Compression::none(),
            CompressKind::Lz4 => Compression::lz4(),
        }
    }
}
