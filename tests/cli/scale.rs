//! `check` over many agents: with constant memory, and in agreement with an independent query.
//!
//! Every run has 50,000 agents; `make test-million` has a million.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use serde_json::Value;

use crate::support::{Platform, peak_memory_kib};

/// Agents of every kind: of ten, six are in sync, one has another voice than its configuration, one
/// has no configuration, one has settings that cannot be mapped, and one is saved after the
/// install, so it is pending.
const AGENTS: &str = r"
    INSERT INTO agents (slug, name, system_prompt, voice_settings)
    SELECT 'agent-' || n, 'Agent ' || n, 'You are number ' || n,
           jsonb_build_object('provider', 'openai', 'voice_id', 'voice-' || n % 100, 'model', 'tts-1',
                              'temperature', CASE WHEN n % 10 = 8 THEN 9 ELSE 0.5 END)
    FROM generate_series(1, {n}) n;
    INSERT INTO agent_configurations
        (agent_slug, agent_name, system_prompt, voice_id, temperature, voice_settings, provider_config)
    SELECT a.slug, a.name, a.system_prompt, a.voice_settings ->> 'voice_id', 0.5, a.voice_settings,
           jsonb_build_object('mine', 1, 'tts', jsonb_build_object('provider', 'openai', 'model', 'tts-1', 'voice',
               CASE WHEN a.slug LIKE '%6' THEN 'another' ELSE a.voice_settings ->> 'voice_id' END))
    FROM agents a WHERE a.slug NOT LIKE '%7'";

const CHANGED: &str = "UPDATE agents SET voice_settings = voice_settings || '{\"voice_id\": \
    \"later\"}' WHERE slug LIKE '%9'";

/// The verdicts on the agents that are not in sync, in SQL alone.
const VERDICTS: &str = "
    SELECT a.slug, CASE
        WHEN c.agent_slug IS NULL THEN 'missing'
        WHEN (a.voice_settings ->> 'temperature')::numeric NOT BETWEEN 0 AND 2 THEN 'rejected'
        WHEN EXISTS (SELECT FROM agent_sync.outbox o WHERE o.slug = a.slug) THEN 'pending'
        ELSE 'drifted' END
    FROM agents a LEFT JOIN agent_configurations c ON c.agent_slug = a.slug
    WHERE c.agent_slug IS NULL
       OR (a.voice_settings ->> 'temperature')::numeric NOT BETWEEN 0 AND 2
       OR c.agent_name IS DISTINCT FROM a.name OR c.system_prompt IS DISTINCT FROM a.system_prompt
       OR c.voice_settings IS DISTINCT FROM a.voice_settings OR c.voice_id IS DISTINCT
         FROM a.voice_settings ->> 'voice_id'
       OR c.provider_config #>> '{tts,voice}' IS DISTINCT FROM a.voice_settings ->> 'voice_id'";

/// Check agrees with an independent query and needs constant memory.
#[tokio::test]
async fn check_agrees_with_a_query_in_constant_memory() {
    let number: u32 =
        std::env::var("AGENT_SYNC_TEST_AGENTS").map_or(50_000, |number| number.parse().unwrap());
    let (_, small) = checked(number / 10).await;
    let (platform, large) = checked(number).await;
    assert!(
        large.peak_kib < 32 * 1024 && large.peak_kib < small.peak_kib + 4096,
        "{small:?} {large:?}"
    );
    let rows = platform.client.query(VERDICTS, &[]).await.unwrap();
    let expected: BTreeMap<String, String> =
        rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let differs = large
        .verdicts
        .iter()
        .find(|(slug, verdict)| expected.get(*slug) != Some(*verdict));
    assert!(
        differs.is_none() && large.verdicts.len() == expected.len(),
        "{differs:?}"
    );
    for (verdict, tenths) in [
        ("in_sync", 6),
        ("drifted", 1),
        ("missing", 1),
        ("rejected", 1),
        ("pending", 1),
    ] {
        assert_eq!(
            large.summary[verdict],
            number / 10 * tenths,
            "{verdict}: {}",
            large.summary
        );
    }
    assert_eq!(large.summary["agents"], number);
}

/// The result of `check`.
struct Checked {
    verdicts: BTreeMap<String, String>,
    summary: Value,
    peak_kib: u64,
}

impl std::fmt::Debug for Checked {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{} KiB at most, {}", self.peak_kib, self.summary)
    }
}

/// Checks this number of agents.
async fn checked(number: u32) -> (Platform, Checked) {
    let platform = Platform::new().await;
    platform
        .run(&AGENTS.replace("{n}", &number.to_string()))
        .await;
    platform.install();
    platform.run(CHANGED).await;
    platform.run("ANALYZE").await;
    let mut command = platform.command(&["check", "--json"]);
    let checked = tokio::task::spawn_blocking(move || {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .map_while(Result::ok);
        let mut checked = Checked {
            verdicts: BTreeMap::new(),
            summary: Value::Null,
            peak_kib: 0,
        };
        for (count, line) in lines.enumerate() {
            // The process is still running while it has output.
            if count % 50 == 0 {
                checked.peak_kib = peak_memory_kib(child.id()).unwrap_or(checked.peak_kib);
            }
            let mut object: Value = serde_json::from_str(&line).unwrap();
            match object["summary"].take() {
                Value::Null => {
                    let text = |key: &str| object[key].as_str().unwrap().to_owned();
                    checked.verdicts.insert(text("slug"), text("verdict"));
                }
                summary => checked.summary = summary,
            }
        }
        assert_eq!(child.wait().unwrap().code(), Some(2), "there is drift");
        checked
    });
    let checked = checked.await.unwrap();
    assert!(checked.peak_kib > 0);
    (platform, checked)
}
