//! Providers against a hub.

use crate::SECOND;
use crate::disk::{list, restore};
use crate::world::World;
use std::collections::BTreeSet;
use std::time::Duration;
use yroom::provider::{
    Config, Confirmation, Direction, DocumentInUse, Event, Input, Phase, Provider, StopReason,
};
use yroom::{Access, Limits, RoomName, Stored, Timestamp};
use yrs::{Array, Doc, Map, Transact};

fn synced(world: &World) -> bool {
    world.all_synced()
}

fn agree(world: &World) -> bool {
    let first = world.list(0);
    (0..world.clients.len()).all(|client| world.list(client) == first)
}

#[test]
fn what_one_program_edits_the_other_sees_and_the_disk_keeps() {
    let mut world = World::new(1);
    let (ada, bob) = (world.client(Config::default()), world.client(Config::default()));
    world.edit(ada, 1);
    world.run_until("both are synced", SECOND, synced);
    world.edit(bob, 2);
    world.edit(ada, 3);
    world.run_for(SECOND);
    assert!(agree(&world));
    assert_eq!(world.list(ada).len(), 3);
    assert_eq!(world.stored_list(), world.list(bob));
}

#[test]
fn two_documents_and_a_map_over_a_server() {
    let mut world = World::new(2);
    let docs = [Doc::with_client_id(1), Doc::with_client_id(2)];
    for doc in &docs {
        world.client_with(Config::default(), doc.clone(), Stored::default());
    }
    world.run_until("both are synced", SECOND, synced);
    let map = docs[0].get_or_insert_map("map");
    map.insert(&mut docs[0].transact_mut(), "key", "value");
    world.with(0, |provider, now| provider.handle(now, Input::Edited));
    world.run_for(SECOND);
    let map = docs[1].get_or_insert_map("map");
    let value = map.get_as::<_, String>(&docs[1].transact(), "key");
    assert_eq!(value.unwrap(), "value");
}

#[test]
fn what_was_received_is_not_sent_back() {
    let mut world = World::new(3);
    let (ada, bob) = (world.client(Config::default()), world.client(Config::default()));
    world.run_until("both are synced", SECOND, synced);
    world.edit(ada, 1);
    world.run_for(SECOND);
    assert_eq!(world.list(bob), [1]);
    assert_eq!(world.clients[bob].provider.edits(), 0);
    assert_eq!(world.clients[ada].provider.edits(), 1);
}

#[test]
fn ten_thousand_edits_made_offline_arrive_once() {
    let mut world = World::new(4);
    let (ada, bob) = (world.client(Config::default()), world.client(Config::default()));
    world.run_until("both are synced", SECOND, synced);
    world.kill();
    for number in 0..10_000 {
        world.edit_at(ada, 0, number);
    }
    assert_eq!(world.clients[ada].provider.edits(), 10_000);
    world.run_for(SECOND);
    world.start();
    world.run_until("both are synced", 30 * SECOND, synced);
    world.run_for(SECOND);
    let unique: BTreeSet<i64> = world.list(bob).into_iter().collect();
    assert_eq!((world.list(bob).len(), unique.len()), (10_000, 10_000));
    assert_eq!(world.clients[ada].provider.confirmed(), 10_000);
}

#[test]
fn a_server_that_is_killed_in_mid_edit_gets_again_what_it_lost() {
    for seed in 0..20 {
        let mut world = World::new(seed);
        world.disk_takes = Duration::from_millis(200);
        let (ada, _bob) = (world.client(Config::default()), world.client(Config::default()));
        world.run_until("both are synced", 2 * SECOND, synced);
        for number in 0..30 {
            world.edit(ada, number);
            world.run_for(Duration::from_millis(10));
        }
        world.kill();
        world.run_for(SECOND);
        world.start();
        world.run_until("both are synced", 60 * SECOND, synced);
        world.run_for(2 * SECOND);
        assert!(agree(&world), "seed {seed}");
        assert_eq!(world.list(ada).len(), 30, "seed {seed}");
        assert_eq!(world.stored_list(), world.list(ada), "seed {seed}");
    }
}

#[test]
fn edits_are_confirmed_once_they_are_durable_and_not_before() {
    let mut world = World::new(5);
    let ada = world.client(Config::default());
    world.run_until("it is synced", SECOND, synced);
    world.disk_takes = 5 * SECOND;
    world.edit(ada, 1);
    let target = world.with(ada, Provider::confirm);
    assert_eq!(target, 1);
    world.run_for(4 * SECOND);
    assert_eq!(world.clients[ada].provider.confirmed(), 0);
    world.run_for(2 * SECOND);
    assert_eq!(world.clients[ada].provider.confirmed(), 1);
    let by = Confirmation::Acknowledged;
    assert!(world.clients[ada].events.contains(&Event::Confirmed { upto: 1, by }));
    assert_eq!(world.stored_list(), [1]);
}

#[test]
fn a_connection_that_is_dead_without_a_word_is_noticed_and_replaced() {
    let mut world = World::new(17);
    let (ada, bob) = (world.client(Config::default()), world.client(Config::default()));
    world.run_until("both are synced", SECOND, synced);
    world.freeze(ada);
    world.edit(ada, 1);
    world.edit(bob, 2);
    world.run_for(29 * SECOND);
    assert_eq!((world.list(ada).len(), world.list(bob).len()), (1, 1));
    world.run_for(8 * SECOND);
    assert!(agree(&world));
    assert_eq!(world.list(ada).len(), 2);
    assert_eq!(world.clients[ada].provider.confirmed(), 1);
}

#[test]
fn a_store_that_fails_for_a_while_has_everything_in_the_end() {
    let mut world = World::new(18);
    let limits = Limits { journal_bytes: 1000, ..Limits::default() };
    let store_as = RoomName::new("copy").ok();
    let ada = world.client(Config { store_as, limits, ..Config::default() });
    world.run_until("it is synced", SECOND, synced);
    world.clients[ada].disk_fails = true;
    for number in 0..1000 {
        world.edit_at(ada, 0, number);
        world.run_for(Duration::from_millis(10));
    }
    assert!(world.clients[ada].disk.log.is_empty());
    let failed = |event: &Event| matches!(event, Event::StoreFailed { .. });
    assert!(world.clients[ada].events.iter().any(failed));
    world.clients[ada].disk_fails = false;
    world.run_for(10 * SECOND);
    let doc = Doc::new();
    restore(&doc, &world.clients[ada].disk);
    assert_eq!(list(&doc), world.list(ada));
    assert_eq!(list(&doc).len(), 1000);
}

#[test]
fn a_client_alone_for_ninety_seconds_stays_connected() {
    let mut world = World::new(6);
    let ada = world.client(Config::default());
    world.run_until("it is synced", SECOND, synced);
    world.run_for(90 * SECOND);
    assert_eq!(world.accepted.len(), 1);
    assert_eq!(world.phase(ada), Phase::Synced);
}

#[test]
fn presence_is_seen_renewed_and_taken_back() {
    let mut world = World::new(7);
    let (ada, bob) = (world.client(Config::default()), world.client(Config::default()));
    world.with(ada, |provider, now| provider.set_presence(now, Some(r#"{"name":"Ada"}"#)).unwrap());
    world.run_until("both are synced", SECOND, synced);
    world.run_for(SECOND);
    let seen = |world: &World, by: usize| -> Vec<(u64, String)> {
        let others = world.clients[by].provider.others();
        others.map(|(id, state)| (id.0, state.to_owned())).collect()
    };
    assert_eq!(seen(&world, bob), [(1000, r#"{"name":"Ada"}"#.to_owned())]);
    world.run_for(100 * SECOND);
    assert_eq!(seen(&world, bob).len(), 1, "it is renewed");
    assert_eq!(changes(&world, bob), (6, 0), "which is no change");
    world.with(ada, |provider, now| provider.set_presence(now, Some("2")).unwrap());
    world.run_for(SECOND);
    assert_eq!(seen(&world, bob), [(1000, "2".to_owned())]);
    assert_eq!(changes(&world, bob), (7, 1));
    world.cut(ada);
    world.run_for(Duration::from_millis(40));
    assert_eq!(seen(&world, bob), [], "it went with the connection");
    world.run_until("ada is back", 30 * SECOND, synced);
    world.run_for(SECOND);
    assert_eq!(seen(&world, bob).len(), 1, "and came back at once");
    world.with(ada, Provider::shutdown);
    world.run_for(SECOND);
    assert_eq!(seen(&world, bob), []);
    assert_eq!(world.phase(ada), Phase::Stopped);
}

/// How often somebody was heard of again, and how often with another state.
fn changes(world: &World, by: usize) -> (usize, usize) {
    let told = world.clients[by].events.iter().filter_map(|event| match event {
        Event::Presence(change) => Some((change.updated.len(), change.changed.len())),
        _ => None,
    });
    told.fold((0, 0), |(updated, changed), (more, others)| (updated + more, changed + others))
}

#[test]
fn no_state_that_is_no_json_is_shown() {
    let mut provider = Provider::new(Config::default(), &Doc::new(), || ()).unwrap();
    assert!(provider.set_presence(Timestamp::ZERO, Some("{")).is_err());
    let large = format!("\"{}\"", "x".repeat(20_000));
    assert!(provider.set_presence(Timestamp::ZERO, Some(&large)).is_err());
    assert_eq!(provider.presence(), None);
}

#[test]
fn a_reader_receives_and_sends_nothing() {
    let mut world = World::new(8);
    let reader = world.client(Config { direction: Direction::Receive, ..Config::default() });
    let writer = world.client(Config::default());
    world.edit(reader, 1);
    world.edit(writer, 2);
    world.run_until("both are synced", SECOND, synced);
    world.edit(reader, 3);
    world.edit(writer, 4);
    world.run_for(SECOND);
    let mut seen = world.list(writer);
    seen.sort_unstable();
    assert_eq!(seen, [2, 4]);
    let mut seen = world.list(reader);
    seen.sort_unstable();
    assert_eq!(seen, [1, 2, 3, 4]);
    assert_eq!(world.clients[reader].provider.edits(), 0);
}

#[test]
fn who_may_not_write_is_never_told_that_its_edits_are_safe() {
    let mut world = World::new(9);
    let reader = world.client(Config::default());
    world.clients[reader].access = Access::READ_ONLY;
    world.edit(reader, 1);
    world.run_until("it is synced", SECOND, synced);
    world.edit(reader, 2);
    world.with(reader, Provider::confirm);
    world.run_for(100 * SECOND);
    assert!(world.stored_list().is_empty());
    let provider = &world.clients[reader].provider;
    assert_eq!((provider.edits(), provider.confirmed()), (2, 0));
    let frames = world.clients[reader].sent_frames;
    assert!(frames < 30, "{frames} frames: it does not go on asking as often");
}

#[test]
fn a_slow_connection_is_given_one_update_for_many() {
    let mut world = World::new(10);
    let limits = Limits { outbox_bytes: 64 << 10, ..Limits::default() };
    let ada = world.client(Config { limits, ..Config::default() });
    world.client(Config::default());
    world.run_until("both are synced", SECOND, synced);
    world.bytes_per_second = Some(50_000);
    world.clients[ada].sent_frames = 0;
    for number in 0..20_000 {
        world.edit_at(ada, 0, number);
    }
    world.run_for(20 * SECOND);
    assert_eq!(world.list(1).len(), 20_000);
    assert!(agree(&world));
    let frames = world.clients[ada].sent_frames;
    assert!(frames < 4000, "{frames} frames");
    world.run_for(5 * SECOND);
    assert_eq!(world.clients[ada].provider.confirmed(), 20_000);
}

#[test]
fn a_document_in_use_delays_and_loses_nothing() {
    let mut world = World::new(11);
    let (ada, bob) = (world.client(Config::default()), world.client(Config::default()));
    world.run_until("both are synced", SECOND, synced);
    let doc = world.clients[bob].doc.clone();
    let own = doc.get_or_insert_array("list");
    let mut held = doc.transact_mut();
    own.push_back(&mut held, 7);
    for number in 0..50 {
        world.edit(ada, number);
    }
    world.run_for(SECOND);
    drop(held);
    assert_eq!(world.list(bob).len(), 1);
    world.run_for(SECOND);
    assert!(agree(&world));
    assert_eq!(world.list(ada).len(), 51);
}

#[test]
fn a_document_in_use_cannot_be_watched() {
    let doc = Doc::new();
    let txn = doc.transact_mut();
    assert_eq!(Provider::new(Config::default(), &doc, || ()).err(), Some(DocumentInUse));
    drop(txn);
}

#[test]
fn the_document_is_left_alone_when_the_provider_is_gone() {
    let doc = Doc::new();
    let (told, count) =
        (std::sync::Arc::new(()), |told: &std::sync::Arc<()>| std::sync::Arc::strong_count(told));
    let watched = std::sync::Arc::clone(&told);
    let provider = Provider::new(Config::default(), &doc, move || drop(watched.clone())).unwrap();
    assert_eq!(count(&told), 2);
    drop(provider);
    assert_eq!(count(&told), 1, "the observer is gone");
}

#[test]
fn the_copy_in_the_store_survives_the_program() {
    let config = || Config { store_as: RoomName::new("copy").ok(), ..Config::default() };
    let mut world = World::new(12);
    let ada = world.client(config());
    world.client(Config::default());
    world.run_until("both are synced", SECOND, synced);
    world.edit(ada, 1);
    world.run_for(SECOND);
    world.kill();
    for number in 2..500 {
        world.edit(ada, number);
    }
    world.run_for(SECOND);
    let disk = world.kill_client(ada);
    assert_eq!(
        {
            let doc = Doc::new();
            restore(&doc, &disk);
            list(&doc).len()
        },
        499
    );

    // Another process, without a server: everything is there. With one: it is sent.
    let ada = world.client_with(config(), Doc::with_client_id(77), disk);
    world.run_for(SECOND);
    assert_eq!(world.list(ada).len(), 499);
    world.start();
    world.run_until("all are synced", 30 * SECOND, synced);
    world.run_for(2 * SECOND);
    assert_eq!(world.list(1).len(), 499);
    assert_eq!(world.list(1), world.list(ada));
}

#[test]
fn the_copy_in_the_store_is_compacted() {
    let mut world = World::new(13);
    let ada = world.client(Config { store_as: RoomName::new("copy").ok(), ..Config::default() });
    for number in 0..20_000 {
        world.edit_at(ada, 0, number);
        if number % 100 == 0 {
            world.run_for(Duration::from_millis(10));
        }
    }
    world.run_for(SECOND);
    let disk = &world.clients[ada].disk;
    let log: usize = disk.log.iter().map(|batch| batch.framed().len()).sum();
    let snapshot = disk.snapshot.as_ref().expect("compacted").len();
    assert!(log <= snapshot.max(256 << 10), "{log} of log, {snapshot} of snapshot");
    let doc = Doc::new();
    restore(&doc, disk);
    assert_eq!(list(&doc), world.list(ada));
}

#[test]
fn after_a_shutdown_everything_is_stored_and_the_store_released() {
    let mut world = World::new(14);
    let ada = world.client(Config { store_as: RoomName::new("copy").ok(), ..Config::default() });
    world.run_until("it is synced", SECOND, synced);
    world.disk_takes = SECOND;
    world.edit(ada, 1);
    world.with(ada, Provider::shutdown);
    assert!(!world.clients[ada].provider.is_finished());
    world.run_for(3 * SECOND);
    assert!(world.clients[ada].provider.is_finished());
    assert!(world.clients[ada].events.contains(&Event::Stopped(StopReason::Asked)));
    let doc = Doc::new();
    restore(&doc, &world.clients[ada].disk);
    assert_eq!(list(&doc), [1]);
}

#[test]
fn what_was_edited_before_the_copy_was_read_is_stored_too() {
    let mut world = World::new(16);
    world.kill();
    world.disk_takes = SECOND;
    let ada = world.client(Config { store_as: RoomName::new("copy").ok(), ..Config::default() });
    world.edit(ada, 1);
    world.with(ada, Provider::shutdown);
    world.run_for(5 * SECOND);
    assert!(world.clients[ada].provider.is_finished());
    let doc = Doc::new();
    restore(&doc, &world.clients[ada].disk);
    assert_eq!(list(&doc), [1]);
}

#[test]
fn two_thousand_who_lose_their_server_come_back_spread_out_and_soon() {
    for outage in [1, 20] {
        let mut world = World::new(15);
        world.hub_config.limits.peers_per_room = 5000;
        world.kill();
        world.start();
        for _ in 0..2000 {
            world.client(Config { seed: 99, ..Config::default() });
        }
        world.run_until("all are synced", 60 * SECOND, synced);
        world.kill();
        world.accepted.clear();
        world.run_for(outage * SECOND);
        world.start();
        let back = world.now;
        world.run_until("all are synced", 15 * SECOND, synced);
        let took = world.now - back;
        let mut seconds = vec![0; 16];
        for at in &world.accepted {
            seconds[usize::try_from((*at - back).as_secs()).unwrap()] += 1;
        }
        let burst = seconds.iter().max().unwrap();
        assert!(*burst <= 500, "after {outage} s: {seconds:?}, {took:?}");
    }
}

#[test]
fn whatever_the_network_does_all_edits_arrive_once() {
    let seeds = std::env::var("YROOM_SEEDS").ok().and_then(|seeds| seeds.parse().ok());
    for seed in 0..seeds.unwrap_or(150) {
        storm(seed);
    }
}

/// A random history of edits, cuts, kills and pauses; then quiet, in which everything must arrive.
fn storm(seed: u64) {
    let mut world = World::new(seed);
    world.latency.1 = Duration::from_millis(1 + world.random(200));
    world.disk_takes = Duration::from_millis(world.random(300));
    let programs = 2 + world.random(3);
    for program in 0..programs {
        let store_as = if world.random(2) == 0 { RoomName::new("copy").ok() } else { None };
        let resync = (program == 0).then_some(3 * SECOND);
        world.client(Config { seed, store_as, resync, ..Config::default() });
    }
    let programs = usize::try_from(programs).unwrap();
    let mut made = 0;
    for _ in 0..60 {
        let client = usize::try_from(world.random(programs as u64)).unwrap();
        match world.random(12) {
            10 => world.freeze(client),
            11 => world.clients[client].disk_fails = world.random(2) == 0,
            0..5 => {
                for _ in 0..=world.random(4) {
                    world.edit(client, made);
                    made += 1;
                }
            }
            5 => world.cut(client),
            6 if world.is_up() => world.kill(),
            6 => world.start(),
            7 => world.clients[client].reachable = world.random(2) == 0,
            8 => world.bytes_per_second = [None, Some(2_000)][world.random(2) as usize],
            _ => {
                let millis = world.random(4000);
                world.run_for(Duration::from_millis(millis));
            }
        }
    }
    world.start();
    world.bytes_per_second = None;
    for client in &mut world.clients {
        client.reachable = true;
        client.disk_fails = false;
    }
    // A connection may be dead without anybody knowing.
    world.run_for(31 * SECOND);
    world.run_until(&format!("all are synced, seed {seed}"), 90 * SECOND, synced);
    world.run_for(5 * SECOND);
    assert!(agree(&world), "seed {seed}");
    let unique: BTreeSet<i64> = world.list(0).into_iter().collect();
    assert_eq!(unique, (0..made).collect(), "seed {seed}: nothing is lost");
    assert_eq!(world.list(0).len(), unique.len(), "seed {seed}: nothing is there twice");
    assert_eq!(world.stored_list(), world.list(0), "seed {seed}");
    for client in &world.clients {
        assert_eq!(client.provider.confirmed(), client.provider.edits(), "seed {seed}");
        if client.disk.last() > yroom::Seq::ZERO {
            let doc = Doc::new();
            restore(&doc, &client.disk);
            assert_eq!(list(&doc), world.list(0), "seed {seed}: the copy");
        }
    }
}
