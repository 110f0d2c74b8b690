//! The state of one database: plain data, bounded in every part, without secrets and without values
//! of rows (G11).
//!
//! Bounds: lists are cut at [`PROBLEMS`], [`CHANGES`], [`FINDINGS`] or
//! [`SETTINGS`](super::unmapped::SETTINGS) entries, and texts at the length passed to `brief`. A
//! database without problems takes less than 96 KiB with full rings. A list of a thousand problems
//! adds at most 550 KiB, because it ends where its texts reach [`LISTED`].

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::compared::{Compared, Unnoticed};
use super::condition::Condition;
use super::histogram::{Histogram, LATENCY, ROWS};
use super::hour::Hour;
use super::pause::Pause;
use super::phase::Phase;
use super::totals::Totals;
use super::unmapped::UnmappedSettings;
use crate::columns::{Column, MappedColumn as _, PerColumn};

/// The largest number of listed problems.
pub const PROBLEMS: usize = 1000;

/// The limit of their texts together, in bytes.
pub const LISTED: usize = 384 * 1024;

/// The largest number of daemons that stand by and are listed.
pub const STANDBYS: usize = 20;

/// The number of latest changes that are kept.
pub const CHANGES: usize = 200;

/// The largest number of findings that are kept; there are never more than a few.
pub const FINDINGS: usize = 32;

/// The cause that ended the sleep of a database task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WakeUp {
    /// A notification of a trigger.
    Notification,
    /// A request for a slug (I7).
    Request,
    /// The periodic sweep was due.
    Sweep,
    /// A retry was due.
    Retry,
    /// A timed wake-up was due (glossary): no notification would have come.
    Timer,
    /// Another attempt at slugs that were left was due.
    Left,
}

impl WakeUp {
    /// Every cause.
    pub const ALL: [Self; 6] = [
        Self::Notification,
        Self::Request,
        Self::Sweep,
        Self::Retry,
        Self::Timer,
        Self::Left,
    ];

    /// Its name in metrics and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Notification => "notification",
            Self::Request => "request",
            Self::Sweep => "sweep",
            Self::Retry => "retry",
            Self::Timer => "poll",
            Self::Left => "busy",
        }
    }
}

/// The result of one slug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Its configuration was written.
    Written,
    /// It has no configuration (G6).
    MissingConfiguration,
    /// Its agent is rejected (M7).
    Rejected,
    /// More than one agent has the slug (T5).
    Ambiguous,
    /// It could not be brought in sync (G5).
    Failed,
}

impl Outcome {
    /// Its name in JSON; a problem has its name in `agent_sync.problem`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Written => "written",
            Self::MissingConfiguration => "missing_configuration",
            Self::Rejected => "rejected",
            Self::Ambiguous => "ambiguous",
            Self::Failed => "failed",
        }
    }
}

/// A set of mapped columns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Columns(u32);

// One bit for each column.
const _: () = assert!(Column::ALL.len() <= u32::BITS as usize);

impl Columns {
    /// The columns with a value.
    pub fn of<T>(values: &PerColumn<Option<T>>) -> Self {
        values.present().map(|(column, _)| column).collect()
    }

    /// The names of the columns.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Column::ALL
            .into_iter()
            .filter(move |column| self.0 >> column.index() & 1 == 1)
            .map(Column::name)
    }
}

impl FromIterator<Column> for Columns {
    fn from_iter<I: IntoIterator<Item = Column>>(columns: I) -> Self {
        let bits = columns.into_iter().map(|column| 1 << column.index());
        Self(bits.fold(0, |set, bit| set | bit))
    }
}

/// One of the latest changes.
#[derive(Debug, Clone)]
pub struct Change {
    /// The time of the batch.
    pub at: SystemTime,
    /// The tenant, where tenants are set.
    pub tenant: Option<Arc<str>>,
    /// The slug.
    pub slug: Arc<str>,
    /// The result.
    pub outcome: Outcome,
    /// The written columns.
    pub columns: Columns,
}

/// The last error that ended an attempt.
#[derive(Debug, Clone)]
pub struct Trouble {
    /// The cause.
    pub cause: Arc<str>,
    /// The remedy.
    pub remedy: Arc<str>,
    /// Whether the server answers: the cause is in the database.
    pub is_answered: bool,
    /// The time of its latest occurrence.
    pub at: SystemTime,
}

/// A fault or a warning about a database that is being synced (G1, G10).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The finding, in words.
    pub what: String,
    /// The remedy.
    pub remedy: String,
    /// Whether changes may be missed until it is repaired.
    pub misses_changes: bool,
}

/// A finding with its time.
#[derive(Debug, Clone)]
pub struct InForce {
    /// The finding.
    pub finding: Finding,
    /// The time since which this process knows of it.
    pub since: SystemTime,
}

/// The reason why one slug is not in sync: a row of `agent_sync.problem`.
#[derive(Debug, Clone)]
pub struct Problem {
    /// The tenant, where tenants are set.
    pub tenant: Option<Box<str>>,
    /// The slug.
    pub slug: Box<str>,
    /// `missing_configuration`, `rejected`, `ambiguous` or `failed`.
    pub kind: Box<str>,
    /// The reason, without prompts and keys.
    pub detail: Box<str>,
    /// The remedy.
    pub remedy: Cow<'static, str>,
    /// The SQLSTATE of a failed write.
    pub sqlstate: Option<Box<str>>,
    /// The time since which it exists.
    pub since: SystemTime,
    /// The number of attempts.
    pub attempts: i32,
}

/// The numbers of problems by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Kinds {
    /// Slugs without a configuration.
    pub missing_configuration: u64,
    /// Rejected agents.
    pub rejected: u64,
    /// Slugs that more than one agent has.
    pub ambiguous: u64,
    /// Agents that could not be brought in sync.
    pub failed: u64,
}

impl Kinds {
    /// Each kind with its name.
    pub fn each(self) -> [(&'static str, u64); 4] {
        [
            (
                Outcome::MissingConfiguration.name(),
                self.missing_configuration,
            ),
            (Outcome::Rejected.name(), self.rejected),
            (Outcome::Ambiguous.name(), self.ambiguous),
            (Outcome::Failed.name(), self.failed),
        ]
    }

    /// The number of problems of all kinds.
    pub fn total(self) -> u64 {
        self.each().iter().map(|(_, count)| count).sum()
    }
}

/// The backlog of a database: its outbox and its problems, as last read.
#[derive(Debug, Clone)]
pub struct Backlog {
    /// The time of the reading.
    pub taken: Instant,
    /// The rows of the outbox.
    pub rows: u64,
    /// Whether there are more of them than are counted.
    pub more_rows: bool,
    /// The age of the oldest row at that time.
    pub oldest: Option<Duration>,
    /// The numbers of problems.
    pub problems: Kinds,
    /// Whether there are more of them than are counted.
    pub more_problems: bool,
    /// The latest problems of each kind, in turn: a beginning of the list has a share of each.
    pub listed: Vec<Problem>,
    /// The sessions of the daemons; None where the server does not tell them.
    pub sessions: Option<Sessions>,
    /// The number of agents by the statistics of the server, if it has some.
    pub agents: Option<u64>,
}

/// The sessions of the daemons of a database.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sessions {
    /// The server process of the connection of this daemon, which leads.
    pub leader: i32,
    /// The daemons that stand by, up to [`STANDBYS`].
    pub standbys: Vec<DaemonSession>,
}

/// The session of a daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DaemonSession {
    /// Its server process.
    pub pid: i32,
    /// The client address; None for a Unix socket.
    pub host: Option<Box<str>>,
    /// The application name: program, version, and the name of the database in its settings.
    pub program: Box<str>,
}

/// The state of one database.
#[derive(Debug, Clone)]
pub struct State {
    /// Its address and name, without secrets.
    pub target: Arc<str>,
    /// The version of its server, known after the first connection.
    pub server_version: Option<Arc<str>>,
    /// The phase of its task.
    pub phase: Phase,
    /// The start of the phase.
    pub since: (SystemTime, Instant),
    /// The state in one word, and its start: it may last over several phases.
    pub condition: (Condition, SystemTime),
    /// The time of the last heartbeat, and the time at which the next one is due.
    pub alive: (Instant, Instant),
    /// The daemon that leads, as last seen in [`Phase::Standby`].
    pub led_by: Option<Arc<DaemonSession>>,
    /// The pause, in [`Phase::Paused`].
    pub pause: Option<Arc<Pause>>,
    /// The last error.
    pub trouble: Option<Trouble>,
    /// The current findings.
    pub findings: Arc<[InForce]>,
    /// The last comparison of every agent.
    pub compared: Option<Compared>,
    /// The changes of agents that were never noticed, as a comparison last found some.
    pub unnoticed: Option<Unnoticed>,
    /// Their number, over all comparisons.
    pub unnoticed_total: u64,
    /// The voice settings that no rule reads.
    pub unmapped: UnmappedSettings,
    /// The totals of all batches.
    pub totals: Totals,
    /// Agents that could not be brought in sync.
    pub failed: u64,
    /// Wake-ups, in the order of [`WakeUp::ALL`].
    pub wake_ups: [u64; 6],
    /// The sizes of the batches, in rows of the outbox.
    pub batch_rows: Histogram<13>,
    /// The latencies of slugs, from the change to the commit of the configuration, in seconds.
    pub latency: Histogram<19>,
    /// Connections after the first.
    pub reconnects: u64,
    /// The time without a connection before the current phase.
    pub outage: Duration,
    /// The time of the last committed batch, also of one that wrote nothing. `Look::last_sync` is
    /// the time of the last write.
    pub last_sync: Option<SystemTime>,
    /// The backlog; only the leader knows it.
    pub backlog: Option<Arc<Backlog>>,
    /// The last hour. Snapshots share it, and it is copied only if it changes while they do.
    pub hour: Arc<Hour>,
    /// The latest changes, oldest first; shared in the same way.
    pub changes: Arc<VecDeque<Change>>,
}

impl State {
    /// The state of a database before its first connection.
    pub(super) fn new(target: &str) -> Self {
        let now = Instant::now();
        Self {
            target: target.into(),
            server_version: None,
            phase: Phase::Connecting,
            since: (SystemTime::now(), now),
            condition: (Condition::Busy, SystemTime::now()),
            alive: (now, now),
            led_by: None,
            pause: None,
            trouble: None,
            findings: Arc::default(),
            compared: None,
            unnoticed: None,
            unnoticed_total: 0,
            unmapped: UnmappedSettings::default(),
            totals: Totals::default(),
            failed: 0,
            wake_ups: [0; 6],
            batch_rows: Histogram::new(&ROWS),
            latency: Histogram::new(&LATENCY),
            reconnects: 0,
            outage: Duration::ZERO,
            last_sync: None,
            backlog: None,
            hour: Arc::default(),
            changes: Arc::default(),
        }
    }

    /// Notes the time at which the state in one word has changed, after an event.
    pub(super) fn note_condition(&mut self) {
        let condition = Condition::of(self);
        if condition != self.condition.0 {
            self.condition = (condition, SystemTime::now());
        }
    }

    /// The total time without a connection.
    pub fn outage(&self, now: Instant) -> Duration {
        match self.phase {
            Phase::Lost => self.outage + now.saturating_duration_since(self.since.1),
            _ => self.outage,
        }
    }
}
