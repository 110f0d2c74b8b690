//! The rules: which voice setting goes where for which provider (M2, M6), as data.
//!
//! They come from `config/providers.toml`, embedded here, or from an operator's file of the same
//! form (M9). The reader is in [`super::rules_file`]; rules that got past it are consistent, and
//! nothing is checked again.

use std::collections::BTreeMap;

use super::kind::Kind;
use crate::columns::Column;

/// The key of a section that names the provider; agent-sync owns it in every section.
pub(super) const PROVIDER: &str = "provider";

/// The rules in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// The type of every setting that is not text.
    pub(super) settings: BTreeMap<String, Kind>,
    /// The sections of `provider_config`, in the order in which they are written.
    pub(super) sections: Vec<Section>,
}

/// One section of `provider_config`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Section {
    pub(super) name: String,
    /// The settings that may name the provider: the first that is set does.
    pub(super) provider_from: Vec<String>,
    pub(super) providers: BTreeMap<String, Rule>,
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
    pub(super) name: String,
    /// The setting it is copied from.
    pub(super) from: String,
    /// The JSON text of what is written while that setting is not set.
    pub(super) default: Option<String>,
}

impl Rules {
    /// Whether this is a section of `provider_config` that agent-sync owns parts of.
    pub(crate) fn has_section(&self, name: &str) -> bool {
        self.sections.iter().any(|section| section.name == name)
    }

    /// Whether a rule writes this field of a section, or its provider.
    pub(crate) fn write(&self, section: &str, field: &str) -> bool {
        let section = self.sections.iter().find(|own| own.name == section);
        section.is_some_and(|section| field == PROVIDER || section.owns(field))
    }

    /// Whether a rule reads this setting, or M1 does.
    pub(crate) fn read(&self, setting: &str) -> bool {
        let read = |section: &Section| {
            let fields = section.providers.values().chain([&section.other]).flatten();
            section
                .provider_from
                .iter()
                .chain(fields.map(|field| &field.from))
                .any(|name| name == setting)
        };
        Column::from_settings().any(|(_, name)| name == setting) || self.sections.iter().any(read)
    }

    /// The type of a setting.
    pub(super) fn kind(&self, setting: &str) -> &Kind {
        self.settings.get(setting).unwrap_or(&Kind::Text)
    }
}

impl Section {
    /// Whether any rule of this section can write the field: such fields go when the provider
    /// changes (M4).
    pub(super) fn owns(&self, field: &str) -> bool {
        self.providers
            .values()
            .chain([&self.other])
            .flatten()
            .any(|rule| rule.name == field)
    }
}
