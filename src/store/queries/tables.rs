//! The faults of the tables that the daemon writes to.

use super::own::{OWN_RELATIONS, is_named};

/// Which of the quoted tables `$1` and `$2`, their partitions and children a crash of the server
/// empties.
pub const UNLOGGED: &str = "
    WITH RECURSIVE relation (oid) AS (
        SELECT o.oid FROM (VALUES (to_regclass($1::text)::oid), (to_regclass($2::text)::oid)) AS
          o (oid)
        UNION
        SELECT i.inhrelid FROM relation r JOIN pg_inherits i ON i.inhparent = r.oid
    )
    SELECT c.oid::regclass::text FROM relation r JOIN pg_class c ON c.oid = r.oid
      WHERE c.relpersistence = 'u' ORDER BY 1";

/// The tables that are published without a replica identity, so that PostgreSQL refuses what the
/// daemon does in them: updates of the configurations, the quoted table `$1` with its partitions,
/// and deletes and updates in tables of ours. The table, and whether it is ours.
///
/// A table is published, as PostgreSQL takes it, with each table that it is a partition of, with
/// the schema of one of them, or with all tables. Only a superuser publishes schemas or all tables,
/// and only the owner a table. So this begins at our tables, and reads the publications of others
/// at most once (S30): the view `pg_publication_tables` would expand each of them. PostgreSQL 14
/// has no catalog of published schemas, which `pg_depend` has as well.
pub fn unpublishable() -> String {
    format!(
        "
    WITH RECURSIVE written (relation) AS (
        SELECT to_regclass($1::text)::oid
        UNION
        SELECT i.inhrelid FROM written w JOIN pg_inherits i ON i.inhparent = w.relation
    ), bare AS MATERIALIZED (
        SELECT c.oid, c.relnamespace = to_regnamespace('agent_sync') AS is_ours
        FROM pg_class c
        WHERE c.oid = ANY (ARRAY(SELECT w.relation FROM written w) || {OWN_RELATIONS})
          AND c.relkind = 'r' AND c.relpersistence = 'p'
          AND NOT CASE c.relreplident
              WHEN 'f' THEN true
              WHEN 'd' THEN EXISTS (SELECT FROM pg_index i
                WHERE i.indrelid = c.oid AND i.indisprimary)
              WHEN 'i' THEN EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid
                AND i.indisreplident)
              ELSE false END
    ), place (oid, is_ours, relation) AS MATERIALIZED (
        SELECT b.oid, b.is_ours, b.oid FROM bare b
        UNION
        SELECT b.oid, b.is_ours, a.relid::oid FROM bare b
          CROSS JOIN LATERAL pg_partition_ancestors(b.oid) AS a (relid)
    ), published (relation, namespace, updates, deletes) AS (
        SELECT r.prrelid, null::oid, bool_or(p.pubupdate), bool_or(p.pubdelete)
        FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid
        WHERE r.prrelid = ANY (ARRAY(SELECT x.relation FROM place x))
        GROUP BY r.prrelid
        UNION ALL
        SELECT null, s.refobjid, bool_or(p.pubupdate), bool_or(p.pubdelete)
        FROM pg_depend s
        JOIN pg_depend o ON o.classid = s.classid AND o.objid = s.objid
          AND o.refclassid = 'pg_publication'::regclass
        JOIN pg_publication p ON p.oid = o.refobjid
        WHERE s.classid = to_regclass('pg_catalog.pg_publication_namespace')
          AND s.refclassid = 'pg_namespace'::regclass
        GROUP BY s.refobjid
        UNION ALL
        SELECT null, null, bool_or(p.pubupdate), bool_or(p.pubdelete)
        FROM pg_publication p WHERE p.puballtables
    )
    SELECT DISTINCT x.oid::regclass::text, x.is_ours
    FROM place x JOIN pg_class c ON c.oid = x.relation
    JOIN published p ON coalesce(p.relation = x.relation, p.namespace = c.relnamespace, true)
      AND (p.updates OR p.deletes AND x.is_ours)
    ORDER BY 1"
    )
}

/// The quoted table `$1`, its partitions and children of which a publication has a row filter or a
/// column list that does not fit the replica identity, so that PostgreSQL refuses updates (42P10):
/// a filter reads the identity alone, and a list has all of it. The table and the publication. The
/// two columns of the catalog exist since PostgreSQL 15.
pub const PUBLISHED_IN_PART: &str = "
    WITH RECURSIVE written (relation) AS (
        SELECT to_regclass($1::text)::oid
        UNION
        SELECT i.inhrelid FROM written w JOIN pg_inherits i ON i.inhparent = w.relation
    ), part AS (
        SELECT c.oid, p.pubname, to_jsonb(r) ->> 'prqual' AS filter,
               to_jsonb(r) -> 'prattrs' AS list,
               c.relreplident = 'f' AS is_full,
               CASE c.relreplident
                   WHEN 'f' THEN ARRAY(SELECT a.attnum FROM pg_attribute a
                     WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)
                   ELSE (SELECT i.indkey::int2[] FROM pg_index i WHERE i.indrelid = c.oid
                     AND CASE c.relreplident WHEN 'd' THEN i.indisprimary
                       ELSE i.indisreplident END) END AS key
        FROM written w JOIN pg_class c ON c.oid = w.relation
        JOIN pg_publication_rel r ON r.prrelid = c.oid
        JOIN pg_publication p ON p.oid = r.prpubid AND p.pubupdate
    )
    SELECT p.oid::regclass::text, quote_ident(p.pubname)
    FROM part p
    WHERE NOT p.is_full
        AND EXISTS (SELECT FROM regexp_matches(p.filter, ':varattno (\\d+)', 'g') AS m (found)
          WHERE m.found[1]::int2 <> ALL (p.key))
       OR p.list <> 'null'
        AND EXISTS (SELECT FROM unnest(p.key) AS k (number)
          WHERE NOT p.list @> to_jsonb(k.number))
    ORDER BY 1, 2";

/// The rules (CREATE RULE) that are in the way of what the daemon writes: on updates of the
/// configurations, the quoted table `$1`, and on tables of ours. PostgreSQL rewrites no statement
/// that writes in more than one place. The table, and the name of the rule.
pub fn rules() -> String {
    let is_served = is_named("$1");
    format!(
        "
    SELECT c.oid::regclass::text, quote_ident(r.rulename)
    FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class JOIN pg_namespace n
      ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p')
      AND (n.nspname = 'agent_sync' AND (c.relname IN ('problem', 'install', 'history')
        OR c.relname = 'outbox' AND r.ev_type = '4')
           OR r.ev_type = '2'
              AND {is_served})
    ORDER BY 1, 2"
    )
}
