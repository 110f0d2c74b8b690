//! The form of a line of the log: JSON, text on one line, or text wrapped for a terminal.
//!
//! The fields of the spans around an event, `database` and `batch`, stand in its line like its own.
//! Like lines in a row are limited here ([`super::row`]).

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use rustix::termios::tcgetwinsize;
use serde_json::{Map, Value, json};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::{LookupSpan, Scope};

use super::cell::lock;
use super::journal;
use super::row::{Further, Kind, Row};
use crate::show::{Entry, WIDTH, count};

/// The kind of the form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// One object of JSON on each line.
    Json,
    /// Text on one line.
    Line,
    /// Text, wrapped at the width of the terminal.
    Wrapped,
}

/// The form of the lines. Its fields are formatted by `JsonFields`.
#[derive(Debug, Clone)]
pub(super) struct Form {
    style: Style,
    colours: bool,
    /// Whether systemd's journal is the reader: it needs the priority, and adds the time.
    journal: bool,
    row: Arc<Mutex<Row>>,
}

impl Form {
    pub(super) fn new(style: Style, colours: bool, journal: bool) -> Self {
        Self {
            style,
            colours,
            journal,
            row: Arc::default(),
        }
    }

    /// The line that counts further like lines, if it is time for it, or if the log ends.
    pub(super) fn further(&self, ends: bool) -> Option<String> {
        let mut row = lock(&self.row);
        let further = if ends {
            row.end()
        } else {
            row.due(Instant::now())
        };
        further.map(|further| self.counted(&further))
    }

    fn counted(&self, further: &Further) -> String {
        let Further {
            level,
            lines,
            like,
            lists,
        } = further;
        let number = count(*lines);
        let message = format!("further lines like this: {number}; `{lists}` lists them");
        let fields = json!({ "message": message, "lines": lines, "like": like });
        self.text(*level, &[fields.to_string()])
    }

    /// The lines of an event whose fields are these objects of JSON.
    fn text(&self, level: Level, fields: &[String]) -> String {
        let mut time = String::new();
        // Writing to a string cannot fail.
        let _ = SystemTime.format_time(&mut Writer::new(&mut time));
        let mut text = if self.style == Style::Json {
            json(&time, level, fields)
        } else {
            let text = self.readable(&time, level, fields);
            if self.colours {
                text
            } else {
                anstream::adapter::strip_str(&text).to_string()
            }
        };
        text.push('\n');
        if self.journal {
            journal::with_priority(level, &text)
        } else {
            text
        }
    }

    fn readable(&self, time: &str, level: Level, fields: &[String]) -> String {
        let objects: Vec<Map<String, Value>> = fields
            .iter()
            .map(|fields| serde_json::from_str(fields).unwrap_or_default())
            .collect();
        let all = || objects.iter().flatten();
        let message = all().find(|(name, _)| *name == "message");
        let mut entry = Entry {
            time,
            level: level.as_str(),
            message: message
                .and_then(|(_, value)| value.as_str())
                .unwrap_or_default(),
            fields: all()
                .filter(|(name, _)| *name != "message")
                .map(|(name, value)| (name.as_str(), value))
                .collect(),
        };
        match self.style {
            Style::Wrapped => {
                entry.time = time.get(11..19).unwrap_or_default();
                entry.wrapped(width()).join("\n")
            }
            _ if self.journal => Entry { time: "", ..entry }.line(),
            _ => entry.line(),
        }
    }
}

/// The object of an event. The parts are put together as text, because an event has to be cheap.
fn json(time: &str, level: Level, fields: &[String]) -> String {
    let mut text = format!(r#"{{"timestamp":"{time}","level":"{level}""#);
    for fields in fields {
        let inner = fields
            .strip_prefix('{')
            .and_then(|text| text.strip_suffix('}'));
        if let Some(inner) = inner.filter(|inner| !inner.is_empty()) {
            text.push(',');
            text.push_str(inner);
        }
    }
    text.push('}');
    text
}

/// The width of the terminal.
fn width() -> usize {
    let columns = tcgetwinsize(std::io::stderr()).map_or(0, |size| size.ws_col);
    if columns == 0 { WIDTH } else { columns.into() }
}

/// The command that lists what the lines of this place are about.
fn lists(metadata: &Metadata<'_>, is_of_database: bool) -> &'static str {
    if metadata.fields().field("slug").is_some() {
        "agent-sync check --verbose"
    } else if is_of_database {
        "agent-sync status"
    } else {
        "agent-sync config"
    }
}

impl<S, N> FormatEvent<S, N> for Form
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut out: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let metadata = event.metadata();
        let mut fields = Vec::new();
        for span in context.event_scope().into_iter().flat_map(Scope::from_root) {
            if let Some(formatted) = span.extensions().get::<FormattedFields<N>>() {
                fields.push(formatted.fields.clone());
            }
        }
        let kind = Kind {
            callsite: metadata.callsite(),
            level: *metadata.level(),
            lists: lists(metadata, !fields.is_empty()),
        };
        let mut own = String::new();
        context.format_fields(Writer::new(&mut own), event)?;
        let like = || {
            let own: Value = serde_json::from_str(&own).unwrap_or_default();
            own["message"].as_str().unwrap_or_default().to_owned()
        };
        let (is_logged, further) = lock(&self.row).take(kind, Instant::now(), like);
        if let Some(further) = further {
            out.write_str(&self.counted(&further))?;
        }
        if is_logged {
            fields.push(own);
            out.write_str(&self.text(*metadata.level(), &fields))?;
        }
        Ok(())
    }
}
