//! Stalled, broken and slow connections (G1, G8, G9), and the targets of a connection.

use std::time::Duration;

use agent_sync::pg::{QueryError, sqlstate};
use agent_sync::session::{Limits, Session, SessionError};
use agent_sync::settings::{Database, Settings, Sources};
use agent_sync_testbed::{Cluster, Options};
use serde_json::json;

use crate::support::platform::{EXAMPLE, EXPECTED, TABLES, connect};
use crate::support::proxy::{Proxy, Snap};
use crate::support::{Daemon, Platform, Said, eventually, http, tcp_cluster};

const LIMITS: Limits = Limits {
    statement_timeout: Duration::from_secs(30),
    lock_timeout: Duration::from_millis(500),
};

/// The database `default` of this connection string.
pub fn database(url: &str, more: &[(&str, &str)]) -> Database {
    let mut variables = vec![("DATABASE_URL".into(), url.into())];
    variables.extend(more.iter().map(|(key, value)| (key.into(), value.into())));
    let settings = Settings::load_from(&Sources::new(None, None, variables))
        .unwrap()
        .settings;
    settings.databases["default"].clone()
}

/// Connects like the daemon.
pub async fn session(database: &Database) -> Result<Session, SessionError> {
    Session::connect(database, LIMITS).await
}

/// A platform with a configured agent, and a proxy in front of its server.
async fn behind_a_proxy() -> (Platform, Proxy) {
    let platform = Platform::with_tables(tcp_cluster(), TABLES).await;
    platform.install();
    platform.configure("a").await;
    (platform, Proxy::start(tcp_cluster().port()).await)
}

/// A server of its own that is reached by TCP, as the one behind the proxy.
fn another_server() -> Cluster {
    Cluster::start(Options {
        tcp: true,
        ..Options::default()
    })
    .unwrap()
}

/// Makes an empty database there with the name of this one.
async fn create_database(server: &Cluster, platform: &Platform) {
    let (admin, _) = connect(&server.url("postgres")).await;
    let create = format!("CREATE DATABASE {}", platform.name());
    admin.batch_execute(&create).await.unwrap();
}

/// The daemon behind the proxy, with short intervals.
fn daemon(platform: &Platform, proxy: &Proxy) -> Daemon {
    let mut command = platform.command(&["run"]);
    command
        .env("DATABASE_URL", proxy.url(platform.name()))
        .env("AGENT_SYNC__DATABASES__DEFAULT__CONNECT_TIMEOUT", "1s")
        .env("AGENT_SYNC__SYNC__PROBE_INTERVAL", "100ms")
        .env("AGENT_SYNC__SYNC__PROBE_TIMEOUT", "1s")
        .env("AGENT_SYNC__RECONNECT__MAX_DELAY", "200ms");
    Daemon::start(command)
}

/// Waits for another connection probe.
async fn is_probed(platform: &Platform) {
    let last = "SELECT coalesce(max(query_start), '-infinity')::text FROM pg_stat_activity
        WHERE application_name LIKE 'agent-sync/%' AND datname = current_database()
          AND state = 'idle' AND query = ''";
    let before: String = platform.value(last).await;
    eventually("a probe is sent", async || {
        platform.value::<String>(last).await > before
    })
    .await;
}

#[tokio::test]
async fn half_open_connection_is_noticed() {
    let (platform, proxy) = behind_a_proxy().await;
    let daemon = daemon(&platform, &proxy);
    daemon.logged("caught up").await;
    // No connection is closed and no notification arrives, so only the probe can detect it.
    proxy.stall();
    let line = daemon.outage().await;
    assert_eq!(
        line["cause"],
        "the connection is dead: a probe was not answered within 1s"
    );
    assert!(
        line["remedy"].as_str().unwrap().contains("can be reached"),
        "{line}"
    );
    platform.save("a", EXAMPLE).await;
    daemon.logged("still unavailable").await;
    proxy.flow();
    daemon.logged("database available again").await;
    platform.becomes("a", EXPECTED).await;
    assert_eq!(daemon.outages().len(), 1);
}

#[tokio::test]
async fn half_open_standby_is_noticed() {
    let (platform, proxy) = behind_a_proxy().await;
    let leader = platform.caught_up_daemon().await;
    let standby = daemon(&platform, &proxy);
    standby.logged("another daemon leads here").await;
    proxy.stall();
    let line = standby.outage().await;
    assert_eq!(
        line["cause"],
        "the connection is dead: a probe was not answered within 1s"
    );
    proxy.flow();
    assert!(leader.terminate().await.success());
    standby.logged("caught up").await;
}

/// The standby waits for a silent leader until the server ends its session.
#[tokio::test]
async fn a_silent_leader_is_waited_for_until_the_server_drops_it() {
    let (platform, proxy) = behind_a_proxy().await;
    let daemon = daemon(&platform, &proxy);
    daemon.logged("caught up").await;
    // The server itself is reachable; only the proxy stalls.
    proxy.stall();
    daemon.outage().await;
    let second = platform.daemon();
    second.logged("another daemon leads here").await;
    platform.save("a", EXAMPLE).await;
    proxy.cut();
    second.logged("caught up").await;
    platform.becomes("a", EXPECTED).await;
}

#[tokio::test]
async fn a_sleeping_daemon_probes_without_waking_up() {
    let (platform, proxy) = behind_a_proxy().await;
    let daemon = daemon(&platform, &proxy);
    daemon.logged("caught up").await;
    let sleeps = "SELECT count(*) = 1 FROM pg_locks l JOIN pg_database d ON d.oid = l.database
        WHERE l.locktype = 'advisory' AND l.classid = 1634169721 AND l.objid = 2 AND l.granted
          AND d.datname = current_database()";
    platform.holds(sleeps).await;
    let batches = daemon.lines("batch committed").len();
    for _ in 0..5 {
        is_probed(&platform).await;
        assert!(
            platform.value::<bool>(sleeps).await,
            "the daemon keeps the idle lock"
        );
    }
    assert_eq!(daemon.lines("batch committed").len(), batches);
    assert_eq!(daemon.outages(), Vec::<serde_json::Value>::new());
}

/// The last statement of a batch, and of a single change, which is committed with its write.
const ENDS: [(&[u8], &str); 2] = [
    (b"COMMIT\0", "a batch"),
    (b"test-voice-123", "a single change"),
];

/// Saves an agent: together with another one, so the fast path does not apply, or alone.
async fn save(platform: &Platform, what: &str) {
    platform.run("BEGIN").await;
    if what == "a batch" {
        platform
            .run(
                "INSERT INTO agents (slug) VALUES ('another') ON CONFLICT (slug) DO UPDATE SET \
                name = 'x'",
            )
            .await;
    }
    platform.save("a", EXAMPLE).await;
    platform.run("COMMIT").await;
}

#[tokio::test]
async fn lost_commit_reply_converges_on_replay() {
    for (end, what) in ENDS {
        lost_commit_reply(end, what).await;
    }
}

async fn lost_commit_reply(end: &[u8], what: &str) {
    let (platform, proxy) = behind_a_proxy().await;
    let daemon = daemon(&platform, &proxy);
    daemon.logged("caught up").await;
    proxy.trap(end, Snap::Deaf);
    save(&platform, what).await;
    proxy.sprung().await;
    // The server commits, and the daemon gets no answer.
    platform.becomes("a", EXPECTED).await;
    let written = "SELECT xmin::text FROM agent_configurations";
    let before: String = platform.value(written).await;
    proxy.cut();
    daemon.logged("database available again").await;
    platform.drained().await;
    assert_eq!(
        platform.value::<String>(written).await,
        before,
        "what is in sync is not written again"
    );
    platform.save("a", r#"{"voice_id":"next"}"#).await;
    platform
        .holds("SELECT voice_id = 'next' FROM agent_configurations")
        .await;
}

#[tokio::test]
async fn lost_commit_is_undone_and_done_again() {
    for (end, what) in ENDS {
        let (platform, proxy) = behind_a_proxy().await;
        let daemon = daemon(&platform, &proxy);
        daemon.logged("caught up").await;
        proxy.trap(end, Snap::Before);
        save(&platform, what).await;
        proxy.sprung().await;
        daemon.logged("database available again").await;
        platform.becomes("a", EXPECTED).await;
        platform.drained().await;
    }
}

#[tokio::test]
async fn sigkill_between_the_claim_and_the_write_loses_nothing() {
    let (platform, proxy) = behind_a_proxy().await;
    let mut first = daemon(&platform, &proxy);
    first.logged("caught up").await;
    proxy.trap(b"BEGIN\0", Snap::Deaf);
    save(&platform, "a batch").await;
    proxy.sprung().await;
    // The server has claimed the slug and waits for the writes.
    platform
        .holds(
            "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE state = 'idle in transaction'
                AND application_name LIKE 'agent-sync/%' AND datname = current_database())",
        )
        .await;
    first.signal("KILL");
    first.ended().await;
    proxy.cut();
    let _second = daemon(&platform, &proxy);
    platform.becomes("a", EXPECTED).await;
}

#[tokio::test]
async fn change_made_while_disconnected_is_applied_after_reconnect() {
    let (platform, proxy) = behind_a_proxy().await;
    let daemon = daemon(&platform, &proxy);
    daemon.logged("caught up").await;
    proxy.stall();
    proxy.cut();
    daemon.outage().await;
    platform
        .holds(
            "SELECT NOT EXISTS (SELECT FROM pg_stat_activity
        WHERE application_name LIKE 'agent-sync/%' AND datname = current_database()
          AND query <> '')",
        )
        .await;
    platform.save("a", EXAMPLE).await;
    platform.save("b", EXAMPLE).await;
    platform.configure("b").await;
    assert!(!platform.outbox().await.is_empty(), "nobody takes it");
    proxy.flow();
    platform.becomes("a", EXPECTED).await;
    platform.becomes("b", EXPECTED).await;
    daemon.logged("database available again").await;
}

#[tokio::test]
async fn a_slow_network_is_only_slow() {
    let (platform, proxy) = behind_a_proxy().await;
    proxy.delay(Duration::from_millis(50));
    let daemon = daemon(&platform, &proxy);
    daemon.logged("caught up").await;
    platform
        .run(
            "INSERT INTO agents (slug, name) SELECT 'agent-' || i, 'n'
                  FROM generate_series(1, 200) i;
             INSERT INTO agent_configurations (agent_slug) SELECT slug FROM agents
               WHERE slug <> 'a'",
        )
        .await;
    platform
        .holds("SELECT count(*) = 200 FROM agent_configurations WHERE agent_name = 'n'")
        .await;
    for round in 1..=3 {
        platform
            .save("a", &format!(r#"{{"voice_id":"v{round}"}}"#))
            .await;
        let there = format!(
            "SELECT voice_id = 'v{round}' IS TRUE FROM agent_configurations WHERE agent_slug = 'a'"
        );
        platform.holds(&there).await;
    }
    for _ in 0..3 {
        is_probed(&platform).await;
    }
    assert_eq!(daemon.outages(), Vec::<serde_json::Value>::new());
}

#[tokio::test]
async fn both_ends_notice_when_the_other_has_vanished() {
    let cluster = tcp_cluster();
    let database = database(&cluster.tcp_url("postgres"), &[]);
    let config = database.connect_config();
    assert_eq!(
        config.get_tcp_user_timeout(),
        Some(&Duration::from_secs(15))
    );
    assert!(config.get_keepalives());
    assert_eq!(config.get_keepalives_idle(), Duration::from_secs(5));
    assert_eq!(
        config.get_keepalives_interval(),
        Some(Duration::from_secs(3))
    );
    assert_eq!(config.get_keepalives_retries(), Some(3));
    let session = session(&database).await.unwrap();
    for (setting, value) in [
        ("tcp_user_timeout", "15000"),
        ("tcp_keepalives_idle", "5"),
        ("tcp_keepalives_interval", "3"),
        ("tcp_keepalives_count", "3"),
        ("idle_session_timeout", "0"),
    ] {
        // The value of the socket, not the requested one: PostgreSQL reads it back from the system.
        let show = format!("SHOW {setting}");
        let found: String = session.db().value(&show, &[]).await.unwrap();
        assert_eq!(found, value, "{setting}");
    }
    let name: String = session
        .db()
        .value("SHOW application_name", &[])
        .await
        .unwrap();
    assert_eq!(
        name,
        format!("agent-sync/{} default", env!("CARGO_PKG_VERSION"))
    );
}

/// No time-out of the database ends a session or a transaction of agent-sync.
#[tokio::test]
async fn no_timeout_of_the_database_ends_a_session() {
    let platform = Platform::installed().await;
    let has_both = platform
        .value::<bool>("SELECT EXISTS (SELECT FROM pg_settings WHERE name = 'transaction_timeout')")
        .await;
    let time_outs: &[&str] = if has_both {
        &["idle_session_timeout", "transaction_timeout"]
    } else {
        &["idle_session_timeout"]
    };
    for name in time_outs {
        platform
            .run(&format!(
                "ALTER DATABASE {} SET {name} = '2s'",
                platform.name()
            ))
            .await;
    }
    let session = session(&database(&platform.url, &[])).await.unwrap();
    let db = session.db();
    for name in time_outs {
        let found: String = db.value(&format!("SHOW {name}"), &[]).await.unwrap();
        assert_eq!(found, "0", "{name}");
    }
    if !has_both {
        eprintln!("skipped: a server older than 17 has no transaction_timeout");
        return;
    }
    // Like a check of many agents.
    db.batch("BEGIN").await.unwrap();
    db.batch("SELECT pg_sleep(2.5)").await.unwrap();
    db.batch("COMMIT").await.unwrap();
    // A time-out in force anyway ends the connection and is no problem of an agent.
    let error = db
        .batch("SET transaction_timeout = 50; SELECT pg_sleep(60)")
        .await
        .unwrap_err();
    assert_eq!(error.class(), Some(sqlstate::Class::Connection));
    let QueryError::Postgres(error) = error else {
        panic!("{error}");
    };
    assert_eq!(error.code().unwrap().code(), "25P04");
}

#[tokio::test]
async fn the_proof_leaves_nothing_behind_in_the_session() {
    let session = session(&database(&tcp_cluster().tcp_url("postgres"), &[]))
        .await
        .unwrap();
    let channels = session
        .db()
        .all("SELECT pg_listening_channels()", &[])
        .await
        .unwrap();
    assert!(channels.is_empty(), "only the leader listens");
}

#[tokio::test]
async fn ipv4_ipv6_and_unix_sockets_lead_to_the_server() {
    let cluster = tcp_cluster();
    let port = cluster.port();
    let six = std::net::TcpListener::bind("[::1]:0").is_ok();
    if !six {
        eprintln!("this machine has no IPv6, so that part is skipped");
    }
    let socket = cluster.url("postgres");
    let mut urls = vec![(cluster.tcp_url("postgres"), "127.0.0.1"), (socket, "")];
    urls.extend(six.then(|| (format!("postgres://postgres@[::1]:{port}/postgres"), "::1")));
    // A name with several addresses, some of which may have no listener.
    urls.push((
        format!("host=localhost port={port} user=postgres dbname=postgres"),
        "either",
    ));
    for (url, address) in urls {
        let session = session(&database(&url, &[]))
            .await
            .unwrap_or_else(|error| panic!("{url}: {error}"));
        let sql = "SELECT coalesce(host(inet_server_addr()), '')";
        let found: String = session.db().value(sql, &[]).await.unwrap();
        assert!(found == address || address == "either", "{url}: {found}");
    }
}

#[tokio::test]
async fn of_several_hosts_the_first_that_takes_writes_is_taken() {
    let cluster = tcp_cluster();
    let writable = cluster.port();
    let own = Options {
        tcp: true,
        settings: "default_transaction_read_only = on",
        ..Options::default()
    };
    let replica = Cluster::start(own).unwrap();
    let read_only = replica.port();
    // This one accepts connections and never answers, which must not block the others.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = silent.local_addr().unwrap().port();
    let rest = "target_session_attrs=read-write&connect_timeout=1";
    let url = format!(
        "postgres://postgres@127.0.0.1:1,127.0.0.1:{silent},127.0.0.1:{read_only},127.0.0.1:{writable}/postgres?{rest}"
    );
    let taken = session(&database(&url, &[])).await.unwrap();
    let port: i32 = taken
        .db()
        .value("SELECT inet_server_port()", &[])
        .await
        .unwrap();
    assert_eq!(port, i32::from(writable));

    let url = format!("postgres://postgres@127.0.0.1:{read_only}/postgres?{rest}");
    let error = session(&database(&url, &[])).await.unwrap_err();
    assert!(matches!(error, SessionError::ReadOnly), "{error:?}");
    assert!(error.remedy().contains("primary"));
}

#[tokio::test]
async fn a_host_that_does_not_exist_is_named() {
    let error = session(&database("postgres://u:s3cret@no-such-host.invalid/x", &[]))
        .await
        .unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("no-such-host.invalid") && !text.contains("s3cret"),
        "{text}"
    );
    assert_eq!(
        json!(error.remedy()),
        json!("Check the host in the URL of this database, and the name service.")
    );
}

/// GIVEN a name that resolves to another server while the former one still runs, WHEN agents are
/// saved on the new one, THEN they are synced within two sweeps, whether the daemon leads or is the
/// standby, although the open connection notices nothing.
#[tokio::test]
async fn g14_a_daemon_follows_the_name_of_its_server() {
    for leads in [true, false] {
        let (platform, proxy) = behind_a_proxy().await;
        let other = another_server();
        create_database(&other, &platform).await;
        let url = other.url(platform.name());
        let (client, _) = connect(&url).await;
        client.batch_execute(TABLES).await.unwrap();
        let mut command = platform.command(&["install"]);
        command.env("DATABASE_URL", &url);
        assert_eq!(Said::of(command).await.code, 0);

        let leader = (!leads).then(|| platform.daemon());
        if let Some(leader) = &leader {
            leader.logged("caught up").await;
        }
        let mut command = platform.command(&["run"]);
        command
            .env("DATABASE_URL", proxy.url(platform.name()))
            .env("AGENT_SYNC__SYNC__SWEEP_INTERVAL", "1s")
            .env("AGENT_SYNC__RECONNECT__MAX_DELAY", "200ms");
        let daemon = Daemon::start(command);
        daemon
            .logged(if leads {
                "caught up"
            } else {
                "another daemon leads here"
            })
            .await;
        proxy.lead_to(other.port());
        let line = daemon.outage().await;
        assert!(
            line["cause"]
                .as_str()
                .unwrap()
                .contains("leads to another server or database now"),
            "{line}"
        );
        client
            .batch_execute(
                r#"INSERT INTO agent_configurations (agent_slug) VALUES ('b');
                   INSERT INTO agents (slug, voice_settings) VALUES ('b', '{"voice_id":"there"}')"#,
            )
            .await
            .unwrap();
        eventually("the agent there is in sync", async || {
            let sql = "SELECT (voice_id = 'there') IS TRUE FROM agent_configurations WHERE \
                agent_slug = 'b'";
            client.query_one(sql, &[]).await.unwrap().get(0)
        })
        .await;
    }
}

/// GIVEN a former server whose open sessions go on, WHEN the check of a new connection ends, THEN
/// its result counts at once, and not with the next sweep.
#[tokio::test]
async fn g14_the_result_of_a_server_check_counts_at_once() {
    let (platform, proxy) = behind_a_proxy().await;
    let other = another_server();
    create_database(&other, &platform).await;
    // The first sweep waits for the lock, and the check begins with it. There is no second sweep.
    let (locker, _) = connect(&platform.url).await;
    locker
        .batch_execute("BEGIN; LOCK TABLE agent_sync.outbox")
        .await
        .unwrap();
    let mut command = platform.command(&["run"]);
    command
        .env("DATABASE_URL", proxy.url(platform.name()))
        .env("AGENT_SYNC__SYNC__SWEEP_INTERVAL", "1h");
    let daemon = Daemon::start(command);
    platform
        .holds(
            "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted
             AND relation = 'agent_sync.outbox'::regclass)",
        )
        .await;
    proxy.lead_to(other.port());
    locker.batch_execute("COMMIT").await.unwrap();
    let cause = daemon.outage().await["cause"].to_string();
    assert!(
        cause.contains("leads to another server or database now"),
        "{cause}"
    );
}

/// GIVEN a URL in a file, WHEN the file names another database of the same server, THEN the daemon
/// switches to it within two sweeps.
#[tokio::test]
async fn g15_a_daemon_follows_the_name_of_its_database() {
    let platform = Platform::installed().await;
    let other = Platform::installed().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("url");
    std::fs::write(&file, &platform.url).unwrap();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let mut command = platform.command(&["run"]);
    command
        .env_remove("DATABASE_URL")
        .env("AGENT_SYNC__DATABASES__DEFAULT__URL_FILE", &file)
        .env("AGENT_SYNC__SYNC__SWEEP_INTERVAL", "1s");
    let daemon = Daemon::start(command);
    daemon.logged("caught up").await;
    std::fs::write(&file, &other.url).unwrap();
    daemon.outage().await;
    other.configure("a").await;
    other.save("a", crate::support::platform::EXAMPLE).await;
    other.becomes("a", crate::support::platform::EXPECTED).await;
}

/// GIVEN a hung daemon, or one whose host is gone behind a proxy that answers for it, WHEN another
/// one is the standby, THEN the server ends the session of the first, and the other one leads (G9).
#[tokio::test]
async fn g9_the_lock_of_a_daemon_that_is_silent_is_freed() {
    let (platform, proxy) = behind_a_proxy().await;
    for through_the_proxy in [true, false] {
        let leader = if through_the_proxy {
            daemon(&platform, &proxy)
        } else {
            let mut command = platform.command(&["run"]);
            command
                .env("AGENT_SYNC__SYNC__PROBE_INTERVAL", "100ms")
                .env("AGENT_SYNC__SYNC__PROBE_TIMEOUT", "1s");
            Daemon::start(command)
        };
        leader.logged("caught up").await;
        let standby = platform.daemon();
        standby.logged("another daemon leads here").await;
        if through_the_proxy {
            proxy.stall();
        }
        leader.signal("STOP");
        standby.logged("connected and leading").await;
        leader.signal("KILL");
        if through_the_proxy {
            proxy.flow();
        }
    }
}

/// GIVEN a name that resolves to another server, which refuses the daemon, WHEN the connection to
/// the former one still works, THEN the log and the status report it with cause and remedy, and the
/// status no longer does once the name is restored.
#[tokio::test]
async fn g14_another_server_that_refuses_the_daemon_is_told() {
    let (platform, proxy) = behind_a_proxy().await;
    let other = another_server();
    let mut command = http::command(&platform);
    command.env("DATABASE_URL", proxy.url(platform.name()));
    let daemon = Daemon::start(command);
    daemon.logged("caught up").await;
    let address = http::address(&daemon).await;
    // It has no database with that name.
    proxy.lead_to(other.port());
    let line = daemon
        .logged("a new connection to this database fails")
        .await;
    assert!(line["cause"].as_str().unwrap().contains("3D000"), "{line}");
    assert!(!line["remedy"].as_str().unwrap().is_empty(), "{line}");
    let is_told = async || {
        let (_, status) = http::get(address, "/status").await;
        status.contains("a new connection to this database fails")
    };
    eventually("the finding is told", is_told).await;
    assert_eq!(http::get(address, "/readyz").await.0, 200);
    proxy.lead_to(tcp_cluster().port());
    eventually("the finding is over", async || !is_told().await).await;
    assert_eq!(
        daemon
            .lines("a new connection to this database fails")
            .len(),
        1
    );
}

/// GIVEN a daemon whose server does not answer any more, WHEN it is stopped, THEN it ends within
/// the grace period and the second that the end of its session may take.
#[tokio::test]
async fn g9_a_silent_server_delays_the_exit_by_a_second() {
    let (platform, proxy) = behind_a_proxy().await;
    let mut command = platform.command(&["run"]);
    command
        .env("DATABASE_URL", proxy.url(platform.name()))
        .env("AGENT_SYNC__SHUTDOWN__GRACE_PERIOD", "100ms");
    let daemon = Daemon::start(command);
    daemon.logged("caught up").await;
    proxy.stall();
    let stopped = std::time::Instant::now();
    assert!(daemon.terminate().await.success());
    let took = stopped.elapsed();
    assert!(took < std::time::Duration::from_secs(4), "{took:?}");
}
