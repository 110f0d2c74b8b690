//! An independent JSON reader, by `serde_json` alone, to compare with the result of the mapping.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserializer as _;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;

/// The members of an object in their order, with duplicates; `None` for any other value, or if a
/// key is no valid text.
pub fn members(raw: &str) -> Option<Vec<(String, String)>> {
    struct Members;
    impl<'de> Visitor<'de> for Members {
        type Value = Vec<(String, String)>;

        fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
            out.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut members = Vec::new();
            while let Some((key, value)) = map.next_entry::<String, Box<RawValue>>()? {
                members.push((key, value.get().to_owned()));
            }
            Ok(members)
        }
    }
    let mut deserializer = serde_json::Deserializer::from_str(raw);
    let members = deserializer.deserialize_map(Members).ok()?;
    deserializer.end().ok().map(|()| members)
}

/// The object in a column, after any number of decodings (T4).
pub fn object(column: Option<&str>) -> Option<Vec<(String, String)>> {
    let mut text = column?.to_owned();
    while let Ok(inner) = serde_json::from_str::<String>(&text) {
        text = inner;
    }
    members(&text)
}

/// The value of a key: the last one of duplicates, like `jsonb`.
pub fn get<'a>(members: &'a [(String, String)], name: &str) -> Option<&'a str> {
    members
        .iter()
        .rev()
        .find(|(key, _)| key == name)
        .map(|(_, value)| &**value)
}

/// Whether every string in a value, keys included, is valid text.
pub fn is_text(raw: &str) -> bool {
    serde_json::from_str::<serde_json::Value>(raw).is_ok()
}

/// The text of a `jsonb` column after a write of this value: keys sorted by length first, the last
/// one of duplicates, no white space. Numbers stay as written.
pub fn jsonb(raw: &str) -> String {
    if let Some(members) = members(raw) {
        let sorted: BTreeMap<_, _> = members
            .iter()
            .map(|(key, value)| ((key.len(), key), jsonb(value)))
            .collect();
        let sorted: Vec<_> = sorted
            .into_iter()
            .map(|((_, key), value)| format!("{}: {value}", quote(key)))
            .collect();
        return format!("{{{}}}", sorted.join(", "));
    }
    if let Ok(items) = serde_json::from_str::<Vec<Box<RawValue>>>(raw) {
        let items: Vec<_> = items.iter().map(|item| jsonb(item.get())).collect();
        return format!("[{}]", items.join(", "));
    }
    serde_json::from_str::<String>(raw).map_or_else(|_| raw.trim().to_owned(), |text| quote(&text))
}

/// Every string in a value except keys, decoded.
pub fn strings(raw: &str, found: &mut Vec<String>) {
    match members(raw) {
        Some(members) => members.iter().for_each(|(_, value)| strings(value, found)),
        None => match serde_json::from_str::<Vec<Box<RawValue>>>(raw) {
            Ok(items) => items.iter().for_each(|item| strings(item.get(), found)),
            Err(_) => found.extend(serde_json::from_str::<String>(raw)),
        },
    }
}

fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
