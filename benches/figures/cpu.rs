//! The daemon's CPU time while 5,000 agents are saved per second; beside the server's for the same
//! span.
//!
//! Fair: both values are the kernel's, for the same seconds. The server's value covers all its
//! processes: the writers' backends, the daemon's backend and the background processes. pgbench
//! counts on neither side.

use std::time::{Duration, Instant};

use crate::support::daemon::Daemon;
use crate::support::database::Flavour;
use crate::support::lab::Lab;
use crate::support::pgbench::{self, Load};
use crate::support::procfs;
use crate::support::report::{Goal, Row, Unit, digits};
use crate::support::say;
use crate::support::stats::{Pair, median};

/// The rate requested from pgbench, in saves per second; the label has the actual rate.
const RATE: u32 = 5_000;

/// The time that the load runs before and after the measured span: half of its additional second.
const MARGIN: Duration = Duration::from_millis(500);

pub async fn measure(lab: &mut Lab) -> anyhow::Result<Vec<Row>> {
    let agents = lab.scaled(20_000, 500);
    let ours = lab.database(agents, Flavour::Installed).await?;
    let daemon = Daemon::caught_up(lab, &[&ours]).await?;
    let script = lab.file("save.pgbench", super::saves::SCRIPT)?;
    let server = lab.postmaster()?;

    let (mut pairs, mut rates) = (Vec::new(), Vec::new());
    for round in 0..lab.rounds(4) {
        ours.tidy().await?;
        let seconds = lab.scaled(9, 1);
        let load = Load {
            script: script.clone(),
            clients: 8,
            seconds: seconds + 1,
            rate: Some(RATE),
            agents,
        };
        let load = pgbench::start(lab, &ours, &load);
        tokio::time::sleep(MARGIN).await;
        let (begun, before) = (
            Instant::now(),
            (procfs::cpu(daemon.pid())?, procfs::cpu_of_family(server)?),
        );
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        let (span, after) = (
            begun.elapsed(),
            (procfs::cpu(daemon.pid())?, procfs::cpu_of_family(server)?),
        );
        rates.push(load.await?);
        ours.drained(&daemon).await?;
        let percent = |seconds: f64| 100.0 * seconds / span.as_secs_f64();
        let pair = Pair {
            ours: percent(after.0 - before.0),
            beside: percent(after.1 - before.1),
        };
        say(format_args!(
            "round {}: {} % of a core beside {} % at {} saves/s",
            round + 1,
            digits(pair.ours),
            digits(pair.beside),
            digits(rates[round])
        ));
        pairs.push(pair);
    }
    ours.must_be_in_sync().await?;
    let label = format!("at {} saves/s, of a core", digits(median(&rates)));
    Ok(vec![
        Row::new(label, Unit::Percent, "the server's processes", &pairs)
            .goal(Goal::RatioAtMost(0.15)),
    ])
}
