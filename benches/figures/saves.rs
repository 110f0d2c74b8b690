//! Single-row saves per second with 1, 8 and 32 clients (pgbench); beside the same without
//! triggers, and beside the usual row trigger that notifies.
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
    let listener = Listener::start(&notifying, Work::Read)?;
    let daemon = Daemon::caught_up(lab, &[&synced]).await?;
    let sides = [&plain, &capture, &notifying, &synced];

    let (mut floors, mut rivals) = (Vec::new(), Vec::new());
    for clients in lab.scaled([1, 8, 32].as_slice(), [1, 8].as_slice()) {
        let load = Load {
            script: script.clone(),
            clients: *clients,
            seconds: 1,
            rate: None,
            agents,
        };
        let mut rates: Vec<[f64; 4]> = Vec::new();
        for round in 0..lab.rounds(lab.scaled(4, 1)) {
            let rate = pgbench::in_slices(lab, &sides, &load, round, async |side| match side {
                1 => capture.forget_captured().await,
                3 => synced.drained(&daemon).await,
                _ => Ok(()),
            });
            let rate = rate.await?;
            listener.must_run()?;
            let [plain, capture, notifying, synced] = rate.map(digits);
            say(format_args!(
                "clients: {clients}, round {}: {capture}/s, with the daemon {synced}/s, without \
                triggers {plain}/s, pg_notify {notifying}/s",
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
        let floor = Goal::RatioAtLeast(0.85);
        floors.push(row("capture alone", "without triggers", &pairs(1, 0)).goal(floor));
        floors
            .push(row("with the daemon", "without triggers", &pairs(3, 0)).goal_of_another(floor));
        let (rival, what) = (Goal::RatioAtLeast(2.5), "the usual pg_notify row trigger");
        if *clients == 1 {
            rivals.push(row("capture alone", what, &pairs(1, 2)));
            rivals.push(row("with the daemon", what, &pairs(3, 2)));
        } else {
            rivals.push(row("capture alone", what, &pairs(1, 2)).goal(rival));
            rivals.push(row("with the daemon", what, &pairs(3, 2)).goal_of_another(rival));
        }
    }
    synced.must_be_in_sync().await?;
    floors.extend(rivals);
    Ok(floors)
}
