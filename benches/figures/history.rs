//! The cost of the history: the writer's time and the drain of one statement that changes many
//! agents; beside the same without a history.
//!
//! Fair: both sides run agent-sync, start with the same pages, take turns, and have equal
//! configurations at the end. No goal: the history is off by default, because it costs more than a
//! tenth.

use std::time::Duration;

use crate::support::daemon::Daemon;
use crate::support::database::Flavour;
use crate::support::lab::Lab;
use crate::support::report::{Row, Unit, digits};
use crate::support::say;
use crate::support::stats::Pair;

pub async fn measure(lab: &mut Lab) -> anyhow::Result<Vec<Row>> {
    let (agents, rounds) = (lab.scaled(20_000, 500), lab.rounds(7));
    let with = lab.database(agents, Flavour::Keeping).await?;
    let without = lab.database(agents, Flavour::Installed).await?;
    let (keeping, plain) = (
        Daemon::caught_up(lab, &[&with]).await?,
        Daemon::caught_up(lab, &[&without]).await?,
    );

    let (mut drains, mut writes) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let number = i32::try_from(round + 1)?;
        let (mut drained, mut wrote) = ([Duration::ZERO; 2], [Duration::ZERO; 2]);
        for side in super::in_turn(2, round) {
            let (database, daemon) = [(&with, &keeping), (&without, &plain)][side];
            database.tidy().await?;
            wrote[side] = database.change_all(number).await?;
            database.drained(daemon).await?;
            drained[side] = database.took_by_commits().await?;
            database.must_be_in_sync().await?;
        }
        let kept: i64 = with
            .value("SELECT count(*) FROM agent_sync.history")
            .await?;
        let expected = i64::from(agents) * i64::from(number);
        anyhow::ensure!(
            kept == expected,
            "the history has {kept} rows, and {expected} were written"
        );
        let [drain, beside] = drained.map(|took| took.as_secs_f64());
        say(format_args!(
            "round {}: {} s beside {} s",
            round + 1,
            digits(drain),
            digits(beside)
        ));
        drains.push(Pair {
            ours: drain,
            beside,
        });
        let [ours, beside] = wrote.map(|took| took.as_secs_f64());
        writes.push(Pair { ours, beside });
    }
    let row = |what: &str, pairs: &[Pair]| {
        let label = format!("{} agents, {what}", super::count(agents));
        Row::new(label, Unit::Seconds, "without a history", pairs)
    };
    Ok(vec![row("the drain", &drains), row("the writer", &writes)])
}
