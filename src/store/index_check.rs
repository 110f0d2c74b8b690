//! The check of the indexes on the slugs: a sample of the rows is looked up by index (G14).

use postgres_types::Type;
use tokio_postgres::error::SqlState;

use super::{Layout, finding, finding::Finding, queries};
use crate::pg::{Db, QueryError};

/// The findings about the columns and their indexes.
pub(super) async fn columns(db: &Db, layout: &Layout) -> Result<Vec<Finding>, QueryError> {
    let mut findings = layout.column_findings.clone();
    findings.extend(misses(db, layout).await?);
    Ok(findings)
}

/// Whether the indexes of the slugs find a sample of the rows.
async fn misses(db: &Db, layout: &Layout) -> Result<Vec<Finding>, QueryError> {
    let (agents, configurations) = (&layout.agents, &layout.configurations);
    let slug = (&agents.table, &agents.slug.name, agents.lookup("x"));
    let agent_slug = (
        &configurations.table,
        &configurations.agent_slug.name,
        configurations.lookup("x"),
    );
    let slug = Some(slug).filter(|_| agents.slug_is_indexed);
    let agent_slug = Some(agent_slug).filter(|_| configurations.agent_slug_is_indexed);
    db.batch(queries::BY_INDEX).await?;
    let found = async {
        let mut findings = Vec::new();
        for (table, column, lookup) in slug.into_iter().chain(agent_slug) {
            let query = queries::index_misses(table, column, &lookup);
            let names = [(table as _, Type::TEXT), (column as _, Type::TEXT)];
            if let Some(row) = db.opt(&query, &names).await? {
                let (table, column) = (row.try_get(0)?, row.try_get(1)?);
                findings.push(finding::Column::IndexMisses { table, column }.into());
            }
        }
        Ok(findings)
    };
    let found = found.await;
    let ended = db.batch("ROLLBACK").await;
    match found {
        // Another check names the privileges that are missing.
        Err(QueryError::Postgres(error))
            if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) =>
        {
            ended.map(|()| Vec::new())
        }
        found => found.and_then(|found| ended.map(|()| found)),
    }
}
