//! pgbench, PostgreSQL's own load generator: prepared statements, random agents.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::Context as _;

use super::database::Database;
use super::lab::Lab;
use super::stats;

/// What it does to a database.
#[derive(Debug, Clone)]
pub struct Load {
    pub script: PathBuf,
    pub clients: u32,
    pub seconds: u64,
    /// Transactions per second at most; none: as many as go.
    pub rate: Option<u32>,
    /// The agents it saves: those with a number up to this.
    pub agents: u32,
}

/// Runs it to its end: transactions per second. A transaction that fails is an error.
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

/// Lets several databases have the same load, a slice after the other, in turn: the mean of the
/// rates of each.
///
/// A machine that is quicker or slower for a while is so for all of them; and only the first slice
/// after a checkpoint writes whole pages to the log, so that what all sides have in common does not
/// hide the difference.
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
