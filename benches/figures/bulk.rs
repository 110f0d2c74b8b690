//! The time from one statement that changes many agents until all configurations are in sync;
//! beside one hand-written statement over sets.
//!
//! Fair: both sides start with the same pages and the same change, write the same columns of the
//! same rows, and must have equal results. Both are measured by commit timestamps, from the commit
//! of the change to the commit of the last configuration. The hand-written statement runs
//! immediately, in a client that waits for nothing. It does not validate, notes no problems, and
//! holds every row lock until it commits.
//!
//! Informational: a client that runs one UPDATE for each notification, with a precomputed
//! `provider_config`.

use std::time::Duration;

use anyhow::Context as _;

use crate::support::daemon::Daemon;
use crate::support::database::{Database, Flavour};
use crate::support::generator::Prompt;
use crate::support::lab::Lab;
use crate::support::listener::{Listener, Work};
use crate::support::report::{Goal, Row, Unit, digits};
use crate::support::stats::Pair;
use crate::support::{TIMEOUT, say, until};

const SET_BASED: &str = include_str!("../sql/set_based.sql");

pub async fn measure(lab: &mut Lab) -> anyhow::Result<Vec<Row>> {
    let (small, large) = (lab.scaled(20_000, 500), lab.scaled(100_000, 1_500));
    let mut rows = Vec::new();
    let beside = "one hand-written UPDATE … FROM";
    let mut ours = Vec::new();
    for (agents, prompt, rounds) in [
        (small, Prompt::Full, lab.rounds(7)),
        (large, Prompt::Full, lab.rounds(3)),
        (small, Prompt::Short, lab.rounds(5)),
    ] {
        let pairs = beside_set_based(lab, (agents, prompt), rounds).await?;
        let label = format!("{} agents{}", super::count(agents), prompt.remark());
        rows.push(Row::new(label, Unit::Seconds, beside, &pairs).goal(Goal::RatioAtMost(1.5)));
        ours.push(pairs);
    }
    let peer = peer(lab, small).await?;
    let pairs: Vec<Pair> = ours
        .first()
        .into_iter()
        .flatten()
        .take(1)
        .map(|pair| Pair {
            beside: peer,
            ..*pair
        })
        .collect();
    let label = format!("{} agents", super::count(small));
    rows.push(Row::new(
        label,
        Unit::Seconds,
        "a listener that runs one UPDATE per notification",
        &pairs,
    ));
    Ok(rows)
}

async fn beside_set_based(
    lab: &mut Lab,
    (agents, prompt): (u32, Prompt),
    rounds: usize,
) -> anyhow::Result<Vec<Pair>> {
    let ours = lab.copy(agents, prompt, Flavour::Installed).await?;
    let floor = lab.copy(agents, prompt, Flavour::Plain).await?;
    let daemon = Daemon::caught_up(lab, &[&ours]).await?;
    let changed = set_based(&floor).await?;
    anyhow::ensure!(
        changed == 0,
        "the hand-written statement disagrees with the mapping on {changed} agents"
    );

    let mut pairs = Vec::new();
    for round in 0..rounds {
        let number = i32::try_from(round + 1)?;
        let mut took = [Duration::ZERO; 2];
        for side in super::in_turn(2, round) {
            let database = [&ours, &floor][side];
            database.tidy().await?;
            database.change_all(number).await?;
            if side == 0 {
                database.drained(&daemon).await?;
            } else {
                let changed = set_based(database).await?;
                anyhow::ensure!(
                    changed == u64::from(agents),
                    "the hand-written statement wrote {changed} configurations"
                );
            }
            took[side] = database.took_by_commits().await?;
            database.must_be_in_sync().await?;
        }
        anyhow::ensure!(
            ours.digest().await? == floor.digest().await?,
            "the daemon and the hand-written statement came to different configurations"
        );
        let [ours, beside] = took.map(|took| took.as_secs_f64());
        say(format_args!(
            "{} agents{}, round {}: {} s beside {} s",
            super::count(agents),
            prompt.remark(),
            round + 1,
            digits(ours),
            digits(beside)
        ));
        pairs.push(Pair { ours, beside });
    }
    Ok(pairs)
}

async fn set_based(database: &Database) -> anyhow::Result<u64> {
    database
        .client
        .execute(SET_BASED, &[])
        .await
        .context("the hand-written statement failed")
}

/// The time of the client that runs an UPDATE for each notification, measured once.
async fn peer(lab: &mut Lab, agents: u32) -> anyhow::Result<f64> {
    let database = lab.database(agents, Flavour::Notifying).await?;
    let listener = Listener::start(&database, Work::Update)?;
    listener.will_write(r#"{"tts": {"provider": "elevenlabs", "voice_id": "voice"}}"#.to_owned());
    database.tidy().await?;
    database.change_all(1).await?;
    let time_limit = TIMEOUT + Duration::from_millis(20) * agents;
    until(
        "the per-row listener is done",
        time_limit,
        Duration::from_millis(100),
        async || {
            listener.must_run()?;
            let left: bool = database
                .value(
                    "SELECT EXISTS (SELECT FROM agent_configurations WHERE NOT provider_config @> \
                    '{\"tts\": {\"voice_id\": \"voice\"}}')",
                )
                .await?;
            Ok((!left).then_some(()))
        },
    )
    .await?;
    let took = database.took_by_commits().await?.as_secs_f64();
    say(format_args!(
        "{} agents, one UPDATE per notification: {} s",
        super::count(agents),
        digits(took)
    ));
    Ok(took)
}
