//! Rows that are compressed, beside rows that are not.

use super::super::{BlockingStore, Browse, Compression, check};
use super::{batch, expect, name, snapshot};
use yroom::{Append, Batch, RoomId, RoomName, Seq, StoreFaultKind};

/// Runs the cases of a store whose rows can be compressed. `open` opens the same medium each time,
/// after the store that it gave before was dropped, with what its rows are to be compressed by.
///
/// # Panics
///
/// If a rule is broken: the message says which.
pub fn run<S: BlockingStore + Browse>(mut open: impl FnMut(Compression) -> S) {
    let open: Open<'_, S> = &mut open;
    rows_of_all_kinds_are_one_room(open);
    what_is_compressed_is_smaller(open);
    what_cannot_be_expanded_is_damage_of_its_room_and_not_lost(open);
}

type Open<'a, S> = &'a mut dyn FnMut(Compression) -> S;

fn rows_of_all_kinds_are_one_room<S: BlockingStore + Browse>(open: Open<'_, S>) {
    let room = name("compressed/mixed");
    let mut store = open(Compression::none());
    append(&mut store, &room, batch(1, 100));
    drop(store);
    let mut store = open(by_structs());
    expect(&store.load(&room), 0, 100, "rows of before");
    append(&mut store, &room, batch(101, 100));
    // Within a row that is not compressed, and then within one that is.
    append(&mut store, &room, batch(51, 100));
    expect(&store.load(&room), 0, 150, "after a cut into a row of before");
    append(&mut store, &room, batch(101, 60));
    expect(&store.load(&room), 0, 160, "after a cut into a compressed row");
    store.compact(&room, Seq(80), snapshot(80)).expect("within a compressed row");
    expect(&store.load(&room), 80, 160, "after a compaction within a row");
    drop(store);
    let mut store = open(by_structs().only_reading());
    expect(&store.load(&room), 80, 160, "after compression was turned off");
    append(&mut store, &room, batch(161, 100));
    store.compact(&room, Seq(150), snapshot(150)).expect("within a row");
    expect(&store.load(&room), 150, 260, "rows of all kinds");
    drop(store);
    let mut store = open(by_structs());
    store.compact(&room, Seq(260), snapshot(260)).expect("all of it");
    expect(&store.load(&room), 260, 260, "a compressed snapshot");
    assert_eq!(check(&mut store, |_| {}).expect("it can be read").damaged, 0);
    drop(store);
    let mut store = open(by_structs());
    expect(&store.load(&room), 260, 260, "after reopening");
}

fn what_is_compressed_is_smaller<S: BlockingStore + Browse>(open: Open<'_, S>) {
    let (plain, packed) = (name("compressed/not"), name("compressed/yes"));
    let fill = |mut store: S, room: &RoomName| {
        append(&mut store, room, batch(1, 500));
        append(&mut store, room, batch(501, 500));
        store.compact(room, Seq(500), snapshot(500)).expect("the first row");
    };
    fill(open(Compression::none()), &plain);
    fill(open(by_structs()), &packed);
    let mut store = open(by_structs());
    let sizes = [&plain, &packed].map(|room| {
        let examined = store.examine(room).expect("it is there");
        assert_eq!((examined.damage, examined.stored.last()), (None, Seq(1_000)));
        let listed = store.list().expect("it can be read");
        let listed = listed.into_iter().find(|it| it.name == *room).expect("it is listed");
        assert_eq!(listed.bytes, examined.bytes, "as it is stored");
        examined.bytes
    });
    assert!(sizes[1] < sizes[0] * 2 / 3, "{sizes:?}");
}

fn what_cannot_be_expanded_is_damage_of_its_room_and_not_lost<S: BlockingStore + Browse>(
    open: Open<'_, S>,
) {
    let (room, other) = (name("compressed/unknown"), name("compressed/plain"));
    let mut store = open(by_structs());
    append(&mut store, &room, batch(1, 100));
    append(&mut store, &other, batch(1, 1));
    drop(store);
    // Without the functions, or with a bound that the row is over.
    for compression in [Compression::none(), by_structs().at_most(200)] {
        let mut store = open(compression);
        let fault = store.load(&room).expect_err("it cannot be read");
        assert_eq!(fault.kind, StoreFaultKind::Corrupt, "{fault}");
        assert!(store.examine(&room).expect("it is there").damage.is_some());
        expect(&store.load(&other), 0, 1, "another room");
        let over = [of(&room, batch(50, 1))];
        store.append(&over).expect_err("what is there is not known to be that long");
        store.compact(&room, Seq(100), snapshot(100)).expect_err("nor what it holds");
    }
    expect(&open(by_structs()).load(&room), 0, 100, "nothing of it is changed");
}

/// A byte stands for a whole struct of these tests.
fn by_structs() -> Compression {
    const STRUCT: &[u8] = &[4, 1, 1, b't', 1, b'a'];
    let compress = |content: &[u8]| {
        let mut packed = Vec::with_capacity(content.len());
        let mut rest = content;
        while let Some(first) = rest.first() {
            if let Some(after) = rest.strip_prefix(STRUCT) {
                packed.push(0xfe);
                rest = after;
                continue;
            }
            // What stands for others stands for itself behind this.
            packed.extend((*first >= 0xfd).then_some(0xfd));
            packed.push(*first);
            rest = &rest[1..];
        }
        packed
    };
    let expand = |packed: &[u8], len: usize| {
        let mut content = Vec::with_capacity(len);
        let mut bytes = packed.iter();
        while let Some(byte) = bytes.next() {
            match byte {
                0xfe => content.extend_from_slice(STRUCT),
                0xfd => content.push(*bytes.next()?),
                byte => content.push(*byte),
            }
        }
        Some(content)
    };
    Compression::new(compress, expand)
}

fn append<S: BlockingStore>(store: &mut S, room: &RoomName, batch: Batch) {
    store.append(&[of(room, batch)]).expect("stored");
}

fn of(room: &RoomName, batch: Batch) -> Append {
    Append { room: RoomId::from_raw(1), name: room.clone(), batch }
}
