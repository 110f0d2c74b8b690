//! Putting the capture into a database and taking it out again (I6).
//!
//! The work is done by `sql/*.sql`, which psql can run just as well; here they are put in one transaction and told the
//! names of the tables. Invariant: what has to change is decided in SQL, so every way to install comes to the same.

use std::time::Duration;

use postgres_types::Type;
use serde_json::json;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error};

use crate::settings::{AgentsTable, ConfigurationsTable};
use crate::store::identifier::Literal;
use crate::store::{StoreError, within};

/// The steps of the schema, in the order of their versions.
const SCHEMA: &[&str] = &[include_str!("../../sql/0001_schema.sql")];
const ATTACH: &str = include_str!("../../sql/attach.sql");
const UNINSTALL: &str = include_str!("../../sql/uninstall.sql");

/// The version of the schema that this program works with.
pub const VERSION: i32 = 1;

/// How often a lock that is held by others is tried for, and how long others get in between.
const ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(500);

/// What an install or uninstall came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// Something was changed.
    Changed,
    /// Everything was as it should be, and nothing was touched.
    Nothing,
}

/// The names that the triggers are made for, as `sql/attach.sql` wants them.
fn tables(
    agents: &AgentsTable,
    configurations: &ConfigurationsTable,
    capture_configurations: bool,
) -> String {
    json!({
        "agents": {
            "schema": agents.schema,
            "table": agents.table,
            "columns": {
                "slug": agents.columns.slug,
                "name": agents.columns.name,
                "system_prompt": agents.columns.system_prompt,
                "agent_image": agents.columns.agent_image,
                "voice_settings": agents.columns.voice_settings,
            },
        },
        "configurations": {
            "schema": configurations.schema,
            "table": configurations.table,
            "columns": {
                "agent_slug": configurations.columns.agent_slug,
                "provider_config": configurations.columns.provider_config,
            },
        },
        "capture_configurations": capture_configurations,
    })
    .to_string()
}

/// The whole install as SQL that needs nothing but an SQL editor.
pub fn script(
    agents: &AgentsTable,
    configurations: &ConfigurationsTable,
    capture_configurations: bool,
) -> String {
    format!(
        "BEGIN;\n\n-- What the tables and columns are called here.\n\
         SELECT pg_catalog.set_config('agent_sync.tables',{}, true);\n\n{}\n{ATTACH}\nCOMMIT;\n",
        Literal(&tables(agents, configurations, capture_configurations)),
        SCHEMA.join("\n"),
    )
}

/// Installs, in one transaction.
pub async fn install(
    client: &Client,
    patience: Duration,
    agents: &AgentsTable,
    configurations: &ConfigurationsTable,
    capture_configurations: bool,
) -> Result<Done, StoreError> {
    let tables = tables(agents, configurations, capture_configurations);
    let steps: Vec<&str> = SCHEMA.iter().copied().chain([ATTACH]).collect();
    transact(client, patience, &tables, &steps).await
}

/// Takes everything out, in one transaction.
pub async fn uninstall(client: &Client, patience: Duration) -> Result<Done, StoreError> {
    transact(client, patience, "", &[UNINSTALL]).await
}

/// Runs the steps, and again when a lock could not be had at once: a long transaction holds one of the tables.
async fn transact(
    client: &Client,
    patience: Duration,
    tables: &str,
    steps: &[&str],
) -> Result<Done, StoreError> {
    let mut attempt = 1;
    loop {
        match within(patience, once(client, tables, steps)).await {
            Err(StoreError::Postgres(error))
                if attempt < ATTEMPTS && error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) =>
            {
                attempt += 1;
                tokio::time::sleep(PAUSE).await;
            }
            outcome => return outcome,
        }
    }
}

async fn once(client: &Client, tables: &str, steps: &[&str]) -> Result<Done, Error> {
    client.batch_execute("BEGIN").await?;
    let worked = async {
        let name = "SELECT pg_catalog.set_config('agent_sync.tables', $1, true)";
        client.query_typed(name, &[(&tables, Type::TEXT)]).await?;
        for step in steps {
            client.batch_execute(step).await?;
        }
        // A transaction that changed nothing was never given a number.
        let unchanged = "SELECT pg_catalog.pg_current_xact_id_if_assigned() IS NULL";
        let unchanged: bool = client.query_typed_one(unchanged, &[]).await?.try_get(0)?;
        client.batch_execute("COMMIT").await?;
        Ok(if unchanged { Done::Nothing } else { Done::Changed })
    };
    let outcome = worked.await;
    if outcome.is_err() {
        client.batch_execute("ROLLBACK").await?;
    }
    outcome
}
