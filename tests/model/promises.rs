//! The model as it is: what is promised holds in every state, and comes to pass from every state.
//!
//! The tests are of sizes that every run has time for. `make model` adds the large one, and prints how much each has looked at.

use std::time::Instant;

use super::explore::explore;
use super::state::{Model, Script};

/// More states than any of these has.
const MOST: usize = 20_000_000;

/// A transaction that saves twice, and may think better of the first time or of the second.
const HESITANT: Script = Script { slug: 0, saves: 2, savepoints: 1, in_bulk: false };

/// Two daemons, of which one may crash once; three writers, of which two save the same agent.
const MODEL: Model = Model {
    writers: [HESITANT, Script::save(0), Script::save(1)],
    daemons: 2,
    limit: 3,
    crashes: 1,
    failures: 0,
    edits: 0,
    losses: 0,
    fault: None,
};

/// Explores, says how much that was, and expects no violation.
fn holds(name: &str, least: usize, model: Model) {
    let start = Instant::now();
    let explored = explore(&model, MOST);
    let (states, steps, depth) = (explored.states, explored.steps, explored.depth);
    eprintln!(
        "{name}: {states} states, {steps} steps, {depth} deep, in {:.1} s",
        start.elapsed().as_secs_f64()
    );
    if let Some(violation) = explored.violation {
        panic!("{}\n{}", violation.promise, violation.story.join("\n"));
    }
    assert!(states >= least, "the model has shrunk to {states} states");
}

#[test]
fn g1_g2_c6_hold_with_writers_that_roll_back_to_savepoints_and_abort() {
    let writers = [HESITANT, HESITANT, Script { slug: 1, ..HESITANT }];
    holds("savepoints", 1_000_000, Model { writers, ..MODEL });
}

#[test]
fn g1_g2_c6_hold_with_batches_of_one_row() {
    holds("batches of one row", 200_000, Model { limit: 1, ..MODEL });
}

#[test]
fn g1_g2_c6_hold_with_takeovers() {
    holds("takeovers", 300_000, Model { crashes: 3, ..MODEL });
}

#[test]
fn g1_g2_c6_hold_with_writers_in_bulk() {
    let bulk = Script { slug: 1, in_bulk: true, ..HESITANT };
    holds("bulk", 300_000, Model { writers: [Script::save(0), Script { slug: 0, ..bulk }, bulk], ..MODEL });
}

#[test]
fn g1_g2_c6_hold_with_batches_that_fail() {
    let writers = [Script::save(0), Script::save(0), Script::save(1)];
    holds("failures", 200_000, Model { writers, limit: 1, failures: 2, ..MODEL });
    holds("failures of batches", 100_000, Model { writers, failures: 2, ..MODEL });
}

#[test]
fn g1_g2_c6_hold_with_configurations_that_others_have_locked() {
    let writers = [Script::save(0), Script::save(0), Script::save(1)];
    holds("locked rows", 200_000, Model { writers, limit: 1, edits: 1, ..MODEL });
}

#[test]
fn g1_g2_hold_with_lost_notifications_and_a_slow_sweep() {
    holds("lost notifications", 200_000, Model { limit: 1, losses: 1, ..MODEL });
}

#[test]
#[ignore = "takes minutes: make model"]
fn g1_g2_c6_hold_with_all_of_it_at_once() {
    let all = Model { limit: 1, crashes: 2, failures: 1, edits: 1, losses: 1, ..MODEL };
    holds("all at once", 5_000_000, all);
    let writers = [HESITANT, HESITANT, Script { slug: 1, in_bulk: true, ..HESITANT }];
    holds("all at once, in bulk", 5_000_000, Model { writers, failures: 1, crashes: 2, ..MODEL });
}
