//! Looking at every agent without touching anything: what the daemon would write, by the same mapping.
//!
//! All of it is one read-only transaction with one snapshot, so what is counted together belongs together. The rows come
//! through a portal, a bounded number of bytes at a time, in the order of the slugs: memory does not depend on how
//! many agents there are (G12).
//!
//! Behaviour on failure: what was told before stands; the caller gets the error. Who is told must not wait for anything: a transaction
//! that is kept waiting for longer than five seconds is ended, for it holds back vacuum, and migrations wait for its locks.

mod verdict;

use std::ops::ControlFlow;
use std::time::Duration;

use postgres_types::Type;
use tokio_postgres::{Client, IsolationLevel, Transaction};

pub use verdict::{Findings, Tally, Verdict};

use crate::mapping::Rules;
use crate::store::report::{self, Surveyed};
use crate::store::{Layout, StoreError, within};

/// How long the server may take to put the rows in order, before the first comes.
const LONGEST: Duration = Duration::from_secs(600);

/// How long who is told may take over it.
const IDLE: Duration = Duration::from_secs(5);

/// What is in memory at a time, as PostgreSQL sends it; a single row may be larger.
const BYTES: usize = 2 * 1024 * 1024;

/// The most rows at a time, and how many are asked for first.
const ROWS: (usize, usize) = (32, 1);

/// What is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// Of these slugs alone.
    pub slugs: Option<&'a [&'a str]>,
    /// Whether the outbox and the noted problems are looked at as well: they are not there before the install.
    pub noted: bool,
}

/// Tells of every agent in the scope, until it is told to stop.
pub async fn survey(
    client: &mut Client,
    layout: &Layout,
    rules: &Rules,
    scope: Scope<'_>,
    mut tell: impl FnMut(&Findings) -> ControlFlow<()>,
) -> Result<(), StoreError> {
    let patience = LONGEST + Duration::from_secs(5);
    let snapshot = client.build_transaction().read_only(true).isolation_level(IsolationLevel::RepeatableRead);
    let transaction = within(patience, snapshot.start()).await?;
    prepare_for_all(&transaction).await?;
    let query = report::survey(layout, scope.noted);
    let statement = within(patience, transaction.prepare_typed(&query, &[Type::TEXT_ARRAY])).await?;
    let portal = within(patience, transaction.bind(&statement, &[&scope.slugs])).await?;

    let mut rows_at_a_time = ROWS.1;
    let mut one: Option<Findings> = None;
    loop {
        let most = i32::try_from(rows_at_a_time).unwrap_or(i32::MAX);
        let rows = within(patience, transaction.query_portal(&portal, most)).await?;
        for row in &rows {
            let row = Surveyed::of(row)?;
            match &mut one {
                Some(findings) if findings.slug == row.slug => findings.add(rules, &layout.targets, &row),
                _ => {
                    let next = Findings::of(rules, &layout.targets, &row);
                    if let Some(findings) = one.replace(next)
                        && tell(&findings).is_break()
                    {
                        return Ok(());
                    }
                }
            }
        }
        if rows.len() < rows_at_a_time {
            if let Some(findings) = one {
                let _ = tell(&findings);
            }
            return Ok(());
        }
        let bytes: usize = rows.iter().map(tokio_postgres::Row::raw_size_bytes).sum();
        let fitting = BYTES / (bytes / rows.len().max(1)).max(1);
        rows_at_a_time = fitting.clamp(1, ROWS.0).min(rows_at_a_time * 2);
    }
}

/// Lifts, for this transaction, the limits that are made for small batches.
async fn prepare_for_all(transaction: &Transaction<'_>) -> Result<(), StoreError> {
    let settings = format!(
        "SET LOCAL statement_timeout = {}; SET LOCAL idle_in_transaction_session_timeout = {};
         SET LOCAL plan_cache_mode = force_custom_plan",
        LONGEST.as_millis(),
        IDLE.as_millis(),
    );
    within(LONGEST, transaction.batch_execute(&settings)).await
}
