//! The WebSocket framing: `cargo bench -p yroom-net --bench ws`. An element is a frame.
#![allow(missing_docs, unreachable_pub, dead_code, unused_imports, reason = "no library")]

#[path = "../src/ws/mod.rs"]
mod ws;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use ws::{Decoder, Opcode, Side};

/// What a client sends: masked frames one after the other.
fn masked(payload: &[u8], frames: usize) -> Vec<u8> {
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let mut out = Vec::new();
    for _ in 0..frames {
        let start = out.len();
        ws::write_header(Opcode::Binary, payload.len(), &mut out);
        out[start + 1] |= 0x80;
        out.extend_from_slice(&mask);
        out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    }
    out
}

fn decode(c: &mut Criterion) {
    let mut group = c.benchmark_group("WebSocket frames decoded");
    for (name, length, frames) in
        [("one of 24 bytes", 24, 1), ("1,000 of 24 bytes", 24, 1_000), ("one of 30 kB", 30_000, 1)]
    {
        let bytes = masked(&vec![7; length], frames);
        group.throughput(Throughput::Elements(frames as u64));
        group.bench_function(name, |b| {
            let mut decoder = Decoder::new(Side::Server, 1 << 20);
            b.iter_batched_ref(
                || bytes.clone(),
                |bytes| {
                    decoder.feed(black_box(bytes));
                    let mut taken = 0;
                    while let Some(frame) = decoder.next() {
                        black_box(frame);
                        taken += 1;
                    }
                    assert_eq!(taken, frames);
                },
                BatchSize::SmallInput,
            );
        });
    }
}

fn encode(c: &mut Criterion) {
    let mut group = c.benchmark_group("WebSocket frames encoded");
    group.throughput(Throughput::Elements(1_000));
    group.bench_function("1,000 of 24 bytes into one buffer", |b| {
        let mut out = Vec::with_capacity(64 << 10);
        b.iter(|| {
            out.clear();
            for _ in 0..1_000 {
                let payload = black_box([7_u8; 24]);
                ws::write_header(Opcode::Binary, payload.len(), &mut out);
                out.extend_from_slice(&payload);
            }
            out.len()
        });
    });
}

criterion_group!(benches, decode, encode);
criterion_main!(benches);
