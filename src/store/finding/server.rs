//! Findings about the server.

use super::Consequence;

/// A session that PostgreSQL does not tell of.
const NOT_SHOWN: &str = "one that this role is not shown";

/// A fault or a warning about the server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Server {
    /// The server is older than version 14: its version.
    #[error("agent-sync needs PostgreSQL 14 or later, and this server is {0}")]
    TooOld(String),
    /// The server is a standby.
    #[error("this server is a standby, so nothing can be written")]
    Standby,
    /// Transactions are read-only by default.
    #[error("this server is read-only, so nothing can be written")]
    ReadOnly,
    /// So much of the queue of notifications is taken that the capture does not notify.
    #[error(
        "the queue of notifications is {percent} % full, so saves do not wake the daemon, which \
        wakes every sync.poll_interval; a session that listens and never reads holds it up, \
        probably {}",
        .holder.as_deref().unwrap_or(NOT_SHOWN)
    )]
    QueueFull {
        /// How much, in percent.
        percent: i32,
        /// The session that has been in a transaction for longest, which is likely to hold it up.
        holder: Option<String>,
    },
    /// This number of transactions can be prepared, and the capture notifies (G3).
    #[error(
        "max_prepared_transactions is {0}, and PostgreSQL refuses to prepare a transaction that \
        notifies"
    )]
    PreparedTransactions(i32),
    /// The backend had state of an earlier session.
    #[error(
        "the connection began with settings, locks or LISTEN that an earlier one of agent-sync had \
        left, so a pooler passes them on to its other clients as well"
    )]
    UsedBackend,
}

impl Server {
    pub(super) fn consequence(&self) -> Consequence {
        match self {
            Self::TooOld(_) | Self::Standby | Self::ReadOnly => Consequence::Stops,
            Self::QueueFull { .. } | Self::PreparedTransactions(_) | Self::UsedBackend => {
                Consequence::Caution
            }
        }
    }

    pub(super) fn remedy(&self) -> &'static str {
        match self {
            Self::TooOld(_) => "Upgrade the server to PostgreSQL 14 or later.",
            Self::Standby => {
                "Give the address of the primary; when this server is promoted, it is used."
            }
            Self::ReadOnly => {
                "Give the address of the primary, or see why default_transaction_read_only is on \
                for this server, database or role."
            }
            Self::QueueFull { .. } => {
                "End the session that listens and stays in a transaction: SELECT * FROM \
                pg_stat_activity ORDER BY xact_start; then SELECT pg_terminate_backend(pid)."
            }
            Self::PreparedTransactions(_) => {
                "Set capture.notify = false if transactions that save agents are prepared \
                (two-phase commit)."
            }
            Self::UsedBackend => {
                "Set server_reset_query = DISCARD ALL in the pooler, which is the default of \
                PgBouncer, and of use in session mode only. This connection has cleaned its own \
                session."
            }
        }
    }
}
