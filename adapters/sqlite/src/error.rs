//! Why a database cannot be opened, and what SQLite's failures mean for the engine.

use rusqlite::ErrorCode;
use std::fmt;
use std::io;
use std::path::PathBuf;
use yroom::{StoreFault, StoreFaultKind};
use yroom_net::store::LockError;

/// Why a directory's database is not opened. Nothing has been changed then.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// The directory or a file in it cannot be used.
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Another process has the directory.
    Lock(LockError),
    /// The file is not a database of yroom's.
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        found: String,
    },
    /// A newer yroom made the database.
    Newer {
        /// The database.
        path: PathBuf,
        /// Its schema version.
        found: i64,
        /// The newest that this program knows.
        known: i64,
    },
    /// There is a write-ahead log but no database: somebody removed or moved the file.
    Lost {
        /// Where the database should be.
        path: PathBuf,
    },
    /// The program was linked with a SQLite that can damage databases.
    OldSqlite {
        /// Its version.
        found: &'static str,
    },
    /// SQLite says no.
    Sqlite {
        /// The database.
        path: PathBuf,
        /// Why.
        error: rusqlite::Error,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { path, error } => write!(f, "cannot use {}: {error}", path.display()),
            Self::Lock(error) => write!(f, "{error}"),
            Self::Foreign { path, found } => {
                write!(f, "{} is not a yroom database but {found}", path.display())
            }
            Self::Newer { path, found, known } => write!(
                f,
                "{} is of schema version {found}; this program knows versions up to {known}",
                path.display()
            ),
            Self::Lost { path } => write!(
                f,
                "{0} is gone, but {0}-wal is there: bring the database back, or move that away",
                path.display()
            ),
            Self::OldSqlite { found } => write!(
                f,
                "SQLite {found} can damage databases; at least {} is needed",
                crate::schema::OLDEST_SQLITE_NAME
            ),
            Self::Sqlite { path, error } => write!(f, "{}: {error}", path.display()),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { error, .. } => Some(error),
            Self::Sqlite { error, .. } => Some(error),
            Self::Lock(error) => Some(error),
            Self::Foreign { .. }
            | Self::Newer { .. }
            | Self::Lost { .. }
            | Self::OldSqlite { .. } => None,
        }
    }
}

impl From<OpenError> for StoreFault {
    fn from(error: OpenError) -> Self {
        Self::new(StoreFaultKind::NotDone, error.to_string())
    }
}

/// What a failure means, given that the transaction it happened in was rolled back.
///
/// A full disk is seen by a write, before the commit's mark is down, and SQLite takes the rest
/// back: nothing happened, and the connection stays good (closing it would need space). An I/O error
/// may be a failed sync, after which nobody knows what the disk has.
pub(crate) fn fault(error: &rusqlite::Error) -> StoreFault {
    let kind = match error {
        rusqlite::Error::SqliteFailure(inner, _) => match inner.code {
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => StoreFaultKind::Corrupt,
            ErrorCode::DiskFull
            | ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::OutOfMemory
            | ErrorCode::ReadOnly
            | ErrorCode::CannotOpen
            | ErrorCode::PermissionDenied
            | ErrorCode::TooBig => StoreFaultKind::NotDone,
            _ => StoreFaultKind::Unknown,
        },
        rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::IntegralValueOutOfRange(..)
        | rusqlite::Error::Utf8Error(..)
        | rusqlite::Error::InvalidColumnType(..) => StoreFaultKind::Corrupt,
        _ => StoreFaultKind::Unknown,
    };
    StoreFault::new(kind, format!("SQLite: {error}"))
}
