//! Opening a database: what it has to be, how it is set, and what is in it.

use crate::error::OpenError;
use rusqlite::{Connection, OpenFlags};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::path::Path;

/// "yroo", in the file's header.
const APPLICATION_ID: i64 = 0x7972_6f6f;
const SCHEMA_VERSION: i64 = 1;

/// Before it, a database in write-ahead mode could be damaged when the log was reset.
const OLDEST_SQLITE: i32 = 3_051_003;
pub(crate) const OLDEST_SQLITE_NAME: &str = "3.51.3";

/// `auto_vacuum` can only be set before the first table. A room's `crc` covers its id and name; the
/// other checksums are in `row`. Places are the engine's; times are for people, nothing depends on
/// them.
const SCHEMA: &str = "
    CREATE TABLE room (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        created_ms INTEGER NOT NULL,
        crc INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE log (
        room INTEGER NOT NULL,
        first INTEGER NOT NULL,
        count INTEGER NOT NULL,
        at_ms INTEGER NOT NULL,
        metadata BLOB NOT NULL,
        crc INTEGER NOT NULL,
        data BLOB NOT NULL,
        PRIMARY KEY (room, first)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE snapshot (
        room INTEGER PRIMARY KEY,
        upto INTEGER NOT NULL,
        changed_ms INTEGER NOT NULL,
        crc INTEGER NOT NULL,
        data BLOB NOT NULL
    ) STRICT;
";

/// How every connection is set.
///
/// The checkpoint comes after 4,000 pages instead of 1,000 because it happens within somebody's
/// commit. `cell_size_check` finds damage before it spreads.
///
/// Pages stay at 4 KiB. With 1 KiB a lone update's commit took about a tenth less processor time, but an
/// update of 2,000 busy rooms half as much again (`examples/price`). What a commit costs is its sync, and
/// `fdatasync` (`-DHAVE_FDATASYNC`) was not measurably cheaper than `fsync` on ext4.
const SETTINGS: &str = "
    PRAGMA synchronous = FULL;
    PRAGMA wal_autocheckpoint = 4000;
    PRAGMA journal_size_limit = 67108864;
    PRAGMA cell_size_check = ON;
    PRAGMA trusted_schema = OFF;
    PRAGMA cache_size = -16384;
    PRAGMA temp_store = MEMORY;
";

/// Makes the directory, for its owner only, unless it is there.
pub(crate) fn make_dir(dir: &Path) -> Result<(), OpenError> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir).map_err(io_error(dir))
}

/// Makes an empty file at `path`, for its owner only, unless it is there.
pub(crate) fn prepare(path: &Path) -> Result<(), OpenError> {
    if path.try_exists().map_err(io_error(path))? {
        return Ok(());
    }
    let mut wal = path.as_os_str().to_owned();
    wal.push("-wal");
    if Path::new(&wal).exists() {
        return Err(OpenError::Lost { path: path.to_owned() });
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).and_then(|file| file.sync_all()).map_err(io_error(path))?;
    #[cfg(unix)]
    if let Some(dir) = path.parent() {
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(io_error(dir))?;
    }
    Ok(())
}

fn io_error(path: &Path) -> impl Fn(io::Error) -> OpenError {
    let path = path.to_owned();
    move |error| OpenError::Io { path: path.clone(), error }
}

/// Opens the database at `path`, which [`prepare`] has been called for; makes the tables if it is
/// empty.
pub(crate) fn connect(path: &Path) -> Result<Connection, OpenError> {
    if rusqlite::version_number() < OLDEST_SQLITE {
        return Err(OpenError::OldSqlite { found: rusqlite::version() });
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let error = |error: rusqlite::Error| match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::NotADatabase) => {
            OpenError::Foreign { path: path.to_owned(), found: "some other file".to_owned() }
        }
        _ => OpenError::Sqlite { path: path.to_owned(), error },
    };
    let db = Connection::open_with_flags(path, flags).map_err(error)?;
    db.busy_timeout(std::time::Duration::from_secs(5)).map_err(error)?;
    db.set_prepared_statement_cache_capacity(32);
    let fresh = identify(&db, path, &error)?;
    if fresh {
        db.execute_batch("PRAGMA auto_vacuum = INCREMENTAL").map_err(error)?;
    }
    // It answers with the mode that it reached.
    let mode: String =
        db.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).map_err(error)?;
    if mode != "wal" {
        return Err(OpenError::Io {
            path: path.to_owned(),
            error: io::Error::other(format!("no write-ahead log here, only {mode:?}")),
        });
    }
    db.execute_batch(SETTINGS).map_err(error)?;
    if fresh {
        let create = format!(
            "BEGIN IMMEDIATE; {SCHEMA} PRAGMA application_id = {APPLICATION_ID};
             PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
        );
        db.execute_batch(&create).map_err(error)?;
    }
    Ok(db)
}

/// Whether the database is still empty; an error if it is not one of ours.
fn identify(
    db: &Connection,
    path: &Path,
    error: &dyn Fn(rusqlite::Error) -> OpenError,
) -> Result<bool, OpenError> {
    let read = |sql: &str| db.query_row(sql, [], |row| row.get::<_, i64>(0)).map_err(error);
    let application = read("PRAGMA application_id")?;
    let version = read("PRAGMA user_version")?;
    let tables = read("SELECT count(*) FROM sqlite_schema")?;
    let path = path.to_owned();
    match (application, version) {
        (0, 0) if tables == 0 => Ok(true),
        (APPLICATION_ID, SCHEMA_VERSION) => Ok(false),
        (APPLICATION_ID, found) if found > SCHEMA_VERSION => {
            Err(OpenError::Newer { path, found, known: SCHEMA_VERSION })
        }
        (id, version) => {
            let found = format!(
                "another application's (application id {id:#x}, version {version}, {tables} tables \
                 and indexes)"
            );
            Err(OpenError::Foreign { path, found })
        }
    }
}
