//! Rooms that are never stored, beside those that are: [`Transient`].

use super::{Reply, Store};
use std::fmt;
use std::sync::Arc;
use yroom::{RoomName, StoreOp, Stored};

/// A store that keeps some rooms in no way at all: for cursors of a whole application, chats, games.
///
/// Such a room is always absent when it is loaded, and everything in it counts as durable at once; it
/// lasts as long as somebody is in it, and [`Config::unload_after`](yroom::Config::unload_after)
/// longer. The store inside never hears of it. The choice has to be the same whenever a name is asked
/// about.
///
/// ```
/// use std::sync::Arc;
/// use yroom_net::store::{MemoryStore, Transient};
///
/// let store = Transient::new(Arc::new(MemoryStore::new()), |name| {
///     name.as_str().starts_with("chat/")
/// });
/// ```
pub struct Transient<S: ?Sized, F> {
    is_transient: F,
    store: Arc<S>,
}

impl<S, F> Transient<S, F>
where
    S: Store + ?Sized,
    F: Fn(&RoomName) -> bool + Send + Sync + 'static,
{
    /// Keeps in `store` the rooms of which `is_transient` says that they are not.
    pub fn new(store: Arc<S>, is_transient: F) -> Self {
        Self { is_transient, store }
    }
}

impl<S, F> Store for Transient<S, F>
where
    S: Store + ?Sized,
    F: Fn(&RoomName) -> bool + Send + Sync + 'static,
{
    fn submit(&self, op: StoreOp, reply: Reply) {
        if !(self.is_transient)(op.name()) {
            return self.store.submit(op, reply);
        }
        match op {
            StoreOp::Load { .. } => reply.loaded(Ok(Stored::default())),
            StoreOp::Append(_) => reply.durable(),
            StoreOp::Compact { .. } => reply.compacted(Ok(())),
            StoreOp::Delete { .. } => reply.deleted(Ok(())),
            StoreOp::Release { .. } => drop(reply),
        }
    }

    fn close(&self) {
        self.store.close();
    }
}

impl<S: fmt::Debug + ?Sized, F> fmt::Debug for Transient<S, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transient").field("store", &&self.store).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Inbox, MemoryStore};
    use super::*;
    use yroom::{Append, Batch, Input, RoomId, Seq};

    fn answer(store: &dyn Store, op: StoreOp) -> Input {
        let inbox = Inbox::new();
        let reply = inbox.reply_for(&op);
        store.submit(op, reply);
        inbox.take().remove(0)
    }

    #[test]
    fn a_transient_room_is_never_stored_and_the_others_are() {
        let inner = MemoryStore::new();
        let store = Transient::new(Arc::new(inner.clone()), |name| name.as_str() == "gone");
        let room = RoomId::from_raw(1);
        for (name, is_stored) in [("gone", false), ("kept", true)] {
            let name = RoomName::new(name).unwrap();
            let update = [1, 1, 7, 0, 4, 1, 4, b't', b'e', b'x', b't', 2, b'h', b'i', 0];
            let batch = Batch::single(Seq(1), &update);
            let append = StoreOp::Append(Append { room, name: name.clone(), batch });
            assert!(matches!(answer(&store, append), Input::Durable { upto: Seq(1), .. }));
            assert_eq!(!inner.get(&name).is_absent(), is_stored);
            let load = StoreOp::Load { room, name: name.clone() };
            let Input::Loaded { result: Ok(stored), .. } = answer(&store, load) else { panic!() };
            assert_eq!(!stored.is_absent(), is_stored);
            let snapshot = update.to_vec().into();
            let compact = StoreOp::Compact { room, name: name.clone(), upto: Seq(1), snapshot };
            assert!(matches!(answer(&store, compact), Input::Compacted { result: Ok(()), .. }));
            let delete = StoreOp::Delete { room, name: name.clone() };
            assert!(matches!(answer(&store, delete), Input::Deleted { result: Ok(()), .. }));
            assert!(inner.get(&name).is_absent());
        }
    }
}
