//! The queries of the reporting commands about the conditions of the work: transactions and locks
//! of other sessions, the notification queue, and how the server keeps the outbox.
//!
//! Invariant: read-only, but for the row lock of [`UNLOCKED_RECORD`], which ends with its
//! statement.

use crate::store::queries;

/// Of the transactions of others that may have saved in the tables `$1` and `$2` and are not over
/// ([`queries::SAVERS`]), the one that has been open for longest, where a daemon leads: its
/// process, or its name where it is prepared; since when it has been open, and for how long.
pub fn saver() -> String {
    format!(
        "WITH leader AS (
            SELECT l.virtualtransaction AS holder FROM pg_locks l JOIN pg_database d
              ON d.oid = l.database
            WHERE l.locktype = 'advisory' AND l.classid = 1634169721 AND l.objid = 1
              AND l.objsubid = 2 AND l.granted AND d.datname = current_database()
         )
         SELECT s.pid, p.gid, coalesce(s.xact_start, p.prepared),
                extract(epoch FROM clock_timestamp() - coalesce(s.xact_start, p.prepared))::float8
         FROM ({}) AS open (holder)
         JOIN pg_locks l ON l.virtualtransaction = open.holder
           AND l.locktype = CASE WHEN l.pid IS NULL THEN 'transactionid' ELSE 'virtualxid' END
         LEFT JOIN pg_stat_activity s ON s.pid = l.pid
         LEFT JOIN pg_prepared_xacts p ON l.pid IS NULL AND p.transaction = l.transactionid
         WHERE EXISTS (SELECT FROM leader)
           AND open.holder NOT IN (SELECT leader.holder FROM leader)
           AND coalesce(s.pid::text, p.gid) IS NOT NULL
         ORDER BY 3 LIMIT 1",
        queries::SAVERS
    )
}

/// What keeps the server from cleaning up, or the daemon from sleeping, and what the session has in
/// force.
///
/// The difference of the clocks is worked out by who asks: the first column is the server's, in
/// seconds since 1970. Then: how full the queue of notifications is; the time-outs in force that
/// could end a session of ours; the age in seconds of the oldest transaction of anybody's that
/// holds back vacuum in this database, and whose it is; the same for a transaction that has saved
/// an agent and is not over, because of which the daemon cannot sleep; and whether this role sees
/// the transactions of others at all.
pub const UPKEEP: &str = "
    SELECT extract(epoch FROM clock_timestamp())::float8 AS clock,
           pg_notification_queue_usage()::float8 AS queue,
           (SELECT string_agg(s.name || ' = ' || s.setting, ', ' ORDER BY s.name) FROM pg_settings s
            WHERE s.name IN ('idle_session_timeout', 'transaction_timeout') AND s.setting <> '0')
              AS timeouts,
           oldest.age AS oldest, oldest.who AS holder, writer.age AS writing, writer.who AS writer,
           pg_has_role('pg_read_all_stats', 'USAGE') AS sees_others
    FROM (SELECT) AS one
    LEFT JOIN (
        SELECT extract(epoch FROM clock_timestamp() - h.since)::float8 AS age, h.who
        FROM (SELECT s.xact_start AS since, 'process ' || s.pid || coalesce(', ' ||
          nullif(s.application_name, ''), '') AS who
              FROM pg_stat_activity s
              WHERE s.backend_xmin IS NOT NULL AND s.pid <> pg_backend_pid()
                AND s.backend_type = 'client backend'
                AND s.datname = current_database()
              UNION ALL
              SELECT x.prepared, 'prepared transaction ' || x.gid FROM pg_prepared_xacts x
              WHERE x.database = current_database()) AS h
        WHERE h.since IS NOT NULL ORDER BY h.since LIMIT 1
    ) AS oldest ON true
    LEFT JOIN (
        SELECT extract(epoch FROM clock_timestamp() - s.xact_start)::float8 AS age,
               'process ' || s.pid || coalesce(', ' || nullif(s.application_name, ''), '') AS who
        FROM pg_locks l JOIN pg_database d ON d.oid = l.database JOIN pg_stat_activity s
          ON s.pid = l.pid
        WHERE l.locktype = 'advisory' AND l.classid = 1634169721 AND l.objid = 2
          AND l.mode = 'ShareLock'
          AND d.datname = current_database() AND s.pid <> pg_backend_pid()
        ORDER BY s.xact_start LIMIT 1
    ) AS writer ON true";

/// The oldest lock that no write passes, or request of one: on the configurations `$1`, or on a
/// table that the daemon or the capture writes. The table; the mode; the process, null where it is
/// prepared; whether the lock is granted; if not, the process that holds what it waits for, and
/// that lock; for how many seconds, 0 where that is hidden from this role and nothing waits; and
/// whether it is hidden.
pub const TABLE_LOCK: &str = "
    WITH lock AS MATERIALIZED (
        SELECT l.* FROM pg_locks l
        WHERE l.locktype = 'relation'
          AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
          AND l.relation IN (to_regclass($1::text), to_regclass('agent_sync.outbox'),
            to_regclass('agent_sync.problem'), to_regclass('agent_sync.install'),
            to_regclass('agent_sync.history'))
          AND l.pid IS DISTINCT FROM pg_backend_pid()
    )
    SELECT l.relation::regclass::text, l.mode, l.pid, l.granted, holder.pid, holder.mode,
           coalesce(extract(epoch FROM clock_timestamp() - coalesce(l.waitstart, s.xact_start,
             (SELECT min(w.waitstart) FROM lock w WHERE w.relation = l.relation))), 0)::float8,
           l.granted AND s.pid IS NOT NULL AND s.xact_start IS NULL
    FROM lock l
    LEFT JOIN pg_stat_activity s ON s.pid = l.pid
    LEFT JOIN LATERAL (
        SELECT h.pid, h.mode FROM lock h LEFT JOIN pg_stat_activity a ON a.pid = h.pid
        WHERE NOT l.granted AND h.granted AND h.relation = l.relation
          AND h.pid IS DISTINCT FROM l.pid AND coalesce(h.pid, 0) = ANY (pg_blocking_pids(l.pid))
        ORDER BY a.xact_start LIMIT 1
    ) AS holder ON true
    WHERE l.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
    ORDER BY 7 DESC LIMIT 1";

/// The row of the install, unless another session has locked it.
pub const UNLOCKED_RECORD: &str = "SELECT FROM agent_sync.install FOR NO KEY UPDATE SKIP LOCKED";

/// The session that probably has locked the row of the install: it has a transaction number, as
/// every session with a locked row, and has read the row to lock it, or has written it. It is
/// neither this session nor the daemon that leads, nor one that waits for a lock itself while none
/// waits for it. How old a transaction is may be hidden from this role.
pub const RECORD_HOLDER: &str = "
    SELECT l.pid
    FROM pg_locks l JOIN pg_stat_activity s ON s.pid = l.pid
    JOIN pg_locks own ON own.pid = l.pid AND own.locktype = 'transactionid'
      AND own.mode = 'ExclusiveLock' AND own.granted
    CROSS JOIN LATERAL (
        SELECT coalesce(bool_or(w.transactionid = own.transactionid), false) AS is_awaited,
               coalesce(bool_or(w.pid = l.pid), false) AS waits
        FROM pg_locks w WHERE NOT w.granted
    ) AS w
    WHERE l.relation = to_regclass('agent_sync.install') AND l.granted
      AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
      AND l.mode IN ('RowShareLock', 'RowExclusiveLock') AND l.pid <> pg_backend_pid()
      AND NOT EXISTS (SELECT FROM pg_locks lead WHERE lead.pid = l.pid
                      AND lead.locktype = 'advisory' AND lead.classid = 1634169721
                      AND lead.objid = 1)
      AND (w.is_awaited OR NOT w.waits)
    ORDER BY w.is_awaited DESC, s.xact_start LIMIT 1";

/// How the outbox is kept: its size in bytes, its dead rows, whether vacuum comes by itself, the
/// replication slot that holds back cleaning up furthest, and the publications of all tables. The
/// extensions in the schema, and the GRANTs of the functions that the capture may not call after a
/// failure.
pub fn tables() -> String {
    let after_a_failure = queries::CALLED_AFTER_A_FAILURE.join("', '");
    let lost_saves = queries::lost_saves();
    format!(
        "
    SELECT pg_relation_size(o.oid) AS size, pg_stat_get_dead_tuples(o.oid) AS dead,
           pg_stat_get_live_tuples(o.oid) AS live,
           (SELECT count(*) FROM {lost_saves}) AS lost,
           (SELECT string_agg(DISTINCT format('GRANT EXECUTE ON FUNCTION %s TO %s;',
                                              c.oid::regprocedure, f.proowner::regrole), ' ')
            FROM pg_proc f CROSS JOIN unnest(ARRAY['{after_a_failure}']) AS called (signature)
            JOIN pg_proc c ON c.oid = to_regprocedure(called.signature)
            WHERE f.pronamespace = to_regnamespace('agent_sync')
              AND f.proname IN ('capture_agent', 'capture_configuration') AND f.proargtypes = ''
              AND NOT has_function_privilege(f.proowner, c.oid, 'EXECUTE')) AS grants,
           current_setting('autovacuum')::bool
             AND NOT coalesce('autovacuum_enabled=false' = ANY (o.reloptions), false) AS vacuumed,
           (SELECT r.slot_name || ' (' || greatest(age(r.xmin), age(r.catalog_xmin)) ||
             ' transactions behind)'
            FROM pg_replication_slots r
            WHERE NOT r.active AND greatest(age(r.xmin), age(r.catalog_xmin)) > 1000000
            ORDER BY greatest(age(r.xmin), age(r.catalog_xmin)) DESC LIMIT 1) AS slot,
           (SELECT string_agg(quote_ident(p.pubname), ', ' ORDER BY p.pubname)
             FROM pg_publication p WHERE p.puballtables) AS publications,
           (SELECT string_agg(quote_ident(e.extname), ', ' ORDER BY e.extname)
             FROM pg_extension e WHERE e.extnamespace = to_regnamespace('agent_sync')) AS extensions
    FROM pg_class o
    WHERE o.oid = to_regclass('agent_sync.outbox')"
    )
}
