//! The queries of `wait`, read-only.

use super::MayRead;
use super::layout::Layout;
use super::queries::shown;
use crate::key::Keys;

/// The end of the snapshot: every transaction that has ended has a smaller number.
pub const MOMENT: &str = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::int8";

/// Whether the row `alias` of a table of ours is about one of the names `$slugs`, unless that is null,
/// and about the tenant `$tenant`, likewise. A row without tenant is about every tenant.
fn is_named(keys: Keys, alias: &str, slugs: &str, tenant: &str) -> String {
    let of_tenant = if keys.have_tenants() {
        format!(" AND ({tenant}::text IS NULL OR coalesce({alias}.tenant, {tenant}) = {tenant})")
    } else {
        String::new()
    };
    let plain = if keys.have_tenants() {
        format!(" OR {alias}.tenant || '/' || {alias}.slug = ANY ({slugs}::text[])")
    } else {
        String::new()
    };
    format!("({slugs}::text[] IS NULL OR {alias}.slug = ANY ({slugs}::text[]){plain}){of_tenant}")
}

/// How many keys, counted up to 1,000 rows, have a row in the outbox whose transaction has a number
/// below `$1`; with `$2` only of these names, and with `$3` only of this tenant. A row tells the age
/// of its transaction, and the present number less the age is the whole number. It is a little too
/// small while transactions run, so a later change may count as well.
pub fn awaited(keys: Keys) -> String {
    format!(
        "
    SELECT count(DISTINCT w.key) FROM (
        SELECT {} AS key FROM agent_sync.outbox o
        WHERE pg_snapshot_xmax(pg_current_snapshot())::text::int8 - age(o.xmin) < $1::int8
          AND {}
        LIMIT 1000) AS w",
        keys.of_row("o"),
        is_named(keys, "o", "$2", "$3")
    )
}

/// The first 20 problems of the names `$1`, unless that is null, and of the tenant `$2`, likewise: the
/// columns of the key, kind, reason and SQLSTATE.
pub fn problems_of_named(keys: Keys) -> String {
    let column = |name| format!("{} AS {name}", shown(&format!("p.{name}")));
    let tenant = keys.have_tenants().then(|| column("tenant"));
    let key: Vec<String> = tenant.into_iter().chain([column("slug")]).collect();
    format!(
        "
    SELECT {}, p.kind, p.detail, p.sqlstate FROM agent_sync.problem p
    WHERE {} ORDER BY p.since, p.slug LIMIT 20",
        key.join(", "),
        is_named(keys, "p", "$1", "$2")
    )
}

/// Those of the names `$1` that no agent has: of the tenant `$2`, unless that is null.
pub fn unknown(layout: &Layout, _: MayRead) -> String {
    let agents = &layout.agents;
    let (slug, of_tenant) = (agents.lookup("a"), agents.tenant.as_ref());
    let of_tenant =
        of_tenant.map_or_else(|| "true".to_owned(), |tenant| tenant.is("a", "$2::text"));
    let table = &agents.table;
    // A condition of its own, so that an index can serve the first one.
    let with_slash = agents.tenant.as_ref().map(|_| {
        format!(
            " AND (u.slug NOT LIKE '%/%' OR $2::text IS NOT NULL
                OR NOT EXISTS (SELECT FROM {table} a WHERE {} = u.slug))",
            agents.plain_key("a")
        )
    });
    format!(
        "SELECT u.slug FROM unnest($1::text[]) AS u (slug)
         WHERE NOT EXISTS (SELECT FROM {table} a
                           WHERE {slug} = u.slug AND ($2::text IS NULL OR {of_tenant})){}",
        with_slash.unwrap_or_default()
    )
}
