//! The bytes of a room's file.
//!
//! ```text
//! file   = header record*
//! header = "yroom1\r\n" salt:u64 name_len:u64 name crc:u32
//! record = marker:u32 crc:u32 len:u64 place:u64 at_ms:i64 metadata_len:u32 metadata data
//! ```
//!
//! Numbers are little-endian; `len` is that of metadata and data together. The first record may be a snapshot, whose place is the last that it
//! covers; the others are batches, whose place is their first. A batch at a place that is there
//! already replaces it and all after it. Checksums (crc32c) begin with the file's salt, so that no
//! update can contain what looks like a record of the file that it is stored in.

use std::hash::{BuildHasher, Hasher, RandomState};
use yroom::RoomName;

const MAGIC: &[u8; 8] = b"yroom1\r\n";
const HEADER_FIXED: usize = 8 + 8 + 8;
pub(crate) const RECORD_HEADER: usize = 36;
const SNAPSHOT: &[u8; 4] = b"\xf7yS\x01";
const BATCH: &[u8; 4] = b"\xf7yB\x01";

/// How many places of a damaged file are tried in search for a record behind the damage.
const CANDIDATES: usize = 1_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Snapshot,
    Batch,
}

/// A record, its data still in the file's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    pub(crate) kind: Kind,
    pub(crate) place: u64,
    pub(crate) at_ms: i64,
    pub(crate) metadata: &'a [u8],
    pub(crate) data: &'a [u8],
}

/// What stands at a place in a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next<'a> {
    /// A sound record, and where the next begins.
    Record(Record<'a>, usize),
    /// The file is over.
    End,
    /// No sound record, nor any behind it: a write that a crash cut off.
    Torn,
    /// No sound record, but one behind it.
    Damaged,
}

/// A header's outcome.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Header {
    /// The salt, and where records begin.
    Sound(u32, usize),
    /// The file's creation was cut off: nothing was stored in it yet.
    Torn,
    /// Something else.
    Damaged(&'static str),
}

/// A new file's header, and its salt.
pub(crate) fn header(room: &RoomName) -> (u32, Vec<u8>) {
    let salt = RandomState::new().build_hasher().finish();
    let name = room.as_str().as_bytes();
    let mut bytes = MAGIC.to_vec();
    bytes.extend(salt.to_le_bytes());
    bytes.extend((name.len() as u64).to_le_bytes());
    bytes.extend(name);
    let crc = crc32c::crc32c(&bytes);
    bytes.extend(crc.to_le_bytes());
    (crc, bytes)
}

/// Reads the header of the file of `room`.
pub(crate) fn read_header(file: &[u8], room: &RoomName) -> Header {
    match parse_header(file) {
        Some((name, salt, end)) if name == room.as_str().as_bytes() => Header::Sound(salt, end),
        Some(_) => Header::Damaged("the file is another room's"),
        // Shorter than the header it would have, or never filled: the crash came before the sync.
        None if file.len() < HEADER_FIXED + room.as_str().len() + 4 => Header::Torn,
        None if file.iter().all(|byte| *byte == 0) => Header::Torn,
        None => Header::Damaged("the file's header is damaged"),
    }
}

/// The name of the room whose file this is.
pub(crate) fn name_in(file: &[u8]) -> Option<RoomName> {
    let (name, _, _) = parse_header(file)?;
    RoomName::new(std::str::from_utf8(name).ok()?).ok()
}

/// Whether a file without a sound header looks like one whose creation was cut off; for reports
/// only, as nobody knows whose it is.
pub(crate) fn is_unfinished(file: &[u8]) -> bool {
    let header = number(file, 16).map_or(u64::MAX, |name| name.saturating_add(28));
    (file.len() as u64) < header || file.iter().all(|byte| *byte == 0)
}

fn parse_header(file: &[u8]) -> Option<(&[u8], u32, usize)> {
    file.strip_prefix(MAGIC)?;
    let len = usize::try_from(number(file, 16)?).ok()?;
    let end = HEADER_FIXED.checked_add(len)?;
    let name = file.get(HEADER_FIXED..end)?;
    let crc = u32::from_le_bytes(file.get(end..end + 4)?.try_into().ok()?);
    // The header's own checksum is over the salt, so it salts as well.
    (crc32c::crc32c(&file[..end]) == crc).then_some((name, crc, end + 4))
}

/// The header of a record; its metadata and its data follow it.
pub(crate) fn record_header(salt: u32, record: &Record<'_>) -> [u8; RECORD_HEADER] {
    let mut bytes = [0; RECORD_HEADER];
    bytes[..4].copy_from_slice(match record.kind {
        Kind::Snapshot => SNAPSHOT,
        Kind::Batch => BATCH,
    });
    let len = (record.metadata.len() + record.data.len()) as u64;
    bytes[8..16].copy_from_slice(&len.to_le_bytes());
    bytes[16..24].copy_from_slice(&record.place.to_le_bytes());
    bytes[24..32].copy_from_slice(&record.at_ms.to_le_bytes());
    // Bounded far below that when it is asked for.
    let metadata = u32::try_from(record.metadata.len()).unwrap_or(u32::MAX);
    bytes[32..].copy_from_slice(&metadata.to_le_bytes());
    let crc = checksum(salt, &bytes, &[record.metadata, record.data]);
    bytes[4..8].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// What stands at `at`.
pub(crate) fn next(file: &[u8], salt: u32, at: usize) -> Next<'_> {
    if at == file.len() {
        return Next::End;
    }
    if let Some((record, end)) = sound(file, salt, at) {
        return Next::Record(record, end);
    }
    if is_anything_sound(file, salt, at + 1) { Next::Damaged } else { Next::Torn }
}

fn sound(file: &[u8], salt: u32, at: usize) -> Option<(Record<'_>, usize)> {
    let header = file.get(at..)?.get(..RECORD_HEADER)?;
    let kind = match header.first_chunk::<4>()? {
        SNAPSHOT => Kind::Snapshot,
        BATCH => Kind::Batch,
        _ => return None,
    };
    let start = at + RECORD_HEADER;
    let end = start.checked_add(usize::try_from(number(header, 8)?).ok()?)?;
    let content = file.get(start..end)?;
    let crc = u32::from_le_bytes(header[4..8].try_into().ok()?);
    if checksum(salt, header, &[content]) != crc {
        return None;
    }
    let at_ms = number(header, 24)?.cast_signed();
    let metadata = u32::from_le_bytes(header[32..].try_into().ok()?);
    let (metadata, data) = content.split_at_checked(metadata as usize)?;
    Some((Record { kind, place: number(header, 16)?, at_ms, metadata, data }, end))
}

/// Whether a record is found from `from` on; yes, too, if the search became too long, because
/// then it is not for a machine to say that nothing is lost.
fn is_anything_sound(file: &[u8], salt: u32, from: usize) -> bool {
    let mut tried = 0;
    for at in from..file.len().saturating_sub(RECORD_HEADER - 1) {
        if file[at] == BATCH[0] && file[at + 1] == BATCH[1] {
            tried += 1;
            if tried > CANDIDATES || sound(file, salt, at).is_some() {
                return true;
            }
        }
    }
    false
}

fn checksum(salt: u32, header: &[u8], content: &[&[u8]]) -> u32 {
    let crc = crc32c::crc32c_append(salt, &header[..4]);
    let crc = crc32c::crc32c_append(crc, &header[8..RECORD_HEADER]);
    content.iter().fold(crc, |crc, part| crc32c::crc32c_append(crc, part))
}

fn number(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(room: &RoomName) -> (u32, Vec<u8>, Vec<usize>) {
        let (salt, mut file) = header(room);
        let mut ends = vec![file.len()];
        for place in 1..=3_u64 {
            let data = vec![place as u8; 40];
            let metadata = &b"by me"[..place as usize];
            let record = Record { kind: Kind::Batch, place, at_ms: 5, metadata, data: &data };
            file.extend(record_header(salt, &record));
            file.extend(metadata);
            file.extend(&data);
            ends.push(file.len());
        }
        (salt, file, ends)
    }

    fn places(file: &[u8], salt: u32, mut at: usize) -> (Vec<u64>, Next<'_>) {
        let mut places = Vec::new();
        loop {
            match next(file, salt, at) {
                Next::Record(record, end) => {
                    places.push(record.place);
                    at = end;
                }
                other => return (places, other),
            }
        }
    }

    #[test]
    fn a_file_cut_off_at_any_byte_is_torn_there_and_sound_before() {
        let room = RoomName::new("r").expect("a name");
        let (salt, file, ends) = file(&room);
        for cut in 0..=file.len() {
            let file = &file[..cut];
            if cut < ends[0] {
                assert_eq!(read_header(file, &room), Header::Torn, "at {cut}");
                continue;
            }
            assert_eq!(read_header(file, &room), Header::Sound(salt, ends[0]));
            let whole = ends.iter().filter(|end| **end <= cut).count() - 1;
            let (places, rest) = places(file, salt, ends[0]);
            assert_eq!(places.len(), whole, "at {cut}");
            let expected = if ends.contains(&cut) { Next::End } else { Next::Torn };
            assert_eq!(rest, expected, "at {cut}");
        }
    }

    #[test]
    fn any_flipped_bit_before_the_last_record_is_damage_and_in_it_a_torn_end() {
        let room = RoomName::new("r").expect("a name");
        let (salt, file, ends) = file(&room);
        for at in 0..file.len() {
            for bit in 0..8 {
                let mut file = file.clone();
                file[at] ^= 1 << bit;
                if at < ends[0] {
                    assert!(matches!(read_header(&file, &room), Header::Damaged(_)), "at {at}");
                    continue;
                }
                let (places, rest) = places(&file, salt, ends[0]);
                let sound = ends.iter().filter(|end| **end <= at).count() - 1;
                assert_eq!(places.len(), sound, "at {at}");
                let expected = if at < ends[2] { Next::Damaged } else { Next::Torn };
                assert_eq!(rest, expected, "at {at}");
            }
        }
    }

    #[test]
    fn the_same_record_is_not_sound_in_another_file() {
        let room = RoomName::new("r").expect("a name");
        let (salt, _, _) = file(&room);
        let (_, other, ends) = file(&room);
        assert!(matches!(next(&other, salt, ends[0]), Next::Torn));
    }
}
