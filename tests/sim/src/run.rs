//! Runs scenarios, and shrinks those that fail.

use crate::op::{Op, Scenario};
use crate::world::{Telling, World};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The first promise that was broken.
    pub broken: Option<String>,
    /// Events.
    pub events: u64,
    /// The time that passed in it.
    pub simulated: Duration,
    /// One line for each event, if it was to be told.
    pub told: String,
}

/// Runs a scenario. A panic is a broken promise too.
pub fn run(scenario: &Scenario, telling: Telling) -> Outcome {
    let mut world = World::new(&scenario.setup, telling);
    let ran = catch_unwind(AssertUnwindSafe(|| world.run(scenario)));
    let broken = match ran {
        Ok(()) => world.broken.take(),
        Err(payload) => {
            let text = payload
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| payload.downcast_ref::<&str>().copied())
                .unwrap_or("no message");
            Some(format!("at {:?}: a panic: {text}", world.elapsed()))
        }
    };
    let outcome = Outcome {
        broken,
        events: world.events,
        simulated: world.elapsed(),
        told: std::mem::take(&mut world.told),
    };
    if outcome.broken.as_ref().is_some_and(|broken| broken.contains("a panic")) {
        // After a panic inside yrs its documents may not even be dropped.
        std::mem::forget(world);
    }
    outcome
}

/// A smaller scenario that breaks something too; at most `tries` runs are spent on it.
pub fn shrink(scenario: &Scenario, tries: u32) -> (Scenario, String) {
    let mut best = scenario.clone();
    let mut broken = run(&best, Telling::Nothing).broken.unwrap_or_default();
    let mut left = tries;
    let mut attempt = |best: &mut Scenario, broken: &mut String, smaller: Scenario| -> bool {
        if left == 0 {
            return false;
        }
        left -= 1;
        match run(&smaller, Telling::Nothing).broken {
            Some(found) => {
                *best = smaller;
                *broken = found;
                true
            }
            None => false,
        }
    };
    let mut chunk = best.ops.len().div_ceil(2);
    while chunk > 0 {
        let mut at = 0;
        while at < best.ops.len() {
            let mut smaller = best.clone();
            smaller.ops.drain(at..(at + chunk).min(best.ops.len()));
            if !attempt(&mut best, &mut broken, smaller) {
                at += chunk;
            }
        }
        chunk = if chunk == 1 { 0 } else { chunk.div_ceil(2) };
    }
    // Clients are only dropped from the end: their indices mean something.
    while best.setup.clients.len() > 1 {
        let mut smaller = best.clone();
        smaller.setup.clients.pop();
        if !attempt(&mut best, &mut broken, smaller) {
            break;
        }
    }
    for at in 0..best.ops.len() {
        while let Op::Advance { ms } = best.ops[at] {
            let mut smaller = best.clone();
            smaller.ops[at] = Op::Advance { ms: ms / 2 };
            if ms == 0 || !attempt(&mut best, &mut broken, smaller) {
                break;
            }
        }
    }
    (best, broken)
}
