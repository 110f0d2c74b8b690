//! One thing after the other done wrong: the checker has to find out what comes of it, or it would not find anything.
//!
//! Each test expects the promise that is broken first, and the step that the story cannot do without.

use super::explore::{TRAPPED, explore};
use super::protocol::{ASLEEP, LOST, STALE};
use super::state::{Fault, Model, Script};

/// As small as it can be for all of these.
const SMALL: Model = Model {
    writers: [Script::save(0), Script::save(0), Script::NONE],
    daemons: 1,
    limit: 3,
    crashes: 0,
    failures: 0,
    edits: 0,
    losses: 0,
    fault: None,
};

/// Expects that this promise is broken, by a story with this step in it; and that without the fault all is well.
fn breaks(fault: Fault, model: Model, promise: &str, step: &str) {
    let sound = explore(&model, 1_000_000).violation;
    assert!(sound.is_none(), "it is broken without the fault: {sound:?}");
    let violation = explore(&Model { fault: Some(fault), ..model }, 1_000_000).violation;
    let violation = violation.unwrap_or_else(|| panic!("{fault:?} is not noticed"));
    let story = violation.story.join("\n");
    assert_eq!(violation.promise, promise, "{story}");
    assert!(violation.story.iter().any(|taken| taken == step), "{step} is not in the story:\n{story}");
    eprintln!("{fault:?}: {promise}\n{story}\n");
}

#[test]
fn sleeping_without_a_second_pass_loses_a_wake_up() {
    breaks(Fault::SleepsWithoutSecondPass, SMALL, ASLEEP, "Idle(0, Try)");
}

#[test]
fn taking_the_lock_in_the_middle_of_a_pass_loses_a_wake_up() {
    let model = Model { limit: 1, ..SMALL };
    breaks(Fault::TakesLockMidPass, model, ASLEEP, "Idle(0, Try)");
}

#[test]
fn forgetting_wake_ups_after_the_drain_loses_one() {
    breaks(Fault::TakesInboxAfterDrain, SMALL, ASLEEP, "Deliver(0)");
}

#[test]
fn listening_after_the_catch_up_loses_a_wake_up() {
    breaks(Fault::ListensAfterCatchUp, SMALL, ASLEEP, "Settle(0)");
}

#[test]
fn holding_a_lock_for_taken_after_an_error_loses_a_wake_up() {
    let model = Model { failures: 1, ..SMALL };
    breaks(Fault::TrustsLostAnswer, model, ASLEEP, "ClaimFails(0)");
}

#[test]
fn notifying_before_the_append_loses_a_wake_up() {
    breaks(Fault::NotifiesBeforeAppend, SMALL, ASLEEP, "Deliver(0)");
}

#[test]
fn looking_without_sharing_the_lock_loses_a_wake_up() {
    breaks(Fault::OnlyPeeksAtLock, SMALL, ASLEEP, "Look(0)");
}

#[test]
fn remembering_a_look_across_a_rollback_to_a_savepoint_loses_a_wake_up() {
    let bulk = Script { slug: 0, saves: 2, savepoints: 1, in_bulk: true };
    let model = Model { writers: [bulk, Script::NONE, Script::NONE], ..SMALL };
    breaks(Fault::RemembersAcrossRollback, model, ASLEEP, "RollBackTo(0)");
}

#[test]
fn a_database_that_unlocks_before_rows_are_visible_loses_a_wake_up() {
    breaks(Fault::UnlocksBeforeVisible, SMALL, ASLEEP, "Settle(0)");
}

#[test]
fn two_leaders_overwrite_a_newer_value_with_a_stale_one() {
    breaks(Fault::LeadsWithoutLock, Model { daemons: 2, ..SMALL }, STALE, "TryLead(1)");
}

#[test]
fn acknowledging_before_the_write_loses_a_change_in_a_crash() {
    breaks(Fault::AcknowledgesBeforeWrite, Model { crashes: 1, ..SMALL }, LOST, "Crash(0)");
}

#[test]
fn reading_the_agents_before_the_outbox_loses_a_change() {
    breaks(Fault::ReadsAgentsFirst, SMALL, LOST, "ReadAgents(0)");
}

#[test]
fn a_lost_notification_is_a_trap_without_the_slow_sweep() {
    breaks(Fault::NeverSweeps, Model { losses: 1, ..SMALL }, TRAPPED, "Lose(0)");
}
