//! What a key can hold: one check a kind, for values typed by TOML and for the bare text of the
//! environment.

use std::net::SocketAddr;

use config::ValueKind;

use super::duration;
use super::problem::{is_withheld, shown};

/// What a key that can be switched off holds then.
pub(crate) const OFF: &str = "off";

/// The kind of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Bool,
    Integer {
        min: i64,
        max: i64,
    },
    /// Bounds in the notation of [`duration`].
    Duration {
        min: &'static str,
        max: &'static str,
    },
    OneOf(&'static [&'static str]),
    /// Directives of a log filter.
    LogLevel,
    /// A path; a relative one is resolved against the directory of the file that names it.
    Path,
    /// A path to a secret. It must start like a path, so that a secret put here by mistake is
    /// refused unseen.
    SecretFile,
    /// A connection string: never quoted anywhere.
    Url,
    /// The name of a schema, table or column, without quotes.
    Identifier,
    /// An address and port to listen on, or "off".
    Listen,
}

/// A value as its source gives it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Given<'a> {
    Bool(bool),
    Integer(i64),
    Text(&'a str),
    /// Text from where nothing else exists: coerced to what the key holds.
    Word(&'a str),
    /// As `Word`, but taken out of a secret, so that no error may quote it.
    Hidden(&'a str),
    /// What no key holds, by its name.
    Other(&'static str),
}

/// Why a value does not fit.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mismatch {
    pub(crate) expected: String,
    pub(crate) found: String,
}

impl Kind {
    /// Returns the value in the one form that the settings are built from, or what was expected and
    /// what was found.
    pub(crate) fn check(self, given: Given<'_>) -> Result<ValueKind, Mismatch> {
        self.accept(given).ok_or_else(|| Mismatch {
            expected: self.expected(),
            found: self.found(given),
        })
    }

    fn accept(self, given: Given<'_>) -> Option<ValueKind> {
        use Given::{Bool, Hidden, Integer, Text, Word};
        match (self, given) {
            (Self::Bool, Bool(value)) => Some(value.into()),
            (Self::Bool, Word(text) | Hidden(text)) => text.parse::<bool>().ok().map(Into::into),
            (Self::Integer { min, max }, Integer(value)) => {
                (min..=max).contains(&value).then(|| value.into())
            }
            (Self::Integer { .. }, Word(text) | Hidden(text)) => {
                self.accept(Integer(text.parse().ok()?))
            }
            (Self::Bool | Self::Integer { .. }, _) => None,
            (_, Text(text) | Word(text) | Hidden(text)) => self
                .accepts_text(text)
                .then(|| ValueKind::String(text.to_owned())),
            _ => None,
        }
    }

    fn accepts_text(self, text: &str) -> bool {
        match self {
            Self::Duration { min, max } => {
                let value = duration::parse(text);
                value.is_some() && value >= duration::parse(min) && value <= duration::parse(max)
            }
            Self::OneOf(words) => words.contains(&text),
            Self::LogLevel => text.split(',').all(is_directive),
            // A path is told when the file cannot be read, so a connection string is refused
            // unseen.
            Self::Path => !text.is_empty() && !text.contains('\0') && !is_withheld(text),
            Self::SecretFile => {
                ["/", "./", "../"]
                    .iter()
                    .any(|start| text.starts_with(start))
                    && Self::Path.accepts_text(text)
            }
            Self::Url => !text.is_empty(),
            // Names are printed as well.
            Self::Identifier => {
                (1..=63).contains(&text.len()) && !text.contains('\0') && !is_withheld(text)
            }
            Self::Listen => text == OFF || text.parse::<SocketAddr>().is_ok(),
            Self::Bool | Self::Integer { .. } => false,
        }
    }

    /// Whether values of this kind are withheld wherever settings are printed.
    pub(crate) fn is_secret(self) -> bool {
        self == Self::Url
    }

    pub(crate) fn expected(self) -> String {
        match self {
            Self::Bool => "true or false".to_owned(),
            Self::Integer { min, max } => format!("an integer from {min} to {max}"),
            Self::Duration { min, max } => format!("a duration from \"{min}\" to \"{max}\""),
            Self::OneOf(words) => {
                let quoted: Vec<_> = words.iter().map(|word| format!("\"{word}\"")).collect();
                match quoted.split_last() {
                    Some((last, first)) if !first.is_empty() => format!(
                        "{} or \
                        {last}",
                        first.join(", ")
                    ),
                    _ => quoted.concat(),
                }
            }
            Self::LogLevel => "off, error, warn, info, debug or trace, or a list such as \
                \"info,agent_sync=debug\""
                .to_owned(),
            Self::Path => "the path of a file".to_owned(),
            Self::SecretFile => "the path of a file, starting with `/`, `./` or `../`".to_owned(),
            Self::Url => "a connection string".to_owned(),
            Self::Identifier => "a name of 1 to 63 bytes".to_owned(),
            Self::Listen => "an IP address and a port, or \"off\"".to_owned(),
        }
    }

    fn found(self, given: Given<'_>) -> String {
        let withheld = matches!(self, Self::Url | Self::SecretFile);
        match given {
            Given::Hidden(_) => "a value that is not shown".to_owned(),
            Given::Text("") | Given::Word("") => "an empty string".to_owned(),
            Given::Text(_) | Given::Word(_) if withheld => "a string that is not shown".to_owned(),
            Given::Bool(_) if withheld => "a boolean".to_owned(),
            Given::Integer(_) if withheld => "an integer".to_owned(),
            Given::Bool(value) => value.to_string(),
            Given::Integer(value) => value.to_string(),
            Given::Text(text) | Given::Word(text) => shown(text),
            Given::Other(name) => name.to_owned(),
        }
    }
}

/// Whether the text is `LEVEL`, `TARGET` `=` `LEVEL`: the part of the filter's language that a
/// settings file needs.
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
mod tests {
    use super::*;

    #[test]
    fn the_environment_is_coerced_by_the_kind_of_the_key() {
        let integer = Kind::Integer { min: 1, max: 9 };
        assert_eq!(Kind::Bool.check(Given::Word("true")), Ok(true.into()));
        assert_eq!(integer.check(Given::Word("7")), Ok(7_i64.into()));
        assert_eq!(Kind::OneOf(&["7"]).check(Given::Word("7")), Ok("7".into()));
    }

    #[test]
    fn a_file_is_not_coerced() {
        assert!(Kind::Bool.check(Given::Text("true")).is_err());
        assert!(
            Kind::Integer { min: 1, max: 9 }
                .check(Given::Text("7"))
                .is_err()
        );
        assert!(Kind::OneOf(&["7"]).check(Given::Integer(7)).is_err());
    }

    #[test]
    fn bounds_are_inclusive() {
        let integer = Kind::Integer { min: 1, max: 9 };
        let duration = Kind::Duration {
            min: "1s",
            max: "1m",
        };
        for (value, fits) in [(0, false), (1, true), (9, true), (10, false)] {
            assert_eq!(
                integer.check(Given::Integer(value)).is_ok(),
                fits,
                "{value}"
            );
        }
        for (value, fits) in [
            ("999ms", false),
            ("1s", true),
            ("60s", true),
            ("61s", false),
        ] {
            assert_eq!(duration.check(Given::Text(value)).is_ok(), fits, "{value}");
        }
    }

    #[test]
    fn log_levels_are_levels_and_lists_of_them() {
        for (text, fits) in [
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
            assert_eq!(
                Kind::LogLevel.check(Given::Text(text)).is_ok(),
                fits,
                "{text}"
            );
        }
    }

    #[test]
    fn an_address_to_listen_on_has_a_port_and_no_name() {
        for (text, fits) in [
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
            assert_eq!(
                Kind::Listen.check(Given::Text(text)).is_ok(),
                fits,
                "{text}"
            );
        }
    }

    #[test]
    fn no_mismatch_quotes_a_secret() {
        for kind in [Kind::Url, Kind::SecretFile] {
            for given in [
                Given::Bool(true),
                Given::Integer(12345),
                Given::Hidden("hunter2"),
                Given::Text("hunter2"),
            ] {
                let found = kind.found(given);
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
