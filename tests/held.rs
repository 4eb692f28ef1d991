//! What the algebra holds and says that it holds, against an allocator that counts: limits are about
//! these figures.
#![allow(unsafe_code, reason = "an allocator that counts")]
#![allow(unreachable_pub, dead_code, reason = "no library")]

#[path = "hostile/counting.rs"]
mod counting;

use bytes::Bytes;
use counting::{held_by, kept_by};
use yroom::update::{
    ClientId, ClockRange, DeleteSet, ScanLimits, Slices, Snapshot, StateVector, merge,
};

/// Numbers that look random and are the same each time.
fn scattered(count: u64) -> impl Iterator<Item = u64> {
    (1..=count).map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32)
}

fn uint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// What is said is between three quarters and four thirds of what is held.
fn about(what: &str, said: usize, held: usize) {
    assert!(held * 3 <= said * 4 && said * 3 <= held * 4, "{what}: says {said} and holds {held}");
}

#[test]
fn a_state_vector_says_about_what_it_holds() {
    let of = || scattered(20_000).map(|client| (ClientId(client), 7)).collect::<StateVector>();
    let (vector, held) = kept_by(of);
    about("a vector of many", vector.heap_bytes(), held);
    assert_eq!(StateVector::new().heap_bytes(), 0);
}

#[test]
fn a_delete_set_says_about_what_it_holds() {
    let one = |client, start| ClockRange { client: ClientId(client), start, end: start + 1 };
    let (set, held) = kept_by(|| {
        let set: DeleteSet = scattered(20_000).map(|client| one(client, 3)).collect();
        let mut copy = DeleteSet::new();
        copy.union(&set);
        copy
    });
    about("one range for each of many", set.heap_bytes(), held);
    let (set, held) = kept_by(|| (0..200_000).map(|i| one(1, 3 * i)).collect::<DeleteSet>());
    about("many ranges of one", set.heap_bytes(), held);
    assert_eq!(DeleteSet::new().heap_bytes(), 0);
}

/// One letter for each of many clients, who stand beside each other's: clients in descending order.
fn many_clients(count: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    uint(&mut bytes, count);
    for client in (1..=count).rev() {
        bytes.push(1);
        uint(&mut bytes, client);
        // Each but the last waits for one that comes later in the update.
        if client == 1 {
            bytes.extend([0, 4, 1, 1, b'r', 1, b'x']);
        } else {
            bytes.extend([0, 0x84]);
            uint(&mut bytes, client - 1);
            bytes.extend([0, 1, b'x']);
        }
    }
    bytes.push(0);
    bytes
}

#[test]
fn slices_say_what_they_hold() {
    let update = Bytes::from(many_clients(5_000).into_boxed_slice());
    let (mut slices, held) = kept_by(|| Slices::new(update.clone(), 100).expect("well formed"));
    about("slices of what others have too", slices.heap_bytes(), held);
    let len = update.len();
    let before = slices.heap_bytes();
    drop(update);
    assert_eq!(slices.heap_bytes(), before + len, "nobody else has it any more");
    let (_, waiting) = kept_by(|| slices.next_slice().expect("well formed"));
    assert!(waiting > 5_000 * 8, "all wait for the last, in {waiting} bytes");
    let said = slices.heap_bytes() - before - len;
    assert!(said * 4 >= waiting * 3 && said <= waiting, "says {said} and holds {waiting}");
}

#[test]
fn a_snapshot_says_about_what_it_holds() {
    let bytes: Bytes = many_clients(5_000).into();
    let load = || Snapshot::load(bytes.clone(), &ScanLimits::NONE).expect("well formed");
    let (snapshot, held) = kept_by(load);
    about("a snapshot of many clients", snapshot.heap_bytes(), held);
    // One client's many values, which cannot be joined: hardly anything but marks.
    let mut long = vec![1];
    uint(&mut long, 50_000);
    long.extend([7, 0]);
    for _ in 0..50_000 {
        long.extend([3, 1, 1, b'r', 8, 0, 0, 0, 0, 0, 0, 0, 0]);
    }
    long.push(0);
    let long: Bytes = long.into();
    let load = || Snapshot::load(long.clone(), &ScanLimits::NONE).expect("well formed");
    let (snapshot, held) = kept_by(load);
    about("a snapshot of many values", snapshot.heap_bytes(), held);
}

/// A letter typed after the one before it, or a clock deleted after the one before it.
fn keystroke(clock: u32, kind: u8, content: u8) -> Vec<u8> {
    let mut bytes = vec![1, 1, 7];
    uint(&mut bytes, u64::from(clock));
    match clock.checked_sub(1) {
        None => bytes.extend([kind, 1, 1, b'r']),
        Some(before) => {
            bytes.extend([kind | 0x80, 7]);
            uint(&mut bytes, u64::from(before));
        }
    }
    bytes.push(1);
    bytes.extend((kind == 4).then_some(content));
    bytes.push(0);
    bytes
}

#[test]
fn merging_keystrokes_takes_the_room_of_their_text() {
    for kind in [4, 1] {
        let log: Vec<Vec<u8>> = (0..20_000).map(|clock| keystroke(clock, kind, b'x')).collect();
        let log: Vec<&[u8]> = log.iter().map(Vec::as_slice).collect();
        let held = held_by(|| merge(&log));
        assert!(held < 20_000 * 6, "kind {kind}: {held} bytes");
    }
}
