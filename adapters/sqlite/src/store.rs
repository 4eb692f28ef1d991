//! The store: [`SqliteStore`].

use crate::error::{OpenError, fault};
use crate::row::{LogRow, place, room_crc, seq, snapshot_crc};
use crate::schema;
use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use yroom::{Append, Batch, RoomName, Seq, StoreFault, StoreFaultKind, Stored};
use yroom_net::store::{BlockingStore, DirLock, Metadata, Stamp, ago, now_ms, rules};

/// Free pages worth giving back after a compaction: a MiB, if it is also a quarter of the file.
const FREE_PAGES: i64 = 64;
/// How many are given back at a time; other rooms' commits wait for it.
const VACUUM_PAGES: i64 = 8_192;

/// Rooms in a SQLite database; to be run by [`Threaded`](yroom_net::store::Threaded).
pub struct SqliteStore {
    path: PathBuf,
    /// Gone while the database could not be opened again.
    db: Option<Connection>,
    /// Where each room that is in use stands, so that an append needs no look.
    rooms: BTreeMap<RoomName, Place>,
    metadata: Metadata,
    _lock: DirLock,
}

/// How far a room is stored.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// `None` while nothing is.
    id: Option<i64>,
    snapshot_upto: i64,
    last: i64,
}

impl Place {
    const NOTHING: Self = Self { id: None, snapshot_upto: 0, last: 0 };
}

impl SqliteStore {
    /// The database's name in its directory.
    pub const FILE_NAME: &str = "yroom.db";

    /// Opens the database in `dir`; makes both if they are not there.
    ///
    /// Fails, and changes nothing, if another process has the directory, if the database is another
    /// application's, of a newer version or damaged, or if the system does not let us.
    pub fn open(dir: &Path) -> Result<Self, OpenError> {
        let path = dir.join(Self::FILE_NAME);
        schema::make_dir(dir)?;
        let lock = DirLock::take(dir).map_err(OpenError::Lock)?;
        schema::prepare(&path)?;
        let db = schema::connect(&path)?;
        let (rooms, metadata) = (BTreeMap::new(), Metadata::none());
        Ok(Self { path, db: Some(db), rooms, metadata, _lock: lock })
    }

    /// Opens the database in `dir`, which has to be there already.
    pub fn open_existing(dir: &Path) -> Result<Self, OpenError> {
        let path = dir.join(Self::FILE_NAME);
        match path.metadata() {
            Ok(_) => Self::open(dir),
            Err(error) => Err(OpenError::Io { path, error }),
        }
    }

    /// What to store beside each batch.
    #[must_use]
    pub fn metadata(mut self, metadata: Metadata) -> Self {
        self.metadata = metadata;
        self
    }

    pub(crate) fn db(&self) -> Result<&Connection, StoreFault> {
        self.db
            .as_ref()
            .ok_or_else(|| StoreFault::new(StoreFaultKind::Unknown, "the database is not open"))
    }

    /// Where `room` stands, from the cache or the database.
    fn place(&mut self, room: &RoomName) -> Result<Place, StoreFault> {
        if let Some(place) = self.rooms.get(room) {
            return Ok(*place);
        }
        let place = find(self.db()?, room)?;
        self.rooms.insert(room.clone(), place);
        Ok(place)
    }

    /// Does `work` in one transaction: all of it happens, or an error tells whether nothing did.
    fn transact<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreFault>,
    ) -> Result<T, StoreFault> {
        let db = self.db()?;
        execute(db, "BEGIN IMMEDIATE")?;
        let result = work(db).and_then(|value| {
            execute(db, "COMMIT")?;
            Ok(value)
        });
        if result.is_err() && !db.is_autocommit() {
            execute(db, "ROLLBACK")
                .map_err(|fault| StoreFault::new(StoreFaultKind::Unknown, fault.message))?;
        }
        result
    }

    /// Stores all of it in one transaction.
    pub(crate) fn write<'a>(
        &mut self,
        rows: impl Iterator<Item = (&'a Append, Stamp)> + Clone,
    ) -> Result<(), StoreFault> {
        let mut places: BTreeMap<&RoomName, Place> = BTreeMap::new();
        for (append, _) in rows.clone() {
            if !places.contains_key(&append.name) {
                places.insert(&append.name, self.place(&append.name)?);
            }
        }
        self.transact(|db| {
            for (append, stamp) in rows {
                let place = places.get_mut(&append.name).expect("looked up above");
                put(db, &append.name, place, &append.batch, stamp)?;
            }
            Ok(())
        })?;
        for (name, place) in places {
            self.rooms.insert(name.clone(), place);
        }
        Ok(())
    }

    /// Gives pages back to the file system if many are free. Failing is no harm.
    fn shrink(&self) -> rusqlite::Result<()> {
        let Some(db) = &self.db else { return Ok(()) };
        let count = |sql: &str| db.query_row(sql, [], |row| row.get::<_, i64>(0));
        let free = count("PRAGMA freelist_count")?;
        if free < FREE_PAGES || free < count("PRAGMA page_count")? / 4 {
            return Ok(());
        }
        let mut vacuum = db.prepare(&format!("PRAGMA incremental_vacuum({VACUUM_PAGES})"))?;
        let mut rows = vacuum.query([])?;
        while rows.next()?.is_some() {}
        // The pages are gone from the file, and the log is cut, when the log has been written back.
        db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
    }
}

impl BlockingStore for SqliteStore {
    fn load(&mut self, room: &RoomName) -> Result<Stored, StoreFault> {
        self.rooms.remove(room);
        let db = self.db()?;
        let Some(id) = find_id(db, room)? else {
            self.rooms.insert(room.clone(), Place::NOTHING);
            return Ok(Stored::default());
        };
        let sound = read(db, id)?;
        let stored = sound.aged(now_ms());
        let place = Place {
            id: Some(id),
            snapshot_upto: place(stored.snapshot_upto)?,
            last: place(stored.last())?,
        };
        self.rooms.insert(room.clone(), place);
        Ok(stored)
    }

    fn append(&mut self, appends: &[Append]) -> Result<(), StoreFault> {
        let now = now_ms();
        let stamps: Vec<Stamp> =
            appends.iter().map(|it| self.metadata.stamp(&it.name, &it.batch, now)).collect();
        self.write(appends.iter().zip(stamps))
    }

    fn compact(&mut self, room: &RoomName, upto: Seq, snapshot: Bytes) -> Result<(), StoreFault> {
        let mut at = self.place(room)?;
        rules::check_compact(seq(at.snapshot_upto), seq(at.last), upto)?;
        let id = at.id.expect("what has a place to compact is stored");
        let upto_place = place(upto)?;
        self.transact(|db| {
            let before = read(db, id)?;
            rules::check_snapshot(&before.stored, upto, &snapshot)?;
            replace(db, id, upto_place, &snapshot)
        })?;
        at.snapshot_upto = upto_place;
        self.rooms.insert(room.clone(), at);
        // What is free and stays free is used by the next appends.
        let _ = self.shrink();
        Ok(())
    }

    fn delete(&mut self, room: &RoomName) -> Result<(), StoreFault> {
        self.rooms.remove(room);
        let Some(id) = find_id(self.db()?, room)? else { return Ok(()) };
        self.transact(|db| {
            for sql in [
                "DELETE FROM log WHERE room = ?1",
                "DELETE FROM snapshot WHERE room = ?1",
                "DELETE FROM room WHERE id = ?1",
            ] {
                db.prepare_cached(sql)
                    .and_then(|mut it| it.execute([id]))
                    .map_err(|error| fault(&error))?;
            }
            Ok(())
        })?;
        let _ = self.shrink();
        Ok(())
    }

    fn release(&mut self, room: &RoomName) {
        self.rooms.remove(room);
    }

    fn reopen(&mut self) -> Result<(), StoreFault> {
        self.rooms.clear();
        // Closing writes the log back if it can; should it not, the new connection tries again.
        drop(self.db.take());
        let db = schema::connect(&self.path)?;
        // After a failed sync the log's pages may be clean in memory and absent on the disk. Only
        // when everything is in the database file, and that is synced, is it safe to go on.
        let busy: i64 = db
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))
            .map_err(|error| fault(&error))?;
        if busy != 0 {
            let message = "the write-ahead log cannot be written back: somebody reads the database";
            return Err(StoreFault::new(StoreFaultKind::NotDone, message));
        }
        self.db = Some(db);
        Ok(())
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Stores one batch; `place` is moved on.
fn put(
    db: &Connection,
    name: &RoomName,
    at: &mut Place,
    batch: &Batch,
    stamp: Stamp,
) -> Result<(), StoreFault> {
    rules::check_append(seq(at.snapshot_upto), seq(at.last), batch)?;
    let id = match at.id {
        Some(id) => id,
        None => make_room(db, name, stamp.at_ms)?,
    };
    at.id = Some(id);
    let row = LogRow::of(id, batch, stamp)?;
    if row.first <= at.last {
        cut(db, id, row.first)?;
    }
    insert(db, &row, batch)?;
    at.last = row.last();
    Ok(())
}

fn make_room(db: &Connection, name: &RoomName, now: i64) -> Result<i64, StoreFault> {
    let fault = |error| fault(&error);
    db.prepare_cached("INSERT INTO room (name, created_ms, crc) VALUES (?1, ?2, 0)")
        .and_then(|mut it| it.execute(params![name.as_str(), now]))
        .map_err(fault)?;
    let id = db.last_insert_rowid();
    db.prepare_cached("UPDATE room SET crc = ?2 WHERE id = ?1")
        .and_then(|mut it| it.execute(params![id, room_crc(id, name)]))
        .map_err(fault)?;
    Ok(id)
}

fn insert(db: &Connection, row: &LogRow, batch: &Batch) -> Result<(), StoreFault> {
    let data = &batch.framed()[..];
    db.prepare_cached(
        "INSERT INTO log (room, first, count, at_ms, metadata, crc, data)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )
    .and_then(|mut it| {
        let Stamp { at_ms, metadata } = &row.stamp;
        let crc = row.crc(data);
        it.execute(params![row.room, row.first, row.count, at_ms, &metadata[..], crc, data])
    })
    .map_err(|error| fault(&error))?;
    Ok(())
}

/// Removes the place `from` and all after it from a room's log.
fn cut(db: &Connection, id: i64, from: i64) -> Result<(), StoreFault> {
    let across = row_at(db, id, from - 1)?;
    db.prepare_cached("DELETE FROM log WHERE room = ?1 AND first >= ?2")
        .and_then(|mut it| it.execute(params![id, from]))
        .map_err(|error| fault(&error))?;
    if let Some((row, batch)) = across
        && let (Some(kept), Some(_)) = batch.split(seq(from - 1))
    {
        remove(db, &row)?;
        insert(db, &LogRow::of(id, &kept, row.stamp)?, &kept)?;
    }
    Ok(())
}

/// Puts the snapshot in the place of everything up to `upto`.
fn replace(db: &Connection, id: i64, upto: i64, snapshot: &[u8]) -> Result<(), StoreFault> {
    let fault = |error| fault(&error);
    let across = row_at(db, id, upto)?;
    let changed: i64 = match &across {
        Some((row, _)) => row.stamp.at_ms,
        None => db
            .prepare_cached("SELECT changed_ms FROM snapshot WHERE room = ?1")
            .and_then(|mut it| it.query_row([id], |row| row.get(0)))
            .map_err(fault)?,
    };
    db.prepare_cached("DELETE FROM log WHERE room = ?1 AND first <= ?2")
        .and_then(|mut it| it.execute(params![id, upto]))
        .map_err(fault)?;
    if let Some((row, batch)) = across
        && let (_, Some(rest)) = batch.split(seq(upto))
    {
        insert(db, &LogRow::of(id, &rest, row.stamp)?, &rest)?;
    }
    let crc = snapshot_crc(id, upto, changed, snapshot);
    db.prepare_cached(
        "INSERT OR REPLACE INTO snapshot (room, upto, changed_ms, crc, data)
         VALUES (?1, ?2, ?3, ?4, ?5)",
    )
    .and_then(|mut it| it.execute(params![id, upto, changed, crc, snapshot]))
    .map_err(fault)?;
    Ok(())
}

fn remove(db: &Connection, row: &LogRow) -> Result<(), StoreFault> {
    db.prepare_cached("DELETE FROM log WHERE room = ?1 AND first = ?2")
        .and_then(|mut it| it.execute(params![row.room, row.first]))
        .map_err(|error| fault(&error))?;
    Ok(())
}

/// The last row that begins at `place` or before.
fn row_at(db: &Connection, id: i64, place: i64) -> Result<Option<(LogRow, Batch)>, StoreFault> {
    const SQL: &str = "SELECT first, count, at_ms, metadata, crc, data FROM log
         WHERE room = ?1 AND first <= ?2 ORDER BY first DESC LIMIT 1";
    db.prepare_cached(SQL)
        .and_then(|mut it| it.query_row(params![id, place], |row| LogRow::read(id, row)).optional())
        .map_err(|error| fault(&error))?
        .transpose()
        .map_err(corrupt)
}

pub(crate) fn find_id(db: &Connection, room: &RoomName) -> Result<Option<i64>, StoreFault> {
    let found: Option<(i64, i64)> = db
        .prepare_cached("SELECT id, crc FROM room WHERE name = ?1")
        .and_then(|mut it| {
            it.query_row([room.as_str()], |row| Ok((row.get(0)?, row.get(1)?))).optional()
        })
        .map_err(|error| fault(&error))?;
    match found {
        Some((id, crc)) if room_crc(id, room) != crc => {
            Err(corrupt(format!("the room's row {id} has a wrong checksum")))
        }
        found => Ok(found.map(|(id, _)| id)),
    }
}

fn find(db: &Connection, room: &RoomName) -> Result<Place, StoreFault> {
    let Some(id) = find_id(db, room)? else { return Ok(Place::NOTHING) };
    let snapshot_upto: i64 = db
        .prepare_cached("SELECT upto FROM snapshot WHERE room = ?1")
        .and_then(|mut it| it.query_row([id], |row| row.get(0)).optional())
        .map_err(|error| fault(&error))?
        .unwrap_or(0);
    let last = row_at(db, id, i64::MAX)?.map_or(snapshot_upto, |(row, _)| row.last());
    Ok(Place { id: Some(id), snapshot_upto, last: last.max(snapshot_upto) })
}

/// Everything that is stored of a room, each row checked.
fn read(db: &Connection, id: i64) -> Result<Sound, StoreFault> {
    let sound = read_sound(db, id).map_err(|error| fault(&error))?;
    match sound.damage {
        None => Ok(sound),
        Some(damage) => Err(corrupt(damage)),
    }
}

/// What of a room can be read, from its beginning up to the first damage.
#[derive(Default)]
pub(crate) struct Sound {
    pub(crate) stored: Stored,
    /// What stands beside each batch of the log.
    pub(crate) stamps: Vec<Stamp>,
    /// When the last of what the snapshot covers was written.
    pub(crate) snapshot_ms: Option<i64>,
    pub(crate) damage: Option<String>,
}

impl Sound {
    fn changed_ms(&self) -> Option<i64> {
        self.stamps.last().map(|stamp| stamp.at_ms).or(self.snapshot_ms)
    }

    /// What is stored, with how long ago that was.
    fn aged(self, now: i64) -> Stored {
        let log_ages: Vec<_> = self.stamps.iter().map(|stamp| ago(stamp.at_ms, now)).collect();
        Stored {
            changed_ago: self.changed_ms().map(|at_ms| ago(at_ms, now)),
            log_began_ago: log_ages.first().copied(),
            log_ages,
            ..self.stored
        }
    }
}

pub(crate) fn read_sound(db: &Connection, id: i64) -> rusqlite::Result<Sound> {
    let mut sound = Sound::default();
    sound.damage = match read_snapshot(db, id, &mut sound)? {
        Some(damage) => Some(damage),
        None => read_log(db, id, &mut sound)?,
    };
    if sound.damage.is_none() && sound.stored.is_absent() {
        sound.damage = Some("the room has no rows".to_owned());
    }
    Ok(sound)
}

/// Reads the snapshot, if there is one; says what is wrong with it.
fn read_snapshot(db: &Connection, id: i64, into: &mut Sound) -> rusqlite::Result<Option<String>> {
    let row = db
        .prepare_cached("SELECT upto, changed_ms, crc, data FROM snapshot WHERE room = ?1")?
        .query_row([id], |row| {
            let place: (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            Ok((place, row.get::<_, Vec<u8>>(3)?))
        })
        .optional()?;
    let Some(((upto, changed, crc), data)) = row else { return Ok(None) };
    if upto < 1 || snapshot_crc(id, upto, changed, &data) != crc {
        return Ok(Some("the snapshot has a wrong checksum".to_owned()));
    }
    into.stored.snapshot_upto = seq(upto);
    into.stored.snapshot = Some(data.into());
    into.snapshot_ms = Some(changed);
    Ok(None)
}

/// Reads the log behind the snapshot; says what is wrong with it.
fn read_log(db: &Connection, id: i64, into: &mut Sound) -> rusqlite::Result<Option<String>> {
    let mut rows = db.prepare_cached(
        "SELECT first, count, at_ms, metadata, crc, data FROM log
         WHERE room = ?1 ORDER BY first",
    )?;
    let mut rows = rows.query([id])?;
    while let Some(row) = rows.next()? {
        match LogRow::read(id, row)? {
            Ok((row, batch)) if batch.first() == into.stored.last().next() => {
                into.stored.log.push(batch);
                into.stamps.push(row.stamp);
            }
            Ok((row, _)) => {
                let (last, first) = (into.stored.last(), row.first);
                return Ok(Some(format!("after {last:?} the log goes on at {first}")));
            }
            Err(damage) => return Ok(Some(damage)),
        }
    }
    Ok(None)
}

fn execute(db: &Connection, sql: &str) -> Result<(), StoreFault> {
    db.prepare_cached(sql).and_then(|mut it| it.execute([])).map_err(|error| fault(&error))?;
    Ok(())
}

pub(crate) fn corrupt(what: impl Into<String>) -> StoreFault {
    StoreFault::new(StoreFaultKind::Corrupt, what)
}
