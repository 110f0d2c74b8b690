//! The throwaway server of the benchmarks, with durable writes (`fsync` on), and the databases of
//! the figures.
//!
//! For equal rounds, autovacuum is off and every round starts with VACUUM and CHECKPOINT, so
//! neither affects one side by chance. A database is a copy of a template that was filled once, so
//! both sides start with the same pages.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use agent_sync_testbed::{Cluster, Options};
use anyhow::Context as _;

use super::database::{self, Database, Flavour};
use super::generator::Prompt;
use super::report::Machine;
use crate::args::Args;

/// Durable writes as in production, and enough memory. JIT is off: it costs the hand-written
/// statement more than it gains, and the daemon's session never uses it.
const SETTINGS: &str = "\
fsync = on
synchronous_commit = on
full_page_writes = on
track_commit_timestamp = on
shared_buffers = 512MB
max_wal_size = 4GB
checkpoint_timeout = 1h
autovacuum = off
jit = off
statement_timeout = 15min
max_connections = 200
";

/// The measurements of a drain of all agents of a database.
#[derive(Debug, Clone, Copy)]
pub struct Drain {
    pub agents: u32,
    pub seconds: f64,
    /// The daemon's memory before the drain, and its peak during it.
    pub idle_kib: f64,
    pub peak_kib: f64,
}

/// The server and its databases.
pub struct Lab {
    pub args: Args,
    pub cluster: Arc<Cluster>,
    /// The measured drains, which several figures share.
    pub drains: Vec<Drain>,
    templates: Vec<(u32, Prompt, String)>,
    databases: Vec<String>,
    made: u32,
}

impl Lab {
    /// Starts the server.
    pub fn start(args: Args) -> anyhow::Result<Self> {
        Self::start_with(args, "")
    }

    /// The same with further settings of the server.
    pub fn start_with(args: Args, further: &str) -> anyhow::Result<Self> {
        let cluster = Cluster::start(Options {
            settings: &[SETTINGS, further].concat(),
            ..Options::default()
        })?;
        Ok(Self {
            args,
            cluster: Arc::new(cluster),
            drains: Vec::new(),
            templates: Vec::new(),
            databases: Vec::new(),
            made: 0,
        })
    }

    /// The number of rounds: that of the command line, or that of the figure; at most two in quick
    /// mode.
    pub fn rounds(&self, usual: usize) -> usize {
        self.args.rounds.unwrap_or(self.scaled(usual, usual.min(2)))
    }

    /// The real size, or the small one in quick mode.
    pub fn scaled<T>(&self, real: T, quick: T) -> T {
        if self.args.quick { quick } else { real }
    }

    /// A new database with this number of agents in sync: a copy of a template.
    pub async fn database(&mut self, agents: u32, flavour: Flavour) -> anyhow::Result<Database> {
        self.copy(agents, Prompt::Full, flavour).await
    }

    /// A new database with this number of agents in sync and prompts of this length: a copy of a
    /// template.
    pub async fn copy(
        &mut self,
        agents: u32,
        prompt: Prompt,
        flavour: Flavour,
    ) -> anyhow::Result<Database> {
        let known = self
            .templates
            .iter()
            .find(|(size, length, _)| (*size, *length) == (agents, prompt));
        let template = if let Some((_, _, name)) = known {
            name.clone()
        } else {
            let name = self.filled(agents, prompt).await?;
            self.templates.push((agents, prompt, name.clone()));
            name
        };
        let name = self.create(&format!("TEMPLATE {template}")).await?;
        let url = self.cluster.url(&name);
        Database::open(name, url, agents, flavour).await
    }

    /// A new database that is filled directly, because it is too large to copy.
    pub async fn unique(
        &mut self,
        agents: u32,
        prompt: Prompt,
        flavour: Flavour,
    ) -> anyhow::Result<Database> {
        let name = self.filled(agents, prompt).await?;
        let url = self.cluster.url(&name);
        Database::open(name, url, agents, flavour).await
    }

    async fn filled(&mut self, agents: u32, prompt: Prompt) -> anyhow::Result<String> {
        super::say(format_args!("making a platform of {agents} agents"));
        let name = self.create("").await?;
        let client = database::connect(&self.cluster.url(&name)).await?;
        database::fill(&client, agents, prompt)
            .await
            .context("could not fill the platform's tables")?;
        drop(client);
        // A template must have no other session; the server may need a moment to end the last one.
        self.alone(&name).await?;
        Ok(name)
    }

    async fn create(&mut self, how: &str) -> anyhow::Result<String> {
        self.made += 1;
        let name = format!("bench_{}", self.made);
        let admin = self.admin().await?;
        admin
            .batch_execute(&format!("CREATE DATABASE {name} {how}"))
            .await?;
        self.databases.push(name.clone());
        Ok(name)
    }

    async fn alone(&self, name: &str) -> anyhow::Result<()> {
        let admin = self.admin().await?;
        let sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1";
        super::until(
            "a session is over",
            super::TIMEOUT,
            Duration::from_millis(5),
            async || {
                let left: i64 = admin.query_one(sessions, &[&name]).await?.try_get(0)?;
                Ok((left == 0).then_some(()))
            },
        )
        .await
    }

    /// Drops the databases of a figure; the templates stay.
    pub async fn clear(&mut self) -> anyhow::Result<()> {
        let admin = self.admin().await?;
        for name in std::mem::take(&mut self.databases) {
            if self
                .templates
                .iter()
                .any(|(_, _, template)| *template == name)
            {
                self.databases.push(name);
            } else {
                admin
                    .batch_execute(&format!("DROP DATABASE {name} WITH (FORCE)"))
                    .await?;
            }
        }
        Ok(())
    }

    /// The machine and the time of the run.
    pub async fn machine(&self) -> anyhow::Result<Machine> {
        let admin = self.admin().await?;
        let row = admin
            .query_one(
                "SELECT current_setting('server_version'), current_date::text",
                &[],
            )
            .await?;
        let processors = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = processors
            .lines()
            .find_map(|line| Some(line.strip_prefix("model name")?.split_once(':')?.1.trim()));
        let version: &str = row.try_get(0)?;
        Ok(Machine {
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            processor: model.unwrap_or("unknown").to_owned(),
            server: version
                .split_whitespace()
                .next()
                .unwrap_or(version)
                .to_owned(),
            date: row.try_get(1)?,
        })
    }

    /// A connection of the superuser to the database `postgres`.
    pub async fn admin(&self) -> anyhow::Result<tokio_postgres::Client> {
        database::connect(&self.cluster.url("postgres")).await
    }

    /// The process id of the postmaster, the parent of all processes of the server.
    pub fn postmaster(&self) -> anyhow::Result<u32> {
        let path = self.cluster.folder().join("data/postmaster.pid");
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("could not read {}", path.display()))?;
        text.lines()
            .next()
            .and_then(|line| line.trim().parse().ok())
            .context("postmaster.pid does not begin with a number")
    }

    /// The end of the server's log, for error messages.
    pub fn end_of_log(&self) -> String {
        let log = self.cluster.log();
        let last: Vec<&str> = log.lines().rev().take(5).collect();
        format!(
            "the end of the server's log: {}",
            last.into_iter().rev().collect::<Vec<_>>().join("; ")
        )
    }

    /// Creates a file that the server's programs can read; it is removed with the server.
    pub fn file(&self, name: &str, content: &str) -> anyhow::Result<PathBuf> {
        let path = self.cluster.folder().join(name);
        std::fs::write(&path, content)
            .with_context(|| format!("could not write {}", path.display()))?;
        Ok(path)
    }
}
