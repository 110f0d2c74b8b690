//! The table of the agents, with the conditions and expressions of queries on it.

use super::error::{KeyPart, LayoutError};
use super::lookup::Lookup;
use super::table::Table;
use super::tenant::Tenant;
use super::{SqlColumn, exact_key, exact_slug, is_exactly, with_tenant};
use crate::columns::PerAgentColumn;
use crate::key::Keys;
use crate::settings::AgentsColumns;

/// The table of the agents.
#[derive(Debug, Clone)]
pub struct Agents {
    /// Schema and name, quoted.
    pub table: String,
    /// The slug column.
    pub slug: SqlColumn,
    /// The tenant column, where tenants are set.
    pub tenant: Option<Tenant>,
    /// Whether an index finds the slug, of whatever tenant.
    pub slug_is_indexed: bool,
    /// Whether an index finds tenant and slug together.
    pair_is_indexed: bool,
    /// Whether a unique index keeps the key from being met twice (T5).
    pub key_is_unique: bool,
    pub(super) lookup: Lookup,
    /// The mapped columns that exist.
    pub columns: PerAgentColumn<Option<SqlColumn>>,
}

impl Agents {
    pub(super) fn of(table: &mut Table, names: &AgentsColumns) -> Result<Self, LayoutError> {
        let slug = &*names.slug;
        let tenant = table.tenant(names.tenant.as_deref())?;
        Ok(Self {
            table: table.quoted.clone(),
            slug: table.key_part(KeyPart::Slug, slug)?,
            slug_is_indexed: table.finds(slug),
            pair_is_indexed: tenant.as_ref().is_some_and(|of| table.finds_both(slug, of)),
            key_is_unique: table.key_is_unique(slug, tenant.as_ref()),
            lookup: table.lookup(slug),
            tenant,
            columns: table.mapped(&names.mapped, |table, _, name| table.optional(name))?,
        })
    }

    /// The slug of the row called `alias` as it is compared with other text: an index serves where
    /// there is one that tells the truth, and none is asked where it may not.
    pub fn lookup(&self, alias: &str) -> String {
        self.lookup.sql(alias, &self.slug)
    }

    /// The condition that the row `alias` has this tenant, where tenants are set, and this slug.
    pub fn is(&self, alias: &str, tenant: &str, slug: &str) -> String {
        let same_slug = self.lookup.is(alias, &self.slug, slug);
        with_tenant(self.tenant.as_ref(), alias, tenant, same_slug)
    }

    /// Whether the row `alias` has this tenant, which may be null, and this slug, whatever an index
    /// has led to it.
    pub fn is_exactly(&self, alias: &str, tenant: &str, slug: &str) -> String {
        let columns = (self.tenant.as_ref(), &*self.slug.name);
        is_exactly(alias, columns, (tenant, slug))
    }

    /// The condition that the row `alias` has this slug, of whatever tenant.
    pub fn has_slug(&self, alias: &str, slug: &str) -> String {
        self.lookup.is(alias, &self.slug, slug)
    }

    /// Whether an index finds the key.
    pub fn key_is_indexed(&self) -> bool {
        self.slug_is_indexed || self.pair_is_indexed
    }

    /// Whether an index finds each key without a look at the rows of others.
    pub fn is_found_by_index(&self) -> bool {
        if self.tenant.is_some() {
            self.pair_is_indexed
        } else {
            self.slug_is_indexed
        }
    }

    /// Whether indexes find each key, and each slug of whatever tenant, without a look at the rows
    /// of others.
    pub fn names_are_indexed(&self) -> bool {
        self.slug_is_indexed && (self.tenant.is_none() || self.pair_is_indexed)
    }

    /// The condition that the row `alias` has this slug and no tenant, if there can be such rows.
    pub fn lacks_tenant(&self, alias: &str, slug: &str) -> Option<String> {
        let tenant = self.tenant.as_ref().filter(|tenant| tenant.is_nullable)?;
        let (same_slug, tenant) = (self.lookup.is(alias, &self.slug, slug), &tenant.column.name);
        Some(format!("{same_slug} AND {alias}.{tenant} IS NULL"))
    }

    /// The key of the row `alias`, where tenants are set; or else the slug as it is
    /// [looked up](Self::lookup).
    pub fn key(&self, alias: &str) -> String {
        let Some(tenant) = &self.tenant else {
            return self.lookup(alias);
        };
        let escaped = format!("COALESCE({}, '%')", tenant.escaped(alias));
        exact_key(&escaped, &exact_slug(alias, &self.slug))
    }

    /// Whether an index has the order of the keys, so that a range of them is found without a look
    /// at the others.
    pub fn is_in_order_of_an_index(&self) -> bool {
        self.tenant.is_none() && self.slug_is_indexed && self.lookup == Lookup::Column
    }

    /// Whether keys have a tenant.
    pub fn keys(&self) -> Keys {
        Keys::with_tenants(self.tenant.is_some())
    }
}
