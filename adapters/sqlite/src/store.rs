//! The store: [`SqliteStore`].

use crate::bound::{self, Bound};
use crate::error::{OpenError, fault};
use crate::row::{place, seq};
use crate::schema;
use crate::tables::{Place, Tables, find_id};
use bytes::Bytes;
use rusqlite::Connection;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use yroom::{Append, RoomName, Seq, StoreFault, StoreFaultKind, Stored};
use yroom_net::store::{
    BlockingStore, Compression, DirLock, Metadata, Stamp, Tidied, now_ms, rules,
};

/// Free pages worth giving back after a compaction: a MiB, if it is also a quarter of the file.
const FREE_PAGES: i64 = 64;
/// How many are given back at a time; other rooms' commits wait for it.
const VACUUM_PAGES: i64 = 8_192;

/// Rooms in a SQLite database; to be run by [`Threaded`](yroom_net::store::Threaded).
pub struct SqliteStore {
    path: PathBuf,
    /// Gone while the database could not be opened again.
    pub(crate) db: Option<Connection>,
    /// The rooms that are in use, and where each stands, so that an append needs no look: `None` if
    /// that has to be looked up.
    pub(crate) rooms: BTreeMap<RoomName, Option<Place>>,
    metadata: Metadata,
    compression: Compression,
    pub(crate) bound: Option<Bound>,
    pub(crate) on_notice: Box<dyn FnMut(&str) + Send>,
    _lock: DirLock,
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
        Ok(Self {
            path,
            db: Some(db),
            rooms: BTreeMap::new(),
            metadata: Metadata::none(),
            compression: Compression::none(),
            bound: None,
            on_notice: Box::new(|_| {}),
            _lock: lock,
        })
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

    /// How rows are compressed. Those that are there already stay as they are, and readable.
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// What the database is to grow to, without its write-ahead log of 64 MiB at most. Default: as the
    /// documents need.
    ///
    /// Above it the logs of rooms that nobody has open are folded into their snapshots, whatever the
    /// engine's [`History`](yroom::History) says, first those that did not change for longest (of a
    /// thousand rooms at a time), until it is a sixteenth below; then pages that are free are given
    /// back. That is done between commits, a room at a time, each in one transaction. If it is not
    /// enough, [`on_notice`](Self::on_notice) is told: no document is ever deleted for it, nor an
    /// append refused.
    #[must_use]
    pub fn at_most(mut self, bytes: u64) -> Self {
        self.bound = Some(Bound::new(bytes));
        self
    }

    /// Has `report` called, with one sentence for the log, when the database was above its bound.
    #[must_use]
    pub fn on_notice(mut self, report: impl FnMut(&str) + Send + 'static) -> Self {
        self.on_notice = Box::new(report);
        self
    }

    pub(crate) fn tables(&self) -> Result<Tables<'_>, StoreFault> {
        Ok(Tables { db: self.db()?, compression: &self.compression })
    }

    pub(crate) fn db(&self) -> Result<&Connection, StoreFault> {
        self.db
            .as_ref()
            .ok_or_else(|| StoreFault::new(StoreFaultKind::Unknown, "the database is not open"))
    }

    /// Where `room` stands, from the cache or the database.
    fn place(&mut self, room: &RoomName) -> Result<Place, StoreFault> {
        if let Some(Some(place)) = self.rooms.get(room) {
            return Ok(*place);
        }
        let place = self.tables()?.find(room)?;
        self.rooms.insert(room.clone(), Some(place));
        Ok(place)
    }

    /// Does `work` in one transaction: all of it happens, or an error tells whether nothing did.
    pub(crate) fn transact<T>(
        &self,
        work: impl FnOnce(Tables<'_>) -> Result<T, StoreFault>,
    ) -> Result<T, StoreFault> {
        let tables = self.tables()?;
        let db = tables.db;
        execute(db, "BEGIN IMMEDIATE")?;
        let result = work(tables).and_then(|value| {
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
        self.transact(|tables| {
            for (append, stamp) in rows {
                let place = places.get_mut(&append.name).expect("looked up above");
                tables.put(&append.name, place, &append.batch, stamp)?;
            }
            Ok(())
        })?;
        for (name, place) in places {
            self.rooms.insert(name.clone(), Some(place));
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
        bound::vacuum(db, VACUUM_PAGES)?;
        // The pages are gone from the file, and the log is cut, when the log has been written back.
        bound::checkpoint(db)
    }
}

impl BlockingStore for SqliteStore {
    fn load(&mut self, room: &RoomName) -> Result<Stored, StoreFault> {
        self.rooms.insert(room.clone(), None);
        let tables = self.tables()?;
        let Some(id) = find_id(tables.db, room)? else {
            self.rooms.insert(room.clone(), Some(Place::NOTHING));
            return Ok(Stored::default());
        };
        let stored = tables.read(id)?.aged(now_ms());
        let place = Place {
            id: Some(id),
            snapshot_upto: place(stored.snapshot_upto)?,
            last: place(stored.last())?,
        };
        self.rooms.insert(room.clone(), Some(place));
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
        self.transact(|tables| tables.fold(id, upto, &snapshot))?;
        at.snapshot_upto = place(upto)?;
        self.rooms.insert(room.clone(), Some(at));
        // What is free and stays free is used by the next appends.
        let _ = self.shrink();
        Ok(())
    }

    fn delete(&mut self, room: &RoomName) -> Result<(), StoreFault> {
        self.rooms.remove(room);
        let Some(id) = find_id(self.db()?, room)? else { return Ok(()) };
        self.transact(|tables| tables.delete(id))?;
        let _ = self.shrink();
        Ok(())
    }

    fn release(&mut self, room: &RoomName) {
        self.rooms.remove(room);
        if self.rooms.is_empty()
            && let Some(db) = &self.db
        {
            // Nobody is here: what was read for those who were need not be kept. It is no harm if it is.
            let _ = db.execute_batch("PRAGMA shrink_memory");
        }
    }

    fn tidy(&mut self) -> Result<Tidied, StoreFault> {
        self.keep_bound()
    }

    fn reopen(&mut self) -> Result<(), StoreFault> {
        // They are in use still.
        self.rooms.values_mut().for_each(|place| *place = None);
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

fn execute(db: &Connection, sql: &str) -> Result<(), StoreFault> {
    db.prepare_cached(sql).and_then(|mut it| it.execute([])).map_err(|error| fault(&error))?;
    Ok(())
}
