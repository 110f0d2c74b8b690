//! Which changes a `wait` still waits for.

use std::collections::BTreeSet;

use postgres_types::Type;

use super::note::Note;
use super::problem;
use crate::key::Key;
use crate::pg::{Db, QueryError};
use crate::settings::Database;
use crate::show::quoted;
use crate::store::{Installed, Layout, MayRead, awaited as queries, is_unsealed};

/// The agents of a `wait`.
#[derive(Debug, Clone, Default)]
pub struct NamedAgents {
    /// Their names; every agent if there is none.
    pub slugs: Vec<String>,
    /// Their tenant; every tenant if there is none.
    pub tenant: Option<String>,
}

impl NamedAgents {
    /// The texts by which they are found: none for every agent.
    fn names(&self, layout: &Layout) -> Option<Vec<String>> {
        let names = self.slugs.iter().flat_map(|name| layout.agents.names(name));
        (!self.slugs.is_empty()).then(|| names.collect())
    }

    /// Whether every agent is named.
    pub fn are_all(&self) -> bool {
        self.slugs.is_empty() && self.tenant.is_none()
    }
}

/// A moment on the server. A change that was committed before it has a transaction number below it.
#[derive(Debug, Clone, Copy)]
pub struct Moment(i64);

/// The changes that were committed before a moment and are not applied yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Awaited {
    /// Their slugs, counted up to a limit.
    pub slugs: i64,
    /// Whether every agent is still to be checked, because changes may have been missed.
    pub unsure: bool,
    /// Whether this role cannot know whether changes may have been missed.
    pub unknown: bool,
}

impl Awaited {
    /// Whether there is none.
    pub fn is_over(self) -> bool {
        self.slugs == 0 && !self.unsure
    }
}

/// The present moment.
pub async fn moment(db: &Db) -> Result<Moment, QueryError> {
    db.value(queries::MOMENT, &[]).await.map(Moment)
}

/// What is left of the changes before the moment that are about these agents.
pub async fn awaited(
    db: &Db,
    layout: &Layout,
    moment: Moment,
    agents: &NamedAgents,
) -> Result<Awaited, QueryError> {
    let slugs = agents.names(layout);
    let given = [
        (&moment.0 as _, Type::INT8),
        (&slugs as _, Type::TEXT_ARRAY),
        (&agents.tenant as _, Type::TEXT),
    ];
    let slugs = db.value(&queries::awaited(layout.keys()), &given).await?;
    let installed = Installed::read(db).await?;
    let owes = installed.is_none_or(|installed| installed.owes_check());
    // Only a question of the catalog tells that a trigger was switched off for a while.
    let is_unsealed = if owes || slugs > 0 {
        Some(owes)
    } else {
        is_unsealed(db, layout).await?
    };
    Ok(Awaited {
        slugs,
        unsure: is_unsealed == Some(true),
        unknown: is_unsealed.is_none(),
    })
}

/// The problems of these agents: at most 20, each with its remedy; and, with the permission, the slugs
/// that no agent has.
pub async fn problems_of(
    db: &Db,
    database: &Database,
    layout: &Layout,
    agents: &NamedAgents,
    may_read: Option<MayRead>,
) -> Result<Vec<Note>, QueryError> {
    let (keys, slugs) = (layout.keys(), agents.names(layout));
    let given = [
        (&slugs as _, Type::TEXT_ARRAY),
        (&agents.tenant as _, Type::TEXT),
    ];
    let unknown: Vec<String> = match may_read {
        Some(may_read) => {
            db.column(&queries::unknown(layout, may_read), &given)
                .await?
        }
        None => Vec::new(),
    };
    let unknown: BTreeSet<String> = unknown.into_iter().collect();
    let no_agent = |slug: &String| {
        let text = format!("{}: no agent has this slug", quoted(slug));
        Note::warn(
            "agents",
            text,
            "Check the spelling, and the tenant: --tenant.",
        )
    };
    let is_unknown = |slug: &&String| {
        let names = layout.agents.names(slug);
        names.iter().all(|name| unknown.contains(name))
    };
    let unknown = agents.slugs.iter().filter(is_unknown);
    let mut problems: Vec<Note> = unknown.take(20).map(no_agent).collect();
    for row in db.all(&queries::problems_of_named(keys), &given).await? {
        let (slug, kind): (String, String) = (row.try_get("slug")?, row.try_get("kind")?);
        let (detail, sqlstate): (String, Option<String>) =
            (row.try_get("detail")?, row.try_get("sqlstate")?);
        let tenant: Option<String> = if keys.have_tenants() {
            row.try_get("tenant")?
        } else {
            None
        };
        let key = Key {
            tenant: tenant.map(Into::into),
            slug: &slug,
        };
        let text = format!(
            "{}{}: {kind}: {detail}",
            quoted(&slug),
            problem::of_tenant(&key)
        );
        let remedy = problem::remedy(database, (&kind, &detail), sqlstate.as_deref(), &key);
        problems.push(Note::warn("agents", text, remedy));
    }
    Ok(problems)
}
