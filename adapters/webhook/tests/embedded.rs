//! A webhook in an application of its own, with a real receiver.
#![allow(missing_docs, reason = "the names of tests are sentences")]

mod receiver;

use receiver::{Answer, PATIENCE, Receiver};
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use yroom::{Config, RoomName};
use yroom_net::{Running, Server, runtime::Smol};
use yroom_webhook::{InvalidUrl, Topic, Trouble, Webhook};
use yrs::{Text, WriteTxn};

fn wait<T>(future: impl Future<Output = T>) -> T {
    smol::block_on(future)
}

/// A server that unloads rooms at once.
fn server() -> Running {
    server_with(Duration::ZERO)
}

fn server_with(unload_after: Duration) -> Running {
    let config = Config { unload_after, ..Config::default() };
    Server::<Smol>::new(config).threads(1).start().unwrap()
}

fn webhook(receiver: &Receiver) -> Webhook {
    let (wait, most) = (Duration::from_millis(200), Duration::from_secs(2));
    let webhook = Webhook::new(&receiver.url).unwrap().topics(Topic::ALL).debounce(wait, most);
    webhook.objects(["t:Text".parse().unwrap()])
}

fn name(room: &str) -> RoomName {
    RoomName::new(room).unwrap()
}

fn push(running: &Running, room: &str, text: &'static str) {
    wait(async {
        let room = running.rooms().get(&name(room)).await.unwrap();
        room.edit(move |txn| txn.get_or_insert_text("t").push(txn, text)).await.unwrap();
    });
}

#[test]
fn a_room_that_is_deleted_is_told_and_its_change_is_not() {
    let (running, receiver) = (server_with(PATIENCE), Receiver::willing());
    let slow = webhook(&receiver).debounce(PATIENCE, PATIENCE);
    let delivery = slow.start(running.rooms()).unwrap();
    push(&running, "gone", "x");
    push(&running, "kept", "y");
    wait(running.rooms().delete(&name("gone"))).unwrap();
    receiver.wait_for(|post| post.is("delete", "gone"));
    assert!(running.shutdown().is_clean());
    assert!(delivery.finish(PATIENCE).is_empty());
    let posts = receiver.posts();
    assert!(posts.iter().any(|post| post.is("change", "kept")));
    assert!(!posts.iter().any(|post| post.is("change", "gone")), "{posts:#?}");
    let kept: Vec<String> = posts
        .iter()
        .filter(|post| post.json()["room"] == "kept")
        .map(receiver::Post::event)
        .collect();
    assert_eq!(kept.first().map(String::as_str), Some("open"));
}

#[test]
fn a_room_that_is_deleted_without_being_loaded_is_told() {
    let (running, receiver) = (server(), Receiver::willing());
    let deleted = webhook(&receiver).topics([Topic::Delete]).start(running.rooms()).unwrap();
    wait(running.rooms().delete(&name("unheard-of"))).unwrap();
    receiver.wait_for(|post| post.is("delete", "unheard-of"));
    drop(deleted);
}

#[test]
fn a_room_that_is_unloaded_is_loaded_to_be_told_of() {
    let (running, receiver) = (server(), Receiver::willing());
    let delivery = webhook(&receiver).topics([Topic::Change]).start(running.rooms()).unwrap();
    push(&running, "room", "hello");
    let until = Instant::now() + PATIENCE;
    while wait(running.rooms().find(&name("room"))).unwrap().is_some() {
        assert!(Instant::now() < until, "it stays loaded");
    }
    let post = receiver.wait_for(|post| post.is("change", "room"));
    assert_eq!(post.text().as_deref(), Some("hello"));
    drop(delivery);
}

#[test]
fn what_is_too_large_or_gone_is_told_without_content_and_said() {
    let (running, receiver) = (server(), Receiver::willing());
    let said: Arc<Mutex<Vec<Trouble>>> = Arc::default();
    let heard = Arc::clone(&said);
    let small = webhook(&receiver).max_bytes(100).observe(move |trouble| {
        heard.lock().unwrap().push(trouble.clone());
    });
    let delivery = small.start(running.rooms()).unwrap();
    push(
        &running,
        "large",
        "0123456789012345678901234567890123456789012345678901234567890123456789\
                             0123456789012345678901234567890123456789",
    );
    let post = receiver.wait_for(|post| post.is("change", "large"));
    assert!(post.json()["omitted"].as_str().unwrap().contains("more than 100"), "{}", post.body);
    // The document fits, the JSON of it does not.
    push(
        &running,
        "quotes",
        "\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"",
    );
    let post = receiver.wait_for(|post| post.is("change", "quotes"));
    assert!(post.json()["omitted"].is_string(), "{}", post.body);
    assert!(running.shutdown().is_clean());
    assert!(delivery.finish(PATIENCE).is_empty());
    assert!(matches!(said.lock().unwrap()[0], Trouble::Omitted { .. }));
}

#[test]
fn without_a_store_the_last_change_is_told_without_content() {
    let (running, receiver) = (server(), Receiver::willing());
    let slow = webhook(&receiver).debounce(PATIENCE, PATIENCE);
    let delivery = slow.start(running.rooms()).unwrap();
    push(&running, "room", "x");
    assert!(running.shutdown().is_clean());
    assert!(delivery.finish(PATIENCE).is_empty());
    let post = receiver.wait_for(|post| post.is("change", "room"));
    assert_eq!(post.json()["omitted"], "the server has ended");
}

#[test]
fn a_receiver_that_refuses_is_asked_once_and_no_redirect_is_followed() {
    let running = server();
    for status in [301, 307, 404, 410] {
        let receiver = Receiver::start(move |_, _| Answer::Status(status));
        let said: Arc<Mutex<Vec<Trouble>>> = Arc::default();
        let heard = Arc::clone(&said);
        let changes = webhook(&receiver).topics([Topic::Change]);
        let delivery = changes
            .observe(move |trouble| heard.lock().unwrap().push(trouble.clone()))
            .start(running.rooms())
            .unwrap();
        push(&running, "room", "x");
        let until = Instant::now() + PATIENCE;
        while said.lock().unwrap().is_empty() {
            assert!(Instant::now() < until, "{status}");
            std::thread::sleep(Duration::from_millis(10));
        }
        let said = said.lock().unwrap().clone();
        assert!(
            matches!(&said[..], [Trouble::GivenUp { attempts: 1, why, .. }] if why.contains(&status.to_string())),
            "{said:?}"
        );
        assert_eq!(receiver.posts().len(), 1);
        drop(delivery);
    }
}

#[test]
fn what_is_no_url_of_http_is_refused() {
    for url in ["", "example.org", "ftp://h/", "http://", "https:///x", "http://h:port/"] {
        assert_eq!(Webhook::new(url).err(), Some(InvalidUrl), "{url}");
    }
    assert!(Webhook::new("https://h:8443/x?y=z").is_ok());
}
