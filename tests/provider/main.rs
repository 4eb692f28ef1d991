//! Providers against a hub, in memory and in virtual time.

mod world;

use std::collections::BTreeSet;
use std::time::Duration;
use world::{World, list, restore, whole};
use yroom::provider::{
    Config, Confirmation, Direction, DocumentInUse, Event, Input, Output, Phase, Provider,
    StopReason,
};
use yroom::wire::encode;
use yroom::{Access, CloseCode, Limits, RoomName, Stored, Timestamp};
use yrs::{Array, Doc, GetString, Map, Text, Transact};

const SECOND: Duration = Duration::from_secs(1);

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
    world.with(ada, |provider, now| provider.set_presence(now, Some("2")).unwrap());
    world.run_for(SECOND);
    assert_eq!(seen(&world, bob), [(1000, "2".to_owned())]);
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

/// A provider and a server that a test plays itself.
struct Scene {
    provider: Provider,
    doc: Doc,
    now: Timestamp,
    link: yroom::provider::LinkId,
    sent: Vec<bytes::Bytes>,
    events: Vec<Event>,
    closed: bool,
}

impl Scene {
    fn new(doc: Doc) -> Self {
        let mut provider = Provider::new(Config::default(), &doc, || ()).unwrap();
        let now = Timestamp::from_micros(1);
        provider.connect(now);
        let link = loop {
            match provider.poll_output() {
                Some(Output::Connect { link }) => break link,
                other => assert!(other.is_some()),
            }
        };
        let (sent, events) = (vec![], vec![]);
        let mut scene = Self { provider, doc, now, link, sent, events, closed: false };
        scene.handle(Input::Connected { link });
        scene
    }

    fn handle(&mut self, input: Input) {
        self.provider.handle(self.now, input);
        self.drain();
    }

    fn hear(&mut self, frame: impl Into<bytes::Bytes>) {
        let (link, frame) = (self.link, frame.into());
        self.handle(Input::Frame { link, frame });
    }

    fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(at) = self.provider.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.provider.handle_timeout(self.now);
            self.drain();
        }
        self.now = end;
    }

    fn drain(&mut self) {
        while let Some(output) = self.provider.poll_output() {
            match output {
                Output::Send { frame, .. } => self.sent.push(frame),
                Output::Event(event) => self.events.push(event),
                Output::Close { .. } => self.closed = true,
                Output::Connect { link } => self.link = link,
                Output::Pause { .. } | Output::Resume { .. } | Output::Store(_) => {}
            }
        }
    }

    fn sync(&mut self) {
        self.hear(encode::sync_step1(&[0]));
        self.hear(encode::sync_step2(&[0, 0]));
        self.sent.clear();
    }

    fn type_text(&mut self, text: &str) {
        let notes = self.doc.get_or_insert_text("text");
        notes.insert(&mut self.doc.transact_mut(), 0, text);
        self.handle(Input::Edited);
    }

    fn kinds(&self) -> Vec<[u8; 2]> {
        self.sent.iter().map(|frame| [frame[0], frame[1]]).collect()
    }
}

#[test]
fn what_malformed_servers_send_ends_the_link_and_not_the_program() {
    for frame in [
        vec![],
        vec![0],
        vec![0, 9],
        vec![0, 2, 200, 1],
        vec![0, 2, 3, 1, 1, 1],
        vec![0, 1, 4, 0xff, 0xff, 0xff, 0x7f],
        vec![0, 0, 5, 0xff, 0xff, 0xff, 0xff, 0x0f],
        vec![1, 4, 0xff, 0xff, 0xff, 0x7f],
    ] {
        let mut scene = Scene::new(Doc::with_client_id(1));
        scene.hear(frame.clone());
        assert_eq!(scene.provider.phase(), Phase::Waiting, "{frame:02x?}");
        assert!(scene.closed);
        scene.pass(10 * SECOND);
        assert_eq!(scene.provider.phase(), Phase::Connecting);
    }
}

#[test]
fn close_codes_from_4400_to_4499_are_the_end_and_others_are_not() {
    for (code, phase) in [
        (Some(1000), Phase::Waiting),
        (Some(1012), Phase::Waiting),
        (Some(4399), Phase::Waiting),
        (Some(4400), Phase::Stopped),
        (Some(4499), Phase::Stopped),
        (Some(4500), Phase::Waiting),
        (None, Phase::Waiting),
    ] {
        let mut scene = Scene::new(Doc::new());
        let (link, code) = (scene.link, code.map(CloseCode));
        scene.handle(Input::Closed { link, code, reason: "why".to_owned() });
        assert_eq!(scene.provider.phase(), phase, "{code:?}");
    }
}

#[test]
fn a_silent_server_is_asked_first_and_given_up_then() {
    let mut scene = Scene::new(Doc::new());
    scene.sync();
    scene.pass(21 * SECOND);
    assert_eq!(scene.kinds(), [[0, 0]], "asked for its state");
    scene.pass(8 * SECOND);
    assert_eq!(scene.provider.phase(), Phase::Synced);
    scene.pass(SECOND);
    assert!(scene.closed);
    let silent = |event: &Event| matches!(event, Event::Retrying { reason, .. } if reason.contains("silent"));
    assert!(scene.events.iter().any(silent));
}

#[test]
fn what_depends_on_what_is_missing_is_asked_for_and_not_for_ever() {
    let author = Doc::with_client_id(5);
    let text = author.get_or_insert_text("text");
    text.insert(&mut author.transact_mut(), 0, "first");
    let before = {
        use yrs::ReadTxn;
        author.transact().state_vector()
    };
    text.insert(&mut author.transact_mut(), 5, " second");
    let second = {
        use yrs::ReadTxn;
        author.transact().encode_diff_v1(&before)
    };
    let mut scene = Scene::new(Doc::with_client_id(1));
    scene.sync();
    scene.hear(encode::update(&second));
    assert_eq!(scene.kinds(), [[0, 0]], "asked at once");
    let mine = scene.doc.get_or_insert_text("text");
    assert_eq!(mine.get_string(&scene.doc.transact()), "");
    // The server goes on answering with the same.
    for _ in 0..20 {
        scene.hear(encode::sync_step2(&second));
        scene.pass(11 * SECOND);
    }
    let asked = scene.sent.iter().filter(|frame| frame[..2] == [0, 0]).count();
    assert!(asked <= 12, "{asked}");
    let given_up = |event: &Event| matches!(event, Event::Retrying { reason, .. } if reason.contains("depend"));
    assert!(scene.events.iter().any(given_up), "{:?}", scene.events);
    // Another time it has all.
    let mut scene = Scene::new(Doc::with_client_id(1));
    scene.sync();
    scene.hear(encode::update(&second));
    scene.hear(encode::sync_step2(&whole(&author)));
    let mine = scene.doc.get_or_insert_text("text");
    assert_eq!(mine.get_string(&scene.doc.transact()), "first second");
}

#[test]
fn a_server_without_acknowledgements_is_asked_whether_it_has_everything() {
    let mut scene = Scene::new(Doc::with_client_id(1));
    scene.sync();
    scene.type_text("a");
    assert_eq!(scene.kinds(), [[0, 2]]);
    scene.pass(4 * SECOND);
    assert_eq!(scene.kinds(), [[0, 2], [0, 0]], "after a while");
    assert_eq!(scene.provider.confirmed(), 0);
    scene.hear(encode::sync_step2(&[0, 0]));
    assert_eq!(scene.provider.confirmed(), 1);
    let by = Confirmation::Received;
    assert!(scene.events.contains(&Event::Confirmed { upto: 1, by }));
    scene.type_text("b");
    scene.provider.confirm(scene.now);
    scene.drain();
    assert_eq!(scene.kinds().len(), 4, "at once, if somebody waits");
}

#[test]
fn a_server_that_never_asks_is_given_everything_all_the_same() {
    let doc = Doc::with_client_id(1);
    doc.get_or_insert_text("text").insert(&mut doc.transact_mut(), 0, "offline");
    let mut scene = Scene::new(doc);
    scene.hear(encode::sync_step2(&[0, 0]));
    scene.sent.clear();
    scene.type_text("more ");
    assert!(scene.sent.is_empty());
    scene.pass(4 * SECOND);
    let expected = encode::update(&whole(&scene.doc));
    assert_eq!(scene.sent.first(), Some(&expected));
}

#[test]
fn somebody_who_says_that_we_are_gone_is_contradicted() {
    let mut scene = Scene::new(Doc::with_client_id(7));
    scene.sync();
    scene.provider.set_presence(scene.now, Some("1")).unwrap();
    scene.drain();
    scene.sent.clear();
    scene.hear(encode::awareness(b"\x01\x07\x05\x04null"));
    assert_eq!(scene.sent, [encode::awareness(b"\x01\x07\x06\x011")]);
    scene.sent.clear();
    scene.hear(encode::awareness(b"\x01\x07\x05\x04null"));
    assert!(scene.sent.is_empty(), "an old one is not");
}

#[test]
fn what_is_said_of_an_earlier_connection_is_late() {
    let mut scene = Scene::new(Doc::new());
    let old = scene.link;
    scene.handle(Input::Closed { link: old, code: None, reason: String::new() });
    scene.pass(10 * SECOND);
    assert_ne!(scene.link, old);
    let link = scene.link;
    scene.handle(Input::Connected { link: old });
    assert_eq!(scene.provider.phase(), Phase::Connecting);
    scene.handle(Input::Connected { link });
    scene.handle(Input::Closed { link: old, code: Some(CloseCode(4401)), reason: String::new() });
    scene.handle(Input::Frame { link: old, frame: bytes::Bytes::from_static(&[9]) });
    assert_eq!(scene.provider.phase(), Phase::Handshaking);
}

#[test]
fn the_same_seed_and_inputs_give_the_same_outputs() {
    let transcript = |seed| {
        let mut scene = Scene::new(Doc::with_client_id(3));
        scene.provider =
            Provider::new(Config { seed, ..Config::default() }, &scene.doc, || ()).unwrap();
        scene.provider.connect(scene.now);
        scene.pass(300 * SECOND);
        format!("{:?} {:?}", scene.sent, scene.events)
    };
    assert_eq!(transcript(1), transcript(1));
    assert_ne!(transcript(1), transcript(2));
}

#[test]
fn no_hostile_update_harms_the_program() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus/hostile");
    let mut lines = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        for server in [encode::update as fn(&[u8]) -> _, encode::sync_step2, encode::sync_step1] {
            let mut scene = Scene::new(Doc::with_client_id(1));
            scene.sync();
            let own = scene.doc.get_or_insert_text("own");
            own.push(&mut scene.doc.transact_mut(), "mine");
            scene.handle(Input::Edited);
            for line in std::fs::read_to_string(&path).unwrap().lines() {
                let hex = |at: usize| u8::from_str_radix(&line[at..at + 2], 16).unwrap();
                let update: Vec<u8> = (0..line.len()).step_by(2).map(hex).collect();
                scene.hear(server(&update));
                lines += 1;
                if scene.closed {
                    // Given up; another attempt succeeds.
                    scene.pass(20 * SECOND);
                    let link = scene.link;
                    scene.handle(Input::Connected { link });
                    scene.closed = false;
                }
            }
            own.push(&mut scene.doc.transact_mut(), " still");
            scene.handle(Input::Edited);
            let copy = Doc::new();
            {
                use yrs::updates::decoder::Decode;
                let update = yrs::Update::decode_v1(&whole(&scene.doc)).unwrap();
                copy.transact_mut().apply_update(update).unwrap();
            }
            let text = copy.get_or_insert_text("own").get_string(&copy.transact());
            assert_eq!(text, "mine still", "{}", path.display());
        }
    }
    assert!(lines > 30);
}

#[test]
fn what_yrs_does_not_survive_stops_the_provider_and_not_the_program() {
    let old_values = [1, 1, 7, 0, 2, 1, 1, b'a', 1, 1, b'1', 0];
    let subdocument = [1, 1, 7, 0, 9, 1, 1, b'a', 1, b'g', 118, 0, 0];
    let mut flood = vec![200, 1];
    for client in (1_u8..=200).rev() {
        // A client id of 32 low bits without a difference.
        flood.extend([1, 0x80, 0x80, 0x80, 0x80, 0x80 | (client << 4), client >> 3, 0, 0, 1]);
    }
    flood.push(0);
    for (update, why) in
        [(&old_values[..], "before version 13"), (&subdocument, "sub-documents"), (&flood, "slow")]
    {
        let mut scene = Scene::new(Doc::with_client_id(1));
        scene.hear(encode::sync_step2(update));
        let stopped = |event: &Event| matches!(event, Event::Stopped(StopReason::Unreadable { reason }) if reason.contains(why));
        assert!(scene.events.iter().any(stopped), "{why}: {:?}", scene.events);
        assert_eq!(scene.provider.phase(), Phase::Stopped);
    }
}
