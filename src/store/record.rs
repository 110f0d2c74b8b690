//! The record of the install: missed changes and the last write.

use std::time::Duration;

use postgres_types::Type;
use tokio_postgres::Row;

use super::{Audited, Store, audited, queries};
use crate::observe::compared::Counts;
use crate::pg::{Db, QueryError};

/// The counts of missed changes, from `agent_sync.install` and its sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Installed {
    /// The missed changes up to which every agent has been checked.
    pub uncaptured_seen: i64,
    /// The missed changes so far.
    pub uncaptured: i64,
    /// Whether a crash of the server may have moved that number.
    pub may_have_jumped: bool,
}

impl Installed {
    /// Reads the record; none if the install has none.
    pub async fn read(db: &Db) -> Result<Option<Self>, QueryError> {
        let row = db.opt(queries::INSTALL, &[]).await?;
        row.as_ref().map(Self::of).transpose()
    }

    /// Of a row with the columns of [`queries::INSTALL`].
    ///
    /// The answer of a standby is refused. A proxy that sends statements that only read to
    /// standbys lets each of them pass for the primary's, and what decides whether a change was
    /// missed stands in this record.
    pub(super) fn of(row: &Row) -> Result<Self, QueryError> {
        if row.try_get("is_of_standby")? {
            return Err(QueryError::Split);
        }
        Ok(Self {
            uncaptured_seen: row.try_get("uncaptured_seen")?,
            uncaptured: row.try_get("uncaptured")?,
            may_have_jumped: row.try_get("may_have_jumped")?,
        })
    }

    /// Whether changes may have been missed since every agent was checked, so the daemon owes a
    /// full check.
    pub fn owes_check(&self) -> bool {
        self.uncaptured_seen != self.uncaptured
    }
}

impl Store {
    /// The counts of missed changes; none if the install has no record.
    pub async fn installed(&self) -> Result<Option<Installed>, QueryError> {
        Installed::read(&self.db).await
    }

    /// The record of the audits.
    pub async fn audited(&self) -> Result<Audited, QueryError> {
        Audited::read(&self.db).await
    }

    /// Notes a complete audit without a difference, under the mapping with this
    /// [text](super::Layout::mapping_text).
    pub async fn note_audit(&self, mapping: &str, counts: &Counts) -> Result<(), QueryError> {
        audited::note_audit(&self.db, mapping, counts, &[]).await
    }

    /// Notes in `agent_sync.install` that changes may have been missed: see [`queries::DISTRUST`].
    pub async fn distrust(&self) -> Result<(), QueryError> {
        self.db.run(queries::DISTRUST, &[]).await
    }

    /// Notes in `agent_sync.install` when a configuration was last written.
    pub async fn note_last_sync(&self, ago: Duration) -> Result<(), QueryError> {
        self.db
            .run(
                queries::NOTE_LAST_SYNC,
                &[(&ago.as_secs_f64(), Type::FLOAT8)],
            )
            .await
    }
}
