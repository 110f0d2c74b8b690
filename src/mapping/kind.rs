//! The permitted values of a setting, and the JSON text that is written for each (M6).

use std::borrow::Cow;

use super::decimal::Decimal;
use super::json;
use super::show::{self, describe};

/// The type of a setting, as the rules file declares it. What it does not declare is text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// A string.
    Text,
    /// A number, or a string that holds one; the bounds are JSON numbers.
    Number {
        min: Option<String>,
        max: Option<String>,
    },
    /// A boolean, or `"true"` or `"false"`.
    Boolean,
    /// Any JSON value, copied as it is.
    Json,
}

impl Kind {
    /// The names of the types in the rules file.
    pub(super) const NAMES: [&str; 4] = ["text", "number", "boolean", "json"];

    /// The expected value, in words.
    pub(super) fn expected(&self) -> String {
        match self {
            Self::Text => "text".to_owned(),
            Self::Number {
                min: None,
                max: None,
            } => "a number".to_owned(),
            Self::Number {
                min: Some(min),
                max: None,
            } => format!("a number of at least {min}"),
            Self::Number {
                min: None,
                max: Some(max),
            } => format!("a number of at most {max}"),
            Self::Number {
                min: Some(min),
                max: Some(max),
            } => format!("a number from {min} to {max}"),
            Self::Boolean => "true or false".to_owned(),
            Self::Json => format!("JSON nested at most {} levels deep", Self::MAX_JSON_DEPTH),
        }
    }

    /// A value of type `json` goes two levels down, into a section of `provider_config`, and must
    /// be read there.
    const MAX_JSON_DEPTH: usize = json::MAX_DEPTH - 2;

    /// The JSON text to write for a valid JSON value, or what is wrong with it.
    pub(super) fn accept<'a>(&self, raw: &'a str) -> Result<Cow<'a, str>, String> {
        let accepted = match self {
            Self::Text if raw.starts_with('"') => Cow::Borrowed(raw),
            Self::Text => return Err(describe(raw)),
            Self::Number { min, max } => number(raw, min.as_deref(), max.as_deref())?,
            Self::Boolean => boolean(raw)?,
            Self::Json if json::depth(raw) > Self::MAX_JSON_DEPTH => {
                return Err(format!("{} levels", json::depth(raw)));
            }
            Self::Json => Cow::Borrowed(raw),
        };
        match json::unstorable(&accepted) {
            Some(what) => Err(format!("{what}, which PostgreSQL cannot store")),
            None => Ok(accepted),
        }
    }
}

fn number<'a>(raw: &'a str, min: Option<&str>, max: Option<&str>) -> Result<Cow<'a, str>, String> {
    let text = match raw.as_bytes().first() {
        Some(b'"') => json::text(raw).map(trimmed),
        Some(b'-' | b'0'..=b'9') => Some(Cow::Borrowed(raw)),
        _ => return Err(describe(raw)),
    };
    let number = text.as_deref().and_then(Decimal::parse);
    let (Some(text), Some(number)) = (text, number) else {
        return Err("a string that is not a number".to_owned());
    };
    let bound = |bound: Option<&str>| bound.and_then(Decimal::parse);
    if bound(min).is_some_and(|min| number < min) || bound(max).is_some_and(|max| number > max) {
        return Err(format!("the number {}", show::shorten(&text, 40)));
    }
    Ok(text)
}

fn trimmed(text: Cow<'_, str>) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.trim()),
        Cow::Owned(text) => Cow::Owned(text.trim().to_owned()),
    }
}

fn boolean(raw: &str) -> Result<Cow<'_, str>, String> {
    match raw {
        "true" | "false" => return Ok(Cow::Borrowed(raw)),
        raw if !raw.starts_with('"') => return Err(describe(raw)),
        _ => {}
    }
    match json::text(raw).as_deref().map(str::trim) {
        Some("true") => Ok(Cow::Borrowed("true")),
        Some("false") => Ok(Cow::Borrowed("false")),
        _ => Err("a string that is neither true nor false".to_owned()),
    }
}
