//! The log line of each event: its level, its text and its fields.

use tracing::{debug, error, info, warn};

use super::event::Event;
use super::flood::Kind;
use super::state::{self, Finding};
use super::totals::Totals;

/// Logs the number of agents of a kind without a line of their own.
pub(super) fn summary(database: &str, kind: Kind, agents: u64) {
    match kind {
        Kind::Missing => warn!(
            database,
            agents,
            "further agents without a configuration: {agents}; `agent-sync check` lists them"
        ),
        Kind::Rejected => {
            warn!(
                database,
                agents, "further agents rejected: {agents}; `agent-sync check` lists them"
            );
        }
        Kind::Ambiguous => {
            warn!(
                database,
                agents, "further agents that share a slug: {agents}; `agent-sync check` lists them"
            );
        }
        Kind::Failed => warn!(
            database,
            agents,
            "further configurations that could not be written: {agents}; `agent-sync check` \
            lists them"
        ),
        Kind::Mapped => warn!(
            database,
            agents,
            "further warnings about settings of agents: {agents}; with log.level = \"debug\" \
            each is logged"
        ),
    }
}

/// Logs an event. Some events are for the registry alone and have no line.
#[allow(
    clippy::too_many_lines,
    reason = "one arm for each event, in one place"
)]
pub(super) fn line(database: &str, event: &Event<'_>) {
    match *event {
        Event::StandingBy => info!(database, "another daemon leads here; standing by"),
        Event::Leading { server } => info!(database, server, "connected and leading"),
        Event::ColumnsMissing {
            columns,
            have_gone: false,
        } => {
            info!(
                database,
                columns = columns.join(", "),
                "columns that do not exist here are left out"
            );
        }
        Event::ColumnsMissing {
            columns,
            have_gone: true,
        } => {
            let remedy = "Name them in the settings of this database (agents.columns, \
                configurations.columns) if they have new names.";
            warn!(
                database,
                columns = columns.join(", "),
                remedy,
                "columns that do not exist any more are left out"
            );
        }
        Event::CaughtUp { totals } => {
            let Totals {
                written,
                unchanged,
                missing,
                rejected,
                ..
            } = totals;
            info!(database, written, unchanged, missing, rejected, "caught up");
        }
        Event::Lost { cause, remedy } => {
            warn!(
                database,
                cause, remedy, "database unavailable; the daemon retries until it is back"
            );
        }
        Event::StillLost { cause, pause, .. } => {
            debug!(database, cause, ?pause, "still unavailable");
        }
        Event::Recovered { outage, totals } => {
            let Totals {
                written,
                unchanged,
                missing,
                rejected,
                ..
            } = totals;
            let outage_seconds = (outage.as_secs_f64() * 1000.0).round() / 1000.0;
            info!(
                database,
                outage_seconds,
                written,
                unchanged,
                missing,
                rejected,
                "database available again, caught up"
            );
        }
        Event::MissingConfiguration { slug, remedy, .. } => {
            warn!(
                database,
                slug,
                remedy,
                "no configuration has this slug; the agent is saved, nothing is synced"
            );
        }
        Event::Rejected {
            slug,
            reasons,
            remedy,
            ..
        } => {
            warn!(
                database,
                slug,
                reasons,
                remedy,
                "agent rejected: its settings cannot be mapped; nothing is written"
            );
        }
        Event::Ambiguous { slug, remedy, .. } => {
            warn!(
                database,
                slug, remedy, "more than one agent has this slug; nothing is written for it"
            );
        }
        Event::Failed {
            slug,
            detail,
            sqlstate,
            remedy,
            ..
        } => {
            warn!(
                database,
                slug,
                detail,
                sqlstate,
                remedy,
                "configuration could not be written; the daemon retries"
            );
        }
        Event::Mapped { slug, warning } => warn!(database, slug, "{warning}"),
        Event::Batch { totals, .. } => {
            let Totals {
                written,
                unchanged,
                missing,
                rejected,
                gone,
                busy,
            } = totals;
            debug!(
                database,
                written, unchanged, missing, rejected, gone, busy, "batch committed"
            );
        }
        Event::Retrying { cause } => debug!(database, cause, "batch is done again"),
        Event::CaptureBroken {
            trigger,
            fault,
            remedy,
        } => {
            error!(
                database,
                trigger, fault, remedy, "capture broken: changes are missed"
            );
        }
        Event::CaptureSleeps { trigger, remedy } => {
            error!(
                database,
                trigger,
                remedy,
                "a trigger is enabled but not ALWAYS: saves made with session_replication_role \
                = replica, as in restores and logical replication, are not noticed; all others \
                are"
            );
        }
        Event::CaptureLacksChild {
            trigger,
            fault,
            remedy,
        } => {
            error!(
                database,
                trigger,
                fault,
                remedy,
                "saves in a partition or child table are not noticed; each sweep checks every \
                agent"
            );
        }
        Event::Found { finding, remedy } => warn!(database, remedy, "{finding}"),
        Event::CaptureTouched => {
            warn!(
                database,
                "the tables, their triggers or policies were changed, and changes may have \
                been missed; checking every agent"
            );
        }
        Event::CaptureMended => {
            info!(database, "the capture works again; checking every agent");
        }
        Event::Uncaptured { saves } => {
            warn!(
                database,
                saves, "changes were saved that could not be captured; checking every agent"
            );
        }
        Event::CountJumped => warn!(
            database,
            "the server may have crashed: the count of saves that could not be captured has \
            moved; checking every agent"
        ),
        Event::FirstStart => info!(
            database,
            "first start after an install, or changes may have been missed; checking every \
            agent"
        ),
        Event::AskedForTooMany => {
            warn!(
                database,
                "more slugs were requested at once than the daemon keeps; checking every agent"
            );
        }
        Event::RulesChanged { totals } => {
            let Totals {
                written: differ,
                unchanged: in_sync,
                missing,
                rejected,
                ..
            } = totals;
            if differ > 0 {
                let remedy = state::DRIFT_REMEDY;
                warn!(
                    database,
                    differ,
                    in_sync,
                    missing,
                    rejected,
                    remedy,
                    "the mapping has changed; agents whose configurations now differ, or that \
                    are now rejected, stay as they are until they are saved or requested"
                );
            } else {
                info!(
                    database,
                    differ,
                    in_sync,
                    missing,
                    rejected,
                    "the mapping has changed; all agents stand as before"
                );
            }
        }
        Event::DriftUnknown { cause } => {
            warn!(
                database,
                cause,
                "the mapping has changed; the number of configurations that now differ is \
                unknown"
            );
        }
        Event::LockedOut { since } => {
            let seconds = since.as_secs();
            warn!(
                database,
                seconds,
                remedy = Event::LOCKED_OUT_REMEDY,
                "another session holds a lock on a table; changes wait for its end"
            );
        }
        Event::LockGone { lasted } => {
            let seconds = lasted.as_secs();
            info!(database, seconds, "the lock is gone; changes are applied");
        }
        Event::LeaderHangs {
            finding: Finding { what, remedy, .. },
        } => {
            warn!(
                database,
                leader = what,
                remedy,
                "another session leads here, and changes are not applied; this daemon cannot \
                take over while it holds the lock"
            );
        }
        Event::OtherMapping { remedy } => {
            warn!(
                database,
                remedy,
                "the daemon that leads here works with other rules or columns than this one"
            );
        }
        Event::LeaderWorks => info!(database, "the changes that waited are applied"),
        Event::Left { slug, since } => {
            let seconds = since.as_secs();
            warn!(
                database,
                slug,
                seconds,
                remedy = "List them: SELECT slug, since FROM agent_sync.state WHERE pending; \
                    then find the session that holds its configuration locked, or the trigger \
                    that takes long or raises 55P03 (pg_locks, pg_stat_activity).",
                "an agent is not in sync yet: its configuration is locked, or the write is \
                slow; the daemon retries"
            );
        }
        Event::NewConnectionFails { cause, remedy } => {
            warn!(
                database,
                cause,
                remedy,
                "a new connection to this database fails, and the present one goes on"
            );
        }
        Event::LayoutChanged { cause } => {
            info!(
                database,
                cause, "the tables have changed; looking at them again"
            );
        }
        Event::Stopped => info!(database, "stopped"),
        Event::Phase(_)
        | Event::Connected { .. }
        | Event::Compared { .. }
        | Event::Woken { .. }
        | Event::Emptied
        | Event::Backlog { .. }
        | Event::InForce { .. } => {}
    }
}
