//! The history of writes in queries.

use crate::columns::{Column, MappedColumn as _};
use crate::key::Keys;
use crate::store::layout::Configurations;

/// Puts what is [`noted`] of a write into the history, behind the parts of the key.
pub(super) fn into_history(keys: Keys) -> String {
    format!(
        "INSERT INTO agent_sync.history ({}, configuration, columns, before, after, \
        application_name, role)",
        keys.names()
    )
}

/// The history of a write of the configuration called `row`, as it was before: its key, the written
/// columns, and `provider_config` before and after. `value` gives the text that is written to a
/// column. Every name is qualified (`store::path`).
pub(super) fn noted(
    configurations: &Configurations,
    row: &str,
    value: impl Fn(Column) -> String,
) -> String {
    let key: Vec<_> = configurations
        .key
        .iter()
        .map(|column| format!("{row}.{column}::pg_catalog.text"))
        .collect();
    let key = match key.as_slice() {
        [] => "NULL".to_owned(),
        [one] => one.clone(),
        several => format!("pg_catalog.concat_ws(',', {})", several.join(", ")),
    };
    let columns = configurations.columns.present().map(|(column, _)| {
        let (value, name) = (value(column), column.name());
        format!("CASE WHEN {value} IS NOT NULL THEN '{name}' END")
    });
    let columns = columns.collect::<Vec<_>>().join(", ");
    let after = value(Column::ProviderConfig);
    let before = configurations.columns[Column::ProviderConfig]
        .as_ref()
        .map_or_else(
            || "NULL".to_owned(),
            |column| format!("{row}.{}::pg_catalog.text", column.name),
        );
    format!(
        "{key}, pg_catalog.array_remove(ARRAY[{columns}], NULL),
         CASE WHEN {after} IS NOT NULL THEN {before} END, {after}"
    )
}
