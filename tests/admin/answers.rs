//! Answers over HTTP: without secrets (G11), to whoever asks in whatever way, and at nobody's expense.

use std::process::Command;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::support::http::{address, command, get, metric, metric_becomes, raw, serving};
use crate::support::platform::{EXAMPLE, EXPECTED};
use crate::support::{Daemon, Platform, eventually};

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
    eventually("it is not ready", async || get(address, "/readyz").await.1.contains("is disabled")).await;
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
