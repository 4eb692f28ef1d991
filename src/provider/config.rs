//! What of a provider can be set, each with its default and the reason for it.

use crate::config::Limits;
use crate::io::RoomName;
use std::time::Duration;

/// How a [`Provider`](super::Provider) behaves.
#[derive(Clone, Debug)]
pub struct Config {
    /// Seeds the jitter of retries: same seed and inputs, same outputs. Give each provider its own,
    /// or all of them come back at the same moment.
    pub seed: u64,
    /// What is done with edits made here. Default: they are sent.
    pub direction: Direction,
    /// The first wait of a program that was not synced yet, doubled with each attempt. Default:
    /// 100 ms: a server that is just starting is there soon.
    pub retry_from: Duration,
    /// Over how long the first attempts after the loss of a synced link are spread. Default: 5 s.
    /// All the clients of a server lose it at the same moment; thus a fifth of them come back in a
    /// second.
    pub spread: Duration,
    /// The longest wait between attempts. Default: 10 s.
    pub retry_at_most: Duration,
    /// How long an attempt to connect may take. Default: 20 s.
    pub connect_timeout: Duration,
    /// After how long without a word from the server the link is given up. Default: 30 s, as in
    /// y-websocket. After two thirds of it the server is asked for its state, so that one that is
    /// merely quiet is heard.
    pub silence: Duration,
    /// How often the server is asked for what is new even if nothing seems missing. Default: never.
    pub resync: Option<Duration>,
    /// How long after the last edit a server that does not acknowledge is asked whether it has all
    /// of it. Default: 3 s.
    pub confirm_after: Duration,
    /// How often the own presence is renewed. Default: 15 s, as in y-protocols.
    pub presence_renewal: Duration,
    /// After how long without renewal another's presence is dropped. Default: 30 s, as there.
    pub presence_timeout: Duration,
    /// Keeps a copy of the document in a store, under this name: it is there at the next start
    /// without a server, and so are edits that no server has seen. Default: none.
    pub store_as: Option<RoomName>,
    /// Whether documents with sub-documents are taken in. Default: not, because of yrs.
    pub subdocuments: Subdocuments,
    /// The bounds; those that concern rooms and hubs have no effect.
    pub limits: Limits,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            seed: 0,
            direction: Direction::default(),
            retry_from: Duration::from_millis(100),
            spread: Duration::from_secs(5),
            retry_at_most: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(20),
            silence: Duration::from_secs(30),
            resync: None,
            confirm_after: Duration::from_secs(3),
            presence_renewal: Duration::from_secs(15),
            presence_timeout: Duration::from_secs(30),
            store_as: None,
            subdocuments: Subdocuments::default(),
            limits: Limits::default(),
        }
    }
}

/// Which way a document is synced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Direction {
    /// What is edited here goes to the server.
    #[default]
    Both,
    /// The server is listened to; edits made here stay here.
    Receive,
}

/// Whether documents with sub-documents are taken in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Subdocuments {
    /// They are not: the provider stops with
    /// [`StopReason::Unreadable`](super::StopReason::Unreadable). In yrs 0.28, deleting a range of an
    /// array in which a sub-document stands among other things uses memory that was freed, and
    /// whoever edits the document can bring that about.
    #[default]
    Refuse,
    /// They are, at that risk.
    Accept,
}
