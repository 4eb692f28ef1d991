//! Who is read from: peers wait while the room loads, while the store cannot take more, and when
//! they have sent too much too fast.

use super::{Context, Room};
use crate::io::Output;
use crate::peer::Peer;
use crate::time::Timestamp;
use std::time::Duration;

/// Why a peer is not read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// The room is not there yet, and enough has come before it.
    Loading,
    /// The store fails, or has too much to do.
    Store,
    /// It has sent more than its share.
    Share,
}

/// Since when a peer waits, by reason.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Waits([Option<Timestamp>; 3]);

impl Waits {
    pub(super) fn since(&self, why: Wait) -> Option<Timestamp> {
        self.0[why as usize]
    }

    fn any(&self) -> bool {
        self.0.iter().any(Option::is_some)
    }
}

/// What counts against a peer's share.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cost {
    pub(super) frames: u64,
    pub(super) bytes: u64,
    /// Client ids that the document did not have.
    pub(super) new_clients: u64,
}

impl Peer {
    /// Stops reading from it, for one reason more.
    pub(super) fn wait(&mut self, cx: &mut Context<'_>, why: Wait) {
        if self.waits.since(why).is_some() || !self.is_open() {
            return;
        }
        if !self.waits.any() {
            cx.push(Output::Pause { conn: self.conn });
        }
        self.waits.0[why as usize] = Some(cx.now);
    }

    /// Reads from it again, if there is no other reason not to.
    pub(super) fn go_ahead(&mut self, cx: &mut Context<'_>, why: Wait) {
        let waited = self.waits.0[why as usize].take().is_some();
        if waited && !self.waits.any() && self.is_open() {
            cx.push(Output::Resume { conn: self.conn });
        }
    }
}

impl Room {
    /// Counts against a peer's share what it has sent, or what that has cost.
    pub(super) fn charge(&mut self, cx: &mut Context<'_>, slot: usize, cost: Cost) {
        let limits = &cx.config.limits;
        let peer = &mut self.peers[slot];
        let debt = peer
            .frames_in
            .take(cx.now, limits.frames_in, cost.frames)
            .max(peer.bytes_in.take(cx.now, limits.bytes_in, cost.bytes))
            .max(peer.new_clients.take(cx.now, limits.new_clients, cost.new_clients));
        if debt > Duration::ZERO {
            let until = cx.now + debt;
            peer.waits_until = Some(until);
            peer.wait(cx, Wait::Share);
            self.share_at = Some(self.share_at.map_or(until, |at| at.min(until)));
        }
    }

    /// Lets those go on who have waited long enough.
    pub(super) fn share_again(&mut self, cx: &mut Context<'_>) {
        self.share_at = None;
        for peer in &mut self.peers {
            match peer.waits_until {
                Some(until) if until <= cx.now => {
                    peer.waits_until = None;
                    peer.go_ahead(cx, Wait::Share);
                }
                Some(until) => {
                    self.share_at = Some(self.share_at.map_or(until, |at| at.min(until)));
                }
                None => {}
            }
        }
    }
}
