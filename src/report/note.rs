//! The result of one check: passed, a warning or a fault, with a remedy.

use serde::Serialize;

use crate::pg::QueryError;
use crate::pg::sqlstate::{self, Class};
use crate::session::SessionError;
use crate::settings::{Database, InstallSchema};
use crate::show::{TEXT, bounded};
use crate::store::LayoutError;
use crate::store::finding::{Column, Finding, Install, Rights, Server, Table};

/// The most bytes of a remedy, which may have a statement for each of many columns.
const REMEDY: usize = 16 * TEXT;

/// The most statements of a remedy.
const STATEMENTS: usize = 100;

/// The remedy where the role of this session lacks a privilege.
const GRANT: &str = "Run `agent-sync install --role NAME` as the owner of the tables, with the \
    role of this connection as NAME; `--monitor NAME` lets a role read what `status` and \
    `doctor` ask for.";

/// The severity of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// It was not examined.
    Skip,
    /// No fault was found.
    Pass,
    /// It works, and an operator should act.
    Warn,
    /// Changes are not applied or not captured.
    Fail,
}

/// The result of one check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Note {
    /// The subject of the check, in a word.
    pub topic: &'static str,
    /// The severity.
    pub level: Level,
    /// The result, in a sentence.
    pub text: String,
    /// The remedy.
    pub remedy: Option<String>,
    /// The statements of the remedy, for a reader of this check alone: they may be many.
    #[serde(skip)]
    pub statements: Vec<String>,
}

impl Note {
    /// A passed check.
    pub fn pass(topic: &'static str, text: impl Into<String>) -> Self {
        Self {
            topic,
            level: Level::Pass,
            text: bounded(&text.into(), TEXT).into_owned(),
            remedy: None,
            statements: Vec::new(),
        }
    }

    /// A check that was left out, for this reason.
    pub fn skip(topic: &'static str, text: impl Into<String>) -> Self {
        Self {
            level: Level::Skip,
            ..Self::pass(topic, text)
        }
    }

    /// A warning.
    pub fn warn(topic: &'static str, text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            level: Level::Warn,
            remedy: Some(bounded(&remedy.into(), REMEDY).into_owned()),
            ..Self::pass(topic, text)
        }
    }

    /// A fault.
    pub fn fail(topic: &'static str, text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            level: Level::Fail,
            ..Self::warn(topic, text, remedy)
        }
    }

    /// The note in the words of an install in this schema.
    #[must_use]
    pub fn localized(mut self, schema: &InstallSchema) -> Self {
        self.text = schema.localize_message(&self.text).into_owned();
        let remedy = self.remedy.as_deref();
        self.remedy = remedy.map(|remedy| schema.localize_message(remedy).into_owned());
        self
    }

    /// The note for a finding of the daemon's start check or sweep (G10).
    pub fn finding(finding: &Finding) -> Self {
        let fails = finding.is_fatal()
            || finding.misses_changes()
            || matches!(finding, Finding::Server(Server::QueueFull { .. }));
        let note = if fails { Self::fail } else { Self::warn };
        let statements = finding.statements().iter().take(STATEMENTS);
        Self {
            statements: statements
                .map(|statement| bounded(statement, TEXT).into_owned())
                .collect(),
            ..note(topic(finding), finding.to_string(), finding.remedy())
        }
    }

    /// The fault for a failed connection.
    pub fn unreachable(database: &Database, error: &SessionError) -> Self {
        let text = format!("{}: {error}", database.target());
        Self::fail("connection", text, error.remedy()).localized(&database.install.schema)
    }

    /// The fault for tables that do not match the settings.
    pub fn no_layout(error: &LayoutError) -> Self {
        Self::fail("tables", error.to_string(), error.remedy())
    }

    /// The fault for a failed query about this topic.
    pub fn unanswered(topic: &'static str, error: &QueryError) -> Self {
        let remedy = if error.is_unprivileged() {
            GRANT
        } else {
            error.remedy()
        };
        Self::fail(topic, format!("this is unknown: {error}"), remedy)
    }
}

/// The subject of a finding.
fn topic(finding: &Finding) -> &'static str {
    match finding {
        Finding::Server(finding) => match finding {
            Server::TooOld(_) | Server::Standby | Server::ReadOnly => "server",
            Server::QueueFull { .. } => "notifications",
            Server::PreparedTransactions(_) => "two-phase",
            Server::UsedBackend => "connection",
        },
        Finding::Install(finding) => match finding {
            Install::OtherNotify(_) => "two-phase",
            Install::HistoryWithoutCause => "history",
            _ => "install",
        },
        Finding::Rights(finding) => match finding {
            Rights::Unprivileged { .. } | Rights::OthersMayWrite { .. } => "privileges",
            Rights::OwnRowsHidden { .. } | Rights::RowsMayBeHidden { .. } => "row security",
            Rights::Superuser(_) => "role",
            Rights::LendsRights { .. }
            | Rights::ForeignType { .. }
            | Rights::Untrusted(_)
            | Rights::TablesOfStranger(_)
            | Rights::OfOthers { .. } => "owners",
        },
        Finding::Table(finding) => match finding {
            Table::Unlogged(_) | Table::HasRule { .. } => "tables",
            Table::Unpublishable { .. } | Table::PublishedInPart { .. } => "publication",
        },
        Finding::Column(finding) => match finding {
            Column::NotUnique { .. } => "key",
            Column::NoIndex { .. }
            | Column::NoText { .. }
            | Column::Lenient { .. }
            | Column::CollationChanged { .. }
            | Column::IndexMisses { .. } => "index",
            _ => "tables",
        },
    }
}

/// Whether the error ends the connection, so that further queries are useless.
pub(super) fn is_over(error: &QueryError) -> bool {
    match error {
        QueryError::Silent(_)
        | QueryError::Large(_)
        | QueryError::Surplus(_)
        | QueryError::Split => true,
        QueryError::Postgres(cause) => {
            cause.is_closed() || sqlstate::policy(cause).class == Class::Connection
        }
    }
}
