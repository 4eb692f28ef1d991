//! Rooms of two servers linked by a chain, on real sockets, the same for each runtime.
#![allow(missing_docs, reason = "the names of tests are sentences")]
#![cfg(feature = "client")]

#[path = "support/programs.rs"]
mod programs;
#[macro_use]
#[path = "support/suite.rs"]
mod suite;
#[allow(dead_code, reason = "shared by several test programs, each using a part")]
mod support;
#[path = "support/upstream.rs"]
mod upstream;

use programs::{Program, serve, start, wait, wait_for};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use support::{Peer, typing};
use upstream::Fake;
use yroom::{Access, Config, RoomName};
use yroom_net::chain::{Chain, ChainAll, ChainOptions, ChainPhase, Credentials, Retry};
use yroom_net::store::MemoryStore;
use yroom_net::{Running, Runtime, Server, Timeouts};

suite! {
    edits_and_awareness_cross_in_both_directions
    bytes_cross_unchanged
    the_upstream_server_restarts_in_mid_edit
    the_server_with_the_chain_restarts_in_mid_edit
    an_upstream_server_that_is_down_at_the_start_is_found_when_it_is_up
    more_people_are_seen_than_one_connection_may_show
    an_upstream_server_that_knows_no_relays_shows_the_first_few
    chains_in_a_circle_converge
    a_chain_of_three_servers_is_one_room
    a_room_chained_to_itself_goes_on
    a_dropped_chain_closes_its_link_and_makes_no_other
    a_refusal_ends_the_chain_and_not_the_room
    a_room_that_is_deleted_here_is_not_fetched_again
    other_close_codes_end_the_link_and_not_the_chain
    what_an_upstream_server_may_only_show_stays_here
    an_upstream_server_that_may_only_read_changes_nothing
    an_upstream_server_that_goes_silent_is_given_up_and_found_again
    an_upstream_server_that_reads_nothing_holds_nobody_up
    an_upstream_server_that_speaks_nonsense_is_closed_and_the_room_goes_on
    credentials_are_asked_for_before_every_attempt
    a_shutdown_does_not_wait_for_chains
    a_url_without_a_room_is_refused_at_once
    every_room_is_chained_while_it_is_used_and_then_let_go
    a_room_that_the_application_holds_stays_chained
    an_application_reaches_everybody_at_chained_servers_once
}

/// As quick as [`programs::quick`].
fn quickly() -> ChainOptions {
    let (from, spread) = (Duration::from_millis(20), Duration::from_millis(100));
    ChainOptions::default().retry(Retry { from, spread, at_most: spread, ..Retry::default() })
}

fn room() -> RoomName {
    RoomName::new("room").unwrap()
}

fn url(addr: SocketAddr) -> String {
    format!("ws://{addr}/room")
}

fn chain(here: &Running, there: SocketAddr) -> Chain {
    here.chain(room(), &url(there), quickly()).unwrap()
}

fn linked(here: &Running, there: SocketAddr) -> Chain {
    let chain = chain(here, there);
    wait(chain.linked()).unwrap();
    chain
}

/// A server that lets everybody in as a relay.
fn open_to_relays<R: Runtime>() -> Running {
    let server = Server::<R>::new(Config::default()).threads(1);
    server.admit(|_| Ok(Access::RELAY)).bind("127.0.0.1:0").unwrap()
}

fn same_text<R: Runtime>(programs: &[&Program<R>], chars: usize) -> bool {
    let text = programs[0].text();
    text.chars().count() == chars && programs.iter().all(|program| program.text() == text)
}

fn edits_and_awareness_cross_in_both_directions<R: Runtime>() {
    let (here, there) = (start::<R>(), start::<R>());
    let ann = Program::<R>::synced(here.local_addr());
    let bob = Program::<R>::synced(there.local_addr());
    ann.push("before, ");
    bob.push("also before, ");
    let chain = linked(&here, there.local_addr());
    wait_for("what was there before", || same_text(&[&ann, &bob], 21));
    ann.push("from here, ");
    wait_for("what was written here", || bob.text().contains("from here, "));
    bob.push("from there");
    wait_for("what was written there", || ann.text().contains("from there"));
    ann.session.awareness().set(Some("{\"name\":\"Ann\"}")).unwrap();
    bob.session.awareness().set(Some("{\"name\":\"Bob\"}")).unwrap();
    wait_for("each other's presence", || ann.others() == 1 && bob.others() == 1);
    ann.session.awareness().set(None).unwrap();
    wait_for("Ann's leaving", || bob.others() == 0);
    assert_eq!(chain.status().phase, ChainPhase::Linked);
    assert_eq!(chain.status().trouble, None);
}

/// A BigInt and a -0, as Yjs writes them into a map, which yrs turns into other numbers.
const NUMBERS: &[u8] = &[
    1, 2, 9, 0, 0x28, 1, 1, b'm', 1, b'b', 1, 122, 0, 0, 0, 0, 0, 0, 0, 5, 0x28, 1, 1, b'm', 1,
    b'z', 1, 125, 0x40, 0,
];

fn bytes_cross_unchanged<R: Runtime>() {
    let (here, there) = (start::<R>(), start::<R>());
    let _chain = linked(&here, there.local_addr());
    let (mut ann, _) = Peer::join(here.local_addr(), "room");
    let (mut bob, _) = Peer::join(there.local_addr(), "room");
    ann.update(NUMBERS);
    let is_update = |message: &[u8]| message.starts_with(&[0, 2]);
    assert_eq!(bob.wait_for(is_update)[3..], *NUMBERS);
    let (_eve, step2) = Peer::join(there.local_addr(), "room");
    assert!(support::contains(&step2, &NUMBERS[4..29]), "{step2:?}");
    bob.update(&typing(8, 0, "back"));
    ann.wait_for_content("back");
}

fn the_upstream_server_restarts_in_mid_edit<R: Runtime>() {
    let (here, store) = (start::<R>(), MemoryStore::new());
    let there = serve::<R>(&store, "127.0.0.1:0");
    let addr = there.local_addr();
    let chain = linked(&here, addr);
    let (ann, bob) = (Program::<R>::synced(here.local_addr()), Program::<R>::synced(addr));
    let mut there = Some(there);
    for count in 0..200 {
        ann.push("a");
        bob.push("b");
        if count == 60 {
            assert!(there.take().unwrap().shutdown().is_clean());
        }
        if count == 120 {
            wait_for("the loss to be seen", || chain.status().phase != ChainPhase::Linked);
            there = Some(serve::<R>(&store, &addr.to_string()));
        }
        thread::sleep(Duration::from_millis(1));
    }
    wait_for("all edits on both sides", || same_text(&[&ann, &bob], 400));
    assert_eq!(chain.status().phase, ChainPhase::Linked);
}

fn the_server_with_the_chain_restarts_in_mid_edit<R: Runtime>() {
    let (there, store) = (start::<R>(), MemoryStore::new());
    let here = serve::<R>(&store, "127.0.0.1:0");
    let addr = here.local_addr();
    let first = linked(&here, there.local_addr());
    let (ann, bob) = (Program::<R>::synced(addr), Program::<R>::synced(there.local_addr()));
    let mut running = Some((here, first));
    for count in 0..200 {
        ann.push("a");
        bob.push("b");
        if count == 60 {
            let (here, chain) = running.take().unwrap();
            assert!(here.shutdown().is_clean());
            assert_eq!(chain.status().phase, ChainPhase::Stopped);
        }
        if count == 120 {
            let here = serve::<R>(&store, &addr.to_string());
            let chain = chain(&here, there.local_addr());
            running = Some((here, chain));
        }
        thread::sleep(Duration::from_millis(1));
    }
    wait_for("all edits on both sides", || same_text(&[&ann, &bob], 400));
}

fn an_upstream_server_that_is_down_at_the_start_is_found_when_it_is_up<R: Runtime>() {
    let here = start::<R>();
    let nowhere = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let chain = chain(&here, nowhere);
    let ann = Program::<R>::synced(here.local_addr());
    ann.push("written alone");
    wait_for("trouble", || chain.status().trouble.is_some_and(|why| why.contains("connecting")));
    let there = serve::<R>(&MemoryStore::new(), &nowhere.to_string());
    wait(chain.linked()).unwrap();
    let bob = Program::<R>::synced(there.local_addr());
    wait_for("what was written alone", || bob.text() == "written alone");
}

fn more_people_are_seen_than_one_connection_may_show<R: Runtime>() {
    let (here, there) = (start::<R>(), open_to_relays::<R>());
    let _chain = linked(&here, there.local_addr());
    let bob = Program::<R>::synced(there.local_addr());
    let people = people::<R>(here.local_addr());
    wait_for("everybody there", || bob.others() == people.len());
}

fn an_upstream_server_that_knows_no_relays_shows_the_first_few<R: Runtime>() {
    let (here, there) = (start::<R>(), start::<R>());
    let _chain = linked(&here, there.local_addr());
    let bob = Program::<R>::synced(there.local_addr());
    let people = people::<R>(here.local_addr());
    wait_for("everybody here", || people.iter().all(|one| one.others() == people.len() - 1));
    wait_for("as many there as one may show", || bob.others() == 8);
    people[0].push("edited all the same");
    wait_for("an edit there", || bob.text() == "edited all the same");
    assert_eq!(bob.others(), 8);
}

fn people<R: Runtime>(addr: SocketAddr) -> Vec<Program<R>> {
    let people: Vec<Program<R>> = (0..20).map(|_| Program::<R>::synced(addr)).collect();
    for one in &people {
        one.session.awareness().set(Some("{\"here\":true}")).unwrap();
    }
    people
}

fn chains_in_a_circle_converge<R: Runtime>() {
    let servers = [open_to_relays::<R>(), open_to_relays::<R>(), open_to_relays::<R>()];
    let addr = |at: usize| servers[at % 3].local_addr();
    let _chains: Vec<Chain> = (0..3).map(|at| linked(&servers[at], addr(at + 1))).collect();
    let programs: Vec<_> = (0..3).map(|at| Program::<R>::synced(addr(at))).collect();
    for (at, program) in programs.iter().enumerate() {
        program.session.awareness().set(Some("{}")).unwrap();
        for _ in 0..50 {
            program.push(&at.to_string());
        }
    }
    let [one, two, three] = &programs[..] else { unreachable!() };
    wait_for("all edits everywhere", || same_text(&[one, two, three], 150));
    wait_for("all people everywhere", || programs.iter().all(|one| one.others() == 2));
    drop(programs);
    let last = Program::<R>::synced(addr(0));
    wait_for("all to be gone", || last.others() == 0);
}

fn a_chain_of_three_servers_is_one_room<R: Runtime>() {
    let servers = [open_to_relays::<R>(), open_to_relays::<R>(), open_to_relays::<R>()];
    let _first = linked(&servers[0], servers[1].local_addr());
    let _second = linked(&servers[1], servers[2].local_addr());
    let ann = Program::<R>::synced(servers[0].local_addr());
    let bob = Program::<R>::synced(servers[2].local_addr());
    ann.push("from one end, ");
    bob.push("from the other");
    ann.session.awareness().set(Some("{}")).unwrap();
    wait_for("both edits on both ends", || same_text(&[&ann, &bob], 28));
    wait_for("Ann at the other end", || bob.others() == 1);
    drop(ann);
    wait_for("Ann to be gone", || bob.others() == 0);
}

fn a_room_chained_to_itself_goes_on<R: Runtime>() {
    let here = start::<R>();
    let _chain = linked(&here, here.local_addr());
    let (ann, bob) = (Program::<R>::synced(here.local_addr()), Program::synced(here.local_addr()));
    ann.session.awareness().set(Some("{}")).unwrap();
    for _ in 0..50 {
        ann.push("x");
    }
    wait_for("all edits", || same_text::<R>(&[&ann, &bob], 50));
    wait_for("Ann", || bob.others() == 1);
}

fn a_dropped_chain_closes_its_link_and_makes_no_other<R: Runtime>() {
    let here = start::<R>();
    let upstream = Fake::start(|mut peer, _| {
        let end = peer.wait_for_close();
        assert_eq!(end.0, 1000, "{end:?}");
    });
    let chain = linked(&here, upstream.addr);
    let ann = Program::<R>::synced(here.local_addr());
    drop(chain);
    wait_for("the link to be closed", || upstream.over() == 1);
    ann.push("x");
    thread::sleep(Duration::from_millis(300));
    assert_eq!(upstream.came(), 1, "it is not dialled again");
    assert!(here.shutdown().is_clean());
}

fn a_refusal_ends_the_chain_and_not_the_room<R: Runtime>() {
    let here = start::<R>();
    let ann = Program::<R>::synced(here.local_addr());
    let upstream = Fake::start(|mut peer, _| peer.send_close(4403));
    let refused = chain(&here, upstream.addr);
    wait_for("the end", || refused.status().phase == ChainPhase::Stopped);
    assert!(wait(refused.linked()).unwrap_err().reason.contains("4403"));
    let there = Server::<R>::new(Config::default())
        .admit(|_| Err(yroom_net::Refusal::new(403, "not for you")))
        .bind("127.0.0.1:0")
        .unwrap();
    let refused = chain(&here, there.local_addr());
    wait_for("the end", || refused.status().phase == ChainPhase::Stopped);
    assert!(refused.status().trouble.unwrap().contains("not for you"));
    thread::sleep(Duration::from_millis(200));
    assert_eq!(upstream.came(), 1);
    let bob = Program::<R>::synced(here.local_addr());
    ann.push("on");
    wait_for("the room to go on", || bob.text() == "on");
}

fn a_room_that_is_deleted_here_is_not_fetched_again<R: Runtime>() {
    let (here, there) = (start::<R>(), start::<R>());
    let chain = linked(&here, there.local_addr());
    let bob = Program::<R>::synced(there.local_addr());
    bob.push("kept there");
    let ann = Program::<R>::synced(here.local_addr());
    wait_for("what is there", || ann.text() == "kept there");
    wait(here.rooms().delete(&room())).unwrap();
    wait_for("the end", || chain.status().phase == ChainPhase::Stopped);
    let late = Program::<R>::synced(here.local_addr());
    assert_eq!(late.text(), "");
    assert_eq!(bob.text(), "kept there");
}

fn other_close_codes_end_the_link_and_not_the_chain<R: Runtime>() {
    let here = start::<R>();
    let ann = Program::<R>::synced(here.local_addr());
    let upstream = Fake::start(|mut peer, count| match count {
        0 => peer.send_close(1013),
        1 => peer.send_close(1012),
        2 => peer.send_close(1009),
        3 => {}
        _ => peer.wait_for_content("written meanwhile"),
    });
    let _chain = chain(&here, upstream.addr);
    ann.push("written meanwhile");
    wait_for("the fifth link to have all", || upstream.over() >= 5);
    let bob = Program::<R>::synced(here.local_addr());
    assert_eq!(bob.text(), "written meanwhile");
}

fn what_an_upstream_server_may_only_show_stays_here<R: Runtime>() {
    let here = start::<R>();
    let there = Server::<R>::new(Config::default())
        .admit(|arrival| {
            Ok(if arrival.query().is_some() { Access::FULL } else { Access::READ_ONLY })
        })
        .bind("127.0.0.1:0")
        .unwrap();
    let chain = linked(&here, there.local_addr());
    let ann = Program::<R>::synced(here.local_addr());
    let (mut bob, _) = Peer::join(there.local_addr(), "room?write");
    ann.push("mine, ");
    bob.update(&typing_text(8, "theirs"));
    wait_for("what is written there", || ann.text().contains("theirs"));
    let late = Program::<R>::synced(there.local_addr());
    assert_eq!(late.text(), "theirs");
    assert_eq!(chain.status().phase, ChainPhase::Linked);
}

/// As [`typing`], in the type that programs show.
fn typing_text(client: u64, text: &str) -> Vec<u8> {
    let mut update = vec![1, 1, client as u8, 0, 4, 1, 4, b't', b'e', b'x', b't', text.len() as u8];
    update.extend(text.bytes());
    update.push(0);
    update
}

fn an_upstream_server_that_may_only_read_changes_nothing<R: Runtime>() {
    let (here, there) = (start::<R>(), start::<R>());
    let options = quickly().access(Access::READ_ONLY);
    let chain = here.chain(room(), &url(there.local_addr()), options).unwrap();
    wait(chain.linked()).unwrap();
    let ann = Program::<R>::synced(here.local_addr());
    let bob = Program::<R>::synced(there.local_addr());
    bob.push("kept there, ");
    ann.push("published");
    wait_for("what is published", || bob.text().contains("published"));
    assert_eq!(ann.text(), "published");
}

fn an_upstream_server_that_goes_silent_is_given_up_and_found_again<R: Runtime>() {
    let fast = Timeouts {
        ping_after: Duration::from_millis(200),
        pong_within: Duration::from_millis(200),
        closing: Duration::from_millis(200),
        ..Timeouts::default()
    };
    let server = Server::<R>::new(Config::default()).threads(1).timeouts(fast);
    let here = server.bind("127.0.0.1:0").unwrap();
    let upstream = Fake::start(|mut peer, count| match count {
        // Its cable is pulled: it takes in nothing and answers nothing.
        0 => thread::sleep(Duration::from_secs(3)),
        _ => peer.wait_for_content("said to nobody"),
    });
    let _chain = linked(&here, upstream.addr);
    let (mut ann, _) = Peer::join(here.local_addr(), "room");
    ann.update(&typing(7, 0, "said to nobody"));
    wait_for("the second link to have it", || upstream.over() >= 1);
}

fn an_upstream_server_that_reads_nothing_holds_nobody_up<R: Runtime>() {
    let here = start::<R>();
    let (go_on, halted) = std::sync::mpsc::channel::<()>();
    let halted = std::sync::Mutex::new(halted);
    let upstream = Fake::start(move |mut peer, _| {
        // Whoever drops the sender lets it go on.
        let _ = halted.lock().unwrap().recv();
        peer.wait_for_content("the last words");
    });
    let _chain = linked(&here, upstream.addr);
    let (mut ann, _) = Peer::join(here.local_addr(), "room");
    let (mut bob, _) = Peer::join(here.local_addr(), "room");
    let long = "x".repeat(100_000);
    for count in 0..100 {
        ann.update(&typing(7, count * 100_000, &long));
        // What bob has, has been through the room.
        bob.wait_for(|message| message.starts_with(&[0, 2]));
    }
    ann.update(&typing(7, 10_000_000, "the last words"));
    bob.wait_for_content("the last words");
    drop(go_on);
    wait_for("all of it upstream", || upstream.over() >= 1);
}

fn an_upstream_server_that_speaks_nonsense_is_closed_and_the_room_goes_on<R: Runtime>() {
    let here = start::<R>();
    let upstream = Fake::start(|mut peer, count| {
        let expected = match count {
            0 => {
                peer.send_raw(&[0x81, 2, b'h', b'i']);
                1003
            }
            1 => {
                peer.send_raw(&support::frame(support::BINARY, b"masked"));
                1002
            }
            2 => {
                peer.send_server(&[0, 2, 5, 1, 1, 1, 1, 1]);
                1007
            }
            _ => return,
        };
        assert_eq!(peer.wait_for_close().0, expected);
    });
    let chain = chain(&here, upstream.addr);
    wait_for("three bad links", || upstream.over() >= 3);
    assert!(chain.status().phase != ChainPhase::Stopped);
    let (ann, bob) = (Program::<R>::synced(here.local_addr()), Program::synced(here.local_addr()));
    ann.push("unharmed");
    wait_for("the room to go on", || same_text::<R>(&[&ann, &bob], 8));
}

fn credentials_are_asked_for_before_every_attempt<R: Runtime>() {
    let asked = Arc::new(AtomicUsize::new(0));
    let here = start::<R>();
    let there = Server::<R>::new(Config::default())
        .admit(|arrival| match arrival.parameter("token") {
            Some("2") => Ok(Access::FULL),
            Some(_) | None => Err(yroom_net::Refusal::new(503, "not yet")),
        })
        .bind("127.0.0.1:0")
        .unwrap();
    let count = Arc::clone(&asked);
    let options = quickly().credentials(move || {
        let number = count.fetch_add(1, Ordering::SeqCst);
        async move {
            if number == 0 {
                return Err(std::io::ErrorKind::TimedOut.into());
            }
            Ok(Credentials::default().query("token", &number.to_string()))
        }
    });
    let chain = here.chain(room(), &url(there.local_addr()), options).unwrap();
    wait(chain.linked()).unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 3);
    assert!(!format!("{chain:?}").contains("token"));
}

fn a_shutdown_does_not_wait_for_chains<R: Runtime>() {
    let nowhere = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    // Accepts, and never answers.
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let there = start::<R>();
    let here = start::<R>();
    let slow = ChainOptions::default();
    let addrs = [nowhere, mute.local_addr().unwrap(), there.local_addr()];
    let chains = addrs.map(|addr| here.chain(room(), &url(addr), slow.clone()).unwrap());
    wait(chains[2].linked()).unwrap();
    let begun = Instant::now();
    assert!(here.shutdown().is_clean());
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    for chain in &chains {
        assert_eq!(chain.status().phase, ChainPhase::Stopped);
        wait(chain.linked()).unwrap_err();
    }
}

fn a_url_without_a_room_is_refused_at_once<R: Runtime>() {
    let here = start::<R>();
    for url in ["ws://127.0.0.1:1", "http://127.0.0.1:1/room", "room"] {
        assert!(here.chain(room(), url, quickly()).is_err(), "{url}");
    }
}

/// A server that unloads at once, each of whose rooms follows the one of its name.
fn following<R: Runtime>(there: SocketAddr) -> (Running, ChainAll) {
    let config = Config { unload_after: Duration::ZERO, ..Config::default() };
    let here = Server::<R>::new(config).threads(2).bind("127.0.0.1:0").unwrap();
    let tell = |room: &RoomName, why: &str| panic!("{room}: {why}");
    let url = format!("ws://{there}/all/");
    let all = here.chain_all(&url, quickly(), Duration::ZERO, tell).unwrap();
    (here, all)
}

fn is_loaded(server: &Running, room: &str) -> bool {
    wait(server.rooms().find(&RoomName::new(room).unwrap())).unwrap().is_some()
}

fn every_room_is_chained_while_it_is_used_and_then_let_go<R: Runtime>() {
    let there = open_to_relays::<R>();
    let (here, all) = following::<R>(there.local_addr());
    let rooms = ["one", "two", "three"];
    for (at, room) in rooms.iter().enumerate() {
        let (mut ann, _) = Peer::join(here.local_addr(), room);
        let (mut bob, _) = Peer::join(there.local_addr(), &format!("all/{room}"));
        ann.update(&typing(1 + at as u64, 0, &format!("<{room}>")));
        bob.wait_for_content(&format!("<{room}>"));
        thread::sleep(Duration::from_millis(1500));
        bob.update(&typing(11 + at as u64, 0, "back"));
        ann.wait_for_content("back");
    }
    wait_for("unused rooms to be let go", || rooms.iter().all(|room| !is_loaded(&here, room)));
    let (mut bob, _) = Peer::join(there.local_addr(), "all/one");
    bob.update(&typing(21, 0, "meanwhile"));
    let (mut ann, all_of_it) = Peer::join(here.local_addr(), "one");
    if !support::contains(&all_of_it, b"meanwhile") {
        ann.wait_for_content("meanwhile");
    }
    drop(all);
    ann.update(&typing(31, 0, "unlinked"));
    wait_for("the links to be closed", || {
        let room = RoomName::new("all/one").unwrap();
        wait(there.rooms().find(&room)).unwrap().is_some_and(|info| info.peers == 1)
    });
}

fn a_room_that_the_application_holds_stays_chained<R: Runtime>() {
    let there = open_to_relays::<R>();
    let (here, _all) = following::<R>(there.local_addr());
    let room = wait(here.rooms().get(&RoomName::new("held").unwrap())).unwrap();
    thread::sleep(Duration::from_millis(2500));
    let (mut bob, _) = Peer::join(there.local_addr(), "all/held");
    bob.update(&typing(1, 0, "from there"));
    let arrived = || support::contains(&wait(room.snapshot()).unwrap(), b"from there");
    wait_for("what is written there", arrived);
    wait(room.apply(typing(2, 0, "from here"))).unwrap();
    bob.wait_for_content("from here");
    drop(room);
    wait_for("it to be let go", || !is_loaded(&here, "held"));
}

/// A server that takes who asks with `?link` for another server, and whose application notes what it is
/// given.
fn member<R: Runtime>() -> (Running, Arc<AtomicUsize>) {
    let given = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&given);
    let server = Server::<R>::new(Config::default())
        .threads(1)
        .admit(|arrival| Ok(if arrival.query().is_some() { Access::RELAY } else { Access::FULL }))
        .on_application_message([200], move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
            async {}
        });
    (server.bind("127.0.0.1:0").unwrap(), given)
}

fn an_application_reaches_everybody_at_chained_servers_once<R: Runtime>() {
    let servers = [member::<R>(), member::<R>(), member::<R>()];
    let addr = |at: usize| servers[at % 3].0.local_addr();
    let _circle: Vec<Chain> = (0..3)
        .map(|at| {
            let url = format!("ws://{}/room?link", addr(at + 1));
            let chain = servers[at].0.chain(room(), &url, quickly()).unwrap();
            wait(chain.linked()).unwrap();
            chain
        })
        .collect();
    let mut peers: Vec<Peer> = (0..3).map(|at| Peer::join(addr(at), "room").0).collect();
    let own = |message: &[u8]| message.starts_with(&[0xc8, 1]);
    for (at, (server, _)) in servers.iter().enumerate() {
        let room = wait(server.rooms().get(&room())).unwrap();
        let told = wait(room.publish(vec![0xc8, 1, at as u8, 1])).unwrap();
        assert_eq!(told, 1, "the peer of its own");
        wait(room.publish(vec![0xc8, 1, at as u8, 2])).unwrap();
        for peer in &mut peers {
            assert_eq!(peer.wait_for(own), [0xc8, 1, at as u8, 1]);
            assert_eq!(peer.wait_for(own), [0xc8, 1, at as u8, 2], "and nothing in between");
        }
    }
    let given = || servers.iter().map(|(_, given)| given.load(Ordering::SeqCst)).sum::<usize>();
    wait_for("the other two applications to have each", || given() == 12);
    let (mut ann, _) = Peer::join(addr(0), "room");
    ann.send(&[&[103][..], &[7; 16], &[16, 0xc8, 1, 9]].concat());
    ann.update(&typing(1, 0, "after it"));
    for peer in &mut peers {
        let next = peer.wait_for(|message| own(message) || support::contains(message, b"after it"));
        assert!(!own(&next), "a client spoke for the application");
    }
    assert_eq!(given(), 12);
}
