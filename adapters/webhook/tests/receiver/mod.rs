//! A receiver of notices on a blocking socket, which answers as a test says.

#![allow(dead_code, reason = "shared by several test programs, each using a part")]

use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// How long a test waits for what has to come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Status(u16),
    /// None at all, and the connection stays.
    Silence,
    /// The connection ends.
    HangUp,
}

/// A request, and what became of it.
#[derive(Clone, Debug)]
pub(crate) struct Post {
    /// The head in lower case.
    pub(crate) head: String,
    pub(crate) body: String,
    pub(crate) answer: Answer,
}

impl Post {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("JSON")
    }

    pub(crate) fn event(&self) -> String {
        self.json()["event"].as_str().expect("an event").to_owned()
    }

    pub(crate) fn is(&self, event: &str, room: &str) -> bool {
        self.answer == Answer::Status(200)
            && self.json()["event"] == event
            && self.json()["room"] == room
    }

    /// The text "t" of the document.
    pub(crate) fn text(&self) -> Option<String> {
        self.json()["data"]["t"]["content"].as_str().map(str::to_owned)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let line = self.head.lines().find_map(|line| line.strip_prefix(name))?;
        line.strip_prefix(": ")
    }
}

/// Clones are the same one.
#[derive(Clone)]
pub(crate) struct Receiver {
    pub(crate) url: String,
    posts: Arc<(Mutex<Vec<Post>>, Condvar)>,
}

impl Receiver {
    /// Answers by the number of the request, and the request.
    pub(crate) fn start(answer: impl Fn(usize, &Post) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/hook?x=1", listener.local_addr().unwrap());
        let receiver = Self { url, posts: Arc::default() };
        let (serving, answer) = (receiver.clone(), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (serving, answer) = (serving.clone(), Arc::clone(&answer));
                thread::spawn(move || serving.serve(&stream.unwrap(), &*answer));
            }
        });
        receiver
    }

    pub(crate) fn willing() -> Self {
        Self::start(|_, _| Answer::Status(200))
    }

    /// All that came.
    pub(crate) fn posts(&self) -> Vec<Post> {
        self.posts.0.lock().unwrap().clone()
    }

    /// Waits for a request like this.
    pub(crate) fn wait_for(&self, wanted: impl Fn(&Post) -> bool) -> Post {
        let until = Instant::now() + PATIENCE;
        let mut posts = self.posts.0.lock().unwrap();
        loop {
            if let Some(post) = posts.iter().find(|post| wanted(post)) {
                return post.clone();
            }
            let rest = until.saturating_duration_since(Instant::now());
            assert!(!rest.is_zero(), "this is all that came: {posts:#?}");
            posts = self.posts.1.wait_timeout(posts, rest).unwrap().0;
        }
    }

    fn serve(&self, stream: &TcpStream, answer: &impl Fn(usize, &Post) -> Answer) {
        let mut reader = BufReader::new(stream);
        while let Some(mut post) = read(&mut reader) {
            let mut posts = self.posts.0.lock().unwrap();
            post.answer = answer(posts.len(), &post);
            let answered = post.answer;
            posts.push(post);
            drop(posts);
            self.posts.1.notify_all();
            match answered {
                Answer::Status(status) => {
                    let head = format!("HTTP/1.1 {status} x\r\nLocation: /elsewhere\r\n");
                    let mut stream = stream;
                    let _ =
                        stream.write_all(format!("{head}Content-Length: 2\r\n\r\nok").as_bytes());
                }
                Answer::Silence => thread::sleep(PATIENCE),
                Answer::HangUp => return,
            }
        }
    }
}

fn read(reader: &mut BufReader<&TcpStream>) -> Option<Post> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let head = head.to_lowercase().replace("\r\n", "\n");
    assert!(head.starts_with("post /hook?x=1 http/1.1\n"), "{head}");
    let mut post = Post { head, body: String::new(), answer: Answer::HangUp };
    let length = post.header("content-length")?.parse().ok()?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    post.body = String::from_utf8(body).expect("UTF-8");
    Some(post)
}
