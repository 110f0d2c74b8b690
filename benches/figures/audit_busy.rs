//! What others notice of an audit of a large table: saves per second of 8 clients, with the daemon
//! draining, and the p50 of single changes, while the daemon audits without a break
//! (`audit.interval` is a second); beside the same without an audit.
//!
//! Fair: both sides work on the same database in turn, with a fresh daemon each that has caught up.
//! An audit runs before the measurement begins.

use std::time::Duration;

use super::audit::{AUDITING, LONGEST};
use crate::support::daemon::Daemon;
use crate::support::database::Flavour;
use crate::support::generator::Prompt;
use crate::support::lab::Lab;
use crate::support::pgbench::{self, Load};
use crate::support::report::{Row, Unit, digits};
use crate::support::sample::{Subject, Worker};
use crate::support::stats::{Pair, in_turn, percentile};
use crate::support::{say, until};

/// With one audit after the other, and without any.
const SIDES: [&str; 2] = [AUDITING, "[audit]\ninterval = \"off\"\n"];

/// Whether an audit runs, by its session.
const RUNS: &str = "SELECT EXISTS (SELECT FROM pg_stat_activity
    WHERE datname = current_database() AND application_name LIKE 'agent-sync audit%')";

pub async fn measure(lab: &mut Lab) -> anyhow::Result<Vec<Row>> {
    let agents = lab.scaled(1_000_000, 10_000);
    let database = lab
        .unique(agents, Prompt::Short, Flavour::Installed)
        .await?;
    let database = &database;
    // The next daemons then have no first check of every agent.
    drop(Daemon::caught_up(lab, &[database]).await?);
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
