//! What stands beside the updates: brought in, kept, listed and written out.
#![cfg(unix)]
#![allow(missing_docs, reason = "the names of tests are sentences")]

#[path = "../../net/tests/support/mod.rs"]
#[allow(dead_code, reason = "shared with the tests of yroom-net")]
mod support;

use rusqlite::{Connection, params};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use support::{Peer, typing};
use tempfile::TempDir;

/// A row of `yupdates`: update, metadata, time.
type Row = (Vec<u8>, Vec<u8>, f64);

/// Runs to its end: gives what it printed.
fn yroom(dir: &Path, args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_yroom"))
        .current_dir(dir)
        .args(args)
        .output()
        .expect("the program runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {errors}");
    String::from_utf8(output.stdout).expect("text")
}

/// A database as `SQLiteYStore` makes it.
fn seed(path: &Path, rows: &[Row], checkpoint: Option<(&[u8], f64)>) {
    let db = Connection::open(path).expect("it opens");
    db.execute_batch(
        "CREATE TABLE yupdates (path TEXT NOT NULL, yupdate BLOB, metadata BLOB,
            timestamp REAL NOT NULL);
         CREATE TABLE ycheckpoints (path TEXT NOT NULL, checkpoint BLOB NOT NULL,
            timestamp REAL NOT NULL, PRIMARY KEY(path));
         PRAGMA user_version = 2;",
    )
    .expect("tables");
    for (update, metadata, time) in rows {
        db.execute(
            "INSERT INTO yupdates VALUES ('notes', ?1, ?2, ?3)",
            params![update, metadata, time],
        )
        .expect("a row");
    }
    if let Some((update, time)) = checkpoint {
        db.execute("INSERT INTO ycheckpoints VALUES ('notes', ?1, ?2)", params![update, time])
            .expect("a row");
    }
}

fn rows(path: &Path) -> Vec<Row> {
    let db = Connection::open(path).expect("it opens");
    let mut select = db
        .prepare("SELECT yupdate, metadata, timestamp FROM yupdates ORDER BY rowid")
        .expect("the table is there");
    let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
    rows.expect("it can be read").collect::<Result<_, _>>().expect("each of them")
}

fn some_rows() -> Vec<Row> {
    vec![
        (typing(1, 0, "one"), b"by ann".to_vec(), 1_600_000_000.25),
        (typing(1, 3, "two"), Vec::new(), 1_600_000_060.5),
        (typing(1, 6, "six"), b"\x00\xff".to_vec(), 1_600_000_120.75),
    ]
}

#[test]
fn what_a_seed_store_says_about_an_update_comes_in_and_goes_out_again() {
    for store in ["sqlite", "file"] {
        let dir = TempDir::new().expect("a directory");
        seed(&dir.path().join("in.db"), &some_rows(), None);
        yroom(dir.path(), &["import", "in.db", "--store", store]);
        let out = dir.path().join("out.db");
        yroom(dir.path(), &["export", "notes", "--format", "sqlite", "--output", "out.db"]);
        assert_eq!(rows(&out), some_rows(), "{store}");

        // The same through a file.
        yroom(dir.path(), &["export", "notes", "--format", "file", "--output", "notes.y"]);
        yroom(dir.path(), &["import", "notes.y", "--store", store, "--data-dir", "second"]);
        let again = dir.path().join("again.db");
        let args = ["export", "notes", "--format", "sqlite", "--output", "again.db"];
        yroom(dir.path(), &[&args[..], &["--data-dir", "second"]].concat());
        assert_eq!(rows(&again), some_rows(), "{store}");

        let history = yroom(dir.path(), &["list", "notes"]);
        let lines: Vec<Vec<&str>> =
            history.lines().map(|line| line.split('\t').collect()).collect();
        assert_eq!(lines.len(), 3, "{history}");
        assert_eq!(
            (lines[0][0], lines[0][1], lines[0][3]),
            ("1", "2020-09-13T12:26:40Z", "by ann")
        );
        assert_eq!((lines[2][0], lines[2][3]), ("3", "00ff"));
        let list = yroom(dir.path(), &["list"]);
        assert!(list.starts_with("2020-09-13T12:28:40Z\t3\t") && list.ends_with("\tnotes\n"));
    }
}

#[test]
fn a_checkpoint_takes_no_times_from_the_rows_that_it_covers() {
    let dir = TempDir::new().expect("a directory");
    let mut expected = some_rows();
    // It covers the first, which is there, and the second, which is not any more.
    let both = typing(1, 0, "onetwo");
    let rows_left = [expected[0].clone(), expected[2].clone()];
    seed(&dir.path().join("in.db"), &rows_left, Some((&both, 1_600_000_070.0)));
    yroom(dir.path(), &["import", "in.db"]);
    yroom(dir.path(), &["export", "notes", "--format", "sqlite", "--output", "out.db"]);
    let found = rows(&dir.path().join("out.db"));
    expected[1].2 = 1_600_000_070.0;
    let beside = |rows: &[Row]| rows.iter().map(|it| (it.1.clone(), it.2)).collect::<Vec<_>>();
    assert_eq!(beside(&found), beside(&expected));
    assert_eq!((&found[0], &found[2]), (&expected[0], &expected[2]));
}

#[test]
fn rows_that_come_before_what_they_stand_on_are_brought_in_too() {
    let dir = TempDir::new().expect("a directory");
    let mut shuffled = some_rows();
    shuffled.rotate_left(1);
    seed(&dir.path().join("in.db"), &shuffled, None);
    let said = yroom(dir.path(), &["import", "in.db"]);
    assert!(said.contains("stored as 2 updates") && said.contains(" 0 failures"), "{said}");
    let all = yroom(dir.path(), &["import", "in.db"]);
    assert!(all.contains("all of it was there"), "{all}");
    seed(&dir.path().join("sorted.db"), &some_rows(), None);
    yroom(dir.path(), &["import", "sorted.db", "--data-dir", "sorted"]);
    let update = |data: &str, out: &str| {
        yroom(dir.path(), &["export", "notes", "--output", out, "--data-dir", data]);
        std::fs::read(dir.path().join(out)).expect("it is there")
    };
    assert_eq!(update("yroom-data", "a"), update("sorted", "b"));
}

#[test]
fn metadata_that_is_too_long_is_left_out_and_said() {
    let dir = TempDir::new().expect("a directory");
    let mut rows_in = some_rows();
    rows_in[0].1 = vec![b'x'; (64 << 10) + 1];
    seed(&dir.path().join("in.db"), &rows_in, None);
    let output = Command::new(env!("CARGO_BIN_EXE_yroom"))
        .current_dir(dir.path())
        .args(["import", "in.db"])
        .output()
        .expect("the program runs");
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("its metadata is left out"), "{errors}");
    yroom(dir.path(), &["export", "notes", "--format", "sqlite", "--output", "out.db"]);
    rows_in[0].1.clear();
    assert_eq!(rows(&dir.path().join("out.db")), rows_in);
}

/// Serves with `args` while somebody types `edits` letters.
fn serve(dir: &Path, args: &[&str], client: u64, edits: u64) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_yroom"))
        .current_dir(dir)
        .args(["--listen", "127.0.0.1:0", "--unload-after", "0"])
        .args(args)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().expect("piped")).read_line(&mut line).expect("a line");
    let addr = line.trim_end().rsplit("ws://").next().expect("an address");
    let addr = addr.parse().expect("an address");
    let (mut watcher, _) = Peer::join(addr, "notes");
    let (mut peer, _) = Peer::join(addr, "notes");
    for clock in 0..edits {
        let text = format!("{}", char::from(b'a' + (clock % 26) as u8));
        peer.update(&typing(client, clock, &text));
        watcher.wait_for_content(&text);
    }
    kill_process(Pid::from_child(&child), Signal::TERM).expect("it runs");
    assert!(child.wait().expect("it ends").success());
}

#[test]
fn the_programs_options_say_how_long_a_log_is_kept_and_an_earlier_state_can_be_written() {
    let dir = TempDir::new().expect("a directory");
    serve(dir.path(), &["--keep-history"], 1, 100);
    let lines = |dir: &Path| yroom(dir, &["list", "notes"]).lines().count();
    assert_eq!(lines(dir.path()), 100, "one a letter, none folded");
    yroom(dir.path(), &["export", "notes", "--upto", "3", "--output", "early"]);
    let early = std::fs::read(dir.path().join("early")).expect("it is there");
    assert!(early.windows(3).any(|it| it == b"abc") && !early.contains(&b'd'), "{early:?}");
    serve(dir.path(), &["--keep-history", "--log-max-bytes", "100"], 3, 40);
    assert!(lines(dir.path()) < 10, "so many bytes are a row or two");
    let refused = Command::new(env!("CARGO_BIN_EXE_yroom"))
        .current_dir(dir.path())
        .args(["export", "notes", "--upto", "3"])
        .output()
        .expect("the program runs");
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("folded"));
}

#[test]
fn what_was_written_years_ago_is_folded_by_a_time_to_live_and_what_is_new_is_not() {
    let dir = TempDir::new().expect("a directory");
    seed(&dir.path().join("in.db"), &some_rows(), None);
    yroom(dir.path(), &["import", "in.db"]);
    serve(dir.path(), &["--keep-history"], 2, 1);
    let count = |history: &str| history.lines().count();
    let history = yroom(dir.path(), &["list", "notes"]);
    assert_eq!(count(&history), 4, "without one it stays: {history}");
    seed(&dir.path().join("again.db"), &some_rows(), None);
    yroom(dir.path(), &["import", "again.db", "--data-dir", "second"]);
    let second = ["--keep-history", "--document-ttl", "86400", "--data-dir", "second"];
    serve(dir.path(), &second, 2, 2);
    let history = yroom(dir.path(), &["list", "notes", "--data-dir", "second"]);
    assert!(history.starts_with("1-3\t2020-09-13T12:28:40Z\t"), "{history}");
    assert!(history.contains("folded into a snapshot"), "{history}");
    assert_eq!(count(&history), 3, "the two new ones stay: {history}");
}

#[test]
fn what_is_older_than_an_age_is_folded_and_what_is_younger_stays() {
    for store in ["sqlite", "file"] {
        let dir = TempDir::new().expect("a directory");
        seed(&dir.path().join("in.db"), &some_rows(), None);
        yroom(dir.path(), &["import", "in.db", "--store", store]);
        let args = ["--store", store, "--keep-history"];
        serve(dir.path(), &args, 2, 3);
        let count = |history: &str| history.lines().count();
        let history = yroom(dir.path(), &["list", "notes"]);
        assert_eq!(count(&history), 6, "{store}, without an age: {history}");
        serve(dir.path(), &[&args[..], &["--fold-older-than", "86400"]].concat(), 3, 2);
        let history = yroom(dir.path(), &["list", "notes"]);
        assert!(history.starts_with("1-3\t2020-09-13T12:28:40Z\t"), "{store}: {history}");
        assert!(history.contains("folded into a snapshot"), "{store}: {history}");
        assert_eq!(count(&history), 1 + 3 + 2, "{store}, the others stay: {history}");
        let check = yroom(dir.path(), &["check", "yroom-data"]);
        assert!(check.starts_with("1 rooms, 0 damaged"), "{store}: {check}");
        let update = dir.path().join("update");
        yroom(dir.path(), &["export", "notes", "--output", "update"]);
        let update = std::fs::read(update).expect("it is there");
        for text in ["onetwosix", "abc", "ab"] {
            assert!(update.windows(text.len()).any(|it| it == text.as_bytes()), "{store}: {text}");
        }
    }
}

#[test]
fn what_is_compressed_is_served_checked_listed_and_written_out_like_the_rest() {
    for store in ["sqlite", "file"] {
        let dir = TempDir::new().expect("a directory");
        let mut rows = some_rows();
        let long = "a line that comes again and again\n".repeat(300);
        rows.push((typing(1, 9, &long), b"long".to_vec(), 1_600_000_180.0));
        seed(&dir.path().join("in.db"), &rows, None);
        let bytes = |data: &str| -> u64 {
            let list = yroom(dir.path(), &["list", "--data-dir", data]);
            list.split('\t').nth(2).expect("bytes").parse().expect("a number")
        };
        let import = ["import", "in.db", "--store", store];
        yroom(dir.path(), &import);
        yroom(dir.path(), &[&import[..], &["--data-dir", "packed", "--compress", "lz4"]].concat());
        assert!(bytes("yroom-data") > 10_000, "{store}");
        assert!(bytes("packed") < 2_000, "{store}: {}", bytes("packed"));
        // Rows of before and of after, in both directions.
        let compressed = ["--store", store, "--keep-history", "--compress", "lz4"];
        serve(dir.path(), &compressed, 2, 2);
        serve(dir.path(), &[&compressed[..3], &["--data-dir", "packed"]].concat(), 2, 2);
        for data in ["yroom-data", "packed"] {
            let check = yroom(dir.path(), &["check", data]);
            assert!(check.starts_with("1 rooms, 0 damaged; 6 rows"), "{store}, {data}: {check}");
            let args = ["export", "notes", "--format", "sqlite", "--data-dir", data];
            let out = format!("{data}.db");
            yroom(dir.path(), &[&args[..], &["--output", &out]].concat());
            let found = self::rows(&dir.path().join(&out));
            assert_eq!(found.len(), 6);
            assert_eq!(found[..4], rows[..], "{store}, {data}");
        }
    }
}

#[test]
fn a_database_above_its_bound_is_cleaned_and_what_is_not_enough_is_said() {
    let dir = TempDir::new().expect("a directory");
    let all: Vec<Row> =
        (0..300).map(|clock| (typing(1, clock, "a"), Vec::new(), 1_600_000_000.0)).collect();
    seed(&dir.path().join("in.db"), &all, None);
    yroom(dir.path(), &["import", "in.db"]);
    let count = || yroom(dir.path(), &["list", "notes"]).lines().count();
    assert_eq!(count(), 300);
    let refused = Command::new(env!("CARGO_BIN_EXE_yroom"))
        .current_dir(dir.path())
        .args(["--store", "memory", "--db-max-bytes", "1MiB"])
        .output()
        .expect("the program runs");
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--store sqlite"));
    // Somebody comes to another room, and the one at rest is folded.
    let mut child = Command::new(env!("CARGO_BIN_EXE_yroom"))
        .current_dir(dir.path())
        .args(["--listen", "127.0.0.1:0", "--keep-history", "--db-max-bytes", "20KiB"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().expect("piped")).read_line(&mut line).expect("a line");
    let addr = line.trim_end().rsplit("ws://").next().expect("an address");
    let (mut peer, _) = Peer::join(addr.parse().expect("an address"), "other");
    peer.update(&typing(2, 0, "x"));
    let errors = BufReader::new(child.stderr.take().expect("piped"));
    let said = errors.lines().map_while(Result::ok).find(|line| line.contains("bytes"));
    let said = said.expect("it is said");
    assert!(said.contains("nothing is left to be freed: the logs of 1 rooms"), "{said}");
    kill_process(Pid::from_child(&child), Signal::TERM).expect("it runs");
    assert!(child.wait().expect("it ends").success());
    assert_eq!(count(), 1);
    let check = yroom(dir.path(), &["check", "yroom-data"]);
    assert!(check.starts_with("2 rooms, 0 damaged"), "{check}");
}
