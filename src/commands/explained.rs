//! Explains the agents of one slug in one database, for `why` and for the page of an agent.

use postgres_types::Type;

use super::named::named;
use super::tenant::{Search, hint};
use crate::exit::{Exit, Fault};
use crate::mapping::Rules;
use crate::pg::Parameter;
use crate::report::{Look, Note, Reach, Story, look, story};
use crate::session::Session;
use crate::settings::{Database, Settings};
use crate::store::{MayRead, report};

/// The name of an agent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) slug: &'a str,
    /// None for every tenant.
    pub(super) tenant: Option<&'a str>,
}

/// The most tenants whose agents of one slug are explained.
pub(super) const MOST: usize = 20;

/// The answer of a database about a slug.
pub(super) struct Told {
    /// Each agent, or configuration without agent, by its key.
    pub(super) stories: Vec<(String, Story)>,
    /// Whether there are more of them.
    pub(super) more: bool,
}

/// Reads what a database says about the agent, over this session and as far as `reach` says.
pub(super) async fn find_out(
    (session, database): (&Session, &Database),
    settings: &Settings,
    rules: &Rules,
    (wanted, reach): (Wanted<'_>, &Reach),
    sought: &mut Search,
) -> anyhow::Result<(Look, Told)> {
    let may_read = Some(MayRead::asked_for());
    let look = look(session.db(), database, settings, Some(rules), may_read).await;
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
    let Wanted { slug, tenant } = wanted;
    let mut keys: Vec<String> = if tenant.is_none() && layout.keys().have_tenants() {
        let limit = i64::try_from(MOST).unwrap_or(i64::MAX).saturating_add(1);
        let names = layout.agents.names(slug);
        let names: [Parameter<'_>; 2] = [(&names, Type::TEXT_ARRAY), (&limit, Type::INT8)];
        let keys = db.column(&report::keys_of_names(layout), &names).await;
        keys.map_err(unanswered)?
    } else {
        named(database, layout, &[slug], tenant)?.1
    };
    sought
        .look(db, layout, may_read)
        .await
        .map_err(unanswered)?;
    let more = keys.len() > MOST;
    keys.truncate(MOST);
    let mut stories = Vec::with_capacity(keys.len());
    for key in keys {
        let story = Box::pin(story(db, rules, layout, (look.installed, reach), &key)).await;
        let story = story.map_err(unanswered)?;
        // A database without the key prints nothing.
        if !story.agents.is_empty() || story.rows > 0 {
            stories.push((key, story));
        }
    }
    Ok((look, Told { stories, more }))
}

/// The database as a place that was looked in.
pub(super) fn looked_in(database: &Database, look: &Look) -> String {
    if look.installed {
        database.name.clone()
    } else {
        format!("{} (agent-sync is not installed there)", database.name)
    }
}

/// The error where no database has the slug, with the finding that a policy may hide it, and the
/// slugs that are similar.
pub(super) fn not_found(
    looked: &[String],
    wanted: Wanted<'_>,
    hidden: Option<Note>,
    sought: &mut Search,
    near: &[String],
) -> anyhow::Error {
    let of_tenant = wanted
        .tenant
        .map(|tenant| format!(" of tenant {}", super::typed(tenant)));
    let unknown_tenant = match sought.near() {
        Some(near) => format!("; there, nothing has this tenant{}", hint(&near)),
        None => String::new(),
    };
    let what = format!(
        "neither an agent nor a configuration has the slug {}{}; looked in: {}{unknown_tenant}",
        super::typed(wanted.slug),
        of_tenant.unwrap_or_default(),
        looked.join(", "),
    );
    let similar = hint(near);
    let fault = Fault::new(Exit::Failed, what);
    match hidden {
        // What a policy hides is not known to be absent.
        Some(Note { text, remedy, .. }) => anyhow::Error::msg(text)
            .context(fault.remedy(format!("{}{similar}", remedy.unwrap_or_default()))),
        None => fault
            .remedy(format!(
                "check the spelling: case and blanks count{similar}"
            ))
            .into(),
    }
}
