//! `uninstall`: take everything that `install` made out of the databases (I6).

use std::path::Path;

use crate::cli::Databases;
use crate::exit::Exit;
use crate::install::{self, Done};
use crate::settings;
use crate::store::Store;

/// Uninstalls from each database in turn.
pub fn uninstall(config: Option<&Path>, args: &Databases) -> anyhow::Result<Exit> {
    let settings = settings::load_or_fault(config)?.settings;
    let databases = settings.select(&args.names)?;
    super::block_on(async {
        for database in databases {
            let session = super::connect(database, &settings).await?;
            let patience = Store::patience(&settings.sync);
            let done = install::uninstall(session.client(), patience)
                .await
                .map_err(|error| super::refused(database, "not uninstalled; nothing was changed", error))?;
            let outcome = match done {
                Done::Changed => "uninstalled",
                Done::Nothing => "nothing is installed",
            };
            super::say(format_args!("{}: {outcome} ({})", database.name, database.target()));
        }
        Ok(Exit::Done)
    })
}
