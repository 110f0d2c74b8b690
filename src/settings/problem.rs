//! What is wrong with the settings: every mistake at once, one a line, with where it is and what to do.
//!
//! Invariant: a problem never quotes a secret. Values reach this page only through [`shown`], which withholds
//! whatever looks like a connection string, because people put those into the wrong key.

use std::fmt;

use crate::exit::Fault;

/// One mistake in the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The key in its dotted form; empty where the mistake is about a whole file.
    pub key: String,
    /// Where the value comes from: a file with its line, or an environment variable.
    pub source: String,
    /// What was expected and what was found.
    pub what: String,
    /// What to do; empty where that is plain.
    pub remedy: String,
}

impl Problem {
    pub(crate) fn new(key: impl Into<String>, source: impl Into<String>, what: impl Into<String>) -> Self {
        Self { key: key.into(), source: source.into(), what: what.into(), remedy: String::new() }
    }

    pub(crate) fn mismatch(
        key: impl Into<String>,
        source: impl Into<String>,
        expected: impl fmt::Display,
        found: impl fmt::Display,
    ) -> Self {
        Self::new(key, source, format!("expected {expected}, found {found}"))
    }

    #[must_use]
    pub(crate) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = remedy.into();
        self
    }
}

impl fmt::Display for Problem {
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsError {
    /// The mistakes; never empty.
    pub problems: Vec<Problem>,
}

impl SettingsError {
    /// The end of a verb: a fault with exit code 64, and every mistake as its cause.
    pub fn into_fault(self) -> anyhow::Error {
        let what = match self.problems.len() {
            1 => "the settings have a mistake".to_owned(),
            count => format!("the settings have {count} mistakes"),
        };
        anyhow::Error::new(self).context(Fault::usage(what))
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for SettingsError {}

/// The longest value that is quoted in full.
const LONGEST: usize = 60;

/// Whether a value looks like a connection string, which people put into the wrong key.
pub fn is_withheld(text: &str) -> bool {
    text.contains("://") || text.to_ascii_lowercase().contains("password=")
}

/// What is said in the place of a connection string.
pub(crate) const WITHHELD: &str = "what looks like a connection string (not shown)";

/// A value as an error may quote it: escaped, cut, and withheld when it looks like a connection string.
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
        for text in ["postgres://app:hunter2@db/x", "host=db PASSWORD=hunter2"] {
            assert!(!shown(text).contains("hunter2"), "{}", shown(text));
        }
    }
}
