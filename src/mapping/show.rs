//! How values are named in reasons: what they are, never what a string says (M7).

use std::borrow::Cow;
use std::fmt::Write as _;

use super::json;
use super::path::Path;

/// A valid JSON value by its kind. Numbers and booleans are quoted; strings, arrays and objects are
/// not.
pub(crate) fn describe(raw: &str) -> String {
    match raw.as_bytes().first() {
        Some(b'{') => "an object".to_owned(),
        Some(b'[') => "an array".to_owned(),
        Some(b'"') => string(raw),
        Some(b'-' | b'0'..=b'9') => format!("the number {}", shorten(raw, 40)),
        _ => raw.to_owned(),
    }
}

/// A JSON string by its length.
pub(super) fn string(raw: &str) -> String {
    match json::text(raw).map_or(0, |text| text.chars().count()) {
        0 => "a string".to_owned(),
        1 => "a string of 1 character".to_owned(),
        count => format!("a string of {count} characters"),
    }
}

/// At most `most` characters of a text, with three dots where some are left out: a database need
/// not be able to hold an ellipsis.
pub(super) fn shorten(text: &str, most: usize) -> Cow<'_, str> {
    match text.char_indices().nth(most) {
        Some((end, _)) => Cow::Owned(format!("{}...", text.get(..end).unwrap_or(""))),
        None => Cow::Borrowed(text),
    }
}

/// A name as a TOML key: bare where TOML allows it, else quoted, with everything escaped that could
/// disturb a log.
pub(super) fn toml_key(name: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !name.is_empty() && name.chars().all(bare) {
        name.to_owned()
    } else {
        quoted(name)
    }
}

/// The place of a voice setting in reasons and warnings, like `voice_settings.speed`.
pub(super) fn setting(path: &Path) -> String {
    setting_of(path.keys().iter())
}

/// The same of the keys that lead to it.
pub(super) fn setting_of(keys: impl Iterator<Item = impl AsRef<str>>) -> String {
    format!("voice_settings.{}", place(keys))
}

/// The same inside the voice settings.
pub(super) fn place(keys: impl Iterator<Item = impl AsRef<str>>) -> String {
    let keys = keys.map(|key| toml_key(&shorten(key.as_ref(), 64)));
    keys.collect::<Vec<_>>().join(".")
}

/// The name of a provider, quoted and shortened.
pub(super) fn name(text: &str) -> String {
    quoted(&shorten(text.trim(), 64))
}

/// A text in double quotes, on one line, without control characters: a TOML string, and readable
/// for anyone else. It has no backticks either, which mark a command in messages.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if disturbs_message(c) => escape(&mut out, c),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// `a`, `a or b`, `a, b or c`.
pub(super) fn one_of(names: &[impl AsRef<str>]) -> String {
    match names {
        [] => "nothing".to_owned(),
        [only] => only.as_ref().to_owned(),
        [first @ .., last] => {
            let first: Vec<_> = first.iter().map(AsRef::as_ref).collect();
            format!("{} or {}", first.join(", "), last.as_ref())
        }
    }
}

/// Whether a character can disturb a message: one that can disturb a terminal, or a backtick, which
/// marks a command there that the pages make copyable.
pub(crate) fn disturbs_message(c: char) -> bool {
    disturbs(c) || c == '`'
}

/// Whether a character can disturb a terminal or forge a line: control characters (C0, C1),
/// separators of lines and paragraphs, and marks that turn the direction of writing.
pub(crate) fn disturbs(c: char) -> bool {
    let turns = matches!(
        c,
        '\u{61C}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}'
    );
    turns || c.is_control()
}

/// Writes a character as `\u` and four digits. All that disturb fit.
pub(crate) fn escape(out: &mut String, c: char) {
    // Writing to a string cannot fail.
    let _ = write!(out, "\\u{:04x}", u32::from(c));
}

/// A text of ASCII alone, which every database can hold.
pub(super) fn ascii(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii() {
            out.push(c);
        } else {
            escape(&mut out, c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_toml_keys() {
        for (name, key) in [
            ("acme", "acme"),
            ("acme-2_x", "acme-2_x"),
            ("", "\"\""),
            ("a.b", "\"a.b\""),
            ("a\"\\\n\u{7f}\u{202e}", r#""a\"\\\u000a\u007f\u202e""#),
        ] {
            assert_eq!(toml_key(name), key);
        }
    }

    #[test]
    fn long_names_are_shortened_between_characters() {
        assert_eq!(shorten("äöü", 3), "äöü");
        assert_eq!(shorten("äöüß", 3), "äöü...");
    }
}
