//! Taking the outbox apart, batch by batch, front to back.
//!
//! The outbox has no index: a batch reads on from the place where the last one ended, so that a backlog drains in
//! linear time, however many dead rows lie in front. A row can appear behind that place (a long transaction commits,
//! or freed space is used again), so nothing is called empty before one pass from the very front has found nothing.
//!
//! A batch whose write fails on what a row holds is done again with half the rows, down to one (G5): that one is set
//! aside as a problem, and the batches grow again.

use std::time::Duration;

use super::attempt::AttemptError;
use super::decide::{Decision, decide};
use crate::mapping::Rules;
use crate::observe::{Event, Observer, Totals};
use crate::session::Session;
use crate::store::failure::{self, Class};
use crate::store::{Idle, Problem, ProblemKind, RowId, Store, StoreError};

/// How often in a row a batch may meet a transient fault before the connection is given up.
const TRANSIENT_LIMIT: u32 = 20;

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
}

/// Where the drain stands.
#[derive(Debug)]
pub(super) struct Drain {
    pass: Pass,
    lock: SleeperLock,
    limit: u32,
    most: u32,
    poll: Duration,
    transient: u32,
    totals: Totals,
    set_aside: bool,
}

/// One pass over the outbox, from the front to the end.
#[derive(Debug, Default)]
struct Pass {
    /// The place that the next batch reads on from.
    from: RowId,
    took_any: bool,
    /// Whether it met anything that others have locked.
    met_busy: bool,
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
    /// It is held, and the next batch begins by releasing it.
    Unwanted,
}

/// What one step of the drain came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Drained {
    /// There may be more.
    More,
    /// A whole pass found nothing that could be taken; the lock of the sleeper is held, if it is wanted.
    Nothing {
        /// Whether something is left that others have locked.
        busy: bool,
    },
}

impl Drain {
    pub(super) fn new(batch_size: u32) -> Self {
        Self {
            pass: Pass::default(),
            lock: SleeperLock::Free,
            limit: batch_size,
            most: batch_size,
            poll: POLL.0,
            transient: 0,
            totals: Totals::default(),
            set_aside: false,
        }
    }

    /// What it came to since this was last asked.
    pub(super) fn take_totals(&mut self) -> Totals {
        std::mem::take(&mut self.totals)
    }

    /// Whether a failed write was set aside since this was last asked.
    pub(super) fn take_set_aside(&mut self) -> bool {
        std::mem::take(&mut self.set_aside)
    }

    /// Says that the daemon has woken up: the lock of the sleeper is released with the next batch.
    pub(super) fn wake(&mut self) {
        if self.lock == SleeperLock::Held {
            self.lock = SleeperLock::Unwanted;
        }
    }

    /// One batch; or, where a writer in flight keeps the daemon from going to sleep, a short pause.
    ///
    /// The end is the protocol of the sleeping consumer (C6): the lock is taken, and then one whole pass finds nothing.
    pub(super) async fn step(&mut self, tools: Tools<'_>) -> Result<Drained, AttemptError> {
        let limit = self.limit;
        // On the heap: a batch is large compared with the rest of the loop.
        let Some(end) = Box::pin(self.batch(tools)).await? else {
            return Ok(Drained::More); // It is done again, with other limits.
        };
        if end.looked_at >= limit as usize {
            self.pass.from = end.last.next();
            return Ok(Drained::More);
        }
        let pass = std::mem::take(&mut self.pass);
        let nothing = Drained::Nothing { busy: pass.met_busy };
        match self.lock {
            _ if pass.took_any => self.poll = POLL.0,
            SleeperLock::Held => return Ok(nothing),
            _ if !tools.may_sleep => return Ok(nothing),
            // It was wanted from the beginning of this pass, so a writer that did not notify is in flight.
            SleeperLock::Wanted => {
                tokio::time::sleep(self.poll).await;
                self.poll = (self.poll * 2).min(POLL.1);
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
        let Tools { session, store, rules, observer, may_sleep } = tools;
        let client = session.client();
        let idle = match self.lock {
            SleeperLock::Unwanted => Idle::Release,
            SleeperLock::Held if self.pass.took_any => Idle::Release,
            SleeperLock::Wanted if may_sleep && self.pass.from == RowId::START => Idle::Try,
            _ => Idle::Keep,
        };
        let begun = store.begin(client, idle, self.pass.from, self.limit).await;
        let (got_lock, claimed) = match begun {
            Ok(begun) => begun,
            Err(error) => {
                if idle == Idle::Try {
                    // Whether it was taken is not known; releasing one that is not held does no harm.
                    self.lock = SleeperLock::Unwanted;
                }
                return self.again(tools, error, None).await;
            }
        };
        match idle {
            Idle::Release => self.lock = SleeperLock::Free,
            Idle::Try if got_lock => self.lock = SleeperLock::Held,
            Idle::Try | Idle::Keep => {}
        }
        let decision = decide(rules, &store.layout().targets, &claimed).map_err(StoreError::from)?;
        let end = End { looked_at: claimed.looked_at, last: claimed.last };
        self.pass.met_busy |= decision.totals.busy > 0;
        if !decision.took_any {
            store.abandon(client).await?;
            return Ok(Some(end));
        }
        match store.finish(client, &decision.outcome).await {
            Ok(written) => {
                self.pass.took_any = true;
                self.transient = 0;
                self.limit = (self.limit.saturating_mul(2)).min(self.most);
                self.totals.add(decision.totals);
                tell(observer, &decision, written);
                Ok(Some(end))
            }
            Err(error) => self.again(tools, error, Some((decision.first, claimed.looked_at))).await,
        }
    }

    /// What to do after an error: give up the connection, or make the next try another one.
    async fn again(
        &mut self,
        tools: Tools<'_>,
        error: StoreError,
        culprit: Option<(Option<&str>, usize)>,
    ) -> Result<Option<End>, AttemptError> {
        let StoreError::Postgres(cause) = &error else { return Err(error.into()) };
        let policy = failure::policy(cause);
        match (policy.class, culprit) {
            (Class::Transient, _) if self.transient < TRANSIENT_LIMIT => {
                tools.store.abandon(tools.session.client()).await?;
                tools.observer.tell(&Event::Retrying { cause: &failure::describe(cause) });
                self.transient += 1;
                let pause = POLL.0.saturating_mul(1 << self.transient.min(7));
                tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64())).await;
                Ok(None)
            }
            (Class::Row, Some((Some(slug), 1))) => {
                let detail = failure::describe(cause);
                let sqlstate = cause.code().map_or("", |state| state.code());
                let problem = Problem {
                    slug: slug.to_owned(),
                    kind: ProblemKind::Failed,
                    detail: detail.clone(),
                    sqlstate: Some(sqlstate.to_owned()),
                };
                tools.store.set_aside(tools.session.client(), problem).await?;
                tools.observer.tell(&Event::Failed {
                    slug,
                    detail: &detail,
                    sqlstate,
                    remedy: policy.remedy,
                });
                self.set_aside = true;
                self.pass.took_any = true;
                Ok(None)
            }
            (Class::Row, Some((_, looked_at))) if looked_at > 1 => {
                self.limit = u32::try_from(looked_at / 2).unwrap_or(self.most).clamp(1, self.most);
                Ok(None)
            }
            _ => Err(error.into()),
        }
    }
}

/// How far a batch came.
#[derive(Debug, Clone, Copy)]
struct End {
    looked_at: usize,
    last: RowId,
}

/// Tells what a committed batch came to.
fn tell(observer: &Observer, decision: &Decision<'_>, written: u64) {
    for problem in &decision.outcome.problems {
        let slug = problem.slug.as_str();
        match problem.kind {
            ProblemKind::MissingConfiguration => observer.tell(&Event::MissingConfiguration { slug }),
            ProblemKind::Rejected => observer.tell(&Event::Rejected { slug, reasons: &problem.detail }),
            ProblemKind::Failed => {}
        }
    }
    for (slug, remark) in &decision.remarks {
        observer.tell(&Event::Mapped { slug, warning: remark });
    }
    let expected = decision.outcome.writes.len() as u64;
    if written < expected {
        observer.tell(&Event::Suppressed { expected, written });
    }
    observer.tell(&Event::Batch { totals: decision.totals });
}
