//! What is opened and what is refused.

use rusqlite::Connection;
use std::fs;
use std::path::Path;
use yroom::{Append, Batch, RoomId, RoomName, Seq};
use yroom_net::store::BlockingStore;
use yroom_sqlite::{OpenError, SqliteStore};

#[test]
fn a_fresh_directory_becomes_a_database_for_its_owner_only() {
    let dir = tempfile::tempdir().expect("a directory");
    let inner = dir.path().join("a/b");
    drop(SqliteStore::open(&inner).expect("it is made"));
    let db = raw(&inner);
    let pragma = |name: &str| {
        db.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0)).expect("a number")
    };
    assert_eq!(pragma("auto_vacuum"), 2, "incremental, or the file never shrinks");
    assert_eq!(pragma("application_id"), 0x7972_6f6f);
    assert_eq!(pragma("user_version"), 1);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        for (path, mode) in [("yroom.db", 0o600), ("yroom.lock", 0o600), ("", 0o700)] {
            let found = fs::metadata(inner.join(path)).expect("it is there").permissions().mode();
            assert_eq!(found & 0o777, mode, "{path:?}");
        }
    }
}

#[test]
fn a_second_store_on_the_same_directory_is_refused_in_one_line() {
    let dir = tempfile::tempdir().expect("a directory");
    let first = SqliteStore::open(dir.path()).expect("the first");
    let error = SqliteStore::open(dir.path()).expect_err("the second");
    let (line, pid) = (error.to_string(), std::process::id().to_string());
    assert!(line.contains("in use by another process") && line.contains(&pid), "{line}");
    assert!(!line.contains('\n'));
    drop(first);
    SqliteStore::open(dir.path()).expect("the first is gone");
}

#[test]
fn a_newer_schema_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    drop(SqliteStore::open(dir.path()).expect("it is made"));
    raw(dir.path()).execute_batch("PRAGMA user_version = 9").expect("as a newer program would");
    match SqliteStore::open(dir.path()) {
        Err(OpenError::Newer { found: 9, known: 1, .. }) => {}
        other => panic!("{other:?}"),
    }
    raw(dir.path()).execute_batch("PRAGMA user_version = 1").expect("nothing else was changed");
    SqliteStore::open(dir.path()).expect("it is as before");
}

#[test]
fn another_applications_database_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    raw(dir.path()).execute_batch("CREATE TABLE theirs (x); PRAGMA user_version = 2").expect("ok");
    let before = fs::read(dir.path().join("yroom.db")).expect("it is there");
    match SqliteStore::open(dir.path()) {
        Err(OpenError::Foreign { .. }) => {}
        other => panic!("{other:?}"),
    }
    assert!(fs::read(dir.path().join("yroom.db")).expect("still there") == before);
}

#[test]
fn a_file_that_is_no_database_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    let content = b"precious notes, not a database\n".repeat(100);
    fs::write(dir.path().join("yroom.db"), &content).expect("it is written");
    match SqliteStore::open(dir.path()) {
        Err(OpenError::Foreign { .. }) => {}
        other => panic!("{other:?}"),
    }
    assert!(fs::read(dir.path().join("yroom.db")).expect("still there") == content);
}

#[test]
fn a_log_without_its_database_is_not_given_an_empty_one() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut store = SqliteStore::open(dir.path()).expect("it is made");
    let name = RoomName::new("r").expect("a name");
    let batch = Batch::single(Seq(1), &[0, 0]);
    store.append(&[Append { room: RoomId::from_raw(1), name, batch }]).expect("stored");
    // As after kill -9, with the database moved away by somebody.
    let elsewhere = tempfile::tempdir().expect("a directory");
    fs::copy(dir.path().join("yroom.db-wal"), elsewhere.path().join("yroom.db-wal")).expect("ok");
    match SqliteStore::open(elsewhere.path()) {
        Err(OpenError::Lost { .. }) => {}
        other => panic!("{other:?}"),
    }
    assert!(!elsewhere.path().join("yroom.db").exists());
}

#[test]
fn a_directory_that_cannot_be_made_is_one_clear_line() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("file");
    fs::write(&file, "").expect("it is written");
    let line = SqliteStore::open(&file.join("data")).expect_err("below a file").to_string();
    assert!(line.contains("cannot use") && line.contains("file/data"), "{line}");
    let line = SqliteStore::open_existing(dir.path()).expect_err("nothing there").to_string();
    assert!(line.contains("yroom.db"), "{line}");
    assert!(!dir.path().join("yroom.db").exists(), "looking is not making");
}

fn raw(dir: &Path) -> Connection {
    Connection::open(dir.join("yroom.db")).expect("SQLite opens it")
}
