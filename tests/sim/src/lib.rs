//! A simulated world for the yroom engine.
//!
//! Hubs, clients, links and stores on a virtual clock, with faults of all kinds and every promise of
//! the engine checked after each event. One seed is one scenario is one run, byte for byte:
//!
//! ```
//! let scenario = yroom_sim::scenario(1);
//! let outcome = yroom_sim::run(&scenario, yroom_sim::Telling::Nothing);
//! assert_eq!(outcome.broken, None);
//! ```
//!
//! A run has two halves. In the first, *safety*, faults happen and nothing that is promised may be
//! broken; in the second, *liveness*, faults have ended and everything has to become good in time.

mod client;
mod coverage;
mod op;
mod oracle;
mod program;
mod rng;
mod run;
mod swarm;
pub mod targets;
mod world;

pub use op::{Attack, Edit, Fate, Identities, Op, Past, Present, Role, Scenario, Setup};
pub use run::{Outcome, run, shrink};
pub use swarm::{from_bytes, scenario};
pub use world::Telling;
