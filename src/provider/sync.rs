//! What is said on a connection.

use super::io::{Confirmation, Event, LinkId, Output, Phase, StopReason};
use super::link::{Acks, Awaited, Gap, Link};
use super::replica::Trouble;
use super::{Direction, Provider};
use crate::error::Fault;
use crate::time::Timestamp;
use crate::update::{self, StateVector};
use crate::wire::{Message, encode, messages, varint};
use bytes::Bytes;
use std::time::Duration;

/// How long a server may take to ask what we have; then it is given everything unasked.
const UNASKED: Duration = Duration::from_secs(3);

const ASK_BASE: Duration = Duration::from_millis(100);
const ASK_CAP: Duration = Duration::from_secs(10);

/// Unanswered questions at once; more would say nothing new.
const ASKED_AT_MOST: usize = 8;

impl Provider {
    /// The first words on a connection.
    pub(super) fn greet(&mut self, now: Timestamp) {
        self.ask(now);
        // Who answers this acknowledges. Servers that do not know it ignore it.
        self.send(status(self.confirmed));
        if self.presence.own().is_some() {
            self.announce(now);
        }
    }

    /// Asks the server for what we lack.
    pub(super) fn ask(&mut self, now: Timestamp) {
        let frame = encode::sync_step1(&self.replica.have().encode());
        let Some(link) = &mut self.link else { return };
        if link.asked_at + self.config.silence <= now {
            // A server may answer two questions at once: these have no answer to come any more.
            link.asked.clear();
        }
        link.asked_at = now;
        if link.asked.len() < ASKED_AT_MOST {
            link.asked.push_back(link.sent);
            self.send(frame);
        }
    }

    pub(super) fn send(&mut self, frame: Bytes) {
        if let Some(link) = &mut self.link {
            link.unsent += frame.len();
            self.outputs.push_back(Output::Send { link: link.id, frame });
        }
    }

    pub(super) fn frame(&mut self, now: Timestamp, id: LinkId, frame: Bytes) {
        let limits = &self.config.limits;
        let (frame_bytes, inbox_bytes) = (limits.frame_bytes, limits.inbox_bytes);
        let Some(link) = self.link_mut(id) else { return };
        link.hear(now);
        if frame.len() > frame_bytes {
            return self.lose(now, "the server sent a frame over the limit");
        }
        link.inbox_bytes += frame.len();
        link.inbox.push_back(frame);
        if self.phase == Phase::Handshaking {
            self.enter(Phase::Syncing);
        }
        self.read_inbox(now);
        if let Some(link) = self.link_mut(id)
            && link.inbox_bytes > inbox_bytes
            && !link.paused
        {
            link.paused = true;
            self.outputs.push_back(Output::Pause { link: id });
        }
    }

    /// Reads the frames that have come, as long as the document can be had.
    pub(super) fn read_inbox(&mut self, now: Timestamp) {
        while self.document_at.is_none()
            && let Some(frame) = self.link.as_mut().and_then(|link| link.inbox.front().cloned())
        {
            match self.read(now, &frame) {
                Ok(()) => {}
                Err(Trouble::InUse) => return self.await_document(now),
                Err(Trouble::Fault(fault)) => {
                    return self.lose(now, &format!("the server sent nonsense: {fault}"));
                }
                Err(Trouble::Unreadable(reason)) => {
                    return self.stop(now, StopReason::Unreadable { reason });
                }
                Err(Trouble::Poisoned) => return self.stop(now, StopReason::Poisoned),
            }
            if let Some(link) = &mut self.link {
                link.inbox.pop_front();
                link.inbox_bytes -= frame.len();
                if link.paused && link.inbox.is_empty() {
                    link.paused = false;
                    self.outputs.push_back(Output::Resume { link: link.id });
                }
            }
        }
    }

    /// Reads a frame. If the document is in use half-way, it is read again from the start, which
    /// says nothing twice that matters.
    fn read(&mut self, now: Timestamp, frame: &Bytes) -> Result<(), Trouble> {
        for message in messages(frame) {
            match message.map_err(Fault::from)? {
                Message::SyncStep1(have) => self.answer(have)?,
                Message::SyncStep2(update) => self.answered(now, update)?,
                Message::Update(update) => self.update(now, update)?,
                Message::Awareness(states) => self.hear_presence(now, states)?,
                Message::AuthDenied(reason) => {
                    let reason = reason.to_owned();
                    self.outputs.push_back(Output::Event(Event::Denied { reason }));
                }
                Message::AuthGranted => {}
                Message::QueryAwareness => {
                    if self.presence.own().is_some() {
                        self.announce(now);
                    }
                }
                Message::SyncStatus(status) => self.acknowledged(status),
                Message::Unknown { tag, body } => {
                    let body = frame.slice_ref(body);
                    self.outputs.push_back(Output::Event(Event::Unknown { tag, body }));
                }
            }
        }
        Ok(())
    }

    /// The server asks what it lacks.
    fn answer(&mut self, have: &[u8]) -> Result<(), Trouble> {
        let have = StateVector::decode(have, self.config.limits.state_vector_entries)?;
        let answer = match self.config.direction {
            Direction::Both => self.replica.lacking(&have)?,
            Direction::Receive => update::EMPTY.to_vec(),
        };
        self.send(encode::sync_step2(&answer));
        self.caught_up();
        Ok(())
    }

    /// The server answers what we lack.
    fn answered(&mut self, now: Timestamp, update: &[u8]) -> Result<(), Trouble> {
        let gap = self.integrate(update)?;
        let Some(link) = &mut self.link else { return Ok(()) };
        let mark = link.asked.pop_front();
        if let (Some(sent), Acks::None) = (mark, link.acks) {
            self.confirmed_upto(sent, Confirmation::Received);
        }
        if gap {
            self.note_gap(now);
            return Ok(());
        }
        let Some(link) = &mut self.link else { return Ok(()) };
        link.gap = None;
        if !link.follows {
            link.push_at.get_or_insert(now + UNASKED);
        }
        self.attempts = 0;
        self.was_synced = true;
        self.enter(Phase::Synced);
        Ok(())
    }

    fn update(&mut self, now: Timestamp, update: &[u8]) -> Result<(), Trouble> {
        let gap = self.integrate(update)?;
        // An answer that is on its way has all that was sent before it.
        let silence = self.config.silence;
        let awaited = |link: &Link| !link.asked.is_empty() && now < link.asked_at + silence;
        if gap && !self.link.as_ref().is_some_and(awaited) {
            self.note_gap(now);
        }
        Ok(())
    }

    fn integrate(&mut self, update: &[u8]) -> Result<bool, Trouble> {
        let integrated = self.replica.integrate(update, &self.config.limits)?;
        if let Some(part) = integrated.part {
            self.keep(&part);
        }
        Ok(integrated.gap)
    }

    /// Something is missing: the server is asked again, now or in a while, and not for ever.
    fn note_gap(&mut self, now: Timestamp) {
        let Some(link) = &mut self.link else { return };
        let gap = link.gap.get_or_insert(Gap { attempts: 0, ask_at: None });
        if gap.ask_at.is_some() {
            return;
        }
        if gap.attempts >= self.config.limits.gap_attempts {
            return self.lose(now, "the server does not have what its updates depend on");
        }
        let wait = if gap.attempts == 0 {
            Duration::ZERO
        } else {
            self.rng.backoff(gap.attempts, ASK_BASE, ASK_CAP)
        };
        gap.attempts += 1;
        gap.ask_at = Some(now + wait);
        let attempt = gap.attempts;
        self.outputs.push_back(Output::Event(Event::Gap { attempt }));
        self.link_timeout(now);
    }

    fn hear_presence(&mut self, now: Timestamp, states: &[u8]) -> Result<(), Trouble> {
        let heard = self.presence.hear(now, states, &self.config.limits).map_err(Fault::from)?;
        self.tell_presence(heard.change);
        if heard.contradict {
            self.announce(now);
        }
        Ok(())
    }

    fn acknowledged(&mut self, status: &[u8]) {
        let mut rest = status;
        let Some(upto) = varint::read(&mut rest).filter(|_| rest.is_empty()) else { return };
        let Some(link) = &mut self.link else { return };
        match link.acks {
            Acks::Offered(Some(awaited)) if upto < awaited.upto => return,
            Acks::None | Acks::Offered(_) => link.acks = Acks::Offered(None),
        }
        let upto = upto.min(link.sent);
        self.confirmed_upto(upto, Confirmation::Acknowledged);
    }

    fn confirmed_upto(&mut self, upto: u64, by: Confirmation) {
        if upto > self.confirmed {
            self.confirmed = upto;
            self.outputs.push_back(Output::Event(Event::Confirmed { upto, by }));
        }
    }

    /// Takes the edits that were made, and sends them if the server follows.
    pub(super) fn take_edits(&mut self, now: Timestamp) {
        match self.replica.take_overflow() {
            Ok(None) => {}
            Ok(Some(edit)) => self.edit(now, &edit),
            Err(_) => return self.await_document(now),
        }
        loop {
            if let Some(link) = &mut self.link
                && link.unsent > self.config.limits.outbox_bytes
                && link.behind.is_none()
            {
                link.behind = Some(self.replica.have().clone());
            }
            let Some(edit) = self.replica.next_edit() else { return };
            self.edit(now, &edit);
        }
    }

    fn edit(&mut self, now: Timestamp, edit: &[u8]) {
        self.keep(edit);
        if self.config.direction == Direction::Receive {
            return;
        }
        self.edits += 1;
        self.last_edit = now;
        if let Some(link) = &mut self.link
            && link.follows
            && link.behind.is_none()
        {
            link.sent = self.edits;
            self.send(encode::update(edit));
        }
    }

    /// Sends what was held back, once the connection has room for it or the server's time to ask
    /// is over.
    pub(super) fn catch_up(&mut self, now: Timestamp) {
        let Some(link) = &self.link else { return };
        let unasked = link.push_at.is_some_and(|at| at <= now);
        let has_room = link.unsent <= self.config.limits.outbox_bytes / 2;
        let have = match &link.behind {
            _ if unasked => StateVector::default(),
            Some(have) if has_room && link.follows => have.clone(),
            Some(_) | None => return,
        };
        if self.config.direction == Direction::Both {
            match self.replica.lacking(&have) {
                Ok(edits) => self.send(encode::update(&edits)),
                Err(_) => return self.await_document(now),
            }
        }
        self.caught_up();
    }

    /// The server was sent everything that it lacks.
    fn caught_up(&mut self) {
        if let Some(link) = &mut self.link {
            link.follows = true;
            link.push_at = None;
            link.behind = None;
            link.sent = self.edits;
        }
    }

    /// Asks the server whether it has what it was sent.
    pub(super) fn seek_confirmation(&mut self, now: Timestamp) {
        let (confirmed, wanted) = (self.confirmed, self.wanted);
        let again = self.config.confirm_after;
        let Some(link) = &mut self.link else { return };
        if link.sent <= confirmed || self.phase != Phase::Synced {
            return;
        }
        match link.acks {
            Acks::Offered(Some(awaited)) if now < awaited.again => {}
            Acks::Offered(awaited) => {
                let attempts = awaited.map_or(0, |awaited| awaited.attempts);
                let again = now + again * (1 << attempts.min(4));
                let awaited = Awaited { upto: link.sent, again, attempts: attempts + 1 };
                link.acks = Acks::Offered(Some(awaited));
                self.send(status(awaited.upto));
            }
            Acks::None => {
                let asked = link.asked.back().is_some_and(|&mark| mark >= link.sent);
                let quiet = self.last_edit + again <= now;
                if !asked && (wanted > confirmed || quiet) {
                    self.ask(now);
                }
            }
        }
    }

    /// Does what is due on the connection.
    pub(super) fn link_timeout(&mut self, now: Timestamp) {
        let Some(link) = &mut self.link else { return };
        if link.heard + self.config.silence <= now {
            return self.lose(now, "the server is silent");
        }
        let due = |at: Option<Timestamp>| at.is_some_and(|at| at <= now);
        let nudge = due(nudge_at(link, self.config.silence));
        let resync = due(self.config.resync.map(|every| link.asked_at + every));
        let gap = due(link.gap.and_then(|gap| gap.ask_at));
        if let Some(open) = &mut link.gap
            && gap
        {
            open.ask_at = None;
        }
        link.nudged |= nudge;
        if nudge || resync || gap {
            self.ask(now);
        }
        if due(self.presence.renewal_due(self.config.presence_renewal)) {
            self.announce(now);
        }
    }

    /// When something is due on the connection.
    pub(super) fn link_deadline(&self) -> Option<Timestamp> {
        let link = self.link.as_ref()?;
        let confirmation = match link.acks {
            _ if link.sent <= self.confirmed || self.phase != Phase::Synced => None,
            Acks::Offered(awaited) => awaited.map(|awaited| awaited.again),
            Acks::None if link.asked.len() >= ASKED_AT_MOST => None,
            Acks::None if link.asked.back().is_some_and(|&mark| mark >= link.sent) => None,
            Acks::None => Some(self.last_edit + self.config.confirm_after),
        };
        [
            Some(link.heard + self.config.silence),
            nudge_at(link, self.config.silence),
            self.config.resync.map(|every| link.asked_at + every),
            link.gap.and_then(|gap| gap.ask_at),
            // While the document is in use, its own deadline stands for that.
            link.push_at.filter(|_| self.document_at.is_none()),
            self.presence.renewal_due(self.config.presence_renewal),
            confirmation,
        ]
        .into_iter()
        .flatten()
        .min()
    }
}

/// When a quiet server is asked whether it is still there.
fn nudge_at(link: &Link, silence: Duration) -> Option<Timestamp> {
    (!link.nudged).then(|| link.heard + silence * 2 / 3)
}

fn status(count: u64) -> Bytes {
    let mut payload = Vec::with_capacity(varint::MAX_LEN);
    varint::write(&mut payload, count);
    encode::sync_status(&payload)
}
