//! A model of the y-websocket 3.1 client: its protocol and timers around a yrs document.
//!
//! Written from the protocol's description, not from the engine: it uses nothing of the engine but
//! the names of messages and the writing of them.

use crate::coverage::{self, Run};
use crate::op::{Edit, Role};
use crate::program::Program;
use crate::rng::Rng;
use bytes::Bytes;
use std::collections::BTreeMap;
use yroom::Timestamp;
use yroom::update::{ClientId, ScanLimits, ready_part};
use yroom::wire::awareness::{Entry, entries, write};
use yroom::wire::{self, Message};
use yrs::types::ToJson;
use yrs::updates::decoder::Decode;
use yrs::updates::encoder::Encode;
use yrs::{
    Array, ArrayRef, Doc, GetString, Map, MapPrelim, MapRef, Out, ReadTxn, StateVector, Text,
    TextRef, Transact, Update, WriteTxn,
};

/// A client, connected or not.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts about one browser tab")]
pub(crate) struct Client {
    /// Its room.
    pub(crate) room: usize,
    /// What it is like.
    pub(crate) role: Role,
    /// Its id as Yjs knows it.
    pub(crate) id: u64,
    /// The ids for which it speaks as for itself, with the same state and clock.
    pub(crate) wards: Vec<u64>,
    /// The user that it is, if whoever let it in knows.
    pub(crate) user: Option<String>,
    /// Its room was deleted: it forgets the document when its connection ends.
    pub(crate) forgets: bool,
    /// Its document.
    pub(crate) doc: Doc,
    /// Its link, while it has one.
    pub(crate) link: Option<u64>,
    /// Its own state of presence, with the clock.
    pub(crate) own: (u64, Option<String>),
    /// The others' states: clock, state, when it came.
    pub(crate) others: BTreeMap<u64, (u64, Option<String>, Timestamp)>,
    /// Updates that came before the answer to its SyncStep1. Yjs keeps such itself, as pending; yrs
    /// can get stuck there.
    early: Vec<Vec<u8>>,
    /// Its SyncStep1 was answered.
    pub(crate) synced: bool,
    /// It has answered the server's SyncStep1 on this connection.
    pub(crate) answered: bool,
    /// When something came last.
    pub(crate) heard: Timestamp,
    /// When it renewed its presence last.
    pub(crate) renewed: Timestamp,
    /// Attempts to connect in a row.
    pub(crate) attempts: u32,
    /// It was told to stay away.
    pub(crate) banned: bool,
    /// It does not want to be connected before then.
    pub(crate) away_until: Option<Timestamp>,
    /// How many of its next updates are lost on the way.
    pub(crate) lose: u32,
    /// How many of its next messages share a frame, and those that wait.
    pub(crate) pack: (u32, Vec<Bytes>),
    /// Its last update.
    pub(crate) last_update: Option<Bytes>,
    /// Deletions of its own that it has sent on this connection.
    pub(crate) sent_deletes: Vec<Run>,
    /// What it had sent when it asked whether everything is saved, by the number of the question.
    pub(crate) questions: BTreeMap<u64, Question>,
    /// The last question's number.
    pub(crate) asked: u64,
    /// What runs in it, if it is a program of ours and no model.
    pub(crate) program: Option<Box<Program>>,
    pub(crate) rng: Rng,
}

/// What had been sent when a client asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question {
    /// The client's id then.
    pub(crate) id: u64,
    /// Its own clock.
    pub(crate) clock: u32,
    /// How many of [`Client::sent_deletes`].
    pub(crate) deletes: usize,
}

/// What a frame made a client do.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// Frames to send.
    pub(crate) replies: Vec<Bytes>,
    /// Questions that were answered with "it is saved".
    pub(crate) saved: Vec<u64>,
    /// What no server may send.
    pub(crate) nonsense: Option<String>,
}

/// A document, to be compared with others.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Shape {
    /// The state vector, sorted.
    pub(crate) state: Vec<(u64, u32)>,
    /// The delete set, sorted.
    pub(crate) deletes: Vec<Run>,
    /// The text.
    pub(crate) text: String,
    /// The map's and the array's content.
    pub(crate) rest: String,
    /// What the application gave the room at first.
    pub(crate) given: Vec<String>,
    /// Something waits for what is not there.
    pub(crate) pending: bool,
}

impl std::fmt::Debug for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { state, deletes, text, rest, given, pending } = self;
        let ends = |text: &str| match text.len() {
            0..120 => text.to_owned(),
            len => format!("{} ... {} ({len} bytes)", &text[..40], &text[len - 40..]),
        };
        write!(
            f,
            "{state:?} deleted {deletes:?} text {:?} rest {rest:?} given {given:?}",
            ends(text)
        )?;
        if *pending { write!(f, " and something pending") } else { Ok(()) }
    }
}

impl Client {
    /// A client that was never connected.
    pub(crate) fn new(number: usize, room: usize, role: Role, id: u64, seed: u64) -> Self {
        Self {
            room,
            role,
            id,
            wards: Vec::new(),
            user: None,
            forgets: false,
            doc: new_doc(id),
            link: None,
            own: (0, None),
            others: BTreeMap::new(),
            early: Vec::new(),
            synced: false,
            answered: false,
            heard: Timestamp::ZERO,
            renewed: Timestamp::ZERO,
            attempts: 0,
            banned: false,
            away_until: None,
            lose: 0,
            pack: (0, Vec::new()),
            last_update: None,
            sent_deletes: Vec::new(),
            questions: BTreeMap::new(),
            asked: 0,
            program: None,
            rng: Rng::of(seed, 1_000 + number as u64),
        }
    }

    /// Whether the room may change by this client.
    pub(crate) const fn may_write(&self) -> bool {
        match self.role {
            Role::Writer
            | Role::Guest
            | Role::Hostile
            | Role::Program
            | Role::Keeper
            | Role::Relay => true,
            Role::Reader | Role::Observer => false,
        }
    }

    /// Whether others may see this client.
    pub(crate) const fn may_be_seen(&self) -> bool {
        match self.role {
            Role::Writer
            | Role::Guest
            | Role::Hostile
            | Role::Reader
            | Role::Program
            | Role::Keeper
            | Role::Relay => true,
            Role::Observer => false,
        }
    }

    /// Whether it is this id, or speaks for it.
    pub(crate) fn speaks_for(&self, id: u64) -> bool {
        id == self.id || self.wards.contains(&id)
    }

    /// Its id and those it speaks for.
    pub(crate) fn own_ids(&self) -> impl Iterator<Item = u64> + use<> {
        std::iter::once(self.id).chain(self.wards.clone())
    }

    /// A state of its own as others are shown it.
    pub(crate) fn shown(&self, json: &str) -> String {
        match &self.user {
            Some(user) if json != "null" => stamped(json, user),
            Some(_) | None => json.to_owned(),
        }
    }

    /// What a relay's own peers see of others, it hears no more: it says of all others that they are
    /// gone.
    pub(crate) fn denial(&mut self) -> Bytes {
        let ids: Vec<u64> = self.others.keys().copied().collect();
        self.others.values_mut().for_each(|(_, state, _)| *state = None);
        self.presence_of(&ids)
    }

    /// A page reload: a new document under a new id.
    pub(crate) fn reload(&mut self, id: u64, wards: Vec<u64>) {
        self.id = id;
        self.wards = wards;
        self.doc = new_doc(id);
        self.own = (0, None);
        self.others.clear();
        self.last_update = None;
        self.questions.clear();
    }

    /// What is sent when the connection opens.
    pub(crate) fn opened(&mut self, now: Timestamp) -> Vec<Bytes> {
        self.synced = false;
        self.early.clear();
        self.answered = false;
        self.heard = now;
        self.lose = 0;
        self.pack = (0, Vec::new());
        self.sent_deletes.clear();
        self.questions.clear();
        let mut frames = vec![wire::encode::sync_step1(&self.state_vector())];
        if self.own.1.is_some() {
            if now.since(self.renewed).as_secs() >= 15 {
                self.own.0 += 1;
                self.renewed = now;
            }
            frames.push(self.own_presence());
        }
        frames
    }

    /// The connection is gone: so are the others.
    pub(crate) fn closed(&mut self) {
        self.link = None;
        self.synced = false;
        for (_, state, _) in self.others.values_mut() {
            *state = None;
        }
    }

    /// When it connects again after a loss.
    pub(crate) fn backoff(&mut self) -> std::time::Duration {
        let wait = (100_u64 << self.attempts.min(10)).min(2_500);
        self.attempts += 1;
        std::time::Duration::from_millis(wait)
    }

    fn state_vector(&self) -> Vec<u8> {
        self.doc.transact().state_vector().encode_v1()
    }

    /// The whole document as an update.
    pub(crate) fn whole(&self) -> Vec<u8> {
        self.doc.transact().encode_diff_v1(&StateVector::default())
    }

    /// Its own clock.
    pub(crate) fn clock(&self) -> u32 {
        self.doc.transact().state_vector().get(&yrs::block::ClientID::new(self.id))
    }

    /// Takes a frame in; like the JavaScript client it reads only the first message.
    pub(crate) fn hear(&mut self, now: Timestamp, frame: &[u8]) -> Heard {
        self.heard = now;
        let mut heard = Heard::default();
        let mut messages = wire::messages(frame);
        match messages.next() {
            Some(Ok(Message::SyncStep1(have))) => match StateVector::decode_v1(have) {
                Ok(have) => {
                    let lacking = self.doc.transact().encode_diff_v1(&have);
                    heard.replies.push(wire::encode::sync_step2(&lacking));
                    self.answered = true;
                }
                Err(error) => heard.nonsense = Some(format!("a state vector: {error}")),
            },
            Some(Ok(Message::SyncStep2(update))) => {
                heard.nonsense = self.take_step2(update).err();
            }
            Some(Ok(Message::Update(update))) if self.must_wait(update) => {
                self.early.push(update.to_vec());
            }
            Some(Ok(Message::Update(update))) => heard.nonsense = self.apply(update).err(),
            Some(Ok(Message::Awareness(states))) => self.hear_presence(now, states, &mut heard),
            Some(Ok(Message::QueryAwareness)) => heard.replies.push(self.all_presence()),
            Some(Ok(Message::SyncStatus(number))) => {
                let number = number.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
                heard.saved.push(number);
            }
            Some(Ok(other)) => heard.nonsense = Some(format!("unexpected {other:?}")),
            Some(Err(error)) => heard.nonsense = Some(format!("unreadable: {error:?}")),
            None => heard.nonsense = Some("an empty frame".to_owned()),
        }
        if messages.next().is_some() {
            heard.nonsense = Some("a second message in a frame, which no client reads".to_owned());
        }
        heard
    }

    /// Whether an update came before the answer to the client's SyncStep1 and builds on that.
    fn must_wait(&self, update: &[u8]) -> bool {
        !self.synced
            && yroom::update::StateVector::decode(&self.state_vector(), usize::MAX)
                .and_then(|known| ready_part(update, &known, &ScanLimits::default()))
                .is_ok_and(|ready| !ready.missing.is_empty())
    }

    fn take_step2(&mut self, update: &[u8]) -> Result<(), String> {
        self.apply(update)?;
        self.synced = true;
        self.attempts = 0;
        std::mem::take(&mut self.early).iter().try_for_each(|update| self.apply(update))
    }

    /// Takes an update in.
    pub(crate) fn apply(&mut self, update: &[u8]) -> Result<(), String> {
        let update = Update::decode_v1(update).map_err(|error| format!("an update: {error}"))?;
        let mut txn = self.doc.transact_mut();
        txn.apply_update(update).map_err(|error| format!("an update: {error}"))?;
        if txn.has_missing_updates() {
            return Err("an update with a part that has to wait".to_owned());
        }
        Ok(())
    }

    fn hear_presence(&mut self, now: Timestamp, states: &[u8], heard: &mut Heard) {
        let Ok(found) = entries(states) else {
            heard.nonsense = Some("an awareness message".to_owned());
            return;
        };
        let mut changed = Vec::new();
        for entry in found {
            let Ok(Entry { client: ClientId(id), clock, json }) = entry else {
                heard.nonsense = Some("an awareness entry".to_owned());
                return;
            };
            if self.speaks_for(id) {
                self.hear_of_itself(clock, json, &mut changed);
                continue;
            }
            let (known, present) = self
                .others
                .get(&id)
                .map_or((0, false), |(known, state, _)| (*known, state.is_some()));
            let gone = json == "null";
            if clock > known || clock == known && gone && present {
                let state = (!gone).then(|| json.to_owned());
                self.others.insert(id, (clock, state, now));
                changed.push(id);
            }
        }
        // The JavaScript client sends every change of its table, also the one it just heard.
        if !changed.is_empty() {
            heard.replies.push(self.presence_of(&changed));
        }
    }

    fn hear_of_itself(&mut self, clock: u64, json: &str, changed: &mut Vec<u64>) {
        let gone = json == "null";
        if gone && self.own.1.is_some() && clock >= self.own.0 {
            // "I am still here."
            self.own.0 = clock + 1;
            changed.extend(self.own_ids());
        } else if !gone && clock > self.own.0 {
            self.own = (clock, Some(json.to_owned()));
        }
    }

    /// Sets or clears its presence.
    pub(crate) fn set_presence(&mut self, now: Timestamp, state: Option<String>) -> Option<Bytes> {
        if state.is_none() && self.own.1.is_none() {
            return None;
        }
        self.own = (self.own.0 + 1, state);
        self.renewed = now;
        Some(self.own_presence())
    }

    fn own_presence(&self) -> Bytes {
        self.presence_of(&self.own_ids().collect::<Vec<_>>())
    }

    fn all_presence(&self) -> Bytes {
        let mut ids: Vec<u64> = self
            .others
            .iter()
            .filter(|(_, (_, state, _))| state.is_some())
            .map(|(id, _)| *id)
            .collect();
        if self.own.1.is_some() {
            ids.extend(self.own_ids());
        }
        self.presence_of(&ids)
    }

    fn presence_of(&self, ids: &[u64]) -> Bytes {
        let states = ids.iter().map(|id| {
            let (clock, state) = if self.speaks_for(*id) {
                (self.own.0, self.own.1.as_deref())
            } else {
                self.others
                    .get(id)
                    .map_or((0, None), |(clock, state, _)| (*clock, state.as_deref()))
            };
            Entry { client: ClientId(*id), clock, json: state.unwrap_or("null") }
        });
        wire::encode::awareness(&write(states))
    }

    /// The others that it sees.
    pub(crate) fn seen(&self) -> BTreeMap<u64, String> {
        if let Some(program) = &self.program {
            let others = program.provider.others();
            return others.map(|(id, state)| (id.0, state.to_owned())).collect();
        }
        let others = self.others.iter();
        others.filter_map(|(id, (_, state, _))| Some((*id, state.clone()?))).collect()
    }

    /// What is due: its renewal, others that were not heard of for long. A frame to send.
    pub(crate) fn tick(&mut self, now: Timestamp) -> Option<Bytes> {
        let mut changed = Vec::new();
        if self.own.1.is_some() && now.since(self.renewed).as_secs() >= 15 {
            self.own.0 += 1;
            self.renewed = now;
            changed.extend(self.own_ids());
        }
        for (id, (_, state, since)) in &mut self.others {
            if state.is_some() && now.since(*since).as_secs() >= 30 {
                *state = None;
                changed.push(*id);
            }
        }
        (!changed.is_empty()).then(|| self.presence_of(&changed))
    }

    /// When [`tick`](Self::tick) or the look at the connection's silence is next due.
    pub(crate) fn next_tick(&self) -> Timestamp {
        let second = |seconds| std::time::Duration::from_secs(seconds);
        let mut next = self.heard + second(30);
        if self.own.1.is_some() {
            next = next.min(self.renewed + second(15));
        }
        for (_, state, since) in self.others.values() {
            if state.is_some() {
                next = next.min(*since + second(30));
            }
        }
        // The JavaScript client looks every three seconds.
        Timestamp::from_micros(next.as_micros().div_ceil(3_000_000) * 3_000_000)
    }

    /// Whether it has heard nothing for so long that it takes the connection for dead.
    pub(crate) fn is_deaf(&self, now: Timestamp) -> bool {
        now.since(self.heard).as_secs() >= 30
    }

    /// Edits its document; the update, and what of it are deletions.
    pub(crate) fn edit(&mut self, edit: Edit, amount: u8) -> Option<(Vec<u8>, Vec<Run>)> {
        let rng = &mut self.rng;
        let mut txn = self.doc.transact_mut();
        let text = txn.get_or_insert_text("text");
        let map = txn.get_or_insert_map("map");
        let list = txn.get_or_insert_array("list");
        let changed = match edit {
            Edit::Type | Edit::TypeOn | Edit::Delete | Edit::Paste => {
                edit_text(&text, &mut txn, rng, edit, amount)
            }
            Edit::Set => {
                let key = format!("k{}", amount % 4);
                map.insert(&mut txn, key, rng.below(1_000) as u32);
                true
            }
            Edit::Unset => map.remove(&mut txn, &format!("k{}", amount % 4)).is_some(),
            Edit::Nest | Edit::NestSet | Edit::NestDrop => {
                edit_list(&list, &mut txn, rng, edit, amount)
            }
        };
        if !changed {
            return None;
        }
        let update = txn.encode_update_v1();
        let deletes = coverage::runs(txn.delete_set());
        Some((update, deletes))
    }

    /// How often it has what the application gave the room at first.
    pub(crate) fn given(&self) -> u32 {
        let mut txn = self.doc.transact_mut();
        let given = txn.get_or_insert_array("given");
        given.len(&txn)
    }

    /// The document as it is.
    pub(crate) fn shape(&self) -> Shape {
        shape(&self.doc)
    }
}

fn edit_text(
    text: &TextRef,
    txn: &mut yrs::TransactionMut<'_>,
    rng: &mut Rng,
    edit: Edit,
    amount: u8,
) -> bool {
    let len = text.len(txn);
    let at = rng.below(u64::from(len) + 1) as u32;
    let amount = u32::from(amount);
    match edit {
        Edit::Delete => {
            let count = (amount + 1).min(len - at);
            if count > 0 {
                text.remove_range(txn, at, count);
            }
            count > 0
        }
        Edit::Paste => {
            let line = format!("{} is a long line of pasted text, ", rng.below(1 << 20));
            text.insert(txn, at, &line.repeat(amount as usize * 4 + 20));
            true
        }
        Edit::TypeOn => {
            text.push(txn, &letters(rng, amount % 6 + 1));
            true
        }
        Edit::Type | Edit::Set | Edit::Unset | Edit::Nest | Edit::NestSet | Edit::NestDrop => {
            text.insert(txn, at, &letters(rng, amount % 6 + 1));
            true
        }
    }
}

fn edit_list(
    list: &ArrayRef,
    txn: &mut yrs::TransactionMut<'_>,
    rng: &mut Rng,
    edit: Edit,
    amount: u8,
) -> bool {
    let len = list.len(txn);
    if let Edit::Nest = edit {
        let at = rng.below(u64::from(len) + 1) as u32;
        list.insert(txn, at, MapPrelim::from([("n", i32::from(amount))]));
        return true;
    }
    if len == 0 {
        return false;
    }
    let at = rng.below(u64::from(len)) as u32;
    if let Edit::NestDrop = edit {
        list.remove(txn, at);
        return true;
    }
    let Some(Out::YMap(nested)) = list.get(txn, at) else { return false };
    let nested: MapRef = nested;
    nested.insert(txn, format!("f{}", amount % 3), rng.below(100) as u32);
    true
}

fn letters(rng: &mut Rng, count: u32) -> String {
    (0..count).map(|_| char::from(b'a' + rng.below(26) as u8)).collect()
}

/// What a user's stamp is.
pub(crate) fn stamp(user: &str) -> String {
    format!("{{\"user\":{{\"id\":\"{user}\"}}}}")
}

/// A state with a user's stamp in it, in the place of any other.
fn stamped(json: &str, user: &str) -> String {
    let own = json.split(",\"user\":").next().unwrap_or_default();
    let own = own.strip_suffix('}').unwrap_or(own);
    format!("{own},{}", &stamp(user)[1..])
}

fn new_doc(id: u64) -> Doc {
    Doc::with_client_id(id)
}

/// A document that these updates make, one after the other.
pub(crate) fn doc_of<'a>(updates: impl IntoIterator<Item = &'a [u8]>) -> Result<Doc, String> {
    let doc = new_doc((1 << 53) - 1);
    {
        let mut txn = doc.transact_mut();
        for update in updates {
            let update = Update::decode_v1(update).map_err(|error| error.to_string())?;
            txn.apply_update(update).map_err(|error| error.to_string())?;
        }
    }
    Ok(doc)
}

/// A document's shape.
pub(crate) fn shape(doc: &Doc) -> Shape {
    let mut txn = doc.transact_mut();
    let text = txn.get_or_insert_text("text");
    let map = txn.get_or_insert_map("map");
    let list = txn.get_or_insert_array("list");
    let given = txn.get_or_insert_array("given");
    let snapshot = txn.snapshot();
    let mut state: Vec<(u64, u32)> = snapshot
        .state_map
        .iter()
        .map(|(client, clock)| (client.get(), *clock))
        .filter(|(_, clock)| *clock > 0)
        .collect();
    state.sort_unstable();
    let mut keys: Vec<String> =
        map.iter(&txn).map(|(key, value)| format!("{key}={}", value.to_json(&txn))).collect();
    keys.sort_unstable();
    let items: Vec<String> = list
        .iter(&txn)
        .map(|item| match item {
            Out::YMap(nested) => {
                let mut fields: Vec<String> = nested
                    .iter(&txn)
                    .map(|(key, value)| format!("{key}={}", value.to_json(&txn)))
                    .collect();
                fields.sort_unstable();
                fields.join(",")
            }
            other => other.to_json(&txn).to_string(),
        })
        .collect();
    Shape {
        state,
        deletes: coverage::runs(&snapshot.delete_set),
        text: text.get_string(&txn),
        rest: format!("{{{}}} [{}]", keys.join(" "), items.join(" | ")),
        given: given.iter(&txn).map(|item| item.to_json(&txn).to_string()).collect(),
        pending: txn.has_missing_updates(),
    }
}
