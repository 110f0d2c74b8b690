//! The table `[settings]` of a rules file: the type and the range of one setting.

use super::super::decimal::Decimal;
use super::super::kind::Kind;
use super::error::Mistakes;
use super::node::{Entries, Node, one_of};

/// The type that a node like `{ type = "number", min = 0, max = 2 }` declares; `None` if it is
/// mistaken.
pub(super) fn kind(node: &Node<'_>, mistakes: &mut Mistakes<'_>) -> Option<Kind> {
    if node.name.trim().is_empty() {
        mistakes.add(&node.at, &node.path, "a name", "an empty one");
    }
    let entries = node.table(mistakes)?;
    entries.only(&["type", "min", "max"], mistakes);
    let Some(kind) = entries.get("type") else {
        mistakes.add(
            &node.at,
            format!("{}.type", node.path),
            one_of(&Kind::NAMES),
            "nothing",
        );
        return None;
    };
    let plain = match kind.text() {
        Some("number") => return number(&entries, mistakes),
        Some("text") => Kind::Text,
        Some("boolean") => Kind::Boolean,
        Some("json") => Kind::Json,
        _ => {
            mistakes.add(
                &kind.value_at(),
                &kind.path,
                one_of(&Kind::NAMES),
                kind.found(),
            );
            return None;
        }
    };
    for bound in ["min", "max"]
        .into_iter()
        .filter_map(|name| entries.get(name))
    {
        mistakes.add(
            &bound.at,
            &bound.path,
            "a range on numbers only",
            "one on another type",
        );
    }
    Some(plain)
}

fn number(entries: &Entries<'_>, mistakes: &mut Mistakes<'_>) -> Option<Kind> {
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
    Some(Kind::Number { min, max })
}
