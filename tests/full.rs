//! What is full: hubs, rooms, documents, and who says too much before the room is there.

mod support;

use bytes::Bytes;
use support::{World, Writer, frame_of, pair, updates};
use yroom::wire::encode;
use yroom::{Access, Config, Input, Limits, Reject, RoomName, Seq};

fn world_with(limits: Limits) -> World {
    World::new(Config { limits, ..Config::default() })
}

fn last(world: &World, room: &str) -> Seq {
    world.store.get(&RoomName::new(room).expect("valid")).map_or(Seq::ZERO, yroom::Stored::last)
}

#[test]
fn a_hub_and_a_room_take_in_so_many_and_again_when_one_has_gone() {
    let limits = Limits { connections: 4, peers_per_room: 2, rooms: 2, ..Limits::default() };
    let mut world = world_with(limits);
    let open = |world: &mut World, room: &str| {
        let room = RoomName::new(room).expect("valid");
        let opened = world.hub.open(world.now, &room, Access::FULL);
        world.drain();
        opened
    };
    let first = open(&mut world, "a").expect("there is room");
    open(&mut world, "a").expect("there is room");
    assert_eq!(open(&mut world, "a"), Err(Reject::RoomFull));
    open(&mut world, "b").expect("there is room");
    assert_eq!(open(&mut world, "c"), Err(Reject::TooManyRooms));
    open(&mut world, "b").expect("there is room");
    assert_eq!(open(&mut world, "b"), Err(Reject::TooManyConnections));
    assert_eq!((world.hub.room_count(), world.hub.connection_count()), (2, 4));
    world.close(first);
    open(&mut world, "a").expect("one has gone");
}

#[test]
fn a_document_takes_in_so_many_bytes_and_no_more() {
    let mut world = world_with(Limits { document_bytes: 1_000, ..Limits::default() });
    let (a, b) = pair(&mut world, "r");
    let writer = Writer::new(7);
    world.send(a, frame_of(&writer.types(&"x".repeat(900))));
    assert_eq!(updates(&world.take(b)).len(), 1);
    world.send(a, frame_of(&writer.types(&"x".repeat(100))));
    assert_eq!(world.closed[&a].0, 1009);
    assert!(updates(&world.take(b)).is_empty());
    assert_eq!(last(&world, "r"), Seq(1), "nothing of it is stored");
    // Whoever stays within the limit goes on.
    world.send(b, frame_of(&Writer::new(8).types("y")));
    assert_eq!(last(&world, "r"), Seq(2));
    assert!(!world.closed.contains_key(&b));
}

#[test]
fn a_document_takes_in_so_many_client_ids_and_no_more() {
    let mut world = world_with(Limits { clients_per_document: 3, ..Limits::default() });
    let (a, b) = pair(&mut world, "r");
    for client in 10..13 {
        world.send(a, frame_of(&Writer::new(client).types("x")));
    }
    let known = Writer::new(12);
    known.types("x");
    world.send(a, frame_of(&known.types("more of one that is known")));
    assert!(!world.closed.contains_key(&a));
    world.take(b);
    world.send(a, frame_of(&Writer::new(13).types("x")));
    assert_eq!(world.closed[&a].0, 1009);
    assert!(updates(&world.take(b)).is_empty());
    assert_eq!(last(&world, "r"), Seq(4));
}

#[test]
fn a_document_takes_in_so_many_delete_ranges_and_no_more() {
    let mut world = world_with(Limits { delete_ranges_per_document: 3, ..Limits::default() });
    let (a, b) = pair(&mut world, "r");
    let writer = Writer::new(7);
    world.send(a, frame_of(&writer.types("abcdefghij")));
    // Every second letter, so that the ranges do not grow together.
    let letter = |clock: u8| Bytes::copy_from_slice(&[0, 2, 6, 0, 1, 7, 1, clock, 1]);
    for clock in [0, 2, 4] {
        world.send(a, letter(clock));
    }
    assert!(!world.closed.contains_key(&a));
    world.take(b);
    world.send(a, letter(6));
    assert_eq!(world.closed[&a].0, 1009);
    assert!(updates(&world.take(b)).is_empty());
    assert_eq!(last(&world, "r"), Seq(4));
}

#[test]
fn who_says_much_before_the_room_is_there_is_not_read_from_until_it_is() {
    let mut world = world_with(Limits { inbox_bytes: 500, frame_bytes: 300, ..Limits::default() });
    world.hold_store = true;
    let conn = world.open("r");
    let writer = Writer::new(7);
    let mut sent = 0;
    while world.paused.get(&conn) != Some(&true) {
        world.send(conn, frame_of(&writer.types(&"x".repeat(50))));
        sent += 1;
        assert!(sent < 20, "it goes on and on");
    }
    assert!(sent > 3, "{sent}");
    world.release_store();
    assert_eq!(world.paused.get(&conn), Some(&false));
    assert_eq!(last(&world, "r"), Seq(sent), "all of it counts");
}

#[test]
fn a_frame_that_is_long_in_coming_counts_before_the_room_is_there() {
    let mut world = world_with(Limits { inbox_bytes: 500, ..Limits::default() });
    world.hold_store = true;
    let conn = world.open("r");
    let writer = Writer::new(7);
    world.send(conn, frame_of(&writer.types(&"x".repeat(50))));
    for bytes in [100, 300, 380] {
        world.input(Input::Arriving { conn, bytes });
        assert_eq!(world.paused.get(&conn), None, "{bytes}");
    }
    world.input(Input::Arriving { conn, bytes: 450 });
    assert_eq!(world.paused.get(&conn), Some(&true));
    world.release_store();
    assert_eq!(world.paused.get(&conn), Some(&false), "the rest of it may come");
    // From then on it is bounded by what a frame may be, and by its sender's share.
    world.input(Input::Arriving { conn, bytes: 100_000 });
    assert_eq!(world.paused.get(&conn), Some(&false));
    world.send(conn, frame_of(&writer.types(&"y".repeat(10_000))));
    assert_eq!(last(&world, "r"), Seq(2), "all of it counts");
}

#[test]
fn who_goes_on_though_it_is_not_read_from_is_closed_with_1009() {
    let mut world = world_with(Limits { inbox_bytes: 500, frame_bytes: 300, ..Limits::default() });
    world.hold_store = true;
    let conn = world.open("r");
    // Empty frames count too.
    let mut most = 0;
    while let Some(held) = world.hub.held_bytes(conn) {
        most = most.max(held);
        assert!(most < 5_000, "{most} bytes are held");
        world.send(conn, Bytes::new());
    }
    assert!(most > 500);
    assert_eq!(world.closed[&conn].0, 1009);
}

#[test]
fn a_frame_over_the_limit_is_no_message_however_it_comes() {
    let mut world = world_with(Limits { frame_bytes: 100, ..Limits::default() });
    let (a, b) = pair(&mut world, "r");
    world.send(a, frame_of(&Writer::new(7).types(&"x".repeat(60))));
    assert_eq!(updates(&world.take(b)).len(), 1);
    world.send(a, frame_of(&Writer::new(8).types(&"x".repeat(100))));
    assert_eq!(world.closed[&a].0, 1009);
    // What still comes of it is not used.
    world.send(a, frame_of(&Writer::new(9).types("x")));
    assert!(updates(&world.take(b)).is_empty());
    world.input(Input::Closed { conn: a });
    assert_eq!(last(&world, "r"), Seq(1));
}

#[test]
fn a_state_vector_takes_so_many_entries_and_no_more() {
    let mut world = world_with(Limits { state_vector_entries: 2, ..Limits::default() });
    let (a, b) = pair(&mut world, "r");
    world.send(a, encode::sync_step1(&[2, 1, 1, 2, 1]));
    assert!(!world.closed.contains_key(&a));
    world.send(b, encode::sync_step1(&[3, 1, 1, 2, 1, 3, 1]));
    assert_eq!(world.closed[&b].0, 1009);
}
