//! The second half of a run: all faults end, and then everything has to become good.

use super::server::{Server, room_name};
use super::{Due, World};
use crate::client::{Shape, shape};
use crate::op::{Edit, Present, Role};
use std::collections::BTreeMap;
use std::time::Duration;
use yroom::{Durability, Timestamp};

/// After the faults have ended everybody is synced within this.
const SYNCED_WITHIN: Duration = Duration::from_secs(5);
/// And has what the others have within this. A store that had failed is tried again after 5 s.
const EQUAL_WITHIN: Duration = Duration::from_secs(6);
/// A dead client's presence is gone within this.
const GHOSTS_GONE_WITHIN: Duration = Duration::from_secs(35);
/// And new states have reached everybody.
const PRESENCE_SETTLES: Duration = Duration::from_secs(20);

impl World {
    pub(super) fn end(&mut self) {
        let steps: [fn(&mut Self); 7] = [
            Self::heal,
            Self::check_synced,
            Self::check_equal,
            Self::check_presence,
            Self::check_unloaded,
            Self::check_reloaded,
            Self::check_unloaded,
        ];
        for step in steps {
            if self.broken.is_some() {
                return;
            }
            step(self);
        }
    }

    fn heal(&mut self) {
        self.tell(|| "all faults end".to_owned());
        self.healed = true;
        for server in 0..self.servers.len() {
            self.heal_server(server);
        }
        // A shutdown that is under way ends by itself; its grace is 30 s.
        let busy = |world: &Self| world.servers.iter().any(Server::is_going);
        let mut waited = 0;
        while busy(self) && waited < 40 && self.broken.is_none() {
            self.advance(Duration::from_secs(1));
            waited += 1;
        }
        for server in 0..self.servers.len() {
            self.start(server);
        }
        self.heal_clients();
    }

    fn heal_server(&mut self, server: usize) {
        let now = self.now;
        let it = &mut self.servers[server];
        it.doomed = None;
        it.frozen_until = now;
        it.troubled_until = now;
        it.store.heal();
        let life = it.life;
        let waiting = it.waiting.clone();
        for (id, room) in waiting {
            self.schedule(now, Due::Initialise(server, life, id, room));
        }
        for room in 0..self.rooms() {
            let name = room_name(room);
            if self.servers[server].store.is_busy(&name) {
                self.schedule(now, Due::Store(server, name, life));
            }
        }
        self.thaw(server);
    }

    fn heal_clients(&mut self) {
        let now = self.now;
        for client in 0..self.clients.len() {
            match self.clients[client].role {
                Role::Hostile | Role::Guest => {
                    self.leave(client);
                    self.clients[client].banned = true;
                }
                Role::Writer
                | Role::Reader
                | Role::Observer
                | Role::Program
                | Role::Keeper
                | Role::Relay => {
                    if self.clients[client].banned {
                        return self.fail(format!("client{client} was sent away for good"));
                    }
                }
            }
            let who = &mut self.clients[client];
            who.away_until = None;
            who.lose = 0;
            let packed = std::mem::take(&mut who.pack).1;
            for frame in packed {
                self.send_up(client, frame);
            }
        }
        for id in self.links.keys().copied().collect::<Vec<_>>() {
            self.heal_link(id);
        }
        for client in 0..self.clients.len() {
            self.clients[client].attempts = 0;
            self.schedule(now, Due::Connect(client));
        }
    }

    fn heal_link(&mut self, id: u64) {
        let now = self.now;
        let Some(link) = self.links.get_mut(&id) else { return };
        link.latency = Duration::from_millis(2);
        link.reads_from = now;
        link.writes_from = now;
        link.troubled_until = now;
        link.up.iter_mut().for_each(|(at, _)| *at = now);
        if link.silent || link.lossy || link.conn.is_none() || !link.client_open {
            link.up.clear();
            self.server_hears(id);
            self.client_hears(id);
        }
        self.schedule(now, Due::Flush(id));
        self.schedule(now, Due::Up(id));
    }

    fn active(&self) -> Vec<usize> {
        (0..self.clients.len()).filter(|client| !self.clients[*client].banned).collect()
    }

    fn check_synced(&mut self) {
        self.advance(SYNCED_WITHIN);
        for client in self.active() {
            let who = &self.clients[client];
            if who.link.is_none() || !who.synced {
                let state = if who.link.is_none() { "connected" } else { "synced" };
                return self.fail(format!("client{client} is not {state} 5 s after all faults"));
            }
        }
    }

    /// Everybody writes something more, on the connections that are there, and all see all.
    fn check_equal(&mut self) {
        for client in self.active() {
            self.edit(client, Edit::TypeOn, client as u8);
            self.advance(Duration::from_millis(3));
        }
        self.advance(EQUAL_WITHIN);
        for room in 0..self.rooms() {
            self.check_room_equal(room);
        }
        self.check_owed();
    }

    fn check_room_equal(&mut self, room: usize) {
        let mut first: Option<(String, Shape)> = None;
        let mut all: Vec<(String, Shape)> = self
            .active()
            .into_iter()
            .filter(|client| self.clients[*client].room == room)
            .filter(|client| !self.may_know_more(*client))
            .map(|client| (format!("client{client}"), self.clients[client].shape()))
            .collect();
        if all.is_empty() {
            return;
        }
        match self.stored_shape(room) {
            Ok(stored) => all.push(("the store".to_owned(), stored)),
            Err(error) => return self.fail(error),
        }
        for (who, shape) in all {
            if shape.pending {
                return self.fail(format!("{who} waits for something"));
            }
            match &first {
                None => first = Some((who, shape)),
                Some((other, expected)) if *expected != shape => {
                    return self.fail(format!(
                        "room{room}: {who} is not like {other}:\n  {shape:?}\n  {expected:?}"
                    ));
                }
                Some(_) => {}
            }
        }
    }

    /// A reader was shown what was not durable yet, by the modes that do so, and the server died: it
    /// cannot bring that back as a writer does.
    fn may_know_more(&self, client: usize) -> bool {
        let who = &self.clients[client];
        let shown_early = match self.setup.durability {
            Durability::BeforeFanout => false,
            Durability::BeforeAck | Durability::Eventual => true,
        };
        shown_early && !who.may_write() && self.servers[self.server_of(who.room)].has_died()
    }

    fn stored_shape(&self, room: usize) -> Result<Shape, String> {
        let server = self.server_of(room);
        let stored = self.servers[server].store.rooms.get(&room_name(room));
        let doc = stored.map_or_else(|| crate::client::doc_of([]), super::Kept::load)?;
        Ok(shape(&doc))
    }

    /// Who is here is known to all, also to a newcomer, and nobody else is.
    fn check_presence(&mut self) {
        for client in self.active() {
            self.present(client, Present::Here);
        }
        self.advance(GHOSTS_GONE_WITHIN);
        // Who goes in good order is gone at once.
        for room in 0..self.rooms() {
            let active = self.active().into_iter();
            let mut all = active.filter(|client| self.clients[*client].room == room);
            let Some(leaver) = all.next_back() else { continue };
            self.leave(leaver);
            self.clients[leaver].banned = true;
        }
        self.advance(Duration::from_millis(500));
        let present = self.active();
        let probes: Vec<usize> =
            (0..self.rooms()).map(|room| self.add_client(room, Role::Observer)).collect();
        self.deny_all();
        self.advance(PRESENCE_SETTLES);
        let expected = |world: &Self, room: usize, but: u64| -> BTreeMap<u64, String> {
            present
                .iter()
                .map(|client| &world.clients[*client])
                .filter(|who| who.room == room && who.id != but && who.may_be_seen())
                .filter_map(|who| Some((who, who.shown(who.own.1.as_deref()?))))
                .flat_map(|(who, state)| who.own_ids().map(move |id| (id, state.clone())))
                .collect()
        };
        for client in present.iter().chain(&probes) {
            let who = &self.clients[*client];
            let seen = who.seen();
            let expected = expected(self, who.room, who.id);
            if seen != expected {
                return self.fail(format!("client{client} sees {seen:?}, there are {expected:?}"));
            }
        }
    }

    /// Relays say of everybody that they are gone, as when their other side has lost the link: whoever
    /// is here contradicts at once.
    fn deny_all(&mut self) {
        for client in self.active() {
            if self.clients[client].role == Role::Relay {
                let frame = self.clients[client].denial();
                self.send_up(client, frame);
            }
        }
    }

    /// All leave, and the rooms go, with everything saved.
    fn check_unloaded(&mut self) {
        for client in self.active() {
            self.clients[client].away_until = Some(Timestamp::from_micros(u64::MAX));
            self.leave(client);
        }
        self.advance(super::millis(self.setup.unload_ms) + Duration::from_secs(2));
        self.check_kept();
        for server in &self.servers {
            let Some(hub) = &server.hub else { continue };
            let left = (hub.room_count(), hub.connection_count(), hub.unsaved());
            if left != (0, 0, 0) {
                return self.fail(format!("rooms, connections, unsaved updates left: {left:?}"));
            }
            if hub.poll_timeout().is_some() {
                return self.fail("an empty hub has a deadline");
            }
        }
    }

    /// Who comes much later finds everything.
    fn check_reloaded(&mut self) {
        let lasting: Vec<(usize, Shape)> = (0..self.rooms())
            .filter_map(|room| {
                let mut clients = self.active().into_iter();
                let client = clients.find(|client| {
                    self.clients[*client].room == room && !self.may_know_more(*client)
                })?;
                Some((room, self.clients[client].shape()))
            })
            .collect();
        self.advance(Duration::from_secs(3_600));
        for (room, expected) in lasting {
            let late = self.add_client(room, Role::Reader);
            self.advance(Duration::from_secs(3));
            self.check_past(room);
            let found = self.clients[late].shape();
            if found != expected {
                return self
                    .fail(format!("room{room}: a latecomer finds\n  {found:?}\n  {expected:?}"));
            }
        }
    }
}
