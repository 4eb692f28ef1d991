//! A store with faults: what it confirms it keeps, whatever else happens.

use crate::coverage::{Content, Coverage};
use crate::op::{Fate, Setup};
use crate::rng::Rng;
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use yroom::{
    Append, Batch, Durability, Input, RoomName, Seq, StoreFault, StoreFaultKind, StoreOp, Stored,
    Timestamp,
};

/// One server's store.
#[derive(Debug)]
pub(crate) struct Store {
    /// What is stored, by room.
    pub(crate) rooms: BTreeMap<RoomName, Kept>,
    queues: BTreeMap<RoomName, VecDeque<StoreOp>>,
    /// Appends that are carried out, and the engine has not heard of it.
    unheard: BTreeMap<RoomName, u32>,
    fates: VecDeque<Fate>,
    /// Nothing is answered before then.
    pub(crate) stalled_until: Timestamp,
    /// Nothing is written before then.
    pub(crate) full_until: Timestamp,
    /// How long an operation takes.
    pub(crate) latency: Duration,
    /// Deletions that ended, and whether they were carried out.
    pub(crate) deletions: Vec<(RoomName, bool)>,
    exact: Exact,
    rng: Rng,
}

/// What a snapshot has to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exact {
    /// What is durable, and nothing else: it may be shown.
    Yes,
    /// Also what was shown before it is durable.
    AtLeast,
}

/// What a store has of one room, and what a test knows of it.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// As the store has it.
    pub(crate) stored: Stored,
    /// When each row of its log was written, by the server's calendar.
    times: Vec<Timestamp>,
    /// And the last of all.
    changed: Option<Timestamp>,
    /// Every update at its place: what the log would be without compaction.
    pub(crate) history: Vec<Bytes>,
    /// Up to here the engine has been told that it is durable.
    pub(crate) confirmed: Seq,
    /// What that covers, and what a snapshot brought to the disk beyond it.
    pub(crate) durable: Coverage,
    /// What the whole history covers.
    pub(crate) accepted: Coverage,
    /// The next load reads this damaged copy.
    pub(crate) damage: Option<u16>,
}

/// What carrying out an operation came to.
#[derive(Debug)]
pub(crate) enum Done {
    /// Tell the engine.
    Answer(Input),
    /// Tell the engine; and damaged bytes were given to it.
    Damaged(Input),
    /// There is nothing to tell.
    Silent,
    /// A promise was broken by the engine.
    Broken(String),
}

impl Store {
    /// An empty store.
    pub(crate) fn new(setup: &Setup, number: usize) -> Self {
        let exact = match setup.durability {
            Durability::BeforeFanout => Exact::Yes,
            Durability::BeforeAck | Durability::Eventual => Exact::AtLeast,
        };
        Self {
            rooms: BTreeMap::new(),
            queues: BTreeMap::new(),
            unheard: BTreeMap::new(),
            fates: VecDeque::new(),
            stalled_until: Timestamp::ZERO,
            full_until: Timestamp::ZERO,
            latency: Duration::from_millis(1),
            deletions: Vec::new(),
            exact,
            rng: Rng::of(setup.seed, 2_000 + number as u64),
        }
    }

    /// Plans what becomes of the next operations.
    pub(crate) fn plan(&mut self, fate: Fate, times: u8) {
        self.fates.extend(std::iter::repeat_n(fate, usize::from(times)));
        self.fates.truncate(64);
    }

    /// All faults end.
    pub(crate) fn heal(&mut self) {
        self.fates.clear();
        self.stalled_until = Timestamp::ZERO;
        self.full_until = Timestamp::ZERO;
        self.latency = Duration::from_millis(1);
        for kept in self.rooms.values_mut() {
            kept.damage = None;
        }
    }

    /// Takes an operation; whether it is the first in its room's queue.
    pub(crate) fn submit(&mut self, op: StoreOp) -> bool {
        let queue = self.queues.entry(op.name().clone()).or_default();
        queue.push_back(op);
        queue.len() == 1
    }

    /// Whether something waits in a room's queue.
    pub(crate) fn is_busy(&self, room: &RoomName) -> bool {
        self.queues.get(room).is_some_and(|queue| !queue.is_empty())
    }

    /// How long the next operation takes, from `now`.
    pub(crate) fn takes(&mut self, now: Timestamp) -> Timestamp {
        let jitter = Duration::from_micros(self.rng.below(500));
        (now + self.latency + jitter).max(self.stalled_until)
    }

    /// Carries out the next operation of a room.
    pub(crate) fn perform(&mut self, now: Timestamp, calendar: Timestamp, room: &RoomName) -> Done {
        let Some(queue) = self.queues.get_mut(room) else { return Done::Silent };
        // What is confirmed is known by its place, and after a deletion places begin anew: the
        // confirmations that are under way arrive first.
        let is_deletion = matches!(queue.front(), Some(StoreOp::Delete { .. }));
        if is_deletion && self.unheard.get(room).is_some_and(|count| *count > 0) {
            return Done::Silent;
        }
        let Some(op) = queue.pop_front() else { return Done::Silent };
        let fate = match &op {
            StoreOp::Release { .. } => return Done::Silent,
            StoreOp::Append(_) | StoreOp::Compact { .. } | StoreOp::Delete { .. }
                if now < self.full_until =>
            {
                Some(Fate::NotDone)
            }
            StoreOp::Load { .. }
            | StoreOp::Append(_)
            | StoreOp::Compact { .. }
            | StoreOp::Delete { .. } => self.fates.pop_front(),
        };
        match op {
            StoreOp::Load { room, name } => self.load(calendar, room, &name, fate),
            StoreOp::Append(append) => self.append(calendar, &append, fate),
            StoreOp::Compact { room, name, upto, snapshot } => {
                let result = self.compact(&name, upto, &snapshot, fate);
                match result {
                    Ok(result) => Done::Answer(Input::Compacted { room, upto, result }),
                    Err(broken) => Done::Broken(broken),
                }
            }
            StoreOp::Delete { room, name } => {
                match fate {
                    Some(Fate::NotDone | Fate::NotDoneUnknown) => {
                        self.deletions.push((name, false));
                    }
                    None | Some(Fate::Slow | Fate::DoneUnknown) => {
                        self.rooms.remove(&name);
                        self.deletions.push((name, true));
                    }
                }
                let result = fate.and_then(fault).map_or(Ok(()), Err);
                Done::Answer(Input::Deleted { room, result })
            }
            StoreOp::Release { .. } => Done::Silent,
        }
    }

    fn load(
        &mut self,
        calendar: Timestamp,
        room: yroom::RoomId,
        name: &RoomName,
        fate: Option<Fate>,
    ) -> Done {
        if let Some(fault) = fate.and_then(fault) {
            return Done::Answer(Input::Loaded { room, result: Err(fault) });
        }
        *self.unheard.entry(name.clone()).or_default() += 1;
        let Some(kept) = self.rooms.get_mut(name) else {
            return Done::Answer(Input::Loaded { room, result: Ok(Stored::default()) });
        };
        if let Some(at) = kept.damage.take()
            && let Some(damaged) = damaged(&kept.stored, at)
        {
            return Done::Damaged(Input::Loaded { room, result: Ok(damaged) });
        }
        Done::Answer(Input::Loaded { room, result: Ok(kept.read(calendar)) })
    }

    fn append(&mut self, calendar: Timestamp, append: &Append, fate: Option<Fate>) -> Done {
        let Append { room, name, batch } = append;
        let (room, upto) = (*room, batch.last());
        let failed = |fault| Done::Answer(Input::WriteFailed { room, seq: upto, fault });
        match fate {
            Some(fate @ (Fate::NotDone | Fate::NotDoneUnknown)) => {
                fault(fate).map_or(Done::Silent, failed)
            }
            None | Some(Fate::Slow | Fate::DoneUnknown) => {
                let kept = self.rooms.entry(name.clone()).or_default();
                if let Err(broken) = kept.put(calendar, batch) {
                    return Done::Broken(broken);
                }
                if let Some(fault) = fate.and_then(fault) {
                    return failed(fault);
                }
                *self.unheard.entry(name.clone()).or_default() += 1;
                Done::Answer(Input::Durable { room, upto })
            }
        }
    }

    fn compact(
        &mut self,
        name: &RoomName,
        upto: Seq,
        snapshot: &Bytes,
        fate: Option<Fate>,
    ) -> Result<Result<(), StoreFault>, String> {
        match fate {
            Some(fate @ (Fate::NotDone | Fate::NotDoneUnknown)) => {
                return Ok(fault(fate).map_or(Ok(()), Err));
            }
            None | Some(Fate::Slow | Fate::DoneUnknown) => {}
        }
        let kept = self.rooms.entry(name.clone()).or_default();
        kept.replace(upto, snapshot, self.exact)?;
        Ok(fate.and_then(fault).map_or(Ok(()), Err))
    }

    /// The process died: of what was not carried out some may have happened, in order, and the
    /// last of that in part.
    pub(crate) fn crash(&mut self, calendar: Timestamp) -> Result<(), String> {
        self.unheard.clear();
        for (name, queue) in std::mem::take(&mut self.queues) {
            let done = self.rng.index(queue.len() + 1);
            for (at, op) in queue.into_iter().enumerate() {
                let kept = self.rooms.entry(name.clone()).or_default();
                match op {
                    StoreOp::Append(append) if at < done => {
                        kept.put(calendar, &append.batch)?;
                    }
                    StoreOp::Append(append) if at == done => {
                        let torn = append.batch.first().0 + self.rng.below(append.batch.count());
                        if let (Some(head), _) = append.batch.split(Seq(torn.saturating_sub(1))) {
                            kept.put(calendar, &head)?;
                        }
                    }
                    StoreOp::Compact { upto, snapshot, .. } if at < done => {
                        kept.replace(upto, &snapshot, self.exact)?;
                    }
                    StoreOp::Delete { .. } => {
                        if at < done {
                            self.rooms.remove(&name);
                        }
                        self.deletions.push((name.clone(), at < done));
                    }
                    StoreOp::Append(_)
                    | StoreOp::Compact { .. }
                    | StoreOp::Load { .. }
                    | StoreOp::Release { .. } => {}
                }
            }
        }
        Ok(())
    }

    /// The engine hears the answer to an append that succeeded.
    pub(crate) fn heard(&mut self, name: &RoomName) {
        if let Some(count) = self.unheard.get_mut(name) {
            *count = count.saturating_sub(1);
        }
    }

    /// The engine hears that `upto` is durable.
    pub(crate) fn confirm(&mut self, name: &RoomName, upto: Seq) -> Result<(), String> {
        let kept = self.rooms.entry(name.clone()).or_default();
        for at in kept.confirmed.0..upto.0 {
            let update =
                kept.history.get(at as usize).ok_or("the world confirms what is not there")?;
            kept.durable.add(&Content::read(update)?);
        }
        kept.confirmed = kept.confirmed.max(upto);
        Ok(())
    }
}

impl Kept {
    /// When the first row of its log was written.
    pub(crate) fn began(&self) -> Option<Timestamp> {
        self.times.first().copied()
    }

    /// When the rows up to a place were written.
    pub(crate) fn rows_upto(&self, upto: Seq) -> impl Iterator<Item = Timestamp> {
        let rows = self.stored.log.iter().zip(&self.times);
        rows.filter(move |(row, _)| row.first() <= upto).map(|(_, at)| *at)
    }

    /// The log's bytes.
    pub(crate) fn log_bytes(&self) -> usize {
        self.stored.log.iter().map(|batch| batch.framed().len()).sum()
    }

    /// It, with its ages at a time.
    fn read(&self, calendar: Timestamp) -> Stored {
        Stored {
            changed_ago: self.changed.map(|at| calendar.since(at)),
            log_began_ago: self.began().map(|at| calendar.since(at)),
            log_ages: self.times.iter().map(|at| calendar.since(*at)).collect(),
            ..self.stored.clone()
        }
    }

    fn put(&mut self, calendar: Timestamp, batch: &Batch) -> Result<(), String> {
        let (first, last) = (batch.first(), self.stored.last());
        if first > last.next() {
            return Err(format!("an append at {first:?} leaves a hole after {last:?}"));
        }
        if first <= self.confirmed {
            let confirmed = self.confirmed;
            return Err(format!(
                "an append at {first:?} replaces what is durable to {confirmed:?}"
            ));
        }
        if first <= self.stored.snapshot_upto {
            return Err(format!("an append at {first:?} is inside the snapshot"));
        }
        let before = Seq(first.0 - 1);
        let log = std::mem::take(&mut self.stored.log);
        self.stored.log = log.into_iter().filter_map(|kept| kept.split(before).0).collect();
        self.times.truncate(self.stored.log.len());
        self.stored.log.push(batch.clone());
        self.times.push(calendar);
        self.changed = Some(calendar);
        if !self.times.is_sorted() {
            return Err(format!("rows' times run backwards: {:?}", self.times));
        }
        if self.history.len() as u64 > before.0 {
            // Something unconfirmed was there; what it covered may be gone.
            self.history.truncate(before.0 as usize);
            self.accepted = Coverage::default();
            for update in &self.history {
                self.accepted.add(&Content::read(update)?);
            }
        }
        for update in batch.updates() {
            let content = Content::read(update)
                .map_err(|error| format!("stored an update that yrs cannot read: {error}"))?;
            if self.accepted.has(&content) {
                return Err("stored an update that brings nothing new".to_owned());
            }
            self.accepted.add(&content);
            self.history.push(Bytes::copy_from_slice(update));
        }
        Ok(())
    }

    fn replace(&mut self, upto: Seq, snapshot: &Bytes, exact: Exact) -> Result<(), String> {
        if upto > self.confirmed || upto == Seq::ZERO {
            let confirmed = self.confirmed;
            return Err(format!("compacts up to {upto:?}, durable is {confirmed:?}"));
        }
        if upto < self.stored.snapshot_upto {
            return Err(format!("compacts up to {upto:?} again"));
        }
        let folded = self.history[..upto.0 as usize].iter().map(|update| &update[..]);
        let whole = match exact {
            Exact::Yes => crate::client::doc_of(folded)?,
            Exact::AtLeast => {
                // Whoever asks after the next load is told that what is in it beyond `upto` is saved.
                self.durable.add(&Content::read(snapshot)?);
                crate::client::doc_of(folded.chain([&snapshot[..]]))?
            }
        };
        let compact = crate::client::doc_of([&snapshot[..]])
            .map_err(|error| format!("a snapshot that yrs cannot read: {error}"))?;
        let (whole, compact) = (crate::client::shape(&whole), crate::client::shape(&compact));
        if whole != compact {
            return Err(format!(
                "the snapshot up to {upto:?} is not the log:\n  log      {whole:?}\n  snapshot {compact:?}"
            ));
        }
        let log = std::mem::take(&mut self.stored.log);
        self.stored.log = log.into_iter().filter_map(|batch| batch.split(upto).1).collect();
        self.times.drain(..self.times.len() - self.stored.log.len());
        self.stored.snapshot = Some(snapshot.clone());
        self.stored.snapshot_upto = upto;
        Ok(())
    }

    /// The document as whoever loads it gets it.
    pub(crate) fn load(&self) -> Result<yrs::Doc, String> {
        let log = self.stored.log.iter().flat_map(Batch::updates);
        crate::client::doc_of(self.stored.snapshot.iter().map(|snapshot| &snapshot[..]).chain(log))
    }
}

fn fault(fate: Fate) -> Option<StoreFault> {
    match fate {
        Fate::NotDone => Some(StoreFault::new(StoreFaultKind::NotDone, "not now")),
        Fate::DoneUnknown | Fate::NotDoneUnknown => {
            Some(StoreFault::new(StoreFaultKind::Unknown, "the disk failed"))
        }
        Fate::Slow => None,
    }
}

/// A copy with one bit flipped, if that makes it malformed: a flipped letter nobody can notice.
fn damaged(stored: &Stored, at: u16) -> Option<Stored> {
    let flip = |bytes: &[u8]| {
        let mut copy = bytes.to_vec();
        let len = copy.len().max(1);
        *copy.get_mut(usize::from(at) % len)? ^= 1 << (at % 7);
        let limits = yroom::update::ScanLimits::default();
        yroom::update::scan(&copy, &limits).is_err().then_some(copy)
    };
    let mut copy = stored.clone();
    if let Some(snapshot) = &stored.snapshot
        && let Some(flipped) = flip(snapshot)
    {
        copy.snapshot = Some(flipped.into());
        return Some(copy);
    }
    let row = usize::from(at) % stored.log.len().max(1);
    let batch = stored.log.get(row)?;
    let mut updates: Vec<Vec<u8>> = batch.updates().map(<[u8]>::to_vec).collect();
    let place = usize::from(at) % updates.len();
    updates[place] = flip(&updates[place])?;
    copy.log[row] = Batch::of(batch.first(), updates.iter().map(|update| &update[..]))?;
    Some(copy)
}
