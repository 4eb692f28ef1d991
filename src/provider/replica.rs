//! The application's document, guarded.
//!
//! yrs is fed nothing that was not scanned, and nothing that it could not integrate at once: on
//! malformed updates it panics, overflows its stack or worse, and with what it cannot integrate yet
//! it may never get to the end.

use super::config::Subdocuments;
use crate::config::Limits;
use crate::error::Fault;
use crate::update::{self, ClientId, ClockRange, Scan, ScanLimits, StateVector, UpdateError};
use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use yrs::updates::decoder::Decode;
use yrs::{Doc, Origin, ReadTxn, Transact, WriteTxn};

/// Bytes of edits that wait to be taken; further ones are taken from the document as a whole.
const EDITS_BYTES: usize = 16 << 20;

/// yrs finds a client by its id's low bits: with many alike, all that it does gets slow by the square
/// of their number. Of ids chosen at random, a million are not nearly so many alike.
const ALIKE_AT_MOST: usize = 64;

/// A transaction of the application's has the document; it can be had later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DocumentInUse;

impl fmt::Display for DocumentInUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a transaction has the document")
    }
}

impl std::error::Error for DocumentInUse {}

/// Why an update is not in the document.
#[derive(Debug)]
pub(super) enum Trouble {
    /// [`DocumentInUse`].
    InUse,
    /// It is malformed or over a limit.
    Fault(Fault),
    /// It is well formed, and yrs cannot read it.
    Unreadable(String),
    /// yrs panicked.
    Poisoned,
}

impl From<DocumentInUse> for Trouble {
    fn from(_: DocumentInUse) -> Self {
        Self::InUse
    }
}

impl From<Fault> for Trouble {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<UpdateError> for Trouble {
    fn from(error: UpdateError) -> Self {
        Self::Fault(error.into())
    }
}

/// What became of an update.
#[derive(Debug)]
pub(super) struct Integrated {
    /// What of it is in the document now; `None` if it was there before.
    pub(super) part: Option<Vec<u8>>,
    /// Whether some of it depends on what is not there.
    pub(super) gap: bool,
}

pub(super) struct Replica {
    doc: Doc,
    /// Marks our transactions, whose changes are not to be sent back, and our observer.
    origin: Origin,
    waiting: Arc<Waiting>,
    edits: Receiver<Vec<u8>>,
    have: StateVector,
    subdocuments: Subdocuments,
    /// How many client ids have these low bits in common.
    alike: BTreeMap<u16, usize>,
}

/// What the observer shares with us.
#[derive(Debug, Default)]
struct Waiting {
    bytes: AtomicUsize,
    overflowed: AtomicBool,
}

impl Replica {
    /// Watches `doc`: after each edit `notify` is called, from within the edit's transaction.
    pub(super) fn new(
        doc: Doc,
        subdocuments: Subdocuments,
        notify: impl Fn() + Send + Sync + 'static,
    ) -> Result<Self, DocumentInUse> {
        let waiting = Arc::new(Waiting::default());
        let origin = Origin::from(Arc::as_ptr(&waiting) as usize);
        let (sender, edits) = channel();
        let observer = observer(origin.clone(), Arc::clone(&waiting), sender, notify);
        doc.observe_update_v1(origin.clone(), observer).map_err(|_| DocumentInUse)?;
        let (have, alike) = (StateVector::default(), BTreeMap::new());
        let mut replica = Self { doc, origin, waiting, edits, have, subdocuments, alike };
        replica.look_anew()?;
        Ok(replica)
    }

    /// What the document has, edits that were not taken yet left out.
    pub(super) const fn have(&self) -> &StateVector {
        &self.have
    }

    pub(super) fn client(&self) -> ClientId {
        ClientId(self.doc.client_id().get())
    }

    /// The next edit of the application's.
    pub(super) fn next_edit(&mut self) -> Option<Vec<u8>> {
        let edit = self.edits.try_recv().ok()?;
        self.waiting.bytes.fetch_sub(edit.len(), Ordering::Relaxed);
        if let Ok(scan) = update::scan(&edit, &limitless()) {
            self.cover(&scan);
        }
        Some(edit)
    }

    /// Whether edits were left out because too many waited; then everything since `have` is one.
    pub(super) fn take_overflow(&mut self) -> Result<Option<Vec<u8>>, DocumentInUse> {
        if !self.waiting.overflowed.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let edit = self.lacking(&self.have.clone())?;
        self.waiting.overflowed.store(false, Ordering::Relaxed);
        self.look_anew()?;
        Ok(Some(edit))
    }

    /// Brings in what of an update is new and can be integrated.
    pub(super) fn integrate(
        &mut self,
        update: &[u8],
        limits: &Limits,
    ) -> Result<Integrated, Trouble> {
        let ready = update::ready_part(update, &self.have, &limits.update)?;
        let gap = !ready.missing.is_empty();
        let Some(part) = ready.part else { return Ok(Integrated { part: None, gap }) };
        let adds = |range: &ClockRange| range.end > self.have.get(range.client);
        if ready.scan.deletes.is_empty() && !ready.scan.ranges.iter().any(adds) {
            return Ok(Integrated { part: None, gap });
        }
        let overlaps = |range: &ClockRange| range.start < self.have.get(range.client);
        let part = if ready.scan.ranges.iter().any(overlaps) {
            update::diff(&part, &self.have)?
        } else {
            part.into_owned()
        };
        self.check(&part, &ready.scan)?;
        let decoded = yrs::Update::decode_v1(&part)
            .map_err(|error| Trouble::Unreadable(error.to_string()))?;
        let complete = self.apply(decoded)?;
        if complete {
            self.cover(&ready.scan);
        } else {
            self.look_anew()?;
        }
        Ok(Integrated { part: Some(part), gap: gap || !complete })
    }

    /// What somebody lacks who has `have`.
    pub(super) fn lacking(&self, have: &StateVector) -> Result<Vec<u8>, DocumentInUse> {
        // Only of clients that are known here: yrs' table is no place for ids that others chose.
        let mut theirs = yrs::StateVector::default();
        for (client, _) in self.have.iter() {
            theirs.set_max(yrs::ClientID::new(client.0), have.get(client));
        }
        let txn = self.doc.try_transact().map_err(|_| DocumentInUse)?;
        Ok(txn.encode_diff_v1(&theirs))
    }

    /// The whole document.
    pub(super) fn snapshot(&self) -> Result<Vec<u8>, DocumentInUse> {
        self.lacking(&StateVector::default())
    }

    /// Applies and commits; whether everything could be integrated.
    fn apply(&self, update: yrs::Update) -> Result<bool, Trouble> {
        let mut txn =
            self.doc.try_transact_mut_with(self.origin.clone()).map_err(|_| DocumentInUse)?;
        let had_pending = txn.has_missing_updates();
        let applied = catch_unwind(AssertUnwindSafe(|| txn.apply_update(update)));
        let complete = had_pending || !txn.has_missing_updates();
        if !complete {
            drop(txn.prune_pending());
        }
        // A transaction commits when it is dropped. Outside of a panic, or a second one aborts.
        let committed = catch_unwind(AssertUnwindSafe(move || drop(txn)));
        match (applied, committed) {
            (Ok(Ok(())), Ok(())) => Ok(complete),
            (Ok(Err(error)), Ok(())) => Err(Trouble::Unreadable(error.to_string())),
            (Err(_), _) | (_, Err(_)) => Err(Trouble::Poisoned),
        }
    }

    /// Whether yrs survives an update that is well formed.
    fn check(&self, update: &[u8], scan: &Scan) -> Result<(), Trouble> {
        let found = update::hazards(update)?;
        if found.old_json {
            return Err(unreadable("it has values in the form of Yjs before version 13"));
        }
        if found.subdocuments && self.subdocuments == Subdocuments::Refuse {
            return Err(unreadable("it has sub-documents, which are not accepted"));
        }
        let mut alike: BTreeMap<u16, usize> = BTreeMap::new();
        for range in scan.ranges.iter().filter(|range| self.have.get(range.client) == 0) {
            let count = alike.entry(low_bits(range.client)).or_default();
            *count += 1;
            if *count + self.alike.get(&low_bits(range.client)).unwrap_or(&0) > ALIKE_AT_MOST {
                return Err(unreadable("its client ids are chosen to make yrs slow"));
            }
        }
        Ok(())
    }

    fn cover(&mut self, scan: &Scan) {
        for range in &scan.ranges {
            self.raise(range.client, range.end);
        }
    }

    fn raise(&mut self, client: ClientId, clock: u32) {
        if self.have.get(client) == 0 && clock > 0 {
            *self.alike.entry(low_bits(client)).or_default() += 1;
        }
        self.have.raise(client, clock);
    }

    fn look_anew(&mut self) -> Result<(), DocumentInUse> {
        let found = self.doc.try_transact().map_err(|_| DocumentInUse)?.state_vector();
        for (client, &clock) in found.iter() {
            self.raise(ClientId(client.get()), clock);
        }
        Ok(())
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        // If the document is in use the observer stays, and finds nobody to tell.
        let _ = self.doc.unobserve_update_v1(self.origin.clone());
    }
}

impl fmt::Debug for Replica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replica").field("have", &self.have).finish_non_exhaustive()
    }
}

fn observer(
    own: Origin,
    waiting: Arc<Waiting>,
    sender: Sender<Vec<u8>>,
    notify: impl Fn() + Send + Sync + 'static,
) -> impl FnMut(&yrs::TransactionMut<'_>, &yrs::UpdateEvent) + Send + Sync + 'static {
    move |txn, event| {
        if txn.origin() == Some(&own) {
            return;
        }
        let len = event.update.len();
        if waiting.bytes.fetch_add(len, Ordering::Relaxed) + len > EDITS_BYTES {
            waiting.bytes.fetch_sub(len, Ordering::Relaxed);
            waiting.overflowed.store(true, Ordering::Relaxed);
            notify();
        } else if sender.send(event.update.clone()).is_ok() {
            notify();
        }
    }
}

const fn low_bits(client: ClientId) -> u16 {
    client.0 as u16
}

fn unreadable(why: &str) -> Trouble {
    Trouble::Unreadable(why.to_owned())
}

/// What yrs itself made is not held against limits.
pub(super) const fn limitless() -> ScanLimits {
    ScanLimits::NONE
}
