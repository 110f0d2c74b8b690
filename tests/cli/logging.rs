//! The log as its readers take it: fields of spans, a terminal, colours, levels, and rows of like
//! lines.

use std::fmt::Write as _;
use std::process::{Command, Stdio};

use agent_sync::show::columns;
use serde_json::Value;

use crate::support::platform::EXAMPLE;
use crate::support::{Daemon, Platform, Said, eventually, http};

/// Every line of the work on a database has its name, also after a change of the level, and every
/// line of a batch has its number.
#[tokio::test]
async fn each_line_names_the_database_and_the_batch_of_its_span() {
    let platform = Platform::installed().await;
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("agent-sync.toml");
    let level = |level: &str| {
        let text = format!(
            "[log]\nlevel = '{level}'\n[databases.main]\nurl = '{}'",
            platform.url
        );
        std::fs::write(&settings, text).unwrap();
    };
    level("off");
    let mut command = platform.command(&["run", "--config"]);
    command.arg(&settings).env_remove("DATABASE_URL");
    let daemon = Daemon::start_at_level(command, None);
    platform.configure("a").await;
    platform.save("a", EXAMPLE).await;
    platform
        .holds("SELECT voice_id IS NOT NULL FROM agent_configurations")
        .await;
    assert!(daemon.log().is_empty(), "{:?}", daemon.log());

    level("debug");
    daemon.signal("HUP");
    daemon.logged("settings reloaded").await;
    let mut numbers = Vec::new();
    for saves in 1..=3 {
        platform
            .run("UPDATE agents SET voice_settings = jsonb_set(voice_settings, '{voice_id}', to_jsonb(md5(random()::text)))")
            .await;
        let committed = daemon.logged_times("batch committed", saves).await;
        numbers.extend(committed.last().unwrap()["batch"].as_u64());
    }
    platform.save("lonely", EXAMPLE).await;
    let lonely = daemon.logged("no configuration has this slug").await;
    assert!(
        numbers.is_sorted() && numbers.len() == 3 && numbers[0] < numbers[2],
        "{numbers:?}"
    );
    assert!(
        lonely["batch"].as_u64() > numbers.last().copied(),
        "{lonely}"
    );
    let whole_process = ["settings reloaded", "serving"];
    for line in daemon.log() {
        let message = line["message"].as_str().unwrap().to_owned();
        let is_of_process = whole_process.iter().any(|start| message.starts_with(start));
        assert_eq!(line["database"] == "main", !is_of_process, "{line}");
    }

    let lines: Vec<_> = daemon.log().iter().map(Value::to_string).collect();
    let mut jq = match Command::new("jq")
        .args(["-r", "select(.batch) | \"\\(.database) \\(.batch)\""])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
    {
        Ok(jq) => jq,
        Err(error) => return eprintln!("skipped: jq cannot be run ({error})"),
    };
    std::io::Write::write_all(&mut jq.stdin.take().unwrap(), lines.join("\n").as_bytes()).unwrap();
    let output = jq.wait_with_output().unwrap();
    let last = String::from_utf8(output.stdout).unwrap();
    let number = lonely["batch"].to_string();
    assert!(
        last.lines().any(|line| line == format!("main {number}")),
        "{last}"
    );
}

/// A terminal shows the lines as the demo does, wrapped at its width and with colours; `NO_COLOR`
/// and `--color` are respected.
#[tokio::test]
async fn a_terminal_shows_readable_lines_at_its_width() {
    let platform = Platform::installed().await;
    let folder = tempfile::tempdir().unwrap();
    for (width, color, coloured) in [(60, "auto", true), (100, "never", false)] {
        let [typescript, pid] =
            ["typescript", "pid"].map(|name| folder.path().join(format!("{name}-{width}")));
        let mut script = Command::new("script");
        script
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("TERM", "xterm")
            .env("DATABASE_URL", &platform.url)
            .env("AGENT_SYNC__ADMIN__LISTEN", "off")
            .env("AGENT_SYNC__ADMIN__SOCKET", "/nonexistent/admin.sock");
        let line = format!(
            "stty cols {width}; echo $$ >'{}'; exec '{}' run --color {color}",
            pid.display(),
            env!("CARGO_BIN_EXE_agent-sync"),
        );
        script.args(["-qefc", &line]).arg(&typescript);
        script.stdin(Stdio::null()).stdout(Stdio::null());
        let mut script = match script.spawn() {
            Ok(script) => script,
            Err(error) => return eprintln!("skipped: script cannot be run ({error})"),
        };
        let shown = || std::fs::read_to_string(&typescript).unwrap_or_default();
        eventually("it has caught up", async || shown().contains("caught up")).await;
        platform
            .run("DELETE FROM agent_sync.problem; DELETE FROM agents")
            .await;
        platform.save("lonely", EXAMPLE).await;
        eventually("it has warned", async || shown().contains("INSERT INTO")).await;
        let pid = std::fs::read_to_string(&pid).unwrap();
        let killed = Command::new("kill").arg(pid.trim()).status().unwrap();
        assert!(killed.success());
        let ended = tokio::task::spawn_blocking(move || script.wait().unwrap());
        assert!(ended.await.unwrap().success());
        let shown = shown();
        assert_eq!(shown.contains("\u{1b}[32m INFO"), coloured, "{shown}");
        let text = anstream::adapter::strip_str(&shown)
            .to_string()
            .replace('\r', "");
        let log: Vec<_> = text
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with("Script "))
            .collect();
        // A message is behind the time and the level, and everything else is indented.
        let blank = " ".repeat(15);
        assert!(
            log.iter()
                .all(|line| line.starts_with(&blank) || line.get(2..3) == Some(":")),
            "{text}"
        );
        assert!(
            text.contains(" WARN no configuration has this slug"),
            "{text}"
        );
        let fields = format!("\n{blank}database=default batch=");
        assert!(
            text.contains(&fields) && text.contains(" slug=lonely"),
            "{text}"
        );
        assert!(
            text.contains(&format!("\n{blank}remedy:\n{blank}- ")),
            "{text}"
        );
        let widest = log.iter().map(|line| columns(line)).max().unwrap();
        assert!(
            widest <= width && widest > width - 15,
            "{widest} of {width}: {text}"
        );
    }
}

/// The help and the text of the log have colours by the conventions of the field, and `--color`
/// over them.
#[tokio::test]
async fn colours_follow_the_conventions_and_the_option() {
    for (arguments, variables, coloured) in [
        (&["--help"][..], &[][..], false),
        (&["--help"], &[("CLICOLOR_FORCE", "1")], true),
        (
            &["--help"],
            &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")],
            false,
        ),
        (&["--help", "--color", "always"], &[("NO_COLOR", "1")], true),
        (
            &["--color=never", "--help"],
            &[("CLICOLOR_FORCE", "1")],
            false,
        ),
        (&["--color", "always", "unknown"], &[], true),
        (
            &["check", "--color=never", "--unknown"],
            &[("CLICOLOR_FORCE", "1")],
            false,
        ),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_agent-sync"));
        command
            .env_clear()
            .args(arguments)
            .envs(variables.iter().copied());
        let said = Said::of(command).await;
        let found = format!("{}{}", said.out, said.err).contains('\u{1b}');
        assert_eq!(found, coloured, "{arguments:?} {variables:?}: {said:?}");
    }
    let platform = Platform::installed().await;
    for (variable, color, coloured) in [
        (None, "auto", false),
        (Some("CLICOLOR_FORCE"), "auto", true),
        (Some("CLICOLOR_FORCE"), "never", false),
        (Some("NO_COLOR"), "always", true),
    ] {
        let mut command = platform.command(&["run", "--color", color]);
        command.env("AGENT_SYNC__LOG__FORMAT", "pretty");
        command.envs(variable.map(|name| (name, "1")));
        let daemon = Daemon::start_at_level(command, Some("info"));
        let caught_up = |line: &Value| line.to_string().contains("caught up");
        eventually("it is up", async || daemon.log().iter().any(caught_up)).await;
        let line = daemon
            .log()
            .into_iter()
            .find(caught_up)
            .unwrap()
            .to_string();
        assert_eq!(
            line.contains(r"\u001b[32m"),
            coloured,
            "{variable:?} {color}: {line}"
        );
    }
}

/// `-v` and `-q` set the level over the settings, also after a reload.
#[tokio::test]
async fn v_and_q_set_the_level_of_the_log() {
    let platform = Platform::installed().await;
    platform.configure("a").await;
    let saved = async |voice: &str| {
        let settings = format!(r#"{{"provider":"openai","voice_id":"{voice}"}}"#);
        platform.save("a", &settings).await;
        let condition = format!("SELECT (voice_id = '{voice}') IS TRUE FROM agent_configurations");
        platform.holds(&condition).await;
    };
    for (option, most) in [("-v", "DEBUG"), ("--quiet", "WARN"), ("-qq", "ERROR")] {
        let daemon = Daemon::start_at_level(platform.command(&["run", option]), Some("info"));
        saved(&format!("{option} before")).await;
        daemon.signal("HUP");
        saved(&format!("{option} after")).await;
        if most == "DEBUG" {
            daemon.logged("settings reloaded").await;
            daemon.logged("batch committed").await;
        }
        let levels: Vec<_> = ["ERROR", "WARN", "INFO", "DEBUG"]
            .into_iter()
            .take_while(|level| *level != most)
            .chain([most])
            .collect();
        for line in daemon.log() {
            assert!(
                levels.contains(&line["level"].as_str().unwrap()),
                "{option}: {line}"
            );
        }
    }
    let both = platform.says(&["config", "-v", "-q"]).await;
    assert_eq!(both.code, 64, "{both:?}");
}

/// The daemon logs at most 20 like lines in a row, and one with the number of the others and the
/// command that lists them.
#[tokio::test]
async fn like_lines_of_many_databases_are_20_and_a_count() {
    let platform = Platform::installed().await;
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("agent-sync.toml");
    let mut databases = String::new();
    for number in 0..50 {
        let url = format!("postgres://nobody@127.0.0.1:1/none{number}");
        writeln!(databases, "[databases.n{number}]\nurl = '{url}'").unwrap();
    }
    std::fs::write(&settings, databases).unwrap();
    for format in ["json", "pretty"] {
        let mut command = http::command(&platform);
        command
            .arg("--config")
            .arg(&settings)
            .env_remove("DATABASE_URL")
            .env("AGENT_SYNC__LOG__FORMAT", format);
        let mut daemon = Daemon::start_at_level(command, Some("info"));
        let serves = |line: &Value| line.to_string().contains("serving /livez");
        eventually("it serves", async || daemon.log().iter().any(serves)).await;
        let line = daemon.log().into_iter().find(serves).unwrap().to_string();
        let port = line.split("127.0.0.1:").nth(1).unwrap();
        let port: String = port.chars().take_while(char::is_ascii_digit).collect();
        let address = format!("127.0.0.1:{port}").parse().unwrap();
        eventually("every database is lost", async || {
            let status: Value =
                serde_json::from_str(&http::get(address, "/status").await.1).unwrap();
            let databases = status["databases"].as_array().unwrap();
            let lost = databases
                .iter()
                .filter(|database| database["phase"] == "lost");
            lost.count() == 50
        })
        .await;
        daemon.signal("TERM");
        daemon.ended().await;
        let log = daemon.log();
        let lost: Vec<_> = log
            .iter()
            .filter(|line| line.to_string().contains("database unavailable"))
            .collect();
        // The line about the HTTP server may come between them, and begins another row.
        let shown = lost.len() - 1;
        assert!((20..=40).contains(&shown), "{shown} and a count: {log:?}");
        let text = format!(
            "further lines like this: {}; `agent-sync status` lists them",
            50 - shown
        );
        let counts: Vec<_> = lost
            .into_iter()
            .filter(|line| line.to_string().contains(&text))
            .collect();
        assert_eq!(counts.len(), 1, "{log:?}");
        if format == "json" {
            let count = &counts[0];
            assert_eq!(
                (&count["level"], &count["lines"]),
                (&"WARN".into(), &(50 - shown).into())
            );
            let message = count["like"].as_str().unwrap();
            assert!(message.starts_with("database unavailable"), "{count}");
        }
    }
}

/// `check --verbose` lists the agents in sync that have a warning, and `--quiet` leaves notes out.
#[tokio::test]
async fn verbose_lists_warnings_and_quiet_leaves_out_notes() {
    let platform = Platform::installed().await;
    platform
        .save("odd", r#"{"provider":"nobody","voice_id":"v"}"#)
        .await;
    platform.configure("odd").await;
    platform.caught_up_daemon().await;
    platform.drained().await;
    let warning = "no rule for the provider";
    for (arguments, listed) in [(&["check"][..], false), (&["check", "-v"], true)] {
        let said = platform.says(arguments).await;
        assert_eq!(
            (said.code, said.out.contains(warning)),
            (0, listed),
            "{said:?}"
        );
    }
    platform.run("DROP SCHEMA agent_sync CASCADE").await;
    for (arguments, noted) in [(&["check"][..], true), (&["check", "-q"], false)] {
        let said = platform.says(arguments).await;
        assert_eq!(
            said.err.contains("is not installed there"),
            noted,
            "{said:?}"
        );
    }
}
