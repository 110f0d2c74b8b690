//! The check of the record of the install: its version, and whether it serves the tables and the
//! tenants of the settings.

use crate::pg::identifier::plain;
use crate::pg::{Db, QueryError, unmarked};
use crate::settings::Database;
use crate::store::finding::{self, Finding};
use crate::store::queries;

/// The columns with the tenant, of the agents and of the configurations.
type Tenants = (Option<String>, Option<String>);

/// The record of the install.
pub(super) enum Record {
    /// The role may not see it, which the check of its privileges says.
    Closed,
    /// There is none.
    Missing,
    /// The version of the schema, and whether the install serves others than the settings name.
    Of {
        version: i32,
        other: Option<Finding>,
    },
}

/// Reads the record of the install, and compares it with the settings.
pub(super) async fn record(db: &Db, database: &Database) -> Result<Record, QueryError> {
    match db.opt(queries::VERSION, &[]).await {
        Err(error) if error.is_unprivileged() => Ok(Record::Closed),
        Ok(Some(row)) => {
            let tables = (
                name(row.try_get(1)?, row.try_get(2)?),
                name(row.try_get(3)?, row.try_get(4)?),
            );
            let tenants = (row.try_get(5)?, row.try_get(6)?);
            let other = other_tables(database, tables);
            Ok(Record::Of {
                version: row.try_get(0)?,
                other: other.or_else(|| other_tenants(database, &tenants)),
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
    (installed != expected).then_some(
        finding::Install::OtherTables {
            installed: (unmarked(installed.0), unmarked(installed.1)),
            expected,
        }
        .into(),
    )
}

/// Whether the install was made for other tenants than those of the settings.
fn other_tenants(database: &Database, installed: &Tenants) -> Option<Finding> {
    let (agents, configurations) = (&database.agents.columns, &database.configurations.columns);
    let expected = (agents.tenant.clone(), configurations.tenant.clone());
    let named = |tenants: &Tenants| match tenants {
        (Some(agents), Some(configurations)) => format!(
            "tenants in the columns {} of the agents and {} of the configurations",
            plain(agents),
            plain(configurations)
        ),
        _ => "no tenants".to_owned(),
    };
    (*installed != expected).then(|| {
        let (installed, expected) = (unmarked(named(installed)), named(&expected));
        finding::Install::OtherTenants {
            installed,
            expected,
        }
        .into()
    })
}
