//! The values of the sources, checked against the schema, the later over the earlier.
//!
//! A value carries its origin, so that each mistake and each value in force leads to a line or a
//! variable. A value that does not fit is a mistake even if a later source overrides it: it would
//! come back on the day that the later source goes.
//!
//! The `config` crate holds a value with its origin, and makes typed settings of dotted keys.

use std::collections::BTreeMap;
use std::fmt;

use config::{Config, ConfigError, Map, Source, Value, ValueKind};
use serde::Deserialize;

use super::mistake::{Mistake, is_withheld, shown};
use super::paths::PathResolver;
use super::schema::{self, DefaultValue, Key, Lookup};
use super::suggest;
use super::value_type::RawValue;

/// The origin of built-in values.
pub(crate) const DEFAULT: &str = "default";

/// The start of the origin of a variable.
const VARIABLE: &str = "environment variable ";

/// The origin of a value from an environment variable: its name, unless that looks like a
/// connection string.
pub(crate) fn variable(name: &str) -> String {
    let name = if is_withheld(name) {
        "AGENT_SYNC__… (its name is not shown)"
    } else {
        name
    };
    format!("{VARIABLE}{name}")
}

/// Values by dotted key, each with its origin.
#[derive(Clone, Default)]
pub(crate) struct Values(BTreeMap<String, Value>);

impl Values {
    /// The values of all layers; a later layer wins.
    pub(crate) fn merged<'a>(layers: impl IntoIterator<Item = &'a Self>) -> Self {
        let all = layers.into_iter().flat_map(|layer| layer.0.clone());
        Self(all.collect())
    }

    /// The built-in defaults of a database, or those of the program without its databases.
    pub(crate) fn defaults(database: Option<&str>) -> Self {
        let mut values = Self::default();
        for key in schema::keys().filter(|key| key.is_of_database() == database.is_some()) {
            let value: ValueKind = match key.default {
                DefaultValue::Bool(value) => value.into(),
                DefaultValue::Integer(value) => value.into(),
                DefaultValue::Text(text) => text.into(),
                DefaultValue::Unset(_) | DefaultValue::UnsetList(_) => continue,
            };
            let path = key.path.replace('*', database.unwrap_or_default());
            values.insert(path, value, DEFAULT);
        }
        values
    }

    /// Takes a value that fits its key.
    pub(crate) fn insert(
        &mut self,
        key: impl Into<String>,
        value: impl Into<ValueKind>,
        origin: &str,
    ) {
        let value = Value::new(Some(&origin.to_owned()), value);
        self.0.insert(key.into(), value);
    }

    pub(crate) fn get(&self, key: &str) -> Option<&ValueKind> {
        self.0.get(key).map(|value| &value.kind)
    }

    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        match self.get(key)? {
            ValueKind::String(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn origin(&self, key: &str) -> &str {
        self.0.get(key).and_then(Value::origin).unwrap_or(DEFAULT)
    }

    /// The values of the keys that `rename` returns a name for, under that name.
    pub(crate) fn select(&self, rename: impl Fn(&str) -> Option<&str>) -> Self {
        let entries = self.0.iter();
        let selected =
            entries.filter_map(|(key, value)| Some((rename(key)?.into(), value.clone())));
        Self(selected.collect())
    }

    /// The values of the keys that begin so.
    pub(crate) fn below(&self, section: &str) -> Self {
        let entries = self.0.range(section.to_owned()..);
        let own = entries.take_while(|(key, _)| key.starts_with(section));
        Self(
            own.map(|(key, value)| (key.clone(), value.clone()))
                .collect(),
        )
    }

    /// Whether both have the same values, from whatever origins.
    pub(crate) fn equal(&self, other: &Self) -> bool {
        let kind = |(key, value): (_, &Value)| (key, value.kind.clone());
        self.0.iter().map(kind).eq(other.0.iter().map(kind))
    }

    /// Deserializes a part of the settings. The schema has accepted every value, so a failure is a
    /// defect of the program. Its report quotes nothing, because a value may be a secret.
    pub(crate) fn deserialize<T: for<'de> Deserialize<'de>>(
        self,
        mistakes: &mut Vec<Mistake>,
    ) -> Option<T> {
        let config = Config::builder().add_source(self).build();
        let result = config.and_then(Config::try_deserialize);
        if result.is_err() {
            let what = "has keys in its schema that its settings do not have";
            mistakes.push(Mistake::new("", "agent-sync", what));
        }
        result.ok()
    }
}

impl Source for Values {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    /// The dotted keys; the crate makes tables of them.
    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        Ok(self.0.clone().into_iter().collect())
    }
}

// A value may be a secret, so only the keys are printed.
impl fmt::Debug for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// The settings of one source or of several, read in their order, and their mistakes.
#[derive(Debug, Default)]
pub(crate) struct Layer {
    pub(crate) values: Values,
    /// The databases that the sources name, each with the first place that does.
    pub(crate) databases: BTreeMap<String, String>,
    pub(crate) mistakes: Vec<Mistake>,
}

impl Layer {
    /// Looks up a path. Reports an unknown path, and a database whose name is not allowed.
    pub(crate) fn lookup(&mut self, path: &[String], origin: &str) -> Lookup {
        let found = schema::lookup(path);
        if matches!(found, Lookup::Unknown) {
            let mistake = Mistake::new(named(path), origin, "is not a key that agent-sync knows");
            let remedy = suggest::remedy(path, |path| spell(path, origin));
            self.mistakes.push(mistake.remedy(remedy));
        } else if let [first, name] = path
            && first == "databases"
        {
            if !is_name_of_database(name) {
                let expected = "1 to 63 of a-z, 0-9, `_` and `-` as the name of a database";
                let mistake = Mistake::mismatch("databases", origin, expected, shown(name));
                self.mistakes.push(mistake.remedy("rename the database"));
                return Lookup::Unknown;
            }
            let first = self.databases.entry(name.clone());
            first.or_insert_with(|| origin.to_owned());
        }
        found
    }

    /// Takes a value for a key, or reports why it does not fit.
    pub(crate) fn set(
        &mut self,
        path: &[String],
        key: &Key,
        value: RawValue<'_>,
        origin: &str,
        paths: PathResolver<'_>,
    ) {
        let dotted = path.join(".");
        let value_type = key.value_type;
        let mistake = match value_type.accept(value) {
            Some(ValueKind::String(text)) => match paths.resolve(value_type, text) {
                Some(text) => return self.values.insert(dotted, text, origin),
                None => Mistake::mismatch(dotted, origin, "UTF-8", "another encoding"),
            },
            Some(value) => return self.values.insert(dotted, value, origin),
            None => {
                let (expected, found) = (value_type.expected(), value_type.found(value));
                let mistake = Mistake::mismatch(dotted, origin, expected, found);
                mistake.remedy(example(path, key, origin))
            }
        };
        self.mistakes.push(mistake);
    }

    /// Reports a value in the place of a table.
    pub(crate) fn not_a_table(&mut self, path: &[String], origin: &str, found: &str) {
        let known = schema::children(path);
        let remedy = match path {
            // A key of a database, without the name of one.
            [first, key] if first == "databases" && is_key_of_database(key) => {
                let path = [first, "NAME", key].map(str::to_owned);
                format!("name the database: `{}`", spell(&path, origin))
            }
            _ if known.is_empty() => format!("write `[{}.NAME]`", path.join(".")),
            _ => format!("known here: {}", known.join(", ")),
        };
        let mistake = Mistake::mismatch(path.join("."), origin, "a table", found);
        self.mistakes.push(mistake.remedy(remedy));
    }
}

fn is_name_of_database(name: &str) -> bool {
    let is_allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b);
    (1..=63).contains(&name.len()) && name.bytes().all(is_allowed)
}

fn is_key_of_database(name: &str) -> bool {
    let path = ["databases", "NAME", name].map(str::to_owned);
    matches!(schema::lookup(&path), Lookup::Key(_))
}

/// A path with any text for a key, as a message may show it: TOML takes any text in quotes.
fn named(path: &[String]) -> String {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"_-".contains(&b);
    let mut parts = path.to_vec();
    for part in parts.iter_mut().filter(|part| !part.bytes().all(is_plain)) {
        *part = shown(part);
    }
    parts.join(".")
}

/// A path in the notation of its source: dotted, or as the name of a variable.
fn spell(path: &[String], origin: &str) -> String {
    if origin.starts_with(VARIABLE) {
        format!("AGENT_SYNC__{}", path.join("__").to_ascii_uppercase())
    } else {
        path.join(".")
    }
}

/// A value that fits, in the notation of the source with the wrong one.
fn example(path: &[String], key: &Key, origin: &str) -> String {
    let example = key.example();
    if origin.starts_with(VARIABLE) {
        let example = example.trim_matches('"');
        format!("for example `{}={example}`", spell(path, origin))
    } else {
        let name = path.last().map_or("", String::as_str);
        format!("for example `{name} = {example}`")
    }
}
