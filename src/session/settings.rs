//! The settings of every session. The module `planner` has those that depend on the statements.

use std::time::Duration;

use super::Limits;
use crate::settings::Database;
use crate::store::{IDLE, path};

/// The settings of every session. A server older than 14 has no `idle_session_timeout`, and the
/// later checks refuse it. A server older than 17 has no `transaction_timeout`.
///
/// The `search_path` comes first, so that no statement looks up a name in a schema where others can
/// create objects. The platform's own triggers run in this session when a configuration is written,
/// and rely on the path of the role: see `store::path`.
///
/// A database with the encoding `SQL_ASCII` holds any bytes, and its server refuses to send those
/// that are no UTF-8; so there the bytes come as they are, and the reader checks them.
///
/// The settings of the planner here are the same for every statement; `planner` has the others.
///
/// The timeouts: no statement waits for long, and the server notices a dead daemon and frees its
/// locks, also in the middle of a statement (G9). A session that waits for notifications must
/// survive, and so must a check of many agents, which is one long transaction. Between the two
/// halves of a batch the daemon computes for milliseconds; if that takes seconds, it hangs and
/// holds row locks.
///
/// Settings of the role or database that change the meaning of a statement or of an answer get
/// their defaults. `session_replication_role` stays, because it decides which triggers of the
/// platform fire, and only a superuser may set it. `DateStyle`, `IntervalStyle` and `TimeZone`
/// stay, because triggers of the platform may rely on them, and no statement here reads a time from
/// text.
///
/// `agent_sync.daemon` tells the capture that it runs in the daemon's own session, where the idle
/// lock is always free. A trigger of the platform that saves an agent there has to notify.
///
/// A commit waits for no standby ([`SET_ONCE`]): a missing synchronous standby would stop the
/// database, and a failover loses nothing without the wait, because the standby then has the rows
/// of the outbox too.
///
/// The daemon restores the settings of this function after code of others has run in the session.
/// It does not restore those of [`SET_ONCE`]: where such code has changed one of them,
/// `ConnectionLoop::verify_session` ends the connection before the next sleep or sweep.
pub(super) fn usual_settings(database: &Database, limits: Limits) -> String {
    format!(
        "{};
         SET statement_timeout = {};
         SET lock_timeout = {};
         SET idle_in_transaction_session_timeout = {};
         SET tcp_user_timeout = {};
         SET tcp_keepalives_idle = {};
         SET tcp_keepalives_interval = {};
         SET tcp_keepalives_count = {};
         SET client_min_messages = warning;
         SET default_transaction_isolation = 'read committed';
         SET extra_float_digits = 1;
         SET bytea_output = hex;
         SET enable_hashjoin = on;
         SET enable_indexscan = on;
         SET enable_bitmapscan = on;
         SET enable_tidscan = on;
         SET quote_all_identifiers = off;
         SET standard_conforming_strings = on;
         SET transform_null_equals = off;
         SET array_nulls = on;
         SET row_security = on;
         RESET DateStyle;
         RESET IntervalStyle;
         RESET TimeZone;
         SET agent_sync.daemon = 'on';
         SET jit = off",
        path::OURS,
        limits.statement_timeout.as_millis(),
        limits.lock_timeout.as_millis(),
        IDLE.as_millis(),
        database.tcp_user_timeout.as_millis(),
        database.keepalives_idle.as_secs(),
        database.keepalives_interval.as_secs(),
        database.keepalives_count,
    )
}

/// Sets the application name `$1` and the encoding. Behind a pooler, `DISCARD ALL` takes back those
/// of the connection: they are none of the backend's own.
pub(super) const OF_THE_CONNECTION: &str = "
    SELECT pg_catalog.set_config('application_name', $1::pg_catalog.text, false),
           pg_catalog.set_config('client_encoding', 'UTF8', false)";

/// The server's `deadlock_timeout` in milliseconds.
pub(super) const DEADLOCK_TIMEOUT: &str =
    "SELECT setting::int8 FROM pg_settings WHERE name = 'deadlock_timeout'";

impl Limits {
    /// The limits with a `lock_timeout` of at most half the server's `deadlock_timeout`, and at
    /// least 1 ms. A session that has waited for `deadlock_timeout` looks for a deadlock, and is
    /// its victim. A wait of the daemon ends before, so a transaction of the platform is never the
    /// victim (G3).
    pub(super) fn below(self, deadlock_timeout: i64) -> Self {
        let half = u64::try_from(deadlock_timeout / 2).unwrap_or_default();
        Self {
            lock_timeout: self.lock_timeout.min(Duration::from_millis(half.max(1))),
            ..self
        }
    }
}

/// The settings that not every server has, and those that depend on the present value of another
/// setting. They are set once, and not restored after code of others has run.
pub(super) const SET_ONCE: &str = "
    SELECT set_config(name, '0', false) FROM pg_settings
      WHERE name IN ('idle_session_timeout', 'transaction_timeout');
    DO $$ BEGIN
        PERFORM pg_catalog.set_config('client_connection_check_interval', '5000', false);
    EXCEPTION WHEN OTHERS THEN NULL; END $$; -- Not every system that servers run on can tell.
    SELECT set_config('client_encoding', 'SQL_ASCII', false)
      WHERE current_setting('server_encoding') = 'SQL_ASCII';
    SELECT set_config('synchronous_commit', 'local', false)
      WHERE current_setting('synchronous_commit') IN ('on', 'remote_write', 'remote_apply')";
