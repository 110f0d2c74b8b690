//! The columns of the two tables as they stand in queries: what is read, what is written, and what of it is noted.

use crate::store::identifier::Quoted;
use crate::store::layout::{Agents, Column, Configurations};

/// What is read of an agent, in the order of `batch::Claimed`.
pub(in crate::store) fn agent_columns(agents: &Agents) -> String {
    let columns = [
        ("name", agents.name.as_ref()),
        ("system_prompt", agents.system_prompt.as_ref()),
        ("agent_image", agents.agent_image.as_ref()),
        ("voice_settings", Some(&agents.voice_settings)),
    ];
    columns.map(|(name, column)| text("a", column, name)).join(", ")
}

/// What is read of a configuration: what can be written, in the same order.
pub(in crate::store) fn configuration_columns(configurations: &Configurations) -> String {
    written(configurations).map(|(name, column)| text("c", column, name)).join(", ")
}

/// A column as text under a fixed name, null where it does not exist.
fn text(alias: &str, column: Option<&Column>, name: &str) -> String {
    match column {
        Some(column) => format!("{alias}.{}::text AS {}", column.name, Quoted(name)),
        None => format!("NULL::text AS {}", Quoted(name)),
    }
}

/// What a batch can write, in the order of the parameters of [`super::write()`].
pub(super) fn written(configurations: &Configurations) -> [(&'static str, Option<&Column>); 7] {
    [
        ("agent_name", configurations.agent_name.as_ref()),
        ("system_prompt", configurations.system_prompt.as_ref()),
        ("agent_image", configurations.agent_image.as_ref()),
        ("voice_id", configurations.voice_id.as_ref()),
        ("temperature", configurations.temperature.as_ref()),
        ("provider_config", Some(&configurations.provider_config)),
        ("voice_settings", configurations.voice_settings.as_ref()),
    ]
}

/// What a write sets: each column to what `value` gives for its index and name, if that is not null, and the clocks.
pub(super) fn assignments(configurations: &Configurations, value: impl Fn(usize, &str) -> String) -> String {
    let columns = written(configurations).into_iter().enumerate().filter_map(|(index, (name, column))| {
        let Column { name: own, sql_type } = column?;
        Some(format!("{own} = coalesce({}::{sql_type}, c.{own})", value(index, name)))
    });
    let clocks = configurations.clocks.iter().map(|column| format!("{} = now()", column.name));
    columns.chain(clocks).collect::<Vec<_>>().join(", ")
}

/// Puts what is [`noted`] of a write into the history.
pub(super) const HISTORY: &str =
    "INSERT INTO agent_sync.history (slug, configuration, columns, before, after, application_name, role)";

/// What is noted of a write of the configuration called `row`, as it was before: its key, which columns, and the `provider_config` before and
/// after. `value` gives what is written, for the index and name of a column.
pub(super) fn noted(
    configurations: &Configurations,
    row: &str,
    value: impl Fn(usize, &str) -> String,
) -> String {
    let key: Vec<_> = configurations.key.iter().map(|column| format!("{row}.{column}::text")).collect();
    let key = match key.as_slice() {
        [] => "NULL".to_owned(),
        [one] => one.clone(),
        several => format!("concat_ws(',', {})", several.join(", ")),
    };
    let written = written(configurations);
    let columns = written.iter().enumerate().filter(|(_, (_, column))| column.is_some());
    let columns: Vec<_> = columns
        .map(|(index, (name, _))| format!("CASE WHEN {} IS NOT NULL THEN '{name}' END", value(index, name)))
        .collect();
    let after = written.iter().position(|(name, _)| *name == "provider_config").unwrap_or_default();
    let after = value(after, "provider_config");
    format!(
        "{key}, array_remove(ARRAY[{}], NULL), CASE WHEN {after} IS NOT NULL THEN {row}.{}::text END, {after}",
        columns.join(", "),
        configurations.provider_config.name,
    )
}
