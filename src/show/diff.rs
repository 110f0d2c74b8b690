//! Formats the differences between two configurations for a terminal.

use std::fmt;

use super::{Clean, GREEN, RED, YELLOW, columns, count, fit, padded, shorten};
use crate::mapping::json;
use crate::mapping::{self, Difference, Value};

impl fmt::Display for Value {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(raw) => match json::text(raw) {
                Some(text) => out.write_str(&mapping::quoted(&text)),
                None => out.write_str(raw),
            },
            Self::Length(1) => out.write_str("1 character"),
            Self::Length(length) => write!(out, "{} characters", count(*length)),
            Self::Described(what) => out.write_str(what),
        }
    }
}

/// One line for each difference, at most `room` columns wide.
pub fn diff_lines(differences: &[(String, &Difference)], room: usize) -> Vec<String> {
    // JSON keys are user data.
    let clean = |path: &str| Clean::line(path).to_string();
    let differences: Vec<_> = differences
        .iter()
        .map(|(path, difference)| (clean(path), *difference))
        .collect();
    let widest = differences
        .iter()
        .map(|(path, _)| columns(path))
        .max()
        .unwrap_or(0);
    let room = room.saturating_sub(widest + 4).max(16);
    differences
        .iter()
        .map(|(path, difference)| {
            let path = padded(path, widest);
            match (&difference.current, &difference.expected) {
                (None, Some(new)) => format!(
                    "{GREEN}+ {path}  {}{GREEN:#}",
                    shorten(&new.to_string(), room)
                ),
                (Some(old), None) => {
                    format!("{RED}- {path}  {}{RED:#}", shorten(&old.to_string(), room))
                }
                (Some(Value::Length(old)), Some(Value::Length(new))) => format!(
                    "{YELLOW}~ {path}{YELLOW:#}  differs ({} → {} characters)",
                    count(*old),
                    count(*new)
                ),
                (old, new) => {
                    let text_of = |value: &Option<Value>| {
                        value.as_ref().map(Value::to_string).unwrap_or_default()
                    };
                    let (old, new) = fit(&text_of(old), &text_of(new), room.saturating_sub(3));
                    format!("{YELLOW}~ {path}{YELLOW:#}  {RED}{old}{RED:#} → {GREEN}{new}{GREEN:#}")
                }
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::columns::Column;

    #[test]
    fn s10_a_path_is_one_line_whatever_its_keys_are() {
        let difference = Difference {
            column: Column::VoiceSettings,
            inside: Some("k\u{1b}]52;c;eA==\u{7}\u{1b}[2J\nALL IN SYNC\u{9b}\u{202e}".to_owned()),
            current: None,
            expected: Some(Value::Json("1".to_owned())),
        };
        let lines = diff_lines(&[(difference.path(), &difference)], 60);
        let plain: Vec<_> = lines
            .iter()
            .map(|line| anstream::adapter::strip_str(line).to_string())
            .collect();
        let path = r"voice_settings.k\u001b]52;c;eA==\u0007\u001b[2J\u000aALL IN SYNC\u009b\u202e";
        assert_eq!(plain, [format!("+ {path}  1")]);
    }

    #[test]
    fn a_prompt_is_told_by_its_length_and_a_line_fits_its_room() {
        let lengths = Difference {
            column: Column::SystemPrompt,
            inside: None,
            current: Some(Value::Length(1532)),
            expected: Some(Value::Length(1548)),
        };
        let long = Value::Json(format!("\"{}\"", "x".repeat(200)));
        let wide = Difference {
            column: Column::AgentName,
            inside: None,
            current: Some(long.clone()),
            expected: Some(long),
        };
        let lines = diff_lines(
            &[
                ("system_prompt".to_owned(), &lengths),
                ("agent_name".to_owned(), &wide),
            ],
            60,
        );
        let plain: Vec<_> = lines
            .iter()
            .map(|line| anstream::adapter::strip_str(line).to_string())
            .collect();
        assert_eq!(
            plain[0],
            "~ system_prompt  differs (1,532 → 1,548 characters)"
        );
        assert!(plain.iter().all(|line| columns(line) <= 60), "{plain:?}");
    }
}
