//! The engine alone, without sockets and disks: fan-out, presence, codec, joins, catching up.
//!
//! `cargo bench --bench hub`; the joins want the B4 trace (`YROOM_TRACES` as for the referee). An
//! element is a delivery: one frame for one peer, put out, taken away and its credit given back.
#![allow(missing_docs, unreachable_pub, dead_code, reason = "no library")]
#![allow(clippy::disallowed_types, clippy::disallowed_macros, reason = "benchmarks have I/O")]
#![allow(clippy::disallowed_methods, reason = "and clocks")]

#[path = "../tests/referee/judge.rs"]
mod judge;
mod stage;
#[path = "../tests/referee/trace.rs"]
mod trace;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use stage::{Network, Stage, Writer, presence};
use std::hint::black_box;
use std::time::{Duration, Instant};
use yroom::update::{StateVector, merge};
use yroom::wire::{encode, messages};

/// Updates before a room is made anew, so that the document stays small.
const LIFE: u64 = 2_000;

/// Every update is a turn of its own, as when people type.
fn fan_out(c: &mut Criterion) {
    let mut group = c.benchmark_group("fan-out of single updates");
    for peers in [2, 50, 500] {
        group.throughput(Throughput::Elements(peers as u64 - 1));
        group.bench_function(BenchmarkId::from_parameter(format!("{peers} peers")), |b| {
            b.iter_custom(|times| {
                lives(
                    times,
                    || (Stage::new(peers, None), Writer::new(0)),
                    |(stage, writer)| {
                        let frame = writer.frame();
                        let begun = Instant::now();
                        stage.frame(stage.conns[0], frame);
                        black_box(stage.drain(Network::Takes));
                        begun.elapsed()
                    },
                )
            });
        });
    }
}

/// Ten writers' updates come in one turn, and go out as one.
fn bursts(c: &mut Criterion) {
    let mut group = c.benchmark_group("fan-out of bursts, 50 peers");
    for each in [1, 10, 100_u64] {
        // What the others have of it then: what 49 get of each update.
        group.throughput(Throughput::Elements(10 * each * 49));
        group.bench_function(BenchmarkId::from_parameter(format!("10 x {each}")), |b| {
            b.iter_custom(|times| {
                let writers = || (0..10).map(Writer::new).collect::<Vec<_>>();
                lives(
                    times,
                    || (Stage::new(50, None), writers()),
                    |(stage, writers)| {
                        let mut frames: Vec<(usize, Bytes)> = Vec::new();
                        for (slot, writer) in writers.iter_mut().enumerate() {
                            frames.extend((0..each).map(|_| (slot, writer.frame())));
                        }
                        let begun = Instant::now();
                        for (slot, frame) in frames {
                            stage.frame(stage.conns[slot], frame);
                        }
                        black_box(stage.drain(Network::Takes));
                        begun.elapsed()
                    },
                )
            });
        });
    }
}

fn awareness(c: &mut Criterion) {
    let mut group = c.benchmark_group("presence of 50 peers");
    group.throughput(Throughput::Elements(49));
    group.bench_function("one moves", |b| {
        b.iter_custom(|times| {
            lives(
                times,
                || (Stage::new(50, None), 0),
                |(stage, clock)| {
                    *clock += 1;
                    let frame = presence(7, *clock);
                    let begun = Instant::now();
                    stage.frame(stage.conns[0], frame);
                    black_box(stage.drain(Network::Takes));
                    begun.elapsed()
                },
            )
        });
    });
    group.throughput(Throughput::Elements(50 * 49));
    group.bench_function("all move in one turn", |b| {
        b.iter_custom(|times| {
            lives(
                times,
                || (Stage::new(50, None), 0),
                |(stage, clock)| {
                    *clock += 1;
                    let frames: Vec<Bytes> =
                        (0..50).map(|peer| presence(100 + peer, *clock)).collect();
                    let begun = Instant::now();
                    for (slot, frame) in frames.into_iter().enumerate() {
                        stage.frame(stage.conns[slot], frame);
                    }
                    black_box(stage.drain(Network::Takes));
                    begun.elapsed()
                },
            )
        });
    });
}

fn codec(c: &mut Criterion) {
    let mut group = c.benchmark_group("codec");
    let mut writer = Writer::new(0);
    let update = writer.update();
    let frame = encode::update(&update);
    let cursor = presence(7, 9);
    group.bench_function("encode an update", |b| b.iter(|| encode::update(black_box(&update))));
    group.bench_function("decode an update", |b| {
        b.iter(|| messages(black_box(&frame)).map(|found| found.is_ok()).collect::<Vec<_>>());
    });
    group.bench_function("decode a presence", |b| {
        b.iter(|| messages(black_box(&cursor)).map(|found| found.is_ok()).collect::<Vec<_>>());
    });
    let text = "x".repeat(100_000);
    group.throughput(Throughput::Bytes(text.len() as u64));
    group
        .bench_function("encode 100 kB", |b| b.iter(|| encode::update(black_box(text.as_bytes()))));
}

fn joins(c: &mut Criterion) {
    let traces = trace::all();
    let Some((_, log)) = traces.into_iter().find(|(name, _)| name == "b4") else { return };
    let updates: Vec<&[u8]> = log.iter().map(Vec::as_slice).collect();
    let whole = Bytes::from(merge(&updates).expect("real"));
    let all = |early: usize| -> StateVector {
        let early = merge(&updates[..updates.len() - early]).expect("real");
        let found = yroom::update::scan(&early, &yroom::update::ScanLimits::NONE).expect("real");
        found.ranges.iter().map(|range| (range.client, range.end)).collect()
    };
    let behind = encode::sync_step1(&all(500).encode());

    let mut group = c.benchmark_group("B4");
    group.sample_size(20);
    group.bench_function("a newcomer's first answer", |b| {
        let mut stage = Stage::new(1, Some(whole.clone()));
        b.iter(|| {
            let conn = stage.join();
            stage.leave(conn);
        });
    });
    group.bench_function("an answer to who is 500 behind", |b| {
        let mut stage = Stage::new(1, Some(whole.clone()));
        b.iter_custom(|times| {
            let mut took = Duration::ZERO;
            for _ in 0..times {
                let begun = Instant::now();
                stage.frame(stage.conns[0], behind.clone());
                black_box(stage.drain(Network::Takes));
                took += begun.elapsed();
                stage.rest();
            }
            took
        });
    });
    group.bench_function("a cold room's first answer", |b| {
        b.iter_with_large_drop(|| Stage::new(1, Some(whole.clone())));
    });
}

/// A peer stops reading while so much is typed; when it reads again it gets one diff.
fn catching_up(c: &mut Criterion) {
    let mut group = c.benchmark_group("catching up");
    group.sample_size(20);
    for typed in [100, 10_000] {
        group.bench_function(BenchmarkId::from_parameter(format!("{typed} behind")), |b| {
            b.iter_custom(|times| {
                let mut took = Duration::ZERO;
                for _ in 0..times {
                    let mut stage = Stage::new(1, None);
                    let mut writer = Writer::new(0);
                    let (conn, owed) = blocked(&mut stage, &mut writer);
                    for _ in 0..typed {
                        stage.frame(stage.conns[0], writer.frame());
                        stage.drain(Network::Takes);
                    }
                    let begun = Instant::now();
                    stage.flushed(conn, owed);
                    assert!(stage.drain(Network::Takes) >= typed, "one diff");
                    took += begun.elapsed();
                }
                took
            });
        });
    }
}

/// A peer that has as much waiting for it as may wait, and how much that is.
fn blocked(stage: &mut Stage, writer: &mut Writer) -> (yroom::ConnId, usize) {
    let conn = stage.join();
    stage.frame(stage.conns[0], encode::update(&writer.paste(512 << 10)));
    let owed = stage.drain(Network::Blocks);
    (conn, owed)
}

/// Runs `step` so often, in a world that is made anew before it has grown; what the steps took.
fn lives<T>(
    times: u64,
    world: impl Fn() -> T,
    mut step: impl FnMut(&mut T) -> Duration,
) -> Duration {
    let mut took = Duration::ZERO;
    let mut left = times;
    while left > 0 {
        let mut alive = world();
        for _ in 0..left.min(LIFE) {
            took += step(&mut alive);
        }
        left = left.saturating_sub(LIFE);
    }
    took
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    targets = fan_out, bursts, awareness, codec, joins, catching_up
}
criterion_main!(benches);
