//! What an application says about its webhook, and what it is told.

use crate::content::Object;
use crate::deliver::{Courier, Desk};
use crate::notice::Topic;
use crate::queue::Pace;
use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::thread::Thread;
use std::time::{Duration, Instant};
use ureq::http::Uri;
use yroom::RoomName;
use yroom_net::app::Rooms;
use yroom_net::store::Store;

/// A URL to which is posted what happens in the rooms of a server.
#[must_use = "it does nothing until it is started"]
pub struct Webhook {
    pub(crate) url: String,
    pub(crate) topics: BTreeSet<Topic>,
    pub(crate) pace: Pace,
    pub(crate) timeout: Duration,
    pub(crate) secret: Option<Vec<u8>>,
    pub(crate) objects: Vec<Object>,
    pub(crate) max_bytes: usize,
    pub(crate) store: Option<Arc<dyn Store>>,
    pub(crate) observer: Arc<dyn Fn(&Trouble) + Send + Sync>,
}

/// What went wrong in telling.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trouble {
    /// The receiver did not take a notice; it is tried again.
    Failed {
        /// Of which room.
        room: RoomName,
        /// About what.
        topic: Topic,
        /// Why.
        why: String,
    },
    /// A notice was given up: the receiver refused it, or did not take it for too long.
    GivenUp {
        /// Of which room.
        room: RoomName,
        /// About what.
        topic: Topic,
        /// After how many attempts.
        attempts: u32,
        /// Why the last of them failed.
        why: String,
    },
    /// A notice was told without the content that was asked for.
    Omitted {
        /// Of which room.
        room: RoomName,
        /// Why.
        why: String,
    },
    /// Too much waited: a notice of this room was left out.
    Overflow {
        /// Of which room.
        room: RoomName,
    },
    /// So many happenings were missed; all rooms that are loaded count as changed.
    Missed {
        /// How many.
        count: u64,
    },
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed { room, topic, why } => {
                write!(f, "{topic} of {room:?} is not delivered yet: {why}")
            }
            Self::GivenUp { room, topic, attempts, why } => {
                write!(f, "{topic} of {room:?} is given up, attempts: {attempts}: {why}")
            }
            Self::Omitted { room, why } => write!(f, "{room:?} is told without content: {why}"),
            Self::Overflow { room } => {
                write!(f, "too much waits: a notice of {room:?} is left out")
            }
            Self::Missed { count } => write!(f, "{count} happenings were missed"),
        }
    }
}

impl Webhook {
    /// Posts to an `http://` or `https://` URL, which trusts the roots of Mozilla's programme. Default:
    /// changes only, debounced by 2 s and 10 s as y-websocket-server does, without content.
    pub fn new(url: &str) -> Result<Self, InvalidUrl> {
        let uri: Uri = url.parse().map_err(|_| InvalidUrl)?;
        match uri.scheme_str() {
            Some("http" | "https") if has_host(&uri) => {}
            Some(_) | None => return Err(InvalidUrl),
        }
        Ok(Self {
            url: url.to_owned(),
            topics: BTreeSet::from([Topic::Change]),
            pace: Pace {
                wait: Duration::from_secs(2),
                max_wait: Duration::from_secs(10),
                give_up_after: Duration::from_secs(300),
            },
            timeout: Duration::from_secs(5),
            secret: None,
            objects: Vec::new(),
            max_bytes: 16 << 20,
            store: None,
            observer: Arc::new(|_| {}),
        })
    }

    /// What is told.
    pub fn topics(mut self, topics: impl IntoIterator<Item = Topic>) -> Self {
        self.topics = topics.into_iter().collect();
        self
    }

    /// How long a change waits for the next one, and all of them at most.
    pub fn debounce(mut self, wait: Duration, max_wait: Duration) -> Self {
        self.pace = Pace { wait, max_wait: max_wait.max(wait), ..self.pace };
        self
    }

    /// How long the receiver may take for its answer. Default: 5 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How long a notice is tried. Default: five minutes.
    pub fn give_up_after(mut self, span: Duration) -> Self {
        self.pace.give_up_after = span;
        self
    }

    /// Signs each body with this secret.
    pub fn secret(mut self, secret: &[u8]) -> Self {
        self.secret = Some(secret.to_vec());
        self
    }

    /// What of a room's content is told with its change. Read as [`Room::read`] does, so not on the
    /// threads that serve the room.
    ///
    /// [`Room::read`]: yroom_net::app::Room::read
    pub fn objects(mut self, objects: impl IntoIterator<Item = Object>) -> Self {
        self.objects = objects.into_iter().collect();
        self
    }

    /// The largest document, and the largest JSON made of one, that is told. Default: 16 MiB.
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// The server's store, for the content of rooms at the end: it has to be open until
    /// [`Delivery::finish`] has returned. Without it the last changes are told without content.
    pub fn store(mut self, store: Arc<dyn Store>) -> Self {
        self.store = Some(store);
        self
    }

    /// Who is told what goes wrong, on the threads that deliver.
    pub fn observe(mut self, observer: impl Fn(&Trouble) + Send + Sync + 'static) -> Self {
        self.observer = Arc::new(observer);
        self
    }

    /// Tells what happens from now on. Fails if the system gives no threads.
    pub fn start(self, rooms: Rooms) -> io::Result<Delivery> {
        let desk = Arc::new(Desk::new(self.pace));
        let courier = Arc::new(Courier::new(self, rooms, Arc::clone(&desk)));
        let mut delivery = Delivery { desk, listener: None };
        delivery.listener = Some(courier.start()?);
        Ok(delivery)
    }
}

/// A port that is no number counts as none for its parser.
fn has_host(uri: &Uri) -> bool {
    let Some(authority) = uri.authority() else { return false };
    let host = authority.host();
    !host.is_empty() && (authority.port_u16().is_some() || authority.as_str().ends_with(host))
}

impl fmt::Debug for Webhook {
    /// Without the URL and the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook").field("topics", &self.topics).finish_non_exhaustive()
    }
}

/// What is no URL of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidUrl;

impl fmt::Display for InvalidUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a URL with http:// or https:// is wanted")
    }
}

impl std::error::Error for InvalidUrl {}

/// A webhook that tells. Dropped, it stops doing so, whatever waits.
pub struct Delivery {
    desk: Arc<Desk>,
    listener: Option<Thread>,
}

impl Delivery {
    /// Delivers what waits, for at most so long. The server has to have ended before.
    pub fn finish(self, within: Duration) -> Undelivered {
        let (notices, rooms) = self.desk.finish(Instant::now() + within);
        Undelivered { notices, rooms }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        self.desk.stop();
        if let Some(listener) = &self.listener {
            listener.unpark();
        }
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery").finish_non_exhaustive()
    }
}

/// What was not delivered at the end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "it says whether anything was not told"]
pub struct Undelivered {
    /// How many notices.
    pub notices: usize,
    /// Of which rooms.
    pub rooms: Vec<RoomName>,
}

impl Undelivered {
    /// Whether all was delivered.
    pub fn is_empty(&self) -> bool {
        self.notices == 0
    }
}
