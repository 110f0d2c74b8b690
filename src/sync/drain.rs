//! Processes the outbox in batches, from the front to the end.
//!
//! [`Protocol`] decides when to scan, when to sleep and what happens to the idle lock; this module
//! executes its commands.
//!
//! The outbox has no index: a batch reads on from the end of the last one, so that a backlog drains
//! in linear time, however many dead rows lie in front. A row can appear before that position (a
//! long transaction commits, or freed space is used again). So the daemon sleeps only after a scan
//! from the front under the idle lock, or, where it never takes that lock, after a scan that has
//! found nothing.
//!
//! A failed batch is the subject of `drain::failure`. Whatever the error, one row never stops the
//! others (G5). A slow write is tried alone ([`super::slow`]), and a lock on a whole table is
//! waited for (G16).

mod failure;
mod first;
mod trial;

use std::time::{Duration, Instant};

use super::batch_plan::{BatchPlan, Requested, Settled, plan_batch};
use super::batch_size::BatchSize;
use super::context::Tools;
use super::error::AttemptError;
use super::heavy::Turn;
use super::protocol::{Command, Input, Next, Protocol};
use super::slow::Slow;
use super::{fast_path, large, report};
use crate::observe::Totals;
use crate::pg::{QueryError, Tid, Version};
use crate::store::{Claim, Claimed, IdleLockAction, Part};

/// The first and the longest pause between scans of the outbox while a writer blocks the idle lock.
const POLL: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(20));

/// The state of the drain.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(super) struct Drain {
    protocol: Protocol,
    command: Command<Tid>,
    /// The position that the next batch reads on from.
    from: Tid,
    scan_began: Instant,
    batch_size: BatchSize,
    poll_pause: Duration,
    /// When a batch was last sent to be written.
    finishing: Instant,
    /// The number of consecutive batches with a transient error.
    transient: u32,
    /// The number of consecutive single rows that failed with the class `Fault`.
    faults: u32,
    totals: Totals,
    last_write: Option<Instant>,
    wrote: bool,
    set_aside: bool,
    /// Whether the first agent of this connection is noted (`store::attempt`), or there was none.
    has_noted: bool,
    /// Whether that agent is done, or there was none: larger batches may follow.
    has_begun: bool,
    /// The slugs whose write has failed in this scan.
    settled: Settled,
    requested: Requested,
    /// The slugs whose write takes long.
    slow: Slow,
    /// A slug that was left in the outbox since the last [`Self::take_left`].
    left: Option<String>,
    /// A slug that was left because connections have ended on it. It is tried alone after this
    /// scan.
    dangerous: Option<String>,
    /// The turn of heavy work, from its first heavy batch to the end of the connection.
    turn: Option<Turn>,
}

/// The result of one step of the drain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Drained {
    /// There may be more.
    More,
    /// Nothing more can be taken, and a writer blocks the idle lock.
    Poll {
        /// Whether something is left that others have locked.
        saw_locked: bool,
        /// The pause before the next scan.
        pause: Duration,
    },
    /// Another session has a table locked; nothing has happened.
    Locked,
    /// Nothing more can be taken. The idle lock is held, if writers notify.
    Sleep {
        /// Whether something is left that others have locked.
        saw_locked: bool,
    },
}

impl Drain {
    /// With `may_sleep`, writers notify a sleeping daemon (C6); without, it never takes the idle
    /// lock.
    pub(super) fn new(batch_size: u32, statement_timeout: Duration, may_sleep: bool) -> Self {
        let mut protocol = Protocol::new(may_sleep);
        Self {
            command: protocol.next(Input::Unannounced),
            protocol,
            from: Tid::START,
            scan_began: Instant::now(),
            batch_size: BatchSize::new(batch_size),
            poll_pause: POLL.0,
            finishing: Instant::now(),
            transient: 0,
            faults: 0,
            totals: Totals::default(),
            last_write: None,
            wrote: false,
            set_aside: false,
            has_noted: false,
            has_begun: false,
            settled: Settled::default(),
            requested: Requested::default(),
            slow: Slow::new(statement_timeout),
            left: None,
            dangerous: None,
            turn: None,
        }
    }

    /// The totals since the last call.
    pub(super) fn take_totals(&mut self) -> Totals {
        std::mem::take(&mut self.totals)
    }

    /// When a configuration was last written, if one was since the last call.
    pub(super) fn take_last_write(&mut self) -> Option<Instant> {
        self.last_write.take()
    }

    fn add(&mut self, totals: Totals) {
        if totals.written > 0 {
            self.last_write = Some(Instant::now());
            self.wrote = true;
        }
        self.totals.add(totals);
    }

    /// Whether a failed write was set aside since the last call.
    pub(super) fn take_set_aside(&mut self) -> bool {
        std::mem::take(&mut self.set_aside)
    }

    /// A slug that was left in the outbox since the last call.
    pub(super) fn take_left(&mut self) -> Option<String> {
        self.left.take()
    }

    /// Whether the connection has to end, so that another database has the turn of heavy work, and
    /// the memory of this one is released.
    pub(super) fn owes_turn(&self, is_done: bool) -> bool {
        self.turn
            .as_ref()
            .is_some_and(|turn| is_done || turn.is_over())
    }

    /// Whether a configuration was written since the last call.
    pub(super) fn take_wrote(&mut self) -> bool {
        std::mem::take(&mut self.wrote)
    }

    /// Whether the session certainly holds the idle lock.
    pub(super) fn holds_idle_lock(&self) -> bool {
        self.protocol.holds_idle_lock()
    }

    /// Passes a fact to the protocol.
    pub(super) fn tell(&mut self, input: Input<Tid>) {
        match self.protocol.next(input) {
            Command::Continue => {}
            command => self.command = command,
        }
    }

    /// Notes a request for these slugs, which are in the outbox.
    pub(super) fn was_asked(&mut self, slugs: &[String]) {
        self.requested.add(slugs);
    }

    /// Notes a request for every agent.
    pub(super) fn was_asked_for_everything(&mut self) {
        self.requested.add_everything();
    }

    /// One batch, or one change by the fast path.
    pub(super) async fn step(&mut self, tools: Tools<'_>) -> Result<Drained, AttemptError> {
        if let Command::FastPath(tid) = self.command {
            let totals = Box::pin(fast_path::run(tools, tid, &self.slow)).await?;
            let done = totals.is_some();
            self.tell(Input::FastPathEnded { done });
            if let Some(totals) = totals {
                self.add(totals);
            }
        }
        let mut scan = Duration::ZERO;
        if let Command::Claim(action) = self.command {
            // On the heap: a batch is large compared with the rest of the loop.
            let batch = Box::pin(self.batch(tools, action)).await?;
            scan = self.scan_began.elapsed();
            self.batch_ended(tools, batch).await?;
            if let Batch::Locked = batch {
                return Ok(Drained::Locked);
            }
        }
        Ok(match self.command {
            Command::Poll { saw_locked } => {
                let pause = self.poll_pause;
                // A scan that takes long, over many dead rows, is not repeated all the time.
                self.poll_pause = (pause * 2).min(POLL.1.max(scan / 4));
                Drained::Poll { saw_locked, pause }
            }
            Command::Sleep { saw_locked } => Drained::Sleep { saw_locked },
            Command::Claim(_) | Command::FastPath(_) | Command::Continue => Drained::More,
        })
    }

    /// Passes the end of a batch to the protocol.
    async fn batch_ended(&mut self, tools: Tools<'_>, batch: Batch) -> Result<(), AttemptError> {
        match batch {
            Batch::Done(end) if end.is_last && !end.is_cut => {}
            Batch::Left(last)
            | Batch::Done(End {
                is_cut: false,
                last,
                ..
            }) => {
                self.from = last.next();
                self.tell(Input::BatchEnded(Next::Further));
                return Ok(());
            }
            Batch::Done(_) | Batch::Again | Batch::Locked => {
                self.tell(Input::BatchEnded(Next::Same));
                return Ok(());
            }
        }
        self.has_begun = true;
        self.settled.clear();
        self.requested = Requested::default();
        (self.from, self.scan_began) = (Tid::START, Instant::now());
        if let Some(slug) = self.dangerous.take() {
            self.tell(Input::BatchEnded(Next::Front));
            tools.store.note_dangerous(&slug).await?;
            self.has_begun = false;
        } else if self.slow.begin_one(Instant::now()) {
            self.tell(Input::BatchEnded(Next::Front));
        } else {
            self.tell(Input::BatchEnded(Next::End));
            if !matches!(self.command, Command::Poll { .. }) {
                self.poll_pause = POLL.0;
            }
        }
        Ok(())
    }

    /// Takes one batch and ends it.
    async fn batch(
        &mut self,
        tools: Tools<'_>,
        action: IdleLockAction,
    ) -> Result<Batch, AttemptError> {
        let Tools { store, rules, .. } = tools;
        if !self.has_noted {
            self.note_first(tools).await?;
        }
        let read = Instant::now();
        if self.turn.is_none() && self.batch_size.wants_turn() {
            self.turn = tools.heavy.try_begin();
        }
        let alone = self.slow.alone().map(str::to_owned);
        let claim = self.claim(action, self.batch_size.is_bisecting(), alone.as_deref());
        let begun = match store.begin(claim).await {
            Ok(Some(begun)) => begun,
            Ok(None) => return Err(AttemptError::LostLead),
            Err(error) => {
                self.tell(Input::ClaimFailed { action });
                return self.claim_failed(tools, error).await;
            }
        };
        let got_lock = begun.got_idle_lock;
        self.tell(Input::Claimed { action, got_lock });
        let claimed = begun.claimed;
        let mut plan = plan_batch(
            rules,
            &store.layout().targets,
            &claimed,
            &self.settled,
            &self.slow,
            claim.is_one(),
        )
        .await
        .map_err(QueryError::from)?;
        let end = End::of(&claimed, claim, &plan).map_err(QueryError::from)?;
        self.note_left(&plan);
        if plan.heavy > 0 && !plan.takes_any() {
            if claim.limit > 1 {
                store.abandon().await?;
                self.batch_size.on_too_heavy(0, plan.heavy);
                return Ok(Batch::Again);
            }
            if self.turn.is_none() {
                store.abandon().await?;
                return self.wait_for_turn(tools, &claimed, end).await;
            }
            if let Err(error) = large::run(tools, &claimed, claim.budget, &mut plan).await {
                return self.write_failed(tools, error, &plan, end).await;
            }
        }
        if !plan.takes_any() {
            self.slow.end_one();
            store.abandon().await?;
            self.forget_first(tools).await?;
            return Ok(Batch::Done(end));
        }
        self.requested.mark(&mut plan.outcome.problems);
        self.finishing = Instant::now();
        match store
            .finish(
                &plan.outcome,
                tools.announce,
                self.slow.limit(tools.foreign_code),
            )
            .await
        {
            Ok(unchanged) => {
                self.slow.end_one();
                self.committed(tools, &plan, &unchanged, end, read).await?;
                Ok(Batch::Done(end))
            }
            Err(error) => self.write_failed(tools, error, &plan, end).await,
        }
    }

    /// Repeats the claim of a heavy slug once it is the turn of this connection, or leaves the slug
    /// for later.
    async fn wait_for_turn(
        &mut self,
        tools: Tools<'_>,
        claimed: &Claimed,
        end: End,
    ) -> Result<Batch, AttemptError> {
        self.turn = tools.heavy.begin().await;
        if self.turn.is_some() {
            return Ok(Batch::Again);
        }
        let mut left = BatchPlan::default();
        if let Some(Ok(slug)) = claimed.groups().next().map(|group| group.slug()) {
            left.leave(slug);
        }
        self.note_left(&left);
        self.slow.end_one();
        self.forget_first(tools).await?;
        Ok(Batch::Done(end))
    }

    fn claim<'a>(
        &self,
        idle_lock: IdleLockAction,
        bisecting: bool,
        alone: Option<&'a str>,
    ) -> Claim<'a> {
        let (part, limit) = match alone {
            Some(slug) => (Part::Slug(slug), 1),
            None if self.has_begun => (Part::From(self.from), self.batch_size.limit()),
            None => (Part::First, 1),
        };
        Claim {
            idle_lock,
            part,
            limit,
            budget: self.batch_size.budget(self.turn.is_some()),
            careful: bisecting,
        }
    }

    /// Notes that slugs stay in the outbox.
    fn note_left(&mut self, plan: &BatchPlan<'_>) {
        if let Some(slug) = plan.left {
            self.tell(Input::SawLocked);
            self.left.get_or_insert_with(|| slug.to_owned());
        }
        if let Some(slug) = plan.dangerous {
            self.dangerous.get_or_insert_with(|| slug.to_owned());
        }
    }

    /// Notes and reports a committed batch.
    async fn committed(
        &mut self,
        tools: Tools<'_>,
        plan: &BatchPlan<'_>,
        unchanged: &[String],
        end: End,
        read: Instant,
    ) -> Result<(), AttemptError> {
        self.tell(Input::TookRows);
        (self.transient, self.faults) = (0, 0);
        self.batch_size
            .on_success(end.looked_at, plan.slugs, plan.heavy, read.elapsed());
        self.add(plan.totals);
        self.settled.add(&plan.outcome.problems, end.oldest_running);
        self.set_aside |= plan.outcome.problems.iter().any(|problem| problem.retries);
        let remedies = &tools.store.layout().remedies;
        report::committed(
            tools.observer,
            remedies,
            plan,
            unchanged,
            end.looked_at,
            read.elapsed(),
        );
        self.forget_first(tools).await
    }
}

/// The result of a batch.
#[derive(Debug, Clone, Copy)]
enum Batch {
    /// It is committed, or there was nothing to commit.
    Done(End),
    /// It has to be repeated, with other limits.
    Again,
    /// Its one slug stays in the outbox; the next batch begins behind this row.
    Left(Tid),
    /// Another session has a table locked.
    Locked,
}

/// The end of a batch.
#[derive(Debug, Clone, Copy)]
struct End {
    looked_at: usize,
    last: Tid,
    /// Whether the next batch begins at the same place: slugs were left out, because the batch
    /// would have been too heavy, or the batch had one slug alone (the first of the connection, or
    /// a slow one).
    is_cut: bool,
    /// Whether it has reached the end of the outbox.
    is_last: bool,
    /// See [`Claimed::oldest_running`].
    oldest_running: Option<Version>,
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
            is_cut: claim.is_one() || plan.heavy > 0 && plan.takes_any(),
            is_last: claimed.looked_at < claim.limit as usize,
            oldest_running: claimed.oldest_running()?,
        })
    }
}
