//! What is held for a connection, inside the hub and outside of it, is bounded.

use super::World;
use super::server::room_name;
use bytes::Bytes;
use yroom::wire::{Message, messages};
use yroom::{ConnId, Presence, RoomPhase};

/// What a connection and its timers take.
const CONNECTION: usize = 1 << 10;
/// What a presence state, or a question, takes beside its bytes.
const PLACE: usize = 256;
/// What an entry of a state vector takes in memory; on the wire it is less than half of that.
const ENTRY: usize = 32;

impl World {
    /// After each event: what a hub says that it holds for its connections is no more than
    /// [`yroom::Hub::held_bytes`] promises. (That it is what it says, the test `memory` asks the
    /// allocator.)
    pub(super) fn check_held(&mut self, server: usize) {
        let it = &self.servers[server];
        let Some(hub) = &it.hub else { return };
        let over = it.conns.iter().find_map(|(conn, id)| {
            let held = hub.held_bytes(*conn).filter(|held| *held > CONNECTION)?;
            let bound = self.held_bound(server, *conn, *id);
            (held > bound).then_some((*conn, held, bound))
        });
        if let Some((conn, held, bound)) = over {
            self.fail(format!("{held} bytes are held for {conn:?}, more than {bound}"));
        }
    }

    /// The promise, for what a connection and its room are like at this moment.
    fn held_bound(&self, server: usize, conn: ConnId, link: u64) -> usize {
        let (Some(hub), Some(link)) = (&self.servers[server].hub, self.links.get(&link)) else {
            return 0;
        };
        let limits = self.setup.limits();
        let room = self.clients[link.client].room;
        let id = hub.find(&room_name(room));
        let info = id.and_then(|id| hub.room(id));
        let is_loading = info.as_ref().is_none_or(|info| info.phase == RoomPhase::Loading);
        let is_unsaved = info.as_ref().is_some_and(|info| info.unsaved > 0);
        let is_lagging =
            id.is_some_and(|id| hub.peers(id).any(|peer| peer.conn == conn && peer.lagging));

        let most = match link.presence {
            Presence::Observe => 0,
            Presence::Publish => limits.awareness_ids_per_connection,
            Presence::Relay => limits.awareness_states_per_room,
        };
        let ids = link.ids.len().min(most);
        let state = link.longest.min(limits.awareness_state_bytes) + link.stamp;
        let mut bound = CONNECTION + ids * (state + PLACE);
        // In this turn nothing was answered yet.
        if is_unsaved || self.servers[server].draining {
            bound += 16 * PLACE;
        }
        if is_loading {
            let inbox = 2 * (limits.inbox_bytes + 2 * limits.frame_bytes);
            bound += inbox.min(2 * link.delivered);
        }
        if is_lagging {
            let known = self.oracle.ids_in(room);
            bound += 2 * ENTRY * known;
            let document = self.document_bound(server, room);
            if document > limits.slice_bytes {
                bound += document + PLACE * known;
            }
        }
        bound
    }

    /// Before each frame that a hub sends: what it has given out and has not left is within the
    /// connection's outbox, but for one answer: the document, and who is here.
    pub(super) fn check_waiting(&mut self, server: usize, conn: ConnId, id: u64, frame: &Bytes) {
        let outbox = self.setup.outbox_bytes as usize;
        let Some(link) = self.links.get_mut(&id) else { return };
        let (waiting, room) = (link.unsent, self.clients[link.client].room);
        if let Some(Ok(Message::Awareness(states))) = messages(frame).next() {
            link.widest = link.widest.max(states.len() + 16);
        }
        if waiting <= outbox {
            return;
        }
        let answer = link.widest + self.document_bound(server, room);
        // A peer with a gap is asked again, eight times.
        let asked = 8 * (ENTRY / 2 * self.oracle.ids_in(room) + 8);
        let bound = outbox + answer + asked;
        if waiting > bound {
            self.fail(format!("{waiting} bytes wait for {conn:?}, more than {bound}"));
        }
    }

    /// No document of a room, nor a part of it, takes more in a frame.
    pub(super) fn document_bound(&self, server: usize, room: usize) -> usize {
        let (it, name) = (&self.servers[server], room_name(room));
        let stored = it.store.rooms.get(&name);
        let stored: usize = stored.map_or(0, |kept| kept.history.iter().map(Bytes::len).sum());
        let hub = it.hub.as_ref();
        let held = hub.and_then(|hub| Some(hub.room(hub.find(&name)?)?.bytes));
        stored.max(held.unwrap_or(0)) + (1 << 10)
    }
}
