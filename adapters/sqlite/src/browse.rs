//! Going through all rooms.

use crate::error::fault;
use crate::row::room_crc;
use crate::store::{Sound, SqliteStore, corrupt, find_id, read_sound};
use rusqlite::Connection;
use yroom::{RoomName, StoreFault};
use yroom_net::store::{Browse, Examined, Survey};

impl Browse for SqliteStore {
    fn rooms(&mut self) -> Result<Vec<RoomName>, StoreFault> {
        let (names, _) = names(self.db()?).map_err(|error| fault(&error))?;
        Ok(names)
    }

    fn examine(&mut self, room: &RoomName) -> Result<Examined, StoreFault> {
        let db = self.db()?;
        let id = find_id(db, room)?.ok_or_else(|| corrupt("nothing is stored"))?;
        let Sound { stored, times, damage } = read_sound(db, id).map_err(|error| fault(&error))?;
        let batches = stored.log.iter().map(|batch| batch.framed().len());
        let snapshot = stored.snapshot.as_ref().map(bytes::Bytes::len);
        let rows = (batches.len() + usize::from(snapshot.is_some())) as u64;
        let bytes = (batches.sum::<usize>() + snapshot.unwrap_or(0)) as u64;
        let changed_ms = changed(db, id).map_err(|error| fault(&error))?;
        Ok(Examined { stored, times, changed_ms, rows, bytes, damage, remnant: None })
    }

    fn survey(&mut self) -> Result<Survey, StoreFault> {
        let problems = problems(self.db()?).map_err(|error| fault(&error))?;
        Ok(Survey { problems, remnants: Vec::new() })
    }
}

fn problems(db: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut problems = Vec::new();
    let mut check = db.prepare("PRAGMA integrity_check")?;
    let mut rows = check.query([])?;
    while let Some(row) = rows.next()? {
        match row.get::<_, String>(0)? {
            it if it == "ok" => {}
            it => problems.push(format!("SQLite: {it}")),
        }
    }
    problems.extend(names(db)?.1);
    for table in ["log", "snapshot"] {
        let sql = format!(
            "SELECT DISTINCT room FROM {table} WHERE room NOT IN (SELECT id FROM room) LIMIT 100"
        );
        let mut orphans = db.prepare(&sql)?;
        let mut rows = orphans.query([])?;
        while let Some(row) = rows.next()? {
            let room: i64 = row.get(0)?;
            problems.push(format!("the {table} has rows of room {room}, which has no name"));
        }
    }
    Ok(problems)
}

/// The rooms whose row is sound, and what is wrong with the others.
fn names(db: &Connection) -> rusqlite::Result<(Vec<RoomName>, Vec<String>)> {
    let (mut names, mut problems) = (Vec::new(), Vec::new());
    let mut all = db.prepare("SELECT id, CAST(name AS BLOB), crc FROM room ORDER BY name")?;
    let mut rows = all.query([])?;
    while let Some(row) = rows.next()? {
        let (id, bytes, crc): (i64, Vec<u8>, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let name = std::str::from_utf8(&bytes).ok().and_then(|name| RoomName::new(name).ok());
        match name {
            Some(name) if room_crc(id, &name) == crc => names.push(name),
            Some(_) | None => {
                let shown = String::from_utf8_lossy(&bytes);
                problems.push(format!("room {id} ({shown:?}) has a damaged row"));
            }
        }
    }
    Ok((names, problems))
}

/// When the newest row of a room was written.
fn changed(db: &Connection, id: i64) -> rusqlite::Result<Option<i64>> {
    db.prepare_cached(
        "SELECT coalesce(
            (SELECT at_ms FROM log WHERE room = ?1 ORDER BY first DESC LIMIT 1),
            (SELECT changed_ms FROM snapshot WHERE room = ?1))",
    )?
    .query_row([id], |row| row.get(0))
}
