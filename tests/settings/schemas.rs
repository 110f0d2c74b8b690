//! The JSON Schemas of the settings file and of the rules file: the samples satisfy them, and they
//! refuse what the program refuses.
//!
//! [`mistakes`] checks the keywords of JSON Schema that the two files use, and panics at any other.

use agent_sync::mapping::Rules;
use regex_lite::Regex;
use serde_json::{Value, json};

use super::documented::turned_on;
use super::{load, read};

const SETTINGS: &str = "config/agent-sync";
const RULES: &str = "config/providers";

/// Keywords that only inform.
const ANNOTATIONS: [&str; 6] = [
    "$schema",
    "title",
    "description",
    "default",
    "examples",
    "definitions",
];

/// The paths at which a value violates a schema.
fn mistakes(schema: &Value, root: &Value, value: &Value, path: &str) -> Vec<String> {
    if let Some(reference) = schema["$ref"].as_str() {
        let target = root.pointer(reference.trim_start_matches('#')).unwrap();
        return mistakes(target, root, value, path);
    }
    let mut found = Vec::new();
    for (keyword, argument) in schema.as_object().unwrap() {
        let fits = match &**keyword {
            "type" => {
                let is = |name: &Value| is_of_type(value, name.as_str().unwrap());
                argument
                    .as_array()
                    .map_or_else(|| is(argument), |types| types.iter().any(is))
            }
            "enum" => argument.as_array().unwrap().contains(value),
            "minimum" => value
                .as_i64()
                .is_none_or(|n| n >= argument.as_i64().unwrap()),
            "maximum" => value
                .as_i64()
                .is_none_or(|n| n <= argument.as_i64().unwrap()),
            "minLength" => length(value).is_none_or(|n| n >= argument.as_u64().unwrap()),
            "maxLength" => length(value).is_none_or(|n| n <= argument.as_u64().unwrap()),
            "minItems" => value
                .as_array()
                .is_none_or(|items| items.len() as u64 >= argument.as_u64().unwrap()),
            "pattern" => value.as_str().is_none_or(|text| {
                Regex::new(argument.as_str().unwrap())
                    .unwrap()
                    .is_match(text)
            }),
            "required" => value.as_object().is_none_or(|object| {
                let mut names = argument.as_array().unwrap().iter();
                names.all(|name| object.contains_key(name.as_str().unwrap()))
            }),
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    found.extend(mistakes(argument, root, item, &format!("{path}[{index}]")));
                }
                true
            }
            // `below` reads these together.
            "properties" | "patternProperties" => true,
            "additionalProperties" => {
                for (name, item) in value.as_object().into_iter().flatten() {
                    let path = format!("{path}.{name}");
                    match below(schema, name) {
                        Some(schema) => found.extend(mistakes(schema, root, item, &path)),
                        None if argument == &json!(false) => found.push(path),
                        None => found.extend(mistakes(argument, root, item, &path)),
                    }
                }
                true
            }
            other => {
                assert!(ANNOTATIONS.contains(&other), "unknown keyword {other}");
                true
            }
        };
        if !fits {
            found.push(path.to_owned());
        }
    }
    found
}

/// The schema of a property.
fn below<'a>(schema: &'a Value, name: &str) -> Option<&'a Value> {
    let by_name = schema["properties"].get(name);
    let mut patterns = schema["patternProperties"]
        .as_object()
        .into_iter()
        .flatten();
    let is_match = |pattern: &str| Regex::new(pattern).unwrap().is_match(name);
    by_name.or_else(|| {
        patterns
            .find(|(pattern, _)| is_match(pattern))
            .map(|(_, schema)| schema)
    })
}

fn is_of_type(value: &Value, name: &str) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64(),
        "number" => value.is_number(),
        other => panic!("unknown type {other}"),
    }
}

fn length(value: &Value) -> Option<u64> {
    Some(value.as_str()?.chars().count() as u64)
}

/// The mistakes of a TOML text by the schema of a file.
fn check(name: &str, toml: &str) -> Vec<String> {
    let schema: Value = serde_json::from_str(&read(&format!("{name}.schema.json"))).unwrap();
    let value: Value = toml::from_str(toml).unwrap();
    mistakes(&schema, &schema, &value, "")
}

#[test]
fn the_sample_files_name_their_schemas_and_satisfy_them() {
    for (file, schema, head) in [
        (SETTINGS, SETTINGS, "#:schema ./agent-sync.schema.json\n"),
        (RULES, RULES, "#:schema ./providers.schema.json\n"),
        (
            "config/providers.extended",
            RULES,
            "#:schema ./providers.schema.json\n",
        ),
    ] {
        let text = read(&format!("{file}.toml"));
        assert!(text.starts_with(head), "{file}");
        assert_eq!(check(schema, &text), [""; 0], "{file}");
    }
    assert_eq!(check(SETTINGS, &turned_on()), [""; 0]);
}

#[test]
fn the_schema_of_the_settings_refuses_what_the_program_refuses() {
    for (toml, path) in [
        ("nonsense = 1", ".nonsense"),
        ("sync = 1", ".sync"),
        ("sync.batch = 1", ".sync.batch"),
        ("sync.batch_size = 0", ".sync.batch_size"),
        ("sync.batch_size = 10001", ".sync.batch_size"),
        ("sync.batch_size = \"7\"", ".sync.batch_size"),
        ("sync.lock_timeout = \"5\"", ".sync.lock_timeout"),
        ("sync.lock_timeout = \"1s 30\"", ".sync.lock_timeout"),
        ("log.format = \"xml\"", ".log.format"),
        ("capture.notify = \"true\"", ".capture.notify"),
        ("admin.listen = \"localhost\"", ".admin.listen"),
        ("announce.channel = \"\"", ".announce.channel"),
        ("databases.Main.url = \"host=db\"", ".databases.Main"),
        ("databases.a = \"host=db\"", ".databases.a"),
        ("databases.a.url_file = \"secret\"", ".databases.a.url_file"),
        ("databases.a.tls = \"prefer\"", ".databases.a.tls"),
        (
            "databases.a.password_command = \"echo\"",
            ".databases.a.password_command",
        ),
        (
            "databases.a.password_command = []",
            ".databases.a.password_command",
        ),
        (
            "databases.a.password_command = [\"echo\", 1]",
            ".databases.a.password_command[1]",
        ),
        (
            "databases.a.agents.columns.id = \"id\"",
            ".databases.a.agents.columns.id",
        ),
    ] {
        assert_eq!(check(SETTINGS, toml), [path], "{toml}");
        assert!(load(toml, &[]).is_err(), "{toml}");
    }
}

#[test]
fn the_schema_of_the_rules_refuses_what_the_program_refuses() {
    let sample = read("config/providers.toml");
    for (line, path) in [
        ("settings.x = { type = \"date\" }", ".settings.x.type"),
        ("settings.x = {}", ".settings.x"),
        (
            "settings.x = { type = \"text\", most = 1 }",
            ".settings.x.most",
        ),
        ("x = {}", ".x"),
        ("x = 1", ".x"),
        ("x.provider_from = []", ".x.provider_from"),
        ("x = { provider_from = [\"p\"], others = {} }", ".x.others"),
        (
            "x = { provider_from = [\"p\"], other = { fields = {}, warn = 1 } }",
            ".x.other.warn",
        ),
        ("x = { provider_from = [\"p\"], other = {} }", ".x.other"),
        (
            "x = { provider_from = [\"p\"], other.fields = { a = 1 } }",
            ".x.other.fields.a",
        ),
        (
            "x = { provider_from = [\"p\"], other.fields = { a = { of = \"b\" } } }",
            ".x.other.fields.a",
        ),
        (
            "x = { provider_from = [\"p\", \"q\"], placeholders = [\"\"] }",
            ".x.placeholders[0]",
        ),
        (
            "x = { provider_from = [\"p\"], providers.y = { aliases = [1], fields = {} } }",
            ".x.providers.y.aliases[0]",
        ),
        (
            "x = { provider_from = [\"p\"], other.fields = { a = [] } }",
            ".x.other.fields.a",
        ),
        (
            "x = { provider_from = [\"p\"], other.fields = { a = { from = \"b\", type = \"date\" } } }",
            ".x.other.fields.a.type",
        ),
        (
            "x = { provider_from = [\"p\"], other.fields = { a = { from = \"b\", type = \"text\", values = [] } } }",
            ".x.other.fields.a.values",
        ),
        ("settings.ignore = [1]", ".settings.ignore[0]"),
    ] {
        let rules = sample.replacen("\n[settings]", &format!("\n{line}\n[settings]"), 1);
        // A declared setting has to be used, and a table cannot be declared twice.
        let rules = match line.strip_prefix("settings.") {
            Some(rest) => sample.replacen("\n[settings]", &format!("\n[settings]\n{rest}"), 1),
            None => rules,
        };
        let found = check(RULES, &rules);
        assert!(
            found.iter().all(|one| one.starts_with(path)),
            "{line}: {found:?}"
        );
        assert!(!found.is_empty() && Rules::parse(&rules).is_err(), "{line}");
    }
    assert!(Rules::parse(&sample).is_ok());
}
