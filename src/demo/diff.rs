//! What is different between two states of a configuration, field by field. Pure.
//!
//! `provider_config` is looked into; every other column is one field. What is no object (nothing yet, or a JSON string
//! where an object is expected) is one field as well.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// The columns that are shown, in this order. The clocks are left out: they say only that something was written.
const COLUMNS: [&str; 7] = [
    "agent_name",
    "system_prompt",
    "agent_image",
    "voice_id",
    "temperature",
    "voice_settings",
    "provider_config",
];

/// What happened to one field.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// It was not there.
    Added(String),
    /// It is gone.
    Removed(String),
    /// It is an object still, and these are the keys that differ.
    Inside(Vec<String>),
    /// From what to what.
    Changed(String, String),
}

/// The fields that differ, and those inside `provider_config` that were kept although others changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Diff {
    /// Path and change.
    pub(super) changes: Vec<(String, Change)>,
    /// Paths.
    pub(super) kept: Vec<String>,
}

/// Compares two rows of `agent_configurations`, as JSON.
pub(super) fn diff(before: &Value, after: &Value) -> Diff {
    let mut diff = Diff::default();
    for column in COLUMNS {
        let (old, new) = (fields(column, &before[column]), fields(column, &after[column]));
        let paths: BTreeSet<_> = old.keys().chain(new.keys()).collect();
        for path in paths {
            let change = match (old.get(path), new.get(path)) {
                (None, Some(new)) => Change::Added(show(new)),
                (Some(old), None) => Change::Removed(show(old)),
                (Some(old), Some(new)) if old != new => changed(old, new),
                _ if path.contains('.') => {
                    diff.kept.push(path.clone());
                    continue;
                }
                _ => continue,
            };
            diff.changes.push((path.clone(), change));
        }
    }
    diff
}

/// The fields of a column by path: a section of `provider_config` is looked into, anything deeper is one value.
fn fields<'a>(column: &str, value: &'a Value) -> BTreeMap<String, &'a Value> {
    let mut fields = BTreeMap::new();
    match value.as_object() {
        Some(sections) if column == "provider_config" => {
            for (name, section) in sections {
                match section.as_object() {
                    Some(inner) if ["llm", "stt", "tts"].contains(&name.as_str()) => {
                        fields.extend(inner.iter().map(|(key, value)| (format!("{name}.{key}"), value)));
                    }
                    _ => {
                        fields.insert(format!("{column}.{name}"), section);
                    }
                }
            }
        }
        _ if value.is_null() => {}
        _ => {
            fields.insert(column.to_owned(), value);
        }
    }
    fields
}

fn changed(old: &Value, new: &Value) -> Change {
    let (Some(one), Some(other)) = (old.as_object(), new.as_object()) else {
        return Change::Changed(show(old), show(new));
    };
    let keys: BTreeSet<_> = one.keys().chain(other.keys()).collect();
    Change::Inside(keys.into_iter().filter(|key| one.get(*key) != other.get(*key)).cloned().collect())
}

/// A value on one line; of what may be long, only what it is.
fn show(value: &Value) -> String {
    match value {
        Value::Object(fields) => match fields.len() {
            1 => "an object with 1 key".to_owned(),
            keys => format!("an object with {keys} keys"),
        },
        Value::String(text) if text.starts_with('{') => {
            format!("a string that holds JSON ({} bytes)", text.len())
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_are_added_removed_changed_and_kept() {
        let before = json!({"voice_id": "a", "id": 1, "provider_config":
            {"tts": {"provider": "p", "gone": 1, "old": 1}, "phone": {"n": 1}}});
        let after = json!({"voice_id": "b", "id": 2, "provider_config":
            {"tts": {"provider": "p", "old": 2, "new": null}, "phone": {"n": 1}}});
        let text = |text: &str| text.to_owned();
        assert_eq!(
            diff(&before, &after),
            Diff {
                changes: vec![
                    (text("voice_id"), Change::Changed(text("\"a\""), text("\"b\""))),
                    (text("tts.gone"), Change::Removed(text("1"))),
                    (text("tts.new"), Change::Added(text("null"))),
                    (text("tts.old"), Change::Changed(text("1"), text("2"))),
                ],
                kept: vec![text("provider_config.phone"), text("tts.provider")],
            }
        );
    }

    #[test]
    fn a_string_that_holds_json_is_a_field_of_its_own() {
        let diff =
            diff(&json!({"provider_config": "{}"}), &json!({"provider_config": {"llm": {"model": "m"}}}));
        let paths: Vec<_> = diff.changes.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(paths, ["llm.model", "provider_config"]);
    }
}
