//! The queries about the server.

use super::rights::IS_WITHIN_REACH;

/// The server: its version as text and as a number, whether it is a standby, whether it is
/// read-only, and how many transactions can be prepared; and whether code in this session can act
/// as a superuser, and the name of the role that has logged in. Read-only is what sessions are made
/// to be by default, whatever ours has set: a provider does that when the disk is nearly full, and
/// it is not for us to overrule.
pub fn server() -> String {
    format!(
        "
    SELECT current_setting('server_version') AS version,
           current_setting('server_version_num')::int4 AS number,
           pg_is_in_recovery() AS is_standby,
           current_setting('transaction_read_only')::bool OR (
               SELECT s.reset_val::bool FROM pg_settings s
                 WHERE s.name = 'default_transaction_read_only') AS is_read_only,
           current_setting('max_prepared_transactions')::int4 AS most_prepared,
           EXISTS (SELECT FROM pg_roles r WHERE r.rolsuper AND {IS_WITHIN_REACH}) AS is_superuser,
           quote_ident(session_user) AS role"
    )
}

/// Whether the queue of notifications is so full that the triggers do not notify, how full it is in
/// percent, and the session of anybody's that has been in a transaction for longest. Asking has
/// PostgreSQL clean the queue up.
pub const NOTIFICATION_QUEUE: &str = "
    SELECT q.usage >= 0.5, round(q.usage * 100)::int4,
           (SELECT 'process ' || s.pid || coalesce(', ' || nullif(s.application_name, ''), '')
            FROM pg_stat_activity s
            WHERE q.usage >= 0.5 AND s.state LIKE 'idle in transaction%'
              AND s.pid <> pg_backend_pid()
            ORDER BY s.xact_start LIMIT 1)
    FROM (SELECT pg_notification_queue_usage() AS usage OFFSET 0) AS q";
