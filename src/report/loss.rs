//! The changes and roles that an uninstall drops for good, and the changes that an install for
//! other tables leaves.

use tokio_postgres::Row;
use tokio_postgres::error::SqlState;

use crate::install::{self, Plan};
use crate::pg::{Db, QueryError};
use crate::show::count;

/// The losses of an uninstall.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// The number of agents with changes that are not in sync yet; `None` if this role cannot read
    /// it.
    pub pending: Option<i64>,
    /// The roles that an install created.
    pub roles: Vec<String>,
}

/// Reads the losses; `None` if nothing is installed. The install is proven first, because a view of
/// others with the name of a table of agent-sync would run code of others. The transaction is
/// rolled back.
pub async fn loss(db: &Db, plan: &Plan<'_>) -> Result<Option<Loss>, QueryError> {
    let loss = async {
        install::prove(db, plan).await?;
        read(db).await
    };
    let loss = loss.await;
    db.batch("ROLLBACK").await?;
    loss
}

/// The tables that an install leaves for others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// The tables that it serves now: the agents and the configurations.
    pub served: (String, String),
    /// The number of agents with changes there that are not in sync yet; `None` if this role cannot
    /// read it.
    pub pending: Option<i64>,
}

/// Reads what the plan leaves; `None` if the install serves its tables already, or there is none.
/// The transaction is rolled back.
pub async fn left(db: &Db, plan: &Plan<'_>) -> Result<Option<Left>, QueryError> {
    let left = async {
        install::prove(db, plan).await?;
        db.batch("SET LOCAL search_path = pg_catalog, pg_temp")
            .await?;
        let there = db.one(THERE, &[]).await?;
        if !there.try_get::<_, bool>(1)? {
            return Ok(None);
        }
        let served = readable(db, SERVED).await?.unwrap_or_default();
        let Some(served) = served.first() else {
            return Ok(None);
        };
        Ok(Some(Left {
            served: (served.try_get(0)?, served.try_get(1)?),
            pending: pending(db).await?,
        }))
    };
    let left = left.await;
    db.batch("ROLLBACK").await?;
    left
}

/// The sentence on changes that are not in sync, up to what becomes of them.
pub fn not_in_sync(pending: Option<i64>) -> Option<String> {
    match pending {
        Some(0) => None,
        Some(1) => Some("1 change that is not yet in sync is".to_owned()),
        Some(pending) => Some(format!(
            "{} changes that are not yet in sync are",
            count(pending)
        )),
        None => Some("how many changes are not yet in sync is not known; they are".to_owned()),
    }
}

async fn pending(db: &Db) -> Result<Option<i64>, QueryError> {
    let Some(rows) = readable(db, PENDING).await? else {
        return Ok(None);
    };
    Ok(rows.first().map(|row| row.try_get(0)).transpose()?)
}

async fn read(db: &Db) -> Result<Option<Loss>, QueryError> {
    let there = db.one(THERE, &[]).await?;
    let (schema, outbox, roles): (bool, bool, bool) =
        (there.try_get(0)?, there.try_get(1)?, there.try_get(2)?);
    if !schema {
        return Ok(None);
    }
    let mut loss = Loss {
        pending: None,
        roles: Vec::new(),
    };
    if outbox {
        loss.pending = pending(db).await?;
    }
    if roles && let Some(rows) = readable(db, &created_roles()).await? {
        loss.roles = rows
            .iter()
            .map(|row| row.try_get(0))
            .collect::<Result<_, _>>()?;
    }
    Ok(Some(loss))
}

/// The rows of a query, or `None` if the role may not read them or a part of the install differs.
async fn readable(db: &Db, query: &str) -> Result<Option<Vec<Row>>, QueryError> {
    db.batch("SAVEPOINT asking").await?;
    match db.all(query, &[]).await {
        Ok(answer) => Ok(Some(answer)),
        Err(QueryError::Postgres(error))
            if [
                SqlState::INSUFFICIENT_PRIVILEGE,
                SqlState::UNDEFINED_COLUMN,
                SqlState::UNDEFINED_TABLE,
            ]
            .iter()
            .any(|known| error.code() == Some(known)) =>
        {
            db.batch("ROLLBACK TO SAVEPOINT asking").await?;
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Whether the proof found the schema, and which of its tables exist.
const THERE: &str = "SELECT pg_catalog.current_setting('agent_sync.proven') NOT LIKE '0 %',
    pg_catalog.to_regclass('agent_sync.outbox') IS NOT NULL,
      pg_catalog.to_regclass('agent_sync.role') IS NOT NULL";

/// The tables that the install serves, if they still have its triggers and the plan names others;
/// `sql/guard.sql` asks the same.
const SERVED: &str = "
    SELECT s.agents, s.configurations
    FROM (SELECT format('%I.%I', coalesce(i.tables #>> '{agents,schema}', 'public'),
                                 coalesce(i.tables #>> '{agents,table}', 'agents')) AS agents,
                 format('%I.%I', coalesce(i.tables #>> '{configurations,schema}', 'public'),
                                 coalesce(i.tables #>> '{configurations,table}',
                                          'agent_configurations')) AS configurations,
                 current_setting('agent_sync.agents') AS asked_agents,
                 current_setting('agent_sync.configurations') AS asked_configurations
          FROM agent_sync.install i) s
    WHERE (s.agents, s.configurations) <> (s.asked_agents, s.asked_configurations)
      AND EXISTS (
        SELECT FROM pg_trigger t
        JOIN pg_proc f ON f.oid = t.tgfoid
        JOIN pg_namespace n ON n.oid = f.pronamespace
        WHERE n.nspname = 'agent_sync' AND f.proname IN ('capture_agent', 'capture_configuration')
          AND t.tgparentid = 0
          AND t.tgrelid IN (to_regclass(s.agents), to_regclass(s.configurations))
          AND t.tgrelid IS DISTINCT FROM to_regclass(s.asked_agents)
          AND t.tgrelid IS DISTINCT FROM to_regclass(s.asked_configurations))";

/// An install of before the tenants has no column for them.
const PENDING: &str = "SELECT pg_catalog.count(DISTINCT (pg_catalog.to_jsonb(o)
      OPERATOR(pg_catalog.->>) 'tenant', o.slug)) FROM agent_sync.outbox o";

/// The roles with the comment that an install gives to the roles it creates; `sql/uninstall.sql`
/// uses the same test.
fn created_roles() -> String {
    format!(
        "SELECT r.name FROM ({}) AS r
         WHERE pg_catalog.shobj_description(r.oid, 'pg_authid')
             IN ('agent-sync: the role of the daemon; made by \"agent-sync install --role\".',
                 'agent-sync: a monitoring role; made by \"agent-sync install --monitor\".')
         ORDER BY 1",
        install::ROLES
    )
}
