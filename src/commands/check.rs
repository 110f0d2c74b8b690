//! `check`: compares every configuration with the mapping of its agent and changes nothing.
//!
//! The exit code is 2 if a configuration stays out of sync until an operator acts. A missing
//! configuration, a rejected or ambiguous agent and a requested slug without an agent count as
//! drift. A pending change counts only while no daemon leads.

use std::path::Path;

use super::checker::Checker;
use crate::cli::{Check, Verbosity};
use crate::exit::Exit;

/// Checks the databases in turn. An error in one database does not stop the checks of the others.
/// With `--verbose`, agents in sync that have a warning are printed as well.
pub fn check(config: Option<&Path>, args: &Check, verbosity: Verbosity) -> anyhow::Result<Exit> {
    let settings = super::settings(config)?;
    if let Some(file) = &args.rules {
        return super::planned::plan(&settings, file, args);
    }
    let rules = super::rules(&settings)?;
    let databases = super::select(&settings, &args.reporting.databases.names)?;
    super::block_on(async {
        let mut checker = Checker::new(
            &settings,
            &rules,
            (&args.slugs, args.tenant.tenant.as_deref()),
            args.reporting.json,
            databases.len(),
        )
        .with_remarks(verbosity.verbose > 0);
        if args.unmapped {
            checker.list_unmapped();
        }
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
