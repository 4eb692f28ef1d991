//! Laws of the update algebra, on updates that are generated here: deterministic, without Yjs.
//!
//! The generator writes bytes as Yjs does, but what it writes is wilder: struct kinds in any order,
//! concurrent clients, deletions of anything, gaps.
#![allow(unreachable_pub, reason = "no library")]

#[path = "algebra/model.rs"]
mod model;

use model::{Document, content_of};
use proptest::prelude::*;
use yroom::update::{
    ClientId, ClockRange, DeleteSet, ScanLimits, Snapshot, StateVector, diff, merge, novel_part,
    ready_part, scan,
};

fn limits() -> ScanLimits {
    ScanLimits::default()
}

fn merged(updates: &[impl AsRef<[u8]>]) -> Vec<u8> {
    let updates: Vec<&[u8]> = updates.iter().map(AsRef::as_ref).collect();
    merge(&updates).expect("generated updates are well formed")
}

fn documents() -> impl Strategy<Value = Document> {
    (any::<u64>(), 1..60usize).prop_map(|(seed, steps)| Document::random(seed, steps))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn what_is_generated_is_well_formed_and_so_is_what_is_made_of_it(document in documents()) {
        for update in &document.log {
            prop_assert!(scan(update, &limits()).expect("well formed").regular);
        }
        prop_assert!(scan(&merged(&document.log), &limits()).expect("well formed").regular);
    }

    #[test]
    fn merging_is_idempotent_to_the_byte(document in documents()) {
        let whole = merged(&document.log);
        prop_assert_eq!(merged(&[&whole]), &whole[..]);
        prop_assert_eq!(merged(&[&whole, &whole]), &whole[..]);
        let with_log: Vec<_> = std::iter::once(&whole).chain(&document.log).cloned().collect();
        prop_assert_eq!(merged(&with_log), whole);
    }

    #[test]
    fn merging_is_associative_and_bit_by_bit_is_whole(document in documents(), at in any::<prop::sample::Index>()) {
        let whole = merged(&document.log);
        let (some, others) = document.log.split_at(at.index(document.log.len()));
        prop_assert_eq!(merged(&[merged(some), merged(others)]), &whole[..]);
        let folded = document.log.iter().fold(yroom::update::EMPTY.to_vec(), |snapshot, update| {
            merged(&[&snapshot, update])
        });
        prop_assert_eq!(folded, whole);
    }

    #[test]
    fn the_order_of_updates_does_not_matter(document in documents(), seed in any::<u64>()) {
        let whole = merged(&document.log);
        let mut log = document.log.clone();
        model::shuffle(&mut log, seed);
        prop_assert_eq!(content_of(&merged(&log)), content_of(&whole));
        prop_assert_eq!(merged(&[merged(&log)]), merged(&log));
    }

    #[test]
    fn a_diff_and_what_it_was_made_against_are_the_whole(document in documents(), at in any::<prop::sample::Index>()) {
        let whole = merged(&document.log);
        let some = merged(&document.log[..at.index(document.log.len())]);
        let have = state_of(&some);
        let lacking = diff(&whole, &have).expect("well formed");
        prop_assert_eq!(content_of(&merged(&[&some, &lacking])), content_of(&whole));
        let snapshot = Snapshot::load(whole.into(), &limits()).expect("well formed");
        prop_assert_eq!(snapshot.diff(&have), lacking);
    }

    #[test]
    fn no_byte_of_deleted_text_is_left(document in documents()) {
        let whole = merged(&document.log);
        for secret in &document.deleted_words {
            let found = whole.windows(secret.len()).any(|window| window == secret.as_bytes());
            prop_assert!(!found, "{} is still there", secret);
        }
        for word in &document.live_words {
            let found = whole.windows(word.len()).any(|window| window == word.as_bytes());
            prop_assert!(found, "{} is gone", word);
        }
    }

    #[test]
    fn what_is_taken_as_ready_is_ready_and_in_the_end_all_is(document in documents(), seed in any::<u64>()) {
        let mut waiting = document.log.clone();
        model::shuffle(&mut waiting, seed);
        let (mut known, mut deleted) = (StateVector::new(), DeleteSet::new());
        let mut taken: Vec<Vec<u8>> = Vec::new();
        while !waiting.is_empty() {
            let before = waiting.len();
            let mut later = Vec::new();
            for update in waiting {
                let ready = ready_part(&update, &known, &limits()).expect("well formed");
                if let Some(part) = &ready.part {
                    for need in &ready.scan.needs {
                        let mut own = ready.scan.ranges.iter().filter(|r| r.client == need.client);
                        let there = need.clock < known.get(need.client);
                        prop_assert!(there || own.any(|range| need.clock < range.end));
                    }
                    if let Some(novel) = novel_part(part, &known, &deleted).expect("well formed") {
                        let found = scan(&novel, &limits()).expect("well formed");
                        for range in &found.ranges {
                            prop_assert_eq!(range.start, known.get(range.client));
                            known.raise(range.client, range.end);
                        }
                        for range in &found.deletes {
                            prop_assert!(range.end <= known.get(range.client));
                        }
                        deleted.extend(found.deletes.iter().copied());
                        taken.push(novel.into_owned());
                    }
                    prop_assert_eq!(novel_part(part, &known, &deleted).expect("well formed"), None);
                }
                if !ready.missing.is_empty() {
                    later.push(update);
                }
            }
            prop_assert!(later.len() < before, "nothing becomes ready any more");
            waiting = later;
        }
        prop_assert_eq!(content_of(&merged(&taken)), content_of(&merged(&document.log)));
    }

    #[test]
    fn gaps_become_skips_and_are_filled_later(document in documents(), at in any::<prop::sample::Index>()) {
        let whole = merged(&document.log);
        let mut some = document.log.clone();
        let dropped = some.remove(at.index(some.len()));
        let gappy = merged(&some);
        prop_assert!(scan(&gappy, &limits()).is_ok());
        prop_assert_eq!(merged(&[&gappy]), &gappy[..]);
        prop_assert_eq!(content_of(&merged(&[gappy, dropped])), content_of(&whole));
    }

    #[test]
    fn damaged_updates_are_refused_or_harmless(document in documents(), damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let mut bytes = merged(&document.log);
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        model::exercise(&bytes);
    }
}

fn state_of(update: &[u8]) -> StateVector {
    let found = scan(update, &limits()).expect("well formed");
    found.ranges.iter().map(|range| (range.client, range.end)).collect()
}

/// A delete set as the model has it: one flag for each clock.
type Flags = std::collections::BTreeMap<ClientId, Vec<bool>>;

fn flags_of(set: &DeleteSet) -> Flags {
    let mut flags = Flags::new();
    for ClockRange { client, start, end } in set.iter() {
        let clocks = flags.entry(client).or_insert_with(|| vec![false; 2_000]);
        clocks[start as usize..end as usize].fill(true);
    }
    flags
}

fn ranges() -> impl Strategy<Value = Vec<ClockRange>> {
    let range =
        (0..3u64, 0..1_900u32, 1..6u32, any::<bool>()).prop_map(|(client, at, len, wide)| {
            let len = if wide { len * 15 } else { len };
            ClockRange { client: ClientId(client), start: at, end: at + len }
        });
    prop::collection::vec(range, 0..900)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_delete_set_is_a_set_of_clocks(ours in ranges(), theirs in ranges(), asked in ranges()) {
        let (a, b): (DeleteSet, DeleteSet) = (ours.iter().copied().collect(), theirs.iter().copied().collect());
        let (in_a, in_b) = (flags_of(&a), flags_of(&b));
        let has = |flags: &Flags, client, clock: u32| flags.get(&client).is_some_and(|f| f[clock as usize]);
        for range in &ours {
            prop_assert!(a.contains(*range));
        }
        for range in asked {
            let clocks = || range.start..range.end;
            prop_assert_eq!(a.contains(range), clocks().all(|c| has(&in_a, range.client, c)));
            prop_assert_eq!(a.intersects(range), clocks().any(|c| has(&in_a, range.client, c)));
        }
        let mut union = a.clone();
        union.union(&b);
        let difference = a.difference(&b);
        for client in (0..3).map(ClientId) {
            for clock in 0..1_999 {
                let one = ClockRange { client, start: clock, end: clock + 1 };
                let (a, b) = (has(&in_a, client, clock), has(&in_b, client, clock));
                prop_assert_eq!(union.contains(one), a || b);
                prop_assert_eq!(difference.contains(one), a && !b);
            }
        }
        let ranges: Vec<_> = union.iter().collect();
        prop_assert_eq!(ranges.len(), union.range_count());
        for pair in ranges.windows(2) {
            prop_assert!(pair[0].client < pair[1].client || pair[0].end < pair[1].start);
        }
        prop_assert_eq!(DeleteSet::decode(&union.encode(), &limits()), Ok(union.clone()));
        prop_assert_eq!(ranges.into_iter().collect::<DeleteSet>(), union);
    }
}

#[test]
fn what_is_gone_stands_in_the_delete_set() {
    // Client 1: GC of three clocks, deleted content of two, and no delete set.
    let gone = [1, 2, 1, 0, 0, 3, 1, 1, 4, b'r', b'o', b'o', b't', 2, 0];
    let found = scan(&merged(&[gone]), &limits()).expect("well formed");
    assert_eq!(found.deletes[..], [ClockRange { client: ClientId(1), start: 0, end: 5 }]);
}

#[test]
fn a_part_waits_for_the_type_that_it_is_in() {
    // Client 2: text in the type that client 1 made first.
    let inside = [1, 1, 2, 0, 4, 0, 1, 0, 1, b'x', 0];
    let ready = ready_part(&inside, &StateVector::new(), &limits()).expect("well formed");
    assert!(ready.part.is_none());
    let type_id = yroom::update::Id { client: ClientId(1), clock: 0 };
    assert_eq!(ready.missing, [type_id]);
    let known = StateVector::from_iter([(ClientId(1), 1)]);
    let ready = ready_part(&inside, &known, &limits()).expect("well formed");
    assert_eq!(ready.part.as_deref(), Some(&inside[..]));
}

#[test]
fn what_is_deleted_of_what_comes_along_is_ready_and_no_more() {
    // Client 2 writes behind client 1's letters, which come behind it, and deletes one of them, one of
    // its own and what nobody has yet.
    let structs = [2, 1, 2, 0, 0x84, 1, 1, 2, b'h', b'o', 1, 1, 0, 4, 1, 1, b'r', 2, b'h', b'i'];
    let update = [&structs[..], &[2, 2, 1, 1, 1, 1, 1, 0, 1]].concat();
    let ready = ready_part(&update, &StateVector::new(), &limits()).expect("well formed");
    assert_eq!((ready.part.as_deref(), &ready.missing[..]), (Some(&update[..]), &[][..]));
    let update = [&structs[..], &[2, 2, 1, 1, 1, 1, 2, 0, 1, 1, 3]].concat();
    let ready = ready_part(&update, &StateVector::new(), &limits()).expect("well formed");
    let part = [&structs[..], &[2, 2, 1, 1, 1, 1, 1, 0, 2]].concat();
    assert_eq!(ready.part.as_deref(), Some(&part[..]));
    assert_eq!(ready.missing, [yroom::update::Id { client: ClientId(1), clock: 2 }]);
}

#[test]
fn of_what_is_partly_known_only_the_rest_is_new() {
    // Client 1: two letters and a value, and a deletion of client 2's clocks 3 to 6.
    let update = [1, 2, 1, 0, 4, 1, 1, b'r', 2, b'h', b'i', 8, 1, 1, b'r', 1, 126, 1, 2, 1, 3, 4];
    let new = |clock, deleted: &[(u32, u32)]| {
        let known = StateVector::from_iter([(ClientId(1), clock)]);
        let range = |&(start, end)| ClockRange { client: ClientId(2), start, end };
        let deleted: DeleteSet = deleted.iter().map(range).collect();
        novel_part(&update, &known, &deleted)
            .expect("well formed")
            .map(std::borrow::Cow::into_owned)
    };
    assert_eq!(new(0, &[]).as_deref(), Some(&update[..]));
    assert_eq!(new(0, &[(0, 3), (7, 9)]).as_deref(), Some(&update[..]), "they only touch");
    assert_eq!(new(3, &[]).as_deref(), Some(&[0, 1, 2, 1, 3, 4][..]));
    assert_eq!(new(2, &[]).as_deref(), Some(&[&[1, 1, 1, 2], &update[11..]].concat()[..]));
    let second = [1, 2, 1, 1, 0x84, 1, 0, 1, b'i'];
    assert_eq!(new(1, &[]).as_deref(), Some(&[&second, &update[11..]].concat()[..]));
    assert_eq!(new(3, &[(4, 5)]).as_deref(), Some(&[0, 1, 2, 2, 3, 1, 5, 2][..]));
    let structs = &update[..17];
    assert_eq!(new(0, &[(3, 7)]).as_deref(), Some(&[structs, &[0]].concat()[..]));
    assert_eq!(new(0, &[(6, 9)]).as_deref(), Some(&[structs, &[1, 2, 1, 3, 3]].concat()[..]));
    assert_eq!(new(3, &[(2, 9)]), None);
}

#[test]
fn neighbours_with_different_right_origins_stay_two() {
    // Client 1: two values; the second's origin is the first, and its right origin client 2's.
    let values = [1, 2, 1, 0, 8, 1, 1, b'r', 1, 126, 0xc8, 1, 0, 2, 0, 1, 126, 0];
    assert_eq!(merged(&[values]), values);
    let same_right = [1, 2, 1, 0, 8, 1, 1, b'r', 1, 126, 0x88, 1, 0, 1, 126, 0];
    assert_eq!(merged(&[same_right]), [1, 1, 1, 0, 8, 1, 1, b'r', 2, 126, 126, 0]);
}

#[test]
fn a_delete_set_costs_about_eight_bytes_a_range() {
    let far_apart = |i: u32| ClockRange { client: ClientId(7), start: 3 * i, end: 3 * i + 1 };
    let in_order: DeleteSet = (0..100_000).map(far_apart).collect();
    assert_eq!(in_order.range_count(), 100_000);
    assert!(in_order.heap_bytes() < 9 * 100_000, "{}", in_order.heap_bytes());
    let mut united = DeleteSet::new();
    united.union(&in_order);
    assert!(united.heap_bytes() < 9 * 100_000, "{}", united.heap_bytes());
}
