//! `agent-sync config`: the settings in force and their sources.

use std::process::{Command, Output, Stdio};

use super::{URL, directory};

/// Runs `agent-sync config` with this environment and no other.
pub(super) fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    command(arguments, variables).output().unwrap()
}

fn command(arguments: &[&str], variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_agent-sync"));
    command
        .arg("config")
        .args(arguments)
        .env_clear()
        .envs(variables.iter().copied());
    command
}

#[test]
fn the_command_prints_every_setting_with_its_source() {
    let directory = directory(&[(
        "agent-sync.toml",
        "[sync]\nbatch_size = 7\n\n[databases.eu]\nurl = \"postgres://app:pw@db.example.com/x\"",
    )]);
    let file = directory
        .path()
        .join("agent-sync.toml")
        .display()
        .to_string();
    let output = run(
        &["--config", &file],
        &[("AGENT_SYNC__LOG__FORMAT", "json"), ("DATABASE_URL", "x")],
    );
    assert_eq!(
        (output.status.code(), output.stderr.as_slice()),
        (Some(0), &b""[..])
    );
    let text = String::from_utf8(output.stdout).unwrap();
    let place = format!("{}/", directory.path().display());
    let expected = r#"[log]
format = "json"  # environment variable AGENT_SYNC__LOG__FORMAT
level = "info"   # default

[capture]
notify = true          # default
configurations = true  # default

[sync]
batch_size = 7             # agent-sync.toml:2
sweep_interval = "30s"     # default
poll_interval = "1s"       # default
probe_interval = "5s"      # default
probe_timeout = "5s"       # default
lock_timeout = "500ms"     # default
statement_timeout = "30s"  # default

[audit]
interval = "1h"    # default
repair = "report"  # default

[history]
enabled = false   # default
keep = "720h"     # default
max_rows = 10000  # default

[reconcile]
confirm_above = 100  # default

[reconnect]
initial_delay = "100ms"  # default
max_delay = "10s"        # default

[shutdown]
grace_period = "4s"  # default

[reload]
watch = false  # default

[admin]
listen = "127.0.0.1:9878"              # default
socket = "/run/agent-sync/admin.sock"  # default

[libpq]
environment = true  # default

[databases.eu]
# target = "user app at db.example.com:5432, database x"  # agent-sync.toml:5
# password = "********"                                   # agent-sync.toml:5
url = "********"                                          # agent-sync.toml:5
tls = "verify-full"                                       # default
"#;
    let text = text.replace(&place, "");
    assert!(text.starts_with(expected), "{text}");
    assert!(
        text.contains("\n[databases.eu.configurations.columns]\nagent_slug = \"agent_slug\" "),
        "{text}"
    );
    let note = "\n# note: DATABASE_URL is set and not used, because the settings name databases: \
        eu (agent-sync.toml:4)\n";
    assert!(text.ends_with(note), "{text}");
    toml::from_str::<toml::Table>(&text).expect("the output is TOML");
}

#[test]
fn the_command_prints_json_by_key() {
    let output = run(
        &["--json"],
        &[("DATABASE_URL", URL), ("AGENT_SYNC__SYNC__BATCH_SIZE", "7")],
    );
    assert_eq!(output.status.code(), Some(0));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let variable = |name: &str| format!("environment variable {name}");
    assert_eq!(
        json["log.format"],
        serde_json::json!({ "value": "auto", "source": "default" })
    );
    let batch_size =
        serde_json::json!({ "value": 7, "source": variable("AGENT_SYNC__SYNC__BATCH_SIZE") });
    assert_eq!(json["sync.batch_size"], batch_size);
    let secret = serde_json::json!({ "value": "********", "source": variable("DATABASE_URL") });
    assert_eq!(json["databases.default.url"], secret);
    assert_eq!(json["databases.default.password"], secret);

    let variables = [
        ("DATABASE_URL", URL),
        ("AGENT_SYNC__DATABASES__EU__URL", URL),
    ];
    let output = run(&["--json"], &variables);
    let note = "agent-sync: DATABASE_URL is set and not used, because the settings name databases: \
        eu (environment variable AGENT_SYNC__DATABASES__EU__URL)\n";
    assert_eq!(String::from_utf8(output.stderr).unwrap(), note);
}

#[test]
fn the_verb_exits_64_with_every_mistake_a_line() {
    let output = run(
        &[],
        &[
            ("AGENT_SYNC__LOG__FORMAT", "xml"),
            ("AGENT_SYNC__SYNC__BATCH_SIZE", "0"),
        ],
    );
    assert_eq!(
        (output.status.code(), output.stdout.as_slice()),
        (Some(64), &b""[..])
    );
    let text = String::from_utf8(output.stderr).unwrap();
    let expected = r#"agent-sync: the settings have 2 mistakes
  because:
  - environment variable AGENT_SYNC__LOG__FORMAT: log.format: expected "auto", "pretty" or "json", found "xml"; for example `AGENT_SYNC__LOG__FORMAT=auto`
  - environment variable AGENT_SYNC__SYNC__BATCH_SIZE: sync.batch_size: expected an integer from 1 to 10000, found "0"; for example `AGENT_SYNC__SYNC__BATCH_SIZE=500`
"#;
    assert_eq!(text, expected);
}

#[test]
fn the_verb_survives_a_reader_that_has_gone() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = command(&[], &[])
        .stdout(writer)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
        .wait_with_output()
        .unwrap();
    assert_eq!(
        (
            output.status.code(),
            String::from_utf8(output.stderr).unwrap()
        ),
        (Some(0), String::new())
    );
}

/// `--check` prints nothing and refuses the settings that the daemon refuses.
#[test]
fn the_check_refuses_what_the_daemon_would_refuse() {
    let directory = directory(&[("rules.toml", "nonsense = 1")]);
    let rules = directory.path().join("rules.toml");
    let database = ("DATABASE_URL", URL);
    for (variables, code, reason) in [
        (&[database][..], 0, ""),
        (&[], 64, "no database is configured"),
        (
            &[database, ("AGENT_SYNC__SYNC__BATCH_SIZE", "0")],
            64,
            "AGENT_SYNC__SYNC__BATCH_SIZE",
        ),
        (
            &[
                database,
                ("AGENT_SYNC__RULES__FILE", rules.to_str().unwrap()),
            ],
            64,
            "are not valid",
        ),
    ] {
        let output = run(&["--check"], variables);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(
            output.stdout.is_empty() && said.contains(reason) && said.is_empty() == (code == 0),
            "{said}"
        );
    }
}
