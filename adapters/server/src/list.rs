//! `yroom list`.

use crate::commands::{open_existing, room_name};
use crate::options::Options;
use crate::utc::utc;
use std::io::{self, Write};
use std::process::ExitCode;
use yroom_net::store::{Entry, Listed};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The room whose history to list [default: lists the rooms].
    room: Option<String>,
}

pub(crate) fn run(args: &Args, options: &Options) -> Result<ExitCode, String> {
    let mut store = open_existing(&options.data_dir)?;
    let out = &mut io::stdout().lock();
    let written = match &args.room {
        None => {
            let rooms = store.list().map_err(|fault| fault.to_string())?;
            rooms.iter().try_for_each(|room| writeln!(out, "{}", listed(room)))
        }
        Some(room) => {
            let name = room_name(room)?;
            let examined = store.examine(&name).map_err(|fault| format!("{name:?}: {fault}"))?;
            if let Some(damage) = &examined.damage {
                eprintln!("yroom: {name:?} is damaged: {damage}");
            }
            let upto = examined.stored.snapshot_upto.0;
            let folded = examined.stored.snapshot.as_ref().map_or(Ok(()), |snapshot| {
                let at = examined.snapshot_ms.map(utc).unwrap_or_default();
                writeln!(out, "1-{upto}\t{at}\t{}\tfolded into a snapshot", snapshot.len())
            });
            folded.and_then(|()| {
                examined.history().try_for_each(|it| writeln!(out, "{}", entry(&it)))
            })
        }
    };
    // Whoever reads it may have seen enough.
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.to_string()),
        Ok(()) | Err(_) => Ok(ExitCode::SUCCESS),
    }
}

/// Last change, updates, bytes and name, with tabs between them: no name has one.
fn listed(room: &Listed) -> String {
    let changed = room.changed_ms.map_or("-".to_owned(), utc);
    format!("{changed}\t{}\t{}\t{}", room.updates, room.bytes, room.name)
}

/// Places, time, bytes and metadata.
fn entry(entry: &Entry<'_>) -> String {
    let (first, last) = (entry.first.0, entry.last.0);
    let places = if first == last { first.to_string() } else { format!("{first}-{last}") };
    format!("{places}\t{}\t{}\t{}", utc(entry.at_ms), entry.bytes, shown(entry.metadata))
}

/// Text as it is, but for what would break the line; anything else in hex.
fn shown(metadata: &[u8]) -> String {
    match std::str::from_utf8(metadata) {
        Ok(text) => text.chars().flat_map(escaped).collect(),
        Err(_) => metadata.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(hex).collect(),
    }
}

fn hex(digit: u8) -> char {
    char::from_digit(digit.into(), 16).unwrap_or('?')
}

fn escaped(c: char) -> impl Iterator<Item = char> {
    let (plain, escape) =
        if c.is_control() { (None, Some(c.escape_default())) } else { (Some(c), None) };
    plain.into_iter().chain(escape.into_iter().flatten())
}

#[cfg(test)]
mod tests {
    use super::*;
    use yroom::{Batch, RoomName, Seq};

    #[test]
    fn a_line_has_what_was_said_about_an_update_and_stays_a_line() {
        let batch = Batch::of(Seq(3), [&b"a"[..], b"b"]).expect("two");
        let line = |metadata| {
            let (first, last) = (batch.first(), batch.last());
            entry(&Entry { first, last, at_ms: 0, metadata, bytes: 4, batch: &batch })
        };
        assert_eq!(line(b"by \xc3\xa9va\n"), "3-4\t1970-01-01T00:00:00Z\t4\tby éva\\n");
        assert_eq!(line(b"\xff\x00"), "3-4\t1970-01-01T00:00:00Z\t4\tff00");
        let name = RoomName::new("r").expect("a name");
        let room = Listed { name, updates: 4, rows: 1, bytes: 9, changed_ms: Some(1_000) };
        assert_eq!(listed(&room), "1970-01-01T00:00:01Z\t4\t9\tr");
    }
}
