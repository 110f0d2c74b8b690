//! The statements of the fast path: one outbox row is read and brought in sync by two statements,
//! without a transaction block.
//!
//! Most changes come alone. Half the work of a batch of one row serves the safety of larger
//! batches: BEGIN and COMMIT, the lock of the configuration from the read on, and the count of
//! configurations that others have locked. The fast path needs none of it, because its write
//! requires the row versions that the values were computed from, and skips a configuration that is
//! locked ([`queries::write_change`]).
//!
//! Invariant: a change that does not meet every condition is left as it was, for a batch.

use std::time::Duration;

use postgres_types::{ToSql, Type};
use tokio_postgres::Statement;

use super::batch::{Claimed, Versions};
use super::{Layout, Parts, path, queries};
use crate::columns::Column;
use crate::mapping::Changes;
use crate::pg::{Db, QueryError, RowRef, Tid};

/// The most bytes that a value of a single change may take as it is stored; a heavier one is left
/// to an ordinary batch. A compressed value of this size has a few megabytes of text at most.
const LARGEST_STORED_VALUE: i32 = 32 * 1024;

/// The statements of a single change, prepared.
#[derive(Debug)]
pub(super) struct Statements {
    claim: Statement,
    write: Statement,
    take: Statement,
}

impl Statements {
    /// None where the tables have no index to look slugs up by.
    pub(super) async fn prepare(
        db: &Db,
        layout: &Layout,
        history: bool,
        parts: &Parts,
    ) -> Result<Option<Self>, QueryError> {
        let Some(claim) = queries::claim_change(layout, &parts.condition()) else {
            return Ok(None);
        };
        let write = queries::write_change(layout, history);
        let take = queries::take_lone(layout.keys());
        let mut types = vec![
            Type::TID,
            Type::OID,
            Type::XID,
            Type::TID,
            Type::XID,
            Type::TEXT,
        ];
        types.extend(Column::ALL.map(|_| Type::TEXT));
        let (claim, write, take) = tokio::try_join!(
            db.prepare(&claim, &[Type::TID, Type::INT4]),
            db.prepare(&write, &types),
            db.prepare(&take, &[Type::TID, Type::XID, Type::TEXT]),
        )?;
        Ok(Some(Self { claim, write, take }))
    }
}

impl super::Store {
    /// Reads the outbox row at this place, with its agent and configuration. No rows if the place
    /// is empty by now, or its agent or configuration is not found; None if the tables have no
    /// index on the slug.
    pub async fn read_change(&self, place: Tid) -> Result<Option<Claimed>, QueryError> {
        let Some(statements) = &self.fast_path else {
            return Ok(None);
        };
        let rows = self
            .db
            .all_prepared(&statements.claim, &[&place, &LARGEST_STORED_VALUE])
            .await?;
        Claimed::new(rows)?.with_at_most(1).map(Some)
    }

    /// Writes the changes, if there are any, and deletes the row from the outbox. Returns false if
    /// a row has another version or is locked, or another session leads; then nothing is changed.
    /// Without changes, only the place, version and key of the row of the outbox are checked. A
    /// write that exceeds `limit` is an error.
    pub async fn finish_change(
        &self,
        slug: &str,
        place: Tid,
        version: Versions,
        write: Option<&(RowRef, Changes<'_>)>,
        limit: Option<Duration>,
    ) -> Result<bool, QueryError> {
        let Some(statements) = &self.fast_path else {
            return Ok(false);
        };
        let done = match write {
            None => {
                self.db
                    .run_prepared(&statements.take, &[&place, &version.change, &slug])
                    .await?
            }
            Some((target, changes)) => {
                let texts = changes.as_deref();
                let mut parameters: Vec<&(dyn ToSql + Sync)> = vec![
                    &target.row,
                    &target.relation,
                    &version.configuration,
                    &place,
                    &version.change,
                    &slug,
                ];
                for text in texts.values() {
                    parameters.push(text);
                }
                let writing = self.db.run_prepared(&statements.write, &parameters);
                self.within_time(limit, writing).await?
            }
        };
        Ok(done == 1)
    }

    /// Runs one statement with a time limit and under the `search_path` of the role, in one round
    /// trip, and then restores the settings of the session. Without a limit, no code of others is
    /// expected, and the statement runs with the settings of the session.
    async fn within_time<T>(
        &self,
        limit: Option<Duration>,
        statement: impl Future<Output = Result<T, QueryError>>,
    ) -> Result<T, QueryError> {
        let Some(limit) = limit else {
            return statement.await;
        };
        let limited = format!(
            "SET statement_timeout = {}; {}",
            limit.as_millis().max(1),
            path::OF_THE_ROLE
        );
        let usual = self.db.batch(&self.usual_settings);
        let (set, done, reset) = tokio::join!(biased; self.db.batch(&limited), statement, usual);
        set?;
        reset?;
        done
    }
}
