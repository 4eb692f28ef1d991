//! What each [`Op`] does.

use super::link::Up;
use super::server::room_name;
use super::{Due, World, millis};
use crate::client::Question;
use crate::op::{Op, Present};
use crate::oracle::Oracle;
use std::time::Duration;
use yroom::wire;

impl World {
    pub(super) fn perform(&mut self, op: Op) {
        let clients = self.clients.len();
        let servers = self.servers.len();
        let at = |client: u8| usize::from(client) % clients.max(1);
        let srv = |server: u8| usize::from(server) % servers;
        if clients == 0 {
            return;
        }
        match op {
            Op::Advance { ms } => self.advance(millis(ms)),
            Op::Edit { client, edit, amount } => self.edit(at(client), edit, amount),
            Op::Presence { client, present } => self.present(at(client), present),
            Op::Query { client } => self.query(at(client)),
            Op::Status { client } => self.ask_status(at(client)),
            Op::Offline { client, ms } => self.go_offline(at(client), ms),
            Op::Reload { client } => self.reload(at(client)),
            Op::Repeat { client } => {
                let client = at(client);
                if let Some(frame) = self.clients[client].last_update.clone() {
                    self.send_up(client, frame);
                }
            }
            Op::Pack { client, messages } => {
                let client = &mut self.clients[at(client)];
                // Ours sends each message by itself.
                let packs = client.program.is_none() && client.pack.0 == 0;
                if client.link.is_some() && packs {
                    client.pack.0 = u32::from(messages % 8);
                }
            }
            Op::Lose { client } => {
                let client = &mut self.clients[at(client)];
                client.lose += u32::from(client.link.is_some());
            }
            Op::Reset { client, server_hears, client_hears } => {
                self.reset(at(client), server_hears, client_hears);
            }
            Op::HalfOpen { client } => {
                if let Some(link) = self.clients[at(client)].link {
                    self.silence(link);
                }
            }
            Op::SlowReader { .. } | Op::SlowWriter { .. } | Op::Latency { .. } => {
                self.slow_down(op, at);
            }
            Op::Attack { client, attack, seed } => self.attack(at(client), attack, seed),
            Op::Crash { server, outputs, down } => {
                let it = &mut self.servers[srv(server)];
                if it.hub.is_some() {
                    it.doomed = Some((u32::from(outputs), down));
                }
            }
            Op::Freeze { server, ms } => self.freeze(srv(server), ms),
            Op::Shutdown { server, down } => self.shut_down(srv(server), down),
            Op::Leap { server, ms } => self.leap(srv(server), ms),
            Op::StoreFate { server, fate, times } => {
                self.servers[srv(server)].store.plan(fate, times);
            }
            Op::StoreStall { server, ms } => {
                self.servers[srv(server)].store.stalled_until = self.now + millis(ms);
            }
            Op::StoreFull { server, ms } => {
                self.servers[srv(server)].store.full_until = self.now + millis(ms);
            }
            Op::StoreLatency { server, ms } => {
                self.servers[srv(server)].store.latency = Duration::from_millis(u64::from(ms));
            }
            Op::Delete { room } => self.delete(usize::from(room) % self.rooms()),
            Op::Damage { room, at } => {
                let room = usize::from(room) % self.rooms();
                let server = self.server_of(room);
                if let Some(kept) = self.servers[server].store.rooms.get_mut(&room_name(room)) {
                    kept.damage = Some(at);
                }
            }
        }
    }

    pub(super) fn edit(&mut self, client: usize, edit: crate::op::Edit, amount: u8) {
        let who = &mut self.clients[client];
        if !who.may_write() {
            return;
        }
        let Some((update, deletes)) = who.edit(edit, amount) else { return };
        if who.program.is_some() {
            return self.program_edited(client, deletes);
        }
        let frame = wire::encode::update(&update);
        who.last_update = Some(frame.clone());
        if who.link.is_some() {
            who.sent_deletes.extend(deletes);
            self.send_up(client, frame);
        }
    }

    pub(super) fn present(&mut self, client: usize, present: Present) {
        let who = &mut self.clients[client];
        let state = match present {
            Present::Here => Some(format!("{{\"at\":{}}}", who.rng.below(1 << 20))),
            Present::Gone => None,
        };
        if who.program.is_some() {
            return self.program_shows(client, state.as_deref());
        }
        if let Some(frame) = who.set_presence(self.now, state) {
            self.send_up(client, frame);
            self.arm(client);
        }
    }

    fn query(&mut self, client: usize) {
        if self.clients[client].program.is_none() {
            self.send_up(client, wire::encode::query_awareness());
        }
    }

    fn ask_status(&mut self, client: usize) {
        if self.with_provider(client, yroom::provider::Provider::confirm).is_some() {
            return;
        }
        let who = &mut self.clients[client];
        let Some(link) = who.link.and_then(|link| self.links.get(&link)) else { return };
        who.asked += 1;
        let number = who.asked;
        // What was sent before the server asked, and what was lost, nobody has answered for.
        if who.answered && !link.lossy && who.may_write() {
            let (id, clock, deletes) = (who.id, who.clock(), who.sent_deletes.len());
            who.questions.insert(number, Question { id, clock, deletes });
        }
        let number = (number as u32).to_be_bytes();
        self.send_up(client, wire::encode::sync_status(&number));
    }

    /// A client is told that what it had sent is saved.
    pub(super) fn saved(&mut self, client: usize, number: u64) {
        let who = &mut self.clients[client];
        let Some(question) = who.questions.remove(&number) else { return };
        if who.forgets || self.setup.durability == yroom::Durability::Eventual {
            return;
        }
        let name = room_name(who.room);
        let server = who.room % self.servers.len();
        let durable = &self.servers[server].store.rooms.entry(name).or_default().durable;
        let saved = Oracle::is_saved(question, &who.sent_deletes, durable);
        self.require(saved);
    }

    fn go_offline(&mut self, client: usize, ms: u32) {
        // A program tries on and on: days of that are no different from minutes.
        let most = if self.clients[client].program.is_some() { 600_000 } else { u32::MAX };
        let until = self.now + millis(ms.min(most));
        self.clients[client].away_until = Some(until);
        self.part(client);
        self.schedule(until, Due::Connect(client));
    }

    pub(super) fn reload(&mut self, client: usize) {
        self.kill_program(client);
        self.part(client);
        let (room, role) = (self.clients[client].room, self.clients[client].role);
        let user = self.clients[client].user.clone();
        let id = self.fresh_id(room, role, user.as_deref());
        let wards = self.fresh_wards(room, role);
        self.clients[client].reload(id, wards);
        if !self.start_program(client) {
            self.schedule(self.now, Due::Connect(client));
        }
    }

    pub(super) fn reset(&mut self, client: usize, server_hears: u32, client_hears: u32) {
        let Some(id) = self.clients[client].link else { return };
        self.silence(id);
        self.after(millis(server_hears), Due::ServerHears(id));
        self.after(millis(client_hears), Due::ClientHears(id));
    }

    fn slow_down(&mut self, op: Op, at: impl Fn(u8) -> usize) {
        let (client, read, write, latency) = match op {
            Op::SlowReader { client, ms } => (client, ms, 0, None),
            Op::SlowWriter { client, ms } => (client, 0, ms, None),
            Op::Latency { client, ms } => (client, 0, 0, Some(ms)),
            _ => return,
        };
        let now = self.now;
        let id = self.clients[at(client)].link;
        let Some(link) = id.and_then(|id| self.links.get_mut(&id)) else { return };
        link.reads_from = link.reads_from.max(now + millis(read));
        link.writes_from = link.writes_from.max(now + millis(write));
        link.troubled_until = link.troubled_until.max(link.reads_from).max(link.writes_from);
        if let Some(latency) = latency {
            link.latency = Duration::from_millis(u64::from(latency));
        }
        let (reads, writes) = (link.reads_from, link.writes_from);
        if let Some(id) = id {
            self.schedule(reads, Due::Flush(id));
            self.schedule(writes, Due::Up(id));
        }
    }

    /// A frame of an attacker, which no honest client would send.
    pub(super) fn inject(&mut self, client: usize, frame: impl Into<bytes::Bytes>) {
        if let Some(id) = self.clients[client].link {
            self.push_up(id, Up::Frame(frame.into()));
        }
    }
}
