//! The verbs of the command line (I1), one short file each: settings in, work done, exit code out.

pub mod check;
mod checker;
pub mod completions;
pub mod config;
pub mod doctor;
pub mod install;
pub mod man;
pub mod output;
mod page;
pub mod probe;
pub mod reconcile;
pub mod render;
pub mod run;
pub mod status;
pub mod uninstall;
mod verdicts;
pub mod why;

use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;
use tokio_postgres::error::DbError;

use crate::exit::{Exit, Fault};
use crate::install::is_raised_by_a_function_of_others;
use crate::mapping::Rules;
use crate::pg::QueryError;
use crate::pg::sqlstate::{self, Class};
use crate::session::{Limits, Session, SessionError};
use crate::settings::{self, Database, Loaded, Settings};
use crate::show::{Clean, quoted};
use crate::store::LayoutError;

/// Runs a verb that waits, on one thread: agent-sync waits far more than it computes, and one
/// thread is the quickest to wake up.
fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the operating system gave no event loop")?;
    let outcome = runtime.block_on(work);
    // Not waiting for what blocks, such as the look-up of a name: the verb is done.
    runtime.shutdown_background();
    outcome
}

/// Loads the settings of this process. Every mistake becomes a cause of one fault, with exit code
/// 64.
fn load(config: Option<&Path>) -> anyhow::Result<Loaded> {
    Settings::load(config).map_err(|error| {
        let what = match error.problems.len() {
            1 => "the settings have a mistake".to_owned(),
            count => format!("the settings have {count} mistakes"),
        };
        anyhow::Error::new(error).context(Fault::usage(what))
    })
}

/// The databases of these names, or of all names if none is given.
fn select<'a>(settings: &'a Settings, names: &[String]) -> Result<Vec<&'a Database>, Fault> {
    settings
        .select(names)
        .map_err(|error| Fault::usage(error.to_string()).remedy(error.remedy()))
}

/// The settings for a verb that looks into databases. Where `DATABASE_URL` is set and not used,
/// standard error says so.
fn settings(config: Option<&Path>) -> anyhow::Result<Settings> {
    Ok(loaded(config)?.settings)
}

/// The same with what else there is to know of the settings.
fn loaded(config: Option<&Path>) -> anyhow::Result<Loaded> {
    let loaded = load(config)?;
    for note in &loaded.notes {
        output::say_aside(&Clean::lines(&format!("agent-sync: {note}\n")));
    }
    Ok(loaded)
}

/// The settings for a verb that writes to databases. Where `DATABASE_URL` is set and not used, it
/// is not plain which database is meant, so one has to be named.
fn settings_to_write(
    config: Option<&Path>,
    verb: &str,
    names: &[String],
) -> anyhow::Result<Settings> {
    if !names.is_empty() {
        return settings(config);
    }
    let loaded = load(config)?;
    match loaded.notes.first() {
        None => Ok(loaded.settings),
        Some(note) => {
            let remedy =
                "name the database that is meant with --database NAME, or unset DATABASE_URL";
            Err(Fault::usage(format!("{verb}: {note}"))
                .remedy(remedy)
                .into())
        }
    }
}

/// A slug that was typed and is nowhere, as it may be told: withheld when it looks like a
/// connection string, which people give in its place.
fn typed(slug: &str) -> String {
    if settings::is_withheld(slug) {
        settings::WITHHELD.to_owned()
    } else {
        quoted(slug)
    }
}

/// Asks a question at the terminal, and says whether the answer is yes. What has been printed comes
/// before it.
fn confirmed(question: &str) -> anyhow::Result<bool> {
    let _ = std::io::stdout().flush();
    // In one piece, so that nothing else gets between its words.
    output::say_aside(&Clean::lines(&format!("agent-sync: {question} [y/N] ")));
    let mut answer = String::new();
    std::io::stdin()
        .read_line(&mut answer)
        .context("there was no answer to read")?;
    Ok(["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
}

/// The rules in force: those of `rules.file`, or else the embedded ones.
fn rules(settings: &Settings) -> anyhow::Result<Rules> {
    let Some(file) = &settings.rules.file else {
        return Ok(Rules::embedded().clone());
    };
    let path = file.display();
    let text = settings::bounded::read_text(file).with_context(|| {
        Fault::usage(format!(
            "expected the rules in {path} (rules.file), and the file cannot be read"
        ))
        .remedy("check rules.file in the settings, or leave it out to use the built-in rules")
    })?;
    Rules::parse(&text).map_err(|error| {
        anyhow::Error::new(error).context(
            Fault::usage(format!("the rules in {path} (rules.file) are not valid"))
                .remedy("mend the lines named above; the built-in rules show the form"),
        )
    })
}

/// Connects on behalf of a verb that does its work and goes.
async fn connect(database: &Database, settings: &Settings) -> anyhow::Result<Session> {
    let sync = &settings.sync;
    let limits = Limits::of(sync);
    Session::connect(database, limits)
        .await
        .map_err(|error| unreachable(database, error))
}

/// Connects on behalf of a verb that only looks, and says so to whoever looks at the sessions.
async fn open(
    verb: &str,
    database: &Database,
    settings: &Settings,
) -> Result<Session, SessionError> {
    let limits = Limits::of(&settings.sync);
    let session = Session::connect_as(&format!("agent-sync {verb}"), database, limits).await?;
    session.trusted(database).await
}

/// The same, with an error that ends the verb.
async fn look(verb: &str, database: &Database, settings: &Settings) -> anyhow::Result<Session> {
    open(verb, database, settings)
        .await
        .map_err(|error| unreachable(database, error))
}

/// There is no connection.
fn unreachable(database: &Database, error: SessionError) -> anyhow::Error {
    let remedy = error.remedy();
    let what = format!(
        "database {}: could not connect ({})",
        database.name,
        database.target()
    );
    anyhow::Error::new(error).context(Fault::unavailable(what).remedy(remedy))
}

/// The tables are not as the settings say.
fn no_layout(database: &Database, error: LayoutError) -> anyhow::Error {
    let what = format!("database {}: its tables cannot be used", database.name);
    let fault = match &error {
        LayoutError::Store(_) => Fault::unavailable(what),
        _ => Fault::new(Exit::Failed, what),
    };
    let remedy = error.remedy();
    anyhow::Error::new(error).context(fault.remedy(remedy))
}

/// A question that got no answer: the database is unavailable, or there is something to mend first.
fn unanswered(database: &Database, error: QueryError) -> anyhow::Error {
    let what = format!("database {}: a question was not answered", database.name);
    let exit = match &error {
        QueryError::Silent(_) => Exit::Unavailable,
        QueryError::Postgres(cause) if sqlstate::policy(cause).class == Class::Connection => {
            Exit::Unavailable
        }
        QueryError::Postgres(_) => Exit::Failed,
    };
    let remedy = error.remedy();
    anyhow::Error::new(error).context(Fault::new(exit, what).remedy(remedy))
}

/// The exit code for several databases: the worst, in the order in which a script wants to know.
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

/// An error of a statement of `install` or `uninstall`, in the words of the server: they are about
/// objects, not about rows, so they hold nothing that must not be told, and what a daemon would do
/// about them is beside the point.
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
        return anyhow::Error::msg(cause)
            .context(fault(Exit::Failed).remedy(remedy_of_refusal(error, db)));
    }
    let remedy = error.remedy();
    anyhow::Error::new(error).context(fault(Exit::Unavailable).remedy(remedy))
}

/// What the operator can do about an install that PostgreSQL refused.
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
        ("2BP01", _) => "move what others have put into the schema agent_sync, or drop it",
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
