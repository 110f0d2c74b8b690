//! `why`: the explanation of one agent ends with a conclusion and a remedy that works.

use serde_json::Value;

use crate::support::platform::{EXAMPLE, EXPECTED};
use crate::support::{Platform, Said, eventually};

async fn why(platform: &Platform, slug: &str) -> Value {
    let said = platform.says(&["why", slug, "--json"]).await;
    assert_eq!(said.code, 0, "{said:?}");
    said.object()
}

fn text<'a>(story: &'a Value, key: &str) -> &'a str {
    story[key]
        .as_str()
        .unwrap_or_else(|| panic!("{key} in {story}"))
}

#[tokio::test]
async fn why_tells_an_agent_as_saved_as_configured_and_as_mapped() {
    let platform = Platform::installed().await;
    platform.save("reception", EXAMPLE).await;
    platform
        .run("INSERT INTO agent_configurations (agent_slug, provider_config)
              VALUES ('reception',
                '{\"tts\":{\"provider\":\"openai\",\"voice\":\"alloy\"},\"telephony\":{\"token\":\"s3cret\"}}')")
        .await;
    let said = platform.says(&["why", "reception"]).await.fits();
    assert_eq!(said.code, 0, "{said:?}");
    for line in [
        "reception in default",
        "  the agent as saved",
        "    system_prompt                 17 characters",
        "    voice_settings.voice_id       \"test-voice-123\"",
        "  its configuration as it is",
        "    provider_config.telephony     an object with 1 key",
        "  result of the mapping",
        "    ~ provider_config.tts.provider       \"openai\" → \"cartesia\"",
        "    - provider_config.tts.voice          \"alloy\"",
        "    pending  since ",
        "    daemon   no daemon leads here",
        "The change was noted ",
        "  try: Start the daemon (`agent-sync run`), or run `agent-sync reconcile",
    ] {
        assert!(said.out.contains(line), "{line} in:\n{}", said.out);
    }
    assert!(
        !said.out.contains("You are") && !said.out.contains("s3cret"),
        "{}",
        said.out
    );

    let _daemon = platform.caught_up_daemon().await;
    platform.drained().await;
    let story = why(&platform, "reception").await;
    assert_eq!(
        text(&story, "conclusion"),
        "The agent and its configuration are in sync."
    );
    assert_eq!(
        (&story["remedy"], &story["verdict"]),
        (&Value::Null, &"in_sync".into())
    );
    assert_eq!(
        story["configurations"][0]["provider_config.tts.voice_id"],
        "test-voice-123"
    );
    assert_eq!(story["leader"]["leads"], true);
}

#[tokio::test]
async fn why_says_of_a_slug_that_nobody_has_where_it_looked() {
    let platform = Platform::installed().await;
    let said = platform.says(&["why", "nobody"]).await.fits();
    assert_eq!((said.code, said.out.as_str()), (1, ""));
    assert!(
        said.err
            .contains("neither an agent nor a configuration has the slug nobody"),
        "{}",
        said.err
    );
    assert!(said.err.contains("looked in: default\n"), "{}", said.err);
    assert!(
        said.err.contains("  try: check the spelling"),
        "{}",
        said.err
    );
    platform.configure("orphan").await;
    let story = why(&platform, "orphan").await;
    assert_eq!(
        text(&story, "conclusion"),
        "No agent has this slug, so agent-sync does not keep its 1 configuration in sync."
    );
    let mut command = platform.command(&["why", "orphan"]);
    command.env(
        "AGENT_SYNC__DATABASES__BAD__URL",
        "postgres://nobody@127.0.0.1:1/none",
    );
    command.env("AGENT_SYNC__DATABASES__GOOD__URL", &platform.url);
    let said = Said::of(command).await;
    assert_eq!(said.code, 69);
    assert!(said.out.starts_with("orphan in good"), "{}", said.out);
}

/// A mistyped slug is told with similar ones, of many agents as well, and a database without an
/// install is named.
#[tokio::test]
async fn a_mistyped_slug_is_told_with_similar_ones() {
    let platform = Platform::new().await;
    platform
        .run(
            "INSERT INTO agents (slug) SELECT 'agent-' || n FROM generate_series(1, 15000) AS n;
             INSERT INTO agents (slug) VALUES ('reception'), (E'hostile\u{1b}[2J')",
        )
        .await;
    for (typed, similar) in [
        ("receptoin", "similar: reception"),
        ("Reception", "similar: reception"),
        ("Agent-14999", "similar: agent-14999, "),
        ("agnet-7", "similar: agent-7, "),
        ("hostil\u{1b}[2J", r#"similar: "hostile\u001b[2J""#),
    ] {
        let said = platform.says(&["why", typed]).await;
        assert_eq!((said.code, said.out.as_str()), (1, ""), "{typed}");
        let err = said.err.split_whitespace().collect::<Vec<_>>().join(" ");
        for text in [
            "looked in: default (agent-sync is not installed there)",
            similar,
        ] {
            assert!(err.contains(text), "{typed}: {text} in {err}");
        }
        assert!(!said.err.contains('\u{1b}'), "{err:?}");
        let said = platform.says(&["check", typed, "--json"]).await;
        let unknown = said.objects().pop().unwrap();
        assert_eq!(unknown["verdict"], "unknown", "{unknown}");
        let nearest = unknown["near"][0].as_str().unwrap();
        let nearest = format!("{nearest:?}").replace("\\u{1b}", "\\u001b");
        assert!(
            similar.contains(nearest.trim_matches('"')),
            "{nearest}: {similar}"
        );
    }
    let said = platform.says(&["check", "receptoin"]).await.fits();
    assert!(
        said.out
            .ends_with("unknown   receptoin  no agent has this slug; similar: reception\n"),
        "{}",
        said.out
    );
    let said = platform.says(&["why", "nothing like it"]).await;
    assert!(!said.err.contains("similar"), "{}", said.err);
}

#[tokio::test]
async fn the_remedy_of_each_problem_of_an_agent_works() {
    let platform = Platform::installed().await;
    let daemon = platform.caught_up_daemon().await;
    let settled = "The agent and its configuration are in sync.";

    // Missing: the remedy is a statement to paste.
    platform.save("it's new", EXAMPLE).await;
    platform
        .holds("SELECT count(*) = 1 FROM agent_sync.problem")
        .await;
    let story = why(&platform, "it's new").await;
    assert_eq!(story["problem"]["kind"], "missing_configuration");
    let remedy: Vec<_> = text(&story, "remedy").split('`').collect();
    let [before, sql, ""] = remedy[..] else {
        panic!("a statement between backticks: {remedy:?}")
    };
    assert!(before.ends_with("brought in sync: "), "{before}");
    platform.run(sql).await;
    platform.becomes("it's new", EXPECTED).await;
    assert_eq!(
        text(&why(&platform, "it's new").await, "conclusion"),
        settled
    );

    // Rejected: the reasons name the values to correct.
    platform.save("it's new", r#"{"temperature":3}"#).await;
    platform
        .holds("SELECT count(*) = 1 FROM agent_sync.problem")
        .await;
    let story = why(&platform, "it's new").await;
    assert!(
        text(&story, "conclusion")
            .contains("voice_settings.temperature: expected a number from 0 to 2")
    );
    assert!(text(&story, "remedy").starts_with("Correct the values that the reason names."));
    platform.save("it's new", r#"{"temperature":2}"#).await;
    platform
        .holds("SELECT count(*) = 0 FROM agent_sync.problem")
        .await;
    assert_eq!(
        text(&why(&platform, "it's new").await, "conclusion"),
        settled
    );

    // Refused by PostgreSQL: after a repair of the cause, the write is retried.
    platform
        .run("ALTER TABLE agent_configurations ADD CONSTRAINT warm CHECK (temperature > 1)")
        .await;
    platform.save("it's new", r#"{"temperature":0.5}"#).await;
    platform
        .holds("SELECT count(*) = 1 FROM agent_sync.problem")
        .await;
    let story = why(&platform, "it's new").await;
    let conclusion = text(&story, "conclusion");
    assert!(
        conclusion.contains("constraint warm") && conclusion.contains("tried again in"),
        "{conclusion}"
    );
    assert!(
        text(&story, "remedy").starts_with("Correct the row, or the constraint or trigger"),
        "{story}"
    );
    platform
        .run("ALTER TABLE agent_configurations DROP CONSTRAINT warm")
        .await;
    platform
        .holds("SELECT count(*) = 0 FROM agent_sync.problem")
        .await;
    assert_eq!(
        text(&why(&platform, "it's new").await, "conclusion"),
        settled
    );

    // The table was changed, so changes may have been missed until the next sweep.
    platform
        .run(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE application_name LIKE 'agent-sync/%' AND datname = current_database()",
        )
        .await;
    let is_unsure = |story: &Value| {
        story["trouble"]
            .to_string()
            .contains("may have been missed")
    };
    eventually("every agent is checked", async || {
        !is_unsure(&why(&platform, "it's new").await)
    })
    .await;

    // Edited by hand: the remedy is a command.
    platform
        .run("UPDATE agent_configurations SET agent_name = 'by hand'")
        .await;
    let story = why(&platform, "it's new").await;
    assert!(
        text(&story, "conclusion").contains("nothing is pending"),
        "{story}"
    );
    assert_eq!(
        text(&story, "remedy"),
        r"Run `agent-sync reconcile 'it'\''s new'`."
    );
    assert_eq!(platform.says(&["reconcile", "it's new"]).await.code, 0);
    assert_eq!(
        text(&why(&platform, "it's new").await, "conclusion"),
        settled
    );

    // Pending: no remedy while a daemon leads; otherwise the remedy is to start one.
    daemon.signal("STOP");
    platform.run("UPDATE agents SET name = 'Other'").await;
    let story = why(&platform, "it's new").await;
    assert!(
        text(&story, "conclusion").contains("there is nothing to do"),
        "{story}"
    );
    assert_eq!(story["remedy"], Value::Null);
    platform
        .run("UPDATE agent_sync.outbox SET at = now() - interval '5 minutes'")
        .await;
    let story = why(&platform, "it's new").await;
    assert!(
        text(&story, "conclusion").contains("waiting for 5m, though a daemon leads"),
        "{story}"
    );
    assert!(
        text(&story, "remedy").contains("agent-sync doctor"),
        "{story}"
    );
    daemon.signal("CONT");
    platform.drained().await;
    assert!(daemon.terminate().await.success());
    platform.run("UPDATE agents SET name = 'Another'").await;
    let story = why(&platform, "it's new").await;
    assert!(
        text(&story, "conclusion").contains("no daemon leads"),
        "{story}"
    );
    assert!(
        text(&story, "remedy").starts_with("Start the daemon"),
        "{story}"
    );
    let _daemon = platform.caught_up_daemon().await;
    platform.drained().await;
    assert_eq!(
        text(&why(&platform, "it's new").await, "conclusion"),
        settled
    );
}
