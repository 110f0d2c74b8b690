//! The checks of a database (G10): faults that keep agent-sync from working, or make it miss
//! changes. [`install`] runs at every connect, [`own_tables`] and [`cautions`] run in every sweep,
//! and [`server()`], [`publications`] and [`types`] run in both.
//!
//! Authority: the catalog, and the record in `agent_sync.install`. No privilege is tested by its
//! use, so a check changes nothing and reports all faults at once. `Store::capture_faults` checks
//! the triggers.

mod record;
mod server;

use postgres_types::Type;
use record::{Record, record};
pub use server::server;
use tokio_postgres::{Error, Row};

use super::finding::{self, Finding};
use super::layout::Layout;
use super::privileges::{missing_privileges, others_may_write};
use super::rivals;
use super::{MayRead, Store, index_check, queries, trust};
use crate::pg::{Db, Parameter, QueryError, told};
use crate::settings::Database;

/// The relations of the install that are gone: those that the daemon works with, or those that only
/// the commands read.
async fn missing_parts(db: &Db, of_daemon: bool) -> Result<Vec<String>, QueryError> {
    db.column(queries::MISSING_PARTS, &[(&of_daemon, Type::BOOL)])
        .await
}

/// Whether the install is there, whole, of the `expected` version, and open to the role along with
/// the two tables; to the role of a daemon, or to one that [only reads](super::reads_only).
pub async fn install(
    db: &Db,
    database: &Database,
    layout: &Layout,
    expected: i32,
    reads_only: bool,
) -> Result<Vec<Finding>, QueryError> {
    let missing = missing_parts(db, true).await?;
    let own_record = db.schema().localize("agent_sync.install");
    if missing.iter().any(|name| *name == own_record) {
        return Ok(vec![finding::Install::NotInstalled.into()]);
    }
    // After it is known to be there, and before anything of it is used.
    if let Some(untrusted) = trust::owners(db, database).await?.untrusted {
        return Ok(vec![untrusted]);
    }
    // What hides the record of the install has to be known before it is read.
    let mut findings = Vec::from_iter(own_rows(db).await?.filter(Finding::is_fatal));
    if !findings.is_empty() {
        findings.extend(missing_privileges(db, database, layout, reads_only).await?);
        return Ok(findings);
    }
    // Then the version, for another version has other parts, which are no less whole for that.
    match record(db, database).await? {
        Record::Closed => {}
        Record::Missing => findings.push(finding::Install::NoRecord.into()),
        Record::Of { version, .. } if version != expected => {
            return Ok(vec![
                finding::Install::OtherVersion {
                    found: version,
                    expected,
                }
                .into(),
            ]);
        }
        Record::Of { other, .. } => findings.extend(other),
    }
    if !missing.is_empty() {
        // An older install lacks what came later.
        if let Ok(found) = db.value(queries::INSTALL, &[]).await
            && found < expected
        {
            return Ok(vec![
                finding::Install::OtherVersion { found, expected }.into(),
            ]);
        }
        findings.push(finding::Install::Incomplete(missing).into());
    }
    findings.extend(rivals::rivals(db, database).await?);
    findings.extend(missing_privileges(db, database, layout, reads_only).await?);
    findings.extend(rules(db, layout).await?);
    findings.extend(publications(db, layout).await?);
    findings.extend(types(db, database, layout).await?);
    Ok(findings)
}

/// The rules of the configurations.
async fn rules(db: &Db, layout: &Layout) -> Result<Vec<Finding>, QueryError> {
    let table = [(&layout.configurations.table as _, Type::TEXT)];
    each(db, &queries::rules(), &table, |row| {
        let (table, rule) = (told(row, 0)?, told(row, 1)?);
        Ok(finding::Table::HasRule { table, rule }.into())
    })
    .await
}

/// The columns whose types belong to strangers.
pub async fn types(
    db: &Db,
    database: &Database,
    layout: &Layout,
) -> Result<Vec<Finding>, QueryError> {
    let (read, written) = (&database.agents.columns, &database.configurations.columns);
    let read: Vec<&str> = read.named().map(|(_, name)| name).collect();
    let written: Vec<&str> = written.named().map(|(_, name)| name).collect();
    let parameters: [Parameter<'_>; 4] = [
        (&layout.agents.table, Type::TEXT),
        (&read, Type::TEXT_ARRAY),
        (&layout.configurations.table, Type::TEXT),
        (&written, Type::TEXT_ARRAY),
    ];
    each(db, &queries::foreign_types(), &parameters, |row| {
        Ok(finding::Rights::ForeignType {
            table: told(row, 0)?,
            column: told(row, 1)?,
            of_type: told(row, 2)?,
            owner: told(row, 3)?,
            table_owner: told(row, 4)?,
        }
        .into())
    })
    .await
}

/// The finding of each row.
async fn each(
    db: &Db,
    query: &str,
    parameters: &[Parameter<'_>],
    finding: fn(&Row) -> Result<Finding, Error>,
) -> Result<Vec<Finding>, QueryError> {
    let rows = db.all(query, parameters).await?;
    Ok(rows.iter().map(finding).collect::<Result<_, _>>()?)
}

/// The tables that a publication keeps the daemon from writing to.
pub async fn publications(db: &Db, layout: &Layout) -> Result<Vec<Finding>, QueryError> {
    let table: [Parameter<'_>; 1] = [(&layout.configurations.table, Type::TEXT)];
    let mut findings = each(db, &queries::unpublishable(), &table, |row| {
        let (table, is_ours) = (told(row, 0)?, row.try_get(1)?);
        Ok(finding::Table::Unpublishable { table, is_ours }.into())
    })
    .await?;
    let in_part = each(db, queries::PUBLISHED_IN_PART, &table, |row| {
        let (table, publication) = (told(row, 0)?, told(row, 1)?);
        Ok(finding::Table::PublishedInPart { table, publication }.into())
    });
    findings.extend(in_part.await?);
    Ok(findings)
}

/// Whether the role is kept from rows of the tables of agent-sync.
async fn own_rows(db: &Db) -> Result<Option<Finding>, QueryError> {
    let rows = db.all(queries::OWN_ROWS_HIDDEN, &[]).await?;
    let Some(first) = rows.first() else {
        return Ok(None);
    };
    let tables = rows
        .iter()
        .map(|row| told(row, 0))
        .collect::<Result<_, _>>()?;
    Ok(Some(
        finding::Rights::OwnRowsHidden {
            role: told(first, 1)?,
            tables,
        }
        .into(),
    ))
}

/// The checks that a sweep repeats, besides those of the server: whether the daemon still sees its
/// own work, and the record of an install of the `expected` version for the tables of the settings.
pub async fn own_tables(
    db: &Db,
    database: &Database,
    expected: i32,
) -> Result<Option<Finding>, QueryError> {
    if let Some(hidden) = own_rows(db).await?.filter(Finding::is_fatal) {
        return Ok(Some(hidden));
    }
    if let Some(rival) = rivals::rivals(db, database).await?.into_iter().next() {
        return Ok(Some(rival));
    }
    Ok(match record(db, database).await? {
        Record::Closed => None,
        Record::Missing => Some(finding::Install::NoRecord.into()),
        Record::Of { version: found, .. } if found != expected => {
            Some(finding::Install::OtherVersion { found, expected }.into())
        }
        Record::Of { other, .. } => other,
    })
}

/// The rights by which others act as an owner, or write to the tables of agent-sync.
async fn rights_of_others(db: &Db, layout: &Layout) -> Result<Vec<Finding>, QueryError> {
    let mut findings = each(db, queries::LENDS_RIGHTS, &layout.tables(), |row| {
        Ok(finding::Rights::LendsRights {
            function: told(row, 0)?,
            owner: told(row, 1)?,
            table: told(row, 2)?,
            table_owner: told(row, 3)?,
        }
        .into())
    })
    .await?;
    findings.extend(others_may_write(db, layout).await?);
    Ok(findings)
}

/// The findings that do not keep the daemon from its work. Without the permission, those that need
/// rows of the two tables are left out.
pub async fn cautions(
    db: &Db,
    layout: &Layout,
    (notify, history): (bool, bool),
    may_read: Option<MayRead>,
) -> Result<Vec<Finding>, QueryError> {
    let tables = layout.tables();
    let mut findings = each(db, queries::HIDDEN_ROWS, &tables, |row| {
        Ok(finding::Rights::rows_may_be_hidden(row)?.into())
    })
    .await?;
    findings.extend(own_rows(db).await?.filter(|finding| !finding.is_fatal()));
    let unlogged = each(db, queries::UNLOGGED, &tables, |row| {
        Ok(finding::Table::Unlogged(told(row, 0)?).into())
    });
    findings.extend(unlogged.await?);
    let row = db.one(queries::NOTIFICATION_QUEUE, &[]).await?;
    if row.try_get(0)? {
        let (percent, holder) = (row.try_get(1)?, told(&row, 2)?);
        findings.push(finding::Server::QueueFull { percent, holder }.into());
    }
    let row = db.one(&queries::server(), &[]).await?;
    let max: i32 = row.try_get("most_prepared")?;
    if row.try_get("is_superuser")? {
        let role = told(&row, "role")?;
        findings.push(finding::Rights::Superuser(role).into());
    }
    findings.extend(rights_of_others(db, layout).await?);
    findings.extend(index_check::columns(db, layout, may_read).await?);
    let parts = missing_parts(db, false).await?;
    if !parts.is_empty() {
        findings.push(finding::Install::Lacks(parts).into());
    }
    if notify && max > 0 {
        findings.push(finding::Server::PreparedTransactions(max).into());
    }
    let installed: bool = db.value(queries::INSTALLED_NOTIFY, &[]).await?;
    if installed != notify {
        findings.push(finding::Install::OtherNotify(installed).into());
    }
    if history && !db.value::<bool>(queries::NOTES_CAUSE, &[]).await? {
        findings.push(finding::Install::HistoryWithoutCause.into());
    }
    Ok(findings)
}

impl Store {
    /// The findings that do not stop the daemon.
    pub async fn cautions(&self, notify: bool, history: bool) -> Result<Vec<Finding>, QueryError> {
        let may_read = Some(MayRead::asked_for());
        cautions(&self.db, &self.layout, (notify, history), may_read).await
    }
}
