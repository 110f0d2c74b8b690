//! Credentials are read before each connection (G15): a rotated secret needs neither a signal nor a
//! restart.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::outage::role::{DaemonRole, cluster};
use crate::support::{Daemon, Said};

/// The role of a daemon with the password `old`, and a directory for secrets.
struct World {
    role: DaemonRole,
    folder: TempDir,
}

impl World {
    async fn new() -> Self {
        Self {
            role: DaemonRole::new("old").await,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn url(&self, password: &str) -> String {
        let user = if password.is_empty() {
            self.role.name.clone()
        } else {
            format!("{}:{password}", self.role.name)
        };
        self.role.platform.url_as(&user)
    }

    /// A command whose database has its password or its URL in this file.
    fn command(&self, subcommand: &str, what: What, file: &Path) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_agent-sync"));
        command
            .env_clear()
            .arg(subcommand)
            .env("AGENT_SYNC__SYNC__SWEEP_INTERVAL", "1h");
        command.env("AGENT_SYNC__RECONNECT__MAX_DELAY", "100ms");
        match what {
            What::Password => command
                .env("AGENT_SYNC__DATABASES__MAIN__URL", self.url(""))
                .env("AGENT_SYNC__DATABASES__MAIN__PASSWORD_FILE", file),
            What::Url => command.env("AGENT_SYNC__DATABASES__MAIN__URL_FILE", file),
        };
        command
    }

    /// The content of the file for this password.
    fn content(&self, what: What, password: &str) -> String {
        match what {
            What::Password => format!("{password}\n"),
            What::Url => format!("{}\n", self.url(password)),
        }
    }
}

/// The kind of secret in the file.
#[derive(Debug, Clone, Copy)]
enum What {
    Password,
    Url,
}

/// The way in which the content changes.
#[derive(Debug, Clone, Copy)]
enum How {
    Rewritten,
    Renamed,
    /// Like Kubernetes: the file is a link through a directory that is a link.
    Relinked,
}

impl How {
    fn put(self, folder: &Path, content: &str) -> PathBuf {
        let file = folder.join("secret");
        match self {
            Self::Rewritten => fs::write(&file, content).unwrap(),
            Self::Renamed => {
                fs::write(folder.join("secret.new"), content).unwrap();
                fs::rename(folder.join("secret.new"), &file).unwrap();
            }
            Self::Relinked => {
                let version = format!("..version_{}", fs::read_dir(folder).unwrap().count());
                fs::create_dir(folder.join(&version)).unwrap();
                fs::write(folder.join(&version).join("secret"), content).unwrap();
                symlink(&version, folder.join("..data_tmp")).unwrap();
                fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
                if !file.exists() {
                    symlink("..data/secret", &file).unwrap();
                }
            }
        }
        file
    }
}

/// The next connection uses a rotated secret without a signal.
#[tokio::test]
async fn g15_the_next_connection_uses_a_rotated_secret() {
    for (what, how) in [
        (What::Password, How::Rewritten),
        (What::Password, How::Renamed),
        (What::Password, How::Relinked),
        (What::Url, How::Rewritten),
        (What::Url, How::Renamed),
        (What::Url, How::Relinked),
    ] {
        let world = World::new().await;
        let file = how.put(world.folder.path(), &world.content(what, "old"));
        let daemon = Daemon::start(world.command("run", what, &file));
        daemon.logged("caught up").await;
        // No connection starts between the change of the password and that of the file.
        world.role.server_is_rechecked().await;
        daemon.signal("STOP");
        world.role.change_password("new").await;
        how.put(world.folder.path(), &world.content(what, "new"));
        daemon.signal("CONT");
        world.role.end_sessions().await;
        daemon.logged("database available again").await;
        world.role.is_served().await;
        let refused = format!(
            "password authentication failed for user \"{}\"",
            world.role.name
        );
        assert!(
            !cluster().log().contains(&refused),
            "{what:?} {how:?}: a connection had the old password"
        );
        assert_eq!(daemon.outages().len(), 1, "{what:?} {how:?}");
        let subcommand = Said::of(world.command("check", what, &file)).await;
        assert_eq!(subcommand.code, 0, "{what:?} {how:?}: {subcommand:?}");
    }
}

/// A late secret is used by the first attempt after its arrival.
#[tokio::test]
async fn g15_a_late_secret_is_used_by_the_next_attempt() {
    let world = World::new().await;
    let file = How::Rewritten.put(world.folder.path(), "old\n");
    let daemon = Daemon::start(world.command("run", What::Password, &file));
    daemon.logged("caught up").await;
    world.role.change_password("new").await;
    world.role.end_sessions().await;
    let lines = daemon.outage_times(2).await;
    assert!(
        lines[1]["cause"].as_str().unwrap().contains("28P01"),
        "{:?}",
        lines[1]
    );
    How::Rewritten.put(world.folder.path(), "new\n");
    daemon.logged("database available again").await;
    world.role.is_served().await;
}

/// An unusable secret file is named, and read again until it is valid.
#[tokio::test]
async fn g15_an_unusable_secret_file_is_named_and_read_again() {
    let world = World::new().await;
    let (password, url) = (
        world.content(What::Password, "old"),
        world.content(What::Url, "old"),
    );
    for (what, right, wrong, cause) in [
        (What::Password, &password, None, "cannot read"),
        (What::Password, &password, Some("\n"), "is empty"),
        (What::Url, &url, None, "cannot read"),
        (What::Url, &url, Some(""), "is empty"),
        (
            What::Url,
            &url,
            Some("mysql://app:hunter2@db/x"),
            "found another scheme",
        ),
        (
            What::Url,
            &url,
            Some("postgres://app:hunter2@db/x?sslmode=loud"),
            "expected \"disable\"",
        ),
    ] {
        let file = How::Renamed.put(world.folder.path(), right);
        let daemon = Daemon::start(world.command("run", what, &file));
        daemon.logged("caught up").await;
        match wrong {
            None => fs::remove_file(&file).unwrap(),
            Some(text) => drop(How::Renamed.put(world.folder.path(), text)),
        }
        world.role.end_sessions().await;
        let line = daemon.outage_times(2).await.remove(1);
        let told = line["cause"].as_str().unwrap();
        assert!(
            told.contains(cause) && told.contains(file.to_str().unwrap()),
            "{wrong:?}: {told}"
        );
        assert!(
            line["remedy"]
                .as_str()
                .unwrap()
                .contains("without a reload or a restart"),
            "{line}"
        );
        assert!(
            !daemon
                .log()
                .iter()
                .any(|line| line.to_string().contains("hunter2")),
            "{:?}",
            daemon.log()
        );
        How::Renamed.put(world.folder.path(), right);
        daemon.logged("database available again").await;
        world.role.is_served().await;
    }
}

/// A pipe without a writer, a directory, a socket and a device, each with its name in a message.
fn no_files(folder: &Path) -> (Vec<(PathBuf, &'static str)>, UnixListener) {
    let path = |name: &str| folder.join(name);
    assert!(
        Command::new("mkfifo")
            .arg(path("pipe"))
            .status()
            .unwrap()
            .success()
    );
    fs::create_dir(path("folder")).unwrap();
    let socket = UnixListener::bind(path("socket")).unwrap();
    let found = [
        (path("pipe"), "a pipe (FIFO)"),
        (path("folder"), "a directory"),
        (path("socket"), "a socket"),
        (PathBuf::from("/dev/zero"), "a device"),
    ];
    (found.into(), socket)
}

#[tokio::test]
async fn s16_a_secret_that_is_no_regular_file_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let (found, _socket) = no_files(folder.path());
    let key = |name: &str| format!("AGENT_SYNC__DATABASES__MAIN__{name}");
    for (file, kind) in found {
        for name in ["URL_FILE", "PASSWORD_FILE", "TLS_ROOT_CERT"] {
            for subcommand in ["config", "run", "check"] {
                let mut command = Command::new(env!("CARGO_BIN_EXE_agent-sync"));
                command.env_clear().arg(subcommand).env(key(name), &file);
                if name != "URL_FILE" {
                    command.env(
                        key("URL"),
                        "postgres://app@db.example.com/x?sslmode=verify-full",
                    );
                }
                let mut child = command
                    .stdout(Stdio::null())
                    .stderr(Stdio::piped())
                    .spawn()
                    .unwrap();
                let start = Instant::now();
                while child.try_wait().unwrap().is_none() {
                    if start.elapsed() > Duration::from_secs(10) {
                        child.kill().unwrap();
                        panic!("{subcommand} hangs with {kind} as {name}");
                    }
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                let output = child.wait_with_output().unwrap();
                let err = String::from_utf8(output.stderr).unwrap();
                let expected = format!(
                    "cannot read {}: it is {kind}, and no regular file",
                    file.display()
                );
                assert_eq!(output.status.code(), Some(64), "{subcommand} {name}: {err}");
                assert!(err.contains(&expected), "{subcommand} {name}: {err}");
            }
        }
    }
    // The size limit of a regular file also applies.
    let large = folder.path().join("large");
    fs::write(&large, "x".repeat(65_537)).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_agent-sync"));
    command
        .env_clear()
        .arg("config")
        .env(key("URL_FILE"), &large);
    assert!(
        Said::of(command)
            .await
            .err
            .contains("has more than 65536 bytes")
    );
}

/// The other files named in settings.
#[tokio::test]
async fn s16_settings_that_are_no_regular_file_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (mut found, _socket) = no_files(folder.path());
    let large = folder.path().join("large.toml");
    fs::File::create(&large).unwrap().set_len(1 << 36).unwrap();
    found.push((large, "more than"));
    for (file, kind) in found {
        for rules in [false, true] {
            let mut command = Command::new("timeout");
            command
                .args(["10", env!("CARGO_BIN_EXE_agent-sync"), "render"])
                .env_clear();
            command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
            if rules {
                command.env("AGENT_SYNC__RULES__FILE", &file);
            } else {
                command.arg("--config").arg(&file);
            }
            command.env("DATABASE_URL", "postgres://app@127.0.0.1:1/x");
            let said = Said::of(command).await;
            assert_eq!(said.code, 64, "{}, rules {rules}: {said:?}", file.display());
            assert!(said.err.contains(kind), "{said:?}");
        }
    }
}

/// A secret that is replaced by a pipe is named and does not block the daemon.
#[tokio::test]
async fn s16_a_secret_that_becomes_a_pipe_hangs_nothing() {
    let world = World::new().await;
    let file = How::Renamed.put(world.folder.path(), "old\n");
    let daemon = Daemon::start(world.command("run", What::Password, &file));
    daemon.logged("caught up").await;
    fs::remove_file(&file).unwrap();
    assert!(
        Command::new("mkfifo")
            .arg(&file)
            .status()
            .unwrap()
            .success()
    );
    world.role.end_sessions().await;
    let line = daemon.outage_times(2).await.remove(1);
    assert!(
        line["cause"]
            .as_str()
            .unwrap()
            .contains("it is a pipe (FIFO), and no regular file"),
        "{line}"
    );
    fs::remove_file(&file).unwrap();
    How::Renamed.put(world.folder.path(), "old\n");
    daemon.logged("database available again").await;
    world.role.is_served().await;
}

/// Files of the settings without a secret that every user can change are reported.
#[tokio::test]
async fn s16_settings_that_everybody_can_change_are_told() {
    let world = World::new().await;
    let mode =
        |file: &Path, mode| fs::set_permissions(file, fs::Permissions::from_mode(mode)).unwrap();
    let secret = How::Rewritten.put(world.folder.path(), &world.content(What::Url, "old"));
    let drop_ins = world.path("databases.d");
    fs::create_dir(&drop_ins).unwrap();
    let [settings, rules, drop_in] =
        ["agent-sync.toml", "rules.toml", "databases.d/main.toml"].map(|name| world.path(name));
    fs::copy("config/providers.toml", &rules).unwrap();
    fs::write(&settings, "[rules]\nfile = 'rules.toml'\n").unwrap();
    let database = format!("[databases.main]\nurl_file = '{}'\n", secret.display());
    fs::write(&drop_in, database).unwrap();
    let change = "every user of this machine can change it";
    let add = "every user of this machine can add a file to it";
    for (file, open, closed, access) in [
        (&settings, 0o646, 0o644, change),
        (&rules, 0o666, 0o664, change),
        (&drop_in, 0o606, 0o604, change),
        (&drop_ins, 0o777, 0o755, add),
        (&drop_ins, 0o1777, 0o755, add),
    ] {
        let command = |subcommand: &str| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_agent-sync"));
            let command_line = command.env_clear().arg(subcommand);
            command_line.arg("--config").arg(&settings);
            command
        };
        mode(file, open);
        let told = format!("{} is a part of the settings, and {access}", file.display());
        let config = Said::of(command("config")).await.out;
        assert!(config.contains(&format!("# warning: {told}\n")), "{config}");
        let doctor = Said::of(command("doctor")).await.out;
        let doctor = doctor.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(
            doctor.contains(&format!("warn settings {told}")),
            "{doctor}"
        );
        let daemon = Daemon::start(command("run"));
        let line = daemon.logged("others can change the settings").await;
        assert_eq!(line["file"].as_str(), file.to_str());
        drop(daemon);
        mode(file, closed);
        let config = Said::of(command("config")).await.out;
        assert!(!config.contains("a part of the settings"), "{config}");
    }
}

/// Files with a secret that other users can read or change are reported.
#[tokio::test]
async fn s16_secret_files_open_to_others_are_told() {
    const MESSAGE: &str = "others can read or change a file that holds a secret";
    let world = World::new().await;
    let mode =
        |file: &Path, mode| fs::set_permissions(file, fs::Permissions::from_mode(mode)).unwrap();
    let plain = How::Rewritten.put(world.folder.path(), "");
    let kubernetes = tempfile::tempdir().unwrap();
    let settings = world.path("agent-sync.toml");
    fs::write(
        &settings,
        format!("[databases.main]\nurl = '{}'\n", world.url("old")),
    )
    .unwrap();
    for (what, mode_of_file, access) in [
        (Some(What::Url), 0o600, None),
        (Some(What::Url), 0o640, None),
        (
            Some(What::Url),
            0o644,
            Some("every user of this machine can read it"),
        ),
        (
            Some(What::Password),
            0o644,
            Some("every user of this machine can read it"),
        ),
        (
            Some(What::Password),
            0o660,
            Some("every member of its group can change it"),
        ),
        (
            Some(What::Password),
            0o666,
            Some("every user of this machine can change it"),
        ),
        (None, 0o640, None),
        (None, 0o644, Some("every user of this machine can read it")),
    ] {
        let file = if what.is_some() { &plain } else { &settings };
        if let Some(what) = what {
            fs::write(file, world.content(what, "old")).unwrap();
        }
        let command = |subcommand: &str| {
            if let Some(what) = what {
                return world.command(subcommand, what, file);
            }
            let mut command = Command::new(env!("CARGO_BIN_EXE_agent-sync"));
            command
                .env_clear()
                .arg(subcommand)
                .arg("--config")
                .arg(file);
            command
        };
        mode(file, mode_of_file);
        let told = access.map(|access| format!("{} holds a secret, and {access}", file.display()));
        let daemon = Daemon::start(command("run"));
        daemon.logged("caught up").await;
        let line = daemon.lines(MESSAGE).pop();
        assert_eq!(
            line.as_ref().map(|line| line["access"].as_str().unwrap()),
            access,
            "{mode_of_file:o}"
        );
        if let Some(line) = line {
            assert_eq!(
                (line["level"].as_str(), line["file"].as_str()),
                (Some("WARN"), file.to_str())
            );
            assert!(
                line["remedy"].as_str().unwrap().contains("chmod g-w,o-rwx"),
                "{line}"
            );
        }
        let config = Said::of(command("config")).await.out;
        let doctor = Said::of(command("doctor"))
            .await
            .out
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ");
        match told {
            Some(told) => {
                assert!(config.contains(&format!("# warning: {told}\n")), "{config}");
                assert!(doctor.contains(&format!("warn secrets {told}")), "{doctor}");
            }
            None => assert!(
                !config.contains("# warning") && !doctor.contains("holds a secret"),
                "{doctor}"
            ),
        }
    }
    // A volume of Kubernetes has files of mode 0644; no other user can access its file system.
    let file = How::Relinked.put(kubernetes.path(), &world.content(What::Password, "old"));
    mode(&file, 0o644);
    let said = Said::of(world.command("config", What::Password, &file)).await;
    assert!(
        said.code == 0 && !said.out.contains("# warning"),
        "{said:?}"
    );
    // A file without secrets causes no warning.
    let without = format!("[databases.main]\nurl = '{}'\n", world.url(""));
    fs::write(&settings, without).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_agent-sync"));
    command
        .env_clear()
        .arg("config")
        .arg("--config")
        .arg(&settings);
    let said = Said::of(command).await;
    assert!(
        said.code == 0 && !said.out.contains("# warning"),
        "{said:?}"
    );
}

/// A reload keeps a session whose secret has changed, and counts drift with the new one.
#[tokio::test]
async fn g15_a_reload_keeps_a_session_with_a_changed_secret() {
    let world = World::new().await;
    let secret = How::Rewritten.put(world.folder.path(), "old\n");
    let rules = include_str!("../../config/providers.toml");
    fs::write(world.path("rules.toml"), rules).unwrap();
    let settings = format!(
        "[rules]\nfile = './rules.toml'\n[databases.main]\nurl = '{}'\npassword_file = '{}'\n",
        world.url(""),
        secret.display()
    );
    fs::write(world.path("agent-sync.toml"), settings).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_agent-sync"));
    command
        .env_clear()
        .args(["run", "--config"])
        .arg(world.path("agent-sync.toml"));
    command
        .env("AGENT_SYNC__RECONNECT__MAX_DELAY", "1h")
        .env("AGENT_SYNC__RECONNECT__INITIAL_DELAY", "1m");
    let daemon = Daemon::start(command);
    daemon.logged("caught up").await;
    let session = format!(
        "SELECT pid FROM pg_stat_activity WHERE usename = '{}' AND application_name LIKE \
        'agent-sync/%'",
        world.role.name
    );
    let pid: i32 = world.role.platform.value(&session).await;

    world.role.change_password("new").await;
    How::Rewritten.put(world.folder.path(), "new\n");
    fs::write(
        world.path("rules.toml"),
        rules.replace("\"nova-2\"", "\"nova-3\""),
    )
    .unwrap();
    daemon.signal("HUP");
    let reloaded = daemon.logged("settings reloaded").await;
    assert_eq!(
        (&reloaded["changed"], &reloaded["rules_changed"]),
        (&serde_json::Value::Null, &true.into()),
        "the session is not ended for a secret that it needs no more"
    );
    daemon.logged("the mapping has changed").await;
    assert!(
        daemon
            .lines("the mapping has changed; the number")
            .is_empty(),
        "{:?}",
        daemon.log()
    );
    world
        .role
        .platform
        .holds(&format!(
            "SELECT count(*) = 1 FROM ({session}) s WHERE pid = {pid}"
        ))
        .await;

    // In an outage, a reload causes an immediate attempt, however long the backoff is.
    world.role.change_password("newest").await;
    world.role.end_sessions().await;
    daemon.outage_times(2).await;
    How::Rewritten.put(world.folder.path(), "newest\n");
    fs::write(world.path("rules.toml"), rules).unwrap();
    daemon.signal("HUP");
    daemon.logged_times("caught up", 2).await;
    world.role.is_served().await;
}

/// GIVEN a secret in a file that only its owner can read, WHEN the file belongs to another user or
/// another user can replace it in its directory, THEN that is reported with the command that
/// corrects it.
#[tokio::test]
async fn s16_a_file_with_a_secret_that_others_can_replace_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let (inner, linked) = (folder.path().join("inner"), folder.path().join("linked"));
    fs::create_dir(&inner).unwrap();
    fs::create_dir(&linked).unwrap();
    let (file, link) = (inner.join("url"), linked.join("url"));
    fs::write(&file, "postgres://app:pass@127.0.0.1:1/x").unwrap();
    symlink(&file, &link).unwrap();
    let mode =
        |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let says = async |named: &Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_agent-sync"));
        command
            .env_clear()
            .arg("config")
            .env("AGENT_SYNC__DATABASES__MAIN__URL_FILE", named);
        Said::of(command).await.out
    };
    mode(&file, 0o600);
    for (of_inner, of_linked, told) in [
        (0o755, 0o755, [false, false]),
        (0o1777, 0o755, [false, false]),
        (0o777, 0o755, [true, true]),
        (0o755, 0o777, [false, true]),
    ] {
        mode(&inner, of_inner);
        mode(&linked, of_linked);
        for (named, told) in [&file, &link].into_iter().zip(told) {
            let warning = format!(
                "# warning: {} holds a secret, and every user of this machine can write to its \
                directory, and so replace it\n",
                named.display()
            );
            let said = says(named).await;
            assert_eq!(
                said.contains(&warning),
                told,
                "{of_inner:o} {of_linked:o}: {said}"
            );
            assert_eq!(said.contains("# warning"), told, "{said}");
        }
    }
    mode(&linked, 0o755);
    // Only root can change the owner of a file.
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        eprintln!("skipped: another owner of the file, which takes root");
        return;
    }
    for (path, what) in [
        (&file, "owns it"),
        (&inner, "owns its directory, and so can replace it"),
    ] {
        chown(path, Some(4321), None).unwrap();
        let said = says(&file).await;
        let warning = format!(
            "holds a secret, and a user who is neither root nor the one of this program {what}\n"
        );
        assert!(said.contains(&warning), "{said}");
        chown(path, Some(0), None).unwrap();
    }
    assert!(!says(&file).await.contains("# warning"));
}
