//! Masks the passwords of connection strings in any text (G11).

use std::borrow::Cow;
use std::ops::Range;

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
pub(super) fn masked(text: Cow<'_, str>) -> Cow<'_, str> {
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
        end = begin + length(&text[begin..]);
        Some(begin..end)
    })
}

/// The length of a connection string at the start of the text.
///
/// The text may be JSON, or a constant for a shell or PostgreSQL. So the connection string takes no
/// part of an escape with it: a quotation mark behind a backslash belongs to it as in JSON, and a
/// backslash before an apostrophe does not, because it may escape that.
fn length(text: &str) -> usize {
    let mut escapes = false;
    for (at, c) in text.char_indices() {
        match c {
            '\\' => escapes = !escapes,
            '"' if escapes => escapes = false,
            c if c.is_whitespace() || matches!(c, '"' | '\'' | '`') => {
                return at - usize::from(escapes);
            }
            _ => escapes = false,
        }
    }
    text.len()
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
    use crate::show::Clean;

    /// The mask leaves each escape whole, so JSON is the same JSON but for the password, and a
    /// constant of a shell or PostgreSQL ends where it ended.
    #[test]
    fn s10_the_mask_takes_no_escape_apart() {
        for secret in [
            "x", "x\"", "x\\", "x\\\"", "x\\\\\"y", "pa\"ss", "\u{1b}x", "x\u{1b}", "x'", "x\\'y",
            "\"@", "<a>",
        ] {
            for url in [
                format!("postgres://h/d?password={secret}"),
                format!("postgres://u:{secret}@h/d"),
                format!("\tpostgres://?password={secret}; touch pwned #"),
            ] {
                let value = serde_json::json!({ "slug": url, "other": [url, "\"", "\\"] });
                let text = value.to_string();
                let clean = Clean::line(&text).into_string();
                let Ok(shown) = serde_json::from_str::<serde_json::Value>(&clean) else {
                    panic!("no JSON: {clean}");
                };
                for same in [1, 2] {
                    assert_eq!(shown["other"][same], value["other"][same], "{clean}");
                }
            }
        }
        for (text, shown) in [
            (
                r#"{"a":"postgres://u:pa\"ss@h","b":"c@d"}"#,
                r#"{"a":"postgres://u:********@h","b":"c@d"}"#,
            ),
            (
                r"run $'\u0009postgres://?password=x\'; touch pwned #'",
                r"run $'\u0009postgres://?password=********\'; touch pwned #'",
            ),
            (
                r"run 'postgres://?password=x\' and go on",
                r"run 'postgres://?password=********\' and go on",
            ),
            (
                r"E'postgres://?password=x\\''y'",
                r"E'postgres://?password=********''y'",
            ),
            ("postgres://u:a<b>c@h", "postgres://u:********@h"),
        ] {
            assert_eq!(Clean::line(text).as_str(), shown);
        }
    }

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

    /// A text of schemes alone takes time that grows with its length, and a connection string of
    /// any length is masked as a whole.
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
}
