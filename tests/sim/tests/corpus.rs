//! Replays what the fuzzers begin with and what they once found, without a fuzzer.

use std::fs;
use std::path::Path;
use yroom_sim::targets;

fn replay(target: &str, run: fn(&[u8])) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let mut files: Vec<_> =
        fs::read_dir(&dir).expect("a corpus").map(|entry| entry.expect("a file").path()).collect();
    files.sort();
    assert!(files.len() >= 20, "{} has {} files", dir.display(), files.len());
    for file in files {
        let bytes = fs::read(&file).expect("a readable file");
        let ran = std::panic::catch_unwind(|| run(&bytes));
        assert!(ran.is_ok(), "{} fails, see above", file.display());
    }
}

#[test]
fn wire() {
    replay("wire", targets::wire);
}

#[test]
fn update() {
    replay("update", targets::update);
}

#[test]
fn awareness() {
    replay("awareness", targets::awareness);
}

#[test]
fn world() {
    replay("world", targets::world);
}

/// What broke other implementations, one update a line, in hex.
#[test]
fn hostile_updates() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus");
    let mut files = vec![dir];
    let mut lines = 0;
    while let Some(path) = files.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).expect("a directory");
            files.extend(entries.map(|entry| entry.expect("an entry").path()));
            continue;
        }
        let text = fs::read_to_string(&path).unwrap_or_default();
        let updates: Vec<Vec<u8>> = text.lines().filter_map(from_hex).collect();
        lines += updates.len();
        for update in &updates {
            targets::wire(update);
            targets::update(&targets::frame_updates([&update[..]]));
        }
        targets::update(&targets::frame_updates(updates.iter().map(|update| &update[..])));
    }
    assert!(lines > 0, "no line was read");
}

fn from_hex(line: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> =
        line.chars().map_while(|digit| digit.to_digit(16)).map(|d| d as u8).collect();
    (digits.len() >= 2).then(|| digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}
