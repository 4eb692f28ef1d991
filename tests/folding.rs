//! Whatever is folded, and whenever: the document is the same, and what is young stays as rows.

mod support;

use std::collections::BTreeMap;
use std::time::Duration;
use support::{World, Writer, frame_of};
use yroom::update::{self, ScanLimits, StateVector};
use yroom::{
    Batch, Config, Folding, History, Input, Limits, RoomName, Seq, StoreFault, StoreFaultKind,
    StoreOp, Timestamp,
};

/// A room in a store that keeps times, and what was folded when.
struct Bench {
    world: World,
    history: History,
    rng: u64,
    /// When each place was stored.
    times: BTreeMap<Seq, Timestamp>,
    folds: Vec<Timestamp>,
    /// Folds that left some rows.
    partial: usize,
}

impl Bench {
    fn new(seed: u64) -> Self {
        let mut rng = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut some = |minutes: u64| {
            let span = Duration::from_secs(1 + random(&mut rng) % (60 * minutes));
            random(&mut rng).is_multiple_of(2).then_some(span)
        };
        let history = History {
            older_than: some(120),
            apart: some(30).unwrap_or_default(),
            ttl: some(600).filter(|_| seed.is_multiple_of(3)),
            log_bytes: some(60).map(|it| it.as_secs() as usize).filter(|_| seed % 3 == 1),
            folding: if seed.is_multiple_of(4) { Folding::WhenItPays } else { Folding::AtBounds },
            log_age: None,
        };
        let limits = Limits { tail_bytes: 1_000, ..Limits::default() };
        let unload_after = Duration::ZERO;
        let config = Config { history, limits, unload_after, ..Config::default() };
        let mut world = World::new(config);
        world.hold_store = true;
        Self { world, history, rng, times: BTreeMap::new(), folds: Vec::new(), partial: 0 }
    }

    fn random(&mut self, below: u64) -> u64 {
        random(&mut self.rng) % below
    }

    /// Carries out what waits for the store, perhaps not all of it.
    fn work(&mut self, most: usize) {
        for _ in 0..most {
            if self.world.held.is_empty() {
                return;
            }
            let op = self.world.held.remove(0);
            if let Some(answer) = self.answer(op) {
                self.world.input(answer);
            }
        }
    }

    fn answer(&mut self, op: StoreOp) -> Option<Input> {
        let now = self.world.now;
        match &op {
            StoreOp::Append(append) => {
                for place in append.batch.first().0..=append.batch.last().0 {
                    self.times.insert(Seq(place), now);
                }
            }
            StoreOp::Load { .. } => self.tell_ages(),
            StoreOp::Compact { room, upto, snapshot, .. } => {
                self.check_fold(*upto, snapshot);
                if self.random(5) == 0 {
                    let fault = StoreFault::new(StoreFaultKind::NotDone, "no space");
                    return Some(Input::Compacted { room: *room, upto: *upto, result: Err(fault) });
                }
                self.folds.push(now);
            }
            StoreOp::Delete { .. } | StoreOp::Release { .. } => {}
        }
        self.world.perform(op)
    }

    fn tell_ages(&mut self) {
        let now = self.world.now;
        let Some(stored) = self.world.store.get_mut(&name()) else { return };
        let age = |place: Seq| now.since(self.times[&place]);
        stored.log_ages = stored.log.iter().map(|row| age(row.first())).collect();
        stored.log_began_ago = stored.log_ages.first().copied();
        stored.changed_ago = Some(age(stored.last()));
    }

    fn check_fold(&mut self, upto: Seq, snapshot: &[u8]) {
        let now = self.world.now;
        let stored = &self.world.store[&name()];
        assert_eq!(known(snapshot, &[], upto), self.known_upto(upto), "neither more nor less");
        if upto < stored.last() {
            self.partial += 1;
        }
        let for_age_alone = History { older_than: None, apart: Duration::ZERO, ..self.history };
        if let Some(bound) = self.history.older_than
            && for_age_alone == History::KEEP_ALL
        {
            assert!(now.since(self.times[&upto]) > bound, "{upto:?} is young");
        }
        if let Some(last) = self.folds.last() {
            let since = now.since(*last);
            assert!(since >= self.history.apart, "{since:?} apart, of {:?}", self.history);
        }
    }

    fn known_upto(&self, upto: Seq) -> StateVector {
        let stored = &self.world.store[&name()];
        known(stored.snapshot.as_deref().unwrap_or(update::EMPTY), &stored.log, upto)
    }

    fn text(&mut self) -> String {
        let conn = self.world.open("r");
        self.work(usize::MAX);
        let reader = Writer::new(99);
        self.world.send(conn, reader.step1());
        reader.hears(&self.world.take(conn));
        self.world.close(conn);
        self.work(usize::MAX);
        reader.text()
    }
}

/// What a snapshot and the log up to a place cover.
fn known(snapshot: &[u8], log: &[Batch], upto: Seq) -> StateVector {
    let rows: Vec<Batch> = log.iter().filter_map(|row| row.split(upto).0).collect();
    let updates = rows.iter().flat_map(Batch::updates);
    let mut states = StateVector::new();
    for update in std::iter::once(snapshot).chain(updates) {
        let scan = update::scan(update, &ScanLimits::default()).expect("it is sound");
        scan.ranges.iter().for_each(|range| states.raise(range.client, range.end));
    }
    states
}

fn name() -> RoomName {
    RoomName::new("r").expect("a name")
}

fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state >> 8
}

#[test]
fn whatever_is_folded_the_document_is_the_same_and_what_is_young_stays() {
    let (mut folds, mut partial) = (0, 0);
    for seed in 1..=60 {
        let mut bench = Bench::new(seed);
        let writer = Writer::new(7);
        for session in 0..6 {
            let conn = bench.world.open("r");
            bench.work(usize::MAX);
            for _ in 0..bench.random(60) {
                let update = match bench.random(4) {
                    0 => writer.deletes((writer.text().len() as u32).min(3)),
                    n => writer.types(&"abcdefgh"[..n as usize]),
                };
                bench.world.send(conn, frame_of(&update));
                let most = bench.random(4) as usize;
                bench.work(most);
                if bench.random(3) == 0 {
                    // Times are the store's: it is not minutes late.
                    bench.work(usize::MAX);
                    let minutes = 1 + bench.random(20);
                    bench.world.pass(Duration::from_secs(20) * minutes as u32);
                }
            }
            bench.world.close(conn);
            bench.work(usize::MAX);
            assert!(bench.world.hub.is_drained(), "seed {seed}");
            let pause = Duration::from_mins(bench.random(90));
            bench.world.pass(pause);
            assert_eq!(bench.text(), writer.text(), "seed {seed}, session {session}");
        }
        folds += bench.folds.len();
        partial += bench.partial;
    }
    assert!(folds > 150 && partial > 50, "{folds} folds, {partial} of them of an older part");
}
