//! Brings agents in sync through the outbox. While no daemon leads, a one-shot drain processes it.
//!
//! Slugs are enqueued in portions, so the outbox of a busy daemon is never flooded. A portion is
//! finished when none of its slugs is in the outbox; then a survey determines the result of each.
//!
//! Every wait is bounded. The work is given up if the outbox does not change for longer than a
//! statement may take, or if no slug of a portion is finished for ten minutes. The enqueued slugs
//! stay in the outbox for the next daemon.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use postgres_types::Type;

use crate::mapping::Rules;
use crate::pg::{Parameter, QueryError};
use crate::session::Session;
use crate::settings::{Database, Settings};
use crate::store::surveyed::Named;
use crate::store::{Layout, enqueue, report};
use crate::survey::{Comparison, Scope, Verdict, survey};
use crate::sync::{AttemptError, OneShotDrain, Options};

/// The number of slugs in a portion.
const PORTION: usize = 1000;

/// The first and the longest pause between two reads of the outbox while a daemon works.
const PAUSE: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(100));

/// The time limit for a portion without progress while other rows are processed: behind a long
/// backlog or a lock.
const LONGEST: Duration = Duration::from_secs(600);

/// The time for a standby or restarted daemon to take the lead before this process does.
const GRACE: Duration = Duration::from_millis(1500);

/// The reason of a failure.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// The one-shot drain failed.
    #[error(transparent)]
    Drain(#[from] AttemptError),
    /// A query failed.
    #[error(transparent)]
    Store(#[from] QueryError),
    /// A daemon leads and does not process the slugs.
    #[error("a daemon leads, and has not taken the slugs out of the outbox for {0:.0?}")]
    Stalled(Duration),
    /// Other sessions hold locks.
    #[error("other sessions have held locks on the rows to write for {0:.0?}")]
    Locked(Duration),
}

/// The result of one slug.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SlugResult {
    /// Its configurations are in sync, or were in sync until another save, which is in the outbox.
    InSync,
    /// It has no configuration.
    Missing,
    /// It is rejected, for these reasons.
    Rejected(Vec<String>),
    /// It could not be brought in sync.
    Failed {
        /// The reason.
        detail: String,
        /// The SQLSTATE.
        sqlstate: Option<String>,
    },
    /// It was written and differs again: another writer or a trigger changed it back.
    Differs,
    /// It has no agent any more.
    Gone,
}

impl SlugResult {
    fn of(comparison: &Comparison) -> Self {
        match (comparison.verdict(), comparison.refused()) {
            (Verdict::InSync, _) | (Verdict::Pending, None) => Self::InSync,
            (Verdict::Missing, _) => Self::Missing,
            (Verdict::Rejected | Verdict::Ambiguous, _) => {
                Self::Rejected(comparison.mistakes.clone())
            }
            (_, Some(refused)) => Self::Failed {
                detail: refused.detail.clone(),
                sqlstate: refused.sqlstate.clone(),
            },
            (Verdict::Drifted, None) => Self::Differs,
        }
    }
}

/// Brings agents of one database in sync.
pub struct Reconciler<'a> {
    database: &'a Database,
    settings: &'a Settings,
    rules: Arc<Rules>,
    layout: Layout,
    session: Session,
    oneshot: Option<OneShotDrain>,
}

impl<'a> Reconciler<'a> {
    /// The time without a change of the outbox, beyond `sync.statement_timeout`, after which the
    /// work is given up.
    const STALL: Duration = Duration::from_secs(15);

    /// Uses a session without the leader lock.
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

    /// Brings the agents with these keys in sync, each ended by a NUL, and reports the result of
    /// each.
    pub async fn run(
        &mut self,
        keys: &str,
        mut report_result: impl FnMut(&str, SlugResult),
    ) -> Result<(), ReconcileError> {
        let mut keys = keys.split_terminator('\0');
        loop {
            let portion: Vec<&str> = keys.by_ref().take(PORTION).collect();
            if portion.is_empty() {
                return Ok(());
            }
            enqueue::put(self.session.db(), self.layout.keys(), &portion).await?;
            self.until_done(&portion).await?;
            self.report_results(&portion, &mut report_result).await?;
        }
    }

    /// Whether the one-shot drain of this process does the work of a daemon.
    pub fn uses_oneshot_drain(&self) -> bool {
        self.oneshot.is_some()
    }

    /// Releases the leader lock, if the one-shot drain took it.
    pub async fn end(self) -> Result<(), ReconcileError> {
        match self.oneshot {
            Some(oneshot) => Ok(oneshot.release().await?),
            None => Ok(()),
        }
    }

    /// Waits until a daemon has processed the portion, or processes it with a one-shot drain.
    async fn until_done(&mut self, portion: &[&str]) -> Result<(), ReconcileError> {
        let stall = self.settings.sync.statement_timeout + Self::STALL;
        let (mut last, mut moved) = ((i64::MAX, 0), Instant::now());
        let mut fewer = moved;
        let (mut pause, mut without_leader) = (PAUSE.0, None);
        loop {
            let began = Instant::now();
            let now = self.pending(portion).await?;
            if now.0 == 0 {
                return Ok(());
            }
            if now.0 < last.0 {
                (fewer, pause) = (began, PAUSE.0);
            }
            if now != last {
                (last, moved) = (now, began);
            }
            if moved.elapsed() > stall || fewer.elapsed() > LONGEST {
                let stalled = if self.uses_oneshot_drain() {
                    ReconcileError::Locked
                } else {
                    ReconcileError::Stalled
                };
                return Err(stalled(fewer.elapsed()));
            }
            // Each read scans the outbox, so the pauses grow with the duration of a read.
            let until = Instant::now() + pause.max(began.elapsed() * 4);
            pause = (pause * 2).min(PAUSE.1);
            if let Some(oneshot) = &mut self.oneshot {
                while oneshot.drain_batch().await? && Instant::now() < until {}
                continue;
            }
            if self.session.db().value(report::LED, &[]).await? {
                without_leader = None;
            } else {
                // A standby or restarting daemon gets time to take the lead.
                let since = *without_leader.get_or_insert_with(Instant::now);
                if since.elapsed() >= GRACE || !self.is_any_daemon_connected().await? {
                    self.acquire().await?;
                    continue;
                }
            }
            tokio::time::sleep_until(until.into()).await;
        }
    }

    async fn acquire(&mut self) -> Result<(), ReconcileError> {
        let options = Options::of(self.settings);
        // Boxed: the future of a connect is large.
        let acquiring = OneShotDrain::acquire(self.database, options, Arc::clone(&self.rules));
        self.oneshot = Box::pin(acquiring).await?;
        Ok(())
    }

    /// Whether a session of a daemon is connected.
    async fn is_any_daemon_connected(&self) -> Result<bool, QueryError> {
        let daemons = self.session.db().all(&report::daemons(), &[]).await?;
        Ok(!daemons.is_empty())
    }

    /// The number of slugs of the portion in the outbox, and the total number of deleted rows of
    /// the outbox.
    async fn pending(&self, portion: &[&str]) -> Result<(i64, i64), QueryError> {
        let db = self.session.db();
        let keys: [Parameter<'_>; 1] = [(&portion, Type::TEXT_ARRAY)];
        let still_pending = report::still_pending(self.layout.keys());
        let row = db.one(&still_pending, &keys).await?;
        Ok((row.try_get(0)?, row.try_get(1)?))
    }

    async fn report_results(
        &mut self,
        portion: &[&str],
        report_result: &mut impl FnMut(&str, SlugResult),
    ) -> Result<(), ReconcileError> {
        let mut unseen: std::collections::BTreeSet<&str> = portion.iter().copied().collect();
        let scope = Scope {
            named: Some((Named::Keys, portion)),
            can_read_notes: true,
            ..Scope::default()
        };
        survey(
            self.session.db(),
            &self.layout,
            &self.rules,
            scope,
            |comparison| {
                unseen.remove(comparison.key.as_str());
                report_result(&comparison.key, SlugResult::of(comparison));
                ControlFlow::Continue(())
            },
        )
        .await?;
        for key in unseen {
            report_result(key, SlugResult::Gone);
        }
        Ok(())
    }
}
