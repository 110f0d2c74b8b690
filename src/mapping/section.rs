//! One section of `provider_config`: what an agent's settings want in it, and how that goes into
//! what is there.

use std::borrow::Cow;

use super::json::{self, Object};
use super::reasons::{Mistakes, Warning};
use super::rules::{PROVIDER, Section};
use super::same::same;
use super::show::describe;
use super::voice_settings::VoiceSettings;

/// The wanted content of a section. Values are JSON text.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    provider: Cow<'a, str>,
    fields: Vec<(&'a str, Cow<'a, str>)>,
}

/// What the settings want in a section; `None` leaves the section alone: no provider is set, or it
/// is mistaken.
pub(super) fn wanted<'a>(
    section: &'a Section,
    settings: &'a VoiceSettings<'_>,
    mistakes: &mut Mistakes,
    warnings: &mut Vec<Warning>,
) -> Option<Wanted<'a>> {
    let source = section
        .provider_from
        .iter()
        .find(|name| settings.has(name))?;
    let provider = settings.read(source, mistakes)?;
    let name = json::text(&provider)?;
    let rule = section.providers.get(&*name).unwrap_or_else(|| {
        if section.warn {
            warnings.push(Warning::unknown_provider(&section.name, &name));
        }
        &section.other
    });
    let mut fields = Vec::with_capacity(rule.len());
    for field in rule {
        // A default is as good as a setting: it replaces what the configuration has.
        let default = || field.default.as_deref().map(Cow::Borrowed);
        if let Some(value) = settings.read(&field.from, mistakes).or_else(default) {
            fields.push((&*field.name, value));
        }
    }
    Some(Wanted { provider, fields })
}

/// The text of a section with the wanted fields; `None` if the section has all of them already.
///
/// Fields that are not wanted stay, unless the provider changes: then every field of any rule goes
/// first (M4). An absent provider is a changed one. What no rule owns stays as it is, in its place
/// (M5).
pub(super) fn merge(
    section: &Section,
    wanted: Wanted<'_>,
    current: Option<&str>,
    mistakes: &mut Mistakes,
) -> Option<String> {
    let current = current.filter(|raw| !json::not_set(raw)).unwrap_or("{}");
    if !current.starts_with('{') {
        mistakes.add(
            format!("provider_config.{}", section.name),
            "an object",
            describe(current),
        );
        return None;
    }
    let mut object = Object::of(current);
    let has = |name: &str, value: &str| object.get(name).is_some_and(|raw| same(raw, value));
    if has(PROVIDER, &wanted.provider) {
        if wanted.fields.iter().all(|(name, value)| has(name, value)) {
            return None;
        }
    } else {
        object.drop_where(|name| section.owns(name));
    }
    let Wanted { provider, fields } = wanted;
    for (name, value) in [(PROVIDER, provider)].into_iter().chain(fields) {
        object.set(name, value.into_owned());
    }
    Some(object.to_string())
}
