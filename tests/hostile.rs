//! Updates that were made to hurt: nothing panics, memory stays within sixteen times the input and
//! 64 KiB, and time grows with the input, not with its square.
//!
//! `YROOM_CORPUS` names a directory of further inputs: `*.hex`, one in hexadecimal digits a line.
#![allow(unsafe_code, reason = "an allocator that counts")]
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "tests have I/O"
)]
#![allow(unreachable_pub, dead_code, reason = "no library")]

#[path = "hostile/counting.rs"]
mod counting;
#[path = "referee/judge.rs"]
mod judge;
#[path = "algebra/model.rs"]
mod model;
#[path = "referee/trace.rs"]
mod trace;

use counting::{held_by, kept_by};
use model::uint;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Instant;
use std::{env, fs};
use yroom::update::{
    DeleteSet, Limit, ScanLimits, Snapshot, StateVector, UpdateError, diff, merge, novel_part,
    ready_part, scan,
};

/// Does one thing with an update.
type Operation = fn(&[u8]);

const OPERATIONS: [(&str, Operation); 9] = [
    ("scan within bounds", |u| drop(scan(u, &ScanLimits::default()))),
    ("scan", |u| drop(scan(u, &wide()))),
    ("merge", |u| drop(merge(&[u]))),
    ("merge with itself", |u| drop(merge(&[u, u]))),
    ("diff", |u| drop(diff(u, &StateVector::new()))),
    ("ready_part", |u| drop(ready_part(u, &StateVector::new(), &wide()))),
    ("novel_part", |u| drop(novel_part(u, &StateVector::new(), &DeleteSet::new()))),
    ("StateVector", |u| drop(StateVector::decode(u, usize::MAX))),
    ("DeleteSet", |u| drop(DeleteSet::decode(u, &wide()))),
];

/// No bound but those of the input's bytes.
fn wide() -> ScanLimits {
    ScanLimits::NONE
}

fn check_memory(name: &str, update: &[u8]) {
    for (what, operation) in OPERATIONS {
        let inputs = if what == "merge with itself" { 2 } else { 1 };
        let held = held_by(|| operation(update));
        let allowed = 16 * inputs * update.len() + (64 << 10);
        assert!(held <= allowed, "{name}: {what} of {} bytes holds {held}", update.len());
    }
}

fn corpus() -> Vec<(String, Vec<Vec<u8>>)> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/hostile");
    let homes = [Some(own), env::var_os("YROOM_CORPUS").map(Into::into)];
    let mut files = Vec::new();
    for home in homes.into_iter().flatten() {
        for file in fs::read_dir(home).expect("a corpus") {
            let path = file.expect("a readable directory").path();
            if path.extension().is_some_and(|e| e == "hex") {
                let text = fs::read_to_string(&path).expect("a readable file");
                let lines = text.lines().map(unhex).collect();
                files.push((path.display().to_string(), lines));
            }
        }
    }
    assert!(!files.is_empty());
    files
}

fn unhex(line: &str) -> Vec<u8> {
    let digits: Vec<u8> = line.trim().bytes().collect();
    let digit = |d: u8| (d as char).to_digit(16).expect("a hexadecimal digit") as u8;
    digits.chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

#[test]
fn the_corpus_is_refused_or_harmless() {
    for (name, lines) in corpus() {
        for line in &lines {
            check_memory(&name, line);
            model::exercise(line);
        }
        let together: Vec<&[u8]> = lines.iter().map(Vec::as_slice).collect();
        if let Ok(whole) = merge(&together) {
            model::exercise(&whole);
        }
    }
}

#[test]
fn what_is_legitimate_in_the_corpus_is_taken() {
    for (name, lines) in corpus() {
        if name.contains("LEGIT") || name.contains("stuck_pending") {
            for line in lines {
                assert!(scan(&line, &ScanLimits::default()).is_ok(), "{name}");
            }
        }
    }
}

#[test]
fn bounds_are_told_apart() {
    let tight =
        ScanLimits { bytes: 200, clients: 2, structs: 5, delete_ranges: 3, depth: 2, types: 1 };
    let limit = |update: &[u8]| match scan(update, &tight) {
        Err(UpdateError::Limit(limit)) => Some(limit),
        Ok(_) | Err(UpdateError::Malformed(_)) => None,
    };
    assert_eq!(limit(&[0; 201]), Some(Limit::TooLarge));
    assert_eq!(limit(&clients(3)), Some(Limit::TooManyClients));
    assert_eq!(limit(&gc_and_deleted(6)), Some(Limit::TooManyStructs));
    assert_eq!(limit(&deletes(4)), Some(Limit::TooManyDeleteRanges));
    assert_eq!(limit(&nested_values(3)), Some(Limit::TooDeep));
    assert_eq!(limit(&nested_values(2)), None);
}

/// Sections of one GC struct each, with the longest ids.
fn clients(n: u64) -> Vec<u8> {
    let mut out = Vec::new();
    uint(&mut out, n);
    for i in 0..n {
        uint(&mut out, 1);
        uint(&mut out, (1 << 40) + (n - i));
        out.extend([0, 0, 1]);
    }
    out.push(0);
    out
}

/// As many clients, and in no order.
fn clients_in_disorder(n: u64) -> Vec<u8> {
    let mut out = Vec::new();
    uint(&mut out, n);
    for i in 0..n {
        uint(&mut out, 1);
        uint(&mut out, i.wrapping_mul(0x9e37_79b9) % (1 << 20));
        out.extend([0, 0, 1]);
    }
    out.push(0);
    out
}

fn section(out: &mut Vec<u8>, structs: u64, client: u64, clock: u64) {
    uint(out, structs);
    uint(out, client);
    uint(out, clock);
}

/// GC structs and deleted ones in turn: the smallest that are never squashed.
fn gc_and_deleted(n: u64) -> Vec<u8> {
    let mut out = vec![1];
    section(&mut out, n, 1, 0);
    for i in 0..n {
        if i % 2 == 0 {
            out.extend([0, 1]);
        } else {
            out.extend([1, 1, 1, b'r', 1]);
        }
    }
    out.push(0);
    out
}

/// Small structs that are never squashed, each with two foreign ids.
fn small_structs(n: u64) -> Vec<u8> {
    let mut out = vec![2];
    section(&mut out, n, 2, 0);
    for i in 0..n {
        out.extend([0xc1, (i % 2) as u8, 0, 1, (i % 7) as u8, 1]);
    }
    section(&mut out, 1, 1, 0);
    out.extend([1, 1, 1, b'r', 100, 0]);
    out
}

/// Runs of one struct with a Skip between.
fn runs(n: u64) -> Vec<u8> {
    let mut out = vec![1];
    section(&mut out, 2 * n, 1, 0);
    for _ in 0..n {
        out.extend([0, 1, 10, 1]);
    }
    out.push(0);
    out
}

/// Many sections of one client, backwards.
fn sections_backwards(n: u64) -> Vec<u8> {
    let mut out = Vec::new();
    uint(&mut out, n);
    for i in (0..n).rev() {
        section(&mut out, 1, 1, 2 * i);
        out.extend([0, 2]);
    }
    out.push(0);
    out
}

fn deletes(n: u64) -> Vec<u8> {
    let mut out = vec![0, 1, 1];
    uint(&mut out, n);
    for i in (0..n).rev() {
        uint(&mut out, 2 * i);
        out.push(1);
    }
    out
}

/// Text and the deletion of every other character, backwards.
fn alternating_deletes(n: u64) -> Vec<u8> {
    let mut out = vec![1];
    section(&mut out, 1, 1, 0);
    out.extend([4, 1, 1, b'r']);
    uint(&mut out, 3 * n);
    out.extend(std::iter::repeat_n("aé".as_bytes(), n as usize).flatten());
    out.extend(&deletes(n)[1..]);
    out
}

fn nested_values(n: usize) -> Vec<u8> {
    let mut out = vec![1, 1, 1, 0, 8, 1, 1, b'r', 1];
    out.extend(std::iter::repeat_n([117, 1], n).flatten());
    out.extend([126, 0]);
    out
}

fn nested_json(n: usize) -> Vec<u8> {
    let text = format!("{}{}", "[".repeat(n), "]".repeat(n));
    let mut out = vec![1, 1, 1, 0, 5, 1, 1, b'r'];
    uint(&mut out, text.len() as u64);
    out.extend(text.as_bytes());
    out.push(0);
    out
}

/// A type in a type in a type …, the outermost one deleted.
fn nested_types(n: u64) -> Vec<u8> {
    let mut out = vec![1];
    section(&mut out, n, 1, 0);
    out.extend([7, 1, 1, b'r', 0]);
    for i in 1..n {
        out.extend([7, 0, 1]);
        uint(&mut out, i - 1);
        out.push(0);
    }
    out.extend([1, 1, 1, 0, 1]);
    out
}

/// Two clients whose structs wait for each other in turn, so that one waits at every struct.
fn ping_pong(n: u64) -> Vec<u8> {
    let mut out = vec![2];
    section(&mut out, n, 2, 0);
    for i in 0..n {
        out.extend([0x84, 1]);
        uint(&mut out, i);
        out.extend([1, b'x']);
    }
    section(&mut out, n, 1, 0);
    out.extend([4, 1, 1, b'r', 1, b'y']);
    for i in 1..n {
        out.extend([0x84, 2]);
        uint(&mut out, i - 1);
        out.extend([1, b'y']);
    }
    out.push(0);
    out
}

/// As many clients, each of whom waits for the one whose section comes before.
fn waiting_clients(n: u64) -> Vec<u8> {
    let mut out = Vec::new();
    uint(&mut out, n);
    for client in (0..n).rev() {
        section(&mut out, 1, client, 0);
        if client + 1 == n {
            out.extend([4, 1, 1, b'r', 1, b'x']);
        } else {
            out.push(0x84);
            uint(&mut out, client + 1);
            out.extend([0, 1, b'x']);
        }
    }
    out.push(0);
    out
}

/// Types, and the smallest structs that are not squashed.
fn types_and_small_structs(n: u64) -> Vec<u8> {
    let mut out = vec![2];
    section(&mut out, n, 2, 0);
    for i in 0..n {
        out.extend(if i % 2 == 0 { [0x87, 1, 0, 1] } else { [0x81, 1, (i % 5) as u8, 1] });
    }
    section(&mut out, 1, 1, 0);
    out.extend([1, 1, 1, b'r', 100, 0]);
    out
}

/// Clients whose structs' parents are each other's: a ring, and a GC so that it is looked into.
fn ring_of_parents(n: u64) -> Vec<u8> {
    let mut out = Vec::new();
    uint(&mut out, n + 1);
    for client in (1..=n).rev() {
        section(&mut out, 1, client, 0);
        out.extend([7, 0]);
        uint(&mut out, if client == n { 1 } else { client + 1 });
        out.extend([0, 0]);
    }
    section(&mut out, 1, 0, 0);
    out.extend([0, 1, 0]);
    out
}

type Shape = fn(u64) -> Vec<u8>;

const SHAPES: [(&str, Shape); 15] = [
    ("clients", clients),
    ("clients in disorder", clients_in_disorder),
    ("GC and deleted in turn", gc_and_deleted),
    ("small structs", small_structs),
    ("runs", runs),
    ("sections backwards", sections_backwards),
    ("deletes", deletes),
    ("alternating deletes", alternating_deletes),
    ("nested values", |n| nested_values(n as usize)),
    ("nested JSON", |n| nested_json(n as usize)),
    ("nested types", nested_types),
    ("types and small structs", types_and_small_structs),
    ("ping pong", ping_pong),
    ("waiting clients", waiting_clients),
    ("ring of parents", ring_of_parents),
];

#[test]
fn shapes_are_what_they_are_meant_to_be() {
    for (name, shape) in SHAPES {
        assert_eq!(scan(&shape(40), &wide()).err(), None, "{name}");
        model::exercise(&shape(40));
    }
}

#[test]
fn memory_is_bounded_by_the_input() {
    for (name, shape) in SHAPES {
        for n in [1, 100, 30_000] {
            check_memory(name, &shape(n));
        }
    }
}

#[test]
fn counts_that_lie_cost_nothing() {
    let most = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f];
    for front in
        [&[][..], &[1], &[1, 1, 1, 0, 8, 1, 1, b'r'], &[1, 1, 1, 0, 4, 1, 1], &[0], &[0, 1, 1]]
    {
        let update = [front, &most].concat();
        check_memory("a count", &update);
        assert!(scan(&update, &ScanLimits::default()).is_err());
    }
}

#[test]
fn time_grows_with_the_input() {
    let (few, many) = if cfg!(debug_assertions) { (2_000, 16_000) } else { (8_000, 64_000) };
    for (name, shape) in SHAPES {
        let (small, large) = (shape(few), shape(many));
        let growth = large.len() / small.len();
        for (what, operation) in OPERATIONS {
            // As many small ones as make a large one: both are interrupted as often by whatever
            // else the machine does. What grows with the square takes eight times as long.
            let too_slow = || {
                let parts = time_of(|| (0..growth).for_each(|_| operation(&small)));
                let whole = time_of(|| operation(&large));
                (whole > 4 * parts + 8_000_000).then_some((parts, whole))
            };
            let tries: Vec<_> = (0..5).map_while(|_| too_slow()).collect();
            assert!(tries.len() < 5, "{name}: {what} takes too long: {tries:?} ns");
        }
    }
}

/// The lesser processor time of two runs in nanoseconds.
fn time_of(work: impl Fn()) -> u64 {
    let runs = (0..2).map(|_| {
        let start = processor_time();
        work();
        processor_time() - start
    });
    runs.min().unwrap_or(0)
}

/// What this thread has run so far, which does not pass while others run; where the system does not
/// tell, what has passed.
fn processor_time() -> u64 {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let run = told.and_then(|told| told.split_whitespace().next()?.parse().ok());
    run.unwrap_or_else(|| START.elapsed().as_nanos() as u64)
}

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

#[test]
fn single_deletes_that_come_one_by_one_do_not_shift_everything() {
    let mut set = DeleteSet::new();
    let large = held_by(|| {
        for i in (0..200_000u32).rev() {
            let client = yroom::update::ClientId(1);
            set.insert(yroom::update::ClockRange { client, start: 2 * i, end: 2 * i + 1 });
        }
    });
    assert!(large < 200_000 * 24, "{large}");
    assert_eq!(set.range_count(), 200_000);
}

#[test]
fn a_snapshots_index_is_small() {
    let update = small_structs(100_000);
    let whole = merge(&[&update]).expect("an update");
    let snapshot = Snapshot::load(whole.into(), &wide()).expect("an update");
    assert!(snapshot.heap_bytes() * 50 < snapshot.bytes().len(), "{}", snapshot.heap_bytes());
}

/// What a room holds of a document that nobody edits.
#[derive(Debug)]
struct Resident {
    snapshot: Snapshot,
    deleted: DeleteSet,
}

#[test]
fn a_resident_document_takes_little_more_than_its_bytes() {
    let traces = trace::all();
    for (name, log) in &traces {
        let updates: Vec<&[u8]> = log.iter().map(Vec::as_slice).collect();
        let whole = merge(&updates).expect("real updates");
        let size = whole.len();
        let (resident, held) = kept_by(|| {
            let bytes = whole.as_slice().to_vec().into();
            let snapshot = Snapshot::load(bytes, &wide()).expect("as above");
            Resident { deleted: snapshot.delete_set(), snapshot }
        });
        let ranges = resident.deleted.range_count();
        println!("{name}: {held} bytes held for {size}, with {ranges} delete ranges");
        assert!(held * 10 <= size * 13 + 10 * 4_096, "{name}: {held} of {size}");
        drop(resident);
    }
    if traces.is_empty() {
        judge::skipped("no traces: set YROOM_TRACES");
    }
}
