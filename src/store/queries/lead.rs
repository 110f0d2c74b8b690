//! The leader lock and who holds it, the pause of a database, in which no session may hold it, and
//! the idle lock.

/// The pause of the database that is in force, as a row of `agent_sync.install`. The write that
/// runs under the path of the role has it as well, so each name is qualified.
macro_rules! pause_in_force {
    () => {
        "agent_sync.install i WHERE i.paused_since IS NOT NULL AND (i.paused_until IS NULL
           OR i.paused_until OPERATOR(pg_catalog.>) pg_catalog.clock_timestamp())"
    };
}

/// The pause that is in force: since when, until when, by whom, why, and whether daemons close
/// their connections. A person may have written the row, so texts are cut and infinite times left
/// out.
pub const PAUSE: &str = concat!(
    "SELECT CASE WHEN isfinite(i.paused_since) THEN i.paused_since ELSE now() END AS since,
            CASE WHEN isfinite(i.paused_until) THEN i.paused_until END AS until,
            left(i.paused_by, 200) AS by, left(i.pause_reason, 300) AS reason,
            i.pause_releases AS releases
     FROM ",
    pause_in_force!()
);

/// Pauses the database, until `$1` seconds after 1970, or for `$2` seconds, or for good; by the
/// user `$3` of the operating system, for the reason `$4`, with closed connections if `$5`. It
/// wakes the daemon, whose next batch finds the pause. Gives no row where the install has no
/// record.
pub const SET_PAUSE: &str = "
    WITH paused AS (
        UPDATE agent_sync.install i
        SET paused_since = clock_timestamp(),
            paused_until = coalesce(to_timestamp($1::float8),
                                    clock_timestamp() + make_interval(secs => $2::float8)),
            paused_by = concat_ws(', ', $3::text, 'role ' || session_user,
                                  'from ' || host(inet_client_addr())),
            pause_reason = $4::text, pause_releases = $5::boolean
        RETURNING i.only_row
    )
    SELECT pg_notify('agent_sync', '') IS NULL FROM paused";

/// Ends the pause.
pub const END_PAUSE: &str = "
    UPDATE agent_sync.install
    SET paused_since = NULL, paused_until = NULL, paused_by = NULL, pause_reason = NULL,
        pause_releases = false
    WHERE paused_since IS NOT NULL";

/// Takes the leader lock, if it is free and the database is not paused; null if it is paused.
/// 1634169721, "agsy", is the first number of the advisory locks of the usual schema (glossary): 1
/// is the leader lock, 2 the idle lock (C6), 3 the install lock. `sql/capture.sql` has the number
/// of the idle lock, and the other files of the install have that of the install lock.
pub const TRY_LEAD: &str = concat!(
    "SELECT CASE WHEN NOT EXISTS (SELECT FROM ",
    pause_in_force!(),
    ") THEN pg_try_advisory_lock(1634169721, 1) END"
);

/// Releases the leader lock.
pub const STAND_DOWN: &str = "SELECT pg_advisory_unlock(1634169721, 1)";

/// Holds the leader lock to the end of the transaction: false if another session has taken it, or
/// the database is paused.
pub(in crate::store) const KEEP_LEAD: &str = concat!(
    "pg_catalog.pg_try_advisory_xact_lock(1634169721, 1) AND NOT EXISTS (SELECT FROM ",
    pause_in_force!(),
    ")"
);

/// Takes the idle lock, if it is free: from then on, writers notify.
pub const TRY_IDLE_LOCK: &str = "SELECT pg_try_advisory_lock(1634169721, 2)";

/// Releases the idle lock.
pub const RELEASE_IDLE_LOCK: &str = "SELECT pg_advisory_unlock(1634169721, 2)";

/// Whether the role of a session `s` may take changes out of the outbox, by itself or by SET ROLE.
/// True if the role is hidden.
pub(in crate::store) const IS_ABLE: &str = "(s.usesysid IS NULL OR EXISTS (
    SELECT FROM pg_roles r WHERE pg_has_role(s.usesysid, r.oid, 'MEMBER')
      AND coalesce(has_table_privilege(r.oid, to_regclass('agent_sync.outbox')::oid, 'DELETE'),
        true)))";

/// Whether the last statement of a session `s` is none of a daemon, whatever its application name:
/// a pooler may have given the session of a daemon that was killed to an application, which
/// inherits the name and the locks. Every statement of a daemon that precedes a wait has one of
/// these words, or is a probe or the end of a transaction; between two statements of a sweep, any
/// may be the last. Null if the statement is hidden.
pub(in crate::store) const IS_OTHERS: &str = "(s.state = 'idle'
    AND s.query !~ '(agent_sync|1634169721)'
    AND s.query !~* '^[\\s;]*(begin|commit|rollback)?[\\s;]*$')";

/// The holder of the leader lock, and signs of its work. The columns:
/// - the process, its role, and whether that role could be a daemon's;
/// - whether the session has the name of a daemon;
/// - for how long the oldest of the first rows of the outbox has been in it, in seconds; null if
///   there is none;
/// - for how long the session has done nothing, and, for where that is hidden, how many rows have
///   been taken out of the outbox, as far as the server counts that;
/// - where a prepared transaction holds the lock, its identifier and its owner;
/// - the application name, and whether the last statement is none of a daemon;
/// - the host of the client.
pub fn leader() -> String {
    format!(
        "
    SELECT holder.pid, holder.role, coalesce(holder.is_able, true) AS is_able,
           coalesce(holder.is_named, false) AS is_named, oldest.seconds,
           holder.quiet, pg_stat_get_tuples_deleted(to_regclass('agent_sync.outbox')::oid) AS taken,
           holder.gid, holder.owner, holder.program, coalesce(holder.is_others, false) AS is_others,
           holder.host
    FROM (SELECT extract(epoch FROM clock_timestamp() - min(o.at))::float8 AS seconds
          FROM (SELECT o.at FROM agent_sync.outbox o LIMIT 1000) AS o
          WHERE isfinite(o.at)) AS oldest
    LEFT JOIN LATERAL (
        SELECT l.pid, s.usename::text AS role,
               {IS_ABLE} AS is_able,
               s.application_name LIKE 'agent-sync/%' AS is_named,
               extract(epoch FROM clock_timestamp() - s.state_change)::float8 AS quiet, p.gid,
                 p.owner::text AS owner, s.application_name AS program, {IS_OTHERS} AS is_others,
               coalesce(s.client_hostname, host(s.client_addr)) AS host
        FROM pg_locks l JOIN pg_database d ON d.oid = l.database LEFT JOIN pg_stat_activity s
          ON s.pid = l.pid
        -- The locks of a prepared transaction have no process; it is known by the lock on its own
        -- number.
        LEFT JOIN pg_locks own ON l.pid IS NULL AND own.pid IS NULL
          AND own.locktype = 'transactionid'
            AND own.virtualtransaction = l.virtualtransaction
        LEFT JOIN pg_prepared_xacts p ON p.transaction = own.transactionid
        WHERE l.locktype = 'advisory' AND l.classid = 1634169721 AND l.objid = 1
          AND l.objsubid = 2 AND l.granted
          AND d.datname = current_database()
        LIMIT 1
    ) AS holder ON true"
    )
}
