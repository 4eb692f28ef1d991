//! What a program of ours owes whoever it talks with, seen when it happens.
//!
//! Each of these heals by itself: what is queued leaves in the end, who is taken for gone comes back with
//! the next renewal. Nothing of it is left when all faults have ended.

use super::World;
use bytes::Bytes;
use std::time::Duration;
use yroom::Timestamp;
use yroom::provider::Config;
use yroom::wire::awareness::entries;
use yroom::wire::{Message, messages};

/// What a program has done on the link that it has.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Manners {
    /// When it told of its own presence last.
    announced: Option<Timestamp>,
    /// It gave the server everything unasked, which it may once, however slow the link is.
    pushed: bool,
}

impl World {
    /// A program has sent a frame, and so much was waiting before it.
    pub(super) fn note_sent(&mut self, client: usize, frame: &Bytes, waiting: usize) {
        let (now, outbox) = (self.now, self.setup.outbox_bytes as usize);
        let who = &mut self.clients[client];
        let Some(program) = &mut who.program else { return };
        for message in messages(frame).map_while(Result::ok) {
            match message {
                Message::Awareness(states) => {
                    for entry in entries(states).into_iter().flatten().flatten() {
                        if entry.client.0 == who.id {
                            who.own.0 = entry.clock;
                            program.manners.announced = Some(now);
                        }
                    }
                }
                // A single edit; what was held back follows when half of the outbox is free again.
                Message::Update(_) if waiting > outbox => {
                    if std::mem::replace(&mut program.manners.pushed, true) {
                        let what = format!("client{client} sends edits where {waiting} bytes wait");
                        return self.fail(what);
                    }
                }
                Message::Update(_)
                | Message::SyncStep1(_)
                | Message::SyncStep2(_)
                | Message::AuthDenied(_)
                | Message::AuthGranted
                | Message::QueryAwareness
                | Message::SyncStatus(_)
                | Message::Unknown { .. } => {}
            }
        }
    }

    /// Who shows itself says so again in time, or the others would take it for gone.
    pub(super) fn check_renewal(&mut self, client: usize) {
        let who = &self.clients[client];
        let Some(program) = &who.program else { return };
        if who.link.is_none() || program.line.is_none() || program.provider.presence().is_none() {
            return;
        }
        let silent = program.manners.announced.map(|at| self.now.since(at));
        if silent.is_none_or(|silent| silent > Config::default().presence_renewal) {
            let silent = silent.unwrap_or(Duration::MAX);
            self.fail(format!("client{client} has not renewed its presence for {silent:?}"));
        }
    }

    /// The newest clock with which a frame declares a client gone.
    pub(super) fn denial(&self, client: usize, frame: &Bytes) -> Option<u64> {
        let mut newest = None;
        for message in messages(frame).map_while(Result::ok) {
            let Message::Awareness(states) = message else { continue };
            for entry in entries(states).into_iter().flatten().flatten() {
                if entry.client.0 == self.clients[client].id && entry.json == "null" {
                    newest = newest.max(Some(entry.clock));
                }
            }
        }
        newest
    }

    /// Who hears that it is gone, and is not, contradicts at once.
    pub(super) fn check_contradiction(&mut self, client: usize, denial: u64) {
        let who = &self.clients[client];
        let Some(program) = &who.program else { return };
        let shows = program.line.is_some() && program.provider.presence().is_some();
        if shows && who.own.0 <= denial {
            self.fail(format!("client{client} is told that it is gone, and believes it"));
        }
    }
}
