//! A disk that never fails, and documents on it.

use yroom::{Input, RoomName, Seq, StoreOp, Stored};
use yrs::{Array, Doc, ReadTxn, StateVector, Transact};

pub(crate) fn list(doc: &Doc) -> Vec<i64> {
    let list = doc.get_or_insert_array("list");
    let txn = doc.transact();
    list.iter(&txn).filter_map(|value| value.cast::<i64>().ok()).collect()
}

pub(crate) fn restore(doc: &Doc, stored: &Stored) {
    use yrs::updates::decoder::Decode;
    let mut txn = doc.transact_mut();
    let updates = stored.log.iter().flat_map(yroom::Batch::updates);
    for update in stored.snapshot.as_deref().into_iter().chain(updates) {
        txn.apply_update(yrs::Update::decode_v1(update).unwrap()).unwrap();
    }
    assert!(!txn.has_missing_updates());
}

pub(crate) fn whole(doc: &Doc) -> Vec<u8> {
    doc.transact().encode_diff_v1(&StateVector::default())
}

pub(crate) fn name(op: &StoreOp) -> &RoomName {
    match op {
        StoreOp::Load { name, .. }
        | StoreOp::Compact { name, .. }
        | StoreOp::Delete { name, .. }
        | StoreOp::Release { name, .. } => name,
        StoreOp::Append(append) => &append.name,
    }
}

/// A disk that never fails.
pub(crate) fn carry_out(stored: &mut Stored, op: &StoreOp) -> Option<Input> {
    match op {
        StoreOp::Load { room, .. } => {
            Some(Input::Loaded { room: *room, result: Ok(stored.clone()) })
        }
        StoreOp::Append(append) => {
            let first = append.batch.first();
            stored.log.retain(|batch| batch.last() < first);
            assert_eq!(stored.last().next(), first, "no holes");
            stored.log.push(append.batch.clone());
            Some(Input::Durable { room: append.room, upto: append.batch.last() })
        }
        StoreOp::Compact { room, upto, snapshot, .. } => {
            stored.log.retain(|batch| batch.last() > *upto);
            stored.snapshot = Some(snapshot.clone());
            stored.snapshot_upto = (*upto).max(Seq::ZERO);
            Some(Input::Compacted { room: *room, upto: *upto, result: Ok(()) })
        }
        StoreOp::Delete { room, .. } => {
            *stored = Stored::default();
            Some(Input::Deleted { room: *room, result: Ok(()) })
        }
        StoreOp::Release { .. } => None,
    }
}
