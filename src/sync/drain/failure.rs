//! The reaction to a failed batch. `pg::sqlstate` classifies the errors.
//!
//! The batch is claimed again, and each of its writes is tried in a savepoint (`trial`): a refused
//! write becomes a problem, a write that waits for a lock stays in the outbox, and the others are
//! kept.
//! Where that does not find the cause (an error at the commit, a slow statement, a row that cannot
//! be read), the batch is bisected down to one row ([`crate::sync::batch_size`]).

use std::time::Instant;

use super::batch::{Batch, End};
use super::trial::{TRIALS, TRIALS_OF_SLOW};
use super::{Drain, POLL};
use crate::observe::event::Holdup;
use crate::observe::{Event, event, pulse};
use crate::pg::QueryError;
use crate::pg::sqlstate::{self, Class};
use crate::store::{Problem, Taken};
use crate::sync::batch_plan::{BatchPlan, Refusal};
use crate::sync::context::Tools;
use crate::sync::error::AttemptError;
use crate::sync::protocol::Input;

/// The number of transient errors in a row after which a batch is bisected instead of repeated.
const TRANSIENT_LIMIT: u32 = 20;

/// The number of consecutive single rows that may fail with the class `Fault` before the error
/// counts as a fault of the database.
const FAULT_LIMIT: u32 = 3;

/// Why a slug fails whose row of the outbox stays where it is.
const NOT_TAKEN: &str =
    "its row of agent_sync.outbox could not be deleted by place, version and slug";

impl Drain {
    /// The reaction to a batch that could not be claimed: try another, or give up the connection.
    pub(super) async fn claim_failed(
        &mut self,
        tools: Tools<'_>,
        error: QueryError,
    ) -> Result<Batch, AttemptError> {
        let store = tools.store;
        let (QueryError::Postgres(cause), Some(class)) = (&error, error.class()) else {
            return Err(error.into());
        };
        if matches!(class, Class::Connection | Class::Layout) {
            return Err(error.into());
        }
        store.abandon().await?;
        if self.busy.alone().is_some() && self.slow.alone().is_none() {
            self.busy.waited(super::batch::IN_QUEUE, Instant::now());
            return Ok(Batch::Again);
        }
        let limit = if self.slow.alone().is_some() || !self.suspect_is_done {
            1
        } else {
            self.batch_size.limit()
        };
        if class != Class::Locked && self.slow.alone().is_some() {
            self.slow.end_one(); // A batch with other slugs meets the same error.
            return Ok(Batch::Again);
        }
        match class {
            Class::Locked => Ok(Batch::Locked),
            Class::Transient if self.pause_after_transient(tools, cause).await => Ok(Batch::Again),
            _ if self.batch_size.on_failure(limit as usize) => Ok(Batch::Again),
            Class::Transient => Err(error.into()),
            Class::Fault if self.faults >= FAULT_LIMIT => Err(error.into()),
            _ => {
                // A single outbox row whose agent or configurations cannot be read.
                self.faults += u32::from(class == Class::Fault);
                let (detail, sqlstate) = (
                    sqlstate::describe_write(cause),
                    cause.code().map_or("", |state| state.code()),
                );
                let set_aside = if self.suspect_is_done {
                    store
                        .set_aside_row((self.from, &self.passed()), &detail, sqlstate)
                        .await?
                } else {
                    store.set_aside_suspect(&detail, Some(sqlstate)).await?
                };
                let Some(key) = set_aside else {
                    return Err(error.into());
                };
                self.was_set_aside(tools, &key, false, &detail, sqlstate);
                Ok(Batch::Again)
            }
        }
    }

    /// The reaction to a batch that could not be written: find the writes that are to blame and do
    /// without them, or try a smaller one.
    pub(super) async fn write_failed(
        &mut self,
        tools: Tools<'_>,
        error: QueryError,
        plan: &BatchPlan<'_>,
        end: End,
    ) -> Result<Batch, AttemptError> {
        let store = tools.store;
        let (QueryError::Postgres(cause), Some(class)) = (&error, error.class()) else {
            return Err(error.into());
        };
        let class = match class {
            // A trigger can raise the same error. Then the tables are as they were, and the row is
            // to blame.
            Class::Layout => {
                store.abandon().await?;
                if !store.is_current().await? {
                    return Err(error.into());
                }
                Class::Row
            }
            Class::Locked => {
                store.abandon().await?;
                if store.writes_are_locked().await? {
                    return Ok(Batch::Locked);
                }
                Class::Locked
            }
            class => class,
        };
        match class {
            Class::Connection => return Err(error.into()),
            Class::Transient if self.pause_after_transient(tools, cause).await => {
                return Ok(Batch::Again);
            }
            Class::Row | Class::Fault | Class::Locked if plan.outcome.writes.len() > 1 => {
                if let Some(batch) = Box::pin(self.try_writes(tools, TRIALS)).await? {
                    return Ok(batch);
                }
            }
            Class::Slow if plan.slugs > 1 => {
                if let Some(batch) = Box::pin(self.try_writes(tools, TRIALS_OF_SLOW)).await? {
                    return Ok(batch);
                }
            }
            _ => {}
        }
        store.abandon().await?;
        if plan.slugs > 1 && self.batch_size.on_failure(end.looked_at) {
            return Ok(Batch::Again);
        }
        self.key_failed(tools, error, plan, end).await
    }

    /// The write of a single slug has failed: it stays in the outbox, or becomes a problem.
    async fn key_failed(
        &mut self,
        tools: Tools<'_>,
        error: QueryError,
        plan: &BatchPlan<'_>,
        end: End,
    ) -> Result<Batch, AttemptError> {
        let (QueryError::Postgres(cause), Some(class)) = (&error, error.class()) else {
            return Err(error.into());
        };
        let is_alone = self.slow.alone().is_some();
        // One slug, and so the culprit.
        let Some(key) = plan.outcome.taken.first_key() else {
            return Err(error.into());
        };
        let refusal = match class {
            Class::Slow if self.slow.is_to_be_tried_again(key, &self.allowed) => Refusal::Slow,
            _ => Refusal::of(cause),
        };
        if refusal == Refusal::Locked && self.turn.is_some() {
            self.slow.met_lock_in_turn(key, Instant::now());
        } else {
            self.slow.end_one();
        }
        match refusal {
            Refusal::Locked | Refusal::Slow => {
                // No problem is noted: the slug stays in the outbox and is tried again, and the
                // other slugs go on.
                self.leave(key, Holdup::Write);
                let goes_on = self.suspect_is_done && !is_alone;
                self.forget_suspect(tools).await?;
                Ok(if goes_on {
                    Batch::Left(end.last)
                } else {
                    Batch::Again
                })
            }
            Refusal::Failed { .. } if class == Class::Fault && self.faults >= FAULT_LIMIT => {
                Err(error.into())
            }
            Refusal::Failed {
                detail, sqlstate, ..
            } => {
                self.faults += u32::from(class == Class::Fault);
                self.set_key_aside(tools, plan, end, key, &detail, &sqlstate)
                    .await?;
                Ok(Batch::Again)
            }
        }
    }

    /// Takes the rows of a slug out of the outbox, with a problem that is retried.
    async fn set_key_aside(
        &mut self,
        tools: Tools<'_>,
        plan: &BatchPlan<'_>,
        end: End,
        key: &str,
        detail: &str,
        sqlstate: &str,
    ) -> Result<(), AttemptError> {
        let mut problem = Problem::failed(key, detail, sqlstate);
        self.mark_requested(tools.store, std::slice::from_mut(&mut problem));
        let not_logged = tools
            .store
            .set_aside(&plan.outcome.taken, std::slice::from_ref(&problem))
            .await?;
        self.settled.add(&[problem], end.oldest_running);
        self.transient = 0;
        self.forget_suspect(tools).await?;
        self.was_set_aside(tools, key, !not_logged.is_empty(), detail, sqlstate);
        Ok(())
    }

    /// A batch is committed, but rows of the outbox that it was to take are still there. The next
    /// one would take the same rows for ever, so the batch is bisected. A single row gets another
    /// try, because somebody else may have changed it, and is then set aside, or else left behind.
    pub(super) async fn not_taken(
        &mut self,
        tools: Tools<'_>,
        taken: &Taken<'_>,
        end: End,
    ) -> Result<Batch, AttemptError> {
        if self.batch_size.on_failure(end.looked_at) {
            return Ok(Batch::Again);
        }
        let single = taken.first();
        if std::mem::replace(&mut self.untaken, single) != single {
            return Ok(Batch::Again);
        }
        let store = tools.store;
        let set_aside = store
            .set_aside_row((self.from, &self.passed()), NOT_TAKEN, "")
            .await?;
        if let Some(key) = set_aside {
            self.was_set_aside(tools, &key, false, NOT_TAKEN, "");
            return Ok(Batch::Again);
        }
        match taken.first_key() {
            Some(key) => self.leave(key, Holdup::Write),
            None => self.tell(Input::LeftRows),
        }
        Ok(Batch::Left(end.last))
    }

    /// Waits a little before the same is done again; false when it has been done often enough.
    async fn pause_after_transient(
        &mut self,
        tools: Tools<'_>,
        cause: &tokio_postgres::Error,
    ) -> bool {
        if self.transient >= TRANSIENT_LIMIT {
            return false;
        }
        tools
            .observer
            .tell(Event::Retrying(&sqlstate::describe(cause)));
        self.transient += 1;
        let pause = POLL.0.saturating_mul(1 << self.transient.min(7));
        pulse::sleep(pause.mul_f64(0.5 + fastrand::f64())).await;
        true
    }

    /// The write of an agent has failed, and is noted.
    pub(super) fn was_set_aside(
        &mut self,
        tools: Tools<'_>,
        key: &str,
        known: bool,
        detail: &str,
        sqlstate: &str,
    ) {
        let remedy = sqlstate::remedy_of_write(detail, sqlstate);
        tools.observer.tell(Event::NotInSync {
            key: &tools.store.layout().keys().parts(key),
            known,
            problem: event::NotInSync::Failed { detail, sqlstate },
            remedy,
        });
        self.has_new_retry = true;
        self.totals.failed += 1;
        self.tell(Input::TookRows);
        self.suspect_is_done = true;
    }
}
