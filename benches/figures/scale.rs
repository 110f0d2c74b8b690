//! Whether the time of a drain is linear in the number of changed agents, and the latency
//! independent of the size of the table.
//!
//! Drains: one statement changes every agent of a table of 10,000, of 100,000 and of 1,000,000
//! agents; the figure is the time per agent, beside that of 100,000. Latency: one change at a time
//! in tables of 1,000, 100,000 and 1,000,000 agents, beside that of 1,000.
//!
//! Fair: all tables come from the same generator and differ only in size. Their prompts are short
//! (some 300 bytes), to limit the run time. The large drain runs between two of each other size, so
//! a machine that becomes slower or faster affects all of them; the latency samples alternate, with
//! one daemon for all three databases.

use crate::support::daemon::Daemon;
use crate::support::database::{Database, Flavour};
use crate::support::generator::Prompt;
use crate::support::lab::{Drain, Lab};
use crate::support::procfs;
use crate::support::report::{Goal, Row, Unit, digits};
use crate::support::sample::{Subject, Worker};
use crate::support::say;
use crate::support::stats::{Pair, percentile};

/// Within 20 %.
const GOAL: Goal = Goal::RatioAtMost(1.2);

pub async fn measure(lab: &mut Lab) -> anyhow::Result<Vec<Row>> {
    let mut databases = Vec::new();
    for agents in lab.scaled(
        [1_000, 10_000, 100_000, 1_000_000],
        [200, 1_000, 3_000, 10_000],
    ) {
        databases.push(
            lab.unique(agents, Prompt::Short, Flavour::Installed)
                .await?,
        );
    }
    let mut rows = latency(lab, [&databases[0], &databases[2], &databases[3]]).await?;
    // The next daemon then has no first check of every agent.
    drop(Daemon::caught_up(lab, &[&databases[1]]).await?);
    rows.extend(drains(lab, &databases[1], &databases[2], &databases[3]).await?);
    Ok(rows)
}

async fn latency(lab: &Lab, databases: [&Database; 3]) -> anyhow::Result<Vec<Row>> {
    let daemon = Daemon::caught_up(lab, &databases).await?;
    let mut subjects = Vec::new();
    for database in databases {
        subjects.push(Subject::open(database, Worker::Daemon(&daemon)).await?);
    }
    let mut pairs = [Vec::new(), Vec::new()];
    for round in 0..lab.rounds(4) {
        for database in databases {
            database.tidy().await?;
        }
        let mut taken = [Vec::new(), Vec::new(), Vec::new()];
        for sample in 0..lab.scaled(200, 10) {
            for side in super::in_turn(subjects.len(), round + sample) {
                taken[side].push(subjects[side].sample().await?);
            }
        }
        let [beside, medium, large] = taken.map(|samples| percentile(&samples, 50.0));
        pairs[0].push(Pair {
            ours: medium,
            beside,
        });
        pairs[1].push(Pair {
            ours: large,
            beside,
        });
        say(format_args!(
            "p50 by size of the table, round {}: {} ms, {} ms, {} ms",
            round + 1,
            digits(beside),
            digits(medium),
            digits(large)
        ));
    }
    let beside = if lab.args.quick {
        "the smallest table"
    } else {
        "1,000 agents in the table"
    };
    let [_, medium, large] =
        databases.map(|database| format!("p50, {} agents", super::count(database.agents)));
    let [of_medium, of_large] = pairs;
    Ok(vec![
        Row::new(medium, Unit::Milliseconds, beside, &of_medium).goal(GOAL),
        Row::new(large, Unit::Milliseconds, beside, &of_large).goal(GOAL),
    ])
}

async fn drains(
    lab: &mut Lab,
    small: &Database,
    medium: &Database,
    large: &Database,
) -> anyhow::Result<Vec<Row>> {
    let mut pairs = [Vec::new(), Vec::new()];
    for round in 0..lab.rounds(1) {
        let mut per_agent = [Vec::new(), Vec::new(), Vec::new()];
        for (turn, side) in [0, 1, 2, 1, 0].into_iter().enumerate() {
            let number = i32::try_from(10 * round + turn + 1)?;
            let drain = drain(lab, [small, medium, large][side], number).await?;
            per_agent[side].push(1e6 * drain.seconds / f64::from(drain.agents));
            lab.drains.push(drain);
        }
        let [ours_small, beside, ours_large] =
            per_agent.map(|times| times.iter().sum::<f64>() / times.len() as f64);
        pairs[0].push(Pair {
            ours: ours_small,
            beside,
        });
        pairs[1].push(Pair {
            ours: ours_large,
            beside,
        });
    }
    let beside = if lab.args.quick {
        "the middle size"
    } else {
        "100,000 agents"
    };
    let label = |database: &Database| {
        format!(
            "drain of {} agents, per agent",
            super::count(database.agents)
        )
    };
    let [of_small, of_large] = pairs;
    Ok(vec![
        Row::new(label(small), Unit::Microseconds, beside, &of_small).goal(GOAL),
        Row::new(label(large), Unit::Microseconds, beside, &of_large).goal(GOAL),
    ])
}

/// Changes every agent of a database and measures a fresh daemon during the drain.
pub async fn drain(lab: &Lab, database: &Database, number: i32) -> anyhow::Result<Drain> {
    let daemon = Daemon::caught_up(lab, &[database]).await?;
    database.tidy().await?;
    let idle_kib = procfs::memory_kib(daemon.pid(), |status| status.vmrss)?;
    procfs::reset_peak(daemon.pid())?;
    database.change_all(number).await?;
    database.drained(&daemon).await?;
    let seconds = database.took_by_commits().await?.as_secs_f64();
    let peak_kib = procfs::memory_kib(daemon.pid(), |status| status.vmhwm)?;
    database.must_be_in_sync().await?;
    say(format_args!(
        "{} agents drained in {} s, with {} KiB at most and {} KiB before",
        super::count(database.agents),
        digits(seconds),
        digits(peak_kib),
        digits(idle_kib)
    ));
    Ok(Drain {
        agents: database.agents,
        seconds,
        idle_kib,
        peak_kib,
    })
}
