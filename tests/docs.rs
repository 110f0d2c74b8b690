//! The documentation holds what the code says: the settings reference is made from it, and the operating guide explains every
//! warning and error by its exact text, and none that cannot be said.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn the_settings_reference_is_what_the_code_says() {
    let made = agent_sync::settings::reference();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path("docs/settings.md"), &made).unwrap();
    }
    assert!(
        read("docs/settings.md") == made,
        "docs/settings.md is out of date: UPDATE_DOCS=1 cargo test --test it docs makes it anew"
    );
}

/// Every Rust file of the program.
pub fn sources(folder: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(std::fs::read_to_string(path).unwrap());
        }
    }
}

/// The string literals in a piece of Rust, with `…` for what is filled in.
fn literals(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut characters = code.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '/' if characters.peek() == Some(&'/') => drop(characters.find(|c| *c == '\n')),
            // A character, which may be a quote.
            '\'' => {
                let rest: Vec<char> = characters.clone().take(3).collect();
                if rest.get(1) == Some(&'\'') {
                    characters.nth(1);
                } else if rest.first() == Some(&'\\') {
                    characters.nth(2);
                }
            }
            '"' => found.push(literal(&mut characters)),
            _ => {}
        }
    }
    found
}

fn literal(characters: &mut std::iter::Peekable<std::str::Chars<'_>>) -> String {
    let mut text = String::new();
    while let Some(character) = characters.next() {
        match character {
            '"' => break,
            '\\' => match characters.next() {
                Some('\n') => while characters.next_if(|c| c.is_whitespace()).is_some() {},
                Some(escaped) => text.push(escaped),
                None => {}
            },
            '{' => {
                text.push('…');
                characters.find(|c| *c == '}');
            }
            other => text.push(other),
        }
    }
    text
}

/// What stands in the parentheses of every call of a macro.
fn calls<'a>(code: &'a str, name: &str) -> Vec<&'a str> {
    let mut found = Vec::new();
    for (start, _) in code.match_indices(&format!("{name}!(")) {
        let before = code[..start].chars().last();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let body = &code[start + name.len() + 2..];
        let (mut depth, mut quoted, mut escaped) = (1, false, false);
        let end = body.char_indices().find(|(_, character)| {
            match character {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => quoted = !quoted,
                '(' if !quoted => depth += 1,
                ')' if !quoted => depth -= 1,
                _ => {}
            }
            depth == 0
        });
        found.push(&body[..end.map_or(body.len(), |(index, _)| index)]);
    }
    found
}

/// Everything that the log can say as a warning or an error, that a daemon can find, and that the trigger warns of.
fn sayable() -> BTreeSet<String> {
    let mut files = Vec::new();
    sources(&path("src"), &mut files);
    let mut said: BTreeSet<String> = files
        .iter()
        .flat_map(|code| calls(code, "warn").into_iter().chain(calls(code, "error")))
        // The words come last, after the fields.
        .filter_map(|call| literals(call).pop())
        // What is said in its place: findings, and remarks of the mapping.
        .filter(|text| text != "…")
        .collect();
    let checks = read("src/store/checks.rs");
    let (_, display) = checks.split_once("impl Display for Finding").unwrap();
    let (display, _) = display.split_once("\n}\n").unwrap();
    said.extend(literals(display).into_iter().filter(|text| text.len() > 10));
    let reasons = read("src/mapping/reasons.rs");
    let (_, warning) = reasons.split_once("impl fmt::Display for Warning").unwrap();
    said.extend(literals(warning.split_once("\n}\n").unwrap().0));
    let attach = read("sql/attach.sql");
    let (_, warning) = attach.split_once("RAISE WARNING '").unwrap();
    said.insert(warning.split_once('\'').unwrap().0.replace("%%", "…"));
    said
}

#[test]
fn the_guide_explains_every_warning_by_its_exact_text_and_none_that_cannot_be_said() {
    let guide = read("docs/operating.md");
    let explained: BTreeSet<String> = guide
        .lines()
        .filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`').map(str::to_owned))
        .collect();
    let said = sayable();
    assert!(said.len() > 25, "{said:#?}");
    let missing: Vec<_> = said.difference(&explained).collect();
    let invented: Vec<_> = explained.difference(&said).collect();
    assert!(
        missing.is_empty() && invented.is_empty(),
        "not explained: {missing:#?}\nnot said: {invented:#?}"
    );
    for text in &explained {
        let (_, entry) = guide.split_once(&format!("### `{text}`\n\n")).unwrap();
        assert!(entry.split("\n### ").next().unwrap().trim().len() > 20, "nothing is said about {text}");
    }
}

#[test]
fn what_the_documents_link_to_is_there() {
    for name in ["README.md", "ARCHITECTURE.md", "docs/operating.md", "docs/faq.md", "docs/performance.md"] {
        let text = read(name);
        for (_, rest) in text.match_indices("](").map(|(start, _)| text.split_at(start + 2)) {
            let target = rest.split(')').next().unwrap();
            if target.starts_with("http") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let folder = Path::new(name).parent().unwrap();
            let file = if file.is_empty() { PathBuf::from(name) } else { folder.join(file) };
            let there = std::fs::read_to_string(path(file.to_str().unwrap()));
            let there = there.unwrap_or_else(|error| panic!("{name} links to {target}: {error}"));
            let headings = there.lines().filter(|line| line.starts_with('#'));
            let mut anchors =
                headings.map(|line| line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-"));
            assert!(anchor.is_empty() || anchors.any(|one| one == anchor), "{name} links to {target}");
        }
    }
}
