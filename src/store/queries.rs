//! The text of every query that the daemon runs. Values are always parameters; names come quoted from [`Layout`].
//!
//! The two that depend on the tables, [`claim`] and [`write()`], are built once per connection. Their plans must be good
//! for one row and for ten thousand, and PostgreSQL plans them once without knowing the number (see
//! `session::SETTINGS`): so rows are looked up by `= ANY (array)`, which uses an index whatever the number, and the
//! results are joined by hashing.

use super::identifier::Quoted;
use super::layout::{Column, Configurations, Layout};

/// The key of the advisory locks, "agsy", and the locks: who leads, and whether the daemon sleeps (C6).
/// `sql/attach.sql` has the same numbers.
pub const TRY_LEAD: &str = "SELECT pg_try_advisory_lock(1634169721, 1)";
/// Takes the lock that tells writers that the daemon sleeps, so that they notify.
pub const TRY_SLEEP: &str = "SELECT pg_try_advisory_lock(1634169721, 2)";
/// Releases it.
pub const AWAKE: &str = "SELECT pg_advisory_unlock(1634169721, 2)";

/// Puts slugs into the outbox.
pub const ENQUEUE: &str = "INSERT INTO agent_sync.outbox (slug) SELECT unnest($1::text[])";

/// Takes one slug out of the outbox, when its failure has been noted.
pub const DEQUEUE: &str = "DELETE FROM agent_sync.outbox WHERE slug = $1";

/// Notes problems. `since` stays while the kind does; a retry comes after 2 s, doubling to 5 minutes.
pub const NOTE_PROBLEMS: &str = "
    INSERT INTO agent_sync.problem AS p (slug, kind, detail, sqlstate, next_attempt)
    SELECT u.slug, u.kind, u.detail, u.sqlstate,
           CASE WHEN u.kind = 'failed' THEN now() + interval '2 seconds' END
    FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS u (slug, kind, detail, sqlstate)
    ON CONFLICT (slug) DO UPDATE SET
        kind = excluded.kind,
        detail = excluded.detail,
        sqlstate = excluded.sqlstate,
        since = CASE WHEN p.kind = excluded.kind THEN p.since ELSE excluded.since END,
        last_seen = excluded.last_seen,
        attempts = CASE WHEN p.kind = excluded.kind THEN p.attempts + 1 ELSE 1 END,
        next_attempt = CASE WHEN excluded.kind = 'failed' THEN
            now() + least(interval '5 minutes', interval '2 seconds' * 2 ^ least(p.attempts, 20)) END";

/// Clears problems whose cause is gone.
pub const CLEAR_PROBLEMS: &str = "DELETE FROM agent_sync.problem WHERE slug = ANY ($1::text[])";

/// The state of the install: its version, and how many saves could not be captured and up to which that is mended.
pub const INSTALL: &str = "
    SELECT i.version, i.uncaptured_seen, (SELECT u.last_value FROM agent_sync.uncaptured u)
    FROM agent_sync.install i";

/// The triggers that the capture needs and that are missing, disabled, or cannot write the outbox.
pub const CAPTURE_FAULTS: &str = "
    SELECT need.relation || '.' || need.name,
           CASE WHEN t.oid IS NULL THEN 'missing'
                WHEN t.tgenabled NOT IN ('A', 'O') THEN 'disabled'
                ELSE 'unable to write agent_sync.outbox' END
    FROM unnest($1::text[], $2::text[]) AS need (relation, name)
    LEFT JOIN pg_trigger t ON t.tgrelid = to_regclass(need.relation) AND t.tgname = need.name
    LEFT JOIN pg_proc f ON f.oid = t.tgfoid
    WHERE t.oid IS NULL OR t.tgenabled NOT IN ('A', 'O')
       OR NOT has_schema_privilege(f.proowner, 'agent_sync', 'USAGE')
       OR NOT has_table_privilege(f.proowner, 'agent_sync.outbox', 'INSERT')
    ORDER BY 1";

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

/// Takes up to `$2` rows, from the place `$1` on, out of the outbox, and reads what they are about, in one snapshot.
///
/// One row per slug and configuration; the columns are those of `batch::Claimed`. The configurations come
/// locked (G4). One that somebody else has locked is not waited for: its slug is busy, and stays in the outbox.
pub fn claim(layout: &Layout) -> String {
    let agents = &layout.agents;
    let configurations = &layout.configurations;
    let table = &configurations.table;
    let slug = &configurations.agent_slug.name;
    let wanted = if configurations.agent_slug_is_indexed {
        "= ANY (ARRAY (SELECT slug FROM changed))"
    } else {
        "IN (SELECT slug FROM changed)"
    };
    let same_relation = if configurations.has_children {
        " AND (c.tableoid, c.ctid) IN (SELECT relation, place FROM target)"
    } else {
        ""
    };
    format!(
        "WITH candidate AS MATERIALIZED (
             SELECT o.ctid AS place, o.slug FROM agent_sync.outbox o WHERE o.ctid >= $1 LIMIT $2
         ), changed AS MATERIALIZED (
             SELECT DISTINCT slug FROM candidate
         ), target AS MATERIALIZED (
             SELECT c.tableoid AS relation, c.ctid AS place, c.{slug} AS slug FROM {table} c WHERE c.{slug} {wanted}
         ), configuration AS MATERIALIZED (
             SELECT c.tableoid AS relation, c.ctid AS place, c.{slug} AS slug, {}, {}, {}, {}, {}, {}, {}
             FROM {table} c WHERE c.ctid = ANY (ARRAY (SELECT place FROM target)){same_relation}
             FOR NO KEY UPDATE SKIP LOCKED
         ), busy AS MATERIALIZED (
             SELECT DISTINCT t.slug FROM target t
             WHERE NOT EXISTS (SELECT FROM configuration c WHERE c.place = t.place AND c.relation = t.relation)
         ), taken AS (
             DELETE FROM agent_sync.outbox o WHERE o.ctid = ANY (ARRAY (
                 SELECT place FROM candidate WHERE slug NOT IN (SELECT slug FROM busy)))
         ), agent AS MATERIALIZED (
             SELECT a.{} AS slug, {}, {}, {}, {}
             FROM {} a WHERE a.{} = ANY (ARRAY (SELECT slug FROM changed))
         ), problem AS MATERIALIZED (
             SELECT p.slug FROM agent_sync.problem p WHERE p.slug = ANY (ARRAY (SELECT slug FROM changed))
         )
         SELECT changed.slug, busy.slug IS NOT NULL, problem.slug IS NOT NULL,
                (SELECT max(place) FROM candidate), (SELECT count(*) FROM candidate),
                agent.slug IS NOT NULL, agent.name, agent.system_prompt, agent.agent_image, agent.voice_settings,
                configuration.place, configuration.agent_name, configuration.system_prompt,
                configuration.agent_image, configuration.voice_id, configuration.temperature,
                configuration.provider_config, configuration.voice_settings, configuration.relation
         FROM changed
         LEFT JOIN busy ON busy.slug = changed.slug
         LEFT JOIN problem ON problem.slug = changed.slug
         LEFT JOIN agent ON agent.slug = changed.slug
         LEFT JOIN configuration ON configuration.slug = changed.slug",
        text("c", configurations.agent_name.as_ref(), "agent_name"),
        text("c", configurations.system_prompt.as_ref(), "system_prompt"),
        text("c", configurations.agent_image.as_ref(), "agent_image"),
        text("c", configurations.voice_id.as_ref(), "voice_id"),
        text("c", configurations.temperature.as_ref(), "temperature"),
        text("c", Some(&configurations.provider_config), "provider_config"),
        text("c", configurations.voice_settings.as_ref(), "voice_settings"),
        agents.slug.name,
        text("a", agents.name.as_ref(), "name"),
        text("a", agents.system_prompt.as_ref(), "system_prompt"),
        text("a", agents.agent_image.as_ref(), "agent_image"),
        text("a", Some(&agents.voice_settings), "voice_settings"),
        agents.table,
        agents.slug.name,
    )
}

/// A column as text under a fixed name, null where it does not exist.
fn text(alias: &str, column: Option<&Column>, name: &str) -> String {
    match column {
        Some(column) => format!("{alias}.{}::text AS {}", column.name, Quoted(name)),
        None => format!("NULL::text AS {}", Quoted(name)),
    }
}

/// Writes a batch: `$1` the places of the rows, `$2` to `$8` what to write, null for what stays as it is, and `$9` the
/// relations that the places are in.
///
/// The rows are locked by [`claim`] in the same transaction, so their places hold.
pub fn write(layout: &Layout) -> String {
    let configurations = &layout.configurations;
    let assignments: Vec<String> = written(configurations)
        .into_iter()
        .filter_map(|(name, column)| {
            let Column { name: own, sql_type } = column?;
            Some(format!("{own} = coalesce(u.{name}::{sql_type}, c.{own})"))
        })
        .chain(configurations.clocks.iter().map(|column| format!("{} = now()", column.name)))
        .collect();
    let names: Vec<&str> = written(configurations).iter().map(|(name, _)| *name).collect();
    format!(
        "UPDATE {} c SET {}
         FROM unnest($1::tid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
                     $9::oid[]) AS u (place, {}, relation)
         WHERE c.ctid = ANY ($1) AND c.ctid = u.place AND c.tableoid = u.relation",
        configurations.table,
        assignments.join(", "),
        names.join(", "),
    )
}

/// What a batch can write, in the order of the parameters of [`write()`].
fn written(configurations: &Configurations) -> [(&'static str, Option<&Column>); 7] {
    [
        ("agent_name", configurations.agent_name.as_ref()),
        ("system_prompt", configurations.system_prompt.as_ref()),
        ("agent_image", configurations.agent_image.as_ref()),
        ("voice_id", configurations.voice_id.as_ref()),
        ("temperature", configurations.temperature.as_ref()),
        ("provider_config", Some(&configurations.provider_config)),
        ("voice_settings", configurations.voice_settings.as_ref()),
    ]
}
