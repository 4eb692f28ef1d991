//! What every `cargo test` runs of the simulation; the program `yroom-sim` runs more.

use proptest::prelude::*;
use yroom_sim::{Telling, from_bytes, run, scenario};

#[test]
fn two_hundred_seeds_break_no_promise() {
    for seed in 0..200 {
        let outcome = run(&scenario(seed), Telling::Nothing);
        assert_eq!(outcome.broken, None, "seed {seed}");
    }
}

#[test]
fn the_same_seed_tells_the_same_story_byte_for_byte() {
    for seed in 1_000..1_020 {
        let [first, second] = [(); 2].map(|()| run(&scenario(seed), Telling::Everything).told);
        assert!(!first.is_empty());
        assert_eq!(first, second, "seed {seed}");
    }
}

#[test]
fn different_seeds_tell_different_stories() {
    let told = |seed| run(&scenario(seed), Telling::Everything).told;
    assert_ne!(told(1), told(2));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_a_scenario_that_breaks_a_promise(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let scenario = from_bytes(&bytes);
        let outcome = run(&scenario, Telling::Nothing);
        prop_assert_eq!(outcome.broken, None, "{}", scenario.as_rust());
    }
}
