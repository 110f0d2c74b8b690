//! The steps of the demo. Each one makes a change and compares the result with the expected one.

use std::time::Duration;

use agent_sync::show::{count, time};

use crate::platform::{TIMEOUT, diff};
use crate::story::{Scene, Story, Writer, rate};
use crate::tenants;

/// The number of agents that are imported and then changed by one statement.
const MANY: i64 = 5_000;

/// The input of the worked example (M3), applied to an empty `provider_config`.
const EXAMPLE: &str = r#"UPDATE agents SET updated_at = now(), voice_settings = '{
  "provider": "cartesia", "voice_id": "test-voice-123",
  "temperature": 0.9, "llm_provider": "groq",
  "llm_model": "mixtral-8x7b-32768", "stt_provider": "deepgram",
  "model": "sonic-english", "output_format": "pcm_44100"}'
WHERE slug = 'pizzeria-da-nino'"#;

/// The expected `provider_config` of the worked example.
const EXAMPLE_GIVES: &str = r#"{"llm":{"provider":"groq","model":"mixtral-8x7b-32768","temperature":0.9},"tts":{"provider":"cartesia","voice_id":"test-voice-123","model":"sonic-english","output_format":"pcm_44100"},"stt":{"provider":"deepgram","model":"nova-2"}}"#;

const PSQL: Writer = Writer::Operator("An operator runs in psql");

/// The agents whose configuration differs, by the comparison of the demo.
const OUT_OF_STEP: &str = "SELECT string_agg(slug, ', ' ORDER BY slug) FROM demo.out_of_step";
const NOTHING_PENDING: &str = "SELECT NOT EXISTS (SELECT FROM agent_sync.state WHERE pending)";

/// Runs all steps, or those up to the first failed claim, because later steps depend on earlier
/// ones.
pub(crate) async fn all(story: &mut Story) -> anyhow::Result<()> {
    for number in 1.. {
        match number {
            1 => first_start(story).await?,
            2 => worked_example(story).await?,
            3 => another_provider(story).await?,
            4 => double_encoded(story).await?,
            5 => broken_settings(story).await?,
            6 => no_configuration(story).await?,
            7 => many_at_once(story).await?,
            8 => while_the_daemon_is_stopped(story).await?,
            9 => tenants::equal_slugs(story).await?,
            10 => final_check(story).await?,
            _ => break,
        }
        if story.screen.failures() > 0 {
            break;
        }
    }
    Ok(())
}

async fn first_start(story: &mut Story) -> anyhow::Result<()> {
    let slug = "dr-weber-reception";
    let agents = count(story.platform.number("SELECT count(*) FROM agents").await?);
    let behind = count(
        story
            .platform
            .number("SELECT count(*) FROM demo.out_of_step")
            .await?,
    );
    let title =
        format!("The first start: {behind} of {agents} agents are ahead of their configurations");
    story.screen.step(&title).await;
    let before = story.platform.configuration(slug).await?;
    let installed = story.program.run("install")?;
    story.screen.say("agent-sync install says:");
    for line in installed.lines() {
        // The directory of the socket is long and of no interest.
        story.screen.code(line.split(" (").next().unwrap_or(line));
    }
    story.screen.say("agent-sync run says:");
    story.start_daemon().await?;
    let after = story.platform.configuration(slug).await?;
    story.screen.diff(slug, &diff(&before, &after));
    let claim = "all are in sync but two, which cannot be: florist-bloom, plumber-24h";
    story
        .compare(claim, OUT_OF_STEP, "florist-bloom, plumber-24h")
        .await?;
    let problems =
        "SELECT string_agg(slug || ' ' || kind, ', ' ORDER BY slug) FROM agent_sync.problem";
    let expected = "florist-bloom missing_configuration, plumber-24h rejected";
    story
        .compare(
            "agent_sync.problem has the reason for each of the two",
            problems,
            expected,
        )
        .await
}

async fn worked_example(story: &mut Story) -> anyhow::Result<()> {
    story
        .screen
        .step("A user chooses a voice in the web UI, which saves only the agent")
        .await;
    let outcome = format!(
        "SELECT provider_config = '{EXAMPLE_GIVES}' FROM agent_configurations WHERE agent_slug = \
        'pizzeria-da-nino'"
    );
    let scene = Scene {
        slug: "pizzeria-da-nino",
        writer: Writer::Ui,
        sql: EXAMPLE,
        outcome: &outcome,
    };
    story.play(&scene).await?;
    let claim = "provider_config equals the worked example";
    story
        .compare(claim, &format!("SELECT ({outcome})::text"), "true")
        .await?;
    let found = "SELECT provider_config::text FROM agent_configurations WHERE agent_slug = \
        'pizzeria-da-nino'";
    let found = story.platform.text(found).await?;
    story.screen.code(&found);
    Ok(())
}

async fn another_provider(story: &mut Story) -> anyhow::Result<()> {
    story
        .screen
        .step("A switch from ElevenLabs to OpenAI removes every field of the old provider")
        .await;
    let scene = Scene {
        slug: "dr-weber-reception",
        writer: Writer::Ui,
        sql: r#"UPDATE agents SET updated_at = now(), voice_settings = '{
  "provider": "openai", "voice_id": "sage", "model": "gpt-4o-mini-tts",
  "temperature": 0.3, "llm_provider": "openai",
  "llm_model": "gpt-4o-mini", "stt_provider": "deepgram"}'
WHERE slug = 'dr-weber-reception'"#,
        outcome: "SELECT voice_id = 'sage' FROM agent_configurations WHERE agent_slug = \
            'dr-weber-reception'",
    };
    story.play(&scene).await?;
    let query = "SELECT (provider_config = '{
          \"llm\": {\"provider\": \"openai\", \"model\": \"gpt-4o-mini\", \"temperature\": 0.3, \"max_tokens\": 400},
          \"tts\": {\"provider\": \"openai\", \"voice\": \"sage\", \"model\": \"gpt-4o-mini-tts\", \"speaking_rate\": 0.95},
          \"stt\": {\"provider\": \"deepgram\", \"model\": \"nova-2\"},
          \"telephony\": {\"number\": \"+49 30 5550142\", \"record\": false, \"transfer_to\": null},
          \"billing\": {\"per_minute\": 0.1000000000000000000001, \"account\": 12345678901234567890123}}')::text
        FROM agent_configurations WHERE agent_slug = 'dr-weber-reception'";
    let claim = "the parts that agent-sync does not own are unchanged: llm.max_tokens, tts.speaking_rate, \
        telephony, and billing with every digit of its numbers";
    story.compare(claim, query, "true").await
}

async fn double_encoded(story: &mut Story) -> anyhow::Result<()> {
    story
        .screen
        .step("An old script stores JSON as a JSON string, on both sides")
        .await;
    let spoil = "UPDATE agent_configurations SET provider_config = to_jsonb(provider_config::text)
        WHERE agent_slug = 'haas-law-office'";
    story.platform.operator.batch_execute(spoil).await?;
    let scene = Scene {
        slug: "haas-law-office",
        writer: Writer::Operator("The script saves (it has double-encoded provider_config before)"),
        sql: r#"UPDATE agents SET voice_settings = to_jsonb(text
  '{"provider": "openai", "voice_id": "onyx", "model": "tts-1-hd",
    "temperature": 0.2, "llm_provider": "openai", "llm_model": "gpt-4o",
    "stt_provider": "deepgram"}')
WHERE slug = 'haas-law-office'"#,
        outcome: "SELECT voice_id = 'onyx' FROM agent_configurations WHERE agent_slug = \
            'haas-law-office'",
    };
    story.play(&scene).await?;
    let types =
        "SELECT format('%s, %s', jsonb_typeof(voice_settings), jsonb_typeof(provider_config))
        FROM agent_configurations WHERE agent_slug = 'haas-law-office'";
    story
        .compare(
            "voice_settings and provider_config are real objects",
            types,
            "object, object",
        )
        .await
}

async fn broken_settings(story: &mut Story) -> anyhow::Result<()> {
    story
        .screen
        .step("Settings that cannot be mapped: the save succeeds, and nothing is written")
        .await;
    let row =
        "SELECT to_jsonb(c)::text FROM agent_configurations c WHERE agent_slug = 'plumber-24h'";
    let before = story.platform.text(row).await?;
    story.forget_log();
    let sql = r#"UPDATE agents SET voice_settings = voice_settings
  || '{"temperature": "warm", "stability": 7, "model": ["v2"]}'
WHERE slug = 'plumber-24h'"#;
    let outcome = "SELECT EXISTS (SELECT FROM agent_sync.problem
        WHERE slug = 'plumber-24h' AND kind = 'rejected' AND detail LIKE '%stability%')";
    let saved = story.change(Writer::Ui, sql, outcome).await?;
    let claim = match saved.visible {
        Some(visible) => format!(
            "saved; the problem is noted {} after the commit",
            time(visible)
        ),
        None => "saved, and the problem is noted".to_owned(),
    };
    story.screen.verdict(
        &claim,
        saved
            .visible
            .map(|_| ())
            .ok_or_else(|| "no such problem".to_owned()),
    );
    story.logged("rejected", "plumber-24h").await;
    story
        .compare("no column of the configuration has changed", row, &before)
        .await?;

    story.screen.say("Corrected:");
    let scene = Scene {
        slug: "plumber-24h",
        writer: Writer::Ui,
        sql: r#"UPDATE agents SET voice_settings = voice_settings
  || '{"temperature": 0.7, "stability": 0.7, "model": "eleven_flash_v2"}'
WHERE slug = 'plumber-24h'"#,
        outcome: "SELECT temperature = 0.7 FROM agent_configurations WHERE agent_slug = \
            'plumber-24h'",
    };
    story.play(&scene).await?;
    let left = "SELECT count(*)::text FROM agent_sync.problem WHERE slug = 'plumber-24h'";
    story.compare("the problem is gone", left, "0").await
}

async fn no_configuration(story: &mut Story) -> anyhow::Result<()> {
    story
        .screen
        .step("An agent without a configuration causes a warning, and no row is created")
        .await;
    story.forget_log();
    let sql = "UPDATE agents SET name = 'Lily of Bloom' WHERE slug = 'florist-bloom'";
    let outcome = "SELECT NOT EXISTS (SELECT FROM agent_sync.state WHERE pending)
        AND (SELECT attempts > 1 FROM agent_sync.problem WHERE slug = 'florist-bloom')";
    let saved = story.change(Writer::Ui, sql, outcome).await?;
    story.screen.verdict(
        "saved",
        saved
            .visible
            .map(|_| ())
            .ok_or_else(|| "the daemon did not process it".to_owned()),
    );
    story.logged("no configuration", "florist-bloom").await;
    let rows = "SELECT count(*)::text FROM agent_configurations WHERE agent_slug = 'florist-bloom'";
    story
        .compare("there is still no configuration", rows, "0")
        .await?;

    story
        .screen
        .say("The configuration is created. The agent is not saved again:");
    let scene = Scene {
        slug: "florist-bloom",
        writer: PSQL,
        sql: "INSERT INTO agent_configurations (agent_slug, openai_api_key)
VALUES ('florist-bloom', 'sk-demo-florist')",
        outcome: "SELECT agent_name = 'Lily of Bloom' FROM agent_configurations WHERE agent_slug = \
            'florist-bloom'",
    };
    story.play(&scene).await?;
    let left = "SELECT count(*)::text FROM agent_sync.problem";
    story
        .compare("no problem is left in this database", left, "0")
        .await
}

async fn many_at_once(story: &mut Story) -> anyhow::Result<()> {
    story
        .screen
        .step(&format!(
            "{} agents are imported, and then changed by one statement",
            count(MANY)
        ))
        .await;
    let import = format!(
        "INSERT INTO agents (slug, name, system_prompt, voice_settings)
SELECT 'shop-' || n, 'Shop ' || n, 'You sell for shop ' || n || '.',
  '{{\"provider\": \"openai\", \"voice_id\": \"alloy\", \"model\": \"tts-1\",
    \"temperature\": 0.5, \"llm_provider\": \"openai\", \"llm_model\": \"gpt-4o\",
    \"stt_provider\": \"deepgram\"}}'
FROM generate_series(1, {MANY}) n;
INSERT INTO agent_configurations
  (agent_slug, provider_config, groq_api_key)
SELECT slug, '{{\"telephony\": {{\"record\": false}}}}', 'gsk-demo-' || md5(slug)
FROM agents WHERE slug LIKE 'shop-%'"
    );
    let outcome = "SELECT NOT EXISTS (SELECT FROM agent_sync.state WHERE pending)
        AND EXISTS (SELECT FROM agents WHERE slug = 'shop-1')";
    let saved = story
        .change(Writer::Operator("The import runs"), &import, outcome)
        .await?;
    in_sync(story, "The import", saved.took, saved.visible).await?;

    let sql = "UPDATE agents
SET voice_settings = voice_settings
    || '{\"voice_id\": \"marin\", \"temperature\": 0.4}',
    system_prompt = system_prompt || ' Be brief.'
WHERE slug LIKE 'shop-%'";
    let outcome = format!(
        "SELECT count(*) = {MANY} FROM agent_configurations
         WHERE agent_slug LIKE 'shop-%' AND voice_id = 'marin' AND system_prompt LIKE '% Be brief.'"
    );
    let saved = story.change(PSQL, sql, &outcome).await?;
    in_sync(story, "The update", saved.took, saved.visible).await
}

/// Prints the result of a statement that changed many agents.
async fn in_sync(
    story: &mut Story,
    what: &str,
    took: Duration,
    visible: Option<Duration>,
) -> anyhow::Result<()> {
    story
        .screen
        .say(&format!("{what} itself took {}.", time(took)));
    let in_time = visible.ok_or_else(|| format!("not within {}", time(TIMEOUT)));
    let rate = visible.map_or_else(|| count(MANY), |visible| rate(MANY, visible));
    story
        .screen
        .verdict(&format!("all in sync: {rate}"), in_time.map(|_| ()));
    story
        .compare(
            "every configuration matches its agent",
            OUT_OF_STEP,
            "nothing",
        )
        .await
}

async fn while_the_daemon_is_stopped(story: &mut Story) -> anyhow::Result<()> {
    story
        .screen
        .step("The daemon is stopped, agents are saved, and the daemon starts again")
        .await;
    story.stop_daemon().await;
    let sql = "UPDATE agents SET name = name || ' II', voice_settings = voice_settings
  || '{\"llm_provider\": \"groq\", \"llm_model\": \"llama-3.3-70b-versatile\"}'
WHERE slug IN ('city-library', 'hotel-aurora', 'newsroom-tips')";
    let outcome = "SELECT count(*) = 3 FROM agent_sync.state WHERE pending";
    let saved = story.change(Writer::Ui, sql, outcome).await?;
    let claim = format!(
        "saved in {} without a daemon; agent_sync.state shows 3 pending agents",
        time(saved.took)
    );
    story.screen.verdict(
        &claim,
        saved
            .visible
            .map(|_| ())
            .ok_or_else(|| "another number".to_owned()),
    );
    let before = story.platform.configuration("city-library").await?;
    story.start_daemon().await?;
    let after = story.platform.configuration("city-library").await?;
    story.screen.diff("city-library", &diff(&before, &after));
    story
        .compare(
            "every configuration matches its agent",
            OUT_OF_STEP,
            "nothing",
        )
        .await
}

async fn final_check(story: &mut Story) -> anyhow::Result<()> {
    story
        .screen
        .step("The final check: only the mapped columns have changed")
        .await;
    let foreign =
        "SELECT format('%s of %s are as they were', count(*) FILTER (WHERE f.parts = b.parts),
              count(*))
        FROM demo.before b LEFT JOIN demo.foreign_parts f USING (id)";
    let known = story
        .platform
        .number("SELECT count(*) FROM demo.before")
        .await?;
    let claim = "API keys, other columns, and the other parts of provider_config are unchanged in \
        every configuration that was there at the start";
    story
        .compare(
            claim,
            foreign,
            &format!("{known} of {known} are as they were"),
        )
        .await?;
    let keys = format!(
        "SELECT (count(*) = {MANY})::text FROM agent_configurations WHERE agent_slug LIKE 'shop-%'
         AND groq_api_key = 'gsk-demo-' || md5(agent_slug)
         AND provider_config -> 'telephony' = '{{\"record\": false}}'"
    );
    let claim = format!("and in the {} that were imported", count(MANY));
    story.compare(&claim, &keys, "true").await?;
    story
        .compare(
            "nothing is pending",
            &format!("SELECT ({NOTHING_PENDING})::text"),
            "true",
        )
        .await?;
    let problems = "SELECT count(*)::text FROM agent_sync.problem";
    story.compare("no problem is noted", problems, "0").await
}
