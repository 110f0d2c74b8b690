//! What keeps agent-sync from working in a database, or makes it miss something (G10): looked for
//! at every connect and in every sweep, and told with a remedy.
//!
//! Authority: the catalog. Nothing is tried out; privileges and policies are read, so a check
//! changes nothing, and all that is missing is found at once and not one error after the other.
//!
//! A finding that [is fatal](Finding::is_fatal) ends the attempt; it is made again, so what can
//! heal heals by itself. The others are told once, and the daemon goes on. The triggers are looked
//! after by `Store::capture_faults`.

use std::borrow::Cow;
use std::fmt::{self, Display};
use std::time::Duration;

use postgres_types::{ToSql, Type};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Row};

use super::identifier::plain;
use super::layout::Layout;
use super::{StoreError, queries, trust, within};
use crate::settings::Database;

/// The oldest server that has all that is needed, as `server_version_num` puts it.
const OLDEST: i32 = 140_000;

/// A session that PostgreSQL does not tell of.
const NOT_SHOWN: &str = "one that this role is not shown";

/// The collation that has no name of its own.
const DEFAULT_COLLATION: &str = "of the database";

/// What to do about objects of somebody else.
pub const STRANGERS: &str = "See who made it. If it is nobody's install, drop it: DROP SCHEMA \
    agent_sync CASCADE. If it is an install of your own, give what is named to the owner of the \
    tables: ALTER SCHEMA agent_sync OWNER TO …; ALTER TABLE … OWNER TO …;";

/// What to do about a daemon that is a superuser.
const ROLE_OF_ITS_OWN: &str = "Run `agent-sync install --role NAME` for this database, and let the \
    daemon connect as that role.";

/// What to do about a capture function that belongs to another role than its table.
const GIVE_AWAY: &str = "Run `agent-sync install` for this database, as a superuser or a role that \
    can act as both: it gives the function to the owner of the table.";

/// Something that was found.
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

/// Whether the server will do; to be asked before anything else, for the other checks need one that
/// does.
pub async fn server(client: &Client, patience: Duration) -> Result<Vec<Finding>, StoreError> {
    let row = within(patience, client.query_typed_one(queries::SERVER, &[])).await?;
    let (version, number): (String, i32) = (row.try_get(0)?, row.try_get(1)?);
    Ok(judge_server(
        version,
        number,
        row.try_get(2)?,
        row.try_get(3)?,
    ))
}

fn judge_server(version: String, number: i32, standby: bool, read_only: bool) -> Vec<Finding> {
    let too_old = (number < OLDEST).then_some(Finding::ServerTooOld { version });
    let unwritable = match (standby, read_only) {
        (true, _) => Some(Finding::Standby),
        (false, true) => Some(Finding::ReadOnly),
        (false, false) => None,
    };
    too_old.into_iter().chain(unwritable).collect()
}

/// The relations of the install that are gone: those that the daemon works with, or those that only
/// the commands read.
async fn missing_parts(
    client: &Client,
    patience: Duration,
    of_daemon: bool,
) -> Result<Vec<String>, StoreError> {
    let of_daemon: [(&(dyn ToSql + Sync), Type); 1] = [(&of_daemon, Type::BOOL)];
    let rows = within(
        patience,
        client.query_typed(queries::MISSING_PARTS, &of_daemon),
    )
    .await?;
    Ok(rows
        .iter()
        .map(|row| row.try_get(0))
        .collect::<Result<_, _>>()?)
}

/// Whether the install is there, whole, of the `expected` version, and open to the role along with
/// the two tables.
pub async fn install(
    client: &Client,
    patience: Duration,
    database: &Database,
    layout: &Layout,
    expected: i32,
) -> Result<Vec<Finding>, StoreError> {
    let missing = missing_parts(client, patience, true).await?;
    if missing.iter().any(|name| name == "agent_sync.install") {
        return Ok(vec![Finding::NotInstalled]);
    }
    // After it is known to be there, and before anything of it is used.
    if let Some(untrusted) = trust::owners(client, patience, database).await?.untrusted {
        return Ok(vec![untrusted]);
    }
    // What hides the record of the install has to be known before it is read.
    let hidden = own_rows(client, patience).await?.filter(Finding::is_fatal);
    if hidden.is_some() {
        return Ok(hidden
            .into_iter()
            .chain(privileges(client, patience, database, layout).await?)
            .collect());
    }
    // Then the version, for another version has other parts, which are no less whole for that.
    let mut findings = Vec::new();
    match record(client, patience).await? {
        Record::Closed => {}
        Record::Missing => findings.push(Finding::NoRecord),
        Record::Of { version, .. } if version != expected => {
            return Ok(vec![Finding::OtherVersion {
                found: version,
                expected,
            }]);
        }
        Record::Of { tables, .. } => findings.extend(other_tables(database, tables)),
    }
    if !missing.is_empty() {
        // An older install lacks what came later.
        if let Ok(row) = within(patience, client.query_typed_one(queries::INSTALL, &[])).await
            && row.try_get::<_, i32>(0)? < expected
        {
            return Ok(vec![Finding::OtherVersion {
                found: row.try_get(0)?,
                expected,
            }]);
        }
        findings.push(Finding::Incomplete { missing });
    }
    findings.extend(privileges(client, patience, database, layout).await?);
    let table: [(&(dyn ToSql + Sync), Type); 1] = [(&layout.configurations.table, Type::TEXT)];
    for row in within(patience, client.query_typed(&queries::rules(), &table)).await? {
        findings.push(Finding::HasRule {
            table: row.try_get(0)?,
            rule: row.try_get(1)?,
        });
    }
    findings.extend(publications(client, patience, layout).await?);
    findings.extend(types(client, patience, database, layout).await?);
    Ok(findings)
}

/// The columns whose types belong to strangers.
pub async fn types(
    client: &Client,
    patience: Duration,
    database: &Database,
    layout: &Layout,
) -> Result<Vec<Finding>, StoreError> {
    let (read, written) = (&database.agents.columns, &database.configurations.columns);
    let read: Vec<&str> = read.named().map(|(_, name)| name).collect();
    let written: Vec<&str> = written.named().map(|(_, name)| name).collect();
    let parameters: [(&(dyn ToSql + Sync), Type); 4] = [
        (&layout.agents.table, Type::TEXT),
        (&read, Type::TEXT_ARRAY),
        (&layout.configurations.table, Type::TEXT),
        (&written, Type::TEXT_ARRAY),
    ];
    let rows = within(
        patience,
        client.query_typed(&queries::foreign_types(), &parameters),
    )
    .await?;
    let finding = |row: &Row| {
        Ok(Finding::ForeignType {
            table: row.try_get(0)?,
            column: row.try_get(1)?,
            of_type: row.try_get(2)?,
            owner: row.try_get(3)?,
            table_owner: row.try_get(4)?,
        })
    };
    rows.iter().map(finding).collect()
}

/// The tables that a publication keeps the daemon from writing to.
pub async fn publications(
    client: &Client,
    patience: Duration,
    layout: &Layout,
) -> Result<Vec<Finding>, StoreError> {
    let table: [(&(dyn ToSql + Sync), Type); 1] = [(&layout.configurations.table, Type::TEXT)];
    let rows = within(patience, client.query_typed(queries::UNPUBLISHABLE, &table)).await?;
    let finding = |row: &Row| {
        Ok(Finding::Unpublishable {
            table: row.try_get(0)?,
            is_ours: row.try_get(1)?,
        })
    };
    rows.iter().map(finding).collect()
}

/// What the install says of itself.
enum Record {
    /// The role may not see it, which the check of its privileges says.
    Closed,
    /// There is none.
    Missing,
    /// The version of the schema, and the tables that the triggers were made for.
    Of {
        version: i32,
        tables: (String, String),
    },
}

async fn record(client: &Client, patience: Duration) -> Result<Record, StoreError> {
    match within(patience, client.query_typed_opt(queries::VERSION, &[])).await {
        Err(StoreError::Postgres(error))
            if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) =>
        {
            Ok(Record::Closed)
        }
        Ok(Some(row)) => {
            let tables = (
                name(row.try_get(1)?, row.try_get(2)?),
                name(row.try_get(3)?, row.try_get(4)?),
            );
            Ok(Record::Of {
                version: row.try_get(0)?,
                tables,
            })
        }
        Ok(None) => Ok(Record::Missing),
        Err(error) => Err(error),
    }
}

/// A table as a person writes it.
fn name(schema: &str, table: &str) -> String {
    format!("{}.{}", plain(schema), plain(table))
}

/// Whether the install was made for other tables than those of the settings.
fn other_tables(database: &Database, installed: (String, String)) -> Option<Finding> {
    let (agents, configurations) = (&database.agents, &database.configurations);
    let expected = (
        name(&agents.schema, &agents.table),
        name(&configurations.schema, &configurations.table),
    );
    (installed != expected).then_some(Finding::OtherTables {
        installed,
        expected,
    })
}

/// Whether the role is kept from rows of the tables of agent-sync.
async fn own_rows(client: &Client, patience: Duration) -> Result<Option<Finding>, StoreError> {
    let rows = within(patience, client.query_typed(queries::OWN_ROWS_HIDDEN, &[])).await?;
    let Some(first) = rows.first() else {
        return Ok(None);
    };
    let tables = rows
        .iter()
        .map(|row| row.try_get(0))
        .collect::<Result<_, _>>()?;
    Ok(Some(Finding::OwnRowsHidden {
        role: first.try_get(1)?,
        tables,
    }))
}

/// What a sweep looks for again, besides the server: whether the daemon still sees its own work,
/// and the record of an install of the `expected` version for the tables of the settings.
pub async fn own_tables(
    client: &Client,
    patience: Duration,
    database: &Database,
    expected: i32,
) -> Result<Option<Finding>, StoreError> {
    if let Some(hidden) = own_rows(client, patience).await?.filter(Finding::is_fatal) {
        return Ok(Some(hidden));
    }
    Ok(match record(client, patience).await? {
        Record::Closed => None,
        Record::Missing => Some(Finding::NoRecord),
        Record::Of { version: found, .. } if found != expected => {
            Some(Finding::OtherVersion { found, expected })
        }
        Record::Of { tables, .. } => other_tables(database, tables),
    })
}

/// What the role may not do and must, all at once.
async fn privileges(
    client: &Client,
    patience: Duration,
    database: &Database,
    layout: &Layout,
) -> Result<Option<Finding>, StoreError> {
    let needs = needs(database, layout);
    let schemas: Vec<_> = needs.iter().map(|need| need.schema.as_str()).collect();
    let relations: Vec<_> = needs.iter().map(|need| need.relation.as_deref()).collect();
    let columns: Vec<_> = needs.iter().map(|need| need.column.as_deref()).collect();
    let privileges: Vec<_> = needs.iter().map(|need| need.privilege).collect();
    let parameters: [(&(dyn ToSql + Sync), Type); 4] = [
        (&schemas, Type::TEXT_ARRAY),
        (&relations, Type::TEXT_ARRAY),
        (&columns, Type::TEXT_ARRAY),
        (&privileges, Type::TEXT_ARRAY),
    ];
    let rows = within(
        patience,
        client.query_typed(queries::MISSING_PRIVILEGES, &parameters),
    )
    .await?;
    let Some(first) = rows.first() else {
        return Ok(None);
    };
    Ok(Some(Finding::Unprivileged {
        role: first.try_get(2)?,
        missing: rows
            .iter()
            .map(|row| row.try_get(0))
            .collect::<Result<_, _>>()?,
        grants: rows
            .iter()
            .map(|row| row.try_get(1))
            .collect::<Result<_, _>>()?,
    }))
}

/// One privilege that the role must have: on a schema, on a relation in it, or on one of its
/// columns.
struct Need {
    schema: String,
    relation: Option<String>,
    /// Quoted, as the layout has it.
    column: Option<String>,
    privilege: &'static str,
}

/// What `sql/grant.sql` grants, as far as the daemon cannot do without.
fn needs(database: &Database, layout: &Layout) -> Vec<Need> {
    let (agents, configurations) = (&layout.agents, &layout.configurations);
    let mut needs = Vec::new();
    for schema in [
        "agent_sync",
        &database.agents.schema,
        &database.configurations.schema,
    ] {
        needs.push(Need {
            schema: schema.to_owned(),
            relation: None,
            column: None,
            privilege: "USAGE",
        });
    }
    for (relation, privileges) in [
        ("outbox", &["SELECT", "INSERT", "DELETE"][..]),
        ("problem", &["SELECT", "INSERT", "UPDATE", "DELETE"]),
        ("history", &["SELECT", "INSERT", "DELETE"]),
        ("install", &["SELECT"]),
        ("uncaptured", &["SELECT"]),
    ] {
        needs.extend(privileges.iter().map(|privilege| Need {
            schema: "agent_sync".to_owned(),
            relation: Some(relation.to_owned()),
            column: None,
            privilege,
        }));
    }
    let mut on = |schema: &str, relation: &str, privilege, columns: Vec<&str>| {
        needs.extend(columns.into_iter().map(|column| Need {
            schema: schema.to_owned(),
            relation: Some(relation.to_owned()),
            column: Some(column.to_owned()),
            privilege,
        }));
    };
    let noted = [
        "\"uncaptured_seen\"",
        "\"seal\"",
        "\"last_sync\"",
        "\"last_tried\"",
        "\"tries\"",
        "\"mapping\"",
    ];
    on("agent_sync", "install", "UPDATE", noted.to_vec());

    let mapped = agents.columns.present().map(|(_, column)| column);
    let read = std::iter::once(&agents.slug).chain(mapped);
    let read = read.map(|column| column.name.as_str()).collect();
    on(
        &database.agents.schema,
        &database.agents.table,
        "SELECT",
        read,
    );

    let mapped = configurations.columns.present();
    let written: Vec<&str> = mapped.map(|(_, column)| column.name.as_str()).collect();
    let place = [
        "\"ctid\"",
        "\"tableoid\"",
        "\"xmin\"",
        &configurations.agent_slug.name,
    ];
    let (schema, table) = (
        &database.configurations.schema,
        &database.configurations.table,
    );
    on(
        schema,
        table,
        "SELECT",
        place.into_iter().chain(written.iter().copied()).collect(),
    );
    let clocks = configurations
        .clocks
        .iter()
        .map(|column| column.name.as_str());
    on(
        schema,
        table,
        "UPDATE",
        written.into_iter().chain(clocks).collect(),
    );
    needs
}

/// What does not keep the daemon from working, and should be known.
pub async fn cautions(
    client: &Client,
    patience: Duration,
    layout: &Layout,
    notify: bool,
    history: bool,
) -> Result<Vec<Finding>, StoreError> {
    let tables: [(&(dyn ToSql + Sync), Type); 2] = [
        (&layout.agents.table, Type::TEXT),
        (&layout.configurations.table, Type::TEXT),
    ];
    let rows = within(patience, client.query_typed(queries::HIDDEN_ROWS, &tables)).await?;
    let mut findings = rows
        .iter()
        .map(|row| {
            Ok(Finding::RowsMayBeHidden {
                table: row.try_get(0)?,
                command: row.try_get(1)?,
                role: row.try_get(2)?,
            })
        })
        .collect::<Result<Vec<_>, StoreError>>()?;
    findings.extend(
        own_rows(client, patience)
            .await?
            .filter(|finding| !finding.is_fatal()),
    );
    for row in within(patience, client.query_typed(queries::UNLOGGED, &tables)).await? {
        findings.push(Finding::Unlogged {
            table: row.try_get(0)?,
        });
    }
    let row = within(
        patience,
        client.query_typed_one(queries::NOTIFICATION_QUEUE, &[]),
    )
    .await?;
    if row.try_get(0)? {
        findings.push(Finding::QueueFull {
            percent: row.try_get(1)?,
            holder: row.try_get(2)?,
        });
    }
    let row = within(patience, client.query_typed_one(queries::SERVER, &[])).await?;
    let max: i32 = row.try_get(4)?;
    if row.try_get(5)? {
        findings.push(Finding::Superuser {
            role: row.try_get(6)?,
        });
    }
    for row in within(patience, client.query_typed(queries::LENDS_RIGHTS, &tables)).await? {
        findings.push(Finding::LendsRights {
            function: row.try_get(0)?,
            owner: row.try_get(1)?,
            table: row.try_get(2)?,
            table_owner: row.try_get(3)?,
        });
    }
    findings.extend(layout.scans.iter().cloned());
    let parts = missing_parts(client, patience, false).await?;
    if !parts.is_empty() {
        findings.push(Finding::Lacks { parts });
    }
    if notify && max > 0 {
        findings.push(Finding::PreparedTransactions { max });
    }
    let row = within(
        patience,
        client.query_typed_one(queries::INSTALLED_NOTIFY, &[]),
    )
    .await?;
    let installed: bool = row.try_get(0)?;
    if installed != notify {
        findings.push(Finding::OtherNotify { installed });
    }
    if history
        && !within(patience, client.query_typed_one(queries::NOTES_CAUSE, &[]))
            .await?
            .try_get::<_, bool>(0)?
    {
        findings.push(Finding::HistoryWithoutCause);
    }
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_older_than_14_is_told_apart_from_one_that_will_do() {
        let old = judge_server("13.18".to_owned(), 130_018, false, false);
        assert_eq!(
            old,
            [Finding::ServerTooOld {
                version: "13.18".to_owned()
            }]
        );
        assert!(old[0].is_fatal() && old[0].to_string().contains("13.18"));
        assert_eq!(judge_server("14.0".to_owned(), 140_000, false, false), []);
    }

    #[test]
    fn a_standby_is_told_apart_from_a_primary_that_is_read_only() {
        assert_eq!(
            judge_server("16.1".to_owned(), 160_001, true, true),
            [Finding::Standby]
        );
        assert_eq!(
            judge_server("16.1".to_owned(), 160_001, false, true),
            [Finding::ReadOnly]
        );
    }

    #[test]
    fn a_newer_install_is_not_answered_by_installing_an_older_one() {
        let remedy = |found| Finding::OtherVersion { found, expected: 2 }.remedy();
        assert!(remedy(1).contains("agent-sync install"));
        assert!(remedy(3).contains("or a later one"));
    }
}
