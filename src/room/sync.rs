//! What peers say: sync steps, updates, awareness.

use super::fan_out::HeldUpdate;
use super::feed::Last;
use super::pace::Cost;
use super::{Context, Phase, Room};
use crate::awareness::Speaker;
use crate::config::{Limits, Presence};
use crate::document::Verdict;
use crate::error::{Fault, FaultKind};
use crate::io::{ApplicationOp, Event, Output, Seq};
use crate::peer::{Gap, Standing};
use crate::time::Timestamp;
use crate::update::{self, StateVector};
use crate::wire::{self, Message, encode, varint};
use bytes::Bytes;
use std::borrow::Cow;
use std::time::Duration;

const ASK_BASE: Duration = Duration::from_millis(100);
const ASK_CAP: Duration = Duration::from_secs(10);
/// The longest SyncStatus that is answered.
const STATUS_BYTES: usize = 64;
/// A gap that has not shown for so long counts as a new one.
const GAP_FORGOTTEN: Duration = Duration::from_secs(60);

impl Room {
    /// What a newcomer is sent unasked: SyncStep1, or its offline edits never come; and who is here.
    pub(super) fn greet(&mut self, cx: &mut Context<'_>, slot: usize) {
        let step1 = encode::sync_step1(&self.document.known().encode());
        self.send(cx, slot, step1);
        if let Some(states) = self.awareness.snapshot() {
            self.send(cx, slot, encode::awareness(&states));
        }
    }

    /// A frame from a peer: one message or several.
    pub(crate) fn frame(&mut self, cx: &mut Context<'_>, slot: usize, frame: Bytes) {
        match self.peers[slot].standing {
            Standing::Open | Standing::Leaving => {}
            Standing::Closed => return,
        }
        if frame.len() > cx.config.limits.frame_bytes {
            let limit = cx.config.limits.frame_bytes;
            let reason = format!("a frame of {} bytes is over the limit of {limit}", frame.len());
            return self.fault(cx, slot, Fault::new(FaultKind::Limit, reason));
        }
        let cost = Cost { frames: 1, bytes: frame.len() as u64, ..Cost::default() };
        self.charge(cx, slot, cost);
        match self.phase {
            Phase::Loading { .. } => return self.keep_waiting(cx, slot, frame),
            Phase::Live | Phase::Draining => {}
            Phase::Deleting { .. } | Phase::Gone => return,
        }
        let mut messages = wire::messages(&frame);
        loop {
            if is_for_the_application(cx.config, messages.rest()) {
                let message = frame.slice_ref(messages.rest());
                let conn = self.peers[slot].conn;
                cx.push(Output::Application(ApplicationOp::Message { conn, message }));
                return;
            }
            let Some(message) = messages.next() else { return };
            let outcome = match message {
                Ok(message) => self.message(cx, slot, &frame, &message),
                Err(error) => Err(error.into()),
            };
            if let Err(fault) = outcome {
                return self.fault(cx, slot, fault);
            }
        }
    }

    fn message(
        &mut self,
        cx: &mut Context<'_>,
        slot: usize,
        frame: &Bytes,
        message: &Message<'_>,
    ) -> Result<(), Fault> {
        let leaving = !self.peers[slot].is_open();
        match *message {
            Message::SyncStep1(_) | Message::QueryAwareness | Message::SyncStatus(_) if leaving => {
            }
            Message::SyncStep1(have) => self.sync_step1(cx, slot, have)?,
            Message::SyncStep2(update) => {
                // It has all that the peer has: what was missing before is here, or never was.
                if !self.update(cx, slot, update, None)? {
                    self.peers[slot].gap = None;
                }
            }
            Message::Update(update) => {
                // The frame of a single update goes to the others as it came.
                let head = 2 + varint::len(update.len() as u64);
                let alone = frame.len() == head + update.len() && frame[head..] == *update;
                let _gap = self.update(cx, slot, update, alone.then_some(frame))?;
            }
            Message::Awareness(states) => self.awareness_message(cx, slot, states)?,
            Message::QueryAwareness => {
                if let Some(lag) = self.owed(cx, slot) {
                    lag.awareness = 0;
                    return Ok(());
                }
                let states = self.awareness.snapshot();
                let frame = states.map_or_else(
                    || Bytes::from_static(encode::KEEPALIVE),
                    |states| encode::awareness(&states),
                );
                self.send(cx, slot, frame);
            }
            Message::SyncStatus(status) => self.sync_status(cx, slot, status),
            // Words of a server to its client; from a client they mean nothing.
            Message::AuthDenied(_) | Message::AuthGranted => {}
            Message::Unknown { tag: wire::tag::ENVELOPE, body } => {
                self.envelope(cx, slot, frame, body)?;
            }
            Message::Unknown { tag, .. } => {
                cx.event(Event::UnknownMessage { conn: self.peers[slot].conn, tag });
            }
        }
        Ok(())
    }

    fn sync_step1(&mut self, cx: &mut Context<'_>, slot: usize, have: &[u8]) -> Result<(), Fault> {
        let have = StateVector::decode(have, cx.config.limits.state_vector_entries)?;
        if let Some(lag) = self.owed(cx, slot) {
            lag.asked = Some(have);
            return Ok(());
        }
        let visible = self.visible(cx.config);
        let answer = self.document.sync_step2(&have, visible);
        self.bring(cx, slot, answer, Last::SyncStep2);
        Ok(())
    }

    /// An update, by whichever message: the one place where anything enters the document.
    /// Whether some of it depends on what the room does not have.
    fn update(
        &mut self,
        cx: &mut Context<'_>,
        slot: usize,
        update: &[u8],
        frame: Option<&Bytes>,
    ) -> Result<bool, Fault> {
        if update == update::EMPTY {
            return Ok(false);
        }
        let conn = self.peers[slot].conn;
        if !self.peers[slot].may_write() {
            self.refuse(cx, slot, update)?;
            return Ok(false);
        }
        let gap = match self.document.judge(update, &cx.config.limits)? {
            Verdict::Nothing => false,
            Verdict::Gap => true,
            Verdict::Accept { part, scan, gap } => {
                let read = self.document.deepen(&part, &scan, &cx.config.limits)?;
                // Whoever makes the room read all it has pays for that, and so does who makes it
                // remember ids: each costs an entry here and with everybody who has the document.
                let new_clients = match self.peers[slot].access.presence {
                    Presence::Relay => 0,
                    Presence::Observe | Presence::Publish => {
                        self.document.new_clients(&scan) as u64
                    }
                };
                if read > 0 || new_clients > 0 {
                    let cost = Cost { frames: 0, bytes: read as u64, new_clients };
                    self.charge(cx, slot, cost);
                }
                let seq = self.journal.push(&part);
                self.document.accept(&part, &scan);
                let frame = match (frame, &part) {
                    (Some(frame), Cow::Borrowed(part)) if part.len() == update.len() => {
                        frame.clone()
                    }
                    _ => encode::update(&part),
                };
                let held =
                    HeldUpdate { author: conn, frame, bytes: part.len(), ranges: scan.ranges };
                self.hold_update(cx.config, seq, held);
                if self.congested {
                    // Also one that was left its turn to ask for the document, and writes instead.
                    self.pause_writer(cx, slot);
                }
                gap
            }
        };
        if gap {
            self.note_gap(cx, slot);
        }
        Ok(gap)
    }

    /// A reader's update. A SyncStep2 that brings nothing new is no attempt to write.
    fn refuse(&mut self, cx: &mut Context<'_>, slot: usize, update: &[u8]) -> Result<(), Fault> {
        match self.document.judge(update, &cx.config.limits)? {
            Verdict::Nothing => {}
            Verdict::Gap | Verdict::Accept { .. } => {
                self.peers[slot].refused = true;
                cx.event(Event::Refused { conn: self.peers[slot].conn });
            }
        }
        Ok(())
    }

    /// The peer has something that depends on what we lack: it is asked, now or in a while.
    fn note_gap(&mut self, cx: &mut Context<'_>, slot: usize) {
        let peer = &mut self.peers[slot];
        let gap = peer
            .gap
            .get_or_insert_with(|| Box::new(Gap { attempts: 0, ask_at: None, seen: cx.now }));
        if cx.now.since(gap.seen) > GAP_FORGOTTEN {
            gap.attempts = 0;
        }
        gap.seen = cx.now;
        if gap.ask_at.is_some() || gap.attempts >= cx.config.limits.gap_attempts {
            return;
        }
        if gap.attempts == 0 {
            self.ask(cx, slot);
        } else {
            let at = cx.now + cx.rng.backoff(gap.attempts, ASK_BASE, ASK_CAP);
            gap.ask_at = Some(at);
            self.gap_at = Some(self.gap_at.map_or(at, |other| other.min(at)));
        }
    }

    fn ask(&mut self, cx: &mut Context<'_>, slot: usize) {
        let peer = &mut self.peers[slot];
        let Some(gap) = &mut peer.gap else { return };
        gap.attempts += 1;
        gap.ask_at = None;
        cx.event(Event::Gap { conn: peer.conn, attempt: gap.attempts });
        let step1 = encode::sync_step1(&self.document.known().encode());
        self.send(cx, slot, step1);
    }

    /// Asks those whose time has come.
    pub(super) fn ask_again(&mut self, cx: &mut Context<'_>) {
        self.gap_at = None;
        for slot in 0..self.peers.len() {
            let ask_at = |room: &Self| room.peers[slot].gap.as_ref().and_then(|gap| gap.ask_at);
            if ask_at(self).is_some_and(|at| at <= cx.now) {
                self.ask(cx, slot);
            }
            let earliest = |at: Timestamp| self.gap_at.map_or(at, |other| other.min(at));
            self.gap_at = ask_at(self).map(earliest).or(self.gap_at);
        }
    }

    fn awareness_message(
        &mut self,
        cx: &mut Context<'_>,
        slot: usize,
        states: &[u8],
    ) -> Result<(), Fault> {
        let peer = &self.peers[slot];
        if !peer.is_open() {
            return Ok(());
        }
        match peer.access.presence {
            Presence::Observe => {
                cx.event(Event::Refused { conn: peer.conn });
                return Ok(());
            }
            Presence::Relay => return self.relayed_presence(cx, slot, states),
            Presence::Publish => {}
        }
        self.take_presence(cx, slot, states, &cx.config.limits)
    }

    /// Takes in what a peer announces, by these limits.
    pub(super) fn take_presence(
        &mut self,
        cx: &mut Context<'_>,
        slot: usize,
        states: &[u8],
        limits: &Limits,
    ) -> Result<(), Fault> {
        let peer = &self.peers[slot];
        let (conn, presence) = (peer.conn, peer.access.presence);
        let from = Speaker { conn, identity: peer.access.identity.as_deref(), presence };
        let before = self.awareness.version();
        let applied = self.awareness.apply(cx.now, from, states, limits)?;
        if let Some(changed) = applied.others {
            self.note_presence(Some(conn), before, changed);
        }
        if let Some(correction) = applied.sender {
            match self.owed(cx, slot) {
                // With all that is known, removals too, when it takes something.
                Some(lag) => lag.awareness = 0,
                None => self.send(cx, slot, encode::awareness(&correction)),
            }
        }
        Ok(())
    }

    /// Answers "is everything saved?" once it is: y-sweet's type 102, echoed when all that the room
    /// has is durable. Not only what came from this peer: what it was told the room has, or what
    /// somebody else had brought before, it did not bring.
    fn sync_status(&mut self, cx: &mut Context<'_>, slot: usize, status: &[u8]) {
        let peer = &self.peers[slot];
        let gate = self.journal.accepted();
        // What the room could not use is not saved: no answer, and the client goes on showing that.
        // A reader that has sent nothing is answered, and so learns that there are answers.
        // What is asked is a version, a number; what is longer is not answered either, as it would
        // have to be kept.
        if peer.gap.is_some() || peer.refused || status.len() > STATUS_BYTES {
            return;
        }
        self.hold_status(cx.config, gate, slot, encode::sync_status(status));
    }

    /// What a peer may be shown: in the default durability, what is durable.
    pub(super) fn visible(&self, config: &crate::Config) -> Seq {
        match config.durability {
            crate::Durability::BeforeFanout => self.journal.durable(),
            crate::Durability::BeforeAck | crate::Durability::Eventual => self.journal.accepted(),
        }
    }
}

/// Whether the message at the beginning of `rest` is the application's, whatever its type means
/// elsewhere.
pub(super) fn is_for_the_application(config: &crate::Config, mut rest: &[u8]) -> bool {
    let own = &config.application_messages;
    !own.is_empty() && varint::read(&mut rest).is_some_and(|tag| own.contains(&tag))
}
