//! One connection of a shard: its task reads, the shard's drain writes.
//!
//! A task runs to the end of its *turn*, and all others wait for that. So a turn is short, by bytes
//! and by time; and a connection that had not enough of one, or dribbles, or was stopped, is *greedy*: it
//! gets its next turns one at a time with the other greedy ones (`turns.rs`), whoever has little to say
//! at once.

use crate::app::Flow;
use crate::link::{Broken, Link, READ_BYTES, Scratch};
use crate::server::Notice;
use crate::shard::Shard;
use crate::signal::remember;
use crate::turns::{Turn, Waiting};
use crate::ws::{Breach, Incoming};
use bytes::Bytes;
use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use yroom::{CloseCode, ConnId, Input, Timestamp};

/// One WebSocket that is a peer in a room.
pub(crate) struct Conn {
    id: ConnId,
    state: RefCell<State>,
}

struct State {
    link: Link,
    /// What came with the handshake, until the first turn.
    part: Vec<u8>,
    appetite: Appetite,
    /// Whether the last that was read made nothing whole.
    dribbles: bool,
    phase: Phase,
    reading: Reading,
    /// Whether the application lets it go on.
    flow: Flow,
    sending: Sending,
    /// The connection's task; none before its first turn.
    task: Option<Waker>,
    heard_at: Timestamp,
    pinged_at: Option<Timestamp>,
    farewell: Option<Farewell>,
}

/// Who ended a connection that did not just break, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Farewell {
    /// This side, in these words.
    Ours(CloseCode, String),
    /// The other side, with a code if it gave one.
    Theirs(Option<CloseCode>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    Closing,
    Gone,
}

/// How much of the shard's time it wants.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Appetite {
    /// Its turns end because nothing more has come.
    Small,
    /// Its last turn was not enough, or the last two brought no whole frame, or it was stopped.
    Greedy,
    /// The same, and it stands in the line for its next.
    InLine,
    /// Its turn has come.
    Served,
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
    pub(crate) fn new(id: ConnId, link: Link, part: Vec<u8>, now: Timestamp) -> Self {
        let state = State {
            link,
            part,
            appetite: Appetite::Small,
            dribbles: false,
            phase: Phase::Open,
            reading: Reading::Flowing,
            flow: Flow::Go,
            // The answer to the handshake waits to be flushed.
            sending: Sending::Blocked,
            task: None,
            heard_at: now,
            pinged_at: None,
            farewell: None,
        };
        Self { id, state: RefCell::new(state) }
    }

    pub(crate) fn id(&self) -> ConnId {
        self.id
    }

    /// The connection's task, until the socket can be dropped.
    pub(crate) async fn serve(self: Rc<Self>, shard: Rc<Shard>) {
        poll_fn(|cx| self.poll(&shard, cx)).await;
        shard.gone(self.id);
        // Many may end at the same moment, and the end of a socket is work for the system.
        shard.strangers().turn().await;
        shard.forget(self.id);
    }

    /// Queues a frame; true if the connection has to be flushed and did not have to before.
    pub(crate) fn feed(&self, frame: Bytes) -> bool {
        let mut state = self.state.borrow_mut();
        if state.phase != Phase::Open {
            return false;
        }
        state.link.feed(frame);
        state.must_flush()
    }

    /// Writes what was queued; says how many bytes of frames have left.
    pub(crate) fn flush(&self, scratch: &mut Scratch) -> usize {
        let mut state = self.state.borrow_mut();
        if state.sending == Sending::Idle || state.phase == Phase::Gone {
            return 0;
        }
        // Polled for the connection's task, so that it is the one to go on if this would block.
        let Some(task) = state.task.take() else {
            state.sending = Sending::Blocked;
            return 0;
        };
        let bytes = state.flush(&mut Context::from_waker(&task), scratch);
        if state.phase == Phase::Gone {
            task.wake_by_ref();
        }
        state.task = Some(task);
        bytes
    }

    /// Closes after what was queued; false if that has begun before.
    pub(crate) fn close(&self, code: CloseCode, reason: &str) -> bool {
        let mut state = self.state.borrow_mut();
        if state.phase != Phase::Open {
            return false;
        }
        state.link.close(code, reason);
        state.farewell = Some(Farewell::Ours(code, reason.to_owned()));
        state.phase = Phase::Closing;
        state.wake();
        true
    }

    /// How it ended, if it did not just break.
    #[cfg(feature = "client")]
    pub(crate) fn farewell(&self) -> Option<Farewell> {
        self.state.borrow().farewell.clone()
    }

    /// Ends it now, closed or not.
    pub(crate) fn cut(&self) {
        self.state.borrow_mut().vanish();
    }

    pub(crate) fn pause(&self) {
        let mut state = self.state.borrow_mut();
        state.reading = Reading::Paused;
        state.stop();
    }

    pub(crate) fn resume(&self, now: Timestamp) {
        let mut state = self.state.borrow_mut();
        state.reading = Reading::Flowing;
        state.heard_at = now;
        state.wake();
    }

    /// Reads no more before it is let go.
    pub(crate) fn hold_back(&self) {
        let mut state = self.state.borrow_mut();
        state.flow = Flow::Hold;
        state.stop();
    }

    /// Reads on.
    pub(crate) fn let_go(&self, now: Timestamp) {
        let mut state = self.state.borrow_mut();
        state.flow = Flow::Go;
        state.heard_at = now;
        state.wake();
    }

    /// Looks after a peer of which nothing was heard. One that is paused cannot be heard.
    pub(crate) fn check_silence(&self, now: Timestamp, limits: SilenceLimits) -> Silence {
        let mut state = self.state.borrow_mut();
        if state.link.take_heard() || !state.reads() {
            state.heard_at = now;
            state.pinged_at = None;
        }
        match state.pinged_at {
            Some(at) if now.since(at) >= limits.pong_within => Silence::Dead,
            None if now.since(state.heard_at) >= limits.ping_after => {
                state.pinged_at = Some(now);
                if state.phase != Phase::Open {
                    return Silence::No;
                }
                state.link.ping();
                if state.must_flush() { Silence::Pinged } else { Silence::No }
            }
            Some(_) | None => Silence::No,
        }
    }

    fn poll(self: &Rc<Self>, shard: &Shard, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state.borrow_mut();
        let scratch = &mut *shard.scratch();
        remember(&mut state.task, cx);
        if !state.part.is_empty() {
            let mut part = std::mem::take(&mut state.part);
            state.link.read_part(&mut part);
            self.take_in(&mut state, shard, &mut Turn::begin(shard));
        }
        loop {
            match state.phase {
                // What it had said before counts.
                Phase::Closing | Phase::Gone if state.link.has_next() => {
                    if !self.take_in(&mut state, shard, &mut Turn::begin(shard)) {
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                }
                Phase::Open => {
                    if state.sending == Sending::Blocked {
                        self.go_on_sending(&mut state, shard, scratch, cx);
                    }
                    if state.phase == Phase::Open {
                        ready!(self.read_turn(&mut state, shard, scratch, cx));
                    }
                }
                Phase::Closing => match ready!(state.link.poll_closed(cx, scratch)) {
                    // What a peer sent before it knew still counts, if the hub says so.
                    Ok(()) => {
                        self.take_in(&mut state, shard, &mut Turn::begin(shard));
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    Err(Broken) => state.phase = Phase::Gone,
                },
                Phase::Gone => return Poll::Ready(()),
            }
        }
    }

    /// Reads as much as one turn goes; ready when the phase has changed.
    fn read_turn(
        self: &Rc<Self>,
        state: &mut State,
        shard: &Shard,
        scratch: &mut Scratch,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        match state.appetite {
            Appetite::Small if state.reads() => {}
            Appetite::Served if state.reads() => {}
            Appetite::Greedy if state.reads() => {
                self.stand_in_line(state, shard);
                return Poll::Pending;
            }
            // Its turn came while it was not to be read from.
            Appetite::Served => {
                state.appetite = Appetite::Greedy;
                return Poll::Pending;
            }
            Appetite::Small | Appetite::Greedy | Appetite::InLine => return Poll::Pending,
        }
        let mut turn = Turn::begin(shard);
        loop {
            let goes_on = self.take_in(state, shard, &mut turn);
            if state.phase == Phase::Open {
                self.after_taking(state, shard, scratch, cx);
            }
            if state.phase != Phase::Open {
                return Poll::Ready(());
            }
            if !goes_on {
                self.stand_in_line(state, shard);
                return Poll::Pending;
            }
            if !state.reads() {
                state.appetite = Appetite::Greedy;
                return Poll::Pending;
            }
            match state.link.poll_read(cx, scratch) {
                Poll::Ready(Ok(read)) => turn.bytes += read,
                Poll::Ready(Err(Broken)) => state.phase = Phase::Gone,
                Poll::Pending => {
                    state.appetite = state.after(&turn);
                    return Poll::Pending;
                }
            }
        }
    }

    fn after_taking(
        &self,
        state: &mut State,
        shard: &Shard,
        scratch: &mut Scratch,
        cx: &mut Context<'_>,
    ) {
        let held = state.link.held_bytes();
        if held > READ_BYTES {
            // Not for every frame that a read has cut: one that takes several is worth a word.
            shard.input(Input::Arriving { conn: self.id, bytes: held });
        }
        if state.sending == Sending::Idle && state.link.has_unsent() {
            // A pong; what else is sent goes by the drain.
            self.go_on_sending(state, shard, scratch, cx);
        }
    }

    fn stand_in_line(self: &Rc<Self>, state: &mut State, shard: &Shard) {
        state.appetite = Appetite::InLine;
        shard.greedy().push(Rc::clone(self) as Rc<dyn Waiting>);
    }

    /// Hands to the hub what has come whole, as far as the turn goes; false if that is over.
    fn take_in(&self, state: &mut State, shard: &Shard, turn: &mut Turn) -> bool {
        while !turn.is_over
            && let Some(item) = state.link.next()
        {
            self.take(state, shard, turn, item);
        }
        turn.goes_on()
    }

    fn take(&self, state: &mut State, shard: &Shard, turn: &mut Turn, item: Incoming) {
        match item {
            Incoming::Message(frame) => {
                let len = frame.len();
                match shard.frame(turn.now, self.id, frame) {
                    Flow::Go => {}
                    Flow::Hold => state.flow = Flow::Hold,
                }
                turn.took(shard, len);
            }
            Incoming::Close(code) if state.phase == Phase::Open => {
                state.farewell = Some(Farewell::Theirs(code));
                state.phase = Phase::Closing;
                shard.leaves(self.id);
            }
            Incoming::Breach(Breach { code, reason }) if state.phase == Phase::Open => {
                state.link.close(code, &reason);
                state.farewell = Some(Farewell::Ours(code, reason.clone()));
                state.phase = Phase::Closing;
                shard.leaves(self.id);
                shard.notify(&Notice::Breach { code, reason: &reason });
            }
            // The link has answered the ping, and knows that it is over; it takes no text.
            Incoming::Ping(_) | Incoming::Pong => turn.took(shard, 0),
            Incoming::Close(_) | Incoming::Breach(_) | Incoming::Text(_) => {}
        }
    }

    fn go_on_sending(
        &self,
        state: &mut State,
        shard: &Shard,
        scratch: &mut Scratch,
        cx: &mut Context<'_>,
    ) {
        let bytes = state.flush(cx, scratch);
        if bytes > 0 {
            shard.input(Input::Flushed { conn: self.id, bytes });
        }
    }
}

impl Waiting for Conn {
    fn let_in(&self) {
        let mut state = self.state.borrow_mut();
        state.appetite = Appetite::Served;
        state.wake();
    }
}

impl std::fmt::Debug for Conn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Conn").field(&self.id).finish()
    }
}

impl State {
    fn reads(&self) -> bool {
        self.reading == Reading::Flowing && self.flow == Flow::Go
    }

    /// It is not read from for a while. All that are stopped together go on together: one at a time,
    /// then.
    fn stop(&mut self) {
        if self.appetite == Appetite::Small {
            self.appetite = Appetite::Greedy;
        }
    }

    /// What it wants after a turn that left nothing to read. Of many who dribble, each is as much work
    /// as one who talks; but a frame may come in two parts.
    fn after(&mut self, turn: &Turn) -> Appetite {
        let dribbles = turn.is_fruitless();
        let dribbled = match turn.bytes {
            0 => self.dribbles,
            1.. => std::mem::replace(&mut self.dribbles, dribbles),
        };
        if dribbles && dribbled { Appetite::Greedy } else { Appetite::Small }
    }

    /// Notes that something waits to be flushed; true if the drain has to be told.
    fn must_flush(&mut self) -> bool {
        if self.sending == Sending::Idle {
            self.sending = Sending::Fed;
            return true;
        }
        false
    }

    /// Writes as much as the network takes; says how many bytes of frames that were.
    fn flush(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> usize {
        match self.link.poll_flush(cx, scratch) {
            Poll::Ready(Ok(())) => self.sending = Sending::Idle,
            Poll::Ready(Err(Broken)) => self.vanish(),
            Poll::Pending => self.sending = Sending::Blocked,
        }
        self.link.take_flushed()
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
