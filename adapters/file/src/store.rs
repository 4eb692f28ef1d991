//! The store: [`FileStore`].

use crate::error::{OpenError, corrupt, not_done, unknown};
use crate::file::{self, Content, Standing};
use crate::{format, name};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use yroom::{Append, Batch, RoomName, Seq, StoreFault, StoreFaultKind, Stored};
use yroom_net::store::{BlockingStore, Compression, DirLock, Metadata, Stamp, ago, now_ms, rules};

/// What the format file says.
const FORMAT: &str = "yroom files 1\n";
/// Files held open; a process may often have no more than 1,024.
const OPEN_FILES: usize = 256;

/// Rooms in files; to be run by [`Threaded`](yroom_net::store::Threaded).
pub struct FileStore {
    dir: PathBuf,
    rooms: BTreeMap<RoomName, Room>,
    open_files: usize,
    /// Rooms of which a sync failed: what their files seem to hold may not be on the disk.
    suspect: BTreeSet<RoomName>,
    on_repair: Box<dyn FnMut(&str) + Send>,
    metadata: Metadata,
    compression: Compression,
    _lock: DirLock,
}

/// A room that is in use.
#[derive(Debug, Default)]
struct Room {
    /// `None` while it has no file.
    standing: Option<Standing>,
    file: Option<File>,
}

/// What is about to be written to one room.
struct Pending {
    /// Consecutive batches.
    run: Vec<Batch>,
    before: Option<Standing>,
    after: Standing,
}

impl FileStore {
    /// The file that says what is in the directory.
    pub const FORMAT_FILE: &str = "yroom-files";

    /// Opens the rooms in `dir`; makes it if it is not there.
    ///
    /// Fails, and changes nothing, if another process has the directory, if it is of a newer format, or
    /// if the system does not let us.
    pub fn open(dir: &Path) -> Result<Self, OpenError> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |error| OpenError::Io { path, error }
        };
        make_dir(dir).map_err(io(dir))?;
        let lock = DirLock::take(dir).map_err(OpenError::Lock)?;
        let (format, rooms) = (dir.join(Self::FORMAT_FILE), dir.join("rooms"));
        match fs::read_to_string(&format) {
            Ok(found) if found == FORMAT => {}
            Ok(found) if !found.is_empty() || rooms.exists() => {
                return Err(OpenError::Foreign { path: dir.to_owned(), found });
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidData || rooms.exists() => {
                let found = error.to_string();
                return Err(OpenError::Foreign { path: dir.to_owned(), found });
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(io(&format)(error));
            }
            // Not there, or made and not filled by one that crashed.
            Ok(_) | Err(_) => fs::write(&format, FORMAT)
                .and_then(|()| File::open(&format)?.sync_all())
                .map_err(io(&format))?,
        }
        make_dir(&rooms).map_err(io(&rooms))?;
        file::sync_dirs(&rooms.join("x"), Some(dir)).map_err(io(dir))?;
        Ok(Self {
            dir: rooms,
            rooms: BTreeMap::new(),
            open_files: 0,
            suspect: BTreeSet::new(),
            on_repair: Box::new(|_| {}),
            metadata: Metadata::none(),
            compression: Compression::none(),
            _lock: lock,
        })
    }

    /// Opens the rooms in `dir`, which have to be there already.
    pub fn open_existing(dir: &Path) -> Result<Self, OpenError> {
        let path = dir.join(Self::FORMAT_FILE);
        match path.metadata() {
            Ok(_) => Self::open(dir),
            Err(error) => Err(OpenError::Io { path, error }),
        }
    }

    /// Has `report` called, with one sentence for the log, when a torn end is found.
    #[must_use]
    pub fn on_repair(mut self, report: impl FnMut(&str) + Send + 'static) -> Self {
        self.on_repair = Box::new(report);
        self
    }

    /// What to store beside each batch.
    #[must_use]
    pub fn metadata(mut self, metadata: Metadata) -> Self {
        self.metadata = metadata;
        self
    }

    /// How records are compressed. Those that are there already stay as they are, and readable.
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// A room's file, read.
    pub(crate) fn content(&self, room: &RoomName) -> Result<Option<Content>, StoreFault> {
        file::read(&self.path(room), room, &self.compression)
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    fn path(&self, room: &RoomName) -> PathBuf {
        self.dir.join(name::path_of(room))
    }

    /// Reads a room's file; damage is a fault, a torn end is only reported.
    fn read(&mut self, room: &RoomName) -> Result<Option<Content>, StoreFault> {
        let path = self.path(room);
        let Some(content) = self.content(room)? else { return Ok(None) };
        if let Some(damage) = &content.damage {
            return Err(corrupt(format!("{}: {damage}", path.display())));
        }
        if let Some(torn) = &content.torn {
            (self.on_repair)(&format!(
                "{}: the last {} bytes are an unfinished write; what is before them is kept, up to \
                 {:?}",
                path.display(),
                torn.len(),
                content.standing.last,
            ));
        }
        Ok(Some(content))
    }

    fn standing(&mut self, room: &RoomName) -> Result<Option<Standing>, StoreFault> {
        if let Some(room) = self.rooms.get(room) {
            return Ok(room.standing);
        }
        let standing = self.read(room)?.map(|content| content.standing);
        self.rooms.insert(room.clone(), Room { standing, file: None });
        Ok(standing)
    }

    /// Checks all of `appends` and puts those of a room together: one record, so that a crash can
    /// tear nothing but the last.
    fn plan(&mut self, appends: &[Append]) -> Result<BTreeMap<RoomName, Pending>, StoreFault> {
        let mut plan: BTreeMap<RoomName, Pending> = BTreeMap::new();
        for Append { name, batch, .. } in appends {
            if !plan.contains_key(name) {
                let before = self.standing(name)?;
                let after = before.unwrap_or(Standing {
                    salt: 0,
                    len: 0,
                    snapshot_upto: Seq::ZERO,
                    last: Seq::ZERO,
                });
                plan.insert(name.clone(), Pending { run: Vec::new(), before, after });
            }
            let room = plan.get_mut(name).expect("put there above");
            rules::check_append(room.after.snapshot_upto, room.after.last, batch)?;
            file::truncate(&mut room.run, Seq(batch.first().0 - 1));
            room.run.push(batch.clone());
            room.after.last = batch.last();
        }
        Ok(plan)
    }

    /// Writes one room's record, not synced yet.
    fn write(
        &mut self,
        name: &RoomName,
        pending: &mut Pending,
        now: i64,
    ) -> Result<(), StoreFault> {
        let path = self.path(name);
        if self.open_files >= OPEN_FILES {
            self.rooms.values_mut().for_each(|room| room.file = None);
            self.open_files = 0;
        }
        let room = self.rooms.entry(name.clone()).or_default();
        let file = match &mut room.file {
            Some(file) => file,
            closed => {
                self.open_files += 1;
                closed.insert(file::open(&path, pending.before.as_ref())?)
            }
        };
        let mut bytes = Vec::new();
        if pending.before.is_none() {
            (pending.after.salt, bytes) = format::header(name);
        }
        let batch = joined(&pending.run)?;
        let stamp = self.metadata.stamp(name, &batch, now);
        bytes.extend(file::batch_record(pending.after.salt, &batch, &stamp, &self.compression));
        let at = pending.after.len;
        pending.after.len += bytes.len() as u64;
        write_at(file, at, &bytes).map_err(|error| not_done(&error))
    }

    fn sync(&self, name: &RoomName, pending: &Pending) -> Result<(), StoreFault> {
        let file = self.rooms.get(name).and_then(|room| room.file.as_ref());
        let synced = match file {
            Some(file) => file.sync_data(),
            // Closed to make room for others: the data is still the kernel's to sync.
            None => File::open(self.path(name)).and_then(|file| file.sync_data()),
        };
        synced
            .and_then(|()| match pending.before {
                Some(_) => Ok(()),
                None => file::sync_dirs(&self.path(name), Some(&self.dir)),
            })
            .map_err(|error| unknown(&error))
    }

    /// Takes back what was written and not synced.
    fn undo(&mut self, plan: &BTreeMap<RoomName, Pending>) -> io::Result<()> {
        for (name, pending) in plan {
            let path = self.path(name);
            let room = self.rooms.remove(name).unwrap_or_default();
            match (&pending.before, room.file) {
                (Some(before), Some(file)) => file.set_len(before.len)?,
                (Some(before), None) => {
                    let file = fs::OpenOptions::new().write(true).open(&path)?;
                    if file.metadata()?.len() > before.len {
                        file.set_len(before.len)?;
                    }
                }
                (None, _) if path.exists() => fs::remove_file(&path)?,
                (None, _) => {}
            }
        }
        Ok(())
    }

    /// Writes a room's file anew, so that none of it is believed to be on the disk that is not.
    fn rewrite(&mut self, room: &RoomName) -> Result<(), StoreFault> {
        let content = match self.read(room) {
            Ok(Some(content)) => content,
            Ok(None) => return Ok(()),
            // Its loads will say so; the other rooms can go on.
            Err(fault) if fault.kind == StoreFaultKind::Corrupt => return Ok(()),
            Err(fault) => return Err(fault),
        };
        self.replace(room, &content)
    }

    /// Puts a file with this content in the place of a room's; before that, a torn end aside.
    fn replace(&mut self, room: &RoomName, content: &Content) -> Result<(), StoreFault> {
        let path = self.path(room);
        if content.standing.len > 0 {
            file::open(&path, Some(&content.standing))?;
        }
        let replaced = file::replace(&path, room, content, &self.compression);
        if let Err(fault) = &replaced
            && fault.kind == StoreFaultKind::Unknown
        {
            self.suspect.insert(room.clone());
        }
        let (file, standing) = replaced?;
        self.release(room);
        self.open_files += 1;
        self.rooms.insert(room.clone(), Room { standing: Some(standing), file: Some(file) });
        Ok(())
    }

    /// Adds rows, which are all of one room and keep their stamps.
    pub(crate) fn write_anew(&mut self, rows: &[(Append, Stamp)]) -> Result<(), StoreFault> {
        let Some((Append { name, .. }, _)) = rows.first() else { return Ok(()) };
        let mut content = self.read(name)?.unwrap_or_default();
        for (Append { batch, .. }, stamp) in rows {
            let stored = &mut content.stored;
            rules::check_append(stored.snapshot_upto, stored.last(), batch)?;
            file::truncate(&mut stored.log, Seq(batch.first().0 - 1));
            content.stamps.truncate(stored.log.len());
            stored.log.push(batch.clone());
            content.stamps.push(stamp.clone());
        }
        let path = self.path(name);
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir).map_err(|error| not_done(&error))?;
        }
        self.replace(name, &content)?;
        file::sync_dirs(&path, Some(&self.dir)).map_err(|error| unknown(&error))
    }
}

impl BlockingStore for FileStore {
    fn load(&mut self, room: &RoomName) -> Result<Stored, StoreFault> {
        self.release(room);
        let (standing, stored) = match self.read(room)? {
            Some(content) => {
                let now = now_ms();
                let ages = content.stamps.iter().map(|stamp| ago(stamp.at_ms, now));
                let log_ages: Vec<_> = ages.collect();
                let log_began_ago = log_ages.first().copied();
                let changed_ago = content.changed_ms().map(|at_ms| ago(at_ms, now));
                let stored = Stored { changed_ago, log_began_ago, log_ages, ..content.stored };
                (Some(content.standing), stored)
            }
            None => (None, Stored::default()),
        };
        self.rooms.insert(room.clone(), Room { standing, file: None });
        Ok(stored)
    }

    fn append(&mut self, appends: &[Append]) -> Result<(), StoreFault> {
        let mut plan = self.plan(appends)?;
        let now = now_ms();
        let mut written = Ok(());
        for (name, pending) in &mut plan {
            written = self.write(name, pending, now);
            if written.is_err() {
                break;
            }
        }
        if let Err(fault) = written {
            return match self.undo(&plan) {
                Ok(()) => Err(fault),
                Err(error) => Err(unknown(&error)),
            };
        }
        for (name, pending) in &plan {
            if let Err(fault) = self.sync(name, pending) {
                self.suspect.extend(plan.keys().cloned());
                return Err(fault);
            }
        }
        for (name, pending) in plan {
            self.rooms.entry(name).or_default().standing = Some(pending.after);
        }
        Ok(())
    }

    fn compact(&mut self, room: &RoomName, upto: Seq, snapshot: Bytes) -> Result<(), StoreFault> {
        let mut content = self
            .read(room)?
            .ok_or_else(|| StoreFault::new(StoreFaultKind::NotDone, "a room that is not stored"))?;
        let before = &content.stored;
        rules::check_compact(before.snapshot_upto, before.last(), upto)?;
        rules::check_snapshot(before, upto, &snapshot)?;
        let covered = before.log.iter().filter(|batch| batch.first() <= upto).count();
        let log: Vec<Batch> = before.log.iter().filter_map(|batch| batch.split(upto).1).collect();
        if let Some(last) = covered.checked_sub(1) {
            content.snapshot_ms = Some(content.stamps[last].at_ms);
        }
        content.stamps.drain(..content.stamps.len() - log.len());
        content.stored =
            Stored { snapshot: Some(snapshot), snapshot_upto: upto, log, ..Stored::default() };
        self.replace(room, &content)
    }

    fn delete(&mut self, room: &RoomName) -> Result<(), StoreFault> {
        self.release(room);
        let path = self.path(room);
        let Some(parent) = path.parent().filter(|parent| parent.exists()) else { return Ok(()) };
        // First what was put aside: while the file itself is there, the room is.
        for remnant in file::remnants(&path).map_err(|error| not_done(&error))? {
            fs::remove_file(remnant).map_err(|error| not_done(&error))?;
        }
        match fs::remove_file(&path) {
            Ok(()) => {}
            // Perhaps removed before, by an attempt whose sync failed: so it is synced again.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(not_done(&error)),
        }
        file::sync_dirs(&path, Some(parent)).map_err(|error| unknown(&error))
    }

    fn release(&mut self, room: &RoomName) {
        if let Some(Room { file: Some(_), .. }) = self.rooms.remove(room) {
            self.open_files = self.open_files.saturating_sub(1);
        }
    }

    fn reopen(&mut self) -> Result<(), StoreFault> {
        self.rooms.clear();
        self.open_files = 0;
        while let Some(room) = self.suspect.first().cloned() {
            self.rewrite(&room)?;
            self.suspect.remove(&room);
        }
        Ok(())
    }
}

impl fmt::Debug for FileStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileStore").field("dir", &self.dir).finish_non_exhaustive()
    }
}

/// One batch of consecutive ones.
fn joined(run: &[Batch]) -> Result<Batch, StoreFault> {
    let batch = match run {
        [batch] => Some(batch.clone()),
        [] => None,
        [first, ..] => {
            let framed: Vec<u8> = run.iter().flat_map(Batch::framed).copied().collect();
            Batch::from_framed(first.first(), framed.into())
        }
    };
    batch.ok_or_else(|| StoreFault::new(StoreFaultKind::NotDone, "an append of nothing"))
}

#[cfg(unix)]
fn write_at(file: &mut File, at: u64, bytes: &[u8]) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, at)
}

#[cfg(not(unix))]
fn write_at(file: &mut File, at: u64, bytes: &[u8]) -> io::Result<()> {
    use std::io::{Seek, SeekFrom, Write};
    file.seek(SeekFrom::Start(at))?;
    file.write_all(bytes)
}

fn make_dir(dir: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir)
}
