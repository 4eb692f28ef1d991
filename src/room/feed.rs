//! Large documents reach a peer in slices, as fast as it takes them.
//!
//! A document in one frame would be many seconds of silence on a slow link, and y-websocket takes a
//! connection for dead that brings no whole message for 30 s: a large document would never load. Each
//! slice is an update that can be integrated when it comes. The last one is the SyncStep2.

use super::pace::Cost;
use super::{Context, Room};
use crate::io::Event;
use crate::peer::Lag;
use crate::update::Slices;
use crate::wire::{self, Message, encode};
use bytes::Bytes;

/// What a peer is being brought.
#[derive(Debug)]
pub(crate) struct Feed {
    slices: Slices,
    last: Last,
}

/// As which message the last slice goes out; those before it are Updates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Last {
    /// It answers a SyncStep1.
    SyncStep2,
    /// It ends a lag.
    Update,
}

impl Feed {
    pub(crate) fn held_bytes(&self) -> usize {
        size_of::<Self>() + self.slices.heap_bytes()
    }
}

impl Room {
    /// Brings a peer the update in `frame`: as it is, or if it is large, in slices.
    pub(super) fn bring(&mut self, cx: &mut Context<'_>, slot: usize, frame: Bytes, last: Last) {
        match last {
            // Whoever asks pays for the answer, or could have others wait for it without end.
            Last::SyncStep2 => {
                let bytes = frame.len() as u64;
                self.charge(cx, slot, Cost { bytes, ..Cost::default() });
            }
            Last::Update => {}
        }
        if frame.len() <= cx.config.limits.slice_bytes {
            self.peers[slot].feed = None;
            self.send(cx, slot, frame);
            return self.brought(cx, slot, last);
        }
        let mut slices = Slices::new(update_in(&frame), cx.config.limits.slice_bytes)
            .expect("what the document gives out is well formed");
        let first = slices.next_slice().expect("what the document gives out is well formed");
        let Some(first) = first.filter(|_| !slices.is_finished()) else {
            // It cannot be cut: few structs, and a large delete set, which stands in every diff. To
            // bring that and then look what else is lacking would never end.
            self.peers[slot].feed = None;
            self.send(cx, slot, frame);
            return self.brought(cx, slot, last);
        };
        // Until it has all of this, single updates would only wait behind it.
        if self.peers[slot].lag.is_none() {
            let lag = Lag::new(self.shown_before(&[]), self.awareness.version());
            self.peers[slot].lag = Some(Box::new(lag));
        }
        self.peers[slot].feed = Some(Box::new(Feed { slices, last }));
        self.send(cx, slot, encode::update(&first));
        self.go_on(cx, slot);
    }

    /// Sends the next slices for which there is credit.
    pub(super) fn go_on(&mut self, cx: &mut Context<'_>, slot: usize) {
        while self.peers[slot].has_credit(&cx.config.limits) {
            let Some(feed) = &mut self.peers[slot].feed else { return };
            let slice = feed.slices.next_slice().expect("what was cut before is well formed");
            let last = feed.last;
            let Some(slice) = slice else {
                self.peers[slot].feed = None;
                return;
            };
            if feed.slices.is_finished() {
                self.peers[slot].feed = None;
                let frame = match last {
                    Last::SyncStep2 => encode::sync_step2(&slice),
                    Last::Update => encode::update(&slice),
                };
                self.send(cx, slot, frame);
                self.brought(cx, slot, last);
            } else {
                self.send(cx, slot, encode::update(&slice));
            }
        }
    }

    fn brought(&mut self, cx: &mut Context<'_>, slot: usize, last: Last) {
        let peer = &mut self.peers[slot];
        let conn = peer.conn;
        match last {
            Last::SyncStep2 if !peer.synced => {
                peer.synced = true;
                cx.event(Event::PeerSynced { conn });
                if self.congested {
                    self.pause_writer(cx, slot);
                }
            }
            Last::SyncStep2 => {}
            Last::Update => cx.event(Event::PeerCaughtUp { conn }),
        }
    }
}

fn update_in(frame: &Bytes) -> Bytes {
    match wire::messages(frame).next() {
        Some(Ok(Message::SyncStep2(update) | Message::Update(update))) => frame.slice_ref(update),
        _ => Bytes::from_static(crate::update::EMPTY),
    }
}
