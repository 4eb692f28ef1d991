//! Going through all rooms.

use crate::error::{corrupt, not_done};
use crate::store::FileStore;
use crate::{file, format, name};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use yroom::{Append, RoomName, StoreFault};
use yroom_net::store::{Browse, Examined, Stamp, Survey};

/// More than any header has.
const HEADER: u64 = 512;

impl Browse for FileStore {
    fn rooms(&mut self) -> Result<Vec<RoomName>, StoreFault> {
        let paths = file::list(self.dir(), name::ENDING).map_err(|error| not_done(&error))?;
        let name = |path: &PathBuf| match self.whose(path) {
            Ok(Whose::Room(name)) => Some(name),
            Ok(Whose::Nobodys | Whose::Unknown) | Err(_) => None,
        };
        let mut names: Vec<RoomName> = paths.iter().filter_map(name).collect();
        names.sort();
        Ok(names)
    }

    fn examine(&mut self, room: &RoomName) -> Result<Examined, StoreFault> {
        let content = self.content(room)?.ok_or_else(|| corrupt("nothing is stored"))?;
        let remnant = content
            .torn
            .map(|torn| format!("the last {} bytes are an unfinished write", torn.len()));
        Ok(Examined {
            stored: content.stored,
            stamps: content.stamps,
            snapshot_ms: content.snapshot_ms,
            rows: content.records,
            bytes: content.standing.len,
            damage: content.damage,
            remnant,
        })
    }

    fn survey(&mut self) -> Result<Survey, StoreFault> {
        let mut survey = Survey::default();
        for path in file::list(self.dir(), "").map_err(|error| not_done(&error))? {
            let shown = path.to_string_lossy();
            let (list, what) = if shown.contains(".torn-") {
                (&mut survey.remnants, "an unfinished write, put aside".to_owned())
            } else if shown.ends_with(".new") {
                (&mut survey.remnants, "an unfinished compaction".to_owned())
            } else if !shown.ends_with(name::ENDING) {
                (&mut survey.problems, "no file of this store's".to_owned())
            } else {
                match self.whose(&path) {
                    Ok(Whose::Room(_)) => continue,
                    Ok(Whose::Nobodys) => (&mut survey.remnants, "an unfinished file".to_owned()),
                    Ok(Whose::Unknown) => {
                        let what = "its header is damaged, or another room's";
                        (&mut survey.problems, what.to_owned())
                    }
                    Err(error) => (&mut survey.problems, error.to_string()),
                }
            };
            list.push(format!("{shown}: {what}"));
        }
        Ok(survey)
    }

    fn restore(&mut self, rows: &[(Append, Stamp)]) -> Result<(), StoreFault> {
        for room in rows.chunk_by(|(a, _), (b, _)| a.name == b.name) {
            self.write_anew(room)?;
        }
        Ok(())
    }
}

/// Whom a file belongs to.
enum Whose {
    Room(RoomName),
    /// Its creation was cut off.
    Nobodys,
    Unknown,
}

impl FileStore {
    /// The room that a file belongs to by its header, if it also stands where that room's file does.
    fn whose(&self, path: &Path) -> io::Result<Whose> {
        let mut bytes = Vec::new();
        File::open(path)?.take(HEADER).read_to_end(&mut bytes)?;
        Ok(match format::name_in(&bytes) {
            Some(name) if self.dir().join(name::path_of(&name)) == *path => Whose::Room(name),
            None if format::is_unfinished(&bytes) => Whose::Nobodys,
            Some(_) | None => Whose::Unknown,
        })
    }
}
