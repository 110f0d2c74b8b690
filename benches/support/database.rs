//! One database of the benchmarks: the platform's tables, in one of several states.

use std::time::{Duration, Instant};

use agent_sync_testbed::TABLES;
use anyhow::Context as _;
use tokio_postgres::types::{FromSqlOwned, ToSql};
use tokio_postgres::{Client, NoTls};

use super::daemon::Daemon;
use super::generator::{self, Prompt};
use super::{TIMEOUT, until};

const NOTIFY_TRIGGER: &str = include_str!("../sql/notify_trigger.sql");
const OUTBOX_TRIGGER: &str = include_str!("../sql/outbox_trigger.sql");
const CHANGE_ALL: &str = include_str!("../sql/change_all.sql");
const DIGEST: &str = include_str!("../sql/digest.sql");
const TOOK: &str = include_str!("../sql/took.sql");

/// The triggers on the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    /// None.
    Plain,
    /// Those of `agent-sync install`.
    Installed,
    /// Those of `agent-sync install`, with a history.
    Keeping,
    /// The usual row trigger that notifies.
    Notifying,
    /// The least capture: a row trigger that appends to an outbox.
    Appending,
}

/// A database and a connection to it.
pub struct Database {
    pub name: String,
    pub url: String,
    pub agents: u32,
    pub client: Client,
    pub flavour: Flavour,
}

impl Database {
    /// Connects to a database that has its tables.
    pub async fn open(
        name: String,
        url: String,
        agents: u32,
        flavour: Flavour,
    ) -> anyhow::Result<Self> {
        let client = connect(&url).await?;
        match flavour {
            Flavour::Plain => {}
            Flavour::Installed | Flavour::Keeping => super::daemon::install(&url, flavour)?,
            Flavour::Notifying => client.batch_execute(NOTIFY_TRIGGER).await?,
            Flavour::Appending => client.batch_execute(OUTBOX_TRIGGER).await?,
        }
        Ok(Self {
            name,
            url,
            agents,
            client,
            flavour,
        })
    }

    /// The value of a query with one row and one column.
    pub async fn value<T: FromSqlOwned>(&self, sql: &str) -> anyhow::Result<T> {
        Ok(self
            .client
            .query_one(sql, &[])
            .await
            .with_context(|| sql.to_owned())?
            .try_get(0)?)
    }

    /// Brings the database to the initial state of a round: an empty outbox, no dead rows, and a
    /// finished checkpoint.
    pub async fn tidy(&self) -> anyhow::Result<()> {
        if matches!(self.flavour, Flavour::Installed | Flavour::Keeping) {
            self.client
                .batch_execute("VACUUM agent_sync.outbox")
                .await?;
        }
        self.client.batch_execute("VACUUM agents").await?;
        self.client
            .batch_execute("VACUUM agent_configurations")
            .await?;
        self.client.batch_execute("CHECKPOINT").await?;
        Ok(())
    }

    /// Empties the outbox after a figure about the capture alone.
    pub async fn forget_captured(&self) -> anyhow::Result<()> {
        let outbox = match self.flavour {
            Flavour::Appending => "bench_outbox",
            _ => "agent_sync.outbox",
        };
        let empty = format!("TRUNCATE {outbox}");
        Ok(self.client.batch_execute(&empty).await?)
    }

    /// Changes every agent with one statement and returns the duration, commit included.
    pub async fn change_all(&self, number: i32) -> anyhow::Result<Duration> {
        let change = self.client.prepare(CHANGE_ALL).await?;
        let begun = Instant::now();
        let changed = self.client.execute(&change, &[&number]).await?;
        let took = begun.elapsed();
        anyhow::ensure!(
            changed == u64::from(self.agents),
            "{changed} of {} agents were changed",
            self.agents
        );
        Ok(took)
    }

    /// Waits until the daemon has drained the database. The polling interval grows with the
    /// duration of a poll, so the polls do not disturb the daemon.
    pub async fn drained(&self, daemon: &Daemon) -> anyhow::Result<()> {
        let time_limit = TIMEOUT + Duration::from_millis(u64::from(self.agents));
        until(
            "the outbox is empty",
            time_limit,
            Duration::from_millis(20),
            async || {
                daemon.must_run()?;
                let begun = Instant::now();
                if self
                    .value("SELECT NOT EXISTS (SELECT FROM agent_sync.outbox)")
                    .await?
                {
                    return Ok(Some(()));
                }
                tokio::time::sleep(begun.elapsed() * 20).await;
                Ok(None)
            },
        )
        .await
    }

    /// Fails unless every configuration has the settings of its agent and no problem is noted.
    pub async fn must_be_in_sync(&self) -> anyhow::Result<()> {
        let in_sync: i64 = self
            .value(
                "SELECT count(*) FROM agents a JOIN agent_configurations c ON c.agent_slug = a.slug
                 WHERE c.voice_settings = a.voice_settings
                   AND c.provider_config #>> '{llm,model}' = a.voice_settings ->> 'llm_model'",
            )
            .await?;
        anyhow::ensure!(
            in_sync == i64::from(self.agents),
            "{in_sync} of {} configurations of {} are in sync",
            self.agents,
            self.name
        );
        Ok(())
    }

    /// The time from the commit of the change of every agent to the last commit of a configuration.
    pub async fn took_by_commits(&self) -> anyhow::Result<Duration> {
        let seconds: f64 = self.value(TOOK).await?;
        anyhow::ensure!(
            seconds > 0.0,
            "no configuration of {} was written after its agent",
            self.name
        );
        Ok(Duration::try_from_secs_f64(seconds)?)
    }

    /// A digest of all configurations.
    pub async fn digest(&self) -> anyhow::Result<String> {
        self.value(DIGEST).await
    }
}

/// Connects with the application name of the benchmark, which distinguishes its sessions from a
/// daemon's.
pub async fn connect(url: &str) -> anyhow::Result<Client> {
    let url = format!("{url}?application_name=bench&connect_timeout=10");
    let (client, connection) = tokio_postgres::connect(&url, NoTls)
        .await
        .context("could not connect to the throwaway PostgreSQL")?;
    // The task ends with the client, which reports the errors.
    tokio::spawn(connection);
    Ok(client)
}

/// Creates the tables and fills them with agents and configurations in sync.
pub async fn fill(client: &Client, agents: u32, prompt: Prompt) -> anyhow::Result<()> {
    client.batch_execute(TABLES).await?;
    let agent_rows = client
        .prepare(
            "INSERT INTO agents (slug, name, description, system_prompt, agent_image,
                  voice_settings)
             SELECT slug, name, description, prompt, image, settings::jsonb
             FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[])
                 AS u (slug, name, description, prompt, image, settings)",
        )
        .await?;
    let configuration_rows = client
        .prepare(
            "INSERT INTO agent_configurations (agent_slug, agent_name, system_prompt,
                  agent_image, voice_settings, voice_id,
                 temperature, provider_config, openai_api_key, groq_api_key, deepgram_api_key,
                   elevenlabs_api_key,
                 cartesia_api_key, speechify_api_key)
             SELECT slug, name, prompt, image, settings::jsonb, voice_id, temperature,
               config::jsonb, k1, k2, k3, k4, k5, k6
             FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[],
               $7::float8[], $8::text[],
                         $9::text[], $10::text[], $11::text[], $12::text[], $13::text[],
                           $14::text[])
                 AS u (slug, name, prompt, image, settings, voice_id, temperature, config, k1,
                   k2, k3, k4, k5, k6)",
        )
        .await?;
    for first in (1..=agents).step_by(1000) {
        let last = agents.min(first + 999);
        let made = (first..=last)
            .map(|number| generator::agent(number, prompt))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let slugs = column(&made, |agent| &agent.slug);
        let names = column(&made, |agent| &agent.name);
        let descriptions = column(&made, |agent| &agent.description);
        let prompts = column(&made, |agent| &agent.system_prompt);
        let images = column(&made, |agent| &agent.image);
        let settings = column(&made, |agent| &agent.voice_settings);
        let voices: Vec<_> = made.iter().map(|agent| agent.voice_id.as_deref()).collect();
        let temperatures: Vec<_> = made.iter().map(|agent| agent.temperature).collect();
        let configs = column(&made, |agent| &agent.provider_config);
        let keys: Vec<Vec<&str>> = (0..6)
            .map(|index| column(&made, |agent| &agent.api_keys[index]))
            .collect();
        client
            .execute(
                &agent_rows,
                &[&slugs, &names, &descriptions, &prompts, &images, &settings],
            )
            .await?;
        let mut values: Vec<&(dyn ToSql + Sync)> = vec![
            &slugs,
            &names,
            &prompts,
            &images,
            &settings,
            &voices,
            &temperatures,
            &configs,
        ];
        values.extend(keys.iter().map(|keys| keys as &(dyn ToSql + Sync)));
        client.execute(&configuration_rows, &values).await?;
    }
    client.batch_execute("VACUUM ANALYZE agents").await?;
    client
        .batch_execute("VACUUM ANALYZE agent_configurations")
        .await?;
    Ok(())
}

fn column<'a>(
    made: &'a [generator::Agent],
    of: impl Fn(&'a generator::Agent) -> &'a String,
) -> Vec<&'a str> {
    made.iter().map(|agent| of(agent).as_str()).collect()
}
