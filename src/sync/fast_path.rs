//! The fast path: one change, whose outbox row a notification names, in two statements without a
//! transaction block (`store::fast_path`).
//!
//! [`super::protocol`] permits it only while the idle lock has been held since a full scan of the
//! outbox: then every change is announced, and no other row needs a scan. It is not permitted where
//! triggers of others run with the commit, which has no time limit in PostgreSQL; a batch
//! fires them before it (G5). `tests/model` has both statements as steps.
//!
//! The ctid is a hint. Without a row there, and in any case that is not simple, an ordinary batch
//! processes the change. If the ctid has been reused, nothing is lost: each notification causes one
//! lookup, and a lookup that finds nothing ends in a full scan.

use std::time::Instant;

use super::batch_events;
use super::batch_plan::plan_batch;
use super::context::Tools;
use super::error::AttemptError;
use super::remembered::Settled;
use super::slow::Slow;
use crate::observe::Totals;
use crate::pg::{QueryError, Tid};

/// Processes the change at this ctid. None if an ordinary batch has to do it.
pub(super) async fn run(
    tools: Tools<'_>,
    place: Tid,
    slow: &Slow,
) -> Result<Option<Totals>, AttemptError> {
    match attempt(tools, place, slow).await {
        // The server has undone the statement. An ordinary batch meets the same error and handles
        // it.
        Err(QueryError::Postgres(error)) if error.as_db_error().is_some() => Ok(None),
        outcome => Ok(outcome?),
    }
}

async fn attempt(tools: Tools<'_>, place: Tid, slow: &Slow) -> Result<Option<Totals>, QueryError> {
    let store = tools.store;
    let Some(claimed) = store.read_change(place).await? else {
        return Ok(None);
    };
    let Some(versions) = claimed.only_versions() else {
        return Ok(None);
    };
    let read = Instant::now();
    let (layout, settled) = (store.layout(), Settled::default());
    let plan = plan_batch(tools.rules, layout, &claimed, &settled, slow, false).await?;
    let outcome = &plan.outcome;
    let is_simple =
        outcome.problems.is_empty() && outcome.cleared.is_empty() && plan.gone.is_empty();
    let (Some(key), true) = (outcome.taken.first_key(), is_simple) else {
        return Ok(None);
    };
    let limit = slow.limit(tools.foreign_code);
    if !store
        .finish_change(key, place, versions, outcome.writes.first(), limit)
        .await?
    {
        return Ok(None);
    }
    batch_events::committed(
        tools.observer,
        (store.layout(), tools.rules),
        &plan,
        &[],
        claimed.looked_at,
        read.elapsed(),
    );
    Ok(Some(plan.totals))
}
