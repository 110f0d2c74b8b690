//! Which changes a `wait` still waits for.

use std::collections::BTreeSet;

use postgres_types::Type;

use super::note::Note;
use super::problem;
use crate::key::Key;
use crate::pg::{Db, QueryError};
use crate::settings::Database;
use crate::show::quoted;
use crate::store::awaited::{self as queries, Mark};
use crate::store::{Layout, MayRead};

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

/// The work that is left to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Awaited {
    /// The slugs with changes that are not applied yet, counted up to a limit.
    pub slugs: i64,
    /// Whether every agent is still to be checked, because changes may have been missed.
    pub unsure: bool,
    /// Whether this role cannot know whether changes may have been missed.
    pub unknown: bool,
}

impl Awaited {
    /// Whether there is nothing.
    pub fn is_over(self) -> bool {
        self.slugs == 0 && !self.unsure
    }
}

/// A wait for every change of these agents that was committed before its first look.
#[derive(Debug)]
pub struct Waiting {
    agents: NamedAgents,
    /// The moment whose changes are awaited; none until no check of every agent is due.
    mark: Option<Mark>,
}

impl Waiting {
    /// For these agents.
    pub fn new(agents: NamedAgents) -> Self {
        Self { agents, mark: None }
    }

    /// The work that is left. It is over only if the rows of a [`Mark`] are gone from the outbox,
    /// and if at a later moment no check of every agent is due, and none has been made since the
    /// mark.
    pub async fn look(&mut self, db: &Db, layout: &Layout) -> Result<Awaited, QueryError> {
        if self.mark.is_none() {
            self.mark = Mark::take(db, layout).await?;
        }
        loop {
            let Some(mark) = self.mark.clone() else {
                return Ok(Awaited {
                    slugs: self.pending(db, layout, i64::MAX).await?,
                    unsure: true,
                    unknown: false,
                });
            };
            let slugs = self.pending(db, layout, mark.upto).await?;
            if slugs > 0 {
                return Ok(Awaited {
                    slugs,
                    unsure: false,
                    unknown: !mark.is_certain,
                });
            }
            // The rows may be gone because the outbox was emptied, which makes a check due.
            self.mark = Mark::take(db, layout).await?;
            if let Some(later) = &self.mark
                && mark.is_valid_at(later)
            {
                return Ok(Awaited {
                    slugs: 0,
                    unsure: false,
                    unknown: !later.is_certain,
                });
            }
        }
    }

    /// How many of the agents have a row in the outbox of a transaction with a number below this.
    async fn pending(&self, db: &Db, layout: &Layout, upto: i64) -> Result<i64, QueryError> {
        let slugs = self.agents.names(layout);
        let given = [
            (&upto as _, Type::INT8),
            (&slugs as _, Type::TEXT_ARRAY),
            (&self.agents.tenant as _, Type::TEXT),
        ];
        db.value(&queries::awaited(layout.keys()), &given).await
    }
}

/// The problems of these agents: at most 20, each with its remedy; and, with the permission, the
/// slugs that no agent has.
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
