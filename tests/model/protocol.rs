//! Capture, sleeping consumer, leadership, batch and crash, as small as they can be without losing what matters.
//!
//! The steps of a writer have the names of what `sql/attach.sql` does, and those of a daemon the names in `sync::attempt`,
//! `sync::drain` and `store`. One step is what nothing can come between: one statement, or one moment of a commit.
//!
//! ```text
//! a writer:  Save ─► Look ─► … Savepoint, RollBackTo, Release … ─► Commit ─► Settle       (or Abort, at any time)
//! a daemon:  TryLead ─► Listen ─► ┌► Idle ─► Claim ─► LockRows ─► Finish ─┐ ─► Wait ─► Take ─┐
//!                                 │└──────────────────────────────────────┘                 │
//!                                 └─────────────────────────────────────────────────────────┘
//! ```
//!
//! What is taken for granted of PostgreSQL: a statement sees one snapshot; what a transaction did, the notifications included, is
//! seen by all in one moment (`Commit`), and its locks are released after that (`Settle`); a session that ends has released its locks
//! and undone its transaction. When notifications arrive (`Deliver`) is anybody's guess, but not before the `Settle`.
//!
//! What is not in it: the shorter way of a lone change (`sync::lone`), so a notification names no place here; every change goes by a pass.
//! In one transaction it makes no difference whether the trigger looks before it appends or after.
//!
//! The outbox has one place for each writer; the places have an order, and writers commit in any other.

use super::explore::System;
use super::state::{DAEMONS, Daemon, Model, NOTIFIES, SLUGS, Script, Stage, State, Step, WRITERS, Writer};

/// The promises (see `broken` below).
pub const STALE: &str = "G2: no stale value overwrites a newer one";
pub const LOST: &str = "G1: no committed change is lost";
pub const ASLEEP: &str = "C6: no daemon sleeps while there is something to do and nothing will wake it";

impl System for Model {
    type State = State;
    type Step = Step;

    fn initial(&self) -> State {
        let writer = |script: Script| match script {
            Script { saves: 0, .. } => Writer::DONE,
            Script { saves, savepoints, .. } => {
                Writer { stage: Stage::Open, outer: 0, inner: None, saves, savepoints }
            }
        };
        State {
            writers: self.writers.map(writer),
            daemons: [Daemon::STANDBY; DAEMONS],
            outbox: 0,
            agents: [0; SLUGS],
            configurations: [0; SLUGS],
            set_aside: 0,
            is_edited: false,
            crashes: self.crashes,
            failures: self.failures,
            edits: self.edits,
            losses: self.losses,
            was_lost: false,
            went_stale: false,
        }
    }

    fn steps(&self, state: &State, next: &mut Vec<(Step, State)>) {
        for writer in 0..WRITERS {
            self.writer(state, writer, next);
        }
        for daemon in 0..self.daemons {
            self.daemon(state, daemon, next);
            self.adversity(state, daemon, next);
        }
        let is_free = state.daemons.iter().all(|daemon| daemon.locked & 1 == 0);
        if state.edits > 0 && is_free && !state.is_edited {
            next.push((Step::Edit, State { edits: state.edits - 1, is_edited: true, ..*state }));
        }
        if state.is_edited {
            next.push((Step::EndEdit, State { is_edited: false, ..*state }));
        }
    }

    fn broken(&self, state: &State) -> Option<&'static str> {
        let is_pending = |slug: usize| {
            let is_under_way = |daemon: &Daemon| {
                self.slugs_of(daemon.rows) & (1 << slug) != 0 && daemon.seen[slug] == state.agents[slug]
            };
            self.slugs_of(state.outbox | state.set_aside) & (1 << slug) != 0
                || state.daemons.iter().any(is_under_way)
        };
        let will_notify = |writer: &Writer| writer.stage == Stage::Committed && writer.has(NOTIFIES);
        if state.went_stale {
            Some(STALE)
        } else if (0..SLUGS).any(|slug| state.configurations[slug] != state.agents[slug] && !is_pending(slug))
        {
            Some(LOST)
        } else if state.outbox != 0
            && !state.was_lost
            && state.daemons.iter().any(|daemon| daemon.leads && daemon.is_asleep())
            && !state.writers.iter().any(will_notify)
        {
            Some(ASLEEP)
        } else {
            None
        }
    }

    fn is_well(&self, state: &State) -> bool {
        state.outbox | state.set_aside == 0
            && state.configurations == state.agents
            && state.writers.iter().all(|writer| writer.stage == Stage::Done)
            && state.daemons.iter().any(|daemon| daemon.is_asleep() && daemon.has_idle)
    }

    fn is_fair(&self, step: Step) -> bool {
        use Step::{ClaimFails, Crash, Edit, Lose, SetAside, WriteFails};
        !matches!(step, Crash(_) | ClaimFails(_) | WriteFails(_) | SetAside(_) | Lose(_) | Edit)
    }
}
