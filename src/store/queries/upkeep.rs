//! The locks, and everything about the outbox, the problems and the history but a batch itself.

use crate::key::Keys;
use crate::store::layout::Layout;

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

/// Whether the last statement of a session `s` is none of a daemon, whatever its application name: a
/// pooler may have given the session of a daemon that was killed to an application, which inherits
/// the name and the locks. Every statement of a daemon that precedes a wait has one of these words,
/// or is a probe or the end of a transaction; between two statements of a sweep, any may be the last.
/// Null if the statement is hidden.
pub(in crate::store) const IS_OTHERS: &str = "(s.state = 'idle'
    AND s.query !~ '(agent_sync|1634169721)'
    AND s.query !~* '^[\\s;]*(begin|commit|rollback)?[\\s;]*$')";

/// Who holds the leader lock, and signs of its work. The columns: the process, its role,
/// and whether that role could be a daemon's; whether the session has the name of a daemon; for how
/// long the oldest of the first rows of the
/// outbox has been in it, in seconds, null if there is none; for how long the session has done
/// nothing, and, for where that is hidden, how many rows have been taken out of the outbox, as far
/// as the server counts that; the application name; and whether its last statement is none of a
/// daemon.
pub fn leader() -> String {
    format!(
        "
    SELECT holder.pid, holder.role, coalesce(holder.is_able, true) AS is_able,
           coalesce(holder.is_named, false) AS is_named, oldest.seconds,
           holder.quiet, pg_stat_get_tuples_deleted(to_regclass('agent_sync.outbox')::oid) AS taken,
           holder.gid, holder.owner, holder.program, coalesce(holder.is_others, false) AS is_others
    FROM (SELECT extract(epoch FROM clock_timestamp() - min(o.at))::float8 AS seconds
          FROM (SELECT o.at FROM agent_sync.outbox o LIMIT 1000) AS o
          WHERE isfinite(o.at)) AS oldest
    LEFT JOIN LATERAL (
        SELECT l.pid, s.usename::text AS role,
               {IS_ABLE} AS is_able,
               s.application_name LIKE 'agent-sync/%' AS is_named,
               extract(epoch FROM clock_timestamp() - s.state_change)::float8 AS quiet, p.gid,
                 p.owner::text AS owner, s.application_name AS program, {IS_OTHERS} AS is_others
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

/// Puts the keys `$1` into the outbox.
pub fn enqueue(keys: Keys) -> String {
    match keys {
        Keys::Slugs => "INSERT INTO agent_sync.outbox (slug) SELECT unnest($1::text[])".to_owned(),
        Keys::Tenants => format!(
            "INSERT INTO agent_sync.outbox (tenant, slug) SELECT {} FROM unnest($1::text[]) AS u (key)",
            keys.values("u.key")
        ),
    }
}

/// Notifies the channel `$1` of the keys `$2`. PostgreSQL sends equal notifications of a transaction
/// once.
/// Two cases would fail the batch and are left out: a slug that is too long for a notification, and
/// every slug while the notification queue is half full or more.
pub const ANNOUNCE: &str = "
    SELECT pg_notify($1::text, u.slug) FROM unnest($2::text[]) AS u (slug)
    WHERE octet_length(u.slug) < 8000 AND (SELECT pg_notification_queue_usage()) < 0.5";

/// Notes that a configuration was last written `$1` seconds ago.
pub const NOTE_LAST_SYNC: &str =
    "UPDATE agent_sync.install SET last_sync = clock_timestamp() - $1 * interval '1 second'";

/// Notes that changes may have been missed. The leader checks every agent once the cause is gone.
pub const DISTRUST: &str =
    "UPDATE agent_sync.install SET uncaptured_seen = -1 WHERE uncaptured_seen <> -1";

/// The virtual transactions of others that may have saved and are not over, of `$1` the agents and
/// `$2` the configurations: those that hold a lock to write, or a stronger one, on either table, or
/// on a partition or child of it. A prepared transaction keeps its number, and is among them.
pub const SAVERS: &str = "
    WITH RECURSIVE saved (relation) AS (
        SELECT r.relation::oid FROM (VALUES (to_regclass($1::text)), (to_regclass($2::text))) AS
          r (relation)
        UNION
        SELECT i.inhrelid FROM saved JOIN pg_inherits i ON i.inhparent = saved.relation
    )
    SELECT DISTINCT l.virtualtransaction
    FROM pg_locks l JOIN saved ON saved.relation = l.relation
    WHERE l.locktype = 'relation' AND l.granted
      AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
      AND l.mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock',
        'AccessExclusiveLock')
      AND l.pid IS DISTINCT FROM pg_backend_pid()";

/// Whether another session holds a lock that no write passes, or waits for one: on the
/// configurations `$1`, or on a table that a batch writes. A claim passes some of these, such as
/// that of CREATE INDEX.
pub const WRITES_ARE_LOCKED: &str = "
    SELECT EXISTS (
        SELECT FROM pg_locks l
        WHERE l.locktype = 'relation'
          AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
          AND l.relation IN (to_regclass($1::text), to_regclass('agent_sync.outbox'),
            to_regclass('agent_sync.problem'), to_regclass('agent_sync.history'))
          AND l.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock',
            'AccessExclusiveLock')
          AND l.pid IS DISTINCT FROM pg_backend_pid())";

/// The seconds until the first retry of a problem is due; null if no problem has a next attempt. A
/// next attempt further away than the longest pause comes from a clock that was set back, and is
/// due.
pub const NEXT_RETRY: &str = "
    SELECT extract(epoch FROM min(CASE WHEN p.next_attempt > now() + interval '5 minutes'
      THEN now() ELSE p.next_attempt END)
                   - clock_timestamp())::float8
    FROM agent_sync.problem p";

/// Puts the keys of problems whose next attempt is due into the outbox: 100 at most, the longest
/// due first, so that new changes come in between (G5). [`NEXT_RETRY`] gives the time of the next
/// look.
pub fn enqueue_retries(keys: Keys) -> String {
    let names = keys.names();
    format!(
        "
    WITH due AS (
        UPDATE agent_sync.problem p SET next_attempt = NULL
        WHERE p.ctid = ANY (ARRAY(
                  SELECT q.ctid FROM agent_sync.problem q
                  WHERE q.next_attempt <= now() OR q.next_attempt > now() + interval '5 minutes'
                  ORDER BY q.next_attempt LIMIT 100 FOR UPDATE))
          AND p.next_attempt IS NOT NULL
        RETURNING {}
    )
    INSERT INTO agent_sync.outbox ({names}) SELECT {} FROM due",
        keys.columns("p"),
        keys.columns("due")
    )
}

/// Every agent into the outbox: after saves that could not be captured, and at the first start.
pub fn enqueue_all(layout: &Layout) -> String {
    let (table, slug) = (&layout.agents.table, &layout.agents.slug.name);
    let names = layout.keys().names();
    let tenant = layout.agents.tenant.as_ref();
    let tenant = tenant.map(|tenant| format!("{}, ", tenant.text("a")));
    format!(
        "INSERT INTO agent_sync.outbox ({names}) SELECT {}a.{slug} FROM {table} a WHERE a.{slug} \
        IS NOT NULL",
        tenant.unwrap_or_default()
    )
}

/// Every agent into the outbox that is not in it: for a look that comes again and again, and must
/// not pile up. What waits there is read later than this.
pub fn enqueue_absent(layout: &Layout) -> String {
    let (all, slug) = (enqueue_all(layout), &layout.agents.slug.name);
    let (own, key) = (layout.keys().of_row("o"), layout.agents.key("a"));
    let is_there = match layout.keys() {
        Keys::Slugs => format!("{own} = a.{slug}::text"),
        Keys::Tenants => format!("{own} = {key}"),
    };
    format!("{all} AND NOT EXISTS (SELECT FROM agent_sync.outbox o WHERE {is_there})")
}

/// Every agent into the outbox after `$1` saves that could not be captured, and says so in
/// `agent_sync.install`: in one snapshot. It settles them only once their [`SAVERS`] are over; see
/// `ConnectionLoop::make_good`.
pub fn enqueue_uncaptured(layout: &Layout) -> String {
    let all = enqueue_all(layout);
    format!("WITH settled AS (UPDATE agent_sync.install SET uncaptured_seen = $1) {all}")
}

/// Puts the keys of the problems `p` into the outbox that meet this condition and are not in it.
fn enqueue_problems(keys: Keys, condition: &str) -> String {
    let (names, columns) = (keys.names(), keys.columns("p"));
    let (waiting, key) = (keys.of_row("o"), keys.of_row("p"));
    format!(
        "INSERT INTO agent_sync.outbox ({names}) SELECT {columns} FROM agent_sync.problem p
         WHERE {condition}
           AND NOT EXISTS (SELECT FROM agent_sync.outbox o WHERE {waiting} = {key})"
    )
}

/// Problems of agents that are not found. Whether one is gone is for the batch to say, which has
/// proof, so its problem is not deleted here.
pub fn enqueue_orphans(layout: &Layout) -> String {
    let (table, agents) = (&layout.agents.table, &layout.agents);
    let mut condition = format!(
        "NOT EXISTS (SELECT FROM {table} a WHERE {})",
        agents.is("a", "p.tenant", "p.slug")
    );
    if let Some(without) = agents.lacks_tenant("a", "p.slug") {
        condition = format!(
            "{condition} AND NOT (p.tenant IS NULL AND EXISTS (SELECT FROM {table} a WHERE {without}))"
        );
    }
    enqueue_problems(layout.keys(), &condition)
}

/// Problems of agents that shared their key with another, which has gone: the capture does not
/// note that.
pub fn enqueue_unambiguous(layout: &Layout) -> String {
    let (table, key) = (&layout.agents.table, layout.agents.key("a"));
    let (keys, own) = (layout.keys(), layout.keys().of_row("q"));
    let condition = format!(
        "p.kind = 'ambiguous'
           AND NOT EXISTS (
               SELECT FROM (SELECT {key} AS slug FROM {table} a
                            WHERE {key} IN (SELECT {own} FROM agent_sync.problem q
                              WHERE q.kind = 'ambiguous')
                            GROUP BY 1 HAVING count(*) > 1) AS shared
               WHERE shared.slug = {})",
        keys.of_row("p")
    );
    enqueue_problems(keys, &condition)
}

/// Agents whose missing configuration has come, noted or not (C2 can be switched off).
pub fn enqueue_found(layout: &Layout) -> String {
    let configurations = &layout.configurations;
    let condition = format!(
        "p.kind = 'missing_configuration'
           AND EXISTS (SELECT FROM {} c WHERE {})",
        configurations.table,
        configurations.is("c", "p.tenant", "p.slug")
    );
    enqueue_problems(layout.keys(), &condition)
}

/// Deletes the oldest of the history: up to `$3` of what is older than `$1` seconds, or behind the
/// latest `$2`.
pub const PRUNE_HISTORY: &str = "
    DELETE FROM agent_sync.history h
    WHERE h.id = ANY (ARRAY(
        SELECT o.id FROM (SELECT f.id, f.at FROM agent_sync.history f ORDER BY f.id LIMIT $3) AS o
        WHERE o.at < now() - $1 * interval '1 second' OR o.id <= (SELECT max(l.id)
          FROM agent_sync.history l) - $2))";
