//! The update algebra and yrs, side by side, on the B4 trace and on keystrokes made here.
//!
//! `cargo bench --bench update`; `YROOM_TRACES` as for the referee. Whatever a line is compared
//! with has the same group name.
#![allow(missing_docs, unreachable_pub, dead_code, reason = "no library")]
#![allow(clippy::disallowed_types, clippy::disallowed_macros, reason = "benchmarks have I/O")]

#[path = "../tests/referee/judge.rs"]
mod judge;
#[path = "../tests/referee/trace.rs"]
mod trace;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::time::Duration;
use yroom::update::{
    DeleteSet, ScanLimits, Snapshot, StateVector, diff, merge, novel_part, ready_part, scan,
};
use yrs::updates::decoder::Decode;
use yrs::updates::encoder::Encode;
use yrs::{Doc, ReadTxn, Transact, Update};

fn b4() -> Vec<Vec<u8>> {
    let traces = trace::all();
    let found = traces.into_iter().find(|(name, _)| name == "b4");
    found.expect("the B4 trace: set YROOM_TRACES").1
}

fn doc_of<'a>(updates: impl Iterator<Item = &'a [u8]>) -> Doc {
    let doc = Doc::new();
    for update in updates {
        let update = Update::decode_v1(update).expect("a real update");
        doc.transact_mut().apply_update(update).expect("a real update");
    }
    doc
}

fn keystroke(c: &mut Criterion, log: &[Vec<u8>]) {
    let limits = ScanLimits::default();
    let before: Vec<&[u8]> = log[..1_000].iter().map(Vec::as_slice).collect();
    let found = scan(&merge(&before).expect("real"), &limits).expect("real");
    let known: StateVector = found.ranges.iter().map(|range| (range.client, range.end)).collect();
    let deleted: DeleteSet = found.deletes.iter().copied().collect();
    let keystroke = &log[1_000];
    let mut group = c.benchmark_group("keystroke");
    group.bench_function("yroom scan", |b| b.iter(|| scan(black_box(keystroke), &limits)));
    group.bench_function("yroom ready and novel part", |b| {
        b.iter(|| {
            let ready = ready_part(black_box(keystroke), &known, &limits).expect("real");
            let part = ready.part.expect("it is ready");
            novel_part(&part, &known, &deleted).expect("real").map(|part| part.len())
        });
    });
    group.bench_function("yrs decode", |b| b.iter(|| Update::decode_v1(black_box(keystroke))));
}

fn many(c: &mut Criterion, log: &[Vec<u8>]) {
    let updates: Vec<&[u8]> = log.iter().map(Vec::as_slice).collect();
    let mut group = c.benchmark_group("merge keystrokes");
    group.sample_size(10).measurement_time(Duration::from_secs(2));
    for n in [10, 100, 1_000, 10_000] {
        group.throughput(Throughput::Elements(n as u64));
        let some = &updates[..n];
        group
            .bench_with_input(BenchmarkId::new("yroom", n), some, |b, some| b.iter(|| merge(some)));
        group.bench_with_input(BenchmarkId::new("yrs", n), some, |b, some| {
            b.iter(|| yrs::merge_updates_v1(some));
        });
    }
    group.finish();
    let mut group = c.benchmark_group("fold all of B4");
    group.sample_size(10).measurement_time(Duration::from_secs(4));
    group.bench_function("yroom", |b| b.iter(|| merge(&updates)));
    group.bench_function("yrs applies to a document", |b| {
        b.iter(|| doc_of(updates.iter().copied()));
    });
}

fn snapshot(c: &mut Criterion, log: &[Vec<u8>]) {
    let limits = ScanLimits::default();
    let updates: Vec<&[u8]> = log.iter().map(Vec::as_slice).collect();
    let whole = merge(&updates).expect("real");
    let (early, late) = updates.split_at(updates.len() - 1_000);
    let early = merge(early).expect("real");
    let with_tail: Vec<&[u8]> = std::iter::once(&early[..]).chain(late.iter().copied()).collect();
    let mut group = c.benchmark_group("B4 snapshot");
    group.sample_size(30);
    group.bench_function("yroom folds 1,000 updates into it", |b| b.iter(|| merge(&with_tail)));
    let bytes = Bytes::from(whole.clone());
    group.bench_function("yroom loads it", |b| b.iter(|| Snapshot::load(bytes.clone(), &limits)));
    group.bench_function("yrs loads it", |b| {
        b.iter(|| doc_of(std::iter::once(&whole[..])));
    });
    group.finish();

    let loaded = Snapshot::load(bytes, &limits).expect("real");
    let up_to_date = loaded.state_vector().clone();
    let encoded = doc_of(std::iter::once(&whole[..])).transact().state_vector().encode_v1();
    let behind = up_to_date.iter().map(|(client, clock)| (client, clock - 500)).collect();
    let mut group = c.benchmark_group("diff of B4");
    group.bench_function("yroom, up to date", |b| b.iter(|| loaded.diff(black_box(&up_to_date))));
    group.bench_function("yroom, 500 behind", |b| b.iter(|| loaded.diff(black_box(&behind))));
    group.bench_function("yroom without an index", |b| b.iter(|| diff(&whole, &up_to_date)));
    group.bench_function("yrs, up to date", |b| {
        b.iter(|| yrs::diff_updates_v1(black_box(&whole), &encoded));
    });
}

fn all(c: &mut Criterion) {
    let log = b4();
    keystroke(c, &log);
    snapshot(c, &log);
    many(c, &log);
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    targets = all
}
criterion_main!(benches);
