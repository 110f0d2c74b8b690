//! Single-row saves per second with 1, 8 and 32 clients (pgbench); beside the same without
//! triggers, beside the least trigger that appends to an outbox, and beside the usual row trigger
//! that notifies.
//!
//! Fair: every side runs the same script on a copy of the same tables, in alternating slices of a
//! second (see `pgbench::in_slices`). No other process works meanwhile; the daemon has drained
//! before the next side starts. The goals are about the capture alone, without a connected daemon:
//! the cost of the trigger for a writer. The table also has the same figures while the daemon
//! drains on the same processors. The rival has one connected client that listens and reads, and
//! does nothing else.

use crate::support::daemon::Daemon;
use crate::support::database::Flavour;
use crate::support::lab::Lab;
use crate::support::listener::{Listener, Work};
use crate::support::pgbench::{self, Load};
use crate::support::report::{Goal, Row, Unit, digits};
use crate::support::say;
use crate::support::stats::Pair;

pub const SCRIPT: &str = include_str!("../sql/save.pgbench");

pub async fn measure(lab: &mut Lab) -> anyhow::Result<Vec<Row>> {
    let agents = lab.scaled(20_000, 500);
    let script = lab.file("save.pgbench", SCRIPT)?;
    let plain = lab.database(agents, Flavour::Plain).await?;
    let capture = lab.database(agents, Flavour::Installed).await?;
    let notifying = lab.database(agents, Flavour::Notifying).await?;
    let synced = lab.database(agents, Flavour::Installed).await?;
    let appending = lab.database(agents, Flavour::Appending).await?;
    let listener = Listener::start(&notifying, Work::Read)?;
    let daemon = Daemon::caught_up(lab, &[&synced]).await?;
    let sides = [&plain, &capture, &notifying, &synced, &appending];

    let (mut floors, mut appends, mut rivals) = (Vec::new(), Vec::new(), Vec::new());
    for clients in lab.scaled([1, 8, 32].as_slice(), [1, 8].as_slice()) {
        let load = Load {
            script: script.clone(),
            clients: *clients,
            seconds: 1,
            rate: None,
            agents,
        };
        let mut rates: Vec<[f64; 5]> = Vec::new();
        for round in 0..lab.rounds(lab.scaled(4, 1)) {
            let rate = pgbench::in_slices(lab, &sides, &load, round, async |side| match side {
                1 => capture.forget_captured().await,
                3 => synced.drained(&daemon).await,
                4 => appending.forget_captured().await,
                _ => Ok(()),
            });
            let rate = rate.await?;
            listener.must_run()?;
            let [plain, capture, notifying, synced, appending] = rate.map(digits);
            say(format_args!(
                "clients: {clients}, round {}: {capture}/s, with the daemon {synced}/s, without \
                triggers {plain}/s, bare outbox {appending}/s, pg_notify {notifying}/s",
                round + 1
            ));
            rates.push(rate);
        }
        let pairs = |ours: usize, beside: usize| -> Vec<Pair> {
            rates
                .iter()
                .map(|rate| Pair {
                    ours: rate[ours],
                    beside: rate[beside],
                })
                .collect()
        };
        let plural = if *clients == 1 { "client" } else { "clients" };
        let row = |what: &str, beside, pairs: &[Pair]| {
            Row::new(
                format!("{clients} {plural}, {what}"),
                Unit::PerSecond,
                beside,
                pairs,
            )
        };
        let (alone, with_daemon) = ("capture alone", "with the daemon");
        let (plain, append, notify) = (
            "without triggers",
            "a trigger that only appends to an outbox",
            "the usual pg_notify row trigger",
        );
        floors.push(row(alone, plain, &pairs(1, 0)).goal(Goal::RatioAtLeast(0.8)));
        let second = row(with_daemon, plain, &pairs(3, 0));
        let (rival, rival_with_daemon) = (
            row(alone, notify, &pairs(1, 2)),
            row(with_daemon, notify, &pairs(3, 2)),
        );
        appends.push(row(alone, append, &pairs(1, 4)).goal(Goal::RatioAtLeast(0.95)));
        if *clients == 1 {
            floors.push(second);
            rivals.extend([rival, rival_with_daemon]);
        } else {
            let goal = Goal::RatioAtLeast(2.7);
            floors.push(second.goal(Goal::RatioAtLeast(0.6)));
            rivals.extend([rival.goal(goal), rival_with_daemon.goal_of_another(goal)]);
        }
    }
    synced.must_be_in_sync().await?;
    floors.extend(appends);
    floors.extend(rivals);
    Ok(floors)
}
