//! One thread's share of the rooms: a hub, its connections, and what moves between them.
//!
//! A connection's task hands frames to the hub and raises `dirty`. That wakes the one *drain* task,
//! which runs when all tasks that were ready have had their turn, as the executor is first in, first
//! out: a burst is drained once, and a lone frame at once. The drain carries the hub's outputs out and
//! flushes each connection that it fed once: one system call with all its frames.

use crate::app::{Desk, Task, Tools};
use crate::authorize::Door;
use crate::conn::{Conn, Silence, SilenceLimits};
use crate::link::Scratch;
use crate::server::{Notice, Observer, Timeouts};
use crate::signal::Signal;
use crate::store::{Inbox, Store};
use crate::turns::Line;
use std::cell::{Cell, OnceCell, RefCell, RefMut};
use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::hash::{BuildHasherDefault, Hasher};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};
use yroom::{
    Access, CloseCode, Config, ConnId, Event, Hub, Input, Limits, Output, Reject, RoomName,
    Timestamp,
};

/// How often a drain looks for what its own flushes made possible before others have their turn.
const ROUNDS: usize = 8;

/// What a shard's tasks share.
pub(crate) struct Shard {
    core: RefCell<Core>,
    /// The hub has been given something: its outputs have to be drained.
    dirty: Signal,
    /// There is an earlier deadline than the timer waits for.
    earlier: Signal,
    /// It is to accept no more.
    stop: Signal,
    /// A connection has gone or an output was drained, while somebody waits for the end.
    ending: Signal,
    phase: Cell<Phase>,
    armed: Cell<Timestamp>,
    unsaved: Cell<u64>,
    parts: Parts,
    inbox: Inbox,
    scratch: RefCell<Scratch>,
    desk: Desk,
    greedy: Line,
    strangers: Line,
    tools: OnceCell<Box<dyn Tools>>,
}

/// What a shard is made of, apart from its hub.
pub(crate) struct Parts {
    pub(crate) epoch: Instant,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) timeouts: Timeouts,
    pub(crate) limits: Limits,
    pub(crate) observer: Observer,
    pub(crate) door: Arc<dyn Door>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Serving,
    Stopping,
    /// A task panicked: the hub may be in the middle of something.
    Failed,
}

struct Core {
    hub: Hub,
    conns: HashMap<ConnId, Rc<Conn>, BuildHasherDefault<IdHasher>>,
    /// Fed and not flushed.
    touched: Vec<Rc<Conn>>,
    /// In the order of their deadlines, as all have the same time.
    closing: VecDeque<(Timestamp, Weak<Conn>)>,
    swept_at: Timestamp,
}

impl Shard {
    pub(crate) fn new(config: Config, parts: Parts, desk: Desk) -> Self {
        let core = Core {
            hub: Hub::new(config),
            conns: HashMap::default(),
            touched: Vec::new(),
            closing: VecDeque::new(),
            swept_at: Timestamp::ZERO,
        };
        Self {
            core: RefCell::new(core),
            dirty: Signal::default(),
            earlier: Signal::default(),
            stop: Signal::default(),
            ending: Signal::default(),
            phase: Cell::new(Phase::Serving),
            armed: Cell::new(Timestamp::ZERO),
            unsaved: Cell::new(0),
            parts,
            inbox: Inbox::new(),
            scratch: RefCell::new(Scratch::new()),
            desk,
            greedy: Line::default(),
            strangers: Line::default(),
            tools: OnceCell::new(),
        }
    }

    /// Gives it the runtime that it runs on.
    pub(crate) fn equip(&self, tools: Box<dyn Tools>) {
        // Once, before anything else.
        let _ = self.tools.set(tools);
    }

    /// Where connections wait that bring much.
    pub(crate) const fn greedy(&self) -> &Line {
        &self.greedy
    }

    /// Where sockets wait that are no peers yet, or no longer.
    pub(crate) const fn strangers(&self) -> &Line {
        &self.strangers
    }

    /// The task that gives those in a line their turns.
    pub(crate) async fn turns(self: Rc<Self>, line: fn(&Self) -> &Line) {
        line(&self).serve().await;
    }

    /// The application's affairs.
    pub(crate) fn desk(&self) -> &Desk {
        &self.desk
    }

    /// Does something with the hub for the application.
    pub(crate) fn with_hub<T>(&self, f: impl FnOnce(&mut Hub, Timestamp) -> T) -> T {
        let done = f(&mut self.core.borrow_mut().hub, self.now());
        self.dirty.raise();
        done
    }

    /// Starts a task of the application's.
    pub(crate) fn spawn(&self, task: Task) {
        if let Some(tools) = self.tools.get() {
            tools.spawn(task);
        }
    }

    /// Waits.
    pub(crate) async fn sleep_until(&self, at: Instant) {
        match self.tools.get() {
            Some(tools) => tools.sleep_until(at).await,
            None => std::future::pending().await,
        }
    }

    /// Reads no more from a connection, until it is let go.
    pub(crate) fn hold_back(&self, conn: ConnId) {
        if let Some(conn) = self.core.borrow().conns.get(&conn) {
            conn.hold_back();
        }
    }

    /// Reads from a connection again.
    pub(crate) fn let_go(&self, conn: ConnId) {
        let conn = self.core.borrow().conns.get(&conn).cloned();
        if let Some(conn) = conn {
            conn.let_go(self.now());
        }
    }

    pub(crate) fn store(&self) -> &dyn Store {
        &*self.parts.store
    }

    pub(crate) fn now(&self) -> Timestamp {
        let age = self.parts.epoch.elapsed().as_micros();
        Timestamp::from_micros(u64::try_from(age).unwrap_or(u64::MAX))
    }

    pub(crate) fn instant(&self, at: Timestamp) -> Instant {
        // A deadline beyond what the clock can say is as good as one in a year.
        let far = Duration::from_hours(365 * 24);
        self.parts.epoch
            + Duration::from_micros(at.as_micros()).min(self.parts.epoch.elapsed() + far)
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.parts.limits
    }

    pub(crate) fn door(&self) -> &dyn Door {
        &*self.parts.door
    }

    /// The buffers for one connection's turn.
    pub(crate) fn scratch(&self) -> RefMut<'_, Scratch> {
        self.scratch.borrow_mut()
    }

    pub(crate) fn timeouts(&self) -> &Timeouts {
        &self.parts.timeouts
    }

    pub(crate) fn notify(&self, notice: &Notice<'_>) {
        (self.parts.observer)(notice);
    }

    /// Asks the hub to let somebody in.
    pub(crate) fn open(&self, room: &RoomName, access: Access) -> Result<ConnId, Reject> {
        let conn = self.core.borrow_mut().hub.open(self.now(), room, access)?;
        self.desk.opened(conn, room);
        self.dirty.raise();
        Ok(conn)
    }

    /// Changes what a peer may do.
    pub(crate) fn set_access(&self, conn: ConnId, access: Access) {
        self.core.borrow_mut().hub.set_access(self.now(), conn, access);
        self.dirty.raise();
    }

    /// Ends a peer's stay.
    pub(crate) fn dismiss(&self, conn: ConnId, code: CloseCode, reason: &str) {
        self.core.borrow_mut().hub.close(self.now(), conn, code, reason);
        self.dirty.raise();
    }

    /// Puts a connection that was let in where outputs find it.
    pub(crate) fn enrol(&self, conn: &Rc<Conn>) {
        let mut core = self.core.borrow_mut();
        core.conns.insert(conn.id(), Rc::clone(conn));
        if core.conns.len() == 1 {
            // The sweep sleeps while there is nobody.
            core.swept_at = self.now();
            self.earlier.raise();
        }
    }

    /// A connection is gone for good.
    pub(crate) fn forget(&self, conn: ConnId) {
        self.core.borrow_mut().conns.remove(&conn);
        self.gone(conn);
    }

    pub(crate) fn input(&self, input: Input) {
        self.input_at(self.now(), input);
    }

    pub(crate) fn input_at(&self, now: Timestamp, input: Input) {
        self.core.borrow_mut().hub.handle(now, input);
        self.dirty.raise();
    }

    /// A peer leaves, or has to; its connection begins to close. The room need not wait for the
    /// closing handshake to see it gone.
    pub(crate) fn leaves(&self, conn: ConnId) {
        self.gone(conn);
        let until = self.now() + self.parts.timeouts.closing;
        let mut core = self.core.borrow_mut();
        let weak = core.conns.get(&conn).map(Rc::downgrade);
        core.begin_closing(until, weak);
        self.earlier.raise();
    }

    /// Lets nobody in any more, and has the hub end what it has.
    pub(crate) fn stop(&self) {
        if self.phase.get() != Phase::Serving {
            return;
        }
        self.phase.set(Phase::Stopping);
        self.stop.raise();
        self.core.borrow_mut().hub.shutdown(self.now());
        self.dirty.raise();
    }

    /// Whether it lets anybody in.
    #[cfg(feature = "client")]
    pub(crate) fn is_serving(&self) -> bool {
        self.phase.get() == Phase::Serving
    }

    /// It cannot go on.
    pub(crate) fn fail(&self) {
        self.phase.set(Phase::Failed);
        self.stop.raise();
        self.ending.raise();
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.phase.get() == Phase::Failed
    }

    /// Waits until it is to accept no more.
    pub(crate) async fn stopped(&self) {
        self.stop.wait().await;
    }

    /// Waits until everything is stored and everybody has gone, or it has failed.
    pub(crate) async fn ended(&self) {
        while !self.has_failed() {
            {
                let core = self.core.borrow();
                if core.hub.is_drained() && core.conns.is_empty() {
                    return;
                }
            }
            self.ending.wait().await;
        }
    }

    /// Accepted updates that the store did not take: of rooms that closed all the same, and of those
    /// that are still open.
    pub(crate) fn unsaved(&self) -> u64 {
        self.unsaved.get() + self.core.borrow().hub.unsaved()
    }

    /// The task that hands the store's answers to the hub.
    pub(crate) async fn answers(self: Rc<Self>) {
        loop {
            let inputs = poll_fn(|cx| self.inbox.poll_take(cx)).await;
            let now = self.now();
            for input in inputs {
                self.input_at(now, input);
            }
        }
    }

    /// The task that carries out what the hub wants.
    pub(crate) async fn drain(self: Rc<Self>) {
        loop {
            self.dirty.wait().await;
            self.drain_once();
        }
    }

    fn drain_once(&self) {
        let mut touched = Vec::new();
        for round in 0.. {
            self.carry_out();
            std::mem::swap(&mut touched, &mut self.core.borrow_mut().touched);
            if touched.is_empty() {
                break;
            }
            let now = self.now();
            for conn in touched.drain(..) {
                let bytes = conn.flush(&mut self.scratch());
                if bytes > 0 {
                    let flushed = Input::Flushed { conn: conn.id(), bytes };
                    self.core.borrow_mut().hub.handle(now, flushed);
                }
            }
            if round == ROUNDS {
                self.dirty.raise();
                break;
            }
        }
        let mut core = self.core.borrow_mut();
        // Its capacity is worth keeping; it is empty.
        if core.touched.is_empty() {
            core.touched = touched;
        }
        drop(core);
        self.settle();
        if self.next_deadline().is_some_and(|at| at < self.armed.get()) {
            self.earlier.raise();
        }
        if self.phase.get() == Phase::Stopping {
            self.ending.raise();
        }
    }

    /// Tells the application what it waits for.
    fn settle(&self) {
        let due = self.desk.settle(&self.core.borrow().hub, self.now());
        for say in due {
            say(self);
        }
    }

    /// Carries out all outputs, short of flushing.
    fn carry_out(&self) {
        let mut core = self.core.borrow_mut();
        let core = &mut *core;
        while let Some(output) = core.hub.poll_output() {
            match output {
                Output::Send { conn, frame } => {
                    if let Some(conn) = core.conns.get(&conn)
                        && conn.feed(frame)
                    {
                        core.touched.push(Rc::clone(conn));
                    }
                }
                Output::Close { conn, code, reason } => {
                    let found = core.conns.get(&conn).filter(|conn| conn.close(code, &reason));
                    let weak = found.map(Rc::downgrade);
                    core.begin_closing(self.now() + self.parts.timeouts.closing, weak);
                }
                Output::Pause { conn } => {
                    if let Some(conn) = core.conns.get(&conn) {
                        conn.pause();
                    }
                }
                Output::Resume { conn } => {
                    if let Some(conn) = core.conns.get(&conn) {
                        conn.resume(self.now());
                    }
                }
                Output::Store(op) => {
                    let reply = self.inbox.reply_for(&op);
                    self.parts.store.submit(op, reply);
                }
                Output::Application(op) => self.desk.asked(op),
                Output::Event(event) => {
                    if let Event::RoomClosed { unsaved, .. } = &event {
                        self.unsaved.set(self.unsaved.get() + unsaved);
                    }
                    self.desk.note(&event);
                    self.notify(&Notice::Engine(&event));
                }
            }
        }
    }

    /// When the timer has to look next.
    pub(crate) fn arm(&self) -> Timestamp {
        let at = self.next_deadline().unwrap_or(Timestamp::from_micros(u64::MAX));
        self.armed.set(at);
        at
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        let connections = self.core.borrow().next_deadline(&self.parts.timeouts);
        connections.into_iter().chain(self.desk.deadline()).min()
    }

    /// Ready when the timer has to look earlier than it was told.
    pub(crate) fn poll_earlier(&self, cx: &mut std::task::Context<'_>) -> Poll<()> {
        self.earlier.poll_wait(cx)
    }

    /// Does what is due.
    pub(crate) fn on_time(&self) {
        let now = self.now();
        let mut core = self.core.borrow_mut();
        if core.hub.poll_timeout().is_some_and(|at| at <= now) {
            core.hub.handle_timeout(now);
        }
        core.cut_overdue(now);
        if !core.conns.is_empty() && core.swept_at + sweep_every(&self.parts.timeouts) <= now {
            core.sweep(now, &self.parts.timeouts);
        }
        drop(core);
        // Here too: the timer does not wait for the drain, and what is due has to be done with.
        self.settle();
        self.dirty.raise();
    }
}

impl Core {
    fn next_deadline(&self, timeouts: &Timeouts) -> Option<Timestamp> {
        let sweep = (!self.conns.is_empty()).then(|| self.swept_at + sweep_every(timeouts));
        let closing = self.closing.front().map(|(at, _)| *at);
        [self.hub.poll_timeout(), sweep, closing].into_iter().flatten().min()
    }

    fn begin_closing(&mut self, until: Timestamp, conn: Option<Weak<Conn>>) {
        self.closing.extend(conn.map(|conn| (until, conn)));
    }

    /// Ends the connections whose closing takes too long.
    fn cut_overdue(&mut self, now: Timestamp) {
        while self.closing.front().is_some_and(|(until, _)| *until <= now) {
            if let Some((_, conn)) = self.closing.pop_front()
                && let Some(conn) = conn.upgrade()
            {
                conn.cut();
            }
        }
    }

    /// Pings the silent and closes the dead. One walk for all, instead of a timer for each.
    fn sweep(&mut self, now: Timestamp, timeouts: &Timeouts) {
        self.swept_at = now;
        let limits =
            SilenceLimits { ping_after: timeouts.ping_after, pong_within: timeouts.pong_within };
        let until = now + timeouts.closing;
        for conn in self.conns.values() {
            match conn.check_silence(now, limits) {
                Silence::No => {}
                Silence::Pinged => self.touched.push(Rc::clone(conn)),
                Silence::Dead => {
                    if conn.close(CloseCode::GOING_AWAY, "no answer to a ping") {
                        self.closing.push_back((until, Rc::downgrade(conn)));
                    }
                }
            }
        }
    }
}

/// Half of the shorter wait, so that none is more than half again as long as it should be.
fn sweep_every(timeouts: &Timeouts) -> Duration {
    timeouts.ping_after.min(timeouts.pong_within) / 2
}

/// For ids that nobody can choose: one multiplication.
#[derive(Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }

    fn write_u64(&mut self, id: u64) {
        self.0 = (self.0 ^ id).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(26);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
