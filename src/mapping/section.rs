//! One section of `provider_config`: what an agent's settings want in it, and how that goes into
//! what is there.

use std::borrow::Cow;

use super::json::{self, Object};
use super::path::Path;
use super::reasons::{Mistakes, Warning};
use super::rules::{Field, PROVIDER, Rule, Section};
use super::same::same;
use super::show::{self, describe};
use super::voice_settings::VoiceSettings;

/// The wanted content of a section. Values are JSON text.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    /// The canonical name of the provider.
    provider: Cow<'a, str>,
    fields: Vec<(&'a Path, Cow<'a, str>)>,
    /// The rule in force.
    pub(super) rule: &'a Rule,
}

/// The values that the settings want in a section; `None` leaves the section alone: no provider is
/// set, or it is mistaken.
pub(super) fn wanted<'a>(
    section: &'a Section,
    settings: &'a VoiceSettings<'_>,
    mistakes: &mut Mistakes,
    warnings: &mut Vec<Warning>,
) -> Option<Wanted<'a>> {
    let raw = provider(section, settings, mistakes, warnings)?;
    let name = json::text(&raw)?;
    let canonical = section.canonical(&name);
    let rule = section.providers.get(canonical).unwrap_or_else(|| {
        if section.warn {
            warnings.push(Warning::unknown_provider(&section.name, canonical));
        }
        &section.other
    });
    let provider = if *canonical == *name {
        raw.clone()
    } else {
        Cow::Owned(json::quote(canonical))
    };
    let mut fields = Vec::with_capacity(rule.len());
    for field in rule {
        // A default is as good as a setting: it replaces what the configuration has.
        let default = || field.default.as_deref().map(Cow::Borrowed);
        if let Some(value) = value(field, settings, mistakes).or_else(default) {
            fields.push((&field.path, value));
        }
    }
    Some(Wanted {
        provider,
        fields,
        rule,
    })
}

/// The JSON text of the name of the provider: that of the first setting that is set and no
/// placeholder, or else the first placeholder. Another name in a later setting causes a warning.
fn provider<'a>(
    section: &Section,
    settings: &'a VoiceSettings<'_>,
    mistakes: &mut Mistakes,
    warnings: &mut Vec<Warning>,
) -> Option<Cow<'a, str>> {
    let mut placeholder = None;
    let mut sources = section.provider_from.iter();
    let (source, raw) = loop {
        let Some(source) = sources.next() else {
            return placeholder;
        };
        if !settings.has(source) {
            continue;
        }
        let raw = settings.read(source, None, mistakes)?;
        let Some(name) = json::text(&raw).filter(|name| !name.trim().is_empty()) else {
            continue;
        };
        if !section.is_placeholder(&name) {
            break (source, raw);
        }
        drop(name);
        placeholder.get_or_insert(raw);
    };
    let name = json::text(&raw).unwrap_or_default();
    let differs = |other: &str| {
        !other.trim().is_empty()
            && !section.is_placeholder(other)
            && !section.is_same_provider(&name, other)
    };
    let other = sources.find_map(|source| {
        let text = settings.text(source).filter(|other| differs(other))?;
        Some((source, text))
    });
    if let Some((ignored, other)) = other {
        warnings.push(Warning::ProvidersDiffer {
            section: section.name.clone(),
            taken: (show::setting(source), show::name(&name)),
            ignored: (show::setting(ignored), show::name(&other)),
        });
    }
    drop(name);
    Some(raw)
}

/// The JSON text of a field; `None` if its setting is not set, or wrong, which is noted.
fn value<'a>(
    field: &Field,
    settings: &'a VoiceSettings<'_>,
    mistakes: &mut Mistakes,
) -> Option<Cow<'a, str>> {
    let source = field.from.iter().find(|source| settings.has(source))?;
    let value = settings.read(source, field.kind.as_ref(), mistakes)?;
    // A nested target lies deeper than the types allow for.
    let inner = field.path.keys().len() - 1;
    if inner > 0 && json::depth(&value) + inner + 2 > json::MAX_DEPTH {
        let most = json::MAX_DEPTH - 2 - inner;
        mistakes.add(
            show::setting(source),
            format!("JSON nested at most {most} levels deep"),
            format!("{} levels", json::depth(&value)),
        );
        return None;
    }
    Some(value)
}

/// The text of a section with the wanted fields; `None` if the section has all of them already, or
/// cannot take them, which is noted.
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
    let place = || format!("provider_config.{}", section.name);
    let current = current.filter(|raw| !json::not_set(raw)).unwrap_or("{}");
    if !current.starts_with('{') {
        mistakes.add(place(), "an object", describe(current));
        return None;
    }
    let mut object = Object::of(current);
    let Wanted {
        provider, fields, ..
    } = wanted;
    let present = object.get(PROVIDER);
    let is_changed = !present.is_some_and(|now| {
        let names = (json::text(now), json::text(&provider));
        same(now, &provider)
            || matches!(names, (Some(now), Some(name)) if section.is_same_provider(&now, &name))
    });
    if is_changed {
        drop_owned(section, &mut object);
    } else if present.is_some_and(|now| same(now, &provider))
        && fields
            .iter()
            .all(|(path, value)| path.find(&object).is_some_and(|raw| same(raw, value)))
    {
        return None;
    }
    object.set(PROVIDER, provider.into_owned());
    let mut fits = true;
    for (path, value) in fields {
        if let Err((depth, found)) = set(&mut object, path.keys(), value.into_owned()) {
            let keys: Vec<_> = path.keys().iter().take(depth).collect();
            let keys = keys.iter().map(|key| show::toml_key(key));
            let place = keys.fold(place(), |place, key| format!("{place}.{key}"));
            mistakes.add(place, "an object", found);
            fits = false;
        }
    }
    fits.then(|| object.to_string())
}

/// Sets a value at a place. Objects on the way are made where there is none. Another value on the
/// way is an error: the number of keys that lead to it, and its description.
fn set(object: &mut Object<'_>, keys: &[String], value: String) -> Result<(), (usize, String)> {
    let Some((key, rest)) = keys.split_first() else {
        return Ok(());
    };
    if rest.is_empty() {
        object.set(key, value);
        return Ok(());
    }
    let raw = object.get(key).filter(|raw| !json::not_set(raw));
    let raw = raw.unwrap_or("{}");
    if !raw.starts_with('{') {
        return Err((1, describe(raw)));
    }
    let mut inner = Object::of(raw);
    set(&mut inner, rest, value).map_err(|(depth, found)| (depth + 1, found))?;
    let inner = inner.to_string();
    object.set(key, inner);
    Ok(())
}

/// Drops every field that any rule of the section can write.
fn drop_owned(section: &Section, object: &mut Object<'_>) {
    object.drop_where(|name| {
        let mut owned = section.owned();
        owned.any(|path| !path.is_nested() && path.first() == name)
    });
    for path in section.owned().filter(|path| path.is_nested()) {
        drop_at(object, path.keys());
    }
}

/// Drops the value at a place, and the objects around it that have nothing else. Returns whether
/// there was one.
fn drop_at(object: &mut Object<'_>, keys: &[String]) -> bool {
    let Some((key, rest)) = keys.split_first() else {
        return false;
    };
    if rest.is_empty() {
        let had = object.get(key).is_some();
        object.drop_where(|name| name == key);
        return had;
    }
    let Some(raw) = object.get(key).filter(|raw| raw.starts_with('{')) else {
        return false;
    };
    let mut inner = Object::of(raw);
    if !drop_at(&mut inner, rest) {
        return false;
    }
    let inner = (!inner.is_empty()).then(|| inner.to_string());
    match inner {
        Some(inner) => object.set(key, inner),
        None => object.drop_where(|name| name == key),
    }
    true
}
