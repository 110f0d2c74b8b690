//! Findings about the schema `agent_sync`.

use super::Consequence;

/// A fault or a warning about the install.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Install {
    /// There is no schema `agent_sync`, or nothing in it.
    #[error("agent-sync is not installed in this database")]
    NotInstalled,
    /// Parts of the install are gone: which, as `schema.name`.
    #[error("parts of the install are gone: {}", .0.join(", "))]
    Incomplete(Vec<String>),
    /// Parts of the install are gone that only the commands need: which, as `schema.name`.
    #[error("the install lacks {}; the commands need them, the daemon does not", .0.join(", "))]
    Lacks(Vec<String>),
    /// The install has another version than this program.
    #[error(
        "the installed schema has version {found}, and this program works with version {expected}"
    )]
    OtherVersion {
        /// The installed version.
        found: i32,
        /// The version of this program.
        expected: i32,
    },
    /// The table of the install is there and has no row.
    #[error(
        "the install has no record of itself, as after a copy of the schema alone or a TRUNCATE of \
        agent_sync.install"
    )]
    NoRecord,
    /// The install was made for other tables than the settings name.
    #[error(
        "the install is for the tables {} and {}, and the settings name {} and {}",
        .installed.0, .installed.1, .expected.0, .expected.1
    )]
    OtherTables {
        /// The agents and the configurations of the install.
        installed: (String, String),
        /// Those of the settings.
        expected: (String, String),
    },
    /// The install was made for other tenants than the settings name.
    #[error("the install is for {installed}, and the settings name {expected}")]
    OtherTenants {
        /// The columns of the install, or that there are none.
        installed: String,
        /// Those of the settings.
        expected: String,
    },
    /// Another install serves the same table of configurations.
    #[error("the install in the schema \"{schema}\" serves {table} as well")]
    Rival {
        /// The schema of the other install.
        schema: String,
        /// The table, or a partition or parent of it.
        table: String,
    },
    /// Another install has the same advisory locks.
    #[error("the install in the schema \"{0}\" uses the same advisory locks as this install")]
    SharedLocks(String),
    /// The capture was installed with this `capture.notify`, and the settings have another.
    #[error("capture.notify is {}, and the install was made with {}", !.0, .0)]
    OtherNotify(bool),
    /// A history is wanted, and the outbox was installed without the cause of each change.
    #[error(
        "history.enabled is true, and the install was made without it, so the history does not \
        show the cause of a write"
    )]
    HistoryWithoutCause,
}

impl Install {
    pub(super) fn consequence(&self) -> Consequence {
        match self {
            Self::NotInstalled
            | Self::Incomplete(_)
            | Self::NoRecord
            | Self::OtherTables { .. }
            | Self::OtherTenants { .. }
            | Self::Rival { .. }
            | Self::SharedLocks(_) => Consequence::StopsAndMisses,
            Self::OtherVersion { .. } => Consequence::Stops,
            Self::Lacks(_) | Self::OtherNotify(_) | Self::HistoryWithoutCause => {
                Consequence::Caution
            }
        }
    }

    pub(super) fn remedy(&self) -> &'static str {
        match self {
            Self::NotInstalled
            | Self::Incomplete(_)
            | Self::NoRecord
            | Self::OtherNotify(_)
            | Self::HistoryWithoutCause
            | Self::Lacks(_) => "Run `agent-sync install` for this database.",
            Self::OtherVersion { found, expected } if found > expected => {
                "Run the version of agent-sync that installed it, or a later one."
            }
            Self::OtherVersion { .. } => {
                "Run `agent-sync install` of this program's version for this database."
            }
            Self::OtherTenants { .. } => {
                "Run `agent-sync install` with the settings of the daemon, or, if it was run with \
                new settings, have the daemon read them (`systemctl reload agent-sync`, or \
                SIGHUP). What is saved meanwhile is noted, and every agent is checked."
            }
            Self::Rival { .. } => {
                "One install serves a table of configurations, and nothing is written meanwhile. \
                Run `agent-sync uninstall` with the settings of the install that is not wanted; \
                then `agent-sync install` with those of the other one."
            }
            Self::SharedLocks(_) => {
                "Run `agent-sync uninstall` with the settings of one of the two, then `agent-sync \
                install` with another install.schema."
            }
            Self::OtherTables { .. } => {
                "Name the tables of the install in the settings of this database (agents, \
                configurations). A further pair of tables needs an install.schema of its own. If \
                the tables were renamed, or the install is to serve those of \
                the settings from now on, run `agent-sync install`; where the first tables are \
                still served, it refuses and gives the remedy."
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_install_is_not_answered_by_installing_an_older_one() {
        let remedy = |found| Install::OtherVersion { found, expected: 2 }.remedy();
        assert!(remedy(1).contains("agent-sync install"));
        assert!(remedy(3).contains("or a later one"));
    }
}
