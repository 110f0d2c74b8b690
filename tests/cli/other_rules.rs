//! The settings that no rule reads, and the effect of a change of the rules (M10).

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::support::{Platform, Said};

const EXTENDED: &str = include_str!("../../config/providers.extended.toml");

/// Agents in sync under the built-in rules: 30 of Cartesia with a speed, one of them with a wrong
/// one, and two of openai.
async fn in_sync() -> Platform {
    let platform = Platform::installed().await;
    platform
        .run(
            r#"INSERT INTO agents (slug, name, voice_settings) SELECT 'cartesia-' || i, 'x',
                jsonb_build_object('provider', 'cartesia', 'voice_id', 'v', 'speed',
                    CASE i WHEN 30 THEN 9 ELSE 1.1 END)
                FROM generate_series(1, 30) i;
            INSERT INTO agents (slug, name, voice_settings) VALUES
                ('openai-1', 'x', '{"provider":"openai","voiceId":"alloy"}'),
                ('openai-2', 'x', '{"provider":"livekit","tts_provider":"openai","voice_id":"v"}');
            INSERT INTO agent_configurations (agent_slug) SELECT slug FROM agents"#,
        )
        .await;
    let daemon = platform.caught_up_daemon().await;
    platform.drained().await;
    assert!(daemon.terminate().await.success());
    platform
}

/// The extended rules in a file.
fn extended() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rules.toml");
    std::fs::write(&file, EXTENDED).unwrap();
    (folder, file)
}

/// The number of configurations with a speed.
async fn with_speed(platform: &Platform) -> i64 {
    let sql = "SELECT count(*) FROM agent_configurations
        WHERE provider_config #> '{tts,generation_config,speed}' IS NOT NULL";
    platform.value(sql).await
}

/// A list that is cut says how many settings it leaves out.
#[tokio::test]
async fn m10_a_cut_list_of_settings_says_how_many_are_left() {
    for (agents, title, end) in [
        (&[(0, 20)][..], "  20 voice settings", None),
        (
            &[(0, 25)],
            "at least 25 voice settings",
            Some("and at least 5 more"),
        ),
        (
            &[(0, 25), (0, 25)],
            "at least 25 voice settings",
            Some("and at least 5 more"),
        ),
        (
            &[(0, 15), (15, 30)],
            "  30 voice settings",
            Some("and 10 more; --json lists them"),
        ),
        (
            &[(0, 15), (15, 40)],
            "at least 35 voice settings",
            Some("and at least 15 more; --json lists more of them"),
        ),
    ] {
        let platform = Platform::installed().await;
        for (number, (from, upto)) in agents.iter().enumerate() {
            let slug = format!("agent-{number}");
            let settings = (*from..*upto).map(|key| (format!("key_{key:02}"), json!(1)));
            let settings = Value::Object(settings.collect());
            platform.save(&slug, &settings.to_string()).await;
            platform.configure(&slug).await;
        }
        drop(platform.caught_up_daemon().await);
        let said = platform.says(&["check", "--unmapped"]).await.fits();
        assert!(said.out.contains(title), "{title}: {said:?}");
        let printed = said.out.matches("no rule reads it").count();
        assert_eq!(printed, 20, "{said:?}");
        let last = said.out.lines().last().unwrap().trim();
        match end {
            Some(end) => assert_eq!(last, end, "{said:?}"),
            None => assert!(last.starts_with("voice_settings."), "{said:?}"),
        }
        let why = platform.says(&["why", "agent-0"]).await;
        let more = why.out.contains("and 5 more settings that no rule reads");
        assert_eq!(more, agents[0].1 > 20, "{why:?}");
    }
}

#[tokio::test]
async fn m10_check_and_why_list_settings_that_no_rule_reads() {
    let platform = in_sync().await;
    let said = platform.says(&["check", "--unmapped"]).await.fits();
    let expected = "default: 32 agents, 32 in sync\n  2 voice settings that no rule reads\n\
        \x20   voice_settings.speed: no rule reads it (30 agents)\n\
        \x20   voice_settings.voiceId: no rule reads it; did you mean `voice_id`? (1 agent)\n";
    assert_eq!((said.code, &*said.out), (0, expected), "{}", said.err);
    // Without the option, the output is as before.
    let said = platform.says(&["check"]).await;
    assert_eq!(&*said.out, "default: 32 agents, 32 in sync\n");

    let said = platform.says(&["check", "--unmapped", "--json"]).await;
    let objects = said.objects();
    assert_eq!(
        objects[1],
        json!({"database": "default", "type": "unmapped", "others": false, "unmapped": [
            {"setting": "speed", "agents": 30, "remark": "voice_settings.speed: no rule reads it"},
            {"setting": "voiceId", "agents": 1,
             "remark": "voice_settings.voiceId: no rule reads it; did you mean `voice_id`?"},
        ]})
    );

    let remark = "voice_settings.voiceId: no rule reads it; did you mean `voice_id`?";
    let said = platform.says(&["why", "openai-1"]).await.fits();
    assert!(said.out.contains(remark), "{}", said.out);
    let story = platform.says(&["why", "openai-1", "--json"]).await.object();
    assert_eq!(story["unmapped"], json!([remark]));

    // Without a configuration as well.
    platform
        .run("DELETE FROM agent_configurations WHERE agent_slug = 'openai-1'")
        .await;
    let said = platform.says(&["why", "openai-1"]).await.fits();
    assert!(said.out.contains(remark), "{}", said.out);
    let said = platform.says(&["check", "--unmapped"]).await;
    assert!(
        said.out.contains("did you mean `voice_id`? (1 agent)"),
        "{}",
        said.out
    );
}

#[tokio::test]
async fn m10_the_list_of_check_is_bounded() {
    let platform = Platform::installed().await;
    platform
        .run(
            "INSERT INTO agents (slug, voice_settings)
                SELECT 'a' || i, jsonb_object_agg('key_' || i || '_' || j, 1)
                FROM generate_series(1, 3) i, generate_series(1, 10000) j GROUP BY i;
             INSERT INTO agent_configurations (agent_slug) SELECT slug FROM agents",
        )
        .await;
    let said = platform.says(&["check", "--unmapped"]).await.fits();
    let tail: Vec<_> = said.out.lines().rev().take(24).collect();
    assert_eq!(
        tail[0], "    and at least 9,980 more; --json lists more of them",
        "{}",
        said.out
    );
    assert!(
        said.out
            .contains("  at least 10,000 voice settings that no rule reads\n"),
        "{}",
        said.out
    );
}

#[tokio::test]
async fn m10_check_shows_the_effect_of_other_rules() {
    let platform = in_sync().await;
    let (_folder, file) = extended();
    let file = file.to_str().unwrap();
    // A difference that has another cause is not one of the rules.
    let fingerprint = "SELECT md5(string_agg(c::text, '' ORDER BY agent_slug)) FROM \
        agent_configurations c";
    platform
        .run("UPDATE agent_configurations SET voice_id = 'by hand' WHERE agent_slug = 'cartesia-7'")
        .await;
    let before: String = platform.value(fingerprint).await;
    let said = platform.says(&["check", "--rules", file]).await.fits();
    let expected = "default: 32 agents, the rules would change 31\n\
        \x20 29 agents: + tts.generation_config.speed (cartesia-1, cartesia-10,\n  cartesia-11, …)\n\
        \x20 1 agent: rejected: voice_settings.speed: expected a number from 0.6 to 1.5\n  \
        (cartesia-30)\n\
        \x20 1 agent: + tts.voice (openai-2)\n\
        \x20 1 agent: ~ tts.provider (openai-2)\n";
    assert_eq!((said.code, &*said.out), (0, expected), "{}", said.err);
    let planned = platform.says(&["check", "--rules", file, "--json"]).await;
    let planned: Value = planned.object();
    assert_eq!(
        (&planned["agents"], &planned["affected"]),
        (&json!(32), &json!(31))
    );
    assert_eq!(
        planned["groups"][0],
        json!({"effect": "added", "place": "tts.generation_config.speed", "agents": 29,
               "slugs": ["cartesia-1", "cartesia-10", "cartesia-11"]})
    );
    // The rules in force change nothing, and some agents can be asked about alone.
    let said = platform.says(&["check", "openai-1", "--rules", file]).await;
    assert_eq!(
        &*said.out,
        "default: 1 agent, the rules would change none\n"
    );
    assert_eq!(before, platform.value::<String>(fingerprint).await);
    // The reverse takes the fields away, and a rejected agent is accepted.
    let builtin = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&builtin, include_str!("../../config/providers.toml")).unwrap();
    let mut command = platform.command(&["check", "--rules", builtin.path().to_str().unwrap()]);
    command.env("AGENT_SYNC__RULES__FILE", file);
    let said = Said::of(command).await;
    for line in ["1 agent: no longer rejected", "1 agent: - tts.voice"] {
        assert!(said.out.contains(line), "{}", said.out);
    }
    // A file with a mistake is refused.
    std::fs::write(&builtin, "tts = 1").unwrap();
    let said = platform
        .says(&["check", "--rules", builtin.path().to_str().unwrap()])
        .await;
    assert_eq!((said.code, &*said.out), (64, ""));
    assert!(said.err.contains("(--rules) are not valid"), "{}", said.err);
}

#[tokio::test]
async fn m10_reconcile_applies_new_rules_to_some_first() {
    let platform = in_sync().await;
    let (_folder, file) = extended();
    let command = |arguments: &[&str]| {
        let mut command = platform.command(arguments);
        command
            .env("AGENT_SYNC__RULES__FILE", &file)
            .env("AGENT_SYNC__RECONCILE__CONFIRM_ABOVE", "5");
        command
    };
    // The limit counts what is written, and not what differs.
    let said = Said::of(command(&["reconcile", "--sample", "6"])).await;
    assert_eq!((said.code, with_speed(&platform).await), (64, 0));
    assert!(
        said.err
            .contains("writes 6 configurations, more than the 5"),
        "{}",
        said.err
    );
    let said = Said::of(command(&["reconcile", "--sample", "5"]))
        .await
        .fits();
    assert_eq!((said.code, with_speed(&platform).await), (1, 5), "{said:?}");
    assert!(said.out.contains("5 synced"), "{}", said.out);
    assert!(
        said.err
            .contains("database default: 25 further agents that differ are not in the sample"),
        "{}",
        said.err
    );

    // A list of slugs, from a file and from standard input.
    let list = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&list, "cartesia-8\n\ncartesia-9\r\nopenai-2\n").unwrap();
    let path = list.path().to_str().unwrap();
    let said = Said::of(command(&["reconcile", "--slugs-from", path])).await;
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(with_speed(&platform).await, 7);
    let from_input = |input: &str| {
        let command = command(&["reconcile", "--slugs-from", "-"]);
        Said::with_input(command, input.as_bytes())
    };
    let said = from_input("cartesia-28\nnone\n");
    assert_eq!((said.code, with_speed(&platform).await), (1, 8), "{said:?}");
    for (input, message) in [
        ("\n", "expected slugs in -, and found none"),
        ("\u{0}\n", "unknown"),
    ] {
        let said = from_input(input);
        assert!(
            said.code != 0 && (said.err.contains(message) || said.code == 1),
            "{said:?}"
        );
    }
    // Everything else, too.
    let said = Said::of(command(&["reconcile", "--all", "--yes"])).await;
    assert_eq!(
        (said.code, with_speed(&platform).await),
        (1, 29),
        "{said:?}"
    );
}
