//! A TOML value with its name, its path and its place, and the questions a reader asks of it.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::super::json;
use super::super::show::{one_of, quoted, shorten, toml_key};
use super::error::Mistakes;

/// A value and where it stands.
pub(super) struct Node<'d> {
    /// The key, or for the item of a list nothing.
    pub(super) name: &'d str,
    /// The keys that lead here.
    pub(super) path: String,
    /// The place of the key, or for the item of a list of the item.
    pub(super) at: Range<usize>,
    value: &'d Spanned<DeValue<'d>>,
}

/// The entries of a table in the order of the file.
pub(super) struct Entries<'d> {
    nodes: Vec<Node<'d>>,
}

impl<'d> Entries<'d> {
    pub(super) fn of(table: &'d DeTable<'d>, path: &str) -> Self {
        let mut nodes: Vec<_> = table
            .iter()
            .map(|(key, value)| {
                let name: &str = key.get_ref();
                let dot = if path.is_empty() { "" } else { "." };
                let path = format!("{path}{dot}{}", toml_key(&shorten(name, 64)));
                Node {
                    name,
                    path,
                    at: key.span(),
                    value,
                }
            })
            .collect();
        nodes.sort_by_key(|node| node.at.start);
        Self { nodes }
    }

    pub(super) fn get(&self, name: &str) -> Option<&Node<'d>> {
        self.nodes.iter().find(|node| node.name == name)
    }

    /// Refuses keys that mean nothing here.
    pub(super) fn only(&self, allowed: &[&str], mistakes: &mut Mistakes<'_>) {
        for node in self
            .nodes
            .iter()
            .filter(|node| !allowed.contains(&node.name))
        {
            mistakes.add(&node.at, &node.path, one_of(allowed), "an unknown key");
        }
    }
}

impl<'d> IntoIterator for Entries<'d> {
    type Item = Node<'d>;
    type IntoIter = std::vec::IntoIter<Node<'d>>;

    fn into_iter(self) -> Self::IntoIter {
        self.nodes.into_iter()
    }
}

impl<'d> Node<'d> {
    pub(super) fn is_table(&self) -> bool {
        self.value.get_ref().is_table()
    }

    /// The entries of a table; anything else is a mistake.
    pub(super) fn table(&self, mistakes: &mut Mistakes<'_>) -> Option<Entries<'d>> {
        let table = self.value.get_ref().as_table();
        if table.is_none() {
            mistakes.add(&self.value_at(), &self.path, "a table", self.found());
        }
        table.map(|table| Entries::of(table, &self.path))
    }

    /// The entries of a table; none if it is something else, which is a mistake.
    pub(super) fn entries(&self, mistakes: &mut Mistakes<'_>) -> Vec<Node<'d>> {
        self.table(mistakes).into_iter().flatten().collect()
    }

    /// One entry of a table, if it is one.
    pub(super) fn child(&self, name: &str) -> Option<Node<'d>> {
        let table = self.value.get_ref().as_table()?;
        Entries::of(table, &self.path)
            .into_iter()
            .find(|node| node.name == name)
    }

    /// The items of a list, with paths like `llm.provider_from[0]`.
    pub(super) fn items(&self) -> Option<Vec<Self>> {
        let items = self.value.get_ref().as_array()?.iter().enumerate();
        Some(
            items
                .map(|(index, value)| Self {
                    name: "",
                    path: format!("{}[{index}]", self.path),
                    at: value.span(),
                    value,
                })
                .collect(),
        )
    }

    pub(super) fn text(&self) -> Option<&'d str> {
        self.value.get_ref().as_str()
    }

    /// A boolean; anything else is a mistake.
    pub(super) fn boolean(&self, mistakes: &mut Mistakes<'_>) -> Option<bool> {
        let boolean = self.value.get_ref().as_bool();
        if boolean.is_none() {
            mistakes.add(&self.value_at(), &self.path, "true or false", self.found());
        }
        boolean
    }

    /// The JSON text of a string, a decimal number or a boolean.
    pub(super) fn json(&self) -> Option<String> {
        let number = |text: &str| {
            let text = text.strip_prefix('+').unwrap_or(text);
            text.ends_with(|c: char| c.is_ascii_digit())
                .then(|| text.to_owned())
        };
        match self.value.get_ref() {
            DeValue::String(text) => Some(json::quote(text)),
            DeValue::Integer(integer) if integer.radix() == 10 => number(integer.as_str()),
            DeValue::Float(float) => number(float.as_str()),
            DeValue::Boolean(boolean) => Some(boolean.to_string()),
            _ => None,
        }
    }

    /// The place of the value.
    pub(super) fn value_at(&self) -> Range<usize> {
        self.value.span()
    }

    /// The found value, in words. The file is the operator's own and holds no secret, so its
    /// strings are quoted.
    pub(super) fn found(&self) -> String {
        match self.value.get_ref() {
            DeValue::String(text) => quoted(&shorten(text, 64)),
            DeValue::Integer(integer) => {
                format!("the number {}", shorten(&integer.to_string(), 40))
            }
            DeValue::Float(float) => format!("the number {}", shorten(float.as_str(), 40)),
            DeValue::Boolean(boolean) => boolean.to_string(),
            DeValue::Datetime(_) => "a date".to_owned(),
            DeValue::Array(items) if items.is_empty() => "an empty list".to_owned(),
            DeValue::Array(_) => "a list".to_owned(),
            DeValue::Table(_) => "a table".to_owned(),
        }
    }
}
