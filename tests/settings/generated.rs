//! The files that are generated from the declarations of the settings: `config/agent-sync.toml`,
//! `config/agent-sync.schema.json`, `docs/settings.md` and the manual page
//! `packaging/man/agent-sync.toml.5`. `UPDATE_DOCS=1` writes them.

use std::fmt::Write as _;
use std::path::Path;

use agent_sync::settings::ValueType;
use agent_sync::settings::schema::{DefaultValue, Key, keys};
use clap_mangen::roff::{Inline, Roff, bold, roman};
use serde_json::{Map, Value, json};

/// Compares a file with the generated text.
fn assert_current(name: &str, made: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, made).unwrap();
    }
    assert!(
        std::fs::read_to_string(&path).is_ok_and(|text| text == made),
        "{name} is out of date: UPDATE_DOCS=1 cargo test --locked --test it -- generated \
        packaging writes it"
    );
}

#[test]
fn m9_the_schema_of_the_rules_is_what_the_code_says() {
    let text = serde_json::to_string_pretty(&agent_sync::mapping::Rules::schema()).unwrap();
    assert_current("config/providers.schema.json", &(text + "\n"));
}

#[test]
fn the_reference_is_current() {
    assert_current("docs/settings.md", &reference());
}

#[test]
fn the_manual_page_of_the_file_is_current() {
    assert_current("packaging/man/agent-sync.toml.5", &manual());
}

#[test]
fn the_sample_file_is_current() {
    assert_current("config/agent-sync.toml", &sample());
}

#[test]
fn the_json_schema_is_current() {
    let text = serde_json::to_string_pretty(&json_schema()).unwrap();
    assert_current("config/agent-sync.schema.json", &(text + "\n"));
}

/// The section and the name of a key.
fn split(key: &Key) -> (&'static str, &'static str) {
    key.path.rsplit_once('.').unwrap()
}

/// What the reference and the manual page say about the sources of a setting.
const SOURCES: &str = "\
The sources, the later over the earlier: built-in defaults; the file (`--config`, else
`$AGENT_SYNC_CONFIG`, else `/etc/agent-sync/agent-sync.toml`); `databases.d/*.toml` beside it, in
the order of their names; the environment. `AGENT_SYNC__SYNC__BATCH_SIZE=100` sets
`sync.batch_size`, and `AGENT_SYNC__DATABASES__MAIN__URL=…` the URL of the database `main`.
`DATABASE_URL` alone defines one database named `default`. What a connection string lacks comes from
the sources of PostgreSQL's own tools, such as `PGHOST` and `~/.pgpass`:
[connections.md](connections.md). An unknown key or a value of the wrong type is an error, and all
errors are reported at once. `agent-sync config` prints the values in force and the source of each.
";

const DURATIONS: &str =
    "A duration is a number and a unit, or several of them: `500ms`, `15s`, `1m 30s`, `2h`.";

const TITLE: &str = "\
# Settings

<!-- Generated from the code by `UPDATE_DOCS=1 cargo test --locked --test it -- generated packaging`. -->
";

const FILES: &str = "\
[`config/agent-sync.toml`](../config/agent-sync.toml) has the same keys as a file to copy from, and
[`config/agent-sync.schema.json`](../config/agent-sync.schema.json) describes that file to editors.
";

fn reference() -> String {
    let mut text = format!("{TITLE}\n{SOURCES}\n{DURATIONS}\n{FILES}");
    let mut last = "";
    for key in keys() {
        let (section, name) = split(key);
        if section != last {
            last = section;
            let title = section.replace('*', "NAME");
            let head = "| key | value | default | purpose |\n|---|---|---|---|";
            writeln!(text, "\n## `[{title}]`\n\n{head}").unwrap();
        }
        let default = match key.default {
            DefaultValue::Unset(_) | DefaultValue::UnsetList(_) => {
                format!("not set; for example `{}`", key.example())
            }
            _ => format!("`{}`", key.example()),
        };
        let expected = key.value_type.expected().replace('|', "\\|");
        let doc = key.doc.replace('|', "\\|");
        writeln!(text, "| `{name}` | {expected} | {default} | {doc} |").unwrap();
    }
    text
}

/// The manual page of the settings file, with the sections and keys of the reference.
fn manual() -> String {
    let mut page = Roff::new();
    page.control("TH", ["agent-sync.toml", "5"]);
    page.control("SH", ["NAME"]);
    page.text([roman("agent-sync.toml - the settings of agent-sync")]);
    page.control("SH", ["SYNOPSIS"]);
    for file in ["agent-sync.toml", "databases.d/*.toml"] {
        page.text([roman(format!("/etc/agent-sync/{file}"))]);
        page.control("br", []);
    }
    page.control("SH", ["DESCRIPTION"]);
    page.text(inline(SOURCES));
    page.control("PP", []);
    page.text(inline(DURATIONS));
    page.control("SH", ["SETTINGS"]);
    let mut last = "";
    for key in keys() {
        let (section, name) = split(key);
        if section != last {
            last = section;
            let title = format!("[{}]", section.replace('*', "NAME"));
            page.control("SS", [&*title]);
        }
        let (value, example) = match key.default {
            DefaultValue::Unset(_) | DefaultValue::UnsetList(_) => {
                (String::new(), format!(" Example: `{}`.", key.example()))
            }
            _ => (format!(" = {}", key.example()), String::new()),
        };
        page.control("TP", []);
        page.text([bold(name), roman(value)]);
        let expected = key.value_type.expected();
        page.text(inline(&format!(
            "{} (Value: {expected}.{example})",
            key.doc
        )));
    }
    page.control("SH", ["ENVIRONMENT"]);
    for (name, meaning) in [
        (
            "AGENT_SYNC_CONFIG",
            "The settings file, unless `--config` names one.",
        ),
        (
            "AGENT_SYNC__SECTION__KEY",
            "Sets `section.key`, over the files.",
        ),
        (
            "DATABASE_URL",
            "The database `default`, where the settings have no database.",
        ),
        ("RUST_LOG", "Sets `log.level`, over the files."),
        (
            "PGHOST, PGUSER and others of libpq",
            "What a connection lacks, unless `libpq.environment` is false.",
        ),
    ] {
        page.control("TP", []);
        page.text([bold(name)]);
        page.text(inline(meaning));
    }
    page.control("SH", ["FILES"]);
    page.text(inline(
        "The packages have every setting at its default in `/etc/agent-sync/agent-sync.toml`, \
         and the named documents in `/usr/share/doc/agent-sync/docs/`.",
    ));
    page.control("SH", ["SEE ALSO"]);
    page.text([bold("agent-sync"), roman("(1)")]);
    page.render()
}

/// The words of a paragraph in Markdown: code in bold, and links as their texts.
fn inline(markdown: &str) -> Vec<Inline> {
    let links = regex_lite::Regex::new(r"\[([^\]]+)\]\([^)]+\)").unwrap();
    let text = links.replace_all(markdown.trim(), "$1").replace('\n', " ");
    let words = text.split('`').enumerate();
    words
        .filter(|(_, words)| !words.is_empty())
        .map(|(at, words)| {
            if at % 2 == 1 {
                bold(words)
            } else {
                roman(words)
            }
        })
        .collect()
}

const SAMPLE: &str = "\
#:schema ./agent-sync.schema.json
#
# agent-sync: every setting, at its default.
#
# Copy the settings to change into /etc/agent-sync/agent-sync.toml, or name another file with
# --config or AGENT_SYNC_CONFIG. The files of databases.d beside it go over it, in the order of
# their names, and the environment goes over those: AGENT_SYNC__SYNC__BATCH_SIZE=100 sets
# sync.batch_size. `agent-sync config` prints the values in force and the source of each.
#
# \"# \" starts an explanation. \"#\" without a space turns a setting off; remove it to turn the
# setting on.
";

const DATABASES: &str = "
# A database. There can be any number of them, each under its own name (a-z, 0-9, _ and -). Logs and
# metrics use that name. The environment reaches only names without a hyphen. If no database is
# configured, DATABASE_URL defines one with the name default.
#
# Name tables and columns only if they differ from these names. A column that is not in the database
# is left out of the mapping, unless it is required.
";

const SUPABASE: &str = "
# A database of Supabase. The direct host (db.PROJECT.supabase.co) has only an IPv6 address. Without
# IPv6, use the session pooler (port 5432), never the transaction pooler (port 6543), which drops
# LISTEN. The database settings of the project offer the certificate of Supabase's own authority.
";

const RDS: &str = "
# A database of Amazon RDS with IAM authentication: the password is a token that a program prints.
# docs/connections.md has the commands of other clouds.
";

/// The key that the sample shows for RDS, with its value.
const RDS_KEY: (&str, &str) = (
    "databases.*.password_command",
    "[\"aws\", \"rds\", \"generate-db-auth-token\", \"--hostname\", \"db.example.com\", \"--port\", \"5432\", \"--username\", \"agent_sync\"]",
);

/// The keys that the sample shows for Supabase, with their values; the first database has the other
/// keys.
const SUPABASE_KEYS: [(&str, &str); 2] = [
    ("databases.*.url_file", "\"/run/secrets/supabase_url\""),
    (
        "databases.*.tls_root_cert",
        "\"/etc/agent-sync/supabase-ca.crt\"",
    ),
];

fn sample() -> String {
    let mut text = SAMPLE.to_owned();
    let mut last = "";
    for key in keys() {
        let mut elsewhere = SUPABASE_KEYS.iter().chain([&RDS_KEY]);
        if elsewhere.any(|(path, _)| *path == key.path) {
            continue;
        }
        let (section, _) = split(key);
        let off = if key.is_of_database() { "#" } else { "" };
        if section == last {
            text.push('\n');
        } else {
            if section == "databases.*" {
                text += DATABASES;
            }
            last = section;
            let title = section.replace('*', "platform");
            writeln!(text, "\n{off}[{title}]").unwrap();
        }
        text += &setting(key, &key.example());
    }
    text += SUPABASE;
    text += "\n#[databases.supabase]\n";
    for (path, value) in SUPABASE_KEYS {
        let key = keys().find(|key| key.path == path).unwrap();
        text += &setting(key, value);
        text.push('\n');
    }
    text += "#tls = \"verify-full\"\n";
    text += RDS;
    text +=
        "\n#[databases.rds]\n#url = \"postgres://agent_sync@rds.example.com:5432/platform\"\n\n";
    let (path, value) = RDS_KEY;
    let key = keys().find(|key| key.path == path).unwrap();
    text + &setting(key, value)
}

/// A setting with its documentation as a comment, wrapped at 100 columns.
fn setting(key: &Key, value: &str) -> String {
    let mut text = String::new();
    let mut line = "#".to_owned();
    for word in key.doc.split(' ') {
        if line.len() + 1 + word.len() > 100 {
            writeln!(text, "{line}").unwrap();
            "#".clone_into(&mut line);
        }
        write!(line, " {word}").unwrap();
    }
    let is_unset = matches!(
        key.default,
        DefaultValue::Unset(_) | DefaultValue::UnsetList(_)
    );
    let is_off = key.is_of_database() || is_unset;
    let off = if is_off { "#" } else { "" };
    let (_, name) = split(key);
    format!("{text}{line}\n{off}{name} = {value}\n")
}

/// The pattern of the name of a database.
const DATABASE_NAME: &str = "^[a-z0-9_-]{1,63}$";

fn json_schema() -> Value {
    let mut root = section();
    for key in keys() {
        let (path, name) = split(key);
        let mut properties = root["properties"].as_object_mut().unwrap();
        let mut parts = path.split('.').peekable();
        while let Some(part) = parts.next() {
            let below = properties
                .entry(part)
                .or_insert_with(|| match parts.peek() {
                    Some(&"*") => json!({ "type": "object", "additionalProperties": false,
                    "patternProperties": { DATABASE_NAME: section() } }),
                    _ => section(),
                });
            let below = match parts.next_if_eq(&"*") {
                Some(_) => &mut below["patternProperties"][DATABASE_NAME],
                None => below,
            };
            properties = below["properties"].as_object_mut().unwrap();
        }
        properties.insert(name.to_owned(), property(key).into());
    }
    root["$schema"] = "http://json-schema.org/draft-07/schema#".into();
    root["title"] = "The settings of agent-sync".into();
    root
}

fn section() -> Value {
    json!({ "type": "object", "additionalProperties": false, "properties": {} })
}

fn property(key: &Key) -> Map<String, Value> {
    let value = match key.value_type {
        ValueType::Bool => json!({ "type": "boolean" }),
        ValueType::Integer { min, max } => {
            json!({ "type": "integer", "minimum": min, "maximum": max })
        }
        ValueType::Duration { .. } => {
            json!({ "type": "string", "pattern": "^([0-9.]+ *[A-Za-zµ]+ *)+$" })
        }
        ValueType::Interval { .. } => json!({
            "type": ["string", "integer"],
            "pattern": "^(off|0|([0-9.]+ *[A-Za-zµ]+ *)+)$",
            "minimum": 0,
            "maximum": 0,
        }),
        ValueType::OneOf(words) => json!({ "type": "string", "enum": words }),
        ValueType::Identifier => json!({ "type": "string", "minLength": 1, "maxLength": 63 }),
        ValueType::InstallSchema => {
            json!({ "type": "string", "pattern": "^[a-z_][a-z0-9_]{0,39}$" })
        }
        ValueType::SecretFile => json!({ "type": "string", "pattern": "^(/|\\./|\\.\\./)" }),
        ValueType::Command => {
            json!({ "type": "array", "minItems": 1, "items": { "type": "string" } })
        }
        ValueType::Listen => json!({ "type": "string", "pattern": "^(off|.+:[0-9]{1,5})$" }),
        ValueType::LogLevel | ValueType::Path | ValueType::Url => {
            json!({ "type": "string", "minLength": 1 })
        }
    };
    let Value::Object(mut property) = value else {
        unreachable!()
    };
    let mut description = key.doc.to_owned();
    if let ValueType::Duration { min, max } | ValueType::Interval { min, max } = key.value_type {
        write!(description, " From {min} to {max}.").unwrap();
    }
    property.insert("description".to_owned(), description.into());
    let (name, value) = match key.default {
        DefaultValue::Bool(value) => ("default", value.into()),
        DefaultValue::Integer(value) => ("default", value.into()),
        DefaultValue::Text(text) => ("default", text.into()),
        DefaultValue::Unset(text) => ("examples", json!([text])),
        DefaultValue::UnsetList(words) => ("examples", json!([words])),
    };
    property.insert(name.to_owned(), value);
    property
}
