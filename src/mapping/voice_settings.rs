//! The decoded `voice_settings` of one agent, read through the rules: a setting is checked when a
//! rule reads it.
//!
//! So a stale `stability` under a provider that has no use for it is no mistake.

use std::borrow::Cow;

use super::json::{self, Object};
use super::kind::Kind;
use super::path::Path;
use super::reasons::Mistakes;
use super::rules::Rules;
use super::show::{self, describe};

/// The settings of one agent.
#[derive(Debug)]
pub(super) struct VoiceSettings<'a> {
    rules: &'a Rules,
    object: Object<'a>,
}

/// The content of the place of a setting.
enum Found<'a> {
    /// The JSON text of a value.
    Value(&'a str),
    /// A value that is no object, and the number of keys that lead to it.
    NoObject(usize, &'a str),
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

    /// Keys (as JSON text) and values of the outermost level.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.object.iter()
    }

    /// The content of a place; `None` if it is not set.
    fn find(&self, path: &Path) -> Option<Found<'_>> {
        let (first, inner) = path.keys().split_first()?;
        let mut raw = self.object.get(first)?;
        for (depth, key) in inner.iter().enumerate() {
            if json::not_set(raw) {
                return None;
            }
            if !raw.starts_with('{') {
                return Some(Found::NoObject(depth + 1, raw));
            }
            raw = json::member(raw, key)?;
        }
        (!json::not_set(raw)).then_some(Found::Value(raw))
    }

    /// The JSON text of a setting in its own type, or in another one; `None` if it is not set, or
    /// wrong, which is noted.
    pub(super) fn read(
        &self,
        path: &Path,
        kind: Option<&Kind>,
        mistakes: &mut Mistakes,
    ) -> Option<Cow<'_, str>> {
        let raw = match self.find(path)? {
            Found::Value(raw) => raw,
            Found::NoObject(depth, raw) => {
                let place = show::setting_of(path.keys().iter().take(depth));
                mistakes.add(place, "an object", describe(raw));
                return None;
            }
        };
        let kind = kind.unwrap_or_else(|| self.rules.kind(path));
        match kind.accept(raw) {
            Ok(value) => Some(value),
            Err(found) => {
                mistakes.add(show::setting(path), kind.expected(), found);
                None
            }
        }
    }

    /// Whether a setting is there at all, right or wrong.
    pub(super) fn has(&self, path: &Path) -> bool {
        self.find(path).is_some()
    }

    /// The text of a setting; `None` for any other value.
    pub(super) fn text(&self, path: &Path) -> Option<Cow<'_, str>> {
        match self.find(path)? {
            Found::Value(raw) => json::text(raw),
            Found::NoObject(..) => None,
        }
    }

    /// Notes what `PostgreSQL` could not store if the settings were written as a whole.
    pub(super) fn check_storable(&self, mistakes: &mut Mistakes) {
        const EXPECTED: &str = "a value that PostgreSQL can store";
        for (key, value) in self.object.iter() {
            if let Some(what) = json::unstorable(key) {
                mistakes.add("voice_settings", EXPECTED, format!("a key with {what}"));
            } else if let (Some(what), Some(name)) = (json::unstorable(value), json::text(key)) {
                // The database need not be able to hold the key either.
                let place = show::setting_of([&*name].into_iter());
                mistakes.add(show::ascii(&place), EXPECTED, what);
            }
        }
    }
}
