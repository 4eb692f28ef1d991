//! The suite that every store passes.

use yroom_file::FileStore;
use yroom_net::store::{Threaded, conformance};

#[test]
fn it_conforms() {
    let dir = tempfile::tempdir().expect("a directory");
    conformance::run(|| {
        Threaded::new(FileStore::open(dir.path()).expect("it opens")).expect("a thread")
    });
}

#[test]
fn its_rooms_have_a_history() {
    let dir = tempfile::tempdir().expect("a directory");
    conformance::run_history(|metadata| {
        FileStore::open(dir.path()).expect("it opens").metadata(metadata)
    });
}
