//! The time from the commit of an agent to its configuration while 8 writers save other agents as
//! fast as they can.
//!
//! The writers, the daemon and the server share all processors, so there is no rate to hold and no
//! rival that does the same work: the goal is an absolute one. The load never saves the sampled
//! agents.

use std::time::Duration;

use crate::support::daemon::Daemon;
use crate::support::database::Flavour;
use crate::support::lab::Lab;
use crate::support::report::{Goal, Row, Unit, digits};
use crate::support::sample::{Subject, Worker};
use crate::support::say;
use crate::support::stats::{median, percentile};

use super::latency_busy::under_load;

pub async fn measure(lab: &mut Lab) -> anyhow::Result<Vec<Row>> {
    let agents = lab.scaled(20_000, 500);
    let database = lab.database(agents, Flavour::Installed).await?;
    let daemon = Daemon::caught_up(lab, &[&database]).await?;
    let mut subject = Subject::open(&database, Worker::Daemon(&daemon)).await?;
    let script = lab.file("save.pgbench", super::saves::SCRIPT)?;
    let seconds = Duration::from_secs(lab.scaled(11, 1));

    let (mut p50, mut p99, mut rates) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..lab.rounds(3) {
        database.tidy().await?;
        let load = (script.as_path(), None);
        let (samples, rate) = under_load(lab, &database, &mut subject, load, seconds).await?;
        database.drained(&daemon).await?;
        p50.push(percentile(&samples, 50.0));
        p99.push(percentile(&samples, 99.0));
        rates.push(rate);
        say(format_args!(
            "round {}: p50 {} ms, p99 {} ms at {} saves/s",
            round + 1,
            digits(percentile(&samples, 50.0)),
            digits(percentile(&samples, 99.0)),
            digits(rate)
        ));
    }
    let at = format!("at {} saves/s", digits(median(&rates)));
    Ok(vec![
        Row::alone(format!("p50 {at}"), Unit::Milliseconds, &p50),
        Row::alone(format!("p99 {at}"), Unit::Milliseconds, &p99).goal(Goal::AtMost(25.0)),
    ])
}
