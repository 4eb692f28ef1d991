//! Keeps yroom's rooms in files, one append-only file each: [`FileStore`].
//!
//! A room's file is a header, a snapshot if there is one, and records of updates, each with a
//! checksum over its content and its place. What is answered as durable is synced. A compaction
//! writes a new file beside the old and swaps them in one step.
//!
//! ```
//! use yroom_file::FileStore;
//! use yroom_net::store::Threaded;
//!
//! # let dir = std::env::temp_dir().join(format!("yroom-file-doc-{}", std::process::id()));
//! let store = FileStore::open(&dir)?.on_repair(|what| eprintln!("{what}"));
//! let store = Threaded::new(store)?;
//! # drop(store);
//! # std::fs::remove_dir_all(&dir)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A crash can leave a torn record at a file's end, one that was not answered yet. It is cut off
//! when the room is loaded, kept beside the file, and reported ([`FileStore::on_repair`]). Damage
//! anywhere else makes the room unreadable, a fault of its own, and nothing is changed.
//!
//! Each room that has something to write costs a sync of its own; where many rooms are busy, the
//! SQLite store, which syncs once for all, is faster.
#![forbid(unsafe_code)]

mod browse;
mod error;
mod file;
mod format;
mod name;
mod store;

pub use error::OpenError;
pub use store::FileStore;
