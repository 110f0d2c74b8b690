//! `why SLUG`: explains the state of one agent in every database that has it.

use std::path::Path;

use postgres_types::Type;

use super::named::named;
use super::page::Page;
use super::story::{object, print};
use super::tenant::{Search, hint};
use crate::cli::Why;
use crate::exit::{Exit, Fault};
use crate::mapping::Rules;
use crate::pg::Parameter;
use crate::report::{Look, Note, Story, conclude, look, story};
use crate::settings::{Database, Settings};
use crate::store::report;

/// Prints the explanation for every database with the slug. Fails if neither table of any database
/// has it.
pub fn why(config: Option<&Path>, args: &Why) -> anyhow::Result<Exit> {
    let settings = super::settings(config)?;
    let rules = super::rules(&settings)?;
    let databases = super::select(&settings, &args.reporting.databases.names)?;
    super::block_on(async {
        let mut page = Page::new();
        let (mut found, mut exits) = (false, Vec::new());
        let mut sought = Search::of(args.tenant.tenant.as_deref());
        let mut hidden = None::<Note>;
        for database in databases {
            match Box::pin(find_out(database, &settings, &rules, args, &mut sought)).await {
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
            let error = not_found(&settings, args, hidden, &mut sought);
            exits.push(super::output::report(&error));
        }
        page.end(super::worst(exits))
    })
}

/// The error where no database has the slug, with the finding that a policy may hide it.
fn not_found(
    settings: &Settings,
    args: &Why,
    hidden: Option<Note>,
    sought: &mut Search,
) -> anyhow::Error {
    let names: Vec<_> = databases_of(settings, &args.reporting.databases.names);
    let what = format!(
        "neither an agent nor a configuration has the slug {}{}",
        super::typed(&args.slug),
        args.tenant
            .tenant
            .as_deref()
            .map(|tenant| format!(" of tenant {}", super::typed(tenant)))
            .unwrap_or_default()
    );
    let of_tenant = match sought.near() {
        Some(near) => format!("; there, nothing has this tenant{}", hint(&near)),
        None => String::new(),
    };
    let place = format!("looked in: {}{of_tenant}", names.join(", "));
    let fault = Fault::new(Exit::Failed, what);
    match hidden {
        // What a policy hides is not known to be absent.
        Some(Note { text, remedy, .. }) => anyhow::Error::msg(text)
            .context(fault.remedy(format!("{} ({place})", remedy.unwrap_or_default()))),
        None => fault.remedy(place).into(),
    }
}

fn databases_of<'a>(settings: &'a Settings, names: &'a [String]) -> Vec<&'a str> {
    let all = settings.databases.keys().map(String::as_str);
    if names.is_empty() {
        all.collect()
    } else {
        names.iter().map(String::as_str).collect()
    }
}

/// The most tenants whose agents of one slug are explained.
const MOST: usize = 20;

/// What a database says about a slug.
struct Told {
    /// Each agent, or configuration without agent, by its key.
    stories: Vec<(String, Story)>,
    /// Whether there are more of them.
    more: bool,
}

async fn find_out(
    database: &Database,
    settings: &Settings,
    rules: &Rules,
    args: &Why,
    sought: &mut Search,
) -> anyhow::Result<(Look, Told)> {
    let session = super::open_or_fault("why", database, settings).await?;
    let look = look(session.db(), database, settings, Some(rules)).await;
    let Some(layout) = &look.layout else {
        let note = look
            .trouble()
            .into_iter()
            .find(|note| note.topic == "tables");
        let what = format!("database {}: its tables cannot be used", database.name);
        let fault = Fault::new(Exit::Failed, what);
        return Err(match note {
            Some(note) => anyhow::anyhow!("{}", note.text)
                .context(fault.remedy(note.remedy.clone().unwrap_or_default())),
            None => fault.into(),
        });
    };
    let (db, unanswered) = (session.db(), |error| super::unanswered(database, error));
    let tenant = args.tenant.tenant.as_deref();
    let mut keys: Vec<String> = if tenant.is_none() && layout.keys().have_tenants() {
        let limit = i64::try_from(MOST).unwrap_or(i64::MAX).saturating_add(1);
        let names = layout.agents.names(&args.slug);
        let names: [Parameter<'_>; 2] = [(&names, Type::TEXT_ARRAY), (&limit, Type::INT8)];
        let keys = db.column(&report::keys_of_names(layout), &names).await;
        keys.map_err(unanswered)?
    } else {
        named(database, layout, &[&args.slug], tenant)?.1
    };
    sought.look(db, layout).await.map_err(unanswered)?;
    let more = keys.len() > MOST;
    keys.truncate(MOST);
    let mut stories = Vec::with_capacity(keys.len());
    for key in keys {
        let story = Box::pin(story(db, rules, layout, look.installed, &key)).await;
        let story = story.map_err(unanswered)?;
        // A database without the key prints nothing.
        if !story.agents.is_empty() || story.rows > 0 {
            stories.push((key, story));
        }
    }
    Ok((look, Told { stories, more }))
}
