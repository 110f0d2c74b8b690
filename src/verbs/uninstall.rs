//! `uninstall`: take everything that `install` made out of the databases (I6).

use std::path::Path;

use super::output::say;
use crate::cli::Databases;
use crate::exit::{self, Exit};
use crate::install::{self, Done, Roles};
use crate::settings::{self, Database, Settings};
use crate::store::Store;

/// Uninstalls from each database in turn; one where that cannot be done keeps no other from it.
pub fn uninstall(config: Option<&Path>, args: &Databases) -> anyhow::Result<Exit> {
    let settings = settings::load_or_fault(config)?.settings;
    let databases = settings.select(&args.names)?;
    super::block_on(async {
        let mut exits = Vec::new();
        for database in databases {
            exits.push(one(database, &settings).await.unwrap_or_else(|error| exit::report(&error)));
        }
        Ok(super::worst(exits))
    })
}

async fn one(database: &Database, settings: &Settings) -> anyhow::Result<Exit> {
    let session = super::connect(database, settings).await?;
    let patience = Store::patience(&settings.sync);
    let (done, Roles { dropped, kept }) = install::uninstall(session.client(), patience)
        .await
        .map_err(|error| super::refused(database, "not uninstalled; nothing was changed", error))?;
    let outcome = match done {
        Done::Changed => "uninstalled",
        Done::Nothing => "nothing is installed",
    };
    let name = &database.name;
    say(format_args!("{name}: {outcome} ({})", database.target()))?;
    for role in dropped {
        say(format_args!(
            "{name}: the role {role}, which an install had made, is dropped, and its password with it"
        ))?;
    }
    for role in kept {
        say(format_args!("{name}: the role {role} stays, without what was granted to it"))?;
    }
    Ok(Exit::Done)
}
