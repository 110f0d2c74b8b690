//! The claim: the queries by which a batch reads rows of the outbox with their agents and
//! configurations, and locks the configurations. `claimed` has the columns of their results.

use super::claimed::claimed;
use super::columns::{As, agent_columns, configuration_columns};
use super::weight::Weighed;
use crate::key::Keys;
use crate::store::layout::{Agents, Configurations, Layout};

/// The most configurations of one agent. An agent with more is rejected, and none of them is read.
pub const MOST_CONFIGURATIONS: u32 = 10_000;

/// The most rows of the outbox that a claim of one slug reads.
const MOST_ROWS: &str = "100000";

/// Reads up to `$2` rows of the outbox, from the ctid `$1` on, without those of the keys `$4`, with
/// their agents and configurations, in one snapshot. The rows leave the outbox at the end of the
/// batch, by [`write()`](super::write()) or [`take()`](super::take()).
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
    let key = key_of_claimed(layout.keys());
    claim_of(
        layout,
        &format!("ctid >= $1 AND {key} <> ALL ($4::text[])"),
        "$2",
        "$3::float8",
        Weighed::ByEstimate,
    )
}

/// The same for the suspect alone, the slug that is noted in `agent_sync.install`, with all of its
/// rows in the outbox (`store::suspect`), and contents up to `$1` bytes.
pub fn claim_suspect(layout: &Layout) -> String {
    let key = key_of_claimed(layout.keys());
    let noted = format!("{key} = (SELECT i.last_tried FROM agent_sync.install i)");
    claim_of(layout, &noted, MOST_ROWS, "$1::float8", Weighed::Exactly)
}

/// The same for one slug alone, `$1`, with all of its rows in the outbox, and contents up to `$2`
/// bytes: none of them if that is 0, but which configurations it has, locked, and what they weigh.
pub fn claim_slug(layout: &Layout) -> String {
    let key = key_of_claimed(layout.keys());
    claim_of(
        layout,
        &format!("{key} = $1"),
        MOST_ROWS,
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
                       OR concat('pg_catalog.agent_sync_has_', count(o.tenant),
                                 '_tenants')::regclass
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
/// unique. A key without tenant finds the agents without one. The value of `found` is false where
/// the index leads to an agent with another key.
fn agent_by_index(agents: &Agents) -> String {
    let (tenant, slug) = agents.keys().parts_of("changed");
    let select = format!(
        "SELECT {} AS found, {} FROM {} a WHERE",
        agents.is_exactly("a", &tenant, &slug),
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

/// Locks the configurations of the slug `$1`, and waits for them; of one that has more than
/// [`MOST_CONFIGURATIONS`], which is rejected, no more. Gives their number, and not a row for each
/// (G12).
pub fn lock_configurations(layout: &Layout) -> String {
    format!(
        "SELECT count(*) FROM (SELECT FROM {} LIMIT {MOST_CONFIGURATIONS} + 1
                               FOR NO KEY UPDATE OF c) AS locked",
        configurations_of_given(layout)
    )
}

/// Which versions of which rows the configurations of the slug `$1` are, as one number: their text
/// would grow with their number (G12). Two may have the same number. The daemon may wait after it,
/// so it has a word of a daemon (`IS_OTHERS`).
pub fn versions_of_configurations(layout: &Layout) -> String {
    format!(
        "SELECT /* agent_sync */ hashtextextended(coalesce(string_agg(
                  concat_ws(' ', v.relation, v.place, v.version),
                  ',' ORDER BY v.relation, v.place), ''), 0)
         FROM (SELECT c.tableoid AS relation, c.ctid AS place, c.xmin AS version FROM {}
               LIMIT {MOST_CONFIGURATIONS} + 1) AS v",
        configurations_of_given(layout)
    )
}

/// Whether another session has a configuration of the slug `$1` locked, in a transaction that has
/// claimed the slug and so locked the others. Of a slug that does not fit, a claim does not say.
pub fn has_locked_configuration(layout: &Layout) -> String {
    let all = configurations_of_given(layout);
    let most = format!("LIMIT {MOST_CONFIGURATIONS} + 1");
    format!(
        "SELECT (SELECT count(*) FROM (SELECT FROM {all} {most}) AS counted)
              > (SELECT count(*) FROM (SELECT FROM {all} {most}
                                       FOR NO KEY UPDATE OF c SKIP LOCKED) AS locked)"
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
