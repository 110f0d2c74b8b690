//! Requests by NOTIFY (I7, S8): what a look for them costs, and that each is answered.

use agent_sync::pg::without_sent;
use agent_sync::store::queries;

use crate::support::{Daemon, Platform};

/// The tables of a test: the type of the tenant, if there are tenants, and further statements.
struct Shape {
    tenant: Option<&'static str>,
    sql: &'static str,
    /// Whether indexes find every name.
    is_indexed: bool,
}

const SHAPES: [Shape; 12] = [
    shape(None, "", true),
    shape(
        None,
        "ALTER TABLE agents ALTER slug TYPE uuid USING NULL",
        true,
    ),
    shape(
        None,
        "ALTER TABLE agents ALTER slug TYPE bigint USING NULL",
        true,
    ),
    shape(
        None,
        "ALTER TABLE agents DROP CONSTRAINT agents_slug_key",
        false,
    ),
    shape(None, "ALTER TABLE agents ALTER slug TYPE char(20)", false),
    shape(Some("text NOT NULL"), "", false),
    shape(Some("uuid"), "", false),
    shape(Some("text NOT NULL"), "CREATE INDEX ON agents (slug)", true),
    shape(Some("uuid"), "CREATE INDEX ON agents (slug)", true),
    shape(
        Some("integer"),
        "CREATE UNIQUE INDEX ON agents (slug, client_id)",
        true,
    ),
    // The slug alone finds the agents of every tenant, so a key would be looked for among all of
    // them.
    shape(
        Some("integer"),
        "ALTER TABLE agents DROP CONSTRAINT agents_client_id_slug_key; CREATE INDEX ON agents (slug)",
        false,
    ),
    shape(Some("char(8)"), "CREATE INDEX ON agents (slug)", false),
];

const fn shape(tenant: Option<&'static str>, sql: &'static str, is_indexed: bool) -> Shape {
    Shape {
        tenant,
        sql,
        is_indexed,
    }
}

impl Shape {
    async fn platform(&self) -> Platform {
        let platform = match self.tenant {
            Some(of_type) => Platform::with_tenants(of_type).await,
            None => Platform::new().await,
        };
        platform.run(self.sql).await;
        platform.install();
        platform
    }

    fn shown(&self) -> String {
        format!("{:?}, {}", self.tenant, self.sql)
    }
}

/// The plan of a statement with these parameters, under the settings of a session with batches.
async fn plan(platform: &Platform, query: &str, parameters: &[&str]) -> Vec<String> {
    let types = vec!["pg_catalog.text[]"; parameters.len()].join(", ");
    platform
        .run(&format!(
            "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off;
             SET enable_nestloop = off; SET enable_mergejoin = off; SET jit = off;
             PREPARE look ({types}) AS {}",
            without_sent(query)
        ))
        .await;
    let explain = format!(
        "EXPLAIN (COSTS off) EXECUTE look ({})",
        parameters.join(", ")
    );
    let rows = platform.client.query(&explain, &[]).await.unwrap();
    platform
        .run("DEALLOCATE look; RESET plan_cache_mode; RESET enable_seqscan; RESET enable_nestloop")
        .await;
    rows.iter().map(|row| row.get(0)).collect()
}

/// The number of keys in the outbox that no agent had.
fn gone(daemon: &Daemon) -> u64 {
    let batches = daemon.lines("batch committed");
    let gone = batches.iter().map(|line| line["gone"].as_u64().unwrap());
    gone.sum()
}

/// The number of lines of a plan with this text.
fn lines(plan: &[String], text: &str) -> usize {
    plan.iter().filter(|line| line.contains(text)).count()
}

/// A look for requested names looks up each of them by index, or reads the agents once and looks up
/// each row by hash. It compares no row with every name.
#[tokio::test]
async fn s8_a_look_for_requests_costs_by_name_or_one_read() {
    for shape in SHAPES {
        let platform = shape.platform().await;
        if shape.tenant.is_some() {
            // By the statistics, the slug alone finds the agents of many tenants.
            let value = match shape.tenant {
                Some("uuid") => "lpad(i::text, 32, '0')::uuid",
                Some("integer") => "i",
                _ => "i::text",
            };
            platform
                .run(&format!(
                    "BEGIN; SET LOCAL session_replication_role = replica;
                     INSERT INTO agents (client_id, slug) SELECT {value}, 'a' || i % 5
                       FROM generate_series(1, 5000) i; COMMIT; ANALYZE agents"
                ))
                .await;
        }
        let layout = platform.layout().await;
        let names: &[&str] = match shape.tenant {
            Some(_) => &["'{1/a,2/a}'", "'{1/a,2/a}'"],
            None => &["'{a,b}'"],
        };
        let mut plans = vec![plan(&platform, &queries::enqueue_known(&layout), names).await];
        if let Some(of_tenants) = queries::enqueue_tenants(&layout) {
            plans.push(plan(&platform, &of_tenants, &["'{a,b}'"]).await);
        }
        for plan in &plans {
            let (shown, scans) = (shape.shown(), lines(plan, " on agents a"));
            assert!(scans >= 1, "{shown}: {plan:#?}");
            // The problems alone are compared with the array: by the indexes of agent-sync.
            let of_problems = lines(plan, "Index Scan on problem");
            assert_eq!(lines(plan, "= ANY"), 2 * of_problems, "{shown}: {plan:#?}");
            if shape.is_indexed {
                let filters = plan.iter().filter(|line| line.contains("Filter: ("));
                let compared = filters.filter(|line| !line.contains("IS NOT NULL")).count();
                assert_eq!(
                    (compared, lines(plan, "Index Cond: (")),
                    (0, scans + of_problems),
                    "{shown}: {plan:#?}"
                );
            }
        }
        if !shape.is_indexed {
            let plan = &plans[0];
            let hashed = lines(plan, "hashed SubPlan") + lines(plan, "Hash Semi Join");
            let hashed = hashed + lines(plan, "Hash Join");
            assert_eq!(
                (lines(plan, " on agents a"), hashed),
                (1, 1),
                "{}: {plan:#?}",
                shape.shown()
            );
        }
    }
}

/// The sample of a sweep is looked up by the whole key (G14), whatever the collation of the tenant
/// is.
#[tokio::test]
async fn g14_a_sample_is_looked_up_by_tenant_and_slug() {
    for of_type in ["text", "varchar(20) COLLATE \"POSIX\"", "uuid", "integer"] {
        let platform = Platform::with_tenants(of_type).await;
        platform.install();
        let layout = platform.layout().await;
        let is = layout.agents.is("x", "given.tenant", "given.slug");
        let key = queries::KeyColumns {
            table: &layout.agents.table,
            slug: &layout.agents.slug.name,
            tenant: layout.agents.tenant.as_ref(),
            is: &is,
        };
        let misses = queries::index_misses(key, agent_sync::store::MayRead::asked_for());
        let misses = without_sent(&misses);
        platform
            .run(&format!(
                "{}; PREPARE sample (text, text) AS {misses}",
                queries::BY_INDEX
            ))
            .await;
        let explain = "EXPLAIN EXECUTE sample ('public.agents', 'slug')";
        let plan = platform.client.query(explain, &[]).await.unwrap();
        let plan: Vec<String> = plan.iter().map(|row| row.get(0)).collect();
        platform.run("ROLLBACK").await;
        let both = plan.iter().any(|line| {
            line.contains("Index Cond: (") && line.contains("client_id") && line.contains("slug")
        });
        assert!(both, "{of_type}: {plan:#?}");
    }
}

/// GIVEN tables of every shape, WHEN agents are requested among many slugs that nobody has, THEN
/// each of them is synced, and no other slug is work.
#[tokio::test]
async fn s8_requested_agents_are_synced_in_a_flood_of_unknown_ones() {
    for shape in SHAPES {
        let platform = shape.platform().await;
        let slugs = if shape.sql.contains("uuid") {
            [
                "0b1f2c3d-0000-4000-8000-00000000000a",
                "0b1f2c3d-0000-4000-8000-00000000000b",
            ]
        } else {
            ["1", "2"]
        };
        let tenant = match shape.tenant {
            Some("uuid") => "0b1f2c3d-0000-4000-8000-00000000000c",
            _ => "7",
        };
        let (column, value) = match shape.tenant {
            Some(_) => (", client_id", format!(", '{tenant}'")),
            None => ("", String::new()),
        };
        for slug in slugs {
            platform
                .run(&format!(
                    "INSERT INTO agents (slug, name{column}) VALUES ('{slug}', 'n'{value});
                     INSERT INTO agent_configurations (agent_slug{column}) VALUES ('{slug}'{value})"
                ))
                .await;
        }
        let daemon = platform.caught_up_daemon().await;
        platform.drained().await;
        // The install wakes the daemon by an empty key.
        let before = gone(&daemon);
        platform
            .run("UPDATE agent_configurations SET agent_name = 'edited'")
            .await;
        let second = match shape.tenant {
            Some(_) => format!("{tenant}/{}", slugs[1]),
            None => slugs[1].to_owned(),
        };
        platform
            .run(&format!(
                "SELECT pg_notify('agent_sync', 'x/nobody-' || i) FROM generate_series(1, 400) i;
                 SELECT pg_notify('agent_sync', i || '/x/' || i) FROM generate_series(1, 400) i;
                 NOTIFY agent_sync, '{}'; NOTIFY agent_sync, '{second}'",
                slugs[0]
            ))
            .await;
        platform
            .holds("SELECT bool_and(agent_name = 'n') FROM agent_configurations")
            .await;
        platform.drained().await;
        assert_eq!(gone(&daemon), before, "{}", shape.shown());
        let told = daemon.lines("more slugs were requested at once");
        assert!(told.is_empty(), "{}: {told:?}", shape.shown());
    }
}

/// GIVEN a look that takes long, WHEN many requests follow, THEN they wait and are answered
/// together.
#[tokio::test]
async fn s8_requests_during_a_pause_are_answered_together() {
    let platform = Platform::with_tenants("text").await;
    platform.install();
    platform
        .run(
            "INSERT INTO agents (client_id, slug, name) SELECT 't', 'a' || i, 'n'
               FROM generate_series(0, 9) i;
             INSERT INTO agent_configurations (client_id, agent_slug) SELECT client_id, slug
               FROM agents",
        )
        .await;
    let _daemon = platform.caught_up_daemon().await;
    platform.drained().await;
    platform
        .run(
            "CREATE SEQUENCE looks;
             CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
               IF current_setting('application_name') LIKE 'agent-sync%' THEN
                 PERFORM nextval('public.looks'), pg_sleep(1);
               END IF; RETURN NULL; END $$;
             CREATE TRIGGER slow BEFORE INSERT ON agent_sync.outbox FOR EACH STATEMENT
               EXECUTE FUNCTION slow();
             UPDATE agent_configurations SET agent_name = 'edited';
             NOTIFY agent_sync, 'a0'",
        )
        .await;
    let synced = |number: i32| {
        format!("SELECT count(*) = {number} FROM agent_configurations WHERE agent_name = 'n'")
    };
    platform.holds(&synced(1)).await;
    for number in 1..10 {
        platform
            .run(&format!("NOTIFY agent_sync, 't/a{number}'"))
            .await;
    }
    // A save of another does not wait for them.
    for name in ["m", "n"] {
        platform
            .run(&format!(
                "UPDATE agents SET name = '{name}' WHERE slug = 'a0'"
            ))
            .await;
        platform
            .holds(&format!(
                "SELECT agent_name = '{name}' FROM agent_configurations WHERE agent_slug = 'a0'"
            ))
            .await;
    }
    assert!(platform.value::<bool>(&synced(1)).await);
    platform.holds(&synced(10)).await;
    let looks: i64 = platform.value("SELECT last_value FROM looks").await;
    assert_eq!(looks, 2);
}

/// A slug that very many tenants have is a request for every agent.
#[tokio::test]
async fn s8_a_slug_of_very_many_tenants_is_a_check_of_every_agent() {
    for sql in ["", "CREATE INDEX ON agents (slug)"] {
        let platform = Platform::with_tenants("integer").await;
        platform.run(sql).await;
        platform.install();
        platform
            .run(
                "INSERT INTO agents (client_id, slug, name) SELECT i, 'a', 'n'
                   FROM generate_series(1, 2500) i;
                 INSERT INTO agent_configurations (client_id, agent_slug) SELECT client_id, slug
                   FROM agents",
            )
            .await;
        let daemon = platform.caught_up_daemon().await;
        platform.drained().await;
        platform
            .run("UPDATE agent_configurations SET agent_name = 'edited'; NOTIFY agent_sync, 'a'")
            .await;
        platform
            .holds("SELECT bool_and(agent_name = 'n') FROM agent_configurations")
            .await;
        daemon
            .logged("more slugs were requested at once than the daemon keeps; checking every agent")
            .await;
    }
}
