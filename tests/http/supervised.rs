//! The daemon and its supervisor (I4): the messages to `$NOTIFY_SOCKET`, their times, and the
//! priority of log lines in the journal.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use crate::support::http::{address, get};
use crate::support::platform::{EXAMPLE, EXPECTED, TABLES};
use crate::support::proxy::Proxy;
use crate::support::{Daemon, Platform, eventually, tcp_cluster};

/// A substitute for systemd that keeps every message.
struct Ear {
    heard: Arc<Mutex<Vec<String>>>,
    /// The directory of its socket, if it is temporary.
    _folder: Option<tempfile::TempDir>,
}

impl Ear {
    fn of(socket: UnixDatagram) -> Self {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&heard);
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length) = socket.recv(&mut buffer) {
                kept.lock()
                    .unwrap()
                    .push(String::from_utf8(buffer[..length].to_vec()).unwrap());
            }
        });
        Self {
            heard,
            _folder: None,
        }
    }

    fn at(path: &Path) -> Self {
        Self::of(UnixDatagram::bind(path).unwrap())
    }

    /// Keeps the directory of the socket until this is dropped.
    fn kept(self, folder: tempfile::TempDir) -> Self {
        Self {
            _folder: Some(folder),
            ..self
        }
    }

    /// All lines so far.
    fn lines(&self) -> Vec<String> {
        self.heard
            .lock()
            .unwrap()
            .concat()
            .lines()
            .map(str::to_owned)
            .collect()
    }

    fn count(&self, line: &str) -> usize {
        self.lines().iter().filter(|heard| *heard == line).count()
    }

    async fn hears(&self, line: &str) {
        eventually(&format!("the supervisor hears {line}"), async || {
            self.count(line) > 0
        })
        .await;
    }
}

fn supervised(platform: &Platform, socket: &str) -> Command {
    let mut command = platform.command(&["run"]);
    command.env("NOTIFY_SOCKET", socket);
    command
}

/// A daemon that cannot finish its start for this time, because its server does not answer.
async fn starting(connect_timeout: &str) -> (Daemon, Ear, Proxy) {
    let platform = Platform::with_tables(tcp_cluster(), TABLES).await;
    platform.install();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let ear = Ear::at(&path);
    let proxy = Proxy::start(tcp_cluster().port()).await;
    proxy.stall();
    let mut command = supervised(&platform, path.to_str().unwrap());
    command.env("DATABASE_URL", proxy.url(platform.name()));
    command.env(
        "AGENT_SYNC__DATABASES__DEFAULT__CONNECT_TIMEOUT",
        connect_timeout,
    );
    (Daemon::start(command), ear.kept(folder), proxy)
}

/// A supervisor is notified of the start, the state, reloads and the end.
#[tokio::test]
async fn i4_a_supervisor_hears_of_start_state_reload_and_end() {
    let platform = Platform::installed().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let ear = Ear::at(&path);
    let mut command = supervised(&platform, path.to_str().unwrap());
    command.env("WATCHDOG_USEC", "400000");
    let daemon = Daemon::start(command);
    ear.hears("READY=1").await;
    assert_eq!(
        daemon.lines("caught up").len(),
        1,
        "it is ready when it is in sync"
    );
    ear.hears("STATUS=1 of 1 database served").await;
    platform.save("lonely", EXAMPLE).await;
    ear.hears("STATUS=1 of 1 database served; 1 agent not in sync")
        .await;
    let pulses = ear.count("WATCHDOG=1");
    eventually("the watchdog is fed", async || {
        ear.count("WATCHDOG=1") > pulses + 3
    })
    .await;

    daemon.signal("HUP");
    eventually("the reload is over", async || ear.count("READY=1") == 2).await;
    let lines = ear.lines();
    let at = lines.iter().position(|line| line == "RELOADING=1").unwrap();
    let micros: u64 = lines[at + 1]
        .strip_prefix("MONOTONIC_USEC=")
        .unwrap()
        .parse()
        .unwrap();
    let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
    let uptime: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
    #[allow(clippy::cast_precision_loss, reason = "an uptime is far smaller")]
    let seconds = micros as f64 / 1e6;
    assert!(
        seconds > uptime - 60.0 && seconds <= uptime + 1.0,
        "{seconds} s of {uptime} s"
    );

    assert!(daemon.terminate().await.success());
    let lines = ear.lines();
    let end = lines.iter().position(|line| line == "STOPPING=1").unwrap();
    assert!(lines[end + 1].starts_with("STATUS=stopping"), "{lines:?}");
    assert_eq!(
        lines.len(),
        end + 2,
        "nothing is said after the end: {lines:?}"
    );
}

/// GIVEN a daemon in a write, WHEN it gets SIGTERM, THEN it announces the stop and sends nothing
/// more until it has ended, because a status or a watchdog signal would mean that it continues.
#[tokio::test]
async fn i4_nothing_is_said_after_the_end_however_long_it_takes() {
    let platform = Platform::installed().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let ear = Ear::at(&path);
    platform.configure("a").await;
    let slow = "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
          'BEGIN PERFORM pg_sleep(1); RETURN NEW; END';
                CREATE TRIGGER slow BEFORE UPDATE ON agent_configurations
                  FOR EACH ROW EXECUTE FUNCTION slow()";
    platform.run(slow).await;
    let mut command = supervised(&platform, path.to_str().unwrap());
    command.env("WATCHDOG_USEC", "40000");
    let daemon = Daemon::start(command);
    ear.hears("READY=1").await;
    platform.save("a", EXAMPLE).await;
    platform
        .holds("SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event = 'PgSleep'")
        .await;
    assert!(daemon.terminate().await.success());
    let lines = ear.lines();
    let end = lines.iter().position(|line| line == "STOPPING=1").unwrap();
    assert_eq!(
        lines.len(),
        end + 2,
        "nothing but the status of the end is said after it: {lines:?}"
    );
}

/// GIVEN a daemon that is not ready, WHEN it gets SIGHUP, THEN the supervisor is not notified of
/// the reload, because the end of a reload sends READY=1.
#[tokio::test]
async fn i4_a_reload_during_the_start_does_not_say_ready() {
    let (daemon, ear, proxy) = starting("30s").await;
    ear.hears("EXTEND_TIMEOUT_USEC=60000000").await;
    daemon.signal("HUP");
    daemon.logged("settings reloaded").await;
    assert_eq!(
        (ear.count("RELOADING=1"), ear.count("READY=1")),
        (0, 0),
        "{:?}",
        ear.lines()
    );
    proxy.flow();
    ear.hears("READY=1").await;
    assert_eq!(ear.count("READY=1"), 1);
}

#[tokio::test]
async fn a_refused_reload_is_over_as_well() {
    let platform = Platform::installed().await;
    let folder = tempfile::tempdir().unwrap();
    let (path, file) = (
        folder.path().join("notify"),
        folder.path().join("agent-sync.toml"),
    );
    std::fs::write(&file, "").unwrap();
    let ear = Ear::at(&path);
    let mut command = supervised(&platform, path.to_str().unwrap());
    command.env("AGENT_SYNC_CONFIG", &file);
    let daemon = Daemon::start(command);
    ear.hears("READY=1").await;
    std::fs::write(&file, "nonsense = 1\n").unwrap();
    daemon.signal("HUP");
    daemon.logged("reload refused").await;
    eventually("the reload is over", async || ear.count("READY=1") == 2).await;
    assert_eq!(ear.count("WATCHDOG=1"), 0, "no watchdog waits");
}

/// The watchdog gets signals where it has a time, and this process is meant or none is named.
#[tokio::test]
async fn the_watchdog_is_fed_where_it_is_set_for_this_process() {
    let platform = Platform::installed().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let ear = Ear::at(&path);
    for (micros, pid, fed) in [
        ("0", None, false),
        ("soon", None, false),
        ("400000", Some("1"), false),
        ("400000", Some("x"), true),
    ] {
        let told = ear.count("WATCHDOG=1");
        let ready = ear.count("READY=1");
        let mut command = supervised(&platform, path.to_str().unwrap());
        command.env("WATCHDOG_USEC", micros);
        pid.map(|pid| command.env("WATCHDOG_PID", pid));
        let daemon = Daemon::start(command);
        eventually("it is ready", async || ear.count("READY=1") > ready).await;
        assert!(daemon.terminate().await.success());
        let is_fed = ear.count("WATCHDOG=1") > told;
        assert_eq!(is_fed, fed, "{micros} {pid:?}");
    }
}

#[tokio::test]
async fn an_abstract_socket_will_do() {
    let platform = Platform::installed().await;
    let name = format!("agent-sync-test-{}", std::process::id());
    let ear =
        Ear::of(UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap());
    let _daemon = Daemon::start(supervised(&platform, &format!("@{name}")));
    ear.hears("READY=1").await;
}

/// A start has no time limit, and an outage does not delay it.
#[tokio::test]
async fn a_start_has_no_limit_and_an_outage_does_not_delay_it() {
    let (daemon, ear, proxy) = starting("2s").await;
    ear.hears("EXTEND_TIMEOUT_USEC=60000000").await;
    daemon.outage().await;
    ear.hears("READY=1").await;
    let lines = ear.lines();
    let at = |start: &str| {
        lines
            .iter()
            .position(|line| line.starts_with(start))
            .unwrap()
    };
    assert!(at("EXTEND_TIMEOUT_USEC") < at("READY=1"), "{lines:?}");
    assert!(
        ear.lines().iter().any(|line| line
            .starts_with("STATUS=0 of 1 database served; default: database unavailable: ")),
        "{lines:?}"
    );
    proxy.flow();
    ear.hears("STATUS=1 of 1 database served").await;
}

/// Starts a daemon beside an open transaction that has saved the agent `open`.
async fn starts_beside_a_save_that_is_not_over(platform: &Platform, end_it: impl AsyncFnOnce()) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let ear = Ear::at(&path);
    for slug in ["before", "asked", "refused", "open"] {
        platform.configure(slug).await;
    }
    for slug in ["before", "asked", "refused"] {
        platform.save(slug, EXAMPLE).await;
    }
    let refuse = "ALTER TABLE agent_configurations ADD CONSTRAINT refused CHECK (agent_slug <> \
        'refused' OR voice_id IS NULL)";
    platform.run(refuse).await;

    // WHEN a daemon starts
    let mut command = supervised(platform, path.to_str().unwrap());
    command.env("AGENT_SYNC__ADMIN__LISTEN", "127.0.0.1:0");
    let daemon = Daemon::start(command);
    let address = address(&daemon).await;
    // THEN it is ready, and everything else is in sync
    ear.hears("READY=1").await;
    eventually("it is ready", async || {
        get(address, "/readyz").await.0 == 200
    })
    .await;
    assert_eq!(
        platform.provider_config("before").await,
        serde_json::from_str::<serde_json::Value>(EXPECTED).unwrap()
    );
    // AND a request for a slug is served (I7)
    platform
        .run("UPDATE agent_configurations SET provider_config = '{}' WHERE agent_slug = 'asked'")
        .await;
    platform.run("NOTIFY agent_sync, 'asked'").await;
    platform.becomes("asked", EXPECTED).await;
    // AND a refused write is retried when it is due
    platform
        .run("ALTER TABLE agent_configurations DROP CONSTRAINT refused")
        .await;
    platform.becomes("refused", EXPECTED).await;
    assert_eq!(
        get(address, "/readyz").await,
        (200, "default: ready (ok)\n".to_owned())
    );
    // AND the save is synced after its commit, and the daemon sleeps
    assert_eq!(
        platform.provider_config("open").await,
        serde_json::json!({})
    );
    end_it().await;
    platform.becomes("open", EXPECTED).await;
    eventually("it sleeps", async || {
        get(address, "/readyz").await.1 == "default: ready (ok)\n"
    })
    .await;
}

/// A start beside an open save is ready, and all other agents are synced.
#[tokio::test]
async fn i4_i7_a_start_beside_an_open_save_is_ready() {
    let platform = Platform::installed().await;
    let other = platform.connect().await;
    let save =
        format!("BEGIN; INSERT INTO agents (slug, voice_settings) VALUES ('open', '{EXAMPLE}')");
    other.batch_execute(&save).await.unwrap();
    starts_beside_a_save_that_is_not_over(&platform, async || {
        other.batch_execute("COMMIT").await.unwrap();
    })
    .await;
}

/// A start beside a prepared transaction is ready, and all other agents are synced.
#[tokio::test]
async fn i4_i7_a_start_beside_a_prepared_transaction_is_ready() {
    let settings = "max_prepared_transactions = 5";
    let (_own, platform) = Platform::on_own_server(settings).await;
    let save =
        format!("BEGIN; INSERT INTO agents (slug, voice_settings) VALUES ('open', '{EXAMPLE}')");
    platform.run(&save).await;
    platform.run("PREPARE TRANSACTION 'open'").await;
    starts_beside_a_save_that_is_not_over(&platform, async || {
        platform.run("COMMIT PREPARED 'open'").await;
    })
    .await;
}

#[tokio::test]
async fn a_supervisor_that_is_not_there_holds_nothing_up() {
    let platform = Platform::installed().await;
    let daemon = Daemon::start(supervised(&platform, "/nowhere/notify"));
    daemon.logged("caught up").await;
    daemon.logged("the state could not be sent").await;
    assert!(daemon.terminate().await.success());
}

#[tokio::test]
async fn in_the_journal_every_line_has_its_priority_and_no_time() {
    let platform = Platform::installed().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stderr");
    let stderr = std::fs::File::create(&path).unwrap();
    let metadata = stderr.metadata().unwrap();
    let mut command = platform.command(&["run"]);
    command.env(
        "JOURNAL_STREAM",
        format!("{}:{}", metadata.dev(), metadata.ino()),
    );
    command
        .env("AGENT_SYNC__ADMIN__LISTEN", "off")
        .stderr(stderr);
    let mut child = command.spawn().unwrap();
    let log = || std::fs::read_to_string(&path).unwrap();
    eventually("it has caught up", async || log().contains("caught up")).await;
    platform.save("lonely", EXAMPLE).await;
    eventually("it has warned", async || {
        log().contains("no configuration has this slug")
    })
    .await;
    child.kill().unwrap();
    child.wait().unwrap();
    let told = log();
    let line = |text: &str| {
        told.lines()
            .find(|line| line.contains(text))
            .unwrap_or_else(|| panic!("{told}"))
    };
    assert!(
        line("caught up").starts_with("<6> INFO caught up"),
        "{told}"
    );
    assert!(
        line("no configuration").starts_with("<4> WARN no configuration"),
        "{told}"
    );
    assert!(!told.contains('\u{1b}'), "{told}");

    // The same with the JSON format.
    let stderr = std::fs::File::create(&path).unwrap();
    let metadata = stderr.metadata().unwrap();
    let mut command = platform.command(&["run"]);
    command.env(
        "JOURNAL_STREAM",
        format!("{}:{}", metadata.dev(), metadata.ino()),
    );
    command
        .env("AGENT_SYNC__LOG__FORMAT", "json")
        .env("AGENT_SYNC__ADMIN__LISTEN", "off")
        .stderr(stderr);
    let mut child = command.spawn().unwrap();
    let log = || std::fs::read_to_string(&path).unwrap();
    eventually("it has caught up", async || log().contains("caught up")).await;
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(
        log()
            .lines()
            .all(|line| line.starts_with("<6>{") || line.starts_with("<4>{")),
        "{}",
        log()
    );

    let stderr = std::fs::File::create(&path).unwrap();
    let metadata = stderr.metadata().unwrap();
    let mut command = platform.command(&["run"]);
    command.env(
        "JOURNAL_STREAM",
        format!("{}:{}", metadata.dev(), metadata.ino()),
    );
    command.env_remove("DATABASE_URL").stderr(stderr);
    assert_eq!(command.status().unwrap().code(), Some(64));
    let said = std::fs::read_to_string(&path).unwrap();
    assert!(
        said.starts_with("<3>agent-sync: no database is configured"),
        "{said}"
    );
    assert!(
        said.lines().count() > 1 && said.lines().all(|line| line.starts_with("<3>")),
        "{said}"
    );
}

/// GIVEN a rules file that is replaced by a pipe, WHEN it is reloaded, THEN the reload is refused
/// immediately, the next one works, and the daemon ends on SIGTERM.
#[tokio::test]
async fn i4_rules_that_become_a_pipe_hold_nothing_up() {
    let folder = tempfile::tempdir().unwrap();
    let rules = folder.path().join("rules.toml");
    for to_the_end in [true, false] {
        std::fs::write(&rules, include_str!("../../config/providers.toml")).unwrap();
        let platform = Platform::installed().await;
        let mut command = platform.command(&["run"]);
        command.env("AGENT_SYNC__RULES__FILE", &rules);
        let daemon = Daemon::start(command);
        daemon.logged("caught up").await;
        std::fs::remove_file(&rules).unwrap();
        assert!(
            std::process::Command::new("mkfifo")
                .arg(&rules)
                .status()
                .unwrap()
                .success()
        );
        daemon.signal("HUP");
        if to_the_end {
            let line = daemon.logged("reload refused").await;
            assert!(
                line["reason"]
                    .as_str()
                    .unwrap()
                    .contains("it is a pipe (FIFO), and no regular file"),
                "{line}"
            );
            std::fs::remove_file(&rules).unwrap();
            std::fs::write(&rules, include_str!("../../config/providers.toml")).unwrap();
            daemon.signal("HUP");
            daemon.logged("settings reloaded").await;
        }
        assert!(daemon.terminate().await.success());
        std::fs::remove_file(&rules).unwrap();
    }
}
