//! Holds `config/agent-sync.toml` to the schema: every key once at least, with its documentation
//! and its default.

use std::collections::BTreeMap;

use super::schema::{Default, KEYS};

/// What the file says about a key: the explanation above it, and the value; turned off where it is
/// commented out.
#[derive(Debug)]
struct Said {
    doc: String,
    value: String,
    off: bool,
}

/// Reads the file line by line: its comments are what this is about, and a TOML parser drops them.
fn said() -> Vec<(String, Said)> {
    let (mut section, mut doc, mut all) = (String::new(), String::new(), Vec::new());
    for line in include_str!("../../config/agent-sync.toml").lines() {
        if let Some(text) = line.strip_prefix("# ") {
            doc = format!("{doc} {text}").trim_start().to_owned();
            continue;
        }
        let off = line.starts_with('#');
        let setting = line.trim_start_matches('#');
        if let Some(name) = setting.strip_prefix('[') {
            section = name
                .trim_end_matches(']')
                .replace("platform", "*")
                .replace("supabase", "*");
        } else if let Some((key, value)) = setting.split_once(" = ") {
            all.push((
                format!("{section}.{key}"),
                Said {
                    doc,
                    value: value.to_owned(),
                    off,
                },
            ));
        }
        doc = String::new();
    }
    all
}

#[test]
fn every_key_stands_in_the_file_with_its_documentation_and_its_default() {
    let mut first = BTreeMap::new();
    for (path, said) in said() {
        first.entry(path).or_insert(said);
    }
    for key in KEYS {
        let said = first
            .remove(key.path)
            .unwrap_or_else(|| panic!("{} is not in the file", key.path));
        assert_eq!(said.doc, key.doc, "{}", key.path);
        let unset = matches!(key.default, Default::Unset(_));
        assert_eq!(
            said.off,
            unset || key.path.contains('*'),
            "{} is on or off",
            key.path
        );
        if !unset {
            assert_eq!(said.value, key.example(), "{}", key.path);
        }
    }
    assert!(first.is_empty(), "not in the schema: {:?}", first.keys());
}
