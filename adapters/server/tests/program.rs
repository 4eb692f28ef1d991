//! The program as its operator sees it: lines, exit codes, signals.
#![cfg(unix)]
#![allow(missing_docs, reason = "the names of tests are sentences")]

#[path = "../../net/tests/support/mod.rs"]
#[allow(dead_code, reason = "shared with the tests of yroom-net")]
mod support;

mod running;

use running::{command, refused, start};
use rustix::process::Signal;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use support::{Peer, contains, typing};
use tempfile::TempDir;

fn content(addr: SocketAddr, room: &str) -> Vec<u8> {
    let (peer, all) = Peer::join(addr, room);
    peer.leave();
    all
}

#[test]
fn what_an_other_peer_has_seen_is_there_after_kill_9_and_a_signal_ends_it_in_order() {
    let dir = TempDir::new().unwrap();
    let first = start(&mut command(dir.path()));
    let (mut ann, _) = Peer::join(first.addr, "room");
    let (mut bob, _) = Peer::join(first.addr, "room");
    ann.update(&typing(1, 0, "seen by bob"));
    bob.wait_for_content("seen by bob");
    first.signal(Signal::KILL);
    assert!(!first.wait().0.success());
    assert!(dir.path().join("yroom-data/yroom.db").exists(), "the default place");

    let second = start(&mut command(dir.path()));
    let (mut cal, all) = Peer::join(second.addr, "room");
    assert!(contains(&all, b"seen by bob"));
    cal.update(&typing(2, 0, "just before the end"));
    second.signal(Signal::TERM);
    assert_eq!(cal.wait_for_close().0, 1012);
    let (status, errors) = second.wait();
    assert!(status.success(), "{status}: {errors}");

    let third = start(&mut command(dir.path()));
    assert!(contains(&content(third.addr, "room"), b"just before the end"));
    third.signal(Signal::INT);
    assert!(third.wait().0.success());
}

#[test]
fn rooms_in_files_outlive_the_program_too() {
    let dir = TempDir::new().unwrap();
    let first = start(command(dir.path()).args(["--store", "file"]));
    let (mut ann, _) = Peer::join(first.addr, "a/b");
    let (mut bob, _) = Peer::join(first.addr, "a/b");
    ann.update(&typing(1, 0, "in a file"));
    bob.wait_for_content("in a file");
    first.signal(Signal::KILL);
    drop(first);
    let second = start(command(dir.path()).env("YROOM_STORE", "file"));
    assert!(contains(&content(second.addr, "a/b"), b"in a file"));
}

#[test]
fn a_port_in_use_is_said_in_one_line() {
    let dir = TempDir::new().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let mut program = Command::new(env!("CARGO_BIN_EXE_yroom"));
    let program = program.current_dir(dir.path()).env("YROOM_LISTEN", &addr);
    let (code, line) = refused(program);
    assert_eq!(code, 1);
    assert!(line.contains(&addr) && line.contains("in use"), "{line}");
}

#[test]
fn an_unusable_data_directory_is_said_in_one_line() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("taken"), "a file").unwrap();
    for store in ["sqlite", "file"] {
        let (code, line) =
            refused(command(dir.path()).args(["--data-dir", "taken", "--store", store]));
        assert_eq!(code, 1);
        assert!(line.contains("taken"), "{line}");
    }
}

#[test]
fn two_programs_do_not_share_a_data_directory() {
    let dir = TempDir::new().unwrap();
    let first = start(&mut command(dir.path()));
    let (code, line) = refused(&mut command(dir.path()));
    assert_eq!(code, 1);
    assert!(line.contains("yroom-data"), "{line}");
    first.signal(Signal::TERM);
    assert!(first.wait().0.success());
}

#[test]
fn a_store_that_is_not_understood_is_refused_and_left_as_it_is() {
    let dir = TempDir::new().unwrap();
    let first = start(&mut command(dir.path()));
    let (mut ann, _) = Peer::join(first.addr, "room");
    ann.update(&typing(1, 0, "kept"));
    first.signal(Signal::TERM);
    ann.wait_for_close();
    assert!(first.wait().0.success());

    let (code, line) = refused(command(dir.path()).args(["--store", "file"]));
    assert_eq!(code, 1);
    assert!(line.contains("--store sqlite"), "{line}");

    let path = dir.path().join("yroom-data/yroom.db");
    let db = rusqlite::Connection::open(&path).unwrap();
    db.pragma_update(None, "user_version", 9999).unwrap();
    drop(db);
    let before = fs::read(&path).unwrap();
    let (code, line) = refused(&mut command(dir.path()));
    assert_eq!(code, 1);
    assert!(line.contains("9999"), "{line}");
    assert!(fs::read(&path).unwrap() == before, "it was changed");

    fs::write(&path, "no database, but the only copy of something").unwrap();
    let (code, line) = refused(&mut command(dir.path()));
    assert_eq!(code, 1);
    assert!(line.contains("yroom.db"), "{line}");
    assert!(fs::read(&path).unwrap().starts_with(b"no database"), "it was replaced");
}

#[test]
fn a_usage_that_is_not_understood_ends_with_2() {
    let dir = TempDir::new().unwrap();
    for args in [&["--store", "paper"][..], &["--threads", "0"], &["--listen", "here"], &["--no"]] {
        let mut program = Command::new(env!("CARGO_BIN_EXE_yroom"));
        let output = program.current_dir(dir.path()).args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(output.stdout.is_empty());
    }
    assert!(fs::read_dir(dir.path()).unwrap().next().is_none(), "it made something");
}

#[test]
fn content_does_not_reach_the_log() {
    let dir = TempDir::new().unwrap();
    let program = start(command(dir.path()).args(["--store", "memory"]));
    let (mut ann, _) = Peer::join(program.addr, "room?token=secret-token");
    ann.send(b"\x00\x02\x0esecret-content");
    assert_eq!(ann.wait_for_close().0, 1007);
    program.signal(Signal::TERM);
    let (status, errors) = program.wait();
    assert!(status.success());
    assert!(errors.contains("1007"), "a fault is logged: {errors:?}");
    assert!(!errors.contains("secret"), "{errors}");
}
