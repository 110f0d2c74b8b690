//! The cases of `tests/cases/mapping/rules_files`: refused rules files with the exact text of every
//! mistake (M9).

use agent_sync::mapping::Rules;
use proptest::prelude::*;
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    case: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    rules: String,
    mistakes: Vec<String>,
}

const EMBEDDED: &str = include_str!("../../config/providers.toml");
const EXTENDED: &str = include_str!("../../config/providers.extended.toml");

#[test]
fn every_bad_rules_file_is_refused_in_the_words_of_its_case() {
    let mut faults = Vec::new();
    for (file, File { case: cases }) in super::files::<File>("mapping/rules_files") {
        assert!(!cases.is_empty(), "no cases in {file}");
        for Case {
            name,
            rules,
            mistakes,
        } in cases
        {
            let found = match Rules::parse(&rules) {
                Ok(_) => Vec::new(),
                Err(error) => error.to_string().lines().map(str::to_owned).collect(),
            };
            if found != mistakes {
                faults.push(format!(
                    "--- {file}: {name}\nexpected {mistakes:#?}\nfound {found:#?}"
                ));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_embedded_rules_are_those_of_the_file_in_the_repository() {
    assert_eq!(Rules::parse(EMBEDDED).as_ref(), Ok(Rules::embedded()));
}

/// Every mapping of the platform's own rules is in the extended rules as well.
#[test]
fn m9_each_provider_of_the_extended_rules_has_a_case() {
    assert!(Rules::parse(EXTENDED).is_ok() && Rules::EXTENDED == EXTENDED);
    let cases = include_str!("../cases/mapping/extended.toml");
    let cases: toml::Table = toml::from_str(cases).unwrap();
    let written: Vec<serde_json::Value> = cases["case"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|case| case.get("changes")?.get("provider_config")?.as_str())
        .map(|text| serde_json::from_str(text).unwrap())
        .collect();
    let rules: toml::Table = toml::from_str(EXTENDED).unwrap();
    let own: toml::Table = toml::from_str(EMBEDDED).unwrap();
    for section in ["llm", "tts", "stt"] {
        let providers = rules[section]["providers"].as_table().unwrap();
        for name in providers.keys() {
            let mut sections = written.iter().map(|config| &config[section]["provider"]);
            assert!(
                sections.any(|provider| provider == name),
                "{section}.{name}"
            );
        }
        let known = own[section]
            .get("providers")
            .and_then(toml::Value::as_table);
        for name in known.into_iter().flat_map(toml::Table::keys) {
            assert!(providers.contains_key(name), "{section}.{name}");
        }
    }
    let comments = EXTENDED
        .lines()
        .filter(|line| line.starts_with("# "))
        .collect::<Vec<_>>();
    assert!(
        comments
            .iter()
            .filter(|line| line.contains("https://"))
            .count()
            > 15
    );
}

/// The example provider in the header of the file can be added.
#[test]
fn the_example_provider_of_the_header_can_be_added() {
    let (_, example) = EMBEDDED
        .split_once("which calls the voice \"speaker\":\n#\n")
        .unwrap();
    let example: Vec<_> = example
        .lines()
        .map_while(|line| line.strip_prefix("#   "))
        .collect();
    assert_eq!(example.first(), Some(&"[tts.providers.acme]"));
    Rules::parse(&format!("{EMBEDDED}\n{}", example.join("\n"))).unwrap();
}

#[test]
fn a_file_of_no_sane_size_is_not_read() {
    let error = Rules::parse(&"#".repeat(300_000)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "line 1: expected at most 262144 bytes, found 300000 bytes"
    );
}

#[test]
fn a_mistake_names_its_line_and_column() {
    let error = Rules::parse(
        "settings.temperature.type = 'number'\r\nllm = { provider_from = ['ä'], 'é' = 1, x = 2 }",
    );
    let places: Vec<_> = error
        .unwrap_err()
        .mistakes
        .iter()
        .map(|mistake| (mistake.line, mistake.column))
        .collect();
    assert_eq!(places, [(2, 32), (2, 41)]);
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_of_rules_panic(text in any::<String>()) {
        let _ = Rules::parse(&text).map_err(|error| error.to_string());
    }

    #[test]
    fn no_cut_and_no_slip_in_a_rules_file_makes_its_reader_panic(
        cut in 0..EMBEDDED.len(),
        length in 0_usize..40,
        slip in "[\\[\\]{}=\"'.#\n a-c0-9é\u{0}\\\\]{0,6}",
    ) {
        let (before, rest) = (EMBEDDED.get(..cut), EMBEDDED.get(cut + length..));
        if let (Some(before), Some(rest)) = (before, rest)
            && let Err(error) = Rules::parse(&format!("{before}{slip}{rest}"))
        {
            prop_assert!(!error.mistakes.is_empty());
        }
    }
}
