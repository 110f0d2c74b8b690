//! Taking the outbox apart, batch by batch, front to back.
//!
//! The end of a drain is the protocol of the sleeping consumer (C6). Whoever commits while the lock of the sleeper is held
//! has notified; so once it is held, one pass from the front to the end has seen all that nobody notifies of, and the
//! daemon may sleep. While a writer in flight that did not notify is in the way of the lock, the pass is made again after a pause
//! (`attempt::Attempt::poll`): how long that takes is up to the writer, so the database counts as caught up meanwhile. A lone change is therefore one pass, with the lock held throughout: the lock is released only when there is
//! more to do, so that those who save in the meantime need not notify. `tests/model` has the same steps under the same names, those of a
//! lone change as well, and checks them in every order: whoever changes the one changes the other.
//!
//! The outbox has no index: a batch reads on from the place where the last one ended, so that a backlog drains in
//! linear time, however many dead rows lie in front. A row can appear behind that place (a long transaction commits,
//! or freed space is used again), so nothing is called empty before one pass from the very front has found nothing.
//!
//! While the lock is held since a whole pass, a change whose place is known needs no pass at all ([`super::lone`]).
//!
//! A batch that fails is done again with half the rows, down to one (G5): that one is set aside as a problem, or left for
//! later if somebody else holds a lock, and the batches grow again ([`super::pace`]). What an error means is
//! in `store::failure`.

use std::time::{Duration, Instant};

use super::attempt::AttemptError;
use super::decide::decide;
use super::lone;
use super::pace::Pace;
use super::report;
use crate::mapping::Rules;
use crate::observe::{Event, Observer, Totals, pulse};
use crate::session::Session;
use crate::store::failure::{self, Class};
use crate::store::{Idle, Problem, ProblemKind, RowId, Store, StoreError};

/// How often in a row a batch may meet a transient fault before the connection is given up.
const TRANSIENT_LIMIT: u32 = 20;

/// How many single rows in a row may fail on what is not about rows, before it is taken to be about the database.
const FAULT_LIMIT: u32 = 3;

/// The first and the longest pause between looks at the outbox while a writer that did not notify is in flight.
const POLL: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(20));

/// What one drain works with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tools<'a> {
    pub(super) session: &'a Session,
    pub(super) store: &'a Store,
    pub(super) rules: &'a Rules,
    pub(super) observer: &'a Observer,
    /// Whether writers notify a sleeping daemon (C6); if not, it polls.
    pub(super) may_sleep: bool,
    /// The channel to tell of configurations that were written.
    pub(super) announce: Option<&'a str>,
}

/// Where the drain stands.
#[derive(Debug)]
pub(super) struct Drain {
    pass: Pass,
    lock: SleeperLock,
    /// Whether a whole pass has found nothing since the lock is held, and nothing has been put into the outbox without notifying.
    knows_all: bool,
    /// The place of the one change that has come since, as its writer says.
    change: Option<RowId>,
    pace: Pace,
    poll: Duration,
    /// How often in a row a batch has met a transient fault, and single rows one that is not about rows.
    transient: u32,
    faults: u32,
    totals: Totals,
    last_write: Option<Instant>,
    set_aside: bool,
}

/// One pass over the outbox, from the front to the end.
#[derive(Debug)]
struct Pass {
    began: Instant,
    /// The place that the next batch reads on from.
    from: RowId,
    took_any: bool,
    /// Whether it met anything that others have locked.
    met_busy: bool,
}

impl Pass {
    fn begin() -> Self {
        Self { began: Instant::now(), from: RowId::START, took_any: false, met_busy: false }
    }
}

/// Where this session stands with the lock that tells writers that the daemon sleeps (C6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SleeperLock {
    /// It is free: writers do not notify.
    Free,
    /// It is free, and the next pass begins by taking it, unless a writer in flight is in the way.
    Wanted,
    /// It is held: writers notify.
    Held,
    /// It is held, and the next batch begins by releasing it: there is more to do.
    Unwanted,
}

/// What one step of the drain came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Drained {
    /// There may be more.
    More,
    /// There is nothing more that could be taken, but a writer in flight that did not notify keeps the daemon from going to sleep.
    Awake {
        /// Whether something is left that others have locked.
        busy: bool,
        /// For how long to wait before the next look at the outbox.
        pause: Duration,
    },
    /// There is nothing more that could be taken; the lock of the sleeper is held, if it is wanted.
    Nothing {
        /// Whether something is left that others have locked.
        busy: bool,
    },
}

impl Drain {
    pub(super) fn new(batch_size: u32) -> Self {
        Self {
            pass: Pass::begin(),
            lock: SleeperLock::Free,
            knows_all: false,
            change: None,
            pace: Pace::new(batch_size),
            poll: POLL.0,
            transient: 0,
            faults: 0,
            totals: Totals::default(),
            last_write: None,
            set_aside: false,
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
        }
        self.totals.add(totals);
    }

    /// Whether a failed write was set aside since this was last asked.
    pub(super) fn take_set_aside(&mut self) -> bool {
        std::mem::take(&mut self.set_aside)
    }

    /// Says that there is more to do already: the lock of the sleeper is released with the next batch.
    pub(super) fn stay_awake(&mut self) {
        if self.lock == SleeperLock::Held {
            self.lock = SleeperLock::Unwanted;
        }
    }

    /// Says that a writer has named the place of its change, and that no more has come.
    pub(super) fn look_at(&mut self, change: RowId) {
        self.change = Some(change);
    }

    /// Says that there may be rows in the outbox that nobody has notified of.
    pub(super) fn look_everywhere(&mut self) {
        self.knows_all = false;
    }

    /// One batch.
    pub(super) async fn step(&mut self, tools: Tools<'_>) -> Result<Drained, AttemptError> {
        if let Some(place) = self.change.take() {
            // Until this is done, or a whole pass has been made instead, there is a row that was not looked at.
            let knows_all = std::mem::replace(&mut self.knows_all, false);
            if knows_all
                && self.lock == SleeperLock::Held
                && tools.announce.is_none()
                && let Some(totals) = Box::pin(lone::run(tools, place)).await?
            {
                self.knows_all = true;
                self.add(totals);
                return Ok(Drained::Nothing { busy: false });
            }
        }
        let limit = self.pace.limit();
        // On the heap: a batch is large compared with the rest of the loop.
        let Some(end) = Box::pin(self.batch(tools)).await? else {
            return Ok(Drained::More); // It is done again, with other limits.
        };
        if end.looked_at >= limit as usize {
            self.pass.from = end.last.next();
            return Ok(Drained::More);
        }
        let pass = std::mem::replace(&mut self.pass, Pass::begin());
        let nothing = Drained::Nothing { busy: pass.met_busy };
        match self.lock {
            // Held from the front to the end: whatever has come since has notified.
            SleeperLock::Held => {
                self.knows_all = !pass.met_busy;
                return Ok(nothing);
            }
            _ if pass.took_any => self.poll = POLL.0,
            _ if !tools.may_sleep => return Ok(nothing),
            // It was wanted from the beginning of this pass, so a writer that did not notify is in flight.
            SleeperLock::Wanted => {
                let pause = self.poll;
                // A pass that takes long, over many dead rows, is not made over and over.
                self.poll = (self.poll * 2).min(POLL.1.max(pass.began.elapsed() / 4));
                return Ok(Drained::Awake { busy: pass.met_busy, pause });
            }
            SleeperLock::Free | SleeperLock::Unwanted => {}
        }
        if self.lock == SleeperLock::Free {
            self.lock = SleeperLock::Wanted;
        }
        Ok(Drained::More)
    }

    /// Takes one batch and ends it. None when it is to be done again.
    async fn batch(&mut self, tools: Tools<'_>) -> Result<Option<End>, AttemptError> {
        let Tools { session, store, rules, observer, may_sleep, announce } = tools;
        let client = session.client();
        let idle = match self.lock {
            SleeperLock::Unwanted => Idle::Release,
            SleeperLock::Held if self.pass.took_any => Idle::Release,
            SleeperLock::Wanted if may_sleep && self.pass.from == RowId::START => Idle::Try,
            _ => Idle::Keep,
        };
        let (from, limit, careful) = (self.pass.from, self.pace.limit(), self.pace.is_careful());
        let (got_lock, claimed) = match store.begin(client, idle, from, limit, careful).await {
            Ok(begun) => begun,
            Err(error) => {
                if idle == Idle::Try {
                    // Whether it was taken is not known; releasing one that is not held does no harm.
                    self.lock = SleeperLock::Unwanted;
                }
                return self.claim_failed(tools, error).await.map(|()| None);
            }
        };
        match idle {
            Idle::Release => self.lock = SleeperLock::Free,
            Idle::Try if got_lock => self.lock = SleeperLock::Held,
            Idle::Try | Idle::Keep => {}
        }
        let read = Instant::now();
        let decision = decide(rules, &store.layout().targets, &claimed).map_err(StoreError::from)?;
        let end = End { looked_at: claimed.looked_at, last: claimed.last };
        self.pass.met_busy |= decision.totals.busy > 0;
        if !decision.took_any {
            store.abandon(client).await?;
            return Ok(Some(end));
        }
        match store.finish(client, &claimed.taken, &decision.outcome, announce).await {
            Ok(()) => {
                self.pass.took_any = true;
                (self.transient, self.faults) = (0, 0);
                self.pace.went_well(claimed.looked_at, claimed.bytes);
                self.add(decision.totals);
                report::committed(
                    observer,
                    &store.layout().remedies,
                    &decision,
                    claimed.looked_at,
                    read.elapsed(),
                );
                Ok(Some(end))
            }
            Err(error) => self.write_failed(tools, error, decision.first, end).await.map(|()| None),
        }
    }

    /// What to do when a batch could not be taken: try another one, or give up the connection.
    async fn claim_failed(&mut self, tools: Tools<'_>, error: StoreError) -> Result<(), AttemptError> {
        let Tools { session, store, .. } = tools;
        let StoreError::Postgres(cause) = &error else { return Err(error.into()) };
        let class = failure::policy(cause).class;
        if !matches!(class, Class::Connection | Class::Fault) {
            store.abandon(session.client()).await?;
        }
        match class {
            Class::Transient | Class::Locked if self.pause_after_transient(tools, cause).await => Ok(()),
            Class::Row | Class::Slow if self.pace.went_wrong(self.pace.limit() as usize) => Ok(()),
            Class::Row | Class::Slow => {
                // A single row that cannot even be read: its slug stands in the outbox.
                let Some((place, slug)) = store.first_in_outbox(session.client(), self.pass.from).await?
                else {
                    return Err(error.into());
                };
                self.set_aside(tools, cause, &slug, place).await
            }
            _ => Err(error.into()),
        }
    }

    /// What to do when a batch could not be written: the same for the next, smaller one; or set the culprit aside.
    async fn write_failed(
        &mut self,
        tools: Tools<'_>,
        error: StoreError,
        slug: Option<&str>,
        end: End,
    ) -> Result<(), AttemptError> {
        let StoreError::Postgres(cause) = &error else { return Err(error.into()) };
        let class = failure::policy(cause).class;
        if class == Class::Connection {
            return Err(error.into());
        }
        if class == Class::Transient && self.pause_after_transient(tools, cause).await {
            return Ok(());
        }
        if self.pace.went_wrong(end.looked_at) {
            return Ok(());
        }
        let Some(slug) = slug else { return Err(error.into()) };
        match class {
            Class::Locked => {
                // Nobody's problem: it stays in the outbox, its neighbours go on, and it is looked at again.
                self.pass.met_busy = true;
                self.pass.from = end.last.next();
                Ok(())
            }
            Class::Fault if self.faults >= FAULT_LIMIT => Err(error.into()),
            _ => {
                self.faults += u32::from(class == Class::Fault);
                self.set_aside(tools, cause, slug, end.last).await
            }
        }
    }

    /// Waits a little before the same is done again; false when it has been done often enough.
    async fn pause_after_transient(&mut self, tools: Tools<'_>, cause: &tokio_postgres::Error) -> bool {
        if self.transient >= TRANSIENT_LIMIT {
            return false;
        }
        tools.observer.tell(&Event::Retrying { cause: &failure::describe(cause) });
        self.transient += 1;
        let pause = POLL.0.saturating_mul(1 << self.transient.min(7));
        pulse::sleep(pause.mul_f64(0.5 + fastrand::f64())).await;
        true
    }

    /// Notes the failure of one slug, and takes the row that stood for it out of the outbox.
    async fn set_aside(
        &mut self,
        tools: Tools<'_>,
        cause: &tokio_postgres::Error,
        slug: &str,
        place: RowId,
    ) -> Result<(), AttemptError> {
        let detail = failure::describe(cause);
        let sqlstate = cause.code().map_or("", |state| state.code());
        let problem = Problem {
            slug: slug.to_owned(),
            kind: ProblemKind::Failed,
            detail: detail.clone(),
            sqlstate: Some(sqlstate.to_owned()),
        };
        tools.store.set_aside(tools.session.client(), problem, place).await?;
        let remedy = failure::remedy(sqlstate);
        tools.observer.tell(&Event::Failed { slug, detail: &detail, sqlstate, remedy });
        self.set_aside = true;
        self.pass.took_any = true;
        self.transient = 0;
        Ok(())
    }
}

/// How far a batch came.
#[derive(Debug, Clone, Copy)]
struct End {
    looked_at: usize,
    last: RowId,
}
