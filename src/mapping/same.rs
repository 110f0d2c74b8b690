//! The comparison of two JSON values by meaning. It decides whether a target is written (M8).
//!
//! White space, the order of keys, and the ways to spell a string or a number do not count; of a
//! duplicate key the last counts, as in `jsonb`. Numbers are compared exactly, never as floating
//! point.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::decimal::Decimal;
use super::json;
use super::tokens::Tokens;

/// Whether two valid JSON values mean the same. Values nested too deeply to read are the same as
/// themselves only.
pub(crate) fn same(left: &str, right: &str) -> bool {
    left == right || (!json::too_deep(left) && !json::too_deep(right) && node(left) == node(right))
}

/// A value in a form that equality can be derived for. Its depth is bounded by [`same`].
#[derive(Debug, PartialEq)]
enum Node<'a> {
    Nothing,
    Word(&'a str),
    Number(Decimal),
    Text(Text<'a>),
    Array(Vec<Node<'a>>),
    Object(BTreeMap<Text<'a>, Node<'a>>),
}

/// A string by what it says; a string that no text can hold (a lone surrogate) by how it is
/// written.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Text<'a> {
    Says(Cow<'a, str>),
    Written(&'a str),
}

impl<'a> Text<'a> {
    fn of(raw: &'a str) -> Self {
        json::text(raw).map_or(Self::Written(raw), Self::Says)
    }
}

fn node(raw: &str) -> Node<'_> {
    let mut tokens = Tokens::of(raw);
    let first = tokens.next();
    first.map_or(Node::Nothing, |first| value(first, &mut tokens))
}

fn value<'a>(first: &'a str, tokens: &mut Tokens<'a>) -> Node<'a> {
    match first {
        "[" => {
            let mut items = Vec::new();
            while let Some(token) = tokens.next() {
                match token {
                    "," => {}
                    "]" => break,
                    token => items.push(value(token, tokens)),
                }
            }
            Node::Array(items)
        }
        "{" => {
            let mut members = BTreeMap::new();
            while let Some(token) = tokens.next() {
                match token {
                    "," => {}
                    "}" => break,
                    key => {
                        tokens.next();
                        let Some(first) = tokens.next() else { break };
                        members.insert(Text::of(key), value(first, tokens));
                    }
                }
            }
            Node::Object(members)
        }
        word if word.starts_with('"') => Node::Text(Text::of(word)),
        word => Decimal::parse(word).map_or(Node::Word(word), Node::Number),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn spelling_does_not_count() {
        for (left, right) in [
            (
                r#"{"a":1,"b":[1.0,"é"]}"#,
                r#"{ "b" : [1e0, "\u00e9"], "a":1.00 }"#,
            ),
            (r#"{"a":1,"a":2}"#, r#"{"a":2}"#),
            (r#"{"\u0061":null}"#, r#"{"a":null}"#),
            (r#"["\ud800"]"#, r#"["\ud800"]"#),
            ("[ ]", "[]"),
        ] {
            assert!(same(left, right), "{left} and {right}");
        }
    }

    #[test]
    fn meaning_does() {
        for (left, right) in [
            ("[1,2]", "[2,1]"),
            ("[1]", "[1,1]"),
            ("1", "\"1\""),
            ("null", "\"\""),
            ("{}", "[]"),
            ("true", "false"),
            (r#"{"a":1}"#, r#"{"a":1,"b":null}"#),
            ("0.1000000000000000000001", "0.1"),
            (r#"["\ud800"]"#, r#"["\ud801"]"#),
        ] {
            assert!(!same(left, right), "{left} and {right}");
        }
    }

    #[test]
    fn bottomless_nesting_is_not_followed() {
        let deep = |inner: &str| format!("{}{inner}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(same(&deep(""), &deep("")));
        assert!(!same(&deep("1"), &deep("1.0")));
    }

    /// Any JSON whose numbers are small integers, for which `serde_json` compares by meaning, too.
    fn any_json() -> impl Strategy<Value = String> {
        let text = || "[ab\"\\\\é]{0,2}".prop_map(|text| json::quote(&text));
        let leaf = prop_oneof!["null|true|false|-?[1-9]", text()];
        leaf.prop_recursive(4, 16, 3, move |inner| {
            let member =
                (text(), inner.clone()).prop_map(|(key, value)| format!("{key} : {value}"));
            prop_oneof![
                vec(inner, 0..3).prop_map(|items| format!("[{}]", items.join(", "))),
                vec(member, 0..3).prop_map(|members| format!("{{ {}}}", members.join(","))),
            ]
        })
    }

    proptest! {
        #[test]
        fn it_agrees_with_serde_json(left in any_json(), right in any_json()) {
            let tree = |raw| serde_json::from_str::<serde_json::Value>(raw).unwrap();
            prop_assert_eq!(same(&left, &right), tree(&left) == tree(&right));
            // What serde_json prints again has no white space, no duplicates, and its keys in
            // order.
            prop_assert!(same(&left, &tree(&left).to_string()));
            prop_assert!(same(&left, &json::print(&left, true)));
        }
    }
}
