//! The queries of a batch: what it reads, and what it writes.

use super::claimed::claimed;
use super::columns::{
    As, MOST_CONFIGURATIONS, Weighed, agent_columns, assignments, configuration_columns,
    into_history, noted, parameter,
};
use crate::columns::{Column, MappedColumn as _};
use crate::key::Keys;
use crate::store::layout::{Agents, Configurations, Layout};

/// Reads up to `$2` rows of the outbox, from the ctid `$1` on, with their agents and
/// configurations, in one snapshot. The rows leave the outbox at the end of the batch, by
/// [`write()`] or [`take()`].
///
/// One row per slug and configuration, those of a slug together; the columns are those of
/// `batch::Claimed`. The configurations come locked (G4). A configuration that another session has
/// locked is not waited for and not returned; the slug then has fewer rows than configurations,
/// which marks it as busy. A slug that two agents share has each configuration twice.
///
/// The server weighs before it sends (G12): it adds up what the rows weigh in the order in which it
/// returns them, and the contents of a row come only while the sum is at most `$3` bytes. Of a slug
/// that does not fit, only one row without contents comes.
///
/// A slug with more than [`MOST_CONFIGURATIONS`] comes without any of them: none is read or locked.
///
/// Mostly a batch is small, and PostgreSQL spends more time on making a plan ready than on running
/// it: so where indexes allow, the plan is three look-ups for each slug. Where they do not, the
/// tables are read once and hashed.
pub fn claim(layout: &Layout) -> String {
    claim_of(
        layout,
        "ctid >= $1",
        "$2",
        "$3::float8",
        Weighed::ByEstimate,
    )
}

/// The same for the slug that is noted in `agent_sync.install` alone, with all of its rows in the
/// outbox (`store::attempt`), and contents up to `$1` bytes.
pub fn claim_first(layout: &Layout) -> String {
    let key = key_of_claimed(layout.keys());
    let noted = format!("{key} = (SELECT i.last_tried FROM agent_sync.install i)");
    claim_of(layout, &noted, "100000", "$1::float8", Weighed::Exactly)
}

/// The same for one slug alone, `$1`, with all of its rows in the outbox, and contents up to `$2`
/// bytes: none of them if that is 0, but which configurations it has, locked, and what they weigh.
pub fn claim_slug(layout: &Layout) -> String {
    let key = key_of_claimed(layout.keys());
    claim_of(
        layout,
        &format!("{key} = $1"),
        "100000",
        "$2::float8",
        Weighed::Exactly,
    )
}

/// The key of a row of the outbox in the condition of a claim.
fn key_of_claimed(keys: Keys) -> String {
    match keys {
        Keys::Slugs => "slug".to_owned(),
        Keys::Tenants => keys.of_row("outbox"),
    }
}

/// What a claim reads of the keys of the outbox: from the table, and of each key; and the time of
/// the oldest row.
///
/// Where the install has got tenants since the daemon connected, a slug alone would mean the agents
/// and the configurations of every tenant (G13). So a claim without tenants that meets a row with
/// one looks at the install, and fails as if a table were missing; the next connection compares the
/// settings. Such a row may also be left from an install that had tenants: then its slug counts.
fn claimed_keys(keys: Keys) -> (String, &'static str, &'static str) {
    match keys {
        Keys::Slugs => (
            "slug, tenant".to_owned(),
            "o.slug",
            "CASE WHEN count(o.tenant) = 0
                       OR (SELECT i.tables #>> '{agents,columns,tenant}'
                           FROM agent_sync.install i) IS NULL
                       OR concat('pg_catalog.agent_sync_has_', count(o.tenant), '_tenants')::regclass
                         IS NULL THEN min(o.at) END",
        ),
        Keys::Tenants => (
            keys.looked_up_of_row("outbox"),
            "o.slug, o.tenant, o.bare",
            "min(o.at)",
        ),
    }
}

fn claim_of(layout: &Layout, rows: &str, limit: &str, budget: &str, weighed: Weighed) -> String {
    let (agents, configurations) = (&layout.agents, &layout.configurations);
    let (agent_table, agent) = join_agents(agents);
    let (configuration_tables, configuration) = join_configurations(configurations);
    let together = if agents.key_is_indexed() && configurations.key_is_indexed {
        ""
    } else {
        "ORDER BY changed.slug"
    };
    let (read, key, oldest) = claimed_keys(layout.keys());
    format!(
        "WITH changed AS (
             SELECT {key}, array_agg(o.place) AS places, array_agg(o.version) AS versions,
                    {oldest} AS at
             FROM (SELECT ctid AS place, xmin AS version, {read},
                     CASE WHEN isfinite(at) THEN at END AS at FROM agent_sync.outbox
               WHERE {rows} LIMIT {limit}) AS o
             GROUP BY {key}
         ){agent_table}{configuration_tables}
         {}",
        claimed(
            layout,
            "coalesce(target.rows, 0)",
            budget,
            weighed,
            &format!("changed LEFT JOIN {agent} LEFT JOIN {configuration} {together}")
        )
    )
}

/// A table of the agents of all slugs, where no index finds one; and the join of `agent`.
fn join_agents(agents: &Agents) -> (String, String) {
    if agents.key_is_indexed() {
        return (String::new(), agent_by_index(agents));
    }
    let (slug, columns) = (agents.key("a"), agent_columns(agents, As::Stored));
    let table = format!(
        ", agent AS MATERIALIZED (
             SELECT {slug} AS slug, true AS found, {columns} FROM {} a
             WHERE {slug} IN (SELECT slug FROM changed))",
        agents.table
    );
    (table, "agent ON agent.slug = changed.slug".to_owned())
}

/// The same for `target`, the number of the configurations of a slug, and `configuration`, locked.
fn join_configurations(configurations: &Configurations) -> (String, String) {
    let (from, slug) = (&configurations.table, configurations.key_of_agent("c"));
    if configurations.key_is_indexed {
        let this = configurations_of_changed(configurations);
        // Counted no further than the bound.
        let target = format!(
            "LATERAL (SELECT count(*) AS rows FROM (SELECT FROM {from} c
                 WHERE {this} LIMIT {MOST_CONFIGURATIONS} + 1) AS counted) target \
            ON true"
        );
        let locked = configuration_by_index(
            configurations,
            &format!("AND target.rows <= {MOST_CONFIGURATIONS} FOR NO KEY UPDATE OF c SKIP LOCKED"),
        );
        return (String::new(), format!("{target} LEFT JOIN {locked}"));
    }
    let tables = format!(
        ", target AS MATERIALIZED (
             SELECT {slug} AS slug, count(*) AS rows FROM {from} c
             WHERE {slug} IN (SELECT slug FROM changed) GROUP BY 1
         ), configuration AS MATERIALIZED (
             SELECT {slug} AS slug, {} FROM {from} c
             WHERE {slug} IN (SELECT slug FROM target WHERE rows <= {MOST_CONFIGURATIONS})
             FOR NO KEY UPDATE OF c SKIP LOCKED)",
        configuration_as_it_is(configurations)
    );
    let joins = "target ON target.slug = changed.slug LEFT JOIN configuration ON \
        configuration.slug = changed.slug";
    (tables, joins.to_owned())
}

/// Reads the agent of the slug `$1` with its configurations at the places `$2` in the relations
/// `$3`, which [`claim`] has locked in the same transaction: one page of a slug that is too heavy
/// to be read at once. The columns are those of [`claim`].
pub fn claim_page(layout: &Layout) -> String {
    let (agents, configurations) = (&layout.agents, &layout.configurations);
    let (table, this) = (
        &configurations.table,
        configurations_of_changed(configurations),
    );
    let key = layout.keys().looked_up("$1::text");
    let page = format!(
        "(SELECT {key}, NULL::tid[] AS places, NULL::xid[] AS versions,
                 NULL::timestamptz AS at) AS changed
         LEFT JOIN {}
         LEFT JOIN LATERAL (
             SELECT {} FROM unnest($2::tid[], $3::oid[]) AS u (place, relation)
             JOIN {table} c ON c.ctid = u.place AND c.tableoid = u.relation
             WHERE c.ctid = ANY ($2::tid[]) AND {this}
         ) configuration ON true",
        agent_by_index(agents),
        configuration_as_it_is(configurations)
    );
    claimed(
        layout,
        "NULL::int8",
        "'infinity'::float8",
        Weighed::Before,
        &page,
    )
}

/// Looks up the agent of `changed`; the second one is there only to show that the key is not
/// unique. A key without tenant finds the agents without one.
fn agent_by_index(agents: &Agents) -> String {
    let (tenant, slug) = agents.keys().parts_of("changed");
    let select = format!(
        "SELECT true AS found, {} FROM {} a WHERE",
        agent_columns(agents, As::Stored),
        agents.table
    );
    let this = agents.is("a", &tenant, &slug);
    let without = agents
        .lacks_tenant("a", &slug)
        .map(|without| format!(" UNION ALL {select} {tenant} IS NULL AND {without}"));
    format!(
        "LATERAL ({select} {this}{} LIMIT 2) agent ON true",
        without.unwrap_or_default()
    )
}

/// The condition that the configuration `c` is for the key of `changed`.
pub(super) fn configurations_of_changed(configurations: &Configurations) -> String {
    let (tenant, slug) = configurations.keys().parts_of("changed");
    configurations.is("c", &tenant, &slug)
}

/// Looks up the configurations of `changed`.
fn configuration_by_index(configurations: &Configurations, ending: &str) -> String {
    format!(
        "LATERAL (SELECT {} FROM {} c WHERE {} {ending}) configuration ON true",
        configuration_as_it_is(configurations),
        configurations.table,
        configurations_of_changed(configurations)
    )
}

/// Which version of which row a configuration is, and what it says.
pub(super) fn configuration_as_it_is(configurations: &Configurations) -> String {
    let columns = configuration_columns(configurations, As::Stored);
    format!("c.tableoid AS relation, c.ctid AS place, c.xmin AS version, {columns}")
}

/// Locks the configurations of the slug `$1`, and waits for them.
pub fn lock_configurations(layout: &Layout) -> String {
    format!(
        "SELECT FROM {} FOR NO KEY UPDATE OF c",
        configurations_of_given(layout)
    )
}

/// Which versions of which rows the configurations of the slug `$1` are.
pub fn versions_of_configurations(layout: &Layout) -> String {
    format!(
        "SELECT coalesce(string_agg(concat_ws(' ', c.tableoid, c.ctid, c.xmin), ','
                                    ORDER BY c.tableoid, c.ctid), '')
         FROM {}",
        configurations_of_given(layout)
    )
}

/// The configurations `c` of the slug `$1`.
fn configurations_of_given(layout: &Layout) -> String {
    format!(
        "(SELECT {}) AS changed JOIN {} c ON {}",
        layout.keys().looked_up("$1::text"),
        layout.configurations.table,
        configurations_of_changed(&layout.configurations)
    )
}

/// Writes a batch: the configurations at the places `$1`, in the relations `$2`, for the slugs
/// `$3`. Takes the rows of the outbox at the places `$4`, of the versions `$5` and with the slugs
/// `$6`. The values of the mapped columns are the parameters (`parameter`) after these, null for a
/// column that keeps its value.
///
/// Identity (G13): [`claim`] has locked the configuration in the same transaction, so neither a
/// rewrite of the table nor another session can have moved it. Its slug must be the slug that it
/// was read for, byte by byte; otherwise nothing is written. A row of the outbox is identified by
/// place, version and slug: the table is locked against rewrites since [`claim`], and a row at a
/// reused place has another version.
///
/// A batch must not be committed if a trigger of others has suppressed one of its writes. So the
/// statement divides by zero unless it has written every row. It gives the number of the rows of
/// the outbox that it has taken.
///
/// With `history`, also records what is written, with the application and the role of the latest
/// outbox row of the slug.
///
/// Code of others runs with this statement, so it runs under their path, and names the schema of
/// all that it looks up (`store::path`).
pub fn write(layout: &Layout, history: bool) -> String {
    let (configurations, keys) = (&layout.configurations, layout.keys());
    let names = Column::ALL.map(Column::name).join(", ");
    let values = Column::ALL
        .map(|column| unnest(&parameter(column), "text"))
        .join(", ");
    let rows = format!(
        "ROWS FROM ({}, {}, {}, {values}) AS u (place, relation, slug, {names})",
        unnest("$1", "tid"),
        unnest("$2", "oid"),
        unnest("$3", "text"),
    );
    let these = format!(
        "c.ctid {EQUALS} ANY ($1) AND c.ctid {EQUALS} u.place AND c.tableoid {EQUALS} u.relation \
        AND {} {EQUALS} u.slug",
        configurations.exact("c")
    );
    let (returned, noted) = if history {
        (
            format!(
                "RETURNING {} AS slug, o.at, o.application_name, o.role",
                keys.of_row("o")
            ),
            note_history(configurations, keys, &rows, &these),
        )
    } else {
        ("RETURNING 1".to_owned(), String::new())
    };
    let this_change = this_change(keys);
    let taken = [
        unnest("$4", "tid"),
        unnest("$5", "xid"),
        unnest("$6", "text"),
    ]
    .join(", ");
    format!(
        "WITH taken AS (
         DELETE FROM agent_sync.outbox o
         USING ROWS FROM ({taken}) AS t (place, version, slug)
         WHERE o.ctid {EQUALS} ANY ($4) AND {this_change} {returned}
         ){noted}, written AS (
         UPDATE {} c SET {}
         FROM {rows}
         WHERE {these}
         RETURNING 1)
         SELECT 1 OPERATOR(pg_catalog./) (pg_catalog.count(*) {EQUALS}
           pg_catalog.cardinality($1))::pg_catalog.int4,
           (SELECT pg_catalog.count(*) FROM taken) FROM written",
        configurations.table,
        assignments(configurations, |column| format!("u.{}", column.name())),
    )
}

/// An array of this type as a column.
fn unnest(parameter: &str, of_type: &str) -> String {
    format!("pg_catalog.unnest({parameter}::pg_catalog.{of_type}[])")
}

/// "=" in a statement that runs under the path of the role.
pub(super) const EQUALS: &str = "OPERATOR(pg_catalog.=)";

/// The condition that a row of the outbox is the one that was read.
fn this_change(keys: Keys) -> String {
    let key = keys.of_row("o");
    format!("o.ctid {EQUALS} t.place AND o.xmin {EQUALS} t.version AND {key} {EQUALS} t.slug")
}

/// The part of [`write()`] that records the history. It sees the rows as they were before. If the
/// sequence of the history was set back and a number is in use, the record is skipped and the batch
/// is written; `sql/0001_schema.sql` repairs the sequence.
fn note_history(configurations: &Configurations, keys: Keys, rows: &str, these: &str) -> String {
    let (table, slug) = (&configurations.table, &configurations.agent_slug.name);
    let slug = format!("c.{slug}::pg_catalog.text");
    let (names, key) = match &configurations.tenant {
        Some(tenant) => (
            format!("{}, {slug}", tenant.text("c")),
            configurations.exact("c"),
        ),
        None => (slug.clone(), slug),
    };
    let history = into_history(keys);
    format!(
        ", cause AS (
         SELECT DISTINCT ON (t.slug) t.slug, t.application_name, t.role FROM taken t
           ORDER BY t.slug, t.at DESC
         ), history AS (
         {history}
         SELECT {names}, {}, cause.application_name, cause.role
         FROM {rows} JOIN {table} c ON {these} LEFT JOIN cause
           ON cause.slug {EQUALS} {key}
         ON CONFLICT DO NOTHING
         )",
        noted(configurations, "c", |column| format!("u.{}", column.name())),
    )
}

/// Takes rows out of the outbox when a batch wrote nothing for them: those at the places `$1`, of
/// the versions `$2`, with the keys `$3`; see [`write()`].
pub fn take(keys: Keys) -> String {
    let this_change = this_change(keys);
    format!(
        "DELETE FROM agent_sync.outbox o USING unnest($1::tid[], $2::xid[], $3::text[]) AS t
              (place, version, slug)
         WHERE o.ctid = ANY ($1) AND {this_change}"
    )
}
