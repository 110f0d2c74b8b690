//! The events, and the log line of each.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{debug, error, info, warn};

use super::board::Cell;
use super::flood::{Kind, Manner};
use super::state::{self, Backlog, Columns, Finding, Phase, WakeUp};

/// An event of one database.
#[derive(Debug)]
pub enum Event<'a> {
    /// The daemon is connected, and another one leads.
    StandingBy,
    /// This daemon leads now.
    Leading {
        /// The address of the database, without secrets.
        server: &'a str,
    },
    /// Optional columns that the tables do not have (T3).
    ColumnsMissing {
        /// Whether they have gone since the daemon began to lead.
        have_gone: bool,
        /// As `schema.table.column`.
        columns: &'a [String],
    },
    /// The first drain after the connect has ended.
    CaughtUp {
        /// Its totals.
        totals: Totals,
    },
    /// The connection is lost, or could not be made. One event an outage (G8).
    Lost {
        /// The cause.
        cause: &'a str,
        /// The remedy.
        remedy: &'a str,
    },
    /// An attempt during an outage failed as well.
    StillLost {
        /// The cause.
        cause: &'a str,
        /// The remedy.
        remedy: &'a str,
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
    /// No configuration has the slug (G6).
    MissingConfiguration {
        /// The slug.
        slug: &'a str,
        /// Whether the same problem is already noted, and needs no log line.
        known: bool,
        /// The remedy.
        remedy: &'a str,
    },
    /// The agent's settings cannot be mapped (M7).
    Rejected {
        /// The slug.
        slug: &'a str,
        /// Whether the same problem is already noted, and needs no log line.
        known: bool,
        /// Every mistake.
        reasons: &'a str,
        /// The remedy.
        remedy: &'a str,
    },
    /// More than one agent has the slug (T5).
    Ambiguous {
        /// The slug.
        slug: &'a str,
        /// Whether the same problem is already noted, and needs no log line.
        known: bool,
        /// The remedy.
        remedy: &'a str,
    },
    /// PostgreSQL refused the write (G5).
    Failed {
        /// The slug.
        slug: &'a str,
        /// Whether the same problem is already noted, and needs no log line.
        known: bool,
        /// The SQLSTATE and the place, without values.
        detail: &'a str,
        /// The SQLSTATE.
        sqlstate: &'a str,
        /// The remedy.
        remedy: &'a str,
    },
    /// A warning of the mapping about an agent that it mapped.
    Mapped {
        /// The slug.
        slug: &'a str,
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
    /// Two transactions conflicted; the batch is repeated.
    Retrying {
        /// The error of PostgreSQL.
        cause: &'a str,
    },
    /// A trigger of the capture is missing or disabled (G1).
    CaptureBroken {
        /// `schema.table.trigger`
        trigger: &'a str,
        /// The fault.
        fault: &'a str,
        /// The remedy.
        remedy: &'a str,
    },
    /// A trigger of the capture does not fire while `session_replication_role` is `replica`.
    CaptureSleeps {
        /// `schema.table.trigger`
        trigger: &'a str,
        /// The remedy.
        remedy: &'a str,
    },
    /// A partition or child of a table has no trigger that works (G1).
    CaptureLacksChild {
        /// `schema.table.trigger`
        trigger: &'a str,
        /// The fault.
        fault: &'a str,
        /// The remedy.
        remedy: &'a str,
    },
    /// A finding that does not stop the daemon (G10).
    Found {
        /// The text.
        finding: &'a str,
        /// The remedy.
        remedy: &'a str,
    },
    /// The tables, their triggers or policies have changed, and every agent is checked.
    CaptureTouched,
    /// Changes are no longer missed, and every agent is checked.
    CaptureMended,
    /// Saves that could not be captured, so every agent is checked.
    Uncaptured {
        /// The number.
        saves: i64,
    },
    /// The count of such saves has moved, as by a crash of the server.
    CountJumped,
    /// The first start after an install: every agent is checked.
    FirstStart,
    /// NOTIFY requested more slugs than the daemon keeps, so every agent is checked (I7).
    AskedForTooMany,
    /// The rules have changed; this writes nothing.
    RulesChanged {
        /// The totals now; `written` counts configurations that would be written.
        totals: Totals,
    },
    /// Every configuration has been compared once more, because some differed after a change of the
    /// rules. For the registry alone.
    Compared {
        /// The totals now; `written` counts configurations that would be written.
        totals: Totals,
    },
    /// The rules have changed, and the number of configurations that differ is unknown.
    DriftUnknown {
        /// The cause.
        cause: &'a str,
    },
    /// Another session has held a lock on a table for a while. Nothing is lost, and the daemon
    /// waits for its end (G16).
    LockedOut {
        /// The time since then.
        since: Duration,
    },
    /// That lock has ended.
    LockGone {
        /// How long it lasted.
        lasted: Duration,
    },
    /// Another session leads, and changes are not applied.
    LeaderHangs {
        /// The session and the remedy.
        finding: &'a Finding,
    },
    /// Changes are applied again.
    LeaderWorks,
    /// The leading daemon has other rules or columns than this one.
    OtherMapping {
        /// The remedy.
        remedy: &'a str,
    },
    /// Agents have been waiting in the outbox for a while, because others hold locks on their
    /// configurations, or a trigger takes long.
    Left {
        /// One of them.
        slug: &'a str,
        /// The time since the first of them.
        since: Duration,
    },
    /// A new connection has failed repeatedly beside the present one.
    NewConnectionFails {
        /// The cause.
        cause: &'a str,
        /// The remedy.
        remedy: &'a str,
    },
    /// The tables have changed, and are read again.
    LayoutChanged {
        /// The error of the server.
        cause: &'a str,
    },
    /// The daemon has released the database.
    Stopped,
    /// The loop is in a phase. For the registry alone, like all that follow.
    Phase(Phase),
    /// There is a connection, and the checks have passed.
    Connected {
        /// The version of the server.
        server_version: &'a str,
        /// The address of the session, without secrets.
        target: &'a str,
    },
    /// The sleeping loop has woken up.
    Woken {
        /// The cause.
        cause: WakeUp,
    },
    /// A scan of the outbox has found nothing.
    Emptied,
    /// The backlog: pending changes and problems.
    Backlog {
        /// As read from the database.
        backlog: &'a Arc<Backlog>,
    },
    /// The findings in force.
    InForce {
        /// All findings; empty if there are none.
        findings: &'a [Finding],
    },
}

impl Event<'_> {
    /// The remedy of [`Event::LockedOut`].
    pub const LOCKED_OUT_REMEDY: &'static str = "Wait for its end, or find it: SELECT pid, query \
        FROM pg_stat_activity WHERE pid = ANY (pg_blocking_pids(PID of agent-sync));";

    /// Whether it is about an unchanged problem.
    pub(super) fn is_known(&self) -> bool {
        matches!(
            self,
            Self::MissingConfiguration { known: true, .. }
                | Self::Rejected { known: true, .. }
                | Self::Ambiguous { known: true, .. }
                | Self::Failed { known: true, .. }
        )
    }
}

/// The details of a committed batch, without any value of a row.
#[derive(Debug, Default, Clone, Copy)]
pub struct Committed<'a> {
    /// The rows of the outbox that it took.
    pub rows: usize,
    /// The slugs whose configuration was written, with the columns.
    pub written: &'a [(&'a str, Columns)],
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

/// The totals of batches: slugs, except `written`.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    /// Configurations that were written.
    pub written: u64,
    /// Configurations that were in sync already.
    pub unchanged: u64,
    /// Slugs without a configuration.
    pub missing: u64,
    /// Agents that cannot be mapped.
    pub rejected: u64,
    /// Slugs without an agent: deleted or renamed.
    pub gone: u64,
    /// Slugs whose configuration another session has locked; they stay in the outbox.
    pub busy: u64,
}

impl Totals {
    /// Adds another one.
    pub fn add(&mut self, other: Self) {
        self.written += other.written;
        self.unchanged += other.unchanged;
        self.missing += other.missing;
        self.rejected += other.rejected;
        self.gone += other.gone;
        self.busy += other.busy;
    }
}

/// Sends the events of one database to the log and to the registry.
#[derive(Debug, Clone)]
pub struct Observer {
    database: String,
    cell: Arc<Cell>,
}

impl Observer {
    /// For the database with this name in the settings, without a registry.
    pub fn new(database: impl Into<String>) -> Self {
        Self {
            database: database.into(),
            cell: Arc::new(Cell::new("", Instant::now())),
        }
    }

    /// With a slot of a registry.
    pub(super) fn of(database: &str, cell: Arc<Cell>) -> Self {
        Self {
            database: database.to_owned(),
            cell,
        }
    }

    /// Sends a heartbeat, and expects the next one within this time: see
    /// [`super::verdict::stuck`].
    pub(crate) fn alive(&self, within: Duration) {
        self.cell.alive(within);
    }

    /// Logs the number of agents of a kind without a line of their own.
    fn sum_up(&self, kind: Kind, agents: u64) {
        let database = self.database.as_str();
        match kind {
            Kind::Missing => warn!(
                database,
                agents,
                "further agents without a configuration: {agents}; `agent-sync check` lists them"
            ),
            Kind::Rejected => {
                warn!(
                    database,
                    agents, "further agents rejected: {agents}; `agent-sync check` lists them"
                );
            }
            Kind::Ambiguous => {
                warn!(
                    database,
                    agents,
                    "further agents that share a slug: {agents}; `agent-sync check` lists them"
                );
            }
            Kind::Failed => warn!(
                database,
                agents,
                "further configurations that could not be written: {agents}; `agent-sync check` \
                lists them"
            ),
            Kind::Mapped => warn!(
                database,
                agents,
                "further warnings about settings of agents: {agents}; with log.level = \"debug\" \
                each is logged"
            ),
        }
    }

    /// Sends one event.
    #[allow(clippy::too_many_lines, reason = "one arm an event, in one place")]
    pub fn tell(&self, event: &Event<'_>) {
        self.cell.note(event);
        let database = self.database.as_str();
        let Manner { held, summaries } = self.cell.meet(event);
        for (kind, agents) in Kind::ALL
            .into_iter()
            .zip(summaries)
            .filter(|(_, agents)| *agents > 0)
        {
            self.sum_up(kind, agents);
        }
        match *event {
            _ if held => debug!(database, ?event, "one of many, or told a moment ago"),
            Event::StandingBy => info!(database, "another daemon leads here; standing by"),
            Event::Leading { server } => info!(database, server, "connected and leading"),
            Event::ColumnsMissing {
                columns,
                have_gone: false,
            } => {
                info!(
                    database,
                    columns = columns.join(", "),
                    "columns that do not exist here are left out"
                );
            }
            Event::ColumnsMissing {
                columns,
                have_gone: true,
            } => {
                let remedy = "Name them in the settings of this database (agents.columns, \
                    configurations.columns) if they have new names.";
                warn!(
                    database,
                    columns = columns.join(", "),
                    remedy,
                    "columns that do not exist any more are left out"
                );
            }
            Event::CaughtUp { totals } => {
                let Totals {
                    written,
                    unchanged,
                    missing,
                    rejected,
                    ..
                } = totals;
                info!(database, written, unchanged, missing, rejected, "caught up");
            }
            Event::Lost { cause, remedy } => {
                warn!(
                    database,
                    cause, remedy, "database unavailable; the daemon retries until it is back"
                );
            }
            Event::StillLost { cause, pause, .. } => {
                debug!(database, cause, ?pause, "still unavailable");
            }
            Event::Recovered { outage, totals } => {
                let Totals {
                    written,
                    unchanged,
                    missing,
                    rejected,
                    ..
                } = totals;
                let outage_seconds = (outage.as_secs_f64() * 1000.0).round() / 1000.0;
                info!(
                    database,
                    outage_seconds,
                    written,
                    unchanged,
                    missing,
                    rejected,
                    "database available again, caught up"
                );
            }
            Event::MissingConfiguration { slug, remedy, .. } => {
                warn!(
                    database,
                    slug,
                    remedy,
                    "no configuration has this slug; the agent is saved, nothing is synced"
                );
            }
            Event::Rejected {
                slug,
                reasons,
                remedy,
                ..
            } => {
                warn!(
                    database,
                    slug,
                    reasons,
                    remedy,
                    "agent rejected: its settings cannot be mapped; nothing is written"
                );
            }
            Event::Ambiguous { slug, remedy, .. } => {
                warn!(
                    database,
                    slug, remedy, "more than one agent has this slug; nothing is written for it"
                );
            }
            Event::Failed {
                slug,
                detail,
                sqlstate,
                remedy,
                ..
            } => {
                warn!(
                    database,
                    slug,
                    detail,
                    sqlstate,
                    remedy,
                    "configuration could not be written; the daemon retries"
                );
            }
            Event::Mapped { slug, warning } => warn!(database, slug, "{warning}"),
            Event::Batch { totals, .. } => {
                let Totals {
                    written,
                    unchanged,
                    missing,
                    rejected,
                    gone,
                    busy,
                } = totals;
                debug!(
                    database,
                    written, unchanged, missing, rejected, gone, busy, "batch committed"
                );
            }
            Event::Retrying { cause } => debug!(database, cause, "batch is done again"),
            Event::CaptureBroken {
                trigger,
                fault,
                remedy,
            } => {
                error!(
                    database,
                    trigger, fault, remedy, "capture broken: changes are missed"
                );
            }
            Event::CaptureSleeps { trigger, remedy } => {
                error!(
                    database,
                    trigger,
                    remedy,
                    "a trigger is enabled but not ALWAYS: saves made with session_replication_role \
                    = replica, as in restores and logical replication, are not noticed; all others \
                    are"
                );
            }
            Event::CaptureLacksChild {
                trigger,
                fault,
                remedy,
            } => {
                error!(
                    database,
                    trigger,
                    fault,
                    remedy,
                    "saves in a partition or child table are not noticed; each sweep checks every \
                    agent"
                );
            }
            Event::Found { finding, remedy } => warn!(database, remedy, "{finding}"),
            Event::CaptureTouched => {
                warn!(
                    database,
                    "the tables, their triggers or policies were changed, and changes may have \
                    been missed; checking every agent"
                );
            }
            Event::CaptureMended => {
                info!(database, "the capture works again; checking every agent");
            }
            Event::Uncaptured { saves } => {
                warn!(
                    database,
                    saves, "changes were saved that could not be captured; checking every agent"
                );
            }
            Event::CountJumped => warn!(
                database,
                "the server may have crashed: the count of saves that could not be captured has \
                moved; checking every agent"
            ),
            Event::FirstStart => info!(
                database,
                "first start after an install, or changes may have been missed; checking every \
                agent"
            ),
            Event::AskedForTooMany => {
                warn!(
                    database,
                    "more slugs were requested at once than the daemon keeps; checking every agent"
                );
            }
            Event::RulesChanged { totals } => {
                let Totals {
                    written: differ,
                    unchanged: in_sync,
                    missing,
                    rejected,
                    ..
                } = totals;
                if differ > 0 {
                    let remedy = state::DRIFT_REMEDY;
                    warn!(
                        database,
                        differ,
                        in_sync,
                        missing,
                        rejected,
                        remedy,
                        "the mapping has changed; agents whose configurations now differ, or that \
                        are now rejected, stay as they are until they are saved or requested"
                    );
                } else {
                    info!(
                        database,
                        differ,
                        in_sync,
                        missing,
                        rejected,
                        "the mapping has changed; all agents stand as before"
                    );
                }
            }
            Event::DriftUnknown { cause } => {
                warn!(
                    database,
                    cause,
                    "the mapping has changed; the number of configurations that now differ is \
                    unknown"
                );
            }
            Event::LockedOut { since } => {
                let seconds = since.as_secs();
                warn!(
                    database,
                    seconds,
                    remedy = Event::LOCKED_OUT_REMEDY,
                    "another session holds a lock on a table; changes wait for its end"
                );
            }
            Event::LockGone { lasted } => {
                let seconds = lasted.as_secs();
                info!(database, seconds, "the lock is gone; changes are applied");
            }
            Event::LeaderHangs {
                finding: Finding { what, remedy, .. },
            } => {
                warn!(
                    database,
                    leader = what,
                    remedy,
                    "another session leads here, and changes are not applied; this daemon cannot \
                    take over while it holds the lock"
                );
            }
            Event::OtherMapping { remedy } => {
                warn!(
                    database,
                    remedy,
                    "the daemon that leads here works with other rules or columns than this one"
                );
            }
            Event::LeaderWorks => info!(database, "the changes that waited are applied"),
            Event::Left { slug, since } => {
                let seconds = since.as_secs();
                warn!(
                    database,
                    slug,
                    seconds,
                    remedy = "List them: SELECT slug, since FROM agent_sync.state WHERE pending; \
                        then find the session that holds its configuration locked, or the trigger \
                        that takes long or raises 55P03 (pg_locks, pg_stat_activity).",
                    "an agent is not in sync yet: its configuration is locked, or the write is \
                    slow; the daemon retries"
                );
            }
            Event::NewConnectionFails { cause, remedy } => {
                warn!(
                    database,
                    cause,
                    remedy,
                    "a new connection to this database fails, and the present one goes on"
                );
            }
            Event::LayoutChanged { cause } => {
                info!(
                    database,
                    cause, "the tables have changed; looking at them again"
                );
            }
            Event::Stopped => info!(database, "stopped"),
            Event::Phase(_)
            | Event::Connected { .. }
            | Event::Compared { .. }
            | Event::Woken { .. }
            | Event::Emptied
            | Event::Backlog { .. }
            | Event::InForce { .. } => {}
        }
    }
}
