//! Capture, idle lock, leadership, batch, fast path and crash, at the smallest size that keeps
//! every relevant interleaving.
//!
//! The steps of a writer have the names of the operations of `sql/capture.sql`. Those of a daemon
//! execute the commands of `sync::protocol`, like `sync::connection`, `sync::drain` and
//! `sync::fast_path`. A step is atomic: one statement, or one moment of a commit.
//!
//! ```text
//! a writer:  Save ─► Look ─► … Savepoint, RollBackTo, Release … ─► Commit ─► Settle       (or Abort, at any time)
//! a daemon:  TryLead ─► Listen ─► ┌► IdleLock ─► Claim ─► LockRows ─► Finish ─┐ ─► Wait ─► Take ─┐
//!                                 │└──────────────────────────────────────────┘                 │
//!                                 ├─────────────────────────────────────────────────────────────┤
//!                                 └────────── FinishSingle ◄── ReadSingle ◄─────────────────────────┘
//! ```
//!
//! If a scan has found nothing and a writer holds the idle lock, the daemon goes from the end of
//! the scan to `Poll`, empties the inbox, and starts another scan.
//!
//! A change on the fast path goes from `Take` to `ReadSingle` and `FinishSingle`, and back to
//! `Wait` when it is done; otherwise a scan follows.
//!
//! The model assumes of PostgreSQL: a statement has one snapshot; the effects of a transaction,
//! notifications included, become visible to all in one moment (`Commit`), and its locks are
//! released after that (`Settle`); the end of a session releases its locks and rolls its
//! transaction back. Notifications arrive (`Deliver`) at any time after the `Settle`, and those to
//! one session arrive one by one, in the order of their commits.
//!
//! The model omits missing or rejected configurations and deleted agents, for which the fast path
//! writes nothing or leaves the change to a batch, and two saves with the same configuration.
//! Within one transaction, the order of the trigger's check and append makes no difference.
//!
//! Each append is a row at a place of the outbox. The places are ordered, writers commit in any
//! order, and a free place is reused.

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
                *state = self.representative(*state);
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
