//! Connections by the sources of libpq (I9): a daemon with nothing but `PG*` variables, and
//! passwords of files that are read again before each connection (G15).

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use tempfile::TempDir;

use crate::outage::role::{DaemonRole, cluster};
use crate::support::{Daemon, Said};

/// The role of a daemon with the password `old`, and a home directory.
struct World {
    role: DaemonRole,
    home: TempDir,
}

impl World {
    async fn new() -> Self {
        Self {
            role: DaemonRole::new("old").await,
            home: tempfile::tempdir().unwrap(),
        }
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
        let (port, name, role) = (cluster().port(), self.role.platform.name(), &self.role.name);
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
            .env("PGUSER", &self.role.name)
            .env("PGDATABASE", self.role.platform.name())
            .env("AGENT_SYNC__RECONNECT__MAX_DELAY", "100ms")
            .envs(more.iter().copied());
        command
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
        world.role.is_served().await;
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
        world.role.change_password("old").await;
        world.put(file, &text("old"));
        let daemon = Daemon::start(world.command("run", &folder, more));
        daemon.logged("caught up").await;

        world.role.change_password("new").await;
        world.role.end_sessions().await;
        let lines = daemon.outage_times(2).await;
        let cause = lines[1]["cause"].as_str().unwrap();
        assert!(cause.contains("28P01"), "{file}: {cause}");
        world.put(file, &text("new"));
        daemon.logged("database available again").await;
        world.role.is_served().await;
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
    world.role.end_sessions().await;
    let lines = daemon.outage_times(2).await;
    let cause = lines[1]["cause"].as_str().unwrap();
    assert!(
        cause.contains("password missing; the password file is not used: expected a password file")
            && cause.contains("found mode 0644; chmod 0600"),
        "{cause}"
    );
    mode(0o600);
    daemon.logged("database available again").await;
    world.role.is_served().await;
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
