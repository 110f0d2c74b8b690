//! The settings of one source: checked against the schema on the way in, and merged by the `config`
//! crate.
//!
//! Every value carries its origin, so that whatever is wrong, or in force, can be traced to a line
//! or a variable. A value that does not fit is a problem even where a later source overrides it: it
//! would come back the day that source goes.

use std::collections::BTreeMap;

use config::{ConfigError, Map, Source, Value, ValueKind};

use super::bases::Bases;
use super::kind::{Given, Kind};
use super::problem::{Problem, is_withheld, shown};
use super::schema::{self, Default, KEYS, Key, Place};
use super::suggest;

/// The origin of built-in values.
pub(crate) const DEFAULT: &str = "default";

/// What the origin of a variable starts with.
const VARIABLE: &str = "environment variable ";

/// The origin of a value that comes from an environment variable; its name, if nobody has put a
/// connection string there.
pub(crate) fn variable(name: &str) -> String {
    let name = if is_withheld(name) {
        "AGENT_SYNC__… (its name is not shown)"
    } else {
        name
    };
    format!("{VARIABLE}{name}")
}

/// The settings of one source.
#[derive(Clone, Default)]
pub(crate) struct Layer {
    values: Map<String, Value>,
    /// The databases that this source names, each with where it does so first.
    pub(crate) databases: BTreeMap<String, String>,
    pub(crate) problems: Vec<Problem>,
}

impl Layer {
    /// The built-in defaults: of the whole program, and of each of these databases.
    pub(crate) fn defaults<'a>(databases: impl IntoIterator<Item = &'a String>) -> Self {
        let names: Vec<_> = databases.into_iter().collect();
        let mut layer = Self::default();
        for key in KEYS {
            let value = match key.default {
                Default::Bool(value) => ValueKind::Boolean(value),
                Default::Integer(value) => ValueKind::I64(value),
                Default::Text(text) => ValueKind::String(text.to_owned()),
                Default::Unset(_) => continue,
            };
            if key.path.contains('*') {
                for name in &names {
                    layer.insert(&key.path.replace('*', name), value.clone(), DEFAULT);
                }
            } else {
                layer.insert(key.path, value, DEFAULT);
            }
        }
        layer
    }

    /// Says what a path leads to; reports it when it leads nowhere, or names a database in a way
    /// that cannot be.
    pub(crate) fn place(&mut self, path: &[String], origin: &str) -> Place {
        let place = schema::locate(path);
        if matches!(place, Place::Unknown) {
            let problem = Problem::new(named(path), origin, "is not a key that agent-sync knows");
            self.problems
                .push(problem.remedy(suggest::remedy(path, |path| spell(path, origin))));
        } else if let [first, name] = path
            && first == "databases"
        {
            return self.database(name, origin, place);
        }
        place
    }

    fn database(&mut self, name: &str, origin: &str, place: Place) -> Place {
        let fits = (1..=63).contains(&name.len())
            && name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b));
        if fits {
            self.databases
                .entry(name.to_owned())
                .or_insert_with(|| origin.to_owned());
            return place;
        }
        let expected = "1 to 63 of a-z, 0-9, `_` and `-` as the name of a database";
        self.problems.push(
            Problem::mismatch("databases", origin, expected, shown(name))
                .remedy("rename the database"),
        );
        Place::Unknown
    }

    /// Takes a value for a key, or reports why not.
    pub(crate) fn set(
        &mut self,
        path: &[String],
        key: &Key,
        given: Given<'_>,
        origin: &str,
        bases: Bases<'_>,
    ) {
        let dotted = path.join(".");
        match key.kind.check(given) {
            Ok(ValueKind::String(text)) if matches!(key.kind, Kind::Path | Kind::SecretFile) => {
                match bases
                    .resolve(key.kind, &text)
                    .into_os_string()
                    .into_string()
                {
                    Ok(text) => self.insert(&dotted, text.into(), origin),
                    Err(_) => {
                        self.problems.push(Problem::mismatch(
                            dotted,
                            origin,
                            "UTF-8",
                            "another encoding",
                        ));
                    }
                }
            }
            Ok(value) => self.insert(&dotted, value, origin),
            Err(mismatch) => {
                let problem = Problem::mismatch(&dotted, origin, mismatch.expected, mismatch.found);
                self.problems
                    .push(problem.remedy(example(path, key, origin)));
            }
        }
    }

    /// Reports a value where a table was expected.
    pub(crate) fn not_a_table(&mut self, path: &[String], origin: &str, found: &str) {
        let problem = Problem::mismatch(path.join("."), origin, "a table", found);
        let named = matches!(path, [first, key] if first == "databases" && matches!(locate_below(key), Place::Key(_)));
        self.problems.push(if named {
            let path = ["databases".to_owned(), "NAME".to_owned(), path[1].clone()];
            problem.remedy(format!("name the database: `{}`", spell(&path, origin)))
        } else {
            let known = schema::children(path);
            problem.remedy(if known.is_empty() {
                format!("write `[{}.NAME]`", path.join("."))
            } else {
                format!("known here: {}", known.join(", "))
            })
        });
    }

    /// The settings of one database, merged from all sources; empty where there are none.
    pub(crate) fn of_database(name: &str, settings: Option<Value>) -> Self {
        let mut layer = Self::default();
        if let Some(settings) = settings {
            layer.insert(&format!("databases.{name}"), settings.kind, DEFAULT);
        }
        layer
    }

    /// Whether another layer has the same values, wherever they come from.
    pub(crate) fn same_values(&self, other: &Self) -> bool {
        let [one, other] = [self, other].map(|layer| Value::new(None, layer.values.clone()));
        super::secrets::same(&one, &other)
    }

    /// Whether the source sets this key.
    pub(crate) fn has(&self, dotted: &str) -> bool {
        let mut parts = dotted.split('.');
        let first = parts.next().and_then(|part| self.values.get(part));
        parts
            .fold(first, |value, part| match &value?.kind {
                ValueKind::Table(table) => table.get(part),
                _ => None,
            })
            .is_some()
    }

    /// Takes a value that is known to fit.
    pub(crate) fn insert(&mut self, dotted: &str, kind: ValueKind, origin: &str) {
        let mut table = &mut self.values;
        let mut parts: Vec<_> = dotted.split('.').collect();
        let Some(last) = parts.pop() else { return };
        for part in parts {
            let next = table
                .entry(part.to_owned())
                .or_insert_with(|| Value::new(None, Map::<String, Value>::new()));
            let ValueKind::Table(inner) = &mut next.kind else {
                return;
            };
            table = inner;
        }
        table.insert(last.to_owned(), Value::new(Some(&origin.to_owned()), kind));
    }
}

/// A path that somebody made up. In quotes, TOML takes any text for a key, and such text is shown
/// with care.
fn named(path: &[String]) -> String {
    let plain = |part: &str| {
        part.bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
    };
    let parts = path.iter().map(|part| {
        if plain(part) {
            part.clone()
        } else {
            shown(part)
        }
    });
    parts.collect::<Vec<_>>().join(".")
}

/// What a key would be below a database.
fn locate_below(key: &str) -> Place {
    schema::locate(&["databases".to_owned(), "NAME".to_owned(), key.to_owned()])
}

/// A path in the notation of its source: dotted, or as the name of a variable.
fn spell(path: &[String], origin: &str) -> String {
    if origin.starts_with(VARIABLE) {
        let parts: Vec<_> = path.iter().map(|part| part.to_ascii_uppercase()).collect();
        format!("AGENT_SYNC__{}", parts.join("__"))
    } else {
        path.join(".")
    }
}

/// A value of the right kind, in the notation of the source that has a wrong one.
fn example(path: &[String], key: &Key, origin: &str) -> String {
    let example = key.example();
    if origin.starts_with(VARIABLE) {
        format!(
            "for example `{}={}`",
            spell(path, origin),
            example.trim_matches('"')
        )
    } else {
        format!(
            "for example `{} = {example}`",
            path.last().map_or("", String::as_str)
        )
    }
}

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        Ok(self.values.clone())
    }
}

// The values may hold secrets, so a layer prints none of them.
impl std::fmt::Debug for Layer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Layer").finish_non_exhaustive()
    }
}
