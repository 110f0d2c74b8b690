//! The tenant of the command line, as the databases know it: a mistyped one is told, because it
//! leaves nothing to do.

use postgres_types::Type;
use serde::Serialize;

use super::page::Page;
use crate::exit::Exit;
use crate::pg::{Db, Parameter, QueryError};
use crate::settings::{WITHHELD, is_withheld};
use crate::show::{RED, WIDTH, indented, quoted, shorten};
use crate::similar::distance;
use crate::store::{Layout, MayRead, tenants};

/// The most tenants of a database that are compared with an unknown one, and their largest length.
const COMPARED: (i64, i32) = (10_000, 200);

/// The most tenants that are named as near, and the largest width of one, in columns.
const NEAR: (usize, usize) = (3, 60);

/// The search for a tenant in the databases of a command.
#[derive(Debug, Default)]
pub(super) struct Search {
    given: Option<String>,
    /// Whether any database was asked.
    was_asked: bool,
    is_known: bool,
    /// Similar tenants with their distances.
    near: Vec<(usize, String)>,
}

impl Search {
    /// The search for this tenant, if there is one.
    pub(super) fn of(given: Option<&str>) -> Self {
        Self {
            given: given.map(str::to_owned),
            ..Self::default()
        }
    }

    /// Looks for it for a command whose answer is made of the rows.
    pub(super) async fn seek(&mut self, db: &Db, layout: &Layout) -> Result<(), QueryError> {
        self.look(db, layout, Some(MayRead::asked_for())).await
    }

    /// Looks for it in a database that has tenants, with the permission.
    pub(super) async fn look(
        &mut self,
        db: &Db,
        layout: &Layout,
        may_read: Option<MayRead>,
    ) -> Result<(), QueryError> {
        let Some(may_read) = may_read else {
            return Ok(());
        };
        let column = layout.agents.tenant.as_ref();
        let (Some(given), Some(column), Some(exists)) =
            (&self.given, column, tenants::exists(layout, may_read))
        else {
            return Ok(());
        };
        let canonical = column.canonical(given);
        let tenant = canonical.as_deref().unwrap_or(given);
        self.was_asked = true;
        self.is_known |= match &canonical {
            Some(tenant) => db.value(&exists, &[(tenant, Type::TEXT)]).await?,
            None => false,
        };
        if let Some(some) = tenants::some(layout, may_read).filter(|_| !self.is_known) {
            let limits: [Parameter<'_>; 2] = [(&COMPARED.0, Type::INT8), (&COMPARED.1, Type::INT4)];
            // The search is only for a hint, so a slow one is given up.
            let others: Vec<String> = db.column(&some, &limits).await.unwrap_or_default();
            let near = others.into_iter();
            let near = near.filter_map(|other| Some((distance(tenant, &other)?, other)));
            self.near.extend(near);
        }
        Ok(())
    }

    /// Adds the result of the same search in another database.
    pub(super) fn add(&mut self, other: Self) {
        self.given = self.given.take().or(other.given);
        self.was_asked |= other.was_asked;
        self.is_known |= other.is_known;
        self.near.extend(other.near);
    }

    /// The tenants with similar names, if no database has the tenant.
    pub(super) fn near(&mut self) -> Option<Vec<String>> {
        if !self.was_asked || self.is_known {
            return None;
        }
        self.near.sort();
        self.near.dedup();
        let near = self.near.iter().take(NEAR.0);
        Some(near.map(|(_, tenant)| tenant.clone()).collect())
    }

    /// Prints that no database has the tenant. `place` says where it was looked for.
    pub(super) fn print(&mut self, page: &mut Page, place: &str, as_json: bool) -> Exit {
        let (Some(near), Some(given)) = (self.near(), self.given.clone()) else {
            return Exit::Done;
        };
        if as_json {
            page.json(&Unknown::of((Some(&given), None), &near));
            return Exit::Found;
        }
        let text = format!(
            "tenant {}  no agent and no configuration has this tenant{place}{}",
            super::typed(&given),
            hint(&near)
        );
        page.line(indented(&format!("{RED}unknown {RED:#}  "), &text, WIDTH));
        Exit::Found
    }
}

/// The JSON row of a slug or a tenant that no database has. It is about all of them, so it names
/// none.
#[derive(Serialize)]
pub(super) struct Unknown<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    slug: Option<&'a str>,
    verdict: &'static str,
    near: &'a [String],
}

impl<'a> Unknown<'a> {
    /// For this tenant and slug, with similar ones.
    pub(super) fn of(
        (tenant, slug): (Option<&'a str>, Option<&'a str>),
        near: &'a [String],
    ) -> Self {
        let shown = |text: &'a str| if is_withheld(text) { WITHHELD } else { text };
        Self {
            kind: "unknown",
            tenant: tenant.map(shown),
            slug: slug.map(shown),
            verdict: "unknown",
            near,
        }
    }
}

/// The words that name similar tenants.
pub(super) fn hint(near: &[String]) -> String {
    let near: Vec<_> = near
        .iter()
        .map(|tenant| shorten(&quoted(tenant), NEAR.1))
        .collect();
    if near.is_empty() {
        String::new()
    } else {
        format!("; similar: {}", near.join(", "))
    }
}
