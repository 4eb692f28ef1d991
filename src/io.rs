//! The vocabulary: what goes into a [`Hub`](crate::Hub), and what comes out.

use crate::error::{CloseCode, Fault, InvalidRoomName, StoreFault};
use crate::wire::varint;
use bytes::{BufMut, Bytes, BytesMut};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// One peer in one room: hub-local, never reused.
///
/// Not a socket: a socket that multiplexes documents is several connections.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub(crate) u64);

impl ConnId {
    /// Whoever the application is to a room. No connection has it: keys start at 2³².
    pub(crate) const APPLICATION: Self = Self(0);
}

/// One *load* of a room: a room that is unloaded and loaded again has another, so that a late
/// completion is seen to be late. Hub-local, never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoomId(pub(crate) u64);

impl RoomId {
    /// The id of this number, for whoever tests a store without a hub.
    pub const fn from_raw(raw: u64) -> Self {
        Self(raw)
    }
}

/// The place of an accepted update in its room's journal: 1, 2, 3 … for as long as the room is
/// stored, across loads.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(pub u64);

impl Seq {
    /// Before the first update.
    pub const ZERO: Self = Self(0);

    /// The place after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

macro_rules! debug_as {
    ($($name:ident $prefix:literal),*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
    )*};
}
debug_as!(ConnId "conn", RoomId "room", Seq "#");

/// The name of a room: 1 to 255 bytes of UTF-8 without control characters.
///
/// A WebSocket server takes the URL's path without its leading `/`, as it is: slashes belong to the
/// name, percent-encoding is not undone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoomName(Arc<str>);

impl RoomName {
    /// The longest name, in bytes: what fits a file name on every file system.
    pub const MAX_BYTES: usize = 255;

    /// Checks `name`: fails if it is empty, longer than 255 bytes, or has a control character.
    pub fn new(name: &str) -> Result<Self, InvalidRoomName> {
        if name.is_empty() {
            Err(InvalidRoomName::Empty)
        } else if name.len() > Self::MAX_BYTES {
            Err(InvalidRoomName::TooLong)
        } else if name.chars().any(char::is_control) {
            Err(InvalidRoomName::ControlCharacter)
        } else {
            Ok(Self(name.into()))
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for RoomName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for RoomName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What happens to a hub.
#[derive(Clone, Debug)]
pub enum Input {
    /// A binary frame came from a peer.
    Frame {
        /// From whom.
        conn: ConnId,
        /// The frame's payload.
        frame: Bytes,
    },
    /// So much has come of a frame whose end has not: tells the hub what the driver holds for a peer,
    /// and counts until that frame is there. Only before a room is loaded does the hub bound it: a
    /// driver that gathers frames itself tells it of long ones, one that is given whole frames cannot.
    Arriving {
        /// From whom.
        conn: ConnId,
        /// All that has come of this one frame.
        bytes: usize,
    },
    /// Frames that were sent have left for the network: gives `bytes` of credit back.
    Flushed {
        /// To whom.
        conn: ConnId,
        /// The sum of their lengths.
        bytes: usize,
    },
    /// The connection is gone, whoever closed it.
    Closed {
        /// Which.
        conn: ConnId,
    },
    /// The answer to [`StoreOp::Load`].
    Loaded {
        /// Which load.
        room: RoomId,
        /// What was stored; [`Stored::default`] if nothing was.
        result: Result<Stored, StoreFault>,
    },
    /// All appends up to and including `upto` are durable.
    Durable {
        /// Which load.
        room: RoomId,
        /// The last durable place, and so everything below.
        upto: Seq,
    },
    /// An append failed. Of later appends of this load nothing is known: the room sends them again.
    WriteFailed {
        /// Which load.
        room: RoomId,
        /// The [`Batch::last`] of the append that failed.
        seq: Seq,
        /// Why.
        fault: StoreFault,
    },
    /// The answer to [`StoreOp::Compact`]. A failure harms nothing: the log is still there.
    Compacted {
        /// Which load.
        room: RoomId,
        /// As in the operation.
        upto: Seq,
        /// Whether the snapshot has replaced the log up to `upto`.
        result: Result<(), StoreFault>,
    },
    /// The answer to [`StoreOp::Delete`].
    Deleted {
        /// Which load.
        room: RoomId,
        /// Whether nothing is stored of the room any more. After a failure all of it is there, or,
        /// if its effect is unknown, perhaps nothing: never a part.
        result: Result<(), StoreFault>,
    },
    /// The answer to [`ApplicationOp::Initialise`].
    Initialised {
        /// Which load.
        room: RoomId,
        /// The room's first content as a Yjs V1 update, or none. A fault is one of the load: the
        /// room's peers are closed with 1013, and the next one to come asks again.
        result: Result<Option<Bytes>, StoreFault>,
    },
}

/// What a hub wants done. Exhaustive on purpose: an output that is not carried out loses data.
#[derive(Clone, Debug, PartialEq)]
#[must_use = "an effect that is not carried out is lost"]
pub enum Output {
    /// Send one binary frame.
    Send {
        /// To whom.
        conn: ConnId,
        /// One whole message.
        frame: Bytes,
    },
    /// Close the connection after what was sent before. No more is sent to it.
    ///
    /// Answered by [`Input::Closed`] when it has ended. After [`Hub::shutdown`](crate::Hub::shutdown)
    /// its room waits for that; otherwise it is forgotten already.
    Close {
        /// Which.
        conn: ConnId,
        /// With which code.
        code: CloseCode,
        /// One sentence, at most 123 bytes.
        reason: String,
    },
    /// Stop reading from this peer.
    Pause {
        /// Which.
        conn: ConnId,
    },
    /// Read from this peer again.
    Resume {
        /// Which.
        conn: ConnId,
    },
    /// Something for the store.
    Store(StoreOp),
    /// Something for the application; comes only if [`Config`](crate::Config) asks for it.
    Application(ApplicationOp),
    /// Something to know; may be dropped.
    Event(Event),
}

/// What a room asks of the application it runs in.
#[derive(Clone, Debug, PartialEq)]
pub enum ApplicationOp {
    /// Give the first content of a room that the store has never heard of; answered by
    /// [`Input::Initialised`], within [`Limits::load_timeout`](crate::Limits::load_timeout).
    ///
    /// Only with [`Absent::Initialise`](crate::Absent). A room is asked for once in a load, however
    /// many peers wait, and nobody is served before the content is durable. If the process ends
    /// before that, the next load asks again, so give the same content under the same client id.
    Initialise {
        /// Which load.
        room: RoomId,
        /// Of what.
        name: RoomName,
    },
    /// A peer sent a message of one of the
    /// [`Config::application_messages`](crate::Config::application_messages).
    Message {
        /// From whom.
        conn: ConnId,
        /// The message from its type on, up to the end of its frame.
        message: Bytes,
    },
}

/// What a room asks of its store. Operations of one room are carried out in order.
#[derive(Clone, Debug, PartialEq)]
pub enum StoreOp {
    /// Read all that is stored of a room; answered by [`Input::Loaded`].
    ///
    /// Comes again while the room is open, if [`History::older_than`](crate::History::older_than) is
    /// set.
    Load {
        /// Which load.
        room: RoomId,
        /// Of what.
        name: RoomName,
    },
    /// Make a batch durable; answered by [`Input::Durable`] or [`Input::WriteFailed`].
    ///
    /// Idempotent by place: after a failure of unknown effect the same places come again, perhaps
    /// in another division, and replace what is stored there.
    Append(Append),
    /// Replace everything up to and including `upto` by a snapshot; answered by
    /// [`Input::Compacted`].
    Compact {
        /// Which load.
        room: RoomId,
        /// Of what.
        name: RoomName,
        /// The last place that the snapshot covers; durable before this is asked.
        upto: Seq,
        /// One Yjs V1 update that holds the whole document.
        snapshot: Bytes,
    },
    /// Forget everything of a room, in one step; answered by [`Input::Deleted`].
    ///
    /// Afterwards the room is absent, as if it had never been stored: its places begin anew. There
    /// need not be anything to forget.
    Delete {
        /// Which load.
        room: RoomId,
        /// Of what.
        name: RoomName,
    },
    /// This load of the room is over; nothing more comes for it. No answer.
    Release {
        /// Which load.
        room: RoomId,
        /// Of what.
        name: RoomName,
    },
}

impl StoreOp {
    /// Which load of a room this is for.
    pub const fn room(&self) -> RoomId {
        match self {
            Self::Load { room, .. }
            | Self::Compact { room, .. }
            | Self::Delete { room, .. }
            | Self::Release { room, .. } => *room,
            Self::Append(append) => append.room,
        }
    }

    /// The room's name.
    pub const fn name(&self) -> &RoomName {
        match self {
            Self::Load { name, .. }
            | Self::Compact { name, .. }
            | Self::Delete { name, .. }
            | Self::Release { name, .. } => name,
            Self::Append(append) => &append.name,
        }
    }
}

/// A batch of one room on its way to the store.
#[derive(Clone, Debug, PartialEq)]
pub struct Append {
    /// Which load.
    pub room: RoomId,
    /// Of what.
    pub name: RoomName,
    /// The updates.
    pub batch: Batch,
}

/// Updates at consecutive places of a journal, one after the other in one buffer.
#[derive(Clone, PartialEq, Eq)]
pub struct Batch {
    first: Seq,
    count: u64,
    framed: Bytes,
}

impl Batch {
    /// The place of the first update.
    pub const fn first(&self) -> Seq {
        self.first
    }

    /// The place of the last update.
    pub const fn last(&self) -> Seq {
        Seq(self.first.0 + self.count - 1)
    }

    /// How many updates there are; at least one.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The updates in the form they are stored in: each a varint length and that many bytes.
    pub const fn framed(&self) -> &Bytes {
        &self.framed
    }

    /// Reads back what [`framed`](Self::framed) gave; `None` if it is not that or is empty.
    pub fn from_framed(first: Seq, framed: Bytes) -> Option<Self> {
        let mut rest = &framed[..];
        let mut count = 0;
        while !rest.is_empty() {
            let len = varint::read(&mut rest)?;
            rest = rest.get(usize::try_from(len).ok()?..)?;
            count += 1;
        }
        (count > 0).then_some(Self { first, count, framed })
    }

    /// A batch of one update.
    pub fn single(first: Seq, update: &[u8]) -> Self {
        let mut framed = BytesMut::with_capacity(update.len() + varint::MAX_LEN);
        varint::write(&mut framed, update.len() as u64);
        framed.put_slice(update);
        Self { first, count: 1, framed: framed.freeze() }
    }

    /// A batch of these updates; `None` if there are none.
    pub fn of<'a>(first: Seq, updates: impl IntoIterator<Item = &'a [u8]>) -> Option<Self> {
        let mut builder = BatchBuilder::new(first);
        for update in updates {
            builder.push(update);
        }
        builder.take()
    }

    /// The batch in two: up to and including the place `at`, and after it.
    #[expect(clippy::missing_panics_doc, reason = "the lengths were read when the batch was made")]
    pub fn split(&self, at: Seq) -> (Option<Self>, Option<Self>) {
        if at < self.first {
            return (None, Some(self.clone()));
        }
        if at >= self.last() {
            return (Some(self.clone()), None);
        }
        let count = at.0 - self.first.0 + 1;
        let mut rest = &self.framed[..];
        for _ in 0..count {
            let len = varint::read(&mut rest).expect("read before");
            rest = &rest[len as usize..];
        }
        let cut = self.framed.len() - rest.len();
        let head = Self { first: self.first, count, framed: self.framed.slice(..cut) };
        let tail =
            Self { first: at.next(), count: self.count - count, framed: self.framed.slice(cut..) };
        (Some(head), Some(tail))
    }

    /// The updates in order.
    pub fn updates(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &self.framed[..];
        std::iter::from_fn(move || {
            let len = varint::read(&mut rest)?;
            let (update, after) = rest.split_at_checked(usize::try_from(len).ok()?)?;
            rest = after;
            Some(update)
        })
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}..={:?} ({} bytes)", self.first, self.last(), self.framed.len())
    }
}

/// Gathers updates into the next [`Batch`].
#[derive(Debug)]
pub(crate) struct BatchBuilder {
    first: Seq,
    count: u64,
    framed: BytesMut,
}

impl BatchBuilder {
    pub(crate) fn new(first: Seq) -> Self {
        Self { first, count: 0, framed: BytesMut::new() }
    }

    pub(crate) fn push(&mut self, update: &[u8]) {
        self.framed.reserve(update.len() + varint::MAX_LEN);
        varint::write(&mut self.framed, update.len() as u64);
        self.framed.put_slice(update);
        self.count += 1;
    }

    /// What was gathered, if anything; the builder goes on at the next place.
    pub(crate) fn take(&mut self) -> Option<Batch> {
        if self.count == 0 {
            return None;
        }
        let framed = std::mem::take(&mut self.framed).freeze();
        let batch = Batch { first: self.first, count: self.count, framed };
        self.first = batch.last().next();
        self.count = 0;
        Some(batch)
    }

    pub(crate) fn bytes(&self) -> usize {
        self.framed.len()
    }
}

/// What a store has of a room. The default is: nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// The document up to [`snapshot_upto`](Self::snapshot_upto), as one Yjs V1 update.
    pub snapshot: Option<Bytes>,
    /// The last place that the snapshot covers.
    pub snapshot_upto: Seq,
    /// The batches after the snapshot, in order.
    pub log: Vec<Batch>,
    /// How long ago the room last changed, if the store knows: by the time of its answer, as the
    /// engine has no calendar.
    pub changed_ago: Option<Duration>,
    /// How long ago the first batch of the log was stored, if the store knows.
    pub log_began_ago: Option<Duration>,
    /// How long ago each batch of the log was stored; empty if the store does not know.
    pub log_ages: Vec<Duration>,
}

impl Stored {
    /// Whether the store has never heard of the room.
    pub const fn is_absent(&self) -> bool {
        self.snapshot.is_none() && self.log.is_empty()
    }

    /// The last place that is stored.
    pub fn last(&self) -> Seq {
        self.log.last().map_or(self.snapshot_upto, Batch::last)
    }
}

/// Something to know: for logs, metrics and tests. May be dropped.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// A room was asked for, and its load has begun.
    RoomOpened {
        /// Which load.
        room: RoomId,
        /// Of what.
        name: RoomName,
    },
    /// The room's content is here; its peers are served.
    RoomLive {
        /// Which load.
        room: RoomId,
        /// Bytes of the document.
        bytes: usize,
    },
    /// The store fails for this room.
    RoomDegraded {
        /// Which load.
        room: RoomId,
        /// Why.
        fault: StoreFault,
    },
    /// The store works again for this room.
    RoomRecovered {
        /// Which load.
        room: RoomId,
    },
    /// The room is unloaded, everything durable, or its load failed.
    RoomClosed {
        /// Which load.
        room: RoomId,
        /// Accepted updates that could not be made durable; 0 but for a forced shutdown.
        unsaved: u64,
    },
    /// The application had the room deleted.
    RoomDeleted {
        /// Which load.
        room: RoomId,
        /// Whether the store has forgotten it; if not, it is still there for the next load.
        result: Result<(), StoreFault>,
    },
    /// The log was folded into a new snapshot in the store.
    RoomCompacted {
        /// Which load.
        room: RoomId,
        /// What the snapshot covers.
        upto: Seq,
        /// Its size.
        bytes: usize,
    },
    /// A snapshot could not replace the log in the store; the log is still there.
    CompactionFailed {
        /// Which load.
        room: RoomId,
        /// Why.
        fault: StoreFault,
    },
    /// A peer came in.
    PeerJoined {
        /// Who.
        conn: ConnId,
        /// Where.
        room: RoomId,
    },
    /// A peer's first SyncStep1 was answered.
    PeerSynced {
        /// Who.
        conn: ConnId,
    },
    /// A peer went.
    PeerLeft {
        /// Who.
        conn: ConnId,
    },
    /// A peer did something that ends its connection.
    PeerFaulted {
        /// Who.
        conn: ConnId,
        /// What.
        fault: Fault,
    },
    /// A peer tried what its [`Access`](crate::Access) does not allow; nothing of it was used.
    Refused {
        /// Who.
        conn: ConnId,
    },
    /// A peer has more waiting for it than it takes: single updates are no longer queued for it.
    PeerLagging {
        /// Who.
        conn: ConnId,
    },
    /// A lagging peer was sent all that it lacked.
    PeerCaughtUp {
        /// Who.
        conn: ConnId,
    },
    /// An update depends on something that the room does not have; the peer was asked for it.
    Gap {
        /// Who.
        conn: ConnId,
        /// How often it has been asked now; no more than
        /// [`Limits::gap_attempts`](crate::Limits::gap_attempts).
        attempt: u32,
    },
    /// Everything that this connection sent so far and that was accepted is durable.
    Acknowledged {
        /// Whose updates.
        conn: ConnId,
        /// The place of the last of them.
        upto: Seq,
    },
    /// The document has changed, as far as it may be shown: what came together is one event.
    ///
    /// The cue for whoever keeps something up to date that is made from the document: wait a moment,
    /// as more will follow, then read [`Hub::content`](crate::Hub::content).
    RoomChanged {
        /// Which load.
        room: RoomId,
        /// The last place that is shown.
        upto: Seq,
    },
    /// What a room's peers show of themselves has changed.
    PresenceChanged {
        /// Which load.
        room: RoomId,
        /// The new states and the removals, each the newest of its client, as an awareness payload:
        /// [`wire::awareness::entries`](crate::wire::awareness::entries) reads it.
        states: Bytes,
    },
    /// A message of a type that the engine does not know; ignored.
    UnknownMessage {
        /// From whom.
        conn: ConnId,
        /// Its type.
        tag: u64,
    },
}
