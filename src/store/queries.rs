//! The text of every query that the daemon runs. Values are always parameters; names come quoted from [`Layout`].
//!
//! The two that depend on the tables, [`claim`] and [`write()`], are built once per connection. Their plans must be good
//! for one row and for a thousand, and PostgreSQL plans them once without knowing the number (see
//! `session::session_settings`): so rows are looked up by index wherever there is one, whatever the number.

use super::identifier::Quoted;
use super::layout::{Agents, Column, Configurations, Layout};

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
            now() + least(interval '5 minutes', interval '2 seconds' * power(2::float8, least(p.attempts, 20)::float8)) END";

/// Clears problems whose cause is gone.
pub const CLEAR_PROBLEMS: &str = "DELETE FROM agent_sync.problem WHERE slug = ANY ($1::text[])";

/// Tells the channel `$1` of slugs, each once, for PostgreSQL sends what is the same only once a transaction; one that is too long for a notification is left out, for it would undo the batch.
pub const ANNOUNCE: &str = "
    SELECT pg_notify($1::text, u.slug) FROM unnest($2::text[]) AS u (slug) WHERE octet_length(u.slug) < 8000";

/// The state of the install: its version, and how many saves could not be captured and up to which that is mended.
pub const INSTALL: &str = "
    SELECT i.version, i.uncaptured_seen, (SELECT u.last_value FROM agent_sync.uncaptured u)
    FROM agent_sync.install i";

/// The triggers that the capture needs, `$2` on `$1`, and that are missing, disabled, or cannot write the outbox; or that
/// do not watch one of the quoted columns `$3` of the first table; or that look at what statements set (`UPDATE OF`) where
/// a BEFORE trigger may change more, which `sql/attach.sql` sees to unless the other trigger came later.
pub const CAPTURE_FAULTS: &str = "
    SELECT need.relation || '.' || need.name,
           CASE WHEN t.oid IS NULL THEN 'missing'
                WHEN t.tgenabled = 'D' THEN 'disabled'
                WHEN t.tgenabled <> 'A' THEN 'not enabled ALWAYS, so it sleeps during restores and replication'
                ELSE 'unable to write agent_sync.outbox' END
    FROM unnest($1::text[], $2::text[]) AS need (relation, name)
    LEFT JOIN pg_trigger t ON t.tgrelid = to_regclass(need.relation) AND t.tgname = need.name
    LEFT JOIN pg_proc f ON f.oid = t.tgfoid
    WHERE t.oid IS NULL OR t.tgenabled <> 'A'
       OR NOT has_schema_privilege(f.proowner, 'agent_sync', 'USAGE')
       OR NOT has_table_privilege(f.proowner, 'agent_sync.outbox', 'INSERT')
    UNION ALL
    SELECT ($1::text[])[1] || '.' || t.tgname, 'blind to the column ' || a.attname || ', which it was not made for'
    FROM pg_trigger t
    JOIN pg_attribute a ON a.attrelid = t.tgrelid AND '\"' || replace(a.attname, '\"', '\"\"') || '\"' = ANY ($3::text[])
    WHERE t.tgrelid = to_regclass(($1::text[])[1]) AND t.tgname = 'agent_sync_update' AND NOT a.attisdropped
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_trigger'::regclass AND d.objid = t.oid
                      AND d.refobjid = a.attrelid AND d.refobjsubid = a.attnum)
    UNION ALL
    SELECT ($1::text[])[1] || '.' || t.tgname, 'blind to what ' || other.what || ' changes, which came after it'
    FROM pg_trigger t
    JOIN LATERAL (
        SELECT 'the trigger ' || quote_ident(b.tgname) FROM pg_trigger b
        WHERE b.tgrelid = t.tgrelid AND b.tgtype & 19 = 19 AND NOT b.tgisinternal
        UNION ALL
        SELECT 'a trigger of ' || i.inhrelid::regclass FROM pg_inherits i WHERE i.inhparent = t.tgrelid
    ) AS other (what) ON t.tgattr::text <> ''
    WHERE t.tgrelid = to_regclass(($1::text[])[1]) AND t.tgname = 'agent_sync_update'
    ORDER BY 1";

/// Notes that a configuration was last written `$1` seconds ago.
pub const NOTE_LAST_SYNC: &str =
    "UPDATE agent_sync.install SET last_sync = clock_timestamp() - $1 * interval '1 second'";

/// Whether the outbox notes whose transaction made a change, for the history.
pub const NOTES_CAUSE: &str = "
    SELECT EXISTS (SELECT FROM pg_attribute a
                   WHERE a.attrelid = to_regclass('agent_sync.outbox') AND a.attname = 'role' AND a.atthasdef)";

/// Seals the triggers and their functions: notes in `agent_sync.install` which they are. If they are not those that
/// were noted, changes may have been missed, whoever changed them and changed them back: every agent is to be looked
/// at. One row then, with whether anything was noted before.
pub const SEAL: &str = "
    UPDATE agent_sync.install i SET seal = now.seal, uncaptured_seen = -1
    FROM (SELECT coalesce(string_agg(t.oid::text || ':' || t.xmin::text || ':' || f.xmin::text, ',' ORDER BY t.oid), '')
          FROM pg_trigger t JOIN pg_proc f ON f.oid = t.tgfoid
          WHERE f.pronamespace = 'agent_sync'::regnamespace AND t.tgparentid = 0) AS now (seal)
    WHERE i.seal <> now.seal
    RETURNING (SELECT o.seal <> '' FROM agent_sync.install o)";

/// What the server is: its version as text and as a number, whether it is a standby, whether it is read-only, and how
/// many transactions can be prepared. Read-only is what sessions are made to be by default, whatever ours has set: a
/// provider does that when the disk is nearly full, and it is not for us to overrule.
pub const SERVER: &str = "
    SELECT current_setting('server_version'), current_setting('server_version_num')::int4,
           pg_is_in_recovery(),
           current_setting('transaction_read_only')::bool OR (
               SELECT s.reset_val::bool FROM pg_settings s WHERE s.name = 'default_transaction_read_only'),
           current_setting('max_prepared_transactions')::int4";

/// The relations that the daemon cannot do without and that are gone. Read from the catalog, for names are not looked
/// up in a schema that the role may not use.
pub const MISSING_PARTS: &str = "
    SELECT 'agent_sync.' || part.name
    FROM unnest(ARRAY['history', 'install', 'outbox', 'problem', 'uncaptured']) AS part (name)
    WHERE NOT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                      WHERE n.nspname = 'agent_sync' AND c.relname = part.name)
    ORDER BY 1";

/// The version of the schema.
pub const VERSION: &str = "SELECT i.version FROM agent_sync.install i";

/// Of the privileges `$4` on schemas `$1`, relations `$2` and quoted columns `$3`, those that the role lacks: in words, as
/// the statement that grants them, and the role; one row for each object and kind of privilege.
pub const MISSING_PRIVILEGES: &str = "
    WITH need AS (
        SELECT DISTINCT n.oid AS schema, c.oid AS relation, c.relkind, a.attnum, a.attname, u.privilege,
               CASE WHEN u.relation IS NULL THEN format('SCHEMA %I', u.schema)
                    ELSE CASE WHEN c.relkind = 'S' THEN 'SEQUENCE ' ELSE '' END || format('%I.%I', u.schema, u.relation)
               END AS object
        FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS u (schema, relation, attribute, privilege)
        JOIN pg_namespace n ON n.nspname = u.schema
        LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = u.relation
        LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND NOT a.attisdropped
            AND '\"' || replace(a.attname, '\"', '\"\"') || '\"' = u.attribute
        WHERE (u.relation IS NULL) = (c.oid IS NULL) AND (u.attribute IS NULL) = (a.attnum IS NULL)
    ), lacking AS (
        SELECT object, privilege, string_agg(quote_ident(attname), ', ' ORDER BY attnum) AS columns
        FROM need
        WHERE NOT CASE
            WHEN relation IS NULL THEN has_schema_privilege(schema, privilege)
            WHEN attnum IS NULL AND relkind = 'S' THEN has_sequence_privilege(relation, privilege)
            WHEN attnum IS NULL THEN has_table_privilege(relation, privilege)
            ELSE has_column_privilege(relation, attnum, privilege) END
        GROUP BY object, privilege
    ), told AS (
        SELECT privilege || coalesce(' (' || columns || ')', '') || ' ON ' || object AS privilege FROM lacking
    )
    SELECT privilege, format('GRANT %s TO %I', privilege, current_user), current_user::text FROM told ORDER BY 1";

/// What row-level security may keep from the role: `$1` the agents, to read, and `$2` the configurations, to read and to
/// write. It is harmless where a policy lets the role at every row and no restrictive policy takes that back; a policy
/// that lets it at some rows may hide others, and nothing but its author knows.
pub const HIDDEN_ROWS: &str = "
    WITH need (relation, command, name) AS (
        SELECT to_regclass($1::text), 'r', 'SELECT'
        UNION ALL SELECT to_regclass($2::text), 'r', 'SELECT'
        UNION ALL SELECT to_regclass($2::text), 'w', 'UPDATE'
    ), policy AS (
        SELECT need.relation, need.command, p.polpermissive,
               pg_get_expr(p.polqual, p.polrelid) IS NOT DISTINCT FROM 'true'
               AND (need.command = 'r' OR coalesce(pg_get_expr(p.polwithcheck, p.polrelid), 'true') = 'true') AS open
        FROM need
        JOIN pg_policy p ON p.polrelid = need.relation AND p.polcmd::text IN (need.command, '*')
        WHERE 0 = ANY (p.polroles)
           OR EXISTS (SELECT FROM unnest(p.polroles) AS member (role) WHERE pg_has_role(member.role, 'USAGE'))
    )
    SELECT format('%I.%I', n.nspname, c.relname), need.name, current_user::text
    FROM need
    JOIN pg_class c ON c.oid = need.relation
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE row_security_active(need.relation)
      AND (NOT EXISTS (SELECT FROM policy p WHERE p.relation = need.relation AND p.command = need.command
                       AND p.polpermissive AND p.open)
           OR EXISTS (SELECT FROM policy p WHERE p.relation = need.relation AND p.command = need.command
                      AND NOT p.polpermissive AND NOT p.open))
    ORDER BY 1, 2";

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

/// Takes rows out of the outbox, when a batch wrote nothing for them.
pub const TAKE: &str = "DELETE FROM agent_sync.outbox o WHERE o.ctid = ANY ($1)";

/// Reads up to `$2` rows of the outbox, from the place `$1` on, and what they are about, in one snapshot. They are taken
/// out of the outbox when the batch ends, by [`write()`] or [`TAKE`].
///
/// One row per slug and configuration, those of a slug together; the columns are those of `batch::Claimed`. The
/// configurations come locked (G4). One that somebody else has locked is not waited for and not there; then there are
/// fewer than the slug has, and so it is known to be busy.
///
/// Mostly a batch is small, and PostgreSQL spends more time on making a plan ready than on running it: so where
/// indexes allow, the plan is three look-ups for each slug. Where they do not, the tables are read once and hashed.
pub fn claim(layout: &Layout) -> String {
    let Layout { agents, configurations, .. } = layout;
    let (agent_slug, slug) = (&agents.slug.name, &configurations.agent_slug.name);
    let (from_agents, from_configurations) = (&agents.table, &configurations.table);
    let (agent_table, agent) = if agents.slug_is_indexed {
        (String::new(), agent_by_index(agents))
    } else {
        let table = format!(
            ", agent AS MATERIALIZED (
                 SELECT a.{agent_slug} AS slug, true AS found, {} FROM {from_agents} a
                 WHERE a.{agent_slug} IN (SELECT slug FROM changed))",
            agent_columns(agents)
        );
        (table, "agent ON agent.slug = changed.slug".to_owned())
    };
    let (configuration_tables, configuration, targets) = if configurations.agent_slug_is_indexed {
        (
            String::new(),
            configuration_by_index(configurations, "FOR NO KEY UPDATE SKIP LOCKED"),
            format!("(SELECT count(*) FROM {from_configurations} c WHERE c.{slug} = changed.slug)"),
        )
    } else {
        let tables = format!(
            ", target AS MATERIALIZED (
                 SELECT c.{slug} AS slug, count(*) AS rows FROM {from_configurations} c
                 WHERE c.{slug} IN (SELECT slug FROM changed) GROUP BY 1
             ), configuration AS MATERIALIZED (
                 SELECT c.{slug} AS slug, {} FROM {from_configurations} c
                 WHERE c.{slug} IN (SELECT slug FROM changed) FOR NO KEY UPDATE OF c SKIP LOCKED)",
            configuration_as_it_is(configurations)
        );
        let joins = "target ON target.slug = changed.slug LEFT JOIN configuration ON configuration.slug = changed.slug";
        (tables, joins.to_owned(), "coalesce(target.rows, 0)".to_owned())
    };
    let together =
        if agents.slug_is_indexed && configurations.agent_slug_is_indexed { "" } else { "ORDER BY 1" };
    format!(
        "WITH changed AS (
             SELECT o.slug, array_agg(o.place) AS places, min(o.at) AS at
             FROM (SELECT ctid AS place, slug, at FROM agent_sync.outbox WHERE ctid >= $1 LIMIT $2) AS o
             GROUP BY o.slug
         ){agent_table}{configuration_tables}
         SELECT {}
         FROM changed LEFT JOIN {agent} LEFT JOIN {configuration} {together}",
        claimed(&targets)
    )
}

/// The same for the one row of the outbox at the place `$1`, without locks: what [`write_lone`] writes is held to the
/// versions that it came from, the last two columns. None where an index is missing. A second configuration is there only to
/// tell that there is one.
pub fn claim_lone(layout: &Layout) -> Option<String> {
    let Layout { agents, configurations, .. } = layout;
    (agents.slug_is_indexed && configurations.agent_slug_is_indexed).then(|| {
        format!(
            "SELECT {}, changed.version, configuration.version
             FROM (SELECT o.slug, ARRAY[o.ctid] AS places, o.at, o.xmin::text AS version
                   FROM agent_sync.outbox o WHERE o.ctid = $1) AS changed
             LEFT JOIN {} LEFT JOIN {}",
            claimed("NULL::int8"),
            agent_by_index(agents),
            configuration_by_index(configurations, "LIMIT 2")
        )
    })
}

/// Looks up the agent of `changed`.
fn agent_by_index(agents: &Agents) -> String {
    let Agents { table, slug, .. } = agents;
    format!(
        "LATERAL (SELECT true AS found, {} FROM {table} a WHERE a.{} = changed.slug OFFSET 0) agent ON true",
        agent_columns(agents),
        slug.name
    )
}

/// Looks up the configurations of `changed`.
fn configuration_by_index(configurations: &Configurations, ending: &str) -> String {
    let Configurations { table, agent_slug, .. } = configurations;
    format!(
        "LATERAL (SELECT {} FROM {table} c WHERE c.{} = changed.slug {ending}) configuration ON true",
        configuration_as_it_is(configurations),
        agent_slug.name
    )
}

/// Which version of which row a configuration is, and what it says.
fn configuration_as_it_is(configurations: &Configurations) -> String {
    let columns = configuration_columns(configurations);
    format!("c.tableoid AS relation, c.ctid AS place, c.xmin::text AS version, {columns}")
}

/// The columns of a claim: of `changed`, `agent` and `configuration`, with the number of `targets` that the slug has.
///
/// What is copied as it is comes only where it differs, for a prompt is larger than all the rest, and mostly the same on
/// both sides. To the mapping a column that is the same and one that is not set are one thing: nothing to write (M1).
fn claimed(targets: &str) -> String {
    let copied = ["name", "system_prompt", "agent_image"].into_iter().zip([
        "agent_name",
        "system_prompt",
        "agent_image",
    ]);
    let copied: Vec<String> = copied
        .map(|(from, to)| {
            format!("CASE WHEN agent.{from} COLLATE \"C\" IS DISTINCT FROM configuration.{to} THEN agent.{from} END")
        })
        .collect();
    format!(
        "changed.slug, {targets}, EXISTS (SELECT FROM agent_sync.problem p WHERE p.slug = changed.slug),
         changed.places, extract(epoch FROM clock_timestamp() - changed.at)::float8,
         agent.found IS NOT NULL, {}, agent.voice_settings,
         configuration.place, NULL::text, NULL::text, NULL::text, configuration.voice_id, configuration.temperature,
         configuration.provider_config, configuration.voice_settings, configuration.relation",
        copied.join(", ")
    )
}

/// What is read of an agent, in the order of `batch::Claimed`.
pub(super) fn agent_columns(agents: &Agents) -> String {
    let columns = [
        ("name", agents.name.as_ref()),
        ("system_prompt", agents.system_prompt.as_ref()),
        ("agent_image", agents.agent_image.as_ref()),
        ("voice_settings", Some(&agents.voice_settings)),
    ];
    columns.map(|(name, column)| text("a", column, name)).join(", ")
}

/// What is read of a configuration: what can be written, in the same order.
pub(super) fn configuration_columns(configurations: &Configurations) -> String {
    written(configurations).map(|(name, column)| text("c", column, name)).join(", ")
}

/// A column as text under a fixed name, null where it does not exist.
fn text(alias: &str, column: Option<&Column>, name: &str) -> String {
    match column {
        Some(column) => format!("{alias}.{}::text AS {}", column.name, Quoted(name)),
        None => format!("NULL::text AS {}", Quoted(name)),
    }
}

/// Writes a batch: `$1` the places of the rows, `$2` to `$8` what to write, null for what stays as it is, and `$9` the
/// relations that the places are in. Takes the rows at the places `$10` out of the outbox.
///
/// The rows are locked by [`claim`] in the same transaction, so their places hold. A batch of which a row was not
/// written, because a trigger of somebody else's kept it back, must not be committed: it divides by zero.
///
/// With `history`, notes what is written as well, and on whose account: that of the latest of the rows of the outbox.
pub fn write(layout: &Layout, history: bool) -> String {
    let configurations = &layout.configurations;
    let names: Vec<&str> = written(configurations).iter().map(|(name, _)| *name).collect();
    let rows = format!(
        "unnest($1::tid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
                     $9::oid[]) AS u (place, {}, relation)",
        names.join(", ")
    );
    let these = "c.ctid = ANY ($1) AND c.ctid = u.place AND c.tableoid = u.relation";
    let (returned, noted) = if history {
        ("RETURNING o.slug, o.at, o.application_name, o.role", note_history(configurations, &rows, these))
    } else {
        ("", String::new())
    };
    format!(
        "WITH taken AS (
         DELETE FROM agent_sync.outbox o WHERE o.ctid = ANY ($10) {returned}
         ){noted}, written AS (
         UPDATE {} c SET {}
         FROM {rows}
         WHERE {these}
         RETURNING 1)
         SELECT 1 / (count(*) = cardinality($1))::integer FROM written",
        configurations.table,
        assignments(configurations, |_, name| format!("u.{name}")),
    )
}

/// The part of [`write()`] that notes it. It sees the rows as they were before.
fn note_history(configurations: &Configurations, rows: &str, these: &str) -> String {
    let (table, slug) = (&configurations.table, &configurations.agent_slug.name);
    format!(
        ", cause AS (
         SELECT DISTINCT ON (t.slug) t.slug, t.application_name, t.role FROM taken t ORDER BY t.slug, t.at DESC
         ), history AS (
         {HISTORY}
         SELECT c.{slug}::text, {}, cause.application_name, cause.role
         FROM {rows} JOIN {table} c ON {these} LEFT JOIN cause ON cause.slug = c.{slug}::text
         )",
        noted(configurations, "c", |_, name| format!("u.{name}")),
    )
}

const HISTORY: &str =
    "INSERT INTO agent_sync.history (slug, configuration, columns, before, after, application_name, role)";

/// What is noted of a write of the configuration called `row`, as it was before: its key, which columns, and the `provider_config` before and
/// after. `value` gives what is written, for the index and name of a column.
fn noted(configurations: &Configurations, row: &str, value: impl Fn(usize, &str) -> String) -> String {
    let key: Vec<_> = configurations.key.iter().map(|column| format!("{row}.{column}::text")).collect();
    let key = match key.as_slice() {
        [] => "NULL".to_owned(),
        [one] => one.clone(),
        several => format!("concat_ws(',', {})", several.join(", ")),
    };
    let written = written(configurations);
    let columns = written.iter().enumerate().filter(|(_, (_, column))| column.is_some());
    let columns: Vec<_> = columns
        .map(|(index, (name, _))| format!("CASE WHEN {} IS NOT NULL THEN '{name}' END", value(index, name)))
        .collect();
    let after = written.iter().position(|(name, _)| *name == "provider_config").unwrap_or_default();
    let after = value(after, "provider_config");
    format!(
        "{key}, array_remove(ARRAY[{}], NULL), CASE WHEN {after} IS NOT NULL THEN {row}.{}::text END, {after}",
        columns.join(", "),
        configurations.provider_config.name,
    )
}

/// Deletes the oldest of the history: up to `$3` of what is older than `$1` seconds, or behind the latest `$2`.
pub const PRUNE_HISTORY: &str = "
    DELETE FROM agent_sync.history h
    WHERE h.id = ANY (ARRAY(
        SELECT o.id FROM (SELECT f.id, f.at FROM agent_sync.history f ORDER BY f.id LIMIT $3) AS o
        WHERE o.at < now() - $1 * interval '1 second' OR o.id <= (SELECT max(l.id) FROM agent_sync.history l) - $2))";

/// Writes one configuration that was read by [`claim_lone`], in a transaction of its own: `$1` its place, `$2` to `$8` what to
/// write, `$9` its relation, `$10` its version; and takes the row of the outbox at the place `$11`, of the version `$12` and
/// the slug `$13`, which it counts.
///
/// If the configuration is not what it was, or somebody holds it locked, nothing is written, nothing taken, and nothing
/// waited for. Place and version are one row's alone: a place that has been used again has another version.
///
/// With `history`, notes what is written as well, and counts that: the same number.
pub fn write_lone(layout: &Layout, history: bool) -> String {
    let configurations = &layout.configurations;
    let table = &configurations.table;
    let value = |index: usize, _: &str| format!("${}::text", index + 2);
    let take = "DELETE FROM agent_sync.outbox o USING written WHERE o.ctid = $11 AND o.xmin = $12::text::xid AND o.slug = $13";
    let (seen, take) = if history {
        let note = noted(configurations, "locked", value);
        let columns = configurations.key.iter().chain([&configurations.provider_config.name]);
        (
            columns.map(|column| format!("c.{column}")).collect::<Vec<_>>().join(", "),
            format!(
                ", taken AS ({take} RETURNING o.application_name, o.role)
                 {HISTORY}
                 SELECT $13, {note}, taken.application_name, taken.role FROM taken, locked"
            ),
        )
    } else {
        (String::new(), take.to_owned())
    };
    format!(
        "WITH locked AS MATERIALIZED (
         SELECT {seen} FROM {table} c WHERE c.ctid = $1 AND c.tableoid = $9 AND c.xmin = $10::text::xid
         FOR NO KEY UPDATE SKIP LOCKED
         ), written AS (
         UPDATE {table} c SET {}
         WHERE c.ctid = $1 AND c.tableoid = $9 AND EXISTS (SELECT FROM locked)
         RETURNING 1)
         {take}",
        assignments(configurations, value),
    )
}

/// Takes one row of the outbox that [`claim_lone`] has read, when there is nothing to write.
pub const TAKE_LONE: &str =
    "DELETE FROM agent_sync.outbox o WHERE o.ctid = $1 AND o.xmin = $2::text::xid AND o.slug = $3";

/// What a write sets: each column to what `value` gives for its index and name, if that is not null, and the clocks.
fn assignments(configurations: &Configurations, value: impl Fn(usize, &str) -> String) -> String {
    let columns = written(configurations).into_iter().enumerate().filter_map(|(index, (name, column))| {
        let Column { name: own, sql_type } = column?;
        Some(format!("{own} = coalesce({}::{sql_type}, c.{own})", value(index, name)))
    });
    let clocks = configurations.clocks.iter().map(|column| format!("{} = now()", column.name));
    columns.chain(clocks).collect::<Vec<_>>().join(", ")
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
