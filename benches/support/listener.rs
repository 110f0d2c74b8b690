//! The rival: a client that listens to the usual row trigger and does the minimum of work.
//!
//! It has its own thread and event loop, shared with no measuring code, like the daemon. It is as
//! fast as such a client can be, and less careful: no transaction, no check, no lock, a catch-up
//! only after a lost connection, and a `provider_config` that is computed before the change is
//! saved.

use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use tokio::sync::{mpsc, oneshot};
use tokio_postgres::{AsyncMessage, Client, NoTls};

use super::{TIMEOUT, database::Database};

const UPDATE: &str = "UPDATE agent_configurations SET provider_config = $2::text::jsonb, \
    updated_at = now() WHERE agent_slug = $1";

/// The query for missed changes of a client that has no outbox.
const CATCH_UP: &str = "SELECT slug FROM agents WHERE updated_at >= $1";

/// The first and the longest pause between attempts to reconnect: the daemon's defaults.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));

/// The reaction to a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Reads the notification.
    Read,
    /// Runs one prepared UPDATE; a lost connection ends the client.
    Update,
    /// Runs one prepared UPDATE. A lost connection causes a reconnect, immediately and then with
    /// the daemon's backoff, and one query for missed changes after LISTEN.
    UpdateForEver,
}

/// A listening client. Dropping it stops it.
pub struct Listener {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<anyhow::Result<()>>>,
    config: Arc<Mutex<String>>,
}

impl Listener {
    /// Starts the client and waits until it listens.
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
            .recv_timeout(TIMEOUT)
            .context("the bare listener did not get as far as to listen")?;
        Ok(listener)
    }

    /// Sets the `provider_config` that it writes from now on.
    pub fn will_write(&self, provider_config: String) {
        *self.config.lock().unwrap_or_else(PoisonError::into_inner) = provider_config;
    }

    /// Fails if the client has ended.
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

/// The client in its thread.
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
                // Reconnects immediately; the catch-up covers the time since this connection was
                // opened.
                pause = BACKOFF.0;
                since = begun;
            } else {
                tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
                pause = (pause * 2).min(BACKOFF.1);
            }
        }
    }

    /// Works on one connection until it is lost.
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
