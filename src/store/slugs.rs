//! The slugs of some agents, for a hint at a mistyped one. Read-only.
//!
//! Invariant: the rows that are read are bounded, whatever the size of the table: the first
//! `FIRST`, those with a given spelling by the index, and where an index has the order of the
//! slugs, `BESIDE` on each side of a slug.

use super::MayRead;
use super::layout::Layout;
use super::queries::shown;

/// The most bytes of a slug that is compared.
pub const LONGEST: usize = 200;

/// The agents that are read, whatever their slugs are.
const FIRST: u32 = 10_000;

/// The agents that are read on each side of a slug.
const BESIDE: u32 = 500;

/// The distinct slugs of some agents that may be meant by the slugs `$1`, or have one of the
/// spellings `$2`; of the tenant `$3`, unless it is null.
pub fn some(layout: &Layout, _: MayRead) -> String {
    let agents = &layout.agents;
    let (table, lookup) = (&agents.table, agents.lookup("a"));
    let tenant = agents.tenant.as_ref();
    let tenant = tenant.map_or_else(|| "NULL::text".to_owned(), |tenant| tenant.text("a"));
    let columns = format!("a.{}::text AS slug, {tenant} AS tenant", agents.slug.name);
    let spelled = if agents.names_are_indexed() {
        format!(
            "UNION ALL (SELECT {columns} FROM {table} a WHERE {lookup} = ANY ($2::text[])
             LIMIT {FIRST})"
        )
    } else {
        String::new()
    };
    let beside = if agents.is_in_order_of_an_index() {
        let side = |operator: &str, direction: &str| {
            format!(
                "UNION ALL (SELECT b.slug, b.tenant FROM unnest($1::text[]) AS u (given)
                 CROSS JOIN LATERAL (SELECT {columns} FROM {table} a
                   WHERE {lookup} {operator} u.given ORDER BY {lookup} {direction}
                   LIMIT {BESIDE}) AS b)"
            )
        };
        format!("{} {}", side(">=", "ASC"), side("<", "DESC"))
    } else {
        String::new()
    };
    format!(
        "SELECT DISTINCT {} FROM (
             (SELECT {columns} FROM {table} a LIMIT {FIRST}) {spelled} {beside}) AS s
         WHERE octet_length(s.slug) <= {LONGEST} AND ($3::text IS NULL OR s.tenant = $3::text)
           -- Both are parameters of every form of this query.
           AND $1::text[] IS NOT NULL AND $2::text[] IS NOT NULL",
        shown("s.slug")
    )
}
