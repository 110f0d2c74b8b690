//! A section of a rules file: the settings that name its provider, the names of its providers, and
//! their rules.

use std::collections::{BTreeMap, BTreeSet};

use super::Reader;
use super::node::{Entries, Node};
use crate::mapping::kind::Kind;
use crate::mapping::path::Path;
use crate::mapping::rules::{Rule, Section, normal};
use crate::mapping::show::{quoted, shorten};

/// The keys of a section, of the rule of a provider, and of that of any other provider.
pub(super) const KEYS: [&str; 4] = ["provider_from", "placeholders", "providers", "other"];
pub(super) const PROVIDER_KEYS: [&str; 2] = ["fields", "aliases"];
pub(super) const OTHER_KEYS: [&str; 2] = ["fields", "warn"];

impl Reader<'_> {
    pub(super) fn section(&mut self, node: &Node<'_>) -> Section {
        let mut section = Section {
            name: self.name(node),
            provider_from: Vec::new(),
            placeholders: BTreeSet::new(),
            providers: BTreeMap::new(),
            names: BTreeMap::new(),
            other: Rule::new(),
            warn: false,
        };
        let Some(entries) = node.table(&mut self.mistakes) else {
            return section;
        };
        entries.only(&KEYS, &mut self.mistakes);
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
        self.providers(&entries, &mut section);
        if let Some(list) = entries.get("placeholders") {
            section.placeholders = self.placeholders(list, &section);
        }
        if let Some(other) = entries.get("other") {
            section.other = self.rule(other, &OTHER_KEYS);
            if let Some(warn) = other.child("warn") {
                section.warn = warn.boolean(&mut self.mistakes).unwrap_or(false);
            }
        }
        section
    }

    fn provider_from(&mut self, node: &Node<'_>, expected: &str) -> Vec<Path> {
        let items = node.items();
        if items.as_ref().is_none_or(Vec::is_empty) {
            self.mistakes
                .add(&node.value_at(), &node.path, expected, node.found());
        }
        let mut names = Vec::new();
        for item in items.unwrap_or_default() {
            if let Some(name) = self.setting(&item) {
                let fits = |kind: &Kind| matches!(kind, Kind::Text | Kind::OneOf(_));
                if let Some(kind) = self.kind(&name).filter(|&kind| !fits(kind)) {
                    let found = format!("one that holds {}", kind.expected());
                    self.mistakes
                        .add(&item.at, &item.path, "a setting that holds text", found);
                }
                names.push(name);
            }
        }
        names
    }

    /// The values that name no provider while a later setting does.
    fn placeholders(&mut self, node: &Node<'_>, section: &Section) -> BTreeSet<String> {
        let expected = "a list of values that name no provider, like [\"livekit\"]";
        let texts = self.texts(node, expected);
        if section.provider_from.len() == 1 && !texts.is_empty() {
            self.mistakes.add(
                &node.at,
                &node.path,
                "placeholders only where provider_from lists several settings",
                "one setting",
            );
        }
        for (text, item) in &texts {
            let name = section.canonical(text);
            if normal(name) != normal(text) {
                let expected = "a value that is no alias of a provider";
                let found = format!("an alias of {name}");
                self.mistakes.add(&item.at, &item.path, expected, found);
            }
        }
        texts
            .iter()
            .map(|(text, _)| normal(text).into_owned())
            .collect()
    }

    /// The providers with their rules, and the names that each is known by.
    fn providers(&mut self, entries: &Entries<'_>, section: &mut Section) {
        let nodes = entries
            .get("providers")
            .map(|node| node.entries(&mut self.mistakes))
            .unwrap_or_default();
        // The names come first: an alias must not be the name of a later provider either.
        for node in &nodes {
            let name = self.name(node);
            self.known_as(section, &name, &name, (&node.at, &node.path));
        }
        for node in &nodes {
            if let Some(aliases) = node.child("aliases") {
                let expected = "a list of further names, like [\"11labs\"]";
                for (alias, item) in self.texts(&aliases, expected) {
                    self.known_as(section, alias, node.name, (&item.at, &item.path));
                }
            }
            let rule = self.rule(node, &PROVIDER_KEYS);
            section.providers.insert(node.name.to_owned(), rule);
        }
    }

    /// Notes a name of a provider. It must not be one of another provider.
    fn known_as(
        &mut self,
        section: &mut Section,
        name: &str,
        provider: &str,
        (at, path): (&std::ops::Range<usize>, &str),
    ) {
        let form = normal(name).into_owned();
        if let Some(known) = section.names.get(&form) {
            let shown = quoted(&shorten(known, 64));
            let expected = if known == provider {
                "a name that the provider does not have yet"
            } else {
                "a name that no other provider has"
            };
            let found = format!("a name of {shown}");
            self.mistakes.add(at, path, expected, found);
        } else if !form.is_empty() {
            section.names.insert(form, provider.to_owned());
        }
    }
}
