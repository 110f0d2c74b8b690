//! Why the tables cannot be used.

use std::fmt;

use crate::pg::QueryError;

/// Why the tables cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// The catalog could not be read.
    #[error("could not read the catalog: {0}")]
    Store(#[from] QueryError),
    /// A table is not there, or not visible to the role.
    #[error("expected the table {table}, and this database has none that this role can see")]
    NoTable {
        /// Schema and name.
        table: String,
    },
    /// The name is that of a view or of a foreign table, on which no trigger sees a change.
    #[error("expected a table {table}, and it is a {kind}")]
    NotATable {
        /// Schema and name.
        table: String,
        /// Its type.
        kind: String,
    },
    /// A required column is not there.
    #[error("expected a column {column} in the table {table}, and it has none")]
    NoColumn {
        /// Schema and name.
        table: String,
        /// The column's name.
        column: String,
    },
    /// PostgreSQL computes the required column, so nothing can be written to it.
    #[error("the column {column} is GENERATED, so PostgreSQL refuses every write of it")]
    Generated {
        /// Schema, table and column.
        column: String,
    },
    /// A slug or tenant of this type cannot be compared as text (T7): settings of the session may
    /// decide on its text, or equal values may have different texts.
    #[error(
        "the {part} column {column} has the type {of_type}; agent-sync needs text, varchar, char, \
        citext, uuid, an integer, an enum or a domain over one of them"
    )]
    KeyType {
        /// Which part of the key it is.
        part: KeyPart,
        /// Schema, table and column.
        column: String,
        /// Its type.
        of_type: String,
    },
}

/// A part of the key of an agent (T5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyPart {
    /// The slug.
    Slug,
    /// The tenant.
    Tenant,
}

impl fmt::Display for KeyPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Slug => "slug",
            Self::Tenant => "tenant",
        })
    }
}

impl LayoutError {
    /// The remedy.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Store(error) => error.remedy(),
            Self::NoTable { .. } | Self::NoColumn { .. } => {
                "Check the names of tables and columns in the settings of this database."
            }
            Self::NotATable { .. } => {
                "Triggers see changes of tables only: name the table behind it in the settings of \
                this database (agents, configurations), or give the table its name back; then run \
                `agent-sync install`."
            }
            Self::Generated { .. } => {
                "Name another column in the settings of this database, or make it an ordinary one: \
                ALTER TABLE ... ALTER COLUMN ... DROP EXPRESSION."
            }
            Self::KeyType {
                part: KeyPart::Slug,
                ..
            } => {
                "Name a column of such a type in the settings of this database \
                (agents.columns.slug, configurations.columns.agent_slug), or change its type to \
                text."
            }
            Self::KeyType {
                part: KeyPart::Tenant,
                ..
            } => {
                "Name a column of such a type in the settings of this database \
                (agents.columns.tenant, configurations.columns.tenant), or change its type to text."
            }
        }
    }
}
