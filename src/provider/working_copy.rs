//! A document for a moment: made of a room's bytes, edited or read, and dropped.

use super::DocumentInUse;
use super::config::Subdocuments;
use super::replica::{Replica, Trouble};
use crate::config::Limits;
use crate::error::Fault;
use crate::update::{self, ClientId, ScanLimits};
use std::fmt;
use yrs::{ClientID, Doc, OffsetKind, Options};

/// A `yrs::Doc` with a document's content, guarded as a [`Provider`](super::Provider)'s is: nothing
/// enters it that was not scanned, that yrs does not survive, or that it could not integrate at once.
///
/// Types lie in each other as deep as the document's authors have put them, and yrs recurses into
/// them, also when the document is dropped: work on it, and drop it, on a thread with a stack of
/// [`STACK`](Self::STACK).
///
/// ```
/// use yroom::provider::WorkingCopy;
/// use yroom::update::{ClientId, EMPTY};
/// use yrs::{Text, Transact, WriteTxn};
///
/// let mut copy = WorkingCopy::open(EMPTY, ClientId(7))?;
/// let mut txn = copy.doc().transact_mut();
/// txn.get_or_insert_text("t").push(&mut txn, "hi");
/// drop(txn);
/// let edit = copy.take_edit()?.expect("something was written");
///
/// let read = WorkingCopy::open(&edit, ClientId(8))?;
/// # use yrs::GetString;
/// assert_eq!(read.doc().get_or_insert_text("t").get_string(&read.doc().transact()), "hi");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct WorkingCopy {
    doc: Doc,
    replica: Replica,
}

/// Why there is no working copy of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unworkable {
    /// It is malformed, over a limit, or depends on something that is not in it.
    Invalid(Fault),
    /// It is well formed, and yrs cannot read it, or is not safe with it.
    Unreadable(String),
    /// yrs panicked on it.
    Panicked,
}

impl fmt::Display for Unworkable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(fault) => fault.fmt(f),
            Self::Unreadable(why) => write!(f, "yrs cannot read the document: {why}"),
            Self::Panicked => f.write_str("yrs panicked on the document"),
        }
    }
}

impl std::error::Error for Unworkable {}

/// Levels of types in each other that a stack of [`WorkingCopy::STACK`] is good for, also in a debug
/// build.
const TYPES_DEEP: usize = 10_000;

impl WorkingCopy {
    /// The stack that the deepest document needs. Only the part that is used takes memory.
    pub const STACK: usize = 64 << 20;

    /// Opens the document that one update holds; what is edited is `client`'s. Lengths and offsets
    /// are counted as JavaScript does.
    pub fn open(content: &[u8], client: ClientId) -> Result<Self, Unworkable> {
        let options = Options {
            client_id: ClientID::new(client.0),
            guid: "".into(),
            collection_id: None,
            offset_kind: OffsetKind::Utf16,
            skip_gc: false,
            auto_load: false,
            should_load: false,
            cleanup_formatting: true,
        };
        let doc = Doc::with_options(options);
        let mut replica = Replica::new(doc.clone(), Subdocuments::Refuse, || ())
            .map_err(|DocumentInUse| Unworkable::Panicked)?;
        // It was let in by the room's limits; only the stack's is left.
        let depth = ScanLimits::default().depth;
        let scan = ScanLimits { depth, types: TYPES_DEEP, ..ScanLimits::NONE };
        let limits = Limits { update: scan, ..Limits::default() };
        match replica.integrate(content, &limits) {
            Ok(integrated) if integrated.gap => {
                Err(Unworkable::Unreadable("it depends on what is not in it".to_owned()))
            }
            Ok(_) => Ok(Self { doc, replica }),
            Err(Trouble::Fault(fault)) => Err(Unworkable::Invalid(fault)),
            Err(Trouble::Unreadable(why)) => Err(Unworkable::Unreadable(why)),
            Err(Trouble::InUse | Trouble::Poisoned) => {
                Self { doc, replica }.abandon();
                Err(Unworkable::Panicked)
            }
        }
    }

    /// The document.
    pub const fn doc(&self) -> &Doc {
        &self.doc
    }

    /// What was edited since this was last asked, as one update; `None` if that is nothing.
    ///
    /// Fails while a transaction has the document.
    pub fn take_edit(&mut self) -> Result<Option<Vec<u8>>, DocumentInUse> {
        let before = self.replica.have().clone();
        let overflow = self.replica.take_overflow()?;
        let edits: Vec<Vec<u8>> = std::iter::from_fn(|| self.replica.next_edit()).collect();
        let edit = match (overflow, &edits[..]) {
            (Some(everything), _) => everything,
            (None, []) => return Ok(None),
            (None, [edit]) => edit.clone(),
            (None, many) => {
                let many: Vec<&[u8]> = many.iter().map(Vec::as_slice).collect();
                match update::merge(&many) {
                    Ok(merged) => merged,
                    Err(_) => self.replica.lacking(&before)?,
                }
            }
        };
        Ok((edit != update::EMPTY).then_some(edit))
    }

    /// Gives the document up without touching it again, after a panic in the middle of something: its
    /// memory is lost.
    pub fn abandon(self) {
        std::mem::forget(self);
    }
}
