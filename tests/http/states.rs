//! The state over HTTP for each kind of problem and fault (G6, G7).

use std::net::SocketAddr;

use serde_json::Value;

use crate::support::http::{address, command, get, metric, metric_becomes, serving, status};
use crate::support::platform::{EXAMPLE, EXPECTED, TABLES, connect};
use crate::support::proxy::Proxy;
use crate::support::{Daemon, Platform, cluster, eventually, tcp_cluster};

/// A daemon with the agent `bad`, which is rejected, and `refused`, whose write fails.
async fn in_trouble() -> (Platform, Daemon, SocketAddr) {
    let platform = Platform::installed().await;
    let (daemon, address) = serving(&platform).await;
    platform.configure("bad").await;
    platform.configure("refused").await;
    platform
        .run("ALTER TABLE agent_configurations ADD CHECK (voice_id <> 'never')")
        .await;
    platform.save("bad", r#"{"temperature": 9}"#).await;
    platform
        .save("refused", r#"{"provider":"openai","voice_id":"never"}"#)
        .await;
    (platform, daemon, address)
}

/// The metric of the problems of a kind.
fn series(kind: &str) -> String {
    format!("agent_sync_problems{{database=\"default\",kind=\"{kind}\"}}")
}

/// Each kind of problem is counted and listed, and disappears after its repair.
#[tokio::test]
async fn g6_g7_each_kind_of_problem_is_counted_listed_and_ends() {
    let (platform, _daemon, address) = in_trouble().await;
    platform.save("lonely", EXAMPLE).await;

    let kinds = [
        ("lonely", "missing_configuration"),
        ("bad", "rejected"),
        ("refused", "failed"),
    ];
    for (_, kind) in kinds {
        metric_becomes(address, &series(kind), 1.0).await;
    }
    let database = status(address).await;
    let listed = database["problems"]["listed"].as_array().unwrap();
    for (slug, kind) in kinds {
        assert_eq!(database["problems"][kind], 1);
        let problem = listed
            .iter()
            .find(|problem| problem["slug"] == slug)
            .unwrap();
        let (kept, detail) = platform.problem(slug).await.unwrap();
        assert_eq!(
            (problem["kind"].as_str(), problem["detail"].as_str()),
            (Some(&*kept), Some(&*detail))
        );
        assert_eq!(kept, kind);
        assert!(
            problem["remedy"].as_str().unwrap().len() > 20
                && problem["since"].as_str().unwrap().ends_with('Z')
        );
        let outcome = |change: &&Value| change["slug"] == slug && change["outcome"] == kind;
        assert!(
            database["changes"]
                .as_array()
                .unwrap()
                .iter()
                .any(|change| outcome(&change)),
            "{database}"
        );
    }
    assert_eq!(
        listed
            .iter()
            .find(|problem| problem["slug"] == "refused")
            .unwrap()["sqlstate"],
        "23514"
    );
    for (result, at_least) in [("missing", 1.0), ("rejected", 1.0), ("failed", 1.0)] {
        let series = format!("agent_sync_agents_total{{database=\"default\",result=\"{result}\"}}");
        assert!(
            metric(address, &series).await.unwrap() >= at_least,
            "{result}"
        );
    }
    eventually("the neighbours go on, and nothing waits (G5)", async || {
        get(address, "/readyz").await == (200, "default: ready (ok)\n".to_owned())
    })
    .await;

    platform.configure("lonely").await;
    platform.save("bad", EXAMPLE).await;
    platform.save("refused", EXAMPLE).await;
    for (_, kind) in kinds {
        metric_becomes(address, &series(kind), 0.0).await;
    }
    assert_eq!(
        status(address).await["problems"]["listed"],
        serde_json::json!([])
    );
}

/// Many problems of one kind hide no problem of another kind that began earlier, however short the
/// list is.
#[tokio::test]
async fn g7_a_list_of_problems_has_a_share_of_each_kind() {
    let (platform, _daemon, address) = in_trouble().await;
    metric_becomes(address, &series("rejected"), 1.0).await;
    metric_becomes(address, &series("failed"), 1.0).await;
    platform
        .run("INSERT INTO agents (slug) SELECT 'lonely-' || n FROM generate_series(1, 1100) AS n")
        .await;
    metric_becomes(address, &series("missing_configuration"), 1100.0).await;
    for (wanted, missing) in [(3, 1), (10, 8), (1000, 998)] {
        let (_, answer) = get(address, &format!("/status?problems={wanted}&changes=0")).await;
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let listed = answer["databases"][0]["problems"]["listed"].clone();
        let with = |kind: &str| {
            let all = listed.as_array().unwrap().iter();
            all.filter(|problem| problem["kind"] == kind).count()
        };
        let found = ["failed", "rejected", "missing_configuration"].map(with);
        assert_eq!(found, [1, 1, missing], "of {wanted}");
    }
}

/// The leader tells its own server process, the daemons that stand by, and the number of agents by the
/// statistics of the server.
#[tokio::test]
async fn the_leader_tells_its_process_and_who_stands_by() {
    let platform = Platform::installed().await;
    platform
        .run(
            "INSERT INTO agents (slug) SELECT n::text FROM generate_series(1, 30) AS n;
             ANALYZE agents",
        )
        .await;
    let (_leader, address) = serving(&platform).await;
    let _standby = Daemon::start(command(&platform));
    eventually("the standby is told", async || {
        let database = status(address).await;
        database["standbys"]
            .as_array()
            .is_some_and(|all| all.len() == 1)
    })
    .await;
    let database = status(address).await;
    let holder = "SELECT l.pid FROM pg_locks l JOIN pg_database d ON d.oid = l.database
        WHERE l.locktype = 'advisory' AND l.classid = 1634169721 AND l.objid = 1 AND l.granted
          AND d.datname = current_database()";
    let pid: i32 = platform.value(holder).await;
    assert_eq!(database["leader_pid"], pid, "{database}");
    let standby = &database["standbys"][0];
    assert_ne!(standby["pid"], pid, "{database}");
    assert!(
        standby["program"]
            .as_str()
            .unwrap()
            .starts_with("agent-sync/"),
        "{database}"
    );
    assert_eq!(database["agents_estimate"], 30, "{database}");
}

/// A save is counted with its latency, its cause and its columns, without its values.
#[tokio::test]
async fn a_save_is_counted_without_its_values() {
    let platform = Platform::installed().await;
    let (_daemon, address) = serving(&platform).await;
    platform.configure("a").await;
    platform.save("a", EXAMPLE).await;
    platform.becomes("a", EXPECTED).await;
    metric_becomes(
        address,
        "agent_sync_agents_total{database=\"default\",result=\"synced\"}",
        1.0,
    )
    .await;
    let name = "agent_sync_sync_latency_seconds_count{database=\"default\"}";
    let count = metric(address, name).await.unwrap();
    let sum = metric(
        address,
        "agent_sync_sync_latency_seconds_sum{database=\"default\"}",
    )
    .await
    .unwrap();
    assert!(
        count >= 1.0 && sum > 0.0 && sum / count < 10.0,
        "{sum} s for {count}"
    );
    let bucket = "agent_sync_sync_latency_seconds_bucket{database=\"default\",le=\"+Inf\"}";
    // The daemon may process the configuration's own row of the outbox a moment later.
    eventually("the last bucket has every save", async || {
        metric(address, bucket).await == metric(address, name).await
    })
    .await;
    platform.drained().await;
    let unchanged = "agent_sync_agents_total{database=\"default\",result=\"unchanged\"}";
    let before = metric(address, unchanged).await.unwrap_or_default();
    platform.run("NOTIFY agent_sync, 'a'").await;
    let woken =
        |cause: &str| format!("agent_sync_wakeups_total{{database=\"default\",cause=\"{cause}\"}}");
    metric_becomes(address, &woken("request"), 1.0).await;
    metric_becomes(address, unchanged, before + 1.0).await;
    assert!(metric(address, &woken("notification")).await.unwrap() >= 1.0);
    eventually("a sweep is counted", async || {
        metric(address, &woken("sweep")).await.unwrap() >= 1.0
    })
    .await;

    let database = status(address).await;
    let change = &database["changes"][0];
    assert_eq!(
        (&change["slug"], &change["outcome"]),
        (&"a".into(), &"written".into())
    );
    let columns = [
        "agent_name",
        "system_prompt",
        "voice_id",
        "temperature",
        "provider_config",
        "voice_settings",
    ];
    assert_eq!(change["columns"], serde_json::json!(columns));
    let minute = database["hour"]
        .as_array()
        .unwrap()
        .iter()
        .find(|minute| minute["synced"] == 1)
        .unwrap();
    assert!(minute["p99_seconds"].as_f64().unwrap() > 0.0);
}

/// The backlog of a blocked daemon is reported with its age.
#[tokio::test]
async fn the_backlog_of_a_blocked_daemon_has_an_age() {
    let platform = Platform::installed().await;
    let (_daemon, address) = serving(&platform).await;
    platform.configure("a").await;
    platform.drained().await;
    let holder = platform.connect().await;
    holder
        .batch_execute("BEGIN; SELECT * FROM agent_configurations FOR UPDATE")
        .await
        .unwrap();
    platform.save("a", EXAMPLE).await;
    metric_becomes(address, "agent_sync_outbox_rows{database=\"default\"}", 1.0).await;
    let oldest = "agent_sync_outbox_oldest_seconds{database=\"default\"}";
    eventually("it grows old", async || {
        metric(address, oldest).await.unwrap() > 0.5
    })
    .await;
    let busy = "agent_sync_wakeups_total{database=\"default\",cause=\"busy\"}";
    assert!(metric(address, busy).await.unwrap() >= 1.0);
    holder.batch_execute("ROLLBACK").await.unwrap();
    metric_becomes(address, "agent_sync_outbox_rows{database=\"default\"}", 0.0).await;
    metric_becomes(address, oldest, 0.0).await;
}

/// A database that is down is not ready, with the cause and the duration, and recovers.
#[tokio::test]
async fn a_database_that_is_down_is_not_ready_and_says_why() {
    let platform = Platform::installed().await;
    let (_daemon, address) = serving(&platform).await;
    let (admin, _) = connect(&cluster().url("postgres")).await;
    let name = platform.name();
    let backends = format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE \
        'agent-sync/%' AND datname = '{name}'"
    );
    admin
        .batch_execute(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false"))
        .await
        .unwrap();
    admin.batch_execute(&backends).await.unwrap();
    eventually("it is not ready", async || {
        get(address, "/readyz").await.0 == 503
    })
    .await;
    eventually("the cause is told", async || {
        get(address, "/readyz")
            .await
            .1
            .contains("is not currently accepting connections")
    })
    .await;
    let (_, reason) = get(address, "/readyz").await;
    assert!(
        reason.starts_with("default: not ready (unreachable): database unavailable: ")
            && reason.contains("; try: "),
        "{reason}"
    );
    assert_eq!(
        get(address, "/livez").await,
        (200, "ok\n".to_owned()),
        "trying again is progress"
    );
    for (series, expected) in [
        ("agent_sync_up{database=\"default\"}", Some(0.0)),
        ("agent_sync_ready{database=\"default\"}", Some(0.0)),
        ("agent_sync_leader{database=\"default\"}", Some(0.0)),
        (
            "agent_sync_state{database=\"default\",state=\"unreachable\"}",
            Some(1.0),
        ),
        (
            "agent_sync_state{database=\"default\",state=\"ok\"}",
            Some(0.0),
        ),
        ("agent_sync_outbox_rows{database=\"default\"}", None),
    ] {
        assert_eq!(metric(address, series).await, expected, "{series}");
    }
    let database = status(address).await;
    assert_eq!(
        (&database["state"], &database["phase"]),
        (&"unreachable".into(), &"lost".into())
    );
    assert!(
        database["last_error"]["remedy"]
            .as_str()
            .is_some_and(|remedy| !remedy.is_empty())
    );

    admin
        .batch_execute(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true"))
        .await
        .unwrap();
    eventually("it is ready again", async || {
        get(address, "/readyz").await.0 == 200
    })
    .await;
    assert_eq!(
        metric(address, "agent_sync_reconnects_total{database=\"default\"}").await,
        Some(1.0)
    );
    assert!(
        metric(
            address,
            "agent_sync_outage_seconds_total{database=\"default\"}"
        )
        .await
        .unwrap()
            > 0.0
    );
}

/// A hung server makes the database unready, and the daemon stays live.
#[tokio::test]
async fn a_hanging_server_makes_unready_and_not_dead() {
    let platform = Platform::with_tables(tcp_cluster(), TABLES).await;
    platform.install();
    let proxy = Proxy::start(tcp_cluster().port()).await;
    let mut command = command(&platform);
    command
        .env("DATABASE_URL", proxy.url(platform.name()))
        .env("AGENT_SYNC__DATABASES__DEFAULT__CONNECT_TIMEOUT", "500ms")
        .env("AGENT_SYNC__SYNC__PROBE_TIMEOUT", "500ms");
    let daemon = Daemon::start(command);
    daemon.logged("caught up").await;
    let address = address(&daemon).await;
    proxy.stall();
    eventually("it is not ready", async || {
        let (code, reason) = get(address, "/readyz").await;
        assert_eq!(get(address, "/livez").await.0, 200);
        code == 503 && reason.contains("database unavailable")
    })
    .await;
    proxy.flow();
    eventually("it is ready again", async || {
        get(address, "/readyz").await.0 == 200
    })
    .await;
}

/// A database without an install is broken and not unreachable, in the same word everywhere.
#[tokio::test]
async fn g14_every_output_has_the_same_word_for_a_fault() {
    let platform = Platform::new().await;
    let daemon = Daemon::start(command(&platform));
    daemon.outage().await;
    let address = address(&daemon).await;
    let (code, text) = get(address, "/readyz").await;
    let start = "default: not ready (broken): the daemon cannot work in the database: agent-sync is \
        not installed";
    assert_eq!((code, text.starts_with(start)), (503, true), "{text}");
    assert_eq!(status(address).await["state"], "broken");
    for (state, expected) in [("broken", 1.0), ("unreachable", 0.0)] {
        let series = format!("agent_sync_state{{database=\"default\",state=\"{state}\"}}");
        assert_eq!(metric(address, &series).await, Some(expected), "{series}");
    }
    let said = platform.says(&["status", "--json"]).await;
    assert_eq!(said.code, 2, "{said:?}");
    assert_eq!(said.object()["state"], "broken");
}

/// A broken capture is a finding and makes the database unready until it is repaired.
#[tokio::test]
async fn g1_a_broken_capture_is_a_finding_and_not_ready() {
    let platform = Platform::installed().await;
    let (_daemon, address) = serving(&platform).await;
    let findings = "agent_sync_findings{database=\"default\",misses_changes=\"true\"}";
    assert_eq!(metric(address, findings).await, Some(0.0));
    platform
        .run("ALTER TABLE agents DISABLE TRIGGER agent_sync_update")
        .await;
    metric_becomes(address, findings, 1.0).await;
    // The changed tables are read again over a new connection, which catches up first.
    let reason = "default: not ready (broken): changes may be missed: the trigger \
        \"public\".\"agents\".agent_sync_update is disabled; try: Run `agent-sync install` for \
        this database.\n";
    eventually("it says why it is not ready", async || {
        get(address, "/readyz").await == (503, reason.to_owned())
    })
    .await;
    platform.install();
    metric_becomes(address, findings, 0.0).await;
    eventually("it is ready", async || {
        get(address, "/readyz").await.0 == 200
    })
    .await;
}

/// Each database has its own line, even if another one is unreachable.
#[tokio::test]
async fn each_database_has_a_line_whichever_is_away() {
    let platform = Platform::installed().await;
    let mut command = command(&platform);
    command
        .env_remove("DATABASE_URL")
        .env("AGENT_SYNC__DATABASES__HERE__URL", &platform.url)
        .env(
            "AGENT_SYNC__DATABASES__AWAY__URL",
            "postgres://nobody:hunter2@127.0.0.1:1/none",
        );
    let daemon = Daemon::start(command);
    daemon.logged("caught up").await;
    daemon.outage().await;
    let address = address(&daemon).await;
    eventually("the first is ready", async || {
        get(address, "/readyz").await.1.contains("here: ready (ok)")
    })
    .await;
    let (code, lines) = get(address, "/readyz").await;
    assert_eq!((code, lines.lines().count()), (503, 2), "{lines}");
    assert!(
        lines.starts_with("away: not ready (unreachable): database unavailable: "),
        "{lines}"
    );
    assert_eq!(
        metric(address, "agent_sync_up{database=\"here\"}").await,
        Some(1.0)
    );
    assert_eq!(
        metric(address, "agent_sync_up{database=\"away\"}").await,
        Some(0.0)
    );
}

/// A standby is ready and reports nothing that only the leader knows.
#[tokio::test]
async fn a_standby_is_ready_and_reports_only_what_it_knows() {
    let platform = Platform::installed().await;
    let (leader, _) = serving(&platform).await;
    let standby = Daemon::start(command(&platform));
    standby.logged("another daemon leads").await;
    let address = address(&standby).await;
    assert_eq!(
        get(address, "/readyz").await,
        (200, "default: ready (standby)\n".to_owned())
    );
    assert_eq!(
        metric(address, "agent_sync_leader{database=\"default\"}").await,
        Some(0.0)
    );
    assert_eq!(
        metric(address, "agent_sync_outbox_rows{database=\"default\"}").await,
        None
    );
    let database = status(address).await;
    assert_eq!(database["outbox"], Value::Null);
    let since = database["state_since"].clone();
    assert!(since.is_string(), "{database}");
    let holder = "SELECT l.pid FROM pg_locks l JOIN pg_database d ON d.oid = l.database
        WHERE l.locktype = 'advisory' AND l.classid = 1634169721 AND l.objid = 1 AND l.granted
          AND d.datname = current_database()";
    let pid: i32 = platform.value(holder).await;
    eventually("it names the leader", async || {
        status(address).await["led_by"]["pid"] == pid
    })
    .await;
    let program = status(address).await["led_by"]["program"].clone();
    assert!(program.as_str().unwrap().starts_with("agent-sync/"));
    assert!(leader.terminate().await.success());
    metric_becomes(address, "agent_sync_leader{database=\"default\"}", 1.0).await;
    metric_becomes(address, "agent_sync_outbox_rows{database=\"default\"}", 0.0).await;
    eventually("its state is another one since then", async || {
        let database = status(address).await;
        database["state"] == "ok"
            && database["led_by"].is_null()
            && database["state_since"].as_str() > since.as_str()
    })
    .await;
}
