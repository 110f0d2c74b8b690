//! Properties of every agent and configuration: M5, M7 and M8 on generated input.

use agent_sync::columns::{AgentColumn, Column};
use agent_sync::mapping::{Agent, Configuration, Rules, Targets, plan};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::cases::{ConfigurationText, apply};

fn quote(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

/// Numbers, some with more digits and larger exponents than a float can represent.
fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,30})?([eE][+-]?[0-9]{1,3})?",
        "0\\.[0-9]{1,3}",
        "[012](\\.0{1,3})?"
    ]
}

/// Any JSON, with odd white space, duplicate keys and every kind of escape.
fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("\"\"".to_owned()),
        Just("\"\\ud83d\\ude00\\n\\/\"".to_owned()),
        Just("\"\\ud800\\u0000\"".to_owned()),
        number(),
        number().prop_map(|number| quote(&number)),
        ".{0,8}".prop_map(|text| quote(&text)),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let member = (key(), inner.clone()).prop_map(|(key, value)| format!("{key} :\t{value}"));
        prop_oneof![
            vec(inner, 0..4).prop_map(|items| format!("[{}]", items.join(" ,"))),
            vec(member, 0..4).prop_map(|members| format!("{{\n{} }}", members.join(","))),
        ]
    })
}

/// The JSON text of a key, often a known one.
fn key() -> impl Strategy<Value = String> {
    let known = [
        "provider",
        "tts_provider",
        "llm_provider",
        "stt_provider",
        "voice_id",
        "voice",
        "model",
        "llm_model",
        "stt_model",
        "temperature",
        "stability",
        "similarity_boost",
        "output_format",
        "loudness_normalization",
        "text_normalization",
        "speechify_model",
        "llm",
        "tts",
        "stt",
        "a",
        "speed",
        "language",
        "emotion",
        "provider_config",
        "voice_settings",
        "generation_config",
        "audioConfig",
        "prosody",
    ];
    prop_oneof![
        4 => prop::sample::select(known.to_vec()).prop_map(quote),
        1 => ".{0,4}".prop_map(|key| quote(&key)),
        1 => Just("\"\\ud800\"".to_owned()),
        1 => Just("\"mod\\u0065l\"".to_owned()),
    ]
}

/// A JSON column: usually an object, plain or encoded as a string once or twice, otherwise any
/// text.
fn column() -> impl Strategy<Value = String> {
    let encoded = (json(), 0_usize..4)
        .prop_map(|(json, layers)| (0..layers).fold(json, |json, _| quote(&json)));
    prop_oneof![3 => settings(), 3 => config(), 3 => encoded, 1 => ".{0,20}", 1 => "[\\[\\]{}\",:0-9 \
        \\\\a]{0,20}"]
}

fn provider() -> impl Strategy<Value = String> {
    let names = [
        "openai",
        "elevenlabs",
        "cartesia",
        "speechify",
        "livekit",
        "deepgram",
        "groq",
        "acme",
        "",
        " ElevenLabs ",
        "11labs",
        "Rime",
        "fish audio",
        "anthropic",
    ];
    prop::sample::select(names.to_vec()).prop_map(quote)
}

/// Usually valid settings.
fn settings() -> impl Strategy<Value = String> {
    let text = || {
        prop_oneof![
            "[a-z]{0,3}".prop_map(|text| quote(&text)),
            Just("null".to_owned())
        ]
    };
    let fraction = || {
        prop_oneof![
            Just("1.0".to_owned()),
            "0\\.[0-9]{1,25}",
            "\"0\\.[0-9]{1,25}\""
        ]
    };
    let boolean = || {
        prop_oneof![
            Just("true".to_owned()),
            Just("\"false\"".to_owned()),
            Just("\"\"".to_owned())
        ]
    };
    let member = prop_oneof![
        4 => (prop::sample::select(&["provider", "tts_provider", "llm_provider", "stt_provider"][..]), provider())
            .prop_map(|(key, value)| (key.to_owned(), value)),
        4 => (prop::sample::select(&["voice_id", "model", "llm_model", "stt_model", "output_format"][..]), text())
            .prop_map(|(key, value)| (key.to_owned(), value)),
        2 => (prop::sample::select(&["temperature", "stability", "similarity_boost"][..]), fraction())
            .prop_map(|(key, value)| (key.to_owned(), value)),
        2 => (prop::sample::select(&["loudness_normalization", "text_normalization"][..]), boolean())
            .prop_map(|(key, value)| (key.to_owned(), value)),
    ];
    vec(member, 0..9).prop_map(|members| {
        let members: Vec<_> = members
            .iter()
            .map(|(key, value)| format!("{}:{value}", quote(key)))
            .collect();
        format!("{{{}}}", members.join(","))
    })
}

/// A `provider_config`, usually with sections.
fn config() -> impl Strategy<Value = String> {
    let section = || {
        let fields = vec((key(), prop_oneof![json(), number(), provider()]), 0..5);
        (option::of(provider()), fields).prop_map(|(provider, fields)| {
            let provider = provider.map(|provider| ("\"provider\"".to_owned(), provider));
            let fields = provider
                .into_iter()
                .chain(fields)
                .map(|(key, value)| format!("{key}:{value}"));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
        })
    };
    let member = (
        prop::sample::select(&["llm", "tts", "stt", "x", "y"][..]),
        prop_oneof![4 => section(), 1 => json()],
    );
    vec(member, 0..5).prop_map(|members| {
        let members: Vec<_> = members
            .iter()
            .map(|(key, value)| format!("{}:{value}", quote(key)))
            .collect();
        format!("{{{}}}", members.join(","))
    })
}

fn configuration() -> impl Strategy<Value = ConfigurationText> {
    let text = || option::of(".{0,4}");
    (
        text(),
        text(),
        option::of(number()),
        option::of(prop_oneof![3 => config(), 1 => column()]),
        option::of(column()),
    )
        .prop_map(
            |(agent_name, voice_id, temperature, provider_config, voice_settings)| {
                ConfigurationText::default()
                    .with(Column::AgentName, agent_name)
                    .with(Column::VoiceId, voice_id)
                    .with(Column::Temperature, temperature)
                    .with(Column::ProviderConfig, provider_config)
                    .with(Column::VoiceSettings, voice_settings)
            },
        )
}

fn agent<'a>(name: Option<&'a str>, settings: Option<&'a str>) -> Agent<'a> {
    Agent::default()
        .with(AgentColumn::Name, name)
        .with(AgentColumn::SystemPrompt, name)
        .with(AgentColumn::VoiceSettings, settings)
}

/// A section with foreign members between those of agent-sync.
fn around(members: &[(String, String)], own: &str) -> String {
    let foreign: Vec<_> = members
        .iter()
        .map(|(key, value)| format!("{}:{value}", quote(key)))
        .collect();
    let (before, after) = foreign.split_at(foreign.len() / 2);
    let own = (!own.is_empty()).then(|| own.to_owned());
    let all: Vec<_> = before
        .iter()
        .cloned()
        .chain(own)
        .chain(after.iter().cloned())
        .collect();
    format!("{{{}}}", all.join(","))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn what_is_planned_is_all_there_is_to_do(
        name in option::of(".{0,4}"),
        settings in option::of(prop_oneof![3 => settings(), 1 => column()]),
        mut row in configuration(),
        is_extended in any::<bool>(),
    ) {
        let extended = is_extended.then(|| Rules::parse(Rules::EXTENDED).unwrap());
        let rules = extended.as_ref().unwrap_or_else(|| Rules::embedded());
        let agent = agent(name.as_deref(), settings.as_deref());
        let before = row.clone();
        if let Ok(first) = plan(rules, &Targets::all(), &agent, &before.as_deref()) {
            apply(&mut row, &first.changes);
            let second = plan(rules, &Targets::all(), &agent, &row.as_deref());
            let second = second.map_err(|error| TestCaseError::fail(format!("{row:?}: {error}")))?;
            prop_assert!(second.changes.is_empty(), "{:?} after \
                {:?}", second.changes, first.changes);
            prop_assert_eq!(first.warnings, second.warnings);
        }
    }

    #[test]
    fn every_json_that_is_written_is_an_object(settings in settings(), row in configuration()) {
        if let Ok(plan) = plan(Rules::embedded(), &Targets::all(), &agent(None, Some(&settings)), &row.as_deref()) {
            for json in [plan.changes[Column::ProviderConfig].as_deref(), plan.changes[Column::VoiceSettings].as_deref()] {
                let raw = json.map(serde_json::from_str::<&serde_json::value::RawValue>).transpose().unwrap();
                let object = raw.is_none_or(|raw| raw.get().starts_with('{'));
                prop_assert!(object, "{:?}", raw);
            }
        }
    }

    #[test]
    fn no_input_makes_the_mapping_panic(
        name in option::of(any::<String>()),
        settings in option::of(prop_oneof![column(), any::<String>()]),
        config in option::of(prop_oneof![column(), any::<String>()]),
        mut row in configuration(),
    ) {
        row[Column::ProviderConfig] = config;
        let _ = plan(Rules::embedded(), &Targets::all(), &agent(name.as_deref(), settings.as_deref()), &row.as_deref());
    }

    #[test]
    fn foreign_members_survive_to_the_letter(
        top in vec(("x[a-z.\"é]{0,4}", json()), 0..5),
        inner in vec(("x[a-z.\"é]{0,4}", json()), 0..5),
        changes_provider in any::<bool>(),
    ) {
        // GIVEN foreign members around a section, and around what agent-sync owns in it
        let old = if changes_provider { "groq" } else { "openai" };
        let own = format!("\"provider\":\"{old}\",\"model\":\"old\"");
        let config = around(&top, &format!("\"llm\":{}", around(&inner, &own)));
        let row = Configuration::default().with(Column::ProviderConfig, Some(&config));
        // WHEN the section is written
        let agent = agent(None, Some(r#"{"llm_provider":"openai","llm_model":"new"}"#));
        let changes = plan(Rules::embedded(), &Targets::all(), &agent, &row).unwrap().changes;
        let written = changes[Column::ProviderConfig].as_deref();
        // THEN the foreign members are unchanged, byte for byte, in the same order
        let expected = if changes_provider {
            // The model of the old provider is removed, and the new one is appended.
            let kept = around(&inner, "\"provider\":\"openai\"");
            format!("{},\"model\":\"new\"}}", kept.strip_suffix('}').unwrap())
        } else {
            around(&inner, "\"provider\":\"openai\",\"model\":\"new\"")
        };
        let expected = around(&top, &format!("\"llm\":{expected}"));
        prop_assert_eq!(written, Some(&*expected));
    }

    /// The oracle of the fuzz targets holds, also for rules with nested places and aliases.
    #[test]
    fn m9_the_oracle_holds_for_generated_agents(bytes in vec(any::<u8>(), 0..400)) {
        crate::fuzz_targets::shaped(&bytes);
    }

    #[test]
    fn strings_are_never_quoted_in_reasons(secret in "sk-[a-zA-Z0-9]{12}", name in key()) {
        let settings = format!("{{\"provider\":\"speechify\",\"llm_provider\":\"x\",{name}:{}}}", quote(&secret));
        let config = format!("{{{name}:{}}}", quote(&secret));
        for (settings, config) in [(&settings, &config), (&secret, &config), (&settings, &secret), (&quote(&secret), &secret)] {
            let row = Configuration::default().with(Column::ProviderConfig, Some(config));
            if let Err(error) = plan(Rules::embedded(), &Targets::all(), &agent(None, Some(settings)), &row) {
                prop_assert!(!error.to_string().contains(&secret), "{error}");
            }
        }
    }
}
