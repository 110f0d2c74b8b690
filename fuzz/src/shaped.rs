//! The mapping on mostly valid agents and configurations: the bytes choose known keys and values,
//! so the fuzzer need not discover JSON first.
//!
//! This is the only input that is not readable; a failure prints it.

use agent_sync::columns::Column;
use agent_sync::mapping::Rules;

use super::mapping::{Input, Row, holds};

/// The target.
pub fn shaped(data: &[u8]) {
    let mut choices = Choices(data);
    let row = Row::default()
        .with(Column::AgentName, choices.maybe(text))
        .with(Column::VoiceId, choices.maybe(text))
        .with(Column::Temperature, choices.maybe(number))
        .with(Column::ProviderConfig, choices.maybe(config))
        .with(Column::VoiceSettings, choices.maybe(settings));
    let input = Input {
        columns: choices
            .pick(&["", "4", "N", "1", "t", "v", "d", "nv"])
            .to_owned(),
        name: choices.maybe(text),
        prompt: None,
        settings: choices.maybe(settings),
        row,
        rules: choices
            .maybe(|choices| choices.pick(RULES).to_owned())
            .filter(|text| !text.is_empty()),
    };
    let rules = input.rules.as_deref();
    assert!(rules.is_none_or(|text| Rules::parse(text).is_ok()));
    holds(&input);
}

const RULES: &[&str] = &[
    "",
    "",
    NESTED,
    NESTED,
    "settings.temperature.type = 'number'\nsettings.model.type = 'json'\nllm.provider_from = \
    ['llm_provider', 'provider']\nllm.other.fields.model = 'model'\nllm.providers.groq.fields = { \
    model = { from = 'llm_model', default = 'm' }, a = 'temperature' }",
    "settings.temperature = { type = 'number', min = -1, max = 1e3 }\nsettings.stability.type = \
    'boolean'\nx.provider_from = ['provider']\nx.other.fields = { provider_ = 'stability', '\"' = \
    { from = 'x', default = 'd' } }\ntts.provider_from = ['provider']\ntts.other.warn = \
    true\ntts.other.fields.voice = 'temperature'",
];

/// Rules with nested places, aliases, placeholders, several sources, and every type.
const NESTED: &str = "settings.temperature.type = 'number'\nsettings.ignore = ['a']\n[tts]\nprovider_from = \
    ['provider', 'tts_provider', 'model.provider']\nplaceholders = ['LiveKit']\n\
    [tts.providers.openai]\naliases = ['Acme', 'grok ']\nfields = { voice = 'voice_id', \
    'a.voice' = ['model.voice', 'voice'], 'a.model' = { from = 'a', type = 'json' } }\n\
    [tts.providers.Cartesia]\nfields = { 'a.b.model' = 'model', 'a.voice' = { from = \
    'temperature', type = 'integer', default = 1 } }\n[tts.other]\nfields = { a = { from = \
    'voice', type = 'text', values = ['v', 'vv'] } }";

const KEYS: &[&str] = &[
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
    "speechify_voice_id",
    "a",
    "mod\\u0065l",
    "\\ud83d\\ude00",
    "\\\"",
];

const PROVIDERS: &[&str] = &[
    "openai",
    "elevenlabs",
    "cartesia",
    "speechify",
    "livekit",
    "deepgram",
    "groq",
    "acme",
    "",
    "op\\u0065nai",
    " OpenAI ",
    "LIVEKIT",
    "grok",
    "CARTESIA",
];

/// The remaining bytes; without any, every choice is the first one.
struct Choices<'a>(&'a [u8]);

impl Choices<'_> {
    fn next(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::from(self.next()) % bound.max(1)
    }

    fn pick<'t>(&mut self, from: &[&'t str]) -> &'t str {
        from[self.below(from.len())]
    }

    fn maybe<T>(&mut self, make: impl Fn(&mut Self) -> T) -> Option<T> {
        (self.below(4) != 0).then(|| make(self))
    }
}

/// The JSON text of an object with such members, with white space where `gap` has blanks.
fn object(
    choices: &mut Choices<'_>,
    member: impl Fn(&mut Choices<'_>) -> (String, String),
) -> String {
    let gap = choices.pick(&["", "", " ", "\n\t"]);
    let members: Vec<_> = (0..choices.below(9))
        .map(|_| {
            let (key, value) = member(choices);
            format!("{gap}\"{key}\"{gap}:{gap}{value}")
        })
        .collect();
    format!("{{{}{gap}}}", members.join(","))
}

/// The voice settings of an agent, sometimes encoded as a string (T4).
fn settings(choices: &mut Choices<'_>) -> String {
    let object = object(choices, |choices| {
        let key = choices.pick(KEYS);
        let value = match key {
            "model" | "a" if choices.below(4) == 0 => nested(choices),
            _ if choices.below(8) == 0 => value(choices, 2),
            "temperature" | "stability" | "similarity_boost" => number_or_text(choices),
            "loudness_normalization" | "text_normalization" => choices
                .pick(&["true", "false", "\"true\"", "null", "1"])
                .to_owned(),
            key if key.contains("provider") => format!("\"{}\"", choices.pick(PROVIDERS)),
            _ => format!("\"{}\"", text(choices)),
        };
        (key.to_owned(), value)
    });
    encoded(choices, object)
}

/// A `provider_config` with sections and other keys.
fn config(choices: &mut Choices<'_>) -> String {
    let object = object(choices, |choices| {
        let key = choices.pick(&["llm", "tts", "stt", "x", "vad", "t\\u0074s", "llm"]);
        let section = match choices.below(8) {
            0 => value(choices, 3),
            _ => object(choices, |choices| {
                let key = choices.pick(KEYS);
                let value = match key {
                    "provider" => format!("\"{}\"", choices.pick(PROVIDERS)),
                    _ => value(choices, 2),
                };
                (key.to_owned(), value)
            }),
        };
        (key.to_owned(), section)
    });
    encoded(choices, object)
}

fn encoded(choices: &mut Choices<'_>, object: String) -> String {
    let layers = choices.pick(&["", "", "", "", "s", "ss", "sss", "ssss"]);
    layers
        .chars()
        .fold(object, |text, _| serde_json::Value::from(text).to_string())
}

/// Any JSON up to this depth.
fn value(choices: &mut Choices<'_>, depth: usize) -> String {
    match choices.below(if depth == 0 { 6 } else { 9 }) {
        0 => "null".to_owned(),
        1 => "\"\"".to_owned(),
        2 => choices.pick(&["true", "false"]).to_owned(),
        3 => number_or_text(choices),
        4 => format!("\"{}\"", text(choices)),
        5 => format!("\"{}\"", super::SECRET),
        6 => format!(
            "[{},{}]",
            value(choices, depth - 1),
            value(choices, depth - 1)
        ),
        _ => object(choices, |choices| {
            (choices.pick(KEYS).to_owned(), value(choices, depth - 1))
        }),
    }
}

fn number_or_text(choices: &mut Choices<'_>) -> String {
    let number = number(choices);
    if choices.below(3) == 0 {
        format!("\"{number}\"")
    } else {
        number
    }
}

/// A number with few or many digits, a decimal point and an exponent.
fn number(choices: &mut Choices<'_>) -> String {
    let digits = |choices: &mut Choices<'_>, most: usize| -> String {
        (0..=choices.below(most))
            .map(|_| char::from(b'0' + choices.next() % 10))
            .collect()
    };
    let whole = match choices.below(4) {
        0 | 1 => choices.pick(&["0", "1", "2"]).to_owned(),
        _ => format!("{}{}", choices.pick(&["1", "9"]), digits(choices, 24)),
    };
    let fraction = if choices.below(2) == 0 {
        String::new()
    } else {
        format!(".{}", digits(choices, 24))
    };
    let exponent = choices.pick(&[
        "", "", "", "", "e0", "E+2", "e-3", "e-400", "e400", "e-16384", "e131072",
    ]);
    format!(
        "{}{whole}{fraction}{exponent}",
        choices.pick(&["", "", "", "-"])
    )
}

/// An object with settings inside.
fn nested(choices: &mut Choices<'_>) -> String {
    object(choices, |choices| {
        let key = choices.pick(&["voice", "model", "provider", "b", "x"]);
        let value = match key {
            "provider" => format!("\"{}\"", choices.pick(PROVIDERS)),
            "b" => object(choices, |choices| ("model".to_owned(), value(choices, 1))),
            _ => value(choices, 1),
        };
        (key.to_owned(), value)
    })
}

/// The content of a string.
fn text(choices: &mut Choices<'_>) -> String {
    let word = choices.pick(&[
        "v",
        "sonic",
        "é",
        "0.5",
        "\\n",
        "\\ud83d\\ude00",
        "\\u0000",
        "\\ud800",
        " 1 ",
        "",
    ]);
    word.repeat(choices.below(3))
}
