//! The reader of a rules file: TOML text → [`Rules`], or every mistake in it (M9). The rules that
//! agent-sync comes with are read in the same way.
//!
//! It walks the document with its spans instead of deserializing it, because an operator who edits
//! the file wants to see all mistakes at once, each with its line. The format is explained at the
//! top of `config/providers.toml`. Rules that come out of here are consistent: the rest of the
//! mapping does not check them again.

mod error;
mod field;
mod node;
mod schema;
mod section;
mod settings;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::LazyLock;

use toml::de::DeTable;

pub use self::error::{RulesError, RulesMistake};

use self::error::Mistakes;
use self::node::{Entries, Node};
use super::kind::Kind;
use super::path::Path;
use super::rules::Rules;
use crate::columns::{Column, Content, MappedColumn as _};

/// The file that the rules come from when no other is configured.
const EMBEDDED: &str = include_str!("../../../config/providers.toml");

/// The file with the settings that providers have today.
const EXTENDED: &str = include_str!("../../../config/providers.extended.toml");

/// Far more than any honest rules file; it keeps a wrong path in the settings from being read for
/// long.
const MAX_SIZE: usize = 256 * 1024;

/// The most syntax errors that are reported: after a few the rest are echoes.
const MAX_SYNTAX_ERRORS: usize = 10;

impl Rules {
    /// The text of the rules that agent-sync comes with.
    pub const EMBEDDED: &'static str = EMBEDDED;

    /// The text of the second rules file that agent-sync comes with, for a start of one's own.
    pub const EXTENDED: &'static str = EXTENDED;

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

    /// The JSON Schema of a rules file.
    pub fn schema() -> serde_json::Value {
        schema::schema()
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
    settings: BTreeMap<Path, Option<Kind>>,
    /// The settings that some rule or column reads.
    read: Vec<Path>,
}

impl Reader<'_> {
    fn document(&mut self, document: &DeTable<'_>) -> Rules {
        let (settings, sections): (Vec<_>, Vec<_>) = Entries::of(document, "")
            .into_iter()
            .partition(|node| node.name == "settings");
        // The types come first, wherever they stand: the defaults of fields are checked against
        // them.
        let (ignored, settings): (Vec<_>, Vec<_>) = settings
            .iter()
            .flat_map(|node| node.entries(&mut self.mistakes))
            .partition(|node| node.name == "ignore" && !node.is_table());
        let mut declared = Vec::new();
        for node in settings {
            let kind = settings::kind(&node, &mut self.mistakes);
            let path = self.path(node.name, &node.at, &node.path);
            self.settings.insert(path.clone(), kind);
            declared.push((path, node));
        }
        for (column, setting) in Column::from_settings() {
            let is_number = column.content() == Content::Number;
            let expected = if is_number { "a number" } else { "text" };
            self.column(setting, &declared, expected, |kind| {
                if is_number {
                    matches!(kind, Kind::Number { .. } | Kind::Integer { .. })
                } else {
                    matches!(kind, Kind::Text | Kind::OneOf(_))
                }
            });
        }
        let ignored = ignored.iter().flat_map(|node| self.ignored(node)).collect();

        if sections.is_empty() {
            self.mistakes
                .add(&(0..0), "", "at least one section, like [llm]", "none");
        }
        let sections: Vec<_> = sections.iter().map(|node| self.section(node)).collect();

        for (path, node) in declared {
            if !self.read.contains(&path) {
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
            ignored,
            sections,
        }
    }

    /// A setting that goes to a column of M1 must be of the type of that column.
    fn column(
        &mut self,
        name: &str,
        declared: &[(Path, Node<'_>)],
        expected: &str,
        fits: impl Fn(&Kind) -> bool,
    ) {
        let path = Path::of(name);
        self.read.push(path.clone());
        let expected = format!("{expected}, because it goes to the column {name}");
        let Some(kind) = self
            .kind(&path)
            .filter(|kind| !fits(kind))
            .map(Kind::expected)
        else {
            return;
        };
        match declared.iter().find(|(own, _)| *own == path) {
            Some((_, node)) => self.mistakes.add(&node.at, &node.path, expected, kind),
            None => self
                .mistakes
                .add(&(0..0), format!("settings.{name}"), expected, "nothing"),
        }
    }

    /// The list of the settings that no report names.
    fn ignored(&mut self, node: &Node<'_>) -> Vec<Path> {
        let expected = "a list of settings, like [\"description\"]";
        let items = self.texts(node, expected);
        items
            .iter()
            .map(|(text, item)| self.path(text, &item.value_at(), &item.path))
            .collect()
    }

    /// The texts of a list, each with its place. Another value, or an item that is no text, is a
    /// mistake.
    fn texts<'d>(&mut self, node: &Node<'d>, expected: &str) -> Vec<(&'d str, Node<'d>)> {
        let Some(items) = node.items() else {
            self.mistakes
                .add(&node.value_at(), &node.path, expected, node.found());
            return Vec::new();
        };
        let mut texts = Vec::new();
        for item in items {
            match item.text() {
                Some(text) if !text.trim().is_empty() => texts.push((text, item)),
                Some(_) => self
                    .mistakes
                    .add(&item.at, &item.path, "a name", "an empty one"),
                None => self
                    .mistakes
                    .add(&item.at, &item.path, "a name", item.found()),
            }
        }
        texts
    }

    /// The key of a node, where it becomes a name in JSON or is compared with one.
    fn name(&mut self, node: &Node<'_>) -> String {
        self.check_name(node.name, &node.at, &node.path);
        node.name.to_owned()
    }

    /// The name of a setting, which from now on counts as read.
    fn setting(&mut self, node: &Node<'_>) -> Option<Path> {
        let Some(name) = node.text() else {
            self.mistakes.add(
                &node.value_at(),
                &node.path,
                "the name of a setting",
                node.found(),
            );
            return None;
        };
        let path = self.path(name, &node.value_at(), &node.path);
        self.read.push(path.clone());
        Some(path)
    }

    /// The place that a name stands for. A mistaken one is noted, and taken as a single key.
    fn path(&mut self, name: &str, at: &Range<usize>, path: &str) -> Path {
        self.check_name(name, at, path);
        Path::parse(name).unwrap_or_else(|found| {
            if !name.trim().is_empty() {
                self.mistakes
                    .add(at, path, "names joined by dots, 8 at most", found);
            }
            Path::of(name)
        })
    }

    fn check_name(&mut self, name: &str, at: &Range<usize>, path: &str) {
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
    }

    /// The type of a setting; `None` if there is no telling because its declaration is mistaken.
    fn kind(&self, setting: &Path) -> Option<&Kind> {
        self.settings
            .get(setting)
            .map_or(Some(&Kind::Text), Option::as_ref)
    }
}
