//! The commands of the program (I1), one file each. A command loads the settings, does its work and
//! returns an exit code. The functions of this file are shared by them: settings, connections
//! and exit codes; `faults` has the errors.
//!
//! The other files are parts of commands (`resume` is in `pause`):
//! - `run`: `agent_pages`, `watch`; `status`: `table`, `terminal`, and with `databases` `state`
//! - `check`: `planned`, and with `reconcile` `checker`, which uses `hidden`, `hints`, `unmapped`,
//!   `unmatched` and `verdicts`; its children print the summary and the unknown slugs
//! - `reconcile`: `outcome`, `slugs`, `todo`
//! - `why`: `explained`, `story`, both also for the pages of agents
//! - several commands: `asking`, `faults`, `groups`, `named`, `near`, `output`, `page`, `tenant`

mod agent_pages;
mod asking;
pub mod check;
mod checker;
pub mod completions;
pub mod config;
pub mod databases;
pub mod doctor;
mod explained;
mod faults;
mod groups;
mod hidden;
mod hints;
pub mod install;
pub mod man;
mod named;
mod near;
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
mod terminal;
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

use self::faults::{interrupted, no_layout, paused, refused, unanswered, unreachable};
use crate::exit::{Exit, Fault};
use crate::mapping::Rules;
use crate::session::{self, Limits, Session, SessionError};
use crate::settings::{self, Database, Loaded, Settings};
use crate::show::{Clean, quoted};
use crate::store::{MayRead, of_others};

/// Runs the asynchronous part of a command on one thread. agent-sync waits far more than it
/// computes, and a current-thread runtime wakes up fastest.
///
/// The work owns every session that it opens: a session ends in the event loop
/// (`session::farewell`), and the loop waits for that.
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
            _ if error.is_denied() => "this user may not read the settings".to_owned(),
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
/// untrusted owner. Answers have at most 16 MiB, as most of those that the daemon asks for.
async fn open(
    command: &str,
    database: &Database,
    settings: &Settings,
) -> Result<Session, SessionError> {
    open_bounded(command, database, settings, session::ORDINARY).await
}

/// The same, with at most so much memory for an answer (S33).
async fn open_bounded(
    command: &str,
    database: &Database,
    settings: &Settings,
    most: u64,
) -> Result<Session, SessionError> {
    let (program, limits) = (format!("agent-sync {command}"), Limits::of(&settings.sync));
    let session = Session::connect_bounded(&program, database, limits, most).await?;
    session.trusted(database).await
}

/// A session, and the permission to read the two tables in it.
type Opened = (Session, Option<MayRead>);

/// Like [`open`], for a command that does not need the rows of the two tables. Code of another role
/// gets no rights by it (S27): an install of another role is refused to a session with rights that
/// this role does not have, such as those of a superuser, and the permission to read the two tables
/// is given only where their owners gain nothing.
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

/// Like [`open`], for a command that compares agents, with an error that ends the command.
async fn open_or_fault(
    command: &str,
    database: &Database,
    settings: &Settings,
) -> anyhow::Result<Session> {
    open_bounded(command, database, settings, session::PORTION)
        .await
        .map_err(|error| unreachable(database, error))
}

/// The exit code for several databases: the most severe one, unavailable before usage, failure and
/// drift or other findings.
fn worst(exits: impl IntoIterator<Item = Exit>) -> Exit {
    let rank = |exit: &Exit| {
        [
            Exit::Done,
            Exit::Found,
            Exit::Failed,
            Exit::Usage,
            Exit::Unavailable,
        ]
        .iter()
        .position(|e| e == exit)
    };
    exits.into_iter().max_by_key(rank).unwrap_or(Exit::Done)
}
