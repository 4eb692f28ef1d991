//! yrs' opinion of the update algebra, where yrs is able: texts, arrays and maps of plain values.
//!
//! Yjs is the referee (`referee.rs`); yrs is somebody else's implementation of the same rules.

use yroom::update::{StateVector as Clocks, diff, merge};
use yrs::types::ToJson;
use yrs::updates::decoder::Decode;
use yrs::updates::encoder::Encode;
use yrs::{Any, Array, Doc, GetString, Map, ReadTxn, StateVector, Text, Transact, Update};

/// The same numbers in every run.
struct Rng(u64);

impl Rng {
    fn below(&mut self, end: u32) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) as u32 % end.max(1)
    }
}

/// Three clients who edit at the same time and hear of each other now and then; the log of all they
/// made.
fn history(seed: u64) -> Vec<Vec<u8>> {
    let mut rng = Rng(seed);
    let docs: Vec<Doc> = (1..=3).map(|id| Doc::with_client_id(id * 1_000 + seed % 7)).collect();
    let mut log: Vec<Vec<u8>> = Vec::new();
    let mut heard = [0; 3];
    for _ in 0..rng.below(80) + 10 {
        let who = rng.below(3) as usize;
        if rng.below(3) == 0 {
            for update in &log[heard[who]..] {
                apply(&docs[who], update);
            }
            heard[who] = log.len();
        }
        let update = edit(&docs[who], &mut rng);
        if update != yroom::update::EMPTY {
            log.push(update);
        }
    }
    log
}

fn edit(doc: &Doc, rng: &mut Rng) -> Vec<u8> {
    let (text, array, map) = roots(doc);
    let mut txn = doc.transact_mut();
    match rng.below(6) {
        0 | 1 => {
            let at = rng.below(text.len(&txn) + 1);
            text.insert(&mut txn, at, ["a", "bcd", "xyz", "line\n"][rng.below(4) as usize]);
        }
        2 if text.len(&txn) > 0 => {
            let at = rng.below(text.len(&txn));
            let len = 1 + rng.below((text.len(&txn) - at).min(5));
            text.remove_range(&mut txn, at, len);
        }
        3 => {
            let at = rng.below(array.len(&txn) + 1);
            array.insert(&mut txn, at, i64::from(rng.below(100)));
        }
        4 if array.len(&txn) > 0 => {
            let at = rng.below(array.len(&txn));
            array.remove(&mut txn, at);
        }
        _ => {
            let key = format!("k{}", rng.below(4));
            map.insert(&mut txn, key, f64::from(rng.below(100)));
        }
    }
    txn.encode_update_v1()
}

fn roots(doc: &Doc) -> (yrs::TextRef, yrs::ArrayRef, yrs::MapRef) {
    // What is typed is ASCII: yrs counts bytes where JavaScript counts halves of characters.
    (doc.get_or_insert_text("t"), doc.get_or_insert_array("a"), doc.get_or_insert_map("m"))
}

fn apply(doc: &Doc, update: &[u8]) {
    let update = Update::decode_v1(update).expect("yrs reads it");
    doc.transact_mut().apply_update(update).expect("yrs integrates it");
}

/// What yrs makes of updates that come in this order.
fn opinion(updates: &[&[u8]]) -> (String, Any, Any, StateVector) {
    let doc = Doc::with_client_id(9);
    let (text, array, map) = roots(&doc);
    for update in updates {
        apply(&doc, update);
    }
    let txn = doc.transact();
    assert!(!txn.has_missing_updates(), "something cannot be integrated");
    (text.get_string(&txn), array.to_json(&txn), map.to_json(&txn), txn.state_vector())
}

#[test]
fn yrs_holds_the_same_from_the_log_and_from_what_is_made_of_it() {
    for seed in 0..500 {
        let log = history(seed);
        let log: Vec<&[u8]> = log.iter().map(|update| &update[..]).collect();
        let raw = opinion(&log);
        let whole = merge(&log).expect("yrs wrote it");
        assert_eq!(opinion(&[&whole]), raw, "merged, seed {seed}");
        let (some, others) = log.split_at(log.len() / 2);
        let prefix = merge(some).expect("yrs wrote it");
        let two = merge(&[&prefix, &merge(others).expect("yrs wrote it")]).expect("merged before");
        assert_eq!(opinion(&[&two]), raw, "merged in two steps, seed {seed}");
        let have = opinion(&[&prefix]).3.encode_v1();
        let have = Clocks::decode(&have, usize::MAX).expect("yrs wrote it");
        let lacking = diff(&whole, &have).expect("merged before");
        assert_eq!(opinion(&[&prefix, &lacking]), raw, "prefix and diff, seed {seed}");
    }
}
