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
use yroom::{Append, Batch, RoomId, RoomName, StoreFault, Stored};

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
    updates: Vec<Vec<u8>>,
    /// One sentence for each row that cannot be used.
    failures: Vec<String>,
}

impl Found {
    /// Takes a row's content in, whatever it is compressed with.
    fn take(&mut self, what: &str, content: &[u8]) {
        self.rows += 1;
        match unpack(content) {
            Ok((update, packed)) => {
                self.unpacked += u64::from(packed);
                self.updates.push(update);
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
    /// So many bytes were added.
    Stored(usize),
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

/// Adds to a room what of `updates` it lacks; also says what of them it cannot take, because it
/// stands on something that nobody has.
fn add(
    store: &mut dyn ToolStore,
    name: &RoomName,
    updates: &[Vec<u8>],
) -> Result<(Outcome, Option<String>), String> {
    let stored = store.load(name).map_err(|fault: StoreFault| fault.to_string())?;
    let (known, deleted) = coverage(&stored).map_err(|error| error.to_string())?;
    let updates: Vec<&[u8]> = updates.iter().map(|update| &update[..]).collect();
    let merged = update::merge(&updates).map_err(|error| error.to_string())?;
    let ready = update::ready_part(&merged, &known, &unlimited()).map_err(|e| e.to_string())?;
    let waiting = ready.missing.first().map(|id| {
        format!("left out what stands on {id:?}, which is in no row ({} such)", ready.missing.len())
    });
    let Some(part) = &ready.part else {
        let outcome = if stored.is_absent() { Outcome::Empty } else { Outcome::Unchanged };
        return Ok((outcome, waiting));
    };
    let novel = update::novel_part(part, &known, &deleted).map_err(|error| error.to_string())?;
    let Some(novel) = novel else { return Ok((Outcome::Unchanged, waiting)) };
    let batch = Batch::single(stored.last().next(), &novel);
    let append = Append { room: RoomId::from_raw(0), name: name.clone(), batch };
    store.append(&[append]).map_err(|fault| fault.to_string())?;
    Ok((Outcome::Stored(novel.len()), waiting))
}

/// What a room has.
fn coverage(stored: &Stored) -> Result<(StateVector, DeleteSet), update::UpdateError> {
    let (mut known, mut deleted) = (StateVector::default(), DeleteSet::default());
    let log = stored.log.iter().flat_map(Batch::updates);
    for update in stored.snapshot.as_deref().into_iter().chain(log) {
        let scan = update::scan(update, &unlimited())?;
        for range in &scan.ranges {
            known.raise(range.client, range.end);
        }
        for range in &scan.deletes {
            deleted.insert(*range);
        }
    }
    Ok((known, deleted))
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
        Outcome::Stored(bytes) => format!("{rows} rows{compressed}, {bytes} bytes stored"),
        Outcome::Unchanged => format!("{rows} rows{compressed}, all of it was there"),
        Outcome::Empty => format!("{rows} rows{compressed}, an empty document"),
    }
}
