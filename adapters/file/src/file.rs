//! One room's file: read, appended to, and written anew.

use crate::error::{corrupt, not_done, unknown};
use crate::format::{self, Header, Kind, Next, RECORD_HEADER, Record};
use bytes::Bytes;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use yroom::{Batch, RoomName, Seq, StoreFault, Stored};
use yroom_net::store::{Compression, Stamp, rules};

/// Where a room's file stands.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Standing {
    pub(crate) salt: u32,
    /// Bytes of the file that are sound; it may be longer while a torn end is still there.
    pub(crate) len: u64,
    pub(crate) snapshot_upto: Seq,
    pub(crate) last: Seq,
}

/// What a room's file holds.
#[derive(Debug, Default)]
pub(crate) struct Content {
    pub(crate) stored: Stored,
    pub(crate) standing: Standing,
    /// What stands beside each batch of the log.
    pub(crate) stamps: Vec<Stamp>,
    /// When the last of what the snapshot covers was written.
    pub(crate) snapshot_ms: Option<i64>,
    pub(crate) records: u64,
    /// The bytes behind the sound ones, which a crash left.
    pub(crate) torn: Option<Bytes>,
    /// Why nothing behind the sound bytes is to be trusted, though something is there.
    pub(crate) damage: Option<String>,
}

/// Reads the file at `path`; `None` if it holds nothing, not even damage.
pub(crate) fn read(
    path: &Path,
    room: &RoomName,
    compression: &Compression,
) -> Result<Option<Content>, StoreFault> {
    let bytes: Bytes = match fs::read(path) {
        Ok(bytes) => bytes.into(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(not_done(&error)),
    };
    match format::read_header(&bytes, room) {
        Header::Torn => Ok(None),
        Header::Damaged(what) => Err(corrupt(what)),
        Header::Sound(salt, start) => Ok(Some(replay(&bytes, salt, start, compression))),
    }
}

fn replay(bytes: &Bytes, salt: u32, start: usize, compression: &Compression) -> Content {
    let standing = Standing { salt, len: start as u64, snapshot_upto: Seq::ZERO, last: Seq::ZERO };
    let mut content = Content {
        stored: Stored::default(),
        standing,
        stamps: Vec::new(),
        snapshot_ms: None,
        records: 0,
        torn: None,
        damage: None,
    };
    let mut at = start;
    loop {
        match format::next(bytes, salt, at) {
            Next::Record(record, end) => {
                if let Err(damage) = content.apply(bytes, record, compression) {
                    content.damage = Some(damage);
                    break;
                }
                at = end;
            }
            Next::End => break,
            Next::Torn => {
                content.torn = Some(bytes.slice(at..));
                break;
            }
            Next::Damaged => {
                content.damage = Some(format!("the record at byte {at} is damaged"));
                break;
            }
        }
    }
    content.standing.len = at as u64;
    content.standing.snapshot_upto = content.stored.snapshot_upto;
    content.standing.last = content.stored.last();
    content
}

impl Content {
    /// When the last of it was written.
    pub(crate) fn changed_ms(&self) -> Option<i64> {
        self.stamps.last().map(|stamp| stamp.at_ms).or(self.snapshot_ms)
    }

    fn apply(
        &mut self,
        bytes: &Bytes,
        record: Record<'_>,
        compression: &Compression,
    ) -> Result<(), String> {
        let Record { kind, place, at_ms, metadata, data } = record;
        let data = compression
            .unpack(bytes.slice_ref(data))
            .map_err(|why| format!("the record at {place}: {why}"))?;
        let stored = &mut self.stored;
        match kind {
            Kind::Snapshot if self.records > 0 => {
                return Err("a snapshot behind records".to_owned());
            }
            Kind::Snapshot => {
                stored.snapshot = Some(data);
                stored.snapshot_upto = Seq(place);
                self.snapshot_ms = Some(at_ms);
            }
            Kind::Batch => {
                let batch = Batch::from_framed(Seq(place), data)
                    .ok_or_else(|| format!("the record at {place} holds no updates"))?;
                rules::check_append(stored.snapshot_upto, stored.last(), &batch)
                    .map_err(|fault| fault.message)?;
                truncate(&mut stored.log, Seq(place - 1));
                self.stamps.truncate(stored.log.len());
                stored.log.push(batch);
                self.stamps.push(Stamp { at_ms, metadata: Bytes::copy_from_slice(metadata) });
            }
        }
        self.records += 1;
        Ok(())
    }
}

/// Takes away all places after `end`.
pub(crate) fn truncate(log: &mut Vec<Batch>, end: Seq) {
    while let Some(last) = log.pop_if(|last| last.last() > end) {
        log.extend(last.split(end).0);
    }
}

/// Opens a file for writing, made if `standing` is not given; anything behind its sound bytes is
/// put aside and cut off.
pub(crate) fn open(path: &Path, standing: Option<&Standing>) -> Result<File, StoreFault> {
    let done = |result: io::Result<File>| result.map_err(|error| not_done(&error));
    let Some(standing) = standing else {
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir).map_err(|error| not_done(&error))?;
        }
        return done(create(path));
    };
    let file = done(OpenOptions::new().read(true).write(true).open(path))?;
    let len = file.metadata().map_err(|error| not_done(&error))?.len();
    if len > standing.len {
        put_aside(path, standing.len).map_err(|error| not_done(&error))?;
        file.set_len(standing.len).map_err(|error| unknown(&error))?;
    }
    Ok(file)
}

/// Keeps the bytes from `from` on beside the file.
fn put_aside(path: &Path, from: u64) -> io::Result<()> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(format!(".torn-{from}"));
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(from))?;
    let mut copy = create(Path::new(&aside))?;
    io::copy(&mut file, &mut copy)?;
    copy.sync_all()
}

fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// A batch record's bytes.
pub(crate) fn batch_record(
    salt: u32,
    batch: &Batch,
    stamp: &Stamp,
    compression: &Compression,
) -> Vec<u8> {
    let Stamp { at_ms, metadata } = stamp;
    let (place, data) = (batch.first().0, &*compression.pack(batch.framed()));
    let record = Record { kind: Kind::Batch, place, at_ms: *at_ms, metadata, data };
    let mut bytes = Vec::with_capacity(RECORD_HEADER + metadata.len() + data.len());
    bytes.extend(format::record_header(salt, &record));
    bytes.extend_from_slice(metadata);
    bytes.extend_from_slice(data);
    bytes
}

/// Writes a file with this content beside the one at `path` and puts it in its place.
///
/// Until the last step the old file is untouched, and a failure leaves it so.
pub(crate) fn replace(
    path: &Path,
    room: &RoomName,
    content: &Content,
    compression: &Compression,
) -> Result<(File, Standing), StoreFault> {
    let temporary = path.with_extension("new");
    let written = write_whole(&temporary, room, content, compression);
    let (file, standing) = written.map_err(|error| {
        let _ = fs::remove_file(&temporary);
        not_done(&error)
    })?;
    fs::rename(&temporary, path)
        .and_then(|()| sync_dirs(path, path.parent()))
        .map_err(|e| unknown(&e))?;
    Ok((file, standing))
}

fn write_whole(
    path: &Path,
    room: &RoomName,
    content: &Content,
    compression: &Compression,
) -> io::Result<(File, Standing)> {
    let Content { stored, stamps, snapshot_ms, .. } = content;
    let (salt, header) = format::header(room);
    let mut out = BufWriter::new(create(path)?);
    out.write_all(&header)?;
    let mut len = header.len() as u64;
    if let Some(snapshot) = &stored.snapshot {
        let data = &*compression.pack(snapshot);
        let (place, at_ms) = (stored.snapshot_upto.0, snapshot_ms.unwrap_or(0));
        let record = Record { kind: Kind::Snapshot, place, at_ms, metadata: &[], data };
        out.write_all(&format::record_header(salt, &record))?;
        out.write_all(data)?;
        len += (RECORD_HEADER + data.len()) as u64;
    }
    for (batch, stamp) in stored.log.iter().zip(stamps) {
        let record = batch_record(salt, batch, stamp, compression);
        out.write_all(&record)?;
        len += record.len() as u64;
    }
    let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all()?;
    let (snapshot_upto, last) = (stored.snapshot_upto, stored.last());
    Ok((file, Standing { salt, len, snapshot_upto, last }))
}

/// Syncs the directories above `path`, up to and including `top`, so that its name is durable.
pub(crate) fn sync_dirs(path: &Path, top: Option<&Path>) -> io::Result<()> {
    #[cfg(unix)]
    for dir in path.ancestors().skip(1) {
        File::open(dir)?.sync_all()?;
        if Some(dir) == top {
            break;
        }
    }
    #[cfg(not(unix))]
    let _ = (path, top);
    Ok(())
}

/// What crashes have left beside the file at `path`.
pub(crate) fn remnants(path: &Path) -> io::Result<Vec<PathBuf>> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else { return Ok(Vec::new()) };
    let torn = format!("{}.torn-", name.to_string_lossy());
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(&torn) {
            found.push(entry.path());
        }
    }
    let unfinished = path.with_extension("new");
    if unfinished.exists() {
        found.push(unfinished);
    }
    Ok(found)
}

/// All files of rooms below `dir`.
pub(crate) fn list(dir: &Path, ending: &str) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.as_os_str().to_string_lossy().ends_with(ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}
