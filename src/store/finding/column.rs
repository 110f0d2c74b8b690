//! Findings about a column and its indexes. The daemon goes on with each of them.

use std::borrow::Cow;

use crate::pg::identifier::plain;

/// The collation that has no name of its own.
const DEFAULT_COLLATION: &str = "of the database";

/// A warning about a column.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Column {
    /// No index begins with the column of a slug (T2).
    #[error("no index begins with {column}, so every lookup scans {table}")]
    NoIndex {
        /// The table, as `schema.name`.
        table: String,
        /// The column of the slug.
        column: String,
        /// Whether the table is partitioned.
        partitioned: bool,
    },
    /// The column of a slug has a type in which no index finds text (T2).
    #[error(
        "{column} has the type {of_type}, in which no index finds text, so every lookup scans \
        {table}"
    )]
    NoText {
        /// The table, as `schema.name`.
        table: String,
        /// The column of the slug.
        column: String,
        /// Its type.
        of_type: String,
    },
    /// The collation of a slug takes different texts for equal, which are different agents (G13),
    /// so no index serves.
    #[error(
        "{column} has a nondeterministic collation, in which no index finds one text alone, so \
        every lookup scans {table}"
    )]
    Lenient {
        /// The table, as `schema.name`.
        table: String,
        /// The column of the slug.
        column: String,
        /// Its type.
        of_type: String,
    },
    /// No unique index keeps agents with the same slug out (T5).
    #[error(
        "{table} has no unique index on {column}; agents that share a slug are reported as \
        ambiguous and not synced"
    )]
    NotUnique {
        /// The table, as `schema.name`.
        table: String,
        /// The column of the slug.
        column: String,
        /// Whether the table has partitions, over which there is such an index only on what they
        /// are divided by.
        partitioned: bool,
        /// The column for each value of which slugs are unique, if there is one: perhaps a tenant.
        /// Not quoted.
        perhaps_tenant: Option<String>,
    },
    /// The indexes of a slug were made in another order than the collation has now.
    #[error(
        "the collation {} of {column} in {table} had version {recorded} when its indexes were made \
        and has {actual} now, so no index is used to find a slug there",
        .collation.as_deref().unwrap_or(DEFAULT_COLLATION)
    )]
    CollationChanged {
        /// The table, as `schema.name`.
        table: String,
        /// The column of the slug.
        column: String,
        /// The collation, as `schema.name`; none for that of the database.
        collation: Option<String>,
        /// The version that it had.
        recorded: String,
        /// The version that it has.
        actual: String,
    },
    /// An index does not find rows that are there: it is damaged, or in another order than the
    /// collation has now, although the versions agree.
    #[error("an index on {column} of {table} does not find rows that are there")]
    IndexMisses {
        /// The table, as `schema.name`.
        table: String,
        /// The column of the slug.
        column: String,
    },
    /// Configurations have a slug and no tenant, where tenants are set.
    #[error("rows of {table} have a slug and no {column}, so they belong to no agent")]
    NoTenant {
        /// The table, as `schema.name`.
        table: String,
        /// The column of the tenant.
        column: String,
    },
    /// The column for a number has a type that holds none.
    #[error(
        "{column} of {table} has the type {of_type}, which holds no plain number, so it is left out"
    )]
    NoNumber {
        /// The table, as `schema.name`.
        table: String,
        /// The column.
        column: String,
        /// Its type.
        of_type: String,
    },
    /// The column for a time has a type that holds none.
    #[error(
        "{column} of {table} has the type {of_type}, which is no timestamp, so no time is written \
        there"
    )]
    NoTime {
        /// The table, as `schema.name`.
        table: String,
        /// The column.
        column: String,
        /// Its type.
        of_type: String,
    },
    /// PostgreSQL computes a target column, so the daemon cannot write it.
    #[error("{column} of {table} is GENERATED, so PostgreSQL computes it and it is left out")]
    Generated {
        /// The table, as `schema.name`.
        table: String,
        /// The column.
        column: String,
    },
    /// A target column has the type `name`, in which PostgreSQL cuts off text after 63 bytes.
    #[error(
        "{column} of {table} has the type name, which cuts off text after 63 bytes, so it is left \
        out"
    )]
    CutsOff {
        /// The table, as `schema.name`.
        table: String,
        /// The column.
        column: String,
    },
}

impl Column {
    pub(super) fn remedy(&self) -> Cow<'static, str> {
        match self {
            Self::NoIndex {
                table,
                column,
                partitioned,
            } => {
                // PostgreSQL builds none concurrently on a partitioned table.
                let concurrently = if *partitioned { "" } else { " CONCURRENTLY" };
                format!("CREATE INDEX{concurrently} ON {table} ({column});")
            }
            Self::NoText { table, column, .. } => {
                format!("Make it text: {}", change(table, column, "text"))
            }
            Self::Lenient {
                table,
                column,
                of_type,
            } => format!(
                "Give it another collation: {}",
                change(table, column, &format!("{of_type} COLLATE \"default\""))
            ),
            Self::NotUnique {
                table,
                column,
                partitioned,
                perhaps_tenant,
            } => return not_unique((table, column), *partitioned, perhaps_tenant.as_deref()),
            Self::CollationChanged {
                table, collation, ..
            } => reindex(table, collation.as_deref()),
            Self::IndexMisses { table, .. } => format!(
                "REINDEX TABLE {table}; and every other table with an index of text: the order of \
                text may have changed with the operating system, or the index is damaged."
            ),
            Self::NoTenant { table, column } => format!(
                "Give them their tenant: UPDATE {table} SET {column} = … WHERE {column} IS NULL; \
                or delete them; then ALTER TABLE {table} ALTER COLUMN {column} SET NOT NULL;"
            ),
            Self::NoNumber { table, column, .. } => format!(
                "ALTER TABLE {table} ALTER COLUMN {column} TYPE double precision USING …, \
                or name another column in the settings."
            ),
            Self::NoTime { table, column, .. } => format!(
                "ALTER TABLE {table} ALTER COLUMN {column} TYPE timestamptz USING …, or \
                name another column in the settings."
            ),
            Self::Generated { table, column } => format!(
                "None, if PostgreSQL is to compute it. Otherwise: ALTER TABLE {table} ALTER COLUMN \
                {column} DROP EXPRESSION; or name another column in the settings of this database."
            ),
            Self::CutsOff { table, column } => format!(
                "ALTER TABLE {table} ALTER COLUMN {column} TYPE text, or name another \
                column in the settings."
            ),
        }
        .into()
    }
}

/// Statements that change the type of the column of a slug, on which triggers of the install
/// depend.
fn change(table: &str, column: &str, to: &str) -> String {
    format!(
        "DROP TRIGGER IF EXISTS agent_sync_insert ON {table}; DROP TRIGGER IF EXISTS \
        agent_sync_update ON {table}; DROP TRIGGER IF EXISTS agent_sync_delete ON {table}; ALTER \
        TABLE {table} ALTER COLUMN {column} TYPE {to}; then run `agent-sync install`."
    )
}

/// The remedy where no unique index keeps agents with the same key out.
fn not_unique(
    (table, column): (&str, &str),
    partitioned: bool,
    perhaps_tenant: Option<&str>,
) -> Cow<'static, str> {
    if let Some(tenant) = perhaps_tenant {
        return format!(
            "If {0} is the tenant of an agent, set agents.columns.tenant = {tenant:?} and \
            configurations.columns.tenant to the column of the configurations with it, and run \
            `agent-sync install`. Until then, an agent whose slug no other agent has is written \
            into every configuration with its slug, whatever {0} that has. If it is none, keep \
            slugs apart: CREATE UNIQUE INDEX CONCURRENTLY ON {table} ({column});",
            plain(tenant)
        )
        .into();
    }
    if partitioned {
        return "PostgreSQL has no such index over partitions that are not divided by the slug: see \
            that those who save keep slugs apart."
            .into();
    }
    format!("CREATE UNIQUE INDEX CONCURRENTLY ON {table} ({column});").into()
}

/// The remedy for indexes in the order of another version of a collation.
fn reindex(table: &str, collation: Option<&str>) -> String {
    match collation {
        Some(collation) => format!(
            "REINDEX TABLE {table}; for every table with an index in this collation, then: ALTER \
            COLLATION {collation} REFRESH VERSION; the daemon uses the index from its next \
            connection on."
        ),
        None => format!(
            "REINDEX TABLE {table}; REINDEX TABLE agent_sync.problem; and every other table with \
            an index of text, or REINDEX DATABASE; then: ALTER DATABASE … REFRESH COLLATION \
            VERSION; the daemon uses the index from its next connection on."
        ),
    }
}
