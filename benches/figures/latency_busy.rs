//! The time from the commit of an agent to its configuration while 8 writers save other agents;
//! beside the same without load.
//!
//! Fair: idle and busy spans alternate in the same run, on the same tables. The load is pgbench at
//! a fixed rate, so the machine is busy but not overloaded, and the daemon has to sync the agents
//! of the load as well. The load never saves the sampled agents.
//!
//! Informational: a bare listener under the same load.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::daemon::Daemon;
use crate::support::database::{Database, Flavour};
use crate::support::lab::Lab;
use crate::support::listener::{Listener, Work};
use crate::support::pgbench::{self, Load};
use crate::support::report::{Goal, Row, Unit, digits};
use crate::support::sample::{Subject, Worker};
use crate::support::say;
use crate::support::stats::{Pair, median, percentile};

/// The saves per second of all 8 writers together.
const RATE: u32 = 400;

/// The time that the load runs before the first sample and after the last one: half of its
/// additional second.
const MARGIN: Duration = Duration::from_millis(500);

pub async fn measure(lab: &mut Lab) -> anyhow::Result<Vec<Row>> {
    let agents = lab.scaled(20_000, 500);
    let ours = lab.database(agents, Flavour::Installed).await?;
    let rival = lab.database(agents, Flavour::Notifying).await?;
    let daemon = Daemon::caught_up(lab, &[&ours]).await?;
    let listener = Listener::start(&rival, Work::Update)?;
    let mut subject = Subject::open(&ours, Worker::Daemon(&daemon)).await?;
    let mut other = Subject::open(&rival, Worker::Listener(&listener)).await?;
    let script = lab.file("save.pgbench", super::saves::SCRIPT)?;
    let seconds = Duration::from_secs(lab.scaled(11, 1));

    let (mut beside_idle, mut beside_rival, mut rates) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..lab.rounds(3) {
        let mut p99 = [0.0; 3];
        for side in super::in_turn(3, round) {
            let (database, subject) = if side == 2 {
                (&rival, &mut other)
            } else {
                (&ours, &mut subject)
            };
            database.tidy().await?;
            let samples = if side == 0 {
                sample_for(subject, seconds).await?
            } else {
                let load = (script.as_path(), Some(RATE));
                let (samples, rate) = under_load(lab, database, subject, load, seconds).await?;
                rates.push(rate);
                samples
            };
            p99[side] = percentile(&samples, 99.0);
        }
        let [idle, busy, rival] = p99;
        say(format_args!(
            "round {}: p99 {} ms busy, {} ms idle; a bare listener {} ms busy",
            round + 1,
            digits(busy),
            digits(idle),
            digits(rival)
        ));
        beside_idle.push(Pair {
            ours: busy,
            beside: idle,
        });
        beside_rival.push(Pair {
            ours: busy,
            beside: rival,
        });
    }
    let label = format!("p99 at {} saves/s", digits(median(&rates)));
    Ok(vec![
        Row::new(
            label.as_str(),
            Unit::Milliseconds,
            "its own idle p99",
            &beside_idle,
        )
        .goal(Goal::RatioAtMost(3.0)),
        Row::new(
            label,
            Unit::Milliseconds,
            "a bare listener under the same load",
            &beside_rival,
        ),
    ])
}

async fn sample_for(subject: &mut Subject<'_>, span: Duration) -> anyhow::Result<Vec<f64>> {
    let begun = Instant::now();
    let mut samples = Vec::new();
    while begun.elapsed() < span {
        samples.push(subject.sample().await?);
    }
    Ok(samples)
}

/// The samples while 8 clients run a script at a rate, or as fast as they can; and the actual rate
/// per second.
pub async fn under_load(
    lab: &Lab,
    database: &Database,
    subject: &mut Subject<'_>,
    (script, rate): (&Path, Option<u32>),
    span: Duration,
) -> anyhow::Result<(Vec<f64>, f64)> {
    let load = Load {
        script: script.to_owned(),
        clients: 8,
        seconds: span.as_secs() + 1,
        rate,
        // Only the last tenth of the agents is sampled.
        agents: database.agents / 10 * 9,
    };
    let load = pgbench::start(lab, database, &load);
    tokio::time::sleep(MARGIN).await;
    let samples = sample_for(subject, span).await?;
    Ok((samples, load.await?))
}
