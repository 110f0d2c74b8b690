//! The locks of other sessions on the tables.

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
