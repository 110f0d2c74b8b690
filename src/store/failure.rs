//! What an error from PostgreSQL means: one table from SQLSTATE to what the daemon does and what the operator can do.
//!
//! It matches codes, never texts. Appendix A of PostgreSQL's manual lists the codes.

use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

/// What the daemon does about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The connection is gone or going: connect again.
    Connection,
    /// Two transactions got in each other's way: do it again; nobody's problem.
    Transient,
    /// The statement fails on what one row holds: find the row, and set it aside.
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
    ("08", Class::Connection, "See whether the server is up and can be reached from here."),
    ("25006", Class::Fault, "This server is read-only: give the address of the primary."),
    ("25P03", Class::Connection, "The server ended a transaction that idled; it is tried again."),
    ("28", Class::Fault, "Check the user, the password and pg_hba.conf."),
    ("3D000", Class::Fault, "Check the name of the database in its URL."),
    ("3F000", Class::Fault, "Run `agent-sync install` for this database."),
    ("40", Class::Transient, "Nothing: it is tried again."),
    ("42501", Class::Fault, "Grant the role of the daemon what the message names."),
    ("42P01", Class::Fault, "Run `agent-sync install` for this database, and check the names of its tables."),
    (
        "42703",
        Class::Fault,
        "Run `agent-sync install` for this database, and check the names of its columns.",
    ),
    ("42", Class::Fault, "Run `agent-sync install` for this database; the installed version may be another."),
    ("53", Class::Fault, "The server is out of disk, memory or connections."),
    ("54", Class::Row, "Shorten what the agent holds."),
    ("55P03", Class::Transient, "Nothing: somebody holds a lock on the row, and it is tried again."),
    ("57014", Class::Transient, "Raise sync.statement_timeout if it happens often."),
    ("57", Class::Connection, "The server ended the connection; it is made again."),
    ("58", Class::Fault, "The server's storage has a fault: see its log."),
    ("0A000", Class::Transient, "Nothing: the tables changed, and the statements are prepared again."),
    // 22 data, 23 constraints, 44 views, P0 triggers, and whatever else a trigger may raise.
    (
        "",
        Class::Row,
        "Mend the row or what refuses it; it is tried again, and at once when the agent is saved.",
    ),
];

/// What to do about an error.
pub fn policy(error: &Error) -> Policy {
    let Some(state) = error.code() else {
        return Policy {
            class: Class::Connection,
            remedy: "See whether the server is up and can be reached from here.",
        };
    };
    let known = POLICIES.iter().find(|(code, ..)| state.code().starts_with(code));
    known.map_or(Policy { class: Class::Fault, remedy: "" }, |&(_, class, remedy)| Policy { class, remedy })
}

/// An error in a sentence, without what the rows held: PostgreSQL quotes values in details, not in its message's
/// fixed part, so of data errors only the code's name and the column or constraint are told.
pub fn describe(error: &Error) -> String {
    let Some(db) = error.as_db_error() else {
        return causes(error);
    };
    let place: String = [("column", db.column()), ("constraint", db.constraint()), ("type", db.datatype())]
        .into_iter()
        .filter_map(|(what, name)| Some(format!(", {what} {}", name?)))
        .collect();
    let state = db.code().code();
    let quotes_values = policy(error).class == Class::Row && !state.starts_with("23");
    if quotes_values {
        format!("PostgreSQL refused the write with SQLSTATE {state} ({}){place}", condition(db.code()))
    } else {
        format!("{} (SQLSTATE {state}{place})", db.message())
    }
}

/// The name that the manual gives a code, for those that a row can cause most often.
fn condition(state: &SqlState) -> &'static str {
    match state.code() {
        "22001" => "text too long for the column",
        "22003" => "number out of the range of the column",
        "22P02" | "22P03" => "not a value of the column's type",
        "22P05" => "a character that the database cannot hold",
        "54001" | "54000" => "too large or nested too deeply",
        code if code.starts_with("22") => "data exception",
        code if code.starts_with("P0") => "raised by a trigger",
        _ => "see the manual's appendix A",
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
