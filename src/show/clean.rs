//! Sanitizes text from rows, files and the network for terminals, the log and HTTP. This is the
//! only place that does.
//!
//! The writers of standard output, standard error, the log and HTTP take a [`Clean`], which only
//! this module creates. Control characters (C0, C1), marks that change the writing direction, and
//! line and paragraph separators become `\u` and four hexadecimal digits. In JSON that is the same
//! text; elsewhere the reader sees that the character is there.
//!
//! Passwords in connection strings of PostgreSQL become `********` (G11), because a row may contain
//! one; `passwords` masks them.

mod passwords;

use std::borrow::Cow;
use std::fmt;

use passwords::masked;

use super::bounded::bounded_event;
use super::text::fitted;
use crate::mapping::disturbs;

/// Sanitized text: it cannot disturb a terminal or forge a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clean<'a>(Cow<'a, str>);

impl<'a> Clean<'a> {
    /// Sanitizes a name, a path or a sentence to one line.
    pub fn line(text: &'a str) -> Self {
        Self(masked(replaced(text, |_| false)))
    }

    /// Sanitizes text of several lines, such as JSON: line feeds and tabs stay.
    pub fn lines(text: &'a str) -> Self {
        Self(masked(replaced(text, |c| c == '\n' || c == '\t')))
    }

    /// Sanitizes text of several lines and keeps passwords: for `render`, which prints its own
    /// input.
    pub(crate) fn result(text: &'a str) -> Self {
        Self(replaced(text, |c| c == '\n' || c == '\t'))
    }

    /// Sanitizes text of several lines with colours: sequences for colours and weight stay, others
    /// do not.
    pub fn styled(text: &'a str) -> Self {
        if !text.contains(ESCAPE) {
            return Self::lines(text);
        }
        let mut pieces = text.split(ESCAPE);
        let mut out = Self::lines(pieces.next().unwrap_or_default())
            .0
            .into_owned();
        for piece in pieces {
            let (style, rest) = piece.split_at(style(piece));
            out.push_str(if style.is_empty() {
                r"\u001b"
            } else {
                "\u{1b}"
            });
            out.push_str(style);
            out.push_str(&Self::lines(rest).0);
        }
        Self(out.into())
    }

    /// Sanitizes an event of the log, in JSON or with colours. Each of its texts is bounded, and so
    /// is an event that is no JSON.
    pub fn event(text: &str) -> Clean<'static> {
        Clean::styled(&bounded_event(text)).into_owned()
    }

    /// The text in lines of at most `width` columns (`text::fitted`).
    #[must_use]
    pub fn fitted(&self, width: usize) -> Clean<'static> {
        Clean(fitted(&self.0, width).into())
    }

    /// Passes text unchanged that comes from the settings and this program alone: SQL, completions,
    /// the manual page.
    pub(crate) fn verbatim(text: &'a str) -> Self {
        Self(text.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text as a string, without a copy where it is owned.
    pub fn into_string(self) -> String {
        self.0.into_owned()
    }

    /// The text as an owned value.
    pub fn into_owned(self) -> Clean<'static> {
        Clean(self.0.into_owned().into())
    }
}

impl fmt::Display for Clean<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(&self.0)
    }
}

const ESCAPE: char = '\u{1b}';

/// The length of the colour or weight sequence at the start of the text after an escape character;
/// 0 if it is none.
fn style(text: &str) -> usize {
    let Some(end) = text.strip_prefix('[').and_then(|rest| rest.find('m')) else {
        return 0;
    };
    // Not included: blinking, hidden text, backgrounds.
    let plain = |code: &str| matches!(code.parse(), Ok(0..=4 | 22..=24 | 30..=37 | 39 | 90..=97));
    let codes = text.get(1..=end).unwrap_or_default();
    if codes.is_empty() || codes.split(';').all(plain) {
        end + 2
    } else {
        0
    }
}

fn replaced(text: &str, stays: impl Fn(char) -> bool) -> Cow<'_, str> {
    let harmful = |c: char| disturbs(c) && !stays(c);
    if !text.contains(harmful) {
        return text.into();
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if harmful(c) {
            crate::mapping::escape(&mut out, c);
        } else {
            out.push(c);
        }
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// C0 and C1, the marks that change the writing direction, and the separators.
    fn harmful() -> impl Iterator<Item = char> {
        let ranges = [
            '\0'..='\u{1f}',
            '\u{7f}'..='\u{9f}',
            '\u{200e}'..='\u{200f}',
            '\u{2028}'..='\u{202e}',
        ];
        ranges
            .into_iter()
            .flatten()
            .chain('\u{2066}'..='\u{2069}')
            .chain(['\u{61c}'])
    }

    #[test]
    fn s10_what_disturbs_a_terminal_is_visible_and_nothing_else_changes() {
        for c in harmful() {
            let text = format!("a{c}b");
            let escaped = format!("a\\u{:04x}b", u32::from(c));
            assert_eq!(Clean::line(&text).as_str(), escaped);
            let lines = if c == '\n' || c == '\t' {
                &text
            } else {
                &escaped
            };
            assert_eq!(Clean::lines(&text).as_str(), lines);
            assert_eq!(Clean::styled(&text).as_str(), lines);
        }
        for text in ["", "plain", "Ünïcode ✗ 👩‍💻 עברית", "a\\u001b \"quoted\""] {
            assert_eq!(Clean::line(text).as_str(), text);
        }
    }

    #[test]
    fn s10_json_stays_the_same_json() {
        for c in harmful() {
            let value = serde_json::json!({ format!("k{c}"): format!("v{c}") });
            let text = serde_json::to_string_pretty(&value).unwrap_or_default();
            let clean = Clean::lines(&text);
            assert!(
                !clean.as_str().replace('\n', "").contains(disturbs),
                "{c:?}"
            );
            assert_eq!(
                serde_json::from_str::<serde_json::Value>(clean.as_str()).ok(),
                Some(value)
            );
        }
    }

    #[test]
    fn s10_of_escape_sequences_only_colours_pass() {
        for colour in [
            "\u{1b}[0m",
            "\u{1b}[m",
            "\u{1b}[1m",
            "\u{1b}[31m",
            "\u{1b}[1;32m",
            "\u{1b}[90m",
        ] {
            let text = format!("a{colour}b");
            assert_eq!(Clean::styled(&text).as_str(), text);
        }
        for (sequence, seen) in [
            ("\u{1b}[2J", r"\u001b[2J"),
            ("\u{1b}[8m", r"\u001b[8m"),
            ("\u{1b}[41m", r"\u001b[41m"),
            ("\u{1b}[31;5m", r"\u001b[31;5m"),
            ("\u{1b}[2J m", r"\u001b[2J m"),
            ("\u{1b}]52;c;eA==\u{7}", r"\u001b]52;c;eA==\u0007"),
            ("\u{1b}", r"\u001b"),
            ("\u{1b}\u{1b}[1m", "\\u001b\u{1b}[1m"),
            ("\u{9b}2J", r"\u009b2J"),
        ] {
            assert_eq!(Clean::styled(sequence).as_str(), seen);
        }
    }
}
