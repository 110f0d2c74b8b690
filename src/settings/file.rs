//! Settings from a TOML file: every value with its line, every syntax error without the text around
//! it, which may be a secret.

use std::fs;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::bases::Bases;
use super::bounded;
use super::kind::Given;
use super::layer::Layer;
use super::problem::Problem;
use super::schema::Place;

/// Reads a file that is expected to exist. Its secret files may be `credentials`.
pub(crate) fn read(path: &Path, credentials: Option<&Path>) -> Layer {
    let mut layer = Layer::default();
    match bounded::read_text(path) {
        Ok(text) => parse(
            Reader {
                path,
                text: &text,
                credentials,
            },
            &mut layer,
        ),
        Err(error) => layer.problems.push(
            Problem::new(
                "",
                path.display().to_string(),
                format!("cannot be read: {error}"),
            )
            .remedy("name a settings file that exists and that this user may read"),
        ),
    }
    layer
}

/// The drop-ins beside a file, in the order of their names; none where there is no such directory.
pub(crate) fn drop_ins(beside: &Path) -> (Vec<PathBuf>, Option<Problem>) {
    let directory = beside.with_file_name("databases.d");
    let entries = match fs::read_dir(&directory).and_then(Iterator::collect::<Result<Vec<_>, _>>) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return (Vec::new(), None),
        Err(error) => {
            let source = directory.display().to_string();
            return (
                Vec::new(),
                Some(Problem::new("", source, format!("cannot be read: {error}"))),
            );
        }
    };
    let mut paths: Vec<_> = entries
        .into_iter()
        .map(|entry| entry.path())
        .filter(|path| is_drop_in(path))
        .collect();
    paths.sort();
    (paths, None)
}

/// Hidden files are left alone: editors and configuration managers keep their half-written copies
/// under such names.
fn is_drop_in(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension == "toml")
        && !path
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

fn parse(reader: Reader<'_>, layer: &mut Layer) {
    let text = reader.text;
    let (table, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        reader.table(table.get_ref(), &mut Vec::new(), layer);
    }
    for error in errors {
        let origin = reader.origin(error.span().map_or(text.len(), |span| span.start));
        layer.problems.push(Problem::new(
            "",
            origin,
            format!("is not TOML: {}", error.message()),
        ));
    }
}

#[derive(Clone, Copy)]
struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
    credentials: Option<&'a Path>,
}

impl Reader<'_> {
    fn origin(&self, offset: usize) -> String {
        let before = self.text.as_bytes().iter().take(offset);
        format!(
            "{}:{}",
            self.path.display(),
            before.filter(|byte| **byte == b'\n').count() + 1
        )
    }

    fn bases(&self) -> Bases<'_> {
        Bases {
            directory: self.path.parent(),
            credentials: self.credentials,
        }
    }

    fn table(&self, table: &DeTable<'_>, path: &mut Vec<String>, layer: &mut Layer) {
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        for (key, value) in entries {
            path.push(key.get_ref().to_string());
            let origin = self.origin(key.span().start);
            match layer.place(path, &origin) {
                Place::Key(key) => layer.set(path, key, given(value), &origin, self.bases()),
                Place::Section => match value.get_ref() {
                    DeValue::Table(inner) => self.table(inner, path, layer),
                    other => layer.not_a_table(path, &origin, name(other)),
                },
                Place::Unknown => {}
            }
            path.pop();
        }
    }
}

fn given<'a>(value: &'a Spanned<DeValue<'_>>) -> Given<'a> {
    match value.get_ref() {
        DeValue::String(text) => Given::Text(text),
        DeValue::Boolean(value) => Given::Bool(*value),
        DeValue::Integer(digits) => i64::from_str_radix(digits.as_str(), digits.radix())
            .map_or(Given::Other("an integer that is too large"), Given::Integer),
        other => Given::Other(name(other)),
    }
}

fn name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}
