//! Checks of slow-moving conditions: clock skew, time-outs, notification queue, vacuum, long
//! transactions, publications and replication slots.

use std::time::{SystemTime, UNIX_EPOCH};

use tokio_postgres::Row;

use super::note::Note;
use crate::pg::{Db, QueryError, told};
use crate::show::{age, count, quoted};
use crate::store::queries::LOST_SAVE;
use crate::store::report;

/// The clock skew that causes a warning, in seconds.
const SKEW: f64 = 2.0;

/// The fill levels of the notification queue: the first causes a warning; from the second on, the
/// triggers do not notify and the daemon reports a finding.
const QUEUE: (f64, f64) = (0.25, 0.5);

/// The size of the outbox on disk in bytes, and its number of dead rows, that cause a warning.
const DEAD: (i64, i64) = (256 * 1024 * 1024, 1_000_000);

/// The room on disk, in bytes, that an empty outbox may keep: each scan reads all of it.
const ROOM: i64 = 32 * 1024 * 1024;

/// The statement that removes some large objects of lost saves, with the comment `%L` of each. The
/// uninstall names the same one in `sql/uninstall.sql`.
const REMOVE_LOST: &str = "SELECT count(lo_unlink(m.oid)) FROM (SELECT m.oid FROM \
    pg_largeobject_metadata m JOIN pg_description d ON d.objoid = m.oid AND d.classoid = \
    'pg_largeobject'::regclass WHERE d.description = %L AND pg_has_role(m.lomowner, 'USAGE') LIMIT \
    1000) AS m";

/// Reads the statistics and settings of the server.
pub async fn upkeep(db: &Db, is_installed: bool) -> Vec<Note> {
    let mut notes = match server(db).await {
        Ok(notes) => notes,
        Err(error) => vec![Note::unanswered("clock", &error)],
    };
    if is_installed {
        match db.all(&report::tables(), &[]).await {
            Ok(rows) => match rows.first().map(tables).transpose() {
                Ok(more) => notes.extend(more.into_iter().flatten()),
                Err(error) => notes.push(Note::unanswered("dead rows", &error)),
            },
            Err(error) => notes.push(Note::unanswered("dead rows", &error)),
        }
    }
    notes
}

async fn server(db: &Db) -> Result<Vec<Note>, QueryError> {
    let before = now();
    let row = db.one(report::UPKEEP, &[]).await?;
    let middle = f64::midpoint(before, now());
    let timeouts: Option<String> = told(&row, "timeouts")?;
    let oldest: Option<f64> = row.try_get("oldest")?;
    let writing: Option<f64> = row.try_get("writing")?;
    let (holder, writer) = (told(&row, "holder")?, told(&row, "writer")?);
    let sees_others = row.try_get("sees_others")?;
    // `None` from half full on: a finding of the daemon's checks reports that.
    let queue = queue(row.try_get("queue")?);
    let more = vec![
        clock(row.try_get::<_, f64>("clock")? - middle),
        match timeouts {
            None => Note::pass("time-outs", "none ends a session of agent-sync"),
            Some(set) => Note::warn(
                "time-outs",
                format!(
                    "in force for the sessions of agent-sync, although it turns them off: \
                    {set}"
                ),
                "Find their source: ALTER ROLE … SET, ALTER DATABASE … SET, or the settings of \
                a pooler.",
            ),
        },
        if sees_others {
            VACUUM.note(oldest.zip(holder))
        } else {
            hidden(VACUUM.topic)
        },
        if sees_others {
            WRITERS.note(writing.zip(writer))
        } else {
            hidden(WRITERS.topic)
        },
    ];
    Ok(queue.into_iter().chain(more).collect())
}

/// A check of the oldest open transaction of some kind.
struct Hold {
    topic: &'static str,
    /// The age that causes a warning, in seconds.
    limit: f64,
    which: &'static str,
    effect: &'static str,
    none: &'static str,
}

const VACUUM: Hold = Hold {
    topic: "vacuum",
    limit: 3600.0,
    which: "a transaction",
    effect: " and keeps vacuum from cleaning up",
    none: "no transaction keeps it from cleaning up for long",
};

const WRITERS: Hold = Hold {
    topic: "writers",
    limit: 60.0,
    which: "a transaction that has saved an agent",
    effect: ", and the daemon cannot sleep before it is over",
    none: "none keeps the daemon from sleeping for long",
};

impl Hold {
    /// The check for the oldest such transaction: its age in seconds, and its description.
    fn note(&self, oldest: Option<(f64, String)>) -> Note {
        match oldest {
            Some((seconds, who)) if seconds > self.limit => Note::warn(
                self.topic,
                format!(
                    "{} has been open for {}{}: {}",
                    self.which,
                    age(seconds),
                    self.effect,
                    quoted(&who)
                ),
                "End it, or see what it is doing: SELECT * FROM pg_stat_activity ORDER BY \
                xact_start;",
            ),
            _ => Note::pass(self.topic, self.none),
        }
    }
}

/// The check for information that PostgreSQL hides from this role.
fn hidden(topic: &'static str) -> Note {
    Note::skip(
        topic,
        "not checked: PostgreSQL hides the transactions of others from this role; a superuser or a \
        member of pg_read_all_stats sees them",
    )
}

fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs_f64()
}

fn clock(skew: f64) -> Note {
    if skew.abs() < SKEW {
        return Note::pass(
            "clock",
            format!(
                "that of the server and this one are {:.2} s apart",
                skew.abs()
            ),
        );
    }
    let which = if skew > 0.0 { "ahead of" } else { "behind" };
    Note::warn(
        "clock",
        format!(
            "that of the server is {:.0} s {which} this one, so their logs do not fit together",
            skew.abs()
        ),
        "Set both by NTP. agent-sync itself goes by the server's alone.",
    )
}

fn queue(usage: f64) -> Option<Note> {
    let text = format!("the queue is {:.0}% full", usage * 100.0);
    let remedy = "A session that listens and stays in a transaction holds it up: SELECT * FROM \
        pg_stat_activity ORDER BY xact_start;";
    match usage {
        _ if usage < QUEUE.0 => Some(Note::pass("notifications", text)),
        _ if usage < QUEUE.1 => Some(Note::warn("notifications", text, remedy)),
        _ => None,
    }
}

/// The check of the size of the outbox.
fn dead_rows(row: &Row) -> Result<Note, QueryError> {
    let (size, dead): (i64, i64) = (row.try_get("size")?, row.try_get("dead")?);
    let live: i64 = row.try_get("live")?;
    let vacuumed: bool = row.try_get("vacuumed")?;
    let kept = format!("{} kB, {} dead rows", count(size / 1024), count(dead));
    Ok(if !vacuumed {
        Note::warn(
            "dead rows",
            format!("autovacuum is off, so the outbox grows for good: {kept}"),
            "Turn it on: ALTER SYSTEM SET autovacuum = on; or ALTER TABLE agent_sync.outbox RESET \
            (autovacuum_enabled);",
        )
    } else if size > DEAD.0 && dead > DEAD.1 / 100 || dead > DEAD.1 {
        Note::warn(
            "dead rows",
            format!("the outbox is not cleaned up: {kept}"),
            "VACUUM agent_sync.outbox;",
        )
    } else if size > ROOM && live < size / 4096 {
        Note::warn(
            "dead rows",
            format!("each scan of the outbox reads the free space of an earlier backlog: {kept}"),
            "In a quiet moment: VACUUM (TRUNCATE) agent_sync.outbox; a save that meets its lock is \
            counted, and the daemon then checks every agent.",
        )
    } else {
        Note::pass("dead rows", format!("the outbox is kept small: {kept}"))
    })
}

fn tables(row: &Row) -> Result<Vec<Note>, QueryError> {
    let slot: Option<String> = told(row, "slot")?;
    let all: Option<String> = told(row, "publications")?;
    let mut notes = vec![dead_rows(row)?];
    let lost: i64 = row.try_get("lost")?;
    if lost > 0 {
        notes.push(Note::warn(
            "large objects",
            format!(
                "{} of saves that could be neither noted nor counted remain; the daemon has \
                checked every agent since, if there is no other fault",
                count(lost)
            ),
            format!(
                "As their owner, until none is left: {};",
                REMOVE_LOST.replace("%L", &format!("'{LOST_SAVE}'"))
            ),
        ));
    }
    let grants: Option<String> = told(row, "grants")?;
    if let Some(grants) = grants {
        notes.push(Note::warn(
            "lost saves",
            "the owner of the capture may not call a function that it needs after a failure, so a \
            save that cannot be noted may leave no trace",
            grants,
        ));
    }
    let extensions: Option<String> = told(row, "extensions")?;
    if let Some(extensions) = extensions {
        notes.push(Note::warn(
            "install",
            format!(
                "the schema agent_sync has extensions, and an install or uninstall refuses those \
                of others: {extensions}"
            ),
            "As the owner of the extension or as a superuser: ALTER EXTENSION … SET SCHEMA …; or, \
            if it is not needed: DROP EXTENSION …;",
        ));
    }
    if let Some(all) = all {
        notes.push(Note::warn(
            "publication",
            format!(
                "FOR ALL TABLES publishes those of agent_sync, too, and a subscriber that \
                lacks them stops: {all}"
            ),
            "Create the schema agent_sync on each subscriber (pg_dump --schema-only \
            --schema=agent_sync), or publish tables or schemas by name.",
        ));
    }
    if let Some(slot) = slot {
        notes.push(Note::warn(
            "slots",
            format!("an inactive replication slot keeps vacuum from cleaning up: {slot}"),
            "Use it, or drop it: SELECT pg_drop_replication_slot('…');",
        ));
    }
    Ok(notes)
}

#[cfg(test)]
mod tests {
    use super::super::note::Level;
    use super::*;

    #[test]
    fn the_uninstall_has_the_same_remedy_for_large_objects() {
        let words: Vec<_> = include_str!("../../sql/uninstall.sql")
            .split_whitespace()
            .collect();
        let joined = words.join(" ").replace("' '", "").replace("''", "'");
        assert!(joined.contains(REMOVE_LOST), "{REMOVE_LOST}");
    }

    #[test]
    fn a_queue_that_is_half_full_is_left_to_the_finding_of_the_daemon() {
        let level = |usage| queue(usage).map(|note| note.level);
        assert_eq!(
            [0.0, 0.3, 0.5].map(level),
            [Some(Level::Pass), Some(Level::Warn), None]
        );
    }

    #[test]
    fn clocks_that_differ_are_said_to_by_how_much_and_which_way() {
        assert_eq!(clock(0.3).level, Level::Pass);
        assert!(clock(7.0).text.contains("7 s ahead of"));
        assert!(clock(-7.0).text.contains("7 s behind"));
    }
}
