//! The seal: the version of the rows of the catalog that the capture rests on.

use super::capture::lost_saves;
use super::install::INSTALL;
use super::own::{OWN_FUNCTIONS, is_named};
use super::rights::PARTS_OF_A_TYPE;

/// The rows of the tables, their types, columns and partitions.
const TABLES: &str = "
    SELECT concat_ws(' ', 'type', t.oid, t.xmin, e.oid, e.xmin)
    FROM pg_type t
    LEFT JOIN LATERAL (SELECT v.oid, v.xmin FROM pg_enum v WHERE v.enumtypid = t.oid OFFSET 0)
      AS e (oid, xmin) ON true
    WHERE t.oid = ANY (ARRAY(SELECT type.oid FROM type))
      AND t.typnamespace <> 'pg_catalog'::regnamespace
    UNION ALL
    SELECT concat_ws(' ', 'class', c.oid, c.xmin)
    FROM pg_class c
    WHERE c.oid = ANY (ARRAY(SELECT w.relation FROM watched w))
       OR c.relnamespace = to_regnamespace('agent_sync')
         AND c.relname IN ('install', 'outbox', 'problem', 'uncaptured')
    UNION ALL
    SELECT concat_ws(' ', 'column', a.attrelid, a.attnum, a.xmin)
    FROM pg_attribute a
    WHERE a.attrelid = ANY (ARRAY(SELECT w.relation FROM watched w)) AND a.attnum > 0
    UNION ALL
    SELECT concat_ws(' ', 'inherits', i.inhparent, i.inhrelid, i.xmin)
    FROM pg_inherits i
    WHERE i.inhparent = ANY (ARRAY(SELECT w.relation FROM watched w))
      AND i.inhrelid IN (SELECT w.relation FROM watched w)";

/// The rows of the triggers and of the functions that these run.
fn code() -> String {
    format!(
        "
    SELECT concat_ws(' ', 'trigger', t.oid, t.xmin)
    FROM pg_trigger t
    WHERE t.tgrelid = ANY (ARRAY(SELECT w.relation FROM watched w))
      AND t.tgfoid = ANY ({OWN_FUNCTIONS})
    UNION ALL
    SELECT concat_ws(' ', 'function', f.oid, f.xmin) FROM pg_proc f
      WHERE f.oid = ANY ({OWN_FUNCTIONS})
    UNION ALL
    -- A privilege that is revoked and granted again leaves this trace alone.
    SELECT concat_ws(' ', 'called', c.oid, c.version)
    FROM builtin c
    WHERE c.name = ANY (ARRAY(
        SELECT called.name[1] FROM pg_proc f
        CROSS JOIN LATERAL regexp_matches(f.prosrc, 'pg_catalog[.]([a-z_]+)[(]', 'g')
          AS called (name)
        WHERE f.pronamespace = to_regnamespace('agent_sync')
          AND f.proname IN ('capture_agent', 'capture_configuration') AND f.proargtypes = ''))"
    )
}

/// The rows of the policies and schemas, and what row-level security shows to the role.
const ACCESS: &str = "
    SELECT concat_ws(' ', 'policy', p.oid, p.xmin)
    FROM pg_policy p WHERE p.polrelid = ANY (ARRAY(SELECT w.relation FROM watched w))
    UNION ALL
    SELECT concat_ws(' ', 'visible', w.relation, row_security_active(w.relation)) FROM watched w
    UNION ALL
    SELECT concat_ws(' ', 'member', p.oid, member.role)
    FROM pg_policy p CROSS JOIN LATERAL unnest(p.polroles) AS member (role)
    WHERE p.polrelid = ANY (ARRAY(SELECT w.relation FROM watched w)) AND member.role <> 0
      AND pg_has_role(member.role, 'USAGE')
    UNION ALL
    SELECT concat_ws(' ', 'schema', n.oid, n.xmin)
    FROM pg_namespace n
    WHERE n.oid = to_regnamespace('agent_sync')
       OR n.oid IN (SELECT c.relnamespace FROM pg_class c
                 WHERE c.oid = ANY (ARRAY(SELECT root.relation FROM root)))";

/// The base of the capture, as `now.seal`: the version of each row of the catalog that it rests on.
///
/// It is about the tables `$1` and `$2`, with their partitions and children: a row of `pg_class`
/// moves with TRUNCATE, a rewrite, a rename, a policy that is switched on, a privilege, and a
/// partition that comes or goes; one of `pg_attribute` with its column alone, as when it is
/// renamed; those of `pg_inherits` with a partition alone; those of `pg_type` and `pg_enum` with a
/// value that is renamed, which changes what every row says and fires no trigger. Then our triggers
/// on all of these, their functions, the policies, the tables of ours that must not be emptied, and
/// the schemas. What row-level security shows to the role of this session, because PostgreSQL plans
/// no prepared statement anew when a role gets BYPASSRLS or becomes a member of another. And the
/// large objects by which the capture says that a save could be neither noted nor counted
/// (`sql/capture.sql`). VACUUM, ANALYZE and indexes leave these rows in place. A trigger of others
/// that is made and dropped between two looks leaves no trace here.
fn sealed() -> String {
    let (lost_saves, code) = (lost_saves(), code());
    let (is_agents, is_configurations) = (is_named("$1"), is_named("$2"));
    format!(
        "
    WITH RECURSIVE root (relation) AS (
        SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE {is_agents} OR {is_configurations}
    ), watched (relation) AS (
        SELECT root.relation FROM root
        UNION
        SELECT i.inhrelid FROM watched w JOIN pg_inherits i ON i.inhparent = w.relation
        JOIN pg_class c ON c.oid = i.inhrelid AND c.relpersistence <> 't'
    ), type (oid) AS (
        SELECT a.atttypid FROM pg_attribute a WHERE a.attrelid = ANY (ARRAY(SELECT w.relation
          FROM watched w)) AND a.attnum > 0
        UNION
        SELECT within.oid FROM type
        CROSS JOIN LATERAL (SELECT y.* FROM pg_type y WHERE y.oid = type.oid OFFSET 0) AS t
        CROSS JOIN LATERAL ({PARTS_OF_A_TYPE}) AS within (oid)
    ), builtin (oid, name, version) AS MATERIALIZED (
        -- Those of PostgreSQL itself, whose OIDs nothing else gets. The limit, which they never
        -- reach, has them read along the index.
        SELECT c.oid, c.proname, c.version
        FROM (SELECT p.oid, p.proname, p.pronamespace, p.xmin FROM pg_proc p WHERE p.oid < 16384
              ORDER BY p.oid LIMIT 16384) AS c (oid, proname, pronamespace, version)
        WHERE c.pronamespace = 'pg_catalog'::regnamespace
    ), part (version) AS (
        {TABLES} UNION ALL {code} UNION ALL {ACCESS}
        UNION ALL
        SELECT concat_ws(' ', 'lost', m.oid)
        FROM {lost_saves}
    ), now (seal) AS (
        SELECT 'md5 ' || md5(coalesce(string_agg(p.version, ','
          ORDER BY p.version COLLATE \"C\"), '')) FROM part p
    )"
    )
}

/// Notes the seal in `agent_sync.install`. If it is not the one that was noted, changes may have
/// been missed, also where all has been changed back: every agent has to be checked. One row then,
/// with whether a seal was noted before.
///
/// The seal is data, and a restore brings it along. In a new server, the restore of one schema
/// gives all parts the same OIDs and versions each time. So `$3` is the
/// [identity](SYSTEM_IDENTIFIER) of the server.
pub fn seal() -> String {
    let (sealed, here) = (sealed(), here("($3::text)"));
    format!(
        "{sealed}, {here}
         UPDATE agent_sync.install i SET seal = here.seal, uncaptured_seen = -1
         FROM here
         WHERE i.seal <> here.seal
         RETURNING (SELECT o.seal LIKE 'md5 %' FROM agent_sync.install o)"
    )
}

/// The seals in this database of servers with these identities.
fn here(servers: &str) -> String {
    format!(
        "here (seal) AS (
             SELECT 'md5 ' || md5(concat_ws(' ', now.seal, d.oid, s.server))
             FROM now, pg_database d, (VALUES {servers}) AS s (server)
             WHERE d.datname = current_database()
         )"
    )
}

/// Whether the seal is not the one that was noted, so that the daemon has yet to check every agent.
/// With policies, a seal is that of one role; where no daemon with the role of this session leads,
/// the question has no answer: null. The role of the daemon may not know the identity of the
/// server, and this one may.
const UNSEALED: &str = "CASE WHEN NOT EXISTS (
             SELECT FROM watched w JOIN pg_class c ON c.oid = w.relation
             WHERE c.relrowsecurity OR EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid))
           OR EXISTS (
             SELECT FROM pg_locks l JOIN pg_stat_activity s ON s.pid = l.pid
             WHERE l.locktype = 'advisory' AND l.classid = 1634169721 AND l.objid = 1
               AND l.objsubid = 2 AND l.granted AND s.usename = session_user
               AND l.database = (SELECT d.oid FROM pg_database d
                                 WHERE d.datname = current_database()))
           THEN EXISTS (SELECT FROM agent_sync.install i
                        WHERE i.seal LIKE 'md5 %'
                          AND i.seal NOT IN (SELECT here.seal FROM here)) END";

/// `UNSEALED`.
pub fn is_unsealed() -> String {
    let (sealed, here) = (sealed(), here("($3::text), (NULL)"));
    format!("{sealed}, {here} SELECT {UNSEALED}")
}

/// The values that a check of every agent changes when it becomes due and when it is made, in one
/// snapshot: whether the capture is unsealed (`UNSEALED`), the record of the install with the count
/// of missed changes, and the end of the snapshot, which is above the number of every transaction
/// that it sees. No row if the install has no record.
pub fn checks() -> String {
    let (sealed, here) = (sealed(), here("($3::text), (NULL)"));
    format!(
        "{sealed}, {here}
         SELECT {UNSEALED} AS is_unsealed, r.seal, n.*,
                pg_snapshot_xmax(pg_current_snapshot())::text::int8 AS upto
         FROM ({INSTALL}) AS n CROSS JOIN agent_sync.install r"
    )
}

/// Whether this role may ask for the [identity](SYSTEM_IDENTIFIER) of the server. A hardened server
/// may forbid it.
pub const KNOWS_SYSTEM_IDENTIFIER: &str =
    "SELECT has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE')";

/// The identity of the server, which it has from `initdb`.
pub const SYSTEM_IDENTIFIER: &str = "SELECT c.system_identifier::text FROM pg_control_system() c";

/// The layout version: the seal, and the indexes of both tables, each as it was built. After a
/// change of it, the prepared statements may be wrong: they leave out a new column, rely on a
/// dropped index, or compare slugs in another collation.
pub fn layout_version() -> String {
    let sealed = sealed();
    format!(
        "{sealed}
         SELECT now.seal || ' ' || md5(coalesce(
                    (SELECT string_agg(concat_ws(' ', x.indexrelid, x.xmin, c.relfilenode), ','
                      ORDER BY x.indexrelid)
                     FROM pg_index x JOIN pg_class c ON c.oid = x.indexrelid
                     WHERE x.indrelid = ANY (ARRAY(SELECT w.relation FROM watched w))), ''))
         FROM now"
    )
}
