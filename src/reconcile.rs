//! Bringing slugs in sync through the daemon's ordinary path: the outbox. Where no daemon leads, a
//! one-shot drain processes it.
//!
//! Slugs go in a portion at a time, so that the outbox of a busy daemon is never flooded; a portion
//! is over when none of its slugs is in the outbox any more, and then what became of them is looked
//! up by the same mapping.
//!
//! Every wait is bounded: when nothing moves in the outbox for longer than a statement may take, or
//! nothing of a portion for ten minutes, the work is given up. What was put into the outbox stays
//! there, and a daemon that comes back finds it.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use postgres_types::Type;

use crate::mapping::Rules;
use crate::pg::{Parameter, QueryError};
use crate::session::Session;
use crate::settings::{Database, Settings};
use crate::store::{Layout, report};
use crate::survey::{Findings, Scope, Verdict, survey};
use crate::sync::{AttemptError, OneShotDrain, Options};

/// How many slugs go into the outbox at a time.
const PORTION: usize = 1000;

/// The first and the longest pause between two looks at the outbox while a daemon works.
const LOOK: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(100));

/// How long slugs may stay in the outbox while others are taken out of it: behind a long backlog,
/// or behind somebody's lock.
const LONGEST: Duration = Duration::from_secs(600);

/// How long a daemon gets to step in by itself, before this process does.
const GRACE: Duration = Duration::from_millis(1500);

/// Why it could not be done.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// The one-shot drain failed.
    #[error(transparent)]
    Drain(#[from] AttemptError),
    /// A question was not answered.
    #[error(transparent)]
    Store(#[from] QueryError),
    /// A daemon leads, and does not take them.
    #[error("a daemon leads, and has not taken the slugs out of the outbox for {0:.0?}")]
    Stalled(Duration),
    /// Others hold locks.
    #[error("others have held locks on what is to be written for {0:.0?}")]
    Locked(Duration),
}

/// What became of one slug.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Became {
    /// Its configurations are in sync; or they were, and the agent has been saved once more, which
    /// is in the outbox.
    InSync,
    /// It has no configuration.
    Missing,
    /// Its settings cannot be mapped, and why.
    Rejected(Vec<String>),
    /// PostgreSQL refused the write, and why.
    Failed {
        /// The reason.
        detail: String,
        /// The SQLSTATE.
        sqlstate: Option<String>,
    },
    /// It was written, and differs again: somebody or something changes it back.
    Differs,
    /// Its agent is gone.
    Gone,
}

impl Became {
    fn of(findings: &Findings) -> Self {
        match (findings.verdict(), findings.refused()) {
            (Verdict::InSync, _) | (Verdict::Pending, None) => Self::InSync,
            (Verdict::Missing, _) => Self::Missing,
            (Verdict::Rejected | Verdict::Ambiguous, _) => {
                Self::Rejected(findings.mistakes.clone())
            }
            (_, Some(refused)) => Self::Failed {
                detail: refused.detail.clone(),
                sqlstate: refused.sqlstate.clone(),
            },
            (Verdict::Drifted, None) => Self::Differs,
        }
    }
}

/// Brings slugs of one database in sync.
pub struct Reconciler<'a> {
    database: &'a Database,
    settings: &'a Settings,
    rules: Arc<Rules>,
    layout: Layout,
    session: Session,
    oneshot: Option<OneShotDrain>,
}

impl<'a> Reconciler<'a> {
    /// How long nothing may happen, beyond the time that one statement may take.
    const STALL: Duration = Duration::from_secs(15);

    /// Over a session that is not the daemon's.
    pub fn new(
        database: &'a Database,
        settings: &'a Settings,
        rules: Arc<Rules>,
        layout: Layout,
        session: Session,
    ) -> Self {
        Self {
            database,
            settings,
            rules,
            layout,
            session,
            oneshot: None,
        }
    }

    /// Brings these slugs in sync, each ended by a NUL, and tells what became of each.
    pub async fn run(
        &mut self,
        slugs: &str,
        mut tell: impl FnMut(&str, Became),
    ) -> Result<(), ReconcileError> {
        let mut slugs = slugs.split_terminator('\0');
        loop {
            let portion: Vec<&str> = slugs.by_ref().take(PORTION).collect();
            if portion.is_empty() {
                return Ok(());
            }
            report::send(self.session.db(), &portion).await?;
            self.until_done(&portion).await?;
            self.look_up(&portion, &mut tell).await?;
        }
    }

    /// Whether this process does the work that is a daemon's.
    pub fn stands_in(&self) -> bool {
        self.oneshot.is_some()
    }

    /// Gives back what it has taken.
    pub async fn end(self) -> Result<(), ReconcileError> {
        match self.oneshot {
            Some(oneshot) => Ok(oneshot.release().await?),
            None => Ok(()),
        }
    }

    /// Waits until a daemon has done the portion, or does it.
    async fn until_done(&mut self, portion: &[&str]) -> Result<(), ReconcileError> {
        let stall = self.settings.sync.statement_timeout + Self::STALL;
        let (mut last, mut moved) = ((i64::MAX, 0), Instant::now());
        let mut fewer = moved;
        let (mut pause, mut unled) = (LOOK.0, None);
        loop {
            let began = Instant::now();
            let now = self.pending(portion).await?;
            if now.0 == 0 {
                return Ok(());
            }
            if now.0 < last.0 {
                (fewer, pause) = (began, LOOK.0);
            }
            if now != last {
                (last, moved) = (now, began);
            }
            if moved.elapsed() > stall || fewer.elapsed() > LONGEST {
                let stalled = if self.stands_in() {
                    ReconcileError::Locked
                } else {
                    ReconcileError::Stalled
                };
                return Err(stalled(fewer.elapsed()));
            }
            // A look costs a scan of the outbox: of a long one, looks are few.
            let until = Instant::now() + pause.max(began.elapsed() * 4);
            pause = (pause * 2).min(LOOK.1);
            if let Some(oneshot) = &mut self.oneshot {
                while oneshot.drain_batch().await? && Instant::now() < until {}
                continue;
            }
            if self.session.db().value(report::LED, &[]).await? {
                unled = None;
            } else {
                // A daemon that stands by, or comes back, is left to take over.
                let since = *unled.get_or_insert_with(Instant::now);
                if since.elapsed() >= GRACE || !self.anybody_waits().await? {
                    self.acquire().await?;
                    continue;
                }
            }
            tokio::time::sleep_until(until.into()).await;
        }
    }

    async fn acquire(&mut self) -> Result<(), ReconcileError> {
        let options = Options::of(self.settings);
        // On the heap: to connect is large compared with the rest.
        let acquiring = OneShotDrain::acquire(self.database, options, Arc::clone(&self.rules));
        self.oneshot = Box::pin(acquiring).await?;
        Ok(())
    }

    /// Whether there is a daemon at all.
    async fn anybody_waits(&self) -> Result<bool, QueryError> {
        let daemons = self.session.db().all(report::DAEMONS, &[]).await?;
        Ok(!daemons.is_empty())
    }

    /// How many of the portion are left, and how many rows the outbox has lost.
    async fn pending(&self, portion: &[&str]) -> Result<(i64, i64), QueryError> {
        let db = self.session.db();
        let slugs: [Parameter<'_>; 1] = [(&portion, Type::TEXT_ARRAY)];
        let row = db.one(report::STILL_PENDING, &slugs).await?;
        Ok((row.try_get(0)?, row.try_get(1)?))
    }

    async fn look_up(
        &mut self,
        portion: &[&str],
        tell: &mut impl FnMut(&str, Became),
    ) -> Result<(), ReconcileError> {
        let mut unseen: std::collections::BTreeSet<&str> = portion.iter().copied().collect();
        let scope = Scope {
            slugs: Some(portion),
            noted: true,
        };
        survey(
            self.session.db(),
            &self.layout,
            &self.rules,
            scope,
            |findings| {
                unseen.remove(findings.slug.as_str());
                tell(&findings.slug, Became::of(findings));
                ControlFlow::Continue(())
            },
        )
        .await?;
        for slug in unseen {
            tell(slug, Became::Gone);
        }
        Ok(())
    }
}
