//! pgbench, PostgreSQL's own load generator: prepared statements, random agents.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::Context as _;

use super::database::Database;
use super::lab::Lab;
use super::stats;

/// The load on a database.
#[derive(Debug, Clone)]
pub struct Load {
    pub script: PathBuf,
    pub clients: u32,
    pub seconds: u64,
    /// The limit of transactions per second; `None` for no limit.
    pub rate: Option<u32>,
    /// The load saves the agents with a number up to this.
    pub agents: u32,
}

/// Runs pgbench to its end and returns the transactions per second. Fails if a transaction fails.
pub fn start(
    lab: &Lab,
    database: &Database,
    load: &Load,
) -> impl Future<Output = anyhow::Result<f64>> + 'static {
    let mut command = lab.cluster.program("pgbench");
    command.arg("-h").arg(lab.cluster.folder()).args([
        "-p",
        &lab.cluster.port().to_string(),
        "-U",
        "postgres",
    ]);
    command.args([
        "-n",
        "-M",
        "prepared",
        "-j",
        &load.clients.min(2).to_string(),
        "-c",
        &load.clients.to_string(),
    ]);
    command
        .args([
            "-T",
            &load.seconds.to_string(),
            "-D",
            &format!("agents={}", load.agents),
            "-f",
        ])
        .arg(&load.script);
    if let Some(rate) = load.rate {
        command.args(["-R", &rate.to_string()]);
    }
    command.arg(&database.name).stdin(Stdio::null());
    let task = tokio::task::spawn_blocking(move || command.output());
    async move {
        let output = task
            .await?
            .context("could not start pgbench, which belongs to PostgreSQL's server programs")?;
        let (said, errors) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        anyhow::ensure!(output.status.success(), "pgbench failed: {}", errors.trim());
        let rate = said.lines().find_map(|line| {
            line.strip_prefix("tps = ")?
                .split_whitespace()
                .next()?
                .parse()
                .ok()
        });
        rate.with_context(|| format!("pgbench did not say how many transactions it made: {said}"))
    }
}

/// Runs the same load on several databases in alternating slices and returns the mean rate of each.
///
/// A faster or slower phase of the machine affects all sides. Only the first slice after a
/// checkpoint writes full pages to the log, so this common cost does not hide the difference.
pub async fn in_slices<const SIDES: usize>(
    lab: &Lab,
    databases: &[&Database; SIDES],
    load: &Load,
    round: usize,
    mut after: impl AsyncFnMut(usize) -> anyhow::Result<()>,
) -> anyhow::Result<[f64; SIDES]> {
    let slices = lab.scaled(4, 1);
    let mut rates = [0.0; SIDES];
    for database in databases {
        database.tidy().await?;
    }
    for slice in 0..slices {
        for side in stats::in_turn(SIDES, round + slice) {
            rates[side] += start(lab, databases[side], load).await? / slices as f64;
            after(side).await?;
        }
    }
    Ok(rates)
}
