//! The log lines about the connection.

use std::time::Duration;

use tracing::{debug, info, warn};

use crate::observe::event::Connection;
use crate::observe::totals::Totals;

pub(super) fn line(event: &Connection<'_>) {
    match event {
        Connection::CaughtUp(Totals {
            written,
            unchanged,
            missing,
            rejected,
            failed,
            ..
        }) => info!(
            written,
            unchanged,
            missing,
            rejected,
            failed,
            "caught up; an agent counts once for each look at it"
        ),
        Connection::Lost {
            cause,
            remedy,
            is_answered: false,
        } => warn!(
            cause,
            remedy, "database unavailable; the daemon retries until it is back"
        ),
        Connection::Lost {
            cause,
            remedy,
            is_answered: true,
        } => warn!(
            cause,
            remedy, "the daemon cannot work in the database; it retries until it can"
        ),
        Connection::StillLost { cause, pause, .. } => {
            debug!(cause, ?pause, "still unavailable");
        }
        Connection::Recovered { outage, totals } => recovered(*outage, totals),
        Connection::NewFails { cause, remedy } => warn!(
            cause,
            remedy, "a new connection to this database fails, and the present one goes on"
        ),
        Connection::Stopped => info!("stopped"),
    }
}

fn recovered(outage: Duration, totals: &Totals) {
    let Totals {
        written,
        unchanged,
        missing,
        rejected,
        failed,
        ..
    } = totals;
    let outage_seconds = (outage.as_secs_f64() * 1000.0).round() / 1000.0;
    info!(
        outage_seconds,
        written,
        unchanged,
        missing,
        rejected,
        failed,
        "database available again, caught up; an agent counts once for each look at it"
    );
}
