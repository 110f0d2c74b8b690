//! Rows that the index on a slug does not find, because it is damaged, or in the order of another
//! version of its collation (G14). An index that leads to the row of another slug does not find its
//! own.

use crate::key::Keys;
use crate::store::MayRead;
use crate::store::layout::{Agents, Configurations, Layout, Tenant, is_exactly};

/// Those of the rows `given` for which a lookup `is` in the table, with the alias `x`, does not
/// find a row that `is_own`.
fn missed(given: &str, table: &str, (is, is_own): (&str, &str)) -> String {
    format!(
        "SELECT given.slug FROM {given}
         LEFT JOIN LATERAL (SELECT {is_own} AS is_own FROM {table} x WHERE {is} LIMIT 1)
           AS one ON true
         WHERE one.is_own IS NOT TRUE"
    )
}

/// Those of the keys `$1` that an agent has, although the lookup of a claim does not find it.
///
/// The table is read as a whole, and only if a key is not found: as a sample of all pages, because
/// the settings of the planner for batches would have the index read instead.
pub fn missed_by_index(agents: &Agents) -> String {
    let (table, slug) = (&agents.table, &agents.slug.name);
    let keys = agents.keys();
    let (tenant, bare) = keys.parts_of("given");
    let key = match keys {
        Keys::Slugs => format!("a.{slug}::text"),
        Keys::Tenants => agents.key("a"),
    };
    format!(
        "WITH missed AS MATERIALIZED ({})
         SELECT {key} FROM {table} a TABLESAMPLE system (100)
         WHERE {key} COLLATE \"C\" IN (SELECT m.slug COLLATE \"C\" FROM missed m)",
        missed(
            &keys.given(),
            table,
            (
                &agents.is("x", &tenant, &bare),
                &agents.is_exactly("x", &tenant, &bare)
            )
        )
    )
}

/// The columns of a key in one of the two tables.
#[derive(Debug, Clone, Copy)]
pub struct KeyColumns<'a> {
    /// The table, quoted.
    pub table: &'a str,
    /// The column of the slug.
    pub slug: &'a str,
    /// The column of the tenant.
    pub tenant: Option<&'a Tenant>,
    /// The condition that the row `x` has the key `given`, of the columns `tenant` and `slug`.
    pub is: &'a str,
}

/// The number of pages of the quoted table `$1`, with its partitions and children: a partitioned
/// table itself has none.
const PAGES: &str = "(WITH RECURSIVE tree (part) AS (
                   SELECT pg_catalog.to_regclass($1)::pg_catalog.oid
                   UNION SELECT i.inhrelid FROM pg_catalog.pg_inherits i
                         JOIN tree t ON i.inhparent OPERATOR(pg_catalog.=) t.part)
               SELECT coalesce(pg_catalog.sum(pg_catalog.pg_relation_size(t.part)), 0)
                        OPERATOR(pg_catalog./) 8192 FROM tree t)";

/// The names of the quoted table `$1` and of its quoted column `$2`, if a lookup of a key by index
/// does not find some of its rows: of at most 1,000, from about 16 pages of all of the table, its
/// partitions and its children together. What is stored beside the pages, such as a long prompt, is
/// not read.
///
/// The settings of [`BY_INDEX`] have to be in force, or the planner may read a small table instead.
pub fn index_misses(key: KeyColumns<'_>, _: MayRead) -> String {
    let KeyColumns {
        table,
        slug: column,
        tenant,
        is,
    } = key;
    let is_own = is_exactly("x", (tenant, column), ("given.tenant", "given.slug"));
    let (tenant, has_tenant) = tenant.map_or_else(Default::default, |tenant| {
        let text = tenant.text("a");
        (
            // In the collation "C" it would not be looked up by index.
            format!("{text} COLLATE \"default\" AS tenant, "),
            format!(" AND {text} IS NOT NULL"),
        )
    });
    // In the order of the table, the limit would leave the end of each sample out.
    let sample = format!(
        "(SELECT {tenant}a.{column}::text AS slug FROM {table} a TABLESAMPLE system (
              (SELECT (1600.0 / greatest(16, {PAGES}))::float4))
          WHERE a.{column} IS NOT NULL{has_tenant}
          ORDER BY pg_catalog.random() LIMIT 1000) AS given"
    );
    format!(
        "{NAMES}
         WHERE EXISTS ({})",
        missed(&sample, table, (is, &is_own))
    )
}

/// The names of the quoted table `$1` of the configurations and of its quoted column `$2`, if rows
/// of it have a slug and no tenant; None where no row can.
pub fn lack_tenant(configurations: &Configurations, _: MayRead) -> Option<String> {
    let tenant = configurations
        .tenant
        .as_ref()
        .filter(|tenant| tenant.is_nullable)?;
    let (table, slug, tenant) = (
        &configurations.table,
        &configurations.agent_slug.name,
        &tenant.column.name,
    );
    Some(format!(
        "{NAMES}
         WHERE EXISTS (SELECT FROM {table} c WHERE c.{tenant} IS NULL AND c.{slug} IS NOT NULL)"
    ))
}

/// A table with the column of its slug, whose index a reader of every agent may follow.
#[derive(Debug, Clone)]
pub struct SlugIndex<'a> {
    /// The table, quoted.
    pub table: &'a str,
    /// The column of the slug, quoted.
    pub slug: &'a str,
    /// The slug of the row `t` as it is looked up.
    key: String,
}

impl Layout {
    /// The agents; and the configurations, where an index finds those of an agent.
    pub fn slug_indexes(&self) -> Vec<SlugIndex<'_>> {
        let (agents, configurations) = (&self.agents, &self.configurations);
        let mut indexes = vec![SlugIndex {
            table: &agents.table,
            slug: &agents.slug.name,
            key: agents.lookup("t"),
        }];
        if configurations.key_is_indexed {
            indexes.push(SlugIndex {
                table: &configurations.table,
                slug: &configurations.agent_slug.name,
                key: configurations.lookup("t"),
            });
        }
        indexes
    }
}

impl SlugIndex<'_> {
    /// The rows, without a column, in the order of the index on the slugs, without those that it
    /// has behind a later one. Where no index has that order, a sort gives it, and an index that
    /// has the slug is read.
    ///
    /// The settings of [`ALONG_INDEX`] have to be in force.
    pub fn along(&self) -> String {
        let Self { table, slug, key } = self;
        format!(
            "SELECT FROM (SELECT {key} AS slug, lag({key}) OVER (ORDER BY {key}) AS before
                          FROM {table} t WHERE t.{slug} IS NOT NULL) AS o
             WHERE o.before IS NULL OR o.slug >= o.before"
        )
    }

    /// The rows of the table itself, without a column: by a sample of all pages, which no index
    /// serves.
    pub fn past(&self) -> String {
        let Self { table, slug, .. } = self;
        format!("SELECT FROM {table} t TABLESAMPLE system (100) WHERE t.{slug} IS NOT NULL")
    }
}

/// The names of the quoted table `$1` and of its quoted column `$2`, for a finding.
pub const NAMES: &str = "SELECT coalesce(to_regclass($1)::text, $1::text), \
    quote_ident((parse_ident($2::text))[1])";

/// Begins a transaction in which rows are read in the order of an index, in one snapshot; each row
/// itself, because the index may lead to that of another slug.
pub const ALONG_INDEX: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY; \
    SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; \
    SET LOCAL enable_sort = off; SET LOCAL enable_indexscan = on; \
    SET LOCAL enable_indexonlyscan = off";

/// Has the session read tables past their indexes.
pub const PAST_INDEXES: &str = "SET enable_indexscan = off; SET enable_indexonlyscan = off; \
    SET enable_bitmapscan = off; SET enable_seqscan = on; SET enable_sort = on";

/// Begins a transaction in which lookups are made by index, each with a look at the row.
pub const BY_INDEX: &str = "BEGIN READ ONLY; SET LOCAL enable_seqscan = off; SET LOCAL \
    enable_indexonlyscan = off; SET LOCAL enable_nestloop = on; SET LOCAL enable_hashjoin = off; \
    SET LOCAL enable_mergejoin = off";
