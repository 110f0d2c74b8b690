//! The two queries of a batch: what it reads, and what it writes.

use super::columns::{HISTORY, agent_columns, assignments, configuration_columns, noted, written};
use crate::store::layout::{Agents, Configurations, Layout};

/// Reads up to `$2` rows of the outbox, from the place `$1` on, and what they are about, in one snapshot. They are taken
/// out of the outbox when the batch ends, by [`write()`] or [`TAKE`].
///
/// One row per slug and configuration, those of a slug together; the columns are those of `batch::Claimed`. The
/// configurations come locked (G4). One that somebody else has locked is not waited for and not there; then there are
/// fewer than the slug has, and so it is known to be busy.
///
/// Mostly a batch is small, and PostgreSQL spends more time on making a plan ready than on running it: so where
/// indexes allow, the plan is three look-ups for each slug. Where they do not, the tables are read once and hashed.
pub fn claim(layout: &Layout) -> String {
    let Layout { agents, configurations, .. } = layout;
    let (agent_slug, slug) = (&agents.slug.name, &configurations.agent_slug.name);
    let (from_agents, from_configurations) = (&agents.table, &configurations.table);
    let (agent_table, agent) = if agents.slug_is_indexed {
        (String::new(), agent_by_index(agents))
    } else {
        let table = format!(
            ", agent AS MATERIALIZED (
                 SELECT a.{agent_slug} AS slug, true AS found, {} FROM {from_agents} a
                 WHERE a.{agent_slug} IN (SELECT slug FROM changed))",
            agent_columns(agents)
        );
        (table, "agent ON agent.slug = changed.slug".to_owned())
    };
    let (configuration_tables, configuration, targets) = if configurations.agent_slug_is_indexed {
        (
            String::new(),
            configuration_by_index(configurations, "FOR NO KEY UPDATE SKIP LOCKED"),
            format!("(SELECT count(*) FROM {from_configurations} c WHERE c.{slug} = changed.slug)"),
        )
    } else {
        let tables = format!(
            ", target AS MATERIALIZED (
                 SELECT c.{slug} AS slug, count(*) AS rows FROM {from_configurations} c
                 WHERE c.{slug} IN (SELECT slug FROM changed) GROUP BY 1
             ), configuration AS MATERIALIZED (
                 SELECT c.{slug} AS slug, {} FROM {from_configurations} c
                 WHERE c.{slug} IN (SELECT slug FROM changed) FOR NO KEY UPDATE OF c SKIP LOCKED)",
            configuration_as_it_is(configurations)
        );
        let joins = "target ON target.slug = changed.slug LEFT JOIN configuration ON configuration.slug = changed.slug";
        (tables, joins.to_owned(), "coalesce(target.rows, 0)".to_owned())
    };
    let together =
        if agents.slug_is_indexed && configurations.agent_slug_is_indexed { "" } else { "ORDER BY 1" };
    format!(
        "WITH changed AS (
             SELECT o.slug, array_agg(o.place) AS places, min(o.at) AS at
             FROM (SELECT ctid AS place, slug, at FROM agent_sync.outbox WHERE ctid >= $1 LIMIT $2) AS o
             GROUP BY o.slug
         ){agent_table}{configuration_tables}
         SELECT {}
         FROM changed LEFT JOIN {agent} LEFT JOIN {configuration} {together}",
        claimed(&targets)
    )
}

/// Looks up the agent of `changed`.
pub(super) fn agent_by_index(agents: &Agents) -> String {
    let Agents { table, slug, .. } = agents;
    format!(
        "LATERAL (SELECT true AS found, {} FROM {table} a WHERE a.{} = changed.slug OFFSET 0) agent ON true",
        agent_columns(agents),
        slug.name
    )
}

/// Looks up the configurations of `changed`.
pub(super) fn configuration_by_index(configurations: &Configurations, ending: &str) -> String {
    let Configurations { table, agent_slug, .. } = configurations;
    format!(
        "LATERAL (SELECT {} FROM {table} c WHERE c.{} = changed.slug {ending}) configuration ON true",
        configuration_as_it_is(configurations),
        agent_slug.name
    )
}

/// Which version of which row a configuration is, and what it says.
fn configuration_as_it_is(configurations: &Configurations) -> String {
    let columns = configuration_columns(configurations);
    format!("c.tableoid AS relation, c.ctid AS place, c.xmin::text AS version, {columns}")
}

/// The columns of a claim: of `changed`, `agent` and `configuration`, with the number of `targets` that the slug has.
///
/// What is copied as it is comes only where it differs, for a prompt is larger than all the rest, and mostly the same on
/// both sides. To the mapping a column that is the same and one that is not set are one thing: nothing to write (M1).
pub(super) fn claimed(targets: &str) -> String {
    let copied = ["name", "system_prompt", "agent_image"].into_iter().zip([
        "agent_name",
        "system_prompt",
        "agent_image",
    ]);
    let copied: Vec<String> = copied
        .map(|(from, to)| {
            format!("CASE WHEN agent.{from} COLLATE \"C\" IS DISTINCT FROM configuration.{to} THEN agent.{from} END")
        })
        .collect();
    format!(
        "changed.slug, {targets}, EXISTS (SELECT FROM agent_sync.problem p WHERE p.slug = changed.slug),
         changed.places, extract(epoch FROM clock_timestamp() - changed.at)::float8,
         agent.found IS NOT NULL, {}, agent.voice_settings,
         configuration.place, NULL::text, NULL::text, NULL::text, configuration.voice_id, configuration.temperature,
         configuration.provider_config, configuration.voice_settings, configuration.relation",
        copied.join(", ")
    )
}

/// Writes a batch: `$1` the places of the rows, `$2` to `$8` what to write, null for what stays as it is, and `$9` the
/// relations that the places are in. Takes the rows at the places `$10` out of the outbox.
///
/// The rows are locked by [`claim`] in the same transaction, so their places hold. A batch of which a row was not
/// written, because a trigger of somebody else's kept it back, must not be committed: it divides by zero.
///
/// With `history`, notes what is written as well, and on whose account: that of the latest of the rows of the outbox.
pub fn write(layout: &Layout, history: bool) -> String {
    let configurations = &layout.configurations;
    let names: Vec<&str> = written(configurations).iter().map(|(name, _)| *name).collect();
    let rows = format!(
        "unnest($1::tid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
                     $9::oid[]) AS u (place, {}, relation)",
        names.join(", ")
    );
    let these = "c.ctid = ANY ($1) AND c.ctid = u.place AND c.tableoid = u.relation";
    let (returned, noted) = if history {
        ("RETURNING o.slug, o.at, o.application_name, o.role", note_history(configurations, &rows, these))
    } else {
        ("", String::new())
    };
    format!(
        "WITH taken AS (
         DELETE FROM agent_sync.outbox o WHERE o.ctid = ANY ($10) {returned}
         ){noted}, written AS (
         UPDATE {} c SET {}
         FROM {rows}
         WHERE {these}
         RETURNING 1)
         SELECT 1 / (count(*) = cardinality($1))::integer FROM written",
        configurations.table,
        assignments(configurations, |_, name| format!("u.{name}")),
    )
}

/// The part of [`write()`] that notes it. It sees the rows as they were before.
fn note_history(configurations: &Configurations, rows: &str, these: &str) -> String {
    let (table, slug) = (&configurations.table, &configurations.agent_slug.name);
    format!(
        ", cause AS (
         SELECT DISTINCT ON (t.slug) t.slug, t.application_name, t.role FROM taken t ORDER BY t.slug, t.at DESC
         ), history AS (
         {HISTORY}
         SELECT c.{slug}::text, {}, cause.application_name, cause.role
         FROM {rows} JOIN {table} c ON {these} LEFT JOIN cause ON cause.slug = c.{slug}::text
         )",
        noted(configurations, "c", |_, name| format!("u.{name}")),
    )
}

/// Takes rows out of the outbox, when a batch wrote nothing for them.
pub const TAKE: &str = "DELETE FROM agent_sync.outbox o WHERE o.ctid = ANY ($1)";
