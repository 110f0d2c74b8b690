//! Configurations whose slug is almost that of an agent (T7), or the same, where an index has
//! missed them (G14).

use super::sent::shown;
use crate::store::layout::Layout;

/// The most bytes of a slug that is compared.
const LONGEST: u32 = 1024;

/// The slug without what people take for the same: case, surrounding blanks, and the Unicode form;
/// and, beside a column of another type than text, the other ways to write one value of it.
fn folded(layout: &Layout, slug: &str) -> String {
    let text = format!(
        "lower(btrim(CASE WHEN getdatabaseencoding() = 'UTF8' THEN normalize({slug}, NFKC) ELSE \
        {slug} END, E' \\t\\r\\n') COLLATE \"default\")"
    );
    let (pattern, kept) = if layout.has_integer_slugs() {
        ("^[+]?(-?)0*([0-9]+)$", r"\1\2")
    } else if layout.has_uuid_slugs() {
        (
            "^[{]?([0-9a-f]{8})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{12})[}]?$",
            r"\1\2\3\4\5",
        )
    } else {
        return text;
    };
    format!("regexp_replace({text}, '{pattern}', '{kept}')")
}

/// For those of the keys `$1` that have no configuration, the slug of a configuration that differs
/// in case, surrounding blanks, Unicode form or the way to write a value alone, of the same tenant
/// if there are tenants; and whether a configuration has the same slug.
///
/// No index finds it, so the configurations are read once, as a sample of all pages, because the
/// settings of the planner for batches would have an index read instead, which may miss the same
/// slug; and only where they take less than 64
/// MiB, or, where they are partitioned, have fewer than 100,000 rows by the statistics. That says
/// nothing of the bytes of a slug, which PostgreSQL compresses: those of more than `LONGEST`
/// bytes are not compared. The length of a text is in its header, and the text is not read for it.
pub fn near_misses(layout: &Layout) -> String {
    let (configurations, keys) = (&layout.configurations, layout.keys());
    let (table, slug) = (&configurations.table, &configurations.agent_slug.name);
    let (tenant, bare) = keys.parts_of("given");
    let same_tenant = configurations
        .tenant
        .as_ref()
        .map(|column| format!(" AND {}", column.is("c", &tenant)))
        .unwrap_or_default();
    let given = keys.given();
    format!(
        "SELECT given.slug, {}, bool_or({} IS TRUE)
         FROM {given}
         JOIN {table} c TABLESAMPLE system (100) ON {} = {}{same_tenant}
         WHERE octet_length(c.{slug}::text) <= {LONGEST} AND octet_length({bare}::text) <= {LONGEST}
           AND (SELECT CASE t.relkind WHEN 'p' THEN t.reltuples BETWEEN 0 AND 100000
                       ELSE pg_relation_size(t.oid) < 67108864 END
                FROM pg_class t WHERE t.oid = to_regclass($2::text))
         GROUP BY 1",
        shown(&format!("min(c.{slug}::text COLLATE \"C\")")),
        format_args!(
            "c.{slug}::pg_catalog.text COLLATE pg_catalog.\"C\" OPERATOR(pg_catalog.=) {bare}"
        ),
        folded(layout, &format!("c.{slug}::text")),
        folded(layout, &format!("{bare}::text")),
    )
}
