//! The mistakes in the settings: all of them at once, one on each line, with place and remedy.
//!
//! Invariant: a mistake never quotes a secret. It quotes values only through [`shown`], which
//! withholds every text that looks like a connection string, because people put those into wrong
//! keys.

use std::{fmt, io};

/// The remedy for a file that this user may not read, which is no mistake of the settings.
const AS_ANOTHER_USER: &str = "run this as root (sudo), or as the user of the daemon";

/// The remedy for a file that cannot be read; `remedy` is for every reason but a lack of
/// permission.
pub(crate) fn remedy_of_unreadable<'a>(error: &io::Error, remedy: &'a str) -> &'a str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => AS_ANOTHER_USER,
        _ => remedy,
    }
}

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
        self.write_rest(f)
    }
}

impl Mistake {
    /// Everything but the source.
    fn write_rest(&self, f: &mut impl fmt::Write) -> fmt::Result {
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

impl SettingsError {
    /// Whether every mistake is a file that this user may not read.
    pub fn is_denied(&self) -> bool {
        let mut mistakes = self.mistakes.iter();
        mistakes.all(|mistake| mistake.remedy == AS_ANOTHER_USER)
    }

    /// The mistakes by the file that they are in, in the order of the first ones.
    pub fn by_file(&self) -> Vec<OfFile<'_>> {
        let mut groups: Vec<OfFile<'_>> = Vec::new();
        for mistake in &self.mistakes {
            let file = line_of(&mistake.source).map(|(file, _)| file);
            match groups.iter_mut().find(|group| group.file == file) {
                Some(group) => group.mistakes.push(mistake),
                None => groups.push(OfFile {
                    file,
                    mistakes: vec![mistake],
                }),
            }
        }
        for group in &mut groups {
            let line = |mistake: &&Mistake| line_of(&mistake.source).map(|(_, line)| line);
            group.mistakes.sort_by_key(line);
        }
        groups
    }
}

/// The mistakes of one file, by line; or those of other sources.
#[derive(Debug)]
pub struct OfFile<'a> {
    /// The file; none for other sources.
    pub file: Option<&'a str>,
    mistakes: Vec<&'a Mistake>,
}

impl OfFile<'_> {
    /// The mistakes, a line each, without the name of the file.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        self.mistakes
            .iter()
            .map(|mistake| match line_of(&mistake.source) {
                Some((_, line)) => {
                    let mut text = format!("line {line}: ");
                    // Writing to a string cannot fail.
                    let _ = mistake.write_rest(&mut text);
                    text
                }
                None => mistake.to_string(),
            })
    }
}

/// The file and the line of a source, if it is one of a file.
pub(crate) fn line_of(source: &str) -> Option<(&str, u32)> {
    let (file, line) = source.rsplit_once(':')?;
    Some((file, line.parse().ok()?))
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
    fn a_file_that_may_not_be_read_is_no_mistake_of_the_settings() {
        let mistake = |kind: io::ErrorKind| {
            let remedy = remedy_of_unreadable(&kind.into(), "name another");
            Mistake::new("url_file", "x.toml:1", "cannot read x").remedy(remedy)
        };
        let denied = mistake(io::ErrorKind::PermissionDenied);
        assert_eq!(
            denied.to_string(),
            "x.toml:1: url_file: cannot read x; run this as root (sudo), or as the user of the \
            daemon"
        );
        let missing = mistake(io::ErrorKind::NotFound);
        assert_eq!(missing.remedy, "name another");
        for (mistakes, is_denied) in [(vec![denied.clone()], true), (vec![denied, missing], false)]
        {
            assert_eq!(SettingsError { mistakes }.is_denied(), is_denied);
        }
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
