//! What the program says on stderr: what an operator has to know, and no content, names of users or
//! tokens.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use yroom::{Event, RoomName};
use yroom_net::Notice;
use yroom_net::chain::{ChainPhase, ChainStatus};
use yroom_webhook::Trouble;

/// Lines about single peers, which peers can bring about at will, are limited to this many of each
/// kind …
const LINES: u32 = 20;
/// … in this time; how many were left out is said with the next one.
const WINDOW: Duration = Duration::from_secs(10);

/// Writes notices, those that peers can cause at a bounded rate.
#[derive(Debug)]
pub(crate) struct Log {
    windows: Mutex<BTreeMap<Kind, Window>>,
}

/// What a line is about: one kind does not crowd out another. There are as many as status and close
/// codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Refused(u16),
    Closed(u16),
    AcceptFailed,
    TlsFailed,
    Upstream,
    Unchained,
    Webhook,
}

#[derive(Debug)]
struct Window {
    since: Instant,
    lines: u32,
}

impl Log {
    pub(crate) fn new() -> Self {
        Self { windows: Mutex::default() }
    }

    pub(crate) fn write(&self, notice: &Notice<'_>) {
        match notice {
            Notice::Engine(event) => self.write_event(event),
            Notice::Refused { refusal } => {
                let (status, sentence) = (refusal.status(), refusal.sentence());
                let what = format_args!("refused with {status}: {sentence}");
                self.bounded(Kind::Refused(status), what);
            }
            Notice::Breach { code, reason } => {
                let what = format_args!("closed a peer with {code}: {reason}");
                self.bounded(Kind::Closed(code.0), what);
            }
            Notice::AcceptFailed { error } => {
                let what = format_args!("cannot accept a connection: {error}");
                self.bounded(Kind::AcceptFailed, what);
            }
            Notice::TlsFailed { error } => {
                let what = format_args!("a connection did not begin with TLS: {error}");
                self.bounded(Kind::TlsFailed, what);
            }
            Notice::Upstream { room, status } => self.write_upstream(room, status),
            Notice::ShardFailed { shard } => line(format_args!("thread {shard} failed")),
            _ => {}
        }
    }

    /// A room cannot be chained.
    pub(crate) fn unchained(&self, room: &RoomName, why: &str) {
        self.bounded(Kind::Unchained, format_args!("{room:?} is not chained: {why}"));
    }

    /// The webhook's receiver is not told, or not yet.
    pub(crate) fn webhook(&self, trouble: &Trouble) {
        self.bounded(Kind::Webhook, format_args!("webhook: {trouble}"));
    }

    fn write_upstream(&self, room: &RoomName, status: &ChainStatus) {
        let why = status.trouble.as_deref().unwrap_or("no reason");
        match status.phase {
            ChainPhase::Connecting => {}
            ChainPhase::Linked => self.bounded(Kind::Upstream, format_args!("{room:?} is linked")),
            ChainPhase::Waiting => {
                self.bounded(Kind::Upstream, format_args!("{room:?} is not linked: {why}"));
            }
            ChainPhase::Stopped => {
                self.bounded(Kind::Unchained, format_args!("{room:?} is chained no more: {why}"));
            }
        }
    }

    fn write_event(&self, event: &Event) {
        match event {
            Event::RoomDegraded { room, fault } => {
                line(format_args!("{room:?} is degraded, its store fails: {fault}"));
            }
            Event::RoomRecovered { room } => line(format_args!("{room:?} has recovered")),
            Event::RoomClosed { room, unsaved } if *unsaved > 0 => {
                line(format_args!("{room:?} closed with {unsaved} updates not stored"));
            }
            Event::PeerFaulted { conn, fault, .. } => {
                let code = fault.kind.close_code();
                let what = format_args!("closed {conn:?} with {code}: {fault}");
                self.bounded(Kind::Closed(code.0), what);
            }
            _ => {}
        }
    }

    /// Writes a line, unless there were too many of its kind lately.
    fn bounded(&self, kind: Kind, what: impl Display) {
        let now = Instant::now();
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let window = windows.entry(kind).or_insert(Window { since: now, lines: 0 });
        if now.duration_since(window.since) >= WINDOW {
            let left_out = window.lines.saturating_sub(LINES);
            if left_out > 0 {
                line(format_args!("{left_out} more lines of this kind were left out:"));
            }
            *window = Window { since: now, lines: 0 };
        }
        window.lines += 1;
        if window.lines <= LINES {
            line(what);
        }
    }
}

fn line(what: impl Display) {
    eprintln!("yroom: {what}");
}
