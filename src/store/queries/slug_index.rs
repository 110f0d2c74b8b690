//! Rows that the index on a slug does not find, because it is damaged, or in the order of another
//! version of its collation (G14).

use crate::store::layout::Agents;

/// Those of the rows `given (slug)` that a lookup in the table, with the alias `x`, does not find.
fn missed(given: &str, table: &str, lookup: &str) -> String {
    format!(
        "SELECT given.slug FROM {given}
         LEFT JOIN LATERAL (SELECT true AS found FROM {table} x WHERE {lookup} = given.slug LIMIT 1)
           AS one ON true
         WHERE one.found IS NULL"
    )
}

/// Those of the slugs `$1` that an agent has, although the lookup of a claim does not find it.
///
/// The table is read as a whole, and only if a slug is not found: as a sample of all pages, because
/// the settings of the planner for batches would have the index read instead.
pub fn missed_by_index(agents: &Agents) -> String {
    let (table, slug) = (&agents.table, &agents.slug.name);
    format!(
        "WITH missed AS MATERIALIZED ({})
         SELECT a.{slug}::text FROM {table} a TABLESAMPLE system (100)
         WHERE a.{slug}::text COLLATE \"C\" IN (SELECT m.slug COLLATE \"C\" FROM missed m)",
        missed(
            "unnest($1::text[]) AS given (slug)",
            table,
            &agents.lookup("x")
        )
    )
}

/// The names of the quoted table `$1` and of its quoted column `$2`, if a lookup by index in that
/// column, which compares as `lookup` does with the alias `x`, does not find some of its rows: of a
/// sample of 16 pages.
///
/// The settings of [`BY_INDEX`] have to be in force, or the planner may read a small table instead.
pub fn index_misses(table: &str, column: &str, lookup: &str) -> String {
    let sample = format!(
        "(SELECT a.{column}::text AS slug FROM {table} a TABLESAMPLE system (
              (1600.0 / greatest(16, pg_relation_size(to_regclass($1)) / 8192))::float4)
          WHERE a.{column} IS NOT NULL LIMIT 200) AS given"
    );
    format!(
        "SELECT coalesce(to_regclass($1)::text, $1::text), quote_ident((parse_ident($2::text))[1])
         WHERE EXISTS ({})",
        missed(&sample, table, lookup)
    )
}

/// Begins a transaction in which lookups are made by index.
pub const BY_INDEX: &str = "BEGIN READ ONLY; SET LOCAL enable_seqscan = off; SET LOCAL \
    enable_nestloop = on; SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off";
