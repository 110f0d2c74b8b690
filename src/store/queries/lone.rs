//! The queries of a lone change (`store::lone`): the same for one row, without locks held from the
//! one to the other.

use super::batch::{EQUALS, configuration_as_it_is};
use super::claimed::{LONGEST_SLUG, PROBLEM, copied};
use super::columns::{
    As, HISTORY, agent_columns, assignments, is_plain, noted, numbers, settings_text,
};
use super::upkeep::KEEP_LEAD;
use crate::store::layout::{Column, Layout};

/// The most bytes that the numbers of a value of `jsonb` take where there are few: some forty
/// numbers, whose text has 6 MB at most.
const FEW: u32 = 512;

/// More bytes of text than a lone change may have.
const TOO_LONG: u32 = 1 << 24;

/// Reads the one row of the outbox at the place `$1` and what it is about, as [`super::claim`] does
/// for many, without locks.
///
/// No table is read unless the condition holds, which names no column.
///
/// Making a query ready to run takes longer than one row does, so there is no more in it than it
/// takes. None where an index is missing. No row where the agent or a configuration is not found;
/// no contents where a value takes more than `$2` bytes as it is stored, or the settings much more
/// as text. All that is for an ordinary batch. A second agent or configuration is there only to
/// tell that there is one.
pub fn claim_lone(layout: &Layout, condition: &str) -> Option<String> {
    let Layout {
        agents,
        configurations,
        ..
    } = layout;
    if !(agents.slug_is_indexed && configurations.agent_slug_is_indexed) {
        return None;
    }
    let columns = [&agents.name, &agents.system_prompt, &agents.agent_image];
    let of_agent = columns
        .into_iter()
        .flatten()
        .chain([&agents.voice_settings]);
    let columns = [&configurations.voice_id, &configurations.voice_settings];
    let of_configuration = columns
        .into_iter()
        .flatten()
        .chain([&configurations.provider_config]);
    let sent =
        |value: &str| format!("CASE WHEN agent.fits AND configuration.fits THEN {value} END");
    let [name, system_prompt, agent_image] = copied().map(|value| sent(&value));
    Some(format!(
        "SELECT changed.slug, NULL::int8,
                {PROBLEM},
                ARRAY[changed.place], ARRAY[changed.version],
                date_part('epoch', clock_timestamp() - changed.at), NULL::float8, agent.fits
                  AND configuration.fits, 0::float8,
                true, {name}, {system_prompt}, {agent_image}, {}, NULL::bool,
                configuration.place, configuration.relation, NULL::text, NULL::text, NULL::text,
                {}, configuration.temperature, {}, {}, configuration.version
         FROM (SELECT o.slug, o.ctid AS place, o.xmin AS version, o.at FROM agent_sync.outbox o
               WHERE o.ctid = $1 AND octet_length(o.slug) <= {LONGEST_SLUG}
                 AND {condition}) AS changed
         JOIN LATERAL (
             SELECT {}, {} <= $2 AND {} AS fits FROM {} a WHERE {} = changed.slug LIMIT 2
         ) AS agent ON true
         JOIN LATERAL (
             SELECT {}, {} <= $2 AND {} AS fits FROM {} c WHERE {} = changed.slug LIMIT 2
         ) AS configuration ON true",
        sent(&settings_text("agent.voice_settings")),
        sent("configuration.voice_id"),
        sent(&settings_text("configuration.provider_config")),
        sent(&settings_text("configuration.voice_settings")),
        agent_columns(agents, As::Stored),
        largest("a", of_agent),
        short("a", std::iter::once(&agents.voice_settings)),
        agents.table,
        agents.lookup("a"),
        configuration_as_it_is(configurations),
        largest("c", of_configuration),
        short(
            "c",
            std::iter::once(&configurations.provider_config).chain(&configurations.voice_settings)
        ),
        configurations.table,
        configurations.lookup("c"),
    ))
}

/// Whether the text of these settings is not much longer than what may be stored of them. Of
/// `jsonb` that is not small, text is made only where there are few numbers in it.
fn short<'a>(alias: &str, settings: impl Iterator<Item = &'a Column>) -> String {
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
fn largest<'a>(alias: &str, columns: impl Iterator<Item = &'a Column>) -> String {
    let sizes: Vec<String> = columns
        .map(|column| format!("pg_column_size({alias}.{})", column.name))
        .collect();
    format!("coalesce(greatest({}), 0)", sizes.join(", "))
}

/// Writes one configuration that was read by [`claim_lone`], in a transaction of its own: `$1` its
/// place, `$2` to `$8` what to write, `$9` its relation, `$10` its version; and takes the row of
/// the outbox at the place `$11`, of the version `$12` and the slug `$13`, which it counts.
///
/// Identity (G13): nothing is locked between the two statements, so both tables may be rewritten in
/// between. VACUUM FULL and CLUSTER move rows and keep their versions, and rows that one
/// transaction wrote share a version: so a place and a version name no row. The configuration is
/// the one that is for the slug `$13`, of which [`claim_lone`] has found just one, and is still the
/// version that was read: another row for this slug has another version, or it would have been
/// found as well. The row of the outbox is held to place, version and slug likewise; another row
/// with all three is of the same transaction and the same agent, and so is about the same change.
///
/// If the configuration or the row of the outbox is not what it was, or somebody holds the
/// configuration locked, or another session has the leader's lock (G2), nothing is written, nothing
/// taken, and nothing waited for.
///
/// With `history`, notes what is written as well, and counts that: the same number.
///
/// It names the schema of all that it looks up, as [`super::write()`] does.
pub fn write_lone(layout: &Layout, history: bool) -> String {
    let configurations = &layout.configurations;
    let (table, slug) = (&configurations.table, configurations.exact("c"));
    let value = |index: usize, _: &str| format!("${}::pg_catalog.text", index + 2);
    let change = format!("o.ctid {EQUALS} $11 AND o.xmin {EQUALS} $12 AND o.slug {EQUALS} $13");
    let configuration =
        format!("c.ctid {EQUALS} $1 AND c.tableoid {EQUALS} $9 AND {slug} {EQUALS} $13");
    let take = format!("DELETE FROM agent_sync.outbox o USING written WHERE {change}");
    let (seen, take) = if history {
        let note = noted(configurations, "locked", value);
        let columns = configurations
            .key
            .iter()
            .chain([&configurations.provider_config.name]);
        (
            columns
                .map(|column| format!("c.{column}"))
                .collect::<Vec<_>>()
                .join(", "),
            format!(
                ", taken AS ({take} RETURNING o.application_name, o.role)
                 {HISTORY}
                 SELECT $13, {note}, taken.application_name, taken.role FROM taken, locked
                 ON CONFLICT DO NOTHING"
            ),
        )
    } else {
        (String::new(), take)
    };
    format!(
        "WITH locked AS MATERIALIZED (
         SELECT {seen} FROM {table} c WHERE {configuration} AND c.xmin {EQUALS} $10
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

/// Takes one row of the outbox that [`claim_lone`] has read, when there is nothing to write.
pub const TAKE_LONE: &str =
    "DELETE FROM agent_sync.outbox o WHERE o.ctid = $1 AND o.xmin = $2 AND o.slug = $3";
