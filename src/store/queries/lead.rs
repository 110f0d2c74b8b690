//! The leader lock, and the pause of a database, in which no session may hold it.

/// The pause of the database that is in force, as a row of `agent_sync.install`. The write that
/// runs under the path of the role has it as well, so each name is qualified.
macro_rules! pause_in_force {
    () => {
        "agent_sync.install i WHERE i.paused_since IS NOT NULL AND (i.paused_until IS NULL
           OR i.paused_until OPERATOR(pg_catalog.>) pg_catalog.clock_timestamp())"
    };
}

/// The pause that is in force: since when, until when, by whom, why, and whether daemons close their
/// connections. A person may have written the row, so texts are cut and infinite times left out.
pub const PAUSE: &str = concat!(
    "SELECT CASE WHEN isfinite(i.paused_since) THEN i.paused_since ELSE now() END AS since,
            CASE WHEN isfinite(i.paused_until) THEN i.paused_until END AS until,
            left(i.paused_by, 200) AS by, left(i.pause_reason, 300) AS reason,
            i.pause_releases AS releases
     FROM ",
    pause_in_force!()
);

/// Pauses the database, until `$1` seconds after 1970, or for `$2` seconds, or for good; by the user
/// `$3` of the operating system, for the reason `$4`, with closed connections if `$5`. It wakes the
/// daemon, whose next batch finds the pause. Gives no row where the install has no record.
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
/// 1634169721, "agsy", is the key of all advisory locks of agent-sync: 1 is the leader lock, 2 the
/// idle lock (C6), 3 the install lock. `sql/capture.sql` has the number of the idle lock, and the
/// other files of the install have that of the install lock.
pub const TRY_LEAD: &str = concat!(
    "SELECT CASE WHEN NOT EXISTS (SELECT FROM ",
    pause_in_force!(),
    ") THEN pg_try_advisory_lock(1634169721, 1) END"
);

/// Holds the leader lock to the end of the transaction: false if another session has taken it, or
/// the database is paused.
pub(in crate::store) const KEEP_LEAD: &str = concat!(
    "pg_catalog.pg_try_advisory_xact_lock(1634169721, 1) AND NOT EXISTS (SELECT FROM ",
    pause_in_force!(),
    ")"
);
