//! The process dies while it writes: at any moment, and at every system call that writes.
#![cfg(unix)]

mod common;

use common::{Death, run_writer};
use std::collections::BTreeMap;
use std::path::Path;
use yroom_net::store::check;
use yroom_net::store::conformance::{check_script, write_script};
use yroom_sqlite::SqliteStore;

/// Calls that opening a fresh store makes (an error there refuses it, which is fine), and the script
/// in all; every so-manieth of those after opening is made to fail.
const OPENING: usize = 60;
const CALLS: usize = 2400;
const STEP: usize = 11;

/// Not a test: what the tests start as a process, to kill it.
#[test]
#[ignore = "is started by the other tests"]
fn writer() {
    let Some(dir) = common::writer_dir() else { return };
    let mut store = SqliteStore::open(&dir).expect("it opens");
    write_script(&mut store, common::acknowledge).expect("the disk is fine");
    common::finish();
}

/// Not a test either: what looks at a disk after its power failed, see `tests/power_loss`.
#[test]
#[ignore = "is started by tests/power_loss"]
fn survivor() {
    let Some(dir) = common::writer_dir() else { return };
    look(&dir, &common::acknowledged(), "after a power failure");
}

#[test]
fn nothing_acknowledged_is_lost_when_the_process_is_killed_at_any_moment() {
    for round in 0..20 {
        survive(Death::AfterAcknowledgements(1 + round * 17));
    }
}

#[test]
#[ignore = "takes minutes and needs strace"]
fn nothing_acknowledged_is_lost_at_any_write_or_sync() {
    let mut at = 1;
    while survive(Death::AtCall(at)) {
        at += 1;
    }
    assert!(at > 400, "only {at} calls: is this the script?");
}

#[test]
#[ignore = "takes minutes and needs strace"]
fn an_io_error_at_any_write_or_sync_is_recovered_from_and_loses_nothing() {
    for at in (OPENING..CALLS).step_by(STEP) {
        assert!(!survive(Death::Errors { at, count: 1 + at % 3 }));
    }
}

/// Whether the writer was killed before it was done.
fn survive(death: Death) -> bool {
    let dir = tempfile::tempdir().expect("a directory");
    let outcome = run_writer(dir.path(), death);
    look(dir.path(), &outcome.acknowledged, &format!("{death:?}"));
    outcome.killed
}

fn look(dir: &Path, acknowledged: &BTreeMap<String, u64>, when: &str) {
    let mut store = SqliteStore::open(dir).unwrap_or_else(|error| panic!("{when}: {error}"));
    check_script(&mut store, acknowledged);
    let summary = check(&mut store, |_| {}).expect("it can be read");
    assert!(summary.is_sound(), "{when}: {summary:?}");
}
