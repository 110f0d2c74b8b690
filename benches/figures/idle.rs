//! The resource use of an idle daemon: with one database, and for each further one.
//!
//! The daemon has its default settings. The span is longer than a sweep (30 s), so it contains one
//! sweep and several probes. Wake-ups are the voluntary context switches of all its threads. Memory
//! is measured twice: just after the start, and after one drain of every agent of each database,
//! because an allocator may keep memory. The cost of a further database is the difference between a
//! daemon with 51 databases and one with 1, per database.

use std::time::{Duration, Instant};

use crate::support::daemon::Daemon;
use crate::support::database::{Database, Flavour};
use crate::support::lab::Lab;
use crate::support::procfs;
use crate::support::report::{Goal, Row, Unit, digits};
use crate::support::say;

/// The resource use of an idle daemon.
#[derive(Debug, Clone, Copy)]
struct Idle {
    cpu_percent: f64,
    wakeups: f64,
    /// RSS just after the start, RSS after a drain, and the anonymous part of the latter.
    started_kib: f64,
    worked_kib: f64,
    anonymous_kib: f64,
}

pub async fn measure(lab: &mut Lab) -> anyhow::Result<Vec<Row>> {
    let further = lab.scaled(50, 3);
    let agents = lab.scaled(1_000, 200);
    let mut databases = Vec::new();
    for _ in 0..=further {
        databases.push(lab.database(agents, Flavour::Installed).await?);
    }
    let all: Vec<&Database> = databases.iter().collect();
    // After an install the daemon checks every agent, at the start and once more with the next
    // sweep; both are over after this pause.
    let first = Daemon::caught_up(lab, &all).await?;
    tokio::time::sleep(Duration::from_secs(lab.scaled(35, 0))).await;
    drop(first);

    let mut rounds = Vec::new();
    for round in 0..lab.rounds(1) {
        let number = i32::try_from(2 * round + 1)?;
        rounds.push((
            watch(lab, &all[..1], number).await?,
            watch(lab, &all, number + 1).await?,
        ));
    }
    let one =
        |value: fn(&Idle) -> f64| rounds.iter().map(|(one, _)| value(one)).collect::<Vec<_>>();
    let each = |value: fn(&Idle) -> f64| -> Vec<f64> {
        rounds
            .iter()
            .map(|(one, many)| (value(many) - value(one)) / f64::from(further))
            .collect()
    };
    let mebibytes = Goal::AtMost(12.0);
    Ok(vec![
        Row::alone("processor", Unit::Percent, &one(|idle| idle.cpu_percent))
            .goal(Goal::AtMost(0.1)),
        Row::alone("wake-ups", Unit::PerSecond, &one(|idle| idle.wakeups)).goal(Goal::AtMost(2.0)),
        Row::alone(
            "RSS, just started",
            Unit::Mebibytes,
            &one(|idle| idle.started_kib / 1024.0),
        )
        .goal(mebibytes),
        Row::alone(
            "RSS, after a drain",
            Unit::Mebibytes,
            &one(|idle| idle.worked_kib / 1024.0),
        )
        .goal(mebibytes),
        Row::alone(
            "the same without files",
            Unit::Mebibytes,
            &one(|idle| idle.anonymous_kib / 1024.0),
        ),
        Row::alone(
            "further database, processor",
            Unit::Percent,
            &each(|idle| idle.cpu_percent),
        ),
        Row::alone(
            "further database, wake-ups",
            Unit::PerSecond,
            &each(|idle| idle.wakeups),
        ),
        Row::alone(
            "further database, RSS, just started",
            Unit::Kibibytes,
            &each(|idle| idle.started_kib),
        )
        .goal(Goal::AtMost(64.0)),
        Row::alone(
            "further database, RSS, after a drain",
            Unit::Kibibytes,
            &each(|idle| idle.worked_kib),
        )
        .goal(Goal::AtMost(128.0)),
    ])
}

async fn watch(lab: &Lab, databases: &[&Database], number: i32) -> anyhow::Result<Idle> {
    let daemon = Daemon::caught_up(lab, databases).await?;
    tokio::time::sleep(Duration::from_millis(lab.scaled(2_000, 300))).await;
    let (begun, before) = (Instant::now(), procfs::activity(daemon.pid())?);
    tokio::time::sleep(Duration::from_secs(lab.scaled(40, 2))).await;
    let (span, after) = (
        begun.elapsed().as_secs_f64(),
        procfs::activity(daemon.pid())?,
    );
    let started_kib = procfs::memory_kib(daemon.pid(), |status| status.vmrss)?;

    for database in databases {
        database.change_all(number).await?;
    }
    for database in databases {
        database.drained(&daemon).await?;
        database.must_be_in_sync().await?;
    }
    let idle = Idle {
        cpu_percent: 100.0 * (after.cpu_seconds - before.cpu_seconds) / span,
        wakeups: (after.wakeups - before.wakeups) as f64 / span,
        started_kib,
        worked_kib: procfs::memory_kib(daemon.pid(), |status| status.vmrss)?,
        anonymous_kib: procfs::memory_kib(daemon.pid(), |status| status.rssanon)?,
    };
    say(format_args!(
        "databases: {}; {} % of a core, {} wake-ups/s, {} KiB just started, {} KiB after a drain",
        databases.len(),
        digits(idle.cpu_percent),
        digits(idle.wakeups),
        digits(idle.started_kib),
        digits(idle.worked_kib)
    ));
    Ok(idle)
}
