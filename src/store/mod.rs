//! Every runtime query, typed: the one place where SQL meets the daemon.
//!
//! A [`Store`] belongs to one session: its statements are prepared on it. Every wait is bounded by
//! [`Store::PATIENCE`] on top of the server's own `statement_timeout`, so that a server that has gone quiet is an
//! error and not a hang.
//!
//! Invariant: a batch is one transaction and two round trips (`transaction`). What can be sent together is sent together, and the
//! server does it in the order in which it was sent. A lone change is two statements (`lone`).
//! Invariant: nothing here decides what to write. `mapping` does, and `sync` joins the two.

mod attempt;
pub mod backlog;
mod batch;
pub mod checks;
pub mod failure;
pub mod identifier;
mod layout;
mod lone;
pub mod queries;
mod remedy;
pub mod report;
mod row_id;
mod transaction;

use std::fmt::{self, Display};
use std::time::Duration;

use postgres_types::{ToSql, Type};
use tokio_postgres::{Client, Statement};

pub use attempt::Tried;
pub use batch::{Claimed, Group, NotText, Outcome, Pair, Problem, ProblemKind, Taken, Versions};
pub use checks::Finding;
pub use layout::{Layout, LayoutError};
pub use remedy::Remedies;
pub use row_id::{Place, RowId, Version};
pub use transaction::{Begun, Claim};

use crate::observe::pulse;
use crate::settings::History;

/// Why a query did not give an answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The server said no, or the connection is gone.
    #[error("{}", failure::describe(.0))]
    Postgres(#[from] tokio_postgres::Error),
    /// The server did not answer in time.
    #[error("the server did not answer within {0:?}")]
    Silent(Duration),
}

impl StoreError {
    /// What the operator can do.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Postgres(error) => failure::policy(error).remedy,
            Self::Silent(_) => failure::SILENT,
        }
    }

    /// What kind of error it is, if the server has answered with one.
    pub fn class(&self) -> Option<failure::Class> {
        match self {
            Self::Postgres(error) if error.as_db_error().is_some() => Some(failure::policy(error).class),
            _ => None,
        }
    }
}

/// What happens to the lock that tells writers that the daemon sleeps (C6), just before a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Idle {
    /// Nothing.
    Keep,
    /// It is released: the daemon has woken up.
    Release,
    /// It is taken if no writer is in the way: the daemon is about to sleep, and this is its last look.
    Try,
}

/// What the table `agent_sync.install` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Installed {
    /// The version of the schema.
    pub version: i32,
    /// Saves that could not be captured and for which every agent has been brought in sync since.
    pub uncaptured_seen: i64,
    /// Saves that could not be captured.
    pub uncaptured: i64,
}

/// A trigger that does not do its work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaptureFault {
    /// `schema.table.trigger`
    pub trigger: String,
    /// What is wrong with it.
    pub fault: String,
}

impl Display for CaptureFault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "the trigger {} is {}", self.trigger, self.fault)
    }
}

impl CaptureFault {
    /// What the operator can do.
    pub const REMEDY: &str = "Run `agent-sync install` for this database.";
}

/// The queries of one session, prepared.
#[derive(Debug)]
pub struct Store {
    layout: Layout,
    triggers: [Vec<String>; 2],
    patience: Duration,
    claim: Statement,
    claim_page: Statement,
    keep_lead: Statement,
    write: Statement,
    take: Statement,
    note_problems: Statement,
    clear_problems: Statement,
    try_sleep: Statement,
    awake: Statement,
    lone: Option<lone::Statements>,
}

impl Store {
    /// How long an answer may take beyond the server's own `statement_timeout`.
    pub const PATIENCE: Duration = Duration::from_secs(5);

    /// How long an answer may take in all.
    pub fn patience(sync: &crate::settings::Sync) -> Duration {
        sync.statement_timeout + Self::PATIENCE
    }

    /// Prepares the queries that run often.
    pub async fn prepare(
        client: &Client,
        layout: Layout,
        capture_configurations: bool,
        history: bool,
        statement_timeout: Duration,
    ) -> Result<Self, StoreError> {
        let triggers = expected_triggers(&layout, capture_configurations);
        let (claim, page) = (queries::claim(&layout), queries::claim_page(&layout));
        let (write, take) = (queries::write(&layout, history), queries::take());
        let (note, clear) = (queries::note_problems(), queries::clear_problems());
        let mut write_types = vec![Type::TEXT_ARRAY; 13];
        (write_types[0], write_types[8]) = (Type::TID_ARRAY, Type::OID_ARRAY);
        (write_types[10], write_types[11]) = (Type::TID_ARRAY, Type::XID_ARRAY);
        let patience = statement_timeout + Self::PATIENCE;
        let prepared = async {
            tokio::try_join!(
                client.prepare_typed(&claim, &[Type::TID, Type::INT8, Type::FLOAT8]),
                client.prepare_typed(&page, &[Type::TEXT, Type::TID_ARRAY, Type::OID_ARRAY]),
                client.prepare(queries::KEEP_LEAD_OF_BATCH),
                client.prepare_typed(&write, &write_types),
                client.prepare_typed(&take, &[Type::TID_ARRAY, Type::XID_ARRAY, Type::TEXT_ARRAY]),
                client.prepare(&note),
                client.prepare(&clear),
                client.prepare(queries::TRY_SLEEP),
                client.prepare(queries::AWAKE),
                lone::Statements::prepare(client, &layout, history),
            )
        };
        let (
            claim,
            claim_page,
            keep_lead,
            write,
            take,
            note_problems,
            clear_problems,
            try_sleep,
            awake,
            lone,
        ) = within(patience, Box::pin(prepared)).await?;
        Ok(Self {
            layout,
            triggers,
            patience,
            claim,
            claim_page,
            keep_lead,
            write,
            take,
            note_problems,
            clear_problems,
            try_sleep,
            awake,
            lone,
        })
    }

    /// What the tables look like.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// How long an answer may take.
    pub fn time_limit(&self) -> Duration {
        self.patience
    }

    /// Tries to become the one daemon that writes to this database.
    pub async fn try_lead(&self, client: &Client) -> Result<bool, StoreError> {
        self.scalar(client, queries::TRY_LEAD).await
    }

    /// Puts slugs into the outbox: somebody asked for them (I7).
    pub async fn enqueue(&self, client: &Client, slugs: &[String]) -> Result<(), StoreError> {
        self.run(client, queries::ENQUEUE, &[(&slugs, Type::TEXT_ARRAY)]).await
    }

    /// Puts every agent into the outbox.
    pub async fn enqueue_all(&self, client: &Client) -> Result<(), StoreError> {
        self.run(client, &queries::enqueue_all(&self.layout), &[]).await
    }

    /// Puts every agent into the outbox on account of `uncaptured` saves that could not be captured, and says so in
    /// `agent_sync.install`; but only if every transaction before `barrier` is over, for one of them may have made
    /// such a save and not committed yet. Says whether it did.
    pub async fn enqueue_uncaptured(
        &self,
        client: &Client,
        uncaptured: i64,
        barrier: &str,
    ) -> Result<bool, StoreError> {
        let query = queries::enqueue_uncaptured(&self.layout);
        let parameters: [(&(dyn ToSql + Sync), Type); 2] =
            [(&uncaptured, Type::INT8), (&barrier, Type::TEXT)];
        Ok(within(self.patience, client.execute_typed(&query, &parameters)).await? > 0)
    }

    /// The first transaction that has not begun: a barrier for [`Store::enqueue_uncaptured`].
    pub async fn next_transaction(&self, client: &Client) -> Result<String, StoreError> {
        self.scalar(client, queries::NEXT_TRANSACTION).await
    }

    /// Puts what is worth another look into the outbox, and clears problems of agents that are gone.
    pub async fn sweep_problems(&self, client: &Client) -> Result<(), StoreError> {
        self.run(client, &queries::clear_orphans(&self.layout), &[]).await?;
        self.run(client, &queries::enqueue_found(&self.layout), &[]).await
    }

    /// Puts the failed writes that are due into the outbox; says how long until the next is, if there is one.
    pub async fn enqueue_retries(&self, client: &Client) -> Result<Option<Duration>, StoreError> {
        self.run(client, queries::ENQUEUE_RETRIES, &[]).await?;
        let seconds: Option<f64> = self.scalar(client, queries::NEXT_RETRY).await?;
        Ok(seconds.map(|seconds| Duration::from_secs_f64(seconds.clamp(0.01, 3600.0))))
    }

    /// Notes in `agent_sync.install` how long ago a configuration was last written.
    pub async fn note_last_sync(&self, client: &Client, ago: Duration) -> Result<(), StoreError> {
        self.run(client, queries::NOTE_LAST_SYNC, &[(&ago.as_secs_f64(), Type::FLOAT8)]).await
    }

    /// Deletes one portion of what the history need not keep any more. Says whether there may be more.
    pub async fn prune_history(&self, client: &Client, history: &History) -> Result<bool, StoreError> {
        const PORTION: i64 = 2000;
        let (keep, most) = (history.keep.as_secs_f64(), i64::from(history.max_rows));
        let parameters: [(&(dyn ToSql + Sync), Type); 3] =
            [(&keep, Type::FLOAT8), (&most, Type::INT8), (&PORTION, Type::INT8)];
        let pruned = within(self.patience, client.execute_typed(queries::PRUNE_HISTORY, &parameters)).await?;
        Ok(pruned >= PORTION.unsigned_abs())
    }

    /// What is installed.
    pub async fn installed(&self, client: &Client) -> Result<Installed, StoreError> {
        let row = within(self.patience, client.query_typed_one(queries::INSTALL, &[])).await?;
        Ok(Installed {
            version: row.try_get(0)?,
            uncaptured_seen: row.try_get(1)?,
            uncaptured: row.try_get(2)?,
        })
    }

    /// Says in `agent_sync.install` that changes may have been missed: see [`queries::DISTRUST`].
    pub async fn distrust(&self, client: &Client) -> Result<(), StoreError> {
        self.run(client, queries::DISTRUST, &[]).await
    }

    /// What does not keep the daemon from working, and should be known.
    pub async fn cautions(
        &self,
        client: &Client,
        notify: bool,
        history: bool,
    ) -> Result<Vec<Finding>, StoreError> {
        checks::cautions(client, self.patience, &self.layout, notify, history).await
    }

    /// Notes the triggers and functions as they are. Some if they are not as they were noted before, and so every
    /// agent is to be looked at; with whether there was such a note.
    pub async fn seal(&self, client: &Client) -> Result<Option<bool>, StoreError> {
        let changed = within(self.patience, client.query_typed_opt(queries::SEAL, &[])).await?;
        Ok(changed.map(|row| row.try_get(0)).transpose()?)
    }

    /// The triggers that do not do their work.
    pub async fn capture_faults(&self, client: &Client) -> Result<Vec<CaptureFault>, StoreError> {
        report::capture_faults(client, self.patience, &self.layout, &self.triggers).await
    }

    async fn run(
        &self,
        client: &Client,
        query: &str,
        parameters: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<(), StoreError> {
        within(self.patience, client.execute_typed(query, parameters)).await.map(drop)
    }

    async fn scalar<T>(&self, client: &Client, query: &str) -> Result<T, StoreError>
    where
        T: for<'a> postgres_types::FromSql<'a>,
    {
        let row = within(self.patience, client.query_typed_one(query, &[])).await?;
        Ok(row.try_get(0)?)
    }
}

/// The triggers that `sql/attach.sql` makes: their tables, and their names.
fn expected_triggers(layout: &Layout, configurations: bool) -> [Vec<String>; 2] {
    let mut tables = vec![layout.agents.table.clone(); 2];
    if configurations {
        tables.extend(vec![layout.configurations.table.clone(); 2]);
    }
    let names = ["agent_sync_insert", "agent_sync_update"].map(str::to_owned);
    let names = names.iter().cycle().take(tables.len()).cloned().collect();
    [tables, names]
}

/// An answer, or an error when it takes too long.
pub async fn within<T>(
    patience: Duration,
    answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, StoreError> {
    match pulse::timeout(patience, answer).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(StoreError::Silent(patience)),
    }
}
