//! Connections by the sources of libpq (I9): a daemon with nothing but `PG*` variables, and
//! passwords of files that are read again before each connection (G15).

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::sync::OnceLock;

use agent_sync_testbed::{Cluster, Options};
use tempfile::TempDir;

use crate::support::platform::{EXAMPLE, EXPECTED, TABLES};
use crate::support::{Daemon, Platform, Said};

/// A server that asks every role but the superuser for a password.
fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| {
        Cluster::start(Options {
            tcp: true,
            settings: "hba_file = 'pg_hba.conf'",
            files: &[(
                "pg_hba.conf",
                "local all postgres trust\nlocal all all scram-sha-256\n\
                 host all all samehost scram-sha-256\n",
            )],
        })
        .unwrap()
    })
}

/// A platform, the role of its daemon, and a home directory.
struct World {
    platform: Platform,
    role: String,
    home: TempDir,
}

impl World {
    async fn new() -> Self {
        let platform = Platform::with_tables(cluster(), TABLES).await;
        let role = format!("daemon_of_{}", platform.name());
        let installed = platform.says(&["install", "--role", &role]).await;
        assert_eq!(installed.code, 0, "{installed:?}");
        platform.configure("a").await;
        let home = tempfile::tempdir().unwrap();
        let world = Self {
            platform,
            role,
            home,
        };
        world.change_password("old").await;
        world
    }

    async fn change_password(&self, password: &str) {
        let sql = format!("ALTER ROLE {} PASSWORD '{password}'", self.role);
        self.platform.run(&sql).await;
    }

    /// Puts a file that only its owner can read into the home directory.
    fn put(&self, name: &str, text: &str) {
        let (file, new) = (self.home.path().join(name), self.home.path().join("new"));
        fs::write(&new, text).unwrap();
        fs::set_permissions(&new, fs::Permissions::from_mode(0o600)).unwrap();
        fs::rename(new, file).unwrap();
    }

    /// A line of the password file for the daemon.
    fn line(&self, host: &str, password: &str) -> String {
        let (port, name, role) = (cluster().port(), self.platform.name(), &self.role);
        format!("{host}:{port}:{name}:{role}:{password}\n")
    }

    /// A command with the variables of an address, and these.
    fn command(&self, subcommand: &str, host: &str, more: &[(&str, &str)]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_agent-sync"));
        command
            .env_clear()
            .arg(subcommand)
            .env("HOME", self.home.path())
            .env("PGHOST", host)
            .env("PGPORT", cluster().port().to_string())
            .env("PGUSER", &self.role)
            .env("PGDATABASE", self.platform.name())
            .env("AGENT_SYNC__RECONNECT__MAX_DELAY", "100ms")
            .envs(more.iter().copied());
        command
    }

    async fn is_served(&self) {
        self.platform
            .run("UPDATE agent_configurations SET provider_config = '{}'; DELETE FROM agents")
            .await;
        self.platform.save("a", EXAMPLE).await;
        self.platform.becomes("a", EXPECTED).await;
    }

    async fn end_sessions(&self) {
        let sql = format!(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = '{}'",
            self.role
        );
        self.platform.value::<i64>(&sql).await;
    }
}

/// GIVEN only `PG*` variables and a password, WHEN the daemon runs, THEN it serves, over a socket
/// and over TCP.
#[tokio::test]
async fn i9_a_daemon_with_only_variables_serves() {
    let world = World::new().await;
    let folder = cluster().folder().display().to_string();
    for (host, more) in [
        (&*folder, &[("PGPASSWORD", "old")][..]),
        ("127.0.0.1", &[("PGPASSWORD", "old"), ("PGAPPNAME", "mine")]),
    ] {
        let daemon = Daemon::start(world.command("run", host, more));
        daemon.logged("caught up").await;
        world.is_served().await;
        let said = Said::of(world.command("check", host, more)).await;
        assert_eq!(said.code, 0, "{said:?}");
        let log = format!("{:?}", daemon.log());
        assert!(!log.contains("\"old\""), "{log}");
    }
}

/// The passwords of the password file, of a named one, and of the service file are read again
/// before each attempt.
#[tokio::test]
async fn g15_passwords_of_libpq_s_files_are_read_again() {
    let world = World::new().await;
    let folder = cluster().folder().display().to_string();
    let named = world.home.path().join("named").display().to_string();
    for (file, more) in [
        (".pgpass", &[][..]),
        ("named", &[("PGPASSFILE", &*named)]),
        (".pg_service.conf", &[("PGSERVICE", "main")]),
    ] {
        let text = |password: &str| match file {
            ".pg_service.conf" => format!("[main]\npassword={password}\n"),
            _ => format!("other:1:*:*:no\n{}", world.line(&folder, password)),
        };
        world.change_password("old").await;
        world.put(file, &text("old"));
        let daemon = Daemon::start(world.command("run", &folder, more));
        daemon.logged("caught up").await;

        world.change_password("new").await;
        world.end_sessions().await;
        let lines = daemon.logged_times("database unavailable", 2).await;
        let cause = lines[1]["cause"].as_str().unwrap();
        assert!(cause.contains("28P01"), "{file}: {cause}");
        world.put(file, &text("new"));
        daemon.logged("database available again").await;
        world.is_served().await;
        fs::remove_file(world.home.path().join(file)).unwrap();
    }
}

/// A password file that others can read is named by the attempt that lacks a password.
#[tokio::test]
async fn s16_an_attempt_names_the_password_file_that_is_not_used() {
    let world = World::new().await;
    let folder = cluster().folder().display().to_string();
    world.put(".pgpass", &world.line(&folder, "old"));
    let file = world.home.path().join(".pgpass");
    let mode = |mode| fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
    let daemon = Daemon::start(world.command("run", &folder, &[]));
    daemon.logged("caught up").await;
    mode(0o644);
    world.end_sessions().await;
    let lines = daemon.logged_times("database unavailable", 2).await;
    let cause = lines[1]["cause"].as_str().unwrap();
    assert!(
        cause.contains("password missing; the password file is not used: expected a password file")
            && cause.contains("found mode 0644; chmod 0600"),
        "{cause}"
    );
    mode(0o600);
    daemon.logged("database available again").await;
    world.is_served().await;
}

/// Each server of a list takes the password of its own line.
#[tokio::test]
async fn i9_each_server_has_the_password_of_its_line() {
    let world = World::new().await;
    let folder = cluster().folder().display().to_string();
    world.put(
        ".pgpass",
        &format!(
            "{}{}",
            world.line("127.0.0.1", "wrong"),
            world.line(&folder, "old")
        ),
    );
    let said = Said::of(world.command("status", &format!("127.0.0.1,{folder}"), &[])).await;
    assert_eq!(said.code, 0, "{said:?}");
    let said = Said::of(world.command("status", "127.0.0.1", &[])).await;
    assert!(said.code == 69 && said.out.contains("28P01"), "{said:?}");
}
