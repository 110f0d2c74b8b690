//! The differences between two states of a configuration, field by field.
//!
//! The sections of `provider_config` that the rules own parts of, and `voice_settings`, are
//! compared field by field; any other column is one field. JSON in a string is read as well (T4),
//! and the string itself is a difference of its own.
//!
//! Invariant: no prompt and no key is in the result (G11). A prompt is given by its length. The
//! text of a JSON string is given where a rule reads or writes it, and elsewhere only its kind.

use std::collections::BTreeMap;

use super::decode::object;
use super::difference::{Difference, Value, path};
use super::json::{self, Object};
use super::path::Place;
use super::plan::{Agent, Configuration};
use super::rules::Rules;
use super::same::same;
use super::show::describe;
use crate::columns::{Column, Content, MappedColumn as _};

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
    for column in Column::in_reports().filter(|column| !column.is_json()) {
        let (current, expected) = (current[column], expected[column]);
        if current != expected {
            diff.differences.push(Difference {
                column,
                inside: None,
                current: current.map(|text| value(column, text)),
                expected: expected.map(|text| value(column, text)),
            });
        }
    }
    for column in Column::in_reports().filter(|column| column.is_json()) {
        diff.json(column, rules, current[column], expected[column]);
    }
    diff
}

/// Everything that a configuration holds, field by field, as far as it may be shown.
pub fn fields_of(rules: &Rules, configuration: &Configuration<'_>) -> Vec<(String, Value)> {
    named_fields(rules, configuration, Column::name)
}

/// Everything that an agent holds in the mapped columns, field by field, as far as it may be shown.
pub fn fields_of_agent(rules: &Rules, agent: &Agent<'_>) -> Vec<(String, Value)> {
    let copied = Configuration::from_fn(|column| agent[column.source()?]);
    let name = |column: Column| column.source().map_or(column.name(), |from| from.name());
    named_fields(rules, &copied, name)
}

fn named_fields(
    rules: &Rules,
    configuration: &Configuration<'_>,
    name: impl Fn(Column) -> &'static str,
) -> Vec<(String, Value)> {
    let mut fields = Vec::new();
    for difference in diff(rules, configuration, &Configuration::default()).differences {
        if let Some(value) = difference.current {
            let path = path(name(difference.column), difference.inside.as_deref());
            fields.push((path, value));
        }
    }
    for column in Column::in_reports().filter(|column| column.is_json()) {
        if let Some(form) = form(configuration[column]).filter(|form| form != "an object") {
            fields.push((name(column).to_owned(), Value::Described(form)));
        }
    }
    fields
}

impl Diff {
    /// Compares a column of JSON.
    fn json(
        &mut self,
        column: Column,
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
                (Some(old), Some(new)) if same(&old.raw, &new.raw) => {
                    if column == Column::ProviderConfig {
                        self.kept.push(place.clone());
                    }
                }
                _ => self.differences.push(Difference {
                    column,
                    inside: Some(place.clone()),
                    current: old.map(Field::value),
                    expected: new.map(Field::value),
                }),
            }
        }
    }
}

/// One field inside a column of JSON.
struct Field {
    raw: String,
    /// Whether its text may be shown.
    open: bool,
}

impl Field {
    fn value(&self) -> Value {
        match self.raw.as_bytes().first() {
            Some(b'{') => Value::Described(match Object::of(&self.raw).iter().count() {
                1 => "an object with 1 key".to_owned(),
                keys => format!("an object with {keys} keys"),
            }),
            Some(b'[') => Value::Described("an array".to_owned()),
            Some(b'"') if !self.open => Value::Described(describe(&self.raw)),
            _ => Value::Json(json::print(&self.raw, false)),
        }
    }
}

/// The form of a column of JSON, unless it is null: an object, or another form.
fn form(column: Option<&str>) -> Option<String> {
    let text = column?.trim();
    Some(match (object(Some(text)).is_some(), json::validate(text)) {
        _ if text.is_empty() => return None,
        (true, _) if text.starts_with('{') => "an object".to_owned(),
        (true, _) => "an object in a JSON string".to_owned(),
        (false, Ok(raw)) if json::not_set(raw) => return None,
        (false, Ok(raw)) => describe(raw),
        (false, Err(_)) => "text that is not JSON".to_owned(),
    })
}

/// The fields of a column by their place; of a duplicate key the last.
fn fields(column: Column, rules: &Rules, text: Option<&str>) -> BTreeMap<String, Field> {
    let mut fields = BTreeMap::new();
    let Some(object) = object(text) else {
        return fields;
    };
    if column == Column::VoiceSettings {
        add_fields(&mut fields, "", &object, &[], &|keys| rules.source(keys));
        return fields;
    }
    for (key, raw) in Object::of(&object).iter() {
        let name = json::text(key).unwrap_or(key.into()).into_owned();
        if column == Column::ProviderConfig && rules.has_section(&name) && raw.starts_with('{') {
            let place = |keys: &[&str]| rules.target(&name, keys);
            add_fields(&mut fields, &format!("{name}."), raw, &[], &place);
        } else {
            fields.insert(
                name,
                Field {
                    raw: raw.to_owned(),
                    open: false,
                },
            );
        }
    }
    fields
}

/// Adds the members of an object. Objects around places of the rules are entered, so the depth of
/// those bounds the recursion.
fn add_fields(
    fields: &mut BTreeMap<String, Field>,
    before: &str,
    object: &str,
    outer: &[&str],
    place: &impl Fn(&[&str]) -> Place,
) {
    for (key, raw) in Object::of(object).iter() {
        let name = json::text(key).unwrap_or(key.into());
        let keys = [outer, &[&*name]].concat();
        let path = format!("{before}{name}");
        match place(&keys) {
            Place::Above if raw.starts_with('{') => {
                add_fields(fields, &format!("{path}."), raw, &keys, place);
            }
            found => {
                let (raw, open) = (raw.to_owned(), found == Place::At);
                fields.insert(path, Field { raw, open });
            }
        }
    }
}

/// The value of a column that is not JSON.
fn value(column: Column, text: &str) -> Value {
    match column.content() {
        Content::Prompt => Value::Length(u32::try_from(text.chars().count()).unwrap_or(u32::MAX)),
        Content::Address => Value::Json(json::quote(&match text.split_once('?') {
            Some((address, _)) => format!("{address}?…"),
            None => text.to_owned(),
        })),
        Content::Number => Value::Json(number(text)),
        Content::Name | Content::Json => Value::Json(json::quote(text)),
    }
}

/// The text of a column of numbers as JSON, which has no NaN.
fn number(text: &str) -> String {
    json::validate(text).map_or_else(|_| json::quote(text), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::columns::AgentColumn;

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
        Configuration::default().with(Column::ProviderConfig, Some(text))
    }

    #[test]
    fn fields_are_added_removed_changed_and_kept() {
        let current =
            r#"{"tts": {"provider": "p", "model": 1.0, "voice_id": "a"}, "phone": {"n": 1}}"#;
        let expected = concat!(
            r#"{"phone": {"n": 1}, "#,
            r#""tts": {"provider": "p", "model": 1, "voice": null, "stability": 0.50}}"#,
        );
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
        let settings = r#"{"api_key": "secret", "voice_id": "v", "extra": {"secret": 1}}"#;
        let config = r#"{"tts": {"api_key": "secret"}, "secret-service": {"key": "secret"}}"#;
        let current = Configuration::default()
            .with(Column::SystemPrompt, Some("secret one"))
            .with(Column::AgentImage, Some("https://x/y.png?secret=1"))
            .with(Column::VoiceSettings, Some(settings))
            .with(Column::ProviderConfig, Some(config));
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
    fn the_fields_of_an_agent_have_the_names_of_its_columns() {
        let agent = Agent::default()
            .with(AgentColumn::Name, Some("Ann"))
            .with(AgentColumn::VoiceSettings, Some(r#"{"agent_name": 1}"#));
        let paths: Vec<_> = fields_of_agent(Rules::embedded(), &agent)
            .into_iter()
            .map(|(path, _)| path)
            .collect();
        assert_eq!(paths, ["name", "voice_settings.agent_name"]);
    }

    #[test]
    fn a_number_that_json_has_no_word_for_is_a_string() {
        let current = Configuration::default().with(Column::Temperature, Some("NaN"));
        let expected = Configuration::default().with(Column::Temperature, Some("0.70"));
        assert_eq!(
            compare(&current, &expected).0,
            ["temperature: \"NaN\" → 0.70"]
        );
    }
}
