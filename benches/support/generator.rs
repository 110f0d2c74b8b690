//! Generates realistic agents, always the same ones for the same number.
//!
//! A system prompt consists of whole sentences about the business of the agent, some 1.5 kB with
//! different values in each, so it compresses like real text and the rows have a realistic size.
//! For tables of a million agents there are short prompts of some 300 bytes, to limit the run time.

use agent_sync::columns::{AgentColumn, Column};
use agent_sync::mapping::{self, Configuration, Rules, Targets};
use anyhow::Context as _;
use fastrand::Rng;
use serde_json::{Value, json};

/// The length of the system prompts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prompt {
    Full,
    Short,
}

impl Prompt {
    /// What a label says of it.
    pub fn remark(self) -> &'static str {
        match self {
            Self::Full => "",
            Self::Short => " with short prompts",
        }
    }
}

/// A row of `agents` and the row of `agent_configurations` in sync with it.
pub struct Agent {
    pub slug: String,
    pub name: String,
    pub description: String,
    pub system_prompt: String,
    pub image: String,
    pub voice_settings: String,
    pub voice_id: Option<String>,
    pub temperature: f64,
    pub provider_config: String,
    pub api_keys: [String; 6],
}

/// The slug of the agent with this number, from 1 on; the scripts of pgbench use the same form.
pub fn slug(number: u32) -> String {
    format!("agent-{number}")
}

/// The agent with this number.
pub fn agent(number: u32, prompt: Prompt) -> anyhow::Result<Agent> {
    let mut rng = Rng::with_seed(u64::from(number));
    let name = pick(&mut rng, NAMES);
    let business = pick(&mut rng, BUSINESSES);
    let settings = voice_settings(number, &mut rng);
    let config = json!({
        "llm": { "max_tokens": 100 + 50 * rng.u32(1..10) },
        "telephony": { "number": phone(&mut rng), "record": rng.bool(), "transfer_to": null },
        "billing": { "per_minute": f64::from(rng.u32(5..40)) / 100.0, "account": rng.u64(1_000_000..9_000_000) },
    });
    let mut made = Agent {
        slug: slug(number),
        name: name.to_owned(),
        description: format!("Answers the phone for {business}"),
        system_prompt: system_prompt(&mut rng, name, business, prompt),
        image: format!(
            "https://cdn.example.com/agents/{}-{number}.webp",
            name.to_lowercase()
        ),
        voice_settings: settings.to_string(),
        voice_id: settings["voice_id"].as_str().map(str::to_owned),
        temperature: settings["temperature"]
            .as_f64()
            .context("every agent has a temperature")?,
        provider_config: String::new(),
        api_keys: ["sk", "gsk", "dg", "el", "ca", "sp"]
            .map(|kind| format!("{kind}-bench-{}", hex(&mut rng))),
    };
    made.provider_config = in_sync(&made, &config.to_string())?;
    Ok(made)
}

/// The `provider_config` that the mapping computes from a configuration's own one.
fn in_sync(made: &Agent, config: &str) -> anyhow::Result<String> {
    let agent =
        mapping::Agent::default().with(AgentColumn::VoiceSettings, Some(&made.voice_settings));
    let configuration = Configuration::default().with(Column::ProviderConfig, Some(config));
    let plan = mapping::plan(Rules::embedded(), &Targets::all(), &agent, &configuration);
    let changes = plan
        .context("the generated agent cannot be mapped")?
        .changes;
    let written = changes[Column::ProviderConfig].as_deref();
    Ok(written
        .context("the generated agent has nothing to map")?
        .to_owned())
}

/// One of six providers in turn. The second and the third call the voice `voice_id`, which the
/// samples read.
fn voice_settings(number: u32, rng: &mut Rng) -> Value {
    let hundredth = |rng: &mut Rng, most: u32| f64::from(rng.u32(1..most)) / 100.0;
    let mut settings = match number % 6 {
        0 => {
            json!({ "provider": "openai", "voice_id": pick(rng, OPENAI_VOICES), "model": "gpt-4o-mini-tts" })
        }
        1 => {
            json!({ "provider": "elevenlabs", "voice_id": token(rng, 20), "model": "eleven_turbo_v2_5",
            "stability": hundredth(rng, 100), "similarity_boost": hundredth(rng, 100) })
        }
        2 => json!({ "provider": "cartesia", "voice_id": uuid(rng), "model": "sonic-2",
            "output_format": pick(rng, &["pcm_16000", "pcm_22050", "pcm_44100"]) }),
        3 => {
            json!({ "provider": "speechify", "voice_id": pick(rng, SPEECHIFY_VOICES), "model": "simba-english",
            "loudness_normalization": rng.bool(), "text_normalization": rng.bool() })
        }
        4 => json!({ "provider": "livekit" }),
        _ => json!({ "provider": "deepgram" }),
    };
    settings["temperature"] = hundredth(rng, 120).into();
    let (provider, models) = if rng.bool() {
        ("openai", OPENAI_MODELS)
    } else {
        ("groq", GROQ_MODELS)
    };
    settings["llm_provider"] = provider.into();
    settings["llm_model"] = pick(rng, models).into();
    match rng.u8(0..3) {
        0 => settings["stt_provider"] = "groq".into(),
        1 => settings["stt_provider"] = "deepgram".into(),
        _ => {
            settings["stt_provider"] = "deepgram".into();
            settings["stt_model"] = "nova-3".into();
        }
    }
    settings
}

fn system_prompt(rng: &mut Rng, name: &str, business: &str, prompt: Prompt) -> String {
    let length = match prompt {
        Prompt::Full => 1400,
        Prompt::Short => 220,
    };
    let mut text = format!("You are {name}, who answers the phone for {business}.");
    let mut sentences: Vec<&str> = SENTENCES.to_vec();
    rng.shuffle(&mut sentences);
    for sentence in sentences {
        if text.len() >= length {
            break;
        }
        text.push(' ');
        fill(sentence, rng, &mut text);
    }
    text
}

/// Appends a sentence with its placeholders filled.
fn fill(sentence: &str, rng: &mut Rng, text: &mut String) {
    for (index, part) in sentence.split(['{', '}']).enumerate() {
        if index % 2 == 0 {
            text.push_str(part);
            continue;
        }
        match part {
            "person" => text.push_str(pick(rng, NAMES)),
            "service" => text.push_str(pick(rng, SERVICES)),
            "tone" => text.push_str(pick(rng, TONES)),
            "day" => text.push_str(pick(rng, DAYS)),
            "place" => text.push_str(pick(rng, PLACES)),
            "phone" => text.push_str(&phone(rng)),
            "hour" => text.push_str(&format!("{}:{:02}", rng.u8(7..21), 5 * rng.u8(0..12))),
            "price" => text.push_str(&format!("{}.{:02} euros", rng.u32(5..400), rng.u8(0..100))),
            "number" => text.push_str(&rng.u8(2..30).to_string()),
            _ => text.push_str(part),
        }
    }
}

fn pick<'a>(rng: &mut Rng, from: &[&'a str]) -> &'a str {
    from[rng.usize(..from.len())]
}

fn phone(rng: &mut Rng) -> String {
    format!("+49 {} {}", rng.u32(30..999), rng.u32(100_000..9_999_999))
}

fn token(rng: &mut Rng, length: usize) -> String {
    std::iter::repeat_with(|| rng.alphanumeric())
        .take(length)
        .collect()
}

fn hex(rng: &mut Rng) -> String {
    format!("{:032x}", rng.u128(..))
}

fn uuid(rng: &mut Rng) -> String {
    let hex = hex(rng);
    [
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..],
    ]
    .join("-")
}

const OPENAI_VOICES: &[&str] = &[
    "alloy", "ash", "coral", "echo", "fable", "nova", "onyx", "sage", "shimmer",
];
const SPEECHIFY_VOICES: &[&str] = &[
    "henry", "mrbeast", "snoop", "cliff", "kristy", "natasha", "george",
];
const OPENAI_MODELS: &[&str] = &["gpt-4o", "gpt-4o-mini", "gpt-4.1-mini"];
const GROQ_MODELS: &[&str] = &[
    "llama-3.3-70b-versatile",
    "llama-3.1-8b-instant",
    "mixtral-8x7b-32768",
];
const NAMES: &[&str] = &[
    "Nino", "Clara", "Iris", "Max", "Aurora", "Finch", "Vera", "Brand", "Joe", "Lily", "Yusuf",
    "Hedda", "Tomasz", "Amara", "Pavel", "Ines", "Kofi", "Marit", "Oskar", "Rosa", "Samir", "Thea",
    "Ugo", "Wanda", "Bruno", "Edda", "Fiona", "Gustav",
];
const BUSINESSES: &[&str] = &[
    "a family-run pizzeria",
    "the practice of a dentist",
    "the city library",
    "a gym by the river",
    "a small hotel",
    "a primary school",
    "a local newsroom",
    "a law office",
    "an emergency plumber",
    "a florist",
    "a bicycle workshop",
    "a driving school",
    "a veterinary clinic",
    "a car rental at the airport",
    "an insurance broker",
    "a tax adviser",
    "a housing association",
    "a theatre's box office",
    "a bakery with a café",
    "a moving company",
    "a shop for used cameras",
];
const SERVICES: &[&str] = &[
    "an appointment",
    "a trial session",
    "a delivery",
    "a repair",
    "a viewing",
    "a table for the evening",
    "a refund",
    "a second opinion",
    "a pick-up",
    "a voucher",
    "a call from a colleague",
    "an estimate",
    "a change of address",
    "a copy of the invoice",
    "a place on the waiting list",
    "a rental for the weekend",
];
const TONES: &[&str] = &[
    "warm",
    "brief",
    "calm",
    "upbeat",
    "formal",
    "patient",
    "plain",
    "discreet",
    "cheerful",
    "matter-of-fact",
    "unhurried",
];
const DAYS: &[&str] = &[
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
    "a public holiday",
];
const PLACES: &[&str] = &[
    "the side entrance",
    "the market square",
    "the second floor",
    "the old mill",
    "the car park behind the station",
    "the branch in Lindenstrasse",
    "the reception desk",
    "the harbour office",
    "the workshop in the yard",
];
const SENTENCES: &[&str] = &[
    "Be {tone} and {tone}, and never sound as if you were reading aloud.",
    "Ask for the caller's name and spell it back before you go on with {service}.",
    "We are open from {hour} to {hour}, and on {day} only until {hour}.",
    "Whoever asks for {service} on {day} should be told that it takes about {number} working days.",
    "If the matter is urgent, give out the number {phone} and say that {person} answers it.",
    "Offer {service} first; if the caller hesitates, mention that {service} costs {price}.",
    "Never promise {service} before {person} has agreed to it.",
    "Customers who come by car find us at {place}; parking is free for {number} minutes.",
    "When somebody complains, apologise once, ask what happened, and note it for {person} word for \
    word.",
    "Prices are {price} for members and {price} for everybody else, and there is no discount on \
    {day}.",
    "Speak the language of the caller as far as you can, and say so {number} seconds in if you \
    cannot.",
    "Do not give medical, legal or financial advice; suggest {service} with {person} instead.",
    "If the line is bad, ask the caller to ring {phone} again after {hour}.",
    "Repeat every date and every time, for {day} and {day} are easily confused on the phone.",
    "After {number} failed attempts to understand, hand the call over to {person} without a \
    comment.",
    "Payment is by card or by invoice; for less than {price} we take cash at {place}.",
    "Regulars such as the choir and the Tuesday club may ask for {service} without paying in \
    advance.",
    "Tell nobody whether {person} is in the building; offer to take a message and read it back.",
    "Children who call are to be put through to {person} at once, whatever the hour.",
    "Confirm {service} by text message to the number that is calling, unless the caller wants \
    another one.",
    "Deliveries arrive at {place} between {hour} and {hour}; drivers who are late should ring \
    {phone}.",
    "Say that the call may be recorded, and go on only if the caller does not object.",
    "If asked whether you are a machine, say yes in a {tone} way and offer to fetch {person}.",
    "Cancellations are free until {hour} on the day before, and cost {price} afterwards.",
    "Close with a {tone} word and the next step, for example {service} at {hour} on {day}.",
    "Keep answers under {number} words, and leave lists of more than three things to a text \
    message.",
    "Lost property is kept for {number} weeks at {place}, and {person} has the key.",
    "On {day} the manager is {person}, who decides about {service} up to {price}.",
];
