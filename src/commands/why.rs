//! `why SLUG`: explains the state of one agent in every database that has it.

use std::path::Path;

use super::explained::{MOST, Wanted, find_out, not_found};
use super::page::Page;
use super::story::{object, print};
use super::tenant::Search;
use crate::cli::Why;
use crate::exit::Exit;
use crate::report::{Note, Reach, conclude};
use crate::settings::Settings;

/// Prints the explanation for every database with the slug. Fails if neither table of any database
/// has it.
pub fn why(config: Option<&Path>, args: &Why) -> anyhow::Result<Exit> {
    let settings = super::settings(config)?;
    let rules = super::rules(&settings)?;
    let databases = super::select(&settings, &args.reporting.databases.names)?;
    super::block_on(async {
        let mut page = Page::new();
        let (mut found, mut exits) = (false, Vec::new());
        let wanted = Wanted {
            slug: &args.slug,
            tenant: args.tenant.tenant.as_deref(),
        };
        let mut sought = Search::of(wanted.tenant);
        let mut hidden = None::<Note>;
        for database in databases {
            let told = async {
                let session = super::open_or_fault("why", database, &settings).await?;
                let asked = (wanted, &Reach::COMMAND);
                find_out((&session, database), &settings, &rules, asked, &mut sought).await
            };
            match Box::pin(told).await {
                Ok((look, told)) => {
                    let keys = database.agents.columns.keys();
                    hidden = hidden.or_else(|| look.hidden.0.clone());
                    for (key, story) in &told.stories {
                        let key = keys.parts(key);
                        found = true;
                        let conclusion = conclude(database, &look, story, &key);
                        if args.reporting.json {
                            page.json(&object(database, &look, story, &conclusion, &key));
                        } else {
                            print(&mut page, database, &look, story, &conclusion, &key);
                        }
                    }
                    if told.more {
                        page.note(format_args!(
                            "database {}: more than {MOST} tenants have this slug; name one with \
                            --tenant",
                            database.name
                        ));
                    }
                }
                Err(error) => {
                    page.flush();
                    exits.push(super::output::report(&error));
                }
            }
        }
        page.flush();
        if !found && exits.is_empty() {
            let names = databases_of(&settings, &args.reporting.databases.names);
            let error = not_found(&names, wanted, hidden, &mut sought);
            exits.push(super::output::report(&error));
        }
        page.end(super::worst(exits))
    })
}

fn databases_of<'a>(settings: &'a Settings, names: &'a [String]) -> Vec<&'a str> {
    let all = settings.databases.keys().map(String::as_str);
    if names.is_empty() {
        all.collect()
    } else {
        names.iter().map(String::as_str).collect()
    }
}
