//! The layout of the two tables in this database (T3), read from the catalog.
//!
//! A column that does not exist is left out of every query and of the mapping. Types are
//! PostgreSQL's own names for them, so that text parameters can be cast to the type of the column
//! that they are for.

mod agents;
mod column;
mod configurations;
mod error;
mod index;
mod lookup;
mod names;
mod table;
mod tenant;

use postgres_types::Type;

pub(super) use self::agents::Agents;
use self::column::comparison;
pub(super) use self::configurations::Configurations;
pub use self::error::LayoutError;
use self::lookup::Lookup;
use self::table::Table;
pub(super) use self::tenant::Tenant;
use super::finding::Finding;
use super::queries::{self, key};
use super::remedy::Remedies;
use crate::columns::Column;
use crate::key::Keys;
use crate::mapping::{NumberColumn, REVISION, Rules, Targets};
use crate::pg::identifier::Quoted;
use crate::pg::{Db, Parameter, QueryError};
use crate::settings::Database;

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

/// The condition, and that the row has this tenant, if the table has tenants.
fn with_tenant(column: Option<&Tenant>, alias: &str, tenant: &str, condition: String) -> String {
    match column {
        Some(column) => format!("{} AND {condition}", column.is(alias, tenant)),
        None => condition,
    }
}

/// Whether the row `alias` has this tenant, if the table has tenants, and this slug, byte by byte;
/// never null. No index serves it. An index that is damaged may lead to the row of another key, and
/// the server does not compare a row with the condition of the index that it has used (G13).
pub(super) fn is_exactly(
    alias: &str,
    (of, column): (Option<&Tenant>, &str),
    (tenant, slug): (&str, &str),
) -> String {
    let same_tenant = of.map_or_else(String::new, |of| {
        format!("{} IS NOT DISTINCT FROM {tenant} AND ", of.text(alias))
    });
    format!(
        "({same_tenant}{alias}.{column}::pg_catalog.text COLLATE pg_catalog.\"C\" \
        OPERATOR(pg_catalog.=) {slug}) IS TRUE"
    )
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
        let lacking = [
            from.lacking(agents.columns.required()),
            to.lacking(configurations.columns.required()),
        ];
        let lacking: Vec<_> = lacking.into_iter().flatten().collect();
        if !lacking.is_empty() {
            return Err(LayoutError::NoColumns(lacking));
        }
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

    /// Whether the slugs of the two tables have one order.
    pub fn have_one_order(&self) -> bool {
        !self.collations_differ
            && self.agents.lookup == Lookup::Column
            && self.configurations.lookup == Lookup::Column
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

    /// The parts of the mapping as text: its revision, the rules, and the columns that it reads and
    /// writes. It means nothing but that it is the same or another one.
    pub fn mapping_text(&self, rules: &Rules) -> String {
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
