//! The application as one of those who use a room: it holds it, writes, is present, and goes.

use super::fan_out::HeldUpdate;
use super::{Context, Phase, Room};
use crate::awareness::{Speaker, check_state, is_gone};
use crate::config::Presence;
use crate::document::Verdict;
use crate::error::{self, CloseCode, NotApplied, StoreFault, StoreFaultKind};
use crate::hub::{PeerInfo, RoomInfo, RoomPhase};
use crate::io::{ConnId, Event, Output, Seq, StoreOp};
use crate::journal::Journal;
use crate::peer::Standing;
use crate::time::Timestamp;
use crate::update::{self, ClientId, StateVector};
use crate::wire::awareness::{Entry, GONE, write};
use crate::wire::encode;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::time::Duration;

/// The application's presence is renewed so often, as y-protocols' clients renew theirs.
const RENEW_AFTER: Duration = Duration::from_secs(15);

/// What the application has in a room.
#[derive(Debug, Default)]
pub(super) struct Own {
    /// How often it holds the room.
    holds: usize,
    presence: BTreeMap<ClientId, Announced>,
}

/// A presence state of the application's.
#[derive(Debug)]
struct Announced {
    json: String,
    at: Timestamp,
}

impl Own {
    /// The room goes, held or not.
    pub(super) const fn forsake(&mut self) {
        self.holds = 0;
    }
}

impl Room {
    /// Whether neither a peer nor the application needs it.
    pub(super) const fn is_unused(&self) -> bool {
        self.peers.is_empty() && self.own.holds == 0
    }

    pub(crate) fn take_hold(&mut self) {
        self.own.holds += 1;
        self.unload_at = None;
        if self.phase == Phase::Draining {
            self.phase = Phase::Live;
        }
    }

    pub(crate) fn release_hold(&mut self, cx: &mut Context<'_>) {
        if self.own.holds == 0 {
            return;
        }
        self.own.holds -= 1;
        if self.own.holds > 0 {
            return;
        }
        self.own.presence.clear();
        let before = self.awareness.version();
        if let Some(removed) = self.awareness.leave(cx.now, ConnId::APPLICATION) {
            self.note_presence(None, before, removed);
        }
        if self.is_unused() {
            self.emptied(cx, cx.config.unload_after);
        }
    }

    /// What it shows: in the default durability, what is durable.
    pub(crate) fn content(&mut self, config: &crate::Config) -> Option<Bytes> {
        if !self.is_served() {
            return None;
        }
        self.document.fold(self.visible(config));
        Some(self.document.snapshot().clone())
    }

    /// The state vector of [`content`](Self::content).
    pub(crate) fn state_vector(&self) -> Option<StateVector> {
        self.is_served().then(|| self.shown_before(&[]))
    }

    /// Takes an update from the application; it is durable when the place is.
    pub(crate) fn apply(&mut self, cx: &mut Context<'_>, update: &[u8]) -> Result<Seq, NotApplied> {
        if !self.is_served() {
            return Err(NotApplied::NotLive);
        }
        if self.congested {
            return Err(NotApplied::Congested);
        }
        self.enter(cx, update)?;
        // What was there already is durable with everything else.
        Ok(self.journal.accepted())
    }

    pub(super) fn enter(&mut self, cx: &mut Context<'_>, update: &[u8]) -> Result<(), NotApplied> {
        if update == update::EMPTY {
            return Ok(());
        }
        match self.document.judge(update, &cx.config.limits).map_err(NotApplied::Invalid)? {
            Verdict::Nothing => Ok(()),
            Verdict::Gap | Verdict::Accept { gap: true, .. } => Err(NotApplied::Gap),
            Verdict::Accept { part, scan, gap: false } => {
                let deepened = self.document.deepen(&part, &scan, &cx.config.limits);
                deepened.map_err(NotApplied::Invalid)?;
                let seq = self.journal.push(&part);
                self.document.accept(&part, &scan);
                let held = HeldUpdate {
                    author: ConnId::APPLICATION,
                    frame: encode::update(&part),
                    bytes: part.len(),
                    ranges: scan.ranges,
                };
                self.hold_update(cx.config, seq, held);
                Ok(())
            }
        }
    }

    /// Whether everything up to `seq` is durable.
    pub(crate) fn is_durable(&self, seq: Seq) -> bool {
        self.is_served() && self.journal.durable() >= seq
    }

    /// Sends a message of the application's to a peer that has credit for it.
    pub(crate) fn tell(&mut self, cx: &mut Context<'_>, slot: usize, message: &Bytes) -> Told {
        let peer = &self.peers[slot];
        match peer.standing {
            Standing::Leaving | Standing::Closed => return Told::Gone,
            Standing::Open => {}
        }
        let limit = cx.config.limits.outbox_bytes;
        if peer.lag.is_some() || (peer.unsent > 0 && peer.unsent + message.len() > limit) {
            return Told::TooSlow;
        }
        self.send(cx, slot, message.clone());
        Told::Sent
    }

    /// Announces a presence state of the application's, or takes it back.
    pub(crate) fn set_presence(
        &mut self,
        cx: &mut Context<'_>,
        client: ClientId,
        json: Option<&str>,
    ) -> Result<(), NotApplied> {
        if !self.is_served() {
            return Err(NotApplied::NotLive);
        }
        let Some(json) = json.filter(|json| !is_gone(json)) else {
            // What was never announced, or is somebody else's by now, need not be taken back.
            if self.own.presence.remove(&client).is_some() {
                let _taken_over = self.announce(cx, client, GONE);
            }
            return Ok(());
        };
        check_state(json, &cx.config.limits).map_err(NotApplied::Invalid)?;
        self.announce(cx, client, json)?;
        self.own.presence.insert(client, Announced { json: json.to_owned(), at: cx.now });
        Ok(())
    }

    fn announce(
        &mut self,
        cx: &Context<'_>,
        client: ClientId,
        json: &str,
    ) -> Result<(), NotApplied> {
        // Above the clock of a state that was taken back, too: it is remembered for a while.
        let entry = Entry { client, clock: self.awareness.clock(client) + 1, json };
        // What the application says of somebody is its own business.
        let (conn, presence) = (ConnId::APPLICATION, Presence::Relay);
        let from = Speaker { conn, identity: None, presence };
        let before = self.awareness.version();
        let applied = self
            .awareness
            .apply(cx.now, from, &write([entry]), &cx.config.limits)
            .map_err(NotApplied::Invalid)?;
        let changed = applied.others.ok_or(NotApplied::IdTaken)?;
        self.note_presence(None, before, changed);
        Ok(())
    }

    /// Says again that the application is present: peers forget who is silent for 30 s.
    pub(super) fn renew_presence(&mut self, cx: &Context<'_>) {
        let due = |own: &Announced| cx.now.since(own.at) >= RENEW_AFTER;
        let clients: Vec<ClientId> = self
            .own
            .presence
            .iter()
            .filter_map(|(client, own)| due(own).then_some(*client))
            .collect();
        for client in clients {
            let Some(mut own) = self.own.presence.remove(&client) else { continue };
            own.at = cx.now;
            // If it is not the application's any more, somebody took it over: it is theirs.
            if self.announce(cx, client, &own.json).is_ok() {
                self.own.presence.insert(client, own);
            }
        }
    }

    /// Closes everybody, forgets everything, and has the store forget it too.
    pub(crate) fn delete(&mut self, cx: &mut Context<'_>) {
        if let Phase::Deleting { .. } = self.phase {
            return;
        }
        self.close_all(cx, CloseCode::GONE, "the room was deleted");
        self.own = Own::default();
        self.gated.clear();
        self.presence = None;
        // An append that is in flight is carried out before the deletion, and its answer is late.
        self.journal = Journal::new(Seq::ZERO);
        (self.gap_at, self.share_at, self.unload_at, self.tick_at) = (None, None, None, None);
        self.phase = Phase::Deleting { until: cx.now + cx.config.limits.load_timeout };
        cx.push(Output::Store(StoreOp::Delete { room: self.id, name: self.name.clone() }));
    }

    /// The store has answered the deletion.
    pub(crate) fn deleted(&mut self, cx: &mut Context<'_>, result: Result<(), StoreFault>) {
        if let Phase::Deleting { .. } = self.phase {
            cx.event(Event::RoomDeleted { room: self.id, result });
            self.end(cx);
        }
    }

    pub(super) fn delete_timed_out(&mut self, cx: &mut Context<'_>) {
        let fault = StoreFault::new(StoreFaultKind::Unknown, "the store did not answer");
        self.deleted(cx, Err(fault));
    }

    pub(crate) fn info(&self) -> Option<RoomInfo> {
        let phase = match self.phase {
            Phase::Loading { .. } => RoomPhase::Loading,
            Phase::Live => RoomPhase::Live,
            Phase::Draining => RoomPhase::Draining,
            Phase::Deleting { .. } => RoomPhase::Deleting,
            Phase::Gone => return None,
        };
        Some(RoomInfo {
            id: self.id,
            name: self.name.clone(),
            phase,
            peers: self.peers.len(),
            holds: self.own.holds,
            bytes: self.document.bytes(),
            unsaved: self.unsaved(),
        })
    }

    pub(crate) fn peer_infos(&self) -> impl Iterator<Item = PeerInfo> {
        self.peers.iter().map(|peer| PeerInfo {
            conn: peer.conn,
            synced: peer.synced,
            lagging: peer.lag.is_some(),
        })
    }

    /// What everybody in it shows of themselves, as an awareness payload.
    pub(crate) fn presence(&self) -> Option<Bytes> {
        self.awareness.snapshot()
    }

    /// Closes every peer.
    pub(crate) fn close_all(&mut self, cx: &mut Context<'_>, code: CloseCode, reason: &str) {
        let reason = error::close_reason(reason);
        for slot in 0..self.peers.len() {
            self.close(cx, slot, code, reason);
        }
    }

    const fn is_served(&self) -> bool {
        match self.phase {
            Phase::Live | Phase::Draining => true,
            Phase::Loading { .. } | Phase::Deleting { .. } | Phase::Gone => false,
        }
    }
}

/// What became of a message of the application's to one peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Told {
    /// It is on its way.
    Sent,
    /// The peer has too much waiting; the message is dropped, as only the document is caught up.
    TooSlow,
    /// There is no such peer any more.
    Gone,
}
