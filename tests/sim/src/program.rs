//! A program of ours: the provider with a document, and perhaps a copy of it on a disk of its own.
//!
//! Beside the model clients, which are written from the protocol's description, this is the engine's
//! own client side, and its promises are held against what happens as the hub's are.

use crate::client::doc_of;
use crate::coverage::{Content, Coverage, Run};
use crate::op::{Role, Setup};
use crate::rng::Rng;
use crate::world::Manners;
use yroom::provider::{Config, LinkId, Provider};
use yroom::{
    Batch, Input, Limits, RoomName, StoreFault, StoreFaultKind, StoreOp, Stored, Timestamp,
};
use yrs::Doc;

/// What runs in a client that is a program of ours.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) provider: Provider,
    /// The attempt to connect, or the connection.
    pub(crate) line: Option<LinkId>,
    /// Bytes that were sent by it and have not left.
    pub(crate) unsent: usize,
    /// Its disk outlives it.
    pub(crate) disk: Stored,
    /// Counts its lives, so that what belongs to an earlier one is known.
    pub(crate) life: u32,
    /// Its own edits in this life.
    edits: Vec<Made>,
    deletes: Vec<Run>,
    /// What was on its disk when it was killed.
    pub(crate) owed: Coverage,
    /// Not a fault of the server if nothing is heard of it before then.
    pub(crate) troubled_until: Timestamp,
    /// It was told to end.
    pub(crate) is_leaving: bool,
    /// What it did on its link.
    pub(crate) manners: Manners,
}

/// An edit, when the provider had counted it.
#[derive(Clone, Copy, Debug)]
struct Made {
    count: u64,
    clock: u32,
    deletes: usize,
}

/// What a life of edits came to when the server confirmed it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Confirmed<'a> {
    /// The document's own clock then.
    pub(crate) clock: u32,
    /// What had been deleted.
    pub(crate) deletes: &'a [Run],
}

impl Program {
    /// A program that has not begun to connect.
    pub(crate) fn new(setup: &Setup, role: Role, doc: &Doc, rng: &mut Rng) -> Self {
        let provider = Self::provider(setup, role, doc, rng);
        Self {
            provider,
            line: None,
            unsent: 0,
            disk: Stored::default(),
            life: 0,
            edits: Vec::new(),
            deletes: Vec::new(),
            owed: Coverage::default(),
            troubled_until: Timestamp::ZERO,
            is_leaving: false,
            manners: Manners::default(),
        }
    }

    fn provider(setup: &Setup, role: Role, doc: &Doc, rng: &mut Rng) -> Provider {
        let second = std::time::Duration::from_secs(1);
        let store_as = match role {
            Role::Keeper => Some(RoomName::new("copy").expect("a valid name")),
            Role::Writer
            | Role::Reader
            | Role::Observer
            | Role::Guest
            | Role::Hostile
            | Role::Program
            | Role::Relay => None,
        };
        let config = Config {
            seed: rng.next_u64(),
            // Back as soon as a model client, so that the same is asked of it.
            spread: second,
            retry_at_most: 2 * second,
            store_as,
            limits: Limits {
                outbox_bytes: setup.outbox_bytes as usize,
                tail_bytes: setup.tail_bytes as usize,
                ..Limits::default()
            },
            ..Config::default()
        };
        Provider::new(config, doc, || ()).expect("nobody else has the document")
    }

    /// The program is killed and started again, with a new document; its disk is as it was.
    pub(crate) fn restart(&mut self, setup: &Setup, role: Role, doc: &Doc, rng: &mut Rng) {
        let kept = self.disk.log.iter().flat_map(Batch::updates);
        for update in self.disk.snapshot.as_deref().into_iter().chain(kept) {
            if let Ok(content) = Content::read(update) {
                self.owed.add(&content);
            }
        }
        self.provider = Self::provider(setup, role, doc, rng);
        self.line = None;
        self.unsent = 0;
        self.life += 1;
        self.edits.clear();
        self.deletes.clear();
        self.is_leaving = false;
    }

    /// Its disk is emptied.
    pub(crate) fn forget(&mut self) {
        self.disk = Stored::default();
        self.owed = Coverage::default();
    }

    /// The document that is on its disk.
    pub(crate) fn kept(&self) -> Result<Doc, String> {
        let log = self.disk.log.iter().flat_map(Batch::updates);
        doc_of(self.disk.snapshot.as_deref().into_iter().chain(log))
    }

    /// The document was edited, and the provider has been told.
    pub(crate) fn edited(&mut self, clock: u32, deletes: Vec<Run>) {
        self.deletes.extend(deletes);
        let made = Made { count: self.provider.edits(), clock, deletes: self.deletes.len() };
        self.edits.push(made);
    }

    /// What the server has if it has so many edits.
    pub(crate) fn confirmed(&self, upto: u64) -> Option<Confirmed<'_>> {
        let made = self.edits.iter().rev().find(|made| made.count <= upto)?;
        Some(Confirmed { clock: made.clock, deletes: &self.deletes[..made.deletes] })
    }

    /// Its disk carries out an operation; the answer, if there is one.
    pub(crate) fn store(&mut self, op: &StoreOp, fails: bool) -> Option<Input> {
        let fault = || StoreFault::new(StoreFaultKind::NotDone, "the disk is full");
        match op {
            StoreOp::Load { room, .. } => {
                let result = if fails { Err(fault()) } else { Ok(self.disk.clone()) };
                Some(Input::Loaded { room: *room, result })
            }
            StoreOp::Append(append) => {
                let (room, last) = (append.room, append.batch.last());
                if fails {
                    return Some(Input::WriteFailed { room, seq: last, fault: fault() });
                }
                let first = append.batch.first();
                self.disk.log.retain(|batch| batch.last() < first);
                self.disk.log.push(append.batch.clone());
                Some(Input::Durable { room, upto: last })
            }
            StoreOp::Compact { room, upto, snapshot, .. } => {
                let result = if fails {
                    Err(fault())
                } else {
                    self.disk.log.retain(|batch| batch.last() > *upto);
                    self.disk.snapshot = Some(snapshot.clone());
                    self.disk.snapshot_upto = *upto;
                    Ok(())
                };
                Some(Input::Compacted { room: *room, upto: *upto, result })
            }
            StoreOp::Delete { .. } | StoreOp::Release { .. } => None,
        }
    }
}
