//! Where a room's file is.

use std::fmt::Write;
use std::path::PathBuf;
use yroom::RoomName;

/// What a part of a path may be long, less the endings: file systems allow 255 bytes.
const PART: usize = 200;

/// The ending of a room's file.
pub(crate) const ENDING: &str = ".room";

/// The path of a room's file below the directory of rooms.
///
/// Lower-case letters, digits, `-` and `_` stand for themselves, every other byte is `=` and two hex
/// digits: so names that differ only in case, or in how a character is composed, stay apart on
/// every file system, and no name leaves the directory. A long one is divided into directories,
/// whose names end in a single `=`. The first part spreads the rooms over 256 directories.
pub(crate) fn path_of(room: &RoomName) -> PathBuf {
    let mut path =
        PathBuf::from(format!("{:02x}", crc32c::crc32c(room.as_str().as_bytes()) & 0xff));
    let mut part = String::new();
    for byte in room.as_str().bytes() {
        if part.len() + 3 > PART {
            part.push('=');
            path.push(std::mem::take(&mut part));
        }
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => part.push(byte.into()),
            _ => write!(part, "={byte:02x}").expect("a string takes everything"),
        }
    }
    part.push_str(ENDING);
    path.push(part);
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(name: &str) -> String {
        let path = path_of(&RoomName::new(name).expect("a name"));
        path.to_str().expect("it is ASCII")[3..].to_owned()
    }

    #[test]
    fn names_are_escaped() {
        assert_eq!(path("notes-2_x"), "notes-2_x.room");
        assert_eq!(path("../A b"), "=2e=2e=2f=41=20b.room");
        assert_eq!(path("="), "=3d.room");
        assert_eq!(path("é"), "=c3=a9.room");
    }

    #[test]
    fn the_longest_name_fits_everywhere_and_differs_from_its_neighbours() {
        let long = "É".repeat(127);
        assert!(path(&long).split('/').all(|part| part.len() <= 255), "{}", path(&long));
        let a = "a".repeat(255);
        assert!(path(&a).split('/').all(|part| part.len() <= 255));
        assert_ne!(path(&a), path(&a[..254]));
        assert_ne!(path(&a[..198]), path(&a[..197]));
        // A directory of one name is never the file of another.
        assert!(path(&a).starts_with(&format!("{}=/", "a".repeat(198))));
    }
}
