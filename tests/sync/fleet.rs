//! Many databases, several daemons, and reloads (I4, G2, G5, G12).

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;

use agent_sync_testbed::Cluster;
use serde_json::Value;
use tokio_postgres::Client;

use crate::support::platform::{EXAMPLE, EXPECTED, connect};
use crate::support::{Daemon, Platform, eventually};

/// A settings file in its own directory.
pub(super) struct File {
    pub(super) folder: tempfile::TempDir,
}

impl File {
    pub(super) fn new(text: &str) -> Self {
        let file = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        file.write(text);
        file
    }

    pub(super) fn path(&self) -> PathBuf {
        self.folder.path().join("agent-sync.toml")
    }

    pub(super) fn write(&self, text: &str) {
        std::fs::write(self.path(), text).unwrap();
    }

    pub(super) fn daemon(&self) -> Daemon {
        let mut command = Command::new(env!("CARGO_BIN_EXE_agent-sync"));
        command
            .env_clear()
            .arg("run")
            .arg("--config")
            .arg(self.path());
        command
            .env("AGENT_SYNC__SYNC__SWEEP_INTERVAL", "1h")
            .env("AGENT_SYNC__RECONNECT__MAX_DELAY", "500ms");
        Daemon::start(command)
    }
}

/// A `[databases.NAME]` table.
pub(super) fn table(name: &str, platform: &Platform) -> String {
    format!("[databases.{name}]\nurl = '{}'\n", platform.url)
}

/// The server process of the leader's session.
async fn backend(platform: &Platform) -> i32 {
    platform
        .value(
            "SELECT l.pid FROM pg_locks l JOIN pg_database d ON d.oid = l.database
             WHERE l.locktype = 'advisory' AND l.classid = 1634169721 AND l.objid = 1
               AND d.datname = current_database()",
        )
        .await
}

async fn led(platform: &Platform) {
    platform
        .holds(
            "SELECT EXISTS (SELECT FROM pg_locks l JOIN pg_database d ON d.oid = l.database
             WHERE l.locktype = 'advisory' AND l.classid = 1634169721 AND l.objid = 1
               AND d.datname = current_database())",
        )
        .await;
}

#[tokio::test]
async fn unreachable_database_delays_no_other() {
    let [one, two] = [Platform::installed().await, Platform::installed().await];
    let half_installed = Platform::new().await;
    let file = File::new(&format!(
        "{}{}{}[databases.gone]\nurl = 'postgres://nobody@127.0.0.1:1/none'\n\
        [databases.unroutable]\nurl = 'postgres://nobody@127.0.0.2:1/none?connect_timeout=30'\n",
        table("one", &one),
        table("half", &half_installed),
        table("two", &two),
    ));
    let daemon = file.daemon();
    daemon.logged_times("caught up", 2).await;
    daemon.outage_times(3).await;
    for platform in [&one, &two] {
        platform.configure("a").await;
        platform.save("a", EXAMPLE).await;
        platform.becomes("a", EXPECTED).await;
    }
    half_installed.install();
    daemon.logged_times("caught up", 3).await;
}

/// A reload adds and removes databases without an effect on the others.
#[tokio::test]
async fn a_reload_adds_and_removes_databases_only() {
    let [stays, goes, comes] = [
        Platform::installed().await,
        Platform::installed().await,
        Platform::installed().await,
    ];
    let file = File::new(&(table("stays", &stays) + &table("goes", &goes)));
    let daemon = file.daemon();
    daemon.logged_times("caught up", 2).await;
    let session = backend(&stays).await;

    file.write(&(table("stays", &stays) + &table("comes", &comes)));
    daemon.signal("HUP");
    let line = daemon.logged("settings reloaded").await;
    assert_eq!(
        (&line["added"], &line["removed"], &line["changed"]),
        (&"comes".into(), &"goes".into(), &Value::Null)
    );
    daemon.logged_times("caught up", 3).await;
    let stopped = daemon.logged("stopped").await;
    assert_eq!(stopped["database"], "goes");
    for platform in [&stays, &comes] {
        platform.configure("a").await;
        platform.save("a", EXAMPLE).await;
        platform.becomes("a", EXPECTED).await;
    }
    assert_eq!(session, backend(&stays).await, "its session goes on");
    goes.holds(
        "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE application_name LIKE \
        'agent-sync/%' AND datname = current_database())",
    )
    .await;

    // A change of one database restarts its task, after the old one has released its lock.
    file.write(&(table("stays", &stays) + &table("comes", &comes) + "connect_timeout = '7s'\n"));
    daemon.signal("HUP");
    let line = daemon.logged_times("settings reloaded", 2).await.remove(1);
    assert_eq!(
        (&line["added"], &line["removed"], &line["changed"]),
        (&Value::Null, &Value::Null, &"comes".into())
    );
    daemon.logged_times("caught up", 4).await;
    assert_eq!(daemon.lines("another daemon leads").len(), 0);
    assert_eq!(session, backend(&stays).await);

    // The same settings once more, and then another one of the process.
    daemon.signal("HUP");
    let line = daemon.logged_times("settings reloaded", 3).await.remove(2);
    assert_eq!(line["message"], "settings reloaded; nothing has changed");
    assert_eq!(line["rules_changed"], Value::Null);
    let of_process = "\n[shutdown]\ngrace_period = '3s'\n";
    file.write(
        &(table("stays", &stays)
            + &table("comes", &comes)
            + "connect_timeout = '7s'\n"
            + of_process),
    );
    daemon.signal("HUP");
    let line = daemon.logged_times("settings reloaded", 4).await.remove(3);
    assert_eq!(line["message"], "settings reloaded");
}

#[tokio::test]
async fn a_bad_reload_changes_nothing_and_says_why() {
    let platform = Platform::installed().await;
    platform.configure("a").await;
    let rules = "[settings]\ntemperature = { type = \"number\" }\n[llm]\nprovider_from = \
        [\"llm_provider\"]\n[llm.other]\nfields = { model = \"llm_model\" }\n";
    let file = File::new(&(table("main", &platform) + "[rules]\nfile = 'rules.toml'\n"));
    let folder = file.folder.path().to_owned();
    std::fs::write(folder.join("rules.toml"), rules).unwrap();
    let daemon = file.daemon();
    daemon.logged("caught up").await;
    let session = backend(&platform).await;

    file.write(&(table("main", &platform) + "nonsense = 1\n[rules]\nfile = 'rules.toml'\n"));
    daemon.signal("HUP");
    let line = daemon.logged("reload refused").await;
    assert_eq!(line["level"], "ERROR");
    assert!(
        line["reason"]
            .as_str()
            .unwrap()
            .contains("databases.main.nonsense"),
        "{line}"
    );

    file.write(&(table("main", &platform) + "[rules]\nfile = 'rules.toml'\n"));
    std::fs::write(folder.join("rules.toml"), "[llm]\nfields = 1\n").unwrap();
    daemon.signal("HUP");
    let line = daemon.logged_times("reload refused", 2).await.remove(1);
    assert!(line["reason"].as_str().unwrap().contains("line "), "{line}");

    platform
        .save("a", r#"{"llm_provider":"groq","llm_model":"m"}"#)
        .await;
    platform
        .becomes("a", r#"{"llm":{"provider":"groq","model":"m"}}"#)
        .await;
    assert_eq!(
        session,
        backend(&platform).await,
        "the rules in force stay in force, and so does the session"
    );
}

/// Changed rules enqueue nothing and report the number of configurations that differ.
#[tokio::test]
async fn changed_rules_enqueue_nothing_and_count_differences() {
    let platform = Platform::installed().await;
    platform
        .run(
            "INSERT INTO agents (slug, voice_settings) SELECT 'agent-' || i,
                  jsonb_build_object('stt_provider', CASE WHEN i <= 700 THEN 'deepgram'
                    ELSE 'groq' END) FROM generate_series(1, 1200) i;
              INSERT INTO agents (slug, voice_settings) VALUES ('lonely', '{}'), ('bad', '[]');
              INSERT INTO agent_configurations (agent_slug) SELECT slug FROM agents
                WHERE slug <> 'lonely'",
        )
        .await;
    let rules = std::fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/config/providers.toml"
    ))
    .unwrap();
    let file = File::new(&(table("main", &platform) + "[rules]\nfile = 'rules.toml'\n"));
    let path = file.folder.path().join("rules.toml");
    std::fs::write(&path, &rules).unwrap();
    let daemon = file.daemon();
    daemon.logged("caught up").await;
    let session = backend(&platform).await;

    std::fs::write(&path, rules.replace("nova-2", "nova-9")).unwrap();
    daemon.signal("HUP");
    let line = daemon.logged("the mapping has changed").await;
    let told = ["differ", "in_sync", "missing", "rejected"].map(|key| line[key].as_i64().unwrap());
    assert_eq!(told, [700, 500, 1, 1], "{line}");
    assert_eq!(platform.outbox().await, Vec::<String>::new());
    let old = "SELECT count(*) FROM agent_configurations WHERE provider_config #>> '{stt,model}' = \
        'nova-2'";
    assert_eq!(
        platform.value::<i64>(old).await,
        700,
        "nothing is written on that account"
    );

    platform.run("NOTIFY agent_sync, 'agent-1'").await;
    platform
        .becomes(
            "agent-1",
            r#"{"stt":{"provider":"deepgram","model":"nova-9"}}"#,
        )
        .await;
    assert_eq!(session, backend(&platform).await, "the session goes on");
}

/// A standby with other rules finds nothing that differs. What the leader then writes under its own
/// rules is reported when the standby takes over.
#[tokio::test]
async fn g14_a_standby_with_other_rules_hides_no_difference() {
    let platform = Platform::installed().await;
    platform.save("a", r#"{"stt_provider": "groq"}"#).await;
    platform.configure("a").await;
    let rules = include_str!("../../config/providers.toml");
    let settings = table("main", &platform) + "[rules]\nfile = 'rules.toml'\n";
    let (first, second) = (File::new(&settings), File::new(&settings));
    let rules_of = |file: &File| file.folder.path().join("rules.toml");
    std::fs::write(rules_of(&first), rules).unwrap();
    std::fs::write(rules_of(&second), rules).unwrap();
    let mut leader = first.daemon();
    leader.logged("caught up").await;
    let standby = second.daemon();
    standby.logged("another daemon leads").await;

    std::fs::write(rules_of(&second), rules.replace("nova-2", "nova-9")).unwrap();
    standby.signal("HUP");
    let line = standby.logged("the mapping has changed").await;
    assert_eq!(line["differ"], 0, "{line}");
    platform.save("a", r#"{"stt_provider": "deepgram"}"#).await;
    platform
        .becomes("a", r#"{"stt":{"provider":"deepgram","model":"nova-2"}}"#)
        .await;
    leader.signal("KILL");
    leader.ended().await;
    let lines = standby.logged_times("the mapping has changed", 2).await;
    assert_eq!(lines[1]["differ"], 1, "{:?}", lines[1]);
}

#[tokio::test]
async fn a_reload_changes_the_level_of_the_log() {
    let platform = Platform::installed().await;
    let file = File::new(&table("main", &platform));
    let mut command = Command::new(env!("CARGO_BIN_EXE_agent-sync"));
    command
        .env_clear()
        .arg("run")
        .arg("--config")
        .arg(file.path());
    let daemon = Daemon::start_at_level(command, None);
    daemon.logged("caught up").await;
    assert_eq!(daemon.lines("batch committed").len(), 0);
    file.write(&(table("main", &platform) + "[log]\nlevel = 'debug'\n"));
    daemon.signal("HUP");
    daemon.logged("settings reloaded").await;
    platform.save("a", "{}").await;
    daemon.logged("batch committed").await;
}

#[tokio::test]
async fn second_daemon_takes_over_when_leader_is_killed() {
    let platform = Platform::installed().await;
    platform.configure("a").await;
    let mut leader = platform.daemon();
    leader.logged("caught up").await;
    let mut standby = platform.daemon();
    standby.logged("another daemon leads").await;
    for round in 0..4 {
        let cut = round % 2 == 1;
        if cut {
            // The connection ends and not the process: the daemon returns as a standby or as the
            // leader.
            platform
                .run(&format!(
                    "SELECT pg_terminate_backend({})",
                    backend(&platform).await
                ))
                .await;
        } else {
            leader.signal("KILL");
            leader.ended().await;
        }
        platform
            .save("a", &format!(r#"{{"voice_id":"v{round}"}}"#))
            .await;
        platform
            .holds(&format!(
                "SELECT voice_id = 'v{round}' IS TRUE FROM agent_configurations"
            ))
            .await;
        if !cut {
            leader = std::mem::replace(&mut standby, platform.daemon());
            standby.logged("another daemon leads").await;
        }
    }
}

#[tokio::test]
async fn a_standby_holds_no_snapshot_and_waits_in_no_lock() {
    let platform = Platform::installed().await;
    let _leader = platform.caught_up_daemon().await;
    let standby = platform.daemon();
    standby.logged("another daemon leads").await;
    let leading = backend(&platform).await;
    for _ in 0..50 {
        let waiting: i64 = platform
            .value(&format!(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'agent-sync/%'
                      AND pid <> {leading}
                 AND datname = current_database() AND (wait_event_type = 'Lock'
                   OR state LIKE 'idle in transaction%')"
            ))
            .await;
        assert_eq!(waiting, 0);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn g2_two_daemons_never_write_a_stale_value() {
    let platform = Platform::installed().await;
    platform
        .run(
            "INSERT INTO agents (slug) SELECT 'agent-' || i FROM generate_series(1, 50) i; \
            INSERT INTO agent_configurations (agent_slug) SELECT slug FROM agents",
        )
        .await;
    // Every write is recorded: a name must never revert.
    platform
        .run(
            "CREATE TABLE writes (number bigserial, slug text, name text);
              CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS
                  $$ BEGIN INSERT INTO writes (slug, name)
                    VALUES (NEW.agent_slug, NEW.agent_name); RETURN NULL; END $$;
              CREATE TRIGGER keep AFTER UPDATE ON agent_configurations
                FOR EACH ROW EXECUTE FUNCTION keep()",
        )
        .await;
    let daemons = [platform.daemon(), platform.daemon(), platform.daemon()];
    led(&platform).await;
    let writer = platform.connect().await;
    for round in 1..=300 {
        writer
            .batch_execute(&format!(
                "UPDATE agents SET name = lpad('{round}', 5, '0') WHERE slug = 'agent-{}'",
                round % 50 + 1
            ))
            .await
            .unwrap();
        if round % 60 == 0 {
            platform
                .run(
                    "SELECT pg_terminate_backend(l.pid) FROM pg_locks l JOIN pg_database d
                      ON d.oid = l.database
                      WHERE l.locktype = 'advisory' AND l.classid = 1634169721 AND l.objid = 1
                        AND d.datname = current_database()",
                )
                .await;
        }
    }
    platform
        .holds(
            "SELECT NOT EXISTS (SELECT FROM agents a JOIN agent_configurations c
                  ON c.agent_slug = a.slug
                WHERE a.name IS DISTINCT FROM c.agent_name)",
        )
        .await;
    let back: i64 = platform
        .value(
            "SELECT count(*) FROM (SELECT name < lag(name) OVER (PARTITION BY slug ORDER BY \
            number) AS back FROM writes) w WHERE back",
        )
        .await;
    assert_eq!(back, 0);
    drop(daemons);
}

#[tokio::test]
async fn announced_slugs_are_those_whose_configuration_was_written() {
    let platform = Platform::installed().await;
    let mut command = platform.command(&["run"]);
    command.env("AGENT_SYNC__ANNOUNCE__CHANNEL", "configuration_changed");
    let daemon = Daemon::start(command);
    daemon.logged("caught up").await;
    platform.run("LISTEN configuration_changed").await;
    platform.configure("a").await;
    platform.configure("a").await;
    platform.save("lonely", EXAMPLE).await;
    platform.save("a", EXAMPLE).await;
    eventually("the slug is announced", async || {
        !platform.notices().is_empty()
    })
    .await;
    platform.run("NOTIFY agent_sync, 'a'").await;
    eventually("the request is served", async || {
        daemon
            .lines("batch committed")
            .iter()
            .any(|line| line["unchanged"] == 2)
    })
    .await;
    assert_eq!(
        platform.notices(),
        [r#"NOTIFY configuration_changed "a""#],
        "once, and not again for what is in sync"
    );
}

/// GIVEN tenants, THEN the tenant of an announced key has no "/", so that it can be divided.
#[tokio::test]
async fn an_announced_key_of_a_tenant_can_be_divided() {
    let platform = Platform::with_tenants("text").await;
    platform.install();
    let mut command = platform.command(&["run"]);
    command.env("AGENT_SYNC__ANNOUNCE__CHANNEL", "configuration_changed");
    let daemon = Daemon::start(command);
    daemon.logged("caught up").await;
    platform.run("LISTEN configuration_changed").await;
    for (tenant, slug, key) in [
        ("acme", "a/b", "acme/a/b"),
        ("acme/a", "b", "acme%2Fa/b"),
        ("50%", "b", "50%25/b"),
    ] {
        platform
            .run(&format!(
                "INSERT INTO agents (client_id, slug, name) VALUES ('{tenant}', '{slug}', 'n');
                 INSERT INTO agent_configurations (client_id, agent_slug) VALUES ('{tenant}', '{slug}')"
            ))
            .await;
        let expected = format!("NOTIFY configuration_changed {key:?}");
        eventually(&expected, async || platform.notices().contains(&expected)).await;
    }
    assert_eq!(platform.notices().len(), 3, "{:?}", platform.notices());
}

/// A full notification queue does not stop a write.
#[tokio::test]
async fn a_full_notification_queue_stops_no_write() {
    let version = Platform::new()
        .await
        .value::<i32>("SELECT current_setting('server_version_num')::int")
        .await;
    if version < 170_000 {
        eprintln!(
            "skipped: before PostgreSQL 17, the queue of notifications is too large to be filled"
        );
        return;
    }
    // GIVEN a queue that a listener keeps full, and a daemon that announces
    let settings = "max_notify_queue_pages = 64";
    let (_own, platform) = Platform::on_own_server(settings).await;
    for slug in ["a", "b", "c"] {
        platform.configure(slug).await;
    }
    let mut command = platform.command(&["run"]);
    command.env("AGENT_SYNC__ANNOUNCE__CHANNEL", "configuration_changed");
    command.env("AGENT_SYNC__SYNC__SWEEP_INTERVAL", "1s");
    let daemon = Daemon::start(command);
    daemon.logged("caught up").await;
    platform.run("LISTEN configuration_changed").await;
    let stuck = platform.connect().await;
    stuck.batch_execute("LISTEN filler").await.unwrap();
    stuck.batch_execute("BEGIN; SELECT 1").await.unwrap();
    let filler = platform.connect().await;
    let mut fills = 0;
    let full = loop {
        match filler
            .batch_execute("SELECT pg_notify('filler', repeat('x', 7000))")
            .await
        {
            Ok(()) => fills += 1,
            Err(error) => break error,
        }
        assert!(fills < 1000, "the queue is never full");
    };
    assert_eq!(full.code().unwrap().code(), "54000", "{full:?}");

    // WHEN agents are saved THEN they are synced, without a warning
    for slug in ["a", "b", "c"] {
        platform.save(slug, EXAMPLE).await;
    }
    for slug in ["a", "b", "c"] {
        platform.becomes(slug, EXPECTED).await;
    }
    assert_eq!(
        daemon.lines("agent could not be brought in sync"),
        Vec::<serde_json::Value>::new()
    );
    assert_eq!(platform.notices(), Vec::<String>::new());

    // AND when the queue is empty again, slugs are announced again
    stuck.batch_execute("COMMIT").await.unwrap();
    platform
        .holds("SELECT pg_notification_queue_usage() < 0.5")
        .await;
    platform
        .save("a", r#"{"provider":"openai","voice_id":"alloy"}"#)
        .await;
    eventually("the slug is announced", async || {
        platform.notices() == [r#"NOTIFY configuration_changed "a""#]
    })
    .await;
}

/// A backlog of 200,000 rows; `make test-million` has a million.
#[tokio::test]
async fn g12_a_large_backlog_drains_with_flat_memory() {
    let rows: i64 =
        std::env::var("AGENT_SYNC_TEST_ROWS").map_or(200_000, |number| number.parse().unwrap());
    let agents = rows / 10;
    let platform = Platform::installed().await;
    platform
        .run(&format!(
            "INSERT INTO agents (slug, name, system_prompt, voice_settings)
                  SELECT 'agent-' || i, 'n', repeat('You are helpful. ', 100),
                    '{{\"provider\": \"openai\", \"voice_id\": \"alloy\"}}'
                  FROM generate_series(1, {agents}) i;
              INSERT INTO agent_configurations (agent_slug) SELECT slug FROM agents;
              TRUNCATE agent_sync.outbox;
              UPDATE agent_sync.install SET uncaptured_seen = 0;
              INSERT INTO agent_sync.outbox (slug) SELECT 'agent-' || (i % {agents} + 1)
                FROM generate_series(1, {rows}) i;
              ANALYZE",
        ))
        .await;
    // Without a log line for each agent, which the test would have to read.
    let daemon = Daemon::start_at_level(platform.command(&["run"]), Some("info"));
    daemon.logged("caught up").await;
    let written = "SELECT count(*) FROM agent_configurations WHERE provider_config #>> \
        '{tts,voice}' = 'alloy'";
    assert_eq!(platform.value::<i64>(written).await, agents);
    let peak = daemon.peak_memory_kib();
    assert!(peak < 64 * 1024, "the daemon took {peak} KiB at most");
}

/// A cluster with this number of databases and connections, a client of each database, and the
/// settings of a daemon for all.
async fn crowd(databases: usize, connections: usize) -> (Cluster, Vec<Client>, File) {
    let settings = format!("max_connections = {connections}\nshared_buffers = 128MB");
    let (cluster, template) = Platform::on_own_server(&settings).await;
    template.configure("a").await;
    template.save("a", "{}").await;
    let name: String = template.value("SELECT current_database()::text").await;
    drop(template);
    let (admin, _) = connect(&cluster.url("postgres")).await;
    let mut text = "[reconnect]\nmax_delay = '500ms'\n".to_owned();
    let mut clients = Vec::new();
    for number in 0..databases {
        let create = format!("CREATE DATABASE d{number} TEMPLATE {name}");
        eventually("the template is free", async || {
            admin.batch_execute(&create).await.is_ok()
        })
        .await;
        writeln!(
            text,
            "[databases.d{number}]\nurl = '{}'",
            cluster.url(&format!("d{number}"))
        )
        .unwrap();
        clients.push(connect(&cluster.url(&format!("d{number}"))).await.0);
    }
    (cluster, clients, File::new(&text))
}

/// A daemon of many databases of one server sets up few connections at a time: each needs a second
/// one for its checks, and the server has not that many.
#[tokio::test]
async fn g8_a_crowd_of_databases_connects_a_few_at_a_time() {
    const DATABASES: usize = 40;
    let (cluster, clients, file) = crowd(DATABASES, 2 * DATABASES + 30).await;
    let daemon = file.daemon();
    for client in &clients {
        eventually("every database is in sync", async || {
            let led =
                "SELECT EXISTS (SELECT FROM pg_locks l JOIN pg_database d ON d.oid = l.database
                WHERE l.locktype = 'advisory' AND l.classid = 1634169721 AND l.objid = 1
                  AND d.datname = current_database())
              AND NOT EXISTS (SELECT FROM agent_sync.outbox)";
            client.query_one(led, &[]).await.unwrap().get(0)
        })
        .await;
    }
    assert_eq!(daemon.outages(), Vec::<serde_json::Value>::new());
    let log = cluster.log();
    assert!(!log.contains("too many clients"), "{log}");
}

/// Three daemons in two hundred databases converge after kills.
#[tokio::test]
async fn three_daemons_in_two_hundred_databases_converge() {
    const DATABASES: usize = 200;
    let (cluster, clients, file) = crowd(DATABASES, 4 * DATABASES + 50).await;
    let mut daemons = [file.daemon(), file.daemon(), file.daemon()];
    for (round, victim) in [Some(0), Some(1), None].into_iter().enumerate() {
        if let Some(victim) = victim {
            let daemon: &mut Daemon = &mut daemons[victim];
            daemon.signal("KILL");
            daemon.ended().await;
        }
        let save = format!(r#"UPDATE agents SET voice_settings = '{{"voice_id": "v{round}"}}'"#);
        for client in &clients {
            client.batch_execute(&save).await.unwrap();
        }
        let synced =
            format!("SELECT voice_id IS NOT DISTINCT FROM 'v{round}' FROM agent_configurations");
        for (number, client) in clients.iter().enumerate() {
            eventually(
                &format!("database {number} is in sync in round {round}"),
                async || client.query_one(&synced, &[]).await.unwrap().get(0),
            )
            .await;
        }
    }
    drop(daemons);
    drop(cluster);
}

/// GIVEN large agents in several databases at once, WHEN one daemon applies all of them, THEN its
/// memory stays within the bound of one database, and a small change elsewhere does not wait for
/// the end.
#[tokio::test]
async fn g12_large_agents_in_many_databases_share_one_bound() {
    const MOST_KIB: u64 = 224 * 1024;
    let mut platforms = Vec::new();
    for _ in 0..6 {
        let platform = Platform::installed().await;
        platform
            .run(
                "INSERT INTO agents (slug, name) SELECT 'large-' || i, 'n' FROM generate_series(1, 3) i;
                 INSERT INTO agent_configurations (agent_slug) SELECT slug FROM agents",
            )
            .await;
        platforms.push(platform);
    }
    let light = Platform::installed().await;
    light.configure("light").await;
    let mut settings = table("light", &light);
    for (number, platform) in platforms.iter().enumerate() {
        settings += &table(&format!("large{number}"), platform);
    }
    let file = File::new(&settings);
    let daemon = file.daemon();
    daemon.logged_times("caught up", 7).await;
    for platform in &platforms {
        platform
            .run(
                "WITH large AS MATERIALIZED (SELECT string_agg(md5(random()::text || n), '') AS text
                   FROM generate_series(1, 400000) n)
                 UPDATE agents SET system_prompt = large.text FROM large",
            )
            .await;
    }
    light.save("light", EXAMPLE).await;
    light.becomes("light", EXPECTED).await;
    for platform in &platforms {
        platform.drained().await;
        platform
            .holds(
                "SELECT count(*) = 3 FROM agent_configurations WHERE length(system_prompt) > 12000000",
            )
            .await;
    }
    let peak = daemon.peak_memory_kib();
    assert!(peak < MOST_KIB, "{peak} KiB");
    assert_eq!(daemon.outages().len(), 0);
}

/// A database with the agent `slow`, whose configurations weigh more than a batch and take this
/// long each, in seconds.
async fn with_slow_large_agent(configurations: u32, seconds: f64) -> Platform {
    let platform = Platform::installed().await;
    platform
        .run(&format!(
            "INSERT INTO agents (slug, name) VALUES ('slow', 'n');
             INSERT INTO agent_configurations (agent_slug, provider_config)
               SELECT 'slow', jsonb_build_object('theirs', repeat('x', 2000000))
               FROM generate_series(1, {configurations});
             CREATE FUNCTION public.slow() RETURNS trigger LANGUAGE plpgsql AS
               $$ BEGIN PERFORM pg_sleep({seconds}); RETURN NEW; END $$;
             CREATE TRIGGER slow BEFORE UPDATE ON agent_configurations FOR EACH ROW
               WHEN (OLD.agent_slug = 'slow') EXECUTE FUNCTION public.slow()"
        ))
        .await;
    platform
}

/// GIVEN a large agent whose pages are written slowly, WHEN another database has a large agent,
/// THEN that one does not wait for all the pages; and the slow one is tried again with more time,
/// over another connection.
#[tokio::test]
async fn g5_a_slow_large_agent_has_the_turn_for_a_bounded_time() {
    let slow = with_slow_large_agent(6, 1.0).await;
    let other = Platform::installed().await;
    other.configure("other").await;
    let file = File::new(&(table("slow", &slow) + &table("other", &other)));
    let _daemon = file.daemon();
    slow.holds(
        "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database()
           AND wait_event = 'PgSleep')",
    )
    .await;
    let large = format!(
        r#"{{"voice_id": "v", "theirs": "{}"}}"#,
        "x".repeat(3_000_000)
    );
    other.save("other", &large).await;
    other
        .holds("SELECT voice_id = 'v' IS TRUE FROM agent_configurations")
        .await;
    let written = |number| format!("SELECT count(agent_name) = {number} FROM agent_configurations");
    assert!(
        slow.value::<bool>(&written(0)).await,
        "not all of its pages"
    );
    slow.holds(&written(6)).await;
    assert_eq!(slow.problems().await, 0);
}

/// The pages of a large agent have the time limit of one slow write together.
#[tokio::test]
async fn g5_the_pages_of_a_slow_large_agent_have_one_limit() {
    let platform = with_slow_large_agent(5, 0.8).await;
    let mut command = platform.command(&["run"]);
    command.env("AGENT_SYNC__SYNC__STATEMENT_TIMEOUT", "2s");
    let _daemon = Daemon::start(command);
    eventually("the write has failed", async || {
        platform.problems().await == 1
    })
    .await;
    platform
        .holds(
            "SELECT p.kind = 'failed' AND p.sqlstate = '57014' FROM agent_sync.problem p
             WHERE p.slug = 'slow'",
        )
        .await;
    platform
        .holds("SELECT count(agent_name) = 0 FROM agent_configurations")
        .await;
}

/// A trigger function that takes this long, in seconds, whatever cancels it.
fn stubborn(seconds: u32) -> String {
    format!(
        "CREATE FUNCTION public.stubborn() RETURNS trigger LANGUAGE plpgsql AS $$
         DECLARE over timestamptz := clock_timestamp() + interval '{seconds} s';
         BEGIN
           WHILE clock_timestamp() < over LOOP
             BEGIN
               PERFORM pg_sleep(0.1);
               PERFORM pg_sleep({seconds});
             EXCEPTION WHEN query_canceled THEN NULL;
             END;
           END LOOP;
           RETURN NEW;
         END $$;
         CREATE TRIGGER stubborn BEFORE UPDATE ON agent_configurations FOR EACH ROW
           WHEN (OLD.agent_slug = 'slow') EXECUTE FUNCTION public.stubborn()"
    )
}

const SLEEPS: &str = "SELECT EXISTS (SELECT FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event = 'PgSleep')";

/// GIVEN a large agent that is written slowly, and many large agents of another database that wait
/// for their turn, WHEN a small agent of that database is saved, THEN it does not wait for the
/// turn; and the large ones have it next.
#[tokio::test]
async fn g5_a_small_agent_does_not_wait_for_the_turn_of_large_ones() {
    let slow = with_slow_large_agent(1, 25.0).await;
    let other = Platform::installed().await;
    other
        .run(
            "INSERT INTO agents (slug, name) SELECT 'large-' || i, 'n' FROM generate_series(1, 14) i;
             INSERT INTO agents (slug, name) VALUES ('small', 'n');
             INSERT INTO agent_configurations (agent_slug) SELECT slug FROM agents",
        )
        .await;
    let file = File::new(&(table("slow", &slow) + &table("other", &other)));
    let daemon = file.daemon();
    daemon.logged_times("caught up", 1).await;
    other.drained().await;
    slow.holds(SLEEPS).await;
    let random = "string_agg(md5(random()::text || n), '') FROM generate_series(1, 70000) n";
    other
        .run(&format!(
            "WITH large AS MATERIALIZED (SELECT {random}) UPDATE agents
             SET system_prompt = string_agg FROM large WHERE slug LIKE 'large%'"
        ))
        .await;
    let written = "SELECT count(*) FROM agent_configurations WHERE length(system_prompt) > 2000000";
    for round in 0..5 {
        let save = format!("UPDATE agents SET name = 'round {round}' WHERE slug = 'small'");
        let saved = std::time::Instant::now();
        other.run(&save).await;
        let is_applied = format!(
            "SELECT agent_name = 'round {round}' FROM agent_configurations WHERE agent_slug = 'small'"
        );
        other.holds(&is_applied).await;
        let waited = saved.elapsed();
        assert!(waited.as_secs() < 4, "{waited:?} in round {round}");
    }
    assert!(slow.value::<bool>(SLEEPS).await, "the turn is not free");
    assert_eq!(other.value::<i64>(written).await, 0, "the large ones wait");
    other.drained().await;
    assert_eq!(other.value::<i64>(written).await, 14);
    assert_eq!(daemon.outages().len(), 0);
}

/// GIVEN a large agent with a trigger that outlives the time limit of the server, WHEN its time is
/// over, THEN its connection ends, and another database has the turn while the trigger still runs.
#[tokio::test]
async fn g5_the_turn_ends_by_the_clock_of_the_daemon() {
    let slow = with_slow_large_agent(1, 0.0).await;
    slow.run("DROP TRIGGER slow ON agent_configurations").await;
    slow.run(&stubborn(40)).await;
    let other = Platform::installed().await;
    other.configure("other").await;
    let settings = "[sync]\nstatement_timeout = \"3s\"\n".to_owned();
    let file = File::new(&(settings + &table("slow", &slow) + &table("other", &other)));
    let _daemon = file.daemon();
    slow.holds(SLEEPS).await;
    let large = format!(
        r#"{{"voice_id": "v", "theirs": "{}"}}"#,
        "x".repeat(3_000_000)
    );
    other.save("other", &large).await;
    let saved = std::time::Instant::now();
    other
        .holds("SELECT voice_id = 'v' IS TRUE FROM agent_configurations")
        .await;
    let waited = saved.elapsed();
    assert!(waited.as_secs() < 20, "{waited:?}");
    assert!(slow.value::<bool>(SLEEPS).await, "the trigger still runs");
}

/// GIVEN a trigger that outlives every cancel, WHEN the daemon is told to stop, THEN it ends within
/// 5 s.
#[tokio::test]
async fn i4_a_stop_beside_a_stubborn_trigger_ends_in_time() {
    let slow = Platform::installed().await;
    slow.run(&stubborn(60)).await;
    slow.configure("slow").await;
    let file = File::new(&table("main", &slow));
    let mut daemon = file.daemon();
    daemon.logged_times("caught up", 1).await;
    slow.save("slow", EXAMPLE).await;
    slow.holds(SLEEPS).await;
    let told = std::time::Instant::now();
    daemon.signal("TERM");
    let status = daemon.ended().await;
    let took = told.elapsed();
    assert!(status.success());
    assert!(took.as_millis() < 5_000, "{took:?}");
}
