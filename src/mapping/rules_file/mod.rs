//! The reader of a rules file: TOML text → [`Rules`], or every mistake in it (M9). The rules that
//! agent-sync comes with are read in the same way.
//!
//! It walks the document with its spans instead of deserializing it, because an operator who edits
//! the file wants to see all mistakes at once, each with its line. The format is explained at the
//! top of `config/providers.toml`. Rules that come out of here are consistent: the rest of the
//! mapping does not check them again.

mod error;
mod node;
mod settings;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::LazyLock;

use toml::de::DeTable;

pub use self::error::{RulesError, RulesMistake};

use self::error::Mistakes;
use self::node::{Entries, Node};
use super::json;
use super::kind::Kind;
use super::rules::{Field, PROVIDER, Rule, Rules, Section};
use crate::columns::{Column, Content, MappedColumn as _};

/// The file that the rules come from when no other is configured.
const EMBEDDED: &str = include_str!("../../../config/providers.toml");

/// Far more than any honest rules file; it keeps a wrong path in the settings from being read for
/// long.
const MAX_SIZE: usize = 256 * 1024;

/// The most syntax errors that are reported: after a few the rest are echoes.
const MAX_SYNTAX_ERRORS: usize = 10;

impl Rules {
    /// The rules that agent-sync comes with.
    ///
    /// # Panics
    /// Never: a test reads the file, which is part of the binary.
    pub fn embedded() -> &'static Self {
        static RULES: LazyLock<Rules> = LazyLock::new(|| match Rules::parse(EMBEDDED) {
            Ok(rules) => rules,
            Err(error) => unreachable!("config/providers.toml: {error}"),
        });
        &RULES
    }

    /// Reads a rules file, and reports every mistake in it, not only the first.
    pub fn parse(text: &str) -> Result<Self, RulesError> {
        let mut mistakes = Mistakes::of(text);
        if text.len() > MAX_SIZE {
            mistakes.add(
                &(0..0),
                "",
                format!("at most {MAX_SIZE} bytes"),
                format!("{} bytes", text.len()),
            );
            return Err(mistakes.into_error());
        }
        let (document, errors) = DeTable::parse_recoverable(text);
        for error in errors.iter().take(MAX_SYNTAX_ERRORS) {
            mistakes.add(
                &error.span().unwrap_or(0..0),
                "",
                "TOML",
                error.message().replace('\n', ", "),
            );
        }
        if !errors.is_empty() {
            return Err(mistakes.into_error());
        }
        let mut reader = Reader {
            mistakes,
            settings: BTreeMap::new(),
            read: Vec::new(),
        };
        let rules = reader.document(document.get_ref());
        if reader.mistakes.is_empty() {
            Ok(rules)
        } else {
            Err(reader.mistakes.into_error())
        }
    }
}

/// One pass over a document.
struct Reader<'t> {
    mistakes: Mistakes<'t>,
    /// The declared settings; `None` where the declaration is mistaken, so that nothing follows
    /// from it.
    settings: BTreeMap<String, Option<Kind>>,
    /// The settings that some rule or column reads.
    read: Vec<String>,
}

impl Reader<'_> {
    fn document(&mut self, document: &DeTable<'_>) -> Rules {
        let (settings, sections): (Vec<_>, Vec<_>) = Entries::of(document, "")
            .into_iter()
            .partition(|node| node.name == "settings");
        // The types come first, wherever they stand: the defaults of fields are checked against
        // them.
        let settings: Vec<_> = settings
            .iter()
            .flat_map(|node| node.entries(&mut self.mistakes))
            .collect();
        for node in &settings {
            self.settings.insert(
                node.name.to_owned(),
                settings::kind(node, &mut self.mistakes),
            );
        }
        for (column, setting) in Column::from_settings() {
            let is_number = column.content() == Content::Number;
            let expected = if is_number { "a number" } else { "text" };
            self.column(setting, &settings, expected, |kind| {
                if is_number {
                    matches!(kind, Kind::Number { .. })
                } else {
                    *kind == Kind::Text
                }
            });
        }

        if sections.is_empty() {
            self.mistakes
                .add(&(0..0), "", "at least one section, like [llm]", "none");
        }
        let sections: Vec<_> = sections.iter().map(|node| self.section(node)).collect();

        for node in settings {
            if !self.read.iter().any(|name| name == node.name) {
                let found = "a name that none reads";
                self.mistakes.add(
                    &node.at,
                    &node.path,
                    "the name of a setting that some field reads",
                    found,
                );
            }
        }
        let settings = std::mem::take(&mut self.settings);
        Rules {
            settings: settings
                .into_iter()
                .filter_map(|(name, kind)| Some((name, kind?)))
                .collect(),
            sections,
        }
    }

    /// A setting that goes to a column of M1 must be of the type of that column.
    fn column(
        &mut self,
        name: &str,
        nodes: &[Node<'_>],
        expected: &str,
        fits: impl Fn(&Kind) -> bool,
    ) {
        self.read.push(name.to_owned());
        let expected = format!("{expected}, because it goes to the column {name}");
        let Some(kind) = self
            .kind(name)
            .filter(|kind| !fits(kind))
            .map(Kind::expected)
        else {
            return;
        };
        match nodes.iter().find(|node| node.name == name) {
            Some(node) => self.mistakes.add(&node.at, &node.path, expected, kind),
            None => self
                .mistakes
                .add(&(0..0), format!("settings.{name}"), expected, "nothing"),
        }
    }

    fn section(&mut self, node: &Node<'_>) -> Section {
        let mut section = Section {
            name: self.name(node),
            provider_from: Vec::new(),
            providers: BTreeMap::new(),
            other: Rule::new(),
            warn: false,
        };
        let Some(entries) = node.table(&mut self.mistakes) else {
            return section;
        };
        entries.only(&["provider_from", "providers", "other"], &mut self.mistakes);
        let expected = "a list of the settings that may name the provider, like [\"llm_provider\"]";
        match entries.get("provider_from") {
            Some(list) => section.provider_from = self.provider_from(list, expected),
            None => self.mistakes.add(
                &node.at,
                format!("{}.provider_from", node.path),
                expected,
                "nothing",
            ),
        }
        let providers = entries
            .get("providers")
            .map(|node| node.entries(&mut self.mistakes));
        for provider in providers.unwrap_or_default() {
            let name = self.name(&provider);
            let rule = self.rule(&provider, &["fields"]);
            section.providers.insert(name, rule);
        }
        if let Some(other) = entries.get("other") {
            section.other = self.rule(other, &["fields", "warn"]);
            if let Some(warn) = other.child("warn") {
                section.warn = warn.boolean(&mut self.mistakes).unwrap_or(false);
            }
        }
        section
    }

    fn provider_from(&mut self, node: &Node<'_>, expected: &str) -> Vec<String> {
        let items = node.items();
        if items.as_ref().is_none_or(Vec::is_empty) {
            self.mistakes
                .add(&node.value_at(), &node.path, expected, node.found());
        }
        let mut names = Vec::new();
        for item in items.unwrap_or_default() {
            if let Some(name) = self.setting(&item) {
                if let Some(kind) = self.kind(&name).filter(|&kind| *kind != Kind::Text) {
                    let found = format!("one that holds {}", kind.expected());
                    self.mistakes
                        .add(&item.at, &item.path, "a setting that holds text", found);
                }
                names.push(name);
            }
        }
        names
    }

    fn rule(&mut self, node: &Node<'_>, allowed: &[&str]) -> Rule {
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
        fields.iter().filter_map(|node| self.field(node)).collect()
    }

    fn field(&mut self, node: &Node<'_>) -> Option<Field> {
        let name = self.name(node);
        if name == PROVIDER {
            let expected = "the name of another field, as provider is always written";
            self.mistakes.add(&node.at, &node.path, expected, PROVIDER);
        }
        if !node.is_table() {
            let from = self.setting(node)?;
            return Some(Field {
                name,
                from,
                default: None,
            });
        }
        let entries = node.table(&mut self.mistakes)?;
        entries.only(&["from", "default"], &mut self.mistakes);
        let Some(from) = entries.get("from") else {
            self.mistakes.add(
                &node.at,
                format!("{}.from", node.path),
                "the name of a setting",
                "nothing",
            );
            return None;
        };
        let from = self.setting(from)?;
        let default = entries
            .get("default")
            .and_then(|node| self.default(node, &from));
        Some(Field {
            name,
            from,
            default,
        })
    }

    /// The JSON text of a default, if it is what its setting may hold.
    fn default(&mut self, node: &Node<'_>, setting: &str) -> Option<String> {
        let kind = self.kind(setting)?.clone();
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

    /// The key of a node, where it becomes a name in JSON or is compared with one.
    fn name(&mut self, node: &Node<'_>) -> String {
        self.checked_name(node.name, &node.at, &node.path)
    }

    /// The name of a setting, which from now on counts as read.
    fn setting(&mut self, node: &Node<'_>) -> Option<String> {
        let Some(name) = node.text() else {
            self.mistakes.add(
                &node.value_at(),
                &node.path,
                "the name of a setting",
                node.found(),
            );
            return None;
        };
        let name = self.checked_name(name, &node.value_at(), &node.path);
        self.read.push(name.clone());
        Some(name)
    }

    fn checked_name(&mut self, name: &str, at: &Range<usize>, path: &str) -> String {
        if name.trim().is_empty() {
            self.mistakes.add(at, path, "a name", "an empty one");
        } else if name.contains('\0') {
            self.mistakes.add(
                at,
                path,
                "a name that PostgreSQL can store",
                "one with the character NUL",
            );
        }
        name.to_owned()
    }

    /// The type of a setting; `None` if there is no telling because its declaration is mistaken.
    fn kind(&self, setting: &str) -> Option<&Kind> {
        self.settings
            .get(setting)
            .map_or(Some(&Kind::Text), Option::as_ref)
    }
}
