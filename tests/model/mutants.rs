//! Mutants: models with one defect. The checker has to refute each one, which proves that it finds
//! defects.
//!
//! Each test names the promise that breaks first, and a step of the trace.

use agent_sync::session::News;
use agent_sync::store::IdleLockAction;
use agent_sync::sync::protocol::{Command, Input, Next};

use super::explore::{TRAPPED, explore};
use super::protocol::{ASLEEP, EDIT, LOST, MIXED, STALE};
use super::state::{Daemon, Model, Mutation, Phase, Script};

impl Model {
    /// Passes an input to the protocol. A mutant changes the input, or the command that follows.
    pub(super) fn next(&self, daemon: &mut Daemon, input: Input<u8>) -> Command<u8> {
        let Some(mutation) = self.mutation else {
            return daemon.protocol.next(input);
        };
        let input = match (mutation, input) {
            (
                Mutation::TrustsLostAnswer,
                Input::ClaimFailed {
                    action: action @ IdleLockAction::Try,
                },
            ) => Input::Claimed {
                action,
                got_lock: true,
            },
            (Mutation::TakesLockMidScan, Input::BatchEnded(Next::Further)) => {
                Input::BatchEnded(Next::Same)
            }
            (Mutation::ScannedDespiteRetry, Input::Unannounced)
                if daemon.phase == Phase::FastPath =>
            {
                return Command::Continue;
            }
            (Mutation::ScannedAfterReconnect, Input::Unannounced)
                if daemon.phase == Phase::CatchUp && daemon.protocol.holds_idle_lock() =>
            {
                Input::FastPathEnded { done: true }
            }
            _ => input,
        };
        let command = daemon.protocol.next(input);
        match (mutation, input, command) {
            (Mutation::SleepsWithoutLock, _, Command::Poll { left_rows }) => {
                Command::Sleep { left_rows }
            }
            (Mutation::SleepsWithoutSecondScan, Input::Claimed { .. }, _)
                if daemon.idle_action == IdleLockAction::Try
                    && daemon.protocol.holds_idle_lock() =>
            {
                daemon.protocol.next(Input::BatchEnded(Next::End))
            }
            (
                Mutation::TakesFastPathUnscanned,
                Input::Woken {
                    news: News::Change(tid),
                    ..
                },
                Command::Claim(_),
            ) if daemon.protocol.holds_idle_lock() => Command::FastPath(tid),
            (Mutation::ScannedDespiteLocked, _, Command::Sleep { left_rows: true }) => {
                daemon
                    .protocol
                    .next(Input::<u8>::FastPathEnded { done: true });
                command
            }
            (Mutation::RestsAfterRetry, Input::Unannounced, _)
                if daemon.phase == Phase::Waiting =>
            {
                Command::Sleep {
                    left_rows: daemon.left_rows,
                }
            }
            _ => command,
        }
    }
}

/// The smallest model that suffices for all of these.
const SMALL: Model = Model {
    writers: [Script::save(0), Script::save(0), Script::NONE],
    daemons: 1,
    limit: 3,
    crashes: 0,
    failures: 0,
    edits: 0,
    losses: 0,
    strays: 0,
    rewrites: 0,
    moves: 0,
    mutation: None,
};

/// Expects that the mutant breaks this promise with this step in its trace, and that the model
/// without the mutation breaks none.
fn breaks(mutation: Mutation, model: Model, promise: &str, step: &str) {
    let sound = explore(&model, 1_000_000).violation;
    assert!(
        sound.is_none(),
        "it is broken without the mutation: {sound:?}"
    );
    let violation = explore(
        &Model {
            mutation: Some(mutation),
            ..model
        },
        1_000_000,
    )
    .violation;
    let violation = violation.unwrap_or_else(|| panic!("{mutation:?} is not noticed"));
    let story = violation.story.join("\n");
    assert_eq!(violation.promise, promise, "{story}");
    assert!(
        violation.story.iter().any(|taken| taken == step),
        "{step} is not in the story:\n{story}"
    );
    eprintln!("{mutation:?}: {promise}\n{story}\n");
}

#[test]
fn sleeping_without_a_second_scan_loses_a_wake_up() {
    breaks(
        Mutation::SleepsWithoutSecondScan,
        SMALL,
        ASLEEP,
        "IdleLock(0, Try)",
    );
}

/// Sleeping without the lock while a writer holds it loses a wake-up.
#[test]
fn sleeping_without_the_lock_loses_a_wake_up() {
    breaks(Mutation::SleepsWithoutLock, SMALL, ASLEEP, "Commit(0)");
}

#[test]
fn taking_the_lock_in_the_middle_of_a_scan_loses_a_wake_up() {
    let model = Model { limit: 1, ..SMALL };
    breaks(
        Mutation::TakesLockMidScan,
        model,
        ASLEEP,
        "IdleLock(0, Try)",
    );
}

#[test]
fn forgetting_wake_ups_after_the_drain_loses_one() {
    breaks(Mutation::TakesInboxAfterDrain, SMALL, ASLEEP, "Deliver(0)");
}

#[test]
fn listening_after_the_catch_up_loses_a_wake_up() {
    breaks(Mutation::ListensAfterCatchUp, SMALL, ASLEEP, "Settle(0)");
}

#[test]
fn holding_a_lock_for_taken_after_an_error_loses_a_wake_up() {
    let model = Model {
        failures: 1,
        ..SMALL
    };
    breaks(Mutation::TrustsLostAnswer, model, ASLEEP, "ClaimFails(0)");
}

#[test]
fn notifying_before_the_append_loses_a_wake_up() {
    breaks(Mutation::NotifiesBeforeAppend, SMALL, ASLEEP, "Deliver(0)");
}

#[test]
fn looking_without_sharing_the_lock_loses_a_wake_up() {
    breaks(Mutation::OnlyPeeksAtLock, SMALL, ASLEEP, "Look(0)");
}

/// Remembering a check across a rollback to a savepoint loses a wake-up.
#[test]
fn remembering_a_look_across_a_savepoint_loses_a_wake_up() {
    let bulk = Script {
        saves: 2,
        savepoints: 1,
        in_bulk: true,
        ..Script::NONE
    };
    let model = Model {
        writers: [bulk, Script::NONE, Script::NONE],
        ..SMALL
    };
    breaks(
        Mutation::RemembersAcrossRollback,
        model,
        ASLEEP,
        "RollBackTo(0)",
    );
}

/// A database that unlocks before rows are visible loses a wake-up.
#[test]
fn unlocking_before_rows_are_visible_loses_a_wake_up() {
    breaks(Mutation::UnlocksBeforeVisible, SMALL, ASLEEP, "Settle(0)");
}

#[test]
fn two_leaders_overwrite_a_newer_value_with_a_stale_one() {
    breaks(
        Mutation::LeadsWithoutLock,
        Model {
            daemons: 2,
            ..SMALL
        },
        STALE,
        "TryLead(1)",
    );
}

#[test]
fn acknowledging_before_the_write_loses_a_change_in_a_crash() {
    breaks(
        Mutation::AcknowledgesBeforeWrite,
        Model {
            crashes: 1,
            ..SMALL
        },
        LOST,
        "Crash(0)",
    );
}

#[test]
fn reading_the_agents_before_the_outbox_loses_a_change() {
    breaks(Mutation::ReadsAgentsFirst, SMALL, LOST, "ReadAgents(0)");
}

#[test]
fn a_lost_notification_is_a_trap_without_the_slow_sweep() {
    breaks(
        Mutation::NeverSweeps,
        Model { losses: 1, ..SMALL },
        TRAPPED,
        "Lose(0)",
    );
}

/// Saves both agents, one after the other.
const BOTH: Script = Script {
    saves: 2,
    alternates: true,
    ..Script::NONE
};

#[test]
fn a_second_append_that_does_not_notify_loses_a_wake_up() {
    let model = Model {
        writers: [BOTH, Script::NONE, Script::NONE],
        ..SMALL
    };
    breaks(
        Mutation::SecondAppendIsSilent,
        model,
        ASLEEP,
        "FinishSingle(0)",
    );
}

#[test]
fn a_rename_that_names_one_of_its_places_loses_a_wake_up() {
    let rename = Script {
        renames: true,
        ..Script::save(0)
    };
    let model = Model {
        writers: [rename, Script::NONE, Script::NONE],
        ..SMALL
    };
    breaks(Mutation::RenameNamesPlace, model, ASLEEP, "FinishSingle(0)");
}

#[test]
fn an_inbox_in_which_one_place_hides_another_loses_a_wake_up() {
    breaks(Mutation::SwallowsOthers, SMALL, ASLEEP, "FinishSingle(0)");
}

#[test]
fn taking_the_fast_path_without_a_scan_loses_a_wake_up() {
    let writers = [Script::save(0), Script::save(1), Script::NONE];
    breaks(
        Mutation::TakesFastPathUnscanned,
        Model {
            writers,
            edits: 1,
            ..SMALL
        },
        ASLEEP,
        "FinishSingle(0)",
    );
}

/// Treating the outbox as scanned despite locked rows loses a wake-up.
#[test]
fn ignoring_locked_rows_of_a_scan_loses_a_wake_up() {
    let writers = [Script::save(0), Script::save(1), Script::NONE];
    breaks(
        Mutation::ScannedDespiteLocked,
        Model {
            writers,
            edits: 1,
            ..SMALL
        },
        ASLEEP,
        "FinishSingle(0)",
    );
}

/// Treating the outbox as scanned despite a retry loses a wake-up.
#[test]
fn ignoring_a_retry_after_a_scan_loses_a_wake_up() {
    let writers = [Script::save(0), Script::save(1), Script::NONE];
    breaks(
        Mutation::ScannedDespiteRetry,
        Model {
            writers,
            failures: 1,
            ..SMALL
        },
        ASLEEP,
        "Retry(0)",
    );
}

/// Sleeping after retries were put into the outbox leaves them there.
#[test]
fn sleeping_after_requeuing_rows_leaves_them_there() {
    let writers = [Script::save(0), Script::save(1), Script::NONE];
    breaks(
        Mutation::RestsAfterRetry,
        Model {
            writers,
            failures: 2,
            limit: 1,
            ..SMALL
        },
        ASLEEP,
        "Retry(0)",
    );
}

/// Treating the outbox as scanned on another connection loses a wake-up.
#[test]
fn keeping_a_scan_across_connections_loses_a_wake_up() {
    breaks(
        Mutation::ScannedAfterReconnect,
        Model {
            crashes: 1,
            ..SMALL
        },
        ASLEEP,
        "Crash(0)",
    );
}

#[test]
fn releasing_the_lock_for_the_fast_path_loses_a_wake_up() {
    breaks(
        Mutation::ReleasesLockForFastPath,
        SMALL,
        ASLEEP,
        "FinishSingle(0)",
    );
}

/// Treating a change as done because its row is gone loses a wake-up.
#[test]
fn believing_an_empty_scan_loses_a_wake_up() {
    breaks(
        Mutation::TrustsPlace,
        Model {
            rewrites: 1,
            ..SMALL
        },
        ASLEEP,
        "ReadSingle(0)",
    );
}

#[test]
fn believing_that_the_fast_path_is_written_loses_a_wake_up() {
    breaks(
        Mutation::TrustsWrite,
        Model { edits: 1, ..SMALL },
        ASLEEP,
        "FinishSingle(0)",
    );
}

/// Overwriting another version of a configuration loses an edit.
#[test]
fn overwriting_another_version_loses_an_edit() {
    breaks(
        Mutation::WritesAnyVersion,
        Model { edits: 1, ..SMALL },
        EDIT,
        "EndEdit",
    );
}

#[test]
fn taking_another_version_of_a_row_loses_a_change() {
    breaks(
        Mutation::TakesAnyVersion,
        Model {
            rewrites: 1,
            ..SMALL
        },
        LOST,
        "Tidy",
    );
}

#[test]
fn taking_the_row_of_another_agent_loses_a_change() {
    let model = Model {
        writers: [Script::save(0), BOTH, Script::NONE],
        rewrites: 1,
        ..SMALL
    };
    breaks(Mutation::TakesAnySlug, model, LOST, "FinishSingle(0)");
}

/// Writing at a place where another agent's configuration is now mixes agents up.
#[test]
fn writing_at_the_row_of_another_agent_mixes_agents_up() {
    breaks(
        Mutation::WritesAnyPlace,
        Model { moves: 1, ..SMALL },
        MIXED,
        "Move",
    );
}
