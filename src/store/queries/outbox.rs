//! What is put into the outbox besides the rows of the capture: the slugs of a command or of the
//! audit, due retries, every agent, and agents whose problem may be over. And the notes and
//! notifications that go with it.

use super::joins::{BY_INDEX_ALONE, WHOLE_TABLES};
use super::requested::exact_columns;
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
/// not pile up. What waits there is read later than this. Planned with [`WHOLE_TABLES`].
pub fn enqueue_absent(layout: &Layout) -> String {
    let (table, slug, keys) = (
        &layout.agents.table,
        &layout.agents.slug.name,
        layout.keys(),
    );
    format!(
        "INSERT INTO agent_sync.outbox ({})
         SELECT {} FROM {table} a WHERE a.{slug} IS NOT NULL
         EXCEPT SELECT {} FROM agent_sync.outbox o",
        keys.names(),
        exact_columns(&layout.agents),
        keys.exact_columns("o"),
    )
}

/// Every agent into the outbox after `$1` saves that could not be captured, and says so in
/// `agent_sync.install`: in one snapshot. It settles them only once their
/// [`SAVERS`](super::SAVERS) are over; see `ConnectionLoop::make_good`.
pub fn enqueue_uncaptured(layout: &Layout) -> String {
    let all = enqueue_all(layout);
    format!("WITH settled AS (UPDATE agent_sync.install SET uncaptured_seen = $1) {all}")
}

/// The looks of a sweep: each puts the problems that a new check may clear into the outbox, unless
/// they are there. With the settings of the planner for it.
pub fn looks(layout: &Layout) -> [(&'static str, String); 3] {
    let planned = |by_index| {
        if by_index {
            BY_INDEX_ALONE
        } else {
            WHOLE_TABLES
        }
    };
    let of_agents = planned(layout.agents.is_found_by_index());
    let of_configurations = planned(layout.configurations.key_is_indexed);
    [
        (of_agents, enqueue_orphans(layout)),
        (of_agents, enqueue_unambiguous(layout)),
        (of_configurations, enqueue_found(layout)),
    ]
}

/// Puts the keys of the problems `p` into the outbox that this ending of their query leaves, and
/// that are not in it. EXCEPT compares them sorted, whatever the planner takes for the size of the
/// outbox. Where no problem is left, the outbox is not read.
fn enqueue_problems(keys: Keys, ending: &str) -> String {
    let (names, columns) = (keys.names(), keys.exact_columns("p"));
    format!(
        "WITH found AS MATERIALIZED (SELECT {columns} FROM agent_sync.problem p {ending})
         INSERT INTO agent_sync.outbox ({names})
         SELECT {names} FROM found
         EXCEPT SELECT {} FROM agent_sync.outbox o WHERE EXISTS (SELECT FROM found)",
        keys.exact_columns("o")
    )
}

/// Problems of agents that are not found. Whether one is gone is for the batch to say, which has
/// proof, so its problem is not deleted here.
fn enqueue_orphans(layout: &Layout) -> String {
    let (table, agents) = (&layout.agents.table, &layout.agents);
    let is = agents.is("a", "p.tenant", "p.slug");
    let without = agents.lacks_tenant("a", "p.slug");
    let ending = if agents.is_found_by_index() {
        let mut conditions = vec![is];
        conditions.extend(without.map(|without| format!("p.tenant IS NULL AND {without}")));
        let found: Vec<String> = conditions
            .iter()
            .map(|one| format!("SELECT true AS found FROM {table} a WHERE {one} LIMIT 1"))
            .collect();
        // The ending keeps the planner from a join that reads the table.
        format!(
            "LEFT JOIN LATERAL (({})) AS agent ON true WHERE agent.found IS NULL",
            found.join(") UNION ALL (")
        )
    } else {
        let absent = |one: &str| format!("NOT EXISTS (SELECT FROM {table} a WHERE {one})");
        let tenant = agents.tenant.as_ref().map(|tenant| &tenant.column.name);
        // An equality, so that a join by order serves.
        let without = without.zip(tenant).map(|(without, tenant)| {
            let one = format!("{without} AND (a.{tenant} IS NULL) = (p.tenant IS NULL)");
            format!(" AND {}", absent(&one))
        });
        format!("WHERE {}{}", absent(&is), without.unwrap_or_default())
    };
    enqueue_problems(layout.keys(), &ending)
}

/// Problems of agents that shared their key with another, which has gone: the capture does not
/// note that.
fn enqueue_unambiguous(layout: &Layout) -> String {
    let (agents, keys) = (&layout.agents, layout.keys());
    let (table, is) = (&agents.table, agents.is("a", "p.tenant", "p.slug"));
    let ending = if agents.is_found_by_index() {
        format!(
            "JOIN LATERAL (SELECT count(*) AS agents FROM (SELECT FROM {table} a WHERE {is}
               LIMIT 2) AS two) AS same ON same.agents < 2 WHERE p.kind = 'ambiguous'"
        )
    } else {
        format!(
            "LEFT JOIN {table} a ON {is} WHERE p.kind = 'ambiguous'
             GROUP BY {} HAVING count(a.{}) < 2",
            keys.columns("p"),
            agents.slug.name,
        )
    };
    enqueue_problems(keys, &ending)
}

/// Agents whose missing configuration has come, noted or not (C2 can be switched off).
fn enqueue_found(layout: &Layout) -> String {
    let configurations = &layout.configurations;
    let is = configurations.is("c", "p.tenant", "p.slug");
    let found = format!("SELECT FROM {} c WHERE {is}", configurations.table);
    let ending = if configurations.key_is_indexed {
        format!(
            "JOIN LATERAL ({found} LIMIT 1) AS found ON true
             WHERE p.kind = 'missing_configuration'"
        )
    } else {
        format!("WHERE p.kind = 'missing_configuration' AND EXISTS ({found})")
    };
    enqueue_problems(layout.keys(), &ending)
}
