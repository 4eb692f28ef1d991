//! The connection to the referee, which is a Node.js process.

use std::env;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// Joined to a version: surrogate pairs may be cut here and whole there.
pub const CUT_PAIRS: u8 = 0x80;

/// A running referee.
#[derive(Debug)]
pub struct Judge {
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
}

impl Judge {
    /// Starts it; none if its parts are not installed.
    pub fn start() -> Option<Self> {
        let home: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/referee");
        if !home.join("node_modules/yjs").exists() {
            skipped("run `npm ci` in tests/referee first");
            return None;
        }
        let started = Command::new("node")
            .args(["--max-old-space-size=4096", "referee.mjs"])
            .current_dir(home)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let Ok(mut child) = started else {
            skipped("there is no Node.js");
            return None;
        };
        let input = child.stdin.take().expect("it is piped");
        let output = child.stdout.take().expect("it is piped");
        Some(Self { child, input, output })
    }

    pub fn generate(&mut self, seed: u32, flavour: u8) -> Vec<Vec<u8>> {
        list(&self.ask(1, &[&seed.to_le_bytes()[..], &[flavour]].concat()))
    }

    pub fn go_on(&mut self, snapshot: &[u8]) -> Vec<Vec<u8>> {
        list(&self.ask(2, snapshot))
    }

    pub fn load(&mut self, log: &[Vec<u8>]) {
        self.ask(3, &as_list(log));
    }

    pub fn judge(&mut self, version: u8, updates: &[&[u8]]) -> String {
        let answer = self.ask(4, &[&[version][..], &as_list(updates)].concat());
        String::from_utf8(answer).expect("a verdict is text")
    }

    /// The length of the log's document, loaded and encoded by yjs.
    pub fn size(&mut self) -> usize {
        let answer = self.ask(5, &[]);
        u32::from_le_bytes(answer[..].try_into().expect("four bytes")) as usize
    }

    /// State vectors, with the number of updates if it is that of a prefix of the log.
    pub fn state_vectors(&mut self, seed: u32) -> Vec<(Vec<u8>, Option<usize>)> {
        let answer = list(&self.ask(6, &seed.to_le_bytes()));
        let pairs = answer.chunks(2).map(|pair| {
            let prefix = (!pair[1].is_empty())
                .then(|| u32::from_le_bytes(pair[1][..].try_into().expect("four bytes")) as usize);
            (pair[0].clone(), prefix)
        });
        pairs.collect()
    }

    pub fn same_update(&mut self, ours: &[u8], theirs: &[u8]) -> String {
        String::from_utf8(self.ask(7, &as_list(&[ours, theirs]))).expect("a verdict is text")
    }

    /// What applying the updates in turn throws; empty if nothing.
    pub fn throws(&mut self, updates: &[&[u8]]) -> String {
        String::from_utf8(self.ask(8, &as_list(updates))).expect("an error is text")
    }

    pub fn diff(&mut self, update: &[u8], state_vector: &[u8]) -> Vec<u8> {
        self.ask(9, &as_list(&[update, state_vector]))
    }

    pub fn converged(&mut self) -> String {
        String::from_utf8(self.ask(10, &[])).expect("a verdict is text")
    }

    fn ask(&mut self, operation: u8, payload: &[u8]) -> Vec<u8> {
        let len = 1 + payload.len() as u32;
        let request = [&len.to_le_bytes()[..], &[operation], payload].concat();
        self.input.write_all(&request).expect("the referee reads");
        let mut len = [0; 4];
        self.output.read_exact(&mut len).expect("the referee answers");
        let mut answer = vec![0; u32::from_le_bytes(len) as usize];
        self.output.read_exact(&mut answer).expect("the referee answers");
        answer
    }
}

impl Drop for Judge {
    fn drop(&mut self) {
        // It is this process's own child, and may already be gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Says that a test did not run; an error where everything has to be there.
pub fn skipped(why: &str) {
    println!("SKIPPED: {why}");
    assert!(env::var_os("CI").is_none(), "CI skips nothing: {why}");
}

fn as_list(parts: &[impl AsRef<[u8]>]) -> Vec<u8> {
    let mut out = (parts.len() as u32).to_le_bytes().to_vec();
    for part in parts.iter().map(AsRef::as_ref) {
        out.extend_from_slice(&(part.len() as u32).to_le_bytes());
        out.extend_from_slice(part);
    }
    out
}

/// Reads `[u32 n]` and n times `[u32 length][bytes]`.
pub fn list(bytes: &[u8]) -> Vec<Vec<u8>> {
    let number =
        |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes")) as usize;
    let mut at = 4;
    let parts = (0..number(0)).map(|_| {
        let start = at + 4;
        at = start + number(at);
        bytes[start..at].to_vec()
    });
    parts.collect()
}

/// A small generator of pseudo-random numbers.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u32) -> Self {
        Self(u64::from(seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % bound.max(1)
    }

    /// Whether something of so many percent happens.
    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// Moves each thing at most about as far as `distance`.
    pub fn jumble<T>(&mut self, things: &mut [T], distance: usize) {
        for i in 0..things.len() {
            let other = i + self.below(distance.min(things.len() - i));
            things.swap(i, other);
        }
    }
}
