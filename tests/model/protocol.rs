//! Capture, idle lock, leadership, batch, fast path and crash, as small as they can be without losing
//! what matters.
//!
//! The steps of a writer have the names of what `sql/capture.sql` does. Those of a daemon execute the
//! commands of `sync::protocol`, as `sync::connection`, `sync::drain` and `sync::fast_path` do. One
//! step is what nothing can come between: one statement, or one moment of a commit.
//!
//! ```text
//! a writer:  Save ─► Look ─► … Savepoint, RollBackTo, Release … ─► Commit ─► Settle       (or Abort, at any time)
//! a daemon:  TryLead ─► Listen ─► ┌► IdleLock ─► Claim ─► LockRows ─► Finish ─┐ ─► Wait ─► Take ─┐
//!                                 │└──────────────────────────────────────────┘                 │
//!                                 ├─────────────────────────────────────────────────────────────┤
//!                                 └────────── FinishSingle ◄── ReadSingle ◄─────────────────────────┘
//! ```
//!
//! Where a pass has found nothing and a writer is in the way of the lock, the daemon goes from the
//! end of the pass to `Poll`, takes what is in the inbox, and begins another pass.
//!
//! A change on the fast path goes from `Take` to `ReadSingle` and `FinishSingle`, and straight back to `Wait` when
//! it is done; when it comes to nothing, a pass follows.
//!
//! What is taken for granted of PostgreSQL: a statement sees one snapshot; what a transaction did,
//! the notifications included, is seen by all in one moment (`Commit`), and its locks are released
//! after that (`Settle`); a session that ends has released its locks and undone its transaction.
//! When notifications arrive (`Deliver`) is anybody's guess, but not before the `Settle`, and those
//! that go to one session arrive one by one, in the order in which they set out.
//!
//! What is not in it: configurations that are missing or rejected and agents that are gone, with
//! which a change by the fast path has nothing to write or is left to a batch; and two saves that come to the
//! same configuration. In one transaction it makes no difference whether the trigger looks before
//! it appends or after.
//!
//! Each append is a row at a place of the outbox; the places have an order, writers commit in any
//! other, and a place whose row is gone is used again.

use super::explore::System;
use super::outbox::{Outbox, visible};
use super::state::{
    DAEMONS, Daemon, Model, NAMES, NOTIFIES, SLUGS, Script, Stage, State, Step, WRITERS, Writer,
};

/// The promises (see `broken` below).
pub const STALE: &str = "G2: no stale value overwrites a newer one";
pub const MIXED: &str =
    "G13: what belongs to one agent is never written into the configuration of another";
pub const EDIT: &str = "G4: nobody else's edit of a configuration is lost";
pub const LOST: &str = "G1: no committed change is lost";
pub const ASLEEP: &str =
    "C6: no daemon sleeps while there is something to do and nothing will wake it";

impl System for Model {
    type State = State;
    type Step = Step;

    fn initial(&self) -> State {
        let writer = |script: Script| match script {
            Script { saves: 0, .. } => Writer::DONE,
            Script {
                saves, savepoints, ..
            } => Writer {
                stage: Stage::Open,
                saves,
                savepoints,
                ..Writer::DONE
            },
        };
        State {
            writers: self.writers.map(writer),
            daemons: [Daemon::STANDBY; DAEMONS],
            outbox: Outbox::default(),
            agents: [0; SLUGS],
            configurations: [0; SLUGS],
            set_aside: 0,
            is_edited: false,
            crashes: self.crashes,
            failures: self.failures,
            edits: self.edits,
            losses: self.losses,
            strays: self.strays,
            rewrites: self.rewrites,
            moves: self.moves,
            was_lost: false,
            went_stale: false,
            lost_edit: false,
            is_mixed_up: false,
        }
    }

    fn steps(&self, state: &State, next: &mut Vec<(Step, State)>) {
        for writer in 0..WRITERS {
            self.writer(state, writer, next);
        }
        for daemon in 0..self.daemons {
            self.daemon(state, daemon, next);
            self.faults(state, daemon, next);
        }
        Self::others(state, next);
        if self.mutation.is_none() {
            for (_, state) in next {
                *state = self.stand_in(*state);
            }
        }
    }

    fn broken(&self, state: &State) -> Option<&'static str> {
        let rows = state.outbox.iter().filter(|row| row.is_visible());
        let waiting = rows.fold(state.set_aside, |slugs, row| slugs | 1 << row.slug());
        let is_pending = |slug: usize| {
            let is_under_way = |daemon: &Daemon| {
                daemon.slugs & (1 << slug) != 0 && daemon.seen[slug] == state.agents[slug]
            };
            waiting & (1 << slug) != 0 || state.daemons.iter().any(is_under_way)
        };
        let will_notify =
            |writer: &Writer| writer.stage == Stage::Committed && writer.has(NOTIFIES | NAMES);
        if state.went_stale {
            Some(STALE)
        } else if state.is_mixed_up {
            Some(MIXED)
        } else if state.lost_edit {
            Some(EDIT)
        } else if (0..SLUGS)
            .any(|slug| state.configurations[slug] != state.agents[slug] && !is_pending(slug))
        {
            Some(LOST)
        } else if visible(state.outbox) != 0
            && !state.was_lost
            && state
                .daemons
                .iter()
                .any(|daemon| daemon.leads && daemon.is_asleep())
            && !state.writers.iter().any(will_notify)
        {
            Some(ASLEEP)
        } else {
            None
        }
    }

    fn is_well(&self, state: &State) -> bool {
        visible(state.outbox) | state.set_aside == 0
            && state.configurations == state.agents
            && state
                .writers
                .iter()
                .all(|writer| writer.stage == Stage::Done)
            && state
                .daemons
                .iter()
                .any(|daemon| daemon.is_asleep() && daemon.has_idle_lock)
    }

    fn is_fair(&self, step: Step) -> bool {
        use Step::{
            ClaimFails, Crash, Edit, FastPathFails, Lose, Move, Rewrite, SetAside, Stray, Tidy,
            WriteFails,
        };
        !matches!(
            step,
            Crash(_)
                | ClaimFails(_)
                | WriteFails(_)
                | SetAside(_)
                | FastPathFails(_)
                | Lose(_)
                | Stray(_)
                | Edit
                | Rewrite
                | Tidy
                | Move
        )
    }
}
