//! The check of the indexes on the slugs: a sample of the rows is looked up by index (G14).

use postgres_types::Type;

use super::queries::{self, KeyColumns};
use super::{Layout, MayRead, finding, finding::Finding};
use crate::pg::{Db, Parameter, QueryError, told};

/// The findings about the columns and their indexes. Without the permission, those of the catalog
/// alone.
pub(super) async fn columns(
    db: &Db,
    layout: &Layout,
    may_read: Option<MayRead>,
) -> Result<Vec<Finding>, QueryError> {
    let mut findings = layout.column_findings.clone();
    if let Some(may_read) = may_read {
        findings.extend(misses(db, layout, may_read).await?);
        findings.extend(without_tenant(db, layout, may_read).await?);
    }
    Ok(findings)
}

/// Whether configurations have no tenant, where tenants are set (G14). The table is scanned as far
/// as the first of them, and only if its column may be null.
async fn without_tenant(
    db: &Db,
    layout: &Layout,
    may_read: MayRead,
) -> Result<Option<Finding>, QueryError> {
    let Some(query) = queries::lack_tenant(&layout.configurations, may_read) else {
        return Ok(None);
    };
    let configurations = &layout.configurations;
    let column = configurations.tenant.as_ref().map(|tenant| &tenant.column);
    let names: [Parameter<'_>; 2] = [
        (&configurations.table, Type::TEXT),
        (&column.map(|column| &*column.name), Type::TEXT),
    ];
    match db.opt(&query, &names).await {
        Err(error) if error.is_unprivileged() => Ok(None),
        Err(error) => Err(error),
        Ok(None) => Ok(None),
        Ok(Some(row)) => {
            let (table, column) = (told(&row, 0)?, told(&row, 1)?);
            Ok(Some(finding::Column::NoTenant { table, column }.into()))
        }
    }
}

/// Whether the indexes of the slugs find a sample of the rows.
async fn misses(db: &Db, layout: &Layout, may_read: MayRead) -> Result<Vec<Finding>, QueryError> {
    let (agents, configurations) = (&layout.agents, &layout.configurations);
    let of_agent = agents.is("x", "given.tenant", "given.slug");
    let of_configuration = configurations.is("x", "given.tenant", "given.slug");
    let agents = agents.key_is_indexed().then_some(KeyColumns {
        table: &agents.table,
        slug: &agents.slug.name,
        tenant: agents.tenant.as_ref(),
        is: &of_agent,
    });
    let configurations = configurations.key_is_indexed.then_some(KeyColumns {
        table: &configurations.table,
        slug: &configurations.agent_slug.name,
        tenant: configurations.tenant.as_ref(),
        is: &of_configuration,
    });
    db.batch(queries::BY_INDEX).await?;
    let found = async {
        let mut findings = Vec::new();
        for key in agents.into_iter().chain(configurations) {
            let query = queries::index_misses(key, may_read);
            let names: [Parameter<'_>; 2] = [(&key.table, Type::TEXT), (&key.slug, Type::TEXT)];
            if let Some(row) = db.opt(&query, &names).await? {
                let (table, column) = (told(&row, 0)?, told(&row, 1)?);
                findings.push(finding::Column::IndexMisses { table, column }.into());
            }
        }
        Ok(findings)
    };
    let found = found.await;
    let ended = db.batch("ROLLBACK").await;
    match found {
        Err(error) if QueryError::is_unprivileged(&error) => ended.map(|()| Vec::new()),
        found => found.and_then(|found| ended.map(|()| found)),
    }
}
