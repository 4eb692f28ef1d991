//! Traces: what real Yjs emitted while somebody edited.

use super::judge;
use std::env;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

/// All traces of the directory that `YROOM_TRACES` names, by their names.
pub fn all() -> Vec<(String, Vec<Vec<u8>>)> {
    let home = env::var_os("YROOM_TRACES").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/traces"),
        PathBuf::from,
    );
    let Ok(files) = fs::read_dir(home) else { return Vec::new() };
    let mut paths: Vec<_> = files.map(|file| file.expect("a readable directory").path()).collect();
    paths.sort();
    paths.iter().filter_map(|path| read(path)).collect()
}

/// The updates of a trace; none if it is no trace.
pub fn read(path: &Path) -> Option<(String, Vec<Vec<u8>>)> {
    let name = path.file_name()?.to_str()?;
    let bytes = fs::read(path).expect("a readable file");
    let (name, bytes) = match name.strip_suffix(".zst") {
        Some(name) => (name, unpack(&bytes)),
        None => (name, bytes),
    };
    Some((name.strip_suffix(".bin")?.to_owned(), judge::list(&bytes)))
}

fn unpack(packed: &[u8]) -> Vec<u8> {
    let mut unpacked = Vec::new();
    ruzstd::decoding::StreamingDecoder::new(packed)
        .expect("it is zstd")
        .read_to_end(&mut unpacked)
        .expect("it is whole");
    unpacked
}
