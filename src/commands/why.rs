//! `why SLUG`: explains the state of one agent in every database that has it.

use std::path::Path;

use super::explained::{MOST, Told, Wanted, find_out, looked_in, not_found};
use super::near::NearSlugs;
use super::page::Page;
use super::story::{object, print};
use super::tenant::Search;
use crate::cli::Why;
use crate::exit::Exit;
use crate::report::{Look, Note, Reach, conclude};
use crate::settings::Database;

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
        let (mut looked, mut near) = (Vec::new(), NearSlugs::default());
        for database in databases {
            let told = async {
                let session = super::open_or_fault("why", database, &settings).await?;
                let asked = (wanted, &Reach::COMMAND);
                let of = (&session, database);
                let (look, told) = find_out(of, &settings, &rules, asked, &mut sought).await?;
                if let (true, Some(layout)) = (told.stories.is_empty(), &look.layout) {
                    let given = [wanted.slug];
                    near.look(session.db(), layout, &given, wanted.tenant).await;
                }
                Ok((look, told))
            };
            match Box::pin(told).await {
                Ok((look, told)) => {
                    looked.push(looked_in(database, &look));
                    hidden = hidden.or_else(|| look.hidden.0.clone());
                    found |= !told.stories.is_empty();
                    let of = (database, settings.history.enabled);
                    print_all(&mut page, of, (&look, &told), args.reporting.json);
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
            let near = near.of(wanted.slug);
            let error = not_found(&looked, wanted, hidden, &mut sought, &near);
            exits.push(super::output::report(&error));
        }
        page.end(super::worst(exits))
    })
}

/// Prints what a database says.
fn print_all(page: &mut Page, of: (&Database, bool), (look, told): (&Look, &Told), as_json: bool) {
    let (database, _) = of;
    let keys = database.agents.columns.keys();
    for (key, story) in &told.stories {
        let key = keys.parts(key);
        let conclusion = conclude(database, look, story, &key);
        if as_json {
            page.json(&object(of, look, story, &conclusion, &key));
        } else {
            print(page, of, look, story, &conclusion, &key);
        }
    }
}
