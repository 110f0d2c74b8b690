//! One batch: claimed, planned and ended.

use std::time::{Duration, Instant};

use super::Drain;
use crate::observe::event::Holdup;
use crate::pg::{QueryError, Tid, Version};
use crate::session;
use crate::store::{Claim, Claimed, Finished, IdleLockAction, LockWait, Part};
use crate::sync::batch_plan::{BatchPlan, plan_batch};
use crate::sync::context::Tools;
use crate::sync::error::AttemptError;
use crate::sync::heavy::within;
use crate::sync::protocol::Input;
use crate::sync::slow::Allowed;
use crate::sync::{batch_events, large};

/// How long a locked configuration is waited for in the queue of the server (`sync::busy`).
pub(super) const IN_QUEUE: Duration = Duration::from_millis(500);

/// The time until one slug that needs the turn of heavy work is tried alone again.
const WITHOUT_TURN: Duration = Duration::from_secs(1);

/// The result of a batch.
#[derive(Debug, Clone, Copy)]
pub(super) enum Batch {
    /// It is committed, or there was nothing to commit.
    Done(End),
    /// Nothing is committed of it, or a row was set aside: the next batch begins at the same place.
    Again,
    /// Its one slug stays in the outbox; the next batch begins behind this row.
    Left(Tid),
    /// Another session has a table locked.
    Locked,
}

/// The end of a batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct End {
    pub(super) looked_at: usize,
    pub(super) last: Tid,
    /// Whether the next batch begins at the same place: slugs were left out, because the batch
    /// would have been too heavy, or the batch had one slug alone (the suspect of the connection,
    /// a slow one, or a busy one).
    pub(super) stays_here: bool,
    /// Whether it has reached the end of the outbox.
    pub(super) is_last: bool,
    /// See [`Claimed::oldest_running`].
    pub(super) oldest_running: Option<Version>,
}

impl End {
    fn of(
        claimed: &Claimed,
        claim: Claim<'_>,
        plan: &BatchPlan<'_>,
    ) -> Result<Self, tokio_postgres::Error> {
        Ok(Self {
            looked_at: claimed.looked_at,
            last: claimed.last,
            stays_here: claim.is_one() || plan.heavy > 0 && plan.takes_any(),
            is_last: claimed.looked_at < claim.limit as usize && !claimed.is_incomplete()?,
            oldest_running: claimed.oldest_running()?,
        })
    }
}

impl Drain {
    /// Claims, writes and ends one batch.
    pub(super) async fn batch(
        &mut self,
        tools: Tools<'_>,
        action: IdleLockAction,
    ) -> Result<Batch, AttemptError> {
        let store = tools.store;
        if !self.has_noted_suspect {
            self.note_suspect(tools).await?;
        }
        let read = Instant::now();
        self.take_turn(tools);
        let alone = self.slow.alone().or(self.busy.alone()).map(str::to_owned);
        let (passed, bisecting) = (self.passed(), self.batch_size.is_bisecting());
        let claim = self.claim(action, bisecting, (alone.as_deref(), &passed));
        if self.turn.is_some() {
            store.answer_limit().raise(session::LARGE);
        }
        let begun = match store.begin(claim).await {
            Ok(Some(begun)) => begun,
            Ok(None) => return Err(AttemptError::LostLead),
            Err(error) => {
                self.tell(Input::ClaimFailed { action });
                return self.claim_failed(tools, error).await;
            }
        };
        let (claimed, got_lock) = (begun.claimed, begun.got_idle_lock);
        self.tell(Input::Claimed { action, got_lock });
        let (mut plan, end) = self.plan(tools, &claimed, claim).await?;
        let is_large = plan.heavy > 0 && !plan.takes_any();
        if is_large {
            let run = Box::pin(self.run_heavy(tools, &claimed, claim, &mut plan, end));
            if let Some(batch) = run.await? {
                return Ok(batch);
            }
        }
        self.note_left(&plan);
        if !plan.takes_any() {
            return self.nothing_taken(tools, end).await;
        }
        self.mark_requested(store, &mut plan.outcome.problems);
        let time = self.time_to_finish(tools, is_large);
        let finish = store.finish(&plan.outcome, tools.announce, time);
        let finished = match time {
            Some(time) if self.turn.is_some() => within(time, finish).await,
            _ => finish.await,
        };
        match finished {
            Ok(finished) => {
                self.end_one();
                self.committed(tools, &plan, &finished, end, read).await?;
                if claim.is_one() || finished.has_taken_all(&plan.outcome) {
                    return Ok(Batch::Done(end));
                }
                self.not_taken(tools, &plan.outcome.taken, end).await
            }
            Err(error) => self.write_failed(tools, error, &plan, end).await,
        }
    }

    /// Ends a batch that takes nothing out of the outbox.
    async fn nothing_taken(&mut self, tools: Tools<'_>, end: End) -> Result<Batch, AttemptError> {
        self.end_one();
        tools.store.abandon().await?;
        self.forget_suspect(tools).await?;
        Ok(Batch::Done(end))
    }

    /// Plans the claimed batch.
    pub(super) async fn plan<'a>(
        &self,
        tools: Tools<'_>,
        claimed: &'a Claimed,
        claim: Claim<'_>,
    ) -> Result<(BatchPlan<'a>, End), QueryError> {
        let Tools { store, rules, .. } = tools;
        let (layout, is_one) = (store.layout(), claim.is_one());
        let mut plan =
            plan_batch(rules, layout, claimed, &self.settled, &self.slow, is_one).await?;
        if !plan.gone.is_empty() {
            let missed = store.missed_by_index(&plan.gone).await?;
            plan.end_gone(&missed);
        }
        if !plan.missing.is_empty() {
            let problems = &mut plan.outcome.problems;
            let near = store.name_near(tools.near, &plan.missing, problems);
            let (looked_up, missed) = near.await?;
            plan.end_missing(looked_up, &missed);
        }
        let end = End::of(claimed, claim, &plan)?;
        Ok((plan, end))
    }

    /// Processes a batch that is too heavy to be read at once: takes fewer slugs, waits for the
    /// turn of this connection, or returns None after it has read the one slug in pages, or has
    /// left it because a configuration is locked.
    async fn run_heavy<'a>(
        &mut self,
        tools: Tools<'_>,
        claimed: &'a Claimed,
        claim: Claim<'_>,
        plan: &mut BatchPlan<'a>,
        end: End,
    ) -> Result<Option<Batch>, AttemptError> {
        let has_others = claimed.groups().nth(1).is_some()
            || claimed.is_incomplete().map_err(QueryError::from)?;
        if claim.limit > 1 && has_others {
            tools.store.abandon().await?;
            self.batch_size.on_too_heavy(0, plan.heavy);
            return Ok(Some(Batch::Again));
        }
        let Some(Ok(key)) = claimed.groups().next().map(|group| group.key()) else {
            return Ok(None);
        };
        // Before the turn: it ends with the connection, which a lock may outlast.
        match tools.store.has_locked_configuration(key).await {
            Ok(true) => {
                plan.leave_locked(key);
                return Ok(None);
            }
            Ok(false) => {}
            Err(error) => return self.write_failed(tools, error, plan, end).await.map(Some),
        }
        let Some(turn) = &self.turn else {
            tools.store.abandon().await?;
            return self.queue_for_turn(tools, claimed, end).await.map(Some);
        };
        self.allowed = self.slow.allowed_for_pages(turn.wanted());
        let limits = (claim.budget, &self.allowed);
        match Box::pin(large::run(tools, key, limits, plan)).await {
            Ok(()) => Ok(None),
            Err(error) => self.write_failed(tools, error, plan, end).await.map(Some),
        }
    }

    /// The time limit for the end of the batch: what its pages have left of theirs, or one of its
    /// own, if it needs one.
    fn time_to_finish(&mut self, tools: Tools<'_>, is_large: bool) -> Option<Duration> {
        if is_large {
            return Some(self.allowed.left());
        }
        self.allowed = Allowed::from_now(self.slow.time());
        self.slow.limit(tools.foreign_code)
    }

    /// Takes the turn of heavy work, if it is free and needed, or if it has come to this
    /// connection.
    fn take_turn(&mut self, tools: Tools<'_>) {
        if self.turn.is_some() {
            return;
        }
        if let Some(place) = &mut self.place {
            self.turn = place.turn_now();
        } else if self.batch_size.wants_turn() {
            self.turn = tools.heavy.try_begin();
        }
        if self.turn.is_some() {
            self.turn_came();
        }
    }

    fn turn_came(&mut self) {
        (self.place, self.turn_is_new) = (None, true);
        self.slow.turn_came(Instant::now());
    }

    /// Waits until the turn of heavy work comes to this connection, if it is in the queue for it.
    /// To drop the wait does not give its place up.
    pub(in crate::sync) async fn turn_comes(&mut self) {
        let Some(place) = &mut self.place else {
            return std::future::pending().await;
        };
        self.turn = Some(place.turn().await);
        self.turn_came();
    }

    /// Repeats the claim of a heavy slug if the turn is free, or leaves the slug for later. Nobody
    /// waits here: the other changes of the database are next (G5).
    async fn queue_for_turn(
        &mut self,
        tools: Tools<'_>,
        claimed: &Claimed,
        end: End,
    ) -> Result<Batch, AttemptError> {
        self.place.get_or_insert_with(|| tools.heavy.queue());
        self.take_turn(tools);
        if self.turn.is_some() {
            return Ok(Batch::Again);
        }
        if let Some(Ok(key)) = claimed.groups().next().map(|group| group.key()) {
            self.leave(key, Holdup::Turn);
        }
        let now = Instant::now();
        self.slow.put_off(WITHOUT_TURN, now);
        self.busy.end_one();
        if !self.suspect_is_done {
            self.no_danger_before = now + WITHOUT_TURN;
        }
        self.forget_suspect(tools).await?;
        Ok(Batch::Done(end))
    }

    pub(super) fn claim<'a>(
        &self,
        idle_lock: IdleLockAction,
        bisecting: bool,
        (alone, without): (Option<&'a str>, &'a [String]),
    ) -> Claim<'a> {
        let place = self.from;
        let (part, limit) = match alone {
            Some(key) => (Part::Slug(key), 1),
            None if self.suspect_is_done => {
                (Part::From { place, without }, self.batch_size.limit())
            }
            None => (Part::Suspect, 1),
        };
        Claim {
            idle_lock,
            part,
            limit,
            budget: self.batch_size.budget(self.turn.is_some()),
            wait: match self.busy.alone() {
                Some(_) if self.slow.alone().is_none() => LockWait::InQueue(IN_QUEUE),
                _ if bisecting => LockWait::Brief,
                _ => LockWait::Usual,
            },
        }
    }

    /// The try of one slug alone is over.
    pub(super) fn end_one(&mut self) {
        self.slow.end_one();
        self.busy.end_one();
    }

    /// Notes that a slug stays in the outbox, and for what.
    pub(super) fn leave(&mut self, key: &str, holdup: Holdup) {
        self.tell(Input::LeftRows);
        self.passed.insert(key, ());
        self.left.get_or_insert_with(|| (key.to_owned(), holdup));
    }

    /// The keys that this scan has left, as far as they are remembered. It passes their further
    /// rows over: each would be looked at with all configurations again.
    pub(super) fn passed(&self) -> Vec<String> {
        self.passed.iter().map(|(key, ())| key.to_owned()).collect()
    }

    /// Notes that slugs stay in the outbox.
    pub(super) fn note_left(&mut self, plan: &BatchPlan<'_>) {
        for key in &plan.left {
            self.leave(key, Holdup::Write);
        }
        let now = Instant::now();
        for key in &plan.busy {
            self.busy.add(key, now);
        }
        if let Some(key) = plan.dangerous {
            self.dangerous.get_or_insert_with(|| key.to_owned());
        }
    }

    /// Notes and reports a committed batch.
    pub(super) async fn committed(
        &mut self,
        tools: Tools<'_>,
        plan: &BatchPlan<'_>,
        finished: &Finished,
        end: End,
        read: Instant,
    ) -> Result<(), AttemptError> {
        if finished.taken > 0 || plan.sets_aside() {
            self.tell(Input::TookRows);
        }
        if !plan.outcome.every_tenant.is_empty() {
            // The batch has put rows into the outbox, perhaps before the position of this scan.
            self.tell(Input::MoreWork);
        }
        (self.transient, self.faults) = (0, 0);
        self.batch_size
            .on_success(end.looked_at, plan.slugs, plan.heavy, read.elapsed());
        self.add(plan.totals);
        self.settled.add(&plan.outcome.problems, end.oldest_running);
        self.has_new_retry |= plan.outcome.problems.iter().any(|problem| problem.retries);
        batch_events::committed(
            tools.observer,
            (tools.store.layout(), tools.rules),
            plan,
            &finished.not_logged,
            end.looked_at,
            read.elapsed(),
        );
        self.forget_suspect(tools).await
    }
}
