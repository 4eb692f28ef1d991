//! What the application does: it knows users, gives rooms their first content, and has them deleted.

use super::server::room_name;
use super::{Due, World, millis};
use crate::client::stamp;
use crate::op::{Identities, Past, Role};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use yroom::update::ClientId;
use yroom::{
    Absent, ApplicationOp, CloseCode, Identity, Input, RoomId, RoomName, RoomPhase, Seq,
    StoreFault, StoreFaultKind, Timestamp,
};
use yrs::{Array, Doc, Transact};

/// The ids of whoever writes a room's first content: no client has one of them.
const FIRST_AUTHOR: u64 = 700_000_000;

/// For so long after it was there an id is its user's; an hour is promised.
const CLAIMED: Duration = Duration::from_secs(3_000);

/// What the store has of a row beside its bytes.
const ROW: usize = 64;

impl World {
    /// The user that a client is. Two clients are one user, and every fourth is nobody.
    pub(super) fn user(&self, number: usize, role: Role) -> Option<String> {
        match (self.setup.identities, role) {
            (Identities::Nobody, _) | (_, Role::Relay) => None,
            (Identities::Users | Identities::Given, _) if number % 4 == 3 => None,
            (Identities::Users | Identities::Given, _) => Some(format!("u-{}", number / 2)),
        }
    }

    /// A relay speaks for more clients than any connection may that is none.
    pub(super) fn fresh_wards(&mut self, room: usize, role: Role) -> Vec<u64> {
        match role {
            Role::Relay => (0..10).map(|_| self.fresh_id(room, role, None)).collect(),
            Role::Writer
            | Role::Reader
            | Role::Observer
            | Role::Guest
            | Role::Hostile
            | Role::Program
            | Role::Keeper => Vec::new(),
        }
    }

    /// Whom a connection speaks for.
    pub(super) fn identity(&self, client: usize) -> Option<Arc<Identity>> {
        let who = &self.clients[client];
        let user = who.user.as_ref()?;
        let identity = Identity::new().user(user).and_then(|it| it.stamp(&stamp(user)));
        let identity = match self.setup.identities {
            Identities::Given => identity.and_then(|it| it.ids([ClientId(who.id)])),
            Identities::Nobody | Identities::Users => identity,
        };
        Some(Arc::new(identity.expect("within its bounds")))
    }

    /// Whether a room's server knows for certain whose an id is.
    pub(super) fn is_claimed(&self, server: usize, room: usize, id: u64) -> bool {
        let load = self.load_of(server, room);
        let claim = self.oracle.claim(id);
        claim.is_some_and(|(at, of)| Some(of) == load && self.now.since(at) < CLAIMED)
    }

    /// Which load of a room is there, in which life of its server.
    pub(super) fn load_of(&self, server: usize, room: usize) -> Option<(u32, RoomId)> {
        let it = &self.servers[server];
        Some((it.life, it.hub.as_ref()?.find(&room_name(room))?))
    }

    /// A hub wants something of the application.
    pub(super) fn serve(&mut self, server: usize, op: &ApplicationOp) {
        self.tell(|| format!("server{server} {op:?}"));
        let (id, name) = match op {
            ApplicationOp::Initialise { room, name } if self.setup.absent == Absent::Initialise => {
                (*room, name)
            }
            ApplicationOp::Initialise { .. } | ApplicationOp::Message { .. } => {
                return self.fail(format!("{op:?} was not asked for"));
            }
        };
        let it = &mut self.servers[server];
        if !it.asked.insert(id) {
            return self.fail(format!("{name} is to begin twice in one load"));
        }
        if it.store.rooms.get(name).is_some_and(|kept| !kept.stored.is_absent()) {
            return self.fail(format!("{name} is to begin, and is stored"));
        }
        let (life, late) = (it.life, it.rng.below(10));
        let wait = match late {
            0 if !self.healed => millis(65_000),
            1 if !self.healed => millis(2_000),
            _ => millis(1 + late as u32),
        };
        let room = room_number(name);
        it.waiting.insert(id, room);
        self.after(wait, Due::Initialise(server, life, id, room));
    }

    /// The application's answer: another content each time, by another author.
    pub(super) fn initialise(&mut self, server: usize, life: u32, id: RoomId, room: usize) {
        let it = &mut self.servers[server];
        if it.life != life {
            return;
        }
        if it.frozen_until > self.now {
            let at = it.frozen_until;
            return self.schedule(at, Due::Initialise(server, life, id, room));
        }
        if it.waiting.remove(&id).is_none() {
            return;
        }
        let result = if !self.healed && it.rng.chance(150) {
            Err(StoreFault::new(StoreFaultKind::NotDone, "no template"))
        } else {
            self.next_id += 1;
            let content = first_content(FIRST_AUTHOR + self.next_id);
            self.oracle.gave(room, &content);
            Ok(Some(content))
        };
        self.tell(|| format!("server{server} is given room{room}: {}", result.is_ok()));
        self.input(server, Input::Initialised { room: id, result });
    }

    /// Whoever is served has what the application gave the room at first, once.
    pub(super) fn check_given(&mut self, client: usize) {
        if self.setup.absent != Absent::Initialise || self.clients[client].forgets {
            return;
        }
        let given = self.clients[client].given();
        if given != 1 {
            self.fail(format!("client{client} has a room's first content {given} times"));
        }
    }

    /// The application has a room deleted.
    pub(super) fn delete(&mut self, room: usize) {
        let (server, name) = (self.server_of(room), room_name(room));
        let it = &mut self.servers[server];
        let now = it.clock(self.now);
        let Some(hub) = it.hub.as_mut().filter(|_| it.frozen_until <= self.now) else { return };
        if hub.delete(now, &name).is_err() {
            return;
        }
        self.turn(server);
        for client in 0..self.clients.len() {
            if self.clients[client].room == room {
                self.clients[client].forgets = true;
                if self.clients[client].link.is_none() {
                    self.forget(client);
                }
            }
        }
    }

    /// A client without a connection forgets a room that was deleted, if it was.
    pub(super) fn forget(&mut self, client: usize) {
        if std::mem::take(&mut self.clients[client].forgets) {
            self.clients[client].program.iter_mut().for_each(|program| program.forget());
            self.reload(client);
        }
    }

    /// A close that says that the room was deleted is true.
    pub(super) fn check_gone(&mut self, client: usize, code: u16) {
        if code == CloseCode::GONE.0 && !self.clients[client].forgets {
            self.fail(format!("client{client} is told that its room is gone, and it is not"));
        }
    }

    /// What the store did with deletions; what was deleted may not be shown again.
    pub(super) fn note_deletions(&mut self, server: usize) {
        for (name, is_done) in std::mem::take(&mut self.servers[server].store.deletions) {
            self.oracle.deletion_ended(room_number(&name), is_done);
        }
    }

    /// Whether a room is on its way out: nobody may be let in.
    pub(super) fn is_being_deleted(&self, server: usize, room: usize) -> bool {
        let hub = self.servers[server].hub.as_ref();
        hub.and_then(|hub| hub.room(hub.find(&room_name(room))?))
            .is_some_and(|info| info.phase == RoomPhase::Deleting)
    }

    /// A log is folded only for a reason that the application has named.
    pub(super) fn check_reason(
        &self,
        server: usize,
        name: &RoomName,
        upto: Seq,
    ) -> Result<(), String> {
        let it = &self.servers[server];
        let Some(kept) = it.store.rooms.get(name) else { return Ok(()) };
        let now = it.clock(self.now);
        let older =
            |at: Option<Timestamp>, ms: u32| at.is_some_and(|at| now.since(at) > millis(ms));
        let bytes = kept.log_bytes() + ROW * kept.stored.log.len();
        let has_reason = match self.setup.past {
            Past::WhenItPays => true,
            Past::All => false,
            // What the store has beyond that, the room may not have heard of.
            Past::Quiet(ms) => older(kept.rows_upto(upto).last(), ms),
            Past::Age(ms) => older(kept.began(), ms),
            Past::Rows(ms) => kept.rows_upto(upto).all(|at| older(Some(at), ms)),
            Past::Bytes(most) => bytes > most as usize,
        };
        if has_reason { Ok(()) } else { Err(format!("{name} is folded, and nobody wanted that")) }
    }

    /// A room that was just loaded has no more past than was wanted.
    pub(super) fn check_past(&mut self, room: usize) {
        let server = self.server_of(room);
        let it = &self.servers[server];
        let Some(kept) = it.store.rooms.get(&room_name(room)) else { return };
        let now = it.clock(self.now);
        let age = kept.began().map_or(Duration::ZERO, |at| now.since(at));
        let (bytes, rows) = (kept.log_bytes(), kept.history.len());
        let kept_all = kept.stored.snapshot.is_none();
        let over = match self.setup.past {
            Past::WhenItPays => false,
            Past::All => !kept_all,
            Past::Quiet(_) | Past::Age(_) | Past::Rows(_) => age > Duration::from_secs(3_000),
            Past::Bytes(most) => bytes > most as usize,
        };
        if over {
            let past = self.setup.past;
            self.fail(format!(
                "room{room} has {bytes} bytes, {rows} rows, {age:?} of past: {past:?}"
            ));
        }
    }
}

pub(super) fn room_number(name: &RoomName) -> usize {
    name.as_str().trim_start_matches("room").parse().expect("a number")
}

fn first_content(author: u64) -> Bytes {
    let doc = Doc::with_client_id(author);
    let given = doc.get_or_insert_array("given");
    let mut txn = doc.transact_mut();
    given.push_back(&mut txn, "once");
    txn.encode_update_v1().into()
}
