//! Why an agent is rejected, and what is worth a warning: data first, wording in one place.

use std::fmt;

use super::show;

/// One thing that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Where: a column, or a path into a JSON column, like `voice_settings.temperature`.
    pub path: String,
    /// What should have been there.
    pub expected: String,
    /// What was there instead. Never the text of a string: it could be a prompt or a key.
    pub found: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: expected {}, found {}", self.path, self.expected, self.found)
    }
}

/// Why nothing of an agent's configuration is written (M7): every mistake, each path once. Displays one a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// The mistakes, in the order of the columns; never empty.
    pub mistakes: Vec<Mistake>,
}

impl std::error::Error for Rejection {}

impl fmt::Display for Rejection {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.mistakes.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(out, "{separator}{mistake}")?;
        }
        Ok(())
    }
}

/// A provider that the rules do not know by name, so that the section's rule for any other is in force (M2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The section, like `tts`.
    pub section: String,
    /// The provider, shortened, quoted, with control characters escaped.
    pub provider: String,
    /// The table to add to the rules, like `[tts.providers.acme]`.
    pub rule: String,
}

impl Warning {
    pub(super) fn unknown_provider(section: &str, provider: &str) -> Self {
        let provider = show::shorten(provider, 64);
        Self {
            section: section.to_owned(),
            provider: show::quoted(&provider),
            rule: format!("[{}.providers.{}]", show::toml_key(section), show::toml_key(&provider)),
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { section, provider, rule } = self;
        write!(
            out,
            "{section}: no rule for the provider {provider}, so the rule for any other provider is used; add {rule} to the rules"
        )
    }
}

/// The mistakes met so far.
#[derive(Debug, Default)]
pub(super) struct Mistakes(Vec<Mistake>);

impl Mistakes {
    /// Notes a mistake, unless its path has one already.
    pub(super) fn add(
        &mut self,
        path: impl Into<String>,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) {
        let path = path.into();
        if self.0.iter().all(|mistake| mistake.path != path) {
            self.0.push(Mistake { path, expected: expected.into(), found: found.into() });
        }
    }

    /// The end of the matter: a rejection, if there was any mistake.
    pub(super) fn into_result(self) -> Result<(), Rejection> {
        if self.0.is_empty() { Ok(()) } else { Err(Rejection { mistakes: self.0 }) }
    }
}
