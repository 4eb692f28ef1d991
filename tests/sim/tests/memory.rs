//! What the engine says it holds for a connection, against what the allocator has given for it.
#![allow(unsafe_code, reason = "a global allocator cannot be had without")]

use bytes::Bytes;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use yroom::update::{ClientId, StateVector};
use yroom::wire::awareness::{Entry, write};
use yroom::wire::encode;
use yroom::{
    Access, Config, ConnId, Hub, Input, Limits, Output, RoomId, RoomName, Seq, StoreOp, Stored,
    Timestamp,
};
use yrs::{Doc, ReadTxn, Text, Transact};

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
}

/// Counts what this thread has, so that tests beside each other do not disturb.
struct Counting;

// SAFETY: all is done by the system's allocator; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = LIVE.try_with(|live| live.set(live.get() + layout.size().cast_signed()));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        let _ = LIVE.try_with(|live| live.set(live.get() - layout.size().cast_signed()));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// With the one that opens the room these fill the tables, which double, to the last place.
const PEERS: usize = 63;

/// A hub with one room, whose outputs are dropped.
struct Bench {
    hub: Hub,
    room: RoomName,
    loading: Option<RoomId>,
}

const NOW: Timestamp = Timestamp::from_micros(1);

impl Bench {
    fn new(limits: Limits) -> Self {
        let hub = Hub::new(Config { limits, ..Config::default() });
        let room = RoomName::new("r").expect("a valid name");
        let mut bench = Self { hub, room, loading: None };
        bench.open();
        bench
    }

    /// One whose room has this document.
    fn live(limits: Limits, snapshot: Option<Bytes>) -> Self {
        let mut bench = Self::new(limits);
        let room = bench.loading.expect("the room is asked for");
        let upto = Seq(u64::from(snapshot.is_some()));
        let stored = Stored { snapshot, snapshot_upto: upto, ..Stored::default() };
        bench.input(Input::Loaded { room, result: Ok(stored) });
        bench
    }

    fn open(&mut self) -> ConnId {
        let conn = self.hub.open(NOW, &self.room, Access::FULL).expect("let in");
        self.drain();
        conn
    }

    fn send(&mut self, conn: ConnId, frame: Bytes) {
        self.input(Input::Frame { conn, frame });
    }

    fn input(&mut self, input: Input) {
        self.hub.handle(NOW, input);
        self.drain();
    }

    /// What is written never becomes durable.
    fn drain(&mut self) {
        while let Some(output) = self.hub.poll_output() {
            if let Output::Store(StoreOp::Load { room, .. }) = output {
                self.loading = Some(room);
            }
        }
    }

    /// Brings connections into a state; what the engine says they take is what they take.
    fn check(&mut self, what: &str, mut bring: impl FnMut(&mut Self, ConnId, u64)) {
        let before = LIVE.get();
        let mut said = 0;
        for number in 0..PEERS as u64 {
            let conn = self.open();
            bring(self, conn, number);
            said += self.hub.held_bytes(conn).expect("it is open");
        }
        let held = usize::try_from(LIVE.get() - before).expect("more than before");
        eprintln!("{what}: {said} bytes said, {held} held");
        assert!(held <= said + said / 4, "{what}: {held} bytes held, only {said} said");
        assert!(said <= held + held / 4, "{what}: {said} bytes said, only {held} held");
    }
}

fn large(bytes: usize) -> Bytes {
    let doc = Doc::with_client_id(1);
    doc.get_or_insert_text("t").insert(&mut doc.transact_mut(), 0, &"x".repeat(bytes));
    // As many structs as makes slices.
    let text = doc.get_or_insert_text("t");
    for at in 0..100 {
        text.insert(&mut doc.transact_mut(), at * 7, "y");
    }
    let update = doc.transact().encode_state_as_update_v1(&yrs::StateVector::default());
    update.into()
}

#[test]
fn who_only_listens() {
    Bench::live(Limits::default(), None).check("listening", |_, _, _| {});
}

#[test]
fn who_waits_for_the_room() {
    Bench::new(Limits::default()).check("waiting", |bench, conn, number| {
        for frame in 0..32 {
            bench.send(conn, vec![100; 40 * (frame + number as usize)].into());
        }
    });
}

#[test]
fn who_is_present() {
    Bench::live(Limits::default(), None).check("present", |bench, conn, number| {
        let json = format!("\"{}\"", "j".repeat(600));
        let entry = |id| Entry { client: ClientId(number * 8 + id), clock: 1, json: &json };
        bench.send(conn, encode::awareness(&write((0..8).map(entry))));
    });
}

#[test]
fn who_is_brought_a_large_document_that_others_have_too_and_asks_again() {
    bring("fed the same", &StateVector::new());
}

#[test]
fn who_is_brought_what_only_it_lacks_and_asks_again() {
    bring("fed", &StateVector::from_iter([(ClientId(1), 5)]));
}

fn bring(what: &str, have: &StateVector) {
    let limits = Limits { outbox_bytes: 4_000, slice_bytes: 2_000, ..Limits::default() };
    let mut bench = Bench::live(limits, Some(large(50_000)));
    bench.check(what, |bench, conn, _| {
        bench.send(conn, encode::sync_step1(&have.encode()));
        let known: StateVector = (1..400).map(|client| (ClientId(client << 20), 1)).collect();
        bench.send(conn, encode::sync_step1(&known.encode()));
    });
}

#[test]
fn who_asks_whether_all_is_saved_when_it_is_not() {
    let mut bench = Bench::live(Limits::default(), None);
    let writer = bench.open();
    bench.send(writer, encode::update(&large(10)));
    bench.check("asking", |bench, conn, _| {
        for question in 0..40_u8 {
            bench.send(conn, encode::sync_status(&[question; 60]));
        }
    });
}
