//! The process dies while it writes: at any moment, and at every system call that writes.
#![cfg(unix)]

#[path = "../../sqlite/tests/common/mod.rs"]
mod common;

use std::path::Path;
use yroom_file::FileStore;

/// Calls that opening a fresh store makes (an error there refuses it, which is fine), and the script
/// in all; every so-manieth of those after opening is made to fail.
const OPENING: usize = 4;
const CALLS: usize = 820;
const STEP: usize = 3;

fn open(dir: &Path) -> FileStore {
    FileStore::open(dir).expect("it opens")
}

/// Not a test: what the tests start as a process, to kill it.
#[test]
#[ignore = "is started by the other tests"]
fn writer() {
    common::write(open);
}

/// Not a test either: what looks at a disk after its power failed, see `tests/power_loss`.
#[test]
#[ignore = "is started by tests/power_loss"]
fn survivor() {
    common::look_after_power_failure(open);
}

#[test]
fn nothing_acknowledged_is_lost_when_the_process_is_killed_at_any_moment() {
    common::die_at_any_moment(open);
}

#[test]
#[ignore = "takes minutes and needs strace"]
fn nothing_acknowledged_is_lost_at_any_write_or_sync() {
    common::die_at_any_call(open, 300);
}

#[test]
#[ignore = "takes minutes and needs strace"]
fn an_io_error_at_any_write_or_sync_is_recovered_from_and_loses_nothing() {
    common::fail_at_calls(open, (OPENING..CALLS).step_by(STEP));
}
