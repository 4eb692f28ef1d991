//! Whose turn it is: those who bring much wait for each other, and nobody else waits for them longer
//! than for one.
//!
//! The executor gives every task that is ready its turn, first come, first served. With a hundred
//! connections that always have more to bring, whoever has one word to say would wait for a hundred
//! turns. So they stand in a line of their own, from which one task takes one after the other and lets
//! all others have theirs in between. Sockets that are not yet peers, or no longer, have a second line:
//! each is a few system calls, but three hundred may come or go at the same moment.

use crate::shard::Shard;
use crate::signal::{Signal, remember, stand_aside};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, poll_fn, ready};
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;
use yroom::Timestamp;

/// Bytes that a connection may bring in before others have their turn: enough that a burst of small
/// frames is one batch.
const BYTES_PER_TURN: usize = 64 << 10;
/// How long that may take, however few bytes it is. (What the hub makes of it in its drain comes on
/// top.)
const TIME_PER_TURN: Duration = Duration::from_micros(200);
/// The clock is looked at after so many frames: a look costs as much as a small frame.
const FRAMES_PER_LOOK: usize = 16;
/// A frame of so many bytes is worth a look by itself.
const LONG_FRAME: usize = 1 << 10;

/// One turn of one connection.
#[derive(Debug)]
pub(crate) struct Turn {
    /// When it began, or the clock was last looked at.
    pub(crate) now: Timestamp,
    pub(crate) bytes: usize,
    pub(crate) is_over: bool,
    until: Timestamp,
    frames: usize,
}

impl Turn {
    pub(crate) fn begin(shard: &Shard) -> Self {
        let now = shard.now();
        Self { now, bytes: 0, is_over: false, until: now + TIME_PER_TURN, frames: 0 }
    }

    /// A frame with so many bytes was dealt with.
    pub(crate) fn took(&mut self, shard: &Shard, len: usize) {
        self.frames += 1;
        if len >= LONG_FRAME || self.frames.is_multiple_of(FRAMES_PER_LOOK) {
            self.now = shard.now();
            self.is_over |= self.now >= self.until;
        }
    }

    /// Whether bytes came, and neither a message nor a control frame of them was whole.
    pub(crate) const fn is_fruitless(&self) -> bool {
        self.bytes > 0 && self.frames == 0
    }

    /// Whether there is time to read more.
    pub(crate) fn goes_on(&self) -> bool {
        !self.is_over && self.bytes < BYTES_PER_TURN
    }
}

/// Somebody who can stand in a line.
pub(crate) trait Waiting {
    /// Its turn has come.
    fn let_in(&self);
}

/// Those who are let in one at a time.
#[derive(Default)]
pub(crate) struct Line {
    waiting: RefCell<VecDeque<Rc<dyn Waiting>>>,
    longer: Signal,
}

impl Line {
    /// Stands last.
    pub(crate) fn push(&self, last: Rc<dyn Waiting>) {
        self.waiting.borrow_mut().push_back(last);
        self.longer.raise();
    }

    /// Runs a future by turns: each time that it is woken, it waits until it is let in.
    pub(crate) fn run<'a, F>(&'a self, future: F) -> impl Future<Output = F::Output> + 'a
    where
        F: Future + 'a,
    {
        let place = Rc::new(Place::default());
        // Boxed, so that the futures around it, of which there may be thousands, do not hold it twice.
        let mut future = Box::pin(future);
        poll_fn(move |cx| {
            remember(&mut place.task.borrow_mut(), cx);
            match place.stands.get() {
                Stands::Aside => {
                    place.stands.set(Stands::InLine);
                    self.push(Rc::clone(&place) as Rc<dyn Waiting>);
                    Poll::Pending
                }
                Stands::InLine => Poll::Pending,
                Stands::Served => {
                    place.stands.set(Stands::Aside);
                    future.as_mut().poll(cx)
                }
            }
        })
    }

    /// Waits for a turn.
    pub(crate) async fn turn(&self) {
        self.run(ready(())).await;
    }

    /// Lets in one after the other, with a turn for everybody else in between.
    pub(crate) async fn serve(&self) {
        loop {
            let first = self.waiting.borrow_mut().pop_front();
            match first {
                Some(first) => {
                    first.let_in();
                    stand_aside().await;
                }
                None => self.longer.wait().await,
            }
        }
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line")
            .field("waiting", &self.waiting.borrow().len())
            .finish_non_exhaustive()
    }
}

/// A task's place in a line.
#[derive(Default)]
struct Place {
    stands: Cell<Stands>,
    task: RefCell<Option<Waker>>,
}

#[derive(Clone, Copy, Default)]
enum Stands {
    #[default]
    Aside,
    InLine,
    Served,
}

impl Waiting for Place {
    fn let_in(&self) {
        self.stands.set(Stands::Served);
        // One that has ended meanwhile has no use for it.
        if let Some(task) = &*self.task.borrow() {
            task.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::task::Context;

    #[test]
    fn a_future_goes_on_only_when_its_turn_has_come() {
        let (line, polls) = (Line::default(), Cell::new(0));
        let mut cx = Context::from_waker(Waker::noop());
        let count = |at: u32| {
            let polls = &polls;
            poll_fn(move |_| {
                polls.set(polls.get() + 1);
                if polls.get() >= at { Poll::Ready(()) } else { Poll::Pending }
            })
        };
        let (mut ann, mut bob) = (pin!(line.run(count(2))), pin!(line.run(count(3))));
        for _ in 0..3 {
            assert!(
                ann.as_mut().poll(&mut cx).is_pending() && bob.as_mut().poll(&mut cx).is_pending()
            );
        }
        assert_eq!((polls.get(), line.waiting.borrow().len()), (0, 2), "each waits, once");
        let next = || line.waiting.borrow_mut().pop_front().expect("somebody waits").let_in();
        next();
        assert!(bob.as_mut().poll(&mut cx).is_pending() && ann.as_mut().poll(&mut cx).is_pending());
        assert_eq!(polls.get(), 1, "the first alone");
        next();
        assert!(bob.as_mut().poll(&mut cx).is_pending());
        assert!(ann.as_mut().poll(&mut cx).is_pending(), "stands in line again");
        next();
        assert!(ann.as_mut().poll(&mut cx).is_ready());
    }
}
