//! The columns of the two tables as they stand in queries: what is read, what is written, and what of it is noted.

use crate::store::identifier::Quoted;
use crate::store::layout::{Agents, Column, Configurations};

/// The form in which the settings come, which are JSON of any size: as text, or as they are stored, so that they can be weighed
/// before they are fetched and converted. All other columns are text in either form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum As {
    /// As text.
    Text,
    /// As stored.
    Stored,
}

/// What is read of an agent, in the order of `batch::Claimed`.
pub(in crate::store) fn agent_columns(agents: &Agents, form: As) -> String {
    let columns = [
        ("name", agents.name.as_ref()),
        ("system_prompt", agents.system_prompt.as_ref()),
        ("agent_image", agents.agent_image.as_ref()),
        ("voice_settings", Some(&agents.voice_settings)),
    ];
    columns.map(|(name, column)| read("a", column, name, form)).join(", ")
}

/// What is read of a configuration: what can be written, in the same order.
pub(in crate::store) fn configuration_columns(configurations: &Configurations, form: As) -> String {
    written(configurations).map(|(name, column)| read("c", column, name, form)).join(", ")
}

/// A column under a fixed name, null where it does not exist.
fn read(alias: &str, column: Option<&Column>, name: &str, form: As) -> String {
    let is_settings = matches!(name, "voice_settings" | "provider_config");
    match column {
        Some(column) if form == As::Stored && is_settings => {
            format!("{alias}.{} AS {}", column.name, Quoted(name))
        }
        Some(column) => format!("{alias}.{}::text AS {}", column.name, Quoted(name)),
        None => format!("NULL::text AS {}", Quoted(name)),
    }
}

/// How values are weighed before they are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weighed {
    /// As they are as text, which has each converted for that.
    Exactly,
    /// As what is stored says.
    ByEstimate,
}

/// The text of a value that was read [as stored](As::Stored).
pub(super) fn settings_text(value: &str) -> String {
    format!("{value}::text")
}

/// What a value that was read [as stored](As::Stored) weighs as text, in bytes: exactly, or as an estimate where it is not compressed,
/// for which its header is enough. The text of JSON is rarely more than twice as long as what is stored, and sometimes much longer:
/// `jsonb` stores 1e131071 in a few bytes.
pub(super) fn settings_weight(value: &str, column: &Column, weighed: Weighed) -> String {
    match column.sql_type.as_str() {
        "text" | "character varying" => format!("coalesce(octet_length({value}), 0)"),
        _ if weighed == Weighed::Exactly => format!("coalesce(octet_length({value}::text), 0)"),
        _ => format!(
            "coalesce(CASE WHEN pg_column_compression({value}) IS NULL THEN 2 * pg_column_size({value}) \
             ELSE octet_length({value}::text) END, 0)"
        ),
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

/// What a write sets: each column to what `value` gives for its index and name, if that is not null, and the clocks. Every name is
/// qualified (`store::path`).
pub(super) fn assignments(configurations: &Configurations, value: impl Fn(usize, &str) -> String) -> String {
    let columns = written(configurations).into_iter().enumerate().filter_map(|(index, (name, column))| {
        let Column { name: own, cast, .. } = column?;
        // No coalesce: null may not be a value of the type, as in a domain that is NOT NULL.
        let value = value(index, name);
        Some(format!("{own} = CASE WHEN {value} IS NULL THEN c.{own} ELSE {value}::{cast} END"))
    });
    let clocks = configurations.clocks.iter().map(|column| format!("{} = pg_catalog.now()", column.name));
    columns.chain(clocks).collect::<Vec<_>>().join(", ")
}

/// Puts what is [`noted`] of a write into the history.
pub(super) const HISTORY: &str =
    "INSERT INTO agent_sync.history (slug, configuration, columns, before, after, application_name, role)";

/// What is noted of a write of the configuration called `row`, as it was before: its key, which columns, and the `provider_config` before and
/// after. `value` gives what is written, for the index and name of a column. Every name is qualified (`store::path`).
pub(super) fn noted(
    configurations: &Configurations,
    row: &str,
    value: impl Fn(usize, &str) -> String,
) -> String {
    let key: Vec<_> =
        configurations.key.iter().map(|column| format!("{row}.{column}::pg_catalog.text")).collect();
    let key = match key.as_slice() {
        [] => "NULL".to_owned(),
        [one] => one.clone(),
        several => format!("pg_catalog.concat_ws(',', {})", several.join(", ")),
    };
    let written = written(configurations);
    let columns = written.iter().enumerate().filter(|(_, (_, column))| column.is_some());
    let columns: Vec<_> = columns
        .map(|(index, (name, _))| format!("CASE WHEN {} IS NOT NULL THEN '{name}' END", value(index, name)))
        .collect();
    let after = written.iter().position(|(name, _)| *name == "provider_config").unwrap_or_default();
    let after = value(after, "provider_config");
    format!(
        "{key}, pg_catalog.array_remove(ARRAY[{}], NULL),
         CASE WHEN {after} IS NOT NULL THEN {row}.{}::pg_catalog.text END, {after}",
        columns.join(", "),
        configurations.provider_config.name,
    )
}
