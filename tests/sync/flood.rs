//! The reports about many agents and many configurations that differ: limited in lines, and visible
//! while the state lasts.

use std::time::Duration;

use serde_json::Value;

use crate::support::http::{address, command, metric, metric_becomes, status};
use crate::support::platform::EXAMPLE;
use crate::support::{Daemon, Platform, eventually};

/// The lines of a daemon that are warnings.
fn warnings(daemon: &Daemon) -> Vec<Value> {
    daemon
        .log()
        .into_iter()
        .filter(|line| line["level"] == "WARN")
        .collect()
}

/// Whether a finding is that the role of the daemon is a superuser.
fn is_about_the_role(finding: &Value) -> bool {
    finding["finding"]
        .as_str()
        .unwrap()
        .contains("is a superuser")
}

/// The number of agents in the lines of one kind: single lines, and summaries.
fn agents(daemon: &Daemon, one: &str, summary: &str) -> (usize, u64) {
    let told = daemon.lines(one).len();
    let counted = daemon
        .lines(summary)
        .iter()
        .map(|line| line["agents"].as_u64().unwrap())
        .sum::<u64>();
    (told, counted)
}

/// A large backlog of problems causes a few lines, and their numbers add up.
#[tokio::test]
async fn a_large_backlog_is_a_few_lines_that_add_up() {
    for (sql, one, summary, metric_name) in [
        (
            "INSERT INTO agents (slug, name) SELECT 'agent-' || i, 'x' FROM generate_series(1, \
            5000) i",
            "no configuration has this slug",
            "further agents without a configuration",
            "missing",
        ),
        (
            "INSERT INTO agents (slug, voice_settings)
                  SELECT 'agent-' || i, '{\"temperature\":3}' FROM generate_series(1, 5000) i;
             INSERT INTO agent_configurations (agent_slug) SELECT slug FROM agents",
            "agent rejected",
            "further agents rejected",
            "rejected",
        ),
        (
            "INSERT INTO agents (slug, voice_settings)
                  SELECT 'agent-' || i, '{\"provider\":\"nobody\",\"voice_id\":\"v\"}'
                FROM generate_series(1, 5000) i;
             INSERT INTO agent_configurations (agent_slug) SELECT slug FROM agents",
            "tts: no rule for the provider",
            "further warnings about settings of agents",
            "synced",
        ),
    ] {
        let platform = Platform::installed().await;
        platform.run(sql).await;
        let daemon = Daemon::start_at_level(command(&platform), Some("info"));
        let address = address(&daemon).await;
        let series =
            format!("agent_sync_agents_total{{database=\"default\",result=\"{metric_name}\"}}");
        eventually(
            "all are \
            met",
            async || {
                metric(address, &series)
                    .await
                    .is_some_and(|met| met >= 5000.0)
            },
        )
        .await;
        eventually(&format!("{summary} adds up"), async || {
            let (told, counted) = agents(&daemon, one, summary);
            told as u64 + counted >= 5000
        })
        .await;
        let (told, counted) = agents(&daemon, one, summary);
        assert!(told >= 20 && counted > 0, "{told} {counted}");
        let lines = warnings(&daemon);
        assert!(lines.len() < 100, "{} warnings", lines.len());
        let bytes: usize = lines.iter().map(|line| line.to_string().len()).sum();
        assert!(bytes < 100_000, "{bytes} bytes");
        assert!(daemon.terminate().await.success());
    }
}

/// A first start has one warning for each agent with a problem, however often it looks at the agent.
#[tokio::test]
async fn a_first_start_warns_once_of_each_agent() {
    let platform = Platform::installed().await;
    for slug in ["bad", "worse"] {
        platform.configure(slug).await;
        platform.save(slug, r#"{"temperature": 9}"#).await;
    }
    for slug in ["alone", "lonely"] {
        platform.save(slug, EXAMPLE).await;
    }
    let daemon = Daemon::start_at_level(command(&platform), Some("info"));
    daemon.logged("caught up").await;
    let address = address(&daemon).await;
    eventually("sweeps have looked again", async || {
        let sweeps = "agent_sync_wakeups_total{database=\"default\",cause=\"sweep\"}";
        metric(address, sweeps)
            .await
            .is_some_and(|count| count >= 2.0)
    })
    .await;
    let lines = warnings(&daemon);
    let about_agents = lines.iter().filter(|line| {
        line["slug"].is_string() || line["agents"].is_number() || line["setting"].is_string()
    });
    let mut told: Vec<_> = about_agents
        .map(|line| (line["slug"].as_str(), line["message"].as_str().unwrap()))
        .collect();
    told.sort_unstable();
    let missing = "no configuration has this slug; the agent is saved, nothing is synced";
    let rejected = "agent rejected; nothing is written";
    assert_eq!(
        told,
        [
            (Some("alone"), missing),
            (Some("bad"), rejected),
            (Some("lonely"), missing),
            (Some("worse"), rejected),
        ]
    );
}

/// A setting that no rule reads is one line, however many agents have it, until the rules name it.
#[tokio::test]
async fn m10_each_unmapped_setting_is_logged_once() {
    const MESSAGE: &str = "a voice setting of agents is mapped to nothing";
    let platform = Platform::installed().await;
    platform
        .run(
            "INSERT INTO agents (slug, voice_settings)
                SELECT 'agent-' || i, '{\"provider\":\"openai\",\"voiceId\":\"v\"}'
                FROM generate_series(1, 2000) i;
             INSERT INTO agent_configurations (agent_slug) SELECT slug FROM agents",
        )
        .await;
    let rules = include_str!("../../config/providers.toml");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, rules).unwrap();
    let mut command = command(&platform);
    command.env("AGENT_SYNC__RULES__FILE", file.path());
    let daemon = Daemon::start(command);
    let address = address(&daemon).await;
    daemon.logged("caught up").await;
    let lines = daemon.lines(MESSAGE);
    assert_eq!(lines.len(), 1);
    let line = &lines[0];
    let remark = "voice_settings.voiceId: no rule reads it; did you mean `voice_id`?";
    assert_eq!(
        (&line["level"], &line["setting"], &line["remark"]),
        (&"WARN".into(), &"voiceId".into(), &remark.into()),
    );
    let told = status(address).await;
    assert_eq!(told["unmapped"]["listed"][0]["remark"], remark, "{told}");
    let series = "agent_sync_unmapped_settings{database=\"default\"}";
    metric_becomes(address, series, 1.0).await;

    // Many different settings, by a single change and by many: a few lines.
    platform
        .run(
            "UPDATE agents SET voice_settings = (SELECT jsonb_object_agg('key_' || j, 1)
                FROM generate_series(1, 20) j) WHERE slug = 'agent-1'",
        )
        .await;
    platform.drained().await;
    platform
        .run(
            "UPDATE agents SET voice_settings = jsonb_build_object('key_' || slug, 1)
                WHERE slug LIKE 'agent-1%'",
        )
        .await;
    daemon
        .logged("further voice settings of agents are mapped to nothing")
        .await;
    platform.drained().await;
    assert_eq!(daemon.lines(MESSAGE).len(), 20);
    let told = status(address).await;
    assert_eq!(told["unmapped"]["listed"].as_array().unwrap().len(), 50);
    assert_eq!(told["unmapped"]["more"], true);

    // Rules that ignore a setting silence it, and begin a new list.
    let ignoring = rules.replacen("[settings]\n", "[settings]\nignore = [\"voiceId\"]\n", 1);
    std::fs::write(&file, &ignoring).unwrap();
    daemon.signal("HUP");
    daemon.logged("the mapping has changed").await;
    platform
        .save(
            "agent-3",
            r#"{"provider":"openai","voiceId":"w","model":"m","y":1}"#,
        )
        .await;
    platform
        .becomes("agent-3", r#"{"tts":{"provider":"openai","model":"m"}}"#)
        .await;
    daemon.logged_times(MESSAGE, 21).await;
    let told = status(address).await;
    assert_eq!(told["unmapped"]["listed"][0]["setting"], "y", "{told}");
    assert!(daemon.terminate().await.success());
}

/// Configurations that differ after a change of the rules are reported until they are in sync.
#[tokio::test]
async fn differences_after_new_rules_are_told_until_in_sync() {
    let platform = Platform::installed().await;
    let folder = tempfile::tempdir().unwrap();
    let (file, rules) = (
        folder.path().join("rules.toml"),
        include_str!("../../config/providers.toml"),
    );
    std::fs::write(&file, rules).unwrap();
    for slug in ["a", "b", "c"] {
        platform.save(slug, EXAMPLE).await;
        platform.configure(slug).await;
    }
    let mut command = command(&platform);
    let settings = folder.path().join("agent-sync.toml");
    std::fs::write(&settings, "sync.batch_size = 400").unwrap();
    command
        .env("AGENT_SYNC__RULES__FILE", &file)
        .env("AGENT_SYNC_CONFIG", &settings);
    let daemon = Daemon::start(command);
    let address = address(&daemon).await;
    daemon.logged("caught up").await;
    platform.drained().await;
    assert_eq!(
        metric(address, "agent_sync_drifted{database=\"default\"}").await,
        None,
        "not known, and so not told"
    );
    assert_eq!(status(address).await["compared"], Value::Null);

    std::fs::write(&file, rules.replace("nova-2", "nova-3")).unwrap();
    daemon.signal("HUP");
    let line = daemon.logged("the mapping has changed").await;
    assert_eq!(
        (&line["level"], &line["differ"]),
        (&"WARN".into(), &3.into()),
        "{line}"
    );
    for command in ["`agent-sync check`", "`agent-sync reconcile --all`"] {
        assert!(line["remedy"].as_str().unwrap().contains(command), "{line}");
    }
    metric_becomes(address, "agent_sync_drifted{database=\"default\"}", 3.0).await;
    let at = metric(
        address,
        "agent_sync_compared_timestamp_seconds{database=\"default\"}",
    )
    .await
    .unwrap();
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    assert!((now.as_secs_f64() - at).abs() < 3600.0, "{at}");
    let told = status(address).await;
    assert_eq!(
        (&told["compared"]["differing"], &told["ready"]),
        (&3.into(), &true.into()),
        "{told}"
    );
    // The daemon of a test is a superuser, which is another finding.
    let findings = told["findings"].as_array().unwrap();
    let finding = findings
        .iter()
        .find(|finding| !is_about_the_role(finding))
        .unwrap();
    assert_eq!(
        finding["finding"],
        "3 configurations differ from the mapping of their agents"
    );
    assert!(
        finding["remedy"]
            .as_str()
            .unwrap()
            .contains("reconcile --all"),
        "{finding}"
    );

    // The task of the database restarts with other settings, and the new one keeps the report.
    std::fs::write(&settings, "sync.batch_size = 401").unwrap();
    daemon.signal("HUP");
    daemon.logged_times("caught up", 2).await;
    let mut reconcile = platform.command(&["reconcile", "--all", "--yes"]);
    reconcile.env("AGENT_SYNC__RULES__FILE", &file);
    assert_eq!(crate::support::Said::of(reconcile).await.code, 0);
    metric_becomes(address, "agent_sync_drifted{database=\"default\"}", 0.0).await;
    assert!(
        status(address).await["findings"]
            .as_array()
            .unwrap()
            .iter()
            .all(is_about_the_role)
    );
    assert_eq!(
        daemon.lines("the mapping has changed").len(),
        1,
        "told once"
    );

    std::fs::write(&file, rules).unwrap();
    platform
        .run("DELETE FROM agents; DELETE FROM agent_configurations")
        .await;
    daemon.signal("HUP");
    let line = daemon
        .logged_times("the mapping has changed", 2)
        .await
        .remove(1);
    assert_eq!(
        (&line["level"], &line["differ"]),
        (&"INFO".into(), &0.into()),
        "nothing to do: {line}"
    );
    tokio::time::timeout(Duration::from_secs(60), daemon.terminate())
        .await
        .unwrap();
}

/// GIVEN a daemon whose standard error is a full pipe without a reader, WHEN agents are saved, THEN
/// they are synced, SIGTERM ends the daemon, and the log contains the number of dropped lines once
/// the pipe is read.
#[tokio::test]
async fn g14_a_log_that_nobody_reads_holds_up_no_database() {
    use std::io::Read as _;
    use std::process::Stdio;

    let platform = Platform::installed().await;
    let mut command = platform.command(&["run"]);
    // At this level each batch is a hundred lines.
    command
        .env("AGENT_SYNC__ADMIN__LISTEN", "off")
        .env("AGENT_SYNC__LOG__LEVEL", "trace");
    let mut child = command
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = child.stderr.take().unwrap();
    platform.configure("a").await;
    let voice = |round| format!(r#"{{"provider":"openai","voice_id":"{round}"}}"#);
    for round in 0..600 {
        platform.save("a", &voice(round)).await;
        if round % 20 == 0 {
            platform
                .run(&format!(
                    "INSERT INTO agents (slug) SELECT 'lost-' || {round} || '-' || i \
                    FROM generate_series(1, 1000) i"
                ))
                .await;
        }
        platform
            .holds(&format!(
                "SELECT (voice_id = '{round}') IS TRUE FROM agent_configurations WHERE agent_slug \
                = 'a'"
            ))
            .await;
    }
    let reader = std::thread::spawn(move || {
        let (mut read, mut piece, mut told) = (Vec::new(), vec![0; 65536], false);
        while let Ok(bytes @ 1..) = log.read(&mut piece) {
            read.extend_from_slice(&piece[..bytes]);
            if !told && String::from_utf8_lossy(&read).contains("lines of the log were dropped") {
                told = true;
                let pid = child.id().to_string();
                assert!(
                    std::process::Command::new("kill")
                        .args(["-TERM", &pid])
                        .status()
                        .unwrap()
                        .success()
                );
            }
        }
        (told, child.wait().unwrap())
    });
    let (told, status) = tokio::task::spawn_blocking(move || reader.join().unwrap())
        .await
        .unwrap();
    assert!(told && status.success(), "{told} {status}");
}

#[tokio::test]
async fn i4_a_daemon_whose_log_nobody_reads_ends_when_it_is_told_to() {
    use std::process::Stdio;

    let platform = Platform::installed().await;
    let mut command = platform.command(&["run"]);
    command
        .env("AGENT_SYNC__ADMIN__LISTEN", "off")
        .env("AGENT_SYNC__LOG__LEVEL", "trace");
    let mut child = command
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    platform.configure("a").await;
    for round in 0..200 {
        platform
            .save(
                "a",
                &format!(r#"{{"provider":"openai","voice_id":"{round}"}}"#),
            )
            .await;
        platform
            .holds(&format!(
                "SELECT (voice_id = '{round}') IS TRUE FROM agent_configurations WHERE agent_slug \
                = 'a'"
            ))
            .await;
    }
    let pid = child.id().to_string();
    assert!(
        std::process::Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .unwrap()
            .success()
    );
    let ended = tokio::task::spawn_blocking(move || child.wait().unwrap());
    assert!(
        tokio::time::timeout(Duration::from_secs(60), ended)
            .await
            .unwrap()
            .unwrap()
            .success()
    );
}
