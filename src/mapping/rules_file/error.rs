//! The mistakes of a rules file: each with its line, its path, what was expected, and what was
//! found.

use std::fmt;
use std::ops::Range;

/// One mistake in a rules file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RulesMistake {
    /// The line, from 1.
    pub line: usize,
    /// The character in the line, from 1.
    pub column: usize,
    /// Where in the rules, like `tts.providers.acme.fields.voice`; empty where there is no telling.
    pub path: String,
    /// The expected value, in words.
    pub expected: String,
    /// The found value, in words.
    pub found: String,
}

impl fmt::Display for RulesMistake {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            line,
            path,
            expected,
            found,
            ..
        } = self;
        let colon = if path.is_empty() { "" } else { ": " };
        write!(
            out,
            "line {line}: {path}{colon}expected {expected}, found {found}"
        )
    }
}

/// Why a rules file is refused: every mistake, in the order of the file. Displays one a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RulesError {
    /// The mistakes; never empty.
    pub mistakes: Vec<RulesMistake>,
}

impl std::error::Error for RulesError {}

impl fmt::Display for RulesError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.mistakes.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(out, "{separator}{mistake}")?;
        }
        Ok(())
    }
}

/// The mistakes found so far in one text.
pub(super) struct Mistakes<'t> {
    text: &'t str,
    found: Vec<RulesMistake>,
}

impl<'t> Mistakes<'t> {
    pub(super) fn of(text: &'t str) -> Self {
        Self {
            text,
            found: Vec::new(),
        }
    }

    /// Notes a mistake at a place in the text.
    pub(super) fn add(
        &mut self,
        span: &Range<usize>,
        path: impl Into<String>,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let (lines, line) = before
            .rsplit_once('\n')
            .map_or((0, before), |(lines, line)| {
                (lines.matches('\n').count() + 1, line)
            });
        self.found.push(RulesMistake {
            line: lines + 1,
            column: line.chars().count() + 1,
            path: path.into(),
            expected: expected.into(),
            found: found.into(),
        });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// The end of the matter, where there was a mistake.
    pub(super) fn into_error(mut self) -> RulesError {
        self.found
            .sort_by_key(|mistake| (mistake.line, mistake.column));
        RulesError {
            mistakes: self.found,
        }
    }
}
