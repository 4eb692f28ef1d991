//! What programs of ours do in the world: their providers' outputs are carried out here.

use super::link::Up;
use super::manners::Manners;
use super::server::room_name;
use super::{Due, World};
use crate::client::{Question, shape};
use crate::coverage::Run;
use crate::op::Role;
use crate::oracle::Oracle;
use crate::program::Program;
use bytes::Bytes;
use std::time::Duration;
use yroom::provider::{Confirmation, Event, Input, Outlook, Output, Phase, Provider, StopReason};
use yroom::{CloseCode, Durability, StoreOp, Timestamp};

/// How long a silent server is listened to.
const SILENCE: Duration = Duration::from_secs(31);

impl World {
    /// Makes a program of a client, if it is to be one, and starts it.
    pub(super) fn start_program(&mut self, client: usize) -> bool {
        let who = &mut self.clients[client];
        match who.role {
            Role::Writer
            | Role::Reader
            | Role::Observer
            | Role::Guest
            | Role::Hostile
            | Role::Relay => {
                return false;
            }
            Role::Program | Role::Keeper => {}
        }
        if let Some(program) = &mut who.program {
            program.restart(&self.setup, who.role, &who.doc, &mut who.rng);
        } else {
            let program = Program::new(&self.setup, who.role, &who.doc, &mut who.rng);
            who.program = Some(Box::new(program));
        }
        self.with_provider(client, Provider::connect);
        true
    }

    /// Does something with a program's provider, and what follows from that.
    pub(super) fn with_provider<T>(
        &mut self,
        client: usize,
        act: impl FnOnce(&mut Provider, Timestamp) -> T,
    ) -> Option<T> {
        let now = self.now;
        let result = act(&mut self.clients[client].program.as_mut()?.provider, now);
        while self.broken.is_none()
            && let Some(program) = &mut self.clients[client].program
            && let Some(output) = program.provider.poll_output()
        {
            self.events += 1;
            self.carry_out_for(client, output);
        }
        let is_synced = self.phase(client) == Some(Phase::Synced);
        if is_synced && !std::mem::replace(&mut self.clients[client].synced, is_synced) {
            self.check_given(client);
        }
        self.clients[client].synced = is_synced;
        self.check_renewal(client);
        self.arm(client);
        Some(result)
    }

    fn phase(&self, client: usize) -> Option<Phase> {
        self.clients[client].program.as_ref().map(|program| program.provider.phase())
    }

    fn carry_out_for(&mut self, client: usize, output: Output) {
        let Some(program) = &mut self.clients[client].program else { return };
        match output {
            Output::Connect { link } => {
                program.line = Some(link);
                program.manners = Manners::default();
                self.after(Duration::from_millis(1), Due::Connect(client));
            }
            Output::Send { link, frame } => {
                if program.line == Some(link) {
                    program.unsent += frame.len();
                    self.program_sends(client, frame);
                }
            }
            Output::Pause { .. } | Output::Resume { .. } => {
                self.fail("a document that nobody else uses is in use");
            }
            Output::Close { link, code, reason } => {
                if program.line.take() == Some(link) {
                    self.tell(|| format!("client{client} closes: {code} {reason}"));
                    self.program_hangs_up(client);
                }
            }
            Output::Store(op) => {
                let life = program.life;
                let wait = Duration::from_micros(500 + self.clients[client].rng.below(2_500));
                self.after(wait, Due::Disk(client, life, Box::new(op)));
            }
            Output::Event(event) => self.program_says(client, &event),
        }
    }

    fn program_sends(&mut self, client: usize, frame: Bytes) {
        let who = &self.clients[client];
        let Some(program) = &who.program else { return };
        let unsent = program.unsent;
        self.note_sent(client, &frame, unsent - frame.len());
        let who = &self.clients[client];
        let (room, bytes) = (who.room, frame.len());
        let bound =
            self.setup.outbox_bytes as usize + self.document_bound(self.server_of(room), room);
        // What the server has not got yet it may be sent whole.
        let whole = self.clients[client].whole().len();
        if unsent > bound + 4 * whole {
            return self.fail(format!("{unsent} bytes wait in client{client}, more than {bound}"));
        }
        let Some(id) = self.clients[client].link else { return };
        self.send_up(client, frame);
        if let Some(link) = self.links.get_mut(&id) {
            link.leaving.push_back(bytes);
        }
    }

    /// What a program has sent by a link leaves it, if the network takes anything.
    pub(super) fn programs_frames_leave(&mut self, id: u64) {
        let now = self.now;
        let Some(link) = self.links.get_mut(&id).filter(|link| !link.leaving.is_empty()) else {
            return;
        };
        if link.silent || link.writes_from > now || !link.client_open {
            return;
        }
        let (client, bytes) = (link.client, link.leaving.drain(..).sum());
        let Some(program) = &mut self.clients[client].program else { return };
        let Some(link) = program.line else { return };
        program.unsent = program.unsent.saturating_sub(bytes);
        self.with_provider(client, |provider, now| {
            provider.handle(now, Input::Flushed { link, bytes });
        });
    }

    /// A program tries to connect, if that is what it waits for.
    pub(super) fn connect_program(&mut self, client: usize) {
        let who = &self.clients[client];
        let Some(line) = who.program.as_ref().and_then(|program| program.line) else { return };
        if who.link.is_some() || self.phase(client) != Some(Phase::Connecting) {
            return;
        }
        let away = who.banned || who.away_until.is_some_and(|until| until > self.now);
        let joined = if away { Err("no network".to_owned()) } else { self.join(client) };
        let input = match joined {
            Ok(_) => Input::Connected { link: line },
            Err(reason) => {
                self.clients[client].program.iter_mut().for_each(|program| program.line = None);
                Input::ConnectFailed { link: line, reason, outlook: Outlook::Transient }
            }
        };
        self.with_provider(client, |provider, now| provider.handle(now, input));
    }

    /// A program's document was edited.
    pub(super) fn program_edited(&mut self, client: usize, deletes: Vec<Run>) {
        self.with_provider(client, |provider, now| provider.handle(now, Input::Edited));
        let clock = self.clients[client].clock();
        if let Some(program) = &mut self.clients[client].program {
            program.edited(clock, deletes);
        }
    }

    /// A program shows a state of presence, or none any more.
    pub(super) fn program_shows(&mut self, client: usize, state: Option<&str>) {
        self.clients[client].own.1 = state.map(str::to_owned);
        let shown = self.with_provider(client, |provider, now| provider.set_presence(now, state));
        if shown.is_some_and(|shown| shown.is_err()) {
            self.fail("a state of presence is refused");
        }
    }

    /// A frame arrives at a program.
    pub(super) fn program_takes(&mut self, client: usize, frame: &Bytes) {
        let who = &mut self.clients[client];
        let Some(link) = who.program.as_ref().and_then(|program| program.line) else { return };
        let denial = self.denial(client, frame);
        let frame = frame.clone();
        self.with_provider(client, |provider, now| {
            provider.handle(now, Input::Frame { link, frame });
        });
        if let Some(clock) = denial {
            self.check_contradiction(client, clock);
        }
    }

    /// A program's link is gone, and it was not the program that closed it.
    pub(super) fn program_loses(&mut self, client: usize, code: Option<u16>) {
        let Some(program) = &mut self.clients[client].program else { return };
        program.unsent = 0;
        let Some(link) = program.line.take() else { return };
        let code = code.map(yroom::CloseCode);
        let reason = "the connection broke".to_owned();
        self.with_provider(client, |provider, now| {
            provider.handle(now, Input::Closed { link, code, reason });
        });
        if !self.clients[client].seen().is_empty() {
            self.fail(format!("client{client} sees others without a connection"));
        }
    }

    fn program_hangs_up(&mut self, client: usize) {
        let Some(id) = self.clients[client].link else { return };
        if let Some(link) = self.links.get(&id)
            && let Some(program) = &mut self.clients[client].program
        {
            let server = self.servers[link.server].troubled_until;
            program.troubled_until = link.troubled_until.max(server);
            program.unsent = 0;
        }
        self.part(client);
    }

    /// Ends a program in good order.
    pub(super) fn end_program(&mut self, client: usize) {
        let Some(program) = &mut self.clients[client].program else { return };
        program.is_leaving = true;
        self.with_provider(client, Provider::shutdown);
    }

    /// A program's disk has done something.
    pub(super) fn disk(&mut self, client: usize, life: u32, op: &StoreOp) {
        let healed = self.healed;
        let who = &mut self.clients[client];
        let Some(program) = &mut who.program else { return };
        if program.life != life {
            return;
        }
        let fails = !healed && who.rng.chance(30);
        let input = match program.store(op, fails) {
            Some(yroom::Input::Loaded { result, .. }) => Input::Loaded(result),
            Some(yroom::Input::Durable { upto, .. }) => Input::Durable(upto),
            Some(yroom::Input::WriteFailed { seq, fault, .. }) => Input::WriteFailed(seq, fault),
            Some(yroom::Input::Compacted { upto, result, .. }) => Input::Compacted(upto, result),
            Some(_) | None => return,
        };
        self.with_provider(client, |provider, now| provider.handle(now, input));
    }

    /// What a program's timers do.
    pub(super) fn program_ticks(&mut self, client: usize) {
        self.with_provider(client, Provider::handle_timeout);
        let now = self.now;
        let stays = |program: &Program| program.provider.poll_timeout().is_some_and(|at| at <= now);
        if self.clients[client].program.as_deref().is_some_and(stays) {
            self.fail(format!("a deadline of client{client} stays after it was handled"));
        }
    }

    fn program_says(&mut self, client: usize, event: &Event) {
        self.tell(|| format!("client{client} {event:?}"));
        let Some(program) = &self.clients[client].program else { return };
        match event {
            Event::Stopped(_) if program.is_leaving => {}
            Event::Stopped(StopReason::Refused { code: CloseCode::GONE, .. })
                if self.clients[client].forgets => {}
            Event::Stopped(reason) => self.fail(format!("client{client} has stopped: {reason}")),
            Event::Retrying { reason, .. } if reason.contains("nonsense") => {
                self.fail(format!("client{client}: {reason}"));
            }
            Event::Retrying { reason, .. }
                if reason.contains("silent") && program.troubled_until + SILENCE < self.now =>
            {
                self.fail(format!("client{client} heard nothing for 30 s"));
            }
            Event::Gap { attempt } => {
                self.fail(format!("client{client} is sent what has to wait, {attempt} times"));
            }
            Event::Confirmed { upto, by: Confirmation::Acknowledged } => {
                self.program_is_confirmed(client, *upto);
            }
            _ => {}
        }
    }

    /// A program is told that so many of its edits are saved.
    fn program_is_confirmed(&mut self, client: usize, upto: u64) {
        let who = &self.clients[client];
        let lossy = who.link.and_then(|id| self.links.get(&id)).is_none_or(|link| link.lossy);
        // What was lost on the way nobody has answered for.
        if lossy || who.forgets || self.setup.durability == Durability::Eventual {
            return;
        }
        let Some(confirmed) = who.program.as_ref().and_then(|program| program.confirmed(upto))
        else {
            return;
        };
        let deletes = confirmed.deletes.len();
        let question = Question { id: who.id, clock: confirmed.clock, deletes };
        let server = self.server_of(who.room);
        let Some(kept) = self.servers[server].store.rooms.get(&room_name(who.room)) else {
            return self.fail(format!("client{client} is told that all is saved, and nothing is"));
        };
        let saved = Oracle::is_saved(question, confirmed.deletes, &kept.durable);
        self.require(saved);
    }

    /// A program that was told to end has everything on its disk, if it has one.
    pub(super) fn check_kept(&mut self) {
        for number in 0..self.clients.len() {
            let client = &self.clients[number];
            let Some(program) = client.program.as_ref().filter(|_| client.role == Role::Keeper)
            else {
                continue;
            };
            if !program.provider.is_finished() {
                return self.fail(format!("client{number} was told to end, and has not"));
            }
            match program.kept() {
                Ok(kept) if shape(&kept) == client.shape() => {}
                Ok(kept) => {
                    let (kept, shape) = (shape(&kept), client.shape());
                    return self.fail(format!("client{number}'s copy:\n  {kept:?}\n  {shape:?}"));
                }
                Err(broken) => return self.fail(broken),
            }
        }
    }

    /// What a killed program had on its disk is in its room in the end.
    pub(super) fn check_owed(&mut self) {
        for client in &self.clients {
            let Some(program) = &client.program else { continue };
            let server = self.server_of(client.room);
            let Some(kept) = self.servers[server].store.rooms.get(&room_name(client.room)) else {
                continue;
            };
            let runs = program.owed.structs.runs();
            if let Some(run) = runs.into_iter().find(|run| !kept.accepted.structs.has(*run)) {
                let what = format!("{run:?} was on client {}'s disk, and is lost", client.id);
                return self.fail(what);
            }
        }
    }

    /// A frame, or a goodbye, of a program that is killed is not sent.
    pub(super) fn kill_program(&mut self, client: usize) {
        if let Some(program) = &mut self.clients[client].program {
            program.line = None;
        }
        if let Some(id) = self.clients[client].link {
            // The kernel ends the connections of a process that dies.
            self.push_up(id, Up::Bye);
        }
    }
}
