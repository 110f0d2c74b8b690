//! An entry of the log for people, on one line or wrapped for a terminal.

use std::fmt::Write as _;

use anstyle::Style;
use serde_json::Value;

use super::{Clean, DIM, GREEN, RED, TEXT, YELLOW, bounded, columns, wrap};

/// The longest value that shares a line with others, in columns.
const SHORT: usize = 40;

/// The least columns of a wrapped text, on however narrow a terminal.
const LEAST: usize = 20;

/// An entry of the log.
#[derive(Debug)]
pub struct Entry<'a> {
    /// Its time; empty where another program adds it.
    pub time: &'a str,
    /// Its level, such as `INFO`.
    pub level: &'a str,
    /// Its message.
    pub message: &'a str,
    /// Its fields.
    pub fields: Vec<(&'a str, &'a Value)>,
}

impl Entry<'_> {
    /// The entry on one line, with colours.
    pub fn line(&self) -> String {
        let mut line = format!("{}{}", self.head(), cleaned(self.message));
        for (name, value) in &self.fields {
            let value = value.to_string();
            let value = bounded(&value, TEXT);
            let value = Clean::line(&value);
            // Writing to a string cannot fail.
            let _ = write!(line, " {DIM}{name}={DIM:#}{value}");
        }
        line
    }

    /// The entry as lines of at most `width` columns, with colours: the message, the short fields,
    /// and each long field. A word that is wider stays whole.
    pub fn wrapped(&self, width: usize) -> Vec<String> {
        let head = self.head();
        let indent = columns(&anstream::adapter::strip_str(&head).to_string());
        let (room, blank) = (width.saturating_sub(indent).max(LEAST), " ".repeat(indent));
        let mut lines: Vec<_> = wrap(&cleaned(self.message), room)
            .iter()
            .enumerate()
            .map(|(index, text)| format!("{}{text}", if index == 0 { &head } else { &blank }))
            .collect();
        let (mut short, mut long) = (Vec::new(), Vec::new());
        for (name, value) in &self.fields {
            let value = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            let value = Clean::lines(&bounded(&value, TEXT)).into_string();
            if value.contains('\n') || columns(&value) > SHORT {
                long.push(format!("{name}:"));
                long.extend(value.lines().map(|line| format!("- {line}")));
            } else {
                short.push(format!("{name}={value}"));
            }
        }
        for text in std::iter::once(short.join(" ")).chain(long) {
            let wrapped = wrap(&text, room);
            lines.extend(
                wrapped
                    .iter()
                    .filter(|text| !text.is_empty())
                    .map(|text| format!("{blank}{DIM}{text}{DIM:#}")),
            );
        }
        lines
    }

    /// The time and the level.
    fn head(&self) -> String {
        let (time, level) = (self.time, self.level);
        let colour = colour(level);
        let time = match time {
            "" => String::new(),
            time => format!("{DIM}{time}{DIM:#} "),
        };
        format!("{time}{colour}{level:>5}{colour:#} ")
    }
}

fn cleaned(message: &str) -> String {
    Clean::line(&bounded(message, TEXT)).into_string()
}

fn colour(level: &str) -> Style {
    match level {
        "WARN" => YELLOW,
        "ERROR" => RED,
        "INFO" => GREEN,
        _ => DIM,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn an_entry_is_one_line_or_wrapped_with_long_fields_apart() {
        let long = "a sentence that is longer than forty columns, and so stands alone";
        let (written, remedy) = (Value::from(3), Value::from(long));
        let entry = Entry {
            time: "12:34:56",
            level: "WARN",
            message: "a message that does not fit",
            fields: vec![("written", &written), ("remedy", &remedy)],
        };
        assert_eq!(
            plain(&entry.line()),
            format!("12:34:56  WARN a message that does not fit written=3 remedy=\"{long}\"")
        );
        let wrapped = entry.wrapped(40).join("\n");
        assert_eq!(
            plain(&wrapped),
            "12:34:56  WARN a message that does not\n               fit\n               \
             written=3\n               remedy:\n               - a sentence that is\
             \n               longer than forty\n               columns, and so stands\
             \n               alone"
        );
        let narrow = entry.wrapped(5);
        assert!(
            narrow.iter().all(|line| plain(line).len() <= 15 + LEAST),
            "{narrow:?}"
        );
        let bare = Entry { time: "", ..entry };
        assert!(
            plain(&bare.line()).starts_with(" WARN a message"),
            "{}",
            bare.line()
        );
    }

    #[test]
    fn s10_a_value_forges_no_line_and_no_colour() {
        let value = Value::from("x\n12:34:56 ERROR forged\u{1b}[31m");
        let entry = Entry {
            time: "12:34:56",
            level: "INFO",
            message: "one\ntwo\u{1b}[31m",
            fields: vec![("slug", &value)],
        };
        assert_eq!(
            plain(&entry.line()),
            r#"12:34:56  INFO one\u000atwo\u001b[31m slug="x\n12:34:56 ERROR forged\u001b[31m""#
        );
        let wrapped = entry.wrapped(80);
        let forged = wrapped
            .iter()
            .find(|line| line.contains("forged"))
            .map(|line| plain(line));
        assert_eq!(
            forged.as_deref(),
            Some(r"               - 12:34:56 ERROR forged\u001b[31m")
        );
    }
}
