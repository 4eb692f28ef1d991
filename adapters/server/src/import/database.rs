//! Reads a `SQLiteYStore`: the table `yupdates`, and `ycheckpoints` where there is one.

use super::{Found, Update, millis};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use yroom_net::store::Stamp;

pub(super) fn is_database(path: &Path) -> io::Result<bool> {
    let mut magic = [0; 16];
    let mut read = 0;
    let mut file = File::open(path)?;
    while read < magic.len() {
        match file.read(&mut magic[read..])? {
            0 => break,
            n => read += n,
        }
    }
    Ok(&magic == b"SQLite format 3\0")
}

/// Gives each room to `take`, as it is read.
///
/// The rows come by rowid and with the checkpoint, not by time: pycrdt-store itself reads those after
/// the checkpoint's time only, and so misses what was written when the clock had been set back.
pub(super) fn read(path: &Path, mut take: impl FnMut(Found)) -> Result<(), String> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags).map_err(|error| error.to_string())?;
    if !has_table(&db, "yupdates").map_err(|error| error.to_string())? {
        return Err("a SQLite database without a table yupdates: not one of SQLiteYStore's".into());
    }
    let version: i64 = db
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .map_err(|error| error.to_string())?;
    if version != 2 {
        eprintln!("yroom: {}: of version {version}, read as if it were 2", path.display());
    }
    let checkpoints = has_table(&db, "ycheckpoints").map_err(|error| error.to_string())?;
    for room in rooms(&db, checkpoints).map_err(|error| error.to_string())? {
        let mut found = Found { path: room, ..Found::default() };
        // What was read until then is worth having.
        if let Err(error) = read_room(&db, checkpoints, &mut found) {
            found.failures.push(format!("the database is damaged: {error}"));
        }
        take(found);
    }
    Ok(())
}

/// The checkpoint holds what was written before its time, so it comes after that: what is in both is
/// then remembered as it was written.
fn read_room(db: &Connection, checkpoints: bool, found: &mut Found) -> rusqlite::Result<()> {
    let rows = read_rows(db, found);
    if checkpoints {
        let before = found.updates.len();
        let mut select =
            db.prepare_cached("SELECT checkpoint, timestamp FROM ycheckpoints WHERE path = ?1")?;
        let mut checkpoint = select.query([found.path.clone()])?;
        while let Some(row) = checkpoint.next()? {
            let at_ms = millis(number(row.get_ref(1)?));
            take(found, "the checkpoint", row.get_ref(0)?, Stamp::at(at_ms));
            let later = |update: &Update| update.stamp.at_ms > at_ms;
            if found.updates.len() > before
                && let Some(at) = found.updates[..before].iter().position(later)
            {
                found.updates[at..].rotate_right(1);
            }
        }
    }
    rows
}

fn read_rows(db: &Connection, found: &mut Found) -> rusqlite::Result<()> {
    let mut select = db.prepare_cached(
        "SELECT yupdate, rowid, timestamp, metadata FROM yupdates WHERE path = ?1 ORDER BY rowid",
    )?;
    let mut rows = select.query([found.path.clone()])?;
    while let Some(row) = rows.next()? {
        let rowid: i64 = row.get(1)?;
        let metadata = match row.get_ref(3)? {
            ValueRef::Blob(bytes) | ValueRef::Text(bytes) => bytes.to_vec(),
            ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) => Vec::new(),
        };
        let at_ms = millis(number(row.get_ref(2)?));
        let stamp = Stamp { at_ms, metadata: metadata.into() };
        take(found, &format!("row {rowid}"), row.get_ref(0)?, stamp);
    }
    Ok(())
}

/// A time, whatever somebody has written there.
fn number(value: ValueRef<'_>) -> f64 {
    match value {
        ValueRef::Real(number) => number,
        #[expect(clippy::cast_precision_loss, reason = "seconds are far smaller")]
        ValueRef::Integer(number) => number as f64,
        ValueRef::Null | ValueRef::Text(_) | ValueRef::Blob(_) => 0.0,
    }
}

fn take(found: &mut Found, what: &str, value: ValueRef<'_>, stamp: Stamp) {
    match value {
        ValueRef::Blob(bytes) | ValueRef::Text(bytes) => found.take(what, bytes, stamp),
        ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) => {
            found.rows += 1;
            found.failures.push(format!("{what}: holds no bytes"));
        }
    }
}

fn rooms(db: &Connection, checkpoints: bool) -> rusqlite::Result<Vec<String>> {
    let sql = if checkpoints {
        "SELECT path FROM yupdates UNION SELECT path FROM ycheckpoints ORDER BY path"
    } else {
        "SELECT DISTINCT path FROM yupdates ORDER BY path"
    };
    db.prepare(sql)?.query_map([], |row| row.get(0))?.collect()
}

fn has_table(db: &Connection, name: &str) -> rusqlite::Result<bool> {
    db.query_row(
        "SELECT count(*) > 0 FROM sqlite_schema WHERE type = 'table' AND name = ?1",
        [name],
        |row| row.get(0),
    )
}
