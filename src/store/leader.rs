//! The leader of a database.

use std::time::Duration;

use super::{Store, queries};
use crate::pg::QueryError;

/// The holder of the leader lock, and whether it applies changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leader {
    /// The process on the server; nothing if nobody holds the lock.
    pub pid: Option<i32>,
    /// Its role, as far as the server tells.
    pub role: Option<String>,
    /// Whether that role has the privileges of a daemon.
    pub is_able: bool,
    /// The prepared transaction that holds the lock, and its role: no daemon prepares one.
    pub prepared: Option<(String, String)>,
    /// For how long the oldest change has been waiting.
    pub oldest: Option<Duration>,
    /// The idle time of its session; none if that is hidden from this role.
    pub quiet: Option<Duration>,
    /// How many changes have been taken so far.
    pub taken: i64,
}

impl Store {
    /// Tries to take the leader lock.
    pub async fn try_lead(&self) -> Result<bool, QueryError> {
        self.db.value(queries::TRY_LEAD, &[]).await
    }

    /// The leader, and whether it works.
    pub async fn leader(&self) -> Result<Leader, QueryError> {
        let row = self.db.one(queries::LEADER, &[]).await?;
        let age =
            |seconds: Option<f64>| seconds.map(|seconds| Duration::from_secs_f64(seconds.max(0.0)));
        Ok(Leader {
            pid: row.try_get(0)?,
            role: row.try_get(1)?,
            is_able: row.try_get(2)?,
            oldest: age(row.try_get(3)?),
            quiet: age(row.try_get(4)?),
            taken: row.try_get(5)?,
            prepared: match row.try_get(6)? {
                Some(gid) => Some((
                    gid,
                    row.try_get::<_, Option<String>>(7)?
                        .unwrap_or_else(|| "?".to_owned()),
                )),
                None => None,
            },
        })
    }
}
