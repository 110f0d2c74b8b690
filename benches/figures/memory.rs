//! The peak memory of the daemon during the drain of a million agents; beside its idle memory.
//!
//! Idle is a daemon that has caught up, found nothing to do and written nothing yet: its lowest
//! value. The peak is the kernel's (`VmHWM`), reset just before the drain. The drain is the one of
//! the figure `scale`, with its short prompts, if that was measured before in the same run.

use crate::support::daemon::Daemon;
use crate::support::database::Flavour;
use crate::support::generator::Prompt;
use crate::support::lab::Lab;
use crate::support::report::{Goal, Row, Unit};
use crate::support::stats::Pair;

pub async fn measure(lab: &mut Lab) -> anyhow::Result<Vec<Row>> {
    let agents = lab.scaled(1_000_000, 10_000);
    if !lab.drains.iter().any(|drain| drain.agents == agents) {
        let database = lab
            .unique(agents, Prompt::Short, Flavour::Installed)
            .await?;
        drop(Daemon::caught_up(lab, &[&database]).await?);
        for round in 0..lab.rounds(1) {
            let drain = super::scale::drain(lab, &database, i32::try_from(round + 1)?).await?;
            lab.drains.push(drain);
        }
    }
    let drains = lab.drains.iter().filter(|drain| drain.agents == agents);
    let pairs: Vec<Pair> = drains
        .map(|drain| Pair {
            ours: drain.peak_kib / 1024.0,
            beside: drain.idle_kib / 1024.0,
        })
        .collect();
    let label = format!("RSS, drain of {} agents", super::count(agents));
    Ok(vec![
        Row::new(label, Unit::Mebibytes, "RSS while idle", &pairs).goal(Goal::RatioAtMost(3.0)),
    ])
}
