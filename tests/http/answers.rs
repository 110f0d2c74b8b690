//! Answers over HTTP: without secrets (G11), for any form of request, and without an effect on the
//! databases.

use std::process::Command;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::http::{address, command, get, metric, metric_becomes, raw, serving};
use crate::support::platform::{EXAMPLE, EXPECTED};
use crate::support::{Daemon, Platform, Said, eventually};

/// `--version`, the log, `/status` and `/metrics` name the same build. The builds of the tests name
/// more than the version, so a place that names the version alone differs.
#[tokio::test]
async fn every_place_names_the_build_and_not_only_its_version() {
    let platform = Platform::installed().await;
    let said = Said::of(platform.command(&["--version"])).await;
    let build = said.out.trim().strip_prefix("agent-sync ").unwrap();
    assert!(build.ends_with(')'), "{build}");
    let (daemon, address) = serving(&platform).await;
    assert_eq!(daemon.logged("agent-sync starts").await["version"], build);
    let status: Value = serde_json::from_str(&get(address, "/status").await.1).unwrap();
    assert_eq!(status["version"], build);
    let series = format!("agent_sync_build_info{{version=\"{build}\"}}");
    assert_eq!(metric(address, &series).await, Some(1.0));
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
    let url = platform
        .url
        .replacen("postgres@", &format!("postgres:{SECRET}@"), 1);
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
             ('raised', '{SECRET}', '{SECRET}',
               '{{\"provider\": \"openai\", \"voice_id\": \"{SECRET}\"}}'),
             ('checked', '{SECRET}', '{SECRET}', '{{\"voice_id\": \"{SECRET}-voice\"}}'),
             ('rejected', '{SECRET}', '{SECRET}', '{{\"temperature\": \"{SECRET}\"}}')"
        ))
        .await;
    for (kind, count) in [
        ("missing_configuration", 1.0),
        ("rejected", 1.0),
        ("failed", 2.0),
    ] {
        metric_becomes(
            address,
            &format!("agent_sync_problems{{database=\"default\",kind=\"{kind}\"}}"),
            count,
        )
        .await;
    }
    for path in [
        "/",
        "/livez",
        "/readyz",
        "/metrics",
        "/status?problems=1000&changes=200",
        "/nothing",
    ] {
        let answer = get(address, path).await.1;
        assert!(!answer.contains(SECRET), "{path}: {answer}");
    }
    // Nor is it after the loss of the database for any reason.
    platform
        .run("ALTER SCHEMA agent_sync RENAME TO elsewhere")
        .await;
    eventually("it is lost", async || {
        get(address, "/readyz").await.0 == 503
    })
    .await;
    for path in ["/readyz", "/status"] {
        assert!(!get(address, path).await.1.contains(SECRET), "{path}");
    }
    platform
        .run("ALTER SCHEMA elsewhere RENAME TO agent_sync")
        .await;
}

/// Runs `probe` with only these settings. Returns the exit code, standard output and standard
/// error.
async fn probe(
    question: &str,
    arguments: &[&str],
    settings: &[(&str, &str)],
) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_agent-sync"));
    command
        .env_clear()
        .args(["probe", question])
        .args(arguments)
        .env(SOCKET, "/nonexistent/admin.sock");
    let Said { code, out, err } = Said::of({
        command.envs(settings.iter().copied());
        command
    })
    .await;
    (code, out, err)
}

const LISTEN: &str = "AGENT_SYNC__ADMIN__LISTEN";
const SOCKET: &str = "AGENT_SYNC__ADMIN__SOCKET";

#[tokio::test]
async fn probe_says_by_its_exit_code_yes_no_or_nobody_there() {
    let platform = Platform::installed().await;
    let (daemon, address) = serving(&platform).await;
    let listen = address.to_string();
    for question in ["live", "ready"] {
        let (code, out, error) = probe(question, &[], &[(LISTEN, &listen)]).await;
        assert_eq!(code, 0, "{question}: {error}");
        assert_eq!(
            out,
            if question == "live" {
                "ok\n"
            } else {
                "default: ready (ok)\n"
            }
        );
    }
    // A daemon on every address is asked over loopback; this one listens on loopback alone.
    let everywhere = format!("0.0.0.0:{}", address.port());
    assert_eq!(probe("live", &["--listen", &everywhere], &[]).await.0, 0);

    platform
        .run("ALTER TABLE agents DISABLE TRIGGER agent_sync_insert")
        .await;
    eventually("it is not ready", async || {
        get(address, "/readyz").await.1.contains("is disabled")
    })
    .await;
    let (code, out, error) = probe("ready", &["--listen", &listen], &[]).await;
    assert_eq!((code, &*out), (1, ""));
    assert!(
        error.contains("not ready (HTTP status 503)")
            && error.contains("agent_sync_insert is disabled"),
        "{error}"
    );

    assert!(daemon.terminate().await.success());
    let (code, out, error) = probe("live", &["--listen", &listen], &[]).await;
    assert_eq!((code, &*out), (69, ""), "{error}");
    assert!(
        error.contains("the daemon does not answer at") && error.contains("try: "),
        "{error}"
    );

    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (code, _, error) = probe(
        "live",
        &["--listen", &silent.local_addr().unwrap().to_string()],
        &[],
    )
    .await;
    assert_eq!(code, 69, "{error}");
    for nowhere in ["off", "127.0.0.1:0"] {
        let (code, _, error) = probe("live", &[], &[(LISTEN, nowhere)]).await;
        assert_eq!(code, 64, "{nowhere}: {error}");
    }
    assert_eq!(probe("maybe", &[], &[]).await.0, 64);
}

#[tokio::test]
async fn s20_probe_asks_the_daemon_itself_whoever_has_taken_its_port() {
    let platform = Platform::installed().await;
    // The first program on the port can answer anything.
    let impostor = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = impostor.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in impostor.incoming() {
            let mut stream = stream.unwrap();
            let _ = std::io::Read::read(&mut stream, &mut [0; 1024]);
            let _ =
                std::io::Write::write_all(&mut stream, b"HTTP/1.0 503 No\r\n\r\nI hang, end me\n");
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("admin.sock").display().to_string();
    let settings = [(LISTEN, &*listen), (SOCKET, &*socket)];
    let mut command = platform.command(&["run"]);
    command.envs(settings);
    let mut daemon = Daemon::start(command);
    daemon.logged("cannot serve over HTTP").await;
    daemon.logged("caught up").await;
    eventually("it is ready", async || {
        probe("ready", &[], &settings).await.0 == 0
    })
    .await;
    assert_eq!(
        probe("live", &[], &settings).await,
        (0, "ok\n".to_owned(), String::new())
    );
    // A stopped daemon is detected despite the impostor.
    daemon.signal("STOP");
    eventually("all of its threads have stopped", async || {
        let (code, _, error) = probe("live", &[], &settings).await;
        code == 69 && error.contains("no answer within")
    })
    .await;
    daemon.signal("CONT");
    eventually("it goes on", async || {
        probe("live", &[], &settings).await.0 == 0
    })
    .await;
    // And so is a killed one.
    daemon.signal("KILL");
    daemon.ended().await;
    let (code, _, error) = probe("live", &[], &settings).await;
    assert!(
        code == 69 && error.contains(&socket) && error.contains("Connection refused"),
        "{code}: {error}"
    );
    // Without a socket, it warns that the origin of the answer is unknown.
    std::fs::remove_file(&socket).unwrap();
    for (arguments, why) in [
        (&[][..], "admin.sock: No such file"),
        (&["--listen", &listen], "named by --listen"),
    ] {
        let (code, _, error) = probe("live", arguments, &settings).await;
        assert!(code == 1 && error.contains("I hang"), "{code}: {error}");
        let note = "whether it is the daemon's cannot be told without its Unix socket";
        assert!(
            error.contains(note) && error.contains(why) && error.contains(&listen),
            "{error}"
        );
    }
}

/// Only root can create processes and directories of another user.
#[tokio::test]
async fn s20_neither_side_of_the_socket_trusts_another_user() {
    const NOBODY: u32 = 65_534;
    let is_root =
        std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap()) == 0;
    if !is_root {
        return;
    }
    let platform = Platform::installed().await;
    let open = |folder: &tempfile::TempDir, mode| {
        std::fs::set_permissions(
            folder.path(),
            std::os::unix::fs::PermissionsExt::from_mode(mode),
        )
        .unwrap();
        folder.path().join("admin.sock").display().to_string()
    };
    // A daemon of another user, in a directory of root that every user can write to.
    let folder = tempfile::tempdir().unwrap();
    let socket = open(&folder, 0o1777);
    let of_root = platform.command(&["run"]);
    let mut command = std::process::Command::new("setpriv");
    command
        .args([&format!("--reuid={NOBODY}"), "--clear-groups"])
        .arg(of_root.get_program())
        .args(of_root.get_args())
        .envs(
            of_root
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .env(SOCKET, &socket);
    let daemon = Daemon::start(command);
    daemon.logged("serving the same at the Unix socket").await;
    let (code, _, error) = probe("live", &[], &[(SOCKET, &socket)]).await;
    assert!(
        code == 69 && error.contains("a program of the user 65534 listens there"),
        "{code}: {error}"
    );
    drop(daemon);
    // A directory of another user.
    let folder = tempfile::tempdir().unwrap();
    let socket = open(&folder, 0o755);
    std::os::unix::fs::chown(folder.path(), Some(NOBODY), None).unwrap();
    let mut command = platform.command(&["run"]);
    command.env(SOCKET, &socket);
    let line = Daemon::start(command)
        .logged("cannot serve at the Unix socket")
        .await;
    assert!(
        line["cause"]
            .as_str()
            .unwrap()
            .contains("its directory belongs to the user 65534"),
        "{line}"
    );
}

/// The socket needs no port and moves with a reload.
#[tokio::test]
async fn s20_the_socket_needs_no_port_and_moves_with_a_reload() {
    let platform = Platform::installed().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("agent-sync.toml");
    let socket = |name: &str| folder.path().join(name).display().to_string();
    let write = |name: &str| {
        std::fs::write(
            &file,
            format!("[admin]\nlisten = \"off\"\nsocket = {:?}", socket(name)),
        )
        .unwrap();
    };
    write("first.sock");
    let mut command = platform.command(&["run"]);
    command
        .env("AGENT_SYNC_CONFIG", &file)
        .env(SOCKET, "")
        .env(LISTEN, "");
    let daemon = Daemon::start(command);
    let asks = async |name: &str| {
        let config = file.display().to_string();
        let socket = socket(name);
        probe("live", &["--config", &config], &[(SOCKET, &socket)])
            .await
            .0
    };
    eventually("it answers", async || asks("first.sock").await == 0).await;
    write("second.sock");
    daemon.signal("HUP");
    eventually("it answers elsewhere", async || {
        asks("second.sock").await == 0
    })
    .await;
    assert!(!std::path::Path::new(&socket("first.sock")).exists());
    // A missing directory causes no warning; a path that is in use does.
    assert!(
        daemon.log().iter().all(|line| line["level"] != "WARN"),
        "{:?}",
        daemon.log()
    );
    std::fs::write(socket("third.sock"), "a file of somebody").unwrap();
    write("third.sock");
    daemon.signal("HUP");
    let line = daemon.logged("cannot serve at the Unix socket").await;
    assert_eq!(line["cause"], "something else is there, and no socket");
}

/// A port in use does not stop the sync, and is bound when it is free.
#[tokio::test]
async fn a_port_in_use_stops_no_sync_and_is_taken_when_free() {
    let platform = Platform::installed().await;
    platform.configure("a").await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let mut command = command(&platform);
    command.env("AGENT_SYNC__ADMIN__LISTEN", address.to_string());
    let daemon = Daemon::start(command);
    let line = daemon.logged("cannot serve over HTTP").await;
    assert_eq!(
        (&line["level"], &line["address"]),
        (&"ERROR".into(), &address.to_string().into())
    );
    assert!(
        line["remedy"].as_str().unwrap().contains("admin.listen"),
        "{line}"
    );
    platform.save("a", EXAMPLE).await;
    platform.becomes("a", EXPECTED).await;
    drop(taken);
    daemon.logged("serving /livez").await;
    assert_eq!(
        daemon.lines("cannot serve over HTTP").len(),
        1,
        "once, however often it is tried"
    );
    assert_eq!(get(address, "/livez").await.0, 200);
}

/// A reload moves or closes the listener and disturbs no database.
#[tokio::test]
async fn i4_a_reload_moves_the_listener_and_no_database() {
    let platform = Platform::installed().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent-sync.toml");
    let write = |listen: &str| {
        let text = format!(
            "[admin]\nlisten = '{listen}'\n[databases.main]\nurl = '{}'\n",
            platform.url
        );
        std::fs::write(&path, text).unwrap();
    };
    write("127.0.0.1:0");
    let mut command = Command::new(env!("CARGO_BIN_EXE_agent-sync"));
    command
        .env_clear()
        .env("AGENT_SYNC__SYNC__SWEEP_INTERVAL", "1h")
        .arg("run")
        .arg("--config")
        .arg(&path);
    let daemon = Daemon::spawn(&command);
    daemon.logged("caught up").await;
    let first = address(&daemon).await;
    assert_eq!(get(first, "/livez").await.0, 200);

    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    write(&free.to_string());
    daemon.signal("HUP");
    daemon.logged_times("serving /livez", 2).await;
    assert_eq!(get(free, "/livez").await.0, 200);
    assert!(
        TcpStream::connect(first).await.is_err(),
        "the old one is closed"
    );

    write("off");
    daemon.signal("HUP");
    eventually("nothing is served", async || {
        TcpStream::connect(free).await.is_err()
    })
    .await;
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
    assert!(
        answer.starts_with("HTTP/1.1 405 ") && answer.contains("\r\nallow: GET, HEAD\r\n"),
        "{answer}"
    );
    let answer = ask("GET /nothing HTTP/1.1\r\nHost: localhost").await;
    assert!(
        answer.starts_with("HTTP/1.1 404 ") && answer.contains("/readyz"),
        "{answer}"
    );
    let answer = ask("HEAD /metrics HTTP/1.1\r\nHost: localhost").await;
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\n"),
        "{answer}"
    );
    for (accept, media, end) in [
        (
            "text/plain",
            "text/plain; version=0.0.4; charset=utf-8",
            "\n",
        ),
        (
            "application/openmetrics-text;q=0.6, text/plain;q=0.3",
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
            "\n# EOF\n",
        ),
    ] {
        let head = format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}");
        let answer = ask(&head).await;
        let is_right = answer.contains(&format!("content-type: {media}\r\n"))
            && answer.ends_with(end)
            && answer.contains("\nagent_sync_batches_total{database=\"default\"} ");
        assert!(is_right, "{answer}");
    }
    // A web site that resolves its name to this host (DNS rebinding) may not read the answers.
    for path in ["/", "/status", "/metrics"] {
        let answer = ask(&format!(
            "GET {path} HTTP/1.1\r\nHost: evil.example:{}",
            address.port()
        ))
        .await;
        assert!(
            answer.starts_with("HTTP/1.1 421 ") && !answer.contains("agent_sync_"),
            "{answer}"
        );
    }
    // Every host that the request names is checked.
    for head in [
        "GET /status HTTP/1.1\r\nHost: localhost\r\nHost: evil.example",
        "GET /status HTTP/1.1\r\nHost: evil.example\r\nHost: localhost",
        "GET http://evil.example/status HTTP/1.1\r\nHost: localhost",
    ] {
        let answer = ask(head).await;
        assert!(answer.starts_with("HTTP/1.1 421 "), "{head}: {answer}");
    }
    let answer = ask(&format!(
        "GET /livez HTTP/1.1\r\nHost: localhost\r\nX: {}",
        "x".repeat(1_000_000)
    ))
    .await;
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 431 "),
        "{answer}"
    );
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

/// Thousands of silent clients block neither other clients nor the sync.
#[tokio::test]
async fn thousands_of_silent_clients_hold_nothing_up() {
    let platform = Platform::installed().await;
    let (daemon, address) = serving(&platform).await;
    platform.configure("a").await;
    let before = metric(address, "process_open_fds").await.unwrap();
    let mut silent = Vec::new();
    for number in 0..1000 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        if number % 2 == 1 {
            // One half sends nothing, the other half stops in the middle of a request.
            let _ = stream.write_all(b"GET /status HTTP/1.1\r\nHost: loc").await;
        }
        silent.push(stream);
        if number % 100 == 99 {
            assert_eq!(get(address, "/livez").await.0, 200, "after {number}");
        }
    }
    let during = metric(address, "process_open_fds").await.unwrap();
    assert!(
        during <= before + 70.0,
        "{before} files were open, and now {during}"
    );
    platform.save("a", EXAMPLE).await;
    platform.becomes("a", EXPECTED).await;
    drop(silent);
    assert!(daemon.peak_memory_kib() < 64 * 1024);
}

/// GIVEN probes that have sent their requests, WHEN a hundred silent clients connect behind each
/// before the daemon accepts any, and a hundred after that, THEN each probe is answered.
#[tokio::test]
async fn a_probe_with_silent_clients_behind_it_is_answered() {
    let platform = Platform::installed().await;
    let (daemon, address) = serving(&platform).await;
    for silent_behind in [60, 100, 100, 100, 100] {
        daemon.signal("STOP");
        let mut probe = TcpStream::connect(address).await.unwrap();
        let request = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        probe.write_all(request).await.unwrap();
        let mut silent = Vec::new();
        for _ in 0..silent_behind {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        daemon.signal("CONT");
        // The kernel holds 128 that are not accepted.
        for _ in 0..100 {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        let mut answer = String::new();
        let read = probe.read_to_string(&mut answer).await;
        assert!(
            answer.starts_with("HTTP/1.1 200 OK"),
            "{silent_behind} behind it: {read:?} {answer}"
        );
        // The kernel holds none any more.
        assert_eq!(get(address, "/livez").await.0, 200);
    }
}
