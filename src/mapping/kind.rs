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
    /// One of these strings.
    OneOf(Vec<String>),
    /// A number, or a string that holds one; the bounds are JSON numbers.
    Number {
        min: Option<String>,
        max: Option<String>,
    },
    /// A number without a fraction, or a string that holds one; the bounds are JSON numbers.
    Integer {
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
    pub(super) const NAMES: [&str; 5] = ["text", "number", "integer", "boolean", "json"];

    /// The expected value, in words.
    pub(super) fn expected(&self) -> String {
        match self {
            Self::Text => "text".to_owned(),
            Self::OneOf(texts) => {
                let texts: Vec<_> = texts.iter().map(|text| show::quoted(text)).collect();
                show::one_of(&texts)
            }
            Self::Number { min, max } => range("a number", min.as_deref(), max.as_deref()),
            Self::Integer { min, max } => range("an integer", min.as_deref(), max.as_deref()),
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
            Self::OneOf(texts) => match json::text(raw) {
                Some(text) if texts.iter().any(|one| *one == *text) => Cow::Borrowed(raw),
                Some(_) => return Err("another text".to_owned()),
                None => return Err(describe(raw)),
            },
            Self::Number { min, max } => number(raw, min.as_deref(), max.as_deref())?,
            Self::Integer { min, max } => integer(number(raw, min.as_deref(), max.as_deref())?)?,
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

/// The words for a number within bounds.
fn range(what: &str, min: Option<&str>, max: Option<&str>) -> String {
    match (min, max) {
        (None, None) => what.to_owned(),
        (Some(min), None) => format!("{what} of at least {min}"),
        (None, Some(max)) => format!("{what} of at most {max}"),
        (Some(min), Some(max)) => format!("{what} from {min} to {max}"),
    }
}

/// A number as an integer, if its fraction has no digit but zeros.
fn integer(number: Cow<'_, str>) -> Result<Cow<'_, str>, String> {
    let (whole, fraction) = number.split_once('.').unwrap_or((&number, ""));
    let is_integer = !number.contains(['e', 'E']) && fraction.bytes().all(|byte| byte == b'0');
    if !is_integer {
        return Err(format!("the number {}", show::shorten(&number, 40)));
    }
    if fraction.is_empty() {
        return Ok(number);
    }
    Ok(Cow::Owned(whole.to_owned()))
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
