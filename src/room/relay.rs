//! Presence from a peer that speaks for many: a server that this room is linked with.

use super::{Context, Room};
use crate::awareness::is_gone;
use crate::config::{Limits, Presence};
use crate::error::Fault;
use crate::io::ConnId;
use crate::update::ClientId;
use crate::wire::awareness::{Entry, GONE, entries, write};
use crate::wire::{encode, varint};

impl Room {
    /// A relay's states, bounded by the room's number and not by a connection's.
    pub(super) fn relayed_presence(
        &mut self,
        cx: &mut Context<'_>,
        slot: usize,
        states: &[u8],
    ) -> Result<(), Fault> {
        let config = cx.config;
        let limits = Limits {
            awareness_ids_per_connection: config.limits.awareness_states_per_room,
            ..config.limits.clone()
        };
        self.take_presence(cx, slot, states, &limits)?;
        self.tell_the_denied(cx, slot, states);
        Ok(())
    }

    /// Tells those of our peers whom a relay takes for gone.
    ///
    /// When a link breaks, the other side tells everybody there that ours have left; with the same
    /// clock nobody would have them back before they renew themselves, which takes 15 s. A client
    /// that hears of its own removal raises its clock and announces itself at once. Only clients
    /// are told: two relays could tell each other without an end.
    fn tell_the_denied(&mut self, cx: &mut Context<'_>, slot: usize, states: &[u8]) {
        let from = self.peers[slot].conn;
        for entry in entries(states).into_iter().flatten().flatten() {
            if !is_gone(entry.json) || entry.clock == varint::MAX {
                continue;
            }
            let owner = self.awareness.denied(entry.client, entry.clock);
            if let Some(slot) = owner.filter(|&owner| owner != from).and_then(|c| self.client(c))
                // Who has too much waiting renews itself before it would read this.
                && self.owed(cx, slot).is_none()
            {
                self.send(cx, slot, removal(entry.client, entry.clock));
            }
        }
    }

    /// The place of a peer that speaks for itself only.
    fn client(&self, conn: ConnId) -> Option<usize> {
        let slot = self.peers.iter().position(|peer| peer.conn == conn)?;
        match self.peers[slot].access.presence {
            Presence::Publish => Some(slot),
            Presence::Observe | Presence::Relay => None,
        }
    }
}

fn removal(client: ClientId, clock: u64) -> bytes::Bytes {
    encode::awareness(&write([Entry { client, clock, json: GONE }]))
}
