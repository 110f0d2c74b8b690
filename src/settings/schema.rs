//! The description of every key: its name, value type, default and documentation.
//!
//! `sections` declares the keys together with the fields that hold their values.
//! Everything else follows from them: the refusal of unknown keys and wrong values, the built-in
//! defaults, `config/agent-sync.toml`, `docs/settings.md` and the JSON Schema.

use super::columns::{AgentsColumns, ConfigurationsColumns};
use super::sections::{
    Admin, AgentsTable, Announce, Audit, CONNECTION_STRING, Capture, ConfigurationsTable, Database,
    History, InstallSettings, Libpq, Log, Reconcile, Reconnect, Reload, Rules, Shutdown,
    SyncSettings,
};
use super::value_type::ValueType;

/// One key.
#[derive(Debug)]
pub struct Key {
    /// The dotted path; `*` stands for the name of a database.
    pub path: &'static str,
    /// The values that it takes.
    pub value_type: ValueType,
    /// The value if no source sets it.
    pub default: DefaultValue,
    /// One paragraph of documentation.
    pub doc: &'static str,
}

/// The value of a key that no source sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DefaultValue {
    /// A boolean.
    Bool(bool),
    /// A number.
    Integer(i64),
    /// A text.
    Text(&'static str),
    /// None; with an example of a value.
    Unset(&'static str),
    /// None; with an example of a list.
    UnsetList(&'static [&'static str]),
}

impl Key {
    /// The default, or the example of a value, in TOML.
    pub fn example(&self) -> String {
        match self.default {
            DefaultValue::Bool(value) => value.to_string(),
            DefaultValue::Integer(value) => value.to_string(),
            DefaultValue::Text(text) | DefaultValue::Unset(text) => format!("\"{text}\""),
            DefaultValue::UnsetList(words) => {
                let words: Vec<_> = words.iter().map(|word| format!("\"{word}\"")).collect();
                format!("[{}]", words.join(", "))
            }
        }
    }

    /// Whether the key belongs to a database.
    pub fn is_of_database(&self) -> bool {
        self.path.contains('*')
    }

    /// The parts of the path behind `prefix`; none if the path does not start with it.
    fn parts_behind(&self, prefix: &[String]) -> Option<std::str::Split<'static, char>> {
        let mut parts = self.path.split('.');
        prefix
            .iter()
            .all(|part| parts.next().is_some_and(|own| own == "*" || own == part))
            .then_some(parts)
    }
}

/// Describes the keys of a section, each as `name = value type, default;` below its documentation.
macro_rules! key_table {
    ($section:literal {
        $( $(#[doc = $doc:literal])+ $name:ident = $value_type:expr, $default:expr; )+
    }) => {
        &[$($crate::settings::schema::Key {
            path: concat!($section, ".", stringify!($name)),
            value_type: $value_type,
            default: $default,
            doc: concat!($($doc),+).trim_ascii_start(),
        },)+]
    };
}
pub(super) use key_table;

/// The keys of each section, in the order in which they are printed.
const SECTIONS: &[&[Key]] = &[
    Log::KEYS,
    Rules::KEYS,
    Capture::KEYS,
    SyncSettings::KEYS,
    Audit::KEYS,
    Announce::KEYS,
    History::KEYS,
    Reconcile::KEYS,
    Reconnect::KEYS,
    Shutdown::KEYS,
    Reload::KEYS,
    Admin::KEYS,
    Libpq::KEYS,
    CONNECTION_STRING,
    Database::KEYS,
    InstallSettings::KEYS,
    AgentsTable::KEYS,
    AgentsColumns::KEYS,
    ConfigurationsTable::KEYS,
    ConfigurationsColumns::KEYS,
];

/// Every key, in the order in which they are printed.
pub fn keys() -> impl Iterator<Item = &'static Key> {
    SECTIONS.iter().copied().flatten()
}

/// The meaning of a path.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Lookup {
    Key(&'static Key),
    Section,
    Unknown,
}

/// Finds the key or the section of a path.
pub(crate) fn lookup(path: &[String]) -> Lookup {
    let mut found = Lookup::Unknown;
    for key in keys() {
        match key.parts_behind(path).map(|mut parts| parts.next()) {
            Some(None) => return Lookup::Key(key),
            Some(Some(_)) => found = Lookup::Section,
            None => {}
        }
    }
    found
}

/// The names that can follow a path, in the order of the keys; none below `databases`, where any
/// name can follow.
pub(crate) fn children(path: &[String]) -> Vec<&'static str> {
    let mut names = Vec::new();
    for name in keys().filter_map(|key| key.parts_behind(path)?.next()) {
        if name != "*" && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::value_type::RawValue;

    fn path(dotted: &str) -> Vec<String> {
        dotted.split('.').map(str::to_owned).collect()
    }

    #[test]
    fn a_path_leads_to_a_key_a_section_or_nowhere() {
        assert!(matches!(
            lookup(&path("sync.batch_size")),
            Lookup::Key(key) if key.path == "sync.batch_size"
        ));
        assert!(matches!(
            lookup(&path("databases.x.agents.columns.slug")),
            Lookup::Key(_)
        ));
        assert!(matches!(
            lookup(&path("databases.x.agents")),
            Lookup::Section
        ));
        assert!(matches!(
            lookup(&path("sync.batch_size.x")),
            Lookup::Unknown
        ));
        assert!(matches!(lookup(&path("sync.x")), Lookup::Unknown));
    }

    #[test]
    #[allow(clippy::unwrap_used)]
    fn every_default_and_every_example_is_a_value_of_its_type() {
        for key in keys() {
            let example = key.example();
            let value = toml::de::DeValue::parse(&example).unwrap();
            let value = RawValue::Typed(value.get_ref());
            assert!(key.value_type.accept(value).is_some(), "{}", key.path);
        }
    }

    #[test]
    fn no_two_keys_share_a_path() {
        let mut seen = std::collections::BTreeSet::new();
        assert!(keys().count() > 40);
        for key in keys() {
            assert!(seen.insert(key.path), "{}", key.path);
        }
    }
}
