//! What may go wrong: sessions that end, statements that fail, notifications that get lost, rows that others have locked.

use super::state::{Daemon, Fault, Idle, Model, Phase, SleeperLock, State, Step};

impl Model {
    /// What may go wrong with a daemon.
    pub(super) fn adversity(&self, state: &State, index: usize, next: &mut Vec<(Step, State)>) {
        let daemon = state.daemons[index];
        if state.crashes > 0 && daemon.phase != Phase::Standby {
            let mut after = *state;
            after.crashes -= 1;
            after.daemons[index] = Daemon::STANDBY;
            next.push((Step::Crash(index), after));
        }
        if state.failures > 0 {
            let (mut after, mut failed) = (*state, daemon);
            after.failures -= 1;
            failed.phase = Phase::Draining;
            failed.forget_batch();
            match daemon.phase {
                Phase::Begun => {
                    if daemon.idle == Idle::Try {
                        let trusted = self.has(Fault::TrustsLostAnswer);
                        failed.lock = if trusted { SleeperLock::Held } else { SleeperLock::Unwanted };
                    }
                    after.daemons[index] = failed;
                    next.push((Step::ClaimFails(index), after));
                }
                Phase::Locked if daemon.rows.count_ones() > 1 => {
                    after.daemons[index] = failed;
                    next.push((Step::WriteFails(index), after));
                }
                Phase::Locked => {
                    // The batch is undone, and its row taken out with a note of why; the pass goes on from where it was.
                    after.outbox &= !daemon.rows;
                    after.set_aside |= daemon.rows;
                    failed.took_any = true;
                    after.daemons[index] = failed;
                    next.push((Step::SetAside(index), after));
                }
                _ => {}
            }
        }
        if state.losses > 0 && daemon.coming {
            let mut after = *state;
            after.losses -= 1;
            after.was_lost = true;
            after.daemons[index].coming = false;
            next.push((Step::Lose(index), after));
        }
    }
}
