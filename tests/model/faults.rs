//! Faults: ended sessions, failed statements, lost or stray notifications, rows locked by other
//! sessions, and rewritten tables.

use agent_sync::sync::protocol::{Input, Next};

use super::notes::change;
use super::outbox::{PLACES, rewrite, take_out};
use super::state::{Daemon, Model, Mutation, Phase, SAVED, State, Step};
use super::writer::signal;

impl Model {
    /// The faults of a daemon.
    pub(super) fn faults(&self, state: &State, index: usize, next: &mut Vec<(Step, State)>) {
        let daemon = state.daemons[index];
        if state.crashes > 0 && daemon.phase != Phase::Standby {
            let mut after = *state;
            after.crashes -= 1;
            after.daemons[index] = Daemon::STANDBY;
            if self.has(Mutation::ScannedAfterReconnect) {
                after.daemons[index].protocol = daemon.protocol;
            }
            next.push((Step::Crash(index), after));
        }
        if state.failures > 0 {
            let (mut after, mut failed) = (*state, daemon);
            after.failures -= 1;
            failed.forget_batch();
            match daemon.phase {
                Phase::Begun => {
                    let action = daemon.idle_action;
                    self.pass(&mut failed, Input::ClaimFailed { action });
                    self.pass(&mut failed, Input::BatchEnded(Next::Same));
                    after.daemons[index] = failed;
                    next.push((Step::ClaimFails(index), after));
                }
                Phase::Locked if daemon.rows.count_ones() > 1 => {
                    self.pass(&mut failed, Input::BatchEnded(Next::Same));
                    after.daemons[index] = failed;
                    next.push((Step::WriteFails(index), after));
                }
                Phase::Locked => {
                    // The batch is rolled back, and its row deleted with a noted problem; the scan
                    // continues at the same place.
                    take_out(&mut after.outbox, daemon.rows);
                    after.set_aside |= daemon.slugs;
                    failed.noted |= daemon.slugs;
                    self.pass(&mut failed, Input::TookRows);
                    self.pass(&mut failed, Input::BatchEnded(Next::Same));
                    after.daemons[index] = failed;
                    next.push((Step::SetAside(index), after));
                }
                // A batch meets the same error and handles it.
                Phase::FastPath | Phase::HasReadSingle => {
                    self.end_fast_path(&mut failed, false);
                    after.daemons[index] = failed;
                    next.push((Step::FastPathFails(index), after));
                }
                _ => {}
            }
        }
        if state.losses > 0 && !daemon.coming.is_empty() {
            let mut after = *state;
            after.losses -= 1;
            after.was_lost = true;
            after.daemons[index].coming.pop();
            next.push((Step::Lose(index), after));
        }
    }

    /// The steps of other sessions, possible at any time.
    pub(super) fn others(state: &State, next: &mut Vec<(Step, State)>) {
        let is_free = state.daemons.iter().all(|daemon| daemon.locked & 1 == 0);
        if state.edits > 0 && is_free && !state.is_edited {
            next.push((
                Step::Edit,
                State {
                    edits: state.edits - 1,
                    is_edited: true,
                    ..*state
                },
            ));
        }
        if state.is_edited {
            let mut after = State {
                is_edited: false,
                ..*state
            };
            after.touch(0);
            next.push((Step::EndEdit, after));
        }
        if state.strays > 0 {
            let end = (u8::BITS - Self::touched(state).leading_zeros()) as usize;
            for place in 0..PLACES.min(end + 1) {
                let mut after = State {
                    strays: state.strays - 1,
                    ..*state
                };
                signal(&mut after, change(place));
                next.push((Step::Stray(place), after));
            }
        }
        let is_unlocked = !state.is_edited && state.daemons.iter().all(|daemon| daemon.locked == 0);
        if state.moves > 0 && is_unlocked {
            let mut after = State {
                moves: state.moves - 1,
                ..*state
            };
            for daemon in after
                .daemons
                .iter_mut()
                .filter(|daemon| daemon.phase == Phase::HasReadSingle)
            {
                daemon.is_moved ^= true;
            }
            if after.daemons != state.daemons {
                next.push((Step::Move, after));
            }
        }
        // A rewrite waits until neither a writer nor a batch has a lock on the table.
        let is_unlocked = state.writers.iter().all(|writer| !writer.has(SAVED))
            && state.daemons.iter().all(|daemon| daemon.rows == 0);
        if state.rewrites > 0 && is_unlocked {
            for (step, tidies) in [(Step::Rewrite, false), (Step::Tidy, true)] {
                let outbox = rewrite(state.outbox, tidies);
                if outbox != state.outbox {
                    next.push((
                        step,
                        State {
                            rewrites: state.rewrites - 1,
                            outbox,
                            ..*state
                        },
                    ));
                }
            }
        }
    }
}
