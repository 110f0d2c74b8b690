//! Trial writes: a failed batch is repeated, and each of its writes is tried by itself in a
//! savepoint.
//!
//! A write that PostgreSQL refuses is left out and becomes a problem. A write that waits for a
//! lock, takes long, or finds no time left for its trial stays in the outbox. The rest is written.

use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::Drain;
use super::batch::Batch;
use crate::pg::QueryError;
use crate::pg::sqlstate::{self, Class};
use crate::store::IdleLockAction;
use crate::sync::batch_plan::{BatchPlan, Refusal};
use crate::sync::context::Tools;
use crate::sync::error::AttemptError;

/// The number of trial writes in one round trip after a batch has failed, and their time limit in
/// all.
pub(super) const TRIALS: (usize, Duration) = (16, Duration::from_secs(1));

/// The same after a batch that took too long. The writes that pass must fit into one batch
/// together, so their trials get no more time than that.
pub(super) const TRIALS_OF_SLOW: (usize, Duration) = (4, Duration::from_millis(250));

/// The time limit of one trial write.
const QUICK: Duration = Duration::from_millis(100);

impl Drain {
    /// Repeats the batch with a trial of each write. A refused write is left out and becomes a
    /// problem; a locked or slow one is left in the outbox. None if that does not find the cause,
    /// or takes nothing where not all slugs came: of a smaller batch, all do.
    pub(super) async fn try_writes(
        &mut self,
        tools: Tools<'_>,
        trials: (usize, Duration),
    ) -> Result<Option<Batch>, AttemptError> {
        let store = tools.store;
        store.abandon().await?;
        let read = Instant::now();
        let (alone, passed) = (self.slow.alone().map(str::to_owned), self.passed());
        let claim = self.claim(IdleLockAction::Keep, true, (alone.as_deref(), &passed));
        let begun = match store.begin(claim).await {
            Ok(Some(begun)) => begun,
            Ok(None) => return Err(AttemptError::LostLead),
            Err(error) => return self.claim_failed(tools, error).await.map(Some),
        };
        let claimed = begun.claimed;
        let (mut plan, end) = self.plan(tools, &claimed, claim).await?;
        let refused = find_refused(tools, &plan, trials).await?;
        let failed = refused
            .iter()
            .filter(|(_, refusal)| matches!(refusal, Refusal::Failed { .. }))
            .count();
        let is_fault = refused.iter().any(|(_, refusal)| refusal.is_fault());
        if refused.is_empty() || is_fault && failed == plan.outcome.writes.len() {
            // Either every write passes alone, so the batch fails as a whole; or none passes, so
            // the database may be at fault. Smaller batches show which.
            store.abandon().await?;
            return Ok(None);
        }
        let slow = refused
            .iter()
            .filter(|(_, refusal)| *refusal == Refusal::Slow);
        for key in slow.filter_map(|(index, _)| plan.outcome.changed.get(*index)) {
            self.slow.add(key, Instant::now());
        }
        plan.without(&refused);
        self.mark_requested(store, &mut plan.outcome.problems);
        self.note_left(&plan);
        if !plan.takes_any() {
            store.abandon().await?;
            return Ok((plan.heavy == 0).then_some(Batch::Done(end)));
        }
        let time = Some(self.slow.time());
        match store.finish(&plan.outcome, tools.announce, time).await {
            Ok(finished) => {
                self.committed(tools, &plan, &finished, end, read).await?;
                if trials == TRIALS_OF_SLOW {
                    self.batch_size.on_too_heavy(plan.slugs, refused.len());
                }
                Ok(Some(Batch::Done(end)))
            }
            Err(error) if error.class().is_none_or(|class| class == Class::Connection) => {
                Err(error.into())
            }
            Err(_) => {
                store.abandon().await?;
                Ok(None)
            }
        }
    }
}

/// The writes of the claimed batch that PostgreSQL refuses by themselves, several in a round trip.
/// A write without time for its trial counts as locked: it stays in the outbox.
async fn find_refused(
    tools: Tools<'_>,
    plan: &BatchPlan<'_>,
    (at_once, time_limit): (usize, Duration),
) -> Result<Vec<(usize, Refusal)>, AttemptError> {
    let store = tools.store;
    let (writes, changed) = (&plan.outcome.writes, &plan.outcome.changed);
    let began = Instant::now();
    let mut refused = Vec::new();
    store.limit_time(QUICK).await?;
    let indexed: Vec<_> = writes.iter().zip(changed).enumerate().collect();
    for portion in indexed.chunks(at_once) {
        if began.elapsed() > time_limit {
            refused.extend(portion.iter().map(|(index, _)| (*index, Refusal::Locked)));
            continue;
        }
        let tries = portion
            .iter()
            .map(|(_, (write, key))| store.try_write(key, write));
        for ((index, _), tried) in portion.iter().zip(join_all(tries).await) {
            match tried? {
                Ok(()) => {}
                Err(QueryError::Postgres(error))
                    if sqlstate::policy(&error).class != Class::Connection =>
                {
                    refused.push((*index, Refusal::beside_others(&error)));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(refused)
}
