//! A fixed sequence of writes, to be killed anywhere and checked afterwards.

use super::super::{BlockingStore, rules};
use super::probe::{put_struct, update_of};
use bytes::{BufMut, Bytes};
use std::collections::BTreeMap;
use yroom::wire::varint;
use yroom::{Append, Batch, RoomId, RoomName, Seq, StoreFault, StoreFaultKind};

/// How many commits [`write_script`] makes.
pub const COMMITS: u64 = 200;
const ROOMS: u64 = 4;
const ATTEMPTS: u32 = 10;

/// Writes [`COMMITS`] commits into a fresh store, with a compaction after every fortieth and now and
/// then a room that is made and deleted. After each commit `acknowledged` is told a room and the last
/// place that is durable in it, which may be fewer than before: what it was told last counts.
///
/// Run it in a process of its own, kill that process wherever you like, or have its system calls
/// fail, and give what was acknowledged to [`check_script`]. It tries again, as rooms do: an error
/// that comes out means that ten attempts failed.
pub fn write_script(
    store: &mut impl BlockingStore,
    mut acknowledged: impl FnMut(&str, u64),
) -> Result<(), StoreFault> {
    let mut last = [0; ROOMS as usize];
    for commit in 0..COMMITS {
        let rooms = 1 + commit % 3;
        let mut appends = Vec::new();
        for room in (0..rooms).map(|n| (commit + n) % ROOMS) {
            let place = &mut last[room as usize];
            let batch = batch(*place, 1 + commit % 2);
            *place = batch.last().0;
            appends.push(Append { room: RoomId::from_raw(room), name: name(room), batch });
        }
        insist(store, |store| store.append(&appends))?;
        for append in &appends {
            acknowledged(append.name.as_str(), append.batch.last().0);
        }
        if commit % 40 == 39 {
            let room = commit / 40 % ROOMS;
            let upto = last[room as usize] - 1;
            insist(store, |store| store.compact(&name(room), Seq(upto), snapshot(upto)))?;
        }
        if commit % 40 == 19 {
            make_and_delete(store, commit / 40, &mut acknowledged)?;
        }
    }
    Ok(())
}

fn make_and_delete(
    store: &mut impl BlockingStore,
    nth: u64,
    acknowledged: &mut impl FnMut(&str, u64),
) -> Result<(), StoreFault> {
    let name = doomed(nth);
    let append =
        Append { room: RoomId::from_raw(ROOMS), name: name.clone(), batch: batch(0, DOOMED) };
    insist(store, |store| store.append(std::slice::from_ref(&append)))?;
    let upto = DOOMED - 1;
    insist(store, |store| store.compact(&name, Seq(upto), snapshot(upto)))?;
    acknowledged(name.as_str(), DOOMED);
    // From here on it may be there or not.
    acknowledged(name.as_str(), 0);
    insist(store, |store| store.delete(&name))?;
    acknowledged(GONE, nth + 1);
    Ok(())
}

/// Tries again after a fault, as a room does, opening the store anew where it has to be.
fn insist<S: BlockingStore>(
    store: &mut S,
    work: impl Fn(&mut S) -> Result<(), StoreFault>,
) -> Result<(), StoreFault> {
    let mut result = work(store);
    for _ in 0..ATTEMPTS {
        let unknown = match &result {
            Ok(()) => return Ok(()),
            Err(fault) => fault.kind == StoreFaultKind::Unknown,
        };
        result = if unknown { store.reopen() } else { Ok(()) };
        if result.is_ok() {
            result = work(store);
        } else {
            // Only opening it makes a store that is of unknown state good again.
            result = Err(StoreFault::new(StoreFaultKind::Unknown, "cannot be opened anew"));
        }
    }
    result
}

/// Checks that a store holds at least what was acknowledged, and nothing that was not written.
///
/// # Panics
///
/// If it does not.
pub fn check_script(store: &mut impl BlockingStore, acknowledged: &BTreeMap<String, u64>) {
    for room in 0..ROOMS {
        let name = name(room);
        let stored = store.load(&name).unwrap_or_else(|fault| panic!("{name}: {fault}"));
        let least = acknowledged.get(name.as_str()).copied().unwrap_or(0);
        let last = stored.last().0;
        assert!(last >= least, "{name}: acknowledged up to {least}, but {last} is the last there");
        if let Some(content) = &stored.snapshot {
            let upto = stored.snapshot_upto.0;
            assert!(*content == snapshot(upto), "{name}: the snapshot up to {upto} is another");
        }
        let mut place = stored.snapshot_upto.0;
        for found in stored.log.iter().flat_map(Batch::updates) {
            assert!(found == update(place), "{name}: the update after {place} is another");
            place += 1;
        }
        assert_eq!(place, last, "{name}: the log has a hole");
        assert_eq!(rules::check_content(&stored), (Seq(last), None), "{name}");
    }
    let gone = acknowledged.get(GONE).copied().unwrap_or(0);
    for nth in 0..COMMITS / 40 {
        let name = doomed(nth);
        let stored = store.load(&name).unwrap_or_else(|fault| panic!("{name}: {fault}"));
        let least = acknowledged.get(name.as_str()).copied().unwrap_or(0);
        let last = stored.last().0;
        assert!(last >= least, "{name}: acknowledged up to {least}, but {last} is the last there");
        assert!(last == 0 || last == DOOMED, "{name}: a part of it is there, up to {last}");
        assert!(last == 0 || nth >= gone, "{name}: its deletion was acknowledged, and it is there");
        assert_eq!(rules::check_content(&stored), (Seq(last), None), "{name}");
    }
}

/// A room that is made and deleted.
fn doomed(nth: u64) -> RoomName {
    RoomName::new(&format!("script/doomed/{nth}")).expect("a name")
}

/// How many updates it has.
const DOOMED: u64 = 60;
/// Under this name it is acknowledged how many of them are deleted.
const GONE: &str = "script/gone";

fn name(room: u64) -> RoomName {
    RoomName::new(&format!("script/{room}")).expect("a name")
}

fn batch(place: u64, count: u64) -> Batch {
    let updates: Vec<Vec<u8>> = (place..place + count).map(update).collect();
    Batch::of(Seq(place + 1), updates.iter().map(|update| &update[..])).expect("at least one")
}

/// Some letters, now and then more than a page of them.
fn letters(place: u64) -> usize {
    if place % 50 == 49 { 20_000 } else { 1 + (place * 37 % 500) as usize }
}

/// The update after `place`.
fn update(place: u64) -> Vec<u8> {
    let clock: usize = (0..place).map(letters).sum();
    update_of(clock as u64, letters(place))
}

fn snapshot(upto: u64) -> Bytes {
    let mut update = vec![1];
    varint::write(&mut update, upto);
    update.put_slice(&[1, 0]);
    for place in 0..upto {
        put_struct(&mut update, letters(place));
    }
    update.put_u8(0);
    update.into()
}
