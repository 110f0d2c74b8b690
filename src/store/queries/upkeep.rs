//! The locks, and everything about the outbox, the problems and the history but a batch itself.

use crate::store::layout::Layout;

/// The key of the advisory locks, "agsy", and the locks: who leads, and whether the daemon sleeps (C6).
/// `sql/attach.sql` has the same numbers.
pub const TRY_LEAD: &str = "SELECT pg_try_advisory_lock(1634169721, 1)";

/// Takes the lock that tells writers that the daemon sleeps, so that they notify.
pub const TRY_SLEEP: &str = "SELECT pg_try_advisory_lock(1634169721, 2)";

/// Releases it.
pub const AWAKE: &str = "SELECT pg_advisory_unlock(1634169721, 2)";

/// Puts slugs into the outbox.
pub const ENQUEUE: &str = "INSERT INTO agent_sync.outbox (slug) SELECT unnest($1::text[])";

/// Takes one row out of the outbox, when its failure has been noted. A later change of the slug is another row.
pub const DEQUEUE: &str = "DELETE FROM agent_sync.outbox WHERE ctid = $1 AND slug = $2";

/// The first row from a place on.
pub const FIRST_IN_OUTBOX: &str = "SELECT o.ctid, o.slug FROM agent_sync.outbox o WHERE o.ctid >= $1 LIMIT 1";

/// Notes problems. `since` stays while the kind does; a retry comes after 2 s, doubling to 5 minutes. The slugs are distinct.
///
/// The leader is the only writer of problems, so no row comes between the update and the insert. There is no ON CONFLICT, because the
/// constraint that keeps a slug from standing there twice is not a unique index (`sql/0003_whole.sql`).
pub const NOTE_PROBLEMS: &str = "
    WITH found AS (
        SELECT u.slug, u.kind, u.detail, u.sqlstate
        FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS u (slug, kind, detail, sqlstate)
    ), known AS (
        UPDATE agent_sync.problem p SET
            kind = f.kind,
            detail = f.detail,
            sqlstate = f.sqlstate,
            since = CASE WHEN p.kind = f.kind THEN p.since ELSE now() END,
            last_seen = now(),
            attempts = CASE WHEN p.kind = f.kind THEN p.attempts + 1 ELSE 1 END,
            next_attempt = CASE WHEN f.kind = 'failed' THEN
                now() + least(interval '5 minutes', interval '2 seconds' * power(2::float8, least(p.attempts, 20)::float8)) END
        FROM found f
        WHERE p.slug = ANY ($1::text[]) AND p.slug = f.slug
        RETURNING p.slug
    )
    INSERT INTO agent_sync.problem (slug, kind, detail, sqlstate, next_attempt)
    SELECT f.slug, f.kind, f.detail, f.sqlstate, CASE WHEN f.kind = 'failed' THEN now() + interval '2 seconds' END
    FROM found f
    WHERE f.slug NOT IN (SELECT k.slug FROM known k)";

/// Clears problems whose cause is gone.
pub const CLEAR_PROBLEMS: &str = "DELETE FROM agent_sync.problem WHERE slug = ANY ($1::text[])";

/// Tells the channel `$1` of slugs, each once, for PostgreSQL sends what is the same only once a transaction. Left out is what would undo
/// the batch: a slug that is too long for a notification, and everything while the queue of notifications is nearly full.
pub const ANNOUNCE: &str = "
    SELECT pg_notify($1::text, u.slug) FROM unnest($2::text[]) AS u (slug)
    WHERE octet_length(u.slug) < 8000 AND (SELECT pg_notification_queue_usage()) < 0.5";

/// Notes that a configuration was last written `$1` seconds ago.
pub const NOTE_LAST_SYNC: &str =
    "UPDATE agent_sync.install SET last_sync = clock_timestamp() - $1 * interval '1 second'";

/// Says that changes may have been missed, so that every agent is looked at when that is over, whoever leads then.
pub const DISTRUST: &str = "UPDATE agent_sync.install SET uncaptured_seen = -1 WHERE uncaptured_seen <> -1";

/// The first transaction that has not begun.
pub const NEXT_TRANSACTION: &str = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text";

/// How long until the first failed write is to be tried again, in seconds; null if there is none.
pub const NEXT_RETRY: &str = "
    SELECT extract(epoch FROM min(p.next_attempt) - clock_timestamp())::float8 FROM agent_sync.problem p";

/// Puts the failed writes that are due back into the outbox, and says when to look again.
pub const ENQUEUE_RETRIES: &str = "
    WITH due AS (
        UPDATE agent_sync.problem p SET next_attempt = NULL WHERE p.next_attempt <= now() RETURNING p.slug
    )
    INSERT INTO agent_sync.outbox (slug) SELECT due.slug FROM due";

/// Every agent into the outbox: after saves that could not be captured, and at the first start.
pub fn enqueue_all(layout: &Layout) -> String {
    let (table, slug) = (&layout.agents.table, &layout.agents.slug.name);
    format!("INSERT INTO agent_sync.outbox (slug) SELECT a.{slug} FROM {table} a WHERE a.{slug} IS NOT NULL")
}

/// Every agent into the outbox after `$1` saves that could not be captured, and says so in `agent_sync.install`: in one
/// snapshot, in which every transaction before `$2` is over. If one is not, nothing is done.
pub fn enqueue_uncaptured(layout: &Layout) -> String {
    let all = enqueue_all(layout);
    format!(
        "WITH settled AS (
             UPDATE agent_sync.install SET uncaptured_seen = $1
             WHERE pg_snapshot_xmin(pg_current_snapshot()) >= $2::text::xid8
             RETURNING 1
         )
         {all} AND EXISTS (SELECT FROM settled)"
    )
}

/// Problems of agents that are gone.
pub fn clear_orphans(layout: &Layout) -> String {
    let (table, slug) = (&layout.agents.table, &layout.agents.slug.name);
    format!(
        "DELETE FROM agent_sync.problem p WHERE NOT EXISTS (SELECT FROM {table} a WHERE a.{slug} = p.slug)"
    )
}

/// Agents whose missing configuration has come, noted or not (C2 can be switched off).
pub fn enqueue_found(layout: &Layout) -> String {
    let (table, slug) = (&layout.configurations.table, &layout.configurations.agent_slug.name);
    format!(
        "INSERT INTO agent_sync.outbox (slug) SELECT p.slug FROM agent_sync.problem p
         WHERE p.kind = 'missing_configuration'
           AND EXISTS (SELECT FROM {table} c WHERE c.{slug} = p.slug)
           AND NOT EXISTS (SELECT FROM agent_sync.outbox o WHERE o.slug = p.slug)"
    )
}

/// Deletes the oldest of the history: up to `$3` of what is older than `$1` seconds, or behind the latest `$2`.
pub const PRUNE_HISTORY: &str = "
    DELETE FROM agent_sync.history h
    WHERE h.id = ANY (ARRAY(
        SELECT o.id FROM (SELECT f.id, f.at FROM agent_sync.history f ORDER BY f.id LIMIT $3) AS o
        WHERE o.at < now() - $1 * interval '1 second' OR o.id <= (SELECT max(l.id) FROM agent_sync.history l) - $2))";
