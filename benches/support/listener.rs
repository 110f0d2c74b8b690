//! The rivals: a client that listens to the usual row trigger, and does nothing more than it must.
//!
//! It has a thread and an event loop of its own, so that it shares none with what measures it, just
//! as the daemon does not. It is as quick as such a client can be, and not as careful: no
//! transaction, no check, no lock, no catch-up but after a lost connection, and its
//! `provider_config` is computed before the change is saved.

use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use tokio::sync::{mpsc, oneshot};
use tokio_postgres::{AsyncMessage, Client, NoTls};

use super::{PATIENCE, database::Database};

const UPDATE: &str = "UPDATE agent_configurations SET provider_config = $2::text::jsonb, \
    updated_at = now() WHERE agent_slug = $1";

/// What a client without a mark of its own would find its missed work by.
const CATCH_UP: &str = "SELECT slug FROM agents WHERE updated_at >= $1";

/// The first and the longest pause between attempts to reconnect: the daemon's defaults.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));

/// What it does with a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Reads it.
    Read,
    /// Runs one prepared UPDATE, and gives up when the connection is lost.
    Update,
    /// The same, and reconnects: at once, then with the daemon's pauses. After LISTEN, one query
    /// for what it missed.
    UpdateForEver,
}

/// A listening client. Dropping it stops it.
pub struct Listener {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<anyhow::Result<()>>>,
    config: Arc<Mutex<String>>,
}

impl Listener {
    /// Starts it, and waits until it listens.
    pub fn start(database: &Database, work: Work) -> anyhow::Result<Self> {
        let (stop, stopped) = oneshot::channel();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let config = Arc::new(Mutex::new("{}".to_owned()));
        let client = Bare {
            url: format!("{}?application_name=listener", database.url),
            work,
            config: Arc::clone(&config),
            ready,
        };
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(async {
                tokio::select! {
                    _ = stopped => Ok(()),
                    outcome = client.run() => outcome,
                }
            })
        });
        let listener = Self {
            stop: Some(stop),
            thread: Some(thread),
            config,
        };
        is_ready
            .recv_timeout(PATIENCE)
            .context("the bare listener did not get as far as to listen")?;
        Ok(listener)
    }

    /// The `provider_config` that it writes from now on.
    pub fn will_write(&self, provider_config: String) {
        *self.config.lock().unwrap_or_else(PoisonError::into_inner) = provider_config;
    }

    /// Fails if it has ended.
    pub fn must_run(&self) -> anyhow::Result<()> {
        let ended = self.thread.as_ref().is_none_or(JoinHandle::is_finished);
        anyhow::ensure!(!ended, "the bare listener has ended");
        Ok(())
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(Err(error)) = self.thread.take().and_then(|thread| thread.join().ok()) {
            eprintln!("  the bare listener ended: {error:#}");
        }
    }
}

/// What runs in its thread.
struct Bare {
    url: String,
    work: Work,
    config: Arc<Mutex<String>>,
    ready: Sender<()>,
}

impl Bare {
    async fn run(&self) -> anyhow::Result<()> {
        let mut pause = BACKOFF.0;
        let mut since = SystemTime::now();
        loop {
            let begun = SystemTime::now();
            let mut listened = false;
            let Err(error) = self.connection(since, &mut listened).await;
            if self.work != Work::UpdateForEver {
                return Err(error);
            }
            if listened {
                // At once, and what was saved since this connection was made is looked for.
                pause = BACKOFF.0;
                since = begun;
            } else {
                tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
                pause = (pause * 2).min(BACKOFF.1);
            }
        }
    }

    /// One connection, until it is lost.
    async fn connection(
        &self,
        since: SystemTime,
        listened: &mut bool,
    ) -> Result<std::convert::Infallible, anyhow::Error> {
        let (client, mut connection) = tokio_postgres::connect(&self.url, NoTls).await?;
        let (sender, mut notes) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(Ok(message)) =
                std::future::poll_fn(|context| connection.poll_message(context)).await
            {
                if let AsyncMessage::Notification(note) = message {
                    let _ = sender.send(note.payload().to_owned());
                }
            }
        });
        let update = client.prepare(UPDATE).await?;
        client.batch_execute("LISTEN bench").await?;
        if self.work == Work::UpdateForEver {
            for row in client.query(CATCH_UP, &[&since]).await? {
                self.apply(&client, &update, row.try_get(0)?).await?;
            }
        }
        *listened = true;
        let _ = self.ready.send(());
        while let Some(slug) = notes.recv().await {
            if self.work != Work::Read {
                self.apply(&client, &update, &slug).await?;
            }
        }
        anyhow::bail!("the connection was lost")
    }

    async fn apply(
        &self,
        client: &Client,
        update: &tokio_postgres::Statement,
        slug: &str,
    ) -> anyhow::Result<()> {
        let config = self
            .config
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        client.execute(update, &[&slug, &config]).await?;
        Ok(())
    }
}
