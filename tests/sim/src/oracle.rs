//! What is promised, held against what happens.

use crate::client::{Client, Question, doc_of, shape};
use crate::coverage::{Content, Coverage, Run};
use crate::op::{Identities, Role};
use crate::world::Kept;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use yroom::update::ClientId;
use yroom::wire::awareness::{Entry, entries};
use yroom::wire::{Message, messages};
use yroom::{RoomId, Timestamp};

/// How long a state's owner may be silent before its id may pass to somebody else.
const OWNER_SILENT_FOR: Duration = Duration::from_secs(20);

/// Longer than what a server sends can be older than what has happened to it.
const TURN: Duration = Duration::from_secs(1);

/// What was done by whom.
#[derive(Debug)]
pub(crate) struct Oracle {
    rooms: Vec<Book>,
    /// The room of each client id that was ever used, and whether it may be seen.
    ids: BTreeMap<u64, (usize, bool)>,
    /// States of presence that their owners announced, and their own removals.
    announced: BTreeSet<(u64, u64, String)>,
    seats: BTreeMap<u64, Seat>,
    /// What attackers said, by the number in it: as which users they are known, and whether it may be
    /// shown, as it was not said in the name of someone whose id that certainly is.
    evil: BTreeMap<u64, Evil>,
    identities: Identities,
    /// The user that an id's client is.
    users: BTreeMap<u64, String>,
    /// When a user's id was taken by its server last, and in which load of its room.
    claims: BTreeMap<u64, (Timestamp, Load)>,
    /// What was in rooms that are being deleted.
    deleted: BTreeMap<usize, Book>,
    /// Rooms with a relay, and with an attacker whom nobody knows.
    relayed: BTreeSet<usize>,
    anonymous: BTreeSet<usize>,
    doubted_until: Timestamp,
}

/// A load of a room, in a life of its server.
pub(crate) type Load = (u32, RoomId);

/// Something that an attacker said.
#[derive(Clone, Debug)]
struct Evil {
    user: Option<String>,
    is_forbidden: bool,
}

/// A room's books.
#[derive(Debug, Default)]
struct Book {
    /// What those who may write have sent.
    authored: Coverage,
    updates: Vec<Bytes>,
}

impl Book {
    fn write(&mut self, update: &[u8]) {
        if let Ok(content) = Content::read(update)
            && !self.authored.has(&content)
        {
            self.authored.add(&content);
            self.updates.push(Bytes::copy_from_slice(update));
        }
    }

    fn join(&mut self, other: Self) {
        self.authored.join(&other.authored);
        self.updates.extend(other.updates);
    }
}

/// The number in what an attacker says.
fn evil(json: &str) -> Option<u64> {
    let (_, rest) = json.split_once("\"evil\":")?;
    rest.split(|char: char| !char.is_ascii_digit()).next()?.parse().ok()
}

/// The first of these deletions that does not follow from these updates. One that no delete set
/// names may follow all the same: its parent is gone, or it has lost against another entry of a map.
fn not_implied(runs: &[Run], updates: &[Bytes]) -> Result<Option<Run>, String> {
    if runs.is_empty() {
        return Ok(None);
    }
    let doc = doc_of(updates.iter().map(|update| &update[..]))?;
    let mut gone = Coverage::default();
    gone.add(&Content { structs: Vec::new(), deletes: shape(&doc).deletes });
    Ok(runs.iter().copied().find(|run| !gone.deletes.has(*run)))
}

/// What a link has carried.
#[derive(Debug, Default)]
struct Seat {
    id: u64,
    /// Since when the server's side is gone.
    lost: Option<Timestamp>,
    /// Its own presence: the clock that arrived last, whether it is a state, and when.
    arrived: Option<(u64, bool, Timestamp)>,
    /// When the state arrived that the server certainly has taken from it, and its clock.
    taken: Option<(Timestamp, u64)>,
    /// What it was told of others: clock, whether there is a state, when.
    told: BTreeMap<u64, (u64, bool, Timestamp)>,
}

impl Oracle {
    /// Books for so many rooms.
    pub(crate) fn new(rooms: usize, identities: Identities) -> Self {
        Self {
            identities,
            rooms: (0..rooms).map(|_| Book::default()).collect(),
            ids: BTreeMap::new(),
            announced: BTreeSet::new(),
            seats: BTreeMap::new(),
            evil: BTreeMap::new(),
            users: BTreeMap::new(),
            claims: BTreeMap::new(),
            deleted: BTreeMap::new(),
            relayed: BTreeSet::new(),
            anonymous: BTreeSet::new(),
            doubted_until: Timestamp::ZERO,
        }
    }

    /// A client id is used in a room.
    pub(crate) fn register(&mut self, room: usize, id: u64, role: Role, user: Option<&str>) {
        if let Some(user) = user {
            self.users.insert(id, user.to_owned());
        }
        if role == Role::Relay {
            self.relayed.insert(room);
        }
        if role == Role::Hostile && user.is_none() {
            self.anonymous.insert(room);
        }
        let seen = match role {
            Role::Observer => false,
            Role::Writer
            | Role::Reader
            | Role::Guest
            | Role::Hostile
            | Role::Program
            | Role::Keeper
            | Role::Relay => true,
        };
        self.ids.insert(id, (room, seen));
    }

    /// What the application gives a room is written there.
    pub(crate) fn gave(&mut self, room: usize, update: &Bytes) {
        self.rooms[room].write(update);
    }

    /// The store is asked to forget a room: what was written there may not be shown from now on.
    pub(crate) fn deletion_begins(&mut self, room: usize) {
        let book = std::mem::take(&mut self.rooms[room]);
        self.deleted.entry(room).or_default().join(book);
    }

    /// It has, or it has not: then all of it is there as before.
    pub(crate) fn deletion_ended(&mut self, room: usize, is_done: bool) {
        let Some(book) = self.deleted.remove(&room) else { return };
        if !is_done {
            self.rooms[room].join(book);
        }
    }

    /// Since when an id is known to be its user's, and in which load of its room.
    pub(crate) fn claim(&self, id: u64) -> Option<(Timestamp, Load)> {
        self.claims.get(&id).copied()
    }

    /// The ids of others that a client speaks of in a frame, if they are another user's.
    pub(crate) fn foreign(&self, client: &Client, frame: &Bytes) -> Vec<u64> {
        let mut ids = Vec::new();
        for message in messages(frame).map_while(Result::ok) {
            let Message::Awareness(states) = message else { continue };
            for entry in entries(states).into_iter().flatten().map_while(Result::ok) {
                let id = entry.client.0;
                let user = self.users.get(&id);
                if user.is_some() && user != client.user.as_ref() && client.role != Role::Relay {
                    ids.push(id);
                }
            }
        }
        ids
    }

    /// How many client ids were ever used in a room, attackers' inventions and its first content's
    /// included.
    pub(crate) fn ids_in(&self, room: usize) -> usize {
        self.ids.values().filter(|(home, _)| *home == room).count() + 8
    }

    /// A link is there.
    pub(crate) fn connected(&mut self, link: u64, id: u64) {
        self.seats.insert(link, Seat { id, ..Seat::default() });
    }

    /// The server's side of a link has ended.
    pub(crate) fn server_lost(&mut self, now: Timestamp, link: u64) {
        self.seats.retain(|_, seat| seat.lost.is_none_or(|at| at + TURN > now));
        if let Some(seat) = self.seats.get_mut(&link) {
            seat.lost.get_or_insert(now);
        }
    }

    /// A client sends something.
    pub(crate) fn sent(&mut self, client: &Client, frame: &Bytes) {
        for message in messages(frame).map_while(Result::ok) {
            match message {
                Message::SyncStep2(update) | Message::Update(update) if client.may_write() => {
                    self.rooms[client.room].write(update);
                }
                Message::Awareness(states) => {
                    for entry in entries(states).into_iter().flatten().map_while(Result::ok) {
                        let id = entry.client.0;
                        if client.speaks_for(id) {
                            let state = (id, entry.clock, client.shown(entry.json));
                            self.announced.insert(state);
                        }
                    }
                }
                Message::SyncStep1(_)
                | Message::SyncStep2(_)
                | Message::Update(_)
                | Message::AuthDenied(_)
                | Message::AuthGranted
                | Message::QueryAwareness
                | Message::SyncStatus(_)
                | Message::Unknown { .. } => {}
            }
        }
    }

    /// A client's frame arrives at its server.
    /// `claimed` are the ids in it that are certainly another user's.
    pub(crate) fn arrives(
        &mut self,
        now: Timestamp,
        link: u64,
        client: &Client,
        claimed: &[u64],
        frame: &Bytes,
    ) {
        for message in messages(frame).map_while(Result::ok) {
            let Message::Awareness(states) = message else { continue };
            for entry in entries(states).into_iter().flatten().map_while(Result::ok) {
                let is_claimed = claimed.contains(&entry.client.0);
                self.entry_arrives(now, link, client, is_claimed, &entry);
            }
        }
    }

    fn entry_arrives(
        &mut self,
        now: Timestamp,
        link: u64,
        client: &Client,
        is_claimed: bool,
        entry: &Entry<'_>,
    ) {
        let id = entry.client.0;
        if id == client.id
            && let Some(seat) = self.seats.get_mut(&link)
            && seat.id == id
            && seat.arrived.is_none_or(|(clock, ..)| clock <= entry.clock)
        {
            seat.arrived = Some((entry.clock, entry.json != "null", now));
        }
        if let Some(number) = evil(entry.json) {
            // As it was when it connected: what is on its way outlives a reload.
            let own = self.seats.get(&link).map(|seat| seat.id);
            let is_foreign = !client.speaks_for(id) && own != Some(id);
            let is_forbidden = is_foreign && (is_claimed || self.is_here(now, id));
            // Each is said once; what comes later is others' echo of what they were shown.
            let user = client.user.clone();
            self.evil.entry(number).or_insert(Evil { user, is_forbidden });
        }
    }

    /// A server's clock has leapt, or it was frozen: to it everybody has been silent for long. What
    /// it sends in this turn it had decided before.
    pub(crate) fn doubt(&mut self, until: Timestamp) {
        self.doubted_until = self.doubted_until.max(until + TURN);
        self.seats.values_mut().for_each(|seat| seat.taken = None);
        self.claims.clear();
    }

    /// Whether a client's state was taken by its server, and may not be touched by anyone else.
    pub(crate) fn is_here(&self, now: Timestamp, id: u64) -> bool {
        let mut seats = self.seats.values().filter(|seat| seat.id == id && seat.lost.is_none());
        seats.any(|seat| {
            let state = seat.arrived.is_some_and(|(_, state, _)| state);
            let fresh = |(at, _)| now.since(at) + Duration::from_secs(1) < OWNER_SILENT_FOR;
            state && seat.taken.is_some_and(fresh)
        })
    }

    /// The server's promises on an update that it shows to somebody: it was written there, by
    /// someone who may, and, where that is promised, it is durable.
    pub(crate) fn shown(
        &self,
        room: usize,
        update: &[u8],
        durable: Option<&Kept>,
    ) -> Result<(), String> {
        let content = Content::read(update)
            .map_err(|error| format!("an update is sent that yrs cannot read: {error}"))?;
        let book = &self.rooms[room];
        if let Some((client, start, end)) = book.authored.lacks_struct(&content) {
            let whose = match self.ids.get(&client) {
                Some((home, _)) if *home != room => format!(", which belongs to room{home}"),
                Some(_) => String::new(),
                None => ", whom nobody knows".to_owned(),
            };
            let what = format!("{start}..{end} of client id {client}{whose}");
            return Err(format!("room{room} shows what nobody wrote there: {what}"));
        }
        let unknown = book.authored.lacks_deletes(&content);
        if let Some(run) = not_implied(&unknown, &book.updates)? {
            return Err(format!("room{room} deletes {run:?}, which nobody deleted"));
        }
        let Some(kept) = durable else { return Ok(()) };
        if let Some(run) = kept.durable.lacks_struct(&content) {
            return Err(format!("{run:?} is shown before it is durable"));
        }
        let unknown = kept.durable.lacks_deletes(&content);
        if let Some(run) = not_implied(&unknown, &kept.history[..kept.confirmed.0 as usize])? {
            return Err(format!("the deletion of {run:?} is shown before it is durable"));
        }
        Ok(())
    }

    /// The server's promises on presence that it tells somebody.
    pub(crate) fn presence_sent(
        &mut self,
        now: Timestamp,
        link: u64,
        load: Option<Load>,
        frame: &Bytes,
    ) -> Result<(), String> {
        let Some(Ok(Message::Awareness(states))) = messages(frame).next() else { return Ok(()) };
        let room =
            self.seats.get(&link).and_then(|seat| self.ids.get(&seat.id)).map(|(room, _)| *room);
        let found = entries(states).map_err(|error| format!("a bad awareness: {error:?}"))?;
        for entry in found {
            let Entry { client: ClientId(id), clock, json } =
                entry.map_err(|error| format!("a bad awareness entry: {error:?}"))?;
            let state = json != "null";
            if let Some((home, seen)) = self.ids.get(&id) {
                if Some(*home) != room {
                    return Err(format!("presence of room{home} is told in {room:?}"));
                }
                if !seen && state {
                    return Err(format!("{id} may not be seen, and is"));
                }
            }
            if state {
                self.check_sayer(room, id, json)?;
            }
            if state && evil(json).is_none() {
                let said = (id, clock, json.to_owned());
                if self.ids.contains_key(&id) && !self.announced.contains(&said) {
                    return Err(format!("a state of {id} that it never announced: {clock} {json}"));
                }
            }
            self.note_told(now, link, id, clock, state)?;
            let is_asked = self.seats.get(&link).is_some_and(|seat| seat.id == id)
                && room.is_some_and(|room| self.relayed.contains(&room));
            if !state
                && !is_asked
                && self.is_here(now, id)
                && !self.announced.contains(&(id, clock, json.to_owned()))
            {
                return Err(format!("{id} is here, and is told to be gone"));
            }
            if state {
                self.note_taken(now, id, clock, load);
            }
        }
        Ok(())
    }

    /// A state is shown as that of whoever said it, and what is no object by nobody who is known.
    fn check_sayer(&self, room: Option<usize>, id: u64, json: &str) -> Result<(), String> {
        let said_by = match evil(json) {
            Some(number) => {
                let Some(evil) = self.evil.get(&number) else {
                    return Err(format!("a state that nobody sent: {json}"));
                };
                if evil.is_forbidden {
                    return Err(format!("someone else's word for {id}, whose id it is: {json}"));
                }
                evil.user.as_ref()
            }
            None if self.ids.contains_key(&id) => self.users.get(&id),
            None if room.is_some_and(|room| !self.anonymous.contains(&room)) => {
                let is_stamped = json.contains("\"user\":{\"id\":\"u-");
                match self.identities {
                    Identities::Users if is_stamped => return Ok(()),
                    Identities::Nobody | Identities::Users | Identities::Given => {}
                }
                return Err(format!("{id}, which is nobody's, is shown with {json:.40}"));
            }
            None => return Ok(()),
        };
        // Whom nobody knows may say anything.
        let fits = |user: &String| {
            json.contains(&format!("\"id\":\"{user}\"")) && json.matches("\"id\":").count() == 1
        };
        // Who hears evil of itself may say it again, as itself.
        if said_by.is_none_or(fits) || self.users.get(&id).is_some_and(fits) {
            return Ok(());
        }
        Err(format!("{id} is shown as somebody else than who said it: {json}"))
    }

    /// Clocks only go up, towards each connection.
    fn note_told(
        &mut self,
        now: Timestamp,
        link: u64,
        id: u64,
        clock: u64,
        state: bool,
    ) -> Result<(), String> {
        let Some(seat) = self.seats.get_mut(&link) else { return Ok(()) };
        if let Some((before, was, at)) = seat.told.insert(id, (clock, state, now)) {
            let recent = now.since(at) < Duration::from_secs(3_000);
            if recent && (clock < before || clock == before && state && !was) {
                return Err(format!(
                    "presence of {id} goes back from clock {before} ({was}) to {clock} ({state})"
                ));
            }
        }
        Ok(())
    }

    /// The server has shown a client's state, so it has taken it; from which connection is only
    /// certain if there is one.
    fn note_taken(&mut self, now: Timestamp, id: u64, clock: u64, load: Option<Load>) {
        let seats = self.seats.values().filter(|seat| seat.id == id);
        let seats = seats.filter(|seat| seat.lost.is_none_or(|at| at + TURN > now));
        if now < self.doubted_until || seats.count() != 1 {
            return;
        }
        for seat in self.seats.values_mut().filter(|seat| seat.id == id) {
            if let Some((arrived, _, at)) = seat.arrived
                && arrived == clock
                && at >= self.doubted_until
            {
                seat.taken = Some((at, clock));
                if let Some(load) = load.filter(|_| self.users.contains_key(&id)) {
                    self.claims.insert(id, (at, load));
                }
            }
        }
    }

    /// Whether what a client had sent when it asked is durable.
    pub(crate) fn is_saved(
        question: Question,
        deletes: &[Run],
        durable: &Coverage,
    ) -> Result<(), String> {
        let Question { id, clock, deletes: count } = question;
        let upto = durable.structs.upto(id);
        if upto < clock {
            return Err(format!("{id} is told that {clock} is saved, durable is {upto}"));
        }
        match deletes[..count].iter().find(|run| !durable.deletes.has(**run)) {
            Some(run) => Err(format!("{id} is told that its deletion of {run:?} is saved")),
            None => Ok(()),
        }
    }
}
