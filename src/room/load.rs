//! How a room comes to be: the store's content, or the application's first; and what peers say
//! before it is there.

use super::log::Log;
use super::pace::Wait;
use super::{Context, Phase, Room, Stage};
use crate::config::Absent;
use crate::document::Document;
use crate::error::{CloseCode, Fault, FaultKind, StoreFault, StoreFaultKind};
use crate::io::{ApplicationOp, Event, Output, StoreOp, Stored};
use crate::journal::Journal;
use bytes::Bytes;

impl Room {
    /// Asks the store for what it has.
    pub(crate) fn load(&mut self, cx: &mut Context<'_>) {
        cx.event(Event::RoomOpened { room: self.id, name: self.name.clone() });
        cx.push(Output::Store(StoreOp::Load { room: self.id, name: self.name.clone() }));
    }

    /// The store has answered the load.
    pub(crate) fn loaded(&mut self, cx: &mut Context<'_>, result: Result<Stored, StoreFault>) {
        if !self.is_at(Stage::Reading) {
            return self.reread(cx, result);
        }
        let loaded = result.and_then(|stored| {
            let document = Document::load(&stored)?;
            Ok((document, stored))
        });
        match loaded {
            Ok((document, stored)) => {
                self.journal = Journal::new(stored.last());
                self.log = Log::of(&stored, cx.now, &cx.config.history);
                self.unsettled |= !stored.log.is_empty();
                self.document = document;
                self.fold_what_is_old(cx, &stored);
                match cx.config.absent {
                    Absent::Initialise if stored.is_absent() => self.ask_for_content(cx),
                    Absent::Initialise | Absent::Empty => self.go_live(cx),
                }
            }
            Err(fault) => {
                cx.event(Event::RoomDegraded { room: self.id, fault });
                self.fail_load(cx);
            }
        }
    }

    /// Holds a frame back until the room is there.
    pub(super) fn keep_waiting(&mut self, cx: &mut Context<'_>, slot: usize, frame: Bytes) {
        let limits = &cx.config.limits;
        let peer = &mut self.peers[slot];
        if peer.inbox_bytes > limits.inbox_bytes + limits.frame_bytes {
            let fault = Fault::new(FaultKind::Limit, "too much before the room was loaded");
            return self.fault(cx, slot, fault);
        }
        // The frame counts for more than its bytes, or empty ones would cost nothing.
        peer.inbox_bytes += frame.len() + size_of::<Bytes>();
        peer.inbox.push(frame);
        self.arriving(cx, slot, 0);
    }

    /// So much has come of a peer's next frame: one who has said enough before the room is there is
    /// not read from until it is, in the middle of a frame too.
    pub(crate) fn arriving(&mut self, cx: &mut Context<'_>, slot: usize, bytes: usize) {
        match self.phase {
            Phase::Loading { .. } => {}
            Phase::Live | Phase::Draining | Phase::Deleting { .. } | Phase::Gone => return,
        }
        let peer = &mut self.peers[slot];
        if peer.inbox_bytes.saturating_add(bytes) > cx.config.limits.inbox_bytes {
            peer.wait(cx, Wait::Loading);
        }
    }

    fn ask_for_content(&mut self, cx: &mut Context<'_>) {
        let until = cx.now + cx.config.limits.load_timeout;
        self.phase = Phase::Loading { until, stage: Stage::Initialising };
        let (room, name) = (self.id, self.name.clone());
        cx.push(Output::Application(ApplicationOp::Initialise { room, name }));
    }

    /// The application has answered.
    pub(crate) fn initialised(
        &mut self,
        cx: &mut Context<'_>,
        result: Result<Option<Bytes>, StoreFault>,
    ) {
        if !self.is_at(Stage::Initialising) {
            return;
        }
        let entered = result.and_then(|content| {
            let Some(content) = content else { return Ok(()) };
            self.enter(cx, &content).map_err(|why| {
                let message = format!("the initialiser's content was not used: {why}");
                StoreFault::new(StoreFaultKind::NotDone, message)
            })
        });
        match entered {
            Ok(()) if self.journal.is_durable() => self.go_live(cx),
            Ok(()) => {
                let until = cx.now + cx.config.limits.load_timeout;
                self.phase = Phase::Loading { until, stage: Stage::Keeping };
                self.unsettled = true;
            }
            Err(fault) => {
                cx.event(Event::RoomDegraded { room: self.id, fault });
                self.fail_load(cx);
            }
        }
    }

    pub(super) fn is_at(&self, wanted: Stage) -> bool {
        matches!(self.phase, Phase::Loading { stage, .. } if stage == wanted)
    }

    /// Serves those who waited for the load.
    pub(super) fn go_live(&mut self, cx: &mut Context<'_>) {
        self.phase = Phase::Live;
        // Nobody was here to be sent the first content: everybody asks for it now.
        self.gated.clear();
        cx.event(Event::RoomLive { room: self.id, bytes: self.document.bytes() });
        for slot in 0..self.peers.len() {
            self.greet(cx, slot);
        }
        for slot in 0..self.peers.len() {
            let peer = &mut self.peers[slot];
            peer.inbox_bytes = 0;
            peer.go_ahead(cx, Wait::Loading);
            for frame in std::mem::take(&mut peer.inbox) {
                self.frame(cx, slot, frame);
            }
        }
        if self.is_unused() {
            self.emptied(cx, cx.config.unload_after);
        }
    }

    pub(super) fn fail_load(&mut self, cx: &mut Context<'_>) {
        for slot in 0..self.peers.len() {
            self.close(cx, slot, CloseCode::TRY_AGAIN, "the room could not be loaded");
        }
        self.end(cx);
    }
}
