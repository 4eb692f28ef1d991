//! One process at a time: a lock on a file in a store's directory.

use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

/// A store's directory, for this process alone: held as long as the value lives, and given back by
/// the kernel however the process ends.
///
/// Two servers that each believe to own the rooms would undo each other's work, even where every
/// single write is safe.
#[derive(Debug)]
pub struct DirLock(#[expect(dead_code, reason = "being open is what it does")] File);

/// Why a directory is not locked.
#[derive(Debug)]
#[non_exhaustive]
pub enum LockError {
    /// Another process has it.
    Held {
        /// The directory.
        dir: PathBuf,
        /// Its process id, if the lock file tells.
        by: Option<u32>,
    },
    /// The lock file cannot be used.
    Io {
        /// The lock file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

impl DirLock {
    /// The lock file's name.
    pub const FILE_NAME: &str = "yroom.lock";

    /// Takes the lock of `dir`, which exists; does not wait for it. Fails if another process has it, or
    /// if the lock file cannot be opened or made. It is given back when it is dropped, or the process
    /// ends, however it ends.
    pub fn take(dir: &Path) -> Result<Self, LockError> {
        let path = dir.join(Self::FILE_NAME);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = match options.open(&path) {
            Ok(file) => file,
            Err(error) => return Err(LockError::Io { path, error }),
        };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(LockError::Held { dir: dir.to_owned(), by: holder(&mut file) });
            }
            Err(TryLockError::Error(error)) => return Err(LockError::Io { path, error }),
        }
        // Only words for whoever is refused: a disk too full for them is no reason to refuse.
        let _ = file.set_len(0).and_then(|()| write!(file, "{}", std::process::id()));
        Ok(Self(file))
    }
}

fn holder(file: &mut File) -> Option<u32> {
    let mut pid = String::new();
    file.rewind().and_then(|()| file.take(20).read_to_string(&mut pid)).ok()?;
    pid.trim().parse().ok()
}

impl fmt::Display for LockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held { dir, by: Some(pid) } => {
                write!(f, "{} is in use by another process ({pid})", dir.display())
            }
            Self::Held { dir, by: None } => {
                write!(f, "{} is in use by another process", dir.display())
            }
            Self::Io { path, error } => write!(f, "cannot use {}: {error}", path.display()),
        }
    }
}

impl std::error::Error for LockError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Held { .. } => None,
            Self::Io { error, .. } => Some(error),
        }
    }
}
