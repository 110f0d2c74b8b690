//! The queries of a lone change (`store::lone`): the same for one row, without locks held from the one to the other.

use super::batch::{agent_by_index, claimed, configuration_by_index};
use super::columns::{HISTORY, assignments, noted};
use super::upkeep::KEEP_LEAD;
use crate::store::layout::Layout;

/// Reads the one row of the outbox at the place `$1` and what it is about, as [`super::claim`] does for many, without locks; the
/// contents while they weigh no more than `$2` bytes. None where an index is missing. A second configuration is there only to
/// tell that there is one.
pub fn claim_lone(layout: &Layout) -> Option<String> {
    let Layout { agents, configurations, .. } = layout;
    (agents.slug_is_indexed && configurations.agent_slug_is_indexed).then(|| {
        let changed = format!(
            "(SELECT o.slug, ARRAY[o.ctid] AS places, ARRAY[o.xmin] AS versions, o.at, o.at AS latest
              FROM agent_sync.outbox o WHERE o.ctid = $1) AS changed LEFT JOIN {} LEFT JOIN {}",
            agent_by_index(agents),
            configuration_by_index(configurations, "LIMIT 2")
        );
        claimed(layout, "NULL::int8", "$2::float8", &changed)
    })
}

/// Writes one configuration that was read by [`claim_lone`], in a transaction of its own: `$1` its place, `$2` to `$8` what to
/// write, `$9` its relation, `$10` its version; and takes the row of the outbox at the place `$11`, of the version `$12` and
/// the slug `$13`, which it counts.
///
/// Identity (G13): nothing is locked between the two statements, so both tables may be rewritten in between. VACUUM FULL and
/// CLUSTER move rows and keep their versions, and rows that one transaction wrote share a version: so a place and a version name
/// no row. The configuration is the one that is for the slug `$13`, of which [`claim_lone`] has found just one, and is
/// still the version that was read: another row for this slug has another version, or it would have been found as well. The row
/// of the outbox is held to place, version and slug likewise; another row with all three is of the same transaction and the same
/// agent, and so is about the same change.
///
/// If the configuration or the row of the outbox is not what it was, or somebody holds the configuration locked, or another session
/// has the leader's lock (G2), nothing is written, nothing taken, and nothing waited for.
///
/// With `history`, notes what is written as well, and counts that: the same number.
pub fn write_lone(layout: &Layout, history: bool) -> String {
    let configurations = &layout.configurations;
    let (table, slug) = (&configurations.table, configurations.lookup("c"));
    let value = |index: usize, _: &str| format!("${}::text", index + 2);
    let change = "o.ctid = $11 AND o.xmin = $12 AND o.slug = $13";
    let configuration = format!("c.ctid = $1 AND c.tableoid = $9 AND {slug} = $13");
    let take = format!("DELETE FROM agent_sync.outbox o USING written WHERE {change}");
    let (seen, take) = if history {
        let note = noted(configurations, "locked", value);
        let columns = configurations.key.iter().chain([&configurations.provider_config.name]);
        (
            columns.map(|column| format!("c.{column}")).collect::<Vec<_>>().join(", "),
            format!(
                ", taken AS ({take} RETURNING o.application_name, o.role)
                 {HISTORY}
                 SELECT $13, {note}, taken.application_name, taken.role FROM taken, locked"
            ),
        )
    } else {
        (String::new(), take)
    };
    format!(
        "WITH locked AS MATERIALIZED (
         SELECT {seen} FROM {table} c WHERE {configuration} AND c.xmin = $10::text::xid
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
