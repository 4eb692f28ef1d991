//! Posts to a URL what happens in the rooms of a server: [`Webhook`].
//!
//! ```
//! use std::time::Duration;
//! use yroom::Config;
//! use yroom_net::{Server, runtime};
//! use yroom_webhook::{Topic, Webhook};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = Server::<runtime::Smol>::new(Config::default()).bind("127.0.0.1:0")?;
//! let notices = Webhook::new("https://example.org/hook")?
//!     .topics([Topic::Change, Topic::Delete])
//!     .debounce(Duration::from_secs(2), Duration::from_secs(10))
//!     .objects(["text:Text".parse()?])
//!     .secret(b"what the receiver checks signatures with")
//!     .start(server.rooms())?;
//! assert!(server.shutdown().is_clean());
//! let undelivered = notices.finish(Duration::from_secs(5));
//! assert!(undelivered.is_empty());
//! # Ok(())
//! # }
//! ```
//!
//! # What is posted
//!
//! A JSON object each, with `event` (a [`Topic`]), `room`, `at` (milliseconds since 1970), and
//!
//! * for `change`: `sequence`, which only grows while a room is loaded; and, if objects were asked for,
//!   `data`, such as `{"text": {"type": "Text", "content": "hello"}}`, in the shape that
//!   y-websocket-server posts; or `omitted`, why there is none;
//! * for `join` and `leave`: `peer`, which connection;
//! * `lost`: how many notices about this room were left out before this one, if any were.
//!
//! With a secret, `X-Yroom-Signature-256: sha256=…` is the HMAC-SHA256 of the body in hexadecimal
//! digits. Compare it before you believe the body.
//!
//! # What happens when
//!
//! * *Many changes come*: a room's changes are one notice, posted when there was none for a while, or
//!   after the longest wait. It shows the newest state, read when it is posted, also after a retry.
//! * *The receiver fails* (no answer in time, 408, 425, 429, 5xx): it is asked again, after 1 s, then
//!   2 s and so on to 30 s, until the [deadline](Webhook::give_up_after). Any other answer but 2xx is for
//!   good; redirects are not followed.
//! * *It hangs*: four threads wait for it, and nobody else. Of each room at most 64 notices wait, of at
//!   most 10,000 rooms; the oldest go, and are counted.
//! * *A notice arrives twice*: possible, when an answer was lost. Notices of one room come one after the
//!   other, in order; those of different rooms overtake each other.
//! * *The room is unloaded* before its content was read: it is loaded for that once more.
//! * *The server ends*: [`Delivery::finish`] posts what waits, with content read from the
//!   [store](Webhook::store), and says what was not delivered. What waits when the process is killed is
//!   not posted.
#![forbid(unsafe_code)]

mod content;
mod deliver;
mod notice;
mod queue;
mod wait;
mod webhook;

pub use content::{InvalidObject, Object, Shape};
pub use notice::{Topic, UnknownTopic};
pub use webhook::{Delivery, InvalidUrl, Trouble, Undelivered, Webhook};
