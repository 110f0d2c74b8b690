//! A fault or a warning about a database, with its text, its severity and its remedy (G10).
//!
//! A finding that [is fatal](Finding::is_fatal) ends the connection; the next one checks again, so a
//! repaired database is served without a restart. The others are reported once, and the daemon goes
//! on.

use std::borrow::Cow;
use std::fmt::{self, Display};

use crate::pg::identifier::plain;

/// What to do about objects of others.
pub const STRANGERS: &str = "See who made it. If nobody needs it: DROP SCHEMA agent_sync CASCADE; \
    or else, if it is an install of your own, give what is named to the owner of the tables: ALTER \
    SCHEMA agent_sync OWNER TO …; ALTER TABLE … OWNER TO …;";

/// A session that PostgreSQL does not tell of.
const NOT_SHOWN: &str = "one that this role is not shown";

/// The collation that has no name of its own.
const DEFAULT_COLLATION: &str = "of the database";

/// What to do about a daemon that is a superuser.
const ROLE_OF_ITS_OWN: &str = "Run `agent-sync install --role NAME` for this database, and let the \
    daemon connect as that role.";

/// What to do about a capture function that belongs to another role than its table.
const GIVE_AWAY: &str = "Run `agent-sync install` for this database, as a superuser or a role that \
    can act as both: it gives the function to the owner of the table.";

/// A fault or a warning about a database.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Finding {
    /// The server is older than version 14.
    ServerTooOld {
        /// Its version.
        version: String,
    },
    /// The server is a standby.
    Standby,
    /// Transactions are read-only by default.
    ReadOnly,
    /// There is no schema `agent_sync`, or nothing in it.
    NotInstalled,
    /// Parts of the install are gone.
    Incomplete {
        /// Which, as `schema.name`.
        missing: Vec<String>,
    },
    /// The install has another version than this program.
    OtherVersion {
        /// What is installed.
        found: i32,
        /// What this program works with.
        expected: i32,
    },
    /// The table of the install is there and has no row.
    NoRecord,
    /// A rule (CREATE RULE) is in the way of what the daemon writes.
    HasRule {
        /// The table, quoted.
        table: String,
        /// The rule, quoted.
        rule: String,
    },
    /// The install was made for other tables than the settings name.
    OtherTables {
        /// The agents and the configurations of the install.
        installed: (String, String),
        /// Those of the settings.
        expected: (String, String),
    },
    /// Row-level security keeps the role from rows of agent-sync's own tables.
    OwnRowsHidden {
        /// The role.
        role: String,
        /// Which tables, as `agent_sync.name`.
        tables: Vec<String>,
    },
    /// The role lacks privileges.
    Unprivileged {
        /// The role.
        role: String,
        /// What it may not do.
        missing: Vec<String>,
        /// The statements that would let it.
        grants: Vec<String>,
    },
    /// Row-level security is active for the role, and no policy plainly lets it at every row.
    RowsMayBeHidden {
        /// The role.
        role: String,
        /// The table, as `schema.name`.
        table: String,
        /// SELECT or UPDATE.
        command: String,
    },
    /// No index finds a slug in a table (T2).
    Scans {
        /// The table, as `schema.name`.
        table: String,
        /// The column of the slug.
        column: String,
        /// Its type, if that is why.
        of_type: Option<String>,
        /// Whether the table is partitioned.
        partitioned: bool,
    },
    /// No unique index keeps agents with the same slug out (T5).
    NotUnique {
        /// The table, as `schema.name`.
        table: String,
        /// The column of the slug.
        column: String,
        /// Whether the table has partitions, over which there is such an index only on what they
        /// are divided by.
        partitioned: bool,
    },
    /// The indexes of a slug were made in another order than the collation has now.
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
    /// So much of the queue of notifications is taken that the capture does not notify.
    QueueFull {
        /// How much, in percent.
        percent: i32,
        /// The session that has been in a transaction for longest, which is likely to hold it up.
        holder: Option<String>,
    },
    /// The column for a number has a type that holds none.
    NoNumber {
        /// The table, as `schema.name`.
        table: String,
        /// The column.
        column: String,
        /// Its type.
        of_type: String,
    },
    /// The column for a time has a type that holds none.
    NoTime {
        /// The table, as `schema.name`.
        table: String,
        /// The column.
        column: String,
        /// Its type.
        of_type: String,
    },
    /// Objects of the install belong to roles that this session must not run code of (S5).
    Untrusted {
        /// Which, with their owners.
        objects: String,
    },
    /// The type of a column belongs to a role that the owner of the table does not have to trust
    /// (S5).
    ForeignType {
        /// The table.
        table: String,
        /// The column.
        column: String,
        /// Its type, or a part of that.
        of_type: String,
        /// Whom the type belongs to.
        owner: String,
        /// Whom the table belongs to.
        table_owner: String,
    },
    /// Parts of the install are gone that only the commands need.
    Lacks {
        /// Which, as `schema.name`.
        parts: Vec<String>,
    },
    /// One of the platform's tables is UNLOGGED, so a crash of the server empties it, and no
    /// trigger tells of that.
    Unlogged {
        /// The table, as `schema.name`.
        table: String,
    },
    /// PostgreSQL computes a target column, so the daemon cannot write it.
    Generated {
        /// The table, as `schema.name`.
        table: String,
        /// The column.
        column: String,
    },
    /// A target column has the type `name`, in which PostgreSQL cuts off text after 63 bytes.
    CutsOff {
        /// The table, as `schema.name`.
        table: String,
        /// The column.
        column: String,
    },
    /// Transactions can be prepared, and the capture notifies (G3).
    PreparedTransactions {
        /// How many.
        max: i32,
    },
    /// A publication keeps the daemon from writing to a table, which has no replica identity.
    Unpublishable {
        /// The table.
        table: String,
        /// Whether it is one of agent-sync's own.
        is_ours: bool,
    },
    /// A publication keeps the daemon from writing to a table, because of its row filter or column
    /// list.
    PublishedInPart {
        /// The table.
        table: String,
        /// The publication, quoted.
        publication: String,
    },
    /// The capture was installed with another `capture.notify` than the settings have.
    OtherNotify {
        /// What the install was made with.
        installed: bool,
    },
    /// A history is wanted, and the outbox was installed without noting who makes a change.
    HistoryWithoutCause,
    /// The role of this session is a superuser, and code of the owners of the tables runs in it.
    Superuser {
        /// The role.
        role: String,
    },
    /// A capture function belongs to a role that the owner of its table is not, so that owner can
    /// act as it.
    LendsRights {
        /// The function.
        function: String,
        /// Its owner, with what it is.
        owner: String,
        /// The table, as `schema.name`.
        table: String,
        /// Its owner.
        table_owner: String,
    },
}

impl Finding {
    /// Whether nothing can be done in this database while it is so.
    pub fn is_fatal(&self) -> bool {
        // Without the history, the daemon does its work.
        if let Self::OwnRowsHidden { tables, .. } = self {
            return tables.iter().any(|table| table != "agent_sync.history");
        }
        !matches!(
            self,
            Self::RowsMayBeHidden { .. }
                | Self::Scans { .. }
                | Self::NotUnique { .. }
                | Self::QueueFull { .. }
                | Self::NoNumber { .. }
                | Self::NoTime { .. }
                | Self::Lacks { .. }
                | Self::CutsOff { .. }
                | Self::Generated { .. }
                | Self::Unlogged { .. }
                | Self::CollationChanged { .. }
                | Self::PreparedTransactions { .. }
                | Self::OtherNotify { .. }
                | Self::HistoryWithoutCause
                | Self::Superuser { .. }
                | Self::LendsRights { .. }
        )
    }

    /// Whether changes may be missed or cannot be applied while it is so, so that every agent has
    /// to be looked at afterwards (G1).
    pub fn misses_changes(&self) -> bool {
        match self {
            Self::NotInstalled
            | Self::Incomplete { .. }
            | Self::NoRecord
            | Self::OtherTables { .. }
            | Self::Unprivileged { .. }
            | Self::Unpublishable { .. }
            | Self::PublishedInPart { .. }
            | Self::RowsMayBeHidden { .. } => true,
            Self::OwnRowsHidden { .. } => self.is_fatal(),
            Self::ServerTooOld { .. }
            | Self::Standby
            | Self::ReadOnly
            | Self::OtherVersion { .. }
            | Self::HasRule { .. }
            | Self::ForeignType { .. }
            | Self::Untrusted { .. }
            | Self::Scans { .. }
            | Self::NotUnique { .. }
            | Self::QueueFull { .. }
            | Self::NoNumber { .. }
            | Self::NoTime { .. }
            | Self::Lacks { .. }
            | Self::CutsOff { .. }
            | Self::Generated { .. }
            | Self::Unlogged { .. }
            | Self::CollationChanged { .. }
            | Self::PreparedTransactions { .. }
            | Self::OtherNotify { .. }
            | Self::HistoryWithoutCause
            | Self::Superuser { .. }
            | Self::LendsRights { .. } => false,
        }
    }

    /// What the operator can do.
    #[allow(clippy::too_many_lines, reason = "one arm a finding, in one place")]
    pub fn remedy(&self) -> Cow<'static, str> {
        const INSTALL: &str = "Run `agent-sync install` for this database.";
        match self {
            Self::ServerTooOld { .. } => "Upgrade the server to PostgreSQL 14 or later.".into(),
            Self::Standby => {
                "Give the address of the primary; when this server is promoted, it is used.".into()
            }
            Self::ReadOnly => {
                "Give the address of the primary, or see why default_transaction_read_only is on \
                for this server, database or role."
                    .into()
            }
            Self::NotInstalled
            | Self::Incomplete { .. }
            | Self::NoRecord
            | Self::OtherNotify { .. }
            | Self::HistoryWithoutCause
            | Self::Lacks { .. } => INSTALL.into(),
            Self::HasRule { table, rule } => format!(
                "DROP RULE {rule} ON {table}; a trigger can do the same, and runs with what the \
                daemon writes."
            )
            .into(),
            Self::OtherTables { .. } => {
                "Name the tables of the install in the settings of this database (agents, \
                configurations). If the tables were renamed, or the install is to serve those of \
                the settings from now on, run `agent-sync install`; where the first tables are \
                still served, it refuses and says what to do."
                    .into()
            }
            Self::OwnRowsHidden { tables, .. } => {
                let statements: Vec<_> = tables
                    .iter()
                    .map(|table| {
                        format!(
                            "ALTER TABLE {table} DISABLE ROW LEVEL \
                            SECURITY;"
                        )
                    })
                    .collect();
                format!(
                    "Run `agent-sync install` for this database, or as the owner: \
                    {}",
                    statements.join(" ")
                )
                .into()
            }
            Self::OtherVersion { found, expected } if found > expected => {
                "Run the version of agent-sync that installed it, or a later one.".into()
            }
            Self::OtherVersion { .. } => {
                "Run `agent-sync install` of this program's version for this database.".into()
            }
            Self::Unprivileged { role, grants, .. } => {
                let grants = grants.join("; ");
                format!(
                    "Run `agent-sync install --role {role}` as the owner of the tables, or: \
                    {grants};"
                )
                .into()
            }
            Self::RowsMayBeHidden {
                role,
                table,
                command,
            } => {
                let role = plain(role);
                let check = if command == "UPDATE" {
                    " WITH CHECK (true)"
                } else {
                    ""
                };
                let policy = format!("agent_sync_{}", command.to_lowercase());
                format!(
                    "CREATE POLICY {policy} ON {table} FOR {command} TO {role} USING \
                    (true){check}; or ALTER ROLE {role} BYPASSRLS."
                )
                .into()
            }
            Self::Scans {
                table,
                column,
                of_type: None,
                partitioned,
            } => {
                // PostgreSQL builds none concurrently on a partitioned table.
                let concurrently = if *partitioned { "" } else { " CONCURRENTLY" };
                format!("CREATE INDEX{concurrently} ON {table} ({column});").into()
            }
            Self::Scans { table, column, .. } => format!(
                "Make it text: DROP TRIGGER IF EXISTS agent_sync_insert ON {table}; DROP TRIGGER \
                IF EXISTS agent_sync_update ON {table}; DROP TRIGGER IF EXISTS agent_sync_delete \
                ON {table}; ALTER TABLE {table} ALTER COLUMN {column} TYPE text; then run \
                `agent-sync install`."
            )
            .into(),
            Self::QueueFull { .. } => {
                "End the session that listens and stays in a transaction: SELECT * FROM \
                pg_stat_activity ORDER BY xact_start; then SELECT pg_terminate_backend(pid)."
                    .into()
            }
            Self::Unlogged { table } => format!("ALTER TABLE {table} SET LOGGED;").into(),
            Self::Unpublishable {
                table,
                is_ours: true,
            } => format!("ALTER TABLE {table} REPLICA IDENTITY FULL;").into(),
            Self::Unpublishable {
                table,
                is_ours: false,
            } => format!(
                "Give it a primary key, or: ALTER TABLE {table} REPLICA IDENTITY \
                FULL;"
            )
            .into(),
            Self::PublishedInPart { table, publication } => format!(
                "ALTER PUBLICATION {publication} DROP TABLE {table}; then add it again with a \
                filter that reads only columns of the replica identity, and a column list that has \
                all of them."
            )
            .into(),
            Self::Generated { table, column } => format!(
                "None, if PostgreSQL is to compute it. Otherwise: ALTER TABLE {table} ALTER COLUMN \
                {column} DROP EXPRESSION; or name another column in the settings of this database."
            )
            .into(),
            Self::CutsOff { table, column } => format!(
                "ALTER TABLE {table} ALTER COLUMN {column} TYPE text, or name another \
                column in the settings."
            )
            .into(),
            Self::NoNumber { table, column, .. } => format!(
                "ALTER TABLE {table} ALTER COLUMN {column} TYPE double precision USING …, \
                or name another column in the settings."
            )
            .into(),
            Self::NoTime { table, column, .. } => format!(
                "ALTER TABLE {table} ALTER COLUMN {column} TYPE timestamptz USING …, or \
                name another column in the settings."
            )
            .into(),
            Self::Untrusted { .. } => STRANGERS.into(),
            Self::ForeignType {
                of_type,
                table_owner,
                ..
            } => format!(
                "ALTER TYPE {of_type} OWNER TO {table_owner}; or change the type of the \
                column, or name another one in the settings."
            )
            .into(),
            Self::NotUnique {
                partitioned: true, ..
            } => "PostgreSQL has no such index over partitions that are not divided by the slug: \
                see that those who save keep slugs apart."
                .into(),
            Self::NotUnique { table, column, .. } => {
                format!("CREATE UNIQUE INDEX CONCURRENTLY ON {table} ({column});").into()
            }
            Self::CollationChanged {
                table,
                collation: Some(collation),
                ..
            } => format!(
                "REINDEX TABLE {table}; for every table with an index in this collation, then: \
                ALTER COLLATION {collation} REFRESH VERSION; the daemon uses the index from its \
                next connection on."
            )
            .into(),
            Self::CollationChanged {
                table,
                collation: None,
                ..
            } => format!(
                "REINDEX TABLE {table}; REINDEX TABLE agent_sync.problem; and every other table \
                with an index of text, or REINDEX DATABASE; then: ALTER DATABASE … REFRESH \
                COLLATION VERSION; the daemon uses the index from its next connection on."
            )
            .into(),
            Self::PreparedTransactions { .. } => {
                "Set capture.notify = false if transactions that save agents are prepared \
                (two-phase commit)."
                    .into()
            }
            Self::Superuser { .. } => ROLE_OF_ITS_OWN.into(),
            Self::LendsRights { .. } => GIVE_AWAY.into(),
        }
    }
}

#[allow(clippy::too_many_lines, reason = "one arm a finding, in one place")]
impl Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ServerTooOld { version } => {
                write!(
                    out,
                    "agent-sync needs PostgreSQL 14 or later, and this server is {version}"
                )
            }
            Self::Standby => out.write_str("this server is a standby, so nothing can be written"),
            Self::ReadOnly => out.write_str("this server is read-only, so nothing can be written"),
            Self::NotInstalled => out.write_str("agent-sync is not installed in this database"),
            Self::Incomplete { missing } => {
                write!(out, "parts of the install are gone: {}", missing.join(", "))
            }
            Self::OtherVersion { found, expected } => write!(
                out,
                "the installed schema has version {found}, and this program works with version \
                {expected}"
            ),
            Self::NoRecord => out.write_str(
                "the install has no record of itself, as after a copy of the schema alone or a \
                TRUNCATE of agent_sync.install",
            ),
            Self::HasRule { table, rule } => write!(
                out,
                "the table {table} has the rule {rule}, and PostgreSQL refuses what the daemon \
                writes to a table with a rule"
            ),
            Self::OtherTables {
                installed,
                expected,
            } => write!(
                out,
                "the install is for the tables {} and {}, and the settings name {} and {}",
                installed.0, installed.1, expected.0, expected.1
            ),
            Self::OwnRowsHidden { role, tables } => write!(
                out,
                "row-level security hides rows of agent-sync's own tables from the role {role}: {}",
                tables.join(", ")
            ),
            Self::Unprivileged { role, missing, .. } => {
                write!(out, "the role {role} lacks {}", missing.join(", "))
            }
            Self::RowsMayBeHidden {
                role,
                table,
                command,
            } => write!(
                out,
                "row-level security of {table} may hide rows from the role {role} ({command}), and \
                hidden rows are not synced"
            ),
            Self::Scans {
                table,
                column,
                of_type: None,
                ..
            } => {
                write!(
                    out,
                    "no index begins with {column}, so every lookup scans {table}"
                )
            }
            Self::Scans {
                table,
                column,
                of_type: Some(of_type),
                ..
            } => write!(
                out,
                "{column} has the type {of_type}, in which no index finds text, so every lookup \
                scans {table}"
            ),
            Self::QueueFull { percent, holder } => write!(
                out,
                "the queue of notifications is {percent} % full, so saves do not wake the daemon, \
                which looks every sync.poll_interval; a session that listens and never reads holds \
                it up, probably {}",
                holder.as_deref().unwrap_or(NOT_SHOWN)
            ),
            Self::Unpublishable { table, .. } => {
                write!(
                    out,
                    "the table {table} is published without a replica identity, so \
                    PostgreSQL refuses every update of it"
                )
            }
            Self::PublishedInPart { table, publication } => write!(
                out,
                "the publication {publication} has a row filter or column list for {table} that \
                does not fit its replica identity, so PostgreSQL refuses every update of it"
            ),
            Self::Unlogged { table } => write!(
                out,
                "the table {table} is UNLOGGED, so a crash of the server empties it"
            ),
            Self::Generated { table, column } => write!(
                out,
                "{column} of {table} is GENERATED, so PostgreSQL computes it and it is left out"
            ),
            Self::CutsOff { table, column } => write!(
                out,
                "{column} of {table} has the type name, which cuts off text after 63 bytes, so it \
                is left out"
            ),
            Self::NoNumber {
                table,
                column,
                of_type,
            } => write!(
                out,
                "{column} of {table} has the type {of_type}, which holds no plain number, so it is \
                left out"
            ),
            Self::NoTime {
                table,
                column,
                of_type,
            } => write!(
                out,
                "{column} of {table} has the type {of_type}, which is no timestamp, so no time is \
                written there"
            ),
            Self::Untrusted { objects } => write!(
                out,
                "in the schema agent_sync, expected objects of a superuser or of the owner of the \
                tables, found {objects}; nothing of it was used"
            ),
            Self::ForeignType {
                table,
                column,
                of_type,
                owner,
                ..
            } => write!(
                out,
                "{column} of {table} has the type {of_type} of the role {owner}, whose code would \
                run with the rights of others"
            ),
            Self::Lacks { parts } => {
                write!(
                    out,
                    "the install lacks {}; the commands need them, the daemon does not",
                    parts.join(", ")
                )
            }
            Self::NotUnique { table, column, .. } => write!(
                out,
                "{table} has no unique index on {column}; agents that share a slug are reported as \
                ambiguous and not synced"
            ),
            Self::CollationChanged {
                table,
                column,
                collation,
                recorded,
                actual,
            } => write!(
                out,
                "the collation {} of {column} in {table} had version {recorded} when its indexes \
                were made and has {actual} now, so no index is used to find a slug there",
                collation.as_deref().unwrap_or(DEFAULT_COLLATION)
            ),
            Self::PreparedTransactions { max } => write!(
                out,
                "max_prepared_transactions is {max}, and PostgreSQL refuses to prepare a \
                transaction that notifies"
            ),
            Self::OtherNotify { installed } => write!(
                out,
                "capture.notify is {}, and the install was made with {installed}",
                !installed
            ),
            Self::HistoryWithoutCause => out.write_str(
                "history.enabled is true, and the install was made without it, so the history \
                cannot tell who caused a write",
            ),
            Self::Superuser { role } => write!(
                out,
                "the role {role} is a superuser, and code of the owners of the tables runs with \
                its rights"
            ),
            Self::LendsRights {
                function,
                owner,
                table,
                table_owner,
            } => write!(
                out,
                "{function} belongs to {owner}, and the owner of {table}, {table_owner}, can act \
                with the rights of that role through it"
            ),
        }
    }
}
