//! Settings from a TOML file: each value with its line, each syntax error without the text around
//! it, which may be a secret.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::bounded;
use super::layers::Layer;
use super::mistake::{Mistake, remedy_of_unreadable};
use super::paths::PathResolver;
use super::schema::Lookup;
use super::value_type::{RawValue, toml_type};

/// Reads a file that must exist. `named_by` is the source that names it, and `credentials` the
/// directory of the credentials from systemd.
pub(crate) fn read(
    path: &Path,
    named_by: Option<&String>,
    credentials: Option<&Path>,
    layer: &mut Layer,
) {
    match bounded::read_text(path) {
        Ok(text) => {
            let paths = PathResolver {
                directory: path.parent(),
                credentials,
            };
            let text = &text;
            Reader { path, text, paths }.parse(layer);
        }
        Err(error) => {
            let remedy = "name a settings file that exists and that this user may read";
            let mut mistake = cannot_be_read(path, &error, remedy);
            if let Some(named_by) = named_by {
                mistake.source = format!("{} ({named_by})", mistake.source);
            }
            layer.mistakes.push(mistake);
        }
    }
}

fn cannot_be_read(path: &Path, error: &io::Error, remedy: &str) -> Mistake {
    let source = path.display().to_string();
    let mistake = Mistake::new("", source, format!("cannot be read: {error}"));
    mistake.remedy(remedy_of_unreadable(error, remedy))
}

/// The directory of the drop-ins beside a settings file.
pub(crate) fn drop_in_directory(beside: &Path) -> PathBuf {
    beside.with_file_name("databases.d")
}

/// The drop-ins beside a file, in the order of their names; none if the directory is missing.
pub(crate) fn drop_ins(beside: &Path) -> Result<Vec<PathBuf>, Mistake> {
    let directory = drop_in_directory(beside);
    let paths = |entries: fs::ReadDir| entries.map(|entry| Ok(entry?.path())).collect();
    let mut paths: Vec<_> = match fs::read_dir(&directory).and_then(paths) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        result => result.map_err(|error| cannot_be_read(&directory, &error, ""))?,
    };
    paths.retain(|path| is_drop_in(path));
    paths.sort();
    Ok(paths)
}

/// Hidden files are no drop-ins: editors and configuration managers give such names to half-written
/// copies.
fn is_drop_in(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    !name.starts_with(b".") && name.ends_with(b".toml")
}

#[derive(Clone, Copy)]
struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
    paths: PathResolver<'a>,
}

impl Reader<'_> {
    fn parse(self, layer: &mut Layer) {
        let (table, errors) = DeTable::parse_recoverable(self.text);
        if errors.is_empty() {
            self.table(table.get_ref(), &mut Vec::new(), layer);
        }
        for error in errors {
            let at = error.span().map_or(self.text.len(), |span| span.start);
            let what = format!("is not TOML: {}", error.message());
            let mistake = Mistake::new("", self.origin(at), what);
            layer.mistakes.push(mistake);
        }
    }

    fn origin(self, offset: usize) -> String {
        let before = self.text.as_bytes().iter().take(offset);
        let line = before.filter(|byte| **byte == b'\n').count() + 1;
        format!("{}:{line}", self.path.display())
    }

    fn table(self, table: &DeTable<'_>, path: &mut Vec<String>, layer: &mut Layer) {
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        for (key, value) in entries {
            path.push(key.get_ref().to_string());
            let origin = self.origin(key.span().start);
            match (layer.lookup(path, &origin), value.get_ref()) {
                (Lookup::Key(key), value) => {
                    layer.set(path, key, RawValue::Typed(value), &origin, self.paths);
                }
                (Lookup::Section, DeValue::Table(inner)) => self.table(inner, path, layer),
                (Lookup::Section, other) => layer.not_a_table(path, &origin, toml_type(other)),
                (Lookup::Unknown, _) => {}
            }
            path.pop();
        }
    }
}
