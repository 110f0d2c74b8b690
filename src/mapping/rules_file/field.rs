//! The rule of a provider: its fields, each with its sources, its type and its default.

use super::Reader;
use super::node::{Entries, Node};
use super::settings;
use crate::mapping::json;
use crate::mapping::kind::Kind;
use crate::mapping::path::Path;
use crate::mapping::rules::{Field, PROVIDER, Rule};

/// The keys of a field beside those of its type.
pub(super) const KEYS: [&str; 2] = ["from", "default"];

impl Reader<'_> {
    pub(super) fn rule(&mut self, node: &Node<'_>, allowed: &[&str]) -> Rule {
        let Some(entries) = node.table(&mut self.mistakes) else {
            return Rule::new();
        };
        entries.only(allowed, &mut self.mistakes);
        let Some(fields) = entries.get("fields") else {
            let expected = "a table of fields; {} if there are none";
            self.mistakes.add(
                &node.at,
                format!("{}.fields", node.path),
                expected,
                "nothing",
            );
            return Rule::new();
        };
        let fields = fields.entries(&mut self.mistakes);
        let mut rule = Rule::new();
        for node in &fields {
            let Some(field) = self.field(node) else {
                continue;
            };
            let clashes =
                |own: &&Field| own.path.is_within(&field.path) || field.path.is_within(&own.path);
            if let Some(other) = rule.iter().find(clashes) {
                self.mistakes.add(
                    &node.at,
                    &node.path,
                    "a field beside the others",
                    format!("one that overlaps with the field {}", other.path),
                );
            }
            rule.push(field);
        }
        rule
    }

    fn field(&mut self, node: &Node<'_>) -> Option<Field> {
        let path = self.path(node.name, &node.at, &node.path);
        if path.first() == PROVIDER {
            let expected = "the name of another field, as provider is always written";
            let found = if path.is_nested() {
                "a place in it"
            } else {
                PROVIDER
            };
            self.mistakes.add(&node.at, &node.path, expected, found);
        }
        if !node.is_table() {
            return Some(Field {
                path,
                from: self.sources(node)?,
                kind: None,
                default: None,
            });
        }
        let entries = node.table(&mut self.mistakes)?;
        let allowed = [&KEYS[..], &settings::KEYS].concat();
        entries.only(&allowed, &mut self.mistakes);
        let Some(from) = entries.get("from") else {
            self.mistakes.add(
                &node.at,
                format!("{}.from", node.path),
                "the name of a setting",
                "nothing",
            );
            return None;
        };
        let from = self.sources(from)?;
        let kind = self.own_kind(&entries);
        if kind.is_none() && entries.get("type").is_some() {
            return None;
        }
        let default = entries
            .get("default")
            .and_then(|node| self.default(node, kind.as_ref(), &from));
        Some(Field {
            path,
            from,
            kind,
            default,
        })
    }

    /// The type of a field; `None` if it has none of its own, or that is mistaken.
    fn own_kind(&mut self, entries: &Entries<'_>) -> Option<Kind> {
        if entries.get("type").is_some() {
            return settings::declared(entries, &mut self.mistakes);
        }
        for node in settings::KEYS.iter().filter_map(|key| entries.get(key)) {
            let expected = "a type beside it, like type = \"number\"";
            self.mistakes.add(&node.at, &node.path, expected, "none");
        }
        None
    }

    /// The settings that a field takes: the name of one, or a list of names.
    fn sources(&mut self, node: &Node<'_>) -> Option<Vec<Path>> {
        let Some(items) = node.items() else {
            return self.setting(node).map(|name| vec![name]);
        };
        if items.is_empty() {
            let expected = "the name of a setting, or a list of names";
            self.mistakes
                .add(&node.value_at(), &node.path, expected, node.found());
            return None;
        }
        items.iter().map(|item| self.setting(item)).collect()
    }

    /// The JSON text of a default, if it is what the field may hold.
    fn default(&mut self, node: &Node<'_>, own: Option<&Kind>, from: &[Path]) -> Option<String> {
        let kind = match own {
            Some(kind) => kind.clone(),
            None => self.kind(from.first()?)?.clone(),
        };
        let Some(raw) = node.json() else {
            let expected = if kind == Kind::Json {
                "a string, a number, true or false".to_owned()
            } else {
                kind.expected()
            };
            self.mistakes
                .add(&node.value_at(), &node.path, expected, node.found());
            return None;
        };
        let accepted = if json::not_set(&raw) {
            Err("an empty string".to_owned())
        } else {
            kind.accept(&raw)
        };
        match accepted {
            Ok(value) => Some(value.into_owned()),
            Err(found) => {
                self.mistakes
                    .add(&node.value_at(), &node.path, kind.expected(), found);
                None
            }
        }
    }
}
