//! The test bed of the tests, the benchmarks and the demo: a throwaway PostgreSQL, the platform's
//! tables, the daemon as a process, and a proxy that injects network faults.
//!
//! Invariant: nothing is left behind when the using process ends, not even after SIGKILL. The
//! keeper of each [`Cluster`] and the guard of each [`Daemon`] hold one end of a pipe and clean up
//! when it closes.
//!
//! It does not depend on agent-sync; the caller names the program of the daemon.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::missing_panics_doc,
    clippy::print_stderr,
    reason = "a test without its testbed fails, and says why"
)]

pub mod cluster;
pub mod daemon;
pub mod http;
pub mod proxy;
mod template;

use std::future::Future;
use std::time::{Duration, Instant};

pub use cluster::{Cluster, Options};
pub use daemon::{Daemon, peak_memory_kib};

/// The platform's two tables as they are in production (T1, T2).
pub const TABLES: &str = include_str!("../tables.sql");

/// The time limit of every wait, far longer than any condition needs.
pub const TIMEOUT: Duration = Duration::from_secs(180);

/// Waits until the condition holds. Panics with `what` after [`TIMEOUT`].
pub async fn eventually<F, C>(what: &str, mut condition: C)
where
    C: FnMut() -> F,
    F: Future<Output = bool>,
{
    let start = Instant::now();
    while !condition().await {
        assert!(
            start.elapsed() < TIMEOUT,
            "waited {TIMEOUT:?} in vain: {what}"
        );
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
