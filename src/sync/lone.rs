//! A lone change, done the short way: the row of the outbox that a writer has named is read, and
//! what it comes to is written, in two round trips and nothing else (`store::lone`).
//!
//! Not where triggers of others run with the commit, because PostgreSQL limits the time of no
//! commit; a batch fires them before it (G5).
//!
//! Only while the idle lock is held since a whole pass over the outbox: then whoever
//! commits notifies, and a writer whose one change is all there is names its place. So no other row
//! needs looking for. A name is a hint and no more: it is believed if there is a row at that place,
//! and whatever is not simple is done by an ordinary batch. `tests/model` has both statements as
//! steps, `ReadLone` and `FinishLone`.
//!
//! A row that has another's place is no loss either: whoever notifies of a row stands for one more
//! look, so while rows are left, so are names, and the last that finds nothing at its place ends in
//! a pass.

use std::time::Instant;

use super::attempt::AttemptError;
use super::decide::{Settled, decide};
use super::drain::Tools;
use super::report;
use super::slow::Slow;
use crate::observe::Totals;
use crate::store::{RowId, StoreError};

/// Does the change at this place; what it came to, or none if it is for an ordinary batch to do.
pub(super) async fn run(
    tools: Tools<'_>,
    place: RowId,
    slow: &Slow,
) -> Result<Option<Totals>, AttemptError> {
    match attempt(tools, place, slow).await {
        // Nothing has happened; an ordinary batch will meet the same, and knows what to do about
        // it.
        Err(StoreError::Postgres(error)) if error.as_db_error().is_some() => Ok(None),
        outcome => Ok(outcome?),
    }
}

async fn attempt(
    tools: Tools<'_>,
    place: RowId,
    slow: &Slow,
) -> Result<Option<Totals>, StoreError> {
    let Tools {
        session,
        store,
        rules,
        observer,
        ..
    } = tools;
    let Some(claimed) = store.read_lone(session.client(), place).await? else {
        return Ok(None);
    };
    let Some(versions) = claimed.only_versions() else {
        return Ok(None);
    };
    let read = Instant::now();
    let decision = decide(
        rules,
        &store.layout().targets,
        &claimed,
        &Settled::default(),
        slow,
        false,
    )
    .await?;
    let outcome = &decision.outcome;
    let is_simple = outcome.problems.is_empty() && outcome.cleared.is_empty();
    let (Some(&slug), true) = (outcome.taken.slugs.first(), is_simple) else {
        return Ok(None);
    };
    let limit = slow.limit(tools.foreign_code);
    if !store
        .finish_lone(
            session.client(),
            slug,
            place,
            versions,
            outcome.writes.first(),
            limit,
        )
        .await?
    {
        return Ok(None);
    }
    report::committed(
        observer,
        &store.layout().remedies,
        &decision,
        &[],
        claimed.looked_at,
        read.elapsed(),
    );
    Ok(Some(decision.totals))
}
