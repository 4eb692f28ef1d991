//! Drives the [`yroom`] engine over real sockets.

pub mod store;
