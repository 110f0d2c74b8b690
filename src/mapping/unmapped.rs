//! The settings of an agent that no rule reads for the providers in force (M10), and the names
//! that may be meant.
//!
//! Both are bounded: [`MOST`] settings of an agent are listed and the others are counted, and a
//! name is looked up only for a setting that is shown.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::json::{self, Object};
use super::path::{Path, Place};
use super::rules::{Rule, Rules, Section};
use super::show;
use super::voice_settings::VoiceSettings;
use crate::columns::Column;
use crate::similar::nearest;

/// The most settings of an agent that are listed.
const MOST: usize = 20;

/// The settings of an agent that are set and that nothing reads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unmapped {
    /// Their places in the voice settings, like `speed` or `provider_config.speed`, each once; 20
    /// at most.
    pub settings: Vec<String>,
    /// The number of the others.
    pub more: usize,
}

/// A hint on a setting that nothing reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hint {
    /// A setting of a similar name is read.
    Near(String),
    /// It is read for other providers than those in force.
    OtherProviders,
}

/// The settings that neither the rules in force nor M1 reads, except the ignored ones.
pub(super) fn unmapped(
    rules: &Rules,
    settings: &VoiceSettings<'_>,
    in_force: &[&Rule],
) -> Unmapped {
    let of_providers = rules.sections.iter().flat_map(|one| &one.provider_from);
    let of_fields = in_force.iter().copied().flatten();
    let read: Vec<_> = of_providers
        .chain(of_fields.flat_map(|field| &field.from))
        .collect();
    let mut unmapped = Unmapped::default();
    for (key, raw) in settings.iter() {
        let name = json::text(key).unwrap_or(Cow::Borrowed(key));
        let is_column = Column::from_settings().any(|(_, column)| *column == *name);
        if !is_column {
            unmapped.visit(rules, &read, &[&*name], raw);
        }
    }
    unmapped
}

impl Unmapped {
    /// Adds what is unmapped of one value.
    fn visit(&mut self, rules: &Rules, read: &[&Path], keys: &[&str], raw: &str) {
        if json::not_set(raw) {
            return;
        }
        let place = read.iter().map(|path| path.relation(keys)).max();
        let is_ignored = || {
            let mut ignored = rules.ignored.iter();
            ignored.any(|path| path.relation(keys) == Place::At)
        };
        match place.unwrap_or(Place::Elsewhere) {
            Place::At => {}
            _ if is_ignored() => {}
            // The depth of the places bounds the recursion.
            Place::Above => {
                for (key, raw) in Object::of(raw).iter() {
                    let name = json::text(key).unwrap_or(Cow::Borrowed(key));
                    self.visit(rules, read, &[keys, &[&*name]].concat(), raw);
                }
            }
            Place::Elsewhere if self.settings.len() == MOST => self.more += 1,
            Place::Elsewhere => {
                let setting = show::place(keys.iter());
                if !self.settings.contains(&setting) {
                    self.settings.push(setting);
                }
            }
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.settings.is_empty()
    }

    /// Adds those of another configuration of the same agent.
    pub fn merge(&mut self, other: Self) {
        for setting in other.settings {
            if self.settings.contains(&setting) {
                continue;
            }
            if self.settings.len() == MOST {
                self.more += 1;
            } else {
                self.settings.push(setting);
            }
        }
        self.more = self.more.max(other.more);
    }

    /// A sentence on each, and one on the number of the others.
    pub fn remarks(&self, rules: &Rules) -> Vec<String> {
        let mut remarks: Vec<_> = self
            .settings
            .iter()
            .map(|setting| rules.unmapped_remark(setting))
            .collect();
        if self.more > 0 {
            remarks.push(format!(
                "and {} more settings that no rule reads",
                self.more
            ));
        }
        remarks
    }
}

impl Rules {
    /// A sentence on a setting that nothing reads.
    pub fn unmapped_remark(&self, setting: &str) -> String {
        let hint = match self.hint(setting) {
            Some(Hint::Near(name)) => format!("no rule reads it; did you mean `{name}`?"),
            Some(Hint::OtherProviders) => {
                "no rule of the provider in force reads it; a rule of another one does".to_owned()
            }
            None => "no rule reads it".to_owned(),
        };
        format!("voice_settings.{setting}: {hint}")
    }

    /// The setting that may be meant with one that nothing reads.
    pub fn hint(&self, setting: &str) -> Option<Hint> {
        let columns = Column::from_settings().map(|(_, name)| name.to_owned());
        let mut known: BTreeSet<_> = columns.collect();
        known.extend(self.sources().map(ToString::to_string));
        if known.contains(setting) {
            return Some(Hint::OtherProviders);
        }
        let word = snake_case(setting);
        let by_name = |word: &str| known.get(word).cloned().or_else(|| self.source_of(word));
        let inner = || word.rsplit_once('.').and_then(|(_, last)| by_name(last));
        let near = by_name(&word)
            .or_else(|| self.without_prefix(&word))
            .or_else(inner)
            .or_else(|| nearest(&word, known.iter().map(String::as_str)).map(str::to_owned));
        near.map(Hint::Near)
    }

    /// The setting that a field of this name takes.
    fn source_of(&self, field: &str) -> Option<String> {
        let mut sections = self.sections.iter();
        sections.find_map(|section| section.source_of(field))
    }

    /// The setting that is meant with `tts_model` or `cartesia_model`.
    fn without_prefix(&self, word: &str) -> Option<String> {
        self.sections.iter().find_map(|section| {
            let names = section.providers.keys().chain([&section.name]);
            names
                .filter_map(|name| word.strip_prefix(&**name)?.strip_prefix('_'))
                .find_map(|rest| {
                    let mut read = section.rules().flatten().flat_map(|field| &field.from);
                    let read = read.find(|path| path.to_string() == rest);
                    read.map(ToString::to_string)
                        .or_else(|| section.source_of(rest))
                })
        })
    }
}

impl Section {
    fn source_of(&self, field: &str) -> Option<String> {
        let mut fields = self.rules().flatten();
        let field = fields.find(|own| own.path.to_string() == field)?;
        field.from.first().map(ToString::to_string)
    }
}

/// `voiceId`, `voice-id` and `Voice Id` as `voice_id`.
fn snake_case(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 4);
    let mut after_small = false;
    for c in name.trim_matches('"').chars() {
        match c {
            '-' | ' ' => out.push('_'),
            c if c.is_uppercase() => {
                if after_small {
                    out.push('_');
                }
                out.extend(c.to_lowercase());
            }
            c => out.push(c),
        }
        after_small = c.is_lowercase() || c.is_ascii_digit();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn m10_names_that_are_meant_are_found() {
        let near = |setting: &str| match Rules::embedded().hint(setting) {
            Some(Hint::Near(name)) => name,
            Some(Hint::OtherProviders) => "of another provider".to_owned(),
            None => String::new(),
        };
        for (setting, name) in [
            ("voice", "voice_id"),
            ("voiceId", "voice_id"),
            ("VoiceID", "voice_id"),
            ("voice-id", "voice_id"),
            ("ttsModel", "model"),
            ("cartesia_model", "model"),
            ("stabilty", "stability"),
            ("similarityBoost", "similarity_boost"),
            ("sttModel", "stt_model"),
            ("llmProvider", "llm_provider"),
            ("provider_config.voice_id", "voice_id"),
            ("stability", "of another provider"),
            ("speed", ""),
            ("stt_language", ""),
            ("x", ""),
            ("\"\\u0000\"", ""),
        ] {
            assert_eq!(near(setting), name, "{setting}");
        }
    }
}
