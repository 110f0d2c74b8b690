//! What an error from PostgreSQL means: one table from SQLSTATE to what the daemon does and what
//! the operator can do.
//!
//! It matches codes, never texts. Appendix A of PostgreSQL's manual lists the codes.

use tokio_postgres::Error;
use tokio_postgres::error::{DbError, SqlState};

use super::identifier::plain;

/// The SQLSTATE (`connection_failure`) of the problem of an agent on which connections have ended.
pub const CONNECTION_ENDED: &str = "08006";

/// What the daemon does about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The connection is gone or going: connect again.
    Connection,
    /// The tables have changed under the statements of the connection: look at the tables again,
    /// over a new one.
    Layout,
    /// Two transactions got in each other's way: do it again; nobody's problem.
    Transient,
    /// Somebody holds a lock for longer than `lock_timeout`: go on with the others, and come back.
    Locked,
    /// It took longer than `statement_timeout`: do less at a time.
    Slow,
    /// It fails on what one row holds, or on what a trigger makes of it: find the row, and set it
    /// aside.
    Row,
    /// It will fail the same way until somebody mends the database: say so, and try again at ease.
    Fault,
}

/// A class, and what the operator can do.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// What the daemon does.
    pub class: Class,
    /// What the operator can do.
    pub remedy: &'static str,
}

/// The table. The first entry whose code begins the SQLSTATE holds.
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
        "Grant the role of the daemon what the message names.",
    ),
    // Of a type, or with an operator or a function that there is none of for it.
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
        "53",
        Class::Fault,
        "The server is out of disk or memory: see its log.",
    ),
    ("54", Class::Row, "Shorten what the agent holds."),
    (
        "55P03",
        Class::Locked,
        "None: another session holds a lock on the row or the table, and the daemon retries.",
    ),
    (
        "57014",
        Class::Slow,
        "Raise sync.statement_timeout, or see what makes the statement slow: of a write, perhaps a \
        trigger. Where it ran for less, another session cancels it (pg_cancel_backend).",
    ),
    ("55000", Class::Fault, "Correct the object in the message."),
    ("57", Class::Connection, REACH),
    (
        "58",
        Class::Fault,
        "The server's storage has a fault: see its log.",
    ),
    ("P0", Class::Row, REFUSED),
    ("XX", Class::Fault, "The server has a fault: see its log."),
];

const CHANGED: &str = "None: the tables have changed, and the daemon reads them again. If this \
    stays, check the names and types of their columns in the settings of this database.";
/// There is no connection.
pub const REACH: &str = "See whether the server is up and can be reached from here.";
/// There is one, and no answer.
pub const SILENT: &str = "See whether the server can be reached from here, and what it is doing: \
    SELECT * FROM pg_stat_activity;";
const INSTALL: &str = "Run `agent-sync install` for this database, and check the names of its \
    tables and columns in the settings.";
const REFUSED: &str = "Correct the row, or the constraint or trigger that refuses it. The daemon \
    retries, at once when the agent is saved.";
const RIGHTS: &str = "A trigger, a policy or a constraint of these tables needs a privilege that \
    the role of the daemon lacks, and the server's log names the object. Grant it to the role, or \
    declare the function of the trigger SECURITY DEFINER. The daemon retries.";
const ENDED: &str = "See the server's log for what ended the connection: a trigger, a crash, or a \
    time limit of the server or of a proxy. The daemon retries, at once when the agent is saved.";
const NO_STATE: &str =
    "See what else is wrong with this database (`agent-sync doctor`); the daemon retries.";
const UNKNOWN: Policy = Policy {
    class: Class::Fault,
    remedy: "See the server's log.",
};

/// What to do about an error.
pub fn policy(error: &Error) -> Policy {
    let Some(db) = error.as_db_error() else {
        return Policy {
            class: Class::Connection,
            remedy: REACH,
        };
    };
    let code = db.code().code();
    let known = POLICIES
        .iter()
        .find(|(prefix, ..)| code.starts_with(prefix));
    let policy = known.map_or(UNKNOWN, |&(_, class, remedy)| Policy { class, remedy });
    match policy.class {
        // Whatever the code says: a function raised it, and of ours none runs in the daemon's
        // statements.
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

/// What the operator can do about a single row whose write was refused with this SQLSTATE.
pub fn remedy(sqlstate: &str) -> &'static str {
    // Where the other rows are written, it is not the connection, the install or a privilege of the
    // daemon's that is in the way, but what a trigger, a function or a policy makes of this row.
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

/// An error in a sentence, without what the rows held. PostgreSQL quotes values in the messages of
/// data errors, and a trigger can put anything into one; of those only the code, its name, and the
/// object it is about are told.
pub fn describe(error: &Error) -> String {
    let Some(db) = error.as_db_error() else {
        return causes(error);
    };
    let code = db.code().code();
    if policy(error).class == Class::Row || is_raised_by_a_function(db) {
        return refused(db, "statement");
    }
    if may_quote_a_value(code) && db.position().is_none() {
        return format!("{} (SQLSTATE {code})", condition(code));
    }
    format!("{} (SQLSTATE {code})", shortened(db.message()))
}

/// The most characters of a message that are told: a server that is none may say anything.
const LONGEST: usize = 500;

fn shortened(message: &str) -> String {
    if message.chars().nth(LONGEST).is_none() {
        return message.to_owned();
    }
    let start: String = message.chars().take(LONGEST).collect();
    format!("{start}…")
}

/// The error of the write of one agent, whatever its class is: the code, its name, and the object
/// it is about. The message is never told, because an expression of the platform's (a CHECK, an
/// index, a generated column, a policy) can put a value into one of any class.
pub fn describe_write(error: &Error) -> String {
    error
        .as_db_error()
        .map_or_else(|| causes(error), |db| refused(db, "write"))
}

/// The same of the read of one agent.
pub fn describe_read(error: &Error) -> String {
    error
        .as_db_error()
        .map_or_else(|| causes(error), |db| refused(db, "read"))
}

/// Whether it may be about the values of single rows: on what they hold, or on damage to where they
/// are stored.
pub fn is_of_a_row(error: &Error) -> bool {
    let damaged = |db: &DbError| db.code().code().starts_with("XX");
    error
        .as_db_error()
        .is_some_and(|db| damaged(db) || policy(error).class == Class::Row)
}

fn refused(db: &DbError, what: &str) -> String {
    let code = db.code().code();
    if is_raised_by_a_function(db) {
        // A function says of its error what it will, the names of objects among it.
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
        .filter_map(|(what, name)| Some(format!(", {what} {}", plain(name?))))
        .collect();
    format!(
        "PostgreSQL refused the {what}: {} (SQLSTATE {code}{place})",
        condition(code)
    )
}

/// Whether a message with this code quotes the value of a column where an expression casts it:
/// `key::regclass`, `key::regconfig`, `current_setting(key)`. About a statement of ours, which
/// holds no values, such an error has a position in its text.
fn may_quote_a_value(code: &str) -> bool {
    code != "42501"
        && ["0A", "3F", "42"]
            .iter()
            .any(|class| code.starts_with(class))
}

/// An error that a function raised says where it was. The names of the languages are the same in
/// every language of the messages. Without one, the context is of PostgreSQL itself: a parameter, a
/// row that is being locked, JSON that is being read.
fn is_raised_by_a_function(db: &DbError) -> bool {
    db.where_()
        .is_some_and(|context| context.contains("PL/") || context.contains("SQL"))
}

/// The name that the manual gives a code, for those that a row can cause most often.
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
        "XX002" => "an index is damaged",
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
    text
}
