//! `yroom export`.

use crate::commands::{ToolStore, open_existing, room_name};
use crate::options::Options;
use clap::ValueEnum;
use rusqlite::{Connection, params};
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use yroom::wire::varint;
use yroom::{Batch, RoomName, Seq, Stored, update};
use yroom_net::store::Examined;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The rooms; one, unless the format is sqlite.
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    rooms: Vec<String>,

    /// All rooms.
    #[arg(long)]
    all: bool,

    /// What to write.
    #[arg(long, value_name = "FORMAT", default_value = "update")]
    format: Format,

    /// Where to; never over something that is there [default: standard output].
    #[arg(long, short, value_name = "FILE", required_if_eq("format", "sqlite"))]
    output: Option<PathBuf>,

    /// Of a damaged room, what is before the damage.
    #[arg(long)]
    salvage: bool,

    /// The document as it was after so many updates, if the log still has them: see `yroom list`.
    #[arg(long, value_name = "N", conflicts_with = "all")]
    upto: Option<u64>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// One Yjs update (V1) that holds the document: what `Y.applyUpdate` takes.
    Update,
    /// A file as `FileYStore` of ypy-websocket and pycrdt-store has it.
    File,
    /// A database as `SQLiteYStore` of ypy-websocket and pycrdt-store has it.
    Sqlite,
}

pub(crate) fn run(args: &Args, options: &Options) -> Result<ExitCode, String> {
    let mut store = open_existing(&options.data_dir)?;
    let rooms = if args.all {
        store.rooms().map_err(|fault| fault.to_string())?
    } else {
        args.rooms.iter().map(|name| room_name(name)).collect::<Result<_, _>>()?
    };
    match (args.format, &rooms[..]) {
        (Format::Sqlite, rooms) => {
            let path = args.output.as_deref().ok_or("a database needs --output")?;
            write_database(path, rooms, |room| read(&mut *store, room, args))?;
        }
        (Format::Update, [room]) => {
            let stored = read(&mut *store, room, args)?.stored;
            let merged = update::merge_in_pieces(updates(&stored))
                .map_err(|error| format!("{room:?}: {error}"))?;
            write(args.output.as_deref(), &merged)?;
        }
        (Format::File, [room]) => {
            let examined = read(&mut *store, room, args)?;
            write(args.output.as_deref(), &file(&examined))?;
        }
        (Format::Update | Format::File, rooms) => {
            return Err(format!("this format holds one room, not {}", rooms.len()));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn read(store: &mut dyn ToolStore, room: &RoomName, args: &Args) -> Result<Examined, String> {
    let mut examined = store.examine(room).map_err(|fault| format!("{room:?}: {fault}"))?;
    let Seq(last) = examined.stored.last();
    match &examined.damage {
        Some(damage) if !args.salvage => {
            let way = format!("--salvage writes the first {last} updates");
            return Err(format!("{room:?} is damaged: {damage}; {way}"));
        }
        Some(_) | None => {}
    }
    if let Some(upto) = args.upto {
        go_back(&mut examined, Seq(upto)).map_err(|why| format!("{room:?}: {why}"))?;
    }
    Ok(examined)
}

/// Forgets everything after the place `upto`.
fn go_back(examined: &mut Examined, upto: Seq) -> Result<(), String> {
    let stored = &mut examined.stored;
    let (from, last) = (stored.snapshot_upto, stored.last());
    if upto < from || upto > last {
        let (from, last) = (from.0, last.0);
        return Err(format!("of its {last} updates the first {from} are folded into one"));
    }
    stored.log = std::mem::take(&mut stored.log)
        .into_iter()
        .filter_map(|batch| batch.split(upto).0)
        .collect();
    examined.stamps.truncate(examined.stored.log.len());
    Ok(())
}

/// The snapshot and the updates after it.
fn updates(stored: &Stored) -> Vec<&[u8]> {
    let log = stored.log.iter().flat_map(Batch::updates);
    stored.snapshot.as_deref().into_iter().chain(log).collect()
}

/// What stands beside each of the updates; the time is in seconds and strictly increasing, as
/// pycrdt-store reads in the order of times and a clock can be set back.
fn stamps(examined: &Examined) -> Vec<(&[u8], f64)> {
    let Examined { stored, stamps, snapshot_ms, .. } = examined;
    let log = stored.log.iter().zip(stamps);
    let log = log.flat_map(|(batch, stamp)| std::iter::repeat_n(stamp, batch.count() as usize));
    let log = log.map(|stamp| (&stamp.metadata[..], stamp.at_ms));
    let folded = stored.snapshot.iter().map(|_| (&[][..], snapshot_ms.unwrap_or(0)));
    let mut last = f64::NEG_INFINITY;
    folded
        .chain(log)
        .map(|(metadata, at_ms)| {
            #[expect(clippy::cast_precision_loss, reason = "exact for 285,000 years")]
            let seconds = at_ms as f64 / 1_000.0;
            last = if seconds > last { seconds } else { last + 0.000_01 };
            (metadata, last)
        })
        .collect()
}

fn file(examined: &Examined) -> Vec<u8> {
    let updates = updates(&examined.stored);
    let mut file = b"VERSION:2\n".to_vec();
    for (update, (metadata, time)) in updates.iter().zip(stamps(examined)) {
        for part in [update, metadata, &time.to_le_bytes()] {
            varint::write(&mut file, part.len() as u64);
            file.extend_from_slice(part);
        }
    }
    file
}

fn write(path: Option<&Path>, bytes: &[u8]) -> Result<(), String> {
    let Some(path) = path else {
        return io::stdout().lock().write_all(bytes).map_err(|error| error.to_string());
    };
    create(path)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .map_err(|error| format!("{}: {error}", path.display()))
}

fn create(path: &Path) -> io::Result<std::fs::File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}

fn write_database(
    path: &Path,
    rooms: &[RoomName],
    mut read: impl FnMut(&RoomName) -> Result<Examined, String>,
) -> Result<(), String> {
    create(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let told = |error: rusqlite::Error| format!("{}: {error}", path.display());
    let mut db = Connection::open(path).map_err(told)?;
    let transaction = db.transaction().map_err(told)?;
    transaction.execute_batch(SCHEMA).map_err(told)?;
    for room in rooms {
        let examined = read(room)?;
        let updates = updates(&examined.stored);
        for (update, (metadata, time)) in updates.iter().zip(stamps(&examined)) {
            transaction
                .prepare_cached("INSERT INTO yupdates VALUES (?1, ?2, ?3, ?4)")
                .and_then(|mut it| it.execute(params![room.as_str(), update, metadata, time]))
                .map_err(told)?;
        }
    }
    transaction.commit().map_err(told)
}

/// What both libraries make and look for; the table of checkpoints is pycrdt-store's alone.
const SCHEMA: &str = "
    CREATE TABLE yupdates (path TEXT NOT NULL, yupdate BLOB, metadata BLOB, timestamp REAL NOT NULL);
    CREATE INDEX idx_yupdates_path_timestamp ON yupdates (path, timestamp);
    CREATE TABLE ycheckpoints (path TEXT NOT NULL, checkpoint BLOB NOT NULL,
        timestamp REAL NOT NULL, PRIMARY KEY(path));
    PRAGMA user_version = 2;
";

#[cfg(test)]
mod tests {
    use super::*;
    use yroom_net::store::Stamp;

    /// Four updates folded into a snapshot, and then two, one and three.
    fn examined() -> Examined {
        let batches = [(5, 2), (7, 1), (8, 3)];
        let batch =
            |(first, count)| Batch::of(Seq(first), std::iter::repeat_n(update::EMPTY, count));
        let log = batches.into_iter().filter_map(batch).collect();
        let snapshot = Some(update::EMPTY.into());
        let stored = Stored { snapshot, snapshot_upto: Seq(4), log, ..Stored::default() };
        let mut stamps = [5_000, 9_000, 1_000].map(Stamp::at).to_vec();
        stamps[1].metadata = b"by me".as_slice().into();
        Examined { stored, stamps, snapshot_ms: Some(4_000), ..Examined::default() }
    }

    #[test]
    fn times_increase_though_the_clock_did_not() {
        let examined = examined();
        let stamps = stamps(&examined);
        assert_eq!(stamps.len(), 1 + 6);
        assert!(stamps.is_sorted_by(|a, b| a.1 < b.1), "{stamps:?}");
        assert!((stamps[3].1 - 9.0).abs() < 0.001, "{stamps:?}");
        let with_metadata = stamps.iter().position(|it| it.0 == b"by me");
        assert_eq!(with_metadata, Some(3));
    }

    #[test]
    fn an_earlier_state_is_what_was_there_and_one_that_is_folded_is_refused() {
        for (upto, rows) in [(4, 0), (5, 1), (6, 1), (7, 2), (9, 3), (10, 3)] {
            let mut examined = examined();
            go_back(&mut examined, Seq(upto)).expect("the log has it");
            assert_eq!(examined.stored.last(), Seq(upto));
            assert_eq!((examined.stored.log.len(), examined.stamps.len()), (rows, rows));
        }
        for upto in [0, 3, 11] {
            go_back(&mut examined(), Seq(upto)).expect_err("folded, or not there yet");
        }
    }
}
