//! Sanitizes text from rows, files and the network for terminals, the log and HTTP. This is the
//! only place that does.
//!
//! The writers of standard output, standard error, the log and HTTP take a [`Clean`], which only
//! this module creates. Control characters (C0, C1), marks that change the writing direction, and
//! line and paragraph separators become `\u` and four hexadecimal digits. In JSON that is the same
//! text; elsewhere the reader sees that the character is there.
//!
//! Passwords in connection strings of PostgreSQL become `********` (G11), because a row may contain
//! one.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use super::bounded::bounded_event;
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

/// The replacement of a password.
const MASK: &str = "********";

/// The placeholder of a password in the examples of messages.
const PLACEHOLDER: &str = "PASSWORD";

/// The key of a password in the query of a URL.
const PASSWORD: &str = "password=";

/// The beginnings of a connection string of PostgreSQL; JSON may have its slashes escaped.
const SCHEMES: [&str; 4] = [
    "postgres://",
    "postgresql://",
    r"postgres:\/\/",
    r"postgresql:\/\/",
];

/// Replaces the password of each connection string.
fn masked(text: Cow<'_, str>) -> Cow<'_, str> {
    let mut out = String::new();
    let mut copied = 0;
    for url in urls(&text) {
        if let Some(masked) = without_password(&text[url.clone()]) {
            out.push_str(&text[copied..url.start]);
            out.push_str(&masked);
            copied = url.end;
        }
    }
    if copied == 0 {
        return text;
    }
    out.push_str(&text[copied..]);
    out.into()
}

/// The connection strings of a text, each without its scheme.
///
/// None overlaps another, so the work with all of them grows with the length of the text. A scheme
/// within a connection string belongs to that one: it has no password that the outer one has not.
fn urls(text: &str) -> impl Iterator<Item = Range<usize>> {
    let mut end = 0;
    text.match_indices(':').filter_map(move |(colon, _)| {
        if colon < end {
            return None;
        }
        let scheme = SCHEMES.iter().find(|scheme| is_at(text, colon, scheme))?;
        let begin = colon + scheme.len() - scheme.find(':').unwrap_or_default();
        let ends = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '<' | '>' | '`');
        end = text[begin..].find(ends).map_or(text.len(), |at| begin + at);
        Some(begin..end)
    })
}

/// The part of a connection string after the scheme with its passwords replaced; `None` without a
/// password. A password follows the user or `password=`. Characters that should be encoded belong
/// to the password.
fn without_password(url: &str) -> Option<String> {
    let mut masked = url.to_owned();
    if let Some(at) = url.rfind('@')
        && let Some(colon) = url[..at].find(':')
        && &url[colon + 1..at] != PLACEHOLDER
    {
        masked.replace_range(colon + 1..at, MASK);
    }
    if let Some(key) = masked.to_ascii_lowercase().find(PASSWORD) {
        let value = key + PASSWORD.len();
        let end = masked[value..]
            .find('&')
            .map_or(masked.len(), |end| value + end);
        masked.replace_range(value..end, MASK);
    }
    (masked != url).then_some(masked)
}

/// Whether the text has this scheme, in any case, with its colon at this offset.
fn is_at(text: &str, colon: usize, scheme: &str) -> bool {
    let start = colon.checked_sub(scheme.find(':').unwrap_or_default());
    start
        .and_then(|start| text.get(start..start + scheme.len()))
        .is_some_and(|found| found.eq_ignore_ascii_case(scheme))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g11_the_password_of_a_connection_string_is_masked_wherever_it_stands() {
        for (text, shown) in [
            (
                "postgres://app:hunter2@db.example.com/platform",
                "postgres://app:********@db.example.com/platform",
            ),
            (
                "POSTGRESQL://app:hunter2@db",
                "POSTGRESQL://app:********@db",
            ),
            (
                r#"{"url":"postgresql://app:hunter2@db","b":"c@d"}"#,
                r#"{"url":"postgresql://app:********@db","b":"c@d"}"#,
            ),
            (
                r#"{"url":"postgres:\/\/app:hunter2@db\/x"}"#,
                r#"{"url":"postgres:\/\/app:********@db\/x"}"#,
            ),
            (
                "see postgres://a:hunter2@b and postgres://c:hunter2@d",
                "see postgres://a:********@b and postgres://c:********@d",
            ),
            ("postgres://app:hunt/er@2@db", "postgres://app:********@db"),
            ("postgres://:hunter2@db", "postgres://:********@db"),
            (
                "postgres://USER:PASSWORD@HOST",
                "postgres://USER:PASSWORD@HOST",
            ),
            (
                "postgres://app@db/x?Password=hunter2&sslmode=require",
                "postgres://app@db/x?Password=********&sslmode=require",
            ),
            (
                "postgres://app:hunter2@db/x?password=hunter2",
                "postgres://app:********@db/x?password=********",
            ),
        ] {
            assert_eq!(Clean::line(text).as_str(), shown);
            assert_eq!(Clean::lines(text).as_str(), shown);
            assert_eq!(Clean::styled(text).as_str(), shown);
            assert_eq!(Clean::line(shown).as_str(), shown, "masked once");
            assert_eq!(Clean::result(text).as_str(), text);
        }
        for text in [
            "postgres://app@db/platform",
            "postgres://db:5432/platform",
            "https://app:hunter2@example.com/",
            "postgres: see a@b",
            "://",
            "postgres://",
            "é:/postgres:// x@y",
            "postgres://USER:PASSWORD@postgres://HOST",
        ] {
            assert_eq!(Clean::line(text).as_str(), text);
        }
    }

    /// A text of schemes alone takes time that grows with its length, and a connection string of any
    /// length is masked as a whole.
    #[test]
    fn s3_no_byte_belongs_to_two_connection_strings() {
        let long = "x".repeat(100_000);
        for (unit, times) in [
            ("postgres://", 20_000),
            (r"postgres:\/\/", 20_000),
            ("postgres://a ", 20_000),
            ("POSTGRESQL://a@b\"", 20_000),
            ("postgres://a:b@postgres://c:d@ ", 10_000),
            (&*long, 1),
        ] {
            let text = unit.repeat(times);
            let (mut sum, mut end) = (0, 0);
            for url in urls(&text) {
                assert!(end <= url.start, "{unit}: {url:?} begins before {end}");
                sum += url.len();
                end = url.end;
            }
            assert!(sum <= text.len(), "{unit}: {sum} bytes of {}", text.len());
        }
        for (text, shown) in [
            (
                format!("postgres://a:{long}@b c"),
                "postgres://a:********@b c",
            ),
            (
                "postgres://postgres://a:hunter2@b".to_owned(),
                "postgres://postgres:********@b",
            ),
            (
                "postgres://a:postgres://hunter2@b".to_owned(),
                "postgres://a:********@b",
            ),
            (
                "postgres://a/postgres://b?password=hunter2".to_owned(),
                "postgres://a/postgres://b?password=********",
            ),
        ] {
            assert_eq!(Clean::line(&text).as_str(), shown);
        }
    }

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
