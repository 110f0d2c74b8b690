//! The value types of settings, and the check of a value from TOML, from the environment or from a
//! connection string.

use std::net::SocketAddr;

use config::{Value, ValueKind};
use toml::de::DeValue;

use super::duration;
use super::install_schema::InstallSchema;
use super::mistake::{is_withheld, shown};

/// The word that switches off a key with a [`ValueType::Listen`] or [`ValueType::Interval`].
pub(crate) const OFF: &str = "off";

/// The values that a key takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueType {
    /// `true` or `false`.
    Bool,
    /// A whole number.
    Integer {
        /// The least.
        min: i64,
        /// The greatest.
        max: i64,
    },
    /// Numbers, each with a unit.
    Duration {
        /// The shortest.
        min: &'static str,
        /// The longest.
        max: &'static str,
    },
    /// The same, or "off", which 0 stands for as well.
    Interval {
        /// The shortest.
        min: &'static str,
        /// The longest.
        max: &'static str,
    },
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// Directives of a log filter.
    LogLevel,
    /// A path. A relative one starts at the directory of the file that names it.
    Path,
    /// The path of a file with a secret. It must start like a path, so that a secret in its place
    /// is refused and not shown.
    SecretFile,
    /// A connection string. No message quotes it.
    Url,
    /// A program and its arguments. No message quotes them, because people write secrets there.
    Command,
    /// The name of a schema, table, column or channel, without quotes.
    Identifier,
    /// The schema of an install.
    InstallSchema,
    /// An address and a port to listen on, or "off".
    Listen,
}

pub(crate) const fn integer(min: i64, max: i64) -> ValueType {
    ValueType::Integer { min, max }
}

pub(crate) const fn duration(min: &'static str, max: &'static str) -> ValueType {
    ValueType::Duration { min, max }
}

/// A value as its source gives it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum RawValue<'a> {
    /// A value with the type that TOML gives it.
    Typed(&'a DeValue<'a>),
    /// Text from a source without types: it takes the type of the key.
    Text(&'a str),
    /// Text from a secret: it takes the type of the key, and no message quotes it.
    SecretText(&'a str),
}

impl<'a> RawValue<'a> {
    /// The text of a string.
    fn text(self) -> Option<&'a str> {
        match self {
            Self::Typed(value) => value.as_str(),
            Self::Text(text) | Self::SecretText(text) => Some(text),
        }
    }
}

impl ValueType {
    /// The value in the form that the settings are deserialized from; none if it does not fit.
    pub(crate) fn accept(self, value: RawValue<'_>) -> Option<ValueKind> {
        match (self, value) {
            (Self::Bool, RawValue::Typed(value)) => value.as_bool().map(Into::into),
            (Self::Bool, value) => value.text()?.parse::<bool>().ok().map(Into::into),
            (Self::Integer { min, max }, value) => {
                let number = match value {
                    RawValue::Typed(value) => integer_of(value)?,
                    value => value.text()?.parse().ok()?,
                };
                (min..=max).contains(&number).then(|| number.into())
            }
            (Self::Interval { .. }, RawValue::Typed(value)) if integer_of(value) == Some(0) => {
                Some(OFF.into())
            }
            (Self::Command, RawValue::Typed(value)) => command(value),
            (Self::Command, value) => command(DeValue::parse(value.text()?).ok()?.get_ref()),
            (_, value) => {
                let text = value.text()?;
                self.fits(text).then(|| text.into())
            }
        }
    }

    pub(crate) fn fits(self, text: &str) -> bool {
        match self {
            Self::Bool | Self::Integer { .. } | Self::Command => false,
            Self::Duration { min, max } => is_within(text, min, max),
            Self::Interval { min, max } => duration::is_off(text) || is_within(text, min, max),
            Self::OneOf(words) => words.contains(&text),
            Self::LogLevel => text.split(',').all(is_directive),
            // A message names the path of a file that cannot be read.
            Self::Path => is_name(text),
            Self::SecretFile => starts_like_a_path(text) && is_name(text),
            Self::Url => !text.is_empty(),
            // Names are printed as well.
            Self::Identifier => text.len() <= 63 && is_name(text),
            Self::InstallSchema => InstallSchema::of(text).is_some(),
            Self::Listen => text == OFF || text.parse::<SocketAddr>().is_ok(),
        }
    }

    /// Whether every output of the settings withholds values of this type.
    pub(crate) fn is_secret(self) -> bool {
        self == Self::Url
    }

    /// The values of this type, in words.
    pub fn expected(self) -> String {
        match self {
            Self::Bool => "true or false".to_owned(),
            Self::Integer { min, max } => format!("an integer from {min} to {max}"),
            Self::Duration { min, max } => format!("a duration from \"{min}\" to \"{max}\""),
            Self::Interval { min, max } => {
                format!("a duration from \"{min}\" to \"{max}\", or \"{OFF}\"")
            }
            Self::OneOf(words) => one_of(words),
            Self::LogLevel => "off, error, warn, info, debug or trace, or a list such as \
                \"info,agent_sync=debug\""
                .to_owned(),
            Self::Path => "the path of a file".to_owned(),
            Self::SecretFile => "the path of a file, starting with `/`, `./` or `../`".to_owned(),
            Self::Url => "a connection string".to_owned(),
            Self::Command => "a list of a program and its arguments, such as [\"program\", \
                \"argument\"]"
                .to_owned(),
            Self::Identifier => "a name of 1 to 63 bytes".to_owned(),
            Self::InstallSchema => {
                "a name of 1 to 40 lower-case letters, digits and underscores, such as \
                \"agent_sync_a\", that is no key word of SQL and no module of PostgreSQL"
                    .to_owned()
            }
            Self::Listen => "an IP address and a port, or \"off\"".to_owned(),
        }
    }

    /// A value that does not fit, in words. A secret is not quoted.
    pub(crate) fn found(self, value: RawValue<'_>) -> String {
        // A value of these types is a secret, or may be one in the place of a path.
        let is_shown = !matches!(self, Self::Url | Self::SecretFile | Self::Command);
        match (value, value.text()) {
            (RawValue::SecretText(_), _) => "a value that is not shown".to_owned(),
            (_, Some("")) => "an empty string".to_owned(),
            (_, Some(text)) if is_shown => shown(text),
            (RawValue::Typed(value), None) => match (value, integer_of(value)) {
                (DeValue::Boolean(value), _) if is_shown => value.to_string(),
                (DeValue::Integer(_), None) => "an integer that is too large".to_owned(),
                (_, Some(number)) if is_shown => number.to_string(),
                _ => toml_type(value).to_owned(),
            },
            _ => "a string that is not shown".to_owned(),
        }
    }
}

/// The name of the type of a value, with its article.
pub(crate) fn toml_type(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}

/// The list of a program and its arguments.
fn command(value: &DeValue<'_>) -> Option<ValueKind> {
    let words = value.as_array()?.iter();
    let words: Option<Vec<&str>> = words.map(|word| word.get_ref().as_str()).collect();
    let words = words.filter(|words| words.first().is_some_and(|program| !program.is_empty()))?;
    let is_whole = words.iter().all(|word| !word.contains('\0'));
    let values = words.into_iter().map(|word| Value::new(None, word));
    is_whole.then(|| ValueKind::Array(values.collect()))
}

fn integer_of(value: &DeValue<'_>) -> Option<i64> {
    let digits = value.as_integer()?;
    i64::from_str_radix(digits.as_str(), digits.radix()).ok()
}

/// Whether the text is a duration between these, both included.
fn is_within(text: &str, min: &str, max: &str) -> bool {
    let value = duration::parse(text);
    value.is_some() && value >= duration::parse(min) && value <= duration::parse(max)
}

fn starts_like_a_path(text: &str) -> bool {
    ["/", "./", "../"]
        .iter()
        .any(|start| text.starts_with(start))
}

/// Whether a text can name something in messages: a connection string is refused and not shown.
fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.contains('\0') && !is_withheld(text)
}

fn one_of(words: &[&str]) -> String {
    let quoted: Vec<_> = words.iter().map(|word| format!("\"{word}\"")).collect();
    match quoted.split_last() {
        Some((last, first)) if !first.is_empty() => format!("{} or {last}", first.join(", ")),
        _ => quoted.concat(),
    }
}

/// Whether the text is `LEVEL` or `TARGET=LEVEL`, the part of the filter language that a settings
/// file needs.
fn is_directive(text: &str) -> bool {
    let (target, level) = text.trim().split_once('=').unwrap_or(("any", text.trim()));
    let level = level.to_ascii_lowercase();
    !target.is_empty()
        && target
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_:-".contains(c))
        && ["off", "error", "warn", "info", "debug", "trace"].contains(&level.as_str())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Checks a value in the notation of TOML.
    fn check(value_type: ValueType, toml: &str) -> Option<ValueKind> {
        let value = DeValue::parse(toml).unwrap();
        value_type.accept(RawValue::Typed(value.get_ref()))
    }

    /// Whether a text in quotes fits.
    fn fits(value_type: ValueType, text: &str) -> bool {
        check(value_type, &format!("\"{text}\"")).is_some()
    }

    #[test]
    fn the_environment_takes_the_type_of_the_key() {
        let text = |value_type: ValueType, text| value_type.accept(RawValue::Text(text));
        assert_eq!(text(ValueType::Bool, "true"), Some(true.into()));
        assert_eq!(text(integer(1, 9), "7"), Some(7_i64.into()));
        assert_eq!(text(ValueType::OneOf(&["7"]), "7"), Some("7".into()));
    }

    #[test]
    fn a_file_has_types_of_its_own() {
        assert!(check(ValueType::Bool, "\"true\"").is_none());
        assert!(check(integer(1, 9), "\"7\"").is_none());
        assert!(check(ValueType::OneOf(&["7"]), "7").is_none());
    }

    #[test]
    fn bounds_are_inclusive() {
        for (value, expected) in [(0, false), (1, true), (9, true), (10, false)] {
            let found = check(integer(1, 9), &value.to_string());
            assert_eq!(found.is_some(), expected, "{value}");
        }
        for (value, expected) in [
            ("999ms", false),
            ("1s", true),
            ("60s", true),
            ("61s", false),
        ] {
            assert_eq!(fits(duration("1s", "1m"), value), expected, "{value}");
        }
    }

    #[test]
    fn an_interval_is_a_duration_or_off() {
        let interval = ValueType::Interval {
            min: "1s",
            max: "1h",
        };
        for (toml, expected) in [
            ("\"1s\"", true),
            ("\"1h\"", true),
            ("\"off\"", true),
            ("\"0\"", true),
            ("\"0s\"", true),
            ("0", true),
            ("1", false),
            ("\"500ms\"", false),
            ("\"2h\"", false),
            ("\"never\"", false),
            ("false", false),
        ] {
            assert_eq!(check(interval, toml).is_some(), expected, "{toml}");
        }
    }

    #[test]
    fn log_levels_are_levels_and_lists_of_them() {
        for (text, expected) in [
            ("info", true),
            ("WARN", true),
            ("info,agent_sync::sync=debug", true),
            ("info, tokio_postgres=off", true),
            ("", false),
            ("verbose", false),
            ("info,", false),
            ("=info", false),
            ("agent sync=info", false),
        ] {
            assert_eq!(fits(ValueType::LogLevel, text), expected, "{text}");
        }
    }

    #[test]
    fn an_address_to_listen_on_has_a_port_and_no_name() {
        for (text, expected) in [
            ("127.0.0.1:9878", true),
            ("0.0.0.0:0", true),
            ("[::1]:9878", true),
            ("off", true),
            ("127.0.0.1", false),
            (":9878", false),
            ("localhost:9878", false),
            ("::1:9878", false),
            ("127.0.0.1:99999", false),
            ("", false),
        ] {
            assert_eq!(fits(ValueType::Listen, text), expected, "{text}");
        }
    }

    #[test]
    fn no_mismatch_quotes_a_secret() {
        for value_type in [ValueType::Url, ValueType::SecretFile] {
            let secrets =
                ["true", "12345", "\"hunter2\""].map(|toml| DeValue::parse(toml).unwrap());
            let typed = secrets.iter().map(|value| RawValue::Typed(value.get_ref()));
            for value in typed.chain([RawValue::SecretText("hunter2"), RawValue::Text("hunter2")]) {
                let found = value_type.found(value);
                assert!(
                    ["true", "12345", "hunter2"]
                        .iter()
                        .all(|secret| !found.contains(secret)),
                    "{found}"
                );
            }
        }
    }
}
