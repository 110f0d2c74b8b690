//! The texts of the checks of a look.

use std::time::SystemTime;

use tokio_postgres::Row;

use super::{Daemon, Group, Look, OVERDUE, Outbox};
use crate::key::Key;
use crate::pg::identifier::Literal;
use crate::pg::told;
use crate::report::note::{Level, Note};
use crate::report::problem;
use crate::settings::Database;
use crate::show::{age, plural, quoted};
use crate::store::{Installed, Leader, Mapping, NO_CONFIGURATION};
use crate::time;

/// The age of an open transaction that causes a warning, in seconds.
const LONG: f64 = 5.0;

/// An open transaction of another session.
pub(super) struct Transaction {
    /// Its process id, unless the transaction is prepared.
    pub(super) pid: Option<i32>,
    /// Its name, if the transaction is prepared.
    pub(super) prepared: Option<String>,
    /// The start of the transaction; `None` if PostgreSQL hides it from this role.
    pub(super) since: Option<String>,
    /// The age of the transaction in seconds; `None` like `since`.
    pub(super) seconds: Option<f64>,
}

impl Transaction {
    /// From a row with these values in this order.
    pub(super) fn of(row: &Row) -> Result<Self, tokio_postgres::Error> {
        Ok(Self {
            pid: row.try_get(0)?,
            prepared: told(row, 1)?,
            since: row.try_get::<_, Option<SystemTime>>(2)?.map(time::rfc3339),
            seconds: row.try_get(3)?,
        })
    }

    /// The transaction as text.
    fn which(&self) -> String {
        match (&self.prepared, self.pid) {
            (Some(name), _) => format!("the prepared transaction {}", quoted(name)),
            (None, Some(pid)) => format!("the transaction of process {pid}"),
            (None, None) => "a transaction".to_owned(),
        }
    }

    /// The transaction and its start, as text.
    fn place(&self) -> String {
        let which = self.which();
        match (&self.since, self.seconds) {
            (Some(since), Some(seconds)) => {
                format!("{which}, open since {since} ({})", age(seconds))
            }
            _ => which,
        }
    }

    fn remedy(&self) -> String {
        match (&self.prepared, self.pid) {
            (Some(name), _) => {
                let name = Literal(name);
                format!("End the transaction: COMMIT PREPARED {name}; or ROLLBACK PREPARED {name};")
            }
            (None, pid) => end_of_session(pid.unwrap_or_default()),
        }
    }
}

/// The check for missed changes. While `saver` is open, the daemon cannot know all of them.
pub(super) fn missed(installed: &Installed, saver: Option<&Transaction>) -> Note {
    let note = unseen(installed);
    match saver.filter(|saver| saver.seconds.is_none_or(|seconds| seconds >= LONG)) {
        Some(saver) if note.level > Level::Pass => Note::warn(
            note.topic,
            format!("{}; the daemon waits for {}", note.text, saver.place()),
            saver.remedy(),
        ),
        _ => note,
    }
}

/// The remedy for a session that other sessions wait for.
fn end_of_session(pid: i32) -> String {
    format!(
        "See what it does: SELECT * FROM pg_stat_activity WHERE pid = {pid}; wait for its end, or \
        end it: SELECT pg_terminate_backend({pid});"
    )
}

/// The row of the install is locked, by this process where it can be known.
pub(super) fn locked(holder: Option<i32>) -> Note {
    let text = "another session has locked the row of agent_sync.install, so the daemon cannot \
        check whether changes were missed";
    match holder {
        Some(pid) => Note::warn(
            "missed",
            format!("{text}: perhaps process {pid}"),
            end_of_session(pid),
        ),
        None => Note::warn(
            "missed",
            text,
            "End the transaction that has locked it: SELECT * FROM pg_stat_activity ORDER BY \
            xact_start;",
        ),
    }
}

/// The capture is not as the daemon has last seen it.
pub(super) fn unsealed() -> Note {
    Note::warn(
        "missed",
        "the tables, their triggers or policies were changed since the last sweep of a daemon, so \
        changes may have been missed",
        "None, if a daemon leads: its next sweep checks every agent. `agent-sync check` shows now \
        which differ, and `agent-sync reconcile --all` brings them in sync.",
    )
}

/// The seal of the daemon is that of another role.
pub(super) fn unknown() -> Note {
    Note::skip(
        "missed",
        "not known: row-level security is in use, and only the role of the daemon that leads can \
        tell whether the tables or triggers were changed since its last sweep",
    )
}

fn unseen(installed: &Installed) -> Note {
    let seen = installed.uncaptured_seen;
    let remedy = "None: once a daemon leads, and the other faults are repaired, it checks every \
        agent.";
    match installed.uncaptured - seen {
        0 => Note::pass("missed", "no change has been missed"),
        _ if seen < 0 => Note::warn(
            "missed",
            "every agent is still to be checked: no daemon has done so since the install, or \
            changes may have been missed",
            remedy,
        ),
        _ if installed.may_have_jumped => Note::warn(
            "missed",
            "the count of saves that could not be noted has moved, as after a crash of the server, \
            so every agent is still to be checked",
            remedy,
        ),
        saves => Note::warn(
            "missed",
            format!(
                "{} could not be noted, so every agent is still to be checked",
                plural(saves, "save")
            ),
            remedy,
        ),
    }
}

pub(super) fn same_mapping(noted: Mapping) -> Option<Note> {
    let what = match noted {
        Mapping::Unknown => return None,
        Mapping::Same => {
            let text = "the configurations were last in sync under these rules and columns";
            return Some(Note::pass("mapping", text));
        }
        Mapping::Mixed => {
            "configurations were written here under different rules or columns, so some may differ \
            from the mapping of their agents"
        }
        Mapping::Other => {
            "the configurations were last in sync under other rules or columns than those of these \
            settings"
        }
    };
    let remedy = "If the settings or the rules were edited, have the daemon read them first \
        (`systemctl reload agent-sync`, or SIGHUP). See with `agent-sync check` which differ; \
        `agent-sync reconcile --all` brings them in sync.";
    Some(Note::warn("mapping", what, remedy))
}

pub(super) fn who_leads(look: &Look) -> Note {
    if let Some(other) = look.daemons.iter().find(|daemon| daemon.is_intruder) {
        return intruder(other);
    }
    let by = look.standbys().count();
    let Some(leader) = look.leader() else {
        if look.pause.is_some() {
            return Note::pass(
                "daemon",
                format!("none leads during the pause; {by} connected"),
            );
        }
        let by = match by {
            0 => String::new(),
            1 => ", though one is connected".to_owned(),
            by => format!(", though {by} are connected"),
        };
        return Note::warn(
            "daemon",
            format!("no daemon leads here{by}"),
            look.remedy_without_leader(),
        );
    };
    // A daemon at work may have any statement behind it, for a moment.
    if leader.is_others && leader.quiet_seconds >= Some(OVERDUE / 2.0) {
        let text = format!(
            "{} process {} holds the leader lock with the name of a daemon, and its last statement \
            is none of a daemon's; {by} stand by",
            leader.place(),
            leader.pid
        );
        let remedy = Leader::remedy_for_inherited_lock(leader.pid);
        return Note::warn("daemon", text, remedy);
    }
    let state = if leader.sleeps {
        "waiting for a save"
    } else {
        "at work"
    };
    let text = format!(
        "one leads: {} process {}, connected for {}, {state}; {by} stand by",
        leader.place(),
        leader.pid,
        leader.connected_seconds.map_or("?".to_owned(), age),
    );
    let own = concat!("agent-sync/", env!("CARGO_PKG_VERSION"));
    match leader.program.split_once(' ') {
        Some((program, _)) if program.starts_with("agent-sync/") && program != own => Note::warn(
            "daemon",
            format!(
                "{text}; it is {}, and this program is {own}",
                quoted(program)
            ),
            "Run the same version of both.",
        ),
        _ => Note::pass("daemon", text),
    }
}

/// A session that holds the leader lock and is no daemon.
fn intruder(other: &Daemon) -> Note {
    let role = quoted(other.user.as_deref().unwrap_or("?"));
    let (pid, program) = (other.pid, &other.program);
    if pid == 0 {
        return Note::fail(
            "daemon",
            format!(
                "the prepared transaction {} of the role {role} holds the leader lock and is no \
                daemon; changes are not applied",
                quoted(program)
            ),
            format!(
                "ROLLBACK PREPARED {}; and keep the role out of this database.",
                Literal(program)
            ),
        );
    }
    Note::fail(
        "daemon",
        format!(
            "process {pid} of the role {role} holds the leader lock and is no daemon (its role may \
            not take changes, the lock is shared, or its application name, {}, is not that of a \
            daemon), so changes are not applied",
            quoted(program)
        ),
        Leader::remedy_for_inherited_lock(pid),
    )
}

/// That a change is overdue beside a transaction that has rows of the configurations locked, which
/// may be the rows of other agents.
fn held_up(text: &str, (table, holder): &(String, Transaction)) -> Note {
    let time = holder
        .seconds
        .map(|seconds| format!(" for {}", age(seconds)));
    Note::warn(
        "outbox",
        format!(
            "{text}, though a daemon leads; {} has rows of {table} locked{}, which may be those of \
            the changed agents",
            holder.which(),
            time.unwrap_or_default()
        ),
        holder.remedy(),
    )
}

pub(super) fn pending(
    look: &Look,
    outbox: &Outbox,
    holder: Option<&(String, Transaction)>,
) -> Note {
    let Some(oldest) = outbox.oldest_seconds else {
        return Note::pass("outbox", "nothing is pending");
    };
    let more = if outbox.more { "more than " } else { "" };
    let text = format!(
        "{more}{} pending, the oldest for {}",
        plural(outbox.rows, "change"),
        age(oldest)
    );
    match look.leader() {
        _ if oldest < OVERDUE || look.pause.is_some() => Note::pass("outbox", text),
        Some(Daemon {
            pid,
            quiet_seconds: Some(quiet),
            ..
        }) if *quiet >= OVERDUE / 2.0 => Note::fail(
            "outbox",
            format!(
                "{text}, though a daemon leads: its session has done nothing for {}",
                age(*quiet)
            ),
            format!(
                "See in pg_stat_activity what process {pid} waits for. If it hangs, let another \
                daemon lead: SELECT pg_terminate_backend({pid});"
            ),
        ),
        Some(Daemon {
            pid,
            is_others: true,
            ..
        }) => Note::fail(
            "outbox",
            format!(
                "{text}; process {pid} holds the leader lock, and its last statement is none of a \
                daemon's"
            ),
            Leader::remedy_for_inherited_lock(*pid),
        ),
        Some(_) => match holder {
            Some(holder) => held_up(&text, holder),
            None => Note::warn(
                "outbox",
                format!("{text}, though a daemon leads"),
                "See the log of the daemon, and whether the number falls; `agent-sync doctor` \
                tries a round trip.",
            ),
        },
        None => Note::fail(
            "outbox",
            format!("{text}, and no daemon leads"),
            look.remedy_without_leader(),
        ),
    }
}

/// The note about problems of more kinds than are listed.
pub(super) fn other_groups() -> Note {
    Note::warn(
        "agents",
        "agents have problems with more SQLSTATEs than are listed",
        "List the problems: SELECT * FROM agent_sync.problem;",
    )
}

/// The note about agents with the same problem; one of them has the key `first`.
pub(super) fn in_trouble(database: &Database, group: &Group, first: &Key<'_>) -> Note {
    let (kind, agents, some) = (&*group.kind, group.agents, &group.some);
    let mut text = problem::sentence(kind, agents, some);
    if group.more {
        text = format!("of the first 100,000 problems, {text}");
    }
    if group.detail != NO_CONFIGURATION {
        let reason = group.detail.lines().collect::<Vec<_>>().join("; ");
        text = format!(
            "{text}; {}: {reason}",
            if agents == 1 {
                "the reason"
            } else {
                "the latest reason"
            }
        );
    }
    Note::warn(
        "agents",
        text,
        problem::remedy(
            database,
            (kind, &group.detail),
            group.sqlstate.as_deref(),
            first,
        ),
    )
}
