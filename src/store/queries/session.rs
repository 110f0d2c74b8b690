//! The state of the daemon's own session, which triggers of others can change: they run in it when a configuration is written.

/// Whether the session listens on both channels, leads, and holds the lock that tells writers that the daemon sleeps; and the settings
/// that the daemon counts on.
pub const SESSION_STATE: &str = "
    WITH lock AS (
        SELECT l.objid FROM pg_locks l
        WHERE l.pid = pg_backend_pid() AND l.locktype = 'advisory' AND l.classid = 1634169721 AND l.objsubid = 2 AND l.granted
    )
    SELECT (SELECT count(*) = 2 FROM pg_listening_channels() AS c (name) WHERE c.name IN ('agent_sync', 'agent_sync_change')),
           EXISTS (SELECT FROM lock WHERE lock.objid = 1),
           EXISTS (SELECT FROM lock WHERE lock.objid = 2),
           (SELECT string_agg(coalesce(current_setting(s.name, true), ''), ' ' ORDER BY s.name)
            FROM unnest(ARRAY['role', 'session_replication_role', 'search_path', 'row_security', 'statement_timeout', 'lock_timeout',
                'idle_in_transaction_session_timeout', 'default_transaction_isolation', 'default_transaction_read_only',
                'quote_all_identifiers', 'standard_conforming_strings', 'transform_null_equals', 'plan_cache_mode', 'enable_seqscan',
                'enable_nestloop', 'enable_mergejoin', 'enable_tidscan', 'extra_float_digits', 'client_encoding',
                'agent_sync.daemon']) AS s (name))";

/// Whether the quoted table `$1`, or a partition or child of it, has triggers besides those of the install and of constraints; and whether
/// one of them runs with the commit.
pub const RUNS_FOREIGN_CODE: &str = "
    WITH RECURSIVE relation AS (
        SELECT to_regclass($1::text)::oid AS oid
        UNION SELECT i.inhrelid FROM pg_inherits i JOIN relation r ON r.oid = i.inhparent
    )
    SELECT count(*) > 0, coalesce(bool_or(t.tgdeferrable AND t.tginitdeferred), false)
        FROM pg_trigger t JOIN pg_proc f ON f.oid = t.tgfoid JOIN pg_namespace n ON n.oid = f.pronamespace
        WHERE t.tgrelid IN (SELECT r.oid FROM relation r) AND NOT t.tgisinternal AND n.nspname <> 'agent_sync'";

/// Whether a foreign key with ON UPDATE or ON DELETE other than NO ACTION leads from the quoted table `$2` to the quoted table `$1`: then a
/// rename or delete of an agent waits for a batch that has its configuration locked (G3).
pub const CASCADES: &str = "
    SELECT EXISTS (
        SELECT FROM pg_constraint c
        WHERE c.contype = 'f' AND c.conrelid = to_regclass($2::text) AND c.confrelid = to_regclass($1::text)
          AND (c.confupdtype IN ('c', 'n', 'd') OR c.confdeltype IN ('c', 'n', 'd')))";

/// How long the server waits for the daemon within a batch where such a foreign key exists.
pub const SHORT_IDLE: &str = "SET idle_in_transaction_session_timeout = 1000";
