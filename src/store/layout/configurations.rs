//! The table of the configurations, with the conditions and expressions of queries on it.

use super::error::{KeyPart, LayoutError};
use super::lookup::Lookup;
use super::table::Table;
use super::tenant::Tenant;
use super::{SqlColumn, exact_key, exact_slug, with_tenant};
use crate::columns::{Column, PerColumn};
use crate::key::Keys;
use crate::pg::identifier::plain;
use crate::settings::ConfigurationsColumns;
use crate::store::finding::Finding;

/// The table of the configurations.
#[derive(Debug, Clone)]
pub struct Configurations {
    /// Schema and name, quoted.
    pub table: String,
    /// The column with the slug of the agent.
    pub agent_slug: SqlColumn,
    /// The column with the tenant of the agent, where tenants are set.
    pub tenant: Option<Tenant>,
    /// Whether an index finds a key. If not, a lookup of keys scans the table (T2).
    pub key_is_indexed: bool,
    pub(super) lookup: Lookup,
    /// Whether it has partitions or children, so that a row's place is only unique together with
    /// its relation.
    pub has_children: bool,
    /// Whether it is partitioned, so that an update may be a delete and an insert to its triggers.
    pub is_partitioned: bool,
    /// The primary key, as far as the role may read it; quoted.
    pub key: Vec<String>,
    /// The mapped columns that exist and can be written.
    pub columns: PerColumn<Option<SqlColumn>>,
    /// The columns that take the clock of the transaction.
    pub clocks: Vec<SqlColumn>,
}

impl Configurations {
    /// With the findings about columns of another type than expected.
    pub(super) fn of(
        table: &mut Table,
        names: &ConfigurationsColumns,
    ) -> Result<(Self, Vec<Finding>), LayoutError> {
        let times = [&names.updated_at, &names.last_updated].map(|name| table.time(name));
        let (clocks, no_times): (Vec<_>, Vec<_>) = times.into_iter().unzip();
        let provider_config = &names.mapped[Column::ProviderConfig];
        if table
            .find(provider_config)
            .is_some_and(|found| found.generated)
        {
            let column = format!("{}.{}", table.plain, plain(provider_config));
            return Err(LayoutError::Generated { column });
        }
        let (mut number, no_number) = table.number(&names.mapped[Column::Temperature]);
        let key = table.found.iter().filter(|found| found.of_key);
        let tenant = table.tenant(names.tenant.as_deref())?;
        let configurations = Self {
            table: table.quoted.clone(),
            agent_slug: table.key_part(KeyPart::Slug, &names.agent_slug)?,
            key_is_indexed: table.finds_key(&names.agent_slug, tenant.as_ref()),
            tenant,
            lookup: table.lookup(&names.agent_slug),
            has_children: table.has_children,
            is_partitioned: table.partitioned,
            key: key.map(|found| found.column().name).collect(),
            columns: table.mapped(&names.mapped, |table, column, name| match column {
                Column::Temperature => number.take(),
                _ => table.writable(name),
            })?,
            clocks: clocks.into_iter().flatten().collect(),
        };
        let unfit = no_number.into_iter().chain(no_times.into_iter().flatten());
        Ok((configurations, unfit.collect()))
    }

    /// The same for the slug of the agent that a configuration is for.
    pub fn lookup(&self, alias: &str) -> String {
        self.lookup.sql(alias, &self.agent_slug)
    }

    /// The condition that the row `alias` is for the agent with this tenant, where tenants are set,
    /// and this slug.
    pub fn is(&self, alias: &str, tenant: &str, slug: &str) -> String {
        let same_slug = self.lookup.is(alias, &self.agent_slug, slug);
        with_tenant(self.tenant.as_ref(), alias, tenant, same_slug)
    }

    /// The key of the agent that the row `alias` is for, where tenants are set, and null if it has
    /// no tenant; or else the slug as it is [looked up](Self::lookup).
    pub fn key_of_agent(&self, alias: &str) -> String {
        match self.tenant {
            Some(_) => self.exact(alias),
            None => self.lookup(alias),
        }
    }

    /// This key byte by byte, whatever the columns have become since their types and their
    /// collations were looked at. Every name is qualified.
    pub fn exact(&self, alias: &str) -> String {
        let slug = exact_slug(alias, &self.agent_slug);
        match &self.tenant {
            Some(tenant) => exact_key(&tenant.escaped(alias), &slug),
            None => format!("{slug} COLLATE pg_catalog.\"C\""),
        }
    }

    /// The same for a reader: a row without tenant has a key as well.
    pub fn any_key(&self, alias: &str) -> String {
        match &self.tenant {
            Some(tenant) => exact_key(
                &format!("COALESCE({}, '%')", tenant.escaped(alias)),
                &exact_slug(alias, &self.agent_slug),
            ),
            None => self.exact(alias),
        }
    }

    /// Whether keys have a tenant.
    pub fn keys(&self) -> Keys {
        Keys::with_tenants(self.tenant.is_some())
    }
}
