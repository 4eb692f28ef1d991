//! The client side: keeps an application's `yrs::Doc` in sync with a room of a server.
//!
//! A [`Provider`] is a state machine like the [`Hub`](crate::Hub), with the same verbs. It owns the
//! connection's life, not the document: the application edits its `Doc` as it likes, and edits are
//! seen and sent. A closure given to [`Provider::new`] is called after each of them, so that the
//! driver knows when to say [`Input::Edited`].
//!
//! What was edited without a connection is not queued: the document has it, and the next
//! connection begins by each side telling the other what it has. With [`Config::store_as`] a copy of
//! the document is kept in a store, so that all this survives the program.
//!
//! ```
//! use yroom::Timestamp;
//! use yroom::provider::{Config, Input, Output, Provider};
//! use yroom::wire::encode;
//! use yrs::{Doc, GetString, ReadTxn, Text, Transact};
//!
//! let doc = Doc::with_client_id(1);
//! let mut provider = Provider::new(Config::default(), &doc, || ())?;
//! let now = Timestamp::ZERO; // from any monotonic clock
//! provider.connect(now);
//! let link = loop {
//!     match provider.poll_output() {
//!         Some(Output::Connect { link }) => break link,
//!         other => assert!(other.is_some()),
//!     }
//! };
//!
//! // The driver connects. A server has the text "hi", and asks what we have.
//! provider.handle(now, Input::Connected { link });
//! let text = [1, 1, 7, 0, 4, 1, 4, b't', b'e', b'x', b't', 2, b'h', b'i', 0];
//! provider.handle(now, Input::Frame { link, frame: encode::sync_step1(&[1, 7, 2]) });
//! provider.handle(now, Input::Frame { link, frame: encode::sync_step2(&text) });
//! let notes = doc.get_or_insert_text("text");
//! assert_eq!(notes.get_string(&doc.transact()), "hi");
//!
//! // An edit becomes a frame.
//! notes.insert(&mut doc.transact_mut(), 2, "!");
//! provider.handle(now, Input::Edited);
//! let frames = std::iter::from_fn(|| provider.poll_output())
//!     .filter(|output| matches!(output, Output::Send { frame, .. } if frame[..2] == [0, 2]));
//! assert_eq!(frames.count(), 1);
//! # Ok::<(), yroom::provider::DocumentInUse>(())
//! ```

mod config;
mod io;
mod link;
mod presence;
mod replica;
mod storage;
mod sync;
mod working_copy;

pub use config::{Config, Direction, Subdocuments};
pub use io::{
    Confirmation, Event, Input, LinkId, Outlook, Output, Phase, PresenceChange, StopReason,
};
pub use replica::DocumentInUse;
pub use working_copy::{Unworkable, WorkingCopy};

use crate::error::CloseCode;
use crate::time::{SplitMix64, Timestamp};
use crate::update::ClientId;
use crate::wire::encode;
use link::Link;
use presence::Presence;
use replica::Replica;
use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;
use storage::{End, Storage};

/// How soon the document is tried again that a transaction of the application's has.
const IN_USE_RETRY: Duration = Duration::from_millis(5);

/// Keeps one document in sync with one room.
#[derive(Debug)]
pub struct Provider {
    config: Config,
    rng: SplitMix64,
    replica: Replica,
    presence: Presence,
    storage: Option<Storage>,
    phase: Phase,
    link: Option<Link>,
    links: u64,
    /// While connecting: when that has failed. While waiting: when the next attempt is.
    deadline: Option<Timestamp>,
    /// Attempts since the last sync.
    attempts: u32,
    was_synced: bool,
    /// When the document is tried again that was in use.
    document_at: Option<Timestamp>,
    /// Edits that are to be sent, and how many of them the server has.
    edits: u64,
    confirmed: u64,
    last_edit: Timestamp,
    /// Up to which edit somebody waits for confirmation.
    wanted: u64,
    outputs: VecDeque<Output>,
}

/// Why something is no presence state: it is no JSON, or over the limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidPresence;

impl fmt::Display for InvalidPresence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the presence state is no JSON, or too large or too deep")
    }
}

impl std::error::Error for InvalidPresence {}

/// Whether a text is a presence state, by the default limits.
pub fn is_presence(state: &str) -> bool {
    presence::fits(state, &crate::Limits::default())
}

impl Provider {
    /// Watches `doc`; fails if a transaction has it at this moment.
    ///
    /// `notify` is called after each edit, from within its transaction, so that it must not touch the
    /// document; on it, the driver says [`Input::Edited`].
    pub fn new(
        config: Config,
        doc: &yrs::Doc,
        notify: impl Fn() + Send + Sync + 'static,
    ) -> Result<Self, DocumentInUse> {
        let replica = Replica::new(doc.clone(), config.subdocuments, notify)?;
        Ok(Self {
            rng: SplitMix64::new(config.seed),
            presence: Presence::new(replica.client()),
            storage: config.store_as.clone().map(Storage::new),
            config,
            replica,
            phase: Phase::Idle,
            link: None,
            links: 0,
            deadline: None,
            attempts: 0,
            was_synced: false,
            document_at: None,
            edits: 0,
            confirmed: 0,
            last_edit: Timestamp::ZERO,
            wanted: 0,
            outputs: VecDeque::new(),
        })
    }

    /// Begins: reads the stored copy, if there is to be one, then connects. Once begun, does nothing.
    pub fn connect(&mut self, now: Timestamp) {
        if self.phase != Phase::Idle {
            return;
        }
        if self.storage.is_some() {
            self.enter(Phase::Loading);
            self.load();
        } else {
            self.attempt(now);
        }
    }

    /// Takes in what has happened.
    pub fn handle(&mut self, now: Timestamp, input: Input) {
        match input {
            Input::Connected { link } => self.connected(now, link),
            Input::ConnectFailed { link, reason, outlook } => {
                self.connect_failed(now, link, reason, outlook);
            }
            Input::Frame { link, frame } => self.frame(now, link, frame),
            Input::Alive { link } => {
                if let Some(link) = self.link_mut(link) {
                    link.hear(now);
                }
            }
            Input::Flushed { link, bytes } => {
                if let Some(link) = self.link_mut(link) {
                    link.unsent = link.unsent.saturating_sub(bytes);
                }
            }
            Input::Closed { link, code, reason } => self.closed(now, link, code, reason),
            Input::Edited => {}
            Input::Loaded(result) => self.loaded(now, result),
            Input::Durable(upto) => self.durable(upto),
            Input::WriteFailed(seq, fault) => self.write_failed(now, seq, fault),
            Input::Compacted(_, result) => self.compacted(result),
        }
        self.work(now);
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        if self.document_at.is_some_and(|at| at <= now) {
            self.document_at = None;
        }
        match self.phase {
            Phase::Connecting if self.deadline.is_some_and(|at| at <= now) => {
                self.lose(now, "connecting took too long");
            }
            Phase::Waiting if self.deadline.is_some_and(|at| at <= now) => self.attempt(now),
            Phase::Idle
            | Phase::Loading
            | Phase::Connecting
            | Phase::Handshaking
            | Phase::Syncing
            | Phase::Synced
            | Phase::Waiting
            | Phase::Stopped => {}
        }
        self.link_timeout(now);
        let change = self.presence.expire(now, self.config.presence_timeout);
        self.tell_presence(change);
        self.work(now);
    }

    /// The next thing to be done, in order.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        [
            self.deadline,
            self.document_at,
            self.link_deadline(),
            self.presence.next_expiry(self.config.presence_timeout),
            self.storage.as_ref().and_then(Storage::deadline),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Says goodbye and closes the connection. What is to be stored is still written:
    /// [`is_finished`](Self::is_finished) says when.
    pub fn shutdown(&mut self, now: Timestamp) {
        self.work(now);
        if self.phase != Phase::Stopped {
            self.stop(now, StopReason::Asked);
        }
        self.work(now);
    }

    /// Whether it is stopped, and all that was to be stored is.
    pub fn is_finished(&self) -> bool {
        self.phase == Phase::Stopped && self.storage.as_ref().is_none_or(Storage::is_released)
    }

    /// How far it has come.
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// The document's client id, which is also that of its presence.
    pub fn client(&self) -> ClientId {
        self.replica.client()
    }

    /// Edits that were made since the start and are to be sent, those that wait in the document for
    /// the next [`Input::Edited`] left out.
    pub const fn edits(&self) -> u64 {
        self.edits
    }

    /// How many of the [`edits`](Self::edits) the server is known to have.
    pub const fn confirmed(&self) -> u64 {
        self.confirmed
    }

    /// Asks the server to confirm all edits as soon as it can; returns their count, which
    /// [`Event::Confirmed`] will reach.
    pub fn confirm(&mut self, now: Timestamp) -> u64 {
        self.work(now);
        self.wanted = self.edits;
        self.work(now);
        self.wanted
    }

    /// Asks the server for what is new, although nothing seems missing.
    pub fn resync(&mut self, now: Timestamp) {
        if self.is_open() {
            self.ask(now);
        }
    }

    /// Shows others a state, as JSON, or nothing any more.
    pub fn set_presence(
        &mut self,
        now: Timestamp,
        state: Option<&str>,
    ) -> Result<(), InvalidPresence> {
        let state = state.filter(|state| state.trim_ascii() != "null").map(str::to_owned);
        if state.as_deref().is_some_and(|state| !presence::fits(state, &self.config.limits)) {
            return Err(InvalidPresence);
        }
        let was_shown = self.presence.own().is_some();
        self.presence.set(state);
        if was_shown || self.presence.own().is_some() {
            self.announce(now);
        }
        Ok(())
    }

    /// The own presence state.
    pub fn presence(&self) -> Option<&str> {
        self.presence.own()
    }

    /// The others' presence states.
    pub fn others(&self) -> impl Iterator<Item = (ClientId, &str)> {
        self.presence.others()
    }

    fn attempt(&mut self, now: Timestamp) {
        self.links += 1;
        self.deadline = Some(now + self.config.connect_timeout);
        self.enter(Phase::Connecting);
        self.outputs.push_back(Output::Connect { link: LinkId(self.links) });
    }

    fn connected(&mut self, now: Timestamp, id: LinkId) {
        if self.phase != Phase::Connecting || id.0 != self.links {
            return;
        }
        self.deadline = None;
        self.link = Some(Link::new(id, now));
        self.enter(Phase::Handshaking);
        self.greet(now);
    }

    fn connect_failed(&mut self, now: Timestamp, id: LinkId, reason: String, outlook: Outlook) {
        if self.phase != Phase::Connecting || id.0 != self.links {
            return;
        }
        match outlook {
            Outlook::Transient => self.wait(now, reason),
            Outlook::Permanent => self.stop(now, StopReason::Unreachable { reason }),
        }
    }

    fn closed(&mut self, now: Timestamp, id: LinkId, code: Option<CloseCode>, reason: String) {
        if self.link_mut(id).is_none() {
            return;
        }
        self.drop_link();
        match code {
            Some(code) if (4400..4500).contains(&code.0) => {
                self.stop(now, StopReason::Refused { code, reason });
            }
            Some(code) => self.wait(now, format!("closed with {code}: {reason}")),
            None => self.wait(now, reason),
        }
    }

    /// Gives the connection, or the attempt, up.
    fn lose(&mut self, now: Timestamp, reason: &str) {
        self.close(CloseCode::GOING_AWAY, reason);
        self.wait(now, reason.to_owned());
    }

    /// Closes the connection, or gives the attempt up, if there is one.
    fn close(&mut self, code: CloseCode, reason: &str) {
        if self.link.is_some() || self.phase == Phase::Connecting {
            let link = LinkId(self.links);
            self.outputs.push_back(Output::Close { link, code, reason: reason.to_owned() });
        }
        self.drop_link();
    }

    fn drop_link(&mut self) {
        self.link = None;
        let change = self.presence.forget();
        self.tell_presence(change);
    }

    /// Waits for the next attempt.
    ///
    /// All clients of a server lose it together. Their first attempts are spread evenly; later ones
    /// keep that spread, since their waits are never much shorter.
    fn wait(&mut self, now: Timestamp, reason: String) {
        let (spread, most) = (self.config.spread, self.config.retry_at_most);
        let after = match (self.was_synced, self.attempts) {
            (true, 0) => self.rng.backoff(0, spread * 2, spread * 2).saturating_sub(spread),
            (true, attempt) => self.rng.backoff(attempt, spread, most),
            (false, attempt) => self.rng.backoff(attempt, self.config.retry_from, most),
        };
        self.attempts = self.attempts.saturating_add(1);
        self.deadline = Some(now + after);
        self.enter(Phase::Waiting);
        self.outputs.push_back(Output::Event(Event::Retrying { reason, after }));
    }

    fn stop(&mut self, now: Timestamp, reason: StopReason) {
        if self.link.is_some() && self.presence.own().is_some() {
            self.presence.set(None);
            self.announce(now);
        }
        self.close(CloseCode::NORMAL, "");
        self.deadline = None;
        self.enter(Phase::Stopped);
        if let Some(storage) = &mut self.storage {
            storage.end(match reason {
                StopReason::Asked | StopReason::Refused { .. } | StopReason::Unreachable { .. } => {
                    End::Orderly
                }
                StopReason::Unrestorable { .. }
                | StopReason::Unreadable { .. }
                | StopReason::Poisoned => End::AtOnce,
            });
        }
        self.outputs.push_back(Output::Event(Event::Stopped(reason)));
    }

    /// Carries on with whatever can be carried on with.
    fn work(&mut self, now: Timestamp) {
        if self.phase != Phase::Idle {
            self.take_edits(now);
        }
        self.restore(now);
        self.read_inbox(now);
        self.catch_up(now);
        self.seek_confirmation(now);
        self.write_storage(now);
    }

    /// The document is in use: things wait for it.
    fn await_document(&mut self, now: Timestamp) {
        self.document_at.get_or_insert(now + IN_USE_RETRY);
    }

    fn enter(&mut self, phase: Phase) {
        if self.phase != phase {
            self.phase = phase;
            self.outputs.push_back(Output::Event(Event::Phase(phase)));
        }
    }

    const fn is_open(&self) -> bool {
        self.link.is_some()
    }

    fn link_mut(&mut self, id: LinkId) -> Option<&mut Link> {
        self.link.as_mut().filter(|link| link.id == id)
    }

    /// Sends our presence, whatever it is, if there is a connection.
    fn announce(&mut self, now: Timestamp) {
        let states = self.presence.announce(now);
        self.send(encode::awareness(&states));
    }

    fn tell_presence(&mut self, change: PresenceChange) {
        if !change.is_empty() {
            self.outputs.push_back(Output::Event(Event::Presence(change)));
        }
    }
}
