//! The suite that every store passes.

use yroom_net::store::{Threaded, conformance};
use yroom_sqlite::SqliteStore;

#[test]
fn it_conforms() {
    let dir = tempfile::tempdir().expect("a directory");
    conformance::run(|| {
        Threaded::new(SqliteStore::open(dir.path()).expect("it opens")).expect("a thread")
    });
}

#[test]
fn its_rooms_have_a_history() {
    let dir = tempfile::tempdir().expect("a directory");
    conformance::run_history(|metadata| {
        SqliteStore::open(dir.path()).expect("it opens").metadata(metadata)
    });
}
