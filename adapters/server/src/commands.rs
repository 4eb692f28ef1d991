//! What the program does besides serving: the subcommands.

use crate::auth::mint;
use crate::options::{Options, StoreKind};
use crate::{check, export, import, list};
use clap::Subcommand;
use std::path::Path;
use std::process::ExitCode;
use yroom::RoomName;
use yroom_file::FileStore;
use yroom_net::store::{BlockingStore, Browse, Compression};
use yroom_sqlite::SqliteStore;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Brings in what ypy-websocket and pycrdt-store have stored: SQLite databases and files.
    ///
    /// Brought in twice, it is there once. The server must not run meanwhile.
    Import(import::Args),
    /// Writes a room as a Yjs update, or rooms as ypy-websocket and pycrdt-store keep them.
    Export(export::Args),
    /// Lists the rooms, when each was changed last, its updates and its bytes; or a room's history.
    List(list::Args),
    /// Reads everything in a data directory and says what is damaged; changes nothing.
    Check(check::Args),
    /// Prints a token that lets somebody into a room, for development.
    Token(mint::TokenArgs),
    /// Writes a new secret, for --auth-key and for `yroom token`.
    Keygen(mint::KeygenArgs),
}

/// Whether everything went well, or what is to be said at the end.
pub(crate) fn run(command: &Command, options: &Options) -> Result<ExitCode, String> {
    match command {
        Command::Import(args) => import::run(args, options),
        Command::Export(args) => export::run(args, options),
        Command::List(args) => list::run(args, options),
        Command::Check(args) => check::run(args),
        Command::Token(args) => mint::token(args),
        Command::Keygen(args) => mint::keygen(args),
    }
}

/// A store as the tools use it: directly, on their own thread.
pub(crate) trait ToolStore: BlockingStore + Browse {}

impl<S: BlockingStore + Browse> ToolStore for S {}

/// Opens the store that is in `dir`, of whatever kind.
pub(crate) fn open_existing(dir: &Path) -> Result<Box<dyn ToolStore>, String> {
    open_in(dir, Compression::none())
}

/// What is written is compressed like that; what is read may be compressed in any known way.
fn open_in(dir: &Path, compression: Compression) -> Result<Box<dyn ToolStore>, String> {
    if dir.join(FileStore::FORMAT_FILE).exists() {
        return match FileStore::open_existing(dir) {
            Ok(store) => {
                let store = store.compression(compression);
                Ok(Box::new(store.on_repair(|what| eprintln!("yroom: {what}"))))
            }
            Err(error) => Err(error.to_string()),
        };
    }
    match SqliteStore::open_existing(dir) {
        Ok(store) => Ok(Box::new(store.compression(compression))),
        Err(error) => Err(error.to_string()),
    }
}

/// Opens the store in the data directory, or makes one of the kind that is asked for.
pub(crate) fn open_or_make(options: &Options) -> Result<Box<dyn ToolStore>, String> {
    let dir = &options.data_dir;
    let known = [FileStore::FORMAT_FILE, SqliteStore::FILE_NAME];
    if known.iter().any(|file| dir.join(file).exists()) {
        return open_in(dir, options.keeping.compression());
    }
    match options.store {
        StoreKind::Sqlite => match SqliteStore::open(dir) {
            Ok(store) => Ok(Box::new(store.compression(options.keeping.compression()))),
            Err(error) => Err(error.to_string()),
        },
        StoreKind::File => match FileStore::open(dir) {
            Ok(store) => Ok(Box::new(store.compression(options.keeping.compression()))),
            Err(error) => Err(error.to_string()),
        },
        StoreKind::Memory => Err("what is brought into memory is gone at once".to_owned()),
    }
}

/// A room by the name that somebody gives it: the server's, which has no slash in front.
pub(crate) fn room_name(name: &str) -> Result<RoomName, String> {
    RoomName::new(name.strip_prefix('/').unwrap_or(name)).map_err(|error| error.to_string())
}
