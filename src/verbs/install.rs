//! `install`: put the capture into the databases, or print the SQL that does (I6).

use std::path::Path;

use crate::cli::Install;
use crate::exit::Exit;
use crate::install::{self, Done, Plan};
use crate::settings::{self, Database, Settings};
use crate::store::Store;

/// Installs into each database in turn.
pub fn install(config: Option<&Path>, args: &Install) -> anyhow::Result<Exit> {
    let settings = settings::load_or_fault(config)?.settings;
    let databases = settings.select(&args.databases.names)?;
    let plan = |database| plan(database, &settings, args.role.as_deref());
    if args.print {
        for database in databases {
            super::say(format_args!("-- agent-sync {}: install", env!("CARGO_PKG_VERSION")));
            super::say(plan(database).script());
        }
        return Ok(Exit::Done);
    }
    super::block_on(async {
        for database in databases {
            let session = super::connect(database, &settings).await?;
            let patience = Store::patience(&settings.sync);
            let done = install::install(session.client(), patience, &plan(database))
                .await
                .map_err(|error| super::refused(database, "not installed; nothing was changed", error))?;
            let outcome = match done {
                Done::Changed => "installed",
                Done::Nothing => "already installed, nothing to change",
            };
            super::say(format_args!("{}: {outcome} ({})", database.name, database.target()));
            if let Some(role) = &args.role {
                super::say(format_args!(
                    "{}: the role {role} may do what the daemon needs, and no more was granted; a role that install makes \
                     has no password: set one with \\password {role} in psql",
                    database.name
                ));
            }
        }
        Ok(Exit::Done)
    })
}

fn plan<'a>(database: &'a Database, settings: &Settings, role: Option<&'a str>) -> Plan<'a> {
    let Database { agents, configurations, .. } = database;
    let (history, capture_configurations) = (settings.history.enabled, settings.capture.configurations);
    Plan { agents, configurations, history, capture_configurations, role }
}
