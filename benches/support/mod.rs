//! The common parts of the figures: a server, databases with a realistic platform, the real daemon,
//! its rival, and the report.
//!
//! Every wait is bounded: those of the benchmark by [`until`], statements by the server's
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

/// The time limit of short waits.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// Prints the progress.
pub fn say(text: impl std::fmt::Display) {
    eprintln!("  {text}");
}

/// Polls until there is an outcome. Fails with `what` after the time limit.
pub async fn until<T>(
    what: &str,
    time_limit: Duration,
    interval: Duration,
    mut look: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let begun = Instant::now();
    loop {
        if let Some(outcome) = look().await? {
            return Ok(outcome);
        }
        anyhow::ensure!(
            begun.elapsed() < time_limit,
            "waited {time_limit:?} in vain until {what}"
        );
        tokio::time::sleep(interval).await;
    }
}
