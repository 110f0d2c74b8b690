//! The transaction of a batch: begun with a claim, ended by a commit that takes the rows of the
//! processed slugs out of the outbox. The rows of a slug that is left for later stay there.
//!
//! Invariant: only the holder of the leader lock writes (G2). The session holds it, but a trigger
//! of others on the configurations may release all locks of the session. So each batch takes the
//! lock again for its own transaction. This costs no round trip while the session holds it, and
//! fails when another session does.

use std::borrow::Cow;
use std::time::Duration;

use postgres_types::{ToSql, Type};

use super::batch::{Claimed, Outcome};
use super::claim::{BRIEF, Claim, LockWait, Part};
use super::problems::Problem;
use super::taken::Taken;
use super::{IdleLockAction, Store, path, queries};
use crate::columns::PerColumn;
use crate::mapping::Changes;
use crate::pg::{Db, Parameter, QueryError, RowRef, Tid};

/// Fires deferred triggers and checks deferred constraints, as COMMIT does, but within the time
/// limit of a statement, which PostgreSQL lifts before it commits.
const FIRE_DEFERRED: &str = "SET CONSTRAINTS ALL IMMEDIATE";

/// Values of a batch up to this size are sent within the ordinary time limits.
const SENT_IN_ORDINARY_TIME: usize = 256 * 1024;

/// The slowest link that a batch is given time for, in bytes a millisecond.
const SLOWEST: usize = 64;

/// The longest time that the server waits for the rest of a batch and holds its locks.
const LONGEST: Duration = Duration::from_secs(60);

/// The idle timeout of a transaction: `session::settings` sets it, and a large batch extends it.
pub const IDLE: Duration = Duration::from_secs(5);

/// A transaction that has begun. [`Store::finish`] or [`Store::abandon`] must end it.
#[derive(Debug)]
#[must_use = "a batch that has begun must be ended"]
pub struct Begun {
    /// Whether the idle lock is held now, if the claim asked for it.
    pub got_idle_lock: bool,
    /// The rows that were read.
    pub claimed: Claimed,
}

/// A committed batch.
#[derive(Debug)]
pub struct Finished {
    /// The keys whose problem is not to be logged (G5, S8).
    pub not_logged: Vec<String>,
    /// How many of the rows of [`Outcome::taken`] it has taken out of the outbox.
    pub taken: u64,
}

impl Finished {
    /// Whether none of the rows that it was to take is left.
    pub fn has_taken_all(&self, outcome: &Outcome<'_>) -> bool {
        self.taken >= outcome.taken.rows() as u64
    }
}

impl Store {
    /// Begins a batch: reads rows of the outbox with their agents and configurations. If another
    /// session has the leader lock, it returns None and leaves no transaction open.
    pub async fn begin(&self, claim: Claim<'_>) -> Result<Option<Begun>, QueryError> {
        let opening = match claim.wait {
            LockWait::Usual => Cow::Borrowed("BEGIN"),
            LockWait::Brief => {
                format!("BEGIN; SET LOCAL lock_timeout = {}", BRIEF.as_millis()).into()
            }
            LockWait::InQueue(time) => format!("BEGIN; {}", set_time(time)).into(),
        };
        let (limit, budget) = (i64::from(claim.limit), budget_of(claim.budget));
        let (statement, parameters): (_, Vec<&(dyn ToSql + Sync)>) = match &claim.part {
            Part::From { place, without } => {
                (&self.claims.part, vec![place, &limit, &budget, without])
            }
            Part::Suspect => (&self.claims.suspect, vec![&budget]),
            Part::Slug(slug) => (&self.claims.slug, vec![slug, &budget]),
        };
        let db = &self.db;
        let idle_lock = async {
            match claim.idle_lock {
                IdleLockAction::Keep => Ok(false),
                IdleLockAction::Release => db
                    .run_prepared(&self.release_idle_lock, &[])
                    .await
                    .map(|_| false),
                IdleLockAction::Try => db.value_prepared(&self.try_idle_lock).await,
            }
        };
        // All are sent at their first poll, in this order, and answered in this order.
        let (got_idle_lock, begun, locked, leads, rows) = tokio::join!(
            biased;
            idle_lock,
            db.batch(&opening),
            self.wait_in_queue(claim),
            db.value_prepared::<bool>(&self.keep_lead),
            db.all_prepared(statement, &parameters),
        );
        begun?;
        locked?;
        let leads = leads?;
        let begun = Begun {
            got_idle_lock: got_idle_lock?,
            claimed: Claimed::new(rows?)?.with_at_most(claim.most_keys())?,
        };
        if leads {
            return Ok(Some(begun));
        }
        self.abandon().await?;
        Ok(None)
    }

    /// Waits in the queue for the locks of the configurations of a slug, if the claim asks for it.
    async fn wait_in_queue(&self, claim: Claim<'_>) -> Result<(), QueryError> {
        let (LockWait::InQueue(_), Part::Slug(slug)) = (claim.wait, claim.part) else {
            return Ok(());
        };
        let (db, query) = (&self.db, queries::lock_configurations(&self.layout));
        let slug: [Parameter<'_>; 1] = [(&slug, Type::TEXT)];
        let (locked, usual) = tokio::join!(
            biased;
            db.run(&query, &slug),
            db.batch(&self.usual_settings),
        );
        locked?;
        usual
    }

    /// Which versions of which rows the configurations of a slug are, as a number to be compared.
    /// Two may have the same one: then the slug is looked at as if nothing had changed.
    pub async fn versions_of_configurations(&self, slug: &str) -> Result<i64, QueryError> {
        let query = queries::versions_of_configurations(&self.layout);
        self.db.value(&query, &[(&slug, Type::TEXT)]).await
    }

    /// Whether another session locks a configuration of this slug, within the claimed transaction.
    pub async fn has_locked_configuration(&self, slug: &str) -> Result<bool, QueryError> {
        let query = queries::has_locked_configuration(&self.layout);
        self.db.value(&query, &[(&slug, Type::TEXT)]).await
    }

    /// Reads, within the claimed transaction, which rows of the outbox and which configurations a
    /// slug has, and what they weigh.
    pub async fn claim_slug(&self, slug: &str) -> Result<Claimed, QueryError> {
        let rows = self
            .db
            .all_prepared(&self.claims.slug, &[&slug, &0.0_f64])
            .await?;
        Claimed::new(rows)?.with_at_most(1)
    }

    /// Those of the slugs that an agent has, although a claim does not find it by the index.
    pub async fn missed_by_index(&self, slugs: &[&str]) -> Result<Vec<String>, QueryError> {
        let query = queries::missed_by_index(&self.layout.agents);
        self.db.column(&query, &[(&slugs, Type::TEXT_ARRAY)]).await
    }

    /// Reads a slug with some of its configurations, which this transaction has claimed and locked.
    pub async fn read_page(&self, slug: &str, page: &[RowRef]) -> Result<Claimed, QueryError> {
        let places: Vec<Tid> = page.iter().map(|place| place.row).collect();
        let relations: Vec<u32> = page.iter().map(|place| place.relation).collect();
        let rows = self
            .db
            .all_prepared(&self.claims.page, &[&slug, &places, &relations])
            .await?;
        Claimed::new(rows)?.with_at_most(1)
    }

    /// Writes configurations that this transaction has claimed, and takes nothing out of the
    /// outbox. A write that takes longer than `time` is an error.
    pub async fn write_page(
        &self,
        outcome: &Outcome<'_>,
        time: Duration,
    ) -> Result<(), QueryError> {
        if outcome.writes.is_empty() {
            return Ok(());
        }
        let db = &self.extend_idle(outcome.bytes()).await?;
        let nothing = Taken::default();
        let limit = format!("{}; {}", set_time(time), path::OF_THE_ROLE);
        let (set, written, reset) = tokio::join!(
            biased;
            db.batch(&limit),
            self.write(db, &outcome.writes, &outcome.changed, &nothing),
            db.batch(&self.usual_settings),
        );
        set?;
        written?;
        reset
    }

    /// Tries one write within the claimed transaction, and undoes it, so that its error is known
    /// and the transaction goes on.
    pub async fn try_write(
        &self,
        slug: &str,
        write: &(RowRef, Changes<'_>),
    ) -> Result<Result<(), QueryError>, QueryError> {
        let (db, nothing, slugs) = (&self.db, Taken::default(), [slug]);
        let begin = format!("SAVEPOINT one; {}", path::OF_THE_ROLE);
        // The path of before comes back with the savepoint.
        let (set, written, checked, undone) = tokio::join!(
            biased;
            db.batch(&begin),
            self.write(db, std::slice::from_ref(write), &slugs, &nothing),
            db.batch(FIRE_DEFERRED),
            db.batch("ROLLBACK TO one"),
        );
        set?;
        undone?;
        Ok(written.map(drop).and(checked))
    }

    /// Limits the time that each further statement of the transaction may take.
    pub async fn limit_time(&self, time: Duration) -> Result<(), QueryError> {
        self.db.batch(&set_time(time)).await
    }

    /// Ends a batch in one round trip (two, where it sends much): deletes its outbox rows, writes
    /// its outcome, notifies the channel `announce`, and commits. If a row could not be written, or
    /// a statement takes longer than `time`, it returns an error and the batch writes nothing.
    /// `time` is set where code of others may run with the write, after a slow write, after trial
    /// writes, and for a slug in pages; the write then runs under the `search_path` of the role.
    ///
    /// After an error of the server, nothing of the batch has happened. If the connection failed or
    /// the answer came too late, the batch may be committed. Both cases are safe, because the batch
    /// is idempotent and the outbox is part of it.
    pub async fn finish(
        &self,
        outcome: &Outcome<'_>,
        announce: Option<&str>,
        time: Option<Duration>,
    ) -> Result<Finished, QueryError> {
        let db = &self.extend_idle(outcome.bytes()).await?;
        let limit = time.map(|time| format!("{}; {}", set_time(time), path::OF_THE_ROLE));
        // Settings that code of others made in the session must not affect the next statements.
        let usual = time.map(|_| &*self.usual_settings);
        // Without a limit, deferred triggers run at the commit.
        let fire = limit.as_ref().zip(usual);
        let fire = fire.map(|(limit, usual)| format!("{limit}; {FIRE_DEFERRED}; {usual}"));
        let together = async {
            tokio::join!(
                biased;
                batch_if(db, limit.as_deref()),
                self.write_or_take(db, outcome),
                batch_if(db, usual),
                self.note_problems(db, &outcome.problems),
                self.set_aside_not_text(db, outcome),
                self.clear_problems(db, outcome),
                self.enqueue_tenants(db, &outcome.every_tenant),
                self.announce_changes(db, announce, &outcome.changed),
                batch_if(db, fire.as_deref()),
                db.batch("COMMIT"),
            )
        };
        // On the heap: several statements at once are large compared with the rest of the loop.
        let (limited, written, reset, noted, set_aside, cleared, enqueued, announced, fired, done) =
            Box::pin(together).await;
        limited?;
        let taken = written?;
        reset?;
        let not_logged = noted?;
        set_aside?;
        cleared?;
        enqueued?;
        announced?;
        fired?;
        done?;
        Ok(Finished { not_logged, taken })
    }

    /// Ends a batch without a trace, also after an error.
    pub async fn abandon(&self) -> Result<(), QueryError> {
        self.db.batch("ROLLBACK").await
    }

    /// Takes the rows of a slug that cannot be brought in sync out of the outbox, and notes why, in
    /// a transaction of its own. A row that was moved since it was read stays, and is met again.
    /// Returns the keys whose problem is not to be logged (G5, S8).
    pub async fn set_aside(
        &self,
        taken: &Taken<'_>,
        problems: &[Problem],
    ) -> Result<Vec<String>, QueryError> {
        let db = &self.db;
        let (begun, taken, noted, committed) = tokio::join!(
            biased;
            db.batch("BEGIN"),
            self.take_rows(db, taken),
            self.note_problems(db, problems),
            db.batch("COMMIT"),
        );
        begun?;
        taken?;
        let not_logged = noted?;
        committed?;
        Ok(not_logged)
    }

    /// Writes the configurations of a batch, and takes its rows out of the outbox. Returns the
    /// number of the rows taken.
    async fn write_or_take(&self, db: &Db, outcome: &Outcome<'_>) -> Result<u64, QueryError> {
        let taken = &outcome.taken;
        if !outcome.writes.is_empty() {
            return self
                .write(db, &outcome.writes, &outcome.changed, taken)
                .await;
        }
        if taken.rows() == 0 {
            return Ok(0);
        }
        self.take_rows(db, taken).await
    }

    async fn clear_problems(&self, db: &Db, outcome: &Outcome<'_>) -> Result<(), QueryError> {
        if outcome.cleared.is_empty() {
            return Ok(());
        }
        db.run_prepared(&self.writes.clear_problems, &[&outcome.cleared])
            .await
            .map(drop)
    }

    /// Takes rows out of the outbox. Returns their number.
    async fn take_rows(&self, db: &Db, taken: &Taken<'_>) -> Result<u64, QueryError> {
        db.run_prepared(&self.writes.take, &taken.parameters())
            .await
    }

    /// Writes, each configuration by its place, relation and slug, and takes the rows of the
    /// outbox. Returns the number of the rows taken.
    async fn write(
        &self,
        db: &Db,
        writes: &[(RowRef, Changes<'_>)],
        changed: &[&str],
        taken: &Taken<'_>,
    ) -> Result<u64, QueryError> {
        let rows: Vec<Tid> = writes.iter().map(|(place, _)| place.row).collect();
        let relations: Vec<u32> = writes.iter().map(|(place, _)| place.relation).collect();
        let texts: Vec<_> = writes
            .iter()
            .map(|(_, changes)| changes.as_deref())
            .collect();
        let values: PerColumn<Vec<_>> =
            PerColumn::from_fn(|column| texts.iter().map(|texts| texts[column]).collect());
        let mut parameters: Vec<&(dyn ToSql + Sync)> = vec![&rows, &relations, &changed];
        parameters.extend(taken.parameters());
        for values in values.values() {
            parameters.push(values);
        }
        let written = db.all_prepared(&self.writes.write, &parameters).await?;
        let taken = written.first().map(|row| row.try_get::<_, i64>(1));
        Ok(taken.transpose()?.unwrap_or_default().unsigned_abs())
    }

    /// Lets the server wait longer for the rest of a large write that comes over a slow link: the
    /// transaction counts as idle until all of it has arrived. Returns the connection with the time
    /// for the answer.
    async fn extend_idle(&self, bytes: usize) -> Result<Db, QueryError> {
        if bytes <= SENT_IN_ORDINARY_TIME {
            return Ok(self.db.clone());
        }
        let sending = Duration::from_millis((bytes / SLOWEST) as u64).min(LONGEST);
        let setting = format!(
            "SET LOCAL idle_in_transaction_session_timeout = {}",
            (IDLE + sending).as_millis()
        );
        self.db.batch(&setting).await?;
        Ok(self.db.with_time_limit(self.db.time_limit() + sending))
    }
}

async fn batch_if(db: &Db, statements: Option<&str>) -> Result<(), QueryError> {
    match statements {
        Some(statements) => db.batch(statements).await,
        None => Ok(()),
    }
}

fn set_time(time: Duration) -> String {
    format!("SET LOCAL statement_timeout = {}", time.as_millis().max(1))
}

/// The budget in the type of the sum of the weights, `float8`.
fn budget_of(bytes: usize) -> f64 {
    u32::try_from(bytes).map_or(f64::MAX, f64::from)
}
