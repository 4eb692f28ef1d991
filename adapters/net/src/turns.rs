//! Whose turn it is: connections that bring much wait for each other, and nobody else waits for them
//! longer than for one.
//!
//! The executor gives every task that is ready its turn, first come, first served. With a hundred
//! connections that always have more to bring, whoever has one word to say would wait for a hundred
//! turns. So they stand in a line of their own, from which one task takes one after the other and lets
//! all others have theirs in between.

use crate::conn::Conn;
use crate::shard::Shard;
use crate::signal::{Signal, stand_aside};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;
use yroom::Timestamp;

/// Bytes that a connection may bring in before others have their turn: enough that a burst of small
/// frames is one batch.
const BYTES_PER_TURN: usize = 64 << 10;
/// How long that may take, however few bytes it is. (What the hub makes of it in its drain comes on
/// top.)
const TIME_PER_TURN: Duration = Duration::from_micros(200);
/// The clock is looked at after so many frames: a look costs as much as a small frame.
const FRAMES_PER_LOOK: usize = 16;
/// A frame of so many bytes is worth a look by itself.
const LONG_FRAME: usize = 1 << 10;

/// One turn of one connection.
#[derive(Debug)]
pub(crate) struct Turn {
    /// When it began, or the clock was last looked at.
    pub(crate) now: Timestamp,
    pub(crate) bytes: usize,
    pub(crate) is_over: bool,
    until: Timestamp,
    frames: usize,
}

impl Turn {
    pub(crate) fn begin(shard: &Shard) -> Self {
        let now = shard.now();
        Self { now, bytes: 0, is_over: false, until: now + TIME_PER_TURN, frames: 0 }
    }

    /// A frame of this length was handed to the hub.
    pub(crate) fn took(&mut self, shard: &Shard, len: usize) {
        self.frames += 1;
        if len >= LONG_FRAME || self.frames.is_multiple_of(FRAMES_PER_LOOK) {
            self.now = shard.now();
            self.is_over |= self.now >= self.until;
        }
    }

    /// Whether there is time to read more.
    pub(crate) fn goes_on(&self) -> bool {
        !self.is_over && self.bytes < BYTES_PER_TURN
    }
}

/// Those that had not enough of their last turn.
#[derive(Debug, Default)]
pub(crate) struct Line {
    waiting: RefCell<VecDeque<Rc<Conn>>>,
    longer: Signal,
}

impl Line {
    /// Stands last.
    pub(crate) fn push(&self, conn: Rc<Conn>) {
        self.waiting.borrow_mut().push_back(conn);
        self.longer.raise();
    }

    /// Lets in one after the other, with a turn for everybody else in between.
    pub(crate) async fn serve(&self) {
        loop {
            let first = self.waiting.borrow_mut().pop_front();
            match first {
                Some(conn) => {
                    conn.let_in();
                    stand_aside().await;
                }
                None => self.longer.wait().await,
            }
        }
    }
}
