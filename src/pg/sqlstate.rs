//! The meaning of an error from PostgreSQL: one table from SQLSTATE to the reaction of the daemon
//! and the remedy for the operator. Appendix A of PostgreSQL's manual lists the codes.
//!
//! It matches codes, never messages; [`policy`] also reads the routine and the context of an error.

use tokio_postgres::Error;
use tokio_postgres::error::{DbError, SqlState};

use super::identifier::plain;
use super::unmarked;
use crate::show::{TEXT, bounded};

/// The SQLSTATE (`connection_failure`) of the problem of an agent on which connections have ended.
pub const CONNECTION_ENDED: &str = "08006";

/// The SQLSTATE (`index_corrupted`) of the problem of an agent that its index does not find.
pub const INDEX_DAMAGED: &str = "XX002";

/// The reaction of the daemon to an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The connection is lost or about to end: connect again.
    Connection,
    /// The tables have changed under the statements of the connection: read the tables again, over
    /// a new connection.
    Layout,
    /// Two transactions are in conflict: repeat.
    Transient,
    /// Another session holds a lock for longer than `lock_timeout`: go on with other rows, and
    /// repeat later.
    Locked,
    /// The statement exceeded `statement_timeout`: do less at a time.
    Slow,
    /// The values of one row, or a trigger on that row, cause the error: find the row, and set it
    /// aside.
    Row,
    /// The database may need a repair: set up to three single rows aside as problems, then end the
    /// connection, report the error, and retry slowly.
    Fault,
}

/// A class, and the remedy.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// The reaction of the daemon.
    pub class: Class,
    /// The remedy for the operator.
    pub remedy: &'static str,
}

/// The table. The first entry whose code is a prefix of the SQLSTATE applies.
const POLICIES: &[(&str, Class, &str)] = &[
    ("08", Class::Connection, REACH),
    ("0A000", Class::Layout, CHANGED),
    ("21", Class::Row, REFUSED),
    ("22", Class::Row, REFUSED),
    ("23", Class::Row, REFUSED),
    (
        "25006",
        Class::Fault,
        "This server is read-only: give the address of the primary.",
    ),
    (
        "25P03",
        Class::Connection,
        "None: the server ended an idle transaction, and the daemon repeats it.",
    ),
    (
        "25P04",
        Class::Connection,
        "None: the server ended a transaction that exceeded its transaction_timeout, and the \
        daemon repeats it.",
    ),
    ("26000", Class::Fault, DEALLOCATED),
    (
        "28",
        Class::Fault,
        "Check the user, the password and pg_hba.conf.",
    ),
    (
        "3D000",
        Class::Fault,
        "Check the name of the database in its URL.",
    ),
    ("3F000", Class::Fault, INSTALL),
    ("40", Class::Transient, "None: the daemon retries."),
    (
        "42501",
        Class::Fault,
        "Grant the role of the daemon the privilege that the message names.",
    ),
    // A column has another type, or its type has no such cast, operator or function.
    ("42804", Class::Layout, CHANGED),
    ("42846", Class::Layout, CHANGED),
    ("42883", Class::Layout, CHANGED),
    ("42703", Class::Layout, CHANGED),
    ("42P01", Class::Layout, INSTALL),
    ("42P18", Class::Layout, CHANGED),
    ("42", Class::Fault, INSTALL),
    ("44", Class::Row, REFUSED),
    (
        "53300",
        Class::Fault,
        "Too many connections: raise max_connections of the server, or the connection limit of the \
        role (ALTER ROLE … CONNECTION LIMIT) or of the database, or end sessions of others.",
    ),
    (
        "53200",
        Class::Fault,
        "The server has no memory left, or its table of locks is full: see the log of the server. \
        Where it asks for it, raise max_locks_per_transaction: each partition needs a lock.",
    ),
    (
        "53",
        Class::Fault,
        "The server is out of disk or memory, or a limit of the role (temp_file_limit) is reached: \
        see the log of the server.",
    ),
    ("54", Class::Row, "Shorten the values of the agent."),
    (
        "55P03",
        Class::Locked,
        "None: another session holds a lock on the row or the table, and the daemon retries.",
    ),
    (
        "57014",
        Class::Slow,
        "Raise sync.statement_timeout, or see what makes the statement slow: of a write, perhaps a \
        trigger; of a look at the catalog, as in a check of the install, perhaps a role with very \
        many objects: SELECT proowner::regrole, count(*) FROM pg_proc GROUP BY 1 ORDER BY 2 DESC, \
        and the same of pg_class. Where it ran for less, another session cancels it \
        (pg_cancel_backend).",
    ),
    ("55000", Class::Fault, "Correct the object in the message."),
    ("57", Class::Connection, REACH),
    (
        "58",
        Class::Fault,
        "The server's storage has a fault: see its log.",
    ),
    ("P0", Class::Row, REFUSED),
    (
        INDEX_DAMAGED,
        Class::Fault,
        "Rebuild the indexes of the table with REINDEX; after a change of the collations of the \
        operating system, those of every table with an index on text. `pg_amcheck` finds damaged \
        ones.",
    ),
    ("XX", Class::Fault, "The server has a fault: see its log."),
];

const CHANGED: &str = "None: the tables have changed, and the daemon reads them again. If this \
    stays, check the names and types of their columns in the settings of this database.";
/// The remedy where there is no connection.
pub const REACH: &str = "See whether the server is up and can be reached from here.";
/// The remedy where there is a connection and no answer.
pub const SILENT: &str = "See whether the server can be reached from here, and what it is doing: \
    SELECT * FROM pg_stat_activity;";
const INSTALL: &str = "Run `agent-sync install` for this database, and check the names of its \
    tables and columns in the settings.";
const REFUSED: &str = "Correct the row, or the constraint or trigger that refuses it. The daemon \
    retries, at once when the agent is saved.";
const DEALLOCATED: &str = "Look for DEALLOCATE or DISCARD in the triggers of the configurations, \
    and in what they call: they run in the daemon's session, and take its prepared statements. The \
    daemon connects again.";
/// The condition of an error of the bounds of a partition, which have no name as a constraint has.
const NO_PARTITION: &str = "no partition takes the row";
const ADD_PARTITION: &str = "Create a partition for the row (CREATE TABLE … PARTITION OF … FOR \
    VALUES …, or DEFAULT). The daemon retries, at once when the agent is saved.";
const RIGHTS: &str = "A trigger, a policy or a constraint of these tables needs a privilege that \
    the role of the daemon lacks, and the server's log names the object. Grant it to the role, or \
    declare the function of the trigger SECURITY DEFINER. The daemon retries.";
const ENDED: &str = "See the server's log for what ended the connection: a trigger, a crash, or a \
    time limit of the server or of a proxy. The daemon retries, at once when the agent is saved.";
const NO_STATE: &str =
    "Look for other faults of this database with `agent-sync doctor`; the daemon retries.";
const WRAPAROUND: Policy = Policy {
    class: Class::Fault,
    remedy: "End old and prepared transactions (pg_stat_activity, pg_prepared_xacts), drop unused \
        replication slots, and run VACUUM in the databases that the log of the server names.",
};
const UNKNOWN: Policy = Policy {
    class: Class::Fault,
    remedy: "See the server's log.",
};

/// The class of an error, and the remedy.
pub fn policy(error: &Error) -> Policy {
    let Some(db) = error.as_db_error() else {
        return Policy {
            class: Class::Connection,
            remedy: REACH,
        };
    };
    let code = db.code().code();
    // The functions that refuse a new transaction number, with the code 54000.
    if matches!(
        db.routine(),
        Some("GetNewTransactionId" | "GetNewMultiXactId")
    ) {
        return WRAPAROUND;
    }
    let known = POLICIES
        .iter()
        .find(|(prefix, ..)| code.starts_with(prefix));
    let policy = known.map_or(UNKNOWN, |&(_, class, remedy)| Policy { class, remedy });
    match policy.class {
        // A function raised it. The functions of agent-sync that run in the statements of the
        // daemon (`sent`, the capture) raise no error of their own, so it is code of others, which
        // concerns the row.
        Class::Fault | Class::Connection | Class::Layout | Class::Transient
            if is_raised_by_a_function(db) =>
        {
            Policy {
                class: Class::Row,
                remedy: remedy(code),
            }
        }
        _ => policy,
    }
}

/// The remedy for a single row whose write was refused with this SQLSTATE.
pub fn remedy(sqlstate: &str) -> &'static str {
    // If the other rows are written, the cause is neither the connection nor the install nor a
    // privilege of the daemon. It is a trigger, a function or a policy that refuses this row.
    const OF_THE_ROW: &[&str] = &["28", "3F", "42"];
    if sqlstate.is_empty() {
        return NO_STATE;
    }
    let known = POLICIES
        .iter()
        .find(|(prefix, ..)| sqlstate.starts_with(prefix));
    match known {
        Some(_) if sqlstate == CONNECTION_ENDED => ENDED,
        Some(_) if sqlstate == SqlState::INSUFFICIENT_PRIVILEGE.code() => RIGHTS,
        Some((_, Class::Connection | Class::Layout, _)) => REFUSED,
        Some(_) if OF_THE_ROW.iter().any(|prefix| sqlstate.starts_with(prefix)) => REFUSED,
        Some((.., remedy)) => remedy,
        None => UNKNOWN.remedy,
    }
}

/// The remedy for the problem of an agent with this detail, as [`describe_write`] gives it.
pub fn remedy_of_write(detail: &str, sqlstate: &str) -> &'static str {
    match sqlstate {
        "23514" if detail.contains(NO_PARTITION) => ADD_PARTITION,
        _ => remedy(sqlstate),
    }
}

/// An error in a sentence, without values of rows. PostgreSQL quotes values in the messages of data
/// errors, and a trigger can put any text into one. Of these errors the sentence has only the code,
/// its name and the object.
pub fn describe(error: &Error) -> String {
    let Some(db) = error.as_db_error() else {
        return causes(error);
    };
    let code = said(db.code().code(), CODE);
    if policy(error).class == Class::Row || is_raised_by_a_function(db) {
        return refused(db, "statement");
    }
    if may_quote_a_value(&code) && db.position().is_none() {
        return format!("{} (SQLSTATE {code})", condition(&code));
    }
    format!("{} (SQLSTATE {code})", said(db.message(), LONGEST))
}

/// The most bytes of a message: the other side may be no PostgreSQL server and send any text.
const LONGEST: usize = 500;

/// The most bytes of a name, which has 63 unless the server was built with more.
const NAME: usize = 255;

/// The most bytes of a code, which has five.
const CODE: usize = 16;

/// A text of a server, bounded and without a mark of a command. The guard of its connection has
/// masked the passwords (`pg::password`).
fn said(text: &str, most: usize) -> String {
    unmarked(bounded(text, most).into_owned())
}

/// The error of the write of one agent, of any class: the code, its name and the object. The
/// message is left out, because an expression of the platform (a CHECK, an index, a generated
/// column, a policy) can put a value into a message of any class.
pub fn describe_write(error: &Error) -> String {
    error
        .as_db_error()
        .map_or_else(|| causes(error), |db| refused(db, "write"))
}

/// The error of the read of one agent, in the same way.
pub fn describe_read(error: &Error) -> String {
    error
        .as_db_error()
        .map_or_else(|| causes(error), |db| refused(db, "read"))
}

/// Whether the error may concern single rows: their values, or damage to their storage.
pub fn is_of_a_row(error: &Error) -> bool {
    let damaged = |db: &DbError| db.code().code().starts_with("XX");
    error
        .as_db_error()
        .is_some_and(|db| damaged(db) || policy(error).class == Class::Row)
}

fn refused(db: &DbError, what: &str) -> String {
    let code = said(db.code().code(), CODE);
    if is_raised_by_a_function(db) {
        // A function chooses the text and the names of objects in its error. A time limit or a
        // cancellation also has the context of the function that was running.
        if code == SqlState::QUERY_CANCELED.code() {
            return format!(
                "PostgreSQL ended the {what} at statement_timeout, or as another session asked, \
                while it ran a function; or a trigger raised this (SQLSTATE {code})"
            );
        }
        return format!(
            "PostgreSQL refused the {what}: raised by a trigger or function (SQLSTATE {code})"
        );
    }
    let names = [
        ("table", db.table()),
        ("column", db.column()),
        ("constraint", db.constraint()),
        ("type", db.datatype()),
    ];
    let place: String = names
        .into_iter()
        .filter_map(|(what, name)| Some(format!(", {what} {}", plain(&said(name?, NAME)))))
        .collect();
    let condition = match &*code {
        "23514" if db.constraint().is_none() => NO_PARTITION,
        code => condition(code),
    };
    format!("PostgreSQL refused the {what}: {condition} (SQLSTATE {code}{place})")
}

/// Whether a message with this code quotes the value of a column where an expression casts it:
/// `key::regclass`, `key::regconfig`, `current_setting(key)`. An error in a statement of the
/// daemon, which holds no values, has a position in the text of the statement.
fn may_quote_a_value(code: &str) -> bool {
    code != "42501"
        && ["0A", "3F", "42"]
            .iter()
            .any(|class| code.starts_with(class))
}

/// Whether a function raised the error: then its context names the language of the function, the
/// same in every language of the messages. Any other context comes from PostgreSQL itself, such as
/// a parameter, a locked row or a JSON value.
fn is_raised_by_a_function(db: &DbError) -> bool {
    db.where_()
        .is_some_and(|context| context.contains("PL/") || context.contains("SQL"))
}

/// The names of the codes that a row causes most often.
fn condition(code: &str) -> &'static str {
    match code {
        "22001" => "text too long for the column",
        "22003" => "number out of the range of the column",
        "22012" => {
            "a trigger kept the row from being written, or an expression on the table divides by \
            zero"
        }
        "22P02" | "22P03" => "not a value of the column's type",
        "22P05" | "22021" => "a character that the database cannot hold",
        "23502" => "a value is required",
        "23503" => "it refers to a row that does not exist",
        "23505" => "the value is taken",
        "23514" => "a check constraint forbids it",
        "42501" => "permission denied",
        "0A000" => "the tables have changed, or an expression on them is not supported",
        "54000" | "54001" => "too large or nested too deeply",
        "XX001" => "the storage of a row is damaged",
        INDEX_DAMAGED => "an index is damaged",
        _ if code.starts_with("22") => "data exception",
        _ if code.starts_with("23") => "a constraint forbids it",
        _ if code.starts_with("42") || code.starts_with("3F") => {
            "a statement, or an expression on the tables, names an object that is not there"
        }
        _ => "see appendix A of its manual",
    }
}

/// An error without SQLSTATE, with its causes: the network, TLS, or a client-side check.
fn causes(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(source) = cause {
        let source_text = source.to_string();
        if !text.contains(&source_text) {
            text.push_str(": ");
            text.push_str(&source_text);
        }
        cause = source.source();
    }
    said(&text, TEXT)
}
