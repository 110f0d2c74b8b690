//! The processor time of an audit of a large table, of daemon and server together, and its
//! duration, on an idle system; beside `agent-sync check`, which compares the same agents in one
//! snapshot and without pauses.
//!
//! Fair: both read the same database in turn. The daemon has caught up and completed one audit
//! before the measured one.

use std::time::{Duration, Instant};

use crate::support::daemon::{self, Daemon};
use crate::support::database::{Database, Flavour};
use crate::support::generator::Prompt;
use crate::support::lab::Lab;
use crate::support::procfs;
use crate::support::report::{Row, Unit, digits};
use crate::support::stats::Pair;
use crate::support::{say, until};

/// One audit after the other.
pub const AUDITING: &str = "[audit]\ninterval = \"1s\"\n";

/// The longest time for an audit: at a million agents, some 60 µs for each at a tenth of the time.
pub const LONGEST: Duration = Duration::from_secs(1800);

pub async fn measure(lab: &mut Lab) -> anyhow::Result<Vec<Row>> {
    let agents = lab.scaled(1_000_000, 10_000);
    let database = lab
        .unique(agents, Prompt::Short, Flavour::Installed)
        .await?;
    // The next daemons then have no first check of every agent.
    drop(Daemon::caught_up(lab, &[&database]).await?);
    cost(lab, &database).await
}

/// One audit on an idle system, and one `check`.
async fn cost(lab: &Lab, database: &Database) -> anyhow::Result<Vec<Row>> {
    let server = lab.postmaster()?;
    let (mut work, mut duration) = (Vec::new(), Vec::new());
    for round in 0..lab.rounds(2) {
        database.tidy().await?;
        let daemon = Daemon::start_with(lab, &[database], AUDITING)?;
        daemon.catch_up().await?;
        audited(database, &daemon).await?;
        let used = |daemon: &Daemon| -> anyhow::Result<f64> {
            Ok(procfs::cpu(daemon.pid())? + procfs::cpu_of_family(server)?)
        };
        let (begun, before) = (Instant::now(), used(&daemon)?);
        audited(database, &daemon).await?;
        let ours = (used(&daemon)? - before, begun.elapsed().as_secs_f64());
        drop(daemon);

        let before = procfs::cpu_of_family(server)?;
        let check = daemon::check(&database.url).await?;
        let of_server = procfs::cpu_of_family(server)? - before;
        let beside = (check.cpu_seconds + of_server, check.seconds);
        say(format_args!(
            "round {}: an audit takes {} s of processor time in {} s, a check {} s in {} s",
            round + 1,
            digits(ours.0),
            digits(ours.1),
            digits(beside.0),
            digits(beside.1)
        ));
        for (pairs, (ours, beside)) in [
            (&mut work, (ours.0, beside.0)),
            (&mut duration, (ours.1, beside.1)),
        ] {
            pairs.push(Pair { ours, beside });
        }
    }
    let number = super::count(database.agents);
    let beside = "`agent-sync check`, one snapshot";
    Ok(vec![
        Row::new(
            format!("processor time for {number} agents, idle"),
            Unit::Seconds,
            beside,
            &work,
        ),
        Row::new(
            format!("duration for {number} agents, idle"),
            Unit::Seconds,
            beside,
            &duration,
        ),
    ])
}

/// Waits for the end of another audit.
async fn audited(database: &Database, daemon: &Daemon) -> anyhow::Result<()> {
    let last = "SELECT coalesce(audit #>> '{last,at}', '') FROM agent_sync.install";
    let before: String = database.value(last).await?;
    until(
        "another audit is complete",
        LONGEST,
        Duration::from_millis(5),
        async || {
            daemon.must_run()?;
            Ok((database.value::<String>(last).await? != before).then_some(()))
        },
    )
    .await
}
