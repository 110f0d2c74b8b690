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

/// Deletes the oldest of the history: up to `$3` of what is older than `$1` seconds, or behind the
/// latest `$2`.
pub const PRUNE_HISTORY: &str = "
    DELETE FROM agent_sync.history h
    WHERE h.id = ANY (ARRAY(
        SELECT o.id FROM (SELECT f.id, f.at FROM agent_sync.history f ORDER BY f.id LIMIT $3) AS o
        WHERE o.at < now() - $1 * interval '1 second' OR o.id <= (SELECT max(l.id)
          FROM agent_sync.history l) - $2))";

/// Notes that a configuration was last written `$1` seconds ago.
pub const NOTE_LAST_SYNC: &str =
    "UPDATE agent_sync.install SET last_sync = clock_timestamp() - $1 * interval '1 second'";
