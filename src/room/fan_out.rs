//! What peers are sent: updates once others may see them, and one diff for who could not keep up.

use super::feed::Last;
use super::{Context, Room};
use crate::config::{Config, Durability};
use crate::io::{ConnId, Event, Output, Seq};
use crate::peer::Lag;
use crate::update::{self, ClockRange, StateVector};
use crate::wire::encode;
use bytes::Bytes;
use smallvec::SmallVec;

/// What waits for durability.
#[derive(Debug)]
pub(crate) enum Gated {
    /// For everybody but its author.
    Update(HeldUpdate),
    /// The author's news that its update is safe.
    Ack(ConnId),
    /// The answer to a SyncStatus.
    Status(ConnId, Bytes),
}

#[derive(Debug)]
pub(crate) struct HeldUpdate {
    pub(super) author: ConnId,
    /// An Update message, with the update at its end.
    pub(super) frame: Bytes,
    /// The update's length.
    pub(super) bytes: usize,
    /// What it covers: nobody has been sent these structs.
    pub(super) ranges: SmallVec<[ClockRange; 1]>,
}

/// What of awareness has changed in this turn.
#[derive(Debug)]
pub(crate) struct PresenceNews {
    /// Who changed it, if it was one.
    from: Option<ConnId>,
    /// The table's version before.
    before: u64,
    /// The change, if it was one.
    alone: Option<Bytes>,
}

/// So many unanswered SyncStatus questions are kept for a connection.
const STATUSES_HELD: u8 = 16;

/// From so many updates on, one merged update is cheaper to send than each.
const MERGE_FROM: usize = 4;

impl Room {
    /// Keeps an accepted update until others may see it; at least until this turn is settled, so
    /// that what comes together goes out together.
    pub(super) fn hold_update(&mut self, config: &Config, seq: Seq, held: HeldUpdate) {
        match config.durability {
            Durability::BeforeFanout => self.hold(seq, Gated::Update(held)),
            Durability::BeforeAck => {
                let author = held.author;
                self.hold(Seq::ZERO, Gated::Update(held));
                self.hold(seq, Gated::Ack(author));
            }
            Durability::Eventual => self.hold(Seq::ZERO, Gated::Update(held)),
        }
    }

    pub(super) fn hold_status(&mut self, config: &Config, gate: Seq, slot: usize, frame: Bytes) {
        let gate = match config.durability {
            Durability::BeforeFanout | Durability::BeforeAck => gate,
            Durability::Eventual => Seq::ZERO,
        };
        let peer = &mut self.peers[slot];
        let to = peer.conn;
        if peer.statuses_held < STATUSES_HELD {
            peer.statuses_held += 1;
        } else {
            // The last question stands for those that come too quickly after it; those before it
            // keep their places, so that under steady traffic answers go on coming.
            let is_asked =
                |(_, gated): &(Seq, Gated)| matches!(gated, Gated::Status(conn, _) if *conn == to);
            if let Some(last) = self.gated.iter().rposition(is_asked) {
                self.gated.remove(last);
            }
        }
        self.hold(gate, Gated::Status(to, frame));
    }

    /// The memory that is held for one peer.
    pub(crate) fn held_bytes(&self, slot: usize) -> usize {
        let peer = &self.peers[slot];
        let asked = |(_, gated): &(Seq, Gated)| match gated {
            Gated::Status(conn, frame) if *conn == peer.conn => {
                size_of::<(Seq, Gated)>() + frame.len()
            }
            Gated::Update(_) | Gated::Ack(_) | Gated::Status(..) => 0,
        };
        let gated: usize = self.gated.iter().map(asked).sum();
        peer.held_bytes() + gated + self.awareness.held_bytes(peer.conn)
    }

    /// Keeps the queue in the order of its gates. It may be long, while the store is.
    fn hold(&mut self, gate: Seq, gated: Gated) {
        let at = self.gated.partition_point(|(other, _)| *other <= gate);
        self.gated.insert(at, (gate, gated));
        self.unsettled = true;
    }

    /// Sends what is no longer gated.
    pub(super) fn release(&mut self, cx: &mut Context<'_>) {
        let durable = self.journal.durable();
        let count = self.gated.partition_point(|(gate, _)| *gate <= durable);
        if count == 0 {
            return;
        }
        let open = if count == self.gated.len() {
            // A room that has gone quiet gives the buffer back.
            std::mem::take(&mut self.gated)
        } else {
            self.gated.drain(..count).collect()
        };
        let updates: SmallVec<[&HeldUpdate; 8]> = open
            .iter()
            .filter_map(|(_, gated)| match gated {
                Gated::Update(update) => Some(update),
                Gated::Ack(_) | Gated::Status(..) => None,
            })
            .collect();
        self.fan_out_all(cx, &updates);
        if !updates.is_empty() {
            cx.event(Event::RoomChanged { room: self.id, upto: self.visible(cx.config) });
        }
        drop(updates);
        for (gate, gated) in open {
            match gated {
                Gated::Update(update) => match cx.config.durability {
                    Durability::BeforeFanout => acknowledge(cx, update.author, gate),
                    Durability::BeforeAck | Durability::Eventual => {}
                },
                Gated::Ack(conn) => acknowledge(cx, conn, gate),
                Gated::Status(conn, frame) => {
                    if let Some(slot) = self.peers.iter().position(|peer| peer.conn == conn) {
                        self.peers[slot].statuses_held -= 1;
                        match self.owed(cx, slot) {
                            Some(lag) => lag.status = Some(frame),
                            None => self.send(cx, slot, frame),
                        }
                    }
                }
            }
        }
    }

    /// A burst goes out as one merged update per group of receivers; a few go out as they came.
    fn fan_out_all(&mut self, cx: &mut Context<'_>, updates: &[&HeldUpdate]) {
        if updates.len() < MERGE_FROM || self.peers.len() < 2 {
            for update in updates {
                self.fan_out(cx, Some(update.author), &update.frame, updates);
            }
            return;
        }
        let author = updates[0].author;
        // Of several authors each gets its own updates back too: they change nothing there, and
        // leaving them out would take a merge for each.
        let except = updates.iter().all(|update| update.author == author).then_some(author);
        let bodies: Vec<&[u8]> = updates
            .iter()
            .map(|update| &update.frame[update.frame.len() - update.bytes..])
            .collect();
        let merged = update::merge(&bodies).expect("accepted updates are well formed");
        self.fan_out(cx, except, &encode::update(&merged), updates);
    }

    fn fan_out(
        &mut self,
        cx: &mut Context<'_>,
        except: Option<ConnId>,
        frame: &Bytes,
        released: &[&HeldUpdate],
    ) {
        let (now, limit) = (cx.now, cx.config.limits.outbox_bytes);
        let mut newly_lagging: SmallVec<[usize; 8]> = SmallVec::new();
        for (slot, peer) in self.peers.iter_mut().enumerate() {
            if Some(peer.conn) == except || !peer.is_open() || peer.lag.is_some() {
                continue;
            }
            // Whoever has taken all so far is sent also what is larger than the limit: nothing would
            // give it credit back otherwise.
            if peer.unsent > 0 && peer.unsent + frame.len() > limit {
                newly_lagging.push(slot);
                continue;
            }
            if peer.unsent == 0 {
                peer.last_flushed = now;
            }
            peer.unsent += frame.len();
            peer.last_sent = now;
            cx.out.push_back(Output::Send { conn: peer.conn, frame: frame.clone() });
        }
        if !newly_lagging.is_empty() {
            self.mark_lagging(cx, &newly_lagging, released);
        }
    }

    #[cold]
    fn mark_lagging(&mut self, cx: &mut Context<'_>, slots: &[usize], released: &[&HeldUpdate]) {
        let have = self.shown_before(released);
        let awareness = self.awareness.version();
        for &slot in slots {
            let peer = &mut self.peers[slot];
            peer.lag = Some(Box::new(Lag::new(have.clone(), awareness)));
            cx.event(Event::PeerLagging { conn: peer.conn });
        }
    }

    /// A state vector that every peer has been sent: without what is gated or is just being released.
    pub(super) fn shown_before(&self, released: &[&HeldUpdate]) -> StateVector {
        let gated = self.gated.iter().filter_map(|(_, gated)| match gated {
            Gated::Update(update) => Some(update),
            Gated::Ack(_) | Gated::Status(..) => None,
        });
        let hidden = gated.chain(released.iter().copied()).flat_map(|update| &update.ranges);
        self.document.known_before(hidden.map(|range| (range.client, range.start)))
    }

    /// Credit came back.
    pub(crate) fn flushed(&mut self, cx: &mut Context<'_>, slot: usize, bytes: usize) {
        let peer = &mut self.peers[slot];
        debug_assert!(bytes <= peer.unsent, "flushed {bytes} of {} bytes", peer.unsent);
        peer.unsent = peer.unsent.saturating_sub(bytes);
        peer.last_flushed = cx.now;
        if peer.feed.is_none() && peer.lag.is_none() {
            return;
        }
        self.go_on(cx, slot);
        if self.peers[slot].has_credit(&cx.config.limits) && self.peers[slot].feed.is_none() {
            self.catch_up(cx, slot);
        }
    }

    fn catch_up(&mut self, cx: &mut Context<'_>, slot: usize) {
        let Some(lag) = self.peers[slot].lag.take() else { return };
        if let Some(states) = self.awareness.since(lag.awareness) {
            self.send(cx, slot, encode::awareness(&states));
        }
        if let Some(status) = lag.status {
            self.send(cx, slot, status);
        }
        let visible = self.visible(cx.config);
        if let Some(have) = &lag.asked {
            cx.event(Event::PeerCaughtUp { conn: self.peers[slot].conn });
            let answer = self.document.sync_step2(have, visible);
            self.bring(cx, slot, answer, Last::SyncStep2);
        } else {
            let lacking = self.document.diff(&lag.have, visible);
            self.bring(cx, slot, encode::update(&lacking), Last::Update);
        }
    }

    /// Where the answers wait that a peer asks for while it has too much waiting already; `None` if
    /// it has not.
    pub(super) fn owed(&mut self, cx: &mut Context<'_>, slot: usize) -> Option<&mut Lag> {
        let peer = &self.peers[slot];
        if peer.lag.is_none() && peer.unsent > cx.config.limits.outbox_bytes && peer.is_open() {
            self.mark_lagging(cx, &[slot], &[]);
        }
        self.peers[slot].lag.as_deref_mut()
    }

    /// Keeps a change of awareness until the turn is settled: of many, the newest states go out in
    /// one message. `from` caused it, and is not told.
    pub(super) fn note_presence(&mut self, from: Option<ConnId>, before: u64, states: Bytes) {
        self.unsettled = true;
        match &mut self.presence {
            Some(news) => *news = PresenceNews { from: None, before: news.before, alone: None },
            None => self.presence = Some(PresenceNews { from, before, alone: Some(states) }),
        }
    }

    /// Sends what has changed of awareness. It waits for no store: it is never stored.
    pub(super) fn spread_presence(&mut self, cx: &mut Context<'_>) {
        let Some(PresenceNews { from, before, alone }) = self.presence.take() else { return };
        if let Some(states) = alone.or_else(|| self.awareness.since(before)) {
            self.fan_out(cx, from, &encode::awareness(&states), &[]);
            cx.event(Event::PresenceChanged { room: self.id, states });
        }
    }

    /// Sends one frame to one peer, whatever waits for it already.
    pub(super) fn send(&mut self, cx: &mut Context<'_>, slot: usize, frame: Bytes) {
        let peer = &mut self.peers[slot];
        if !peer.is_open() {
            return;
        }
        if peer.unsent == 0 {
            peer.last_flushed = cx.now;
        }
        peer.unsent += frame.len();
        peer.last_sent = cx.now;
        cx.push(Output::Send { conn: peer.conn, frame });
    }
}

/// Says that an author's updates are durable; the application asks for itself.
fn acknowledge(cx: &mut Context<'_>, conn: ConnId, upto: Seq) {
    if conn != ConnId::APPLICATION {
        cx.event(Event::Acknowledged { conn, upto });
    }
}
