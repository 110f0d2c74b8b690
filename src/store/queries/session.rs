//! The state of the daemon's own session, which triggers of others can change: they run in it when
//! a configuration is written.

/// Whether the session listens on both channels, leads, and holds the lock that tells writers that
/// the daemon sleeps; and everything that is set in it.
pub const SESSION_STATE: &str = "
    WITH lock AS (
        SELECT l.objid FROM pg_locks l
        WHERE l.pid = pg_backend_pid() AND l.locktype = 'advisory' AND l.classid = 1634169721
          AND l.objsubid = 2 AND l.granted
    )
    SELECT (SELECT count(*) = 2 FROM pg_listening_channels() AS c (name)
      WHERE c.name IN ('agent_sync', 'agent_sync_change')),
           EXISTS (SELECT FROM lock WHERE lock.objid = 1),
           EXISTS (SELECT FROM lock WHERE lock.objid = 2),
           (SELECT string_agg(s.setting, ' ' ORDER BY s.name)
            FROM (SELECT g.name, g.name || '=' || g.setting FROM pg_settings g
              WHERE g.source = 'session'
                  UNION ALL
                  SELECT u.name, current_setting(u.name, true)
                  FROM unnest(ARRAY['role', 'session_authorization', 'session_replication_role',
                    'agent_sync.daemon']) AS u (name)) AS s (name, setting))";

/// Whether code of others runs when a row of the quoted table `$1`, or of a partition or child of
/// it, is written: a trigger besides those of the install and of constraints, a function or
/// operator that is no part of PostgreSQL in a constraint, a domain, a policy, an index, a
/// generated column or a partition key, or a foreign key of another table that cascades an update;
/// and whether a trigger runs with the commit.
pub const RUNS_FOREIGN_CODE: &str = "
    WITH RECURSIVE relation AS (
        SELECT to_regclass($1::text)::oid AS oid
        UNION SELECT i.inhrelid FROM pg_inherits i JOIN relation r ON r.oid = i.inhparent
    )
    , type (oid) AS (
        SELECT a.atttypid FROM pg_attribute a WHERE a.attrelid IN (SELECT r.oid FROM relation r)
          AND a.attnum > 0
        UNION SELECT t.typbasetype FROM pg_type t JOIN type d ON d.oid = t.oid WHERE t.typtype = 'd'
    ), part (class, oid) AS (
        SELECT 'pg_class'::regclass, r.oid FROM relation r
        UNION ALL SELECT 'pg_class'::regclass, i.indexrelid FROM pg_index i
          WHERE i.indrelid IN (SELECT r.oid FROM relation r)
        UNION ALL SELECT 'pg_policy'::regclass, p.oid FROM pg_policy p
          WHERE p.polrelid IN (SELECT r.oid FROM relation r)
        UNION ALL SELECT 'pg_constraint'::regclass, c.oid FROM pg_constraint c
                  WHERE c.conrelid IN (SELECT r.oid FROM relation r)
                    OR c.contypid IN (SELECT t.oid FROM type t)
        UNION ALL SELECT 'pg_attrdef'::regclass, d.oid FROM pg_attrdef d
                  JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
                  WHERE d.adrelid IN (SELECT r.oid FROM relation r) AND a.attgenerated <> ''
    ), trigger AS (
        SELECT t.tgdeferrable AND t.tginitdeferred AS is_deferred
        FROM pg_trigger t JOIN pg_proc f ON f.oid = t.tgfoid JOIN pg_namespace n
          ON n.oid = f.pronamespace
        -- The trigger that a partition has from its parent is marked as internal before PostgreSQL
        -- 15, as those of constraints are.
        WHERE t.tgrelid IN (SELECT r.oid FROM relation r) AND n.nspname <> 'agent_sync'
          AND NOT (t.tgisinternal AND (t.tgparentid = 0 OR EXISTS (
              SELECT FROM pg_constraint k WHERE k.oid = t.tgconstraint AND k.contype <> 't')))
    )
    SELECT EXISTS (SELECT FROM trigger) OR EXISTS (
               SELECT FROM pg_depend d JOIN part p ON p.class = d.classid AND p.oid = d.objid
               WHERE d.refclassid IN ('pg_proc'::regclass, 'pg_operator'::regclass))
           OR EXISTS (
               SELECT FROM pg_constraint c
               WHERE c.contype = 'f' AND c.confrelid IN (SELECT r.oid FROM relation r)
                 AND c.confupdtype IN ('c', 'n', 'd')),
           EXISTS (SELECT FROM trigger t WHERE t.is_deferred)";

/// Whether a foreign key with CASCADE, SET NULL or SET DEFAULT, on update or on delete, leads from
/// the quoted table `$2` to the quoted table `$1`: then a rename or delete of an agent waits for a
/// batch that has its configuration locked (G3).
pub const CASCADES: &str = "
    SELECT EXISTS (
        SELECT FROM pg_constraint c
        WHERE c.contype = 'f' AND c.conrelid = to_regclass($2::text)
          AND c.confrelid = to_regclass($1::text)
          AND (c.confupdtype IN ('c', 'n', 'd') OR c.confdeltype IN ('c', 'n', 'd')))";

/// How long the server waits for the daemon within a batch where such a foreign key exists.
pub const SHORT_IDLE: &str = "SET idle_in_transaction_session_timeout = 1000";
