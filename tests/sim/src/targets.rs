//! What the fuzzers run, as plain functions of bytes: a test replays the corpus through them.
//!
//! Each panics if something is wrong, and does nothing with bytes that mean nothing to it.

use crate::coverage::{Clocks, Content, Coverage};
use crate::rng::Rng;
use crate::{Telling, from_bytes, run};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use yroom::update::{
    ClientId, ClockRange, DeleteSet, Scan, ScanLimits, StateVector, diff, merge, novel_part,
    ready_part, scan,
};
use yroom::wire::awareness::{Entry, entries, write};
use yroom::wire::{Message, encode, messages, varint};
use yroom::{
    Access, Config, ConnId, Hub, Identity, Input, Output, RoomName, StoreOp, Stored, Timestamp,
};

/// Frames: whatever is read is what was written.
///
/// # Panics
///
/// If reading and writing do not agree.
pub fn wire(bytes: &[u8]) {
    let mut taken = 0;
    for message in messages(bytes) {
        let Ok(message) = message else { return };
        let again = match message {
            Message::SyncStep1(body) => encode::sync_step1(body),
            Message::SyncStep2(body) => encode::sync_step2(body),
            Message::Update(body) => encode::update(body),
            Message::Awareness(body) => {
                presence(body);
                encode::awareness(body)
            }
            Message::AuthDenied(reason) => encode::auth_denied(reason),
            Message::AuthGranted => encode::auth_granted(),
            Message::QueryAwareness => encode::query_awareness(),
            Message::SyncStatus(body) => encode::sync_status(body),
            Message::Unknown { tag, body } => encode::custom(tag, body),
        };
        let back: Vec<_> = messages(&again).collect();
        assert_eq!(back, [Ok(message)]);
        // Numbers may be written in more bytes than they need.
        assert!(again.len() <= bytes.len() - taken, "{message:?} is longer than it was");
        taken += again.len();
    }
    if let Ok(vector) = StateVector::decode(bytes, 1 << 16) {
        assert_eq!(StateVector::decode(&vector.encode(), 1 << 16).as_ref(), Ok(&vector));
    }
    let mut rest = bytes;
    if let Some(number) = varint::read(&mut rest) {
        let mut again = Vec::new();
        varint::write(&mut again, number);
        assert!(again.len() <= bytes.len() - rest.len());
        assert_eq!(varint::read(&mut &again[..]), Some(number));
    }
}

fn presence(payload: &[u8]) {
    let Ok(found) = entries(payload) else { return };
    let Ok(all) = found.collect::<Result<Vec<Entry<'_>>, _>>() else { return };
    let again = write(all.clone());
    assert_eq!(entries(&again).expect("written").collect::<Result<Vec<_>, _>>(), Ok(all));
}

/// Updates, each with two bytes of length before it: no panic, and the operations agree with each
/// other and, on what yrs reads, with yrs.
///
/// # Panics
///
/// If they do not agree.
pub fn update(bytes: &[u8]) {
    let updates = split(bytes);
    let limits = ScanLimits { bytes: 1 << 16, ..ScanLimits::default() };
    let mut whole = Covered::default();
    let mut room = Covered::default();
    let mut good: Vec<&[u8]> = Vec::new();
    let mut accepted: Vec<Vec<u8>> = Vec::new();
    for update in updates {
        let Ok(found) = scan(update, &limits) else { continue };
        check_against_yrs(update, &found);
        let ready = room.accept(update, &limits);
        accepted.extend(ready);
        whole.add(&found);
        good.push(update);
    }
    check_merge(&good, &whole);
    let accepted: Vec<&[u8]> = accepted.iter().map(|part| &part[..]).collect();
    let merged = check_merge(&accepted, &room);
    room.check_diffs(&merged, &limits);
}

/// What updates cover, as the engine's scan says.
#[derive(Default)]
struct Covered {
    coverage: Coverage,
    known: StateVector,
    deleted: DeleteSet,
}

impl Covered {
    fn add(&mut self, found: &Scan) {
        self.coverage.add(&content(found));
    }

    /// Takes in what can be taken in, as a room does; that part.
    fn accept(&mut self, update: &[u8], limits: &ScanLimits) -> Option<Vec<u8>> {
        let ready = ready_part(update, &self.known, limits).expect("it was scanned");
        let part = ready.part?;
        let found = scan(&part, limits).expect("a part of what is well formed is well formed");
        assert_eq!(content(&found).structs, content(&ready.scan).structs);
        assert!(found.regular, "a part has gaps");
        // What of it is known already may refer to what is not: nobody integrates that again.
        let part = novel_part(&part, &self.known, &self.deleted).expect("it was scanned")?;
        let found = scan(&part, limits).expect("what is new of it is well formed");
        assert!(!found.ranges.is_empty() || !found.deletes.is_empty(), "nothing is new");
        self.check_ready(&found);
        for range in &found.ranges {
            assert_eq!(self.known.get(range.client), range.start, "{range:?} is not what is next");
            self.known.raise(range.client, range.end);
        }
        for range in &found.deletes {
            assert!(!self.deleted.intersects(*range), "{range:?} was deleted before");
        }
        // Among themselves they may overlap: hostile, and harmless.
        for range in &found.deletes {
            assert!(range.end <= self.known.get(range.client), "{range:?} is not there");
            self.deleted.insert(*range);
        }
        self.add(&found);
        let nothing = novel_part(&part, &self.known, &self.deleted).expect("it was scanned");
        assert_eq!(nothing, None, "it is new twice");
        Some(part.into_owned())
    }

    /// Nothing in it depends on what is neither known nor in it.
    fn check_ready(&self, found: &Scan) {
        let mut after = self.known.clone();
        for range in &found.ranges {
            assert!(range.start <= after.get(range.client), "{range:?} has a gap before it");
            after.raise(range.client, range.end);
        }
        for need in &found.needs {
            assert!(need.clock < after.get(need.client), "{need:?} is not there");
        }
    }

    /// A diff and what one had before are together everything.
    fn check_diffs(&self, merged: &[u8], limits: &ScanLimits) {
        let found = scan(merged, limits).expect("it was merged");
        let mut deletes = Clocks::default();
        content(&found).deletes.iter().for_each(|run| deletes.add(*run));
        for step in 0..3 {
            let mut have = StateVector::new();
            for (at, (client, clock)) in self.known.iter().enumerate() {
                let part = (at as u32 + step) % 4;
                have.raise(client, (u64::from(clock) * u64::from(part) / 3) as u32);
            }
            let lacking = diff(merged, &have).expect("it was merged");
            let found = scan(&lacking, limits).expect("a diff is well formed");
            let mut after = Coverage::default();
            after.add(&content(&found));
            for (client, clock) in have.iter() {
                after.structs.add((client.0, 0, clock.min(self.known.get(client))));
            }
            assert_eq!(after.structs, self.coverage.structs, "a diff is not all that was lacking");
            // A merge names what is gone with its parent too.
            assert_eq!(after.deletes, deletes, "a diff has not all deletions");
        }
    }
}

fn check_merge(updates: &[&[u8]], whole: &Covered) -> Vec<u8> {
    let merged = merge(updates).expect("all of them were scanned");
    let limits = ScanLimits { depth: usize::MAX, ..ScanLimits::default() };
    let found = scan(&merged, &limits).expect("what is merged is well formed");
    let merged_content = content(&found);
    let mut coverage = Coverage::default();
    coverage.add(&merged_content);
    assert_eq!(coverage.structs, whole.coverage.structs, "a merge has other structs");
    for range in &whole.coverage.deletes.runs() {
        assert!(coverage.deletes.has(*range), "a merge has lost the deletion {range:?}");
    }
    assert_eq!(merge(&[&merged]).expect("it was merged"), merged, "a merge is not final");
    merged
}

fn content(found: &Scan) -> Content {
    let runs = |ranges: &[ClockRange]| {
        let mut runs: Vec<_> =
            ranges.iter().map(|range| (range.client.0, range.start, range.end)).collect();
        runs.sort_unstable();
        runs
    };
    Content { structs: runs(&found.ranges), deletes: runs(&found.deletes) }
}

/// yrs sees the same structs and deletions, where it can read the update at all.
fn check_against_yrs(update: &[u8], found: &Scan) {
    // yrs keeps one section for a client, the last, where Yjs puts them together; and it does not read
    // several content types as Yjs does.
    if !found.regular || deletes_come_apart(update, found) {
        return;
    }
    let Ok(seen) = Content::read(update) else { return };
    let (mut ours, mut theirs) = (Coverage::default(), Coverage::default());
    ours.add(&content(found));
    theirs.add(&seen);
    if ours != theirs && !Content::misread(update) {
        assert_eq!(ours, theirs, "yrs reads something else");
    }
}

/// Whether a client has more than one section in the delete set, which is what an update ends with.
fn deletes_come_apart(update: &[u8], found: &Scan) -> bool {
    let ends = (0..update.len()).rev().find_map(|at| {
        let (clients, ranges) = delete_set(&update[at..])?;
        (ranges == found.deletes[..]).then_some(clients)
    });
    let mut clients = ends.expect("the scan has read it");
    clients.sort_unstable();
    clients.windows(2).any(|pair| pair[0] == pair[1])
}

/// The clients of a delete set and its ranges, if it is exactly that.
fn delete_set(mut bytes: &[u8]) -> Option<(Vec<u64>, Vec<ClockRange>)> {
    let (mut clients, mut ranges) = (Vec::new(), Vec::new());
    for _ in 0..varint::read(&mut bytes)? {
        let client = varint::read(&mut bytes)?;
        clients.push(client);
        for _ in 0..varint::read(&mut bytes)? {
            let start = u32::try_from(varint::read(&mut bytes)?).ok()?;
            let end = start.checked_add(u32::try_from(varint::read(&mut bytes)?).ok()?)?;
            if start < end {
                ranges.push(ClockRange { client: ClientId(client), start, end });
            }
        }
    }
    bytes.is_empty().then_some((clients, ranges))
}

fn split(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut updates = Vec::new();
    while let Some((len, rest)) = bytes.split_first_chunk::<2>() {
        let len = usize::from(u16::from_le_bytes(*len)).min(rest.len());
        let (update, rest) = rest.split_at(len);
        updates.push(update);
        bytes = rest;
    }
    updates.truncate(32);
    updates
}

/// Writes updates as [`update`] reads them.
pub fn frame_updates<'a>(updates: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    for update in updates {
        let len = u16::try_from(update.len()).unwrap_or(u16::MAX);
        out.extend_from_slice(&len.to_le_bytes());
        out.extend_from_slice(&update[..usize::from(len)]);
    }
    out
}

/// Peers that announce all kinds of presence to a hub: whoever listens all the time and whoever
/// comes at the end see the same, and only JSON.
///
/// # Panics
///
/// If they do not.
pub fn awareness(bytes: &[u8]) {
    let mut rng = Rng::from_bytes(bytes);
    let mut table = Table::new();
    while !rng.is_spent() {
        match rng.below(12) {
            0 => table.reconnect(rng.index(3)),
            1 => table.pass(Duration::from_millis(rng.below(50_000))),
            2 => {
                let raw: Vec<u8> = (0..rng.below(24)).map(|_| rng.below(256) as u8).collect();
                table.say(rng.index(3), encode::awareness(&raw));
            }
            _ => {
                let states: Vec<(u64, u64, String)> =
                    (0..=rng.below(3)).map(|_| state(&mut rng)).collect();
                let entries = states.iter().map(|(id, clock, json)| Entry {
                    client: ClientId(*id),
                    clock: *clock,
                    json,
                });
                table.say(rng.index(3), encode::awareness(&write(entries)));
            }
        }
    }
    table.check();
}

fn state(rng: &mut Rng) -> (u64, u64, String) {
    const JSON: [&str; 14] = [
        "null",
        "{}",
        "{\"a\":1}",
        " null ",
        "\"x\\u00e9\"",
        "[1,2.5e3,-0]",
        "{\"a\":",
        "tru",
        "[[[[[[]]]]]]",
        "\"\\ud800\"",
        "1e",
        "true",
        "{\"by\":{\"id\":9,\"x\":\"}\"},\"a\":2}",
        "{\"b\\u0079\":{\"i\\u0064\":9},\"by\":9}",
    ];
    let clock = match rng.below(8) {
        0 => varint::MAX - rng.below(2),
        _ => rng.below(12),
    };
    (rng.below(6), clock, JSON[rng.index(JSON.len())].to_owned())
}

/// A hub, three who talk, two of them as users, and one who listens.
struct Table {
    hub: Hub,
    now: Timestamp,
    room: RoomName,
    talkers: Vec<ConnId>,
    listener: ConnId,
    heard: BTreeMap<u64, (u64, String)>,
    /// Whose an id was first: a user's, or anybody's because the talker of no name spoke of it.
    users: BTreeMap<u64, Option<i64>>,
}

/// What the first talker may do, who is nobody in particular, and the other two, who are users.
fn access_of(talker: usize) -> Access {
    if talker == 0 {
        return Access::FULL;
    }
    let identity = Identity::new().user(&talker.to_string());
    let identity =
        identity.and_then(|known| known.stamp(&format!("{{\"by\":{{\"id\":{talker}}}}}")));
    Access { identity: Some(Arc::new(identity.expect("a valid identity"))), ..Access::FULL }
}

/// The user that a state says it is of, if it is one of ours; what clients forge is another number.
fn user_in(json: &str) -> Option<i64> {
    let yrs::Any::Map(state) = yrs::Any::from_json(json).ok()? else { return None };
    let yrs::Any::Map(by) = state.get("by")? else { return None };
    (1..3).find(|user| by.get("id") == Some(&yrs::Any::from(*user)))
}

impl Table {
    fn new() -> Self {
        let mut hub = Hub::new(Config::default());
        let now = Timestamp::from_micros(1);
        let room = RoomName::new("table").expect("a valid name");
        let mut open = |access| hub.open(now, &room, access).expect("let in");
        let talkers = (0..3).map(|talker| open(access_of(talker))).collect();
        let listener = open(Access::FULL);
        let (heard, users) = Default::default();
        let mut table = Self { hub, now, room, talkers, listener, heard, users };
        table.drain(None);
        table
    }

    fn say(&mut self, talker: usize, frame: Bytes) {
        let conn = self.talkers[talker];
        if talker == 0
            && let Some(Ok(Message::Awareness(states))) = messages(&frame).next()
        {
            for entry in entries(states).into_iter().flatten().map_while(Result::ok) {
                self.users.entry(entry.client.0).or_default();
            }
        }
        self.hub.handle(self.now, Input::Frame { conn, frame });
        self.drain(None);
    }

    fn reconnect(&mut self, talker: usize) {
        self.hub.handle(self.now, Input::Closed { conn: self.talkers[talker] });
        let access = access_of(talker);
        let conn = self.hub.open(self.now, &self.room, access).expect("let in");
        self.talkers[talker] = conn;
        self.drain(None);
    }

    /// Lets time pass, but no hour in all: after that the room forgets the clocks of who is gone,
    /// and a listener that does not waits for the next renewal.
    fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        if end.since(Timestamp::ZERO) > Duration::from_secs(3_500) {
            return;
        }
        while let Some(at) = self.hub.poll_timeout().filter(|at| *at <= end) {
            self.now = at.max(self.now);
            self.hub.handle_timeout(self.now);
            self.drain(None);
        }
        self.now = end;
    }

    /// Carries out what the hub wants; what the listener hears is noted, what `newcomer` hears is
    /// returned.
    fn drain(&mut self, newcomer: Option<ConnId>) -> BTreeMap<u64, (u64, String)> {
        let mut seen = BTreeMap::new();
        while let Some(output) = self.hub.poll_output() {
            match output {
                Output::Send { conn, frame } => {
                    let bytes = frame.len();
                    self.hub.handle(self.now, Input::Flushed { conn, bytes });
                    if conn == self.listener {
                        hear(&mut self.heard, &frame);
                        self.check_users();
                    } else if Some(conn) == newcomer {
                        hear(&mut seen, &frame);
                    }
                }
                Output::Close { conn, .. } => {
                    let talker = self.talkers.iter().position(|talker| *talker == conn);
                    let talker = talker.expect("only who talks nonsense is closed");
                    let access = access_of(talker);
                    self.talkers[talker] =
                        self.hub.open(self.now, &self.room, access).expect("let in");
                }
                Output::Store(StoreOp::Load { room, .. }) => {
                    let result = Ok(Stored::default());
                    self.hub.handle(self.now, Input::Loaded { room, result });
                }
                Output::Store(_) => panic!("presence is not stored"),
                Output::Pause { .. }
                | Output::Resume { .. }
                | Output::Application(_)
                | Output::Event(_) => {}
            }
        }
        seen
    }

    /// Whose an id was first, it is as long as anybody remembers it.
    fn check_users(&mut self) {
        for (id, (_, json)) in self.heard.iter().filter(|(_, (_, json))| json != "null") {
            let user = user_in(json);
            let first = *self.users.entry(*id).or_insert(user);
            assert!(first.is_none() || first == user, "{id} was of {first:?}: {json}");
        }
    }

    fn check(&mut self) {
        let newcomer = self.hub.open(self.now, &self.room, Access::FULL).expect("let in");
        let seen = self.drain(Some(newcomer));
        let present: BTreeMap<u64, (u64, String)> = self
            .heard
            .iter()
            .filter(|(_, (_, json))| json != "null")
            .map(|(id, state)| (*id, state.clone()))
            .collect();
        assert_eq!(seen, present, "a newcomer is told something else");
    }
}

/// What a y-protocols client makes of a frame, if it is one about presence.
fn hear(table: &mut BTreeMap<u64, (u64, String)>, frame: &[u8]) {
    let mut all = messages(frame);
    let Some(Ok(Message::Awareness(states))) = all.next() else { return };
    assert!(all.next().is_none(), "two messages in a frame");
    for entry in entries(states).expect("a good payload") {
        let Entry { client, clock, json } = entry.expect("a good entry");
        // JavaScript writes and reads half a surrogate pair; serde_json does not.
        assert!(json.contains("\\ud800") || yrs::Any::from_json(json).is_ok(), "no JSON: {json}");
        let (known, present) =
            table.get(&client.0).map_or((0, false), |(known, json)| (*known, json != "null"));
        let gone = json.trim() == "null";
        assert!(
            clock > known || gone && (clock == known || !present),
            "{client:?} at {clock} {json} after {known}: no client would take that"
        );
        let json = if gone { "null" } else { json };
        table.insert(client.0, (clock, json.to_owned()));
    }
}

/// A scenario of the simulation.
///
/// # Panics
///
/// If a promise is broken; the report is a test that can be pasted.
pub fn world(bytes: &[u8]) {
    let scenario = from_bytes(bytes);
    if let Some(broken) = run(&scenario, Telling::Nothing).broken {
        panic!("{broken}\n{}", scenario.as_rust());
    }
}

/// What the fuzzers begin with: the target, a name, the bytes.
pub fn seeds() -> Vec<(&'static str, String, Vec<u8>)> {
    let mut seeds = Vec::new();
    for seed in 0..24 {
        let updates = history(seed);
        let frames: Vec<u8> = match seed % 4 {
            0 => encode::sync_step2(&updates[0]).to_vec(),
            1 => encode::update(&updates[0]).to_vec(),
            2 => [
                encode::query_awareness(),
                encode::sync_step1(&[1, 7, 9]),
                encode::sync_status(&[1]),
            ]
            .concat(),
            _ => encode::awareness(b"\x02\x07\x01\x02{}\x08\x02\x04null").to_vec(),
        };
        seeds.push(("wire", seed.to_string(), frames));
        let updates = frame_updates(updates.iter().map(|update| &update[..]));
        seeds.push(("update", seed.to_string(), updates));
        let mut rng = Rng::of(seed, 9);
        let mut noise = |count: u64| (0..count).map(|_| rng.below(256) as u8).collect::<Vec<u8>>();
        seeds.push(("awareness", seed.to_string(), noise(40 + seed * 20)));
        seeds.push(("world", seed.to_string(), noise(40 + seed * 20)));
    }
    seeds.push(("wire", "auth".to_owned(), encode::auth_denied("no").to_vec()));
    seeds.push(("wire", "custom".to_owned(), encode::custom(200, b"body").to_vec()));
    seeds
}

/// Updates of two clients that edit together: singly, merged, repeated, shuffled.
fn history(seed: u64) -> Vec<Vec<u8>> {
    use crate::client::Client;
    use crate::op::{Edit, Role};
    const EDITS: [Edit; 8] = [
        Edit::Type,
        Edit::TypeOn,
        Edit::Delete,
        Edit::Set,
        Edit::Unset,
        Edit::Nest,
        Edit::NestSet,
        Edit::NestDrop,
    ];
    let mut rng = Rng::of(seed, 8);
    let mut clients = [1, 2].map(|id| Client::new(id, 0, Role::Writer, id as u64, seed));
    let mut updates: Vec<Vec<u8>> = Vec::new();
    for _ in 0..4 + seed {
        let author = rng.index(2);
        let edit = EDITS[rng.index(EDITS.len())];
        let Some((update, _)) = clients[author].edit(edit, rng.below(8) as u8) else { continue };
        if rng.chance(600) {
            // Both have made all that is listed so far; what is not passed on stays concurrent.
            let whole = clients[author].whole();
            let _ = clients[1 - author].apply(&whole);
        }
        updates.push(update);
    }
    updates.push(clients[0].whole());
    if seed % 3 == 1 {
        let len = updates.len();
        updates.swap(0, len / 2);
        updates.swap(1, len - 1);
    }
    if seed % 3 == 2 {
        updates.reverse();
    }
    updates
}
