//! What the figures stand on: a server, databases with a believable platform, the real daemon, its
//! rivals, and the report.
//!
//! Every wait is bounded: those of the bench by [`until`], statements by the server's
//! `statement_timeout`.

pub mod daemon;
pub mod database;
pub mod generator;
pub mod lab;
pub mod listener;
pub mod pgbench;
pub mod plot;
pub mod procfs;
pub mod report;
pub mod sample;
pub mod stats;

use std::time::{Duration, Instant};

/// How long what takes a moment may take.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Says what is going on.
pub fn say(text: impl std::fmt::Display) {
    eprintln!("  {text}");
}

/// Looks every `glance` until the outcome is there, and says what was waited for when it does not
/// come.
pub async fn until<T>(
    what: &str,
    patience: Duration,
    glance: Duration,
    mut look: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let begun = Instant::now();
    loop {
        if let Some(outcome) = look().await? {
            return Ok(outcome);
        }
        anyhow::ensure!(
            begun.elapsed() < patience,
            "waited {patience:?} in vain until {what}"
        );
        tokio::time::sleep(glance).await;
    }
}
