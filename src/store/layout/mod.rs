//! The layout of the two tables in this database (T3), read from the catalog.
//!
//! A column that does not exist is left out of every query and of the mapping. Types are
//! PostgreSQL's own names for them, so that text parameters can be cast to the type of the column
//! that they are for.

mod column;
mod error;
mod index;
mod lookup;
mod names;
mod table;
mod tenant;

use postgres_types::Type;

use self::column::comparison;
use self::error::KeyPart;
pub use self::error::LayoutError;
use self::lookup::Lookup;
use self::table::Table;
pub(super) use self::tenant::Tenant;
use super::finding::Finding;
use super::queries::{self, key};
use super::remedy::Remedies;
use crate::columns::{Column, PerAgentColumn, PerColumn};
use crate::key::Keys;
use crate::mapping::{NumberColumn, REVISION, Rules, Targets};
use crate::pg::identifier::{Quoted, plain};
use crate::pg::{Db, Parameter, QueryError};
use crate::settings::{AgentsColumns, ConfigurationsColumns, Database};

/// One column that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlColumn {
    /// The name, quoted.
    pub name: String,
    /// Its type for a reader.
    pub sql_type: String,
    /// Its type for a cast, quoted and with its schema: under a domain the type that it is stored
    /// as, and without length or scale. For a cast to `varchar(20)`, or to a domain over it, cuts
    /// off silently, and an assignment does not.
    pub cast: String,
}

impl SqlColumn {
    /// Whether it is `jsonb`, or a domain over it.
    pub fn is_jsonb(&self) -> bool {
        self.cast == "pg_catalog.jsonb"
    }
}

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
    lookup: Lookup,
    /// The mapped columns that exist.
    pub columns: PerAgentColumn<Option<SqlColumn>>,
}

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
    lookup: Lookup,
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

impl Agents {
    fn of(table: &mut Table, names: &AgentsColumns) -> Result<Self, LayoutError> {
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

    /// The condition that the row `alias` has this slug, of whatever tenant.
    pub fn has_slug(&self, alias: &str, slug: &str) -> String {
        self.lookup.is(alias, &self.slug, slug)
    }

    /// Whether an index finds the key.
    pub fn key_is_indexed(&self) -> bool {
        self.slug_is_indexed || self.pair_is_indexed
    }

    /// Whether indexes find each key, and each slug of whatever tenant, without a look at the rows of
    /// others.
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

    /// Whether an index has the order of the keys, so that a range of them is found without a look at
    /// the others.
    pub fn is_in_order_of_an_index(&self) -> bool {
        self.tenant.is_none() && self.slug_is_indexed && self.lookup == Lookup::Column
    }

    /// Whether keys have a tenant.
    pub fn keys(&self) -> Keys {
        Keys::with_tenants(self.tenant.is_some())
    }
}

/// The condition, and that the row has this tenant, if the table has tenants.
fn with_tenant(column: Option<&Tenant>, alias: &str, tenant: &str, condition: String) -> String {
    match column {
        Some(column) => format!("{} AND {condition}", column.is(alias, tenant)),
        None => condition,
    }
}

/// A slug byte by byte. Every name is qualified.
fn exact_slug(alias: &str, slug: &SqlColumn) -> String {
    format!("{alias}.{}::pg_catalog.text", slug.name)
}

/// A key byte by byte, of an escaped tenant and a slug. Every name is qualified.
fn exact_key(escaped_tenant: &str, slug: &str) -> String {
    format!(
        "({}) COLLATE pg_catalog.\"C\"",
        key::of_parts(escaped_tenant, slug)
    )
}

impl Configurations {
    /// With the findings about columns of another type than expected.
    fn of(
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

    /// The key of the agent that the row `alias` is for, where tenants are set, and null if it has no
    /// tenant; or else the slug as it is [looked up](Self::lookup).
    pub fn key_of_agent(&self, alias: &str) -> String {
        match self.tenant {
            Some(_) => self.exact(alias),
            None => self.lookup(alias),
        }
    }

    /// This key byte by byte, whatever the columns have become since their types and their collations
    /// were looked at. Every name is qualified.
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

/// Both tables, and the columns that are missing.
#[derive(Debug, Clone)]
pub struct Layout {
    /// The table of the agents.
    pub agents: Agents,
    /// The table of the configurations.
    pub configurations: Configurations,
    /// The existing target columns, for the mapping.
    pub targets: Targets,
    /// Whether the two slugs have different collations, so that a comparison needs a COLLATE
    /// clause.
    pub collations_differ: bool,
    /// The version of the catalog rows behind it: see [`queries::layout_version`].
    pub version: String,
    /// The optional columns that do not exist (T3), as `schema.table.column`.
    pub missing: Vec<String>,
    /// The findings about columns: a slug without a usable or unique index, and columns that are
    /// left out because of their type.
    pub column_findings: Vec<Finding>,
    /// The remedies for an agent that is not in sync.
    pub remedies: Remedies,
}

impl Layout {
    /// Reads the catalog.
    pub async fn read(db: &Db, database: &Database) -> Result<Self, LayoutError> {
        let (agents, configurations) = (&database.agents, &database.configurations);
        let quoted = |schema: &str, table: &str| format!("{}.{}", Quoted(schema), Quoted(table));
        // Before the rest: what changes while it is read makes it an old one.
        let version = version(
            db,
            &quoted(&agents.schema, &agents.table),
            &quoted(&configurations.schema, &configurations.table),
        )
        .await?;
        let mut from = Table::read(db, &agents.schema, &agents.table).await?;
        let mut to = Table::read(db, &configurations.schema, &configurations.table).await?;
        let (slug, agent_slug) = (&agents.columns.slug, &configurations.columns.agent_slug);
        let source = Agents::of(&mut from, &agents.columns)?;
        let (target, unfit) = Configurations::of(&mut to, &configurations.columns)?;
        let temperature = to.find(&configurations.columns.mapped[Column::Temperature]);
        let targets = Targets {
            exist: target.columns.as_ref().map(Option::is_some),
            temperature: temperature.map_or(NumberColumn::Float8, comparison),
        };
        let scans = [
            from.scan(slug, source.tenant.as_ref()),
            to.scan(agent_slug, target.tenant.as_ref()),
            from.repeats(slug, source.tenant.as_ref()),
        ];
        let collation = |table: &Table, name: &str| table.find(name).map(|found| found.collation);
        Ok(Self {
            agents: source,
            configurations: target,
            targets,
            collations_differ: collation(&from, slug) != collation(&to, agent_slug),
            version,
            missing: from.missing.into_iter().chain(to.missing).collect(),
            column_findings: scans
                .into_iter()
                .flatten()
                .chain(unfit)
                .chain(to.left_out)
                .collect(),
            remedies: Remedies::new(configurations),
        })
    }

    /// Whether keys have a tenant.
    pub fn keys(&self) -> Keys {
        self.agents.keys()
    }

    /// Whether one of the two slugs is a number.
    pub fn has_integer_slugs(&self) -> bool {
        [self.agents.lookup, self.configurations.lookup].contains(&Lookup::Integer)
    }

    /// Whether one of the two slugs is a `uuid`.
    pub fn has_uuid_slugs(&self) -> bool {
        [self.agents.lookup, self.configurations.lookup].contains(&Lookup::Uuid)
    }

    /// Both tables as parameters of a query, the agents first.
    pub fn tables(&self) -> [Parameter<'_>; 2] {
        [
            (&self.agents.table, Type::TEXT),
            (&self.configurations.table, Type::TEXT),
        ]
    }

    /// What the mapping is made of: its revision, the rules, and the columns that it reads and
    /// writes. It means nothing but that it is the same or another one.
    pub fn mapping_key(&self, rules: &Rules) -> String {
        let (from, to) = (&self.agents, &self.configurations);
        let read = std::iter::once(Some(&from.slug))
            .chain(from.columns.values().iter().map(Option::as_ref));
        let written = std::iter::once(Some(&to.agent_slug))
            .chain(to.columns.values().iter().map(Option::as_ref));
        let tenants = [&from.tenant, &to.tenant].into_iter().flatten();
        let names: Vec<_> = read
            .chain(written)
            .chain(tenants.map(|tenant| Some(&tenant.column)))
            .map(|column| column.map(|column| &column.name))
            .collect();
        format!("{REVISION} {rules:?} {names:?}")
    }
}

/// Which version of the tables there is now.
pub(super) async fn version(
    db: &Db,
    agents: &str,
    configurations: &str,
) -> Result<String, QueryError> {
    let tables: [Parameter<'_>; 2] = [(&agents, Type::TEXT), (&configurations, Type::TEXT)];
    db.value(&queries::layout_version(), &tables).await
}
