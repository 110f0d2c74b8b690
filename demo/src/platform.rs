//! The platform's database: its tables, and three connections to it.
//!
//! `ui` is the web UI, which may save agents and nothing else; `operator` is every other writer;
//! `observer` only reads, so it sees the same data as the agent runtime.

use std::time::{Duration, Instant};

use agent_sync::columns::{Column, MappedColumn as _, PerColumn};
use agent_sync::mapping::{self, Diff, Rules};
use agent_sync_testbed::{Cluster, TABLES};
use anyhow::Context as _;
use tokio_postgres::{Client, NoTls, Statement};

/// The name of its database.
pub(crate) const DATABASE: &str = "platform";
const AGENTS: &str = include_str!("agents.sql");

/// The time limit of every expected outcome.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);

/// The time in which the observer polls without a pause, for a precise measurement; afterwards it
/// pauses to release the processor.
const BUSY_POLLING: Duration = Duration::from_millis(20);
const POLL_INTERVAL: Duration = Duration::from_millis(2);

/// The connections.
pub(crate) struct Platform {
    pub(crate) ui: Client,
    pub(crate) operator: Client,
    pub(crate) observer: Client,
}

/// A saved change and its outcome.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Saved {
    /// The duration of the writer's transaction, commit included.
    pub(crate) took: Duration,
    /// The time from the commit until the outcome was visible; `None` if it was not visible in
    /// time.
    pub(crate) visible: Option<Duration>,
}

impl Platform {
    /// Creates the database with the tables and the agents, and connects to it.
    pub(crate) async fn create(cluster: &Cluster) -> anyhow::Result<Self> {
        let server = connect(&cluster.url("postgres")).await?;
        server
            .batch_execute(&format!("CREATE DATABASE {DATABASE}"))
            .await?;
        let url = cluster.url(DATABASE);
        let operator = connect(&url).await?;
        let made = operator.batch_execute(&[TABLES, AGENTS].concat()).await;
        made.context("could not create the tables of the platform")?;
        let ui = connect(&url.replacen("postgres@", "web_ui@", 1)).await?;
        let observer = connect(&url).await?;
        // Otherwise each poll is planned again, and the planning distorts the figures.
        observer
            .batch_execute("SET plan_cache_mode = force_generic_plan")
            .await?;
        Ok(Self {
            ui,
            operator,
            observer,
        })
    }

    /// Saves in a transaction, like a user interface, and waits until the query `outcome` returns
    /// true.
    ///
    /// The measured time starts when the commit is sent, so it includes the commit, and ends when
    /// the observer has the answer. An outcome that is true before the change proves nothing and is
    /// an error.
    pub(crate) async fn save(
        &self,
        writer: &Client,
        sql: &str,
        outcome: &str,
    ) -> anyhow::Result<Saved> {
        let outcome = self.observer.prepare(outcome).await?;
        // This also absorbs the slower first execution of the statement.
        anyhow::ensure!(
            !self.is_true(&outcome).await?,
            "the outcome of a step is true before its change"
        );
        let begun = Instant::now();
        writer.batch_execute("BEGIN").await?;
        writer.batch_execute(sql).await?;
        let at = Instant::now();
        writer.batch_execute("COMMIT").await?;
        let took = begun.elapsed();
        let seen = self.until(&outcome).await?;
        Ok(Saved {
            took,
            visible: seen.map(|seen| seen - at),
        })
    }

    /// Waits until a query returns true. Returns the time at which it did, or `None` after the time
    /// limit.
    async fn until(&self, query: &Statement) -> anyhow::Result<Option<Instant>> {
        let begun = Instant::now();
        loop {
            let is_true = self.is_true(query).await?;
            let now = Instant::now();
            if is_true {
                return Ok(Some(now));
            }
            if now - begun > TIMEOUT {
                return Ok(None);
            }
            if now - begun > BUSY_POLLING {
                tokio::time::sleep(POLL_INTERVAL).await;
            }
        }
    }

    async fn is_true(&self, query: &Statement) -> anyhow::Result<bool> {
        // No row and null count as false.
        let row = self.observer.query_opt(query, &[]).await?;
        Ok(row
            .map(|row| row.try_get::<_, Option<bool>>(0))
            .transpose()?
            .flatten()
            == Some(true))
    }

    /// One value, as text; `nothing` for null and for no row.
    pub(crate) async fn text(&self, query: &str) -> anyhow::Result<String> {
        let row = self.observer.query_opt(query, &[]).await?;
        let value = row
            .map(|row| row.try_get::<_, Option<String>>(0))
            .transpose()?;
        Ok(value.flatten().unwrap_or_else(|| "nothing".to_owned()))
    }

    /// One number.
    pub(crate) async fn number(&self, query: &str) -> anyhow::Result<i64> {
        Ok(self.observer.query_one(query, &[]).await?.try_get(0)?)
    }

    /// The configuration of an agent; none of its columns is set if there is none.
    pub(crate) async fn configuration(&self, slug: &str) -> anyhow::Result<Columns> {
        let columns = Column::ALL.map(|column| format!("{}::text", column.name()));
        let query = format!(
            "SELECT {} FROM agent_configurations c WHERE c.agent_slug = $1",
            columns.join(", ")
        );
        let mut columns = Columns::default();
        if let Some(row) = self.observer.query_opt(&query, &[&slug]).await? {
            for column in Column::ALL {
                columns[column] = row.try_get(column.name())?;
            }
        }
        Ok(columns)
    }
}

/// The columns of a configuration that agent-sync writes, as text.
pub(crate) type Columns = PerColumn<Option<String>>;

/// The difference between two states of a configuration.
pub(crate) fn diff(before: &Columns, after: &Columns) -> Diff {
    mapping::diff(Rules::embedded(), &before.as_deref(), &after.as_deref())
}

async fn connect(url: &str) -> anyhow::Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls)
        .await
        .context("could not connect to the throwaway PostgreSQL")?;
    // The task ends with the client, which reports the errors.
    tokio::spawn(connection);
    Ok(client)
}
