//! The settings (I3): a file, a drop-in, and an environment.
//!
//! An input has the form of `tests/cases/settings`: lines after `$ ` are variables, lines after `=>
//! ` are ignored, and all others are the file, up to a line `@` alone, after which the drop-in
//! starts.
//!
//! Promises: they are loaded, or refused with every mistake; and a password in a connection string
//! is never printed, whatever key contains it (G11). Such a string starts with
//! `postgres://app:hunter2` here.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;

use agent_sync::settings::{Database, Settings, Sources};
use tempfile::TempDir;

/// The target.
pub fn settings(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    // Settings name files, which are opened, so device paths of the fuzzer are skipped.
    if ["dev", "proc", "sys/", "\\"]
        .iter()
        .any(|part| text.contains(part))
    {
        return;
    }
    let of = |mark: &str| {
        text.lines()
            .filter_map(|line| line.strip_prefix(mark))
            .collect::<Vec<_>>()
    };
    let rest: Vec<_> = text
        .lines()
        .filter(|line| !line.starts_with("$ ") && !line.starts_with("=> "))
        .collect();
    let rest = rest.join("\n");
    let (file, drop_in) = rest
        .split_once("\n@\n")
        .map_or((&*rest, None), |(file, rest)| (file, Some(rest)));
    let variables = of("$ ");
    let variables: Vec<_> = variables
        .iter()
        .filter_map(|line| line.split_once('='))
        .collect();

    let path = written(file, drop_in);
    let environment = variables
        .iter()
        .map(|(name, value)| (OsString::from(name), OsString::from(value)));
    let told = match Settings::load_from(&Sources::new(None, Some(&path), environment)) {
        Ok(loaded) => {
            let targets: Vec<_> = loaded
                .settings
                .databases
                .values()
                .map(Database::target)
                .collect();
            format!("{loaded:?} {targets:?}")
        }
        Err(error) => {
            assert!(!error.mistakes.is_empty(), "refused for no reason");
            error.to_string()
        }
    };
    // In the name of a variable, or after anything else than the beginning of a connection string,
    // it is no password.
    let count = |text: &str, what: &str| text.matches(what).count();
    let passwords: usize = ["\"", "'", "="]
        .iter()
        .map(|before| count(text, &format!("{before}{BEGINNING}")))
        .sum();
    if passwords == count(text, super::SECRET) {
        assert!(!told.contains(super::SECRET), "G11: {told}");
    }
}

/// The beginning of a connection string with a secret.
const BEGINNING: &str = "postgres://app:hunter2";

thread_local! {
    /// The directory of the files, shared by all inputs, because there are thousands each second.
    static DIRECTORY: TempDir = tempfile::tempdir().expect("a directory");
}

/// Writes the files and returns the path of the first.
fn written(file: &str, drop_in: Option<&str>) -> PathBuf {
    DIRECTORY.with(|directory| {
        let (path, beside) = (
            directory.path().join("agent-sync.toml"),
            directory.path().join("databases.d"),
        );
        fs::write(&path, file).expect("a file can be written");
        fs::create_dir_all(&beside).expect("a directory can be made");
        let beside = beside.join("drop-in.toml");
        match drop_in {
            Some(text) => fs::write(beside, text).expect("a file can be written"),
            None => drop(fs::remove_file(beside)),
        }
        path
    })
}
