//! The settings in force, as `agent-sync config` prints them: every value with its source, and no
//! secret.

use std::collections::BTreeMap;
use std::path::PathBuf;

use config::ValueKind;

use super::database::Described;
use super::dsn;
use super::layers::Values;
use super::libpq::Filled;
use super::schema::{self, Key};
use super::sections::Database;
use super::value_type::ValueType;

/// The text in place of a secret.
const MASK: &str = "********";

/// A value in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The dotted key.
    pub key: String,
    /// The value; a mask for a secret.
    pub value: serde_json::Value,
    /// Its source.
    pub source: String,
    /// Whether a source can set the key. Other keys follow from the settings.
    pub settable: bool,
}

/// Every value in force, in the order of the schema, databases by name.
pub(crate) fn entries(values: &Values, described: &BTreeMap<String, Described>) -> Vec<Entry> {
    let (of_databases, global): (Vec<_>, Vec<_>) =
        schema::keys().partition(|key| key.is_of_database());
    let global = global.into_iter();
    let mut entries: Vec<_> = global
        .filter_map(|key| entry(values, key, key.path.to_owned()))
        .collect();
    for (name, described) in described {
        let path = |key: &str| format!("databases.{name}.{key}");
        let derived = |key: &str, value: &str, source: &str| Entry {
            key: path(key),
            value: value.into(),
            source: source.to_owned(),
            settable: false,
        };
        let connection = &described.connection;
        let url = &connection.source;
        entries.push(derived(
            "target",
            &dsn::describe(&connection.dsn.config),
            url,
        ));
        if connection.is_written && values.get(&path("url")).is_none() {
            entries.push(derived("url", MASK, url));
        }
        for Filled {
            name,
            value,
            origin,
            ..
        } in &connection.dsn.filled
        {
            // `password` follows, and `options` may hold anything.
            match &**name {
                "password" => {}
                "options" => entries.push(derived(name, MASK, origin)),
                _ => entries.push(derived(name, value, origin)),
            }
        }
        let passfile = described
            .database
            .as_ref()
            .and_then(Database::passfile_in_use);
        let password = match (values.text(&path("password_file")), passfile) {
            _ if values.get(&path("password_command")).is_some() => {
                Some("the output of password_command".to_owned())
            }
            (Some(file), _) => Some(format!("secret file {file}")),
            (None, Some(file)) => Some(format!("password file {}", file.display())),
            (None, None) => connection.password_origin().map(str::to_owned),
        };
        entries.extend(password.map(|origin| derived("password", MASK, &origin)));
        let own = of_databases.iter();
        entries.extend(own.filter_map(|key| entry(values, key, key.path.replace('*', name))));
    }
    entries
}

/// The files that settings name.
pub(crate) fn named_files(
    values: &Values,
    described: &BTreeMap<String, Described>,
) -> Vec<PathBuf> {
    let is_file = |key: &&Key| matches!(key.value_type, ValueType::Path | ValueType::SecretFile);
    let paths = schema::keys().filter(is_file).flat_map(|key| {
        let names = described.keys();
        let of_databases = names.map(move |name| key.path.replace('*', name));
        if key.is_of_database() {
            of_databases.collect()
        } else {
            vec![key.path.to_owned()]
        }
    });
    paths
        .filter_map(|path| values.text(&path).map(PathBuf::from))
        .collect()
}

fn entry(values: &Values, key: &Key, path: String) -> Option<Entry> {
    let value = match values.get(&path)? {
        _ if key.value_type.is_secret() => MASK.into(),
        ValueKind::Boolean(value) => (*value).into(),
        ValueKind::I64(value) => (*value).into(),
        ValueKind::String(text) => text.as_str().into(),
        // People write secrets into arguments.
        ValueKind::Array(words) => words
            .iter()
            .take(2)
            .enumerate()
            .map(|(index, word)| {
                if index == 0 {
                    word.to_string()
                } else {
                    MASK.to_owned()
                }
            })
            .collect(),
        _ => return None,
    };
    Some(Entry {
        value,
        source: values.origin(&path).to_owned(),
        key: path,
        settable: true,
    })
}
