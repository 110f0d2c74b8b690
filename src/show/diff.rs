//! What is different between two states of a configuration, field by field. Pure.
//!
//! The sections of `provider_config` that the rules own parts of, and `voice_settings`, are looked
//! into; anything else is one field. A column that is JSON in a string is read all the same (T4),
//! and that it is one is a difference of its own.
//!
//! Invariant: what may be a prompt or a key is never in the outcome (G11). A prompt is told by its
//! length; the text of a JSON string is told where a rule reads or writes it, and anywhere else
//! only what it is.

use std::collections::BTreeMap;
use std::fmt;

use serde::ser::{Error as _, SerializeMap};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::count;
use crate::mapping::json::{self, Object};
use crate::mapping::{self, Configuration, Rules};

/// What a field holds, as far as it may be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// The JSON text of it.
    Told(String),
    /// How many characters it has.
    Length(u32),
    /// What it is, in words.
    Described(String),
}

impl fmt::Display for Value {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Told(raw) => match json::text(raw) {
                Some(text) => out.write_str(&mapping::quoted(&text)),
                None => out.write_str(raw),
            },
            Self::Length(1) => out.write_str("1 character"),
            Self::Length(length) => write!(out, "{} characters", count(*length)),
            Self::Described(what) => out.write_str(what),
        }
    }
}

/// One field that differs. What is `None` is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The column of `agent_configurations`, by its name in the contract (M1).
    pub column: &'static str,
    /// Where in its JSON: `tts.voice_id` in `provider_config`.
    pub inside: Option<String>,
    /// What is there.
    pub current: Option<Value>,
    /// What should be there.
    pub expected: Option<Value>,
}

impl Value {
    /// Writes it into an object of JSON: the very value under its name, number by digit; what may
    /// not be told in words, under a name that says so.
    fn write<M: SerializeMap>(&self, object: &mut M, name: &str) -> Result<(), M::Error> {
        match self {
            Self::Told(raw) => {
                let raw: &RawValue = serde_json::from_str(raw).map_err(M::Error::custom)?;
                object.serialize_entry(name, raw)
            }
            Self::Length(length) => object.serialize_entry(&format!("{name}_characters"), length),
            Self::Described(what) => object.serialize_entry(&format!("{name}_is"), what),
        }
    }
}

/// Fields by their path, as an object of JSON.
#[derive(Debug)]
pub struct Fields<'a>(pub &'a [(String, Value)]);

impl Serialize for Fields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(None)?;
        for (path, value) in self.0 {
            value.write(&mut object, path)?;
        }
        object.end()
    }
}

impl Serialize for Difference {
    /// What is not there has no key.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(None)?;
        object.serialize_entry("path", &self.path())?;
        for (value, name) in [(&self.current, "current"), (&self.expected, "expected")] {
            if let Some(value) = value {
                value.write(&mut object, name)?;
            }
        }
        object.end()
    }
}

impl Difference {
    /// Column and place in it: `provider_config.tts.voice_id`.
    pub fn path(&self) -> String {
        path(self.column, self.inside.as_deref())
    }
}

fn path(column: &str, inside: Option<&str>) -> String {
    inside.map_or_else(|| column.to_owned(), |inside| format!("{column}.{inside}"))
}

/// The fields that differ, and those inside `provider_config` that are the same.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Diff {
    /// In the order of M1, and by name inside a column.
    pub differences: Vec<Difference>,
    /// Places in `provider_config`.
    pub kept: Vec<String>,
}

/// Compares two states of a configuration.
pub fn diff(rules: &Rules, current: &Configuration<'_>, expected: &Configuration<'_>) -> Diff {
    let mut diff = Diff::default();
    let name = |text: Option<&str>| text.map(|text| Value::Told(json::quote(text)));
    let prompt = |text: Option<&str>| text.map(|text| Value::Length(characters(text)));
    let number = |text: Option<&str>| text.map(|text| Value::Told(number(text)));
    let mut column = |column,
                      current: Option<&str>,
                      expected: Option<&str>,
                      told: &dyn Fn(Option<&str>) -> _| {
        if current != expected {
            let (current, expected) = (told(current), told(expected));
            diff.differences.push(Difference {
                column,
                inside: None,
                current,
                expected,
            });
        }
    };
    column("agent_name", current.agent_name, expected.agent_name, &name);
    column(
        "system_prompt",
        current.system_prompt,
        expected.system_prompt,
        &prompt,
    );
    column(
        "agent_image",
        current.agent_image,
        expected.agent_image,
        &image,
    );
    column("voice_id", current.voice_id, expected.voice_id, &name);
    column(
        "temperature",
        current.temperature,
        expected.temperature,
        &number,
    );
    diff.json(
        "voice_settings",
        rules,
        current.voice_settings,
        expected.voice_settings,
    );
    diff.json(
        "provider_config",
        rules,
        current.provider_config,
        expected.provider_config,
    );
    diff
}

/// Everything that a configuration holds, field by field, as far as it may be told.
pub fn fields_of(rules: &Rules, configuration: &Configuration<'_>) -> Vec<(String, Value)> {
    let forms = [
        ("voice_settings", configuration.voice_settings),
        ("provider_config", configuration.provider_config),
    ];
    let forms = forms
        .into_iter()
        .filter_map(|(column, text)| Some((column.to_owned(), form(text)?)))
        .filter(|(_, form)| form != "an object")
        .map(|(column, form)| (column, Value::Described(form)));
    let all = diff(rules, configuration, &Configuration::default())
        .differences
        .into_iter();
    let all = all.filter_map(|difference| Some((difference.path(), difference.current?)));
    all.chain(forms).collect()
}

impl Diff {
    /// Compares a column of JSON.
    fn json(
        &mut self,
        column: &'static str,
        rules: &Rules,
        current: Option<&str>,
        expected: Option<&str>,
    ) {
        let forms = [form(current), form(expected)];
        if let [Some(old), Some(new)] = &forms
            && old != new
        {
            let [current, expected] = [old, new].map(|form| Some(Value::Described(form.clone())));
            self.differences.push(Difference {
                column,
                inside: None,
                current,
                expected,
            });
        }
        let [current, expected] = [current, expected].map(|text| fields(column, rules, text));
        let mut places: Vec<_> = current.keys().chain(expected.keys()).collect();
        places.sort_unstable();
        places.dedup();
        for place in places {
            let (old, new) = (current.get(place), expected.get(place));
            match (old, new) {
                (Some(old), Some(new)) if mapping::same(&old.raw, &new.raw) => {
                    if column == "provider_config" {
                        self.kept.push(place.clone());
                    }
                }
                _ => self.differences.push(Difference {
                    column,
                    inside: Some(place.clone()),
                    current: old.map(Field::tell),
                    expected: new.map(Field::tell),
                }),
            }
        }
    }
}

/// One field inside a column of JSON.
struct Field {
    raw: String,
    /// Whether its text may be told.
    open: bool,
}

impl Field {
    fn tell(&self) -> Value {
        match self.raw.as_bytes().first() {
            Some(b'{') => Value::Described(match Object::of(&self.raw).iter().count() {
                1 => "an object with 1 key".to_owned(),
                keys => format!("an object with {keys} keys"),
            }),
            Some(b'[') => Value::Described("an array".to_owned()),
            Some(b'"') if !self.open => Value::Described(mapping::describe(&self.raw)),
            _ => Value::Told(json::print(&self.raw, false)),
        }
    }
}

/// What a column of JSON is, unless it is null: an object, or what it is instead.
fn form(column: Option<&str>) -> Option<String> {
    let text = column?.trim();
    Some(
        match (mapping::object(Some(text)).is_some(), json::validate(text)) {
            _ if text.is_empty() => return None,
            (true, _) if text.starts_with('{') => "an object".to_owned(),
            (true, _) => "an object in a JSON string".to_owned(),
            (false, Ok(raw)) if json::not_set(raw) => return None,
            (false, Ok(raw)) => mapping::describe(raw),
            (false, Err(_)) => "text that is not JSON".to_owned(),
        },
    )
}

/// The fields of a column by their place; of a duplicate key the last.
fn fields(column: &str, rules: &Rules, text: Option<&str>) -> BTreeMap<String, Field> {
    let mut fields = BTreeMap::new();
    let Some(object) = mapping::object(text) else {
        return fields;
    };
    for (key, raw) in Object::of(&object).iter() {
        let name = json::text(key).unwrap_or(key.into()).into_owned();
        if column == "provider_config" && rules.has_section(&name) && raw.starts_with('{') {
            for (key, raw) in Object::of(raw).iter() {
                let field = json::text(key).unwrap_or(key.into());
                let open = rules.write(&name, &field);
                fields.insert(
                    format!("{name}.{field}"),
                    Field {
                        raw: raw.to_owned(),
                        open,
                    },
                );
            }
        } else {
            let open = column == "voice_settings" && rules.read(&name);
            fields.insert(
                name,
                Field {
                    raw: raw.to_owned(),
                    open,
                },
            );
        }
    }
    fields
}

fn characters(text: &str) -> u32 {
    u32::try_from(text.chars().count()).unwrap_or(u32::MAX)
}

/// An image is known by its address; what is behind a question mark may be a signature that opens
/// it.
fn image(text: Option<&str>) -> Option<Value> {
    let text = text?;
    Some(Value::Told(json::quote(&match text.split_once('?') {
        Some((address, _)) => format!("{address}?…"),
        None => text.to_owned(),
    })))
}

/// The text of a column of numbers as JSON, which has no NaN.
fn number(text: &str) -> String {
    json::validate(text).map_or_else(|_| json::quote(text), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compare(
        current: &Configuration<'_>,
        expected: &Configuration<'_>,
    ) -> (Vec<String>, Vec<String>) {
        let diff = diff(Rules::embedded(), current, expected);
        let told = |value: &Option<Value>| {
            value
                .as_ref()
                .map_or("nothing".to_owned(), Value::to_string)
        };
        let lines = diff.differences.iter().map(|difference| {
            format!(
                "{}: {} → {}",
                difference.path(),
                told(&difference.current),
                told(&difference.expected)
            )
        });
        (lines.collect(), diff.kept)
    }

    fn provider_config(text: &str) -> Configuration<'_> {
        Configuration {
            provider_config: Some(text),
            ..Configuration::default()
        }
    }

    #[test]
    fn fields_are_added_removed_changed_and_kept() {
        let current =
            r#"{"tts": {"provider": "p", "model": 1.0, "voice_id": "a"}, "phone": {"n": 1}}"#;
        let expected = r#"{"phone": {"n": 1}, "tts": {"provider": "p", "model": 1, "voice": null, "stability": 0.50}}"#;
        let (lines, kept) = compare(&provider_config(current), &provider_config(expected));
        assert_eq!(
            lines,
            [
                "provider_config.tts.stability: nothing → 0.50",
                "provider_config.tts.voice: nothing → null",
                "provider_config.tts.voice_id: \"a\" → nothing",
            ]
        );
        assert_eq!(kept, ["phone", "tts.model", "tts.provider"]);
    }

    #[test]
    fn json_in_a_string_is_read_and_said_to_be_one() {
        let current = r#""{\"llm\": {\"model\": \"m\"}}""#;
        let (lines, _) = compare(
            &provider_config(current),
            &provider_config(r#"{"llm": {"model": "n"}}"#),
        );
        assert_eq!(
            lines,
            [
                "provider_config: an object in a JSON string → an object",
                "provider_config.llm.model: \"m\" → \"n\"",
            ]
        );
        let (lines, _) = compare(&provider_config("7"), &provider_config("{}"));
        assert_eq!(lines, ["provider_config: the number 7 → an object"]);
    }

    #[test]
    fn g11_prompts_keys_and_signatures_are_not_told() {
        let current = Configuration {
            system_prompt: Some("secret one"),
            agent_image: Some("https://x/y.png?secret=1"),
            voice_settings: Some(
                r#"{"api_key": "secret", "voice_id": "v", "extra": {"secret": 1}}"#,
            ),
            provider_config: Some(
                r#"{"tts": {"api_key": "secret"}, "secret-service": {"key": "secret"}}"#,
            ),
            ..Configuration::default()
        };
        let (lines, _) = compare(&current, &Configuration::default());
        assert_eq!(
            lines,
            [
                "system_prompt: 10 characters → nothing",
                "agent_image: \"https://x/y.png?…\" → nothing",
                "voice_settings.api_key: a string of 6 characters → nothing",
                "voice_settings.extra: an object with 1 key → nothing",
                "voice_settings.voice_id: \"v\" → nothing",
                "provider_config.secret-service: an object with 1 key → nothing",
                "provider_config.tts.api_key: a string of 6 characters → nothing",
            ]
        );
    }

    #[test]
    fn a_number_that_json_has_no_word_for_is_a_string() {
        let current = Configuration {
            temperature: Some("NaN"),
            ..Configuration::default()
        };
        let expected = Configuration {
            temperature: Some("0.70"),
            ..Configuration::default()
        };
        assert_eq!(
            compare(&current, &expected).0,
            ["temperature: \"NaN\" → 0.70"]
        );
    }
}
