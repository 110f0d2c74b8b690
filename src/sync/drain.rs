//! Processes the outbox in batches, from the front to the end.
//!
//! [`Protocol`] decides when to scan, when to sleep and what happens to the idle lock; this module
//! executes its commands.
//!
//! The outbox has no index: a batch reads on from the end of the last one, so that a backlog drains
//! in linear time, however many dead rows lie in front. A row can appear behind that position (a
//! long transaction commits, or freed space is used again), so the outbox counts as empty only after
//! a scan from the front has found nothing.
//!
//! A batch that fails is tried write by write in the same transaction (`probe`): what PostgreSQL
//! refuses is set aside as a problem, what waits for a lock is left for later, and the rest is
//! written. Where that does not find the culprit (an error at the commit, a statement that takes
//! too long, a row that cannot even be read), the batch is halved, down to one row
//! ([`super::batch_size`]). Whatever the error, one row never stops the others (G5). What an error means
//! is in `store::failure`.
//!
//! A write that takes long is left out as well, and tried alone ([`super::slow`]).
//!
//! A lock on a whole table is nobody's fault either: the claim is made again until the lock is gone
//! (G16).

mod probe;

use std::time::{Duration, Instant};

use probe::{PROBES, PROBES_OF_SLOW};

use super::batch_plan::{BatchPlan, Refusal, Requested, Settled, plan_batch};
use super::batch_size::BatchSize;
use super::connection::AttemptError;
use super::protocol::{Command, Input, Next, Protocol};
use super::slow::Slow;
use super::{fast_path, large, report};
use crate::mapping::Rules;
use crate::observe::{Event, Observer, Totals, pulse};
use crate::session::Session;
use crate::store::failure::{self, Class};
use crate::store::{
    CONNECTION_ENDED, Claim, Claimed, ForeignCode, IdleLockAction, Part, Problem, ProblemKind,
    RowId, Store, StoreError, Tried,
};

/// How often in a row a batch may meet a transient fault before the connection is given up.
const TRANSIENT_LIMIT: u32 = 20;

/// How many single rows in a row may fail on what is not about rows, before it is taken to be about
/// the database.
const FAULT_LIMIT: u32 = 3;

/// The first and the longest pause between scans of the outbox while a writer blocks the idle lock.
const POLL: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(20));

/// What one drain works with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tools<'a> {
    pub(super) session: &'a Session,
    pub(super) store: &'a Store,
    pub(super) rules: &'a Rules,
    pub(super) observer: &'a Observer,
    /// The channel to tell of configurations that were written.
    pub(super) announce: Option<&'a str>,
    /// What code of others runs in the session when a configuration is written.
    pub(super) foreign_code: ForeignCode,
}

/// The state of the drain.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(super) struct Drain {
    protocol: Protocol,
    command: Command<RowId>,
    /// The position that the next batch reads on from.
    from: RowId,
    scan_began: Instant,
    batch_size: BatchSize,
    poll_pause: Duration,
    /// When the server was last told to write a batch.
    finishing: Instant,
    /// How often in a row a batch has met a transient fault, and single rows one that is not about
    /// rows.
    transient: u32,
    faults: u32,
    totals: Totals,
    last_write: Option<Instant>,
    wrote: bool,
    set_aside: bool,
    /// Whether the agent that this connection begins with is noted, and whether it is done, or
    /// there was none (`store::attempt`).
    has_noted: bool,
    has_begun: bool,
    /// The slugs whose write has failed in this pass.
    settled: Settled,
    requested: Requested,
    /// The slugs whose write takes long.
    slow: Slow,
    /// A slug that was left in the outbox since this was last asked.
    left: Option<String>,
    /// A slug that was left because connections have ended on it.
    dangerous: Option<String>,
}

/// What one step of the drain came to.
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
            from: RowId::START,
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
        }
    }

    /// What it came to since this was last asked.
    pub(super) fn take_totals(&mut self) -> Totals {
        std::mem::take(&mut self.totals)
    }

    /// When a configuration was last written, if one was since this was last asked.
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

    /// Whether a failed write was set aside since this was last asked.
    pub(super) fn take_set_aside(&mut self) -> bool {
        std::mem::take(&mut self.set_aside)
    }

    /// A slug that was left in the outbox since this was last asked: locked by others, or slow.
    pub(super) fn take_left(&mut self) -> Option<String> {
        self.left.take()
    }

    /// Whether a configuration was written since this was last asked, so that triggers of others
    /// have run in the session.
    pub(super) fn take_wrote(&mut self) -> bool {
        std::mem::take(&mut self.wrote)
    }

    /// Whether the session certainly holds the idle lock.
    pub(super) fn holds_idle_lock(&self) -> bool {
        self.protocol.holds_idle_lock()
    }

    /// Passes a fact to the protocol.
    pub(super) fn tell(&mut self, input: Input<RowId>) {
        match self.protocol.next(input) {
            Command::Continue => {}
            command => self.command = command,
        }
    }

    /// Notes that somebody has asked for these slugs, which are in the outbox.
    pub(super) fn was_asked(&mut self, slugs: &[String]) {
        self.requested.add(slugs);
    }

    /// Notes that somebody has asked for every agent.
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
        let end = match batch {
            Batch::Done(end) if !end.is_cut => end,
            Batch::Done(_) | Batch::Again | Batch::Locked => {
                self.tell(Input::BatchEnded(Next::Same));
                return Ok(());
            }
            Batch::Left(last) => {
                self.from = last.next();
                self.tell(Input::BatchEnded(Next::Further));
                return Ok(());
            }
        };
        if !end.is_last {
            self.from = end.last.next();
            self.tell(Input::BatchEnded(Next::Further));
            return Ok(());
        }
        self.has_begun = true;
        self.settled.clear();
        self.requested = Requested::default();
        (self.from, self.scan_began) = (RowId::START, Instant::now());
        if let Some(slug) = self.dangerous.take() {
            self.tell(Input::BatchEnded(Next::Front));
            let client = tools.session.client();
            tools.store.note_dangerous(client, &slug).await?;
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
        let Tools {
            session,
            store,
            rules,
            announce,
            ..
        } = tools;
        let client = session.client();
        if !self.has_noted {
            self.note_first(tools).await?;
        }
        let read = Instant::now();
        let alone = self.slow.alone().map(str::to_owned);
        let claim = self.claim(action, self.batch_size.is_bisecting(), alone.as_deref());
        let begun = match store.begin(client, claim).await {
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
        .map_err(StoreError::from)?;
        let end = End::of(&claimed, claim, &plan);
        self.note_left(&plan);
        if plan.heavy > 0 && !plan.takes_any() {
            if claim.limit > 1 {
                store.abandon(client).await?;
                self.batch_size.on_too_heavy(0, plan.heavy);
                return Ok(Batch::Again);
            }
            let budget = claim.budget;
            if let Err(error) = large::run(tools, &claimed, budget, &mut plan).await {
                return self.write_failed(tools, error, &plan, end).await;
            }
        }
        if !plan.takes_any() {
            self.slow.end_one();
            store.abandon(client).await?;
            self.forget_first(tools).await?;
            return Ok(Batch::Done(end));
        }
        self.requested.mark(&mut plan.outcome.problems);
        self.finishing = Instant::now();
        match store
            .finish(
                client,
                &plan.outcome,
                announce,
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

    fn claim<'a>(
        &self,
        idle_lock: IdleLockAction,
        careful: bool,
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
            budget: self.batch_size.budget(),
            careful,
        }
    }

    /// Remembers that slugs stay in the outbox, and one of them.
    fn note_left(&mut self, plan: &BatchPlan<'_>) {
        if let Some(slug) = plan.left {
            self.tell(Input::SawLocked);
            self.left.get_or_insert_with(|| slug.to_owned());
        }
        if let Some(slug) = plan.dangerous {
            self.dangerous.get_or_insert_with(|| slug.to_owned());
        }
    }

    /// Notes the agent that this connection begins with, or sets it aside.
    async fn note_first(&mut self, tools: Tools<'_>) -> Result<(), AttemptError> {
        let Tools { session, store, .. } = tools;
        match store.note_first(session.client(), self.from).await? {
            Tried::First => self.has_begun = false,
            Tried::Nothing => self.has_begun = true,
            Tried::TooOften { times } => {
                let detail = format!(
                    "the connection ended {times} times in a row while this agent was brought in \
                    sync"
                );
                let slug = store
                    .set_aside_noted(session.client(), &detail, Some(CONNECTION_ENDED))
                    .await?;
                self.was_set_aside(
                    tools,
                    &slug.unwrap_or_default(),
                    false,
                    &detail,
                    CONNECTION_ENDED,
                );
            }
        }
        self.has_noted = true;
        Ok(())
    }

    /// The write of an agent has failed, and is noted.
    fn was_set_aside(
        &mut self,
        tools: Tools<'_>,
        slug: &str,
        known: bool,
        detail: &str,
        sqlstate: &str,
    ) {
        let remedy = failure::remedy(sqlstate);
        tools.observer.tell(&Event::Failed {
            slug,
            known,
            detail,
            sqlstate,
            remedy,
        });
        self.set_aside = true;
        self.tell(Input::TookRows);
        self.has_begun = true;
    }

    /// A batch is committed: notes it, and tells of it.
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
        self.settled.add(&plan.outcome.problems, read);
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

    /// The first batch of the connection is over, and the connection is not.
    async fn forget_first(&mut self, tools: Tools<'_>) -> Result<(), AttemptError> {
        if !std::mem::replace(&mut self.has_begun, true) {
            tools.store.forget_first(tools.session.client()).await?;
        }
        Ok(())
    }

    /// What to do when a batch could not be taken: try another one, or give up the connection.
    async fn claim_failed(
        &mut self,
        tools: Tools<'_>,
        error: StoreError,
    ) -> Result<Batch, AttemptError> {
        let Tools { session, store, .. } = tools;
        let (StoreError::Postgres(cause), Some(class)) = (&error, error.class()) else {
            return Err(error.into());
        };
        if matches!(class, Class::Connection | Class::Layout) {
            return Err(error.into());
        }
        store.abandon(session.client()).await?;
        let limit = if self.slow.alone().is_some() || !self.has_begun {
            1
        } else {
            self.batch_size.limit()
        };
        if class != Class::Locked && self.slow.alone().is_some() {
            self.slow.end_one(); // Whatever it is, the slug meets it among the others.
            return Ok(Batch::Again);
        }
        match class {
            Class::Locked => Ok(Batch::Locked),
            Class::Transient if self.pause_after_transient(tools, cause).await => Ok(Batch::Again),
            _ if self.batch_size.on_failure(limit as usize) => Ok(Batch::Again),
            Class::Transient => Err(error.into()),
            Class::Fault if self.faults >= FAULT_LIMIT => Err(error.into()),
            _ => {
                // A single row that cannot even be read with what it is about.
                self.faults += u32::from(class == Class::Fault);
                let (detail, sqlstate) = (
                    failure::describe_write(cause),
                    cause.code().map_or("", |state| state.code()),
                );
                let set_aside = if self.has_begun {
                    store
                        .set_aside_first(session.client(), self.from, &detail, sqlstate)
                        .await?
                } else {
                    store
                        .set_aside_noted(session.client(), &detail, Some(sqlstate))
                        .await?
                };
                let Some(slug) = set_aside else {
                    return Err(error.into());
                };
                self.was_set_aside(tools, &slug, false, &detail, sqlstate);
                Ok(Batch::Again)
            }
        }
    }

    /// What to do when a batch could not be written: find the writes that are to blame and do
    /// without them, or try a smaller one.
    async fn write_failed(
        &mut self,
        tools: Tools<'_>,
        error: StoreError,
        plan: &BatchPlan<'_>,
        end: End,
    ) -> Result<Batch, AttemptError> {
        let Tools { session, store, .. } = tools;
        let (StoreError::Postgres(cause), Some(class)) = (&error, error.class()) else {
            return Err(error.into());
        };
        match class {
            Class::Connection | Class::Layout => return Err(error.into()),
            Class::Transient if self.pause_after_transient(tools, cause).await => {
                return Ok(Batch::Again);
            }
            Class::Row | Class::Fault | Class::Locked if plan.outcome.writes.len() > 1 => {
                if let Some(batch) = Box::pin(self.probe(tools, PROBES)).await? {
                    return Ok(batch);
                }
            }
            Class::Slow if plan.slugs > 1 => {
                if let Some(batch) = Box::pin(self.probe(tools, PROBES_OF_SLOW)).await? {
                    return Ok(batch);
                }
            }
            _ => {}
        }
        store.abandon(session.client()).await?;
        let is_alone = self.slow.alone().is_some();
        if plan.slugs > 1 && self.batch_size.on_failure(end.looked_at) {
            return Ok(Batch::Again);
        }
        // One slug, and so the culprit.
        let Some(&slug) = plan.outcome.taken.slugs.first() else {
            return Err(error.into());
        };
        let refusal = match class {
            // A trigger may raise 57014 itself, and somebody may have cancelled the write: then it
            // took less.
            Class::Slow
                if self.finishing.elapsed() >= self.slow.time().mul_f64(0.9)
                    && self.slow.took_too_long(slug, Instant::now()) =>
            {
                Refusal::Slow
            }
            _ => Refusal::of(cause),
        };
        self.slow.end_one();
        match refusal {
            Refusal::Locked | Refusal::Slow => {
                // Nobody's problem: it stays in the outbox, its neighbours go on, and it is looked
                // at again.
                self.tell(Input::SawLocked);
                self.left.get_or_insert_with(|| slug.to_owned());
                let goes_on = self.has_begun && !is_alone;
                self.forget_first(tools).await?;
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
                let mut problem = Problem {
                    slug: slug.to_owned(),
                    kind: ProblemKind::Failed,
                    detail: detail.clone(),
                    sqlstate: Some(sqlstate.clone()),
                    retries: true,
                    asked: false,
                };
                self.requested.mark(std::slice::from_mut(&mut problem));
                let read = Instant::now();
                let unchanged = store
                    .set_aside(
                        session.client(),
                        &plan.outcome.taken,
                        std::slice::from_ref(&problem),
                    )
                    .await?;
                self.settled.add(&[problem], read);
                self.transient = 0;
                self.forget_first(tools).await?;
                self.was_set_aside(tools, slug, !unchanged.is_empty(), &detail, &sqlstate);
                Ok(Batch::Again)
            }
        }
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
        tools.observer.tell(&Event::Retrying {
            cause: &failure::describe(cause),
        });
        self.transient += 1;
        let pause = POLL.0.saturating_mul(1 << self.transient.min(7));
        pulse::sleep(pause.mul_f64(0.5 + fastrand::f64())).await;
        true
    }
}

/// What came of a batch.
#[derive(Debug, Clone, Copy)]
enum Batch {
    /// It is committed, or there was nothing to commit.
    Done(End),
    /// It is to be done again, with other limits.
    Again,
    /// Its one slug stays in the outbox; the next batch begins behind this row.
    Left(RowId),
    /// Another session has a table locked.
    Locked,
}

/// How far a batch came.
#[derive(Debug, Clone, Copy)]
struct End {
    looked_at: usize,
    last: RowId,
    /// Whether the next batch begins at the same place: slugs were left out, because the batch
    /// would have been too heavy, or it was about the first slug of the connection alone.
    is_cut: bool,
    /// Whether it has reached the end of the outbox.
    is_last: bool,
}

impl End {
    fn of(claimed: &Claimed, claim: Claim<'_>, plan: &BatchPlan<'_>) -> Self {
        Self {
            looked_at: claimed.looked_at,
            last: claimed.last,
            is_cut: claim.is_one() || plan.heavy > 0 && plan.takes_any(),
            is_last: claimed.looked_at < claim.limit as usize,
        }
    }
}
