//! `yroom import`.

mod database;
mod file;
mod unpack;

use crate::commands::{ToolStore, open_or_make, room_name};
use crate::options::Options;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use unpack::unpack;
use yroom::update::{self, DeleteSet, ScanLimits, StateVector};
use yroom::{Append, Batch, RoomId, RoomName, Seq, StoreFault, Stored};
use yroom_net::store::{Metadata, Stamp};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Databases (`SQLiteYStore`) and files (`FileYStore`) of ypy-websocket or pycrdt-store; they
    /// are only read.
    #[arg(required = true)]
    files: Vec<PathBuf>,

    /// The room for a `FileYStore`'s file [default: the file's name, without `.y` at its end].
    #[arg(long, value_name = "ROOM")]
    room: Option<String>,
}

/// What was found of one room in one file.
#[derive(Debug, Default)]
struct Found {
    /// The room's name there.
    path: String,
    rows: u64,
    /// Rows that were compressed.
    unpacked: u64,
    updates: Vec<Update>,
    /// One sentence for each row that cannot be used.
    failures: Vec<String>,
}

/// One update, and what stands beside it.
#[derive(Debug)]
struct Update {
    bytes: Vec<u8>,
    stamp: Stamp,
}

impl Found {
    /// Takes a row's content in, whatever it is compressed with.
    fn take(&mut self, what: &str, content: &[u8], mut stamp: Stamp) {
        self.rows += 1;
        if stamp.metadata.len() > Metadata::MAX_BYTES {
            let len = stamp.metadata.len();
            self.failures.push(format!("{what}: its metadata is left out: it has {len} bytes"));
            stamp.metadata.clear();
        }
        match unpack(content) {
            Ok((bytes, packed)) => {
                self.unpacked += u64::from(packed);
                self.updates.push(Update { bytes, stamp });
            }
            Err(why) => self.failures.push(format!("{what}: {why}")),
        }
    }
}

#[derive(Debug, Default)]
struct Totals {
    rooms: u64,
    rows: u64,
    failures: u64,
}

pub(crate) fn run(args: &Args, options: &Options) -> Result<ExitCode, String> {
    let mut importer = Importer {
        store: open_or_make(options)?,
        sources: BTreeMap::new(),
        totals: Totals::default(),
    };
    for path in &args.files {
        let result = match database::is_database(path) {
            Ok(true) => database::read(path, |found| importer.take(path, &found)),
            Ok(false) => {
                file::read(path, args.room.as_deref()).map(|found| importer.take(path, &found))
            }
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = result {
            importer.fail(&format!("{}: {error}", path.display()));
        }
    }
    let Totals { rooms, rows, failures } = importer.totals;
    println!("{rooms} rooms, {rows} rows, {failures} failures");
    Ok(if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

struct Importer {
    store: Box<dyn ToolStore>,
    /// Which room came from where: two documents must not become one.
    sources: BTreeMap<RoomName, (PathBuf, String)>,
    totals: Totals,
}

/// What became of a room.
#[derive(Debug)]
enum Outcome {
    /// So much was added.
    Stored { bytes: usize, updates: usize },
    /// Everything was there already.
    Unchanged,
    /// There is nothing in it.
    Empty,
}

impl Importer {
    fn take(&mut self, file: &Path, found: &Found) {
        self.totals.rows += found.rows;
        for failure in &found.failures {
            self.fail(&format!("{}: {:?}: {failure}", file.display(), found.path));
        }
        match self.store(file, found) {
            Ok((name, outcome, waiting)) => {
                self.totals.rooms += 1;
                if let Some(waiting) = waiting {
                    self.fail(&format!("{}: {name:?}: {waiting}", file.display()));
                }
                println!("{name:?}: {}", describe(found, &outcome));
            }
            Err(why) => self.fail(&format!("{}: {:?}: {why}", file.display(), found.path)),
        }
    }

    fn fail(&mut self, what: &str) {
        self.totals.failures += 1;
        eprintln!("yroom: {what}");
    }

    fn store(
        &mut self,
        file: &Path,
        found: &Found,
    ) -> Result<(RoomName, Outcome, Option<String>), String> {
        let name = room_name(&found.path)?;
        let source = (file.to_owned(), found.path.clone());
        let before = self.sources.entry(name.clone()).or_insert_with(|| source.clone());
        if *before != source {
            let (file, path) = before;
            return Err(format!(
                "is the room {name:?}, as is {path:?} of {}; import one of them elsewhere",
                file.display()
            ));
        }
        let result = add(&mut *self.store, &name, &found.updates);
        self.store.release(&name);
        let (outcome, waiting) = result?;
        Ok((name, outcome, waiting))
    }
}

/// Adds to a room what of `updates` it lacks, each with its stamp; also says what of them it cannot
/// take, because it stands on something that nobody has.
fn add(
    store: &mut dyn ToolStore,
    name: &RoomName,
    updates: &[Update],
) -> Result<(Outcome, Option<String>), String> {
    let stored = store.load(name).map_err(|fault: StoreFault| fault.to_string())?;
    let (known, deleted) = coverage(&stored).map_err(|error| error.to_string())?;
    let mut history = History {
        known,
        deleted,
        last: stored.last(),
        name,
        rows: Vec::new(),
        missing: Vec::new(),
    };
    let mut early: Vec<&Update> = Vec::new();
    for update in updates {
        if history.take(&update.bytes, &update.stamp)? {
            early.push(update);
        }
    }
    // What came before what it stands on may have all of that now.
    if let Some(newest) = early.iter().map(|update| update.stamp.at_ms).max() {
        let parts: Vec<&[u8]> = early.iter().map(|update| &update.bytes[..]).collect();
        let merged = update::merge(&parts).map_err(|error| error.to_string())?;
        history.missing.clear();
        history.take(&merged, &Stamp::at(newest))?;
    }
    let waiting = history.missing.first().map(|id| {
        let count = history.missing.len();
        format!("left out what stands on {id:?}, which is in no row ({count} such)")
    });
    let bytes = history.rows.iter().map(|(append, _)| append.batch.framed().len()).sum();
    let outcome = match history.rows.is_empty() {
        true if stored.is_absent() => Outcome::Empty,
        true => Outcome::Unchanged,
        false => Outcome::Stored { bytes, updates: history.rows.len() },
    };
    if !history.rows.is_empty() {
        store.restore(&history.rows).map_err(|fault| fault.to_string())?;
    }
    Ok((outcome, waiting))
}

/// What is to be stored of a room.
struct History<'a> {
    known: StateVector,
    deleted: DeleteSet,
    last: Seq,
    name: &'a RoomName,
    rows: Vec<(Append, Stamp)>,
    /// What the updates stand on and nobody has.
    missing: Vec<update::Id>,
}

impl History<'_> {
    /// Takes what can be integrated now and is new; says whether something is left out.
    fn take(&mut self, update: &[u8], stamp: &Stamp) -> Result<bool, String> {
        let told = |error: update::UpdateError| error.to_string();
        let ready = update::ready_part(update, &self.known, &unlimited()).map_err(told)?;
        let left_out = !ready.missing.is_empty();
        self.missing.extend(ready.missing);
        let Some(part) = &ready.part else { return Ok(left_out) };
        let novel = update::novel_part(part, &self.known, &self.deleted).map_err(told)?;
        let Some(novel) = novel else { return Ok(left_out) };
        cover(&mut self.known, &mut self.deleted, &novel).map_err(told)?;
        self.last = self.last.next();
        let batch = Batch::single(self.last, &novel);
        let append = Append { room: RoomId::from_raw(0), name: self.name.clone(), batch };
        self.rows.push((append, stamp.clone()));
        Ok(left_out)
    }
}

/// What a room has.
fn coverage(stored: &Stored) -> Result<(StateVector, DeleteSet), update::UpdateError> {
    let (mut known, mut deleted) = (StateVector::default(), DeleteSet::default());
    let log = stored.log.iter().flat_map(Batch::updates);
    for update in stored.snapshot.as_deref().into_iter().chain(log) {
        cover(&mut known, &mut deleted, update)?;
    }
    Ok((known, deleted))
}

fn cover(
    known: &mut StateVector,
    deleted: &mut DeleteSet,
    update: &[u8],
) -> Result<(), update::UpdateError> {
    let scan = update::scan(update, &unlimited())?;
    scan.ranges.iter().for_each(|range| known.raise(range.client, range.end));
    scan.deletes.iter().for_each(|range| deleted.insert(*range));
    Ok(())
}

/// Seconds, as the seed has them, in milliseconds; 0 for what is no time.
fn millis(seconds: f64) -> i64 {
    #[expect(clippy::cast_possible_truncation, reason = "saturates, and NaN becomes 0")]
    let ms = (seconds * 1_000.0).round() as i64;
    ms
}

/// What others let in is brought in whole; only what is malformed is refused.
fn unlimited() -> ScanLimits {
    ScanLimits::NONE
}

fn describe(found: &Found, outcome: &Outcome) -> String {
    let Found { rows, unpacked, .. } = found;
    let compressed = match unpacked {
        0 => String::new(),
        n => format!(" ({n} of them compressed)"),
    };
    match outcome {
        Outcome::Stored { bytes, updates } => {
            format!("{rows} rows{compressed}, {bytes} bytes stored as {updates} updates")
        }
        Outcome::Unchanged => format!("{rows} rows{compressed}, all of it was there"),
        Outcome::Empty => format!("{rows} rows{compressed}, an empty document"),
    }
}
