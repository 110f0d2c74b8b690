//! The values of the writers: valid and invalid voice settings of every kind, and configurations as
//! older code left them.
//!
//! Every text starts with its intended provider and ends with a unique stamp, so the oracle
//! recognizes a stale or misplaced value.

use fastrand::Rng;
use serde_json::{Map, Value, json};

const TTS: &[&str] = &[
    "openai",
    "elevenlabs",
    "cartesia",
    "speechify",
    "livekit",
    "deepgram",
    "acme",
];
const LLM: &[&str] = &["groq", "openai", "anthropic"];
const STT: &[&str] = &["deepgram", "groq", "assembly"];

/// A text as an SQL literal.
pub fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// One random element.
pub fn one<'a>(rng: &mut Rng, of: &[&'a str]) -> &'a str {
    of[rng.usize(..of.len())]
}

/// Voice settings as the UI or an older writer would save them, as JSON text.
pub fn settings(rng: &mut Rng, stamp: &str) -> String {
    match rng.u32(..100) {
        0..70 => valid(rng, stamp).to_string(),
        70..76 => Value::from(valid(rng, stamp).to_string()).to_string(),
        76..82 => one(rng, &["null", "\"\"", "{}", "\"  \""]).to_owned(),
        _ => wrong(rng, stamp).to_string(),
    }
}

/// Settings that can be mapped.
fn valid(rng: &mut Rng, stamp: &str) -> Value {
    let mut settings = Map::new();
    let tts = one(rng, TTS);
    if rng.u32(..10) > 0 {
        settings.insert(one(rng, &["provider", "tts_provider"]).into(), json!(tts));
    }
    for name in ["voice_id", "model", "output_format"] {
        maybe(rng, &mut settings, name, &json!(format!("{tts}-{stamp}")));
    }
    for name in ["stability", "similarity_boost"] {
        let number = f64::from(rng.u32(..=100)) / 100.0;
        let value = if rng.bool() {
            json!(number)
        } else {
            json!(format!(" {number} "))
        };
        maybe(rng, &mut settings, name, &value);
    }
    for name in ["loudness_normalization", "text_normalization"] {
        let value = rng.bool();
        let value = if rng.bool() {
            json!(value)
        } else {
            json!(value.to_string())
        };
        maybe(rng, &mut settings, name, &value);
    }
    let llm = rng.usize(..LLM.len());
    if rng.u32(..10) > 0 {
        settings.insert("llm_provider".into(), json!(LLM[llm]));
    }
    maybe(
        rng,
        &mut settings,
        "llm_model",
        &json!(format!("{}-{stamp}", LLM[llm])),
    );
    let temperature = temperature(rng, llm);
    maybe(rng, &mut settings, "temperature", &temperature);
    let stt = one(rng, STT);
    maybe(rng, &mut settings, "stt_provider", &json!(stt));
    if settings.get("stt_provider") == Some(&json!(stt)) {
        maybe(
            rng,
            &mut settings,
            "stt_model",
            &json!(format!("{stt}-{stamp}")),
        );
    }
    maybe(
        rng,
        &mut settings,
        "nobody_reads_this",
        &json!({ "stamp": stamp, "deep": [1.50, null, {}] }),
    );
    Value::Object(settings)
}

/// A setting that is set, or unset in one of the three ways (M4).
fn maybe(rng: &mut Rng, settings: &mut Map<String, Value>, name: &str, value: &Value) {
    match rng.u32(..10) {
        0..6 => drop(settings.insert(name.into(), value.clone())),
        6 => drop(settings.insert(name.into(), Value::Null)),
        7 => drop(settings.insert(name.into(), json!(""))),
        _ => {}
    }
}

/// A temperature whose first digit identifies its LLM provider.
fn temperature(rng: &mut Rng, llm: usize) -> Value {
    let text = format!("0.{}{:05}", llm + 1, rng.u32(..100_000));
    if rng.bool() {
        json!(text)
    } else {
        json!(text.parse::<f64>().unwrap())
    }
}

/// Settings that cannot be mapped, for one reason or for several.
fn wrong(rng: &mut Rng, stamp: &str) -> Value {
    match rng.u32(..8) {
        0 => json!([stamp]),
        1 => json!(format!("{{\"voice_id\": \"{stamp}\"")),
        2 => json!(17),
        3 => json!({ "provider": 5, "voice_id": stamp }),
        4 => {
            json!({ "provider": "elevenlabs", "stability": "high", "temperature": 9.5, "note": stamp })
        }
        5 => json!({ "voice_id": { "stamp": stamp } }),
        6 => json!({ "llm_provider": "groq", "llm_model": [stamp], "temperature": "-0.1" }),
        _ => {
            json!({ "tts_provider": "speechify", "loudness_normalization": "yes", "stt_provider": true, "note": stamp })
        }
    }
}

/// The foreign parts of a `provider_config`: keys that no rule owns, and numbers that floating
/// point would change.
pub fn rest(rng: &mut Rng, stamp: &str) -> String {
    let number = one(
        rng,
        &[
            "12345678901234567890123",
            "0.1000000000000000000001",
            "1.50",
            "-0.0",
            "1e3",
        ],
    );
    let section = one(rng, &["llm", "tts", "stt"]);
    format!(
        r#"{{"custom": {{"stamp": "{stamp}", "exact": {number}, "nothing": null, "list": [1, [2, {{}}]]}},
            "flag": {}, "{section}": {{"region": "{stamp}", "exact": {number}, "nothing": null}}}}"#,
        rng.bool()
    )
}

/// The fields of agent-sync as older code left them.
pub fn owned(rng: &mut Rng, stamp: &str) -> String {
    let (tts, llm, stt) = (one(rng, TTS), rng.usize(..LLM.len()), one(rng, STT));
    json!({
        "tts": { "provider": tts, "voice_id": format!("{tts}-{stamp}"), "model": format!("{tts}-{stamp}"), "stability": 0.25 },
        "llm": { "provider": LLM[llm], "model": format!("{}-{stamp}", LLM[llm]) },
        "stt": { "provider": stt, "model": format!("{stt}-{stamp}") },
    })
    .to_string()
}
