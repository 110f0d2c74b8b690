//! The mistakes in the settings: all of them at once, one on each line, with place and remedy.
//!
//! Invariant: a mistake never quotes a secret. It quotes values only through [`shown`], which
//! withholds every text that looks like a connection string, because people put those into wrong
//! keys.

use std::fmt;

/// One mistake in the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The key in its dotted form; empty where the mistake is about a whole file.
    pub key: String,
    /// Where the value comes from: a file with its line, or an environment variable.
    pub source: String,
    /// The expected and the found value.
    pub what: String,
    /// The remedy; empty where it is plain.
    pub remedy: String,
}

impl Mistake {
    pub(crate) fn new(
        key: impl Into<String>,
        source: impl Into<String>,
        what: impl Into<String>,
    ) -> Self {
        Self {
            key: key.into(),
            source: source.into(),
            what: what.into(),
            remedy: String::new(),
        }
    }

    pub(crate) fn mismatch(
        key: impl Into<String>,
        source: impl Into<String>,
        expected: impl fmt::Display,
        found: impl fmt::Display,
    ) -> Self {
        Self::new(key, source, format!("expected {expected}, found {found}"))
    }

    /// The same mistake, with this source if it has none.
    #[must_use]
    pub(crate) fn or_from(mut self, source: &str) -> Self {
        if self.source.is_empty() {
            source.clone_into(&mut self.source);
        }
        self
    }

    /// The same mistake of another key, with this source if it has none.
    #[must_use]
    pub(crate) fn at(self, key: &str, source: &str) -> Self {
        let key = key.to_owned();
        Self { key, ..self }.or_from(source)
    }

    #[must_use]
    pub(crate) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = remedy.into();
        self
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.source)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.what)?;
        if !self.remedy.is_empty() {
            write!(f, "; {}", self.remedy)?;
        }
        Ok(())
    }
}

/// Every mistake of the settings, in the order of the sources.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", lines(mistakes))]
pub struct SettingsError {
    /// The mistakes; never empty.
    pub mistakes: Vec<Mistake>,
}

fn lines(mistakes: &[Mistake]) -> String {
    let lines: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

/// The longest value that is quoted in full.
const LONGEST: usize = 60;

/// Whether a value looks like a connection string or a part of one with the password, which people
/// put into the wrong place, and with typing errors: a URL with its scheme or its credentials, a
/// pair with a password, or a line of a password file.
pub fn is_withheld(text: &str) -> bool {
    const SCHEMES: [&str; 5] = ["://", ":\\\\", "%3a", "postgres:", "postgresql:"];
    const KEYS: [&str; 4] = ["password", "passwd", "pwd", "pgpass"];
    let text = text.to_lowercase();
    let has_credentials = || {
        text.split_once(':')
            .is_some_and(|(_, rest)| rest.find('@') > Some(0))
    };
    let has_password = |key: &&str| {
        text.match_indices(key).any(|(at, key)| {
            let rest = text[at + key.len()..].trim_start();
            rest.starts_with(['=', ':']) && rest.len() > 1
        })
    };
    SCHEMES.iter().any(|scheme| text.contains(scheme))
        || has_credentials()
        || KEYS.iter().any(has_password)
        || is_password_line(&text)
}

/// Whether it is `host:port:database:user:password`.
fn is_password_line(text: &str) -> bool {
    let fields: Vec<_> = text.splitn(5, ':').collect();
    let is_port =
        |port: &str| port == "*" || !port.is_empty() && port.bytes().all(|c| c.is_ascii_digit());
    fields.len() == 5 && is_port(fields[1]) && !fields[4].is_empty()
}

/// The text in place of a connection string.
pub(crate) const WITHHELD: &str = "what looks like a connection string (not shown)";

/// A value as an error may quote it: escaped, cut, and withheld when it looks like a connection
/// string.
pub(crate) fn shown(text: &str) -> String {
    if is_withheld(text) {
        return WITHHELD.to_owned();
    }
    if text.chars().count() <= LONGEST {
        format!("{text:?}")
    } else {
        let start: String = text.chars().take(LONGEST).collect();
        format!("{start:?}…")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_quoted_escaped_and_cut() {
        assert_eq!(shown("a\n\"b\""), r#""a\n\"b\"""#);
        assert_eq!(shown(&"x".repeat(61)), format!("\"{}\"…", "x".repeat(60)));
    }

    #[test]
    fn a_connection_string_in_the_wrong_place_is_withheld() {
        for text in [
            "postgres://app:hunter2@db/x",
            "postgres:/app:hunter2@db/x",
            "postgresql:app:hunter2",
            "postgres:\\\\app:hunter2",
            "postgres%3A//app%3Ahunter2",
            "//app:hunter2@db/x",
            "app:hunter2@db/x",
            "app:hunter2@db",
            "host=db PASSWORD=hunter2",
            "host=db password = hunter2",
            "Password: hunter2",
            "passwd=hunter2",
            "pwd=hunter2",
            "PGPASSWORD=hunter2",
            "db:5432:platform:app:hunter2",
            "*:*:*:app:hunter2",
        ] {
            assert!(!shown(text).contains("hunter2"), "{}", shown(text));
        }
        for text in [
            "agent-1",
            "a:b",
            "user@tenant",
            "127.0.0.1:9878",
            "[::1]:9878",
            "/run/secrets/password",
            "info,a::b=debug",
        ] {
            assert!(!is_withheld(text), "{text}");
        }
    }
}
