//! The writer's time for one statement that changes many agents, commit included; beside the same
//! without triggers.
//!
//! Fair: both sides start with the same pages, just vacuumed and after a checkpoint, and run the
//! same statement. The goal is about the capture alone, without a connected daemon that would use
//! the processors. Informational: the same with a daemon that sleeps when the statement starts and
//! drains after its commit.

use crate::support::daemon::Daemon;
use crate::support::database::Flavour;
use crate::support::lab::Lab;
use crate::support::report::{Goal, Row, Unit, digits};
use crate::support::say;
use crate::support::stats::Pair;

pub async fn measure(lab: &mut Lab) -> anyhow::Result<Vec<Row>> {
    let sizes = [
        (lab.scaled(20_000, 500), lab.rounds(7)),
        (lab.scaled(100_000, 1_500), lab.rounds(3)),
    ];
    let mut rows = Vec::new();
    for (agents, rounds) in sizes {
        rows.extend(with(lab, agents, rounds).await?);
    }
    Ok(rows)
}

async fn with(lab: &mut Lab, agents: u32, rounds: usize) -> anyhow::Result<[Row; 2]> {
    let plain = lab.database(agents, Flavour::Plain).await?;
    let capture = lab.database(agents, Flavour::Installed).await?;
    let asleep = lab.database(agents, Flavour::Installed).await?;
    let daemon = Daemon::caught_up(lab, &[&asleep]).await?;
    let sides = [&plain, &capture, &asleep];

    let (mut alone, mut with_daemon) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let number = i32::try_from(round + 1)?;
        let mut took = [0.0; 3];
        for side in super::in_turn(sides.len(), round) {
            sides[side].tidy().await?;
            took[side] = sides[side].change_all(number).await?.as_secs_f64();
            match side {
                1 => {
                    let noted: i64 = capture
                        .value("SELECT count(*) FROM agent_sync.outbox")
                        .await?;
                    anyhow::ensure!(
                        noted == i64::from(agents),
                        "{noted} of {agents} changes were captured"
                    );
                    capture.forget_captured().await?;
                }
                2 => asleep.drained(&daemon).await?,
                _ => {}
            }
        }
        let [beside, ours, drained] = took;
        say(format_args!(
            "{} agents, round {}: {} s, with a daemon {} s, without triggers {} s",
            super::count(agents),
            round + 1,
            digits(ours),
            digits(drained),
            digits(beside)
        ));
        alone.push(Pair { ours, beside });
        with_daemon.push(Pair {
            ours: drained,
            beside,
        });
    }
    let (goal, beside) = (
        Goal::RatioAtMost(1.4),
        "the same statement without triggers",
    );
    let label = |what: &str| format!("{} agents, {what}", super::count(agents));
    Ok([
        Row::new(label("capture alone"), Unit::Seconds, beside, &alone).goal(goal),
        Row::new(label("daemon asleep"), Unit::Seconds, beside, &with_daemon).goal_of_another(goal),
    ])
}
