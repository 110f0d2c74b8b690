//! A field of a configuration that differs, and its form in JSON.

use serde::ser::{Error as _, SerializeMap};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::columns::{Column, MappedColumn as _};

/// The content of a field, as far as it may be shown.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Value {
    /// The JSON text of it.
    Json(String),
    /// How many characters it has.
    Length(u32),
    /// A description in words.
    Described(String),
}

/// One field that differs. What is `None` is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The column of `agent_configurations`.
    pub column: Column,
    /// Where in its JSON: `tts.voice_id` in `provider_config`.
    pub inside: Option<String>,
    /// The present value.
    pub current: Option<Value>,
    /// The value of the mapping.
    pub expected: Option<Value>,
}

impl Value {
    /// Writes it into an object of JSON: the very value under its name, number by digit; a value
    /// that may not be shown as a description, under a name that says so.
    fn write<M: SerializeMap>(&self, object: &mut M, name: &str) -> Result<(), M::Error> {
        match self {
            Self::Json(raw) => {
                let raw: &RawValue = serde_json::from_str(raw).map_err(M::Error::custom)?;
                object.serialize_entry(name, raw)
            }
            Self::Length(length) => object.serialize_entry(&format!("{name}_characters"), length),
            Self::Described(what) => object.serialize_entry(&format!("{name}_is"), what),
        }
    }
}

/// Fields by their path, as an object of JSON.
#[derive(Debug)]
pub struct Fields<'a>(pub &'a [(String, Value)]);

impl Serialize for Fields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(None)?;
        for (path, value) in self.0 {
            value.write(&mut object, path)?;
        }
        object.end()
    }
}

impl Serialize for Difference {
    /// An absent value has no key.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(None)?;
        object.serialize_entry("path", &self.path())?;
        for (value, name) in [(&self.current, "current"), (&self.expected, "expected")] {
            if let Some(value) = value {
                value.write(&mut object, name)?;
            }
        }
        object.end()
    }
}

impl Difference {
    /// Column and place in it: `provider_config.tts.voice_id`.
    pub fn path(&self) -> String {
        path(self.column.name(), self.inside.as_deref())
    }
}

pub(super) fn path(column: &str, inside: Option<&str>) -> String {
    inside.map_or_else(|| column.to_owned(), |inside| format!("{column}.{inside}"))
}
