//! The properties of the model: each promise holds in every state, and stays reachable from every
//! state.
//!
//! The sizes suit every run of the tests. `make model` adds the large one and prints the numbers of
//! states.

use std::time::Instant;

use super::explore::explore;
use super::state::{Model, Mutation, Script};

/// A limit above the number of states of each model.
const MOST: usize = 40_000_000;

/// A transaction that saves twice and may roll back either save.
const HESITANT: Script = Script {
    saves: 2,
    savepoints: 1,
    ..Script::NONE
};

/// Two daemons, of which one may crash once; three writers, of which two save the same agent.
const MODEL: Model = Model {
    writers: [HESITANT, Script::save(0), Script::save(1)],
    daemons: 2,
    limit: 3,
    crashes: 1,
    failures: 0,
    edits: 0,
    losses: 0,
    strays: 0,
    rewrites: 0,
    moves: 0,
    mutation: None,
};

/// Explores a model, prints its size, and expects no violation.
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

/// The promises hold with writers that roll back to savepoints and abort.
#[test]
fn g1_g2_c6_hold_with_savepoints_and_aborts() {
    let writers = [HESITANT, HESITANT, Script::save(1)];
    holds("savepoints", 1_000_000, Model { writers, ..MODEL });
}

#[test]
fn g1_g2_c6_hold_with_batches_of_one_row() {
    holds("batches of one row", 1_000_000, Model { limit: 1, ..MODEL });
}

#[test]
fn g1_g2_c6_hold_with_takeovers() {
    holds(
        "takeovers",
        1_000_000,
        Model {
            crashes: 3,
            ..MODEL
        },
    );
}

#[test]
fn g1_g2_c6_hold_with_writers_in_bulk() {
    let bulk = Script {
        slug: 1,
        in_bulk: true,
        ..HESITANT
    };
    holds(
        "bulk",
        2_000_000,
        Model {
            writers: [Script::save(0), Script { slug: 0, ..bulk }, bulk],
            ..MODEL
        },
    );
}

#[test]
fn g1_g2_c6_hold_with_batches_that_fail() {
    let writers = [Script::save(0), Script::save(0), Script::save(1)];
    holds(
        "failures",
        500_000,
        Model {
            writers,
            limit: 1,
            failures: 2,
            ..MODEL
        },
    );
    holds(
        "failures of batches",
        300_000,
        Model {
            writers,
            failures: 2,
            ..MODEL
        },
    );
}

#[test]
fn g1_g2_c6_hold_with_configurations_that_others_have_locked() {
    let writers = [Script::save(0), Script::save(0), Script::save(1)];
    holds(
        "locked rows",
        200_000,
        Model {
            writers,
            limit: 1,
            edits: 1,
            ..MODEL
        },
    );
}

#[test]
fn g1_g2_hold_with_lost_notifications_and_a_slow_sweep() {
    holds(
        "lost notifications",
        1_000_000,
        Model {
            limit: 1,
            losses: 1,
            ..MODEL
        },
    );
}

/// Saves both agents, one after the other.
const BOTH: Script = Script {
    saves: 2,
    alternates: true,
    ..Script::NONE
};

/// A rename, which concerns both agents.
const RENAME: Script = Script {
    renames: true,
    ..Script::save(0)
};

/// The promises hold with transactions that append several rows.
#[test]
fn g1_g2_c6_hold_with_transactions_of_several_rows() {
    let writers = [BOTH, Script::save(0), Script::save(1)];
    holds("two appends", 300_000, Model { writers, ..MODEL });
    holds(
        "renames",
        200_000,
        Model {
            writers: [BOTH, RENAME, Script::save(1)],
            ..MODEL
        },
    );
}

#[test]
fn g1_g2_c6_hold_with_places_that_nobody_has_appended_to() {
    let writers = [Script::save(0), Script::save(0), Script::save(1)];
    holds(
        "stray places",
        2_000_000,
        Model {
            writers,
            strays: 2,
            ..MODEL
        },
    );
}

#[test]
fn g1_g2_c6_hold_with_an_outbox_that_is_rewritten() {
    let writers = [Script::save(0), Script::save(0), BOTH];
    holds(
        "rewritten outbox",
        300_000,
        Model {
            writers,
            rewrites: 1,
            ..MODEL
        },
    );
    let writers = [Script::save(0), Script::save(0), Script::save(1)];
    holds(
        "outbox rewritten twice",
        1_000_000,
        Model {
            writers,
            rewrites: 2,
            strays: 1,
            ..MODEL
        },
    );
}

#[test]
fn g13_holds_with_configurations_that_are_rewritten() {
    let writers = [Script::save(0), Script::save(0), Script::save(1)];
    holds(
        "rewritten configurations",
        50_000,
        Model {
            writers,
            moves: 2,
            ..MODEL
        },
    );
    holds(
        "rewritten and edited",
        300_000,
        Model {
            writers,
            moves: 1,
            edits: 1,
            rewrites: 1,
            ..MODEL
        },
    );
}

/// The promises hold with edits by other sessions and failing statements.
#[test]
fn g2_g4_hold_with_edits_of_others_and_failing_statements() {
    let writers = [Script::save(0), Script::save(0), Script::save(1)];
    holds(
        "edits",
        1_000_000,
        Model {
            writers,
            edits: 2,
            failures: 1,
            ..MODEL
        },
    );
}

/// Equivalent states have the same outcomes when they are kept apart.
#[test]
fn states_that_are_alike_have_the_same_outcomes() {
    let writers = [Script::save(0), Script::save(0), Script::NONE];
    for model in [
        Model {
            limit: 1,
            failures: 1,
            ..MODEL
        },
        Model {
            edits: 1,
            strays: 1,
            ..MODEL
        },
        Model {
            losses: 1,
            rewrites: 1,
            ..MODEL
        },
    ] {
        let model = Model { writers, ..model };
        let apart = explore(
            &Model {
                mutation: Some(Mutation::TellsAllApart),
                ..model
            },
            MOST,
        );
        let alike = explore(&model, MOST);
        assert!(
            apart.violation.is_none() && alike.violation.is_none(),
            "{apart:?} {alike:?}"
        );
        assert!(
            apart.states > alike.states,
            "nothing stands for anything else: {}",
            apart.states
        );
    }
}

#[test]
#[ignore = "takes minutes: make model"]
fn g1_g2_c6_hold_with_all_of_it_at_once() {
    let writers = [Script::save(0), Script::save(0), Script::save(1)];
    let all = Model {
        writers,
        limit: 1,
        crashes: 2,
        failures: 1,
        edits: 1,
        losses: 1,
        ..MODEL
    };
    holds("all at once", 3_000_000, all);
    let all = Model {
        writers,
        failures: 1,
        edits: 1,
        rewrites: 2,
        ..MODEL
    };
    holds(
        "all at once, with an outbox that is rewritten",
        1_000_000,
        all,
    );
}

/// The promises hold with three writers that roll back to savepoints and abort.
#[test]
#[ignore = "takes minutes and 4 GB: make model"]
fn g1_g2_c6_hold_with_three_writers_savepoints_and_aborts() {
    let writers = [
        HESITANT,
        HESITANT,
        Script {
            slug: 1,
            ..HESITANT
        },
    ];
    holds(
        "savepoints, three times",
        20_000_000,
        Model { writers, ..MODEL },
    );
}
