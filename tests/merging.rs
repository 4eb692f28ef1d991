//! What a merge makes of what is in deleted types, byte by byte, where few editors ever come.

use yroom::update::{EMPTY, ScanLimits, merge, scan};

type Id = (u64, u32);

/// The kinds of structs that are written here, by their numbers.
const GC: u8 = 0;
const DELETED: u8 = 1;
const TEXT: u8 = 4;
const TYPE: u8 = 7;
const ANY: u8 = 8;

/// An array, as the content of a type.
const ARRAY: &[u8] = &[0];
/// One value, `null`.
const VALUE: &[u8] = &[1, 126];
/// One letter.
const LETTER: &[u8] = &[1, b'x'];

/// A struct in the root type `r`.
fn in_root(kind: u8, content: &[u8]) -> Vec<u8> {
    [&[kind, 1, 1, b'r'], content].concat()
}

/// A struct in the type `parent`.
fn inside(kind: u8, parent: Id, content: &[u8]) -> Vec<u8> {
    [&[kind, 0, parent.0 as u8, parent.1 as u8], content].concat()
}

/// A struct that belongs where its neighbours do.
fn beside(kind: u8, origin: Option<Id>, right: Option<Id>, content: &[u8]) -> Vec<u8> {
    let flag = |id: Option<Id>, flag| if id.is_some() { flag } else { 0 };
    let mut bytes = vec![kind | flag(origin, 0x80) | flag(right, 0x40)];
    for id in [origin, right].into_iter().flatten() {
        bytes.extend([id.0 as u8, id.1 as u8]);
    }
    [&bytes, content].concat()
}

fn gone(clocks: u8) -> Vec<u8> {
    vec![GC, clocks]
}

/// An update of clients' structs from their first clocks on, and of deleted ranges. Clients descend.
fn update(clients: &[(u64, Vec<Vec<u8>>)], deletes: &[(u64, u32, u32)]) -> Vec<u8> {
    let mut bytes = vec![clients.len() as u8];
    for (client, structs) in clients {
        bytes.extend([structs.len() as u8, *client as u8, 0]);
        bytes.extend(structs.concat());
    }
    bytes.push(deletes.len() as u8);
    for &(client, start, end) in deletes {
        bytes.extend([client as u8, 1, start as u8, (end - start) as u8]);
    }
    assert!(scan(&bytes, &ScanLimits::default()).is_ok(), "{bytes:?} is malformed");
    bytes
}

/// The merge of one, which is final.
fn merged(one: &[u8]) -> Vec<u8> {
    let merged = merge(&[one]).expect("well formed");
    assert_eq!(merge(&[&merged]).expect("well formed"), merged, "it is not final");
    merged
}

#[test]
fn what_is_in_a_deleted_type_goes_with_it() {
    let whole = [in_root(TYPE, ARRAY), inside(ANY, (1, 0), VALUE), in_root(ANY, VALUE)];
    let left = [in_root(DELETED, &[1]), gone(1), in_root(ANY, VALUE)];
    let before = update(&[(1, whole.to_vec())], &[(1, 0, 1)]);
    assert_eq!(merged(&before), update(&[(1, left.to_vec())], &[(1, 0, 2)]));
}

#[test]
fn types_in_deleted_types_go_with_all_that_is_in_them() {
    let structs = vec![
        in_root(TYPE, ARRAY),
        inside(TYPE, (1, 0), ARRAY),
        inside(ANY, (1, 1), VALUE),
        beside(TEXT, Some((1, 2)), None, LETTER),
        beside(TEXT, None, Some((1, 2)), LETTER),
    ];
    // What another has written there without knowing.
    let others = vec![inside(ANY, (1, 1), VALUE), beside(ANY, Some((1, 3)), None, VALUE)];
    let before = update(&[(2, others), (1, structs)], &[(1, 0, 1)]);
    let left = [(2, vec![gone(2)]), (1, vec![in_root(DELETED, &[1]), gone(4)])];
    assert_eq!(merged(&before), update(&left, &[(2, 0, 2), (1, 0, 5)]));
}

#[test]
fn what_lives_keeps_what_it_refers_to_in_a_deleted_type() {
    let lives = vec![beside(TEXT, Some((1, 0)), Some((1, 1)), LETTER)];
    let structs = vec![in_root(TYPE, ARRAY), inside(ANY, (1, 0), VALUE)];
    let before = update(&[(2, lives.clone()), (1, structs)], &[(1, 0, 1)]);
    // It is deleted, but has its place, and so it needs its type.
    let kept = vec![in_root(TYPE, ARRAY), inside(DELETED, (1, 0), &[1])];
    assert_eq!(merged(&before), update(&[(2, lives), (1, kept)], &[(1, 0, 2)]));
}

#[test]
fn what_is_kept_keeps_its_neighbours_and_they_theirs() {
    let lives = vec![beside(TEXT, Some((1, 0)), Some((1, 3)), LETTER)];
    let structs = |kind, content: &[u8]| {
        vec![
            in_root(TYPE, ARRAY),
            inside(kind, (1, 0), content),
            beside(kind, None, Some((1, 1)), content),
            beside(kind, Some((1, 2)), Some((1, 1)), content),
        ]
    };
    // Nobody needs this one.
    let needless = inside(ANY, (1, 0), VALUE);
    let with = |structs, last| [structs, vec![last]].concat();
    let before = [(2, lives.clone()), (1, with(structs(ANY, VALUE), needless))];
    let before = update(&before, &[(1, 0, 1)]);
    let mut kept = structs(DELETED, &[1]);
    // The last two are one now: what the second refers to is the end of the first.
    kept.truncate(2);
    kept.push(beside(DELETED, None, Some((1, 1)), &[2]));
    let kept = [(2, lives), (1, with(kept, gone(1)))];
    assert_eq!(merged(&before), update(&kept, &[(1, 0, 5)]));
}

#[test]
fn what_depends_on_what_is_lost_already_is_not_kept() {
    let lives = vec![beside(TEXT, Some((1, 0)), Some((1, 2)), LETTER)];
    let structs = vec![in_root(TYPE, ARRAY), gone(1), beside(ANY, Some((1, 1)), None, VALUE)];
    let before = update(&[(2, lives.clone()), (1, structs)], &[(1, 0, 1)]);
    let left = vec![in_root(DELETED, &[1]), gone(2)];
    assert_eq!(merged(&before), update(&[(2, lives), (1, left)], &[(1, 0, 3)]));
}

#[test]
fn what_is_in_what_is_no_type_goes_once_anything_is_deleted_and_not_before() {
    let structs = vec![in_root(ANY, VALUE), inside(ANY, (1, 0), VALUE), in_root(TEXT, LETTER)];
    let before = update(&[(1, structs)], &[]);
    assert_eq!(merged(&before), before);
    let deleted = update(&[], &[(1, 2, 3)]);
    let left = vec![in_root(ANY, VALUE), gone(1), in_root(DELETED, &[1])];
    let after = merge(&[&before, &deleted]).expect("well formed");
    assert_eq!(after, update(&[(1, left)], &[(1, 1, 3)]));
}

#[test]
fn a_parent_that_was_never_a_type_keeps_nothing() {
    let lives = vec![beside(TEXT, Some((1, 0)), Some((1, 1)), LETTER)];
    let structs = vec![in_root(ANY, VALUE), inside(ANY, (1, 0), VALUE)];
    let before = update(&[(2, lives.clone()), (1, structs)], &[(1, 0, 1)]);
    let left = vec![in_root(DELETED, &[1]), gone(1)];
    assert_eq!(merged(&before), update(&[(2, lives), (1, left)], &[(1, 0, 2)]));
}

#[test]
fn nothing_makes_nothing() {
    assert_eq!(merge(&[]).expect("well formed"), EMPTY);
    assert_eq!(merged(EMPTY), EMPTY);
}
