//! Closures of the application's on a document: run on a copy that is made for the moment.

use super::RoomError;
use super::oneshot::Sender;
use bytes::Bytes;
use std::panic::{AssertUnwindSafe, catch_unwind};
use yroom::provider::{Unworkable, WorkingCopy};
use yroom::update::ClientId;
use yrs::{Doc, Transact, TransactionMut};

/// Runs `f` on a document that one update holds, as the client `client`; gives what it gives, and
/// what it changed, as one update.
///
/// This is what [`Room::edit`](super::Room::edit) does, without a room: for tests, tools and
/// initialisers ([`seed`](super::seed())). The caller's thread needs a stack of
/// [`WorkingCopy::STACK`] for documents of others.
///
/// ```
/// use yrs::{GetString, Text, WriteTxn};
///
/// let (len, edit) = yroom_net::app::edit_bytes(yroom::update::EMPTY, 7, |txn| {
///     let text = txn.get_or_insert_text("notes");
///     text.push(txn, "hello");
///     text.get_string(txn).len()
/// })?;
/// assert_eq!(len, 5);
/// assert!(edit.is_some());
/// # Ok::<(), yroom_net::app::RoomError>(())
/// ```
pub fn edit_bytes<T>(
    content: &[u8],
    client: u64,
    f: impl FnOnce(&mut TransactionMut<'_>) -> T,
) -> Result<(T, Option<Bytes>), RoomError> {
    let mut copy = WorkingCopy::open(content, ClientId(client)).map_err(RoomError::Unworkable)?;
    match edit(&mut copy, f) {
        Ok(edited) => Ok(edited),
        Err(panicked) => {
            copy.abandon();
            Err(panicked)
        }
    }
}

/// One closure, on its way to a room's copy.
pub(super) struct Errand(Box<Work>);

type Work = dyn FnOnce(Result<&mut WorkingCopy, RoomError>) -> Done + Send;

/// What a closure has left.
pub(super) enum Done {
    /// The copy as it was; whoever asked has the answer.
    Read,
    /// A change; `finish` answers when it is known what became of it.
    Edited { update: Bytes, finish: Finish },
    /// A copy that is not the document's any more.
    Spoiled,
    /// A copy in the middle of something.
    Broken,
}

/// Tells whoever asked what became of an edit.
pub(super) type Finish = Box<dyn FnOnce(Result<(), RoomError>) + Send>;

impl Errand {
    /// Changes the document.
    pub(super) fn edit<T: Send + 'static>(
        f: impl FnOnce(&mut TransactionMut<'_>) -> T + Send + 'static,
        answer: Sender<Result<T, RoomError>>,
    ) -> Self {
        Self(Box::new(move |copy| {
            let edited = match copy {
                Ok(copy) => edit(copy, f),
                Err(error) => {
                    answer.send(Err(error));
                    return Done::Read;
                }
            };
            match edited {
                Ok((value, Some(update))) => {
                    // Called on the shard's thread: a value that panics when it is dropped must not
                    // be its end.
                    let finish = move |result: Result<(), RoomError>| {
                        let answer = || answer.send(result.map(|()| value));
                        let _ = catch_unwind(AssertUnwindSafe(answer));
                    };
                    Done::Edited { update, finish: Box::new(finish) }
                }
                Ok((value, None)) => {
                    answer.send(Ok(value));
                    Done::Read
                }
                Err(error) => {
                    answer.send(Err(error));
                    Done::Broken
                }
            }
        }))
    }

    /// Reads the document.
    pub(super) fn read<T: Send + 'static>(
        f: impl FnOnce(&Doc) -> T + Send + 'static,
        answer: Sender<Result<T, RoomError>>,
    ) -> Self {
        Self(Box::new(move |copy| {
            let copy = match copy {
                Ok(copy) => copy,
                Err(error) => {
                    answer.send(Err(error));
                    return Done::Read;
                }
            };
            let Ok(value) = catch_unwind(AssertUnwindSafe(|| f(copy.doc()))) else {
                answer.send(Err(RoomError::Panicked));
                return Done::Broken;
            };
            answer.send(Ok(value));
            match copy.take_edit() {
                Ok(None) => Done::Read,
                Ok(Some(_)) => Done::Spoiled,
                // It has left a transaction open.
                Err(_) => Done::Broken,
            }
        }))
    }

    /// Says that there is no document, and drops the closure with all it has, panics included.
    pub(super) fn refuse(self, error: RoomError) {
        let _ = catch_unwind(AssertUnwindSafe(|| (self.0)(Err(error))));
    }
}

/// Runs closures one after the other on a copy of `content`, each seeing what those before it have
/// changed; `take` is given every change at once.
pub(super) fn run(
    content: &[u8],
    client: ClientId,
    errands: Vec<Errand>,
    mut take: impl FnMut(Bytes, Finish),
) {
    let mut changed: Vec<Bytes> = Vec::new();
    let mut copy: Option<WorkingCopy> = None;
    for Errand(errand) in errands {
        if copy.is_none() {
            match reopen(content, &changed, client) {
                Ok(opened) => copy = Some(opened),
                Err(why) => {
                    errand(Err(RoomError::Unworkable(why)));
                    continue;
                }
            }
        }
        let Some(opened) = copy.as_mut() else { continue };
        match errand(Ok(opened)) {
            Done::Read => {}
            Done::Edited { update, finish } => {
                changed.push(update.clone());
                take(update, finish);
            }
            Done::Spoiled => copy = None,
            Done::Broken => {
                if let Some(broken) = copy.take() {
                    broken.abandon();
                }
            }
        }
    }
}

/// A copy of a document as these changes have left it.
fn reopen(content: &[u8], changed: &[Bytes], client: ClientId) -> Result<WorkingCopy, Unworkable> {
    if changed.is_empty() {
        return WorkingCopy::open(content, client);
    }
    let parts: Vec<&[u8]> =
        std::iter::once(content).chain(changed.iter().map(|part| &part[..])).collect();
    let all =
        yroom::update::merge(&parts).map_err(|why| Unworkable::Unreadable(why.to_string()))?;
    WorkingCopy::open(&all, client)
}

fn edit<T>(
    copy: &mut WorkingCopy,
    f: impl FnOnce(&mut TransactionMut<'_>) -> T,
) -> Result<(T, Option<Bytes>), RoomError> {
    let doc = copy.doc().clone();
    let mut txn = doc.try_transact_mut().map_err(|_| RoomError::Panicked)?;
    let edited = catch_unwind(AssertUnwindSafe(|| f(&mut txn)));
    let Ok(value) = edited else {
        // To drop it would commit what may be in the middle of something.
        std::mem::forget(txn);
        std::mem::forget(doc);
        return Err(RoomError::Panicked);
    };
    // A transaction commits when it is dropped. Outside of a panic, or a second one aborts.
    if catch_unwind(AssertUnwindSafe(move || drop(txn))).is_err() {
        return Err(RoomError::Panicked);
    }
    let update = copy.take_edit().map_err(|_| RoomError::Panicked)?;
    Ok((value, update.map(Bytes::from)))
}

#[cfg(test)]
mod tests {
    use super::super::oneshot::{Answer, oneshot};
    use super::*;
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};
    use yroom::update::EMPTY;
    use yrs::{Array, GetString, ReadTxn, Text, WriteTxn};

    fn push(text: &'static str) -> impl FnOnce(&mut TransactionMut<'_>) + Send {
        move |txn| {
            let notes = txn.get_or_insert_text("notes");
            notes.push(txn, text);
        }
    }

    fn text(content: &[u8]) -> String {
        let read = |txn: &mut TransactionMut<'_>| {
            txn.get_text("notes").map(|notes| notes.get_string(txn)).unwrap_or_default()
        };
        edit_bytes(content, 1, read).expect("it is readable").0
    }

    fn now<T>(answer: Answer<T>) -> Option<T> {
        match pin!(answer).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => value,
            Poll::Pending => panic!("not answered"),
        }
    }

    #[test]
    fn an_edit_is_the_change_and_nothing_else() {
        let ((), first) = edit_bytes(EMPTY, 7, push("hello")).unwrap();
        let first = first.expect("something was written");
        let ((), second) = edit_bytes(&first, 8, push(" world")).unwrap();
        let second = second.expect("something was written");
        assert!(!second.windows(5).any(|part| part == b"hello"));
        let both = yroom::update::merge(&[&first, &second]).unwrap();
        assert_eq!(text(&both), "hello world");
        let (len, nothing) = edit_bytes(&both, 9, |txn| txn.get_or_insert_text("notes").len(txn))
            .expect("it is readable");
        assert_eq!((len, nothing), (11, None));
    }

    #[test]
    fn what_is_deleted_is_in_the_edit() {
        let ((), first) = edit_bytes(EMPTY, 7, push("hello")).unwrap();
        let first = first.unwrap();
        let delete = |txn: &mut TransactionMut<'_>| {
            let notes = txn.get_or_insert_text("notes");
            notes.remove_range(txn, 0, 4);
        };
        let ((), second) = edit_bytes(&first, 8, delete).unwrap();
        let both = yroom::update::merge(&[&first, &second.unwrap()]).unwrap();
        assert_eq!(text(&both), "o");
    }

    #[test]
    fn a_panic_leaves_nothing_and_those_after_it_are_done() {
        let (answers, mut changes) = ([(); 4].map(|()| oneshot()), Vec::new());
        let [a, b, c, d] = answers;
        let panics = |txn: &mut TransactionMut<'_>| {
            push("half")(txn);
            panic!("as a test wants it");
        };
        let reads = |doc: &Doc| {
            let notes = doc.get_or_insert_text("notes");
            notes.push(&mut doc.transact_mut(), "scribble");
            notes.get_string(&doc.transact())
        };
        let (read, seen) = oneshot();
        let errands = vec![
            Errand::edit(push("one"), a.0),
            Errand::edit(panics, b.0),
            Errand::edit(push(" two"), c.0),
            Errand::read(reads, read),
            Errand::edit(push(" three"), d.0),
        ];
        run(EMPTY, ClientId(7), errands, |change, finish| {
            changes.push(change);
            finish(Ok(()));
        });
        assert_eq!(now(a.1), Some(Ok(())));
        assert_eq!(now::<Result<(), _>>(b.1), Some(Err(RoomError::Panicked)));
        assert_eq!(now(c.1), Some(Ok(())));
        assert_eq!(now(seen), Some(Ok("one twoscribble".to_owned())));
        assert_eq!(now(d.1), Some(Ok(())));
        let changes: Vec<&[u8]> = changes.iter().map(|change| &change[..]).collect();
        assert_eq!(text(&yroom::update::merge(&changes).unwrap()), "one two three");
    }

    #[test]
    fn a_document_that_yrs_is_not_safe_with_is_refused() {
        // A sub-document in the map "a".
        let subdocument = [1, 1, 7, 0, 9, 1, 1, b'a', 1, b'g', 118, 0, 0];
        let (answer, refused) = oneshot();
        let errand = Errand::edit(push("x"), answer);
        run(&subdocument, ClientId(7), vec![errand], |_, _| panic!("nothing is changed"));
        assert!(matches!(now(refused), Some(Err(RoomError::Unworkable(_)))));
        // Something that depends on what is not there.
        let ((), first) = edit_bytes(EMPTY, 7, push("hello")).unwrap();
        let ((), second) = edit_bytes(&first.unwrap(), 7, push(" world")).unwrap();
        let gap = edit_bytes(&second.unwrap(), 9, |_| ());
        assert!(matches!(gap, Err(RoomError::Unworkable(_))), "{gap:?}");
        assert!(matches!(edit_bytes(b"nonsense", 9, |_| ()), Err(RoomError::Unworkable(_))));
    }

    #[test]
    fn the_deepest_document_that_is_opened_fits_the_stack() {
        let deep = std::thread::Builder::new().stack_size(WorkingCopy::STACK).spawn(|| {
            let nest = |txn: &mut TransactionMut<'_>| {
                let mut array = txn.get_or_insert_array("deep");
                for _ in 0..9_000 {
                    array = array.insert(txn, 0, yrs::ArrayPrelim::default());
                }
            };
            let ((), deep) = edit_bytes(EMPTY, 7, nest).unwrap();
            let remove = |txn: &mut TransactionMut<'_>| {
                let array = txn.get_or_insert_array("deep");
                array.remove(txn, 0);
            };
            let ((), removed) = edit_bytes(&deep.unwrap(), 8, remove).unwrap();
            assert!(removed.is_some());
            let too_deep = |txn: &mut TransactionMut<'_>| {
                let mut array = txn.get_or_insert_array("deep");
                for _ in 0..10_100 {
                    array = array.insert(txn, 0, yrs::ArrayPrelim::default());
                }
            };
            let ((), deep) = edit_bytes(EMPTY, 7, too_deep).unwrap();
            let refused = edit_bytes(&deep.unwrap(), 8, |_| ());
            assert!(matches!(refused, Err(RoomError::Unworkable(_))), "{refused:?}");
        });
        deep.expect("a thread").join().expect("it fits");
    }
}
