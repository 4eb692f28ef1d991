//! How a store's answers come back to the shard that asked: [`Inbox`] and [`Reply`].

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use yroom::{Input, RoomId, Seq, StoreFault, StoreFaultKind, StoreOp, Stored};

/// Where the answers of stores gather for one shard, which takes them many at a time.
///
/// The handles that clones are share one content. There is one waker: one task polls.
#[derive(Clone, Default)]
pub struct Inbox {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    inputs: Vec<Input>,
    waker: Option<Waker>,
}

impl Inbox {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Everything that has come, in order; waits while that is nothing.
    pub fn poll_take(&self, cx: &mut Context<'_>) -> Poll<Vec<Input>> {
        let mut state = self.shared.lock();
        if state.inputs.is_empty() {
            match &mut state.waker {
                Some(waker) => waker.clone_from(cx.waker()),
                None => state.waker = Some(cx.waker().clone()),
            }
            return Poll::Pending;
        }
        Poll::Ready(std::mem::take(&mut state.inputs))
    }

    /// Everything that has come, in order, without waiting.
    pub fn take(&self) -> Vec<Input> {
        std::mem::take(&mut self.shared.lock().inputs)
    }

    /// The place for the answer to `op`.
    pub fn reply_for(&self, op: &StoreOp) -> Reply {
        let owed = match op {
            StoreOp::Load { room, .. } => Owed::Load { room: *room },
            StoreOp::Append(append) => {
                Owed::Append { room: append.room, last: append.batch.last() }
            }
            StoreOp::Compact { room, upto, .. } => Owed::Compact { room: *room, upto: *upto },
            StoreOp::Delete { room, .. } => Owed::Delete { room: *room },
            StoreOp::Release { .. } => Owed::Nothing,
        };
        Reply { inbox: Arc::clone(&self.shared), owed }
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").field("waiting", &self.shared.lock().inputs.len()).finish()
    }
}

impl Shared {
    /// A push cannot panic half-way, so a poisoned lock holds nothing broken.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, inputs: impl IntoIterator<Item = Input>) {
        let waker = {
            let mut state = self.lock();
            state.inputs.extend(inputs);
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// The place for the answer to one [`StoreOp`].
///
/// Dropped without an answer, it reports a failure of unknown effect; but for
/// [`StoreOp::Release`], which has none.
#[must_use = "dropped unanswered, it reports a failure"]
pub struct Reply {
    inbox: Arc<Shared>,
    owed: Owed,
}

#[derive(Clone, Copy, Debug)]
enum Owed {
    Load { room: RoomId },
    Append { room: RoomId, last: Seq },
    Compact { room: RoomId, upto: Seq },
    Delete { room: RoomId },
    Nothing,
}

/// What became of an operation, before it is said whose it was.
#[derive(Debug)]
pub(super) enum Answer {
    Loaded(Result<Stored, StoreFault>),
    Durable,
    Compacted(Result<(), StoreFault>),
    Deleted(Result<(), StoreFault>),
    Failed(StoreFault),
}

impl Reply {
    /// Answers a [`StoreOp::Load`].
    pub fn loaded(self, result: Result<Stored, StoreFault>) {
        self.answer(Answer::Loaded(result));
    }

    /// Answers a [`StoreOp::Append`]: it is durable, and so is everything before it.
    pub fn durable(self) {
        self.answer(Answer::Durable);
    }

    /// Answers a [`StoreOp::Compact`].
    pub fn compacted(self, result: Result<(), StoreFault>) {
        self.answer(Answer::Compacted(result));
    }

    /// Answers a [`StoreOp::Delete`].
    pub fn deleted(self, result: Result<(), StoreFault>) {
        self.answer(Answer::Deleted(result));
    }

    /// Answers any operation: it failed.
    pub fn failed(self, fault: StoreFault) {
        self.answer(Answer::Failed(fault));
    }

    fn answer(mut self, answer: Answer) {
        let input = self.input(answer);
        self.inbox.push(input);
    }

    /// Answers many at once: each inbox is locked, and its task woken, once.
    pub(super) fn answer_all(answers: Vec<(Self, Answer)>) {
        let mut inputs: Vec<(Arc<Shared>, Vec<Input>)> = Vec::new();
        for (mut reply, answer) in answers {
            let Some(input) = reply.input(answer) else { continue };
            // There are as many inboxes as shards: a handful.
            match inputs.iter_mut().find(|(inbox, _)| Arc::ptr_eq(inbox, &reply.inbox)) {
                Some((_, inputs)) => inputs.push(input),
                None => inputs.push((Arc::clone(&reply.inbox), vec![input])),
            }
        }
        for (inbox, inputs) in inputs {
            inbox.push(inputs);
        }
    }

    /// The answer as the hub takes it; nothing is owed after it.
    fn input(&mut self, answer: Answer) -> Option<Input> {
        let owed = std::mem::replace(&mut self.owed, Owed::Nothing);
        Some(match (owed, answer) {
            (Owed::Nothing, _) => return None,
            (Owed::Load { room }, Answer::Loaded(result)) => Input::Loaded { room, result },
            (Owed::Append { room, last }, Answer::Durable) => Input::Durable { room, upto: last },
            (Owed::Compact { room, upto }, Answer::Compacted(result)) => {
                Input::Compacted { room, upto, result }
            }
            (Owed::Delete { room }, Answer::Deleted(result)) => Input::Deleted { room, result },
            (owed, Answer::Failed(fault)) => owed.failure(fault),
            (
                owed,
                answer @ (Answer::Loaded(_)
                | Answer::Durable
                | Answer::Compacted(_)
                | Answer::Deleted(_)),
            ) => owed.failure(StoreFault::new(
                StoreFaultKind::Unknown,
                format!("the store answered {owed:?} with {answer:?}"),
            )),
        })
    }
}

impl Owed {
    fn failure(self, fault: StoreFault) -> Input {
        match self {
            Self::Load { room } => Input::Loaded { room, result: Err(fault) },
            Self::Append { room, last } => Input::WriteFailed { room, seq: last, fault },
            Self::Compact { room, upto } => Input::Compacted { room, upto, result: Err(fault) },
            Self::Delete { room } => Input::Deleted { room, result: Err(fault) },
            Self::Nothing => unreachable!("asked only for what is owed"),
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        let fault = StoreFault::new(StoreFaultKind::Unknown, "the store gave no answer");
        if let Some(input) = self.input(Answer::Failed(fault)) {
            self.inbox.push([input]);
        }
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Reply").field(&self.owed).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;
    use yroom::{Append, Batch, RoomName};

    #[derive(Default)]
    struct Count(AtomicUsize);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn append(last: u64) -> StoreOp {
        StoreOp::Append(Append {
            room: RoomId::from_raw(7),
            name: RoomName::new("r").unwrap(),
            batch: Batch::single(Seq(last), b"x"),
        })
    }

    #[test]
    fn many_answers_are_one_wake_and_come_in_order() {
        let inbox = Inbox::new();
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        let mut cx = Context::from_waker(&waker);
        assert!(inbox.poll_take(&mut cx).is_pending());
        let replies = (1..=9).map(|n| (inbox.reply_for(&append(n)), Answer::Durable)).collect();
        Reply::answer_all(replies);
        inbox.reply_for(&append(10)).durable();
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        let Poll::Ready(inputs) = inbox.poll_take(&mut cx) else { panic!("nothing came") };
        let places: Vec<u64> = inputs
            .iter()
            .map(|input| match input {
                Input::Durable { upto, .. } => upto.0,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(places, (1..=10).collect::<Vec<_>>());
        assert!(inbox.poll_take(&mut cx).is_pending());
    }

    #[test]
    fn an_unanswered_operation_has_failed_with_unknown_effect() {
        let inbox = Inbox::new();
        drop(inbox.reply_for(&append(3)));
        match &inbox.take()[..] {
            [Input::WriteFailed { seq: Seq(3), fault, .. }] => {
                assert_eq!(fault.kind, StoreFaultKind::Unknown);
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_release_needs_no_answer() {
        let inbox = Inbox::new();
        let op = StoreOp::Release { room: RoomId::from_raw(1), name: RoomName::new("r").unwrap() };
        drop(inbox.reply_for(&op));
        assert!(inbox.take().is_empty());
    }

    #[test]
    fn an_answer_of_the_wrong_kind_is_a_failure_not_an_acknowledgement() {
        let inbox = Inbox::new();
        inbox.reply_for(&append(1)).loaded(Ok(Stored::default()));
        assert!(matches!(&inbox.take()[..], [Input::WriteFailed { .. }]));
    }
}
