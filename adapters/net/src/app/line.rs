//! The frames of a connection that wait for the application, in their order.

use super::desk::Desk;
use super::guard::{Guarded, Panicked};
use super::hooks::{Failure, Hook, Incoming, Verdict};
use crate::server::Notice;
use crate::shard::Shard;
use bytes::Bytes;
use futures_util::FutureExt;
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use yroom::{CloseCode, ConnId, Input, Timestamp};

/// Whether more is read from a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    /// It is.
    Go,
    /// Not before [`Conn::let_go`](crate::conn::Conn::let_go).
    Hold,
}

/// The lines of all connections for which the application has something to do.
#[derive(Default)]
pub(crate) struct Lines(RefCell<BTreeMap<ConnId, Line>>);

#[derive(Default)]
struct Line {
    items: VecDeque<Item>,
    bytes: usize,
}

enum Item {
    /// A frame that the filter is looking at.
    Asked { frame: Bytes, asked: Guarded<Verdict> },
    /// A frame that the filter has not seen.
    Frame(Bytes),
    /// A message for the application.
    Message(Bytes),
    /// The peer has gone.
    Leave,
}

impl Item {
    fn len(&self) -> usize {
        match self {
            Self::Asked { frame, .. } | Self::Frame(frame) | Self::Message(frame) => frame.len(),
            Self::Leave => 0,
        }
    }
}

impl Lines {
    fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// Puts something at the end of a line that is there; gives it back if there is none.
    fn append(&self, conn: ConnId, item: Item, limit: usize) -> Option<Item> {
        let mut lines = self.0.borrow_mut();
        let Some(line) = lines.get_mut(&conn) else { return Some(item) };
        // Nothing is read from a connection with a line, unless it is being closed and the rest of it
        // thrown away.
        if line.bytes + item.len() <= limit {
            line.bytes += item.len();
            line.items.push_back(item);
        }
        None
    }

    fn begin(&self, conn: ConnId, item: Item) {
        let line = Line { bytes: item.len(), items: VecDeque::from([item]) };
        self.0.borrow_mut().insert(conn, line);
    }

    /// The next in line; with the last, the line is gone.
    fn next(&self, conn: ConnId) -> Option<Item> {
        let mut lines = self.0.borrow_mut();
        let line = lines.get_mut(&conn)?;
        let item = line.items.pop_front();
        match &item {
            Some(item) => line.bytes -= item.len(),
            None => {
                lines.remove(&conn);
            }
        }
        item
    }

    fn remove(&self, conn: ConnId) {
        let line = self.0.borrow_mut().remove(&conn);
        // Outside of the borrow: it may hold futures of the application's.
        drop(line);
    }
}

impl Shard {
    /// A frame has come: it goes to the hub, by way of the application if that wants to see it.
    ///
    /// Called while the connection's state is borrowed.
    pub(crate) fn frame(&self, now: Timestamp, conn: ConnId, frame: Bytes) -> Flow {
        let desk = self.desk();
        if desk.hooks.filter.is_none() && desk.lines.is_empty() {
            self.input_at(now, Input::Frame { conn, frame });
            return Flow::Go;
        }
        let limit = 2 * self.limits().frame_bytes;
        let Some(item) = desk.lines.append(conn, Item::Frame(frame), limit) else {
            return Flow::Hold;
        };
        let Item::Frame(frame) = item else { return Flow::Go };
        let Some(mut asked) = desk.ask_filter(conn, &frame) else {
            self.input_at(now, Input::Frame { conn, frame });
            return Flow::Go;
        };
        // Most filters have their verdict at once.
        let mut cx = Context::from_waker(Waker::noop());
        match Pin::new(&mut asked).poll(&mut cx) {
            Poll::Ready(Ok(verdict)) => {
                self.judged(conn, frame, verdict);
                Flow::Go
            }
            Poll::Ready(Err(Panicked)) => {
                self.hook_failed(conn, Hook::Filter, &Failure::Panicked);
                Flow::Go
            }
            Poll::Pending => {
                self.begin_line(conn, Item::Asked { frame, asked });
                Flow::Hold
            }
        }
    }

    /// The connection is gone, for the hub when what it sent before has been looked at.
    pub(crate) fn gone(&self, conn: ConnId) {
        if self.desk().lines.append(conn, Item::Leave, usize::MAX).is_some() {
            self.input(Input::Closed { conn });
        }
    }

    /// A message for the application has come through the hub.
    pub(super) fn deliver(&self, conn: ConnId, message: Bytes) {
        let Some(item) = self.desk().lines.append(conn, Item::Message(message), usize::MAX) else {
            return;
        };
        self.hold_back(conn);
        self.begin_line(conn, item);
    }

    fn begin_line(&self, conn: ConnId, item: Item) {
        self.desk().lines.begin(conn, item);
        self.spawn(Box::new(move |shard| work_off(shard, conn).boxed_local()));
    }

    fn judged(&self, conn: ConnId, frame: Bytes, verdict: Verdict) {
        match verdict {
            Verdict::Pass => self.input(Input::Frame { conn, frame }),
            Verdict::Drop => {}
            Verdict::Replace(frame) => self.input(Input::Frame { conn, frame }),
            Verdict::Close(code, reason) => self.dismiss(conn, code, &reason),
        }
    }

    fn hook_failed(&self, conn: ConnId, hook: Hook, failure: &Failure) {
        if let Some(peer) = self.desk().peer(conn) {
            let (room, peer) = (peer.room(), Some(peer.id()));
            self.notify(&Notice::HookFailed { hook, room, peer, failure });
        }
        self.dismiss(conn, CloseCode::INTERNAL, "the application failed");
    }
}

impl Desk {
    /// Asks the filter about a frame; `None` if there is no filter.
    fn ask_filter(&self, conn: ConnId, frame: &Bytes) -> Option<Guarded<Verdict>> {
        let filter = self.hooks.filter.as_ref()?;
        let Some(peer) = self.peer(conn) else {
            // For the hub it is gone.
            return Some(Guarded::new(|| async { Verdict::Drop }.boxed_local()));
        };
        let incoming = Incoming { peer, frame: frame.clone() };
        Some(Guarded::new(|| filter(incoming)))
    }

    fn tell_application(&self, conn: ConnId, message: Bytes) -> Option<Guarded<()>> {
        let hook = self.hooks.message.as_ref()?;
        let incoming = Incoming { peer: self.peer(conn)?, frame: message };
        Some(Guarded::new(|| hook(incoming)))
    }
}

/// Does what stands in a connection's line, and reads from it again when that is done.
async fn work_off(shard: Rc<Shard>, conn: ConnId) {
    while let Some(item) = shard.desk().lines.next(conn) {
        let failed = match item {
            Item::Asked { frame, asked } => judge(&shard, conn, frame, asked).await,
            Item::Frame(frame) => {
                if let Some(asked) = shard.desk().ask_filter(conn, &frame) {
                    judge(&shard, conn, frame, asked).await
                } else {
                    shard.input(Input::Frame { conn, frame });
                    Ok(())
                }
            }
            Item::Message(message) => match shard.desk().tell_application(conn, message) {
                Some(told) => shard.in_time(told).await.map_err(|failure| (Hook::Message, failure)),
                None => Ok(()),
            },
            Item::Leave => {
                shard.input(Input::Closed { conn });
                Ok(())
            }
        };
        if let Err((hook, failure)) = failed {
            shard.hook_failed(conn, hook, &failure);
            shard.desk().lines.remove(conn);
            break;
        }
    }
    shard.let_go(conn);
}

async fn judge(
    shard: &Shard,
    conn: ConnId,
    frame: Bytes,
    asked: Guarded<Verdict>,
) -> Result<(), (Hook, Failure)> {
    let verdict = shard.in_time(asked).await.map_err(|failure| (Hook::Filter, failure))?;
    shard.judged(conn, frame, verdict);
    Ok(())
}
