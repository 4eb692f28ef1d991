//! What an application can do with the rooms of its server, the same for each runtime.
#![allow(missing_docs, reason = "the names of tests are sentences")]
#![cfg(feature = "app")]

// Before those who use its macro.
#[macro_use]
#[path = "../support/suite.rs"]
mod suite;

mod edit;
mod first_content;
mod hooks;
mod load;
mod rooms;
mod stores;
#[allow(dead_code, reason = "the tests of sockets need more of it")]
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/wait.rs"]
mod wait;

pub(crate) use support::eventually;
pub(crate) use wait::wait;

use yroom::RoomName;
use yroom_net::app::edit_bytes;

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
