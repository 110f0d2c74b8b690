//! Broken connections and captures (G1, G8): no change is lost, and the log stays short.

use agent_sync_testbed::{Cluster, Options};
use serde_json::json;

use crate::support::platform::{EXAMPLE, EXPECTED, TABLES};
use crate::support::{Daemon, Platform, cluster, eventually};

/// An agent in sync, and a sleeping daemon.
async fn watched() -> (Platform, Daemon) {
    let platform = Platform::installed().await;
    platform.save("a", "{}").await;
    platform.configure("a").await;
    let daemon = platform.brisk_daemon();
    daemon.logged("caught up").await;
    (platform, daemon)
}

/// Waits for a complete sweep that begins after this call: it enqueues an agent whose missing
/// configuration now exists, and the drain clears the problem. Waits twice, because the first sweep
/// may have been running already.
async fn swept(platform: &Platform) {
    for _ in 0..2 {
        platform
            .run(
                "INSERT INTO agent_sync.problem (slug, kind, detail) VALUES ('a', \
                'missing_configuration', 'a sweep clears it')",
            )
            .await;
        platform
            .holds("SELECT NOT EXISTS (SELECT FROM agent_sync.problem)")
            .await;
    }
}

#[tokio::test]
async fn g8_a_server_restart_is_two_log_lines_and_nothing_is_lost() {
    let (own, platform) = Platform::on_own_server("").await;
    platform
        .run(
            "INSERT INTO agents (slug) SELECT 'agent-' || i FROM generate_series(1, 500) i;
              INSERT INTO agent_configurations (agent_slug) SELECT slug FROM agents",
        )
        .await;
    let daemon = platform.brisk_daemon();
    daemon.logged("caught up").await;
    for mode in ["fast", "immediate"] {
        let before = daemon.lines("database").len();
        own.control(&["-m", mode, "stop"]).unwrap();
        own.control(&["start"]).unwrap();
        // The test's own connection is lost as well. A save before the daemon's reconnect must not
        // be missed.
        let (client, _) = crate::support::platform::connect(&platform.url).await;
        client
            .execute("UPDATE agents SET name = $1", &[&mode])
            .await
            .unwrap();
        let what = format!("every configuration has the name {mode}");
        eventually(&what, async || {
            let sql = "SELECT count(*) FROM agent_configurations WHERE agent_name = $1";
            client
                .query_one(sql, &[&mode])
                .await
                .unwrap()
                .get::<_, i64>(0)
                == 500
        })
        .await;
        eventually("the outage is told", async || {
            daemon.lines("database").len() >= before + 2
        })
        .await;
        let told: Vec<_> = daemon
            .log()
            .into_iter()
            .filter(|line| line["level"] != "DEBUG")
            .collect();
        let told: Vec<_> = told
            .iter()
            .rev()
            .take(2)
            .map(|line| line["message"].clone())
            .collect();
        assert_eq!(
            told,
            [
                json!(
                    "database available again, caught up; an agent counts once for each look at it"
                ),
                json!("database unavailable; the daemon retries until it is back")
            ],
            "{mode}"
        );
    }
    assert_eq!(daemon.lines("database").len(), 4);
}

#[tokio::test]
async fn g8_a_database_that_is_not_there_yet_is_waited_for() {
    let platform = Platform::new().await;
    let mut daemon = platform.brisk_daemon();
    let line = daemon.outage().await;
    assert!(
        line["remedy"]
            .as_str()
            .unwrap()
            .contains("agent-sync install"),
        "{line}"
    );
    platform.save("a", EXAMPLE).await;
    platform.configure("a").await;
    platform.install();
    daemon.logged("caught up").await;
    platform.becomes("a", EXPECTED).await;
    assert_eq!(daemon.outages().len(), 1);
    daemon.signal("TERM");
    assert!(daemon.ended().await.success());
}

#[tokio::test]
async fn g1_a_terminated_backend_loses_nothing() {
    let platform = Platform::installed().await;
    let daemon = platform.brisk_daemon();
    daemon.logged("caught up").await;
    platform.configure("a").await;
    for round in 1..=10 {
        platform
            .run(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                  WHERE application_name LIKE 'agent-sync/%' AND datname = current_database()",
            )
            .await;
        platform
            .save("a", &format!(r#"{{"voice_id":"v{round}"}}"#))
            .await;
        platform
            .holds(&format!(
                "SELECT voice_id = 'v{round}' IS TRUE FROM agent_configurations"
            ))
            .await;
    }
}

#[tokio::test]
async fn g1_a_kill_in_the_middle_of_a_backlog_loses_nothing() {
    let platform = Platform::installed().await;
    platform
        .run(
            "INSERT INTO agents (slug, name) SELECT 'agent-' || i, 'n'
                  FROM generate_series(1, 20000) i;
              INSERT INTO agent_configurations (agent_slug) SELECT slug FROM agents",
        )
        .await;
    for _ in 0..3 {
        let mut daemon = platform.daemon();
        daemon.logged("batch committed").await;
        daemon.signal("KILL");
        daemon.ended().await;
    }
    let _daemon = platform.caught_up_daemon().await;
    let synced = "SELECT count(*) FROM agent_configurations WHERE agent_name = 'n'";
    assert_eq!(platform.value::<i64>(synced).await, 20_000);
}

/// A broken capture is reported and repaired, with every agent in sync.
#[tokio::test]
async fn g1_a_broken_capture_is_reported_and_mended() {
    for (breaking, mending) in [
        (
            "ALTER TABLE agents DISABLE TRIGGER agent_sync_update",
            "ALTER TABLE agents ENABLE ALWAYS TRIGGER agent_sync_update",
        ),
        ("DROP TRIGGER agent_sync_update ON agents", ""),
    ] {
        let (platform, daemon) = watched().await;
        platform.run(breaking).await;
        let line = daemon.logged("capture broken").await;
        assert_eq!(line["level"], "ERROR");
        assert!(
            line["trigger"]
                .as_str()
                .unwrap()
                .contains("agent_sync_update"),
            "{line}"
        );
        // Earlier changes are checked once more.
        platform.drained().await;
        platform.save("a", EXAMPLE).await;
        assert_eq!(
            platform.outbox().await,
            Vec::<String>::new(),
            "the save could not be captured"
        );
        if mending.is_empty() {
            platform.install();
        } else {
            platform.run(mending).await;
        }
        platform.becomes("a", EXPECTED).await;
        assert_eq!(daemon.lines("capture broken").len(), 1);
    }
}

/// GIVEN a daemon, WHEN a capture function lacks a privilege or is no longer safe, THEN it is a
/// fault of the capture, and saves meanwhile, by a role without privileges and without a daemon to
/// notify, are repaired.
#[tokio::test]
async fn g1_an_altered_capture_function_is_a_fault_and_made_good() {
    for (change, fault, mending) in [
        (
            "SECURITY INVOKER",
            "SECURITY INVOKER, so it may do no more than whoever saves",
            "",
        ),
        (
            "SECURITY INVOKER",
            "SECURITY INVOKER, so it may do no more than whoever saves",
            "ALTER FUNCTION agent_sync.capture_agent() SECURITY DEFINER",
        ),
        (
            "SET work_mem = '1MB'",
            "of a function with settings that the install has not made (ALTER FUNCTION ... SET)",
            "",
        ),
        (
            "SET search_path = public, pg_catalog",
            "of a function with settings that the install has not made (ALTER FUNCTION ... SET)",
            "ALTER FUNCTION agent_sync.capture_agent() RESET search_path",
        ),
    ] {
        let (platform, mut daemon) = watched().await;
        platform
            .run(&format!(
                "ALTER FUNCTION agent_sync.capture_agent() {change}"
            ))
            .await;
        for line in daemon.logged_times("capture broken", 2).await {
            assert_eq!(
                (&line["level"], &line["fault"]),
                (&json!("ERROR"), &json!(fault))
            );
        }
        let doctor = platform.says(&["doctor", "--json"]).await;
        assert!(
            doctor.code == 2 && doctor.out.contains(fault),
            "{}",
            doctor.out
        );
        platform.drained().await;
        daemon.signal("TERM");
        daemon.ended().await;

        let editor = format!("editor_{}", platform.name());
        platform
            .run(&format!(
                "CREATE ROLE {editor}; GRANT SELECT, UPDATE ON agents TO {editor}; SET ROLE \
                {editor}"
            ))
            .await;
        platform
            .client
            .execute(
                "UPDATE agents SET voice_settings = $1::text::jsonb",
                &[&EXAMPLE],
            )
            .await
            .unwrap();
        platform.run("RESET ROLE").await;
        if mending.is_empty() {
            platform.install();
        } else {
            platform.run(mending).await;
        }
        let daemon = platform.brisk_daemon();
        platform.becomes("a", EXPECTED).await;
        daemon.logged("caught up").await;
        assert!(
            daemon.lines("capture broken").is_empty(),
            "mended: {mending:?}"
        );
    }
}

/// A BEFORE trigger that is created after the install is a fault until the next install.
#[tokio::test]
async fn g1_a_later_before_trigger_is_a_fault_until_installed_again() {
    let (platform, daemon) = watched().await;
    platform
        .run(
            r"CREATE FUNCTION rename() RETURNS trigger LANGUAGE plpgsql AS
                   $$ BEGIN NEW.name := 'renamed'; RETURN NEW; END $$;
               CREATE TRIGGER rename BEFORE UPDATE ON agents FOR EACH ROW EXECUTE FUNCTION rename()",
        )
        .await;
    let line = daemon.logged("capture broken").await;
    assert_eq!(
        line["fault"],
        "blind to what the trigger rename changes, which came after it"
    );
    platform.drained().await;
    platform.run("UPDATE agents SET enabled = false").await;
    assert_eq!(
        platform.outbox().await,
        Vec::<String>::new(),
        "what only the trigger changed is not captured"
    );
    platform.install();
    platform
        .holds("SELECT agent_name = 'renamed' FROM agent_configurations")
        .await;
    assert_eq!(daemon.lines("capture broken").len(), 1);
}

#[tokio::test]
async fn g1_saves_that_met_a_broken_outbox_are_made_good() {
    let (platform, daemon) = watched().await;
    // Locked between two checks of the daemon, so only the counter shows it.
    let locker = platform.connect().await;
    locker
        .batch_execute("BEGIN; LOCK TABLE agent_sync.outbox IN ACCESS EXCLUSIVE MODE")
        .await
        .unwrap();
    platform.save("a", EXAMPLE).await;
    locker.batch_execute("ROLLBACK").await.unwrap();
    platform.becomes("a", EXPECTED).await;
    let line = daemon
        .logged("changes were saved that could not be captured")
        .await;
    assert_eq!(
        (&line["level"], &line["saves"]),
        (&json!("WARN"), &json!(1))
    );
}

/// A save that met a broken outbox and commits late is repaired.
#[tokio::test]
async fn g1_a_late_save_that_met_a_broken_outbox_is_made_good() {
    let (platform, daemon) = watched().await;
    platform.run("BEGIN").await;
    platform.run("UPDATE agents SET enabled = false").await;
    let other = platform.connect().await;
    other
        .batch_execute("BEGIN; LOCK TABLE agent_sync.outbox IN ACCESS EXCLUSIVE MODE")
        .await
        .unwrap();
    platform.save("a", EXAMPLE).await;
    other.batch_execute("ROLLBACK").await.unwrap();
    daemon
        .logged("changes were saved that could not be captured")
        .await;
    eventually(
        "the outbox is drained while the writer is still open",
        async || {
            other
                .query_one("SELECT NOT EXISTS (SELECT FROM agent_sync.outbox)", &[])
                .await
                .unwrap()
                .get(0)
        },
    )
    .await;
    platform.run("COMMIT").await;
    platform.becomes("a", EXPECTED).await;
    platform
        .holds("SELECT uncaptured_seen = 1 FROM agent_sync.install")
        .await;
}

/// A counted save that stays open on a quiet server is repaired when it commits.
#[tokio::test]
async fn g1_an_open_counted_save_on_a_quiet_server_is_made_good() {
    // A separate cluster, because the server has to be quiet; the transaction is also prepared.
    let own = Cluster::start(Options {
        settings: "max_prepared_transactions = 5",
        ..Options::default()
    })
    .unwrap();
    for prepared in [false, true] {
        let platform = Platform::with_tables(&own, TABLES).await;
        platform.install();
        platform.save("a", "{}").await;
        platform.configure("a").await;
        let mut command = platform.command(&["run"]);
        command.env("AGENT_SYNC__SYNC__SWEEP_INTERVAL", "1s");
        if prepared {
            command.env("AGENT_SYNC__CAPTURE__NOTIFY", "false");
        }
        let daemon = Daemon::start(command);
        daemon.logged("caught up").await;
        platform
            .holds("SELECT uncaptured_seen >= 0 FROM agent_sync.install")
            .await;
        let (locker, saver) = (platform.connect().await, platform.connect().await);
        locker
            .batch_execute("BEGIN; LOCK TABLE agent_sync.outbox IN ACCESS EXCLUSIVE MODE")
            .await
            .unwrap();
        saver
            .batch_execute("BEGIN; UPDATE agents SET name = 'late'")
            .await
            .unwrap();
        locker.batch_execute("ROLLBACK").await.unwrap();
        daemon
            .logged("changes were saved that could not be captured")
            .await;
        if prepared {
            saver
                .batch_execute("PREPARE TRANSACTION 'late'")
                .await
                .unwrap();
        }
        let is_settled = "SELECT uncaptured_seen = (SELECT last_value FROM agent_sync.uncaptured) \
            FROM agent_sync.install";
        for _ in 0..2 {
            swept(&platform).await;
            assert!(
                !platform.value::<bool>(is_settled).await,
                "the saver is open; prepared: {prepared}"
            );
        }
        saver
            .batch_execute(if prepared {
                "COMMIT PREPARED 'late'"
            } else {
                "COMMIT"
            })
            .await
            .unwrap();
        platform
            .holds("SELECT agent_name = 'late' FROM agent_configurations")
            .await;
        platform.holds(is_settled).await;
    }
}

/// A counted save that commits late is repaired while a fault persists.
#[tokio::test]
async fn g1_a_late_counted_save_is_made_good_during_a_fault() {
    let (platform, daemon) = watched().await;
    platform
        .run("ALTER TABLE agents ENABLE TRIGGER agent_sync_insert")
        .await;
    daemon.logged("a trigger is enabled but not ALWAYS").await;
    let (locker, saver) = (platform.connect().await, platform.connect().await);
    locker
        .batch_execute("BEGIN; LOCK TABLE agent_sync.outbox IN ACCESS EXCLUSIVE MODE")
        .await
        .unwrap();
    saver
        .batch_execute("BEGIN; UPDATE agents SET name = 'late'")
        .await
        .unwrap();
    locker.batch_execute("ROLLBACK").await.unwrap();
    swept(&platform).await;
    saver.batch_execute("COMMIT").await.unwrap();
    platform
        .holds("SELECT agent_name = 'late' IS TRUE FROM agent_configurations")
        .await;
}

#[tokio::test]
async fn g1_a_transaction_that_saves_no_agent_holds_nothing_up() {
    let (platform, daemon) = watched().await;
    platform
        .holds("SELECT uncaptured_seen >= 0 FROM agent_sync.install")
        .await;
    platform.run("CREATE TABLE orders (id int)").await;
    let elsewhere = Platform::new().await;
    let (orders, other) = (platform.connect().await, elsewhere.connect().await);
    orders
        .batch_execute("BEGIN; INSERT INTO orders VALUES (1); SELECT FROM agents")
        .await
        .unwrap();
    other
        .batch_execute("BEGIN; INSERT INTO agents (slug) VALUES ('b')")
        .await
        .unwrap();
    let locker = platform.connect().await;
    locker
        .batch_execute("BEGIN; LOCK TABLE agent_sync.outbox IN ACCESS EXCLUSIVE MODE")
        .await
        .unwrap();
    platform.save("a", EXAMPLE).await;
    locker.batch_execute("ROLLBACK").await.unwrap();
    platform.becomes("a", EXPECTED).await;
    daemon
        .logged("changes were saved that could not be captured")
        .await;
    let settled = "SELECT uncaptured_seen = (SELECT last_value FROM agent_sync.uncaptured) FROM \
        agent_sync.install";
    platform.holds(settled).await;
    orders.batch_execute("ROLLBACK").await.unwrap();
    other.batch_execute("ROLLBACK").await.unwrap();
}

#[tokio::test]
async fn g1_a_counted_save_in_a_partition_or_a_child_is_waited_for() {
    for tables in [
        "CREATE TABLE agents (slug text, region text, name text, voice_settings jsonb, PRIMARY
              KEY (slug, region))
             PARTITION BY LIST (region);
         CREATE TABLE agents_eu PARTITION OF agents FOR VALUES IN ('eu') PARTITION BY LIST (slug);
         CREATE TABLE saved PARTITION OF agents_eu DEFAULT",
        "CREATE TABLE agents (slug text PRIMARY KEY, region text, name text, voice_settings jsonb);
         CREATE TABLE saved () INHERITS (agents)",
    ] {
        let platform = Platform::new().await;
        platform
            .run(&format!("DROP TABLE agents CASCADE; {tables}"))
            .await;
        let saver = platform.connect().await;
        saver
            .batch_execute(
                "BEGIN; INSERT INTO saved (slug, region) VALUES ('a', \
                'eu')",
            )
            .await
            .unwrap();
        let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 2] =
            [&"public.agents", &"public.agent_configurations"];
        let savers = agent_sync::store::queries::SAVERS;
        assert_eq!(
            platform
                .client
                .query(savers, &parameters)
                .await
                .unwrap()
                .len(),
            1,
            "{tables}"
        );
        saver.batch_execute("COMMIT").await.unwrap();
        assert!(
            platform
                .client
                .query(savers, &parameters)
                .await
                .unwrap()
                .is_empty(),
            "{tables}"
        );
    }
}

#[tokio::test]
async fn the_log_of_a_database_that_stays_away_is_one_line() {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_agent-sync"));
    command
        .env_clear()
        .arg("run")
        .env("DATABASE_URL", "postgres://app:s3cret@127.0.0.1:1/platform")
        .env("AGENT_SYNC__RECONNECT__INITIAL_DELAY", "10ms")
        .env("AGENT_SYNC__RECONNECT__MAX_DELAY", "100ms");
    let daemon = Daemon::start(command);
    daemon.logged_times("still unavailable", 20).await;
    assert_eq!(daemon.outages().len(), 1);
    assert!(
        daemon
            .log()
            .iter()
            .all(|line| !line.to_string().contains("s3cret"))
    );
}

#[tokio::test]
async fn every_query_can_be_prepared_against_a_fresh_install() {
    every_query_can_be_prepared(Platform::new().await).await;
}

#[tokio::test]
async fn every_query_can_be_prepared_with_tenants() {
    for of_type in ["uuid NOT NULL", "integer", "text", "client NOT NULL"] {
        every_query_can_be_prepared(Platform::with_tenants(of_type).await).await;
    }
}

async fn every_query_can_be_prepared(platform: Platform) {
    use agent_sync::pg::without_sent;
    use agent_sync::store::{awaited, backlog, enqueue, queries, report, slugs, surveyed, tenants};

    let role = format!("daemon_{}", platform.name());
    assert!(platform.says(&["install", "--role", &role]).await.code == 0);
    let layout = platform.layout().await;
    let may_read = agent_sync::store::MayRead::asked_for();
    let keys = layout.keys();
    let (claim, write) = (queries::claim(&layout), queries::write(&layout, true));
    let (seal, layout_version, rules) =
        (queries::seal(), queries::layout_version(), queries::rules());
    let (problems, known) = (report::problems(keys), queries::enqueue_known(&layout));
    let tables = report::tables();
    let bare_write = queries::write(&layout, false);
    let (claim_change, write_change) = (
        // Without an index, there is no fast path.
        queries::claim_change(&layout, "true").unwrap_or("SELECT 1".to_owned()),
        queries::write_change(&layout, true),
    );
    let bare_write_change = queries::write_change(&layout, false);
    let [(_, orphans), (_, unambiguous), (_, found)] = queries::looks(&layout);
    let (all, absent, uncaptured) = (
        queries::enqueue_all(&layout),
        queries::enqueue_absent(&layout),
        queries::enqueue_uncaptured(&layout),
    );
    let (agents, configurations) = (
        report::count_agents(&layout, may_read),
        report::count_configurations(&layout),
    );
    let (note, clear) = (queries::note_problems(keys), queries::clear_problems(keys));
    let (not_text, gone, unreadable) = (
        queries::set_aside_not_text(keys),
        queries::forget_not_text(keys),
        queries::set_aside_row(keys),
    );
    let (of_slug, of_suspect) = (
        queries::claim_slug(&layout),
        queries::claim_suspect(&layout),
    );
    let (first, page, take) = (
        queries::set_aside_suspect(keys),
        queries::claim_page(&layout),
        queries::take(keys),
    );
    let noted = surveyed::Extent {
        can_read_notes: true,
        versions: true,
        most: None,
    };
    let weighed = surveyed::Extent {
        most: Some(1),
        ..surveyed::Extent::default()
    };
    let weighed_survey = surveyed::survey(&layout, weighed, surveyed::Named::Keys);
    let (survey, bare_survey) = (
        surveyed::survey(&layout, noted, surveyed::Named::Slugs),
        surveyed::survey(&layout, surveyed::Extent::default(), surveyed::Named::Keys),
    );
    let (next_keys, foreign_types) = (surveyed::next_keys(&layout), queries::foreign_types());
    let is = layout.agents.is("x", "given.tenant", "given.slug");
    let rivals = queries::rivals();
    let misses = queries::index_misses(
        queries::KeyColumns {
            table: &layout.agents.table,
            slug: &layout.agents.slug.name,
            tenant: layout.agents.tenant.as_ref(),
            is: &is,
        },
        may_read,
    );
    let walked: Vec<String> = layout
        .slug_indexes()
        .iter()
        .flat_map(|index| [index.along(), index.past()])
        .collect();
    let every_tenant = queries::enqueue_tenants(&layout);
    assert_eq!(every_tenant.is_some(), platform.tenants);
    let of_tenant = platform.tenants.then(|| {
        let of_tenant = surveyed::survey(&layout, noted, surveyed::Named::Tenant);
        let names = surveyed::survey(&layout, noted, surveyed::Named::Names);
        [of_tenant, names, report::keys_of_names(&layout)]
    });
    let of_tenants = every_tenant
        .into_iter()
        .chain(queries::lack_tenant(&layout.configurations, may_read))
        .chain(of_tenant.into_iter().flatten())
        .chain(tenants::exists(&layout, may_read))
        .chain(tenants::some(&layout, may_read));
    let of_tenants = of_tenants.chain([slugs::some(&layout, may_read)]);
    let of_tenants: Vec<String> = of_tenants.collect();
    for query in [
        &report::daemons(),
        &report::outbox(keys),
        report::ROW_HOLDER,
        &problems,
        &report::problem_of(keys),
        &report::pending_of(keys),
        &report::still_pending(keys),
        &awaited::problems_of_named(keys),
        &awaited::awaited(keys),
        &awaited::unknown(&layout, may_read),
        &queries::is_unsealed(),
        &queries::checks(),
        &queries::enqueue(keys),
        enqueue::WAKE,
        enqueue::BLOCKS,
        enqueue::TAKE_BACK,
        &enqueue::forget_canary(),
        report::LED,
        report::NEARBY,
        queries::STAND_DOWN,
        report::READABLE,
        report::ESTIMATE,
        report::UPKEEP,
        &tables,
        report::UNLOCKED_RECORD,
        report::RECORD_HOLDER,
        report::TABLE_LOCK,
        &report::history_of(keys),
        report::LAST_SYNC,
        queries::PRUNE_HISTORY,
        &bare_write,
        &agents,
        &configurations,
        &survey,
        &next_keys,
        &foreign_types,
        &bare_survey,
        &weighed_survey,
        &surveyed::unmatched(&layout),
        queries::TRY_LEAD,
        queries::TRY_IDLE_LOCK,
        queries::RELEASE_IDLE_LOCK,
        &note,
        &clear,
        &not_text,
        &gone,
        &unreadable,
        &first,
        &queries::note_suspect(keys),
        queries::NOTE_DANGEROUS,
        &queries::leader(),
        queries::WRITES_ARE_LOCKED,
        &rules,
        queries::MAPPING,
        queries::NOTE_MAPPING,
        queries::MIX_MAPPINGS,
        queries::NOTED_MAPPING,
        queries::AUDIT,
        queries::NOTE_AUDIT,
        queries::NOTE_POSITION,
        &rivals,
        queries::UNLOGGED,
        &misses,
        queries::NAMES,
        &queries::near_misses(&layout),
        &queries::unpublishable(),
        queries::PUBLISHED_IN_PART,
        &known,
        queries::FORGET_SUSPECT,
        queries::SESSION_STATE,
        queries::RUNS_FOREIGN_CODE,
        queries::CASCADES,
        &page,
        &of_slug,
        &of_suspect,
        &take,
        queries::INSTALL,
        queries::VERSION,
        queries::INSTALLED_NOTIFY,
        queries::OWN_ROWS_HIDDEN,
        queries::NOTIFICATION_QUEUE,
        queries::LENDS_RIGHTS,
        queries::CAPTURE_FAULTS,
        &seal,
        &layout_version,
        queries::SAVERS,
        &queries::missed_by_index(&layout.agents),
        &queries::lock_configurations(&layout),
        &queries::versions_of_configurations(&layout),
        &queries::has_locked_configuration(&layout),
        queries::KNOWS_SYSTEM_IDENTIFIER,
        queries::SYSTEM_IDENTIFIER,
        queries::NEXT_RETRY,
        &queries::enqueue_retries(keys),
        &queries::server(),
        queries::MISSING_PARTS,
        queries::HAS_SENT,
        queries::MISSING_PRIVILEGES,
        queries::HIDDEN_ROWS,
        queries::DISTRUST,
        backlog::COUNTS,
        &backlog::own(),
        &backlog::latest_problems(keys),
        &claim,
        &write,
        &claim_change,
        &write_change,
        &bare_write_change,
        &queries::take_lone(keys),
        &all,
        &orphans,
        &absent,
        &unambiguous,
        &found,
        &uncaptured,
    ]
    .into_iter()
    .chain(of_tenants.iter().chain(&walked).map(String::as_str))
    {
        let query = &*without_sent(query);
        let prepared = platform
            .client
            .prepare(query)
            .await
            .unwrap_or_else(|error| panic!("{query}: {error:?}"));
        // The role of `install --role` may execute it: EXPLAIN checks the privileges like an
        // execution (G4).
        let types: Vec<_> = prepared
            .params()
            .iter()
            .map(|of| format!("pg_catalog.{of}"))
            .collect();
        let types = if types.is_empty() {
            String::new()
        } else {
            format!("({})", types.join(", "))
        };
        let nulls = vec!["NULL"; prepared.params().len()].join(", ");
        let nulls = if nulls.is_empty() {
            nulls
        } else {
            format!("({nulls})")
        };
        let explain = format!(
            "SET ROLE {role}; PREPARE one {types} AS {query}; EXPLAIN EXECUTE one {nulls}; \
            DEALLOCATE one; RESET ROLE"
        );
        let explained = platform.client.batch_execute(&explain).await;
        explained.unwrap_or_else(|error| panic!("{query}: {error:?}"));
    }
    for lock in [
        queries::TRY_LEAD,
        queries::TRY_IDLE_LOCK,
        queries::RELEASE_IDLE_LOCK,
        &report::daemons(),
        enqueue::WAKE,
        report::LED,
        queries::STAND_DOWN,
    ] {
        assert!(
            lock.contains("1634169721"),
            "the key of the locks is the one in sql/attach.sql"
        );
    }
    assert!(cluster().log().lines().all(|line| !line.contains("PANIC")));
}

#[tokio::test]
async fn g1_a_capture_that_was_off_for_a_moment_is_made_good() {
    for while_running in [true, false] {
        let (platform, mut daemon) = watched().await;
        if !while_running {
            daemon.signal("TERM");
            daemon.ended().await;
        }
        // The state after a restore of data alone, with triggers that do not fire during
        // replication.
        platform.run("ALTER TABLE agents DISABLE TRIGGER ALL").await;
        platform.save("a", EXAMPLE).await;
        platform.run("ALTER TABLE agents ENABLE TRIGGER ALL").await;
        assert_eq!(
            platform.outbox().await,
            Vec::<String>::new(),
            "it could not be captured"
        );
        if !while_running {
            daemon = platform.brisk_daemon();
        }
        platform.becomes("a", EXPECTED).await;
        let line = daemon.logged("a trigger is enabled but not ALWAYS").await;
        assert!(daemon.lines("capture broken").is_empty());
        assert!(
            line["remedy"]
                .as_str()
                .unwrap()
                .contains("agent-sync install"),
            "{line}"
        );
        platform.install();
        daemon.logged("the capture works again").await;
    }
}

/// Statements that change agents, or hide changes from the triggers, and restore the catalog except
/// for the versions of its rows. `{save}` is a save that no trigger notes.
const SEALED: &[(&str, &str)] = &[
    (
        "a trigger that is disabled",
        "ALTER TABLE agents DISABLE TRIGGER USER; {save}; {enable}",
    ),
    (
        "a table that is emptied and filled with the triggers asleep",
        "ALTER TABLE agents DISABLE TRIGGER USER; CREATE TABLE kept AS SELECT *
              FROM agents; TRUNCATE agents;
         INSERT INTO agents SELECT * FROM kept; {save}; {enable}",
    ),
    (
        "a table that is swapped out and back",
        "ALTER TABLE agents RENAME TO away; ALTER TABLE away DISABLE TRIGGER USER;
         UPDATE away SET name = 'missed'; ALTER TABLE away RENAME TO agents; {enable}",
    ),
    (
        "the schema of agent-sync that is away",
        "ALTER SCHEMA agent_sync RENAME TO away; {save}; ALTER SCHEMA away RENAME TO agent_sync",
    ),
    (
        "an outbox that is emptied",
        "{save}; TRUNCATE agent_sync.outbox",
    ),
    (
        "an outbox that is swapped out and back",
        "ALTER TABLE agent_sync.outbox RENAME TO o; CREATE TABLE agent_sync.outbox (slug text, at
              timestamptz); {save};
         DROP TABLE agent_sync.outbox; ALTER TABLE agent_sync.o RENAME TO outbox",
    ),
];

/// Saves that were hidden from the triggers are repaired.
#[tokio::test]
async fn g14_saves_hidden_from_the_triggers_are_made_good() {
    let enable = "ALTER TABLE agents ENABLE ALWAYS TRIGGER agent_sync_insert; ALTER TABLE agents \
        ENABLE ALWAYS TRIGGER agent_sync_update";
    for (what, statements) in SEALED {
        let (platform, mut daemon) = watched().await;
        platform
            .holds("SELECT uncaptured_seen >= 0 AND seal LIKE 'md5 %' FROM agent_sync.install")
            .await;
        // No daemon is running to be notified or to drain the outbox.
        daemon.signal("TERM");
        daemon.ended().await;
        let statements = statements
            .replace("{save}", "UPDATE agents SET name = 'missed'")
            .replace("{enable}", enable);
        platform.run(&format!("BEGIN; {statements}; COMMIT")).await;
        platform
            .run("ALTER SEQUENCE agent_sync.uncaptured RESTART")
            .await;
        platform
            .run(
                "UPDATE agent_sync.install SET uncaptured_seen = (SELECT last_value FROM \
                agent_sync.uncaptured)",
            )
            .await;
        let daemon = platform.brisk_daemon();
        eventually(what, async || {
            platform
                .value("SELECT agent_name = 'missed' IS TRUE FROM agent_configurations")
                .await
        })
        .await;
        daemon
            .logged("the tables, their triggers or policies were changed")
            .await;
    }
}

/// Rows of an attached partition are in sync within one sweep.
#[tokio::test]
async fn g14_rows_of_an_attached_partition_sync_within_one_sweep() {
    let platform = Platform::new().await;
    platform
        .run(
            "DROP TABLE agents CASCADE;
             CREATE TABLE agents (region text NOT NULL, slug text NOT NULL, name text,
               voice_settings jsonb, UNIQUE (slug, region))
                 PARTITION BY LIST (region);
             CREATE TABLE eu PARTITION OF agents FOR VALUES IN ('eu');
             CREATE TABLE us (LIKE agents INCLUDING ALL)",
        )
        .await;
    platform.install();
    platform.configure("a").await;
    platform.configure("b").await;
    platform
        .run("INSERT INTO agents (region, slug, name) VALUES ('eu', 'a', 'first')")
        .await;
    let daemon = platform.brisk_daemon();
    daemon.logged("caught up").await;
    platform
        .holds("SELECT uncaptured_seen >= 0 FROM agent_sync.install")
        .await;
    let attach = "ALTER TABLE agents ATTACH PARTITION us FOR VALUES IN ('us')";
    platform
        .run(&format!(
            "INSERT INTO us (region, slug, name) VALUES ('us', 'b', 'attached'); {attach}"
        ))
        .await;
    platform
        .holds(
            "SELECT agent_name = 'attached' IS TRUE FROM agent_configurations WHERE agent_slug \
            = 'b'",
        )
        .await;
    daemon
        .logged("the tables, their triggers or policies were changed")
        .await;
    platform
        .run(&format!(
            "ALTER TABLE agents DETACH PARTITION us; UPDATE us SET name = 'apart'; {attach}"
        ))
        .await;
    platform
        .holds(
            "SELECT agent_name = 'apart' IS TRUE FROM agent_configurations WHERE agent_slug = 'b'",
        )
        .await;

    // The disabled trigger of one partition is a fault, and the sweeps find the saves there.
    platform
        .run("ALTER TABLE us DISABLE TRIGGER agent_sync_update")
        .await;
    let line = daemon
        .logged("saves in a partition or child table are not noticed")
        .await;
    assert_eq!(
        (&line["trigger"], &line["fault"]),
        (&json!("public.us.agent_sync_update"), &json!("disabled"))
    );
    for name in ["blind", "blinder"] {
        platform
            .run(&format!(
                "UPDATE agents SET name = '{name}' WHERE slug = 'b'"
            ))
            .await;
        platform
            .holds(&format!(
                "SELECT agent_name = '{name}' FROM agent_configurations WHERE agent_slug = 'b'"
            ))
            .await;
    }
    platform.run(line["remedy"].as_str().unwrap()).await;
    daemon.logged("the capture works again").await;
    platform
        .run("ALTER TABLE us ENABLE TRIGGER agent_sync_update")
        .await;
    daemon.logged("a trigger is enabled but not ALWAYS").await;
}

/// Saves in a child table are a fault and in sync within one sweep.
#[tokio::test]
async fn g14_saves_in_a_child_table_sync_within_one_sweep() {
    let platform = Platform::new().await;
    platform
        .run("CREATE TABLE child () INHERITS (agents); CREATE TABLE grandchild () INHERITS (child)")
        .await;
    platform.install();
    for slug in ["a", "b", "c"] {
        platform.configure(slug).await;
    }
    platform
        .run(
            "INSERT INTO agents (slug) VALUES ('a'); INSERT INTO child (slug) VALUES ('b'); \
            INSERT INTO grandchild (slug) VALUES ('c')",
        )
        .await;
    let daemon = platform.brisk_daemon();
    let lines = daemon
        .logged_times("saves in a partition or child table are not noticed", 4)
        .await;
    let triggers: Vec<_> = lines
        .iter()
        .map(|line| line["trigger"].as_str().unwrap())
        .collect();
    for trigger in [
        "public.child.agent_sync_insert",
        "public.grandchild.agent_sync_update",
    ] {
        assert!(triggers.contains(&trigger), "{triggers:?}");
    }
    for name in ["once", "twice"] {
        platform
            .run(&format!("UPDATE agents SET name = '{name}'"))
            .await;
        platform
            .holds(&format!(
                "SELECT count(*) = 3 FROM agent_configurations WHERE agent_name = '{name}'"
            ))
            .await;
    }
    let doctor = platform.says(&["doctor", "--json"]).await;
    assert!(
        doctor.code == 2
            && doctor
                .out
                .contains("saves in this partition or child are not noticed"),
        "{doctor:?}"
    );
    assert_eq!(
        daemon.lines("saves in a partition or child table").len(),
        4,
        "each is told once"
    );
}

/// A second period with disabled triggers is repaired while the fault of the first persists.
#[tokio::test]
async fn g14_triggers_disabled_twice_are_made_good_during_a_fault() {
    let (platform, daemon) = watched().await;
    for name in ["first", "second", "third"] {
        platform
            .run(&format!(
                "ALTER TABLE agents DISABLE TRIGGER ALL; UPDATE agents SET name = '{name}'; ALTER \
                TABLE agents ENABLE TRIGGER ALL"
            ))
            .await;
        platform
            .holds(&format!(
                "SELECT agent_name = '{name}' IS TRUE FROM agent_configurations"
            ))
            .await;
    }
    assert!(daemon.lines("capture broken").is_empty());
}

#[tokio::test]
async fn the_seal_is_left_alone_by_what_the_server_does_by_itself() {
    let (platform, daemon) = watched().await;
    platform
        .holds("SELECT uncaptured_seen >= 0 AND seal LIKE 'md5 %' FROM agent_sync.install")
        .await;
    for quiet in [
        "VACUUM agents",
        "VACUUM (FREEZE, ANALYZE) agents",
        "VACUUM (FREEZE) pg_class",
        "VACUUM agent_sync.outbox",
        "ANALYZE agents",
        "CREATE INDEX named ON agents (name)",
        "REINDEX TABLE agents",
        "CREATE INDEX CONCURRENTLY later ON agent_configurations (agent_name)",
        "DROP INDEX later",
        "UPDATE agents SET name = 'saved'",
    ] {
        platform.run(quiet).await;
    }
    swept(&platform).await;
    platform.install();
    swept(&platform).await;
    assert!(
        daemon.lines("the tables, their triggers").is_empty(),
        "nothing of this hides a change"
    );
}

#[tokio::test]
async fn g1_a_column_that_came_after_the_install_is_reported() {
    let platform = Platform::new().await;
    platform
        .run("ALTER TABLE agents DROP COLUMN agent_image")
        .await;
    platform.install();
    platform.save("a", "{}").await;
    platform.configure("a").await;
    platform
        .run("ALTER TABLE agents ADD COLUMN agent_image text")
        .await;
    let daemon = platform.brisk_daemon();
    let line = daemon.logged("capture broken").await;
    assert!(
        line["fault"]
            .as_str()
            .unwrap()
            .contains("blind to the column agent_image"),
        "{line}"
    );
    platform
        .run("UPDATE agents SET agent_image = 'new.png'")
        .await;
    platform.install();
    platform
        .holds("SELECT agent_image = 'new.png' IS TRUE FROM agent_configurations")
        .await;
}

#[tokio::test]
async fn sigkill_at_any_point_loses_nothing() {
    let platform = Platform::installed().await;
    platform
        .run(
            "INSERT INTO agents (slug, name) SELECT 'agent-' || i, 'start'
                  FROM generate_series(1, 300) i;
              INSERT INTO agent_configurations (agent_slug) SELECT slug FROM agents",
        )
        .await;
    let writer = platform.connect().await;
    for round in 0..60_u64 {
        let mut daemon = platform.daemon();
        let save = format!(
            "UPDATE agents SET name = 'round {round}' WHERE slug LIKE '%{}'",
            round % 10
        );
        writer.batch_execute(&save).await.unwrap();
        // From before its connect until long after the catch-up, in steps of 2 ms.
        tokio::time::sleep(std::time::Duration::from_millis(2 * round)).await;
        daemon.signal("KILL");
        daemon.ended().await;
    }
    let _daemon = platform.caught_up_daemon().await;
    platform
        .holds(
            "SELECT NOT EXISTS (SELECT FROM agents a JOIN agent_configurations c
                  ON c.agent_slug = a.slug
                WHERE a.name IS DISTINCT FROM c.agent_name)",
        )
        .await;
    platform.drained().await;
    assert_eq!(platform.problems().await, 0);
}

/// A crash of the server is not reported as missed saves.
#[tokio::test]
async fn a_server_crash_is_not_told_as_missed_saves() {
    let (own, platform) = Platform::on_own_server("").await;
    platform.save("a", "{}").await;
    platform.configure("a").await;
    let daemon = platform.brisk_daemon();
    daemon.logged("caught up").await;
    platform
        .holds("SELECT uncaptured_seen >= 0 FROM agent_sync.install")
        .await;
    let before: i64 = platform
        .value("SELECT last_value FROM agent_sync.uncaptured")
        .await;
    // A synchronous commit flushes the daemon's commits; a checkpoint would end the counter's
    // reserved range.
    platform.run("SET synchronous_commit = on").await;
    platform.run("CREATE TABLE flushed ()").await;
    own.control(&["-m", "immediate", "stop"]).unwrap();
    own.control(&["start"]).unwrap();
    let (client, _) = crate::support::platform::connect(&platform.url).await;
    let sql = "SELECT last_value FROM agent_sync.uncaptured";
    let after: i64 = client.query_one(sql, &[]).await.unwrap().get(0);
    assert!(
        after > before,
        "the log of the sequence ran ahead: {before}, {after}"
    );
    daemon.logged("the server may have crashed").await;
    assert!(
        daemon
            .lines("changes were saved that could not be captured")
            .is_empty()
    );
    // Saves counted from now on are reported as such.
    client
        .batch_execute("BEGIN; LOCK TABLE agent_sync.outbox")
        .await
        .unwrap();
    let (saver, _) = crate::support::platform::connect(&platform.url).await;
    saver
        .batch_execute("UPDATE agents SET name = 'counted'")
        .await
        .unwrap();
    client.batch_execute("ROLLBACK").await.unwrap();
    let line = daemon
        .logged("changes were saved that could not be captured")
        .await;
    assert_eq!(line["saves"], json!(1));
}

#[tokio::test]
async fn a_retry_that_a_clock_set_back_has_put_far_off_is_due() {
    let (platform, _daemon) = watched().await;
    platform
        .run("ALTER TABLE agent_configurations ADD CONSTRAINT short CHECK (length(agent_name) < 9)")
        .await;
    platform
        .run("UPDATE agents SET name = 'far too long'")
        .await;
    platform
        .holds("SELECT count(*) = 1 FROM agent_sync.problem WHERE kind = 'failed'")
        .await;
    platform
        .run("ALTER TABLE agent_configurations DROP CONSTRAINT short")
        .await;
    platform
        .run("UPDATE agent_sync.problem SET next_attempt = now() + interval '3 hours'")
        .await;
    platform
        .holds("SELECT agent_name = 'far too long' IS TRUE FROM agent_configurations")
        .await;
}

/// A reset sequence returns its first number again, and `last_value` does not change.
#[tokio::test]
async fn g1_a_save_counted_after_a_reset_is_made_good() {
    for set_back in [
        "SELECT setval('agent_sync.uncaptured', 1, false)",
        "ALTER SEQUENCE agent_sync.uncaptured RESTART",
    ] {
        let (platform, daemon) = watched().await;
        platform.run(set_back).await;
        platform
            .holds("SELECT uncaptured_seen < -1 FROM agent_sync.install")
            .await;
        platform.drained().await;
        let other = platform.connect().await;
        other
            .batch_execute("BEGIN; LOCK TABLE agent_sync.outbox IN SHARE MODE")
            .await
            .unwrap();
        platform.save("a", EXAMPLE).await;
        other.batch_execute("COMMIT").await.unwrap();
        platform.becomes("a", EXPECTED).await;
        drop(daemon);
    }
}
