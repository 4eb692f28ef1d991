//! Compressed rows: the suite that every store passes, and deaths of the process.
#![cfg(unix)]

#[allow(dead_code, reason = "shared with the crash tests")]
mod common;

use std::path::Path;
use yroom_net::store::{Compression, Threaded, conformance};
use yroom_sqlite::SqliteStore;

fn open(dir: &Path) -> SqliteStore {
    SqliteStore::open(dir).expect("it opens").compression(Compression::lz4())
}

#[test]
fn it_conforms_with_its_rows_compressed() {
    let dir = tempfile::tempdir().expect("a directory");
    conformance::run(|| Threaded::new(open(dir.path())).expect("a thread"));
}

#[test]
fn its_rows_may_be_compressed_and_not() {
    let dir = tempfile::tempdir().expect("a directory");
    conformance::run_compression(|compression| {
        SqliteStore::open(dir.path()).expect("it opens").compression(compression)
    });
}

#[test]
fn its_rooms_have_a_history_with_their_rows_compressed() {
    let dir = tempfile::tempdir().expect("a directory");
    conformance::run_history(|metadata| open(dir.path()).metadata(metadata));
}

/// Not a test: what the next one starts as a process, to kill it.
#[test]
#[ignore = "is started by the other test"]
fn writer() {
    common::write(open);
}

#[test]
fn nothing_acknowledged_is_lost_when_the_process_is_killed_while_it_compresses() {
    common::die_at_any_moment(open);
}
