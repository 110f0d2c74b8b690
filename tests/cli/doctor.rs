//! `doctor`: it reports everything at once, and the round trip proves the daemon without a trace.

use serde_json::Value;

use crate::support::platform::{EXAMPLE, MISSED, connect};
use crate::support::{Daemon, Platform, Said, eventually};

async fn doctor(platform: &Platform) -> (i32, Value) {
    let said = platform.says(&["doctor", "--json"]).await;
    (said.code, said.object())
}

fn check<'a>(object: &'a Value, topic: &str) -> &'a Value {
    let mut checks = object["checks"].as_array().unwrap().iter();
    checks
        .find(|check| check["topic"] == topic)
        .unwrap_or_else(|| panic!("{topic} in {object}"))
}

/// Waits until neither the outbox nor the problems contain a slug of the round trip.
async fn no_trace(platform: &Platform) {
    platform
        .holds(
            "SELECT NOT EXISTS (SELECT FROM agent_sync.outbox WHERE slug LIKE 'agent-sync doctor%')
                AND NOT EXISTS (SELECT FROM agent_sync.problem
                  WHERE slug LIKE 'agent-sync doctor%')",
        )
        .await;
}

/// A healthy database with a daemon in an ordinary role passes every check.
#[tokio::test]
async fn a_healthy_database_passes_every_check() {
    let platform = Platform::new().await;
    let role = format!("doctor_{}", platform.name());
    assert_eq!(platform.says(&["install", "--role", &role]).await.code, 0);
    platform.save("a", EXAMPLE).await;
    platform.configure("a").await;
    let as_role = |arguments: &[&str]| {
        let mut command = platform.command(arguments);
        command.env("DATABASE_URL", platform.url_as(&role));
        command.env("AGENT_SYNC__SYNC__SWEEP_INTERVAL", "1s");
        command
    };
    let daemon = crate::support::Daemon::start(as_role(&["run"]));
    daemon.logged("caught up").await;
    // Transactions of other tests may delay the daemon's full check.
    platform
        .holds("SELECT uncaptured_seen >= 0 FROM agent_sync.install")
        .await;
    platform.drained().await;
    let said = Said::of(as_role(&["doctor"])).await.fits();
    assert_eq!(said.code, 0, "{said:?}");
    assert!(
        said.out
            .ends_with("passed, 0 warnings, 0 faults, 2 skipped\n"),
        "{}",
        said.out
    );
    for topic in [
        "connection",
        "server",
        "tables",
        "index",
        "install",
        "privileges",
        "capture",
        "missed",
        "row security",
        "two-phase",
        "history",
        "daemon",
        "outbox",
        "agents",
        "clock",
        "notifications",
        "time-outs",
        "vacuum",
        "writers",
        "dead rows",
        "publication",
        "unmatched",
        "round trip",
    ] {
        // The transactions of others are hidden from the role of a daemon.
        let level = match topic {
            "vacuum" | "writers" => "skip",
            _ => "pass",
        };
        assert!(
            said.out.contains(&format!("  {level}  {topic:<13} ")),
            "{topic} in:\n{}",
            said.out
        );
    }
    no_trace(&platform).await;
    assert!(
        daemon.log().iter().all(|line| line["level"] != "WARN"),
        "a canary is nothing to warn of"
    );
}

#[tokio::test]
async fn the_round_trip_waits_for_a_daemon_that_polls() {
    let platform = Platform::installed().await;
    let polls = |arguments: &[&str]| {
        let mut command = platform.command(arguments);
        // Longer than the limit for a daemon with wake-ups; the interval starts when the daemon has
        // caught up.
        command
            .env("AGENT_SYNC__CAPTURE__NOTIFY", "false")
            .env("AGENT_SYNC__SYNC__POLL_INTERVAL", "12s");
        command
    };
    let daemon = crate::support::Daemon::start(polls(&["run"]));
    daemon.logged("caught up").await;
    let said = Said::of(polls(&["doctor", "--json"])).await;
    let object = said.object();
    assert_eq!(check(&object, "round trip")["level"], "pass", "{object}");
    no_trace(&platform).await;
}

/// The round trip works with a sleeping and with an awake daemon and leaves no trace.
#[tokio::test]
async fn the_round_trip_works_asleep_or_awake_without_a_trace() {
    let platform = Platform::installed().await;
    platform.save("a", EXAMPLE).await;
    let _daemon = platform.caught_up_daemon().await;
    for awake in [false, true] {
        let writer = platform.connect().await;
        if awake {
            // An open writer keeps the daemon from sleeping, and the round trip must not depend on
            // a wake-up.
            writer
                .batch_execute("BEGIN; UPDATE agents SET name = 'x'")
                .await
                .unwrap();
        }
        if !awake {
            eventually("the daemon sleeps", async || {
                platform.says(&["status", "--json"]).await.object()["leader"]["sleeps"] == true
            })
            .await;
        }
        let (code, object) = doctor(&platform).await;
        assert_eq!(code, 0, "{object}");
        let text = check(&object, "round trip")["text"].as_str().unwrap();
        // The sweep interval is an hour, so only a wake-up or an awake daemon can process it.
        assert!(
            text.starts_with("outbox, wake-up and daemon took ") && text.contains(" ms "),
            "{awake}: {text}"
        );
        no_trace(&platform).await;
    }
}

#[tokio::test]
async fn the_round_trip_is_not_tried_where_no_daemon_leads() {
    let platform = Platform::installed().await;
    let (code, object) = doctor(&platform).await;
    assert_eq!(code, 0, "no daemon is a warning: {object}");
    let note = check(&object, "round trip");
    assert_eq!(
        (note["level"].as_str(), note["text"].as_str()),
        (
            Some("warn"),
            Some("not tried, because no daemon leads here")
        )
    );
    assert_eq!(
        check(&object, "daemon")["remedy"],
        "Start the daemon (`agent-sync run`)."
    );
    assert_eq!(platform.outbox().await, Vec::<String>::new());
}

/// GIVEN changes that have been pending for a minute, and no daemon that leads, THEN `doctor` and
/// `status` fail, and the state is `no daemon`; before the minute is over, and during a pause, they
/// do not.
#[tokio::test]
async fn g14_changes_that_wait_for_no_daemon_are_a_fault() {
    let platform = Platform::installed().await;
    platform.save("a", EXAMPLE).await;
    let exits = async || {
        let (code, object) = doctor(&platform).await;
        let status = platform.says(&["status", "--json"]).await;
        let state = status.object()["state"].clone();
        let level = check(&object, "outbox")["level"].clone();
        (code, status.code, level, state)
    };
    let aged = |age: &str| format!("UPDATE agent_sync.outbox SET at = now() - interval '{age}'");
    platform.run(&aged("50 s")).await;
    let young = exits().await;
    assert_eq!(young, (0, 0, "pass".into(), "no daemon".into()));
    platform.run(&aged("61 s")).await;
    let overdue = exits().await;
    assert_eq!(overdue, (2, 2, "fail".into(), "no daemon".into()));
    let said = platform.says(&["doctor"]).await.fits();
    assert!(
        said.out.contains("FAIL  outbox") && said.out.contains("and no daemon leads"),
        "{said:?}"
    );
    assert_eq!(platform.says(&["pause"]).await.code, 0);
    let paused = exits().await;
    assert_eq!(paused, (0, 0, "pass".into(), "paused".into()));
}

/// The round trip finds a hung daemon and deletes its slug.
#[tokio::test]
async fn the_round_trip_finds_a_hanging_daemon() {
    let platform = Platform::installed().await;
    let daemon = platform.caught_up_daemon().await;
    daemon.signal("STOP");
    let (code, object) = doctor(&platform).await;
    assert_eq!(code, 2, "{object}");
    let note = check(&object, "round trip");
    assert_eq!(note["level"], "fail");
    assert!(
        note["text"]
            .as_str()
            .unwrap()
            .contains("has not processed the slug in the outbox within 5s"),
        "{note}"
    );
    assert_eq!(platform.outbox().await, Vec::<String>::new());
    // The remedy works: another daemon takes over after the first one has ended.
    let other = platform.daemon();
    other.logged("another daemon leads").await;
    drop(daemon);
    other.logged("caught up").await;
    let (code, object) = doctor(&platform).await;
    assert_eq!(
        (code, check(&object, "round trip")["level"].as_str()),
        (0, Some("pass")),
        "{object}"
    );
}

#[tokio::test]
async fn everything_is_told_though_much_is_broken() {
    let platform = Platform::installed().await;
    let role = format!("much_{}", platform.name());
    platform
        .run(&format!(
            "CREATE ROLE {role} LOGIN; GRANT USAGE ON SCHEMA agent_sync TO {role};
             ALTER TABLE agents ENABLE ROW LEVEL SECURITY; DROP INDEX
               agent_configurations_agent_slug_idx;
             ALTER TABLE agent_sync.outbox SET (autovacuum_enabled = false); DROP TABLE
               agent_sync.problem CASCADE"
        ))
        .await;
    let mut command = platform.command(&["doctor"]);
    command.env("DATABASE_URL", platform.url_as(&role));
    let said = Said::of(command).await.fits();
    assert_eq!(said.code, 2, "{said:?}");
    for line in [
        "  FAIL  install       parts of the install are gone: agent_sync.problem",
        "  FAIL  privileges    the role ",
        "  warn  index         no index begins with agent_slug",
        "  FAIL  row security  row-level security of public.agents",
        "  warn  daemon        no daemon leads here",
        "  warn  dead rows     autovacuum is off",
        "  warn  round trip    not tried, because of the faults above",
        "GRANT ",
    ] {
        assert!(said.out.contains(line), "{line} in:\n{}", said.out);
    }
}

/// A row filter or a column list that PostgreSQL refuses updates for is found, as PostgreSQL does.
#[tokio::test]
async fn g10_a_publication_with_an_unfit_filter_or_list_is_named() {
    let platform = Platform::installed().await;
    if platform
        .value::<bool>("SELECT current_setting('server_version_num')::int < 150000")
        .await
    {
        return; // PostgreSQL 14 publishes whole tables.
    }
    platform.save("a", EXAMPLE).await;
    platform.configure("a").await;
    let daemon = platform.brisk_daemon();
    daemon.logged("caught up").await;
    for (part, fits) in [
        ("(id, agent_slug)", true),
        ("(agent_slug)", false),
        ("WHERE (id IS NOT NULL)", true),
        ("WHERE (agent_slug <> 'x')", false),
        ("(id) WHERE (agent_slug <> 'x')", false),
    ] {
        platform
            .run(&format!(
                "DROP PUBLICATION IF EXISTS part;
                 CREATE PUBLICATION part FOR TABLE agent_configurations {part}"
            ))
            .await;
        let refused = platform
            .client
            .execute(
                "UPDATE agent_configurations SET agent_name = agent_name",
                &[],
            )
            .await;
        assert_eq!(refused.is_ok(), fits, "{part}: {refused:?}");
        let (_, object) = doctor(&platform).await;
        let check = check(&object, "publication");
        let level = if fits { "pass" } else { "fail" };
        assert_eq!(check["level"], level, "{part}: {object}");
        if !fits {
            let remedy = check["remedy"].as_str().unwrap();
            let (sql, _) = remedy.split_once(';').unwrap();
            platform.run(sql).await;
            platform.save("a", EXAMPLE).await;
            platform.drained().await;
        }
    }
}

/// GIVEN a table with partitions and no replica identity, WHEN it is published in each way, THEN the
/// look at the publications names it where PostgreSQL refuses an update, and nowhere else.
#[tokio::test]
async fn g10_a_publication_is_found_as_postgresql_refuses_updates() {
    let platform = Platform::installed().await;
    platform
        .run(
            "CREATE SCHEMA above; CREATE SCHEMA below; CREATE SCHEMA beside;
             CREATE TABLE above.t (a int) PARTITION BY LIST (a);
             CREATE TABLE below.t (a int) PARTITION BY LIST (a);
             CREATE TABLE below.leaf PARTITION OF below.t FOR VALUES IN (1);
             ALTER TABLE above.t ATTACH PARTITION below.t FOR VALUES IN (1);
             CREATE TABLE beside.t (a int); INSERT INTO above.t VALUES (1)",
        )
        .await;
    let has_schemas: bool = platform
        .value("SELECT current_setting('server_version_num')::int >= 150000")
        .await;
    for (what, is_refused) in [
        ("FOR TABLE below.leaf", true),
        ("FOR TABLE below.t", true),
        ("FOR TABLE above.t", true),
        (
            "FOR TABLE above.t WITH (publish_via_partition_root = true)",
            true,
        ),
        ("FOR TABLE above.t WITH (publish = 'insert, delete')", false),
        ("FOR TABLE beside.t", false),
        ("FOR TABLES IN SCHEMA below", true),
        ("FOR TABLES IN SCHEMA above", true),
        ("FOR TABLES IN SCHEMA beside", false),
        ("FOR ALL TABLES", true),
        ("FOR ALL TABLES WITH (publish = 'insert')", false),
        ("", false),
    ] {
        if what.contains("SCHEMA") && !has_schemas {
            continue; // They exist since PostgreSQL 15.
        }
        platform
            .run(&format!("CREATE PUBLICATION way {what}"))
            .await;
        let updated = platform.client.execute("UPDATE above.t SET a = a", &[]);
        assert_eq!(updated.await.is_err(), is_refused, "{what}");
        let look = agent_sync::store::queries::unpublishable();
        for table in [r#""above"."t""#, r#""below"."t""#, r#""below"."leaf""#] {
            let found = platform.client.query(&look, &[&table]).await.unwrap();
            let found: Vec<(String, bool)> =
                found.iter().map(|row| (row.get(0), row.get(1))).collect();
            let expected = is_refused.then(|| ("below.leaf".to_owned(), false));
            assert_eq!(found, Vec::from_iter(expected), "{what}: {table}");
        }
        platform.run("DROP PUBLICATION way").await;
    }
}

/// A publication that blocks the daemon is found, and its remedy works.
#[tokio::test]
async fn a_harmful_publication_is_found_and_its_remedy_works() {
    let platform = Platform::installed().await;
    platform.save("a", EXAMPLE).await;
    platform.configure("a").await;
    platform
        .run(
            "ALTER TABLE agent_sync.outbox REPLICA IDENTITY DEFAULT; ALTER TABLE
                  agent_configurations REPLICA IDENTITY NOTHING;
             CREATE PUBLICATION everything FOR ALL TABLES",
        )
        .await;
    let (code, object) = doctor(&platform).await;
    assert_eq!(code, 2, "{object}");
    let faults = object["checks"].as_array().unwrap().iter();
    let faults = faults.filter(|check| check["topic"] == "publication" && check["level"] == "fail");
    let remedies: Vec<_> = faults
        .map(|fault| fault["remedy"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(remedies.len(), 2, "{object}");
    // The daemon reports it before the first write (G14) and continues after the remedies.
    let daemon = platform.brisk_daemon();
    let line = daemon.outage().await;
    assert!(
        line["cause"]
            .as_str()
            .unwrap()
            .contains("is published without a replica identity"),
        "{line}"
    );
    assert_eq!(platform.says(&["status"]).await.code, 2);
    for remedy in remedies {
        platform
            .run(remedy.split_once("or: ").map_or(&*remedy, |(_, sql)| sql))
            .await;
    }
    platform.drained().await;
    let (code, object) = doctor(&platform).await;
    assert_eq!(
        (code, check(&object, "publication")["level"].as_str()),
        (0, Some("pass")),
        "{object}"
    );
    let warned = object["checks"].as_array().unwrap().iter().any(|check| {
        check["level"] == "warn"
            && check["text"]
                .as_str()
                .unwrap()
                .contains("a subscriber that lacks them stops: everything")
    });
    assert!(warned, "{object}");
}

#[tokio::test]
async fn a_transaction_that_stays_open_is_named() {
    let platform = Platform::installed().await;
    platform.save("a", EXAMPLE).await;
    let writer = platform.connect().await;
    writer
        .batch_execute(
            "SET application_name = 'long migration'; BEGIN; UPDATE agents SET name = 'x'",
        )
        .await
        .unwrap();
    // The age limit depends on the server's clock; here only the right transaction has to be found.
    let row = platform
        .client
        .query_one(agent_sync::store::report::UPKEEP, &[])
        .await
        .unwrap();
    let (age, who): (Option<f64>, Option<String>) = (row.get(5), row.get(6));
    assert!(age.unwrap() >= 0.0 && who.unwrap().contains("long migration"));
}

/// GIVEN a long transaction, WHEN it is in another database or hidden from the role, THEN `doctor`
/// does not name it, and reports the hidden part as unknown.
#[tokio::test]
async fn doctor_blames_nobody_elsewhere_and_says_what_it_is_not_shown() {
    let (platform, elsewhere) = (Platform::installed().await, Platform::installed().await);
    let away = elsewhere.connect().await;
    away.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM agents")
        .await
        .unwrap();
    let row = platform
        .client
        .query_one(agent_sync::store::report::UPKEEP, &[])
        .await
        .unwrap();
    assert_eq!(
        row.get::<_, Option<String>>(4),
        None,
        "it is in another database"
    );
    let role = format!("doctor_{}", platform.name());
    assert_eq!(platform.says(&["install", "--role", &role]).await.code, 0);
    let mut command = platform.command(&["doctor"]);
    command.env("DATABASE_URL", platform.url_as(&role));
    let said = Said::of(command).await.fits();
    for topic in ["vacuum ", "writers"] {
        assert!(
            said.out
                .contains(&format!("  skip  {topic}       not checked")),
            "{}",
            said.out
        );
    }
}

/// Doctor exits with 69 and a reason without a connection.
#[tokio::test]
async fn i2_doctor_exits_with_69_without_a_connection() {
    let platform = Platform::installed().await;
    let mut command = platform.command(&["doctor"]);
    command.env("DATABASE_URL", "postgres://nobody:hunter2@127.0.0.1:1/none");
    let said = Said::of(command).await.fits();
    assert_eq!(said.code, 69);
    assert!(
        said.out.contains("FAIL  connection") && said.out.contains("try: "),
        "{}",
        said.out
    );
    assert!(!said.out.contains("hunter2"), "{}", said.out);
    let mut command = platform.command(&["status"]);
    command.env("DATABASE_URL", "postgres://nobody:hunter2@127.0.0.1:1/none");
    let status = Said::of(command).await.fits();
    for out in [&said.out, &status.out] {
        let place = "user nobody at 127.0.0.1:1, database none: error connecting to server";
        let out = out.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(out.contains(place), "{out}");
    }
}

#[tokio::test]
async fn a_round_trip_leaves_no_problem_where_agents_may_be_hidden() {
    let platform = Platform::installed().await;
    let role = format!("seer_{}", platform.name());
    let said = platform.says(&["install", "--role", &role]).await;
    assert_eq!(said.code, 0, "{said:?}");
    platform
        .run(&format!(
            "ALTER TABLE agents ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON agents TO {role} \
            USING (name IS NOT NULL)"
        ))
        .await;
    let mut command = platform.command(&["run"]);
    command.env("DATABASE_URL", platform.url_as(&role));
    let daemon = Daemon::start(command);
    daemon.logged("caught up").await;
    let said = platform.says_as(&role, &["doctor", "--json"]).await;
    assert!(
        said.out.contains("outbox, wake-up and daemon took"),
        "{said:?}"
    );
    assert_eq!(platform.problems().await, 0);
}

/// A session that has locked the row of the install is named, and the remedy ends it.
#[tokio::test]
async fn a_locked_row_of_the_install_is_named() {
    let platform = Platform::installed().await;
    let holder = platform.connect().await;
    let lock = "BEGIN; SELECT FROM agent_sync.install FOR UPDATE";
    holder.batch_execute(lock).await.unwrap();
    let pid = holder.query_one("SELECT pg_backend_pid()", &[]).await;
    let pid: i32 = pid.unwrap().get(0);
    let (_, object) = doctor(&platform).await;
    let locked = check(&object, "missed");
    assert_eq!(locked["level"], "warn", "{object}");
    let text = locked["text"].as_str().unwrap();
    assert!(text.contains(&format!("process {pid}")), "{text}");
    let said = platform.says(&["status"]).await;
    assert!(said.out.contains(&format!("process {pid}")), "{said:?}");
    let end = format!("SELECT pg_terminate_backend({pid})");
    assert!(locked["remedy"].as_str().unwrap().contains(&end));
    platform.run(&end).await;
    eventually("the lock is gone", async || {
        let (_, object) = doctor(&platform).await;
        check(&object, "missed")["text"] != text
    })
    .await;
}

/// GIVEN a session that has locked the row of the install, and a daemon that waits for it, WHEN the
/// role of the daemon asks, from which the age of the other session is hidden, THEN the daemon is
/// not named: neither while it waits, nor once it has the lock.
#[tokio::test]
async fn a_daemon_that_waits_for_the_install_is_not_named() {
    let platform = Platform::new().await;
    let role = format!("waits_{}", platform.name());
    assert_eq!(platform.says(&["install", "--role", &role]).await.code, 0);
    let missed = async || {
        let said = platform.says_as(&role, &["doctor", "--json"]).await;
        check(&said.object(), "missed")["text"].to_string()
    };
    let lock = "BEGIN; SELECT FROM agent_sync.install FOR UPDATE";
    let holder = platform.connect().await;
    holder.batch_execute(lock).await.unwrap();
    let pid = holder.query_one("SELECT pg_backend_pid()", &[]).await;
    let pid: i32 = pid.unwrap().get(0);
    // As the daemon does, but for longer, and as another session of it.
    let (daemon, _) = connect(&platform.url_as(&role)).await;
    let (audit, _) = connect(&platform.url_as(&role)).await;
    let lead = "SELECT pg_advisory_lock(1634169721, 1)";
    daemon.batch_execute(lead).await.unwrap();
    let write = "BEGIN; UPDATE agent_sync.install SET last_sync = now()";
    let waiting = async |number: i64| {
        let sql = "SELECT count(*) = {} FROM pg_stat_activity WHERE wait_event_type = 'Lock'
            AND datname = current_database()";
        platform
            .holds(&sql.replace("{}", &number.to_string()))
            .await;
    };
    let first = async {
        daemon.batch_execute(write).await.unwrap();
        let text = missed().await;
        assert!(
            text.contains("has locked the row") && !text.contains("process"),
            "{text}"
        );
        daemon.batch_execute("ROLLBACK").await.unwrap();
    };
    let second = async {
        waiting(1).await;
        audit.batch_execute(write).await.unwrap();
    };
    let looking = async {
        waiting(2).await;
        let text = missed().await;
        assert!(text.contains(&format!("process {pid}")), "{text}");
        holder.batch_execute("ROLLBACK").await.unwrap();
    };
    tokio::join!(first, second, looking);
}

/// An outbox that keeps the room of an earlier backlog is named, and the remedy frees it.
#[tokio::test]
async fn an_outbox_with_the_room_of_a_backlog_is_named() {
    let platform = Platform::installed().await;
    // The last row keeps vacuum from giving the room back by itself.
    platform
        .run(
            "ALTER TABLE agent_sync.outbox SET (autovacuum_enabled = false);
             INSERT INTO agent_sync.outbox (slug) SELECT repeat('s', 1900) || i
               FROM generate_series(1, 20000) i;
             DELETE FROM agent_sync.outbox WHERE slug NOT LIKE '%20000'",
        )
        .await;
    platform.run("VACUUM agent_sync.outbox").await;
    platform
        .run("ALTER TABLE agent_sync.outbox RESET (autovacuum_enabled)")
        .await;
    let room = async || {
        let (_, object) = doctor(&platform).await;
        check(&object, "dead rows").clone()
    };
    eventually("the room is named", async || {
        let text = room().await["text"].to_string();
        text.contains("the free space of an earlier backlog")
    })
    .await;
    let remedy = room().await["remedy"].as_str().unwrap().to_owned();
    platform.run("DELETE FROM agent_sync.outbox").await;
    let (_, sql) = remedy.split_once(": ").unwrap();
    platform.run(sql.split_once(';').unwrap().0).await;
    assert_eq!(room().await["level"], "pass");
}

/// Large objects of lost saves are counted; the uninstall refuses more than it can remove in one
/// transaction, and the remedy of both removes them in portions.
#[tokio::test]
async fn large_objects_of_lost_saves_are_counted_and_removed() {
    let platform = Platform::installed().await;
    platform
        .run(
            "DO $$ DECLARE o oid; BEGIN FOR i IN 1 .. 2001 LOOP
                 o := lo_create(0);
                 EXECUTE format('COMMENT ON LARGE OBJECT %s IS %L', o,
                   'agent_sync: a save could be neither noted nor counted');
                 IF i % 200 = 0 THEN COMMIT; END IF;
             END LOOP; END $$",
        )
        .await;
    let (_, object) = doctor(&platform).await;
    let remain = check(&object, "large objects");
    assert_eq!(remain["level"], "warn", "{object}");
    assert!(
        remain["text"]
            .as_str()
            .unwrap()
            .starts_with("2,001 of saves"),
        "{remain}"
    );
    let refused = platform.says(&["uninstall", "--yes"]).await;
    assert_ne!(refused.code, 0, "{refused:?}");
    let (_, remove) = remain["remedy"].as_str().unwrap().split_once(": ").unwrap();
    assert!(
        refused.err.contains("more than 2000 large objects"),
        "{refused:?}"
    );
    assert!(
        refused.err.contains(remove.trim_end_matches(';')),
        "{refused:?}"
    );
    while platform.value::<i64>(remove.trim_end_matches(';')).await > 0 {}
    assert_eq!(platform.says(&["uninstall", "--yes"]).await.code, 0);
}

/// GIVEN a trigger that was off for a while, or tables that were swapped, between two sweeps of a
/// daemon, THEN `doctor` and `status` warn that changes may have been missed, until a daemon has
/// checked every agent.
#[tokio::test]
async fn g14_doctor_and_status_tell_what_may_have_been_missed() {
    let platform = Platform::installed().await;
    platform.save("reception", EXAMPLE).await;
    platform.configure("reception").await;
    for missed in [
        MISSED,
        "BEGIN; ALTER TABLE agents RENAME TO others; UPDATE others SET name = 'missed again';
         ALTER TABLE others RENAME TO agents; TRUNCATE agent_sync.outbox; COMMIT",
    ] {
        let daemon = platform.caught_up_daemon().await;
        platform.drained().await;
        let (_, object) = doctor(&platform).await;
        assert_eq!(check(&object, "missed")["level"], "pass", "{object}");
        platform.run(missed).await;
        let (_, object) = doctor(&platform).await;
        let told = check(&object, "missed");
        assert_eq!(told["level"], "warn", "{missed}: {object}");
        let text = told["text"].as_str().unwrap();
        assert!(text.contains("changes may have been missed"), "{text}");
        let status = platform.says(&["status", "--json"]).await.object();
        assert_eq!(status["synced"], Value::Null, "{status}");
        let trouble = status["trouble"].as_array().unwrap();
        assert!(trouble.iter().any(|note| note == told), "{status}");
        drop(daemon);
    }
    let _daemon = platform.caught_up_daemon().await;
    platform
        .holds("SELECT agent_name = 'missed again' FROM agent_configurations")
        .await;
    let (_, object) = doctor(&platform).await;
    assert_eq!(check(&object, "missed")["level"], "pass", "{object}");
}

/// GIVEN a daemon whose role may not ask for the identity of the server, THEN a command of a role
/// that may does not take its seal for another one.
#[tokio::test]
async fn g14_the_seal_of_another_role_is_no_warning() {
    let platform = Platform::new().await;
    let role = format!("doctor_{}", platform.name());
    assert_eq!(platform.says(&["install", "--role", &role]).await.code, 0);
    platform
        .run("REVOKE EXECUTE ON FUNCTION pg_catalog.pg_control_system() FROM PUBLIC")
        .await;
    let mut command = platform.command(&["run"]);
    command.env("DATABASE_URL", platform.url_as(&role));
    let daemon = Daemon::start(command);
    daemon.logged("caught up").await;
    platform
        .holds("SELECT uncaptured_seen >= 0 AND seal LIKE 'md5 %' FROM agent_sync.install")
        .await;
    let (_, object) = doctor(&platform).await;
    assert_eq!(check(&object, "missed")["level"], "pass", "{object}");
}

/// GIVEN a role that may do no more than connect, and holds a lock behind which another one waits,
/// THEN `status` and `doctor` name both sessions, and advise no restart.
#[tokio::test]
async fn g16_the_sessions_behind_a_lock_on_a_table_are_named() {
    let platform = Platform::installed().await;
    let stranger = format!("stranger_{}", platform.name());
    platform
        .run(&format!(
            "CREATE ROLE {stranger} LOGIN; GRANT USAGE, CREATE ON SCHEMA public TO \
            {stranger}; GRANT UPDATE ON agent_configurations TO {stranger}"
        ))
        .await;
    let _daemon = platform.caught_up_daemon().await;
    let (_, object) = doctor(&platform).await;
    assert_eq!(check(&object, "locks")["level"], "pass", "{object}");

    let (holder, _) = connect(&platform.url_as(&stranger)).await;
    holder
        .batch_execute("BEGIN; PREPARE x AS UPDATE public.agent_configurations SET agent_slug = ''")
        .await
        .unwrap();
    let (waiter, _) = connect(&platform.url_as(&stranger)).await;
    let mut pids = Vec::new();
    for client in [&holder, &waiter] {
        let row = client.query_one("SELECT pg_backend_pid()", &[]).await;
        pids.push(row.unwrap().get::<_, i32>(0));
    }
    let waits = tokio::spawn(async move {
        let made = "CREATE TABLE public.z (k int REFERENCES public.agent_configurations (id))";
        waiter.batch_execute(made).await
    });
    let waiting = "SELECT count(*) > 0 FROM pg_locks l WHERE NOT l.granted
        AND l.mode = 'ShareRowExclusiveLock' AND l.waitstart < now() - interval '5 seconds'
        AND l.relation = 'public.agent_configurations'::regclass";
    platform.holds(waiting).await;
    platform.save("a", EXAMPLE).await;
    let (_, object) = doctor(&platform).await;
    let (lock, trip) = (check(&object, "locks"), check(&object, "round trip"));
    assert!(
        trip["text"].as_str().unwrap().contains("not tried"),
        "{object}"
    );
    let remedy = lock["remedy"].as_str().unwrap();
    for pid in &pids {
        let ends = format!("SELECT pg_terminate_backend({pid});");
        assert!(remedy.contains(&ends), "{object}");
    }
    let said = platform.says(&["status"]).await;
    let who = format!("process {} that holds RowExclusiveLock", pids[0]);
    let shown = said.out.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(shown.contains(&who), "{said:?}");
    // The role of the daemon may not know how old a transaction of another role is.
    platform
        .run(&format!("SELECT pg_terminate_backend({})", pids[1]))
        .await;
    holder
        .batch_execute("LOCK TABLE public.agent_configurations IN EXCLUSIVE MODE")
        .await
        .unwrap();
    platform.save("a", "{}").await;
    let waiting =
        "SELECT min(at) < clock_timestamp() - interval '5 seconds' FROM agent_sync.outbox";
    platform.holds(waiting).await;
    let daemon = format!("daemon_{}", platform.name());
    let installed = platform.says(&["install", "--role", &daemon]).await;
    assert_eq!(installed.code, 0, "{installed:?}");
    let mut command = platform.command(&["doctor", "--json"]);
    command.env("DATABASE_URL", platform.url_as(&daemon));
    let said = Said::of(command).await;
    let lock = check(&said.object(), "locks").to_string();
    let who = format!("process {} holds ExclusiveLock", pids[0]);
    assert!(
        lock.contains(&who) && lock.contains("No restart"),
        "{said:?}"
    );
    for pid in pids {
        let end = format!("SELECT pg_terminate_backend({pid})");
        platform.run(&end).await;
    }
    assert!(waits.await.unwrap().is_err());
}
