//! What the program says on stderr: what an operator has to know, and no content, names of users or
//! tokens.

use std::fmt::Display;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use yroom::Event;
use yroom_net::Notice;

/// Lines about single peers, which peers can bring about at will, are limited to this many …
const LINES: u32 = 20;
/// … in this time; how many were left out is said then.
const WINDOW: Duration = Duration::from_secs(10);

/// Writes notices, those that peers can cause at a bounded rate.
#[derive(Debug)]
pub(crate) struct Log {
    window: Mutex<Window>,
}

#[derive(Debug)]
struct Window {
    since: Instant,
    lines: u32,
}

impl Log {
    pub(crate) fn new() -> Self {
        Self { window: Mutex::new(Window { since: Instant::now(), lines: 0 }) }
    }

    pub(crate) fn write(&self, notice: &Notice<'_>) {
        match notice {
            Notice::Engine(event) => self.write_event(event),
            Notice::Refused { refusal } => {
                self.bounded(format_args!(
                    "refused with {}: {}",
                    refusal.status(),
                    refusal.sentence()
                ));
            }
            Notice::Breach { code, reason } => {
                self.bounded(format_args!("closed a peer with {code}: {reason}"));
            }
            Notice::AcceptFailed { error } => {
                self.bounded(format_args!("cannot accept a connection: {error}"));
            }
            Notice::ShardFailed { shard } => line(format_args!("thread {shard} failed")),
            _ => {}
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
                self.bounded(format_args!(
                    "closed {conn:?} with {}: {fault}",
                    fault.kind.close_code()
                ));
            }
            _ => {}
        }
    }

    /// Writes a line, unless there were too many lately.
    fn bounded(&self, what: impl Display) {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if window.since.elapsed() >= WINDOW {
            if window.lines > LINES {
                line(format_args!(
                    "{} more lines of this kind were left out",
                    window.lines - LINES
                ));
            }
            *window = Window { since: Instant::now(), lines: 0 };
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
