//! The verbs of the command line (I1), one short file each: settings in, work done, exit code out.

pub mod config;
pub mod demo;
pub mod install;
pub mod probe;
pub mod render;
pub mod run;
pub mod uninstall;

use anyhow::Context as _;

use crate::exit::Fault;
use crate::mapping::Rules;
use crate::session::{Limits, Session};
use crate::settings::{Database, Settings};
use crate::store::{StoreError, failure};

/// Runs a verb that waits, on one thread: agent-sync waits far more than it computes, and one thread is the quickest
/// to wake up.
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

/// The rules in force: those of `rules.file`, or else the embedded ones.
fn rules(settings: &Settings) -> anyhow::Result<Rules> {
    let Some(file) = &settings.rules.file else {
        return Ok(Rules::embedded().clone());
    };
    let path = file.display();
    let text = std::fs::read_to_string(file).with_context(|| {
        Fault::usage(format!("expected the rules in {path} (rules.file), and the file cannot be read"))
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
    Session::connect(database, limits).await.map_err(|error| {
        let remedy = error.remedy();
        let what = format!("database {}: could not connect ({})", database.name, database.target());
        anyhow::Error::new(error).context(Fault::unavailable(what).remedy(remedy))
    })
}

/// An error of a statement that a verb ran: with the message and the hint of the server, which are about objects.
fn refused(database: &Database, what: &str, error: StoreError) -> anyhow::Error {
    let remedy = match &error {
        StoreError::Postgres(error) => {
            let hint = error.as_db_error().and_then(|error| error.hint()).map(str::to_owned);
            hint.unwrap_or_else(|| failure::policy(error).remedy.to_owned())
        }
        StoreError::Silent(_) => "see what the server is doing: SELECT * FROM pg_stat_activity".to_owned(),
    };
    let fault = Fault::new(crate::exit::Exit::Failed, format!("database {}: {what}", database.name));
    anyhow::Error::new(error).context(fault.remedy(remedy))
}

/// Prints a line of results; a reader that has gone away ends nothing but the printing.
fn say(line: impl std::fmt::Display) {
    let _ = std::io::Write::write_all(&mut std::io::stdout(), format!("{line}\n").as_bytes());
}
