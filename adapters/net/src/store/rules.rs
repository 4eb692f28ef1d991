//! What every store checks before it changes anything, so that all refuse the same.
//!
//! A refusal is a fault of the kind [`NotDone`](yroom::StoreFaultKind::NotDone): nothing was changed.

use yroom::update::{self, DeleteSet, Id, ScanLimits, UpdateError};
use yroom::{Batch, Seq, StoreFault, StoreFaultKind, Stored};

/// Whether a room that is stored up to `last`, of which its snapshot covers everything up to
/// `snapshot_upto`, can take `batch`: not if that left a hole, and not at a place that the snapshot
/// has swallowed.
pub fn check_append(snapshot_upto: Seq, last: Seq, batch: &Batch) -> Result<(), StoreFault> {
    let first = batch.first();
    if first <= snapshot_upto {
        return Err(refused(format!(
            "an append at {first:?}, but the snapshot covers everything up to {snapshot_upto:?}"
        )));
    }
    if first > last.next() {
        return Err(refused(format!("an append at {first:?}, but only {last:?} is reached")));
    }
    Ok(())
}

/// Whether a room stored as in [`check_append`] can be compacted up to `upto`: not beyond what it
/// has, and not back behind its snapshot. Up to the same place again is fine.
pub fn check_compact(snapshot_upto: Seq, last: Seq, upto: Seq) -> Result<(), StoreFault> {
    if upto < snapshot_upto {
        return Err(refused(format!(
            "a snapshot up to {upto:?}, but there is one up to {snapshot_upto:?}"
        )));
    }
    if upto > last || upto == Seq::ZERO {
        return Err(refused(format!("a snapshot up to {upto:?}, but only {last:?} is reached")));
    }
    Ok(())
}

/// Whether `snapshot` holds every struct and every deletion that `before` has up to `upto`, so that
/// it may replace them. Asked before anything is removed: a wrong snapshot would be the end of the
/// document.
pub fn check_snapshot(before: &Stored, upto: Seq, snapshot: &[u8]) -> Result<(), StoreFault> {
    let mut old = Coverage::default();
    if let Some(snapshot) = &before.snapshot {
        old.add(snapshot).map_err(|error| corrupt("the snapshot before", error))?;
    }
    for batch in before.log.iter().filter_map(|batch| batch.split(upto).0) {
        for update in batch.updates() {
            old.add(update).map_err(|error| corrupt("an update in the log", error))?;
        }
    }
    let mut new = Coverage::default();
    new.add(snapshot).map_err(|error| refused(format!("the snapshot is no update: {error}")))?;
    if let Some(id) = old.structs.first_missing_in(&new.structs) {
        return Err(refused(format!("the snapshot lacks {id:?}, which is stored")));
    }
    if let Some(id) = old.deletes.first_missing_in(&new.deletes) {
        return Err(refused(format!("the snapshot lacks the deletion of {id:?}, which is stored")));
    }
    Ok(())
}

/// Up to which place `stored` is made of well-formed updates, and what is wrong behind it.
pub fn check_content(stored: &Stored) -> (Seq, Option<String>) {
    let mut ignored = Coverage::default();
    if let Some(Err(error)) = stored.snapshot.as_deref().map(|snapshot| ignored.add(snapshot)) {
        return (Seq::ZERO, Some(format!("the snapshot: {error}")));
    }
    let mut place = stored.snapshot_upto;
    for update in stored.log.iter().flat_map(Batch::updates) {
        if let Err(error) = ignored.add(update) {
            return (place, Some(format!("the update at {:?}: {error}", place.next())));
        }
        place = place.next();
    }
    (place, None)
}

/// What updates cover. A set of deletions is a set of clock ranges, whatever they stand for.
#[derive(Default)]
struct Coverage {
    structs: Ranges,
    deletes: Ranges,
}

#[derive(Default)]
struct Ranges(DeleteSet);

impl Coverage {
    fn add(&mut self, update: &[u8]) -> Result<(), UpdateError> {
        // It was let in when it came, perhaps under other limits than today's.
        let scan = update::scan(update, &ScanLimits::NONE)?;
        scan.ranges.iter().for_each(|range| self.structs.0.insert(*range));
        scan.deletes.iter().for_each(|range| self.deletes.0.insert(*range));
        Ok(())
    }
}

impl Ranges {
    fn first_missing_in(&self, other: &Self) -> Option<Id> {
        let missing = self.0.difference(&other.0);
        missing.iter().next().map(|range| Id { client: range.client, clock: range.start })
    }
}

fn corrupt(what: &str, error: UpdateError) -> StoreFault {
    StoreFault::new(StoreFaultKind::Corrupt, format!("{what} is damaged: {error}"))
}

fn refused(message: String) -> StoreFault {
    StoreFault::new(StoreFaultKind::NotDone, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Client 1 writes "a" at each of `clocks`, and deletes `deletes`.
    fn update(clocks: std::ops::Range<u8>, deletes: Option<(u8, u8)>) -> Vec<u8> {
        let mut update = vec![1, clocks.len() as u8, 1, clocks.start];
        for _ in clocks {
            update.extend([4, 1, 1, b't', 1, b'a']);
        }
        match deletes {
            None => update.push(0),
            Some((clock, len)) => update.extend([1, 1, 1, clock, len]),
        }
        update
    }

    fn stored() -> Stored {
        let log = [update(2..3, None), update(3..5, Some((1, 1))), update(5..6, None)];
        Stored {
            snapshot: Some(update(0..2, None).into()),
            snapshot_upto: Seq(7),
            log: vec![Batch::of(Seq(8), log.iter().map(|it| &it[..])).expect("three")],
            ..Stored::default()
        }
    }

    #[test]
    fn a_snapshot_that_holds_everything_may_replace_it() {
        check_snapshot(&stored(), Seq(10), &update(0..6, Some((1, 1)))).expect("all of it");
        check_snapshot(&stored(), Seq(9), &update(0..5, Some((1, 1)))).expect("all up to there");
        check_snapshot(&stored(), Seq(10), &update(0..9, Some((1, 2)))).expect("more than all");
    }

    #[test]
    fn a_snapshot_that_lacks_anything_may_not() {
        let refuse = |upto, snapshot: &[u8], why: &str| {
            let fault = check_snapshot(&stored(), Seq(upto), snapshot).expect_err(why);
            assert_eq!(fault.kind, StoreFaultKind::NotDone, "{why}: {fault}");
        };
        refuse(10, &update(0..5, Some((1, 1))), "the last struct is missing");
        refuse(10, &update(1..6, Some((1, 1))), "the first struct is missing");
        refuse(10, &update(0..6, None), "the deletion is missing");
        refuse(10, &update(0..6, Some((2, 1))), "another deletion is there");
        refuse(10, update::EMPTY, "everything is missing");
        refuse(10, b"", "it is no update");
        refuse(10, &update(0..6, Some((1, 1)))[..20], "it is cut off");
    }

    #[test]
    fn a_damaged_log_is_not_replaced_at_all() {
        let mut stored = stored();
        stored.log.push(Batch::single(Seq(11), b"nonsense"));
        let fault = check_snapshot(&stored, Seq(11), &update(0..9, Some((1, 1)))).expect_err("why");
        assert_eq!(fault.kind, StoreFaultKind::Corrupt, "{fault}");
    }
}
