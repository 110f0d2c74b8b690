//! Other installs of the database that would do the work of this one (T6).

use postgres_types::Type;

use super::finding::{Finding, Install};
use super::queries;
use crate::pg::identifier::Quoted;
use crate::pg::{Db, Parameter, QueryError, told};
use crate::settings::Database;

/// The installs that serve the same configurations, or have the same locks.
pub(super) async fn rivals(db: &Db, database: &Database) -> Result<Vec<Finding>, QueryError> {
    let (table, agents) = (&database.configurations, &database.agents);
    let quoted = format!("{}.{}", Quoted(&table.schema), Quoted(&table.table));
    let agents = format!("{}.{}", Quoted(&agents.schema), Quoted(&agents.table));
    let tables: [Parameter<'_>; 2] = [(&quoted, Type::TEXT), (&agents, Type::TEXT)];
    let rows = db.all(&queries::rivals(), &tables).await?;
    let mut findings = Vec::new();
    for row in &rows {
        let (schema, table): (String, Option<String>) = (told(row, 0)?, told(row, 1)?);
        findings.push(match table {
            Some(table) => Install::Rival { schema, table }.into(),
            None => Install::SharedLocks(schema).into(),
        });
    }
    Ok(findings)
}
