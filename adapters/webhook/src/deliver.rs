//! The threads: one hears what happens, a few post it.

use crate::content::{json, stored_json, too_large};
use crate::notice::{Data, Detail, Notice, Topic};
use crate::queue::{Errand, Outcome, Pace, Queue, Sequel, changed_somehow};
use crate::wait::wait;
use crate::webhook::{Trouble, Webhook};
use data_encoding::HEXLOWER;
use ring::hmac;
use std::future::poll_fn;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};
use ureq::Agent;
use yroom::provider::WorkingCopy;
use yroom::{Event, Input, Reject, RoomId, RoomName, StoreOp, Stored};
use yroom_net::app::{Events, Happening, News, PeerId, Room, RoomError, Rooms};
use yroom_net::store::{Inbox, Store};

/// How many wait for the receiver at a time.
const THREADS: usize = 4;
/// How long to wait for a room's content.
const READING: Duration = Duration::from_secs(10);
/// Of an answer's body only so much is read, so that its connection can be used again.
const ANSWER_BYTES: u64 = 64 << 10;

/// What waits, and who waits for it.
pub(crate) struct Desk {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    queue: Queue<Room>,
    /// The server has ended, and all that it said is in the queue.
    heard_all: bool,
    /// Nobody wants anything told any more.
    over: bool,
}

impl Desk {
    pub(crate) fn new(pace: Pace) -> Self {
        let state = State { queue: Queue::new(pace), heard_all: false, over: false };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Waits until all is told, or the time is over; gives what is left.
    pub(crate) fn finish(&self, until: Instant) -> (usize, Vec<RoomName>) {
        let mut state = self.lock();
        while !(state.heard_all && state.queue.is_empty()) {
            let rest = until.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                break;
            }
            let waited = self.changed.wait_timeout(state, rest);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.queue.waiting()
    }

    pub(crate) fn stop(&self) {
        self.lock().over = true;
        self.changed.notify_all();
    }

    fn is_over(&self) -> bool {
        self.lock().over
    }

    /// The next errand, waited for; `None` when there is none any more.
    fn take(&self) -> Option<Errand<Room>> {
        let mut state = self.lock();
        loop {
            if state.over {
                return None;
            }
            let now = Instant::now();
            if let Some(errand) = state.queue.take(now) {
                return Some(errand);
            }
            state = match state.queue.next_due() {
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(due) => {
                    let rest = due.saturating_duration_since(now);
                    self.changed.wait_timeout(state, rest).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// Changes the queue. Those who wait are woken if there is something to do earlier than they
    /// expect, or nothing any more: a room that changes all the time wakes nobody.
    fn with<T>(&self, change: impl FnOnce(&mut Queue<Room>, Instant) -> T) -> T {
        let mut state = self.lock();
        let before = state.queue.next_due();
        let result = change(&mut state.queue, Instant::now());
        let sooner = match (state.queue.next_due(), before) {
            (Some(now), Some(before)) => now < before,
            (Some(_), None) => true,
            (None, _) => false,
        };
        if sooner || state.queue.is_empty() {
            self.changed.notify_all();
        }
        result
    }

    /// The queue's own code does not panic half-way.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hears what happens, and tells it.
pub(crate) struct Courier {
    webhook: Webhook,
    key: Option<hmac::Key>,
    agent: Agent,
    rooms: Rooms,
    desk: Arc<Desk>,
}

impl Courier {
    pub(crate) fn new(webhook: Webhook, rooms: Rooms, desk: Arc<Desk>) -> Self {
        let key = webhook.secret.as_ref().map(|key| hmac::Key::new(hmac::HMAC_SHA256, key));
        let config = Agent::config_builder()
            .timeout_global(Some(webhook.timeout))
            .max_redirects(0)
            .http_status_as_error(false)
            .proxy(None)
            .user_agent(concat!("yroom/", env!("CARGO_PKG_VERSION")))
            .max_idle_connections(THREADS)
            .build();
        Self { webhook, key, agent: config.new_agent(), rooms, desk }
    }

    /// Starts all threads; gives the one that listens, to be unparked at the end.
    pub(crate) fn start(self: &Arc<Self>) -> io::Result<Thread> {
        for index in 0..THREADS {
            let courier = Arc::clone(self);
            thread::Builder::new()
                .name(format!("yroom-webhook-{index}"))
                .stack_size(WorkingCopy::STACK)
                .spawn(move || courier.carry())?;
        }
        let courier = Arc::clone(self);
        let events = self.rooms.events();
        let listener = thread::Builder::new().name("yroom-webhook".to_owned());
        Ok(listener.spawn(move || courier.listen(events))?.thread().clone())
    }

    fn listen(&self, mut events: Events) {
        let over = || self.desk.is_over();
        loop {
            match wait(events.next(), None, over) {
                Some(Some(News::Happened(happening))) => self.hear(&happening),
                Some(Some(News::Lost(count))) => self.missed(count),
                Some(None) => break,
                None => return,
            }
        }
        {
            let mut state = self.desk.lock();
            state.heard_all = true;
            state.queue.hurry(Instant::now());
        }
        self.desk.changed.notify_all();
    }

    fn hear(&self, happening: &Happening) {
        let peer = || match happening.peer {
            Some(PeerId { shard, conn }) => Detail::Peer(format!("{shard}-{conn:?}")),
            None => Detail::Nothing,
        };
        let (topic, detail) = match &happening.event {
            Event::RoomChanged { upto, .. } => (Topic::Change, Detail::Upto(*upto)),
            Event::RoomOpened { .. } => (Topic::Open, Detail::Nothing),
            Event::RoomClosed { .. } => (Topic::Close, Detail::Nothing),
            Event::RoomDeleted { result: Ok(()), .. } => {
                self.desk.with(|queue, now| queue.forget_change(now, &happening.room));
                (Topic::Delete, Detail::Nothing)
            }
            Event::PeerJoined { .. } => (Topic::Join, peer()),
            Event::PeerLeft { .. } => (Topic::Leave, peer()),
            _ => return,
        };
        self.push(&happening.room, Notice::now(topic, detail));
    }

    /// Which rooms have changed is not known then; those that are loaded may have.
    fn missed(&self, count: u64) {
        self.tell(&Trouble::Missed { count });
        let until = Instant::now() + READING;
        let listed = wait(self.rooms.list(), Some(until), || self.desk.is_over());
        for room in listed.and_then(Result::ok).into_iter().flatten() {
            self.push(&room.name, changed_somehow());
        }
    }

    fn push(&self, room: &RoomName, notice: Notice) {
        if !self.webhook.topics.contains(&notice.topic) {
            return;
        }
        if !self.desk.with(|queue, now| queue.push(now, room, notice)) {
            self.tell(&Trouble::Overflow { room: room.clone() });
        }
    }

    /// A thread's work.
    fn carry(&self) {
        while let Some(mut errand) = self.desk.take() {
            let data = match errand.notice.topic {
                Topic::Change if !self.webhook.objects.is_empty() => self.content(&mut errand),
                Topic::Change
                | Topic::Open
                | Topic::Close
                | Topic::Delete
                | Topic::Join
                | Topic::Leave => Some(Data::None),
            };
            let (outcome, why) = match data {
                None => (Outcome::Postponed, String::new()),
                Some(data) => {
                    if let Data::Omitted(why) = &data {
                        let (room, why) = (errand.room.clone(), why.clone());
                        self.tell(&Trouble::Omitted { room, why });
                    }
                    self.post(&errand.notice.body(&errand.room, errand.lost, &data))
                }
            };
            self.settle(errand, outcome, why);
        }
    }

    fn settle(&self, errand: Errand<Room>, outcome: Outcome, why: String) {
        let (room, topic) = (errand.room.clone(), errand.notice.topic);
        let sequel = self.desk.with(|queue, now| queue.done(now, errand, outcome));
        match (sequel, outcome) {
            (Sequel::GivenUp(attempts), _) => {
                self.tell(&Trouble::GivenUp { room, topic, attempts, why });
            }
            (Sequel::Settled, Outcome::Failed) => self.tell(&Trouble::Failed { room, topic, why }),
            (Sequel::Settled, Outcome::Delivered | Outcome::Refused | Outcome::Postponed) => {}
        }
    }

    /// Posts a body; says what became of it, and why.
    fn post(&self, body: &str) -> (Outcome, String) {
        let mut request =
            self.agent.post(&self.webhook.url).header("content-type", "application/json");
        if let Some(key) = &self.key {
            let signature = HEXLOWER.encode(hmac::sign(key, body.as_bytes()).as_ref());
            request = request.header("x-yroom-signature-256", format!("sha256={signature}"));
        }
        let mut answer = match request.send(body) {
            Ok(answer) => answer,
            Err(error) => return (Outcome::Failed, error.to_string()),
        };
        // What it says does not matter.
        let _ = answer.body_mut().with_config().limit(ANSWER_BYTES).read_to_vec();
        let status = answer.status().as_u16();
        let outcome = match status {
            200..300 => Outcome::Delivered,
            408 | 425 | 429 | 500.. => Outcome::Failed,
            _ => Outcome::Refused,
        };
        (outcome, format!("the receiver answered with {status}"))
    }

    /// A room's content; `None` if it is not to be had now. The room is kept loaded in the errand, in
    /// case that it has to be read again.
    fn content(&self, errand: &mut Errand<Room>) -> Option<Data> {
        if self.desk.lock().heard_all {
            return Some(self.last_content(&errand.room));
        }
        let until = Instant::now() + READING;
        let read = wait(self.read(errand), Some(until), || self.desk.is_over());
        match read {
            Some(Ok(data)) => Some(data),
            Some(Err(
                RoomError::Stopped
                | RoomError::Gone
                | RoomError::Busy
                | RoomError::Rejected(
                    Reject::ShuttingDown | Reject::TooManyRooms | Reject::BeingDeleted,
                ),
            )) => {
                errand.held = None;
                None
            }
            Some(Err(why)) => Some(Data::Omitted(why.to_string())),
            None => Some(Data::Omitted("it took too long to read it".to_owned())),
        }
    }

    async fn read(&self, errand: &mut Errand<Room>) -> Result<Data, RoomError> {
        let room = match &errand.held {
            Some(room) => room,
            None => errand.held.insert(self.rooms.get(&errand.room).await?),
        };
        let most = self.webhook.max_bytes;
        let bytes = room.info().await?.bytes;
        if bytes > most {
            return Ok(Data::Omitted(too_large(bytes, most)));
        }
        let objects = self.webhook.objects.clone();
        let json = room.read(move |doc| json(doc, &objects)).await?;
        Ok(bounded(json, most))
    }

    /// What the store has of a room, once the server has ended.
    fn last_content(&self, room: &RoomName) -> Data {
        let Some(store) = &self.webhook.store else {
            return Data::Omitted("the server has ended".to_owned());
        };
        let most = self.webhook.max_bytes;
        let json = load(&**store, room, &|| self.desk.is_over())
            .and_then(|stored| stored_json(&stored, &self.webhook.objects, most));
        json.map_or_else(Data::Omitted, |json| bounded(json, most))
    }

    fn tell(&self, trouble: &Trouble) {
        (self.webhook.observer)(trouble);
    }
}

fn bounded(json: String, most: usize) -> Data {
    if json.len() > most { Data::Omitted(too_large(json.len(), most)) } else { Data::Json(json) }
}

fn load(store: &dyn Store, room: &RoomName, over: &dyn Fn() -> bool) -> Result<Stored, String> {
    let inbox = Inbox::new();
    // No load of a hub's: a number that none has.
    let op = StoreOp::Load { room: RoomId::from_raw(u64::MAX), name: room.clone() };
    let reply = inbox.reply_for(&op);
    store.submit(op, reply);
    let inputs = wait(poll_fn(|cx| inbox.poll_take(cx)), Some(Instant::now() + READING), over);
    match inputs.and_then(|inputs| inputs.into_iter().next()) {
        Some(Input::Loaded { result, .. }) => result.map_err(|fault| fault.to_string()),
        _ => Err("the store does not answer".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use yroom::Config;
    use yroom_net::Server;
    use yroom_net::runtime::Smol;

    #[test]
    fn when_happenings_are_missed_all_loaded_rooms_count_as_changed() {
        let running = Server::<Smol>::new(Config::default()).threads(2).start().unwrap();
        let names = ["a", "b", "c"].map(|name| RoomName::new(name).unwrap());
        let never = || false;
        let hold = |name| wait(running.rooms().get(name), None, never).unwrap().unwrap();
        let held: Vec<Room> = names.iter().map(hold).collect();
        let (told, telling) = mpsc::channel();
        let webhook = Webhook::new("http://127.0.0.1:1/").unwrap().observe(move |trouble| {
            told.send(trouble.clone()).unwrap();
        });
        let desk = Arc::new(Desk::new(webhook.pace));
        let courier = Courier::new(webhook, running.rooms(), Arc::clone(&desk));
        courier.missed(7);
        assert_eq!(telling.recv(), Ok(Trouble::Missed { count: 7 }));
        assert_eq!(desk.lock().queue.waiting(), (3, names.to_vec()));
        drop(held);
    }
}
