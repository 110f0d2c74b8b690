//! What the daemon says over HTTP (I8): the truth about each kind of trouble (G6, G7), no secret (G11), to whoever asks in
//! whatever way, and at nobody's expense.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::Command;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::platform::{EXAMPLE, EXPECTED, TABLES, connect};
use crate::support::proxy::Proxy;
use crate::support::{Daemon, Platform, cluster, eventually, tcp_cluster};

/// Where a daemon serves, as its log says.
async fn address(daemon: &Daemon) -> SocketAddr {
    let line = daemon.logged("serving /livez").await;
    line["address"].as_str().unwrap().parse().unwrap()
}

/// The daemon on a port that was free, with short waits.
fn command(platform: &Platform) -> Command {
    let mut command = platform.command(&["run"]);
    command
        .env("AGENT_SYNC__ADMIN__LISTEN", "127.0.0.1:0")
        .env("AGENT_SYNC__SYNC__SWEEP_INTERVAL", "1s")
        .env("AGENT_SYNC__SYNC__PROBE_INTERVAL", "200ms")
        .env("AGENT_SYNC__RECONNECT__MAX_DELAY", "200ms");
    command
}

/// The same, running and caught up, and where it serves.
pub async fn serving(platform: &Platform) -> (Daemon, SocketAddr) {
    let daemon = Daemon::start(command(platform));
    daemon.logged("caught up").await;
    let address = address(&daemon).await;
    eventually("the database is ready", async || get(address, "/readyz").await.0 == 200).await;
    (daemon, address)
}

/// Sends bytes as they are, and reads to the end. Either may be cut short by a server that has had enough.
async fn raw(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let _ = stream.write_all(request.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

/// The status and the body of an answer.
pub async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let answer =
        raw(address, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), body.to_owned())
}

/// The value of one series, if it is there.
async fn metric(address: SocketAddr, series: &str) -> Option<f64> {
    let text = get(address, "/metrics").await.1;
    text.lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))
        .map(|value| value.parse().unwrap())
}

pub async fn metric_becomes(address: SocketAddr, series: &str, expected: f64) {
    eventually(&format!("{series} becomes {expected}"), async || {
        metric(address, series).await.is_some_and(|value| (value - expected).abs() < f64::EPSILON)
    })
    .await;
}

/// The only database, as `/status` tells of it.
async fn status(address: SocketAddr) -> Value {
    let (code, body) = get(address, "/status").await;
    assert_eq!(code, 200);
    let status: Value = serde_json::from_str(&body).unwrap();
    status["databases"][0].clone()
}

#[tokio::test]
async fn g6_g7_each_kind_of_problem_is_counted_listed_and_over_when_it_is_mended() {
    let platform = Platform::installed().await;
    let (_daemon, address) = serving(&platform).await;
    platform.configure("bad").await;
    platform.configure("refused").await;
    platform.run("ALTER TABLE agent_configurations ADD CHECK (voice_id <> 'never')").await;
    platform.save("lonely", EXAMPLE).await;
    platform.save("bad", r#"{"temperature": 9}"#).await;
    platform.save("refused", r#"{"provider":"openai","voice_id":"never"}"#).await;

    let series = |kind| format!("agent_sync_problems{{database=\"default\",kind=\"{kind}\"}}");
    let kinds = [("lonely", "missing_configuration"), ("bad", "rejected"), ("refused", "failed")];
    for (_, kind) in kinds {
        metric_becomes(address, &series(kind), 1.0).await;
    }
    let database = status(address).await;
    let listed = database["problems"]["listed"].as_array().unwrap();
    for (slug, kind) in kinds {
        assert_eq!(database["problems"][kind], 1);
        let problem = listed.iter().find(|problem| problem["slug"] == slug).unwrap();
        let (kept, detail) = platform.problem(slug).await.unwrap();
        assert_eq!((problem["kind"].as_str(), problem["detail"].as_str()), (Some(&*kept), Some(&*detail)));
        assert_eq!(kept, kind);
        assert!(
            problem["remedy"].as_str().unwrap().len() > 20
                && problem["since"].as_str().unwrap().ends_with('Z')
        );
        let outcome = |change: &&Value| change["slug"] == slug && change["outcome"] == kind;
        assert!(database["changes"].as_array().unwrap().iter().any(|change| outcome(&change)), "{database}");
    }
    assert_eq!(listed.iter().find(|problem| problem["slug"] == "refused").unwrap()["sqlstate"], "23514");
    for (result, at_least) in [("missing", 1.0), ("rejected", 1.0), ("failed", 1.0)] {
        let series = format!("agent_sync_agents_total{{database=\"default\",result=\"{result}\"}}");
        assert!(metric(address, &series).await.unwrap() >= at_least, "{result}");
    }
    assert_eq!(
        get(address, "/readyz").await,
        (200, "default: ready (waiting)\n".to_owned()),
        "neighbours go on (G5)"
    );

    platform.configure("lonely").await;
    platform.save("bad", EXAMPLE).await;
    platform.save("refused", EXAMPLE).await;
    for (_, kind) in kinds {
        metric_becomes(address, &series(kind), 0.0).await;
    }
    assert_eq!(status(address).await["problems"]["listed"], serde_json::json!([]));
}

#[tokio::test]
async fn a_save_is_counted_with_its_latency_its_cause_and_its_columns_and_not_its_values() {
    let platform = Platform::installed().await;
    let (_daemon, address) = serving(&platform).await;
    platform.configure("a").await;
    platform.save("a", EXAMPLE).await;
    platform.becomes("a", EXPECTED).await;
    metric_becomes(address, "agent_sync_agents_total{database=\"default\",result=\"synced\"}", 1.0).await;
    let count = metric(address, "agent_sync_sync_latency_seconds_count{database=\"default\"}").await.unwrap();
    let sum = metric(address, "agent_sync_sync_latency_seconds_sum{database=\"default\"}").await.unwrap();
    assert!(count >= 1.0 && sum > 0.0 && sum / count < 10.0, "{sum} s for {count}");
    let bucket = "agent_sync_sync_latency_seconds_bucket{database=\"default\",le=\"+Inf\"}";
    assert_eq!(metric(address, bucket).await, Some(count));
    platform.run("NOTIFY agent_sync, 'a'").await;
    let woken = |cause: &str| format!("agent_sync_wakeups_total{{database=\"default\",cause=\"{cause}\"}}");
    metric_becomes(address, &woken("request"), 1.0).await;
    metric_becomes(address, "agent_sync_agents_total{database=\"default\",result=\"unchanged\"}", 1.0).await;
    assert!(metric(address, &woken("notification")).await.unwrap() >= 1.0);
    eventually("a sweep is counted", async || metric(address, &woken("sweep")).await.unwrap() >= 1.0).await;

    let database = status(address).await;
    let change = &database["changes"][0];
    assert_eq!((&change["slug"], &change["outcome"]), (&"a".into(), &"written".into()));
    let columns =
        ["agent_name", "system_prompt", "voice_id", "temperature", "provider_config", "voice_settings"];
    assert_eq!(change["columns"], serde_json::json!(columns));
    let minute = database["hour"].as_array().unwrap().iter().find(|minute| minute["synced"] == 1).unwrap();
    assert!(minute["p99_seconds"].as_f64().unwrap() > 0.0);
}

#[tokio::test]
async fn the_backlog_of_a_daemon_that_is_kept_from_working_is_told_with_its_age() {
    let platform = Platform::installed().await;
    let (_daemon, address) = serving(&platform).await;
    platform.configure("a").await;
    platform.drained().await;
    let holder = platform.connect().await;
    holder.batch_execute("BEGIN; SELECT * FROM agent_configurations FOR UPDATE").await.unwrap();
    platform.save("a", EXAMPLE).await;
    metric_becomes(address, "agent_sync_outbox_rows{database=\"default\"}", 1.0).await;
    let oldest = "agent_sync_outbox_oldest_seconds{database=\"default\"}";
    eventually("it grows old", async || metric(address, oldest).await.unwrap() > 0.5).await;
    let busy = "agent_sync_wakeups_total{database=\"default\",cause=\"busy\"}";
    assert!(metric(address, busy).await.unwrap() >= 1.0);
    holder.batch_execute("ROLLBACK").await.unwrap();
    metric_becomes(address, "agent_sync_outbox_rows{database=\"default\"}", 0.0).await;
    metric_becomes(address, oldest, 0.0).await;
}

#[tokio::test]
async fn a_database_that_is_down_is_not_ready_says_why_and_how_long_and_comes_back() {
    let platform = Platform::installed().await;
    let (_daemon, address) = serving(&platform).await;
    let (admin, _) = connect(&cluster().url("postgres")).await;
    let name = platform.name();
    let backends = format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'agent-sync/%' AND datname = '{name}'"
    );
    admin.batch_execute(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false")).await.unwrap();
    admin.batch_execute(&backends).await.unwrap();
    eventually("it is not ready", async || get(address, "/readyz").await.0 == 503).await;
    eventually("the cause is told", async || {
        get(address, "/readyz").await.1.contains("is not currently accepting connections")
    })
    .await;
    let (_, reason) = get(address, "/readyz").await;
    assert!(
        reason.starts_with("default: not ready: database unavailable: ") && reason.contains("; try: "),
        "{reason}"
    );
    assert_eq!(get(address, "/livez").await, (200, "ok\n".to_owned()), "trying again is progress");
    for (series, expected) in [
        ("agent_sync_up{database=\"default\"}", Some(0.0)),
        ("agent_sync_ready{database=\"default\"}", Some(0.0)),
        ("agent_sync_leader{database=\"default\"}", Some(0.0)),
        ("agent_sync_phase{database=\"default\",phase=\"lost\"}", Some(1.0)),
        ("agent_sync_phase{database=\"default\",phase=\"waiting\"}", Some(0.0)),
        ("agent_sync_outbox_rows{database=\"default\"}", None),
    ] {
        assert_eq!(metric(address, series).await, expected, "{series}");
    }
    let database = status(address).await;
    assert_eq!(database["phase"], "lost");
    assert!(database["last_error"]["remedy"].as_str().is_some_and(|remedy| !remedy.is_empty()));

    admin.batch_execute(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true")).await.unwrap();
    eventually("it is ready again", async || get(address, "/readyz").await.0 == 200).await;
    assert_eq!(metric(address, "agent_sync_reconnects_total{database=\"default\"}").await, Some(1.0));
    assert!(metric(address, "agent_sync_outage_seconds_total{database=\"default\"}").await.unwrap() > 0.0);
}

#[tokio::test]
async fn a_server_that_hangs_makes_the_database_unready_and_not_the_daemon_dead() {
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
    eventually("it is ready again", async || get(address, "/readyz").await.0 == 200).await;
}

#[tokio::test]
async fn a_loop_that_hangs_is_told_from_one_that_waits_within_the_bound_of_a_single_wait() {
    let platform = Platform::installed().await;
    let mut command = command(&platform);
    // One answer may take 6 s then, and there are 15 s of slack.
    command.env("AGENT_SYNC__SYNC__STATEMENT_TIMEOUT", "1s").env("AGENT_SYNC__SYNC__LOCK_TIMEOUT", "100ms");
    let mut child = command.stderr(std::process::Stdio::piped()).spawn().map(Killed).unwrap();
    let mut log = BufReader::new(child.0.stderr.take().unwrap()).lines().map_while(Result::ok);
    let address: Value = log
        .by_ref()
        .map(|line| serde_json::from_str::<Value>(&line).unwrap()["address"].clone())
        .find(|address| !address.is_null())
        .unwrap();
    let address = address.as_str().unwrap().parse().unwrap();
    eventually("it is ready", async || get(address, "/readyz").await.0 == 200).await;
    // Nobody reads the log any more, and more is told than the pipe holds: so the loop hangs in the middle of its telling.
    let all = "INSERT INTO agents (slug, voice_settings) SELECT 'bad ' || n, '{\"temperature\": 9}' FROM generate_series(1, 2000) n";
    platform.run(all).await;
    eventually("it is not live", async || get(address, "/livez").await.0 == 503).await;
    let told = get(address, "/livez").await.1;
    let seconds = told.strip_prefix("default: no progress for ").and_then(|rest| rest.split(' ').next());
    let seconds: u64 = seconds.unwrap_or_else(|| panic!("{told}")).parse().unwrap();
    assert!((15..40).contains(&seconds), "{told}");
    let rest = std::thread::spawn(move || log.count());
    eventually("it is live again", async || get(address, "/livez").await.0 == 200).await;
    platform.drained().await;
    drop(child);
    rest.join().unwrap();
}

/// A process that does not outlive its test.
struct Killed(std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn g1_a_broken_capture_is_not_ready_and_a_finding_until_it_is_mended() {
    let platform = Platform::installed().await;
    let (_daemon, address) = serving(&platform).await;
    let findings = "agent_sync_findings{database=\"default\",misses_changes=\"true\"}";
    assert_eq!(metric(address, findings).await, Some(0.0));
    platform.run("ALTER TABLE agents DISABLE TRIGGER agent_sync_update").await;
    metric_becomes(address, findings, 1.0).await;
    let (code, reason) = get(address, "/readyz").await;
    assert_eq!(code, 503);
    assert_eq!(
        reason,
        "default: not ready: changes may be missed: the trigger \"public\".\"agents\".agent_sync_update is disabled; \
         try: Run `agent-sync install` for this database.\n"
    );
    platform.install();
    metric_becomes(address, findings, 0.0).await;
    assert_eq!(get(address, "/readyz").await.0, 200);
}

#[tokio::test]
async fn each_database_has_its_own_line_and_one_that_is_away_hides_no_other() {
    let platform = Platform::installed().await;
    let mut command = command(&platform);
    command
        .env_remove("DATABASE_URL")
        .env("AGENT_SYNC__DATABASES__HERE__URL", &platform.url)
        .env("AGENT_SYNC__DATABASES__AWAY__URL", "postgres://nobody:hunter2@127.0.0.1:1/none");
    let daemon = Daemon::start(command);
    daemon.logged("caught up").await;
    daemon.logged("database unavailable").await;
    let address = address(&daemon).await;
    eventually("the first is ready", async || {
        get(address, "/readyz").await.1.contains("here: ready (waiting)")
    })
    .await;
    let (code, lines) = get(address, "/readyz").await;
    assert_eq!((code, lines.lines().count()), (503, 2), "{lines}");
    assert!(lines.starts_with("away: not ready: database unavailable: "), "{lines}");
    assert_eq!(metric(address, "agent_sync_up{database=\"here\"}").await, Some(1.0));
    assert_eq!(metric(address, "agent_sync_up{database=\"away\"}").await, Some(0.0));
}

#[tokio::test]
async fn a_standby_is_ready_and_tells_nothing_of_what_only_the_leader_knows() {
    let platform = Platform::installed().await;
    let (leader, _) = serving(&platform).await;
    let standby = Daemon::start(command(&platform));
    standby.logged("another daemon leads").await;
    let address = address(&standby).await;
    assert_eq!(get(address, "/readyz").await, (200, "default: ready (standby)\n".to_owned()));
    assert_eq!(metric(address, "agent_sync_leader{database=\"default\"}").await, Some(0.0));
    assert_eq!(metric(address, "agent_sync_outbox_rows{database=\"default\"}").await, None);
    assert_eq!(status(address).await["outbox"], Value::Null);
    assert!(leader.terminate().await.success());
    metric_becomes(address, "agent_sync_leader{database=\"default\"}", 1.0).await;
    metric_becomes(address, "agent_sync_outbox_rows{database=\"default\"}", 0.0).await;
}

#[tokio::test]
async fn g11_no_secret_and_no_value_of_a_row_is_served() {
    const SECRET: &str = "hunter2";
    let platform = Platform::installed().await;
    platform
        .run(&format!(
            "ALTER TABLE agent_configurations ALTER openai_api_key SET DEFAULT '{SECRET}';
             CREATE FUNCTION blab() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN RAISE EXCEPTION 'no: %', NEW.provider_config; END $$;
             CREATE TRIGGER blab BEFORE UPDATE ON agent_configurations FOR EACH ROW
                 WHEN (NEW.agent_slug = 'raised') EXECUTE FUNCTION blab();
             ALTER TABLE agent_configurations ADD CHECK (voice_id <> '{SECRET}-voice')"
        ))
        .await;
    for slug in ["written", "raised", "checked", "rejected"] {
        platform.configure(slug).await;
    }
    let url = platform.url.replacen("postgres@", &format!("postgres:{SECRET}@"), 1);
    assert_ne!(url, platform.url);
    let mut command = command(&platform);
    command.env("DATABASE_URL", url);
    let daemon = Daemon::start(command);
    let address = address(&daemon).await;
    platform
        .run(&format!(
            "INSERT INTO agents (slug, name, system_prompt, voice_settings) VALUES
             ('written', '{SECRET}', '{SECRET}', '{{\"voice_id\": \"{SECRET}\"}}'),
             ('lonely', '{SECRET}', '{SECRET}', '{{\"voice_id\": \"{SECRET}\"}}'),
             ('raised', '{SECRET}', '{SECRET}', '{{\"provider\": \"openai\", \"voice_id\": \"{SECRET}\"}}'),
             ('checked', '{SECRET}', '{SECRET}', '{{\"voice_id\": \"{SECRET}-voice\"}}'),
             ('rejected', '{SECRET}', '{SECRET}', '{{\"temperature\": \"{SECRET}\"}}')"
        ))
        .await;
    for (kind, count) in [("missing_configuration", 1.0), ("rejected", 1.0), ("failed", 2.0)] {
        metric_becomes(
            address,
            &format!("agent_sync_problems{{database=\"default\",kind=\"{kind}\"}}"),
            count,
        )
        .await;
    }
    for path in ["/", "/livez", "/readyz", "/metrics", "/status?problems=1000&changes=200", "/nothing"] {
        let answer = get(address, path).await.1;
        assert!(!answer.contains(SECRET), "{path}: {answer}");
    }
    // Nor is it when the database is lost, with whatever cause.
    platform.run("ALTER SCHEMA agent_sync RENAME TO elsewhere").await;
    eventually("it is lost", async || get(address, "/readyz").await.0 == 503).await;
    for path in ["/readyz", "/status"] {
        assert!(!get(address, path).await.1.contains(SECRET), "{path}");
    }
    platform.run("ALTER SCHEMA elsewhere RENAME TO agent_sync").await;
}

#[tokio::test]
async fn probe_says_by_its_exit_code_yes_no_or_nobody_there() {
    let platform = Platform::installed().await;
    let (daemon, address) = serving(&platform).await;
    let probe = |question: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_agent-sync"));
        command.env_clear().args(["probe", question]);
        command
    };
    let told = |command: &mut Command| {
        let output = command.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
    };
    let listen = address.to_string();
    for question in ["live", "ready"] {
        let (code, out, error) = told(probe(question).env("AGENT_SYNC__ADMIN__LISTEN", &listen));
        assert_eq!((code, &*error), (0, ""), "{question}");
        assert_eq!(out, if question == "live" { "ok\n" } else { "default: ready (waiting)\n" });
    }
    // A daemon that listens everywhere is asked by loopback; this one listens there alone.
    let everywhere = format!("0.0.0.0:{}", address.port());
    assert_eq!(told(probe("live").args(["--listen", &everywhere])).0, 0);

    platform.run("ALTER TABLE agents DISABLE TRIGGER agent_sync_insert").await;
    eventually("it is not ready", async || get(address, "/readyz").await.0 == 503).await;
    let (code, out, error) = told(probe("ready").args(["--listen", &listen]));
    assert_eq!((code, &*out), (1, ""));
    assert!(
        error.contains("not ready (HTTP status 503)") && error.contains("agent_sync_insert is disabled"),
        "{error}"
    );

    assert!(daemon.terminate().await.success());
    let (code, out, error) = told(probe("live").args(["--listen", &listen]));
    assert_eq!((code, &*out), (69, ""), "{error}");
    assert!(error.contains("cannot be asked at") && error.contains("try: "), "{error}");

    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (code, _, error) = told(probe("live").args(["--listen", &silent.local_addr().unwrap().to_string()]));
    assert_eq!(code, 69, "{error}");
    for nowhere in ["off", "127.0.0.1:0"] {
        let (code, _, error) = told(probe("live").env("AGENT_SYNC__ADMIN__LISTEN", nowhere));
        assert_eq!(code, 64, "{nowhere}: {error}");
    }
    assert_eq!(told(&mut probe("maybe")).0, 64);
}

#[tokio::test]
async fn a_port_that_is_taken_keeps_nobody_from_syncing_and_is_had_when_it_is_free() {
    let platform = Platform::installed().await;
    platform.configure("a").await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let mut command = command(&platform);
    command.env("AGENT_SYNC__ADMIN__LISTEN", address.to_string());
    let daemon = Daemon::start(command);
    let line = daemon.logged("cannot serve over HTTP").await;
    assert_eq!((&line["level"], &line["address"]), (&"ERROR".into(), &address.to_string().into()));
    assert!(line["remedy"].as_str().unwrap().contains("admin.listen"), "{line}");
    platform.save("a", EXAMPLE).await;
    platform.becomes("a", EXPECTED).await;
    drop(taken);
    daemon.logged("serving /livez").await;
    assert_eq!(daemon.lines("cannot serve over HTTP").len(), 1, "once, however often it is tried");
    assert_eq!(get(address, "/livez").await.0, 200);
}

#[tokio::test]
async fn i4_a_reload_serves_at_another_address_or_nowhere_and_disturbs_no_database() {
    let platform = Platform::installed().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent-sync.toml");
    let write = |listen: &str| {
        let text = format!("[admin]\nlisten = '{listen}'\n[databases.main]\nurl = '{}'\n", platform.url);
        std::fs::write(&path, text).unwrap();
    };
    write("127.0.0.1:0");
    let mut command = Command::new(env!("CARGO_BIN_EXE_agent-sync"));
    command.env_clear().env("AGENT_SYNC__SYNC__SWEEP_INTERVAL", "1h").arg("run").arg("--config").arg(&path);
    let daemon = Daemon::spawn(command);
    daemon.logged("caught up").await;
    let first = address(&daemon).await;
    assert_eq!(get(first, "/livez").await.0, 200);

    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    write(&free.to_string());
    daemon.signal("HUP");
    daemon.logged_times("serving /livez", 2).await;
    assert_eq!(get(free, "/livez").await.0, 200);
    assert!(TcpStream::connect(first).await.is_err(), "the old one is closed");

    write("off");
    daemon.signal("HUP");
    eventually("nothing is served", async || TcpStream::connect(free).await.is_err()).await;
    assert_eq!(daemon.lines("connected and leading").len(), 1);
    assert_eq!(daemon.lines("stopped").len(), 0);
}

#[tokio::test]
async fn requests_that_are_not_understood_are_answered_with_what_is() {
    let platform = Platform::installed().await;
    let (_daemon, address) = serving(&platform).await;
    let ask = |head: &str| {
        let request = format!("{head}\r\nConnection: close\r\n\r\n");
        async move { raw(address, &request).await }
    };
    let answer = ask("POST /status HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0").await;
    assert!(answer.starts_with("HTTP/1.1 405 ") && answer.contains("\r\nallow: GET, HEAD\r\n"), "{answer}");
    let answer = ask("GET /nothing HTTP/1.1\r\nHost: localhost").await;
    assert!(answer.starts_with("HTTP/1.1 404 ") && answer.contains("/readyz"), "{answer}");
    let answer = ask("HEAD /metrics HTTP/1.1\r\nHost: localhost").await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\n"), "{answer}");
    // A web site that gives its name this host's address (DNS rebinding) is not let to read.
    for path in ["/", "/status", "/metrics"] {
        let answer = ask(&format!("GET {path} HTTP/1.1\r\nHost: evil.example:{}", address.port())).await;
        assert!(answer.starts_with("HTTP/1.1 421 ") && !answer.contains("agent_sync_"), "{answer}");
    }
    let answer =
        ask(&format!("GET /livez HTTP/1.1\r\nHost: localhost\r\nX: {}", "x".repeat(1_000_000))).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
    let answer = ask("GET /livez HTTP/1.1\r\nHost: localhost").await;
    for header in [
        "content-type: text/plain; charset=utf-8",
        "content-security-policy: default-src 'none'",
        "x-content-type-options: nosniff",
        "cache-control: no-store",
        "cross-origin-resource-policy: same-origin",
    ] {
        assert!(answer.contains(header), "{header} in {answer}");
    }
    assert!(!answer.to_lowercase().contains("\r\nserver:"), "{answer}");
}

#[tokio::test]
async fn silent_clients_by_the_thousand_keep_nobody_from_being_served_and_no_agent_from_being_synced() {
    let platform = Platform::installed().await;
    let (daemon, address) = serving(&platform).await;
    platform.configure("a").await;
    let before = metric(address, "process_open_fds").await.unwrap();
    let mut silent = Vec::new();
    for number in 0..1000 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        if number % 2 == 1 {
            // One half says nothing at all, the other half stops in the middle.
            let _ = stream.write_all(b"GET /status HTTP/1.1\r\nHost: loc").await;
        }
        silent.push(stream);
        if number % 100 == 99 {
            assert_eq!(get(address, "/livez").await.0, 200, "after {number}");
        }
    }
    let during = metric(address, "process_open_fds").await.unwrap();
    assert!(during <= before + 70.0, "{before} files were open, and now {during}");
    platform.save("a", EXAMPLE).await;
    platform.becomes("a", EXPECTED).await;
    drop(silent);
    assert!(daemon.peak_memory_kib() < 64 * 1024);
}
