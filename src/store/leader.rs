//! The leader of a database.

use std::time::Duration;

use super::{Store, queries};
use crate::observe::state::DaemonSession;
use crate::pg::{QueryError, Seconds, told};

/// The holder of the leader lock, and whether it applies changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leader {
    /// The process on the server; none if no session holds the lock.
    pub pid: Option<i32>,
    /// Its role, as far as the server tells.
    pub role: Option<String>,
    /// Whether that role has the privileges of a daemon.
    pub is_able: bool,
    /// Whether its session has the application name of a daemon, which every daemon sets.
    pub is_named: bool,
    /// That name.
    pub program: Option<String>,
    /// The host of its client; none for a Unix socket, or if that is hidden from this role.
    pub host: Option<String>,
    /// Whether its last statement is none of a daemon; false if that is hidden from this role.
    pub is_others: bool,
    /// The prepared transaction that holds the lock, and its role: no daemon prepares one.
    pub prepared: Option<(String, String)>,
    /// For how long the oldest change has been waiting.
    pub oldest: Option<Duration>,
    /// The idle time of its session; none if that is hidden from this role.
    pub quiet: Option<Duration>,
    /// How many changes have been taken so far.
    pub taken: i64,
}

impl Leader {
    /// Its session, if it is that of a daemon.
    pub fn session(&self) -> Option<DaemonSession> {
        let pid = self.pid.filter(|_| self.is_able && self.is_named)?;
        Some(DaemonSession {
            pid,
            host: self.host.as_deref().map(Into::into),
            program: self.program.as_deref().unwrap_or_default().into(),
        })
    }

    /// The remedy for a session that holds the leader lock and is no daemon. It may have inherited
    /// the lock.
    pub fn remedy_for_inherited_lock(pid: i32) -> String {
        format!(
            "SELECT pg_terminate_backend({pid}); and keep its role out of this database, or, where \
            a pooler gave it the session of a daemon, set server_reset_query = DISCARD ALL in the \
            pooler."
        )
    }
}

impl Store {
    /// The leader, and whether it works.
    pub async fn leader(&self) -> Result<Leader, QueryError> {
        let row = self.db.one(&queries::leader(), &[]).await?;
        let age = |seconds: Option<Seconds>| seconds.map(|Seconds(time)| time);
        let gid: Option<String> = told(&row, "gid")?;
        let owner: Option<String> = told(&row, "owner")?;
        Ok(Leader {
            pid: row.try_get("pid")?,
            role: told(&row, "role")?,
            is_able: row.try_get("is_able")?,
            is_named: row.try_get("is_named")?,
            program: told(&row, "program")?,
            host: told(&row, "host")?,
            is_others: row.try_get("is_others")?,
            oldest: age(row.try_get("seconds")?),
            quiet: age(row.try_get("quiet")?),
            taken: row.try_get("taken")?,
            prepared: gid.map(|gid| (gid, owner.unwrap_or_else(|| "?".to_owned()))),
        })
    }
}
