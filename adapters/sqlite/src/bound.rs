//! A bound on the size of the database: what can be freed is freed, and no document is lost for it.

use crate::error::fault;
use crate::store::SqliteStore;
use crate::tables::{Tables, corrupt};
use rusqlite::{Connection, OptionalExtension};
use std::collections::VecDeque;
use yroom::{Batch, RoomName, StoreFault, StoreFaultKind, update};
use yroom_net::store::Tidied;

/// The database is looked at once in so many rounds of work.
const ROUNDS: u32 = 64;
/// When nothing could be freed, not before so many.
const ROUNDS_AT_REST: u32 = 4_096;
/// Rooms that are looked at together, to begin with the one that changed longest ago.
const ROOMS: i64 = 1_024;
/// Pages given back at a time; other rooms' commits wait for it.
const PAGES: i64 = 1_024;
/// A log smaller than a page, or than such a part of its snapshot, is not worth writing that anew.
const WORTH: i64 = 4_096;
const PART: i64 = 64;

/// What the database may grow to, and how far freeing is.
#[derive(Debug)]
pub(crate) struct Bound {
    bytes: u64,
    /// Rounds until the database is looked at.
    wait: u32,
    work: Work,
    /// The size that was told last, while it is above the bound.
    told: u64,
}

/// What there is to do.
#[derive(Debug, Default)]
enum Work {
    /// Nothing: it is below the bound, or was when it was looked at last.
    #[default]
    None,
    /// Rooms at rest are folded.
    Folding(Walk),
    /// They are, and what that freed is given back to the file system.
    Vacuuming { folded: u64 },
}

/// A walk over all rooms.
#[derive(Debug, Default)]
struct Walk {
    /// The last room that was looked at.
    after: i64,
    /// Of those looked at, the ones with a log, beginning with the one that changed longest ago.
    rooms: VecDeque<i64>,
    folded: u64,
}

/// Pages of the database.
#[derive(Clone, Copy, Debug)]
struct Pages {
    all: i64,
    free: i64,
    size: i64,
}

impl Bound {
    pub(crate) fn new(bytes: u64) -> Self {
        Self { bytes, wait: 0, work: Work::None, told: 0 }
    }

    /// Freeing goes on below the bound, so that it does not begin anew with the next commit.
    fn goal(&self) -> u64 {
        self.bytes - self.bytes / 16
    }

    /// Whether this is a round in which there is something to do.
    fn is_due(&mut self) -> bool {
        match &self.work {
            Work::Folding(_) | Work::Vacuuming { .. } => true,
            Work::None => {
                self.wait = self.wait.saturating_sub(1);
                self.wait == 0
            }
        }
    }

    /// What to tell, if it is news: the outcome, once for each time that the bound was crossed, and
    /// then when the database has grown by a sixteenth.
    fn news(&mut self, bytes: u64, folded: u64) -> Option<String> {
        let bound = self.bytes;
        if bytes <= bound {
            let again = std::mem::take(&mut self.told) > 0;
            let sentence =
                format!("the database has {bytes} bytes, and {bound} are the most wanted");
            return match folded {
                0 => again.then_some(sentence),
                n => Some(format!("{sentence}: the logs of {n} rooms at rest were folded")),
            };
        }
        if self.told > 0 && bytes < self.told.saturating_add(self.told / 16) {
            return None;
        }
        self.told = bytes;
        Some(format!(
            "the database has {bytes} bytes, more than the {bound} that are wanted, and nothing is left \
             to be freed: the logs of {folded} rooms at rest were folded, and documents are not deleted"
        ))
    }
}

impl Pages {
    fn of(db: &Connection) -> rusqlite::Result<Self> {
        let read = |sql: &str| db.prepare_cached(sql)?.query_row([], |row| row.get::<_, i64>(0));
        Ok(Self {
            all: read("PRAGMA page_count")?,
            free: read("PRAGMA freelist_count")?,
            size: read("PRAGMA page_size")?,
        })
    }

    const fn bytes(self) -> u64 {
        self.all.saturating_mul(self.size).unsigned_abs()
    }

    const fn used(self) -> u64 {
        (self.all - self.free).saturating_mul(self.size).unsigned_abs()
    }
}

impl SqliteStore {
    /// Does a little towards the bound: folds one room, or gives some pages back.
    pub(crate) fn keep_bound(&mut self) -> Result<Tidied, StoreFault> {
        let Some(mut bound) = self.bound.take_if(Bound::is_due) else { return Ok(Tidied::Done) };
        // Whatever comes of it, a failure too: it is not tried again with the next commit.
        let work = std::mem::take(&mut bound.work);
        bound.wait = ROUNDS_AT_REST;
        let bound = self.bound.insert(bound);
        let (bytes, goal) = (bound.bytes, bound.goal());
        let pages = self.pages()?;
        let next = match work {
            Work::None if pages.bytes() <= bytes => {
                return Ok(self.rest(pages, 0, ROUNDS));
            }
            Work::None => Work::Folding(Walk::default()),
            Work::Folding(walk) if pages.used() <= goal => Work::Vacuuming { folded: walk.folded },
            Work::Folding(mut walk) => match self.fold_next(&mut walk)? {
                Some(()) => Work::Folding(walk),
                None => Work::Vacuuming { folded: walk.folded },
            },
            Work::Vacuuming { folded } if pages.free > 0 && pages.bytes() > goal => {
                vacuum(self.db()?, PAGES).map_err(|error| fault(&error))?;
                Work::Vacuuming { folded }
            }
            Work::Vacuuming { folded } => {
                // The file is cut when the log has been written back. Failing is no harm.
                let _ = checkpoint(self.db()?);
                let pages = self.pages()?;
                let wait = if pages.bytes() <= bytes { ROUNDS } else { ROUNDS_AT_REST };
                return Ok(self.rest(pages, folded, wait));
            }
        };
        if let Some(bound) = &mut self.bound {
            bound.work = next;
        }
        Ok(Tidied::More)
    }

    fn rest(&mut self, pages: Pages, folded: u64, wait: u32) -> Tidied {
        if let Some(bound) = &mut self.bound {
            bound.wait = wait;
            if let Some(news) = bound.news(pages.bytes(), folded) {
                (self.on_notice)(&news);
            }
        }
        Tidied::Done
    }

    fn pages(&self) -> Result<Pages, StoreFault> {
        Pages::of(self.db()?).map_err(|error| fault(&error))
    }

    /// Folds the next room at rest; `None` when there is none left.
    fn fold_next(&self, walk: &mut Walk) -> Result<Option<()>, StoreFault> {
        loop {
            let Some(id) = walk.rooms.pop_front() else {
                if self.look_at_more(walk).map_err(|error| fault(&error))? {
                    continue;
                }
                return Ok(None);
            };
            match self.fold_at_rest(id) {
                Ok(false) => {}
                Ok(true) => {
                    walk.folded += 1;
                    return Ok(Some(()));
                }
                // `check` and its next load say so; the other rooms can be folded.
                Err(fault) if fault.kind == StoreFaultKind::Corrupt => {}
                Err(fault) => return Err(fault),
            }
        }
    }

    /// Whether there were more rooms.
    fn look_at_more(&self, walk: &mut Walk) -> rusqlite::Result<bool> {
        let Some(db) = &self.db else { return Ok(false) };
        let mut select = db.prepare_cached(
            "SELECT id, (SELECT at_ms FROM log WHERE room = id ORDER BY first DESC LIMIT 1)
             FROM room WHERE id > ?1 ORDER BY id LIMIT ?2",
        )?;
        let mut rows = select.query([walk.after, ROOMS])?;
        let (mut found, mut any) = (Vec::new(), false);
        while let Some(row) = rows.next()? {
            any = true;
            walk.after = row.get(0)?;
            if let Some(at_ms) = row.get::<_, Option<i64>>(1)? {
                found.push((at_ms, walk.after));
            }
        }
        found.sort_unstable();
        walk.rooms.extend(found.into_iter().map(|(_, id)| id));
        Ok(any)
    }

    /// Puts one snapshot in the place of all that a room has; whether that was worth it.
    fn fold_at_rest(&self, id: i64) -> Result<bool, StoreFault> {
        let tables = self.tables()?;
        let name = name_of(tables.db, id)?;
        // What is in use is the engine's to fold: it may have rows on their way that stand on these.
        if self.rooms.contains_key(&name) {
            return Ok(false);
        }
        if !is_worth_it(tables, id).map_err(|error| fault(&error))? {
            return Ok(false);
        }
        self.transact(|tables| {
            let stored = tables.read(id)?.stored;
            let updates = stored.log.iter().flat_map(Batch::updates);
            let parts = stored.snapshot.as_deref().into_iter().chain(updates);
            let merged =
                update::merge_in_pieces(parts).map_err(|error| corrupt(error.to_string()))?;
            tables.fold(id, stored.last(), &merged)
        })?;
        Ok(true)
    }
}

/// Gives so many free pages back.
pub(crate) fn vacuum(db: &Connection, pages: i64) -> rusqlite::Result<()> {
    let mut vacuum = db.prepare(&format!("PRAGMA incremental_vacuum({pages})"))?;
    let mut rows = vacuum.query([])?;
    while rows.next()?.is_some() {}
    Ok(())
}

/// Writes the log back, and cuts it and the file.
pub(crate) fn checkpoint(db: &Connection) -> rusqlite::Result<()> {
    db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
}

fn name_of(db: &Connection, id: i64) -> Result<RoomName, StoreFault> {
    let name: Option<String> = db
        .prepare_cached("SELECT name FROM room WHERE id = ?1")
        .and_then(|mut it| it.query_row([id], |row| row.get(0)).optional())
        .map_err(|error| fault(&error))?;
    // Gone since, or damaged.
    name.and_then(|name| RoomName::new(&name).ok()).ok_or_else(|| corrupt("it has no name"))
}

/// Whether a room has a log that takes room. Reads no content: a long blob's length stands before it.
fn is_worth_it(tables: Tables<'_>, id: i64) -> rusqlite::Result<bool> {
    let mut select = tables.db.prepare_cached(
        "SELECT count(*), coalesce(sum(length(data) + length(metadata) + 64), 0),
            (SELECT length(data) FROM snapshot WHERE room = ?1)
         FROM log WHERE room = ?1",
    )?;
    let (rows, bytes, snapshot): (i64, i64, Option<i64>) =
        select.query_row([id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let several = rows + i64::from(snapshot.is_some()) > 1;
    Ok(several && bytes >= WORTH.max(snapshot.unwrap_or(0) / PART))
}
