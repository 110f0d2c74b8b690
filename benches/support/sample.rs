//! Samples of the time from the commit of an agent to its configuration, one change at a time.
//!
//! A sample is the difference of the two commit timestamps of the server
//! (`track_commit_timestamp`), so it includes neither the polls of the benchmark nor their
//! duration. The server takes a timestamp just before the flush of its commit. So one flush, that
//! of the agent, is within the sample, and that of the configuration is not: on both sides.

use std::time::{Duration, Instant};

use tokio_postgres::{Client, Statement};

use super::daemon::Daemon;
use super::database::{Database, connect};
use super::listener::Listener;
use super::{TIMEOUT, until};

const LOOK: &str = include_str!("../sql/look.sql");
const SAVE: &str = "UPDATE agents SET voice_settings = jsonb_set(voice_settings, '{voice_id}', \
    to_jsonb($2::text)), updated_at = now() WHERE slug = $1";

/// The sampled agents, which no other writer saves: the last ones, at most a tenth, that call their
/// voice `voice_id`.
const SUBJECTS: &str =
    "SELECT slug FROM agents WHERE voice_settings ->> 'provider' IN ('elevenlabs', 'cartesia')
    ORDER BY length(slug) DESC, slug DESC LIMIT greatest(1, least(500, (SELECT count(*)
      FROM agents) / 30))";

/// The worker that brings configurations in sync.
#[derive(Clone, Copy)]
pub enum Worker<'a> {
    Daemon(&'a Daemon),
    Listener(&'a Listener),
}

/// One side of a comparison: a database, its worker, and the connections for saves and polls.
pub struct Subject<'a> {
    worker: Worker<'a>,
    writer: Client,
    watcher: Client,
    save: Statement,
    look: Statement,
    slugs: Vec<String>,
    saved: usize,
}

impl<'a> Subject<'a> {
    pub async fn open(database: &Database, worker: Worker<'a>) -> anyhow::Result<Self> {
        let (writer, watcher) = (connect(&database.url).await?, connect(&database.url).await?);
        let (save, look) = (writer.prepare(SAVE).await?, watcher.prepare(LOOK).await?);
        let rows = watcher.query(SUBJECTS, &[]).await?;
        let slugs = rows
            .iter()
            .map(|row| row.try_get(0))
            .collect::<Result<Vec<_>, _>>()?;
        anyhow::ensure!(!slugs.is_empty(), "there is no agent to sample with");
        Ok(Self {
            worker,
            writer,
            watcher,
            save,
            look,
            slugs,
            saved: 0,
        })
    }

    /// Fails if the worker has ended.
    pub fn must_run(&self) -> anyhow::Result<()> {
        match self.worker {
            Worker::Daemon(daemon) => daemon.must_run(),
            Worker::Listener(listener) => listener.must_run(),
        }
    }

    /// Saves the next agent with a new voice. Returns the slug and the voice to poll for.
    pub async fn save(&mut self) -> anyhow::Result<(String, String)> {
        let slug = self.slugs[self.saved % self.slugs.len()].clone();
        self.saved += 1;
        let voice = format!("voice-{:016x}", fastrand::u64(..));
        if let Worker::Listener(listener) = self.worker {
            listener.will_write(precomputed(&voice));
        }
        self.writer.execute(&self.save, &[&slug, &voice]).await?;
        Ok((slug, voice))
    }

    /// The time between the two commits in milliseconds; `None` until the configuration is
    /// committed.
    pub async fn arrived(&self, slug: &str, voice: &str) -> anyhow::Result<Option<f64>> {
        let row = self.watcher.query_opt(&self.look, &[&slug, &voice]).await?;
        Ok(row.map(|row| row.try_get(0)).transpose()?)
    }

    /// One sample, in milliseconds, after a pause in which the worker goes to sleep. The polls are
    /// rare, so they do not disturb it.
    pub async fn sample(&mut self) -> anyhow::Result<f64> {
        tokio::time::sleep(Duration::from_micros(fastrand::u64(5_000..30_000))).await;
        let (slug, voice) = self.save().await?;
        tokio::time::sleep(Duration::from_millis(2)).await;
        self.wait(&slug, &voice, Duration::from_millis(1)).await
    }

    /// The latency seen by a client, in milliseconds: from the answer to the save to the first poll
    /// that finds the change. It polls without a pause, which occupies a processor.
    pub async fn sample_as_seen(&mut self) -> anyhow::Result<f64> {
        tokio::time::sleep(Duration::from_micros(fastrand::u64(5_000..30_000))).await;
        let (slug, voice) = self.save().await?;
        let saved = Instant::now();
        self.wait(&slug, &voice, Duration::ZERO).await?;
        Ok(saved.elapsed().as_secs_f64() * 1000.0)
    }

    /// Waits until a change has arrived.
    pub async fn wait(&self, slug: &str, voice: &str, interval: Duration) -> anyhow::Result<f64> {
        until(
            &format!("the change of {slug} has arrived"),
            TIMEOUT,
            interval,
            async || {
                let arrived = self.arrived(slug, voice).await?;
                if arrived.is_none() {
                    self.must_run()?;
                }
                Ok(arrived)
            },
        )
        .await
    }
}

/// The complete `provider_config` that a listener without a mapping writes.
fn precomputed(voice: &str) -> String {
    format!(
        r#"{{"llm": {{"model": "gpt-4o-mini", "provider": "openai", "max_tokens": 400, "temperature": 0.3}},
            "stt": {{"model": "nova-2", "provider": "deepgram"}},
            "tts": {{"model": "eleven_turbo_v2_5", "provider": "elevenlabs", "voice_id": "{voice}", "stability": 0.55,
                "similarity_boost": 0.8}},
            "billing": {{"account": 4711000, "per_minute": 0.12}},
            "telephony": {{"number": "+49 30 5550142", "record": false, "transfer_to": null}}}}"#
    )
}
