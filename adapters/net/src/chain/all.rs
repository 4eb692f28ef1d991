//! All rooms of a server, each chained to the room of its name at an upstream server while it is used.

use super::{Chain, ChainOptions, ChainPhase, InvalidAddress};
use crate::accept::Job;
use crate::app::{Events, Happening, News, Rooms};
use crate::client::dial::Address;
use crate::mailbox::Mailbox;
use crate::server::Running;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};
use yroom::{Event, RoomName};

/// Rooms that are chained at a time. More are there only while the upstream server is not: a chain is
/// kept until what was written here is there.
const MOST: usize = 100_000;
/// Rooms are not followed for a shorter time than it takes to link them.
const LEAST_LINGER: Duration = Duration::from_secs(1);

impl Running {
    /// Has each room that is opened here follow the room of its name under `url`
    /// (`wss://example.org/documents`), for as long as the [`ChainAll`] is kept.
    ///
    /// A room is chained when it is opened, and for `linger` (at least a second) after the last
    /// connection but the link has gone and the application has let go of it; then it may be unloaded
    /// here. While there is no link to the upstream server the chain stays, so
    /// that what was written here gets there.
    ///
    /// A chain that the upstream server refuses for good is made again when the room is next opened.
    /// `tell` is told of rooms that cannot be chained: their name does not go into a URL, or 100,000
    /// are chained already.
    pub fn chain_all(
        &self,
        url: &str,
        options: ChainOptions,
        linger: Duration,
        tell: impl Fn(&RoomName, &str) + Send + 'static,
    ) -> Result<ChainAll, InvalidAddress> {
        let base = url.strip_suffix('/').unwrap_or(url).to_owned();
        if base.contains(['?', '#']) {
            return Err(InvalidAddress::new(url, "rooms' names cannot follow a query"));
        }
        Address::parse(&format!("{base}/room"))?;
        let over = Arc::new(AtomicBool::new(false));
        let follower = Follower {
            over: Arc::clone(&over),
            waker: Waker::noop().clone(),
            rooms: self.rooms(),
            mailboxes: Arc::clone(&self.mailboxes),
            base,
            options,
            linger: linger.max(LEAST_LINGER),
            tell: Box::new(tell),
            chains: BTreeMap::new(),
            checks: BTreeSet::new(),
        };
        let events = self.rooms().events();
        let started = thread::Builder::new()
            .name("yroom-chains".to_owned())
            .spawn(move || follower.run(events));
        match started {
            Ok(thread) => Ok(ChainAll { over, thread: thread.thread().clone() }),
            Err(error) => Err(InvalidAddress::new(url, &no_thread(&error))),
        }
    }
}

fn no_thread(error: &io::Error) -> String {
    format!("no thread for it: {error}")
}

/// All rooms' links with an upstream server. Dropped, they are closed and made no more.
pub struct ChainAll {
    over: Arc<AtomicBool>,
    thread: Thread,
}

impl Drop for ChainAll {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

impl fmt::Debug for ChainAll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChainAll").finish_non_exhaustive()
    }
}

/// The thread that makes the chains, and lets them go.
struct Follower {
    over: Arc<AtomicBool>,
    waker: Waker,
    rooms: Rooms,
    mailboxes: Arc<[Mailbox<Job>]>,
    base: String,
    options: ChainOptions,
    linger: Duration,
    tell: Tell,
    chains: BTreeMap<RoomName, Chained>,
    /// When to look whether a room is still used: one place for each chain.
    checks: BTreeSet<(Instant, RoomName)>,
}

/// Who is told of a room that cannot be chained, and why.
type Tell = Box<dyn Fn(&RoomName, &str) + Send>;

struct Chained {
    chain: Chain,
    /// When somebody last came or went.
    used: Instant,
}

/// Why a wait has ended.
enum Woken<T> {
    Ready(T),
    Late,
    Over,
}

impl Follower {
    fn run(mut self, mut events: Events) {
        self.waker = Waker::from(Arc::new(Unpark(thread::current())));
        self.follow_loaded();
        loop {
            let until = self.checks.first().map(|(at, _)| *at);
            match self.wait(events.next(), until) {
                Woken::Ready(Some(News::Happened(happening))) => self.happened(happening),
                Woken::Ready(Some(News::Lost(_))) => self.follow_loaded(),
                Woken::Late => {}
                Woken::Ready(None) | Woken::Over => return,
            }
            self.look_at_unused();
        }
    }

    fn happened(&mut self, happening: Happening) {
        let used = match happening.event {
            Event::RoomOpened { .. } | Event::PeerJoined { .. } => true,
            // The upstream server may have changed it, too: that alone does not keep a room.
            Event::RoomChanged { .. } => !self.chains.contains_key(&happening.room),
            Event::PeerLeft { .. } => self.chains.contains_key(&happening.room),
            _ => false,
        };
        if used {
            self.follow(happening.room);
        }
    }

    /// What was opened before somebody listened.
    fn follow_loaded(&mut self) {
        if let Woken::Ready(Ok(rooms)) = self.wait(self.rooms.list(), None) {
            for room in rooms {
                self.follow(room.name);
            }
        }
    }

    fn follow(&mut self, room: RoomName) {
        let now = Instant::now();
        if let Some(chained) = self.chains.get_mut(&room) {
            chained.used = now;
            return;
        }
        if self.chains.len() >= MOST {
            return (self.tell)(&room, "too many rooms are chained already");
        }
        let url = format!("{}/{}", self.base, in_url(&room));
        match Chain::new(&self.mailboxes, room.clone(), &url, self.options.clone()) {
            Ok(chain) => {
                self.checks.insert((now + self.linger, room.clone()));
                self.chains.insert(room, Chained { chain, used: now });
            }
            Err(why) => (self.tell)(&room, &why.to_string()),
        }
    }

    /// Lets rooms go that nobody has used for a while, and looks at the others again later.
    fn look_at_unused(&mut self) {
        let now = Instant::now();
        while let Some((at, _)) = self.checks.first()
            && *at <= now
            && let Some((_, room)) = self.checks.pop_first()
        {
            let Some(chained) = self.chains.get(&room) else { continue };
            let again = match chained.used + self.linger {
                again if again > now => again,
                _ if self.is_used(&room, chained) => now + self.linger,
                _ => {
                    self.chains.remove(&room);
                    continue;
                }
            };
            self.checks.insert((again, room));
        }
    }

    fn is_used(&self, room: &RoomName, chained: &Chained) -> bool {
        // The link is one of the room's connections.
        let own = match chained.chain.status().phase {
            ChainPhase::Connecting | ChainPhase::Waiting => return true,
            ChainPhase::Linked => 1,
            ChainPhase::Stopped => 0,
        };
        match self.wait(self.rooms.find(room), None) {
            Woken::Ready(Ok(Some(info))) => info.peers > own || info.holds > 0,
            Woken::Ready(Ok(None)) => false,
            Woken::Ready(Err(_)) | Woken::Late | Woken::Over => true,
        }
    }

    fn wait<T>(&self, future: impl Future<Output = T>, until: Option<Instant>) -> Woken<T> {
        let mut future = pin!(future);
        let mut cx = Context::from_waker(&self.waker);
        loop {
            if self.over.load(Ordering::Acquire) {
                return Woken::Over;
            }
            if let Poll::Ready(value) = future.as_mut().poll(&mut cx) {
                return Woken::Ready(value);
            }
            match until.map(|until| until.saturating_duration_since(Instant::now())) {
                None => thread::park(),
                Some(Duration::ZERO) => return Woken::Late,
                Some(rest) => thread::park_timeout(rest),
            }
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// A room's name as a URL's path has it. One that came by a URL stays as it is; what an application
/// has made up may have more in it.
fn in_url(room: &RoomName) -> String {
    use fmt::Write as _;
    let mut path = String::with_capacity(room.as_str().len());
    for byte in room.as_str().bytes() {
        match byte {
            b'"' | b'#' | b'<' | b'>' | b'?' | b'`' | b'{' | b'}' | b'\\' | b'^' | b'|' => {
                let _ = write!(path, "%{byte:02X}");
            }
            0x21..=0x7e => path.push(char::from(byte)),
            _ => {
                let _ = write!(path, "%{byte:02X}");
            }
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_came_by_a_url_stays_and_others_are_encoded() {
        let encoded = |name: &str| in_url(&RoomName::new(name).unwrap());
        for name in ["notes", "a/b//c", "caf%C3%A9", "x:y@z!$&'()*+,;=~-._", "../up"] {
            assert_eq!(encoded(name), name);
        }
        assert_eq!(encoded("a b?c#d"), "a%20b%3Fc%23d");
        assert_eq!(encoded("café\u{2028}"), "caf%C3%A9%E2%80%A8");
        assert!(Address::parse(&format!("ws://h/{}", encoded("{\"\\^|`<é>"))).is_ok());
    }
}
