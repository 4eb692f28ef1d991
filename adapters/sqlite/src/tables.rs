//! What is read from the tables and written into them, each row checked and perhaps compressed.

use crate::error::fault;
use crate::row::{LogRow, place, room_crc, seq, snapshot_crc};
use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, params};
use yroom::{Batch, RoomName, Seq, StoreFault, StoreFaultKind, Stored};
use yroom_net::store::{Compression, Stamp, ago, rules};

/// The tables of an open database, with what its rows are compressed by.
#[derive(Clone, Copy)]
pub(crate) struct Tables<'a> {
    pub(crate) db: &'a Connection,
    pub(crate) compression: &'a Compression,
}

/// How far a room is stored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// `None` while nothing is.
    pub(crate) id: Option<i64>,
    pub(crate) snapshot_upto: i64,
    pub(crate) last: i64,
}

impl Place {
    pub(crate) const NOTHING: Self = Self { id: None, snapshot_upto: 0, last: 0 };
}

/// What of a room can be read, from its beginning up to the first damage.
#[derive(Default)]
pub(crate) struct Sound {
    pub(crate) stored: Stored,
    /// What stands beside each batch of the log.
    pub(crate) stamps: Vec<Stamp>,
    /// When the last of what the snapshot covers was written.
    pub(crate) snapshot_ms: Option<i64>,
    /// Bytes of the rows, as they are stored.
    pub(crate) bytes: u64,
    pub(crate) damage: Option<String>,
}

impl Sound {
    fn changed_ms(&self) -> Option<i64> {
        self.stamps.last().map(|stamp| stamp.at_ms).or(self.snapshot_ms)
    }

    /// What is stored, with how long ago that was.
    pub(crate) fn aged(self, now: i64) -> Stored {
        let log_ages: Vec<_> = self.stamps.iter().map(|stamp| ago(stamp.at_ms, now)).collect();
        Stored {
            changed_ago: self.changed_ms().map(|at_ms| ago(at_ms, now)),
            log_began_ago: log_ages.first().copied(),
            log_ages,
            ..self.stored
        }
    }
}

impl Tables<'_> {
    /// Where a room stands.
    pub(crate) fn find(self, room: &RoomName) -> Result<Place, StoreFault> {
        let Some(id) = find_id(self.db, room)? else { return Ok(Place::NOTHING) };
        let snapshot_upto: i64 = self
            .db
            .prepare_cached("SELECT upto FROM snapshot WHERE room = ?1")
            .and_then(|mut it| it.query_row([id], |row| row.get(0)).optional())
            .map_err(|error| fault(&error))?
            .unwrap_or(0);
        let last = self.row_at(id, i64::MAX)?.map_or(snapshot_upto, |(row, _)| row.last());
        Ok(Place { id: Some(id), snapshot_upto, last: last.max(snapshot_upto) })
    }

    /// Stores one batch; `at` is moved on.
    pub(crate) fn put(
        self,
        name: &RoomName,
        at: &mut Place,
        batch: &Batch,
        stamp: Stamp,
    ) -> Result<(), StoreFault> {
        rules::check_append(seq(at.snapshot_upto), seq(at.last), batch)?;
        let id = match at.id {
            Some(id) => id,
            None => make_room(self.db, name, stamp.at_ms)?,
        };
        at.id = Some(id);
        let row = LogRow::of(id, batch, stamp)?;
        if row.first <= at.last {
            self.cut(id, row.first)?;
        }
        self.insert(&row, batch)?;
        at.last = row.last();
        Ok(())
    }

    /// Removes the place `from` and all after it from a room's log.
    fn cut(self, id: i64, from: i64) -> Result<(), StoreFault> {
        let across = self.row_at(id, from - 1)?;
        self.execute("DELETE FROM log WHERE room = ?1 AND first >= ?2", params![id, from])?;
        if let Some((row, batch)) = across
            && let (Some(kept), Some(_)) = batch.split(seq(from - 1))
        {
            self.execute("DELETE FROM log WHERE room = ?1 AND first = ?2", params![id, row.first])?;
            self.insert(&LogRow::of(id, &kept, row.stamp)?, &kept)?;
        }
        Ok(())
    }

    /// Puts a snapshot in the place of everything up to `upto`, if it holds all of that.
    pub(crate) fn fold(self, id: i64, upto: Seq, snapshot: &[u8]) -> Result<(), StoreFault> {
        let before = self.read(id)?;
        rules::check_snapshot(&before.stored, upto, snapshot)?;
        self.replace(id, place(upto)?, snapshot)
    }

    /// Puts a snapshot in the place of everything up to `upto`.
    pub(crate) fn replace(self, id: i64, upto: i64, snapshot: &[u8]) -> Result<(), StoreFault> {
        let across = self.row_at(id, upto)?;
        let changed: i64 = match &across {
            Some((row, _)) => row.stamp.at_ms,
            None => self
                .db
                .prepare_cached("SELECT changed_ms FROM snapshot WHERE room = ?1")
                .and_then(|mut it| it.query_row([id], |row| row.get(0)))
                .map_err(|error| fault(&error))?,
        };
        self.execute("DELETE FROM log WHERE room = ?1 AND first <= ?2", params![id, upto])?;
        if let Some((row, batch)) = across
            && let (_, Some(rest)) = batch.split(seq(upto))
        {
            self.insert(&LogRow::of(id, &rest, row.stamp)?, &rest)?;
        }
        let data = &*self.compression.pack(snapshot);
        let crc = snapshot_crc(id, upto, changed, data);
        self.execute(
            "INSERT OR REPLACE INTO snapshot (room, upto, changed_ms, crc, data)
             VALUES (?1, ?2, ?3, ?4, ?5)",
            params![id, upto, changed, crc, data],
        )
    }

    fn insert(self, row: &LogRow, batch: &Batch) -> Result<(), StoreFault> {
        let data = &*self.compression.pack(batch.framed());
        let Stamp { at_ms, metadata } = &row.stamp;
        let crc = row.crc(data);
        self.execute(
            "INSERT INTO log (room, first, count, at_ms, metadata, crc, data)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![row.room, row.first, row.count, at_ms, &metadata[..], crc, data],
        )
    }

    /// Removes all of a room.
    pub(crate) fn delete(self, id: i64) -> Result<(), StoreFault> {
        self.execute("DELETE FROM log WHERE room = ?1", [id])?;
        self.execute("DELETE FROM snapshot WHERE room = ?1", [id])?;
        self.execute("DELETE FROM room WHERE id = ?1", [id])
    }

    fn execute(self, sql: &str, params: impl rusqlite::Params) -> Result<(), StoreFault> {
        self.db
            .prepare_cached(sql)
            .and_then(|mut it| it.execute(params))
            .map_err(|error| fault(&error))?;
        Ok(())
    }

    /// The last row that begins at `place` or before.
    fn row_at(self, id: i64, place: i64) -> Result<Option<(LogRow, Batch)>, StoreFault> {
        const SQL: &str = "SELECT first, count, at_ms, metadata, crc, data FROM log
             WHERE room = ?1 AND first <= ?2 ORDER BY first DESC LIMIT 1";
        self.db
            .prepare_cached(SQL)
            .and_then(|mut it| {
                it.query_row(params![id, place], |row| LogRow::read(id, row, self.compression))
                    .optional()
            })
            .map_err(|error| fault(&error))?
            .transpose()
            .map_err(corrupt)
    }

    /// Everything that is stored of a room, each row checked.
    pub(crate) fn read(self, id: i64) -> Result<Sound, StoreFault> {
        let sound = self.read_sound(id).map_err(|error| fault(&error))?;
        match sound.damage {
            None => Ok(sound),
            Some(damage) => Err(corrupt(damage)),
        }
    }

    pub(crate) fn read_sound(self, id: i64) -> rusqlite::Result<Sound> {
        let mut sound = Sound::default();
        sound.damage = match self.read_snapshot(id, &mut sound)? {
            Some(damage) => Some(damage),
            None => self.read_log(id, &mut sound)?,
        };
        if sound.damage.is_none() && sound.stored.is_absent() {
            sound.damage = Some("the room has no rows".to_owned());
        }
        Ok(sound)
    }

    /// Reads the snapshot, if there is one; says what is wrong with it.
    fn read_snapshot(self, id: i64, into: &mut Sound) -> rusqlite::Result<Option<String>> {
        let row = self
            .db
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
        let bytes = data.len() as u64;
        match self.compression.unpack(Bytes::from(data)) {
            Ok(data) => into.stored.snapshot = Some(data),
            Err(why) => return Ok(Some(format!("the snapshot: {why}"))),
        }
        into.bytes += bytes;
        into.stored.snapshot_upto = seq(upto);
        into.snapshot_ms = Some(changed);
        Ok(None)
    }

    /// Reads the log behind the snapshot; says what is wrong with it.
    fn read_log(self, id: i64, into: &mut Sound) -> rusqlite::Result<Option<String>> {
        let mut rows = self.db.prepare_cached(
            "SELECT first, count, at_ms, metadata, crc, data FROM log
             WHERE room = ?1 ORDER BY first",
        )?;
        let mut rows = rows.query([id])?;
        while let Some(row) = rows.next()? {
            match LogRow::read(id, row, self.compression)? {
                Ok((read, batch)) if batch.first() == into.stored.last().next() => {
                    into.bytes += row.get_ref(5)?.as_bytes().map_or(0, |it| it.len() as u64);
                    into.stored.log.push(batch);
                    into.stamps.push(read.stamp);
                }
                Ok((read, _)) => {
                    let (last, first) = (into.stored.last(), read.first);
                    return Ok(Some(format!("after {last:?} the log goes on at {first}")));
                }
                Err(damage) => return Ok(Some(damage)),
            }
        }
        Ok(None)
    }
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

pub(crate) fn corrupt(what: impl Into<String>) -> StoreFault {
    StoreFault::new(StoreFaultKind::Corrupt, what)
}
