//! The events of a database.

use std::sync::Arc;
use std::time::Duration;

use super::compared::{Compared, Unnoticed};
use super::pause::Pause;
use super::phase::Phase;
use super::state::{Backlog, Columns, DaemonSession, Finding, WakeUp};
use super::totals::Totals;
use crate::key::Key;
use crate::settings::InstallSchema;

/// An event of one database.
#[derive(Debug)]
pub enum Event<'a> {
    /// About the connection.
    Connection(Connection<'a>),
    /// About the leader of the database.
    Leader(Leader<'a>),
    /// About the two tables.
    Tables(Tables<'a>),
    /// A fault of the capture.
    CaptureFault {
        /// Which.
        kind: CaptureFault,
        /// `schema.table.trigger`
        trigger: &'a str,
        /// The fault.
        fault: &'a str,
        /// The remedy.
        remedy: &'a str,
    },
    /// Every agent is checked.
    FullCheck(FullCheck),
    /// About the mapping.
    Mapping(Mapping<'a>),
    /// About the comparison of every agent with its configurations.
    Audit(Audit<'a>),
    /// An agent is not in sync.
    NotInSync {
        /// The agent.
        key: &'a Key<'a>,
        /// Whether the same problem is noted already and is not to be logged again (G5, S8).
        known: bool,
        /// The problem.
        problem: NotInSync<'a>,
        /// The remedy.
        remedy: &'a str,
    },
    /// A warning of the mapping about an agent that it mapped.
    Mapped {
        /// The agent.
        key: &'a Key<'a>,
        /// The text.
        warning: &'a str,
    },
    /// A batch is committed.
    Batch {
        /// Its totals.
        totals: Totals,
        /// Its details.
        batch: Committed<'a>,
    },
    /// Two transactions conflicted, with this error of PostgreSQL; the batch is repeated.
    Retrying(&'a str),
    /// A finding that does not stop the daemon (G10).
    Found {
        /// The text.
        finding: &'a str,
        /// The remedy.
        remedy: &'a str,
    },
    /// Agents have been waiting in the outbox for a while.
    Left {
        /// One of them.
        key: &'a Key<'a>,
        /// The time since the first of them.
        since: Duration,
        /// The reason for which this one waits.
        holdup: Holdup,
        /// The schema of the install.
        schema: &'a InstallSchema,
    },
    /// The loop is in a phase. For the registry alone, like all that follow.
    Phase(Phase),
    /// The database is paused, and the loop is in [`Phase::Paused`].
    Paused(&'a Pause),
    /// The daemon that leads while this one stands by, as far as the server tells.
    LedBy(Option<&'a DaemonSession>),
    /// There is a connection, and the checks have passed.
    Connected {
        /// The version of the server.
        server_version: &'a str,
        /// The address of the session, without secrets.
        target: &'a str,
    },
    /// The sleeping loop has woken up, for this cause.
    Woken(WakeUp),
    /// A drain has left nothing in the outbox.
    Emptied,
    /// The backlog, as read from the database: pending changes and problems.
    Backlog(&'a Arc<Backlog>),
    /// All findings in force; empty if there are none.
    InForce(&'a [Finding]),
}

/// An event about the connection.
#[derive(Debug)]
pub enum Connection<'a> {
    /// The first drain after the connect has ended, with these totals.
    CaughtUp(Totals),
    /// The connection is lost, or could not be made. One event an outage (G8).
    Lost {
        /// The cause.
        cause: &'a str,
        /// The remedy.
        remedy: &'a str,
        /// Whether the server answers: the cause is in the database.
        is_answered: bool,
    },
    /// An attempt during an outage failed as well.
    StillLost {
        /// The cause.
        cause: &'a str,
        /// The remedy.
        remedy: &'a str,
        /// Whether the server answers.
        is_answered: bool,
        /// The pause before the next one.
        pause: Duration,
    },
    /// The outage is over.
    Recovered {
        /// Its duration.
        outage: Duration,
        /// The totals of the catch-up.
        totals: Totals,
    },
    /// A new connection has failed repeatedly beside the present one.
    NewFails {
        /// The cause.
        cause: &'a str,
        /// The remedy.
        remedy: &'a str,
    },
    /// The daemon has released the database.
    Stopped,
}

/// An event about the leader of the database.
#[derive(Debug)]
pub enum Leader<'a> {
    /// The daemon is connected, and another one leads.
    StandingBy,
    /// This daemon leads now, at this address without secrets.
    Leading(&'a str),
    /// Another session leads, and changes are not applied: the session and the remedy.
    Hangs(&'a Finding),
    /// Changes are applied again.
    Works,
    /// The database is paused, so no daemon leads.
    Paused(&'a Pause),
    /// The pause is over.
    Resumed,
    /// The leading daemon has other rules or columns than this one; with the remedy.
    OtherMapping(&'a str),
}

/// An event about the two tables.
#[derive(Debug)]
pub enum Tables<'a> {
    /// Optional columns that the tables do not have (T3).
    ColumnsMissing {
        /// Whether they have gone since the daemon began to lead.
        have_gone: bool,
        /// As `schema.table.column`.
        columns: &'a [String],
    },
    /// Another session has held a lock on a table for this long. Nothing is lost, and the daemon
    /// waits for its end (G16).
    LockedOut(Duration),
    /// Another session has held a lock for this long that the sweep needs, while changes are
    /// applied. Changes that were missed are not looked for meanwhile; the capture itself is.
    SweepLockedOut(Duration),
    /// That lock has ended, after this time.
    LockGone(Duration),
    /// The tables have changed, and are read again; with the error of the server.
    Changed(&'a str),
}

/// A kind of fault of the capture.
#[derive(Debug)]
pub enum CaptureFault {
    /// The capture misses changes: a trigger is missing, disabled or altered, or the outbox may
    /// lose changes (G1).
    Broken,
    /// A trigger of the capture does not fire while `session_replication_role` is `replica`.
    NotAlways,
    /// A partition or child of a table has no trigger that works (G1).
    LacksChild,
}

/// The reason to check every agent.
#[derive(Debug)]
pub enum FullCheck {
    /// The tables, their triggers or policies have changed, and every agent is checked.
    CaptureTouched,
    /// Changes are no longer missed, and every agent is checked.
    CaptureMended,
    /// This number of saves could not be captured, so every agent is checked.
    Uncaptured(i64),
    /// The count of such saves has moved, as by a crash of the server.
    CountJumped,
    /// The first start after an install: every agent is checked.
    FirstStart,
    /// NOTIFY requested more slugs than the daemon keeps, so every agent is checked (I7).
    AskedForTooMany,
    /// The same again, before another check of every agent is allowed.
    Postponed,
    /// A check has been waiting for this number of open transactions that may have saved.
    WaitsForSavers(usize),
}

/// An event about the mapping.
#[derive(Debug)]
pub enum Mapping<'a> {
    /// The rules have changed; this writes nothing. In the totals, `written` counts configurations
    /// that would be written.
    Changed(Totals),
    /// The rules have changed, and the number of configurations that differ is unknown, for this
    /// cause.
    DriftUnknown(&'a str),
    /// The batches use other rules from now on. For the registry alone.
    Adopted,
    /// No rule reads a voice setting (M10).
    Unmapped {
        /// Its place in the voice settings.
        setting: &'a str,
        /// The sentence on it.
        remark: &'a str,
        /// An agent that has it.
        key: &'a Key<'a>,
    },
    /// No rule reads further voice settings, which get no lines of their own.
    FurtherUnmapped,
}

/// The reason for which an agent waits in the outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holdup {
    /// Anything but the turn: a lock, a slow write, ended connections, or a row of the outbox that
    /// cannot be deleted.
    Write,
    /// It is large, and another database of the process has the turn of heavy work.
    Turn,
}

/// An event about the comparison of every agent with its configurations.
#[derive(Debug)]
pub enum Audit<'a> {
    /// It is complete. Besides the registry, only the debug log has it.
    Finished(Compared),
    /// A daemon has completed it before this one leads. For the registry alone.
    Known(Compared, Option<&'a Unnoticed>),
    /// It found changes of agents that were never noticed, and put the agents into the outbox.
    Unnoticed(&'a Unnoticed),
    /// It found configurations that somebody has edited.
    Edited {
        /// The number of their agents.
        agents: u64,
        /// The slugs of some of them.
        some: &'a [String],
        /// Whether they were put into the outbox.
        are_enqueued: bool,
    },
    /// It found agents that the audit before had put into the outbox for the same reason: what is
    /// noted of them stays out of date.
    Stuck {
        /// The number of the agents.
        agents: u64,
        /// The slugs of some of them.
        some: &'a [String],
    },
    /// It found agents that the audit before had put into the outbox, and that differ from the same
    /// values again: their configurations do not keep what the daemon writes.
    Reverted {
        /// The number of the agents.
        agents: u64,
        /// The slugs of some of them.
        some: &'a [String],
    },
    /// It has passed over agents that could not be read, or not in time.
    Unread {
        /// The number of the agents.
        agents: u64,
        /// The slugs of some of them.
        some: &'a [String],
    },
    /// It could not go on, for this cause, several times in a row. It is tried again.
    Interrupted(&'a str),
}

/// Why an agent is not in sync.
#[derive(Debug, Clone, Copy)]
pub enum NotInSync<'a> {
    /// No configuration has the slug (G6).
    MissingConfiguration {
        /// The slug of a configuration that is almost the same.
        near: Option<&'a str>,
    },
    /// It is rejected (M7): every reason.
    Rejected(&'a str),
    /// More than one agent has the slug (T5).
    Ambiguous,
    /// It could not be brought in sync (G5).
    Failed {
        /// The reason, without values.
        detail: &'a str,
        /// The SQLSTATE.
        sqlstate: &'a str,
    },
}

/// Makes the events of a subject events of a database.
macro_rules! subjects {
    ($($subject:ident: $events:ty),+ $(,)?) => {
        $(impl<'a> From<$events> for Event<'a> {
            fn from(event: $events) -> Self {
                Self::$subject(event)
            }
        })+
    };
}

subjects! {
    Connection: Connection<'a>,
    Leader: Leader<'a>,
    Tables: Tables<'a>,
    FullCheck: FullCheck,
    Mapping: Mapping<'a>,
    Audit: Audit<'a>,
}

impl FullCheck {
    /// The remedy of [`FullCheck::WaitsForSavers`].
    pub const WAITS_FOR_SAVERS_REMEDY: &'static str = "`agent-sync doctor` names the oldest of \
        them; end it.";
}

impl Tables<'_> {
    /// The remedy of [`Tables::LockedOut`] and [`Tables::SweepLockedOut`]. The daemon waits for a
    /// fraction of a second at a time, so `pg_blocking_pids` would mostly find nothing.
    pub const LOCKED_OUT_REMEDY: &'static str = "Wait for its end, or find it: SELECT \
        l.relation::regclass, l.mode, l.pid, a.state, a.xact_start, a.query FROM pg_locks l LEFT \
        JOIN pg_stat_activity a ON a.pid = l.pid WHERE l.granted AND l.relation::oid >= 16384 AND \
        l.mode <> 'AccessShareLock' AND coalesce(a.application_name, '') NOT LIKE 'agent-sync%' \
        ORDER BY a.xact_start; a lock without pid is that of a prepared transaction, which \
        pg_prepared_xacts lists.";
}

impl Event<'_> {
    /// Whether it is about a problem that is not to be logged again.
    pub(super) fn is_known(&self) -> bool {
        matches!(self, Self::NotInSync { known: true, .. })
    }
}

/// The details of a committed batch, without any value of a row.
#[derive(Debug, Default, Clone, Copy)]
pub struct Committed<'a> {
    /// The rows of the outbox that it took.
    pub rows: usize,
    /// The agents whose configuration was written, with the columns.
    pub written: &'a [(Key<'a>, Columns)],
    /// For each slug, the age of its oldest change at the claim, in seconds.
    pub ages: &'a [f64],
    /// The time from the claim to the commit.
    pub took: Duration,
}

impl Committed<'_> {
    /// For each slug, the time from its change to its sync, in seconds.
    pub(super) fn latencies(&self) -> impl Iterator<Item = f64> {
        let took = self.took.as_secs_f64();
        self.ages.iter().map(move |age| age + took)
    }
}
