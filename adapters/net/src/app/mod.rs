//! The rooms for the application that runs the server: get, edit, read, fork, rename and delete them,
//! fill new ones, look at what peers send, and hear what happens.
//!
//! [`Running::rooms`](crate::Running::rooms) gives [`Rooms`], a handle for any thread; its futures run
//! on any executor, since the work is done on the shards' threads. [`Server`](crate::Server) takes the
//! application's own code: [`initialise`](crate::Server::initialise),
//! [`on_message`](crate::Server::on_message),
//! [`on_application_message`](crate::Server::on_application_message).
//!
//! ```
//! # #[cfg(feature = "smol")]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use yroom::{Config, RoomName};
//! use yroom_net::{Server, runtime};
//!
//! let server = Server::<runtime::Smol>::new(Config::default()).bind("127.0.0.1:0")?;
//! let rooms = server.rooms();
//! smol::block_on(async {
//!     let draft = rooms.get(&RoomName::new("draft")?).await?;
//!     // Client 7 writes "hi" into the text "text".
//!     let update = [1, 1, 7, 0, 4, 1, 4, b't', b'e', b'x', b't', 2, b'h', b'i', 0];
//!     draft.apply(update.to_vec()).await?; // durable now, and shown to peers
//!     rooms.fork(draft.name(), &RoomName::new("copy")?).await?;
//!     assert_eq!(rooms.list().await?.len(), 2);
//!     rooms.delete(draft.name()).await?;
//!     Ok(())
//! })
//! # }
//! # #[cfg(not(feature = "smol"))]
//! # fn main() {}
//! ```

#[cfg(feature = "app")]
mod batch;
mod desk;
#[cfg(feature = "app")]
mod edit;
mod error;
mod events;
mod guard;
mod hooks;
mod line;
mod oneshot;
mod peer;
#[cfg(feature = "app")]
mod pool;
mod room;
mod rooms;
#[cfg(feature = "app")]
mod seed;
mod service;

pub(crate) use desk::{Ask, Desk, Held};
#[cfg(feature = "app")]
pub use edit::edit_bytes;
pub use error::RoomError;
pub use events::{Events, Happening, News};
pub(crate) use hooks::Hooks;
pub use hooks::{Failure, FirstContent, Hook, Incoming, Verdict};
pub(crate) use line::Flow;
pub use peer::{Peer, PeerId};
pub use room::Room;
pub use rooms::Rooms;
#[cfg(feature = "app")]
pub use seed::seed;
pub(crate) use service::{Task, Tools};
