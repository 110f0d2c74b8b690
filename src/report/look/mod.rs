//! A look at one database: what the daemon looks for at its start, who leads, what waits, and what
//! is not in sync.
//!
//! Authority: SQL alone. Every question stands for itself, so what cannot be found out is told as
//! such, and the rest all the same. Nothing is changed.

mod asking;
mod words;

use serde::Serialize;

use self::asking::Asking;
use super::note::{Level, Note};
use crate::mapping::Rules;
use crate::pg::Db;
use crate::settings::{Database, Settings};
use crate::store::Layout;

/// What was found.
#[derive(Debug, Default)]
pub struct Look {
    /// Everything that was looked at, in order.
    pub notes: Vec<Note>,
    /// The tables.
    pub layout: Option<Layout>,
    /// Whether agent-sync is installed, in a version that this program works with, and open to the
    /// role.
    pub installed: bool,
    /// The sessions of daemons, the leader first.
    pub daemons: Vec<Daemon>,
    /// What waits.
    pub outbox: Option<Outbox>,
    /// When something was last written, and how many seconds ago, as the history or the daemon's
    /// last sweep has noted it.
    pub last_sync: Option<(String, f64)>,
    /// How many agents there are.
    pub agents: Option<Counted>,
    /// Whether changes may have been missed, so that nobody knows how many agents are in sync.
    pub unsure: bool,
    /// The problems that are noted, by kind and SQLSTATE.
    pub problems: Option<Vec<Group>>,
}

/// The session of a daemon.
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a column of the query"
)]
#[derive(Debug, Clone, Serialize)]
pub struct Daemon {
    /// The process on the server.
    pub pid: i32,
    /// Where it is; nothing for a Unix socket, and where the server does not tell.
    pub host: Option<String>,
    /// Its role.
    pub user: Option<String>,
    /// Its program and version, and the name that its settings give the database.
    pub program: String,
    /// Since when it has been connected.
    pub connected_since: Option<String>,
    /// For how long, in seconds.
    pub connected_seconds: Option<f64>,
    /// Whether it leads; if not, it stands by.
    pub leads: bool,
    /// Whether it sleeps until a save wakes it.
    pub sleeps: bool,
    /// Whether it holds the leader's lock and cannot be a daemon, for its role may not take
    /// changes.
    #[serde(skip)]
    is_intruder: bool,
    /// For how long its session has done nothing, as far as the server tells.
    #[serde(skip)]
    quiet_seconds: Option<f64>,
    #[serde(skip)]
    told_where: bool,
}

impl Daemon {
    /// Where it is, in a word.
    pub fn place(&self) -> String {
        match &self.host {
            Some(host) => host.clone(),
            None if self.told_where => "local".to_owned(),
            None => "?".to_owned(),
        }
    }
}

/// What waits in the outbox.
#[derive(Debug, Clone, Serialize)]
pub struct Outbox {
    /// Rows, counted up to a limit.
    pub rows: i64,
    /// Slugs among them.
    pub slugs: i64,
    /// Whether there are more.
    pub more: bool,
    /// Since when the oldest of them waits.
    pub oldest: Option<String>,
    /// For how long, in seconds.
    pub oldest_seconds: Option<f64>,
}

/// A number that may be an estimate.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Counted {
    /// The number.
    pub number: i64,
    /// Whether it was counted.
    pub exact: bool,
}

/// Agents with the same problem.
#[derive(Debug, Clone, Serialize)]
pub struct Group {
    /// The kind, as `agent_sync.problem` has it.
    pub kind: String,
    /// Of failed writes.
    pub sqlstate: Option<String>,
    /// How many.
    pub agents: i64,
    /// Three of them.
    pub some: Vec<String>,
    /// Since when.
    pub since: Option<String>,
    /// For how long, in seconds.
    pub seconds: Option<f64>,
    /// The latest reason.
    pub detail: String,
}

impl Look {
    /// The daemon that leads.
    pub fn leader(&self) -> Option<&Daemon> {
        self.daemons.iter().find(|daemon| daemon.leads)
    }

    /// How many agents have a problem of this kind.
    pub fn with_problem(&self, kind: &str) -> Option<i64> {
        let groups = self
            .problems
            .as_ref()?
            .iter()
            .filter(|group| group.kind == kind);
        Some(groups.map(|group| group.agents).sum())
    }

    /// Whether the number of agents is an estimate.
    pub fn is_estimate(&self) -> bool {
        self.agents.is_some_and(|agents| !agents.exact)
    }

    /// What is not as it should be, the worst first.
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

/// Looks; at the mapping only where the rules are known.
pub async fn look(
    db: &Db,
    database: &Database,
    settings: &Settings,
    rules: Option<&Rules>,
) -> Look {
    Asking::new(db, database, settings, rules).all().await
}
