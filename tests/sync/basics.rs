//! The daemon on one database: the main job (M, G6, I7), as a process against a real server.

use serde_json::{Value, json};

use crate::support::platform::{EXAMPLE, EXPECTED};
use crate::support::{Platform, eventually};

#[tokio::test]
async fn m3_the_worked_example_comes_out_exactly() {
    let platform = Platform::installed().await;
    let _daemon = platform.caught_up_daemon().await;
    platform.save("a", "{}").await;
    platform.configure("a").await;
    platform.save("a", EXAMPLE).await;
    platform.becomes("a", EXPECTED).await;
    let row = platform.configuration("a").await.unwrap();
    assert_eq!(row.get::<_, &str>("agent_name"), "Agent a");
    assert_eq!(row.get::<_, &str>("system_prompt"), "You are a");
    assert_eq!(row.get::<_, &str>("voice_id"), "test-voice-123");
    assert!((row.get::<_, f64>("temperature") - 0.9).abs() < f64::EPSILON);
    let settings: Value = serde_json::from_str(row.get("voice_settings")).unwrap();
    assert_eq!(settings, serde_json::from_str::<Value>(EXAMPLE).unwrap());
    assert!(row.get::<_, bool>("touched"), "updated_at moved");
}

#[tokio::test]
async fn m8_an_agent_that_changes_nothing_writes_nothing() {
    let platform = Platform::installed().await;
    let daemon = platform.caught_up_daemon().await;
    platform.save("a", EXAMPLE).await;
    platform.configure("a").await;
    platform.becomes("a", EXPECTED).await;
    platform.drained().await;
    let row = "SELECT ctid::text || updated_at || last_updated FROM agent_configurations";
    let before: String = platform.value(row).await;
    // The capture notes this change, but the configuration stays: a key that no rule reads is only
    // copied, so it is reset.
    platform.run("NOTIFY agent_sync, 'a'").await;
    eventually("the request is served", async || {
        daemon
            .lines("batch committed")
            .iter()
            .any(|line| line["unchanged"] == 1)
    })
    .await;
    assert_eq!(before, platform.value::<String>(row).await);
}

/// A missing configuration is a warning and a problem until it is created.
#[tokio::test]
async fn g6_a_missing_configuration_is_a_warning_and_a_problem() {
    let platform = Platform::installed().await;
    let daemon = platform.caught_up_daemon().await;
    platform.save("lonely", EXAMPLE).await;
    let line = daemon.logged("no configuration has this slug").await;
    assert_eq!(line["level"], "WARN");
    assert_eq!(line["database"], "default");
    assert_eq!(line["slug"], "lonely");
    platform
        .holds("SELECT EXISTS (SELECT FROM agent_sync.problem WHERE slug = 'lonely')")
        .await;
    assert_eq!(
        platform.problem("lonely").await.unwrap().0,
        "missing_configuration"
    );
    assert_eq!(
        platform
            .value::<i64>("SELECT count(*) FROM agent_configurations")
            .await,
        0,
        "none is created"
    );
    let state = "SELECT problem FROM agent_sync.state WHERE slug = 'lonely' AND NOT pending AND \
        since IS NOT NULL";
    assert_eq!(
        platform.value::<String>(state).await,
        "missing_configuration"
    );

    platform.configure("lonely").await;
    platform.becomes("lonely", EXPECTED).await;
    platform
        .holds("SELECT NOT EXISTS (SELECT FROM agent_sync.problem)")
        .await;
    assert!(
        platform
            .value::<bool>("SELECT problem IS NULL AND since IS NULL FROM agent_sync.state")
            .await
    );
}

/// The triggers do not capture the cause of this problem, so the agent is retried.
#[tokio::test]
async fn m7_s8_a_problem_is_told_less_and_less_until_corrected() {
    let platform = Platform::installed().await;
    platform.save("a", EXAMPLE).await;
    platform.configure("a").await;
    let daemon = platform.caught_up_daemon().await;
    platform.becomes("a", EXPECTED).await;
    platform.drained().await;
    platform
        .run("UPDATE agent_configurations SET provider_config = '[]'; UPDATE agents SET name = 'b'")
        .await;
    let line = daemon.logged("agent rejected").await;
    assert!(
        line["remedy"]
            .as_str()
            .unwrap()
            .contains("a change of the configuration within five minutes"),
        "{line}"
    );
    platform
        .run("UPDATE agent_configurations SET provider_config = '{}'")
        .await;
    platform.becomes("a", EXPECTED).await;
    platform
        .holds("SELECT NOT EXISTS (SELECT FROM agent_sync.problem)")
        .await;
    platform
        .run("UPDATE agent_configurations SET provider_config = '[]'; UPDATE agents SET name = 'c'")
        .await;
    platform
        .holds("SELECT EXISTS (SELECT FROM agent_sync.problem)")
        .await;
    for attempt in 2..=9 {
        platform.run("UPDATE agents SET name = name || 'b'").await;
        platform
            .holds(&format!(
                "SELECT EXISTS (SELECT FROM agent_sync.problem WHERE attempts >= {attempt})"
            ))
            .await;
        platform.drained().await;
    }
    let told = daemon.logged_times("agent rejected", 3).await.len();
    assert!(
        told <= 5,
        "once before, then at the attempts 1, 2, 4 and 8 at most, and not {told} times"
    );
}

#[tokio::test]
async fn m7_a_rejected_agent_is_saved_and_its_configuration_stays() {
    let platform = Platform::installed().await;
    let daemon = platform.caught_up_daemon().await;
    platform.configure("bad").await;
    platform
        .save(
            "bad",
            r#"{"provider":"openai","voice_id":["a"],"temperature":7}"#,
        )
        .await;
    let line = daemon.logged("agent rejected").await;
    assert_eq!(
        (&line["level"], &line["slug"]),
        (&json!("WARN"), &json!("bad"))
    );
    let reasons = line["reasons"].as_str().unwrap();
    assert!(
        reasons.contains("voice_settings.voice_id")
            && reasons.contains("voice_settings.temperature"),
        "{reasons}"
    );
    platform
        .holds("SELECT EXISTS (SELECT FROM agent_sync.problem WHERE kind = 'rejected')")
        .await;
    assert_eq!(platform.problem("bad").await.unwrap().1, reasons);
    let row = platform.configuration("bad").await.unwrap();
    assert_eq!(
        row.get::<_, Option<&str>>("agent_name"),
        None,
        "nothing of it is written"
    );
    assert!(!row.get::<_, bool>("touched"));

    platform.save("bad", EXAMPLE).await;
    platform.becomes("bad", EXPECTED).await;
    platform
        .holds("SELECT NOT EXISTS (SELECT FROM agent_sync.problem)")
        .await;
}

#[tokio::test]
async fn a_problem_goes_away_with_its_agent() {
    let platform = Platform::installed().await;
    let _daemon = platform.caught_up_daemon().await;
    platform.save("gone", "[1]").await;
    platform
        .holds("SELECT EXISTS (SELECT FROM agent_sync.problem WHERE slug = 'gone')")
        .await;
    platform
        .run("UPDATE agents SET slug = 'renamed', voice_settings = '{}'")
        .await;
    platform
        .holds("SELECT NOT EXISTS (SELECT FROM agent_sync.problem WHERE slug = 'gone')")
        .await;
}

#[tokio::test]
async fn t2_every_configuration_with_the_slug_is_a_target() {
    let platform = Platform::installed().await;
    let _daemon = platform.caught_up_daemon().await;
    for _ in 0..3 {
        platform.configure("a").await;
    }
    platform.save("a", EXAMPLE).await;
    platform
        .holds(
            "SELECT count(*) = 3 FROM agent_configurations WHERE provider_config #>> \
            '{tts,voice_id}' = 'test-voice-123'",
        )
        .await;
}

#[tokio::test]
async fn g4_no_column_outside_m1_ever_changes() {
    let platform = Platform::installed().await;
    platform.save("a", "{}").await;
    platform
        .run(
            r#"INSERT INTO agent_configurations (agent_slug, provider_config) VALUES
               ('a', '{"vad": {"x": 0.1000000000000000000001}, "tts": {"ours": null, "provider": "openai", "voice": "v"}}')"#,
        )
        .await;
    let foreign = "SELECT (to_jsonb(c) -
              '{agent_name,system_prompt,agent_image,voice_id,temperature,provider_config,
        voice_settings,updated_at,last_updated}'::text[])::text FROM agent_configurations c";
    let before: String = platform.value(foreign).await;
    let agents: String = platform
        .value("SELECT to_jsonb(a)::text FROM agents a")
        .await;
    let _daemon = platform.caught_up_daemon().await;
    platform.save("a", EXAMPLE).await;
    platform
        .holds("SELECT provider_config #>> '{tts,provider}' = 'cartesia' FROM agent_configurations")
        .await;
    assert_eq!(before, platform.value::<String>(foreign).await);
    let config: String = platform
        .value("SELECT provider_config::text FROM agent_configurations")
        .await;
    assert!(config.contains("0.1000000000000000000001"), "{config}");
    assert!(
        config.contains(r#""ours": null"#) && !config.contains(r#""voice": "v""#),
        "{config}"
    );
    platform.save("a", "{}").await;
    assert_eq!(
        agents,
        platform
            .value::<String>("SELECT to_jsonb(a)::text FROM agents a")
            .await,
        "agents are read only"
    );
}

#[tokio::test]
async fn i7_a_notification_with_a_slug_asks_for_that_slug() {
    let platform = Platform::installed().await;
    let _daemon = platform.caught_up_daemon().await;
    platform.save("a", EXAMPLE).await;
    platform.configure("a").await;
    platform.becomes("a", EXPECTED).await;
    platform.drained().await;
    // Drift that the capture does not see: an edit of fields of agent-sync.
    platform
        .run("UPDATE agent_configurations SET provider_config = '{}'")
        .await;
    platform
        .run("NOTIFY agent_sync, 'no such agent'; NOTIFY agent_sync, 'a'")
        .await;
    platform.becomes("a", EXPECTED).await;
}

/// Changes made while the daemon is stopped are applied once at its start.
#[tokio::test]
async fn changes_during_a_stop_are_applied_once_at_the_start() {
    let platform = Platform::installed().await;
    platform
        .run(
            "INSERT INTO agents (slug, name, voice_settings)
                 SELECT 'agent-' || i, 'n', '{\"provider\": \"openai\"}'
                   FROM generate_series(1, 10000) i;
             INSERT INTO agent_configurations (agent_slug) SELECT slug FROM agents",
        )
        .await;
    let daemon = platform.caught_up_daemon().await;
    platform.drained().await;
    assert!(daemon.terminate().await.success());

    platform
        .run(
            "UPDATE agents SET voice_settings = '{\"provider\": \"openai\", \"voice_id\": \
            \"alloy\"}'",
        )
        .await;
    platform
        .run("UPDATE agents SET name = 'last' WHERE slug = 'agent-1'")
        .await;
    let daemon = platform.caught_up_daemon().await;
    let line = daemon.logged("caught up").await;
    assert_eq!(
        line["written"], 10_000,
        "each is written once, the one that was saved twice too: {line}"
    );
    let synced = "SELECT count(*) FROM agent_configurations WHERE voice_id = 'alloy'
        AND provider_config #>> '{tts,voice}' = 'alloy'";
    assert_eq!(platform.value::<i64>(synced).await, 10_000);
    assert_eq!(
        platform
            .configuration("agent-1")
            .await
            .unwrap()
            .get::<_, &str>("agent_name"),
        "last"
    );
    assert_eq!(platform.outbox().await, Vec::<String>::new());
}

#[tokio::test]
async fn sigterm_and_sigint_end_it_with_0() {
    let platform = Platform::installed().await;
    for signal in ["TERM", "INT"] {
        let mut daemon = platform.caught_up_daemon().await;
        daemon.signal(signal);
        assert_eq!(daemon.ended().await.code(), Some(0), "{signal}");
    }
    let mut unreachable = platform.command(&["run"]);
    unreachable.env("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none");
    let mut daemon = crate::support::Daemon::start(unreachable);
    daemon.outage().await;
    daemon.signal("TERM");
    assert_eq!(
        daemon.ended().await.code(),
        Some(0),
        "while it cannot connect"
    );
}

#[tokio::test]
async fn sigterm_finishes_the_running_batch() {
    let platform = Platform::installed().await;
    platform
        .run(
            "INSERT INTO agents (slug, name) SELECT 'agent-' || i, 'n'
                  FROM generate_series(1, 20000) i;
              INSERT INTO agent_configurations (agent_slug) SELECT slug FROM agents",
        )
        .await;
    let mut daemon = platform.daemon();
    daemon.logged("batch committed").await;
    daemon.signal("TERM");
    assert_eq!(daemon.ended().await.code(), Some(0));
    let committed: i64 = daemon
        .lines("batch committed")
        .iter()
        .map(|line| line["written"].as_i64().unwrap())
        .sum();
    let written = "SELECT count(*) FROM agent_configurations WHERE agent_name = 'n'";
    assert_eq!(
        platform.value::<i64>(written).await,
        committed,
        "what was told is what was committed"
    );
    let _daemon = platform.caught_up_daemon().await;
    assert_eq!(platform.value::<i64>(written).await, 20_000);
}

#[tokio::test]
async fn sigterm_ends_it_with_0_though_a_batch_hangs() {
    let platform = Platform::installed().await;
    platform
        .run(
            "CREATE FUNCTION hang() RETURNS trigger LANGUAGE plpgsql AS
                  $$ BEGIN PERFORM pg_sleep(3600); RETURN NEW; END $$;
              CREATE TRIGGER hang BEFORE UPDATE ON agent_configurations
                FOR EACH ROW EXECUTE FUNCTION hang()",
        )
        .await;
    platform.save("a", EXAMPLE).await;
    platform.configure("a").await;
    let mut command = platform.command(&["run"]);
    command.env("AGENT_SYNC__SHUTDOWN__GRACE_PERIOD", "100ms");
    let mut daemon = crate::support::Daemon::start(command);
    platform
        .holds("SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep')")
        .await;
    daemon.signal("TERM");
    assert_eq!(daemon.ended().await.code(), Some(0));
    daemon.logged("a batch did not end in time").await;
    let pending = "SELECT pending FROM agent_sync.state WHERE slug = 'a'";
    assert!(platform.value::<bool>(pending).await, "nothing is lost");
}

#[tokio::test]
async fn the_log_is_json_in_a_pipe_and_readable_when_asked_for() {
    let platform = Platform::installed().await;
    let daemon = platform.caught_up_daemon().await;
    let line = daemon.logged("connected and leading").await;
    let keys: Vec<&String> = line.as_object().unwrap().keys().collect();
    assert_eq!(
        keys,
        ["database", "level", "message", "server", "timestamp"],
        "flat: {line}"
    );
    drop(daemon);

    let mut command = platform.command(&["run"]);
    command.env("AGENT_SYNC__LOG__FORMAT", "pretty");
    let mut daemon = crate::support::Daemon::start(command);
    eventually("it is up", async || {
        daemon.log().iter().any(|line| {
            line["message"]
                .as_str()
                .is_some_and(|text| text.contains("INFO caught up"))
        })
    })
    .await;
    daemon.signal("TERM");
    daemon.ended().await;
    assert!(
        daemon
            .log()
            .iter()
            .all(|line| !line.to_string().contains("\\u001b")),
        "no colours in a pipe"
    );
}

/// A refused row is set aside, and the other rows are written.
#[tokio::test]
async fn g5_a_refused_row_is_set_aside_and_its_neighbours_go_on() {
    let platform = Platform::installed().await;
    platform
        .run(
            "ALTER TABLE agent_configurations ADD CONSTRAINT no_poison CHECK (agent_name <> \
            'poison')",
        )
        .await;
    platform
        .run(
            "INSERT INTO agents (slug, name) SELECT 'agent-' || i, CASE WHEN i % 400 = 7
              THEN 'poison' ELSE 'fine' END
                  FROM generate_series(1, 2000) i;
              INSERT INTO agent_configurations (agent_slug) SELECT slug FROM agents",
        )
        .await;
    let daemon = platform.caught_up_daemon().await;
    let count = "SELECT count(*) FROM agent_configurations WHERE agent_name = 'fine'";
    assert_eq!(platform.value::<i64>(count).await, 1995);
    let failed = "SELECT string_agg(DISTINCT kind || ' ' || sqlstate, ',') || count(*) FROM \
        agent_sync.problem";
    assert_eq!(platform.value::<String>(failed).await, "failed 235145");
    let line = daemon.logged("agent could not be brought in sync").await;
    assert_eq!(line["sqlstate"], "23514");
    assert!(
        line["detail"].as_str().unwrap().contains("no_poison"),
        "{line}"
    );
    platform
        .run("ALTER TABLE agent_configurations DROP CONSTRAINT no_poison")
        .await;
    platform
        .holds("SELECT NOT EXISTS (SELECT FROM agent_sync.problem)")
        .await;
    assert_eq!(
        platform
            .value::<i64>("SELECT count(*) FROM agent_configurations WHERE agent_name = 'poison'")
            .await,
        5
    );
}

/// A locked configuration is written after the lock and keeps the holder's edit.
#[tokio::test]
async fn g4_a_locked_configuration_keeps_the_edit_of_the_holder() {
    let platform = Platform::installed().await;
    let _daemon = platform.caught_up_daemon().await;
    platform.save("a", "{}").await;
    platform.configure("a").await;
    platform.save("b", "{}").await;
    platform.configure("b").await;
    platform.drained().await;
    let holder = platform.connect().await;
    holder
        .batch_execute(
            r#"BEGIN; UPDATE agent_configurations SET notes = 'mine', provider_config = '{"mine": 1}' WHERE agent_slug = 'a'"#,
        )
        .await
        .unwrap();
    platform.save("a", r#"{"llm_provider":"groq"}"#).await;
    platform.save("b", r#"{"llm_provider":"groq"}"#).await;
    platform
        .becomes("b", r#"{"llm":{"provider":"groq"}}"#)
        .await;
    holder.batch_execute("COMMIT").await.unwrap();
    platform
        .becomes("a", r#"{"mine":1,"llm":{"provider":"groq"}}"#)
        .await;
    let kept: String = platform
        .value("SELECT notes FROM agent_configurations WHERE agent_slug = 'a'")
        .await;
    assert_eq!(kept, "mine");
}

#[tokio::test]
async fn c6_a_long_transaction_is_applied_when_it_commits() {
    let platform = Platform::installed().await;
    platform.save("a", "{}").await;
    platform.configure("a").await;
    let _daemon = platform.caught_up_daemon().await;
    // The writer starts while the daemon is awake or asleep, and commits late; it must not be
    // missed in either case.
    for round in 0..20 {
        let voice = format!(r#"{{"provider":"openai","voice_id":"voice-{round}"}}"#);
        platform.run("BEGIN").await;
        platform.save("a", &voice).await;
        let other = platform.connect().await;
        other
            .batch_execute(&format!(
                "INSERT INTO agents (slug) VALUES ('other-{round}')"
            ))
            .await
            .unwrap();
        platform.run("COMMIT").await;
        platform
            .holds(&format!(
                "SELECT voice_id IS NOT DISTINCT FROM 'voice-{round}' FROM \
                agent_configurations WHERE agent_slug = 'a'"
            ))
            .await;
    }
}

#[tokio::test]
async fn without_notifications_the_daemon_polls() {
    let platform = Platform::installed().await;
    let mut command = platform.command(&["run"]);
    command
        .env("AGENT_SYNC__CAPTURE__NOTIFY", "false")
        .env("AGENT_SYNC__SYNC__POLL_INTERVAL", "50ms");
    let daemon = crate::support::Daemon::start(command);
    daemon.logged("caught up").await;
    platform.run("LISTEN agent_sync").await;
    platform.configure("a").await;
    platform.save("a", EXAMPLE).await;
    platform.becomes("a", EXPECTED).await;
    assert_eq!(
        platform.take_notices(),
        Vec::<String>::new(),
        "no writer notified"
    );
}

#[tokio::test]
async fn an_unknown_provider_is_mapped_and_remarked_on() {
    let platform = Platform::installed().await;
    let daemon = platform.caught_up_daemon().await;
    platform.configure("a").await;
    platform
        .save("a", r#"{"provider":"acme","voice_id":"v"}"#)
        .await;
    let line = daemon
        .logged("tts: no rule for the provider \"acme\"")
        .await;
    assert_eq!(
        (&line["level"], &line["slug"]),
        (&json!("WARN"), &json!("a"))
    );
    platform
        .becomes("a", r#"{"tts":{"provider":"acme","voice_id":"v"}}"#)
        .await;
}
