//! The state of one database: the checks of the daemon's start, the leader, the outbox and the
//! problems.
//!
//! It uses SQL alone and changes nothing. The queries are independent: a failed one is reported,
//! and the others still run unless the connection is lost.

mod asking;
mod audit;
mod locks;
mod words;
mod work;

use serde::Serialize;

use self::asking::Asking;
use super::note::{Level, Note};
use super::problem;
use crate::mapping::Rules;
use crate::observe::compared::Counts;
use crate::observe::{Condition, Pause};
use crate::pg::Db;
use crate::settings::{Database, Settings};
use crate::store::{Layout, MayRead};

/// The age of a pending change that causes a warning, in seconds.
pub(super) const OVERDUE: f64 = 60.0;

/// The state of one database.
#[derive(Debug, Default)]
pub struct Look {
    /// The checks, in the order of their execution.
    pub notes: Vec<Note>,
    /// The two tables as the catalog describes them.
    pub layout: Option<Layout>,
    /// Whether agent-sync is installed in a version that this program supports, and the role has
    /// the privileges.
    pub installed: bool,
    /// Whether the role of the session is a monitoring role, which only reads.
    pub reads_only: bool,
    /// The pause that is in force.
    pub pause: Option<Pause>,
    /// The sessions of daemons, the leader first.
    pub daemons: Vec<Daemon>,
    /// The outbox.
    pub outbox: Option<Outbox>,
    /// The time of the last write and its age in seconds, from the history or the daemon's last
    /// sweep. `observe::State::last_sync` is the time of the last batch.
    pub last_sync: Option<(String, f64)>,
    /// The last complete audit.
    pub audit: Option<Audit>,
    /// The number of agents.
    pub agents: Option<Counted>,
    /// Whether changes may have been missed, so the number of agents in sync is unknown.
    pub unsure: bool,
    /// The problems, grouped by kind and SQLSTATE.
    pub problems: Option<Vec<Group>>,
    /// That row-level security may hide agents from this role, and configurations: those that are
    /// not found may exist.
    pub hidden: (Option<Note>, Option<Note>),
}

/// The session of a daemon.
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a column of the query"
)]
#[derive(Debug, Clone, Serialize)]
pub struct Daemon {
    /// The id of its server process.
    pub pid: i32,
    /// The client address; `None` for a Unix socket, and if the server hides it from this role.
    pub host: Option<String>,
    /// Its role.
    pub user: Option<String>,
    /// The application name: program, version, and the database's name in the settings.
    pub program: String,
    /// The start of the connection.
    pub connected_since: Option<String>,
    /// For how long, in seconds.
    pub connected_seconds: Option<f64>,
    /// Whether it leads; if not, it stands by.
    pub leads: bool,
    /// Whether it sleeps until a save wakes it.
    pub sleeps: bool,
    /// Whether it holds the leader lock without being a daemon: its role may not process changes,
    /// or its application name is another one.
    #[serde(skip)]
    is_intruder: bool,
    /// How long its session has been idle, in seconds; `None` if the server hides it.
    #[serde(skip)]
    quiet_seconds: Option<f64>,
    /// Whether its last statement is none of a daemon; false if the server hides it.
    #[serde(skip)]
    is_others: bool,
    #[serde(skip)]
    knows_host: bool,
}

impl Daemon {
    /// The client address, `local` for a Unix socket, or `?`.
    pub fn place(&self) -> String {
        match &self.host {
            Some(host) => host.clone(),
            None if self.knows_host => "local".to_owned(),
            None => "?".to_owned(),
        }
    }
}

/// The pending rows of the outbox.
#[derive(Debug, Clone, Serialize)]
pub struct Outbox {
    /// Rows, counted up to a limit.
    pub rows: i64,
    /// The agents of these rows.
    pub slugs: i64,
    /// Whether the outbox has more rows than were counted.
    pub more: bool,
    /// The time of the oldest row.
    pub oldest: Option<String>,
    /// For how long, in seconds.
    pub oldest_seconds: Option<f64>,
}

/// The last comparison of every agent by the daemon that leads.
#[derive(Debug, Clone, Serialize)]
pub struct Audit {
    /// The time of its end.
    pub at: String,
    /// How long ago that was, in seconds.
    pub seconds: f64,
    /// The numbers.
    #[serde(flatten)]
    pub counts: Counts,
}

/// A number that may be an estimate.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Counted {
    /// The number.
    pub number: i64,
    /// Whether the rows were counted.
    pub exact: bool,
}

/// Agents with the same problem.
#[derive(Debug, Clone, Serialize)]
pub struct Group {
    /// The kind, as `agent_sync.problem` has it.
    pub kind: String,
    /// The SQLSTATE of failed writes.
    pub sqlstate: Option<String>,
    /// The number of agents.
    pub agents: i64,
    /// Whether there may be more problems, of this group or another, than were counted.
    pub more: bool,
    /// Up to three of their slugs; where tenants are set, as `tenant/slug`.
    pub some: Vec<String>,
    /// The time since which the oldest of them has the problem.
    pub since: Option<String>,
    /// For how long, in seconds.
    pub seconds: Option<f64>,
    /// The latest reason.
    pub detail: String,
}

impl Look {
    /// The leader.
    pub fn leader(&self) -> Option<&Daemon> {
        self.daemons.iter().find(|daemon| daemon.leads)
    }

    /// The state of the database. Without a leader, an overdue change is no further fault.
    pub fn condition(&self) -> Condition {
        let leader = self.leader();
        let is_broken = self.notes.iter().any(|note| {
            let is_overdue = note.topic == "outbox" && self.outbox.is_some() && leader.is_none();
            note.level == Level::Fail && !is_overdue
        });
        let waits = self.outbox.as_ref().is_some_and(|outbox| outbox.rows > 0);
        match leader {
            _ if is_broken => Condition::Broken,
            None if self.pause.is_some() => Condition::Paused,
            None => Condition::NoDaemon,
            Some(_) if self.unsure || waits => Condition::Busy,
            Some(_) => Condition::Ok,
        }
    }

    /// The sessions of daemons that stand by.
    pub fn standbys(&self) -> impl Iterator<Item = &Daemon> {
        self.daemons.iter().filter(|daemon| !daemon.leads)
    }

    /// The remedy while no daemon leads.
    pub fn remedy_without_leader(&self) -> String {
        problem::without_leader(self.pause.is_some())
    }

    /// The number of agents with a problem of this kind.
    pub fn with_problem(&self, kind: &str) -> Option<i64> {
        let groups = self
            .problems
            .as_ref()?
            .iter()
            .filter(|group| group.kind == kind);
        Some(groups.fold(0, |sum, group| sum.saturating_add(group.agents)))
    }

    /// Whether the number of agents is an estimate.
    pub fn is_estimate(&self) -> bool {
        self.agents.is_some_and(|agents| !agents.exact)
    }

    /// Whether a lock on a table keeps the daemon from writing.
    pub fn is_locked(&self) -> bool {
        let locks = self.notes.iter().find(|note| note.topic == "locks");
        locks.is_some_and(|note| note.level > Level::Pass)
    }

    /// The warnings and faults, the worst first.
    pub fn trouble(&self) -> Vec<&Note> {
        let mut trouble: Vec<_> = self
            .notes
            .iter()
            .filter(|note| note.level > Level::Pass)
            .collect();
        trouble.sort_by_key(|note| std::cmp::Reverse(note.level));
        trouble
    }
}

/// Reads the state of a database. Without rules, the check of the mapping is left out, and without
/// the permission what needs rows of the two tables.
pub async fn look(
    db: &Db,
    database: &Database,
    settings: &Settings,
    rules: Option<&Rules>,
    may_read: Option<MayRead>,
) -> Look {
    let asking = Asking {
        db,
        database,
        settings,
        rules,
        may_read,
        look: Look::default(),
    };
    let mut look = asking.all().await;
    let localized = look
        .notes
        .into_iter()
        .map(|note| note.localized(db.schema()));
    look.notes = localized.collect();
    look
}
