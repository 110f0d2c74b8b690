//! `config`: prints the settings in force and the source of each value. It needs no database.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Map, json};

use crate::exit::Exit;
use crate::settings::{Entry, Loaded};
use crate::show::{Clean, columns, padded};

/// Prints the settings in force: as TOML with the source of each value in a comment, or as one JSON
/// object by key.
///
/// With `--check`, prints only the errors that keep the daemon from starting. Notes are comments of
/// the TOML; JSON has no comments, so they go to standard error.
pub fn config(config: Option<&Path>, args: &crate::cli::Config) -> anyhow::Result<Exit> {
    let loaded = super::load(config)?;
    if args.check {
        // `run` reads the same files at its start and on SIGHUP.
        super::select(&loaded.settings, &[])?;
        super::rules(&loaded.settings)?;
        return Ok(Exit::Done);
    }
    let text = if args.json {
        let warnings = loaded
            .exposed_files()
            .into_iter()
            .map(|exposed| format!("warning: {}", exposed.text()));
        let notes = loaded.unused_url.iter().chain(&loaded.notes).cloned();
        for note in notes.chain(warnings) {
            super::output::note(note);
        }
        as_json(&loaded)?
    } else {
        as_toml(&loaded)
    };
    super::output::print(&Clean::lines(&text))?;
    Ok(Exit::Done)
}

fn as_json(loaded: &Loaded) -> anyhow::Result<String> {
    let entries = loaded.entries.iter();
    let object: Map<_, _> = entries
        .map(|entry| {
            (
                entry.key.clone(),
                json!({ "value": entry.value, "source": entry.source }),
            )
        })
        .collect();
    Ok(serde_json::to_string_pretty(&object)? + "\n")
}

fn as_toml(loaded: &Loaded) -> String {
    let mut text = String::new();
    let sections = loaded.entries.chunk_by(|a, b| section(a) == section(b));
    for (index, entries) in sections.enumerate() {
        let break_before = if index > 0 { "\n" } else { "" };
        let _ = writeln!(
            text,
            "{break_before}[{}]",
            entries.first().map_or("", section)
        );
        let lines: Vec<_> = entries.iter().map(line).collect();
        let width = lines
            .iter()
            .map(|line| columns(line))
            .filter(|width| *width <= WIDEST)
            .max();
        for (line, entry) in lines.iter().zip(entries) {
            let _ = writeln!(
                text,
                "{}  # {}",
                padded(line, width.unwrap_or(0)),
                entry.source
            );
        }
    }
    for note in loaded.unused_url.iter().chain(&loaded.notes) {
        let _ = writeln!(text, "\n# note: {note}");
    }
    for exposed in loaded.exposed_files() {
        let _ = writeln!(text, "\n# warning: {}", exposed.text());
    }
    text
}

/// The widest line, in columns, that moves the column of the sources to the right.
const WIDEST: usize = 60;

fn section(entry: &Entry) -> &str {
    entry
        .key
        .rsplit_once('.')
        .map_or("", |(section, _)| section)
}

fn line(entry: &Entry) -> String {
    let key = entry.key.rsplit('.').next().unwrap_or_default();
    let value = match &entry.value {
        serde_json::Value::String(text) => toml::Value::from(text.as_str()).to_string(),
        other => other.to_string(),
    };
    // Values that follow from other settings are comments, so the output is a valid settings file.
    if entry.settable {
        format!("{key} = {value}")
    } else {
        format!("# {key} = {value}")
    }
}
