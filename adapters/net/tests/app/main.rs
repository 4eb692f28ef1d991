//! What an application can do with the rooms of its server, the same for each runtime.
#![allow(missing_docs, reason = "the names of tests are sentences")]
#![cfg(feature = "app")]

mod edit;
mod first_content;
mod hooks;
mod load;
mod rooms;
mod stores;
#[allow(dead_code, reason = "the tests of sockets need more of it")]
#[path = "../support/mod.rs"]
mod support;

use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};
use support::PATIENCE;
use yroom::RoomName;
use yroom_net::app::edit_bytes;

/// Each test on each runtime.
macro_rules! suite {
    ($runtime:ident, $feature:literal, $type:ident: $($test:ident)*) => {
        #[cfg(feature = $feature)]
        mod $runtime {
            $(
                #[test]
                fn $test() {
                    super::$test::<yroom_net::runtime::$type>();
                }
            )*
        }
    };
    ($($test:ident)*) => {
        $crate::suite!(tokio, "tokio", Tokio: $($test)*);
        $crate::suite!(smol, "smol", Smol: $($test)*);
        $crate::suite!(async_std, "async-std", AsyncStd: $($test)*);
    };
}
pub(crate) use suite;

/// Waits for a future on this thread, with no runtime at all.
pub(crate) fn wait<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = std::pin::pin!(future);
    let end = Instant::now() + 3 * PATIENCE;
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        assert!(Instant::now() < end, "it takes too long");
        thread::park_timeout(PATIENCE);
    }
}

pub(crate) fn eventually(mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < until, "it did not come about");
        thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) fn name(name: &str) -> RoomName {
    RoomName::new(name).unwrap()
}

/// The text "t" of a document, as yrs reads it.
pub(crate) fn text(content: &[u8]) -> String {
    use yrs::{GetString, ReadTxn};
    let read = |txn: &mut yrs::TransactionMut<'_>| {
        txn.get_text("t").map(|text| text.get_string(txn)).unwrap_or_default()
    };
    edit_bytes(content, 1, read).expect("it is readable").0
}

/// Writes into the text "t".
pub(crate) fn push(txn: &mut yrs::TransactionMut<'_>, text: &str) {
    use yrs::{Text, WriteTxn};
    let notes = txn.get_or_insert_text("t");
    notes.push(txn, text);
}

/// The update in a SyncStep2 or Update message.
pub(crate) fn payload(message: &[u8]) -> &[u8] {
    let mut at = 2;
    while message[at] & 0x80 != 0 {
        at += 1;
    }
    &message[at + 1..]
}
