//! The settings (I3) from the outside: every source, its precedence, and every mistake with its
//! exact text.

mod config;
mod databases;
mod documented;
mod generated;
mod libpq;
mod mistakes;
mod schemas;
mod sources;

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use agent_sync::settings::{Database, Loaded, Settings, Sources};
use tempfile::TempDir;

/// A directory with these files, such as the settings file and drop-ins.
fn directory(files: &[(&str, &str)]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        // Files that other users can read cause a warning.
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    directory
}

/// A file of the repository.
fn read(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn environment(variables: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    variables
        .iter()
        .map(|(name, value)| (name.into(), value.into()))
        .collect()
}

/// Loads `agent-sync.toml` of the directory. Errors do not contain the path of the directory.
fn load_in(directory: &TempDir, variables: &[(&str, &str)]) -> Result<Loaded, String> {
    let file = directory.path().join("agent-sync.toml");
    let sources = Sources::new(None, Some(&file), environment(variables));
    let place = format!("{}/", directory.path().display());
    Settings::load_from(&sources).map_err(|error| error.to_string().replace(&place, ""))
}

fn load(file: &str, variables: &[(&str, &str)]) -> Result<Loaded, String> {
    load_in(&directory(&[("agent-sync.toml", file)]), variables)
}

/// The one database of a connection string.
fn database(url: &str) -> Database {
    let loaded = load("", &[("DATABASE_URL", url)]).unwrap();
    loaded.settings.databases["default"].clone()
}

fn source(loaded: &Loaded, key: &str) -> String {
    let entry = loaded.entries.iter().find(|entry| entry.key == key);
    entry
        .unwrap_or_else(|| panic!("{key} is not in force"))
        .source
        .clone()
}

const URL: &str = "postgres://app:hunter2@db.example.com/platform";
