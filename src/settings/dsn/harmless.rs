//! Parameters of other tools that have no effect here, and a remark for each.
//!
//! Invariant: a remark has the name of a parameter or of a setting of PostgreSQL, and no value.

use super::mistake;
use super::parameters::{HARMLESS, SET_HERE};
use crate::settings::mistake::Mistake;

/// The remark on a parameter that has no effect; none if it is not such a parameter. A value that
/// asks for something else is refused.
pub(super) fn is_harmless(name: &str, value: &str) -> Result<Option<String>, Mistake> {
    let Some((known, values, reason)) = HARMLESS.iter().find(|(known, ..)| *known == name) else {
        return Ok(None);
    };
    let is_accepted = |accepted: &&str| accepted.eq_ignore_ascii_case(value.trim());
    if values.is_empty() || values.iter().any(is_accepted) {
        return Ok(Some(format!("`{known}` has no effect: {reason}")));
    }
    let expected = values.join(", ");
    let what = format!("expected `{known}` to be one of {expected}, found another value");
    Err(mistake(what, &format!("take it out: {reason}")))
}

/// The remarks on `options`: the settings in it that agent-sync sets itself.
pub(super) fn of_options(options: &str) -> impl Iterator<Item = String> {
    let options = options.replace("\\ ", " ");
    let mut words = options
        .split_ascii_whitespace()
        .map(str::to_owned)
        .collect::<Vec<_>>()
        .into_iter();
    let mut names = Vec::new();
    while let Some(word) = words.next() {
        let setting = match word.strip_prefix("-c") {
            Some("") => words.next(),
            Some(setting) => Some(setting.to_owned()),
            None => word.strip_prefix("--").map(str::to_owned),
        };
        let name = setting
            .as_deref()
            .and_then(|setting| setting.split('=').next());
        let name = name.map(|name| name.replace('-', "_").to_ascii_lowercase());
        let known = SET_HERE
            .iter()
            .find(|known| Some(**known) == name.as_deref());
        names.extend(known.copied());
    }
    names.into_iter().map(|name| {
        format!("`{name}` in `options` has no effect: agent-sync sets it in each session")
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn harmless_values_are_noted_and_others_are_refused() {
        for (name, value, found) in [
            ("gssencmode", "disable", Ok(true)),
            ("gssencmode", "require", Err(())),
            ("client_encoding", "UTF8", Ok(true)),
            ("client_encoding", "utf-8", Ok(true)),
            ("client_encoding", "latin1", Err(())),
            ("fallback_application_name", "psql", Ok(true)),
            ("host", "db", Ok(false)),
        ] {
            let noted = is_harmless(name, value).map(|note| note.is_some());
            assert_eq!(noted.map_err(drop), found, "{name}={value}");
        }
    }

    #[test]
    fn options_with_settings_of_agent_sync_are_noted() {
        for (options, expected) in [
            ("-c statement_timeout=5s", &["statement_timeout"][..]),
            ("-clock_timeout=5s -c jit=on", &["lock_timeout", "jit"]),
            ("--row-security=off --JIT=off", &["row_security", "jit"]),
            ("-c", &[]),
            // The triggers of the platform run under this path.
            ("-c search_path=x", &[]),
            ("endpoint=hunter2 -c work_mem=1MB", &[]),
        ] {
            let notes: Vec<_> = of_options(options).collect();
            assert_eq!(notes.len(), expected.len(), "{options}: {notes:?}");
            for (note, name) in notes.iter().zip(expected) {
                assert!(note.starts_with(&format!("`{name}` ")), "{note}");
            }
        }
    }

    #[test]
    fn every_setting_that_is_named_is_set_in_each_session() {
        let code = include_str!("../../session/settings.rs");
        for name in SET_HERE {
            assert!(code.contains(name), "{name}");
        }
    }
}
