//! The settings in force as `agent-sync config` shows them: every value with its source, and no
//! secret.

use std::collections::BTreeMap;

use config::ValueKind;

use super::Settings;
use super::connection::Connection;
use super::layer::DEFAULT;
use super::merged::Merged;
use super::schema::KEYS;

/// What stands in for a secret.
const MASK: &str = "********";

/// A value in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The dotted key.
    pub key: String,
    /// The value; a mask for a secret.
    pub value: serde_json::Value,
    /// Where it comes from.
    pub source: String,
    /// Whether the key is one that can be set, rather than what follows from others.
    pub settable: bool,
}

/// Every value in force, in the order of the schema, databases by name.
pub(crate) fn entries(
    merged: &Merged,
    settings: &Settings,
    dsns: &BTreeMap<String, Connection>,
) -> Vec<Entry> {
    let mut entries = Vec::new();
    for key in KEYS.iter().filter(|key| !key.path.contains('*')) {
        entries.extend(entry(merged, key.path.to_owned(), key.kind.is_secret()));
    }
    for (name, database) in &settings.databases {
        let path = |key: &str| format!("databases.{name}.{key}");
        let follows = |key: &str, value: &str, source: &str| Entry {
            key: path(key),
            value: value.into(),
            source: source.to_owned(),
            settable: false,
        };
        let url = dsns
            .get(name)
            .map_or(DEFAULT, |connection| &connection.source);
        entries.push(follows("target", &database.target(), url));
        if merged.get(&path("url")).is_none() {
            entries.push(follows("url", MASK, url));
        }
        if database.has_password() {
            let file = merged
                .text(&path("password_file"))
                .map(|file| format!("secret file {file}"));
            entries.push(follows("password", MASK, file.as_deref().unwrap_or(url)));
        }
        for key in KEYS.iter().filter(|key| key.path.contains('*')) {
            entries.extend(entry(
                merged,
                key.path.replace('*', name),
                key.kind.is_secret(),
            ));
        }
    }
    entries
}

fn entry(merged: &Merged, key: String, secret: bool) -> Option<Entry> {
    let value = match &merged.get(&key)?.kind {
        _ if secret => MASK.into(),
        ValueKind::Boolean(value) => (*value).into(),
        ValueKind::I64(value) => (*value).into(),
        ValueKind::String(text) => text.as_str().into(),
        _ => return None,
    };
    Some(Entry {
        value,
        source: merged.origin(&key),
        key,
        settable: true,
    })
}
