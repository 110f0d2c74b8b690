//! The check of the indexes on the slugs: a sample of the rows is looked up by index (G14).

use postgres_types::Type;
use tokio_postgres::error::SqlState;

use super::{Layout, finding, finding::Finding, queries};
use crate::pg::identifier::plain;
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
    let looked_up = [
        (
            agents.slug_is_indexed,
            &agents.table,
            &agents.slug.name,
            agents.lookup("b"),
        ),
        (
            configurations.agent_slug_is_indexed,
            &configurations.table,
            &configurations.agent_slug.name,
            configurations.lookup("b"),
        ),
    ];
    db.batch(queries::BY_INDEX).await?;
    let found = async {
        let mut findings = Vec::new();
        for (_, table, column, lookup) in looked_up.iter().filter(|(is_indexed, ..)| *is_indexed) {
            let query = queries::index_misses(table, column, lookup);
            let misses: Option<String> = db.opt_value(&query, &[(table, Type::TEXT)]).await?;
            findings.extend(misses.map(|table| {
                let column = plain(&column.trim_matches('"').replace("\"\"", "\""));
                finding::Column::IndexMisses { table, column }.into()
            }));
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
