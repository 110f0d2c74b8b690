//! `install`: put the capture into the databases, or print the SQL that does (I6).

use std::path::Path;

use crate::cli::Install;
use crate::exit::Exit;
use crate::install::{self, Done};
use crate::settings;
use crate::store::Store;

/// Installs into each database in turn.
pub fn install(config: Option<&Path>, args: &Install) -> anyhow::Result<Exit> {
    let settings = settings::load_or_fault(config)?.settings;
    let databases = settings.select(&args.databases.names)?;
    let captured = settings.capture.configurations;
    if args.print {
        for database in databases {
            super::say(format_args!("-- agent-sync {}: install", env!("CARGO_PKG_VERSION")));
            super::say(install::script(&database.agents, &database.configurations, captured));
        }
        return Ok(Exit::Done);
    }
    super::block_on(async {
        for database in databases {
            let session = super::connect(database, &settings).await?;
            let patience = settings.sync.statement_timeout + Store::PATIENCE;
            let (agents, configurations) = (&database.agents, &database.configurations);
            let done =
                install::install(session.client(), patience, agents, configurations, captured)
                    .await
                    .map_err(|error| super::refused(database, "not installed; nothing was changed", error))?;
            let outcome = match done {
                Done::Changed => "installed",
                Done::Nothing => "already installed, nothing to change",
            };
            super::say(format_args!("{}: {outcome} ({})", database.name, database.target()));
        }
        Ok(Exit::Done)
    })
}
