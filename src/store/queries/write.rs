//! The write of a batch: the queries that write its configurations and take its rows out of the
//! outbox.

use super::columns::{array, assignments};
use super::history::{into_history, noted};
use crate::columns::{Column, MappedColumn as _};
use crate::key::Keys;
use crate::store::layout::{Configurations, Layout};

/// Writes a batch: the configurations at the places `$1`, in the relations `$2`, for the slugs
/// `$3`. Takes the rows of the outbox at the places `$4`, of the versions `$5` and with the slugs
/// `$7`: for each row, `$6` has the number of its slug among them, so that a slug is sent once
/// (G12). The values of the mapped columns are the parameters (`array`) after these, null for a
/// column that keeps its value.
///
/// Identity (G13): [`super::claim()`] has locked the configuration in the same transaction, so
/// neither a rewrite of the table nor another session can have moved it. Its slug must be the slug
/// that it was read for, byte by byte; otherwise nothing is written. A row of the outbox is
/// identified by place, version and slug: the table is locked against rewrites since the claim, and
/// a row at a reused place has another version.
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
        .map(|column| unnest(&array(column), "text"))
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
    let take = take_rows(keys, ["$4", "$5", "$6", "$7"]);
    format!(
        "WITH taken AS (
         {take} {returned}
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

/// Takes the rows of the outbox at these places, of these versions, and with the keys of these
/// numbers among these keys.
fn take_rows(keys: Keys, [places, versions, numbers, distinct]: [&str; 4]) -> String {
    let key = keys.of_row("o");
    let rows = [
        unnest(places, "tid"),
        unnest(versions, "xid"),
        unnest(numbers, "int4"),
    ];
    format!(
        "DELETE FROM agent_sync.outbox o
         USING ROWS FROM ({}) AS t (place, version, number)
         JOIN {} WITH ORDINALITY AS u (slug, number) ON u.number {EQUALS} t.number
         WHERE o.ctid {EQUALS} ANY ({places}) AND o.ctid {EQUALS} t.place
           AND o.xmin {EQUALS} t.version AND {key} {EQUALS} u.slug",
        rows.join(", "),
        unnest(distinct, "text"),
    )
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
/// the versions `$2`, with the numbers `$3` of the keys `$4`; see [`write()`].
pub fn take(keys: Keys) -> String {
    take_rows(keys, ["$1", "$2", "$3", "$4"])
}
