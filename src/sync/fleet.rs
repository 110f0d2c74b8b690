//! The databases together: one task and one connection each, started and stopped as one.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::database::{Context, keep_in_sync};
use crate::mapping::Rules;
use crate::observe::Observer;
use crate::settings::{Capture, Database, Reconnect, Settings, Sync};

/// What holds for every database.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Batches and waits.
    pub sync: Sync,
    /// What the triggers capture, and whether they notify.
    pub capture: Capture,
    /// The pauses between attempts.
    pub reconnect: Reconnect,
}

impl Options {
    /// From the settings.
    pub fn of(settings: &Settings) -> Self {
        let Settings { sync, capture, reconnect, .. } = *settings;
        Self { sync, capture, reconnect }
    }
}

/// The running tasks.
#[derive(Debug)]
pub struct Fleet {
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Fleet {
    /// Starts a task for each database.
    pub fn start<'a>(
        databases: impl IntoIterator<Item = &'a Database>,
        options: &Options,
        rules: &Arc<Rules>,
    ) -> Self {
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        for database in databases {
            let context = Context {
                database: database.clone(),
                options: *options,
                rules: Arc::clone(rules),
                observer: Observer::new(&*database.name),
            };
            // On the heap, so that what moves through the spawn is small.
            tasks.spawn(Box::pin(keep_in_sync(context, stopped.clone())));
        }
        Self { stop, tasks }
    }

    /// Returns when a task has ended though it was not told to: a bug, for which the process must not go on.
    pub async fn failure(&mut self) {
        self.tasks.join_next().await;
    }

    /// Tells every task to stop after its running batch, and waits for that, for no longer than `grace`. Says whether
    /// all of them made it; a batch that did not is undone by the server.
    pub async fn stop(mut self, grace: Duration) -> bool {
        // Nobody is left to tell when every task has ended.
        let _ = self.stop.send(true);
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        tokio::time::timeout(grace, ended).await.is_ok()
    }
}
