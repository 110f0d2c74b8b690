//! The rules: which voice setting goes where for which provider (M2, M6), as data.
//!
//! They come from `config/providers.toml`, embedded here, or from an operator's file of the same
//! form (M9). The reader is in [`super::rules_file`]; rules that got past it are consistent, and
//! nothing is checked again.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::kind::Kind;
use super::path::{Path, Place};
use crate::columns::Column;

/// The key of a section that names the provider; agent-sync owns it in every section.
pub(super) const PROVIDER: &str = "provider";

/// The rules in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// The type of every setting that is not text.
    pub(super) settings: BTreeMap<Path, Kind>,
    /// The settings that no report names although no rule reads them.
    pub(super) ignored: Vec<Path>,
    /// The sections of `provider_config`, in the order in which they are written.
    pub(super) sections: Vec<Section>,
}

/// One section of `provider_config`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Section {
    pub(super) name: String,
    /// The settings that may name the provider: the first that is set does.
    pub(super) provider_from: Vec<Path>,
    /// The names, in their [normal form](normal), that name no provider while a later setting of
    /// `provider_from` is set.
    pub(super) placeholders: BTreeSet<String>,
    pub(super) providers: BTreeMap<String, Rule>,
    /// The provider of every name and alias in its [normal form](normal).
    pub(super) names: BTreeMap<String, String>,
    /// The rule of every provider that has none of its own.
    pub(super) other: Rule,
    /// Whether a provider without a rule of its own causes a warning.
    pub(super) warn: bool,
}

/// The fields to write for one provider, besides `provider`.
pub(super) type Rule = Vec<Field>;

/// One field of a section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field {
    /// Its place in the section.
    pub(super) path: Path,
    /// The settings it is copied from: the first that is set.
    pub(super) from: Vec<Path>,
    /// The type, where it is another one than that of the setting.
    pub(super) kind: Option<Kind>,
    /// The JSON text of what is written while none of the settings is set.
    pub(super) default: Option<String>,
}

impl Rules {
    /// Whether this is a section of `provider_config` that agent-sync owns parts of.
    pub(crate) fn has_section(&self, name: &str) -> bool {
        self.sections.iter().any(|section| section.name == name)
    }

    /// How the keys of a value in a section lie to the fields that rules write, and to its
    /// provider.
    pub(crate) fn target(&self, section: &str, keys: &[&str]) -> Place {
        if keys == [PROVIDER] {
            return Place::At;
        }
        let section = self.sections.iter().find(|own| own.name == section);
        let owned = section.into_iter().flat_map(Section::owned);
        nearest(owned.map(|path| path.relation(keys)))
    }

    /// How the keys of a voice setting lie to the settings that rules read, or M1 does.
    pub(crate) fn source(&self, keys: &[&str]) -> Place {
        if let [name] = keys
            && Column::from_settings().any(|(_, column)| column == *name)
        {
            return Place::At;
        }
        nearest(self.sources().map(|path| path.relation(keys)))
    }

    /// The settings that some rule reads, repetitions included.
    pub(super) fn sources(&self) -> impl Iterator<Item = &Path> {
        self.sections.iter().flat_map(|section| {
            let fields = section.rules().flatten();
            section
                .provider_from
                .iter()
                .chain(fields.flat_map(|field| &field.from))
        })
    }

    /// The type of a setting.
    pub(super) fn kind(&self, setting: &Path) -> &Kind {
        self.settings.get(setting).unwrap_or(&Kind::Text)
    }
}

fn nearest(places: impl Iterator<Item = Place>) -> Place {
    places.max().unwrap_or(Place::Elsewhere)
}

impl Section {
    /// The rules of all providers.
    pub(super) fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.providers.values().chain([&self.other])
    }

    /// The places of the fields that any rule of this section can write: they go when the provider
    /// changes (M4).
    pub(super) fn owned(&self) -> impl Iterator<Item = &Path> {
        self.rules().flatten().map(|field| &field.path)
    }

    /// The canonical name of a provider: that of its rule, or else the name without the white
    /// space around it.
    pub(super) fn canonical<'a>(&'a self, name: &'a str) -> &'a str {
        if self.providers.contains_key(name) {
            return name;
        }
        self.names
            .get(&*normal(name))
            .map_or(name.trim(), String::as_str)
    }

    /// Whether two names are those of one provider.
    pub(super) fn is_same_provider(&self, one: &str, other: &str) -> bool {
        one == other || normal(self.canonical(one)) == normal(self.canonical(other))
    }

    /// Whether a name stands for no provider while a later setting names one.
    pub(super) fn is_placeholder(&self, name: &str) -> bool {
        !self.placeholders.is_empty() && self.placeholders.contains(&*normal(self.canonical(name)))
    }
}

/// The form in which names of providers are compared: without regard to case and to the white
/// space around them.
pub(super) fn normal(name: &str) -> Cow<'_, str> {
    let name = name.trim();
    if name
        .bytes()
        .all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase())
    {
        Cow::Borrowed(name)
    } else {
        Cow::Owned(name.to_lowercase())
    }
}
