//! The handle: rooms that are got, written to, copied, renamed, deleted.

use crate::stores::{Appends, Told};
use crate::support::{Got, Peer, contains, typing};
use crate::{eventually, name, text, wait};
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use yroom::{Access, CloseCode, Config, Event, Limits, NotApplied, RoomPhase};
use yroom_net::app::{News, RoomError};
use yroom_net::store::{MemoryStore, Transient};
use yroom_net::{Running, Runtime, Server};

suite! {
    a_room_is_kept_until_its_last_handle_is_dropped
    what_the_application_applies_is_stored_and_seen
    getting_a_room_waits_for_its_load
    a_load_that_fails_is_an_error_and_the_next_may_succeed
    a_store_that_takes_nothing_is_told_in_time
    a_fork_goes_its_own_way_and_is_merged_again
    a_room_is_renamed_with_all_that_its_peers_wrote
    a_room_is_not_copied_over_another
    a_deleted_room_is_gone_and_a_new_one_may_come
    peers_are_listed_told_and_closed
    a_peer_loses_its_rights_while_it_is_there_and_gets_them_back
    a_bot_is_seen_while_the_room_is_held
    a_transient_room_leaves_nothing
    what_happens_is_told_in_order
    a_server_that_has_ended_says_so
}

fn start<R: Runtime>(store: &Told) -> Running {
    start_with::<R>(store, Config { unload_after: Duration::ZERO, ..Config::default() })
}

fn start_with<R: Runtime>(store: &Told, config: Config) -> Running {
    let server = Server::<R>::new(config).threads(2).store(Arc::new(store.clone()));
    server.bind("127.0.0.1:0").expect("it binds")
}

fn a_room_is_kept_until_its_last_handle_is_dropped<R: Runtime>() {
    let server = start::<R>(&Told::default());
    let rooms = server.rooms();
    let room = wait(rooms.get(&name("kept"))).unwrap();
    let other = wait(rooms.get(&name("other"))).unwrap();
    let listed = wait(rooms.list()).unwrap();
    let names: Vec<&str> = listed.iter().map(|room| room.name.as_str()).collect();
    assert_eq!(names, ["kept", "other"]);
    assert!(listed.iter().all(|room| room.phase == RoomPhase::Live && room.peers == 0));
    assert_eq!((room.name().as_str(), other.name().as_str()), ("kept", "other"));
    let again = room.clone();
    drop((room, other));
    eventually(|| wait(rooms.list()).unwrap().len() == 1);
    wait(again.apply(typing(1, 0, "still here"))).unwrap();
    assert_eq!(text(&wait(again.snapshot()).unwrap()), "still here");
    drop(again);
    eventually(|| wait(rooms.list()).unwrap().is_empty());
    assert!(server.shutdown().is_clean());
}

fn what_the_application_applies_is_stored_and_seen<R: Runtime>() {
    let store = Told::default();
    let server = start::<R>(&store);
    let room = wait(server.rooms().get(&name("room"))).unwrap();
    let (mut ann, _) = Peer::join(server.local_addr(), "room");
    wait(room.apply(typing(7, 0, "from within"))).unwrap();
    assert!(!store.inner.get(&name("room")).is_absent(), "stored before it is said to be");
    let seen = ann.wait_for_content("from within");
    assert!(seen.ends_with(&typing(7, 0, "from within")), "as it was given");
    ann.update(&typing(1, 0, "from ann"));
    eventually(|| text(&wait(room.snapshot()).unwrap()).contains("from ann"));
    // Refused whole.
    let gap = wait(room.apply(typing(8, 5, "too early")));
    assert_eq!(gap, Err(RoomError::NotApplied(NotApplied::Gap)));
    let nonsense = wait(room.apply(b"nonsense".to_vec()));
    assert!(matches!(nonsense, Err(RoomError::NotApplied(NotApplied::Invalid(_)))));
    let state = wait(room.state_vector()).unwrap();
    assert_eq!(state.get(yroom::update::ClientId(7)), 11);
    assert_eq!(state.get(yroom::update::ClientId(8)), 0);
    assert!(server.shutdown().is_clean());
}

fn getting_a_room_waits_for_its_load<R: Runtime>() {
    let store = Told::default();
    store.hold_loads();
    let server = start::<R>(&store);
    let rooms = server.rooms();
    let getting = thread::spawn(move || wait(rooms.get(&name("slow"))));
    eventually(|| {
        let listed = wait(server.rooms().list()).unwrap();
        listed.first().is_some_and(|room| room.phase == RoomPhase::Loading)
    });
    assert!(!getting.is_finished());
    store.let_go();
    let room = getting.join().unwrap().unwrap();
    assert_eq!(wait(room.info()).unwrap().phase, RoomPhase::Live);
    // Somebody who does not wait to the end leaves no hold behind.
    store.hold_loads();
    let rooms = server.rooms();
    {
        let wanted = name("unwanted");
        let mut getting = std::pin::pin!(rooms.get(&wanted));
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(getting.as_mut().poll(&mut cx).is_pending());
    }
    eventually(|| wait(rooms.list()).unwrap().len() == 2);
    store.let_go();
    eventually(|| wait(rooms.list()).unwrap().len() == 1);
}

fn a_load_that_fails_is_an_error_and_the_next_may_succeed<R: Runtime>() {
    let store = Told::default();
    store.fail_loads(1);
    let server = start::<R>(&store);
    let rooms = server.rooms();
    match wait(rooms.get(&name("room"))) {
        Err(RoomError::NotLoaded(fault)) => assert_eq!(fault.message, "told to fail"),
        other => panic!("{other:?}"),
    }
    let room = wait(rooms.get(&name("room"))).unwrap();
    assert_eq!(wait(room.snapshot()).unwrap(), yroom::update::EMPTY);
}

fn a_store_that_takes_nothing_is_told_in_time<R: Runtime>() {
    let store = Told::default();
    let limits = Limits { degraded_for: Duration::from_millis(300), ..Limits::default() };
    let server = start_with::<R>(&store, Config { limits, ..Config::default() });
    let room = wait(server.rooms().get(&name("room"))).unwrap();
    store.appends(Appends::Ignore);
    assert_eq!(wait(room.apply(typing(1, 0, "perhaps"))), Err(RoomError::NotStored));
    store.appends(Appends::Take);
    store.let_go();
    wait(room.flush()).unwrap();
    assert_eq!(text(&wait(room.snapshot()).unwrap()), "perhaps");
    // While it fails nothing more is taken in.
    store.appends(Appends::Fail);
    assert_eq!(wait(room.apply(typing(1, 7, " not"))), Err(RoomError::NotStored));
    let refused = wait(room.apply(typing(2, 0, "no")));
    assert_eq!(refused, Err(RoomError::NotApplied(NotApplied::Congested)));
    store.appends(Appends::Take);
    eventually(|| text(&wait(room.snapshot()).unwrap()) == "perhaps not");
    assert!(server.shutdown().is_clean());
}

fn a_fork_goes_its_own_way_and_is_merged_again<R: Runtime>() {
    let store = Told::default();
    let server = start::<R>(&store);
    let rooms = server.rooms();
    let (trunk, branch) = (name("trunk"), name("branch"));
    let room = wait(rooms.get(&trunk)).unwrap();
    wait(room.apply(typing(1, 0, "one"))).unwrap();
    wait(rooms.fork(&trunk, &branch)).unwrap();
    assert!(!store.inner.get(&branch).is_absent(), "stored before it is said to be");
    wait(room.apply(typing(1, 3, " two"))).unwrap();
    let copy = wait(rooms.get(&branch)).unwrap();
    assert_eq!(text(&wait(copy.snapshot()).unwrap()), "one");
    wait(copy.apply(typing(2, 0, "!"))).unwrap();
    wait(rooms.merge(&branch, &trunk)).unwrap();
    let merged = text(&wait(room.snapshot()).unwrap());
    assert!(merged == "one two!" || merged == "!one two", "{merged}");
    wait(rooms.merge(&name("nothing"), &trunk)).unwrap();
    assert!(server.shutdown().is_clean());
}

fn a_room_is_renamed_with_all_that_its_peers_wrote<R: Runtime>() {
    let store = Told::default();
    let server = start::<R>(&store);
    let rooms = server.rooms();
    let (old, new) = (name("old"), name("new"));
    let (mut ann, _) = Peer::join(server.local_addr(), "old");
    ann.update(&typing(1, 0, "all of it"));
    let (_bob, _) = Peer::join(server.local_addr(), "old");
    eventually(|| !store.inner.get(&old).is_absent());
    wait(rooms.rename(&old, &new)).unwrap();
    assert_eq!(ann.wait_for_close().0, 4404);
    assert!(store.inner.get(&old).is_absent());
    let (_cal, all) = Peer::join(server.local_addr(), "new");
    assert!(contains(&all, b"all of it"));
    assert_eq!(wait(rooms.rename(&old, &name("third"))), Err(RoomError::Empty));
    assert!(server.shutdown().is_clean());
}

fn a_room_is_not_copied_over_another<R: Runtime>() {
    let store = Told::default();
    let server = start::<R>(&store);
    let rooms = server.rooms();
    let (from, stored, open) = (name("from"), name("stored"), name("open"));
    wait(wait(rooms.get(&from)).unwrap().apply(typing(1, 0, "from"))).unwrap();
    wait(wait(rooms.get(&stored)).unwrap().apply(typing(1, 0, "other"))).unwrap();
    eventually(|| wait(rooms.list()).unwrap().is_empty());
    let _open = wait(rooms.get(&open)).unwrap();
    for target in [&stored, &open, &from] {
        assert_eq!(wait(rooms.fork(&from, target)), Err(RoomError::Exists), "{target}");
        assert_eq!(wait(rooms.rename(&from, target)), Err(RoomError::Exists), "{target}");
    }
    let kept = wait(wait(rooms.get(&stored)).unwrap().snapshot()).unwrap();
    assert_eq!(text(&kept), "other");
    // Of many at once one wins.
    let many: Vec<_> = (0..8)
        .map(|_| {
            let (rooms, from) = (rooms.clone(), from.clone());
            thread::spawn(move || wait(rooms.fork(&from, &name("wanted"))))
        })
        .collect();
    let results: Vec<_> = many.into_iter().map(|fork| fork.join().unwrap()).collect();
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "{results:?}");
    let copy = wait(wait(rooms.get(&name("wanted"))).unwrap().snapshot()).unwrap();
    assert_eq!(text(&copy), "from");
}

fn a_deleted_room_is_gone_and_a_new_one_may_come<R: Runtime>() {
    let store = Told::default();
    let server = start::<R>(&store);
    let rooms = server.rooms();
    let room = wait(rooms.get(&name("room"))).unwrap();
    let (mut ann, _) = Peer::join(server.local_addr(), "room");
    wait(room.apply(typing(1, 0, "secret"))).unwrap();
    wait(rooms.delete(&name("room"))).unwrap();
    assert_eq!(ann.wait_for_close().0, 4404);
    assert!(store.inner.get(&name("room")).is_absent());
    assert_eq!(wait(room.snapshot()), Err(RoomError::Gone));
    assert_eq!(wait(room.apply(typing(1, 6, "!"))), Err(RoomError::Gone));
    assert_eq!(wait(room.edit(|_| ())), Err(RoomError::Gone));
    let (_bob, nothing) = Peer::join(server.local_addr(), "room");
    assert_eq!(nothing, [0, 1, 2, 0, 0]);
    // One that was never there is as good as deleted.
    wait(rooms.delete(&name("never"))).unwrap();
    assert!(server.shutdown().is_clean());
}

fn peers_are_listed_told_and_closed<R: Runtime>() {
    let server = start::<R>(&Told::default());
    let room = wait(server.rooms().get(&name("room"))).unwrap();
    let (mut ann, _) = Peer::join(server.local_addr(), "room");
    let first = wait(room.peers()).unwrap().remove(0);
    let (mut bob, _) = Peer::join(server.local_addr(), "room");
    assert_eq!(wait(room.peers()).unwrap().len(), 2);
    assert_eq!(wait(first.send(vec![125, 1])), Ok(yroom::Told::Sent));
    ann.wait_for(|message| message == [125, 1]);
    assert_eq!(wait(room.broadcast(vec![125, 2])), Ok(2));
    ann.wait_for(|message| message == [125, 2]);
    // The first was not for him.
    let got = bob.wait_for(|message| message[0] == 125);
    assert_eq!(got, [125, 2]);
    wait(first.close(CloseCode(4401), "enough")).unwrap();
    assert_eq!(ann.wait_for_close(), (4401, "enough".to_owned()));
    eventually(|| wait(room.peers()).unwrap().len() == 1);
    assert_eq!(wait(first.send(vec![125, 3])), Ok(yroom::Told::Gone));
    wait(room.close(CloseCode(4400), "all of you")).unwrap();
    assert_eq!(bob.wait_for_close(), (4400, "all of you".to_owned()));
    assert_eq!(wait(room.info()).unwrap().phase, RoomPhase::Live, "it is held");
}

fn a_peer_loses_its_rights_while_it_is_there_and_gets_them_back<R: Runtime>() {
    let server = start::<R>(&Told::default());
    let room = wait(server.rooms().get(&name("room"))).unwrap();
    let (mut ann, _) = Peer::join(server.local_addr(), "room");
    let (mut bob, _) = Peer::join(server.local_addr(), "room");
    let first = wait(room.peers()).unwrap().remove(0);
    assert_eq!(first.room(), room.name());
    wait(first.set_access(Access::READ_ONLY)).unwrap();
    ann.update(&typing(1, 0, "lost"));
    bob.update(&typing(2, 0, "for a reader"));
    ann.wait_for_content("for a reader");
    wait(first.set_access(Access::FULL)).unwrap();
    ann.update(&typing(3, 0, "heard again"));
    bob.wait_for_content("heard again");
    let all = text(&wait(room.snapshot()).unwrap());
    assert!(all.contains("heard again") && !all.contains("lost"), "{all}");
    let gone = Access { expires_at: Some(yroom::Timestamp::ZERO), ..Access::FULL };
    wait(first.set_access(gone)).unwrap();
    assert_eq!(ann.wait_for_close().0, 4401);
    wait(first.set_access(Access::FULL)).expect("of one that is gone it changes nothing");
}

fn a_bot_is_seen_while_the_room_is_held<R: Runtime>() {
    let server = start::<R>(&Told::default());
    let room = wait(server.rooms().get(&name("room"))).unwrap();
    let (mut ann, _) = Peer::join(server.local_addr(), "room");
    let mut events = server.rooms().events();
    wait(room.set_presence(77, Some(r#"{"name":"bot"}"#))).unwrap();
    ann.wait_for(|message| message[0] == 1 && contains(message, br#"{"name":"bot"}"#));
    assert_eq!(wait(room.presence()).unwrap()[&77], r#"{"name":"bot"}"#);
    match wait(events.next()) {
        Some(News::Happened(happening)) => match happening.event {
            Event::PresenceChanged { states, .. } => assert!(contains(&states, b"bot")),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
    let (mut bob, _) = Peer::join(server.local_addr(), "room");
    bob.send(&[3]);
    bob.wait_for(|message| message[0] == 1 && contains(message, br#"{"name":"bot"}"#));
    drop(room);
    ann.wait_for(|message| message[0] == 1 && contains(message, b"null"));
}

fn a_transient_room_leaves_nothing<R: Runtime>() {
    let inner = MemoryStore::new();
    let store = Transient::new(Arc::new(inner.clone()), |name: &yroom::RoomName| {
        name.as_str().starts_with("chat/")
    });
    let config = Config { unload_after: Duration::ZERO, ..Config::default() };
    let server =
        Server::<R>::new(config).store(Arc::new(store)).bind("127.0.0.1:0").expect("it binds");
    let (mut ann, _) = Peer::join(server.local_addr(), "chat/1");
    let (mut bob, _) = Peer::join(server.local_addr(), "chat/1");
    ann.update(&typing(1, 0, "psst"));
    bob.wait_for_content("psst");
    let (cal, all) = Peer::join(server.local_addr(), "chat/1");
    assert!(contains(&all, b"psst"));
    assert!(inner.get(&name("chat/1")).is_absent());
    wait(server.rooms().fork(&name("chat/1"), &name("chat/2"))).unwrap();
    wait(server.rooms().fork(&name("chat/1"), &name("minutes"))).unwrap();
    assert!(inner.get(&name("chat/2")).is_absent());
    assert!(!inner.get(&name("minutes")).is_absent());
    ann.leave();
    bob.leave();
    cal.leave();
    eventually(|| wait(server.rooms().list()).unwrap().is_empty());
    let (_dan, nothing) = Peer::join(server.local_addr(), "chat/1");
    assert_eq!(nothing, [0, 1, 2, 0, 0]);
}

fn what_happens_is_told_in_order<R: Runtime>() {
    let server = start::<R>(&Told::default());
    let mut events = server.rooms().events();
    let (ann, _) = Peer::join(server.local_addr(), "room");
    let room = wait(server.rooms().get(&name("room"))).unwrap();
    let peer = wait(room.peers()).unwrap()[0].id();
    drop(room);
    ann.leave();
    eventually(|| wait(server.rooms().list()).unwrap().is_empty());
    assert!(server.shutdown().is_clean());
    let mut told = Vec::new();
    while let Some(news) = wait(events.next()) {
        let News::Happened(happening) = news else { panic!("{news:?}") };
        assert_eq!(happening.room.as_str(), "room");
        told.push(match happening.event {
            Event::RoomOpened { .. } => "opened",
            Event::RoomLive { .. } => "live",
            Event::PeerJoined { .. } => "joined",
            Event::PeerSynced { .. } => "synced",
            Event::PeerLeft { .. } => "left",
            Event::RoomClosed { .. } => "closed",
            other => panic!("{other:?}"),
        });
        assert!(happening.peer.is_none_or(|it| it == peer));
        let about_peer = matches!(told.last(), Some(&("joined" | "synced" | "left")));
        assert_eq!(happening.peer.is_some(), about_peer);
    }
    assert_eq!(told, ["opened", "joined", "live", "synced", "left", "closed"]);
}

fn a_server_that_has_ended_says_so<R: Runtime>() {
    let server = start::<R>(&Told::default());
    let rooms = server.rooms();
    let room = wait(rooms.get(&name("room"))).unwrap();
    let (mut ann, _) = Peer::join(server.local_addr(), "room");
    wait(room.apply(typing(1, 0, "kept"))).unwrap();
    assert!(server.shutdown().is_clean(), "a hold keeps nobody");
    while !matches!(ann.next(), Got::End) {}
    assert_eq!(wait(rooms.get(&name("room"))).map(drop), Err(RoomError::Stopped));
    assert_eq!(wait(rooms.list()), Err(RoomError::Stopped));
    assert_eq!(wait(room.snapshot()), Err(RoomError::Stopped));
    assert_eq!(wait(room.edit(|_| ())), Err(RoomError::Stopped));
    assert_eq!(wait(rooms.delete(&name("room"))), Err(RoomError::Stopped));
    assert_eq!(wait(rooms.events().next()), None);
}
