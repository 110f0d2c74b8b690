//! The mapping (sections T and M of the contract), the rules file (M9) and `render` (I5).

mod cases;
mod properties;
mod render;
mod rules;

use std::fs;
use std::path::Path;

use serde::de::DeserializeOwned;

/// Every case of every TOML file in a folder of `tests/cases`, with the name of the file.
pub fn files<T: DeserializeOwned>(folder: &str) -> Vec<(String, T)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/cases")
        .join(folder);
    let mut files: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.retain(|path| path.is_file());
    files.sort();
    assert!(!files.is_empty(), "no cases in {}", folder.display());
    let read = |path: &Path| {
        let text = fs::read_to_string(path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let cases = toml::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        (name, cases)
    };
    files.iter().map(|path| read(path)).collect()
}
