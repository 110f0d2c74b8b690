//! The faults of the commands: what failed, with the remedy and the exit code of the command.
//!
//! An error of a query is a fault of the daemon's policy ([`sqlstate::policy`]) with other
//! remedies: a command ends where the daemon would try again.

use tokio_postgres::error::{DbError, SqlState};

use crate::exit::{Exit, Fault};
use crate::install::is_raised_by_a_function_of_others;
use crate::observe::Pause;
use crate::pg::QueryError;
use crate::pg::sqlstate::{self, Class};
use crate::session::SessionError;
use crate::settings::Database;
use crate::store::LayoutError;

/// Turns the error of an aborted survey into a fault. The usual cause is a reader of the output
/// that stopped reading.
pub(super) fn interrupted(database: &Database, error: QueryError) -> anyhow::Error {
    let idle = &SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT;
    match &error {
        QueryError::Postgres(cause) if cause.code() == Some(idle) => {
            let what = format!(
                "database {}: the reader of the output paused for more than five seconds",
                database.name
            );
            let remedy =
                "write it to a file, and read that: an open check keeps vacuum from cleaning up";
            anyhow::Error::new(error).context(Fault::new(Exit::Failed, what).remedy(remedy))
        }
        _ => unanswered(database, error),
    }
}

/// The fault for a failed connection.
pub(super) fn unreachable(database: &Database, error: SessionError) -> anyhow::Error {
    let schema = &database.install.schema;
    let remedy = schema.localize_message(&error.remedy()).into_owned();
    let what = format!(
        "database {}: could not connect ({})",
        database.name,
        database.target()
    );
    let cause = match error {
        SessionError::Untrusted(finding) => {
            anyhow::Error::msg(schema.localize_message(&finding.to_string()).into_owned())
        }
        error => anyhow::Error::new(error),
    };
    cause.context(Fault::unavailable(what).remedy(remedy))
}

/// The fault for a database that is paused.
pub(super) fn paused(database: &Database, pause: &Pause) -> Fault {
    Fault::unavailable(format!("database {}: {pause}", database.name)).remedy(Pause::REMEDY)
}

/// The fault for tables that do not match the settings.
pub(super) fn no_layout(database: &Database, error: LayoutError) -> anyhow::Error {
    let what = format!("database {}: its tables cannot be used", database.name);
    let fault = match &error {
        LayoutError::Store(_) => Fault::unavailable(what),
        _ => Fault::new(Exit::Failed, what),
    };
    let remedy = database.install.schema.localize_message(error.remedy());
    anyhow::Error::new(error).context(fault.remedy(remedy))
}

/// The remedy where the role of a command lacks a privilege.
const AS_ANOTHER_ROLE: &str = "Run this as the role of the daemon, which `agent-sync install \
    --role NAME` grants its privileges. A role of `--monitor` can run `status`, `databases`, \
    `wait` and `doctor`.";

/// The remedy of a command for a lock. A daemon would try again.
const ONCE_UNLOCKED: &str = "Another session holds a lock on the row or the table: run this again \
    after its end. `agent-sync doctor` names the session where it has locked the row of \
    agent_sync.install.";

/// The fault for a failed query: exit code 69 if the database is unavailable, otherwise 1.
pub(super) fn unanswered(database: &Database, error: QueryError) -> anyhow::Error {
    let what = format!("database {}: a query failed", database.name);
    let exit = match &error {
        QueryError::Silent(_) => Exit::Unavailable,
        QueryError::Postgres(cause) if sqlstate::policy(cause).class == Class::Connection => {
            Exit::Unavailable
        }
        QueryError::Postgres(_)
        | QueryError::Large(_)
        | QueryError::Surplus(_)
        | QueryError::Split => Exit::Failed,
    };
    let remedy = match (&error, error.class()) {
        (error, _) if error.is_unprivileged() => AS_ANOTHER_ROLE,
        (_, Some(Class::Locked)) => ONCE_UNLOCKED,
        (_, Some(Class::Transient)) => "Run this again.",
        (error, _) => error.remedy(),
    };
    let remedy = database.install.schema.localize_message(remedy);
    anyhow::Error::new(error).context(Fault::new(exit, what).remedy(remedy))
}

/// The fault for a refused `install` or `uninstall`. It quotes the server's message: such a message
/// is about objects and not about rows, so it contains no secret. The error policy of the daemon
/// does not apply.
pub(super) fn refused(database: &Database, what: &str, error: QueryError) -> anyhow::Error {
    let fault = |exit| Fault::new(exit, format!("database {}: {what}", database.name));
    if let QueryError::Postgres(error) = &error
        && let Some(db) = error.as_db_error()
    {
        let detail = db
            .detail()
            .map(|detail| format!("\n{detail}"))
            .unwrap_or_default();
        let cause = format!("{} (SQLSTATE {}){detail}", db.message(), db.code().code());
        let remedy = remedy_of_refusal(error, db);
        let remedy = database
            .install
            .schema
            .localize_message(&remedy)
            .into_owned();
        return anyhow::Error::msg(cause).context(fault(Exit::Failed).remedy(remedy));
    }
    let remedy = error.remedy();
    anyhow::Error::new(error).context(fault(Exit::Unavailable).remedy(remedy))
}

/// The remedy for an install or uninstall that PostgreSQL refused.
fn remedy_of_refusal(error: &tokio_postgres::Error, db: &DbError) -> String {
    if is_raised_by_a_function_of_others(db) {
        return "An event trigger or function of this database refuses it; the message above is its \
            own: ask its owner, or run the install as a role that it lets through."
            .to_owned();
    }
    let known = match (db.code().code(), db.hint()) {
        ("42809", _) => "name tables in the settings of this database that can have triggers",
        ("25006", _) => {
            "give the address of the primary, and a role and database that are not read-only"
        }
        ("2BP01", _) => "move the objects of others out of the schema agent_sync, or drop them",
        ("55P03", None) => {
            "run it again when the session that holds one of the tables has ended: SELECT * FROM \
            pg_locks JOIN pg_stat_activity USING (pid)"
        }
        ("42501", None) => {
            "run it as the role that owns the two tables (and the schema agent_sync, if it is \
            there), which needs CREATE on the database, and CREATEROLE for a --role that does not \
            exist yet"
        }
        (_, Some(hint)) => hint,
        (_, None) => sqlstate::policy(error).remedy,
    };
    known.to_owned()
}
