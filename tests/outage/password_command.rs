//! The password of a command: asked for each connection (G15), and never told (G11).

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::json;
use tempfile::TempDir;

use crate::outage::role::DaemonRole;
use crate::support::{Daemon, Said};

/// The role of a daemon, and a script that prints its password.
struct World {
    role: DaemonRole,
    folder: TempDir,
}

impl World {
    async fn new() -> Self {
        let world = Self {
            role: DaemonRole::new("token-one").await,
            folder: tempfile::tempdir().unwrap(),
        };
        world.script("echo token-one");
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The script counts its calls.
    fn script(&self, text: &str) {
        let calls = self.path("calls");
        let text = format!("echo called >>{}\n{text}\n", calls.display());
        fs::write(self.path("new"), text).unwrap();
        fs::rename(self.path("new"), self.path("script")).unwrap();
    }

    fn calls(&self) -> usize {
        fs::read_to_string(self.path("calls")).map_or(0, |text| text.lines().count())
    }

    fn command(&self, subcommand: &str) -> Command {
        let script = self.path("script").display().to_string();
        let mut command = Command::new(env!("CARGO_BIN_EXE_agent-sync"));
        command
            .env_clear()
            .arg(subcommand)
            .env(
                "DATABASE_URL",
                self.role
                    .platform
                    .url_as(&format!("{}:wrong", self.role.name)),
            )
            .env(
                "AGENT_SYNC__DATABASES__DEFAULT__PASSWORD_COMMAND",
                json!(["/bin/sh", script, "secret-argument"]).to_string(),
            )
            .env("AGENT_SYNC__SYNC__SWEEP_INTERVAL", "1h")
            .env("AGENT_SYNC__RECONNECT__MAX_DELAY", "100ms");
        command
    }
}

/// GIVEN a password that a command prints, WHEN it changes and the connection ends, THEN the next
/// connection asks again, without a signal.
#[tokio::test]
async fn g15_a_password_command_is_asked_for_each_connection() {
    let world = World::new().await;
    let daemon = Daemon::start(world.command("run"));
    daemon.logged("caught up").await;
    world.role.is_served().await;
    let calls = world.calls();
    assert!(calls >= 1);
    daemon.signal("STOP");
    world.role.change_password("token-two").await;
    world.script("echo token-two");
    daemon.signal("CONT");
    world.role.end_sessions().await;
    daemon.logged("database available again").await;
    world.role.is_served().await;
    assert!(world.calls() > calls);
    assert_eq!(daemon.outages().len(), 1, "{:?}", daemon.log());

    // A refused password is asked for again by the next attempt.
    world.role.change_password("token-three").await;
    world.role.end_sessions().await;
    let lines = daemon.outage_times(3).await;
    assert!(
        lines[2]["cause"].as_str().unwrap().contains("28P01"),
        "{lines:?}"
    );
    world.script("echo token-three");
    daemon.logged_times("database available again", 2).await;
    let said = Said::of(world.command("check")).await;
    assert_eq!(said.code, 0, "{said:?}");
    let told = format!("{:?}{said:?}", daemon.log());
    assert!(
        !told.contains("token-") && !told.contains("secret-argument"),
        "{told}"
    );
}

/// A command that fails is the cause of the outage, by its exit code or its signal, and without its
/// output.
#[tokio::test]
async fn g11_a_failed_password_command_is_the_cause_without_its_output() {
    let world = World::new().await;
    let daemon = Daemon::start(world.command("run"));
    daemon.logged("caught up").await;
    for (script, cause) in [
        (
            "echo token-secret; echo token-secret >&2; exit 3",
            "it ended with exit code 3",
        ),
        ("echo token-secret; kill -KILL $$", "signal 9 ended it"),
        ("true", "it printed nothing"),
    ] {
        let before = daemon.outages().len();
        let again = daemon.lines("database available again").len() + 1;
        world.script(script);
        world.role.end_sessions().await;
        let line = daemon.outage_times(before + 2).await.pop().unwrap();
        let expected =
            format!("password_command: expected \"/bin/sh\" to print a password, and {cause}");
        assert_eq!(line["cause"], expected.as_str(), "{line}");
        let remedy = line["remedy"].as_str().unwrap();
        assert!(remedy.contains("as the user of the daemon"), "{line}");
        let said = Said::of(world.command("check")).await;
        assert!(said.code == 69 && said.err.contains(cause), "{said:?}");
        let told = format!("{:?}{said:?}", daemon.log());
        assert!(
            !told.contains("token-") && !told.contains("secret-argument"),
            "{told}"
        );
        world.script("echo token-one");
        daemon.logged_times("database available again", again).await;
    }
}
