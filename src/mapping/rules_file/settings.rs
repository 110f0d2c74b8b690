//! The type of a setting or of a field: its name, its range and its values.

use super::super::decimal::Decimal;
use super::super::kind::Kind;
use super::super::show::one_of;
use super::error::Mistakes;
use super::node::{Entries, Node};

/// The keys of a type.
pub(super) const KEYS: [&str; 4] = ["type", "min", "max", "values"];

/// The type that a node like `{ type = "number", min = 0, max = 2 }` declares; `None` if it is
/// mistaken.
pub(super) fn kind(node: &Node<'_>, mistakes: &mut Mistakes<'_>) -> Option<Kind> {
    let entries = node.table(mistakes)?;
    entries.only(&KEYS, mistakes);
    if entries.get("type").is_none() {
        mistakes.add(
            &node.at,
            format!("{}.type", node.path),
            one_of(&Kind::NAMES),
            "nothing",
        );
        return None;
    }
    declared(&entries, mistakes)
}

/// The type that the entries of a table declare, `type` among them; `None` if it is mistaken.
pub(super) fn declared(entries: &Entries<'_>, mistakes: &mut Mistakes<'_>) -> Option<Kind> {
    let name = entries.get("type")?;
    let (plain, has_range, has_values) = match name.text() {
        Some("number" | "integer") => (None, true, false),
        Some("text") => (Some(Kind::Text), false, true),
        Some("boolean") => (Some(Kind::Boolean), false, false),
        Some("json") => (Some(Kind::Json), false, false),
        _ => {
            let expected = one_of(&Kind::NAMES);
            mistakes.add(&name.value_at(), &name.path, expected, name.found());
            return None;
        }
    };
    let found = "one on another type";
    for (keys, fits, expected) in [
        (&["min", "max"][..], has_range, "a range on numbers only"),
        (&["values"], has_values, "a list of values on text only"),
    ] {
        let nodes = keys.iter().filter_map(|key| entries.get(key));
        for node in nodes.filter(|_| !fits) {
            mistakes.add(&node.at, &node.path, expected, found);
        }
    }
    match (plain, entries.get("values")) {
        (Some(Kind::Text), Some(node)) => texts(node, mistakes),
        (Some(plain), _) => Some(plain),
        (None, _) => number(entries, name.text() == Some("integer"), mistakes),
    }
}

/// A type with a list of its values.
fn texts(node: &Node<'_>, mistakes: &mut Mistakes<'_>) -> Option<Kind> {
    let items = node.items().unwrap_or_default();
    let texts: Option<Vec<_>> = items
        .iter()
        .map(|item| item.text().filter(|text| !text.is_empty()))
        .map(|text| text.map(str::to_owned))
        .collect();
    let texts = texts.filter(|texts| !texts.is_empty());
    if texts.is_none() {
        let expected = "a list of texts that are not empty";
        mistakes.add(&node.value_at(), &node.path, expected, node.found());
    }
    texts.map(Kind::OneOf)
}

fn number(entries: &Entries<'_>, is_integer: bool, mistakes: &mut Mistakes<'_>) -> Option<Kind> {
    let mut bound = |name| {
        let Some(node) = entries.get(name) else {
            return Some(None);
        };
        let text = node.json().filter(|text| Decimal::parse(text).is_some());
        if text.is_none() {
            mistakes.add(
                &node.value_at(),
                &node.path,
                "a decimal number",
                node.found(),
            );
        }
        text.map(Some)
    };
    let (min, max) = (bound("min"), bound("max"));
    let (min, max) = (min?, max?);
    let value = |text: &Option<String>| text.as_deref().and_then(Decimal::parse);
    if let (Some(least), Some(most), Some(node)) = (value(&min), value(&max), entries.get("max"))
        && least > most
    {
        let at_least = format!(
            "a max of at least the min, {}",
            min.as_deref().unwrap_or("")
        );
        mistakes.add(&node.value_at(), &node.path, at_least, node.found());
        return None;
    }
    Some(if is_integer {
        Kind::Integer { min, max }
    } else {
        Kind::Number { min, max }
    })
}
