//! Reads a `FileYStore`'s file.

use super::{Found, millis};
use std::fs;
use std::path::Path;
use yroom::wire::varint;
use yroom_net::store::Stamp;

const HEADER: &[u8] = b"VERSION:2\n";

/// Reads one room. A record that a crash cut off is a failure to report; what is before it counts.
pub(super) fn read(path: &Path, room: Option<&str>) -> Result<Found, String> {
    let bytes = fs::read(path).map_err(|error| error.to_string())?;
    let Some(records) = bytes.strip_prefix(HEADER) else {
        return Err(match bytes.strip_prefix(b"VERSION:") {
            Some(_) => "a FileYStore of another version than 2".to_owned(),
            None => "neither a SQLite database nor a file of FileYStore's".to_owned(),
        });
    };
    let mut found = Found { path: name(path, room)?, ..Found::default() };
    let mut rest = records;
    while !rest.is_empty() {
        let at = bytes.len() - rest.len();
        match record(&mut rest) {
            Ok((update, stamp)) => found.take(&format!("the record at byte {at}"), update, stamp),
            Err(Some(update)) => {
                // The update itself is whole: the crash came between the record's three writes.
                found.take(&format!("the record at byte {at}"), update, Stamp::default());
                break;
            }
            Err(None) => {
                let lost = bytes.len() - at;
                found.failures.push(format!("the last {lost} bytes are an unfinished record"));
                break;
            }
        }
    }
    Ok(found)
}

/// A record's update and what stands beside it; of an unfinished record, the update if that is whole.
fn record<'a>(rest: &mut &'a [u8]) -> Result<(&'a [u8], Stamp), Option<&'a [u8]>> {
    let update = part(rest).ok_or(None)?;
    let (Some(metadata), Some(time)) = (part(rest), part(rest)) else { return Err(Some(update)) };
    let time = time.first_chunk().map_or(0.0, |time| f64::from_le_bytes(*time));
    Ok((update, Stamp { at_ms: millis(time), metadata: metadata.to_vec().into() }))
}

fn part<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let mut after = *rest;
    let len = usize::try_from(varint::read(&mut after)?).ok()?;
    let (part, after) = after.split_at_checked(len)?;
    *rest = after;
    Some(part)
}

fn name(path: &Path, room: Option<&str>) -> Result<String, String> {
    if let Some(room) = room {
        return Ok(room.to_owned());
    }
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.ok_or("the file's name is no room's name: give one with --room")?;
    Ok(name.strip_suffix(".y").unwrap_or(name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three records, the second's metadata not empty; and where each part ends.
    fn file() -> (Vec<u8>, Vec<usize>) {
        let (mut file, mut ends) = (HEADER.to_vec(), Vec::new());
        for (clock, metadata) in [(0, &b""[..]), (1, b"by me"), (2, b"")] {
            let update = [1, 1, 1, clock, 4, 1, 1, b't', 1, b'a', 0];
            for part in [&update[..], metadata, &1.5_f64.to_le_bytes()] {
                varint::write(&mut file, part.len() as u64);
                file.extend(part);
                ends.push(file.len());
            }
        }
        (file, ends)
    }

    #[test]
    fn a_file_cut_off_at_any_byte_gives_every_update_that_is_whole() {
        let (file, ends) = file();
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("notes.y");
        for cut in HEADER.len()..=file.len() {
            fs::write(&path, &file[..cut]).expect("it is written");
            let found = read(&path, None).expect("the header is whole");
            assert_eq!(found.path, "notes");
            let whole = ends.iter().step_by(3).filter(|end| **end <= cut).count();
            assert_eq!(found.updates.len(), whole, "cut at {cut}");
            for (nth, update) in found.updates.iter().enumerate() {
                let finished = ends[nth * 3 + 2] <= cut;
                let stamp = Stamp { at_ms: 1_500, metadata: [&b""[..], b"by me", b""][nth].into() };
                assert_eq!(update.stamp, if finished { stamp } else { Stamp::default() });
            }
            let between = ends.iter().skip(2).step_by(3).any(|end| *end == cut);
            let inside = ends.iter().step_by(3).zip([HEADER.len(), ends[2], ends[5]]);
            let torn = inside.filter(|(end, start)| *start < cut && cut < **end).count();
            assert_eq!(found.failures.len(), torn, "cut at {cut}");
            assert!(!between || torn == 0);
        }
    }

    #[test]
    fn other_files_are_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("x");
        for (content, words) in [("VERSION:1\n", "another version"), ("hello", "neither")] {
            fs::write(&path, content).expect("it is written");
            assert!(read(&path, None).expect_err("no").contains(words));
        }
    }
}
