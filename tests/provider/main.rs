//! The client side, in memory and in virtual time: against a hub, and against servers that a test plays.
//!
//! The simulation (`tests/sim`) has providers too, in worlds that are drawn. Here each promise stands by
//! itself, two thousand programs lose one server, and servers do what no engine of ours would.

mod alone;
mod disk;
mod together;
mod world;

use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
