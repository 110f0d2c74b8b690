//! All sources over one another, merged by the `config` crate; every value keeps the origin it had
//! in its source.

use config::{Config, Value, ValueKind};
use serde::Deserialize;

use super::layer::{DEFAULT, Layer};
use super::problem::Problem;

/// All layers over one another.
pub(crate) struct Merged(pub(crate) Value);

impl Merged {
    pub(crate) fn of<'a>(layers: impl Iterator<Item = &'a Layer>) -> Self {
        let builder = layers.fold(Config::builder(), |builder, layer| {
            builder.add_source(layer.clone())
        });
        // Layers are tables of tables under names of the schema, so there is nothing here that
        // could fail.
        Self(builder.build().unwrap_or_default().cache)
    }

    pub(crate) fn get(&self, dotted: &str) -> Option<&Value> {
        dotted
            .split('.')
            .try_fold(&self.0, |value, part| match &value.kind {
                ValueKind::Table(table) => table.get(part),
                _ => None,
            })
    }

    pub(crate) fn text(&self, dotted: &str) -> Option<&str> {
        match &self.get(dotted)?.kind {
            ValueKind::String(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn origin(&self, dotted: &str) -> String {
        self.get(dotted)
            .and_then(Value::origin)
            .unwrap_or(DEFAULT)
            .to_owned()
    }
}

/// Deserializes a part of the settings. The schema has let everything through, so a failure is a
/// defect of the program, of which nothing is quoted, because the value may be a secret.
pub(crate) fn read<'de, T: Deserialize<'de>>(
    value: &Value,
    problems: &mut Vec<Problem>,
) -> Option<T> {
    let result = value.clone().try_deserialize();
    if result.is_err() {
        problems.push(Problem::new(
            "",
            "agent-sync",
            "has keys in its schema that its settings do not have",
        ));
    }
    result.ok()
}
