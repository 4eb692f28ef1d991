//! Why a directory is not opened.

use std::fmt;
use std::io;
use std::path::PathBuf;
use yroom::{StoreFault, StoreFaultKind};
use yroom_net::store::LockError;

/// Why a directory cannot be used. Nothing has been changed then.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process has the directory.
    Lock(LockError),
    /// The directory or a file in it cannot be used.
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The directory holds something, but not this store's files; or those of a newer yroom.
    Foreign {
        /// The directory.
        path: PathBuf,
        /// What its format file says.
        found: String,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lock(error) => write!(f, "{error}"),
            Self::Io { path, error } => write!(f, "cannot use {}: {error}", path.display()),
            Self::Foreign { path, found } => {
                write!(f, "{} is of a format that is not known: {found:?}", path.display())
            }
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Lock(error) => Some(error),
            Self::Io { error, .. } => Some(error),
            Self::Foreign { .. } => None,
        }
    }
}

/// The fault of an operation that an I/O error kept from happening.
pub(crate) fn not_done(error: &io::Error) -> StoreFault {
    StoreFault::new(StoreFaultKind::NotDone, error.to_string())
}

/// The fault of an operation that may have happened in spite of an I/O error.
pub(crate) fn unknown(error: &io::Error) -> StoreFault {
    StoreFault::new(StoreFaultKind::Unknown, error.to_string())
}

pub(crate) fn corrupt(what: impl Into<String>) -> StoreFault {
    StoreFault::new(StoreFaultKind::Corrupt, what)
}
