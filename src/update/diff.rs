//! What somebody lacks of an update.

use super::content::Kind;
use super::read::{Check, Section, Walk};
use super::write::{self, Writer};
use super::{DeleteSet, StateVector, UpdateError};
use std::borrow::Cow;

/// What somebody who has `have` lacks of the update: the structs beyond, the first of a client's
/// sliced where it straddles, and the whole delete set, as `diffUpdate` of Yjs.
pub fn diff(update: &[u8], have: &StateVector) -> Result<Vec<u8>, UpdateError> {
    let mut walk = Walk::new(update, Check::Bounds)?;
    let mut lacking = Writer::default();
    write_beyond(update, &mut walk, have, &mut lacking)?;
    Ok(lacking.finish_with(&update[walk.reader.at()..]))
}

/// What an update brings that is neither below `known` nor in `deleted`: `None` if nothing, the
/// update itself if all of it.
///
/// Structs are sliced where they straddle, and so are delete ranges.
pub fn novel_part<'a>(
    update: &'a [u8],
    known: &StateVector,
    deleted: &DeleteSet,
) -> Result<Option<Cow<'a, [u8]>>, UpdateError> {
    match novelty(update, known, deleted)? {
        Novelty::None => Ok(None),
        Novelty::All => Ok(Some(Cow::Borrowed(update))),
        Novelty::Part => {
            let mut walk = Walk::new(update, Check::Bounds)?;
            let mut novel = Writer::default();
            write_beyond(update, &mut walk, known, &mut novel)?;
            let mut deletes = walk.deletes()?;
            let mut deletions = DeleteSet::new();
            while let Some(range) = deletes.next()? {
                if range.start < range.end {
                    deleted.uncovered(range, |piece| deletions.insert(piece));
                }
            }
            Ok(Some(Cow::Owned(novel.finish(&deletions))))
        }
    }
}

#[derive(Clone, Copy)]
enum Novelty {
    None,
    Part,
    All,
}

fn novelty(
    update: &[u8],
    known: &StateVector,
    deleted: &DeleteSet,
) -> Result<Novelty, UpdateError> {
    let mut walk = Walk::new(update, Check::Bounds)?;
    let (mut any, mut all) = (false, true);
    while let Some(section) = walk.section()? {
        let have = known.get(section.client);
        all &= section.clock >= have && section.structs > 0;
        while let Some(read) = walk.next()? {
            any |= read.end_clock() > have && read.head.kind != Kind::Skip;
        }
    }
    let mut deletes = walk.deletes()?;
    while let Some(range) = deletes.next()? {
        any |= range.start < range.end && !deleted.contains(range);
        all &= !deleted.intersects(range);
    }
    Ok(match (any, all) {
        (false, _) => Novelty::None,
        (true, false) => Novelty::Part,
        (true, true) => Novelty::All,
    })
}

/// Writes the structs that end beyond `have`, and leaves the walk before the delete set.
fn write_beyond(
    update: &[u8],
    walk: &mut Walk<'_>,
    have: &StateVector,
    out: &mut Writer,
) -> Result<(), UpdateError> {
    while let Some(section) = walk.section()? {
        let from = have.get(section.client);
        beyond_of_section(update, walk, section, from, out)?;
    }
    Ok(())
}

/// Writes what of one section ends beyond `from`.
fn beyond_of_section(
    update: &[u8],
    walk: &mut Walk<'_>,
    section: Section,
    from: u32,
    out: &mut Writer,
) -> Result<(), UpdateError> {
    let mut left = section.structs;
    while let Some(first) = walk.next()? {
        // Nothing is gained by a section that starts with a Skip.
        if first.end_clock() <= from || first.head.kind == Kind::Skip {
            left -= 1;
            continue;
        }
        let offset = from.saturating_sub(first.clock);
        let body = out.section(section.client, first.clock + offset, left);
        write::sliced(body, update, section.client, &first, offset)?;
        while walk.next()?.is_some() {}
        body.extend_from_slice(&update[first.end..walk.reader.at()]);
        return Ok(());
    }
    Ok(())
}
