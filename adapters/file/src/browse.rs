//! Going through all rooms.

use crate::error::{corrupt, not_done};
use crate::store::FileStore;
use crate::{file, format, name};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use yroom::{RoomName, StoreFault};
use yroom_net::store::{Browse, Examined};

/// More than any header has.
const HEADER: u64 = 512;

impl Browse for FileStore {
    fn rooms(&mut self) -> Result<Vec<RoomName>, StoreFault> {
        let paths = file::list(self.dir(), name::ENDING).map_err(|error| not_done(&error))?;
        let mut names: Vec<RoomName> =
            paths.iter().filter_map(|path| self.name_of(path).ok()?).collect();
        names.sort();
        Ok(names)
    }

    fn examine(&mut self, room: &RoomName) -> Result<Examined, StoreFault> {
        let path = self.dir().join(name::path_of(room));
        let content = file::read(&path, room)?.ok_or_else(|| corrupt("nothing is stored"))?;
        let remnant = content
            .torn
            .map(|torn| format!("the last {} bytes are an unfinished write", torn.len()));
        Ok(Examined {
            stored: content.stored,
            rows: content.records,
            bytes: content.standing.len,
            changed_ms: (content.records > 0).then_some(content.changed_ms),
            damage: content.damage,
            remnant,
        })
    }

    fn survey(&mut self) -> Result<Vec<String>, StoreFault> {
        let paths = file::list(self.dir(), "").map_err(|error| not_done(&error))?;
        let problem = |path: &Path| match path.to_string_lossy() {
            it if it.contains(".torn-") => Some("an unfinished write, put aside".to_owned()),
            it if it.ends_with(".new") => Some("an unfinished compaction, of no use".to_owned()),
            it if it.ends_with(name::ENDING) => match self.name_of(path) {
                Ok(Some(_)) => None,
                Ok(None) => Some("not the file of the room that its header names".to_owned()),
                Err(error) => Some(error.to_string()),
            },
            _ => Some("no file of this store's".to_owned()),
        };
        let problems = paths.iter().filter_map(|path| Some((path, problem(path)?)));
        Ok(problems.map(|(path, problem)| format!("{}: {problem}", path.display())).collect())
    }
}

impl FileStore {
    /// The room that a file belongs to by its header, if it also stands where that room's file does.
    fn name_of(&self, path: &Path) -> io::Result<Option<RoomName>> {
        let mut bytes = Vec::new();
        File::open(path)?.take(HEADER).read_to_end(&mut bytes)?;
        let name = format::name_in(&bytes);
        Ok(name.filter(|name| self.dir().join(name::path_of(name)) == *path))
    }
}
