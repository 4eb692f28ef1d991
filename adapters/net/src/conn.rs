//! One connection of a shard: its task reads, the shard's drain writes.

use crate::link::{Broken, Incoming, Link};
use crate::shard::Shard;
use crate::signal::remember;
use bytes::Bytes;
use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use yroom::{CloseCode, ConnId, Input, Timestamp};

/// Frames that a connection may bring in before others have their turn: enough that a burst of
/// small ones is one batch, few enough that it is over in a millisecond.
const FRAMES_PER_TURN: usize = 128;
/// The same in bytes, for large ones.
const BYTES_PER_TURN: usize = 256 << 10;

/// One WebSocket that is a peer in a room.
pub(crate) struct Conn {
    id: ConnId,
    state: RefCell<State>,
}

struct State {
    link: Link,
    phase: Phase,
    reading: Reading,
    sending: Sending,
    /// The connection's task; none before its first turn.
    task: Option<Waker>,
    heard_at: Timestamp,
    pinged_at: Option<Timestamp>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    Closing,
    Gone,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    Flowing,
    Paused,
}

/// What becomes of the frames that were fed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sending {
    /// There are none.
    Idle,
    /// The drain will flush them.
    Fed,
    /// The network did not take all: the task goes on when it can.
    Blocked,
}

/// What a silent connection calls for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Silence {
    /// It is not silent.
    No,
    /// It was pinged just now, and has to be flushed.
    Pinged,
    /// It did not answer.
    Dead,
}

impl Conn {
    pub(crate) fn new(id: ConnId, link: Link, now: Timestamp) -> Self {
        let state = State {
            link,
            phase: Phase::Open,
            reading: Reading::Flowing,
            // The answer to the handshake waits to be flushed.
            sending: Sending::Blocked,
            task: None,
            heard_at: now,
            pinged_at: None,
        };
        Self { id, state: RefCell::new(state) }
    }

    pub(crate) fn id(&self) -> ConnId {
        self.id
    }

    /// The connection's task, until the socket can be dropped.
    pub(crate) async fn serve(self: Rc<Self>, shard: Rc<Shard>) {
        poll_fn(|cx| self.poll(&shard, cx)).await;
        shard.forget(self.id);
    }

    /// Queues a frame; true if the connection has to be flushed and did not have to before.
    pub(crate) fn feed(&self, frame: Bytes) -> bool {
        let mut state = self.state.borrow_mut();
        if state.phase != Phase::Open {
            return false;
        }
        if state.link.feed(frame).is_err() {
            state.vanish();
            return false;
        }
        state.must_flush()
    }

    /// Writes what was queued; says how many bytes of frames have left.
    pub(crate) fn flush(&self) -> usize {
        let mut state = self.state.borrow_mut();
        if state.sending == Sending::Idle || state.phase == Phase::Gone {
            return 0;
        }
        // Polled for the connection's task, so that it is the one to go on if this would block.
        let Some(task) = state.task.clone() else {
            state.sending = Sending::Blocked;
            return 0;
        };
        match state.poll_flush(&mut Context::from_waker(&task)) {
            Poll::Ready(bytes) => bytes,
            Poll::Pending => 0,
        }
    }

    /// Closes after what was queued; false if that has begun before.
    pub(crate) fn close(&self, code: CloseCode, reason: &str) -> bool {
        let mut state = self.state.borrow_mut();
        if state.phase != Phase::Open {
            return false;
        }
        state.link.close(code, reason);
        state.phase = Phase::Closing;
        state.wake();
        true
    }

    /// Ends it now, closed or not.
    pub(crate) fn cut(&self) {
        self.state.borrow_mut().vanish();
    }

    pub(crate) fn pause(&self) {
        self.state.borrow_mut().reading = Reading::Paused;
    }

    pub(crate) fn resume(&self, now: Timestamp) {
        let mut state = self.state.borrow_mut();
        state.reading = Reading::Flowing;
        state.heard_at = now;
        state.wake();
    }

    /// Looks after a peer of which nothing was heard. One that is paused cannot be heard.
    pub(crate) fn check_silence(&self, now: Timestamp, limits: SilenceLimits) -> Silence {
        let mut state = self.state.borrow_mut();
        if state.link.take_heard() || state.reading == Reading::Paused {
            state.heard_at = now;
            state.pinged_at = None;
        }
        match state.pinged_at {
            Some(at) if now.since(at) >= limits.pong_within => Silence::Dead,
            None if now.since(state.heard_at) >= limits.ping_after => {
                state.pinged_at = Some(now);
                if state.phase != Phase::Open || state.link.ping().is_err() {
                    return Silence::No;
                }
                if state.must_flush() { Silence::Pinged } else { Silence::No }
            }
            Some(_) | None => Silence::No,
        }
    }

    fn poll(&self, shard: &Shard, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state.borrow_mut();
        remember(&mut state.task, cx);
        loop {
            match state.phase {
                Phase::Open => {
                    if state.sending == Sending::Blocked
                        && let Poll::Ready(bytes @ 1..) = state.poll_flush(cx)
                    {
                        shard.input(Input::Flushed { conn: self.id, bytes });
                    }
                    if state.phase == Phase::Open {
                        ready!(self.poll_read(&mut state, shard, cx));
                    }
                }
                Phase::Closing => {
                    match ready!(state.link.poll_closed(cx)) {
                        // What a peer sent before it knew still counts, if the hub says so.
                        Some(frame) => shard.input(Input::Frame { conn: self.id, frame }),
                        None => state.phase = Phase::Gone,
                    }
                }
                Phase::Gone => return Poll::Ready(()),
            }
        }
    }

    /// Hands to the hub what has come, as far as one turn goes; ready when the phase has changed.
    fn poll_read(&self, state: &mut State, shard: &Shard, cx: &mut Context<'_>) -> Poll<()> {
        if state.reading == Reading::Paused {
            return Poll::Pending;
        }
        let now = shard.now();
        let mut bytes = 0;
        for _ in 0..FRAMES_PER_TURN {
            match ready!(state.link.poll_read(cx)) {
                Incoming::Frame(frame) => {
                    bytes += frame.len();
                    shard.input_at(now, Input::Frame { conn: self.id, frame });
                }
                Incoming::Control => {}
                Incoming::Gone => {
                    state.phase = Phase::Gone;
                    return Poll::Ready(());
                }
                Incoming::Breach(code, reason) => {
                    shard.breach(self.id, code, &reason);
                    state.link.close(code, &reason);
                    state.phase = Phase::Closing;
                    return Poll::Ready(());
                }
            }
            if bytes >= BYTES_PER_TURN {
                break;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl std::fmt::Debug for Conn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Conn").field(&self.id).finish()
    }
}

impl State {
    /// Notes that something waits to be flushed; true if the drain has to be told.
    fn must_flush(&mut self) -> bool {
        if self.sending == Sending::Idle {
            self.sending = Sending::Fed;
            return true;
        }
        false
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        match self.link.poll_flush(cx) {
            Poll::Ready(Ok(bytes)) => {
                self.sending = Sending::Idle;
                Poll::Ready(bytes)
            }
            Poll::Ready(Err(Broken)) => {
                self.vanish();
                Poll::Ready(0)
            }
            Poll::Pending => {
                self.sending = Sending::Blocked;
                Poll::Pending
            }
        }
    }

    /// The connection is no more; its task finds that and ends.
    fn vanish(&mut self) {
        if self.phase != Phase::Gone {
            self.phase = Phase::Gone;
            self.wake();
        }
    }

    fn wake(&self) {
        if let Some(task) = &self.task {
            task.wake_by_ref();
        }
    }
}

/// How long a peer may be silent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SilenceLimits {
    pub(crate) ping_after: std::time::Duration,
    pub(crate) pong_within: std::time::Duration,
}
