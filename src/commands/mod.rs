//! The commands of the program (I1), one file each. A command loads the settings, does its work and
//! returns an exit code. The functions of this file are shared by them: settings, connections,
//! errors and exit codes.
//!
//! The other files are parts of commands (`resume` is in `pause`):
//! - `run`: `agent_pages`, `watch`; `status`: `table`, and with `databases` `state`
//! - `check`: `planned`, and with `reconcile` `checker`, which uses `hidden`, `hints`, `unmapped`,
//!   `unmatched` and `verdicts`
//! - `reconcile`: `outcome`, `slugs`, `todo`
//! - `why`: `explained`, `story`, both also for the pages of agents
//! - several commands: `asking`, `groups`, `named`, `output`, `page`, `tenant`

mod agent_pages;
mod asking;
pub mod check;
mod checker;
pub mod completions;
pub mod config;
pub mod databases;
pub mod doctor;
mod explained;
mod groups;
mod hidden;
mod hints;
pub mod install;
pub mod man;
mod named;
mod outcome;
pub mod output;
mod page;
pub mod pause;
mod planned;
pub mod probe;
pub mod reconcile;
pub mod render;
pub mod rules;
pub mod run;
mod slugs;
mod state;
pub mod status;
mod story;
mod table;
mod tenant;
mod todo;
pub mod uninstall;
mod unmapped;
mod unmatched;
mod verdicts;
pub mod wait;
mod watch;
pub mod why;

use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;
use tokio_postgres::error::{DbError, SqlState};

use crate::exit::{Exit, Fault};
use crate::install::is_raised_by_a_function_of_others;
use crate::mapping::Rules;
use crate::observe::Pause;
use crate::pg::QueryError;
use crate::pg::sqlstate::{self, Class};
use crate::session::{self, Limits, Session, SessionError};
use crate::settings::{self, Database, Loaded, Settings};
use crate::show::{Clean, quoted};
use crate::store::{LayoutError, MayRead, of_others};

/// Runs the asynchronous part of a command on one thread. agent-sync waits far more than it
/// computes, and a current-thread runtime wakes up fastest.
///
/// The work owns every session that it opens: a session ends in the event loop (`session::farewell`),
/// and the loop waits for that.
fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the operating system gave no event loop")?;
    let outcome = runtime.block_on(async {
        let outcome = work.await;
        session::all_ended().await;
        outcome
    });
    // The command is done, so blocking work such as a DNS lookup is abandoned.
    runtime.shutdown_background();
    outcome
}

/// Loads the settings of this process. Fails with one fault of exit code 64 that lists every
/// mistake.
fn load(config: Option<&Path>) -> anyhow::Result<Loaded> {
    Settings::load(config).map_err(|error| {
        let what = match error.mistakes.len() {
            1 => "the settings have a mistake".to_owned(),
            count => format!("the settings have {count} mistakes"),
        };
        anyhow::Error::new(error).context(Fault::usage(what))
    })
}

/// The databases with these names, or all databases if no name is given.
fn select<'a>(settings: &'a Settings, names: &[String]) -> Result<Vec<&'a Database>, Fault> {
    settings
        .select(names)
        .map_err(|error| Fault::usage(error.to_string()).remedy(error.remedy()))
}

/// The settings for a command that only reads databases. Reports an unused `DATABASE_URL` on
/// standard error.
fn settings(config: Option<&Path>) -> anyhow::Result<Settings> {
    Ok(loaded(config)?.settings)
}

/// Loads the settings with their notes and the files with exposed secrets. Reports an unused
/// `DATABASE_URL` on standard error.
fn loaded(config: Option<&Path>) -> anyhow::Result<Loaded> {
    let loaded = load(config)?;
    if let Some(note) = &loaded.unused_url {
        output::note(note);
    }
    Ok(loaded)
}

/// The settings for a command that writes to databases. While `DATABASE_URL` is set and unused, the
/// intended database is ambiguous, so the command line has to name one.
fn settings_to_write(
    config: Option<&Path>,
    command: &str,
    names: &[String],
) -> anyhow::Result<Settings> {
    if !names.is_empty() {
        return settings(config);
    }
    let loaded = load(config)?;
    match loaded.unused_url {
        None => Ok(loaded.settings),
        Some(note) => {
            let remedy =
                "name the database that is meant with --database NAME, or unset DATABASE_URL";
            Err(Fault::usage(format!("{command}: {note}"))
                .remedy(remedy)
                .into())
        }
    }
}

/// Turns the error of an aborted survey into a fault. The usual cause is a reader of the output
/// that stopped reading.
fn interrupted(database: &Database, error: QueryError) -> anyhow::Error {
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

/// A slug from the command line, safe to print: withheld if it looks like a connection string,
/// which users sometimes type by mistake.
fn typed(slug: &str) -> String {
    if settings::is_withheld(slug) {
        settings::WITHHELD.to_owned()
    } else {
        quoted(slug)
    }
}

/// Asks a question at the terminal and returns whether the answer is yes. Flushes standard output
/// first.
fn confirmed(question: &str) -> anyhow::Result<bool> {
    let _ = std::io::stdout().flush();
    // One write, so that no other output splits the question.
    output::say_aside(&Clean::lines(&format!("agent-sync: {question} [y/N] ")));
    let mut answer = String::new();
    std::io::stdin()
        .read_line(&mut answer)
        .context("there was no answer to read")?;
    Ok(["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
}

/// The rules in force: those of `rules.file`, or the embedded ones.
fn rules(settings: &Settings) -> anyhow::Result<Rules> {
    match &settings.rules.file {
        Some(file) => read_rules(file, "rules.file").map(|(_, rules)| rules),
        None => Ok(Rules::embedded().clone()),
    }
}

/// The text and the rules of a file, which `source` names.
fn read_rules(file: &Path, source: &str) -> anyhow::Result<(String, Rules)> {
    let path = file.display();
    let text = settings::bounded::read_text(file).with_context(|| {
        Fault::usage(format!(
            "expected the rules in {path} ({source}), and the file cannot be read"
        ))
        .remedy(format!(
            "check {source}, or leave it out to use the built-in rules"
        ))
    })?;
    let rules = Rules::parse(&text).map_err(|error| {
        anyhow::Error::new(error).context(
            Fault::usage(format!("the rules in {path} ({source}) are not valid")).remedy(
                "correct the lines named above; `agent-sync rules --builtin` shows the format",
            ),
        )
    })?;
    Ok((text, rules))
}

/// Connects for `install` and `uninstall`, which check the ownership of the schema themselves.
async fn connect(database: &Database, settings: &Settings) -> anyhow::Result<Session> {
    let sync = &settings.sync;
    let limits = Limits::of(sync);
    Session::connect(database, limits)
        .await
        .map_err(|error| unreachable(database, error))
}

/// Connects with the application name `agent-sync COMMAND` and refuses a schema `agent_sync` of an
/// untrusted owner.
async fn open(
    command: &str,
    database: &Database,
    settings: &Settings,
) -> Result<Session, SessionError> {
    let (program, limits) = (format!("agent-sync {command}"), Limits::of(&settings.sync));
    let session = Session::connect_bounded(&program, database, limits, session::UNLIMITED).await?;
    session.trusted(database).await
}

/// A session, and the permission to read the two tables in it.
type Opened = (Session, Option<MayRead>);

/// Like [`open`], for a command that does not need the rows of the two tables. Code of another role
/// gets no rights of a superuser by it (S27): an install of another role is refused to a superuser,
/// and the permission to read the two tables is given only where their owners gain nothing.
async fn open_with_care(
    command: &str,
    database: &Database,
    settings: &Settings,
) -> Result<Opened, SessionError> {
    let session = open(command, database, settings).await?;
    if let Some(of_others) = of_others(session.db()).await? {
        return Err(SessionError::Untrusted(Box::new(of_others)));
    }
    let may_read = MayRead::of(session.db(), database).await?;
    Ok((session, may_read))
}

/// Like [`open`], with an error that ends the command.
async fn open_or_fault(
    command: &str,
    database: &Database,
    settings: &Settings,
) -> anyhow::Result<Session> {
    open(command, database, settings)
        .await
        .map_err(|error| unreachable(database, error))
}

/// The fault for a failed connection.
fn unreachable(database: &Database, error: SessionError) -> anyhow::Error {
    let schema = &database.install.schema;
    let remedy = schema.localize(&error.remedy()).into_owned();
    let what = format!(
        "database {}: could not connect ({})",
        database.name,
        database.target()
    );
    let cause = match error {
        SessionError::Untrusted(finding) => {
            anyhow::Error::msg(schema.localize(&finding.to_string()).into_owned())
        }
        error => anyhow::Error::new(error),
    };
    cause.context(Fault::unavailable(what).remedy(remedy))
}

/// The fault for a database that is paused.
fn paused(database: &Database, pause: &Pause) -> Fault {
    Fault::unavailable(format!("database {}: {pause}", database.name)).remedy(Pause::REMEDY)
}

/// The fault for tables that do not match the settings.
fn no_layout(database: &Database, error: LayoutError) -> anyhow::Error {
    let what = format!("database {}: its tables cannot be used", database.name);
    let fault = match &error {
        LayoutError::Store(_) => Fault::unavailable(what),
        _ => Fault::new(Exit::Failed, what),
    };
    let remedy = database.install.schema.localize(error.remedy());
    anyhow::Error::new(error).context(fault.remedy(remedy))
}

/// The remedy where the role of a command lacks a privilege.
const AS_ANOTHER_ROLE: &str = "Run this as the role of the daemon, which `agent-sync install --role \
    NAME` grants its privileges. A role of `--monitor` can run `status`, `doctor` and `wait`.";

/// The remedy of a command for a lock. A daemon would try again.
const ONCE_UNLOCKED: &str = "Another session holds a lock on the row or the table: run this again \
    after its end. `agent-sync doctor` names the session where it has locked the row of \
    agent_sync.install.";

/// The fault for a failed query: exit code 69 if the database is unavailable, otherwise 1.
fn unanswered(database: &Database, error: QueryError) -> anyhow::Error {
    let what = format!("database {}: a query failed", database.name);
    let exit = match &error {
        QueryError::Silent(_) => Exit::Unavailable,
        QueryError::Postgres(cause) if sqlstate::policy(cause).class == Class::Connection => {
            Exit::Unavailable
        }
        QueryError::Postgres(_) | QueryError::Large(_) => Exit::Failed,
    };
    let remedy = match (&error, error.class()) {
        (QueryError::Postgres(cause), _)
            if cause.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) =>
        {
            AS_ANOTHER_ROLE
        }
        (_, Some(Class::Locked)) => ONCE_UNLOCKED,
        (_, Some(Class::Transient)) => "Run this again.",
        (error, _) => error.remedy(),
    };
    let remedy = database.install.schema.localize(remedy);
    anyhow::Error::new(error).context(Fault::new(exit, what).remedy(remedy))
}

/// The exit code for several databases: the most severe one, unavailable before usage, failure and
/// drift.
fn worst(exits: impl IntoIterator<Item = Exit>) -> Exit {
    let rank = |exit: &Exit| {
        [
            Exit::Done,
            Exit::Drift,
            Exit::Failed,
            Exit::Usage,
            Exit::Unavailable,
        ]
        .iter()
        .position(|e| e == exit)
    };
    exits.into_iter().max_by_key(rank).unwrap_or(Exit::Done)
}

/// The fault for a refused `install` or `uninstall`. It quotes the server's message: such a message
/// is about objects and not about rows, so it contains no secret. The error policy of the daemon
/// does not apply.
fn refused(database: &Database, what: &str, error: QueryError) -> anyhow::Error {
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
        let remedy = database.install.schema.localize(&remedy).into_owned();
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
