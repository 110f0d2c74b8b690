//! Identity (G13): no value of one agent is written into the configuration of another, and no
//! change is deleted from the outbox for another, whatever moves or replaces rows between two
//! statements.
//!
//! The rows of each table share one version here, as after a backfill, a restore, or a batch of the
//! daemon, so ctid and version together do not identify a row.

use std::time::Duration;

use agent_sync::mapping::{Rules, Targets, plan};
use agent_sync::pg::Tid;
use agent_sync::store::path;
use agent_sync::store::{
    Claim, IdleLockAction, LockWait, Outcome, Part, Problem, ProblemKind, Store, Taken,
};

use crate::support::Platform;
use crate::support::platform::{EXAMPLE, EXPECTED, TABLES};

/// Agents `a1` to `a8`, of which the first two are deleted again, so a rewrite moves all others to
/// the ctids of their predecessors; each with a configuration out of sync and a row in the outbox.
const ROWS: &str = "
    ALTER TABLE agents DISABLE TRIGGER agent_sync_insert;
    INSERT INTO agents (slug, name, voice_settings) SELECT 'a' || i, 'of a' || i, '{}'
      FROM generate_series(1, 8) i;
    ALTER TABLE agents ENABLE ALWAYS TRIGGER agent_sync_insert;
    ALTER TABLE agent_configurations DISABLE TRIGGER agent_sync_insert;
    INSERT INTO agent_configurations (agent_slug) SELECT slug FROM agents;
    ALTER TABLE agent_configurations ENABLE ALWAYS TRIGGER agent_sync_insert;
    TRUNCATE agent_sync.outbox;
    INSERT INTO agent_sync.outbox (slug) SELECT slug FROM agents ORDER BY slug;
    DELETE FROM agents WHERE slug IN ('a1', 'a2');
    DELETE FROM agent_configurations WHERE agent_slug IN ('a1', 'a2');
    DELETE FROM agent_sync.outbox WHERE slug IN ('a1', 'a2')";

/// The rewritten tables, with a column for an order and one whose type can be changed.
const TABLES_TOUCHED: [(&str, &str, &str); 3] = [
    ("agent_configurations", "agent_slug", "notes"),
    ("agents", "slug", "description"),
    ("agent_sync.outbox", "slug", "application_name"),
];

/// Every command that moves or replaces the rows of a table, statement by statement.
fn rewrites(table: &str, order: &str, other: &str) -> Vec<Vec<String>> {
    let index = format!("CREATE INDEX by_order ON {table} ({order} DESC)");
    let bare = table.rsplit('.').next().unwrap();
    let copy = format!("CREATE TEMP TABLE copied AS SELECT * FROM {table} ORDER BY {order} DESC");
    vec![
        vec![format!("VACUUM FULL {table}")],
        vec![format!("VACUUM (FULL, FREEZE) {table}")],
        vec![index.clone(), format!("CLUSTER {table} USING by_order")],
        vec![format!(
            "ALTER TABLE {table} ALTER COLUMN {other} TYPE varchar(99)"
        )],
        vec![format!(
            "BEGIN; SET LOCAL session_replication_role = replica; {copy}; TRUNCATE {table};
             INSERT INTO {table} SELECT * FROM copied; COMMIT; DROP TABLE copied"
        )],
        vec![
            format!("CREATE TABLE {table}_new (LIKE {table} INCLUDING ALL)"),
            format!("INSERT INTO {table}_new SELECT * FROM {table} ORDER BY {order} DESC"),
            format!(
                "BEGIN; ALTER TABLE {table} RENAME TO {bare}_old; ALTER TABLE {table}_new RENAME \
                TO {bare}; COMMIT"
            ),
        ],
        vec![
            format!("DELETE FROM {table}"),
            format!("VACUUM {table}"),
            format!(
                "INSERT INTO {table} ({order}) VALUES ('b1'), ('b2'), ('b3'), ('b4'), ('b5'), \
                ('b6')"
            ),
        ],
    ]
}

/// A platform with these rows, and the statements of the daemon on a separate session.
async fn world() -> (Platform, Store) {
    let platform = Platform::with_tables(crate::support::cluster(), TABLES).await;
    platform.install();
    platform.run(ROWS).await;
    let db = platform.new_db().await;
    db.batch("SET enable_seqscan = off; SET plan_cache_mode = force_generic_plan")
        .await
        .unwrap();
    let layout = platform.layout().await;
    let (parts, usual) = (platform.parts().await, path::OURS.to_owned());
    let store = Store::prepare(db, layout, true, false, usual, &parts)
        .await
        .unwrap();
    (platform, store)
}

/// Runs each statement in its own transaction, and skips those that meet a lock of the daemon.
async fn rewrite(platform: &Platform, statements: &[String]) -> bool {
    let other = platform.connect().await;
    other
        .batch_execute("SET lock_timeout = '50ms'")
        .await
        .unwrap();
    for statement in statements {
        if let Err(error) = other.batch_execute(statement).await {
            assert_eq!(
                error.code().unwrap().code(),
                "55P03",
                "{statement}: {error:?}"
            );
            return false;
        }
    }
    true
}

/// Asserts that every configuration has the values of its own agent or none, and that an agent
/// without its values is in the outbox.
async fn nothing_is_mixed_up(platform: &Platform, what: &str) {
    let mixed = "SELECT coalesce(string_agg(agent_slug || ' says ' || agent_name, ', '), '')
        FROM agent_configurations WHERE agent_name <> 'of ' || agent_slug";
    assert_eq!(platform.value::<String>(mixed).await, "", "{what}");
    if what.starts_with("DELETE FROM agent_sync.outbox") {
        return; // That loses changes by itself.
    }
    let lost = "SELECT coalesce(string_agg(c.agent_slug, ', '), '')
        FROM agent_configurations c JOIN agents a ON a.slug = c.agent_slug
        WHERE c.agent_name IS DISTINCT FROM a.name AND NOT EXISTS (SELECT
          FROM agent_sync.outbox o WHERE o.slug = a.slug)
          AND NOT EXISTS (SELECT FROM agent_sync.problem p WHERE p.slug = a.slug)";
    assert_eq!(
        platform.value::<String>(lost).await,
        "",
        "changes lost: {what}"
    );
}

/// Runs a test with each rewrite. No other session saves, so the rows of the outbox are those of
/// [`ROWS`] or of the rewrite.
macro_rules! for_each_rewrite {
    ($platform:ident, $store:ident, $what:ident, $statements:ident, $body:block) => {
        for (table, order, other) in TABLES_TOUCHED {
            for $statements in rewrites(table, order, other) {
                let ($platform, $store) = world().await;
                let $what = $statements.join("; ");
                $body
                nothing_is_mixed_up(&$platform, &$what).await;
            }
        }
    };
}

async fn place_of(platform: &Platform, slug: &str) -> Tid {
    let place = format!("SELECT ctid::text FROM agent_sync.outbox WHERE slug = '{slug}'");
    platform.value::<String>(&place).await.parse().unwrap()
}

/// A single change is written only for its agent, whatever moves rows between its statements.
#[tokio::test]
async fn g13_a_single_change_is_held_to_its_agent() {
    for_each_rewrite!(platform, store, what, statements, {
        let place = place_of(&platform, "a3").await;
        let claimed = store.read_change(place).await.unwrap().unwrap();
        let versions = claimed.only_versions().unwrap();
        let pair = claimed
            .groups()
            .next()
            .unwrap()
            .pairs()
            .next()
            .unwrap()
            .unwrap()
            .unwrap();
        let (target, configuration) = pair.configuration.unwrap();
        let planned = plan(
            Rules::embedded(),
            &Targets::all(),
            &pair.agent.unwrap(),
            &configuration,
        )
        .unwrap();
        assert!(
            rewrite(&platform, &statements).await,
            "nothing is locked: {what}"
        );
        let write = (target, planned.changes);
        let done = store
            .finish_change("a3", place, versions, Some(&write), None)
            .await;
        let said = "SELECT count(*) FROM agent_configurations WHERE agent_name IS NOT NULL";
        assert_eq!(
            platform.value::<i64>(said).await > 0,
            done.unwrap_or(false),
            "{what}"
        );
    });
}

#[tokio::test]
async fn g13_a_single_change_without_a_write_takes_no_other_row() {
    for_each_rewrite!(platform, store, what, statements, {
        let place = place_of(&platform, "a4").await;
        let claimed = store.read_change(place).await.unwrap().unwrap();
        let versions = claimed.only_versions().unwrap();
        assert!(rewrite(&platform, &statements).await, "{what}");
        let before = platform.outbox().await;
        let done = store
            .finish_change("a4", place, versions, None, None)
            .await
            .unwrap();
        let others = |slugs: Vec<String>| {
            slugs
                .into_iter()
                .filter(|slug| slug != "a4")
                .collect::<Vec<_>>()
        };
        let after = platform.outbox().await;
        assert_eq!(before.len() - after.len(), usize::from(done), "{what}");
        assert_eq!(others(after), others(before), "{what}");
        platform
            .run(
                "UPDATE agent_configurations SET agent_name = 'of ' || agent_slug WHERE \
                agent_slug = 'a4'",
            )
            .await;
    });
}

/// No table is rewritten between the statements of a batch.
#[tokio::test]
async fn g13_no_table_is_rewritten_within_a_batch() {
    for_each_rewrite!(platform, store, what, statements, {
        let claim = Claim {
            idle_lock: IdleLockAction::Keep,
            part: Part::From {
                place: Tid::START,
                without: &[],
            },
            limit: 3,
            budget: 1 << 20,
            wait: LockWait::Usual,
        };
        let begun = store.begin(claim).await.unwrap().unwrap();
        let mut outcome = Outcome::default();
        for group in begun.claimed.groups() {
            let slug = group.key().unwrap();
            let (places, versions) = (group.places().unwrap(), group.versions().unwrap());
            outcome.taken.add(slug, places, versions);
            let pair = group.pairs().next().unwrap().unwrap().unwrap();
            let (place, configuration) = pair.configuration.unwrap();
            let planned = plan(
                Rules::embedded(),
                &Targets::all(),
                &pair.agent.unwrap(),
                &configuration,
            )
            .unwrap();
            outcome.writes.push((place, planned.changes));
            outcome.changed.push(slug);
        }
        let is_delete = statements[0].starts_with("DELETE");
        let rewritten = rewrite(&platform, &statements).await;
        assert!(
            !rewritten || is_delete || statements[0].contains("_new"),
            "the batch holds a lock: {what}"
        );
        let _ = store
            .finish(&outcome, None, Some(Duration::from_secs(30)))
            .await;
        let _ = store.abandon().await;
    });
}

#[tokio::test]
async fn g13_an_agent_is_set_aside_with_its_own_rows_alone() {
    for_each_rewrite!(platform, store, what, statements, {
        let place = place_of(&platform, "a5").await;
        let claimed = store.read_change(place).await.unwrap().unwrap();
        let group = claimed.groups().next().unwrap();
        let mut taken = Taken::default();
        taken.add("a5", group.places().unwrap(), group.versions().unwrap());
        assert!(rewrite(&platform, &statements).await, "{what}");
        let others = |slugs: Vec<String>| {
            slugs
                .into_iter()
                .filter(|slug| slug != "a5")
                .collect::<Vec<_>>()
        };
        let before = others(platform.outbox().await);
        let problem = Problem {
            retries: true,
            asked: false,
            key: "a5".to_owned(),
            kind: ProblemKind::Failed,
            detail: "no".to_owned(),
            sqlstate: Some("23514".to_owned()),
            near: None,
        };
        store.set_aside(&taken, &[problem]).await.unwrap();
        assert_eq!(others(platform.outbox().await), before, "{what}");
    });
}

/// A configuration that moves between partitions stays the same.
#[tokio::test]
async fn g13_a_configuration_that_changes_partition_is_the_same() {
    let tables = TABLES
        .replace(
            "agent_slug          text,",
            "agent_slug text, region text NOT NULL DEFAULT 'eu',",
        )
        .replace(
            "id                  uuid PRIMARY KEY DEFAULT gen_random_uuid(),\n    agent_slug",
            "id uuid DEFAULT gen_random_uuid(),\n    agent_slug",
        );
    let tables = tables.replace(
        "last_updated        timestamptz NOT NULL DEFAULT '2020-01-01'\n);",
        "last_updated timestamptz NOT NULL DEFAULT '2020-01-01') PARTITION BY LIST (region);
         CREATE TABLE configurations_eu PARTITION OF agent_configurations FOR VALUES IN ('eu');
         CREATE TABLE configurations_us PARTITION OF agent_configurations FOR VALUES IN ('us');",
    );
    for statements in [
        vec!["UPDATE agent_configurations SET region = 'us' WHERE agent_slug = 'a3'"],
        vec![
            "UPDATE agent_configurations SET region = 'us'",
            "VACUUM FULL configurations_us",
        ],
        vec![
            "UPDATE agent_configurations SET region = 'us' WHERE agent_slug <> 'a3'",
            "VACUUM FULL configurations_eu",
            "VACUUM FULL configurations_us",
        ],
        vec![
            "ALTER TABLE agent_configurations DETACH PARTITION configurations_eu",
            "VACUUM FULL configurations_eu",
            "ALTER TABLE agent_configurations ATTACH PARTITION configurations_eu FOR VALUES IN \
            ('eu')",
        ],
        vec!["VACUUM FULL configurations_eu"],
    ] {
        let platform = Platform::with_tables(crate::support::cluster(), &tables).await;
        platform.install();
        for statement in ROWS
            .split(';')
            .filter(|statement| !statement.contains("TRIGGER"))
        {
            platform.run(statement).await;
        }
        platform
            .run(
                "TRUNCATE agent_sync.outbox; INSERT INTO agent_sync.outbox (slug) SELECT slug \
                FROM agents",
            )
            .await;
        let db = platform.new_db().await;
        let layout = platform.layout().await;
        let (parts, usual) = (platform.parts().await, path::OURS.to_owned());
        let store = Store::prepare(db, layout, true, false, usual, &parts)
            .await
            .unwrap();
        let place = place_of(&platform, "a3").await;
        let claimed = store.read_change(place).await.unwrap().unwrap();
        let versions = claimed.only_versions().unwrap();
        let pair = claimed
            .groups()
            .next()
            .unwrap()
            .pairs()
            .next()
            .unwrap()
            .unwrap()
            .unwrap();
        let (target, configuration) = pair.configuration.unwrap();
        let planned = plan(
            Rules::embedded(),
            &Targets::all(),
            &pair.agent.unwrap(),
            &configuration,
        )
        .unwrap();
        for statement in &statements {
            platform.run(statement).await;
        }
        let write = (target, planned.changes);
        let _ = store
            .finish_change("a3", place, versions, Some(&write), None)
            .await;
        nothing_is_mixed_up(&platform, &statements.join("; ")).await;
    }
}

/// An agent that the index of the slugs does not find, as after a change of the collations of the
/// operating system, is not taken for a deleted one. It is a problem, alone and beside others,
/// until the index is rebuilt.
#[tokio::test]
async fn g14_an_agent_that_its_index_misses_is_a_problem() {
    let platform = Platform::installed().await;
    let _daemon = platform.caught_up_daemon().await;
    let ready = |ready: bool| {
        format!(
            "UPDATE pg_index SET indisready = {ready}
             WHERE indexrelid = 'agents_slug_key'::regclass"
        )
    };
    platform.save("before", EXAMPLE).await;
    // Rows that are written meanwhile get no entry in the index.
    platform.run(&ready(false)).await;
    platform.configure("missed").await;
    let insert =
        format!("INSERT INTO agents (slug, voice_settings) VALUES ('missed', '{EXAMPLE}')");
    platform.run(&insert).await;
    platform.run(&ready(true)).await;
    let is_a_problem = "SELECT count(*) = 1 FROM agent_sync.problem
        WHERE slug = 'missed' AND kind = 'failed' AND sqlstate = 'XX002'";
    platform.holds(is_a_problem).await;
    // Beside others, and beside an agent that is gone.
    platform
        .run(
            "UPDATE agents SET name = 'new' WHERE true;
             BEGIN; INSERT INTO agents (slug) VALUES ('gone');
             DELETE FROM agents WHERE slug = 'gone'; COMMIT",
        )
        .await;
    platform.drained().await;
    platform.holds(is_a_problem).await;
    assert_eq!(platform.problem("gone").await, None);

    platform.run("REINDEX TABLE agents").await;
    platform.becomes("missed", EXPECTED).await;
    platform
        .holds("SELECT count(*) = 0 FROM agent_sync.problem WHERE slug = 'missed'")
        .await;
}

/// Whether the indexes of a table but that of the primary key get an entry for each row that is
/// written.
fn ready(table: &str, ready: bool) -> String {
    format!(
        "UPDATE pg_index SET indisready = {ready}
         WHERE indrelid = '{table}'::regclass AND NOT indisprimary"
    )
}

/// Two agents, `a` and `b`, each with a configuration; the index of the slugs leads to the other
/// agent each, as after a restore of files from two moments.
async fn with_swapped_agents(tenants: bool) -> Platform {
    let platform = if tenants {
        Platform::with_tenants("text").await
    } else {
        Platform::new().await
    };
    platform.install();
    let (column, value) = if tenants {
        ("client_id, ", "'t', ")
    } else {
        ("", "")
    };
    let save = |slug| {
        format!("INSERT INTO agents ({column}slug, name) VALUES ({value}'{slug}', 'of {slug}')")
    };
    for slug in ["a", "b"] {
        platform.run(&save(slug)).await;
        platform
            .run(&format!(
                "INSERT INTO agent_configurations ({column}agent_slug) VALUES ({value}'{slug}')"
            ))
            .await;
    }
    platform.run(&ready("agents", false)).await;
    platform.run("DELETE FROM agents WHERE true").await;
    // Their places are free again, and the indexes still lead there.
    platform.run("VACUUM agents").await;
    platform.run(&save("b")).await;
    platform.run(&save("a")).await;
    platform.run(&ready("agents", true)).await;
    let found = "SELECT slug FROM agents WHERE slug = 'a' AND name IS NOT NULL";
    platform.run("SET enable_seqscan = off").await;
    let of_tenant = if tenants {
        "WHERE client_id = 't' AND"
    } else {
        "WHERE"
    };
    let found = found.replace("WHERE", of_tenant);
    let by_index: String = platform.value(&found).await;
    assert_eq!(by_index, "b", "the index is damaged");
    platform.run("RESET enable_seqscan").await;
    platform
}

/// GIVEN an index that leads to the agent of another slug, WHEN the agents are synced, THEN no value
/// of one is written for the other (G13): each is a problem until the index is rebuilt.
#[tokio::test]
async fn g13_an_index_that_leads_to_another_agent_mixes_nothing_up() {
    for tenants in [false, true] {
        let platform = with_swapped_agents(tenants).await;
        let daemon = platform.brisk_daemon();
        daemon
            .logged("an index on slug of public.agents does not find rows")
            .await;
        let are_problems = "SELECT count(*) = 2 FROM agent_sync.problem
            WHERE kind = 'failed' AND sqlstate = 'XX002' AND detail LIKE '%leads to an agent%'";
        platform.holds(are_problems).await;
        platform.drained().await;
        // One change by itself.
        platform
            .run("UPDATE agents SET name = 'new ' || slug WHERE slug || '' = 'a'")
            .await;
        platform.drained().await;
        platform.holds(are_problems).await;
        let written = "SELECT count(*) FROM agent_configurations WHERE agent_name IS NOT NULL";
        assert_eq!(
            platform.value::<i64>(written).await,
            0,
            "nothing is written"
        );

        platform.run("REINDEX TABLE agents").await;
        platform
            .holds(
                "SELECT count(*) = 2 FROM agent_configurations
                 WHERE agent_name = CASE agent_slug WHEN 'a' THEN 'new a' ELSE 'of b' END",
            )
            .await;
        platform
            .holds("SELECT count(*) = 0 FROM agent_sync.problem")
            .await;
    }
}

/// The same of what each way of reading returns: the fast path takes no such row, and a page is
/// known to be of another agent.
#[tokio::test]
async fn g13_every_read_shows_that_an_agent_is_that_of_another_slug() {
    let platform = with_swapped_agents(false).await;
    let db = platform.new_db().await;
    let layout = platform.layout().await;
    let (parts, usual) = (platform.parts().await, path::OURS.to_owned());
    // As in the planned statements of a batch.
    db.batch("SET enable_seqscan = off").await.unwrap();
    let store = Store::prepare(db, layout, true, false, usual, &parts)
        .await
        .unwrap();
    platform
        .run("TRUNCATE agent_sync.outbox; INSERT INTO agent_sync.outbox (slug) VALUES ('a')")
        .await;
    let place = place_of(&platform, "a").await;
    let change = store.read_change(place).await.unwrap().unwrap();
    assert!(change.only_versions().is_none(), "left to a batch");
    let page = store.read_page("a", &[]).await.unwrap();
    let group = page.groups().next().unwrap();
    assert!(group.is_found().unwrap() && group.is_of_another().unwrap());
    let whole = store.claim_slug("a").await.unwrap();
    assert!(whole.groups().next().unwrap().is_of_another().unwrap());
}

/// The sample that is looked up by index is of all of a table: of its last partition, and of its
/// last pages.
#[tokio::test]
async fn g14_a_sample_is_of_all_of_a_table() {
    let platform = Platform::with_tables(
        crate::support::cluster(),
        "CREATE TABLE agents (slug text NOT NULL UNIQUE, name text, voice_settings jsonb);
         CREATE TABLE agent_configurations (agent_slug text, agent_name text, provider_config jsonb)
           PARTITION BY RANGE (agent_slug);
         CREATE TABLE first PARTITION OF agent_configurations
           FOR VALUES FROM (MINVALUE) TO ('m');
         CREATE TABLE last PARTITION OF agent_configurations FOR VALUES FROM ('m') TO (MAXVALUE);
         CREATE INDEX ON agent_configurations (agent_slug)",
    )
    .await;
    platform.install();
    platform
        .run(&format!(
            "INSERT INTO agent_configurations (agent_slug) SELECT 'c' || i
               FROM generate_series(1, 400) i;
             {};
             INSERT INTO agent_configurations (agent_slug) VALUES ('z');
             {}",
            ready("last", false),
            ready("last", true)
        ))
        .await;
    let doctor = platform.says(&["doctor"]).await;
    let text = doctor.out.split_whitespace().collect::<Vec<_>>().join(" ");
    let named = "an index on agent_slug of public.agent_configurations does not find rows";
    assert!(text.contains(named), "{text}");

    let platform = Platform::installed().await;
    platform
        .run(&format!(
            "INSERT INTO agents (slug) SELECT 'a' || i FROM generate_series(1, 4000) i;
             {};
             INSERT INTO agents (slug) SELECT 'b' || i FROM generate_series(1, 4000) i;
             {}",
            ready("agents", false),
            ready("agents", true)
        ))
        .await;
    let mut said = Vec::new();
    for _ in 0..3 {
        let doctor = platform.says(&["doctor"]).await;
        said.push(doctor.out.split_whitespace().collect::<Vec<_>>().join(" "));
    }
    let named = "an index on slug of public.agents does not find rows";
    assert!(said.iter().any(|text| text.contains(named)), "{said:?}");
}

/// A configuration that its index misses is not taken for one that is missing: the remedy of that
/// would make a second one.
#[tokio::test]
async fn g14_a_configuration_that_its_index_misses_is_a_problem() {
    let platform = Platform::installed().await;
    let _daemon = platform.caught_up_daemon().await;
    platform.run(&ready("agent_configurations", false)).await;
    platform.configure("missed").await;
    platform.run(&ready("agent_configurations", true)).await;
    platform.save("missed", EXAMPLE).await;
    platform.save("none", EXAMPLE).await;
    let is_a_problem = "SELECT count(*) = 1 FROM agent_sync.problem
        WHERE slug = 'missed' AND kind = 'failed' AND sqlstate = 'XX002'";
    platform.holds(is_a_problem).await;
    let told = platform.says(&["status"]).await;
    let text = told.out.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        text.contains("REINDEX") && !text.contains("VALUES ('missed'"),
        "{text}"
    );
    // It stays that problem, and an agent that really has none has its own.
    platform
        .run("UPDATE agents SET name = 'new' WHERE true")
        .await;
    platform.drained().await;
    platform.holds(is_a_problem).await;
    let (kind, _) = platform.problem("none").await.unwrap();
    assert_eq!(kind, "missing_configuration");

    platform.run("REINDEX TABLE agent_configurations").await;
    platform.becomes("missed", EXPECTED).await;
    platform
        .holds("SELECT count(*) = 0 FROM agent_sync.problem WHERE slug = 'missed'")
        .await;
}

/// A sweep notices an index that misses rows of either table. The daemon is not ready meanwhile,
/// and checks every agent when the index has been rebuilt.
#[tokio::test]
async fn g14_a_sweep_notices_an_index_that_misses_rows() {
    for (table, index) in [
        ("agents", "agents_slug_key"),
        (
            "agent_configurations",
            "agent_configurations_agent_slug_idx",
        ),
    ] {
        let platform = Platform::installed().await;
        let slug = if table == "agents" {
            "slug"
        } else {
            "agent_slug"
        };
        platform
            .run(&format!(
                "UPDATE pg_index SET indisready = false WHERE indexrelid = '{index}'::regclass;
                 INSERT INTO {table} ({slug}) VALUES ('missed');
                 UPDATE pg_index SET indisready = true WHERE indexrelid = '{index}'::regclass"
            ))
            .await;
        let daemon = platform.brisk_daemon();
        let named = format!("an index on {slug} of public.{table} does not find rows");
        daemon.logged(&named).await;
        let doctor = platform.says(&["doctor"]).await;
        let text = doctor.out.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains(&named) && doctor.code == 2, "{text}");
        // A sample without a missed row is no proof that the index finds all rows.
        platform
            .run(&format!("DELETE FROM {table} WHERE {slug} = 'missed'"))
            .await;
        for _ in 0..2 {
            platform
                .run("UPDATE agent_sync.install SET uncaptured_seen = 1000000")
                .await;
            platform
                .holds("SELECT uncaptured_seen = -1 FROM agent_sync.install")
                .await;
        }
        assert!(daemon.lines("the capture works again").is_empty());
        platform.run(&format!("REINDEX TABLE {table}")).await;
        daemon.logged("the capture works again").await;
    }
}
