//! The tests that `docs/reliability.md` cites exist, and the tables of cases have the cited
//! lengths.

use std::path::Path;

const PAGE: &str = include_str!("../../docs/reliability.md");

/// The source of a module of this binary, such as `sync::keys`.
fn source(module: &str) -> Option<String> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let module = module.replace("::", "/");
    std::fs::read_to_string(tests.join(format!("{module}.rs")))
        .or_else(|_| std::fs::read_to_string(tests.join(module).join("mod.rs")))
        .ok()
}

#[test]
fn every_test_that_the_page_names_exists() {
    named_tests_exist(PAGE, 40);
}

#[test]
fn every_test_that_the_page_about_security_names_exists() {
    named_tests_exist(include_str!("../../docs/security.md"), 15);
}

fn named_tests_exist(page: &str, least: usize) {
    let named: Vec<(&str, &str)> = page
        .split('`')
        .skip(1)
        .step_by(2)
        .filter_map(|code| code.rsplit_once("::"))
        .filter(|(module, _)| *module != "module")
        .collect();
    assert!(named.len() > least, "only {} tests are named", named.len());
    for (module, test) in named {
        let source =
            source(module).unwrap_or_else(|| panic!("there is no module {module} for {test}"));
        let attributes = [
            "#[test]\nfn ",
            "#[tokio::test]\nasync fn ",
            "async fn ",
            "fn ",
        ];
        assert!(
            attributes
                .iter()
                .any(|before| source.contains(&format!("{before}{test}()"))),
            "{module} has no test {test}"
        );
    }
}

#[test]
fn the_guide_to_the_tests_lists_every_folder() {
    let guide = include_str!("../README.md");
    for line in include_str!("../main.rs").lines() {
        let module = line
            .strip_prefix("mod ")
            .map(|rest| rest.trim_end_matches(';'));
        if let Some(module) = module.filter(|module| *module != "fuzz_targets") {
            assert!(guide.contains(&format!("`{module}/`")), "{module}");
        }
    }
}

#[test]
fn the_page_counts_the_mutants() {
    let mutants = include_str!("../model/mutants.rs")
        .matches("#[test]")
        .count();
    let (page, architecture) = (PAGE, include_str!("../../ARCHITECTURE.md"));
    for (name, text) in [
        ("docs/reliability.md", page),
        ("ARCHITECTURE.md", architecture),
    ] {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(
            text.contains(&format!(" {mutants} models with one defect")),
            "{name} does not say {mutants} models"
        );
    }
}

#[test]
fn every_guarantee_has_tests() {
    for number in 1..=17 {
        let row = PAGE
            .lines()
            .find(|line| line.starts_with(&format!("| G{number} |")));
        assert!(
            row.is_some_and(|row| row.contains("::")),
            "no test is named for G{number}"
        );
    }
}

#[test]
fn the_tables_of_bad_inputs_are_as_long_as_the_page_says() {
    let cases = |file: &str, mark: &str| {
        let file = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/cases")
            .join(file);
        std::fs::read_to_string(file)
            .unwrap()
            .lines()
            .filter(|line| line.starts_with(mark))
            .count()
    };
    let bad: usize = ["command_line", "files", "connections", "catalog"]
        .iter()
        .map(|name| cases(&format!("bad_inputs/{name}.toml"), "[[case]]"))
        .sum();
    let page = PAGE.split_whitespace().collect::<Vec<_>>().join(" ");
    for (count, after) in [
        (bad, "cases in `tests/cases/bad_inputs/`"),
        (cases("settings/mistakes.txt", "=>"), "mistakes of settings"),
        (
            cases("mapping/rules_files/refused.toml", "[[case]]"),
            "rules files",
        ),
        (
            cases("mapping/rejected.toml", "[[case]]"),
            "agents that are rejected",
        ),
    ] {
        assert!(
            page.contains(&format!("{count} {after}")),
            "the page does not say {count} {after}"
        );
    }
}
