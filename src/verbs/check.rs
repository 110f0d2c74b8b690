//! `check`: compare every configuration with what its agent says, and change nothing.
//!
//! The exit code is 2 if something stays out of sync unless somebody acts. So a configuration that
//! is missing and an agent that is rejected count as drift, and so does a slug that no agent has;
//! what is in the outbox does not while a daemon leads, which is about to do it.

use std::path::Path;

use super::checker::Checker;
use crate::cli::Check;
use crate::exit::Exit;

/// Checks each database in turn; one that cannot be checked keeps no other from being so.
pub fn check(config: Option<&Path>, args: &Check) -> anyhow::Result<Exit> {
    let settings = super::settings(config)?;
    let rules = super::rules(&settings)?;
    let databases = super::select(&settings, &args.reporting.databases.names)?;
    super::block_on(async {
        let mut checker = Checker::new(
            &settings,
            &rules,
            &args.slugs,
            args.reporting.json,
            databases.len(),
        );
        let (of, mut reached, mut exits) = (databases.len(), 0, Vec::new());
        for database in databases {
            exits.push(match checker.database(database).await {
                Ok(exit) => {
                    reached += 1;
                    exit
                }
                Err(error) => {
                    checker.page.clear();
                    checker.page.flush();
                    super::output::report(&error)
                }
            });
        }
        exits.push(checker.unknown(reached, of));
        checker.page.end(super::worst(exits))
    })
}
