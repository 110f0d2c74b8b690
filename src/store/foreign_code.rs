//! Code of others in the session: whether any runs with a write, what it may have changed, and
//! whether a save of others waits for a batch.

use postgres_types::Type;

use super::{Store, queries};
use crate::pg::QueryError;

/// Code of others that runs in the session when a configuration is written: triggers besides those
/// of the install, and functions in constraints, domains, policies, indexes and generated columns
/// (`queries::RUNS_FOREIGN_CODE`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForeignCode {
    /// None does.
    None,
    /// With the statement that writes.
    WithTheWrite,
    /// With the commit, to which no time limit of PostgreSQL applies; perhaps with the write as
    /// well.
    WithTheCommit,
}

/// The state of the session, as far as code of others that runs in it can change it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionState {
    /// Whether it listens on both channels.
    pub listens: bool,
    /// Whether it holds the leader lock.
    pub leads: bool,
    /// Whether it holds the lock that tells writers that the daemon sleeps.
    pub holds_idle: bool,
    /// All that is set in it, in one text.
    pub settings: String,
}

impl Store {
    /// The state of the session.
    pub async fn session_state(&self) -> Result<SessionState, QueryError> {
        let row = self.db.one(queries::SESSION_STATE, &[]).await?;
        Ok(SessionState {
            listens: row.try_get(0)?,
            leads: row.try_get(1)?,
            holds_idle: row.try_get(2)?,
            settings: row.try_get(3)?,
        })
    }

    /// The code of others that runs with a write of a configuration.
    pub async fn foreign_code(&self) -> Result<ForeignCode, QueryError> {
        let table = &self.layout.configurations.table;
        let found = self
            .db
            .one(queries::RUNS_FOREIGN_CODE, &[(table, Type::TEXT)])
            .await?;
        Ok(match (found.try_get(0)?, found.try_get(1)?) {
            (_, true) => ForeignCode::WithTheCommit,
            (true, false) => ForeignCode::WithTheWrite,
            (false, false) => ForeignCode::None,
        })
    }

    /// Whether a save of an agent can wait for a batch, because a foreign key of the configurations
    /// cascades. If so, the session holds its locks for less time.
    pub async fn holds_up_cascades(&mut self) -> Result<bool, QueryError> {
        let tables = self.layout.tables();
        let cascades: bool = self.db.value(queries::CASCADES, &tables).await?;
        if cascades {
            self.db.batch(queries::SHORT_IDLE).await?;
            // It is set again with the others after code of others has run.
            self.usual_settings.push_str("; ");
            self.usual_settings.push_str(queries::SHORT_IDLE);
        }
        Ok(cascades)
    }
}
