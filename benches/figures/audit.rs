//! What the audit of a large table costs: its own processor time, and what others notice of it.
//!
//! - Processor time and duration of one audit on an idle system, of daemon and server together;
//!   beside `agent-sync check`, which compares the same agents in one snapshot and without pauses.
//! - Saves per second of 8 clients with the daemon draining, and the p50 of single changes, while the
//!   daemon audits without a break (`audit.interval` is a second); beside the same without an audit.
//!
//! Fair: all sides work on the same database in turn, with a fresh daemon each. Before a side is
//! measured, its daemon has caught up, and an audit of it runs.

use std::time::{Duration, Instant};

use crate::support::daemon::{self, Daemon};
use crate::support::database::{Database, Flavour};
use crate::support::generator::Prompt;
use crate::support::lab::Lab;
use crate::support::pgbench::{self, Load};
use crate::support::procfs;
use crate::support::report::{Row, Unit, digits};
use crate::support::sample::{Subject, Worker};
use crate::support::stats::{Pair, in_turn, percentile};
use crate::support::{say, until};

/// With an audit after the other, and without any.
const SIDES: [&str; 2] = [
    "[audit]\ninterval = \"1s\"\n",
    "[audit]\ninterval = \"off\"\n",
];

/// Whether an audit runs, by its session.
const RUNS: &str = "SELECT EXISTS (SELECT FROM pg_stat_activity
    WHERE datname = current_database() AND application_name LIKE 'agent-sync audit%')";

/// The longest time for an audit: at a million agents, some 60 µs for each at a tenth of the time.
const LONGEST: Duration = Duration::from_secs(1800);

pub async fn measure(lab: &mut Lab) -> anyhow::Result<Vec<Row>> {
    let agents = lab.scaled(1_000_000, 10_000);
    let database = lab
        .unique(agents, Prompt::Short, Flavour::Installed)
        .await?;
    // The next daemons then have no first check of every agent.
    drop(Daemon::caught_up(lab, &[&database]).await?);
    let mut rows = cost(lab, &database).await?;
    rows.extend(beside_others(lab, &database).await?);
    Ok(rows)
}

/// One audit on an idle system, and one `check`.
async fn cost(lab: &Lab, database: &Database) -> anyhow::Result<Vec<Row>> {
    let server = lab.postmaster()?;
    let (mut work, mut duration) = (Vec::new(), Vec::new());
    for round in 0..lab.rounds(2) {
        database.tidy().await?;
        let daemon = Daemon::start_with(lab, &[database], SIDES[0])?;
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

/// Saves and single changes with an audit and without.
async fn beside_others(lab: &mut Lab, database: &Database) -> anyhow::Result<Vec<Row>> {
    let script = lab.file("save.pgbench", super::saves::SCRIPT)?;
    let load = Load {
        script,
        clients: 8,
        seconds: lab.scaled(10, 1),
        rate: None,
        agents: database.agents,
    };
    let (mut saves, mut latency) = (Vec::new(), Vec::new());
    for round in 0..lab.rounds(4) {
        let (mut rates, mut halves) = ([0.0; 2], [0.0; 2]);
        for side in in_turn(2, round) {
            database.tidy().await?;
            let daemon = Daemon::start_with(lab, &[database], SIDES[side])?;
            daemon.catch_up().await?;
            if side == 0 {
                until(
                    "an audit runs",
                    LONGEST,
                    Duration::from_millis(5),
                    async || {
                        daemon.must_run()?;
                        Ok(database.value::<bool>(RUNS).await?.then_some(()))
                    },
                )
                .await?;
            }
            let mut subject = Subject::open(database, Worker::Daemon(&daemon)).await?;
            let mut samples = Vec::new();
            for _ in 0..lab.scaled(200, 10) {
                samples.push(subject.sample().await?);
            }
            halves[side] = percentile(&samples, 50.0);
            rates[side] = pgbench::start(lab, database, &load).await?;
            database.drained(&daemon).await?;
        }
        say(format_args!(
            "round {}: {}/s beside {}/s, p50 {} ms beside {} ms",
            round + 1,
            digits(rates[0]),
            digits(rates[1]),
            digits(halves[0]),
            digits(halves[1])
        ));
        for (pairs, [ours, beside]) in [(&mut saves, rates), (&mut latency, halves)] {
            pairs.push(Pair { ours, beside });
        }
    }
    let beside = "without an audit";
    Ok(vec![
        Row::new(
            "saves with 8 clients during an audit",
            Unit::PerSecond,
            beside,
            &saves,
        ),
        Row::new(
            "p50 of single changes during an audit",
            Unit::Milliseconds,
            beside,
            &latency,
        ),
    ])
}
