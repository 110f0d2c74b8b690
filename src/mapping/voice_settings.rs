//! The decoded `voice_settings` of one agent, read through the rules: a setting is checked when a
//! rule reads it.
//!
//! So a stale `stability` under a provider that has no use for it is no mistake.

use std::borrow::Cow;

use super::json::{self, Object};
use super::reasons::Mistakes;
use super::rules::Rules;

/// The settings of one agent.
#[derive(Debug)]
pub(super) struct VoiceSettings<'a> {
    rules: &'a Rules,
    object: Object<'a>,
}

impl<'a> VoiceSettings<'a> {
    /// The settings in the text of an object.
    pub(super) fn new(rules: &'a Rules, object: &'a str) -> Self {
        Self {
            rules,
            object: Object::of(object),
        }
    }

    /// Whether there are none at all.
    pub(super) fn is_empty(&self) -> bool {
        self.object.is_empty()
    }

    /// The JSON text of a setting in its own type; `None` if it is not set, or wrong, which is
    /// noted.
    pub(super) fn read(&self, name: &str, mistakes: &mut Mistakes) -> Option<Cow<'_, str>> {
        let raw = self.object.get(name).filter(|raw| !json::not_set(raw))?;
        let kind = self.rules.kind(name);
        match kind.accept(raw) {
            Ok(value) => Some(value),
            Err(found) => {
                mistakes.add(path(name), kind.expected(), found);
                None
            }
        }
    }

    /// Whether a setting is there at all, right or wrong.
    pub(super) fn has(&self, name: &str) -> bool {
        self.object.get(name).is_some_and(|raw| !json::not_set(raw))
    }

    /// Notes what `PostgreSQL` could not store if the settings were written as a whole.
    pub(super) fn check_storable(&self, mistakes: &mut Mistakes) {
        const EXPECTED: &str = "a value that PostgreSQL can store";
        for (key, value) in self.object.iter() {
            if let Some(what) = json::unstorable(key) {
                mistakes.add("voice_settings", EXPECTED, format!("a key with {what}"));
            } else if let (Some(what), Some(name)) = (json::unstorable(value), json::text(key)) {
                // The database need not be able to hold the key either.
                mistakes.add(super::show::ascii(&path(&name)), EXPECTED, what);
            }
        }
    }
}

fn path(name: &str) -> String {
    format!(
        "voice_settings.{}",
        super::show::toml_key(&super::show::shorten(name, 64))
    )
}
