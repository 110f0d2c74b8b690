//! What the tests, the benchmarks and the demo stand on: a throwaway PostgreSQL, the platform's
//! tables, the daemon as a process of its own, and a proxy that misbehaves on demand.
//!
//! Invariant: nothing is left behind, however a process that uses this ends, SIGKILL included. The
//! keeper of each [`Cluster`] and the guard of each [`Daemon`] hold one end of a pipe and clean up
//! when it closes.
//!
//! It depends on nothing of agent-sync; the caller says which program is the daemon.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::missing_panics_doc,
    clippy::print_stderr,
    reason = "a test without its testbed fails, and says why"
)]

pub mod cluster;
pub mod daemon;
pub mod proxy;

use std::future::Future;
use std::time::{Duration, Instant};

pub use cluster::{Cluster, Options};
pub use daemon::Daemon;

/// The platform's two tables as they are in production (T1, T2).
pub const TABLES: &str = include_str!("../tables.sql");

/// The limit for every wait: far more time than any condition needs.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// Waits until the condition holds, and says what it waited for when it does not.
pub async fn eventually<F, C>(what: &str, mut condition: C)
where
    C: FnMut() -> F,
    F: Future<Output = bool>,
{
    let start = Instant::now();
    while !condition().await {
        assert!(
            start.elapsed() < PATIENCE,
            "waited {PATIENCE:?} in vain: {what}"
        );
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
