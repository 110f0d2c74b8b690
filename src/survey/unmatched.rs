//! The configurations that match no agent: they are never written.
//!
//! One statement reads both tables, within a time limit. While it runs, DDL waits, and so do saves
//! behind the DDL (G3).

use std::time::Duration;

use postgres_types::Type;

use crate::key::{Key, Keys};
use crate::pg::sqlstate::{self, Class};
use crate::pg::{Db, List, Parameter, QueryError};
use crate::store::queries::WHOLE_TABLES;
use crate::store::{Layout, Lossy, surveyed};

/// The number of keys that are read.
const SOME: i64 = 5;

/// The configurations that match no agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmatched {
    /// Their number.
    pub number: i64,
    keys: Keys,
    some: Vec<String>,
}

impl Unmatched {
    /// The tenant and the slug of some of them; of a long text, the beginning.
    pub fn some(&self) -> impl Iterator<Item = Key<'_>> {
        self.some.iter().map(|key| self.keys.parts(key))
    }
}

/// Counts the configurations with a slug that match no agent. `None` if it takes longer than
/// `limit`.
pub async fn unmatched(
    db: &Db,
    layout: &Layout,
    limit: Duration,
) -> Result<Option<Unmatched>, QueryError> {
    let db = &db.with_time_limit(limit + Duration::from_secs(5));
    let limit = limit.as_millis();
    db.batch(&format!(
        "BEGIN READ ONLY; SET LOCAL statement_timeout = {limit}; {WHOLE_TABLES}"
    ))
    .await?;
    let some: [Parameter<'_>; 1] = [(&SOME, Type::INT8)];
    let counted = db.one(&surveyed::unmatched(layout), &some).await;
    let ended = db.batch("ROLLBACK").await;
    let row = match counted {
        Ok(row) => row,
        Err(QueryError::Postgres(error)) if sqlstate::policy(&error).class == Class::Slow => {
            return ended.map(|()| None);
        }
        Err(error) => return Err(error),
    };
    ended?;
    let some: List<Lossy> = row.try_get(1)?;
    Ok(Some(Unmatched {
        number: row.try_get(0)?,
        keys: layout.keys(),
        some: some.0.into_iter().map(|key| key.0).collect(),
    }))
}
