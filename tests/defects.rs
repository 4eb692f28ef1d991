//! Defects of other servers, each with a test that ours does not have it.
//!
//! They were found in ypy-websocket and pycrdt-websocket, y-websocket-server, Hocuspocus, y-sweet,
//! yrs-warp, and in yrs used as a server's engine; tests/README.md lists them. What concerns files or
//! sockets is tested where those are.

mod support;

use bytes::Bytes;
use std::fs;
use std::path::Path;
use std::time::Duration;
use support::{World, Writer, letter};
use yroom::update::ClientId;
use yroom::wire::awareness::{Entry, write};
use yroom::wire::{self, Message, encode};
use yroom::{
    Access, Config, ConnId, Event, Input, Limits, RoomName, Seq, StoreFault, StoreFaultKind,
    StoreOp, Stored,
};

fn world() -> World {
    World::new(Config::default())
}

fn synced(world: &mut World, room: &str) -> ConnId {
    let conn = world.open(room);
    world.send(conn, Writer::new(1).step1());
    world.take(conn);
    conn
}

fn state(id: u64, clock: u64, json: &str) -> Bytes {
    encode::awareness(&write([Entry { client: ClientId(id), clock, json }]))
}

/// The presence that frames tell of: id, clock, whether there is a state.
fn presence(frames: &[Bytes]) -> Vec<(u64, u64, bool)> {
    let mut told = Vec::new();
    for frame in frames {
        if let Some(Ok(Message::Awareness(states))) = wire::messages(frame).next() {
            let entries = wire::awareness::entries(states).expect("a payload");
            told.extend(entries.map(|entry| {
                let entry = entry.expect("an entry");
                (entry.client.0, entry.clock, entry.json != "null")
            }));
        }
    }
    told
}

fn text_for_a_newcomer(world: &mut World, room: &str) -> String {
    let (conn, reader) = (world.open(room), Writer::new(999));
    world.send(conn, reader.step1());
    reader.hears(&world.take(conn));
    world.close(conn);
    reader.text()
}

fn name(room: &str) -> RoomName {
    RoomName::new(room).expect("a valid name")
}

// ypy-websocket and pycrdt-websocket

#[test]
fn a_dead_peer_harms_neither_its_room_nor_another() {
    let mut world = world();
    let (a, b, c) = (synced(&mut world, "r"), synced(&mut world, "r"), synced(&mut world, "s"));
    let writer = Writer::new(7);
    // It dies with an update on its way, and what was for it comes back as gone, twice.
    world.hold_flushes = true;
    world.send(a, encode::update(&writer.types("one ")));
    world.close(b);
    world.close(b);
    world.hold_flushes = false;
    world.send(a, encode::update(&writer.types("two")));
    world.send(c, encode::update(&Writer::new(8).types("elsewhere")));
    assert_eq!(text_for_a_newcomer(&mut world, "r"), "one two");
    assert_eq!(text_for_a_newcomer(&mut world, "s"), "elsewhere");
}

#[test]
fn two_first_clients_of_a_new_room_share_one_load() {
    let mut world = world();
    world.hold_store = true;
    let (a, b) = (world.open("new"), world.open("new"));
    let loads = world.held.iter().filter(|op| matches!(op, StoreOp::Load { .. })).count();
    assert_eq!(loads, 1);
    world.release_store();
    for conn in [a, b] {
        world.send(conn, Writer::new(1).step1());
        assert!(world.take(conn).contains(&encode::sync_step2(&[0, 0])));
    }
    let frame = encode::update(&Writer::new(7).types("hello"));
    world.send(a, frame.clone());
    assert_eq!(world.take(b), [frame], "they are in the same room");
}

#[test]
fn who_talks_nonsense_is_gone_at_once_with_its_presence() {
    let mut world = world();
    let (a, b) = (synced(&mut world, "r"), synced(&mut world, "r"));
    world.send(a, state(7, 1, "{}"));
    world.take(b);
    world.send(a, vec![0, 9]);
    assert_eq!(world.hub.connection_count(), 1);
    assert_eq!(presence(&world.take(b)), [(7, 1, false)]);
}

#[test]
fn who_leaves_right_after_an_edit_has_it_stored() {
    let mut world = World::new(Config { unload_after: Duration::ZERO, ..Config::default() });
    let conn = synced(&mut world, "r");
    world.hold_store = true;
    world.send(conn, encode::update(&Writer::new(7).types("bye")));
    world.close(conn);
    world.release_store();
    assert_eq!(world.store[&name("r")].last(), Seq(1));
    assert!(world.hub.is_drained());
}

#[test]
fn a_room_that_is_told_twice_that_it_is_loaded_broadcasts_once() {
    let mut world = world();
    let (a, b) = (synced(&mut world, "r"), synced(&mut world, "r"));
    let room = world.last_room();
    world.send(a, encode::update(&Writer::new(7).types("kept")));
    world.take(b);
    world.input(Input::Loaded { room, result: Ok(Stored::default()) });
    assert!(world.take(b).is_empty(), "nobody is greeted again");
    let frame = encode::update(&Writer::new(8).types("once"));
    world.send(a, frame.clone());
    assert_eq!(world.take(b), [frame]);
    assert!(text_for_a_newcomer(&mut world, "r").contains("kept"), "and nothing is forgotten");
}

#[test]
fn more_updates_than_any_queue_holds_arrive_in_order_and_none_is_dropped() {
    let mut world = world();
    let (a, b) = (synced(&mut world, "r"), synced(&mut world, "r"));
    for clock in 0..66_000_u64 {
        let frame = encode::update(&letter(clock));
        world.send(a, frame.clone());
        assert_eq!(world.take(b), [frame]);
    }
    assert!(!world.closed.contains_key(&a), "and its author was not closed");
    assert_eq!(world.store[&name("r")].last(), Seq(66_000));
}

#[test]
fn a_store_that_cannot_be_read_is_no_empty_document() {
    let mut world = world();
    world.hold_store = true;
    let conn = world.open("r");
    let room = world.last_room();
    world.send(conn, Writer::new(1).step1());
    let fault = StoreFault::new(StoreFaultKind::Unknown, "disk I/O error");
    world.input(Input::Loaded { room, result: Err(fault) });
    assert_eq!(world.closed[&conn].0, 1013, "come back later");
    assert!(world.take(conn).is_empty(), "no SyncStep2 that an application would take for new");
    assert!(world.held.iter().all(|op| !matches!(op, StoreOp::Append(_))));
}

#[test]
fn presence_is_told_to_joiners_removed_at_leaving_and_expires() {
    let mut world = world();
    let (a, b) = (synced(&mut world, "r"), synced(&mut world, "r"));
    world.send(a, state(7, 1, "{}"));
    world.send(b, state(8, 1, "{}"));
    let joiner = world.open("r");
    assert_eq!(presence(&world.take(joiner)), [(7, 1, true), (8, 1, true)]);
    world.close(a);
    assert_eq!(presence(&world.take(joiner)), [(7, 1, false)]);
    world.pass(Duration::from_secs(35));
    assert_eq!(presence(&world.take(joiner)), [(8, 1, false)], "it was not renewed for 30 s");
}

#[test]
fn there_are_limits_readers_and_keepalives() {
    let limits = Limits { frame_bytes: 1_000, peers_per_room: 3, ..Limits::default() };
    let mut world = World::new(Config { limits, ..Config::default() });
    let (a, b) = (synced(&mut world, "r"), world.open_as("r", Access::READ_ONLY));
    let c = synced(&mut world, "r");
    assert!(world.hub.open(world.now, &name("r"), Access::FULL).is_err(), "the room is full");
    world.send(b, encode::update(&Writer::new(7).types("mine")));
    assert!(world.events.contains(&Event::Refused { conn: b }));
    world.send(c, encode::update(&Writer::new(8).types(&"long".repeat(300))));
    assert_eq!(world.closed[&c].0, 1009);
    world.take(a);
    world.pass(Duration::from_secs(16));
    assert!(world.take(a).contains(&Bytes::from_static(encode::KEEPALIVE)));
    assert_eq!(text_for_a_newcomer(&mut world, "r"), "");
}

// y-websocket-server and Hocuspocus

#[test]
fn an_id_that_returns_and_goes_again_leaves_no_ghost() {
    let mut world = world();
    let observer = synced(&mut world, "r");
    for clock in [1, 3, 5] {
        let conn = synced(&mut world, "r");
        world.send(conn, state(7, clock, "{}"));
        assert_eq!(presence(&world.take(observer)), [(7, clock, true)]);
        world.close(conn);
        assert_eq!(presence(&world.take(observer)), [(7, clock, false)], "at once, each time");
    }
}

#[test]
fn who_withdraws_its_presence_is_believed() {
    let mut world = world();
    let (a, b) = (synced(&mut world, "r"), synced(&mut world, "r"));
    world.send(a, state(7, 1, "{}"));
    world.take(b);
    world.send(a, state(7, 2, "null"));
    assert_eq!(presence(&world.take(b)), [(7, 2, false)]);
}

#[test]
fn a_question_for_presence_is_answered() {
    let mut world = world();
    let (a, b) = (synced(&mut world, "r"), synced(&mut world, "r"));
    world.send(b, encode::query_awareness());
    assert_eq!(world.take(b).len(), 1, "also if nobody is there");
    world.send(a, state(7, 1, "{}"));
    world.take(b);
    world.send(b, encode::query_awareness());
    assert_eq!(presence(&world.take(b)), [(7, 1, true)]);
}

#[test]
fn the_second_message_of_a_frame_counts() {
    let mut world = world();
    let (a, b) = (synced(&mut world, "r"), synced(&mut world, "r"));
    let update = encode::update(&Writer::new(7).types("both"));
    world.send(a, [state(7, 1, "{}"), update.clone()].concat());
    let told = world.take(b);
    assert!(told.contains(&update) && presence(&told) == [(7, 1, true)]);
}

#[test]
fn a_store_failure_and_the_last_one_leaving_lose_nothing() {
    let mut world = World::new(Config { unload_after: Duration::ZERO, ..Config::default() });
    let conn = synced(&mut world, "r");
    let room = world.last_room();
    world.hold_store = true;
    world.send(conn, encode::update(&Writer::new(7).types("precious")));
    let fault = StoreFault::new(StoreFaultKind::NotDone, "no");
    world.input(Input::WriteFailed { room, seq: Seq(1), fault });
    world.close(conn);
    world.held.clear();
    world.pass(Duration::from_secs(6));
    world.release_store();
    assert!(world.hub.is_drained());
    assert_eq!(text_for_a_newcomer(&mut world, "r"), "precious");
}

#[test]
fn a_message_of_an_unknown_type_closes_nothing() {
    let mut world = world();
    let a = synced(&mut world, "r");
    for pong in [vec![10], vec![9], vec![10, 1, 2, 3]] {
        world.send(a, pong);
    }
    assert!(world.closed.is_empty());
}

#[test]
fn who_comes_back_before_the_room_is_written_finds_it_as_it_was() {
    let mut world = World::new(Config { unload_after: Duration::ZERO, ..Config::default() });
    let conn = synced(&mut world, "r");
    let writer = Writer::new(7);
    world.send(conn, encode::update(&writer.types("old ")));
    world.hold_store = true;
    world.send(conn, encode::update(&writer.types("new")));
    world.close(conn);
    let (conn, reader) = (world.open("r"), Writer::new(8));
    world.send(conn, reader.step1());
    world.release_store();
    reader.hears(&world.take(conn));
    assert_eq!(reader.text(), "old new");
    assert_eq!(world.hub.room_count(), 1, "there is one room, not an old and a new one");
}

// y-websocket's client, to which a server has to be kind

#[test]
fn a_frame_to_a_client_holds_one_message() {
    let mut world = world();
    let (a, b) = (synced(&mut world, "r"), world.open("r"));
    world.send(b, Writer::new(2).step1());
    world.send(a, state(7, 1, "{}"));
    world.hold_store = true;
    for letter in ["a", "b", "c", "d", "e", "f"] {
        world.send(a, encode::update(&Writer::new(7).types(letter)));
    }
    world.release_store();
    for frame in world.take(b) {
        assert_eq!(wire::messages(&frame).count(), 1, "{frame:?}");
    }
}

#[test]
fn a_lone_client_hears_something_every_thirty_seconds_also_while_the_room_loads() {
    let mut world = world();
    world.hold_store = true;
    let conn = world.open("r");
    world.pass(Duration::from_secs(29));
    assert!(!world.take(conn).is_empty());
    world.release_store();
    world.take(conn);
    for _ in 0..10 {
        world.pass(Duration::from_secs(29));
        assert!(!world.take(conn).is_empty());
    }
}

// y-sweet and yrs-warp

#[test]
fn a_peer_whose_queue_is_full_misses_nothing_and_is_not_dropped() {
    let limits = Limits { outbox_bytes: 1_000, ..Limits::default() };
    let mut world = World::new(Config { limits, ..Config::default() });
    let (a, b) = (synced(&mut world, "r"), synced(&mut world, "r"));
    let (writer, reader) = (Writer::new(7), Writer::new(8));
    world.hold_flushes = true;
    for _ in 0..2_000 {
        world.send(a, encode::update(&writer.types("y")));
    }
    for _ in 0..10 {
        let frames = world.take(b);
        let bytes: usize = frames.iter().map(Bytes::len).sum();
        reader.hears(&frames);
        world.input(Input::Flushed { conn: b, bytes });
    }
    assert_eq!(reader.text().len(), 2_000);
    assert!(!world.closed.contains_key(&b));
}

#[test]
fn a_reader_may_be_the_first_in_a_room() {
    let mut world = World::new(Config { unload_after: Duration::ZERO, ..Config::default() });
    let conn = synced(&mut world, "r");
    world.send(conn, encode::update(&Writer::new(7).types("there")));
    world.close(conn);
    let (conn, reader) = (world.open_as("r", Access::READ_ONLY), Writer::new(8));
    world.send(conn, reader.step1());
    reader.hears(&world.take(conn));
    assert_eq!(reader.text(), "there");
}

#[test]
fn an_edit_during_a_write_is_written_too_and_a_shutdown_waits_for_it() {
    let mut world = world();
    let conn = synced(&mut world, "r");
    let writer = Writer::new(7);
    world.hold_store = true;
    world.send(conn, encode::update(&writer.types("first ")));
    world.send(conn, encode::update(&writer.types("during")));
    world.hub.shutdown(world.now);
    world.drain();
    world.close(conn);
    assert_eq!((world.hub.is_drained(), world.hub.unsaved()), (false, 2));
    world.release_store();
    world.drain();
    while !world.hub.is_drained() && !world.held.is_empty() {
        world.release_store();
    }
    assert!(world.hub.is_drained());
    assert_eq!(world.store[&name("r")].last(), Seq(2));
}

#[test]
fn a_newcomer_is_asked_for_what_it_has() {
    let mut world = world();
    let conn = world.open("r");
    let asked = world.take(conn);
    assert!(matches!(wire::messages(&asked[0]).next(), Some(Ok(Message::SyncStep1(_)))));
    world.send(conn, Writer::new(1).step1());
    let writer = Writer::new(7);
    writer.types("offline");
    world.send(conn, writer.step2(&[0]));
    assert_eq!(text_for_a_newcomer(&mut world, "r"), "offline");
}

// pycrdt-store

#[test]
fn compaction_forgets_nothing_and_order_has_nothing_to_do_with_clocks() {
    let limits = Limits { tail_bytes: 50, ..Limits::default() };
    let config = Config { limits, unload_after: Duration::ZERO, ..Config::default() };
    let mut world = World::new(config);
    let writer = Writer::new(7);
    world.pass(Duration::from_secs(3_600));
    for word in 0..10 {
        let conn = synced(&mut world, "r");
        // The clock goes back, as after a restart of the machine.
        if word == 5 {
            world.now = yroom::Timestamp::from_micros(1);
        }
        for letter in ["w", "o", "r", "d", " "] {
            world.send(conn, encode::update(&writer.types(letter)));
        }
        world.close(conn);
    }
    assert!(world.store[&name("r")].snapshot.is_some(), "it was compacted");
    assert_eq!(text_for_a_newcomer(&mut world, "r"), "word ".repeat(10));
}

#[test]
fn a_tail_after_a_compaction_is_read_with_it() {
    let limits = Limits { tail_bytes: 50, ..Limits::default() };
    let config = Config { limits, unload_after: Duration::ZERO, ..Config::default() };
    let mut world = World::new(config);
    let writer = Writer::new(7);
    let conn = synced(&mut world, "r");
    world.send(conn, encode::update(&writer.types(&"long ".repeat(100))));
    world.close(conn);
    world.pass(Duration::from_secs(1));
    assert_eq!(world.hub.room_count(), 0);
    let stored = &world.store[&name("r")];
    assert!(stored.snapshot.is_some() && stored.log.is_empty(), "it was compacted");
    let conn = synced(&mut world, "r");
    world.send(conn, encode::update(&writer.types("and short")));
    world.close(conn);
    world.pass(Duration::from_secs(1));
    let stored = &world.store[&name("r")];
    assert!(stored.snapshot.is_some() && !stored.log.is_empty(), "it has a tail");
    let text = text_for_a_newcomer(&mut world, "r");
    assert_eq!(text.len(), 509);
    assert!(text.ends_with("and short"));
}

// yrs as the engine

#[test]
fn what_makes_yrs_panic_when_it_encodes_is_given_to_nobody() {
    for line in corpus("03_stuck_pending_min14.hex")
        .into_iter()
        .chain(corpus("03b_stuck_pending_full400.hex"))
    {
        let mut world = world();
        let (conn, writer) = (synced(&mut world, "r"), Writer::new(7));
        world.send(conn, encode::update(&writer.types("before")));
        world.send(conn, encode::update(&line));
        let conn = synced(&mut world, "r");
        world.send(conn, encode::update(&writer.types(" and after")));
        let reader = Writer::new(8);
        let newcomer = world.open("r");
        world.send(newcomer, reader.step1());
        reader.hears(&world.take(newcomer));
        // The part of it that depends on nothing may be there too.
        assert!(reader.text().contains("before and after"), "{}", reader.text());
        // It encodes what it has, and has nothing that waits.
        let whole = Writer::new(9);
        whole.hears(&[reader.step2(&[0])]);
        assert_eq!(whole.text(), reader.text());
        assert!(!has_pending(&reader));
    }
}

fn has_pending(writer: &Writer) -> bool {
    use yrs::{ReadTxn, Transact};
    let txn = writer.doc.transact();
    txn.has_missing_updates()
}

/// What broke other implementations: an update a line, in hex.
fn corpus(file: &str) -> Vec<Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/hostile").join(file);
    let text = fs::read_to_string(path).expect("the corpus");
    let digit = |d: u8| (d as char).to_digit(16).expect("a hexadecimal digit") as u8;
    let bytes = |line: &str| {
        line.trim().as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
    };
    let lines: Vec<Vec<u8>> = text.lines().map(bytes).collect();
    assert!(!lines.is_empty());
    lines
}

#[test]
fn declared_counts_that_the_bytes_cannot_hold_close_their_sender() {
    let bomb = [0x80, 0x80, 0x80, 0x80, 0x02];
    let frames = [
        encode::sync_step1(&bomb),
        encode::update(&bomb),
        encode::sync_step2(&[&[0][..], &bomb].concat()),
        encode::awareness(&bomb),
    ];
    for frame in frames {
        let mut world = world();
        let conn = synced(&mut world, "r");
        world.send(conn, frame.clone());
        assert_eq!(world.closed[&conn].0, 1007, "{frame:?}");
    }
}

#[test]
fn a_client_id_beyond_53_bits_is_refused_not_masked() {
    let mut world = world();
    let (a, b) = (synced(&mut world, "r"), synced(&mut world, "r"));
    let mut update = vec![1, 1];
    wire::varint::write(&mut update, (1 << 53) + 7);
    update.extend([0, 4, 1, 4, b't', b'e', b'x', b't', 1, b'h', 0]);
    world.send(a, encode::update(&update));
    assert_eq!(world.closed[&a].0, 1007);
    assert!(world.take(b).is_empty());
}

#[test]
fn the_last_clock_of_presence_neither_wraps_nor_stays() {
    let mut world = world();
    let (a, b) = (synced(&mut world, "r"), synced(&mut world, "r"));
    for clock in [u64::from(u32::MAX), 1 << 32, (1 << 53) - 1] {
        world.send(a, state(7, clock, "{}"));
        assert_eq!(presence(&world.take(b)), [(7, clock, true)]);
    }
    world.close(a);
    assert_eq!(presence(&world.take(b)), [(7, (1 << 53) - 1, false)]);
}

#[test]
fn presence_that_is_no_json_reaches_nobody() {
    let mut world = world();
    let (a, b) = (synced(&mut world, "r"), synced(&mut world, "r"));
    world.send(a, state(7, 1, "{\"name\":"));
    assert_eq!(world.closed[&a].0, 1007);
    assert!(world.take(b).is_empty());
}

#[test]
fn removals_of_ids_that_nobody_knows_leave_no_trace() {
    let mut world = world();
    let (a, b) = (synced(&mut world, "r"), synced(&mut world, "r"));
    for id in 0..1_000 {
        world.send(a, state(id, 1, "null"));
    }
    assert!(world.take(b).is_empty());
    let joiner = world.open("r");
    assert!(presence(&world.take(joiner)).is_empty());
}

#[test]
fn a_message_that_is_cut_off_is_an_error_not_an_end() {
    let mut world = world();
    let conn = synced(&mut world, "r");
    world.send(conn, vec![0, 2, 5, 1]);
    assert_eq!(world.closed[&conn].0, 1002);
}

#[test]
fn custom_types_from_128_on_are_read_as_they_are_written() {
    let frame = encode::custom(200, b"body");
    let read: Vec<_> = wire::messages(&frame).collect();
    assert_eq!(read, [Ok(Message::Unknown { tag: 200, body: b"body" })]);
}

#[test]
fn what_depends_on_what_is_not_there_is_neither_stored_nor_shown() {
    let mut world = world();
    let (a, b) = (synced(&mut world, "r"), synced(&mut world, "r"));
    let writer = Writer::new(7);
    writer.types("never sent ");
    world.send(a, encode::update(&writer.types("pending")));
    assert!(world.take(b).is_empty());
    assert!(!world.store.contains_key(&name("r")));
    let asked = world.take(a);
    assert!(matches!(wire::messages(&asked[0]).next(), Some(Ok(Message::SyncStep1(_)))));
}

/// The list is in tests/README.md: each row names a test, and if it is not here, its file.
#[test]
fn every_test_that_the_list_names_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |file: &str| fs::read_to_string(root.join(file)).expect("a file of the project");
    let readme = read("tests/README.md");
    let list = readme.split("\n## Defects of other servers\n").nth(1).expect("the list");
    let list = list.split("\n## ").next().unwrap_or_default();
    let rows: Vec<&str> = list.lines().filter(|line| line.starts_with("| ")).skip(2).collect();
    assert!(rows.len() >= 40, "{} rows", rows.len());
    for row in rows {
        let cell = row.trim_end_matches(" |").rsplit(" | ").next().expect("three cells");
        let (file, test) = cell.split_once(": ").unwrap_or(("tests/defects.rs", cell));
        let test = test.trim_matches('`');
        let is_there = read(file).contains(&format!("#[test]\nfn {test}("))
            || read(file).contains(&format!("\nfn {test}<R: Runtime>("));
        assert!(is_there, "{row}");
    }
}
