//! Keeps yroom's rooms in a SQLite database: [`SqliteStore`].
//!
//! One file holds all rooms: a snapshot each and the log after it, a row per batch. Every row
//! carries a checksum over its content and its place. What is answered as durable is synced
//! (write-ahead log, `synchronous=FULL`); all that waits goes into one transaction.
//!
//! ```
//! use yroom_net::store::Threaded;
//! use yroom_sqlite::SqliteStore;
//!
//! # let dir = std::env::temp_dir().join(format!("yroom-sqlite-doc-{}", std::process::id()));
//! let store = Threaded::new(SqliteStore::open(&dir)?)?;
//! # drop(store);
//! # std::fs::remove_dir_all(&dir)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! SQLite is compiled in, because versions before 3.51.3 can damage a database in write-ahead mode
//! (<https://sqlite.org/wal.html#walresetbug>) and systems ship them.
#![forbid(unsafe_code)]

mod bound;
mod browse;
mod error;
mod row;
mod schema;
mod store;
mod tables;

pub use error::OpenError;
pub use store::SqliteStore;
