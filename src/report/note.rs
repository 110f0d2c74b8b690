//! One thing that was looked at: as it should be, worth a look, or broken; and what to do.

use serde::Serialize;

use crate::pg::QueryError;
use crate::pg::sqlstate::{self, Class};
use crate::session::SessionError;
use crate::store::{Finding, LayoutError};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// It is as it should be.
    Pass,
    /// It works, and somebody should know.
    Warn,
    /// Something is not done, or not noticed, on account of it.
    Fail,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Note {
    /// What was looked at, in a word.
    pub topic: &'static str,
    /// How bad it is.
    pub level: Level,
    /// What was found, in a sentence.
    pub text: String,
    /// What the operator can do.
    pub remedy: Option<String>,
}

impl Note {
    /// It is as it should be.
    pub fn pass(topic: &'static str, text: impl Into<String>) -> Self {
        Self {
            topic,
            level: Level::Pass,
            text: text.into(),
            remedy: None,
        }
    }

    /// Somebody should know.
    pub fn warn(topic: &'static str, text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            topic,
            level: Level::Warn,
            text: text.into(),
            remedy: Some(remedy.into()),
        }
    }

    /// It is broken.
    pub fn fail(topic: &'static str, text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            topic,
            level: Level::Fail,
            text: text.into(),
            remedy: Some(remedy.into()),
        }
    }

    /// What the daemon finds at its start (G10).
    pub fn finding(finding: &Finding) -> Self {
        let topic = match finding {
            Finding::ServerTooOld { .. } | Finding::Standby | Finding::ReadOnly => "server",
            Finding::NotInstalled
            | Finding::Incomplete { .. }
            | Finding::NoRecord
            | Finding::OtherTables { .. }
            | Finding::Lacks { .. }
            | Finding::OtherVersion { .. } => "install",
            Finding::Unprivileged { .. } => "privileges",
            Finding::OwnRowsHidden { .. } | Finding::RowsMayBeHidden { .. } => "row security",
            Finding::NotUnique { .. } => "key",
            Finding::NoNumber { .. }
            | Finding::NoTime { .. }
            | Finding::CutsOff { .. }
            | Finding::Generated { .. }
            | Finding::Unlogged { .. }
            | Finding::HasRule { .. } => "tables",
            Finding::Unpublishable { .. } | Finding::PublishedInPart { .. } => "publication",
            Finding::QueueFull { .. } => "notifications",
            Finding::Scans { .. } | Finding::CollationChanged { .. } => "index",
            Finding::PreparedTransactions { .. } | Finding::OtherNotify { .. } => "two-phase",
            Finding::HistoryWithoutCause => "history",
            Finding::Superuser { .. } => "role",
            Finding::LendsRights { .. }
            | Finding::ForeignType { .. }
            | Finding::Untrusted { .. } => "owners",
        };
        let level = if finding.is_fatal()
            || finding.misses_changes()
            || matches!(finding, Finding::QueueFull { .. })
        {
            Level::Fail
        } else {
            Level::Warn
        };
        Self {
            topic,
            level,
            text: finding.to_string(),
            remedy: Some(finding.remedy().into_owned()),
        }
    }

    /// There is no connection.
    pub fn unreachable(error: &SessionError) -> Self {
        Self::fail("connection", error.to_string(), error.remedy())
    }

    /// The tables are not as the settings say.
    pub fn no_layout(error: &LayoutError) -> Self {
        Self::fail("tables", error.to_string(), error.remedy())
    }

    /// A question about this topic was not answered.
    pub fn unanswered(topic: &'static str, error: &QueryError) -> Self {
        Self::fail(topic, format!("this is unknown: {error}"), error.remedy())
    }
}

/// Whether there is no use in asking anything else over this connection.
pub(super) fn is_over(error: &QueryError) -> bool {
    match error {
        QueryError::Silent(_) => true,
        QueryError::Postgres(cause) => {
            cause.is_closed() || sqlstate::policy(cause).class == Class::Connection
        }
    }
}
