//! The time from the commit of an agent to its configuration, without other load; beside a bare
//! listener.
//!
//! Fair: both sides apply the same change to the same kind of table and are measured by the same
//! commit timestamps (see `support::sample`). The samples alternate one by one. A pause before each
//! lets the daemon go to sleep, so every sample includes the wake-up. The listener knows the values
//! before the change is saved and writes them with one prepared statement: the least possible time
//! for notification, read and write.

use crate::support::daemon::Daemon;
use crate::support::database::Flavour;
use crate::support::lab::Lab;
use crate::support::listener::{Listener, Work};
use crate::support::report::{Goal, Row, Unit, digits};
use crate::support::sample::{Subject, Worker};
use crate::support::say;
use crate::support::stats::{Pair, percentile};

/// The number of initial samples of each side that are discarded, because they fill caches and
/// plans.
const WARM_UP: usize = 5;

pub async fn measure(lab: &mut Lab) -> anyhow::Result<Vec<Row>> {
    let agents = lab.scaled(20_000, 500);
    let samples = lab.scaled(500, 15);
    let ours = lab.database(agents, Flavour::Installed).await?;
    let floor = lab.database(agents, Flavour::Notifying).await?;
    let daemon = Daemon::caught_up(lab, &[&ours]).await?;
    let listener = Listener::start(&floor, Work::Update)?;
    let mut sides = [
        Subject::open(&ours, Worker::Daemon(&daemon)).await?,
        Subject::open(&floor, Worker::Listener(&listener)).await?,
    ];

    let (mut p50, mut p99) = (Vec::new(), Vec::new());
    for round in 0..lab.rounds(4) {
        ours.tidy().await?;
        floor.tidy().await?;
        let mut taken = [Vec::new(), Vec::new()];
        for sample in 0..WARM_UP + samples {
            for side in super::in_turn(2, round + sample) {
                let took = sides[side].sample().await?;
                if sample >= WARM_UP {
                    taken[side].push(took);
                }
            }
        }
        let pair = |percent| Pair {
            ours: percentile(&taken[0], percent),
            beside: percentile(&taken[1], percent),
        };
        p50.push(pair(50.0));
        p99.push(pair(99.0));
        say(format_args!(
            "round {}: p50 {} ms beside {} ms, p99 {} ms beside {} ms",
            round + 1,
            digits(pair(50.0).ours),
            digits(pair(50.0).beside),
            digits(pair(99.0).ours),
            digits(pair(99.0).beside)
        ));
    }

    let mut seen = [Vec::new(), Vec::new()];
    for sample in 0..lab.scaled(100, 10) {
        for side in super::in_turn(2, sample) {
            seen[side].push(sides[side].sample_as_seen().await?);
        }
    }
    let seen = Pair {
        ours: percentile(&seen[0], 50.0),
        beside: percentile(&seen[1], 50.0),
    };

    let beside = "a bare listener: NOTIFY, one prepared UPDATE";
    Ok(vec![
        Row::new("commit to commit, p50", Unit::Milliseconds, beside, &p50)
            .goal(Goal::RatioAtMost(1.45)),
        Row::new("commit to commit, p99", Unit::Milliseconds, beside, &p99)
            .goal(Goal::RatioAtMost(1.6)),
        Row::new(
            "check: as a client sees it, p50",
            Unit::Milliseconds,
            beside,
            &[seen],
        ),
    ])
}
