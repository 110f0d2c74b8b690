//! Why the tables cannot be used.

use std::fmt;

use crate::pg::QueryError;
use crate::similar::nearest;

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
    /// Required columns are not there: all of both tables.
    #[error("{}", joined(.0))]
    NoColumns(Vec<Lacking>),
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

/// The required columns that a table lacks.
#[derive(Debug)]
pub struct Lacking {
    /// Schema and name.
    pub table: String,
    /// The names of the columns; never empty.
    pub columns: Vec<String>,
    /// The columns that the table has.
    pub found: Vec<String>,
}

/// The most columns of a table that a message names.
const NAMED: usize = 20;

impl fmt::Display for Lacking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (table, found) = (&self.table, &self.found);
        let columns: Vec<_> = self
            .columns
            .iter()
            .map(
                |name| match nearest(name, found.iter().map(String::as_str)) {
                    Some(near) => format!("{name} (did you mean {near}?)"),
                    None => name.clone(),
                },
            )
            .collect();
        match &columns[..] {
            [column] => write!(
                f,
                "expected a column {column} in the table {table}, and it has none"
            )?,
            columns => {
                let columns = columns.join(", ");
                write!(
                    f,
                    "expected columns in the table {table} that it does not have: {columns}"
                )?;
            }
        }
        if found.is_empty() {
            return Ok(());
        }
        let named = found.iter().take(NAMED).map(String::as_str);
        write!(f, "; found {}", named.collect::<Vec<_>>().join(", "))?;
        match found.len().saturating_sub(NAMED) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

fn joined(tables: &[Lacking]) -> String {
    let tables: Vec<_> = tables.iter().map(Lacking::to_string).collect();
    tables.join("; ")
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
            Self::NoTable { .. } | Self::NoColumns(_) => {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn lacking(columns: &[&str], found: Vec<String>) -> String {
        let columns = columns.iter().map(|name| (*name).to_owned()).collect();
        let table = "public.agents".to_owned();
        LayoutError::NoColumns(vec![Lacking {
            table,
            columns,
            found,
        }])
        .to_string()
    }

    #[test]
    fn missing_columns_are_named_with_like_ones_and_those_that_exist() {
        let found = || vec!["id".to_owned(), "slug".to_owned()];
        assert_eq!(
            lacking(&["sulg"], found()),
            "expected a column sulg (did you mean slug?) in the table public.agents, and it has \
            none; found id, slug"
        );
        assert_eq!(
            lacking(&["sulg", "voices"], found()),
            "expected columns in the table public.agents that it does not have: sulg (did you \
            mean slug?), voices; found id, slug"
        );
        assert_eq!(
            lacking(&["x"], Vec::new()),
            "expected a column x in the table public.agents, and it has none"
        );
    }

    #[test]
    fn a_table_with_many_columns_makes_no_long_message() {
        let many = (0..1_600)
            .map(|number| format!("column_{number}"))
            .collect();
        let text = lacking(&["slug"], many);
        assert!(text.ends_with("column_19 and 1580 more"), "{text}");
    }
}
