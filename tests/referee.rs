//! Real Yjs, versions 13 and 14, judges what the update algebra makes of real traces and of random
//! histories.
//!
//! It needs Node.js and `npm ci` in `tests/referee`. Without them the tests say `SKIPPED` and pass,
//! but fail where `CI` is set. `YROOM_TRACES` names the directory of the traces (default
//! `../shared/traces`), `YROOM_HISTORIES` the number of random histories (default 2,000),
//! `YROOM_SEED` the first one's seed.
#![allow(clippy::disallowed_macros, clippy::disallowed_types, reason = "tests have I/O")]
#![allow(clippy::cast_precision_loss, unreachable_pub, reason = "no library")]

#[path = "referee/judge.rs"]
mod judge;
#[path = "referee/trace.rs"]
mod trace;

use judge::{Judge, Random};
use std::env;
use std::slice;
use yroom::update::{
    DeleteSet, Scan, ScanLimits, Snapshot, StateVector, diff, merge, novel_part, ready_part, scan,
};

fn limits() -> ScanLimits {
    ScanLimits::default()
}

fn merged(updates: &[Vec<u8>]) -> Vec<u8> {
    let updates: Vec<&[u8]> = updates.iter().map(Vec::as_slice).collect();
    merge(&updates).expect("real updates merge")
}

/// A room's document: what was accepted, in its order, and what it covers.
#[derive(Default)]
struct Server {
    accepted: Vec<Vec<u8>>,
    known: StateVector,
    deleted: DeleteSet,
}

impl Server {
    /// Takes what is ready and new of an update; whether that was all of it.
    fn take(&mut self, update: &[u8]) -> bool {
        let ready = ready_part(update, &self.known, &limits()).expect("a real update");
        if let Some(part) = &ready.part {
            assert!(ready.scan.regular, "a ready part has the form that Yjs gives it");
            for need in &ready.scan.needs {
                let mut own = ready.scan.ranges.iter().filter(|r| r.client == need.client);
                let there = need.clock < self.known.get(need.client);
                assert!(there || own.any(|r| need.clock < r.end), "{need:?} is not there yet");
            }
            if let Some(novel) = novel_part(part, &self.known, &self.deleted).expect("as above") {
                let found = scan(&novel, &limits()).expect("a novel part is an update");
                self.account(&found);
                self.accepted.push(novel.into_owned());
                let again = novel_part(part, &self.known, &self.deleted).expect("as above");
                assert_eq!(again, None, "nothing is novel twice");
            }
        }
        ready.missing.is_empty()
    }

    fn account(&mut self, found: &Scan) {
        for range in &found.ranges {
            assert!(range.start <= self.known.get(range.client), "no gap is ever accepted");
            self.known.raise(range.client, range.end);
        }
        self.deleted.extend(found.deletes.iter().copied());
    }

    /// Gives it the updates in random order, some twice, until it takes them all.
    fn take_all(&mut self, updates: &[Vec<u8>], random: &mut Random) {
        let mut waiting: Vec<&Vec<u8>> = updates.iter().collect();
        for round in 0.. {
            assert!(round < 10_000, "an update never becomes ready");
            if round > 0 {
                random.jumble(&mut waiting, 6);
            }
            waiting.retain(|update| !self.take(update) || random.chance(5));
            if waiting.is_empty() {
                return;
            }
        }
    }
}

#[test]
fn random_histories_stay_what_they_are() {
    let Some(mut judge) = Judge::start() else { return };
    let number = |name, default| match env::var(name) {
        Ok(value) => value.parse().expect("a number"),
        Err(_) => default,
    };
    let first: u32 = number("YROOM_SEED", 1);
    let histories: u32 = number("YROOM_HISTORIES", 2_000);
    let (mut ours, mut theirs, mut updates) = (0, 0, 0);
    for seed in first..first + histories {
        let mut case = Case { seed, judge: &mut judge, random: Random::new(seed) };
        let log = case.judge.generate(seed, (seed % 10) as u8);
        updates += log.len();
        let whole = case.check(&log);
        let fresh = case.judge.size();
        ours += whole.len();
        theirs += fresh;
        if seed % 2 == 0 {
            let longer = case.judge.go_on(&whole);
            case.agree("those who went on", &longer);
            let folded = merged(&[&[whole][..], &longer[log.len()..]].concat());
            case.same(13, "a snapshot that was edited on", &[&folded]);
            case.check(&longer);
        }
    }
    println!(
        "{histories} histories of {updates} updates: {ours} bytes compacted, {theirs} by yjs, {:.3}",
        f64::from(ours as u32) / f64::from(theirs as u32)
    );
    assert!(ours <= theirs, "snapshots are at most as long as those of yjs");
}

#[test]
fn random_histories_of_version_14_stay_what_they_are() {
    let Some(mut judge) = Judge::start() else { return };
    for seed in 1..=300 {
        let mut case = Case { seed, judge: &mut judge, random: Random::new(seed) };
        let log = case.judge.generate(seed, 14);
        case.check(&log);
    }
}

#[test]
fn traces_stay_what_they_are() {
    let Some(mut judge) = Judge::start() else { return };
    let traces = trace::all();
    for (name, log) in &traces {
        judge.load(log);
        let whole = merged(log);
        let fresh = judge.size();
        println!(
            "{name}: {} updates, {} bytes; loaded and encoded by yjs {fresh}, compacted {} ({:.3})",
            log.len(),
            log.iter().map(Vec::len).sum::<usize>(),
            whole.len(),
            whole.len() as f64 / fresh as f64
        );
        let mut case = Case { seed: 1, judge: &mut judge, random: Random::new(1) };
        case.same(13, name, &[&whole]);
        case.same(14, name, &[&whole]);
        assert_eq!(merged(slice::from_ref(&whole)), whole, "{name}: idempotent");
        let folded = log.chunks(1_000).fold(Vec::new(), |snapshot, chunk| {
            let mut updates: Vec<&[u8]> = chunk.iter().map(Vec::as_slice).collect();
            if !snapshot.is_empty() {
                updates.insert(0, &snapshot);
            }
            merge(&updates).expect("real updates merge")
        });
        assert!(folded == whole, "{name}: folding bit by bit makes the same bytes");
        case.diffs(&whole, log);
        assert!(whole.len() <= fresh, "{name}: at most as long as by yjs");
    }
    if traces.is_empty() {
        judge::skipped("no traces: set YROOM_TRACES");
    }
}

struct Case<'a> {
    seed: u32,
    judge: &'a mut Judge,
    random: Random,
}

impl Case<'_> {
    /// Checks everything that is made of a log; the log's merge.
    fn check(&mut self, log: &[Vec<u8>]) -> Vec<u8> {
        for update in log {
            let found = scan(update, &limits());
            assert!(found.is_ok(), "seed {}: a real update is refused: {found:?}", self.seed);
        }
        let whole = merged(log);
        self.same(13, "merged", &[&whole]);
        self.same(14, "merged", &[&whole]);
        self.eq("merging again", &merged(slice::from_ref(&whole)), &whole);
        self.chained(log, &whole);
        self.permuted(log);
        self.diffs(&whole, log);
        self.served(log, &whole);
        whole
    }

    fn chained(&mut self, log: &[Vec<u8>], whole: &[u8]) {
        let mut snapshot = Vec::new();
        let mut rest = log;
        while !rest.is_empty() {
            let (some, others) = rest.split_at(1 + self.random.below(rest.len()).min(20));
            rest = others;
            let mut updates = some.to_vec();
            if !snapshot.is_empty() {
                updates.insert(0, snapshot);
            }
            snapshot = merged(&updates);
        }
        self.eq("folding bit by bit", &snapshot, whole);
        let halves: Vec<_> = log.chunks(1 + self.random.below(log.len())).map(merged).collect();
        self.same(13, "a merge of merges", &[&merged(&halves)]);
        self.same(14, "a merge of merges", &[&merged(&halves)]);
    }

    fn permuted(&mut self, log: &[Vec<u8>]) {
        let mut some: Vec<_> = log.iter().chain(log.iter().step_by(3)).cloned().collect();
        let all = some.len();
        self.random.jumble(&mut some, all);
        let permuted = merged(&some);
        self.same(13 + judge::CUT_PAIRS, "in another order and some twice", &[&permuted]);
        self.eq("merging that again", &merged(slice::from_ref(&permuted)), &permuted);
    }

    fn diffs(&mut self, whole: &[u8], log: &[Vec<u8>]) {
        let snapshot = Snapshot::load(whole.to_vec().into(), &limits()).expect("a real update");
        for (bytes, prefix) in self.judge.state_vectors(self.seed) {
            let have = StateVector::decode(&bytes, usize::MAX).expect("a state vector of yjs");
            let lacking = diff(whole, &have).expect("a real update");
            let by_index = snapshot.diff(&have);
            self.eq("a diff by the snapshot's index", &by_index, &lacking);
            let theirs = self.judge.diff(whole, &bytes);
            let verdict = self.judge.same_update(&lacking, &theirs);
            assert_eq!(verdict, "", "seed {}: a diff is not that of yjs", self.seed);
            if let Some(prefix) = prefix {
                let mut updates: Vec<&[u8]> = log[..prefix].iter().map(Vec::as_slice).collect();
                updates.push(&lacking);
                self.same(13, "a prefix and the diff to it", &updates);
                let before = merged(&log[..prefix]);
                let joined = merge(&[&lacking, &before]).expect("both are updates");
                self.same(13, "the diff merged with the prefix", &[&joined]);
                self.same(14, "the diff merged with the prefix", &[&joined]);
            }
        }
    }

    fn served(&mut self, log: &[Vec<u8>], whole: &[u8]) {
        let mut server = Server::default();
        server.take_all(log, &mut self.random);
        let relayed: Vec<&[u8]> = server.accepted.iter().map(Vec::as_slice).collect();
        self.same(13, "what a server relays", &relayed);
        self.same(13, "what a server stores", &[&merge(&relayed).expect("updates")]);
        assert!(server.take(whole), "seed {}: the whole is not ready", self.seed);
        let again = novel_part(whole, &server.known, &server.deleted).expect("an update");
        if let Some(again) = again {
            // What was deleted with its parent stands in no update's delete set.
            let found = scan(&again, &limits()).expect("an update");
            assert!(found.ranges.is_empty(), "seed {}: known structs are novel", self.seed);
        }
    }

    fn same(&mut self, version: u8, what: &str, updates: &[&[u8]]) {
        let verdict = self.judge.judge(version, updates);
        assert_eq!(verdict, "", "seed {}, yjs {version}: {what}", self.seed);
    }

    fn agree(&mut self, what: &str, _log: &[Vec<u8>]) {
        let verdict = self.judge.converged();
        assert_eq!(verdict, "", "seed {}: {what}", self.seed);
    }

    fn eq(&self, what: &str, found: &[u8], expected: &[u8]) {
        assert!(
            found == expected,
            "seed {}: {what} makes other bytes\n{found:?}\n{expected:?}",
            self.seed
        );
    }
}

#[test]
fn what_is_let_in_makes_no_yjs_throw() {
    let Some(mut judge) = Judge::start() else { return };
    let mut let_in = 0;
    for seed in 1..=400 {
        let log = judge.generate(seed, (seed % 10) as u8);
        let mut random = Random::new(seed);
        for _ in 0..20 {
            let at = random.below(log.len());
            let before = merged(&log[..at]);
            let found = scan(&before, &limits()).expect("real updates");
            let known = found.ranges.iter().map(|range| (range.client, range.end)).collect();
            let mut update = match random.below(3) {
                0 => merged(&log[at..]),
                _ => log[at].clone(),
            };
            for _ in 0..=random.below(2) {
                damage(&mut update, &mut random);
            }
            // A server relays what is ready; the rest never reaches anybody.
            let Ok(ready) = ready_part(&update, &known, &limits()) else { continue };
            let Some(part) = ready.part else { continue };
            let_in += 1;
            let thrown = judge.throws(&[&before, &part]);
            assert_eq!(thrown, "", "seed {seed}: {part:?} after {before:?}");
            let whole = merged(&[before, part.into_owned()]);
            let thrown = judge.throws(&[&whole]);
            assert_eq!(thrown, "", "seed {seed}, merged: {whole:?}");
        }
    }
    assert!(let_in > 1_000, "too few to mean anything: {let_in}");
    println!("{let_in} damaged updates were let in");
}

fn damage(update: &mut Vec<u8>, random: &mut Random) {
    let at = random.below(update.len());
    match random.below(4) {
        0 => update[at] ^= 1 << random.below(8),
        1 => update[at] = [0, 1, 2, 10, 0x7f, 0x80, 0xc4, 0xff][random.below(8)],
        2 => drop(update.remove(at)),
        _ => update.insert(at, random.below(256) as u8),
    }
}
