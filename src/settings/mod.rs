//! The settings: from every source to one set of typed, valid values, or to every reason why not
//! (I3).
//!
//! Sources, the later over the earlier: built-in defaults; the parameters of the connection string,
//! such as `sslmode`, and what it lacks from the sources of libpq; the settings file;
//! `databases.d/*.toml` beside it; the environment.
//!
//! - `sections` declares every setting once: type, value type, default and documentation; `columns`
//!   declares the names of the columns, and `words` the types of settings that take one word.
//! - `schema` finds keys by their path; `value_type` checks values; `suggest` finds similar keys.
//! - `file` and `env` read a source into a layer of `layers`; `paths` resolves its relative paths.
//! - `connection` and `dsn` read connection strings; `libpq` reads the `PG*` variables, the service
//!   file and the password file; `secrets` reads files with secrets again;
//!   `identity` reads the certificate of the client and its key.
//! - `load` runs these steps in order; `effective` lists the values in force.
//!
//! Invariants: a [`Settings`] is valid as a whole, and loading it opens no connection. Nothing
//! prints a secret: not `Debug`, not a [`Mistake`], not `agent-sync config`.

pub(crate) mod bounded;
mod channel;
mod columns;
mod connection;
mod database;
mod dsn;
mod duration;
mod effective;
mod env;
mod exposed;
mod file;
pub(crate) mod identity;
mod install_schema;
mod layers;
mod libpq;
mod load;
mod mistake;
mod paths;
pub mod schema;
mod secrets;
mod sections;
mod shared;
mod suggest;
mod value_type;
mod words;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

pub use columns::{AgentsColumns, ConfigurationsColumns};
pub use connection::UNNAMED;
pub(crate) use dsn::{is_local, is_local_by_name};
pub use duration::argument as duration_argument;
pub use effective::Entry;
pub use exposed::Exposed;
pub(crate) use file::drop_in_directory;
pub use identity::IdentityError;
pub use install_schema::InstallSchema;
pub use load::{Loaded, Sources};
pub use mistake::{Mistake, OfFile, SettingsError, is_withheld};
pub(crate) use mistake::{WITHHELD, shown};
pub use sections::{
    Admin, AgentsTable, Announce, Audit, Capture, ConfigurationsTable, Database, History,
    InstallSettings, Libpq, Log, Reconcile, Reconnect, Reload, Rules, Shutdown, SyncSettings,
};
pub use shared::{ONE_INSTALL, Shared};
pub use value_type::ValueType;
pub use words::{LogFormat, Repair, Tls};

/// Everything that can be set.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// `[log]`
    pub log: Log,
    /// `[rules]`
    #[serde(default)]
    pub rules: Rules,
    /// `[capture]`
    pub capture: Capture,
    /// `[sync]`
    pub sync: SyncSettings,
    /// `[audit]`
    pub audit: Audit,
    /// `[announce]`
    #[serde(default)]
    pub announce: Announce,
    /// `[history]`
    pub history: History,
    /// `[reconcile]`
    pub reconcile: Reconcile,
    /// `[reconnect]`
    pub reconnect: Reconnect,
    /// `[shutdown]`
    pub shutdown: Shutdown,
    /// `[reload]`
    pub reload: Reload,
    /// `[admin]`
    pub admin: Admin,
    /// `[libpq]`
    pub libpq: Libpq,
    /// `[databases.NAME]`; may be empty, see [`Settings::select`].
    #[serde(skip)]
    pub databases: BTreeMap<String, Database>,
    /// The settings file, whether it exists or not; none if none was looked for.
    #[serde(skip)]
    pub file: Option<PathBuf>,
}

impl Settings {
    /// Loads the settings of this process: `config` is what `--config` says.
    pub fn load(config: Option<&Path>) -> Result<Loaded, SettingsError> {
        load::load(&Sources::of_process(config))
    }

    /// Loads settings from other sources.
    pub fn load_from(sources: &Sources) -> Result<Loaded, SettingsError> {
        load::load(sources)
    }

    /// The databases of these names, in the order of the settings, or all databases if no name is
    /// given. A command that needs a database refuses settings without one; the settings themselves
    /// are valid.
    pub fn select(&self, names: &[String]) -> Result<Vec<&Database>, SelectError> {
        if self.databases.is_empty() {
            let found = self.file.as_deref().map_or_else(String::new, looked_in);
            return Err(SelectError::NoDatabase { found });
        }
        let is_unknown = |name: &&String| !self.databases.contains_key(*name);
        let unknown: Vec<_> = names
            .iter()
            .filter(is_unknown)
            .map(|name| shown(name))
            .collect();
        if !unknown.is_empty() {
            let unknown = unknown.join(", ");
            let known: Vec<_> = self.databases.keys().map(String::as_str).collect();
            let known = known.join(", ");
            return Err(SelectError::Unknown { unknown, known });
        }
        let wanted = |database: &&Database| names.is_empty() || names.contains(&database.name);
        Ok(self.databases.values().filter(wanted).collect())
    }
}

/// The part of the message that names the settings file.
fn looked_in(file: &Path) -> String {
    let outcome = if file.exists() { "" } else { " (not found)" };
    format!(
        ": neither in {}{outcome}, nor in the environment",
        file.display()
    )
}

/// Why a selection of databases fails.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    /// The settings name no database.
    #[error("no database is configured{found}")]
    NoDatabase {
        /// The settings file that was looked for.
        found: String,
    },
    /// The settings have no database of these names.
    #[error("no database is configured under the name {unknown}")]
    Unknown {
        /// The names without a database, as an error may quote them.
        unknown: String,
        /// The names of the databases in the settings.
        known: String,
    },
}

impl SelectError {
    /// The remedy.
    pub fn remedy(&self) -> String {
        match self {
            Self::NoDatabase { .. } => "add a table `[databases.NAME]` with a url to the settings \
                file, such as url = \"postgres://USER@HOST:5432/DATABASE\"; or set DATABASE_URL to \
                such a URL, or PGHOST"
                .to_owned(),
            Self::Unknown { known, .. } => format!("name one of: {known}"),
        }
    }
}
