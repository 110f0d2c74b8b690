//! Installs the capture in a database and removes it (I6).
//!
//! `sql/*.sql` does the work, and psql can run it as well; this module puts the files into one
//! transaction and passes the names of the tables. Invariant: SQL decides about the changes, so
//! every way to install has the same result.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use postgres_types::Type;
use serde_json::json;
use tokio_postgres::error::{DbError, SqlState};

use crate::pg::identifier::Literal;
use crate::pg::{Db, Parameter, QueryError};
use crate::settings::{AgentsTable, ConfigurationsTable, Database, InstallSchema, Settings};

/// The steps of an install: the names, the proof that no object of others is in the way, the guard,
/// the numbered files of the schema with the repair of its tables before and after them, the
/// capture, and the role.
const STEPS: &[&str] = &[
    NAMES,
    PROOF,
    include_str!("../../sql/guard.sql"),
    MEND,
    include_str!("../../sql/0001_schema.sql"),
    MEND,
    include_str!("../../sql/capture.sql"),
    include_str!("../../sql/tables.sql"),
    include_str!("../../sql/attach.sql"),
    GRANT,
];
const PREFIX: &str = include_str!("../../sql/prefix.sql");
const GRANT: &str = include_str!("../../sql/grant.sql");
const NAMES: &str = include_str!("../../sql/names.sql");
const PROOF: &str = include_str!("../../sql/proof.sql");
const MEND: &str = include_str!("../../sql/mend.sql");
const UNINSTALL: &str = include_str!("../../sql/uninstall.sql");

/// The version of the schema that this program supports.
pub const VERSION: i32 = 1;

/// The number of attempts to get a lock, and the pause between two attempts, in which other
/// sessions get it.
const ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(500);

/// The result of an install or uninstall.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// The database was changed.
    Changed,
    /// Nothing had to be changed.
    Nothing,
}

/// The parameters of an install.
#[derive(Debug, Clone, Copy)]
pub struct Plan<'a> {
    /// The schema of the install.
    pub schema: &'a InstallSchema,
    /// The table of the agents.
    pub agents: &'a AgentsTable,
    /// The table of the configurations.
    pub configurations: &'a ConfigurationsTable,
    /// Whether the outbox records the session of each change, for the history.
    pub history: bool,
    /// Whether configurations are captured as well (C2).
    pub capture_configurations: bool,
    /// Whether the capture notifies a daemon that sleeps (C6).
    pub notify: bool,
    /// The role of the daemon, which gets its privileges. Roles of earlier installs keep theirs.
    pub role: Option<&'a str>,
    /// The monitoring role, which gets its privileges.
    pub monitor: Option<&'a str>,
    /// The action where the install serves other tables.
    pub on_other_tables: OnOtherTables,
}

/// The action of an install that is asked for other tables than those that it serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnOtherTables {
    /// Change nothing and fail.
    Refuse,
    /// Serve these tables in place of the former ones.
    Move,
}

/// The settings that the steps change until the end of the transaction. The transaction of a
/// migration goes on with its own.
const SET_BY_STEPS: [&str; 4] = [
    "search_path",
    "lock_timeout",
    "quote_all_identifiers",
    "standard_conforming_strings",
];

impl<'a> Plan<'a> {
    /// The plan of these settings for this database.
    pub fn of(database: &'a Database, settings: &Settings, role: Option<&'a str>) -> Self {
        Self {
            schema: &database.install.schema,
            agents: &database.agents,
            configurations: &database.configurations,
            history: settings.history.enabled,
            capture_configurations: settings.capture.configurations,
            notify: settings.capture.notify,
            role,
            monitor: None,
            on_other_tables: OnOtherTables::Refuse,
        }
    }

    /// The names of tables and columns, and the flags of the capture and the history, as
    /// `sql/names.sql` reads them.
    fn tables(&self) -> String {
        let (agents, configurations) = (self.agents, self.configurations);
        let read: BTreeMap<_, _> = agents.columns.named().collect();
        let written: BTreeMap<_, _> = configurations.columns.named().collect();
        json!({
            "agents": {
                "schema": agents.schema,
                "table": agents.table,
                "columns": read,
            },
            "configurations": {
                "schema": configurations.schema,
                "table": configurations.table,
                "columns": written,
            },
            "capture_configurations": self.capture_configurations,
            "notify": self.notify,
            "history": self.history,
        })
        .to_string()
    }

    /// The complete install as SQL for any editor. It is one statement, so it is atomic, and it
    /// fits into the transaction of a migration tool.
    pub fn script(&self) -> String {
        self.script_of(&[&[PREFIX], STEPS].concat())
    }

    /// The complete uninstall as SQL, like [`Plan::script`].
    pub fn script_of_uninstall(&self) -> String {
        self.script_of(&[NAMES, PROOF, UNINSTALL])
    }

    fn script_of(&self, steps: &[&str]) -> String {
        // Before the first lookup of a type or a function, and before the first literal of a step
        // with a backslash.
        let mut body =
            "PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);\n\
            PERFORM pg_catalog.set_config('standard_conforming_strings', 'on', true);\n"
                .to_owned();
        let mut before = String::new();
        let mut after = String::new();
        for name in SET_BY_STEPS {
            let _ = writeln!(
                before,
                "    {name}_before CONSTANT pg_catalog.text := \
                pg_catalog.current_setting('{name}');"
            );
            let _ = writeln!(
                after,
                "PERFORM pg_catalog.set_config('{name}', {name}_before, true);"
            );
        }
        let step = |step: &str| {
            let step = self.schema.localize(step);
            format!("\nEXECUTE $agent_sync_step$\n{step}$agent_sync_step$;\n")
        };
        // The prefix is made before the settings that have it.
        let (first, steps) = match steps {
            [first, rest @ ..] if *first == PREFIX => (step(first), rest),
            _ => (String::new(), steps),
        };
        body.push_str(&first);
        for (name, value) in self.settings() {
            let (name, value) = (self.schema.localize(name), Literal(&value));
            let _ = writeln!(
                body,
                "PERFORM pg_catalog.set_config('{name}', {value}, true);"
            );
        }
        body.extend(steps.iter().map(|text| step(text)));
        let quote = quote_of(&body);
        format!(
            "-- One statement, which needs no transaction around it and does not mind one.\n\
            DO {quote}\nDECLARE\n{before}BEGIN\n{body}\n{after}END\n{quote};\n"
        )
    }

    /// The settings that pass the plan to the steps.
    fn settings(&self) -> [(&'static str, String); 5] {
        [
            ("agent_sync.version", VERSION.to_string()),
            ("agent_sync.tables", self.tables()),
            ("agent_sync.role", self.role.unwrap_or("").to_owned()),
            ("agent_sync.monitor", self.monitor.unwrap_or("").to_owned()),
            (
                "agent_sync.move",
                (self.on_other_tables == OnOtherTables::Move).to_string(),
            ),
        ]
    }
}

/// A dollar quote that the text does not contain, because names of tables, columns and roles may
/// contain anything.
fn quote_of(text: &str) -> String {
    let mut quote = "$agent_sync_install$".to_owned();
    for number in 1_u64.. {
        if !text.contains(&quote) {
            break;
        }
        quote = format!("$agent_sync_install_{number}$");
    }
    quote
}

/// The roles that the steps of an install or uninstall have found.
#[derive(Debug, Default)]
struct RolesOfSteps {
    /// The noted roles before an uninstall.
    noted: Vec<String>,
    /// Those that an install reports.
    reported: ReportedRoles,
}

/// The roles that an install reports.
#[derive(Debug, Default)]
pub struct ReportedRoles {
    /// Those that were given nothing, because they only bear the name of a former role of a daemon.
    pub strangers: Vec<String>,
    /// Those that have lost privileges in the schema, because they are no role of a daemon.
    pub closed: Vec<String>,
}

/// Installs, in one transaction.
pub async fn install(db: &Db, plan: &Plan<'_>) -> Result<(Done, ReportedRoles), QueryError> {
    db.batch(PREFIX).await?;
    let (done, roles) = transact(db, &plan.settings(), STEPS).await?;
    Ok((done, roles.reported))
}

/// Begins a transaction and proves that the schema `agent_sync` is an install of agent-sync, and
/// that reading it runs no code of others. The caller ends the transaction.
pub async fn prove(db: &Db, plan: &Plan<'_>) -> Result<(), QueryError> {
    begin(db, &plan.settings()).await?;
    db.batch(NAMES).await?;
    db.batch(PROOF).await
}

/// The noted roles after an uninstall.
#[derive(Debug, Default)]
pub struct Roles {
    /// The roles that an install had created, now dropped.
    pub dropped: Vec<String>,
    /// The roles that existed before or are still needed elsewhere; their grants are revoked.
    pub kept: Vec<String>,
}

/// Uninstalls, in one transaction.
pub async fn uninstall(db: &Db, plan: &Plan<'_>) -> Result<(Done, Roles), QueryError> {
    let (done, roles) = transact(db, &plan.settings(), &[NAMES, PROOF, UNINSTALL]).await?;
    let before = roles.noted;
    let kept: Vec<String> = db.column(KEPT, &[(&before, Type::TEXT_ARRAY)]).await?;
    let dropped = before
        .into_iter()
        .filter(|role| !kept.contains(role))
        .collect();
    Ok((done, Roles { dropped, kept }))
}

/// Without a proven schema, nothing is looked up in a schema that may have been created since.
const HAS_ROLES: &str = "
    SELECT current_setting('agent_sync.proven') NOT LIKE '0 %'
      AND to_regclass('agent_sync.role') IS NOT NULL";

/// The noted roles, as `sql/grant.sql` and `sql/uninstall.sql` recognise them, by their present
/// names.
pub const ROLES: &str = "
    SELECT DISTINCT p.name, p.oid
    FROM (SELECT r.name, (pg_catalog.to_jsonb(r) OPERATOR(pg_catalog.->>) 'oid')::pg_catalog.oid,
                 (pg_catalog.to_jsonb(r) OPERATOR(pg_catalog.->>) 'reads_only')::pg_catalog.bool
          FROM agent_sync.role r) AS r (name, oid, reads_only)
    CROSS JOIN LATERAL (
        SELECT p.oid, p.rolname::pg_catalog.text AS name FROM pg_catalog.pg_roles p
        WHERE (p.oid = r.oid OR p.rolname = r.name)
          AND (p.oid = r.oid AND p.rolname = r.name
               OR pg_catalog.has_table_privilege(
                   p.oid, pg_catalog.to_regclass('agent_sync.outbox'),
                   CASE WHEN r.reads_only THEN 'SELECT' ELSE 'DELETE' END))
        ORDER BY p.oid = r.oid DESC NULLS LAST LIMIT 1) AS p
    ORDER BY 1";

/// The roles that `sql/grant.sql` has given nothing, because they only bear the name of a former
/// role of a daemon.
const STRANGERS: &str = "
    SELECT unnest(current_setting('agent_sync.strangers')::text[])";

/// The roles from which `sql/grant.sql` has revoked privileges in the schema.
const CLOSED: &str = "SELECT unnest(current_setting('agent_sync.closed')::text[])";
const KEPT: &str =
    "SELECT p.rolname::text FROM pg_roles p WHERE p.rolname = ANY ($1::text[]) ORDER BY 1";

/// Runs the steps. Tries again after a lock conflict, because a long transaction may hold one of
/// the tables.
async fn transact(
    db: &Db,
    settings: &[(&str, String)],
    steps: &[&str],
) -> Result<(Done, RolesOfSteps), QueryError> {
    let mut attempt = 1;
    loop {
        match once(db, settings, steps).await {
            Err(QueryError::Postgres(error))
                if attempt < ATTEMPTS && error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) =>
            {
                attempt += 1;
                tokio::time::sleep(PAUSE).await;
            }
            outcome => return outcome,
        }
    }
}

/// Begins a transaction with the settings for the steps.
async fn begin(db: &Db, settings: &[(&str, String)]) -> Result<(), QueryError> {
    db.batch("BEGIN").await?;
    for (name, value) in settings {
        let name = db.schema().localize(name);
        let setting: [Parameter<'_>; 2] = [(&name, Type::TEXT), (value, Type::TEXT)];
        let set = "SELECT pg_catalog.set_config($1, $2, true)";
        db.all(set, &setting).await?;
    }
    Ok(())
}

async fn once(
    db: &Db,
    settings: &[(&str, String)],
    steps: &[&str],
) -> Result<(Done, RolesOfSteps), QueryError> {
    let worked = async {
        begin(db, settings).await?;
        let mut roles = RolesOfSteps::default();
        for step in steps {
            db.batch(step).await?;
            if *step == PROOF && db.value(HAS_ROLES, &[]).await? {
                roles.noted = db.column(ROLES, &[]).await?;
            }
            if *step == GRANT {
                roles.reported = ReportedRoles {
                    strangers: db.column(STRANGERS, &[]).await?,
                    closed: db.column(CLOSED, &[]).await?,
                };
            }
        }
        // A transaction without a change has no transaction number.
        let unchanged = "SELECT pg_catalog.pg_current_xact_id_if_assigned() IS NULL";
        let done = if db.value(unchanged, &[]).await? {
            Done::Nothing
        } else {
            Done::Changed
        };
        db.batch("COMMIT").await?;
        Ok((done, roles))
    };
    let outcome = worked.await;
    // A server that does not answer is not waited for twice.
    if let Err(QueryError::Postgres(_)) = outcome {
        db.batch("ROLLBACK").await?;
    }
    outcome
}

/// Whether a function of others, such as that of an event trigger, raised the error of an install.
/// The context names one call a line. The statements of `sql/*.sql` are in DO blocks, which
/// PostgreSQL calls `inline_code_block` in every language of its messages.
pub fn is_raised_by_a_function_of_others(db: &DbError) -> bool {
    const OURS: [&str; 3] = [
        "inline_code_block",
        "capture_agent",
        "capture_configuration",
    ];
    db.where_().is_some_and(|context| {
        context
            .lines()
            .any(|call| call.contains("PL/") && !OURS.iter().any(|name| call.contains(name)))
    })
}
