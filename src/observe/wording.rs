//! The log line of each event: its level, its text and its fields.

use tracing::{debug, error, info, warn};

use super::event::{CaptureFault, Connection, Event, FullCheck, Leader, Mapping, Problem, Tables};
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
pub(super) fn line(database: &str, event: &Event<'_>) {
    match event {
        Event::Connection(event) => connection(database, event),
        Event::Leader(event) => leader(database, event),
        Event::Tables(event) => tables(database, event),
        Event::CaptureFault {
            kind,
            trigger,
            fault,
            remedy,
        } => capture_fault(database, kind, (trigger, fault, remedy)),
        Event::FullCheck(reason) => full_check(database, reason),
        Event::Mapping(event) => mapping(database, event),
        Event::NotInSync {
            slug,
            problem,
            remedy,
            ..
        } => not_in_sync(database, slug, problem, remedy),
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
        Event::Retrying(cause) => debug!(database, cause, "batch is done again"),
        Event::Found { finding, remedy } => warn!(database, remedy, "{finding}"),
        Event::Left {
            slug,
            since,
            schema,
        } => {
            let seconds = since.as_secs();
            let remedy = schema.localize(LEFT_REMEDY);
            warn!(
                database,
                slug,
                seconds,
                remedy = &*remedy,
                "an agent is not in sync yet: its configuration is locked, or the write is slow; \
                the daemon retries"
            );
        }
        Event::Phase(_)
        | Event::Connected { .. }
        | Event::Woken(_)
        | Event::Emptied
        | Event::Backlog(_)
        | Event::InForce(_) => {}
    }
}

/// The remedy of [`Event::Left`].
const LEFT_REMEDY: &str = "List them: SELECT slug, since FROM agent_sync.state WHERE pending; \
    then find the session or prepared transaction that has the configuration locked \
    (`agent-sync doctor` names the oldest), or the trigger that takes long or raises 55P03.";

fn connection(database: &str, event: &Connection<'_>) {
    match event {
        Connection::CaughtUp(Totals {
            written,
            unchanged,
            missing,
            rejected,
            ..
        }) => info!(database, written, unchanged, missing, rejected, "caught up"),
        Connection::Lost { cause, remedy } => warn!(
            database,
            cause, remedy, "database unavailable; the daemon retries until it is back"
        ),
        Connection::StillLost { cause, pause, .. } => {
            debug!(database, cause, ?pause, "still unavailable");
        }
        Connection::Recovered { outage, totals } => {
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
        Connection::NewFails { cause, remedy } => warn!(
            database,
            cause, remedy, "a new connection to this database fails, and the present one goes on"
        ),
        Connection::Stopped => info!(database, "stopped"),
    }
}

fn leader(database: &str, event: &Leader<'_>) {
    match event {
        Leader::StandingBy => info!(database, "another daemon leads here; standing by"),
        Leader::Leading(server) => info!(database, server, "connected and leading"),
        Leader::Hangs(Finding { what, remedy, .. }) => warn!(
            database,
            leader = what,
            remedy,
            "another session leads here, and changes are not applied; this daemon cannot take over \
            while it holds the lock"
        ),
        Leader::OtherMapping(remedy) => warn!(
            database,
            remedy, "the daemon that leads here works with other rules or columns than this one"
        ),
        Leader::Works => info!(database, "the changes that waited are applied"),
    }
}

fn tables(database: &str, event: &Tables<'_>) {
    match event {
        Tables::ColumnsMissing {
            columns,
            have_gone: false,
        } => info!(
            database,
            columns = columns.join(", "),
            "columns that do not exist here are left out"
        ),
        Tables::ColumnsMissing {
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
        Tables::LockedOut(since) => {
            let (seconds, remedy) = (since.as_secs(), Tables::LOCKED_OUT_REMEDY);
            warn!(
                database,
                seconds,
                remedy,
                "another session holds a lock on a table; changes wait for its end"
            );
        }
        Tables::LockGone(lasted) => {
            let seconds = lasted.as_secs();
            info!(database, seconds, "the lock is gone; changes are applied");
        }
        Tables::Changed(cause) => info!(
            database,
            cause, "the tables have changed; reading them again"
        ),
    }
}

fn capture_fault(
    database: &str,
    kind: &CaptureFault,
    (trigger, fault, remedy): (&str, &str, &str),
) {
    match kind {
        CaptureFault::Broken => error!(
            database,
            trigger, fault, remedy, "capture broken: changes are missed"
        ),
        CaptureFault::NotAlways => error!(
            database,
            trigger,
            remedy,
            "a trigger is enabled but not ALWAYS: saves made with session_replication_role = \
            replica, as in restores and logical replication, are not noticed; all other saves are"
        ),
        CaptureFault::LacksChild => error!(
            database,
            trigger,
            fault,
            remedy,
            "saves in a partition or child table are not noticed; each sweep checks every agent"
        ),
    }
}

fn full_check(database: &str, reason: &FullCheck) {
    match reason {
        FullCheck::CaptureTouched => warn!(
            database,
            "the tables, their triggers or policies were changed, and changes may have been \
            missed; checking every agent"
        ),
        FullCheck::CaptureMended => {
            info!(database, "the capture works again; checking every agent");
        }
        FullCheck::Uncaptured(saves) => warn!(
            database,
            saves, "changes were saved that could not be captured; checking every agent"
        ),
        FullCheck::CountJumped => warn!(
            database,
            "the server may have crashed: the count of saves that could not be captured has moved; \
            checking every agent"
        ),
        FullCheck::FirstStart => info!(
            database,
            "first start after an install, or changes may have been missed; checking every agent"
        ),
        FullCheck::AskedForTooMany => warn!(
            database,
            "more slugs were requested at once than the daemon keeps; checking every agent"
        ),
        FullCheck::Postponed => warn!(
            database,
            remedy = "`agent-sync reconcile --all` checks them now.",
            "more slugs were requested at once again; every agent is checked within ten minutes"
        ),
    }
}

fn mapping(database: &str, event: &Mapping<'_>) {
    match event {
        Mapping::Changed(totals) => {
            let Totals {
                written: differ,
                unchanged: in_sync,
                missing,
                rejected,
                ..
            } = *totals;
            if differ > 0 {
                let remedy = state::DRIFT_REMEDY;
                warn!(
                    database,
                    differ,
                    in_sync,
                    missing,
                    rejected,
                    remedy,
                    "the mapping has changed; agents whose configurations now differ, or that are \
                    now rejected, stay as they are until they are saved or requested"
                );
            } else {
                info!(
                    database,
                    differ,
                    in_sync,
                    missing,
                    rejected,
                    "the mapping has changed; no configuration differs"
                );
            }
        }
        Mapping::DriftUnknown(cause) => warn!(
            database,
            cause,
            "the mapping has changed; the number of configurations that now differ is unknown"
        ),
        Mapping::Compared(_) => {}
    }
}

fn not_in_sync(database: &str, slug: &str, problem: &Problem<'_>, remedy: &str) {
    match problem {
        Problem::MissingConfiguration => warn!(
            database,
            slug, remedy, "no configuration has this slug; the agent is saved, nothing is synced"
        ),
        Problem::Rejected(reasons) => warn!(
            database,
            slug,
            reasons,
            remedy,
            "agent rejected: its settings cannot be mapped; nothing is written"
        ),
        Problem::Ambiguous => warn!(
            database,
            slug, remedy, "more than one agent has this slug; nothing is written for it"
        ),
        Problem::Failed { detail, sqlstate } => warn!(
            database,
            slug,
            detail,
            sqlstate,
            remedy,
            "configuration could not be written; the daemon retries"
        ),
    }
}
