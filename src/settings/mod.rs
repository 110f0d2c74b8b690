//! The settings: from every source to one set of typed, valid values, or to every reason why not
//! (I3).
//!
//! Sources, the later the stronger: built-in defaults; what the connection string says about itself
//! (`sslmode`); the settings file; `databases.d/*.toml` beside it; the environment. `schema` lists
//! every key, and `layer` checks what a source says against it; `bases` says where relative paths
//! lead; `merged` puts the sources over one another; `connection` and `dsn` take connection strings
//! apart; `load` is the order of it all; `secrets` reads the files of secrets again before each
//! connection. The types of this module and of `database` are what the rest of the program sees.
//!
//! Invariants: a [`Settings`] is valid as a whole, and loading it opens no connection. Secrets are
//! never printed: not by `Debug`, not in a [`Problem`], not by `agent-sync config`.

mod bases;
pub(crate) mod bounded;
mod connection;
mod database;
#[cfg(test)]
mod documented;
mod dsn;
mod duration;
mod entries;
mod env;
mod exposed;
mod file;
mod kind;
mod layer;
mod load;
mod merged;
mod problem;
mod reference;
mod schema;
mod secrets;
mod suggest;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

use self::problem::shown;

pub use database::{
    AgentsColumns, AgentsTable, ConfigurationsColumns, ConfigurationsTable, Database, Tls,
};
pub(crate) use dsn::is_local;
pub use entries::Entry;
pub use exposed::Exposed;
pub use load::{Loaded, Sources};
pub(crate) use problem::WITHHELD;
pub use problem::{Problem, SettingsError, is_withheld};
pub use reference::reference;

/// Everything that can be set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `[log]`
    pub log: Log,
    /// `[rules]`
    pub rules: Rules,
    /// `[capture]`
    pub capture: Capture,
    /// `[sync]`
    pub sync: Sync,
    /// `[announce]`
    pub announce: Announce,
    /// `[history]`
    pub history: History,
    /// `[reconcile]`
    pub reconcile: Reconcile,
    /// `[reconnect]`
    pub reconnect: Reconnect,
    /// `[shutdown]`
    pub shutdown: Shutdown,
    /// `[admin]`
    pub admin: Admin,
    /// `[databases.NAME]`; may be empty, see [`Settings::select`].
    pub databases: BTreeMap<String, Database>,
}

/// How the program logs.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// The form of a line.
    pub format: LogFormat,
    /// A directive of `tracing_subscriber::EnvFilter`: a level, or a list of `target=level`.
    pub level: String,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// `Pretty` on a terminal and in systemd's journal, `Json` elsewhere.
    Auto,
    /// For people.
    Pretty,
    /// For machines.
    Json,
}

/// Where the rules of the mapping come from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    /// The file; nothing for the rules built into the program.
    pub file: Option<PathBuf>,
}

/// What the triggers do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Capture {
    /// They wake the daemon with NOTIFY; otherwise it polls.
    pub notify: bool,
    /// They watch the configurations too (C2).
    pub configurations: bool,
}

/// How changes are applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sync {
    /// How many agents one transaction takes at most.
    pub batch_size: u32,
    /// How often everything is looked at without being woken.
    #[serde(deserialize_with = "duration::deserialize")]
    pub sweep_interval: Duration,
    /// How often the outbox is looked at when nothing wakes the daemon (`capture.notify` is false).
    #[serde(deserialize_with = "duration::deserialize")]
    pub poll_interval: Duration,
    /// How often a connection on which nothing happens is probed.
    #[serde(deserialize_with = "duration::deserialize")]
    pub probe_interval: Duration,
    /// How long the answer to a probe may take.
    #[serde(deserialize_with = "duration::deserialize")]
    pub probe_timeout: Duration,
    /// How long to wait for a locked row; shorter than `statement_timeout`.
    #[serde(deserialize_with = "duration::deserialize")]
    pub lock_timeout: Duration,
    /// How long one statement may take.
    #[serde(deserialize_with = "duration::deserialize")]
    pub statement_timeout: Duration,
}

/// Whom to tell of changed configurations.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Announce {
    /// The channel to NOTIFY with the slugs; nothing for nobody.
    pub channel: Option<String>,
}

/// What is kept of what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct History {
    /// Whether anything is.
    pub enabled: bool,
    /// How long.
    #[serde(deserialize_with = "duration::deserialize")]
    pub keep: Duration,
    /// How many rows.
    pub max_rows: u32,
}

/// What `agent-sync reconcile` does without asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reconcile {
    /// How many configurations it touches unasked.
    pub confirm_above: u32,
}

/// How a lost connection is sought again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reconnect {
    /// The wait before the first attempt; not longer than `max_delay`.
    #[serde(deserialize_with = "duration::deserialize")]
    pub initial_delay: Duration,
    /// The longest wait.
    #[serde(deserialize_with = "duration::deserialize")]
    pub max_delay: Duration,
}

/// How the daemon stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shutdown {
    /// How long a running batch may take to finish.
    #[serde(deserialize_with = "duration::deserialize")]
    pub grace_period: Duration,
}

/// Where the daemon says over HTTP how it is doing (I8).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Admin {
    /// The address and port; nothing for nowhere.
    #[serde(deserialize_with = "listen")]
    pub listen: Option<SocketAddr>,
    /// The Unix socket.
    pub socket: PathBuf,
}

/// Reads an address out of a value that the schema has already accepted.
fn listen<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text == kind::OFF {
        return Ok(None);
    }
    text.parse()
        .map(Some)
        .map_err(|_| de::Error::custom("not an address and a port"))
}

impl Settings {
    /// Loads the settings of this process: `config` is what `--config` says.
    pub fn load(config: Option<&Path>) -> Result<Loaded, SettingsError> {
        load::load(&Sources::of_process(config))
    }

    /// Loads settings from sources of one's own.
    pub fn load_from(sources: &Sources) -> Result<Loaded, SettingsError> {
        load::load(sources)
    }

    /// The databases of these names, in the order of the settings, or all databases if no name is
    /// given. A command that needs a database refuses settings without one; the settings themselves
    /// are valid.
    pub fn select(&self, names: &[String]) -> Result<Vec<&Database>, SelectError> {
        if self.databases.is_empty() {
            return Err(SelectError::NoDatabase);
        }
        let is_unknown = |name: &&String| !self.databases.contains_key(*name);
        let unknown: Vec<_> = names.iter().filter(is_unknown).cloned().collect();
        if !unknown.is_empty() {
            let known = self.databases.keys().cloned().collect();
            return Err(SelectError::Unknown { unknown, known });
        }
        let wanted = |database: &&Database| names.is_empty() || names.contains(&database.name);
        Ok(self.databases.values().filter(wanted).collect())
    }
}

/// Why a selection of databases fails.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    /// The settings name no database.
    #[error("no database is configured")]
    NoDatabase,
    /// The settings have no database of these names.
    #[error("no database is configured under the name {}", quoted(unknown))]
    Unknown {
        /// The names without a database.
        unknown: Vec<String>,
        /// The names of the databases in the settings.
        known: Vec<String>,
    },
}

impl SelectError {
    /// What the operator can do.
    pub fn remedy(&self) -> String {
        match self {
            Self::NoDatabase => "add a table `[databases.NAME]` with a url to the settings file, \
                or set DATABASE_URL"
                .to_owned(),
            Self::Unknown { known, .. } => format!("name one of: {}", known.join(", ")),
        }
    }
}

/// A list of names as an error may quote it.
fn quoted(names: &[String]) -> String {
    let names: Vec<_> = names.iter().map(|name| shown(name)).collect();
    names.join(", ")
}
