//! The queries of the reporting commands, and of others that look at the state of a database.
//!
//! No query is prepared in advance, and each stands alone: where a part of an install is missing or
//! closed to the role, the other queries still work.
//!
//! Invariant: read-only.

mod upkeep;

pub use self::upkeep::{RECORD_HOLDER, TABLE_LOCK, UNLOCKED_RECORD, UPKEEP, saver, tables};

use super::MayRead;
use super::layout::Layout;
use super::queries::{self, IS_ABLE, IS_OTHERS};
use crate::key::Keys;

/// The sessions of daemons in this database, the leader first: process, host, whether it is told
/// where from, user, program, since when and how long it has been connected, whether it leads,
/// whether it sleeps, whether it holds the leader lock and is no daemon by its role or name, for
/// how long its session has done nothing, and whether its last statement is none of a daemon.
/// PostgreSQL gives less for sessions that it hides from this role.
pub fn daemons() -> String {
    format!(
        "
    WITH lock AS (
        -- A saver holds the idle lock shared for a moment. No daemon holds the leader lock shared.
        SELECT l.pid, l.objid, l.virtualtransaction AS holder, l.mode = 'ShareLock' AS is_shared
        FROM pg_locks l JOIN pg_database d ON d.oid = l.database
        WHERE l.locktype = 'advisory' AND l.classid = 1634169721 AND l.objsubid = 2
          AND (l.objid = 1 OR l.objid = 2 AND l.mode = 'ExclusiveLock')
          AND l.granted AND d.datname = current_database()
    ), session AS (
        SELECT lock.pid, lock.objid, lock.is_shared FROM lock WHERE lock.pid IS NOT NULL
    )
    SELECT * FROM (SELECT s.pid, coalesce(s.client_hostname, host(s.client_addr)) AS host,
           s.backend_start IS NOT NULL AS told_where, s.usename::text AS role,
           s.application_name AS program, s.backend_start AS connected_since,
           extract(epoch FROM clock_timestamp() - s.backend_start)::float8 AS connected_seconds,
           s.pid IN (SELECT session.pid FROM session
             WHERE session.objid = 1 AND NOT session.is_shared) AND role.is_able
             AND role.is_named AS leads,
           s.pid IN (SELECT session.pid FROM session WHERE session.objid = 2) AS sleeps,
           s.pid IN (SELECT session.pid FROM session
             WHERE session.objid = 1 AND (session.is_shared OR NOT role.is_able
               OR NOT role.is_named)) AS is_intruder,
           extract(epoch FROM clock_timestamp() - s.state_change)::float8 AS quiet_seconds,
           coalesce({IS_OTHERS}, false) AS is_others
    FROM pg_stat_activity s CROSS JOIN LATERAL (
        SELECT {IS_ABLE} AS is_able, coalesce(s.application_name LIKE 'agent-sync/%', false)
          AS is_named) AS role
    WHERE s.datname = current_database() AND s.pid <> pg_backend_pid()
      -- The name of a daemon of another install ends with its schema, but for the usual one.
      -- Anybody can give a session that name, and a daemon has the privileges of one.
      AND (role.is_named AND role.is_able
        AND coalesce(substring(s.application_name FROM '[[](.*)[]]$'), 'agent' || '_sync')
          = 'agent_sync' OR s.pid IN (SELECT session.pid FROM session
        WHERE session.objid = 1))
    UNION ALL
    -- A prepared transaction has no process; in place of the name of a program comes its own.
    SELECT 0, NULL, false, p.owner::text, p.gid, NULL, NULL, false, false, true, NULL,
           false
    FROM lock
    JOIN pg_locks own ON own.pid IS NULL AND own.locktype = 'transactionid'
      AND own.virtualtransaction = lock.holder
    JOIN pg_prepared_xacts p ON p.transaction = own.transactionid
    WHERE lock.pid IS NULL AND lock.objid = 1) AS d
    ORDER BY d.leads DESC, d.connected_since, d.pid"
    )
}

/// How much is in the outbox, counted up to `$1` rows: rows, keys, since when the oldest of them
/// waits, and for how long. A row with an infinite time has come now.
pub fn outbox(keys: Keys) -> String {
    let key = keys.of_row("o");
    format!(
        "
    SELECT count(*), count(DISTINCT o.slug),
           min(o.at),
           extract(epoch FROM clock_timestamp() - min(o.at))::float8
    FROM (SELECT {key} AS slug, CASE WHEN isfinite(o.at) THEN o.at ELSE now() END AS at
          FROM agent_sync.outbox o LIMIT $1::int8) o"
    )
}

/// The transaction, other than those of agent-sync, that has read rows of the quoted table `$1` to
/// lock them, or has written some, for longest: its process, or its name where it is prepared;
/// since when it has been open, and for how long, null where that is hidden from this role.
pub const ROW_HOLDER: &str = "
    SELECT s.pid, p.gid, coalesce(s.xact_start, p.prepared),
           extract(epoch FROM clock_timestamp() - coalesce(s.xact_start, p.prepared))::float8
    FROM pg_locks l
    LEFT JOIN pg_stat_activity s ON s.pid = l.pid
    LEFT JOIN pg_locks own ON l.pid IS NULL AND own.virtualtransaction = l.virtualtransaction
      AND own.locktype = 'transactionid'
    LEFT JOIN pg_prepared_xacts p ON p.transaction = own.transactionid
    WHERE l.relation = to_regclass($1) AND l.granted
      AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
      AND l.mode IN ('RowShareLock', 'RowExclusiveLock')
      AND coalesce(s.application_name, '') NOT LIKE 'agent-sync/%'
      AND coalesce(s.pid::text, p.gid) IS NOT NULL
    ORDER BY 3 LIMIT 1";

/// What stands in the way of which agents, of the first `$1` problems, in at most `$2` groups: the
/// kind, SQLSTATE, how many, the keys of three of them (of a slug that is longer than any may be,
/// the beginning), since when and for how long, the latest reason, whether there may be further
/// problems, and whether there are further groups.
///
/// The server holds three rows of a group at a time, and compares the beginning of the keys (G12).
pub fn problems(keys: Keys) -> String {
    let begun = queries::beginning(&keys.of_row("f"));
    let shown = queries::shown("named.slug");
    // The same rows for each part, unless the server begins its scans at different places.
    let of_group = "FROM (SELECT q.* FROM agent_sync.problem q LIMIT $1::int8) AS f
          WHERE f.kind = g.kind AND f.sqlstate IS NOT DISTINCT FROM g.sqlstate";
    format!(
        "
    SELECT g.kind, g.sqlstate, g.agents,
           ARRAY(SELECT {shown} FROM (SELECT {begun} AS slug FROM (
             SELECT f.* {of_group}
             ORDER BY f.since, left({}, 200) LIMIT 3) AS f) AS named),
           g.since, extract(epoch FROM clock_timestamp() - g.since)::float8,
           coalesce(latest.detail, ''), g.is_full, g.groups > $2::int8
    FROM (SELECT p.kind, p.sqlstate, count(*) AS agents, min(p.since) AS since,
                 sum(count(*)) OVER () >= $1::int8 AS is_full, count(*) OVER () AS groups
          FROM (SELECT q.kind, q.sqlstate, q.since FROM agent_sync.problem q LIMIT $1::int8) AS p
          GROUP BY p.kind, p.sqlstate
          ORDER BY array_position(ARRAY['failed', 'rejected', 'missing_configuration'], p.kind),
            3 DESC, 2 LIMIT $2::int8) AS g
    LEFT JOIN LATERAL (
        SELECT f.detail {of_group}
        ORDER BY CASE WHEN f.kind = 'missing_configuration' THEN length(f.detail) END DESC,
          f.last_seen DESC LIMIT 1) AS latest ON true
    ORDER BY array_position(ARRAY['failed', 'rejected', 'missing_configuration'], g.kind), 3 DESC,
      2",
        keys.of_row("f")
    )
}

/// The problem of the key `$1`: kind, reason, SQLSTATE, since when, how often, and in how many
/// seconds it is tried again.
pub fn problem_of(keys: Keys) -> String {
    let is = keys.is("p", "$1::text");
    format!(
        "
    SELECT p.kind, p.detail, p.sqlstate, p.since,
           extract(epoch FROM clock_timestamp() - p.since)::float8 AS seconds, p.attempts,
           extract(epoch FROM p.next_attempt - clock_timestamp())::float8 AS next_attempt_seconds
    FROM agent_sync.problem p WHERE {is}"
    )
}

/// The condition that a row `o` of the outbox is about the key `$1`: a row without tenant is about
/// the agents of every tenant.
fn is_about(keys: Keys) -> String {
    let key = keys.of_row("o");
    match keys {
        Keys::Slugs => format!("{key} = $1::text"),
        Keys::Tenants => format!(
            "({key} = $1::text OR o.tenant IS NULL AND o.slug = {})",
            keys.slug("$1::text")
        ),
    }
}

/// Since when the key `$1` has been waiting in the outbox, and for how long; nulls if it is not in
/// it. A row with an infinite time has come now.
pub fn pending_of(keys: Keys) -> String {
    let is_about = is_about(keys);
    format!(
        "
    SELECT min(o.at) AS since,
           extract(epoch FROM clock_timestamp() - min(o.at))::float8 AS seconds
    FROM (SELECT CASE WHEN isfinite(o.at) THEN o.at ELSE now() END AS at
          FROM agent_sync.outbox o WHERE {is_about}) AS o"
    )
}

/// The last writes for the key `$1`, the latest first, `$2` of them: when, how long ago, which
/// configuration, which columns, `provider_config` before and after unless these are longer than
/// `$3` bytes together, whether they are, and the application and the role of the transaction that
/// caused it.
pub fn history_of(keys: Keys) -> String {
    let key = keys.of_row("h");
    format!(
        "
    SELECT h.at, extract(epoch FROM clock_timestamp() - h.at)::float8 AS seconds,
           {} AS configuration,
           h.columns, CASE WHEN NOT w.is_heavy THEN h.before END AS before,
           CASE WHEN NOT w.is_heavy THEN h.after END AS after, w.is_heavy,
           h.application_name, h.role
    FROM agent_sync.history h CROSS JOIN LATERAL (
        SELECT coalesce(octet_length(h.before), 0)::int8 + coalesce(octet_length(h.after), 0)
          > $3::int8 AS is_heavy) AS w
    WHERE {key} = $1::text ORDER BY h.id DESC LIMIT $2::int8",
        queries::shown("h.configuration")
    )
}

/// When the last write was, and how long ago, as the history or else the last sweep has noted it;
/// nulls if neither has.
pub const LAST_SYNC: &str = "
    SELECT l.at, extract(epoch FROM clock_timestamp() - l.at)::float8
    FROM (SELECT greatest((SELECT h.at FROM agent_sync.history h ORDER BY h.id DESC LIMIT 1),
                          (SELECT i.last_sync FROM agent_sync.install i)) AS at) AS l";

/// How many of the keys `$1` are still in the outbox, and how many rows have ever been taken out
/// of it, by a count of the server's that is about a second late: where the first stays and the
/// second grows, others are before them.
pub fn still_pending(keys: Keys) -> String {
    let key = keys.of_row("o");
    format!(
        "
    SELECT count(DISTINCT {key}),
      coalesce(pg_stat_get_tuples_deleted(to_regclass('agent_sync.outbox')), 0)
    FROM agent_sync.outbox o WHERE {key} = ANY ($1::text[])"
    )
}

/// Whether a session leads in this database.
pub const LED: &str = "
    SELECT EXISTS (
        SELECT FROM pg_locks l JOIN pg_database d ON d.oid = l.database
        WHERE l.locktype = 'advisory' AND l.classid = 1634169721 AND l.objid = 1 AND l.objsubid = 2
          AND l.granted AND d.datname = current_database())";

/// Whether the server is on this machine, as far as it can see.
pub const NEARBY: &str = "
    SELECT inet_client_addr() IS NULL OR inet_client_addr() <<= inet '127.0.0.0/8'
      OR inet_client_addr() = inet '::1'";

/// Whether the relation `$1` is there, and may be read.
pub const READABLE: &str = "
    SELECT to_regclass($1::text) IS NOT NULL AND has_table_privilege(to_regclass($1::text),
      'SELECT')";

/// How many rows the table `$1` had when it was last looked at by the server; less than 0 if it
/// never was.
pub const ESTIMATE: &str = "
    SELECT coalesce((SELECT c.reltuples FROM pg_class c
      WHERE c.oid = to_regclass($1::text)), -1)::int8";

/// The agents, counted up to `$1`.
pub fn count_agents(layout: &Layout, _: MayRead) -> String {
    let (table, slug) = (&layout.agents.table, &layout.agents.slug.name);
    format!(
        "SELECT count(*) FROM (SELECT a.{slug} FROM {table} a WHERE a.{slug} IS NOT NULL LIMIT \
        $1::int8) AS a"
    )
}

/// How many configurations the agent with the key `$1` has.
pub fn count_configurations(layout: &Layout) -> String {
    let (configurations, keys) = (&layout.configurations, layout.keys());
    let (tenant, slug) = (keys.tenant("$1::text"), keys.slug("$1::text"));
    format!(
        "SELECT count(*) FROM {} c WHERE {}",
        configurations.table,
        configurations.is("c", &format!("({tenant})"), &slug)
    )
}

/// The keys of the first `$2` agents and configurations that one of `$1` names (`Agents::names`),
/// where tenants are set.
pub fn keys_of_names(layout: &Layout) -> String {
    let (agents, configurations) = (&layout.agents, &layout.configurations);
    let of_configuration = configurations.key_of_agent("c");
    let has_slash = "EXISTS (SELECT FROM unnest($1::text[]) AS u (name) WHERE u.name LIKE '%/%')";
    let (of_agents, of_configurations) = (
        format!("SELECT {} FROM {} a WHERE", agents.key("a"), agents.table),
        format!(
            "SELECT {of_configuration} FROM {} c WHERE",
            configurations.table
        ),
    );
    format!(
        "SELECT k.key FROM ({of_agents} {} = ANY ($1::text[])
                            UNION {of_agents} {has_slash} AND {} = ANY ($1::text[])
                            UNION {of_configurations} {} = ANY ($1::text[])
                            UNION {of_configurations} {has_slash} AND {} = ANY ($1::text[]))
               AS k (key)
         WHERE {} IS NOT NULL
         ORDER BY 1 LIMIT $2::int8",
        agents.lookup("a"),
        agents.plain_key("a"),
        configurations.lookup("c"),
        configurations.plain_key("c"),
        queries::sent("k.key"),
    )
}
