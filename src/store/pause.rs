//! The pause of a database: while it is in force, no daemon leads, and changes wait in the outbox.
//!
//! Invariant: no batch is committed that began after the commit of a pause. Each batch reads the
//! pause with the leader lock (`queries::KEEP_LEAD`).

use std::time::SystemTime;

use postgres_types::Type;

use super::{Store, queries};
use crate::observe::Pause;
use crate::pg::{Db, Parameter, QueryError, told};
use crate::time::Until;

/// A pause to begin.
#[derive(Debug, Clone)]
pub struct NewPause {
    /// Its end; `None` if only `agent-sync resume` ends it.
    pub until: Option<Until>,
    /// The user of the operating system.
    pub user: Option<String>,
    /// The reason.
    pub reason: Option<String>,
    /// Whether daemons close their connections.
    pub releases: bool,
}

/// The result of an attempt at the leader lock.
#[derive(Debug)]
pub enum LeadAttempt {
    /// This session holds the lock.
    Taken,
    /// Another session holds it.
    Held,
    /// The database is paused.
    Paused(Pause),
}

impl NewPause {
    /// Begins the pause, in place of one that is in force. False if the install has no record.
    pub async fn begin(&self, db: &Db) -> Result<bool, QueryError> {
        let (at, after) = match self.until {
            None => (None, None),
            Some(Until::After(time)) => (None, Some(time.as_secs_f64())),
            Some(Until::At(time)) => {
                let since = time.duration_since(SystemTime::UNIX_EPOCH);
                (Some(since.unwrap_or_default().as_secs_f64()), None)
            }
        };
        let parameters: [Parameter<'_>; 5] = [
            (&at, Type::FLOAT8),
            (&after, Type::FLOAT8),
            (&self.user, Type::TEXT),
            (&self.reason, Type::TEXT),
            (&self.releases, Type::BOOL),
        ];
        Ok(db.opt(queries::SET_PAUSE, &parameters).await?.is_some())
    }
}

/// Ends the pause that is in force, or that is over by its time.
pub async fn end(db: &Db) -> Result<(), QueryError> {
    db.run(queries::END_PAUSE, &[]).await
}

/// The pause that is in force.
pub async fn in_force(db: &Db) -> Result<Option<Pause>, QueryError> {
    let Some(row) = db.opt(queries::PAUSE, &[]).await? else {
        return Ok(None);
    };
    let by: Option<String> = told(&row, "by")?;
    Ok(Some(Pause {
        since: row.try_get("since")?,
        until: row.try_get("until")?,
        by: by.unwrap_or_else(|| "?".to_owned()),
        reason: told(&row, "reason")?,
        releases: row.try_get("releases")?,
    }))
}

impl Store {
    /// The pause that is in force.
    pub async fn pause(&self) -> Result<Option<Pause>, QueryError> {
        in_force(&self.db).await
    }

    /// Tries to take the leader lock. A pause that is committed meanwhile is seen as well: the
    /// session that begins it waits until no session holds the lock.
    pub async fn try_lead(&self) -> Result<LeadAttempt, QueryError> {
        let taken: Option<bool> = self.db.value(queries::TRY_LEAD, &[]).await?;
        if taken == Some(false) {
            return Ok(LeadAttempt::Held);
        }
        match (self.pause().await?, taken) {
            (None, Some(true)) => Ok(LeadAttempt::Taken),
            (Some(pause), None) => Ok(LeadAttempt::Paused(pause)),
            (Some(pause), Some(_)) => {
                self.stand_down().await?;
                Ok(LeadAttempt::Paused(pause))
            }
            // The pause has just ended.
            (None, _) => Ok(LeadAttempt::Held),
        }
    }

    /// Releases the leader lock.
    pub async fn stand_down(&self) -> Result<(), QueryError> {
        let _: bool = self.db.value(queries::STAND_DOWN, &[]).await?;
        Ok(())
    }
}
