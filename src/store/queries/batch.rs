//! The queries of a batch: what it reads, and what it writes.

use super::columns::{
    As, HISTORY, agent_columns, assignments, configuration_columns, noted, settings_text, settings_weight,
    written,
};
use super::hidden::rows_may_be_hidden;
use crate::store::layout::{Agents, Configurations, Layout};

/// Reads up to `$2` rows of the outbox, from the place `$1` on, and the agents and configurations they are about, in one
/// snapshot. The rows leave the outbox when the batch ends, by [`write()`] or [`take()`].
///
/// One row per slug and configuration, those of a slug together; the columns are those of `batch::Claimed`. The
/// configurations come locked (G4). A configuration that another session has locked is not waited for and not returned; the slug
/// then has fewer rows than configurations, which marks it as busy. A slug that two agents share has each configuration twice.
///
/// The server weighs before it sends (G12): it adds up what the rows weigh in the order in which it returns them, and the
/// contents of a row come only while the sum is at most `$3` bytes.
///
/// Mostly a batch is small, and PostgreSQL spends more time on making a plan ready than on running it: so where
/// indexes allow, the plan is three look-ups for each slug. Where they do not, the tables are read once and hashed.
pub fn claim(layout: &Layout) -> String {
    claim_of(layout, "ctid >= $1", "$2", "$3::float8")
}

/// The same for the slug that is noted in `agent_sync.install` alone, with all of its rows in the outbox (`store::attempt`), and contents up to
/// `$1` bytes.
pub fn claim_first(layout: &Layout) -> String {
    let noted = "slug = (SELECT i.last_tried FROM agent_sync.install i)";
    claim_of(layout, noted, "100000", "$1::float8")
}

/// The same for one slug alone, `$1`, with all of its rows in the outbox, and without contents: which configurations it has, locked, and
/// what they weigh.
pub fn claim_slug(layout: &Layout) -> String {
    claim_of(layout, "slug = $1", "100000", "0::float8")
}

fn claim_of(layout: &Layout, rows: &str, limit: &str, budget: &str) -> String {
    let Layout { agents, configurations, .. } = layout;
    let (agent_slug, slug) = (agents.lookup("a"), configurations.lookup("c"));
    let (from_agents, from_configurations) = (&agents.table, &configurations.table);
    let (agent_table, agent) = if agents.slug_is_indexed {
        (String::new(), agent_by_index(agents))
    } else {
        let table = format!(
            ", agent AS MATERIALIZED (
                 SELECT {agent_slug} AS slug, true AS found, {} FROM {from_agents} a
                 WHERE {agent_slug} IN (SELECT slug FROM changed))",
            agent_columns(agents, As::Stored)
        );
        (table, "agent ON agent.slug = changed.slug".to_owned())
    };
    let (configuration_tables, configuration) = if configurations.agent_slug_is_indexed {
        let target = format!(
            "LATERAL (SELECT count(*) AS rows FROM {from_configurations} c WHERE {slug} = changed.slug) target ON true"
        );
        let locked = configuration_by_index(configurations, "FOR NO KEY UPDATE SKIP LOCKED");
        (String::new(), format!("{target} LEFT JOIN {locked}"))
    } else {
        let tables = format!(
            ", target AS MATERIALIZED (
                 SELECT {slug} AS slug, count(*) AS rows FROM {from_configurations} c
                 WHERE {slug} IN (SELECT slug FROM changed) GROUP BY 1
             ), configuration AS MATERIALIZED (
                 SELECT {slug} AS slug, {} FROM {from_configurations} c
                 WHERE {slug} IN (SELECT slug FROM changed) FOR NO KEY UPDATE OF c SKIP LOCKED)",
            configuration_as_it_is(configurations)
        );
        let joins = "target ON target.slug = changed.slug LEFT JOIN configuration ON configuration.slug = changed.slug";
        (tables, joins.to_owned())
    };
    let together = if agents.slug_is_indexed && configurations.agent_slug_is_indexed {
        ""
    } else {
        "ORDER BY changed.slug"
    };
    format!(
        "WITH changed AS (
             SELECT o.slug, array_agg(o.place) AS places, array_agg(o.version) AS versions,
                    min(o.at) AS at, max(o.at) AS latest
             FROM (SELECT ctid AS place, xmin AS version, slug, at FROM agent_sync.outbox WHERE {rows} LIMIT {limit}) AS o
             GROUP BY o.slug
         ){agent_table}{configuration_tables}
         {}",
        claimed(
            layout,
            "coalesce(target.rows, 0)",
            budget,
            &format!("changed LEFT JOIN {agent} LEFT JOIN {configuration} {together}")
        )
    )
}

/// Reads the agent of the slug `$1` with its configurations at the places `$2` in the relations `$3`, which [`claim`] has locked in
/// the same transaction: one page of a slug that is too heavy to be read at once. The columns are those of [`claim`].
pub fn claim_page(layout: &Layout) -> String {
    let Layout { agents, configurations, .. } = layout;
    let (table, slug) = (&configurations.table, configurations.lookup("c"));
    let page = format!(
        "(SELECT $1::text AS slug, NULL::tid[] AS places, NULL::xid[] AS versions,
                 NULL::timestamptz AS at, NULL::timestamptz AS latest) AS changed
         LEFT JOIN {}
         LEFT JOIN LATERAL (
             SELECT {} FROM unnest($2::tid[], $3::oid[]) AS u (place, relation)
             JOIN {table} c ON c.ctid = u.place AND c.tableoid = u.relation
             WHERE c.ctid = ANY ($2::tid[]) AND {slug} = changed.slug
         ) configuration ON true",
        agent_by_index(agents),
        configuration_as_it_is(configurations)
    );
    claimed(layout, "NULL::int8", "'infinity'::float8", &page)
}

/// Looks up the agent of `changed`; the second one is there only to show that the slug is not unique.
pub(super) fn agent_by_index(agents: &Agents) -> String {
    format!(
        "LATERAL (SELECT true AS found, {} FROM {} a WHERE {} = changed.slug LIMIT 2) agent ON true",
        agent_columns(agents, As::Stored),
        agents.table,
        agents.lookup("a")
    )
}

/// Looks up the configurations of `changed`.
pub(super) fn configuration_by_index(configurations: &Configurations, ending: &str) -> String {
    format!(
        "LATERAL (SELECT {} FROM {} c WHERE {} = changed.slug {ending}) configuration ON true",
        configuration_as_it_is(configurations),
        configurations.table,
        configurations.lookup("c")
    )
}

/// Which version of which row a configuration is, and what it says.
fn configuration_as_it_is(configurations: &Configurations) -> String {
    let columns = configuration_columns(configurations, As::Stored);
    format!("c.tableoid AS relation, c.ctid AS place, c.xmin::text AS version, {columns}")
}

/// The query of a claim: of `from`, in which `changed`, `agent` and `configuration` are joined, with the number of `targets` that the
/// slug has, and the contents while they weigh no more than `budget` bytes in all.
///
/// A column that is copied as it is comes only where it differs, for a prompt is larger than all the rest, and mostly the same on
/// both sides. To the mapping a column that is the same and one that is not set are one thing: nothing to write (M1).
///
/// What belongs to the slug as a whole comes with its first row.
///
/// The query has three levels, so that every value is computed once: the innermost joins and compares, the next one weighs what is
/// stored (a large value is not fetched for that), and the outermost turns into text what is sent.
///
/// "Not found" is no proof of "not there" (G14): a policy may hide the row. So a row with something not found says whether row-level
/// security may hide rows of that table from this role; the catalog is asked only then.
pub(super) fn claimed(layout: &Layout, targets: &str, budget: &str, from: &str) -> String {
    let Layout { agents, configurations, .. } = layout;
    let copied = [("name", "agent_name"), ("system_prompt", "system_prompt"), ("agent_image", "agent_image")];
    let copied = copied.map(|(from, to)| {
        format!(
            "CASE WHEN agent.{from} COLLATE \"C\" IS DISTINCT FROM configuration.{to} THEN agent.{from} END AS {from}"
        )
    });
    let settings = [
        ("agent_settings", Some(&agents.voice_settings)),
        ("provider_config", Some(&configurations.provider_config)),
        ("voice_settings", configurations.voice_settings.as_ref()),
    ];
    let weights: Vec<String> = ["slug", "name", "system_prompt", "agent_image", "voice_id"]
        .map(|name| format!("coalesce(octet_length(j.{name}), 0)"))
        .into_iter()
        .chain(
            settings
                .iter()
                .filter_map(|(name, column)| Some(settings_weight(&format!("j.{name}"), (*column)?))),
        )
        .collect();
    let sent = |value: String| format!("CASE WHEN w.fits THEN {value} END");
    let [name, system_prompt, agent_image, voice_id] =
        ["name", "system_prompt", "agent_image", "voice_id"].map(|name| sent(format!("w.{name}")));
    let [agent_settings, provider_config, voice_settings] =
        settings.map(|(name, _)| sent(settings_text(&format!("w.{name}"))));
    format!(
        "SELECT w.slug, w.targets, w.has_problem,
                CASE WHEN NOT w.goes_on THEN w.places END, CASE WHEN NOT w.goes_on THEN w.versions END, w.age, w.age_of_latest, w.fits, w.weight,
                w.found, {name}, {system_prompt}, {agent_image}, {agent_settings}, w.hidden,
                w.place, w.relation, NULL::text, NULL::text, NULL::text,
                {voice_id}, w.temperature, {provider_config}, {voice_settings}, w.version
         FROM (
             SELECT i.*, sum(i.weight) OVER so_far <= {budget} AS fits,
                    lag(i.slug) OVER so_far IS NOT DISTINCT FROM i.slug AS goes_on
             FROM (
                 SELECT j.*, ({})::float8 AS weight
                 FROM (
                     SELECT changed.slug, {targets} AS targets,
                            EXISTS (SELECT FROM agent_sync.problem p WHERE p.slug = changed.slug) AS has_problem,
                            changed.places, changed.versions,
                            extract(epoch FROM clock_timestamp() - changed.at)::float8 AS age,
                            extract(epoch FROM clock_timestamp() - changed.latest)::float8 AS age_of_latest,
                            agent.found IS NOT NULL AS found, {}, agent.voice_settings AS agent_settings,
                            CASE WHEN agent.found IS NULL THEN {} WHEN configuration.place IS NULL THEN {} END AS hidden,
                            configuration.place, configuration.relation, configuration.version, configuration.voice_id,
                            configuration.temperature, configuration.provider_config, configuration.voice_settings
                     FROM {from}
                     OFFSET 0
                 ) AS j OFFSET 0
             ) AS i
             WINDOW so_far AS (ROWS UNBOUNDED PRECEDING)
         ) AS w",
        weights.join(" + "),
        copied.join(", "),
        rows_may_be_hidden(&agents.table),
        rows_may_be_hidden(&configurations.table),
    )
}

/// Writes a batch: `$1` the places of the configurations, `$2` to `$8` what to write, null for what stays as it is, `$9` the
/// relations that the places are in, and `$10` the slugs that they are for. Takes the rows of the outbox at the places `$11`, of the
/// versions `$12` and with the slugs `$13`.
///
/// Identity (G13): a configuration is the row that [`claim`] has locked in the same transaction, so no rewrite of the table and no
/// other session can have moved it; and it must still be for the slug that it was read for, or nothing is written. A row of the
/// outbox is what has this place, this version and this slug: the table is locked against rewrites since [`claim`], and a place
/// that has been used again has another version.
///
/// A batch of which a row was not written, because a trigger of somebody else's kept it back, must not be committed: it divides
/// by zero.
///
/// With `history`, notes what is written as well, and on whose account: that of the latest of the rows of the outbox.
pub fn write(layout: &Layout, history: bool) -> String {
    let configurations = &layout.configurations;
    let names: Vec<&str> = written(configurations).iter().map(|(name, _)| *name).collect();
    let rows = format!(
        "unnest($1::tid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
                     $9::oid[], $10::text[]) AS u (place, {}, relation, slug)",
        names.join(", ")
    );
    let these = format!(
        "c.ctid = ANY ($1) AND c.ctid = u.place AND c.tableoid = u.relation AND {} = u.slug",
        configurations.lookup("c")
    );
    let (returned, noted) = if history {
        ("RETURNING o.slug, o.at, o.application_name, o.role", note_history(configurations, &rows, &these))
    } else {
        ("", String::new())
    };
    format!(
        "WITH taken AS (
         DELETE FROM agent_sync.outbox o USING unnest($11::tid[], $12::xid[], $13::text[]) AS t (place, version, slug)
         WHERE o.ctid = ANY ($11) AND {THIS_CHANGE} {returned}
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

/// What makes a row of the outbox the one that was read.
const THIS_CHANGE: &str = "o.ctid = t.place AND o.xmin = t.version AND o.slug = t.slug";

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

/// Takes rows out of the outbox when a batch wrote nothing for them: those at the places `$1`, of the versions `$2`, with the slugs
/// `$3`; see [`write()`].
pub fn take() -> String {
    format!(
        "DELETE FROM agent_sync.outbox o USING unnest($1::tid[], $2::xid[], $3::text[]) AS t (place, version, slug)
         WHERE o.ctid = ANY ($1) AND {THIS_CHANGE}"
    )
}
