//! What is known of one database: plain data, bounded in every part, without secrets and without
//! values of rows (G11).
//!
//! Bounds: a list that can grow is cut at [`PROBLEMS`], [`CHANGES`] or [`FINDINGS`], and a text at
//! the lengths that `brief` is called with. A database without problems takes less than 64 KiB when
//! all rings are full; one with a thousand of them at most 550 KiB more, for the list ends where
//! its texts come to [`LISTED`].

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::event::Totals;
use super::histogram::{Histogram, LATENCY, ROWS};
use super::hour::Hour;
use crate::columns::{Column, MappedColumn as _, PerColumn};

/// How many problems are listed.
pub const PROBLEMS: usize = 1000;

/// How many bytes their texts may come to.
pub const LISTED: usize = 384 * 1024;

/// How many of the latest changes are kept.
pub const CHANGES: usize = 200;

/// How many findings are kept; there are never more than a few.
pub const FINDINGS: usize = 32;

/// What the loop of a database is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It connects for the first time.
    Connecting,
    /// Another daemon leads.
    Standby,
    /// It leads, and what was waiting when it began is not done yet.
    CatchingUp,
    /// It leads, and batches run.
    Draining,
    /// It leads, and sleeps.
    Waiting,
    /// There is no connection, or the database cannot be worked in.
    Lost,
}

impl Phase {
    /// Every phase.
    pub const ALL: [Self; 6] = [
        Self::Connecting,
        Self::Standby,
        Self::CatchingUp,
        Self::Draining,
        Self::Waiting,
        Self::Lost,
    ];

    /// Its name in metrics and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Standby => "standby",
            Self::CatchingUp => "catching_up",
            Self::Draining => "draining",
            Self::Waiting => "waiting",
            Self::Lost => "lost",
        }
    }

    /// Whether there is a connection that can be worked with.
    pub fn is_connected(self) -> bool {
        !matches!(self, Self::Connecting | Self::Lost)
    }

    /// Whether this daemon leads.
    pub fn leads(self) -> bool {
        matches!(self, Self::CatchingUp | Self::Draining | Self::Waiting)
    }
}

/// Why a sleeping loop woke up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WakeUp {
    /// A trigger notified.
    Notification,
    /// Somebody asked for a slug (I7).
    Request,
    /// It was time for the slow round.
    Sweep,
    /// It was time to try a failed write again.
    Retry,
    /// It was time to look, because nothing notifies.
    Poll,
    /// It was time to look again at what others had locked.
    Busy,
}

impl WakeUp {
    /// Every cause.
    pub const ALL: [Self; 6] = [
        Self::Notification,
        Self::Request,
        Self::Sweep,
        Self::Retry,
        Self::Poll,
        Self::Busy,
    ];

    /// Its name in metrics and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Notification => "notification",
            Self::Request => "request",
            Self::Sweep => "sweep",
            Self::Retry => "retry",
            Self::Poll => "poll",
            Self::Busy => "busy",
        }
    }
}

/// What became of one slug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Its configuration was written.
    Written,
    /// It has no configuration (G6).
    MissingConfiguration,
    /// Its agent cannot be mapped (M7).
    Rejected,
    /// More than one agent has the slug (T5).
    Ambiguous,
    /// PostgreSQL refused the write (G5).
    Failed,
}

impl Outcome {
    /// Its name in JSON; the problems are called what `agent_sync.problem` calls them.
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
    /// The columns that have a value.
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
    /// When its batch was committed.
    pub at: SystemTime,
    /// Of which agent.
    pub slug: Arc<str>,
    /// What became of it.
    pub outcome: Outcome,
    /// What was written.
    pub columns: Columns,
}

/// The last error that ended an attempt.
#[derive(Debug, Clone)]
pub struct Trouble {
    /// Why.
    pub cause: Arc<str>,
    /// What to do.
    pub remedy: Arc<str>,
    /// When it was last met.
    pub at: SystemTime,
}

/// Something that is wrong with a database in which work goes on (G1, G10).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What.
    pub what: String,
    /// What to do.
    pub remedy: String,
    /// Whether changes may be missed while it is so.
    pub misses_changes: bool,
}

/// The same, with the time at which it was found.
#[derive(Debug, Clone)]
pub struct InForce {
    /// What.
    pub finding: Finding,
    /// Since when, as far as this process knows.
    pub since: SystemTime,
}

/// Why one slug is not in sync: a row of `agent_sync.problem`.
#[derive(Debug, Clone)]
pub struct Problem {
    /// The slug.
    pub slug: Box<str>,
    /// `missing_configuration`, `rejected`, `ambiguous` or `failed`.
    pub kind: Box<str>,
    /// The reason, without prompts and keys.
    pub detail: Box<str>,
    /// What to do.
    pub remedy: Cow<'static, str>,
    /// Of a failed write.
    pub sqlstate: Option<Box<str>>,
    /// Since when.
    pub since: SystemTime,
    /// How often it has been met.
    pub attempts: i32,
}

/// How many problems there are of each kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Kinds {
    /// Slugs without a configuration.
    pub missing_configuration: u64,
    /// Agents that cannot be mapped.
    pub rejected: u64,
    /// Slugs that more than one agent has.
    pub ambiguous: u64,
    /// Writes that PostgreSQL refused.
    pub failed: u64,
}

impl Kinds {
    /// Each kind by its name.
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

    /// All of them.
    pub fn total(self) -> u64 {
        self.each().iter().map(|(_, count)| count).sum()
    }
}

/// What is waiting and what is not in sync, as the database says.
#[derive(Debug, Clone)]
pub struct Backlog {
    /// When it was asked.
    pub taken: Instant,
    /// The rows of the outbox.
    pub rows: u64,
    /// Whether there are more of them than are counted.
    pub more_rows: bool,
    /// How long the oldest of them had been waiting then.
    pub oldest: Option<Duration>,
    /// The problems.
    pub problems: Kinds,
    /// Whether there are more of them than are counted.
    pub more_problems: bool,
    /// The latest of them.
    pub listed: Vec<Problem>,
}

/// What to do about configurations that differ.
pub const DRIFT_REMEDY: &str =
    "`agent-sync check` lists them, `agent-sync reconcile --all` brings them in sync.";

/// What the last comparison of every configuration with its agent came to. It is made when the
/// rules change, and again and again until nothing differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compared {
    /// When it was made.
    pub at: SystemTime,
    /// How many configurations differ from what the rules make of their agents.
    pub differing: u64,
    /// How many are in sync.
    pub equal: u64,
}

/// Everything about one database.
#[derive(Debug, Clone)]
pub struct State {
    /// Where it is, without secrets.
    pub target: Arc<str>,
    /// The version of its server, once there has been a connection.
    pub server_version: Option<Arc<str>>,
    /// What its loop is doing.
    pub phase: Phase,
    /// Since when.
    pub since: (SystemTime, Instant),
    /// When the loop last gave a sign of life, and when the next one is due at the latest.
    pub alive: (Instant, Instant),
    /// The last error.
    pub trouble: Option<Trouble>,
    /// What is wrong with it.
    pub findings: Arc<[InForce]>,
    /// The last comparison, if one has been made.
    pub compared: Option<Compared>,
    /// What the batches came to.
    pub totals: Totals,
    /// Writes that PostgreSQL refused.
    pub failed: u64,
    /// Wake-ups, in the order of [`WakeUp::ALL`].
    pub wake_ups: [u64; 6],
    /// The sizes of the batches, in rows of the outbox.
    pub batch_rows: Histogram<13>,
    /// How long after their change slugs were in sync, in seconds.
    pub latency: Histogram<19>,
    /// Connections after the first.
    pub reconnects: u64,
    /// The time without a connection, up to the beginning of the phase.
    pub outage: Duration,
    /// When the last batch was committed.
    pub last_sync: Option<SystemTime>,
    /// What is waiting; known only to who leads.
    pub backlog: Option<Arc<Backlog>>,
    /// The last hour. Shared with whoever reads it, and copied only if it changes meanwhile.
    pub hour: Arc<Hour>,
    /// The latest changes, oldest first. Shared in the same way.
    pub changes: Arc<VecDeque<Change>>,
}

impl State {
    /// Of a database that nothing is known of.
    pub(super) fn new(target: &str) -> Self {
        let now = Instant::now();
        Self {
            target: target.into(),
            server_version: None,
            phase: Phase::Connecting,
            since: (SystemTime::now(), now),
            alive: (now, now),
            trouble: None,
            findings: Arc::default(),
            compared: None,
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

    /// The time without a connection in all.
    pub fn outage(&self, now: Instant) -> Duration {
        match self.phase {
            Phase::Lost => self.outage + now.saturating_duration_since(self.since.1),
            _ => self.outage,
        }
    }
}

/// A text that is cut where it is longer than `most` bytes.
pub fn brief(text: &str, most: usize) -> &str {
    let mut end = most.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
