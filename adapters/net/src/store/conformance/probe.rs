//! A store used from a test: waits for answers, and makes updates to store.

use super::super::{Inbox, Store};
use bytes::{BufMut, Bytes};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};
use yroom::wire::varint;
use yroom::{Append, Batch, Input, RoomId, RoomName, Seq, StoreFault, StoreOp, Stored};

/// How long an answer may take: a store that forgets one would hang the test otherwise.
const PATIENCE: Duration = Duration::from_mins(2);

pub(super) struct Probe<S: Store> {
    store: S,
    inbox: Inbox,
    answers: RefCell<VecDeque<Input>>,
}

impl<S: Store> Probe<S> {
    pub(super) fn new(store: S) -> Self {
        Self { store, inbox: Inbox::new(), answers: RefCell::default() }
    }

    pub(super) fn reopen(self, open: &mut dyn FnMut() -> S) -> Self {
        // Closed before the next is made: it may hold a lock.
        drop(self);
        Self::new(open())
    }

    pub(super) fn close(&self) {
        self.store.close();
    }

    pub(super) fn load(&self, room: &RoomName) -> Result<Stored, StoreFault> {
        self.load_after(room, 0)
    }

    /// Loads; there are `before` other answers to come first.
    pub(super) fn load_after(&self, room: &RoomName, before: usize) -> Result<Stored, StoreFault> {
        self.submit(StoreOp::Load { room: ROOM, name: room.clone() });
        for _ in 0..before {
            self.answer();
        }
        match self.answer() {
            Input::Loaded { room: ROOM, result } => result,
            other => panic!("a load was answered by {other:?}"),
        }
    }

    pub(super) fn append(&self, room: &RoomName, batch: Batch) -> Result<(), StoreFault> {
        let last = batch.last();
        self.begin_append(room, batch);
        match self.answer() {
            Input::Durable { room: ROOM, upto } if upto == last => Ok(()),
            Input::WriteFailed { room: ROOM, seq, fault } if seq == last => Err(fault),
            other => panic!("an append was answered by {other:?}"),
        }
    }

    pub(super) fn compact(
        &self,
        room: &RoomName,
        upto: u64,
        snapshot: Bytes,
    ) -> Result<(), StoreFault> {
        self.begin_compact(room, upto, snapshot);
        match self.answer() {
            Input::Compacted { room: ROOM, upto: Seq(at), result } if at == upto => result,
            other => panic!("a compaction was answered by {other:?}"),
        }
    }

    pub(super) fn delete(&self, room: &RoomName) -> Result<(), StoreFault> {
        self.begin_delete(room);
        match self.answer() {
            Input::Deleted { room: ROOM, result } => result,
            other => panic!("a deletion was answered by {other:?}"),
        }
    }

    pub(super) fn begin_append(&self, room: &RoomName, batch: Batch) {
        self.submit(StoreOp::Append(Append { room: ROOM, name: room.clone(), batch }));
    }

    pub(super) fn begin_compact(&self, room: &RoomName, upto: u64, snapshot: Bytes) {
        let (name, upto) = (room.clone(), Seq(upto));
        self.submit(StoreOp::Compact { room: ROOM, name, upto, snapshot });
    }

    pub(super) fn begin_delete(&self, room: &RoomName) {
        self.submit(StoreOp::Delete { room: ROOM, name: room.clone() });
    }

    pub(super) fn begin_release(&self, room: &RoomName) {
        self.submit(StoreOp::Release { room: ROOM, name: room.clone() });
    }

    pub(super) fn all_succeed(&self, count: usize) {
        for result in self.results(count) {
            result.expect("an operation that has no reason to fail");
        }
    }

    pub(super) fn results(&self, count: usize) -> Vec<Result<(), StoreFault>> {
        let result = |input| match input {
            Input::Durable { .. } => Ok(()),
            Input::Compacted { result, .. } | Input::Deleted { result, .. } => result,
            Input::WriteFailed { fault, .. } => Err(fault),
            other => panic!("an append, compaction or deletion was answered by {other:?}"),
        };
        (0..count).map(|_| result(self.answer())).collect()
    }

    fn submit(&self, op: StoreOp) {
        let reply = self.inbox.reply_for(&op);
        self.store.submit(op, reply);
    }

    fn answer(&self) -> Input {
        if let Some(input) = self.answers.borrow_mut().pop_front() {
            return input;
        }
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        let mut cx = Context::from_waker(&waker);
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Poll::Ready(inputs) = self.inbox.poll_take(&mut cx) {
                let mut answers = self.answers.borrow_mut();
                answers.extend(inputs);
                return answers.pop_front().expect("what is ready is not empty");
            }
            assert!(Instant::now() < deadline, "an operation was never answered");
            std::thread::park_timeout(PATIENCE);
        }
    }
}

impl<S: Store> Drop for Probe<S> {
    fn drop(&mut self) {
        self.store.close();
    }
}

const ROOM: RoomId = RoomId::from_raw(1);

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// A Yjs update: client 1 writes `len` letters into the root type `t` from `clock` on.
pub(super) fn update_of(clock: u64, len: usize) -> Vec<u8> {
    let mut update = vec![1, 1, 1];
    varint::write(&mut update, clock);
    put_struct(&mut update, len);
    update.put_u8(0);
    update
}

/// The update that holds what `count` updates of one letter do.
pub(super) fn snapshot(count: u64) -> Bytes {
    let mut update = vec![1];
    varint::write(&mut update, count);
    update.put_slice(&[1, 0]);
    for _ in 0..count {
        put_struct(&mut update, 1);
    }
    update.put_u8(0);
    update.into()
}

/// A struct without origins: a string in the root type `t`.
pub(super) fn put_struct(update: &mut Vec<u8>, len: usize) {
    update.put_slice(&[4, 1, 1, b't']);
    varint::write(update, len as u64);
    update.put_bytes(b'a', len);
}
