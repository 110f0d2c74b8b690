//! What is put into the outbox besides the rows of the capture: the slugs of a command or of the
//! audit, due retries, every agent, and agents whose problem may be over. And the notes and
//! notifications that go with it.

use crate::key::Keys;
use crate::store::layout::Layout;

/// Puts the keys `$1` into the outbox.
pub fn enqueue(keys: Keys) -> String {
    match keys {
        Keys::Slugs => "INSERT INTO agent_sync.outbox (slug) SELECT unnest($1::text[])".to_owned(),
        Keys::Tenants => format!(
            "INSERT INTO agent_sync.outbox (tenant, slug) SELECT {} \
             FROM unnest($1::text[]) AS u (key)",
            keys.values("u.key")
        ),
    }
}

/// Notifies the channel `$1` of the keys `$2`. PostgreSQL sends equal notifications of a
/// transaction once. Two cases would fail the batch and are left out: a slug that is too long for a
/// notification, and every slug while the notification queue is half full or more.
pub const ANNOUNCE: &str = "
    SELECT pg_notify($1::text, u.slug) FROM unnest($2::text[]) AS u (slug)
    WHERE octet_length(u.slug) < 8000 AND (SELECT pg_notification_queue_usage()) < 0.5";

/// Notes that changes may have been missed. The leader checks every agent once the cause is gone.
pub const DISTRUST: &str =
    "UPDATE agent_sync.install SET uncaptured_seen = -1 WHERE uncaptured_seen <> -1";

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
/// `agent_sync.install`: in one snapshot. It settles them only once their
/// [`SAVERS`](super::SAVERS) are over; see `ConnectionLoop::make_good`.
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
            "{condition} AND NOT (p.tenant IS NULL AND EXISTS (SELECT FROM {table} a \
             WHERE {without}))"
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
