//! The queries about the install: its parts and its record.

use super::own::is_named;

/// The state of the install: its version, the number up to which every agent has been checked, and
/// the number of saves that could not be captured. If the sequence was set back and has not given a
/// number since (`is_called` is false), the count is a negative number below -1, so it differs from
/// "never checked". Then whether the count may come from a crash: the write-ahead log of a sequence
/// is ahead of its use, so a recovery moves it. For the same reason a standby shows another count,
/// also without delay; the last column tells whether one has answered. It calls no volatile
/// function: a proxy that splits reads and writes would send the query to the primary, and the
/// others not.
pub const INSTALL: &str = "
    SELECT i.version, i.uncaptured_seen,
           CASE WHEN u.is_called THEN u.last_value ELSE -2 - u.last_value END AS uncaptured,
           u.log_cnt = 0 AS may_have_jumped,
           current_setting('in_hot_standby')::bool AS is_of_standby
    FROM agent_sync.install i CROSS JOIN agent_sync.uncaptured u";

/// The version of the schema, and the tables that the triggers were made for: schema and name of
/// the agents, and of the configurations; and the columns with the tenant.
pub const VERSION: &str = "
    SELECT i.version,
           coalesce(i.tables #>> '{agents,schema}', 'public'), coalesce(i.tables #>>
             '{agents,table}', 'agents'),
           coalesce(i.tables #>> '{configurations,schema}', 'public'),
           coalesce(i.tables #>> '{configurations,table}', 'agent_configurations'),
           i.tables #>> '{agents,columns,tenant}', i.tables #>> '{configurations,columns,tenant}'
    FROM agent_sync.install i";

/// The parts of the install that are gone: with `$1`, those that the daemon works with, or else
/// those that only the commands read. A view in the place of a table is none of them: reading it
/// would run what its owner wrote. Read from the catalog, for names are not looked up in a schema
/// that the role may not use.
pub const MISSING_PARTS: &str = "
    SELECT 'agent_sync.' || part.name
    FROM (VALUES ('history', 'r', true), ('install', 'r', true), ('outbox', 'r', true),
      ('problem', 'r', true), ('uncaptured', 'S', true),
                 ('granted', 'r', false), ('role', 'r', false), ('state', 'v', false)) AS part
                   (name, kind, of_daemon)
    WHERE part.of_daemon = $1
      AND NOT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                      WHERE n.nspname = 'agent_sync' AND c.relname = part.name
                        AND c.relkind = part.kind::\"char\")
    UNION ALL
    SELECT 'agent_sync.sent(text)'
    WHERE $1 AND getdatabaseencoding() NOT IN ('UTF8', 'SQL_ASCII')
      AND NOT EXISTS (SELECT FROM pg_proc f JOIN pg_namespace n ON n.oid = f.pronamespace
                      WHERE n.nspname = 'agent_sync' AND f.proname = 'sent'
                        AND f.proargtypes = '25' AND has_function_privilege(f.oid, 'EXECUTE'))
    UNION ALL
    SELECT 'agent_sync.in_sync(text, text)'
    WHERE NOT $1
      AND NOT EXISTS (SELECT FROM pg_proc f JOIN pg_namespace n ON n.oid = f.pronamespace
                      WHERE n.nspname = 'agent_sync' AND f.proname = 'in_sync'
                        AND f.proargtypes = '25 25')
    ORDER BY 1";

/// Whether the install has the function that keeps texts back which do not survive the way to UTF-8
/// ([`crate::pg::SENT`]), and the role may call it.
pub const HAS_SENT: &str = "
    SELECT EXISTS (SELECT FROM pg_proc f JOIN pg_namespace n ON n.oid = f.pronamespace
                   WHERE n.nspname = 'agent_sync' AND f.proname = 'sent' AND f.proargtypes = '25'
                     AND has_function_privilege(f.oid, 'EXECUTE')
                     AND has_schema_privilege(n.oid, 'USAGE'))";

/// Whether the capture was installed to notify: `sql/capture.sql` begins its condition with it.
pub const INSTALLED_NOTIFY: &str = "
    SELECT NOT EXISTS (SELECT FROM pg_proc f JOIN pg_namespace n ON n.oid = f.pronamespace
                       WHERE n.nspname = 'agent_sync' AND f.proname = 'capture_agent'
                         AND f.proargtypes = '' AND f.prosrc LIKE '%IF NOT false%')";

/// Whether the outbox notes whose transaction made a change, for the history.
pub const NOTES_CAUSE: &str = "
    SELECT EXISTS (SELECT FROM pg_attribute a
                   WHERE a.attrelid = to_regclass('agent_sync.outbox') AND a.attname = 'role'
                     AND a.atthasdef)";

/// Whether nothing is noted yet, or a check of every agent is due in any case; whether every
/// configuration was last in sync under the mapping `$1`; and whether they may be in sync under
/// several.
pub const MAPPING: &str = "
    SELECT i.mapping = '' OR i.uncaptured_seen < 0, i.mapping = md5($1::text), i.mapping LIKE
      'mixed%' FROM agent_sync.install i";

/// Notes that every configuration is, or is going to be, in sync under the mapping `$1`; if `$2` is
/// not null, only while that is what was noted before.
pub const NOTE_MAPPING: &str = "
    UPDATE agent_sync.install SET mapping = md5($1::text)
    WHERE mapping <> md5($1::text) AND ($2::text IS NULL OR mapping = $2::text)";

/// Notes, before the first write under another mapping, that some configurations may come to be in
/// sync under one mapping and others under another. It is another text each time.
pub const MIX_MAPPINGS: &str = "UPDATE agent_sync.install SET mapping = 'mixed since transaction ' \
    || pg_current_xact_id()::text";

/// The noted mapping.
pub const NOTED_MAPPING: &str = "SELECT i.mapping FROM agent_sync.install i";

/// The record of the audits: the last complete one as JSON, with its time and how long ago that
/// was; the same for the last changes that were never noticed; and the position of a running one.
/// The last one is superseded where it compared under another mapping than the noted one.
pub const AUDIT: &str = "
    SELECT i.audit ->> 'last' AS last, a.last_at,
           coalesce(i.audit #>> '{last,mapping}' <> i.mapping AND i.mapping <> ''
             AND i.mapping NOT LIKE 'mixed%', false) AS is_superseded,
           extract(epoch FROM clock_timestamp() - a.last_at)::float8 AS last_seconds,
           i.audit ->> 'unnoticed' AS unnoticed, a.unnoticed_at,
           extract(epoch FROM clock_timestamp() - a.unnoticed_at)::float8 AS unnoticed_seconds,
           i.audit ->> 'running' AS running
    FROM agent_sync.install i
    CROSS JOIN LATERAL (SELECT (i.audit #>> '{last,at}')::timestamptz AS last_at,
                               (i.audit #>> '{unnoticed,at}')::timestamptz AS unnoticed_at) AS a";

/// Notes a complete audit `$1` under the mapping `$3`, and the changes `$2` that were never
/// noticed, unless null.
pub const NOTE_AUDIT: &str = "
    UPDATE agent_sync.install i
    SET audit = jsonb_strip_nulls(jsonb_build_object(
        'last', $1::text::jsonb
          || jsonb_build_object('at', clock_timestamp(), 'mapping', md5($3::text)),
        'unnoticed', coalesce($2::text::jsonb || jsonb_build_object('at', clock_timestamp()),
                              i.audit -> 'unnoticed')))";

/// Notes the position `$1` of a running audit.
pub const NOTE_POSITION: &str = "
    UPDATE agent_sync.install i
    SET audit = coalesce(i.audit, '{}') || jsonb_build_object('running', $1::text::jsonb)";

/// Other installs of this database that serve the quoted table `$1` of the configurations as well,
/// a partition or a parent of it; and those whose advisory locks have the key of this one: the
/// schema, and the table, null for a lock. `sql/guard.sql` asks the same.
///
/// Any role can make a function or a table of such a name (S28). So a function or a table counts
/// only where its owner, or that of the schema of an install around it, is a superuser, the owner
/// of this install, or a role that can act as the owner of the table `$1` or of the agents `$2`.
/// One of a temporary schema never counts.
pub fn rivals() -> String {
    let (is_configurations, is_agents) = (is_named("$1"), is_named("$2"));
    format!(
        "
    WITH RECURSIVE tree (relation) AS (
        SELECT to_regclass($1)::oid
        UNION
        SELECT CASE WHEN i.inhparent = t.relation THEN i.inhrelid ELSE i.inhparent END
        FROM tree t JOIN pg_inherits i ON t.relation IN (i.inhparent, i.inhrelid)
    ), trusted (role) AS MATERIALIZED (
        SELECT r.oid FROM pg_roles r
        WHERE r.rolsuper
           OR r.oid = (SELECT h.nspowner FROM pg_namespace h WHERE h.nspname = 'agent_sync')
           OR EXISTS (SELECT FROM unnest(ARRAY(
                          SELECT c.relowner FROM pg_class c JOIN pg_namespace n
                            ON n.oid = c.relnamespace
                          WHERE {is_configurations} OR {is_agents})) AS t (owner)
                      WHERE pg_has_role(r.oid, t.owner, 'MEMBER'))
    ), home (oid, name, is_trusted) AS MATERIALIZED (
        SELECT n.oid, n.nspname, CASE WHEN n.nspowner = ANY (ARRAY(SELECT t.role FROM trusted t))
                   THEN coalesce(starts_with(obj_description(n.oid, 'pg_namespace'),
                     'agent-sync: '), false) ELSE false END
        FROM pg_namespace n WHERE n.nspname <> 'agent_sync' AND n.nspname !~ '^pg_'
    ), named (oid, owner, schema, name) AS MATERIALIZED (
        -- A schema has one of each: a capture function has no arguments.
        SELECT f.oid, f.proowner, f.pronamespace, f.proname FROM pg_proc f
        WHERE f.proname IN ('capture_agent', 'capture_configuration') AND f.proargtypes = ''
        UNION ALL
        SELECT i.oid, i.relowner, i.relnamespace, i.relname FROM pg_class i
        WHERE i.relname = 'install'
    ), part (oid, schema, name) AS MATERIALIZED (
        SELECT m.oid, m.schema, m.name FROM named m JOIN home h ON h.oid = m.schema
        WHERE h.is_trusted OR m.owner = ANY (ARRAY(SELECT t.role FROM trusted t))
    ), other AS (
        SELECT h.name::text AS schema,
               EXISTS (SELECT FROM part p JOIN pg_trigger t ON t.tgfoid = p.oid
                       WHERE p.schema = h.oid AND p.name = 'capture_configuration'
                         AND t.tgrelid = ANY (ARRAY(SELECT tree.relation FROM tree)))
               OR EXISTS (SELECT FROM part p JOIN pg_class i ON i.oid = p.oid
                          JOIN pg_attribute a ON a.attrelid = i.oid AND a.attname = 'tables'
                          JOIN pg_class c ON c.oid = to_regclass($1)
                          JOIN pg_namespace s ON s.oid = c.relnamespace
                          CROSS JOIN LATERAL format(' and %I.%I.', s.nspname, c.relname) AS ending
                          WHERE p.schema = h.oid AND p.name = 'install'
                            AND right(col_description(i.oid, a.attnum), length(ending)) = ending)
                   AS serves,
               EXISTS (SELECT FROM part p JOIN pg_proc f ON f.oid = p.oid
                       WHERE p.schema = h.oid AND p.name = 'capture_agent'
                         AND strpos(f.prosrc, '(1634169721, 2)') > 0) AS locks
        FROM home h WHERE h.oid IN (SELECT p.schema FROM part p)
    )
    SELECT o.schema, CASE WHEN o.serves THEN to_regclass($1)::text END
    FROM other o WHERE o.serves OR o.locks ORDER BY o.schema"
    )
}
