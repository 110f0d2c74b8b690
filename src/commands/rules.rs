//! `rules`: prints the rules in force, or those that agent-sync comes with. It needs no database.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::exit::Exit;
use crate::mapping::Rules;
use crate::show::Clean;

#[derive(Serialize)]
struct Object<'a> {
    source: &'a str,
    rules: &'a Rules,
}

/// Prints rules as TOML, or as one JSON object. Rules with mistakes are refused with every mistake.
pub fn rules(config: Option<&Path>, args: &crate::cli::Rules) -> anyhow::Result<Exit> {
    let builtin = || ("built-in".to_owned(), Rules::EMBEDDED.to_owned());
    let (source, text) = match (args.builtin, args.extended) {
        (true, _) => builtin(),
        (_, true) => ("extended".to_owned(), Rules::EXTENDED.to_owned()),
        _ => {
            let file = super::load(config)?.settings.rules.file;
            let read = |file: &PathBuf| {
                let (text, _) = super::read_rules(file, "rules.file")?;
                anyhow::Ok((file.display().to_string(), text))
            };
            file.as_ref().map_or_else(|| Ok(builtin()), read)?
        }
    };
    let rules = Rules::parse(&text)?;
    if args.json {
        let text = serde_json::to_string(&Object {
            source: &source,
            rules: &rules,
        })?;
        super::output::say(text)?;
    } else {
        super::output::print(&Clean::lines(&text))?;
    }
    Ok(Exit::Done)
}
