//! `pause` and `resume`: no daemon writes during a pause, and the capture goes on.
//!
//! The pause is a part of the record of the install, so it holds for every daemon, and after a
//! restart. `pause` returns when no session holds the leader lock; with `--release`, when no daemon
//! is connected.

use std::path::Path;
use std::time::{Duration, Instant};

use super::output::say;
use crate::cli;
use crate::exit::{Exit, Fault};
use crate::observe::Pause;
use crate::pg::{Db, QueryError};
use crate::settings::Database;
use crate::store::pause::{self, NewPause};
use crate::store::report;

/// The time between two looks for daemons.
const LOOK: Duration = Duration::from_millis(100);

/// Pauses the databases in turn. A failure in one does not stop the others.
pub fn pause(config: Option<&Path>, args: &cli::Pause) -> anyhow::Result<Exit> {
    let new = NewPause {
        until: args.until,
        user: user(),
        reason: args.reason.clone(),
        releases: args.release,
    };
    in_each(
        config,
        "pause",
        &args.databases,
        &async |database: &Database, db: &Db| {
            let unanswered = |error| super::unanswered(database, error);
            if !new.begin(db).await.map_err(unanswered)? {
                let what = format!(
                    "database {}: not paused, because the install has no record of itself",
                    database.name
                );
                return Err(Fault::new(Exit::Failed, what)
                    .remedy("run `agent-sync install`")
                    .into());
            }
            let name = &database.name;
            let Some(held) = until_quiet(db, args).await.map_err(unanswered)? else {
                let how = if args.release {
                    "is connected"
                } else {
                    "writes"
                };
                say(format_args!("{name}: paused; no daemon {how}"))?;
                return Ok(Exit::Done);
            };
            let what = format!(
                "database {name}: the pause is set, and after {} {held}",
                humantime::format_duration(args.timeout)
            );
            Err(Fault::new(Exit::Failed, what)
            .remedy(
                "see with `agent-sync status` and `agent-sync doctor` which, and in its log why",
            )
            .into())
        },
    )
}

/// Ends the pause of the databases in turn.
pub fn resume(config: Option<&Path>, args: &cli::Databases) -> anyhow::Result<Exit> {
    in_each(
        config,
        "resume",
        args,
        &async |database: &Database, db: &Db| {
            let unanswered = |error| super::unanswered(database, error);
            let was = pause::in_force(db).await.map_err(unanswered)?;
            pause::end(db).await.map_err(unanswered)?;
            let name = &database.name;
            match was {
                None => say(format_args!("{name}: is not paused"))?,
                Some(Pause { releases, .. }) => {
                    let within = if releases { 12 } else { 2 };
                    say(format_args!(
                        "{name}: resumed; a running daemon goes on within {within} seconds"
                    ))?;
                }
            }
            Ok(Exit::Done)
        },
    )
}

/// Runs `work` with a session of each database in turn.
fn in_each(
    config: Option<&Path>,
    command: &str,
    databases: &cli::Databases,
    work: &impl AsyncFn(&Database, &Db) -> anyhow::Result<Exit>,
) -> anyhow::Result<Exit> {
    let settings = super::settings_to_write(config, command, &databases.names)?;
    let databases = super::select(&settings, &databases.names)?;
    super::block_on(async {
        let mut exits = Vec::new();
        for database in databases {
            let done = match super::open_with_care(command, database, &settings).await {
                Ok((session, _)) => work(database, session.db()).await,
                Err(error) => Err(super::unreachable(database, error)),
            };
            exits.push(done.unwrap_or_else(|error| super::output::report(&error)));
        }
        Ok(super::worst(exits))
    })
}

/// Waits until no daemon writes, or with `--release` until none is connected; for at most
/// `--timeout`. Returns what stays, if something does.
async fn until_quiet(db: &Db, args: &cli::Pause) -> Result<Option<&'static str>, QueryError> {
    let begun = Instant::now();
    loop {
        let held = if db.value(report::LED, &[]).await? {
            Some("a session still holds the leader lock")
        } else if args.release && !db.all(&report::daemons(), &[]).await?.is_empty() {
            Some("a daemon is still connected")
        } else {
            None
        };
        if held.is_none() || begun.elapsed() >= args.timeout {
            return Ok(held);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// The user of the operating system, as the environment names it.
fn user() -> Option<String> {
    ["SUDO_USER", "USER", "LOGNAME"]
        .into_iter()
        .filter_map(|name| std::env::var(name).ok())
        .find(|name| !name.is_empty() && name.chars().count() <= 64)
}
