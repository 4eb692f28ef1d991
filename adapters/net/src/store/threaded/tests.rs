use super::super::{Inbox, MemoryStore};
use super::round::{Chore, Round};
use super::*;
use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};
use yroom::{Append, Batch, Input, RoomId, RoomName, Seq, Stored};

#[test]
fn what_gathers_during_a_commit_is_one_commit() {
    let bench = Bench::new();
    bench.pause();
    bench.submit(append("first", 1));
    bench.wait_until_paused();
    for room in 0..50 {
        bench.submit(append(&format!("r{room}"), 1));
        bench.submit(append(&format!("r{room}"), 2));
    }
    bench.resume();
    let inputs = bench.answers(101);
    assert!(inputs.iter().all(|input| matches!(input, Input::Durable { .. })), "{inputs:?}");
    assert_eq!(bench.calls(), ["append first#1", "append 100 of 50 rooms"]);
}

#[test]
fn a_room_that_is_released_and_loaded_again_finds_what_it_wrote() {
    let bench = Bench::new();
    bench.pause();
    bench.submit(append("other", 1));
    bench.wait_until_paused();
    bench.submit(append("r", 1));
    bench.submit(release("r"));
    bench.submit(load("r"));
    bench.resume();
    let inputs = bench.answers(3);
    let Some(Input::Loaded { result: Ok(stored), .. }) = inputs.last() else {
        panic!("{inputs:?}")
    };
    assert_eq!(stored.last(), Seq(1));
}

#[test]
fn after_a_fault_of_unknown_effect_the_store_is_opened_anew_before_anything_else() {
    let bench = Bench::new();
    bench.fail_next(StoreFaultKind::Unknown);
    bench.submit(append("r", 1));
    assert!(matches!(bench.answers(1)[..], [Input::WriteFailed { seq: Seq(1), .. }]));
    bench.submit(append("r", 1));
    assert!(matches!(bench.answers(1)[..], [Input::Durable { upto: Seq(1), .. }]));
    assert_eq!(bench.calls(), ["append r#1", "reopen", "append r#1"]);
}

#[test]
fn what_was_sent_behind_a_failed_append_fails_until_the_failed_places_come_again() {
    let bench = Bench::new();
    // The append took effect although it failed: the next one would leave no hole.
    bench.fail_next_after_effect();
    bench.submit(append("r", 1));
    bench.answers(1);
    bench.submit(append("r", 2));
    bench.submit(append("other", 1));
    let inputs = bench.answers(2);
    assert!(inputs.iter().any(|i| matches!(i, Input::WriteFailed { seq: Seq(2), .. })));
    assert!(inputs.iter().any(|i| matches!(i, Input::Durable { upto: Seq(1), .. })));
    bench.submit(append("r", 1));
    bench.submit(append("r", 2));
    assert!(bench.answers(2).iter().all(|i| matches!(i, Input::Durable { .. })));
}

#[test]
fn a_deletion_waits_for_what_was_asked_before_and_ends_a_failure() {
    let bench = Bench::new();
    bench.pause();
    bench.submit(load("other"));
    bench.wait_until_paused();
    bench.submit(append("r", 1));
    bench.submit(compact("other", 1));
    bench.submit(delete("r"));
    bench.submit(append("r", 1));
    bench.resume();
    let inputs = bench.answers(5);
    assert!(inputs.iter().any(|input| matches!(input, Input::Deleted { result: Ok(()), .. })));
    assert_eq!(
        bench.calls(),
        ["load other", "append r#1", "compact other#1", "delete r", "append r#1"]
    );
    bench.fail_next(StoreFaultKind::NotDone);
    bench.submit(append("r", 2));
    bench.submit(delete("r"));
    bench.submit(append("r", 1));
    bench.submit(append("r", 2));
    let inputs = bench.answers(4);
    let stored = inputs.iter().filter(|input| matches!(input, Input::Durable { .. })).count();
    assert_eq!(stored, 2, "a room that begins anew owes nothing: {inputs:?}");
}

#[test]
fn a_deletion_that_fails_says_so_and_an_unknown_effect_opens_the_store_anew() {
    let bench = Bench::new();
    for kind in [StoreFaultKind::NotDone, StoreFaultKind::Unknown] {
        bench.fail_next(kind);
        bench.submit(delete("r"));
        let inputs = bench.answers(1);
        let [Input::Deleted { result: Err(fault), .. }] = &inputs[..] else { panic!("{inputs:?}") };
        assert_eq!(fault.kind, kind);
    }
    bench.submit(delete("r"));
    assert!(matches!(bench.answers(1)[..], [Input::Deleted { result: Ok(()), .. }]));
    assert_eq!(bench.calls(), ["delete r", "delete r", "reopen", "delete r"]);
}

#[test]
fn a_refused_append_of_one_room_fails_no_other_room() {
    let bench = Bench::new();
    bench.pause();
    bench.submit(append("first", 1));
    bench.wait_until_paused();
    bench.submit(append("good", 1));
    bench.submit(append("holed", 5));
    bench.submit(append("well", 1));
    bench.resume();
    let failed: Vec<Input> = bench
        .answers(4)
        .into_iter()
        .filter(|input| matches!(input, Input::WriteFailed { .. }))
        .collect();
    assert!(matches!(failed[..], [Input::WriteFailed { seq: Seq(5), .. }]), "{failed:?}");
}

#[test]
fn a_room_whose_commits_fail_takes_no_other_room_down() {
    let bench = Bench::new();
    bench.poison("bad");
    let mut stored = 0;
    for _ in 0..3 {
        bench.pause();
        bench.submit(load("nothing"));
        bench.submit(append("good", 1));
        bench.submit(append("bad", 1));
        bench.resume();
        for input in bench.answers(3) {
            stored += usize::from(matches!(input, Input::Durable { .. }));
        }
        std::thread::sleep(Duration::from_millis(120));
    }
    assert!(stored >= 1, "the good room was never stored: {:?}", bench.calls());
}

#[test]
fn a_panic_of_the_store_is_a_fault_and_the_thread_lives_on() {
    let bench = Bench::new();
    bench.panic_next();
    bench.submit(load("r"));
    let inputs = bench.answers(1);
    let [Input::Loaded { result: Err(fault), .. }] = &inputs[..] else { panic!("{inputs:?}") };
    assert_eq!(fault.kind, StoreFaultKind::Unknown);
    assert!(fault.message.contains("on purpose"), "{fault}");
    bench.submit(append("r", 1));
    assert!(matches!(bench.answers(1)[..], [Input::Durable { .. }]));
    assert_eq!(bench.calls(), ["load r", "reopen", "append r#1"]);
}

#[test]
fn a_store_that_cannot_be_opened_again_answers_every_operation_and_is_not_hammered() {
    let bench = Bench::new();
    bench.refuse_reopen();
    bench.fail_next(StoreFaultKind::Unknown);
    bench.submit(append("r", 1));
    bench.answers(1);
    for _ in 0..100 {
        bench.submit(append("r", 1));
        assert!(matches!(bench.answers(1)[..], [Input::WriteFailed { .. }]));
    }
    let reopens = bench.calls().iter().filter(|call| *call == "reopen").count();
    assert!((1..10).contains(&reopens), "{reopens} times");
}

#[test]
fn a_room_that_is_left_while_the_store_is_not_open_is_released_when_it_is() {
    let bench = Bench::new();
    bench.refuse_reopen();
    bench.fail_next(StoreFaultKind::Unknown);
    bench.submit(append("r", 1));
    bench.answers(1);
    for room in ["left", "back"] {
        bench.submit(release(room));
    }
    // It fails, and so says that the releases have had their turn.
    bench.submit(append("r", 1));
    bench.answers(1);
    bench.submit(load("back"));
    bench.answers(1);
    bench.script().reopen_fails = false;
    let deadline = Instant::now() + Duration::from_secs(10);
    while !bench.calls().contains(&"release left".to_owned()) {
        assert!(Instant::now() < deadline, "{:?}", bench.calls());
        bench.submit(load("r"));
        bench.answers(1);
    }
    assert!(!bench.calls().contains(&"release back".to_owned()), "it is in use again");
}

#[test]
fn closing_answers_everything_first_and_then_refuses() {
    let bench = Bench::new();
    bench.pause();
    for n in 1..=10 {
        bench.submit(append("r", n));
    }
    bench.resume();
    bench.store.close();
    let inputs = bench.inbox.take();
    assert_eq!(inputs.len(), 10);
    assert!(inputs.iter().all(|input| matches!(input, Input::Durable { .. })));
    bench.submit(append("r", 11));
    assert!(matches!(bench.inbox.take()[..], [Input::WriteFailed { .. }]));
}

#[test]
fn rounds_keep_every_rooms_order_and_lose_nothing() {
    let inbox = Inbox::new();
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut draw = |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    for _ in 0..2_000 {
        let mut waiting: VecDeque<Job> = VecDeque::new();
        let mut expected: Vec<Vec<String>> = vec![Vec::new(); 4];
        for n in 1..=draw(60) {
            let room = draw(4);
            let name = format!("r{room}");
            let op = match draw(5) {
                0 => load(&name),
                1 => append(&name, n),
                2 => compact(&name, n),
                3 => delete(&name),
                _ => release(&name),
            };
            expected[room as usize].push(words(&op));
            waiting.push_back(Job { reply: inbox.reply_for(&op), op });
        }
        let mut done: Vec<Vec<String>> = vec![Vec::new(); 4];
        while !waiting.is_empty() {
            let before = waiting.len();
            for (room, words) in describe(&Round::take(&mut waiting)) {
                done[room].push(words);
            }
            assert!(waiting.len() < before, "a round that does nothing");
        }
        for (expected, done) in expected.into_iter().zip(done) {
            assert_eq!(without_overtaking(expected), without_overtaking(done));
        }
    }
}

/// An append may go before the compactions in front of it: sorts them so.
fn without_overtaking(mut ops: Vec<String>) -> Vec<String> {
    for end in 0..ops.len() {
        let mut at = end;
        while at > 0 && ops[at].starts_with("append") && ops[at - 1].starts_with("compact") {
            ops.swap(at, at - 1);
            at -= 1;
        }
    }
    ops
}

fn describe(round: &Round) -> Vec<(usize, String)> {
    let number = |name: &RoomName| name.as_str()[1..].parse().expect("a number");
    let mut all = Vec::new();
    all.extend(round.loads.iter().map(|(name, _)| (number(name), "load".to_owned())));
    let appends = round.appends.iter();
    all.extend(appends.map(|(a, _)| (number(&a.name), format!("append {:?}", a.batch.first()))));
    all.extend(round.chore.iter().map(|chore| match chore {
        Chore::Compact { name, upto, .. } => (number(name), format!("compact {upto:?}")),
        Chore::Delete { name, .. } => (number(name), "delete".to_owned()),
    }));
    all.extend(round.releases.iter().map(|name| (number(name), "release".to_owned())));
    all
}

fn words(op: &StoreOp) -> String {
    match op {
        StoreOp::Load { .. } => "load".to_owned(),
        StoreOp::Append(append) => format!("append {:?}", append.batch.first()),
        StoreOp::Compact { upto, .. } => format!("compact {upto:?}"),
        StoreOp::Delete { .. } => "delete".to_owned(),
        StoreOp::Release { .. } => "release".to_owned(),
    }
}

fn name(name: &str) -> RoomName {
    RoomName::new(name).expect("a room name")
}

fn load(room: &str) -> StoreOp {
    StoreOp::Load { room: RoomId::from_raw(1), name: name(room) }
}

fn append(room: &str, place: u64) -> StoreOp {
    let batch = Batch::single(Seq(place), b"update");
    StoreOp::Append(Append { room: RoomId::from_raw(1), name: name(room), batch })
}

fn compact(room: &str, upto: u64) -> StoreOp {
    let snapshot = bytes::Bytes::from_static(b"snapshot");
    StoreOp::Compact { room: RoomId::from_raw(1), name: name(room), upto: Seq(upto), snapshot }
}

fn delete(room: &str) -> StoreOp {
    StoreOp::Delete { room: RoomId::from_raw(1), name: name(room) }
}

fn release(room: &str) -> StoreOp {
    StoreOp::Release { room: RoomId::from_raw(1), name: name(room) }
}

/// A [`Threaded`] store whose inside does what it is told to.
struct Bench {
    store: Threaded<Scripted>,
    inbox: Inbox,
    script: Arc<Mutex<Script>>,
    resume: Sender<()>,
    paused: Receiver<()>,
}

#[derive(Default)]
struct Script {
    calls: Vec<String>,
    next: Option<Next>,
    pause: bool,
    poisoned: Option<&'static str>,
    reopen_fails: bool,
}

enum Next {
    Fail(StoreFaultKind),
    FailAfterEffect,
    Panic,
}

impl Bench {
    fn new() -> Self {
        let script = Arc::new(Mutex::new(Script::default()));
        let (resume, resumed) = channel();
        let (say_paused, paused) = channel();
        let store = Scripted {
            memory: MemoryStore::new(),
            script: Arc::clone(&script),
            resumed,
            say_paused,
        };
        let store = Threaded::new(store).expect("a thread");
        Self { store, inbox: Inbox::new(), script, resume, paused }
    }

    fn submit(&self, op: StoreOp) {
        let reply = self.inbox.reply_for(&op);
        self.store.submit(op, reply);
    }

    fn answers(&self, count: usize) -> Vec<Input> {
        let deadline = Instant::now() + Duration::from_secs(10);
        let mut inputs = Vec::new();
        while inputs.len() < count {
            assert!(Instant::now() < deadline, "only {inputs:?} after {:?}", self.calls());
            std::thread::yield_now();
            inputs.extend(self.inbox.take());
        }
        inputs
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().expect("no panic under the lock")
    }

    fn calls(&self) -> Vec<String> {
        self.script().calls.clone()
    }

    fn fail_next(&self, kind: StoreFaultKind) {
        self.script().next = Some(Next::Fail(kind));
    }

    fn fail_next_after_effect(&self) {
        self.script().next = Some(Next::FailAfterEffect);
    }

    fn panic_next(&self) {
        self.script().next = Some(Next::Panic);
    }

    fn poison(&self, room: &'static str) {
        self.script().poisoned = Some(room);
    }

    fn refuse_reopen(&self) {
        self.script().reopen_fails = true;
    }

    /// The store stops in its next call.
    fn pause(&self) {
        self.script().pause = true;
    }

    fn wait_until_paused(&self) {
        self.paused.recv_timeout(Duration::from_secs(10)).expect("the store was called");
    }

    fn resume(&self) {
        self.resume.send(()).expect("the store is there");
    }
}

struct Scripted {
    memory: MemoryStore,
    script: Arc<Mutex<Script>>,
    resumed: Receiver<()>,
    say_paused: Sender<()>,
}

impl Scripted {
    fn called(&self, call: String) -> Option<Next> {
        let (pause, next) = {
            let mut script = self.script.lock().expect("no panic under the lock");
            script.calls.push(call);
            (std::mem::take(&mut script.pause), script.next.take())
        };
        if pause {
            self.say_paused.send(()).expect("the test is there");
            self.resumed.recv_timeout(Duration::from_secs(10)).expect("the test resumes it");
        }
        next
    }

    fn poisoned(&self, name: &RoomName) -> bool {
        self.script.lock().expect("no panic").poisoned == Some(name.as_str())
    }
}

fn outcome<T>(
    next: Option<&Next>,
    effect: impl FnOnce() -> Result<T, StoreFault>,
) -> Result<T, StoreFault> {
    let fault = |kind| StoreFault::new(kind, "as the script says");
    match next {
        None => effect(),
        Some(Next::Fail(kind)) => Err(fault(*kind)),
        Some(Next::FailAfterEffect) => effect().and(Err(fault(StoreFaultKind::Unknown))),
        Some(Next::Panic) => panic!("on purpose"),
    }
}

impl BlockingStore for Scripted {
    fn load(&mut self, room: &RoomName) -> Result<Stored, StoreFault> {
        let next = self.called(format!("load {room}"));
        outcome(next.as_ref(), || Ok(self.memory.get(room)))
    }

    fn append(&mut self, appends: &[Append]) -> Result<(), StoreFault> {
        let rooms = appends.chunk_by(|a, b| a.name == b.name).count();
        let call = match appends {
            [one] => format!("append {}{:?}", one.name, one.batch.first()),
            many => format!("append {} of {rooms} rooms", many.len()),
        };
        let next = self.called(call);
        if appends.iter().any(|append| self.poisoned(&append.name)) {
            return Err(StoreFault::new(StoreFaultKind::Unknown, "poisoned"));
        }
        outcome(next.as_ref(), || self.memory.append_all(appends))
    }

    fn compact(
        &mut self,
        room: &RoomName,
        upto: Seq,
        snapshot: bytes::Bytes,
    ) -> Result<(), StoreFault> {
        let next = self.called(format!("compact {room}{upto:?}"));
        outcome(next.as_ref(), || self.memory.compact(room, upto, snapshot))
    }

    fn delete(&mut self, room: &RoomName) -> Result<(), StoreFault> {
        let next = self.called(format!("delete {room}"));
        outcome(next.as_ref(), || {
            self.memory.delete(room);
            Ok(())
        })
    }

    fn release(&mut self, room: &RoomName) {
        self.called(format!("release {room}"));
    }

    fn reopen(&mut self) -> Result<(), StoreFault> {
        let next = self.called("reopen".to_owned());
        if self.script.lock().expect("no panic").reopen_fails {
            return Err(StoreFault::new(StoreFaultKind::NotDone, "the script says no"));
        }
        outcome(next.as_ref(), || Ok(()))
    }
}
