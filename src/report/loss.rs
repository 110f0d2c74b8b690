//! The changes and roles that an uninstall drops for good.

use tokio_postgres::Row;
use tokio_postgres::error::SqlState;

use crate::install::{self, Plan};
use crate::pg::{Db, QueryError};

/// The losses of an uninstall.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// The number of agents with changes that are not in sync yet; `None` if this role cannot read
    /// it.
    pub pending: Option<i64>,
    /// The roles that an install created.
    pub roles: Vec<String>,
}

/// Reads the losses; `None` if nothing is installed. The install is proven first, because a foreign
/// view with the name of a table of agent-sync would run foreign code. The transaction is rolled
/// back.
pub async fn loss(db: &Db, plan: &Plan<'_>) -> Result<Option<Loss>, QueryError> {
    let loss = async {
        install::prove(db, plan).await?;
        read(db).await
    };
    let loss = loss.await;
    db.batch("ROLLBACK").await?;
    loss
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
    if outbox && let Some(rows) = readable(db, PENDING).await? {
        loss.pending = rows.first().map(|row| row.try_get(0)).transpose()?;
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

/// An install of before the tenants has no column for them.
const PENDING: &str = "SELECT pg_catalog.count(DISTINCT (pg_catalog.to_jsonb(o)
      OPERATOR(pg_catalog.->>) 'tenant', o.slug)) FROM agent_sync.outbox o";

/// The roles with the comment that an install gives to the roles it creates; `sql/uninstall.sql`
/// uses the same test.
fn created_roles() -> String {
    format!(
        "SELECT r.name FROM ({}) AS r
         WHERE pg_catalog.shobj_description(r.oid, 'pg_authid')
             = 'agent-sync: the role of the daemon; made by \"agent-sync install --role\".'
         ORDER BY 1",
        install::ROLES
    )
}
