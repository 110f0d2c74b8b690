//! JSON as text: objects as ordered lists of members, and the depth, the size and the limits of a
//! value, without a tree.
//!
//! Everything here takes text that `serde_json` has found valid (see [`validate`]). Other text
//! gives useless answers, but it neither panics nor loops.

use std::borrow::Cow;
use std::fmt;

use serde_json::value::RawValue;

use super::decimal;
use super::tokens::Tokens;

/// The deepest nesting that is read: `serde_json`'s own limit, so that a runtime with the same
/// limit reads the written text.
pub(crate) const MAX_DEPTH: usize = 127;

/// The most values that are read of one column, those inside others included: each takes memory
/// many times its text (G12).
pub(super) const MAX_VALUES: usize = 250_000;

/// The one JSON value that `text` holds, without the white space around it.
pub(crate) fn validate(text: &str) -> Result<&str, serde_json::Error> {
    serde_json::from_str::<&RawValue>(text).map(RawValue::get)
}

/// Whether a value means "not set": JSON null or the empty string (M4).
pub(crate) fn not_set(raw: &str) -> bool {
    raw == "null" || raw == "\"\""
}

/// The text of a JSON string. `None` for another value, and for a string with a lone surrogate,
/// which no text can hold.
pub(crate) fn text(raw: &str) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        serde_json::from_str(raw).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(inner))
    }
}

/// A text as a JSON string.
pub(crate) fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Whether a value is nested more deeply than is read.
pub(super) fn too_deep(raw: &str) -> bool {
    // Most values have fewer brackets, in strings or not.
    raw.bytes()
        .filter(|byte| matches!(byte, b'{' | b'['))
        .count()
        > MAX_DEPTH
        && depth(raw) > MAX_DEPTH
}

/// Whether a value holds more values than are read.
pub(super) fn too_many(raw: &str) -> bool {
    // Most values are shorter, or have fewer commas, in strings or not.
    raw.len() > MAX_VALUES
        && raw.bytes().filter(|byte| *byte == b',').count() >= MAX_VALUES
        && values(raw) > MAX_VALUES
}

/// How many values there are in a value, itself not included: the elements of arrays and the
/// members of objects.
pub(super) fn values(raw: &str) -> usize {
    let (mut number, mut opened) = (0, false);
    for token in Tokens::of(raw) {
        // The first after a bracket, unless that closes at once, and one after each comma.
        number += usize::from(token == "," || opened && !matches!(token, "}" | "]"));
        opened = matches!(token, "{" | "[");
    }
    number
}

/// How deeply arrays and objects are nested in a value; 0 for a string, a number, a boolean and
/// null.
pub(super) fn depth(raw: &str) -> usize {
    let (mut now, mut most) = (0_usize, 0);
    for token in Tokens::of(raw) {
        match token {
            "{" | "[" => now += 1,
            "}" | "]" => now = now.saturating_sub(1),
            _ => {}
        }
        most = most.max(now);
    }
    most
}

/// The first part of a value that `PostgreSQL` cannot store in a `jsonb`.
pub(super) fn unstorable(raw: &str) -> Option<&'static str> {
    Tokens::of(raw).find_map(|token| match token.as_bytes() {
        [b'"', ..] if !token.contains('\\') => None,
        [b'"', ..] => match text(token) {
            None => Some("half of a surrogate pair"),
            Some(text) => text.contains('\0').then_some("the character NUL (\\u0000)"),
        },
        [b'-' | b'0'..=b'9', ..] if !decimal::storable(token) => {
            Some("a number beyond the range of numeric")
        }
        _ => None,
    })
}

/// A value with its white space made regular: none, or two spaces a level. Strings and numbers stay
/// as they are.
pub(crate) fn print(raw: &str, pretty: bool) -> String {
    fn line(out: &mut String, level: usize) {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", level));
    }
    let mut out = String::with_capacity(raw.len());
    let (mut level, mut opened) = (0_usize, false);
    for token in Tokens::of(raw) {
        let closes = matches!(token, "}" | "]");
        level -= usize::from(closes && level > 0);
        // An empty object or array stays in one piece.
        if pretty && opened != closes {
            line(&mut out, level);
        }
        out.push_str(token);
        opened = matches!(token, "{" | "[");
        level += usize::from(opened);
        match token {
            "," if pretty => line(&mut out, level),
            ":" if pretty => out.push(' '),
            _ => {}
        }
    }
    out
}

/// A JSON object as the ordered list of its members, each in the very text it was met in.
#[derive(Debug, Default)]
pub(crate) struct Object<'a> {
    members: Vec<Member<'a>>,
}

#[derive(Debug)]
struct Member<'a> {
    /// The key as JSON text, quotes included.
    key: Cow<'a, str>,
    /// Whether the key is spelled as what it says.
    plain: bool,
    value: Cow<'a, str>,
}

impl<'a> Member<'a> {
    fn new(key: Cow<'a, str>, value: Cow<'a, str>) -> Self {
        Self {
            plain: !key.contains('\\'),
            key,
            value,
        }
    }

    fn is(&self, name: &str) -> bool {
        says(&self.key, self.plain, name)
    }
}

/// Whether a key, as JSON text, is this name.
fn says(key: &str, plain: bool, name: &str) -> bool {
    if plain {
        key.get(1..key.len() - 1) == Some(name)
    } else {
        text(key).is_some_and(|key| key == name)
    }
}

/// The members of an object, each as its key and its value in the text; none if `raw` is something
/// else.
fn members(raw: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut tokens = Tokens::of(raw);
    let mut is_inside = tokens.next() == Some("{");
    std::iter::from_fn(move || {
        while is_inside {
            match tokens.next() {
                Some(",") => {}
                Some("}") | None => is_inside = false,
                Some(key) => {
                    tokens.next();
                    return Some((key, tokens.value()));
                }
            }
        }
        None
    })
}

/// The value of a key in the text of an object, without a list of its members; of a duplicate key
/// the last.
pub(super) fn member<'a>(object: &'a str, name: &str) -> Option<&'a str> {
    let named = members(object).filter(|(key, _)| says(key, !key.contains('\\'), name));
    named.last().map(|(_, value)| value)
}

impl<'a> Object<'a> {
    /// The members of an object; none if `raw` is something else.
    pub(crate) fn of(raw: &'a str) -> Self {
        let members = members(raw).map(|(key, value)| Member::new(key.into(), value.into()));
        let members = members.collect();
        Self { members }
    }

    /// Whether it is `{}`.
    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Keys (as JSON text) and values in their order, duplicates included.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.members
            .iter()
            .map(|member| (&*member.key, &*member.value))
    }

    /// The value of a key; of a duplicate key the last, as `jsonb` has it.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.members
            .iter()
            .rev()
            .find(|member| member.is(name))
            .map(|member| &*member.value)
    }

    /// Sets the value of a key at its last occurrence, or else at the end. Earlier duplicates stay:
    /// readers ignore them.
    pub(super) fn set(&mut self, name: &str, value: impl Into<Cow<'a, str>>) {
        let value = value.into();
        match self.members.iter_mut().rev().find(|member| member.is(name)) {
            Some(member) => member.value = value,
            None => self.members.push(Member::new(quote(name).into(), value)),
        }
    }

    /// Drops the members whose key `unwanted` names. It cannot name a key that no text can hold.
    pub(super) fn drop_where(&mut self, unwanted: impl Fn(&str) -> bool) {
        self.members
            .retain(|member| !text(&member.key).is_some_and(|key| unwanted(&key)));
    }
}

impl fmt::Display for Object<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("{")?;
        for (index, Member { key, value, .. }) in self.members.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(out, "{comma}{key}:{value}")?;
        }
        out.write_str("}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_keeps_the_text_of_its_members() {
        let raw = r#" {"a" : 1.00 ,"\u0062":{ "x":[1, 2] },"a":"}\"," , "\ud800":null} "#;
        let mut object = Object::of(raw);
        assert_eq!(object.get("a"), Some(r#""}\",""#));
        assert_eq!(object.get("b"), Some(r#"{ "x":[1, 2] }"#));
        object.set("b", "true");
        object.set("c", "[]");
        assert_eq!(
            object.to_string(),
            r#"{"a":1.00,"\u0062":true,"a":"}\",","\ud800":null,"c":[]}"#
        );
        object.drop_where(|name| name == "a");
        assert_eq!(
            object.to_string(),
            r#"{"\u0062":true,"\ud800":null,"c":[]}"#
        );
    }

    #[test]
    fn depth_is_not_breadth() {
        for (raw, levels) in [
            ("1", 0),
            ("[[],[],{}]", 2),
            (r#"{"[[[":[{}],"b":[[1]]}"#, 3),
        ] {
            assert_eq!(depth(raw), levels, "{raw}");
        }
    }

    #[test]
    fn values_are_counted_at_every_level_and_not_within_strings() {
        for (raw, number) in [
            ("1", 0),
            ("[]", 0),
            ("[1]", 1),
            ("[1,[2,3],{}]", 5),
            (r#"{"a,b":",,","c":{"d":[]}}"#, 3),
        ] {
            assert_eq!(values(raw), number, "{raw}");
        }
        let many = |number: usize| format!("[{}1]", "1,".repeat(number - 1));
        assert!(!too_many(&many(MAX_VALUES)) && too_many(&many(MAX_VALUES + 1)));
        assert!(!too_many(&format!("[\"{}\"]", ",".repeat(2 * MAX_VALUES))));
    }

    #[test]
    fn printing_changes_white_space_only() {
        let raw = "{ \"a\" : [ ] , \"b\":{\"c\" :[1.50,\n\"x, y\"]},\"d\":{ } }";
        assert_eq!(
            print(raw, false),
            r#"{"a":[],"b":{"c":[1.50,"x, y"]},"d":{}}"#
        );
        let pretty = "{\n  \"a\": [],\n  \"b\": {\n    \"c\": [\n      1.50,\n      \"x, y\"\n    \
            ]\n  },\n  \"d\": {}\n}";
        assert_eq!(print(raw, true), pretty);
    }

    #[test]
    fn what_postgresql_cannot_store_is_found_wherever_it_is() {
        for raw in [
            r#"["\u0000"]"#,
            r#"{"\uD800":1}"#,
            r#""\ud800x""#,
            r#""\ud800\u0041""#,
            r#""\udc00""#,
            "[1e200000]",
        ] {
            assert!(unstorable(raw).is_some(), "{raw}");
        }
        for raw in [
            r#""\\u0000""#,
            r#""\ud83d\ude00\n\u00e9""#,
            r#"{"a":[1e100,"\\\\"]}"#,
            "null",
        ] {
            assert_eq!(unstorable(raw), None, "{raw}");
        }
    }

    #[test]
    fn text_that_is_no_json_neither_panics_nor_loops() {
        for raw in [
            "", "\"", "\"\\", "\"\\é", "{\"a", "{\"a\"", "{\"a\":", "]]]]", "{{{{", "{\"a\":]",
            "é{", ",,:",
        ] {
            let mut object = Object::of(raw);
            object.set("a", "1");
            let _ = (
                object.to_string(),
                depth(raw),
                unstorable(raw),
                print(raw, true),
                text(raw),
            );
        }
    }
}
