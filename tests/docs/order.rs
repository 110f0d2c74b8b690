//! The order of the modules of `sync`: each names only modules below it in the list of
//! `src/sync/mod.rs`.

use std::collections::BTreeSet;
use std::path::Path;

use super::code::sources;

/// The modules of `sync` that a file uses outside of its tests and comments. In a file of the
/// folder `sync` itself, `super` is `sync`.
fn used(code: &str, is_in_sync: bool) -> BTreeSet<String> {
    let (code, _) = code
        .split_once("\n#[cfg(test)]\nmod ")
        .unwrap_or((code, ""));
    let code: Vec<&str> = code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect();
    let code = code.join("\n");
    let mut used = BTreeSet::new();
    for (prefix, counts) in [("crate::sync::", true), ("super::", is_in_sync)] {
        for rest in code.split(prefix).skip(1).filter(|_| counts) {
            let names = match rest.strip_prefix('{') {
                Some(list) => list.split('}').next().unwrap(),
                None => rest.split(|c: char| !is_name(c)).next().unwrap(),
            };
            used.extend(names.split(|c| !is_name(c)).map(str::to_owned));
        }
    }
    used
}

fn is_name(c: char) -> bool {
    c.is_ascii_lowercase() || c == '_'
}

/// A module of `sync` names only modules below it in the list, and the list has every module.
#[test]
fn a_module_of_sync_names_only_modules_below_it() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/sync");
    let head = std::fs::read_to_string(folder.join("mod.rs")).unwrap();
    let modules: BTreeSet<&str> = head
        .lines()
        .filter_map(|line| line.trim_start_matches("pub ").strip_prefix("mod "))
        .map(|line| line.trim_end_matches(';'))
        .collect();
    let (_, list) = head.split_once("\n//!\n//! - ").unwrap();
    let (list, _) = list.split_once("\n//!\n").unwrap();
    let mut order = Vec::new();
    for name in list.split('`').skip(1).step_by(2) {
        if modules.contains(name) && !order.contains(&name) {
            order.push(name);
        }
    }
    assert_eq!(order.iter().copied().collect::<BTreeSet<_>>(), modules);

    let (mut above, mut number) = (Vec::new(), 0);
    for (place, module) in order.iter().enumerate() {
        let mut names = BTreeSet::new();
        let file = folder.join(format!("{module}.rs"));
        if let Ok(code) = std::fs::read_to_string(file) {
            names.extend(used(&code, true));
        }
        if let Ok(code) = std::fs::read_to_string(folder.join(module).join("mod.rs")) {
            names.extend(used(&code, true));
        }
        let mut files = Vec::new();
        if folder.join(module).is_dir() {
            sources(&folder.join(module), &mut files);
        }
        names.extend(files.iter().flat_map(|code| used(code, false)));
        for name in names {
            let of_name = order.iter().position(|other| *other == name);
            number += usize::from(of_name.is_some());
            if of_name.is_some_and(|of_name| of_name < place) {
                above.push(format!("{module} names {name}, which is above it"));
            }
        }
    }
    assert!(number > 40, "{number}");
    assert_eq!(above, Vec::<String>::new(), "the list in src/sync/mod.rs");
}
