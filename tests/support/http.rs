//! An HTTP client for the daemon (I8).

use std::net::SocketAddr;
use std::process::Command;

pub use agent_sync_testbed::http::{get, raw};
use serde_json::Value;

use super::{Daemon, Platform, eventually};

/// The address of a daemon, from its log.
pub async fn address(daemon: &Daemon) -> SocketAddr {
    let line = daemon.logged("serving /livez").await;
    line["address"].as_str().unwrap().parse().unwrap()
}

/// The command of a daemon on a free port, with short intervals.
pub fn command(platform: &Platform) -> Command {
    let mut command = platform.command(&["run"]);
    command
        .env("AGENT_SYNC__ADMIN__LISTEN", "127.0.0.1:0")
        .env("AGENT_SYNC__SYNC__SWEEP_INTERVAL", "1s")
        .env("AGENT_SYNC__SYNC__PROBE_INTERVAL", "200ms")
        .env("AGENT_SYNC__RECONNECT__MAX_DELAY", "200ms");
    command
}

/// A running daemon that has caught up, and its address.
pub async fn serving(platform: &Platform) -> (Daemon, SocketAddr) {
    let daemon = Daemon::start(command(platform));
    daemon.logged("caught up").await;
    let address = address(&daemon).await;
    eventually("the database is ready", async || {
        get(address, "/readyz").await.0 == 200
    })
    .await;
    (daemon, address)
}

/// The value of one series, if it exists.
pub async fn metric(address: SocketAddr, series: &str) -> Option<f64> {
    let text = get(address, "/metrics").await.1;
    text.lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))
        .map(|value| value.parse().unwrap())
}

/// Waits until a series has this value.
pub async fn metric_becomes(address: SocketAddr, series: &str, expected: f64) {
    eventually(&format!("{series} becomes {expected}"), async || {
        metric(address, series)
            .await
            .is_some_and(|value| (value - expected).abs() < f64::EPSILON)
    })
    .await;
}

/// The only database of `/status`.
pub async fn status(address: SocketAddr) -> Value {
    let (code, body) = get(address, "/status").await;
    assert_eq!(code, 200);
    let status: Value = serde_json::from_str(&body).unwrap();
    status["databases"][0].clone()
}
