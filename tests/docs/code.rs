//! Compares the documentation with the code.
//!
//! - The operating guide explains every warning and error by its exact text.
//! - Every link leads to an existing file and heading.
//! - Every cited number of the contract is defined, and every defined number is cited.
//! - The map of modules in ARCHITECTURE.md lists the dependencies of the code, and they form no
//!   circle.
//! - The lists of the mapped columns in tests, demo and benchmarks have every one.
//! - No file, function or line of the program is longer than the limits.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use agent_sync::columns::{AgentColumn, Column, MappedColumn};
use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};
use syn::Lit;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
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

fn tokens(code: &str) -> TokenStream {
    code.parse()
        .unwrap_or_else(|error| panic!("{error}: {code}"))
}

/// The string literals in Rust code, with `…` for each placeholder. A comment is none.
pub fn literals(code: TokenStream) -> Vec<String> {
    let is_comment = |group: &Group| {
        let first = group.stream().into_iter().next();
        matches!(first, Some(TokenTree::Ident(name)) if name == "doc")
    };
    let of = |token| match token {
        TokenTree::Group(group) if !is_comment(&group) => literals(group.stream()),
        TokenTree::Literal(literal) => match Lit::new(literal) {
            Lit::Str(text) => vec![without_placeholders(&text.value())],
            _ => Vec::new(),
        },
        _ => Vec::new(),
    };
    code.into_iter().flat_map(of).collect()
}

fn without_placeholders(text: &str) -> String {
    let (first, rest) = text.split_once('{').unwrap_or((text, ""));
    let Some((_, rest)) = rest.split_once('}') else {
        return first.to_owned();
    };
    format!("{first}…{}", without_placeholders(rest))
}

/// The arguments of every call of a macro (`name!(…)`) or of every attribute (`name(…)`).
fn calls(code: TokenStream, name: &str, is_macro: bool) -> Vec<TokenStream> {
    let mut found = Vec::new();
    let mut tokens = code.into_iter().peekable();
    let mut is_named = false;
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Group(group) => {
                if is_named && group.delimiter() == Delimiter::Parenthesis {
                    found.push(group.stream());
                }
                found.extend(calls(group.stream(), name, is_macro));
                is_named = false;
            }
            TokenTree::Ident(ident) => {
                let is_bang = |next: &TokenTree| next.to_string() == "!";
                is_named = ident == name && tokens.next_if(is_bang).is_some() == is_macro;
            }
            _ => is_named = false,
        }
    }
    found
}

/// The texts of all warnings and errors of the log, of all findings, and of the trigger's warnings.
fn warnings() -> BTreeSet<String> {
    let mut files = Vec::new();
    sources(&path("src"), &mut files);
    let mut said: BTreeSet<String> = files
        .iter()
        .flat_map(|code| ["warn", "error"].map(|name| calls(tokens(code), name, true)))
        .flatten()
        // The text is the last literal, after the fields.
        .filter_map(|call| literals(call).pop())
        // Placeholders for findings and for warnings of the mapping.
        .filter(|text| text != "…")
        .collect();
    let mut findings = Vec::new();
    sources(&path("src/store/finding"), &mut findings);
    for code in findings {
        // The text of a variant is the first literal of its attribute.
        let attributes = calls(tokens(&code), "error", false).into_iter();
        said.extend(attributes.filter_map(|of| literals(of).into_iter().next()));
    }
    let reasons = read("src/mapping/reasons.rs");
    let (_, warning) = reasons.split_once("impl fmt::Display for Warning").unwrap();
    let (warning, _) = warning.split_once("\n}\n").unwrap();
    said.extend(literals(tokens(&format!("{warning}\n}}"))));
    let capture = read("sql/capture.sql");
    let (_, warning) = capture.split_once("RAISE WARNING '").unwrap();
    said.insert(warning.split_once('\'').unwrap().0.replace('%', "…"));
    said
}

/// An option that is wrapped as an SQL comment is torn: `-- sample`. Only SQL has a comment in a
/// literal.
#[test]
fn no_text_has_a_torn_option() {
    let mut files = Vec::new();
    sources(&path("src"), &mut files);
    let is_torn = |text: &String| {
        let is_sql = text.starts_with("-- ") || text.contains("SELECT");
        let mut after = text.split("-- ").skip(1);
        !is_sql && after.any(|rest| rest.starts_with(|c: char| c.is_ascii_alphabetic()))
    };
    let torn: Vec<_> = files
        .iter()
        .flat_map(|code| literals(tokens(code)))
        .filter(is_torn)
        .collect();
    assert_eq!(torn, Vec::<String>::new());
}

/// The guide explains every warning by its exact text, and no other.
#[test]
fn the_guide_explains_every_warning_by_its_exact_text() {
    let guide = read("docs/operating.md");
    let explained: BTreeSet<String> = guide
        .lines()
        .filter_map(|line| {
            line.strip_prefix("### `")?
                .strip_suffix('`')
                .map(str::to_owned)
        })
        .collect();
    let said = warnings();
    assert!(said.len() > 25, "{said:#?}");
    let missing: Vec<_> = said.difference(&explained).collect();
    let invented: Vec<_> = explained.difference(&said).collect();
    assert!(
        missing.is_empty() && invented.is_empty(),
        "not explained: {missing:#?}\nnot said: {invented:#?}"
    );
    for text in &explained {
        let (_, entry) = guide.split_once(&format!("### `{text}`\n\n")).unwrap();
        assert!(
            entry.split("\n### ").next().unwrap().trim().len() > 20,
            "nothing is said about {text}"
        );
    }
}

/// The documents outside docs/.
const TOP: [&str; 6] = [
    "tests/README.md",
    "README.md",
    "ARCHITECTURE.md",
    "SECURITY.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
];

/// The anchor of a heading: lower case, spaces as hyphens, no other punctuation.
fn anchor_of(heading: &str) -> String {
    let text = heading
        .trim_start_matches('#')
        .trim()
        .to_lowercase()
        .replace(' ', "-");
    text.chars()
        .filter(|c| c.is_alphanumeric() || "-_".contains(*c))
        .collect()
}

#[test]
fn what_the_documents_link_to_is_there() {
    let mut documents: Vec<_> = TOP.map(path).into();
    files(&path("docs"), &mut documents);
    assert!(documents.len() > 20, "{documents:?}");
    for document in documents {
        let name = document.display();
        let text =
            std::fs::read_to_string(&document).unwrap_or_else(|error| panic!("{name}: {error}"));
        for (_, rest) in text
            .match_indices("](")
            .map(|(start, _)| text.split_at(start + 2))
        {
            let target = rest.split(')').next().unwrap();
            if target.starts_with("http") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let folder = document.parent().unwrap();
            let file = if file.is_empty() {
                document.clone()
            } else {
                folder.join(file)
            };
            assert!(file.exists(), "{name} links to {target}");
            if !anchor.is_empty() {
                let there = std::fs::read_to_string(&file).unwrap();
                let mut headings = there.lines().filter(|line| line.starts_with('#'));
                assert!(
                    headings.any(|line| anchor_of(line) == anchor),
                    "{name} links to {target}"
                );
            }
        }
    }
}

/// A number of the contract: its letter and its number.
type Number = (char, u32);

/// The numbers that a text cites in the form `G13`: one of the letters T, M, C, G, I and S, and one
/// or two digits without a leading zero.
///
/// The match is narrow, because other text looks alike:
/// - The letter follows the start of the line, white space, or one of ``(/,-–|"`*[``. This excludes
///   identifiers and paths (`ValueKind::I64`) and percent-encoded bytes (`%C3`).
/// - No letter, digit or underscore follows the digits (`M1a`, `M1_x`).
/// - A line with `C0` describes control characters, so `C1` on that line is no citation.
///
/// A range, `C1–C6` or `C1-C6`, cites every number in it.
fn cited(text: &str) -> BTreeSet<Number> {
    let mut found = BTreeSet::new();
    for line in text.lines() {
        let has_controls = line.contains("C0");
        let (mut before, mut last): (char, Option<(Number, usize)>) = (' ', None);
        for (start, letter) in line.char_indices() {
            let may_begin = before.is_whitespace() || "(/,-–|\"`*[".contains(before);
            before = letter;
            if !may_begin || !"TMCGIS".contains(letter) {
                continue;
            }
            let rest = &line[start + 1..];
            let length = rest.bytes().take_while(u8::is_ascii_digit).count();
            let after = rest[length..].chars().next().unwrap_or(' ');
            if !(1..=2).contains(&length)
                || rest.starts_with('0')
                || after.is_alphanumeric()
                || after == '_'
            {
                continue;
            }
            let number: u32 = rest[..length].parse().unwrap();
            if letter == 'C' && has_controls {
                continue;
            }
            let first = match last {
                Some(((same, first), end))
                    if same == letter && ["-", "–"].contains(&&line[end..start]) =>
                {
                    first
                }
                _ => number,
            };
            found.extend((first..=number).map(|number| (letter, number)));
            last = Some(((letter, number), start + 1 + length));
        }
    }
    found
}

/// The numbers in names of tests: `fn g1_g2_…` in the sources, `module::g1_g2_…` in the documents.
fn cited_in_names(text: &str) -> BTreeSet<Number> {
    let mut found = BTreeSet::new();
    for name in text.split("fn ").chain(text.split("::")).skip(1) {
        for part in name.split('_') {
            let mut characters = part.chars();
            let Some(letter) = characters
                .next()
                .filter(|letter| "tmcgis".contains(*letter))
            else {
                break;
            };
            let digits = characters.as_str();
            if !(1..=2).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_digit())
            {
                break;
            }
            found.insert((letter.to_ascii_uppercase(), digits.parse().unwrap()));
        }
    }
    found
}

/// Adds every source and document below a folder.
pub fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path
            .extension()
            .is_some_and(|ending| ["rs", "sql", "md", "toml"].iter().any(|one| ending == *one))
        {
            found.push(path);
        }
    }
}

/// The numbers that a document defines: one at the start of each item, `- **G13** …`.
fn defined(document: &str) -> Vec<Number> {
    let items = document
        .lines()
        .filter_map(|line| line.strip_prefix("- **")?.split_once("** "));
    let numbers = items
        .map(|(number, _)| cited(number))
        .filter(|numbers| !numbers.is_empty());
    numbers
        .map(|numbers| numbers.into_iter().next().unwrap())
        .collect()
}

/// Every cited number is defined, and every defined one is cited.
#[test]
fn every_contract_number_is_defined_and_cited() {
    let (contract, security) = (
        defined(&read("docs/contract.md")),
        defined(&read("docs/security.md")),
    );
    assert!(
        contract.iter().all(|(letter, _)| *letter != 'S'),
        "S-numbers belong to docs/security.md"
    );
    assert!(
        security.iter().all(|(letter, _)| *letter == 'S'),
        "only S-numbers belong to docs/security.md"
    );
    let mut all: BTreeSet<Number> = contract.iter().copied().collect();
    assert!(
        all.len() > 40 && all.len() == contract.len(),
        "each number is defined once: {contract:?}"
    );
    // A protection may have several items.
    all.extend(security);

    let mut sources: Vec<_> = TOP.map(path).into();
    for folder in ["src", "sql", "testbed", "demo", "tests", "docs"] {
        files(&path(folder), &mut sources);
    }
    let mut used = BTreeSet::new();
    let mut undefined = Vec::new();
    for file in sources {
        // The examples in this file are no citations.
        if file.ends_with("tests/docs/code.rs") {
            continue;
        }
        let text = std::fs::read_to_string(&file)
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let mut numbers = cited(&text);
        if file.extension().is_some_and(|ending| ending == "md") || file.starts_with(path("tests"))
        {
            numbers.extend(cited_in_names(&text));
        }
        undefined.extend(
            numbers
                .difference(&all)
                .map(|(letter, n)| format!("{letter}{n} in {}", file.display())),
        );
        // A definition does not cite itself.
        if !["docs/contract.md", "docs/security.md"]
            .map(path)
            .contains(&file)
        {
            used.extend(numbers);
        }
    }
    let unused: Vec<_> = all.difference(&used).collect();
    assert!(
        undefined.is_empty() && unused.is_empty(),
        "not defined: {undefined:#?}\nnot cited: {unused:?}"
    );
}

#[test]
fn a_citation_is_told_from_what_looks_like_one() {
    let numbers = |text: &str| {
        cited(text)
            .into_iter()
            .map(|(letter, n)| format!("{letter}{n}"))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        numbers("(G13), M1's and \"M2, T4\""),
        ["G13", "M1", "M2", "T4"]
    );
    assert_eq!(
        numbers("the capture (C1–C3), T1-T2"),
        ["C1", "C2", "C3", "T1", "T2"]
    );
    for no_citation in [
        "ValueKind::I64(1)",
        "caf%C3%A9",
        "control characters (C0, C1)",
        "G0 M123 M1a SM1 M1_x",
    ] {
        assert!(
            numbers(no_citation).is_empty(),
            "{no_citation}: {:?}",
            numbers(no_citation)
        );
    }
    assert_eq!(
        cited_in_names("fn g1_c6_held() { i64_of() } `capture::c4_a`").len(),
        3
    );
}

/// The guide to a mapped column names every file that lists them.
#[test]
fn the_guide_to_a_mapped_column_names_every_file() {
    let guide = read("docs/how-to.md");
    let (_, steps) = guide.split_once("\n## Add a mapped column\n").unwrap();
    let (steps, _) = steps.split_once("\n## ").unwrap();
    let listed: BTreeSet<String> = steps
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.split('`').nth(1).unwrap().to_owned())
        .collect();

    let mut all = Vec::new();
    for folder in ["src", "sql"] {
        files(&path(folder), &mut all);
    }
    // A mapped column that occurs only in lists of the columns.
    let named: BTreeSet<String> = all
        .iter()
        .filter(|file| {
            let text = std::fs::read_to_string(file).unwrap();
            let code = text.split("\n#[cfg(test)]\nmod ").next().unwrap();
            code.contains("agent_image")
        })
        .map(|file| file.strip_prefix(path("")).unwrap().display().to_string())
        .collect();
    assert_eq!(named, listed, "docs/how-to.md, Add a mapped column");
    assert!(named.len() <= 4, "{named:?}");
}

/// Every list of the mapped columns outside of the program has every one of them. Without a column,
/// the test or the benchmark with such a list would stay green and not cover it.
#[test]
fn every_list_of_the_mapped_columns_is_complete() {
    let agents = AgentColumn::ALL.map(MappedColumn::name);
    let configurations = Column::ALL.map(MappedColumn::name);
    let (agents, configurations) = (&agents[..], &configurations[..]);
    let both = &[agents, configurations].concat()[..];
    let lists = [
        ("tests/support/platform.sql", both),
        ("testbed/tables.sql", both),
        ("tests/cases/mapping/columns.toml", both),
        ("tests/capture/triggers.rs", agents),
        ("tests/cli/check.rs", both),
        ("tests/chaos/storm/writers.rs", agents),
        ("tests/chaos/storm/oracle.sql", both),
        ("tests/chaos/storm/tables.sql", both),
        ("tests/chaos/corpora.rs", both),
        ("tests/outage/checks.rs", both),
        ("tests/sync/basics.rs", configurations),
        ("demo/src/agents.sql", both),
        ("benches/sql/digest.sql", configurations),
        ("benches/sql/set_based.sql", both),
        ("benches/support/database.rs", both),
    ];
    let (guide, mut missing) = (read("docs/how-to.md"), Vec::new());
    for (file, columns) in lists {
        let text = read(file);
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let words: BTreeSet<&str> = text.split(|c| !is_word(c)).collect();
        for column in columns {
            if !words.contains(column) {
                missing.push(format!("{file}: {column}"));
            }
        }
        assert!(guide.contains(&format!("`{file}`")), "{file} in the guide");
    }
    assert_eq!(missing, Vec::<String>::new());
}

/// The words in backquotes in a table cell, without file extensions.
fn names(cell: &str) -> BTreeSet<String> {
    let quoted = cell.split('`').skip(1).step_by(2);
    quoted
        .map(|name| {
            name.trim_end_matches('/')
                .trim_end_matches(".rs")
                .to_owned()
        })
        .collect()
}

/// The modules of the program that a file uses outside of its tests and comments.
fn used_modules(code: &str) -> BTreeSet<String> {
    let (code, _) = code
        .split_once("\n#[cfg(test)]\nmod ")
        .unwrap_or((code, ""));
    let lines = code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    lines
        .flat_map(|line| line.split("crate::").skip(1))
        .map(|rest| {
            rest.chars()
                .take_while(|c| c.is_ascii_lowercase() || *c == '_')
                .collect::<String>()
        })
        .filter(|name| !name.is_empty())
        .collect()
}

/// Every top-level module with the modules that it uses.
fn modules() -> BTreeMap<String, BTreeSet<String>> {
    let mut modules = BTreeMap::new();
    for entry in std::fs::read_dir(path("src")).unwrap() {
        let entry = entry.unwrap().path();
        let module = entry.file_stem().unwrap().to_str().unwrap().to_owned();
        if ["lib", "main"].contains(&&*module) {
            continue;
        }
        let mut code = Vec::new();
        if entry.is_dir() {
            sources(&entry, &mut code);
        } else {
            code.push(std::fs::read_to_string(&entry).unwrap());
        }
        let mut used: BTreeSet<_> = code.iter().flat_map(|code| used_modules(code)).collect();
        used.remove(&module);
        // A module may be a file and a folder.
        modules
            .entry(module)
            .or_insert_with(BTreeSet::new)
            .extend(used);
    }
    modules
}

#[test]
fn the_landing_page_of_the_crate_links_to_every_module() {
    let page = read("src/lib.rs");
    for module in modules().keys() {
        assert!(page.contains(&format!("[`{module}`]")), "{module}");
    }
}

#[test]
fn the_modules_form_no_circle() {
    let mut left = modules();
    assert!(left.len() > 10, "{left:?}");
    loop {
        let names: BTreeSet<_> = left.keys().cloned().collect();
        let before = left.len();
        left.retain(|_, used| !used.is_disjoint(&names));
        if left.len() == before {
            break;
        }
    }
    assert!(
        left.is_empty(),
        "these lie on a circle or above one: {left:?}"
    );
}

#[test]
fn the_map_of_modules_says_what_each_depends_on() {
    let architecture = read("ARCHITECTURE.md");
    let (_, map) = architecture.split_once("\n## Modules\n").unwrap();
    let (map, _) = map.split_once("\n## ").unwrap();
    let rows: Vec<_> = map
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| {
            let cells: Vec<_> = line.trim_matches('|').split(" | ").collect();
            (names(cells[0]), names(cells[2]))
        })
        .collect();
    let of = |module: &str| {
        rows.iter()
            .position(|(modules, _)| modules.contains(module))
    };

    for (module, mut used) in modules() {
        let module = &*module;
        if module == "cli" {
            continue;
        }
        let row = of(module).unwrap_or_else(|| panic!("ARCHITECTURE.md has no row for {module}"));
        let listed = &rows[row].1;
        if module == "commands" {
            // This row lists the modules that the commands do not use.
            let unused: BTreeSet<_> = rows[row + 1..]
                .iter()
                .flat_map(|(modules, _)| modules)
                .cloned()
                .collect();
            used.remove("cli");
            assert_eq!(
                &unused.difference(&used).cloned().collect::<BTreeSet<_>>(),
                listed,
                "{module}"
            );
            continue;
        }
        assert_eq!(&used, listed, "ARCHITECTURE.md about {module}");
        for other in used {
            assert!(
                of(&other).is_some_and(|other| other > row),
                "{module} depends on {other}, which is not below it"
            );
        }
    }
}

/// The most lines of a file and of a function in `src/`.
const MOST_LINES: (usize, usize) = (400, 60);

/// The functions of formatted code, each with its first line and its number of lines: a function
/// ends at the first brace with the indentation of its first line.
fn functions(code: &str) -> Vec<(&str, usize)> {
    let lines: Vec<&str> = code.lines().collect();
    let indentation = |line: &str| line.len() - line.trim_start().len();
    let is_function = |line: &str| {
        let words = line.trim_start().split(' ');
        let mut words = words.skip_while(|word| {
            word.starts_with("pub") || word.ends_with(')') || ["async", "const"].contains(word)
        });
        words.next() == Some("fn")
    };
    let length = |start: usize| {
        let first = lines[start];
        let ends = |line: &&str| {
            indentation(line) == indentation(first) && (line.ends_with('}') || line.ends_with(';'))
        };
        let end = lines[start..].iter().position(ends);
        (first.trim(), end.expect("an end of the function") + 1)
    };
    let starts = (0..lines.len()).filter(|line| is_function(lines[*line]));
    starts.map(length).collect()
}

#[test]
fn no_file_and_no_function_is_longer_than_the_limit() {
    let mut all = Vec::new();
    files(&path("src"), &mut all);
    all.retain(|file| file.extension().is_some_and(|ending| ending == "rs"));
    let (mut number, mut too_long) = (0, Vec::new());
    for file in all {
        let code = std::fs::read_to_string(&file).unwrap();
        let lines = code.lines().count();
        if lines > MOST_LINES.0 {
            too_long.push(format!("{}: {lines} lines", file.display()));
        }
        for (name, lines) in functions(&code) {
            number += 1;
            if lines > MOST_LINES.1 {
                too_long.push(format!("{}: {name} {lines} lines", file.display()));
            }
        }
    }
    assert!(number > 1000, "{number} functions");
    assert!(too_long.is_empty(), "{too_long:#?}");
}

/// The most characters of a line of code or comment.
const MOST_CHARACTERS: usize = 100;

/// Pages, styles and scripts of the web interface have their own formatting; tests and benchmarks
/// quote long statements and documents.
#[test]
fn no_line_of_the_program_is_longer_than_the_limit() {
    let mut all = Vec::new();
    for folder in ["src", "sql", "testbed"] {
        files(&path(folder), &mut all);
    }
    all.retain(|file| {
        let is_code = |ending: &std::ffi::OsStr| ending == "rs" || ending == "sql";
        file.extension().is_some_and(is_code)
    });
    let (mut number, mut too_long) = (0, Vec::new());
    for file in all {
        for (place, line) in std::fs::read_to_string(&file).unwrap().lines().enumerate() {
            number += 1;
            let characters = line.chars().count();
            if characters > MOST_CHARACTERS {
                let name = file.display();
                too_long.push(format!("{name}:{}: {characters} characters", place + 1));
            }
        }
    }
    assert!(number > 10_000, "{number} lines");
    assert!(too_long.is_empty(), "{too_long:#?}");
}

/// A filter that names no test runs nothing, and nothing fails.
#[test]
fn the_run_with_shadows_names_tests_that_exist() {
    let script = read("scripts/shadow.sh");
    let ci = read(".ci/run");
    for (file, begin) in [(&script, "|| set -- "), (&ci, "sh scripts/shadow.sh ")] {
        let (_, modules) = file.split_once(begin).unwrap();
        for module in modules.lines().next().unwrap().split(' ') {
            let place = path("tests").join(module.replace("::", "/"));
            let is_there = place.is_dir() || place.with_extension("rs").is_file();
            assert!(is_there, "{module}");
        }
    }
    let mut tests = Vec::new();
    sources(&path("tests"), &mut tests);
    let skipped: Vec<_> = script.split("--skip ").skip(1).collect();
    for rest in &skipped {
        let name = format!("fn {}()", rest.split_whitespace().next().unwrap());
        assert!(tests.iter().any(|text| text.contains(&name)), "{name}");
    }
    assert_eq!(skipped.len(), 2);
}
