//! Going through all rooms.

use crate::error::fault;
use crate::row::room_crc;
use crate::store::SqliteStore;
use crate::tables::{Sound, corrupt, find_id};
use rusqlite::Connection;
use yroom::{Append, RoomName, StoreFault};
use yroom_net::store::{Browse, Examined, Listed, Stamp, Survey};

impl Browse for SqliteStore {
    fn rooms(&mut self) -> Result<Vec<RoomName>, StoreFault> {
        let (names, _) = names(self.db()?).map_err(|error| fault(&error))?;
        Ok(names)
    }

    fn examine(&mut self, room: &RoomName) -> Result<Examined, StoreFault> {
        let tables = self.tables()?;
        let id = find_id(tables.db, room)?.ok_or_else(|| corrupt("nothing is stored"))?;
        let sound = tables.read_sound(id).map_err(|error| fault(&error))?;
        let Sound { stored, stamps, snapshot_ms, bytes, damage } = sound;
        let rows = (stored.log.len() + usize::from(stored.snapshot.is_some())) as u64;
        Ok(Examined { stored, stamps, snapshot_ms, rows, bytes, damage, remnant: None })
    }

    fn survey(&mut self) -> Result<Survey, StoreFault> {
        let problems = problems(self.db()?).map_err(|error| fault(&error))?;
        Ok(Survey { problems, remnants: Vec::new() })
    }

    /// Reads no content: a long blob's length stands before it.
    fn list(&mut self) -> Result<Vec<Listed>, StoreFault> {
        let db = self.db()?;
        let (names, _) = names(db).map_err(|error| fault(&error))?;
        names.into_iter().map(|name| listed(db, name).map_err(|error| fault(&error))).collect()
    }

    fn restore(&mut self, rows: &[(Append, Stamp)]) -> Result<(), StoreFault> {
        self.write(rows.iter().map(|(append, stamp)| (append, stamp.clone())))
    }
}

fn listed(db: &Connection, name: RoomName) -> rusqlite::Result<Listed> {
    let mut select = db.prepare_cached(
        "SELECT coalesce(max(last), 0), count(*), coalesce(sum(bytes), 0),
            (SELECT at_ms FROM log JOIN room ON room.id = log.room WHERE name = ?1
                ORDER BY first DESC LIMIT 1),
            max(changed_ms)
         FROM (SELECT first + count - 1 AS last, length(data) AS bytes, NULL AS changed_ms
                FROM log JOIN room ON room.id = log.room WHERE name = ?1
            UNION ALL SELECT upto, length(data), changed_ms
                FROM snapshot JOIN room ON room.id = snapshot.room WHERE name = ?1)",
    )?;
    let (updates, rows, bytes, logged, folded): (i64, i64, i64, Option<i64>, Option<i64>) = select
        .query_row([name.as_str()], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
        })?;
    let [updates, rows, bytes] = [updates, rows, bytes].map(|it| it.max(0).unsigned_abs());
    Ok(Listed { name, updates, rows, bytes, changed_ms: logged.or(folded) })
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
