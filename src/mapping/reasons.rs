//! The reasons of a rejection, and the warnings: data first, wording in one place.

use std::fmt;

use super::show;

/// One thing that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Where: a column, or a path into a JSON column, like `voice_settings.temperature`.
    pub path: String,
    /// The expected value, in words.
    pub expected: String,
    /// The found value, in words. Never the text of a string: it could be a prompt or a key.
    pub found: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{}: expected {}, found {}",
            self.path, self.expected, self.found
        )
    }
}

/// The most mistakes that are reported for one agent, because an agent can have a hundred thousand
/// (G5).
const MOST: usize = 100;

/// Why nothing of an agent's configuration is written (M7): the mistakes, each path once. Displays
/// one a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// The mistakes, in the order of the columns; never empty, and 100 at most.
    pub mistakes: Vec<Mistake>,
    /// How many more there are, of which some may have a path that is among those.
    pub more: usize,
}

impl Rejection {
    /// Whether something is wrong with the configuration and not only with the agent.
    pub fn is_about_configuration(&self) -> bool {
        self.mistakes
            .iter()
            .any(|mistake| mistake.path.starts_with("provider_config"))
    }
}

impl std::error::Error for Rejection {}

impl fmt::Display for Rejection {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.mistakes.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(out, "{separator}{mistake}")?;
        }
        if self.more > 0 {
            write!(out, "\nand {} more", self.more)?;
        }
        Ok(())
    }
}

/// A remark on the provider of a section. The agent is mapped all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Warning {
    /// A provider that the rules do not know by name, so that the section's rule for any other is
    /// in force (M2).
    UnknownProvider {
        /// The section, like `tts`.
        section: String,
        /// The provider, shortened, quoted, with control characters escaped.
        provider: String,
        /// The table to add to the rules, like `[tts.providers.acme]`.
        rule: String,
    },
    /// Two settings name different providers (M9).
    ProvidersDiffer {
        /// The section, like `tts`.
        section: String,
        /// The setting that counts, and its provider, as above.
        taken: (String, String),
        /// The setting that does not, and its provider.
        ignored: (String, String),
    },
}

impl Warning {
    pub(super) fn unknown_provider(section: &str, provider: &str) -> Self {
        let provider = show::shorten(provider, 64);
        Self::UnknownProvider {
            section: section.to_owned(),
            provider: show::quoted(&provider),
            rule: format!(
                "[{}.providers.{}]",
                show::toml_key(section),
                show::toml_key(&provider)
            ),
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownProvider {
                section,
                provider,
                rule,
            } => write!(
                out,
                "{section}: no rule for the provider {provider}, so the rule for any other \
                provider is used; add {rule} to the rules"
            ),
            Self::ProvidersDiffer {
                section,
                taken: (taken, provider),
                ignored: (ignored, other),
            } => write!(
                out,
                "{section}: {taken} names the provider {provider} and {ignored} names {other}, and \
                the first counts; correct the agent, or add placeholders = [{provider}] to \
                [{table}] in the rules if {provider} names no provider",
                table = show::toml_key(section)
            ),
        }
    }
}

/// The mistakes met so far.
#[derive(Debug, Default)]
pub(super) struct Mistakes {
    mistakes: Vec<Mistake>,
    more: usize,
}

impl Mistakes {
    /// Notes a mistake, unless its path has one already.
    pub(super) fn add(
        &mut self,
        path: impl Into<String>,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) {
        if self.mistakes.len() == MOST {
            self.more += 1;
            return;
        }
        let path = path.into();
        if self.mistakes.iter().all(|mistake| mistake.path != path) {
            self.mistakes.push(Mistake {
                path,
                expected: expected.into(),
                found: found.into(),
            });
        }
    }

    /// The result: a rejection, if there was any mistake.
    pub(super) fn into_result(self) -> Result<(), Rejection> {
        let Self { mistakes, more } = self;
        if mistakes.is_empty() {
            Ok(())
        } else {
            Err(Rejection { mistakes, more })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_hundred_thousand_mistakes_a_hundred_are_told_and_the_rest_counted() {
        let mut mistakes = Mistakes::default();
        for number in 0..100_000 {
            mistakes.add(format!("voice_settings.k{number}"), "text", "a list");
        }
        let Err(rejection) = mistakes.into_result() else {
            panic!("none")
        };
        assert_eq!((rejection.mistakes.len(), rejection.more), (100, 99_900));
        assert!(
            rejection
                .to_string()
                .ends_with("voice_settings.k99: expected text, found a list\nand 99900 more")
        );
    }
}
