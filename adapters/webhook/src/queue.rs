//! What waits to be told, room by room. Pure: the time is an argument.

use crate::notice::{Detail, Notice, Topic};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};
use yroom::RoomName;

/// Notices of one room that wait, besides its change.
const NOTICES: usize = 64;
/// Rooms of which something waits.
const ROOMS: usize = 10_000;
/// The first wait after a failure, doubled with each further one.
const BACKOFF: Duration = Duration::from_secs(1);
const LONGEST_BACKOFF: Duration = Duration::from_secs(30);
/// The same once the server has ended, and for what is not to be had at the moment.
const SHORT_BACKOFF: Duration = Duration::from_millis(500);

/// How long to wait for what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// For a room's next change …
    pub(crate) wait: Duration,
    /// … but no longer since its first.
    pub(crate) max_wait: Duration,
    /// For a receiver that fails, from the first attempt on.
    pub(crate) give_up_after: Duration,
}

/// All that waits. `H` is what keeps a room loaded until it was told of.
#[derive(Debug)]
pub(crate) struct Queue<H> {
    pace: Pace,
    rooms: BTreeMap<RoomName, Waiting<H>>,
    /// One place for each room that nobody is telling of.
    due: BTreeSet<(Instant, RoomName)>,
    hurry: bool,
}

#[derive(Debug)]
struct Waiting<H> {
    notices: VecDeque<Notice>,
    change: Option<Change>,
    lost: u64,
    state: State,
    failing: Option<Failing>,
    held: Option<H>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Due(Instant),
    /// A thread tells of it.
    Taken,
}

/// A change that was not told yet: of many, the last.
#[derive(Debug)]
struct Change {
    notice: Notice,
    first: Instant,
    last: Instant,
}

/// A receiver that does not take the room's first notice.
#[derive(Clone, Copy, Debug)]
struct Failing {
    since: Instant,
    attempts: u32,
    again: Instant,
}

/// Something to tell, until [`Queue::done`].
#[derive(Debug)]
pub(crate) struct Errand<H> {
    pub(crate) room: RoomName,
    pub(crate) notice: Notice,
    pub(crate) lost: u64,
    pub(crate) held: Option<H>,
    first: Instant,
}

/// What became of an errand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Delivered,
    /// It may go well later.
    Failed,
    /// It will not.
    Refused,
    /// Nothing was tried: the room is not to be had now.
    Postponed,
}

/// What a failure leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sequel {
    Settled,
    /// It was given up after so many attempts.
    GivenUp(u32),
}

impl<H> Queue<H> {
    pub(crate) const fn new(pace: Pace) -> Self {
        Self { pace, rooms: BTreeMap::new(), due: BTreeSet::new(), hurry: false }
    }

    /// Takes something to tell; says whether there was room for it.
    pub(crate) fn push(&mut self, now: Instant, room: &RoomName, notice: Notice) -> bool {
        if !self.rooms.contains_key(room) {
            if self.rooms.len() >= ROOMS {
                return false;
            }
            self.rooms.insert(room.clone(), Waiting::new(now));
        }
        let Some(waiting) = self.rooms.get_mut(room) else { return false };
        let mut kept = true;
        if notice.topic == Topic::Change {
            let first = waiting.change.as_ref().map_or(now, |change| change.first);
            waiting.change = Some(Change { notice, first, last: now });
        } else {
            waiting.notices.push_back(notice);
            if waiting.notices.len() > NOTICES {
                waiting.notices.pop_front();
                waiting.lost += 1;
                kept = false;
            }
        }
        self.schedule(now, room);
        kept
    }

    /// The room is gone: there is no content of it to tell any more.
    pub(crate) fn forget_change(&mut self, now: Instant, room: &RoomName) {
        if let Some(waiting) = self.rooms.get_mut(room) {
            waiting.change = None;
            waiting.held = None;
            self.schedule(now, room);
        }
    }

    /// Nothing more will come: what waits is told without waiting for more.
    pub(crate) fn hurry(&mut self, now: Instant) {
        self.hurry = true;
        let rooms: Vec<RoomName> = self.rooms.keys().cloned().collect();
        for room in rooms {
            self.schedule(now, &room);
        }
    }

    /// What is to be told now.
    pub(crate) fn take(&mut self, now: Instant) -> Option<Errand<H>> {
        let (at, _) = self.due.first()?;
        if *at > now {
            return None;
        }
        let (_, room) = self.due.pop_first()?;
        let waiting = self.rooms.get_mut(&room)?;
        waiting.state = State::Taken;
        let (notice, first) = if waiting.is_change_next() {
            let change = waiting.change.take()?;
            (change.notice, change.first)
        } else {
            (waiting.notices.pop_front()?, now)
        };
        let (lost, held) = (std::mem::take(&mut waiting.lost), waiting.held.take());
        Some(Errand { room, notice, lost, held, first })
    }

    /// When [`take`](Self::take) has something, if nothing comes before.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// What became of an errand.
    pub(crate) fn done(&mut self, now: Instant, errand: Errand<H>, outcome: Outcome) -> Sequel {
        let Errand { room, .. } = &errand;
        let room = room.clone();
        let (pace, hurry) = (self.pace, self.hurry);
        let Some(waiting) = self.rooms.get_mut(&room) else { return Sequel::Settled };
        // For `schedule` it has no place yet.
        waiting.state = State::Taken;
        let sequel = match outcome {
            Outcome::Delivered => {
                waiting.failing = None;
                Sequel::Settled
            }
            Outcome::Refused => waiting.give_up(1),
            Outcome::Failed | Outcome::Postponed => {
                let new = Failing { since: now, attempts: 0, again: now };
                let failing = waiting.failing.unwrap_or(new);
                let tried = u32::from(outcome == Outcome::Failed);
                let attempts = failing.attempts + tried;
                if now.duration_since(failing.since) >= pace.give_up_after && !hurry {
                    waiting.give_up(attempts)
                } else {
                    let again = now + backoff(tried * attempts, hurry);
                    waiting.failing = Some(Failing { attempts, again, ..failing });
                    waiting.put_back(errand);
                    Sequel::Settled
                }
            }
        };
        if waiting.is_idle() {
            self.rooms.remove(&room);
        } else {
            self.place(now, &room);
        }
        sequel
    }

    /// How many notices wait or are being told, and of which rooms.
    pub(crate) fn waiting(&self) -> (usize, Vec<RoomName>) {
        let count = |waiting: &Waiting<H>| {
            let taken = usize::from(waiting.state == State::Taken);
            waiting.notices.len() + usize::from(waiting.change.is_some()) + taken
        };
        (self.rooms.values().map(count).sum(), self.rooms.keys().cloned().collect())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rooms.is_empty()
    }

    /// Gives a room its new place, if nobody tells of it; without anything to tell it is gone.
    fn schedule(&mut self, now: Instant, room: &RoomName) {
        let Some(waiting) = self.rooms.get(room) else { return };
        match waiting.state {
            State::Taken => return,
            State::Due(at) => self.due.remove(&(at, room.clone())),
        };
        if waiting.is_idle() {
            self.rooms.remove(room);
        } else {
            self.place(now, room);
        }
    }

    fn place(&mut self, now: Instant, room: &RoomName) {
        let Some(waiting) = self.rooms.get_mut(room) else { return };
        let at = waiting.due(now, self.pace, self.hurry);
        waiting.state = State::Due(at);
        self.due.insert((at, room.clone()));
    }
}

impl<H> Waiting<H> {
    const fn new(now: Instant) -> Self {
        let notices = VecDeque::new();
        Self { notices, change: None, lost: 0, state: State::Due(now), failing: None, held: None }
    }

    fn is_idle(&self) -> bool {
        self.notices.is_empty() && self.change.is_none()
    }

    /// A room's last change is told before its end; other notices do not wait for it.
    fn is_change_next(&self) -> bool {
        self.change.is_some() && self.notices.front().is_none_or(|it| it.topic == Topic::Close)
    }

    fn due(&self, now: Instant, pace: Pace, hurry: bool) -> Instant {
        let at = match &self.change {
            Some(change) if self.notices.is_empty() && !hurry => {
                (change.last + pace.wait).min(change.first + pace.max_wait)
            }
            Some(_) | None => now,
        };
        match self.failing {
            Some(failing) if hurry => at.max(failing.again.min(now + SHORT_BACKOFF)),
            Some(failing) => at.max(failing.again),
            None => at,
        }
    }

    fn give_up(&mut self, attempts: u32) -> Sequel {
        self.failing = None;
        self.lost += 1;
        Sequel::GivenUp(attempts)
    }

    /// What could not be told is the next again; a change, unless a newer one has come.
    fn put_back(&mut self, errand: Errand<H>) {
        let Errand { notice, lost, held, first, .. } = errand;
        self.lost += lost;
        self.held = held;
        if notice.topic == Topic::Change {
            match &mut self.change {
                Some(newer) => newer.first = first,
                None => self.change = Some(Change { notice, first, last: first }),
            }
        } else {
            self.notices.push_front(notice);
        }
    }
}

fn backoff(attempts: u32, hurry: bool) -> Duration {
    match attempts.checked_sub(1) {
        Some(doublings) if !hurry => {
            BACKOFF.saturating_mul(1 << doublings.min(10)).min(LONGEST_BACKOFF)
        }
        Some(_) | None => SHORT_BACKOFF,
    }
}

/// That a room has changed, when nobody knows how far.
pub(crate) fn changed_somehow() -> Notice {
    Notice::now(Topic::Change, Detail::Nothing)
}

#[cfg(test)]
mod tests;
