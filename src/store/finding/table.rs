//! Findings about a table.

use super::Consequence;

/// A fault or a warning about a table of the platform or of agent-sync.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Table {
    /// A rule (CREATE RULE) is in the way of what the daemon writes.
    #[error(
        "the table {table} has the rule {rule}, and PostgreSQL refuses the writes of the daemon \
        to a table with a rule"
    )]
    HasRule {
        /// The table, quoted.
        table: String,
        /// The rule, quoted.
        rule: String,
    },
    /// This table of the platform, as `schema.name`, is UNLOGGED, so a crash of the server empties
    /// it, and no trigger tells of that.
    #[error("the table {0} is UNLOGGED, so a crash of the server empties it")]
    Unlogged(String),
    /// A publication keeps the daemon from writing to a table, which has no replica identity.
    #[error(
        "the table {table} is published without a replica identity, so PostgreSQL refuses every \
        update of it"
    )]
    Unpublishable {
        /// The table.
        table: String,
        /// Whether it is one of agent-sync's own.
        is_ours: bool,
    },
    /// A publication keeps the daemon from writing to a table, because of its row filter or column
    /// list.
    #[error(
        "the publication {publication} has a row filter or column list for {table} that does not \
        fit its replica identity, so PostgreSQL refuses every update of it"
    )]
    PublishedInPart {
        /// The table.
        table: String,
        /// The publication, quoted.
        publication: String,
    },
}

impl Table {
    pub(super) fn consequence(&self) -> Consequence {
        match self {
            Self::HasRule { .. } => Consequence::Stops,
            Self::Unlogged(_) => Consequence::Caution,
            Self::Unpublishable { .. } | Self::PublishedInPart { .. } => {
                Consequence::StopsAndMisses
            }
        }
    }

    pub(super) fn remedy(&self) -> String {
        match self {
            Self::HasRule { table, rule } => format!(
                "DROP RULE {rule} ON {table}; a trigger can do the same, and runs with the writes \
                of the daemon."
            ),
            Self::Unlogged(table) => format!("ALTER TABLE {table} SET LOGGED;"),
            Self::Unpublishable {
                table,
                is_ours: true,
            } => {
                format!("ALTER TABLE {table} REPLICA IDENTITY FULL;")
            }
            Self::Unpublishable { table, .. } => {
                format!("Give it a primary key, or: ALTER TABLE {table} REPLICA IDENTITY FULL;")
            }
            Self::PublishedInPart { table, publication } => format!(
                "ALTER PUBLICATION {publication} DROP TABLE {table}; then add it again with a \
                filter that reads only columns of the replica identity, and a column list that has \
                all of them."
            ),
        }
    }
}
