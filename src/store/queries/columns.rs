//! The mapped columns in queries: the columns that are read, and those that are written.

use crate::columns::{Column, MappedColumn, Per};
use crate::store::layout::{Agents, Configurations, SqlColumn};

/// The form in which the settings come, which are JSON of any size: as text, or as they are stored,
/// so that they can be weighed before they are fetched and converted. All other columns are text in
/// either form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum As {
    /// As text, where [`heavy`](super::heavy) or [`heavier`](super::heavier) has found that the row
    /// is not too heavy.
    WeighedText,
    /// As stored.
    Stored,
}

/// The number of the first parameter of a write that is the value of a mapped column. The values
/// are the last parameters, in the order of the columns.
const FIRST_VALUE: usize = 7;

/// The parameter with the value of a mapped column.
pub(super) fn parameter(column: Column) -> String {
    format!("${}", FIRST_VALUE + column.index())
}

/// The parameter for the values of a mapped column of many rows in [`super::write()`], which has
/// one more parameter before them.
pub(super) fn array(column: Column) -> String {
    format!("${}", FIRST_VALUE + 1 + column.index())
}

/// The name of a mapped column in the result of a query, and in its subqueries.
pub(super) fn result_name<C: MappedColumn>(column: C) -> String {
    format!("{}_{}", C::TABLE, column.name())
}

/// Whether this is the [name](result_name) of the column.
pub(in crate::store) fn is_result_name<C: MappedColumn>(name: &str, column: C) -> bool {
    name.strip_prefix(C::TABLE)
        .and_then(|name| name.strip_prefix('_'))
        .is_some_and(|name| name == column.name())
}

/// The mapped columns of the agent `a`.
pub(in crate::store) fn agent_columns(agents: &Agents, form: As) -> String {
    read("a", &agents.columns, form)
}

/// The mapped columns of the configuration `c`.
pub(in crate::store) fn configuration_columns(configurations: &Configurations, form: As) -> String {
    read("c", &configurations.columns, form)
}

/// The mapped columns of a table under their [names](result_name), null where they do not exist.
fn read<C: MappedColumn, const N: usize>(
    alias: &str,
    columns: &Per<C, Option<SqlColumn>, N>,
    form: As,
) -> String {
    let columns = columns.iter().map(|(column, found)| {
        let name = result_name(column);
        match found {
            Some(found) if form == As::Stored && column.is_json() => {
                format!("{alias}.{} AS {name}", found.name)
            }
            Some(found) if form == As::WeighedText => {
                format!(
                    "CASE WHEN heavy.weight IS NULL THEN {alias}.{}::text END AS {name}",
                    found.name
                )
            }
            Some(found) => format!("{alias}.{}::text AS {name}", found.name),
            None => format!("NULL::text AS {name}"),
        }
    });
    columns.collect::<Vec<_>>().join(", ")
}

/// The columns of JSON that exist.
pub(super) fn settings<C: MappedColumn, const N: usize>(
    columns: &Per<C, Option<SqlColumn>, N>,
) -> impl Iterator<Item = (C, &SqlColumn)> {
    columns.present().filter(|(column, _)| column.is_json())
}

/// The text of a value that was read [as stored](As::Stored).
pub(super) fn settings_text(value: &str) -> String {
    format!("{value}::text")
}

/// The assignments of a write: each column to its `value`, if that is not null, and the clocks to
/// the time of the transaction. Every name is qualified (`store::path`).
pub(super) fn assignments(
    configurations: &Configurations,
    value: impl Fn(Column) -> String,
) -> String {
    let columns = configurations.columns.present().map(|(column, found)| {
        let (name, cast, value) = (&found.name, &found.cast, value(column));
        // No coalesce: null may not be a value of the type, as in a domain that is NOT NULL.
        format!("{name} = CASE WHEN {value} IS NULL THEN c.{name} ELSE {value}::{cast} END")
    });
    let clocks = configurations
        .clocks
        .iter()
        .map(|column| format!("{} = pg_catalog.now()", column.name));
    columns.chain(clocks).collect::<Vec<_>>().join(", ")
}
