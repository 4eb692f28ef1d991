//! Many peers of one room, half of whom do not read.
#![allow(missing_docs, reason = "the names of tests are sentences")]

mod support;

use bytes::Bytes;
use support::{World, Writer, frame_of, world};
use yroom::wire::{self, Message};
use yroom::{ConnId, Event, Input, Limits, update};

const PEERS: usize = 400;
const SLOW: usize = 200;
const LINES: usize = 80;
const LINE_BYTES: usize = 2_000;

/// The updates in what a peer was sent.
fn changes(frames: &[Bytes]) -> Vec<Bytes> {
    let changes = |frame: &Bytes| {
        let messages: Vec<Bytes> = wire::messages(frame)
            .filter_map(|message| match message.expect("a message") {
                Message::SyncStep2(update) | Message::Update(update) => {
                    Some(frame.slice_ref(update))
                }
                _ => None,
            })
            .collect();
        messages
    };
    frames.iter().flat_map(changes).collect()
}

/// Takes what was sent to a peer off the hub's hands; how many bytes that were.
fn read(world: &mut World, conn: ConnId, kept: &mut Vec<Bytes>) -> usize {
    let frames = world.take(conn);
    let bytes = frames.iter().map(Bytes::len).sum();
    if bytes > 0 {
        kept.extend(changes(&frames));
        world.input(Input::Flushed { conn, bytes });
    }
    bytes
}

fn merged(updates: &[Bytes]) -> Vec<u8> {
    update::merge(&updates.iter().map(|update| &update[..]).collect::<Vec<_>>())
        .expect("they are well formed")
}

#[test]
fn two_hundred_of_four_hundred_read_nothing_and_end_with_the_same_document() {
    let limits = Limits::default();
    let mut world = world();
    world.hold_flushes = true;
    let conns: Vec<ConnId> = (0..PEERS).map(|_| world.open("r")).collect();
    let mut had: Vec<Vec<Bytes>> = vec![Vec::new(); PEERS];
    let reader = Writer::new(1);
    for (conn, kept) in conns.iter().zip(&mut had) {
        world.send(*conn, reader.step1());
        read(&mut world, *conn, kept);
    }
    // The writer is one of those who read.
    let (writer, typist) = (conns[PEERS - 1], Writer::new(7));
    let mut largest = 0;
    for line in 0..LINES {
        let text = format!("{line:->LINE_BYTES$}\n");
        world.send(writer, frame_of(&typist.types(&text)));
        for slot in SLOW..PEERS {
            read(&mut world, conns[slot], &mut had[slot]);
        }
        if line % 20 == 19 {
            for conn in &conns[..SLOW] {
                let waiting: usize = world.received[conn].iter().map(Bytes::len).sum();
                assert!(waiting <= limits.outbox_bytes, "{waiting} bytes wait to be sent");
                largest = largest.max(world.hub.held_bytes(*conn).expect("it is open"));
            }
        }
    }
    assert!(largest < 4 << 10, "{largest} bytes are held for a peer that lags");
    assert!(world.closed.is_empty(), "nobody is closed: {:?}", world.closed);
    let lagging = world.events.iter().filter(|event| matches!(event, Event::PeerLagging { .. }));
    assert_eq!(lagging.count(), SLOW);
    // They read on, and are brought the rest in slices.
    let whole = LINES * LINE_BYTES;
    let mut most = 0;
    while (0..SLOW).fold(0, |sum, slot| sum + read(&mut world, conns[slot], &mut had[slot])) > 0 {
        for conn in &conns[..SLOW] {
            let waiting: usize = world.received[conn].iter().map(Bytes::len).sum();
            assert!(waiting <= limits.slice_bytes + limits.outbox_bytes, "{waiting}");
            most = most.max(world.hub.held_bytes(*conn).expect("it is open"));
        }
    }
    assert!(most < whole + whole / 4, "{most} bytes are held for a peer that catches up");
    let document = merged(&had[SLOW]);
    assert!(document.len() > whole);
    assert!(merged(&had[0]) == document, "who read nothing for long has another document");
    for (slot, kept) in had.iter().enumerate().filter(|(slot, _)| *slot != PEERS - 1) {
        // Those who were sent the same need not be merged again.
        let same = kept == &had[0] || kept == &had[SLOW];
        assert!(same || merged(kept) == document, "peer {slot} has another document");
    }
}
