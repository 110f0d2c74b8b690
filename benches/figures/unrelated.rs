//! Saves per second that change no mapped column, with 8 clients; beside the same without triggers.
//!
//! Fair: both sides run the same script on a copy of the same tables, in turn. The daemon is
//! connected and asleep, as in production. The benchmark checks that the outbox does not grow.

use crate::support::daemon::Daemon;
use crate::support::database::Flavour;
use crate::support::lab::Lab;
use crate::support::pgbench::{self, Load};
use crate::support::report::{Goal, Row, Unit, digits};
use crate::support::say;
use crate::support::stats::Pair;

pub async fn measure(lab: &mut Lab) -> anyhow::Result<Vec<Row>> {
    let agents = lab.scaled(20_000, 500);
    let script = lab.file(
        "unrelated.pgbench",
        include_str!("../sql/unrelated.pgbench"),
    )?;
    let plain = lab.database(agents, Flavour::Plain).await?;
    let ours = lab.database(agents, Flavour::Installed).await?;
    let daemon = Daemon::caught_up(lab, &[&ours]).await?;
    let sides = [&ours, &plain];
    let outbox = "SELECT pg_relation_size('agent_sync.outbox')";

    let mut pairs = Vec::new();
    for round in 0..lab.rounds(7) {
        ours.tidy().await?;
        let before: i64 = ours.value(outbox).await?;
        let load = Load {
            script: script.clone(),
            clients: 8,
            seconds: 1,
            rate: None,
            agents,
        };
        let rate = pgbench::in_slices(lab, &sides, &load, round, async |_| Ok(())).await?;
        let grown = ours.value::<i64>(outbox).await? - before;
        anyhow::ensure!(
            grown == 0,
            "saves that change nothing relevant made the outbox grow by {grown} bytes"
        );
        daemon.must_run()?;
        let pair = Pair {
            ours: rate[0],
            beside: rate[1],
        };
        say(format_args!(
            "round {}: {}/s beside {}/s",
            round + 1,
            digits(pair.ours),
            digits(pair.beside)
        ));
        pairs.push(pair);
    }
    Ok(vec![
        Row::new(
            "8 clients, daemon running",
            Unit::PerSecond,
            "without triggers",
            &pairs,
        )
        .goal(Goal::RatioAtLeast(0.97)),
    ])
}
