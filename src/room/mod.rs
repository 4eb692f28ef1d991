//! One document and the peers that share it.
//!
//! ```text
//! Loading ──► Live ──► Draining ──► gone
//!    │          ▲          │
//!    └► gone    └──────────┘ a peer joins
//! ```
//!
//! From any of them a room can go by Deleting, which ends when the store has forgotten it.
//!
//! Loading holds peers back until the store has answered; a load that fails closes them and never
//! becomes an empty document. Draining ends when the journal is durable. Beside the phase, the
//! journal may be *failing*: the room is then degraded, its readers are served and its writers wait.

mod application;
mod fan_out;
mod feed;
mod group;
mod keep;
mod load;
mod log;
mod pace;
mod relay;
mod sync;

use crate::awareness::Awareness;
use crate::config::{Access, Config, Presence};
use crate::document::Document;
use crate::error::{self, CloseCode, Fault, FaultKind};
use crate::io::{ConnId, Event, Output, RoomId, RoomName, Seq, StoreOp};
use crate::journal::Journal;
use crate::peer::{Peer, Standing};
use crate::time::{SplitMix64, Timestamp};
use crate::wire::encode;
pub use application::Told;
use bytes::Bytes;
use fan_out::{Gated, PresenceNews};
pub(crate) use feed::Feed;
pub use group::MessageId;
use pace::Wait;
pub(crate) use pace::Waits;
use std::collections::VecDeque;
use std::time::Duration;

/// What a room needs from the hub while it handles something.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    pub(crate) now: Timestamp,
    pub(crate) config: &'a Config,
    pub(crate) rng: &'a mut SplitMix64,
    pub(crate) out: &'a mut VecDeque<Output>,
    /// Connections that the room has closed, for the hub to forget.
    pub(crate) closed: &'a mut Vec<ConnId>,
}

impl Context<'_> {
    fn push(&mut self, output: Output) {
        self.out.push_back(output);
    }

    fn event(&mut self, event: Event) {
        self.out.push_back(Output::Event(event));
    }
}

#[derive(Debug)]
pub(crate) struct Room {
    id: RoomId,
    name: RoomName,
    phase: Phase,
    document: Document,
    journal: Journal,
    peers: Vec<Peer>,
    awareness: Awareness,
    /// What waits until the journal is durable up to a place, in the order of the places.
    gated: VecDeque<(Seq, Gated)>,
    presence: Option<PresenceNews>,
    /// Writers wait: the journal is failing or has too much pending.
    congested: bool,
    log: log::Log,
    own: application::Own,
    /// Messages for everybody that were told; none for most rooms.
    seen: Option<Box<group::Seen>>,
    /// Coarse timers: keepalive, awareness, lagging and waiting peers.
    tick_at: Option<Timestamp>,
    gap_at: Option<Timestamp>,
    share_at: Option<Timestamp>,
    unload_at: Option<Timestamp>,
    /// The hub's entry for this room in its table of deadlines.
    pub(crate) scheduled: Option<Timestamp>,
    /// The room waits in the hub's queue to be settled.
    pub(crate) queued: bool,
    unsettled: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Loading { until: Timestamp, stage: Stage },
    Live,
    Draining,
    Deleting { until: Timestamp },
    Gone,
}

/// How far a load is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The store reads.
    Reading,
    /// There was nothing; the application is asked for a first content.
    Initialising,
    /// The first content is on its way to the store. Nobody is served before it is durable: a
    /// client that finds the room empty might fill it a second time.
    Keeping,
}

impl Room {
    /// A room that waits for its load until a time; [`load`](Self::load) begins that.
    pub(crate) fn new(id: RoomId, name: RoomName, until: Timestamp) -> Self {
        Self {
            id,
            name,
            phase: Phase::Loading { until, stage: Stage::Reading },
            document: Document::default(),
            journal: Journal::new(Seq::ZERO),
            peers: Vec::new(),
            awareness: Awareness::new(),
            gated: VecDeque::new(),
            presence: None,
            congested: false,
            log: log::Log::default(),
            own: application::Own::default(),
            seen: None,
            tick_at: None,
            gap_at: None,
            share_at: None,
            unload_at: None,
            scheduled: None,
            queued: false,
            unsettled: false,
        }
    }

    pub(crate) const fn name(&self) -> &RoomName {
        &self.name
    }

    pub(crate) const fn is_gone(&self) -> bool {
        matches!(self.phase, Phase::Gone)
    }

    /// Whether [`settle`](Self::settle) has something to do.
    pub(crate) const fn is_unsettled(&self) -> bool {
        self.unsettled
    }

    pub(crate) const fn peer_count(&self) -> usize {
        self.peers.len()
    }

    pub(crate) const fn is_being_deleted(&self) -> bool {
        matches!(self.phase, Phase::Deleting { .. })
    }

    /// Accepted updates that are not durable.
    pub(crate) const fn unsaved(&self) -> u64 {
        self.journal.accepted().0 - self.journal.durable().0
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub(crate) fn deadline(&self) -> Option<Timestamp> {
        let until = match self.phase {
            Phase::Loading { until, .. } | Phase::Deleting { until } => Some(until),
            Phase::Live | Phase::Draining | Phase::Gone => None,
        };
        // Asked after every input, so without a detour over the `None`s.
        let earlier = |a: Option<Timestamp>, b: Option<Timestamp>| match (a, b) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (some, None) | (None, some) => some,
        };
        let others = [self.gap_at, self.share_at, self.unload_at, self.journal.retry_at()];
        others.into_iter().fold(earlier(until, self.tick_at), earlier)
    }

    /// Lets a peer in; its place among the peers is the last.
    pub(crate) fn join(&mut self, cx: &mut Context<'_>, conn: ConnId, access: Access) {
        self.peers.push(Peer::new(conn, access, cx.now));
        cx.event(Event::PeerJoined { conn, room: self.id });
        self.unload_at = None;
        if self.tick_at.is_none() {
            self.plan_tick(cx);
        }
        match self.phase {
            Phase::Loading { .. } => {}
            Phase::Live | Phase::Draining => {
                self.phase = Phase::Live;
                self.greet(cx, self.peers.len() - 1);
            }
            Phase::Deleting { .. } | Phase::Gone => {
                debug_assert!(false, "nobody joins a room that goes");
            }
        }
    }

    /// Takes a peer out. The last peer takes its place; its connection is returned.
    pub(crate) fn leave(&mut self, cx: &mut Context<'_>, slot: usize) -> Option<ConnId> {
        let peer = self.peers.swap_remove(slot);
        cx.event(Event::PeerLeft { conn: peer.conn });
        let before = self.awareness.version();
        if let Some(removed) = self.awareness.leave(cx.now, peer.conn) {
            self.note_presence(None, before, removed);
        }
        if self.is_unused() {
            self.emptied(cx, cx.config.unload_after);
        }
        self.peers.get(slot).map(|moved| moved.conn)
    }

    /// From now on a peer may do this.
    pub(crate) fn set_access(&mut self, cx: &mut Context<'_>, slot: usize, access: Access) {
        let peer = &mut self.peers[slot];
        let presence = access.presence;
        let same = peer.access.identity == access.identity;
        peer.access = access;
        let conn = peer.conn;
        if !peer.may_write() {
            peer.go_ahead(cx, Wait::Store);
        } else if self.congested && peer.synced {
            peer.wait(cx, Wait::Store);
        }
        let before = self.awareness.version();
        let removed = match presence {
            Presence::Publish | Presence::Relay if same => None,
            // Told of it, too, it announces itself anew, and then as who it is now.
            Presence::Publish | Presence::Relay => self.awareness.disclaim(cx.now, conn),
            Presence::Observe => self.awareness.leave(cx.now, conn),
        };
        if let Some(removed) = removed {
            self.note_presence(None, before, removed);
        }
    }

    /// Nobody needs the room any more.
    fn emptied(&mut self, cx: &mut Context<'_>, unload_after: Duration) {
        self.tick_at = None;
        self.gap_at = None;
        self.share_at = None;
        match self.phase {
            Phase::Loading { .. } => self.end(cx),
            Phase::Live if unload_after.is_zero() => {
                self.phase = Phase::Draining;
                self.unsettled = true;
            }
            Phase::Live => self.unload_at = Some(cx.now + unload_after),
            Phase::Draining | Phase::Deleting { .. } | Phase::Gone => {}
        }
    }

    /// This load is over.
    fn end(&mut self, cx: &mut Context<'_>) {
        cx.push(Output::Store(StoreOp::Release { room: self.id, name: self.name.clone() }));
        cx.event(Event::RoomClosed { room: self.id, unsaved: 0 });
        self.phase = Phase::Gone;
    }

    /// The server goes: closes all peers, and drains once they are gone.
    pub(crate) fn shutdown(&mut self, cx: &mut Context<'_>) {
        for peer in &mut self.peers {
            if peer.is_open() {
                peer.standing = Standing::Leaving;
                let reason = "the server restarts".to_owned();
                cx.push(Output::Close { conn: peer.conn, code: CloseCode::RESTART, reason });
            }
        }
        if self.peers.is_empty() {
            self.own.forsake();
            self.unload_at = None;
            self.emptied(cx, Duration::ZERO);
        }
    }

    /// Ends a connection; nothing more is sent to it, and nothing more of it is used.
    pub(crate) fn close(
        &mut self,
        cx: &mut Context<'_>,
        slot: usize,
        code: CloseCode,
        reason: &str,
    ) {
        let peer = &mut self.peers[slot];
        match peer.standing {
            Standing::Open => {
                let reason = error::close_reason(reason).to_owned();
                cx.push(Output::Close { conn: peer.conn, code, reason });
            }
            Standing::Leaving => {}
            Standing::Closed => return,
        }
        peer.standing = Standing::Closed;
        cx.closed.push(peer.conn);
    }

    fn fault(&mut self, cx: &mut Context<'_>, slot: usize, fault: Fault) {
        let conn = self.peers[slot].conn;
        self.close(cx, slot, fault.kind.close_code(), &fault.reason);
        cx.event(Event::PeerFaulted { conn, fault });
    }

    /// Everything whose time has come.
    pub(crate) fn handle_timeout(&mut self, cx: &mut Context<'_>) {
        let now = cx.now;
        let due = |at: Option<Timestamp>| at.is_some_and(|at| at <= now);
        match self.phase {
            Phase::Loading { until, .. } if until <= now => return self.fail_load(cx),
            Phase::Deleting { until } if until <= now => return self.delete_timed_out(cx),
            Phase::Deleting { .. } => return,
            Phase::Loading { .. } | Phase::Live | Phase::Draining | Phase::Gone => {}
        }
        if due(self.unload_at) {
            self.unload_at = None;
            self.phase = Phase::Draining;
            self.unsettled = true;
        }
        if due(self.journal.retry_at()) {
            self.append(cx);
        }
        if due(self.gap_at) {
            self.ask_again(cx);
        }
        if due(self.share_at) {
            self.share_again(cx);
        }
        if due(self.tick_at) {
            self.plan_tick(cx);
            self.tick(cx);
        }
    }

    fn plan_tick(&mut self, cx: &Context<'_>) {
        let period = (cx.config.keepalive / 3).clamp(Duration::from_millis(500), TICK);
        self.tick_at = Some((cx.now + period).round_up_to_second());
    }

    fn tick(&mut self, cx: &mut Context<'_>) {
        let next_tick = self.tick_at.unwrap_or(cx.now);
        self.renew_presence(cx);
        let before = self.awareness.version();
        if let Some(removed) = self.awareness.expire(cx.now, cx.config.awareness_timeout) {
            self.note_presence(None, before, removed);
        }
        for slot in 0..self.peers.len() {
            let peer = &self.peers[slot];
            let waited = |since: Timestamp, limit: Duration| cx.now.since(since) >= limit;
            if !peer.is_open() {
                continue;
            }
            if peer.last_sent + cx.config.keepalive < next_tick && peer.unsent == 0 {
                self.send(cx, slot, Bytes::from_static(encode::KEEPALIVE));
            } else if peer.unsent > 0 && waited(peer.last_flushed, cx.config.limits.lagging_for) {
                let reason = "too slow: nothing was taken for too long";
                self.fault(cx, slot, Fault::new(FaultKind::Slow, reason));
            } else if self.journal.failing().is_some()
                && peer
                    .waits
                    .since(Wait::Store)
                    .is_some_and(|at| waited(at, cx.config.limits.degraded_for))
            {
                self.close(cx, slot, CloseCode::TRY_AGAIN, "the store fails");
            }
        }
    }
}

/// How often a room with peers looks after them, at most.
const TICK: Duration = Duration::from_secs(3);
