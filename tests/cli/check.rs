//! `check` against real tables: its verdicts, its output and its cost.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::platform::{EXAMPLE, EXPECTED, wide, widen};
use crate::support::{Platform, Said, peak_memory_kib};

/// Agents of every kind and configurations in every state, in some thousand combinations.
const ALL_KINDS: &str = r#"
    INSERT INTO agents (slug, name, system_prompt, agent_image, voice_settings)
    SELECT 'agent-' || i,
        (ARRAY['Ann', '', NULL])[1 + i % 3],
        (ARRAY['You help.', NULL])[1 + i / 3 % 2],
        (ARRAY[NULL, 'face.png'])[1 + i / 6 % 2],
        (ARRAY[
            '{"provider":"openai","voice_id":"alloy","model":"tts-1"}',
            '{"provider":"elevenlabs","voice_id":"v","model":"m","stability":0.5,"similarity_boost":"0.75"}',
            '{"tts_provider":"cartesia","voice_id":"v","output_format":"pcm_44100"}',
            '{"provider":"speechify","voice_id":"v","loudness_normalization":"true"}',
            '{"llm_provider":"groq","llm_model":"m","temperature":0.70,"stt_provider":"deepgram"}',
            '{"stt_provider":"groq","stt_model":"","temperature":"1"}',
            '{"provider":"openai","temperature":2.5}', '{"temperature":"warm"}', '{"voice_id":7}', '[1]', '7',
            '{}', NULL, '""', 'null'
        ]::jsonb[])[1 + i / 12 % 15]
    FROM generate_series(0, 1799) i;
    -- Older writers stored the text of the JSON as a string.
    UPDATE agents SET voice_settings = to_jsonb(voice_settings::text)
        WHERE substr(slug, 7)::int / 180 % 2 = 1 AND jsonb_typeof(voice_settings) = 'object';
    INSERT INTO agent_configurations (agent_slug, agent_name, system_prompt, agent_image, voice_id, temperature,
            provider_config, voice_settings)
    SELECT a.slug, x.name, x.prompt, x.image, x.voice, x.temperature, x.config, x.settings
    FROM agents a, LATERAL (SELECT substr(slug, 7)::int AS i) AS n, LATERAL (VALUES
        (a.name, a.system_prompt, a.agent_image, 'v', 0.7::float8,
            '{"tts":{"provider":"openai","voice":"alloy","model":"tts-1"},
              "llm":{"provider":"groq","model":"m","temperature":0.7},
              "stt":{"provider":"deepgram","model":"nova-2"}}'::jsonb, a.voice_settings),
        (a.name, a.system_prompt, a.agent_image, 'alloy', 1,
            '{"tts":{"provider":"elevenlabs","voice_id":"v","model":"m","stability":0.50,"similarity_boost":0.75},
              "stt":{"model":"whisper-large-v3","provider":"groq"},"more":1}',
            CASE jsonb_typeof(a.voice_settings) WHEN 'string' THEN nullif(a.voice_settings #>> '{}', '')::jsonb
                ELSE a.voice_settings END),
        ('Ann', 'You help.', 'face.png', 'v', 0.7,
            to_jsonb('{"tts":{"provider":"cartesia","voice_id":"v","output_format":"pcm_44100"}}'::text), a.voice_settings),
        ('Bob', NULL, NULL, 'v', NULL, '{"tts":{"provider":"speechify","speechify_voice_id":"v"}}', '{}'),
        (a.name, a.system_prompt, a.agent_image, 'v', NULL,
            '{"tts":{"provider":"speechify","speechify_voice_id":"v","speechify_loudness_normalization":true}}', a.voice_settings),
        (a.name, a.system_prompt, a.agent_image, NULL, NULL, NULL, NULL),
        (a.name, a.system_prompt, a.agent_image, 'v', 0.7, '[]', a.voice_settings)
    ) AS x (name, prompt, image, voice, temperature, config, settings)
    -- None for every eighth; the others are thinned out below.
    WHERE n.i % 8 <> 7;
"#;

/// Keeps one of the seven configurations of each agent, and two of some agents.
const THIN_OUT: &str = r"
    DELETE FROM agent_configurations c USING (
        SELECT id, agent_slug, row_number() OVER (PARTITION BY agent_slug ORDER BY md5(ctid::text || agent_slug)) AS place
        FROM agent_configurations) AS n
    WHERE n.id = c.id AND n.place > CASE WHEN substr(n.agent_slug, 7)::int % 11 = 0 THEN 2 ELSE 1 END";

/// The contract (M1 to M7) in independent SQL, for the settings above: the rejected agents, the
/// missing configurations and the differences.
const INDEPENDENT: &str = r#"
    WITH decoded AS (
        SELECT a.slug, a.name, a.system_prompt, a.agent_image, c.id,
               c.agent_name, c.system_prompt AS prompt, c.agent_image AS image, c.voice_id, c.temperature,
               CASE jsonb_typeof(a.voice_settings) WHEN 'string' THEN nullif(a.voice_settings #>> '{}', '')::jsonb
                   WHEN 'null' THEN NULL ELSE a.voice_settings END AS s,
               CASE jsonb_typeof(c.provider_config) WHEN 'string' THEN (c.provider_config #>> '{}')::jsonb
                   ELSE c.provider_config END AS p,
               CASE jsonb_typeof(c.voice_settings) WHEN 'string' THEN nullif(c.voice_settings #>> '{}', '')::jsonb
                   WHEN 'null' THEN NULL ELSE c.voice_settings END AS v
        FROM agents a LEFT JOIN agent_configurations c ON c.agent_slug = a.slug
    ), said AS (
        SELECT *, s ->> 'voice_id' AS voice, coalesce(s ->> 'provider', s ->> 'tts_provider') AS tts,
               nullif(s ->> 'temperature', '') AS warmth
        FROM decoded
    ), judged AS (
        SELECT slug, id IS NULL AS missing,
            id IS NOT NULL AND (jsonb_typeof(s) NOT IN ('object') OR jsonb_typeof(p) = 'array'
                OR warmth !~ '^[0-9.]+$' OR warmth ~ '^(2\.[0-9]*[1-9]|[3-9])' OR jsonb_typeof(s -> 'voice_id') = 'number') IS TRUE AS rejected,
            (name <> '' AND agent_name IS DISTINCT FROM name) IS TRUE
            OR (system_prompt IS NOT NULL AND prompt IS DISTINCT FROM system_prompt)
            OR (agent_image IS NOT NULL AND image IS DISTINCT FROM agent_image)
            OR (jsonb_typeof(s) = 'object' AND s <> '{}' AND v IS DISTINCT FROM s) IS TRUE
            OR (voice <> '' AND voice_id IS DISTINCT FROM voice) IS TRUE
            OR (warmth ~ '^[0-9.]+$' AND temperature IS DISTINCT FROM warmth::float8) IS TRUE
            OR (tts IS NOT NULL AND (
                p #>> '{tts,provider}' IS DISTINCT FROM tts
                OR CASE tts WHEN 'openai' THEN p #>> '{tts,voice}' WHEN 'speechify' THEN p #>> '{tts,speechify_voice_id}'
                       ELSE p #>> '{tts,voice_id}' END IS DISTINCT FROM coalesce(voice, p #>> '{tts,voice}')
                OR (s ? 'model' AND p #>> '{tts,model}' IS DISTINCT FROM s ->> 'model')
                OR (s ? 'stability' AND p #> '{tts,stability}' IS DISTINCT FROM s -> 'stability')
                OR (s ? 'similarity_boost' AND p #> '{tts,similarity_boost}' IS DISTINCT FROM '0.75'::jsonb)
                OR (s ? 'output_format' AND p #> '{tts,output_format}' IS DISTINCT FROM s -> 'output_format')
                OR (s ? 'loudness_normalization' AND p #> '{tts,speechify_loudness_normalization}' IS DISTINCT FROM 'true'::jsonb)))
            OR (s ? 'llm_provider' AND p -> 'llm' IS DISTINCT FROM '{"provider":"groq","model":"m","temperature":0.7}'::jsonb) IS TRUE
            OR (s ? 'stt_provider' AND p -> 'stt' IS DISTINCT FROM jsonb_build_object('provider', s ->> 'stt_provider',
                'model', CASE s ->> 'stt_provider' WHEN 'groq' THEN 'whisper-large-v3' ELSE 'nova-2' END)) IS TRUE AS differs
        FROM said
    )
    SELECT slug, CASE WHEN bool_or(rejected) THEN 'rejected' WHEN bool_or(missing) THEN 'missing'
                      WHEN bool_or(differs) THEN 'drifted' ELSE 'in_sync' END
    FROM judged GROUP BY slug"#;

/// Check agrees with independent SQL about every agent.
#[tokio::test]
async fn check_agrees_with_independent_sql_about_every_agent() {
    let platform = Platform::new().await;
    platform.run(ALL_KINDS).await;
    platform.run(THIN_OUT).await;
    let rows = platform.client.query(INDEPENDENT, &[]).await.unwrap();
    let expected: BTreeMap<String, String> =
        rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let count = |verdict: &str| expected.values().filter(|own| *own == verdict).count();
    for verdict in ["in_sync", "drifted", "missing", "rejected"] {
        assert!(count(verdict) > 50, "{verdict}: {}", count(verdict));
    }

    // Before the install no change can be pending; the verdicts are the same afterwards.
    for installed in [false, true] {
        if installed {
            platform.install();
        }
        let said = platform.says(&["check", "--json"]).await;
        assert_eq!(said.code, 2);
        assert_eq!(
            said.err.contains("not installed"),
            !installed,
            "{}",
            said.err
        );
        let mut objects = said.objects();
        let summary = objects.pop().unwrap();
        let found: BTreeMap<_, _> = objects
            .iter()
            .map(|one| (text(one, "slug"), text(one, "verdict")))
            .collect();
        for (slug, verdict) in &expected {
            let found = found.get(slug).map_or("in_sync", String::as_str);
            assert_eq!(found, verdict, "{slug}");
        }
        assert_eq!(
            summary["summary"],
            json!({"agents": 1800, "in_sync": count("in_sync"), "pending": 0, "drifted": count("drifted"),
                "missing": count("missing"), "rejected": count("rejected"), "ambiguous": 0, "failed": 0})
        );
        let slugs: Vec<_> = objects.iter().map(|one| text(one, "slug")).collect();
        assert!(slugs.is_sorted(), "they come in the order of the slugs");
    }

    // The daemon writes exactly the differences that check found, so only the unwritable ones
    // remain.
    let _daemon = platform.caught_up_daemon().await;
    let said = platform.says(&["check", "--json"]).await;
    let objects = said.objects();
    assert_eq!(
        objects.last().unwrap()["summary"]["drifted"],
        0,
        "{}",
        objects.last().unwrap()
    );
    assert_eq!(
        objects.last().unwrap()["summary"]["missing"],
        count("missing")
    );
}

fn text(object: &Value, key: &str) -> String {
    object[key].as_str().unwrap().to_owned()
}

/// Check fits 80 columns and shows neither prompts nor keys.
#[tokio::test]
async fn check_fits_80_columns_and_shows_no_prompts_or_keys() {
    let platform = Platform::installed().await;
    platform
        .save(
            "reception",
            r#"{"provider":"cartesia","voice_id":"v2","temperature":0.9,"api_key":"sk-secret-key"}"#,
        )
        .await;
    platform
        .run(&format!(
            "UPDATE agents SET system_prompt = 'secret prompt {}', agent_image =
                  'https://x/y.png?signature=secret';
             INSERT INTO agent_configurations (agent_slug, agent_name, system_prompt, voice_id,
               provider_config)
             VALUES ('reception', E'Agent\\x1b[2J', 'older secret prompt', 'v1',
                '{{\"tts\": {{\"provider\": \"elevenlabs\", \"voice_id\": \"v1\", \"stability\": 0.50}}, \"secret\": \"secret\"}}');
             TRUNCATE agent_sync.outbox",
            "x".repeat(1500)
        ))
        .await;
    let said = platform.says(&["check", "reception"]).await.fits();
    assert_eq!(said.code, 2);
    for line in [
        "drifted   reception",
        "~ system_prompt                  differs (19 → 1,514 characters)",
        r#"~ agent_name                     "Agent\u001b[2J" → "Agent reception""#,
        "+ temperature                    0.9",
        r#"~ provider_config.tts.provider   "elevenlabs" → "cartesia""#,
        "- provider_config.tts.stability  0.50",
        "default: 1 agent, 0 in sync, 1 drifted",
        "`agent-sync reconcile SLUG`",
    ] {
        assert!(said.out.contains(line), "{line} in:\n{}", said.out);
    }
    let json = platform.says(&["check", "--json"]).await;
    let differences = &json.objects()[0]["differing"][0]["differences"];
    let of = |path: &str| {
        differences
            .as_array()
            .unwrap()
            .iter()
            .find(|one| one["path"] == path)
            .cloned()
            .unwrap()
    };
    assert_eq!(
        of("system_prompt"),
        json!({"path": "system_prompt", "current_characters": 19, "expected_characters": 1514})
    );
    assert_eq!(
        of("temperature"),
        json!({"path": "temperature", "expected": 0.9})
    );
    assert!(
        json.out
            .contains(r#""path":"provider_config.tts.stability","current":0.50}"#),
        "{}",
        json.out
    );
    for text in [said.out, said.err, json.out, json.err] {
        assert!(!text.contains("secret"), "{text}");
    }
}

#[tokio::test]
async fn i2_check_exits_with_0_2_64_or_69() {
    let platform = Platform::installed().await;
    platform.save("a", EXAMPLE).await;
    platform.configure("a").await;
    let daemon = platform.caught_up_daemon().await;
    platform.becomes("a", EXPECTED).await;
    platform.drained().await;
    let said = platform.says(&["check"]).await.fits();
    assert_eq!(
        (said.code, said.out.as_str()),
        (0, "default: 1 agent, 1 in sync\n")
    );
    let said = platform.says(&["check", "a", "nobody"]).await.fits();
    assert_eq!(said.code, 2);
    assert!(said.out.contains("in sync   a\n"), "{}", said.out);
    assert!(
        said.out
            .ends_with("unknown   nobody  no agent has this slug\n"),
        "{}",
        said.out
    );

    // A pending change is no drift while a daemon leads.
    daemon.signal("STOP");
    platform.run("UPDATE agents SET name = 'Other'").await;
    let said = platform.says(&["check"]).await.fits();
    assert_eq!(said.code, 0, "{said:?}");
    assert!(
        said.out
            .contains("pending   a  saved, and the daemon has yet to look at it"),
        "{}",
        said.out
    );
    assert!(
        said.out.contains("default: 1 agent, 0 in sync, 1 pending"),
        "{}",
        said.out
    );
    daemon.signal("CONT");
    assert!(daemon.terminate().await.success());
    platform.run("UPDATE agents SET name = 'Another'").await;
    let said = platform.says(&["check"]).await.fits();
    assert_eq!(said.code, 2);
    assert!(said.out.contains("No daemon leads"), "{}", said.out);

    for (slug, word) in [("missing", "missing"), ("rejected", "rejected")] {
        platform.save(slug, r#"{"temperature":3}"#).await;
        if slug == "rejected" {
            platform.configure(slug).await;
        }
        let said = platform.says(&["check", slug]).await.fits();
        assert_eq!(said.code, 2);
        assert!(said.out.starts_with(word), "{}", said.out);
    }

    assert_eq!(
        platform
            .says(&["check", "--database", "elsewhere"])
            .await
            .code,
        64
    );
    let mut command = platform.command(&["check"]);
    command.env_remove("DATABASE_URL");
    command.env(
        "AGENT_SYNC__DATABASES__BAD__URL",
        "postgres://nobody:hunter2@127.0.0.1:1/none",
    );
    command.env("AGENT_SYNC__DATABASES__GOOD__URL", &platform.url);
    let said = Said::of(command).await.fits();
    assert_eq!(said.code, 69);
    assert!(
        said.err.contains("database bad: could not connect") && said.err.contains("try: "),
        "{}",
        said.err
    );
    assert!(
        said.out.contains("good: 3 agents"),
        "the other one is checked all the same: {}",
        said.out
    );
    assert!(!said.err.contains("hunter2"), "{}", said.err);
}

/// An unreachable database has no unknown slugs.
#[tokio::test]
async fn i2_an_unreachable_database_has_no_unknown_slugs() {
    let platform = Platform::installed().await;
    for subcommand in [&["check", "nobody"][..], &["reconcile", "nobody", "--yes"]] {
        let mut command = platform.command(subcommand);
        command.env_remove("DATABASE_URL");
        command.env(
            "AGENT_SYNC__DATABASES__BAD__URL",
            "postgres://nobody@127.0.0.1:1/none",
        );
        let said = Said::of(command).await.fits();
        assert_eq!((said.code, &*said.out), (69, ""), "{said:?}");

        let mut command = platform.command(subcommand);
        command.env_remove("DATABASE_URL");
        command.env(
            "AGENT_SYNC__DATABASES__BAD__URL",
            "postgres://nobody@127.0.0.1:1/none",
        );
        command.env("AGENT_SYNC__DATABASES__GOOD__URL", &platform.url);
        let said = Said::of(command).await.fits();
        assert_eq!(said.code, 69, "{said:?}");
        assert!(
            said.out
                .contains("no agent has this slug, as far as could be checked"),
            "{}",
            said.out
        );

        let said = platform.says(subcommand).await.fits();
        assert!(
            said.out
                .contains("unknown   nobody  no agent has this slug\n"),
            "{}",
            said.out
        );
    }
}

#[tokio::test]
async fn check_says_which_write_was_refused_last() {
    let platform = Platform::installed().await;
    platform
        .run("ALTER TABLE agent_configurations ADD CONSTRAINT short CHECK (length(voice_id) < 5)")
        .await;
    platform.save("a", r#"{"voice_id":"far too long"}"#).await;
    platform.configure("a").await;
    let _daemon = platform.caught_up_daemon().await;
    platform
        .holds("SELECT EXISTS (SELECT FROM agent_sync.problem WHERE kind = 'failed')")
        .await;
    platform.drained().await;
    let said = platform.says(&["check"]).await.fits();
    assert_eq!(said.code, 2);
    assert!(
        said.out
            .contains("the last write failed: PostgreSQL refused the write"),
        "{}",
        said.out
    );
    assert!(said.out.contains("constraint short"), "{}", said.out);
    // The same write would fail again, so a reconcile is no remedy.
    for line in [
        "failed    a\n",
        "default: 1 agent, 0 in sync, 1 failed\n",
        "`agent-sync why SLUG` explains one that is missing, rejected or failed.",
    ] {
        assert!(said.out.contains(line), "{line} in:\n{}", said.out);
    }
    assert!(!said.out.contains("reconcile"), "{}", said.out);
    let objects = platform.says(&["check", "--json"]).await.objects();
    let types: Vec<_> = objects.iter().map(|object| &object["type"]).collect();
    assert_eq!(types, ["agent", "summary"]);
    let summary = &objects[1]["summary"];
    assert_eq!(
        (&summary["drifted"], &summary["failed"]),
        (&1.into(), &1.into())
    );
    let said = platform.says(&["reconcile", "a"]).await.fits();
    assert!(
        said.out
            .contains("explains one that is missing, rejected or failed."),
        "{}",
        said.out
    );
}

/// Rows and summaries of the JSON output begin with the database and the type.
#[tokio::test]
async fn i1_each_row_of_json_has_a_type_and_the_database_first() {
    let platform = Platform::installed().await;
    platform.save("a", EXAMPLE).await;
    for (arguments, types) in [
        (&["check", "--json"][..], &["agent", "summary"][..]),
        (&["check", "a", "--json"], &["agent", "summary"]),
        (
            &["check", "--unmapped", "--json"],
            &["agent", "summary", "unmapped"],
        ),
        (
            &["check", "--rules", "config/providers.toml", "--json"],
            &["plan"],
        ),
        (&["reconcile", "--all", "--json"], &["agent", "summary"]),
    ] {
        let said = platform.says(arguments).await;
        for (line, kind) in said.out.lines().zip(types) {
            let start = format!(r#"{{"database":"default","type":"{kind}","#);
            assert!(line.starts_with(&start), "{arguments:?}: {line}");
        }
        assert_eq!(said.out.lines().count(), types.len(), "{said:?}");
    }
    let said = platform.says(&["check", "nobody", "--json"]).await;
    let last = said.out.lines().last().unwrap();
    let start = r#"{"type":"unknown","slug":"nobody","verdict":"#;
    assert!(last.starts_with(start), "{last}");
    platform.configure("a").await;
    platform
        .run("ALTER TABLE agent_configurations ADD CHECK (voice_id <> 'test-voice-123')")
        .await;
    let said = platform.says(&["reconcile", "a", "--json"]).await;
    let start = r#"{"database":"default","type":"agent","slug":"a","outcome":"failed","reasons":["#;
    assert!(said.out.contains(start), "{said:?}");
    let said = platform.says(&["wait", "--timeout", "1ms", "--json"]).await;
    let start = r#"{"database":"default","applied":"#;
    assert!(said.out.starts_with(start), "{said:?}");
    for command in ["status", "doctor", "databases"] {
        let said = platform.says(&[command, "--json"]).await;
        assert!(
            said.out.starts_with(r#"{"database":"default","#),
            "{said:?}"
        );
    }
}

/// GIVEN agents or configurations that row-level security may hide from the role, THEN no command
/// takes what it sees for all, and each names the remedy, which works.
#[tokio::test]
async fn g14_a_comparison_without_hidden_rows_is_no_success() {
    for (hiding, table) in [
        ("ALTER TABLE agents ENABLE ROW LEVEL SECURITY", "agents"),
        (
            "ALTER TABLE agents ENABLE ROW LEVEL SECURITY;
             CREATE POLICY few ON agents USING (slug = 'seen')",
            "agents",
        ),
        (
            "ALTER TABLE agent_configurations ENABLE ROW LEVEL SECURITY;
             CREATE POLICY few ON agent_configurations USING (agent_slug = 'seen')",
            "agent_configurations",
        ),
    ] {
        let platform = Platform::new().await;
        let role = format!("checks_{}", platform.name());
        let said = platform.says(&["install", "--role", &role]).await;
        assert_eq!(said.code, 0, "{said:?}");
        for slug in ["seen", "other"] {
            platform.save(slug, "{}").await;
            platform.configure(slug).await;
        }
        drop(platform.caught_up_daemon().await);
        platform.run(hiding).await;
        let mut policies = Vec::new();
        for (arguments, code) in [
            (&["check"][..], 2),
            (&["check", "seen"], 2),
            (&["check", "--rules", "config/providers.toml"], 2),
            (&["reconcile", "--all"], 1),
            (&["reconcile", "--all", "--dry-run"], 2),
        ] {
            let said = platform.says_as(&role, arguments).await;
            assert_eq!(said.code, code, "{arguments:?}: {said:?}");
            let finding = format!("row-level security of public.{table} may hide rows");
            assert!(said.err.contains(&finding), "{arguments:?}: {said:?}");
            let remedy = said.err.split_once("try: ").unwrap().1;
            assert!(
                remedy.starts_with("CREATE POLICY"),
                "{arguments:?}: {said:?}"
            );
            let remedies = said.err.lines().filter_map(|line| line.split_once("try: "));
            let statements =
                remedies.filter_map(|(_, remedy)| remedy.split_once("; or ALTER ROLE"));
            policies.extend(statements.map(|(policy, _)| policy.to_owned()));
        }
        let said = platform.says_as(&role, &["check", "--json"]).await;
        let summary = said.objects().pop().unwrap();
        assert_eq!(summary["rows_may_be_hidden"], true, "{said:?}");
        let said = platform.says_as(&role, &["why", "other"]).await;
        let told = [&*said.out, &said.err].concat();
        let told = told.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(told.contains("may hide rows"), "{said:?}");
        assert!(told.contains("try: CREATE POLICY"), "{said:?}");
        assert!(!told.contains("INSERT INTO"), "{said:?}");
        policies.sort();
        policies.dedup();
        platform.run(&policies.join(";")).await;
        for arguments in [&["check"][..], &["why", "other"], &["reconcile", "--all"]] {
            let said = platform.says_as(&role, arguments).await;
            assert_eq!(said.code, 0, "{arguments:?}: {said:?}");
        }
    }
}

/// Check needs the same memory for 200,000 agents as for a tenth of them.
#[tokio::test]
async fn g12_the_memory_of_check_does_not_grow_with_agents() {
    let platform = Platform::installed().await;
    let fill = |from: u32, to: u32| {
        format!(
            "INSERT INTO agents (slug, name, system_prompt, voice_settings)
             SELECT 'agent-' || i, 'Agent', 'You are an agent.', '{{\"voice_id\":\"v\"}}'
               FROM generate_series({from}, {to}) i;
             INSERT INTO agent_configurations (agent_slug, agent_name, system_prompt, voice_id,
               voice_settings)
             SELECT slug, name, system_prompt, CASE WHEN slug LIKE '%7' THEN 'old'
               ELSE 'v' END, voice_settings
             FROM agents WHERE substr(slug, 7)::int >= {from};
             TRUNCATE agent_sync.outbox"
        )
    };
    platform.run(&fill(1, 20_000)).await;
    let (few, _) = peak_of(platform.command(&["check"]));
    platform.run(&fill(20_001, 200_000)).await;
    let (many, said) = peak_of(platform.command(&["check"]));
    assert!(
        said.contains("200,000 agents, 180,000 in sync, 20,000 drifted"),
        "{said}"
    );
    eprintln!("peak memory of check: {few} KiB for 20,000 agents, {many} KiB for 200,000");
    assert!(few > 1024, "{few} KiB is no process that has worked");
    assert!(
        many < few + 4 * 1024,
        "{few} KiB for 20,000 agents, {many} KiB for 200,000"
    );
}

/// GIVEN an agent with configurations that differ in very many fields each, WHEN `check` compares
/// it, THEN it lists a bounded part, counts the rest, and needs the memory of one of them.
#[tokio::test]
async fn g12_check_lists_a_bounded_part_of_the_differences() {
    let platform = Platform::installed().await;
    platform.run(&wide(20)).await;
    platform.run(&widen(60_000)).await;
    platform.run("TRUNCATE agent_sync.outbox").await;
    let (peak, said) = peak_of(platform.command(&["check"]));
    eprintln!("peak memory of a check of wide settings: {peak} KiB");
    assert!(peak > 1024, "{peak} KiB is no process that has worked");
    assert!(peak < 96 * 1024, "{peak} KiB");
    assert!(said.contains("1 agent, 0 in sync, 1 drifted"), "{said}");
    let said = platform.says(&["check"]).await;
    assert_eq!(said.code, 2, "{:.2000}", said.out);
    let line = said.out.lines().find(|line| line.contains("Not shown"));
    let line = line.unwrap_or_default();
    assert!(
        line.contains("more differences of 20 configurations."),
        "{line}"
    );
    // JSON has every configuration, and says what is left out.
    let said = platform.says(&["check", "--json"]).await;
    let object = &said.objects()[0];
    let differing = object["differing"].as_array().unwrap();
    let lists = differing.iter().map(|one| &one["differences"]);
    let listed: usize = lists.map(|list| list.as_array().unwrap().len()).sum();
    assert!((1000..20_000).contains(&listed), "{listed}");
    assert_eq!((said.code, differing.len()), (2, 20));
    assert_eq!(object["left_out"][0], line.trim(), "{}", object["left_out"]);
}

/// The peak of the resident memory of a process in KiB, and the end of its output.
fn peak_of(mut command: Command) -> (u64, String) {
    use std::io::Read as _;
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut output = child.stdout.take().unwrap();
    let (mut peak, mut said, mut buffer) = (0, Vec::new(), [0; 4096]);
    loop {
        // Read after each output of the process. The output is larger than a pipe, so the process
        // is still running then.
        peak = peak.max(peak_memory_kib(child.id()).unwrap_or_default());
        match output.read(&mut buffer).unwrap() {
            0 => break,
            read => said.extend_from_slice(&buffer[..read]),
        }
    }
    child.wait().unwrap();
    let said = String::from_utf8(said).unwrap();
    (
        peak,
        said.lines()
            .last()
            .map_or(String::new(), |_| said.lines().rev().take(3).collect()),
    )
}

#[tokio::test]
async fn a_reader_that_has_seen_enough_ends_the_check() {
    let platform = Platform::new().await;
    platform
        .run(
            "INSERT INTO agents (slug, name) SELECT 'agent-' || i, 'n' FROM generate_series(1, \
            20000) i",
        )
        .await;
    let mut child = platform
        .command(&["check"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let status = child.wait().unwrap();
    assert_eq!(
        status.code(),
        Some(2),
        "no panic, and what was found by then"
    );
}

#[tokio::test]
async fn a_standby_can_be_checked_and_is_said_to_be_one() {
    let (primary, platform) = Platform::on_own_server("").await;
    platform.save("a", EXAMPLE).await;
    platform.run("TRUNCATE agent_sync.outbox").await;
    platform.configure("a").await;
    platform.run("TRUNCATE agent_sync.outbox").await;
    let Some(standby) = crate::support::standby(&primary) else {
        return;
    };
    let on_standby = |arguments: &[&str]| {
        let mut command = platform.command(arguments);
        command.env("DATABASE_URL", standby.url(platform.name()));
        command
    };
    let said = Said::of(on_standby(&["check"])).await.fits();
    assert_eq!(said.code, 2, "{said:?}");
    assert!(said.out.starts_with("drifted   a\n"), "{}", said.out);
    let status = Said::of(on_standby(&["status", "--json"])).await.object();
    assert_eq!(
        (&status["state"], &status["trouble"][0]["topic"]),
        (&"broken".into(), &"server".into()),
        "{status}"
    );
    let said = Said::of(on_standby(&["doctor"])).await.fits();
    assert_eq!(said.code, 2, "{said:?}");
    assert!(
        said.out
            .contains("FAIL  server        this server is a standby"),
        "{}",
        said.out
    );
    let said = Said::of(on_standby(&["reconcile", "a"])).await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(
        said.err.contains("give the address of the primary"),
        "{}",
        said.err
    );
}

/// Agents that share a slug are ambiguous, and no command is proposed for them.
#[tokio::test]
async fn t5_agents_that_share_a_slug_are_ambiguous() {
    for key in [
        "UNIQUE (slug, client_id)",
        "UNIQUE (lower(slug))",
        "UNIQUE (slug) WHERE enabled",
        "",
    ] {
        let platform = Platform::new().await;
        platform
            .run(
                "DROP TABLE agents CASCADE;
                 CREATE TABLE agents (slug text, client_id int, enabled boolean, name text,
                   system_prompt text, voice_settings jsonb)",
            )
            .await;
        if let Some(columns) = key.strip_prefix("UNIQUE ") {
            let unique = if key.contains("lower") { "" } else { "UNIQUE" };
            platform
                .run(&format!("CREATE {unique} INDEX ON agents {columns}"))
                .await;
        }
        platform.install();
        platform
            .run(
                "INSERT INTO agents (slug, client_id, name) VALUES ('twice', 1, 'one'), ('twice', \
                2, 'other'), ('once', 1, 'mine')",
            )
            .await;
        platform.configure("twice").await;
        platform.configure("twice").await;
        platform.configure("once").await;
        let said = platform.says(&["check", "--json"]).await;
        assert_eq!(said.code, 2, "{said:?}");
        let objects = said.objects();
        let about = |slug: &str| {
            objects
                .iter()
                .find(|object| object["slug"] == slug)
                .unwrap()
                .clone()
        };
        let twice = about("twice");
        assert_eq!(twice["verdict"], "ambiguous", "{twice}");
        assert_eq!(twice["differing"], serde_json::json!([]), "{twice}");
        assert_eq!(
            twice["reasons"],
            serde_json::json!(["2 agents have this slug"]),
            "{twice}"
        );
        assert_eq!(twice["configurations"], 2, "{twice}");
        assert_eq!(about("once")["verdict"], "pending");
        let why = platform.says(&["why", "twice", "--json"]).await.object();
        assert_eq!(why["agents"], 2, "{why}");
        assert_eq!(why["configurations"].as_array().unwrap().len(), 2, "{why}");
        let why = platform.says(&["why", "twice"]).await;
        for text in [
            "the agent (1 of 2) as saved",
            "the agent (2 of 2) as saved",
            "configuration (1 of 2) as it is",
            "configuration (2 of 2) as it is",
            "\"one\"",
            "\"other\"",
        ] {
            assert_eq!(why.out.matches(text).count(), 1, "{text}: {why:?}");
        }
        drop(platform.caught_up_daemon().await);
        let status = platform.says(&["status", "--json"]).await.object();
        assert_eq!(
            (&status["ambiguous"], &status["rejected"]),
            (&1.into(), &0.into())
        );
        let status = platform.says(&["status"]).await;
        let row: Vec<_> = status
            .out
            .lines()
            .nth(1)
            .unwrap()
            .split_whitespace()
            .collect();
        assert_eq!(row[row.len() - 2..], ["1", "0"], "{status:?}");
        let why = platform.says(&["why", "twice"]).await;
        assert!(why.out.contains("2 agents have this slug"), "{why:?}");
        let dry = platform.says(&["reconcile", "twice", "--dry-run"]).await;
        assert!(
            dry.out.contains("ambiguous") && !dry.out.contains("agent_name"),
            "{dry:?}"
        );
        let doctor = platform.says(&["doctor", "--json"]).await;
        assert!(
            doctor
                .out
                .contains("public.agents has no unique index on slug"),
            "{key}: {doctor:?}"
        );
        assert!(
            doctor
                .out
                .contains("CREATE UNIQUE INDEX CONCURRENTLY ON public.agents (slug);"),
            "{doctor:?}"
        );
    }
}

#[tokio::test]
async fn t5_a_unique_index_or_constraint_on_the_slug_alone_is_enough() {
    for unique in [
        "ALTER TABLE agents ADD UNIQUE (slug)",
        "ALTER TABLE agents ADD UNIQUE (slug) DEFERRABLE INITIALLY DEFERRED",
        "CREATE UNIQUE INDEX ON agents (slug) INCLUDE (name)",
    ] {
        let platform = Platform::new().await;
        platform
            .run(
                "DROP TABLE agents CASCADE; CREATE TABLE agents (slug text, name text, \
                voice_settings jsonb)",
            )
            .await;
        platform.run(unique).await;
        platform.install();
        let doctor = platform.says(&["doctor", "--json"]).await;
        assert!(
            !doctor.out.contains("no unique index"),
            "{unique}: {doctor:?}"
        );
    }
}

#[tokio::test]
async fn a_check_that_nobody_reads_on_holds_no_locks() {
    let platform = Platform::installed().await;
    platform
        .run(
            "INSERT INTO agents (slug, name) SELECT 'agent-' || i, 'n'
                  FROM generate_series(1, 20000) i;
             INSERT INTO agent_configurations (agent_slug) SELECT slug
               FROM agents; TRUNCATE agent_sync.outbox",
        )
        .await;
    let mut command = platform.command(&["check"]);
    command
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let mut check = command.spawn().unwrap();
    // The output is larger than a pipe, and the transaction on the tables still ends.
    platform
        .holds(
            "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE application_name LIKE 'agent-sync%'
               AND datname = current_database() AND state = 'idle' AND query = 'ROLLBACK')",
        )
        .await;
    platform
        .run("SET lock_timeout = '30s'; ALTER TABLE agents ADD COLUMN later text")
        .await;
    assert!(
        check.try_wait().unwrap().is_none(),
        "it waits for its reader"
    );
    let said = tokio::task::spawn_blocking(move || check.wait_with_output().unwrap())
        .await
        .unwrap();
    assert_eq!(
        said.status.code(),
        Some(2),
        "{}",
        String::from_utf8_lossy(&said.stderr)
    );
    assert!(
        String::from_utf8_lossy(&said.stdout)
            .matches("agent-")
            .count()
            >= 20_000
    );
}

/// GIVEN configurations that match no agent, THEN `check` and `doctor` count them and name some,
/// and nothing is written to them; a check of some agents does not count them.
#[tokio::test]
async fn g14_configurations_that_match_no_agent_are_counted() {
    let platform = Platform::installed().await;
    platform.save("reception", EXAMPLE).await;
    platform.configure("reception").await;
    let daemon = platform.caught_up_daemon().await;
    platform.drained().await;
    let said = platform.says(&["check", "--json"]).await;
    assert_eq!(
        said.object()["unmatched"],
        json!({"configurations": 0, "some": []})
    );
    let said = platform.says(&["check"]).await;
    assert!(!said.out.contains("match no agent"), "{said:?}");
    platform
        .run(
            "INSERT INTO agent_configurations (agent_slug) SELECT 'gone-' || i
               FROM generate_series(1, 7) i;
             INSERT INTO agent_configurations (agent_slug) VALUES (NULL)",
        )
        .await;
    let said = platform.says(&["check"]).await.fits();
    assert_eq!(said.code, 0, "{said:?}");
    let words = said.out.split_whitespace().collect::<Vec<_>>().join(" ");
    let sentence = "7 configurations match no agent, so nothing is written to them: gone-1, gone-2, \
        gone-3, gone-4, gone-5 and 2 more";
    assert!(words.contains(sentence), "{said:?}");
    let said = platform.says(&["check", "--json"]).await;
    let told = &said.object()["unmatched"];
    assert_eq!(told["configurations"], 7, "{told}");
    assert_eq!(told["some"][4], json!({"slug": "gone-5"}), "{told}");
    let said = platform.says(&["check", "--json", "reception"]).await;
    assert_eq!(said.objects().pop().unwrap()["unmatched"], Value::Null);
    let said = platform.says(&["doctor", "--json"]).await;
    assert!(said.out.contains(sentence), "{said:?}");
    let written = "SELECT count(*) FROM agent_configurations WHERE agent_name IS NOT NULL";
    assert_eq!(platform.value::<i64>(written).await, 1);
    drop(daemon);
}

/// GIVEN tenants, THEN a configuration of another tenant or of none matches no agent.
#[tokio::test]
async fn t5_configurations_of_no_tenant_match_no_agent() {
    for (of_type, own, other) in [
        ("integer", "7", "8"),
        ("text", "a/b", "%"),
        ("client", "the/second", "%third"),
    ] {
        let platform = Platform::with_tenants(of_type).await;
        platform.install();
        platform
            .run(&format!(
                "INSERT INTO agents (client_id, slug) VALUES ('{own}', 'reception');
                 INSERT INTO agent_configurations (client_id, agent_slug) VALUES
                   ('{own}', 'reception'), ('{other}', 'reception'), (NULL, 'reception')"
            ))
            .await;
        let said = platform.says(&["check", "--json"]).await;
        let told = &said.objects().pop().unwrap()["unmatched"];
        let some = json!([{"slug": "reception"}, {"tenant": other, "slug": "reception"}]);
        assert_eq!(
            *told,
            json!({"configurations": 2, "some": some}),
            "{of_type}"
        );
    }
}
