//! The log line of each event: its level, its text and its fields.

mod audit;
mod connection;
mod left;

use tracing::{Span, debug, error, error_span, info, warn};

use super::compared::DRIFT_REMEDY;
use super::event::{CaptureFault, Event, FullCheck, Leader, Mapping, NotInSync, Tables};
use super::flood::Kind;
use super::pause::Pause;
use super::state::Finding;
use super::totals::Totals;
use crate::key::Key;
use crate::show::count;

/// The span of the work on a database. Its field is on every line of the work, at every level.
pub(super) fn of_database(name: &str) -> Span {
    error_span!("database", database = name)
}

/// The span of a batch, by its number.
pub(super) fn of_batch(number: u64) -> Span {
    error_span!("batch", batch = number)
}

/// Logs the number of agents of a kind without a line of their own.
pub(super) fn summary(kind: Kind, agents: u64) {
    let number = count(agents);
    match kind {
        Kind::Missing => warn!(
            agents,
            "further agents without a configuration: {number}; `agent-sync check` lists them"
        ),
        Kind::Rejected => {
            warn!(
                agents,
                "further agents rejected: {number}; `agent-sync check` lists them"
            );
        }
        Kind::Ambiguous => {
            warn!(
                agents,
                "further agents that share a slug: {number}; `agent-sync check` lists them"
            );
        }
        Kind::Failed => warn!(
            agents,
            "further agents that could not be brought in sync: {number}; `agent-sync check` \
            lists them"
        ),
        Kind::Mapped => warn!(
            agents,
            "further warnings about settings of agents: {number}; `agent-sync check --verbose` \
            lists them"
        ),
    }
}

/// Logs an event. Some events are for the registry alone and have no line.
pub(super) fn line(event: &Event<'_>) {
    match event {
        Event::Connection(event) => connection::line(event),
        Event::Leader(event) => leader(event),
        Event::Tables(event) => tables(event),
        Event::CaptureFault {
            kind,
            trigger,
            fault,
            remedy,
        } => capture_fault(kind, (trigger, fault, remedy)),
        Event::FullCheck(reason) => full_check(reason),
        Event::Mapping(event) => mapping(event),
        Event::Audit(event) => audit::line(event),
        Event::NotInSync {
            key,
            problem,
            remedy,
            ..
        } => not_in_sync(key, problem, remedy),
        Event::Mapped { key, warning } => {
            let (tenant, slug) = fields(key);
            warn!(tenant, slug, "{warning}");
        }
        Event::Batch { totals, .. } => batch(*totals),
        Event::Retrying(cause) => debug!(cause, "the batch is repeated"),
        Event::Found { finding, remedy } => warn!(remedy, "{finding}"),
        Event::Left {
            key,
            since,
            holdup,
            schema,
        } => left::line(key, *since, *holdup, schema),
        Event::Phase(_)
        | Event::Paused(_)
        | Event::LedBy(_)
        | Event::Connected { .. }
        | Event::Woken(_)
        | Event::Emptied
        | Event::Backlog(_)
        | Event::InForce(_) => {}
    }
}

fn batch(totals: Totals) {
    let Totals {
        written,
        unchanged,
        missing,
        rejected,
        gone,
        left,
        ..
    } = totals;
    debug!(
        written,
        unchanged,
        missing,
        rejected,
        gone,
        // The word of the metrics (glossary: left).
        busy = left,
        "batch committed"
    );
}

fn leader(event: &Leader<'_>) {
    match event {
        Leader::StandingBy => info!("another daemon leads here; standing by"),
        Leader::Leading(server) => info!(server, "connected and leading"),
        Leader::Hangs(Finding { what, remedy, .. }) => warn!(
            leader = what,
            remedy,
            "another session leads here, and changes are not applied; this daemon cannot take over \
            while it holds the lock"
        ),
        Leader::OtherMapping(remedy) => warn!(
            remedy,
            "the daemon that leads here works with other rules or columns than this one"
        ),
        Leader::Works => info!("the changes that waited are applied"),
        Leader::Paused(pause) => warn!(
            pause = %pause,
            remedy = Pause::REMEDY,
            "the database is paused; changes are noted and not applied"
        ),
        Leader::Resumed => info!("the pause is over"),
    }
}

fn tables(event: &Tables<'_>) {
    match event {
        Tables::ColumnsMissing {
            columns,
            have_gone: false,
        } => info!(
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
                columns = columns.join(", "),
                remedy, "columns that do not exist any more are left out"
            );
        }
        Tables::LockedOut(since) => {
            let (seconds, remedy) = (since.as_secs(), Tables::LOCKED_OUT_REMEDY);
            warn!(
                seconds,
                remedy, "another session holds a lock on a table; changes wait for its end"
            );
        }
        Tables::SweepLockedOut(since) => {
            let (seconds, remedy) = (since.as_secs(), Tables::LOCKED_OUT_REMEDY);
            warn!(
                seconds,
                remedy,
                "another session holds a lock on a table or row that the sweep needs; changes that \
                were missed are not looked for until its end"
            );
        }
        Tables::LockGone(lasted) => {
            let seconds = lasted.as_secs();
            info!(seconds, "the lock is gone; changes are applied");
        }
        Tables::Changed(cause) => info!(cause, "the tables have changed; reading them again"),
    }
}

fn capture_fault(kind: &CaptureFault, (trigger, fault, remedy): (&str, &str, &str)) {
    match kind {
        CaptureFault::Broken => {
            error!(trigger, fault, remedy, "capture broken: changes are missed");
        }
        CaptureFault::NotAlways => error!(
            trigger,
            remedy,
            "a trigger is enabled but not ALWAYS: saves made with session_replication_role = \
            replica, as in restores and logical replication, are not noticed; all other saves are"
        ),
        CaptureFault::LacksChild => error!(
            trigger,
            fault,
            remedy,
            "saves in a partition or child table are not noticed; each sweep checks every agent"
        ),
    }
}

fn full_check(reason: &FullCheck) {
    match reason {
        FullCheck::CaptureTouched => warn!(
            "the tables, their triggers or policies were changed, and changes may have been \
            missed; checking every agent"
        ),
        FullCheck::CaptureMended => {
            info!("the capture works again; checking every agent");
        }
        FullCheck::Uncaptured(saves) => warn!(
            saves,
            "changes were saved that could not be captured; checking every agent"
        ),
        FullCheck::CountJumped => warn!(
            "the server may have crashed or failed over: the count of saves that could not be \
            captured has moved; checking every agent"
        ),
        FullCheck::FirstStart => info!(
            "first start after an install, or changes may have been missed; checking every agent"
        ),
        FullCheck::AskedForTooMany => {
            warn!("more slugs were requested at once than the daemon keeps; checking every agent");
        }
        FullCheck::Postponed => warn!(
            remedy = "`agent-sync reconcile --all` checks them now.",
            "more slugs were requested at once again; every agent is checked within ten minutes"
        ),
        FullCheck::WaitsForSavers(transactions) => {
            let remedy = FullCheck::WAITS_FOR_SAVERS_REMEDY;
            warn!(
                transactions,
                remedy,
                "the check of every agent waits for open transactions that may have saved; changes \
                that are committed are applied, and for a minute audits leave differences to this \
                check"
            );
        }
    }
}

fn mapping(event: &Mapping<'_>) {
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
                let remedy = DRIFT_REMEDY;
                warn!(
                    differ,
                    in_sync,
                    missing,
                    rejected,
                    remedy,
                    "the mapping has changed; agents whose configurations now differ, or that are \
                    now rejected, wait for a save, a request or a check of every agent"
                );
            } else {
                info!(
                    differ,
                    in_sync, missing, rejected, "the mapping has changed; no configuration differs"
                );
            }
        }
        Mapping::DriftUnknown(cause) => warn!(
            cause,
            "the mapping has changed; the number of configurations that now differ is unknown"
        ),
        Mapping::Unmapped {
            setting,
            remark,
            key,
        } => {
            let (tenant, slug) = fields(key);
            warn!(
                setting,
                remark, tenant, slug, "a voice setting of agents is mapped to nothing"
            );
        }
        Mapping::FurtherUnmapped => warn!(
            "further voice settings of agents are mapped to nothing; `agent-sync check --unmapped` \
            lists them"
        ),
        Mapping::Adopted => {}
    }
}

/// The fields of an agent: its tenant, which has no field where there is none, and its slug.
fn fields<'a>(key: &'a Key<'_>) -> (Option<&'a str>, &'a str) {
    (key.tenant.as_deref(), key.slug)
}

fn not_in_sync(key: &Key<'_>, problem: &NotInSync<'_>, remedy: &str) {
    let (tenant, slug) = fields(key);
    match problem {
        NotInSync::MissingConfiguration { near } => warn!(
            tenant,
            slug,
            near,
            remedy,
            "no configuration has this slug; the agent is saved, nothing is synced"
        ),
        NotInSync::Rejected(reasons) => warn!(
            tenant,
            slug, reasons, remedy, "agent rejected; nothing is written"
        ),
        NotInSync::Ambiguous => warn!(
            tenant,
            slug, remedy, "more than one agent has this slug; nothing is written for it"
        ),
        NotInSync::Failed { detail, sqlstate } => warn!(
            tenant,
            slug,
            detail,
            sqlstate,
            remedy,
            "agent could not be brought in sync; the daemon retries"
        ),
    }
}
