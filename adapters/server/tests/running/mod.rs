//! The program, started by a test and ended by it.

use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};

/// A running program, killed if a test ends before it does.
#[derive(Debug)]
pub(crate) struct Program {
    child: Child,
    pub(crate) addr: SocketAddr,
}

/// The program in a directory, on a free port, without what the developer's environment says.
pub(crate) fn command(dir: &Path) -> Command {
    command_at(dir, "127.0.0.1:0")
}

/// The same at an address.
#[allow(dead_code, reason = "shared by several test programs, each using a part")]
pub(crate) fn command_at(dir: &Path, listen: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_yroom"));
    // What the developer has set must not matter.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("YROOM_") {
            command.env_remove(name);
        }
    }
    command.current_dir(dir).arg("--listen").arg(listen);
    command
}

/// Starts it, and waits until it listens.
pub(crate) fn start(command: &mut Command) -> Program {
    let mut child =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program runs");
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let url = line.trim_end().strip_prefix("yroom listens on ");
    let Some(addr) = url.and_then(|url| url.split_once("://")).map(|(_, addr)| addr) else {
        let mut errors = String::new();
        child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        panic!("it said {line:?} and {errors:?}");
    };
    Program { addr: addr.parse().expect("an address"), child }
}

impl Program {
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for its end: how it ended, and what it wrote to stderr.
    pub(crate) fn wait(mut self) -> (ExitStatus, String) {
        let status = self.child.wait().unwrap();
        let mut errors = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        (status, errors)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Gone already, if all went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a program that has to refuse: gives its exit code and its one line.
pub(crate) fn refused(command: &mut Command) -> (i32, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let errors = String::from_utf8(stderr).unwrap();
    assert!(stdout.is_empty(), "it claims to listen");
    assert_eq!(errors.lines().count(), 1, "one line, not {errors:?}");
    (status.code().expect("no signal"), errors)
}
