//! Random documents, written as Yjs writes them, by clients that see each other's work at once.

use std::collections::BTreeSet;
use yroom::update::{
    DeleteSet, EMPTY, ScanLimits, Snapshot, StateVector, diff, merge, novel_part, ready_part, scan,
};

/// A log of updates, and what must and must not be in their merge.
#[derive(Clone, Debug)]
pub struct Document {
    pub log: Vec<Vec<u8>>,
    pub live_words: Vec<String>,
    pub deleted_words: Vec<String>,
}

impl Document {
    pub fn random(seed: u64, steps: usize) -> Self {
        let mut editor = Editor::new(seed);
        for _ in 0..steps {
            editor.step();
        }
        editor.insert();
        let (live_words, deleted_words) = editor.words();
        Self { log: editor.log, live_words, deleted_words }
    }
}

type Id = (u64, u32);

/// A list, or a key of a map, that structs are in.
#[derive(Clone, Debug)]
struct Place {
    /// The type that it is in; the root if none.
    inside: Option<Id>,
    key: Option<String>,
    /// The ids in it, in the order in which they were made.
    ids: Vec<Id>,
}

#[derive(Debug)]
struct Word {
    text: String,
    id: Id,
    place: usize,
}

#[derive(Debug)]
struct Editor {
    random: u64,
    log: Vec<Vec<u8>>,
    clients: Vec<(u64, u32)>,
    places: Vec<Place>,
    words: Vec<Word>,
    deleted: BTreeSet<Id>,
    /// What the last insertion was, so that another can follow it as typing does.
    typed: Option<(usize, Id, Option<Id>, u8)>,
}

impl Editor {
    fn new(seed: u64) -> Self {
        let mut editor = Self {
            random: seed | 1,
            log: Vec::new(),
            clients: Vec::new(),
            places: vec![Place { inside: None, key: None, ids: Vec::new() }],
            words: Vec::new(),
            deleted: BTreeSet::new(),
            typed: None,
        };
        for i in 0..=editor.below(3) as u64 {
            let id = [i, 100 + i, 1 << 31 | i, 1 << 50 | i][editor.below(4)];
            editor.clients.push((id * 4 + i, 0));
        }
        editor
    }

    fn below(&mut self, bound: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 20) as usize % bound.max(1)
    }

    fn step(&mut self) {
        match self.below(10) {
            0..5 => self.insert(),
            5..8 => self.type_on(),
            _ => self.delete(),
        }
    }

    /// Goes on typing: origin is the last clock, the right origin the same.
    fn type_on(&mut self) {
        let Some((place, last, right, kind)) = self.typed else { return self.insert() };
        let id = (last.0, last.1 + 1);
        let at = self.clients.iter().position(|c| c.0 == last.0).expect("a client");
        if self.clients[at].1 != id.1 || !matches!(kind, 2 | 4 | 8) {
            return self.insert();
        }
        self.write(at, place, Some(last), right, kind);
    }

    fn insert(&mut self) {
        let at = self.below(self.clients.len());
        let place = self.below(self.places.len());
        let ids = self.places[place].ids.clone();
        let map = self.places[place].key.is_some();
        let pick = |editor: &mut Self| {
            (editor.below(3) > 0 && !ids.is_empty()).then(|| ids[editor.below(ids.len())])
        };
        let (origin, right) =
            if map { (ids.last().copied(), None) } else { (pick(self), pick(self)) };
        let kind = [4, 4, 4, 8, 7, 7, 2, 3, 5, 6, 9][self.below(11)];
        self.write(at, place, origin, right, if map && kind == 4 { 8 } else { kind });
    }

    fn write(&mut self, at: usize, place: usize, origin: Option<Id>, right: Option<Id>, kind: u8) {
        let (client, clock) = self.clients[at];
        let id = (client, clock);
        let map = self.places[place].key.is_some();
        let mut out = vec![1, 1];
        uint(&mut out, client);
        uint(&mut out, u64::from(clock));
        out.push(kind | flag(origin, 0x80) | flag(right, 0x40) | if map { 0x20 } else { 0 });
        for id in [origin, right].into_iter().flatten() {
            write_id(&mut out, id);
        }
        if origin.is_none() && right.is_none() {
            let place = &self.places[place];
            match place.inside {
                None => {
                    out.push(1);
                    string(&mut out, "root");
                }
                Some(id) => {
                    out.push(0);
                    write_id(&mut out, id);
                }
            }
            if let Some(key) = &place.key {
                string(&mut out, key);
            }
        }
        let len = self.write_content(&mut out, id, place, kind, map);
        out.push(0);
        self.log.push(out);
        if map {
            // What was under the key is overwritten.
            if let Some(&before) = self.places[place].ids.last() {
                self.log_deletion(before.0, before.1, 1);
            }
        }
        self.places[place].ids.extend((clock..clock + len).map(|clock| (client, clock)));
        self.clients[at].1 += len;
        self.typed = (!map).then_some((place, (client, clock + len - 1), right, kind));
    }

    fn write_content(
        &mut self,
        out: &mut Vec<u8>,
        id: Id,
        place: usize,
        kind: u8,
        map: bool,
    ) -> u32 {
        let word = format!("w{}_{}é", self.words.len(), self.log.len());
        match kind {
            2 | 8 => {
                let count = if map { 1 } else { 1 + self.below(3) };
                out.push(count as u8);
                for i in 0..count {
                    let value = format!("{i}{word}");
                    if kind == 8 {
                        out.push(119);
                        string(out, &value);
                    } else {
                        string(out, &format!("\"{value}\""));
                    }
                }
                return count as u32;
            }
            3 => string(out, &word),
            4 => {
                string(out, &word);
                let len = word.encode_utf16().count() as u32;
                self.words.push(Word { text: word, id, place });
                return len;
            }
            5 => string(out, &format!("{{\"a\":\"{word}\"}}")),
            6 => {
                string(out, "bold");
                string(out, "true");
            }
            7 => {
                out.push(self.below(3) as u8);
                let key = (self.below(2) == 0).then(|| "key".to_owned());
                self.places.push(Place { inside: Some(id), key, ids: Vec::new() });
            }
            _ => {
                string(out, &word);
                out.extend([118, 1]);
                string(out, "gc");
                out.push(121);
            }
        }
        1
    }

    /// Deletes a word, or anything.
    fn delete(&mut self) {
        if self.below(2) == 0 && !self.words.is_empty() {
            let word = &self.words[self.random as usize % self.words.len()];
            let (id, len) = (word.id, word.text.encode_utf16().count() as u32);
            return self.log_deletion(id.0, id.1, len);
        }
        let at = self.below(self.clients.len());
        let (client, clocks) = self.clients[at];
        if clocks > 0 {
            let start = self.below(clocks as usize) as u32;
            let len = 1 + self.below((clocks - start).min(9) as usize) as u32;
            self.log_deletion(client, start, len);
        }
    }

    fn log_deletion(&mut self, client: u64, start: u32, len: u32) {
        let mut out = vec![0, 1];
        uint(&mut out, client);
        out.push(1);
        uint(&mut out, u64::from(start));
        uint(&mut out, u64::from(len));
        self.log.push(out);
        self.deleted.extend((start..start + len).map(|clock| (client, clock)));
    }

    /// Whether the place's type, or one that it is in, is deleted.
    fn is_dead(&self, place: usize) -> bool {
        let Some(id) = self.places[place].inside else { return false };
        let around = self.places.iter().position(|place| place.ids.contains(&id));
        self.deleted.contains(&id) || around.is_none_or(|around| self.is_dead(around))
    }

    /// The words that are all there, and those that are all gone.
    fn words(&self) -> (Vec<String>, Vec<String>) {
        let (mut live, mut gone) = (Vec::new(), Vec::new());
        for word in &self.words {
            let len = word.text.encode_utf16().count() as u32;
            let deleted = (word.id.1..word.id.1 + len)
                .filter(|&clock| self.deleted.contains(&(word.id.0, clock)))
                .count() as u32;
            if self.is_dead(word.place) || deleted == len {
                gone.push(word.text.clone());
            } else if deleted == 0 {
                live.push(word.text.clone());
            }
        }
        (live, gone)
    }
}

fn flag(id: Option<Id>, flag: u8) -> u8 {
    if id.is_some() { flag } else { 0 }
}

pub fn uint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn string(out: &mut Vec<u8>, text: &str) {
    uint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

fn write_id(out: &mut Vec<u8>, id: Id) {
    uint(out, id.0);
    uint(out, u64::from(id.1));
}

pub fn shuffle<T>(things: &mut [T], seed: u64) {
    let mut random = seed | 1;
    for i in (1..things.len()).rev() {
        random =
            random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        things.swap(i, (random >> 33) as usize % (i + 1));
    }
}

/// Does everything with bytes that may be anything. What is refused is refused by a typed error;
/// what is let in makes only updates that are let in.
pub fn exercise(bytes: &[u8]) {
    let limits = ScanLimits::default();
    let empty = StateVector::new();
    let _ = StateVector::decode(bytes, 1 << 16);
    let _ = DeleteSet::decode(bytes, &limits);
    // What was not scanned may be refused, but never breaks anything.
    let _ = merge(&[bytes]);
    let _ = merge(&[EMPTY, bytes, bytes]);
    let _ = diff(bytes, &empty);
    let _ = novel_part(bytes, &empty, &DeleteSet::new());
    let Ok(found) = scan(bytes, &limits) else {
        assert!(ready_part(bytes, &empty, &limits).is_err());
        return;
    };
    let whole = merge(&[bytes]).expect("what is scanned is merged");
    scan(&whole, &limits).expect("a merge is an update");
    assert_eq!(merge(&[&whole]).as_ref(), Ok(&whole), "a merge merges to itself");
    let half: StateVector =
        found.ranges.iter().map(|r| (r.client, r.start + (r.end - r.start) / 2)).collect();
    for have in [&empty, &half] {
        let lacking = diff(&whole, have).expect("what is scanned is cut");
        scan(&lacking, &limits).expect("a diff is an update");
        let ready = ready_part(bytes, have, &limits).expect("what is scanned is judged");
        if let Some(part) = &ready.part {
            let again = ready_part(part, have, &limits).expect("a part is an update");
            assert_eq!(again.missing, [], "a ready part is ready");
            let novel = novel_part(part, have, &DeleteSet::new()).expect("a part is an update");
            if let Some(novel) = novel {
                scan(&novel, &limits).expect("a novel part is an update");
            }
        } else {
            assert!(
                !ready.missing.is_empty()
                    || found.ranges.is_empty()
                    || found.structs == 0
                    || found.ranges.iter().all(|r| r.end <= have.get(r.client))
            );
        }
    }
    let snapshot = Snapshot::load(whole.clone().into(), &limits).expect("a merge is an update");
    assert_eq!(snapshot.diff(&half), diff(&whole, &half).expect("as above"));
}

/// What two updates must have in common to be the same. Merges have one form.
pub fn content_of(update: &[u8]) -> Vec<u8> {
    merge(&[update]).expect("an update")
}
