//! The error of a query.

use std::time::Duration;

use tokio_postgres::error::SqlState;

use super::{Db, sqlstate};

/// Why a query failed.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The server refused, or the connection is gone.
    #[error("{}", sqlstate::describe(.0))]
    // Not a source: a chain of causes would show the text of the server, which can quote values of
    // rows (S13).
    Postgres(tokio_postgres::Error),
    /// The server did not answer in time.
    #[error("the server did not answer within {0:?}")]
    Silent(Duration),
    /// A row is larger than any that a query of the daemon asks for.
    #[error("expected a row of at most {most} bytes, found {0}", most = Db::ROW)]
    Large(usize),
    /// The answer has more rows, or rows of more slugs, than were asked for, which is this number.
    #[error("expected at most {0} rows or slugs in an answer, and the server sent more")]
    Surplus(usize),
    /// A standby has answered in place of the primary.
    #[error(
        "expected every answer from the primary, and a standby gave one: what stands in between \
        sends statements that only read to another server"
    )]
    Split,
}

/// The remedy where statements go to several servers.
const SPLIT: &str = "Give the address of the primary itself, or exclude this database or role from \
    the balancing of reads; in pgpool-II: database_redirect_preference_list = 'DATABASE:primary'.";

impl From<tokio_postgres::Error> for QueryError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Postgres(error)
    }
}

impl QueryError {
    /// The remedy.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Postgres(error) => sqlstate::policy(error).remedy,
            Self::Silent(_) => sqlstate::SILENT,
            Self::Large(_) | Self::Surplus(_) => sqlstate::REACH,
            Self::Split => SPLIT,
        }
    }

    /// Whether the role lacks a privilege.
    pub fn is_unprivileged(&self) -> bool {
        matches!(self, Self::Postgres(error)
            if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE))
    }

    /// Whether it may concern the values of single rows.
    pub fn is_of_a_row(&self) -> bool {
        matches!(self, Self::Postgres(error) if sqlstate::is_of_a_row(error))
    }

    /// The class of the error, if the server has answered with one.
    pub fn class(&self) -> Option<sqlstate::Class> {
        match self {
            Self::Postgres(error) if error.as_db_error().is_some() => {
                Some(sqlstate::policy(error).class)
            }
            _ => None,
        }
    }
}
