//! The comparison of the index on the slugs of a table with the table, before a survey (G17): an
//! index that leaves out rows, or is in another order, would have agents or configurations passed
//! over.
//!
//! Two cursors of one snapshot are counted: the rows along the index, without those out of order,
//! and those of the table itself. The server sends no rows. The role needs no privilege beside
//! those of the survey.
//!
//! On failure: where DDL waits for a lock of the transaction, it ends, and the comparison begins
//! anew (G3). A comparison that does not end in its time says nothing, and the survey follows
//! the index: the sweeps look up a sample.

use std::time::{Duration, Instant};

use postgres_types::Type;
use tokio_postgres::error::SqlState;

use super::queries::SlugIndex;
use super::{Finding, enqueue, finding, queries};
use crate::pg::{Db, Parameter, QueryError, told};

/// The number of rows between two looks at the time.
const ROWS: u64 = 4096;

/// The interval between two checks for sessions that wait for a lock of the transaction, and the
/// pause after one that did.
const YIELD: Duration = Duration::from_secs(1);

/// The result of a comparison.
enum IndexComparison {
    Agrees,
    Differs,
    /// Nothing, because another session waits for its locks.
    Yielded,
    /// Nothing in its time.
    Late,
}

/// Compares the index with the table for at most this time. Where they differ, the session reads
/// past all indexes from now on.
pub async fn avoid_wrong_index(
    db: &Db,
    index: &SlugIndex<'_>,
    within: Duration,
) -> Result<Option<Finding>, QueryError> {
    let until = Instant::now() + within;
    while Instant::now() < until {
        match compare(db, index, until).await? {
            IndexComparison::Agrees | IndexComparison::Late => break,
            IndexComparison::Yielded => tokio::time::sleep(YIELD).await,
            IndexComparison::Differs => {
                db.batch(queries::PAST_INDEXES).await?;
                let names: [Parameter<'_>; 2] =
                    [(&index.table, Type::TEXT), (&index.slug, Type::TEXT)];
                let row = db.one(queries::NAMES, &names).await?;
                let (table, column) = (told(&row, 0)?, told(&row, 1)?);
                return Ok(Some(finding::Column::IndexMisses { table, column }.into()));
            }
        }
    }
    Ok(None)
}

/// One comparison, in one transaction.
async fn compare(
    db: &Db,
    index: &SlugIndex<'_>,
    until: Instant,
) -> Result<IndexComparison, QueryError> {
    let left = until.saturating_duration_since(Instant::now());
    // Zero would be no limit.
    let left = left.max(Duration::from_millis(1));
    let db = &db.with_time_limit(left + Duration::from_secs(5));
    let limit = format!("SET LOCAL statement_timeout = {}", left.as_millis());
    db.batch(&format!("{}; {limit}", queries::ALONG_INDEX))
        .await?;
    let compared = counted(db, index, until).await;
    let ended = db.batch("ROLLBACK").await;
    match compared {
        Err(error) if is_late(&error) => ended.map(|()| IndexComparison::Late),
        compared => compared.and_then(|compared| ended.map(|()| compared)),
    }
}

async fn counted(
    db: &Db,
    index: &SlugIndex<'_>,
    until: Instant,
) -> Result<IndexComparison, QueryError> {
    let (mut numbers, mut checked) = ([0, 0], Instant::now());
    let cursors = [(index.along(), "along"), (index.past(), "past")];
    for ((rows, name), number) in cursors.iter().zip(&mut numbers) {
        let declare = format!("DECLARE {name} NO SCROLL CURSOR FOR {rows}");
        db.run(&declare, &[]).await?;
        let forward = format!("MOVE FORWARD {ROWS} IN {name}");
        loop {
            let moved = db.run_counted(&forward, &[]).await?;
            *number += moved;
            if moved < ROWS {
                break;
            }
            if Instant::now() >= until {
                return Ok(IndexComparison::Late);
            }
            if checked.elapsed() > YIELD {
                checked = Instant::now();
                if db.value(enqueue::BLOCKS, &[]).await? {
                    return Ok(IndexComparison::Yielded);
                }
            }
        }
    }
    let [along, past] = numbers;
    Ok(if along == past {
        IndexComparison::Agrees
    } else {
        IndexComparison::Differs
    })
}

/// Whether a statement has met its time limit.
fn is_late(error: &QueryError) -> bool {
    matches!(error, QueryError::Postgres(error)
        if error.code() == Some(&SqlState::QUERY_CANCELED))
}
