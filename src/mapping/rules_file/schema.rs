//! The JSON Schema of a rules file, for editors: `config/providers.schema.json` is its text.

use serde_json::{Value, json};

use crate::mapping::kind::Kind;

/// The JSON Schema of a rules file.
pub(in crate::mapping) fn schema() -> Value {
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "The rules of agent-sync",
        "type": "object",
        "properties": { "settings": settings() },
        "additionalProperties": section(),
        "definitions": {
            "name": { "type": "string", "minLength": 1 },
            "names": { "type": "array", "items": reference("name") },
            "type": {
                "description": "number: a number, or a string that holds one. integer: the same \
                    without a fraction. boolean: true, false, \"true\" or \"false\". json: any \
                    JSON, copied as it is. text: a string, the type of every setting that is not \
                    named in settings.",
                "type": "string",
                "enum": Kind::NAMES,
            },
            "min": { "description": "The least number.", "type": "number" },
            "max": { "description": "The greatest number.", "type": "number" },
            "values": {
                "description": "The texts that there may be.",
                "type": "array",
                "minItems": 1,
                "items": reference("name"),
            },
            "fields": {
                "description": "The fields that are written besides provider, in this order. A dot \
                    leads into an object.",
                "type": "object",
                "additionalProperties": field(),
            },
        },
    })
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/definitions/{name}") })
}

fn settings() -> Value {
    json!({
        "description": "The voice settings that are not text, by name. A dot leads into an object.",
        "type": "object",
        "properties": {
            "ignore": {
                "description": "The settings that no rule reads, and that no report is to name.",
                "type": ["array", "object"],
                "items": reference("name"),
            },
        },
        "additionalProperties": {
            "type": "object",
            "additionalProperties": false,
            "required": ["type"],
            "properties": {
                "type": reference("type"),
                "min": reference("min"),
                "max": reference("max"),
                "values": reference("values"),
            },
        },
    })
}

fn section() -> Value {
    json!({
        "description": "A section of provider_config. The order of the sections in the file is the \
            order in which they are written.",
        "type": "object",
        "additionalProperties": false,
        "required": ["provider_from"],
        "properties": {
            "provider_from": {
                "description": "The settings that may name the provider: the first one that is set \
                    does. If none is set, the section is left alone.",
                "type": "array",
                "minItems": 1,
                "items": reference("name"),
            },
            "placeholders": {
                "description": "Values that name no provider while a later setting of \
                    provider_from names one.",
                "type": "array",
                "items": reference("name"),
            },
            "providers": {
                "description": "The rule of each provider. Names compare without regard to case \
                    and to the blanks around them, and the name of the rule is written.",
                "type": "object",
                "additionalProperties": {
                    "type": "object",
                    "additionalProperties": false,
                    "required": ["fields"],
                    "properties": {
                        "aliases": {
                            "description": "Further names of the provider.",
                            "type": "array",
                            "items": reference("name"),
                        },
                        "fields": reference("fields"),
                    },
                },
            },
            "other": {
                "description": "The rule of every provider without a rule of its own.",
                "type": "object",
                "additionalProperties": false,
                "required": ["fields"],
                "properties": {
                    "fields": reference("fields"),
                    "warn": {
                        "description": "Whether a warning names the provider and the rule to add.",
                        "type": "boolean",
                    },
                },
            },
        },
    })
}

fn field() -> Value {
    json!({
        "description": "The setting that the field takes, or a list of settings, of which the \
            first that is set counts. If none is set, the default is written; without a default \
            the field stays as it is.",
        "type": ["string", "array", "object"],
        "minLength": 1,
        "minItems": 1,
        "items": reference("name"),
        "additionalProperties": false,
        "required": ["from"],
        "properties": {
            "from": {
                "description": "The name of a setting, or a list of names. A dot leads into an \
                    object.",
                "type": ["string", "array"],
                "minLength": 1,
                "minItems": 1,
                "items": reference("name"),
            },
            "default": {
                "description": "The value if the setting is not set.",
                "type": ["string", "number", "boolean"],
            },
            "type": reference("type"),
            "min": reference("min"),
            "max": reference("max"),
            "values": reference("values"),
        },
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::{field, section, settings};
    use super::*;

    /// The keys of the schema are those that the reader knows.
    #[test]
    fn m9_the_schema_has_the_keys_of_the_reader() {
        let schema = schema();
        let properties = |pointer: &str| -> BTreeSet<String> {
            let object = schema.pointer(pointer).and_then(Value::as_object);
            object
                .into_iter()
                .flatten()
                .map(|(key, _)| key.clone())
                .collect()
        };
        let known = |keys: &[&str]| -> BTreeSet<String> {
            keys.iter().map(|key| (*key).to_owned()).collect()
        };
        assert_eq!(
            properties("/additionalProperties/properties"),
            known(&section::KEYS)
        );
        let provider = "/additionalProperties/properties/providers/additionalProperties/properties";
        assert_eq!(properties(provider), known(&section::PROVIDER_KEYS));
        let other = "/additionalProperties/properties/other/properties";
        assert_eq!(properties(other), known(&section::OTHER_KEYS));
        let of_setting = "/properties/settings/additionalProperties/properties";
        assert_eq!(properties(of_setting), known(&settings::KEYS));
        let of_field = "/definitions/fields/additionalProperties/properties";
        let keys = [&field::KEYS[..], &settings::KEYS].concat();
        assert_eq!(properties(of_field), known(&keys));
    }
}
