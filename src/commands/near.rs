//! Slugs that are similar to one from the command line that no agent has. They are a hint: a search
//! that fails or is refused gives none.

use std::collections::{BTreeMap, BTreeSet};

use postgres_types::Type;

use crate::pg::{Db, Parameter};
use crate::settings::is_withheld;
use crate::similar::distance;
use crate::store::{Layout, MayRead, slugs};

/// The most slugs of a command that others are compared with, and the most that are named for each.
pub(super) const MOST: usize = 5;
const NAMED: usize = 3;

/// The similar slugs in the databases of a command.
#[derive(Debug, Default)]
pub(super) struct NearSlugs {
    /// Their distances, by the slug of the command line.
    found: BTreeMap<String, BTreeSet<(usize, String)>>,
}

impl NearSlugs {
    /// Looks for slugs that are similar to these in one database, of the tenant where one is given.
    pub(super) async fn look(
        &mut self,
        db: &Db,
        layout: &Layout,
        given: &[&str],
        tenant: Option<&str>,
    ) {
        let given: Vec<&str> = given
            .iter()
            .copied()
            .filter(|slug| slug.len() <= slugs::LONGEST && !is_withheld(slug))
            .take(MOST)
            .collect();
        if given.is_empty() {
            return;
        }
        let column = layout.agents.tenant.as_ref();
        let tenant = match (tenant, column) {
            (Some(tenant), Some(column)) => column.canonical(tenant),
            _ => None,
        };
        let spellings: Vec<String> = given
            .iter()
            .flat_map(|slug| [slug.trim().to_lowercase(), slug.trim().to_uppercase()])
            .collect();
        let query = slugs::some(layout, MayRead::asked_for());
        let parameters: [Parameter<'_>; 3] = [
            (&given, Type::TEXT_ARRAY),
            (&spellings, Type::TEXT_ARRAY),
            (&tenant, Type::TEXT),
        ];
        let others: Vec<String> = db.column(&query, &parameters).await.unwrap_or_default();
        for slug in given {
            let near = others.iter().filter(|other| *other != slug);
            let near = near.filter_map(|other| Some((distance(slug, other)?, other.clone())));
            self.found.entry(slug.to_owned()).or_default().extend(near);
        }
    }

    /// Those that are similar to this slug, the most similar first.
    pub(super) fn of(&self, given: &str) -> Vec<String> {
        let found = self.found.get(given).into_iter().flatten().take(NAMED);
        found.map(|(_, slug)| slug.clone()).collect()
    }
}
