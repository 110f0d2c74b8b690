//! The queries of the fast path (`store::fast_path`): like those of a batch, for one row of the
//! outbox, without a lock between the read and the write.

use super::claim::{configuration_as_it_is, configurations_of_changed};
use super::claimed::{LONGEST_SLUG, copied, problem, unlike_copy};
use super::columns::{
    As, agent_columns, assignments, parameter, result_name, settings, settings_text,
};
use super::history::{into_history, noted};
use super::lead::KEEP_LEAD;
use super::weight::{is_plain, numbers};
use super::write::EQUALS;
use crate::columns::{AgentColumn, Column, MappedColumn};
use crate::key::Keys;
use crate::store::layout::{Layout, SqlColumn};

/// The most bytes that the numbers of a value of `jsonb` take where there are few: some forty
/// numbers, whose text has 6 MB at most.
const FEW: u32 = 512;

/// More bytes of text than a single change may have.
const TOO_LONG: u32 = 1 << 24;

/// Reads the one row of the outbox at the place `$1` and what it is about, as [`super::claim()`]
/// does for many, without locks.
///
/// No table is read unless the condition holds, which names no column.
///
/// The start of a query takes longer than the read of one row, so the query is kept short. It is
/// None where an index is missing. It returns no row where the agent or a configuration is not
/// found, and no contents where a stored value takes more than `$2` bytes, the settings are much
/// longer as text, or the index leads to an agent with another key. A batch processes these cases.
/// The lookups return up to two agents and configurations, so that a second one shows.
pub fn claim_change(layout: &Layout, condition: &str) -> Option<String> {
    let (agents, configurations) = (&layout.agents, &layout.configurations);
    if !(agents.key_is_indexed() && configurations.key_is_indexed) {
        return None;
    }
    let sent =
        |value: &str| format!("CASE WHEN agent.fits AND configuration.fits THEN {value} END");
    let mut values: Vec<String> = copied()
        .map(|(name, value)| format!("{} AS {name}", sent(&value)))
        .collect();
    let is_json = |column: &AgentColumn| column.is_json();
    let agent_settings = AgentColumn::ALL.into_iter().filter(is_json);
    let of_agent = |column| format!("agent.{}", result_name(column));
    values.extend(agent_settings.map(|column| value_of(&of_agent(column), column, sent)));
    let compared = Column::compared_by_mapping();
    values.extend(compared.map(|column| value_of(&unlike_copy(layout, column), column, sent)));
    let of_configuration =
        Column::compared_by_mapping().filter_map(|column| configurations.columns[column].as_ref());
    let (keys, problem) = (layout.keys(), problem(layout.keys()));
    let (read, key) = (keys.looked_up_of_row("o"), keys.of_row("o"));
    let (tenant, slug) = keys.parts_of("changed");
    // A batch meets the row of an install with tenants: see `super::claim`.
    let like_the_settings = match keys {
        Keys::Slugs => "o.tenant IS NULL AND ",
        Keys::Tenants => "",
    };
    Some(format!(
        "SELECT changed.slug, NULL::int8 AS targets, {problem} AS problem,
                ARRAY[changed.place] AS places, ARRAY[changed.version] AS versions,
                CASE WHEN isfinite(changed.at)
                  THEN date_part('epoch', clock_timestamp() - changed.at) END AS age,
                agent.fits AND configuration.fits AS fits, 0::float8 AS weight, true AS found,
                NULL::bool AS hidden, false AS cut, configuration.place, configuration.relation,
                configuration.version, {}
         FROM (SELECT {read}, o.ctid AS place, o.xmin AS version, o.at FROM agent_sync.outbox o
               WHERE o.ctid = $1 AND {like_the_settings}octet_length({key}) <= {LONGEST_SLUG}
                 AND {condition}) AS changed
         JOIN LATERAL (
             SELECT {}, {} AND {} <= $2 AND {} AS fits FROM {} a WHERE {} LIMIT 2
         ) AS agent ON true
         JOIN LATERAL (
             SELECT {}, {} <= $2 AND {} AS fits FROM {} c WHERE {} LIMIT 2
         ) AS configuration ON true",
        values.join(", "),
        agent_columns(agents, As::Stored),
        agents.is_exactly("a", &tenant, &slug),
        largest("a", agents.columns.present().map(|(_, found)| found)),
        short("a", settings(&agents.columns).map(|(_, found)| found)),
        agents.table,
        agents.is("a", &tenant, &slug),
        configuration_as_it_is(configurations),
        largest("c", of_configuration),
        short(
            "c",
            settings(&configurations.columns).map(|(_, found)| found)
        ),
        configurations.table,
        configurations_of_changed(configurations),
    ))
}

/// The value of a mapped column, under its name, as it is `sent`.
fn value_of<C: MappedColumn>(value: &str, column: C, sent: impl Fn(&str) -> String) -> String {
    let name = result_name(column);
    if column.is_json() {
        format!("{} AS {name}", sent(&settings_text(&format!("({value})"))))
    } else {
        format!("{} AS {name}", sent(value))
    }
}

/// Whether the text of these settings is not much longer than what may be stored of them. Of
/// `jsonb` that is not small, text is made only where there are few numbers in it.
fn short<'a>(alias: &str, settings: impl Iterator<Item = &'a SqlColumn>) -> String {
    let lengths: Vec<String> = settings
        .map(|column| {
            let value = format!("{alias}.{}", column.name);
            let length = format!("octet_length({})", settings_text(&value));
            if !column.is_jsonb() {
                return format!("coalesce({length}, 0)");
            }
            let (is_plain, numbers) = (is_plain(&value), numbers(&value));
            format!(
                "coalesce(CASE WHEN {is_plain} OR pg_column_size({numbers}) <= {FEW} THEN {length} \
                ELSE {TOO_LONG} END, 0)"
            )
        })
        .collect();
    format!("{} <= 4 * $2", lengths.join(" + "))
}

/// How many bytes the largest of these values takes as it is stored, which its header says.
fn largest<'a>(alias: &str, columns: impl Iterator<Item = &'a SqlColumn>) -> String {
    let sizes: Vec<String> = columns
        .map(|column| format!("pg_column_size({alias}.{})", column.name))
        .collect();
    format!("coalesce(greatest({}), 0)", sizes.join(", "))
}

/// Writes one configuration that was read by [`claim_change`], in a transaction of its own: the row
/// at the place `$1` in the relation `$2`, of the version `$3`. Takes the row of the outbox at the
/// place `$4`, of the version `$5` and the slug `$6`, and counts it. The values of the mapped
/// columns are the parameters (`parameter`) after these.
///
/// Identity (G13): nothing is locked between the two statements, so both tables may be rewritten in
/// between. VACUUM FULL and CLUSTER move rows and keep their versions, and rows that one
/// transaction wrote share a version: so a place and a version name no row. The configuration is
/// the one that is for the slug `$6`, of which [`claim_change`] has found just one, and is still
/// the version that was read: another row for this slug has another version, or it would have been
/// found as well. The row of the outbox is held to place, version and slug likewise; another row
/// with all three is of the same transaction and the same agent, and so is about the same change.
///
/// If the configuration or the row of the outbox has changed, or another session holds the
/// configuration locked, or another session has the leader lock (G2), nothing is written or taken,
/// and there is no wait.
///
/// With `history`, notes what is written as well, and counts that: the same number.
///
/// It names the schema of all that it looks up, as [`super::write()`] does.
pub fn write_change(layout: &Layout, history: bool) -> String {
    let (configurations, keys) = (&layout.configurations, layout.keys());
    let (table, slug) = (&configurations.table, configurations.exact("c"));
    let value = |column| format!("{}::pg_catalog.text", parameter(column));
    let key = keys.of_row("o");
    let change = format!("o.ctid {EQUALS} $4 AND o.xmin {EQUALS} $5 AND {key} {EQUALS} $6");
    let configuration =
        format!("c.ctid {EQUALS} $1 AND c.tableoid {EQUALS} $2 AND {slug} {EQUALS} $6");
    let take = format!("DELETE FROM agent_sync.outbox o USING written WHERE {change}");
    let (seen, take) = if history {
        let note = noted(configurations, "locked", value);
        let (history, key) = (into_history(keys), keys.values("$6"));
        let before = configurations.columns[Column::ProviderConfig].as_ref();
        let columns = configurations
            .key
            .iter()
            .chain(before.map(|column| &column.name));
        (
            columns
                .map(|column| format!("c.{column}"))
                .collect::<Vec<_>>()
                .join(", "),
            format!(
                ", taken AS ({take} RETURNING o.application_name, o.role)
                 {history}
                 SELECT {key}, {note}, taken.application_name, taken.role FROM taken, locked
                 ON CONFLICT DO NOTHING"
            ),
        )
    } else {
        (String::new(), take)
    };
    format!(
        "WITH locked AS MATERIALIZED (
         SELECT {seen} FROM {table} c WHERE {configuration} AND c.xmin {EQUALS} $3
             AND EXISTS (SELECT FROM agent_sync.outbox o WHERE {change})
             AND ({KEEP_LEAD})
         FOR NO KEY UPDATE OF c SKIP LOCKED
         ), written AS (
         UPDATE {table} c SET {}
         WHERE {configuration} AND EXISTS (SELECT FROM locked)
         RETURNING 1)
         {take}",
        assignments(configurations, value),
    )
}

/// Takes one row of the outbox that [`claim_change`] has read, when there is nothing to write.
pub fn take_lone(keys: Keys) -> String {
    let key = keys.of_row("o");
    format!("DELETE FROM agent_sync.outbox o WHERE o.ctid = $1 AND o.xmin = $2 AND {key} = $3")
}
