//! How much of a room's past the store keeps.

mod support;

use std::time::Duration;
use support::{World, Writer, frame_of};
use yroom::{
    Config, Event, Folding, History, Input, Limits, RoomName, Seq, StoreFault, StoreFaultKind,
    StoreOp,
};

const HOUR: Duration = Duration::from_secs(3_600);

fn world(history: History) -> World {
    let limits = Limits { tail_bytes: 1_000, ..Limits::default() };
    World::new(Config { history, limits, unload_after: Duration::ZERO, ..Config::default() })
}

fn name() -> RoomName {
    RoomName::new("r").expect("a name")
}

/// Somebody comes, types so many times, and goes, which unloads the room.
fn session(world: &mut World, client: u64, edits: usize) -> Writer {
    let conn = world.open("r");
    let writer = Writer::new(client);
    for i in 0..edits {
        world.send(conn, frame_of(&writer.types(&format!("{i:08}"))));
    }
    world.close(conn);
    assert!(world.hub.is_drained());
    writer
}

fn text(world: &mut World) -> String {
    let conn = world.open("r");
    let reader = Writer::new(99);
    world.send(conn, reader.step1());
    reader.hears(&world.take(conn));
    world.close(conn);
    reader.text()
}

fn folded(world: &World) -> (Seq, usize) {
    let stored = &world.store[&name()];
    (stored.snapshot_upto, stored.log.len())
}

#[test]
fn what_is_to_be_kept_is_never_folded() {
    let mut world = world(History::KEEP_ALL);
    let writer = session(&mut world, 7, 500);
    assert_eq!(folded(&world), (Seq::ZERO, 500));
    assert_eq!(text(&mut world), writer.text());
    assert_eq!(folded(&world), (Seq::ZERO, 500), "loading folds nothing");
}

#[test]
fn a_bound_of_bytes_holds_though_it_does_not_pay() {
    let bounded = History { log_bytes: Some(5_000), ..History::KEEP_ALL };
    let mut world = world(bounded);
    let writer = session(&mut world, 7, 500);
    let (upto, rows) = folded(&world);
    assert!(upto > Seq::ZERO && rows < 100, "{rows} rows after {upto:?}");
    assert!(rows > 0, "and no earlier than that");
    assert_eq!(text(&mut world), writer.text());
}

#[test]
fn the_log_of_a_room_that_did_not_change_for_long_is_folded_when_it_is_loaded() {
    let mut world = world(History { ttl: Some(HOUR), ..History::KEEP_ALL });
    session(&mut world, 7, 20);
    world.store.get_mut(&name()).expect("stored").changed_ago = Some(Duration::from_secs(3_599));
    text(&mut world);
    assert_eq!(folded(&world), (Seq::ZERO, 20), "not yet");
    world.store.get_mut(&name()).expect("stored").changed_ago = Some(HOUR * 2);
    let writer = session(&mut world, 8, 1);
    assert_eq!(folded(&world), (Seq(20), 1), "the new update stays outside");
    assert!(text(&mut world).contains(&writer.text()));
    assert_eq!(folded(&world).1, 0, "by the store's time all of it is old");
    let compactions = |world: &World| {
        let events = world.events.iter();
        events.filter(|it| matches!(it, Event::RoomCompacted { .. })).count()
    };
    let before = compactions(&world);
    text(&mut world);
    assert_eq!(compactions(&world), before, "an empty log is not folded again");
}

#[test]
fn the_log_of_a_room_that_stayed_open_is_folded_by_the_next_write() {
    let mut world = world(History { ttl: Some(HOUR), ..History::KEEP_ALL });
    let conn = world.open("r");
    let writer = Writer::new(7);
    for _ in 0..20 {
        world.send(conn, frame_of(&writer.types("word ")));
        world.pass(Duration::from_secs(3_590));
    }
    assert_eq!(folded(&world), (Seq::ZERO, 20), "never so long without a change");
    world.pass(Duration::from_secs(20));
    world.send(conn, frame_of(&writer.types("word ")));
    assert_eq!(folded(&world), (Seq(20), 1));
    world.send(conn, frame_of(&writer.types("word ")));
    assert_eq!(folded(&world), (Seq(20), 2));
}

#[test]
fn a_log_whose_beginning_is_old_is_folded_however_much_it_grew_since() {
    let mut world = world(History { log_age: Some(HOUR), ..History::KEEP_ALL });
    let conn = world.open("r");
    let writer = Writer::new(7);
    for _ in 0..10 {
        world.send(conn, frame_of(&writer.types("word ")));
        world.pass(Duration::from_secs(359));
    }
    assert_eq!(folded(&world), (Seq::ZERO, 10));
    world.pass(Duration::from_secs(20));
    world.send(conn, frame_of(&writer.types("word ")));
    assert_eq!(folded(&world), (Seq(10), 1));
    world.close(conn);
    // The age that the store tells goes on.
    world.store.get_mut(&name()).expect("stored").log_began_ago = Some(HOUR / 2);
    let conn = world.open("r");
    world.pass(Duration::from_mins(29));
    let writer = Writer::new(8);
    world.send(conn, frame_of(&writer.types("x")));
    assert_eq!(folded(&world), (Seq(10), 2));
    world.pass(Duration::from_secs(120));
    world.send(conn, frame_of(&writer.types("y")));
    assert_eq!(folded(&world), (Seq(12), 1));
}

#[test]
fn a_fold_that_fails_leaves_the_log_for_the_next_load() {
    let mut world = world(History { ttl: Some(HOUR), ..History::KEEP_ALL });
    session(&mut world, 7, 20);
    world.store.get_mut(&name()).expect("stored").changed_ago = Some(HOUR * 2);
    world.hold_store = true;
    let conn = world.open("r");
    let load = world.held.remove(0);
    let loaded = world.perform(load).expect("an answer");
    world.input(loaded);
    assert!(matches!(world.held[..], [StoreOp::Compact { upto: Seq(20), .. }]));
    world.held.clear();
    let fault = StoreFault::new(StoreFaultKind::NotDone, "disk full");
    let room = world.last_room();
    world.input(Input::Compacted { room, upto: Seq(20), result: Err(fault.clone()) });
    assert!(world.events.contains(&Event::CompactionFailed { room, fault }));
    world.hold_store = false;
    let writer = Writer::new(8);
    world.send(conn, frame_of(&writer.types("after")));
    assert_eq!(folded(&world), (Seq::ZERO, 21), "not tried with every write");
    world.close(conn);
    world.store.get_mut(&name()).expect("stored").changed_ago = Some(HOUR * 2);
    assert!(text(&mut world).contains("after"));
    assert_eq!(folded(&world), (Seq(21), 0));
}

#[test]
fn by_default_a_log_is_folded_when_it_pays() {
    assert_eq!(History::default().folding, Folding::WhenItPays);
    let mut world = world(History::default());
    let writer = session(&mut world, 7, 500);
    assert!(folded(&world).1 < 100);
    assert_eq!(text(&mut world), writer.text());
}
